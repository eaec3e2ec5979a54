"""Errors follow the tolerance, whatever the problem and the scheme; stiff problems finish without tiny steps."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from gallery.balls import round_ball
from gallery.meshes import box
from gallery.models import BALL, ROBERTSON, brusselator, calcium, exchange, well
from meshcell.models.model import Model
from meshcell.models.parameters import Field
from meshcell.models.species import Reaction, Species
from meshcell.solving import error_norms
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
def test_errors_are_at_most_ten_tolerances_and_work_grows_cit_should(problem, scheme):
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


def exchanged(k, j, start, t):
    """Return a and b at times t of a <-> b at k, both ways, with an influx j of a."""
    both = sum(start) + j * t
    apart = (start[0] - start[1]) * np.exp(-2 * k * t) - j / (2 * k) * np.expm1(-2 * k * t)
    return (both + apart) / 2, (both - apart) / 2


@pytest.mark.parametrize("scheme", ["implicit", "auto"])
@pytest.mark.parametrize("start", [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
@pytest.mark.parametrize("span", [1.0, 86400.0])
def test_a_fast_exchange_starts_from_nothing(span, start, scheme):
    mesh, j = box(1, names={1: "box"}), 0.0 if any(start) else 1 / span
    places, species = {"box": "box"}, [Species(name, "box", 10, value) for name, value in zip("ab", start, strict=True)]
    reactions = [Reaction("x", "box", "k*(a - b)", {"a": -1, "b": 1}), Reaction("in", "box", "j", {"a": 1})]
    for k in (1.0, 1e4, 1e8):
        times = np.array([0, 0.1 / max(k, 1.0), 0.7 * span, span])
        solution = solve(mesh, Model(places, species, reactions, {"k": k, "j": j}), times, rtol=1e-4, scheme=scheme)
        for name, exact in zip("ab", exchanged(k, j, start, times), strict=True):
            np.testing.assert_allclose(solution.values[name].T[0], exact, rtol=1e-3, atol=1e-3 * exact.max())
        # A hundred steps and more for the fourteen decades of time, where steps bound by the rate would be 1e12.
        assert solution.stats["steps"] < 300


@pytest.mark.parametrize("scheme", ["implicit", "auto"])
@pytest.mark.parametrize("k", [1e4, 1e8])
def test_equal_steps_far_longer_than_an_exchange_from_nothing_end_at_its_balance(k, scheme):
    reactions = [Reaction("x", "box", f"{k}*(a - b)", {"a": -1, "b": 1})]
    solution = solve(box(1, names={1: "box"}), well(reactions, a=1, b=0), [0, 1], step=0.1, scheme=scheme)
    np.testing.assert_allclose(solution.values["b"][-1], 0.5, rtol=1e-4)


def test_a_complex_on_an_empty_membrane_forms_at_any_speed():
    # Far more in the bulk than the membrane can bind: all of s ends in the complex.
    species = [Species("a", "ball", 100, 1e4), Species("s", "rim", 0, 1.0), Species("c", "rim", 0, 0.0)]
    for k in (1.0, 1e4):
        model = Model(BALL, species, [Reaction("bind", "rim", f"{k}*(a*s - c)", {"a": -1, "s": -1, "c": 1})])
        solution = solve(round_ball(3), model, [0, 1e-9, 3600])
        # Until 1e-9 s hardly any is given back, and in the end a / (1 + a) is bound.
        exact = -np.expm1(-k * 1e4 * 1e-9)
        np.testing.assert_allclose(solution.values["c"][1], exact, rtol=1e-3)
        np.testing.assert_allclose(solution.values["c"][2], 1, rtol=1e-3)


def places_of_interest(mesh):
    """Return nodes of the ball, or of its rim: one node, a patch about a pole, the curve of the equator."""
    rim = np.unique(mesh.facets)
    x, y, z = mesh.points.T
    everywhere = np.arange(len(mesh.points))
    return {
        "node": ("ball", everywhere == np.argmin(np.linalg.norm(mesh.points, axis=1))),
        "patch": ("rim", z[rim] > 0.9),
        "curve": ("rim", np.abs(z[rim]) < 0.05),
        "node of the rim": ("rim", rim == rim[np.argmax(x[rim] + 0.3 * y[rim])]),
    }


# Nothing damps the oscillation, so that errors add up from period to period: 5 rtol of the implicit scheme, which damps
# it itself, if it is everywhere.
@pytest.mark.parametrize(("scheme", "periods"), [("implicit", 1), ("auto", 10)])
@pytest.mark.parametrize("rtol", [1e-3, 1e-4])
def test_small_places_are_as_right_as_large_ones(rtol, scheme, periods):
    mesh = round_ball(10)
    for home, here in places_of_interest(mesh).values():
        assert 0 < here.sum() < 0.1 * len(here)
        field = here.astype(float)
        species = [Species("a", home, 0, 1 + 0.5 * field), Species("b", home, 0, 1.0)]
        reactions = [Reaction("a", home, "w*s*(b - 1)", {"a": 1}), Reaction("b", home, "w*s*(1 - a)", {"b": 1})]
        model = Model(BALL, species, reactions, {"w": 2 * np.pi, "s": Field(field, at="nodes")})
        solution = solve(mesh, model, np.linspace(0, periods, 21), rtol=rtol, scheme=scheme)
        error = solution.values["a"] - 1 - 0.5 * np.outer(np.cos(2 * np.pi * solution.times), field)
        # Its amplitude is 0.5.
        assert np.abs(error).max() <= 30 * rtol * 0.5
        assert 0.01 * rtol < solution.stats["nodal_error"] <= 5 * rtol


def test_the_error_of_single_nodes_costs_the_page_nothing(monkeypatch):
    mesh, times = round_ball(6, core=3), np.linspace(0, 2, 41)
    steps = [solve(mesh, calcium(), times).stats["steps"]]
    monkeypatch.setattr(error_norms, "ROUGHEST", np.inf)
    steps.append(solve(mesh, calcium(), times).stats["steps"])
    assert steps[0] <= 1.3 * steps[1]


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
