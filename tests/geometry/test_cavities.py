"""What pieces of labels enclose, against a count piece by piece."""

import numpy as np
import pytest
from scipy import ndimage

import meshcell as mc
from meshcell.geometry.cavities import enclosed_by
from meshcell.geometry.topology import topology
from meshcell.geometry.voxels import component_numbers


def counted(mask):
    """Count pieces and cavities of a mask with scipy: 6-connectivity of the body, 18-connectivity of the rest."""
    padded = np.pad(mask, 1)
    rest = ndimage.generate_binary_structure(3, 2)
    return ndimage.label(padded)[1], ndimage.label(~padded, rest)[1] - 1


@pytest.mark.parametrize("seed", range(12))
def test_pieces_and_cavities_are_those_of_each_label_alone(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 9, 3)
    # Few labels leave cavities within cavities, many leave specks.
    labels = rng.integers(0, rng.integers(2, 12), shape)
    found = topology(mc.Volume(labels, 1.0))
    for label in np.unique(labels[labels > 0]):
        alone = found[f"label {label}"]
        assert (alone.components, alone.cavities) == counted(labels == label)


def test_every_piece_of_noise():
    labels = np.random.default_rng(3).integers(0, 2, (7, 7, 7))
    numbers, n = component_numbers(mc.Volume(labels, 1.0))
    assert enclosed_by(numbers, n).tolist() == [counted(numbers == piece)[1] for piece in range(n)]


def test_shells_within_shells():
    depth = np.abs(np.stack(np.meshgrid(*[np.arange(-7, 8)] * 3, indexing="ij"))).max(axis=0)
    labels = np.array([1, 1, 2, 0, 3, 2, 2, 0])[depth]
    found = topology(mc.Volume(labels, 1.0))
    assert [found[f"label {label}"].cavities for label in (1, 2, 3)] == [0, 2, 1]
    assert [found[f"label {label}"].components for label in (1, 2, 3)] == [1, 2, 1]
