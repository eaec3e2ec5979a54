"""Points put into the midst of bad tetrahedra, where neither swaps nor moves can help."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Floats, Ints
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.randomness import uniform
from meshcell.core.slices import stretches
from meshcell.meshing.swaps import EDGE_AND_REST, MAX_RING, replace, ring, squared_sine_of

# Steps that a new point tries on its way to its place.
STEPS = 60
# Tetrahedra that are tried in a fraction of a second.
SPLIT = 500
# A new point must make the worst sine squared this much better: it costs as many tetrahedra as its ring has.
GAIN = 1.2


def insert(
    points: Floats, tets: Ints, regions: Ints, below: float, seed: int, most: int
) -> tuple[Floats, Ints, Ints, int]:
    """Split edges at tetrahedra worse than `below` (see `swaps.squared_sines`), where all around get better.

    A flat tetrahedron with two faces on an interface fills the whole angle between them: no swap takes it away, and
    its points may not leave the interface. Its edge inside the region gets a point that rises above the interface.

    Parameters
    ----------
    points, tets, regions
        A conforming mesh.
    below : float
        Squared sine.
    seed : int
        Of the steps that the new points try.
    most : int
        New points at most.

    Returns
    -------
    points : (p + k, 3) um
        The new ones last.
    tets, regions : (n', 4) and (n',) int32
    k : int
        Number of new points. The facets between regions stay as they are.

    Notes
    -----
    Klingner and Shewchuk 2007, Aggressive tetrahedral mesh improvement, section 3.3, with the ring of an edge as the
    cavity.
    """
    bad = np.flatnonzero(_bad(points, np.ascontiguousarray(tets), below))
    room = min(len(bad), most)
    neighbours = adjacency.tet_neighbours(tets, len(points))
    n, p = len(tets), len(points)
    tets = np.concatenate([tets, np.full((room * MAX_RING, 4), -1, np.int32)])
    neighbours = np.concatenate([neighbours, np.full((room * MAX_RING, 4), -1, np.int32)])
    regions = np.concatenate([regions, np.zeros(room * MAX_RING, np.int32)])
    points = np.concatenate([points, np.zeros((room, 3))])
    k, top = 0, n
    for first, last in stretches(len(bad), SPLIT):
        k, top = _insert(points, p, k, tets, top, regions, neighbours, bad[first:last], below, seed)
    kept = tets[:, 0] >= 0
    return points[: p + k], tets[kept], regions[kept], k


# --- kernels ---


@njit(cache=True)
def _bad(points: Any, tets: Any, below: float) -> Any:
    result = np.empty(tets.shape[0], np.bool_)
    for t in range(tets.shape[0]):
        result[t] = squared_sine_of(points, tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]) < below
    return result


@inner(cache=True)
def _halves(tets: Any, rows: Any, n: int, a: int, b: int, m: int, fresh: Any) -> None:
    """Write the two halves of every tetrahedron of the ring of a, b with m on the edge."""
    for r in range(n):
        for k in range(4):
            p = tets[rows[r], k]
            fresh[2 * r, k] = m if p == a else p
            fresh[2 * r + 1, k] = m if p == b else p


@inner(cache=True)
def _worst(points: Any, fresh: Any, n: int, at_least: float) -> float:
    worst = 1.0
    for r in range(n):
        worst = min(worst, squared_sine_of(points, fresh[r, 0], fresh[r, 1], fresh[r, 2], fresh[r, 3]))
        if worst <= at_least:
            break
    return worst


@njit(cache=True)
def _place(points: Any, a: int, b: int, m: int, fresh: Any, n: int, state: Any) -> float:
    """Climb with m from the middle of a, b to where the worst of `fresh` is best; return that."""
    length = 0.0
    for axis in range(3):
        points[m, axis] = 0.5 * (points[a, axis] + points[b, axis])
        length += (points[a, axis] - points[b, axis]) ** 2
    step = 0.5 * np.sqrt(length)
    worst = _worst(points, fresh, n, -1.0)
    for _ in range(STEPS):
        x, y, z = points[m, 0], points[m, 1], points[m, 2]
        for axis in range(3):
            state, share = uniform(state)
            points[m, axis] += step * share
        found = _worst(points, fresh, n, worst)
        if found > worst:
            worst = found
        else:
            points[m, 0], points[m, 1], points[m, 2] = x, y, z
            step *= 0.92
    return worst  # type: ignore[no-any-return]


@njit(cache=True)
def _insert(
    points: Any, n_points: int, added: int, tets: Any, n_tets: int, regions: Any, neighbours: Any, bad: Any,
    below: float, seed: int,
) -> Any:  # fmt: skip
    old, around = np.empty(MAX_RING, np.int32), np.empty(MAX_RING, np.int32)
    fresh = np.empty((2 * MAX_RING, 4), np.int32)
    slots = np.empty(2 * MAX_RING, np.int32)
    for t in bad:
        m = n_points + added
        if m == points.shape[0]:
            break
        # A split before may have replaced it.
        if squared_sine_of(points, tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]) >= below:
            continue
        best, gain = -1, GAIN
        place = 0.0, 0.0, 0.0
        for edge in range(6):
            n = ring(tets, regions, neighbours, t, edge, old, around)
            if n < 3:
                continue
            a, b = tets[t, EDGE_AND_REST[edge, 0]], tets[t, EDGE_AND_REST[edge, 1]]
            before = 1.0
            for r in range(n):
                u = old[r]
                before = min(before, squared_sine_of(points, tets[u, 0], tets[u, 1], tets[u, 2], tets[u, 3]))
            _halves(tets, old, n, a, b, m, fresh)
            state = np.uint64(seed) + np.uint64(t) * np.uint64(0x632BE59BD9B4E019) + np.uint64(edge)
            found = _place(points, a, b, m, fresh, 2 * n, state)
            if found > 0 and found > gain * max(before, 0.0):
                best, gain = edge, found / max(before, 1e-12)
                place = points[m, 0], points[m, 1], points[m, 2]
        if best < 0:
            continue
        n = ring(tets, regions, neighbours, t, best, old, around)
        _halves(tets, old, n, tets[t, EDGE_AND_REST[best, 0]], tets[t, EDGE_AND_REST[best, 1]], m, fresh)
        points[m, 0], points[m, 1], points[m, 2] = place
        region = regions[t]
        for r in range(n):
            slots[r], slots[n + r] = old[r], n_tets + r
        replace(tets, neighbours, old, n, fresh, 2 * n, slots)
        for r in range(2 * n):
            regions[slots[r]] = region
        n_tets += n
        added += 1
    return added, n_tets
