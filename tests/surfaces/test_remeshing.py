"""Remeshing and decimation: what they must keep, and how good what they make must be."""

import numpy as np
import pytest

import meshcell as mc
from gallery.labels import tangle
from meshcell.core import adjacency
from meshcell.core.types import Surface, Volume
from meshcell.geometry.features import feature_edges, interface_ids
from meshcell.geometry.intersections import intersecting_pairs, self_intersections
from meshcell.geometry.measures import areas, enclosed_volumes
from meshcell.geometry.proximity import base_of, closest, gather, grid_of, insert, nearest, parted, remove
from meshcell.io import load
from meshcell.surfaces.extraction import extract
from meshcell.surfaces.net import least_angle
from meshcell.surfaces.patches import patch
from meshcell.surfaces.quadrics import quadric_error, quadrics_of
from meshcell.surfaces.remeshing import decimate, remesh
from meshcell.surfaces.smoothing import smooth

VOXEL = 0.01
EDGE = 0.02
MAX_ERROR = 0.25 * VOXEL


def lattice(n):
    return np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).astype(float)


def surface_of(labels):
    return smooth(extract(Volume(labels, VOXEL)))


def halves():
    """A sphere cut into two: one junction curve, a circle."""
    x = lattice(26)
    labels = (np.linalg.norm(x - 12.3, axis=-1) < 9.5).astype(int)
    labels[(labels > 0) & (x[..., 0] > 12)] = 2
    return surface_of(labels)


def painted():
    """The same with a patch, whose rim crosses the junction."""
    return patch(halves(), "pole", lambda centroids: centroids[:, 2] > 0.16)


def balls():
    """Three balls that overlap: junction curves that meet in two corners."""
    x = lattice(30)
    labels = np.zeros(x.shape[:3], int)
    for label, centre in enumerate([(11, 12, 14), (19, 13, 14), (14, 19, 16)], 1):
        labels[(np.linalg.norm(x - centre, axis=-1) < 7.5) & (labels == 0)] = label
    return surface_of(labels)


def voronoi():
    """Cells that fill their box: caps on its faces, curves along its edges."""
    seeds = np.random.default_rng(3).random((6, 3)) * 22
    return surface_of(np.linalg.norm(lattice(22)[..., None, :] - seeds, axis=-1).argmin(axis=-1) + 1)


def sheet():
    """Two voxels thick."""
    labels = np.zeros((26, 26, 8), int)
    labels[4:22, 4:22, 3:5] = 1
    return surface_of(labels)


def noise():
    """Contacts of every ambiguous kind."""
    return surface_of(np.random.default_rng(5).integers(0, 3, (7, 7, 7)))


CASES = {"halves": halves, "painted": painted, "balls": balls, "voronoi": voronoi, "sheet": sheet, "noise": noise}


@pytest.fixture(scope="module")
def made():
    """Name -> (before, remeshed, decimated), each made once."""
    surfaces = {name: make() for name, make in CASES.items()}
    return {
        name: (surface, remesh(surface, edge=EDGE), decimate(surface, max_error=MAX_ERROR))
        for name, surface in surfaces.items()
    }


@pytest.fixture(params=list(CASES))
def case(request, made):
    return (request.param, *made[request.param])


def both(case):
    return case[2:]


def euler(surface, label):
    """Euler characteristic of the complex of triangles around a region."""
    triangles = surface.triangles[(surface.sides == label).any(axis=1)]
    return len(np.unique(triangles)) - len(adjacency.edges(triangles, len(surface.points))[0]) + len(triangles)


def angles_of(surface):
    return np.array([least_angle(surface.points, *row) for row in surface.triangles])


def samples(surface, per_triangle=4, seed=0):
    """Random points on the triangles, and the triangles' rows."""
    weights = np.random.default_rng(seed).dirichlet((1, 1, 1), (len(surface.triangles), per_triangle))
    points = np.einsum("tsk,tkd->tsd", weights, surface.points[surface.triangles])
    return points.reshape(-1, 3), np.repeat(np.arange(len(surface.triangles)), per_triangle)


def distances(points, kinds_of_points, surface, kinds):
    """Distance of every point from the triangles of its kind, by looking at all of them."""
    result = np.empty(len(points))
    corners = surface.points[surface.triangles]
    for i, (point, kind) in enumerate(zip(points, kinds_of_points, strict=True)):
        own = corners[kinds == kind]
        # Only triangles with a corner near enough can be the nearest: no edge is longer than their longest.
        reach = np.linalg.norm(own - point, axis=2).min(axis=1)
        longest = np.linalg.norm(own - np.roll(own, 1, axis=1), axis=2).max(axis=1)
        near = own[reach - longest <= reach.min()]
        result[i] = distances_to_triangles(point, near).min()
    return result


def distances_to_triangles(point, corners):
    """Reference: the plane's foot where it lies inside, else the nearest point of the three edges."""
    a, b, c = corners.transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    unit = normals / np.where(length > 0, length, 1)[:, None]
    height = np.einsum("ij,ij->i", point - a, unit)
    foot = point - height[:, None] * unit
    inside = length > 0
    best = np.full(len(corners), np.inf)
    for p, q in ((a, b), (b, c), (c, a)):
        edge = q - p
        inside &= np.einsum("ij,ij->i", np.cross(edge, foot - p), unit) >= 0
        length2 = np.einsum("ij,ij->i", edge, edge)
        share = np.clip(np.einsum("ij,ij->i", point - p, edge) / np.where(length2 > 0, length2, 1), 0, 1)
        best = np.minimum(best, np.linalg.norm(p + share[:, None] * edge - point, axis=1))
    return np.where(inside, np.abs(height), best)


def shared_kinds(before, after):
    """Kinds of both surfaces, numbered alike: the same sides and patches get the same number."""
    rows = [
        np.column_stack([s.sides, *[np.isin(np.arange(len(s.triangles)), s.patches[name]) for name in before.patches]])
        for s in (before, after)
    ]
    ids = np.unique(np.concatenate(rows), axis=0, return_inverse=True)[1].ravel()
    return ids[: len(rows[0])], ids[len(rows[0]) :]


def segments(surface):
    edges, features = feature_edges(surface)
    return surface.points[edges[features]]


# --- what is kept ---


def test_topology_of_every_region_is_unchanged(case):
    before = case[1]
    for after in both(case):
        for label in np.unique(before.sides):
            assert euler(after, label) == euler(before, label)


def test_every_region_stays_closed(case):
    # Area vectors around a closed surface cancel; rounding grows with the number of triangles only.
    for after in both(case):
        for label in np.unique(after.sides):
            sign = (after.sides[:, 0] == label).astype(int) - (after.sides[:, 1] == label)
            assert np.abs(sign @ after.area_vectors).max() < 1e-12 * after.areas.sum()


def test_edges_conform(case):
    # An edge inside an interface has two triangles, which pass it in opposite directions.
    for after in both(case):
        edges, features = feature_edges(after)
        _, triangle_edges = adjacency.edges(after.triangles, len(after.points))
        assert (np.bincount(triangle_edges.ravel())[~features] == 2).all()
        start = after.triangles[:, [1, 2, 0]]
        direction = np.where(start == edges[triangle_edges, 0], 1, -1)
        assert (np.bincount(triangle_edges.ravel(), direction.ravel())[~features] == 0).all()


def test_every_point_is_used_and_names_patches_and_resolution_stay(case):
    before = case[1]
    for after in both(case):
        assert len(np.unique(after.triangles)) == len(after.points)
        assert after.names == before.names and after.resolution == before.resolution
        assert after.patches.keys() == before.patches.keys() and after.interfaces.keys() == before.interfaces.keys()


def test_nothing_intersects(case):
    for after in both(case):
        assert len(intersecting_pairs(after.points, after.triangles)) == 0


@pytest.mark.parametrize("name", ["halves", "voronoi", "sheet"])
def test_new_surface_is_within_max_error_of_the_old(made, name):
    before, *results = made[name]
    for after in results:
        old, new = shared_kinds(before, after)
        points, rows = samples(after, per_triangle=1)
        # Centres and edge middles are checked while working; between them a flat triangle may be a little farther.
        assert distances(points, new[rows], before, old).max() < 1.2 * MAX_ERROR
        assert distances(after.points[after.triangles[:, 0]], new, before, old).max() <= MAX_ERROR * (1 + 1e-9)


@pytest.mark.parametrize("name", ["halves", "sheet"])
def test_old_points_are_within_max_error_of_the_decimated(made, name):
    before, _, after = made[name]
    old, new = shared_kinds(before, after)
    # Every removed point is measured against a triangle that stands for it; then points move by a fifth at most.
    assert distances(before.points[before.triangles[:, 0]], old, after, new).max() <= MAX_ERROR * (1 + 1e-9)


@pytest.mark.parametrize("name", ["painted", "balls", "voronoi"])
def test_junction_curves_stay_on_the_curves(made, name):
    before, *results = made[name]
    old = segments(before)
    for after in results:
        middles = segments(after).mean(axis=1)
        far = [distances_to_triangles(middle, old[:, [0, 1, 1]]).min() for middle in middles]
        assert max(far) <= MAX_ERROR * (1 + 1e-9)


@pytest.mark.parametrize("name", ["painted", "balls", "voronoi"])
def test_corners_stay_where_they_are(made, name):
    before, *results = made[name]
    for after in results:
        assert np.array_equal(corners_of(after), corners_of(before))


def corners_of(surface):
    edges, features = feature_edges(surface)
    degree = np.bincount(edges[features].ravel(), minlength=len(surface.points))
    points = surface.points[(degree != 0) & (degree != 2)]
    return points[np.lexsort(points.T)]


@pytest.mark.parametrize("name", ["painted", "balls", "voronoi"])
def test_area_volume_and_patches_are_kept(made, name):
    before, after, coarse = made[name]
    # Signed volumes: an interface turned inside out would show. Small facets may lose a rim of some tenths of a voxel.
    for result, volume_slack, area_slack in ((after, 0.002, 0.005), (coarse, 0.01, 0.03)):
        old, new = enclosed_volumes(before), enclosed_volumes(result)
        assert max(abs(new[k] / old[k] - 1) for k in old) < volume_slack
        assert abs(result.areas.sum() / before.areas.sum() - 1) < area_slack
        for name_of_patch, rows in before.patches.items():
            share = result.areas[result.patches[name_of_patch]].sum() / before.areas[rows].sum()
            assert share == pytest.approx(1, abs=0.02)


# --- what is made ---


@pytest.mark.parametrize("name", ["halves", "balls", "sheet"])
def test_triangles_are_near_equilateral(made, name):
    angles = angles_of(made[name][1])
    assert angles.min() >= 20 and np.percentile(angles, 1) >= 30


def test_edges_have_the_wanted_length(made):
    after = made["halves"][1]
    ends = after.points[adjacency.edges(after.triangles, len(after.points))[0]]
    length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    # Botsch and Kobbelt keep lengths within 4/5 ... 4/3 of what is wanted; smoothing and flips leave that a little.
    # Wanted is EDGE, but at the sharp rim of the cut down to 0.8 voxels.
    assert length.mean() == pytest.approx(EDGE, rel=0.15)
    assert length.max() < 1.6 * EDGE and length.min() > 0.6 * 0.8 * VOXEL


def test_short_edges_refine(made):
    fine = remesh(made["sheet"][0], edge=0.006)
    assert len(fine.triangles) > 2 * len(made["sheet"][0].triangles)
    assert angles_of(fine).min() >= 20


def test_thin_parts_get_shorter_edges():
    x = lattice(30)
    labels = np.zeros(x.shape[:3], int)
    labels[5:25, 5:25, 4:6] = 1  # two voxels thick
    labels[5:25, 5:25, 12:26] = 2  # fourteen
    after = remesh(surface_of(labels), edge=0.04, gap_edges=1.0)
    thin, thick = (after.areas[after.sides[:, 0] == label].mean() for label in (1, 2))
    # Gap 2 voxels against an edge of 4; graded, so less than the full factor of four in area.
    assert thin < 0.5 * thick


def test_decimation_makes_flat_parts_coarse():
    labels = np.zeros((14, 14, 14), int)
    labels[2:12, 2:12, 2:12] = 1
    before = extract(Volume(labels, VOXEL))
    after = decimate(before, max_error=1e-4)
    # A cube needs twelve triangles; its own corners are no curves, so the error alone keeps them.
    assert len(after.triangles) < 40
    assert enclosed_volumes(after)["label 1"] == pytest.approx(enclosed_volumes(before)["label 1"], rel=1e-3)


def test_decimation_stops_at_a_number_of_triangles(made):
    before = made["halves"][0]
    after = decimate(before, max_error=1.0, triangles=1000)
    assert 990 <= len(after.triangles) <= 1000


def test_decimation_keeps_the_least_angle(made):
    before, _, after = made["sheet"]
    assert angles_of(after).min() >= min(15, angles_of(before).min()) - 1e-9


def test_same_input_same_result(made):
    before, after, coarse = made["balls"]
    assert np.array_equal(remesh(before, edge=EDGE).points, after.points)
    assert np.array_equal(decimate(before, max_error=MAX_ERROR).triangles, coarse.triangles)


def test_lengths_may_be_texts(made):
    before, after, _ = made["sheet"]
    assert np.array_equal(remesh(before, edge="20 nm", max_error="2.5 nm").points, after.points)


def test_empty_surface_is_returned_as_is():
    empty = Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int32), np.zeros((0, 2), np.int32))
    assert remesh(empty, edge=1.0) is empty and decimate(empty, max_error=1.0) is empty


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda s: remesh(s, edge=0), "edge should be a positive length"),
        (lambda s: remesh(s, edge=float("nan")), "edge should be a positive length"),
        (lambda s: remesh(s, edge="3 s"), "edge should be in um"),
        (lambda s: remesh(s, edge=0.02, max_error=-1), "max_error should be a positive length"),
        (lambda s: remesh(s, edge=0.02, rounds=0), "rounds >= 1"),
        (lambda s: decimate(s, max_error=0), "max_error should be a positive length"),
        (lambda s: decimate(s, max_error=0.1, triangles=0), "triangles >= 1"),
    ],
)
def test_bad_arguments_are_named(made, call, text):
    with pytest.raises(ValueError, match=text):
        call(made["sheet"][0])


# --- kernels against references ---


def soup(n, seed, size=0.2):
    rng = np.random.default_rng(seed)
    points = (rng.random((n, 1, 3)) + size * rng.random((n, 3, 3))).reshape(-1, 3)
    return points, np.arange(3 * n, dtype=np.int32).reshape(-1, 3)


def test_closest_point_agrees_with_reference():
    points, triangles = soup(200, 0)
    triangles[::7, 2] = triangles[::7, 1]  # segments
    for point in np.random.default_rng(1).random((40, 3)):
        expected = distances_to_triangles(point, points[triangles])
        weights = np.array([closest(points, *row, *point) for row in triangles])
        feet = np.einsum("tk,tkd->td", weights, points[triangles])
        assert np.abs(weights.sum(axis=1) - 1).max() < 1e-12 and weights.min() >= 0
        assert np.allclose(np.linalg.norm(feet - point, axis=1), expected, rtol=0, atol=1e-12)


def test_nearest_agrees_with_looking_at_all():
    points, triangles = soup(300, 2)
    kinds = np.arange(300) % 3
    base = base_of(points, triangles, kinds, np.zeros(len(points)))
    for point in np.random.default_rng(3).random((60, 3)):
        normal = tuple(np.random.default_rng(4).normal(size=3))
        allowed = (kinds == 1) & (base.normals @ normal >= 0)
        expected = np.where(allowed, distances_to_triangles(point, points[triangles]), np.inf)
        d2, row, *_ = nearest(base, *point, 1, normal, 0.3, False)
        if expected.min() > 0.3:
            assert row == -1
        else:
            assert row == expected.argmin() and np.sqrt(d2) == pytest.approx(expected.min(), abs=1e-12)
            assert nearest(base, *point, 1, normal, 0.3, True)[1] >= 0


def test_grid_finds_all_boxes_after_changes():
    rng = np.random.default_rng(6)
    points, triangles = soup(200, 5, size=0.3)
    points[: 3 * 20] *= 3  # some far larger, so that several levels are in use
    grid = grid_of(points, triangles, 0.05)
    for t in rng.integers(0, 200, 100):
        remove(grid, t)
        points[triangles[t]] += rng.normal(scale=0.2, size=3)
        insert(grid, points, triangles, t)
    found = np.empty(10000, np.int32)
    low, high = points[triangles].min(axis=1), points[triangles].max(axis=1)
    for corner in rng.random((50, 3)):
        box = np.concatenate([corner, corner + 0.3])
        expected = np.flatnonzero(((low <= box[3:]) & (high >= box[:3])).all(axis=1))
        assert np.array_equal(np.unique(found[: gather(grid, box, found)]), expected)


def test_parted_triangles_do_not_intersect():
    points, triangles = soup(120, 7)
    # Shared corners too: those are where the planes touch.
    triangles[1::3, 0] = triangles[::3, 0]
    triangles[2::3, :2] = triangles[::3, 1::-1]
    cut = {tuple(pair) for pair in intersecting_pairs(points, triangles)}
    found = {(t, u) for t in range(120) for u in range(t + 1, 120) if parted(points, triangles, t, u)}
    assert cut and len(found) > 1000 and not cut & found


def test_quadrics_agree_with_distances_from_planes():
    points, triangles = soup(5, 8)
    triangles[:, 0] = 0
    quadric = quadrics_of(points, triangles)[0]
    normals = np.cross(points[triangles[:, 1]] - points[0], points[triangles[:, 2]] - points[0])
    double_areas = np.linalg.norm(normals, axis=1)
    for point in np.random.default_rng(9).random((20, 3)):
        heights = (normals / double_areas[:, None]) @ (point - points[0])
        assert quadric_error(quadric, *point) == pytest.approx(
            (double_areas / 6 * heights**2).sum(), rel=1e-9, abs=1e-12
        )


def test_kinds_are_those_of_the_interfaces(made):
    before, after, _ = made["painted"]
    assert len(np.unique(interface_ids(after))) == len(np.unique(interface_ids(before)))


@pytest.mark.slow
def test_real_spine(real_spine):
    before = smooth(extract(load(real_spine, names={1: "cytosol", 2: "er"})))
    after = remesh(before, edge=0.02)
    angles = angles_of(after)
    assert angles.min() >= 20 and np.percentile(angles, 1) >= 30
    assert len(intersecting_pairs(after.points, after.triangles)) == 0
    for measure, slack in ((areas, 0.005), (enclosed_volumes, 0.002)):
        old, new = measure(before), measure(after)
        assert max(abs(new[k] / old[k] - 1) for k in old) < slack
    for label in np.unique(before.sides):
        assert euler(after, label) == euler(before, label)


@pytest.mark.parametrize("seed", [6, 14, 26, 62])
def test_tangles_get_good_triangles_and_keep_their_volumes(seed):
    """Junctions every voxel, voxels up to five times longer than wide: slivers are merged, pinched corners opened."""
    volume = tangle(seed)
    before = mc.smooth(mc.extract(volume))
    after = mc.remesh(before, edge=1.5 * min(volume.spacing))
    # At least 15 degrees, aim 20.
    assert mc.angles(after).min() >= 19
    old, new = mc.enclosed_volumes(before), mc.enclosed_volumes(after)
    # Was 14 % on bodies of one voxel; moves that would make bad triangles are refused, which leaves a rest.
    assert max(abs(new[name] / old[name] - 1) for name in old) < 0.03
    assert mc.topology(after) == mc.topology(volume)
    assert not len(self_intersections(after))
    for name, rows in after.patches.items():
        assert np.ptp(after.points[after.triangles[rows], "xyz".index(name[4])]) < 1e-12
