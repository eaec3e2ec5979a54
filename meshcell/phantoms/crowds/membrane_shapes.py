"""Closed shells around the origin: their mid-surfaces and the distances of voxels from them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints, frozen
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.rounding import dot, exponential, logarithm, norm, product, sine_cosine
from meshcell.phantoms.crowds import wormlike_chains

FAR = np.float32(1e9)


@dataclass(frozen=True, eq=False)
class Shell:
    """A closed surface: what its distance is computed from, and triangles turned outwards.

    `kind` and `parameters` (um): "ellipsoid" radii; "torus" ring, radius; "disc" radius, half lumen, height; "tube"
    radius, then the axis point by point; "mesh" nothing but its triangles.
    """

    kind: str
    parameters: Floats
    points: Floats
    triangles: Ints


def ellipsoid(radii: Floats, step: float) -> Shell:
    """Make an ellipsoid whose triangles have edges of about `step` um."""
    points, triangles = icosphere(float(radii.max()), step)
    return Shell("ellipsoid", np.asarray(radii, np.float64), points * radii, triangles)


def torus(ring: float, radius: float, step: float) -> Shell:
    """Make a torus around z."""
    around, across = _turn(ring, step), _turn(radius, step)
    sine, cosine = sine_cosine(across)
    rho, z = ring + radius * cosine, radius * sine
    rings = _revolved(rho, z, around)
    return Shell("torus", np.array([ring, radius]), rings.reshape(-1, 3), _wrapped(len(across), len(around), True))


def disc(radius: float, half: float, height: float, step: float) -> Shell:
    """Make a flat cisterna with a round rim around z."""
    flat = np.linspace(0, radius, max(2, int(radius / step) + 1))[1:]
    bend = np.linspace(-np.pi / 2, np.pi / 2, max(5, int(np.pi * half / step) + 2))[1:-1]
    sine, cosine = sine_cosine(bend)
    rho = np.concatenate([flat, radius + half * cosine, flat[::-1]])
    z = np.concatenate([np.full(len(flat), -half), half * sine, np.full(len(flat), half)]) + height
    around = _turn(radius + half, step)
    rings = _revolved(rho, z, around)
    points, triangles = _capped(rings, np.array([0, 0, height - half]), np.array([0, 0, height + half]))
    return Shell("disc", np.array([radius, half, height]), points, triangles)


def tube(path: Floats, radius: float, step: float) -> Shell:
    """Make a tube with round ends around a polyline (n, 3)."""
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    first = transported(tangents)
    second = np.cross(tangents, first)
    sine, cosine = sine_cosine(_turn(radius, step))
    bend = sine_cosine(np.linspace(0, np.pi / 2, max(3, int(radius * np.pi / 2 / step) + 1))[1:-1])
    caps = radius * np.stack(bend, axis=1)

    def ring(row: int, size: float, ahead: float) -> Floats:
        circle = cosine[:, None] * first[row] + sine[:, None] * second[row]
        return np.asarray(path[row] + ahead * tangents[row] + size * circle)

    rings = [ring(0, size, -ahead) for ahead, size in caps[::-1]]
    rings += [ring(row, radius, 0.0) for row in range(len(path))]
    rings += [ring(-1, size, ahead) for ahead, size in caps]
    points, triangles = _capped(np.array(rings), path[0] - radius * tangents[0], path[-1] + radius * tangents[-1])
    return Shell("tube", np.concatenate([[radius], path.ravel()]), points, triangles)


def harmonic(radius: float, roughness: float, degree: int, step: float, rng: np.random.Generator) -> Shell:
    """Make a sphere whose radius varies by spherical harmonics, `roughness` being the deviation in radii."""
    level = _level(radius, step)
    unit, triangles = _sphere(level)
    waves, scales, squares = _waves(level, degree)
    amounts = rng.standard_normal(len(scales)) * scales
    relief, power = (waves * amounts).sum(axis=1), float((squares * amounts**2).sum())
    scaled = relief * (roughness / np.sqrt(power))
    # A radius below a quarter would fold the membrane onto itself.
    return Shell("mesh", np.zeros(0), unit * (radius * np.maximum(1 + scaled, 0.25))[:, None], triangles)


def transported(tangents: Floats) -> Floats:
    """Carry a normal along (n, 3) unit tangents without twist; return (n, 3) unit normals."""
    carried = np.empty_like(tangents)
    carried[0] = wormlike_chains.normals(tangents[:1])[0][0]
    for row in range(1, len(tangents)):
        across = carried[row - 1] - dot(carried[row - 1], tangents[row]) * tangents[row]
        carried[row] = across / norm(across)
    return carried


@functools.lru_cache(maxsize=2)
def _waves(level: int, degree: int) -> tuple[Floats, Floats, Floats]:
    """Return real waves on a sphere (p, w), the deviations of their amounts (w,), and the waves' mean squares (w,)."""
    unit, _ = _sphere(level)
    waves, scales, squares = [], [], []
    for n in range(2, degree + 1):
        for m in range(n + 1):
            real, imaginary = spherical_harmonic(n, m, unit)
            for part in (real, imaginary) if m else (real,):
                waves.append(part)
                scales.append(1 / (n * (n + 1)))
                squares.append((0.5 if m else 1.0) / (4 * np.pi))
    return np.stack(waves, axis=1), np.array(scales), np.array(squares)


def spherical_harmonic(n: int, m: int, unit: Floats) -> tuple[Floats, Floats]:
    """Return the (p,) real and imaginary parts of degree n and order m >= 0 on (p, 3) unit vectors.

    As scipy's `sph_harm_y`, with the phase (-1)^m, but by products and sums of x, y and z alone: the associated
    Legendre function over sin^m by its recurrence in the degree, times (x + i y)^m.

    Examples
    --------
    >>> real, imaginary = spherical_harmonic(1, 1, np.array([[0.6, -0.8, 0.0]]))
    >>> round(float(real[0]) ** 2 * 8 * np.pi / 3, 12), round(float(imaginary[0] / real[0]), 12)
    (0.36, -1.333333333333)
    """
    x, y, z = unit.T
    last, this = np.zeros(len(unit)), np.ones(len(unit))
    cosine, sine = np.ones(len(unit)), np.zeros(len(unit))
    for k in range(m):
        this = -(2 * k + 1) * this
        cosine, sine = cosine * x - sine * y, cosine * y + sine * x
    for k in range(m + 1, n + 1):
        last, this = this, ((2 * k - 1) * z * this - (k + m - 1) * last) / (k - m)
    this = this * np.sqrt((2 * n + 1) / (4 * np.pi * math.perm(n + m, 2 * m)))
    return this * cosine, this * sine


def icosphere(radius: float, step: float) -> tuple[Floats, Ints]:
    """Divide an icosahedron until its edges are about `step` on a sphere of `radius`; points on the unit sphere."""
    return _sphere(_level(radius, step))


def _level(radius: float, step: float) -> int:
    return int(min(7, max(1, round(float(logarithm(1.05 * radius / step) / logarithm(2.0))))))


@functools.lru_cache(maxsize=4)
def _sphere(level: int) -> tuple[Floats, Ints]:
    """Divide an icosahedron `level` times; kept, as membranes that do not fit are drawn again and again."""
    golden = (1 + np.sqrt(5)) / 2
    corners = [
        (-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0), (0, -1, golden), (0, 1, golden),
        (0, -1, -golden), (0, 1, -golden), (golden, 0, -1), (golden, 0, 1), (-golden, 0, -1), (-golden, 0, 1),
    ]  # fmt: skip
    faces = [(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6),
             (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5), (2, 4, 11), (6, 2, 10),
             (8, 6, 7), (9, 8, 1)]  # fmt: skip
    points, triangles = np.array(corners, np.float64), np.array(faces, np.int64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for _ in range(level):
        ends = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        edges, which = np.unique(ends[:, 0] * len(points) + ends[:, 1], return_inverse=True)
        middles = points[edges // len(points)] + points[edges % len(points)]
        ab, bc, ca = (len(points) + which.reshape(-1, 3)).T
        a, b, c = triangles.T
        points = np.concatenate([points, middles / np.linalg.norm(middles, axis=1, keepdims=True)])
        triangles = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
    return frozen(points), frozen(triangles.astype(np.int32))


def normals(points: Floats, triangles: Ints) -> Floats:
    """Return the unit normals (p, 3) at the points of a closed surface; exact where they lie on a sphere.

    Source
    ------
    N. Max, J. Graphics Tools 4 (1999), p. 1: cross products of edges over the squares of both lengths.
    """
    sums = np.zeros((3, len(points)))
    corners = points[triangles]
    for k in range(3):
        u, v = corners[:, (k + 1) % 3] - corners[:, k], corners[:, (k + 2) % 3] - corners[:, k]
        weights = (u**2).sum(axis=1) * (v**2).sum(axis=1)
        parts = np.cross(u, v) / np.maximum(weights, 1e-300)[:, None]
        sums += [np.bincount(triangles[:, k], part, len(points)) for part in parts.T]
    return np.asarray(sums.T / np.maximum(np.linalg.norm(sums.T, axis=1, keepdims=True), 1e-300))


def _revolved(rho: Floats, z: Floats, around: Floats) -> Floats:
    """Turn a profile around z: (m, n, 3)."""
    sine, cosine = sine_cosine(around)
    x, y = rho[:, None] * cosine, rho[:, None] * sine
    return np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], axis=-1)


def _turn(radius: float, step: float) -> Floats:
    n = max(12, int(np.ceil(2 * np.pi * radius / step)))
    return 2 * np.pi * np.arange(n) / n


def _wrapped(m: int, n: int, closed: bool) -> Ints:
    """Triangulate m rings of n points; `closed` joins the last ring to the first."""
    i, j = np.meshgrid(np.arange(m if closed else m - 1), np.arange(n), indexing="ij")
    a, b = i * n + j, i * n + (j + 1) % n
    c, d = (i + 1) % m * n + j, (i + 1) % m * n + (j + 1) % n
    return np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, d), (a, d, c))]).astype(np.int32)


def _capped(rings: Floats, start: Floats, end: Floats) -> tuple[Floats, Ints]:
    """Close (m, n, 3) rings by a point at either end."""
    m, n = rings.shape[:2]
    j = np.arange(n)
    first, last = np.full(n, m * n), np.full(n, m * n + 1)
    head = np.stack([first, (j + 1) % n, j], axis=1)
    tail = np.stack([last, (m - 1) * n + j, (m - 1) * n + (j + 1) % n], axis=1)
    points = np.concatenate([rings.reshape(-1, 3), [start, end]])
    return points, np.concatenate([_wrapped(m, n, False), head, tail]).astype(np.int32)


def distances(
    shell: Shell, R: Floats, centre: Floats, band: float, spacing: Floats, shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """Return the distances (um, unsigned, FAR beyond `band`) of the voxels around a turned and moved shell.

    Returns
    -------
    ((a, b, c) float32, (3,) int)
        The part of the box around the shell, and its first voxel.
    """
    moved = product(shell.points, R.T) + centre
    first = np.maximum(np.floor((moved.min(axis=0) - band) / spacing).astype(np.int64), 0)
    last = np.minimum(np.ceil((moved.max(axis=0) + band) / spacing).astype(np.int64) + 1, shape)
    field = np.full(np.maximum(last - first, 0), FAR, np.float32)
    if field.size == 0:
        return field, first
    if shell.kind == "mesh":
        near_triangles(field, first, spacing, moved[shell.triangles], band)
    elif shell.kind == "tube":
        path = product(shell.parameters[1:].reshape(-1, 3), R.T) + centre
        near_path(field, first, spacing, np.ascontiguousarray(path), shell.parameters[0], band)
    else:
        kind = ("ellipsoid", "torus", "disc").index(shell.kind)
        near_solid(field, first, spacing, kind, shell.parameters, R, np.asarray(centre), band)
    return field, first


# --- kernels ---


@inner(cache=True)
def from_ellipsoid(a, x, y, z, band):  # type: ignore[no-untyped-def]
    """Return the signed distance from an ellipsoid with semi-axes a, exact within `band`; Newton from below."""
    f = np.sqrt((x / a[0]) ** 2 + (y / a[1]) ** 2 + (z / a[2]) ** 2)
    # Scaling the ellipsoid by f moves its points by at least |f - 1| times the shortest semi-axis.
    least = (f - 1) * min(a[0], a[1], a[2])
    if abs(least) > band or a[0] == a[1] == a[2]:
        return least
    x, y, z = abs(x), abs(y), abs(z)
    t = max(a[0] * x - a[0] ** 2, a[1] * y - a[1] ** 2, a[2] * z - a[2] ** 2) + 1e-12 * a[0] ** 2
    for _ in range(30):
        u, v, w = a[0] * x / (a[0] ** 2 + t), a[1] * y / (a[1] ** 2 + t), a[2] * z / (a[2] ** 2 + t)
        value = u * u + v * v + w * w - 1
        slope = -2 * (u * u / (a[0] ** 2 + t) + v * v / (a[1] ** 2 + t) + w * w / (a[2] ** 2 + t))
        if slope == 0 or abs(value) < 1e-10:
            break
        t -= value / slope
    u, v, w = t * x / (a[0] ** 2 + t), t * y / (a[1] ** 2 + t), t * z / (a[2] ** 2 + t)
    return np.sqrt(u * u + v * v + w * w) * (1.0 if f > 1 else -1.0)


@njit(cache=True)
def near_solid(field, first, h, kind, a, R, centre, band) -> None:  # type: ignore[no-untyped-def]
    """Fill in the distances from an ellipsoid, torus or disc."""
    for i in range(field.shape[0]):
        x = (first[0] + i) * h[0] - centre[0]
        for j in range(field.shape[1]):
            y = (first[1] + j) * h[1] - centre[1]
            for k in range(field.shape[2]):
                z = (first[2] + k) * h[2] - centre[2]
                u = R[0, 0] * x + R[1, 0] * y + R[2, 0] * z
                v = R[0, 1] * x + R[1, 1] * y + R[2, 1] * z
                w = R[0, 2] * x + R[1, 2] * y + R[2, 2] * z
                if kind == 0:
                    d = from_ellipsoid(a, u, v, w, band)
                elif kind == 1:
                    d = np.sqrt((np.sqrt(u * u + v * v) - a[0]) ** 2 + w * w) - a[1]
                else:
                    d = np.sqrt(max(np.sqrt(u * u + v * v) - a[0], 0.0) ** 2 + (w - a[2]) ** 2) - a[1]
                if abs(d) <= band:
                    field[i, j, k] = abs(d)


@njit(cache=True)
def near_path(field, first, h, path, radius, band) -> None:  # type: ignore[no-untyped-def]
    """Fill in the distances from a tube, segment by segment."""
    axis = np.full(field.shape, FAR, np.float32)
    reach = radius + band
    for n in range(len(path) - 1):
        a, b = path[n], path[n + 1]
        low, high = _around(np.minimum(a, b), np.maximum(a, b), reach, first, h, field.shape)
        e = b - a
        length = max(e[0] ** 2 + e[1] ** 2 + e[2] ** 2, 1e-30)
        for i in range(low[0], high[0]):
            x = (first[0] + i) * h[0] - a[0]
            for j in range(low[1], high[1]):
                y = (first[1] + j) * h[1] - a[1]
                for k in range(low[2], high[2]):
                    z = (first[2] + k) * h[2] - a[2]
                    s = min(max((x * e[0] + y * e[1] + z * e[2]) / length, 0.0), 1.0)
                    d = np.sqrt((x - s * e[0]) ** 2 + (y - s * e[1]) ** 2 + (z - s * e[2]) ** 2)
                    axis[i, j, k] = min(axis[i, j, k], d)
    for i in range(field.shape[0]):
        for j in range(field.shape[1]):
            for k in range(field.shape[2]):
                d = abs(axis[i, j, k] - radius)
                if d <= band:
                    field[i, j, k] = d


@inner(cache=True)
def _around(low, high, reach, first, h, shape):  # type: ignore[no-untyped-def]
    start, stop = np.empty(3, np.int64), np.empty(3, np.int64)
    for c in range(3):
        start[c] = max(0, int(np.floor((low[c] - reach) / h[c])) - first[c])
        stop[c] = min(shape[c], int(np.ceil((high[c] + reach) / h[c])) + 1 - first[c])
    return start, stop


@inner(cache=True)
def triangle_distance(x, y, z, u, v):  # type: ignore[no-untyped-def]
    """Return the distance of a point from a triangle with edges u, v from the origin.

    Source
    ------
    C. Ericson, Real-Time Collision Detection (2005), p. 141.
    """
    uu = u[0] * u[0] + u[1] * u[1] + u[2] * u[2]
    uv = u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
    vv = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
    d1, d2 = u[0] * x + u[1] * y + u[2] * z, v[0] * x + v[1] * y + v[2] * z
    d3, d4, d5, d6 = d1 - uu, d2 - uv, d1 - uv, d2 - vv
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    if d1 <= 0 and d2 <= 0:
        s, t = 0.0, 0.0
    elif d3 >= 0 and d4 <= d3:
        s, t = 1.0, 0.0
    elif d6 >= 0 and d5 <= d6:
        s, t = 0.0, 1.0
    elif vc <= 0 and d1 >= 0 and d3 <= 0:
        s, t = d1 / (d1 - d3), 0.0
    elif vb <= 0 and d2 >= 0 and d6 <= 0:
        s, t = 0.0, d2 / (d2 - d6)
    elif va <= 0 and d4 >= d3 and d5 >= d6:
        t = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        s = 1 - t
    else:
        s, t = vb / (va + vb + vc), vc / (va + vb + vc)
    a, b, c = x - s * u[0] - t * v[0], y - s * u[1] - t * v[1], z - s * u[2] - t * v[2]
    return np.sqrt(a * a + b * b + c * c)


@njit(cache=True)
def near_triangles(field, first, h, corners, band) -> None:  # type: ignore[no-untyped-def]
    """Fill in the distances from a mesh, triangle by triangle."""
    for n in range(len(corners)):
        a, b, c = corners[n, 0], corners[n, 1], corners[n, 2]
        low, high = _around(
            np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c), band, first, h, field.shape
        )
        u, v = b - a, c - a
        for i in range(low[0], high[0]):
            x = (first[0] + i) * h[0] - a[0]
            for j in range(low[1], high[1]):
                y = (first[1] + j) * h[1] - a[1]
                for k in range(low[2], high[2]):
                    d = triangle_distance(x, y, (first[2] + k) * h[2] - a[2], u, v)
                    if d <= band:
                        field[i, j, k] = min(field[i, j, k], d)


@njit(cache=True)
def fits(labels, home, field, first, half) -> bool:  # type: ignore[no-untyped-def]
    """Tell whether there are voxels within `half` of a membrane's middle, all of them free."""
    n = 0
    for i in range(field.shape[0]):
        for j in range(field.shape[1]):
            for k in range(field.shape[2]):
                if field[i, j, k] <= half:
                    n += 1
                    if labels[first[0] + i, first[1] + j, first[2] + k] != home:
                        return False
    return n > 0


@njit(cache=True)
def _bell(x: float) -> float:
    return exponential(-0.5 * x * x)  # type: ignore[no-any-return]


@njit(cache=True)
def write(labels, instances, density, home, label, instance, field, first, half, t, s):  # type: ignore[no-untyped-def]
    """Stamp a membrane on the free voxels within `half` of its middle; return their number."""
    n = 0
    for i in range(field.shape[0]):
        for j in range(field.shape[1]):
            for k in range(field.shape[2]):
                d = field[i, j, k]
                if d >= FAR:
                    continue
                x, y, z = first[0] + i, first[1] + j, first[2] + k
                value = _bell((d - t / 2) / s) + _bell((d + t / 2) / s)
                density[x, y, z] = max(density[x, y, z], value)
                if d <= half and labels[x, y, z] == home:
                    labels[x, y, z], instances[x, y, z] = label, instance
                    n += 1
    return n
