"""Labels from surfaces of any kind, by generalised winding numbers: holes and crossings do not upset them."""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.errors import MeshError
from meshcell.core.hints import require
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.rounding import arctangent
from meshcell.core.threads import share
from meshcell.core.types import Surface, Volume
from meshcell.core.validation import BOX_FACES, OUTSIDE, checked_spacing, name_of

log = logging.getLogger("meshcell")

# A group of triangles farther away than so many of its radii counts as one dipole.
FAR = 2.5
LEAF = 8
BLOCK = 8
# Empty voxels around a surface, so that smoothing does not take its outermost points for cuts by the box.
MARGIN = 2
MAX_VOXELS = 5e8


class Tree(NamedTuple):
    """Triangles in a balanced binary tree; node k has the children 2 k + 1 and 2 k + 2.

    Parameters
    ----------
    corners : (t, 3, 3) um
        Sorted so that the triangles of a node are neighbours.
    bounds : (k, 2) int64
        First and last + 1 triangle of every node.
    centres, dipoles, radii : (k, 3) um, (k, 3) um^2 and (k,) um
        Mean point by area, summed area vectors, distance of the farthest corner.
    """

    corners: Floats
    bounds: Array
    centres: Floats
    dipoles: Floats
    radii: Floats


def winding_numbers(surface: Surface, label: int, queries: Any) -> Floats:
    """Return how often a region's surface winds around points: 1 inside, 0 outside, between them near holes.

    Parameters
    ----------
    surface : Surface
        May be open, cut through itself, have triangles twice.
    label : int
        The region.
    queries : (q, 3) um

    Returns
    -------
    (q,) float
        The solid angle of the region's triangles over 4 pi; groups of triangles farther away than 2.5 of their radii
        count as dipoles, which may be wrong by up to 0.1 in all.

    Notes
    -----
    Jacobson, Kavan, Sorkine-Hornung 2013, Robust inside-outside segmentation using generalized winding numbers; the
    tree of dipoles as in Barill et al. 2018, Fast winding numbers for soups and clouds.
    """
    tree = _tree_of(surface, label)
    places = np.ascontiguousarray(queries, np.float64)
    if places.ndim != 2 or places.shape[1] != 3:
        raise ValueError(f"queries should have shape (q, 3); got {places.shape}")
    result = np.zeros(len(places))
    share(_wind_points, len(places), 500 * len(places), tree, places, result)
    return result


def voxelize(surface: Surface, spacing: Any) -> Volume:
    """Turn a surface into labels, whatever is wrong with it: the robust way back from dirty triangles.

    Parameters
    ----------
    surface : Surface
        May be open, cut through itself, have triangles twice or a few turned ones; sides name the regions.
    spacing : float, three floats or text
        um per voxel; parts thinner than that may get lost.

    Returns
    -------
    Volume
        Labels and names of the surface. The box is flush with faces that have patches "box x-" ... "box z+" and leaves
        two voxels elsewhere.

    Raises
    ------
    MeshError
        No triangles, or a region without a single voxel: `where` lists its triangles.
    ValueError
        More than 5e8 voxels.

    Notes
    -----
    Every voxel gets the region with the greatest winding number at its centre; outside has 1 minus their sum. Holes are
    closed half-way between "inside" and "outside". A region that is inside out as a whole is turned, with a log line.
    """
    require(surface, Surface, "voxelize(surface, spacing)", spacing)
    if not len(surface.triangles):
        raise MeshError("voxelize needs a surface with triangles; got an empty one")
    steps = np.array(checked_spacing(spacing))
    origin, shape = _grid_around(surface, steps)
    labels = [int(label) for label in np.unique(surface.sides) if label != OUTSIDE]
    best, owner = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    total = np.zeros(shape, np.float32)
    for row, label in enumerate(labels, 1):
        _add_region(_tree_of(surface, label), origin, steps, row, best, total, owner)
    owner[best <= 1 - total + 1e-6] = OUTSIDE
    data = np.array([OUTSIDE, *labels], np.min_scalar_type(max(labels)))[owner]
    _refuse_lost(surface, labels, data, steps)
    log.info("voxelize: %d triangles -> %s voxels, %d regions", len(surface.triangles), shape, len(labels))
    return Volume(data, tuple(steps), tuple(origin), surface.names)


def _grid_around(surface: Surface, steps: Floats) -> tuple[Floats, tuple[int, int, int]]:
    """Return the centre of the first voxel and how many there are along x, y, z."""
    corners = surface.points[np.unique(surface.triangles)]
    low, high = corners.min(axis=0), corners.max(axis=0)
    flush = np.array([len(surface.patches.get(name, [])) > 0 for name in BOX_FACES]).reshape(3, 2)
    low = low - np.where(flush[:, 0], 0, MARGIN) * steps
    shape = np.maximum(np.ceil((high - low) / steps - 1e-6) + np.where(flush[:, 1], 0, MARGIN), 1)
    if np.prod(shape) > MAX_VOXELS:
        enough = float(steps.max() * (np.prod(shape) / MAX_VOXELS) ** (1 / 3))
        raise ValueError(
            f"voxels of {steps.tolist()} um would be {np.prod(shape):.2g} of them; at most {MAX_VOXELS:.0g} are made; "
            f"{enough:.2g} um would do; check the units of the points, and for stray ones"
        )
    nx, ny, nz = (int(n) for n in shape)
    return low + steps / 2, (nx, ny, nz)


def _tree_of(surface: Surface, label: int) -> Tree:
    """Collect the triangles around a region, normals out of it, in a tree of dipoles."""
    behind, front = surface.sides[:, 0] == label, surface.sides[:, 1] == label
    turned = surface.triangles[front][:, ::-1]
    corners = surface.points[np.concatenate([surface.triangles[behind], turned])]
    if not len(corners):
        raise ValueError(f"no triangle has the region {name_of(surface.names, label)!r} on one of its sides")
    middle = corners.mean(axis=(0, 1))
    a, b, c = (corners[:, k] - middle for k in range(3))
    if np.einsum("ij,ij->", a, np.cross(b, c)) < 0:
        log.warning("voxelize: %s is inside out; its triangles are turned", name_of(surface.names, label))
        corners = np.ascontiguousarray(corners[:, ::-1])
    depth = max(math.ceil(math.log2(len(corners) / LEAF)), 0)
    n = 2 ** (depth + 1) - 1
    bounds = np.zeros((n, 2), np.int64)
    order = np.arange(len(corners))
    centroids = corners.mean(axis=1)
    bounds[0] = 0, len(corners)
    for node in range(n // 2):
        first, last = bounds[node]
        part = order[first:last]
        half = len(part) // 2
        if len(part):
            axis = int(np.ptp(centroids[part], axis=0).argmax())
            order[first:last] = part[np.argsort(centroids[part, axis], kind="stable")]
        bounds[2 * node + 1] = first, first + half
        bounds[2 * node + 2] = first + half, last
    corners = np.ascontiguousarray(corners[order])
    centres, dipoles, radii = np.zeros((n, 3)), np.zeros((n, 3)), np.zeros(n)
    _sum_up(corners, bounds, centres, dipoles, radii)
    return Tree(corners, bounds, centres, dipoles, radii)


def _add_region(tree: Tree, origin: Floats, steps: Floats, row: int, best: Any, total: Any, owner: Any) -> None:
    """Add a region's winding numbers to `total`; where they are the greatest so far, `row` becomes the owner."""
    low = np.floor((tree.corners.min(axis=(0, 1)) - origin) / steps).astype(int) - MARGIN
    high = np.ceil((tree.corners.max(axis=(0, 1)) - origin) / steps).astype(int) + MARGIN + 1
    low, high = np.maximum(low, 0), np.minimum(high, best.shape)
    n_blocks = -(-(high - low) // BLOCK)
    crossed = np.zeros(n_blocks, np.bool_)
    _mark_crossed(tree.corners, origin + low * steps, BLOCK * steps, steps, crossed)
    n = int(n_blocks.prod())
    share(_wind_blocks, n, 10**6 * n, tree, low, high, origin, steps, crossed, row, best, total, owner)


def _refuse_lost(surface: Surface, labels: list[int], data: Array, steps: Floats) -> None:
    there = np.unique(data)
    lost = [label for label in labels if label not in there]
    if lost:
        names = ", ".join(name_of(surface.names, label) for label in lost)
        raise MeshError(
            f"every region should have voxels; at {steps.tolist()} um there are none of {names}: they are thinner than "
            "that, or their triangles enclose nothing; take smaller voxels, or look at check(surface)",
            np.flatnonzero(np.isin(surface.sides, lost).any(axis=1)),
        )


# --- kernels ---


@njit(cache=True)
def _sum_up(corners: Any, bounds: Any, centres: Any, dipoles: Any, radii: Any) -> None:
    for node in range(bounds.shape[0]):
        weight = 0.0
        for t in range(bounds[node, 0], bounds[node, 1]):
            ux, uy, uz = corners[t, 1] - corners[t, 0]
            vx, vy, vz = corners[t, 2] - corners[t, 0]
            nx, ny, nz = (uy * vz - uz * vy) / 2, (uz * vx - ux * vz) / 2, (ux * vy - uy * vx) / 2
            area = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-300
            weight += area
            dipoles[node, 0] += nx
            dipoles[node, 1] += ny
            dipoles[node, 2] += nz
            for axis in range(3):
                centres[node, axis] += area * (corners[t, 0, axis] + corners[t, 1, axis] + corners[t, 2, axis]) / 3
        if weight == 0.0:
            continue
        for axis in range(3):
            centres[node, axis] /= weight
        for t in range(bounds[node, 0], bounds[node, 1]):
            for k in range(3):
                d2 = 0.0
                for axis in range(3):
                    d2 += (corners[t, k, axis] - centres[node, axis]) ** 2
                radii[node] = max(radii[node], math.sqrt(d2))


@inner(cache=True)
def _wind(tree: Any, x: float, y: float, z: float, stack: Any) -> float:
    """Return the winding number at a point."""
    total = 0.0
    stack[0] = 0
    n = 1
    while n:
        n -= 1
        node = stack[n]
        first, last = tree.bounds[node, 0], tree.bounds[node, 1]
        if first == last:
            continue
        dx, dy, dz = tree.centres[node, 0] - x, tree.centres[node, 1] - y, tree.centres[node, 2] - z
        d2 = dx * dx + dy * dy + dz * dz
        if d2 > (FAR * tree.radii[node]) ** 2:
            flow = dx * tree.dipoles[node, 0] + dy * tree.dipoles[node, 1] + dz * tree.dipoles[node, 2]
            total += flow / (d2 * math.sqrt(d2))
        elif 2 * node + 2 < tree.bounds.shape[0]:
            stack[n], stack[n + 1] = 2 * node + 1, 2 * node + 2
            n += 2
        else:
            for t in range(first, last):
                total += _solid_angle(tree.corners, t, x, y, z)
    return total / (4 * math.pi)


@inner(cache=True)
def _solid_angle(corners: Any, t: int, x: float, y: float, z: float) -> float:
    """Return a triangle's solid angle, positive behind its normal (Van Oosterom and Strackee 1983, eq. 8)."""
    ax, ay, az = corners[t, 0, 0] - x, corners[t, 0, 1] - y, corners[t, 0, 2] - z
    bx, by, bz = corners[t, 1, 0] - x, corners[t, 1, 1] - y, corners[t, 1, 2] - z
    cx, cy, cz = corners[t, 2, 0] - x, corners[t, 2, 1] - y, corners[t, 2, 2] - z
    a = math.sqrt(ax * ax + ay * ay + az * az)
    b = math.sqrt(bx * bx + by * by + bz * bz)
    c = math.sqrt(cx * cx + cy * cy + cz * cz)
    triple = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    ab, bc, ca = ax * bx + ay * by + az * bz, bx * cx + by * cy + bz * cz, cx * ax + cy * ay + cz * az
    return 2 * arctangent(triple, a * b * c + ab * c + bc * a + ca * b)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _wind_points(first: int, last: int, tree: Any, queries: Any, result: Any) -> None:
    stack = np.empty(256, np.int64)
    for i in range(first, last):
        result[i] = _wind(tree, queries[i, 0], queries[i, 1], queries[i, 2], stack)


@njit(cache=True)
def _mark_crossed(corners: Any, origin: Any, size: Any, steps: Any, crossed: Any) -> None:
    """Mark the blocks that the box of a triangle, a voxel wider all around, overlaps."""
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for t in range(corners.shape[0]):
        for axis in range(3):
            least = min(corners[t, 0, axis], corners[t, 1, axis], corners[t, 2, axis]) - steps[axis]
            most = max(corners[t, 0, axis], corners[t, 1, axis], corners[t, 2, axis]) + steps[axis]
            low[axis] = max(int(np.floor((least - origin[axis]) / size[axis])), 0)
            high[axis] = min(int(np.floor((most - origin[axis]) / size[axis])), crossed.shape[axis] - 1)
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                for k in range(low[2], high[2] + 1):
                    crossed[i, j, k] = True


@njit(cache=True, nogil=True)
def _wind_blocks(
    first: int, last: int, tree: Any, low: Any, high: Any, origin: Any, steps: Any, crossed: Any,
    row: int, best: Any, total: Any, owner: Any,
) -> None:  # fmt: skip
    """Fill blocks of voxels; where no triangle is near and the corners agree, their mean serves all."""
    stack = np.empty(256, np.int64)
    for number in range(first, last):
        bk = number % crossed.shape[2]
        bj = number // crossed.shape[2] % crossed.shape[1]
        bi = number // (crossed.shape[2] * crossed.shape[1])
        i0, j0, k0 = low[0] + BLOCK * bi, low[1] + BLOCK * bj, low[2] + BLOCK * bk
        i1, j1, k1 = min(i0 + BLOCK, high[0]), min(j0 + BLOCK, high[1]), min(k0 + BLOCK, high[2])
        even = not crossed[bi, bj, bk]
        value = 0.0
        if even:
            least, most = np.inf, -np.inf
            for corner in range(8):
                x = origin[0] + steps[0] * (i0 if corner & 1 else i1 - 1)
                y = origin[1] + steps[1] * (j0 if corner & 2 else j1 - 1)
                z = origin[2] + steps[2] * (k0 if corner & 4 else k1 - 1)
                w = _wind(tree, x, y, z, stack)
                value += w / 8
                least, most = min(least, w), max(most, w)
            even = most - least < 0.1
        for i in range(i0, i1):
            for j in range(j0, j1):
                for k in range(k0, k1):
                    w = value
                    if not even:
                        x, y, z = origin[0] + steps[0] * i, origin[1] + steps[1] * j, origin[2] + steps[2] * k
                        w = _wind(tree, x, y, z, stack)
                    total[i, j, k] += w
                    if w > best[i, j, k] + 1e-6:
                        best[i, j, k] = w
                        owner[i, j, k] = row
