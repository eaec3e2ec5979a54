"""Broken surfaces: each kind of damage is mended, or refused with the rows that are broken."""

import logging
from itertools import pairwise

import numpy as np
import pytest

import meshcell as mc
from gallery.labels import nested_balls
from meshcell.geometry.openings import open_triangles

pytestmark = pytest.mark.filterwarnings("ignore:repair:UserWarning")
SOUND = mc.remesh(mc.smooth(mc.extract(nested_balls(16))), edge=0.015)
POINTS, TRIANGLES, SIDES = SOUND.points, SOUND.triangles, SOUND.sides
STEPS = {
    "smooth": mc.smooth,
    "remesh": lambda surface: mc.remesh(surface, edge=0.015),
    "decimate": lambda surface: mc.decimate(surface, max_error=0.005),
    "tetrahedralize": lambda surface: mc.tetrahedralize(surface, edge=0.015),
}


def surface(points=POINTS, triangles=TRIANGLES, sides=SIDES):
    return mc.Surface(points, triangles, sides, SOUND.names, resolution=SOUND.resolution)


def with_more(triangles, sides, points=None):
    more = POINTS if points is None else np.vstack([POINTS, points])
    return surface(more, np.vstack([TRIANGLES, triangles]), np.vstack([SIDES, sides]))


def around(rows):
    """Rows of the triangles that share an edge with some."""
    edges = np.sort(TRIANGLES[:, [[1, 2], [2, 0], [0, 1]]], axis=2)
    chosen = edges[rows].reshape(-1, 2)
    return np.flatnonzero((edges[:, :, None] == chosen).all(axis=3).any(axis=(1, 2))).tolist()


def turned(rows):
    triangles = TRIANGLES.copy()
    triangles[rows] = triangles[rows][:, ::-1]
    return surface(triangles=triangles)


def open_ball():
    return surface(triangles=TRIANGLES[5:], sides=SIDES[5:])


def soup():
    return surface(POINTS[TRIANGLES].reshape(-1, 3), np.arange(3 * len(TRIANGLES)).reshape(-1, 3))


def with_coincident_points():
    points = POINTS.copy()
    points[TRIANGLES[0, 0]] = points[TRIANGLES[0, 1]]
    return surface(points)


def with_fin():
    return with_more([[TRIANGLES[0, 0], TRIANGLES[0, 1], len(POINTS)]], SIDES[:1], [[0.08, 0.08, 0.2]])


MENDED = {
    "open": (open_ball, "1 holes closed"),
    "two turned": (lambda: turned([3, 7]), "2 triangles turned"),
    "inside out": (lambda: turned(np.arange(len(TRIANGLES))), f"{len(TRIANGLES)} triangles turned"),
    "fin": (with_fin, "1 triangles of fins left out"),
    "twice": (lambda: with_more(TRIANGLES[:2], SIDES[:2]), "2 repeated triangles left out"),
    "twice, turned": (lambda: with_more(TRIANGLES[:2, ::-1], SIDES[:2, ::-1]), "2 repeated triangles left out"),
    "a point twice in a triangle": (
        lambda: with_more([TRIANGLES[0, [0, 0, 1]]], SIDES[:1]),
        "1 triangles without area left out",
    ),
    "points that coincide": (with_coincident_points, "1 points merged, 2 triangles without area left out"),
    "soup": (soup, f"{3 * len(TRIANGLES) - len(POINTS)} points merged"),
}
# What each function refuses, and the rows it names.
REFUSED = {
    "two turned": (list(STEPS), sorted({*around([3, 7]), 3, 7})),
    "fin": (list(STEPS), [*np.flatnonzero(np.isin(TRIANGLES, TRIANGLES[0, :2]).sum(axis=1) == 2), len(TRIANGLES)]),
    "twice": (["smooth", "remesh", "decimate"], [0, 1, len(TRIANGLES), len(TRIANGLES) + 1]),
    "twice, turned": (["smooth", "remesh", "decimate"], [0, 1, len(TRIANGLES), len(TRIANGLES) + 1]),
    "a point twice in a triangle": (list(STEPS), [len(TRIANGLES)]),
    "inside out": (["tetrahedralize"], np.flatnonzero((SIDES == 1).any(axis=1)).tolist()),
    "soup": (["tetrahedralize"], list(range(len(TRIANGLES)))),
}


@pytest.mark.parametrize("kind", MENDED)
def test_repair_mends_and_says_what_it_did(kind, caplog):
    broken, said = MENDED[kind]
    with caplog.at_level(logging.INFO, "meshcell"):
        mended = mc.repair(broken())
    assert caplog.messages[-1] == f"repair: {said}"
    assert mc.check(mended).ok
    # A closed hole is flatter than the membrane was, a merged edge cuts a corner.
    found, sound = mc.enclosed_volumes(mended), mc.enclosed_volumes(SOUND)
    assert found == pytest.approx(sound, rel=2e-3)
    assert mc.topology(mended) == mc.topology(SOUND)


@pytest.mark.parametrize(("kind", "function"), [(kind, name) for kind, (names, _) in REFUSED.items() for name in names])
def test_broken_surfaces_are_refused_with_their_rows(kind, function):
    with pytest.raises(mc.MeshError, match="repair") as refusal:
        STEPS[function](MENDED[kind][0]())
    assert np.unique(refusal.value.where).tolist() == REFUSED[kind][1]


def test_a_sound_surface_stays_as_it_is(caplog):
    with caplog.at_level(logging.INFO, "meshcell"):
        same = mc.repair(SOUND)
    assert caplog.messages[-1] == "repair: nothing to do"
    assert np.array_equal(same.points, SOUND.points)
    assert np.array_equal(same.triangles, SOUND.triangles)


def test_open_edges_are_told(caplog):
    mc.smooth(open_ball())
    assert "smooth: the surface has 7 open edges; repair(surface) closes small holes" in caplog.messages


def test_large_holes_stay_open():
    assert mc.check(mc.repair(open_ball(), max_hole=6)).ok is False


def test_patches_follow():
    rows = np.arange(10, 30)
    marked = mc.Surface(POINTS, np.vstack([TRIANGLES[:2], TRIANGLES]), np.vstack([SIDES[:2], SIDES]), SOUND.names)
    marked = mc.Surface(marked.points, marked.triangles, marked.sides, marked.names, {"spot": rows + 2})
    mended = mc.repair(marked)
    assert np.array_equal(mended.triangles[mended.patches["spot"]], TRIANGLES[rows])


def test_points_farther_away_than_any_cell_are_refused():
    points = POINTS.copy()
    points[3] = 1e300
    with pytest.raises(mc.MeshError, match=r"within 1e\+07 um .* first is row 3") as refusal:
        surface(points)
    assert refusal.value.where.tolist() == [3]


def test_nothing_to_repair_in_nothing():
    empty = mc.Surface(np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros((0, 2), int))
    assert len(mc.repair(empty).triangles) == 0


CUBE = mc.extract(mc.Volume(np.pad(np.ones((4, 4, 4), np.uint8), 1), 0.1))


def with_rows(keep, points=CUBE.points):
    return mc.Surface(points, CUBE.triangles[keep], CUBE.sides[keep], CUBE.names)


def test_what_was_changed_is_a_warning():
    with pytest.warns(UserWarning, match="repair changed the surface: 3 triangles turned"):
        mc.repair(turned([3, 7, 11]))
    with pytest.warns(UserWarning, match=r"1 holes stay open, which would need 0\.\d+ of the area of their piece"):
        mc.repair(open_ball(), max_hole=6)


def test_holes_that_touch_in_a_point_are_closed():
    point = np.bincount(CUBE.triangles.ravel()).argmax()
    around = np.flatnonzero((CUBE.triangles == point).any(axis=1))
    across = next(r for r in around if len(set(CUBE.triangles[r]) & set(CUBE.triangles[around[0]])) == 1)
    keep = np.ones(len(CUBE.triangles), bool)
    keep[[around[0], across]] = False
    mended = mc.repair(with_rows(keep))
    assert mc.check(mended).ok
    assert mc.enclosed_volumes(mended) == pytest.approx(mc.enclosed_volumes(CUBE))


def test_holes_are_judged_by_their_size():
    """A face of the cube is a fifth of the rest, however few its edges are; a strip of it is not."""
    height = CUBE.points[CUBE.triangles][:, :, 2]
    top = (height == height.max()).all(axis=1)
    assert not mc.check(mc.repair(with_rows(~top))).ok
    assert mc.check(mc.repair(with_rows(~top), max_hole=64)).ok
    part = np.flatnonzero(top)[:6]
    assert mc.check(mc.repair(with_rows(~np.isin(np.arange(len(top)), part)))).ok


def test_loose_triangles_are_left_out_and_never_doubled():
    points = np.vstack([CUBE.points, [[2, 0, 0], [2.1, 0, 0], [2, 0.1, 0], [2.1, 0.1, 0]]])
    loose = np.array([[0, 1, 2], [1, 3, 2]]) + len(CUBE.points)
    for n in (1, 2):
        surface = mc.Surface(
            points, np.vstack([CUBE.triangles, loose[:n]]), np.tile([1, 0], (len(CUBE.triangles) + n, 1)), CUBE.names
        )
        mended = mc.repair(surface)
        assert len(mended.triangles) == len(CUBE.triangles)
        assert mc.check(mended).ok


def test_copies_of_a_point_in_single_precision_are_one():
    corners = (SOUND.points + np.array([3.3, -2.7, 1.1]))[SOUND.triangles].astype(np.float32)
    up = np.random.default_rng(0).random(corners.shape) < 0.3
    corners = np.where(up, np.nextafter(corners, np.float32(1e9)), corners).reshape(-1, 3)
    mended = mc.repair(mc.Surface(corners, np.arange(len(corners)).reshape(-1, 3), SIDES, SOUND.names))
    assert len(mended.triangles) == len(TRIANGLES)
    assert mc.check(mended).ok
    assert mc.enclosed_volumes(mended) == pytest.approx(mc.enclosed_volumes(SOUND), rel=1e-4)


def test_a_wall_that_two_cells_bring_becomes_one():
    bodies = []
    for label, x in ((1, 0.0), (2, 0.4)):
        sides = np.where(CUBE.sides == 1, label, 0)
        bodies.append((CUBE.points + np.array([x, 0, 0]), CUBE.triangles + len(CUBE.points) * (label - 1), sides))
    points, triangles, sides = (np.concatenate(parts) for parts in zip(*bodies, strict=True))
    surface = mc.Surface(points, triangles, sides, {1: "left", 2: "right"})
    assert any("walls of left, right" in problem.message for problem in mc.check(surface).problems)
    mended = mc.repair(surface)
    assert mc.areas(mended)["left", "right"] == pytest.approx(0.16)
    assert mc.areas(mended).get(("left", "right")) == mc.areas(mended).get(("right", "left"))
    assert mc.enclosed_volumes(mended) == pytest.approx({"left": 0.064, "right": 0.064})
    assert mc.check(mended).ok


def blocks(*places):
    """Blocks of 3 x 3 x 3 voxels at these places along x and y, labels 1, 2, ..."""
    labels = np.zeros((11, 11, 5), np.uint8)
    for label, (x, y) in enumerate(places, 1):
        labels[x : x + 3, y : y + 3, 1:4] = label
    return labels


TOUCHING = {
    "a wall between two": blocks((1, 1), (4, 1)),
    "walls between three": blocks((1, 1), (4, 1), (2, 4)),
    "a body that touches itself along an edge": np.minimum(blocks((1, 1), (4, 4)), 1),
}


@pytest.mark.parametrize("kind", TOUCHING)
def test_a_missing_triangle_comes_back_wherever_walls_meet(kind):
    whole = mc.extract(mc.Volume(TOUCHING[kind], 0.1))
    # Every triangle of the walls within, and some of the others.
    chosen = np.union1d(np.flatnonzero(whole.sides.min(axis=1) > 0), np.arange(0, len(whole.triangles), 9))
    for row in chosen.tolist():
        keep = np.arange(len(whole.triangles)) != row
        mended = mc.repair(surface(whole.points, whole.triangles[keep], whole.sides[keep]))
        assert len(mended.triangles) == len(whole.triangles)
        assert not len(open_triangles(mended))
        areas, volumes = mc.areas(mended), mc.enclosed_volumes(mended)
        assert sorted(areas.values()) == pytest.approx(sorted(mc.areas(whole).values()), rel=1e-9)
        assert sorted(volumes.values()) == pytest.approx(sorted(mc.enclosed_volumes(whole).values()), rel=1e-9)


def test_a_wrong_label_is_not_walled_in():
    sides = np.array(SIDES)
    sides[np.append(0, around([0])), 0] = 7
    relabelled = surface(sides=sides)
    mended = mc.repair(relabelled)
    assert len(mended.triangles) == len(TRIANGLES)
    assert (np.sort(mended.sides, axis=1) == np.sort(sides, axis=1)).all()


def test_a_tolerance_that_would_swallow_a_body_is_refused():
    for given in (-1, np.nan, "-1 nm"):
        with pytest.raises(ValueError, match="tolerance should be a length >= 0"):
            mc.repair(SOUND, tolerance=given)
    for given in (10, "10 um", 0.05):
        with pytest.raises(ValueError, match="tolerance should be far below the size of every body"):
            mc.repair(SOUND, tolerance=given)
    with pytest.raises(TypeError, match="tolerance should be"):
        mc.repair(SOUND, tolerance=[1.0])
    assert len(mc.repair(soup(), tolerance="0.1 nm").points) == len(POINTS)


def test_points_without_a_triangle_are_not_called_merged():
    more = surface(np.vstack([POINTS, POINTS[:5] + 1]))
    with pytest.warns(UserWarning, match="changed the surface: 5 points without a triangle left out$"):
        assert len(mc.repair(more).points) == len(POINTS)


def with_t_junctions(points, triangles, n_between):
    """Put points on one edge of the first triangle and of its neighbour alone."""
    a, b, c = triangles[0]
    between = [points[a] + (points[b] - points[a]) * k / (n_between + 1) for k in range(1, n_between + 1)]
    chain = [a, *range(len(points), len(points) + n_between), b]
    fan = [[here, there, c] for here, there in pairwise(chain)]
    return np.vstack([points, between]), np.vstack([triangles[1:], fan])


@pytest.mark.parametrize("n_between", [1, 2, 5])
def test_t_junctions_are_stitched(n_between):
    whole = mc.extract(mc.Volume(blocks((1, 1), (4, 1)), 0.1))
    # One in a wall against the outside, one at the junction of three walls.
    for row in (0, int(np.flatnonzero(whole.sides.min(axis=1) > 0)[0])):
        order = np.roll(np.arange(len(whole.triangles)), -row)
        points, triangles = with_t_junctions(whole.points, whole.triangles[order], n_between)
        sides = np.vstack([whole.sides[order][1:], np.repeat(whole.sides[[row]], n_between + 1, axis=0)])
        torn = surface(points, triangles, sides)
        with pytest.warns(UserWarning, match="triangles split at points on their edges$"):
            mended = mc.repair(torn)
        assert not [problem for problem in mc.check(mended).problems if problem.severity == "error"]
        assert sorted(mc.areas(mended).values()) == pytest.approx(sorted(mc.areas(whole).values()), rel=1e-9)
        assert mended.areas.min() > 0


def test_patches_follow_what_is_stitched():
    ball = mc.Surface(POINTS, TRIANGLES, SIDES, SOUND.names, {"all": np.arange(len(TRIANGLES))})
    points, triangles = with_t_junctions(POINTS, TRIANGLES, 2)
    sides = np.vstack([SIDES[1:], np.repeat(SIDES[:1], 3, axis=0)])
    mended = mc.repair(mc.Surface(points, triangles, sides, ball.names, {"all": np.arange(len(triangles))}))
    assert mended.patches["all"].tolist() == list(range(len(mended.triangles)))
    assert len(mended.triangles) > len(triangles)
