"""The graded lattice: conforming, filling its box, with angles that do not depend on the grading."""

import numpy as np
import pytest

from meshcell.core import adjacency
from meshcell.core.types import TetMesh
from meshcell.geometry.quality import angles
from meshcell.meshing.octrees import octree_tets


def mesh_of(wanted):
    points, tets = octree_tets(wanted, np.ones(wanted.shape, bool))
    return TetMesh(points / 2, tets, np.ones(len(tets), int), np.zeros((0, 3), int), np.zeros((0, 2), int))


def open_faces(mesh):
    rows, faces = np.nonzero(mesh.neighbours < 0)
    return mesh.points[np.take_along_axis(mesh.tets[rows], adjacency.TET_FACES[faces], axis=1)]


def test_one_level_is_the_body_centred_cubic_lattice():
    mesh = mesh_of(np.zeros((3, 4, 5), int))
    assert np.allclose(mesh.volumes, 1 / 12)
    assert np.allclose(np.sort(angles(mesh), axis=1), [60, 60, 60, 60, 90, 90])


@pytest.mark.parametrize("seed", range(8))
def test_any_grading_conforms_and_keeps_its_angles(seed):
    rng = np.random.default_rng(seed)
    wanted = np.full((16, 24, 16), 3)
    for _ in range(rng.integers(1, 5)):
        wanted[tuple(rng.integers((16, 24, 16)))] = rng.integers(3)
    mesh = mesh_of(wanted)
    assert angles(mesh).min() > 45 - 1e-9
    assert angles(mesh).max() < 120 + 1e-9
    # Conforming: every face has another tetrahedron behind it, but for those of the outermost cubes' centres.
    corners = open_faces(mesh)
    assert all(((c <= 4) | (c >= np.array(wanted.shape) - 4)).any() for c in corners.mean(axis=1))
    edge = np.array(wanted.shape) / 2
    inner = (np.abs(corners - edge) < edge - 4).all(axis=(1, 2))
    assert not inner.any()
    # No gap and no overlap: the divergence theorem over the open faces.
    a, b, c = corners.transpose(1, 0, 2)
    assert np.einsum("ij,ij->", np.cross(a, b), c) / 6 == pytest.approx(mesh.volumes.sum(), rel=1e-12)


def test_cells_are_as_small_as_wanted():
    wanted = np.full((16, 16, 16), 4)
    wanted[5, 6, 7] = 0
    points, tets = octree_tets(wanted, np.ones(wanted.shape, bool))
    centres = points[tets].mean(axis=1) / 2
    near = np.abs(centres - [5.5, 6.5, 7.5]).max(axis=1) < 0.5
    assert near.any()
    assert np.ptp(points[tets[near]], axis=1).max() <= 2
    assert np.ptp(points[tets], axis=1).max() > 4


def test_empty_cubes_are_left_out():
    active = np.zeros((8, 8, 8), bool)
    active[1, 1, 1] = True
    points, _ = octree_tets(np.zeros(active.shape, int), active)
    assert points.max() <= 5
