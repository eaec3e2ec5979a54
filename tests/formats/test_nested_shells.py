"""Shells within a body are walls of its cavities, whichever way the file turns them."""

import itertools
import logging
import warnings

import numpy as np
import pytest

from meshcell.formats.shells import outward
from meshcell.geometry.measures import enclosed_volumes
from meshcell.io import load

trimesh = pytest.importorskip("trimesh")


def ball(radius, x=0.0, *, inward=False):
    made = trimesh.creation.icosphere(2, radius=radius)
    made.apply_translation([x, 0, 0])
    if inward:
        made.invert()
    return made


@pytest.mark.parametrize("ending", [".stl", ".ply", ".obj", ".off", ".glb"])
@pytest.mark.parametrize("turns", list(itertools.product([False, True], repeat=3)))
def test_a_cavity_is_no_part_of_the_body(tmp_path, ending, turns):
    shells = [ball(r, x, inward=i) for (r, x), i in zip(((1.0, 0.0), (0.5, 0.2), (0.2, 0.3)), turns, strict=True)]
    trimesh.util.concatenate(shells).export(tmp_path / f"a{ending}")
    sizes = [abs(shell.volume) for shell in shells]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        surface = load(tmp_path / f"a{ending}")
    # The third lies in the cavity: a body again.
    expected = sizes[0] - sizes[1] + sizes[2]
    assert sum(enclosed_volumes(surface).values()) == pytest.approx(expected, rel=1e-5)


def test_shells_that_may_be_bodies_are_told(tmp_path, caplog):
    trimesh.util.concatenate([ball(1.0), ball(0.5)]).export(tmp_path / "a.stl")
    with pytest.warns(UserWarning, match="1 closed shells lie within another one .* a name or label of its own"):
        load(tmp_path / "a.stl")
    with warnings.catch_warnings(), caplog.at_level(logging.INFO, logger="meshcell"):
        warnings.simplefilter("error")
        trimesh.util.concatenate([ball(1.0), ball(0.5, inward=True)]).export(tmp_path / "b.stl")
        load(tmp_path / "b.stl")
        assert "inward" not in caplog.text
        # The whole is inside out.
        trimesh.util.concatenate([ball(1.0, inward=True), ball(0.5)]).export(tmp_path / "c.stl")
        load(tmp_path / "c.stl")
        assert "2 of 2 shells: normals point inward" in caplog.text


def test_bodies_apart_and_those_in_a_cavity_keep_their_volumes(tmp_path):
    scene = trimesh.Scene()
    wall = trimesh.util.concatenate([ball(1.0), ball(0.8)])
    scene.add_geometry(wall, node_name="wall", geom_name="wall")
    scene.add_geometry(ball(0.4), node_name="drop", geom_name="drop")
    scene.export(tmp_path / "a.glb")
    with pytest.warns(UserWarning, match="walls of cavities"):
        found = load(tmp_path / "a.glb")
    expected = {"wall": ball(1.0).volume - ball(0.8).volume, "drop": ball(0.4).volume}
    assert enclosed_volumes(found) == pytest.approx(expected, rel=1e-5)
    assert set(found.interfaces) == {("wall", "outside"), ("drop", "outside")}


def test_depth_of_many_shells_agrees_with_their_centres(tmp_path):
    """Balls at random, some in others, none cutting another: depth by the distances of their centres."""
    rng = np.random.default_rng(3)
    centres, radii = [np.zeros(3)] * 3, [1.0, 0.8, 0.65]
    while len(radii) < 60:
        centre, radius = rng.uniform(-1.3, 1.3, 3), rng.uniform(0.02, 0.5)
        apart = [np.linalg.norm(centre - c) for c in centres]
        fits = [d > r + radius or d < abs(r - radius) * 0.9 for d, r in zip(apart, radii, strict=True)]
        if all(fits):
            centres.append(centre)
            radii.append(radius)
    meshes = []
    for centre, radius in zip(centres, radii, strict=True):
        meshes.append(trimesh.creation.icosphere(2, radius=radius))
        meshes[-1].apply_translation(centre)
    depth = [
        sum(np.linalg.norm(c - other) < r and r > radius for other, r in zip(centres, radii, strict=True))
        for c, radius in zip(centres, radii, strict=True)
    ]
    assert max(depth) >= 3
    whole = trimesh.util.concatenate(meshes)
    expected = sum(m.volume * (-1) ** d for m, d in zip(meshes, depth, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, volume = outward(tmp_path, np.array(whole.vertices), np.array(whole.faces))
    assert volume == pytest.approx(expected, rel=1e-9)
