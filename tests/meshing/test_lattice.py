"""The lattice: never refuses, keeps every piece of every label, holds its angles; areas and volumes are near."""

import logging

import numpy as np
import pytest

import meshcell as mc
from gallery.labels import halves, nested_balls, noise, scraps, sheet, sphere, torus, tube, voronoi
from gallery.scenes import SCENES, assert_sound, volumes_of
from meshcell.core.errors import NativeError
from meshcell.geometry.quality import angles
from meshcell.geometry.voxels import depths_of
from meshcell.meshing import tetrahedra
from meshcell.meshing.lattice import _extremes
from meshcell.meshing.lattice_fitting import FAIRNESS, MAX_FAIRNESS, _adapted
from meshcell.meshing.lattice_labels import _votes
from meshcell.meshing.tetrahedra import tetrahedralize
from meshcell.meshing.volume_balance import region_volumes


def pieces_kept(volume, mesh):
    """Tell for every 6-connected piece of a label whether a tetrahedron of that label has its centroid in it."""
    from scipy import ndimage

    places = np.rint((mesh.points[mesh.tets].mean(axis=1) - volume.origin) / volume.spacing).astype(int)
    within = ((places >= 0) & (places < volume.data.shape)).all(axis=1)
    kept = []
    for label in volume.regions:
        numbers, n = ndimage.label(volume.data == label)
        own = within & (mesh.regions == label)
        kept += np.isin(np.arange(1, n + 1), numbers[tuple(places[own].T)]).tolist()
    return kept


@pytest.mark.parametrize("seed", range(12))
def test_noise_is_never_refused(seed):
    volume = noise(seed)
    mesh = tetrahedralize(volume, edge=(0.4, 1.0, 3.0)[seed % 3], min_dihedral=20, method="lattice")
    assert set(np.unique(mesh.regions)) == set(volume.regions)
    assert_sound(mesh)
    # The bound is kept by every single move, up to the rounding of an arc sine.
    assert angles(mesh).min() > 20 - 1e-6
    assert angles(mesh).max() < 160 + 1e-6


@pytest.mark.parametrize("name", SCENES)
def test_interfaces_and_caps_are_those_of_the_labels(name):
    volume = SCENES[name]()
    surface = mc.smooth(mc.extract(volume))
    mesh = tetrahedralize(volume, edge=1.5 * volume.spacing[0], min_dihedral=15, method="lattice")
    assert_sound(mesh)
    assert mesh.names == surface.names
    assert mesh.patches.keys() == surface.patches.keys()
    assert mc.areas(mesh).keys() >= mc.areas(surface).keys()
    for region, volume_of_surface in mc.enclosed_volumes(surface).items():
        # The smallest body has 27 voxels; its fairing takes more than the last shift gave back.
        assert volumes_of(mesh)[region] == pytest.approx(volume_of_surface, rel=0.05)


@pytest.mark.parametrize("seed", [1, 4, 9, 16])
def test_pieces_of_labels_stay_whole_and_apart(seed):
    # Touching cells and islands with voxels up to five times longer than wide.
    volume = scraps(seed)
    mesh = tetrahedralize(volume, edge=1.5 * min(volume.spacing), min_dihedral=20, method="lattice")
    assert mc.topology(mesh) == mc.topology(volume)


@pytest.mark.parametrize("bound", [5, 20, 30, 40])
def test_any_bound_holds(bound):
    mesh = tetrahedralize(halves(), edge=1.5, min_dihedral=bound, method="lattice")
    assert angles(mesh).min() > bound - 1e-6
    assert angles(mesh).max() < 180 - bound + 1e-6


@pytest.mark.parametrize(("shape", "edge"), [(sphere(8), 1.5), (torus(), 1.5), (tube(), 1.5), (sheet(), 1.5)])
def test_areas_and_volumes_of_known_bodies(shape, edge):
    volume, area, _ = shape
    mesh = tetrahedralize(volume, edge=edge, min_dihedral=20, method="lattice")
    # A bound of 20 degrees leaves pairs of facets that are bent by some 14 degrees, 3 % of area, and more where
    # points are in each other's way.
    assert mc.areas(mesh)["body", "outside"] == pytest.approx(area, rel=0.08)
    # That of the voxels, as far as a lattice can know.
    assert volumes_of(mesh)["body"] == pytest.approx(volume.counts[1], rel=0.01)


def test_tiny_pieces_keep_a_tetrahedron():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[4:16, 4:16, 4:16] = 1
    labels[8, 8, 8] = 2
    labels[1, 1, 18] = 3
    labels[12, 12, 4] = 4
    volume = mc.Volume(labels, (1.0, 1.0, 0.3))
    mesh = tetrahedralize(volume, edge=6.0, min_dihedral=20, method="lattice")
    assert set(np.unique(mesh.regions)) == {1, 2, 3, 4}
    assert_sound(mesh)


def test_thin_parts_are_not_cut():
    volume, _, _ = sheet(radius=12.0)
    mesh = tetrahedralize(volume, edge=4.0, min_dihedral=20, method="lattice")
    expected = mc.topology(volume)["body"].components
    assert mc.topology(mesh)["body"].components <= expected
    assert all(pieces_kept(volume, mesh))


def test_the_inside_is_coarser():
    even, graded = (
        tetrahedralize(sphere(12)[0], edge=1.2, grading=g, min_dihedral=20, method="lattice") for g in (0, 1)
    )
    assert len(graded.tets) < len(even.tets)
    # A cube one level up has eight times the volume; fitting stretches some near the interface threefold.
    assert graded.volumes.max() > 2 * even.volumes.max()


def test_the_same_labels_give_the_same_bytes():
    one, two = (tetrahedralize(voronoi(n=8), edge=2.0, min_dihedral=20, method="lattice") for _ in range(2))
    for field in ("points", "tets", "regions", "facets", "sides"):
        assert getattr(one, field).tobytes() == getattr(two, field).tobytes()


def test_names_and_large_labels_are_kept():
    labels = np.zeros((6, 6, 6), np.int64)
    labels[1:5, 1:5, 1:3] = 7
    labels[1:5, 1:5, 3:5] = 2**40
    mesh = tetrahedralize(mc.Volume(labels, 1.0, names={7: "one"}), edge=1.5, min_dihedral=20, method="lattice")
    assert {mesh.names[int(k)] for k in np.unique(mesh.regions)} == {"one", f"label {2**40}"}


# --- auto falls back ---


def test_auto_goes_on_with_the_lattice(monkeypatch, caplog):
    def broken(*_):
        raise NativeError("TetGen crashed", "crash")

    monkeypatch.setattr(tetrahedra, "by_tetgen", broken)
    with (
        caplog.at_level(logging.INFO, "meshcell"),
        pytest.warns(UserWarning, match="TetGen crashed; the lattice takes over, whose interfaces are rougher"),
    ):
        mesh = tetrahedralize(nested_balls(16), edge="20 nm")
    assert_sound(mesh)
    assert angles(mesh).min() > 25 - 1e-6
    assert sum("going on with the lattice" in record.getMessage() for record in caplog.records) == 1
    with pytest.raises(NativeError):
        tetrahedralize(nested_balls(16), edge="20 nm", method="tetgen")


# --- what is refused ---


def test_surfaces_and_steep_bounds_are_refused():
    with pytest.raises(TypeError, match=r'method="lattice" needs a Volume of labels; got Surface'):
        tetrahedralize(mc.extract(halves()), edge=1.0, method="lattice")
    with pytest.raises(ValueError, match=r"at most 40 degrees; got 45"):
        tetrahedralize(halves(), edge=1.0, min_dihedral=45, method="lattice")
    with pytest.raises(ValueError, match=r"edge=.* would make about .* tetrahedra; .* edge=.* um would do"):
        tetrahedralize(halves(), edge=0.02, method="lattice")
    with pytest.raises(mc.MeshError, match=r"all voxels are outside"):
        tetrahedralize(mc.Volume(np.zeros((3, 3, 3), int), 1.0), edge=1.0, method="lattice")


# --- kernels ---


def test_votes_agree_with_interpolated_indicators():
    from scipy.ndimage import map_coordinates

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (5, 6, 7)).astype(np.int32)
    places = rng.uniform(-0.5, np.array(labels.shape) - 0.5, (300, 3))
    shares = [map_coordinates((labels == k) * 1.0, places.T, order=1, mode="nearest") for k in range(4)]
    assert np.array_equal(_votes(labels, places), np.argmax(shares, axis=0))
    beyond = np.array([[-0.6, 2, 2], [4.6, 2, 2], [2, -1, 2], [2, 9, 2], [2, 2, -2], [2, 2, 6.6]])
    assert _votes(labels, beyond).tolist() == [-1, -2, -3, -4, -5, -6]


def test_region_volumes_are_the_sums_of_the_tetrahedra():
    mesh = tetrahedralize(halves(), edge=2.0, method="lattice", min_dihedral=20)
    found = region_volumes(mesh.points, np.ascontiguousarray(mesh.tets), mesh.regions, 3)
    assert found == pytest.approx([0, *(mesh.volumes[mesh.regions == label].sum() for label in (1, 2))], rel=1e-12)


def test_extremes_agree_with_slices():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 99, (9, 4))
    ranges = np.sort(rng.integers(0, 9, (6, 2)), axis=1).astype(np.int32)
    for least, how in ((True, np.min), (False, np.max)):
        assert np.array_equal(_extremes(rows, ranges, least), [how(rows[a : b + 1], axis=0) for a, b in ranges])


def test_depths_are_distances_from_other_labels():
    volume, _, _ = sphere(8)
    depths = depths_of(volume)[volume.data == 1]
    assert depths.max() == pytest.approx(8, abs=1)
    assert depths.min() == 0.5


def test_the_weight_of_area_rises_only_where_there_is_too_much():
    start = np.full(4, FAIRNESS)
    weights = _adapted(start, areas=np.array([1.01, 0.9, 9.0, 1.0]), wanted=np.array([1.0, 1.0, 1.0, 0.0]))
    assert weights[0] > FAIRNESS
    assert weights[1] == weights[3] == FAIRNESS
    assert FAIRNESS < weights[2] <= MAX_FAIRNESS


# --- the real spine ---


@pytest.mark.slow
def test_real_spine(real_spine):
    labels = mc.load(real_spine, names={1: "cytosol", 2: "er"})
    mesh = tetrahedralize(labels, edge=0.02, min_dihedral=20, method="lattice")
    assert_sound(mesh)
    assert angles(mesh).min() > 20 - 1e-6
    # Truth: README of the data.
    assert mc.areas(mesh)["cytosol", "outside"] == pytest.approx(6.632, rel=0.02)
    assert mc.areas(mesh)["er", "cytosol"] == pytest.approx(2.400, rel=0.02)
    assert volumes_of(mesh)["cytosol"] == pytest.approx(0.6439, rel=0.005)
    assert volumes_of(mesh)["er"] == pytest.approx(0.02713, rel=0.01)
    assert all(pieces_kept(labels, mesh))
