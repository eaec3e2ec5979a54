"""A hash of space that keeps pace with a changing net: what lies near a box, and the nearest point of a surface."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.geometry.intersections import triangles_intersect

LEVELS = 32


class Grid(NamedTuple):
    """Triangles by the cell of their lowest corner, in the finest level whose cells are as large as they are.

    Eitz and Lixu 2007, Hierarchical spatial hashing for real-time collision detection: triangles of all sizes are put
    in and taken out in constant time, and a triangle that overlaps a box starts at most one cell below it.

    Parameters
    ----------
    heads : (h,) int32, h a power of two
        First triangle of every slot, -1 where there is none.
    links : (t,) int32
        Next triangle of the same slot.
    slots, levels : (t,) int64 and int32
        Slot and level of every triangle, -1 where it is not in the grid.
    boxes : (t, 6)
        Lowest and highest corner, um.
    counts : (LEVELS + 1,) int64
        Triangles per level; the last entry is the number of levels in use.
    cell : float
        Cells of level 0, um.
    """

    heads: Ints
    links: Ints
    slots: Array
    levels: Ints
    boxes: Floats
    counts: Array
    cell: float


class Base(NamedTuple):
    """A fixed surface, or its curves as triangles with two equal corners, to be asked for the nearest point.

    Parameters
    ----------
    points : (p, 3) um
    triangles : (t, 3) int32
    kinds : (t,) int64
        Only triangles of the kind asked for are found.
    normals : (t, 3)
        Of any length; zero for curves.
    sizes : (p,)
        A field that is interpolated at the nearest point.
    grid : Grid
    """

    points: Floats
    triangles: Ints
    kinds: Array
    normals: Floats
    sizes: Floats
    grid: Grid


def grid_of(points: Floats, triangles: Ints, cell: float, room: int = 0) -> Grid:
    """Put all triangles into a grid that has room for as many more."""
    n = len(triangles) + room
    size = 1 << max(int(2 * n).bit_length(), 4)
    grid = Grid(
        np.full(size, -1, np.int32),
        np.full(n, -1, np.int32),
        np.full(n, -1, np.int64),
        np.full(n, -1, np.int32),
        np.zeros((n, 6)),
        np.zeros(LEVELS + 1, np.int64),
        float(cell),
    )
    _insert_all(grid, points, np.ascontiguousarray(triangles))
    return grid


def base_of(points: Floats, triangles: Ints, kinds: Array, sizes: Floats) -> Base:
    """Make a surface, or curves given as (a, b, b), ready to be asked."""
    # Copies: read-only or transposed arrays are another type to numba, which would compile every kernel twice.
    points, triangles = np.array(points, order="C"), np.array(triangles, np.int32, order="C")
    corners = points[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    extent = float(np.ptp(corners, axis=1).max(axis=1).mean()) if len(triangles) else 1.0
    grid = grid_of(points, triangles, 1.25 * extent or 1.0)
    return Base(points, triangles, kinds.astype(np.int64), normals, np.array(sizes), grid)


# --- kernels ---


@inner(cache=True)
def _slot(i: int, j: int, k: int, level: int, mask: int) -> int:
    # The primes of Teschner et al. 2003, Optimized spatial hashing for collision detection.
    # Cells along k are neighbours in memory too, which halves the time of a query.
    return (((i * 73856093) ^ (j * 19349663) ^ (level * 15485863)) + k) & mask


@inner(cache=True)
def insert(grid: Any, points: Any, triangles: Any, t: int) -> None:
    """Put triangle t into the grid."""
    extent = 0.0
    for axis in range(3):
        x, y, z = points[triangles[t, 0], axis], points[triangles[t, 1], axis], points[triangles[t, 2], axis]
        grid.boxes[t, axis] = min(x, y, z)
        grid.boxes[t, axis + 3] = max(x, y, z)
        extent = max(extent, grid.boxes[t, axis + 3] - grid.boxes[t, axis])
    level, size = 0, grid.cell
    while size < extent and level < LEVELS - 1:
        size *= 2.0
        level += 1
    i = int(np.floor(grid.boxes[t, 0] / size))
    j = int(np.floor(grid.boxes[t, 1] / size))
    k = int(np.floor(grid.boxes[t, 2] / size))
    slot = _slot(i, j, k, level, grid.heads.shape[0] - 1)
    grid.links[t] = grid.heads[slot]
    grid.heads[slot] = t
    grid.slots[t] = slot
    grid.levels[t] = level
    grid.counts[level] += 1
    grid.counts[LEVELS] = max(grid.counts[LEVELS], level + 1)


@inner(cache=True)
def remove(grid: Any, t: int) -> None:
    """Take triangle t out of the grid."""
    slot = grid.slots[t]
    if grid.heads[slot] == t:
        grid.heads[slot] = grid.links[t]
    else:
        u = grid.heads[slot]
        while grid.links[u] != t:
            u = grid.links[u]
        grid.links[u] = grid.links[t]
    grid.counts[grid.levels[t]] -= 1
    grid.slots[t] = -1
    grid.levels[t] = -1


@njit(cache=True)
def _insert_all(grid: Any, points: Any, triangles: Any) -> None:
    # Backwards, so that the lists run with ascending rows.
    for t in range(triangles.shape[0] - 1, -1, -1):
        insert(grid, points, triangles, t)


@inner(cache=True)
def gather(grid: Any, box: Any, found: Any) -> int:
    """List the triangles whose boxes overlap `box` (6,), maybe some twice; return how many, -1 if too many."""
    n = 0
    size = grid.cell
    mask = grid.heads.shape[0] - 1
    for level in range(grid.counts[LEVELS]):
        if grid.counts[level] > 0:
            i0, i1 = int(np.floor(box[0] / size)) - 1, int(np.floor(box[3] / size))
            j0, j1 = int(np.floor(box[1] / size)) - 1, int(np.floor(box[4] / size))
            k0, k1 = int(np.floor(box[2] / size)) - 1, int(np.floor(box[5] / size))
            for i in range(i0, i1 + 1):
                for j in range(j0, j1 + 1):
                    for k in range(k0, k1 + 1):
                        t = grid.heads[_slot(i, j, k, level, mask)]
                        while t >= 0:
                            if grid.levels[t] == level and _overlap(grid.boxes, t, box):
                                if n == found.shape[0]:
                                    return -1
                                found[n] = t
                                n += 1
                            t = grid.links[t]
        size *= 2.0
    return n


@inner(cache=True)
def _overlap(boxes: Any, t: int, box: Any) -> Any:
    return (
        boxes[t, 0] <= box[3]
        and boxes[t, 3] >= box[0]
        and boxes[t, 1] <= box[4]
        and boxes[t, 4] >= box[1]
        and boxes[t, 2] <= box[5]
        and boxes[t, 5] >= box[2]
    )


@inner(cache=True)
def box_distance2(boxes: Any, t: int, x: float, y: float, z: float) -> Any:
    """Return the squared distance of a point from the box of triangle t."""
    dx = max(boxes[t, 0] - x, 0.0, x - boxes[t, 3])
    dy = max(boxes[t, 1] - y, 0.0, y - boxes[t, 4])
    dz = max(boxes[t, 2] - z, 0.0, z - boxes[t, 5])
    return dx * dx + dy * dy + dz * dz


# Of a degenerate triangle the weights are NaN, which no comparison chooses.
@inner(cache=True, error_model="numpy")
def closest(points: Any, a: int, b: int, c: int, x: float, y: float, z: float) -> Any:
    """Return the barycentric weights (u, v, w) of the point of triangle a, b, c that is nearest to x, y, z.

    Ericson 2005, Real-time collision detection, section 5.1.5. With b = c it is the segment a, b.
    """
    abx, aby, abz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
    acx, acy, acz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
    apx, apy, apz = x - points[a, 0], y - points[a, 1], z - points[a, 2]
    d1 = abx * apx + aby * apy + abz * apz
    if b == c:
        length2 = abx * abx + aby * aby + abz * abz
        v = min(max(d1 / length2, 0.0), 1.0) if length2 > 0 else 0.0
        return 1.0 - v, v, 0.0
    d2 = acx * apx + acy * apy + acz * apz
    if d1 <= 0 and d2 <= 0:
        return 1.0, 0.0, 0.0
    bpx, bpy, bpz = x - points[b, 0], y - points[b, 1], z - points[b, 2]
    d3 = abx * bpx + aby * bpy + abz * bpz
    d4 = acx * bpx + acy * bpy + acz * bpz
    if d3 >= 0 and d4 <= d3:
        return 0.0, 1.0, 0.0
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        v = d1 / (d1 - d3)
        return 1.0 - v, v, 0.0
    cpx, cpy, cpz = x - points[c, 0], y - points[c, 1], z - points[c, 2]
    d5 = abx * cpx + aby * cpy + abz * cpz
    d6 = acx * cpx + acy * cpy + acz * cpz
    if d6 >= 0 and d5 <= d6:
        return 0.0, 0.0, 1.0
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        w = d2 / (d2 - d6)
        return 1.0 - w, 0.0, w
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 >= d3 and d5 >= d6:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return 0.0, 1.0 - w, w
    total = va + vb + vc
    return va / total, vb / total, vc / total


@inner(cache=True)
def distance2(points: Any, a: int, b: int, c: int, x: float, y: float, z: float) -> Any:
    """Return the squared distance of x, y, z from triangle a, b, c."""
    u, v, w = closest(points, a, b, c, x, y, z)
    dx = u * points[a, 0] + v * points[b, 0] + w * points[c, 0] - x
    dy = u * points[a, 1] + v * points[b, 1] + w * points[c, 1] - y
    dz = u * points[a, 2] + v * points[b, 2] + w * points[c, 2] - z
    return dx * dx + dy * dy + dz * dz


@inner(cache=True, shared=True)
def nearest(base: Any, x: float, y: float, z: float, kind: int, normal: Any, reach: float, any_within: bool) -> Any:
    """Find the nearest point of `kind` within `reach` whose normal is less than 90 degrees from `normal` (a triple).

    Returns (squared distance, row of the triangle, -1 if none, u, v, w). With `any_within` the first hit is returned:
    whether something is near is quicker to tell than what is nearest.
    """
    # What is found within a small reach is the nearest of all; only where nothing is, the search widens.
    near = min(reach, base.grid.cell)
    hit = _nearest_within(base, x, y, z, kind, normal, near, any_within)
    while hit[1] < 0 and near < reach:
        near = min(2 * near, reach)
        hit = _nearest_within(base, x, y, z, kind, normal, near, any_within)
    return hit


@inner(cache=True)
def _nearest_within(
    base: Any, x: float, y: float, z: float, kind: int, normal: Any, reach: float, any_within: bool
) -> Any:
    grid = base.grid
    best, row, best_u, best_v, best_w = reach * reach, -1, 0.0, 0.0, 0.0
    size = grid.cell
    mask = grid.heads.shape[0] - 1
    for level in range(grid.counts[LEVELS]):
        if grid.counts[level] > 0:
            i0, i1 = int(np.floor((x - reach) / size)) - 1, int(np.floor((x + reach) / size))
            j0, j1 = int(np.floor((y - reach) / size)) - 1, int(np.floor((y + reach) / size))
            k0, k1 = int(np.floor((z - reach) / size)) - 1, int(np.floor((z + reach) / size))
            for i in range(i0, i1 + 1):
                for j in range(j0, j1 + 1):
                    for k in range(k0, k1 + 1):
                        t = grid.heads[_slot(i, j, k, level, mask)]
                        while t >= 0:
                            if base.kinds[t] == kind and box_distance2(grid.boxes, t, x, y, z) <= best:
                                turn = (
                                    base.normals[t, 0] * normal[0]
                                    + base.normals[t, 1] * normal[1]
                                    + base.normals[t, 2] * normal[2]
                                )
                                if turn >= 0:
                                    a, b, c = base.triangles[t, 0], base.triangles[t, 1], base.triangles[t, 2]
                                    u, v, w = closest(base.points, a, b, c, x, y, z)
                                    dx = u * base.points[a, 0] + v * base.points[b, 0] + w * base.points[c, 0] - x
                                    dy = u * base.points[a, 1] + v * base.points[b, 1] + w * base.points[c, 1] - y
                                    dz = u * base.points[a, 2] + v * base.points[b, 2] + w * base.points[c, 2] - z
                                    d2 = dx * dx + dy * dy + dz * dz
                                    # Of equally near triangles the lowest row, whatever the order of the hash.
                                    if d2 < best or (d2 == best and (row < 0 or t < row)):
                                        best, row, best_u, best_v, best_w = d2, t, u, v, w
                                        if any_within:
                                            return best, row, best_u, best_v, best_w
                            t = grid.links[t]
        size *= 2.0
    return best, row, best_u, best_v, best_w


@inner(cache=True, shared=True)
def collides(grid: Any, points: Any, triangles: Any, rows: Any, n_rows: int, found: Any, busy: Any) -> Any:
    """Tell whether one of `rows`, changed since it was put into the grid, cuts another triangle.

    `busy` (t,) booleans, all False, are used and left so; `found` is a buffer.
    """
    box = np.empty(6)
    for axis in range(3):
        box[axis], box[axis + 3] = np.inf, -np.inf
    for r in range(n_rows):
        busy[rows[r]] = True
        for corner in range(3):
            for axis in range(3):
                x = points[triangles[rows[r], corner], axis]
                box[axis], box[axis + 3] = min(box[axis], x), max(box[axis + 3], x)
    n = gather(grid, box, found)
    hit = n < 0
    for r in range(n_rows):
        if hit:
            break
        t = rows[r]
        for axis in range(3):
            x, y, z = points[triangles[t, 0], axis], points[triangles[t, 1], axis], points[triangles[t, 2], axis]
            box[axis], box[axis + 3] = min(x, y, z), max(x, y, z)
        for f in range(n):
            u = found[f]
            if not busy[u] and _overlap(grid.boxes, u, box) and _meet(points, triangles, t, u):
                hit = True
                break
        for other in range(r):
            if hit or _meet(points, triangles, t, rows[other]):
                hit = True
                break
    for r in range(n_rows):
        busy[rows[r]] = False
    return hit


@inner(cache=True)
def _meet(points: Any, triangles: Any, t: int, u: int) -> Any:
    # Most pairs are parted by a plane, which is far quicker to see than the rest.
    if parted(points, triangles, t, u) or parted(points, triangles, u, t):
        return False
    return triangles_intersect(points, triangles[t], triangles[u])


@inner(cache=True)
def parted(points: Any, triangles: Any, t: int, u: int) -> bool:
    """Tell whether u lies beyond the plane of t, or beyond one at an edge of t that is upright on it.

    Corners that both have are left out: in those they may meet. False does not mean that they meet.
    """
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
    vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    # A thousandth of the size apart, well above rounding and the fold that counts as an intersection.
    size = np.sqrt(max(ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz))
    slack = 1e-3 * size * np.sqrt(nx * nx + ny * ny + nz * nz)
    above, below = True, True
    for k in range(3):
        q = triangles[u, k]
        if q != a and q != b and q != c:
            x, y, z = points[q, 0] - points[a, 0], points[q, 1] - points[a, 1], points[q, 2] - points[a, 2]
            height = nx * x + ny * y + nz * z
            above = above and height > slack
            below = below and height < -slack
    if above or below:
        return True
    for side in range(3):
        p, r = triangles[t, side], triangles[t, (side + 1) % 3]
        ex, ey, ez = points[r, 0] - points[p, 0], points[r, 1] - points[p, 1], points[r, 2] - points[p, 2]
        mx, my, mz = ey * nz - ez * ny, ez * nx - ex * nz, ex * ny - ey * nx
        margin = 1e-3 * size * np.sqrt(mx * mx + my * my + mz * mz)
        beyond = True
        for k in range(3):
            q = triangles[u, k]
            if q != p and q != r:
                x, y, z = points[q, 0] - points[p, 0], points[q, 1] - points[p, 1], points[q, 2] - points[p, 2]
                beyond = beyond and mx * x + my * y + mz * z > margin
        if beyond:
            return True
    return False
