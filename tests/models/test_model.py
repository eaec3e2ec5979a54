"""Models: what is inconsistent is refused when the model is built or bound; what is bound has the model's numbers."""

import json
import logging
import pickle
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pint
import pytest

import meshcell as mc
from gallery.meshes import ball, box, tet_mesh
from meshcell.models import expressions
from meshcell.models.binding import bind
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species

UM = 602.214076  # molecules/um^3 in 1 uM

COMPARTMENTS = {"cyt": "cytosol", "er": "er", "PM": ("cytosol", "outside"), "ERM": ("er", "cytosol")}
CALCIUM = Species("Ca", "cyt", diffusion="220 um^2/s", initial="0.1 uM")
STORE = Species("CaER", "er", diffusion="6 um^2/s", initial="400 uM")
LEAK = Reaction("leak", "ERM", "k_leak*(CaER - Ca)", {"CaER": -1, "Ca": +1})
PUMP = Reaction("pump", "PM", "v*Ca/(K + Ca)", {"Ca": -1})
PARAMETERS = {"k_leak": "0.02 um/s", "v": "30 molecule/um^2/s", "K": "0.2 uM"}


def page(compartments=COMPARTMENTS, species=(CALCIUM, STORE), reactions=(LEAK, PUMP), parameters=PARAMETERS):
    """The model of the user's page, with one part or the other replaced."""
    return Model(compartments, species, reactions, parameters)


def one(rate="k*A", parameters=None, initial="1 uM", place="cytosol"):
    """One species decaying in one compartment."""
    return Model(
        {"cyt": place},
        [Species("A", "cyt", 1.0, initial)],
        [Reaction("decay", "cyt", rate, {"A": -1})],
        parameters or {},
    )


@pytest.fixture(scope="module")
def mesh():
    """A cell of radius 1 um with an ER of half that, and a patch of its membrane at z > 0.5 um."""
    plain = ball(4, core=0.5, names={1: "cytosol", 2: "er"})
    top = plain.points[plain.facets].mean(axis=1)[:, 2] > 0.5
    return replace(plain, patches={"psd": np.flatnonzero(top), "none": np.zeros(0, np.int32)})


def refused(build, *parts):
    with pytest.raises(ValueError) as error:
        build()
    for part in parts:
        assert part in str(error.value), str(error.value)


# --- the user's page ---


def test_page_model_is_accepted_and_holds_what_was_written():
    model = page()
    assert model.compartments["ERM"] == ("er", "cytosol")
    assert model.species == (CALCIUM, STORE)
    assert model.parameters == PARAMETERS
    # Conversion to molecules takes a few roundings.
    expected = {"k_leak": 0.02, "v": 30.0, "K": 0.2 * UM}
    assert model.parameter_values == pytest.approx(expected, rel=1e-14)


def test_page_model_binds_to_its_numbers(mesh):
    system = bind(page(), mesh)
    assert list(system.species) == ["Ca", "CaER"]
    calcium, store = system.species.values()
    assert (calcium.diffusion, store.diffusion) == (220.0, 6.0)
    np.testing.assert_allclose(calcium.initial, 0.1 * UM, rtol=1e-14)
    np.testing.assert_allclose(store.initial, 400 * UM, rtol=1e-14)
    leak, pump = system.reactions
    assert leak.change == {"CaER": -1, "Ca": 1}
    rng = np.random.default_rng(0)
    xyz = mesh.points[leak.compartment.nodes]
    a, b = rng.uniform(0, 1000, (2, len(xyz)))
    values = dict(zip(leak.reads, (a, b), strict=True))
    np.testing.assert_allclose(leak.rate((a, b), 0.0, xyz), 0.02 * (values["CaER"] - values["Ca"]), rtol=1e-13)
    slopes = dict(zip(leak.reads, (f((a, b), 0.0, xyz) for f in leak.derivatives), strict=True))
    np.testing.assert_array_equal(slopes["CaER"], np.full(len(xyz), 0.02))
    np.testing.assert_array_equal(slopes["Ca"], np.full(len(xyz), -0.02))
    xyz = mesh.points[pump.compartment.nodes]
    c = rng.uniform(0, 1000, len(xyz))
    assert pump.reads == ("Ca",)
    np.testing.assert_allclose(pump.rate((c,), 0.0, xyz), 30 * c / (0.2 * UM + c), rtol=1e-13)
    exact = 30 * 0.2 * UM / (0.2 * UM + c) ** 2
    # v/(K + c) - v c/(K + c)^2 loses a factor c/K, at most ten, to cancellation.
    np.testing.assert_allclose(pump.derivatives[0]((c,), 0.0, xyz), exact, rtol=1e-13)


def test_compartments_are_the_meshs_rows_and_nodes(mesh):
    compartments = bind(page(), mesh).compartments
    assert [c.dimension for c in compartments.values()] == [3, 3, 2, 2]
    np.testing.assert_array_equal(compartments["cyt"].rows, np.flatnonzero(mesh.regions == 1))
    np.testing.assert_array_equal(compartments["er"].nodes, np.unique(mesh.tets[mesh.regions == 2]))
    radius = np.linalg.norm(mesh.points, axis=1)
    # The rings of the mesh are spheres, so the membranes are exactly the nodes at radius 1 and 1/2.
    np.testing.assert_array_equal(compartments["PM"].nodes, np.flatnonzero(np.isclose(radius, 1)))
    np.testing.assert_array_equal(compartments["ERM"].nodes, np.flatnonzero(np.isclose(radius, 0.5)))
    for compartment in compartments.values():
        assert compartment.rows.dtype == compartment.nodes.dtype == np.int32
        assert (np.diff(compartment.nodes) > 0).all()
    rows = np.concatenate([compartments["PM"].rows, compartments["ERM"].rows])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(mesh.facets)))


def test_order_of_a_pair_does_not_matter_nor_which_side_is_behind(mesh):
    turned = replace(mesh, facets=mesh.facets[:, ::-1].copy(), sides=mesh.sides[:, ::-1].copy(), patches={})
    half = np.arange(len(mesh.facets)) % 2 == 0
    mixed = replace(
        mesh,
        facets=np.where(half[:, None], mesh.facets, turned.facets),
        sides=np.where(half[:, None], mesh.sides, turned.sides),
    )
    other = page(compartments=COMPARTMENTS | {"PM": ("outside", "cytosol"), "ERM": ("cytosol", "er")})
    for model in (page(), other):
        for surface in (turned, mixed):
            for name, expected in bind(page(), mesh).compartments.items():
                np.testing.assert_array_equal(bind(model, surface).compartments[name].rows, expected.rows)


def test_binding_leaves_the_inputs_and_logs_one_line(mesh, caplog):
    model = page()
    with caplog.at_level(logging.INFO, logger="meshcell"):
        system = bind(model, mesh)
    assert model == page()
    unknowns = sum(len(species.initial) for species in system.species.values())
    assert [record.getMessage() for record in caplog.records] == [
        f"bound 2 species and 2 reactions to the mesh: {unknowns} unknowns"
    ]


# --- storage and text ---


def test_model_can_be_stored_as_json_and_rebuilt():
    quantity = pint.UnitRegistry().Quantity(0.25, "um / s")
    model = page(parameters=PARAMETERS | {"k_leak": quantity, "n": np.float64(2)})
    stored = json.loads(json.dumps(asdict(model)))
    rebuilt = Model(
        stored["compartments"],
        [Species(**item) for item in stored["species"]],
        [Reaction(**item) for item in stored["reactions"]],
        stored["parameters"],
    )
    assert rebuilt == model
    assert rebuilt.parameter_values["k_leak"] == 0.25
    assert pickle.loads(pickle.dumps(model)) == model


def test_table_shows_every_part():
    text = str(page(parameters=PARAMETERS | {"n": 4}))
    assert text.startswith("Model: 2 species, 4 compartments, 2 reactions, 4 parameters\n")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in [
        "PM cytosol | outside",
        "Ca cyt 220 um^2/s 0.1 uM",
        "leak ERM k_leak*(CaER - Ca) CaER -1, Ca +1",
        "k_leak 0.02 um/s",
        "n 4",
    ]:
        assert line in lines


def test_bound_rates_can_be_sent_to_another_process(mesh):
    reaction = bind(page(), mesh).reactions[1]
    xyz = mesh.points[reaction.compartment.nodes]
    values = (np.linspace(0, 9, len(xyz)),)
    copy = pickle.loads(pickle.dumps(reaction.derivatives[0]))
    np.testing.assert_array_equal(copy(values, 0.0, xyz), reaction.derivatives[0](values, 0.0, xyz))


def test_the_way_to_the_first_step_loads_neither_pint_nor_sympy():
    code = (
        "import sys; import meshcell as mc; from gallery.meshes import ball\n"
        "species = [mc.Species('Ca', 'cyt', '220 um^2/s', '0.1 uM'), mc.Species('S', 'PM', 0, '3 molecule/um^2')]\n"
        "pump = mc.Reaction('pump', 'PM', 'v*Ca**2/(K**2 + Ca**2)*max(S, 1e-3*S)', {'Ca': -1})\n"
        "model = mc.Model({'cyt': 'ball', 'PM': ('ball', 'outside')}, species, [pump], {'v': '3 1/s', 'K': '0.2 uM'})\n"
        "solution = mc.solve(ball(2, names={1: 'ball'}), model, [0, 1e-3])\n"
        "print(mc.mean(solution, 'Ca')[0] > 0, sys.modules.keys() & {'pint', 'sympy'})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert run.stdout == "True set()\n"


def test_every_rate_is_parsed_once(mesh, monkeypatch):
    parsed, parse = [], expressions.parse
    monkeypatch.setattr(expressions, "parse", lambda text, *rest: parsed.append(text) or parse(text, *rest))
    model = page(reactions=[replace(LEAK), replace(PUMP)])
    for _ in range(2):
        bind(model, mesh)
        assert model.events == ()
        assert "v_{" in model.latex()
        assert mc.check(model)
    assert parsed == [LEAK.rate, PUMP.rate]


# --- rates and initial values at the nodes ---


def test_rates_read_time_and_place(mesh):
    model = one("k*A*heaviside(t - 1) + x - 2*y*z", {"k": 3.0})
    (reaction,) = bind(model, mesh).reactions
    xyz = mesh.points[reaction.compartment.nodes]
    a = np.random.default_rng(1).uniform(size=len(xyz))
    for t, on in [(0.5, 0.0), (2.0, 1.0)]:
        expected = 3 * a * on + xyz[:, 0] - 2 * xyz[:, 1] * xyz[:, 2]
        np.testing.assert_allclose(reaction.rate((a,), t, xyz), expected, rtol=1e-13, atol=1e-15)
        np.testing.assert_array_equal(reaction.derivatives[0]((a,), t, xyz), np.full(len(xyz), 3 * on))


@pytest.mark.parametrize(("rate", "value"), [("2.5", 2.5), (2.5, 2.5), ("k", 3.0), ("k*t", 6.0)])
def test_constant_rates_fill_the_nodes(mesh, rate, value):
    (reaction,) = bind(one(rate, {"k": 3.0}), mesh).reactions
    xyz = mesh.points[reaction.compartment.nodes]
    assert (reaction.reads, reaction.derivatives) == ((), ())
    np.testing.assert_array_equal(reaction.rate((), 2.0, xyz), np.full(len(xyz), value))


def test_species_may_be_called_like_sympys_constants(mesh):
    names = ("E", "I", "S", "N", "beta")
    species = [Species(name, "cyt", initial=k + 1) for k, name in enumerate(names)]
    model = Model({"cyt": "cytosol"}, species, [Reaction("r", "cyt", "E*I - S**2/N + exp(beta)", {"E": 1})])
    (reaction,) = bind(model, mesh).reactions
    xyz = mesh.points[reaction.compartment.nodes]
    values = [np.full(len(xyz), k + 1.0) for k in range(5)]
    assert reaction.reads == names
    # d/dE = I, d/dI = E, d/dS = -2 S/N, d/dN = S^2/N^2, d/dbeta = exp(beta)
    exact = [2, 1, -2 * 3 / 4, 9 / 16, np.exp(5)]
    found = [slope(values, 0.0, xyz)[0] for slope in reaction.derivatives]
    np.testing.assert_allclose(found, exact, rtol=1e-14)


@pytest.mark.parametrize(
    ("initial", "expected"),
    [
        (3, lambda p: 3 + 0 * p[:, 0]),
        ("0.1 uM", lambda p: 0.1 * UM + 0 * p[:, 0]),
        ("2e-1uM", lambda p: 0.2 * UM + 0 * p[:, 0]),
        ("1e3", lambda p: 1000 + 0 * p[:, 0]),
        ("1 + 0.1*x", lambda p: 1 + 0.1 * p[:, 0]),
        ("exp(-(x**2 + y**2)/0.1)*z", lambda p: np.exp(-(p[:, 0] ** 2 + p[:, 1] ** 2) / 0.1) * p[:, 2]),
        ("10*heaviside(z)", lambda p: 10 * np.heaviside(p[:, 2], 0.5)),
        (pint.UnitRegistry().Quantity(2, "micromolar"), lambda p: 2 * UM + 0 * p[:, 0]),
    ],
)
def test_initial_values_are_numbers_quantities_or_formulas(mesh, initial, expected):
    species = bind(Model({"cyt": "cytosol"}, [Species("A", "cyt", initial=initial)]), mesh).species["A"]
    points = mesh.points[species.compartment.nodes]
    np.testing.assert_allclose(species.initial, expected(points), rtol=1e-13)
    assert species.initial.shape == (len(points),)


def test_species_defaults_are_still_and_absent(mesh):
    species = bind(Model({"cyt": "cytosol"}, [Species("A", "cyt")]), mesh).species["A"]
    assert species.diffusion == 0
    assert not species.initial.any()


# --- patches ---


def test_patch_is_a_compartment_and_reaches_its_neighbours(mesh):
    model = Model(
        {"cyt": "cytosol", "psd": "psd", "PM": ("cytosol", "outside")},
        [
            Species("Ca", "cyt", initial="1 uM"),
            Species("P", "PM", 1, "3 molecule/um^2"),
            Species("R", "psd", 0.1, "50 molecule/um^2"),
        ],
        [Reaction("bind", "psd", "k*Ca*R + q*P", {"Ca": -1, "R": -1, "P": 1})],
        {"k": "1 1/uM/s", "q": "2 1/s"},
    )
    system = bind(model, mesh)
    patch = system.compartments["psd"]
    assert patch.dimension == 2
    np.testing.assert_array_equal(patch.rows, mesh.patches["psd"])
    np.testing.assert_array_equal(patch.nodes, np.unique(mesh.facets[mesh.patches["psd"]]))
    np.testing.assert_array_equal(system.species["R"].initial, np.full(len(patch.nodes), 50.0))
    # Whatever a reaction uses has values at every node of it.
    for name in ("Ca", "P", "R"):
        assert np.isin(patch.nodes, system.species[name].compartment.nodes).all()


def test_patch_refuses_species_that_are_not_all_over_it(mesh):
    far = Model(
        {"er": "er", "psd": "psd"},
        [Species("CaER", "er", initial="1 uM"), Species("R", "psd")],
        [Reaction("r", "psd", "k*CaER", {"R": 1})],
        {"k": "1 um/s"},
    )
    refused(
        lambda: bind(far, mesh),
        "reaction 'r' is on patch 'psd', which does not touch compartment 'er' of species 'CaER' everywhere",
        "the patch lies between cytosol, outside",
        "the compartments that it touches are psd",
    )
    # A patch over both membranes has neither region all along it.
    both = replace(mesh, patches={"psd": np.arange(len(mesh.facets))})
    refused(lambda: bind(far, both), "does not touch compartment 'er' of species 'CaER' everywhere")


def test_interface_inside_a_patch_or_beside_it_does_not_count(mesh):
    model = Model(
        {"psd": "psd", "ERM": ("er", "cytosol")},
        [Species("P", "ERM", initial=1.0), Species("R", "psd")],
        [Reaction("r", "psd", "k*P", {"R": 1})],
        {"k": 1.0},
    )
    refused(lambda: bind(model, mesh), "does not touch compartment 'ERM' of species 'P'")
    over_both = replace(mesh, patches={"psd": np.arange(len(mesh.facets))})
    refused(lambda: bind(model, over_both), "does not touch compartment 'ERM' of species 'P' everywhere")


def test_patch_is_taken_for_one_when_its_reaction_reaches_out(mesh):
    model = Model(
        {"cyt": "cytosol", "psd": "psd"},
        [Species("Ca", "cyt", initial="1 uM"), Species("R", "psd")],
        [Reaction("release", "psd", "q*R", {"R": -1, "Ca": 1})],
        {"q": "2 1/s"},
    )
    assert bind(model, mesh).reactions[0].compartment.dimension == 2


def test_text_that_turns_out_a_region_cannot_couple_two(mesh):
    model = Model(
        {"a": "cytosol", "b": "er"},
        [Species("A", "a", initial=1.0), Species("B", "b", initial=1.0)],
        [Reaction("r", "a", "k*B", {"A": 1})],
        {"k": 1.0},
    )
    refused(lambda: bind(model, mesh), "reaction 'r' is in region 'cytosol'", "species 'B' lives in compartment 'b'")


def test_units_are_checked_again_when_the_patch_is_known(mesh):
    # Without a written initial value nothing says whether "psd" is a region; both readings are kept until the mesh.
    def model(place, unit):
        return Model({"c": place}, [Species("A", "c")], [Reaction("r", "c", "k", {"A": 1})], {"k": f"1 {unit}"})

    bind(model("psd", "molecule/um^2/s"), mesh)
    bind(model("cytosol", "molecule/um^3/s"), mesh)
    refused(
        lambda: bind(model("psd", "uM/s"), mesh),
        "should be in molecule/um^2/s on an interface; got molecule/um^3/s from 'k' with k in molecule/um^3/s",
    )
    refused(lambda: bind(model("cytosol", "molecule/um^2/s"), mesh), "should be in molecule/um^3/s in a region")
    refused(lambda: model("psd", "1/s"), "should be in molecule/um^3/s", "got 1/s")
    initial = Model({"c": "psd"}, [Species("A", "c", initial="1 uM")])
    refused(lambda: bind(initial, mesh), "should be in molecule/um^2 on an interface", "'1 uM' in molecule/um^3")


# --- what bind refuses ---


def test_places_that_the_mesh_lacks_are_refused_with_those_there(mesh):
    refused(
        lambda: bind(one(place="nucleus", parameters={"k": "1 1/s"}), mesh),
        "compartment 'cyt' should be a region or patch of the mesh; it has none called 'nucleus'",
        "its regions are cytosol, er; its patches are psd, none",
    )
    refused(
        lambda: bind(page(compartments=COMPARTMENTS | {"PM": ("cytosol", "golgi")}), mesh),
        "compartment 'PM' should be an interface of two regions of the mesh; it has none called 'golgi'",
        "its regions are outside, cytosol, er",
    )
    refused(
        lambda: bind(page(compartments=COMPARTMENTS | {"X": ("er", "outside")}), mesh),
        "'er' and 'outside' do not touch in the mesh",
        "its interfaces are cytosol | outside, er | cytosol",
    )
    refused(lambda: bind(one(place="none", initial=1.0, rate="A"), mesh), "patch 'none', which holds no facets")


def test_region_named_but_empty_counts_as_absent():
    mesh = box(2, names={1: "cytosol", 7: "nucleus"})
    refused(
        lambda: bind(one(place="nucleus", parameters={"k": "1 1/s"}), mesh),
        "none called 'nucleus'; its regions are cytosol; its patches",
    )


def test_region_and_patch_of_one_name_are_ambiguous(mesh):
    double = replace(mesh, patches={"cytosol": mesh.patches["psd"]})
    refused(lambda: bind(one(parameters={"k": "1 1/s"}), double), "ambiguous: the mesh has a region and a patch called")


def test_initial_values_must_be_finite_at_every_node(mesh):
    model = Model({"cyt": "cytosol", "er": "er"}, [Species("A", "er", initial="1/x")])
    refused(lambda: bind(model, mesh), "initial of species 'A' should be finite everywhere", "inf from '1/x'", "um:")


def test_unnamed_regions_are_found_by_their_label():
    plain = box(2, region=lambda c: np.where(c[:, 0] < 0.5, 1, 3), names={1: "cytosol"})
    mesh = tet_mesh(plain.points, plain.tets, plain.regions)
    assert isinstance(mesh, mc.TetMesh)
    system = bind(Model({"a": "label 3", "m": ("label 1", "label 3")}, [Species("A", "a")]), mesh)
    np.testing.assert_array_equal(system.compartments["a"].rows, np.flatnonzero(mesh.regions == 3))
    # The wall x = 1/2 of a 2 x 2 x 2 grid: four squares of two triangles.
    assert len(system.compartments["m"].rows) == 8


# --- units ---


@pytest.mark.parametrize(
    ("rate", "parameters"),
    [
        ("k*A", {"k": "3 1/s"}),
        ("k*A**2", {"k": "3 1/uM/s"}),
        ("V*A**n/(K**n + A**n)", {"V": "2 uM/s", "K": "1 uM", "n": "4"}),
        ("k*max(A - K, 0)*heaviside(t - t0)", {"k": "1/ms", "K": "10 nM", "t0": "5 ms"}),
        ("k*A*exp(-x/L)", {"k": "1/s", "L": "100 nm"}),
        ("0", {}),
        # Plain numbers switch the check off:
        ("k*A", {"k": 3}),
        ("k*A*heaviside(t - t0)", {"k": "3 um", "t0": 0.5}),
    ],
)
def test_rates_with_right_or_unchecked_units_are_accepted(rate, parameters):
    assert one(rate, parameters).reactions[0].rate == rate


@pytest.mark.parametrize("initial", [1.0, "1 + x"])
def test_plain_initial_values_switch_the_check_off(initial):
    assert one("k*A", {"k": "3 um"}, initial=initial)


def test_zero_is_zero_in_every_unit_and_keeps_the_check_on():
    refused(lambda: one("k*A", {"k": "3 um"}, initial=0.0), "should be in molecule/um^3/s in a region; got")


def test_nothing_with_a_unit_means_no_check():
    assert one("5", initial="1 uM")
    assert one("A - x + t", initial=0.0)


@pytest.mark.parametrize(
    ("rate", "parameters", "parts"),
    [
        ("k*A", {"k": "3 um"}, ["should be in molecule/um^3/s in a region", "got molecule/um^2", "k in um"]),
        ("0.5*A", {}, ["should be in molecule/um^3/s", "got molecule/um^3 from '0.5*A'"]),
        ("k*A/(K + A)", {"k": "1 uM/s", "K": "3 1/s"}, ["cannot add 'K' in 1/s and 'A' in molecule/um^3"]),
        ("k*A*exp(-t)", {"k": "1/s"}, ["exp needs an argument without a unit; got '-t' in s"]),
        ("k*A*heaviside(t - 1)", {"k": "1/s"}, ["cannot subtract 't' in s and '1' in no unit", "a parameter with one"]),
        ("k*A**n", {"k": "1/s", "n": "2"}, ["got molecule^2/um^6/s"]),
    ],
)
def test_rates_of_wrong_units_are_refused_with_both_units(rate, parameters, parts):
    refused(lambda: one(rate, parameters), "rate of reaction 'decay' in 'cyt' (cytosol)", *parts)


def test_interface_rates_are_per_area():
    refused(
        lambda: page(parameters=PARAMETERS | {"k_leak": "0.02 1/s"}),
        "rate of reaction 'leak' in 'ERM' (er | cytosol) should be in molecule/um^2/s on an interface; "
        "got molecule/um^3/s from 'k_leak*(CaER - Ca)'",
    )
    assert page(parameters=PARAMETERS | {"v": "0.05 uM*um/s"})


def test_surface_species_count_per_area():
    def model(unit):
        return Model(
            COMPARTMENTS,
            [CALCIUM, Species("R", "PM", 0.1, "10 molecule/um^2")],
            [Reaction("on", "PM", "k*Ca*R", {"Ca": -1, "R": -1})],
            {"k": f"1 {unit}"},
        )

    assert model("1/(uM*s)")
    refused(lambda: model("1/s"), "should be in molecule/um^2/s on an interface; got molecule^2/um^5/s")


# --- what Model refuses ---


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"species": [CALCIUM, replace(STORE, compartment="ER")]},
         ["species 'CaER' is in compartment 'ER', which the model does not have; it has cyt, er, PM, ERM"]),
        ({"reactions": [replace(PUMP, compartment="membrane")]},
         ["reaction 'pump' is in compartment 'membrane'", "it has cyt, er, PM, ERM"]),
        ({"reactions": [replace(PUMP, change={"Cax": -1})]},
         ["reaction 'pump' changes 'Cax', which is not a species of the model; its species are Ca, CaER"]),
        ({"reactions": [replace(PUMP, change={"K": -1})]}, ["changes 'K', which is not a species"]),
        ({"reactions": [replace(PUMP, rate="v*Ca/(Kd + Ca)")]},
         ["rate of reaction 'pump': unknown name 'Kd'", "known names: Ca, CaER, k_leak, v, K, t, x, y, z", "^^"]),
        ({"reactions": [replace(PUMP, compartment="PM", rate="v*CaER/(K + CaER)")]},
         ["reaction 'pump' is on ('cytosol', 'outside'), which does not touch compartment 'er' of species 'CaER'; "
          "the interfaces of 'er' are ERM"]),
        ({"reactions": [replace(PUMP, change={"CaER": -1})]},
         ["reaction 'pump' is on ('cytosol', 'outside'), which does not touch compartment 'er' of species 'CaER'"]),
        ({"reactions": [replace(LEAK, compartment="cyt")]},
         ["reaction 'leak' is in region 'cytosol' (compartment 'cyt'), but species 'CaER' lives in compartment 'er'",
          "a reaction in a region may use only species of that region"]),
        ({"species": [CALCIUM, CALCIUM]}, ["species should have different names; 'Ca' is given twice"]),
        ({"reactions": [PUMP, PUMP]}, ["reactions should have different names; 'pump' is given twice"]),
        ({"parameters": PARAMETERS | {"Ca": 1}}, ["'Ca' is a species and a parameter at once; rename one of them"]),
        ({"parameters": PARAMETERS | {"t": 1}}, ["parameter 't' has a reserved name"]),
        ({"parameters": PARAMETERS | {"max": 1}}, ["parameter 'max' has a reserved name"]),
        ({"parameters": PARAMETERS | {"k off": 1}}, ["parameter 'k off' cannot be written in a rate", "'k_off'"]),
        ({"parameters": PARAMETERS | {"K": "0.2 uMol"}}, ["parameter 'K'", "'uMol' is not defined"]),
        ({"parameters": PARAMETERS | {"K": float("nan")}}, ["parameter 'K' should be finite"]),
        ({"parameters": PARAMETERS | {"K": "Ca"}}, ["parameter 'K' should be a number and its unit"]),
        ({"compartments": COMPARTMENTS | {"cyt2": "cytosol"}},
         ["compartments 'cyt' and 'cyt2' are the same place, cytosol; keep one"]),
        ({"compartments": COMPARTMENTS | {"M": ("outside", "cytosol")}},
         ["compartments 'PM' and 'M' are the same place, outside | cytosol"]),
        ({"compartments": COMPARTMENTS | {"M": ("er", "er")}}, ["compartment 'M' should be a pair of two different"]),
        ({"compartments": COMPARTMENTS | {"out": "outside"}}, ["'outside' has none"]),
        ({"species": [replace(CALCIUM, initial="0.1 molecule/um^2"), STORE]},
         ["initial of species 'Ca' should be in molecule/um^3 in a region ('cyt': cytosol)",
          "got '0.1 molecule/um^2' in molecule/um^2"]),
        ({"species": [CALCIUM, STORE, Species("R", "PM", initial="1 uM")]},
         ["initial of species 'R' should be in molecule/um^2 on an interface ('PM': cytosol | outside)",
          "got '1 uM' in molecule/um^3"]),
        ({"reactions": [replace(PUMP, rate="v*Ca**K")], "parameters": PARAMETERS | {"K": 1e5}},
         ["rate of reaction 'pump' with the parameters' values", "powers should multiply to at most 1000"]),
    ],
)  # fmt: skip
def test_inconsistent_models_are_refused(changes, parts):
    refused(lambda: page(**changes), *parts)


def test_parameter_that_makes_a_rate_infinite_is_refused():
    refused(lambda: one("A + 1/k", {"k": 0}), "rate of reaction 'decay' with the parameters' values", "1/0 has no fin")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"diffusion": -1}, ["diffusion of species 'A' should be at least 0 um^2/s and finite; got -1"]),
        ({"diffusion": "-3 um^2/s"}, ["should be at least 0 um^2/s", "'-3 um^2/s'"]),
        ({"diffusion": float("nan")}, ["should be at least 0 um^2/s and finite; got nan"]),
        ({"diffusion": float("inf")}, ["should be at least 0 um^2/s and finite; got inf"]),
        ({"diffusion": "3 um/s"}, ["diffusion of species 'A' should be in um^2/s", "'3 um/s', which is in um/s"]),
        ({"diffusion": "fast"}, ["diffusion of species 'A': unknown name 'fast' (known names: x, y, z)"]),
        ({"initial": "3 um"}, ["initial of species 'A' should be in molecule/um^3 (or uM)", "'3 um' in um"]),
        ({"initial": "3 um^2 + x"}, ["initial of species 'A'", "'+' does not belong in a unit"]),
        ({"initial": "uM"}, ["initial of species 'A': unknown name 'uM' (known names: x, y, z)"]),
        ({"initial": "1 + t"}, ["unknown name 't' (known names: x, y, z)"]),
        ({"initial": "1 + 0.1*sinc(x)"}, ["unknown function 'sinc'"]),
        ({"initial": float("inf")}, ["initial of species 'A' should be finite; got inf"]),
        ({"name": "x"}, ["species 'x' has a reserved name; t, x, y, z, pi and the functions exp"]),
        ({"name": "exp"}, ["species 'exp' has a reserved name"]),
        ({"name": "Ca2+"}, ["species 'Ca2+' cannot be written in a rate", "such as 'Ca2_'"]),
        ({"name": "2Ca"}, ["cannot be written in a rate", "such as 'species_2Ca'"]),
        ({"name": "lambda"}, ["cannot be written in a rate", "no Python keyword"]),
        ({"name": "Ca²"}, ["cannot be written in a rate", "such as 'Ca2'"]),
        ({"name": ""}, ["cannot be written in a rate"]),
    ],
)
def test_unusable_species_are_refused(arguments, parts):
    refused(lambda: Model({"cyt": "cytosol"}, [Species(**({"name": "A", "compartment": "cyt"} | arguments))]), *parts)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"rate": "k*sinc(A)"}, ["rate of reaction 'r': unknown function 'sinc'", "^^^^"]),
        ({"change": {}}, ['change of reaction \'r\' should say by how much', '{"Ca": -1}']),
        ({"change": ["A"]}, ["change of reaction 'r' should say by how much", "['A']"]),
        ({"change": {"A": float("nan")}}, ["change of 'A' in reaction 'r' should be finite; got nan"]),
    ],
)  # fmt: skip
def test_unusable_reactions_are_refused(arguments, parts):
    refused(
        lambda: Reaction(**({"name": "r", "compartment": "cyt", "rate": "A", "change": {"A": 1}} | arguments)), *parts
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Species(3, "cyt"), "name of a species should be a text; got 3"),
        (lambda: Species("A", ("a", "b")), "compartment of species 'A' should be a text"),
        (lambda: Species("A", "cyt", None), "diffusion of species 'A' should be a number or a text"),
        (lambda: Species("A", "cyt", 1, [1, 2]), "initial of species 'A' should be one number or a text"),
        (lambda: Reaction("", "cyt", "A", {"A": 1}), "name of a reaction should be a text that is not empty"),
        (lambda: Reaction("r", "cyt", None, {"A": 1}), "rate of reaction 'r' should be a number or a text"),
        (lambda: Reaction("r", "cyt", "A", {"A": "one"}), "change of 'A' in reaction 'r' should be a number"),
        (lambda: Reaction("r", "cyt", "A", {"A": None}), "change of 'A' in reaction 'r' should be a number"),
        (lambda: page(compartments=["cytosol"]), "compartments should be a dict such as"),
        (lambda: page(compartments={}), "compartments should be a dict such as"),
        (lambda: page(compartments={"PM": ("a", "b", "c")}), "a pair of regions such as .*got .'a', 'b', 'c'"),
        (lambda: page(compartments={"PM": 3}), "compartment 'PM' should be the name of a region or patch"),
        (lambda: page(species=CALCIUM), r"species should be a list of Species\(\.\.\.\)"),
        (lambda: page(species=["Ca"]), r"species should be a list of Species\(\.\.\.\); it holds 'Ca'"),
        (lambda: page(reactions=[CALCIUM]), r"reactions should be a list of Reaction\(\.\.\.\); it holds Species"),
        (lambda: page(parameters=["k"]), "parameters should be a dict such as"),
        (lambda: page(parameters={"k": None}), "parameter 'k' should be a number or a text"),
        (lambda: page(parameters={3: 1}), "name of a parameter should be a text; got 3"),
    ],
)
def test_wrong_kinds_are_type_errors(build, message):
    with pytest.raises(TypeError, match=message):
        build()


# --- parameters that nothing uses ---


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"k_leak": "1 1/s"}, []),
        ({"k_leak": "1 1/s", "k_leek": "5 1/s"}, ["parameter 'k_leek' is used by no rate; did you mean 'k_leak'?"]),
        ({"k_leak": "1 1/s", "zeta": 2}, ["parameter 'zeta' is used by no rate; remove it, or use it in a rate"]),
        ({"k_leak": "1 1/s", "c0": "1 uM"}, []),
    ],
)
def test_a_parameter_that_nothing_uses_is_named(parameters, said, caplog):
    fixed = {"PM": "c0"} if "c0" in parameters else {}
    places = {"cyt": "cytosol", "PM": ("cytosol", "outside")}
    species = [Species("A", "cyt", 1.0, "1 uM", fixed=fixed)]
    Model(places, species, [Reaction("r", "cyt", "k_leak*A", {"A": -1})], parameters)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == said
