"""Holes in a surface: found as loops of open edges, judged by their size, closed around their middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats, Ints, distinct_rows
from meshcell.core.measures import area_vectors_of
from meshcell.core.types import Surface
from meshcell.surfaces.nets import kept

# Of the area of the piece that has it: a larger hole is no damage. One triangle that is missing may be half of it.
LARGEST, LARGEST_OF_ONE = 0.1, 0.5
# Of the square of its longest edge: a hole with less area is a point on that edge.
FLAT = 1e-5
# Open pieces with less of the whole area which enclose nothing are loose.
LOOSE = 0.01


class Hole(NamedTuple):
    """A loop of open edges: its corners in the order of a triangle that fills it, the sides, and what would fill it.

    `rows` are triangles at the edges from each corner to the next.
    """

    corners: Ints
    rows: Array
    sides: Ints
    points: Floats
    triangles: Ints
    share: float


def closed(surface: Surface, max_hole: int | None) -> tuple[Surface, int, list[Hole]]:
    """Close holes within single interfaces; return also how many were closed, and those that stay open.

    Parameters
    ----------
    surface : Surface
    max_hole : int, optional
        Of edges around a hole; by default holes are judged by the area that would fill them, see `LARGEST`.
    """
    points, triangles, sides = [surface.points], [surface.triangles], [surface.sides]
    n, left = len(surface.points), []
    for hole in holes(surface):
        if not is_small(hole, max_hole):
            left.append(hole)
            continue
        # The middle is the first point that is new.
        triangles.append(np.where(hole.triangles < len(surface.points), hole.triangles, n).astype(np.int32))
        points.append(hole.points)
        sides.append(np.repeat(hole.sides[None, :], len(hole.triangles), axis=0))
        n += len(hole.points)
    if len(triangles) == 1:
        return surface, 0, left
    whole = replace(
        surface, points=np.concatenate(points), triangles=np.concatenate(triangles), sides=np.concatenate(sides)
    )
    return whole, len(triangles) - 1, left


def is_small(hole: Hole, max_hole: int | None = None) -> bool:
    """Tell whether a hole is damage that `closed` closes."""
    if max_hole is None:
        return hole.share <= (LARGEST_OF_ONE if len(hole.corners) == 3 else LARGEST)
    return len(hole.corners) <= max_hole and hole.share < 1 - 1e-6


def stitched(surface: Surface) -> tuple[Surface, int]:
    """Split triangles at points that lie on their edges, where others end (T-junctions); return how many splits."""
    n = len(surface.triangles)
    while splits := _splits(surface):
        triangles, rows = np.array(surface.triangles), np.array(list(splits))
        halves = triangles[rows]
        for half, (row, (a, b, m)) in zip(halves, splits.items(), strict=True):
            half[half == a] = m
            triangles[row][triangles[row] == b] = m
        new = len(triangles) + np.arange(len(rows))
        patches = {
            name: np.append(old, new[np.isin(rows, old)]).astype(np.int32) for name, old in surface.patches.items()
        }
        sides = np.concatenate([surface.sides, surface.sides[rows]])
        surface = replace(surface, triangles=np.concatenate([triangles, halves]), sides=sides, patches=patches)
    return surface, len(surface.triangles) - n


def _splits(surface: Surface) -> dict[int, tuple[int, int, int]]:
    """Return triangle -> ends of its edge, point on it: the edge is the longest of a hole without area."""
    found: dict[int, tuple[int, int, int]] = {}
    for hole in holes(surface):
        ends = surface.points[hole.corners]
        lengths = np.linalg.norm(np.roll(ends, -1, axis=0) - ends, axis=1)
        long = int(lengths.argmax())
        fill = area_vectors_of(np.concatenate([ends, hole.points]), _local(len(ends)))
        # All others together are as long as it.
        flat = np.linalg.norm(fill, axis=1).sum() < FLAT * lengths[long] ** 2
        if flat and lengths.sum() < (2 + FLAT) * lengths[long]:
            a, b, m = np.roll(hole.corners, -long)[:3].tolist()
            row = int(hole.rows[long])
            if m not in surface.triangles[row]:
                found.setdefault(row, (a, b, m))
    return found


def without_loose_pieces(surface: Surface) -> tuple[Surface, int]:
    """Leave out small open pieces that enclose nothing, as a triangle beside a body; return how many triangles."""
    if not len(surface.triangles):
        return surface, 0
    pieces, areas, is_open = _pieces(surface)
    gone = np.zeros(len(areas), bool)
    filled = np.zeros(len(areas))
    for piece, hole in zip(*_with_pieces(surface, pieces), strict=True):
        filled[piece] += hole.share * areas[piece]
    # As much would be needed to close it as there is: it is a sheet, and both its sides are one region.
    few = np.bincount(pieces, minlength=len(areas)) < 4
    gone = is_open & (few | ((filled > 0.9 * areas) & (areas < LOOSE * areas.sum())))
    gone[areas.argmax()] = False
    keep = ~gone[pieces]
    return kept(surface, keep), int((~keep).sum())


def _with_pieces(surface: Surface, pieces: Array) -> tuple[list[int], list[Hole]]:
    found = list(holes(surface))
    of_point = np.zeros(len(surface.points), np.int64)
    of_point[surface.triangles] = pieces[:, None]
    return [int(of_point[hole.corners[0]]) for hole in found], found


def _pieces(surface: Surface) -> tuple[Array, Floats, Array]:
    """Return the piece of every triangle, joined by edges, and of every piece its area and whether it is open."""
    _, triangle_edges = adjacency.edges(surface.triangles, len(surface.points))
    n, n_edges = len(surface.triangles), int(triangle_edges.max()) + 1
    rows = np.repeat(np.arange(n), 3)
    graph = sparse.coo_matrix((np.ones(3 * n, np.int8), (rows, n + triangle_edges.ravel())), (n + n_edges,) * 2)
    numbers = connected_components(graph, directed=False)[1][:n]
    pieces: Array = np.unique(numbers, return_inverse=True)[1].ravel()
    single = np.bincount(triangle_edges.ravel(), minlength=n_edges)[triangle_edges] == 1
    is_open = np.bincount(pieces, single.any(axis=1)) > 0
    return pieces, np.bincount(pieces, surface.areas).astype(np.float64), is_open


def holes(surface: Surface) -> Iterator[Hole]:
    """Find the loops of open edges; where several meet in a point, each is closed as soon as it comes back there.

    A hole in the wall between two regions may end at the walls that they have with others: these edges have two
    triangles or more, but its two regions end there, see `_open_edges`.
    """
    found = _open_edges(surface)
    if not found.single.any():
        return
    pieces, areas, _ = _pieces(surface)
    starts, ends = found.runs.T
    pairs, _, kinds, _ = distinct_rows(found.sides)
    leaving: dict[tuple[int, int], list[int]] = {}
    for number in reversed(range(len(starts))):
        leaving.setdefault((int(kinds[number]), int(starts[number])), []).append(number)
    for kind, start in list(leaving):
        while leaving[kind, start]:
            for path in _loops(leaving, kind, start, ends):
                corners = starts[path].astype(np.int32)
                # Without an edge of one triangle there is no hole, but a wrong label on what it surrounds.
                if len(corners) > 2 and found.single[path].any():
                    area = float(areas[pieces[found.rows[path[0]]]])
                    yield _filled(surface.points, corners, found.rows[path], pairs[kind].astype(np.int32), area)


class _OpenEdges(NamedTuple):
    """Edges at which two regions end: how what fills the hole runs along them (k, 2), its sides, a triangle there."""

    runs: Ints
    sides: Ints
    rows: Array
    single: Array


def _open_edges(surface: Surface) -> _OpenEdges:
    """Find the edges at which one triangle between two regions is missing.

    Around an edge every region is entered as often as it is left; where one triangle is missing two regions are not.
    """
    edges, triangle_edges = adjacency.edges(surface.triangles, len(surface.points))
    if not len(edges):
        return _OpenEdges(edges, edges, np.zeros(0, np.int64), np.zeros(0, bool))
    # Edge k of a triangle runs from corner k + 1 to k + 2.
    turns = np.where(surface.triangles[:, [1, 2, 0]] < surface.triangles[:, [2, 0, 1]], 1, -1)
    labels, numbers = np.unique(surface.sides, return_inverse=True)
    keys = triangle_edges[:, :, None].astype(np.int64) * len(labels) + numbers.reshape(-1, 1, 2)
    present, which = np.unique(keys, return_inverse=True)
    sums = np.bincount(which.ravel(), (turns[:, :, None] * np.array([1, -1])).ravel(), len(present)).astype(int)
    present, sums = present[sums != 0], sums[sums != 0]
    of_edge = present // len(labels)
    one_missing = (np.bincount(of_edge, minlength=len(edges)) == 2) & (
        np.bincount(of_edge, np.abs(sums), len(edges)) == 2
    )
    # Two entries for each of these edges, in the order of their regions.
    ends = one_missing[of_edge]
    open_rows = of_edge[ends][::2]
    sides = labels[present[ends] % len(labels)].reshape(-1, 2)[:, ::-1]
    # What fills the hole runs along the edge the other way than the greater region, with that one behind it.
    back = sums[ends][1::2] > 0
    runs = np.where(back[:, None], edges[open_rows][:, ::-1], edges[open_rows])
    row_of = np.zeros(len(edges), np.int64)
    row_of[triangle_edges] = np.arange(len(triangle_edges))[:, None]
    counts = np.bincount(triangle_edges.ravel(), minlength=len(edges))
    return _OpenEdges(runs, sides, row_of[open_rows], counts[open_rows] == 1)


def _loops(leaving: dict[tuple[int, int], list[int]], kind: int, start: int, ends: Ints) -> Iterator[list[int]]:
    """Walk along open edges of one kind from a point; yield a loop whenever the way comes back to a point on it."""
    path, here = [], start
    on_path = {start: 0}
    while leaving.get((kind, here)):
        number = leaving[kind, here].pop()
        path.append(number)
        here = int(ends[number])
        if here in on_path:
            yield path[on_path[here] :]
            path = path[: on_path[here]]
            on_path = {point: place for point, place in on_path.items() if place <= len(path)}
        else:
            on_path[here] = len(path)


def _local(n: int) -> Ints:
    """Return the triangles that fill a loop of n points, around its middle, point n; one triangle fills three."""
    numbers = np.arange(n, dtype=np.int32)
    return numbers[None] if n == 3 else np.stack([numbers, np.roll(numbers, -1), np.full(n, n, np.int32)], axis=1)


def _filled(points: Floats, corners: Ints, rows: Array, sides: Ints, area: float) -> Hole:
    """Fill a loop by one triangle, or by triangles around its middle, whose number is that of the first new point."""
    local = _local(len(corners))
    new: Floats = np.zeros((0, 3)) if len(corners) == 3 else points[corners].mean(axis=0)[None, :]
    fill = np.linalg.norm(area_vectors_of(np.concatenate([points[corners], new]), local), axis=1).sum()
    triangles = np.append(corners, len(points))[local].astype(np.int32)
    return Hole(corners, rows, sides, new, triangles, float(fill) / max(area, 1e-300))
