"""Laws that every engine must obey: known solutions, orders, conservation, positivity, symmetry, clear failures."""

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from gallery.balls import round_ball
from gallery.meshes import box, slope
from gallery.models import BALL, ROBERTSON, calcium, exchange, well
from meshcell.analysis.quantities import flux, mean, total
from meshcell.core.errors import SolveError
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.solver import solve


# Under mpiexec the distributed one: all ranks run the tests, and all have to find them right.
@pytest.fixture(params=os.environ.get("MESHCELL_ENGINES", "numba").split())
def engine(request):
    """The engines that are asked for; the laws hold for each."""
    return request.param


# --- known solutions ---


def kinase_mean(engine, n):
    """Surface kinase, bulk phosphatase (Meyers, Craig, Odde 2006), R = 1."""
    reactions = [Reaction("kin", "rim", "k*(1 - c)", {"c": 1}), Reaction("phos", "ball", "p*c", {"c": -1})]
    model = Model(BALL, [Species("c", "ball", 10, 0.79)], reactions, {"k": 50 / 3, "p": 10})
    return mean(solve(round_ball(n), model, [0, 2], engine=engine), "c")[-1]


def test_surface_kinase_within_two_per_mille_and_second_order(engine):
    exact = 0.79061216
    # The polyhedron lies inside the ball (volume -0.47 % at n = 18): that error is part of what is allowed.
    shells = np.array([5, 9, 18])
    errors = [abs(kinase_mean(engine, n) / exact - 1) for n in shells]
    assert errors[-1] < 0.002
    assert slope(1 / shells, errors) == pytest.approx(2, abs=0.15), errors


def test_exchange_on_the_membrane_reaches_equilibrium_and_keeps_the_total(engine):
    mesh = round_ball(8)
    solution = solve(mesh, exchange(), np.linspace(0, 20, 6), engine=engine)
    # A fast A is uniform: (1 - s b)(1 - b) = b with s = area/volume, 3 in the ball.
    s = mesh.areas.sum() / mesh.volumes.sum()
    b = min(np.roots([s, -2 - s, 1]).real)
    assert mean(solution, "B")[-1] == pytest.approx(b, rel=1e-3)
    assert mean(solution, "A")[-1] == pytest.approx((np.sqrt(13) - 3) / 2, rel=0.02)
    kept = total(solution, "A") + total(solution, "B")
    np.testing.assert_allclose(kept, kept[0], rtol=1e-10)
    np.testing.assert_allclose(total(solution, "X") + total(solution, "B"), mesh.areas.sum(), rtol=1e-10)
    assert solution.stats["mass_drift"] < 1e-10


@pytest.mark.parametrize(
    ("z", "formula"),
    [
        (4.4934094579, "1 + 0.5*(({s})/sqrt(r2))*1/{z}"),
        (2.0815759778, "1 + x*(({s})/(r2*{z}**2*sqrt(r2)) - ({c})/(r2*{z}))"),
    ],
)
def test_modes_of_the_ball_decay_at_their_rates(engine, z, formula):
    # sin and cos are not in the language of rates, but tanh, exp and powers are: so the power series.
    r2 = "(x*x + y*y + z*z + 1e-12)"
    series = [z ** (2 * k + 1) * (-1) ** k / np.prod(np.arange(1.0, 2 * k + 2)) for k in range(14)]
    sine = "+".join(f"({a:.17g})*{r2}**{k + 0.5}" for k, a in enumerate(series))
    even = [z ** (2 * k) * (-1) ** k / np.prod(np.arange(1.0, 2 * k + 1)) for k in range(14)]
    cosine = "+".join(f"({a:.17g})*{r2}**{k}" for k, a in enumerate(even))
    initial = formula.format(s=sine, c=cosine, z=z).replace("r2", r2)
    mesh = round_ball(12)
    times = np.array([0, 0.5, 1.5]) / z**2
    solution = solve(mesh, Model(BALL, [Species("u", "ball", 1, initial)]), times, engine=engine, rtol=1e-5)
    mode = solution.values["u"] - mean(solution, "u")[:, None]
    size = np.linalg.norm(mode, axis=1)
    # 1 %: the polyhedron is 0.5 % smaller than the ball and P1 adds about (z h)^2 / 12.
    assert np.log(size[1] / size[2]) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(("degree", "formula"), [(1, "1 + 0.5*x"), (2, "1 + 0.5*x*y")])
def test_modes_of_the_sphere_surface_decay_at_their_rates(engine, degree, formula):
    mesh, rate = round_ball(12, radius=2.0), degree * (degree + 1) * 3 / 2.0**2
    model = Model(BALL, [Species("u", "rim", 3, formula)])
    solution = solve(mesh, model, np.array([0, 0.5, 1.5]) / rate, engine=engine, rtol=1e-5)
    mode = solution.values["u"] - mean(solution, "u")[:, None]
    assert np.log(np.linalg.norm(mode[1]) / np.linalg.norm(mode[2])) == pytest.approx(1, rel=0.01)


def test_leak_from_the_er_fills_the_cytosol_to_the_common_mean(engine):
    mesh = round_ball(6, core=3)
    solution = solve(mesh, calcium(pump=False), [0, 1, 1e4], engine=engine)
    amounts = total(solution, "Ca") + total(solution, "CaER")
    np.testing.assert_allclose(amounts, amounts[0], rtol=1e-10)
    for name in ("Ca", "CaER"):
        np.testing.assert_allclose(solution.values[name][-1], amounts[0] / mesh.volumes.sum(), rtol=1e-4)


def test_what_a_compartment_loses_is_what_its_fluxes_carry(engine):
    mesh = round_ball(6, core=3)
    times = np.linspace(0, 0.2, 401)
    solution = solve(mesh, calcium(), times, engine=engine, rtol=1e-5)
    gain = flux(solution, "leak") - flux(solution, "pump")
    carried = np.sum((gain[1:] + gain[:-1]) / 2 * np.diff(times))
    assert total(solution, "Ca")[-1] - total(solution, "Ca")[0] == pytest.approx(carried, rel=2e-3)


def test_a_rate_that_depends_on_time_and_place(engine):
    model = Model({"box": "box"}, [Species("u", "box", 0, 0)], [Reaction("r", "box", "(1 + x)*3*t*t", {"u": 1})])
    mesh = box(2, names={1: "box"})
    solution = solve(mesh, model, [0, 0.5, 2], engine=engine)
    exact = np.outer(solution.times**3, 1 + mesh.points[:, 0])
    np.testing.assert_allclose(solution.values["u"], exact, atol=1e-3 * exact.max())


def test_robertson_in_every_node(engine):
    def right(t, y):
        slow, fast, back = 0.04 * y[0], 3e7 * y[1] ** 2, 1e4 * y[1] * y[2]
        return [back - slow, slow - fast - back, fast]

    times = np.array([0, 0.4, 40, 4e3, 4e5])
    exact = solve_ivp(right, (0, 4e5), [1, 0, 0], method="Radau", rtol=1e-10, atol=1e-14, t_eval=times).y
    model = well(ROBERTSON, a=1, b=0, c=0)
    solution = solve(box(1, names={1: "box"}), model, times, engine=engine, rtol=1e-4)
    for row, name in enumerate("abc"):
        np.testing.assert_allclose(solution.values[name].T[0], exact[row], rtol=1e-3)
    assert solution.stats["steps"] < 300
    assert solution.stats["mass_drift"] < 1e-10


# --- orders and tolerances ---


@pytest.fixture(scope="module")
def logistic():
    """Diffusion and logistic growth in a box: the state at t = 4, and the one at a far smaller tolerance."""
    mesh = box(2, names={1: "box"})
    model = Model(
        {"box": "box"}, [Species("u", "box", 0.05, "0.1 + 0.2*x")], [Reaction("r", "box", "u*(1 - u)", {"u": 1})]
    )

    def run(engine, **options):
        return solve(mesh, model, [0, 4], engine=engine, **options).values["u"][-1]

    exact = run("numba", rtol=1e-8)
    return lambda engine, **options: np.abs(run(engine, **options) - exact).max()


@pytest.mark.parametrize(("scheme", "order"), [("implicit", 3), ("imex", 3), ("imex2", 2)])
def test_fixed_steps_converge_with_their_order(engine, logistic, scheme, order):
    # RODAS3's error of order 4 rules at long steps: between steps of 0.5 and 0.125 its slope here is 3.5.
    steps = np.array([0.125, 0.0625, 0.03125])
    errors = [logistic(engine, scheme=scheme, step=step, rtol=1e-9) for step in steps]
    assert slope(steps, errors) == pytest.approx(order, abs=0.25), errors


@pytest.mark.parametrize("scheme", ["implicit", "imex"])
def test_the_error_follows_the_tolerance(engine, logistic, scheme):
    tolerances = 10.0 ** -np.arange(3, 6)
    errors = np.array([logistic(engine, scheme=scheme, rtol=rtol) for rtol in tolerances])
    assert (errors < 10 * tolerances).all(), errors
    assert (np.diff(errors) < 0).all(), errors


def test_asked_times_end_steps_and_are_as_exact_as_the_steps(engine):
    mesh, model = box(1, names={1: "box"}), well([Reaction("r", "box", "u", {"u": -1})], u=1)
    few, many = (solve(mesh, model, np.linspace(0, 5, k), engine=engine) for k in (2, 301))
    # A step that is cut at an asked time does not make the next one shorter.
    assert many.stats["steps"] <= few.stats["steps"] + 300
    # As few steps as these are exact to the tolerance; ten times as many are far better.
    np.testing.assert_allclose(many.values["u"][:, 0], np.exp(-many.times), atol=1e-6)
    np.testing.assert_allclose(few.values["u"][-1], np.exp(-5.0), rtol=1e-3)


def test_nothing_unheard_of_happens_at_asked_times(engine):
    # Steps here skip the fast modes of diffusion, so slopes at their ends say nothing: interpolation once gave a mean
    # that was right and single nodes between zero and ten times the truth.
    mesh = round_ball(6)
    species = [Species("u", "ball", 200, 1.0)]
    model = Model(BALL, species, [Reaction("in", "rim", "50*exp(-100*t)", {"u": 1})])
    solution = solve(mesh, model, np.linspace(0, 0.5, 34), engine=engine)
    values = solution.values["u"]
    # Diffusion evens out within 1/(D z^2) = 1 ms; the spread is that of the steady profile of the influx.
    spread = np.ptp(values, axis=1)
    assert (spread <= 1.1 * 50 * np.exp(-100 * solution.times) * 0.5 / 200 + 1e-3 * values.max()).all()
    assert (np.diff(values.mean(axis=1)) > -1e-4 * values.max()).all()


# --- invariants ---


def test_mass_is_kept_however_loosely_systems_are_solved(engine):
    mesh = round_ball(6)
    species = [Species("a", "ball", 100, "exp(-20*((x - 0.3)**2 + y*y + z*z))"), Species("b", "ball", 0.1, "1 + x")]
    reactions = [Reaction("r", "ball", "1e3*(a - 2*b*b)", {"a": -1, "b": 2})]
    solution = solve(mesh, Model(BALL, species, reactions), np.linspace(0, 1, 7), engine=engine, rtol=1e-2)
    kept = 2 * total(solution, "a") + total(solution, "b")
    np.testing.assert_allclose(kept, kept[0], rtol=1e-10)


def test_a_steep_start_stays_positive(engine):
    mesh = round_ball(8)
    model = Model(BALL, [Species("u", "ball", 1, "exp(-500*((x - 0.5)**2 + y*y + z*z))")])
    solution = solve(mesh, model, np.linspace(0, 0.1, 21), engine=engine)
    # Obtuse tetrahedra (up to 138 degrees here) have no maximum principle; smaller steps would not help.
    assert solution.values["u"].min() > -1e-2 * solution.values["u"].max()
    assert solution.values["u"][5:].min() >= -1e-6
    assert solution.stats["undershoot"] < 1e-2


def test_a_grid_of_right_angles_stays_positive_to_the_tolerance(engine):
    mesh = box(8, names={1: "box"})
    model = Model({"box": "box"}, [Species("u", "box", 1, "exp(-500*((x - 0.5)**2 + y*y + z*z))")])
    solution = solve(mesh, model, np.linspace(0, 0.2, 21), engine=engine)
    assert solution.values["u"].min() > -1e-4


def test_a_constant_state_stays_constant(engine):
    model = Model(BALL, [Species("u", "ball", 50, 3), Species("s", "rim", 2, 0.7)])
    solution = solve(round_ball(5), model, [0, 1, 100], engine=engine)
    # Not to rounding: with dt D / h^2 about 10^4, rounding in K u is only damped to the linear solver's share of rtol.
    np.testing.assert_allclose(solution.values["u"], 3, rtol=1e-5)
    np.testing.assert_allclose(solution.values["s"], 0.7, rtol=1e-5)
    np.testing.assert_allclose(total(solution, "u"), total(solution, "u")[0], rtol=1e-13)


def test_a_mirrored_problem_has_the_mirrored_solution(engine):
    mesh = round_ball(5)
    left, right = (
        solve(
            mesh,
            Model(
                BALL,
                [Species("u", "ball", 1, f"1 + 0.5*tanh(4*({sign}x + y))")],
                [Reaction("r", "rim", "u*u", {"u": -1})],
            ),
            [0, 0.1],
            engine=engine,
        )
        for sign in ("", "-")
    )
    twin = {tuple(p): k for k, p in enumerate(np.round(mesh.points, 9) + 0.0)}
    mirrored = [twin[tuple(np.round(p * [-1, 1, 1], 9) + 0.0)] for p in mesh.points]
    # Unlike orders of summation and coarse grids: equal to the tolerance of the steps, not to rounding.
    np.testing.assert_allclose(left.values["u"][-1], right.values["u"][-1][mirrored], rtol=1e-4)


def test_the_same_run_twice_gives_the_same_bytes_and_leaves_its_input_alone(engine):
    mesh, model = round_ball(5, core=2), calcium()
    before = mesh.points.tobytes(), mesh.tets.tobytes(), repr(model)
    one, two = (solve(mesh, model, [0, 0.5, 1], engine=engine) for _ in range(2))
    assert all(one.values[name].tobytes() == two.values[name].tobytes() for name in one.values)
    assert before == (mesh.points.tobytes(), mesh.tets.tobytes(), repr(model))


DIGEST = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from gallery.balls import round_ball
from meshcell.solving.solver import solve
from gallery.models import calcium
solution = solve(round_ball(16, core=6), calcium(), [0, 0.02])
print(hashlib.sha256(b"".join(v.tobytes() for v in solution.values.values())).hexdigest())
"""


@pytest.mark.slow
def test_any_number_of_threads_gives_the_same_bytes():
    digests = set()
    for threads in ("1", "2"):
        names = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, threads)}
        command = [sys.executable, "-c", DIGEST, str(Path(__file__).parents[1])]
        digests.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(digests) == 1


# --- failures ---


# An error of rtol early on moves the time of blow-up by as much, here 1e-4 * 0.5 s; the implicit scheme is luckier.
@pytest.mark.parametrize(("scheme", "when"), [("implicit", r"(5|49999)\d*"), ("auto", r"(5000|4999)\d*")])
def test_a_blow_up_says_when_and_where_and_keeps_what_was_computed(engine, scheme, when):
    mesh = box(2, names={1: "box"})
    model = Model({"box": "box"}, [Species("u", "box", 0, "1 + x")], [Reaction("r", "box", "u*u", {"u": 1})])
    times = np.linspace(0, 1, 11)
    with pytest.raises(SolveError, match=rf"stopped at t = 0\.{when} s.*species 'u'.*at \(1, .*um; .*blow up") as error:
        solve(mesh, model, times, engine=engine, scheme=scheme)
    partial = error.value.solution
    assert 4 <= len(partial.times) <= 6
    exact = 1 / (1 / (1 + mesh.points[:, 0]) - partial.times[3])
    # An error in u' = u^2 grows like u^2: 25-fold from the start.
    np.testing.assert_allclose(partial.values["u"][3], exact, rtol=25e-4)
    silent = solve(mesh, model, times, engine=engine, scheme=scheme, throw=False)
    assert silent.message == str(error.value)
    np.testing.assert_array_equal(silent.values["u"], partial.values["u"])


def test_a_model_that_forces_negative_values_is_refused(engine):
    model = well([Reaction("sink", "box", "1 + 0*u", {"u": -1})], u=1)
    with pytest.raises(SolveError, match=r"t = 1\.01 s: .*below zero.*'u'.*go to zero with the species") as error:
        solve(box(1, names={1: "box"}), model, [0, 0.5, 2], engine=engine)
    np.testing.assert_allclose(error.value.solution.values["u"][1], 0.5, rtol=1e-6)


def test_what_may_be_negative_is_left_alone(engine):
    model = well([Reaction("r", "box", "1 + 0*v", {"v": -1})], v=-70)
    assert solve(box(1, names={1: "box"}), model, [0, 10], engine=engine).values["v"][-1] == pytest.approx(
        -80, rel=1e-6
    )


def test_rates_that_are_not_finite_are_named(engine):
    model = well([Reaction("r", "box", "sqrt(0.5 - u)", {"u": 1})], u=1)
    with pytest.raises(SolveError, match=r"a rate is not finite.*roots or logarithms"):
        solve(box(1, names={1: "box"}), model, [0, 1], engine=engine)


@pytest.mark.parametrize(
    ("rate", "options", "said"),
    [
        (
            "1e6*(1 - 2*heaviside(u - 0.5))",
            {},
            r"2000 steps got on by less than .*'u', 0\.5 at .*make the switch smooth",
        ),
        ("1/(t - 0.5)**2", {}, r"t = 0\.5 s: the step fell to .* s without reaching the tolerance.*'u'.*jump"),
        # u begins like t**1.5: beside that the error of a step is the same share, however short the step.
        ("sqrt(t)", {"rtol": 1e-12, "atol": 0.0}, r"t = 0 s: the step fell to .*'[uv]', 0 at .*a larger rtol or atol"),
    ],
    ids=["to and fro", "pole", "tolerance out of reach"],
)
def test_steps_that_come_to_nothing_are_given_up(engine, rate, options, said):
    reactions = [Reaction("r", "box", rate, {"u": 1}), Reaction("s", "box", "u - v", {"v": 1})]
    model = well(reactions, u=0.0, v=0.0)
    with pytest.raises(SolveError, match=said) as error:
        solve(box(1, names={1: "box"}), model, [0, 0.25, 1], engine=engine, **options)
    reached = error.value.solution
    assert len(reached.times) == len(reached.values["u"]) >= 1
    assert (reached.times <= reached.stats["time"]).all()


def test_an_interrupt_returns_what_was_computed(monkeypatch):
    rate, calls = Discretisation.reacted, []

    def interrupted(self, t, u):
        calls.append(t)
        if t > 0.5:
            raise KeyboardInterrupt
        return rate(self, t, u)

    monkeypatch.setattr(Discretisation, "reacted", interrupted)
    model = well([Reaction("r", "box", "u", {"u": -1})], u=1)
    solution = solve(box(1, names={1: "box"}), model, np.linspace(0, 1, 101))
    assert "interrupted at t = 0." in solution.message
    assert 10 < len(solution.times) < 101
    np.testing.assert_allclose(solution.values["u"][:, 0], np.exp(-solution.times), rtol=1e-3)


@pytest.mark.parametrize("scheme", ["implicit", "imex"])
def test_a_run_leaves_its_matrices_to_nobody(engine, scheme, monkeypatch):
    """They are much memory, and what names itself in a ring is kept until Python looks for rings."""
    made, begin = [], Discretisation.__init__

    def noted(self, *given):
        made.append(weakref.ref(self))
        begin(self, *given)

    monkeypatch.setattr(Discretisation, "__init__", noted)
    model = well([Reaction("r", "box", "u", {"u": -1})], u=1)
    gc.collect()
    gc.disable()
    try:
        solve(box(2, names={1: "box"}), model, [0, 0.1], engine=engine, scheme=scheme)
        assert [ref() for ref in made] == [None]
    finally:
        gc.enable()
