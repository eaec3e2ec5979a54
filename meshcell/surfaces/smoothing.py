"""Smoothing of the staircase of voxel faces into a membrane; it keeps area, volume, junctions and thin parts."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numba import prange

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats, Ints, distinct_rows
from meshcell.core.errors import MeshError
from meshcell.core.hints import require
from meshcell.core.kernels import njit
from meshcell.core.progress import stages
from meshcell.core.types import Surface
from meshcell.core.validation import BOX_FACES
from meshcell.geometry.features import CURVE, FIXED, FREE, feature_edges, point_kinds, range_around
from meshcell.geometry.intersections import intersecting_pairs
from meshcell.geometry.topology import Shells, shell_volumes, shells
from meshcell.surfaces.repairs import refuse_broken

log = logging.getLogger("meshcell")
# A triangle keeps at least this share of its height: what is pressed flatter between points that must stay is a sliver
# for good.
LEAST_HEIGHT = 0.5
# The same where there is no curve, only an ambiguous contact: more would roughen the membrane around it.
LEAST_AT_CONTACT = 0.25
# Bodies that are off their volume by more than this share are relaxed less: one voxel would shrink to a point.
VOLUME_OFF = 0.05
# Points times sweeps that take a fraction of a second on one slow core.
SWEPT = 2_000_000


def smooth(
    surface: Surface,
    *,
    sweeps: int = 30,
    clamp: float = 0.5,
    shrink: float = 0.6,
    grow: float = 0.643,
    progress: bool = False,
) -> Surface:
    """Relax a surface without shrinking it; every point stays within a stated distance of where it was.

    Parameters
    ----------
    surface : Surface
        As it comes from `extract`, or any other without self-intersections.
    sweeps : int
        Pairs of a shrinking and a growing step.
    clamp : float
        Greatest displacement along each axis, in voxels of `surface.resolution` (in mean edge lengths where a
        surface has no resolution). Half a voxel is what the labels themselves leave open.
    shrink, grow : float
        Weights of the two steps, 0 < shrink < grow < 1; their balance keeps the volume.
    progress : bool
        Show a bar with the stage that runs.

    Returns
    -------
    Surface
        Same triangles, sides and patches, moved points. Points on junction curves (where three or more regions meet,
        or on the rim of a patch) move along their curve only; where curves meet, and at ambiguous voxel contacts,
        points stay. Nothing intersects, and no triangle at a curve loses more than half of its height (three quarters
        at a contact): points of triangles that cut through each other, or where two curves pinch a neck shut, are
        moved back. Bodies too small to keep their volume under that are relaxed less.

    Raises
    ------
    MeshError
        The surface intersected itself before it was smoothed; `where` lists the pairs of triangles. Or it has triangles
        twice, without area or turned against their neighbours; `where` lists these.

    Notes
    -----
    Taubin 1995, A signal processing approach to fair surface design, with the clamp of constrained elastic surface
    nets (Gibson 1998). Stronger fairing under the same clamp (thin plates, mean curvature) flattens thin sheets.
    """
    require(surface, Surface, "smooth(surface)")
    if sweeps < 0 or clamp < 0 or not 0 < shrink < grow < 1:
        raise ValueError(
            f"smooth needs sweeps >= 0, clamp >= 0 and 0 < shrink < grow < 1; got sweeps={sweeps}, clamp={clamp}, "
            f"shrink={shrink}, grow={grow}"
        )
    if not len(surface.triangles):
        return surface
    with stages("smooth", ("look", "relax", "keep volumes", "free crossings"), progress) as stage:
        stage("look")
        refuse_broken(surface, "smooth")
        edges, features, kinds = _kinds(surface)
        offsets, neighbours = _smoothing_neighbours(edges, features, kinds)
        reach = clamp * _unit(surface)
        stage("relax")
        relaxed = _relaxed(surface.points, offsets, neighbours, reach, sweeps, shrink, grow)
        stage("keep volumes")
        points = _with_volumes(surface, relaxed, np.diff(offsets) > 0, reach)
        stage("free crossings")
        points = _backtrack(surface.points, points, surface.triangles, kinds)
    moved = np.abs(points - surface.points) / _unit(surface)
    log.info("smooth: %d points, moved %.2f voxels on average, %.2f at most", len(points), moved.mean(), moved.max())
    return Surface(points, surface.triangles, surface.sides, surface.names, surface.patches, surface.resolution)


def _relaxed(
    start: Floats, offsets: Array, neighbours: Ints, reach: Array, sweeps: int, shrink: float, grow: float
) -> Floats:
    """Relax points by all sweeps; some at a time, as Ctrl-C is heard only between calls of the kernel."""
    at_a_time = max(1, SWEPT // max(len(start), 1))
    points = start
    for first in range(0, sweeps, at_a_time):
        n = min(at_a_time, sweeps - first)
        points = _taubin(start, points, offsets, neighbours, reach, n, shrink, grow)
        # As those it begins with: else the kernel is compiled once more, for arrays that may be written.
        points.flags.writeable = False
    return points


def _kinds(surface: Surface) -> tuple[Ints, Array, Array]:
    """Return all edges, which of them are features, and the kinds of points; ambiguous contacts are FIXED."""
    edges, features = feature_edges(surface)
    kinds = point_kinds(edges, features, len(surface.points))
    kinds[edges[_ambiguous(surface, len(edges))].ravel()] = FIXED
    return edges, features, kinds


def _smoothing_neighbours(edges: Ints, features: Array, kinds: Array) -> tuple[Array, Ints]:
    """Return for every point the points it is averaged with: all around, along its curve, or none."""
    n = len(kinds)
    both = np.concatenate([edges, edges[:, ::-1]])
    feature = np.concatenate([features, features])
    pull = (kinds[both[:, 0]] == FREE) | ((kinds[both[:, 0]] == CURVE) & feature)
    start, end = both[pull].T
    order = np.lexsort((end, start))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(start, minlength=n))])
    return offsets, np.ascontiguousarray(end[order])


def _ambiguous(surface: Surface, n_edges: int) -> Array:
    """Tell at which edges voxels of one label touch diagonally: four triangles, but only two regions.

    Such an edge is no curve in the picture; moving it would choose which of the two regions is connected there.
    """
    triangle_edges = adjacency.edges(surface.triangles, len(surface.points))[1]
    count = np.bincount(triangle_edges.ravel(), minlength=n_edges)
    lower, upper = surface.sides.min(axis=1), surface.sides.max(axis=1)
    least, most = range_around(triangle_edges, lower, n_edges), range_around(triangle_edges, upper, n_edges)
    return np.asarray((count > 3) & (least[0] == least[1]) & (most[0] == most[1]))


def _unit(surface: Surface) -> Array:
    """Return the voxel size, or the mean edge length where there is none, as (3,) um."""
    if surface.resolution is not None:
        return np.asarray(surface.resolution)
    corners = surface.points[surface.triangles]
    return np.full(3, float(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).mean()))


def _with_volumes(surface: Surface, relaxed: Floats, loose: Array, reach: Array) -> Floats:
    """Restore the volumes of all shells; where that fails, relax the shell's points by half as much, and less."""
    found = shells(surface)
    share = np.ones(len(relaxed))
    for _ in range(4):
        points = surface.points + share[:, None] * (relaxed - surface.points)
        points = _restore_volumes(surface, found, points, loose & (share > 0), reach)
        moved = Surface(points, surface.triangles, surface.sides)
        missing = found.volumes - shell_volumes(moved, found.of_faces, len(found.regions))
        off = np.abs(missing) > VOLUME_OFF * np.abs(found.volumes)
        if not off.any():
            break
        touched = np.unique(surface.triangles[off[found.of_faces].any(axis=1)])
        share[touched] = np.where(share[touched] > 0.25, share[touched] / 2, 0.0)
    return points


def _restore_volumes(
    surface: Surface, found: Shells, points: Floats, loose: Array, reach: Array, rounds: int = 20
) -> Floats:
    """Shift each interface along its normals, evenly, until every shell holds its volume again.

    The growing step overdoes it on strongly curved parts: 3 % in the volume of a ball of radius five voxels. `reach` is
    kept, so parts that fill it keep a small rest.
    """
    triangles = surface.triangles
    interfaces, _, of_triangle, _ = distinct_rows(found.of_faces)
    # Caps lie in the faces of the box and stay there.
    movable = np.ones(len(triangles), bool)
    for name in BOX_FACES:
        movable[surface.patches.get(name, [])] = False
    loose = loose.copy()
    loose[triangles[~movable]] = False
    for _ in range(rounds):
        moved = Surface(points, triangles, surface.sides)
        missing = found.volumes - shell_volumes(moved, found.of_faces, len(found.regions))
        if (np.abs(missing) <= 1e-5 * np.abs(found.volumes)).all():
            break
        areas = np.bincount(of_triangle, moved.areas * movable, len(interfaces)).astype(np.float64)
        shifts = even_shifts(interfaces, areas, missing)[of_triangle] * movable
        step = np.empty_like(points)
        weights = np.maximum(np.bincount(triangles.ravel(), np.repeat(moved.areas, 3), len(points)), 1e-300)
        for axis in range(3):
            normals = np.repeat(moved.area_vectors[:, axis] * shifts, 3)
            step[:, axis] = np.bincount(triangles.ravel(), normals, len(points)) / weights
        points = np.clip(points + step * loose[:, None], surface.points - reach, surface.points + reach)
    return points


def even_shifts(interfaces: Ints, areas: Floats, missing: Floats) -> Floats:
    """Return the least shifts (in the mean square over the area) of interfaces that fill what shells are missing.

    Where not all can be filled, the missing volumes are least in the mean square. By conjugate gradients on the normal
    equations (Hestenes and Stiefel 1952), with sums that are the same bits on every processor, which BLAS' are not.
    """
    behind, front = interfaces.T
    root = np.sqrt(areas)

    def filled(weighted: Floats) -> Floats:
        moved = root * weighted
        return np.asarray(np.bincount(behind, moved, len(missing)) - np.bincount(front, moved, len(missing)))

    def pulled(volumes: Floats) -> Floats:
        return np.asarray(root * (volumes[behind] - volumes[front]))

    weighted = np.zeros(len(interfaces))
    rest = np.asarray(missing, np.float64)
    gradient = pulled(rest)
    direction, square = gradient, float((gradient * gradient).sum())
    enough = (1e-12) ** 2 * square
    for _ in range(2 * len(interfaces)):
        if square <= enough:
            break
        volumes = filled(direction)
        step = square / float((volumes * volumes).sum())
        weighted, rest = weighted + step * direction, rest - step * volumes
        gradient = pulled(rest)
        before, square = square, float((gradient * gradient).sum())
        direction = gradient + square / before * direction
    return np.asarray(np.divide(weighted, root, out=np.zeros_like(weighted), where=root > 0))


def _backtrack(start: Floats, moved: Floats, triangles: Ints, kinds: Array) -> Floats:
    """Move the points of intersecting or flattened triangles back, by halves and then wholly, until none is left.

    Only triangles with a point on a curve or a fixed one count as flattened: `remesh` mends the others, and moving
    points of an interface back would roughen it.
    """
    share = np.ones(len(start))
    points = moved
    held = triangles[(kinds[triangles] != FREE).any(axis=1)]
    share_kept = np.where((kinds[held] == CURVE).any(axis=1), LEAST_HEIGHT, LEAST_AT_CONTACT)
    least = share_kept * _heights(start, held)
    for attempt in range(64):
        flat = held[_heights(points, held) < least]
        # The search for intersections takes a hundred times longer, so flat triangles are mended before.
        pairs = np.zeros((0, 2), np.int64) if len(flat) else intersecting_pairs(points, triangles)
        if not len(pairs) and not len(flat):
            return points
        touched = np.unique(np.concatenate([triangles[pairs.ravel()], flat]))
        if not share[touched].any():
            # All of these are back where they were; the ones around them must follow.
            near = np.zeros(len(start), bool)
            near[touched] = True
            touched = np.unique(triangles[near[triangles].any(axis=1)])
            if not share[touched].any():
                raise MeshError(
                    f"smooth needs a surface without self-intersections; {len(pairs)} pairs of triangles intersected "
                    f"before, the first are rows {pairs[0].tolist()}; repair it first, see check(surface)",
                    pairs,
                )
        share[touched] = np.where(share[touched] > 0.25, share[touched] / 2, 0.0)
        log.info(
            "smooth: %d intersecting pairs, %d flat triangles, %d points moved back (round %d)",
            *(len(pairs), len(flat), len(touched), attempt + 1),
        )
        points = start + share[:, None] * (moved - start)
    raise MeshError(f"smooth could not free {len(pairs)} pairs of triangles from each other", pairs)


def _heights(points: Floats, triangles: Ints) -> Floats:
    """Return (t,) the least height of every triangle, um; 0 where it is a point."""
    corners = points[triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    doubled = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.asarray(np.divide(doubled, longest, out=np.zeros(len(triangles)), where=longest > 0))


# --- kernels ---


@njit(cache=True, parallel=True)
def _taubin(
    start: Any, before: Any, offsets: Any, neighbours: Any, reach: Any, sweeps: int, shrink: float, grow: float
) -> Any:
    n = start.shape[0]
    points = before.copy()
    moved = before.copy()
    for step in range(2 * sweeps):
        weight = shrink if step % 2 == 0 else -grow
        for p in prange(n):
            first, last = offsets[p], offsets[p + 1]
            if first == last:
                continue
            for axis in range(3):
                mean = 0.0
                for s in range(first, last):
                    mean += points[neighbours[s], axis]
                mean /= last - first
                x = points[p, axis] + weight * (mean - points[p, axis])
                low, high = start[p, axis] - reach[axis], start[p, axis] + reach[axis]
                moved[p, axis] = min(max(x, low), high)
        points, moved = moved, points
    return points
