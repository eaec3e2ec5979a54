"""Projections against analytic shadows, sums and transforms; the adjoint to rounding; the kernel against a loop."""

import numpy as np
import pytest
from numba import get_num_threads, set_num_threads

import meshcell as mc
from gallery.shadows import ellipse_phantom, ellipse_shadows
from meshcell.imaging import projection
from meshcell.imaging.projection import backproject, tilt_angles


def trapezoid_matrix(angles, shape, spacing, pixel, across):
    """The projector as a dense matrix, areas of the shadows by fine sampling of the voxel."""
    p, q = shape
    m = 200
    offsets = (np.arange(m) + 0.5) / m - 0.5
    inner = np.stack(np.meshgrid(offsets * spacing[0], offsets * spacing[1], indexing="ij"), -1).reshape(-1, 2)
    matrix = np.zeros((len(angles), across, p, q))
    for a, angle in enumerate(np.deg2rad(angles)):
        beam = np.array([np.cos(angle), np.sin(angle)])
        for i in range(p):
            for k in range(q):
                centre = np.array([(i - (p - 1) / 2) * spacing[0], (k - (q - 1) / 2) * spacing[1]])
                u = (centre + inner) @ beam / pixel + (across - 1) / 2
                hit = np.bincount(np.clip(np.floor(u + 0.5) + 1, 0, across + 1).astype(int), minlength=across + 2)
                matrix[a, :, i, k] = hit[1:-1] / m**2 * spacing[0] * spacing[1] / pixel
    return matrix


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.9), (2.6, 0.4)])
def test_weights_are_areas_of_shadows(spacing):
    """Sampling a voxel on 200 x 200 points leaves errors of about 1 / 200 of it where an edge runs along the grid."""
    rng, angles = np.random.default_rng(0), np.array([-90.0, -63.0, 0.0, 11.0, 45.0, 80.0])
    volume = mc.Volume(rng.random((4, 3, 5)), (spacing[0], 1.0, spacing[1]))
    expected = np.einsum("aupq,pyq->ayu", trapezoid_matrix(angles, (4, 5), spacing, 1.0, 6), volume.data)
    series = mc.project(volume, angles, width=6)
    np.testing.assert_allclose(series.images, expected, atol=0.01 * np.prod(spacing) * 5)


def test_ellipses_at_256():
    """The issue's figure; what is left is the pixel raster of the ellipses' rims."""
    n = 256
    picture, bodies = ellipse_phantom(n)
    angles = np.arange(-90.0, 90.0, 3.0)
    series = mc.project(mc.Volume(picture[:, None, :], 2 / n), angles)
    exact = ellipse_shadows(bodies, angles, series.images.shape[2], 2 / n)
    assert np.linalg.norm(series.images[:, 0] - exact) <= 0.0035 * np.linalg.norm(exact)


@pytest.fixture
def noise():
    return mc.Volume(np.random.default_rng(3).random((21, 37, 18)), 0.01)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_every_view_holds_the_same_mass(noise, axis):
    sums = mc.project(noise, tilt_angles(90, 7.5), axis=axis).images.sum(axis=(1, 2), dtype=float)
    np.testing.assert_allclose(sums, noise.data.sum() * 0.01, rtol=1e-6)


@pytest.mark.parametrize(("axis", "width"), [("x", None), ("y", None), ("y", 15)])
def test_backprojection_is_the_adjoint(noise, axis, width):
    series = mc.project(noise, tilt_angles(70, 4), axis=axis, width=width)
    images = np.random.default_rng(4).random(series.images.shape)
    back = backproject(mc.TiltSeries(images, series.angles, 0.01, axis), noise.data.shape)
    left = np.vdot(series.images.astype(float), images)
    assert np.vdot(noise.data, back.data.astype(float)) == pytest.approx(left, rel=1e-6)


def test_the_axes_differ_by_a_turn(noise):
    """Swapping x and y swaps the tilt axes, byte for byte."""
    swapped = mc.Volume(noise.data.transpose(1, 0, 2), 0.01)
    angles = tilt_angles(60, 10)
    np.testing.assert_array_equal(
        mc.project(noise, angles, axis="x").images, mc.project(swapped, angles, axis="y").images
    )


def test_fourier_slices():
    """The transform of a view is the slice of the volume's, times the sinc of voxel and pixel; smooth, no aliasing."""
    axis = np.arange(64) - 31.5
    x, z = np.meshgrid(axis, axis, indexing="ij")
    picture = np.exp(-((x - 3) ** 2 + 2 * (z + 5) ** 2 + x * z) / 90)
    # Not at 0, where the raster of the voxels meets that of the pixels and repeats of the spectrum fold back (1e-3).
    for angle in (5.0, 20.0, 45.0, 77.0):
        image = mc.project(mc.Volume(picture[:, None, :], 1.0), [angle]).images[0, 0].astype(float)
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        f = np.linspace(-0.15, 0.15, 31)
        u = np.arange(len(image)) - (len(image) - 1) / 2
        view = np.exp(-2j * np.pi * np.outer(f, u)) @ image
        phase = np.exp(-2j * np.pi * f[:, None] * (x * c + z * s).ravel())
        expected = phase @ picture.ravel() * np.sinc(f * c) * np.sinc(f * s) * np.sinc(f)
        assert np.abs(view - expected).max() < 1e-4 * np.abs(expected).max()


def test_slabs_and_threads_do_not_change_a_byte(noise, monkeypatch):
    angles, n = tilt_angles(60, 5), get_num_threads()
    big = mc.Volume(np.tile(noise.data, (1, 3, 1)), 0.01)
    whole = mc.project(big, angles)
    try:
        set_num_threads(1)
        monkeypatch.setattr(projection, "SLAB", 1)
        np.testing.assert_array_equal(mc.project(big, angles).images, whole.images)
        back = backproject(whole, big.data.shape).data
    finally:
        set_num_threads(n)
    monkeypatch.undo()
    np.testing.assert_array_equal(backproject(whole, big.data.shape).data, back)


def test_volumes_may_be_mapped_from_disk(noise, tmp_path):
    np.save(tmp_path / "big.npy", noise.data)
    mapped = mc.Volume(np.load(tmp_path / "big.npy", mmap_mode="r"), 0.01)
    np.testing.assert_array_equal(mc.project(mapped, [30]).images, mc.project(noise, [30]).images)


def test_wrong_input_is_named(noise):
    with pytest.raises(ValueError, match="above zero"):
        tilt_angles(0, 3)
    with pytest.raises(ValueError, match="scheme should be"):
        tilt_angles(60, 3, scheme="random")
    with pytest.raises(ValueError, match="finite degrees"):
        mc.project(noise, [np.nan])
    with pytest.raises(ValueError, match='"x" or "y"; got \'z\''):
        mc.project(noise, [0], axis="z")
    series = mc.project(noise, [0, 10])
    with pytest.raises(ValueError, match="one angle for each of its 2 images"):
        mc.TiltSeries(series.images, [0.0], 0.01)
    with pytest.raises(ValueError, match="should have the images' 37 voxels"):
        backproject(series, (21, 36, 18))


def test_dose_symmetric_angles_are_the_ordered_ones():
    np.testing.assert_array_equal(np.sort(tilt_angles(60, 3, scheme="dose-symmetric")), tilt_angles(60, 3))
    assert (np.diff(np.abs(tilt_angles(60, 3, scheme="dose-symmetric"))) >= 0).all()
