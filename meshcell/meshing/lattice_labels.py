"""Which label each tetrahedron of a lattice gets, so that pieces of labels stay whole and apart."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.kernels import njit
from meshcell.core.types import Surface, Volume
from meshcell.core.validation import OUTSIDE
from meshcell.geometry.voxels import component_numbers, depths_of
from meshcell.surfaces.windings import winding_numbers

log = logging.getLogger("meshcell")


# Share of a voxel: a smaller body of tetrahedra that is not all there is of a piece is one by chance.
SPECK = 0.5
# Voxels: pieces of no more are small.
SMALL = 8


def labels_of_tets(volume: Volume, target: Surface, points: Floats, tets: Ints, cube: float) -> Ints:
    """Return the label of every tetrahedron; -1 ... -6 beyond the faces of the box.

    Each takes the label with the greatest share at its centroid, the voxels interpolated linearly: a staircase becomes
    a slope. From pieces of few voxels this takes too much; there the centroid's place in the smoothed surface decides.
    Then every 6-connected piece of a label gets at least the
    tetrahedron nearest to its deepest voxel, specks go to what surrounds them, and where two pieces of one label meet,
    something else that is near goes between them, if there is any.
    """
    centroids = points[tets].mean(axis=1)
    places = (centroids - np.array(volume.origin)) / np.array(volume.spacing)
    regions: Ints = _votes(volume.data, places)
    _decide_small(regions, volume, target, centroids, places)
    neighbours = adjacency.tet_neighbours(tets, len(points))
    volumes = _volumes(points, tets)
    # In parts so thin that they got smaller cubes, what sticks out may be all there is.
    _without_spikes(regions, neighbours, volumes > cube**3 / 60)
    numbers, n_pieces = component_numbers(volume)
    voxels = np.clip(np.rint(places), 0, np.array(volume.data.shape) - 1).astype(int)
    here = tuple(voxels.T)
    pieces = np.where(volume.data[here] == regions, numbers[here], -1).astype(np.int32)
    counts = np.bincount(pieces[pieces >= 0], minlength=n_pieces)
    inside = np.zeros(n_pieces, bool)
    inside[numbers[volume.data != OUTSIDE]] = True
    lost = np.flatnonzero(inside & (counts == 0))
    if len(lost):
        _give_tets(volume, centroids, regions, pieces, counts, lost, numbers)
        log.info("lattice: %d small pieces of labels keep one tetrahedron each", len(lost))
    speck = SPECK * float(np.prod(volume.spacing))
    for _ in range(3):
        n_specks = _without_specks(regions, pieces, neighbours, volumes, n_pieces, speck)
        n_parted = _part_pieces(regions, pieces, neighbours, n_pieces)
        log.debug("lattice: %d tetrahedra in specks, %d between pieces", n_specks, n_parted)
        if not n_specks + n_parted:
            break
    return regions


def small_pieces(volume: Volume) -> Array:
    """Mark the voxels of regions' 6-connected pieces of at most eight voxels."""
    numbers, n_pieces = component_numbers(volume)
    few = np.bincount(numbers.ravel(), minlength=n_pieces) <= SMALL
    return np.asarray(few[numbers] & (volume.data != OUTSIDE))


def _decide_small(regions: Ints, volume: Volume, target: Surface, centroids: Floats, places: Floats) -> None:
    """Let the target's winding numbers decide where small pieces are near, in place."""
    near = np.flatnonzero(_touched(small_pieces(volume), places) & (regions >= OUTSIDE))
    best, total = np.zeros(len(near)), np.zeros(len(near))
    owner = np.zeros(len(near), np.int32)
    for label in np.unique(target.sides[target.sides > OUTSIDE]):
        rows = np.flatnonzero(_touched(volume.data == label, places[near]))
        if len(rows):
            found = winding_numbers(target, int(label), centroids[near[rows]])
            total[rows] += found
            greater = rows[found > best[rows]]
            best[greater], owner[greater] = found[found > best[rows]], label
    regions[near] = np.where(best > 1 - total, owner, OUTSIDE)


def _volumes(points: Floats, tets: Ints) -> Floats:
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    return np.asarray(np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6)


def _without_specks(regions: Ints, pieces: Ints, neighbours: Ints, volumes: Floats, n_pieces: int, speck: float) -> int:
    """Give bodies of less volume than `speck` that are not the greatest of their piece to the label that has most faces
    of theirs, in place; return how many tetrahedra changed."""
    bodies = _bodies(regions, neighbours)
    sizes = np.bincount(bodies, volumes)
    owners = np.full(len(sizes), -1)
    owners[bodies[pieces >= 0]] = pieces[pieces >= 0]
    greatest = np.zeros(len(sizes), bool)
    order = np.lexsort((-sizes, owners))
    known, first = np.unique(owners[order], return_index=True)
    greatest[order[first[known >= 0]]] = True
    small = (sizes < speck) & ~greatest
    rows = np.flatnonzero(small[bodies] & (regions >= OUTSIDE))
    faces = neighbours[rows]
    own, across = np.repeat(bodies[rows], 4), faces.ravel()
    outer = (across >= 0) & (bodies[across] != own) & (regions[across] >= OUTSIDE)
    if not outer.any():
        return 0
    keys = own[outer].astype(np.int64) * (int(regions.max()) + 1) + regions[across[outer]]
    pairs, counts = np.unique(keys, return_counts=True)
    most = np.lexsort((pairs, counts))
    choice = np.full(len(sizes), -1, np.int32)
    # Later ones win: those with most faces.
    choice[pairs[most] // (int(regions.max()) + 1)] = pairs[most] % (int(regions.max()) + 1)
    changed = rows[choice[bodies[rows]] >= OUTSIDE]
    regions[changed] = choice[bodies[changed]]
    pieces[changed] = -1
    return len(changed)


def _give_tets(
    volume: Volume, centroids: Floats, regions: Ints, pieces: Array, counts: Array, lost: Array, numbers: Array
) -> None:
    """Give every lost piece the tetrahedron nearest to its deepest voxel that is not the last one of another piece."""
    from scipy.spatial import cKDTree

    depths = depths_of(volume).ravel()
    order = np.lexsort((-depths, numbers.ravel()))
    sorted_numbers = numbers.ravel()[order]
    deepest = order[np.searchsorted(sorted_numbers, lost)]
    voxels = np.stack(np.unravel_index(deepest, volume.data.shape), axis=1)
    places = np.array(volume.origin) + voxels * np.array(volume.spacing)
    tree = cKDTree(centroids)
    for piece, voxel, place in zip(lost, deepest, places, strict=True):
        wanted = 16
        while True:
            found = np.atleast_1d(tree.query(place, k=min(wanted, len(centroids)))[1])
            owners = pieces[found]
            free = (owners < 0) | (counts[owners] > 1)
            if free.any() or wanted >= len(centroids):
                break
            wanted *= 4
        tet = found[np.argmax(free)]
        if pieces[tet] >= 0:
            counts[pieces[tet]] -= 1
        regions[tet] = volume.data.ravel()[voxel]
        pieces[tet] = piece
        counts[piece] = 1


# --- kernels ---


@njit(cache=True)
def _bodies(regions: Any, neighbours: Any) -> Any:
    """Number the bodies of tetrahedra of one label that share faces."""
    n = regions.shape[0]
    parents = np.arange(n)
    for t in range(n):
        for k in range(4):
            other = neighbours[t, k]
            if other > t and regions[other] == regions[t]:
                adjacency.join(parents, t, other)
    numbers = np.empty(n, np.int32)
    n_bodies = 0
    for t in range(n):
        # Roots are the smallest of their body, so they come first.
        if parents[t] == t:
            numbers[t] = n_bodies
            n_bodies += 1
        else:
            numbers[t] = numbers[adjacency.root(parents, t)]
    return numbers


@njit(cache=True)
def _part_pieces(regions: Any, pieces: Any, neighbours: Any, n_pieces: int) -> int:
    """Put other labels between two pieces of one label that share faces, in place; return how many tetrahedra changed.

    A tetrahedron changes only where all neighbours of its new label belong to one piece, and never the last of a piece.
    """
    n = regions.shape[0]
    _spread(regions, pieces, neighbours)
    counts = np.zeros(n_pieces, np.int64)
    for t in range(n):
        if pieces[t] >= 0:
            counts[pieces[t]] += 1
    changed = 0
    for t in range(n):
        if pieces[t] < 0 or counts[pieces[t]] < 2:
            continue
        met = False
        for k in range(4):
            other = neighbours[t, k]
            met = met or (other >= 0 and regions[other] == regions[t] and 0 <= pieces[other] != pieces[t])
        if not met:
            continue
        for k in range(4):
            other = neighbours[t, k]
            if other < 0 or regions[other] < 0 or regions[other] == regions[t] or pieces[other] < 0:
                continue
            alone = True
            for m in range(4):
                third = neighbours[t, m]
                if third >= 0 and regions[third] == regions[other] and pieces[third] != pieces[other]:
                    alone = False
            if alone:
                counts[pieces[t]] -= 1
                counts[pieces[other]] += 1
                regions[t], pieces[t] = regions[other], pieces[other]
                changed += 1
                break
    return changed


@njit(cache=True)
def _spread(regions: Any, pieces: Any, neighbours: Any) -> None:
    """Count tetrahedra that lie beside the voxels of their label to a neighbour's piece, in place."""
    queue = np.flatnonzero(pieces >= 0)
    while queue.size:
        following = np.empty(4 * queue.size, np.int64)
        n = 0
        for i in range(queue.size):
            t = queue[i]
            for k in range(4):
                other = neighbours[t, k]
                if other >= 0 and pieces[other] < 0 and regions[other] == regions[t]:
                    pieces[other] = pieces[t]
                    following[n] = other
                    n += 1
        queue = following[:n].copy()


@njit(cache=True)
def _without_spikes(regions: Any, neighbours: Any, allowed: Any) -> None:
    """Give every allowed tetrahedron the label that three of its neighbours share, in place."""
    for t in range(regions.shape[0]):
        if not allowed[t]:
            continue
        for k in range(2):
            # Of four neighbours, three that are alike include the first or the second.
            if neighbours[t, k] < 0:
                continue
            label = regions[neighbours[t, k]]
            alike = 0
            for m in range(4):
                alike += neighbours[t, m] >= 0 and regions[neighbours[t, m]] == label
            if alike >= 3:
                # Not across the faces of the box, which stay where they are.
                if label >= 0 and regions[t] >= 0:
                    regions[t] = label
                break


@njit(cache=True)
def _touched(voxels: Any, places: Any) -> Any:
    """Tell for every place whether any of the eight voxels around it is marked."""
    result = np.zeros(places.shape[0], np.bool_)
    for t in range(places.shape[0]):
        for k in range(8):
            i = min(max(int(np.floor(places[t, 0])) + (k & 1), 0), voxels.shape[0] - 1)
            j = min(max(int(np.floor(places[t, 1])) + (k >> 1 & 1), 0), voxels.shape[1] - 1)
            m = min(max(int(np.floor(places[t, 2])) + (k >> 2), 0), voxels.shape[2] - 1)
            result[t] = result[t] or voxels[i, j, m]
    return result


@njit(cache=True)
def _votes(labels: Any, places: Any) -> Any:
    """Return the label with the greatest trilinear weight at every place, or -1 ... -6 beyond the box."""
    result = np.empty(places.shape[0], np.int32)
    found = np.empty(8, np.int32)
    weights = np.empty(8)
    corner = np.empty(3, np.int64)
    for t in range(places.shape[0]):
        beyond, face = 0.0, 0
        for axis in range(3):
            low, high = -0.5 - places[t, axis], places[t, axis] - (labels.shape[axis] - 0.5)
            if low > beyond:
                beyond, face = low, -(2 * axis + 1)
            if high > beyond:
                beyond, face = high, -(2 * axis + 2)
        if face < 0:
            result[t] = face
            continue
        n = 0
        best = 0
        for k in range(8):
            weight = 1.0
            for axis in range(3):
                low = np.floor(places[t, axis])
                share = places[t, axis] - low
                bit = (k >> axis) & 1
                weight *= share if bit else 1 - share
                corner[axis] = min(max(int(low) + bit, 0), labels.shape[axis] - 1)
            label = labels[corner[0], corner[1], corner[2]]
            row = -1
            for m in range(n):
                if found[m] == label:
                    row = m
            if row < 0:
                row = n
                found[n], weights[n] = label, 0.0
                n += 1
            weights[row] += weight
            if weights[row] > weights[best]:
                best = row
        for m in range(n):
            # The larger label wins a tie, whatever the order of the corners.
            if weights[m] > weights[best] or (weights[m] == weights[best] and found[m] > found[best]):
                best = m
        result[t] = found[best]
    return result
