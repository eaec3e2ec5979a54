"""Numbers from solutions: totals, means, fluxes, profiles, values at points, areas under curves.

Totals and fluxes use the engine's own quadrature, so that balances close.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.core.hints import nearest, require
from meshcell.geometry import finite_elements as fem
from meshcell.geometry.point_location import nearest_on_surface
from meshcell.models import functionals
from meshcell.models.binding import BoundReaction, bound_compartment
from meshcell.models.bound_places import BoundCompartment
from meshcell.models.compartments import Place
from meshcell.models.model import Model
from meshcell.models.solutions import Solution

ROUNDING = 1e-12


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
    require(solution, Solution, "total(solution, species)", species)
    _home(solution, species)
    return functionals.integral(solution.system, species).over(solution.times, solution.values)


def mean(solution: Solution, species: str) -> Floats:
    """Average a species over its compartment at every time.

    Parameters
    ----------
    solution : Solution
    species : str

    Returns
    -------
    (k,) floats, molecules/um^3, for a species on an interface molecules/um^2
    """
    require(solution, Solution, "mean(solution, species)", species)
    _home(solution, species)
    return functionals.average(solution.system, species).over(solution.times, solution.values)


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
    require(solution, Solution, "flux(solution, reaction)", reaction)
    known = {item.name: item for item in solution.system.reactions}
    if reaction not in known:
        hint = nearest(reaction, known)
        raise ValueError(f"reaction should be one of {', '.join(known) or '(none)'}; got {reaction!r}{hint}")
    return _events(solution, known[reaction])


def gains(solution: Solution, species: str) -> dict[str, Floats]:
    """Say what every reaction brings to a species, and every place where it is held at fixed values.

    Parameters
    ----------
    solution : Solution
    species : str

    Returns
    -------
    dict[str, (k,) floats]
        Reaction -> molecules/s at every time, negative where it takes; in the model's order. Then "fixed at PM" for
        every such place: what has to flow in there to keep the values. Their sum is how fast the total changes.

    Raises
    ------
    ValueError
        A species that the solution does not hold.
    """
    require(solution, Solution, "gains(solution, species)", species)
    _home(solution, species)
    changing = [item for item in solution.system.reactions if item.change.get(species)]
    gained = {item.name: item.change[species] * _events(solution, item) for item in changing}
    return gained | _supplied(solution, species, changing)


@dataclass(frozen=True, eq=False)
class Profile:
    """A species against the distance from a surface.

    Parameters
    ----------
    distances : (b,) floats, um
        Mean distance of what is in each bin; bins without nodes are left out.
    values : (k, b) floats
        Mean at every time, molecules/um^3, for a species on an interface molecules/um^2.
    measures : (b,) floats
        um^3 (um^2) in each bin: `values @ measures` is the total.
    edges : (b + 1 or more,) floats, um
        Ends of all bins.
    """

    distances: Floats
    values: Floats
    measures: Floats
    edges: Floats


def profile(solution: Solution, species: str, place: Place, *, bins: int | Sequence[float] = 20) -> Profile:
    """Average a species over layers of equal distance from an interface or patch.

    Parameters
    ----------
    solution : Solution
    species : str
    place : str or (str, str)
        A compartment of the model that is an interface or patch, a patch's name, or a pair of regions.
    bins : int or sequence of floats, um
        How many layers of equal thickness, or their edges.

    Returns
    -------
    Profile

    Raises
    ------
    ValueError
        An unknown species; a place that is no interface or patch; edges that do not ascend.
    """
    require(solution, Solution, "profile(solution, species, place)", species, place)
    mesh, home = solution.mesh, _home(solution, species)
    home.require_places(f"a profile of {species}")
    rows = _facet_rows(solution, place)
    distances = nearest_on_surface(mesh.points[home.nodes], mesh.points, mesh.facets[rows])[0]
    # What lies on the place itself does so to rounding: one layer, of no thickness to speak of.
    distances[distances < ROUNDING * np.ptp(mesh.points, axis=0).max()] = 0
    # A little more than the farthest, so that it falls into the last bin.
    far = distances.max() * (1 + ROUNDING) or ROUNDING
    edges = np.linspace(0, far, bins + 1) if isinstance(bins, (int, np.integer)) else np.asarray(bins, float)
    if edges.ndim != 1 or len(edges) < 2 or (np.diff(edges) < 0).any():
        raise ValueError(f"bins should be a number of layers or ascending distances in um; got {bins!r}")
    layer = np.searchsorted(edges, distances, side="right") - 1
    inside = (layer >= 0) & (layer < len(edges) - 1)
    weights = np.zeros((len(home.nodes), len(edges) - 1))
    weights[np.flatnonzero(inside), layer[inside]] = home.mass(solution.mesh)[inside]
    weights = weights[:, weights.any(axis=0)]
    measures = weights.sum(axis=0)
    return Profile(
        distances @ weights / measures, np.asarray(solution.values[species] @ weights / measures), measures, edges
    )


def probe(solution: Solution, species: str, points: Any) -> Floats:
    """Interpolate a species at points, at every time.

    Parameters
    ----------
    solution : Solution
    species : str
    points : (p, 3) floats, um
        One point (3,) will do. For a species on an interface its nearest point is taken.

    Returns
    -------
    (k, p) floats, molecules/um^3, for a species on an interface molecules/um^2
        NaN at points outside the species' region.

    Raises
    ------
    ValueError
        An unknown species, points of another shape.
    """
    require(solution, Solution, "probe(solution, species, points)", species, points)
    _home(solution, species)
    queries = np.atleast_2d(np.asarray(points, np.float64))
    if queries.ndim != 2 or queries.shape[1] != 3 or not np.isfinite(queries).all():
        raise ValueError(f"points should be finite positions in um, shape (p, 3); got shape {np.shape(points)}")
    columns, shares = functionals.located(solution.system, species, queries)
    return np.asarray(np.einsum("kpc,pc->kp", solution.values[species][:, columns], shares))


def area_under_curve(solution: Solution, species: str, *, baseline: float = 0.0, points: Any = None) -> Any:
    """Integrate the mean of a species over time, or its values at points.

    Parameters
    ----------
    solution : Solution
    species : str
    baseline : float, molecules/um^3 (or /um^2)
        Taken off first.
    points : (p, 3) floats, um, optional

    Returns
    -------
    float or (p,) floats, molecules/um^3 * s, for a species on an interface molecules/um^2 * s
        By the trapezoid rule on the saved times, so they should be dense where the curve bends.
    """
    require(solution, Solution, "area_under_curve(solution, species)", species)
    if solution.advice:
        raise ValueError(f"an area under a curve needs the states at all times{solution.advice}")
    curve = mean(solution, species)[:, None] if points is None else probe(solution, species, points)
    area = np.asarray(np.trapezoid(curve - baseline, solution.times, axis=0))
    return float(area[0]) if points is None else area


# --- parts ---


def _events(solution: Solution, bound: BoundReaction) -> Floats:
    """(k,) events/s of a reaction in all of its compartment."""
    return functionals.events(solution.system, bound).over(solution.times, solution.values)


def _rates(solution: Solution, bound: BoundReaction) -> Floats:
    """(k, m) rates of a reaction at the nodes of its compartment."""
    rates, values = functionals.nodal_rates(solution.system, bound), solution.values
    times = enumerate(solution.times.tolist())
    return np.array([rates(t, {name: values[name][row] for name in bound.needs}) for row, t in times])


def _supplied(solution: Solution, species: str, changing: list[BoundReaction]) -> dict[str, Floats]:
    """Place -> (k,) molecules/s that flow in where values are fixed: what is missing there from the balance."""
    bound = solution.system.species[species]
    if not bound.fixed:
        return {}
    home, mesh = bound.compartment, solution.mesh
    corners = (mesh.tets if home.dimension == 3 else mesh.facets)[home.rows]
    cells = np.searchsorted(home.nodes, corners).astype(np.int32)
    weights = home.mass(solution.mesh)
    K = fem.stiffness(mesh.points[home.nodes], cells, bound.shares)
    missing = bound.diffusion * (K @ solution.values[species].T).T
    for item in changing:
        if item.compartment.volume is not None:
            continue
        brought = _rates(solution, item) * item.compartment.mass(solution.mesh)
        missing[:, np.searchsorted(home.nodes, item.compartment.nodes)] -= item.change[species] * brought
    supplied = {}
    for part in bound.fixed:
        own = np.searchsorted(home.nodes, part.nodes)
        moving = np.array([_slope(part.values, t) for t in solution.times.tolist()])
        supplied[f"fixed at {part.place.name}"] = moving @ weights[own] + missing[:, own].sum(axis=1)
    return supplied


def _slope(values: Callable[[float], Floats], t: float) -> Floats:
    """Differentiate by a central difference: right to 1e-10 or so where nothing jumps."""
    h = 1e-5 * max(abs(t), 1.0)
    return np.asarray((values(t + h) - values(t - h)) / (2 * h))


def _facet_rows(solution: Solution, place: Place) -> Any:
    """Find the facets of a compartment, patch or pair of regions."""
    mesh, model = solution.mesh, solution.model
    if isinstance(place, str) and place in model.compartments:
        home = solution.system.compartments[place]
    else:
        home = bound_compartment(Model({"place": place}, ()), "place", mesh)
    if home.dimension != 2:
        raise ValueError(f"distances are taken from an interface or patch; {place!r} is a region")
    return home.rows


def _home(solution: Solution, species: str) -> BoundCompartment:
    if not isinstance(species, str) or species not in solution.values:
        hint = nearest(species, solution.values)
        raise ValueError(f"species should be one of {', '.join(solution.values)}; got {species!r}{hint}")
    return solution.system.species[species].compartment
