"""How long edges should be: as the caller wishes, shorter where the surface bends or is close to another."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.kernels import njit
from meshcell.core.slices import stretches
from meshcell.core.types import Surface
from meshcell.geometry.proximity import Base, distance2, gather

# Points that look around in a fraction of a second.
MEASURED = 10_000


def edge_sizes(
    surface: Surface,
    edges: Ints,
    features: Array,
    base: Base,
    *,
    edge: float,
    least: float,
    max_error: float,
    gap_edges: float,
    gradation: float,
) -> Floats:
    """Return (p,) the wanted edge length at every point, um.

    Parameters
    ----------
    surface, edges, features
        The surface with its edges, see `smoothing.feature_edges`.
    base : Base
        The same surface, to be asked for what is near.
    edge, least : float
        um, the greatest and least length.
    max_error : float
        um, how far the middle of an edge may be from a surface that bends.
    gap_edges : float
        Edge lengths per width of a gap or of a thin part.
    gradation : float
        Greatest growth of the length per um, so that neighbouring edges have like lengths.

    Notes
    -----
    Bending: sqrt(6 max_error / curvature - 3 max_error^2), Dunyach et al. 2013, Adaptive remeshing for real-time mesh
    deformation, eq. 3. Gradation: Borouchaki, Hecht, Frey 1998, Mesh gradation control.
    """
    normals = _smooth_normals(surface, edges[~features])
    bend = _curvature(surface.points, normals, edges[~features])
    with np.errstate(divide="ignore"):
        sizes = np.sqrt(np.maximum(6 * max_error / bend - 3 * max_error**2, 0.0))
    sizes = np.minimum(sizes, gap_edges * gaps(surface.points, normals, base, reach=edge / gap_edges))
    sizes = np.clip(sizes, min(least, edge), edge)
    _limit_growth(sizes, surface.points, edges, gradation)
    return sizes


def _smooth_normals(surface: Surface, plain: Ints, sweeps: int = 3) -> Floats:
    """Return (p, 3) unit normals, averaged over neighbours: voxel steps are not curvature."""
    n = len(surface.points)
    normals = np.stack(
        [
            np.bincount(surface.triangles.ravel(), np.repeat(surface.area_vectors[:, k], 3), minlength=n)
            for k in range(3)
        ],
        axis=1,
    )
    start, end = np.concatenate([plain, plain[:, ::-1]]).T
    for _ in range(sweeps):
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        unit = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
        around = np.stack([np.bincount(start, unit[end, k], minlength=n) for k in range(3)], axis=1)
        normals = unit + around
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(np.divide(normals, length, out=np.zeros_like(normals), where=length > 0))


def _curvature(points: Floats, normals: Floats, plain: Ints) -> Floats:
    """Return (p,) the mean over a point's edges of how fast the normal turns, 1/um."""
    turn = np.linalg.norm(normals[plain[:, 0]] - normals[plain[:, 1]], axis=1)
    length = np.linalg.norm(points[plain[:, 0]] - points[plain[:, 1]], axis=1)
    rate = np.divide(turn, length, out=np.zeros_like(turn), where=length > 0)
    total = np.bincount(plain.ravel(), np.repeat(rate, 2), minlength=len(points))
    return np.asarray(total / np.maximum(np.bincount(plain.ravel(), minlength=len(points)), 1))


def gaps(points: Floats, normals: Floats, base: Base, reach: float) -> Floats:
    """Return (p,) the distance to the nearest other sheet, ahead or behind; `reach` where none is nearer."""
    result = np.full(len(points), float(reach))
    found = np.empty(len(base.triangles), np.int32)
    for first, last in stretches(len(points), MEASURED):
        _gaps(points, normals, base, float(reach), found, result, first, last)
    return result


# --- kernels ---


@njit(cache=True)
def _gaps(points: Any, normals: Any, base: Any, reach: float, found: Any, result: Any, first: int, last: int) -> None:
    box = np.empty(6)
    for p in range(first, last):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        nx, ny, nz = normals[p, 0], normals[p, 1], normals[p, 2]
        box[0], box[1], box[2] = x - reach, y - reach, z - reach
        box[3], box[4], box[5] = x + reach, y + reach, z + reach
        n = max(gather(base.grid, box, found), 0)
        for f in range(n):
            t = found[f]
            ux, uy, uz = base.normals[t, 0], base.normals[t, 1], base.normals[t, 2]
            length = np.sqrt(ux * ux + uy * uy + uz * uz)
            # Another sheet faces this one, or shows it its back.
            if nx * ux + ny * uy + nz * uz > -0.5 * length:
                continue
            a, b, c = base.triangles[t, 0], base.triangles[t, 1], base.triangles[t, 2]
            dx = (base.points[a, 0] + base.points[b, 0] + base.points[c, 0]) / 3 - x
            dy = (base.points[a, 1] + base.points[b, 1] + base.points[c, 1]) / 3 - y
            dz = (base.points[a, 2] + base.points[b, 2] + base.points[c, 2]) / 3 - z
            ahead = abs(nx * dx + ny * dy + nz * dz)
            away = np.sqrt(dx * dx + dy * dy + dz * dz)
            if ahead < 0.7 * away:
                continue
            result[p] = min(result[p], np.sqrt(distance2(base.points, a, b, c, x, y, z)))


@njit(cache=True)
def _limit_growth(sizes: Any, points: Any, edges: Any, gradation: float) -> None:
    changed = True
    while changed:
        changed = False
        for e in range(edges.shape[0]):
            a, b = edges[e]
            x, y, z = points[a, 0] - points[b, 0], points[a, 1] - points[b, 1], points[a, 2] - points[b, 2]
            slack = gradation * np.sqrt(x * x + y * y + z * z)
            if sizes[a] > sizes[b] + slack * 1.000001:
                sizes[a] = sizes[b] + slack
                changed = True
            elif sizes[b] > sizes[a] + slack * 1.000001:
                sizes[b] = sizes[a] + slack
                changed = True
