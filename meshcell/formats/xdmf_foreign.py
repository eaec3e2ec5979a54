"""XDMF files of other programs: grids of tetrahedra, and of tags as dolfinx writes its MeshTags.

Arrays may be text in the index or lie in HDF5 files beside it. Source: XDMF Model and Format, version 3;
dolfinx 0.11, `cpp/dolfinx/io/xdmf_mesh.cpp` and `XDMFFile.cpp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError, check_values, merged_names, reading
from meshcell.core.types import Surface, TetMesh
from meshcell.formats.cell_arrays import Choice, is_whole, region_array, region_labels
from meshcell.formats.foreign import assembled, by_tags, runs_of_cells, tagged_groups
from meshcell.formats.single_bodies import by_arrays
from meshcell.formats.volumes.hdf5_storage import check_storage

# XDMF's numbers of cells in a mixed topology, and their corners; 1 to 3 are followed by their number of corners.
MIXED = {4: 3, 5: 4, 6: 4, 7: 5, 8: 6, 9: 8, 34: 3, 35: 8, 36: 6, 37: 8, 38: 10, 39: 13, 40: 15, 48: 20}
TYPES = {"float": "f", "int": "i", "uint": "u", "char": "i", "uchar": "u"}


@dataclass(frozen=True)
class Grid:
    """A uniform grid: its tetrahedra, triangles and arrays, each array divided in the same way."""

    name: str
    tets: Array
    triangles: Array
    arrays: dict[str, tuple[Array, Array]]
    points: Array | None
    on_points: dict[str, Array]


def read_grids(
    path: Path, root: ElementTree.Element, names: Mapping[int, str] | None, regions: Choice = None
) -> Surface | TetMesh:
    """Read the first grid of tetrahedra; further grids of its cells or of triangles hold tags.

    One grid of triangles alone is a surface.
    """
    items = Items(path, root)
    try:
        grids = [items.grid(grid) for grid in root.iter("Grid") if grid.find("Topology") is not None]
    finally:
        items.close()
    main = next((grid for grid in grids if len(grid.tets)), None)
    points = next((grid.points for grid in grids if grid.points is not None), None)
    if main is None and points is not None and len(grids) == 1 and len(grids[0].triangles):
        arrays = {name: own for name, (_, own) in grids[0].arrays.items()}
        return by_arrays(path, points, grids[0].triangles, arrays, names, regions, grids[0].on_points)
    if main is None or points is None:
        raise FileError(
            f"{path} should hold a grid of linear tetrahedra with points; there are grids "
            f"{', '.join(grid.name for grid in grids) or 'none'}; a surface belongs in .ply, .vtp, .obj or .stl"
        )
    others = [grid for grid in grids if grid is not main]
    if not others:
        return by_tags(path, points, main.tets, main.triangles, main.arrays, names, regions, main.on_points)
    on_tets = {name: own for name, (own, _) in main.arrays.items()}
    for grid in others:
        if len(grid.tets):
            on_tets |= {name: _spread(path, main.tets, grid.tets, own) for name, (own, _) in grid.arrays.items()}
    found = region_array(path, on_tets, regions, main.on_points)
    labels, fresh = region_labels(path, on_tets, len(main.tets), found)
    facets, groups = _facet_groups([main, *others])
    return assembled(path, points, main.tets, labels, merged_names(path, fresh, names), facets, groups)


def _spread(path: Path, tets: Array, tagged: Array, values: Array) -> Array:
    """Bring tags of some cells, in any order, to the cells of the mesh; cells without one get 0."""
    if tagged.shape == tets.shape and (tagged == tets).all():
        return values
    both = np.sort(np.concatenate([tets, tagged]), axis=1)
    _, which = np.unique(both, axis=0, return_inverse=True)
    mine, theirs = which.ravel()[: len(tets)], which.ravel()[len(tets) :]
    if not np.isin(theirs, mine).all():
        raise FileError(f"{path} should tag cells of its mesh; some tagged cells are not in it; write both together")
    found = np.zeros(which.max() + 1, values.dtype)
    found[theirs] = values
    return found[mine]


def _facet_groups(grids: list[Grid]) -> tuple[Array, dict[str, Array]]:
    """Put the triangles of all grids together; tags are called after the array where there are several."""
    groups: dict[str, Array] = {}
    parts, before = [np.empty((0, 3), np.int64)], 0
    whole = [(grid, n, own) for grid in grids for n, (_, own) in grid.arrays.items() if is_whole(own)]
    for grid in grids:
        for other, name, own in whole:
            if other is grid and len(own) == len(grid.triangles):
                for title, rows in tagged_groups(own).items():
                    called = title if len(whole) == 1 else title.replace("surface", name, 1)
                    groups[called] = rows + before
        parts.append(grid.triangles)
        before += len(grid.triangles)
    return np.concatenate(parts), groups


class Items:
    """The arrays of one index, wherever they lie."""

    def __init__(self, path: Path, root: ElementTree.Element) -> None:
        self.path, self.root = path, root
        self.files: dict[str, Any] = {}

    def close(self) -> None:
        """Close the HDF5 files."""
        for file in self.files.values():
            file.close()

    def grid(self, grid: ElementTree.Element) -> Grid:
        """Read one uniform grid."""
        topology = grid.find("Topology")
        geometry = grid.find("Geometry/DataItem")
        kind = "" if topology is None else (topology.get("TopologyType") or topology.get("Type") or "").lower()
        item = None if topology is None else topology.find("DataItem")
        cells = np.empty(0, np.int64) if item is None else self.array(item).astype(np.int64)
        none = np.empty(0, np.int64)
        if kind in ("tetrahedron", "triangle"):
            rows = np.arange(cells.size // (4 if kind == "tetrahedron" else 3))
            is_tet, tets, triangles = (
                (rows, cells.reshape(-1, 4), none) if kind == "tetrahedron" else (none, none, cells)
            )
            is_triangle = rows if kind == "triangle" else none
        elif kind == "mixed":
            tets, is_tet, triangles, is_triangle = _divided(self.path, cells.ravel())
        else:
            raise FileError(
                f"{self.path} should hold linear tetrahedra and triangles; got {kind or 'none'}; convert it"
            )
        found = self.attributes(grid)
        n = len(is_tet) + len(is_triangle)
        arrays = {name: (own[is_tet], own[is_triangle]) for name, own in found["Cell"].items() if len(own) >= n}
        points = None if geometry is None else self.array(geometry)
        return Grid(grid.get("Name", ""), tets.reshape(-1, 4), triangles.reshape(-1, 3), arrays, points, found["Node"])

    def attributes(self, grid: ElementTree.Element) -> dict[str, dict[str, Array]]:
        """Read the arrays of the cells, and those of the points."""
        found: dict[str, dict[str, Array]] = {"Cell": {}, "Node": {}}
        for attribute in grid.iterfind("Attribute"):
            data, center = attribute.find("DataItem"), attribute.get("Center", "Node")
            if center in found and data is not None:
                own = self.array(data)
                own = own.reshape(-1) if own.ndim == 2 and own.shape[1] == 1 else own
                found[center][attribute.get("Name", "")] = own
        return found

    def array(self, item: ElementTree.Element) -> Array:
        """Read one array, from its text or an HDF5 file."""
        reference = item.get("Reference")
        if reference is not None:
            place = (item.text or "").strip() if reference == "XML" else reference.strip()
            found = self.root.find("./" + "/".join(place.split("/")[2:]))
            if found is None or found is item or found.get("Reference") is not None:
                raise FileError(f"{self.path} should hold {place}, which it refers to; it does not; write it again")
            item = found
        form = item.get("Format", "XML").upper()
        if form == "HDF":
            name = (item.text or "").strip().partition(":")[0]
            if name not in self.files:
                self.files[name] = opened(self.path, name)
            return stored(self.path, self.files[name], item)
        if form != "XML":
            raise FileError(f"{self.path} should keep its arrays as text or in HDF5; got {form}; write it so")
        kind = TYPES.get((item.get("NumberType") or item.get("DataType") or "Float").lower(), "f")
        flat = np.array((item.text or "").split(), np.int64 if kind in "iu" else np.float64)
        shape = tuple(int(n) for n in item.get("Dimensions", str(len(flat))).split())
        check_values(self.path, "numbers of an item", len(flat), int(np.prod(shape, dtype=object)))
        return flat.reshape(shape)


def _divided(path: Path, flat: Array) -> tuple[Array, Array, Array, Array]:
    """Divide a mixed topology into tetrahedra and triangles, each with its rows among all cells."""
    place = used = 0
    tets: list[Array] = []
    triangles: list[Array] = []
    rows: dict[int, list[Array]] = {4: [], 6: []}
    for cells in runs_of_cells(flat, 2, lambda head: 2 + int(head[1]) if head[0] in (1, 2, 3) else _size(head)):
        kind, n = int(cells[0, 0]), len(cells)
        used += cells.size
        (tets if kind == 6 else triangles if kind == 4 else []).append(cells[:, 1:])
        rows.setdefault(kind, []).append(np.arange(place, place + n))
        place += n
    others = set(rows) - {1, 2, 4, 6}
    if others or used != len(flat):
        raise FileError(
            f"{path} should hold linear tetrahedra and triangles; its mixed cells have others; convert them"
        )
    none = np.empty(0, np.int64)
    return (
        np.concatenate([np.empty((0, 4), np.int64), *tets]),
        np.concatenate([none, *rows[6]]),
        np.concatenate([np.empty((0, 3), np.int64), *triangles]),
        np.concatenate([none, *rows[4]]),
    )


def _size(head: Array) -> int:
    return 1 + MIXED[int(head[0])] if int(head[0]) in MIXED else 0


# --- HDF5 ---


def opened(path: Path, name: str) -> Any:
    """Open the HDF5 file of this name beside the index."""
    import h5py

    heavy = path.with_name(name)
    if not heavy.exists():
        raise FileError(
            f"{path} keeps its arrays in {heavy.name}, which should lie beside it; it does not: copy it too"
        )
    with reading(heavy, f"the HDF5 file of {path.name}"):
        return h5py.File(heavy, "r")


def stored(path: Path, file: Any, item: ElementTree.Element) -> Array:
    """Read the array that an item of the index names, of the shape that it tells."""
    key = (item.text or "").strip().rpartition(":")[2]
    shape = tuple(int(n) for n in item.get("Dimensions", "").split())
    if key in file and shape:
        # dolfinx tells a column of n values as n x 1, and stores n.
        column = shape[-1] == 1 and getattr(file[key], "shape", ()) == shape[:-1]
        check_values(path, f"rows and columns of {key}", shape if column else file[key].shape, shape)
    return whole_array(path, file, key)


def whole_array(path: Path, file: Any, key: str) -> Array:
    """Read an array whose bytes are there."""
    heavy = path.with_name(Path(file.filename).name)
    if key not in file or not hasattr(file[key], "shape"):
        raise FileError(f"{heavy} should hold {key}, as {path} says; it does not; both belong together")
    check_storage(heavy, file[key])
    array: Array = file[key][()]
    return array
