"""Filters of intensity volumes: less noise, and features that tell membranes and bodies apart.

Widths are in voxels, where voxels are longer along one axis in sides of the finest: a filter is as wide in um along
every axis.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from meshcell.core.arrays import Array, Floats
from meshcell.core.hints import require
from meshcell.core.kernels import njit
from meshcell.core.threads import share
from meshcell.core.types import Volume
from meshcell.imaging.projection import Float32

DENOISERS = ("gaussian", "tv", "diffusion", "median", "nlm")
# Figures per voxel and scale: smoothed intensity, size of the gradient, eigenvalues of the Hessian, ascending.
FEATURES = 5


def denoise(volume: Volume, *, method: str = "gaussian", strength: float = 1.0, iterations: int = 20) -> Volume:
    """Take noise out of intensities.

    Parameters
    ----------
    volume : Volume
    method : str
        "gaussian": `strength` is the standard deviation in voxels. "tv": total variation (Chambolle 2004), `strength`
        in standard deviations of the volume. "diffusion": along edges but not across them (Perona and Malik 1990),
        `strength` is the step between neighbours that counts as an edge, in standard deviations. "median": in boxes of
        2 `strength` + 1 voxels. "nlm": non-local means of boxes of 3 voxels within 4 voxels around (Buades, Coll and
        Morel 2005; the fast way of Darbon et al. 2008), `strength` in standard deviations of the noise, which is
        estimated; some 7 CPU s for a million voxels, where the others take one or less. "tv", "median" and "nlm" count
        voxels along every axis, however long those are.
    strength : float
    iterations : int
        Of the diffusion.

    Returns
    -------
    Volume
        float32.

    Raises
    ------
    ValueError
        An unknown method.
    """
    require(volume, Volume, "denoise(volume)")
    if method not in DENOISERS:
        raise ValueError(f"method should be one of {', '.join(DENOISERS)}; got {method!r}")
    if not strength > 0 or iterations < 1:
        raise ValueError(f"expected strength > 0 and iterations >= 1; got {strength!r}, {iterations!r}")
    data = np.ascontiguousarray(volume.data, np.float32)
    if method == "gaussian":
        data = ndimage.gaussian_filter(data, strength / voxel_steps(volume))
    elif method == "median":
        data = ndimage.median_filter(data, 2 * round(strength) + 1)
    elif method == "tv":
        from skimage.restoration import denoise_tv_chambolle

        data = denoise_tv_chambolle(data, weight=strength * float(data.std()))
    elif method == "nlm":
        data = _non_local_means(data, strength)
    else:
        edge, nearness = np.float32(strength * float(data.std())), (1 / voxel_steps(volume) ** 2).astype(np.float32)
        for _ in range(iterations):
            fresh = np.empty_like(data)
            share(_diffuse, len(data), data.size * 30, data, edge, nearness, fresh)
            data = fresh
    return Volume(np.asarray(data, np.float32), volume.spacing, volume.origin)


def sheetness(volume: Volume, *, width: float = 1.5, dark: bool = False) -> Volume:
    """Measure how much every voxel looks like part of a bright (or dark) sheet about `width` voxels thick.

    Notes
    -----
    Of the Hessian's eigenvalues at scale `width`, times width^2: how far the strongest curvature exceeds the size of
    the next, 0 where it bends the other way. A plane has one, a line two, a ball three curvatures of equal size.
    """
    require(volume, Volume, "sheetness(volume)")
    values = features(volume, scales=(width,))[..., 2:5] * np.float32(width**2)
    low, middle, high = np.moveaxis(values, -1, 0)
    strongest = high if dark else -low
    other = np.maximum(np.abs(middle), np.abs(low if dark else high))
    return Volume(np.maximum(strongest - other, 0), volume.spacing, volume.origin)


def features(volume: Volume, *, scales: tuple[float, ...] = (0.7, 1.5, 3.0)) -> Float32:
    """Compute what a pixel classifier sees: (nx, ny, nz, 5 per scale).

    Notes
    -----
    At every scale (standard deviation of a Gaussian, in sides of the finest voxel): intensity, size of the gradient,
    and the three eigenvalues of the Hessian in ascending order, by central differences of the smoothed volume; lengths
    in sides of the finest voxel, too.
    """
    require(volume, Volume, "features(volume)")
    data, steps = np.ascontiguousarray(volume.data, np.float32), voxel_steps(volume)
    out = np.empty((*data.shape, FEATURES * len(scales)), np.float32)
    for row, scale in enumerate(scales):
        smooth = np.pad(ndimage.gaussian_filter(data, scale / steps), 1, mode="edge")
        own = out[..., FEATURES * row : FEATURES * (row + 1)]
        share(_derivatives, len(data), data.size * 60, smooth, steps, own)
    return out


def voxel_steps(volume: Volume) -> Floats:
    """Return the voxel's sides in parts of the shortest.

    Examples
    --------
    >>> voxel_steps(Volume(np.zeros((2, 2, 2)), (0.01, 0.01, 0.04))).tolist()
    [1.0, 1.0, 4.0]
    """
    sides = np.array(volume.spacing)
    return np.asarray(sides / sides.min())


def noise_level(data: Array) -> float:
    """Estimate the standard deviation of white noise from what only the finest differences along all axes show.

    Notes
    -----
    Median of absolute values over 0.6745, so that edges count little: Donoho and Johnstone 1994, Biometrika 81, 425.
    """
    fine = np.asarray(data, np.float32)
    for axis in (axis for axis in range(3) if data.shape[axis] > 1):
        fine = np.diff(fine, axis=axis) / np.float32(math.sqrt(2))
    return float(np.median(np.abs(fine))) / 0.6745


def _non_local_means(data: Float32, strength: float) -> Float32:
    from skimage.restoration import denoise_nl_means

    noise = noise_level(data)
    if noise == 0:
        return data
    return np.asarray(
        denoise_nl_means(data, patch_size=3, patch_distance=4, h=strength * noise, sigma=noise, fast_mode=True)
    )


@njit(cache=True, nogil=True)
def _diffuse(first: int, last: int, data: Float32, edge: float, nearness: Float32, out: Float32) -> None:
    shape = data.shape
    for i in range(first, last):
        for j in range(shape[1]):
            for k in range(shape[2]):
                here, flow = data[i, j, k], 0.0
                for axis in range(3):
                    for step in (-1, 1):
                        a, b, c = i + step * (axis == 0), j + step * (axis == 1), k + step * (axis == 2)
                        if 0 <= a < shape[0] and 0 <= b < shape[1] and 0 <= c < shape[2]:
                            jump = data[a, b, c] - here
                            flow += nearness[axis] * jump / (1 + (jump / edge) ** 2)
                # One seventh keeps the scheme stable with six neighbours.
                out[i, j, k] = here + flow / 7


@njit(cache=True, nogil=True)
def _derivatives(first: int, last: int, padded: Float32, steps: Floats, out: Array) -> None:
    """Fill intensity, gradient and eigenvalues from a volume with a border of one voxel."""
    a, b, c = 1 / steps[0], 1 / steps[1], 1 / steps[2]
    for i in range(first, last):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                g = padded[i : i + 3, j : j + 3, k : k + 3]
                here = g[1, 1, 1]
                x = (g[2, 1, 1] - g[0, 1, 1]) * a / 2
                y = (g[1, 2, 1] - g[1, 0, 1]) * b / 2
                z = (g[1, 1, 2] - g[1, 1, 0]) * c / 2
                xx = (g[2, 1, 1] - 2 * here + g[0, 1, 1]) * a * a
                yy = (g[1, 2, 1] - 2 * here + g[1, 0, 1]) * b * b
                zz = (g[1, 1, 2] - 2 * here + g[1, 1, 0]) * c * c
                xy = (g[2, 2, 1] - g[2, 0, 1] - g[0, 2, 1] + g[0, 0, 1]) * a * b / 4
                xz = (g[2, 1, 2] - g[2, 1, 0] - g[0, 1, 2] + g[0, 1, 0]) * a * c / 4
                yz = (g[1, 2, 2] - g[1, 2, 0] - g[1, 0, 2] + g[1, 0, 0]) * b * c / 4
                out[i, j, k, 0] = here
                out[i, j, k, 1] = math.sqrt(x * x + y * y + z * z)
                out[i, j, k, 2], out[i, j, k, 3], out[i, j, k, 4] = eigenvalues(xx, yy, zz, xy, xz, yz)


@njit(cache=True, nogil=True)
def eigenvalues(xx: float, yy: float, zz: float, xy: float, xz: float, yz: float) -> tuple[float, float, float]:
    """Return the eigenvalues of a symmetric 3 x 3 matrix, ascending (Smith 1961, Commun. ACM 4, 168)."""
    mean = (xx + yy + zz) / 3
    a, b, c = xx - mean, yy - mean, zz - mean
    size = math.sqrt((a * a + b * b + c * c + 2 * (xy * xy + xz * xz + yz * yz)) / 6)
    if size == 0:
        return mean, mean, mean
    det = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    angle = math.acos(max(-1.0, min(1.0, det / (2 * size**3)))) / 3
    high, low = mean + 2 * size * math.cos(angle), mean + 2 * size * math.cos(angle + 2 * math.pi / 3)
    return low, 3 * mean - high - low, high
