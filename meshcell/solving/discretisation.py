"""A bound model as equations at the nodes: stiffness, mass and rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core.arrays import Floats, Ints, distinct_rows
from meshcell.models.binding import BoundFixed, BoundReaction, BoundSpecies, System
from meshcell.solving.kept_sums import KeptSums, connected, parts_of
from meshcell.solving.linear.coarsening import Blocks, Kind
from meshcell.solving.linear.diffusion import Diffusion
from meshcell.solving.linear.krylov import add_rows, dot
from meshcell.solving.linear.multigrid import Multigrid
from meshcell.solving.numbering import Numbering, Rows
from meshcell.solving.ranks import ALONE, Ranks
from meshcell.solving.rates.reactions import Place, Reactions

# What is fixed; where among all nodes of the species; its unknowns here, and which of the part's nodes they are.
Held = tuple[BoundFixed, Rows, Rows, Rows]
# Powers of the reactions' Jacobian that go into the measure of stiffness.
POWERS = 4


@dataclass(frozen=True, eq=False)
class Home:
    """What diffuses by one stiffness matrix.

    Parameters
    ----------
    K : (own, n) sparse array, um (on an interface dimensionless)
        Its rows at home here, with columns for all nodes of the compartment; without what is fixed.
    mass : (own,) floats, um^3 or um^2
    rows : slice
        Which of all nodes are at home here.
    constants : list of floats, um^2/s
        D of every species.
    own : list of slices
        Their unknowns.
    """

    K: sp.csr_array
    mass: Floats
    rows: slice
    constants: list[float]
    own: list[slice]


class Discretisation:
    """M u' = -D K u + reactions: the unknowns species by species, their nodes so that neighbours stand close.

    Unknowns with fixed values are no unknowns to the stepper: their rate is zero, their rows and columns of K and of
    the Jacobian are empty, and what they exchange with their neighbours by diffusion counts among the reactions.
    """

    def __init__(self, system: System, start: float = 0.0, ranks: Ranks = ALONE) -> None:
        self.system, self.start, self.ranks = system, start, ranks
        self.names = list(system.species)
        homes = {name: species.compartment for name, species in system.species.items()}
        # One species of each compartment stands for all: they have the same nodes.
        first = {home.name: home for home in reversed(homes.values())}
        self._numbering = numbering = Numbering(system.mesh, list(first.values()), ranks)
        self._rows = {name: numbering.rows(home) for name, home in first.items()}
        self._places = {name: numbering.sorted(home)[self._rows[home.name]] for name, home in homes.items()}
        self.nodes = {name: home.nodes[self._places[name]] for name, home in homes.items()}
        sizes = [len(rows) for rows in self.nodes.values()]
        stops = np.cumsum([0, *sizes])
        self.size, self.n_unknowns = int(stops[-1]), sum(len(home.nodes) for home in homes.values())
        self.slices = {name: slice(int(a), int(b)) for name, a, b in zip(self.names, stops, stops[1:], strict=False)}
        masses = {name: numbering.mass(home) for name, home in first.items()}
        self.mass = np.concatenate([masses[home.name] for home in homes.values()])
        self.totals = ranks.total(np.array([masses[home.name].sum() for home in homes.values()]))
        self._parts = {name: self._held_parts(name, item.fixed) for name, item in system.species.items() if item.fixed}
        held_rows = [rows for parts in self._parts.values() for _, _, rows, _ in parts]
        self._held = np.concatenate([np.zeros(0, np.int64), *held_rows])
        # Where diffusion differs from cell to cell, K is weighted with its shares of the largest.
        alike = {name: _kind(system.species[name]) for name in self.names}
        weighted: dict[Any, sp.csr_array] = {(name, None): numbering.stiffness(home) for name, home in first.items()}
        for name, kind in alike.items():
            if kind not in weighted:
                weighted[kind] = numbering.stiffness(homes[name], system.species[name].shares)
        emptied, self._pulls = self._emptied({name: weighted[alike[name]] for name in self.names})
        self._stiffness = list(emptied.values())
        # Species of one compartment share a matrix, but for those with fixed values.
        groups: dict[Any, list[str]] = {}
        for name in self.names:
            groups.setdefault((alike[name], name if system.species[name].fixed else ""), []).append(name)
        self.homes = [
            Home(
                emptied[own[0]],
                masses[homes[own[0]].name],
                self._rows[homes[own[0]].name],
                [system.species[name].diffusion for name in own],
                [self.slices[name] for name in own],
            )
            for own in groups.values()
        ]
        self.perhaps_signed = system.perhaps_signed
        self.signed = tuple(name for name, item in system.species.items() if item.signed)
        self.stimuli, self.autonomous = system.stimuli, system.autonomous
        here = numbering.here
        order = numbering.order - here.start
        self.kinds, ranked = self._kinds_of(groups, emptied, order)
        node_of = np.concatenate([order[rows] for rows in self.nodes.values()])
        self.blocks = Blocks.of(node_of, here.stop - here.start, np.repeat(ranked, sizes))
        # Species at the node of an average unknown.
        self.breadth = float(ranks.total(len(self.blocks.rows))) / self.n_unknowns
        self.diagonal = self.blocks.entries(np.arange(self.size), np.arange(self.size))
        held = np.zeros(self.size, bool)
        held[self._held] = True
        self._stored = 0.0
        self._cut = np.flatnonzero(held[self.blocks.rows] | held[self.blocks.columns])
        self._pools = [name for name, home in homes.items() if home.volume is not None]
        self.reactions = self._reactions()
        pieces = {kind: connected(K, self._rows[kind[0]].start, ranks) for kind, K in weighted.items()}
        self.sums = self._kept_sums(pieces, alike)

    def _held_parts(self, name: str, fixed: Sequence[BoundFixed]) -> list[Held]:
        """Find where values of a species are fixed: among all its nodes, and those that are at home here."""
        home = self.system.species[name].compartment
        lookup = np.full(self._numbering.n_points, -1, np.int64)
        lookup[home.nodes[self._numbering.sorted(home)]] = np.arange(len(home.nodes))
        mine, first, found = self._rows[home.name], self.slices[name].start, []
        for part in fixed:
            rows = lookup[part.nodes]
            here = np.flatnonzero((rows >= mine.start) & (rows < mine.stop))
            found.append((part, rows, rows[here] - mine.start + first, here))
        return found

    @cached_property
    def diffusion(self) -> Diffusion:
        """Diffusion alone."""
        return Diffusion(self.size, [(home.K, home.mass, home.constants, home.own) for home in self.homes])

    @cached_property
    def fixed(self) -> sp.csr_array:
        """D K of all species, one block each."""
        diffusion = [self.system.species[name].diffusion for name in self.names]
        blocks = [D * K for D, K in zip(diffusion, self._stiffness, strict=True)]
        return sp.csr_array(sp.block_diag(blocks, format="csr"))

    @cached_property
    def multigrid(self) -> Multigrid:
        """The linear systems of implicit steps; made when first used."""
        return Multigrid(self.kinds, self.blocks)

    def _kinds_of(
        self, groups: dict[Any, list[str]], matrices: dict[str, sp.csr_array], order: Rows
    ) -> tuple[list[Kind], Rows]:
        """Return the species that share a matrix, those that do not move apart, and where each one stands in a node."""
        kinds: list[Kind] = []
        ranks: list[str] = []
        for own in groups.values():
            D = {name: self.system.species[name].diffusion for name in own}
            for chosen in ([name for name in own if D[name] > 0], [name for name in own if D[name] == 0]):
                if chosen:
                    mine = self._rows[self.system.species[own[0]].compartment.name]
                    K = matrices[own[0]][:, mine]
                    K = K if D[chosen[0]] > 0 else sp.csr_array(K.shape)
                    ranks += chosen
                    kinds.append(Kind(K, order[self.nodes[chosen[0]]], np.array([D[name] for name in chosen])))
        return kinds, np.array([ranks.index(name) for name in self.names])

    def _reactions(self) -> Reactions:
        """Gather the reactions place by place."""
        of_place: dict[str, list[BoundReaction]] = {}
        for reaction in self.system.reactions:
            of_place.setdefault(reaction.compartment.name, []).append(reaction)
        wholes = {
            item: (self.slices[item.species], item.weights[self._places[item.species]])
            for reaction in self.system.reactions
            for item in reaction.wholes
        }
        places = [self._place(reactions) for reactions in of_place.values()]
        return Reactions(
            places, wholes, self.blocks, self.mass, [self.slices[name] for name in self._pools], self.ranks
        )

    def _place(self, reactions: list[BoundReaction]) -> Place:
        """Find the nodes and unknowns of the reactions of one compartment."""
        home, mesh = reactions[0].compartment, self.system.mesh
        places = {name: item.compartment for name, item in self.system.species.items()}
        changed = dict.fromkeys(name for reaction in reactions for name in reaction.change)
        pools = [name for name in changed if places[name].volume is not None and places[name] is not home]
        read = dict.fromkeys(name for reaction in reactions for name in reaction.reads)
        by_unknowns = self._numbering.sorted(home)[self._numbering.rows(home)]
        return Place(
            reactions,
            self._numbering.mass(home),
            by_unknowns,
            home.xyz(mesh)[by_unknowns],
            {name: self._unknowns(name, home.nodes[by_unknowns]) for name in {**read, **changed} if name not in pools},
            {name: self._pools.index(name) for name in pools},
        )

    def _emptied(self, stiffness: dict[str, sp.csr_array]) -> tuple[dict[str, sp.csr_array], list[Any]]:
        """Return every species' K without its held unknowns, and D times what those had in the others' rows."""
        emptied, pulls = dict(stiffness), []
        for name, parts in self._parts.items():
            held, species = np.zeros(stiffness[name].shape[1], bool), self.system.species[name]
            for _, rows, _, _ in parts:
                held[rows] = True
            emptied[name], pull = _without(stiffness[name], held[self._rows[species.compartment.name]], held)
            pulls.append((name, species.diffusion * pull))
        return emptied, pulls

    def _kept_sums(self, pieces: dict[Any, tuple[int, Rows]], alike: dict[str, Any]) -> KeptSums:
        """Find the sums of molecules that the model keeps, in every connected piece.

        What is held at fixed values anywhere in a piece is not kept, as if a reaction made it out of nothing.
        """
        labels, species_of = np.zeros(self.size, np.int64), np.zeros(0, np.int64)
        for k, (name, own) in enumerate(self.slices.items()):
            home, _ = kind = alike[name]
            moves = self.system.species[name].diffusion > 0
            count, parts = parts_of(pieces[home, None], pieces[kind] if moves else None, self.ranks)
            labels[own] = parts + len(species_of)
            species_of = np.append(species_of, np.full(count, k))
        events = []
        # Every species in one piece, as most are, has one kind of event.
        seen = slice(None) if len(species_of) > len(self.names) else slice(1)
        # What a rank has no node of has a label all the same.
        pools = {name: int(np.flatnonzero(species_of == self.names.index(name))[0]) for name in self._pools}
        for place in self.reactions.places:
            n = len(place.weights[seen])
            for reaction in place.reactions:
                if reaction.change:
                    changed = [
                        np.full(n, pools[name]) if name in place.pools else labels[place.rows[name][seen]]
                        for name in reaction.change
                    ]
                    joined = self.ranks.joined(distinct_rows(np.column_stack(changed)).rows)
                    parts = joined if self.ranks.size == 1 else distinct_rows(joined).rows
                    events.append((parts, np.broadcast_to([*reaction.change.values()], parts.shape)))
        held = np.unique(self.ranks.joined(labels[self._held]))[:, None]
        events.append((held, np.ones(held.shape)))
        stoichiometry = _stoichiometry(events, len(species_of))
        return KeptSums.of(self.mass, list(self.slices.values()), labels, stoichiometry, species_of, self.ranks)

    def _unknowns(self, name: str, nodes: Ints) -> Rows:
        """Return the unknowns of a species at some nodes."""
        lookup = np.full(self._numbering.n_points, -1, np.int64)
        lookup[self.nodes[name]] = np.arange(self.slices[name].start, self.slices[name].stop)
        return lookup[nodes]

    def initial(self) -> Floats:
        """(u,) the unknowns at the first time."""
        species = self.system.species
        u = np.concatenate([species[name].initial[self._places[name]] for name in self.names])
        return self.held(self.start, u)

    def held(self, t: float, u: Floats) -> Floats:
        """(u,) the state with the fixed values of time t."""
        if not self._parts:
            return u
        u = u.copy()
        for parts in self._parts.values():
            for part, _, rows, here in parts:
                u[rows] = part.values(t)[here]
        return u

    def _fixed_values(self, name: str, t: float) -> Floats:
        """Return the values of a species at all its nodes, in order: those that are fixed, and 0."""
        values = np.zeros(len(self.system.species[name].compartment.nodes))
        for part, rows, _, _ in self._parts[name]:
            values[rows] = part.values(t)
        return values

    def changed(self, t: float, u: Floats, values: Mapping[str, Floats]) -> Floats:
        """(u,) the state with other values of some species: one for all, or (m,) in the order of their nodes."""
        u = u.copy()
        for name, own in values.items():
            u[self.slices[name]] = own[self._places[name]] if np.ndim(own) else own
        return self.held(t, u)

    def outward(self, states: list[Floats], times: Floats) -> dict[str, Floats]:
        """Turn states (u,) into values per species (k, m) in the order of their compartments' nodes."""
        homes = {name: item.compartment for name, item in self.system.species.items()}
        values = {name: np.empty((len(states), len(home.nodes))) for name, home in homes.items()}
        for row, (u, t) in enumerate(zip(states, times, strict=False)):
            for name, own in self.fields(float(t), u, self.names).items():
                values[name][row] = own
        return values

    def fields(self, t: float, u: Floats, names: Sequence[str]) -> dict[str, Floats]:
        """Turn the state (u,) at time t (s) into values (m,) of some species in the order of their nodes."""
        u = self.held(t, u)
        return {name: self._gathered(name, u) for name in names}

    def _gathered(self, name: str, u: Floats) -> Floats:
        """Return the values (m,) of a species on all ranks, in the order of its compartment's nodes."""
        own = self.ranks.joined(u[self.slices[name]])
        values = np.empty(len(own))
        values[self._numbering.sorted(self.system.species[name].compartment)] = own
        return values

    def whole(self, u: Floats) -> Floats:
        """(all,) the unknowns of all ranks, species by species in the order of their compartments' nodes."""
        return np.concatenate([self._gathered(name, u) for name in self.names])

    def mine(self, values: Floats) -> Floats:
        """(u,) what is at home here of values that `whole` gathered."""
        parts = zip(self.parted(values), self._places.values(), strict=True)
        return np.concatenate([part[places] for part, places in parts])

    def parted(self, values: Floats) -> list[Floats]:
        """Cut what `whole` gathered into species."""
        counts = [len(item.compartment.nodes) for item in self.system.species.values()]
        return np.split(values, np.cumsum(counts)[:-1])

    def rate(self, t: float, u: Floats) -> Floats:
        """(u,) M du/dt in molecules/s."""
        return self.reacted(t, u) - self.diffusion.apply(u)

    def reacted(self, t: float, u: Floats) -> Floats:
        """(u,) the reactions' share of `rate`, and what diffuses in from fixed values."""
        u = self.held(t, u)
        with np.errstate(all="ignore"):
            ours = self.reactions.brought(t, u)
        for name, pull in self._pulls:
            ours[self.slices[name]] -= pull @ self._fixed_values(name, t)
        ours[self._held] = 0
        return ours

    def store(self, storage: float) -> None:
        """Set the matrix to storage * M + D K."""
        # Equal steps have one matrix.
        if storage != self._stored:
            values = np.zeros(len(self.blocks.rows))
            values[self.diagonal] = storage * self.mass
            self.multigrid.update(values)
            self._stored = storage

    def linearise(self, t: float, u: Floats, storage: float) -> None:
        """Set the matrix to storage * M + D K - d(reactions)/du."""
        self._stored = 0.0
        values, *border = self._slopes(t, u)
        # A root is infinitely steep at zero: where a slope has no number the rate is taken as it stands.
        for slopes in (values, *border):
            finite = np.isfinite(slopes)
            if not finite.all():
                slopes[~finite] = 0
        np.negative(values, out=values)
        values[self.diagonal] += storage * self.mass
        self.multigrid.update(values, (border[0], border[1]))

    def sharpness(self, t: float, u: Floats) -> float:
        """Bound how fast reactions alone may change a node, 1/s: the spectral radius of M^-1 d(reactions)/du.

        The radius of a matrix is at most max (|J| x)_i / x_i for whatever x > 0 (Collatz and Wielandt); some powers
        of |J| make a good x.
        """
        blocks = self.blocks
        slopes, left, right = (np.abs(part) for part in self._slopes(t, u))
        # Most species do not change most others.
        entries = np.flatnonzero(slopes)
        rows, columns = blocks.rows[entries], blocks.columns[entries]
        slopes = slopes[entries] / self.mass[rows]
        left /= self.mass
        most = self.ranks.most(np.array([part.max(initial=0) for part in (slopes, left, right)]))
        largest = float(max(most[0], most[1] * most[2]))
        if not np.isfinite(largest) or largest == 0:
            return largest if largest == 0 else np.inf
        x, bound = np.ones(self.size), np.inf
        for _ in range(POWERS):
            # Of no entries the sums are whole numbers.
            image: Any = np.bincount(rows, slopes * x[columns], self.size).astype(np.float64)
            add_rows(left, self.ranks.total(np.array([dot(row, x) for row in right])), image)
            most = self.ranks.most(np.array([(image / x).max(initial=0), image.max(initial=0)]))
            bound = min(bound, float(most[0]))
            x = image / most[1] + 1e-9
        return bound

    def ahead(self, t: float, u: Floats, dt: float) -> Floats:
        """Bound (u,) by how much reactions change the state in a step.

        Each one goes, linearised, at most as far as what it uses up lets it; and no species gets above where what is
        made of it is lost again.
        """
        with np.errstate(all="ignore"):
            far, made, lost = self.reactions.reach(t, self.held(t, u), dt)
            bound: Floats = dt * np.minimum(far, made / (1 + dt * lost)) / self.mass
        bound[self._held] = 0
        return bound

    def _slopes(self, t: float, u: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the node blocks (z,) of d(reactions)/du, and the rest of it as L^T R, (k, u) each."""
        with np.errstate(all="ignore"):
            values, left, right = self.reactions.slopes(t, self.held(t, u))
        values[self._cut] = 0
        left[:, self._held], right[:, self._held] = 0, 0
        return values, left, right

    def tolerances(self, atol: float | dict[str, float] | None) -> Floats | None:
        """Return the absolute tolerance of every species, or None for those that follow the species' size."""
        if atol is None:
            return None
        given = atol if isinstance(atol, dict) else dict.fromkeys(self.names, atol)
        return np.array([given.get(name, np.nan) for name in self.names])

    def place(self, unknown: int) -> tuple[str, Floats]:
        """Return the species and the position (um) of an unknown."""
        found: tuple[str, Floats] = self.ranks.told(unknown, self._place_of)
        return found

    def _place_of(self, unknown: int) -> tuple[str, Floats]:
        name = next(name for name in self.names if self.slices[name].stop > unknown)
        home, row = self.system.species[name].compartment, unknown - self.slices[name].start
        return name, home.xyz(self.system.mesh)[self._places[name][row]]


def _kind(species: BoundSpecies) -> tuple[str, bytes | None]:
    """Return what species with the same stiffness matrix have in common."""
    return species.compartment.name, None if species.shares is None else species.shares.tobytes()


def _without(
    K: sp.csr_array, mine: npt.NDArray[np.bool_], held: npt.NDArray[np.bool_]
) -> tuple[sp.csr_array, sp.csr_array]:
    """Empty the rows and columns of held unknowns, and return what was in the columns beside them."""
    rows, columns = np.repeat(mine, np.diff(K.indptr)), held[K.indices]
    # A copy: zeros are taken out of it in place.
    pull = sp.csr_array((np.where(~rows & columns, K.data, 0.0), K.indices, K.indptr), shape=K.shape, copy=True)
    kept = sp.csr_array((np.where(rows | columns, 0.0, K.data), K.indices, K.indptr), shape=K.shape)
    pull.eliminate_zeros()
    return kept, pull


def _stoichiometry(events: list[tuple[Rows, Floats]], n_parts: int) -> sp.csr_array:
    """Write events, given as blocks of (parts, changes), one row each, as a matrix (events, parts)."""
    first = np.cumsum([0, *(len(parts) for parts, _ in events)])
    rows = [np.repeat(np.arange(len(parts)) + k, parts.shape[1]) for (parts, _), k in zip(events, first, strict=False)]
    columns, changes = (np.concatenate([block[k].ravel() for block in events]) for k in range(2))
    entries = changes.astype(np.float64), (np.concatenate(rows), columns.astype(np.int64))
    return sp.csr_array(sp.coo_array(entries, shape=(int(first[-1]), n_parts)))
