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
from meshcell.solving.steady_states import steady

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


# --- signed species ---

LEAK = Reaction("leak", "PM", "(E - V)/tau", {"V": 1})
MEMBRANE = {"box": "box", "PM": ("box", "outside")}
VOLTS = {"E": "-70 mV", "tau": "10 ms"}


def membrane(initial="30 mV", reaction=LEAK, parameters=VOLTS, **rest):
    species = [Species("V", "PM", "0.1 um^2/s", initial, signed=True, **rest), Species("Ca", "box", 1, "1 uM")]
    return Model(MEMBRANE, species, [reaction], parameters)


def test_a_signed_species_crosses_zero_without_a_word(caplog):
    with caplog.at_level(logging.WARNING, "meshcell"):
        solution = solve(BOX, membrane(), np.linspace(0, 0.05, 6), rtol=1e-6)
    # In mV, whatever it is written in.
    exact = -70 + 100 * np.exp(-solution.times / 0.01)
    np.testing.assert_allclose(solution.values["V"], np.outer(exact, np.ones(len(BOX.points))), atol=1e-3)
    assert not caplog.records
    volts = solve(BOX, membrane("0.03 V", parameters={"E": "-0.07 V", "tau": 0.01}), [0, 0.05], rtol=1e-6)
    np.testing.assert_allclose(volts.values["V"][-1], solution.values["V"][-1], rtol=1e-12)


@pytest.mark.parametrize("scheme", ["auto", "implicit", "imex"])
def test_signed_species_need_no_equation_of_their_own_kind(scheme):
    # Exchange takes b below zero, which no concentration may be.
    reactions = [Reaction("move", "box", "2*a", {"b": -1}), Reaction("back", "box", "2*b", {"a": 1})]
    species = [Species(name, "box", 1, start, signed=True) for name, start in (("a", 1.0), ("b", 0.0))]
    times = np.linspace(0, 2, 5)
    solution = solve(BOX, Model({"box": "box"}, species, reactions), times, rtol=1e-6, scheme=scheme)
    np.testing.assert_allclose(solution.values["a"][:, 0], np.cos(2 * times), atol=1e-4)
    np.testing.assert_allclose(solution.values["b"][:, 0], -np.sin(2 * times), atol=1e-4)
    plain = [Species(item.name, "box", 1, item.initial) for item in species]
    with pytest.raises(SolveError, match="below zero"):
        solve(BOX, Model({"box": "box"}, plain, reactions), times)


def test_a_state_of_rest_below_zero_is_found_from_above():
    solution = steady(BOX, membrane("30 mV"), rtol=1e-6)
    np.testing.assert_allclose(solution.values["V"][-1], -70, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"parameters": {"E": "-70 mV", "tau": "10 um"}}, r"should be in mV/s on an interface; got mV/um"),
        ({"parameters": {"E": "1 uM", "tau": "10 ms"}}, r"cannot subtract 'E' in molecule/um\^3 and 'V' in mV"),
        (
            {"reaction": Reaction("r", "PM", "exp(V)/tau", {"V": 1})},
            r"exp needs an argument without a unit; got 'V' in mV",
        ),
        (
            {"reaction": Reaction("r", "PM", "(E - V)/tau", {"V": 1, "Ca": -1})},
            r"reaction 'r' changes 'V' by mV/s and 'Ca' by molecule/um\^2/s, which cannot both be its rate; write two",
        ),
        ({"fixed": {"PM": "1 uM"}}, r"fixed value of species 'V' on 'PM' should be in mV; got molecule/um\^3"),
    ],
)
def test_units_of_signed_species_are_checked(changes, text):
    with pytest.raises(ValueError, match=text):
        membrane(**changes)


def test_units_of_a_signed_species_in_a_region_and_without_one():
    def build(rate, initial="0 mV", place="PM", **given):
        species = [Species("V", "box", 1, initial, signed=True)]
        return Model(MEMBRANE, species, [Reaction("r", place, rate, {"V": 1})], given)

    build("g*(E - V)", g="1 um/s", E="1 mV")
    build("g*(E - V)", g="1 1/s", E="1 mV", place="box")
    build("k*(1 - V)", "0.2 dimensionless", "box", k="1 1/s")
    # Zero has no unit of its own here: it might be mV or none.
    build("k*V", 0, k="1 um")
    with pytest.raises(ValueError, match=r"should be in mV\*um/s on an interface; got mV/s"):
        build("g*(E - V)", g="1 1/s", E="1 mV")
    with pytest.raises(ValueError, match="should be in 1/s in a region; got um/s"):
        build("k*(1 - V)", "0.2 dimensionless", "box", k="1 um/s")
    with pytest.raises(ValueError, match=r"got '-65 mV' in mV; for a potential or a deviation say signed=True"):
        Species("V", "box", 1, "-65 mV")
    with pytest.raises(TypeError, match="signed of species 'V' should be True or False; got 'yes'"):
        Species("V", "box", signed="yes")
