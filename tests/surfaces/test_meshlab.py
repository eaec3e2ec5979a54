"""MeshLab's filters behind one function: what goes in and comes out is a Surface, what goes wrong is said."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from gallery.meshes import ball
from meshcell.core.errors import MeshError
from meshcell.core.types import Surface
from meshcell.geometry.measures import enclosed_volumes
from meshcell.io import save
from meshcell.surfaces import meshlab_filters as module
from meshcell.surfaces.meshlab_filters import meshlab

needs_it = pytest.mark.skipif(find_spec("pymeshlab") is None, reason="pymeshlab is not installed")


def sphere():
    return ball(3, names={1: "cell"}).surface


def test_without_it_the_way_to_get_it_is_said(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "meshcell\[meshlab\]"'):
        meshlab(sphere())


@needs_it
def test_what_it_cannot_take_is_refused_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(module.native, "run_limited", lambda *_, **__: pytest.fail("it was started"))
    with pytest.raises(MeshError, match=r"surfaces of one region; this one has 2 interfaces ") as caught:
        meshlab(ball(2, core=0.5, names={1: "shell", 2: "core"}).surface)
    assert len(caught.value.where)
    with pytest.raises(FileNotFoundError, match=r"nothing\.x3d: there is no such file"):
        meshlab(tmp_path / "nothing.x3d")
    with pytest.raises(ValueError, match=r"\(n, 3\) points, .*got an array of shape \(5, 4\)"):
        meshlab(np.zeros((5, 4)))


@needs_it
def test_a_surface_comes_back_as_it_was():
    given = sphere()
    same = meshlab(given)
    assert np.array_equal(same.points, given.points)
    assert same.names[1] == "cell"
    assert enclosed_volumes(same) == pytest.approx(enclosed_volumes(given), rel=1e-12)
    # From the other side.
    turned = Surface(given.points, given.triangles[:, ::-1], given.sides[:, ::-1], given.names)
    assert enclosed_volumes(meshlab(turned)) == pytest.approx(enclosed_volumes(given), rel=1e-12)


@needs_it
def test_holes_close():
    given = sphere()
    corner = np.flatnonzero((given.triangles == given.triangles[0, 0]).any(axis=1))
    torn = Surface(given.points, np.delete(given.triangles, corner, axis=0), np.delete(given.sides, corner, axis=0))
    closed = meshlab(torn, ("holes", {"maxholesize": 30}))
    assert len(closed.triangles) == len(torn.triangles) + len(corner) - 2
    assert enclosed_volumes(closed)["label 1"] == pytest.approx(enclosed_volumes(given)["cell"], rel=0.02)


@needs_it
def test_points_become_a_surface():
    """Of the unit ball, off by its curvature between points; with normals and without, outward in any case."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((4000, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    for cloud, steps in ((points, ("normals", "poisson")), (np.hstack([points, points]), ("poisson",))):
        made = meshlab(cloud, *steps, names={3: "cell"})
        assert enclosed_volumes(made)["cell"] == pytest.approx(4 / 3 * np.pi, rel=0.01)
        assert np.abs(np.linalg.norm(made.points, axis=1) - 1).max() < 0.03
    with pytest.raises(MeshError, match='a cloud of points needs "normals" and "poisson"'):
        meshlab(points)


@needs_it
def test_lengths_have_units():
    given = sphere()
    made = [
        meshlab(given, ("meshing_isotropic_explicit_remeshing", {"iterations": 5, "targetlen": length}))
        for length in ("300 nm", "0.3 um", f"{0.3 / np.linalg.norm(np.ptp(given.points, axis=0)):.17%}")
    ]
    edges = made[0].points[made[0].triangles]
    assert np.linalg.norm(edges - np.roll(edges, 1, axis=1), axis=2).mean() == pytest.approx(0.3, rel=0.2)
    assert all(len(other.triangles) == len(made[0].triangles) for other in made)


@needs_it
def test_files_of_its_formats_are_read(tmp_path):
    given = sphere()
    save(tmp_path / "cell body.off", given)
    made = meshlab(str(tmp_path / "cell body.off"))
    assert made.names[1] == "cell body"
    assert enclosed_volumes(made)["cell body"] == pytest.approx(enclosed_volumes(given)["cell"], rel=1e-5)


@needs_it
def test_wrong_filters_and_options_are_named():
    with pytest.raises(ValueError, match=r"no filter 'poison'; did you mean 'poisson'\?"):
        meshlab(sphere(), "poison")
    with pytest.raises(ValueError, match=r"refused: .*nope.*meshing_close_holes"):
        meshlab(sphere(), ("holes", {"nope": 3}))


def test_it_is_not_imported_here():
    assert "pymeshlab" not in sys.modules
