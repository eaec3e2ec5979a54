"""Totals, means and fluxes agree with integrals known by hand and with each other."""

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest

from gallery.balls import round_ball
from meshcell.adaptivity.estimators import estimate
from meshcell.analysis.quantities import area_under_curve, flux, gains, mean, probe, profile, total
from meshcell.geometry.point_location import nearest_on_surface
from meshcell.models import solutions
from meshcell.models.model import Model
from meshcell.models.solutions import Solution, compartment_rows
from meshcell.models.species import Reaction, Species
from meshcell.solving.solver import solve

MODEL = Model(
    {"cyt": "shell", "er": "core", "PM": ("shell", "outside"), "ERM": ("shell", "core")},
    [Species("a", "cyt", 1, "1 + x"), Species("b", "er", 1, 2), Species("s", "PM", 1, "3 + y")],
    [Reaction("leak", "ERM", "2*(b - a)", {"b": -1, "a": 1}), Reaction("clock", "PM", "t*t", {"s": 1})],
)


@pytest.fixture(scope="module")
def solution():
    return solve(round_ball(5, core=2), MODEL, np.linspace(0, 0.1, 5))


def test_linear_fields_are_integrated_exactly(solution):
    mesh = solution.mesh
    shell = mesh.volumes[mesh.regions == 1].sum()
    # The ball is symmetric, so x and y integrate to nothing.
    assert total(solution, "a")[0] == pytest.approx(shell, rel=1e-13)
    assert mean(solution, "a")[0] == pytest.approx(1, rel=1e-13)
    assert mean(solution, "b")[0] == pytest.approx(2, rel=1e-13)
    assert total(solution, "s")[0] == pytest.approx(3 * mesh.areas[mesh.sides[:, 1] == 0].sum(), rel=1e-13)


def test_an_unsymmetric_field_is_integrated_as_by_the_centroid_rule():
    mesh = round_ball(3)
    model = Model({"ball": "ball"}, [Species("u", "ball", 0, "x*x*x + exp(y)")])
    solution = solve(mesh, model, [0])
    u = solution.values["u"][0]
    assert total(solution, "u")[0] == pytest.approx(mesh.volumes @ u[mesh.tets].mean(axis=1), rel=1e-13)


def test_flux_is_the_rate_over_the_interface(solution):
    mesh = solution.mesh
    membrane = mesh.areas[mesh.sides[:, 1] == 0].sum()
    np.testing.assert_allclose(flux(solution, "clock"), solution.times**2 * membrane, rtol=1e-13)
    # At first b - a = 1 - x, and x integrates to nothing.
    inner = mesh.areas[mesh.sides[:, 1] != 0].sum()
    assert flux(solution, "leak")[0] == pytest.approx(2 * inner, rel=1e-13)


def test_what_the_leak_moves_is_conserved(solution):
    kept = total(solution, "a") + total(solution, "b")
    np.testing.assert_allclose(kept, kept[0], rtol=1e-12)


def test_unknown_names_are_answered_with_the_known_ones(solution):
    with pytest.raises(ValueError, match=r"species should be one of a, b, s; got 'c'"):
        total(solution, "c")
    with pytest.raises(ValueError, match=r"reaction should be one of leak, clock; got 'pump'"):
        flux(solution, "pump")


def test_nothing_is_needed_but_the_solution_as_saved(solution):
    bare = Solution(solution.mesh, solution.model, solution.times, dict(solution.values), dict(solution.nodes))
    np.testing.assert_array_equal(total(bare, "a"), total(solution, "a"))


def ask(solution):
    """One of every kind of question."""
    mean(solution, "a"), total(solution, "s"), gains(solution, "a"), flux(solution, "leak"), estimate(solution)
    profile(solution, "a", "ERM"), probe(solution, "b", (0, 0, 0)), area_under_curve(solution, "a")
    compartment_rows(solution, "a")


def test_questions_do_not_bind_again(solution, monkeypatch):
    bound, bind = [], solutions.bind
    monkeypatch.setattr(solutions, "bind", lambda model, mesh: bound.append(model) or bind(model, mesh))
    ask(solution)
    assert not bound
    bare = Solution(solution.mesh, solution.model, solution.times, dict(solution.values), dict(solution.nodes))
    ask(bare)
    assert bound == [MODEL]


def test_a_solution_travels_without_its_system(solution):
    assert solution.system.species["a"].compartment.name == "cyt"
    assert solution.__reduce_ex__(4)[2].keys() == {item.name for item in fields(Solution)}
    copy = pickle.loads(pickle.dumps(solution))
    np.testing.assert_array_equal(mean(copy, "a"), mean(solution, "a"))


# --- profiles, points, areas under curves ---


def static(mesh, **initial):
    """Fields as they are, without a simulation."""
    homes = {"a": "cyt", "b": "er", "s": "PM"}
    species = [Species(name, homes[name], 1, value) for name, value in initial.items()]
    return solve(mesh, replace(MODEL, species=species, reactions=()), [0])


def test_nearest_points_are_those_of_all_triangles():
    rng = np.random.default_rng(0)
    surface = round_ball(4).surface
    queries = rng.uniform(-1.5, 1.5, (40, 3))
    found, rows, shares = nearest_on_surface(queries, surface.points, surface.triangles)
    corners = surface.points[surface.triangles]
    # Every triangle as a fine cloud of points: none is nearer, and one is nearly as near.
    u, v = (grid.ravel() for grid in np.meshgrid(*[np.linspace(0, 1, 41)] * 2))
    inside = u + v <= 1 + 1e-12
    cloud = np.einsum("gc,tcd->tgd", np.stack([1 - u - v, u, v], axis=1)[inside], corners).reshape(-1, 3)
    brute = np.array([np.linalg.norm(cloud - query, axis=1).min() for query in queries])
    assert (found <= brute + 1e-12).all()
    np.testing.assert_allclose(found, brute, atol=0.01)
    feet = np.einsum("qc,qcd->qd", shares, corners[rows])
    np.testing.assert_allclose(np.linalg.norm(feet - queries, axis=1), found, rtol=1e-12)
    # The centre is equally far from many: all have to be looked at.
    centre = nearest_on_surface(np.zeros((1, 3)), surface.points, surface.triangles)[0]
    heights = np.abs(np.einsum("ij,ij->i", surface.area_vectors / surface.areas[:, None], corners[:, 0]))
    assert centre[0] == pytest.approx(heights.min(), rel=1e-12)


def test_a_profile_of_the_distance_is_the_distance_and_adds_up_to_the_total():
    mesh = round_ball(8, core=3)
    solution = static(mesh, a="1 - sqrt(x*x + y*y + z*z)", b=2)
    shells = profile(solution, "a", "PM", bins=5)
    # Facets lie up to 1 - cos(h) below the sphere.
    np.testing.assert_allclose(shells.values[0], shells.distances, atol=0.02)
    assert shells.values @ shells.measures == pytest.approx(total(solution, "a"), rel=1e-13)
    other = profile(solution, "b", ("core", "shell"), bins=[0, 0.1, 10])
    np.testing.assert_allclose(other.values, 2, rtol=1e-14)
    assert (np.diff(other.distances) > 0).all() and other.distances.max() < 3 / 8
    assert profile(solution, "a", "PM", bins=[0, 1e-3]).distances == pytest.approx(0, abs=1e-12)


def test_linear_fields_are_probed_exactly_and_outside_is_nan():
    mesh = round_ball(5, core=2)
    solution = static(mesh, a="1 + x - 2*y + z", b=2, s="3 + y")
    rng = np.random.default_rng(1)
    points = rng.normal(size=(50, 3))
    points *= rng.uniform(0.5, 0.9, 50)[:, None] / np.linalg.norm(points, axis=1)[:, None]
    exact = 1 + points @ [1, -2, 1]
    np.testing.assert_allclose(probe(solution, "a", points)[0], exact, rtol=1e-12)
    # The core is another region, and far away is none.
    assert np.isnan(probe(solution, "a", [[0, 0, 0.1], [5, 0, 0]])).all()
    assert probe(solution, "b", [0, 0, 0.1]) == pytest.approx(2)
    np.testing.assert_allclose(probe(solution, "a", mesh.points[solution.nodes["a"]]), solution.values["a"], rtol=1e-12)
    assert probe(solution, "s", [0, 7, 0])[0, 0] == pytest.approx(4, rel=1e-12)


def test_areas_under_curves_are_the_integrals_of_linear_growth(solution):
    # s grows by t^3/3 where it starts at 3 on average.
    t = solution.times[-1]
    assert area_under_curve(solution, "s", baseline=3) == pytest.approx(t**4 / 12, rel=0.1)
    by_hand = np.trapezoid(probe(solution, "b", [0, 0, 0])[:, 0], solution.times)
    assert area_under_curve(solution, "b", points=[0, 0, 0]) == pytest.approx([by_hand])


def test_gains_are_fluxes_times_changes(solution):
    assert list(gains(solution, "b")) == ["leak"]
    np.testing.assert_array_equal(gains(solution, "b")["leak"], -flux(solution, "leak"))
    np.testing.assert_array_equal(gains(solution, "a")["leak"], flux(solution, "leak"))


def test_places_and_points_that_make_no_sense_are_refused(solution):
    with pytest.raises(ValueError, match="distances are taken from an interface or patch; 'cyt' is a region"):
        profile(solution, "a", "cyt")
    with pytest.raises(ValueError, match="it has none called 'golgi'"):
        profile(solution, "a", "golgi")
    with pytest.raises(ValueError, match="bins should be"):
        profile(solution, "a", "PM", bins=[1, 0])
    with pytest.raises(ValueError, match=r"points should be finite positions in um, shape \(p, 3\); got shape \(2,\)"):
        probe(solution, "a", [1, 2])
