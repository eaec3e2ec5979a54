"""No stimulus is lost, however short, whatever it is given as, and wherever the asked times lie."""

from dataclasses import replace
from math import erf, pi, sqrt

import numpy as np
import pytest

from gallery.meshes import box
from gallery.models import well
from meshcell.analysis.quantities import mean
from meshcell.models.binding import bind
from meshcell.models.model import Model
from meshcell.models.parameters import Course, Field, Table
from meshcell.models.species import Pool, Reaction, Species
from meshcell.models.stimuli import SAMPLES, stimuli_of
from meshcell.solving.solver import solve

BOX = box(1, names={1: "box"})
UNIT = [Reaction("in", "box", "J", {"u": 1})]


def edge(t):
    """Return the integral of tanh from 0 to t, without overflow."""
    return abs(t) + np.log1p(np.exp(-2 * abs(t))) - np.log(2)


def pulse(shape, height, at, width, span):
    """Return a rate, its parameters and what it delivers from 0 to span."""
    middle, s, e = at + width / 2, width / 4, width / 20
    bell = height * s * sqrt(pi) / 2 * (erf((span - middle) / s) + erf(middle / s))
    tanh = [edge((t - at) / e) - edge((t - at - width) / e) for t in (0, span)]
    return {
        "function": ("J", {"J": lambda t: height if at <= t < at + width else 0.0}, height * width),
        "course": (
            "J",
            {"J": Course(lambda t: height * (t - at) / width * (at <= t < at + width))},
            height * width / 2,
        ),
        "bell": (f"{height!r}*exp(-((t - {middle!r})/{s!r})**2)", {}, bell),
        "called bell": ("J", {"J": lambda t: height * np.exp(-(((t - middle) / s) ** 2))}, bell),
        "box of tanh": (
            f"{height / 2!r}*(tanh((t - {at!r})/{e!r}) - tanh((t - {at + width!r})/{e!r}))",
            {},
            height / 2 * e * (tanh[1] - tanh[0]),
        ),
        "table": ("J", {"J": Table([at, middle, at + width], [0, height, 0])}, height * width / 2),
        "half a wave": (
            "J",
            {"J": lambda t: height * np.sin(pi * (t - at) / width) ** 2 * ((t >= at) & (t < at + width))},
            height * width / 2,
        ),
    }[shape]


SHAPES = ("function", "course", "bell", "called bell", "box of tanh", "table", "half a wave")


@pytest.mark.parametrize("seed", [*range(14), *(pytest.param(k, marks=pytest.mark.slow) for k in range(14, 200))])
def test_random_pulses_deliver_their_amount(seed):
    rng = np.random.default_rng(seed)
    span, rtol = 10.0 ** rng.uniform(-3, 4), rng.choice([1e-3, 1e-4])
    width, height = span * 10.0 ** rng.uniform(-6, -1), 10.0 ** rng.uniform(-2, 5)
    at = rng.uniform(0, span - width)
    rate, parameters, amount = pulse(SHAPES[seed % len(SHAPES)], height, at, width, span)
    # Asked times anywhere, and sometimes just before, within and just after.
    near = [at - width / 3, at + width / 2, at + 1.3 * width] if rng.random() < 0.3 else []
    times = np.unique(np.clip([0, span, *rng.uniform(0, span, rng.integers(0, 10)), *near], 0, span))
    start = amount * rng.choice([0.0, rng.uniform(0.1, 2)])
    model = Model({"box": "box"}, [Species("u", "box", 10, start)], [Reaction("in", "box", rate, {"u": 1})], parameters)
    solution = solve(BOX, model, times, rtol=rtol, scheme=rng.choice(["auto", "implicit"]))
    assert mean(solution, "u")[-1] - start == pytest.approx(amount, rel=10 * rtol)
    # About twenty halvings on the way to a millionth of the run, as many back, and what the pulse itself takes.
    assert solution.stats["steps"] < 600


@pytest.mark.parametrize("step", [None, 0.1])
def test_jumps_of_functions_are_found_to_rounding(step):
    model = well(UNIT, {"J": lambda t: 1e4 if 0.50031 <= t < 0.50041 else 0.0}, u=0)
    solution = solve(BOX, model, [0, 0.5004, 1], step=step)
    np.testing.assert_allclose(solution.values["u"].T[0], [0, 0.9, 1], rtol=1e-9)


def test_a_short_pulse_on_a_slow_wave_is_seen():
    slow, height, width = "1 + 0.5*tanh(3*t - 1.5)", 50.0, 1e-4
    bell = f"{height}*exp(-((t - 0.7003)/{width})**2)"
    change = Reaction("in", "box", f"({slow} + {bell})*1", {"u": 1})
    with_pulse, without = (
        mean(solve(BOX, well([reaction], u=0), [0, 0.4, 1], rtol=1e-6), "u")[-1]
        for reaction in (change, replace(change, rate=slow))
    )
    # Both are right to 10 rtol of 1, and the pulse brings 0.009.
    assert with_pulse - without == pytest.approx(height * width * sqrt(pi), rel=2e-3)


def test_a_stimulus_that_gates_a_species_or_a_boundary_is_seen():
    gate = Reaction("r", "box", "exp(-((t - 0.41)/1e-5)**2)*1e5*u", {"u": -1})
    solution = solve(BOX, well([gate], u=1), [0, 1])
    np.testing.assert_allclose(solution.values["u"][-1], np.exp(-sqrt(pi)), rtol=1e-3)
    places = {"box": "box", "rim": ("box", "outside")}
    flash = [Species("u", "box", 1e3, 0, fixed={"rim": "exp(-((t - 0.41)/1e-2)**2)"})]
    # Diffusion is ten times faster than the flash.
    seen = solve(box(2, names={1: "box"}), Model(places, flash), [0, 0.41, 1])
    np.testing.assert_allclose(seen.values["u"][1], 1, atol=0.02)
    np.testing.assert_allclose(seen.values["u"][2], 0, atol=1e-6)


def delivered(rate, mesh=BOX, start=0.0, **options):
    model = Model({"box": "box"}, [Species("u", "box", 0, start)], [Reaction("in", "box", rate, {"u": 1})])
    return solve(mesh, model, [0, 1], rtol=1e-3, **options).values["u"][-1]


@pytest.mark.parametrize("scheme", ["auto", "implicit"])
@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        # Factors of time alone, places within its function, pulses that pass, steps that are a pulse together.
        ("1e4*x*exp(-((t - 0.5)/1e-4)**2)", lambda x: sqrt(pi) * x),
        ("1e4*exp(-x - ((t - 0.5)/1e-4)**2)", lambda x: sqrt(pi) * np.exp(-x)),
        ("1e4*exp(-((t - 0.3 - x/2)/1e-4)**2)", lambda x: sqrt(pi) + 0 * x),
        ("5e3*(tanh((t - 0.3 - x/2)/1e-5) - tanh((t - 0.3001 - x/2)/1e-5))", lambda x: 1 + 0 * x),
        ("where(abs(t - 0.3 - x/2) < 5e-5, 1e4, 0)", lambda x: 1 + 0 * x),
        ("1e4*heaviside(t - 0.3 - x/2)*heaviside(0.3001 + x/2 - t)", lambda x: 1 + 0 * x),
        ("1e4/(1 + ((t - 0.3 - x/2)/1e-4)**4)", lambda x: pi / sqrt(2) + 0 * x),
    ],
)
def test_what_mixes_time_and_place_is_delivered_everywhere(rate, exact, scheme):
    found = delivered(rate, scheme=scheme)
    np.testing.assert_allclose(found, exact(BOX.points[:, 0]), rtol=0.01)


@pytest.mark.slow
def test_what_passes_a_mesh_of_many_places_is_delivered_between_those_that_are_looked_at():
    mesh = box(3, names={1: "box"})
    inner = (np.abs(mesh.points - 0.5) < 0.49).all(axis=1)
    points = mesh.points + inner[:, None] * np.random.default_rng(3).uniform(-0.1, 0.1, mesh.points.shape)
    points[:, 0] += 0.03 * np.random.default_rng(4).uniform(-1, 1, len(points))
    found = delivered("1e3*exp(-((t - 0.3 - x/2)/3e-3)**2)", replace(mesh, points=points))
    np.testing.assert_allclose(found, 3 * sqrt(pi), rtol=0.01)


def test_what_mixes_time_and_species_is_seen_with_their_first_values():
    found = delivered("1e4*exp(-u - ((t - 0.5)/1e-4)**2)", start=1.0)
    np.testing.assert_allclose(found, np.log(np.e + sqrt(pi)), rtol=1e-3)
    for mesh in (BOX, {"box": 1.0}):
        pools = [Pool("P", 2.0, 1.0), Species("u", "box", 0, 1.0)]
        ways = [Reaction("in", "P", "1e4*exp(-P - ((t - 0.5)/1e-4)**2)", {"P": 1})]
        ways += [Reaction("on", "box", "1e4*exp(-P - u - ((t - 0.2)/1e-4)**2)", {"u": 1})]
        values = solve(mesh, Model({"box": "box"}, pools, ways), [0, 1], rtol=1e-3).values
        np.testing.assert_allclose(values["P"][-1], np.log(np.e + sqrt(pi)), rtol=1e-3)
        np.testing.assert_allclose(values["u"][-1], np.log(np.e + sqrt(pi) / np.e), rtol=1e-3)


def test_what_mixes_time_and_a_field_is_delivered_everywhere():
    late = 0.3 + 0.1 * np.arange(len(BOX.points)) ** 0.5
    model = Model(
        {"box": "box"},
        [Species("u", "box", 0)],
        [Reaction("in", "box", "1e4*exp(-((t - late)/1e-4)**2)", {"u": 1})],
        {"late": Field(late, at="nodes")},
    )
    np.testing.assert_allclose(solve(BOX, model, [0, 1], rtol=1e-3).values["u"][-1], sqrt(pi), rtol=0.01)


@pytest.mark.slow
def test_a_flash_that_passes_along_a_boundary_is_seen():
    places = {"box": "box", "rim": ("box", "outside")}
    mesh = box(2, names={1: "box"})
    flash = Species("u", "box", 1e4, 0, fixed={"rim": "exp(-((t - 0.4 - x/10)/1e-3)**2)"})
    seen = solve(mesh, Model(places, [flash]), [0, 0.45, 1]).values["u"]
    # In the middle it is what diffuses there from all sides, one third of which are lit.
    middle = np.isclose(mesh.points, 0.5).all(axis=1)
    np.testing.assert_allclose(seen[1][~middle], np.isclose(mesh.points[~middle, 0], 0.5), atol=1e-6)
    assert 0.3 < seen[1][middle] < 0.9
    np.testing.assert_allclose(seen[2], 0, atol=1e-6)


@pytest.mark.parametrize("rate", ["exp(-x*t)", "sqrt(u + t)", "1/(1 + t*x)"])
def test_what_any_step_sees_is_not_watched(rate):
    model = Model({"box": "box"}, [Species("u", "box", 1, 0.5)], [Reaction("in", "box", rate, {"u": 1})])
    (look,) = bind(model, BOX).stimuli
    seen = look(0.0, 1.0, ())
    assert (seen.jumps, seen.also, seen.passage) == ((), (), None)
    assert solve(BOX, model, [0, 1], rtol=1e-3).stats["steps"] < 60


@pytest.mark.slow
def test_a_pulse_that_no_sample_meets_is_met_by_short_steps():
    flash = Reaction("in", "box", "1e3*exp(-((t - 0.3 - 0.1*u)/1e-3)**2)", {"u": 1})
    slow = Reaction("slow", "box", "2", {"u": 1})
    model = Model({"box": "box"}, [Species("u", "box", 0, 0.0)], [slow, flash])
    solution = solve(BOX, model, [0, 1], longest=1e-3)
    # With u = 2 t the pulse comes at 0.375 s; it delays itself, as it makes u.
    assert solution.values["u"][-1].min() > 2.05
    assert solution.stats["steps"] > 1000


@pytest.mark.parametrize("longest", [0, -1.0, np.nan, np.inf])
def test_unusable_longest_steps_are_refused(longest):
    with pytest.raises(ValueError, match=r"longest should be a positive, finite time in s"):
        solve(BOX, well(UNIT, {"J": 1.0}, u=0), [0, 1], longest=longest)


def test_points_of_a_table_are_passed_and_corners_are_not():
    t = np.linspace(0, 1, 500)
    trace = Table(t, 1 + 0.5 * np.sin(6 * np.pi * t))
    assert trace.events == (0.0, 1.0)
    assert Table([0, 0.3, 0.3, 0.5, 0.7, 1], [0, 0, 1, 1, 2, 3.5]).events == (0.0, 0.3, 0.3, 0.5, 1.0)
    reactions = [*UNIT, Reaction("out", "box", "3*u", {"u": -1})]
    solution = solve(BOX, well(reactions, {"J": trace}, u=1), [0, 1])
    assert solution.stats["steps"] < 150
    w = 6 * np.pi
    exact = 1 / 3 + 0.5 * (3 * np.sin(w) - w * np.cos(w)) / (9 + w * w)
    exact += (1 - 1 / 3 + 0.5 * w / (9 + w * w)) * np.exp(-3)
    # A chord over 1/499 s is off by 9e-5 of the amplitude at most.
    np.testing.assert_allclose(solution.values["u"][-1], exact, rtol=1e-4)


def test_what_is_looked_through_is_found_in_formulas_and_looked_at_once():
    reactions = [Reaction(str(k), "box", "J*exp(-t/3) + x*(t*t)*u + k", {"u": 1}) for k in range(3)]
    calls = []

    def course(t):
        calls.append(np.size(t))
        return np.sin(t)

    model = well(reactions, {"J": course, "k": 2.0}, u=0)
    for _ in range(2):
        signals = [look(0.0, 1.0, ()) for look in stimuli_of(model)]
    assert len(signals) == 3
    # The parts between samples are straight to a millionth of the range.
    t = np.linspace(0, 1, 1001)
    for signal, exact in zip(signals, (np.sin(t), np.exp(-t / 3), t * t), strict=True):
        np.testing.assert_allclose(np.interp(t, signal.times, signal.values), exact, atol=2e-6)
        assert len(signal.times) < 3000
        assert not signal.jumps
    assert SAMPLES <= sum(calls) < 1.1 * SAMPLES
