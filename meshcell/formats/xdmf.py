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
    check_values,
    merged_names,
    names_from_json,
    names_to_json,
    reading,
    replacing,
    rows_of,
    tagged,
    untagged,
)
from meshcell.core.types import TetMesh
from meshcell.formats.foreign import by_meshio
from meshcell.formats.volumes.hdf5_storage import check_storage, hdf5_bytes


def companion(path: Path) -> Path:
    """Return the HDF5 file that holds the arrays of an XDMF file."""
    # Not just .h5, which may be a volume of the same name.
    return path.with_name(f"{path.name}.h5")


def read_xdmf(path: Path, names: Mapping[int, str] | None) -> TetMesh:
    """Read ours exactly, and foreign files through meshio."""
    root = ElementTree.parse(path).getroot()
    found = root.find("Domain/Information[@Name='meshcell']")
    notes = untagged(found.get("Value"), "TetMesh") if found is not None else {}
    if not notes:
        import meshio

        return by_meshio(path, meshio.xdmf.read, "an XDMF file with one uniform grid", names)
    arrays = {}
    with _heavy(path) as file:
        for item in root.iter("DataItem"):
            key = (item.text or "").strip().rpartition(":")[2]
            shape = tuple(int(n) for n in item.get("Dimensions", "").split())
            if key not in file:
                raise FileError(
                    f"{companion(path)} should hold {key}, as {path} says; it does not; both belong together"
                )
            check_values(companion(path), f"rows and columns of {key}", file[key].shape, shape)
            check_storage(companion(path), file[key])
            arrays[key.lstrip("/")] = file[key][()]
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
    """Write a grid "mesh" with `region` and a grid "facets" with `side0`, `side1`, `interface` and the patches.

    `interface` numbers the pairs of sides from 1, as they are listed in the index; dolfinx reads it as facet tags.
    """
    pairs, which = np.unique(mesh.sides, axis=0, return_inverse=True)
    named = [f"{mesh.names[a]}|{mesh.names[b]}" for a, b in pairs.tolist()]
    notes = tagged("TetMesh", names=names_to_json(mesh.names), patches=list(mesh.patches), interfaces=named)
    marks: dict[str, Array] = {"side0": mesh.sides[:, 0], "side1": mesh.sides[:, 1]}
    marks["interface"] = (which.ravel() + 1).astype(np.int32)
    for row, rows in enumerate(mesh.patches.values()):
        marks[f"patch{row}"] = np.isin(np.arange(len(mesh.facets)), rows).astype(np.int32)
    arrays: dict[str, Array] = {"points": mesh.points, "tets": mesh.tets, "region": mesh.regions, "facets": mesh.facets}
    arrays |= marks
    titles = {f"patch{row}": f"patch:{name}" for row, name in enumerate(mesh.patches)}
    heavy = companion(path).name
    grids = [
        _grid("mesh", "Tetrahedron", arrays, "tets", {"region": "region"}, heavy),
        _grid("facets", "Triangle", arrays, "facets", {key: titles.get(key, key) for key in marks}, heavy),
    ]
    head = ['<?xml version="1.0"?>', '<Xdmf Version="3.0">', "<Domain>"]
    head.append(f'<Information Name="meshcell" Value={quoteattr(notes)}/>')

    def fill(file: Any) -> None:
        packed = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        for key, array in arrays.items():
            file.create_dataset(key, data=array, **(packed if array.size else {}))

    with replacing(companion(path)) as temporary:
        temporary.write_bytes(hdf5_bytes(fill))
    with replacing(path) as temporary:
        temporary.write_text("\n".join([*head, *grids, "</Domain>", "</Xdmf>\n"]), "utf-8", newline="\n")


def _grid(
    name: str, kind: str, arrays: Mapping[str, Array], cells: str, attributes: Mapping[str, str], heavy: str
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
        "</Grid>",
    ]
    return "\n".join(lines)


def _item(key: str, array: Array, heavy: str) -> str:
    kind = f'NumberType="{"Float" if array.dtype.kind == "f" else "Int"}" Precision="{array.dtype.itemsize}"'
    shape = " ".join(map(str, array.shape))
    return f'<DataItem Dimensions="{shape}" {kind} Format="HDF">{escape(heavy)}:/{key}</DataItem>'


def _heavy(path: Path) -> Any:
    import h5py

    heavy = companion(path)
    if not heavy.exists():
        raise FileError(
            f"{path} keeps its arrays in {heavy.name}, which should lie beside it; it does not: copy it too"
        )
    with reading(heavy, f"the HDF5 file of {path.name}"):
        return h5py.File(heavy, "r")
