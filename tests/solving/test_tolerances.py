"""Errors follow the tolerance, whatever the problem and the scheme; stiff problems finish without tiny steps."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from gallery.balls import round_ball
from gallery.meshes import box
from gallery.models import BALL, ROBERTSON, brusselator, calcium, exchange, well
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving.solver import solve


def kinase():
    reactions = [Reaction("kin", "rim", "k*(1 - c)", {"c": 1}), Reaction("phos", "ball", "p*c", {"c": -1})]
    return Model(BALL, [Species("c", "ball", 10, 0.1)], reactions, {"k": 50 / 3, "p": 10})


PROBLEMS = {
    "kinase": (round_ball(4), kinase(), np.linspace(0, 0.3, 4)),
    "Brusselator": (round_ball(4), brusselator(), np.linspace(0, 4, 5)),
    "exchange": (round_ball(4), exchange(diffusion=1.0), np.linspace(0, 2, 4)),
    "calcium": (round_ball(4, core=2), calcium(), np.linspace(0, 0.5, 4)),
    "Robertson": (box(1, names={1: "box"}), well(ROBERTSON, a=1, b=0, c=0), np.array([0, 0.4, 40, 4e3])),
}


def distance(one, two):
    """Return the largest relative distance in the root mean square of any species at any time but the first."""
    return max(
        np.linalg.norm(one.values[name][k] - two.values[name][k]) / np.linalg.norm(two.values[name][k])
        for name in one.values
        for k in range(1, len(one.times))
    )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["implicit", "auto"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_errors_are_at_most_ten_tolerances_and_work_grows_as_it_should(problem, scheme):
    mesh, model, times = PROBLEMS[problem]
    exact = solve(mesh, model, times, rtol=1e-9, scheme="implicit")
    tolerances = 10.0 ** -np.arange(3, 7)
    runs = [solve(mesh, model, times, rtol=rtol, scheme=scheme) for rtol in tolerances]
    errors = np.array([distance(run, exact) for run in runs])
    assert (errors <= 10 * tolerances).all(), errors / tolerances
    # Order 3: a tenth of the tolerance takes 2.15 times the steps; stiff ones lose an order at most (3.16).
    work = np.array([run.stats["steps" if scheme == "implicit" else "work"] for run in runs])
    assert (work[1:] / work[:-1] < 3.5).all(), work


@pytest.mark.parametrize("scheme", ["implicit", "auto"])
def test_rate_constants_over_six_decades(scheme):
    constants = {"k0": 1e3, "k1": 10.0, "k2": 0.1, "k3": 1e-3}
    chain = [Reaction(f"r{k}", "box", f"k{k}*s{k}", {f"s{k}": -1, f"s{k + 1}": 1}) for k in range(4)]
    initial = {"s0": 1.0, **{f"s{k}": 0.0 for k in range(1, 5)}}
    times = np.array([0, 1e-3, 0.1, 10, 1e3])
    solution = solve(box(1, names={1: "box"}), well(chain, constants, **initial), times, scheme=scheme)
    K = np.diag([*(-k for k in constants.values()), 0.0]) + np.diag(list(constants.values()), -1)
    for row, t in enumerate(times):
        exact = expm(K * t)[:, 0]
        mine = [solution.values[f"s{k}"][row, 0] for k in range(5)]
        np.testing.assert_allclose(mine, exact, rtol=1e-3, atol=1e-6)
    # Fifty steps or so for each of the seven decades of time; steps bound by the fastest rate would be 300,000.
    assert solution.stats["steps"] < 500
    assert solution.stats["mass_drift"] < 1e-10


@pytest.mark.parametrize("scheme", ["implicit", "auto"])
def test_a_membrane_that_switches_finishes_and_is_right(scheme):
    # FitzHugh and Nagumo's reduction of Hodgkin and Huxley, fast in v (rate 1000) and slow in w.
    reactions = [
        Reaction("v", "box", "1000*(v - v*v*v/3 - w + 0.5)", {"v": 1}),
        Reaction("w", "box", "8*(v + 0.7 - 0.8*w)", {"w": 1}),
    ]

    def right(t, y):
        v, w = y
        return [1000 * (v - v**3 / 3 - w + 0.5), 8 * (v + 0.7 - 0.8 * w)]

    times = np.linspace(0, 2, 21)
    exact = solve_ivp(right, (0, 2), [-1, -0.4], method="Radau", rtol=1e-10, atol=1e-12, t_eval=times).y
    assert np.ptp(exact[0]) > 3
    # Both start below zero, so that neither is taken for a concentration.
    model = well(reactions, v=-1.0, w=-0.4)
    # Where it switches is as exact as the slow way there: 1e-5, times the speed of the switch.
    solution = solve(box(1, names={1: "box"}), model, times, rtol=1e-5, atol=1e-6, scheme=scheme)
    np.testing.assert_allclose(solution.values["v"][:, 0], exact[0], atol=2e-3)
    np.testing.assert_allclose(solution.values["w"][:, 0], exact[1], atol=1e-3)
    assert solution.stats["steps"] < 4000
