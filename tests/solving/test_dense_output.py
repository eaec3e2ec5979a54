"""Asked times between the ends of steps: as right as the ends, at the cost of a few steps, where that can be known."""

import numpy as np
import pytest

import meshcell as mc
from gallery.balls import round_ball
from gallery.models import brusselator
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving.dense_output import STATES, interpolated, lagrange

BALL = {"ball": "ball", "rim": ("ball", "outside")}


def test_polynomials_of_their_degree_are_found_and_sums_are_kept():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.1, 3, STATES)).tolist()
    for degree in range(STATES + 1):
        states = [np.array([t**degree]) for t in times]
        at = 0.5 * (times[-2] + times[-1])
        values, difference = interpolated(times, states, at)
        # The last degree that all states catch, and the last that all but one do.
        assert (abs(values[0] / at**degree - 1) < 1e-12) == (degree < STATES)
        assert (abs(difference[0]) < 1e-12 * at**degree) == (degree < STATES - 1)
    assert sum(lagrange(times, 1.234)) == pytest.approx(1, abs=1e-12)


def uneven_start():
    """A slope and a thin sheet, whose diffusion is over at very different times, under a slow reaction."""
    species = [Species("u", "ball", 1.0, "1 + 0.3*x + 0.2*exp(-40*z*z)"), Species("s", "rim", 0.5, "1 + 0.5*y")]
    reactions = [
        Reaction("bind", "rim", "u - s", {"u": -1, "s": 1}),
        Reaction("stimulus", "ball", "0.5*(1 + tanh(3*t - 4))", {"u": 1}),
    ]
    return Model(BALL, species, reactions)


@pytest.mark.parametrize("scheme", ["implicit", "imex"])
@pytest.mark.parametrize(("model", "span"), [(uneven_start(), 2.0), (brusselator(), 6.0)], ids=["sheet", "Brusselator"])
def test_what_lies_between_the_ends_of_steps_is_as_right_as_they_are(model, span, scheme):
    mesh, rtol = round_ball(4), 1e-4
    # Logarithmic at first, where fast modes are alive.
    times = np.concatenate([[0], np.geomspace(1e-3, span / 10, 30), np.linspace(span / 10, span, 60)[1:]])
    mine = mc.solve(mesh, model, times, rtol=rtol, scheme=scheme)
    exact = mc.solve(mesh, model, times, rtol=1e-8, scheme="implicit")
    assert mine.stats["interpolated"] > 30
    for name, values in mine.values.items():
        error = np.abs(values - exact.values[name]) / np.abs(exact.values[name])
        # Ten tolerances in the mean, as at the ends of steps; at single nodes ten times that.
        assert np.sqrt((error**2).mean(axis=1)).max() < 10 * rtol
        assert error.max() < 100 * rtol


def test_many_asked_times_cost_next_to_nothing():
    mesh, model = round_ball(4), brusselator()
    few, many = (mc.solve(mesh, model, np.linspace(0, 6, n), rtol=1e-4) for n in (2, 1001))
    assert many.stats["steps"] < 1.2 * few.stats["steps"]
    np.testing.assert_allclose(many.values["u"][-1], few.values["u"][-1], rtol=1e-3)
    assert (np.diff(many.times) > 0).all()
    assert len(many.values["u"]) == 1001


def test_a_fast_mode_that_is_alive_is_not_interpolated():
    # What decays within a thousandth of the step that ends the piece is over at its end, and was not at its begin.
    times = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    states = [np.array([1.0]), np.array([1.0]), np.array([1.0]), np.array([1.0]), np.array([0.0])]
    _, difference = interpolated(times.tolist(), states, 3.5)
    assert abs(difference[0]) > 0.03
