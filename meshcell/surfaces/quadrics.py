"""Decimation by quadric errors, with every point of the old surface kept within a stated distance of the new one."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.geometry.features import FIXED
from meshcell.geometry.proximity import distance2
from meshcell.surfaces.edge_moves import try_collapse
from meshcell.surfaces.net import GONE, STAR, around_edge, normal_at, star_of

# --- kernels ---


@njit(cache=True)
def decimate_net(net: Any, edges: Any, target: int, floor: float, max_error: float) -> int:
    """Collapse edges, cheapest first, until `target` triangles are left or none is allowed; return how many are left.

    Garland and Heckbert 1997, Surface simplification using quadric error metrics; the point that stays keeps its place.
    """
    n = net.points.shape[0]
    quadrics = quadrics_of(net.points, net.triangles)
    age = np.zeros(n, np.int32)
    # Removed points hang on the triangle that stands for them: samples[t] is the first, following[p] the next.
    samples = np.full(net.triangles.shape[0], -1, np.int32)
    following = np.full(n, -1, np.int32)
    left = 0
    for t in range(net.triangles.shape[0]):
        left += net.triangles[t, 0] >= 0
    heap = [(0.0, 0, 0, 0, 0) for _ in range(0)]
    for e in range(edges.shape[0]):
        _offer(heap, net, quadrics, age, edges[e, 0], edges[e, 1])
    rows = np.empty(STAR, np.int32)
    found = np.empty(n, np.int32)
    owners = np.empty(n, np.int32)
    while len(heap) > 0 and left > target:
        _, a, b, age_a, age_b = heapq.heappop(heap)
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
                _offer(heap, net, quadrics, age, b, q)
            c = net.links[c]
    return left


@inner(cache=True)
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
def _offer(heap: Any, net: Any, quadrics: Any, age: Any, a: int, b: int) -> None:
    """Queue the collapse of a, b in both directions, as far as their status allows."""
    for turn in range(2):
        p, q = (a, b) if turn == 0 else (b, a)
        if net.status[p] == FIXED or net.status[p] > net.status[q]:
            continue
        total = quadrics[p] + quadrics[q]
        cost = quadric_error(total, net.points[q, 0], net.points[q, 1], net.points[q, 2])
        heapq.heappush(heap, (max(cost, 0.0), np.int64(p), np.int64(q), np.int64(age[p]), np.int64(age[q])))


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
