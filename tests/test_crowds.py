"""Crowded phantoms: the promises of packing, membranes, filaments and clusters."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.spatial.transform import Rotation

import meshcell as mc
from crowd_things import mixed
from meshcell.phantoms import (
    Actin,
    Filament,
    Macromolecule,
    Microtubule,
    SphereMembrane,
    SurfaceMembrane,
    packing,
    rooms,
    shells,
    statistics,
)
from meshcell.phantoms.paths import smooth_path
from meshcell.phantoms.standins import SHAPES, standin
from meshcell.phantoms.worms import worm

NM = 1e-3


@pytest.fixture(scope="module")
def sample():
    return mixed()


# --- packing ---


def turned(seed=0):
    return Rotation.random(rng=np.random.default_rng(seed)).as_quat(canonical=True, scalar_first=True)


def test_stamped_voxels_are_those_of_the_interpolated_density():
    values, centre = standin("antibody", NM)
    unit = packing.template(values, NM, 0.5, centre)
    scene = packing.Scene.empty((40, 41, 42), (NM, NM, NM))
    room = rooms.rooms(scene, 0)
    this = packing.ready(scene, unit, species="a", label=1, reach=unit.core_radius)
    position, turn = np.array([20.3, 19.8, 21.1]) * NM, turned()
    assert packing.place(scene, room, this, position[None], turn[None], chain=1)[0] == 0
    grid = np.stack(np.meshgrid(*map(np.arange, scene.labels.shape), indexing="ij"), axis=-1) * NM - position
    local = grid @ Rotation.from_quat(turn, scalar_first=True).as_matrix() / NM + unit.centre
    # An odd voxel may lie on the level to rounding.
    reference = map_coordinates(unit.values, local.transpose(3, 0, 1, 2), order=1)
    assert ((reference >= 0.5) != (scene.labels > 0)).sum() <= 1
    np.testing.assert_allclose(scene.density, reference, atol=1e-6)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.5, 2.0)])
def test_room_is_the_distance_to_what_is_taken(spacing):
    rng = np.random.default_rng(0)
    scene = packing.Scene.empty((30, 28, 26), spacing)
    scene.labels[tuple(rng.integers(0, 26, (3, 20)))] = 1
    room = rooms.rooms(scene, 0) / rooms.QUANTA
    exact = distance_transform_edt(np.pad(scene.labels == 0, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    # Chamfer paths are at most an eighth longer than straight; steps are rounded to quarters, half of one each.
    steps = exact / min(spacing)
    assert (room >= exact - 0.125 * steps - 1e-9).all()
    assert (room <= 1.13 * exact + 0.125 * steps + 0.25).all()


def test_room_shrinks_around_new_units():
    values, centre = standin("p97", NM)
    unit = packing.template(values, NM, 0.5, centre)
    scene = packing.Scene.empty((50, 50, 50), (NM, NM, NM))
    room = rooms.rooms(scene, 0)
    this = packing.ready(scene, unit, species="p97", label=1, reach=5 * NM)
    packing.fill(scene, room, this, voxels=5000, tries=100, rng=np.random.default_rng(0))
    exact = distance_transform_edt(np.pad(scene.labels == 0, 1))[1:-1, 1:-1, 1:-1]
    near = (exact > 0) & (exact <= 4)
    # Looked up at the nearest voxel of a turned template: half a diagonal off at most, on either side.
    assert np.abs(room[near] / rooms.QUANTA - exact[near]).max() < 1.75
    assert np.abs(room[near] / rooms.QUANTA - exact[near]).mean() < 0.5


def test_maps_are_resampled_to_the_spacing(tmp_path):
    from meshcell.phantoms.density_maps import unit_template

    fine = mc.Volume(standin("ferritin", 0.5 * NM)[0], 0.5 * NM)
    mc.save(tmp_path / "ferritin.mrc", fine)
    for source in (fine, tmp_path / "ferritin.mrc"):
        unit = unit_template(source, NM, level=0.5)
        # A ball of six voxels' radius, counted by voxels: a sixth of a voxel in the radius is 8 % of the volume.
        assert unit.volume == pytest.approx(4 / 3 * np.pi * (6 * NM) ** 3, rel=0.08)


def test_a_unit_below_the_voxel_size_is_refused():
    with pytest.raises(ValueError, match="smaller than a voxel"):
        mc.crowd((30, 30, 30), "50 nm", macromolecules=[Macromolecule("hsp70", 0.1)], rng=0)


def test_empty_room_is_the_distance_to_the_faces():
    scene = packing.Scene.empty((9, 7, 5), (1.0, 1.0, 1.0))
    exact = distance_transform_edt(np.pad(np.ones((9, 7, 5)), 1))[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(rooms.rooms(scene, 0) / rooms.QUANTA, exact, atol=0.25)


def test_units_never_overlap_and_every_voxel_is_someones(sample):
    counts = np.bincount(sample.instances.data.ravel(), minlength=len(sample.motifs) + 1)
    np.testing.assert_array_equal(counts[1:], sample.motifs["voxels"])
    assert counts[1:].sum() == np.count_nonzero(sample.labels.data)
    np.testing.assert_array_equal(sample.motifs["instance"], np.arange(1, len(sample.motifs) + 1))


def test_labels_of_voxels_are_those_of_their_units(sample):
    named = {name: label for label, name in sample.labels.names.items()}
    by_instance = np.array([0, *(named[str(name)] for name in sample.motifs["species"])])
    np.testing.assert_array_equal(by_instance[sample.instances.data], sample.labels.data)


def test_positions_lie_where_the_voxels_are(sample):
    rows = sample.motifs[sample.motifs["species"] == "haemoglobin"]
    where = np.argwhere(np.isin(sample.instances.data, rows["instance"]))
    owner = sample.instances.data[tuple(where.T)]
    for row in rows[:20]:
        middle = where[owner == row["instance"]].mean(axis=0) * NM
        assert np.linalg.norm(middle - row["position"]) < 0.5 * NM


def test_density_reaches_half_in_every_occupied_voxel_of_molecules(sample):
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
    assert statistics.ripley(points, (0.4, 0.4, 0.3), [0.02, 0.04]).L.min() > 0.01
    sizes = np.bincount(crowded.motifs["chain"])[1:]
    assert sizes.max() <= 20 and np.mean(sizes >= 10) > 0.8


def test_all_stand_ins_have_the_volume_of_their_shape_at_two_steps():
    for name in SHAPES:
        fine, coarse = (float((standin(name, h)[0]).sum() * h**3) for h in (0.5 * NM, NM))
        # The edge of one voxel fills the seams between balls that touch.
        assert coarse == pytest.approx(fine, rel=0.04), name


# --- membranes ---


def test_membranes_have_two_layers_at_the_thickness():
    spacing = 0.5 * NM
    membrane = SphereMembrane("vesicle", 1e-4, radius=0.025, thickness=0.004, sigma=0.0001)
    made = mc.crowd((140, 140, 140), spacing, membranes=[membrane], rng=0)
    centre = made.motifs["position"][0] / spacing
    line = np.arange(0, 70, 0.1)
    directions = np.random.default_rng(0).standard_normal((200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    at = centre[:, None, None] + directions.T[:, :, None] * line
    profile = map_coordinates(made.density.data, at, order=1).mean(axis=0)
    inner, outer = line < 50, line >= 50
    peaks = line[inner][profile[inner].argmax()], line[outer][profile[outer].argmax()]
    # The peaks of averaged voxels are known to a tenth of the sampling step or so.
    assert (peaks[1] - peaks[0]) * spacing == pytest.approx(0.004, abs=0.3 * spacing)
    assert np.mean(peaks) * spacing == pytest.approx(0.025, abs=0.2 * spacing)


@pytest.mark.parametrize(
    ("shell", "volume"),
    [
        (shells.ellipsoid(np.array([30.0, 20, 15]), 1.0), 4 / 3 * np.pi * 30 * 20 * 15),
        (shells.torus(30.0, 10.0, 1.0), 2 * np.pi**2 * 30 * 100),
        (shells.tube(np.array([[0.0, 0, k] for k in range(41)]), 8.0, 1.0), np.pi * 64 * 40 + 4 / 3 * np.pi * 512),
        (
            shells.disc(20.0, 5.0, 3.0, 1.0),
            np.pi * 400 * 10 + np.pi**2 * 25 * 20 + 4 / 3 * np.pi * 125,
        ),
    ],
)
def test_mid_surfaces_are_closed_and_enclose_the_known_volume(shell, volume):
    sides = np.tile([1, 0], (len(shell.triangles), 1))
    surface = mc.Surface(shell.points, shell.triangles, sides, {1: "m"})
    assert mc.enclosed_volumes(surface)["m"] == pytest.approx(volume, rel=0.01)
    assert np.abs(surface.area_vectors.sum(axis=0)).max() < 1e-9 * surface.areas.sum()


@pytest.mark.parametrize(
    "shell",
    [
        shells.ellipsoid(np.array([14.0, 9, 6]), 0.5),
        shells.torus(12.0, 5.0, 0.5),
        shells.disc(9.0, 4.0, -2.0, 0.5),
        shells.tube(smooth_path([[0.0, 0, 0], [6, 0, 3], [12, 3, 3], [15, 8, 3]], 0.5), 4.0, 0.5),
    ],
)
def test_distances_agree_with_those_from_the_mid_surface(shell):
    R, centre = Rotation.from_rotvec([0.4, -0.3, 0.7]).as_matrix(), np.array([22.2, 20.9, 21.5])
    arguments = (R, centre, 2.5, np.ones(3), (44, 43, 42))
    field, first = shells.distances(shell, *arguments)
    mesh = shells.Shell("mesh", np.zeros(0), shell.points, shell.triangles)
    reference, start = shells.distances(mesh, *arguments)
    np.testing.assert_array_equal(first, start)
    near = (field < 2.2) & (reference < 2.5)
    assert near.sum() > 500 and ((field < 2.2) <= (reference < 2.5)).all()
    # Triangles of half a voxel.
    assert np.quantile(np.abs(field - reference)[near], 0.95) < 0.1


def test_curvature_of_a_sphere():
    unit, triangles = shells.icosphere(1.0, 0.1)
    surface = mc.Surface(2 * unit, triangles, np.tile([1, 0], (len(triangles), 1)), {1: "ball"})
    found = statistics.curvature(surface)
    np.testing.assert_allclose(found.mean, 0.5, rtol=0.02)
    np.testing.assert_allclose(np.median(found.gaussian), 0.25, rtol=0.05)
    np.testing.assert_allclose(found.normals, unit, atol=0.02)


def test_bound_molecules_stand_upright_on_their_membrane(sample):
    rows = sample.motifs[sample.motifs["species"] == "channel"]
    assert len(rows) and set(sample.motifs["species"][rows["host"] - 1]) == {"vesicle"}
    for row in rows:
        vesicle = sample.motifs[row["host"] - 1]
        outward = row["position"] - vesicle["position"]
        axis = Rotation.from_quat(row["quaternion"], scalar_first=True).apply([0, 0, 1])
        # Normals between those of the corners of triangles; two voxels long on a radius of 14 or more.
        assert axis @ outward / np.linalg.norm(outward) > np.cos(np.radians(1))


def test_molecules_near_membranes_keep_their_distance(sample):
    rows = sample.motifs[sample.motifs["species"] == "ferritin"]
    surfaces = np.concatenate([surface.points for surface in sample.surfaces.values()])
    assert statistics.nearest(rows["position"], surfaces).max() < 0.02 + 0.5 * NM


def test_a_users_surface_stays_where_it_is():
    ball = mc.smooth(mc.extract(mc.Volume(np.pad(np.ones((6, 6, 6), np.uint8), 3), "4 nm", names={1: "b"})))
    made = mc.crowd((60, 60, 60), "1 nm", membranes=[SurfaceMembrane("mine", surface=ball)], rng=0)
    found = next(iter(made.surfaces.values()))
    np.testing.assert_allclose(found.points, ball.points, atol=1e-12)
    where = np.argwhere(made.labels.data == 1) * NM
    assert statistics.nearest(ball.points, where).max() < NM


# --- filaments ---


def test_worms_forget_their_direction_over_the_persistence_length():
    rng = np.random.default_rng(0)
    p, step, n = 0.1, 0.005, 400
    lines = [worm(n, step, p, rng) for _ in range(400)]
    assert statistics.persistence(lines, most=0.15) == pytest.approx(p, rel=0.05)
    L = step * (n - 1)
    squares = np.array([((line[-1] - line[0]) ** 2).sum() for line in lines])
    expected = 2 * p * L * (1 - p / L * (1 - np.exp(-L / p)))
    assert squares.mean() == pytest.approx(expected, abs=3 * squares.std() / np.sqrt(len(lines)))


def test_grown_filaments_keep_the_persistence_length():
    thread = Filament("thread", 0.002, balls=((0, 0, 0, 0.004),), rise=0.006, persistence=0.15, length=1.0)
    made = mc.crowd((300, 300, 300), "4 nm", filaments=[thread], rng=3)
    # Filaments that end at the box are shorter, not straighter.
    assert statistics.persistence(made.centrelines.values(), most=0.15) == pytest.approx(0.15, rel=0.05)


@pytest.mark.parametrize("voxel", [0.5, 1.0, 1.3, 2.0])
def test_protofilaments_are_equal_at_any_voxel_size(voxel):
    tube = Microtubule("microtubule", 1.0, length=0.2, persistence=1e6, tries=1)
    shape = (int(100 / voxel),) * 3
    scene = packing.Scene.empty(shape, (voxel * NM,) * 3)
    from meshcell.phantoms import filaments

    course = filaments._course(tube, 0, np.random.default_rng(0))
    tangent = np.array([0.3, 0.5, 0.8]) / np.linalg.norm([0.3, 0.5, 0.8])
    across = np.cross(tangent, [1, 0, 0]) / np.linalg.norm(np.cross(tangent, [1, 0, 0]))
    start = np.full(3, 50 * NM) - 0.024 * tangent
    balls = np.stack([course.at(start + 0.004 * k * tangent, across, tangent)[0] for k in range(13)])
    filaments.stamp_balls(
        scene.labels, scene.instances, scene.density, scene.spacing, 0, 1, 1, balls, np.zeros(13, np.int64)
    )
    where = np.argwhere(scene.density > 0)
    weights = scene.density[tuple(where.T)]
    offset = where * voxel * NM - start
    along = offset @ tangent
    x, y = offset @ across, offset @ np.cross(tangent, across)
    middle = (along > 0) & (along < 0.048)
    sector = np.floor((np.arctan2(y, x) / (2 * np.pi) * 13 + 0.5) % 13).astype(int)
    masses = np.bincount(sector[middle], weights[middle], minlength=13)
    # Thirteen are there, and the coarsest voxels, 2.4 to a protofilament's width, leave a few percent.
    assert len(masses) == 13 and masses.std() / masses.mean() < 0.05
    radius = np.hypot(x, y)[(weights >= 0.5)]
    assert radius.max() == pytest.approx(0.0125, abs=0.75 * voxel * NM)


def test_branches_have_the_asked_share():
    made = mc.crowd(
        (250, 250, 100), "2 nm", filaments=[Actin("actin", 0.02, branching=0.3, length=(0.03, 0.06))], rng=1
    )
    branched, n = statistics.branching(made, "actin")
    # The first cannot be a branch.
    assert n > 150
    assert abs(branched - 0.3 * (n - 1)) < 3 * np.sqrt(0.3 * 0.7 * (n - 1))


def test_branches_start_on_their_mother(sample):
    rows = sample.motifs[(sample.motifs["species"] == "actin") & (sample.motifs["host"] > 0)]
    assert len(rows)
    mothers = sample.motifs[rows["host"] - 1]
    assert set(mothers["species"]) == {"actin"} and (mothers["chain"] != rows["chain"]).all()
    assert np.linalg.norm(mothers["position"] - rows["position"], axis=1).max() < 6 * NM


def test_bundles_run_parallel(sample):
    lines = [line for name, line in sample.centrelines.items() if name.startswith("bundle")]
    for a, b in zip(lines[0::3], lines[1::3], strict=True):
        apart = np.linalg.norm(a - b, axis=1)
        np.testing.assert_allclose(apart, 0.009, rtol=0.01)
