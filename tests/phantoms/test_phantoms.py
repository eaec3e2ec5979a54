"""Phantoms: distances against their definitions, and the promises that drawn cells keep."""

import itertools
import logging
import re

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import brentq
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from skimage.measure import euler_number

from meshcell.phantoms import cell, signed_distances as sdf, spine, warps
from meshcell.phantoms.signed_distances import Grid

WARP = warps.waves(5, 0.9, 0.012, rng=np.random.default_rng(5))
TURN = Rotation.from_rotvec([0.3, -0.5, 0.8]).as_matrix()
PRIMITIVES = {
    "ball": sdf.ball((0.1, 0, -0.1), 0.4),
    "capsule": sdf.cone((-0.3, 0, 0), (0.4, 0.2, 0.1), 0.2, 0.2),
    "cone": sdf.cone((-0.3, 0, 0), (0.4, 0.2, 0.1), 0.35, 0.1),
    "ball in ball": sdf.cone((-0.1, 0, 0), (0.1, 0, 0), 0.45, 0.1),
    "ellipsoid": sdf.ellipsoid((0, 0.1, 0), (0.7, 0.4, 0.25), TURN),
    "superellipsoid": sdf.superellipsoid((0, 0, 0.1), (0.7, 0.5, 0.4), 4.0),
    "cap": sdf.cap((0, 0, -0.8), (0.1, 0, 1), 0.9, 0.6, 0.12),
}
SHAPES = {
    **PRIMITIVES,
    "tube": sdf.tube([[-0.5, 0, 0], [0, 0.3, 0], [0.5, 0, 0.2]], [0.1, 0.2, 0.15]),
    "rounded union": sdf.union(*PRIMITIVES.values(), blend=0.15),
    "grown": sdf.grown(PRIMITIVES["ellipsoid"], 0.1),
}


def centres(grid):
    axes = [o + h * np.arange(n) for n, h, o in zip(grid.shape, grid.spacing, grid.origin, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def points(n, seed=0, half=1.0):
    return np.random.default_rng(seed).uniform(-half, half, (n, 3))


def nearest(places, to):
    return cKDTree(places).query(to)[0]


def components(mask):
    return ndimage.label(mask)[1]


def gaps(volume, label, touching=1):
    """Least distance in um from a label's voxels to those of any other region but `touching`."""
    own = volume.data == label
    apart = ndimage.distance_transform_edt(own | (volume.data == touching), sampling=volume.spacing)
    return apart[own].min()


# --- distances ---


def test_round_cone_is_the_nearest_of_its_balls():
    share = np.linspace(0, 1, 4001)[:, None]
    to = points(300)
    for name, (a, b, ra, rb) in {
        "cone": ((-0.3, 0, 0), (0.4, 0.2, 0.1), 0.35, 0.1),
        "ball in ball": ((-0.1, 0, 0), (0.1, 0, 0), 0.45, 0.1),
    }.items():
        balls = np.array(a) + share * (np.array(b) - np.array(a))
        radii = ra + share[:, 0] * (rb - ra)
        expected = (np.linalg.norm(to[:, None] - balls, axis=2) - radii).min(axis=1)
        # Samples lie 2e-4 apart and the minimum is flat; where a point lies on the axis it is a kink of that width.
        np.testing.assert_allclose(sdf.distance(PRIMITIVES[name], to), expected, atol=2e-4)


def test_ellipsoid_is_as_far_as_the_nearest_point_of_its_surface():
    u, v = np.meshgrid(np.linspace(0, np.pi, 400), np.linspace(0, 2 * np.pi, 800))
    sphere = np.stack([np.sin(u) * np.cos(v), np.sin(u) * np.sin(v), np.cos(u)], axis=-1).reshape(-1, 3)
    surface = (sphere * (0.7, 0.4, 0.25)) @ TURN.T + (0, 0.1, 0)
    # The centre and points on the axes, where the equation for the foot point degenerates, belong to the test.
    special = np.concatenate([np.zeros((1, 3)), 0.2 * TURN.T, 0.9 * TURN.T])
    to = np.concatenate([points(80), np.add(special, (0, 0.1, 0))])
    inside = np.linalg.norm(((to - (0, 0.1, 0)) @ TURN) / (0.7, 0.4, 0.25), axis=1) < 1
    expected = nearest(surface, to) * np.where(inside, -1, 1)
    # Half a mesh of the samples, 3e-3, enters squared over twice the distance; near the surface it enters as it is.
    np.testing.assert_allclose(sdf.distance(PRIMITIVES["ellipsoid"], to), expected, atol=3e-3)


def test_ellipsoid_distance_is_exact_along_normals():
    rng = np.random.default_rng(3)
    radii = np.array([0.7, 0.4, 0.25])
    sphere = rng.normal(size=(500, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    normal = sphere / radii
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    # Inwards only up to the least radius of curvature, c^2 / a, beyond which other points of the surface are nearer.
    height = rng.uniform(-0.9 * radii[2] ** 2 / radii[0], 1.0, (500, 1))
    shape = sdf.ellipsoid((0, 0, 0), radii)
    np.testing.assert_allclose(sdf.distance(shape, sphere * radii + height * normal), height[:, 0], atol=1e-12)


def test_cap_is_as_far_as_the_nearest_point_of_its_middle():
    shape = sdf.cap((0, 0, -0.8), (0, 0, 1), 0.9, 0.6, 0.12)
    angle, turn = np.meshgrid(np.linspace(0, 0.6, 300), np.linspace(0, 2 * np.pi, 600))
    middle = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)], axis=-1)
    to = points(200)
    expected = nearest(0.9 * middle.reshape(-1, 3) - (0, 0, 0.8), to) - 0.06
    # The samples lie at most 5e-3 apart.
    np.testing.assert_allclose(sdf.distance(shape, to), expected, atol=3e-3)


def test_superellipsoid_is_its_norm():
    to = points(500)
    norm = (np.abs((to - (0, 0, 0.1)) / (0.7, 0.5, 0.4)) ** 4).sum(axis=1) ** 0.25
    np.testing.assert_allclose(sdf.distance(PRIMITIVES["superellipsoid"], to), 0.4 * (norm - 1), atol=1e-14)
    assert sdf.distance(PRIMITIVES["superellipsoid"], [(0, 0, 0.1)])[0] == -0.4


def test_rounded_union_solves_its_equation_in_any_order():
    to, blend = points(300), 0.15
    single = np.array([sdf.distance(shape, to) for shape in PRIMITIVES.values()])
    least = single.min(axis=0)
    expected = [
        brentq(lambda s, d=d: (np.maximum(0, s - d) ** 2).sum() - blend**2, low, low + 1.001 * blend, xtol=1e-14)
        - blend
        for d, low in zip(single.T, least, strict=True)
    ]
    np.testing.assert_allclose(sdf.distance(SHAPES["rounded union"], to), expected, atol=1e-12)
    turned = sdf.union(*reversed(PRIMITIVES.values()), blend=blend)
    np.testing.assert_allclose(sdf.distance(turned, to), expected, atol=1e-12)
    np.testing.assert_array_equal(sdf.distance(sdf.union(*PRIMITIVES.values()), to), least)


def test_strain_is_the_greatest_norm_of_the_gradient():
    k, a = WARP.waves[:, :3], WARP.waves[:, 4:]
    signs = np.array(list(itertools.product([1.0, -1.0], repeat=len(k))))
    gradients = np.einsum("sm,mi,mj->sij", signs, a, k)
    assert WARP.strain == pytest.approx(np.linalg.norm(gradients, ord=2, axis=(1, 2)).max(), rel=1e-12)


def test_warp_looks_up_the_displaced_point():
    to = points(300)
    phases = to @ WARP.waves[:, :3].T + WARP.waves[:, 3]
    displaced = to + np.sin(phases) @ WARP.waves[:, 4:]
    assert np.linalg.norm(displaced - to, axis=1).max() <= WARP.reach
    for shape in SHAPES.values():
        expected = sdf.distance(shape, displaced) / (1 + WARP.strain)
        np.testing.assert_allclose(sdf.distance(shape, to, WARP), expected, atol=1e-13)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("warp", [warps.STRAIGHT, WARP], ids=["straight", "warped"])
def test_distances_are_lipschitz(name, warp):
    first = points(4000)
    # Short and long ways, so that both the slope and the kinks are met.
    way = np.random.default_rng(1).normal(size=first.shape) * np.geomspace(1e-4, 0.5, len(first))[:, None]
    change = np.abs(sdf.distance(SHAPES[name], first + way, warp) - sdf.distance(SHAPES[name], first, warp))
    assert (change / np.linalg.norm(way, axis=1)).max() <= 1 + 1e-9


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("warp", [warps.STRAIGHT, WARP], ids=["straight", "warped"])
def test_blocks_decide_as_every_voxel_would(name, warp):
    grid = Grid((41, 50, 37), (0.05, 0.04, 0.06), (-1.02, -0.97, -1.1))
    expected = sdf.distance(SHAPES[name], centres(grid), warp).reshape(grid.shape) < 0
    assert expected.any() and not expected.all()
    np.testing.assert_array_equal(sdf.inside(SHAPES[name], grid, warp), expected)


@pytest.mark.parametrize(
    ("shape", "volume"),
    [
        (sdf.ball((0.03, 0, 0), 0.8), 4 / 3 * np.pi * 0.8**3),
        (sdf.tube([[-0.5, 0, 0], [0.5, 0.1, 0]], 0.3), np.pi * 0.3**2 * np.hypot(1, 0.1) + 4 / 3 * np.pi * 0.3**3),
        (sdf.ellipsoid((0, 0, 0), (0.9, 0.5, 0.3), TURN), 4 / 3 * np.pi * 0.9 * 0.5 * 0.3),
        (sdf.superellipsoid((0, 0, 0), (0.9, 0.5, 0.3), 2.0), 4 / 3 * np.pi * 0.9 * 0.5 * 0.3),
        # Shell of the cone, and the half torus of the rim by Pappus' rule.
        (
            sdf.cap((0, 0, -0.8), (0.2, 0, 1), 1.0, 0.7, 0.2),
            2 * np.pi / 3 * (1 - np.cos(0.7)) * (1.1**3 - 0.9**3)
            + 2 * np.pi * (np.sin(0.7) + 0.4 / (3 * np.pi) * np.cos(0.7)) * np.pi * 0.1**2 / 2,
        ),
    ],
    ids=["ball", "capsule", "ellipsoid", "superellipsoid", "cap"],
)
def test_volumes_are_the_analytic_ones(shape, volume):
    grid = Grid((103, 101, 127), (0.02, 0.02, 0.016), (-1.02, -1.0, -1.008))
    measured = sdf.inside(shape, grid).sum() * np.prod(grid.spacing)
    # Voxels at the surface, about 1 in 10, are right or wrong by chance: 1 / sqrt(1e4 of them) of a tenth.
    assert measured == pytest.approx(volume, rel=3e-3)


def test_bounding_box_holds_the_warped_shape_closely():
    for shape in SHAPES.values():
        low, high = sdf.bounding_box(shape, 0.02, WARP)
        grid = Grid((101, 101, 101), (0.025,) * 3, (-1.25,) * 3)
        found = centres(grid)[sdf.inside(shape, grid, WARP).ravel()]
        assert (found > low).all() and (found < high).all()
        # About two steps of the box, stretched by the warp, and one of the grid.
        assert max((found.min(axis=0) - low).max(), (high - found.max(axis=0)).max()) < 0.025 + 3 * 0.02 * 1.5


def test_a_warp_that_might_fold_space_is_refused():
    with pytest.raises(ValueError, match=r"less than 1; got .*smaller amplitude"):
        warps.waves(8, 0.1, 0.1, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least 2"):
        sdf.superellipsoid((0, 0, 0), (1, 1, 1), 1.5)


# --- the spine ---


@pytest.fixture(scope="module")
def spine_10nm():
    return spine("10 nm", rng=4)


def test_spine_has_its_regions_in_one_piece_each(spine_10nm):
    assert spine_10nm.regions == {1: "cytosol", 2: "er", 3: "mitochondrion", 4: "psd"}
    assert [components(spine_10nm.data == label) for label in range(5)] == [1] * 5
    # Solid bodies of genus 0 have Euler characteristic 1.
    assert euler_number(spine_10nm.data > 0, connectivity=1) == 1
    assert euler_number(spine_10nm.data == 3, connectivity=1) == 1


@pytest.mark.parametrize(("cisternae", "links"), [(3, 2), (2, 3), (1, 2), (0, 1)])
def test_genus_of_the_er_follows_from_its_links(cisternae, links):
    data = spine(0.01, rng=7, cisternae=cisternae, links=links).data
    assert components(data == 2) == 1
    assert euler_number(data == 2, connectivity=1) == 1 - max(cisternae - 1, 0) * (links - 1)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_spine_keeps_its_gaps(seed):
    volume = spine(0.015, rng=seed, gap=0.03)
    assert gaps(volume, 2) >= 0.03 and gaps(volume, 3) >= 0.03
    inner = np.argwhere(volume.data)
    assert inner.min() >= 2 and (np.array(volume.data.shape) - 1 - inner.max(axis=0)).min() >= 2


def test_density_lies_between_the_membrane_and_the_cytosol(spine_10nm):
    data = spine_10nm.data
    density = data == 4
    around = data[ndimage.binary_dilation(density) & ~density]
    assert set(np.unique(around)) == {0, 1}
    faces = [(around == label).sum() for label in (0, 1)]
    # A thin disc has two faces of about the same size; the rim belongs to the inner one.
    assert 0.6 < faces[0] / faces[1] < 1
    depth = ndimage.distance_transform_edt(data > 0, sampling=spine_10nm.spacing)[density]
    # One voxel more than the thickness, times what the warp stretches.
    assert depth.max() < 1.5 * (0.04 + 0.01) and depth.min() <= 0.01
    assert spine_10nm.counts[4] * 1e-6 == pytest.approx(np.pi * 0.18**2 * 0.04, rel=0.3)


@pytest.mark.parametrize("seed", [1, 4])
def test_spine_is_the_same_body_at_every_spacing(seed):
    fine, coarse = (spine(step, rng=seed) for step in (0.01, 0.02))
    for label in fine.regions:
        # The ER is two voxels thick at 20 nm: about 1500 voxels, most at its surface, so 2 % is chance.
        assert coarse.counts[label] * 8 == pytest.approx(fine.counts[label], rel=0.025)
        middles = [np.array(v.origin) + v.spacing * np.argwhere(v.data == label).mean(axis=0) for v in (fine, coarse)]
        # A tenth of a coarse voxel.
        np.testing.assert_allclose(*middles, atol=0.004)


def test_anisotropic_spine_is_the_same_body(spine_10nm):
    flat = spine(("10 nm", "10 nm", "30 nm"), rng=4)
    assert flat.spacing == (0.01, 0.01, 0.03)
    for label in (1, 3, 4):
        assert flat.counts[label] * 3 == pytest.approx(spine_10nm.counts[label], rel=0.03)


def test_boxes_are_centred_at_zero(spine_10nm):
    for volume in (spine_10nm, cell((60, 62, 65), (0.05, 0.05, 0.045), rng=0)):
        far = np.array(volume.origin) + (np.array(volume.data.shape) - 1) * volume.spacing
        np.testing.assert_allclose(far, -np.array(volume.origin), atol=1e-12)


@pytest.mark.parametrize("draw", [lambda rng: spine(0.03, rng=rng), lambda rng: cell((60,) * 3, 0.05, rng=rng)])
def test_same_seed_same_bytes(draw):
    first = draw(11)
    assert draw(11).data.tobytes() == first.data.tobytes()
    assert draw(np.random.default_rng(11)).data.tobytes() == first.data.tobytes()
    assert draw(12).data.tobytes() != first.data.tobytes()


def test_sizes_of_a_spine_may_carry_units():
    small = spine("20 nm", rng=2, head="500 nm", neck="120 nm", shaft="0.5 um", cisternae=2)
    assert small.data.tobytes() == spine(0.02, rng=2, head=0.5, neck=0.12, shaft=0.5, cisternae=2).data.tobytes()
    assert sum(small.counts[k] for k in range(1, 5)) < sum(spine(0.02, rng=2).counts[k] for k in range(1, 5))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"spacing": None}, "spacing should be the voxel size in um"),
        ({"head": 0.25}, r"3 cisternae of 0\.04 um do not fit into a head of 0\.25 um.*fewer cisternae"),
        ({"head": -1}, "head should be a positive length in um; got -1"),
        ({"gap": "3 s"}, "gap should be in um"),
        ({"neck": 0.7}, "neck should be thinner than head and shaft; got 0.7"),
        ({"neck": 0.08}, r"the ER should pass the neck with 0\.025 um of cytosol.*widen neck"),
        ({"shaft_length": 0.5}, "shaft_length should be at least 1.2 times shaft"),
        ({"gap": 0.07, "cisternae": 0, "neck": 0.35, "shaft": 0.36}, "widen shaft"),
        ({"cisternae": -1}, "cisternae should be at least 0"),
        ({"spacing": 0.3}, r"spacing should resolve every region; at 0\.3 um per voxel .*got lost"),
    ],
)
def test_impossible_spines_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        spine(**{"spacing": 0.02, "rng": 0, **options})


@pytest.mark.parametrize("rng", [None, -1, 1.5, "7"])
def test_a_seed_is_required(rng):
    with pytest.raises(TypeError, match="rng should be a seed"):
        spine(0.03, rng=rng)
    with pytest.raises(TypeError, match="rng should be a seed"):
        cell((60,) * 3, 0.05, rng=rng)


# --- the cell ---

REGIONS = {1: "cytosol", 2: "er", 3: "mitochondrion", 4: "nucleus", 5: "vesicle"}


@pytest.fixture(scope="module")
def cell_25nm():
    return cell((120, 120, 120), "25 nm", rng=1, gap=0.1)


def test_cell_has_its_regions(cell_25nm):
    assert cell_25nm.data.shape == (120, 120, 120)
    assert cell_25nm.regions == REGIONS
    pieces = {label: components(cell_25nm.data == label) for label in range(6)}
    # Nucleus, ER network, cytosol and outside are one body each; eight mitochondria and the vesicles stand alone.
    assert pieces == {0: 1, 1: 1, 2: 1, 3: 8, 4: 1, 5: pieces[5]} and 30 <= pieces[5] <= 40
    assert euler_number(cell_25nm.data > 0, connectivity=1) == 1
    assert euler_number(cell_25nm.data == 3, connectivity=1) == 8
    assert euler_number(cell_25nm.data == 5, connectivity=1) == pieces[5]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("box", [((75, 75, 75), (0.04, 0.04, 0.04)), ((90, 110, 60), (0.04, 0.04, 0.05))])
def test_every_structure_keeps_the_gap(seed, box):
    volume = cell(*box, rng=seed, gap=0.1)
    assert volume.regions == REGIONS
    for label in (2, 3, 4, 5):
        assert gaps(volume, label) >= 0.1
    # Structures of one kind keep it among themselves too.
    for label in (3, 5):
        pieces, n = ndimage.label(volume.data == label)
        apart = [ndimage.distance_transform_edt(pieces != k, sampling=volume.spacing) for k in range(1, min(n, 3))]
        assert min(a[(pieces > 0) & (pieces != k)].min() for k, a in enumerate(apart, 1)) >= 0.1
    inner = np.argwhere(volume.data) * volume.spacing
    room = np.array(volume.data.shape) * volume.spacing - inner.max(axis=0) - volume.spacing
    assert min(inner.min(), room.min()) >= 0.1 - 1e-9


def test_cell_is_the_same_body_at_every_spacing(cell_25nm):
    coarse = cell((60, 60, 60), 0.05, rng=1, gap=0.1)
    for label in (1, 3, 4):
        assert coarse.counts[label] * 8 == pytest.approx(cell_25nm.counts[label], rel=0.02)
    # ER and vesicles are under two and three voxels thick here: their few voxels leave 5 % to chance.
    for label in (2, 5):
        assert coarse.counts[label] * 8 == pytest.approx(cell_25nm.counts[label], rel=0.05)


def test_what_finds_no_room_is_counted_and_labels_stay(caplog):
    with caplog.at_level(logging.INFO, logger="meshcell"):
        crowded = cell((60,) * 3, 0.05, rng=0, mitochondria=60, vesicles=0, er_nodes=0, sheets=0, tries=5)
    placed, asked, vesicles = map(
        int, re.search(r"placed (\d+) of (\d+) mitochondria, (\d+) of 0 vesicles", caplog.text).groups()
    )
    assert 0 < placed < asked == 60 and vesicles == 0
    assert crowded.regions == {1: "cytosol", 3: "mitochondrion", 4: "nucleus"}
    assert components(crowded.data == 3) == placed
    assert crowded.names == {0: "outside", **REGIONS}


def test_cell_without_organelles_is_cytosol_and_nucleus():
    bare = cell((40,) * 3, 0.05, rng=3, mitochondria=0, vesicles=0, er_nodes=0, sheets=0)
    assert bare.regions == {1: "cytosol", 4: "nucleus"}


def test_the_box_that_an_error_asks_for_is_enough():
    with pytest.raises(ValueError, match=r"mitochondrion = 0\.26 um .*it takes at least \(.*\) voxels") as caught:
        cell((40, 80, 40), (0.05, 0.05, 0.04), rng=0)
    needed = tuple(map(int, re.search(r"at least \((\d+), (\d+), (\d+)\)", str(caught.value)).groups()))
    assert needed[0] > 40 and needed[2] > 40
    assert cell(needed, (0.05, 0.05, 0.04), rng=0).data.shape == needed


@pytest.mark.parametrize(
    ("shape", "options", "text"),
    [
        ((60, 60), {}, r"three whole numbers of voxels \(nx, ny, nz\); got \(60, 60\)"),
        ((60, 60, 60.5), {}, "three whole numbers of voxels"),
        ((60, 60, 60), {"gap": 0.06}, r"gap should be at least two voxels, 0\.1 um at this spacing; got 0\.06 um"),
        ((60, 60, 60), {"gap": float("nan")}, "gap should be a positive length"),
        ((60, 60, 60), {"nucleus": 0.9}, "nucleus should be a share of the cell's radius between 0 and 0.8; got 0.9"),
        ((60, 60, 60), {"vesicles": -3}, "vesicles should be a whole number >= 0; got -3"),
        ((60, 60, 60), {"tries": 0}, "tries should be a whole number >= 1; got 0"),
        ((60, 60, 60), {"er_thickness": "1 s"}, "er_thickness should be in um"),
    ],
)
def test_impossible_cells_are_refused(shape, options, text):
    with pytest.raises(ValueError, match=text):
        cell(shape, 0.05, rng=0, **options)


def test_parts_below_two_voxels_are_warned_about(caplog):
    spine(0.03, rng=1)
    assert "may break into pieces" in caplog.text
    caplog.clear()
    spine(0.02, rng=1)
    assert "may break" not in caplog.text
