"""Swaps: the measure of a tetrahedron, the best triangulation of a ring, nothing lost."""

import numpy as np
import pytest

import meshcell as mc
from gallery.checks import is_conforming, shaken, sines_by_normals, volumes_of
from gallery.meshes import ball, box
from meshcell.meshing.swaps import MAX_RING, squared_sine_of, squared_sines, swap


def test_shapes_agree_with_the_dihedral_angles():
    rng = np.random.default_rng(1)
    points, tets = rng.normal(size=(40, 3)), np.array([rng.permutation(40)[:4] for _ in range(200)], np.int32)
    assert np.allclose(squared_sines(points, tets), sines_by_normals(points, tets), rtol=1e-9, atol=1e-14)
    assert (squared_sines(points, tets) < 0).any()
    regular = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
    assert abs(squared_sine_of(regular, 0, 1, 2, 3)) == pytest.approx(8 / 9, rel=1e-14)


def test_shapes_of_flat_and_of_empty_tetrahedra_are_bad():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [2, 0, 0.0]])
    assert squared_sine_of(points, 0, 1, 2, 3) == 0
    assert squared_sine_of(points, 0, 4, 2, 3) == -1
    assert squared_sine_of(points, 0, 1, 5, 4) == -1


def test_shapes_do_not_depend_on_scale_and_place():
    rng = np.random.default_rng(2)
    points, tets = rng.normal(size=(30, 3)), np.array([rng.permutation(30)[:4] for _ in range(50)], np.int32)
    # 100 um away with cells of a few um: seven of the sixteen digits are lost at most.
    assert np.allclose(squared_sines(1e-3 * points, tets), squared_sines(points, tets), rtol=1e-9)
    assert np.allclose(squared_sines(points + 100, tets), squared_sines(points, tets), rtol=1e-7, atol=1e-9)


def ring_of_tets(n):
    """An edge with n tetrahedra around it, long enough that removing it pays."""
    angle = 2 * np.pi * np.arange(n) / n
    around = np.stack([np.cos(angle), np.sin(angle), np.zeros(n)], axis=1)
    points = np.concatenate([[[0, 0, -0.3], [0, 0, 0.3]], around])
    tets = np.array([[0, 1, 2 + k, 2 + (k + 1) % n] for k in range(n)], np.int32)
    return points, tets


@pytest.mark.parametrize("n", range(3, MAX_RING + 1))
def test_removing_an_edge_is_the_best_triangulation_of_its_ring(n):
    points, tets = ring_of_tets(n)
    points += np.random.default_rng(n).normal(0, 0.02, points.shape)
    before = squared_sines(points, tets)
    after, regions, n_swaps = swap(points, tets, np.ones(n, np.int32), 1.0, passes=1)

    def discs(polygon):
        if len(polygon) < 3:
            yield []
            return
        i, j = polygon[0], polygon[-1]
        for k in range(1, len(polygon) - 1):
            for left in discs(polygon[: k + 1]):
                for right in discs(polygon[k:]):
                    yield [*left, (i, polygon[k], j), *right]

    best = max(
        min(min(squared_sine_of(points, i, k, j, 1), squared_sine_of(points, i, j, k, 0)) for i, k, j in disc)
        for disc in discs(list(range(2, n + 2)))
    )
    if best > before.min() * 1.001:
        assert n_swaps >= 1
        # Swaps of single faces may add to the removal of the edge, never take away.
        assert squared_sines(points, after).min() >= best * (1 - 1e-12)
    else:
        assert squared_sines(points, after).min() >= before.min()
    a, b = points[tets], points[after]
    whole = np.linalg.det(a[:, 1:] - a[:, :1]).sum()
    assert np.linalg.det(b[:, 1:] - b[:, :1]).sum() == pytest.approx(whole, rel=1e-12)
    assert len(regions) == len(after)


@pytest.mark.parametrize("seed", range(5))
def test_swaps_keep_volumes_facets_and_conformity(seed):
    mesh = shaken(ball(4, core=0.5), 0.1, seed)
    tets, regions, n_swaps = swap(mesh.points, mesh.tets, mesh.regions, 0.5)
    assert n_swaps > 20
    after = mc.TetMesh(mesh.points, tets, regions, mesh.facets, mesh.sides)
    assert np.allclose(volumes_of(after), volumes_of(mesh), rtol=1e-12)
    assert is_conforming(after)
    assert squared_sines(after.points, after.tets).min() >= squared_sines(mesh.points, mesh.tets).min()


def test_swaps_leave_good_meshes_alone():
    mesh = box(3)
    tets, _, n_swaps = swap(mesh.points, mesh.tets, mesh.regions, 0.1)
    assert n_swaps == 0
    assert np.array_equal(tets, mesh.tets)
