"""What pieces of labels enclose: how many parts of all the rest each would cut off from each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.kernels import njit

# Half of the 18 neighbours that share a face or an edge; the others come from the other side.
AHEAD = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]], np.int64
)
# Pairs that are remembered, so that most of those found again are not kept again.
REMEMBERED = 2**16


def enclosed_by(numbers: Array, n_pieces: int) -> Array:
    """Count the cavities of every piece: what is not the piece, by 18-connectivity, is one part more than these.

    Parameters
    ----------
    numbers : (nx, ny, nz) int
        For every voxel the number of its 6-connected piece.
    n_pieces : int

    Returns
    -------
    (n_pieces,) int64
        A label's are the sum over its pieces: what they enclose is enclosed by each alone (Alexander's duality).

    Notes
    -----
    Pieces and what lies beyond the box are the nodes of a graph, joined where voxels share a face or an edge. Without
    one of its nodes it falls apart into as many parts as blocks (biconnected components) meet there: Hopcroft and
    Tarjan 1973, Algorithm 447: efficient algorithms for graph manipulation.

    Examples
    --------
    >>> ring = np.zeros((3, 3, 3), int)
    >>> ring[1, 1, 1] = 1
    >>> enclosed_by(ring, 2).tolist()
    [1, 0]
    """
    pairs = np.unique(_touching(np.ascontiguousarray(numbers), AHEAD, n_pieces))
    first, second = pairs // (n_pieces + 1), pairs % (n_pieces + 1)
    ends, others = np.concatenate([first, second]), np.concatenate([second, first])
    offsets = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=n_pieces + 1))])
    blocks = _blocks(offsets, others[np.argsort(ends, kind="stable")])
    return np.asarray(blocks[:n_pieces] - 1)


# --- kernels ---


@njit(cache=True)
def _touching(numbers: Any, ahead: Any, n_pieces: int) -> Any:
    """List the pairs of pieces that touch as smaller * (n + 1) + larger, each once or a few times; n is the outside."""
    nx, ny, nz = numbers.shape
    known = np.full(REMEMBERED, -1, np.int64)
    pairs = np.empty(1024, np.int64)
    n = 0
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                here = np.int64(numbers[i, j, k])
                edge = i == 0 or j == 0 or k == 0 or i == nx - 1 or j == ny - 1 or k == nz - 1
                for way in range(ahead.shape[0] + 1):
                    other = np.int64(n_pieces)
                    if way < ahead.shape[0]:
                        a, b, c = i + ahead[way, 0], j + ahead[way, 1], k + ahead[way, 2]
                        if b < 0 or c < 0 or a >= nx or b >= ny or c >= nz:
                            continue
                        other = np.int64(numbers[a, b, c])
                        if other == here:
                            continue
                    elif not edge:
                        continue
                    pair = min(here, other) * (n_pieces + 1) + max(here, other)
                    slot = (pair ^ (pair >> 16)) & (REMEMBERED - 1)
                    if known[slot] == pair:
                        continue
                    known[slot] = pair
                    if n == pairs.shape[0]:
                        grown = np.empty(2 * n, np.int64)
                        grown[:n] = pairs
                        pairs = grown
                    pairs[n] = pair
                    n += 1
    return pairs[:n]


@njit(cache=True)
def _blocks(offsets: Any, others: Any) -> Any:
    """Return in how many blocks of a connected graph every node is: by depth first, without recursion.

    A child from which nothing reaches above its parent closes a block there.
    """
    n = offsets.shape[0] - 1
    blocks = np.zeros(n, np.int64)
    found, lowest = np.full(n, -1, np.int64), np.empty(n, np.int64)
    parents, cursor = np.full(n, -1, np.int64), offsets[:-1].copy()
    time = 0
    # What lies beyond the box touches all that reaches its faces, and all pieces hang together.
    here = n - 1
    while here >= 0:
        if found[here] < 0:
            found[here] = lowest[here] = time
            time += 1
        if cursor[here] < offsets[here + 1]:
            other = others[cursor[here]]
            cursor[here] += 1
            if found[other] < 0:
                parents[other] = here
                here = other
            elif other != parents[here]:
                lowest[here] = min(lowest[here], found[other])
            continue
        above = parents[here]
        if above >= 0:
            lowest[above] = min(lowest[above], lowest[here])
            # The child is in this block as well as the parent: once for the parent, and every node once as a child.
            if lowest[here] >= found[above]:
                blocks[above] += 1
            blocks[here] += 1
        here = above
    return blocks
