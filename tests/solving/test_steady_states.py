"""Steady states: known ones, those that long runs reach, sums that are kept, clear failures."""

import numpy as np
import pytest

from gallery.balls import round_ball
from gallery.meshes import box
from gallery.models import BALL, calcium, exchange, well
from meshcell.analysis.quantities import mean, total
from meshcell.core.errors import SolveError
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving.solver import solve
from meshcell.solving.steady_states import steady


def test_the_gradient_of_the_surface_kinase_is_where_a_long_run_ends():
    mesh = round_ball(8)
    reactions = [Reaction("kin", "rim", "k*(1 - c)", {"c": 1}), Reaction("phos", "ball", "p*c", {"c": -1})]
    model = Model(BALL, [Species("c", "ball", 10, 0.1)], reactions, {"k": 50 / 3, "p": 10})
    rest = steady(mesh, model)
    # The polyhedron of 8 shells is 2.4 % smaller than the ball: 1 % in the mean.
    assert mean(rest, "c")[0] == pytest.approx(0.79061216, rel=0.01)
    run = solve(mesh, model, [0, 20], rtol=1e-6)
    np.testing.assert_allclose(rest.values["c"][0], run.values["c"][-1], rtol=1e-5)
    # Linear: once the steps are long, one is enough.
    assert rest.stats["newton_iterations"] < 30


def test_sums_that_the_model_keeps_stay_and_equilibrium_is_found():
    mesh = round_ball(6)
    rest, start = steady(mesh, exchange()), solve(mesh, exchange(), [0.0])
    s = mesh.areas.sum() / mesh.volumes.sum()
    b = min(np.roots([s, -2 - s, 1]).real)
    np.testing.assert_allclose(rest.values["B"], b, rtol=1e-5)
    for pair in (("A", "B"), ("X", "B")):
        kept = [sum(total(solution, name)[0] for name in pair) for solution in (rest, start)]
        assert kept[0] == pytest.approx(kept[1], rel=1e-12)


def test_nothing_left_is_a_steady_state():
    model = Model({"ball": "ball"}, [Species("c", "ball", 10, 5.0)], [Reaction("r", "ball", "c", {"c": -1})], {})
    rest = steady(round_ball(4), model)
    assert 0 <= rest.values["c"].max() < 1e-6


def test_receptors_that_are_used_up_leave_the_rest_at_rest():
    """Rounding in a large store must not come back as receptors, in the search as little as in a long run."""
    mesh = round_ball(5, core=2)
    places = {"cyt": "shell", "er": "core", "PM": ("shell", "outside"), "ERM": ("shell", "core")}
    species = [Species("Ca", "cyt", 220, 60.0), Species("CaER", "er", 220, 2.4e5), Species("R", "PM", 0.1, 10.0)]
    leak = Reaction("leak", "ERM", "l*(CaER - Ca)", {"CaER": -1, "Ca": 1})
    bind = Reaction("bind", "PM", "k*Ca*R", {"Ca": -1, "R": -1})
    model = Model(places, species, [leak, bind], {"l": 0.01, "k": 0.01})
    rest, run = steady(mesh, model), solve(mesh, model, [0, 100, 1e4])
    for solution in (rest, run):
        assert abs(solution.values["R"][-1]).max() < 1e-9
        assert sum(total(solution, name)[-1] for name in ("Ca", "CaER")) == pytest.approx(
            sum(total(run, name)[0] for name in ("Ca", "CaER")) - total(run, "R")[0], rel=1e-9
        )
    np.testing.assert_allclose(rest.values["Ca"][0], run.values["Ca"][-1], rtol=1e-5)


def test_calcium_at_rest_is_where_a_long_run_ends():
    mesh = round_ball(6, core=3)
    model = calcium()
    source = Reaction("in", "PM", "influx", {"Ca": 1})
    parameters = {**model.parameters, "influx": "2 molecule/um^2/s"}
    model = Model(model.compartments, model.species, [*model.reactions, source], parameters)
    rest, run = steady(mesh, model), solve(mesh, model, [0, 1e4], rtol=1e-6)
    for name in ("Ca", "CaER"):
        np.testing.assert_allclose(rest.values[name][0], run.values[name][-1], rtol=1e-4)


def test_of_two_stable_states_the_one_in_whose_basin_the_search_begins_is_found():
    reactions = [Reaction("r", "box", "100*u*(1 - u)*(u - 0.4)", {"u": 1})]
    mesh = box(1, names={1: "box"})
    low, high = (steady(mesh, well(reactions, u=start)).values["u"] for start in (0.3, 0.5))
    np.testing.assert_allclose(low, 0, atol=1e-4)
    np.testing.assert_allclose(high, 1, rtol=1e-6)


def test_rates_that_depend_on_time_are_taken_at_the_asked_one():
    model = well([Reaction("r", "box", "t - u", {"u": 1})], u=0)
    rest = steady(box(1, names={1: "box"}), model, at=3.0)
    np.testing.assert_allclose(rest.values["u"], 3, rtol=1e-6)
    np.testing.assert_array_equal(rest.times, [3.0])


def test_a_model_without_rest_says_so():
    model = well([Reaction("r", "box", "1 + 0*u", {"u": 1})], u=1)
    with pytest.raises(SolveError, match=r"found no steady state: .* species 'u', .* um, .*oscillate, grow") as error:
        steady(box(1, names={1: "box"}), model)
    assert (error.value.solution.values["u"] > 1).all()
    assert steady(box(1, names={1: "box"}), model, throw=False).message == str(error.value)


def test_bad_input_is_refused():
    model = well([], u=1)
    with pytest.raises(ValueError, match="horizon should be a positive, finite time"):
        steady(box(1, names={1: "box"}), model, horizon=0)
    with pytest.raises(TypeError, match="needs a TetMesh; got Model"):
        steady(model, model)


@pytest.mark.parametrize(("diffusion", "turnover"), [(220, 3 / 86400), (1000, 3 / 3600)])
def test_slow_reactions_after_fast_diffusion_come_to_rest(diffusion, turnover):
    species = [Species("A", "box", diffusion, "1 + 0.5*x/0.2")]
    model = Model({"box": "box"}, species, [Reaction("turn", "box", "g*(2 - A)", {"A": 1})], {"g": turnover})
    rest = steady(box(6, (0.2, 0.2, 0.2), names={1: "box"}), model)
    # The other modes leave a billion times faster than the mean.
    np.testing.assert_allclose(rest.values["A"][0], 2, rtol=1e-5)
    assert rest.stats["newton_iterations"] < 60
