"""What a microscope does to images: contrast transfer, detector, misalignment, noise; electrons first, then light.

Transmission electron microscopy works on tilt series; light microscopy and serial-section electron microscopy on
volumes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.fft
from scipy import ndimage

from meshcell.core.arrays import Array, Floats
from meshcell.core.hints import require
from meshcell.core.randomness import generator
from meshcell.core.types import TiltSeries, Volume
from meshcell.core.units import convert

ANGSTROM = 1e-4  # um
Transfer = Callable[[Floats], Floats]


@dataclass(frozen=True)
class CTF:
    """The phase contrast transfer function of an electron microscope.

    Parameters
    ----------
    defocus : float, um
        Underfocus is positive.
    voltage : float, kV
    spherical_aberration : float, mm
    amplitude_contrast : float
        Share in [0, 1] of the contrast that does not come from phases.
    envelope : float, A^2
        B-factor of the damping exp(-B k^2 / 4).

    Notes
    -----
    Weak phase object (Frank, Three-Dimensional Electron Microscopy, 2006, ch. 2):
    -sin(chi + asin(A)) exp(-B k^2 / 4) with chi = pi lambda k^2 (defocus - Cs lambda^2 k^2 / 2). Dense things are
    dark.

    Examples
    --------
    >>> round(CTF(defocus=2).wavelength * 1e4, 4)  # A, relativistic, at 300 kV
    0.0197
    """

    defocus: float = 5.0
    voltage: float = 300.0
    spherical_aberration: float = 2.7
    amplitude_contrast: float = 0.07
    envelope: float = 0.0

    def __post_init__(self) -> None:
        if not (self.voltage > 0 and 0 <= self.amplitude_contrast <= 1 and self.envelope >= 0):
            raise ValueError(
                f"a CTF should have voltage > 0 kV, amplitude_contrast in [0, 1] and envelope >= 0; got {self}"
            )

    @property
    def wavelength(self) -> float:
        """Wavelength of the electrons in um, relativistic."""
        volts = 1e3 * self.voltage
        return 12.2642596 * ANGSTROM / float(np.sqrt(volts * (1 + 0.978475598e-6 * volts)))

    def __call__(self, frequency: Floats) -> Floats:
        """Return the transfer at spatial frequencies in 1/um."""
        k2, wave = np.asarray(frequency, float) ** 2, self.wavelength
        chi = np.pi * wave * k2 * (self.defocus - 0.5e3 * self.spherical_aberration * wave**2 * k2)
        damping = np.exp(-self.envelope * ANGSTROM**2 * k2 / 4)
        return np.asarray(-np.sin(chi + np.arcsin(self.amplitude_contrast)) * damping)


def distort(
    series: TiltSeries,
    *,
    snr: float | None = None,
    dose: float | None = None,
    contrast: float = 0.1,
    misalignment: float = 0.0,
    ctf: CTF | None = None,
    mtf: Transfer | None = None,
    rng: int | np.random.Generator,
) -> TiltSeries:
    """Turn ideal projections into what a microscope records.

    Parameters
    ----------
    series : TiltSeries
    snr : float, optional
        Variance of the signal over that of the added Gaussian noise, both over all pixels of the series: every image
        gets the same noise, as with equal exposures. The signal is what arrives at the detector, after `ctf`.
    dose : float, optional
        Electrons per A^2 over the whole series, for Poisson noise.
    contrast : float
        Standard deviation of the signal in parts of the mean intensity, for `dose`.
    misalignment : float, pixels
        Greatest shift. An image at angle a moves by at most misalignment * |sin a|, evenly within that disc.
    ctf : CTF, optional
        Contrast transfer. The defocus at height w along the beam is `ctf.defocus` + w; a pixel at u of a view at angle
        a shows the specimen at w = -u tan(a), for a slab that is thin and level at angle 0.
    mtf : function, optional
        Transfer of the detector for frequencies in cycles per pixel (0.5 is Nyquist's); applied before the noise.
    rng : int or Generator

    Returns
    -------
    TiltSeries
        In the units of the given one.

    Raises
    ------
    ValueError
        Both or nonsensical noise levels.

    Examples
    --------
    >>> from meshcell.imaging.projection import project
    >>> series = project(Volume(np.ones((8, 8, 8)), 0.01), [0, 30])
    >>> distort(series, snr=1.0, rng=0).images.shape == series.images.shape
    True
    """
    require(series, TiltSeries, "distort(series)")
    require(ctf, (CTF, type(None)), "ctf=")
    if snr is not None and dose is not None:
        raise ValueError("noise should be given as snr or as dose; got both; leave one out")
    for name, value in {"snr": snr, "dose": dose, "contrast": contrast}.items():
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} should be a number above zero; got {value!r}; None leaves it out")
    if not (np.isfinite(misalignment) and misalignment >= 0):
        raise ValueError(f"misalignment should be a number of pixels >= 0; got {misalignment!r}")
    shifting, noise = generator(rng).spawn(2)
    images: Array = series.images
    if ctf is not None:
        images = _transferred(series, ctf, lambda own: own)
    if misalignment:
        images = _shifted(images, series.angles, misalignment, shifting)
    if mtf is not None:
        images = _filtered(images, 1.0, mtf)
    if snr is not None:
        images = images + noise.normal(0, np.sqrt(images.var(dtype=np.float64) / snr), images.shape)
    if dose is not None:
        images = _counted(images, dose / len(images) * (series.spacing / ANGSTROM) ** 2, contrast, noise)
    return replace(series, images=images)


def ctf_correct(series: TiltSeries, ctf: CTF) -> TiltSeries:
    """Turn the phases back that the contrast transfer has turned, strip by strip of every tilted view.

    Parameters
    ----------
    series : TiltSeries
    ctf : CTF
        With the defocus at the height of the tilt axis, as in `distort`.

    Returns
    -------
    TiltSeries
        Dense things are bright again. Amplitudes stay as they are: what lay at a zero is lost.

    Notes
    -----
    Phase flipping: every frequency times the sign of its transfer (Frank 2006, ch. 2).

    Examples
    --------
    >>> dot = np.zeros((1, 64, 64)); dot[0, 32, 32] = 1.0
    >>> series, ctf = TiltSeries(dot, [0.0], "1 nm"), CTF(defocus=3.0)
    >>> seen = distort(series, ctf=ctf, rng=0)
    >>> bool(seen.images[0, 32, 32] < 0 < ctf_correct(seen, ctf).images[0, 32, 32])
    True
    """
    require(series, TiltSeries, "ctf_correct(series, ctf)", ctf)
    require(ctf, CTF, "ctf_correct(series, ctf)")
    return replace(series, images=_transferred(series, ctf, lambda own: lambda frequency: np.sign(own(frequency))))


def half_sets(series: TiltSeries) -> tuple[TiltSeries, TiltSeries]:
    """Part a series into its even and odd views, in order of angle, for two independent reconstructions.

    Examples
    --------
    >>> even, odd = half_sets(TiltSeries(np.zeros((3, 1, 1)), [0, 3, -3], 0.01))
    >>> even.angles.tolist(), odd.angles.tolist()
    ([-3.0, 3.0], [0.0])
    """
    require(series, TiltSeries, "half_sets(series)")
    if len(series.angles) < 2:
        raise ValueError("half sets need at least two views; got 1")
    order = np.argsort(series.angles)
    even, odd = (
        replace(series, images=series.images[rows], angles=series.angles[rows]) for rows in (order[::2], order[1::2])
    )
    return even, odd


def _filtered(images: Array, pixel: float, transfer: Transfer) -> Array:
    """Multiply the spectra of images (..., along, across) by a transfer function of the radial frequency."""
    along, across = images.shape[-2:]
    fy, fx = scipy.fft.fftfreq(along, pixel), scipy.fft.rfftfreq(across, pixel)
    spectra = scipy.fft.rfft2(images) * transfer(np.hypot(fy[:, None], fx)).astype(np.float32)
    return np.asarray(scipy.fft.irfft2(spectra, (along, across)))


# Defoci along a tilted image are spaced so that the phase at Nyquist's frequency changes by less than this.
PHASE_STEP = 0.3
# Degrees: a slab that is turned farther is seen on its edge, and a pixel has no height of its own.
STEEPEST = 85.0


def _transferred(series: TiltSeries, ctf: CTF, transfer: Callable[[CTF], Transfer]) -> Array:
    """Filter all views by the transfer that belongs to the CTF of each strip."""
    steep = np.flatnonzero(np.abs((series.angles + 90) % 180 - 90) > STEEPEST)
    if len(steep):
        raise ValueError(
            f"contrast transfer is that of a slab, thin and level at angle 0, tilted by at most {STEEPEST:g} degrees; "
            f"got {series.angles[steep[0]]:g} degrees at view {steep[0]}; leave such views out, or ctf"
        )
    views = zip(series.images, series.angles, strict=True)
    return np.stack([_one_transferred(image, angle, series.spacing, ctf, transfer) for image, angle in views])


def _one_transferred(image: Array, angle: float, pixel: float, ctf: CTF, transfer: Callable[[CTF], Transfer]) -> Array:
    """Filter one view, the defocus linear across the tilt axis: for some defoci, and blended between them."""
    across = image.shape[1]
    heights = -(np.arange(across) - (across - 1) / 2) * pixel * np.tan(np.deg2rad(angle))
    reach = float(np.ptp(heights))
    per_um = np.pi * ctf.wavelength / (2 * pixel) ** 2
    n = 1 + int(np.ceil(reach * per_um / PHASE_STEP))
    levels = np.linspace(heights.min(), heights.max(), n)
    place = np.clip((heights - levels[0]) / max(levels[-1] - levels[0], 1e-30) * (n - 1), 0, n - 1)
    out = np.zeros(image.shape)
    for row, level in enumerate(levels):
        share = np.clip(1 - np.abs(place - row), 0, 1)
        if share.any():
            own = replace(ctf, defocus=ctf.defocus + float(level))
            out += share * _filtered(image, pixel, transfer(own))
    return out


def _shifted(images: Array, angles: Floats, misalignment: float, rng: np.random.Generator) -> Array:
    radii = misalignment * np.abs(np.sin(np.deg2rad(angles))) * np.sqrt(rng.random(len(angles)))
    turns = rng.uniform(0, 2 * np.pi, len(angles))
    shifts = np.stack([radii * np.cos(turns), radii * np.sin(turns)], axis=1)
    return np.stack([ndimage.shift(image, s, order=3, mode="nearest") for image, s in zip(images, shifts, strict=True)])


def _counted(images: Array, electrons: float, contrast: float, rng: np.random.Generator) -> Array:
    """Count electrons: `electrons` per pixel on average, the image as relative changes of them."""
    mean, deviation = float(images.mean(dtype=np.float64)), float(images.std(dtype=np.float64))
    if deviation == 0:
        raise ValueError("an image without contrast cannot be counted in electrons; check the projections")
    expected = electrons * np.maximum(1 + contrast * (images.astype(np.float64) - mean) / deviation, 0)
    return np.asarray((rng.poisson(expected) / electrons - 1) * deviation / contrast + mean)


# --- volumes ---


def light(
    volume: Volume,
    *,
    blur: Any = ("0.1 um", "0.1 um", "0.3 um"),
    psf: Array | None = None,
    bin: tuple[int, int, int] = (1, 1, 1),
    photons: float | None = None,
    rng: int | np.random.Generator,
) -> Volume:
    """Image fluorescent intensities as a light microscope does.

    Parameters
    ----------
    volume : Volume
        Density of the dye, >= 0.
    blur : three lengths, um
        Standard deviations of a Gaussian point spread function along x, y, z.
    psf : (a, b, c) array, optional
        A point spread function on the volume's grid, used in place of `blur`; scaled to sum 1.
    bin : three ints
        Voxels that make up a pixel of the camera.
    photons : float, optional
        Photons in the brightest pixel, for Poisson noise.
    rng : int or Generator

    Returns
    -------
    Volume
        Densities; with `photons`, counts.

    Examples
    --------
    >>> dot = np.zeros((9, 9, 9)); dot[4, 4, 4] = 1.0
    >>> round(float(light(Volume(dot, 0.1), blur=(0.1, 0.1, 0.1), rng=0).data.sum()), 6)
    1.0
    """
    require(volume, Volume, "light(volume)")
    if volume.data.min() < 0:
        raise ValueError(f"the density of a dye should be >= 0; got {volume.data.min()}")
    data = volume.data.astype(np.float64)
    if psf is None:
        widths = [convert(b, "um", "blur") / h for b, h in zip(blur, volume.spacing, strict=True)]
        data = ndimage.gaussian_filter(data, widths)
    else:
        from scipy.signal import fftconvolve

        data = np.maximum(fftconvolve(data, psf / np.sum(psf), mode="same"), 0)
    data, spacing, origin = _binned(data, volume, bin)
    if photons is not None:
        if not photons > 0:
            raise ValueError(f"photons should be above zero; got {photons!r}")
        data = generator(rng).poisson(data * (photons / max(data.max(), 1e-30))).astype(np.float64)
    return Volume(data.astype(np.float32), spacing, origin)


def sections(
    volume: Volume,
    *,
    thickness: int = 1,
    missing: float = 0.0,
    jitter: float = 0.0,
    drift: float = 0.0,
    snr: float | None = None,
    rng: int | np.random.Generator,
) -> Volume:
    """Image intensities as serial-section or block-face electron microscopy does, sections along z.

    Parameters
    ----------
    volume : Volume
    thickness : int
        Voxels along z that a section averages.
    missing : float
        Share of the sections that are lost; the section before is shown in their place, as is the custom.
    jitter : float, pixels
        Standard deviation of every section's shift in x and y.
    drift : float
        Grey values wander (charging): a random walk of the offset from section to section, its step in standard
        deviations of the volume.
    snr : float, optional
        Variance of the signal over that of the Gaussian noise.
    rng : int or Generator

    Examples
    --------
    >>> sections(Volume(np.zeros((4, 4, 8)), 0.01), thickness=2, rng=0).spacing
    (0.01, 0.01, 0.02)
    """
    require(volume, Volume, "sections(volume)")
    if not (0 <= missing < 1 and jitter >= 0 and drift >= 0 and (snr is None or snr > 0)):
        raise ValueError(
            f"expected missing in [0, 1), jitter and drift >= 0, snr > 0; got {missing}, {jitter}, {drift}, {snr}"
        )
    lost, shifts, walk, noise = generator(rng).spawn(4)
    data, spacing, origin = _binned(volume.data.astype(np.float64), volume, (1, 1, thickness))
    deviation, n = float(data.std()), data.shape[2]
    if snr is not None:
        data = data + noise.normal(0, deviation / np.sqrt(snr), data.shape)
    if jitter:
        for k, shift in enumerate(shifts.normal(0, jitter, (n, 2))):
            data[:, :, k] = ndimage.shift(data[:, :, k], shift, order=1, mode="nearest")
    data = data + drift * deviation * np.cumsum(walk.standard_normal(n))
    gone: Array = np.asarray(lost.random(n) < missing)
    gone[0] = False
    shown = np.maximum.accumulate(np.where(gone, 0, np.arange(n)))
    return Volume(data[:, :, shown].astype(np.float32), spacing, origin)


def _binned(data: Array, volume: Volume, bins: tuple[int, int, int]) -> tuple[Array, Any, Any]:
    """Average boxes of voxels; what does not fill a box at the far ends is left out."""
    if len(bins) != 3 or any(int(b) != b or not 1 <= b <= n for b, n in zip(bins, data.shape, strict=True)):
        raise ValueError(f"bins should be three whole numbers of voxels within {data.shape}; got {bins!r}")
    nx, ny, nz = (n // b for n, b in zip(data.shape, bins, strict=True))
    a, b, c = bins
    means = data[: nx * a, : ny * b, : nz * c].reshape(nx, a, ny, b, nz, c).mean(axis=(1, 3, 5))
    spacing = tuple(h * k for h, k in zip(volume.spacing, bins, strict=True))
    origin = tuple(o + h * (k - 1) / 2 for o, h, k in zip(volume.origin, volume.spacing, bins, strict=True))
    return means, spacing, origin
