"""Numbers from solutions: totals, means and fluxes, with the engine's own quadrature so that balances close."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from meshcell import fem
from meshcell.types import Floats, Solution

if TYPE_CHECKING:
    from meshcell.binding import BoundCompartment, System


def total(solution: Solution, species: str) -> Floats:
    """Count the molecules of a species at every time.

    Parameters
    ----------
    solution : Solution
    species : str

    Returns
    -------
    (k,) floats, molecules
        The exact integral of the piecewise linear field, which is also what the engine conserves.

    Raises
    ------
    ValueError
        A species that the solution does not hold.
    """
    home = _home(solution, species)
    return np.asarray(solution.values[species] @ _weights(solution, home))


def mean(solution: Solution, species: str) -> Floats:
    """Average a species over its compartment at every time.

    Returns
    -------
    (k,) floats, molecules/um^3, for a species on an interface molecules/um^2
    """
    weights = _weights(solution, _home(solution, species))
    return np.asarray(solution.values[species] @ weights / weights.sum())


def flux(solution: Solution, reaction: str) -> Floats:
    """Integrate the rate of a reaction over its compartment at every time.

    Parameters
    ----------
    solution : Solution
    reaction : str
        On an interface this is the flux through it, if the reaction moves species across.

    Returns
    -------
    (k,) floats, events/s
        Times `change` of a species: the molecules/s that it gains.

    Raises
    ------
    ValueError
        A reaction that the model does not have.
    """
    system = _bound(solution)
    known = {item.name: item for item in system.reactions}
    if reaction not in known:
        raise ValueError(f"reaction should be one of {', '.join(known) or '(none)'}; got {reaction!r}")
    bound = known[reaction]
    nodes, xyz = bound.compartment.nodes, solution.mesh.points[bound.compartment.nodes]
    weights = _weights(solution, bound.compartment)
    columns = [np.searchsorted(solution.nodes[name], nodes) for name in bound.reads]
    rates = [
        bound.rate([solution.values[name][row, at] for name, at in zip(bound.reads, columns, strict=True)], t, xyz)
        for row, t in enumerate(solution.times)
    ]
    return np.array([weights @ rate for rate in rates])


def _bound(solution: Solution) -> System:
    from meshcell.binding import bind

    return bind(solution.model, solution.mesh)


def _home(solution: Solution, species: str) -> BoundCompartment:
    if species not in solution.values:
        raise ValueError(f"species should be one of {', '.join(solution.values)}; got {species!r}")
    return _bound(solution).species[species].compartment


def _weights(solution: Solution, home: BoundCompartment) -> Floats:
    """Volume or area of every node of a compartment."""
    mesh = solution.mesh
    cells = mesh.tets if home.dimension == 3 else mesh.facets
    return fem.lumped_mass(mesh.points, cells[home.rows])[home.nodes]
