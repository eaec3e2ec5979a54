"""What one state answers with one number: sums and means over places, rates of reactions, values at points.

The same functions answer while a run goes on and afterwards, state by state, so that both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.geometry.point_location import containing, nearest_on_surface
from meshcell.models.binding import BoundReaction, System
from meshcell.models.bound_places import BoundCompartment, WholeValue

# Species -> (m,) values at its nodes.
State = Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Functional:
    """A number that a state has.

    Parameters
    ----------
    reads : tuple of str
        The species that it looks at.
    number : callable(t, state) -> float
        `t` in s; `state` holds (m,) values of at least these species.
    """

    reads: tuple[str, ...]
    number: Callable[[float, State], float]

    def over(self, times: Floats, values: Mapping[str, Floats]) -> Floats:
        """(k,) numbers at some times (s), of species' values (k, m)."""
        rows = ({name: values[name][row] for name in self.reads} for row in range(len(times)))
        return np.array([self.number(t, state) for t, state in zip(times.tolist(), rows, strict=True)], np.float64)


def integral(system: System, species: str, place: BoundCompartment | None = None) -> Functional:
    """Integrate a species over its compartment or a part of it: exact for piecewise linear fields."""
    home = system.species[species].compartment
    return _weighted(species, (place or home).mass(system.mesh, home.nodes))


def average(system: System, species: str, place: BoundCompartment | None = None) -> Functional:
    """Average a species over its compartment, a part of it, or an interface at which it has values."""
    home = system.species[species].compartment
    own = (place or home).mass(system.mesh, home.nodes)
    whole, summed = own.sum(), _weighted(species, own)
    return Functional(summed.reads, lambda t, state: summed.number(t, state) / whole)


def value_at(system: System, species: str, point: Floats) -> Functional | None:
    """Interpolate a species at a point (3,), um; None outside its region. On an interface at its nearest point."""
    columns, shares = (found[0] for found in located(system, species, point[None]))
    if np.isnan(shares).any():
        return None
    return Functional((species,), lambda t, state: float((state[species][columns] * shares).sum()))


def located(system: System, species: str, points: Floats) -> tuple[Array, Floats]:
    """Find the nodes around points (p, 3) in a species' compartment, and their shares in the values there.

    Returns
    -------
    columns : (p, c) ints
        Rows of the compartment's nodes.
    shares : (p, c) floats
        NaN for points outside the species' region.
    """
    mesh, home = system.mesh, system.species[species].compartment
    home.require_places(f"a value of {species} at a point")
    cells = home.corners(mesh)
    if home.dimension == 3:
        rows, shares = containing(points, mesh.points, cells)
    else:
        _, rows, shares = nearest_on_surface(points, mesh.points, cells)
    return np.searchsorted(home.nodes, cells[rows]), np.where(rows[:, None] < 0, np.nan, shares)


def events(system: System, reaction: BoundReaction, rows: Array | None = None) -> Functional:
    """Integrate a reaction's rate over its compartment or some cells (rows of the mesh) of it: events/s."""
    home, rates = reaction.compartment, nodal_rates(system, reaction)
    part = home if rows is None else BoundCompartment(home.name, home.dimension, rows, home.nodes)
    own = part.mass(system.mesh)
    return Functional(reaction.needs, lambda t, state: float((rates(t, state) * own).sum()))


def gained(system: System, species: str, place: BoundCompartment | None = None) -> Functional | None:
    """Sum what reactions bring to a species in all places, or in one: molecules/s; None where none does anything."""
    terms = []
    for reaction in system.reactions:
        home, change = reaction.compartment, reaction.change.get(species)
        # A pool has no rows, and is the same or another.
        whole = place is None or home.name == place.name
        rows = None if place is None or place.dimension != home.dimension else np.intersect1d(home.rows, place.rows)
        if change and (whole or (rows is not None and len(rows))):
            rows = None if home.volume is not None else rows
            terms.append((change, events(system, reaction, rows)))
    if not terms:
        return None
    reads = tuple(dict.fromkeys(name for _, term in terms for name in term.reads))
    return Functional(reads, lambda t, state: float(sum(change * term.number(t, state) for change, term in terms)))


def nodal_rates(system: System, reaction: BoundReaction) -> Callable[[float, State], Floats]:
    """Return a function of time and state that gives a reaction's rates (m,) at the nodes of its compartment."""
    nodes = reaction.compartment.nodes
    xyz = reaction.compartment.xyz(system.mesh)
    columns = {name: np.searchsorted(system.species[name].compartment.nodes, nodes) for name in reaction.reads}

    def rates(t: float, state: State) -> Floats:
        read = [state[name][own] for name, own in columns.items()]
        read += [np.array(item.of(state[item.species])) for item in reaction.wholes]
        return np.broadcast_to(reaction.rate(read, t, xyz), len(nodes))

    return rates


def _weighted(species: str, own: Floats) -> Functional:
    number = WholeValue(species, own)
    return Functional((species,), lambda t, state: number.of(state[species]))
