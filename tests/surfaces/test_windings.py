"""Winding numbers, and labels from dirty surfaces."""

import numpy as np
import pytest

import meshcell as mc
from gallery.labels import halves, nested_balls
from meshcell.surfaces.windings import winding_numbers

BALLS = mc.smooth(mc.extract(nested_balls(20)))


def direct(surface, label, queries):
    """Twin of `winding_numbers`: every triangle's solid angle, summed."""
    a, b, c = (surface.points[surface.triangles[:, k]][:, None] - queries for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=2) for x in (a, b, c))
    dot = lambda u, v: (u * v).sum(axis=2)  # noqa: E731
    angles = 2 * np.arctan2(dot(a, np.cross(b, c)), la * lb * lc + dot(a, b) * lc + dot(b, c) * la + dot(c, a) * lb)
    signs = (surface.sides[:, 0] == label).astype(int) - (surface.sides[:, 1] == label)
    return signs @ angles / (4 * np.pi)


def broken(surface):
    """Without a tenth of the triangles, another tenth twice, a few turned, one shell pushed through the other."""
    rng = np.random.default_rng(0)
    kinds = rng.choice(4, len(surface.triangles), p=[0.85, 0.05, 0.08, 0.02])
    rows = np.sort(np.concatenate([np.flatnonzero(kinds > 0), np.flatnonzero(kinds == 0), np.flatnonzero(kinds == 2)]))
    triangles = np.where((kinds == 3)[:, None], surface.triangles[:, ::-1], surface.triangles)[rows]
    keep = kinds[rows] != 1
    points = surface.points.copy()
    inner = np.unique(surface.triangles[(surface.sides == 2).any(axis=1)])
    points[inner, 0] += 0.03
    return mc.Surface(points, triangles[keep], surface.sides[rows][keep], surface.names)


@pytest.mark.parametrize("label", [1, 2])
def test_the_tree_agrees_with_the_plain_sum(label):
    rng = np.random.default_rng(1)
    queries = rng.uniform(BALLS.points.min(axis=0) - 0.05, BALLS.points.max(axis=0) + 0.05, (300, 3))
    plain = direct(BALLS, label, queries)
    assert np.abs(plain - np.rint(plain)).max() < 1e-9
    assert np.abs(winding_numbers(BALLS, label, queries) - plain).max() < 0.1


@pytest.mark.parametrize("volume", [nested_balls(20), halves(16)], ids=["nested balls", "halves"])
def test_the_net_of_labels_gives_them_back(volume):
    back = mc.voxelize(mc.extract(volume), volume.spacing)
    first = np.rint((np.array(volume.origin) - back.origin) / volume.spacing).astype(int)
    inner = tuple(slice(k, k + n) for k, n in zip(first, volume.data.shape, strict=True))
    assert np.array_equal(back.data[inner], volume.data)
    assert back.counts == {**volume.counts, 0: back.data.size - (volume.data > 0).sum()}
    assert back.names == volume.names


def test_labels_that_fill_the_box_come_back_flush_with_it():
    volume = mc.Volume(np.arange(1, 9).reshape(2, 2, 2).repeat(4, 0).repeat(4, 1).repeat(4, 2), (1.0, 2.0, 0.5))
    back = mc.voxelize(mc.extract(volume), volume.spacing)
    assert np.array_equal(back.data, volume.data)
    assert back.origin == pytest.approx(volume.origin)


def test_dirty_surfaces_become_sound_meshes():
    mesh = mc.tetrahedralize(broken(BALLS), edge=0.02, method="winding")
    assert mc.check(mesh).ok
    found, sound = mc.enclosed_volumes(mesh), mc.enclosed_volumes(BALLS)
    assert found["er"] == pytest.approx(sound["er"], rel=0.05)
    assert sum(found.values()) == pytest.approx(sum(sound.values()), rel=0.05)


def test_the_same_labels_for_any_order_of_triangles():
    order = np.random.default_rng(2).permutation(len(BALLS.triangles))
    other = mc.Surface(BALLS.points, BALLS.triangles[order], BALLS.sides[order], BALLS.names)
    assert np.array_equal(mc.voxelize(BALLS, 0.007).data, mc.voxelize(other, 0.007).data)


def test_a_region_that_is_inside_out_is_turned():
    inverted = mc.Surface(BALLS.points, BALLS.triangles[:, ::-1], BALLS.sides, BALLS.names)
    with pytest.warns(UserWarning, match="the shell around 'cytosol' is turned inside out"):
        found = mc.voxelize(inverted, 0.01)
    assert np.array_equal(found.data, mc.voxelize(BALLS, 0.01).data)


def test_a_region_without_voxels_is_refused():
    with pytest.raises(mc.MeshError, match="none of cytosol, er: they are thinner") as refusal:
        mc.voxelize(BALLS, 0.4)
    assert refusal.value.where.tolist() == list(range(len(BALLS.triangles)))


def test_too_many_voxels_are_refused_with_a_size_that_would_do():
    with pytest.raises(ValueError, match=r"at most 5e\+08 are made; 0\.000\d+ um would do"):
        mc.voxelize(BALLS, 1e-5)


def test_labels_need_no_winding():
    with pytest.raises(TypeError, match=r"is for a dirty Surface; got Volume"):
        mc.tetrahedralize(nested_balls(8), edge=0.02, method="winding")
