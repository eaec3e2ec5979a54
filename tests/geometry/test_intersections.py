"""Self-intersections: hand-made cases, and all pairs tested one by one on random soups."""

import itertools

import numpy as np
import pytest

import meshcell as mc
from gallery.labels import noise
from meshcell.geometry.intersections import intersecting_pairs, self_intersections


def pairs(points, triangles):
    return intersecting_pairs(np.asarray(points, float), np.asarray(triangles, np.int32)).tolist()


FLAT = [[0, 0, 0], [4, 0, 0], [0, 4, 0]]


@pytest.mark.parametrize(
    ("points", "triangles", "expected"),
    [
        ([*FLAT, [1, 1, -1], [1, 1, 1], [9, 9, 0.5]], [[0, 1, 2], [3, 4, 5]], [[0, 1]]),
        ([*FLAT, [1, 1, 1], [1, 2, 2], [2, 1, 2]], [[0, 1, 2], [3, 4, 5]], []),
        ([*FLAT, [1, 1, -1], [1, 1, 1]], [[0, 1, 2], [0, 3, 4]], [[0, 1]]),
        ([*FLAT, [-1, -1, -1], [-1, -1, 1]], [[0, 1, 2], [0, 3, 4]], []),
        ([*FLAT, [4, 4, 0]], [[0, 1, 2], [1, 3, 2]], []),
        ([*FLAT, [1, 1, 0]], [[0, 1, 2], [1, 2, 3]], [[0, 1]]),
        ([*FLAT, [1, 1, 0.5]], [[0, 1, 2], [1, 2, 3]], []),
        (FLAT, [[0, 1, 2], [0, 1, 2]], [[0, 1]]),
    ],
    ids=["pierced", "apart", "pierced-at-point", "touching-at-point", "neighbours", "folded", "tent", "twins"],
)
def test_hand_made_cases(points, triangles, expected):
    assert pairs(points, triangles) == expected


def separated(a, b):
    """Tell by the separating-axis theorem whether two triangles are disjoint."""
    edges_a, edges_b = np.roll(a, -1, 0) - a, np.roll(b, -1, 0) - b
    axes = [np.cross(edges_a[0], edges_a[1]), np.cross(edges_b[0], edges_b[1])]
    axes += [np.cross(u, v) for u in edges_a for v in edges_b]
    return any((a @ axis).max() < (b @ axis).min() or (b @ axis).max() < (a @ axis).min() for axis in axes)


def test_hash_and_kernel_match_separating_axes_on_a_random_soup():
    rng = np.random.default_rng(0)
    points = (rng.uniform(0, 6, (120, 1, 3)) + rng.normal(0, 0.8, (120, 3, 3))).reshape(-1, 3)
    triangles = np.arange(360).reshape(-1, 3)
    expected = [
        [i, j]
        for i, j in itertools.combinations(range(120), 2)
        if not separated(points[triangles[i]], points[triangles[j]])
    ]
    assert len(expected) > 50
    assert pairs(points, triangles) == expected


@pytest.mark.parametrize("seed", range(6))
def test_a_net_of_voxels_never_intersects_itself(seed):
    assert not len(self_intersections(mc.extract(noise(seed))))


@pytest.mark.parametrize("seed", range(5))
def test_triangles_in_one_plane_do_not_intersect_by_rounding(seed):
    """On a face of the box heights differ by the last digit, and every sign of a volume is noise."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), axis=-1).reshape(-1, 1, 2) * 1.3
    flat = (corners + rng.uniform(0, 1, (64, 3, 2))).reshape(-1, 2)
    height = 11.5 * 0.0137
    heights = np.nextafter(height, height + rng.choice([-1, 0, 1], len(flat)))
    surface = mc.Surface(
        np.column_stack([0.0137 * flat, heights]), np.arange(192).reshape(64, 3), np.tile([1, 0], (64, 1))
    )
    assert not len(self_intersections(surface))


def test_triangles_of_any_size_beside_each_other():
    """A stray corner far away makes triangles a million times the others; every pair is found, and quickly."""
    rng = np.random.default_rng(0)
    points = rng.random((60, 3)) * 10.0 ** rng.integers(-4, 3, (60, 1))
    triangles = np.array([rng.choice(60, 3, replace=False) for _ in range(90)], np.int32)
    one_by_one = [
        [s, t] for s, t in itertools.combinations(range(90), 2) if intersecting_pairs(points, triangles[[s, t]]).size
    ]
    assert pairs(points, triangles) == one_by_one


def test_a_stray_point_takes_no_more_than_the_rest():
    surface = mc.extract(mc.Volume(np.pad(np.ones((20, 20, 20), np.uint8), 1), 0.02))
    points = np.array(surface.points) + 300
    points[len(points) // 2] = 0
    # As many cells as the grid would have between the stray point and the rest are far more than memory holds.
    assert np.ptp(points) / 0.02 > 1e4
    assert len(pairs(points, surface.triangles)) < 1e6
