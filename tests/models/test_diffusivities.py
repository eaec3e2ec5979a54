"""Diffusion that differs from place to place, and initial values by name: both are worth their numbers."""

import logging
from dataclasses import replace

import numpy as np
import pytest

import meshcell as mc
from gallery.meshes import box
from meshcell.geometry import finite_elements as fem
from meshcell.models.binding import bind
from meshcell.models.model import Model
from meshcell.models.parameters import Course, Field, Table
from meshcell.models.species import Reaction, Species

PLACES = {"cyt": "cytosol + psd", "left": "left", "right": "right", "PM": ("cytosol + psd", "outside")}


@pytest.fixture(scope="module")
def halves():
    """A box cut at x = 1/2 into two regions that are one compartment."""
    plain = box(4, region=lambda c: np.where(c[:, 0] < 0.5, 1, 2), names={1: "cytosol", 2: "psd"})
    x = plain.points[plain.facets][:, :, 0]
    ends = {"left": np.flatnonzero((x == 0).all(axis=1)), "right": np.flatnonzero((x == 1).all(axis=1))}
    return replace(plain, patches=ends)


def model(diffusion, parameters=None, home="cyt", **rest):
    return Model(PLACES, [Species("u", home, diffusion, **({"initial": "1 + x*y"} | rest))], (), parameters or {})


def layers(**rest):
    return model({"cytosol": "D", "psd": "0.25 um^2/s"}, {"D": 1.0}, fixed={"left": 5, "right": 0}, **rest)


def same_everywhere(mesh):
    ones = np.full(len(mesh.points), 2.0)
    return {
        "name": ("D", {"D": "2 um^2/s"}),
        "formula": ("D*(1 + L/M)", {"D": "1 um^2/s", "L": "3 nm", "M": "3 nm"}),
        "constant": ("2", {}),
        "field": (Field(ones, "um^2/s", at="nodes"), {}),
        "array": (np.full(len(mesh.tets), 2.0), {}),
        "field by name": ("2*F", {"F": Field(ones / 2, at="nodes")}),
        "regions": ({"cytosol": "D", "psd": "2 um^2/s"}, {"D": 2}),
    }


@pytest.mark.parametrize("way", same_everywhere(box(1)))
def test_what_is_the_same_everywhere_gives_the_numbers_of_a_constant(halves, way):
    diffusion, parameters = same_everywhere(halves)[way]
    solution = mc.solve(halves, model(diffusion, parameters), [0, 0.01])
    np.testing.assert_array_equal(solution.values["u"], mc.solve(halves, model(2.0), [0, 0.01]).values["u"])


def test_two_layers_in_series_are_exact(halves):
    solution = mc.steady(halves, layers(), rtol=1e-8)
    # The flux is 5 / (0.5 / 1 + 0.5 / 0.25) = 2, so u falls by 1 and by 4; P1 holds it exactly.
    x = halves.points[:, 0]
    np.testing.assert_allclose(solution.values["u"][-1], np.where(x < 0.5, 5 - 2 * x, 8 * (1 - x)), atol=1e-5)
    for supplied in ("left", "right"):
        brought = mc.gains(solution, "u")[f"fixed at {supplied}"][-1]
        assert brought == pytest.approx(2 if supplied == "left" else -2, rel=1e-5)
    # What is resolved exactly has no jumps of the flux; those of the slope would be as large as it.
    assert np.linalg.norm(mc.estimate(solution)) < 1e-5


@pytest.mark.parametrize("way", ["1 + x", "nodes", "cells", "D*(1 + x/L)"])
def test_a_diffusion_that_grows_linearly_has_a_logarithmic_profile(way):
    errors = []
    for n in (4, 8):
        mesh = box(n, names={1: "box"})
        x = mesh.points[:, 0]
        rows = {name: (x[mesh.facets] == at).all(axis=1).nonzero()[0] for name, at in (("left", 0), ("right", 1))}
        mesh = replace(mesh, patches=rows)
        centres = mesh.points[mesh.tets].mean(axis=1)[:, 0]
        ways = {"nodes": Field(1 + x, at="nodes"), "cells": Field((1 + centres) / 1e6, "mm^2/s", at="cells")}
        species = Species("u", "box", ways.get(way, way), fixed={"left": 0, "right": 1})
        places = {"box": "box", "left": "left", "right": "right"}
        given = {"D": "1 um^2/s", "L": "1 um"} if "D" in way else {}
        solution = mc.steady(mesh, Model(places, [species], (), given), rtol=1e-9)
        errors.append(np.abs(solution.values["u"][-1] - np.log1p(x) / np.log(2)).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)
    assert errors[1] < 1e-3


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_nothing_is_lost_where_diffusion_jumps_or_ends(halves, rtol):
    for psd in (0.0, 1e-3, 1e3):
        solution = mc.solve(halves, model({"cytosol": 1.0, "psd": psd}), np.linspace(0, 1, 5), rtol=rtol)
        assert solution.stats["mass_drift"] < 1e-13
        if psd == 0:
            inside = halves.points[:, 0] > 0.5
            np.testing.assert_allclose(solution.values["u"][-1][inside], solution.values["u"][0][inside], rtol=1e-12)


def test_species_on_interfaces_and_many_at_once_see_their_own_diffusion(halves):
    species = [Species(f"s{k}", "PM", f"{k} + x", "1 + y") for k in range(3)]
    species += [Species("flat", "PM", 1.0, "1 + y"), Species("u", "cyt", "1 + x", "z"), Species("v", "cyt", 2, "z")]
    bound = bind(Model(PLACES, species), halves)
    together = mc.solve(halves, Model(PLACES, species), [0, 0.02], rtol=1e-6)
    for item in species:
        alone = mc.solve(halves, Model(PLACES, [item]), [0, 0.02], rtol=1e-6)
        np.testing.assert_allclose(together.values[item.name], alone.values[item.name], rtol=1e-4, atol=1e-5)
    cells = bound.compartments["PM"].corners(halves)
    centres = halves.points[cells].mean(axis=1)[:, 0]
    np.testing.assert_allclose(bound.species["s2"].diffusion * bound.species["s2"].shares, 2 + centres, rtol=1e-14)
    # K u of a linear u is the integral of D grad(u) . grad(phi).
    K = fem.stiffness(halves.points, cells, 2 + centres)
    assert np.abs(K.sum(axis=0)).max() < 1e-12


def test_the_estimate_of_a_constant_written_as_a_field_is_the_same(halves):
    values = mc.solve(halves, model(2.0), [0, 0.01])
    nearly = np.full(len(halves.tets), 2.0)
    nearly[0] *= 1 + 1e-12
    varied = mc.solve(halves, model(nearly), [0, 0.01])
    np.testing.assert_allclose(mc.estimate(varied), mc.estimate(values), rtol=1e-6)


def test_a_stored_solution_knows_its_diffusion(halves, tmp_path):
    given = {"cytosol": "D", "psd": Field(np.full(len(halves.tets), 0.5), "um^2/s")}
    solution = mc.solve(halves, model(given, {"D": "1 um^2/s"}), [0, 0.01])
    mc.save(tmp_path / "s.npz", solution)
    again = mc.load(tmp_path / "s.npz")
    np.testing.assert_array_equal(mc.estimate(again), mc.estimate(solution))


def test_tables_and_equations_show_where_diffusion_varies(halves):
    varied = model({"cytosol": "D", "psd": "3 um^2/s"}, {"D": 1})
    assert "cytosol: D, psd: 3 um^2/s" in repr(varied)
    assert r"\nabla \cdot \left(D_{\mathrm{u}} \nabla u\right)" in varied.latex()
    assert r"D_{\mathrm{u}} \nabla^2 u" in model("D", {"D": 1}).latex()


@pytest.mark.parametrize(
    ("diffusion", "parameters", "text"),
    [
        ("D", {"D": "3 um/s"}, r"diffusion of species 'u' should be in um\^2/s; got um/s from 'D'"),
        ("D*(1 + x)", {"D": "3 um^2/s"}, r"diffusion of species 'u', 'D\*\(1 \+ x\)': cannot add '1' in no unit and"),
        ("Dca", {"D_ca": 1}, r"diffusion of species 'u': unknown name 'Dca'; did you mean 'D_ca'\?"),
        ("D", {"D": -1}, r"should be at least 0 um\^2/s; got -1 from 'D'"),
        ("D*t", {"D": 1}, r"unknown name 't'"),
        ("D", {"D": Table([0, 1], [1, 2])}, r"should not change in time; it reads 'D', which does"),
        ({"cytosol": 1}, {}, r"should name 'cytosol' and 'psd', as it lives in 'cyt' \(cytosol \+ psd\); got cytosol"),
        ({"cytosol": 1, "er": 2}, {}, r"should name 'cytosol' and 'psd'.*got cytosol, er"),
        ({"cytosol": 1, "psd": "3 um"}, {}, r"diffusion of species 'u' in 'psd' should be in um\^2/s"),
        ({}, {}, r"should name the parts of the compartment"),
        (Field([1.0, 2.0], "um/s"), {}, r"should be in um\^2/s; got a Field in um/s"),
        (Field([1.0, -2.0]), {}, r"should be at least 0 um\^2/s; got a Field with -2"),
    ],
)
def test_diffusion_that_cannot_be_is_refused(diffusion, parameters, text):
    with pytest.raises(ValueError, match=text):
        model(diffusion, parameters)


def test_what_only_the_mesh_knows_of_a_diffusion_is_refused_there(halves):
    with pytest.raises(
        ValueError, match=r"it is not in \d+ of 384 cells, the first at \[.*\] um: -0\.\d+ from x - 0.3"
    ):
        bind(model("x - 0.3"), halves)
    with pytest.raises(ValueError, match="diffusion of species 'u' should have one value per node"):
        bind(model(np.ones(3)), halves)
    with pytest.raises(TypeError, match="diffusion of species 'u' cannot be a function; give a number, a formula"):
        model(lambda t: 1.0)
    with pytest.raises(ValueError, match=r"should be one formula or Field, as it lives in 'PM'"):
        model({"cytosol": 1, "psd": 1}, home="PM")


# --- initial values ---


def start(halves, initial, parameters, **rest):
    built = Model(PLACES, [Species("u", "cyt", 1, initial, **rest)], (), parameters)
    return bind(built, halves).species["u"].initial


def test_initial_values_by_name_are_worth_their_numbers(halves):
    x = halves.points[:, 0]
    per_node = Field(1 + x, "uM", at="nodes")
    assert start(halves, "A0", {"A0": "2 uM"}) == pytest.approx(2 * 602.214076)
    np.testing.assert_allclose(start(halves, "A0*exp(-x/L)", {"A0": "1 uM", "L": "2 um"}), 602.214076 * np.exp(-x / 2))
    np.testing.assert_allclose(start(halves, "2*F", {"F": per_node}), 602.214076 * 2 * (1 + x))
    np.testing.assert_allclose(start(halves, "where(x < a, b, 0)", {"a": 0.4, "b": 3}), np.where(x < 0.4, 3, 0))


@pytest.mark.parametrize(
    ("initial", "parameters", "text"),
    [
        ("A0", {"A0": "2 um/s"}, r"initial of species 'u' should be in molecule/um\^3 .*got 'A0' in um/s"),
        ("A0", {"A0": "2 molecule/um^2"}, r"should be in molecule/um\^3 in a region"),
        ("A0*(1 + x)", {"A0": "2 uM"}, r"initial of species 'u', 'A0\*\(1 \+ x\)': cannot add '1' in no unit and 'x'"),
        ("A_0", {"A0": "2 uM"}, r"initial of species 'u': unknown name 'A_0'; did you mean 'A0'"),
        ("A0", {"A0": Course(lambda t: 1 + t, "uM")}, r"initial of species 'u' should not change in time"),
    ],
)
def test_initial_values_that_cannot_be_are_refused(halves, initial, parameters, text):
    with pytest.raises(ValueError, match=text):
        start(halves, initial, parameters)


def test_units_of_rates_are_checked_with_initial_values_by_name():
    rest = [Reaction("r", "cyt", "k*u", {"u": -1})]
    Model(PLACES, [Species("u", "cyt", 1, "A0")], rest, {"A0": "1 uM", "k": "1 1/s"})
    with pytest.raises(ValueError, match=r"rate of reaction 'r' .*should be in molecule/um\^3/s"):
        Model(PLACES, [Species("u", "cyt", 1, "A0")], rest, {"A0": "1 uM", "k": "1 um/s"})


def test_parameters_of_diffusion_and_initial_values_count_as_used(caplog):
    with caplog.at_level(logging.WARNING, "meshcell"):
        model("D*f", {"D": 1, "f": 2, "A0": 1}, initial="A0")
        model({"cytosol": "D", "psd": 1}, {"D": 1})
    assert not caplog.records
