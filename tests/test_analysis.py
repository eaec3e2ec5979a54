"""Totals, means and fluxes agree with integrals known by hand and with each other."""

import numpy as np
import pytest

from balls import round_ball
from meshcell.analysis import flux, mean, total
from meshcell.models import Model, Reaction, Species
from meshcell.solver import solve
from meshcell.types import Solution

MODEL = Model(
    {"cyt": "shell", "er": "core", "PM": ("shell", "outside"), "ERM": ("shell", "core")},
    [Species("a", "cyt", 1, "1 + x"), Species("b", "er", 1, 2), Species("s", "PM", 1, "3 + y")],
    [Reaction("leak", "ERM", "2*(b - a)", {"b": -1, "a": 1}), Reaction("clock", "PM", "t*t", {"s": 1})],
)


@pytest.fixture(scope="module")
def solution():
    return solve(round_ball(5, core=2), MODEL, np.linspace(0, 0.1, 5))


def test_linear_fields_are_integrated_exactly(solution):
    mesh = solution.mesh
    shell = mesh.volumes[mesh.regions == 1].sum()
    # The ball is symmetric, so x and y integrate to nothing.
    assert total(solution, "a")[0] == pytest.approx(shell, rel=1e-13)
    assert mean(solution, "a")[0] == pytest.approx(1, rel=1e-13)
    assert mean(solution, "b")[0] == pytest.approx(2, rel=1e-13)
    assert total(solution, "s")[0] == pytest.approx(3 * mesh.areas[mesh.sides[:, 1] == 0].sum(), rel=1e-13)


def test_an_unsymmetric_field_is_integrated_as_by_the_centroid_rule():
    mesh = round_ball(3)
    model = Model({"ball": "ball"}, [Species("u", "ball", 0, "x*x*x + exp(y)")])
    solution = solve(mesh, model, [0])
    u = solution.values["u"][0]
    assert total(solution, "u")[0] == pytest.approx(mesh.volumes @ u[mesh.tets].mean(axis=1), rel=1e-13)


def test_flux_is_the_rate_over_the_interface(solution):
    mesh = solution.mesh
    membrane = mesh.areas[mesh.sides[:, 1] == 0].sum()
    np.testing.assert_allclose(flux(solution, "clock"), solution.times**2 * membrane, rtol=1e-13)
    # At first b - a = 1 - x, and x integrates to nothing.
    inner = mesh.areas[mesh.sides[:, 1] != 0].sum()
    assert flux(solution, "leak")[0] == pytest.approx(2 * inner, rel=1e-13)


def test_what_the_leak_moves_is_conserved(solution):
    kept = total(solution, "a") + total(solution, "b")
    np.testing.assert_allclose(kept, kept[0], rtol=1e-12)


def test_unknown_names_are_answered_with_the_known_ones(solution):
    with pytest.raises(ValueError, match=r"species should be one of a, b, s; got 'c'"):
        total(solution, "c")
    with pytest.raises(ValueError, match=r"reaction should be one of leak, clock; got 'pump'"):
        flux(solution, "pump")


def test_nothing_is_needed_but_the_solution_as_saved(solution):
    bare = Solution(solution.mesh, solution.model, solution.times, dict(solution.values), dict(solution.nodes))
    np.testing.assert_array_equal(total(bare, "a"), total(solution, "a"))
