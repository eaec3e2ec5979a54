"""Thin bodies keep their volume in the mesh: triangles are cut without a change of what they enclose."""

import numpy as np
import pytest

import meshcell as mc
from gallery.labels import nested_balls
from meshcell.geometry.openings import open_triangles
from meshcell.surfaces.edge_moves import halved

CUBE = np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, -1).T.astype(float)
QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]


def rod(length, width):
    triangles = [t for a, b, c, d in QUADS for t in ([a, b, c], [a, c, d])]
    return mc.Surface(CUBE * [length, width, width], triangles, np.tile([1, 0], (12, 1)), {1: "rod"})


def needle(width):
    points = [[0, 0, 0], [1, 0, 0], [0.5, width, 0], [0.5, width / 2, width]]
    return mc.Surface(points, [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.tile([1, 0], (4, 1)), {1: "rod"})


def slim_cone(radius, n=16):
    turn = np.arange(n) * 2 * np.pi / n
    points = np.vstack([np.stack([radius * np.cos(turn), radius * np.sin(turn), 0 * turn], 1), [0, 0, 2], [0, 0, 0]])
    a, b = np.arange(n), np.roll(np.arange(n), -1)
    triangles = np.vstack([np.stack([a, b, 0 * a + n], 1), np.stack([b, a, 0 * a + n + 1], 1)])
    return mc.Surface(points, triangles, np.tile([1, 0], (2 * n, 1)), {1: "rod"})


def test_halves_keep_areas_volumes_and_patches():
    surface = mc.smooth(mc.extract(nested_balls(8)))
    surface = mc.patch(surface, "upper", lambda points: points[:, 2] > points[:, 2].mean())
    length = 0.4 * float(np.sqrt(surface.areas).mean())
    made = halved(surface, length)
    lengths = np.linalg.norm(np.diff(made.points[made.triangles[:, [[0, 1], [1, 2], [2, 0]]]], axis=2)[:, :, 0], axis=2)
    assert lengths.max() <= length
    assert not len(open_triangles(made))
    assert mc.enclosed_volumes(made) == pytest.approx(mc.enclosed_volumes(surface), rel=1e-12)
    assert dict(mc.areas(made)) == pytest.approx(dict(mc.areas(surface)), rel=1e-12)
    area = surface.areas[surface.patches["upper"]].sum()
    assert made.areas[made.patches["upper"]].sum() == pytest.approx(area, rel=1e-12)
    # The least angle is no less than half of what it was (Rosenberg and Stenger 1975).
    assert mc.angles(made).min() >= 0.5 * mc.angles(surface).min() - 1e-9


@pytest.mark.parametrize(
    ("body", "edge"),
    [(rod(2, 0.02), 0.2), (rod(2, 0.02), 0.05), (needle(0.02), 0.1), (needle(0.1), 0.2), (slim_cone(0.02), 0.1)],
)
@pytest.mark.filterwarnings("ignore:the triangles stay:UserWarning")
def test_thin_bodies_keep_their_volume(body, edge):
    mesh = mc.tetrahedralize(body, edge=edge)
    assert mc.enclosed_volumes(mesh) == pytest.approx(mc.enclosed_volumes(body), rel=0.005)
    assert mc.check(mesh).ok
    lengths = np.linalg.norm(np.diff(mesh.points[mesh.edges], axis=1)[:, 0], axis=1)
    assert lengths.max() < 3 * edge


def test_kept_triangles_are_told():
    with pytest.warns(
        UserWarning, match=r"stay as they were given, halved to 0.1 um: .* change the volume of 'rod' by"
    ):
        mc.tetrahedralize(needle(0.02), edge=0.1, rounds=0)


@pytest.mark.parametrize("edge", [0.2, 0.05])
def test_rods_of_twelve_triangles_get_well_shaped_ones(edge):
    made = mc.remesh(rod(2, 0.02), edge=edge, least_edge="10 nm")
    assert mc.angles(made).min() >= 25
    assert mc.enclosed_volumes(made) == pytest.approx(mc.enclosed_volumes(rod(2, 0.02)), rel=0.005)


def test_a_plate_that_gets_another_area_is_told():
    """A hundredth as thick as its edge is long: its volume is kept, its faces are not."""
    plate = mc.Surface(CUBE * [1, 1, 0.01], rod(1, 1).triangles, rod(1, 1).sides, {1: "plate"})
    with pytest.warns(UserWarning, match=r"1 of 1 interfaces .* the most plate \| outside by -\d") as told:
        mesh = mc.tetrahedralize(plate, edge=0.1)
    share = sum(mc.areas(mesh).values()) / sum(mc.areas(plate).values()) - 1
    assert any(f"by {100 * share:+.2g} %" in str(warning.message) for warning in told)


def test_improving_flat_tetrahedra_ends():
    given = mc.tetrahedralize(halved(rod(1, 0.02), 0.02), edge=0.05, recondition=False, rounds=0)
    better = mc.improve(given)
    assert len(better.points) <= len(given.points) + len(given.tets) // 2 + 2000
    assert mc.angles(better).min() >= mc.angles(given).min()
