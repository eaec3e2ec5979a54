"""Room around voxels: how far the nearest voxel that is not free lies, kept up to date unit by unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.phantoms.crowds.box import Scene
from meshcell.phantoms.crowds.templates import Template

# Room is kept in quarters of the shortest voxel edge: finer than its error, and 63 voxels far in one byte.
QUANTA = 4
# Draws of a voxel without room before the voxels with room are listed instead.
MISSES = 64
# Index coordinates are kept this far from the ends, so that rounding never leads out.
RIM = 1e-6
# Bits behind the point of whole-numbered coordinates: rounding adds up to less than RIM.
FINE = 40
ONE = 2.0**FINE


def gaps(unit: Template, reach: float, quantum: float) -> tuple[Array, Floats]:
    """Return the distance from the unit on its own voxels, in quanta, out to `reach` um, and the position's index."""
    from scipy.ndimage import distance_transform_edt

    width = int(np.ceil(reach / unit.step)) + 1
    outside = np.pad(unit.values < unit.level, width, constant_values=True)
    distance = distance_transform_edt(outside) * (unit.step / quantum)
    return np.minimum(distance, 255).astype(np.uint8), unit.centre + width


def rooms(scene: Scene, home: int) -> Array:
    """Return the room of every voxel in quanta (at most 255); the box's faces count as taken.

    A chamfer distance, up to 15 % too long in some directions: it proposes, the voxels decide.
    """
    weights = _weights(scene.spacing)
    if (scene.labels == home).all():
        return _empty_rooms(scene.labels.shape, scene.spacing)
    room = np.empty(scene.labels.shape, np.uint8)
    chamfer(scene.labels, home, weights, room)
    return room


def quantum(spacing: Floats) -> float:
    """Return the unit of room, um."""
    return float(spacing.min()) / QUANTA


def _weights(spacing: Floats) -> Array:
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1)
    return np.asarray(np.rint(np.linalg.norm(steps * spacing, axis=-1) / quantum(spacing)), np.int64)


def _empty_rooms(shape: tuple[int, ...], spacing: Floats) -> Array:
    room = np.full(shape, 255, np.uint8)
    for axis, n in enumerate(shape):
        k = np.arange(n)
        wall = np.minimum(np.minimum(k + 1, n - k) * (spacing[axis] / quantum(spacing)), 255).astype(np.uint8)
        np.minimum(room, wall.reshape([-1 if other == axis else 1 for other in range(3)]), out=room)
    return room


def room_needed(unit: Template, spacing: Floats) -> int:
    """Return the least room, in quanta, at which the unit's core might fit."""
    # Half a voxel for the position within it, and the chamfer's error.
    return max(1, int((0.95 * unit.core_radius - 0.5 * spacing.min()) / quantum(spacing)))


# --- kernels ---


@njit(cache=True)
def chamfer(labels: Any, home: int, weights: Any, room: Any) -> None:
    """Propagate distances from voxels that are not free, and from beyond the box, forwards and backwards.

    Plane by plane in floats with a rim of zeros: four neighbouring lines at a time, so that the machine takes many
    voxels at once, and only then along the line.
    """
    nx, ny, nz = labels.shape
    last, this = np.zeros((ny + 2, nz + 2), np.float32), np.zeros((ny + 2, nz + 2), np.float32)
    w = weights.astype(np.float32)
    for a in range(nx):
        for j in range(ny):
            line = this[j + 1]
            for k in range(nz):
                line[k + 1] = np.float32(255.0) if labels[a, j, k] == home else np.float32(0.0)
            _from_lines(line, last[j], last[j + 1], last[j + 2], this[j], w[0, 0], w[0, 1], w[0, 2], w[1, 0])
            for k in range(1, nz + 1):
                line[k] = min(line[k], line[k - 1] + w[1, 1, 0])
            for k in range(nz):
                room[a, j, k] = np.uint8(line[k + 1])
        last, this = this, last
    last[:], this[:] = 0, 0
    for a in range(nx - 1, -1, -1):
        for j in range(ny - 1, -1, -1):
            line = this[j + 1]
            for k in range(nz):
                line[k + 1] = np.float32(room[a, j, k])
            _from_lines(line, last[j], last[j + 1], last[j + 2], this[j + 2], w[2, 0], w[2, 1], w[2, 2], w[1, 2])
            for k in range(nz, 0, -1):
                line[k] = min(line[k], line[k + 1] + w[1, 1, 2])
            for k in range(nz):
                room[a, j, k] = np.uint8(line[k + 1])
        last, this = this, last


@inner(cache=True)
def _from_lines(line, p, q, r, s, wp, wq, wr, ws) -> None:  # type: ignore[no-untyped-def]
    """Lower a line to what comes over from four lines beside it, straight and aslant."""
    for k in range(1, len(line) - 1):
        least = min(min(p[k - 1] + wp[0], p[k] + wp[1]), p[k + 1] + wp[2])
        least = min(least, min(min(q[k - 1] + wq[0], q[k] + wq[1]), q[k + 1] + wq[2]))
        least = min(least, min(min(r[k - 1] + wr[0], r[k] + wr[1]), r[k + 1] + wr[2]))
        least = min(least, min(min(s[k - 1] + ws[0], s[k] + ws[1]), s[k + 1] + ws[2]))
        line[k] = min(line[k], least)


@inner(cache=True)
def window_of(h, centre, step, extent, R, p):  # type: ignore[no-untyped-def]
    """Return the first voxel and one past the last (2, 3) that a turned box of template voxels touches, unclipped."""
    window = np.empty((2, 3), np.int64)
    for a in range(3):
        low, high = p[a], p[a]
        for b in range(3):
            ends = -R[a, b] * centre[b] * step, R[a, b] * (extent[b] - 1 - centre[b]) * step
            low += min(ends[0], ends[1])
            high += max(ends[0], ends[1])
        window[0, a] = int(np.floor(low / h[a]))
        window[1, a] = int(np.ceil(high / h[a])) + 1
    return window


@inner(cache=True)
def span_of(first, last, u, v, w, slope, h, p, extent):  # type: ignore[no-untyped-def]
    """Clip a line of voxels along z to those whose index coordinates surely lie in 0 ... extent.

    The coordinates at z are (u, v, w) + slope z, where z = k h - p. Nobody needs to look again whether they do.
    """
    low, high = float(first), float(last - 1)
    for start, rise, n in ((u, slope[0], extent[0]), (v, slope[1], extent[1]), (w, slope[2], extent[2])):
        if abs(rise) * h < 1e-12:
            if start < RIM or start > n - RIM:
                return 0, 0
            continue
        a, b = (p + (RIM - start) / rise) / h, (p + (n - RIM - start) / rise) / h
        low, high = max(low, min(a, b)), min(high, max(a, b))
    if low > high:
        return 0, 0
    return int(np.ceil(low)), int(np.floor(high)) + 1


@njit(cache=True)
def shrink(room, h, halo, centre, step, R, p) -> None:  # type: ignore[no-untyped-def]
    """Lower the room of the voxels around a new unit to their distance from it."""
    nx, ny, nz = room.shape
    window = window_of(h, centre, step, halo.shape, R, p)
    m, o = halo.shape[1], halo.shape[2]
    flat = halo.ravel()
    S = R / step
    for i in range(max(window[0, 0], 0), min(window[1, 0], nx)):
        x = i * h[0] - p[0]
        for j in range(max(window[0, 1], 0), min(window[1, 1], ny)):
            y = j * h[1] - p[1]
            u0 = S[0, 0] * x + S[1, 0] * y + centre[0] + 0.5
            v0 = S[0, 1] * x + S[1, 1] * y + centre[1] + 0.5
            w0 = S[0, 2] * x + S[1, 2] * y + centre[2] + 0.5
            first, last = span_of(max(window[0, 2], 0), min(window[1, 2], nz), u0, v0, w0, S[2], h[2], p[2], halo.shape)
            # In whole numbers of 2^-FINE from voxel to voxel: this loop is half of all packing.
            line, z = room[i, j], first * h[2] - p[2]
            u, v, w = int((u0 + S[2, 0] * z) * ONE), int((v0 + S[2, 1] * z) * ONE), int((w0 + S[2, 2] * z) * ONE)
            du, dv, dw = int(S[2, 0] * h[2] * ONE), int(S[2, 1] * h[2] * ONE), int(S[2, 2] * h[2] * ONE)
            for k in range(first, last):
                gap = flat[np.uint64(((u >> FINE) * m + (v >> FINE)) * o + (w >> FINE))]
                line[np.uint64(k)] = min(line[np.uint64(k)], gap)
                u, v, w = u + du, v + dv, w + dw


@inner(cache=True)
def _with_room(room, need):  # type: ignore[no-untyped-def]
    """List the voxels with at least this room."""
    flat = room.ravel()
    n = 0
    for v in range(len(flat)):
        n += flat[v] >= need
    where = np.empty(n, np.int64)
    n = 0
    for v in range(len(flat)):
        if flat[v] >= need:
            where[n] = v
            n += 1
    return where


@inner(cache=True)
def propose(room, need, where, left, rng):  # type: ignore[no-untyped-def]
    """Draw a voxel with room: from all while that succeeds (left < 0), then from a list that shrinks; -1 for none."""
    flat = room.ravel()
    if left < 0:
        for _ in range(MISSES):
            v = int(rng.random() * len(flat))
            if flat[v] >= need:
                return v, where, left
        where = _with_room(room, need)
        left = len(where)
    while left > 0:
        n = int(rng.random() * left)
        if flat[where[n]] >= need:
            return where[n], where, left
        left -= 1
        where[n] = where[left]
    return -1, where, 0
