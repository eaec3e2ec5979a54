"""Sparse matrices times vectors, shared among threads row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core.kernels import njit
from meshcell.core.threads import pieces, share

Places = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]

# Entries that are multiplied in one go.
PIECE = 125_000


@dataclass(frozen=True, eq=False)
class Product:
    """A sparse matrix to multiply with: its rows in pieces of about equal work."""

    indptr: Places
    indices: Places
    bounds: Rows

    @classmethod
    def of(cls, matrix: sp.csr_array) -> Product:
        """Take the pattern of a sparse matrix."""
        bounds = pieces(np.diff(matrix.indptr), PIECE)
        return cls(matrix.indptr.astype(np.uint32), matrix.indices.astype(np.uint32), bounds)

    def apply(self, data: Any, x: Any, y: Any) -> None:
        """Set y to the matrix of these data times x."""
        share(_multiply, len(self.bounds) - 1, data.size, self.bounds, self.indptr, self.indices, data, x, y)

    def add(self, data: Any, x: Any, y: Any) -> None:
        """Add the matrix of these data times x to y."""
        share(_add_product, len(self.bounds) - 1, data.size, self.bounds, self.indptr, self.indices, data, x, y)


# --- kernels ---


@njit(fastmath={"contract", "reassoc"}, inline="always")
def row_product(data: Any, indices: Any, x: Any, start: int, stop: int) -> Any:
    """One row's product. Unsigned bounds and columns make it three times as fast: none counts from the end."""
    total = x.dtype.type(0)
    for k in range(start, stop):
        total += data[k] * x[indices[k]]
    return total


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _multiply(first: int, last: int, bounds: Any, indptr: Any, indices: Any, data: Any, x: Any, y: Any) -> None:
    for i in range(bounds[first], bounds[last]):
        y[i] = row_product(data, indices, x, indptr[i], indptr[i + 1])


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _add_product(first: int, last: int, bounds: Any, indptr: Any, indices: Any, data: Any, x: Any, y: Any) -> None:
    for i in range(bounds[first], bounds[last]):
        y[i] += row_product(data, indices, x, indptr[i], indptr[i + 1])
