"""Linear systems: kernels equal their plain references, solutions those of a direct solver, iterations stay level."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from gallery.meshes import box
from gallery.models import problem
from meshcell.models.binding import bind
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.linear import coarsening, multigrid


def matrix(p):
    """Write out A, of the node blocks (z,) that were set."""
    blocks, grid = p.blocks, p.multigrid
    own = grid._blocks.copy()
    own[grid.levels[0].slots] -= grid.levels[0].diagonal
    return sp.csr_array(p.fixed + sp.coo_array((own, (blocks.rows, blocks.columns)), shape=p.fixed.shape))


def iterations_to(p, b, tolerance):
    """Count iterations until the error is estimated at this part of what it was for zero."""
    size = np.linalg.norm(np.sqrt(p.mass) * p.multigrid.precondition(b))
    return p.multigrid.solve(b, np.sqrt(p.mass) / size, tolerance)[1]


def test_the_matrix_is_the_derivative_of_the_rate():
    p = problem(2)
    rng = np.random.default_rng(0)
    u, v = rng.uniform(1, 2, p.size), rng.standard_normal(p.size)
    p.linearise(0.0, u, 7.0)
    # Rates are quadratic, so the central difference is exact but for rounding.
    slope = (p.rate(0.0, u + 1e-3 * v) - p.rate(0.0, u - 1e-3 * v)) / 2e-3
    np.testing.assert_allclose(p.multigrid.multiply(v), 7 * p.mass * v - slope, atol=1e-9 * np.abs(slope).max())
    np.testing.assert_allclose(matrix(p) @ v, p.multigrid.multiply(v), atol=1e-13 * np.abs(slope).max())


@pytest.mark.parametrize("stiffness", [1.0, 1e6])
def test_solutions_equal_those_of_a_direct_solver(stiffness):
    p = problem(4, stiffness)
    rng = np.random.default_rng(1)
    p.linearise(0.0, p.initial(), 2 / 0.01)
    b = p.mass * rng.standard_normal(p.size)
    exact = spla.spsolve(matrix(p).tocsc(), b)
    weights = np.full(p.size, 1 / np.abs(exact).max())
    x, iterations, converged = p.multigrid.solve(b, weights, 1e-8)
    assert converged
    assert iterations < 40
    np.testing.assert_allclose(x, exact, atol=1e-7 * np.abs(exact).max())
    # What was learnt serves again: half of the system needs no more than a check, and where single precision was not
    # enough at first another one, or two if the second gains more than can be believed: no new direction.
    known = p.multigrid._known.count
    again, iterations, converged = p.multigrid.solve(b / 2, weights, 1e-5)
    assert converged
    assert iterations <= 3
    assert p.multigrid._known.count == known
    np.testing.assert_allclose(again, exact / 2, atol=1e-4 * np.abs(exact).max())


def test_iterations_stay_level_as_the_mesh_and_the_stiffness_grow():
    counts = []
    for n, stiffness in ((4, 1.0), (8, 1.0), (8, 1e6), (14, 1.0)):
        p = problem(n, stiffness)
        p.linearise(0.0, p.initial(), 2 / 0.1)
        b = p.mass * np.random.default_rng(2).standard_normal(p.size)
        counts.append(iterations_to(p, b, 1e-6))
    # 9 to 15 over a factor of 40 in size and of a million in the rates.
    assert max(counts) <= 16, counts


def test_iterations_stay_level_with_a_thin_sheet_and_long_steps():
    # A sheet one cell thick: points of both faces are near for what lives inside, far apart for what lives outside.
    mesh = box(12, region=lambda x: 1 + (np.abs(x[:, 2] - 0.54) < 0.04), names={1: "cytosol", 2: "er"})
    species = [Species("a", "cyt", 220, 1), Species("b", "er", 6, 1)]
    p = Discretisation(bind(Model({"cyt": "cytosol", "er": "er"}, species), mesh))
    counts = []
    for dt in (1e-4, 1e-2, 1.0):
        p.linearise(0.0, p.initial(), 2 / dt)
        b = p.mass * np.random.default_rng(3).standard_normal(p.size)
        counts.append(iterations_to(p, b, 1e-6))
    # Grouped without regard to species, the longest of these steps took over a hundred.
    assert max(counts) <= 20, counts


@pytest.mark.parametrize("piece", [10**9, 400])
def test_one_sweep_is_block_gauss_seidel_in_every_piece(piece, monkeypatch):
    monkeypatch.setattr(coarsening, "PIECE", piece)
    p = problem(3)
    p.linearise(0.0, p.initial(), 50.0)
    grid, A, blocks = p.multigrid, matrix(p).toarray(), p.blocks
    A = A[np.ix_(blocks.unknowns, blocks.unknowns)]
    r = np.random.default_rng(3).standard_normal(p.size).astype(np.float32)
    first, plain = grid._sweep(0, r, None), np.zeros(p.size)
    groups = [np.arange(a, b) for a, b in itertools.pairwise(blocks.node_start)]
    cuts = grid.levels[0].bounds
    assert len(cuts) == 2 if piece > 400 else len(cuts) > 2

    def swept(start, order):
        """Sweep with numpy: what other pieces have done is not seen."""
        after = start.copy()
        for begin, end in itertools.pairwise(cuts):
            now = start.copy()
            for own in groups[begin:end][::order]:
                now[own] += np.linalg.solve(A[np.ix_(own, own)], r[own] - A[own] @ now)
                after[own] = now[own]
        return after

    plain = swept(plain, 1)
    # Single precision: 1e-5 after some hundred operations on blocks of condition below a hundred.
    np.testing.assert_allclose(first, plain, atol=1e-5 * np.abs(plain).max())
    rest, fine = np.empty_like(r), grid.levels[0]
    entries = fine.way.begin, fine.parts, fine.way.targets, fine.way.singles, grid._factors[0]
    multigrid._rest_after_first_sweep(0, len(fine.way.bounds) - 1, fine.way.bounds, *entries, first, rest)
    np.testing.assert_allclose(rest, r - A @ plain, atol=1e-5 * np.abs(r).max())
    plain = swept(plain, -1)
    np.testing.assert_allclose(grid._sweep(0, r, first), plain, atol=1e-5 * np.abs(plain).max())


@pytest.mark.parametrize(("diffusion", "dt"), [(1.0, 36.0), (1000.0, 36.0), (220.0, 5000.0)])
def test_long_steps_keep_the_mean(diffusion, dt):
    """With M / dt + D K the mean of the solution is that of dt M^-1 b, whatever D."""
    p = Discretisation(bind(Model({"box": "box"}, [Species("a", "box", diffusion, 1)]), box(6, names={1: "box"})))
    p.store(1 / dt)
    b = p.mass * (1 + 0.1 * np.random.default_rng(4).standard_normal(p.size))
    x, _, converged = p.multigrid.solve(b, np.full(p.size, 1 / (dt * np.sqrt(p.size))), 1e-8)
    assert converged
    assert p.mass @ x == pytest.approx(dt * b.sum(), rel=1e-7)


@pytest.mark.plain
@pytest.mark.parametrize("count", [1, 3, 4, 6, 9])
def test_species_of_one_kind_go_together(count):
    species = [Species(f"s{k}", "box", 1.0 + k, 1 + k) for k in range(count)]
    turns = [
        Reaction(f"r{k}", "box", f"s{k}*s{(k + 1) % count}", {f"s{k}": -1, f"s{(k + 2) % count}": 1})
        for k in range(count if count > 2 else 0)
    ]
    p = Discretisation(bind(Model({"box": "box"}, species, turns), box(4, names={1: "box"})))
    p.linearise(0.0, p.initial(), 10.0)
    rng, A = np.random.default_rng(6), matrix(p)
    v, b = rng.standard_normal((2, p.size))
    np.testing.assert_allclose(p.multigrid.multiply(v), A @ v, atol=1e-12 * np.abs(A @ v).max())
    exact = spla.spsolve(A.tocsc(), b)
    x, iterations, converged = p.multigrid.solve(b, np.full(p.size, 1 / np.abs(exact).max()), 1e-8)
    assert converged
    assert iterations < 20
    np.testing.assert_allclose(x, exact, atol=1e-7 * np.abs(exact).max())
