"""Tetrahedral meshes as XDMF: an XML index and an HDF5 file beside it, which ParaView and dolfinx read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import (
    FileError,
    merged_names,
    names_from_json,
    names_to_json,
    replacing,
    rows_of,
    tagged,
    untagged,
)
from meshcell.core.types import Surface, TetMesh
from meshcell.formats.cell_arrays import Choice
from meshcell.formats.foreign import surface_groups
from meshcell.formats.volumes.hdf5_storage import hdf5_bytes
from meshcell.formats.xdmf_foreign import opened, read_grids, stored, whole_array

# pyvista reads no grid without a time; meshio ends at a grid with one.
TIME = '<Time Value="0"/>'


def companion(path: Path) -> Path:
    """Return the HDF5 file that holds the arrays of an XDMF file."""
    # dolfinx opens the .h5 of its index's name, whatever the index says; just a.h5 may be a volume of the same name.
    return dolfinx_index(path).with_suffix(".h5")


def dolfinx_index(path: Path) -> Path:
    """Return the second index of an XDMF file, in the layout of dolfinx's mesh and MeshTags."""
    return path.with_name(f"{path.name.removesuffix('.xdmf')}.dolfinx.xdmf")


def read_xdmf(path: Path, names: Mapping[int, str] | None, regions: Choice = None) -> Surface | TetMesh:
    """Read ours exactly, by either index, and foreign grids of tetrahedra and of tags of cells and triangles."""
    root = ElementTree.parse(path).getroot()
    found = next(root.iterfind(".//Information[@Name='meshcell']"), None)
    notes = untagged(found.get("Value"), "TetMesh") if found is not None else {}
    if not notes:
        return read_grids(path, root, names, regions)
    arrays = {}
    with opened(path, _heavy_name(path, root)) as file:
        for item in root.iter("DataItem"):
            arrays[(item.text or "").rpartition(":")[2].strip().lstrip("/")] = stored(path, file, item)
        # The first index shows the tetrahedra alone.
        for key in ("facets", "side0", "side1", *(f"patch{row}" for row in range(len(notes["patches"])))):
            if key not in arrays:
                arrays[key] = whole_array(path, file, key)
    return TetMesh(
        arrays["points"],
        arrays["tets"],
        arrays["region"],
        arrays["facets"],
        np.stack([arrays["side0"], arrays["side1"]], axis=1),
        merged_names(path, names_from_json(notes["names"]), names),
        {name: rows_of(arrays[f"patch{row}"]) for row, name in enumerate(notes["patches"])},
    )


def write_xdmf(path: Path, mesh: TetMesh) -> None:
    """Write the arrays as HDF5 and two indices of them.

    The index under the given name has one grid of tetrahedra with `region`, and names as meshio keeps them. The other,
    `name.dolfinx.xdmf`, has grids "mesh", "cell_tags" and "facet_tags" as dolfinx's `read_mesh` and `read_meshtags`
    want them. Facet tags count the interfaces and patches from 1, as they are listed in the index; `side0`, `side1`
    and one array per patch follow them.
    """
    _, which, titles = surface_groups(mesh)
    # Groups that differ in their sides alone may share a patch's name.
    tags = {title: tag for tag, title in enumerate(dict.fromkeys(titles), 1)}
    notes = tagged("TetMesh", names=names_to_json(mesh.names), patches=list(mesh.patches), facet_tags=tags)
    marks: dict[str, Array] = {
        "facet_tags": np.array([tags[title] for title in titles], np.int32)[which],
        "side0": mesh.sides[:, 0],
        "side1": mesh.sides[:, 1],
    }
    for row, rows in enumerate(mesh.patches.values()):
        marks[f"patch{row}"] = np.isin(np.arange(len(mesh.facets)), rows).astype(np.int32)
    arrays: dict[str, Array] = {"points": mesh.points, "tets": mesh.tets, "region": mesh.regions, "facets": mesh.facets}
    arrays |= marks
    shown = {f"patch{row}": f"patch:{name}" for row, name in enumerate(mesh.patches)}
    heavy = companion(path).name
    # One grid and nothing beside it, names as text: all that meshio reads.
    texts = "".join(
        f"<map key={quoteattr(name)} dim={quoteattr(str(dim))}>{tag}</map>"
        for dim, named in ((3, {mesh.names[label]: label for label in np.unique(mesh.regions).tolist()}), (2, tags))
        for name, tag in named.items()
    )
    information = (
        f'<Information Name="meshcell" Value={quoteattr(notes)}>{escape(f"<main>{texts}</main>")}</Information>'
    )
    one = _grid("mesh", "Tetrahedron", arrays, "tets", {"region": "region"}, heavy, information)
    grids = [
        f'<Information Name="meshcell" Value={quoteattr(notes)}/>',
        _grid("mesh", "Tetrahedron", arrays, "tets", {}, heavy, TIME),
        _grid("cell_tags", "Tetrahedron", arrays, "tets", {"region": "cell_tags"}, heavy, TIME),
        _grid("facet_tags", "Triangle", arrays, "facets", {key: shown.get(key, key) for key in marks}, heavy, TIME),
    ]

    def fill(file: Any) -> None:
        for key, array in arrays.items():
            # Not compressed: the HDF5 of dolfinx's wheels has no deflate. Checksums it has.
            file.create_dataset(key, data=array, **({"fletcher32": True} if array.size else {}))

    with replacing(companion(path)) as temporary:
        temporary.write_bytes(hdf5_bytes(fill))
    for index, content in ((dolfinx_index(path), grids), (path, [one])):
        lines = ['<?xml version="1.0"?>', '<Xdmf Version="3.0">', "<Domain>", *content, "</Domain>", "</Xdmf>\n"]
        with replacing(index) as temporary:
            temporary.write_text("\n".join(lines), "utf-8", newline="\n")


def _grid(
    name: str,
    kind: str,
    arrays: Mapping[str, Array],
    cells: str,
    attributes: Mapping[str, str],
    heavy: str,
    more: str,
) -> str:
    n, corners = arrays[cells].shape
    size = f'NumberOfElements="{n}" NodesPerElement="{corners}"'
    scalar = 'AttributeType="Scalar" Center="Cell"'
    rows = (
        f"<Attribute Name={quoteattr(title)} {scalar}>{_item(key, arrays[key], heavy)}</Attribute>"
        for key, title in attributes.items()
    )
    lines = [
        f'<Grid Name="{name}" GridType="Uniform">',
        f'<Topology TopologyType="{kind}" {size}>{_item(cells, arrays[cells], heavy)}</Topology>',
        f'<Geometry GeometryType="XYZ">{_item("points", arrays["points"], heavy)}</Geometry>',
        *rows,
        more,
        "</Grid>",
    ]
    return "\n".join(lines)


def _item(key: str, array: Array, heavy: str) -> str:
    kind = f'NumberType="{"Float" if array.dtype.kind == "f" else "Int"}" Precision="{array.dtype.itemsize}"'
    shape = " ".join(map(str, array.shape))
    return f'<DataItem Dimensions="{shape}" {kind} Format="HDF">{escape(heavy)}:/{key}</DataItem>'


def _heavy_name(path: Path, root: ElementTree.Element) -> str:
    """Return the HDF5 file that the items of an index name."""
    names = {(item.text or "").strip().partition(":")[0] for item in root.iter("DataItem")}
    if len(names) != 1:
        raise FileError(f"{path} should name one HDF5 file; it names {sorted(names) or 'none'}; write it again")
    return names.pop()
