"""Edge and face swaps inside regions: the same points, better tetrahedra."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Floats, Ints
from meshcell.core.inner import inner, plain
from meshcell.core.kernels import njit
from meshcell.core.slices import stretches

# Rings of more tetrahedra than this around an edge are left: their triangulations are many and seldom better.
MAX_RING = 8
# Tetrahedra that are looked at in a fraction of a second.
SWAPPED = 50_000
# Positive order of corners: (edge, rest) is an even permutation of 0, 1, 2, 3.
EDGE_AND_REST = np.array([[0, 1, 2, 3], [0, 2, 3, 1], [0, 3, 1, 2], [1, 2, 0, 3], [1, 3, 2, 0], [2, 3, 0, 1]], np.int32)


def squared_sines(points: Floats, tets: Ints) -> Floats:
    """Return (n,) the squared sine of every tetrahedron's worst dihedral angle, negative where it is inverted.

    A sine sees narrow and wide angles alike, and its square needs no root. Of a regular tetrahedron it is 8/9.
    """
    return _squared_sines(plain(points), plain(tets))  # type: ignore[no-any-return]


def swap(points: Floats, tets: Ints, regions: Ints, below: float, passes: int = 3) -> tuple[Ints, Ints, int]:
    """Replace tetrahedra worse than `below` (see `squared_sines`) by others of the same points, where all are better.

    An edge inside a region is removed with its ring, or two tetrahedra of a region with a common face become three.
    The facets between regions stay as they are.

    Returns
    -------
    tets, regions : (n', 4) and (n',) int32
    n_swaps : int

    Notes
    -----
    Freitag and Ollivier-Gooch 1997, Tetrahedral mesh improvement using swapping and smoothing; the best triangulation
    of a ring by dynamic programming (Klincsek 1980; Shewchuk 2002, Two discrete optimization algorithms).
    """
    neighbours = adjacency.tet_neighbours(tets, len(points))
    room = len(tets) // 4 + 1000
    tets = np.concatenate([tets, np.full((room, 4), -1, np.int32)])
    neighbours = np.concatenate([neighbours, np.full((room, 4), -1, np.int32)])
    grown = np.concatenate([regions, np.zeros(room, np.int32)])
    # Rows in use and rows that are free again; a swap frees one at most.
    top, free, n_free, n_swaps = len(regions), np.empty(len(tets), np.int32), 0, 0
    for _ in range(passes):
        before = n_swaps
        # Those that are made in a pass are looked at in the next one.
        for first, last in stretches(top, SWAPPED):
            n, top, n_free = _swap(points, tets, grown, neighbours, top, free, n_free, below, first, last)
            n_swaps += n
        if n_swaps == before:
            break
    kept = tets[:, 0] >= 0
    return tets[kept], grown[kept], n_swaps


# --- kernels ---


@inner(cache=True, error_model="numpy")
def squared_sine(
    ax: float, ay: float, az: float, bx: float, by: float, bz: float,
    cx: float, cy: float, cz: float, dx: float, dy: float, dz: float,
) -> float:  # fmt: skip
    """Return the squared sine of the worst dihedral angle of a, b, c, d, negative if it is inverted.

    At an edge e between faces of doubled areas n, m the sine is 6 V |e| / (n m).
    """
    bx, by, bz = bx - ax, by - ay, bz - az
    cx, cy, cz = cx - ax, cy - ay, cz - az
    dx, dy, dz = dx - ax, dy - ay, dz - az
    # Doubled area vectors of the faces a b c, a c d, a d b; the fourth closes them.
    px, py, pz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    qx, qy, qz = cy * dz - cz * dy, cz * dx - cx * dz, cx * dy - cy * dx
    rx, ry, rz = dy * bz - dz * by, dz * bx - dx * bz, dx * by - dy * bx
    sx, sy, sz = px + qx + rx, py + qy + ry, pz + qz + rz
    volume = px * dx + py * dy + pz * dz
    p, q = px * px + py * py + pz * pz, qx * qx + qy * qy + qz * qz
    r, s = rx * rx + ry * ry + rz * rz, sx * sx + sy * sy + sz * sz
    ab, ac, ad = bx * bx + by * by + bz * bz, cx * cx + cy * cy + cz * cz, dx * dx + dy * dy + dz * dz
    ex, ey, ez = cx - bx, cy - by, cz - bz
    fx, fy, fz = dx - cx, dy - cy, dz - cz
    gx, gy, gz = bx - dx, by - dy, bz - dz
    bc, cd, db = ex * ex + ey * ey + ez * ez, fx * fx + fy * fy + fz * fz, gx * gx + gy * gy + gz * gz
    around_a = min(ab / (p * r), ac / (p * q), ad / (q * r))
    opposite = min(bc / (p * s), cd / (q * s), db / (r * s))
    result = abs(volume) * volume * min(around_a, opposite)
    # A face without area makes 0/0, which no comparison would call bad.
    return result if np.isfinite(result) else -1.0


@inner(cache=True)
def squared_sine_of(points: Any, a: int, b: int, c: int, d: int) -> float:
    """Return `squared_sine` of four rows of `points`."""
    return squared_sine(  # type: ignore[no-any-return]
        points[a, 0], points[a, 1], points[a, 2], points[b, 0], points[b, 1], points[b, 2],
        points[c, 0], points[c, 1], points[c, 2], points[d, 0], points[d, 1], points[d, 2],
    )  # fmt: skip


@njit(cache=True)
def _squared_sines(points: Any, tets: Any) -> Any:
    result = np.empty(tets.shape[0])
    for t in range(tets.shape[0]):
        result[t] = squared_sine_of(points, tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3])
    return result


@inner(cache=True)
def ring(tets: Any, regions: Any, neighbours: Any, t: int, edge: int, rows: Any, around: Any) -> int:
    """Walk the tetrahedra `rows` and points `around` an edge of t; return how many, 0 if the edge is not inside."""
    a, b = tets[t, EDGE_AND_REST[edge, 0]], tets[t, EDGE_AND_REST[edge, 1]]
    leave, enter = tets[t, EDGE_AND_REST[edge, 2]], tets[t, EDGE_AND_REST[edge, 3]]
    u = t
    n = 0
    while True:
        if n == MAX_RING:
            return 0
        rows[n] = u
        around[n] = leave
        n += 1
        following = -1
        for k in range(4):
            if tets[u, k] == leave:
                following = neighbours[u, k]
        if following < 0 or regions[following] != regions[t]:
            return 0
        if following == t:
            return n
        leave = enter
        for k in range(4):
            p = tets[following, k]
            if p != a and p != b and p != leave:
                enter = p
                break
        u = following


@inner(cache=True)
def _best_disc(points: Any, a: int, b: int, around: Any, n: int, at_least: float, best: Any, apex: Any) -> float:
    """Triangulate the ring so that the worst tetrahedron is best; `apex[i, j]` is the third corner over i, j."""
    for i in range(n - 1):
        best[i, i + 1] = 1.0
    for span in range(2, n):
        for i in range(n - span):
            j = i + span
            best[i, j] = -1.0
            apex[i, j] = i + 1
            for k in range(i + 1, j):
                worst = min(best[i, k], best[k, j])
                # What is not better than the present mesh can not be part of a better one.
                if worst <= at_least or worst <= best[i, j]:
                    continue
                worst = min(worst, squared_sine_of(points, around[i], around[k], around[j], b))
                if worst > max(at_least, best[i, j]):
                    worst = min(worst, squared_sine_of(points, around[i], around[j], around[k], a))
                if worst > best[i, j]:
                    best[i, j] = worst
                    apex[i, j] = k
    return best[0, n - 1]  # type: ignore[no-any-return]


@inner(cache=True)
def _disc_tets(a: int, b: int, around: Any, n: int, apex: Any, fresh: Any) -> int:
    """Write the two tetrahedra over each triangle of the chosen triangulation; return how many."""
    todo = [(0, n - 1)]
    count = 0
    while len(todo):
        i, j = todo.pop()
        if j - i < 2:
            continue
        k = apex[i, j]
        fresh[count, 0], fresh[count, 1], fresh[count, 2], fresh[count, 3] = around[i], around[k], around[j], b
        count += 1
        fresh[count, 0], fresh[count, 1], fresh[count, 2], fresh[count, 3] = around[i], around[j], around[k], a
        count += 1
        todo.append((i, k))
        todo.append((k, j))
    return count


@inner(cache=True)
def _same_face(tets: Any, t: int, k: int, face: Any) -> bool:
    for m in range(4):
        if m != k:
            p = tets[t, m]
            if p != face[0] and p != face[1] and p != face[2]:
                return False
    return True


@inner(cache=True)
def replace(tets: Any, neighbours: Any, old: Any, n_old: int, fresh: Any, n_fresh: int, slots: Any) -> None:
    """Put the tetrahedra `fresh` into `slots` in place of `old`, and mend the neighbours inside and around."""
    faces = np.empty((4 * n_old, 3), np.int32)
    outer = np.empty((4 * n_old, 2), np.int32)
    n_outer = 0
    for r in range(n_old):
        t = old[r]
        for k in range(4):
            u = neighbours[t, k]
            inner = False
            for s in range(n_old):
                inner = inner or old[s] == u
            if inner:
                continue
            c = 0
            for m in range(4):
                if m != k:
                    faces[n_outer, c] = tets[t, m]
                    c += 1
            outer[n_outer, 0], outer[n_outer, 1] = u, -1
            if u >= 0:
                for m in range(4):
                    if neighbours[u, m] == t and _same_face(tets, u, m, faces[n_outer]):
                        outer[n_outer, 1] = m
            n_outer += 1
    for r in range(n_old):
        tets[old[r], 0] = -1
    for r in range(n_fresh):
        for k in range(4):
            tets[slots[r], k] = fresh[r, k]
            neighbours[slots[r], k] = -1
    for f in range(n_outer):
        for r in range(n_fresh):
            for k in range(4):
                if _same_face(tets, slots[r], k, faces[f]):
                    neighbours[slots[r], k] = outer[f, 0]
                    if outer[f, 0] >= 0:
                        neighbours[outer[f, 0], outer[f, 1]] = slots[r]
    face = np.empty(3, np.int32)
    for r in range(n_fresh):
        for k in range(4):
            c = 0
            for m in range(4):
                if m != k:
                    face[c] = fresh[r, m]
                    c += 1
            for s in range(r):
                for m in range(4):
                    if _same_face(tets, slots[s], m, face):
                        neighbours[slots[r], k] = slots[s]
                        neighbours[slots[s], m] = slots[r]


@inner(cache=True)
def _remove_edge(points: Any, tets: Any, regions: Any, neighbours: Any, t: int, edge: int, work: Any) -> Any:
    """Find what would replace the ring of an edge; return (n_old, n_fresh), zeros if nothing is better."""
    old, around, fresh, best, apex = work
    n = ring(tets, regions, neighbours, t, edge, old, around)
    if n < 3:
        return 0, 0
    a, b = tets[t, EDGE_AND_REST[edge, 0]], tets[t, EDGE_AND_REST[edge, 1]]
    worst = 1.0
    for r in range(n):
        u = old[r]
        worst = min(worst, squared_sine_of(points, tets[u, 0], tets[u, 1], tets[u, 2], tets[u, 3]))
    # A thousandth better, or rounding could swap to and fro for ever.
    if _best_disc(points, a, b, around, n, 1.001 * worst, best, apex) <= 1.001 * worst:
        return 0, 0
    return n, _disc_tets(a, b, around, n, apex, fresh)


@inner(cache=True)
def _remove_face(points: Any, tets: Any, regions: Any, neighbours: Any, t: int, k: int, work: Any) -> Any:
    """Find the three tetrahedra that would replace t and its neighbour across face k; return (n_old, n_fresh)."""
    old, _, fresh, _, _ = work
    u = neighbours[t, k]
    if u < 0 or regions[u] != regions[t]:
        return 0, 0
    far = -1
    for m in range(4):
        p = tets[u, m]
        if p != tets[t, 0] and p != tets[t, 1] and p != tets[t, 2] and p != tets[t, 3]:
            far = p
    old[0], old[1] = t, u
    worst = min(
        squared_sine_of(points, tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]),
        squared_sine_of(points, tets[u, 0], tets[u, 1], tets[u, 2], tets[u, 3]),
    )
    count = 0
    for m in range(4):
        if m == k:
            continue
        # The far point in place of one corner of the face keeps the orientation.
        for c in range(4):
            fresh[count, c] = far if c == m else tets[t, c]
        if squared_sine_of(points, fresh[count, 0], fresh[count, 1], fresh[count, 2], fresh[count, 3]) <= 1.001 * worst:
            return 0, 0
        count += 1
    return 2, 3


@njit(cache=True)
def _swap(
    points: Any, tets: Any, regions: Any, neighbours: Any, top: int, free: Any, n_free: int,
    below: float, first: int, last: int,
) -> Any:  # fmt: skip
    """Swap at the tetrahedra first ... last; return how often, the rows in use and those free again."""
    work = (
        np.empty(MAX_RING, np.int32),
        np.empty(MAX_RING, np.int32),
        np.empty((2 * MAX_RING, 4), np.int32),
        np.empty((MAX_RING, MAX_RING)),
        np.empty((MAX_RING, MAX_RING), np.int32),
    )
    old, _, fresh, _, _ = work
    slots = np.empty(2 * MAX_RING, np.int32)
    changed = 0
    for t in range(first, last):
        if tets[t, 0] < 0:
            continue
        if squared_sine_of(points, tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]) >= below:
            continue
        n_old, n_fresh = 0, 0
        for way in range(10):
            if way < 6:
                n_old, n_fresh = _remove_edge(points, tets, regions, neighbours, t, way, work)
            else:
                n_old, n_fresh = _remove_face(points, tets, regions, neighbours, t, way - 6, work)
            if n_old > 0:
                break
        if n_old == 0 or top + n_fresh > tets.shape[0]:
            continue
        region = regions[t]
        for r in range(n_fresh):
            if r < n_old:
                slots[r] = old[r]
            elif n_free:
                n_free -= 1
                slots[r] = free[n_free]
            else:
                slots[r] = top
                top += 1
        for r in range(n_fresh, n_old):
            free[n_free] = old[r]
            n_free += 1
        replace(tets, neighbours, old, n_old, fresh, n_fresh, slots)
        for r in range(n_fresh):
            regions[slots[r]] = region
        changed += 1
    return changed, top, n_free
