"""Samples of crowded phantoms: seeds, compartments, reports, files, data sets and pictures."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import meshcell as mc
from gallery.crowds import FILAMENTS, MACROMOLECULES, MEMBRANES, mixed, turned
from meshcell.phantoms import Macromolecule
from meshcell.phantoms.crowds.recipes import to_toml
from meshcell.phantoms.crowds.sample_files import star_angles

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


def test_star_angles_are_those_of_the_published_matrix():
    # Heymann, Chagoyen and Belnap, J. Struct. Biol. 151 (2005) 196: rot, tilt, psi about z, the new y, the new z turn
    # the frame, so that the matrix of Rz(psi) Ry(tilt) Rz(rot), written out, takes the reference to the particle.
    turns = [turned(seed) for seed in range(50)] + [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]]
    for turn, angles in zip(turns, np.radians(star_angles(np.array(turns))), strict=True):
        (a, b, c), (p, q, r) = np.cos(angles), np.sin(angles)
        A = [
            [c * b * a - r * p, c * b * p + r * a, -c * q],
            [-r * b * a - c * p, -r * b * p + c * a, r * q],
            [q * a, q * p, b],
        ]
        np.testing.assert_allclose(A, Rotation.from_quat(turn, scalar_first=True).as_matrix(), atol=1e-7)


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
