"""Who touches whom: edges, faces and stars of simplices, by counting sort on the smallest point of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from meshcell.core.errors import MeshError
from meshcell.core.inner import inner, plain
from meshcell.core.kernels import njit

Ints = npt.NDArray[np.int32]

# Face k of a tetrahedron lies opposite corner k; its normal (right-hand rule) points out of the tetrahedron.
TET_FACES = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]], np.int32)
TET_EDGES = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]], np.int32)
# Edge k of a triangle lies opposite corner k.
TRIANGLE_EDGES = np.array([[1, 2], [2, 0], [0, 1]], np.int32)


def edges(cells: Ints, n_points: int) -> tuple[Ints, Ints]:
    """List every edge of triangles or tetrahedra once.

    Parameters
    ----------
    cells : (c, 3) or (c, 4) int32
    n_points : int

    Returns
    -------
    edges : (e, 2) int32
        Smaller point first.
    cell_edges : (c, 3) or (c, 6) int32
        Rows of `edges`, in the order of TRIANGLE_EDGES or TET_EDGES.
    """
    corners = TRIANGLE_EDGES if cells.shape[1] == 3 else TET_EDGES
    return _edges(plain(cells), corners, n_points)  # type: ignore[no-any-return]


def tet_neighbours(tets: Ints, n_points: int) -> Ints:
    """Return (n, 4) the tetrahedron across the face opposite each corner, -1 where there is none.

    A face that three or more tetrahedra share (no conforming mesh has one) is refused.
    """
    neighbours, bad = _tet_neighbours(plain(tets), TET_FACES, n_points)
    if bad >= 0:
        raise MeshError(f"a face should belong to at most two tetrahedra; tetrahedron {bad} has one with three", [bad])
    return neighbours  # type: ignore[no-any-return]


def facet_tets(facets: Ints, tets: Ints, points: npt.NDArray[np.float64]) -> Ints:
    """Return (f, 2) the tetrahedra behind and in front of every facet's normal, -1 where there is none."""
    return _facet_tets(plain(facets), plain(tets), TET_FACES, plain(points))  # type: ignore[no-any-return]


def interface_facets(tets: Ints, regions: Ints, neighbours: Ints) -> tuple[Ints, Ints]:
    """List the faces between two regions, or a region and the outside, each once.

    Returns
    -------
    facets : (f, 3) int32
        Their normals point from the larger label into the smaller one, so out of the meshed body at its outside.
    sides : (f, 2) int32
        The labels behind and in front.
    """
    across = np.where(neighbours >= 0, regions[neighbours], 0)
    rows, faces = np.nonzero(regions[:, None] > across)
    facets = np.take_along_axis(tets[rows], TET_FACES[faces], axis=1)
    return facets, np.stack([regions[rows], across[rows, faces]], axis=1).astype(np.int32)


def stars(cells: Ints, n_points: int) -> tuple[npt.NDArray[np.int64], Ints]:
    """List the cells around every point: those of point p are `rows[offsets[p]:offsets[p + 1]]`, ascending."""
    return _stars(plain(cells), n_points)  # type: ignore[no-any-return]


def cuthill_mckee(offsets: Ints, neighbours: Ints) -> Ints:
    """Return an order of the nodes of a graph in which neighbours are near each other.

    Parameters
    ----------
    offsets, neighbours : (p + 1,) and (2 e,) int32
        Node p's neighbours are `neighbours[offsets[p] : offsets[p + 1]]`; every edge stands at both of its ends.

    Returns
    -------
    (p,) int32
        From each piece's node of the least degree outwards, of equal ones from the first: scipy's takes any of them,
        another on another processor.

    Source
    ------
    E. Cuthill, J. McKee, Proc. 24th ACM conference (1969), p. 157.
    """
    return _cuthill_mckee(np.argsort(np.diff(offsets), kind="stable"), offsets, neighbours)  # type: ignore[no-any-return]


# --- kernels ---


@njit(cache=True)
def root(parents: Any, i: int) -> int:
    """Return the root of the set that i belongs to, and halve the way to it for later walks."""
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True)
def join(parents: Any, i: int, j: int) -> None:
    """Make one set of those of i and j; the smaller root stays."""
    i, j = root(parents, i), root(parents, j)
    if i < j:
        parents[j] = i
    else:
        parents[i] = j


@njit(cache=True)
def _stars(cells: Any, n_points: int) -> Any:
    offsets = np.zeros(n_points + 1, np.int64)
    for i in range(cells.shape[0]):
        for k in range(cells.shape[1]):
            offsets[cells[i, k] + 1] += 1
    for p in range(n_points):
        offsets[p + 1] += offsets[p]
    cursor = offsets[:-1].copy()
    rows = np.empty(cells.size, np.int32)
    for i in range(cells.shape[0]):
        for k in range(cells.shape[1]):
            p = cells[i, k]
            rows[cursor[p]] = i
            cursor[p] += 1
    return offsets, rows


@njit(cache=True)
def _edges(cells: Any, corners: Any, n_points: int) -> Any:
    n, m = cells.shape[0], corners.shape[0]
    offsets = np.zeros(n_points + 1, np.int64)
    for i in range(n):
        for k in range(m):
            offsets[min(cells[i, corners[k, 0]], cells[i, corners[k, 1]]) + 1] += 1
    for p in range(n_points):
        offsets[p + 1] += offsets[p]
    # Each smaller point owns a stretch of slots; equal edges meet in it and share one.
    used = np.zeros(n_points, np.int32)
    other = np.empty(n * m, np.int32)
    slots = np.empty((n, m), np.int64)
    for i in range(n):
        for k in range(m):
            a, b = cells[i, corners[k, 0]], cells[i, corners[k, 1]]
            if a > b:
                a, b = b, a
            start, count = offsets[a], used[a]
            slot = -1
            for s in range(start, start + count):
                if other[s] == b:
                    slot = s
                    break
            if slot < 0:
                slot = start + count
                other[slot] = b
                used[a] += 1
            slots[i, k] = slot
    total = 0
    row_of = np.empty(n * m, np.int32)
    for p in range(n_points):
        for s in range(offsets[p], offsets[p] + used[p]):
            row_of[s] = total
            total += 1
    pairs = np.empty((total, 2), np.int32)
    for p in range(n_points):
        for s in range(offsets[p], offsets[p] + used[p]):
            pairs[row_of[s], 0] = p
            pairs[row_of[s], 1] = other[s]
    cell_edges = np.empty((n, m), np.int32)
    for i in range(n):
        for k in range(m):
            cell_edges[i, k] = row_of[slots[i, k]]
    return pairs, cell_edges


@inner(cache=True)
def _sorted3(a: int, b: int, c: int) -> Any:
    if a > b:
        a, b = b, a
    if b > c:
        b, c = c, b
    if a > b:
        a, b = b, a
    return a, b, c


@njit(cache=True)
def _tet_neighbours(tets: Any, faces: Any, n_points: int) -> Any:
    n = tets.shape[0]
    offsets = np.zeros(n_points + 1, np.int64)
    for i in range(n):
        for k in range(4):
            a, _, _ = _sorted3(tets[i, faces[k, 0]], tets[i, faces[k, 1]], tets[i, faces[k, 2]])
            offsets[a + 1] += 1
    for p in range(n_points):
        offsets[p + 1] += offsets[p]
    used = np.zeros(n_points, np.int32)
    middle = np.empty(4 * n, np.int32)
    last = np.empty(4 * n, np.int32)
    owner = np.empty(4 * n, np.int64)
    neighbours = np.full((n, 4), -1, np.int32)
    for i in range(n):
        for k in range(4):
            a, b, c = _sorted3(tets[i, faces[k, 0]], tets[i, faces[k, 1]], tets[i, faces[k, 2]])
            found = False
            for s in range(offsets[a], offsets[a] + used[a]):
                if middle[s] == b and last[s] == c:
                    if owner[s] < 0:
                        return neighbours, i
                    j, m = owner[s] // 4, owner[s] % 4
                    neighbours[i, k] = j
                    neighbours[j, m] = i
                    owner[s] = -1
                    found = True
                    break
            if not found:
                s = offsets[a] + used[a]
                middle[s], last[s], owner[s] = b, c, 4 * i + k
                used[a] += 1
    return neighbours, -1


@njit(cache=True)
def _facet_tets(facets: Any, tets: Any, faces: Any, points: Any) -> Any:
    n_points = points.shape[0]
    offsets = np.zeros(n_points + 1, np.int64)
    for i in range(facets.shape[0]):
        offsets[min(facets[i, 0], facets[i, 1], facets[i, 2]) + 1] += 1
    for p in range(n_points):
        offsets[p + 1] += offsets[p]
    cursor = offsets[:-1].copy()
    rows = np.empty(facets.shape[0], np.int32)
    for i in range(facets.shape[0]):
        a = min(facets[i, 0], facets[i, 1], facets[i, 2])
        rows[cursor[a]] = i
        cursor[a] += 1
    result = np.full((facets.shape[0], 2), -1, np.int32)
    for i in range(tets.shape[0]):
        for k in range(4):
            u, v, w = tets[i, faces[k, 0]], tets[i, faces[k, 1]], tets[i, faces[k, 2]]
            a, b, c = _sorted3(u, v, w)
            for s in range(offsets[a], offsets[a + 1]):
                f = rows[s]
                _, fb, fc = _sorted3(facets[f, 0], facets[f, 1], facets[f, 2])
                if fb != b or fc != c:
                    continue
                # The face's normal points out of the tetrahedron, so with the facet's own turn that is behind it.
                same_turn = (
                    (facets[f, 0] == u and facets[f, 1] == v)
                    or (facets[f, 1] == u and facets[f, 2] == v)
                    or (facets[f, 2] == u and facets[f, 0] == v)
                )
                result[f, 0 if same_turn else 1] = i
    return result


@njit(cache=True)
def _cuthill_mckee(starts: Any, offsets: Any, neighbours: Any) -> Any:
    n = len(starts)
    order = np.empty(n, np.int32)
    seen = np.zeros(n, np.bool_)
    found, looked = 0, 0
    for start in starts:
        if not seen[start]:
            seen[start] = True
            order[found] = start
            found += 1
        while looked < found:
            p = order[looked]
            looked += 1
            first = found
            for s in range(offsets[p], offsets[p + 1]):
                q = neighbours[s]
                if seen[q]:
                    continue
                seen[q] = True
                # Those of p by their degree, of equal ones the first first.
                degree, row = offsets[q + 1] - offsets[q], found
                while row > first and offsets[order[row - 1] + 1] - offsets[order[row - 1]] > degree:
                    order[row] = order[row - 1]
                    row -= 1
                order[row] = q
                found += 1
    return order
