"""Tetrahedral meshes of foreign files: regions, interfaces and patches from what such files tell."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Ints
from meshcell.core.files import FileError, reading
from meshcell.core.types import TetMesh

log = logging.getLogger("meshcell")


# Names that meshers give to the labels of their cells.
REGION_ARRAYS = ("region", "regions", "gmsh:physical", "medit:ref", "MaterialIds", "material", "cell_tags")


def region_labels(path: Path, arrays: Mapping[str, Array], n: int) -> Array:
    """Choose the array of region labels among the cells' data; without one all cells are region 1."""
    whole = {name: array for name, array in arrays.items() if array.ndim == 1 and np.all(array == np.round(array))}
    integers = [name for name, array in whole.items() if array.dtype.kind in "iu"]
    found = next((name for name in REGION_ARRAYS if name in whole), integers[0] if len(integers) == 1 else None)
    if found is None:
        log.info("%s: no array of region labels among %s; all cells are region 1", path, list(arrays))
        return np.ones(n, np.int32)
    labels = whole[found].astype(np.int64)
    if n and (labels == 0).all():
        log.info("%s: all cells have label 0, which is the outside; they become region 1", path)
        labels = labels + 1
    return labels


def assembled(
    path: Path, points: Array, tets: Array, regions: Array, names: Mapping[int, str], facets: Array, groups: Any
) -> TetMesh:
    """Make a mesh with all its interfaces: those that follow from the regions, some of which the file names.

    `groups` maps a name to rows of `facets`; a group becomes a patch unless its name is that of an interface.
    """
    if not len(tets):
        raise FileError(f"{path} should hold tetrahedra; there are none; a surface belongs in .ply, .vtp, .obj or .stl")
    points, tets = np.ascontiguousarray(points, np.float64), np.array(tets, np.int32)
    if points.ndim != 2 or points.shape[1] != 3 or tets.min() < 0 or tets.max() >= len(points):
        raise FileError(
            f"{path} should have tetrahedra of its {len(points)} points in 3D; some are not; export it anew"
        )
    a, b, c = (points[tets[:, k]] - points[tets[:, 0]] for k in (1, 2, 3))
    inverted = np.einsum("ij,ij->i", np.cross(a, b), c) < 0
    if inverted.any():
        log.info(
            "%s: %d of %d tetrahedra are inverted; two of their points are swapped", path, inverted.sum(), len(tets)
        )
        tets[inverted] = tets[inverted][:, [0, 2, 1, 3]]
    regions = np.asarray(regions, np.int32)
    neighbours = adjacency.tet_neighbours(tets, len(points))
    all_facets, sides = adjacency.interface_facets(tets, regions, neighbours)
    mesh = TetMesh(points, tets, regions, all_facets, sides, dict(names))
    return TetMesh(points, tets, regions, all_facets, sides, mesh.names, _patches(path, mesh, facets, groups))


def _patches(path: Path, mesh: TetMesh, facets: Array, groups: Mapping[str, Array]) -> dict[str, Ints]:
    if not len(facets) or not groups:
        return {}
    rows = _rows_among(np.asarray(facets), mesh.facets, len(mesh.points))
    # An interface has its name in either order of its two regions.
    interfaces = {f"{a}|{b}" for pair in mesh.interfaces for a, b in (pair, pair[::-1])}
    patches = {}
    for name, members in groups.items():
        if name in interfaces:
            continue
        own = rows[members]
        if (own < 0).any():
            log.info(
                "%s: %d of %d triangles of %r lie on no interface: left out", path, (own < 0).sum(), len(own), name
            )
        patches[name] = np.unique(own[own >= 0]).astype(np.int32)
    return patches


def _rows_among(triangles: Array, facets: Array, n_points: int) -> Array:
    """Find every triangle among the facets whatever its turn; -1 where it is none."""

    def keys(cells: Array) -> Array:
        a, b, c = np.sort(cells.astype(np.int64), axis=1).T
        # Two numbers, since three of 2^31 points do not fit 64 bits.
        return np.rec.fromarrays([a * n_points + b, c])

    known = keys(facets)
    order = np.argsort(known)
    wanted = keys(triangles)
    place = np.minimum(np.searchsorted(known, wanted, sorter=order), len(facets) - 1)
    found = order[place]
    return np.where(known[found] == wanted, found, -1)


def by_meshio(path: Path, read: Callable[[str], Any], expected: str, names: Mapping[int, str] | None) -> TetMesh:
    """Read tetrahedra and triangles with their physical groups through one of meshio's readers."""
    said = io.StringIO()
    # meshio prints its warnings and errors, and may end the process.
    with reading(path, expected), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        mesh = read(str(path))
    if said.getvalue().strip():
        log.info("%s: meshio says: %s", path, " ".join(said.getvalue().split()))
    kinds = {block.type for block in mesh.cells}
    if kinds & {"tetra10", "hexahedron", "wedge", "pyramid"}:
        raise FileError(f"{path} should hold linear tetrahedra; it has {', '.join(sorted(kinds))}; convert it first")
    tets, labels = _blocks(mesh, "tetra", 4)
    triangles, tags = _blocks(mesh, "triangle", 3)
    titles = {(int(dim), int(tag)): name for name, (tag, dim) in mesh.field_data.items()}
    regions = region_labels(path, labels, len(tets))
    stored = {tag: name for (dim, tag), name in titles.items() if dim == 3 and tag > 0}
    groups: dict[str, Array] = {}
    for tag in np.unique(tags.get("gmsh:physical", np.empty(0, int))).tolist():
        if tag > 0:
            groups[titles.get((2, tag), f"surface {tag}")] = np.flatnonzero(tags["gmsh:physical"] == tag)
    return assembled(path, mesh.points, tets, regions, {**stored, **(names or {})}, triangles, groups)


def _blocks(mesh: Any, kind: str, corners: int) -> tuple[Array, dict[str, Array]]:
    rows = [row for row, block in enumerate(mesh.cells) if block.type == kind]
    if not rows:
        return np.empty((0, corners), np.int64), {}
    data = {name: np.concatenate([np.asarray(arrays[row]) for row in rows]) for name, arrays in mesh.cell_data.items()}
    return np.concatenate([mesh.cells[row].data for row in rows]), data
