"""What the solver leaves below zero does no harm in rates, and potentials may be on either side of it."""

import logging

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from gallery.meshes import box
from gallery.models import well
from meshcell.core.errors import SolveError
from meshcell.models.binding import bind
from meshcell.models.expressions import derivative, parse
from meshcell.models.model import Model
from meshcell.models.signs import clipped, perhaps_signed
from meshcell.models.species import Reaction, Species
from meshcell.solving.solver import solve

BOX = box(1, names={1: "box"})


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("u**2.7/(K**2.7 + u**2)", "max(u, 0)**2.7/(K**2.7 + u**2)"),
        ("sqrt(u*K) + u", "sqrt(max(u, 0)*K) + u"),
        ("log(1 + sqrt(u))", "log(1 + sqrt(max(u, 0)))"),
        ("u**n", "max(u, 0)**n"),
        ("2**-u + u**-1", "2**-u + u**-1"),
        ("K**0.5*u**3", "K**0.5*u**3"),
    ],
)
def test_only_what_needs_it_is_clipped(text, seen):
    assert str(clipped(parse(text), ["u"])) == seen
    assert clipped(parse(text), ["v"]).tree == parse(text).tree


@pytest.mark.parametrize("rate", ["u**2.7/(0.5**2.7 + u**2.7)", "(0.3 + u)**1.5", "u**1.4*exp(-u)", "sqrt(u + 0.01)"])
def test_slopes_of_clipped_rates_are_continuous_at_zero_and_right_above(rate):
    (reaction,) = bind(well([Reaction("r", "box", rate, {"u": -1})], u=0), BOX).reactions
    u = np.array([-1e-20, 0.0, 1e-20, 0.3, 2.0])
    xyz = np.zeros((5, 3))
    slopes = reaction.derivatives[0]([u], 0.0, xyz)
    # A power of 0.4 is left of the derivative at least: (1e-20)**0.4 = 1e-8.
    np.testing.assert_allclose(slopes[:3], slopes[1], atol=2e-8)
    h = 1e-6
    difference = (reaction.rate([u + h], 0.0, xyz) - reaction.rate([u - h], 0.0, xyz)) / (2 * h)
    np.testing.assert_allclose(slopes[3:], difference[3:], rtol=1e-8)


@pytest.mark.parametrize("scheme", ["implicit", "auto"])
@pytest.mark.parametrize("n", [0.5, 1.4, 2.7])
def test_hill_exponents_that_are_no_whole_numbers_work_from_zero(n, scheme):
    reactions = [
        Reaction("in", "box", "j", {"a": 1}),
        Reaction("act", "box", "v*a**n/(K**n + a**n)", {"a": -1, "b": 1}),
    ]
    numbers = {"j": 1.0, "v": 3.0, "K": 1.0, "n": n}
    times = np.array([0, 0.01, 0.1, 1, 10])

    def right(t, y):
        act = 3 * y[0] ** n / (1 + y[0] ** n)
        return [1 - act, act]

    exact = solve_ivp(right, (0, 10), [0, 0], method="LSODA", rtol=1e-10, atol=1e-13, t_eval=times).y
    solution = solve(BOX, well(reactions, numbers, a=0, b=0), times, scheme=scheme)
    for row, name in enumerate("ab"):
        np.testing.assert_allclose(solution.values[name].T[0], exact[row], rtol=1e-3, atol=1e-8)


def test_a_root_that_empties_stays_empty():
    # u' = -sqrt(u) is zero from t = 2 on: (1 - t/2)**2.
    solution = solve(BOX, well([Reaction("r", "box", "sqrt(u)", {"u": -1})], u=1), [0, 1, 1.9, 3, 10])
    np.testing.assert_allclose(solution.values["u"].T[0], [1, 0.25, 0.0025, 0, 0], atol=1e-3)


def test_a_rate_without_a_value_at_zero_is_still_named():
    with pytest.raises(SolveError, match=r"t = 0 s: a rate is not finite.*'u'"):
        solve(BOX, well([Reaction("r", "box", "u**-0.5", {"u": 1})], u=0), [0, 1])


# --- potentials ---

FAST = Reaction("fast", "box", "v - v**3/3 - w + 0.5", {"v": 1})
SLOW = Reaction("slow", "box", "0.08*(v + 0.7 - 0.8*w)", {"w": 1})


@pytest.mark.parametrize("start", [(0.0, 0.0), (1.0, 0.0), (-1.0, 0.0)])
def test_an_excitable_membrane_may_start_on_either_side_of_zero(start, caplog):
    def right(t, y):
        return [y[0] - y[0] ** 3 / 3 - y[1] + 0.5, 0.08 * (y[0] + 0.7 - 0.8 * y[1])]

    times = np.linspace(0, 100, 11)
    exact = solve_ivp(right, (0, 100), start, rtol=1e-10, atol=1e-12, t_eval=times).y
    solution = solve(BOX, well([FAST, SLOW], v=start[0], w=start[1]), times, rtol=1e-5)
    assert exact[0].min() < -1 < 1 < exact[0].max()
    # Where it fires, in two seconds of a hundred, an error of 1e-5 a step has grown to a shift of 1e-3 s.
    np.testing.assert_allclose(solution.values["v"][:, 0], exact[0], atol=5e-3)
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert any("'w' went below zero" in text and "taken for a potential" in text for text in said)


@pytest.mark.parametrize(
    ("reactions", "signed"),
    [
        ([FAST, SLOW], ("v", "w")),
        ([SLOW], ()),
        # Taken, or exchanged, or filled towards something: never below zero by a rate that is right.
        ([Reaction("sink", "box", "1 + 0*v", {"v": -1})], ()),
        ([Reaction("x", "box", "2*(w - v)", {"v": 1, "w": -1})], ()),
        ([Reaction("x", "box", "2*(w - v)/(1 + w) + v*(1 - v/3)", {"v": 1})], ()),
        ([Reaction("x", "box", "3*heaviside(w - 1)*exp(-w)*sqrt(v + w)", {"v": 1})], ()),
        ([Reaction("x", "box", "-v + tanh(w - 1)", {"v": 1})], ("v",)),
        ([Reaction("x", "box", "0*v + sin(w)", {"v": 1})], ("v",)),
        ([Reaction("x", "box", "0*v + abs(sin(w)) + where(w > 1, cosh(w), floor(w))", {"v": 1})], ()),
    ],
)
def test_species_with_equations_of_their_own_are_found(reactions, signed):
    assert perhaps_signed(well(reactions, v=0, w=0)) == signed


def test_what_has_a_unit_of_concentration_is_a_concentration():
    species = [Species("v", "box", 0, "1 uM"), Species("w", "box", 0, "1 uM")]
    reactions = [Reaction("r", "box", "k*(w - v) - 2*k*w", {"v": 1})]
    model = Model({"box": "box"}, species, reactions, {"k": "1 1/s"})
    assert perhaps_signed(model) == ()
    with pytest.raises(SolveError, match="below zero"):
        solve(BOX, model, [0, 10])


def test_derivatives_are_taken_before_clipping():
    slope = clipped(derivative(parse("u**2.5"), "u"), ["u"])
    assert str(slope) == "2.5*max(u, 0)**1.5"


def test_logarithms_and_choices_are_clipped_where_they_need_it():
    assert (
        str(clipped(parse("where(u > 1, log10(1 + u), sin(u))"), ["u"])) == "where(u > 1, log10(1 + max(u, 0)), sin(u))"
    )
