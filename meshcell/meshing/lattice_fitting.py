"""Points of a labelled lattice moved to the membranes; a move stays only if all angles around it stay in bounds."""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats, Ints, distinct_rows
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.randomness import uniform
from meshcell.core.slices import sliced, stretches
from meshcell.core.types import Surface
from meshcell.core.validation import OUTSIDE, label_of
from meshcell.geometry.measures import enclosed_volumes
from meshcell.geometry.proximity import base_of, nearest
from meshcell.meshing.improvement import moved_sine, squared_sine_at, star_sine
from meshcell.meshing.volume_balance import region_volumes
from meshcell.surfaces.smoothing import even_shifts

log = logging.getLogger("meshcell")

SWEEPS = 22
# Points that are moved in a fraction of a second.
FITTED = 10_000
# Planes kept per point: where more than so many interfaces meet, the first ones count.
PLANES = 4
# Degrees: what is outside is thrown away, so it only has to stay positive; inside, stars worse than ROOM are relaxed.
GAP = 3.0
ROOM = 38.0
# Weight of staying where planes leave a point free.
DAMPING = 0.1
# Weight of area beside squared distances, and the sweep from which on it counts for all points, not only the stuck.
# Interfaces with more area than the target get up to MAX_FAIRNESS; none gets less, which would only make it rougher.
FAIRNESS = 0.2
MAX_FAIRNESS = 1.0
FAIR = 8
ADAPT = 11
# Each per cent of area too much raises the weight by about a fifth in a sweep.
GAIN = 20.0
# An interface that is less than so many edges wide keeps the least weight.
WIDE = 15.0


class Lattice(NamedTuple):
    """A labelled lattice and what is around its points.

    Parameters
    ----------
    points : (p, 3) um, moved in place
    tets : (n, 4) int32
    bounds : (n,) least squared sine of each tetrahedron, see `swaps.squared_sines`
    offsets, rows
        Tetrahedra around every point.
    facets : (f, 3) int32
    kinds : (f,) int64
        Interface of every facet; those that the target lacks have -1.
    facet_offsets, facet_rows
        Facets around every point.
    sizes : (p,) um
        Mean edge length around every point at the start.
    """

    points: Floats
    tets: Ints
    bounds: Floats
    offsets: Array
    rows: Ints
    facets: Ints
    kinds: Array
    facet_offsets: Array
    facet_rows: Ints
    sizes: Floats


def fit(
    points: Floats,
    tets: Ints,
    regions: Ints,
    facets: Ints,
    sides: Ints,
    target: Surface,
    target_sides: Ints,
    min_dihedral: float,
) -> Floats:
    """Move the points of facets to the interfaces of `target`, and others out of their way.

    Parameters
    ----------
    points, tets : (p, 3) um and (n, 4) int32
        All dihedral angles between `min_dihedral` and 180 minus this.
    regions : (n,) int32
        Labels; 0 and below are outside.
    facets, sides : (f, 3) and (f, 2) int32
        Faces between different labels, see `adjacency.interface_facets`.
    target : Surface
    target_sides : (t, 2) int32
        Its sides, but with the labels below 0 that `sides` have: facets and triangles of equal sides belong together.
    min_dihedral : float
        Degrees; kept by every single move.

    Returns
    -------
    (p, 3) um

    Notes
    -----
    A point goes to where the planes that touch the interfaces nearest to it meet (Garland and Heckbert 1997, Surface
    simplification using quadric error metrics), so junctions need no curves of their own. Afterwards every interface is
    shifted along its normals until the regions have the volumes that the target encloses, and the weight of area
    beside distance rises on each interface that has more area than the target's. The least weight stays, so no
    interface is roughened to make up for area lost elsewhere.
    """
    net, base, pairs = _net(points, tets, regions, facets, sides, target, target_sides, min_dihedral)
    volumes = _volumes_of(target)
    areas = _areas_of(base.points[base.triangles], base.kinds, len(pairs))
    # Where an interface is but some edges wide, area pulls it away from its place before it gets smooth.
    most = np.clip(FAIRNESS * np.sqrt(areas) / (WIDE * net.sizes.mean()), FAIRNESS, MAX_FAIRNESS)
    shifts, fairness = np.zeros(len(pairs)), np.full(len(pairs), FAIRNESS)
    planes, counts = np.zeros((len(points), PLANES, 5)), np.zeros(len(points), np.int32)
    for sweep in range(SWEEPS):
        if sweep in (0, 2, 5, 9):
            for first, last in stretches(len(points), FITTED):
                _find_planes(net, base, planes, counts, first, last)
        if sweep >= 3:
            shifts += 0.7 * _missing_shifts(net, tets, regions, pairs, volumes)
        if sweep >= ADAPT:
            # Earlier every interface has too much area, also those that will lose it by themselves.
            fairness = np.minimum(
                most, _adapted(fairness, _areas_of(net.points[net.facets], net.kinds, len(pairs)), areas)
            )
        moved = sliced(_fit_sweep, len(points), FITTED, net, planes, counts, shifts, fairness, sweep)
        relaxed = sliced(_relax_sweep, len(points), FITTED, net, counts, squared_sine_at(ROOM), sweep)
        log.debug("lattice: sweep %d, %d points fitted, %d relaxed", sweep, moved, relaxed)
    return net.points


def _net(
    points: Floats, tets: Ints, regions: Ints, facets: Ints, sides: Ints,
    target: Surface, target_sides: Ints, min_dihedral: float,
) -> tuple[Lattice, Any, Ints]:  # fmt: skip
    n = len(points)
    pairs, _, kinds, _ = distinct_rows(np.concatenate([target_sides, sides]))
    of_target, of_facets = kinds[: len(target_sides)], kinds[len(target_sides) :]
    of_facets = np.where(np.isin(of_facets, of_target), of_facets, -1)
    base = base_of(target.points, target.triangles, of_target, np.zeros(len(target.points)))
    degrees = np.where(regions > OUTSIDE, min_dihedral, min(GAP, min_dihedral))
    edges = adjacency.edges(tets, n)[0]
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    sizes = np.bincount(edges.ravel(), np.repeat(lengths, 2), n) / np.bincount(edges.ravel(), minlength=n)
    offsets, rows = adjacency.stars(tets, n)
    facet_offsets, facet_rows = adjacency.stars(facets, n)
    # Copies: read-only arrays are another type to numba.
    net = Lattice(
        *(np.array(points), np.array(tets), squared_sine_at(degrees), offsets, rows),
        *(np.array(facets), of_facets, facet_offsets, facet_rows, sizes),
    )
    return net, base, pairs


def _volumes_of(target: Surface) -> dict[int, float]:
    """Return label -> um^3."""
    # Names may clash with those that labels without a name get.
    merged = Surface(target.points, target.triangles, target.sides)
    return {label_of(merged.names, name): volume for name, volume in enclosed_volumes(merged).items()}


def _missing_shifts(net: Lattice, tets: Ints, regions: Ints, pairs: Ints, volumes: dict[int, float]) -> Floats:
    """Return how far every interface should move along its normals for the regions to have their volumes, um."""
    labels = np.array([OUTSIDE, *volumes])
    rows_of = np.zeros(int(labels.max()) + 1, np.int32)
    rows_of[labels] = np.arange(len(labels))
    # What lies outside counts to the first.
    parts = rows_of[np.maximum(regions, 0)]
    missing: Floats = np.array([0.0, *volumes.values()]) - region_volumes(net.points, tets, parts, len(labels))
    missing[0] = -missing[1:].sum()
    by_pair = _areas_of(net.points[net.facets], net.kinds, len(pairs))
    # Caps stay in the faces of the box.
    movable = np.flatnonzero((pairs[:, 1] >= OUTSIDE) & (by_pair > 0))
    shifts = np.zeros(len(pairs))
    if len(movable):
        rows = np.searchsorted(labels, pairs[movable]).astype(np.int32)
        shifts[movable] = even_shifts(rows, by_pair[movable], missing)
    return np.clip(shifts, -0.1 * net.sizes.mean(), 0.1 * net.sizes.mean())


def _areas_of(corners: Floats, kinds: Array, n_kinds: int) -> Floats:
    """Return the area of every interface, um^2, from the corners (t, 3, 3) and kinds of its triangles."""
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    known = kinds >= 0
    return np.bincount(kinds[known], areas[known], n_kinds).astype(np.float64)


def _adapted(fairness: Floats, areas: Floats, wanted: Floats) -> Floats:
    """Return the weights of area, raised on interfaces whose area is above the wanted one, lowered below it."""
    ratios = np.divide(areas, wanted, out=np.ones_like(areas), where=wanted > 0)
    # A step too large would overshoot: the points need some sweeps to follow.
    return np.clip(fairness * np.clip(ratios, 0.95, 1.05) ** GAIN, FAIRNESS, MAX_FAIRNESS)


# --- kernels ---


@njit(cache=True)
def _find_planes(net: Any, base: Any, planes: Any, counts: Any, first: int, last: int) -> None:
    """Keep for every point of a facet the planes nx, ny, nz, height, kind that touch the interfaces it belongs to."""
    done = np.empty(64, np.int64)
    for p in range(first, last):
        counts[p] = 0
        n_done = 0
        for s in range(net.facet_offsets[p], net.facet_offsets[p + 1]):
            kind = net.kinds[net.facet_rows[s]]
            known = kind < 0 or n_done == done.shape[0]
            for k in range(n_done):
                known = known or done[k] == kind
            if known:
                continue
            done[n_done] = kind
            n_done += 1
            if counts[p] < PLANES and _plane(net, base, p, kind, planes[p, counts[p]]):
                counts[p] += 1
        if net.facet_offsets[p + 1] == net.facet_offsets[p]:
            counts[p] = -1


@inner(cache=True)
def _plane(net: Any, base: Any, p: int, kind: int, plane: Any) -> bool:
    """Write the plane at the point of `kind` nearest to p; tell whether there is one within reach."""
    x, y, z = net.points[p, 0], net.points[p, 1], net.points[p, 2]
    nx, ny, nz = _star_normal(net, p, kind)
    length = math.sqrt(nx * nx + ny * ny + nz * nz)
    if length == 0.0:
        return False
    d2, row, u, v, w = nearest(base, x, y, z, kind, (nx, ny, nz), 3 * net.sizes[p], False)
    if row < 0:
        return False
    a, b, c = base.triangles[row, 0], base.triangles[row, 1], base.triangles[row, 2]
    fx = u * base.points[a, 0] + v * base.points[b, 0] + w * base.points[c, 0]
    fy = u * base.points[a, 1] + v * base.points[b, 1] + w * base.points[c, 1]
    fz = u * base.points[a, 2] + v * base.points[b, 2] + w * base.points[c, 2]
    # The way to the foot is the normal, but where it is too short to tell.
    if d2 > (0.05 * net.sizes[p]) ** 2:
        sign = 1.0 if (fx - x) * nx + (fy - y) * ny + (fz - z) * nz > 0 else -1.0
        nx, ny, nz, length = sign * (fx - x), sign * (fy - y), sign * (fz - z), math.sqrt(d2)
    plane[0], plane[1], plane[2] = nx / length, ny / length, nz / length
    plane[3] = plane[0] * fx + plane[1] * fy + plane[2] * fz
    plane[4] = kind
    return True


@inner(cache=True)
def _star_normal(net: Any, p: int, kind: int) -> Any:
    """Return the doubled area vector of the facets of `kind` around p."""
    nx, ny, nz = 0.0, 0.0, 0.0
    for s in range(net.facet_offsets[p], net.facet_offsets[p + 1]):
        f = net.facet_rows[s]
        if net.kinds[f] != kind:
            continue
        a, b, c = net.facets[f, 0], net.facets[f, 1], net.facets[f, 2]
        x, y, z = net.points[a, 0], net.points[a, 1], net.points[a, 2]
        ux, uy, uz = net.points[b, 0] - x, net.points[b, 1] - y, net.points[b, 2] - z
        vx, vy, vz = net.points[c, 0] - x, net.points[c, 1] - y, net.points[c, 2] - z
        nx, ny, nz = nx + uy * vz - uz * vy, ny + uz * vx - ux * vz, nz + ux * vy - uy * vx
    return nx, ny, nz


@njit(cache=True)
def _fit_sweep(
    net: Any, planes: Any, counts: Any, shifts: Any, fairness: Any, sweep: int, first: int, last: int
) -> int:
    """Move the points first ... last that are on interfaces towards their planes; return how many moved."""
    moved = 0
    goal = np.empty(3)
    for p in range(first, last):
        if counts[p] < 0:
            continue
        _goal(net, planes[p], counts[p], shifts, p, goal)
        off2 = goal[0] ** 2 + goal[1] ** 2 + goal[2] ** 2
        if off2 < (1e-3 * net.sizes[p]) ** 2:
            continue
        share = 1.0
        kept = False
        if sweep >= FAIR:
            kept = _wander(net, planes[p], counts[p], shifts, fairness, p, sweep)
            moved += kept
            continue
        for _ in range(4):
            if _try(net, p, share * goal[0], share * goal[1], share * goal[2]):
                kept = True
                break
            share *= 0.45
        if share < 1.0:
            # Only part of the way, or none: perhaps another way leads nearer.
            kept = _wander(net, planes[p], counts[p], shifts, fairness, p, sweep) or kept
        moved += kept
    return moved


@inner(cache=True)
def _goal(net: Any, planes: Any, n: int, shifts: Any, p: int, goal: Any) -> None:
    """Write the step from p to where its planes meet; along them it goes to the middle of its facets."""
    mxx, mxy, mxz, myy, myz, mzz = DAMPING, 0.0, 0.0, DAMPING, 0.0, DAMPING
    bx, by, bz = 0.0, 0.0, 0.0
    if n == 1:
        # The tangential part only.
        ax, ay, az = _centre(net, p)
        along = ax * planes[0, 0] + ay * planes[0, 1] + az * planes[0, 2]
        bx = DAMPING * (ax - along * planes[0, 0])
        by = DAMPING * (ay - along * planes[0, 1])
        bz = DAMPING * (az - along * planes[0, 2])
    for k in range(n):
        nx, ny, nz = planes[k, 0], planes[k, 1], planes[k, 2]
        r = planes[k, 3] + shifts[int(planes[k, 4])]
        r -= nx * net.points[p, 0] + ny * net.points[p, 1] + nz * net.points[p, 2]
        mxx, mxy, mxz = mxx + nx * nx, mxy + nx * ny, mxz + nx * nz
        myy, myz, mzz = myy + ny * ny, myz + ny * nz, mzz + nz * nz
        # With one plane this leads to its foot in spite of the damping.
        r *= 1 + DAMPING
        bx, by, bz = bx + r * nx, by + r * ny, bz + r * nz
    det = mxx * (myy * mzz - myz * myz) - mxy * (mxy * mzz - myz * mxz) + mxz * (mxy * myz - myy * mxz)
    goal[0] = (bx * (myy * mzz - myz * myz) - mxy * (by * mzz - myz * bz) + mxz * (by * myz - myy * bz)) / det
    goal[1] = (mxx * (by * mzz - bz * myz) - bx * (mxy * mzz - myz * mxz) + mxz * (mxy * bz - by * mxz)) / det
    goal[2] = (mxx * (myy * bz - myz * by) - mxy * (mxy * bz - by * mxz) + bx * (mxy * myz - myy * mxz)) / det


@njit(cache=True)
def _centre(net: Any, p: int) -> Any:
    """Return the step from p to the mean of the centroids of its facets."""
    x, y, z = 0.0, 0.0, 0.0
    first, last = net.facet_offsets[p], net.facet_offsets[p + 1]
    for s in range(first, last):
        f = net.facet_rows[s]
        for k in range(3):
            x += net.points[net.facets[f, k], 0]
            y += net.points[net.facets[f, k], 1]
            z += net.points[net.facets[f, k], 2]
    n = 3 * (last - first)
    return x / n - net.points[p, 0], y / n - net.points[p, 1], z / n - net.points[p, 2]


@njit(cache=True)
def _try(net: Any, p: int, dx: float, dy: float, dz: float) -> bool:
    """Move p if all tetrahedra around it stay in their bounds."""
    x, y, z = net.points[p, 0] + dx, net.points[p, 1] + dy, net.points[p, 2] + dz
    for s in range(net.offsets[p], net.offsets[p + 1]):
        t = net.rows[s]
        if moved_sine(net.points, net.tets[t], p, x, y, z) < net.bounds[t]:
            return False
    net.points[p, 0], net.points[p, 1], net.points[p, 2] = x, y, z
    return True


@inner(cache=True)
def _error(planes: Any, n: int, shifts: Any, x: float, y: float, z: float) -> float:
    """Return the sum of squared distances from the planes."""
    total = 0.0
    for k in range(n):
        off = planes[k, 0] * x + planes[k, 1] * y + planes[k, 2] * z - planes[k, 3] - shifts[int(planes[k, 4])]
        total += off * off
    return total


@inner(cache=True)
def _star_area(net: Any, p: int, x: float, y: float, z: float) -> float:
    """Return the area of the facets around p, were it at x, y, z."""
    total = 0.0
    for s in range(net.facet_offsets[p], net.facet_offsets[p + 1]):
        f = net.facet_rows[s]
        k = 0 if net.facets[f, 0] == p else (1 if net.facets[f, 1] == p else 2)
        b, c = net.facets[f, (k + 1) % 3], net.facets[f, (k + 2) % 3]
        ux, uy, uz = net.points[b, 0] - x, net.points[b, 1] - y, net.points[b, 2] - z
        vx, vy, vz = net.points[c, 0] - x, net.points[c, 1] - y, net.points[c, 2] - z
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        total += 0.5 * math.sqrt(nx * nx + ny * ny + nz * nz)
    return total


@inner(cache=True)
def _wander(net: Any, planes: Any, n: int, shifts: Any, fairness: Any, p: int, sweep: int) -> bool:
    """Try random steps of p, keep those that lead nearer to its planes; tell whether any was kept."""
    state = np.uint64(p) * np.uint64(0x632BE59BD9B4E019) + np.uint64(sweep)
    # At a junction the interface that can bear least.
    weight = MAX_FAIRNESS
    for k in range(n):
        weight = min(weight, fairness[int(planes[k, 4])])
    step = 0.2 * net.sizes[p]
    x, y, z = net.points[p, 0], net.points[p, 1], net.points[p, 2]
    error = _error(planes, n, shifts, x, y, z) + weight * _star_area(net, p, x, y, z)
    kept = False
    for _ in range(8):
        state, dx = uniform(state)
        state, dy = uniform(state)
        state, dz = uniform(state)
        dx, dy, dz = step * dx, step * dy, step * dz
        x, y, z = net.points[p, 0] + dx, net.points[p, 1] + dy, net.points[p, 2] + dz
        found = _error(planes, n, shifts, x, y, z) + weight * _star_area(net, p, x, y, z)
        if found < error and _try(net, p, dx, dy, dz):
            error = found
            kept = True
        else:
            step *= 0.7
    return kept


@njit(cache=True)
def _relax_sweep(net: Any, counts: Any, target: float, sweep: int, first: int, last: int) -> int:
    """Give those of the points first ... last that are inside a narrow star some room; return how many moved."""
    moved = 0
    for p in range(first, last):
        if counts[p] >= 0:
            continue
        star = net.rows[net.offsets[p] : net.offsets[p + 1]]
        x, y, z = net.points[p, 0], net.points[p, 1], net.points[p, 2]
        worst = star_sine(net.points, net.tets, star, p, x, y, z, 0.0)
        if worst >= target:
            continue
        state = np.uint64(p) * np.uint64(0x632BE59BD9B4E019) + np.uint64(sweep)
        step = 0.2 * net.sizes[p]
        for _ in range(8):
            state, dx = uniform(state)
            state, dy = uniform(state)
            state, dz = uniform(state)
            x, y, z = net.points[p, 0] + step * dx, net.points[p, 1] + step * dy, net.points[p, 2] + step * dz
            found = star_sine(net.points, net.tets, star, p, x, y, z, worst)
            if found > worst:
                net.points[p, 0], net.points[p, 1], net.points[p, 2] = x, y, z
                worst = found
                moved += 1
            else:
                step *= 0.6
    return moved
