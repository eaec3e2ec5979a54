"""From a tilt series back to a volume: filtered back-projection and iterative methods.

Slices across the tilt axis are independent but for total variation, so all arrays keep the layout of the projector:
blocks of neighbours along the tilt axis, side by side in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.fft

from meshcell.core.arrays import Array, Floats
from meshcell.core.hints import require
from meshcell.core.progress import bar
from meshcell.core.types import TiltSeries, Volume
from meshcell.imaging.projection import Float32, Frame, adjoint, forward, from_blocks, slabs, to_blocks

Callback = Callable[[int, float], None]
WINDOWS = ("ramp", "hamming", "hann")
# A gap between angles this many times wider than the median is the missing wedge.
WEDGE = 2.0


def reconstruct(
    series: TiltSeries,
    shape: tuple[int, int, int],
    *,
    method: str = "wbp",
    window: str = "hamming",
    iterations: int = 30,
    relaxation: float = 1.0,
    smoothness: float = 0.1,
    nonnegative: bool = False,
    spacing: Any = None,
    callback: Callback | None = None,
    progress: bool = False,
) -> Volume:
    """Reconstruct a volume from its tilt series.

    Parameters
    ----------
    series : TiltSeries
    shape : three ints
        Voxels along x, y, z; along the tilt axis as many as the images have.
    method : str
        "wbp", weighted back-projection; "sirt", all images at once; "sart", one image after the other; "cgls",
        conjugate gradients on the least squares; "tv", least squares with a penalty on the total variation.
    window : str
        Roll-off of the ramp filter up to Nyquist's frequency (wbp): "hamming", "hann" or "ramp" for none.
    iterations : int
        Sweeps of the iterative methods. With noise more is not better: they fit the noise in the end.
    relaxation : float
        Share of each correction that is applied (sirt, sart), in (0, 2).
    smoothness : float
        Weight of the total variation (tv), in intensities times pixels: jumps below it within a pixel go.
    nonnegative : bool
        Hold all intensities at zero or above (not wbp and cgls).
    spacing : three floats, optional
        um per voxel; the series' pixel by default.
    callback : function of (iteration, residual), optional
        Called after each iteration with |A x - b| / |b| at its start; `history.append` of both keeps the history.
    progress : bool
        Show a bar.

    Returns
    -------
    Volume
        float32 intensities, centred at the origin.

    Raises
    ------
    ValueError
        An unknown method or window, a shape that does not fit, figures out of range, views from one side only.

    Notes
    -----
    Ramp: Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988, eq. 61, in space, so that the mean is
    kept. SIRT and SART: ibid., ch. 7; weights are row and column sums. TV: Chambolle and Pock 2011, J. Math. Imaging
    Vis. 40, 120, with the diagonal steps of Pock and Chambolle 2011.
    """
    require(series, TiltSeries, "reconstruct(series, shape)", shape)
    solvers = {"sirt": _sirt, "sart": _sart, "cgls": _cgls, "tv": _tv}
    if method != "wbp" and method not in solvers:
        raise ValueError(f"method should be one of wbp, {', '.join(solvers)}; got {method!r}")
    if nonnegative and method in ("wbp", "cgls"):
        raise ValueError(f"{method} cannot hold intensities at zero or above; use sirt, sart or tv")
    if not 0 < relaxation < 2 or not smoothness >= 0 or int(iterations) != iterations or iterations < 1:
        raise ValueError(
            "expected relaxation in (0, 2), smoothness >= 0 and iterations >= 1; got "
            f"{relaxation!r}, {smoothness!r}, {iterations!r}"
        )
    if np.ptp(series.angles % 180) < 1e-6:
        raise ValueError(
            f"a reconstruction needs views from more than one side; all {len(series.angles)} are from "
            f"{series.angles[0]:.6g} degrees: the tilt range is zero; check the angles"
        )
    frame = Frame.of(series, shape, spacing)
    if method == "wbp":
        return _weighted_backprojection(series, frame, shape, window)
    images = to_blocks(np.moveaxis(series.images, 1, 0))
    watched = _watched(int(iterations), callback, progress)
    options = {"sirt": relaxation, "sart": relaxation, "tv": smoothness * series.spacing}.get(method, 0.0)
    blocks = solvers[method](images, frame, watched, options, nonnegative)
    data = np.moveaxis(from_blocks(blocks, frame.n_along), 1, 0)
    return frame.volume(np.ascontiguousarray(np.moveaxis(data, 0, frame.along)))


def ramp_filter(n: int, pixel: float, window: str = "ramp") -> Floats:
    """Return the frequency response of the ramp for `n` samples, transformed with scipy.fft.rfft.

    Examples
    --------
    >>> bool(ramp_filter(64, 1.0)[0] > 0)  # sampled |f| would be 0 here, and lose the mean
    True
    """
    offsets = np.minimum(np.arange(n), n - np.arange(n))
    kernel = np.zeros(n)
    kernel[0] = 1 / (4 * pixel**2)
    odd = offsets % 2 == 1
    kernel[odd] = -1 / (np.pi * offsets[odd] * pixel) ** 2
    response = np.real(scipy.fft.rfft(kernel)) * pixel
    floor = {"ramp": 1.0, "hamming": 0.54, "hann": 0.5}
    if window not in floor:
        raise ValueError(f"window should be one of {', '.join(WINDOWS)}; got {window!r}")
    turn = np.cos(np.pi * np.arange(len(response)) / (n // 2))
    return np.asarray(response * (floor[window] + (1 - floor[window]) * turn))


def angle_weights(angles: Floats) -> Floats:
    """Return the arc in radians that every view stands for: half the gaps to its neighbours; a wedge counts for none.

    Examples
    --------
    >>> np.rad2deg(angle_weights(np.array([-60.0, 0.0, 60.0]))).round(6).tolist()
    [60.0, 60.0, 60.0]
    >>> np.rad2deg(angle_weights(np.array([-2.0, 0.0, 4.0]))).round(6).tolist()
    [2.5, 3.0, 3.5]
    """
    order = np.argsort(angles % 180)
    gaps = np.diff(angles[order] % 180, append=angles[order[0]] % 180 + 180)
    # Without the wedge itself, which would hide among few views.
    usual = float(np.median(np.delete(gaps, gaps.argmax()))) if len(gaps) > 1 else float(gaps[0])
    gaps = np.where(gaps > WEDGE * usual + 1e-9, usual, gaps)
    weights = np.empty(len(angles))
    weights[order] = np.deg2rad(gaps + np.roll(gaps, 1)) / 2
    return weights


def _weighted_backprojection(series: TiltSeries, frame: Frame, shape: tuple[int, int, int], window: str) -> Volume:
    across = series.images.shape[2]
    n = scipy.fft.next_fast_len(2 * across, real=True)
    n += n % 2
    response = ramp_filter(n, series.spacing, window).astype(np.float32)
    # The adjoint weighs by area; divided by it, a voxel takes the mean under its shadow.
    weights = (angle_weights(series.angles) / frame.shadows[:, 6]).astype(np.float32)
    out = np.empty(shape, np.float32)
    for first, last in slabs(frame.n_along, frame.shape[0] * frame.shape[1]):
        spectra = scipy.fft.rfft(series.images[:, first:last], n, axis=2) * response
        filtered = scipy.fft.irfft(spectra, n, axis=2)[..., :across] * weights[:, None, None]
        blocks = adjoint(to_blocks(np.moveaxis(filtered, 1, 0)), frame.shadows, *frame.shape)
        np.moveaxis(out, frame.along, 0)[first:last] = np.moveaxis(from_blocks(blocks, last - first), 1, 0)
    return frame.volume(out)


# --- iterative methods: arrays in blocks, `watched` yields the iterations and takes their residuals ---

Watched = Iterator[Callable[[float], None]]


def _watched(iterations: int, callback: Callback | None, progress: bool) -> Watched:
    def unheard(_k: int, _residual: float) -> None: ...

    for k in bar(range(iterations), progress=progress, desc="reconstruct"):
        yield functools.partial(callback or unheard, k)


def _relative(residual: Float32, images: Float32) -> float:
    return float(np.linalg.norm(residual) / max(float(np.linalg.norm(images)), 1e-30))


def _inverse(sums: Float32) -> Float32:
    """Return 1 / sums, 0 where nothing is seen."""
    return np.divide(1, sums, out=np.zeros_like(sums), where=sums > 1e-6 * sums.max())


def _row_sums(frame: Frame, images: Float32) -> Float32:
    ones = np.ones((1, *frame.shape, 1), np.float32)
    return forward(ones, frame.shadows, images.shape[2])


def _column_sums(frame: Frame, images: Float32) -> Float32:
    ones = np.ones((1, *images.shape[1:3], 1), np.float32)
    return adjoint(ones, frame.shadows, *frame.shape)


def _sirt(images: Float32, frame: Frame, watched: Watched, relaxation: float, nonnegative: bool) -> Float32:
    rows, columns = _inverse(_row_sums(frame, images)), _inverse(_column_sums(frame, images))
    columns *= np.float32(relaxation)
    x = np.zeros((len(images), *frame.shape, images.shape[3]), np.float32)
    for report in watched:
        residual = images - forward(x, frame.shadows, images.shape[2])
        report(_relative(residual, images))
        residual *= rows
        step = adjoint(residual, frame.shadows, *frame.shape)
        step *= columns
        x += step
        if nonnegative:
            np.maximum(x, 0, out=x)
    return x


def _sart(images: Float32, frame: Frame, watched: Watched, relaxation: float, nonnegative: bool) -> Float32:
    n, across = images.shape[1:3]
    rows = _inverse(_row_sums(frame, images))
    ones = np.ones((1, 1, across, 1), np.float32)
    columns = [_inverse(adjoint(ones, frame.shadows[[a]], *frame.shape)) for a in range(n)]
    x = np.zeros((len(images), *frame.shape, images.shape[3]), np.float32)
    for report in watched:
        squares = 0.0
        for a in _far_apart(n):
            view, row = frame.shadows[[a]], rows[:, [a]]
            residual = images[:, [a]] - forward(x, view, across)
            squares += float(np.vdot(residual, residual))
            residual *= row
            x += np.float32(relaxation) * columns[a] * adjoint(residual, view, *frame.shape)
            if nonnegative:
                np.maximum(x, 0, out=x)
        report(float(np.sqrt(squares) / max(float(np.linalg.norm(images)), 1e-30)))
    return x


def _far_apart(n: int) -> Array:
    """Order views so that neighbours in the order are far apart in angle: steps of the golden section."""
    return np.argsort(np.argsort(np.arange(n) * 0.6180339887498949 % 1))


def _cgls(images: Float32, frame: Frame, watched: Watched, _option: float, _nonnegative: bool) -> Float32:
    x = np.zeros((len(images), *frame.shape, images.shape[3]), np.float32)
    residual = images.copy()
    gradient = adjoint(residual, frame.shadows, *frame.shape)
    direction, size = gradient.copy(), _square(gradient)
    for report in watched:
        report(_relative(residual, images))
        if size == 0:
            break
        seen = forward(direction, frame.shadows, images.shape[2])
        step = np.float32(size / _square(seen))
        x += step * direction
        residual -= step * seen
        gradient = adjoint(residual, frame.shadows, *frame.shape)
        size, before = _square(gradient), size
        direction *= np.float32(size / before)
        direction += gradient
    return x


def _square(array: Float32) -> float:
    # In 64 bits: sums of millions of 32-bit squares lose what conjugate gradients live from.
    return float(np.einsum("i,i->", array.ravel(), array.ravel(), dtype=np.float64))


def _tv(images: Float32, frame: Frame, watched: Watched, weight: float, nonnegative: bool) -> Float32:
    """Minimise |A x - b|^2 / 2 + weight * pixel * |grad x|_1, lengths in pixels, by primal and dual steps."""
    pixel = np.float32(frame.spacing[frame.along])
    rows = _inverse(_row_sums(frame, images) / pixel)
    tau = 1 / (_column_sums(frame, images) / pixel + 6)
    bound = np.float32(weight / pixel)
    images = images / pixel
    x = np.zeros((len(images), *frame.shape, images.shape[3]), np.float32)
    ahead, dual = x, np.zeros_like(images)
    slopes = np.zeros((3, *_plain(x).shape), np.float32)
    for report in watched:
        residual = forward(ahead, frame.shadows, images.shape[2]) / pixel - images
        report(_relative(residual, images))
        dual = (dual + rows * residual) / (1 + rows)
        slopes += 0.5 * _gradient(_plain(ahead))
        slopes /= np.maximum(1, np.sqrt((slopes**2).sum(axis=0)) / max(bound, 1e-30))
        descent = adjoint(dual, frame.shadows, *frame.shape) / pixel + to_blocks(_gradient_adjoint(slopes))
        before, x = x, x - tau * descent
        if nonnegative:
            np.maximum(x, 0, out=x)
        ahead = 2 * x - before
    return x


def _plain(blocks: Float32) -> Float32:
    """(blocks, p, q, BLOCK) as (along, p, q), the filling of the last block included."""
    return np.moveaxis(from_blocks(blocks, len(blocks) * blocks.shape[3]), 1, 0)


def _gradient(x: Float32) -> Float32:
    """Differences to the next voxel along each axis, 0 at the end."""
    out = np.zeros((3, *x.shape), np.float32)
    for axis in range(3):
        np.moveaxis(out[axis], axis, 0)[:-1] = np.diff(np.moveaxis(x, axis, 0), axis=0)
    return out


def _gradient_adjoint(slopes: Float32) -> Float32:
    out = np.zeros(slopes.shape[1:], np.float32)
    for axis in range(3):
        slope, target = np.moveaxis(slopes[axis], axis, 0)[:-1], np.moveaxis(out, axis, 0)
        target[:-1] -= slope
        target[1:] += slope
    return out
