"""Voxels along the axes of the world that a header tells of, for files whose axes are flipped, swapped or turned."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.formats.volumes.pictures import Picture

# Of a step's length, this much along other axes is rounding: headers keep 32 bits, or a rotation as a quaternion.
STRAIGHT = 1e-3


def in_world(path: Path, picture: Picture, steps: Floats, first: Floats) -> Picture:
    """Bring voxels to the axes of their world, by flips and swaps alone.

    Parameters
    ----------
    picture : Picture
        Its voxels and spacing along the file's axes.
    steps : (3, 3) floats
        Row k is the step from a voxel to the next along the file's axis k, in the world.
    first : (3,) floats
        Where the file's first voxel is.

    Returns
    -------
    Picture
        With its first voxel as origin, told in voxels if there is no spacing. Axes that are oblique to the world's are
        brought to the nearest ones, which no mirror image comes of, and the origin is 0; a warning says so.
    """
    with np.errstate(over="ignore"):
        sizes = np.linalg.norm(steps, axis=1)
    if not (np.isfinite(sizes).all() and np.isfinite(first).all() and (sizes > 0).all()):
        return picture
    units = steps / sizes[:, None]
    if abs(np.linalg.det(units)) < STRAIGHT:
        return picture
    axes, signs = _nearest(units)
    order = np.argsort(axes)
    data = np.flip(picture.data, tuple(k for k in range(3) if signs[k] < 0)).transpose(order)
    spacing = None if picture.spacing is None else tuple(picture.spacing[k] for k in order)
    turned = replace(picture, data=data, spacing=spacing)
    along = np.zeros((3, 3))
    along[np.arange(3), axes] = signs
    if np.abs(units - along).max() > STRAIGHT:
        _warn_oblique(path, units, along)
        return turned
    # The last voxel of a flipped axis becomes the first.
    lengths = np.array(picture.data.shape) - 1
    low = first + np.minimum(along * (lengths * sizes)[:, None], 0.0).sum(axis=0)
    if spacing is None:
        return replace(turned, start=tuple((low / sizes[order]).tolist()))
    return replace(turned, origin=tuple((low + 0.0).tolist()))


def _nearest(units: Floats) -> tuple[Array, Array]:
    """Return the nearest axis of the world for every axis of the file, and its sign; a mirror image stays one."""
    hand = np.sign(np.linalg.det(units))
    best, found = -np.inf, (np.arange(3), np.ones(3))
    for axes in itertools.permutations(range(3)):
        parity = np.linalg.det(np.eye(3)[list(axes)])
        for signs in itertools.product((1.0, -1.0), repeat=3):
            score = sum(units[k, axes[k]] * signs[k] for k in range(3))
            if parity * np.prod(signs) * hand > 0 and score > best + 1e-9:
                best, found = score, (np.array(axes), np.array(signs))
    return found


def _warn_oblique(path: Path, units: Floats, along: Floats) -> None:
    angle = np.degrees(np.arccos(np.clip((units * along).sum(axis=1), -1, 1))).max()
    skew = np.abs(units @ units.T - np.eye(3)).max() > STRAIGHT
    what = "are sheared" if skew else f"are turned by up to {angle:.3g} degrees"
    advice = "resample it along x, y, z" + (", as a sheared body has another shape and size" if skew else "")
    warnings.warn(
        f"{path}: the axes of the voxels {what} against the axes of its world; they are read along the nearest axes, "
        f"with the origin at 0; where place or direction matter, {advice}",
        stacklevel=2,
    )
