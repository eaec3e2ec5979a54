"""Triangles made one net: points that coincide merged, what is there twice once, walls of two bodies fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints, distinct_rows
from meshcell.core.types import Surface
from meshcell.core.units import convert
from meshcell.core.validation import OUTSIDE, labels_in, name_of

# Of the surface's extent: points nearer to each other are one.
SAME_POINT = 1e-9
# Of a body's extent: a greater tolerance would leave little of it.
OF_BODY = 0.05
# Copies of a point in float32 differ by the last digits of the largest coordinate; no edge is to be lost over that.
SAME_SINGLE, OF_EDGE = 4 * float(np.finfo(np.float32).eps), 1e-3

# Rounds in which diagonals are turned to those of other bodies; height of a quad over its diagonal that is flat.
FLIPS, FLAT = 10, 1e-6


def merged(surface: Surface, tolerance: float | None) -> Surface:
    """Make one point of those within the tolerance of each other; the first of them stays where it is."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    n = len(surface.points)
    if not n:
        return surface
    reach = _same_point(surface) if tolerance is None else tolerance
    pairs = cKDTree(surface.points).query_pairs(reach, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    groups = connected_components(graph, directed=False)[1]
    _, first = np.unique(groups, return_index=True)
    triangles: Ints = first[groups][surface.triangles].astype(np.int32)
    return without_loose_points(replace(surface, triangles=triangles))


def checked_tolerance(surface: Surface, tolerance: float | str | None) -> float | None:
    """Return the distance (um) at which points become one, or raise a ValueError where it would swallow a body."""
    if tolerance is None:
        return None
    length = convert(tolerance, "um", "tolerance")
    if not 0 <= length < np.inf:
        raise ValueError(f'tolerance should be a length >= 0 in um or a text such as "1 nm"; got {tolerance!r}')
    for label in labels_in(surface.sides):
        corners = surface.points[surface.triangles[(surface.sides == label).any(axis=1)]]
        extent = float(np.ptp(corners, axis=(0, 1)).max())
        if label != OUTSIDE and length > OF_BODY * extent:
            raise ValueError(
                f"tolerance should be far below the size of every body: points nearer to each other become one; got "
                f"{tolerance!r} where {name_of(surface.names, int(label))!r} is {extent:.3g} um long; numbers are um"
            )
    return length


def _same_point(surface: Surface) -> float:
    """Return the distance below which two points are one, um: rounding, also that of a file of float32 numbers."""
    points = surface.points
    corners = points[surface.triangles]
    lengths = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    reach = SAME_POINT * float(np.ptp(points, axis=0).max())
    long = lengths[lengths > reach]
    if not len(long):
        return reach
    return max(reach, min(SAME_SINGLE * float(np.abs(points).max()), OF_EDGE * float(np.median(long))))


def without_loose_points(surface: Surface) -> Surface:
    """Leave out the points that no triangle uses, and number the others anew."""
    used, numbers = np.unique(surface.triangles, return_inverse=True)
    if len(used) == len(surface.points):
        return surface
    return replace(surface, points=surface.points[used], triangles=numbers.reshape(-1, 3).astype(np.int32))


def kept(surface: Surface, keep: Array) -> Surface:
    """Return the surface with only the triangles that are marked; patches follow."""
    if keep.all():
        return surface
    rows = np.cumsum(keep) - 1
    patches = {name: rows[old[keep[old]]] for name, old in surface.patches.items()}
    return replace(surface, triangles=surface.triangles[keep], sides=surface.sides[keep], patches=patches)


def degenerate(triangles: Ints) -> Array:
    """Mark the triangles without three different points."""
    a, b, c = triangles.T
    return np.asarray((a == b) | (b == c) | (c == a))


def once(surface: Surface) -> Array:
    """Mark one of all triangles that have the same corners and agree, none of two that contradict each other."""
    corners = np.sort(surface.triangles, axis=1)
    pairs = np.sort(surface.sides, axis=1)
    # +1: the normal of the ascending corners points into the greater label.
    signs = _parities(surface.triangles) * np.where(surface.sides[:, 0] < surface.sides[:, 1], 1, -1)
    _, first, groups, _ = distinct_rows(np.hstack([corners, pairs]))
    sums = np.sign(np.bincount(groups, signs, len(first))).astype(int)
    agreeing = np.flatnonzero(signs == sums[groups])
    chosen = agreeing[np.unique(groups[agreeing], return_index=True)[1]]
    keep = np.zeros(len(groups), bool)
    keep[chosen] = True
    return keep


def same_corners(triangles: Ints) -> tuple[Array, Array, Array]:
    """Group triangles on the same three points.

    Returns
    -------
    groups : (t,) int
    first : (g,) int
        The first triangle of every group.
    agree : (t,) bool
        Whether a triangle is turned like the first of its group.
    """
    _, first, groups, _ = distinct_rows(np.sort(triangles, axis=1))
    parities = _parities(triangles)
    return groups, first, parities == parities[first][groups]


def with_common_diagonals(
    points: Floats, bodies: Sequence[tuple[int, Array, Ints]], patches: Mapping[str, Ints]
) -> list[tuple[int, Array, Ints]]:
    """Turn the diagonals of flat quads that two bodies share to where the first of them has it.

    Parameters
    ----------
    points : (p, 3) um
    bodies : (label, rows, triangles) of each
        On common points, each closed.
    patches : mapping of str to rows
        Two triangles of which one alone is in a patch are left.
    """
    owners = np.zeros(len(points), np.int64)
    for _, _, triangles in bodies:
        owners[np.unique(triangles)] += 1
    shared = np.flatnonzero(owners > 1)
    if not len(shared):
        return list(bodies)
    done: list[tuple[int, Array, Ints]] = []
    known = np.zeros((0, 4), np.int64)
    for label, rows, triangles in bodies:
        for _ in range(FLIPS if len(known) else 0):
            pairs, quads = _flat_quads(points, triangles, shared)
            turned = np.hstack([np.sort(quads[:, 2:], axis=1), np.sort(quads[:, :2], axis=1)])
            first, groups = distinct_rows(np.concatenate([known, turned]))[1:3]
            wanted = first[groups[len(known) :]] < len(known)
            for own in patches.values():
                within = np.isin(rows[pairs], own)
                wanted &= within[:, 0] == within[:, 1]
            pairs, quads = pairs[wanted], quads[wanted]
            # A triangle takes part in one flip at a time.
            rank = np.full(len(triangles), len(pairs))
            np.minimum.at(rank, pairs, np.arange(len(pairs))[:, None])
            alone = (rank[pairs] == np.arange(len(pairs))[:, None]).all(axis=1)
            if not alone.any():
                break
            (one, other), (a, b, c, d) = pairs[alone].T, quads[alone].T
            triangles = triangles.copy()
            triangles[one], triangles[other] = np.stack([a, d, c], axis=1), np.stack([d, b, c], axis=1)
        _, quads = _flat_quads(points, triangles, shared)
        known = np.concatenate([known, np.hstack([np.sort(quads[:, :2], axis=1), np.sort(quads[:, 2:], axis=1)])])
        done.append((label, rows, triangles))
    return done


def _flat_quads(points: Floats, triangles: Ints, among: Array) -> tuple[Array, Array]:
    """Return (q, 2) halves of flat convex quads, and (q, 4) their points: a, b of the diagonal, c, d beside it.

    The first triangle is a, b, c, the second b, a, d; of those whose points are all `among` some.
    """
    inner = np.flatnonzero(np.isin(triangles, among).all(axis=1))
    ends = triangles[inner][:, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]].reshape(-1, 3)
    owners = np.repeat(inner, 3)
    _, _, groups, _ = distinct_rows(np.sort(ends[:, :2], axis=1))
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups)
    last = np.cumsum(counts)[counts == 2] - 1
    one, other = order[last - 1], order[last]
    a, b, c = ends[one].T
    d = ends[other, 2]
    p, q, r, s = (points[k] for k in (a, b, c, d))
    normals = np.cross(q - p, r - p)
    lengths = np.linalg.norm(normals, axis=1)
    flat = np.abs(np.einsum("ij,ij->i", normals, s - p)) <= FLAT * lengths * np.linalg.norm(r - s, axis=1)
    for u, v, w in ((p, s, r), (s, q, r)):
        flat &= np.einsum("ij,ij->i", np.cross(v - u, w - u), normals) > FLAT * lengths**2
    flat &= ends[one, 0] == ends[other, 1]
    quads = np.stack([a, b, c, d], axis=1)
    return np.stack([owners[one], owners[other]], axis=1)[flat], quads[flat]


def _parities(triangles: Ints) -> Array:
    """Return +1 for triangles whose corners are an even permutation of ascending order, -1 for odd ones."""
    a, b, c = triangles.T
    return np.where((a < b).astype(int) + (b < c) + (c < a) == 2, 1, -1)


def fused(surface: Surface) -> tuple[Surface, int]:
    """Make one wall of two triangles on the same points which two regions bring, each against what is in between.

    Returns
    -------
    Surface
        A triangle a | 0 and one 0 | b in the same place become a | b; the first of them stays.
    int
        How many were fused.
    """
    groups, _, agree = same_corners(surface.triangles)
    counts = np.bincount(groups)
    order = np.argsort(groups, kind="stable")
    second = order[np.cumsum(counts)[counts == 2] - 1]
    first = order[np.cumsum(counts)[counts == 2] - 2]
    there = surface.sides[first]
    back = np.where(agree[second][:, None], surface.sides[second], surface.sides[second][:, ::-1])
    # Seen along the first triangle's normal: its regions, then the other's, or the other way.
    ahead = (there[:, 1] == back[:, 0]) & (there[:, 0] != back[:, 1])
    behind = (back[:, 1] == there[:, 0]) & (back[:, 0] != there[:, 1]) & ~ahead
    joined = np.where(ahead[:, None], np.stack([there[:, 0], back[:, 1]], 1), np.stack([back[:, 0], there[:, 1]], 1))
    fuses = ahead | behind
    sides, keep = np.array(surface.sides), np.ones(len(surface.triangles), bool)
    sides[first[fuses]] = joined[fuses]
    keep[second[fuses]] = False
    return kept(replace(surface, sides=sides), keep), int(fuses.sum())
