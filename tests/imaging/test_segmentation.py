"""Segmentation of bodies that are known; a classifier that beats thresholds, through files and back."""

import numpy as np
import pytest
from scipy import ndimage

import meshcell as mc
from meshcell.imaging.filters import DENOISERS, denoise, eigenvalues, features, noise_level, sheetness
from meshcell.imaging.pixel_classifier import load_classifier, save_classifier, train
from meshcell.imaging.segmentation import METHODS


def ball(n=32, radius=10.0, centre=None):
    centre = [(n - 1) / 2] * 3 if centre is None else centre
    return np.linalg.norm(np.indices((n, n, n)) - np.reshape(centre, (3, 1, 1, 1)), axis=0) < radius


def test_thresholds_find_a_ball_in_noise():
    rng = np.random.default_rng(0)
    picture = mc.Volume(ball() + 0.1 * rng.standard_normal((32, 32, 32)), 0.01)
    for method in ("otsu", "hysteresis", "watershed"):
        assert mc.dice(mc.Volume(ball(), 0.01), mc.segment(picture, method=method)) > 0.99
    negative = mc.Volume(-picture.data, 0.01)
    np.testing.assert_array_equal(mc.segment(negative, dark=True).data, mc.segment(picture).data)


def test_classes_of_brightness():
    data = np.where(ball(radius=5), 2, ball().astype(int))
    picture = mc.Volume(data + 0.02 * np.random.default_rng(1).standard_normal(data.shape), 0.01)
    # Thresholds are middles of a histogram's bins, so the outermost voxel of a class may fall to the next.
    assert (mc.segment(picture, method="multiotsu", classes=3).data != data).sum() <= 3


def test_watershed_parts_touching_balls():
    two = ball(centre=(10, 16, 16), radius=8) | ball(centre=(22, 16, 16), radius=8)
    parted = mc.segment(mc.Volume(two.astype(float), 0.01), method="watershed", width=5)
    assert len(parted.regions) == 2
    assert (parted.data > 0).sum() == two.sum()
    # The cut is the plane half-way.
    assert len(np.unique(parted.data[:16][two[:16]])) == 1


def test_sheetness_answers_to_planes_only():
    plane, line, point = np.zeros((3, 25, 25, 25))
    plane[12], line[12, 12], point[12, 12, 12] = 1, 1, 1
    strength = [float(sheetness(mc.Volume(v, 0.01)).data[12, 12, 12]) for v in (plane, line, point)]
    assert strength[0] > 0.1
    assert max(strength[1:]) < 1e-6
    assert sheetness(mc.Volume(-plane, 0.01), dark=True).data[12, 12, 12] == pytest.approx(strength[0])


def test_eigenvalues_agree_with_numpy():
    rng = np.random.default_rng(2)
    for m in rng.standard_normal((50, 3, 3)):
        m = m + m.T
        found = eigenvalues(m[0, 0], m[1, 1], m[2, 2], m[0, 1], m[0, 2], m[1, 2])
        np.testing.assert_allclose(found, np.linalg.eigvalsh(m), atol=1e-9)


def test_features_of_a_quadratic():
    """Central differences of x^2 + 3 y z are exact; a Gaussian leaves second derivatives as they are."""
    x, y, z = np.indices((30, 30, 30)) - 15.0
    found = features(mc.Volume(x**2 + 3 * y * z, 0.01), scales=(1.0,))[15, 15, 15]
    np.testing.assert_allclose(found[1:], [0, -3, 2, 3], atol=1e-3)


def test_features_of_stretched_voxels_are_those_of_the_thing():
    """The same Gaussian hill in voxels four times as long along z: figures agree where both grids have a voxel."""

    def hill(step):
        x, y, z = np.meshgrid(np.arange(-24, 25), np.arange(-24, 25), np.arange(-24, 25, step), indexing="ij")
        return mc.Volume(np.exp(-(x**2 + y**2 + z**2 - x * z) / 150), (0.01, 0.01, 0.01 * step))

    cubes, stretched = (features(hill(step), scales=(4.0,)) for step in (1, 4))
    middle = np.s_[8:-8, 8:-8]
    # Differences over four times the length err by 16 times as much: curvature / 12 of (4 / width 10)^2.
    for row in range(5):
        size = np.abs(cubes[..., row]).max()
        np.testing.assert_allclose(stretched[middle][..., 2:-2, row], cubes[middle][..., 8:-8:4, row], atol=0.07 * size)
    wide = denoise(hill(4), strength=4.0).data[24, 24]
    np.testing.assert_allclose(wide[2:-2], denoise(hill(1), strength=4.0).data[24, 24, 8:-8:4], atol=0.01)


def test_noise_is_estimated_beside_edges():
    noise = np.random.default_rng(6).normal(0, 0.3, (40, 40, 40))
    # A median of N absolute values errs by about 1.2 / sqrt(N); neighbours share samples.
    assert noise_level(10 * ball(40) + noise) == pytest.approx(0.3, rel=0.03)


def test_diffusion_does_not_see_the_raster():
    """A step of the heat equation: a line spreads along z by its spacing's square less."""
    data = np.zeros((9, 9, 9))
    data[4, 4, 4] = 1
    once = denoise(mc.Volume(data, (0.01, 0.01, 0.02)), method="diffusion", strength=1e6, iterations=1).data
    assert once[5, 4, 4] == pytest.approx(1 / 7) and once[4, 4, 5] == pytest.approx(1 / 28)
    assert once.sum() == pytest.approx(1)


@pytest.mark.parametrize("method", DENOISERS)
def test_denoising_brings_back_the_ball(method):
    rng = np.random.default_rng(3)
    truth = ball().astype(float)
    noisy = mc.Volume(truth + 0.3 * rng.standard_normal(truth.shape), 0.01)
    found = denoise(noisy, method=method)
    assert np.linalg.norm(found.data - truth) < 0.6 * np.linalg.norm(noisy.data - truth)
    assert found.data.mean() == pytest.approx(noisy.data.mean(), abs=0.02)


@pytest.fixture(scope="module")
def striped():
    """A ball that differs from its surroundings by texture alone: no threshold can find it."""
    rng = np.random.default_rng(4)
    rough = rng.standard_normal((40, 40, 40))
    smooth = np.repeat(np.repeat(np.repeat(rng.standard_normal((10, 10, 10)), 4, 0), 4, 1), 4, 2)
    inside = ball(40, 13)
    painted = np.full(inside.shape, 255, np.uint8)
    painted[:, :, 18:21] = inside[:, :, 18:21]
    return mc.Volume(np.where(inside, smooth, rough), 0.01), mc.Volume(painted, 0.01), mc.Volume(inside, 0.01)


def test_a_classifier_learns_from_three_painted_slices(striped, tmp_path):
    picture, painted, truth = striped
    painted = mc.Volume(painted.data, 0.01, names={1: "er"})
    trained = train(picture, painted, trees=30, rng=0)
    found = mc.segment(picture, method="classifier", classifier=trained)
    best = max(mc.dice(truth, mc.segment(picture, method=m)) for m in ("otsu", "hysteresis"))
    assert mc.dice(truth, found) > best + 0.2
    assert found.names[1] == "er"
    again = train(picture, painted, trees=30, rng=0)
    np.testing.assert_array_equal(again.thresholds, trained.thresholds)
    assert trained.before and not trained.before.before
    save_classifier(tmp_path / "c.npz", trained)
    np.testing.assert_array_equal(
        load_classifier(tmp_path / "c.npz").probabilities(picture), trained.probabilities(picture)
    )


def test_context_tells_an_inside_from_an_outside():
    """Hollow balls: the lumen is as grey as what is around them, and wider than any scale of the first forest."""

    def shells(seed):
        rng = np.random.default_rng(seed)
        depth = np.linalg.norm(np.indices((48, 48, 48)) - rng.uniform(17, 30, (3, 1, 1, 1)), axis=0)
        truth = np.where(depth < 12, 1, np.where(depth < 14, 2, 0))
        return mc.Volume((truth == 2) + 0.5 * rng.standard_normal(truth.shape), 0.01), mc.Volume(truth, 0.01)

    (picture, truth), (other, wanted) = shells(0), shells(1)
    once, thrice = (train(picture, truth, rounds=n, trees=20, most=4000, rng=0).predict(other) for n in (1, 3))
    for label, fewer in ((1, 8), (2, 1.5)):
        assert 1 - mc.dice(wanted, thrice, label=label) < (1 - mc.dice(wanted, once, label=label)) / fewer


def test_votes_agree_with_scikit_learn(striped):
    from sklearn.ensemble import RandomForestClassifier

    from meshcell.imaging.pixel_classifier import _flattened, standardized

    picture, painted, _ = striped
    seen = features(standardized(picture)).reshape(picture.data.size, -1)
    rows = np.flatnonzero(painted.data.ravel() != 255)
    forest = RandomForestClassifier(10, min_samples_leaf=3, random_state=0).fit(seen[rows], painted.data.ravel()[rows])
    ours = _flattened(forest, (0.7, 1.5, 3.0), {}).probabilities(picture).reshape(len(seen), -1)
    # Thresholds of 64 bits were rounded to 32: hardly a voxel lies between the two.
    assert np.mean(np.abs(ours - forest.predict_proba(seen)) > 1e-5) < 1e-4


def test_damaged_classifiers_are_refused(striped, tmp_path):
    picture, painted, _ = striped
    trained = train(picture, painted, trees=2, rng=0)
    trained.left.setflags(write=True)
    trained.left[0] = 0
    save_classifier(tmp_path / "loop.npz", trained)
    with pytest.raises(ValueError, match="trees lead nowhere"):
        load_classifier(tmp_path / "loop.npz")
    blind = train(picture, painted, trees=2, rounds=1, rng=0)
    blind.splits.setflags(write=True)
    blind.splits[0] = 15
    save_classifier(tmp_path / "blind.npz", blind)
    with pytest.raises(ValueError, match="trees lead nowhere"):
        load_classifier(tmp_path / "blind.npz")
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(ValueError, match="written by save_classifier"):
        load_classifier(tmp_path / "other.npz")


def test_clean_drops_specks_and_fills_holes():
    data = ball().astype(np.uint8)
    data[16, 16, 16] = 0
    data[1, 1, 1:3] = 2
    found = mc.clean(mc.Volume(data, 0.01, names={1: "er", 2: "dust"}))
    np.testing.assert_array_equal(found.data, ball())
    # A cavity larger than `holes` stays.
    hollow = mc.Volume((ball() & ~ball(radius=4)).astype(np.uint8), 0.01)
    np.testing.assert_array_equal(mc.clean(hollow).data, hollow.data)


def test_clean_smooths_ragged_borders():
    rng = np.random.default_rng(5)
    ragged = mc.Volume(ball() ^ (rng.random((32, 32, 32)) < 0.1), 0.01)
    found = mc.clean(ragged, smooth=1.0)
    truth = mc.Volume(ball(), 0.01)
    assert mc.dice(truth, found) > 0.97 > mc.dice(truth, ragged)


def test_wrong_input_is_named():
    flat = mc.Volume(np.zeros((4, 4, 4)), 0.01)
    with pytest.raises(ValueError, match="should have contrast"):
        mc.segment(flat)
    with pytest.raises(TypeError, match="needs intensities"):
        mc.segment(mc.Volume(np.zeros((4, 4, 4), int), 0.01))
    with pytest.raises(ValueError, match=f"one of {', '.join(METHODS)}"):
        mc.segment(flat, method="magic")
    with pytest.raises(ValueError, match="needs classifier="):
        mc.segment(flat, method="classifier")
    with pytest.raises(ValueError, match="at least two labels"):
        train(flat, mc.Volume(np.zeros((4, 4, 4), int), 0.01), rng=0)


@pytest.mark.parametrize("spacing", [0.01, (0.01, 0.01, 0.03)])
@pytest.mark.parametrize("width", [0.7, 1.5])
def test_smoothing_label_by_label_where_each_is_equals_smoothing_everywhere(spacing, width):
    rng = np.random.default_rng(0)
    labels = mc.Volume(rng.integers(0, 6, (6, 5, 4)).repeat(4, 0).repeat(4, 1).repeat(4, 2), spacing)
    sides = np.array(labels.spacing) / min(labels.spacing)
    shares = [
        ndimage.gaussian_filter((labels.data == label).astype(np.float32), width / sides, mode="nearest")
        for label in labels.counts
    ]
    found = mc.clean(labels, smallest=0, holes=0, smooth=width)
    assert np.array_equal(found.data, np.array(list(labels.counts))[np.argmax(shares, axis=0)])
