"""Pools, and means and totals in rates: exact derivatives, exact answers, sums that are kept, files and questions."""

import dataclasses
import logging

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import meshcell as mc
from gallery.meshes import ball, box
from meshcell.analysis.quantities import flux, gains, mean, profile, total
from meshcell.models.binding import bind
from meshcell.models.model import Model
from meshcell.models.observables import Quantity
from meshcell.models.species import Pool, Reaction, Species
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.solver import solve
from meshcell.solving.steady_states import steady

PLACES = {"ball": "ball", "rim": ("ball", "outside")}
BODY = ball(3, names={1: "ball"})


def everything():
    """Every way in which a rate may read, and a reaction change, a number of the whole state."""
    species = [Species("A", "ball", 10, "1 + 0.5*x"), Species("R", "rim", 1, 4.0)]
    species += [Species("H", "ball", 5, 2.0, fixed={"rim": 3.0})]
    pools = [Pool("P", 0.5, 2.0), Pool("Q", "3 um^3", 0.3)]
    reactions = [
        Reaction("in", "rim", "k*(P*R - A)", {"A": 1, "P": -1, "Q": 0.5}),
        Reaction("crowd", "ball", "k*mean(A)**2*mean(R)/(1 + mean(A, rim)) + 0.1*A*Q", {"A": 2, "H": -1}),
        Reaction("turn", "P", "0.3*P*Q + 0.01*total(A)*sqrt(total(R))", {"P": -1, "Q": 2}),
        Reaction("use", "ball", "0.2*A*H", {"A": -1, "Q": 1, "P": 0.1}),
    ]
    return Model(PLACES, [*species, *pools], reactions, {"k": 0.7})


@pytest.mark.parametrize("mesh", [BODY, {"ball": 4.0, "rim": 12.0}], ids=["mesh", "well mixed"])
def test_the_jacobian_is_exact(mesh):
    """Against central differences, in every unknown."""
    from meshcell.models.mixing import well_mixed

    model = everything()
    if isinstance(mesh, dict):
        free = [
            item if isinstance(item, Pool) else Species(item.name, item.compartment, 0, 1.5) for item in model.species
        ]
        model = dataclasses.replace(model, species=free)
        mesh = well_mixed(model, mesh)
    problem = Discretisation(bind(model, mesh))
    u = problem.initial() * (1 + 0.1 * np.sin(np.arange(problem.size)))
    problem.linearise(0.0, u, 100.0)
    rng = np.random.default_rng(0)
    moving = np.ones(problem.size)
    moving[problem._held] = 0
    for _ in range(3):
        step = 1e-6 * rng.normal(size=problem.size) * moving
        change = 100 * problem.mass * step - (problem.rate(0, u + step) - problem.rate(0, u - step)) / 2
        image = problem.multigrid.multiply(step)
        assert np.abs((change - image) * moving).max() < 1e-7 * np.abs(image).max()
    b = rng.normal(size=problem.size) * moving
    x, iterations, converged = problem.multigrid.solve(b, np.ones(problem.size), 1e-9)
    assert converged
    assert iterations < 40
    assert np.abs(problem.multigrid.multiply(x) - b).max() < 1e-5


@pytest.mark.parametrize("scheme", ["auto", "implicit", "imex"])
@pytest.mark.parametrize("speed", [1.0, 100.0])
def test_a_pool_exchanges_with_a_region(scheme, speed):
    """A' = k (P - A), P' = k (A - P) V / volume: both tend to the mean by one exponential."""
    volume, body = 0.5, BODY.volumes.sum()
    species = [Species("A", "ball", 3, 0.0), Pool("P", volume, 6.0)]
    model = Model(PLACES, species, [Reaction("come", "ball", "k*(P - A)", {"A": 1, "P": -1})], {"k": speed})
    times = np.linspace(0, 2 / speed, 5)
    found = solve(BODY, model, times, rtol=1e-5, scheme=scheme)
    rest = 6.0 * volume / (volume + body)
    left = np.exp(-speed * (1 + body / volume) * times)
    assert found.values["P"][:, 0] == pytest.approx(rest + (6.0 - rest) * left, rel=1e-4)
    assert mean(found, "A") == pytest.approx(rest * (1 - left), rel=1e-4, abs=1e-6)
    assert total(found, "A") + total(found, "P") == pytest.approx(6.0 * volume, rel=1e-12)
    assert found.stats["mass_drift"] < 1e-12
    assert gains(found, "P")["come"] == pytest.approx(-flux(found, "come"))


def test_an_exchange_that_is_fast_from_zero_ends():
    species = [Species("A", "ball", 3, 0.0), Pool("P", 0.5, 0.0)]
    reactions = [Reaction("come", "rim", "k*(P - A)", {"A": 1, "P": -1}), Reaction("make", "P", "v", {"P": 1})]
    model = Model(PLACES, species, reactions, {"k": 1e6, "v": 2.0})
    found = solve(BODY, model, [0, 10.0], scheme="implicit")
    assert found.stats["steps"] < 200
    whole = total(found, "A") + total(found, "P")
    assert whole[-1] == pytest.approx(2.0 * 0.5 * 10, rel=1e-4)
    assert mean(found, "A")[-1] == pytest.approx(found.values["P"][-1, 0], rel=1e-2)


@pytest.mark.parametrize("scheme", ["implicit", "imex"])
def test_growth_that_all_share(scheme):
    """A' = k A (1 - mean(A)/K): the mean is logistic, and every node keeps its share of it."""
    model = Model(
        PLACES,
        [Species("A", "ball", 0, "1 + 0.5*x")],
        [Reaction("grow", "ball", "k*A*(1 - mean(A)/K)", {"A": 1})],
        {"k": 2.0, "K": 5.0},
    )
    times = np.array([0, 0.5, 1.0, 3.0])
    found = solve(BODY, model, times, rtol=1e-6, scheme=scheme)
    start = mean(found, "A")[0]
    course = 5 / (1 + (5 / start - 1) * np.exp(-2 * times))
    assert found.values["A"] == pytest.approx(np.outer(course / start, found.values["A"][0]), rel=1e-5)


def test_totals_and_means_are_those_of_the_solution():
    """Rates that write a mean or total down: its integral over time is what the solution's own says."""
    model = Model(
        PLACES,
        [Species("A", "ball", 0, "1 + 0.5*x"), Species("R", "rim", 0, "2 + z"), Pool("P", 1.0), Pool("Q", 1.0)],
        [
            Reaction("a", "P", "total(A) + mean(R)", {"P": 1}),
            Reaction("b", "Q", 'total(R, "rim") + mean(A, rim)', {"Q": 1}),
        ],
    )
    found = solve(BODY, model, [0, 1.0])
    last = {name: Quantity("mean", name, at=1.0).value(found) for name in ("A", "R", "P", "Q")}
    at_rim = Quantity("mean", "A", place="rim", at=1.0).value(found)
    assert last["P"] == pytest.approx(total(found, "A")[0] + last["R"], rel=1e-9)
    assert last["Q"] == pytest.approx(total(found, "R")[0] + at_rim, rel=1e-9)


def test_without_a_mesh_it_is_the_ordinary_differential_equation():
    species = [Species("A", "ball", 3, 1.0), Species("R", "rim", 1, 4.0), Pool("P", 0.5, 2.0)]
    reactions = [
        Reaction("in", "rim", "k*(P*R - A/(1 + A))", {"A": 1, "P": -1, "R": -1}),
        Reaction("crowd", "ball", "0.1*mean(A)*total(R)/(5 + total(R))", {"A": 1}),
        Reaction("leak", "P", "0.2*P", {"P": -1}),
    ]
    model, times = Model(PLACES, species, reactions, {"k": 0.3}), np.array([0, 0.5, 3.0])
    found = solve({"ball": 4.0, "rim": 12.0}, model, times, rtol=1e-7)

    def slopes(t, y):
        a, r, p = y
        event = 0.3 * (p * r - a / (1 + a))
        return [event * 3 + 0.1 * a * 12 * r / (5 + 12 * r), -event, -event * 24 - 0.2 * p]

    truth = solve_ivp(slopes, (0, 3), [1, 4, 2], "LSODA", times, rtol=1e-11, atol=1e-12).y
    for row, name in enumerate("ARP"):
        assert found.values[name][:, 0] == pytest.approx(truth[row], rel=1e-6), name


def test_rest_with_a_pool():
    model = Model(
        PLACES,
        [Species("A", "ball", 1, 1.0), Pool("P", 2.0, 0.5)],
        [Reaction("out", "rim", "k*(A - 2*P)", {"A": -1, "P": 1})],
        {"k": 1.0},
    )
    found = steady(BODY, model)
    body, ours = total(found, "A")[0], total(found, "P")[0]
    assert found.values["A"][0] == pytest.approx(2 * found.values["P"][0, 0], rel=1e-4)
    assert body + ours == pytest.approx(BODY.volumes.sum() + 1.0, rel=1e-10)


def test_files_and_questions(tmp_path, caplog):
    model = everything()
    model.to_toml(tmp_path / "model.toml")
    assert Model.from_toml(tmp_path / "model.toml") == model
    found = solve(BODY, model, [0, 0.01, 0.02], checkpoint=tmp_path / "run.npz", observe={"P": Quantity("mean", "P")})
    mc.save(tmp_path / "run.zip.npz", found)
    again = mc.load(tmp_path / "run.zip.npz")
    assert again.model == model
    assert all(np.array_equal(again.values[name], found.values[name]) for name in found.values)
    assert np.array_equal(found.observed["P"], found.values["P"][:, 0])
    assert Quantity("mean", "P").unit_in(model, BODY) == "molecule/um^3"
    assert Quantity("flux", "turn", place="P").value(found) == pytest.approx(flux(found, "turn"))
    whole = Quantity("flux", "P").value(found)
    assert whole == pytest.approx(sum(gains(found, "P").values()))
    with caplog.at_level(logging.WARNING, "meshcell"):
        mc.save(tmp_path / "run.pvd", found)
    assert "pools have no places and are left out: P, Q" in caplog.text
    assert mc.estimate(found).shape == (len(BODY.tets),)
    assert mc.check(found).ok
    for ask in (
        lambda: Quantity("value", "P", point=(0, 0, 0)).value(found),
        lambda: profile(found, "P", "rim"),
        lambda: mc.plot(found, "P", save=tmp_path / "p.png"),
    ):
        with pytest.raises(ValueError, match="P' is a pool, which lies nowhere"):
            ask()
    with pytest.raises(ValueError, match="A' does not live there"):
        Quantity("mean", "A", place="P").value(found)


def test_a_checkpoint_with_pools_goes_on_to_the_byte(tmp_path, monkeypatch):
    from meshcell.solving import stepping

    model, times = everything(), np.linspace(0, 0.05, 6)
    whole = solve(BODY, model, times)
    calls, check = [], stepping.Stepper._advance

    def interrupted(self, *given, **pace):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        check(self, *given, **pace)

    monkeypatch.setattr(stepping.Stepper, "_advance", interrupted)
    first = solve(BODY, model, times, checkpoint=tmp_path / "half.npz")
    assert "interrupted" in first.message
    monkeypatch.setattr(stepping.Stepper, "_advance", check)
    rest = solve(BODY, model, times, checkpoint=tmp_path / "half.npz")
    assert all(np.array_equal(rest.values[name], whole.values[name]) for name in whole.values)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Pool("P"), "pool 'P' needs its volume"),
        (lambda: Pool("P", 0.0), "volume of pool 'P' should be positive"),
        (lambda: Pool("P", "3 um^2"), "volume of pool 'P'"),
        (lambda: Pool("P", 1.0, lambda xyz: xyz[:, 0]), "initial of pool 'P' should be one number"),
        (lambda: model_with("k*mean(B)"), "mean\\(B\\) in the rate of reaction 'r' should be of a species"),
        (lambda: model_with("k*mean(A, 'rom')"), "did you mean 'rim'"),
        (lambda: bind(model_with("k*mean(R, 'ball')"), BODY), "'R' lives in 'rim' and has no values all over 'ball'"),
        (lambda: model_with("k*total(A, rim)"), "would be no number of molecules"),
        (lambda: model_with("k*mean(A + R)"), "mean is of one species"),
        (lambda: model_with("k*A", home="P"), "reaction 'r' is in pool 'P', where only pools are, but uses 'A'"),
        (lambda: Model({**PLACES, "P": "core"}, [Pool("P", 1.0)]), "'P' is a pool and a compartment at once"),
        (lambda: bind(Model(PLACES, [Species("A", "ball", 0, "mean(A)")]), BODY), "mean is of species, and stands in"),
        (lambda: bind(Model(PLACES, [Pool("P", 1.0, "x")]), BODY), "should be the same everywhere in pool 'P'"),
    ],
)
def test_what_cannot_be_is_refused(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def model_with(rate, home="ball"):
    species = [Species("A", "ball", 0, 1.0), Species("R", "rim", 0, 1.0), Pool("P", 1.0)]
    change = {"P": 1} if home == "P" else {"A": 1}
    return Model(PLACES, species, [Reaction("r", home, rate, change)], {"k": 1.0})


def test_units_of_means_and_totals_are_checked():
    species = [Species("A", "ball", 0, "1 uM"), Pool("P", 1.0, "1 uM")]
    Model(PLACES, species, [Reaction("r", "rim", "k*total(A)", {"P": 1})], {"k": "1 1/um^2/s"})
    with pytest.raises(ValueError, match="total\\(A\\) in molecule; change the unit"):
        Model(PLACES, species, [Reaction("r", "rim", "k*total(A)", {"P": 1})], {"k": "1 um/s"})


def test_latex_of_means():
    text = model_with("k*mean(A)*total(R, rim)").latex()
    assert r"\langle A \rangle" in text
    assert r"\textstyle\int R_{\text{rim}}" in text


def test_part_of_a_compartment_that_only_the_mesh_knows():
    """A patch beside another region has no values of the species."""
    from meshcell.surfaces.patches import patch

    mesh = patch(box(3, names={1: "box"}), "spot", lambda p: p[:, 2] < 1e-9)
    model = Model(
        {"box": "box", "spot": "spot"},
        [Species("A", "box", 0, "z"), Pool("P", 1.0)],
        [Reaction("r", "P", "mean(A, spot) + mean(A)", {"P": 1})],
    )
    assert solve(mesh, model, [0, 2.0]).values["P"][-1, 0] == pytest.approx(2 * 0.5, rel=1e-9)
