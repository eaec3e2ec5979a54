"""The commonest mistakes of a first day: each is answered by a message that leads to the fix."""

import warnings

import numpy as np
import pytest

import meshcell as mc
from gallery.meshes import ball

LABELS = np.zeros((6, 6, 6), np.uint8)
LABELS[2:4, 2:4, 2:4] = 1
VOLUME = mc.Volume(LABELS, "8 nm", names={1: "cytosol"})
SURFACE = mc.extract(VOLUME)
MESH = ball(1)
MODEL = mc.Model({"c": "ball"}, [mc.Species("A", "c", diffusion="1 um^2/s", initial="1 uM")])
SOLUTION = mc.solve(MESH, MODEL, [0, 0.01])


def message_of(call, kind=(TypeError, ValueError)):
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


# --- the wrong kind of thing ---


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        (lambda: mc.extract(LABELS), "needs a Volume; got ndarray of shape (6, 6, 6); make one: Volume("),
        (lambda: mc.extract(MESH), "got TetMesh; voxelize(mesh.surface, spacing)"),
        (lambda: mc.smooth(VOLUME), "needs a Surface; got Volume; extract(volume)"),
        (lambda: mc.smooth(MESH), "got TetMesh; give mesh.surface"),
        (lambda: mc.smooth("body.stl"), "got 'body.stl'; load(path)"),
        (lambda: mc.remesh(VOLUME, edge=0.1), "extract(volume)"),
        (lambda: mc.decimate(VOLUME, max_error=0.1), "extract(volume)"),
        (lambda: mc.repair(VOLUME), "extract(volume)"),
        (lambda: mc.voxelize(VOLUME, "8 nm"), "extract(volume)"),
        (lambda: mc.areas(VOLUME), "needs a Surface or a TetMesh; got Volume; extract(volume)"),
        (lambda: mc.enclosed_volumes(LABELS), "needs a Surface or a TetMesh; got ndarray"),
        (lambda: mc.angles(SOLUTION), "give solution.mesh"),
        (lambda: mc.quality(None), "got None"),
        (lambda: mc.topology(LABELS), "Volume(array, spacing)"),
        (lambda: mc.self_intersections(VOLUME), "extract(volume)"),
        (lambda: mc.check(LABELS), "Volume(array, spacing)"),
        (lambda: mc.check(SURFACE, against=LABELS), "Volume(array, spacing)"),
        (lambda: mc.tetrahedralize(LABELS, edge=0.1), "needs a Surface or a Volume; got ndarray"),
        (lambda: mc.improve(SURFACE), "needs a TetMesh; got Surface; tetrahedralize(surface, edge=...)"),
        (lambda: mc.solve(SURFACE, MODEL, [0, 1]), "tetrahedralize(surface, edge=...)"),
        (lambda: mc.solve(MODEL, MESH, [0, 1]), "solve(mesh, model, times) needs a TetMesh; got Model; its arguments"),
        (lambda: mc.solve(MESH, {"A": 1}, [0, 1]), "needs a Model; got dict; make one: Model("),
        (lambda: mc.solve(MESH, mc.Model, [0, 1]), "that is the type itself: make one, Model(...)"),
        (lambda: mc.steady(MODEL, MESH), "steady(mesh, model) needs a TetMesh"),
        (lambda: mc.mean(MESH, "A"), "needs a Solution; got TetMesh; solve(mesh, model, times)"),
        (lambda: mc.total("A", SOLUTION), "total(solution, species) needs a Solution; got 'A'; its arguments"),
        (lambda: mc.estimate(MESH), "solve(mesh, model, times)"),
        (lambda: mc.mark(SOLUTION), "estimate(solution)"),
        (lambda: mc.refine(SOLUTION, [0]), "give solution.mesh"),
        (lambda: mc.refine(MESH, mc.estimate(SOLUTION)), "mark(indicator)"),
        (lambda: mc.transfer(SOLUTION.values["A"], MESH), "refine(mesh, rows)"),
        (lambda: mc.patch(SURFACE, lambda p: p[:, 0] > 0, "top"), "patch(mesh, name, where) needs a str; got function"),
        (lambda: mc.project(LABELS, [0, 10]), "Volume(array, spacing)"),
        (lambda: mc.reconstruct(VOLUME, (6, 6, 6)), "project(volume, tilt_angles())"),
        (lambda: mc.distort(VOLUME, rng=0), "project(volume, tilt_angles())"),
        (lambda: mc.segment(LABELS), "Volume(array, spacing)"),
        (lambda: mc.clean(SURFACE), "voxelize(surface, spacing)"),
        (lambda: mc.dice(LABELS, LABELS), "Volume(array, spacing)"),
        (lambda: mc.plot(LABELS), "Volume(array, spacing)"),
        (lambda: mc.histogram(VOLUME), "extract(volume)"),
        (lambda: mc.film(SOLUTION, "a.gif", "A"), "film(path, solution, species) needs a str or a PathLike"),
        (lambda: mc.save(VOLUME, "swapped.npz"), "save(path, thing) needs a str or a PathLike; got Volume; its"),
        (lambda: mc.save("array.npz", LABELS), "Volume(array, spacing)"),
        (lambda: mc.load(VOLUME), "load(path) needs a str or a PathLike; got Volume"),
        (lambda: mc.Volume(VOLUME, "8 nm"), "voxels should be an array (nx, ny, nz)"),
    ],
)  # fmt: skip
def test_the_wrong_kind_of_thing(call, fix):
    assert fix in message_of(call)


def test_meshes_of_other_libraries_go_by_a_file():
    trimesh = pytest.importorskip("trimesh")
    assert "load(path)" in message_of(lambda: mc.smooth(trimesh.creation.box()), TypeError)


# --- names ---


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: mc.extract(VOLUME, regions=["cytosl"]), "'cytosol'"),
        (lambda: mc.solve(MESH, mc.Model({"c": "bal"}, MODEL.species), [0, 1]), "'ball'"),
        (lambda: mc.solve(MESH, mc.Model({"c": "ball", "m": ("bal", "outside")}, MODEL.species), [0, 1]), "'ball'"),
        (lambda: mc.solve(mc.patch(MESH, "spot", lambda p: p[:, 0] > 0),
                          mc.Model({"c": "ball", "m": "sopt"}, MODEL.species), [0, 1]), "'spot'"),
        (lambda: mc.solve(MESH, MODEL, [0, 1], atol={"a": 1}), "'A'"),
        (lambda: mc.total(SOLUTION, "a"), "'A'"),
        (lambda: mc.plot(SOLUTION, "a"), "'A'"),
        (lambda: mc.estimate(SOLUTION, species="a"), "'A'"),
        (lambda: mc.histogram(MESH, parts=["bal"]), "'ball'"),
        (lambda: mc.Model({"cyt": "ball"}, [mc.Species("A", "Cyt")]), "'cyt'"),
        (lambda: mc.Model({"c": "ball"}, MODEL.species, [mc.Reaction("r", "c", "k1*A", {"A": -1})], {"k_1": 1}),
         "'k_1'"),
        (lambda: mc.Model({"c": "ball"}, MODEL.species, [mc.Reaction("r", "c", "A", {"a": -1})]), "'A'"),
    ],
)  # fmt: skip
def test_misspelt_names_are_answered_with_the_nearest(call, meant):
    assert f"did you mean {meant}?" in message_of(call)


def test_the_pair_of_an_interface_too():
    with pytest.raises(KeyError, match="did you mean 'cytosol'"):
        mc.areas(SURFACE)["cytosl", "outside"]


def test_a_region_misspelt_in_one_compartment_of_two():
    text = message_of(lambda: mc.Model(
        {"cyt": "cytosl", "er": "er", "ERM": ("er", "cytosol")},
        [mc.Species("Ca", "cyt", initial="1 uM"), mc.Species("CaER", "er", initial="1 uM")],
        [mc.Reaction("leak", "ERM", "k*(CaER - Ca)", {"CaER": -1, "Ca": 1})], {"k": "1 um/s"},
    ))  # fmt: skip
    assert "compartment 'cyt' is 'cytosl'; did you mean 'cytosol'?" in text


# --- numbers without units ---


def warned(call):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        call()
    # Where the user's own line stands.
    assert all(item.filename == __file__ for item in seen)
    return " ".join(str(item.message) for item in seen)


def test_a_number_in_quotes_without_a_unit():
    text = warned(lambda: mc.Species("A", "c", initial="0.1"))
    assert "taken as 0.1 molecules/um^3 = 0.000166 uM" in text
    assert '"0.1 uM"' in text
    for fine in (0.1, "0", "0.1 uM", "1 + x", 0):
        assert warned(lambda fine=fine: mc.Species("A", "c", initial=fine)) == ""


def pump(v="30 molecule/um^2/s", half="0.2 uM", power=2, initial="1 uM"):
    species = [mc.Species("A", "c", initial=initial), mc.Species("B", "c", initial="1 uM")]
    rate = mc.Reaction("pump", "PM", "v*A**n/(K**n + A**n)", {"A": -1})
    return mc.Model({"c": "cell", "PM": ("cell", "outside")}, species, [rate], {"v": v, "K": half, "n": power})


def test_a_plain_number_among_units():
    assert "parameter 'v' = 30, " in warned(lambda: pump(v=30))
    assert "units of reaction 'pump' are not checked" in warned(lambda: pump(v=30))
    assert "initial of species 'A' = 60 molecule/um^3" in warned(lambda: pump(initial=60))
    # A Hill coefficient is a pure number, and who writes no units at all has chosen the base units.
    assert warned(pump) == ""
    plain = [mc.Species("A", "c", initial=60)]
    assert warned(lambda: mc.Model({"c": "cell"}, plain, [mc.Reaction("r", "c", "k*A", {"A": -1})], {"k": 3})) == ""


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([1.0], r"nothing is simulated; for the state at 1 s give times=\[0, 1\]"),
        (np.linspace(1, 1.01, 3), r"begin at 1 s, where the initial values hold: .* put 0 in front"),
    ],
)
def test_times_that_do_not_begin_at_zero(times, said):
    with pytest.warns(UserWarning, match=said) as seen:
        mc.solve(MESH, MODEL, times)
    assert seen[0].filename == __file__


@pytest.mark.parametrize("times", [[0.0], [0, 0.01], [-0.01, 0.0]])
def test_times_that_need_no_word(times):
    assert warned(lambda: mc.solve(MESH, MODEL, times)) == ""


# --- lengths and angles ---


@pytest.mark.parametrize("method", ["auto", "lattice"])
def test_an_edge_longer_than_the_body(method):
    text = message_of(lambda: mc.tetrahedralize(VOLUME, edge=20, method=method), ValueError)
    assert "edge should be shorter than the body" in text
    assert 'if nm are meant, write edge="20 nm"' in text
    assert "got '1 um'" in message_of(lambda: mc.remesh(SURFACE, edge="1 um"), ValueError)


def test_contrast_transfer_of_a_slab_on_its_edge():
    noise = mc.Volume(np.random.default_rng(0).random((8, 8, 8)), "1 nm")
    for angle in (90, -90, 89.9, 270):
        with pytest.raises(ValueError, match=f"tilted by at most 85 degrees; got {angle:g} degrees at view 1"):
            mc.distort(mc.project(noise, [0, angle]), ctf=mc.CTF(), rng=0)
    assert np.isfinite(mc.distort(mc.project(noise, [0, -85]), ctf=mc.CTF(), rng=0).images).all()
