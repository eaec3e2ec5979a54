"""P1 kernels: exact on linear fields, sums to rounding, equal to the plain reference."""

import numpy as np
import pytest
import scipy.sparse.linalg as spla

from gallery.balls import round_ball
from gallery.meshes import box
from meshcell.geometry import finite_elements as fem

pytestmark = pytest.mark.plain

GRADIENT = np.array([0.3, -1.2, 2.5])


@pytest.fixture
def rough():
    """A box whose inner points are shaken, so that no two tetrahedra are alike."""
    mesh = box(4, (1.0, 1.3, 0.7))
    points = mesh.points.copy()
    inner = ((points > 1e-9) & (points < np.array([1.0, 1.3, 0.7]) - 1e-9)).all(axis=1)
    points[inner] += np.random.default_rng(1).uniform(-0.02, 0.02, (inner.sum(), 3))
    return points, mesh.tets


def cells_of(mesh, kind):
    return mesh.tets if kind == "tets" else mesh.facets


def reference(points, cells):
    """Gradients by solving for the linear functions of each cell, local matrices by their formulas, all dense."""
    n, corners = cells.shape
    g, sizes = np.empty((n, corners, 3)), np.empty(n)
    for i, cell in enumerate(cells):
        edges = (points[cell[1:]] - points[cell[0]]).T
        # The pseudo-inverse gives the gradient that lies in the cell's own plane.
        g[i, 1:] = np.linalg.pinv(edges)
        g[i, 0] = -g[i, 1:].sum(axis=0)
        sizes[i] = np.sqrt(np.linalg.det(edges.T @ edges)) / (6 if corners == 4 else 2)
    K, M = np.zeros((len(points),) * 2), np.zeros((len(points),) * 2)
    for cell, gradient, size in zip(cells, g, sizes, strict=True):
        K[np.ix_(cell, cell)] += size * gradient @ gradient.T
        M[np.ix_(cell, cell)] += size / (corners * (corners + 1)) * (1 + np.eye(corners))
    return g, sizes, K, M


@pytest.mark.parametrize("kind", ["tets", "facets"])
def test_kernels_equal_the_plain_reference(kind):
    mesh = round_ball(3)
    cells, rng = cells_of(mesh, kind), np.random.default_rng(0)
    points = mesh.points + rng.uniform(-0.02, 0.02, mesh.points.shape)
    g, sizes, K, M = reference(points, cells)
    # 1e-12: some hundred operations on numbers of order one, condition numbers below a hundred.
    np.testing.assert_allclose(fem.gradients(points, cells), g, atol=1e-12 * np.abs(g).max())
    np.testing.assert_allclose(fem.measures(points, cells), sizes, rtol=1e-12)
    np.testing.assert_allclose(fem.stiffness(points, cells).toarray(), K, atol=1e-12 * np.abs(K).max())
    np.testing.assert_allclose(fem.mass(points, cells).toarray(), M, atol=1e-12 * np.abs(M).max())
    together = fem.stiffness_and_mass(points, cells)
    np.testing.assert_allclose(together[0].toarray(), K, atol=1e-12 * np.abs(K).max())
    np.testing.assert_allclose(together[1].toarray(), M, atol=1e-12 * np.abs(M).max())
    np.testing.assert_allclose(fem.lumped_mass(points, cells), M.sum(axis=1), atol=1e-12 * np.abs(M).max())


@pytest.mark.parametrize("kind", ["tets", "facets"])
def test_sums(kind):
    mesh = round_ball(4)
    cells = cells_of(mesh, kind)
    sizes = mesh.volumes if kind == "tets" else mesh.areas
    K, M = fem.stiffness(mesh.points, cells), fem.mass(mesh.points, cells)
    # Rounding of about fifteen edges in a row, each the sum of about five cells.
    assert np.abs(K @ np.ones(len(mesh.points))).max() < 3e-15 * abs(K).max()
    assert abs(K - K.T).max() == 0
    assert M.sum() == pytest.approx(sizes.sum(), rel=1e-14)
    assert fem.lumped_mass(mesh.points, cells).sum() == pytest.approx(sizes.sum(), rel=1e-14)
    # |grad x|^2 + |grad y|^2 + |grad z|^2 is the dimension of the cells: 3 in space, 2 in the surface.
    dimension = cells.shape[1] - 1
    energy = sum(x @ (K @ x) for x in mesh.points.T)
    assert energy == pytest.approx(dimension * sizes.sum(), rel=1e-13)
    assert np.linalg.eigvalsh(K.toarray()).min() > -1e-13 * abs(K).max()


def test_energy_of_x_is_the_volume(rough):
    points, tets = rough
    K = fem.stiffness(points, tets)
    assert points[:, 0] @ (K @ points[:, 0]) == pytest.approx(fem.measures(points, tets).sum(), rel=1e-13)


def test_linear_fields_give_the_boundary_flux(rough):
    points, tets = rough
    mesh = box(4, (1.0, 1.3, 0.7))
    u = points @ GRADIENT + 2
    np.testing.assert_allclose(
        np.einsum("nkd,nk->nd", fem.gradients(points, tets), u[tets]), GRADIENT[None] + 0 * u[tets][:, :3], atol=1e-12
    )
    # Green: K u = flux through the boundary, a third of each facet's to each corner; nothing at inner points.
    expected = np.zeros(len(points))
    np.add.at(expected, mesh.facets.ravel(), np.repeat(mesh.area_vectors @ GRADIENT / 3, 3))
    np.testing.assert_allclose(fem.stiffness(points, tets) @ u, expected, atol=1e-12)


def test_dirichlet_problem_reproduces_a_linear_solution(rough):
    points, tets = rough
    K = fem.stiffness(points, tets).tocsr()
    edge = np.unique(box(4, (1.0, 1.3, 0.7)).facets)
    inner = np.setdiff1d(np.arange(len(points)), edge)
    exact = points @ GRADIENT - 1
    u = exact.copy()
    u[inner] = spla.spsolve(K[inner][:, inner].tocsc(), -K[inner][:, edge] @ exact[edge])
    np.testing.assert_allclose(u, exact, atol=1e-12)


def test_surface_gradients_are_tangential_and_exact():
    mesh = round_ball(4)
    g = fem.gradients(mesh.points, mesh.facets)
    normals = mesh.area_vectors / mesh.areas[:, None]
    slope = np.einsum("nkd,nk->nd", g, (mesh.points @ GRADIENT)[mesh.facets])
    np.testing.assert_allclose(np.einsum("nkd,nd->nk", g, normals), 0, atol=1e-12)
    np.testing.assert_allclose(slope, GRADIENT - (normals @ GRADIENT)[:, None] * normals, atol=1e-12)


def test_a_pattern_gives_the_same_matrix_and_coefficients_scale_cells():
    mesh = round_ball(4)
    where = fem.pattern(mesh.tets, len(mesh.points))
    c = np.random.default_rng(2).uniform(0.5, 2, len(mesh.tets))
    direct = fem.stiffness(mesh.points, mesh.tets, c)
    assert abs(direct - fem.stiffness(mesh.points, mesh.tets, c, pattern=where)).max() == 0
    parts = sum(
        fem.stiffness(mesh.points, mesh.tets, np.where(c > 1, c, 0) if big else np.where(c > 1, 0, c)) for big in (0, 1)
    )
    assert abs(direct - parts).max() < 1e-13 * abs(direct).max()
    assert fem.mass(mesh.points, mesh.tets, c).sum() == pytest.approx(c @ mesh.volumes, rel=1e-13)


def test_errors_say_what_was_expected():
    mesh = round_ball(2)
    with pytest.raises(ValueError, match=r"\(n, 4\) for tetrahedra or \(n, 3\) for triangles; got \(9, 2\)"):
        fem.gradients(mesh.points, np.zeros((9, 2), np.int32))
    with pytest.raises(ValueError, match="one value for each of the 64 cells"):
        fem.stiffness(mesh.points, mesh.tets, np.ones(3))
    with pytest.raises(ValueError, match="the pattern belongs to 64 cells"):
        fem.stiffness(mesh.points, mesh.tets[:5], pattern=fem.pattern(mesh.tets, len(mesh.points)))
