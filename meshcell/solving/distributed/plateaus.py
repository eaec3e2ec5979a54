"""The coarsest grid of several ranks: a constant for every species, rank and piece of what the rank has.

Each rank's multigrid knows nothing of the others' nodes, so that what is smooth over several ranks, and the mean above
all, would take as many iterations as there are ranks to cross, or be missed where steps are long.

Source: Nicolaides, Deflation of conjugate gradients with applications to boundary value problems, SIAM J. Numer. Anal.
24 (1987) 355-365.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.solving.linear.coarsening import MOST_CONSTANTS, Blocks, Constants, Kind, inverse_if_small
from meshcell.solving.ranks import Ranks

# Where A makes less than this of some combination of constants, relative to its diagonal, they are worth their cost.
SEEN = 0.1


class Plateaus:
    """The constants of all ranks.

    Parameters
    ----------
    ranks : Ranks
    kinds, blocks
        Of this rank.
    beyond : sequence of Beyond
        What other ranks' nodes enter with.
    """

    def __init__(self, ranks: Ranks, kinds: Sequence[Kind], blocks: Blocks, beyond: Sequence[Any]) -> None:
        self.ranks, self._here = ranks, Constants(kinds, blocks)
        counts = ranks.joined(np.array([self._here.count]))
        self.count, first = int(counts.sum()), int(counts[: ranks.rank].sum())
        self._column = first + self._here.of_unknowns
        self._own = slice(first, first + self._here.count)
        self._between = np.zeros((self._here.count, self.count))
        for part in beyond:
            for D, own, away in part.fetched(self._column.astype(np.float64)):
                rows, entries = self._column[own] - first, part.entries.tocoo()
                place = rows[entries.coords[0]], np.rint(away[entries.coords[1]]).astype(np.int64)
                np.add.at(self._between, place, D * entries.data)
        # Of Z^T A Z without and with the border, None where it is not worth its cost; and as what comes last.
        self.inverse: Floats | None = None
        self.whole: Floats | None = None
        self.last: Floats | None = None

    def update(self, values: Floats, diagonal: Floats, border: tuple[Floats, Floats] | None = None) -> None:
        """Look at node blocks (z,), storage less reactions, and at the whole diagonal (u,) of A, node by node.

        `border`: L and R, (k, u) each, of which A is less L^T R.
        """
        self.inverse = self.whole = self.last = None
        if self.count > MOST_CONSTANTS or self.ranks.size == 1:
            # One rank's multigrid has constants of its own.
            return
        rows = self._between.copy()
        rows[:, self._own] += self._here.matrix(values)
        matrix, root = self.ranks.joined(rows), self.ranks.joined(self._here.roots(diagonal))
        self.inverse = inverse_if_small(matrix, root, SEEN)
        if border is not None and len(border[0]):
            left, right = (np.array([self._sums(row) for row in part]) for part in border)
            matrix = matrix - left.T @ right
            self.whole = inverse_if_small(matrix, root, SEEN)
        self.last = inverse_if_small(matrix, root, np.inf)

    def correct(self, inverse: Floats, rest: Floats, y: Floats) -> None:
        """Add to y what takes the sums out of `rest`, what it leaves of the equations."""
        y += (inverse @ self._sums(rest))[self._column]

    def _sums(self, values: Floats) -> Floats:
        """Return Z^T values."""
        return np.asarray(self.ranks.total(np.bincount(self._column, values, self.count)))
