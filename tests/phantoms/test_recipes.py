"""Recipes: TOML and back, and what ends in a clear error or a report."""

import re

import numpy as np
import pytest

import meshcell as mc
from gallery.crowds import mixed
from meshcell.phantoms import (
    Cluster,
    EllipsoidMembrane,
    Filament,
    HarmonicMembrane,
    Macromolecule,
    Microtubule,
    Recipe,
    SheetStack,
    SphereMembrane,
    SurfaceMembrane,
    TorusMembrane,
)
from meshcell.phantoms.crowds.recipes import from_toml, to_toml
from meshcell.phantoms.crowds.standins import standin


def test_recipes_come_back_from_toml():
    sample = mixed()
    text = to_toml(sample.recipe)
    assert to_toml(from_toml(text)) == text
    with pytest.raises(ValueError, match=re.escape("one of SphereMembrane")):
        from_toml('shape = [9, 9, 9]\nspacing = "1 nm"\n[[membranes]]\nkind = "Cube"\n')


def test_recipes_with_ranges_volumes_and_surfaces_make_the_same_sample(tmp_path):
    ball = mc.smooth(mc.extract(mc.Volume(np.pad(np.ones((5, 5, 5), np.uint8), 4), "3 nm", names={1: "b"})))
    labels = np.ones((80, 70, 60), np.uint8)
    labels[50:] = 2
    recipe = Recipe(
        (80, 70, 60),
        ("1 nm", 0.001, "10 angstrom"),
        membranes=(
            SurfaceMembrane("own", surface=ball, where="left"),
            SphereMembrane("vesicle", (0.001, 0.02), radius=("8 nm", 0.012), thickness=(0.003, "3.5 nm"), where="left"),
        ),
        filaments=(Filament("thread", 0.002, length=("10 nm", "30 nm"), least=0.005, where="right"),),
        macromolecules=(
            Macromolecule("map", 0.01, density=mc.Volume(standin("p97", 1e-3)[0], "1 nm"), where="right", tries=7),
            Cluster(
                "pair", (0.001, 0.002), (Macromolecule("hsp70", 2 / 3), Macromolecule("hsp90", 1 / 3)), where="right"
            ),
        ),
        tries=31,
        order="given",
        seed=2**60 + 1,
        within=mc.Volume(labels, "1 nm", names={1: "left", 2: "right"}),
    )
    sample = recipe.make()
    mc.save(tmp_path / "one", sample)
    again = mc.load(tmp_path / "one").recipe.make()
    assert again.motifs.tobytes() == sample.motifs.tobytes()
    assert again.density.data.tobytes() == sample.density.data.tobytes()
    assert again.report == sample.report


def test_ranges_are_drawn_for_each_membrane():
    vesicle = SphereMembrane("vesicle", 0.02, radius=(0.01, 0.02), thickness=(0.002, 0.005))
    made = mc.crowd((150, 150, 150), "1 nm", membranes=[vesicle], rng=0)
    radii = [np.ptp(surface.points[:, 0]) / 2 for surface in made.surfaces.values()]
    assert len(radii) >= 5 and 0.01 <= min(radii) < 0.015 < max(radii) <= 0.02


def test_the_order_is_open_to_the_user():
    species = [Macromolecule("hsp70", 0.02), Macromolecule("p97", 0.02)]
    given, largest = (
        mc.crowd((60, 60, 60), "1 nm", macromolecules=species, order=order, rng=0) for order in ("given", "largest")
    )
    assert given.motifs["species"][0] == "hsp70" and largest.motifs["species"][0] == "p97"


EMPTY = mc.Volume(np.zeros((4, 4, 4), np.float32), "1 nm")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"macromolecules": [Macromolecule("nothing", 0.1)]}, "be a stand-in, a file or a Volume; got 'nothing'"),
        ({"macromolecules": [Macromolecule("p97", 0.1)] * 2}, "twice: ['p97']"),
        ({"macromolecules": [Macromolecule("p97", 0.1, where="moon")]}, "moon"),
        ({"macromolecules": [Macromolecule("p97", 0.1, membrane="moon")]}, "one of []; got 'moon'"),
        ({"macromolecules": [Macromolecule("x", 0.1, density=EMPTY)]}, "density should have values above 0"),
        ({"macromolecules": [Macromolecule("p97", 0.1, level=2.0)]}, "the level too high"),
        ({"tries": 0}, "tries should be a whole number >= 1"),
        ({"order": "smallest"}, "order should be 'largest' or 'given'"),
        ({"shape": (30, 30)}, "shape should be three positive whole numbers"),
        ({"shape": (30, 30, 0.5)}, "shape should be three positive whole numbers"),
        ({"spacing": 0}, "spacing should be three positive lengths"),
        ({"spacing": "50 nm", "macromolecules": [Macromolecule("hsp70", 0.1)]}, "smaller than a voxel"),
        ({"within": mc.Volume(np.ones((3, 3, 3), np.uint8), "1 nm")}, "within should have the shape"),
        ({"membranes": [EllipsoidMembrane("m", 0.1, radius=(0.005, 0.02), eccentricity=0)]}, "should be reachable"),
    ],
)
def test_bad_recipes_name_the_culprit(arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        mc.crowd(**{"shape": (30, 30, 30), "spacing": "1 nm", "rng": 0} | arguments)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Macromolecule("p97", 25), "25 % is 0.25"),
        (lambda: Macromolecule("p97", float("nan")), "finite range"),
        (lambda: Macromolecule("", 0.1), "name should be"),
        (lambda: Macromolecule("a/b", 0.1), "without slashes"),
        (lambda: Macromolecule("x" * 65, 0.1), "1 to 64 signs"),
        (lambda: Macromolecule("p97", 0.1, tries=0), "tries of 'p97' should be a whole number >= 1"),
        (lambda: Macromolecule("p97", 0.1, cluster=0), "cluster of 'p97' should be at least 1"),
        (lambda: Macromolecule("p97", 0.1, gap=(-0.1, 0)), "gap of 'p97' should be at least 0"),
        (lambda: Macromolecule("p97", 0.1, near=(0.2, 0.1)), "finite range (low, high)"),
        (lambda: Macromolecule("p97", 0.1, near=(0.1, 0.2), membrane="m"), "not both"),
        (lambda: Macromolecule("p97", 0.1, clearance=-1), "clearance of 'p97' should be at least 0"),
        (lambda: Macromolecule("p97", 0.1, resolution=0), "resolution of 'p97' should be positive"),
        (lambda: Macromolecule("p97", 0.1, level=0), "level of 'p97' should be positive"),
        (lambda: Cluster("c", 0.1, ()), "members with weights"),
        (lambda: Cluster("c", 0.1, (Macromolecule("p97", 0.0),)), "members with weights"),
        (lambda: SphereMembrane("m", 0.1, thickness=(0.004, 0.003)), "finite range"),
        (lambda: SphereMembrane("m", 0.1, radius=-1), "radius of 'm' should be positive"),
        (lambda: SphereMembrane("m", 0.1, radius="3 s"), "radius of 'm' should be in um"),
        (lambda: SphereMembrane("m", 0.1, sigma=-1), "sigma of 'm' should be at least 0"),
        (lambda: EllipsoidMembrane("m", 0.1, eccentricity=2), "eccentricity of 'm' should be from 0 to 1"),
        (lambda: SheetStack("m", 0.1, sheets=0), "sheets of 'm' should be a whole number >= 1"),
        (lambda: HarmonicMembrane("m", 0.1, degree=1), "degree of 'm' should be a whole number >= 2"),
        (lambda: HarmonicMembrane("m", 0.1, roughness=-1), "roughness of 'm' should be at least 0"),
        (lambda: Filament("f", 0.1, rise=0), "rise of 'f' should be positive"),
        (lambda: Filament("f", 0.1, length=-1), "length of 'f' should be positive"),
        (lambda: Filament("f", 0.1, persistence=0), "persistence of 'f' should be positive"),
        (lambda: Filament("f", 0.1, branching=2), "branching of 'f' should be a probability"),
        (lambda: Filament("f", 0.1, bundle=1.5), "bundle of 'f' should be a whole number >= 1"),
        (lambda: Filament("f", 0.1, balls=((0, 0, 0, 0),)), "balls of 'f' should be rows"),
        (lambda: Microtubule("f", 0.1, protofilaments=2), "protofilaments of 'f' should be a whole number >= 3"),
    ],
)
def test_bad_ingredients_name_the_culprit(make, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        make()


def test_wrong_types_are_refused():
    with pytest.raises(TypeError, match="rng"):
        mc.crowd((30, 30, 30), "1 nm", rng=None)
    with pytest.raises(TypeError, match="membranes should be a list of SphereMembrane"):
        mc.crowd((30, 30, 30), "1 nm", membranes=[Macromolecule("p97", 0.1)], rng=0)
    with pytest.raises(TypeError, match="macromolecules should be a list of Macromolecule, Cluster"):
        mc.crowd((30, 30, 30), "1 nm", macromolecules=Macromolecule("p97", 0.1), rng=0)
    with pytest.raises(TypeError, match="surface of 'mine' should be a Surface; got NoneType"):
        SurfaceMembrane("mine")


@pytest.mark.parametrize(
    ("group", "item", "spacing", "said"),
    [
        ("macromolecules", Macromolecule("p97", 1.0), "1 nm", "10 tries in a row had no room"),
        ("macromolecules", Macromolecule("ribosome", 0.5), "1 nm", "no voxel has room"),
        ("membranes", SphereMembrane("m", 0.1, radius=0.5), "1 nm", "10 draws in a row"),
        ("membranes", TorusMembrane("m", 0.1, ring=0.5), "1 nm", "10 draws in a row"),
        ("membranes", HarmonicMembrane("m", 0.1, radius=0.2), "1 nm", "10 draws in a row"),
        ("filaments", Microtubule("f", 0.1), "1 nm", "10 starts in a row"),
        ("filaments", Filament("f", 0.1, balls=((0, 0, 0, 1e-5),)), "5 nm", "10 starts in a row"),
    ],
)
def test_what_cannot_be_met_ends_in_a_report(group, item, spacing, said):
    made = mc.crowd((20, 20, 14), spacing, **{group: [item]}, tries=10, rng=0)
    row = made.report[0]
    assert row.reached < row.asked and said in row.why and item.name in str(made)
    assert made.motifs["voxels"].sum() == np.count_nonzero(made.instances.data)


def test_molecules_of_a_membrane_that_found_no_place_are_reported():
    made = mc.crowd(
        (40, 40, 40), "1 nm", membranes=[SphereMembrane("m", 0.1, radius=0.1, tries=5)],
        macromolecules=[Macromolecule("channel", 0.1, membrane="m"), Macromolecule("hsp70", 0.01)], rng=0,
    )  # fmt: skip
    assert [row.why == "" for row in made.report] == [False, False, True]
    assert "no membrane 'm'" in made.report[1].why
