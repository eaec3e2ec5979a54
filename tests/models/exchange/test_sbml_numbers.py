"""Models from SBML and Antimony, run well mixed, against the same equations written by hand for another solver."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import meshcell as mc
from meshcell.models.model import Model

pytest.importorskip("libsbml")
pytest.importorskip("antimony")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

RTOL = 1e-6
# Molecules/um^3 in 1 uM.
UM = 602.214076


def by_hand(slopes, start, times):
    """Integrate equations far more exactly than the solver under test is asked to."""
    result = solve_ivp(slopes, (0, times[-1]), start, "LSODA", times, rtol=1e-10, atol=1e-13)
    assert result.success
    return dict(zip(result.t, result.y.T, strict=True))


def check(model, sizes, slopes, start, times, names, unit=UM, second=1.0):
    """Compare a model's run with equations in the file's own numbers; `unit` and `second` convert to ours."""
    truth = np.array(list(by_hand(slopes, start, times).values()))
    solution = mc.solve(sizes, model, np.asarray(times) * second, rtol=RTOL)
    for column, name in enumerate(names):
        own = np.asarray(unit)[column] if np.ndim(unit) else unit
        values = solution.values[name][:, 0] / own
        scale = np.abs(truth[:, column]).max()
        assert np.abs(values - truth[:, column]).max() < 10 * RTOL * scale, name


MICHAELIS_MENTEN = """
model enzyme
  unit substance = 1e-6 mole; unit volume = 1 litre; unit time_unit = 1 second
  compartment cell = 1e-12
  species S in cell = 10, E in cell = 0.5, ES in cell = 0, P in cell = 0
  bind: S + E -> ES; cell*(kf*S*E - kr*ES)
  turn: ES -> E + P; cell*kcat*ES
  kf = 2; kr = 0.3; kcat = 1.5
end
"""


def test_michaelis_menten_with_its_enzyme():
    model = Model.from_antimony(MICHAELIS_MENTEN, {"cell": "cytosol"})
    assert model.parameters == {"kf": "2 1/uM/s", "kr": "0.3 1/s", "kcat": "1.5 1/s"}
    assert [item.initial for item in model.species] == ["10 uM", "0.5 uM", "0 uM", "0 uM"]
    assert [item.rate for item in model.reactions] == ["kf*S*E - kr*ES", "kcat*ES"]

    def slopes(t, y):
        s, e, es, _ = y
        bind, turn = 2 * s * e - 0.3 * es, 1.5 * es
        return [-bind, -bind + turn, bind - turn, turn]

    check(model, {"cell": 7.0}, slopes, [10, 0.5, 0, 0], [0, 1, 5, 20], ["S", "E", "ES", "P"])


BRUSSELATOR = """<?xml version="1.0"?>
<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4">
 <model id="brusselator">
  <listOfUnitDefinitions>
   <unitDefinition id="substance"><listOfUnits><unit kind="mole" scale="-6"/></listOfUnits></unitDefinition>
  </listOfUnitDefinitions>
  <listOfCompartments><compartment id="pot" size="2"/></listOfCompartments>
  <listOfSpecies>
   <species id="A" compartment="pot" initialConcentration="1" boundaryCondition="true"/>
   <species id="B" compartment="pot" initialConcentration="3" boundaryCondition="true" constant="true"/>
   <species id="x" compartment="pot" initialConcentration="1.2"/>
   <species id="Y" compartment="pot" initialAmount="6"/>
  </listOfSpecies>
  <listOfReactions>
   <reaction id="feed" reversible="false">
    <listOfReactants><speciesReference species="A"/></listOfReactants>
    <listOfProducts><speciesReference species="x"/></listOfProducts>
    <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">
     <apply><times/><ci>pot</ci><ci>k</ci><ci>A</ci></apply></math>
     <listOfParameters><parameter id="k" value="1"/></listOfParameters></kineticLaw>
   </reaction>
   <reaction id="auto" reversible="false">
    <listOfReactants><speciesReference species="x" stoichiometry="2"/><speciesReference species="Y"/></listOfReactants>
    <listOfProducts><speciesReference species="x" stoichiometry="3"/></listOfProducts>
    <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">
     <apply><times/><ci>pot</ci><ci>k</ci><apply><power/><ci>x</ci><cn>2</cn></apply><ci>Y</ci></apply></math>
     <listOfParameters><parameter id="k" value="1.1"/></listOfParameters></kineticLaw>
   </reaction>
   <reaction id="turn" reversible="false">
    <listOfReactants><speciesReference species="B"/><speciesReference species="x"/></listOfReactants>
    <listOfProducts><speciesReference species="Y"/></listOfProducts>
    <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">
     <apply><times/><cn>1</cn><ci>B</ci><ci>x</ci><ci>pot</ci></apply></math></kineticLaw>
   </reaction>
   <reaction id="leave" reversible="false">
    <listOfReactants><speciesReference species="x"/></listOfReactants>
    <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">
     <apply><times/><ci>pot</ci><ci>x</ci></apply></math></kineticLaw>
   </reaction>
  </listOfReactions>
 </model>
</sbml>"""


def test_brusselator_with_boundary_species_and_local_parameters():
    model = Model.from_sbml(BRUSSELATOR, {"pot": "cytosol"})
    assert [item.name for item in model.species] == ["x_", "Y"]
    assert model.parameters["A"] == "1 uM"
    assert model.parameters["k"] == "1 1/s" and model.parameters["auto_k"] == "1.1 1/uM^2/s"

    def slopes(t, u):
        x, y = u
        return [1 + 1.1 * x**2 * y - 3 * x - x, 3 * x - 1.1 * x**2 * y]

    check(model, {"pot": 3.0}, slopes, [1.2, 3.0], [0, 1, 5, 10], ["x_", "Y"])


TRANSPORT = """
model transport
  unit substance = 1e-6 mole; unit volume = 1e-15 litre; unit area = (1e-6 metre)^2; unit time_unit = 1 second
  unit um2 = (1e-6 metre)^2
  compartment cyt = 2.5, bath = 40, PM = 9; PM has um2
  species A in cyt = 5, B in bath = 1, R in PM = 0.25, RA in PM = 0
  leak: A -> B; PM*p*(A - B)
  bind: A + R -> RA; PM*(on*A*R - off*RA)
  slow: A -> B; cyt*q*A
  p = 0.4; on = 0.7; off = 0.2; q = 0.05
end
"""


def test_transport_and_binding_at_a_membrane_with_its_area():
    places = {"cyt": "cytosol", "bath": "bath", "PM": ("cytosol", "bath")}
    with pytest.warns(UserWarning, match="sizes that do not cancel in the rates stay as parameters: cyt = 2.5 um.3"):
        model = Model.from_antimony(TRANSPORT, places)
    assert {item.name: item.compartment for item in model.reactions} == dict.fromkeys(("leak", "bind", "slow"), "PM")
    assert model.reactions[0].rate == "p*(A - B)"
    assert model.parameters["p"] == "0.4 um/s"

    def slopes(t, u):
        a, b, r, ra = u
        leak, bind, slow = 9 * 0.4 * (a - b), 9 * (0.7 * a * r - 0.2 * ra), 2.5 * 0.05 * a
        return [-(leak + bind + slow) / 2.5, (leak + slow) / 40, -bind / 9, bind / 9]

    sizes = {"cyt": 2.5, "bath": 40, "PM": "9 um^2"}
    check(model, sizes, slopes, [5, 1, 0.25, 0], [0, 0.5, 2, 10], ["A", "B", "R", "RA"], unit=UM * 1e15)


def cascade(n):
    """Write a cascade of n levels, each activated by the one before."""
    lines = ["model cascade", "unit substance = 1e-9 mole; unit volume = 1 litre; unit time_unit = 1 second"]
    lines += ["compartment cell = 1", "species X0 in cell = 20"]
    for k in range(1, n + 1):
        lines += [f"species X{k} in cell = 0, Y{k} in cell = {100 * k}"]
        lines += [f"on{k}: Y{k} -> X{k}; cell*k{k}*X{k - 1}*Y{k}/(K + Y{k}); k{k} = {0.3 + 0.1 * k}"]
        lines += [f"off{k}: X{k} -> Y{k}; cell*V*X{k}/(K + X{k})"]
    return "\n".join([*lines, "die: X0 -> ; cell*d*X0", "K = 15; V = 9; d = 0.05", "end"])


def test_mapk_cascade():
    model = Model.from_antimony(cascade(3), {"cell": "cytosol"})
    assert model.parameters["V"] == "9 nM/s"

    def slopes(t, u):
        x, y, slope = u[:4], u[4:], np.zeros(7)
        for k in (1, 2, 3):
            rate = (0.3 + 0.1 * k) * x[k - 1] * y[k - 1] / (15 + y[k - 1]) - 9 * x[k] / (15 + x[k])
            slope[k] += rate
            slope[3 + k] -= rate
        slope[0] -= 0.05 * x[0]
        return slope

    names = ["X0", "X1", "X2", "X3", "Y1", "Y2", "Y3"]
    check(model, {"cell": 1}, slopes, [20, 0, 0, 0, 100, 200, 300], [0, 5, 20, 60], names, unit=UM / 1000)


ITEMS = """
model items
  unit substance = 1 item; unit volume = 1e-15 litre; unit time_unit = 60 second
  compartment cell = 4
  substanceOnly species N in cell, M in cell, D in cell
  N = 300; M = 10; D = 0
  pair: 2 N -> D; k*N*(N - 1)
  split: D -> 2 N; r*D
  make: -> M; s*D/(D + h)
  fade: M -> ; 0.3*M
  k = 0.001; r = 0.4; s = 25; h = 60
end
"""


def test_amounts_in_items_and_minutes():
    model = Model.from_antimony(ITEMS, {"cell": "cytosol"})
    assert model.parameters["r"] == "0.4 1/min"
    assert model.parameters["s"] == "25 molecule/min"
    assert model.parameters["cell"] == "4 um^3"

    def slopes(t, u):
        n, m, d = u
        pair, split, make = 0.001 * n * (n - 1), 0.4 * d, 25 * d / (d + 60)
        return [-2 * pair + 2 * split, make - 0.3 * m, pair - split]

    check(model, {"cell": 4}, slopes, [300, 10, 0], [0, 1, 5, 20], ["N", "M", "D"], unit=1 / 4, second=60)


RULES = """
function hill(s, K, n)
  s^n/(K^n + s^n)
end

model rules
  unit substance = 1e-6 mole; unit volume = 1 litre; unit time_unit = 1 second
  compartment cell = 1
  species A in cell = 2, B in cell = 0, $Z in cell = 1, $T in cell
  T := A + B + W
  W := 2*A
  pulse := piecewise(4, time >= 1 && time < 3, 0.5)
  go: A -> B; cell*v*hill(A, K, n)*pulse
  back: B -> A; cell*u*B*ln(1 + T)/(1 + abs(A - B))^0.5
  Z' = w - Z*W*c
  v = 0.5; K = 1.5; n = 4; u = 0.1; w = 0.3
  c = K/10
end
"""


def test_functions_rules_pieces_and_initial_assignments():
    model = Model.from_antimony(RULES, {"cell": "cytosol"})
    assert [item.name for item in model.species] == ["A", "B", "Z"]

    def slopes(t, u):
        a, b, z = u
        go = 0.5 * a**4 / (1.5**4 + a**4) * (4 if 1 <= t < 3 else 0.5)
        back = 0.1 * b * np.log(1 + 3 * a + b) / np.sqrt(1 + abs(a - b))
        return [back - go, go - back, 0.3 - z * 2 * a * 0.15]

    # The pulse's ends are where one run stops and the next begins.
    start, truth = [2.0, 0.0, 1.0], {0.0: np.array([2.0, 0.0, 1.0])}
    for first, last in ((0, 1), (1, 3), (3, 6)):
        middle = (first + last) / 2

        def held(t, u, first=first, last=last, middle=middle):
            return slopes(middle if not first < t < last else t, u)

        result = solve_ivp(held, (first, last), start, "LSODA", rtol=1e-10, atol=1e-13)
        start = result.y[:, -1]
        truth[float(last)] = start
    solution = mc.solve({"cell": 1}, model, list(truth), rtol=RTOL)
    for column, name in enumerate(["A", "B", "Z"]):
        values = solution.values[name][:, 0] / UM
        assert np.abs(values - [row[column] for row in truth.values()]).max() < 10 * RTOL * 2


def test_units_of_chemists_and_of_cells_are_one_model():
    """Moles, litres and minutes against molecules, um and s: the same numbers in base units."""
    chemist = """
    model m
      unit substance = 1 mole; unit volume = 1 litre; unit time_unit = 60 second
      unit per_Ms = 1 litre/mole/(60 second)
      compartment cell = 1e-15
      species A in cell = 2e-6, B in cell = 1e-6
      j: A + B -> ; cell*k*A*B; k = 6e5; k has per_Ms
      i: -> A; cell*s; s = 3e-7
    end"""
    cell = f"""
    model m
      unit substance = 1 item; unit volume = 1e-15 litre; unit time_unit = 1 second
      compartment cell = 1
      species A in cell = {2 * UM}, B in cell = {UM}
      j: A + B -> ; cell*k*A*B; k = {6e5 / 1e6 / UM / 60}
      i: -> A; cell*s; s = {0.3 * UM / 60}
    end"""
    models = [Model.from_antimony(text, {"cell": "cytosol"}) for text in (chemist, cell)]
    assert models[0].parameters["k"] == "600000 1/M/min"
    assert models[0].parameter_values == pytest.approx(models[1].parameter_values, rel=1e-12)
    times = np.linspace(0, 200, 5)
    one, other = (mc.solve({"cell": 1}, model, times, rtol=RTOL) for model in models)
    for name in ("A", "B"):
        np.testing.assert_allclose(one.values[name], other.values[name], rtol=1e-9)
