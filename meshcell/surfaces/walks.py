"""Walks from triangle to triangle, by which neighbours come to agree on which way round they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core.kernels import njit

# --- kernels ---


@njit(cache=True)
def agreeing(triangles: Any, sides: Any, triangle_edges: Any, n_edges: int) -> Any:
    """Walk over edges at which a region has just two triangles; the lesser part of what hangs together is turned."""
    n = triangles.shape[0]
    heads, following = np.full(n_edges, -1, np.int64), np.full(3 * n, -1, np.int64)
    for t in range(n):
        for k in range(3):
            following[3 * t + k] = heads[triangle_edges[t, k]]
            heads[triangle_edges[t, k]] = 3 * t + k
    signs, numbers = np.zeros(n, np.int8), np.full(n, -1, np.int64)
    queue = np.empty(n, np.int64)
    n_shells = 0
    for seed in range(n):
        if signs[seed]:
            continue
        signs[seed], queue[0] = 1, seed
        done, last, n_turned = 0, 1, 0
        while done < last:
            t = queue[done]
            done += 1
            numbers[t] = n_shells
            n_turned += signs[t] < 0
            for k in range(3):
                for side in range(2):
                    label = sides[t, side]
                    other, its, shared = -1, 0, 0
                    slot = heads[triangle_edges[t, k]]
                    while slot >= 0:
                        u = slot // 3
                        if u != t:
                            for back in range(2):
                                if sides[u, back] == label:
                                    other, its, shared = slot, back, shared + 1
                        slot = following[slot]
                    if shared != 1 or signs[other // 3]:
                        continue
                    u = other // 3
                    # Seen from their common region the two run along the edge in opposite senses.
                    same = triangles[t, (k + 1) % 3] == triangles[u, (other % 3 + 1) % 3]
                    agree = same == (side != its)
                    signs[u] = signs[t] if agree else -signs[t]
                    queue[last] = u
                    last += 1
        if 2 * n_turned > last:
            for i in range(last):
                signs[queue[i]] = -signs[queue[i]]
        n_shells += 1
    return signs, numbers
