"""Scores of hand-made pictures, exact: identical 1, disjoint 0, shifts as geometry says."""

import numpy as np
import pytest

import meshcell as mc
from meshcell.imaging.metrics import (
    Overlap,
    boundary_distance,
    cl_dice,
    dice,
    fsc,
    point_dice,
    rand_index,
    scores,
    surface_dice,
    variation_of_information,
)


def cube(start=2, n=12, side=5, label=1):
    data = np.zeros((n, n, n), np.uint8)
    data[start : start + side, 2 : 2 + side, 2 : 2 + side] = label
    return mc.Volume(data, 0.01, names={1: "er"})


def test_identical_is_one_and_disjoint_zero():
    a, b = cube(), mc.Volume(np.flip(cube(0, side=3).data, 0), 0.01)
    for score in (dice, lambda x, y: surface_dice(x, y).dice, lambda x, y: cl_dice(x, y).dice):
        assert score(a, a) == 1
        assert score(cube(0, side=3), b) == 0


def test_a_shift_by_one_voxel():
    """4 of 5 layers overlap: 4 / 5. Of 98 border voxels, the rings of 16 in 3 inner layers and the end layers' rims."""
    a, b = cube(2), cube(3)
    assert dice(a, b) == 0.8
    # In common: layers 3 to 6 of the rings (16 each); the full end layers are 25 each and share only their rims.
    assert surface_dice(a, b).precision == 4 * 16 / 98
    assert surface_dice(a, b, tolerance="10 nm").dice == 1
    found = boundary_distance(a, b)
    assert found["greatest"] == pytest.approx(0.01)
    # Per body: 25 voxels of the outer end and 9 within the other's first layer are one voxel off.
    assert found["mean"] == pytest.approx(0.01 * 34 / 98)


def test_empty_pictures():
    empty, full = mc.Volume(np.zeros((4, 4, 4), int), 1.0), mc.Volume(np.ones((4, 4, 4), int), 1.0)
    assert dice(empty, empty) == 1 and dice(empty, full) == 0
    assert surface_dice(empty, empty) == Overlap(1, 1, 1)
    assert point_dice([], [], tolerance=1) == Overlap(1, 1, 1)
    assert point_dice([[0, 0, 0]], [], tolerance=1).dice == 0


def test_centrelines():
    """A rod and the same rod half as long: all of the prediction is right, half of the truth is found."""
    rod, half = np.zeros((7, 7, 42), int), np.zeros((7, 7, 42), int)
    rod[3, 3, 1:41], half[3, 3, 1:21] = 1, 1
    assert cl_dice(mc.Volume(rod, 1.0), mc.Volume(half, 1.0)) == Overlap(2 / 3, 1.0, 0.5)
    # Thickness is no error: the centreline of a thin rod lies within the thick one, and nearly the other way round.
    thick = np.zeros((7, 7, 42), int)
    thick[2:5, 2:5, :] = 1
    assert cl_dice(mc.Volume(thick, 1.0), mc.Volume(rod, 1.0)).precision == 1


def test_points_are_matched_one_to_one():
    """A greedy match of the middle point would lose a pair."""
    truth, found = [[0, 0, 0], [1, 0, 0]], [[0.6, 0, 0], [1.5, 0, 0]]
    assert point_dice(truth, found, tolerance=0.7).dice == 1
    assert point_dice(truth, truth, tolerance=0.0).dice == 1


def test_variation_of_information_and_rand_index():
    rng = np.random.default_rng(0)
    a = mc.Volume(rng.integers(0, 4, (20, 20, 20)), 1.0)
    relabelled = mc.Volume(np.array([3, 1, 0, 2])[a.data], 1.0)
    assert variation_of_information(a, relabelled) == pytest.approx((0, 0), abs=1e-12)
    assert rand_index(a, relabelled) == 1
    b = mc.Volume(rng.integers(0, 4, (20, 20, 20)), 1.0)
    # Independent labels: entropy of four equal ones stays; the index is 0 within a few parts in N.
    assert variation_of_information(a, b) == pytest.approx((2, 2), abs=0.01)
    assert rand_index(a, b) == pytest.approx(0, abs=2e-3)


def test_shell_correlation_ends_where_the_signal_does():
    """White noise agrees below the cut and not above it."""
    rng = np.random.default_rng(1)
    shape = (48, 48, 48)
    grid = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(48)] * 3, indexing="ij")))
    common, own = np.fft.fftn(rng.standard_normal(shape)), np.fft.fftn(rng.standard_normal(shape))
    a = mc.Volume(np.real(np.fft.ifftn(common)), 1.0)
    b = mc.Volume(np.real(np.fft.ifftn(np.where(grid < 0.25, common, own))), 1.0)
    frequency, found = fsc(a, b)
    np.testing.assert_allclose(found[(frequency < 0.23)], 1, atol=1e-9)
    # A shell at 0.3 has about 2,600 independent pairs: five standard errors.
    assert np.abs(found[frequency > 0.28]).max() < 0.1
    np.testing.assert_allclose(fsc(a, a)[1], 1)


@pytest.mark.parametrize(
    ("shape", "spacing", "step", "last"),
    [
        ((32, 16, 16), (1.0, 1.0, 2.0), 1 / 16, 1 / 4),
        ((16, 16, 16), (0.5, 2.0, 1.0), 1 / 8, 1 / 4),
        # 0.5 / 0.01 over 1 / (22 * 0.01) is a little less than 11.
        ((22, 22, 22), (0.01, 0.01, 0.01), 1 / 0.22, 50.0),
    ],
)
def test_shells_end_at_nyquists_frequency_of_the_coarsest_axis(shape, spacing, step, last):
    """Beyond it shells are no longer whole: the coarse axis has no such frequencies. Not a shell less, either."""
    noise = mc.Volume(np.random.default_rng(2).standard_normal(shape), spacing)
    frequency, found = fsc(noise, noise)
    np.testing.assert_allclose(frequency, np.arange(round(last / step) + 1) * step, rtol=1e-12)
    np.testing.assert_allclose(found, 1)


def test_a_table_and_other_grids():
    assert scores(cube(2), cube(3)).splitlines()[1].split()[:2] == ["er", "0.800"]
    with pytest.raises(ValueError, match="on one grid"):
        dice(cube(), mc.Volume(cube().data, 0.02))
    with pytest.raises(TypeError, match="needs integer labels"):
        dice(cube(), mc.Volume(cube().data.astype(float), 0.01))
    with pytest.raises(ValueError, match="border in both"):
        boundary_distance(cube(), mc.Volume(np.zeros((12, 12, 12), int), 0.01))
