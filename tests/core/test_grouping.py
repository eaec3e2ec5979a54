"""Triangles by interface, against one mask for each; and the words for many labels."""

import numpy as np
import pytest

import meshcell as mc
from gallery.blocks import blocks, filled
from meshcell.core.grouping import grouped_by
from meshcell.core.validation import counted


@pytest.mark.parametrize("thing", [mc.extract(blocks((3, 2, 2), 6)), filled(blocks((3, 2, 2), 6, 4))])
def test_every_interface_is_what_a_mask_finds(thing):
    assert sum(len(rows) for rows in thing.interfaces.values()) == len(thing.sides)
    for (behind, front), rows in thing.interfaces.items():
        named = [[thing.names[a], thing.names[b]] == [behind, front] for a, b in thing.sides.tolist()]
        assert rows.tolist() == np.flatnonzero(named).tolist()
        assert not rows.flags.writeable
        assert mc.areas(thing)[behind, front] == pytest.approx(thing.areas[rows].sum(), rel=1e-12)


def test_nothing_to_group():
    found = grouped_by(np.zeros((0, 2), np.int32))
    assert not len(found.counts) and not len(found.sums(np.zeros(0))) and found.named({}) == {}
    assert "empty" in repr(mc.Surface(np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros((0, 2), int)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint64])
def test_labels_are_counted_as_by_unique(dtype):
    rng = np.random.default_rng(1)
    for top in (3, 100, 10**6):
        labels = rng.integers(0, min(top, np.iinfo(dtype).max), (6, 5, 4)).astype(dtype)
        for found, wanted in zip(counted(labels), np.unique(labels, return_counts=True), strict=True):
            assert found.tolist() == wanted.tolist()


def test_only_the_first_of_many_are_written():
    text = repr(blocks((4, 4, 4), 8))
    assert "  ... and 53 more" in text and "label 11:" in text and "label 12:" not in text
    text = repr(mc.extract(blocks((4, 4, 4), 8)))
    assert len(text.splitlines()) == 1 + 12 + 12 + 6
