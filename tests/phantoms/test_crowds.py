"""Crowded phantoms: the promises of membranes, filaments and clusters."""

import itertools

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

import meshcell as mc
from gallery.crowds import FILAMENTS, mixed
from meshcell.phantoms import (
    Actin,
    Cluster,
    EllipsoidMembrane,
    Filament,
    Macromolecule,
    Microtubule,
    SheetStack,
    SphereMembrane,
    SurfaceMembrane,
    TubeMembrane,
)
from meshcell.phantoms.crowds import membrane_shapes, statistics
from meshcell.phantoms.crowds.box import Scene
from meshcell.phantoms.crowds.density_maps import unit_template
from meshcell.phantoms.crowds.wormlike_chains import worm
from meshcell.phantoms.curves import smooth_path

NM = 1e-3


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
        (membrane_shapes.ellipsoid(np.array([30.0, 20, 15]), 1.0), 4 / 3 * np.pi * 30 * 20 * 15),
        (membrane_shapes.torus(30.0, 10.0, 1.0), 2 * np.pi**2 * 30 * 100),
        (
            membrane_shapes.tube(np.array([[0.0, 0, k] for k in range(41)]), 8.0, 1.0),
            np.pi * 64 * 40 + 4 / 3 * np.pi * 512,
        ),
        (
            membrane_shapes.disc(20.0, 5.0, 3.0, 1.0),
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
        membrane_shapes.ellipsoid(np.array([14.0, 9, 6]), 0.5),
        membrane_shapes.torus(12.0, 5.0, 0.5),
        membrane_shapes.disc(9.0, 4.0, -2.0, 0.5),
        membrane_shapes.tube(smooth_path([[0.0, 0, 0], [6, 0, 3], [12, 3, 3], [15, 8, 3]], 0.5), 4.0, 0.5),
    ],
)
def test_distances_agree_with_those_from_the_mid_surface(shell):
    R, centre = Rotation.from_rotvec([0.4, -0.3, 0.7]).as_matrix(), np.array([22.2, 20.9, 21.5])
    arguments = (R, centre, 2.5, np.ones(3), (44, 43, 42))
    field, first = membrane_shapes.distances(shell, *arguments)
    mesh = membrane_shapes.Shell("mesh", np.zeros(0), shell.points, shell.triangles)
    reference, start = membrane_shapes.distances(mesh, *arguments)
    np.testing.assert_array_equal(first, start)
    near = (field < 2.2) & (reference < 2.5)
    assert near.sum() > 500 and ((field < 2.2) <= (reference < 2.5)).all()
    # Triangles of half a voxel.
    assert np.quantile(np.abs(field - reference)[near], 0.95) < 0.1


def test_distances_from_triangles_agree_with_their_points():
    rng = np.random.default_rng(0)
    a, b = np.meshgrid(np.linspace(0, 1, 101), np.linspace(0, 1, 101))
    inside = a + b <= 1 + 1e-12
    for _ in range(200):
        u, v, p = rng.standard_normal((3, 3))
        points = a[inside][:, None] * u + b[inside][:, None] * v
        sampled = np.linalg.norm(points - p, axis=1).min()
        # Half a cell of the sampling away at most, on the far side.
        slack = (np.linalg.norm(u) + np.linalg.norm(v)) / 200
        assert -1e-12 <= sampled - membrane_shapes.triangle_distance(*p, u, v) <= slack


def test_curvature_of_a_sphere():
    unit, triangles = membrane_shapes.icosphere(1.0, 0.1)
    surface = mc.Surface(2 * unit, triangles, np.tile([1, 0], (len(triangles), 1)), {1: "ball"})
    found = statistics.curvature(surface)
    np.testing.assert_allclose(found.mean, 0.5, rtol=0.02)
    np.testing.assert_allclose(np.median(found.gaussian), 0.25, rtol=0.05)
    np.testing.assert_allclose(found.normals, unit, atol=1e-12)


def test_harmonic_membranes_have_the_asked_roughness():
    rng, steps, found = np.random.default_rng(0), 40, []
    for _ in range(steps):
        radii = np.linalg.norm(membrane_shapes.harmonic(0.05, 0.1, 6, 0.004, rng).points, axis=1)
        found.append(radii.std() / 0.05)
    # Scaled by the sum over waves that are orthogonal on the sphere; on its 2,562 points nearly.
    np.testing.assert_allclose(found, 0.1, rtol=0.03)
    assert membrane_shapes.harmonic(0.05, 0.0, 6, 0.004, rng).points.std(axis=0).max() < 0.05


def test_ellipsoids_keep_to_their_eccentricity():
    membrane = EllipsoidMembrane("m", 0.1, radius=(0.01, 0.05), eccentricity=0.7)
    rng = np.random.default_rng(0)
    for _ in range(50):
        radii = membrane.shape(rng, 0.002)[0].parameters
        assert np.sqrt(1 - (radii.min() / radii.max()) ** 2) <= 0.7


def test_stacks_lie_one_above_the_other_without_touching():
    stack = SheetStack("m", 0.1, sheets=4, radius=0.03, lumen=0.01, gap=0.006).shape(np.random.default_rng(0), 0.002)
    spans = [(part.points[:, 2].min(), part.points[:, 2].max()) for part in stack]
    np.testing.assert_allclose([high - low for low, high in spans], 0.01, atol=1e-12)
    np.testing.assert_allclose([b[0] - a[1] for a, b in itertools.pairwise(spans)], 0.006, atol=1e-12)


def test_tubes_keep_their_radius_along_the_axis():
    tube = TubeMembrane("m", 0.1, length=0.2, radius=0.012, persistence=1.0).shape(np.random.default_rng(0), 0.001)[0]
    path = tube.parameters[1:].reshape(-1, 3)
    ends = np.linalg.norm(path[[0, -1]][:, None] - tube.points, axis=-1).min(axis=0) < 0.02
    apart = statistics.nearest(tube.points[~ends], smooth_path(path, 1e-4))
    np.testing.assert_allclose(apart, 0.012, rtol=0.01)


def test_mixed_clusters_sit_on_their_membrane():
    members = (Macromolecule("spike", 3.0 / 4), Macromolecule("channel", 1.0 / 4))
    made = mc.crowd(
        (140, 140, 140), "1 nm", membranes=[SphereMembrane("vesicle", 0.05, radius=0.04)],
        macromolecules=[Cluster("raft", 0.3, members, cluster=(4, 8), membrane="vesicle")], rng=0,
    )  # fmt: skip
    rows = made.motifs[made.motifs["species"] != "vesicle"]
    assert set(made.motifs["species"][rows["host"] - 1]) == {"vesicle"}
    sizes = np.bincount(rows["chain"])
    assert sizes.max() <= 8 and np.mean(sizes[sizes > 0]) > 2
    mixed_chains = [
        chain for chain in np.unique(rows["chain"]) if len(set(rows["species"][rows["chain"] == chain])) == 2
    ]
    assert mixed_chains
    # Three to one, weights of the draw; those that do not fit may shift it by as much as chance.
    n, spikes = len(rows), (rows["species"] == "spike").sum()
    assert n > 50 and abs(spikes - 0.75 * n) < 4 * np.sqrt(n * 3 / 16)


def test_bound_molecules_fill_the_asked_share_of_the_area():
    made = mc.crowd(
        (120, 120, 120), "1 nm", membranes=[SphereMembrane("vesicle", 1e-6, radius=0.045)],
        macromolecules=[Macromolecule("channel", 0.25, membrane="vesicle")], rng=0,
    )  # fmt: skip
    shadow = unit_template("channel", NM).shadow
    share = (made.motifs["species"] == "channel").sum() * shadow / (4 * np.pi * 0.045**2)
    # The last one may stand beyond the target; the area of the triangles is half a percent less than the sphere's.
    assert 0.245 <= share < 0.25 + 1.01 * shadow / (4 * np.pi * 0.045**2)
    assert made.report[1].reached == pytest.approx(share, rel=0.01)


def test_bound_molecules_stand_upright_on_their_membrane():
    sample = mixed()
    rows = sample.motifs[sample.motifs["species"] == "channel"]
    assert len(rows) and set(sample.motifs["species"][rows["host"] - 1]) == {"vesicle"}
    for row in rows:
        vesicle = sample.motifs[row["host"] - 1]
        outward = row["position"] - vesicle["position"]
        axis = Rotation.from_quat(row["quaternion"], scalar_first=True).apply([0, 0, 1])
        # Normals at the corners are exact on spheres, and those between them point from the middle, too.
        np.testing.assert_allclose(outward / np.linalg.norm(outward), axis, atol=1e-9)


def test_molecules_near_membranes_keep_their_distance():
    sample = mixed()
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


@pytest.mark.parametrize("voxel", [0.5, 0.8, 1.0, 1.3, 2.0])
def test_protofilaments_are_equal_at_any_voxel_size(voxel):
    tube = Microtubule("microtubule", 1.0, length=0.2, persistence=1e6, tries=1)
    shape = (int(100 / voxel),) * 3
    scene = Scene.empty(shape, (voxel * NM,) * 3)
    from meshcell.phantoms.crowds import filaments

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


@pytest.mark.parametrize("name", ["microtubule", "actin", "bundle"])
def test_filaments_avoid_all_that_was_there_before(name):
    sample = mixed()
    filament = next(filament for filament in FILAMENTS if filament.name == name)
    chains, starts = sample.motifs["chain"], sample.motifs["host"] > 0
    mothers = {int(row["chain"]): int(chains[row["host"] - 1]) for row in sample.motifs[starts]}
    rows = sample.motifs[sample.motifs["species"] == name]
    assert len(rows) > 20
    for row in rows:
        R = Rotation.from_quat(row["quaternion"], scalar_first=True).as_matrix()
        for x, y, z, radius in filament.unit():
            centre = (row["position"] + R @ [x, y, z]) / NM
            low = np.floor(centre - radius / NM).astype(int)
            near = low + np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
            near = near[np.linalg.norm(near - centre, axis=1) <= radius / NM - 1e-9]
            owners = sample.instances.data[tuple(near.T)]
            # Its own chain's, or at a joint its mother's or a daughter's.
            own = int(row["chain"])
            kin = {own, mothers.get(own, own)} | {child for child, mother in mothers.items() if mother == own}
            assert set(chains[owners - 1]) <= kin and owners.min() > 0


def test_branches_have_the_asked_share():
    filament, branched, n = Actin("actin", 0.02, branching=0.3, length=(0.03, 0.06)), 0, 0
    for seed in range(8):
        found = statistics.branching(mc.crowd((120, 120, 100), "2 nm", filaments=[filament], rng=seed), "actin")
        branched, n = branched + found[0], n + found[1]
    # The first of each sample cannot be a branch.
    n -= 8
    assert n > 1500
    assert abs(branched - 0.3 * n) < 3 * np.sqrt(0.3 * 0.7 * n)


def test_branches_start_on_their_mother():
    sample = mixed()
    rows = sample.motifs[(sample.motifs["species"] == "actin") & (sample.motifs["host"] > 0)]
    assert len(rows)
    mothers = sample.motifs[rows["host"] - 1]
    assert set(mothers["species"]) == {"actin"} and (mothers["chain"] != rows["chain"]).all()
    assert np.linalg.norm(mothers["position"] - rows["position"], axis=1).max() < 6 * NM


def test_bundles_run_parallel():
    sample = mixed()
    lines = [line for name, line in sample.centrelines.items() if name.startswith("bundle")]
    for a, b in zip(lines[0::3], lines[1::3], strict=True):
        apart = np.linalg.norm(a - b, axis=1)
        np.testing.assert_allclose(apart, 0.009, rtol=0.01)
