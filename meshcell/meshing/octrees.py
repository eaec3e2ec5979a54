"""Body-centred cubic tetrahedra on a balanced octree: dihedral angles of 45 to 120 degrees at any grading."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from meshcell.core.arrays import Array, Ints

# Cyclic corners of a face in units of half its edge.
CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def octree_tets(wanted: Array, active: Array) -> tuple[Array, Ints]:
    """Fill a box of cells with tetrahedra that are as coarse as asked.

    Parameters
    ----------
    wanted : (nx, ny, nz) int
        For every cell of the finest grid the greatest level of the cube that may hold it; a cube of level k has 2^k
        cells along each edge.
    active : (nx, ny, nz) bool
        Cells to be covered; cubes without any are left out.

    Returns
    -------
    points : (p, 3) int64
        In halves of a cell from the corner of the box.
    tets : (n, 4) int32
        Conforming and positive.

    Notes
    -----
    Labelle and Shewchuk 2007, Isosurface stuffing, section 3: between the centres of equal cubes four tetrahedra of the
    body-centred cubic lattice (60 and 90 degrees), halved where an edge has a smaller cube; half pyramids where a cube
    meets one twice as large, which has eight tetrahedra on that face. Cubes that share a point differ by one level at
    most, so these cases are all.

    Examples
    --------
    >>> points, tets = octree_tets(np.zeros((2, 1, 1), int), np.ones((2, 1, 1), bool))
    >>> points.shape, tets.shape
    ((6, 3), (4, 4))
    """
    top = int(wanted.max())
    wanted, active = _padded(wanted, 1 << top, top), _padded(active, 1 << top, 0)
    splits = _splits(wanted, top)
    quads = []
    for level in range(top + 1):
        present = _pooled(active, 1 << level, np.maximum)
        leaves = ~splits[level]
        if level < top:
            leaves &= _spread(splits[level + 1])
        coarser = ~splits[level] & ~leaves
        for axis in range(3):
            for sign in (-1, 1):
                quads += _across(level, axis, sign, leaves, splits[level], coarser, present)
    corners = np.concatenate(quads).reshape(-1, 3)
    strides = 2 * np.array(wanted.shape) + 1
    keys, rows = np.unique(np.ravel_multi_index(corners.T, strides), return_inverse=True)
    points = np.stack(np.unravel_index(keys, strides), axis=1)
    tets = rows.reshape(-1, 4).astype(np.int32)
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    inverted = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) < 0
    tets[inverted] = tets[inverted][:, [0, 2, 1, 3]]
    return points, tets


def _padded(cells: Array, multiple: int, value: Any) -> Array:
    return np.pad(cells, [(0, -n % multiple) for n in cells.shape], constant_values=value)


def _pooled(cells: Array, width: int, how: np.ufunc) -> Array:
    """Return the least or greatest of every cube of cells, as `how` says."""
    for axis in range(3):
        if width > 1:
            cells = how.reduceat(cells, np.arange(0, cells.shape[axis], width), axis=axis)
    return cells


def _spread(cells: Array) -> Array:
    return cells.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)


def _splits(wanted: Array, top: int) -> list[Array]:
    """Return for every level which cubes are split: those too coarse, and those that keep neighbours within a level."""
    least = wanted
    splits = [np.zeros(wanted.shape, bool)]
    for level in range(1, top + 1):
        least = _pooled(least, 2, np.minimum)
        # A split cube needs all 26 neighbours to be cubes of its size, so what holds them is split as well.
        near = ndimage.maximum_filter(splits[-1], 3, mode="constant", cval=0)
        splits.append((least < level) | _pooled(near, 2, np.maximum))
    return splits


def _across(
    level: int, axis: int, sign: int, leaves: Array, split: Array, coarser: Array, present: Array
) -> list[Array]:
    """Return the corners (n, 4, 3) of the tetrahedra on one face of all leaves of a level."""
    ahead = np.zeros(3, int)
    ahead[axis] = sign
    cubes = np.argwhere(leaves)
    cubes = cubes[((cubes + ahead >= 0) & (cubes + ahead < leaves.shape)).all(axis=1)]
    others = cubes + ahead
    used, there = present[tuple(cubes.T)], present[tuple(others.T)]
    same = leaves[tuple(others.T)] & (used | there) & (sign > 0)
    finer = split[tuple(others.T)] & (used | there)
    coarse = coarser[tuple(others.T)] & (used | there)
    half = 1 << level
    u, v = np.eye(3, dtype=int)[[(axis + 1) % 3, (axis + 2) % 3]]
    return [
        *_lattice_tets(cubes[same], half, ahead, u, v, split),
        *_coarse_side(cubes[finer], half, ahead, u, v),
        *_half_pyramids(cubes[coarse], half, ahead, u, v),
    ]


def _lattice_tets(cubes: Array, half: int, ahead: Array, u: Array, v: Array, split: Array) -> list[Array]:
    """Join the centres of equal cubes with the edges of the face between them, in halves where an edge is split."""
    centres = half * (2 * cubes + 1)
    faces, beyond = centres + half * ahead, centres + 2 * half * ahead
    found = []
    for k in range(4):
        (a, b), (c, d) = CORNERS[k], CORNERS[(k + 1) % 4]
        start, end = faces + half * (a * u + b * v), faces + half * (c * u + d * v)
        middle = (start + end) // 2
        side = (a + c) // 2 * u + (b + d) // 2 * v
        halved = _at(split, cubes + side) | _at(split, cubes + side + ahead)
        found += [
            np.stack([centres, beyond, start, end], axis=1)[~halved],
            np.stack([centres, beyond, start, middle], axis=1)[halved],
            np.stack([centres, beyond, middle, end], axis=1)[halved],
        ]
    return found


def _coarse_side(cubes: Array, half: int, ahead: Array, u: Array, v: Array) -> list[Array]:
    """Join the centres of cubes with the eight triangles of a face that has four smaller cubes beyond it."""
    centres = half * (2 * cubes + 1)
    faces = centres + half * ahead
    found = []
    for k in range(4):
        (a, b), (c, d) = CORNERS[k], CORNERS[(k + 1) % 4]
        start, end = faces + half * (a * u + b * v), faces + half * (c * u + d * v)
        middle = (start + end) // 2
        found += [
            np.stack([centres, faces, start, middle], axis=1),
            np.stack([centres, faces, middle, end], axis=1),
        ]
    return found


def _half_pyramids(cubes: Array, half: int, ahead: Array, u: Array, v: Array) -> list[Array]:
    """Join the centres of cubes with two triangles of a face that is a quarter of a larger cube's."""
    centres = half * (2 * cubes + 1)
    faces = centres + half * ahead
    # Towards the middle of the larger face, where its diagonals start.
    inward = half * (1 - 2 * (cubes % 2))
    du, dv = inward * u, inward * v
    middle, corner = faces + du + dv, faces - du - dv
    return [np.stack([centres, middle, corner, faces + side], axis=1) for side in (du - dv, dv - du)]


def _at(cells: Array, cubes: Array) -> Array:
    """Return the values at `cubes`, False beyond the box."""
    inside = ((cubes >= 0) & (cubes < cells.shape)).all(axis=1)
    values = np.zeros(len(cubes), bool)
    values[inside] = cells[tuple(cubes[inside].T)]
    return values
