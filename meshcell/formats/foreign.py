"""Tetrahedral meshes of foreign files: regions, interfaces and patches from what such files tell."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Ints
from meshcell.core.files import FileError, merged_names
from meshcell.core.types import TetMesh
from meshcell.formats.cell_arrays import Choice, is_whole, region_array, region_labels

log = logging.getLogger("meshcell")

# Names of arrays that tag the triangles beside tetrahedra.
FACET_ARRAYS = re.compile(r"facet|bound|surface|face_?tag|interface|physical|ref$|marker|tag", re.IGNORECASE)


def assembled(
    path: Path, points: Array, tets: Array, regions: Array, names: Mapping[int, str], facets: Array, groups: Any
) -> TetMesh:
    """Make a mesh with all its interfaces: those that follow from the regions, some of which the file names.

    `groups` maps a name to rows of `facets`; a group becomes a patch unless its name is that of an interface.
    """
    if not len(tets):
        raise FileError(f"{path} should hold tetrahedra; there are none; a surface belongs in .ply, .vtp, .obj or .stl")
    points, tets = np.ascontiguousarray(points, np.float64), np.asarray(tets)
    if points.ndim != 2 or points.shape[1] != 3 or tets.min() < 0 or tets.max() >= len(points):
        raise FileError(
            f"{path} should have tetrahedra of its {len(points)} points in 3D; some are not; export it anew"
        )
    tets = np.array(tets, np.int32)
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
    if not len(mesh.facets):
        raise FileError(f"{path} should hold tetrahedra with a boundary; every face has two of them; export it anew")
    rows = _rows_among(np.asarray(facets), mesh.facets, len(mesh.points))
    # An interface has its name in either order of its two regions.
    interfaces = {f"{a}|{b}" for pair in mesh.interfaces for a, b in (pair, pair[::-1])}
    patches = {}
    for name, members in groups.items():
        if name in interfaces:
            continue
        own = rows[members]
        if (own < 0).any():
            warnings.warn(
                f"{path}: {(own < 0).sum()} of {len(own)} triangles of {name!r} lie on no interface: left out",
                stacklevel=2,
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


def surface_groups(mesh: TetMesh) -> tuple[list[list[int]], Array, list[str]]:
    """Group the facets by their sides and the patches they are in, so that every facet is in one group.

    Returns the groups (both sides, then 0 or 1 for every patch), the group of every facet, and the groups' titles: the
    patches ("A + B" where they overlap), else the interface "behind|front".
    """
    members = np.zeros((len(mesh.facets), len(mesh.patches)), np.int32)
    for row, rows in enumerate(mesh.patches.values()):
        members[rows, row] = 1
    kinds, which = np.unique(np.hstack([mesh.sides, members]), axis=0, return_inverse=True)
    titles = []
    for a, b, *inside in kinds.tolist():
        own = [name for name, chosen in zip(mesh.patches, inside, strict=True) if chosen]
        titles.append(" + ".join(own) if own else f"{mesh.names[a]}|{mesh.names[b]}")
    return kinds.tolist(), which.ravel(), titles


def by_tags(
    path: Path,
    points: Array,
    tets: Array,
    facets: Array,
    arrays: Mapping[str, tuple[Array, Array]],
    names: Mapping[int, str] | None,
    regions: Choice = None,
    on_points: Mapping[str, Array] | None = None,
) -> TetMesh:
    """Assemble a mesh by the arrays of its cells (name -> the tetrahedra's part, the triangles' part).

    The regions are one of the arrays; the same array on the triangles, or else the one that tags them alone, makes
    patches, and so do arrays "patch:name", which are ours. Arrays of the points are but asked for names of regions.
    """
    on_tets = {name: own for name, (own, _) in arrays.items()}
    on_facets = {name: own for name, (_, own) in arrays.items()}
    chosen = region_array(path, on_tets, regions, on_points)
    labels, fresh = region_labels(path, on_tets, len(tets), chosen)
    groups = {name: np.flatnonzero(on_facets[array]) for name, array in named_patches(on_facets).items()}
    if len(facets) and not {"side0", "side1"} <= set(arrays):
        tagged = on_facets.get(chosen or "")
        if tagged is None or not tagged.any():
            tagged = on_facets.get(facet_array(on_facets) or "")
        groups |= {} if tagged is None else tagged_groups(tagged)
    return assembled(path, points, tets, labels, merged_names(path, fresh, names), facets, groups)


def named_patches(arrays: Mapping[str, Array]) -> dict[str, str]:
    """Return patch -> array for arrays called "patch:name", as we write them."""
    return {name.removeprefix("patch:"): name for name in arrays if name.startswith("patch:")}


def facet_array(arrays: Mapping[str, Array]) -> str | None:
    """Return the array that tags triangles, if their names tell."""
    return next((name for name, own in arrays.items() if FACET_ARRAYS.search(name) and is_whole(own)), None)


def tagged_groups(tags: Array) -> dict[str, Array]:
    """Return the rows of every tag of triangles but 0 as a group called "surface 7"."""
    return {f"surface {int(tag)}": np.flatnonzero(tags == tag) for tag in np.unique(tags).tolist() if tag != 0}


def runs_of_cells(flat: Array, heads: int, width: Callable[[Array], int]) -> Iterator[Array]:
    """Divide numbers into cells of varying length, and yield those of one kind that follow each other as rows.

    Every cell begins with `heads` numbers that tell its kind; `width` gives its length from them. A length that is
    too great for what is left ends the division; the caller compares counts.
    """
    place = 0
    while place + heads <= len(flat):
        size = width(flat[place : place + heads])
        fit = (len(flat) - place) // size if size >= heads else 0
        if not fit:
            return
        count, reach = 1, 64
        # Look ahead in growing strides, so that a file of many short runs costs no more than its length.
        while count < fit:
            ahead = flat[place + count * size : place + min(fit, count + reach) * size].reshape(-1, size)[:, :heads]
            other = np.flatnonzero((ahead != flat[place : place + heads]).any(axis=1))
            count += int(other[0]) if len(other) else len(ahead)
            if len(other):
                break
            reach *= 2
        yield flat[place : place + count * size].reshape(count, size)
        place += count * size
