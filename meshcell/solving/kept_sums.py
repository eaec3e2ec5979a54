"""Sums of molecules that nothing changes: taken piece by piece, as pieces that do not touch exchange nothing.

A linear solver changes sums by its tolerance, and what it changed is given back in proportion to what there is. It
must be given back where it came from: to the connected piece of a compartment, and to the pieces that reactions join.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg import null_space
from scipy.sparse.csgraph import connected_components

from meshcell.core.arrays import Floats, distinct_rows
from meshcell.solving.linear.krylov import dot
from meshcell.solving.ranks import ALONE, Ranks

Labels = npt.NDArray[np.int64]

# Share of all molecules that every species is taken to have at least, where rounding is shared out.
TRACE = 1e-9
# Joined pieces of species beyond which their sums are only kept species by species.
MOST_JOINED = 500


@dataclass(frozen=True, eq=False)
class Pieces:
    """The connected pieces of one species' nodes, between which nothing diffuses.

    Parameters
    ----------
    mass : (n,) floats
    labels : (n,) ints, or None where there is one piece
    totals : (pieces,) floats
        Sums of `mass`.
    closed : (pieces,) bools
        Whether nothing gets in or out, as it does beside fixed values.
    ranks : Ranks
        That share the nodes; `totals` and `closed` are of all of them.
    """

    mass: Floats
    labels: Labels | None
    totals: Floats
    closed: npt.NDArray[np.bool_]
    ranks: Ranks = ALONE

    @classmethod
    def of(cls, K: sp.csr_array, mass: Floats, first: int = 0, ranks: Ranks = ALONE) -> Pieces:
        """Find the pieces that a stiffness matrix connects, of which this rank has the rows from `first` on."""
        count, labels = connected(K, first, ranks)
        open_rows = np.abs(K.sum(axis=1)) > 1e-9 * ranks.most(K.diagonal(first).max(initial=0))
        closed = ranks.total(np.bincount(labels[open_rows], minlength=count)) == 0
        if count == 1:
            return cls(mass, None, np.array([ranks.total(mass.sum())]), closed, ranks)
        return cls(mass, labels, ranks.total(_summed(labels, mass, count)), closed, ranks)

    def level(self, column: Floats) -> None:
        """Take from a rate (n,), in place, what it adds to every closed piece as a whole."""
        if self.labels is None:
            if self.closed[0]:
                column -= self.ranks.total(dot(self.mass, column)) / self.totals[0]
            return
        sums = self.ranks.total(_summed(self.labels, self.mass * column, len(self.totals)))
        means = np.where(self.closed, sums / self.totals, 0)
        column -= means[self.labels]


@dataclass(frozen=True, eq=False)
class KeptSums:
    """The sums that a problem keeps.

    Parameters
    ----------
    mass : (u,) floats
    own : list of slices
        The unknowns of every species.
    labels : (u,) ints or None
        The part (a piece of a species) that every unknown is in; None where parts are species.
    sizes : (parts,) floats
        Sums of `mass`.
    groups : list of ((c, k, m) floats, (c, m) ints)
        For c sets of m parts that reactions join: k orthonormal weights each, and which parts these are.
    ranks : Ranks
        That share the unknowns; parts are those of all of them.
    """

    mass: Floats
    own: list[slice]
    labels: Labels | None
    sizes: Floats
    groups: list[tuple[Floats, Labels]]
    ranks: Ranks = ALONE

    @classmethod
    def of(
        cls,
        mass: Floats,
        own: list[slice],
        labels: Labels,
        stoichiometry: sp.csr_array,
        species_of: Labels,
        ranks: Ranks = ALONE,
    ) -> KeptSums:
        """Find the sums that a stoichiometry (events, parts) leaves alone; `species_of` (parts,) says whose parts."""
        n = stoichiometry.shape[1]
        if n == len(own):
            kept = _left_alone(stoichiometry.toarray())
            groups = [(kept[None], np.arange(n)[None])] if len(kept) else []
            sizes = np.array([mass[rows].sum() for rows in own])
            return cls(mass, own, None, ranks.total(sizes), groups, ranks)
        sizes = ranks.total(_summed(labels, mass, n))
        return cls(mass, own, labels, sizes, _groups(stoichiometry, species_of), ranks)

    def molecules(self, u: Floats) -> Floats:
        """(parts,) molecules in a state (u,)."""
        amounts = self.mass * u
        if self.labels is not None:
            return np.asarray(self.ranks.total(_summed(self.labels, amounts, len(self.sizes))))
        # Pairwise, as np.sum. What has no unknowns here would be given the next one's first.
        there = [rows.start for rows in self.own if rows.stop > rows.start]
        sums = np.zeros(len(self.own))
        sums[[rows.stop > rows.start for rows in self.own]] = np.add.reduceat(amounts, there) if there else 0.0
        return np.asarray(self.ranks.total(sums))

    def _spread(self, values: Floats) -> Floats:
        """Return the values (parts,) of the parts that unknowns are in, (u,)."""
        if self.labels is None:
            return np.repeat(values, [rows.stop - rows.start for rows in self.own])
        return values[self.labels]

    def restore(self, stage: Floats, u: Floats) -> None:
        """Do as `restorer` to one stage."""
        self.restorer(u)(stage)

    def restorer(self, u: Floats) -> Callable[[Floats], None]:
        """Return what takes out of stages from u, in place, what the linear solver put into the sums.

        No stage may change them.
        Conservation must not hang on its tolerance, nor on rounding in K u, which is amplified by dt D / h^2 without
        bound. It is shared out in proportion to what there is at every node, where it is below all else: the rounding
        of a crowded species is much for one that is nearly used up.
        """
        if not self.groups:
            return lambda _: None
        held = np.abs(u)
        amounts = self.molecules(held)
        # Sums of which there is nothing are kept as well.
        traces = (TRACE * amounts.sum() or 1.0) / self.sizes
        room = amounts + traces * self.sizes
        matrices = [kept @ (room[parts][:, :, None] * kept.transpose(0, 2, 1)) for kept, parts in self.groups]
        return functools.partial(self._restored, held + self._spread(traces), matrices)

    def _restored(self, there: Floats, matrices: list[Floats], stage: Floats) -> None:
        sums, shares = self.molecules(stage), np.zeros(len(self.sizes))
        for (kept, parts), matrix in zip(self.groups, matrices, strict=True):
            wanted = np.linalg.solve(matrix, kept @ sums[parts][:, :, None])
            shares[parts] = (kept.transpose(0, 2, 1) @ wanted)[:, :, 0]
        stage -= self._spread(shares) * there

    def drift(self, states: Sequence[Floats], given: Sequence[Floats] = ()) -> float | None:
        """Return how far sums have moved, relative to all molecules that take part; None without any.

        `given` (parts,) molecules came into the states from outside.
        """
        totals, worst = np.array([self.molecules(u) for u in states]), []
        if len(given):
            totals = totals - np.array([np.broadcast_to(part, totals.shape[1]) for part in given])
        for kept, parts in self.groups:
            own = totals[:, parts]
            size = np.einsum("ckm,tcm->tck", np.abs(kept), np.abs(own)).max(axis=0)
            moved = np.abs(np.einsum("ckm,tcm->tck", kept, own - own[0])).max(axis=0)
            worst += (moved[size > 0] / size[size > 0]).tolist()
        return max(worst) if worst else None


def connected(K: sp.csr_array, first: int = 0, ranks: Ranks = ALONE) -> tuple[int, Labels]:
    """Number the pieces that the entries of a symmetric matrix connect.

    Parameters
    ----------
    K : (own, n) sparse array
        The rows from `first` on, which are this rank's.

    Returns
    -------
    count : int
    labels : (own,) ints
    """
    there, n = K.data != 0, K.shape[0]
    starts = np.concatenate([[0], np.cumsum(there)])[K.indptr]
    graph = sp.csr_array((np.ones(int(there.sum())), K.indices[there], starts), shape=K.shape)
    count, own = connected_components(graph[:, first : first + n] if ranks.size > 1 else graph, directed=False)
    labels = own.astype(np.int64)
    if ranks.size == 1:
        return int(count), labels
    # Each rank's own pieces first, then those that entries between ranks join.
    counts = ranks.joined(np.array([count]))
    labels += counts[: ranks.rank].sum()
    everywhere, entries = ranks.joined(labels), graph.tocoo()
    joins = np.column_stack([labels[entries.coords[0]], everywhere[entries.coords[1]]])
    joins = ranks.joined(distinct_rows(joins[joins[:, 0] != joins[:, 1]]).rows)
    size = int(counts.sum())
    joined = sp.coo_array((np.ones(len(joins)), (joins[:, 0], joins[:, 1])), shape=(size, size))
    total, names = connected_components(joined, directed=False)
    return int(total), names[labels].astype(np.int64)


def parts_of(whole: tuple[int, Labels], moving: tuple[int, Labels] | None, ranks: Ranks = ALONE) -> tuple[int, Labels]:
    """Number the parts of a species: pieces within which it diffuses; what does not move counts with its place.

    `whole` numbers the pieces of its compartment, `moving` those that diffusion joins, None where nothing diffuses.
    """
    if moving is None:
        return whole
    labels = whole[1] + moving[0]
    many = ranks.total(np.bincount(moving[1], minlength=moving[0])) > 1
    inside = many[moving[1]]
    labels[inside] = moving[1][inside]
    found = np.unique(ranks.joined(np.unique(labels)))
    return len(found), np.searchsorted(found, labels).astype(np.int64)


def _summed(labels: Labels, values: Floats, count: int) -> Floats:
    return np.asarray(np.bincount(labels, values, count), np.float64)


def _left_alone(stoichiometry: Floats) -> Floats:
    """Return (k, parts) orthonormal weights of the sums that no event changes."""
    if not len(stoichiometry):
        return np.eye(stoichiometry.shape[1])
    return np.asarray(null_space(stoichiometry).T, np.float64)


def _groups(stoichiometry: sp.csr_array, species_of: Labels) -> list[tuple[Floats, Labels]]:
    """Find the kept sums of every set of parts that events join; sets of equal shapes go together."""
    n_events, n = stoichiometry.shape
    both: Any = sp.block_array([[None, stoichiometry], [stoichiometry.T, None]], format="csr")
    count, sets = connected_components(both, directed=False) if n_events else (n, np.arange(n))
    order = np.argsort(sets[n_events:], kind="stable")
    by_shape: dict[tuple[int, ...], list[tuple[Floats, Labels]]] = {}
    for parts in np.split(order, np.cumsum(np.bincount(sets[n_events:], minlength=count))[:-1]):
        if not len(parts):
            continue
        events = stoichiometry[np.flatnonzero(sets[:n_events] == sets[n_events + parts[0]])][:, parts].toarray()
        if len(parts) > MOST_JOINED:
            _, species = np.unique(species_of[parts], return_inverse=True)
            whose = np.eye(int(species.max()) + 1)[species.ravel()]
            kept = _left_alone(events @ whose) @ whose.T
        else:
            kept = _left_alone(events)
        if len(kept):
            by_shape.setdefault(kept.shape, []).append((kept, parts))
    return [
        (np.array([kept for kept, _ in members]), np.array([parts for _, parts in members]))
        for members in by_shape.values()
    ]
