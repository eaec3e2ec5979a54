"""Parallel projection of voxels about one tilt axis, and its exact adjoint.

A voxel's shadow on the detector is a trapezoid (the convolution of the shadows of its two sides). A pixel gets the part
of it that falls upon it, so no mass is lost at any angle. The shadow does not depend on the place along the tilt axis:
it is computed once and applied to a block of neighbours there, which lie side by side in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meshcell.core.arrays import Array, Floats, Triple
from meshcell.core.hints import require
from meshcell.core.kernels import njit
from meshcell.core.threads import share
from meshcell.core.types import TiltSeries, Volume
from meshcell.core.validation import checked_spacing

Float32 = npt.NDArray[np.float32]

# Samples along the tilt axis that share a shadow: 128 bytes, so that a row of the detector is two lines of cache.
BLOCK = 32
# Memory for one slab of blocks, bytes.
SLAB = 2**28


def tilt_angles(largest: float = 60.0, step: float = 3.0, *, scheme: str = "ordered") -> Floats:
    """List the angles of a tilt series in the order in which they are taken.

    Parameters
    ----------
    largest : float, degrees
        The series runs from -largest to largest.
    step : float, degrees
    scheme : str
        "ordered" from one end to the other, or "dose-symmetric": from zero outward, 0, +, -, -, +, +, ... (Hagen, Wan
        and Briggs 2017, J. Struct. Biol. 197, 191).

    Returns
    -------
    (n,) floats, degrees

    Raises
    ------
    ValueError
        A range of zero or a step that does not fit into it.

    Examples
    --------
    >>> tilt_angles(6, 3)
    array([-6., -3.,  0.,  3.,  6.])
    >>> tilt_angles(6, 3, scheme="dose-symmetric")
    array([ 0.,  3., -3., -6.,  6.])
    """
    if not 0 < largest <= 90 or not 0 < step <= largest:
        raise ValueError(
            f"a tilt range should be above zero and at most 90 degrees, the step no larger than it; got +-{largest} in "
            f"steps of {step}; a usual series is tilt_angles(60, 3)"
        )
    n = math.floor(largest / step + 1e-9)
    ordered = step * np.arange(-n, n + 1.0)
    if scheme == "ordered":
        return ordered
    if scheme != "dose-symmetric":
        raise ValueError(f'scheme should be "ordered" or "dose-symmetric"; got {scheme!r}')
    signs = [1 if k % 2 else -1 for k in range(1, n + 1)]
    return np.array([0.0, *(way * k * step for k, sign in enumerate(signs, 1) for way in (sign, -sign))])


def project(volume: Volume, angles: Any, *, axis: str = "y", width: int | None = None) -> TiltSeries:
    """Project a volume along parallel beams at every tilt angle.

    Parameters
    ----------
    volume : Volume
        Intensities, or labels, which are taken as numbers. Memory-mapped data are read slab by slab.
    angles : (n,) floats, degrees
    axis : str
        The tilt axis, "x" or "y"; the beam runs along z at angle 0.
    width : int, optional
        Pixels of the detector across the tilt axis; by default as many as see the whole volume at every angle.

    Returns
    -------
    TiltSeries
        Pixels as wide as a voxel is along the tilt axis. Values are line integrals, averaged over the pixel: intensity
        times um.

    Raises
    ------
    ValueError
        No angles, NaN, an unknown axis.

    Notes
    -----
    Every view holds the same total, up to the rounding of 32-bit floats, if the detector sees the whole volume.

    Examples
    --------
    >>> series = project(Volume(np.ones((1, 1, 3)), spacing=0.5), [0, 90])
    >>> series.images[:, 0].tolist()
    [[0.0, 1.5, 0.0], [0.5, 0.5, 0.5]]
    """
    require(volume, Volume, "project(volume, angles)", angles)
    turns = _checked_angles(angles)
    along, shape, spacing = _turned(volume, axis)
    pixel = volume.spacing[along]
    n_across = _width(shape, spacing, pixel, turns) if width is None else _checked_width(width)
    shadows = shadow_table(turns, spacing, pixel)
    data = np.moveaxis(volume.data, along, 0)
    images = np.empty((len(turns), len(data), n_across), np.float32)
    for first, last in slabs(len(data), shape[0] * shape[1]):
        images[:, first:last] = from_blocks(forward(to_blocks(data[first:last]), shadows, n_across), last - first)
    return TiltSeries(images, turns, pixel, axis)


def backproject(series: TiltSeries, shape: tuple[int, int, int], *, spacing: Any = None) -> Volume:
    """Smear every image back along its beams: the exact adjoint of `project`.

    Parameters
    ----------
    series : TiltSeries
    shape : three ints
        Voxels along x, y, z; along the tilt axis as many as the images have.
    spacing : three floats, optional
        um per voxel; the series' pixel by default.

    Returns
    -------
    Volume
        float32, centred at the origin: the transposed matrix of `project` times the images.

    Raises
    ------
    ValueError
        A shape that does not fit the images.
    """
    require(series, TiltSeries, "backproject(series, shape)", shape)
    out = np.empty(shape, np.float32)
    frame = Frame.of(series, shape, spacing)
    for first, last in slabs(frame.n_along, frame.shape[0] * frame.shape[1]):
        rows = to_blocks(np.moveaxis(series.images[:, first:last], 1, 0))
        part = adjoint(rows, frame.shadows, *frame.shape)
        np.moveaxis(out, frame.along, 0)[first:last] = np.moveaxis(from_blocks(part, last - first), 1, 0)
    return frame.volume(out)


@dataclass(frozen=True, eq=False)
class Frame:
    """How the voxels of a reconstruction lie before the detector.

    Parameters
    ----------
    along : int
        The volume's axis that is the tilt axis.
    n_along : int
        Voxels on it.
    shape : two ints
        Voxels across it: along x (or y), and along the beam at angle 0.
    shadows : (n, 7) floats
        `shadow_table` of the series' angles.
    spacing : three floats, um per voxel
    """

    along: int
    n_along: int
    shape: tuple[int, int]
    shadows: Floats
    spacing: Triple

    @classmethod
    def of(cls, series: TiltSeries, shape: tuple[int, int, int], spacing: Any = None) -> Frame:
        """Check that a shape fits a series."""
        step = checked_spacing(series.spacing if spacing is None else spacing)
        along = "xy".index(series.axis)
        if len(shape) != 3 or min(shape) < 1 or any(int(n) != n for n in shape):
            raise ValueError(f"shape should be three whole numbers of voxels along x, y, z; got {shape!r}")
        n_along = series.images.shape[1]
        if shape[along] != n_along or not math.isclose(step[along], series.spacing, rel_tol=1e-6):
            raise ValueError(
                f"along the tilt axis {series.axis} the volume should have the images' {n_along} voxels of "
                f"{series.spacing:.6g} um; got {shape[along]} of {step[along]:.6g} um; crop or bin the images first"
            )
        across = 1 - along
        shadows = shadow_table(series.angles, (step[across], step[2]), series.spacing)
        return cls(along, n_along, (int(shape[across]), int(shape[2])), shadows, step)

    def volume(self, data: Array) -> Volume:
        """Make a Volume that is centred at the origin."""
        x, y, z = (-(n - 1) / 2 * h for n, h in zip(data.shape, self.spacing, strict=True))
        return Volume(data, self.spacing, (x, y, z))


def slabs(n_along: int, voxels: int) -> Iterator[tuple[int, int]]:
    """Cut the tilt axis into slabs of whole blocks that fit into the memory set aside for one."""
    size = max(1, SLAB // (4 * BLOCK * voxels)) * BLOCK
    for first in range(0, n_along, size):
        yield first, min(first + size, n_along)


def to_blocks(data: Array) -> Float32:
    """Lay (along, p, q) out as (blocks, p, q, BLOCK), the last one filled up with zeros."""
    along, p, q = data.shape
    blocks = np.zeros((-(-along // BLOCK), p, q, BLOCK), np.float32)
    for row, block in enumerate(blocks):
        part = data[row * BLOCK : (row + 1) * BLOCK]
        block[..., : len(part)] = np.moveaxis(part, 0, 2)
    return blocks


def from_blocks(blocks: Float32, along: int) -> Float32:
    """Undo `to_blocks` and bring the second axis to the front: (p, along, q)."""
    n, p, q, _ = blocks.shape
    data = np.empty((p, along, q), np.float32)
    for row in range(n):
        part = data[:, row * BLOCK : (row + 1) * BLOCK]
        part[...] = np.moveaxis(blocks[row, ..., : part.shape[1]], 2, 1)
    return data


def shadow_table(angles: Floats, spacing: tuple[float, float], pixel: float) -> Floats:
    """Describe the trapezoid that a voxel throws at every angle, in pixels.

    Returns
    -------
    (n, 7) floats
        Shift of the shadow per voxel along x and along z, half the width of the trapezoid's top and of its foot, its
        height for unit area, 1 / (2 x width of a slope) or 0, and the area: the voxel's over the pixel, um.
    """
    radians = np.deg2rad(angles)
    x, z = np.cos(radians) * spacing[0] / pixel, np.sin(radians) * spacing[1] / pixel
    # Rounding must not leave a sliver of a slope at 90 degrees.
    x, z = (np.where(np.abs(shift) < 1e-14, 0.0, shift) for shift in (x, z))
    long, short = np.maximum(np.abs(x), np.abs(z)), np.minimum(np.abs(x), np.abs(z))
    slope = np.divide(0.5, short, out=np.zeros_like(short), where=short > 1e-9)
    area = np.full_like(x, spacing[0] * spacing[1] / pixel)
    return np.stack([x, z, (long - short) / 2, (long + short) / 2, 1 / long, slope, area], axis=1)


def forward(volume: Float32, shadows: Floats, n_across: int) -> Float32:
    """Project blocks of voxels (blocks, p, q, BLOCK) to blocks of images (blocks, n, across, BLOCK)."""
    images = np.zeros((len(volume), len(shadows), n_across, volume.shape[3]), np.float32)
    groups = -(-len(shadows) // GROUP)
    share(_forward, len(volume) * groups, volume.size * len(shadows), volume, shadows, images)
    return images


def adjoint(images: Float32, shadows: Floats, p: int, q: int) -> Float32:
    """Bring blocks of images (blocks, n, across, BLOCK) back to blocks of voxels (blocks, p, q, BLOCK)."""
    volume = np.zeros((len(images), p, q, images.shape[3]), np.float32)
    groups = -(-p // GROUP)
    share(_adjoint, len(images) * groups, volume.size * len(shadows), images, shadows, volume)
    return volume


def _checked_angles(angles: Any) -> Floats:
    turns = np.atleast_1d(np.asarray(angles, np.float64))
    if turns.ndim != 1 or not turns.size or not np.isfinite(turns).all():
        raise ValueError(f"angles should be a list of finite degrees; got {angles!r}; try tilt_angles(60, 3)")
    return turns


def _checked_width(width: int) -> int:
    if int(width) != width or width < 1:
        raise ValueError(f"width should be a whole number of pixels >= 1; got {width!r}")
    return int(width)


def _turned(volume: Volume, axis: str) -> tuple[int, tuple[int, int], tuple[float, float]]:
    """Return the tilt axis, and voxels and spacing across it."""
    if axis not in ("x", "y"):
        raise ValueError(f'the tilt axis should be "x" or "y"; got {axis!r}')
    along = "xy".index(axis)
    n, h = volume.data.shape, volume.spacing
    return along, (n[1 - along], n[2]), (h[1 - along], h[2])


def _width(shape: tuple[int, int], spacing: tuple[float, float], pixel: float, angles: Floats) -> int:
    """Count the pixels that see the whole volume; odd for an odd volume, so that pixels and voxels meet at angle 0."""
    radians = np.deg2rad(angles)
    sides = [n * h / pixel for n, h in zip(shape, spacing, strict=True)]
    widest = float((sides[0] * np.abs(np.cos(radians)) + sides[1] * np.abs(np.sin(radians))).max())
    n = math.ceil(widest - 1e-6)
    return n + (n - shape[0]) % 2


# --- kernels ---

# Angles (forward) or rows of voxels (back) that one piece of work goes through.
GROUP = 8


@njit(cache=True, nogil=True, inline="always", fastmath={"contract", "nnan", "nsz"})
def _covered(t: float, top: float, foot: float, height: float, slope: float) -> float:
    """Area of a trapezoid of unit area, centred at 0, between 0 and t."""
    distance = abs(t)
    ramp = max(min(distance, foot) - top, 0.0)
    return math.copysign(height * (min(distance, top) + ramp - ramp * ramp * slope), t)


# Without NaN and signed zeros the compiler computes eight shadows at a time.
@njit(cache=True, nogil=True, fastmath={"contract", "nnan", "nsz"})
def shadow_row(shadow: Floats, middle: float, q: int, weights: Float32, pixels: Array) -> int:
    """Compute for a row of voxels along the beam the first pixel and the weights (bins, q); return the bins in use."""
    _, dz, top, foot, height, slope, total = shadow
    start = middle - (q - 1) / 2 * dz
    bins: int = math.ceil(2 * foot) + 1
    for k in range(q):
        pixels[k] = np.int32(math.floor(start + k * dz - foot + 0.5))
    for j in range(bins):
        for k in range(q):
            left = pixels[k] + j - 0.5 - (start + k * dz)
            right = _covered(left + 1.0, top, foot, height, slope)
            weights[j, k] = np.float32(total * (right - _covered(left, top, foot, height, slope)))
    return bins


# The length is an argument: for a constant one the compiler unrolls the loop and then fails to use wide registers.
@njit(cache=True, nogil=True, inline="always", fastmath={"contract"})
def _add(weight: float, source: Float32, i: int, target: Float32, j: int, length: int) -> None:
    """Add `length` weighted numbers; unsigned offsets spare the check for negative ones."""
    for s in range(length):
        target[j + np.uint64(s)] += weight * source[i + np.uint64(s)]


@njit(cache=True, nogil=True)
def _widest(shadows: Floats) -> int:
    bins: int = math.ceil(2 * shadows[:, 3].max()) + 1
    return bins


@njit(cache=True, nogil=True, fastmath={"contract"})
def _forward(first: int, last: int, volume: Float32, shadows: Floats, images: Float32) -> None:
    _, n, across, length = images.shape
    p, q = volume.shape[1], volume.shape[2]
    groups = (n + GROUP - 1) // GROUP
    weights, pixels = np.empty((_widest(shadows), q), np.float32), np.empty(q, np.int32)
    for piece in range(first, last):
        block, start = piece // groups, piece % groups * GROUP
        for i in range(p):
            row = volume[block, i].reshape(-1)
            for a in range(start, min(start + GROUP, n)):
                middle = (across - 1) / 2 + (i - (p - 1) / 2) * shadows[a, 0]
                bins = shadow_row(shadows[a], middle, q, weights, pixels)
                image = images[block, a].reshape(-1)
                for k in range(q):
                    for j in range(bins):
                        pixel, weight = pixels[k] + j, weights[j, k]
                        if weight > 0 and 0 <= pixel < across:
                            _add(weight, row, np.uint64(k * length), image, np.uint64(pixel * length), length)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _adjoint(first: int, last: int, images: Float32, shadows: Floats, volume: Float32) -> None:
    _, n, across, length = images.shape
    p, q = volume.shape[1], volume.shape[2]
    groups = (p + GROUP - 1) // GROUP
    weights, pixels = np.empty((_widest(shadows), q), np.float32), np.empty(q, np.int32)
    for piece in range(first, last):
        block, start = piece // groups, piece % groups * GROUP
        for i in range(start, min(start + GROUP, p)):
            row = volume[block, i].reshape(-1)
            for a in range(n):
                middle = (across - 1) / 2 + (i - (p - 1) / 2) * shadows[a, 0]
                bins = shadow_row(shadows[a], middle, q, weights, pixels)
                image = images[block, a].reshape(-1)
                for k in range(q):
                    for j in range(bins):
                        pixel, weight = pixels[k] + j, weights[j, k]
                        if weight > 0 and 0 <= pixel < across:
                            _add(weight, image, np.uint64(pixel * length), row, np.uint64(k * length), length)
