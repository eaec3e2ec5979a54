"""The organelles of a cell: nucleus, endoplasmic reticulum, mitochondria and vesicles, each placed where there is room.

A new organelle is a function that takes the room there is and a generator and returns the shapes that it placed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from meshcell.core.arrays import Array, Floats
from meshcell.core.rounding import cube_root, norm, sine_cosine, turn_about
from meshcell.phantoms import signed_distances as sdf
from meshcell.phantoms.curves import smooth_path
from meshcell.phantoms.signed_distances import Shape

# A nucleus is never longer than this many of its widths, however flat the cell.
LONGEST_NUCLEUS = 1.5
# The nucleus may be larger and lie farther off centre than asked for, by these shares of the cell's least radius.
NUCLEUS_SCATTER, NUCLEUS_SHIFT = 0.06, 0.06
# Bow of ER tubules in parts of their length (standard deviation along each axis).
BOW = 0.09
# Points of the network to which a tubule from one point may lead, and how often it is pushed out of obstacles.
NEIGHBOURS, PUSHES = 10, 6
# The rounded union of ER parts, in thicknesses of a tubule.
BLEND = 0.2

# Distance (um) to what is there already, less the gap.
Room = Callable[[Any], Floats]


@dataclass(frozen=True)
class Sizes:
    """Lengths in um."""

    gap: float
    er_thickness: float
    mitochondrion: float
    vesicle: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{field.name} should be a positive length in um; got {value!r}")


@dataclass(frozen=True)
class Counts:
    """How many of each are asked for."""

    mitochondria: int
    er_nodes: int
    sheets: int
    vesicles: int
    tries: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 1 if field.name == "tries" else 0
            if int(value) != value or value < least:
                raise ValueError(f"{field.name} should be a whole number >= {least}; got {value!r}")


def nucleus(radii: Array, share: float, rng: np.random.Generator) -> tuple[Shape, Floats]:
    """Draw the nucleus, near the middle; return it and its centre (3,), um."""
    least = radii.min()
    middle = least * rng.uniform(-NUCLEUS_SHIFT, NUCLEUS_SHIFT, 3) / np.sqrt(3)
    scatter = rng.uniform(1 - 2 * NUCLEUS_SCATTER, 1 + NUCLEUS_SCATTER, 3)
    own = share * np.minimum(radii, LONGEST_NUCLEUS * least) * scatter
    # In a flat cell a tilted nucleus would stand out, so only a round one is tilted.
    tilt = rng.normal(0, 0.3, 3) * (least / radii.max()) ** 4
    return sdf.ellipsoid(middle, own, turn_about(tilt)), middle


def network(
    room: Room,
    above: Room,
    radii: Array,
    middle: Floats,
    sizes: Sizes,
    counts: Counts,
    rng: np.random.Generator,
) -> list[Shape]:
    """Return the parts of one connected network of ER sheets and tubules."""
    thick = sizes.er_thickness
    # The rounded union swells its parts by less than its blend; samples of a path lie half a thickness apart.
    need = thick * (0.5 + BLEND + 0.15)
    sheets, rims = _sheets(room, above, radii, middle, need, thick, counts, rng)
    nodes = _nodes(room, radii, need, counts.er_nodes, rng)
    points = np.concatenate([nodes, *rims])
    owner = np.concatenate([np.arange(len(nodes)), np.repeat(len(nodes) + np.arange(len(sheets)), 6)]).astype(int)
    if not len(points):
        return []
    tubes, part = _connect(room, points, owner, thick, need, rng)
    sizes_of_parts = np.bincount(part)
    kept = int(sizes_of_parts.argmax())
    bodies = [sheet for k, sheet in enumerate(sheets) if part[len(nodes) + k] == kept]
    return [*bodies, *(sdf.tube(path, thick / 2) for first, path in tubes if part[first] == kept)]


def _connect(
    room: Room, points: Floats, owner: Array, thick: float, need: float, rng: np.random.Generator
) -> tuple[list[tuple[int, Array]], Array]:
    """Join junctions by tubules, the shortest first, until all hang together or no free way is left.

    Returns the tubules as (first body, path), and for every body the part of the network that it belongs to.
    """
    n_bodies = int(owner.max()) + 1
    part = np.arange(n_bodies)
    degree = np.zeros(n_bodies, int)
    gaps = cdist(points, points)
    # Only among the nearest: long ways are mostly blocked, and looking for them is what takes the time.
    rank = min(NEIGHBOURS, len(points) - 1)
    near = gaps <= np.partition(gaps, rank, axis=1)[:, [rank]]
    first, second = np.nonzero(np.triu((near | near.T) & (owner[:, None] != owner[None, :])))
    order = np.argsort(gaps[first, second], kind="stable")
    tubes: list[tuple[int, Array]] = []
    joined: set[tuple[int, int]] = set()
    loops = n_bodies // 4
    for i, j in zip(first[order], second[order], strict=True):
        a, b = int(owner[i]), int(owner[j])
        closes = part[a] == part[b]
        # Loops make the polygonal network that ER is; more than three tubules at a junction are rare in it.
        if (a, b) in joined or (closes and (loops == 0 or max(degree[a], degree[b]) > 2)):
            continue
        path = _route(room, points[i], points[j], thick, need, rng)
        if path is None:
            continue
        loops -= int(closes)
        joined.add((a, b))
        degree[[a, b]] += 1
        part[part == part[b]] = part[a]
        tubes.append((a, path))
    return tubes, part


def _route(room: Room, start: Floats, end: Floats, thick: float, need: float, rng: np.random.Generator) -> Array | None:
    """Return a path that stays clear, or None: a winding one, pushed away from what is in its way."""
    length = norm(end - start)
    knots = np.linspace(start, end, max(3, int(length / (2.5 * thick)) + 2))
    along = np.linspace(0, np.pi, len(knots))[:, None]
    bow, bend = sine_cosine(along)[0], sine_cosine(2 * along)[0]
    # A bow and an S, fading at the ends: tubules are no spokes.
    knots += length * (bow * rng.normal(0, BOW, 3) + bend * rng.normal(0, BOW / 2, 3))
    for _ in range(PUSHES):
        path = smooth_path(knots, thick / 2)
        if room(path).min() >= need:
            return path
        lack = 1.2 * need - room(knots[1:-1])
        if lack.max() <= 0:
            return None
        knots[1:-1] += np.clip(lack, 0, thick)[:, None] * _uphill(room, knots[1:-1], 0.1 * thick)
    return None


def _uphill(room: Room, points: Array, step: float) -> Array:
    """Return unit vectors along which the room grows fastest."""
    probes = points[:, None, :] + step * np.concatenate([np.eye(3), -np.eye(3)])
    values = room(probes.reshape(-1, 3)).reshape(-1, 6)
    ahead = values[:, :3] - values[:, 3:]
    return np.asarray(ahead / np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-12))


def _nodes(room: Room, radii: Array, need: float, n: int, rng: np.random.Generator) -> Array:
    """Draw up to n junctions in free places, well apart."""
    candidates = rng.uniform(-radii, radii, (60 * n, 3))
    candidates = candidates[room(candidates) >= need]
    apart = 0.8 * cube_root(float(np.prod(2 * radii)) / max(n, 1)) * 0.7
    kept: list[Array] = []
    for point in candidates:
        if len(kept) == n:
            break
        if not kept or np.linalg.norm(np.array(kept) - point, axis=1).min() >= apart:
            kept.append(point)
    return np.array(kept).reshape(-1, 3)


def _sheets(
    room: Room,
    above: Room,
    radii: Array,
    middle: Floats,
    need: float,
    thick: float,
    counts: Counts,
    rng: np.random.Generator,
) -> tuple[list[Shape], list[Array]]:
    """Place bent sheets over the nucleus, as near to it as the gap allows; returns them and points of their rims."""
    sheets: list[Shape] = []
    rims: list[Array] = []
    for _ in range(counts.sheets):
        for _ in range(counts.tries):
            axis = rng.normal(size=3)
            axis /= norm(axis)
            angle = rng.uniform(0.45, 0.8)
            spots = _over(axis, angle)
            # Between samples the sheet is up to half a ring nearer to its neighbours than the samples are.
            radius = _lifted(above, middle, spots, radii, 1.3 * need)
            # A few spots show most collisions.
            if any(room(middle + radius * part).min() < 1.3 * need for part in (spots[::17], spots)):
                continue
            sheet = sdf.cap(middle, axis, radius, angle, thick)
            # Sheets that touch would be one thick sheet.
            if sheets and sdf.distance(sdf.union(*sheets), middle + radius * spots).min() < 2 * need:
                continue
            sheets.append(sheet)
            rims.append(middle + radius * spots[-24::4])
            break
    return sheets, rims


def _over(axis: Floats, angle: float) -> Array:
    """Return unit vectors in five rings around an axis, the last ring of 24 at the angle."""
    along = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    along /= norm(along)
    across = np.cross(axis, along)
    tilts, turns = np.meshgrid(np.linspace(0, angle, 6), np.arange(24) * np.pi / 12, indexing="ij")
    (aside, ahead), (out, up) = sine_cosine(turns[..., None]), sine_cosine(tilts[..., None])
    return np.asarray((up * axis + out * (ahead * along + aside * across)).reshape(-1, 3))


def _lifted(above: Room, middle: Floats, spots: Array, radii: Array, need: float) -> float:
    """Return the radius that lifts the lowest of some directions so far above the nucleus."""
    radius = 0.0
    # Like sphere tracing: what is still missing is never more than the way to go.
    while radius < radii.max() and (lack := need - float(above(middle + radius * spots).min())) > 0:
        radius += max(lack, 0.01 * need)
    return radius


def mitochondria(
    room: Room,
    radii: Array,
    middle: Floats,
    lengths: tuple[float, float],
    counts: Counts,
    rng: np.random.Generator,
) -> list[Shape]:
    """Place curved sausages that bend around the nucleus."""
    diameter, gap = lengths
    placed: list[Shape] = []
    for own in rng.spawn(counts.mitochondria):
        radius = diameter / 2 * own.uniform(0.8, 1.0)
        # Between samples of the path the sausage comes up to half a step nearer to its neighbours.
        need = radius * (1 + 1 / 6)
        starts = own.uniform(-radii, radii, (10 * counts.tries, 3))
        for start in starts[room(starts) >= need][: counts.tries]:
            path = _arc(start, middle, diameter * own.uniform(1.0, 5.0), radius / 3, own)
            if room(path).min() < need:
                continue
            if placed and sdf.distance(sdf.union(*placed), path).min() < need + gap:
                continue
            placed.append(sdf.tube(path, radius))
            break
    return placed


def _arc(start: Array, middle: Floats, length: float, step: float, rng: np.random.Generator) -> Array:
    """Return an arc around a point, tangential to spheres around the nucleus, bent about as much as they are."""
    away = norm(start - middle)
    out = (start - middle) / away
    sideways = np.cross(out, rng.normal(size=3))
    sideways /= norm(sideways)
    radius = away * rng.uniform(0.7, 1.6)
    turn = np.linspace(-0.5, 0.5, max(2, int(np.ceil(length / step)) + 1))[:, None] * length / radius
    sine, cosine = sine_cosine(turn)
    return np.asarray(start + radius * ((cosine - 1) * out + sine * sideways))


def vesicles(
    room: Room, radii: Array, lengths: tuple[float, float], counts: Counts, rng: np.random.Generator
) -> list[Shape]:
    """Place balls."""
    diameter, gap = lengths
    placed: list[Shape] = []
    for own in rng.spawn(counts.vesicles):
        radius = diameter / 2 * own.uniform(0.8, 1.2)
        spots = own.uniform(-radii, radii, (counts.tries, 3))
        free = room(spots)
        if placed:
            free = np.minimum(free, sdf.distance(sdf.union(*placed), spots) - gap)
        fitting = np.flatnonzero(free >= radius)
        if len(fitting):
            placed.append(sdf.ball(spots[fitting[0]], radius))
    return placed
