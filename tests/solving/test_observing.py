"""Observed while it runs: the bytes of the whole solution's answers, in memory that times do not fill."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from gallery.balls import round_ball
from gallery.interruptions import stop_after, write_always
from meshcell.adaptivity.estimators import estimate
from meshcell.analysis.quantities import area_under_curve, mean
from meshcell.core.errors import SolveError
from meshcell.io import load, save
from meshcell.models.model import Model
from meshcell.models.observables import Quantity
from meshcell.models.parameters import Course
from meshcell.models.species import Reaction, Species
from meshcell.solving.solver import solve

TIMES = np.linspace(0, 1, 41)
QUANTITIES = {
    "u": Quantity("mean", "u"),
    "all": Quantity("total", "s"),
    "skin": Quantity("mean", "u", place="PM"),
    "r": Quantity("flux", "r"),
    "gain": Quantity("flux", "u", place="PM"),
    "spot": Quantity("value", "v", point=(0.1, 0.2, 0.3)),
    "dose": Quantity("area", "u"),
    "half": Quantity("area", "v", point=(0, 0, 0), at=0.51),
    "then": Quantity("mean", "s", at="300 ms"),
}


def model(**changes):
    species = [
        Species("u", "ball", 0.5, "0.1 + 0.05*x"),
        Species("v", "ball", 20, 1, fixed={"PM": "1 + 0.1*t"}),
        Species("s", "PM", 0.1, "1 + y"),
    ]
    reactions = [
        Reaction("r", "ball", "3*u*v", {"u": 1, "v": -1}),
        Reaction("on", "PM", "u*heaviside(t - 0.33)", {"u": -1, "s": 1}),
    ]
    return Model({"ball": "ball", "PM": ("ball", "outside")}, changes.get("species", species), reactions)


def run(times=TIMES, **options):
    return solve(round_ball(4), model(), times, observe=QUANTITIES, **options)


def assert_observed(solution, whole):
    assert list(solution.observed) == list(QUANTITIES)
    for name, quantity in QUANTITIES.items():
        expected = quantity.value(whole)
        assert np.shape(solution.observed[name]) == np.shape(expected)
        np.testing.assert_array_equal(solution.observed[name], expected, err_msg=name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scheme": "implicit"},
        {"scheme": "imex", "events": 0.33},
        {"step": 0.03},
        {"step": 0.02, "scheme": "imex2"},
        {"times": np.linspace(0, 1, 301)},
        {"times": [0, 1]},
    ],
)
def test_what_is_observed_has_the_bytes_of_the_whole_solution(options):
    plain = solve(round_ball(4), model(), **{"times": TIMES, **options})
    both, alone = run(**options), run(keep="observed", **options)
    for found in (both, alone):
        assert_observed(found, plain)
        np.testing.assert_array_equal(found.observed_times, plain.times)
    assert alone.times.tolist() == [1.0]
    for name, values in plain.values.items():
        np.testing.assert_array_equal(both.values[name], values)
        np.testing.assert_array_equal(alone.values[name], values[-1:])
    assert alone.stats["steps"] == plain.stats["steps"]
    # Asked again, the solution without states knows what it has observed.
    for name, quantity in QUANTITIES.items():
        np.testing.assert_array_equal(quantity.value(alone), both.observed[name])
    assert Quantity("mean", "u", at=0.5).value(alone) == Quantity("mean", "u", at=0.5).value(plain)


def test_memory_does_not_grow_with_the_number_of_times():
    """But for the numbers themselves: a small array for each time, whatever the size of the mesh."""
    peaks = {}
    mesh, small = round_ball(7), Model({"ball": "ball"}, [Species("u", "ball", 1, "1 + x*x")])
    options = {"observe": {"u": Quantity("mean", "u", place="ball")}, "keep": "observed"}
    for n in (11, 11, 1001):
        tracemalloc.start()
        found = solve(mesh, small, np.linspace(0, 1, n), **options)
        peaks[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    each = (peaks[1001] - peaks[11]) / 990
    assert found.stats["interpolated"] > 500
    assert each < 200 < found.values["u"].nbytes / 20


@pytest.mark.parametrize("options", [{}, {"step": 0.03}, {"scheme": "implicit"}])
@pytest.mark.parametrize("keep", ["all", "observed"])
def test_a_run_that_was_interrupted_goes_on_with_the_same_numbers(tmp_path, monkeypatch, options, keep):
    whole = run(keep=keep, **options)
    write_always(monkeypatch)
    path = tmp_path / "run.npz"
    with monkeypatch.context() as patch:
        stop_after(patch, 60)
        part = run(keep=keep, checkpoint=path, **options)
    reached = len(part.observed_times)
    assert "interrupted" in part.message
    assert 1 < reached < len(TIMES)
    np.testing.assert_array_equal(part.observed["u"], whole.observed["u"][:reached])
    assert np.isnan(part.observed["half"])
    rest = run(keep=keep, checkpoint=path, **options)
    for name in QUANTITIES:
        assert np.asarray(rest.observed[name]).tobytes() == np.asarray(whole.observed[name]).tobytes()


def test_a_checkpoint_without_states_is_of_its_questions(tmp_path):
    path, options = tmp_path / "run.npz", {"times": np.linspace(0, 0.1, 3), "keep": "observed"}
    options["checkpoint"] = path
    first = {"a": Quantity("mean", "u"), "b": Quantity("mean", "v")}
    found = solve(round_ball(4), model(), observe=first, **options)
    for other in ({"a": first["b"], "b": first["a"]}, {"a": first["a"]}):
        with pytest.raises(ValueError, match="another run: options differ"):
            solve(round_ball(4), model(), observe=other, **options)
    with pytest.raises(ValueError, match="another run: options differ"):
        solve(round_ball(4), model(), observe=first, **{**options, "keep": "all"})
    # Names are the user's own.
    again = solve(round_ball(4), model(), observe={"c": first["a"], "d": first["b"]}, **options)
    np.testing.assert_array_equal(again.observed["d"], found.observed["b"])


@pytest.mark.parametrize("keep", ["all", "observed"])
def test_files_hold_what_was_observed(tmp_path, keep):
    species = [
        Species("u", "ball", 0.5, lambda xyz: 1 + xyz[:, 0]),
        Species("v", "ball", 20, 1, fixed={"PM": Course(lambda t: 1 + t * t)}),
        Species("s", "PM", 0.1, "1 + y"),
    ]
    found = solve(round_ball(4), model(species=species), TIMES, observe=QUANTITIES, keep=keep)
    save(tmp_path / "a.npz", found)
    back = load(tmp_path / "a.npz")
    assert back.quantities == QUANTITIES
    assert back.times.tolist() == found.times.tolist()
    assert_observed(back, found)
    np.testing.assert_array_equal(back.observed_times, TIMES)
    # What was a function is there by its values over all that was simulated: at the start, not at the end.
    np.testing.assert_array_equal(back.system.species["u"].initial, found.system.species["u"].initial)
    held = back.model.species[1].fixed["PM"]
    assert held(0.5) == pytest.approx(1.25, rel=1e-6)
    assert repr(back) == repr(found)


def test_what_was_observed_is_printed_with_its_unit():
    text = repr(run(times=[0, 0.05, 0.1, 0.6], keep="observed"))
    assert text.startswith("Solution: observed at 4 times, kept at 0.6 s")
    assert "skin: mean of u in PM, 0.1" in text
    assert "all: total of s, " in text
    assert "dose: area under u, " in text
    assert text.count("molecule*s/um^3") == 2


def test_states_that_were_not_kept_are_not_made_up():
    found = solve(round_ball(4), model(), TIMES, observe={"u": Quantity("mean", "u")}, keep="observed")
    for ask in (
        lambda: area_under_curve(found, "v"),
        lambda: Quantity("area", "v").value(found),
        lambda: Quantity("mean", "v", at=0.5).value(found),
    ):
        with pytest.raises(ValueError, match=r'keeps the last state alone: observe a Quantity .* keep="all"'):
            ask()
    assert mean(found, "u").tolist() == found.observed["u"][-1:].tolist()
    with pytest.warns(UserWarning, match="of the last state, as if it stood still; .* observe a Quantity"):
        estimate(found)


def test_states_that_are_there_speak_for_themselves():
    found = solve(round_ball(4), model(), [0, 0.1], observe={"u": Quantity("mean", "u")})
    changed = replace(found, values={name: 2 * values for name, values in found.values.items()})
    np.testing.assert_array_equal(Quantity("mean", "u").value(changed), 2 * found.observed["u"])
    with pytest.raises(ValueError, match="observed and quantities should have the same names"):
        replace(found, observed={})


def test_a_run_that_fails_keeps_what_it_observed():
    growth = Model({"ball": "ball"}, [Species("u", "ball", 1, 1)], [Reaction("r", "ball", "u*u", {"u": 1})])
    with pytest.raises(SolveError) as stopped:
        solve(round_ball(3), growth, TIMES * 2, observe={"u": Quantity("mean", "u")}, keep="observed")
    found = stopped.value.solution
    assert found.message
    assert 15 < len(found.observed_times) <= 20
    np.testing.assert_allclose(found.observed["u"], 1 / (1 - found.observed_times), rtol=0.01)
    assert found.observed_times[-1] <= found.times[0] <= 1.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "observed"}, r"needs something to observe: observe should be a dict such as \{\"head\": Quantity"),
        ({"keep": "observd", "observe": QUANTITIES}, "'all' or 'observed'; got 'observd'; did you mean 'observed'"),
        ({"observe": Quantity("mean", "u")}, "observe should be a dict .*; got Quantity"),
        ({"observe": {"u": "mean"}}, "'u' is 'mean'"),
        ({"observe": {1: Quantity("mean", "u")}}, "got the name 1"),
        ({"observe": {"u": Quantity("mean", "u", at=2)}}, "between 0 and 1 s, the simulated ones; got 2"),
        ({"observe": {"u": Quantity("mean", "x1")}}, "'x1' is not a species of the model"),
        ({"observe": {"u": Quantity("mean", "s", place="ball")}}, "'s' does not live there"),
        ({"observe": {"u": Quantity("value", "u", point=(2, 0, 0))}}, "outside 'ball'"),
    ],
)
def test_what_cannot_be_observed_is_refused_before_the_run(monkeypatch, options, message):
    monkeypatch.setattr("meshcell.solving.stepping.Stepper.run", None)
    with pytest.raises((ValueError, TypeError), match=message):
        solve(round_ball(4), model(), TIMES, **options)
