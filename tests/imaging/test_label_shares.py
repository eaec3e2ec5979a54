"""Shares of labels in one kernel, against scipy's filter on the mask of each."""

import numpy as np
import pytest
from scipy import ndimage

import meshcell as mc
from meshcell.imaging import label_shares
from meshcell.imaging.label_shares import TRUNCATE, greatest_shares

pytestmark = pytest.mark.plain


def by_scipy(labels, sigmas):
    present = np.unique(labels)
    shares = [
        ndimage.gaussian_filter((labels == label).astype(np.float32), sigmas, mode="nearest", truncate=TRUNCATE)
        for label in present
    ]
    return present[np.argmax(shares, axis=0)]


@pytest.mark.parametrize("width", [0.3, 1.0, 2.2])
@pytest.mark.parametrize("shape", [(13, 9, 17), (1, 20, 4), (30, 3, 3)])
def test_as_scipy_to_the_last_bit(shape, width):
    rng = np.random.default_rng(5)
    for labels in (rng.integers(0, 4, shape), rng.integers(0, 300, shape), np.zeros(shape, int)):
        volume = mc.Volume(labels, 1.0)
        assert np.array_equal(greatest_shares(volume, width), by_scipy(labels, (width,) * 3))


def test_voxels_that_are_not_cubes():
    labels = np.random.default_rng(6).integers(0, 3, (12, 12, 12))
    volume = mc.Volume(labels, (1.0, 1.0, 2.0))
    assert np.array_equal(greatest_shares(volume, 1.0), by_scipy(labels, 1.0 / label_shares.voxel_steps(volume)))


@pytest.mark.parametrize("name, value", [("WASTE", 0), ("AT_A_TIME", 1)])
def test_taken_apart_or_in_small_slices_it_is_the_same(monkeypatch, name, value):
    rng = np.random.default_rng(7)
    labels = np.where(rng.random((24, 20, 22)) < 0.03, rng.integers(1, 6, (24, 20, 22)), 0)
    whole = greatest_shares(mc.Volume(labels, 1.0), 0.7)
    monkeypatch.setattr(label_shares, name, value)
    assert np.array_equal(greatest_shares(mc.Volume(labels, 1.0), 0.7), whole)
