"""Decimation by quadric errors, with every point of the old surface kept within a stated distance of the new one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from meshcell.core.arrays import Floats, Ints
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.slices import stretches
from meshcell.geometry.features import FIXED
from meshcell.geometry.proximity import distance2
from meshcell.surfaces.edge_moves import try_collapse
from meshcell.surfaces.net import GONE, STAR, Net, around_edge, normal_at, star_of

# Collapses that are tried in a fraction of a second.
TRIED = 1_000
# A collapse offers no more: every triangle of a star has two edges at its point, each in both directions.
OFFERED = 4 * STAR


class Decimation(NamedTuple):
    """A decimation under way.

    Parameters
    ----------
    quadrics : (p, 10)
        Of every point, see `quadrics_of`.
    age : (p,) int32
        How often a point took another in; older offers are void.
    samples, following : (t,) and (p,) int32
        Removed points hang on the triangle that stands for them: samples[t] is the first, following[p] the next.
    found, owners : (p,) int32
        Scratch.
    """

    quadrics: Floats
    age: Ints
    samples: Ints
    following: Ints
    found: Ints
    owners: Ints


def decimate_net(net: Net, edges: Ints, target: int, floor: float, max_error: float) -> int:
    """Collapse edges, cheapest first, until `target` triangles are left or none is allowed; return how many are left.

    Garland and Heckbert 1997, Surface simplification using quadric error metrics; the point that stays keeps its place.
    """
    n, room = len(net.points), 2 * len(edges) + OFFERED
    work = Decimation(
        *(quadrics_of(net.points, net.triangles), np.zeros(n, np.int32)),
        *(np.full(len(net.triangles), -1, np.int32), np.full(n, -1, np.int32)),
        *(np.empty(n, np.int32), np.empty(n, np.int32)),
    )
    left, size = int((net.triangles[:, 0] >= 0).sum()), 0
    heap = np.empty((room, 5))
    for first, last in stretches(len(edges), 100 * TRIED):
        size = offer_all(heap, size, net, work, edges, first, last)
    while size > 0 and left > target:
        if size + OFFERED > len(heap):
            heap = np.concatenate([heap, np.empty_like(heap)])
        left, size = collapse_cheapest(heap, size, net, work, left, target, floor, max_error, TRIED)
    return left


# --- kernels ---


@njit(cache=True)
def offer_all(heap: Any, size: int, net: Any, work: Any, edges: Any, first: int, last: int) -> int:
    """Queue the edges first ... last; return the new size of the heap."""
    for e in range(first, last):
        size = _offer(heap, size, net, work.quadrics, work.age, edges[e, 0], edges[e, 1])
    return size


@njit(cache=True)
def collapse_cheapest(
    heap: Any, size: int, net: Any, work: Any, left: int, target: int, floor: float, max_error: float, tries: int
) -> Any:
    """Try some collapses, as long as the heap has room; return how many triangles are left, and the heap's size."""
    quadrics, age, samples, following, found, owners = work
    rows = np.empty(STAR, np.int32)
    for _ in range(tries):
        if size == 0 or left <= target or size + OFFERED > heap.shape[0]:
            break
        a, b, age_a, age_b = int(heap[0, 1]), int(heap[0, 2]), int(heap[0, 3]), int(heap[0, 4])
        size = _take_first(heap, size)
        if net.status[a] == GONE or net.status[b] == GONE or age[a] != age_a or age[b] != age_b:
            continue
        n_found = _reassign(net, a, b, samples, following, found, owners, max_error)
        if n_found < 0:
            continue
        n_edge = around_edge(net, a, b, rows)
        if n_edge == 0:
            continue
        n_star = star_of(net, a, rows)
        if not try_collapse(net, a, b, np.inf, floor, max_error):
            continue
        left -= n_edge
        for r in range(n_star):
            samples[rows[r]] = -1
        for f in range(n_found):
            following[found[f]] = samples[owners[f]]
            samples[owners[f]] = found[f]
        quadrics[b] += quadrics[a]
        age[b] += 1
        c = net.heads[b]
        while c >= 0:
            # Each neighbour of b follows it in one triangle at least, or comes before it.
            for k in (1, 2):
                q = net.triangles[c // 3, (c % 3 + k) % 3]
                size = _offer(heap, size, net, quadrics, age, b, q)
            c = net.links[c]
    return left, size


@njit(cache=True)
def quadrics_of(points: Any, triangles: Any) -> Any:
    """Return (p, 10) the summed squared distances from the planes around each point, by a third of the area."""
    result = np.zeros((points.shape[0], 10))
    for t in range(triangles.shape[0]):
        if triangles[t, 0] < 0:
            continue
        nx, ny, nz = normal_at(points, triangles[t, 0], triangles[t, 1], triangles[t, 2])
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length <= 0:
            continue
        p = triangles[t, 0]
        plane = nx / length, ny / length, nz / length
        d = -(plane[0] * points[p, 0] + plane[1] * points[p, 1] + plane[2] * points[p, 2])
        q = plane[0], plane[1], plane[2], d
        for corner in range(3):
            m = 0
            for i in range(4):
                for j in range(i, 4):
                    result[triangles[t, corner], m] += length / 6 * q[i] * q[j]
                    m += 1
    return result


@inner(cache=True)
def quadric_error(quadric: Any, x: float, y: float, z: float) -> Any:
    """Evaluate a quadric (10,) at a point."""
    q = quadric
    return (
        q[0] * x * x + 2 * q[1] * x * y + 2 * q[2] * x * z + 2 * q[3] * x
        + q[4] * y * y + 2 * q[5] * y * z + 2 * q[6] * y + q[7] * z * z + 2 * q[8] * z + q[9]
    )  # fmt: skip


@inner(cache=True)
def _offer(heap: Any, size: int, net: Any, quadrics: Any, age: Any, a: int, b: int) -> int:
    """Queue the collapse of a, b in both directions, as far as their status allows; return the heap's size."""
    for turn in range(2):
        p, q = (a, b) if turn == 0 else (b, a)
        if net.status[p] == FIXED or net.status[p] > net.status[q]:
            continue
        total = quadrics[p] + quadrics[q]
        cost = quadric_error(total, net.points[q, 0], net.points[q, 1], net.points[q, 2])
        size = _put(heap, size, (max(cost, 0.0), float(p), float(q), float(age[p]), float(age[q])))
    return size


@inner(cache=True)
def _before(heap: Any, i: int, j: int) -> bool:
    """Tell whether row i of the heap comes before row j: no two are alike, so that their order is one."""
    for k in range(5):
        if heap[i, k] != heap[j, k]:
            return bool(heap[i, k] < heap[j, k])
    return False


@inner(cache=True)
def _exchange(heap: Any, i: int, j: int) -> None:
    for k in range(5):
        heap[i, k], heap[j, k] = heap[j, k], heap[i, k]


@inner(cache=True)
def _put(heap: Any, size: int, row: Any) -> int:
    """Put cost, points and ages into the heap; return its new size. An array, as lists cannot leave a kernel."""
    heap[size, 0], heap[size, 1], heap[size, 2], heap[size, 3], heap[size, 4] = row
    i = size
    while i > 0 and _before(heap, i, (i - 1) // 2):
        _exchange(heap, i, (i - 1) // 2)
        i = (i - 1) // 2
    return size + 1


@inner(cache=True)
def _take_first(heap: Any, size: int) -> int:
    """Take the first row off the heap; return its new size."""
    size -= 1
    _exchange(heap, 0, size)
    i = 0
    while 2 * i + 1 < size:
        least = 2 * i + 1
        if least + 1 < size and _before(heap, least + 1, least):
            least += 1
        if not _before(heap, least, i):
            break
        _exchange(heap, i, least)
        i = least
    return size


@inner(cache=True)
def _reassign(net: Any, a: int, b: int, samples: Any, following: Any, found: Any, owners: Any, max_error: float) -> int:
    """List a and the removed points around it with their triangles after a merged into b; -1 if one is too far."""
    rows = np.empty(STAR, np.int32)
    n = star_of(net, a, rows)
    if n < 0:
        return -1
    found[0] = a
    n_found = 1
    for r in range(n):
        p = samples[rows[r]]
        while p >= 0:
            found[n_found] = p
            n_found += 1
            p = following[p]
    for f in range(n_found):
        p = found[f]
        best, owners[f] = max_error * max_error, -1
        for r in range(n):
            i, j, k = net.triangles[rows[r], 0], net.triangles[rows[r], 1], net.triangles[rows[r], 2]
            if i == b or j == b or k == b:
                continue
            i, j, k = (b if i == a else i), (b if j == a else j), (b if k == a else k)
            d2 = distance2(net.points, i, j, k, net.points[p, 0], net.points[p, 1], net.points[p, 2])
            if d2 <= best:
                best, owners[f] = d2, rows[r]
        if owners[f] < 0:
            return -1
    return n_found
