"""Schemes: order conditions, which one is chosen, events, fixed steps."""

from dataclasses import replace

import numpy as np
import pytest

from gallery.balls import round_ball
from gallery.meshes import box
from gallery.models import brusselator, buffered, calcium, receptor
from meshcell.analysis.quantities import total
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving import schemes
from meshcell.solving.solver import solve
from meshcell.solving.state import Choice

BALL = {"ball": "ball", "rim": ("ball", "outside")}


def dense(rows):
    """Fill up a tableau's rows with zeros."""
    return np.array([[*row, *(0.0,) * (len(rows) - len(row))] for row in rows])


@pytest.mark.parametrize(("tableau", "order"), [(schemes.ARS343, 3), (schemes.ARS222, 2)])
def test_tableaus_fulfil_the_conditions_of_their_order(tableau, order):
    c, n = np.array(tableau.nodes), len(tableau.nodes)
    diagonal = np.diag([0.0, *(tableau.theta,) * (n - 1)])
    E, I = dense(tableau.explicit), dense(tableau.implicit) + diagonal  # noqa: E741
    # 1e-9: the two coefficients that are free in the paper are printed with ten digits.
    np.testing.assert_allclose(E.sum(axis=1), c, atol=1e-9)
    np.testing.assert_allclose(I.sum(axis=1), c, atol=1e-9)
    for b in np.array(tableau.weights):
        assert b.sum() == pytest.approx(1, abs=1e-14)
        assert b @ c == pytest.approx(1 / 2, abs=1e-14)
        if order == 3:
            assert b @ c**2 == pytest.approx(1 / 3, abs=1e-14)
            for A in (E, I):
                assert b @ A @ c == pytest.approx(1 / 6, abs=1e-9)
    # L-stable in diffusion: the last implicit stage is the new state, and what decays infinitely fast is gone.
    stages = np.linalg.solve(I[1:, 1:], np.ones(n - 1))
    assert 1 - np.array(tableau.weights[1])[1:] @ stages == pytest.approx(0, abs=1e-12)
    if tableau.less:
        less = np.array(tableau.less)
        assert less.sum() == pytest.approx(0, abs=1e-15)
        assert less @ c == pytest.approx(0, abs=1e-15)


def decay(speed, diffusion=1.0):
    reactions = [Reaction("r", "ball", "k*u", {"u": -1}), Reaction("in", "ball", "k", {"u": 1})]
    return Model({"ball": "ball"}, [Species("u", "ball", diffusion, "2 + x")], reactions, {"k": speed})


@pytest.mark.parametrize("scheme", ["auto", "implicit", "imex"])
def test_what_does_not_diffuse_reacts_at_every_node_on_its_own(scheme):
    mesh = round_ball(4)
    values = solve(mesh, decay(1.0, diffusion=0.0), [0, 1], scheme=scheme).values["u"][1]
    np.testing.assert_allclose(values, 1 + (1 + mesh.points[:, 0]) * np.exp(-1), rtol=1e-3)


def test_slow_reactions_are_taken_explicitly():
    stats = solve(round_ball(4), decay(1.0), [0, 1], rtol=1e-3, scheme="auto").stats
    # Two steps of thirteen try the other scheme.
    assert stats["implicit_steps"] <= 2
    assert stats["imex_steps"] == stats["steps"] - stats["implicit_steps"] > 8


def test_stiff_reactions_are_taken_implicitly_once_they_have_died_down():
    stats = solve(round_ball(4), decay(1e5), [0, 1], rtol=1e-3, scheme="auto").stats
    # Explicit ones would be stable with 40,000 steps at least.
    assert stats["implicit_steps"] > 5
    assert stats["steps"] == stats["implicit_steps"] + stats["imex_steps"] < 100


@pytest.mark.parametrize(
    ("model", "core", "end"),
    [(calcium(), 2, 2.0), (brusselator(), 0, 5.0), (buffered(), 0, 0.1), (receptor(), 0, 10.0)],
    ids=["calcium", "Brusselator", "buffer", "receptor"],
)
def test_the_choice_costs_little_more_than_the_better_scheme(model, core, end):
    mesh = round_ball(4, core=core)
    work = {
        scheme: solve(mesh, model, [0, end], scheme=scheme).stats["work"] for scheme in ("auto", "implicit", "imex")
    }
    assert work["auto"] < 1.3 * min(work["implicit"], work["imex"])


@pytest.mark.parametrize("diffusion", [0.01, 1.0, 1e3])
@pytest.mark.parametrize("scheme", ["imex", "imex2"])
def test_explicit_reactions_agree_with_implicit_ones_and_keep_mass(diffusion, scheme):
    mesh = round_ball(5)
    # Steps that go over the decay of a slope would be of order 1 there, so with fast diffusion there is none.
    species = [
        Species("a", "ball", diffusion, "1 + x" if diffusion < 10 else 1.2),
        Species("b", "ball", 0.3, 1),
        Species("s", "rim", 0.1, "1 + y"),
    ]
    reactions = [
        Reaction("turn", "ball", "a*a - b", {"a": -2, "b": 2}),
        Reaction("bind", "rim", "0.1*(a - s)", {"a": -1, "s": 1}),
    ]
    model = Model(BALL, species, reactions)
    options = {"step": 0.005} if scheme == "imex2" else {}
    mine = solve(mesh, model, [0, 0.2], rtol=1e-5, scheme=scheme, **options)
    other = solve(mesh, model, [0, 0.2], rtol=1e-6, scheme="implicit")
    assert mine.stats["implicit_steps"] == 0
    for name in mine.values:
        # Ten times the tolerance; the scheme of order 2 has steps of 0.005 against speeds of about 3: 1e-4.
        np.testing.assert_allclose(mine.values[name][-1], other.values[name][-1], rtol=3e-4)
    kept = sum(total(mine, name) for name in mine.values)
    np.testing.assert_allclose(kept, kept[0], rtol=1e-12)


SWITCH = Model(
    {"box": "box"},
    [Species("u", "box", 0, 0.0), Species("v", "box", 0, 1.0)],
    [
        Reaction("on", "box", "heaviside(t - 0.3)*(1 - heaviside(t - 0.301))*1000", {"u": 1}),
        Reaction("r", "box", "v", {"v": -1}),
    ],
)


@pytest.mark.parametrize("scheme", ["implicit", "imex", "auto"])
@pytest.mark.parametrize("step", [None, 0.07])
def test_no_step_goes_over_an_event(scheme, step):
    mesh = box(1, names={1: "box"})
    solution = solve(mesh, SWITCH, [0, 1], events=(0.3, 0.301), scheme=scheme, step=step)
    # A pulse of 1 ms in a second, exact to rounding: on each side of the jumps the rate is constant.
    np.testing.assert_allclose(solution.values["u"][-1], 1, rtol=1e-12)
    np.testing.assert_allclose(solution.values["v"][-1], np.exp(-1), rtol=1e-3)


@pytest.mark.parametrize("step", [None, 0.07])
def test_a_pulse_is_found_in_the_rates(step):
    mesh = box(1, names={1: "box"})
    np.testing.assert_allclose(solve(mesh, SWITCH, [0, 1], step=step).values["u"][-1], 1, rtol=1e-12)
    # Switches that are not linear in t are found by looking along it.
    rate = "heaviside(t*t - 0.09)*(1 - heaviside(t*t - 0.301**2))*1000"
    hidden = replace(SWITCH, reactions=[Reaction("on", "box", rate, {"u": 1}), SWITCH.reactions[1]])
    np.testing.assert_allclose(solve(mesh, hidden, [0, 1], step=step).values["u"][-1], 1, rtol=1e-12)


def test_events_and_asked_times_may_be_as_close_as_numbers_can_be():
    mesh, near = box(1, names={1: "box"}), np.nextafter(0.3, 1)
    for step in (None, 0.07):
        solution = solve(mesh, SWITCH, [0, 0.3, 1], events=(near, 0.301), step=step)
        np.testing.assert_allclose(solution.values["u"][-1], 1, rtol=1e-12)


def test_trials_of_implicit_steps_wait_until_they_are_a_small_share_of_the_work():
    choice = Choice()
    assert choice.scheme(1000, work=10.0, least=5.0) == "imex"
    assert choice.scheme(1000, work=100.0, least=5.0) == "implicit"
    assert choice.scheme(0, work=0.0, least=5.0, troubled=True) == "implicit"
    # After one, the work since then counts.
    after = replace(choice, speed=1.0).noted(1000, "implicit", 0.1, work=100.0)
    assert after.home == "imex"
    assert after.scheme(10**6, work=110.0, least=5.0) == "imex"
    assert after.scheme(10**6, work=200.0, least=5.0) == "implicit"
