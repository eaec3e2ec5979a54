"""The unit that a scene tells is the unit of its points."""

import re
import warnings
import zipfile

import numpy as np
import pytest

from gallery.things import closed_body
from meshcell.io import load, save

UNITS = {"micron": 1, "millimeter": 1e3, "centimeter": 1e4, "inch": 25400, "foot": 304800, "meter": 1e6, None: 1e3}


def ball(path, radius):
    """A ball in a file of trimesh's, which means millimetres."""
    trimesh = pytest.importorskip("trimesh")
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.icosphere(2, radius=radius), geom_name="cell")
    scene.export(path)
    return path


def edited(path, old, new):
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part.replace(old, new))


@pytest.mark.parametrize("unit", UNITS)
def test_3mf_is_read_in_its_unit(tmp_path, unit):
    path = ball(tmp_path / "a.3mf", 5 / UNITS[unit])
    edited(path, b' unit="millimeter"', b"" if unit is None else f' unit="{unit}"'.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.ptp(load(path).points, axis=0) == pytest.approx(10, rel=1e-6)
    # What the caller says wins.
    assert np.ptp(load(path, unit="nm").points, axis=0) == pytest.approx(10e-3 / UNITS[unit], rel=1e-6)


def test_a_unit_that_3mf_does_not_have_is_named(tmp_path):
    path = ball(tmp_path / "a.3mf", 5)
    edited(path, b"millimeter", b"parsec")
    with pytest.raises(ValueError, match=r"should have a unit of micron, .*; got 'parsec'"):
        load(path)


def test_a_body_of_millimetres_is_told(tmp_path):
    with pytest.warns(UserWarning, match="the body is .* long, which no cell is"):
        load(ball(tmp_path / "a.3mf", 5))


def test_ours_is_in_microns(tmp_path):
    own = closed_body()
    save(tmp_path / "a.3mf", own)
    with zipfile.ZipFile(tmp_path / "a.3mf") as archive:
        assert b'unit="micron"' in archive.read("3D/3dmodel.model")
        assert archive.testzip() is None
    again = load(tmp_path / "a.3mf")
    np.testing.assert_array_equal(np.sort(again.points, axis=0), np.sort(own.points, axis=0))


@pytest.mark.parametrize(("metres", "factor"), [("1e-06", 1.0), ("0.001", 1e3), ("1.0", 1.0), ("1e-09", 1e-3)])
def test_collada_is_read_in_its_unit_unless_it_is_the_default(tmp_path, metres, factor):
    pytest.importorskip("collada")
    path = tmp_path / "a.dae"
    pytest.importorskip("trimesh").creation.icosphere(2, radius=5 / factor).export(path)
    unit = f'<unit name="own" meter="{metres}"/>'
    text = re.sub(r"<unit[^>]*/>|(?=</asset>)", unit, path.read_text(), count=1)
    path.write_text(text)
    assert np.ptp(load(path).points, axis=0) == pytest.approx(10, rel=1e-6)
