"""Local changes of a triangle net that keep its interfaces, curves and topology: split, collapse, flip, move.

Every change is tried, looked at, and undone where it breaks a rule, so that a net which was good stays good. Edges at
which not exactly two triangles of one kind meet are features; points on a curve stay on it, points where curves meet
stay where they are; the topology is kept (link condition); no triangle turns over, leaves the old surface by more than
is allowed, or cuts another one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.rounding import arccosine, sine_cosine
from meshcell.geometry.features import CURVE, FREE
from meshcell.geometry.proximity import Base, Grid, collides, insert, nearest, remove

GONE = 3
# No star of a net is larger; an operation that meets one is refused.
STAR = 256


class Net(NamedTuple):
    """A triangle net under change; rows of `triangles` that start with -1 are gone or not yet there.

    Parameters
    ----------
    points : (p, 3) um
    triangles : (t, 3) int32
    kinds : (t,) int64
        Interface and patches of every triangle.
    status : (p,) uint8
        FREE, CURVE, FIXED or GONE.
    sizes : (p,) um
        Wanted edge length.
    curves : (p,) int64
        Curve of every CURVE point.
    heads : (p,) int32
        First corner (3 * triangle + corner) at every point.
    links : (3 t,) int32
        Next corner at the same point.
    marks : (p + 1,) int64
        Scratch; the last one counts.
    busy : (t,) bool
        Scratch, False between operations.
    found : (m,) int32
        Scratch.
    grid : Grid
    surface, lines : Base
        The old surface and its curves.
    """

    points: Floats
    triangles: Ints
    kinds: Array
    status: Array
    sizes: Floats
    curves: Array
    heads: Ints
    links: Ints
    marks: Array
    busy: Array
    found: Ints
    grid: Grid
    surface: Base
    lines: Base


# --- stars ---


@inner(cache=True)
def link_corners(net: Any, t: int) -> None:
    """Enter triangle t into the stars of its corners."""
    for k in range(3):
        p = net.triangles[t, k]
        net.links[3 * t + k] = net.heads[p]
        net.heads[p] = 3 * t + k


@njit(cache=True)
def link_all(net: Any, n: int) -> None:
    """Enter the first n triangles."""
    for t in range(n - 1, -1, -1):
        link_corners(net, t)


@inner(cache=True)
def unlink_corner(net: Any, p: int, corner: int) -> None:
    """Take a corner of a triangle off the list of its point."""
    if net.heads[p] == corner:
        net.heads[p] = net.links[corner]
        return
    c = net.heads[p]
    while net.links[c] != corner:
        c = net.links[c]
    net.links[c] = net.links[corner]


@inner(cache=True)
def star_of(net: Any, p: int, rows: Any) -> int:
    """List the triangles around a point; return how many, -1 if there are too many."""
    n = 0
    c = net.heads[p]
    while c >= 0:
        if n == STAR:
            return -1
        rows[n] = c // 3
        n += 1
        c = net.links[c]
    return n


@inner(cache=True)
def around_edge(net: Any, a: int, b: int, rows: Any) -> int:
    """List the triangles at the edge a, b."""
    n = 0
    c = net.heads[a]
    while c >= 0 and n < STAR:
        t = c // 3
        if net.triangles[t, 0] == b or net.triangles[t, 1] == b or net.triangles[t, 2] == b:
            rows[n] = t
            n += 1
        c = net.links[c]
    return n


@inner(cache=True)
def is_feature(net: Any, rows: Any, n: int) -> bool:
    """Tell whether an edge with these n triangles lies on a curve: where other than two of one kind meet."""
    return n != 2 or net.kinds[rows[0]] != net.kinds[rows[1]]


@inner(cache=True)
def mix(kind: int) -> Any:
    """Scramble a kind so that sums over the triangles at an edge tell curves apart."""
    # Multipliers of Knuth's hash; overflow wraps, which is wanted.
    x = np.uint64(kind + 1) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.int64(x >> np.uint64(8))


@njit(cache=True)
def mixed(kinds: Any) -> Any:
    """Scramble an array of kinds."""
    result = np.empty(kinds.shape[0], np.int64)
    for t in range(kinds.shape[0]):
        result[t] = mix(kinds[t])
    return result


@inner(cache=True)
def curve_of(net: Any, rows: Any, n: int) -> int:
    """Return a number for the curve that an edge with these n triangles belongs to: a sum over their kinds."""
    total = 0
    for r in range(n):
        total += mix(net.kinds[rows[r]])
    return total


@inner(cache=True)
def apex(net: Any, t: int, a: int, b: int) -> Any:
    """Return the point of triangle t opposite its edge a, b."""
    for k in range(3):
        p = net.triangles[t, k]
        if p != a and p != b:
            return p
    return -1


# --- geometry ---


@inner(cache=True)
def distance(points: Any, a: int, b: int) -> Any:
    """Return the distance between two points."""
    x, y, z = points[a, 0] - points[b, 0], points[a, 1] - points[b, 1], points[a, 2] - points[b, 2]
    return np.sqrt(x * x + y * y + z * z)


@inner(cache=True)
def normal_at(points: Any, a: int, b: int, c: int) -> Any:
    """Return the normal of the triangle a, b, c, twice its area long."""
    ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
    vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


@inner(cache=True)
def least_angle(points: Any, a: int, b: int, c: int) -> Any:
    """Return the least angle of a triangle in degrees."""
    x, y, z = distance(points, b, c), distance(points, c, a), distance(points, a, b)
    low, high = min(x, y, z), max(x, y, z)
    middle = x + y + z - low - high
    if low <= 0:
        return 0.0
    cosine = (middle * middle + high * high - low * low) / (2 * middle * high)
    return np.degrees(arccosine(cosine))


@inner(cache=True)
def angle_of(net: Any, t: int) -> Any:
    """Return the least angle of triangle t in degrees."""
    return least_angle(net.points, net.triangles[t, 0], net.triangles[t, 1], net.triangles[t, 2])


@inner(cache=True)
def normal_of(net: Any, t: int) -> Any:
    """Return the normal of triangle t, twice its area long."""
    return normal_at(net.points, net.triangles[t, 0], net.triangles[t, 1], net.triangles[t, 2])


@inner(cache=True)
def cosine(u: Any, v: Any) -> float:
    """Return the cosine between two vectors, -1 where one vanishes."""
    size = np.sqrt((u[0] * u[0] + u[1] * u[1] + u[2] * u[2]) * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]))
    return (u[0] * v[0] + u[1] * v[1] + u[2] * v[2]) / size if size > 0 else -1.0


@inner(cache=True)
def _near(net: Any, t: int, weights: Any, normal: Any, reach: float) -> Any:
    """Tell whether a point of triangle t lies within reach of the old surface of its kind."""
    x, y, z = 0.0, 0.0, 0.0
    for k in range(3):
        p = net.triangles[t, k]
        x += weights[k] * net.points[p, 0]
        y += weights[k] * net.points[p, 1]
        z += weights[k] * net.points[p, 2]
    return nearest(net.surface, x, y, z, net.kinds[t], normal, reach, True)[1] >= 0


@inner(cache=True, shared=True)
def strays(net: Any, t: int, p: int, reach: float) -> bool:
    """Tell whether triangle t leaves the old surface at its centre or at the middle of an edge at p (-1: any edge)."""
    normal = normal_of(net, t)
    if not _near(net, t, (1 / 3, 1 / 3, 1 / 3), normal, reach):
        return True
    opposite = -1
    for k in range(3):
        if net.triangles[t, k] == p:
            opposite = k
    if opposite != 0 and not _near(net, t, (0.0, 0.5, 0.5), normal, reach):
        return True
    if opposite != 1 and not _near(net, t, (0.5, 0.0, 0.5), normal, reach):
        return True
    return opposite != 2 and not _near(net, t, (0.5, 0.5, 0.0), normal, reach)


@inner(cache=True, shared=True)
def curve_strays(net: Any, a: int, b: int, curve: int, reach: float) -> bool:
    """Tell whether a feature edge is somewhere farther than reach from the old curve."""
    for part in range(1, 8):
        u, v = 1 - part / 8, part / 8
        x = u * net.points[a, 0] + v * net.points[b, 0]
        y = u * net.points[a, 1] + v * net.points[b, 1]
        z = u * net.points[a, 2] + v * net.points[b, 2]
        if nearest(net.lines, x, y, z, curve, (0.0, 0.0, 0.0), reach, True)[1] < 0:
            return True
    return False


@inner(cache=True)
def foot(base: Any, hit: Any) -> Any:
    """Return the point that `nearest` found and the field's value there."""
    _, t, u, v, w = hit
    a, b, c = base.triangles[t, 0], base.triangles[t, 1], base.triangles[t, 2]
    x = u * base.points[a, 0] + v * base.points[b, 0] + w * base.points[c, 0]
    y = u * base.points[a, 1] + v * base.points[b, 1] + w * base.points[c, 1]
    z = u * base.points[a, 2] + v * base.points[b, 2] + w * base.points[c, 2]
    return x, y, z, u * base.sizes[a] + v * base.sizes[b] + w * base.sizes[c]


# --- move ---


@inner(cache=True, shared=True)
def try_move(net: Any, p: int, x: float, y: float, z: float, goal: float, max_error: float, rows: Any) -> bool:
    """Move a point unless a rule forbids it; the least angle of its star may only fall while it stays above `goal`."""
    n = star_of(net, p, rows)
    if n <= 0:
        return False
    old = net.points[p, 0], net.points[p, 1], net.points[p, 2]
    least = 180.0
    normals = np.empty((n, 3))
    for r in range(n):
        least = min(least, angle_of(net, rows[r]))
        normals[r, 0], normals[r, 1], normals[r, 2] = normal_of(net, rows[r])
    net.points[p, 0], net.points[p, 1], net.points[p, 2] = x, y, z
    good = True
    for r in range(n):
        angle = angle_of(net, rows[r])
        before = normals[r, 0], normals[r, 1], normals[r, 2]
        if (angle < goal and angle <= least) or cosine(normal_of(net, rows[r]), before) < 0.5:
            good = False
            break
    if good:
        for r in range(n):
            if strays(net, rows[r], p, max_error):
                good = False
                break
    if good and net.status[p] == CURVE:
        good = not _curve_leaves(net, p, max_error)
    if good and collides(net.grid, net.points, net.triangles, rows, n, net.found, net.busy):
        good = False
    if not good:
        net.points[p, 0], net.points[p, 1], net.points[p, 2] = old
        return False
    for r in range(n):
        remove(net.grid, rows[r])
        insert(net.grid, net.points, net.triangles, rows[r])
    return True


@inner(cache=True)
def _curve_leaves(net: Any, p: int, reach: float) -> Any:
    a, b = curve_neighbours(net, p)
    return (
        a < 0 or b < 0 or curve_strays(net, p, a, net.curves[p], reach) or curve_strays(net, p, b, net.curves[p], reach)
    )


@inner(cache=True, shared=True)
def curve_neighbours(net: Any, p: int) -> Any:
    """Return the two points next to p along its curve, -1 where there is none."""
    found = np.empty(STAR, np.int32)
    first, second = -1, -1
    c = net.heads[p]
    while c >= 0:
        t = c // 3
        for k in range(3):
            q = net.triangles[t, k]
            if net.status[q] == FREE or q == p or first == q or second == q:
                continue
            if is_feature(net, found, around_edge(net, p, q, found)):
                if first < 0:
                    first = q
                else:
                    second = q
        c = net.links[c]
    return first, second


@inner(cache=True)
def _aim(net: Any, p: int, rows: Any) -> Any:
    """Return where smoothing wants p: the centre of its star, each triangle weighted by its area in wanted edges."""
    if net.status[p] == CURVE:
        a, b = curve_neighbours(net, p)
        if a < 0 or b < 0:
            return net.points[p, 0], net.points[p, 1], net.points[p, 2]
        u, v = distance(net.points, p, a) / net.sizes[a], distance(net.points, p, b) / net.sizes[b]
        # The middle of the two edges, each weighted by its length in wanted edges.
        u, v = u / (u + v), v / (u + v)
        x = 0.5 * (net.points[p, 0] + u * net.points[a, 0] + v * net.points[b, 0])
        y = 0.5 * (net.points[p, 1] + u * net.points[a, 1] + v * net.points[b, 1])
        z = 0.5 * (net.points[p, 2] + u * net.points[a, 2] + v * net.points[b, 2])
        return x, y, z
    x, y, z, total = 0.0, 0.0, 0.0, 0.0
    nx, ny, nz = 0.0, 0.0, 0.0
    n = star_of(net, p, rows)
    for r in range(n):
        a, b, c = net.triangles[rows[r], 0], net.triangles[rows[r], 1], net.triangles[rows[r], 2]
        ux, uy, uz = normal_at(net.points, a, b, c)
        size = net.sizes[a] + net.sizes[b] + net.sizes[c]
        weight = np.sqrt(ux * ux + uy * uy + uz * uz) / (size * size)
        x += weight * (net.points[a, 0] + net.points[b, 0] + net.points[c, 0]) / 3
        y += weight * (net.points[a, 1] + net.points[b, 1] + net.points[c, 1]) / 3
        z += weight * (net.points[a, 2] + net.points[b, 2] + net.points[c, 2]) / 3
        total += weight
        nx, ny, nz = nx + ux, ny + uy, nz + uz
    length2 = nx * nx + ny * ny + nz * nz
    if total <= 0 or length2 <= 0:
        return net.points[p, 0], net.points[p, 1], net.points[p, 2]
    dx, dy, dz = x / total - net.points[p, 0], y / total - net.points[p, 1], z / total - net.points[p, 2]
    along = (dx * nx + dy * ny + dz * nz) / length2
    return net.points[p, 0] + dx - along * nx, net.points[p, 1] + dy - along * ny, net.points[p, 2] + dz - along * nz


@inner(cache=True)
def star_normal(net: Any, p: int) -> Any:
    """Return the sum of the normals around a point, each twice its triangle's area long."""
    nx, ny, nz = 0.0, 0.0, 0.0
    c = net.heads[p]
    while c >= 0:
        ux, uy, uz = normal_of(net, c // 3)
        nx, ny, nz = nx + ux, ny + uy, nz + uz
        c = net.links[c]
    return nx, ny, nz


@inner(cache=True, shared=True)
def project(net: Any, p: int, x: float, y: float, z: float, reach: float) -> Any:
    """Return (True, x, y, z, size) of the nearest point of p's old interface or curve, False where there is none."""
    if net.status[p] == CURVE:
        hit = nearest(net.lines, x, y, z, net.curves[p], (0.0, 0.0, 0.0), reach, False)
        if hit[1] >= 0:
            fx, fy, fz, size = foot(net.lines, hit)
            return True, fx, fy, fz, size
    elif net.heads[p] >= 0:
        hit = nearest(net.surface, x, y, z, net.kinds[net.heads[p] // 3], star_normal(net, p), reach, False)
        if hit[1] >= 0:
            fx, fy, fz, size = foot(net.surface, hit)
            return True, fx, fy, fz, size
    return False, x, y, z, 0.0


@njit(cache=True)
def smooth_along(net: Any, step: float, goal: float, max_error: float, first: int, last: int) -> int:
    """Move the points first ... last along surfaces or curves towards the middles of their stars; return how many."""
    rows = np.empty(STAR, np.int32)
    moved = 0
    for p in range(first, last):
        if net.status[p] > CURVE or net.heads[p] < 0:
            continue
        ax, ay, az = _aim(net, p, rows)
        dx, dy, dz = step * (ax - net.points[p, 0]), step * (ay - net.points[p, 1]), step * (az - net.points[p, 2])
        if dx * dx + dy * dy + dz * dz < (0.03 * net.sizes[p]) ** 2:
            continue
        x, y, z = net.points[p, 0] + dx, net.points[p, 1] + dy, net.points[p, 2] + dz
        hit, x, y, z, size = project(net, p, x, y, z, 2 * max_error)
        if hit and try_move(net, p, x, y, z, goal, max_error, rows):
            net.sizes[p] = size
            moved += 1
    return moved


@njit(cache=True)
def climb(net: Any, goal: float, max_error: float, first: int, last: int) -> int:
    """Move the points first ... last whose stars have an angle below `goal` so that it grows; return how many."""
    rows = np.empty(STAR, np.int32)
    moved = 0
    for p in range(first, last):
        if net.status[p] > CURVE or net.heads[p] < 0:
            continue
        n = star_of(net, p, rows)
        least = 180.0
        for r in range(n):
            least = min(least, angle_of(net, rows[r]))
        if least >= goal:
            continue
        nx, ny, nz = star_normal(net, p)
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length <= 0:
            continue
        # Two directions in the plane of the star, from the axis that is least along its normal.
        axis = 0 if abs(nx) <= abs(ny) and abs(nx) <= abs(nz) else (1 if abs(ny) <= abs(nz) else 2)
        u = np.zeros(3)
        u[axis] = 1.0
        along = (u[0] * nx + u[1] * ny + u[2] * nz) / (length * length)
        u[0], u[1], u[2] = u[0] - along * nx, u[1] - along * ny, u[2] - along * nz
        u /= np.sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2])
        vx = (ny * u[2] - nz * u[1]) / length
        vy = (nz * u[0] - nx * u[2]) / length
        vz = (nx * u[1] - ny * u[0]) / length
        step = 0.3 * net.sizes[p]
        for trial in range(24):
            # The golden angle spreads any number of directions evenly.
            turn = trial * 2.399963229728653
            sine, cosine = sine_cosine(turn)
            cx, cy = step * cosine, step * sine
            x = net.points[p, 0] + cx * u[0] + cy * vx
            y = net.points[p, 1] + cx * u[1] + cy * vy
            z = net.points[p, 2] + cx * u[2] + cy * vz
            hit, x, y, z, _ = project(net, p, x, y, z, net.sizes[p])
            if hit and try_move(net, p, x, y, z, 180.0, max_error, rows):
                moved += 1
            else:
                step *= 0.88
    return moved
