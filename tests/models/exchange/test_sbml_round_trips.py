"""Models to SBML and Antimony and back: equal as they were written, and as good where another program changed them."""

import dataclasses
import re
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import meshcell as mc
from gallery.any_models import models
from meshcell.core.files import FileError
from meshcell.models.exchange.toml import toml_of
from meshcell.models.model import Model
from meshcell.models.parameters import Course, Field, Table
from meshcell.models.species import Reaction, Species

libsbml = pytest.importorskip("libsbml")
pytest.importorskip("antimony")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

PLACES = {"cyt": "cytosol", "er": "er", "PM": ("cytosol", "outside"), "ERM": ("er", "cytosol")}
SIZES = {"cyt": 0.6, "er": 0.05, "PM": "6.6 um^2", "ERM": 2.0}
SPINE = Model(
    PLACES,
    [
        Species("Ca", "cyt", "220 um^2/s", "0.1 uM"),
        Species("CaER", "er", "6 um^2/s", "400 uM"),
        Species("R", "PM", 0.1, "30 molecule/um^2"),
        Species("CaR", "PM"),
    ],
    [
        Reaction("leak", "ERM", "k_leak*(CaER - Ca)", {"CaER": -1, "Ca": 1}),
        Reaction("pump in time", "PM", "v*heaviside(t - t1)*max(Ca - c0, z0)/(K + Ca)", {"Ca": -1}),
        Reaction("bind", "PM", "on*Ca*R - off*CaR", {"Ca": -1, "R": -1, "CaR": 1}),
        Reaction("buffer", "cyt", "(s*where(t > t1 and not t > t2, c0, Ca) - 0*Ca)*pulse", {"Ca": 0.5}),
    ],
    {
        "k_leak": "0.02 um/s",
        "v": "30 molecule/um^2/s",
        "K": "0.2 uM",
        "t1": "20 ms",
        "t2": "0.2 s",
        "c0": "0.05 uM",
        "z0": "0 uM",
        "on": "1 1/uM/s",
        "off": "3 1/s",
        "s": "0.5 1/s",
        "pulse": Table([0, 100, 100, 400], [0, 3, 1, 0.5], "1", "ms"),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(models(in_space=False))
def test_any_model_comes_back_and_is_valid_sbml(model):
    if any(item.signed and item.initial_unit is not None for item in model.species):
        # What is no amount of anything is refused; the generator knows it by signed and concentrations alone.
        assert all(str(item.initial_unit) == "molecule/um^3" for item in model.species if item.initial_unit)
    text = model.to_sbml()
    assert Model.from_sbml(text) == model
    assert toml_of(Model.from_sbml(text)) == toml_of(model)
    document = libsbml.readSBMLFromString(text)
    document.checkConsistency()
    assert document.getNumErrors(libsbml.LIBSBML_SEV_ERROR) + document.getNumErrors(libsbml.LIBSBML_SEV_FATAL) == 0


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(models(in_space=False))
def test_any_model_comes_back_from_antimony(model):
    assert Model.from_antimony(model.to_antimony()) == model


def test_files_come_back(tmp_path):
    for ending, write, read in (
        ("xml", SPINE.to_sbml, Model.from_sbml),
        ("ant", SPINE.to_antimony, Model.from_antimony),
    ):
        path = tmp_path / "new" / f"model.{ending}"
        assert path.parent.exists() == (ending == "ant")
        assert write(path, sizes=SIZES) == path.read_text("utf-8")
        # Our own file is replaced without asking, and a foreign one is not.
        write(str(path), sizes=SIZES)
        assert read(path) == SPINE and read(str(path)) == SPINE
        path.write_text("a file of somebody else")
        with pytest.raises(FileExistsError, match="overwrite=True"):
            write(path, sizes=SIZES)
        write(path, sizes=SIZES, overwrite=True)
        assert read(path) == SPINE


def test_units_of_what_is_written_are_consistent():
    """libsbml's own check of units finds nothing to correct."""
    model = Model(PLACES, SPINE.species, [SPINE.reactions[k] for k in (0, 2)], SPINE.parameters)
    document = libsbml.readSBMLFromString(model.to_sbml(sizes=SIZES))
    document.checkConsistency()
    found = [document.getError(k) for k in range(document.getNumErrors())]
    assert [error.getMessage() for error in found if "nits" in error.getMessage() and error.getErrorId() < 20000] == []


def run(model):
    return mc.solve(SIZES, model, np.linspace(0, 0.5, 6), rtol=1e-7)


@pytest.mark.parametrize("ending", ["sbml", "antimony"])
def test_a_changed_file_is_read_for_what_it_says_now(ending):
    """Through rules, pieces and products of sizes the same rates come back, of other texts."""
    text = getattr(SPINE, f"to_{ending}")(sizes=SIZES)
    read = getattr(Model, f"from_{ending}")
    changed = text.replace('value="30"', 'value="60"').replace("v = 30;", "v = 60;")
    assert changed != text
    with pytest.warns(UserWarning, match="was changed after meshcell wrote it"):
        back = read(changed)
    twice = Model(PLACES, SPINE.species, SPINE.reactions, {**SPINE.parameters, "v": "60 molecule/um^2/s"})
    assert back.compartments == PLACES
    assert back.parameters["v"] == "60 molecule/um^2/s"
    assert [item.diffusion for item in back.species] == ["220 um^2/s", "6 um^2/s", 0.1, 0.0]
    assert [item.compartment for item in back.reactions] == ["ERM", "PM", "PM", "cyt"]
    one, other = run(back), run(twice)
    for name in ("Ca", "CaER", "R", "CaR"):
        np.testing.assert_allclose(one.values[name], other.values[name], rtol=1e-5, atol=1e-6)


def test_a_stranger_reads_the_same_rates():
    """Without our notes, and with places from the caller, the model means the same."""
    bare = re.sub(r"<annotation>.*</annotation>", "", SPINE.to_sbml(sizes=SIZES), flags=re.DOTALL)
    assert "meshcell:" not in bare
    with pytest.warns(UserWarning, match="SBML says nothing of diffusion, so it is 0 um.2/s for CaER, R, CaR"):
        back = Model.from_sbml(bare, PLACES, diffusion={"Ca": "220 um^2/s"})
    assert back.species[0].diffusion == "220 um^2/s"
    one, other = run(back), run(SPINE)
    for name in ("Ca", "CaER", "R", "CaR"):
        np.testing.assert_allclose(one.values[name], other.values[name], rtol=1e-5, atol=1e-6)


def test_held_species_are_boundary_species():
    fixed = {"PM": "1 uM"}
    moving = {"PM": "1e3*(1 + sin(3*t))"}
    model = Model(
        {"cyt": "cytosol", "PM": ("cytosol", "outside")},
        [Species("A", "cyt", 1, "5 uM", fixed), Species("B", "cyt", 1, 0, moving), Species("C", "cyt", 1)],
        [Reaction("make", "cyt", "k*(0.5*A + B)", {"C": 1, "A": -1})],
        {"k": "1 1/s"},
    )
    bare = re.sub(r"<annotation>.*</annotation>", "", model.to_sbml(sizes={"cyt": 1, "PM": 1}), flags=re.DOTALL)
    back = Model.from_sbml(bare, {"cyt": "cytosol", "PM": ("cytosol", "outside")})
    assert [item.name for item in back.species] == ["C"]
    sizes, times = {"cyt": 1, "PM": 1}, [0, 0.5, 1]
    truth, found = (mc.solve(sizes, item, times, rtol=1e-7).values["C"] for item in (model, back))
    np.testing.assert_allclose(found, truth, rtol=1e-5)


def test_sizes_of_1_are_said_where_they_matter():
    with pytest.warns(UserWarning, match="volumes and areas are all written as 1"):
        SPINE.to_sbml()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SPINE.to_sbml(sizes=SIZES)
        SPINE.to_sbml(sizes=mc.well_mixed(SPINE, SIZES))
        Model({"cyt": "cytosol"}, []).to_sbml()
    with pytest.raises(ValueError, match=r"sizes should be of the model's compartments.*did you mean 'cyt'"):
        SPINE.to_sbml(sizes={"cyto": 1})


def test_what_sbml_cannot_say_is_refused_by_name(tmp_path):
    species = [
        Species("u", "ball", Field(np.ones(3)), lambda xyz: xyz[:, 0]),
        Species("v", "ball", {"a": 1, "b": np.ones(3)}, "1 + x", {"PM": lambda t: 1 + t}),
        Species("w", "ball", 0, "-65 mV", signed=True),
    ]
    reactions = [Reaction("r", "ball", "k*f*u*z", {"u": -1})]
    parameters = {"k": Course(lambda t: t), "f": np.ones(3)}
    model = Model({"ball": "a + b", "PM": ("a", "outside")}, species, reactions, parameters)
    with pytest.raises(ValueError) as refused:
        model.to_sbml(tmp_path / "model.xml")
    for part in (
        "parameter k is a Python function: write a formula or a Table",
        "parameter f is a Field over one mesh: write a number",
        "initial of species u is a Python function",
        "diffusion of species u is a Field",
        "diffusion of species v in 'b' is a Field",
        "initial of species v reads the position x",
        "fixed of species v for 'PM' is a Python function",
        "species w is no amount of anything but in mV: keep such a model as TOML",
        "the rate of reaction r reads the position z",
    ):
        assert part in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_no_antimony_is_told_with_its_line():
    with pytest.raises(FileError, match=r"should be Antimony; .*line 2"):
        Model.from_antimony("model m\n A -> ; k*\nend", {})
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        Model.from_antimony("nowhere.ant")
    with pytest.raises(TypeError, match=r"Model.from_antimony\(source\) needs a str"):
        Model.from_antimony(3)


@pytest.mark.parametrize("rate", ["k*(A*(A*(A*(A*k))))", "k + (A + (A + (A*(k*(A*A)) + A)))", "-(-(-(A*(k*A))))"])
def test_brackets_that_libsbml_leaves_out_do_not_break_the_seal(rate):
    model = Model(
        {"cyt": "cytosol"}, [Species("A", "cyt", 1, 2.0)], [Reaction("r", "cyt", rate, {"A": -1})], {"k": 0.1}
    )
    assert Model.from_sbml(model.to_sbml()) == model
    assert Model.from_antimony(model.to_antimony()) == model


def test_pools_and_means_are_what_they_are_in_a_well_mixed_cell():
    species = [Species("A", "cyt", 1, "1 uM"), mc.Pool("bath", "2 um^3", "5 uM")]
    reactions = [
        Reaction("enter", "PM", "p*(bath - A)", {"bath": -1, "A": 1}),
        Reaction("sense", "cyt", "k*mean(A)*total(A)/N", {"A": -1}),
    ]
    places = {"cyt": "cytosol", "PM": ("cytosol", "outside")}
    model = Model(places, species, reactions, {"p": "0.1 um/s", "k": "1 1/s", "N": "100 molecule"})
    text = model.to_sbml(sizes={"cyt": 0.6, "PM": "3 um^2"})
    assert Model.from_sbml(text) == model
    document = libsbml.readSBMLFromString(text)
    document.checkConsistency()
    assert document.getNumErrors(libsbml.LIBSBML_SEV_ERROR) == 0
    formulas = [document.getModel().getReaction(k).getKineticLaw().getFormula() for k in (0, 1)]
    plain = [re.sub(r"[() ]", "", formula) for formula in formulas]
    assert plain == ["PM*p*bath-A", "cyt*k*A*A*cyt/N"]


BATHS = Model(
    {"cyt": "cytosol", "PM": ("cytosol", "outside")},
    [
        Species("A", "cyt", "10 um^2/s", "1 uM"),
        Species("R", "PM", 0, "20 molecule/um^2"),
        mc.Pool("bath", "2 um^3", "5 uM"),
        mc.Pool("waste", "0.5 fl"),
    ],
    [
        Reaction("enter", "PM", "p*(bath - A)", {"bath": -1, "A": 1}),
        Reaction("bind", "PM", "on*bath*R", {"bath": -1, "R": -1}),
        Reaction("decay", "bath", "k*bath", {"bath": -1, "waste": 0.5}),
        Reaction("drain", "PM", "p*bath", {"bath": -1}),
        Reaction("leave", "cyt", "k*A*bath/(K + bath)", {"A": -1, "waste": 1}),
    ],
    {"p": "0.1 um/s", "on": "0.3 1/uM/s", "k": "1 1/s", "K": "2 uM"},
)
BATH_SIZES = {"cyt": 0.6, "PM": "3 um^2"}


@pytest.mark.parametrize("ending", ["sbml", "antimony"])
def test_pools_come_back_as_pools_from_files_that_others_changed(ending):
    text = getattr(BATHS, f"to_{ending}")(sizes=BATH_SIZES)
    changed = text.replace('value="1"', 'value="2"').replace("k = 1;", "k = 2;")
    assert changed != text
    with pytest.warns(UserWarning, match="was changed after meshcell wrote it"):
        back = getattr(Model, f"from_{ending}")(changed)
    twice = dataclasses.replace(BATHS, parameters={**BATHS.parameters, "k": "2 1/s"})
    same_pools(back, twice)


def test_a_stranger_says_which_compartments_are_pools():
    bare = re.sub(r"<annotation>.*</annotation>", "", BATHS.to_sbml(sizes=BATH_SIZES), flags=re.DOTALL)
    places = {"cyt": "cytosol", "PM": ("cytosol", "outside"), "bath_": None, "waste_": None}
    with pytest.warns(UserWarning, match=r"SBML says nothing of diffusion, so it is 0 um.2/s for A, R;"):
        back = Model.from_sbml(bare, places)
    same_pools(back, BATHS)
    # A size of the caller is the pool's volume.
    larger = Model.from_sbml(bare, places, sizes={"bath_": "7 um^3"})
    assert larger.species[2].place.volume == pytest.approx(7)
    with pytest.raises(ValueError, match="and None for a bath or store that is not in the mesh"):
        Model.from_sbml(bare, {"cyt": "cytosol"})
    with pytest.raises(ValueError, match="compartment 'PM' is an area, and a pool has a volume"):
        Model.from_sbml(bare, places | {"PM": None})
    with pytest.raises(ValueError, match="got 'bth': None; did you mean 'bath_'"):
        Model.from_sbml(bare, places | {"bth": None})
    with pytest.raises(ValueError, match="diffusion should be of A, R; got 'bath'"):
        Model.from_sbml(bare, places, diffusion={"bath": 1})


def same_pools(back, model):
    """Assert that what was read has the pools of a model, where it has them, and does what it does."""
    assert list(back.compartments) == list(model.compartments)
    assert [back.compartments[name] for name in ("cyt", "PM")] == [PLACES[name] for name in ("cyt", "PM")]
    assert [type(item) for item in back.species] == [type(item) for item in model.species]
    volumes = [[item.place.volume for item in each.species if isinstance(item, mc.Pool)] for each in (back, model)]
    assert volumes[0] == pytest.approx(volumes[1], rel=1e-12)
    assert [(item.name, item.compartment, item.change) for item in back.reactions] == [
        (item.name, item.compartment, item.change) for item in model.reactions
    ]
    one, other = (mc.solve(BATH_SIZES, item, [0, 0.3, 1], rtol=1e-8) for item in (back, model))
    for name in other.values:
        np.testing.assert_allclose(one.values[name], other.values[name], rtol=1e-6, atol=1e-6)


def test_a_bath_of_several_species_is_as_many_pools_of_its_volume():
    text = """
    model shared
      compartment cell = 1; compartment medium = 3
      species S in cell = 2; species G in medium = 5; species L in medium = 1
      take: G -> S; k*G
      turn: G -> L; v*medium*G*L
      k = 0.2; v = 0.1
    end
    """
    given = {"units": {"substance": "umol"}}
    back = Model.from_antimony(text, {"cell": "cytosol", "medium": None}, **given)
    assert [type(item).__name__ for item in back.species] == ["Species", "Pool", "Pool"]
    assert [item.place.volume for item in back.species[1:]] == pytest.approx([3e15, 3e15])
    assert [item.compartment for item in back.reactions] == ["cell", "G"]
    found = mc.solve({"cell": "1 l"}, back, [0, 1, 3], rtol=1e-8).values
    # With G + L + S of the file: amounts 15 + 3 + 2 umol, which are kept.
    whole = found["S"] * 1e15 + (found["G"] + found["L"]) * 3e15
    np.testing.assert_allclose(whole, 20 * 6.02214076e17, rtol=1e-7)


def test_antimony_has_all_digits_of_what_reactions_change():
    """The library writes six; what it makes of the text, without our note, is what other programs read."""
    species = [Species("A", "cyt", 1, "1 uM"), Species("B", "cyt", 1, "1 uM")]
    changes = [{"A": -1, "B": 1 / 6}, {"A": 2 / 3, "B": -1e-7 / 3}, {"A": -12345678.5, "B": 3}]
    reactions = [Reaction(f"r{n}", "cyt", "k*A", change) for n, change in enumerate(changes)]
    model = Model({"cyt": "cytosol"}, species, reactions, {"k": "1 1/s"})
    text = model.to_antimony(sizes={"cyt": 1.0}).partition("\n")[2]
    again = Model.from_antimony(text, {"cyt": "cytosol"})
    for reaction, change in zip(again.reactions, changes, strict=True):
        assert reaction.change == pytest.approx(change, rel=1e-14)
    alike = dataclasses.replace(model, reactions=[Reaction("r", "cyt", "k*A", {"A": -1 / 3, "B": 0.333333})])
    with pytest.warns(UserWarning, match="rounds what reactions change to six digits"):
        alike.to_antimony(sizes={"cyt": 1.0})
