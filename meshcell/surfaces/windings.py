"""Generalised winding numbers: what is inside a surface of any kind; holes and crossings do not upset them."""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.rounding import arctangent
from meshcell.core.threads import share
from meshcell.core.types import Surface
from meshcell.core.validation import name_of

log = logging.getLogger("meshcell")

# A group of triangles farther away than so many of its radii counts as one dipole.
FAR = 2.5
LEAF = 8
BLOCK = 8
# Two regions that wind around a voxel alike, so far, overlap there.
TIE = 0.1
# Empty voxels around a surface, so that smoothing does not take its outermost points for cuts by the box.
MARGIN = 2


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
    tree = tree_around(surface, label)
    places = np.ascontiguousarray(queries, np.float64)
    if places.ndim != 2 or places.shape[1] != 3:
        raise ValueError(f"queries should have shape (q, 3); got {places.shape}")
    return wind(tree, places)


def wind(tree: Tree, places: Floats) -> Floats:
    """Return (q,) how often the triangles of a tree wind around (q, 3) points, see `winding_numbers`."""
    result = np.zeros(len(places))
    share(_wind_points, len(places), 500 * len(places), tree, places, result)
    return result


def tree_around(surface: Surface, label: int) -> Tree:
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
        corners = corners[:, ::-1]
    return tree_of(np.ascontiguousarray(corners))


def tree_of(corners: Floats) -> Tree:
    """Collect triangles, given by their (t, 3, 3) corners, in a tree of dipoles."""
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


def add_region(tree: Tree, origin: Floats, steps: Floats, row: int, best: Any, total: Any, owner: Any) -> None:
    """Add a region's winding numbers to `total`; where they are the greatest so far, `row` becomes the owner."""
    low = np.floor((tree.corners.min(axis=(0, 1)) - origin) / steps).astype(int) - MARGIN
    high = np.ceil((tree.corners.max(axis=(0, 1)) - origin) / steps).astype(int) + MARGIN + 1
    low, high = np.maximum(low, 0), np.minimum(high, best.shape)
    n_blocks = -(-(high - low) // BLOCK)
    crossed = np.zeros(n_blocks, np.bool_)
    _mark_crossed(tree.corners, origin + low * steps, BLOCK * steps, steps, crossed)
    n = int(n_blocks.prod())
    share(_wind_blocks, n, 10**6 * n, tree, low, high, origin, steps, crossed, row, best, total, owner)


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
                    # Regions come from the largest to the smallest: where two overlap, the inner one wins.
                    if w > best[i, j, k] + 1e-6 or (w > 0.5 and w > best[i, j, k] - TIE):
                        best[i, j, k] = w
                        owner[i, j, k] = row
