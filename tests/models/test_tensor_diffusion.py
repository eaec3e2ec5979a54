"""Diffusion that differs from way to way: exact where P1 is, of second order elsewhere, the same in every spelling."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import meshcell as mc
from gallery.meshes import ball, box, slope
from meshcell.core.units import registry
from meshcell.geometry import finite_elements as fem
from meshcell.models.binding import bind
from meshcell.models.model import Model
from meshcell.models.parameters import Field
from meshcell.models.species import Reaction, Species

PLACES = {"in": "box", "PM": ("box", "outside")}
WAVE = np.array([1.0, 3.0, -2.0])
DROP = "exp(-((x - 0.5)**2 + (y - 0.5)**2 + (z - 0.5)**2)/w)"


def turned(*sizes):
    """A tensor with these eigenvalues along axes that are none of the mesh's."""
    R = Rotation.from_rotvec([0.3, 0.7, -0.4]).as_matrix()
    D = R @ np.diag(sizes) @ R.T
    return (D + D.T) / 2


def rows(tensor):
    return tuple(tuple(row) for row in np.asarray(tensor).tolist())


def one(diffusion, parameters=None, home="in", places=PLACES, **rest):
    return Model(places, [Species("u", home, diffusion, **({"initial": "1 + x*y"} | rest))], (), parameters or {})


def bound(mesh, model):
    return bind(model, mesh).species["u"]


# --- numbers ---


def test_a_linear_field_is_exact():
    mesh = box(3, (1.0, 1.3, 0.7))
    model = one(rows(turned(1, 0.1, 0.01)), fixed={"PM": "1 + x - 2*y + 3*z"}, signed=True, initial=0)
    u = mc.steady(mesh, model, rtol=1e-10).values["u"][-1]
    np.testing.assert_allclose(u, 1 + mesh.points @ [1, -2, 3], atol=1e-8)


def test_what_flows_through_two_layers_of_fibres_is_exact():
    mesh = box(4, region=lambda c: np.where(c[:, 0] < 0.5, 1, 2), names={1: "left", 2: "right"})
    left = ((1, "D/2", 0), ("0.5 um^2/s", "D", 0), (0, 0, "3*D"))
    given = {"left": left, "right": ((0.25, -0.1, 0), (-0.1, 1, 0), (0, 0, 2))}
    # Along x flow s + 1/2 a on the left and f/4 - a/10 on the right, with u = s x + a y and f x + a y + const.
    s, a, f = 1.0, 2.0, 8.8
    exact = f"where(x < 0.5, {s}*x, {s}/2 + {f}*(x - 0.5)) + {a}*y"
    places = {"in": "left + right", "PM": ("left + right", "outside")}
    model = one(given, {"D": "1 um^2/s"}, places=places, fixed={"PM": exact}, initial=0)
    solution = mc.steady(mesh, model, rtol=1e-10)
    x, y, _ = mesh.points.T
    np.testing.assert_allclose(
        solution.values["u"][-1], np.where(x < 0.5, s * x, s / 2 + f * (x - 0.5)) + a * y, atol=1e-8
    )
    # Slopes jump along x, and along y flows do, which no face between the layers sees.
    assert np.linalg.norm(mc.estimate(solution)) < 1e-7


def test_a_plane_wave_decays_to_second_order():
    D, errors, h = turned(1, 0.3, 0.1), [], (1 / 8, 1 / 16)
    decay = WAVE @ D @ WAVE
    wave = "exp(-decay*t)*cos(a*x + b*y + c*z)"
    given = dict(zip("abc", WAVE, strict=True)) | {"decay": decay}
    for n in (8, 16):
        mesh = box(n)
        model = one(rows(D), given, fixed={"PM": wave}, initial="cos(a*x + b*y + c*z)", signed=True)
        u = mc.solve(mesh, model, [0, 0.1], rtol=1e-6).values["u"][-1]
        errors.append(np.abs(u - np.exp(-0.1 * decay) * np.cos(mesh.points @ WAVE)).max())
    assert slope(h, errors) == pytest.approx(2, abs=0.15)
    assert errors[1] < 1e-3


def test_unity_times_a_number_is_that_number():
    mesh = box(4)
    there, number = bound(mesh, one(rows(2 * np.eye(3)))), bound(mesh, one(2))
    assert (there.diffusion, number.diffusion) == (2, 2)
    K, plain = (fem.stiffness(mesh.points, mesh.tets, shares) for shares in (there.shares, None))
    assert abs(K - plain).max() < 1e-14
    a, b = (mc.solve(mesh, one(D), [0, 0.01]) for D in (rows(2 * np.eye(3)), 2))
    np.testing.assert_allclose(a.values["u"], b.values["u"], rtol=1e-12)
    np.testing.assert_allclose(mc.estimate(a), mc.estimate(b), rtol=1e-7)


def test_an_interface_knows_nothing_of_what_points_out_of_it():
    mesh = ball(3)
    normals = mesh.area_vectors / mesh.areas[:, None]
    places = {"in": "ball", "PM": ("ball", "outside")}
    outward = normals[:, :, None] * normals[:, None, :]
    found = [
        bound(mesh, one(Field(np.eye(3) + c * outward), home="PM", places=places, initial=1)) for c in (-1, 0, 5.0)
    ]
    for item in found:
        assert item.diffusion == pytest.approx(1, rel=1e-14)
        np.testing.assert_allclose(item.shares, np.eye(3) - outward, atol=1e-14)
    plain = fem.stiffness(mesh.points, mesh.facets)
    assert abs(fem.stiffness(mesh.points, mesh.facets, found[2].shares) - plain).max() < 1e-13
    # Along one way alone, a linear field flows by that way's share.
    K = fem.stiffness(mesh.points, mesh.facets, np.broadcast_to(np.diag([1.0, 0, 0]), (len(mesh.facets), 3, 3)))
    x = mesh.points[:, 0]
    assert x @ K @ x == pytest.approx(mesh.areas @ (1 - normals[:, 0] ** 2) ** 2, rel=1e-12)


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_molecules_are_kept(rtol):
    for sizes in ((1, 1e-3, 1e-3), (1, 0, 0)):
        model = one(rows(turned(*sizes)), {"w": 0.01}, initial=DROP)
        assert mc.solve(box(5), model, [0, 0.01, 0.1], rtol=rtol).stats["mass_drift"] < 1e-12


def test_where_values_undershoot_the_run_and_the_search_go_on(caplog):
    D, mesh = rows(turned(1, 1e-3, 1e-3)), box(6)
    species = [Species(name, "in", D, DROP) for name in "uv"]
    both = Reaction("meet", "in", "k*u*v", {"u": -1, "v": -1})
    solution = mc.solve(mesh, Model(PLACES, species, [both], {"k": 10, "w": 0.005}), [0, 0.001, 0.01])
    # It would go unseen if nothing undershot.
    assert solution.stats["undershoot"] > 0.01
    assert "diffusion by tensors (u, v) does so beside steep fronts" in caplog.text
    ways = [Reaction("made", "in", DROP, {"u": 1}), Reaction("lost", "in", "u/tau", {"u": -1})]
    model = Model(PLACES, [Species("u", "in", D, 0)], ways, {"w": 0.005, "tau": 1})
    rest, late = mc.steady(mesh, model, rtol=1e-8), mc.solve(mesh, model, [0, 20], rtol=1e-6)
    assert rest.values["u"].min() < -0.01 * rest.values["u"].max()
    np.testing.assert_allclose(rest.values["u"][-1], late.values["u"][-1], atol=1e-5 * rest.values["u"].max())


def test_a_reaction_that_takes_what_is_not_there_is_still_refused():
    model = Model(PLACES, [Species("u", "in", rows(turned(1, 0.1, 0.1)), 1.0)], [Reaction("s", "in", "2", {"u": -1})])
    with pytest.raises(mc.SolveError, match="no reaction should take what is not there"):
        mc.solve(box(3), model, [0, 1])


@pytest.mark.parametrize("sizes", [(1, 0.1, 0.1), (1, 1, 0.01)])
def test_the_estimate_is_about_the_true_error(sizes):
    mesh, D = box(10), turned(*sizes)
    drop = np.exp(-((mesh.points - 0.5) ** 2).sum(axis=1) / 0.04)
    solution = mc.Solution(mesh, one(rows(D)), [0.0], {"u": drop[None]}, {"u": np.arange(len(drop))})
    # Four points of a rule of degree 2.
    weights = np.full((4, 4), 0.1381966011250105) + 0.4472135954999580 * np.eye(4)
    places = np.einsum("qk,nkx->nqx", weights, mesh.points[mesh.tets])
    exact = -50 * (places - 0.5) * np.exp(-((places - 0.5) ** 2).sum(axis=2) / 0.04)[:, :, None]
    slopes = np.einsum("nk,nkx->nx", drop[mesh.tets], fem.gradients(mesh.points, mesh.tets))
    missed = exact - slopes[:, None]
    squares = mesh.volumes * np.einsum("nqx,xy,nqy->nq", missed, D, missed).mean(axis=1)
    whole = mesh.volumes @ np.einsum("nqx,xy,nqy->nq", exact, D, exact).mean(axis=1)
    indicator = mc.estimate(solution)
    assert np.linalg.norm(indicator) == pytest.approx(np.sqrt(squares.sum() / whole), rel=0.15)
    assert np.corrcoef(indicator, np.sqrt(squares))[0, 1] > 0.85


def test_cells_without_any_diffusion_can_be_estimated():
    mesh = box(3, region=lambda c: np.where(c[:, 0] < 0.4, 1, 2), names={1: "a", 2: "b"})
    model = one({"a": 0, "b": 1}, places={"in": "a + b"})
    assert np.isfinite(mc.estimate(mc.solve(mesh, model, [0, 0.01]))).all()


# --- spellings ---


def test_every_spelling_has_the_numbers_of_the_others():
    mesh, D = box(2), turned(2, 1, 0.5)
    many = np.broadcast_to(D, (len(mesh.tets), 3, 3))
    names = {f"D{k}": f"{value!r} um^2/s" for k, value in enumerate(D.ravel().tolist())}
    spelt = {
        "array": (D, {}),
        "lists": (D.tolist(), {}),
        "texts": ([[f"{value!r} um^2/s" for value in row] for row in D.tolist()], {}),
        "names": ([[f"D{3 * i + j}" for j in range(3)] for i in range(3)], names),
        "quantity": (registry().Quantity(D / 1e6, "mm^2/s"), {}),
        "cells": (many, {}),
        "field": (Field(many / 1e6, "mm^2/s"), {}),
        "quantities": (registry().Quantity(many, "um^2/s"), {}),
        "regions": ({"box": Field(many)}, {}),
    }
    exact = bound(mesh, one(rows(D)))
    assert exact.diffusion == pytest.approx(2, rel=1e-14)
    for way, (diffusion, parameters) in spelt.items():
        found = bound(mesh, one(diffusion, parameters))
        np.testing.assert_allclose(found.diffusion * found.shares, many, rtol=1e-13, err_msg=way)


def test_formulas_turn_with_the_place():
    mesh = box(3)
    model = one((("c*x", 0, 0), (0, "2*c*y", 0), (0, 0, "D")), {"D": "2 um^2/s", "c": "1 um/s"})
    x, y, _ = mesh.points[mesh.tets].mean(axis=1).T
    found = bound(mesh, model)
    expected = np.zeros((len(x), 3, 3))
    expected[:, 0, 0], expected[:, 1, 1], expected[:, 2, 2] = x, 2 * y, 2
    np.testing.assert_allclose(found.diffusion * found.shares, expected, atol=1e-14)


def test_tensors_come_back_from_files(tmp_path):
    text = (("2 um^2/s", "D/2", 0), ("D/2", "D", 0), (0, 0, 0.125))
    model = one(text, {"D": "1 um^2/s"}, initial="1 uM")
    model.to_toml(tmp_path / "m.toml")
    assert Model.from_toml(tmp_path / "m.toml") == model
    model.to_sbml(tmp_path / "m.xml", sizes={"in": 1, "PM": 6})
    assert Model.from_sbml(tmp_path / "m.xml") == model
    mesh = box(2)
    many = one(Field(np.broadcast_to(turned(1, 2, 3), (len(mesh.tets), 3, 3)), "um^2/s"))
    for own in (model, many):
        solution = mc.solve(mesh, own, [0, 0.01])
        mc.save(tmp_path / "s.npz", solution, overwrite=True)
        np.testing.assert_array_equal(mc.estimate(mc.load(tmp_path / "s.npz")), mc.estimate(solution))
    with pytest.raises(ValueError, match="diffusion of species u is a Field over one mesh"):
        many.to_toml(tmp_path / "f.toml")


def test_a_well_mixed_run_does_not_ask_for_it():
    mesh, decay = box(2), [Reaction("r", "in", "u", {"u": -1})]
    a, b = (Model(PLACES, [Species("u", "in", D, 1.0)], decay) for D in (rows(turned(1, 2, 3)), 1.0))
    runs = [mc.solve(mc.well_mixed(model, mesh), model, [0, 1]).values["u"] for model in (a, b)]
    np.testing.assert_array_equal(*runs)


def test_tables_and_equations_show_tensors():
    model = one((("D", 0, 0), (0, "D", 0), (0, 0, 0.5)), {"D": 1})
    assert "(D, 0, 0; 0, D, 0; 0, 0, 0.5)" in repr(model)
    assert r"\nabla \cdot \left(D_{\mathrm{u}} \nabla u\right)" in model.latex()
    assert "field of 4 tensors um^2/s" in repr(one(Field(np.tile(np.eye(3), (4, 1, 1)), "um^2/s")))


@pytest.mark.parametrize(
    ("diffusion", "parameters", "text"),
    [
        ([1, 2, 3], {}, r"or three rows of three, such as .*; got rows of 1, 1, 1"),
        (np.ones((2, 3)), {}, r"got rows of 3, 3$"),
        (
            ((1, 2, 0), (0, 1, 0), (0, 0, 1)),
            {},
            r"should be a symmetric tensor; it is not: \(1, 2, 0; 0, 1, 0; 0, 0, 1",
        ),
        (
            ((1, 2, 0), (2, 1, 0), (0, 0, 1)),
            {},
            r"no eigenvalue below 0 um\^2/s, as nothing diffuses uphill; it has -1;",
        ),
        (((1, "D", 0), ("D", 1, 0), (0, 0, 1)), {"D": 2}, r"no eigenvalue below 0 um\^2/s.* it has -1;"),
        (((1, 0, 0), (0, "D", 0), (0, 0, 1)), {"D": "1 um/s"}, r"entry yy of diffusion of species 'u' should be in um"),
        (((1, 0, 0), (0, 1, "3 nm"), (0, 0, 1)), {}, r"entry yz of diffusion of species 'u' should be in um\^2/s"),
        (((1, 0, 0), (0, 1, 0), (0, 0, "Dz")), {"D": 1}, r"entry zz of diffusion of species 'u': unknown name 'Dz'"),
        (((1, 0, 0), (0, 1, 0), (0, 0, np.nan)), {}, r"entry zz of diffusion of species 'u' should be finite"),
        (Field(np.tile(-np.eye(3), (2, 1, 1))), {}, r"it has -1 in row 0 of its Field"),
        (Field(np.tile(np.eye(3), (2, 1, 1)), "um"), {}, r"should be in um\^2/s; got a Field in um"),
        ("D", {"D": np.tile(np.eye(3), (2, 1, 1))}, r"parameter 'D' should be one number.* which only a diffusion can"),
    ],
)
def test_tensors_that_cannot_be_are_refused(diffusion, parameters, text):
    with pytest.raises(ValueError, match=text):
        one(diffusion, parameters)


def test_what_only_the_mesh_knows_is_refused_there():
    mesh = box(2)
    with pytest.raises(
        ValueError, match=r"no eigenvalue below 0 um\^2/s.* it has -0\.\d+ at \[.*\] um, from \(x - 0.3"
    ):
        bind(one((("x - 0.3", 0, 0), (0, 1, 0), (0, 0, 1))), mesh)
    with pytest.raises(ValueError, match=r"finite and at least 0 um\^2/s everywhere; it is not in 48 of 48 cells"):
        bind(one((("1/(x - x)", 0, 0), (0, 1, 0), (0, 0, 1))), mesh)
    with pytest.raises(ValueError, match=r"should have one value per node \(27\) or cell \(48 tetrahedra\).*got 27"):
        bind(one(np.tile(np.eye(3), (27, 1, 1))), mesh)
    with pytest.raises(ValueError, match="a Field of tensors should be at 'cells'"):
        Field(np.tile(np.eye(3), (27, 1, 1)), at="nodes")
    with pytest.raises(ValueError, match="initial of species 'u' should be one number per node or cell"):
        one(1, initial=np.tile(np.eye(3), (48, 1, 1)))
    with pytest.raises(ValueError, match=r"one 3 x 3 tensor for each of the 48 cells; got shape \(3, 3, 3\)"):
        fem.stiffness(mesh.points, mesh.tets, np.ones((3, 3, 3)))


def test_rounding_in_single_precision_is_no_error():
    mesh, way = box(2), np.array([0.6, 0.64, 0.48], np.float32)
    fibres = np.broadcast_to(np.outer(way, way), (len(mesh.tets), 3, 3)).copy()
    fibres[:, 0, 1] *= 1 + 1e-7
    found = bound(mesh, one(Field(fibres)))
    assert np.linalg.eigvalsh(found.shares).min() > -1e-15
    assert (found.shares == found.shares.transpose(0, 2, 1)).all()
