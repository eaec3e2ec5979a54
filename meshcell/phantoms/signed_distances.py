"""Signed distances: the few shapes that phantoms are made of, their unions, and their voxels.

A `Shape` is a table with one row per primitive, so that one kernel serves all of them. Every distance here is
1-Lipschitz (it never changes faster than one walks), which is what lets `inside` decide whole blocks of voxels by a
look at their centre, and lets phantoms be placed with gaps that are guaranteed rather than hoped for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meshcell.core.arrays import Floats, Triple
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.rounding import norm, power, sine_cosine
from meshcell.phantoms.warps import STRAIGHT, Warp, warped

CONE, ELLIPSOID, SUPERELLIPSOID, CAP = range(4)
# Columns of a row: kind, group, offset, then the parameters of the kind.
KIND, GROUP, OFFSET, PARAMETERS = range(4)
COLUMNS = PARAMETERS + 15
# Voxels along the edge of the blocks that `inside` decides at once: 4 took half the time of 8, a sixth of that of 16.
BLOCK = 4


@dataclass(frozen=True, eq=False)
class Shape:
    """A union of primitives, given by the rows of a table.

    Parameters
    ----------
    rows : (r, COLUMNS) floats
        Primitives in um, sorted by group. Inside a group the union is plain, so that the pieces of a tube leave no
        bulges where they meet.
    blend : float, um
        Between groups the union is rounded on this length; 0 is the plain union.
    """

    rows: Floats
    blend: float = 0.0

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """Lower and upper corner of a box that holds the shape before any warp, um."""
        lows, highs = zip(*(_row_bounds(row) for row in self.rows), strict=True)
        return np.min(lows, axis=0) - self.blend, np.max(highs, axis=0) + self.blend


@dataclass(frozen=True)
class Grid:
    """Voxel centres: `shape` of them along x, y, z, `spacing` um apart, the first at `origin`."""

    shape: tuple[int, int, int]
    spacing: Triple
    origin: Triple


# --- primitives ---


def cone(start: Any, end: Any, start_radius: float, end_radius: float) -> Shape:
    """Make the hull of two balls (a capsule where the radii are equal)."""
    return _shape(CONE, [*start, *end, start_radius, end_radius])


def ball(centre: Any, radius: float) -> Shape:
    """Make a ball.

    Examples
    --------
    >>> distance(ball((0, 0, 0), 1.0), [[0, 0, 0], [3, 0, 0]])
    array([-1.,  2.])
    """
    return cone(centre, centre, radius, radius)


def tube(path: Any, radius: Any) -> Shape:
    """Make a tube with round ends around a polyline.

    Parameters
    ----------
    path : (n, 3) floats, um
    radius : float or (n,) floats, um
        One for all points, or one each.
    """
    points = np.asarray(path, np.float64)
    radii = np.broadcast_to(np.asarray(radius, np.float64), len(points))
    pieces = [cone(points[i], points[i + 1], radii[i], radii[i + 1]).rows for i in range(len(points) - 1)]
    return Shape(np.concatenate(pieces))


def ellipsoid(centre: Any, radii: Any, rotation: Any = None) -> Shape:
    """Make an ellipsoid; the columns of `rotation` (3, 3) are the directions of its axes."""
    return _shape(ELLIPSOID, [*centre, *radii, *np.ravel(np.eye(3) if rotation is None else rotation)])


def superellipsoid(centre: Any, radii: Any, exponent: float) -> Shape:
    """Make the body |x/a|^n + |y/b|^n + |z/c|^n < 1, n >= 2: from ellipsoid to box.

    Its distance is a lower bound: exact on the surface, short of the truth elsewhere.
    """
    if exponent < 2:
        raise ValueError(f"the exponent of a superellipsoid should be at least 2 (an ellipsoid); got {exponent:g}")
    return _shape(SUPERELLIPSOID, [*centre, *radii, exponent])


def cap(centre: Any, axis: Any, radius: float, angle: float, thickness: float) -> Shape:
    """Make a sheet of constant thickness with a round rim, bent like a bowl.

    Parameters
    ----------
    centre : three floats, um
        Of the sphere on which the sheet's middle lies.
    axis : three floats
        From that centre to the middle of the sheet.
    radius : float, um
        Of that sphere.
    angle : float, rad
        Between the axis and the rim.
    thickness : float, um
    """
    direction = np.asarray(axis, np.float64)
    unit = direction / norm(direction)
    return _shape(CAP, [*centre, *unit, radius, *sine_cosine(angle), thickness / 2])


# --- operations ---


def union(*shapes: Shape, blend: float = 0.0) -> Shape:
    """Unite shapes, each a group of its own; corners between them are rounded on the length `blend` (um).

    The rounded union of distances d_i is the s - blend for which sum(max(0, s - d_i)^2) = blend^2: it does not depend
    on the order of the shapes, is 1-Lipschitz because its gradient is a mean of theirs, and a shape farther away
    than `blend` from the nearest one has no say. A blend that the parts had before is replaced by the new one.
    """
    rows, first = [], 0
    for shape in shapes:
        own = shape.rows.copy()
        own[:, GROUP] += first
        first = int(own[:, GROUP].max()) + 1
        rows.append(own)
    return Shape(np.concatenate(rows), blend)


def grown(shape: Shape, by: float) -> Shape:
    """Move the shape's boundary outwards by a length (um), inwards where it is negative."""
    rows = shape.rows.copy()
    rows[:, OFFSET] += by
    return Shape(rows, shape.blend)


# --- evaluation ---


def distance(shape: Shape, points: Any, warp: Warp = STRAIGHT) -> Floats:
    """Return the (n,) signed distances of (n, 3) points from a shape, um, negative inside.

    With a warp they are divided by 1 + strain, which keeps them 1-Lipschitz and makes them lower bounds.
    """
    array = np.ascontiguousarray(np.atleast_2d(points), np.float64)
    return _distances(shape.rows, shape.blend, warp.waves, 1 + warp.strain, array)  # type: ignore[no-any-return]


def inside(shape: Shape, grid: Grid, warp: Warp = STRAIGHT) -> npt.NDArray[np.bool_]:
    """Tell which voxel centres of a grid lie inside a shape.

    Returns
    -------
    (nx, ny, nz) bool
        The same as `distance(...) < 0` at every centre, found by looking closely only at blocks near the boundary.
    """
    mask = np.zeros(grid.shape, np.bool_)
    spacing, origin = np.array(grid.spacing), np.array(grid.origin)
    lows, highs = shape.bounds
    first = np.floor((lows - warp.reach - origin) / spacing).astype(np.int64)
    last = np.ceil((highs + warp.reach - origin) / spacing).astype(np.int64) + 1
    first, last = np.maximum(first, 0), np.minimum(last, grid.shape)
    _fill(mask, shape.rows, shape.blend, warp.waves, 1 + warp.strain, origin, spacing, first, last)
    return mask


def bounding_box(shape: Shape, step: float, warp: Warp = STRAIGHT) -> tuple[Floats, Floats]:
    """Return the corners of a box that holds the warped shape, at most about two steps (um) larger than it.

    The box hangs on the shape alone, so that grids of every spacing agree on it.
    """
    lows, highs = (
        shape.bounds[0] - warp.reach - 2 * step,
        shape.bounds[1] + warp.reach + 2 * step,
    )
    x, y, z = (int(n) for n in np.ceil((highs - lows) / step) + 1)
    grid = Grid((x, y, z), (step, step, step), (float(lows[0]), float(lows[1]), float(lows[2])))
    # No point is farther than half a cell's diagonal from a node, so the nodes of the grown shape surround the shape.
    mask = inside(grown(shape, step * np.sqrt(3) / 2 * (1 + warp.strain)), grid, warp)
    spans = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    edges = np.array([(span[0] - 0.5, span[-1] + 0.5) for span in spans]) * step
    return lows + edges[:, 0], lows + edges[:, 1]


def _shape(kind: int, parameters: list[Any]) -> Shape:
    row = np.zeros((1, COLUMNS))
    row[0, KIND] = kind
    row[0, PARAMETERS : PARAMETERS + len(parameters)] = parameters
    return Shape(row)


def _row_bounds(row: Floats) -> tuple[Floats, Floats]:
    p, kind = row[PARAMETERS:], int(row[KIND])
    if kind == CONE:
        low, high = np.minimum(p[:3] - p[6], p[3:6] - p[7]), np.maximum(p[:3] + p[6], p[3:6] + p[7])
    elif kind == ELLIPSOID:
        half = np.linalg.norm(p[6:15].reshape(3, 3) * p[3:6], axis=1)
        low, high = p[:3] - half, p[:3] + half
    elif kind == SUPERELLIPSOID:
        low, high = p[:3] - p[3:6], p[:3] + p[3:6]
    else:
        middle, half = p[:3] + p[6] * p[3:6], p[9] + p[6] * norm([p[7], 1 - p[8]])
        low, high = middle - half, middle + half
    # Lower bounds of distances may reach farther than the truth: a grown superellipsoid swells by its largest ratio.
    swell = row[OFFSET] * (p[3:6].max() / p[3:6].min() if kind == SUPERELLIPSOID and row[OFFSET] > 0 else 1)
    return low - swell, high + swell


# --- kernels ---


@inner(cache=True)
def _cone(p: Any, x: float, y: float, z: float) -> Any:
    ux, uy, uz = p[3] - p[0], p[4] - p[1], p[5] - p[2]
    x, y, z = x - p[0], y - p[1], z - p[2]
    length = np.sqrt(ux * ux + uy * uy + uz * uz)
    if length <= abs(p[6] - p[7]):
        # One ball holds the other.
        if p[6] >= p[7]:
            return np.sqrt(x * x + y * y + z * z) - p[6]
        return np.sqrt((x - ux) ** 2 + (y - uy) ** 2 + (z - uz) ** 2) - p[7]
    axial = (x * ux + y * uy + z * uz) / length
    radial = np.sqrt(max(x * x + y * y + z * z - axial * axial, 0.0))
    sine = (p[6] - p[7]) / length
    cosine = np.sqrt(1 - sine * sine)
    # Where the foot of the perpendicular on the common tangent lies: before, on or behind the straight part.
    along = axial * cosine - radial * sine
    if along <= 0:
        return np.sqrt(axial * axial + radial * radial) - p[6]
    if along >= length * cosine:
        return np.sqrt((axial - length) ** 2 + radial * radial) - p[7]
    return radial * cosine + axial * sine - p[6]


@inner(cache=True)
def _ellipsoid(p: Any, x: float, y: float, z: float) -> Any:
    # Eberly, "Distance from a point to an ellipsoid" (2013), with t + e_min^2 as the unknown so that nothing cancels.
    x, y, z = x - p[0], y - p[1], z - p[2]
    a, b, c = p[3], p[4], p[5]
    tiny = 1e-12 * min(a, b, c)
    u = max(abs(p[6] * x + p[9] * y + p[12] * z), tiny)
    v = max(abs(p[7] * x + p[10] * y + p[13] * z), tiny)
    w = max(abs(p[8] * x + p[11] * y + p[14] * z), tiny)
    least = min(a, b, c) ** 2
    da, db, dc = a * a - least, b * b - least, c * c - least
    s = max(a * u - da, b * v - db, c * w - dc)
    for _ in range(100):
        # Convex and falling, entered from the left: Newton climbs to the root without overshoot.
        fa, fb, fc = a * u / (s + da), b * v / (s + db), c * w / (s + dc)
        value = fa * fa + fb * fb + fc * fc - 1
        slope = fa * fa / (s + da) + fb * fb / (s + db) + fc * fc / (s + dc)
        step = value / (2 * slope)
        s += step
        if step <= 1e-13 * s:
            break
    gap = np.sqrt((u - a * a * u / (s + da)) ** 2 + (v - b * b * v / (s + db)) ** 2 + (w - c * c * w / (s + dc)) ** 2)
    return gap if (u / a) ** 2 + (v / b) ** 2 + (w / c) ** 2 > 1 else -gap


@inner(cache=True)
def _superellipsoid(p: Any, x: float, y: float, z: float) -> Any:
    u, v, w = abs(x - p[0]) / p[3], abs(y - p[1]) / p[4], abs(z - p[2]) / p[5]
    top = max(u, v, w)
    if top == 0:
        return -min(p[3], p[4], p[5])
    norm = top * power(power(u / top, p[6]) + power(v / top, p[6]) + power(w / top, p[6]), 1 / p[6])
    # The n-norm, n >= 2, is 1-Lipschitz in the plain norm; the least radius makes up for the scaling.
    return (norm - 1) * min(p[3], p[4], p[5])


@inner(cache=True)
def _cap(p: Any, x: float, y: float, z: float) -> Any:
    x, y, z = x - p[0], y - p[1], z - p[2]
    axial = x * p[3] + y * p[4] + z * p[5]
    length = np.sqrt(x * x + y * y + z * z)
    radial = np.sqrt(max(length * length - axial * axial, 0.0))
    # Within the cone of the rim the nearest point is on the sphere, beyond it on the rim.
    if radial * p[8] <= axial * p[7]:
        return abs(length - p[6]) - p[9]
    return np.sqrt((radial - p[6] * p[7]) ** 2 + (axial - p[6] * p[8]) ** 2) - p[9]


@inner(cache=True)
def _row_distance(row: Any, x: float, y: float, z: float) -> Any:
    p = row[PARAMETERS:]
    if row[KIND] == CONE:
        return _cone(p, x, y, z) - row[OFFSET]
    if row[KIND] == ELLIPSOID:
        return _ellipsoid(p, x, y, z) - row[OFFSET]
    if row[KIND] == SUPERELLIPSOID:
        return _superellipsoid(p, x, y, z) - row[OFFSET]
    return _cap(p, x, y, z) - row[OFFSET]


@inner(cache=True)
def _rounded_minimum(values: Any, n: int, blend: float) -> Any:
    least = values[0]
    for i in range(1, n):
        least = min(least, values[i])
    if blend == 0 or n == 1:
        return least
    s = least + blend
    for _ in range(50):
        value, slope = -blend * blend, 0.0
        for i in range(n):
            if values[i] < s:
                value += (s - values[i]) ** 2
                slope += 2 * (s - values[i])
        step = value / slope
        s -= step
        if step <= 1e-13 * blend:
            break
    return s - blend


@inner(cache=True)
def _of_rows(rows: Any, which: Any, n: int, blend: float, x: float, y: float, z: float, groups: Any) -> Any:
    count, last = 0, -1.0
    for i in range(n):
        row = rows[which[i]]
        d = _row_distance(row, x, y, z)
        if row[GROUP] != last:
            groups[count] = d
            last = row[GROUP]
            count += 1
        elif d < groups[count - 1]:
            groups[count - 1] = d
    return _rounded_minimum(groups, count, blend)


@njit(cache=True)
def _distances(rows: Any, blend: float, waves: Any, stretch: float, points: Any) -> Any:
    n = rows.shape[0]
    which, groups = np.arange(n), np.empty(n)
    result = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        x, y, z = warped(waves, points[i, 0], points[i, 1], points[i, 2])
        result[i] = _of_rows(rows, which, n, blend, x, y, z, groups) / stretch
    return result


@inner(cache=True)
def _keep_near(
    rows: Any, which: Any, n: int, blend: float, half: float, x: float, y: float, z: float, own: Any, kept: Any
) -> Any:
    """Keep the rows that can matter within `half` of a point; none where the union's boundary cannot be that near."""
    least = np.inf
    for r in range(n):
        own[r] = _row_distance(rows[which[r]], x, y, z)
        least = min(least, own[r])
    if least > half + blend:
        return 0
    count = 0
    for r in range(n):
        # The others stay farther than the blend from the nearest row all over the block.
        if own[r] <= least + 2 * half + blend:
            kept[count] = which[r]
            count += 1
    return count


@njit(cache=True)
def _fill(
    mask: Any, rows: Any, blend: float, waves: Any, stretch: float, origin: Any, spacing: Any, first: Any, last: Any
) -> None:
    n = rows.shape[0]
    every, some, few = np.arange(n), np.empty(n, np.int64), np.empty(n, np.int64)
    own, groups = np.empty(n), np.empty(n)
    # Half a block's diagonal bounds the change of the distance within the block; a hair more for rounding.
    diagonal = 0.5 * np.sqrt((spacing * spacing).sum()) * stretch * (1 + 1e-9)
    large = 4 * BLOCK
    for bi in range(first[0], last[0], large):
        for bj in range(first[1], last[1], large):
            for bk in range(first[2], last[2], large):
                x, y, z = _centre(waves, origin, spacing, bi, bj, bk, 0.5 * (large - 1))
                n_some = _keep_near(rows, every, n, blend, (large - 1) * diagonal, x, y, z, own, some)
                if n_some == 0:
                    continue
                for ci in range(bi, min(bi + large, last[0]), BLOCK):
                    for cj in range(bj, min(bj + large, last[1]), BLOCK):
                        for ck in range(bk, min(bk + large, last[2]), BLOCK):
                            half = (BLOCK - 1) * diagonal
                            x, y, z = _centre(waves, origin, spacing, ci, cj, ck, 0.5 * (BLOCK - 1))
                            n_few = _keep_near(rows, some, n_some, blend, half, x, y, z, own, few)
                            if n_few == 0:
                                continue
                            ei, ej, ek = min(ci + BLOCK, last[0]), min(cj + BLOCK, last[1]), min(ck + BLOCK, last[2])
                            if _of_rows(rows, few, n_few, blend, x, y, z, groups) < -half:
                                mask[ci:ei, cj:ej, ck:ek] = True
                                continue
                            for i in range(ci, ei):
                                for j in range(cj, ej):
                                    for k in range(ck, ek):
                                        x, y, z = _centre(waves, origin, spacing, i, j, k, 0.0)
                                        mask[i, j, k] = _of_rows(rows, few, n_few, blend, x, y, z, groups) < 0


@njit(cache=True)
def _centre(waves: Any, origin: Any, spacing: Any, i: int, j: int, k: int, half: float) -> Any:
    return warped(
        waves,
        origin[0] + (i + half) * spacing[0],
        origin[1] + (j + half) * spacing[1],
        origin[2] + (k + half) * spacing[2],
    )
