"""Linear systems of reaction-diffusion: GMRES with one algebraic multigrid cycle for all species together.

The matrix is diffusion (fixed in time, sparse, one species each) plus a small dense block at every mesh node (storage
and reactions, new at every step). Aggregates are taken over mesh nodes, so that on a coarse level the blocks are sums
of fine ones: a new step size or Jacobian costs one pass over the blocks, never a new hierarchy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg as sl
import scipy.sparse as sp
from numba import njit

from meshcell.krylov import gmres

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]

# Below this many nodes a level is solved directly; above MAX_DENSE unknowns it is swept instead.
COARSEST_NODES = 80
MAX_DENSE = 800
MAX_LEVELS = 12
COARSEST_SWEEPS = 8
STRONG = 0.02


@dataclass(frozen=True, eq=False)
class Blocks:
    """Which unknowns share a mesh node, and where the entries of their dense blocks stand in one flat array.

    Parameters
    ----------
    node_of, species_of : (u,) int
        Of every unknown.
    node_start : (n + 1,) int64, unknowns : (u,) int32
        The unknowns of node i are `unknowns[node_start[i]:node_start[i + 1]]`, ascending.
    block_start : (n + 1,) int64
        The block of node i, row by row, is `[block_start[i]:block_start[i + 1]]` of a flat array (z,).
    rank : (u,) int64
        Place of every unknown in its node.
    rows, columns : (z,) int64
        The unknowns of every entry.
    """

    node_of: Rows
    species_of: Rows
    node_start: Rows
    unknowns: Ints
    block_start: Rows
    rank: Rows
    rows: Rows
    columns: Rows

    @classmethod
    def of(cls, node_of: Any, species_of: Any, n_nodes: int) -> Blocks:
        """Find the blocks from the node and species of every unknown."""
        node_of, species_of = np.asarray(node_of, np.int64), np.asarray(species_of, np.int64)
        sizes = np.bincount(node_of, minlength=n_nodes)
        node_start = np.concatenate([[0], np.cumsum(sizes)])
        block_start = np.concatenate([[0], np.cumsum(sizes**2)])
        unknowns = np.argsort(node_of, kind="stable")
        rank = np.empty(len(node_of), np.int64)
        rank[unknowns] = np.arange(len(node_of)) - node_start[node_of[unknowns]]
        nodes = np.repeat(np.arange(n_nodes), sizes**2)
        inside = np.arange(block_start[-1]) - block_start[nodes]
        width = np.maximum(sizes[nodes], 1)
        rows = unknowns[node_start[nodes] + inside // width]
        columns = unknowns[node_start[nodes] + inside % width]
        return cls(node_of, species_of, node_start, unknowns.astype(np.int32), block_start, rank, rows, columns)

    def entries(self, rows: Any, columns: Any) -> Rows:
        """Return where the entries (row, column) of unknowns that share a node stand in the flat array."""
        nodes = self.node_of[rows]
        width = self.node_start[nodes + 1] - self.node_start[nodes]
        return np.asarray(self.block_start[nodes] + self.rank[rows] * width + self.rank[columns])


@dataclass(frozen=True, eq=False)
class Level:
    """One grid: the fixed part of its matrix, the places of the node blocks, and the way to the next grid."""

    blocks: Blocks
    indptr: Ints
    indices: Ints
    parts: Ints
    fixed: Floats
    slots: Rows
    prolongation: sp.csr_array | None
    restriction: sp.csr_array | None
    fold: Rows | None

    @property
    def size(self) -> int:
        return len(self.blocks.node_of)


class Multigrid:
    """The matrix A = fixed + blocks on all levels; `update` sets the blocks, `solve` solves.

    Parameters
    ----------
    fixed : (u, u) sparse array
        Diffusion: symmetric, zero row sums, no entries between different species.
    blocks : Blocks
    """

    def __init__(self, fixed: sp.csr_array, blocks: Blocks) -> None:
        self.levels = _levels(fixed, blocks)
        fine = self.levels[0]
        self._data = fine.fixed.copy()
        self._singles: list[Singles] = []
        self._inverses: list[Singles] = []
        self._dense: Any = None
        self._rests = [np.empty(int(np.diff(level.blocks.node_start).max()), np.float32) for level in self.levels]

    def update(self, values: Floats) -> None:
        """Set the node blocks (z,) of the finest level and sum them up for the others."""
        self._singles, self._inverses = [], []
        for depth, level in enumerate(self.levels):
            data = level.fixed.copy()
            data[level.slots] += values
            if depth == 0:
                self._data = data
            inverse, single = np.empty(len(values), np.float32), data.astype(np.float32)
            _invert(level.blocks.node_start, level.blocks.block_start, data[level.slots], inverse)
            self._singles.append(single)
            self._inverses.append(inverse)
            if level.fold is not None:
                values = _folded(level.fold, values, self.levels[depth + 1].blocks.block_start[-1])
        last = self.levels[-1]
        self._dense = None
        if last.size <= MAX_DENSE:
            matrix = sp.csr_array((data, last.indices, last.indptr), shape=(last.size, last.size)).toarray()
            self._dense = sl.lu_factor(matrix, check_finite=False) if np.isfinite(matrix).all() else None

    def multiply(self, x: Floats) -> Floats:
        """Return A x."""
        fine = self.levels[0]
        y = np.empty(fine.size)
        _multiply(fine.indptr, fine.indices, self._data, x, y)
        return y

    def precondition(self, r: Floats) -> Floats:
        """Return B r, where B is about the inverse of A: one V-cycle, in single precision."""
        largest = float(np.abs(r).max())
        if largest == 0 or not np.isfinite(largest):
            return np.zeros_like(r)
        return np.asarray(self._cycle(0, (r / largest).astype(np.float32)) * np.float64(largest))

    def solve(
        self, b: Floats, weights: Floats, tolerance: float, guess: Floats | None = None, most: int = 120
    ) -> tuple[Floats, Floats, int, bool]:
        """Solve A x = b until the 2-norm of weights * (b - A x) is below `tolerance`.

        Returns
        -------
        x, residual : (u,) floats
        iterations : int
        converged : bool
        """
        return gmres(self.multiply, self.precondition, b, weights, tolerance, guess, most)

    def _cycle(self, depth: int, r: Singles) -> Singles:
        level, data = self.levels[depth], self._singles[depth]
        x = np.zeros(level.size, np.float32)
        if level.prolongation is None or level.restriction is None:
            return self._coarsest(level, data, r, x)
        rest = np.empty_like(r)
        self._sweep(depth, r, x, forward=True)
        _rest_after_first_sweep(level.parts, level.indices, data, x, rest)
        coarse = np.empty(level.restriction.shape[0], np.float32)
        _multiply(level.restriction.indptr, level.restriction.indices, level.restriction.data, rest, coarse)
        coarse = self._cycle(depth + 1, coarse)
        _add_product(level.prolongation.indptr, level.prolongation.indices, level.prolongation.data, coarse, x)
        self._sweep(depth, r, x, forward=False)
        return x

    def _coarsest(self, level: Level, data: Singles, r: Singles, x: Singles) -> Singles:
        if self._dense is not None:
            return np.asarray(sl.lu_solve(self._dense, r, check_finite=False), np.float32)
        for _ in range(COARSEST_SWEEPS):
            self._sweep(len(self.levels) - 1, r, x, forward=False)
        return x

    def _sweep(self, depth: int, r: Singles, x: Singles, *, forward: bool) -> None:
        level, data, inverse = self.levels[depth], self._singles[depth], self._inverses[depth]
        nodes, rest = level.blocks, self._rests[depth]
        places = nodes.node_start, nodes.unknowns, nodes.block_start
        if forward:
            _first_sweep(*places, level.parts, level.indices, data, inverse, r, x, rest)
        else:
            _sweep_back(*places, level.indptr, level.indices, data, inverse, r, x, rest)


# --- setup ---


def _levels(fixed: sp.csr_array, blocks: Blocks) -> list[Level]:
    levels: list[Level] = []
    while True:
        indptr, indices, data, slots = _with_blocks(fixed, blocks)
        parts = _parts(indptr, indices, blocks.species_of)
        aggregates = (
            _aggregates(fixed, blocks, STRONG / 2 ** len(levels))
            if len(blocks.node_start) - 1 > COARSEST_NODES
            else None
        )
        if aggregates is None or len(levels) + 1 == MAX_LEVELS:
            return [*levels, Level(blocks, indptr, indices, parts, data, slots, None, None, None)]
        coarse, unknown_of = _coarse_blocks(blocks, aggregates)
        P = _smoothed(fixed, unknown_of, len(coarse.node_of))
        fold = np.full(len(blocks.rows), -1, np.int64)
        inside = unknown_of[blocks.rows] >= 0
        fold[inside] = coarse.entries(unknown_of[blocks.rows[inside]], unknown_of[blocks.columns[inside]])
        R = sp.csr_array(P.T)
        levels.append(Level(blocks, indptr, indices, parts, data, slots, _single(P), _single(R), fold))
        fixed = sp.csr_array(R @ fixed @ P)
        blocks = coarse


def _with_blocks(fixed: sp.csr_array, blocks: Blocks) -> tuple[Ints, Ints, Floats, Rows]:
    """Add the entries of the node blocks to the pattern of the fixed part, as zeros, and find their places."""
    n = fixed.shape[0]
    entries = sp.coo_array(fixed)
    rows = np.concatenate([entries.coords[0], blocks.rows])
    columns = np.concatenate([entries.coords[1], blocks.columns])
    data = np.concatenate([entries.data, np.zeros(len(blocks.rows))])
    # Summing duplicates keeps entries that are zero; adding two sparse matrices would drop them.
    matrix = sp.csr_array(sp.coo_array((data, (rows, columns)), shape=(n, n)))
    matrix.sum_duplicates()
    indptr, indices = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
    return indptr, indices, matrix.data, _places(indptr, indices, blocks.rows, blocks.columns)


def _aggregates(fixed: sp.csr_array, blocks: Blocks, theta: float) -> Rows | None:
    """Group neighbouring nodes: the group of every node, -1 where nothing diffuses; None if nothing is gained.

    A node that finds no group is one of its own: were it left out, constants would not be in the span of the coarse
    grid, and they are what long steps leave to it.
    """
    from pyamg.aggregation import standard_aggregation

    groups = sp.csr_array(standard_aggregation(_strong(fixed, blocks, theta))[0])
    if groups.shape[1] == 0 or groups.shape[1] > 0.8 * groups.shape[0]:
        return None
    members = np.full(groups.shape[0], -1, np.int64)
    held = np.diff(groups.indptr) > 0
    members[held] = groups.indices
    alone = np.unique(blocks.node_of[fixed.diagonal() > 0])
    alone = alone[members[alone] < 0]
    members[alone] = groups.shape[1] + np.arange(len(alone))
    return members


def _strong(fixed: sp.csr_array, blocks: Blocks, theta: float) -> sp.csr_matrix:
    """Tell which nodes are strongly coupled: by the diffusion of every species of the one and of the other.

    Two points on opposite faces of a thin sheet are near for what lives in the sheet, but far apart for what lives
    around it. A group of both would tie together on the coarse grid what hardly feels each other.
    """
    n = len(blocks.node_start) - 1
    entries = sp.coo_array(fixed)
    rows, columns = entries.coords
    diagonal = fixed.diagonal()
    root = np.sqrt(np.abs(diagonal))
    kept = -entries.data > theta * root[rows] * root[columns]
    pairs = blocks.node_of[rows[kept]], blocks.node_of[columns[kept]]
    strong = sp.coo_array(sp.csr_array((np.ones(int(kept.sum())), pairs), shape=(n, n)))
    # What does not diffuse needs no neighbours.
    diffusing = np.bincount(blocks.node_of[diagonal > 0], minlength=n)
    a, b = strong.coords
    both = (strong.data == diffusing[a]) & (strong.data == diffusing[b])
    return sp.csr_matrix((np.ones(int(both.sum())), (a[both], b[both])), shape=(n, n))


def _coarse_blocks(blocks: Blocks, aggregates: Rows) -> tuple[Blocks, Rows]:
    groups = aggregates[blocks.node_of]
    n_groups = int(aggregates.max()) + 1
    held = groups >= 0
    keys, which = np.unique(blocks.species_of[held] * n_groups + groups[held], return_inverse=True)
    unknown_of = np.full(len(groups), -1, np.int64)
    unknown_of[held] = which
    return Blocks.of(keys % n_groups, keys // n_groups, n_groups), unknown_of


def _tentative(groups: Rows, n_groups: int) -> sp.csr_array:
    held = np.flatnonzero(groups >= 0)
    return sp.csr_array((np.ones(len(held)), (held, groups[held])), shape=(len(groups), n_groups))


def _smoothed(fixed: sp.csr_array, groups: Rows, n_groups: int) -> sp.csr_array:
    """Smooth piecewise constants by one Jacobi step of diffusion (Vanek, Mandel, Brezina 1996), scaled row by row."""
    T = _tentative(groups, n_groups)
    reach = np.asarray(abs(fixed).sum(axis=1)).ravel()
    scale = np.divide(4 / 3, reach, out=np.zeros_like(reach), where=reach > 0)
    return sp.csr_array(T - sp.diags_array(scale) @ (fixed @ T))


def _single(matrix: sp.csr_array) -> sp.csr_array:
    return sp.csr_array(
        (matrix.data.astype(np.float32), matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)),
        shape=matrix.shape,
    )


# --- kernels ---


@njit(cache=True)
def _places(indptr: Any, indices: Any, rows: Any, columns: Any) -> Any:
    places = np.empty(rows.size, np.int64)
    for e in range(rows.size):
        start, stop = indptr[rows[e]], indptr[rows[e] + 1]
        places[e] = start + np.searchsorted(indices[start:stop], columns[e])
    return places


@njit(cache=True)
def _folded(fold: Any, values: Any, n: int) -> Any:
    sums = np.zeros(n)
    for e in range(fold.size):
        if fold[e] >= 0:
            sums[fold[e]] += values[e]
    return sums


@njit(cache=True, fastmath={"contract"})
def _multiply(indptr: Any, indices: Any, data: Any, x: Any, y: Any) -> None:
    for i in range(indptr.size - 1):
        total = y.dtype.type(0)
        for k in range(indptr[i], indptr[i + 1]):
            total += data[k] * x[indices[k]]
        y[i] = total


@njit(cache=True, fastmath={"contract"})
def _add_product(indptr: Any, indices: Any, data: Any, x: Any, y: Any) -> None:
    for i in range(indptr.size - 1):
        total = y.dtype.type(0)
        for k in range(indptr[i], indptr[i + 1]):
            total += data[k] * x[indices[k]]
        y[i] += total


@njit(cache=True)
def _parts(indptr: Any, indices: Any, species_of: Any) -> Any:
    """Where in every row the entries of its own species begin, stand on the diagonal, and end."""
    parts = np.empty((indptr.size - 1, 3), np.int32)
    for i in range(indptr.size - 1):
        start, stop = indptr[i], indptr[i + 1]
        while species_of[indices[start]] != species_of[i]:
            start += 1
        while species_of[indices[stop - 1]] != species_of[i]:
            stop -= 1
        parts[i, 0], parts[i, 2] = start, stop
        parts[i, 1] = start + np.searchsorted(indices[start:stop], i)
    return parts


@njit(cache=True, fastmath={"contract"})
def _first_sweep(
    node_start: Any,
    unknowns: Any,
    block_start: Any,
    parts: Any,
    indices: Any,
    data: Any,
    inverse: Any,
    b: Any,
    x: Any,
    rest: Any,
) -> None:
    """Gauss-Seidel over the nodes, all species of a node at once, from x = 0: nodes to come do not count yet."""
    for node in range(node_start.size - 1):
        first = node_start[node]
        width = node_start[node + 1] - first
        for a in range(width):
            row = unknowns[first + a]
            total = b[row]
            for k in range(parts[row, 0], parts[row, 1]):
                total -= data[k] * x[indices[k]]
            rest[a] = total
        corner = block_start[node]
        for a in range(width):
            total = x.dtype.type(0)
            for c in range(width):
                total += inverse[corner + a * width + c] * rest[c]
            x[unknowns[first + a]] = total


@njit(cache=True, fastmath={"contract"})
def _rest_after_first_sweep(parts: Any, indices: Any, data: Any, x: Any, rest: Any) -> None:
    """b - A x after `_first_sweep`: every node was right when it was set, only later nodes have moved it since."""
    for row in range(parts.shape[0]):
        total = x.dtype.type(0)
        for k in range(parts[row, 1] + 1, parts[row, 2]):
            total -= data[k] * x[indices[k]]
        rest[row] = total


@njit(cache=True, fastmath={"contract"})
def _sweep_back(
    node_start: Any,
    unknowns: Any,
    block_start: Any,
    indptr: Any,
    indices: Any,
    data: Any,
    inverse: Any,
    b: Any,
    x: Any,
    rest: Any,
) -> None:
    """Gauss-Seidel over the nodes from the last to the first, all species of a node at once."""
    for node in range(node_start.size - 2, -1, -1):
        first = node_start[node]
        width = node_start[node + 1] - first
        for a in range(width):
            row = unknowns[first + a]
            total = b[row]
            for k in range(indptr[row], indptr[row + 1]):
                total -= data[k] * x[indices[k]]
            rest[a] = total
        corner = block_start[node]
        for a in range(width):
            total = x[unknowns[first + a]]
            for c in range(width):
                total += inverse[corner + a * width + c] * rest[c]
            x[unknowns[first + a]] = total


@njit(cache=True)
def _invert(node_start: Any, block_start: Any, values: Any, inverse: Any) -> None:
    """Invert every node's block by Gauss-Jordan with row pivoting; a singular one becomes NaN."""
    for node in range(node_start.size - 1):
        width = node_start[node + 1] - node_start[node]
        corner = block_start[node]
        if width == 1:
            inverse[corner] = 1 / values[corner] if values[corner] != 0 else np.nan
            continue
        work = np.zeros((width, 2 * width))
        for a in range(width):
            for c in range(width):
                work[a, c] = values[corner + a * width + c]
            work[a, width + a] = 1
        for k in range(width):
            pivot = k
            for a in range(k + 1, width):
                if abs(work[a, k]) > abs(work[pivot, k]):
                    pivot = a
            for c in range(2 * width):
                work[k, c], work[pivot, c] = work[pivot, c], work[k, c]
            scale = 1 / work[k, k] if work[k, k] != 0 else np.nan
            for c in range(2 * width):
                work[k, c] *= scale
            for a in range(width):
                if a != k and work[a, k] != 0:
                    factor = work[a, k]
                    for c in range(2 * width):
                        work[a, c] -= factor * work[k, c]
        for a in range(width):
            for c in range(width):
                inverse[corner + a * width + c] = work[a, width + c]
