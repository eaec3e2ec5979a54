"""Quantities: the numbers of the functions of the same sense, over parts too, and refusals that name the way."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

import meshcell as mc
from gallery.balls import round_ball
from meshcell.models.model import Model
from meshcell.models.observables import UNITS, Quantity
from meshcell.models.species import Reaction, Species
from meshcell.solving.solver import solve

MODEL = Model(
    {"cyt": "shell", "er": "core", "PM": ("shell", "outside"), "ERM": ("shell", "core"), "both": "shell + core"},
    [
        Species("a", "cyt", 1, "1 + x"),
        Species("b", "er", 1, "2 molecule/um^3"),
        Species("s", "PM", 1, "3 + y"),
        Species("w", "both", 1, "1 + z"),
        Species("V", "cyt", 0, "-65 mV", signed=True),
    ],
    [
        Reaction("leak", "ERM", "2*(b - a)", {"b": -1, "a": 1}),
        Reaction("bind", "PM", "a*(1 + t)", {"a": -2, "s": 1}),
        Reaction("clock", "PM", "t*t", {"s": 1}),
    ],
)


@pytest.fixture(scope="module")
def solution():
    mesh = round_ball(5, core=2)
    heights = mesh.points[mesh.facets].mean(axis=1)[:, 2]
    outer = (mesh.sides == 0).any(axis=1)
    patches = {"top": np.flatnonzero((heights > 0.5) & outer), "cap": np.flatnonzero(heights > 0)}
    return solve(replace(mesh, patches=patches), MODEL, np.linspace(0, 0.1, 5))


def value(solution, *args, **options):
    return Quantity(*args, **options).value(solution)


def test_quantities_are_the_functions_of_the_same_sense(solution):
    for name in ("a", "b", "s", "w"):
        np.testing.assert_array_equal(value(solution, "total", name), mc.total(solution, name))
        np.testing.assert_array_equal(value(solution, "mean", name), mc.mean(solution, name))
        assert value(solution, "area", name) == pytest.approx(mc.area_under_curve(solution, name), rel=1e-14)
    for reaction in ("leak", "bind", "clock"):
        np.testing.assert_array_equal(value(solution, "flux", reaction), mc.flux(solution, reaction))
    for name, point in {"a": (0, 0.7, 0.1), "s": (0.3, 0.4, 0.9)}.items():
        np.testing.assert_allclose(
            value(solution, "value", name, point=point), mc.probe(solution, name, point)[:, 0], rtol=1e-14
        )
        area = value(solution, "area", name, point=point)
        assert area == pytest.approx(mc.area_under_curve(solution, name, points=point)[0], rel=1e-14)


def test_a_flux_is_what_reactions_bring_there(solution):
    gains = mc.gains(solution, "a")
    np.testing.assert_allclose(value(solution, "flux", "a"), gains["leak"] + gains["bind"], rtol=1e-13)
    np.testing.assert_allclose(value(solution, "flux", "a", place="PM"), gains["bind"], rtol=1e-13)
    np.testing.assert_allclose(value(solution, "flux", "a", place=("outside", "shell")), gains["bind"], rtol=1e-13)


def test_parts_of_a_place_add_up_to_it(solution):
    mesh = solution.mesh
    totals = [value(solution, "total", "w", place=place) for place in ("shell", "core", "both")]
    np.testing.assert_allclose(totals[0] + totals[1], totals[2], rtol=1e-13)
    np.testing.assert_array_equal(totals[2], mc.total(solution, "w"))
    core = mesh.regions == 2
    volumes, corners = mesh.volumes[core], mesh.points[mesh.tets[core]]
    exact = 1 + volumes @ corners.mean(axis=1)[:, 2] / volumes.sum()
    assert value(solution, "mean", "w", place="er")[0] == pytest.approx(exact, rel=1e-13)
    top = mesh.patches["top"]
    exact = 1 + mesh.areas[top] @ mesh.points[mesh.facets[top]].mean(axis=1)[:, 0] / mesh.areas[top].sum()
    # The mean of a species of the region over a patch of its membrane.
    assert value(solution, "mean", "a", place="top")[0] == pytest.approx(exact, rel=1e-13)
    clock = value(solution, "flux", "clock", place="top")
    np.testing.assert_allclose(clock, solution.times**2 * mesh.areas[top].sum(), rtol=1e-13)


def test_one_time_lies_on_the_course(solution):
    course = value(solution, "mean", "a")
    assert value(solution, "mean", "a", at=solution.times[3]) == course[3]
    assert value(solution, "mean", "a", at="62.5 ms") == pytest.approx(course[2:4].mean(), rel=1e-14)
    area = value(solution, "area", "a", at="50 ms")
    assert area == pytest.approx(np.trapezoid(course[:3], solution.times[:3]), rel=1e-14)
    between = value(solution, "area", "a", at=0.06)
    assert area < between < value(solution, "area", "a", at=0.1) == value(solution, "area", "a")


def test_a_quantity_is_a_value_that_reads_well(solution):
    head = Quantity("mean", "Ca", place=["cyt", "outside"], at="2 ms")
    assert head == Quantity("mean", "Ca", place=("cyt", "outside"), at=0.002)
    assert len({head, replace(head), replace(head, at=None)}) == 2
    assert eval(repr(head)) == head
    assert str(head) == "mean of Ca in cyt | outside at 0.002 s, molecule/um^3 (on an interface molecule/um^2)"
    with pytest.raises(FrozenInstanceError):
        head.at = 1
    found = {
        (what, name): Quantity(what, name, **({"point": (0, 0, 0)} if what == "value" else {})).unit_in(
            MODEL, solution.mesh
        )
        for what in UNITS
        for name in ("a", "s", "V")
    }
    assert found["mean", "a"] == found["value", "a"] == "molecule/um^3"
    assert found["mean", "s"] == found["value", "s"] == "molecule/um^2"
    assert found["total", "a"] == found["total", "s"] == "molecule"
    assert found["flux", "a"] == found["flux", "s"] == "molecule/s"
    assert found["area", "a"] == "molecule*s/um^3"
    assert (found["mean", "V"], found["area", "V"]) == ("mV", "mV*s")
    assert Quantity("flux", "clock").unit_in(MODEL, solution.mesh) == "events/s"


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (("maen", "a"), {}, "what should be one of mean, total, flux, value, area; got 'maen'; did you mean 'mean'"),
        (("mean", ""), {}, "species of a Quantity should be a text"),
        (("value", "a"), {}, r"a value is at a point: give point=\(x, y, z\)"),
        (("mean", "a"), {"point": (0, 0, 0)}, r'ask for Quantity\("value", ...\)'),
        (("area", "a"), {"point": (0, 0, 0), "place": "cyt"}, "of a place or at a point, not both"),
        (("value", "a"), {"point": (0, 0)}, "three entries"),
        (("value", "a"), {"point": (0, 0, np.nan)}, "point should be finite"),
        (("mean", "a"), {"at": "3 um"}, "at should be in s"),
        (("mean", "a"), {"at": np.inf}, "at should be finite"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(args, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Quantity(*args, **options)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (("mean", "aa"), {}, "'aa' is not a species of the model; did you mean 'a'.* there are a, b, s"),
        (("flux", "lek"), {}, "'lek' is not a species or reaction of the model; did you mean 'leak'"),
        (("mean", "a"), {"place": "cor"}, "no place is called 'cor'; did you mean 'core'.*cyt, er, PM.*top"),
        (("mean", "a"), {"place": ("shell", "nuc")}, "none called 'nuc'"),
        (
            ("mean", "a"),
            {"place": "er"},
            "'a' does not live there.*give place='cyt'.*what lives there: b",
        ),
        (("mean", "a"), {"place": "both"}, "'a' lives only in a part of it: it lives in 'cyt'.*lives there: w"),
        (("mean", "b"), {"place": "top"}, "'b' does not live there: it lives in 'er'"),
        (("mean", "s"), {"place": "cyt"}, "'s' does not live there: it lives in 'PM'"),
        (("mean", "s"), {"place": "cap"}, "only in a part"),
        (("total", "a"), {"place": "PM"}, 'would be no number of molecules.*ask for its "mean" there'),
        (("flux", "a"), {"place": "er"}, "no reaction changes 'a' there.*: leak in ERM, bind in PM"),
        (("flux", "w"), {}, r"no reaction changes 'w' there.*\(none\)"),
        (("flux", "leak"), {"place": "PM"}, "reaction 'leak' is in 'ERM'; give place='ERM'"),
        (("value", "a"), {"point": (0, 0, 9)}, r"outside 'cyt', where 'a' lives, within \(-1 ... 1,"),
        (("value", "a"), {"point": (0, 0, 0)}, "outside 'cyt'"),
        (("mean", "a"), {"at": 0.2}, "between 0 and 0.1 s, the simulated ones; got 0.2; leave at= out"),
        (("area", "a"), {"at": -1}, "between 0 and 0.1 s"),
    ],
)
def test_what_a_solution_does_not_have_is_named_with_the_remedy(solution, args, options, message):
    with pytest.raises(ValueError, match=message):
        value(solution, *args, **options)


def test_only_solutions_are_asked(solution):
    with pytest.raises(TypeError, match=r"quantity.value\(solution\) needs a Solution; got .*solve"):
        Quantity("mean", "a").value(solution.model)


def test_a_name_of_two_things_is_refused():
    species, reaction = Species("a", "ball", 0, 1), Reaction("a", "ball", "a", {"a": -1})
    found = solve(round_ball(3), Model({"ball": "ball"}, [species], [reaction]), [0])
    with pytest.raises(ValueError, match="may be of the species or of the reaction 'a'; give place="):
        value(found, "flux", "a")
    assert value(found, "flux", "a", place="ball")[0] == -mc.flux(found, "a")[0]
