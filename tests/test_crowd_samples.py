"""Samples of crowded phantoms: seeds, compartments, reports, files, data sets and pictures."""

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import meshcell as mc
from crowd_things import FILAMENTS, MACROMOLECULES, MEMBRANES, mixed, turned
from meshcell.phantoms import (
    Macromolecule,
    Recipe,
    SphereMembrane,
)
from meshcell.phantoms.recipes import from_toml, to_toml
from meshcell.phantoms.sample_files import star_angles

NM = 1e-3


# --- samples ---


def test_same_seed_same_bytes():
    recipe = {"membranes": MEMBRANES[:2], "filaments": FILAMENTS[1:2], "macromolecules": MACROMOLECULES[:2]}
    a, b, c = (mc.crowd((90, 80, 80), "1 nm", **recipe, rng=seed) for seed in (5, 5, 6))
    for volume in ("density", "labels", "instances"):
        assert getattr(a, volume).data.tobytes() == getattr(b, volume).data.tobytes()
    assert a.motifs.tobytes() == b.motifs.tobytes() != c.motifs.tobytes()
    assert a.recipe.make().motifs.tobytes() == a.motifs.tobytes()


def test_a_species_that_fails_is_reported_and_shifts_no_label():
    species = [Macromolecule("ribosome", 0.9), Macromolecule("proteasome", 0.2), Macromolecule("hsp70", 0.01)]
    made = mc.crowd((60, 60, 20), "1 nm", macromolecules=species, rng=0)
    assert {1: "ribosome", 2: "proteasome", 3: "hsp70"}.items() <= made.labels.names.items()
    assert set(np.unique(made.labels.data)) >= {3}
    reached = {row.species: row for row in made.report}
    assert "no" in reached["ribosome"].why and reached["ribosome"].reached < 0.9
    assert reached["hsp70"].why == "" and "hsp70" in repr(made)


def test_compartments_have_their_own_crowd():
    labels = np.ones((60, 60, 60), np.uint8)
    labels[30:] = 2
    within = mc.Volume(labels, "1 nm", names={1: "cytosol", 2: "nucleus"})
    species = [Macromolecule("p97", 0.03, where="cytosol"), Macromolecule("hsp70", 0.03, where="nucleus")]
    made = mc.crowd((60, 60, 60), "1 nm", macromolecules=species, within=within, rng=0)
    assert (within.data[made.labels.data == 3] == 1).all() and (within.data[made.labels.data == 4] == 2).all()
    assert made.labels.names[1] == "cytosol" and all(row.why == "" for row in made.report)
    free = made.instances.data == 0
    np.testing.assert_array_equal(made.labels.data[free], within.data[free])


def test_a_sample_comes_back_from_its_folder(tmp_path):
    sample = mixed()
    mc.save(tmp_path / "one", sample)
    back = mc.load(tmp_path / "one")
    for volume in ("density", "labels", "instances"):
        np.testing.assert_array_equal(getattr(back, volume).data, getattr(sample, volume).data)
        assert getattr(back, volume).spacing == getattr(sample, volume).spacing
    assert back.motifs.tobytes() == sample.motifs.tobytes()
    assert back.labels.names == sample.labels.names and back.report == sample.report
    assert list(back.surfaces) == list(sample.surfaces)
    assert all((back.centrelines[name] == line).all() for name, line in sample.centrelines.items())
    assert to_toml(back.recipe) == to_toml(sample.recipe)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        mc.save(tmp_path / "one", sample)


def test_star_files_are_read_by_others(tmp_path):
    starfile = pytest.importorskip("starfile")
    sample = mixed()
    mc.save(tmp_path / "one", sample)
    blocks = starfile.read(tmp_path / "one" / "motifs.star")
    particles = blocks["particles"]
    places = particles[["rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ"]].to_numpy()
    np.testing.assert_allclose(places * NM, sample.motifs["position"], atol=1e-4 * NM)
    assert float(blocks["optics"]["rlnImagePixelSize"].iloc[0]) == 10


def test_star_angles_turn_the_particle_to_its_reference():
    turn = turned(3)
    there = Rotation.from_euler("ZYZ", star_angles(turn[None])[0], degrees=True)
    assert (there * Rotation.from_quat(turn, scalar_first=True)).magnitude() < 1e-7


def test_data_sets_go_on_and_do_not_depend_on_processes(tmp_path):
    recipe = Recipe((40, 40, 40), "1 nm", macromolecules=(Macromolecule("p97", (0.02, 0.08)),))
    alone = list(mc.samples(recipe, 3, rng=0, folder=tmp_path / "a"))
    shared = list(mc.samples(recipe, 3, rng=0, folder=tmp_path / "b", processes=2))
    assert [s.motifs.tobytes() for s in alone] == [s.motifs.tobytes() for s in shared]
    assert len({s.report[0].asked for s in alone}) == 3
    before = (tmp_path / "a" / "sample_00000" / "density.mrc").stat().st_mtime_ns
    longer = list(mc.samples(recipe, 4, rng=0, folder=tmp_path / "a"))
    assert (tmp_path / "a" / "sample_00000" / "density.mrc").stat().st_mtime_ns == before
    assert [s.motifs.tobytes() for s in longer[:3]] == [s.motifs.tobytes() for s in alone]
    with pytest.raises(ValueError, match="of another; use another folder"):
        next(mc.samples(recipe, 3, rng=1, folder=tmp_path / "a"))


def test_recipes_come_back_from_toml():
    sample = mixed()
    text = to_toml(sample.recipe)
    assert to_toml(from_toml(text)) == text
    with pytest.raises(ValueError, match=re.escape("one of SphereMembrane")):
        from_toml('shape = [9, 9, 9]\nspacing = "1 nm"\n[[membranes]]\nkind = "Cube"\n')


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"macromolecules": [Macromolecule("nothing", 0.1)]},
            "should be a stand-in, a file or a Volume; got 'nothing'",
        ),
        ({"macromolecules": [Macromolecule("p97", 0.1)] * 2}, "twice: ['p97']"),
        ({"tries": 0}, "tries should be a whole number >= 1"),
        ({"macromolecules": [Macromolecule("p97", 0.1, where="moon")]}, "moon"),
    ],
)
def test_errors_name_the_culprit(arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        mc.crowd((30, 30, 30), "1 nm", **arguments, rng=0)


def test_errors_of_ingredients():
    with pytest.raises(ValueError, match=re.escape("25 % is 0.25")):
        Macromolecule("p97", 25)
    with pytest.raises(ValueError, match="range"):
        SphereMembrane("vesicle", 0.1, thickness=(0.004, 0.003))
    with pytest.raises(TypeError, match="rng"):
        mc.crowd((30, 30, 30), "1 nm", rng=None)


# --- pictures ---


@pytest.mark.parametrize("kind", [None, "slice", "scene", "network", "bars"])
def test_pictures_are_not_blank(kind, tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.image import imread

    drawn = mc.plot(mixed(), kind=kind, size=(300, 200), title="crowd", save=tmp_path / "x.png")
    if hasattr(drawn, "close"):
        drawn.close()
    image = imread(tmp_path / "x.png")[..., :3]
    assert (image.min(axis=2) < 0.9).mean() > 0.02
    # Something has a colour, and is lit.
    assert (np.ptp(image, axis=2) > 0.3).mean() > 0.002


def test_pictures_show_the_species_that_are_asked_for(tmp_path):
    from matplotlib.image import imread

    for name, red in (("vesicle", False), ("haemoglobin", True)):
        mc.plot(mixed(), [name], kind="scene", size=(300, 200), save=tmp_path / "x.png").close()
        r, g, b = np.moveaxis(imread(tmp_path / "x.png")[..., :3], -1, 0)
        assert ((r > 0.3) & (g > 0.7 * r) & (b < 0.6 * r)).any() != red
        assert ((r > 0.2) & (g < 0.4 * r)).any() == red


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "film"}, "film"),
        ({"field": ["moon"], "kind": "scene"}, "no species is called 'moon'"),
        ({"at": 9.0}, "z should lie in the sample"),
        ({"kind": "scene", "view": (0, 0, 0), "size": (40, 40)}, "view should be the direction"),
    ],
)
def test_pictures_refuse_what_is_not_there(options, said):
    with pytest.raises(ValueError, match=said):
        mc.plot(mixed(), **options)
