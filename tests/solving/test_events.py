"""Events: what they do, when conditions become true, sums, files and runs that go on."""

import numpy as np
import pytest

import meshcell as mc
from gallery.meshes import ball
from meshcell.analysis.quantities import flux, mean, total
from meshcell.models.events import Event
from meshcell.models.model import Model
from meshcell.models.species import Pool, Reaction, Species
from meshcell.solving import stepping
from meshcell.solving.solver import solve

PLACES = {"ball": "ball", "rim": ("ball", "outside")}
BODY = ball(2, names={1: "ball"})
TIMES = np.linspace(0, 2, 9)


def decay(initial=1.0, **parameters):
    reactions = [Reaction("decay", "ball", "k*A", {"A": -1})]
    return Model(PLACES, [Species("A", "ball", 1, initial)], reactions, {"k": 1.0, **parameters})


@pytest.mark.parametrize("mesh", [BODY, {"ball": 2.0, "rim": 8.0}], ids=["mesh", "well mixed"])
@pytest.mark.parametrize("scheme", ["auto", "implicit", "imex"])
def test_amounts_and_parameters_jump_when_they_should(mesh, scheme):
    """A' = -k A; k falls when A passes 1/2, two are added at 1 s: by hand."""
    events = [Event("1 s", add={"A": 2.0}), Event("mean(A) < c", set={"k": 0.2})]
    model = decay(c=0.5)
    found = solve(mesh, model, TIMES, rtol=1e-6, events=events, scheme=scheme)
    turn = np.log(2)
    before = np.where(turn > TIMES, np.exp(-TIMES), 0.5 * np.exp(-0.2 * (TIMES - turn)))
    truth = before + np.where(TIMES >= 1, 2 * np.exp(-0.2 * (TIMES - 1)), 0)
    assert mean(found, "A") == pytest.approx(truth, rel=2e-6)
    k = found.model.parameters["k"]
    assert k.times[1] == pytest.approx(turn, abs=2e-6)
    rates = np.where(turn > TIMES, 1.0, 0.2) * total(found, "A")
    assert flux(found, "decay") == pytest.approx(rates, rel=1e-9)


@pytest.mark.parametrize("n", ["2", "2 dimensionless"])
def test_a_parameter_without_a_unit_is_switched(n):
    """A number of channels, say, among rates whose units are checked."""
    leave = Reaction("out", "ball", "n*k*A", {"A": -1})
    model = Model(PLACES, [Species("A", "ball", 1, "1 uM")], [leave], {"n": n, "k": "1 1/s"})
    found = solve({"ball": 1.0, "rim": 1.0}, model, TIMES, rtol=1e-6, events=[Event(1.0, set={"n": 0})])
    assert mean(found, "A") / mean(found, "A")[0] == pytest.approx(np.exp(-2 * np.minimum(TIMES, 1)), rel=1e-5)
    assert found.model.parameters["n"].unit == "1"


@pytest.mark.parametrize("rtol", [1e-3, 1e-5])
def test_the_time_of_a_condition_is_found_to_rtol(rtol):
    """A pool that grows evenly, and one that swings."""
    pools = [Pool("P", 1.0), Pool("Q", 1.0, signed=True), Pool("N", 1.0)]
    reactions = [Reaction("grow", "P", "v", {"P": 1}), Reaction("swing", "Q", "w*cos(w*t)", {"Q": 1})]
    model = Model(PLACES, [Species("A", "ball"), *pools], reactions, {"v": 0.3, "w": 5.0})
    events = [Event("P > 0.1", add={"N": "t"}), Event("Q > 0.5 and t > 1", add={"N": "100 + 0*t"})]
    found = solve({"ball": 1.0, "rim": 1.0}, model, [0, 0.3, 1.0, 4.0], rtol=rtol, events=events)
    counts = found.values["N"][:, 0]
    assert counts[:2].tolist() == [0, 0]
    assert counts[2] == pytest.approx(0.1 / 0.3, abs=2 * rtol)
    # sin(5 t) passes 1/2 upwards three times after 1 s, and is above it at no such time before.
    rising = [(np.arcsin(0.5) + 2 * np.pi * n) / 5 for n in range(5)]
    assert counts[3] == pytest.approx(0.1 / 0.3 + 100 * sum(1 < t < 4 for t in rising), abs=2 * rtol)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scheme", ["auto", "implicit"])
def test_peaks_that_are_over_within_a_step_are_met(seed, scheme):
    """A pool that swings above the limit for a twentieth of its period, between the ends of nearly all steps."""
    w, phase = np.random.default_rng(seed).uniform([3.0, 0.5], [6.0, 2.5])
    pools = [Pool("Q", 1.0, np.sin(-phase), signed=True), Pool("N", 1.0)]
    model = Model(
        PLACES, [Species("A", "ball"), *pools], [Reaction("r", "Q", "w*cos(w*t - p)", {"Q": 1})], {"w": w, "p": phase}
    )
    event = Event("Q > 0.99", add={"N": 1.0})
    found = solve({"ball": 1.0, "rim": 1.0}, model, [0, 10], rtol=1e-3, events=[event], scheme=scheme)
    peaks = np.floor((10 * w - phase - np.pi / 2) / (2 * np.pi)) + 1
    assert found.values["N"][-1, 0] == peaks
    assert found.stats["steps"] < 50 * peaks


def test_a_condition_that_time_opens_for_a_moment_is_met():
    model = Model(PLACES, [Species("A", "ball", 0, 3.0), Pool("N", 1.0)], (), {"t1": "1 s"})
    events = [Event("t > t1 and t < 1.0001 and mean(A) > 2", add={"N": 1.0})]
    found = solve({"ball": 1.0, "rim": 1.0}, model, [0, 0.9, 1.1, 5], events=events)
    assert found.values["N"][:, 0].tolist() == [0, 0, 1, 1]


def test_what_rests_on_the_limit_does_not_pass_it():
    pools = [Pool("P", 1.0, 0.1), Pool("N", 1.0)]
    model = Model(
        PLACES, [Species("A", "ball", 1, "1 + x"), *pools], [Reaction("r", "ball", "k*A", {"A": -1})], {"k": 3.0}
    )
    found = solve(BODY, model, [0, 5], events=[Event("P > 0.1", add={"N": 1.0}), Event("P/3 > 0.1/3", add={"N": 1.0})])
    assert found.values["N"][-1, 0] == 0


def test_what_happens_at_once_happens_from_the_values_before():
    pools = [Pool("P", 1.0, 3.0), Pool("Q", 2.0, 5.0)]
    model = Model(PLACES, [Species("A", "ball", 0, "1 + x"), Species("B", "ball", 0, 2.0), *pools])
    events = [
        Event(1.0, set={"P": "Q", "A": "B*A + mean(A) + x"}, add={"A": 1.0}),
        Event([1.0, 1.5], set={"Q": "P"}, add={"A": 2.0, "B": "6 molecule"}),
    ]
    found = solve(BODY, model, [0, 0.5, 1.0, 2.0], events=events)
    x = BODY.points[found.nodes["A"], 0]
    assert found.values["P"][:, 0] == pytest.approx([3, 3, 5, 5])
    assert found.values["Q"][:, 0] == pytest.approx([5, 5, 3, 5])
    after = 2 * (1 + x) + mean(found, "A")[0] + x + 3
    assert found.values["A"][2] == pytest.approx(after)
    assert found.values["A"][3] == pytest.approx(after + 2)
    assert total(found, "B")[-1] - total(found, "B")[0] == pytest.approx(12)


def test_sums_are_kept_between_events():
    species = [Species("A", "ball", 1, "1 + x"), Species("R", "rim", 1, 1.0), Species("AR", "rim", 1), Pool("P", 0.5)]
    reactions = [
        Reaction("bind", "rim", "A*R - AR", {"A": -1, "R": -1, "AR": 1}),
        Reaction("out", "rim", "0.1*A - P", {"A": -1, "P": 1}),
    ]
    events = [Event(0.3, add={"A": 2.0}), Event("mean(AR) > 0.5", set={"R": "R/2"}), Event(2.0, add={"P": 1.0})]
    found = solve(BODY, Model(PLACES, species, reactions), TIMES, events=events)
    assert 0 < found.stats["mass_drift"] < 1e-12
    whole = sum(total(found, name) for name in ("A", "AR", "P"))
    assert whole[1] == pytest.approx(whole[0], rel=1e-12)
    assert whole[2] - whole[1] == pytest.approx(2 * BODY.volumes.sum(), rel=1e-10)
    assert whole[-1] - whole[-2] == pytest.approx(0.5, rel=1e-10)


def test_at_the_begin_and_the_end():
    found = solve(BODY, decay(), [0.0, 1.0], events=[Event([0.0, 1.0], set={"A": 7.0})])
    assert found.values["A"].tolist() == [[7.0] * 125, [7.0] * 125]
    alone = solve(BODY, decay(), [0.0], events=[Event(0.0, set={"A": 7.0})])
    assert alone.values["A"].tolist() == [[7.0] * 125]


def test_a_condition_that_holds_from_the_start_waits():
    """It has to become false first."""
    pools = [Pool("P", 1.0, 1.0, signed=True), Pool("N", 1.0)]
    model = Model(PLACES, [Species("A", "ball"), *pools], [Reaction("swing", "P", "-sin(t)", {"P": 1})])
    found = solve({"ball": 1, "rim": 1}, model, [0, 3, 6], events=[Event("P > 0.5", add={"N": 1})])
    assert found.values["N"][:, 0].tolist() == [0, 0, 1]


def test_equal_steps_act_at_the_end_of_a_step():
    model = decay()
    found = solve(BODY, model, [0, 2.0], step=0.1, events=[Event("mean(A) < 0.5", set={"A": 1.0})])
    assert mean(found, "A")[-1] == pytest.approx(np.exp(-(2.0 - 1.4)), rel=1e-3)


@pytest.mark.parametrize("calls", [3, 12, 17, 25])
@pytest.mark.parametrize("step", [None, 0.05])
def test_a_stopped_run_goes_on_to_the_byte(tmp_path, monkeypatch, calls, step):
    """Wherever it was stopped: between a step and what happens after it too."""
    events = [
        Event([0.4, 1.0], add={"A": 2.0}),
        Event("mean(A) < 0.8", set={"k": 0.2}),
        Event("mean(A) > 2", set={"k": 3}),
    ]
    whole = solve(BODY, decay("1 + x/2"), TIMES, events=events, step=step)
    assert len(whole.model.parameters["k"].times) >= 5
    for name in ("_advance", "_watch"):
        seen, own = [], getattr(stepping.Stepper, name)

        def interrupted(self, *given, seen=seen, own=own, **pace):
            seen.append(1)
            if len(seen) == calls:
                raise KeyboardInterrupt
            return own(self, *given, **pace)

        monkeypatch.setattr(stepping.Stepper, name, interrupted)
        path = tmp_path / f"{name}.npz"
        first = solve(BODY, decay("1 + x/2"), TIMES, events=events, checkpoint=path, step=step)
        assert "interrupted" in first.message
        monkeypatch.setattr(stepping.Stepper, name, own)
        rest = solve(BODY, decay("1 + x/2"), TIMES, events=events, checkpoint=path, step=step)
        assert np.array_equal(rest.values["A"], whole.values["A"])
        assert rest.model == whole.model
    with pytest.raises(ValueError, match="another run"):
        solve(BODY, decay("1 + x/2"), TIMES, events=events[:1], checkpoint=path, step=step)


def test_a_solution_with_events_is_saved(tmp_path):
    found = solve(BODY, decay(), TIMES, events=[Event(0.6, set={"k": "0.5 1/s"})])
    mc.save(tmp_path / "run.npz", found)
    again = mc.load(tmp_path / "run.npz")
    assert flux(again, "decay") == pytest.approx(flux(found, "decay"))
    assert again.model == found.model


def test_events_that_never_end_are_named():
    swap = [Event("P > 0.5", set={"P": 0.0}), Event("P < 0.2", set={"P": 1.0})]
    model = Model(PLACES, [Pool("P", 1.0, 0.3)], [Reaction("grow", "P", "v", {"P": 1})], {"v": 1.0})
    with pytest.raises(mc.SolveError, match=r"'P > 0\.5' and event 'P < 0\.2' set each other off without end"):
        solve(BODY, model, [0, 2.0], events=swap)
    with pytest.raises(mc.SolveError, match="happened 500 times within"):
        solve(BODY, model, [0, 2.0], events=[Event("P > 0.5", set={"P": "0.5 - 1e-9"})])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Event(1.0), "should set or add something"),
        (lambda: Event(1.0, set=3), "set of an Event should be a dict"),
        (lambda: Event("1 um", set={"A": 1}), "when of an Event"),
        (lambda: Event(np.inf, set={"A": 1}), "finite times in s or a condition"),
        (lambda: Event("mean(A)", set={"A": 1}), "should compare"),
        (lambda: Event("1 > 2", set={"A": 1}), "never does"),
        (lambda: run(Event("A > 2", set={"A": 1})), "'A' has a value at every node; write mean\\(A\\)"),
        (lambda: run(Event("mean(B) > 2", set={"A": 1})), "the model has no 'B'"),
        (lambda: run(Event(1, set={"kk": 1})), "sets 'kk', which the model does not have; did you mean 'k'"),
        (lambda: run(Event(1, add={"k": 1})), "adds to 'k', which the model does not have"),
        (lambda: run(Event(1, set={"k": "twice k"})), "should be to a number with its unit"),
        (lambda: run(Event(1, set={"A": "1 s"})), "'A' is in molecule/um\\^3; got '1 s'"),
        (lambda: run(Event(1, set={"A": "R + 1"})), "'R' lives elsewhere; write mean\\(R\\)"),
        (lambda: run(1.0, "x"), "events should be times in s, or Event"),
    ],
)
def test_what_cannot_happen_is_refused(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def run(*events):
    species = [Species("A", "ball", 1, 1.0), Species("R", "rim", 1, 1.0)]
    model = Model(PLACES, species, [Reaction("decay", "ball", "k*A", {"A": -1})], {"k": 1.0})
    return solve(BODY, model, [0, 2.0], events=list(events))


def test_a_condition_that_becomes_true_at_the_time_of_an_event_takes_nothing_from_it():
    """It is true just before, and found at the step's end, which is that time."""
    pools = [Pool("P", 1.0), Pool("N", 1.0), Pool("M", 1.0)]
    model = Model(PLACES, [Species("A", "ball"), *pools], [Reaction("grow", "P", "v", {"P": 1})], {"v": 1.0})
    events = [Event("P > 0.5 - 1e-9", add={"N": 1}), Event(0.5, add={"M": 1})]
    found = solve({"ball": 1, "rim": 1}, model, [0, 0.5, 1], events=events)
    assert [found.values[name][-1, 0] for name in "NM"] == pytest.approx([1, 1])
