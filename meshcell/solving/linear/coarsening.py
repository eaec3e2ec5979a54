"""Grids for multigrid by smoothed aggregation of mesh nodes, all species of a node together.

Species of one compartment have the same stiffness matrix, whatever their D, so that there is one matrix for each kind
of species and not for each of them, on all grids. Unknowns are numbered node by node, and kind by kind in a node: where
one species of a kind stands, the others follow, and a product reads the matrix once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core.threads import pieces
from meshcell.solving.kept_sums import connected
from meshcell.solving.linear.sparse_products import Way, parts_of

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]

# Below this many nodes and unknowns there is no coarser grid.
COARSEST_NODES, COARSEST_UNKNOWNS = 80, 400
MAX_LEVELS = 12
STRONG = 0.02
# Entries of a matrix that are swept in one go; the sweeps of two pieces do not see each other.
PIECE = 500_000
# Constants are looked at by themselves up to so many, once A makes less than this of one, relative to its diagonal.
MOST_CONSTANTS, SEEN = 300, 1e-3


@dataclass(frozen=True, eq=False)
class Kind:
    """Species that live at the same nodes and have the same stiffness matrix.

    Parameters
    ----------
    K : (m, m) sparse array
        Symmetric, zero row sums.
    nodes : (m,) int64, ascending
    diffusion : (s,) floats
        Of each species; what does not diffuse is of a kind of its own, whose K is empty.
    """

    K: sp.csr_array
    nodes: Rows
    diffusion: Floats


@dataclass(frozen=True, eq=False)
class Blocks:
    """Which unknowns share a mesh node, and where the entries of their dense blocks stand in one flat array.

    Parameters
    ----------
    node_of : (u,) int64
        Of every unknown.
    node_start : (n + 1,) int64, unknowns : (u,) int64
        The unknowns of node i are `unknowns[node_start[i]:node_start[i + 1]]`.
    block_start : (n + 1,) int64
        The block of node i, row by row, is `[block_start[i]:block_start[i + 1]]` of a flat array (z,).
    rank : (u,) int64
        Place of every unknown in its node.
    rows, columns : (z,) int64
        The unknowns of every entry.
    """

    node_of: Rows
    node_start: Rows
    unknowns: Rows
    block_start: Rows
    rank: Rows
    rows: Rows
    columns: Rows

    @classmethod
    def of(cls, node_of: Any, n_nodes: int, order: Any = None) -> Blocks:
        """Find the blocks from the node of every unknown, and in what order (u,) they stand in their node."""
        node_of = np.asarray(node_of, np.int64)
        sizes = np.bincount(node_of, minlength=n_nodes)
        node_start = np.concatenate([[0], np.cumsum(sizes)])
        block_start = np.concatenate([[0], np.cumsum(sizes**2)])
        unknowns = np.argsort(node_of, kind="stable") if order is None else np.lexsort((order, node_of))
        rank = np.empty(len(node_of), np.int64)
        rank[unknowns] = np.arange(len(node_of)) - node_start[node_of[unknowns]]
        nodes = np.repeat(np.arange(n_nodes), sizes**2)
        inside = np.arange(block_start[-1]) - block_start[nodes]
        width = np.maximum(sizes[nodes], 1)
        rows = unknowns[node_start[nodes] + inside // width]
        columns = unknowns[node_start[nodes] + inside % width]
        return cls(node_of, node_start, unknowns, block_start, rank, rows, columns)

    def entries(self, rows: Any, columns: Any) -> Rows:
        """Return where the entries (row, column) of unknowns that share a node stand in the flat array."""
        nodes = self.node_of[rows]
        width = self.node_start[nodes + 1] - self.node_start[nodes]
        return np.asarray(self.block_start[nodes] + self.rank[rows] * width + self.rank[columns])


@dataclass(frozen=True, eq=False)
class Level:
    """One grid: its unknowns node by node, diffusion between nodes, and the way to the next grid.

    Parameters
    ----------
    blocks : Blocks
        In the numbering of the caller; `blocks.unknowns` says which one that is of every unknown here.
    kinds : sequence of Kind
    places : (n + 1,) int64
        The first place of every node.
    way : Way
        K between different nodes.
    parts : (p, 5) uint32
        Where in every row of it the entries begin, those of the place's own piece, those of nodes after its own; where
        those of its own piece end, and all of them.
    factors, diagonal : (u,) floats
        D of every unknown, and its own entry of D K.
    slots : (u,) int64
        Where the latter is added in the node blocks.
    bounds : (k + 1,) int64
        The pieces of nodes that are swept each on its own.
    down, up : Way or None
        Restriction and prolongation.
    fold : (z,) int64 or None
        Where the entries of the node blocks are added to the next grid's; -1: nowhere.
    """

    blocks: Blocks
    kinds: Sequence[Kind]
    places: Rows
    way: Way
    parts: Places
    factors: Floats
    diagonal: Floats
    slots: Rows
    bounds: Rows
    down: Way | None = None
    up: Way | None = None
    fold: Rows | None = None

    @property
    def size(self) -> int:
        return len(self.factors)

    @cached_property
    def widest(self) -> int:
        """Most unknowns of a node."""
        return int(np.diff(self.blocks.node_start).max())


class Constants:
    """The last grid of all: a constant for every species and piece that its diffusion connects, in double precision.

    Long steps leave M / dt + D K with constants next to its null space. Single precision, in which the rest is right,
    sees nothing of them once D dt is a million times the square of an edge; their sums over pieces say it exactly.

    Parameters
    ----------
    kinds : sequence of Kind
    blocks : Blocks

    Attributes
    ----------
    inverse : (k, k) floats or None
        Of Z^T A Z, where the columns of Z are the constants; None while single precision sees enough of them.

    Notes
    -----
    Source: Nicolaides, Deflation of conjugate gradients with applications to boundary value problems, SIAM J. Numer.
    Anal. 24 (1987) 355-365.
    """

    def __init__(self, kinds: Sequence[Kind], blocks: Blocks) -> None:
        self._column = np.empty(len(blocks.node_of), np.int64)
        still: list[float] = []
        for kind, first in zip(kinds, _places(kinds, len(blocks.node_start) - 1)[1], strict=True):
            moves = kind.diffusion.any()
            count, piece = (
                connected(kind.K) if moves else (min(1, len(kind.nodes)), np.zeros(len(kind.nodes), np.int64))
            )
            # Zero but for what is held at fixed values beside it.
            sums = np.bincount(piece, kind.K.sum(axis=1), count)
            for a, D in enumerate(kind.diffusion):
                self._column[first + a] = len(still) + piece
                still.extend(D * sums)
        self._still, self._blocks, self.count = np.array(still), blocks, len(still)
        self.inverse: Floats | None = None

    @cached_property
    def of_unknowns(self) -> Rows:
        """(u,) which constant every unknown belongs to, in the numbering of the caller."""
        own = np.empty_like(self._column)
        own[self._blocks.unknowns] = self._column
        return own

    @cached_property
    def _pairs(self) -> Rows:
        own = self.of_unknowns
        return own[self._blocks.rows] * self.count + own[self._blocks.columns]

    def matrix(self, values: Floats) -> Floats:
        """Return Z^T A Z for node blocks (z,), storage less reactions."""
        n = self.count
        return np.asarray(np.bincount(self._pairs, values, n**2).reshape(n, n) + np.diag(self._still))

    def roots(self, diagonal: Floats) -> Floats:
        """Return the roots of Z^T |diagonal| Z for the whole diagonal (u,) of A."""
        return np.sqrt(np.bincount(self._column, np.abs(diagonal), self.count))

    def update(self, values: Floats, diagonal: Floats) -> None:
        """Look at node blocks (z,), and at the whole diagonal (u,) of A."""
        self.inverse = None
        if self.count <= MOST_CONSTANTS:
            self.inverse = inverse_if_small(self.matrix(values), self.roots(diagonal), SEEN)

    def correct(self, rest: Floats, y: Floats) -> None:
        """Add to y what takes the sums out of `rest`, what it leaves of the equations."""
        assert self.inverse is not None
        y += (self.inverse @ np.bincount(self._column, rest, len(self._still)))[self._column]


def inverse_if_small(matrix: Floats, root: Floats, least: float) -> Floats | None:
    """Return the inverse of a matrix that makes less than `least` of some vector, relative to its diagonal."""
    if not np.isfinite(matrix).all() or not root.all():
        return None
    sizes = np.linalg.svd(matrix / np.outer(root, root), compute_uv=False)
    return np.asarray(np.linalg.inv(matrix), np.float64) if 0 < sizes[-1] < least else None


# --- setup ---


def levels_of(kinds: Sequence[Kind], blocks: Blocks) -> list[Level]:
    """Coarsen until little is left: all grids, the finest first."""
    levels: list[Level] = []
    while True:
        level, first = _level(kinds, blocks)
        n_nodes = len(blocks.node_start) - 1
        small = n_nodes <= COARSEST_NODES and level.size <= COARSEST_UNKNOWNS
        groups = None if small else _groups(kinds, n_nodes, STRONG / 2 ** len(levels))
        if groups is None or len(levels) + 1 == MAX_LEVELS:
            return [*levels, level]
        ways = [_smoothed(kind, groups) for kind in kinds]
        kinds = [_coarser(kind, P, groups) for kind, P in zip(kinds, ways, strict=True)]
        coarse = _numbered(kinds, int(groups.max()) + 1)
        _, below = _places(kinds, len(coarse.node_start) - 1)
        size = int(coarse.node_start[-1])
        up = _joined(ways, first, below, level.size, size)
        down = _joined([sp.csr_array(P.T) for P in ways], below, first, size, level.size)
        coarse_of = np.full(level.size, -1, np.int64)
        for kind, coarser, own, other in zip(level.kinds, kinds, first, below, strict=True):
            held = np.flatnonzero(groups[kind.nodes] >= 0)
            there = other[np.searchsorted(coarser.nodes, groups[kind.nodes[held]])]
            for a in range(len(kind.diffusion)):
                coarse_of[own[held] + a] = there + a
        levels.append(replace(level, up=up, down=down, fold=_fold(level, coarse_of, coarse)))
        blocks = coarse


def _places(kinds: Sequence[Kind], n_nodes: int) -> tuple[Rows, list[Rows]]:
    """Return the first place of every node, and the first unknown of every place, kind by kind."""
    nodes = np.concatenate([kind.nodes for kind in kinds])
    widths = np.repeat([len(kind.diffusion) for kind in kinds], [len(kind.nodes) for kind in kinds])
    order = np.argsort(nodes, kind="stable")
    begin = np.empty(len(nodes), np.int64)
    begin[order] = np.cumsum(widths[order]) - widths[order]
    places = np.searchsorted(nodes[order], np.arange(n_nodes + 1))
    return places, np.split(begin, np.cumsum([len(kind.nodes) for kind in kinds])[:-1])


def _joined(matrices: Sequence[sp.csr_array], rows: list[Rows], columns: list[Rows], size: int, n: int) -> Way:
    """Join a matrix of every kind, given the first unknowns of its rows and of its columns."""
    begin = np.sort(np.concatenate(rows))
    entries = [sp.coo_array(matrix) for matrix in matrices]
    row = np.concatenate([own[entry.coords[0]] for own, entry in zip(rows, entries, strict=True)])
    column = np.concatenate([own[entry.coords[1]] for own, entry in zip(columns, entries, strict=True)])
    data = np.concatenate([entry.data for entry in entries])
    matrix = sp.coo_array((data, (np.searchsorted(begin, row), column)), shape=(len(begin), int(n)))
    return Way.of(np.append(begin, size), sp.csr_array(matrix), PIECE // 4)


def _level(kinds: Sequence[Kind], blocks: Blocks) -> tuple[Level, list[Rows]]:
    """Lay out one grid, without the ways to the next; also return the first unknown of every place, kind by kind."""
    places, first = _places(kinds, len(blocks.node_start) - 1)
    n = len(blocks.node_of)
    off = [_without_diagonal(kind.K) for kind in kinds]
    way = _joined(off, first, first, n, n)
    factors, diagonal = np.zeros((2, n))
    for kind, own in zip(kinds, first, strict=True):
        for a, D in enumerate(kind.diffusion):
            factors[own + a], diagonal[own + a] = D, D * kind.K.diagonal()
    rank, width = np.arange(n), np.diff(blocks.node_start)
    node_of = np.repeat(np.arange(len(width)), width)
    rank -= blocks.node_start[node_of]
    slots = blocks.block_start[node_of] + rank * (width[node_of] + 1)
    indptr, begin = way.indptr.astype(np.int64), way.begin.astype(np.int64)
    work = np.cumsum((indptr[1:] - indptr[:-1]) * (begin[1:] - begin[:-1]))
    entries = np.diff(np.concatenate([[0], work])[places]) + width**2
    bounds = pieces(entries, PIECE)
    cuts = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))[np.repeat(np.arange(len(width)), np.diff(places))]
    edges = blocks.node_start[bounds]
    parts = parts_of(way.begin, way.indptr, way.targets, edges[cuts], edges[cuts + 1])
    return Level(blocks, kinds, places, way, parts, factors, diagonal, slots, bounds), first


def _without_diagonal(K: sp.csr_array) -> sp.csr_array:
    entries = sp.coo_array(K)
    rows, columns = entries.coords
    off = (rows != columns) & (entries.data != 0)
    return sp.csr_array(sp.coo_array((entries.data[off], (rows[off], columns[off])), shape=K.shape))


def _groups(kinds: Sequence[Kind], n_nodes: int, theta: float) -> Rows | None:
    """Group neighbouring nodes: the group of every node, -1 where nothing diffuses; None if nothing is gained.

    A node that finds no group is one of its own: were it left out, constants would not be in the span of the coarse
    grid, and they are what long steps leave to it.
    """
    from pyamg.aggregation import standard_aggregation

    groups = sp.csr_array(standard_aggregation(_strong(kinds, n_nodes, theta))[0])
    if groups.shape[1] == 0 or groups.shape[1] > 0.8 * groups.shape[0]:
        return None
    members = np.full(groups.shape[0], -1, np.int64)
    held = np.diff(groups.indptr) > 0
    members[held] = groups.indices
    alone = np.unique(np.concatenate([kind.nodes[kind.K.diagonal() > 0] for kind in kinds]))
    if not len(alone):
        return None
    alone = alone[members[alone] < 0]
    members[alone] = groups.shape[1] + np.arange(len(alone))
    return members


def _strong(kinds: Sequence[Kind], n_nodes: int, theta: float) -> sp.csr_matrix:
    """Tell which nodes are strongly coupled: by the diffusion of every species of the one and of the other.

    Two points on opposite faces of a thin sheet are near for what lives in the sheet, but far apart for what lives
    around it. A group of both would tie together on the coarse grid what hardly feels each other.
    """
    pairs, diffusing = [], np.zeros(n_nodes, np.int64)
    for kind in kinds:
        entries, diagonal = sp.coo_array(kind.K), kind.K.diagonal()
        rows, columns = entries.coords
        root = np.sqrt(np.abs(diagonal))
        kept = -entries.data > theta * root[rows] * root[columns]
        pairs.append(kind.nodes[np.column_stack([rows[kept], columns[kept]])])
        # What does not diffuse needs no neighbours.
        diffusing[kind.nodes] += diagonal > 0
    a, b = np.concatenate(pairs).T
    strong = sp.coo_array(sp.csr_array((np.ones(len(a)), (a, b)), shape=(n_nodes, n_nodes)))
    a, b = strong.coords
    both = (strong.data == diffusing[a]) & (strong.data == diffusing[b])
    return sp.csr_matrix((np.ones(int(both.sum())), (a[both], b[both])), shape=(n_nodes, n_nodes))


def _smoothed(kind: Kind, groups: Rows) -> sp.csr_array:
    """Smooth piecewise constants by one Jacobi step of diffusion (Vanek, Mandel, Brezina 1996), scaled row by row."""
    own = groups[kind.nodes]
    held = np.flatnonzero(own >= 0)
    there, column = np.unique(own[held], return_inverse=True)
    T = sp.csr_array((np.ones(len(held)), (held, column)), shape=(len(own), len(there)))
    reach = np.asarray(abs(kind.K).sum(axis=1)).ravel()
    scale = np.divide(4 / 3, reach, out=np.zeros_like(reach), where=reach > 0)
    return sp.csr_array(T - sp.diags_array(scale) @ (kind.K @ T))


def _coarser(kind: Kind, P: sp.csr_array, groups: Rows) -> Kind:
    own = groups[kind.nodes]
    return Kind(sp.csr_array(sp.csr_array(P.T) @ kind.K @ P), np.unique(own[own >= 0]), kind.diffusion)


def _numbered(kinds: Sequence[Kind], n_nodes: int) -> Blocks:
    """Number the unknowns of a coarse grid node by node."""
    widths = [len(kind.diffusion) for kind in kinds]
    nodes = np.sort(np.concatenate([np.repeat(kind.nodes, width) for kind, width in zip(kinds, widths, strict=True)]))
    return Blocks.of(nodes, n_nodes)


def _fold(level: Level, coarse_of: Rows, coarse: Blocks) -> Rows:
    """Find where every entry of the node blocks belongs on the next grid, given its unknown for every one (u,)."""
    blocks, own = level.blocks, np.empty(level.size, np.int64)
    own[blocks.unknowns] = coarse_of
    fold = np.full(len(blocks.rows), -1, np.int64)
    inside = own[blocks.rows] >= 0
    fold[inside] = coarse.entries(own[blocks.rows[inside]], own[blocks.columns[inside]])
    return fold
