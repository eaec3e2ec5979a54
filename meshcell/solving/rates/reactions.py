"""All reactions of a system at its nodes: what they bring to every unknown, and exact derivatives.

A rate depends on the values at its node, which gives a small block per node, and on numbers of the whole state: pools,
means and totals. These couple all nodes, but each by one number, so that their part of the Jacobian is a product of two
vectors: how the number changes all unknowns, and how all unknowns change the number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.models.binding import BoundReaction
from meshcell.models.bound_places import WholeValue
from meshcell.models.expressions import POSITION
from meshcell.solving.linear.coarsening import Blocks
from meshcell.solving.ranks import ALONE, Ranks
from meshcell.solving.rates.drafts import SPAN, TIME, Draft
from meshcell.solving.rates.machine import Rows
from meshcell.solving.rates.programs import Program, assembled

# Of terms that come together in one place: factor and slot.
Terms = list[tuple[float, int]]


@dataclass(frozen=True, eq=False)
class Place:
    """The nodes of a compartment where reactions happen, in the order of the unknowns.

    Parameters
    ----------
    reactions : list of BoundReaction
    weights : (m,) floats
        um^3 or um^2 that each node stands for.
    order : (m,) ints
        Where arrays over the compartment's nodes have these.
    xyz : (m, 3) floats, um
    rows : dict of species -> (m,) ints, ascending
        The unknowns of what reactions read and change node by node.
    pools : dict of species -> int
        Pools that they change, of which each has one value for all nodes: their rows in the list of `Reactions`.
    """

    reactions: list[BoundReaction]
    weights: Floats
    order: Rows
    xyz: Floats
    rows: dict[str, Rows]
    pools: dict[str, int]


class Reactions:
    """What all reactions together do to the unknowns.

    Parameters
    ----------
    places : list of Place
    wholes : dict of WholeValue -> (unknowns, weights) of its species
    blocks : Blocks
    mass : (u,) floats
    pools : list of slices
        The unknown of every pool, none where it is at home on another rank.
    ranks : Ranks
        That share the unknowns.
    """

    def __init__(
        self,
        places: list[Place],
        wholes: Mapping[WholeValue, tuple[slice, Floats]],
        blocks: Blocks,
        mass: Floats,
        pools: Sequence[slice] = (),
        ranks: Ranks = ALONE,
    ) -> None:
        self.places, self._blocks, self._mass, self._size = places, blocks, mass, len(mass)
        self._pools, self._ranks = pools, ranks
        # A rank may have no node of a place.
        self._there = [place for place in places if len(place.weights)]
        # What is brought to pools is gathered behind the unknowns, as it comes from all ranks.
        self._wide = self._size + len(pools)
        # A number that several rates read is one.
        keys = {item: (item.species, item.weights.tobytes()) for item in wholes}
        numbers = list(dict.fromkeys(keys.values()))
        self._number = {item: numbers.index(key) for item, key in keys.items()}
        self._wholes = list({keys[item]: found for item, found in wholes.items()}.values())
        # Pools that gain or lose by what is read at nodes: what all unknowns do to them is a vector each.
        fed = [
            place.pools[name]
            for place in places
            for item in place.reactions
            if item.reads
            for name in item.change
            if name in place.pools
        ]
        self._fed = list(dict.fromkeys(fed))

    def _known(self, t: float, u: Floats, span: float = 0.0) -> list[float]:
        # Not a BLAS product, whose last bits hang on the number of rows and threads.
        sums = np.array([float((u[own] * weights).sum()) for own, weights in self._wholes])
        return [t, span, *(self._ranks.total(sums).tolist() if len(sums) else ())]

    def _gathered(self, out: Floats) -> Floats:
        """Hand what all ranks have for pools, behind the unknowns in (..., u + pools), to them; return (..., u)."""
        ours = out[..., : self._size]
        if self._pools:
            brought = self._ranks.total(out[..., self._size :])
            for k, own in enumerate(self._pools):
                ours[..., own] += brought[..., k, None]
        return ours

    # --- what is asked ---

    def brought(self, t: float, u: Floats) -> Floats:
        """(u,) molecules/s that reactions bring to every unknown."""
        out, known = np.zeros(self._wide), self._known(t, u)
        for program in self._rates:
            program.run(known, u, out)
        return self._gathered(out)

    def slopes(self, t: float, u: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the node blocks (z,) of d(brought)/du, and L and R, (k, u) each, of which L^T R is the rest of it."""
        n, k = len(self._blocks.rows), len(self._wholes) + len(self._fed)
        out, known = np.zeros(n + 2 * k * self._wide), self._known(t, u)
        both = out[n:].reshape(2, k, self._wide)
        for row, (own, weights) in enumerate(self._wholes):
            both[1, row, own] = weights
        for program in self._slopes:
            program.run(known, u, out)
        left, right = self._gathered(both)
        for row, pool in enumerate(self._fed, len(self._wholes)):
            left[row, self._pools[pool]] = 1
        return out[:n], left, right

    def reach(self, t: float, u: Floats, span: float) -> tuple[Floats, Floats, Floats]:
        """Bound what events move in whatever direction in a time, (u,) each.

        Returns
        -------
        far, made : (u,) floats
            Molecules/s if each reaction, linearised, goes at most as far as what it uses up lets it; and if it goes on.
        lost : (u,) floats
            1/s, by which reactions together brake themselves.
        """
        out, known = np.zeros((3, self._wide)), self._known(t, u, span)
        for program in self._reaches:
            program.run(known, u, out.ravel())
        far, made, lost = self._gathered(out)
        return far, made, lost

    # --- programs ---

    @cached_property
    def _rates(self) -> list[Program]:
        return [self._rates_at(place) for place in self._there]

    @cached_property
    def _slopes(self) -> list[Program]:
        return [self._slopes_at(place) for place in self._there]

    @cached_property
    def _reaches(self) -> list[Program]:
        return [self._reach_at(place) for place in self._there]

    def _draft(self, place: Place) -> Draft:
        return Draft(place.weights, 2 + len(self._wholes))

    def _arguments(self, draft: Draft, place: Place, reaction: BoundReaction) -> list[int]:
        """Take what a rate reads, in its order."""
        return [
            *(draft.state(name, place.rows[name]) for name in reaction.reads),
            *(draft.known(2 + self._number[item]) for item in reaction.wholes),
            draft.known(TIME),
            *(draft.field(axis, place.xyz[:, k]) for k, axis in enumerate(POSITION)),
        ]

    def _rates_at(self, place: Place) -> Program:
        draft, terms = self._draft(place), defaultdict[str, Terms](list)
        for reaction in place.reactions:
            rate = draft.formula(reaction.rate, self._arguments(draft, place, reaction), place.order)
            for name, change in reaction.change.items():
                terms[name].append((change, rate))
        for name, own in terms.items():
            self._put(draft, place, name, own)
        return assembled(draft)

    def _slopes_at(self, place: Place) -> Program:
        draft, n = self._draft(place), len(self._blocks.rows)
        k = len(self._wholes) + len(self._fed)
        # By what changes and what it changes with: two species; a species and a number; a pool and a species.
        blocks, left, right = (
            defaultdict[tuple[str, str], Terms](list),
            defaultdict[tuple[str, int], Terms](list),
            defaultdict[tuple[str, str], Terms](list),
        )
        for reaction in place.reactions:
            arguments = self._arguments(draft, place, reaction)
            slopes = [draft.formula(item, arguments, place.order) for item in reaction.derivatives]
            for name, change in reaction.change.items():
                for by, slope in zip(reaction.reads, slopes, strict=False):
                    (right if name in place.pools else blocks)[name, by].append((change, slope))
                for item, slope in zip(reaction.wholes, slopes[len(reaction.reads) :], strict=True):
                    left[name, self._number[item]].append((change, slope))
        for (name, by), terms in blocks.items():
            draft.add(draft.combined(terms), self._blocks.entries(place.rows[name], place.rows[by]))
        for (name, number), terms in left.items():
            self._put(draft, place, name, terms, n + number * self._wide)
        for (name, by), terms in right.items():
            row = k + len(self._wholes) + self._fed.index(place.pools[name])
            draft.add(draft.combined(terms), place.rows[by], n + row * self._wide)
        return assembled(draft)

    def _reach_at(self, place: Place) -> Program:
        draft = self._draft(place)
        # No name of a model has a blank.
        span, weights = draft.known(SPAN), draft.field("weights of nodes", place.weights)
        far, made, lost = (defaultdict[str, Terms](list) for _ in range(3))
        for reaction in place.reactions:
            arguments = self._arguments(draft, place, reaction)
            events = draft.step("abs", draft.formula(reaction.rate, arguments, place.order))
            brakes: Terms = [(1.0, draft.constant(1.0))]
            for by, derivative in zip(reaction.reads, reaction.derivatives, strict=False):
                if by in reaction.change:
                    slope = draft.combined([(-reaction.change[by], draft.formula(derivative, arguments, place.order))])
                    mass = draft.field(f"mass of {by}", self._mass[place.rows[by]])
                    loss = draft.step("/", draft.step("max", draft.constant(0.0), slope), mass)
                    lost[by].append((1.0, loss))
                    brakes.append((1.0, draft.step("*", span, draft.step("*", weights, loss))))
            braked = draft.step("/", events, draft.combined(brakes))
            for name, change in reaction.change.items():
                far[name].append((abs(change), braked))
                made[name].append((abs(change), events))
        for k, terms in enumerate((far, made, lost)):
            for name, own in terms.items():
                self._put(draft, place, name, own, k * self._wide)
        return assembled(draft)

    def _put(self, draft: Draft, place: Place, name: str, terms: Sequence[tuple[float, int]], offset: int = 0) -> None:
        """Add some terms to a species at the nodes, or their sum to a pool."""
        slot = draft.combined(terms)
        if name in place.rows:
            draft.add(slot, place.rows[name], offset)
        else:
            draft.sum(slot, offset + self._size + place.pools[name])
