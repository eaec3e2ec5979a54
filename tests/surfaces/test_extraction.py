"""Extraction: exact volumes, closed and shared interfaces, caps, symmetry; areas, volumes and patches."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import meshcell as mc
from gallery.labels import halves, nested_balls, noise, sphere, voronoi
from meshcell.core.validation import BOX_FACES

NOISE = [noise(seed) for seed in range(12)]


@pytest.mark.parametrize("volume", [nested_balls(), halves(), voronoi(), *NOISE])
def test_the_net_encloses_exactly_the_voxels(volume):
    surface = mc.extract(volume)
    voxel = np.prod(volume.spacing)
    found = mc.enclosed_volumes(surface)
    assert found.keys() == set(volume.regions.values())
    for label, name in volume.regions.items():
        assert found[name] == pytest.approx(volume.counts[label] * voxel, rel=1e-12)


@pytest.mark.parametrize("volume", [nested_balls(), halves(), voronoi(), *NOISE])
def test_every_voxel_face_between_two_labels_once(volume):
    surface = mc.extract(volume)
    labels = np.pad(volume.data, 1).astype(int)
    expected = {}
    for axis in range(3):
        face = np.prod(volume.spacing) / volume.spacing[axis]
        low, high = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
        for pair in zip(np.maximum(low, high)[low != high], np.minimum(low, high)[low != high], strict=True):
            names = tuple("outside" if label == 0 else volume.regions[int(label)] for label in pair)
            expected[names] = expected.get(names, 0.0) + face
    assert mc.areas(surface) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("volume", [nested_balls(), voronoi(), *NOISE])
def test_area_vectors_around_every_region_sum_to_zero(volume):
    surface = mc.extract(volume)
    for region in volume.regions:
        sign = (surface.sides[:, 0] == region).astype(int) - (surface.sides[:, 1] == region)
        assert np.abs(sign @ surface.area_vectors).max() < 1e-12 * surface.areas.sum()


def test_points_are_merged_and_all_used():
    surface = mc.extract(voronoi())
    assert len(np.unique(surface.points, axis=0)) == len(surface.points)
    assert (np.unique(surface.triangles) == np.arange(len(surface.points))).all()


def test_mirrored_labels_give_the_mirrored_surface():
    volume = nested_balls()
    shifted = np.roll(volume.data, 1, axis=1)
    mirrored = mc.Volume(shifted[::-1], volume.spacing, names=volume.names)
    one = mc.smooth(mc.extract(mc.Volume(shifted, volume.spacing, names=volume.names)))
    two = mc.smooth(mc.extract(mirrored))
    for pair, area in mc.areas(one).items():
        # Diagonals follow the parity of the grid, so areas agree to the third digit, not to the last.
        assert mc.areas(two)[pair] == pytest.approx(area, rel=2e-3)


def test_bodies_at_the_box_are_capped_and_the_caps_are_named():
    volume = mc.Volume(np.ones((2, 3, 4), int), (1, 10, 100), names={1: "block"})
    surface = mc.extract(volume)
    assert sorted(surface.patches) == sorted(BOX_FACES)
    area = {name: surface.areas[rows].sum() for name, rows in surface.patches.items()}
    assert area["box x-"] == area["box x+"] == pytest.approx(30 * 400)
    assert area["box z-"] == pytest.approx(2 * 30)
    assert surface.points.min(axis=0).tolist() == [-0.5, -5, -50]
    assert (surface.area_vectors[surface.patches["box y+"], 1] > 0).all()
    assert not mc.extract(nested_balls()).patches


def test_large_and_wide_labels_keep_their_identity():
    labels = np.zeros((4, 4, 4), np.uint64)
    labels[1:3, 1:3, 1:3] = 2**40
    labels[1, 1, 1] = 7
    surface = mc.extract(mc.Volume(labels, 1.0, names={7: "spot"}))
    assert mc.enclosed_volumes(surface) == pytest.approx({"spot": 1.0, "label 1099511627776": 7.0})


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64])
def test_any_integer_type_gives_the_same_surface(dtype):
    volume = nested_balls()
    surface = mc.extract(mc.Volume(volume.data.astype(dtype), volume.spacing, names=volume.names))
    reference = mc.extract(volume)
    assert np.array_equal(surface.triangles, reference.triangles)
    assert np.array_equal(surface.sides, reference.sides)


def test_only_the_asked_regions():
    surface = mc.extract(nested_balls(), regions=["er"])
    assert list(mc.areas(surface)) == [("er", "outside")]
    with pytest.raises(ValueError, match="no region is called 'golgi'; there are cytosol, er, outside"):
        mc.extract(nested_balls(), regions=["golgi"])


def test_nothing_to_extract_and_intensities_are_refused():
    with pytest.raises(mc.MeshError, match="all voxels are outside"):
        mc.extract(mc.Volume(np.zeros((3, 3, 3), int), 1.0))
    with pytest.raises(TypeError, match="they are not whole numbers: segment"):
        mc.extract(mc.Volume(np.full((3, 3, 3), 0.5), 1.0))
    with pytest.raises(TypeError, match=r"whole numbers: pass data.astype\(int\)"):
        mc.extract(mc.Volume(np.ones((3, 3, 3)), 1.0))
    with pytest.raises(TypeError, match="level= is for intensities"):
        mc.extract(nested_balls(), level=0.5)


def test_isosurface_of_a_distance_has_the_ball_s_area_and_volume():
    axis = np.arange(32) - 15.3
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    surface = mc.extract(mc.Volume(11 - np.sqrt(x * x + y * y + z * z), 1.0), level=0.0)
    # Chords inside a sphere of radius 11 voxels: relative error of second order, about h^2 / R^2.
    assert mc.areas(surface)["inside", "outside"] == pytest.approx(4 * np.pi * 121, rel=0.005)
    assert mc.enclosed_volumes(surface)["inside"] == pytest.approx(4 / 3 * np.pi * 1331, rel=0.005)
    assert mc.topology(surface)["inside"].euler == 2
    with pytest.raises(mc.MeshError, match="level should lie between"):
        mc.extract(mc.Volume(np.random.default_rng(0).random((3, 3, 3)), 1.0), level=7.0)


def test_isosurface_at_the_box_is_closed():
    x = np.broadcast_to(np.arange(6.0)[:, None, None], (6, 5, 4))
    surface = mc.extract(mc.Volume(x, 1.0), level=2.5)
    assert mc.topology(surface)["inside"].components == 1
    assert np.abs(surface.area_vectors.sum(axis=0)).max() < 1e-5


def test_patches_by_predicate_and_by_mask():
    surface = mc.extract(nested_balls())
    top = mc.patch(surface, "top", lambda x: x[:, 2] > 0.15)
    assert (top.points[top.triangles[top.patches["top"]]].mean(axis=1)[:, 2] > 0.15).all()
    mask = np.zeros((24, 24, 24), bool)
    mask[:, :, 12:] = True
    half = mc.patch(surface, "half", mc.Volume(mask, "10 nm"))
    assert surface.areas[half.patches["half"]].sum() == pytest.approx(surface.areas.sum() / 2, rel=0.05)
    assert not surface.patches
    with pytest.raises(ValueError, match="'er' is a region"):
        mc.patch(surface, "er", lambda x: x[:, 2] > 0)
    with pytest.raises(ValueError, match="chose no triangle; their centroids span"):
        mc.patch(surface, "far", lambda x: x[:, 2] > 99)
    with pytest.raises(ValueError, match="booleans; got float64"):
        mc.patch(surface, "odd", lambda x: x[:, 2])


def test_extract_does_not_change_its_input():
    volume, _, _ = sphere(5.3)
    before = volume.data.copy()
    mc.extract(volume)
    assert np.array_equal(before, volume.data)


@pytest.mark.skipif(sys.platform != "linux", reason="the greatest resident memory is reset and read in /proc")
def test_memory_is_at_most_three_times_the_voxels_and_the_surface():
    code = textwrap.dedent("""
        from pathlib import Path
        import numpy as np
        import meshcell as mc

        def resident(key):
            return int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0]) * 1024

        blocks = np.random.default_rng(0).integers(0, 250, (7, 7, 7), np.uint8)
        mc.extract(mc.Volume(blocks, 0.01))
        volume = mc.Volume(blocks.repeat(37, 0).repeat(37, 1).repeat(37, 2), 0.01)
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        surface = mc.extract(volume)
        taken = resident("VmHWM") - before + volume.data.nbytes
        size = surface.points.nbytes + surface.triangles.nbytes + surface.sides.nbytes
        print(taken, 3 * volume.data.nbytes + size)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    taken, allowed = map(int, done.stdout.split())
    assert taken <= allowed
