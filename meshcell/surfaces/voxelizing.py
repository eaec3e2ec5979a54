"""Labels from surfaces of any kind, by generalised winding numbers."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.errors import MeshError
from meshcell.core.hints import require
from meshcell.core.measures import enclosed
from meshcell.core.types import Surface, Volume
from meshcell.core.validation import BOX_FACES, OUTSIDE, checked_spacing, name_of
from meshcell.surfaces.nets import merged
from meshcell.surfaces.orientation import orient
from meshcell.surfaces.windings import MARGIN, add_region, tree_around

log = logging.getLogger("meshcell")

MAX_VOXELS = 5e8
# Voxels of which this share of a region lies in others as well are worth a warning.
OVERLAP = 0.01


def voxelize(surface: Surface, spacing: Any) -> Volume:
    """Turn a surface into labels, whatever is wrong with it: the robust way back from dirty triangles.

    Parameters
    ----------
    surface : Surface
        May be open, cut through itself, have triangles twice or a few turned ones; sides name the regions.
    spacing : float, three floats or text
        um per voxel; parts thinner than that may get lost.

    Returns
    -------
    Volume
        Labels and names of the surface. The box is flush with faces that have patches "box x-" ... "box z+" and leaves
        two voxels elsewhere.

    Raises
    ------
    MeshError
        No triangles, or a region without a single voxel: `where` lists its triangles.
    ValueError
        More than 5e8 voxels.

    Notes
    -----
    Every voxel gets the region with the greatest winding number at its centre; outside has 1 minus their sum. Holes are
    closed half-way between "inside" and "outside". Shells get their sides by where they lie, see `orientation.orient`:
    what was inside out is turned, an organelle that was given against "outside" lies in what is around it. Where
    regions overlap all the same, the smaller one wins. Each of these is a warning.
    """
    require(surface, Surface, "voxelize(surface, spacing)", spacing)
    if not len(surface.triangles):
        raise MeshError("voxelize needs a surface with triangles; got an empty one")
    steps = np.array(checked_spacing(spacing))
    origin, shape = _grid_around(surface, steps)
    surface = _with_right_sides(surface)
    volumes = enclosed(surface.points, surface.triangles, surface.sides)
    # From large to small, so that the smaller one has the last word.
    labels = sorted(volumes, key=lambda label: (-abs(volumes[label]), label))
    best, owner = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    total = np.zeros(shape, np.float32)
    for row, label in enumerate(labels, 1):
        add_region(tree_around(surface, label), origin, steps, row, best, total, owner)
    _warn_of_overlaps(total, steps)
    owner[best <= 1 - total + 1e-6] = OUTSIDE
    data = np.array([OUTSIDE, *labels], np.min_scalar_type(max(labels)))[owner]
    _refuse_lost(surface, labels, data, steps)
    log.info("voxelize: %d triangles -> %s voxels, %d regions", len(surface.triangles), shape, len(labels))
    return Volume(data, tuple(steps), tuple(origin), surface.names)


def _with_right_sides(surface: Surface) -> Surface:
    """Return the surface with its sides by containment; points that coincide count as one for that."""
    found = orient(merged(surface, None))
    if found.misplaced:
        said = "; ".join(item.said for item in found.misplaced[:3])
        more = f" and {len(found.misplaced) - 3} more" if len(found.misplaced) > 3 else ""
        warnings.warn(f"voxelize took some shells another way round than they were given: {said}{more}", stacklevel=4)
    return found.surface


def _warn_of_overlaps(total: Array, steps: Floats) -> None:
    n = int(np.count_nonzero(total > 1.5))
    if n > OVERLAP * np.count_nonzero(total > 0.5):
        warnings.warn(
            f"regions overlap in about {n * float(np.prod(steps)):.3g} um^3 ({n:,} voxels), which went to the smaller "
            "of them; where that is not meant, look at check(surface)",
            stacklevel=3,
        )


def _grid_around(surface: Surface, steps: Floats) -> tuple[Floats, tuple[int, int, int]]:
    """Return the centre of the first voxel and how many there are along x, y, z."""
    corners = surface.points[np.unique(surface.triangles)]
    low, high = corners.min(axis=0), corners.max(axis=0)
    flush = np.array([len(surface.patches.get(name, [])) > 0 for name in BOX_FACES]).reshape(3, 2)
    low = low - np.where(flush[:, 0], 0, MARGIN) * steps
    shape = np.maximum(np.ceil((high - low) / steps - 1e-6) + np.where(flush[:, 1], 0, MARGIN), 1)
    if np.prod(shape) > MAX_VOXELS:
        enough = float(steps.max() * (np.prod(shape) / MAX_VOXELS) ** (1 / 3))
        raise ValueError(
            f"voxels of {steps.tolist()} um would be {np.prod(shape):.2g} of them; at most {MAX_VOXELS:.0g} are made; "
            f"{enough:.2g} um would do; check the units of the points, and for stray ones"
        )
    nx, ny, nz = (int(n) for n in shape)
    return low + steps / 2, (nx, ny, nz)


def _refuse_lost(surface: Surface, labels: list[int], data: Array, steps: Floats) -> None:
    there = np.unique(data)
    lost = [label for label in labels if label not in there]
    if lost:
        names = ", ".join(name_of(surface.names, label) for label in lost)
        raise MeshError(
            f"every region should have voxels; at {steps.tolist()} um there are none of {names}: they are thinner than "
            "that, or their triangles enclose nothing; take smaller voxels, or look at check(surface)",
            np.flatnonzero(np.isin(surface.sides, lost).any(axis=1)),
        )
