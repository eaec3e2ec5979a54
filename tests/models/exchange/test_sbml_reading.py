"""What an SBML file says, and what it leaves out: places, units, mathematics, and all that is refused by name."""

import sys

import numpy as np
import pytest

import meshcell as mc
from gallery.meshes import ball
from meshcell.core.files import FileError
from meshcell.models import expressions
from meshcell.models.model import Model

libsbml = pytest.importorskip("libsbml")
pytest.importorskip("antimony")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CELL = {"cell": "cytosol"}
UNITS = "unit substance = 1e-6 mole; unit volume = 1 litre; unit area = (1e-6 metre)^2; unit time_unit = 1 second"
MATH = 'xmlns="http://www.w3.org/1998/Math/MathML"'


def antimony(body, places=None, **asked):
    return Model.from_antimony(f"model m\n{UNITS}\n{body}\nend", places or CELL, **asked)


def sbml(body, level=3, version=1, namespaces="", model="", places=None):
    """Put the parts of a model into an SBML text."""
    space = f"http://www.sbml.org/sbml/level{level}/version{version}" + ("/core" if level == 3 else "")
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
    <sbml xmlns="{space}" level="{level}" version="{version}" {namespaces}>
    <model id="m" {model}>{body}</model></sbml>"""
    return Model.from_sbml(text, places or CELL)


# --- places ---


def test_compartments_without_a_place_are_listed_with_an_example():
    text = f"""model m\n{UNITS}
    unit um2 = (1e-6 metre)^2
    compartment cyt = 1, nuc = 1, NM = 2; NM has um2
    species A in cyt, B in nuc, R in NM
    j: A -> B; NM*k*(A - B); k = 1\nend"""
    with pytest.raises(ValueError) as refused:
        Model.from_antimony(text, {"cyt": "cytosol"})
    assert "nuc, NM has none" in str(refused.value)
    assert "cyt (3-dimensional; A); nuc (3-dimensional; B); NM (2-dimensional; R)" in str(refused.value)
    assert 'places={"nuc": "nuc", "NM": ("cytosol", "outside")}' in str(refused.value)
    with pytest.raises(ValueError, match="got 'nucleus': 'nucleus'"):
        Model.from_antimony(text, {"cyt": "cytosol", "nucleus": "nucleus"})


TWO = "compartment cyt = 2, nuc = 1; species A in cyt = 1, B in nuc = 0; {}"


def test_reactions_that_could_be_anywhere_are_listed_with_the_remedy():
    body = TWO.format("j1: A -> B; k*A; j2: B -> A; k*B; k = 1")
    places = {"cyt": "cytosol", "nuc": "nucleus"}
    with pytest.raises(ValueError, match=r"unclear for j1 .species in cyt, nuc.; j2 .*reactions=\{\"j1\": \"PM\"\}"):
        antimony(body, places)
    # An interface that the file does not have: its area is needed, as the law has none to cancel.
    places["NM"] = ("nucleus", "cytosol")
    with pytest.raises(ValueError, match="the size of compartment 'NM' is needed"):
        antimony(body, places)
    model = antimony(body, places, sizes={"NM": "5 um^2"})
    assert model.reactions[0].compartment == "NM"
    assert model.reactions[0].rate == "k*A/NM"
    assert model.parameters == {"k": "1 l/s", "NM": "5 um^2"}
    with pytest.raises(ValueError, match="the file has no reaction 'J1'; did you mean 'j1'"):
        antimony(body, places, reactions={"J1": "NM"})
    with pytest.raises(ValueError, match="reaction 'j1' should be in one of cyt, nuc, NM; got 'nm'; did you mean 'NM'"):
        antimony(body, places, reactions={"j1": "nm"})


def test_of_two_interfaces_the_caller_chooses():
    places = {"cyt": "cytosol", "nuc": "nucleus", "N1": ("nucleus", "cytosol"), "tip": "pore"}
    body = TWO.format("j: A -> B; k*A; k = 1")
    model = antimony(body, places, reactions={"j": "tip"}, sizes={"tip": "2 um^2"})
    assert model.reactions[0].compartment == "tip"


def test_an_area_that_is_a_factor_tells_the_place():
    area = "unit um2 = (1e-6 metre)^2; "
    body = area + "compartment cyt = 2, PM = 3; PM has um2; species A in cyt = 1; e: A -> ; PM*k*A; k = 1"
    model = antimony(body, {"cyt": "cytosol", "PM": ("cytosol", "outside")})
    assert (model.reactions[0].compartment, model.reactions[0].rate) == ("PM", "k*A")


def test_a_volume_is_no_membrane():
    body = "compartment PM = 1; species A in PM = 1"
    with pytest.raises(ValueError, match=r"'PM' is a volume in the file, but its place is the interface a . outside"):
        antimony(body, {"PM": ("a", "outside")})
    with pytest.warns(UserWarning, match="'PM' is taken for an area"):
        model = Model.from_antimony(f"model m\n{body}\nend", {"PM": ("a", "outside")}, units={"substance": "molecule"})
    assert model.species[0].initial == "1 molecule/um^2"


# --- units ---


def test_units_that_are_not_said_are_assumed_aloud():
    text = "model m\ncompartment cell = 1; species A in cell = 2; j: A -> ; cell*k*A; k = 3\nend"
    with pytest.warns(UserWarning) as told:
        model = Model.from_antimony(text, CELL)
    said = str(told[0].message)
    assert "assumed: substance in umol, volume in litre, time in second; say others by units={" in said
    assert "parameters without a unit have the one that the laws need: k = 3 1/s" in said
    assert told[0].filename == __file__
    assert model.species[0].initial == "2 uM"
    model = Model.from_antimony(text, CELL, units={"substance": "nmol", "time": "min", "volume": "litre"})
    assert (model.species[0].initial, model.parameters["k"]) == ("2 nM", "3 1/min")
    with pytest.raises(ValueError, match=r"units should be of substance.*got 'times'; did you mean 'time'"):
        Model.from_antimony(text, CELL, units={"times": "min"})
    with pytest.raises(ValueError, match="unit of time"):
        Model.from_antimony(text, CELL, units={"time": "fortnite"})


@pytest.mark.parametrize(
    ("law", "rate", "parameters"),
    [
        ("cell*0.5*A", "j_c1*A", {"j_c1": "0.5 1/s"}),
        ("0.5*A", "j_c1*A/cell", {"j_c1": "0.5 l/s", "cell": "2 l"}),
        ("cell*k*A/(K + A)", "k*A/(K + A)", {"k": "3 uM/s", "K": "7 uM"}),
        ("cell*k*A^n/(K^n + A^n)", "k*A**n/(K**n + A**n)", {"k": "3 uM/s", "n": "2", "K": "7 uM"}),
        ("cell*k*A^2.5", "k*A**2.5", {"k": "3 1/uM^1.5/s"}),
        ("cell*k*exp(-K*time)", "k*exp(-K*t)", {"k": "3 uM/s", "K": "7 1/s"}),
        ("cell*k*(1 + A/K)", "k*(1 + A/K)", {"k": "3 uM/s", "K": "7 uM"}),
        ("cell*k*(1 + A)", "k*(j_c1 + A)", {"k": "3 1/s", "j_c1": "1 uM"}),
        ("cell*k*exp(A)", "k*exp(j_c1*A)", {"k": "3 uM/s", "j_c1": "1 1/uM"}),
        ("cell*k*A/(K^3 + A)", "k*A/(K**3 + j_c1*A)", {"k": "3 1/s", "K": "7", "j_c1": "1 1/uM"}),
        ("A*cell*k*A - k*A*cell", "j_c1*(A*k*A) - k*A", None),
    ],
)
def test_numbers_get_the_unit_that_the_law_needs(law, rate, parameters):
    model = antimony(f"compartment cell = 2; species A in cell = 1; j: A -> ; {law}; k = 3; K = 7; n = 2")
    if parameters is not None:
        assert model.reactions[0].rate == rate
        assert model.parameters == parameters
    # The numbers are those of the file, whatever unit they got.
    value = expressions.compile(model.rates["j"], ("A", "t"))(602.214076 * 1.5, 2.0)
    known = {"A": 1.5, "cell": 2.0, "k": 3.0, "K": 7.0, "n": 2.0, "time": 2.0, "exp": np.exp}
    assert float(value) == pytest.approx(eval(law.replace("^", "**"), known) / 2 * 602.214076, rel=1e-12)


def test_laws_hold_against_units_that_contradict_them():
    body = "compartment cell = 2; species A in cell = 1; j: A -> ; cell*k*A; k = 3; unit pm = 1/(60 second); k has pm"
    with pytest.warns(UserWarning, match=r"other units than the file declares .k in 1/min.; taken as k = 3 1/s"):
        model = antimony(body)
    assert model.parameters["k"] == "3 1/s"


def test_defaults_of_level_2_and_of_the_file_are_known():
    body = """<listOfCompartments><compartment id="cell" size="2"/></listOfCompartments>
    <listOfSpecies><species id="A" compartment="cell" initialAmount="3e-9"/></listOfSpecies>"""
    assert sbml(body, level=2, version=4).species[0].initial == "1.5e-09 M"
    own = """<listOfUnitDefinitions><unitDefinition id="substance"><listOfUnits><unit kind="item"/></listOfUnits>
    </unitDefinition><unitDefinition id="volume"><listOfUnits><unit kind="metre" exponent="3" scale="-6"/></listOfUnits>
    </unitDefinition></listOfUnitDefinitions>"""
    assert sbml(own + body, level=2, version=4).species[0].initial == "1.5e-09 molecule/um^3"


# --- mathematics ---


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("piecewise(2, A < 1, 3, A == 1.5, 4)", 3.0),
        ("piecewise(2, A != 1.5 || !(A > 1), 4)", 4.0),
        ("piecewise(2, true, 4)", 2.0),
        ("piecewise(2, (A > 1) && (A >= 1.5) && (1 < A), 4)", 2.0),
        ("root(3, A) + sqrt(A)", 1.5 ** (1 / 3) + 1.5**0.5),
        ("log(2, A) + log10(A) + ln(A)", np.log2(1.5) + np.log10(1.5) + np.log(1.5)),
        ("sec(A) + csc(A) + cot(A)", 1 / np.cos(1.5) + 1 / np.sin(1.5) + 1 / np.tan(1.5)),
        ("sech(A) + csch(A) + coth(A)", 1 / np.cosh(1.5) + 1 / np.sinh(1.5) + 1 / np.tanh(1.5)),
        ("arcsinh(A) + arccosh(A) + arctanh(A/2)", np.arcsinh(1.5) + np.arccosh(1.5) + np.arctanh(0.75)),
        ("arcsin(A/2) + arccos(A/2) + arctan(A)", np.arcsin(0.75) + np.arccos(0.75) + np.arctan(1.5)),
        ("arcsec(A) + arccsc(A) + arccot(A)", np.arccos(1 / 1.5) + np.arcsin(1 / 1.5) + np.arctan(1 / 1.5)),
        ("floor(A) + ceil(A) + abs(-A)", 4.5),
        ("sinh(A) + cosh(A) + tanh(A) + exponentiale + pi", np.sinh(1.5) + np.cosh(1.5) + np.tanh(1.5) + np.e + np.pi),
        ("avogadro/6.02214076e23", 1.0),
        ("A^-2 - -A", 1.5**-2 + 1.5),
        ("min(A, 1, 2) + max(A, 1)", 2.5),
        ("xor(A > 1, A > 2) + 1", 2.0),
    ],
)
def test_mathematics_mean_what_they_do_in_sbml(formula, value):
    model = antimony(f"compartment cell = 1; species A in cell = 1; j: A -> ; cell*({formula})")
    found = expressions.compile(model.rates["j"], ("A",))(602.214076 * 1.5)
    assert float(found) == pytest.approx(value * 602.214076, rel=1e-12)


def test_names_that_mean_something_else_in_rates_are_changed():
    with pytest.warns(UserWarning, match=r"renamed.*: x -> x__, lambda -> lambda_, y -> y_"):
        model = antimony(
            "compartment cell = 1; species y in cell = 1; j: y -> ; cell*x*lambda*y; x = 2; lambda = 3; x_ = 1"
        )
    assert model.reactions[0].rate == "x__*lambda_*y_"


def test_initial_values_are_computed_in_the_order_that_they_need():
    model = antimony(
        "compartment cell = v; species A in cell = B*2, B in cell; B = k + 1; k = c^2; c = 3; v = k/3;"
        "j: A -> ; A*k*cell"
    )
    assert [item.initial for item in model.species] == ["20 uM", "10 uM"]
    assert model.parameters["k"] == "9 1/s"
    with pytest.raises(FileError, match="Loop detected"):
        antimony("compartment cell = 1; species A in cell = B, B in cell = A; j: A -> ; A*cell")


# --- what is refused ---


def test_all_that_a_model_does_not_have_is_named_at_once():
    body = """compartment cell = 1; species A in cell = 1, B in cell = 2
    j: A -> B; cell*k*delay(A, 2)
    h: B -> A; cell*k*factorial(B)
    E1: at (A > 2): A = 1
    k' = -k; k = 1"""
    with pytest.raises(ValueError) as refused:
        antimony(body)
    for part in (
        "events (E1): write what they do as a piecewise",
        "delays (reaction j): write the delay as a chain",
        "rate rules on parameters (k): make it a species",
        "mathematics that rates do not have (factorial in reaction h)",
    ):
        assert part in str(refused.value)


CELL_OF_A = """<listOfCompartments>
<compartment id="cell" spatialDimensions="3" size="1" constant="{}"/></listOfCompartments>
<listOfSpecies><species id="A" compartment="cell" initialConcentration="1" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false" {}/></listOfSpecies>
<listOfParameters><parameter id="k" value="1" constant="{}"/></listOfParameters>"""
ONE = f"<math {MATH}><cn>1</cn></math>"
REACTION = """<listOfReactions><reaction id="j" reversible="false" fast="{}"><listOfReactants>
<speciesReference id="s" species="A" stoichiometry="1" constant="{}"/></listOfReactants>{}</reaction>
</listOfReactions>"""
LAW = f"<kineticLaw>{ONE}</kineticLaw>"


@pytest.mark.parametrize(
    ("body", "model", "message"),
    [
        (
            CELL_OF_A.format("true", "", "true") + REACTION.format("true", "true", LAW),
            "",
            "fast reactions .j.: give them",
        ),
        (
            CELL_OF_A.format("true", "", "true") + REACTION.format("false", "true", ""),
            "",
            "reactions without a rate .j.",
        ),
        (
            CELL_OF_A.format("true", 'conversionFactor="k"', "true"),
            'conversionFactor="k"',
            "conversion factors .A, of the model.: write the factor into",
        ),
        (
            CELL_OF_A.format("false", "", "true")
            + f'<listOfRules><rateRule variable="cell">{ONE}</rateRule></listOfRules>',
            "",
            "compartments whose size changes .cell.",
        ),
        (
            CELL_OF_A.format("true", "", "false")
            + f"<listOfRules><algebraicRule><math {MATH}><apply><minus/><ci>k</ci><ci>A</ci></apply></math>"
            "</algebraicRule></listOfRules>",
            "",
            "algebraic rules .rule 1.: solve them",
        ),
        (
            CELL_OF_A.format("true", "", "true")
            + f'<listOfRules><assignmentRule variable="s">{ONE}</assignmentRule></listOfRules>'
            + REACTION.format("false", "false", LAW),
            "",
            "stoichiometries that are formulas .A in j.",
        ),
        (
            CELL_OF_A.format("true", "", "true").replace('spatialDimensions="3"', 'spatialDimensions="1"'),
            "",
            "compartments without volume or area .cell of A.",
        ),
        (
            CELL_OF_A.format("true", 'substanceUnits="gram"', "true"),
            "",
            "units .kg of substance.: give it in mole, item",
        ),
    ],
)
def test_each_of_them_has_its_remedy(body, model, message):
    with pytest.raises(ValueError, match=message):
        sbml(body, model=model)


def test_packages_that_are_required_are_refused():
    spaces = 'xmlns:spatial="http://www.sbml.org/sbml/level3/version1/spatial/version1" spatial:required="true"'
    with pytest.raises(ValueError, match=r"packages .spatial.: save the model as SBML core"):
        sbml(CELL_OF_A.format("true", "", "true"), namespaces=spaces)


EVENT = f"""<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="m">
{CELL_OF_A.format("true", "", "true")}<listOfEvents><event id="E" useValuesFromTriggerTime="true">
<trigger initialValue="true" persistent="true"><math {MATH}><true/></math></trigger></event></listOfEvents>
</model></sbml>"""


def test_what_is_no_sbml_is_told_with_its_line(tmp_path):
    with pytest.raises(FileError, match="should be valid SBML; it is not: line "):
        Model.from_sbml("<sbml nonsense", CELL)
    path = tmp_path / "model.xml"
    path.write_bytes(b"\xff\xfe\x00<sbml")
    with pytest.raises(FileError, match="should be a text in UTF-8"):
        Model.from_sbml(path, CELL)
    path.write_text(EVENT, "utf-8")
    with pytest.raises(FileError, match=r"model.xml: the model should hold only .*events .E.: write what"):
        Model.from_sbml(path, CELL)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        Model.from_sbml(tmp_path / "none.xml", CELL)
    with pytest.raises(FileError, match=r"the SBML text should be valid SBML; .*A"):
        sbml(CELL_OF_A.format("true", "", "true").replace('compartment="cell"', 'compartment="cel"'))


def test_a_missing_library_is_named_with_its_command(monkeypatch):
    for name, call in (("libsbml", Model.from_sbml), ("antimony", Model.from_antimony)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=r"pip install 'meshcell\[sbml\]'"):
            call("<sbml\n", CELL)


def test_diffusion_is_given_by_name():
    body = "compartment cell = 1; species A in cell = 1, $B in cell = 2; j: A -> ; cell*A*B"
    assert antimony(body, diffusion={"A": "10 um^2/s"}).species[0].diffusion == "10 um^2/s"
    with pytest.raises(ValueError, match="diffusion should be of A; got 'a'; did you mean 'A'"):
        antimony(body, diffusion={"a": 1})


# --- what other programs write ---


def test_a_package_that_is_announced_in_vain_is_no_obstacle():
    spaces = 'xmlns:comp="http://www.sbml.org/sbml/level3/version1/comp/version1" comp:required="true"'
    assert sbml(CELL_OF_A.format("true", "", "true"), namespaces=spaces).species[0].name == "A"


def test_sizes_that_rules_compute_from_numbers_are_numbers():
    size = f'<listOfRules><assignmentRule variable="cell"><math {MATH}>{{}}</math></assignmentRule></listOfRules>'
    cell = CELL_OF_A.format("false", "", "true").replace('size="1"', 'size="NaN"').replace("Concentration", "Amount")
    double = "<apply><plus/><ci>k</ci><cn>3</cn></apply>"
    model = sbml(cell.replace('value="1"', 'value="5"') + size.format(double), model='substanceUnits="item"')
    assert model.species[0].initial == "0.125 molecule/l"
    time = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol>'
    with pytest.raises(ValueError, match=r"compartments whose size changes .cell."):
        sbml(cell + size.format(time))


def test_a_species_of_a_rule_is_a_formula_of_others():
    body = """compartment cell = 1; species A in cell = 4, $P in cell, substanceOnly species N in cell
    N = 6; P := total - A; total = 10; j: A -> ; cell*k*P*A; i: -> A; c*N; k = 2; c = 1; N' = -c*N"""
    model = antimony(body.replace(", substanceOnly", "; substanceOnly"))
    assert [item.name for item in model.species] == ["A", "N"]
    rates = {item.name: item.rate for item in model.reactions}
    assert rates == {"j": "k*(total - A)*A", "i": "c*N", "rate rule of N": "-c*N"}


def test_a_reaction_that_changes_nothing_is_left_out():
    model = antimony(
        "compartment cell = 1; species $A in cell = 4, B in cell = 1; j: A -> ; cell*A; i: B + A -> B; cell*B*A"
    )
    assert [item.name for item in model.species] == ["B"]
    assert model.reactions == () and model.parameters == {}


def test_rules_in_a_circle_are_refused():
    with pytest.raises(FileError, match=r"Loop detected|valid SBML"):
        antimony("compartment cell = 1; species A in cell = 1; a := b; b := a + 1; j: A -> ; cell*A*a")


def test_an_imported_model_runs_on_a_mesh():
    """Where diffusion is fast, a mesh loses what the well-mixed model of its volume and area loses."""
    body = """unit um2 = (1e-6 metre)^2; unit um3 = (1e-6 metre)^3
    compartment cell = 1, PM = 3; cell has um3; PM has um2
    species A in cell = 5; out: A -> ; PM*p*A; p = 0.5; unit ums = 1e-6 metre/second; p has ums"""
    model = antimony(body, {"cell": "ball", "PM": ("ball", "outside")}, diffusion={"A": "1000 um^2/s"})
    assert model.reactions[0].compartment == "PM"
    assert model.parameters == {"p": "0.5 um/s"}
    mesh = ball(3)
    on_mesh, mixed = (mc.solve(item, model, [0, 0.5], rtol=1e-6) for item in (mesh, mc.well_mixed(model, mesh)))
    assert mc.mean(on_mesh, "A")[-1] == pytest.approx(mixed.values["A"][-1, 0], rel=1e-3)


def test_rules_of_numbers_alone_are_computed_where_rates_would_be_too_long():
    rules = "; ".join(f"c{k} := c{k - 1}*c{k - 1} - c{k - 1}" for k in range(1, 14))
    body = f"compartment cell = 1; species A in cell = 1; c0 = 1.5; {rules}; c := c13*A; j: A -> ; cell*c"
    with pytest.warns(UserWarning, match="too long with all rules in them, so these are numbers now: c1, c2"):
        model = antimony(body)
    assert model.reactions[0].rate == "c13*A"
    value = 1.5
    for _ in range(13):
        value = value * value - value
    assert model.parameter_values["c13"] == pytest.approx(value, rel=1e-12)


def test_sums_of_hundreds_of_terms_are_read_and_brackets_without_end_are_not():
    law = f"<kineticLaw><math {MATH}><apply><plus/>{'<ci>A</ci>' * 600}</apply></math></kineticLaw>"
    body = CELL_OF_A.format("true", "", "true") + REACTION.format("false", "true", law)
    model = sbml(body, model='substanceUnits="item" extentUnits="item" timeUnits="second"')
    # The law has no volume in it: 600 A per volume of the cell, a litre.
    assert float(expressions.compile(model.rates["j"], ("A",))(1.0)) == pytest.approx(600, rel=1e-12)
    for levels in (160, 600, 3000):
        with pytest.raises(ValueError, match=r"too many brackets in each other .* in reaction j"):
            antimony(f"compartment cell = 1; species A in cell = 1; j: A -> ; cell*({'exp(' * levels}A{')' * levels})")


def test_arguments_of_the_wrong_kind_are_shown_how_they_are_written():
    for name in ("places", "reactions", "sizes", "diffusion", "units"):
        with pytest.raises(TypeError, match=rf"{name} should be a dict such as \{{"):
            Model.from_sbml("<sbml/>", **{name: "cytosol"})
