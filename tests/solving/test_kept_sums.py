"""Sums of molecules are kept in every connected piece: what does not touch exchanges nothing."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import null_space

import meshcell as mc
from gallery.meshes import box, tet_mesh
from meshcell.models.binding import bind
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving import kept_sums
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.kept_sums import KeptSums, Pieces, connected


def apart(*regions):
    """Boxes side by side that do not touch, each of a region."""
    one = box(3)
    points = np.concatenate([one.points + np.array([2.0 * k, 0, 0]) for k in range(len(regions))])
    tets = np.concatenate([one.tets + k * len(one.points) for k in range(len(regions))])
    labels = np.repeat(np.array(regions, np.int32), len(one.tets))
    return tet_mesh(points, tets, labels, {1: "cyt", 2: "er"})


TWO = apart(1, 1)
PLACES = {"cyt": "cyt", "PM": ("cyt", "outside")}
# A thousand times as much in one piece as in the other, none of the product.
START = "where(x < 1.5, 1 + x, 0.001*(1 + y))"
BIND = [Reaction("bind", "cyt", "k*A*A - B", {"A": -2, "B": 1})]


def model(diffusion=3.0, speed=1.0, start=START, **fixed):
    species = [Species("A", "cyt", diffusion, start, **fixed), Species("B", "cyt", 0.1, 0)]
    return Model(PLACES, species, BIND, {"k": speed})


def in_pieces(solution):
    """(k, 2) kept sums A + 2 B of both boxes."""
    mass = Discretisation(bind(solution.model, solution.mesh))
    weights = mass.outward([mass.mass], np.zeros(1))["A"][0]
    sums = (solution.values["A"] + 2 * solution.values["B"]) * weights
    first = solution.mesh.points[solution.nodes["A"], 0] < 1.5
    return np.column_stack([sums[:, first].sum(axis=1), sums[:, ~first].sum(axis=1)])


@pytest.mark.parametrize("diffusion", [3.0, 1e5])
@pytest.mark.parametrize("scheme", ["implicit", "imex", "auto"])
def test_pieces_of_a_compartment_exchange_nothing(scheme, diffusion):
    times = np.linspace(0, 1, 4)
    solution = mc.solve(TWO, model(diffusion), times, rtol=1e-2, scheme=scheme)
    sums = in_pieces(solution)
    np.testing.assert_allclose(sums, np.broadcast_to(sums[0], sums.shape), rtol=1e-12)
    assert solution.stats["mass_drift"] < 1e-12
    assert sums[0, 0] > 500 * sums[0, 1]


def test_steady_states_keep_every_piece():
    rest = mc.steady(TWO, model(), rtol=1e-3)
    start = mc.solve(TWO, model(), [0, 1e-6])
    np.testing.assert_allclose(in_pieces(rest)[-1], in_pieces(start)[0], rtol=1e-12)


def test_a_piece_beside_the_other_gives_the_numbers_of_one_alone():
    alone = mc.solve(apart(1), model(), [0, 0.1, 1], rtol=1e-7)
    beside = mc.solve(TWO, model(), [0, 0.1, 1], rtol=1e-7)
    first = TWO.points[:, 0] < 1.5
    np.testing.assert_allclose(beside.values["A"][:, first], alone.values["A"], rtol=1e-5)


@pytest.mark.parametrize("scheme", ["implicit", "imex"])
def test_values_fixed_in_one_piece_leave_the_other_alone(scheme):
    mesh = mc.patch(TWO, "end", lambda points: points[:, 0] < 1e-9)
    places = PLACES | {"end": "end"}
    species = [replace(model().species[0], fixed={"end": "2 + t"}), model().species[1]]
    solution = mc.solve(mesh, Model(places, species, BIND, {"k": 1.0}), [0, 0.5, 1], rtol=1e-3, scheme=scheme)
    sums = in_pieces(solution)
    np.testing.assert_allclose(sums[:, 1], sums[0, 1], rtol=1e-12)
    assert sums[-1, 0] > 1.1 * sums[0, 0]
    assert solution.stats["mass_drift"] < 1e-12


def test_pieces_that_a_membrane_joins_keep_their_sum_together():
    mesh = box((4, 2, 2), (4.0, 1, 1), region=lambda c: 1 + (c[:, 0] % 2 > 1), names={1: "cyt", 2: "er"})
    species = [Species("C", "cyt", 1, "1 + x"), Species("E", "er", 2, "x*x")]
    places = {"cyt": "cyt", "er": "er", "ERM": ("cyt", "er")}
    leak = Reaction("leak", "ERM", "E - C", {"E": -1, "C": 1})
    problem = Discretisation(bind(Model(places, species, [leak]), mesh))
    # Two pieces each in a row: one sum of four parts. With the middle membrane shut there are two of two.
    ((kept, parts),) = problem.sums.groups
    assert kept.shape == (1, 1, 4)
    np.testing.assert_allclose(np.abs(kept), 0.5)
    outer = mc.patch(mesh, "outer", lambda points: np.isin(points[:, 0], [1, 3]))
    shut = replace(leak, compartment="outer")
    ((kept, parts),) = Discretisation(bind(Model(places | {"outer": "outer"}, species, [shut]), outer)).sums.groups
    assert kept.shape == (2, 1, 2)
    assert sorted(parts.ravel().tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("most", [500, 1])
def test_sums_are_those_that_no_event_changes(most, monkeypatch):
    monkeypatch.setattr(kept_sums, "MOST_JOINED", most)
    rng = np.random.default_rng(0)
    # Three species in four pieces each; A + B <-> C in pieces 0 ... 2, piece 3 of C is lost.
    species_of = np.repeat(np.arange(3), 4)
    events = np.zeros((4, 12))
    for piece in range(3):
        events[piece, [piece, 4 + piece, 8 + piece]] = -1, -1, 1
    events[3, 11] = -1
    labels, mass = np.repeat(np.arange(12), 5), rng.uniform(1, 2, 60)
    sums = KeptSums.of(mass, [slice(0, 20), slice(20, 40), slice(40, 60)], labels, sp.csr_array(events), species_of)
    exact = null_space(events).T
    stage, u = rng.standard_normal(60), rng.uniform(0, 1, 60)
    before = sums.molecules(stage)
    sums.restore(stage, u)
    after = sums.molecules(stage)
    np.testing.assert_allclose(exact @ after, 0, atol=1e-12)
    # What nothing keeps is left alone.
    assert after[11] == before[11]
    weights = sum(kept.shape[0] * kept.shape[1] for kept, _ in sums.groups)
    assert weights == len(exact)


def test_a_rate_is_levelled_in_closed_pieces_alone():
    K = sp.csr_array(sp.block_diag([[[1.0, -1.0], [-1.0, 1.0]], [[2.0, -1.0], [-1.0, 1.0]], [[0.0]]]))
    pieces = Pieces.of(K, np.array([1.0, 3.0, 1.0, 1.0, 2.0]))
    column = np.array([1.0, 2.0, 5.0, 6.0, 7.0])
    pieces.level(column)
    np.testing.assert_allclose(column, [-0.75, 0.25, 5, 6, 0], atol=1e-15)
    assert connected(K)[0] == 3


@pytest.mark.parametrize("diffusion", [1.0, 1e5])
def test_steep_diffusion_between_fixed_values_is_no_closed_system(diffusion):
    plain = box(4, names={1: "box"})
    x = plain.points[plain.facets][:, :, 0]
    mesh = replace(plain, patches={"left": np.flatnonzero((x == 0).all(1)), "right": np.flatnonzero((x == 1).all(1))})
    species = [Species("u", "box", diffusion, 0, fixed={"left": 1, "right": 3})]
    places = {"box": "box", "left": "left", "right": "right"}
    solution = mc.solve(mesh, Model(places, species), [0, 10], scheme="imex", rtol=1e-6)
    np.testing.assert_allclose(solution.values["u"][-1], 1 + 2 * mesh.points[:, 0], rtol=1e-5)
