"""Which way round: shells turned and named by where they lie, whatever the file said."""

import itertools

import numpy as np
import pytest

import meshcell as mc
from gallery.balls import round_ball
from meshcell.surfaces.orientation import orient

pytestmark = pytest.mark.filterwarnings("ignore:repair:UserWarning")
BALL = round_ball(6, names={1: "cell"}).surface
VOLUME = mc.enclosed_volumes(BALL)["cell"]


def shells(*parts, names):
    """Balls of one surface: radius, shift along x, behind, front, whether it is turned inside out."""
    points, triangles, sides = [], [], []
    for number, (radius, shift, behind, front, inside_out) in enumerate(parts):
        points.append(BALL.points * radius + np.array([shift, 0, 0]))
        own = BALL.triangles[:, ::-1] if inside_out else BALL.triangles
        triangles.append(own + number * len(BALL.points))
        sides.append(np.tile([behind, front], (len(own), 1)))
    return mc.Surface(np.concatenate(points), np.concatenate(triangles), np.concatenate(sides), names)


@pytest.mark.parametrize("flips", list(itertools.product([False, True], repeat=3)))
def test_nested_shells_are_right_however_they_were_turned(flips):
    # A cell, a nucleus in it, and a nucleolus; and once the sides written the other way round.
    parts = [(r, 0, *pair, flip) for r, pair, flip in zip((1, 0.6, 0.2), ((1, 0), (1, 2), (3, 2)), flips, strict=True)]
    surface = shells(*parts, names={1: "cell", 2: "nucleus", 3: "nucleolus"})
    expected = {"cell": 1 - 0.6**3, "nucleus": 0.6**3 - 0.2**3, "nucleolus": 0.2**3}
    found = mc.enclosed_volumes(orient(surface).surface)
    assert found == pytest.approx({name: share * VOLUME for name, share in expected.items()})
    assert mc.check(surface).ok == (flips == (False, True, False))
    assert mc.check(mc.repair(surface)).ok


@pytest.mark.parametrize("flips", list(itertools.product([False, True], repeat=3)))
def test_shells_of_one_label_are_cavities_and_bodies_in_them(flips):
    parts = [(r, 0, 1, 0, flip) for r, flip in zip((1, 0.6, 0.2), flips, strict=True)]
    surface = shells(*parts, names={1: "cell"})
    mended = mc.repair(surface)
    assert mc.enclosed_volumes(mended)["cell"] == pytest.approx((1 - 0.6**3 + 0.2**3) * VOLUME)
    assert mc.topology(mended)["cell"] == mc.topology(mc.combine({"cell": surface}))["cell"]
    assert mc.check(surface).ok == (flips == (False, True, False))


@pytest.mark.parametrize("function", [mc.repair, lambda surface: mc.voxelize(surface, 0.05)])
def test_an_organelle_against_outside_lies_in_its_cell(function):
    surface = shells((1, 0, 1, 0, False), (0.5, 0.2, 2, 0, False), names={1: "cell", 2: "nucleus"})
    said = "the shell around 'nucleus' lies in 'cell', but its sides name 'outside' there"
    assert any(said in problem.message for problem in mc.check(surface).problems)
    with pytest.raises(mc.MeshError, match="lies in 'cell', but its sides name 'outside' there; use repair"):
        mc.tetrahedralize(surface, edge=0.3)
    with pytest.warns(UserWarning, match="'nucleus' lies in 'cell'"):
        right = function(surface)
    if isinstance(right, mc.Volume):
        found = {name: right.counts[label] * 0.05**3 for label, name in right.regions.items()}
        assert (
            mc.topology(right)["nucleus"] == mc.topology(shells((1, 0, 2, 0, False), names={2: "nucleus"}))["nucleus"]
        )
    else:
        found = mc.enclosed_volumes(right)
    assert found == pytest.approx({"cell": 0.875 * VOLUME, "nucleus": 0.125 * VOLUME}, rel=0.03)


def test_bodies_that_overlap_go_to_the_smaller_one_with_a_warning():
    surface = shells((1, 0, 1, 0, False), (0.5, 1, 2, 0, False), names={1: "cell", 2: "bud"})
    with pytest.warns(UserWarning, match=r"regions overlap in about 0\.19\d* um\^3"):
        labels = mc.voxelize(surface, 0.05)
    assert labels.counts[2] * 0.05**3 == pytest.approx(0.125 * VOLUME, rel=0.03)


def test_a_wall_turned_alone_is_turned_back():
    left, right = np.zeros((2, 6, 6, 6), np.uint8)
    left[1:3, 1:5, 1:5], right[3:5, 1:5, 1:5] = 1, 1
    both = mc.extract(mc.Volume(left + 2 * right, 1.0))
    wall = (both.sides == [2, 1]).all(axis=1) | (both.sides == [1, 2]).all(axis=1)
    turned = np.where(wall[:, None], both.triangles[:, ::-1], both.triangles)
    found = orient(mc.Surface(both.points, turned, both.sides))
    assert np.array_equal(np.flatnonzero(found.turned), np.flatnonzero(wall))


def test_many_shells_stay_as_they_are():
    parts = [(0.3, 1.0 * k, 1, 0, False) for k in range(20)]
    surface = shells(*parts, names={1: "cell"})
    found = orient(surface)
    assert not found.turned.any()
    assert not found.misplaced
