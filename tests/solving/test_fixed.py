"""Values held on a part of the boundary: exact where P1 is, of the scheme's order in time, left out of what is kept."""

from dataclasses import replace

import numpy as np
import pytest

import meshcell as mc
from gallery.balls import round_ball
from gallery.meshes import box, slope
from meshcell.models.binding import bind
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species

UM = 602.214076


@pytest.fixture(scope="module")
def slab():
    """A box with its ends x = 0 and x = 1 as patches."""
    plain = box(4, names={1: "box"})
    x = plain.points[plain.facets][:, :, 0]
    ends = {"left": np.flatnonzero((x == 0).all(axis=1)), "right": np.flatnonzero((x == 1).all(axis=1))}
    return replace(plain, patches=ends)


PLACES = {"box": "box", "left": "left", "right": "right", "rim": ("box", "outside")}


def between(left, right, *reactions, diffusion=1.0, initial=0.0, parameters=None, home="box"):
    species = [Species("u", home, diffusion, initial, fixed={"left": left, "right": right})]
    return Model(PLACES, species, reactions, parameters or {})


def test_the_steady_state_between_two_fixed_ends_is_linear(slab):
    solution = mc.solve(slab, between(1, 3), [0, 5], rtol=1e-6)
    # exp(-pi^2 5) is below rounding; the linear solver's share of rtol is what is left.
    np.testing.assert_allclose(solution.values["u"][-1], 1 + 2 * slab.points[:, 0], rtol=1e-6)
    assert "mass_drift" not in solution.stats


def test_fixed_values_hold_from_the_first_time_on(slab):
    solution = mc.solve(slab, between("2 uM", "c0*exp(-t/tau)", parameters={"c0": "1 uM", "tau": "0.5 s"}), [0, 0.1, 1])
    left, right = (slab.points[:, 0] == x for x in (0, 1))
    np.testing.assert_allclose(solution.values["u"][:, left], 2 * UM, rtol=1e-14)
    expected = np.outer(UM * np.exp(-solution.times / 0.5), np.ones(right.sum()))
    np.testing.assert_allclose(solution.values["u"][:, right], expected, rtol=1e-14)


def test_a_boundary_that_moves_linearly_is_followed_exactly(slab):
    # u = x + 2 t solves u' = u_xx + 2, and neither P1 nor the scheme errs on it.
    grow = Reaction("grow", "box", "2", {"u": 1})
    solution = mc.solve(slab, between("x + 2*t", "x + 2*t", grow, initial="x"), [0, 0.3, 1], rtol=1e-8)
    np.testing.assert_allclose(solution.values["u"], slab.points[:, 0] + 2 * solution.times[:, None], atol=1e-7)


def test_fixed_steps_keep_their_order_with_a_moving_boundary(slab):
    # u = (1 + x) exp(-t) solves u' = u_xx - u.
    decay = Reaction("decay", "box", "u", {"u": -1})
    model = between("(1 + x)*exp(-t)", lambda t: 2 * np.exp(-t), decay, initial="1 + x")
    steps, exact = np.array([0.2, 0.1, 0.05]), (1 + slab.points[:, 0]) * np.exp(-1)
    errors = [
        np.abs(mc.solve(slab, model, [0, 1], step=step, rtol=1e-9).values["u"][-1] - exact).max() for step in steps
    ]
    assert slope(steps, errors) > 1.9, errors


def test_species_of_an_interface_may_be_fixed_on_a_part_of_it(slab):
    solution = mc.solve(slab, between(1, 3, home="rim"), [0, 20], rtol=1e-6)
    nodes = solution.nodes["u"]
    # Around the box's four sides the surface is a tube; its steady state is linear in x.
    np.testing.assert_allclose(solution.values["u"][-1], 1 + 2 * slab.points[nodes, 0], rtol=1e-6)


def test_the_ball_with_a_fixed_membrane_fills_like_crank_says():
    mesh = round_ball(12)
    model = Model({"ball": "ball", "PM": ("ball", "outside")}, [Species("u", "ball", 1, 0, fixed={"PM": 1})])
    times = np.array([0, 0.05, 0.1, 0.2])
    filled = mc.mean(mc.solve(mesh, model, times, rtol=1e-5), "u")
    n = np.arange(1, 200)[:, None]
    # Crank, The mathematics of diffusion (1975), eq. 6.20, for D = R = 1.
    exact = 1 - 6 / np.pi**2 * np.sum(np.exp(-((n * np.pi) ** 2) * times) / n**2, axis=0)
    # 1 %: 14,000 tetrahedra, and a polyhedron 1 % smaller than the ball.
    np.testing.assert_allclose(filled[1:], exact[1:], rtol=0.01)


def test_what_is_fixed_is_not_counted_as_kept_and_the_rest_is(slab):
    species = [
        Species("a", "box", 1, 1, fixed={"left": 2}),
        Species("b", "box", 1, 0),
        Species("c", "box", 1, "1 + x"),
        Species("d", "box", 1, 0),
    ]
    reactions = [Reaction("ab", "box", "a - b", {"a": -1, "b": 1}), Reaction("cd", "box", "c*c", {"c": -2, "d": 1})]
    solution = mc.solve(slab, Model(PLACES, species, reactions), np.linspace(0, 1, 5))
    kept = mc.total(solution, "c") + 2 * mc.total(solution, "d")
    np.testing.assert_allclose(kept, kept[0], rtol=1e-12)
    assert solution.stats["mass_drift"] < 1e-12
    assert mc.total(solution, "a")[-1] + mc.total(solution, "b")[-1] > 1.5


def test_reactions_do_not_change_a_species_where_it_is_fixed(slab):
    source = Reaction("source", "left", "7", {"u": 1})
    solution = mc.solve(slab, between(1, 3, source), [0, 5], rtol=1e-6)
    np.testing.assert_allclose(solution.values["u"][-1], 1 + 2 * slab.points[:, 0], rtol=1e-6)


def test_the_first_part_holds_where_two_meet(slab):
    species = [Species("u", "box", 1, 0, fixed={"left": 5, "rim": 1})]
    (u,) = bind(Model(PLACES, species), slab).species.values()
    left, rim = u.fixed
    assert not np.intersect1d(left.nodes, rim.nodes).size
    np.testing.assert_array_equal(np.union1d(left.nodes, rim.nodes), np.unique(slab.facets))
    np.testing.assert_array_equal(left.values(0.0), np.full(len(left.nodes), 5.0))


def test_the_estimator_sees_no_error_in_a_linear_field_between_fixed_ends(slab):
    solution = mc.solve(slab, between(1, 3), [0, 5, 6])
    free = mc.Solution(slab, between(1, 3), [6.0], {"u": solution.values["u"][-1:]}, dict(solution.nodes))
    assert mc.estimate(free).max() < 1e-5
    # Without the fixed values the flux through the ends would be an error.
    other = replace(free, model=Model(PLACES, [Species("u", "box", 1.0)]))
    assert mc.estimate(other).max() > 0.01


@pytest.mark.parametrize(
    ("fixed", "error", "text"),
    [
        (3, TypeError, r'fixed of species .u. should be a dict such as \{"PM": "1 uM"\}; got 3'),
        ({"PM": 1}, ValueError, "fixed value of species 'u' is in compartment 'PM', which the model does not have"),
        ({"left": "1 um"}, ValueError, "fixed value of species 'u' on 'left' should be in .*molecule/um.3.*; got um"),
        ({"left": "1 molecule/um^2"}, ValueError, "should be in molecule/um.3; got molecule/um.2"),
        ({"left": "c0"}, ValueError, "fixed value of species 'u' on 'left': unknown name 'c0'"),
        ({"left": "1 + u"}, ValueError, "unknown name 'u'"),
        ({"left": "k*t"}, ValueError, "should be in molecule/um.3; got no unit"),
        ({"left": float("nan")}, ValueError, "should be finite; got nan"),
        ({"left": lambda t: [t, t]}, ValueError, "on 'left': a function of time should return one number"),
        ({"left": None}, TypeError, "should be a number or a text"),
    ],
)
def test_unusable_fixed_values_are_refused_when_the_model_is_built(fixed, error, text):
    with pytest.raises(error, match=text):
        Model(PLACES, [Species("u", "box", 1, "1 uM", fixed=fixed)], (), {"k": "2 1/s"})


def test_a_fixed_value_where_the_species_does_not_live_is_refused():
    mesh = round_ball(4, core=2)
    places = {"er": "core", "PM": ("shell", "outside")}
    model = Model(places, [Species("u", "er", fixed={"PM": 1})])
    with pytest.raises(ValueError, match=r"'PM' \(shell \| outside\) has no node in common with 'er' \(core\)"):
        bind(model, mesh)


# --- what flows in, states of rest ---


def test_what_flows_in_at_fixed_values_is_ficks_law_at_rest(slab):
    rest = mc.steady(slab, between(1, 3, diffusion=2.5))
    np.testing.assert_allclose(rest.values["u"][0], 1 + 2 * slab.points[:, 0], rtol=1e-6)
    gained = mc.gains(rest, "u")
    area = 1.0  # of a face of the box
    np.testing.assert_allclose(gained["fixed at right"], 2.5 * 2 * area, rtol=1e-5)
    np.testing.assert_allclose(gained["fixed at left"], -2.5 * 2 * area, rtol=1e-5)


def test_steady_states_and_long_runs_agree_with_fixed_values(slab):
    decay = Reaction("decay", "box", "u*u", {"u": -1})
    rest = mc.steady(slab, between(1, 3, decay))
    run = mc.solve(slab, between(1, 3, decay), [0, 10], rtol=1e-7)
    np.testing.assert_allclose(rest.values["u"][0], run.values["u"][-1], rtol=1e-5)


def test_gains_close_the_balance_with_a_moving_boundary(slab):
    decay = Reaction("decay", "box", "0.5*u", {"u": -1})
    model = between("1 + t", lambda t: 2 * np.exp(-t), decay, initial="1 + x")
    times = 0.5 + np.array([-1, 0, 1]) * 1e-3
    solution = mc.solve(slab, model, [0, *times], rtol=1e-9)
    gained = mc.gains(solution, "u")
    assert list(gained) == ["decay", "fixed at left", "fixed at right"]
    # A central difference over 2 ms: 1e-6 of the third derivative, and the tolerance over 1e-3 s.
    change = (mc.total(solution, "u")[3] - mc.total(solution, "u")[1]) / (times[2] - times[0])
    assert sum(gained.values())[2] == pytest.approx(change, rel=1e-4)
