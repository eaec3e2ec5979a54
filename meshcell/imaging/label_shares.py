"""Smoothed shares of labels: every voxel takes the label that has most around it."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.kernels import njit
from meshcell.core.types import Volume
from meshcell.imaging.filters import voxel_steps

# Standard deviations after which a Gaussian ends.
TRUNCATE = 4.0
# Voxels of boxes that take a fraction of a second.
AT_A_TIME = 2**21
# Boxes that hold so many times the volume are taken apart into what is near each other.
WASTE = 16


def greatest_shares(labels: Volume, width: float) -> Array:
    """Give every voxel the label whose share, smoothed by a Gaussian of `width` voxels, is greatest.

    Shares are those of `scipy.ndimage.gaussian_filter` on each label's mask in float32 with mode "nearest", to the last
    bit; of equal ones the smaller label's. Each is looked at where it can have one, all in one kernel, so that the time
    goes with what all labels reach, not with how many there are.
    """
    sigmas = np.broadcast_to(width / voxel_steps(labels), 3)
    radii = (TRUNCATE * sigmas + 0.5).astype(np.int64)
    weights = np.zeros((3, radii.max() + 1))
    for axis in range(3):
        weights[axis, : radii[axis] + 1] = _half_gaussian(float(sigmas[axis]), int(radii[axis]))
    present = np.array(sorted(labels.counts), labels.data.dtype)
    rows = np.ascontiguousarray(np.searchsorted(present, labels.data), np.int32)
    numbers, owners = rows, np.arange(len(present), dtype=np.int32)
    boxes = _boxes(numbers)
    if _reached(boxes, radii).sum() > WASTE * rows.size:
        numbers, owners = _apart(rows, radii)
        boxes = _boxes(numbers)
    best, out = np.full(rows.shape, -1, np.float32), np.zeros(rows.shape, np.int32)
    sizes = np.cumsum(_reached(boxes, radii))
    first = 0
    while first < len(boxes):
        last = int(np.searchsorted(sizes, (sizes[first - 1] if first else 0) + AT_A_TIME)) + 1
        last = min(last, len(boxes))
        _take_greatest(numbers, owners, boxes, weights, radii, best, out, first, last)
        first = last
    return present[out]


def _half_gaussian(sigma: float, radius: int) -> Array:
    """Return the middle and one side of the weights that scipy's filter has."""
    if sigma <= 1e-15:
        return np.ones(1)
    x = np.arange(-radius, radius + 1)
    whole = np.exp(-0.5 / (sigma * sigma) * x**2)
    return np.asarray((whole / whole.sum())[radius:])


def _reached(boxes: Array, radii: Array) -> Array:
    """Return the voxels that the boxes have with what they reach."""
    return np.asarray((boxes[:, 1] - boxes[:, 0] + 2 * radii).prod(axis=1))


def _apart(rows: Array, radii: Array) -> tuple[Array, Array]:
    """Number parts of labels that are too far from each other to share a voxel; return also whose part each is.

    By cells as wide as a share: between parts lies an empty one.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    cells = np.array(rows.shape) // (2 * radii + 1) + 3
    places = [np.arange(n) // (2 * r + 1) + 1 for n, r in zip(rows.shape, radii, strict=True)]
    cell = (places[0][:, None, None] * cells[1] + places[1][:, None]) * cells[2] + places[2]
    keys, which = np.unique(rows.astype(np.int64) * cells.prod() + cell, return_inverse=True)
    starts, ends = [], []
    for step in np.ndindex(3, 3, 3):
        beside = keys + ((step[0] - 1) * cells[1] + step[1] - 1) * cells[2] + step[2] - 1
        found = np.minimum(np.searchsorted(keys, beside), len(keys) - 1)
        there = np.flatnonzero(keys[found] == beside)
        starts.append(there)
        ends.append(found[there])
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(start), bool), (start, end)), shape=(len(keys), len(keys)))
    n, part = connected_components(graph, directed=False)
    owners = np.zeros(n, np.int32)
    owners[part] = keys // cells.prod()
    # Of equal shares the smaller label's: its parts come first.
    order = np.argsort(owners, kind="stable")
    numbers = np.empty(n, np.int32)
    numbers[order] = np.arange(n)
    return numbers[part][which.reshape(rows.shape)], owners[order]


def _boxes(numbers: Array) -> Array:
    """Return (n, 2, 3) int64: the first voxel of every number along each axis, and the one after its last."""
    return _boxes_of(numbers, int(numbers.max()) + 1)  # type: ignore[no-any-return]


# --- kernels ---


@njit(cache=True)
def _boxes_of(numbers: Any, n: int) -> Any:
    nx, ny, nz = numbers.shape
    boxes = np.empty((n, 2, 3), np.int64)
    boxes[:, 0] = max(nx, ny, nz)
    boxes[:, 1] = 0
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                box = boxes[numbers[i, j, k]]
                box[0, 0], box[1, 0] = min(box[0, 0], i), max(box[1, 0], i + 1)
                box[0, 1], box[1, 1] = min(box[0, 1], j), max(box[1, 1], j + 1)
                box[0, 2], box[1, 2] = min(box[0, 2], k), max(box[1, 2], k + 1)
    return boxes


@njit(cache=True)
def _take_greatest(
    numbers: Any, owners: Any, boxes: Any, weights: Any, radii: Any, best: Any, out: Any, first: int, last: int
) -> None:
    """Give voxels to the boxes' owners where they have the greatest share so far."""
    most = np.zeros(3, np.int64)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for b in range(first, last):
        inner, outer = boxes[b, 1] - boxes[b, 0], boxes[b, 1] - boxes[b, 0] + 2 * radii
        most[0] = max(most[0], inner[0] * inner[1] * inner[2])
        most[1] = max(most[1], outer[0] * inner[1] * inner[2])
        most[2] = max(most[2], outer[0] * outer[1] * inner[2])
    mask, one, two = np.empty(most[0], np.float32), np.empty(most[1], np.float32), np.empty(most[2], np.float32)
    sums = np.empty(numbers.shape[1] * numbers.shape[2])
    line = np.empty(numbers.shape[2] + 4 * radii[2] + 2)
    for b in range(first, last):
        start, stop = boxes[b, 0], boxes[b, 1]
        by, bz = stop[1] - start[1], stop[2] - start[2]
        for axis in range(3):
            low[axis] = max(start[axis] - radii[axis], 0)
            high[axis] = min(stop[axis] + radii[axis], numbers.shape[axis])
        ox, oy = high[0] - low[0], high[1] - low[1]
        at = 0
        for i in range(start[0], stop[0]):
            for j in range(start[1], stop[1]):
                for k in range(start[2], stop[2]):
                    mask[at] = 1.0 if numbers[i, j, k] == b else 0.0
                    at += 1
        ends = start[0], stop[0], low[0], high[0], numbers.shape[0]
        _smooth_along(mask, one, 1, by * bz, ends, weights[0], radii[0], sums)
        ends = start[1], stop[1], low[1], high[1], numbers.shape[1]
        _smooth_along(one, two, ox, bz, ends, weights[1], radii[1], sums)
        for i in range(ox):
            for j in range(oy):
                _take_line(
                    two[(i * oy + j) * bz : (i * oy + j + 1) * bz],
                    (start[2], low[2], high[2], numbers.shape[2]),
                    *(weights[2], radii[2], line, sums, owners[b]),
                    *(best[low[0] + i, low[1] + j], out[low[0] + i, low[1] + j]),
                )


@njit(cache=True)
def _smooth_along(
    source: Any, target: Any, n_before: int, n_after: int, ends: Any, weights: Any, radius: int, sums: Any
) -> None:
    """Smooth the middle axis of (n_before, start ... stop, n_after) into low ... high; the box of n repeats its rim.

    In scipy's order, from the far pairs to the near ones, as sums of doubles that are rounded once.
    """
    start, stop, low, high, n = ends
    for a in range(n_before):
        for p in range(low, high):
            for c in range(n_after):
                sums[c] = 0.0
            if start <= p < stop:
                here = (a * (stop - start) + p - start) * n_after
                for c in range(n_after):
                    sums[c] = source[here + c] * weights[0]
            for d in range(radius, 0, -1):
                before, behind = max(p - d, 0), min(p + d, n - 1)
                at = (a * (stop - start) + before - start) * n_after
                to = (a * (stop - start) + behind - start) * n_after
                if start <= before < stop and start <= behind < stop:
                    for c in range(n_after):
                        sums[c] += (np.float64(source[at + c]) + np.float64(source[to + c])) * weights[d]
                elif start <= before < stop:
                    for c in range(n_after):
                        sums[c] += np.float64(source[at + c]) * weights[d]
                elif start <= behind < stop:
                    for c in range(n_after):
                        sums[c] += np.float64(source[to + c]) * weights[d]
            there = (a * (high - low) + p - low) * n_after
            for c in range(n_after):
                target[there + c] = sums[c]


@njit(cache=True)
def _take_line(
    source: Any, ends: Any, weights: Any, radius: int, line: Any, sums: Any, owner: int, best: Any, out: Any
) -> None:
    """Smooth along a line of voxels, and take those where the share is the greatest so far."""
    start, low, high, n = ends
    empty = True
    for k in range(source.shape[0]):
        empty = empty and source[k] == 0.0
    if empty:
        return
    # From low - radius to high + radius.
    for k in range(high - low + 2 * radius):
        p = min(max(low - radius + k, 0), n - 1) - start
        line[k] = source[p] if 0 <= p < source.shape[0] else 0.0
    for k in range(high - low):
        sums[k] = line[k + radius] * weights[0]
    for d in range(radius, 0, -1):
        for k in range(high - low):
            sums[k] += (line[k + radius - d] + line[k + radius + d]) * weights[d]
    for k in range(high - low):
        share = np.float32(sums[k])
        if share > best[low + k]:
            best[low + k], out[low + k] = share, owner
