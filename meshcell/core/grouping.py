"""Triangles by the pair of regions that they lie between: one sort, whatever the number of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints, frozen
from meshcell.core.validation import name_of


@dataclass(frozen=True, eq=False)
class Grouped:
    """The triangles of every interface.

    Parameters
    ----------
    sides : (k, 2) int32
        Labels behind and in front of each interface, ascending.
    order : (t,) int
        Rows of all triangles, those of the first interface first, ascending within each.
    starts : (k,) int
        Where each interface begins in `order`.
    """

    sides: Ints
    order: Array
    starts: Array

    @property
    def counts(self) -> Array:
        """(k,) triangles of each."""
        return np.diff(self.starts, append=len(self.order))

    def sums(self, values: Floats) -> Floats:
        """Return (k,) sums of a value per triangle."""
        if not len(self.starts):
            return np.zeros(0)
        return np.asarray(np.add.reduceat(values[self.order], self.starts), np.float64)

    def named(self, names: Mapping[int, str]) -> dict[tuple[str, str], Array]:
        """Return (behind, front) names -> rows."""
        rows = frozen(self.order)
        stops = [*self.starts.tolist(), len(rows)][1:]
        return {
            (name_of(names, a), name_of(names, b)): rows[first:stop]
            for (a, b), first, stop in zip(self.sides.tolist(), self.starts.tolist(), stops, strict=True)
        }


def grouped_by(sides: Ints) -> Grouped:
    """Group triangles by their (t, 2) sides.

    Examples
    --------
    >>> found = grouped_by(np.array([[2, 0], [1, 0], [2, 0]], np.int32))
    >>> found.sides.tolist(), found.order.tolist(), found.counts.tolist()
    ([[1, 0], [2, 0]], [1, 0, 2], [1, 2])
    """
    keys = sides[:, 0].astype(np.int64) << 32 | sides[:, 1]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    return Grouped(sides[order[starts]], order, starts)
