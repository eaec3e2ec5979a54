"""Improvement: never worse, interfaces kept, kernels equal to their plain twins."""

import logging

import numpy as np
import pytest

import meshcell as mc
from gallery.checks import is_conforming, shaken, sines_by_normals, volumes_of
from gallery.labels import noise, scraps, tangle
from gallery.meshes import ball, box, tet_mesh
from meshcell.core import adjacency
from meshcell.core.randomness import uniform
from meshcell.geometry.features import CURVE, FIXED, FREE
from meshcell.geometry.quality import angles
from meshcell.meshing import improvement
from meshcell.meshing.held import INSIDE, surface_of
from meshcell.meshing.improvement import NARROW, improve
from meshcell.meshing.swaps import squared_sines


@pytest.fixture(scope="module")
def bad_ball():
    return shaken(ball(5, core=0.6), 0.08)


def test_improvement_meets_its_target_on_a_shaken_ball(bad_ball):
    better = improve(bad_ball, min_dihedral=15)
    assert angles(bad_ball).min() < 2
    assert angles(better).min() >= 15
    assert angles(better).max() <= 165
    assert is_conforming(better)


@pytest.mark.parametrize("target", [5, 20, 40])
@pytest.mark.parametrize("max_move", [0, None])
def test_improvement_never_lowers_the_worst_sine(bad_ball, target, max_move):
    better = improve(bad_ball, min_dihedral=target, max_move=max_move, rounds=4)
    assert squared_sines(better.points, better.tets).min() >= squared_sines(bad_ball.points, bad_ball.tets).min()


def test_without_moves_of_interfaces_their_points_stay(bad_ball):
    better = improve(bad_ball, min_dihedral=30, max_move=0)
    rows = np.unique(bad_ball.facets)
    assert np.array_equal(better.points[rows], bad_ball.points[rows])
    assert np.allclose(volumes_of(better), volumes_of(bad_ball), rtol=1e-12)


def test_interface_points_slide_along_the_interface_and_no_farther_than_allowed():
    mesh = shaken(ball(5, core=0.6), 0.05, interfaces=True)
    better = improve(mesh, min_dihedral=35, max_move=0.1)
    rows = np.unique(mesh.facets)
    moves = np.linalg.norm(better.points[rows] - mesh.points[rows], axis=1)
    assert moves.max() > 0.01
    assert moves.max() <= 0.1 * (1 + 1e-12)
    from scipy.spatial import cKDTree

    # Off the given triangles by a fifth at most, plus half of the spacing of their sample, 0.008.
    u = np.stack(np.meshgrid(np.linspace(0, 1, 61), np.linspace(0, 1, 61)), -1).reshape(-1, 2)
    u = u[u.sum(axis=1) <= 1 + 1e-12]
    corners = mesh.points[mesh.facets]
    sample = corners[:, None, 0] + np.einsum("sk,fkx->fsx", u, corners[:, 1:] - corners[:, :1])
    assert cKDTree(sample.reshape(-1, 3)).query(better.points[rows])[0].max() < 0.2 * 0.1 + 0.004


def test_areas_and_volumes_stay_within_a_percent(bad_ball):
    better = improve(bad_ball, min_dihedral=30)
    # Volumes change only where curves are cut short, and here are none; areas in second order of move / radius, 0.1.
    moved = np.abs(better.points[: len(bad_ball.points)] - bad_ball.points)
    assert moved[np.unique(bad_ball.facets)].max() > 0.01
    assert np.allclose(volumes_of(better), volumes_of(bad_ball), rtol=1e-12)
    for pair, area in mc.areas(bad_ball).items():
        assert mc.areas(better)[pair] == pytest.approx(area, rel=0.01)


def with_faces(mesh):
    """Name the six faces of a unit box, as `extract` does, so that its edges are rims of patches."""
    for axis, name in enumerate("xyz"):
        mesh = mc.patch(mesh, f"box {name}-", lambda c, axis=axis: c[:, axis] < 1e-9)
        mesh = mc.patch(mesh, f"box {name}+", lambda c, axis=axis: c[:, axis] > 1 - 1e-9)
    return mesh


def test_junction_curves_and_flat_faces_stay():
    whole = with_faces(box(6, region=lambda c: np.where(c[:, 0] < 0.5, 1, 2), names={1: "left", 2: "right"}))
    mesh = shaken(whole, 0.05)
    better = improve(mesh, min_dihedral=44, max_move=0.08)
    assert np.abs(better.points[: len(mesh.points)] - mesh.points)[np.unique(mesh.facets)].max() > 0
    # The box is flat: nothing is cut off, up to rounding.
    assert np.allclose(volumes_of(better), [0.5, 0.5], rtol=1e-12)
    for pair, area in mc.areas(whole).items():
        assert mc.areas(better)[pair] == pytest.approx(area, rel=1e-9)


def test_patches_keep_their_areas():
    mesh = mc.patch(
        with_faces(box(6)), "window", lambda c: (c[:, 2] > 0.999) & (np.abs(c[:, :2] - 0.5).max(axis=1) < 0.33)
    )
    bad = shaken(mesh, 0.05)
    better = improve(bad, min_dihedral=44, max_move=0.08)
    assert np.abs(better.points[: len(bad.points)] - bad.points)[np.unique(mesh.facets)].max() > 0
    area = mesh.areas[mesh.patches["window"]].sum()
    assert better.areas[better.patches["window"]].sum() == pytest.approx(area, rel=1e-9)


def test_kinds_of_points_on_a_divided_box():
    mesh = box(4, region=lambda c: np.where(c[:, 0] < 0.5, 1, 2))
    kinds = surface_of(mesh)[1]
    middle, walls = np.isclose(mesh.points[:, 0], 0.5), np.isclose(mesh.points % 1, 0).sum(axis=1)
    # A box without patches is one interface: its edges are none, only the rim of the dividing wall is a curve.
    assert (kinds[middle & (walls == 1)] == CURVE).all()
    assert (kinds[middle & (walls == 2)] == FIXED).all()
    assert (kinds[middle & (walls == 0)] == FREE).all()
    assert (kinds[~middle & (walls == 0)] == INSIDE).all()
    assert (kinds[~middle & (walls > 0)] == FREE).all()


def test_the_same_seed_gives_the_same_bytes_and_the_input_is_unchanged(bad_ball):
    points = bad_ball.points.copy()
    one, two = improve(bad_ball, rng=3), improve(bad_ball, rng=np.random.default_rng(3))
    assert one.points.tobytes() == two.points.tobytes()
    assert one.tets.tobytes() == two.tets.tobytes()
    assert improve(bad_ball, rng=4).points.tobytes() != one.points.tobytes()
    assert np.array_equal(points, bad_ball.points)


def test_random_numbers_are_uniform():
    state, numbers = np.uint64(12), []
    for _ in range(20000):
        state, x = uniform(np.uint64(state))
        numbers.append(x)
    numbers = np.array(numbers)
    # Five standard errors of the mean and of the variance of a uniform number in -1 ... 1.
    assert abs(numbers.mean()) < 5 * np.sqrt(1 / 3 / 20000)
    assert abs(numbers.var() - 1 / 3) < 5 * np.sqrt(4 / 45 / 20000)
    assert np.abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 5 / np.sqrt(20000)


def test_the_star_seen_from_a_moved_point_is_that_of_the_moved_mesh():
    mesh = box(2)
    offsets, rows = adjacency.stars(mesh.tets, len(mesh.points))
    p = int(np.argmin(np.abs(mesh.points - 0.5).sum(axis=1)))
    star = rows[offsets[p] : offsets[p + 1]]
    for step in np.random.default_rng(0).normal(0, 0.2, (20, 3)):
        x, y, z = mesh.points[p] + step
        moved = mesh.points.copy()
        moved[p] = x, y, z
        found = improvement.star_sine(np.array(mesh.points), np.array(mesh.tets), star, p, x, y, z, -2.0)
        assert found == pytest.approx(sines_by_normals(moved, mesh.tets[star]).min(), rel=1e-9, abs=1e-14)


def test_one_line_says_what_was_reached(bad_ball, caplog):
    with caplog.at_level(logging.INFO, "meshcell"):
        improve(bad_ball)
    assert len(caplog.records) == 1
    assert "improve: least dihedral sine" in caplog.text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"min_dihedral": 80}, "min_dihedral should be between 0 and 60 degrees .*; got 80"),
        ({"min_dihedral": np.nan}, "min_dihedral should be between 0 and 60 degrees"),
        ({"max_move": -1.0}, "max_move should be a length of 0 or more; got -1.0"),
        ({"max_move": "3 s"}, "max_move"),
        ({"rounds": -1}, "rounds should be 0 or more; got -1"),
    ],
)
def test_bad_arguments(options, text):
    with pytest.raises(ValueError, match=text):
        improve(box(1), **options)


def test_a_good_mesh_comes_back_as_it_is():
    mesh = box(3)
    same = improve(mesh, min_dihedral=30)
    assert np.array_equal(same.points, mesh.points)
    assert np.array_equal(same.tets, mesh.tets)
    assert tet_mesh(mesh.points, mesh.tets, mesh.regions).facets.shape == same.facets.shape


def test_flat_corners_open_while_the_faces_of_the_box_stay():
    """Sheets that meet under three degrees at points which must stay: only moves of these points help."""
    volume = scraps(39)
    mesh = mc.tetrahedralize(volume, edge=1.5 * min(volume.spacing))
    assert angles(mesh).min() > 15
    assert is_conforming(mesh)
    low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
    for axis, name in enumerate("xyz"):
        for end, sign in ((low, "-"), (high, "+")):
            rows = mesh.facets[mesh.patches[f"box {name}{sign}"]]
            assert len(rows)
            assert np.abs(mesh.points[rows][..., axis] - end[axis]).max() < 1e-12


def test_no_reach_means_no_move_even_in_flat_corners():
    mesh = mc.tetrahedralize(noise(13), edge=0.6, rounds=0)
    better = improve(mesh, max_move=0)
    rows = np.unique(mesh.facets)
    assert np.array_equal(better.points[rows], mesh.points[rows])


@pytest.mark.parametrize("seed", [12, 14, 85])
def test_angles_of_facets_stay(seed):
    volume = tangle(seed)
    surface = mc.remesh(mc.smooth(mc.extract(volume)), edge=1.5 * min(volume.spacing))
    raw = mc.tetrahedralize(surface, edge=1.5 * min(volume.spacing), recondition=False, rounds=0)
    mesh = improve(raw)
    assert mc.angles(mesh.surface).min() >= min(NARROW, mc.angles(surface).min()) - 1e-9
    assert (mesh.points[np.unique(mesh.facets)] != raw.points[np.unique(raw.facets)]).any()


def test_regions_keep_their_volumes_where_flat_corners_open():
    """Of these, the moves in corners that were nearly flat would give a region of six voxels 1.9 % more."""
    volume = scraps(22)
    edge = 1.5 * min(volume.spacing)
    surface = mc.remesh(mc.smooth(mc.extract(volume)), edge=edge)
    raw = mc.tetrahedralize(surface, edge=edge, recondition=False, rounds=0)
    mesh = improve(raw)
    assert np.abs(volumes_of(mesh) / volumes_of(raw) - 1).max() <= 0.005 + 1e-12
    assert angles(mesh).min() > 15 > 5 > angles(raw).min()
