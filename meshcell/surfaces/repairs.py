"""Mend what can be mended in a surface from elsewhere, and refuse what would break the steps that follow."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Ints
from meshcell.core.errors import MeshError
from meshcell.core.hints import require
from meshcell.core.kernels import njit
from meshcell.core.types import Surface
from meshcell.geometry.measures import enclosed_volumes
from meshcell.geometry.openings import region_edges

log = logging.getLogger("meshcell")

# Of the surface's extent: points nearer to each other are one.
SAME_POINT = 1e-9
ROBUST = 'for what repair(surface) cannot mend there is tetrahedralize(surface, method="winding")'


def repair(surface: Surface, *, tolerance: float | None = None, max_hole: int = 64) -> Surface:
    """Mend a surface from elsewhere: one log line says what was done.

    Parameters
    ----------
    surface : Surface
    tolerance : float, optional
        um; points nearer to each other become one. By default 1e-9 of the surface's extent.
    max_hole : int
        Holes with at most so many edges are closed by triangles around their middle.

    Returns
    -------
    Surface
        Points that coincide are merged, triangles without three different points left out, as are those that are there
        twice and fins (triangles with an edge of their own at an edge of three or more). Within an interface, turned
        triangles follow the majority; if the regions are inside out, all are turned. Small holes are closed. Patches
        are kept.

    Notes
    -----
    Triangles that cut through each other stay as they are, see `self_intersections`; `voxelize` and
    `tetrahedralize(surface, method="winding")` take those too.

    Examples
    --------
    >>> soup = Surface(np.eye(4, 3)[[0, 2, 1, 3, 0, 1, 3, 1, 2, 3, 2, 0]], np.arange(12).reshape(4, 3), [[1, 0]] * 4)
    >>> repaired = repair(soup)
    >>> len(repaired.points), round(6 * enclosed_volumes(repaired)["label 1"], 12)
    (4, 1.0)
    """
    require(surface, Surface, "repair(surface)")
    done = []
    for what, mended in _steps(surface, tolerance, max_hole):
        if what:
            done.append(what)
        surface = mended
    log.info("repair: %s", ", ".join(done) or "nothing to do")
    return surface


def _steps(surface: Surface, tolerance: float | None, max_hole: int) -> Iterator[tuple[str, Surface]]:
    """Yield after each step what it did, in words, and the surface."""
    n_points, n = len(surface.points), len(surface.triangles)
    surface = _merged(surface, tolerance)
    yield _said(n_points - len(surface.points), "points merged"), surface
    surface = _kept(surface, ~_degenerate(surface.triangles))
    yield _said(n - len(surface.triangles), "triangles without area left out"), surface
    n = len(surface.triangles)
    surface = _kept(surface, _once(surface))
    yield _said(n - len(surface.triangles), "repeated triangles left out"), surface
    n = len(surface.triangles)
    while (fins := _fins(surface)).any():
        surface = _kept(surface, ~fins)
    yield _said(n - len(surface.triangles), "triangles of fins left out"), surface
    surface, n_turned = _turned(surface)
    yield _said(n_turned, "triangles turned"), surface
    surface, n_closed = _closed(surface, max_hole)
    yield _said(n_closed, "holes closed"), without_loose_points(surface)


def _said(count: int, what: str) -> str:
    return f"{count} {what}" if count else ""


def _kept(surface: Surface, keep: Array) -> Surface:
    """Return the surface with only the triangles that are marked; patches follow."""
    if keep.all():
        return surface
    rows = np.cumsum(keep) - 1
    patches = {name: rows[old[keep[old]]] for name, old in surface.patches.items()}
    return replace(surface, triangles=surface.triangles[keep], sides=surface.sides[keep], patches=patches)


def _merged(surface: Surface, tolerance: float | None) -> Surface:
    """Make one point of those within the tolerance of each other; the first of them stays where it is."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    n = len(surface.points)
    if not n:
        return surface
    reach = SAME_POINT * float(np.ptp(surface.points, axis=0).max()) if tolerance is None else tolerance
    pairs = cKDTree(surface.points).query_pairs(reach, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    groups = connected_components(graph, directed=False)[1]
    _, first = np.unique(groups, return_index=True)
    merged: Ints = first[groups][surface.triangles].astype(np.int32)
    return without_loose_points(replace(surface, triangles=merged))


def without_loose_points(surface: Surface) -> Surface:
    """Leave out the points that no triangle uses, and number the others anew."""
    used, numbers = np.unique(surface.triangles, return_inverse=True)
    if len(used) == len(surface.points):
        return surface
    return replace(surface, points=surface.points[used], triangles=numbers.reshape(-1, 3).astype(np.int32))


def _degenerate(triangles: Ints) -> Array:
    a, b, c = triangles.T
    return np.asarray((a == b) | (b == c) | (c == a))


def _once(surface: Surface) -> Array:
    """Mark one of all triangles that have the same corners and agree, none of two that contradict each other."""
    corners = np.sort(surface.triangles, axis=1)
    pairs = np.sort(surface.sides, axis=1)
    # +1: the normal of the ascending corners points into the greater label.
    signs = _parities(surface.triangles) * np.where(surface.sides[:, 0] < surface.sides[:, 1], 1, -1)
    _, first, groups = np.unique(np.hstack([corners, pairs]), axis=0, return_index=True, return_inverse=True)
    groups = groups.ravel()
    sums = np.sign(np.bincount(groups, signs, len(first))).astype(int)
    agreeing = np.flatnonzero(signs == sums[groups])
    chosen = agreeing[np.unique(groups[agreeing], return_index=True)[1]]
    keep = np.zeros(len(groups), bool)
    keep[chosen] = True
    return keep


def _parities(triangles: Ints) -> Array:
    """Return +1 for triangles whose corners are an even permutation of ascending order, -1 for odd ones."""
    a, b, c = triangles.T
    return np.where((a < b).astype(int) + (b < c) + (c < a) == 2, 1, -1)


def _fins(surface: Surface) -> Array:
    """Mark triangles that have an edge of their own and another that belongs to three or more."""
    triangle_edges = adjacency.edges(surface.triangles, len(surface.points))[1]
    shared = np.bincount(triangle_edges.ravel())[triangle_edges] if len(triangle_edges) else triangle_edges
    return np.asarray((shared == 1).any(axis=1) & (shared > 2).any(axis=1))


def _turned(surface: Surface) -> tuple[Surface, int]:
    """Turn triangles so that within each interface neighbours agree, and regions are not inside out."""
    triangles = np.array(surface.triangles)
    triangle_edges = adjacency.edges(triangles, len(surface.points))[1]
    kinds = np.unique(surface.sides, axis=0, return_inverse=True)[1].ravel()
    against = _minorities(triangles, triangle_edges, kinds)
    triangles[against] = triangles[against][:, ::-1]
    turned = replace(surface, triangles=triangles)
    volumes = enclosed_volumes(turned)
    if volumes and all(volume < 0 for volume in volumes.values()):
        against = ~against
        turned = replace(surface, triangles=triangles[:, ::-1])
    return turned, int(against.sum())


def _closed(surface: Surface, max_hole: int) -> tuple[Surface, int]:
    """Close the holes within single interfaces that have at most `max_hole` edges."""
    loops = [loop for loop in _holes(surface) if len(loop[0]) <= max_hole]
    if not loops:
        return surface, 0
    points, triangles, sides = [surface.points], [surface.triangles], [surface.sides]
    for number, (corners, pair) in enumerate(loops):
        if len(corners) == 3:
            triangles.append(corners[None, :])
        else:
            middle = np.full(len(corners), len(surface.points) + sum(map(len, points[1:])), np.int32)
            points.append(surface.points[corners].mean(axis=0)[None, :])
            triangles.append(np.stack([corners, np.roll(corners, -1), middle], axis=1).astype(np.int32))
        sides.append(np.repeat(pair[None, :], len(triangles[-1]), axis=0))
        log.debug("repair: hole %d has %d edges", number, len(corners))
    mended = replace(
        surface, points=np.concatenate(points), triangles=np.concatenate(triangles), sides=np.concatenate(sides)
    )
    return mended, len(loops)


def _holes(surface: Surface) -> Iterator[tuple[Ints, Ints]]:
    """Yield the corners around each hole, in the order in which a triangle that fills it has them, and its sides."""
    _, triangle_edges = adjacency.edges(surface.triangles, len(surface.points))
    counts = np.bincount(triangle_edges.ravel(), minlength=1)
    rows, places = np.nonzero(counts[triangle_edges] == 1)
    # The free edge of a triangle runs from corner k + 1 to k + 2; what fills the hole runs along it the other way.
    starts = surface.triangles[rows, (places + 2) % 3]
    ends = surface.triangles[rows, (places + 1) % 3]
    following: dict[int, list[int]] = {}
    for number, start in enumerate(starts):
        following.setdefault(int(start), []).append(number)
    # Where two holes meet in a point their order is not known; they stay open.
    clear = {start: numbers[0] for start, numbers in following.items() if len(numbers) == 1}
    while clear:
        start, number = clear.popitem()
        loop, pair = [start], surface.sides[rows[number]]
        while (end := int(ends[number])) in clear:
            number = clear.pop(end)
            if (surface.sides[rows[number]] != pair).any():
                break
            loop.append(end)
        if int(ends[number]) == start and len(loop) > 2 and (surface.sides[rows[number]] == pair).all():
            yield np.array(loop, np.int32), pair


# --- what the steps that follow cannot take ---


def refuse_broken(surface: Surface, what: str) -> None:
    """Raise a MeshError for triangles that no step can work with; log a warning for open edges.

    Raises
    ------
    MeshError
        Triangles with fewer than three different points, there twice, or with edges around which the regions
        contradict each other (turned triangles, fins); `where` lists them.
    """
    rows = np.flatnonzero(_degenerate(surface.triangles))
    if len(rows):
        _refuse(what, "triangles with three different points", rows, "have not")
    runs, sums, edge_rows, triangle_edges = region_edges(surface)
    if (runs > 2).any():
        _, groups, counts = np.unique(
            np.sort(surface.triangles, axis=1), axis=0, return_inverse=True, return_counts=True
        )
        rows = np.flatnonzero(counts[groups.ravel()] > 1)
        if len(rows):
            _refuse(what, "every triangle once", rows, "share all corners with another")
    bad = edge_rows[(runs > 1) & (sums != 0)]
    if len(bad):
        rows = np.flatnonzero(np.isin(triangle_edges, bad).any(axis=1))
        _refuse(what, "sides that agree around every edge", rows, "lie at edges where they do not")
    n_open = len(np.unique(edge_rows[runs == 1]))
    if n_open:
        log.warning("%s: the surface has %d open edges; repair(surface) closes small holes", what, n_open)


def _refuse(what: str, expected: str, rows: Array, said: str) -> None:
    raise MeshError(
        f"{what} needs {expected}; {len(rows)} {said}, the first is row {rows[0]}; use repair(surface); {ROBUST}", rows
    )


# --- kernels ---


@njit(cache=True)
def _minorities(triangles: Any, triangle_edges: Any, kinds: Any) -> Any:
    """Mark the triangles that are turned against most of those they are joined to by edges of two of their kind."""
    n = triangles.shape[0]
    n_edges = triangle_edges.max() + 1 if n else 0
    # The triangles of one kind at each edge, as lists.
    heads, following = np.full(n_edges, -1, np.int64), np.full(3 * n, -1, np.int64)
    for t in range(n):
        for k in range(3):
            following[3 * t + k] = heads[triangle_edges[t, k]]
            heads[triangle_edges[t, k]] = 3 * t + k
    turns, against = np.zeros(n, np.int8), np.zeros(n, np.bool_)
    queue = np.empty(n, np.int64)
    for seed in range(n):
        if turns[seed]:
            continue
        turns[seed], queue[0] = 1, seed
        done, last, n_turned = 0, 1, 0
        while done < last:
            t = queue[done]
            done += 1
            n_turned += turns[t] < 0
            for k in range(3):
                other, shared = -1, 0
                slot = heads[triangle_edges[t, k]]
                while slot >= 0:
                    if slot // 3 != t and kinds[slot // 3] == kinds[t]:
                        other, shared = slot, shared + 1
                    slot = following[slot]
                if shared == 1 and turns[other // 3] == 0:
                    same = triangles[t, (k + 1) % 3] == triangles[other // 3, (other % 3 + 1) % 3]
                    turns[other // 3] = -turns[t] if same else turns[t]
                    queue[last] = other // 3
                    last += 1
        for i in range(last):
            against[queue[i]] = turns[queue[i]] < 0 if 2 * n_turned <= last else turns[queue[i]] > 0
    return against
