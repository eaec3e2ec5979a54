"""Packing of units into voxels: exclusion, room, occupancy, rotations and point patterns."""

import itertools

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.spatial.transform import Rotation

import meshcell as mc
from gallery.crowds import mixed, turned
from meshcell.phantoms import Macromolecule
from meshcell.phantoms.crowds import clearances, packing, statistics
from meshcell.phantoms.crowds.box import Scene
from meshcell.phantoms.crowds.standins import CYTOSOLIC, SHAPES, standin
from meshcell.phantoms.crowds.templates import template

NM = 1e-3


def test_stamped_voxels_are_those_of_the_interpolated_density():
    values, centre = standin("antibody", NM)
    unit = template(values, NM, 0.5, centre)
    scene = Scene.empty((40, 41, 42), (NM, NM, NM))
    room = clearances.rooms(scene, 0)
    this = packing.ready(scene, unit, species="a", label=1, reach=unit.core_radius)
    position, turn = np.array([20.3, 19.8, 21.1]) * NM, turned()
    assert packing.place(scene, room, this, position[None], turn[None], chain=1)[0] == 0
    grid = np.stack(np.meshgrid(*map(np.arange, scene.labels.shape), indexing="ij"), axis=-1) * NM - position
    local = grid @ Rotation.from_quat(turn, scalar_first=True).as_matrix() / NM + unit.centre
    # An odd voxel may lie on the level to rounding.
    reference = map_coordinates(unit.values, local.transpose(3, 0, 1, 2), order=1)
    assert ((reference >= 0.5) != (scene.labels > 0)).sum() <= 1
    np.testing.assert_allclose(scene.density, reference, atol=1e-6)


def chamfer_bounds(spacing):
    """Return the least and greatest chamfer length of a path over its straight length, on an endless lattice.

    In the cone of three neighbouring steps, a whole lattice cell's corner each, the chamfer distance is linear: as long
    as its gradient at most; at least as long as the shortest of all steps over its own straight length.
    """
    h = np.array(spacing)
    weights = clearances._weights(h) / clearances.QUANTA * h.min()
    ratios = [
        weights[tuple(np.array(step) + 1)] / np.linalg.norm(step * h) for step in np.ndindex(2, 2, 2) if any(step)
    ]
    gradients = []
    for order in itertools.permutations(np.eye(3, dtype=int)):
        steps = np.cumsum(order, axis=0)
        lengths = [weights[tuple(step + 1)] for step in steps]
        gradients.append(np.linalg.norm(np.linalg.solve(steps * h, lengths)))
    return min(ratios), max(gradients)


def test_rooms_of_cubes_are_up_to_15_percent_long():
    # Along (4, 2, 1) the path of length 4 + 2/2 + 1/4 is longest beside the straight one.
    np.testing.assert_allclose(chamfer_bounds((1, 1, 1)), [1, 5.25 / np.sqrt(21)])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.5, 2.0), (1.3, 1.0, 1.1)])
def test_room_is_the_distance_to_what_is_taken(spacing):
    rng = np.random.default_rng(0)
    scene = Scene.empty((30, 28, 26), spacing)
    scene.labels[tuple(rng.integers(0, 26, (3, 20)))] = 1
    room = clearances.rooms(scene, 0) / clearances.QUANTA
    exact = distance_transform_edt(np.pad(scene.labels == 0, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    least, most = chamfer_bounds(spacing)
    assert (room >= least * exact - 1e-9).all() and (room <= most * exact + 1e-9).all()


def test_room_shrinks_around_new_units():
    values, centre = standin("p97", NM)
    unit = template(values, NM, 0.5, centre)
    scene = Scene.empty((50, 50, 50), (NM, NM, NM))
    room = clearances.rooms(scene, 0)
    this = packing.ready(scene, unit, species="p97", label=1, reach=5 * NM)
    packing.fill(scene, room, this, voxels=5000, tries=100, rng=np.random.default_rng(0))
    exact = distance_transform_edt(np.pad(scene.labels == 0, 1))[1:-1, 1:-1, 1:-1]
    near = (exact > 0) & (exact <= 4)
    error = room[near] / clearances.QUANTA - exact[near]
    # The nearest voxel of the turned template is half a diagonal away at most, and of the eight around a voxel that
    # interpolates to the level one belongs to the unit, a diagonal away at most.
    assert error.max() <= 1.5 * np.sqrt(3)
    assert np.abs(error).mean() < 0.5


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.4, 2.3)])
def test_room_is_looked_up_in_the_turned_halo(spacing):
    rng, h = np.random.default_rng(0), np.array(spacing)
    halo = rng.integers(0, 255, (9, 12, 15)).astype(np.uint8)
    for seed in range(20):
        centre, step, p = np.array([4.2, 5.1, 7.3]), 0.9, rng.random(3) * [19, 17, 15] * h
        R = packing.rotation(turned(seed)) if seed else np.eye(3)
        room = rng.integers(0, 255, (20, 18, 16)).astype(np.uint8)
        expected = room.copy()
        for v in np.ndindex(room.shape):
            at = R.T @ (v * h - p) / step + centre + 0.5
            if ((at >= clearances.RIM) & (at <= np.array(halo.shape) - clearances.RIM)).all():
                expected[v] = min(room[v], halo[tuple(at.astype(int))])
        clearances.shrink(room, h, halo, centre, step, R, p)
        np.testing.assert_array_equal(room, expected)


def test_a_unit_below_the_voxel_size_is_refused():
    with pytest.raises(ValueError, match="smaller than a voxel"):
        mc.crowd((30, 30, 30), "50 nm", macromolecules=[Macromolecule("hsp70", 0.1)], rng=0)


def test_empty_room_is_the_distance_to_the_faces():
    scene = Scene.empty((9, 7, 5), (1.0, 1.0, 1.0))
    exact = distance_transform_edt(np.pad(np.ones((9, 7, 5)), 1))[1:-1, 1:-1, 1:-1]
    np.testing.assert_array_equal(clearances.rooms(scene, 0) / clearances.QUANTA, exact)


def test_units_never_overlap_and_every_voxel_is_someones():
    sample = mixed()
    counts = np.bincount(sample.instances.data.ravel(), minlength=len(sample.motifs) + 1)
    np.testing.assert_array_equal(counts[1:], sample.motifs["voxels"])
    assert counts[1:].sum() == np.count_nonzero(sample.labels.data)
    np.testing.assert_array_equal(sample.motifs["instance"], np.arange(1, len(sample.motifs) + 1))


def test_labels_of_voxels_are_those_of_their_units():
    sample = mixed()
    named = {name: label for label, name in sample.labels.names.items()}
    by_instance = np.array([0, *(named[str(name)] for name in sample.motifs["species"])])
    np.testing.assert_array_equal(by_instance[sample.instances.data], sample.labels.data)


def test_positions_lie_where_the_voxels_are():
    sample = mixed()
    rows = sample.motifs[sample.motifs["species"] == "haemoglobin"]
    where = np.argwhere(np.isin(sample.instances.data, rows["instance"]))
    owner = sample.instances.data[tuple(where.T)]
    for row in rows[:20]:
        middle = where[owner == row["instance"]].mean(axis=0) * NM
        assert np.linalg.norm(middle - row["position"]) < 0.5 * NM


def test_density_reaches_half_in_every_occupied_voxel_of_molecules():
    sample = mixed()
    assert sample.density.data[np.isin(sample.labels.data, [sample_label(sample, "ribosome")])].min() >= 0.5


def sample_label(sample, name):
    return next(label for label, known in sample.labels.names.items() if known == name)


def test_clearance_is_kept():
    crowded = mc.crowd(
        (60, 60, 50), "1 nm", macromolecules=[Macromolecule("haemoglobin", 0.1, clearance="2 nm")], rng=0
    )
    for instance in range(1, 20):
        distance = distance_transform_edt(crowded.instances.data != instance)
        others = (crowded.instances.data > 0) & (crowded.instances.data != instance)
        assert distance[others].min() > 2


def test_occupancy_is_overshot_by_less_than_a_unit():
    crowded = mc.crowd((80, 80, 60), "1 nm", macromolecules=[Macromolecule("p97", 0.1)], rng=0)
    voxels = crowded.motifs["voxels"]
    assert 0 <= voxels.sum() - 0.1 * crowded.labels.data.size < voxels.max()
    assert crowded.report[0].why == ""


def test_units_of_few_voxels_reach_their_occupancy():
    made = mc.crowd((60, 60, 60), "10 nm", macromolecules=[Macromolecule("proteasome", 0.1)], rng=0)
    assert made.report[0].reached >= 0.1 and made.report[0].why == ""


def test_rotations_are_uniform():
    crowded = mc.crowd((260, 260, 260), "2 nm", macromolecules=[Macromolecule("hsp70", 0.01)], rng=1)
    angles = statistics.rotation_angles(crowded.motifs["quaternion"])
    assert len(angles) > 5000
    assert abs(angles.mean() - 126.476) < 3 * angles.std() / np.sqrt(len(angles))
    # Directions of each axis cancel, each component having a deviation of 1/sqrt(3).
    axes = Rotation.from_quat(crowded.motifs["quaternion"], scalar_first=True).as_matrix()
    assert np.abs(axes.mean(axis=0)).max() < 4.5 / np.sqrt(3 * len(angles))


def test_dilute_molecules_are_a_random_pattern():
    crowded = mc.crowd((300, 300, 300), "2 nm", macromolecules=[Macromolecule("haemoglobin", 0.0005)], rng=2)
    # A random pattern seen through a window is one, too: away from the faces, where no molecule's middle can lie.
    inner, points = np.array([0.59] * 3), crowded.motifs["position"] - 0.004
    points = points[((points >= 0) & (points <= inner)).all(axis=1)]
    r = np.linspace(0.05, 0.25, 9)
    low, high = statistics.envelope(len(points), inner, r, runs=99, rng=0)
    curve = statistics.ripley(points, inner, r).L
    # Nine radii: a single excursion out of 99 runs' envelope is no evidence.
    assert ((curve < low) | (curve > high)).sum() <= 1


def test_clusters_are_seen_as_clusters():
    crowded = mc.crowd((200, 200, 150), "2 nm", macromolecules=[Macromolecule("hsp70", 0.004, cluster=(10, 20))], rng=0)
    points = crowded.motifs["position"]
    size, r = (0.4, 0.4, 0.3), [0.01, 0.02, 0.04]
    assert (statistics.envelope(len(points), size, r, rng=0)[1] < statistics.ripley(points, size, r).L).all()
    sizes = np.bincount(crowded.motifs["chain"])[1:]
    assert sizes.max() <= 20 and np.mean(sizes >= 10) > 0.8


def test_no_turn_of_a_unit_leaves_its_core():
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((20_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for name in SHAPES:
        unit = template(standin(name, NM)[0], NM, 0.5)
        radii = packing.SURE * unit.core_radius * np.cbrt(rng.random(len(directions)))
        at = (unit.core + radii[:, None] * directions) / NM + unit.centre
        assert map_coordinates(unit.values, at.T, order=1).min() >= 0.5, name


def test_cores_fit_where_every_voxel_near_is_free():
    rng = np.random.default_rng(0)
    h, labels = np.array([1.0, 1.5, 2.0]), (rng.random((20, 18, 16)) < 0.02).astype(np.uint16)
    grid = np.stack(np.meshgrid(*[np.arange(-4, n + 4) for n in labels.shape], indexing="ij"), axis=-1)
    taken = np.pad(labels > 0, 4, constant_values=True)
    found = []
    for place in rng.random((300, 3)) * labels.shape - 0.5:
        near = np.linalg.norm((grid - place) * h, axis=-1) <= 2.5
        found.append(packing.core_fits(labels, h, 0, *place, 2.5))
        assert found[-1] == (not taken[near].any())
    assert 30 < sum(found) < 270


def test_forty_percent_are_reached_as_a_matter_of_course():
    species = [Macromolecule(name, 0.02) for name in CYTOSOLIC]
    made = mc.crowd((200, 200, 120), "1 nm", macromolecules=species, rng=0)
    assert sum(made.occupancy.values()) >= 0.4 and not any(row.why for row in made.report)


def test_equal_balls_jam_where_others_found_it():
    made = mc.crowd((100, 100, 100), "1 nm", macromolecules=[Macromolecule("ferritin", 0.9)], tries=1000, rng=0)
    # Random sequential addition ends at 0.384 (Torquato 2006) after endless tries; the walls keep some out.
    assert 0.35 < made.occupancy["ferritin"] < 0.384
