"""A model on a mesh: everything the engines need as arrays and functions of arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from meshcell import expressions
from meshcell.expressions import Compiled
from meshcell.types import Array, Floats, Ints, TetMesh, name_of

if TYPE_CHECKING:
    from meshcell.models import Model, Reaction, Species

Rate = Callable[[Sequence[Floats], float, Floats], Floats]


@dataclass(frozen=True, eq=False)
class BoundCompartment:
    """Where a compartment lies: `rows` of mesh.tets (dimension 3) or mesh.facets (2), `nodes` of mesh.points."""

    name: str
    dimension: int
    rows: Ints
    nodes: Ints


@dataclass(frozen=True, eq=False)
class BoundSpecies:
    """A species in numbers: diffusion in um^2/s; initial in molecules/um^3 or molecules/um^2 at compartment.nodes."""

    name: str
    compartment: BoundCompartment
    diffusion: float
    initial: Floats


@dataclass(frozen=True, eq=False)
class BoundReaction:
    """A reaction in numbers.

    Parameters
    ----------
    name : str
    compartment : BoundCompartment
    reads : tuple of str
        The species that the rate reads.
    change : dict[str, float]
    rate : callable(values, t, xyz) -> (m,) floats
        `values`: one (m,) array per entry of `reads`, at the compartment's nodes; `t` in s; `xyz` (m, 3) in um. Returns
        molecules/um^3/s in a region, molecules/um^2/s on an interface.
    derivatives : tuple of such callables
        d rate / d species, exact, one per entry of `reads`.
    """

    name: str
    compartment: BoundCompartment
    reads: tuple[str, ...]
    change: dict[str, float]
    rate: Rate
    derivatives: tuple[Rate, ...]


@dataclass(frozen=True, eq=False)
class System:
    """A model bound to a mesh; species and reactions in the model's order."""

    mesh: TetMesh
    compartments: dict[str, BoundCompartment]
    species: dict[str, BoundSpecies]
    reactions: tuple[BoundReaction, ...]


@dataclass(frozen=True)
class NodalRate:
    """A compiled formula with the signature that the engines call."""

    formula: Compiled

    def __call__(self, values: Sequence[Floats], t: float, xyz: Floats) -> Floats:
        """Return the (m,) values of the formula."""
        return self.formula(*values, t, xyz[:, 0], xyz[:, 1], xyz[:, 2])


def bind(model: Model, mesh: TetMesh) -> System:
    """Find a model's compartments in a mesh and turn its texts into arrays and functions.

    Parameters
    ----------
    model : Model
    mesh : TetMesh

    Returns
    -------
    System

    Raises
    ------
    ValueError
        A region, interface or patch that the mesh does not have (lists what it has), a species that a reaction's patch
        does not touch, units that do not fit now that regions and patches are told apart, initial values that are
        not finite.
    """
    from meshcell.models import check_initial, check_reaction

    compartments = {name: _compartment(model, name, mesh) for name in model.compartments}
    dimensions = {name: compartment.dimension for name, compartment in compartments.items()}
    for item in model.species:
        check_initial(model, item, dimensions[item.compartment])
    for reaction in model.reactions:
        check_reaction(model, reaction, dimensions)
        _require_reach(model, reaction, compartments, mesh)
    species = {item.name: _species(item, compartments[item.compartment], mesh) for item in model.species}
    reactions = tuple(_reaction(model, item, compartments[item.compartment]) for item in model.reactions)
    unknowns = sum(len(item.initial) for item in species.values())
    logging.getLogger("meshcell").info(
        "bound %d species and %d reactions to the mesh: %d unknowns", len(species), len(reactions), unknowns
    )
    return System(mesh, compartments, species, reactions)


# --- places ---


def _compartment(model: Model, name: str, mesh: TetMesh) -> BoundCompartment:
    place = model.compartments[name]
    if isinstance(place, tuple):
        return _bound(name, mesh.facets, _interface_rows(name, place, mesh), mesh)
    labels = [label for label, region in mesh.names.items() if region == place]
    rows = np.flatnonzero(mesh.regions == labels[0]) if labels else np.zeros(0, np.int64)
    if len(rows) and place in mesh.patches:
        raise ValueError(f"compartment {name!r} is ambiguous: the mesh has a region and a patch called {place!r}")
    if len(rows):
        return _bound(name, mesh.tets, rows, mesh)
    if place not in mesh.patches:
        raise ValueError(
            f"compartment {name!r} should be a region or patch of the mesh; it has none called {place!r}; its regions "
            f"are {', '.join(_regions(mesh))}; its patches are {', '.join(mesh.patches) or '(none)'}"
        )
    if not len(mesh.patches[place]):
        raise ValueError(f"compartment {name!r} is the patch {place!r}, which holds no facets; set it anew")
    return _bound(name, mesh.facets, mesh.patches[place], mesh)


def _bound(name: str, cells: Ints, rows: Array, mesh: TetMesh) -> BoundCompartment:
    nodes = np.unique(cells[rows]).astype(np.int32)
    return BoundCompartment(name, 3 if cells is mesh.tets else 2, rows.astype(np.int32), nodes)


def _interface_rows(name: str, pair: tuple[str, str], mesh: TetMesh) -> Array:
    regions = ["outside", *_regions(mesh)]
    for region in pair:
        if region not in regions:
            raise ValueError(
                f"compartment {name!r} should be an interface of two regions of the mesh; it has none called "
                f"{region!r}; its regions are {', '.join(regions)}"
            )
    rows = [rows for sides, rows in mesh.interfaces.items() if set(sides) == set(pair)]
    if not rows:
        there = [" | ".join(sides) for sides in mesh.interfaces]
        raise ValueError(
            f"compartment {name!r} should be an interface, but {pair[0]!r} and {pair[1]!r} do not touch in the mesh; "
            f"its interfaces are {', '.join(there) or '(none)'}"
        )
    # The same pair may come with either one behind.
    return np.sort(np.concatenate(rows))


def _regions(mesh: TetMesh) -> list[str]:
    return [name_of(mesh.names, int(label)) for label in np.unique(mesh.regions)]


def _require_reach(model: Model, reaction: Reaction, compartments: dict[str, BoundCompartment], mesh: TetMesh) -> None:
    """Refuse a reaction on a patch that uses a species which is not everywhere on it.

    Within a region and on an interface the model's own check was enough; a patch shows its neighbours only now.
    """
    own = compartments[reaction.compartment]
    place = model.compartments[reaction.compartment]
    if own.dimension == 3 or isinstance(place, tuple):
        return
    sides = mesh.sides[own.rows]
    touched = [
        name
        for name in model.compartments
        if name == reaction.compartment or _covers(compartments[name], own, sides, mesh)
    ]
    read = expressions.parse(reaction.rate).names
    for item in model.species:
        if (item.name in read or item.name in reaction.change) and item.compartment not in touched:
            around = sorted({name_of(mesh.names, int(label)) for label in np.unique(sides)})
            raise ValueError(
                f"reaction {reaction.name!r} is on patch {place!r}, which does not touch compartment "
                f"{item.compartment!r} of species {item.name!r} everywhere; the patch lies between "
                f"{', '.join(around)}; the compartments that it touches are {', '.join(touched)}"
            )


def _covers(other: BoundCompartment, patch: BoundCompartment, sides: Ints, mesh: TetMesh) -> bool:
    """Tell whether a compartment has a value on all of a patch: a region beside it, or an interface that holds it."""
    if other.dimension == 3:
        label = mesh.regions[other.rows[0]]
        return bool((sides == label).any(axis=1).all())
    return bool(np.isin(patch.rows, other.rows).all())


# --- numbers ---


def _species(species: Species, compartment: BoundCompartment, mesh: TetMesh) -> BoundSpecies:
    formula, _ = species.initial_value
    points = mesh.points[compartment.nodes]
    initial = expressions.compile(formula, ("x", "y", "z"))(*points.T)
    bad = np.flatnonzero(~np.isfinite(initial))
    if len(bad):
        raise ValueError(
            f"initial of species {species.name!r} should be finite everywhere; {len(bad)} of {len(initial)} nodes are "
            f"not, the first at {points[bad[0]].round(6).tolist()} um: {initial[bad[0]]} from {species.initial!r}"
        )
    initial.flags.writeable = False
    return BoundSpecies(species.name, compartment, species.diffusion_constant, initial)


def _reaction(model: Model, reaction: Reaction, compartment: BoundCompartment) -> BoundReaction:
    rate = model.rate(reaction)
    species = {item.name for item in model.species}
    reads = tuple(name for name in rate.names if name in species)
    arguments = (*reads, "t", "x", "y", "z")
    formulas = [rate, *(expressions.derivative(rate, name) for name in reads)]
    own, *derivatives = (NodalRate(expressions.compile(formula, arguments)) for formula in formulas)
    return BoundReaction(reaction.name, compartment, reads, dict(reaction.change), own, tuple(derivatives))
