"""Linear systems of reaction-diffusion: GMRES with one algebraic multigrid W-cycle for all species together.

The matrix is diffusion (fixed in time, sparse, one species each) plus a small dense block at every mesh node (storage
and reactions, new at every step). Aggregates are taken over mesh nodes, so that on a coarse level the blocks are sums
of fine ones: a new step size or Jacobian costs one pass over the blocks, never a new hierarchy.

What one number of the whole state does to every node, as a pool or a mean in a rate does, is a product of two vectors
more: it enters the matrix as it is, and the cycle by the formula of Sherman, Morrison and Woodbury.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg as sl

from meshcell.core.kernels import njit
from meshcell.core.threads import share, spread
from meshcell.solving.linear.coarsening import Blocks, Constants, Kind, Level, levels_of
from meshcell.solving.linear.krylov import Directions, add_rows, dot, gmres, norm
from meshcell.solving.linear.sparse_products import add_row_products, row_products

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]

# Above this many unknowns the coarsest grid is swept instead of solved.
MAX_DENSE = 800
COARSEST_SWEEPS = 8


class Multigrid:
    """The matrix A = fixed + blocks on all levels; `update` sets the blocks, `solve` solves.

    Parameters
    ----------
    kinds : sequence of Kind
        Diffusion, the fixed part: no entries between different species.
    blocks : Blocks
    """

    def __init__(self, kinds: Sequence[Kind], blocks: Blocks) -> None:
        self.levels = levels_of(kinds, blocks)
        fine = self.levels[0]
        self._order = blocks.unknowns
        # The diagonal of A, node by node.
        self.diagonal = np.zeros(0)
        self._blocks = np.zeros(0)
        self._singles: list[Singles] = []
        self._inverses: list[Singles] = []
        self._factors = [level.factors.astype(np.float32) for level in self.levels]
        self._coarse: tuple[Floats, tuple[Rows, Rows]] | None = None
        self._dense: Any = None
        self._known = Directions(fine.size)
        self._weights: tuple[Floats, Floats] | None = None
        self._border: Border | None = None
        self._constants = Constants(kinds, blocks)

    def update(self, values: Floats, border: tuple[Floats, Floats] | None = None) -> None:
        """Set the node blocks (z,) of the finest level and sum them up for the others.

        `border`: L and R, (k, u) each; A is then less L^T R.
        """
        self._singles, self._inverses, self._weights, self._border, full = [], [], None, None, values
        fine = self.levels[0]
        self.diagonal = values[fine.slots] + fine.diagonal
        self._constants.update(values, self.diagonal)
        for depth, level in enumerate(self.levels):
            full = values.copy()
            full[level.slots] += level.diagonal
            if depth == 0:
                self._blocks = full
            inverse = np.empty(len(values), np.float32)
            _invert(level.blocks.node_start, level.blocks.block_start, full, inverse)
            self._singles.append(full.astype(np.float32))
            self._inverses.append(inverse)
            if level.fold is not None:
                values = _folded(level.fold, values, self.levels[depth + 1].blocks.block_start[-1])
        last = self.levels[-1]
        self._dense = None
        if last.size <= MAX_DENSE:
            self._dense = _factors(self._written(last, full))
        if border is not None and len(border[0]):
            left, right = (np.ascontiguousarray(part[:, self._order]) for part in border)
            self._border = Border.of(left, right, self._precondition)

    def _written(self, level: Level, blocks: Floats) -> Floats:
        """Write out A of the coarsest grid."""
        if self._coarse is None:
            place_of = np.empty(level.size, np.int64)
            place_of[level.blocks.unknowns] = np.arange(level.size)
            places = place_of[level.blocks.rows], place_of[level.blocks.columns]
            self._coarse = _between_nodes(level), places
        A = self._coarse[0].copy()
        A[self._coarse[1]] += blocks
        return A

    def multiply(self, x: Floats) -> Floats:
        """Return A x."""
        return self._outward(self._multiply(x[self._order]))

    def precondition(self, r: Floats) -> Floats:
        """Return B r, where B is about the inverse of A: one W-cycle, in single precision."""
        return self._outward(self._precondition(r[self._order]))

    def solve(
        self, b: Floats, weights: Floats, tolerance: float, guess: Floats | None = None, most: int = 120
    ) -> tuple[Floats, int, bool]:
        """Solve A x = b until the 2-norm of weights * B (b - A x), about that of the error, is at most `tolerance`.

        What was learnt of A is used again while `weights` is the same array.

        Returns
        -------
        x : (u,) floats
        iterations : int
        converged : bool
        """
        if self._weights is None or weights is not self._weights[0]:
            self._known.count, self._weights = 0, (weights, weights[self._order])
        inner = b[self._order], self._weights[1], tolerance, None if guess is None else guess[self._order]
        x, iterations, converged = gmres(self._multiply, self._precondition, *inner, most, self._known)
        return self._outward(x), iterations, converged

    def _outward(self, x: Floats) -> Floats:
        """Turn unknowns node by node into those of the caller."""
        y = np.empty_like(x)
        y[self._order] = x
        return y

    def _multiply(self, x: Floats) -> Floats:
        y, level = np.empty_like(x), self.levels[0]
        _product(level, level.factors, level.way.values, self._blocks, x, y)
        if self._border is not None:
            self._border.take(x, y)
        return y

    def _precondition(self, r: Floats) -> Floats:
        # Of numpy's: with a Python number the product would be rounded, and limited, to single precision.
        size = np.float64(norm(r))
        if size == 0 or not np.isfinite(size):
            return np.zeros_like(r)
        x = self._cycle(0, spread(np.divide, r, size, out=np.empty(len(r), np.float32)))
        y = spread(np.multiply, x, size, out=np.empty_like(r))
        if self._constants.inverse is not None:
            image, level = np.empty_like(r), self.levels[0]
            _product(level, level.factors, level.way.values, self._blocks, y, image)
            self._constants.correct(r - image, y)
        if self._border is not None:
            self._border.correct(y)
        return y

    def _cycle(self, depth: int, r: Singles) -> Singles:
        level, way = self.levels[depth], self.levels[depth].way
        if level.up is None or level.down is None:
            return self._coarsest(r)
        x = self._sweep(depth, r, None)
        rest = np.empty_like(r)
        places = way.bounds, way.begin, level.parts, way.targets, way.singles, self._factors[depth]
        share(_rest_after_first_sweep, len(way.bounds) - 1, way.work // 2, *places, x, rest)
        coarse = np.zeros(self.levels[depth + 1].size, np.float32)
        level.down.add(rest, coarse)
        level.up.add(self._correction(depth + 1, coarse), x)
        x = self._sweep(depth, r, x)
        return self._sweep(depth, r, x) if depth else x

    def _correction(self, depth: int, r: Singles) -> Singles:
        """Solve roughly on a coarse grid: two cycles, as one alone gets worse with every further grid below it.

        They cost little, and a second sweep in them too: a grid has a fourteenth of the nodes of the next finer one.
        """
        x, level = self._cycle(depth, r), self.levels[depth]
        if level.up is None:
            return x
        image = np.empty_like(x)
        _product(level, self._factors[depth], level.way.singles, self._singles[depth], x, image)
        return np.asarray(x + self._cycle(depth, r - image))

    def _coarsest(self, r: Singles) -> Singles:
        if self._dense is not None:
            # scipy.linalg.lu_solve takes longer to look at its arguments.
            return np.asarray(sl.lapack.dgetrs(*self._dense, r)[0], np.float32)
        x = self._sweep(len(self.levels) - 1, r, None)
        for _ in range(COARSEST_SWEEPS):
            x = self._sweep(len(self.levels) - 1, r, x)
        return x

    def _sweep(self, depth: int, r: Singles, x: Singles | None) -> Singles:
        """Sweep forward from zero and return a new array, or backward from x, in place."""
        level, way, blocks = self.levels[depth], self.levels[depth].way, self.levels[depth].blocks
        n_pieces = len(level.bounds) - 1
        nodes = level.bounds, blocks.node_start, blocks.block_start, level.places
        matrix = way.begin, level.parts, way.targets, way.singles, self._factors[depth], self._inverses[depth]
        if x is None:
            x = np.empty_like(r)
            share(_first_sweep, n_pieces, way.work // 2, *nodes, *matrix, r, x, level.widest)
        else:
            old = x.copy() if n_pieces > 1 else x
            share(_sweep_back, n_pieces, way.work, *nodes, *matrix, self._singles[depth], r, old, x, level.widest)
        return x


def _product(level: Level, factors: Any, values: Any, blocks: Any, x: Any, y: Any) -> None:
    """Set y to A x of one grid, in double or in single precision."""
    way, nodes = level.way, level.blocks
    matrix = nodes.node_start, nodes.block_start, level.places, way.begin, way.indptr, way.targets, values, factors
    share(_multiply, len(level.bounds) - 1, way.work, level.bounds, *matrix, blocks, x, y)


def _between_nodes(level: Level) -> Floats:
    """Write out D K of one grid between different nodes."""
    way, A = level.way, np.zeros((level.size, level.size))
    begin, indptr = way.begin.astype(np.int64), way.indptr.astype(np.int64)
    for place, own in enumerate(begin[:-1]):
        entries = slice(indptr[place], indptr[place + 1])
        for a in range(begin[place + 1] - own):
            A[own + a, way.targets[entries].astype(np.int64) + a] = level.factors[own + a] * way.values[entries]
    return A


@dataclass(frozen=True, eq=False)
class Border:
    """The part -left^T right of a matrix A - left^T right, and what it does to B, about the inverse of A.

    Parameters
    ----------
    left, right, images : (k, u) floats
        `images` are B left.
    coupling : (k, k) floats
        The inverse of 1 - right B left^T.
    dot : callable
        (x, y) -> x . y.

    Notes
    -----
    Source: Golub and Van Loan, Matrix Computations (2013), 2.1.4.
    """

    left: Floats
    right: Floats
    images: Floats
    coupling: Floats
    dot: Callable[[Floats, Floats], float]

    @classmethod
    def of(
        cls,
        left: Floats,
        right: Floats,
        precondition: Callable[[Floats], Floats],
        dot: Callable[[Floats, Floats], float] = dot,
    ) -> Border:
        """Apply B to every row of `left`."""
        images = np.array([precondition(row) for row in left])
        inner = np.eye(len(left)) - np.array([[dot(row, image) for image in images] for row in right])
        try:
            coupling = np.linalg.inv(inner)
        except np.linalg.LinAlgError:
            # As close to a blow-up: the iteration has to find out alone.
            coupling = np.zeros_like(inner)
        return cls(left, right, images, coupling, dot)

    def take(self, x: Floats, y: Floats) -> None:
        """Take left^T right x from y."""
        add_rows(self.left, -np.array([self.dot(row, x) for row in self.right]), y)

    def correct(self, y: Floats) -> None:
        """Turn y = B r, in place, into what B would be of the whole matrix."""
        add_rows(self.images, self.coupling @ np.array([self.dot(row, y) for row in self.right]), y)


def _factors(matrix: Floats) -> Any:
    """Factorise a small matrix; None where it has no inverse, as close to a blow-up, so that it is swept instead.

    In double precision: fast reactions leave little in single.
    """
    if not np.isfinite(matrix).all():
        return None
    lu, pivots, singular = sl.lapack.dgetrf(matrix, overwrite_a=1)
    return (lu, pivots) if singular == 0 else None


# --- kernels ---


@njit(cache=True)
def _folded(fold: Any, values: Any, n: int) -> Any:
    sums = np.zeros(n)
    for e in range(fold.size):
        if fold[e] >= 0:
            sums[fold[e]] += values[e]
    return sums


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"}, slp=True)
def _multiply(
    first: int,
    last: int,
    bounds: Any,
    node_start: Any,
    block_start: Any,
    places: Any,
    begin: Any,
    indptr: Any,
    targets: Any,
    values: Any,
    factors: Any,
    blocks: Any,
    x: Any,
    y: Any,
) -> None:
    for node in range(bounds[first], bounds[last]):
        start, corner = node_start[node], block_start[node]
        width = node_start[node + 1] - start
        for place in range(places[node], places[node + 1]):
            row_products(targets, values, x, indptr[place], indptr[place + 1], begin[place], begin[place + 1], y, False)
        for a in range(width):
            total = factors[start + a] * y[start + a]
            for c in range(width):
                total += blocks[corner + a * width + c] * x[start + c]
            y[start + a] = total


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"}, slp=True)
def _first_sweep(
    first: int,
    last: int,
    bounds: Any,
    node_start: Any,
    block_start: Any,
    places: Any,
    begin: Any,
    parts: Any,
    targets: Any,
    data: Any,
    factors: Any,
    inverse: Any,
    b: Any,
    x: Any,
    widest: int,
) -> None:
    """Gauss-Seidel over a piece's nodes, all species of a node at once, from x = 0: only nodes before count."""
    rest = np.empty(widest, x.dtype)
    for node in range(bounds[first], bounds[last]):
        start, corner = node_start[node], block_start[node]
        width = node_start[node + 1] - start
        # What x is to become holds the products first.
        for place in range(places[node], places[node + 1]):
            row_products(targets, data, x, parts[place, 1], parts[place, 2], begin[place], begin[place + 1], x, False)
        for a in range(width):
            rest[a] = b[start + a] - factors[start + a] * x[start + a]
        for a in range(width):
            total = inverse[corner + a * width] * rest[0]
            for c in range(1, width):
                total += inverse[corner + a * width + c] * rest[c]
            x[start + a] = total


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"}, slp=True)
def _rest_after_first_sweep(
    first: int,
    last: int,
    bounds: Any,
    begin: Any,
    parts: Any,
    targets: Any,
    data: Any,
    factors: Any,
    x: Any,
    rest: Any,
) -> None:
    """b - A x after `_first_sweep`: every node was right when it was set; what it did not see then is left."""
    for place in range(bounds[first], bounds[last]):
        own, end = begin[place], begin[place + 1]
        row_products(targets, data, x, parts[place, 2], parts[place, 4], own, end, rest, False)
        if parts[place, 0] < parts[place, 1]:
            add_row_products(targets, data, x, parts[place, 0], parts[place, 1], own, end, rest)
        for row in range(own, end):
            rest[row] *= -factors[row]


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"}, slp=True)
def _sweep_back(
    first: int,
    last: int,
    bounds: Any,
    node_start: Any,
    block_start: Any,
    places: Any,
    begin: Any,
    parts: Any,
    targets: Any,
    data: Any,
    factors: Any,
    inverse: Any,
    blocks: Any,
    b: Any,
    old: Any,
    x: Any,
    widest: int,
) -> None:
    """Gauss-Seidel over a piece's nodes from the last to the first; of other pieces it sees only what is old.

    A node is corrected by what is left of its equations, not set to what they say: where reactions are fast, single
    precision leaves nothing of the difference between what they make and what they use up.
    """
    rest = np.empty(widest, x.dtype)
    for piece in range(first, last):
        for node in range(bounds[piece + 1] - 1, bounds[piece] - 1, -1):
            start, corner = node_start[node], block_start[node]
            width = node_start[node + 1] - start
            for place in range(places[node], places[node + 1]):
                own, end = begin[place] - begin[places[node]], begin[place + 1] - begin[places[node]]
                row_products(targets, data, x, parts[place, 1], parts[place, 3], own, end, rest, False)
                if parts[place, 0] < parts[place, 1]:
                    add_row_products(targets, data, old, parts[place, 0], parts[place, 1], own, end, rest)
                if parts[place, 3] < parts[place, 4]:
                    add_row_products(targets, data, old, parts[place, 3], parts[place, 4], own, end, rest)
            for a in range(width):
                total = b[start + a] - factors[start + a] * rest[a]
                for c in range(width):
                    total -= blocks[corner + a * width + c] * x[start + c]
                rest[a] = total
            for a in range(width):
                total = inverse[corner + a * width] * rest[0]
                for c in range(1, width):
                    total += inverse[corner + a * width + c] * rest[c]
                x[start + a] += total


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
