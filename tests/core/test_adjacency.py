"""Adjacency kernels against plain references on random simplices."""

import itertools

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee

import meshcell as mc
from gallery.meshes import ball, box
from meshcell.core import adjacency

pytestmark = pytest.mark.plain


@pytest.mark.parametrize("corners", [3, 4])
def test_edges_match_a_set_of_pairs(corners):
    rng = np.random.default_rng(corners)
    cells = np.array([rng.choice(30, corners, replace=False) for _ in range(200)], np.int32)
    edges, cell_edges = adjacency.edges(cells, 30)
    pairs = {tuple(sorted(pair)) for cell in cells.tolist() for pair in itertools.combinations(cell, 2)}
    assert [tuple(edge) for edge in edges.tolist()] != []
    assert sorted(map(tuple, edges.tolist())) == sorted(pairs)
    local = adjacency.TRIANGLE_EDGES if corners == 3 else adjacency.TET_EDGES
    assert (np.sort(cells[:, local], axis=2) == edges[cell_edges]).all()


def test_neighbours_share_the_face_and_see_each_other():
    mesh = ball(2, core=0.5)
    owners = {}
    for tet, corners in enumerate(mesh.tets.tolist()):
        for k in range(4):
            owners.setdefault(tuple(sorted(corners[:k] + corners[k + 1 :])), []).append((tet, k))
    expected = np.full_like(mesh.neighbours, -1)
    for pair in owners.values():
        if len(pair) == 2:
            (a, i), (b, j) = pair
            expected[a, i], expected[b, j] = b, a
    assert (mesh.neighbours == expected).all()


def test_a_face_of_three_tetrahedra_is_refused():
    tets = np.array([[0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 2, 5]], np.int32)
    with pytest.raises(mc.MeshError, match="at most two tetrahedra"):
        adjacency.tet_neighbours(tets, 6)


def test_facets_know_the_tetrahedra_on_both_sides():
    mesh = ball(3, core=1 / 3)
    regions = np.append(mesh.regions, 0)
    assert (regions[mesh.facet_tets] == mesh.sides).all()
    flipped = mc.TetMesh(mesh.points, mesh.tets, mesh.regions, mesh.facets[:, ::-1], mesh.sides[:, ::-1])
    assert (flipped.facet_tets == mesh.facet_tets[:, ::-1]).all()


def test_faces_look_out_of_their_tetrahedron():
    mesh = box(1)
    corners = mesh.points[mesh.tets]
    for k, face in enumerate(adjacency.TET_FACES):
        a, b, c = (corners[:, i] for i in face)
        assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), corners[:, k] - a) < 0).all()


def test_stars_list_every_cell_once():
    mesh = box(2)
    offsets, rows = adjacency.stars(mesh.tets, len(mesh.points))
    for point in range(len(mesh.points)):
        star = rows[offsets[point] : offsets[point + 1]]
        assert star.tolist() == np.flatnonzero((mesh.tets == point).any(axis=1)).tolist()


def graph_of(edges, n):
    graph = sparse.csr_matrix((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(n, n))
    return (graph + graph.T).tocsr()


def test_cuthill_mckee_is_scipys_where_that_has_no_choice():
    mesh = ball(4)
    n = len(mesh.points)
    # A tail gives a single node of the least degree.
    graph = graph_of(np.concatenate([mesh.edges, [[0, n]]]), n + 1)
    order = adjacency.cuthill_mckee(graph.indptr, graph.indices)
    np.testing.assert_array_equal(order[::-1], reverse_cuthill_mckee(graph, symmetric_mode=True))


def test_cuthill_mckee_starts_every_piece_at_the_first_of_its_loosest_nodes():
    ring = np.array([[0, 1], [1, 2], [2, 3], [0, 3]])
    graph = graph_of(np.concatenate([ring + 4, ring, [[8, 9]]]), 11)
    order = adjacency.cuthill_mckee(graph.indptr, graph.indices)
    assert order.tolist() == [10, 8, 9, 0, 1, 3, 2, 4, 5, 7, 6]
