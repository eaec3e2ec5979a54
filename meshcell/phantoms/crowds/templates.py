"""Templates: rigid units on voxels of their own, with what decides early whether they fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.rounding import sine_cosine

# The coarse points of a unit: enough to refuse nearly every pose that does not fit.
COARSE = 64
# Resolution of a core's radius, voxels.
CORE_STEP = 0.05


@dataclass(frozen=True, eq=False)
class Template:
    """A rigid unit on voxels of its own.

    Parameters
    ----------
    values : (n, m, k) float32
        Density; the unit occupies what interpolates to `level` or more. A zero voxel surrounds it.
    step : float, um
        Edge of its voxels.
    level : float
    centre : (3,) floats
        Index coordinates of the unit's position.
    core, core_radius : (3,) and float, um
        The largest ball inside the unit: its middle from the unit's position.
    points : (m, 3) floats, um
        Points of the unit, the one that refuses most poses first.
    volume : float, um^3
    shadow : float, um^2
        Area of its projection along z.
    """

    values: Array
    step: float
    level: float
    centre: Floats
    core: Floats
    core_radius: float
    points: Floats
    volume: float
    shadow: float

    @property
    def radius(self) -> float:
        """Farthest occupied point from the unit's position, um."""
        return float(np.linalg.norm(self.points, axis=1).max())


def template(values: Array, step: float, level: float, centre: Any = None) -> Template:
    """Prepare a density for packing.

    Parameters
    ----------
    values : (n, m, k) floats
    step : float, um
    level : float
        Voxels of at least this density belong to the unit.
    centre : (3,) floats, optional
        Index coordinates of its position; by default the occupied voxels' centre.

    Raises
    ------
    ValueError
        No voxel reaches the level.
    """
    from scipy.ndimage import distance_transform_edt

    padded = np.pad(np.asarray(values, np.float32), 1)
    inside = padded >= level
    if not inside.any():
        raise ValueError(
            f"a unit should have a voxel of at least its level, {level:.4g}; the densest of {step:.4g} um has "
            f"{padded.max():.4g}; the unit is smaller than a voxel (take a finer spacing) or the level too high"
        )
    where = np.argwhere(inside)
    middle = where.mean(axis=0) if centre is None else np.asarray(centre, np.float64) + 1
    depth = distance_transform_edt(inside)
    # Of equally deep voxels the one nearest to the middle, so that the core does not depend on rounding.
    deepest = where[depth[inside] > depth.max() - 0.5]
    core = deepest[np.argmin(np.linalg.norm(deepest - middle, axis=1))]
    rim = where[depth[inside] < 1.5]
    offsets = np.ascontiguousarray((_spread(rim, core) - middle) * step)
    return Template(
        values=padded,
        step=float(step),
        level=float(level),
        centre=middle,
        core=(core - middle) * step,
        core_radius=_core_radius(padded, level, core, float(depth.max())) * step,
        points=offsets,
        volume=len(where) * step**3,
        shadow=int(inside.any(axis=2).sum()) * step**2,
    )


def _core_radius(values: Array, level: float, core: Array, depth: float) -> float:
    """Measure the largest ball around `core` in which the interpolated density reaches the level, in voxels."""
    from scipy.ndimage import map_coordinates

    # Directions on a spiral (Gonzalez 2010), about 0.15 rad apart; the density is not below linear between them.
    n = 600
    z, turn = 1 - (2 * np.arange(n) + 1) / n, np.pi * (3 - np.sqrt(5)) * np.arange(n)
    rho = np.sqrt(1 - z * z)
    sine, cosine = sine_cosine(turn)
    directions = np.stack([rho * cosine, rho * sine, z])
    radii = np.arange(0, depth + 1, CORE_STEP)
    along = map_coordinates(values, core[:, None, None] + directions[:, None] * radii[:, None], order=1)
    return float(radii[np.flatnonzero((along < level).any(axis=1))[0] - 1])


def _spread(points: Array, start: Array) -> Array:
    """Choose up to COARSE points, each the farthest from those before."""
    distance = np.linalg.norm(points - start, axis=1)
    chosen = []
    for _ in range(min(COARSE, len(points))):
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.asarray(points[chosen])
