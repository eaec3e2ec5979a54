"""Sparse matrices times vectors, shared among threads row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core.kernels import njit
from meshcell.core.threads import pieces, share

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Way:
    """What a product reads: for every place, a kind of species at a node, entries that serve all of its species.

    Parameters
    ----------
    begin : (p + 1,) uint32
        The first unknown of every place; its species follow.
    indptr : (p + 1,) uint32
    targets : (e,) uint32
        The first unknown of the place in whose column an entry stands, ascending in every row.
    values, singles : (e,) floats
        In double and in single precision.
    bounds : (k + 1,) int64
        Pieces of places of about equal work.
    work : int
        Multiply-adds of all species.
    """

    begin: Places
    indptr: Places
    targets: Places
    values: Floats
    singles: Singles
    bounds: Rows
    work: int

    @classmethod
    def of(cls, begin: Rows, matrix: sp.csr_array, size: int) -> Way:
        """Take a matrix (places, unknowns), with pieces of `size` entries of all species."""
        matrix.sort_indices()
        singles, widths = matrix.data.astype(np.float32), np.diff(begin)
        indptr, targets = matrix.indptr.astype(np.uint32), matrix.indices.astype(np.uint32)
        work = np.diff(matrix.indptr) * widths
        # Places without entries count too: their product is zero, and has to be set.
        bounds = pieces(work + 1, size)
        return cls(begin.astype(np.uint32), indptr, targets, matrix.data, singles, bounds, int(work.sum()))

    def add(self, x: Singles, y: Singles) -> None:
        """Add to y what it makes of x, in single precision."""
        places = self.bounds, self.begin, self.indptr, self.targets, self.singles
        share(_add_way, len(self.bounds) - 1, self.work, *places, x, y)


# --- kernels ---

LANES = np.uint32(4)
ONE, TWO, THREE = np.uint32(1), np.uint32(2), np.uint32(3)


@njit(inline="always")
def row_products(
    targets: Any, values: Any, x: Any, start: Any, stop: Any, own: Any, end: Any, y: Any, onto: bool
) -> None:
    """Set y[own:end] to one row's products with the species of a place, up to four at a time, or add them to it.

    Whole numbers without a sign make it three times as fast: none counts from the end.
    """
    lane = own - own
    while end - own - lane >= LANES:
        i = own + lane
        t0, t1, t2, t3 = _first_four(y, i, onto)
        for k in range(start, stop):
            value, j = values[k], targets[k] + lane
            t0 += value * x[j]
            t1 += value * x[j + ONE]
            t2 += value * x[j + TWO]
            t3 += value * x[j + THREE]
        y[i], y[i + ONE], y[i + TWO], y[i + THREE] = t0, t1, t2, t3
        lane += LANES
    left, i = end - own - lane, own + lane
    zero = y.dtype.type(0)
    t0 = y[i] if onto and left else zero
    t1 = y[i + ONE] if onto and left > ONE else zero
    t2 = y[i + TWO] if onto and left > TWO else zero
    if left == ONE:
        for k in range(start, stop):
            t0 += values[k] * x[targets[k] + lane]
        y[i] = t0
    elif left == TWO:
        for k in range(start, stop):
            value, j = values[k], targets[k] + lane
            t0 += value * x[j]
            t1 += value * x[j + ONE]
        y[i], y[i + ONE] = t0, t1
    elif left == THREE:
        for k in range(start, stop):
            value, j = values[k], targets[k] + lane
            t0 += value * x[j]
            t1 += value * x[j + ONE]
            t2 += value * x[j + TWO]
        y[i], y[i + ONE], y[i + TWO] = t0, t1, t2


@njit(inline="always")
def _first_four(y: Any, i: Any, onto: bool) -> Any:
    if onto:
        return y[i], y[i + ONE], y[i + TWO], y[i + THREE]
    zero = y.dtype.type(0)
    return zero, zero, zero, zero


@njit
def add_row_products(targets: Any, values: Any, x: Any, start: Any, stop: Any, own: Any, end: Any, y: Any) -> None:
    """Add to y[own:end] one row's products with the species of a place: where that is rare."""
    row_products(targets, values, x, start, stop, own, end, y, True)


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"}, slp=True)
def _add_way(
    first: int, last: int, bounds: Any, begin: Any, indptr: Any, targets: Any, values: Any, x: Any, y: Any
) -> None:
    for place in range(bounds[first], bounds[last]):
        row_products(targets, values, x, indptr[place], indptr[place + 1], begin[place], begin[place + 1], y, True)


@njit(cache=True)
def parts_of(begin: Any, indptr: Any, targets: Any, first: Any, last: Any) -> Any:
    """Find, in every row, where its entries begin, those of unknowns first ... last, and those from its own on; where
    those of first ... last end, and all of them: (p, 5).
    """
    parts = np.empty((indptr.size - 1, 5), np.uint32)
    for i in range(indptr.size - 1):
        start, stop = indptr[i], indptr[i + 1]
        row = targets[start:stop]
        parts[i, 0], parts[i, 4] = start, stop
        parts[i, 1] = start + np.searchsorted(row, first[i])
        parts[i, 2] = start + np.searchsorted(row, begin[i])
        parts[i, 3] = start + np.searchsorted(row, last[i])
    return parts
