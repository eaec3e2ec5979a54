"""A U-Net that learns what it is shown, is its plain arrays, and sees tiles as it sees the whole."""

import numpy as np
import pytest
from scipy import ndimage

import meshcell as mc
from gallery.lamella import best_threshold, lamella
from meshcell.imaging import unet as module
from meshcell.imaging.filters import denoise
from meshcell.imaging.pixel_classifier import standardized, train
from meshcell.imaging.unet import UNet, _drawn, _fresh, _loss, _margin, load_unet, save_unet, train_unet

torch = pytest.importorskip("torch")


def balls(seed, n=32):
    """Two balls in as much noise as signal: no threshold tells them well."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(8, n - 8, (2, 3, 1, 1, 1))
    truth = np.any([np.linalg.norm(np.indices((n, n, n)) - place, axis=0) < 7 for place in places], axis=0)
    return mc.Volume(truth + rng.standard_normal((n, n, n)), 0.01), mc.Volume(truth, 0.01, names={1: "ball"})


@pytest.fixture(scope="module")
def trained():
    return train_unet([balls(0), balls(1)], levels=2, width=4, patch=(16, 16, 16), batch=2, steps=60, rng=0)


def untrained(levels=3, width=4, n_labels=3):
    rng = np.random.default_rng(5)
    weights = _fresh(levels, width, n_labels, rng)
    for name, array in weights.items():
        if name.endswith(("mean", "shift")):
            array[:] = rng.normal(0, 0.3, array.shape)
    return UNet(weights, np.arange(n_labels, dtype=np.int32), levels)


def test_it_finds_balls_that_it_has_not_seen(trained):
    picture, truth = balls(2)
    found = mc.segment(picture, method="unet", unet=trained)
    assert found.names[1] == "ball"
    assert mc.dice(truth, found) > 0.85 > best_threshold(truth, picture, 1) + 0.2
    assert np.mean(trained.history[-10:]) < 0.5 * trained.history[0]


def test_the_same_seed_gives_the_same_bytes():
    options = {"levels": 2, "width": 2, "patch": (16, 16, 16), "steps": 3}
    first, again, other = (train_unet([balls(0)], **options, rng=seed).weights["up0.0.kernel"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_one_grid_is_correlations_and_rectifiers():
    """The network with one level against scipy, layer by layer."""
    net = untrained(levels=1, width=2, n_labels=2)
    w, rng = net.weights, np.random.default_rng(1)
    picture = standardized(mc.Volume(rng.standard_normal((6, 7, 8)), 0.01)).data
    x = [picture]
    for layer in ("down0.0", "down0.1"):
        kernel = w[f"{layer}.kernel"]
        sums = [sum(ndimage.correlate(c, k, mode="constant") for c, k in zip(x, row, strict=True)) for row in kernel]
        mean, variance, scale, shift = (w[f"{layer}.{part}"] for part in ("mean", "variance", "scale", "shift"))
        x = [
            np.maximum((s - m) / np.sqrt(v + 1e-5) * a + b, 0)
            for s, m, v, a, b in zip(sums, mean, variance, scale, shift, strict=True)
        ]
    scores = np.einsum("kc,cxyz->xyzk", w["out.kernel"][:, :, 0, 0, 0], x) + w["out.shift"]
    shares = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(net.probabilities(mc.Volume(picture, 0.01), mirrors=False), shares, atol=1e-5)


def test_tiles_see_what_the_whole_sees(monkeypatch):
    """No voxel farther away than the margin matters, so cutting a volume up changes rounding alone."""
    net, rng = untrained(), np.random.default_rng(2)
    volume = mc.Volume(rng.standard_normal((90, 33, 21)), 0.01)
    whole = net.probabilities(volume, mirrors=False)
    monkeypatch.setattr(module, "TILE", 1)
    monkeypatch.setattr(module, "LEAST", 16)
    np.testing.assert_allclose(net.probabilities(volume, mirrors=False), whole, atol=1e-5)
    np.testing.assert_allclose(whole.sum(axis=-1), 1, atol=1e-6)


def test_a_mirrored_volume_gives_the_mirrored_answer():
    net, data = untrained(levels=2), np.random.default_rng(6).standard_normal((12, 10, 8))
    found = net.probabilities(mc.Volume(data, 0.01))
    np.testing.assert_allclose(net.probabilities(mc.Volume(data[::-1, :, ::-1], 0.01)), found[::-1, :, ::-1], atol=1e-5)


def test_the_margin_is_what_the_network_sees():
    """A voxel changes answers no farther away than the margin, and some more than half as far."""
    net, rng = untrained(), np.random.default_rng(3)
    data = rng.standard_normal((120, 4, 4)).astype(np.float32)
    other = data.copy()
    other[60] += 3
    # Standardised alike: only what the network itself sees may differ.
    a, b = (torch.from_numpy(x)[None, None] for x in (data, other))
    weights = {name: torch.from_numpy(array) for name, array in net.weights.items()}
    far = np.abs((module._applied(weights, a, 3) - module._applied(weights, b, 3)).numpy()).max(axis=(0, 1, 3, 4)) > 0
    reach = np.abs(np.flatnonzero(far) - 60).max()
    assert _margin(3) / 2 < reach <= _margin(3)


@pytest.mark.parametrize("wedge", [True, False])
def test_boxes_are_mirrored_with_their_labels(wedge):
    """Labels travel with the picture; with a wedge no axis takes another's place."""
    picture = np.arange(16**3, dtype=np.float32).reshape(16, 16, 16)
    boxes, truths = _drawn([picture], [picture.astype(int)], (8, 8, 8), 4, 50, wedge, np.random.default_rng(0))
    gains = []
    for box, truth in zip(boxes[:, 0], truths, strict=True):
        # Brighter and darker by one line for the whole box.
        line = np.polyfit(truth.ravel(), box.ravel(), 1)
        np.testing.assert_allclose(np.polyval(line, truth), box, rtol=1e-3, atol=1)
        gains.append(line[0])
    assert np.std(gains) > 0.03
    along = {tuple(abs(int(d.flat[0])) for d in (np.diff(t, axis=k) for k in range(3))) for t in truths}
    assert along == {(256, 16, 1)} if wedge else len(along) == 6
    assert {bool(np.diff(t, axis=0).flat[0] > 0) for t in truths} == {True, False}


def test_unknown_voxels_do_not_count():
    rng = np.random.default_rng(4)
    truth = torch.from_numpy(rng.integers(-1, 3, (2, 4, 4, 4)))
    scores = torch.from_numpy(rng.standard_normal((2, 3, 4, 4, 4)))
    other = torch.where((truth < 0)[:, None], scores + 5 * torch.rand(scores.shape, dtype=scores.dtype), scores)
    assert float(_loss(other, truth)) == pytest.approx(float(_loss(scores, truth)), rel=1e-12)
    sure = 100.0 * torch.nn.functional.one_hot(truth.clamp(min=0), 3).movedim(-1, 1)
    assert float(_loss(sure, truth)) < 1e-6


def test_round_trip_and_damage(trained, tmp_path):
    save_unet(tmp_path / "net.npz", trained)
    again, picture = load_unet(tmp_path / "net.npz"), balls(2)[0]
    np.testing.assert_array_equal(again.probabilities(picture), trained.probabilities(picture))
    assert again.names == trained.names and again.history == trained.history
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_unet(tmp_path / "net.npz", trained)
    kernel = trained.weights["down0.0.kernel"]
    for damage in ({"down0.0.kernel": kernel[:, :, :2]}, {"down0.0.kernel": np.full_like(kernel, np.nan)}):
        broken = UNet({**trained.weights, **damage}, trained.labels, trained.levels)
        save_unet(tmp_path / "broken.npz", broken, overwrite=True)
        with pytest.raises(ValueError, match=r"no sound network: down0\.0\.kernel should be finite float32"):
            load_unet(tmp_path / "broken.npz")
    np.savez(tmp_path / "other.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match="written by save_unet"):
        load_unet(tmp_path / "other.npz")


def test_wrong_input_is_named():
    picture, truth = balls(0)
    with pytest.raises(ValueError, match="list of pairs"):
        train_unet([], rng=0)
    with pytest.raises(ValueError, match="on one grid"):
        train_unet([(picture, mc.Volume(truth.data[:-1], 0.01))], rng=0)
    with pytest.raises(ValueError, match="at least two labels"):
        train_unet([(picture, mc.Volume(np.zeros_like(truth.data), 0.01))], rng=0)
    with pytest.raises(ValueError, match="three sides >= 8"):
        train_unet([(picture, truth)], patch=(2, 16, 16), rng=0)
    with pytest.raises(ValueError, match="needs unet="):
        mc.segment(picture, method="unet")


@pytest.mark.slow
def test_on_phantoms_not_seen_the_network_beats_the_forest_and_the_forest_thresholds():
    """Signal to noise 1, +-60 degrees; the threshold is chosen with the truth, on the picture or on a denoised one."""
    truth, example = lamella(1)
    examples = [(example, truth), *((picture, labels) for labels, picture in (lamella(3), lamella(4)))]
    forest, network = train(example, truth, rounds=3, rng=0), train_unet(examples, rng=0)
    for seed in (2, 5):
        other, seen = lamella(seed)
        by_forest, by_network = forest.predict(seen), network.predict(seen, mirrors=False)
        pictures = (seen, *(denoise(seen, strength=s) for s in (0.7, 1.0, 4.0)))
        for label in (1, 2):
            threshold = max(best_threshold(other, picture, label) for picture in pictures)
            assert mc.dice(other, by_forest, label=label) > threshold + 0.2
            assert mc.dice(other, by_network, label=label) > mc.dice(other, by_forest, label=label)
