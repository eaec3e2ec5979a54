"""Diffusion alone: kernels equal scipy, systems are solved, molecules are kept."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from gallery.balls import round_ball
from meshcell.geometry import finite_elements as fem
from meshcell.solving.linear.diffusion import Diffusion, relax


@pytest.fixture(scope="module", params=[1, 3, 6])
def case(request):
    """K, M, constants and Diffusion of some species in a ball; one of them does not move."""
    mesh = round_ball(5)
    K, mass = fem.stiffness(mesh.points, mesh.tets), fem.lumped_mass(mesh.points, mesh.tets)
    constants = [0.0, 2.0, 0.1, 5.0, 1.0, 0.5, 3.0][: request.param + 1]
    n = len(mass)
    own = [slice(k * n, (k + 1) * n) for k in range(len(constants))]
    return K, mass, constants, Diffusion(n * len(own), [(K, mass, constants, own)])


def test_diffusion_equals_the_sparse_product(case):
    K, mass, constants, diffusion = case
    u = np.random.default_rng(0).standard_normal((len(constants), len(mass)))
    exact = np.concatenate([D * (K @ row) for D, row in zip(constants, u, strict=True)])
    np.testing.assert_allclose(diffusion.apply(u.ravel()), exact, atol=1e-13 * np.abs(exact).max())


@pytest.mark.parametrize("tau", [1e-4, 1e-2, 1.0])
def test_stages_solve_their_systems_and_keep_molecules(case, tau):
    K, mass, constants, diffusion = case
    rng = np.random.default_rng(1)
    state, guess = rng.standard_normal((2, len(constants) * len(mass)))
    weights = np.full(len(state), 1 / np.sqrt(len(mass)))
    w, iterations, converged = relax(diffusion.relaxations(tau, weights), state, guess, 1e-8)
    assert converged
    assert 0 < iterations < 400
    for D, rows, mine in zip(constants, state.reshape(-1, len(mass)), w.reshape(-1, len(mass)), strict=True):
        exact = spla.spsolve(sp.csc_array(sp.diags_array(mass) + tau * D * K), -D * (K @ rows))
        # The residual that was made 1e-8 is within sqrt(1 + tau D K_ii / M_ii) < 100 of the error.
        assert np.sqrt(np.mean((mine - exact) ** 2)) < 1e-6
        assert abs(mass @ mine) < 1e-13 * (mass @ np.abs(mine) + 1)


def test_one_call_solves_as_many_do(case):
    _, _, constants, diffusion = case
    n = len(diffusion.bands[0].mass)
    rng = np.random.default_rng(3)
    state, guess = rng.standard_normal((2, len(constants) * n))
    for alone in diffusion.relaxations(0.1, np.ones_like(state)):
        band = alone.band
        # Two pieces, of which one is empty.
        shared = replace(band, sweeps=replace(band.sweeps, bounds=np.array([0, n, n])))
        mine, others = (system.solve(state, guess, 1e-4) for system in (alone, replace(alone, band=shared)))
        np.testing.assert_allclose(mine[0], others[0], atol=1e-9 * np.abs(others[0]).max())
        assert mine[1:] == others[1:]


def test_a_perfect_guess_costs_no_iteration(case):
    _, mass, constants, diffusion = case
    state = np.random.default_rng(2).standard_normal(len(constants) * len(mass))
    systems = diffusion.relaxations(0.01, np.ones_like(state))
    w, _, _ = relax(systems, state, np.zeros_like(state), 1e-9)
    again, iterations, _ = relax(systems, state, w, 1e-6)
    assert iterations == 0
    np.testing.assert_allclose(again, w, atol=1e-12 * np.abs(w).max())
