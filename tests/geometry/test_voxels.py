"""Counts on voxels agree with scipy.ndimage and with plain loops on random labels."""

import numpy as np
import pytest
from scipy import ndimage

import meshcell as mc
from meshcell.geometry.voxels import box_faces, components, diagonal_contacts, interface_area, thin_voxels

pytestmark = pytest.mark.plain


@pytest.fixture(params=[(np.uint8, (7, 9, 8)), (np.int64, (12, 1, 9)), (np.uint16, (6, 6, 6))])
def noise(request):
    dtype, shape = request.param
    rng = np.random.default_rng(5)
    # Blocks of two make thick parts, single voxels on top make thin ones.
    blocks = rng.integers(0, 3, [-(-n // 2) for n in shape]).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    data = blocks[tuple(slice(n) for n in shape)]
    return mc.Volume(np.where(rng.random(shape) < 0.1, rng.integers(0, 3, shape), data).astype(dtype), (0.1, 0.2, 0.3))


def test_components_agree_with_scipy(noise):
    found = components(noise)
    assert found.sizes.sum() == noise.data.size
    for label in np.unique(noise.data):
        marked, n = ndimage.label(noise.data == label)
        own = found.labels == label
        assert own.sum() == n
        assert sorted(found.sizes[own]) == sorted(np.bincount(marked.ravel())[1:])
        inner = np.pad(np.ones([max(n - 2, 0) for n in marked.shape], bool), 1)[tuple(slice(n) for n in marked.shape)]
        assert found.touching[own].sum() == len(set(marked[~inner]) - {0})
    assert (noise.data[tuple(found.first.T)] == found.labels).all()


def test_thin_voxels_agree_with_an_opening(noise):
    """In no block of two: what a morphological opening by such a block removes, the box's outermost voxels repeated."""
    expected = np.zeros(noise.data.shape, bool)
    for label in np.unique(noise.data):
        padded = np.pad(noise.data == label, 1, mode="edge")
        opened = ndimage.binary_opening(padded, np.ones((2, 2, 2)))[1:-1, 1:-1, 1:-1]
        expected |= (noise.data == label) & ~opened
    np.testing.assert_array_equal(thin_voxels(noise), expected)


def test_diagonal_contacts_agree_with_a_loop(noise):
    expected = {}
    for axis in range(3):
        data = np.moveaxis(noise.data, axis, 0)
        for plane in data:
            for i in range(plane.shape[0] - 1):
                for j in range(plane.shape[1] - 1):
                    (a, b), (c, d) = plane[i : i + 2, j : j + 2]
                    for label in {int(a), int(b)} - {0}:
                        if [x == label for x in (a, b, c, d)] in ([1, 0, 0, 1], [0, 1, 1, 0]):
                            expected[label] = expected.get(label, 0) + 1
    assert diagonal_contacts(noise) == expected


def test_box_faces():
    data = np.zeros((4, 5, 6), int)
    data[0, 2, 2] = 1
    data[3, 4, 3] = 2
    data[1, 2, 2] = 3
    assert box_faces(mc.Volume(data, 1.0)) == {1: ["x-"], 2: ["x+", "y+"]}


def test_interface_area_of_a_ball():
    """Voxel faces of a ball cover 3/2 of its area in the limit; at 20 voxels to a percent or two."""
    radius = 20.3
    far = np.linalg.norm(np.indices((44, 44, 44)) - 21.37, axis=0)
    faces, area = interface_area(mc.Volume((far < radius).astype(int), 0.01))
    assert area == pytest.approx(4 * np.pi * (radius * 0.01) ** 2, rel=0.02)
    assert faces == round(area * 1.5 / 1e-4)
