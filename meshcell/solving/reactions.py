"""A reaction at the nodes: what it brings to every unknown, and its exact derivatives.

A rate depends on the values at its node, which gives a small block per node, and on numbers of the whole state: pools,
means and totals. These couple all nodes, but each by one number, so that their part of the Jacobian is a product of two
vectors: how the number changes all unknowns, and how all unknowns change the number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meshcell.core.arrays import Floats
from meshcell.models.binding import BoundReaction
from meshcell.models.bound_places import WholeValue

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NodalReaction:
    """A reaction with the unknowns that it reads and changes.

    Parameters
    ----------
    bound : BoundReaction
    xyz : (m, 3) floats, um
    weights : (m,) floats
        um^3 or um^2 that each node stands for.
    reads : list of unknowns (m,), in the order of the compartments' nodes
    changes : list of (such unknowns, events' stoichiometry)
    entries : per read species, per changed one: places (m,) in the flat node blocks
    wholes : list of (unknowns of a species, WholeValue)
        The numbers of the whole state that the rate reads.
    pools : list of (unknown, events' stoichiometry)
        What all events together change.
    """

    bound: BoundReaction
    xyz: Floats
    weights: Floats
    reads: list[Rows | slice]
    changes: list[tuple[Rows | slice, float]]
    entries: list[list[Rows]]
    wholes: list[tuple[slice, WholeValue]]
    pools: list[tuple[int, float]]

    def read(self, u: Floats) -> list[Floats]:
        """Return what the rate reads: values (m,) at the nodes, then numbers of the whole state."""
        return [*(u[rows] for rows in self.reads), *(np.array(item.of(u[own])) for own, item in self.wholes)]

    def amounts(self, t: float, u: Floats) -> Floats:
        """(m,) events per s at every node."""
        return self.weights * self.bound.rate(self.read(u), t, self.xyz)

    def add(self, events: Floats, result: Floats) -> None:
        """Add to (u,) what events (m,) change."""
        for rows, change in self.changes:
            if change == -1:
                result[rows] -= events
            else:
                result[rows] += events if change == 1 else change * events
        for row, change in self.pools:
            result[row] += change * events.sum()

    def add_size(self, amounts: Floats, result: Floats) -> None:
        """Add to (u,) how much amounts (m,) of events move, in whatever direction."""
        for rows, change in self.changes:
            result[rows] += abs(change) * amounts
        for row, change in self.pools:
            result[row] += abs(change) * amounts.sum()

    def add_slopes(self, t: float, u: Floats, values: Floats) -> None:
        """Add d(changes)/d(values at the same node) to the node blocks (z,)."""
        read = self.read(u)
        for derivative, entries in zip(self.bound.derivatives, self.entries, strict=False):
            slope = self.weights * derivative(read, t, self.xyz)
            for (_, change), where in zip(self.changes, entries, strict=True):
                values[where] += change * slope

    def by_numbers(self, t: float, u: Floats) -> Iterator[tuple[slice, Floats, Floats]]:
        """Yield for every number of the whole state whose it is, its weights, and how it changes all unknowns (u,)."""
        if not self.wholes:
            return
        read = self.read(u)
        for (own, item), derivative in zip(self.wholes, self.bound.derivatives[len(self.reads) :], strict=True):
            slopes = np.zeros(len(u))
            self.add(self.weights * derivative(read, t, self.xyz), slopes)
            yield own, item.weights, slopes

    def into_pools(self, t: float, u: Floats) -> Floats:
        """(u,) how one event more per value at a node changes any pool."""
        slopes, read = np.zeros(len(u)), self.read(u)
        for rows, derivative in zip(self.reads, self.bound.derivatives, strict=False):
            slopes[rows] += self.weights * derivative(read, t, self.xyz)
        return slopes


def border(reactions: Sequence[NodalReaction], t: float, u: Floats) -> tuple[Floats, Floats]:
    """Return L and R, (k, u) each, of which the product L^T R is what the whole state's numbers add to the Jacobian.

    A number that several reactions read has one row, and so has a pool that several change.
    """
    numbers: dict[tuple[int, bytes], tuple[Floats, Floats]] = {}
    pools: dict[int, tuple[Floats, Floats]] = {}
    for reaction in reactions:
        for own, weights, slopes in reaction.by_numbers(t, u):
            left, right = numbers.setdefault((own.start, weights.tobytes()), (np.zeros(len(u)), np.zeros(len(u))))
            left += slopes
            right[own] = weights
        slopes = reaction.into_pools(t, u) if reaction.pools and reaction.reads else np.zeros(0)
        for row, change in reaction.pools if len(slopes) else ():
            left, right = pools.setdefault(row, (np.zeros(len(u)), np.zeros(len(u))))
            left[row] = 1
            right += change * slopes
    rows = [*numbers.values(), *pools.values()]
    shape = len(rows), len(u)
    return np.reshape([left for left, _ in rows], shape), np.reshape([right for _, right in rows], shape)
