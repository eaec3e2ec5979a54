"""What two sections tell about the gap between them, beside slow obvious twins."""

import numpy as np
import pytest

from meshcell.labels.sections import _cubic, _dome, heights, outlines


def disc(radius, shape=(40, 44), middle=(19.3, 21.8)):
    x, y = np.indices(shape)
    return (np.hypot(x - middle[0], y - middle[1]) < radius).astype(np.int64)


def rim_places(inside, hx, hy):
    """Middles of the pixel sides around a mask, um."""
    places = []
    for axis in (0, 1):
        rows = np.argwhere(np.diff(inside, axis=axis) != 0).astype(float)
        rows[:, axis] += 0.5
        places.append(rows)
    return np.concatenate(places) * (hx, hy)


@pytest.mark.parametrize(("hx", "hy"), [(1.0, 1.0), (0.7, 1.0)])
def test_distances_are_those_to_the_nearest_pixel_sides(hx, hy):
    lower, upper = disc(16), disc(9, middle=(18, 23))
    gap = outlines(lower, upper, hx, hy)
    np.testing.assert_array_equal(gap.rows, np.flatnonzero(lower != upper))
    places = np.stack(np.unravel_index(gap.rows, lower.shape), axis=1) * (hx, hy)
    for side, rim in enumerate((rim_places(lower, hx, hy), rim_places(upper, hx, hy))):
        nearest = np.linalg.norm(places[:, None] - rim, axis=2).min(axis=1)
        # Handed on from pixel to pixel the nearest place may get lost for one not a quarter of a pixel farther.
        assert (gap.distances[side] >= nearest - 1e-12).all()
        assert np.abs(gap.distances[side] - nearest).max() < 0.25
        assert np.median(gap.distances[side] - nearest) < 1e-12
    assert not gap.cut.any()


def test_a_ramp_rises_evenly():
    """Outlines are straight and equally far apart in all sections."""
    planes = [np.repeat((np.arange(60) > k)[:, None], 20, axis=1).astype(np.int64) for k in (50, 40, 30, 20)]
    found = [outlines(planes[k], planes[k + 1], 1.0, 1.0) for k in range(3)]
    told = []
    for gap in found:
        told.append(np.zeros((3, 60 * 20)))
        told[-1][:, gap.rows] = gap.widths, *gap.reaches
    share = heights(found[1], tuple(planes), told[0], told[2], 5.0).reshape(10, 20)
    np.testing.assert_allclose(share, np.repeat((np.arange(10)[::-1, None] + 0.5) / 10, 20, axis=1), atol=1e-5)


def test_up_and_down_are_alike():
    a, b, c, d = disc(17), disc(14, middle=(20, 21)), disc(8), disc(0.1)
    none = np.zeros((3, a.size))
    up = heights(outlines(b, c, 1.0, 1.0), (a, b, c, d), none, none, 5.0)
    down = heights(outlines(c, b, 1.0, 1.0), (d, c, b, a), none, none, 5.0)
    np.testing.assert_allclose(up, 1 - down, atol=1e-5)


@pytest.mark.parametrize("radius", [20.0, 35.0])
@pytest.mark.parametrize("top", [0.2, 0.6])
def test_domes_are_those_of_balls(radius, top):
    """Sections 5 apart, the last one a share of 5 below the pole."""
    height = radius - 5 * top
    reach, wider = np.sqrt(radius**2 - height**2), np.sqrt(radius**2 - (height - 5) ** 2)
    p = np.linspace(0, reach, 9)
    ball = (np.sqrt(radius**2 - (reach - p) ** 2) - height) / 5
    np.testing.assert_allclose([_dome(x, reach, wider - reach, 0.0, False, 5.0) for x in p], ball, atol=1e-9)


def test_cubics_rise_from_0_to_1_and_are_straight_between_equal_widths():
    way = np.linspace(0, 1, 11)
    np.testing.assert_allclose([_cubic(s, 1.0, 1.0) for s in way], way, atol=1e-5)
    for slopes in [(0.5, 3.0), (9.0, 0.5), (3.0, 3.0), (0.5, 0.5)]:
        found = np.array([_cubic(s, *slopes) for s in way])
        assert found[0] < 1e-5 and found[-1] > 1 - 1e-5 and (np.diff(found) > 0).all()
