"""Points moved so that a net of flat triangles runs on both sides of the surface it stands for, not inside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.rounding import sine_cosine
from meshcell.core.slices import sliced, stretches
from meshcell.core.types import Surface
from meshcell.core.validation import BOX_FACES
from meshcell.geometry.features import CURVE, FREE
from meshcell.geometry.proximity import nearest
from meshcell.surfaces.net import (
    STAR,
    Net,
    angle_of,
    curve_neighbours,
    foot,
    normal_of,
    star_normal,
    try_move,
)
from meshcell.surfaces.smoothing import even_shifts

# Points or triangles that are moved in a fraction of a second.
MOVED = 10_000

# How often interfaces are shifted at most to give regions their volumes back, and to which share.
FILLS, FILLED = 4, 5e-4


def refill(surface: Surface, net: Net, kinds: Array, goal: float, max_error: float) -> None:
    """Shift each interface of the net evenly until every region has the volume that it had in the surface.

    Edges cut bodies short that are not much larger than they; `kinds` are those of the surface's triangles.
    """
    first = np.unique(kinds, return_index=True)[1]
    regions, numbers = np.unique(surface.sides[first], return_inverse=True)
    between: Ints = numbers.reshape(-1, 2).astype(np.int32)
    # Caps lie in the faces of the box and stay there.
    caps = np.isin(np.arange(len(first)), np.concatenate([kinds[surface.patches.get(name, [])] for name in BOX_FACES]))
    wanted = _volumes(surface.points, surface.triangles, kinds, between, len(regions))
    before = np.inf
    for _ in range(FILLS):
        live = net.triangles[:, 0] >= 0
        triangles, own = net.triangles[live], net.kinds[live]
        missing: Floats = wanted - _volumes(net.points, triangles, own, between, len(regions))
        rest = float((np.abs(missing) / np.maximum(np.abs(wanted), 1e-300)).max())
        if not FILLED < rest < 0.9 * before:
            return
        before = rest
        free = (net.status[triangles] == FREE) & ~caps[own, None]
        moved = Surface(net.points, triangles, surface.sides[first][own])
        areas = np.bincount(own, moved.areas * free.mean(axis=1), len(first)).astype(np.float64)
        shifts = even_shifts(between, areas, missing)
        offsets = np.zeros(len(net.points))
        offsets[triangles[free]] = np.repeat(shifts[own], 3).reshape(-1, 3)[free]
        most = np.minimum(max_error, 0.5 * _room_in_box(surface, net.points))
        sliced(shift, len(offsets), MOVED, net, np.clip(offsets, -most, most), goal, max_error)


def _room_in_box(surface: Surface, points: Floats) -> Floats:
    """Return (p,) the distance from the nearest face of the box that has a cap, inf where there is none."""
    room: Floats = np.full(len(points), np.inf)
    for name in BOX_FACES:
        rows: Array = surface.patches.get(name, np.zeros(0, np.int32))
        if len(rows):
            axis = "xyz".index(name[4])
            plane = surface.points[surface.triangles[rows[0], 0], axis]
            room = np.minimum(room, np.abs(points[:, axis] - plane))
    return room


def _volumes(points: Floats, triangles: Ints, kinds: Array, between: Ints, n_regions: int) -> Floats:
    """Return (n_regions,) um^3 by the divergence theorem; `between` are the regions behind and in front of a kind."""
    a, b, c = np.moveaxis(points[triangles] - points[triangles[0, 0]], 1, 0)
    parts = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    behind, front = (np.bincount(between[kinds, k], parts, n_regions).astype(np.float64) for k in (0, 1))
    return behind - front


def offsets_to_surface(net: Net, n_points: int, reach: float) -> Floats:
    """Return (p,) how far each FREE point should move along its normal to take the mean distance out of its star."""
    at_points, total, weights = np.zeros(n_points), np.zeros(n_points), np.zeros(n_points)
    for first, last in stretches(n_points, MOVED):
        _offsets_at_points(net, at_points, reach, first, last)
    for first, last in stretches(len(net.triangles), MOVED):
        _add_offsets(net, at_points, total, weights, reach, first, last)
    counted = (weights > 0) & (net.status[:n_points] == FREE)
    return np.asarray(np.divide(-total, weights, out=np.zeros(n_points), where=counted))


# --- kernels ---


@njit(cache=True)
def _offsets_at_points(net: Any, at_points: Any, reach: float, first: int, last: int) -> None:
    """Write the distances of the FREE points first ... last from the old surface."""
    for p in range(first, last):
        if net.status[p] == FREE and net.heads[p] >= 0:
            kind = net.kinds[net.heads[p] // 3]
            at_points[p] = _signed(
                net, net.points[p, 0], net.points[p, 1], net.points[p, 2], kind, star_normal(net, p), reach
            )


@njit(cache=True)
def _add_offsets(net: Any, at_points: Any, total: Any, weights: Any, reach: float, first: int, last: int) -> None:
    """Add the mean distances of the triangles first ... last, weighted by their areas, to their points."""
    for t in range(first, last):
        if net.triangles[t, 0] < 0:
            continue
        a, b, c = net.triangles[t, 0], net.triangles[t, 1], net.triangles[t, 2]
        normal = normal_of(net, t)
        x = (net.points[a, 0] + net.points[b, 0] + net.points[c, 0]) / 3
        y = (net.points[a, 1] + net.points[b, 1] + net.points[c, 1]) / 3
        z = (net.points[a, 2] + net.points[b, 2] + net.points[c, 2]) / 3
        area = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
        # Exact for a quadratic: three quarters of the centre and a twelfth of each corner.
        mean = 0.75 * _signed(net, x, y, z, net.kinds[t], normal, reach)
        mean += (at_points[a] + at_points[b] + at_points[c]) / 12
        for p in (a, b, c):
            total[p] += area * mean
            weights[p] += area


@inner(cache=True)
def _signed(net: Any, x: float, y: float, z: float, kind: int, normal: Any, reach: float) -> Any:
    """Return the distance of a point from the old surface, positive in front of it, 0 where that is out of reach."""
    hit = nearest(net.surface, x, y, z, kind, normal, reach, False)
    if hit[1] < 0:
        return 0.0
    fx, fy, fz, _ = foot(net.surface, hit)
    side = (x - fx) * normal[0] + (y - fy) * normal[1] + (z - fz) * normal[2]
    return np.sqrt(hit[0]) if side > 0 else -np.sqrt(hit[0])


@njit(cache=True)
def shift(net: Any, offsets: Any, goal: float, max_error: float, first: int, last: int) -> int:
    """Move the points first ... last along their normals by their `offsets`; return how many moved."""
    rows = np.empty(STAR, np.int32)
    moved = 0
    for p in range(first, last):
        if offsets[p] == 0 or net.status[p] != FREE:
            continue
        nx, ny, nz = star_normal(net, p)
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length > 0:
            share = offsets[p] / length
            x, y, z = net.points[p, 0] + share * nx, net.points[p, 1] + share * ny, net.points[p, 2] + share * nz
            moved += try_move(net, p, x, y, z, goal, max_error, rows)
    return moved


@njit(cache=True)
def fit_curves(net: Any, goal: float, max_error: float, first: int, last: int) -> int:
    """Move those of the points first ... last that are on curves so that their edges run on both sides of the old one.

    Return how many moved.
    """
    rows = np.empty(STAR, np.int32)
    offset = np.empty(3)
    moved = 0
    for p in range(first, last):
        if net.status[p] != CURVE or net.heads[p] < 0:
            continue
        a, b = curve_neighbours(net, p)
        if a < 0 or b < 0:
            continue
        offset[:] = 0
        for q in (a, b):
            # Simpson's rule along each edge, the ends' share halved between its two points.
            _add_offset(net, p, p, net.curves[p], 1 / 3, max_error, offset)
            _add_offset(net, p, q, net.curves[p], 2 / 3, max_error, offset)
        x, y, z = net.points[p, 0] + offset[0] / 2, net.points[p, 1] + offset[1] / 2, net.points[p, 2] + offset[2] / 2
        moved += try_move(net, p, x, y, z, goal, max_error, rows)
    return moved


@inner(cache=True)
def _add_offset(net: Any, p: int, q: int, curve: int, weight: float, reach: float, offset: Any) -> None:
    """Add the weighted way from the middle of p, q to the old curve."""
    x, y, z = (
        0.5 * (net.points[p, 0] + net.points[q, 0]),
        0.5 * (net.points[p, 1] + net.points[q, 1]),
        0.5 * (net.points[p, 2] + net.points[q, 2]),
    )
    hit = nearest(net.lines, x, y, z, curve, (0.0, 0.0, 0.0), 2 * reach, False)
    if hit[1] >= 0:
        fx, fy, fz, _ = foot(net.lines, hit)
        offset[0] += weight * (fx - x)
        offset[1] += weight * (fy - y)
        offset[2] += weight * (fz - z)


@njit(cache=True)
def open_corners(net: Any, locked: Any, goal: float, max_error: float, first: int, last: int) -> int:
    """Move points of those triangles first ... last with an angle below `goal` in any direction so that it grows.

    Return how many moved.
    Curves that leave a point under a few degrees pinch the triangles between them, however those slide along. Points
    stay within `max_error` of their surfaces and curves; along the axes that are `locked` (p, 3) they do not move.
    """
    rows = np.empty(STAR, np.int32)
    step = np.empty(3)
    moved = 0
    for t in range(first, last):
        for k in range(3):
            p = net.triangles[t, 0] if net.triangles[t, 0] < 0 else net.triangles[t, k]
            if p < 0 or net.status[p] > CURVE or angle_of(net, t) >= goal:
                continue
            length = 0.3 * net.sizes[p]
            for trial in range(1, 33):
                # Roberts' plastic-number sequence spreads any number of directions evenly over the sphere.
                height = 2 * (trial * 0.7548776662466927 % 1) - 1
                turn = 2 * np.pi * (trial * 0.5698402909980532 % 1)
                flat = np.sqrt(1 - height * height)
                sine, cosine = sine_cosine(turn)
                step[0], step[1], step[2] = flat * cosine, flat * sine, height
                for axis in range(3):
                    step[axis] *= 0.0 if locked[p, axis] else length
                x, y, z = net.points[p, 0] + step[0], net.points[p, 1] + step[1], net.points[p, 2] + step[2]
                if try_move(net, p, x, y, z, 180.0, max_error, rows):
                    moved += 1
                else:
                    length *= 0.9
    return moved
