"""A model without a mesh: ordinary differential equations, and what a mesh tends to as diffusion grows."""

import pickle

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from gallery.meshes import ball, box
from gallery.models import calcium, exchange
from meshcell.analysis.quantities import gains, mean, probe, total
from meshcell.io import load, save
from meshcell.models.mixing import well_mixed
from meshcell.models.model import Model
from meshcell.models.observables import Quantity
from meshcell.models.parameters import Field
from meshcell.models.species import Reaction, Species
from meshcell.models.well_mixed import WellMixed
from meshcell.solving.solver import solve

SIZES = {"cyt": 0.6, "PM": "6.6 um^2"}


def buffered():
    """Calcium that comes in through a membrane, with a buffer within and a receptor on it."""
    species = [Species("Ca", "cyt", 220, "0.1 uM"), Species("B", "cyt", 10, "10 uM"), Species("CaB", "cyt", 10)]
    species += [Species("R", "PM", 1, "100 molecule/um^2"), Species("CR", "PM", 1)]
    reactions = [
        Reaction("bind", "cyt", "kf*Ca*B - kr*CaB", {"Ca": -1, "B": -1, "CaB": 1}),
        Reaction("receive", "PM", "kon*Ca*R - koff*CR", {"Ca": -1, "R": -1, "CR": 1}),
        Reaction("enter", "PM", "J*exp(-t/tau)", {"Ca": 1}),
    ]
    rates = {"kf": "100 1/uM/s", "kr": "50 1/s", "kon": "1 1/uM/s", "koff": "1 1/s"}
    entry = {"J": "2000 molecule/um^2/s", "tau": "10 ms"}
    return Model({"cyt": "cytosol", "PM": ("cytosol", "outside")}, species, reactions, {**rates, **entry})


@pytest.mark.parametrize("scheme", ["auto", "implicit", "imex"])
def test_it_is_the_ordinary_differential_equation(scheme):
    """Written out by hand, and solved by LSODA."""
    model, times = buffered(), np.array([0, 0.01, 0.1, 1.0])
    found = solve(SIZES, model, times, rtol=1e-6, scheme=scheme)
    k = model.parameter_values

    def slopes(t, y):
        ca, b, cab, r, cr = y
        bind, receive = k["kf"] * ca * b - k["kr"] * cab, k["kon"] * ca * r - k["koff"] * cr
        enter = k["J"] * np.exp(-t / k["tau"])
        return [-bind + 6.6 / 0.6 * (enter - receive), -bind, bind, -receive, receive]

    names = ["Ca", "B", "CaB", "R", "CR"]
    start = [found.values[name][0, 0] for name in names]
    truth = solve_ivp(slopes, (0, 1), start, "LSODA", times, rtol=1e-11, atol=1e-9).y
    for row, name in enumerate(names):
        assert found.values[name][:, 0] == pytest.approx(truth[row], rel=2e-5), name
    assert found.stats["mass_drift"] < 1e-12


def test_a_mesh_tends_to_it_as_diffusion_grows():
    """What diffusion does not level falls with 1/D; what mesh and compartments measure is the same."""
    mesh, times, errors = ball(2, names={1: "ball"}), [0, 0.3, 1.0], []
    truth = mean(solve(well_mixed(exchange(), mesh), exchange(), times, rtol=1e-8), "B")
    for diffusion in (10, 30, 100):
        found = mean(solve(mesh, exchange(diffusion), times, rtol=1e-6), "B")
        errors.append(np.abs(found[1:] / truth[1:] - 1).max())
    assert errors[0] > 1e-4
    assert np.divide(errors[:-1], errors[1:]) == pytest.approx([3, 10 / 3], rel=0.1)


def test_questions_are_answered():
    solution = solve(SIZES, buffered(), [0, 0.1, 0.2])
    assert total(solution, "Ca") == pytest.approx(0.6 * mean(solution, "Ca"))
    assert total(solution, "CR") == pytest.approx(6.6 * mean(solution, "CR"))
    held = sum(total(solution, name) for name in ("B", "CaB"))
    assert held == pytest.approx(held[0], rel=1e-12)
    assert gains(solution, "Ca")["enter"][0] == pytest.approx(6.6 * 2000)
    with pytest.raises(TypeError, match="a well-mixed run has no mesh, so no 'tets'"):
        probe(solution, "Ca", [0, 0, 0])


def test_quantities_are_observed():
    asked = {
        "level": Quantity("mean", "Ca"),
        "bound": Quantity("total", "CR"),
        "in": Quantity("flux", "Ca", place="PM"),
    }
    seen = solve(SIZES, buffered(), [0, 0.1, 0.2], observe=asked, keep="observed")
    whole = solve(SIZES, buffered(), [0, 0.1, 0.2])
    for name, quantity in asked.items():
        assert np.array_equal(seen.observed[name], quantity.value(whole)), name
    assert asked["level"].unit_in(whole.model, whole.mesh) == "molecule/um^3"
    assert asked["bound"].unit_in(whole.model, whole.mesh) == "molecule"
    with pytest.raises(ValueError, match=r"total of R in cyt has no place: 'R' does not live there: it lives in 'PM'"):
        Quantity("total", "R", place="cyt").value(whole)


def test_sizes_come_from_a_mesh():
    mesh = ball(3, core=0.5, names={1: "shell", 2: "core"})
    found = well_mixed(calcium(), mesh)
    assert found.sizes["cyt"] == pytest.approx(mesh.volumes[mesh.regions == 1].sum())
    assert found.sizes["PM"] == pytest.approx(mesh.areas[mesh.interfaces["shell", "outside"]].sum())
    assert found.dimensions == {"cyt": 3, "er": 3, "PM": 2, "ERM": 2}
    # Without any, all are of size one.
    assert set(well_mixed(calcium()).sizes.values()) == {1.0}


def test_a_patch_is_told_by_its_unit_or_by_who_uses_it():
    species = [Species("A", "cyt", 1, 1), Species("R", "spot", 0, 1)]
    model = Model({"cyt": "cytosol", "spot": "psd"}, species)
    assert well_mixed(model, {"cyt": 2, "spot": "0.5 um^2"}).dimensions == {"cyt": 3, "spot": 2}
    bound = [Reaction("bind", "spot", "A*R", {"A": -1, "R": -1})]
    assert well_mixed(Model(model.compartments, species, bound), {"cyt": 2, "spot": 0.5}).dimensions["spot"] == 2


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"cyt": 1}, "compartment 'PM' needs its volume"),
        ({"cyt": 1, "PM": "3 um^3"}, r"size of compartment 'PM' should be in um\^2"),
        ({"cyt": 1, "MP": 1, "PM": 1}, "should be of the model's compartments, cyt, PM; got 'MP'"),
        ({"cyt": 0, "PM": 1}, "size of compartment 'cyt' should be positive and finite; got 0"),
        ({"cyt": "1 s", "PM": 1}, "size of compartment 'cyt' should be in"),
    ],
)
def test_wrong_sizes_are_named(sizes, said):
    with pytest.raises(ValueError, match=said):
        solve(sizes, buffered(), [0, 1])


@pytest.mark.parametrize(
    "species",
    [
        Species("A", "box", initial="1 + x"),
        Species("A", "box", initial=lambda points: points[:, 0]),
        Species("A", "box", initial=Field([1.0, 2.0])),
        Species("A", "box", 1, 1, {"rim": "1 + y"}),
    ],
)
def test_what_depends_on_place_is_refused(species):
    model = Model({"box": "box", "rim": ("box", "outside")}, [species])
    with pytest.raises(ValueError, match="should be the same everywhere in a well-mixed run"):
        solve(None, model, [0, 1])


def test_a_value_held_at_a_wall_holds_everywhere():
    """As on a mesh, where the whole follows its wall at once if it diffuses fast."""
    model = Model({"box": "box", "rim": ("box", "outside")}, [Species("A", "box", 1e4, 0, {"rim": "1 + t"})])
    stirred = solve(None, model, [0, 0.5, 1])
    assert mean(stirred, "A") == pytest.approx([1, 1.5, 2])
    assert mean(solve(box(3), model, [0, 0.5, 1]), "A")[1:] == pytest.approx([1.5, 2], rel=1e-3)


def test_it_is_kept_and_goes_on(tmp_path):
    solution = solve(SIZES, buffered(), np.linspace(0, 1, 5), checkpoint=tmp_path / "run.npz")
    again = solve(SIZES, buffered(), np.linspace(0, 1, 5), checkpoint=tmp_path / "run.npz")
    assert np.array_equal(again.values["Ca"], solution.values["Ca"])
    with pytest.raises(ValueError, match="checkpoint"):
        solve({**SIZES, "cyt": 0.7}, buffered(), np.linspace(0, 1, 5), checkpoint=tmp_path / "run.npz")
    save(tmp_path / "a.npz", solution)
    loaded = load(tmp_path / "a.npz")
    assert isinstance(loaded.mesh, WellMixed)
    assert np.array_equal(total(loaded, "CR"), total(solution, "CR"))
    assert "cyt 0.6 um^3, PM 6.6 um^2" in repr(pickle.loads(pickle.dumps(loaded)).mesh)


def test_a_chain_that_starts_at_zero_begins():
    """After any first step its end is below zero, by next to nothing; the number of events is Poisson's."""
    species = [Species(f"X{k}", "cyt", 0, 100.0 * (k == 0)) for k in range(6)]
    steps = [Reaction(f"r{k}", "cyt", f"k*X{k}", {f"X{k}": -1, f"X{k + 1}": 1}) for k in range(5)]
    found = solve(None, Model({"cyt": "cytosol"}, species, steps, {"k": 100.0}), [0, 0.02, 1.0])
    assert found.values["X5"][1, 0] == pytest.approx(100 * (1 - np.exp(-2) * (1 + 2 + 2 + 4 / 3 + 2 / 3)), rel=1e-3)
    assert found.values["X5"][2, 0] == pytest.approx(100, rel=1e-6)
