"""Volumes of regions while points move: a move by which a region would not keep its volume is not made."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core.inner import inner
from meshcell.core.kernels import njit

# No region may gain or lose more than this share of its volume.
SAME_VOLUME = 0.005


@njit(cache=True)
def region_volumes(points: Any, tets: Any, parts: Any, n: int) -> Any:
    """Sum up the volumes of the tetrahedra of each of n regions."""
    volumes = np.zeros(n)
    for t in range(tets.shape[0]):
        a, b, c, d = tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        wx, wy, wz = points[d, 0] - points[a, 0], points[d, 1] - points[a, 1], points[d, 2] - points[a, 2]
        triple = (uy * vz - uz * vy) * wx + (uz * vx - ux * vz) * wy + (ux * vy - uy * vx) * wz
        volumes[parts[t]] += triple / 6
    return volumes


@inner(cache=True)
def _volume(points: Any, tet: Any, p: int, x: float, y: float, z: float) -> float:
    """Return the volume of a tetrahedron with its point p at x, y, z."""
    k = 0
    while tet[k] != p:
        k += 1
    # The other three; at odd places their order turns the orientation.
    a, b, c = tet[(k + 1) % 4], tet[(k + 2) % 4], tet[(k + 3) % 4]
    ux, uy, uz = points[a, 0] - x, points[a, 1] - y, points[a, 2] - z
    vx, vy, vz = points[b, 0] - x, points[b, 1] - y, points[b, 2] - z
    wx, wy, wz = points[c, 0] - x, points[c, 1] - y, points[c, 2] - z
    triple = ux * (vy * wz - vz * wy) + uy * (vz * wx - vx * wz) + uz * (vx * wy - vy * wx)
    return (-triple if k % 2 else triple) / 6.0  # type: ignore[no-any-return]


@inner(cache=True)
def _carry(points: Any, tets: Any, star: Any, parts: Any, now: Any, p: int, x: float, y: float, z: float) -> None:
    """Add to the regions' volumes what they gain or lose as p goes to x, y, z."""
    for s in range(star.shape[0]):
        tet = tets[star[s]]
        before = _volume(points, tet, p, points[p, 0], points[p, 1], points[p, 2])
        now[parts[star[s]]] += _volume(points, tet, p, x, y, z) - before


@inner(cache=True)
def moved_in_balance(points: Any, tets: Any, star: Any, balance: Any, p: int, x: float, y: float, z: float) -> bool:
    """Move p if the regions around it keep their volumes; tell whether it moved."""
    parts, now, given = balance
    old = points[p, 0], points[p, 1], points[p, 2]
    _carry(points, tets, star, parts, now, p, x, y, z)
    points[p, 0], points[p, 1], points[p, 2] = x, y, z
    for s in range(star.shape[0]):
        part = parts[star[s]]
        if abs(now[part] - given[part]) > SAME_VOLUME * given[part]:
            _carry(points, tets, star, parts, now, p, old[0], old[1], old[2])
            points[p, 0], points[p, 1], points[p, 2] = old
            return False
    return True
