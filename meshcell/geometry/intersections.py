"""Triangles that cut through each other, found through a hash of space."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core.arrays import Floats, Ints
from meshcell.core.hints import require
from meshcell.core.inner import inner, plain
from meshcell.core.kernels import njit
from meshcell.core.rounding import dot
from meshcell.core.slices import stretches
from meshcell.core.types import Surface, TetMesh

# Cells of the hash are up to so many times halved or doubled from those of the middle triangle.
LEVELS = 40
# Triangles that look for others in a fraction of a second.
LOOKED_AT = 20_000


def self_intersections(mesh: Surface | TetMesh) -> Ints:
    """Find all pairs of interface triangles that intersect.

    Parameters
    ----------
    mesh : Surface or TetMesh

    Returns
    -------
    (k, 2) int32
        Pairs of rows of `triangles` (or `facets`), smaller row first. Triangles that share an edge count when they
        are folded onto each other, those that share a point when they meet elsewhere too, others when they touch.

    Notes
    -----
    Two triangles in general position intersect when an edge of one passes through the other (Moller 1997, A fast
    triangle-triangle intersection test). Coplanar triangles that overlap without a shared point are found only when
    an edge of one leaves the plane; nets that came from voxels do not have them.
    """
    require(mesh, (Surface, TetMesh), "self_intersections(mesh)")
    return intersecting_pairs(mesh.points, mesh.triangles if isinstance(mesh, Surface) else mesh.facets)


def intersecting_pairs(points: Floats, triangles: Ints) -> Ints:
    """Return (k, 2) the pairs of intersecting triangles, see `self_intersections`."""
    if len(triangles) == 0:
        return np.empty((0, 2), np.int32)
    corners = points[triangles]
    extents = np.ptp(corners, axis=1).max(axis=1)
    if not (extents > 0).any():
        return np.empty((0, 2), np.int32)
    # Each triangle lies in cells as large as itself, so that one that reaches across the whole is in eight of them.
    middle = 1.5 * float(np.median(extents[extents > 0]))
    ratios = np.maximum(extents / middle, 2.0**-LEVELS)
    levels = np.minimum(np.ceil(np.log2(ratios)).astype(np.int64) + LEVELS, 2 * LEVELS)
    sizes = middle * 2.0 ** np.arange(-LEVELS, LEVELS + 1)
    used = np.unique(levels)
    points, triangles, origin = plain(points), plain(triangles), points.min(axis=0)
    offsets, rows = _hashed(points, triangles, levels, sizes, origin)
    seen = np.full(len(triangles), -1, np.int32)
    found = [
        _pairs(points, triangles, levels, used, sizes, origin, offsets, rows, seen, first, last)
        for first, last in stretches(len(triangles), LOOKED_AT)
    ]
    # Sorted as pairs are, each once; as one number, which sorts ten times as fast.
    keys = np.unique(np.concatenate(found))
    return np.stack([keys // len(triangles), keys % len(triangles)], axis=1).astype(np.int32)


# --- kernels ---


@inner(cache=True)
def _slot(i: int, j: int, k: int, mask: int) -> int:
    # The primes of Teschner et al. 2003, Optimized spatial hashing for collision detection.
    return ((i * 73856093) ^ (j * 19349663) ^ (k * 83492791)) & mask


@njit(cache=True)
def _cells(points: Any, triangle: Any, size: float, origin: Any, low: Any, high: Any) -> None:
    """Write the first and last cells of a triangle's box along each axis."""
    for axis in range(3):
        a, b, c = points[triangle[0], axis], points[triangle[1], axis], points[triangle[2], axis]
        low[axis] = np.int64(np.floor((min(a, b, c) - origin[axis]) / size))
        high[axis] = np.int64(np.floor((max(a, b, c) - origin[axis]) / size))


@njit(cache=True)
def _apart(points: Any, s: Any, t: Any) -> bool:
    """Tell whether the boxes of two triangles have a gap between them."""
    for axis in range(3):
        a, b, c = points[s[0], axis], points[s[1], axis], points[s[2], axis]
        d, e, f = points[t[0], axis], points[t[1], axis], points[t[2], axis]
        if min(a, b, c) > max(d, e, f) or max(a, b, c) < min(d, e, f):
            return True
    return False


@njit(cache=True)
def _hashed(points: Any, triangles: Any, levels: Any, sizes: Any, origin: Any) -> Any:
    """Put triangles into the cells of their levels: those of slot s are `rows[offsets[s] : offsets[s + 1]]`."""
    n = triangles.shape[0]
    size = 1
    while size < 2 * n:
        size *= 2
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    offsets = np.zeros(size + 1, np.int64)
    for t in range(n):
        _cells(points, triangles[t], sizes[levels[t]], origin, low, high)
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                for k in range(low[2], high[2] + 1):
                    offsets[_slot(i, j, k, size - 1) + 1] += 1
    for s in range(size):
        offsets[s + 1] += offsets[s]
    cursor = offsets[:-1].copy()
    rows = np.empty(offsets[-1], np.int32)
    for t in range(n):
        _cells(points, triangles[t], sizes[levels[t]], origin, low, high)
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                for k in range(low[2], high[2] + 1):
                    s = _slot(i, j, k, size - 1)
                    rows[cursor[s]] = t
                    cursor[s] += 1
    return offsets, rows


@njit(cache=True)
def _pairs(
    points: Any, triangles: Any, levels: Any, used: Any, sizes: Any, origin: Any,
    offsets: Any, rows: Any, seen: Any, first: int, last: int,
) -> Any:  # fmt: skip
    """Find the pairs a < b of triangles first ... last, as a n + b: each looks into the cells of its own level and of
    all coarser ones that are in use."""
    n, size = triangles.shape[0], offsets.shape[0] - 1
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    found = [np.int64(0) for _ in range(0)]
    for t in range(first, last):
        for r in range(used.shape[0]):
            level = used[r]
            if level < levels[t]:
                continue
            _cells(points, triangles[t], sizes[level], origin, low, high)
            for i in range(low[0], high[0] + 1):
                for j in range(low[1], high[1] + 1):
                    for k in range(low[2], high[2] + 1):
                        s = _slot(i, j, k, size - 1)
                        for place in range(offsets[s], offsets[s + 1]):
                            u = rows[place]
                            # Of two on one level the smaller row looks; a finer one is not found from here.
                            if levels[u] != level or (level == levels[t] and u <= t) or seen[u] == t:
                                continue
                            seen[u] = t
                            if _apart(points, triangles[t], triangles[u]):
                                continue
                            a, b = min(t, u), max(t, u)
                            if triangles_intersect(points, triangles[a], triangles[b]):
                                found.append(np.int64(a) * n + b)
    pairs = np.empty(len(found), np.int64)
    for r in range(len(found)):
        pairs[r] = found[r]
    return pairs


@inner(cache=True)
def orient(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Six times the signed volume of a, b, c, d: positive where d lies on the side the normal of a, b, c points to."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    wx, wy, wz = d[0] - a[0], d[1] - a[1], d[2] - a[2]
    return (uy * vz - uz * vy) * wx + (uz * vx - ux * vz) * wy + (ux * vy - uy * vx) * wz


@inner(cache=True)
def segment_cuts(p: Any, q: Any, a: Any, b: Any, c: Any) -> Any:
    """Tell whether the segment p, q passes through the triangle a, b, c or touches it from one side."""
    low = min(p[0], q[0]), min(p[1], q[1]), min(p[2], q[2])
    high = max(p[0], q[0]), max(p[1], q[1]), max(p[2], q[2])
    for axis in range(3):
        if min(a[axis], b[axis], c[axis]) > high[axis] or max(a[axis], b[axis], c[axis]) < low[axis]:
            return False
    above, below = orient(a, b, c, p), orient(a, b, c, q)
    if above * below > 0 or max(abs(above), abs(below)) <= _rounding(p, q, a, b, c):
        return False
    u, v, w = orient(p, q, a, b), orient(p, q, b, c), orient(p, q, c, a)
    return (u >= 0 and v >= 0 and w >= 0) or (u <= 0 and v <= 0 and w <= 0)


@inner(cache=True)
def _rounding(p: Any, q: Any, a: Any, b: Any, c: Any) -> Any:
    """Return how far `orient` may be from zero for points of one plane, as on a face of the box."""
    size, largest = 0.0, 0.0
    for axis in range(3):
        low = min(p[axis], q[axis], a[axis], b[axis], c[axis])
        high = max(p[axis], q[axis], a[axis], b[axis], c[axis])
        size, largest = max(size, high - low), max(largest, high, -low)
    # Coordinates are known to 1.1e-16 of the largest; a product of three differences has six terms.
    return 1e-15 * largest * size * size


@inner(cache=True, shared=True)
def triangles_intersect(points: Any, s: Any, t: Any) -> Any:
    """Tell whether two triangles (rows of points) meet anywhere but in the points and edges they share."""
    shared = 0
    in_s = np.zeros(3, np.bool_)
    in_t = np.zeros(3, np.bool_)
    for i in range(3):
        for j in range(3):
            if s[i] == t[j]:
                shared += 1
                in_s[i] = True
                in_t[j] = True
    if shared == 3:
        return True
    if shared == 2:
        return _folded(points, s, t, in_s, in_t)
    for i in range(3):
        j = (i + 1) % 3
        # Of triangles that share a point, only the edge opposite to it can pass through the other.
        tested = shared == 0 or in_s[(i + 2) % 3]
        if tested and segment_cuts(points[s[i]], points[s[j]], points[t[0]], points[t[1]], points[t[2]]):
            return True
        tested = shared == 0 or in_t[(i + 2) % 3]
        if tested and segment_cuts(points[t[i]], points[t[j]], points[s[0]], points[s[1]], points[s[2]]):
            return True
    return False


@inner(cache=True)
def _folded(points: Any, s: Any, t: Any, in_s: Any, in_t: Any) -> Any:
    """Tell whether two triangles on a common edge lie on the same side of it in one plane, to a 1e-4 of a radian."""
    for k in range(3):
        if not in_s[k]:
            tip_s, a, b = points[s[k]], points[s[(k + 1) % 3]], points[s[(k + 2) % 3]]
        if not in_t[k]:
            tip_t = points[t[k]]
    edge = b - a
    length2 = dot(edge, edge)
    if length2 == 0:
        return True
    u = tip_s - a
    u = u - edge * (dot(u, edge) / length2)
    v = tip_t - a
    v = v - edge * (dot(v, edge) / length2)
    size = np.sqrt(dot(u, u) * dot(v, v))
    return dot(u, v) >= (1 - 5e-9) * size
