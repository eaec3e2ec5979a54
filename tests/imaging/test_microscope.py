"""Noise levels as asked, zeros of the contrast transfer where the formula puts them, the same seed twice."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

import meshcell as mc
from meshcell.imaging.metrics import snr
from meshcell.imaging.microscope import CTF, ctf_correct, half_sets, light, sections


@pytest.fixture
def series():
    rng = np.random.default_rng(0)
    return mc.project(mc.Volume(rng.random((40, 40, 30)), "1 nm"), mc.tilt_angles(60, 10), width=40)


@pytest.mark.parametrize("asked", [0.1, 1.0, 5.0])
def test_the_signal_to_noise_ratio_is_the_asked_one(series, asked):
    """Within three standard errors of a variance of N samples: 3 sqrt(2 / N), below the issue's bound here."""
    found = snr(series.images, mc.distort(series, snr=asked, rng=1).images)
    assert found == pytest.approx(asked, rel=3 * np.sqrt(2 / series.images.size))


def test_the_same_seed_gives_the_same_bytes(series):
    options = {"misalignment": 1.5, "ctf": CTF(2.0), "mtf": lambda f: np.sinc(f)}
    for noise in ({"snr": 1.0}, {"dose": 100.0}):
        first, again, other = (mc.distort(series, **noise, **options, rng=seed).images for seed in (5, 5, 6))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_electrons_follow_poisson(series):
    """Variance of counts equals their mean: 100 / 13 electrons per A^2, 100 A^2 per pixel."""
    n = 100 / 13 * 100
    difference = mc.distort(series, dose=100.0, contrast=0.1, rng=2).images - series.images
    expected = series.images.std(dtype=float) / 0.1 / np.sqrt(n)
    # The spread of the signal changes the mean count by a tenth, and its variance in the mean not at all.
    assert difference.std() == pytest.approx(expected, rel=3 / np.sqrt(2 * difference.size) + 1e-3)


def test_zeros_of_the_transfer_function():
    """On a point, level: the spectrum's sign changes lie at chi + asin(A) = n pi to a hundredth of a pixel."""
    n, pixel, ctf = 512, 2e-4, CTF(defocus=3.0, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.1)
    image = np.zeros((1, n, n))
    image[0, n // 2, n // 2] = 1.0
    seen = mc.distort(mc.TiltSeries(image, [0.0], pixel), ctf=ctf, rng=0).images[0]
    spectrum = np.real(np.fft.fft(np.fft.ifftshift(seen.astype(float)).sum(axis=0)))[: n // 2]
    crossings = np.flatnonzero(np.diff(np.sign(spectrum)))
    found = crossings + spectrum[crossings] / (spectrum[crossings] - spectrum[crossings + 1])

    def phase(bin, order):
        k = bin / (n * pixel)
        wave = ctf.wavelength
        chi = np.pi * wave * ctf.defocus * k**2 - np.pi / 2 * 2.7e3 * wave**3 * k**4
        return chi + np.arcsin(0.1) - order * np.pi

    expected = [brentq(phase, 1, n // 2, args=(order,)) for order in range(1, 8)]
    assert ctf.wavelength == pytest.approx(0.019687e-4, rel=1e-4)
    # A straight line between two samples errs by curvature / 8 of the sine between them.
    slack = [0.01 + 0.1 * (np.pi / (b - a)) ** 2 / 8 for a, b in zip([0, *expected], expected, strict=False)]
    assert (np.abs(found[:7] - expected) < np.array(slack)).all()
    exact = [brentq(lambda b: float(ctf(np.array(b / (n * pixel)))), e - 0.3, e + 0.3) for e in expected]
    np.testing.assert_allclose(exact, expected, atol=0.01)


def test_the_envelope_damps_by_its_b_factor():
    """exp(-B k^2 / 4): 400 A^2 leave 1 / e of 1 / (10 A); frequencies are in 1/um."""
    k = np.array([0.0, 500.0, 1000.0, 2000.0])
    np.testing.assert_allclose(CTF(envelope=400.0)(k) / CTF()(k), np.exp([0, -1 / 4, -1, -4]), rtol=1e-12)


def test_defocus_changes_across_a_tilted_view():
    """Each strip of a tilted view is filtered for its own height, -u tan(a)."""
    n, pixel, ctf = 256, 5e-4, CTF(defocus=2.0)
    image = np.random.default_rng(0).standard_normal((1, n, n))
    seen = mc.distort(mc.TiltSeries(image, [45.0], pixel), ctf=ctf, rng=0).images[0]
    for column in (60, 200):
        height = -(column - (n - 1) / 2) * pixel
        own = replace(ctf, defocus=2.0 + height)
        level = mc.distort(mc.TiltSeries(image, [0.0], pixel), ctf=own, rng=0).images[0]
        assert np.corrcoef(seen[:, column], level[:, column])[0, 1] > 0.999


@pytest.mark.parametrize("angle", [0.0, 50.0])
def test_turned_phases_are_turned_back(angle):
    """After correction no frequency is inverted; level or tilted, the same spectrum as |CTF| gives."""
    n, pixel, ctf = 256, 3e-4, CTF(defocus=2.0)
    image = np.random.default_rng(1).standard_normal((1, n, n))
    seen = mc.distort(mc.TiltSeries(image, [angle], pixel), ctf=ctf, rng=0)
    found = ctf_correct(seen, ctf).images[0]
    ratio = np.real(np.fft.fft2(found) * np.conj(np.fft.fft2(image[0])))
    frequency = np.hypot(np.fft.fftfreq(n, pixel)[:, None], np.fft.fftfreq(n, pixel))
    if angle == 0:
        # Where the transfer is not near zero, which way it goes is sure.
        assert (ratio[np.abs(ctf(frequency)) > 0.05] > 0).all()
    before, after = (np.corrcoef(x.ravel(), image[0].ravel())[0, 1] for x in (seen.images[0], found))
    # The mean of |sin| over the root of the mean of its square is 0.90.
    assert abs(before) < 0.3 and after == pytest.approx(0.9, abs=0.05)


def test_the_detector_damps_by_its_transfer(series):
    """Frequencies in cycles per pixel: a wave of four pixels comes back half as high, the mean as it was."""
    wave = 3 + np.tile(np.cos(np.pi / 2 * np.arange(32)), (1, 32, 1))
    seen = mc.distort(mc.TiltSeries(wave, [0.0], 0.01), mtf=lambda f: 1 - 2 * f, rng=0).images
    np.testing.assert_allclose(seen, 3 + (wave - 3) / 2, atol=1e-5)


def test_misalignment_grows_with_the_tilt():
    """A blob's centre moves by no more than the shift allowed at its angle, and by none at 0."""
    x, y = np.meshgrid(np.arange(64) - 31.5, np.arange(64) - 31.5, indexing="ij")
    blob = np.exp(-(x**2 + y**2) / 40)
    angles = np.array([0.0, 10.0, 30.0, 60.0, -60.0])
    moved = mc.distort(mc.TiltSeries(np.tile(blob, (5, 1, 1)), angles, 1.0), misalignment=1.5, rng=3).images
    weights = moved / moved.sum(axis=(1, 2), keepdims=True)
    shifts = np.hypot((weights * x).sum(axis=(1, 2)), (weights * y).sum(axis=(1, 2)))
    assert shifts[0] < 1e-6 and shifts[1:].min() > 1e-3
    assert (shifts <= 1.5 * np.abs(np.sin(np.deg2rad(angles))) + 1e-4).all()


def test_misalignment_is_even_within_its_disc():
    """Mean r^2 = R^2 / 2, shared alike between both directions, and no direction preferred, to 4 standard errors."""
    n, reach = 1200, 2.0
    x, y = np.meshgrid(np.arange(24) - 11.5, np.arange(24) - 11.5, indexing="ij")
    blobs = np.tile(np.exp(-(x**2 + y**2) / 8), (n, 1, 1))
    moved = mc.distort(mc.TiltSeries(blobs, np.full(n, 90.0), 1.0), misalignment=reach, rng=4).images
    weights = moved / moved.sum(axis=(1, 2), keepdims=True)
    shifts = np.stack([(weights * x).sum(axis=(1, 2)), (weights * y).sum(axis=(1, 2))], axis=1) / reach
    # r^2 is even on [0, 1]: variance 1 / 12. Each coordinate has variance 1 / 4, and its square one of 1 / 16.
    assert (shifts**2).sum(axis=1).mean() == pytest.approx(1 / 2, abs=4 / np.sqrt(12 * n))
    np.testing.assert_allclose((shifts**2).mean(axis=0), 1 / 4, atol=4 / np.sqrt(16 * n))
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=4 / np.sqrt(4 * n))


def test_half_sets_share_nothing(series):
    even, odd = half_sets(series)
    assert sorted([*even.angles, *odd.angles]) == sorted(series.angles)
    assert not set(even.angles) & set(odd.angles)


def test_light_blurs_by_the_asked_widths():
    dot = np.zeros((41, 41, 61))
    dot[20, 20, 30] = 1
    image = light(mc.Volume(dot, (0.05, 0.05, 0.1)), blur=("0.1 um", "0.15 um", "0.5 um"), rng=0).data
    for axis, (step, width) in enumerate([(0.05, 0.1), (0.05, 0.15), (0.1, 0.5)]):
        profile = image.sum(axis=tuple({0, 1, 2} - {axis}), dtype=float)
        place = (np.arange(len(profile)) - len(profile) // 2) * step
        assert np.sqrt((profile * place**2).sum() / profile.sum()) == pytest.approx(width, rel=0.01)
    counted = light(mc.Volume(np.ones((20, 20, 20)), 0.1), photons=50.0, rng=1).data
    assert counted.mean() == pytest.approx(50, abs=3 * np.sqrt(50 / counted.size))


def test_sections_average_lose_and_wander():
    data = np.random.default_rng(0).random((12, 12, 20))
    volume = mc.Volume(data, 0.01)
    np.testing.assert_allclose(
        sections(volume, thickness=2, rng=0).data, data.reshape(12, 12, 10, 2).mean(axis=3), rtol=1e-6
    )
    shown = sections(volume, missing=0.4, rng=1).data
    gone = [(shown[:, :, k] != data[:, :, k].astype(np.float32)).any() for k in range(20)]
    assert 1 <= sum(gone) < 20
    assert all((shown[:, :, k] == shown[:, :, k - 1]).all() for k in range(1, 20) if gone[k])
    assert sections(volume, drift=1.0, rng=2).data.mean(axis=(0, 1)).std() > 3 * data.mean(axis=(0, 1)).std()


def test_light_takes_a_point_spread_function():
    dot, psf = np.zeros((15, 15, 15)), np.zeros((3, 3, 5))
    dot[7, 7, 7], psf[1, 1], psf[2, 1, 2] = 4.0, 1.0, 3.0
    image = light(mc.Volume(dot, 0.1), psf=psf, rng=0).data
    np.testing.assert_allclose(image[6:9, 6:9, 5:10], psf * 4 / psf.sum(), atol=1e-6)


def test_sections_jitter_by_the_asked_amount():
    """Centres of a blob scatter by the standard deviation, to three standard errors of 2 x 200 draws."""
    x, y = np.meshgrid(np.arange(40) - 19.5, np.arange(40) - 19.5, indexing="ij")
    blob = np.exp(-(x**2 + y**2) / 30)[..., None] * np.ones(200)
    shown = sections(mc.Volume(blob, 0.01), jitter=1.5, rng=3).data
    centres = [(shown * c[..., None]).sum(axis=(0, 1)) / shown.sum(axis=(0, 1)) for c in (x, y)]
    assert np.std(centres) == pytest.approx(1.5, rel=3 / np.sqrt(2 * 400))


def test_wrong_input_is_named(series):
    with pytest.raises(ValueError, match="snr or as dose; got both"):
        mc.distort(series, snr=1, dose=1, rng=0)
    with pytest.raises(ValueError, match="snr should be a number above zero"):
        mc.distort(series, snr=0, rng=0)
    with pytest.raises(TypeError, match="rng should be"):
        mc.distort(series, snr=1, rng=None)
    with pytest.raises(ValueError, match="at least two views"):
        half_sets(mc.TiltSeries(series.images[:1], series.angles[:1], 1.0))
