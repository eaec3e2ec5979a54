"""Grids for multigrid by smoothed aggregation of mesh nodes, all species of a node together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core.kernels import njit
from meshcell.core.threads import pieces
from meshcell.solving.sparse_products import Product

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]

# Below this many nodes and unknowns there is no coarser grid.
COARSEST_NODES, COARSEST_UNKNOWNS = 80, 400
MAX_LEVELS = 12
STRONG = 0.02
# Entries of a matrix that are swept in one go; the sweeps of two pieces do not see each other.
PIECE = 500_000


@dataclass(frozen=True, eq=False)
class Blocks:
    """Which unknowns share a mesh node, and where the entries of their dense blocks stand in one flat array.

    Parameters
    ----------
    node_of, species_of : (u,) int
        Of every unknown.
    node_start : (n + 1,) int64, unknowns : (u,) uint32
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
    unknowns: Places
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
        return cls(node_of, species_of, node_start, unknowns.astype(np.uint32), block_start, rank, rows, columns)

    def entries(self, rows: Any, columns: Any) -> Rows:
        """Return where the entries (row, column) of unknowns that share a node stand in the flat array."""
        nodes = self.node_of[rows]
        width = self.node_start[nodes + 1] - self.node_start[nodes]
        return np.asarray(self.block_start[nodes] + self.rank[rows] * width + self.rank[columns])


@dataclass(frozen=True, eq=False)
class Level:
    """One grid: the fixed part of its matrix, the places of the node blocks, and the way to the next grid.

    Parameters
    ----------
    blocks : Blocks
    product : Product
    parts : (u, 6) uint32
        Where in every row begin the entries of its own species, those of its own piece, the diagonal one, and what is
        after it; where those of its own piece end, and those of its own species.
    bounds : (k + 1,) int64
        The pieces of nodes that are swept each on its own.
    fixed : (e,) floats
    slots : (z,) int64
        Places of the node blocks' entries.
    down, up : Product or None
        Restriction and prolongation, with their entries.
    fold : (z,) int64 or None
        Where the entries of the node blocks are added to the next grid's; -1: nowhere.
    """

    blocks: Blocks
    product: Product
    parts: Places
    bounds: Rows
    fixed: Floats
    slots: Rows
    down: tuple[Product, Singles] | None
    up: tuple[Product, Singles] | None
    fold: Rows | None

    @property
    def size(self) -> int:
        return len(self.blocks.node_of)


# --- setup ---


def levels_of(fixed: sp.csr_array, blocks: Blocks) -> list[Level]:
    """Coarsen until little is left: all grids, the finest first.

    Parameters
    ----------
    fixed : (u, u) sparse array
        Diffusion: symmetric, zero row sums, no entries between different species.
    blocks : Blocks
    """
    levels: list[Level] = []
    while True:
        level = _level(fixed, blocks)
        small = len(blocks.node_start) - 1 <= COARSEST_NODES and level.size <= COARSEST_UNKNOWNS
        aggregates = None if small else _aggregates(fixed, blocks, STRONG / 2 ** len(levels))
        if aggregates is None or len(levels) + 1 == MAX_LEVELS:
            return [*levels, level]
        coarse, unknown_of = _coarse_blocks(blocks, aggregates)
        P = _smoothed(fixed, unknown_of, len(coarse.node_of))
        fold = np.full(len(blocks.rows), -1, np.int64)
        inside = unknown_of[blocks.rows] >= 0
        fold[inside] = coarse.entries(unknown_of[blocks.rows[inside]], unknown_of[blocks.columns[inside]])
        R = sp.csr_array(P.T)
        down, up = ((Product.of(way), way.data.astype(np.float32)) for way in (R, P))
        levels.append(replace(level, down=down, up=up, fold=fold))
        fixed = sp.csr_array(R @ fixed @ P)
        blocks = coarse


def _level(fixed: sp.csr_array, blocks: Blocks) -> Level:
    """Lay out one grid, without the ways to the next."""
    matrix, slots = _with_blocks(fixed, blocks)
    entries = np.bincount(blocks.node_of, np.diff(matrix.indptr), len(blocks.node_start) - 1)
    bounds = pieces(entries, PIECE)
    piece_of = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))[blocks.node_of]
    parts = parts_of(matrix.indptr, matrix.indices, blocks.species_of, piece_of)
    return Level(blocks, Product.of(matrix), parts, bounds, matrix.data, slots, None, None, None)


def _with_blocks(fixed: sp.csr_array, blocks: Blocks) -> tuple[sp.csr_array, Rows]:
    """Add the entries of the node blocks to the pattern of the fixed part, as zeros, and find their places."""
    n = fixed.shape[0]
    entries = sp.coo_array(fixed)
    rows = np.concatenate([entries.coords[0], blocks.rows])
    columns = np.concatenate([entries.coords[1], blocks.columns])
    data = np.concatenate([entries.data, np.zeros(len(blocks.rows))])
    # Summing duplicates keeps entries that are zero; adding two sparse matrices would drop them.
    matrix = sp.csr_array(sp.coo_array((data, (rows, columns)), shape=(n, n)))
    matrix.sum_duplicates()
    return matrix, _places(matrix.indptr, matrix.indices, blocks.rows, blocks.columns)


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
    if not len(alone):
        return None
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


# --- kernels ---


@njit(cache=True)
def _places(indptr: Any, indices: Any, rows: Any, columns: Any) -> Any:
    places = np.empty(rows.size, np.int64)
    for e in range(rows.size):
        start, stop = indptr[rows[e]], indptr[rows[e] + 1]
        places[e] = start + np.searchsorted(indices[start:stop], columns[e])
    return places


@njit(cache=True)
def parts_of(indptr: Any, indices: Any, species_of: Any, piece_of: Any) -> Any:
    """Find `Level.parts`; in every row the entries of a species stand together, and in them those of a piece."""
    parts = np.empty((indptr.size - 1, 6), np.uint32)
    for i in range(indptr.size - 1):
        start, stop = indptr[i], indptr[i + 1]
        while species_of[indices[start]] != species_of[i]:
            start += 1
        while species_of[indices[stop - 1]] != species_of[i]:
            stop -= 1
        parts[i, 0], parts[i, 5] = start, stop
        parts[i, 2] = start + np.searchsorted(indices[start:stop], i)
        parts[i, 3] = parts[i, 2] + 1
        while piece_of[indices[start]] != piece_of[i]:
            start += 1
        while piece_of[indices[stop - 1]] != piece_of[i]:
            stop -= 1
        parts[i, 1], parts[i, 4] = start, stop
    return parts
