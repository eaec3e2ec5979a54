"""What two neighbouring sections tell about the gap between them: where and how high a column changes its label.

A patch is what hangs together of columns that change alike, from one label into one other. Along its rim the interface
lies in the lower section (outline 0), in the upper one (outline 1), or the patch goes on into another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.kernels import njit

# As high into a gap as a dome may rise whose body is not seen in the next section.
TOP = 0.75
# Half widths over thickness from which on an end is flat: of balls in one section or two alike it is below 1.5.
WIDE = 1.5
# Steps of evening that take the steps of pixels out of lengths.
EVENED = 4
# A climb from an outline goes on while the distance grows by so much of the way: its end is a ridge of the patch.
STEEP = 0.5
# Greatest slope at an end of a cubic that rises from 0 to 1 without overshooting (Fritsch and Carlson 1980).
GREATEST_SLOPE = 3.0


@dataclass(frozen=True, eq=False)
class Outlines:
    """The columns of a gap that change their label, and the outlines that they lie between.

    Parameters
    ----------
    rows : (m,) int
        Columns, as rows of a plane.
    distances : (2, m)
        um within the patch to outline 0 and 1; inf where the patch has none.
    beyond : (2, m) int
        The column on the other side of the outline there; -1 where there is none.
    reaches : (2, m)
        um, the distance from each outline at the ridge of the patch that lies uphill.
    cut : (2, m) bool
        The ridge is a face of the box, so that nobody knows how far the patch goes on.
    widths : (m,)
        um, from outline to outline.
    """

    rows: Array
    distances: Floats
    beyond: Array
    reaches: Floats
    cut: Array
    widths: Floats


def outlines(lower: Array, upper: Array, hx: float, hy: float) -> Outlines:
    """Find the columns that differ between two sections, and their distances to both outlines.

    Parameters
    ----------
    lower, upper : (nx, ny) int64
        Labels of the two sections.
    hx, hy : float
        um per pixel.
    """
    rows = np.flatnonzero(lower != upper)
    near = _neighbours(lower, upper, rows)
    distances, beyond, sources = _borders(lower, upper, rows, hx, hy)
    _spread(distances, beyond, sources, near, rows, lower.shape[1], hx, hy)
    tops = _ridges(distances, near, hx, hy)
    cut = _cut(distances, near, rows, lower.shape, hx, hy)
    reaches = np.take_along_axis(distances, tops, axis=1)
    reaches = np.stack([_evened(reaches[0], near), _evened(reaches[1], near)])
    widths = _evened(distances[0] + distances[1], near)
    return Outlines(rows, distances, beyond, reaches, np.take_along_axis(cut, tops, axis=1), widths)


def _cut(distances: Floats, near: Array, rows: Array, shape: tuple[int, ...], hx: float, hy: float) -> Array:
    """Mark (2, m) columns at the box towards which the distance still grows; along a face of it nothing is cut."""
    cut = np.zeros(distances.shape, bool)
    places = rows // shape[1], rows % shape[1]
    # The neighbour one step into the box, in the order of `_neighbours`.
    for axis, end, way in ((0, 0, 6), (0, shape[0] - 1, 1), (1, 0, 4), (1, shape[1] - 1, 3)):
        at = np.flatnonzero((places[axis] == end) & (near[:, way] >= 0))
        # Where there is no outline both are inf.
        cut[:, at] |= distances[:, at] > distances[:, near[at, way]] + STEEP * (hx, hy)[axis]
    return cut


def heights(
    gap: Outlines, planes: tuple[Array, Array, Array, Array], before: Floats, after: Floats, thickness: float
) -> Floats:
    """Return (m,) how high in a gap, 0 to 1, its columns change their label.

    Parameters
    ----------
    gap : Outlines
    planes : four (nx, ny) int64
        The section before the gap's two, these two, and the one after; -1 where the box ends.
    before, after : (3, nx * ny)
        Widths and reaches of the columns of the gaps before and after, 0 where a column does not change.
    thickness : float
        um from section to section.
    """
    under, lower, upper, over = (plane.ravel() for plane in planes)
    # Seen from outline 1 with up and down exchanged, everything is as from outline 0.
    ends = [
        _end(gap.rows, gap.beyond[0], lower, under, before[0], before[2]),
        _end(gap.rows, gap.beyond[1], upper, over, after[0], after[1]),
    ]
    return _rise(*ends[0], *ends[1], gap.distances, gap.reaches, gap.cut, gap.widths, thickness)  # type: ignore[no-any-return]


def _end(
    rows: Array, beyond: Array, own: Array, further: Array, widths: Floats, reaches: Floats
) -> tuple[Floats, Floats, Array]:
    """Return what lies behind an outline: the width of the patch that goes on there and its reach, and if any does.

    The width is 0 where a wall stands upright there, and below 0 where the body has its end there or nothing is known.
    """
    goes_on = (beyond >= 0) & (further[beyond] == own[rows])
    width = np.where(goes_on, widths[beyond], np.where(further[rows] == own[rows], 0.0, -1.0))
    return np.where(np.isinf(width), -1.0, width), np.where(goes_on, reaches[beyond], 0.0), goes_on


# --- kernels ---


@njit(cache=True)
def _neighbours(lower: Any, upper: Any, rows: Any) -> Any:
    """Return (m, 8) which of the columns lie beside one and change like it, -1 where none does."""
    nx, ny = lower.shape
    at = np.full(lower.shape, -1, np.int32)
    for i in range(rows.size):
        at[rows[i] // ny, rows[i] % ny] = i
    near = np.full((rows.size, 8), -1, np.int32)
    for i in range(rows.size):
        a, b = rows[i] // ny, rows[i] % ny
        for way in range(9):
            c, d = a + way // 3 - 1, b + way % 3 - 1
            if way == 4 or c < 0 or d < 0 or c >= nx or d >= ny:
                continue
            if lower[c, d] == lower[a, b] and upper[c, d] == upper[a, b]:
                near[i, way - (way > 4)] = at[c, d]
    return near


@njit(cache=True)
def _borders(lower: Any, upper: Any, rows: Any, hx: float, hy: float) -> Any:
    """Find the outlines that columns themselves lie at: distance, column beyond, and place, um."""
    nx, ny = lower.shape
    distances = np.full((2, rows.size), np.inf)
    beyond = np.full((2, rows.size), -1, np.int64)
    places = np.zeros((2, rows.size, 2))
    for i in range(rows.size):
        a, b = rows[i] // ny, rows[i] % ny
        for way in range(4):
            along, step = way // 2, 2 * (way % 2) - 1
            c, d = a + step * (along == 0), b + step * (along == 1)
            if c < 0 or d < 0 or c >= nx or d >= ny:
                continue
            half = 0.5 * (hx if along == 0 else hy)
            for side in range(2):
                meets = lower[c, d] == upper[a, b] if side == 0 else upper[c, d] == lower[a, b]
                if meets and half < distances[side, i]:
                    distances[side, i] = half
                    beyond[side, i] = c * ny + d
                    places[side, i, 0] = 0.5 * (a + c) * hx
                    places[side, i, 1] = 0.5 * (b + d) * hy
    return distances, beyond, places


@njit(cache=True)
def _spread(distances: Any, beyond: Any, places: Any, near: Any, rows: Any, ny: int, hx: float, hy: float) -> None:
    """Hand the nearest place of an outline from column to column, to and fro until none gets a nearer one."""
    n = rows.size
    for side in range(2):
        changed = True
        while changed:
            changed = False
            for k in range(2 * n):
                i = k if k < n else 2 * n - 1 - k
                x, y = (rows[i] // ny) * hx, (rows[i] % ny) * hy
                for way in range(8):
                    j = near[i, way]
                    if j < 0 or beyond[side, j] < 0:
                        continue
                    away = np.sqrt((x - places[side, j, 0]) ** 2 + (y - places[side, j, 1]) ** 2)
                    if away < distances[side, i]:
                        distances[side, i] = away
                        beyond[side, i] = beyond[side, j]
                        places[side, i, 0], places[side, i, 1] = places[side, j, 0], places[side, j, 1]
                        changed = True


@njit(cache=True)
def _ridges(distances: Any, near: Any, hx: float, hy: float) -> Any:
    """Return (2, m) the column where the climb away from an outline ends."""
    n = distances.shape[1]
    tops = np.empty((2, n), np.int64)
    for side in range(2):
        for i in np.argsort(-distances[side], kind="mergesort"):
            tops[side, i] = i
            best = STEEP
            if np.isinf(distances[side, i]):
                continue
            for way in range(8):
                j = near[i, way]
                if j < 0:
                    continue
                cell = way + (way > 3)
                length = np.sqrt(((cell // 3 - 1) * hx) ** 2 + ((cell % 3 - 1) * hy) ** 2)
                slope = (distances[side, j] - distances[side, i]) / length
                if slope > best:
                    best = slope
                    tops[side, i] = tops[side, j]
    return tops


@njit(cache=True)
def _evened(values: Any, near: Any) -> Any:
    """Average lengths over neighbouring columns; inf stays, and counts for nobody."""
    for _ in range(EVENED):
        means = values.copy()
        for i in range(values.size):
            if np.isinf(values[i]):
                continue
            total, count = values[i], 1
            for way in range(8):
                j = near[i, way]
                if j >= 0 and not np.isinf(values[j]):
                    total += values[j]
                    count += 1
            means[i] = total / count
        values = means
    return values


@njit(cache=True)
def _rise(
    width0: Any, reach0: Any, on0: Any, width1: Any, reach1: Any, on1: Any,
    distances: Any, reaches: Any, cut: Any, widths: Any, thickness: float,
) -> Any:  # fmt: skip
    result = np.empty(widths.size)
    for i in range(widths.size):
        p, q = distances[0, i], distances[1, i]
        far0, far1 = reaches[0, i], reaches[1, i]
        if np.isinf(p) and np.isinf(q):
            result[i] = 0.5
        elif np.isinf(q):
            result[i] = _dome(p, far0, width0[i], reach0[i], cut[0, i], thickness)
        elif np.isinf(p):
            result[i] = 1 - _dome(q, far1, width1[i], reach1[i], cut[1, i], thickness)
        else:
            low = _slope(on0[i], width0[i], reach0[i], widths[i], thickness)
            high = _slope(on1[i], width1[i], reach1[i], widths[i], thickness)
            result[i] = _cubic(p / (p + q), low, high)
            # A finger that reaches far beyond the next section's outline ends like a body of its own.
            if q > 2 * far0:
                share = min(q / far0 - 2, 1.0)
                dome = _dome(p, far0, width0[i], reach0[i], cut[0, i], thickness)
                result[i] += share * (dome - result[i])
            elif p > 2 * far1:
                share = min(p / far1 - 2, 1.0)
                dome = 1 - _dome(q, far1, width1[i], reach1[i], cut[1, i], thickness)
                result[i] += share * (dome - result[i])
    return result


@njit(cache=True)
def _slope(goes_on: bool, before: float, reach: float, width: float, thickness: float) -> float:
    """Return d distance / d height at an outline over that of a straight rise."""
    if not goes_on:
        return 0.5
    if before < 0:
        # A dome follows, a ball's: what `_dome` has there.
        return 1 + width / (2 * reach) + thickness**2 / (2 * reach * width)
    return (1 + before / width) / 2


@njit(cache=True)
def _cubic(share: float, low: float, high: float) -> float:
    """Return the height t at which a cubic with these slopes at 0 and 1 has come to a share of the way."""
    low, high = min(low, GREATEST_SLOPE), min(high, GREATEST_SLOPE)
    least, most = 0.0, 1.0
    for _ in range(20):
        t = (least + most) / 2
        way = t * (1 - t) ** 2 * low + (3 - 2 * t) * t * t - t * t * (1 - t) * high
        if way < share:
            least = t
        else:
            most = t
    return (least + most) / 2


@njit(cache=True)
def _dome(p: float, reach: float, width: float, beyond: float, cut: bool, thickness: float) -> float:
    """Return the height of a body that ends within the gap, at the distance p from its outline.

    A ball through this outline and the one below, which is `width` wider; half a ball where there is none below. A body
    too wide for that, with upright walls or seen in one section alone, has a flat end, midway. Where the box cuts the
    patch the interface goes on as steep as it was.
    """
    reach = max(reach, p)
    if cut:
        run = width if width > 0 else max(reach, beyond) / TOP
        return p / run * min(1.0, TOP * run / reach)
    depth = 0.0 if width < 0 else (width * (2 * reach + width) + thickness**2) / (2 * thickness)
    radius = np.sqrt(reach**2 + depth**2)
    height = np.sqrt(radius**2 - (reach - p) ** 2) - depth
    share = height / thickness * min(1.0, TOP * thickness / (radius - depth))
    flat = min(max(reach / thickness - WIDE, 0.0), 1.0) if width <= 0 else 0.0
    return share + flat * (0.5 - share)  # type: ignore[no-any-return]
