"""Packing of rigid units into voxels: what is free, does a unit fit here, stamp it.

A voxel is free where its label is the home's (0 in an empty box). The room of a voxel, its distance from the nearest
voxel that is not free, proposes where a unit may go; whether it fits is decided by every voxel of the turned unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.rounding import sine_cosine
from meshcell.phantoms.crowds.box import Scene
from meshcell.phantoms.crowds.clearances import gaps, propose, quantum, room_needed, shrink, span_of, window_of
from meshcell.phantoms.crowds.templates import Template

# Turns tried at each place of a free unit.
TURNS = 16
# Places that a try of a free unit looks at: a place costs microseconds, the try of a membrane or filament milliseconds.
# Forty percent of twenty species stop at 36 with one place to a try, and take no longer for each percent with twenty.
PLACES = 20
# Places that are looked at in a fraction of a second.
AT_A_TIME = 2_000
# Share of a core's radius within which a turned unit surely occupies all voxels, between the sampled directions too.
SURE = 0.95


class Voxels(NamedTuple):
    """What kernels see of a scene: labels, instances, densities, room, and the edges (3,) of a voxel in um."""

    labels: Array
    instances: Array
    density: Array
    room: Array
    h: Floats


class Unit(NamedTuple):
    """What kernels see of a unit: its template, what it takes of the room around it, what it must keep clear.

    The core is the ball, SURE of its radius, that the unit occupies however it is turned.
    """

    values: Array
    step: float
    level: float
    centre: Floats
    core: Floats
    core_radius: float
    points: Floats
    halo: Array
    halo_centre: Floats
    offsets: Array


def clearance_offsets(spacing: Floats, clearance: float) -> Array:
    """Return the (m, 3) voxel offsets within the clearance (um), the voxel itself left out; none for 0."""
    reach = np.floor(clearance / spacing + 1e-9).astype(int)
    steps = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm(steps * spacing, axis=1)
    return np.asarray(steps[(lengths > 0) & (lengths <= clearance * (1 + 1e-9))], np.int64)


@dataclass(frozen=True, eq=False)
class Ready:
    """A template made ready for one scene: how it narrows the room, what it must keep clear, space to work in."""

    template: Template
    species: str
    label: int
    home: int
    need: int
    unit: Unit
    space: tuple[Array, Array]


def ready(
    scene: Scene, template: Template, *, species: str, label: int, home: int = 0, reach: float, clearance: float = 0.0
) -> Ready:
    """Prepare a template; `reach` (um): this and all later units ask for no more room."""
    halo, halo_centre = gaps(template, reach, quantum(scene.spacing))
    offsets, need = clearance_offsets(scene.spacing, clearance), room_needed(template, scene.spacing)
    unit = Unit(
        *(template.values, template.step, template.level, template.centre),
        *(template.core, SURE * template.core_radius, template.points),
        *(halo, halo_centre, offsets),
    )
    return Ready(template, species, label, home, need, unit, buffers(template, scene.spacing))


def fill(
    scene: Scene, room: Array, this: Ready, *, voxels: int, tries: int, most: int = 0, rng: np.random.Generator
) -> tuple[int, int]:
    """Place free units until `voxels` are taken, `most` are placed, or `tries` times PLACES in a row had no room.

    Places are uniform over the voxels whose room would hold the unit's core, the position uniform within the voxel,
    up to TURNS uniform rotations are tried at each.

    Returns
    -------
    (voxels, failures)
        Voxels taken, and the tries in a row that failed last.
    """
    taken, failures = 0, 0
    # Units may have fewer voxels than their volume says, so that more of them fit than there are rows for at first.
    while True:
        rows = most or int((voxels - taken) / max(1.0, 0.5 * this.template.volume / scene.voxel)) + 16
        placed, stamped, failures = _fill(scene, room, this, voxels - taken, tries * PLACES, rows, rng)
        taken += stamped
        if most or placed < rows or taken >= voxels:
            return taken, failures // PLACES


def _fill(
    scene: Scene, room: Array, this: Ready, voxels: int, places: int, most: int, rng: np.random.Generator
) -> tuple[int, int, int]:
    """Place up to `most` units until `places` in a row failed; return how many, their voxels, and the last failures."""
    poses = positions, rotations, counts = np.empty((most, 3)), np.empty((most, 4)), np.zeros(most, np.int64)
    box = Voxels(scene.labels, scene.instances, scene.density, room, scene.spacing)
    placed, failures = _packed(box, this, (this.home, this.label, scene.units + 1), (voxels, places), rng, poses)
    chains = scene.chains + 1 + np.arange(placed)
    scene.chains += placed
    scene.record(this.species, chains, 0, positions[:placed], rotations[:placed], counts[:placed])
    return placed, int(counts[:placed].sum()), failures


def _packed(
    box: Voxels, this: Ready, identity: tuple[int, int, int], limits: tuple[int, int], rng: Any, poses: Any
) -> tuple[int, int]:
    """Pack units, some places at a time; return how many were placed, and the failures in a row at the end."""
    goal, places = limits
    # Where a unit may go, if few voxels have room; the units placed, their voxels, and failures in a row.
    where, left, placed, taken, failures = np.empty(0, np.int64), -1, 0, 0, 0
    while taken < goal and failures < places and placed < len(poses[2]) and left != 0:
        done = placed, taken, failures
        where, left, placed, taken, failures = pack(
            box, this.unit, identity, (goal, places, this.need, AT_A_TIME), this.space, rng, *poses, where, left, *done
        )
    return placed, failures


def buffers(unit: Template, spacing: Floats) -> tuple[Array, Array]:
    """Return space for the voxels of one unit in any rotation: indices and densities."""
    reach = np.linalg.norm(np.array(unit.values.shape)) * unit.step
    most = int(np.prod(np.ceil(reach / spacing) + 2))
    return np.empty(most, np.int64), np.empty(most, np.float32)


def place(
    scene: Scene, room: Array, this: Ready, positions: Floats, rotations: Floats, *, chain: int, host: int = 0
) -> tuple[int, int]:
    """Stamp the unit in the first of the (k, 3) and (k, 4) poses that fits.

    Voxels of instance `host` (the membrane it is bound to) count as free and change hands.

    Returns
    -------
    (which, voxels)
        The pose's row, or -1, and how many voxels the unit took.
    """
    box = Voxels(scene.labels, scene.instances, scene.density, room, scene.spacing)
    identity = this.home, this.label, scene.units + 1
    poses = np.ascontiguousarray(positions), np.ascontiguousarray(rotations)
    which, voxels, cut = first_fit(box, this.unit, identity, host, this.space, *poses)
    if which >= 0:
        scene.record(this.species, chain, host, positions[which : which + 1], rotations[which : which + 1], voxels)
        if cut:
            scene.cut[host] = scene.cut.get(host, 0) + cut
    return which, voxels


def aligned(normals: Floats, spins: Floats) -> Floats:
    """Return (n, 4) quaternions that take z to (n, 3) unit normals after a spin about z by (n,) angles.

    Examples
    --------
    >>> aligned(np.array([[0.0, 0.0, 1.0]]), np.array([0.0]))
    array([[1., 0., 0., 0.]])
    """
    x, y, z = normals.T
    # Half the way from z to the normal; straight down has no single half way, x serves.
    w, a, b = np.where(z < -1 + 1e-12, 0.0, 1 + z), np.where(z < -1 + 1e-12, 1.0, -y), np.where(z < -1 + 1e-12, 0.0, x)
    w, a, b = np.array([w, a, b]) / np.sqrt(w * w + a * a + b * b)
    s, c = sine_cosine(spins / 2)
    turned = np.stack([w * c, a * c + b * s, b * c - a * s, w * s], axis=1)
    return np.asarray(np.where(turned[:, :1] < 0, -turned, turned))


def quaternions(n: int, rng: np.random.Generator) -> Floats:
    """Draw n uniform rotations as quaternions w, x, y, z with w >= 0.

    Source
    ------
    K. Shoemake, Graphics Gems III (1992), p. 124.
    """
    u, a, b = rng.random((3, n))
    near, far = np.sqrt(1 - u), np.sqrt(u)
    (sine_a, cosine_a), (sine_b, cosine_b) = sine_cosine(2 * np.pi * a), sine_cosine(2 * np.pi * b)
    all_four = np.stack([far * cosine_b, near * sine_a, near * cosine_a, far * sine_b], axis=1)
    return np.asarray(np.where(all_four[:, :1] < 0, -all_four, all_four))


# --- kernels ---


@njit(cache=True)
def rotation(q: Any) -> Any:
    """Return the (3, 3) matrix of a unit quaternion w, x, y, z."""
    w, x, y, z = q[0], q[1], q[2], q[3]
    R = np.empty((3, 3))
    R[0, 0], R[0, 1], R[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    R[1, 0], R[1, 1], R[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    R[2, 0], R[2, 1], R[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    return R


@inner(cache=True)
def _draw_in_disc(rng: Any) -> Any:
    while True:
        a, b = 2 * rng.random() - 1, 2 * rng.random() - 1
        square = a * a + b * b
        if 0 < square < 1:
            return a, b, square


@inner(cache=True)
def draw_quaternion(rng: Any, q: Any) -> None:
    """Draw a uniform rotation from two points of a disc (Marsaglia, Ann. Math. Stat. 43, 1972, p. 645).

    Half the time of `quaternions`' sines and cosines, and this is drawn for every pose that is tried.
    """
    a, b, near = _draw_in_disc(rng)
    c, d, far = _draw_in_disc(rng)
    scale = np.sqrt((1 - near) / far)
    q[0], q[1], q[2], q[3] = a, b, c * scale, d * scale
    if q[0] < 0:
        for k in range(4):
            q[k] = -q[k]


@njit(cache=True)
def _may_fit(labels, instances, h, home, host, points, R, p) -> bool:  # type: ignore[no-untyped-def]
    """Tell whether the coarse points fall on free voxels."""
    nx, ny, nz = labels.shape
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        i = int(np.floor((R[0, 0] * x + R[0, 1] * y + R[0, 2] * z + p[0]) / h[0] + 0.5))
        j = int(np.floor((R[1, 0] * x + R[1, 1] * y + R[1, 2] * z + p[1]) / h[1] + 0.5))
        k = int(np.floor((R[2, 0] * x + R[2, 1] * y + R[2, 2] * z + p[2]) / h[2] + 0.5))
        if i < 0 or j < 0 or k < 0 or i >= nx or j >= ny or k >= nz:
            return False
        if labels[i, j, k] != home and (host == 0 or instances[i, j, k] != host):
            return False
    return True


@inner(cache=True)
def core_fits(labels, h, home, x, y, z, radius) -> bool:  # type: ignore[no-untyped-def]
    """Tell whether a ball (um) around index coordinates holds nothing but free voxels: no turn of the unit matters."""
    nx, ny, nz = labels.shape
    square = radius * radius
    for i in range(int(np.ceil(x - radius / h[0])), int(np.floor(x + radius / h[0])) + 1):
        for j in range(int(np.ceil(y - radius / h[1])), int(np.floor(y + radius / h[1])) + 1):
            flat = square - ((i - x) * h[0]) ** 2 - ((j - y) * h[1]) ** 2
            if flat < 0:
                continue
            half = np.sqrt(flat) / h[2]
            first, last = int(np.ceil(z - half)), int(np.floor(z + half))
            if first <= last and (i < 0 or j < 0 or first < 0 or i >= nx or j >= ny or last >= nz):
                return False
            for k in range(first, last + 1):
                if labels[i, j, k] != home:
                    return False
    return True


@inner(cache=True)
def _interpolated(flat, m, o, u, v, w):  # type: ignore[no-untyped-def]
    """Interpolate linearly between the eight of (., m, o) voxels around index coordinates."""
    i, j, k = int(u), int(v), int(w)
    a, b, c = u - i, v - j, w - k
    # Unsigned: numba spares the look whether an index counts from the end.
    at, row, one = np.uint64((i * m + j) * o + k), np.uint64(o), np.uint64(1)
    to = at + np.uint64(m * o)
    low = (1 - b) * ((1 - c) * flat[at] + c * flat[at + one])
    low += b * ((1 - c) * flat[at + row] + c * flat[at + row + one])
    high = (1 - b) * ((1 - c) * flat[to] + c * flat[to + one])
    high += b * ((1 - c) * flat[to + row] + c * flat[to + row + one])
    return (1 - a) * low + a * high


@njit(cache=True)
def _voxels(box, unit, home, host, R, p, found, densities):  # type: ignore[no-untyped-def]
    """List the voxels with some density of the turned unit; -1 where one that it occupies is not free.

    The template's window may reach beyond the box, the voxels that it occupies may not.
    """
    labels, instances, h = box.labels, box.instances, box.h
    values, step, level, centre = unit.values, unit.step, unit.level, unit.centre
    nx, ny, nz = labels.shape
    window = window_of(h, centre, step, values.shape, R, p)
    n = 0
    flat, m, o = values.ravel(), values.shape[1], values.shape[2]
    inner = (values.shape[0] - 1, m - 1, o - 1)
    S = R / step
    for i in range(window[0, 0], window[1, 0]):
        x = i * h[0] - p[0]
        for j in range(window[0, 1], window[1, 1]):
            y = j * h[1] - p[1]
            u0 = S[0, 0] * x + S[1, 0] * y + centre[0]
            v0 = S[0, 1] * x + S[1, 1] * y + centre[1]
            w0 = S[0, 2] * x + S[1, 2] * y + centre[2]
            first, last = span_of(window[0, 2], window[1, 2], u0, v0, w0, S[2], h[2], p[2], inner)
            for k in range(first, last):
                z = k * h[2] - p[2]
                value = _interpolated(flat, m, o, u0 + S[2, 0] * z, v0 + S[2, 1] * z, w0 + S[2, 2] * z)
                if value <= 0:
                    continue
                within = 0 <= i < nx and 0 <= j < ny and 0 <= k < nz
                if value >= level and (
                    not within or (labels[i, j, k] != home and (host == 0 or instances[i, j, k] != host))
                ):
                    return -1
                if within:
                    found[n] = (i * ny + j) * nz + k
                    densities[n] = value
                    n += 1
    return n


@inner(cache=True)
def _is_clear(labels, instances, home, host, level, offsets, found, densities, n) -> bool:  # type: ignore[no-untyped-def]
    """Tell whether no voxel of another unit lies within the offsets of an occupied one."""
    nx, ny, nz = labels.shape
    for m in range(n):
        if densities[m] < level:
            continue
        i, j, k = found[m] // (ny * nz), found[m] // nz % ny, found[m] % nz
        for o in range(len(offsets)):
            x, y, z = i + offsets[o, 0], j + offsets[o, 1], k + offsets[o, 2]
            if not (0 <= x < nx and 0 <= y < ny and 0 <= z < nz):
                continue
            if labels[x, y, z] != home and (host == 0 or instances[x, y, z] != host):
                return False
    return True


@inner(cache=True)
def _stamp(box, label, instance, level, found, densities, n):  # type: ignore[no-untyped-def]
    """Write a unit down; return its voxels and how many of them another instance (its host) had."""
    flat_labels, flat_instances, flat_density = box.labels.ravel(), box.instances.ravel(), box.density.ravel()
    voxels, cut = 0, 0
    for m in range(n):
        v = found[m]
        flat_density[v] = max(flat_density[v], densities[m])
        if densities[m] >= level:
            cut += flat_instances[v] != 0
            flat_labels[v] = label
            flat_instances[v] = instance
            voxels += 1
    return voxels, cut


@njit(cache=True)
def pack(  # type: ignore[no-untyped-def]
    box, unit, identity, limits, space, rng, positions, quaternions, counts, where, left, placed, taken, failures
):
    """Place units until `goal` voxels are taken, `places` in a row failed, nothing has room (`left` is 0 then), or so
    many places were looked at as there may be at a time.

    `identity` is the label that is free, the units' own label and the first one's instance; `limits` are the goal, the
    places, the room that a core needs, and the places at a time. The others are where to go on from, and are returned.
    """
    found, densities = space
    home, label, instance = identity
    goal, places, need, at_a_time = limits
    labels, instances, room, h, core = box.labels, box.instances, box.room, box.h, unit.core
    ny, nz = room.shape[1], room.shape[2]
    p, q = np.empty(3), np.empty(4)
    for _ in range(at_a_time):
        if taken >= goal or failures >= places or placed >= len(counts):
            break
        v, where, left = propose(room, need, where, left, rng)
        if v < 0:
            break
        x, y, z = v // (ny * nz) + rng.random() - 0.5, v // nz % ny + rng.random() - 0.5, v % nz + rng.random() - 0.5
        failures += 1
        if not core_fits(labels, h, home, x, y, z, unit.core_radius):
            continue
        for _ in range(TURNS):
            draw_quaternion(rng, q)
            R = rotation(q)
            p[0] = x * h[0] - (R[0, 0] * core[0] + R[0, 1] * core[1] + R[0, 2] * core[2])
            p[1] = y * h[1] - (R[1, 0] * core[0] + R[1, 1] * core[1] + R[1, 2] * core[2])
            p[2] = z * h[2] - (R[2, 0] * core[0] + R[2, 1] * core[1] + R[2, 2] * core[2])
            if not _may_fit(labels, instances, h, home, 0, unit.points, R, p):
                continue
            n = _voxels(box, unit, home, 0, R, p, found, densities)
            if n < 0 or not _is_clear(labels, instances, home, 0, unit.level, unit.offsets, found, densities, n):
                continue
            voxels, _ = _stamp(box, label, instance + placed, unit.level, found, densities, n)
            if voxels == 0:
                continue
            shrink(room, h, unit.halo, unit.halo_centre, unit.step, R, p)
            positions[placed], quaternions[placed], counts[placed] = p, q, voxels
            taken += voxels
            placed += 1
            failures = 0
            break
    return where, left, placed, taken, failures


@njit(cache=True)
def first_fit(box, unit, identity, host, space, positions, quaternions):  # type: ignore[no-untyped-def]
    """Stamp the first pose that fits; return its row or -1, its voxels, and those taken from the host."""
    found, densities = space
    home, label, instance = identity
    labels, instances = box.labels, box.instances
    for n in range(len(positions)):
        R = rotation(quaternions[n])
        p = positions[n]
        if not _may_fit(labels, instances, box.h, home, host, unit.points, R, p):
            continue
        m = _voxels(box, unit, home, host, R, p, found, densities)
        if m <= 0 or not _is_clear(labels, instances, home, host, unit.level, unit.offsets, found, densities, m):
            continue
        voxels, cut = _stamp(box, label, instance, unit.level, found, densities, m)
        if voxels > 0:
            shrink(box.room, box.h, unit.halo, unit.halo_centre, unit.step, R, p)
            return n, voxels, cut
    return -1, 0, 0
