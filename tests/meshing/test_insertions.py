"""Insertion: bad tetrahedra get better, nothing is lost, facets stay."""

import numpy as np
import pytest

import meshcell as mc
from gallery.checks import is_conforming, shaken, volumes_of
from gallery.meshes import ball
from meshcell.meshing.insertions import insert
from meshcell.meshing.swaps import squared_sines


@pytest.mark.parametrize("seed", range(4))
def test_insertion_keeps_volumes_facets_and_conformity(seed):
    mesh = shaken(ball(4, core=0.5), 0.1, seed)
    points, tets, regions, n = insert(mesh.points, mesh.tets, mesh.regions, 0.05, seed, 1000)
    assert n > 5
    assert len(points) == len(mesh.points) + n
    assert np.array_equal(points[: len(mesh.points)], mesh.points)
    after = mc.TetMesh(points, tets, regions, mesh.facets, mesh.sides)
    assert np.allclose(volumes_of(after), volumes_of(mesh), rtol=1e-12)
    assert is_conforming(after)
    assert len(np.unique(tets)) == len(points)
    assert squared_sines(points, tets).min() >= squared_sines(mesh.points, mesh.tets).min()
    assert (squared_sines(points, tets) < 0.05).sum() < (squared_sines(mesh.points, mesh.tets) < 0.05).sum()


def test_a_flat_tetrahedron_between_two_facets_is_lifted_off():
    # The facets meet at the edge 01 in 175 degrees; the edge 23 above is inside, with a ring of three.
    points = np.array([[0, -1, 0], [0, 1, 0], [-1, 0, 0.04], [1, 0, 0.04], [0, 0, 1.0]])
    tets = np.array([[0, 1, 2, 3], [0, 3, 2, 4], [1, 2, 3, 4]], np.int32)
    before = squared_sines(points, tets)
    assert 0 < before.min() < np.sin(np.radians(6)) ** 2
    moved, after, regions, n = insert(points, tets, np.ones(3, np.int32), 0.05, 0, 1000)
    assert n == 1
    assert regions.tolist() == [1] * 6
    assert squared_sines(moved, after).min() > np.sin(np.radians(15)) ** 2


def test_good_meshes_stay_as_they_are():
    mesh = ball(3)
    points, tets, regions, n = insert(
        mesh.points, mesh.tets, mesh.regions, float(squared_sines(mesh.points, mesh.tets).min()), 0, 1000
    )
    assert n == 0
    assert np.array_equal(tets, mesh.tets)
    assert np.array_equal(points, mesh.points)
    assert np.array_equal(regions, mesh.regions)


def test_the_same_seed_gives_the_same_bytes():
    mesh = shaken(ball(3, core=0.5), 0.1)
    one, two = (insert(mesh.points, mesh.tets, mesh.regions, 0.1, 5, 1000) for _ in range(2))
    assert one[0].tobytes() == two[0].tobytes()
    assert one[1].tobytes() == two[1].tobytes()
