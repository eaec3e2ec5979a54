"""Truth: what is compared with the labels is right, and what is wrong is told."""

import numpy as np
import pytest

import meshcell as mc
from gallery.labels import halves, nested_balls, noise, voronoi
from meshcell.analysis.fidelity import _away, measure
from meshcell.geometry.proximity import base_of


@pytest.fixture(scope="module")
def balls():
    volume = nested_balls()
    return volume, mc.tetrahedralize(volume, edge="15 nm")


def test_a_good_mesh_is_true_to_its_labels(balls):
    volume, mesh = balls
    report = mc.check(mesh, against=volume)
    assert report.ok
    assert not report.problems
    for one in report.fidelity.regions.values():
        assert one.found == one.expected == mc.topology(volume)[one.name]
        assert abs(one.volume_error) < 0.01
        assert one.shapes.min == mc.quality(mesh).parts[one.name].min
    for one in report.fidelity.interfaces.values():
        assert 0 < one.mean_distance < 0.25
        assert one.mean_distance < one.max_distance < 1
    assert report.fidelity.interfaces["er | cytosol"].area == mc.areas(mesh)["er", "cytosol"]


@pytest.mark.parametrize("volume", [halves(), voronoi(10), noise(3)], ids=["halves", "voronoi", "noise"])
def test_the_net_of_voxel_faces_is_exact(volume):
    figures = measure(mc.extract(volume), volume)
    for one in figures.interfaces.values():
        assert one.max_distance < 1e-12
    for one in figures.regions.values():
        assert one.found == one.expected
        assert one.volume_error == pytest.approx(0, abs=1e-9)
        assert one.shapes is None


def test_distances_are_in_voxels_of_each_axis():
    data = np.zeros((6, 6, 6), int)
    data[2:4, 2:4, 2:4] = 1
    volume = mc.Volume(data, (1.0, 2.0, 5.0), names={1: "box"})
    net = mc.extract(volume)
    for axis, spacing in enumerate(volume.spacing):
        points = net.points.copy()
        points[:, axis] += 0.5 * spacing
        moved = mc.Surface(points, net.triangles, net.sides, net.names)
        assert measure(moved, volume).interfaces["box | outside"].max_distance == pytest.approx(0.5)


@pytest.mark.parametrize("grown", [0.3, -0.3])
def test_offsets_are_positive_where_a_body_grew(grown):
    data = np.zeros((8, 8, 8), int)
    data[2:6, 2:6, 2:6] = 1
    volume = mc.Volume(data, 0.5, names={1: "box"})
    net = mc.extract(volume)
    # Every face moves outwards by the same length, in voxels; turned triangles say the same of the other side.
    centre = net.points.mean(axis=0)
    points = net.points + grown * 0.5 * np.sign(net.points - centre)
    for triangles, sides, sign in ((net.triangles, net.sides, 1), (net.triangles[:, ::-1], net.sides[:, ::-1], -1)):
        offsets = measure(mc.Surface(points, triangles, sides, net.names), volume).offsets
        assert offsets.shape == net.triangles.shape
        assert (sign * grown * offsets > 0).any()
        assert (sign * grown * offsets >= 0).all()
        # Corners of the box move along its diagonal.
        assert np.abs(offsets).max() <= 0.3 * np.sqrt(3) + 1e-12


def test_offsets_are_the_distances_with_a_sign(balls):
    figures = mc.check(balls[1], against=balls[0]).fidelity
    for pair, rows in figures.surface.interfaces.items():
        most = figures.interfaces[f"{pair[0]} | {pair[1]}"].max_distance
        assert np.abs(figures.offsets[rows]).max() <= most
        # A membrane through the staircase lies on both of its sides.
        assert figures.offsets[rows].min() < -0.1
        assert figures.offsets[rows].max() > 0.1


def test_distances_agree_with_a_search_through_all_triangles():
    surface = mc.extract(noise(2))
    sides = np.unique(surface.sides, axis=0, return_inverse=True)[1].ravel().astype(np.int64)
    base = base_of(surface.points, surface.triangles, sides, np.zeros(len(surface.points)))
    points = np.random.default_rng(0).uniform(-0.5, 1.5, (40, 3))
    # Every triangle of kind 0 as a dense set of points: no nearer than the truth, and less than its step farther.
    u = np.stack(np.meshgrid(*[np.linspace(0, 1, 81)] * 2), -1).reshape(-1, 2)
    u = u[u.sum(axis=1) <= 1 + 1e-12]
    corners = surface.points[surface.triangles[sides == 0]]
    dense = (corners[:, None, 0] + np.einsum("sk,tkx->tsx", u, corners[:, 1:] - corners[:, :1])).reshape(-1, 3)
    slow = np.sqrt(((points[:, None] - dense) ** 2).sum(axis=-1)).min(axis=1)
    fast = _away(base, points, 0, 16.0)
    assert (fast <= slow + 1e-12).all()
    assert (slow - fast).max() < 0.02


def test_what_is_lost_strange_or_torn_is_told(balls):
    volume, mesh = balls
    bare = np.where(volume.data == 2, 0, volume.data)
    other = mc.Volume(bare, volume.spacing, volume.origin, {1: "cytosol"})
    report = mc.check(mesh, against=other)
    assert not report.ok
    assert "in the mesh, but not in the labels: 'er'" in str(report)
    assert report.fidelity.interfaces["er | cytosol"].max_distance == np.inf
    split = volume.data.copy()
    split[:, :, 11:13] = np.where(split[:, :, 11:13] == 2, 1, split[:, :, 11:13])
    split[2, 2, 2] = 3
    report = mc.check(mesh, against=mc.Volume(split, volume.spacing, volume.origin, volume.names))
    text = " ".join(str(report).split())
    assert "not in the mesh, but in the labels: 'label 3'" in text
    assert "'er' (pieces 1, Euler 2, genus 0; labels: pieces 2, Euler 4, genus 0)" in text
    assert "volumes differ from those of the voxels: 'er' +" in text


def test_the_report_shows_the_table(balls):
    volume, mesh = balls
    lines = str(mc.check(mesh, against=volume)).splitlines()
    assert any(line.startswith("region") and "genus" in line for line in lines)
    assert any(line.startswith("er | cytosol") for line in lines)


def test_only_surfaces_and_meshes_are_compared(balls):
    with pytest.raises(TypeError, match=r"against= compares a Surface or a TetMesh with labels; got Volume"):
        mc.check(balls[0], against=balls[0])
    with pytest.raises(TypeError, match=r"against=labels\) needs a Volume; got TetMesh"):
        mc.check(balls[1], against=balls[1])
    with pytest.raises(TypeError, match="needs integer labels"):
        mc.check(balls[1], against=mc.Volume(np.random.default_rng(0).random((4, 4, 4)), 1.0))
