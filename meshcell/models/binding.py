"""A model on a mesh: everything the engines need as arrays and functions of arrays."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.hints import nearest
from meshcell.core.validation import labels_in, name_of
from meshcell.models import expressions, signs
from meshcell.models.bound_places import BoundCompartment, WholeValue, nodal
from meshcell.models.compartments import Well, pairs, parts, place_text, regions_of
from meshcell.models.consistency import check_initial, check_reaction
from meshcell.models.diffusivities import diffusivity
from meshcell.models.expressions import POSITION, Compiled, Expression
from meshcell.models.formula_trees import Tree, read_whole
from meshcell.models.model import Model, field_text
from meshcell.models.parameters import Field, Varying
from meshcell.models.species import Pool, Reaction, Species
from meshcell.models.stimuli import Stimulus, mixed_stimuli, stimuli_of
from meshcell.models.well_mixed import Domain, WellMixed

# Cells whose corners are looked up at once.
BLOCK = 1 << 16
Rate = Callable[[Sequence[Floats], float, Floats], Floats]


@dataclass(frozen=True, eq=False)
class BoundFixed:
    """Where a species is held at given values: on `place`, at those of its `nodes` that the species has."""

    place: BoundCompartment
    nodes: Ints
    own: Array
    xyz: Floats
    formula: Rate

    def values(self, t: float) -> Floats:
        """(m,) values at `nodes` at time t (s), in molecules/um^3 or molecules/um^2."""
        return self.formula((), t, self.xyz)[self.own]


@dataclass(frozen=True, eq=False)
class BoundSpecies:
    """A species in numbers.

    Parameters
    ----------
    name : str
    compartment : BoundCompartment
    diffusion : float, um^2/s
        In the cells where it is largest.
    initial : (m,) floats at compartment.nodes
        In molecules/um^3 or molecules/um^2; of a signed species in its own unit.
    fixed : tuple of BoundFixed
    shares : (c,) floats or None
        Of `diffusion`, in every cell of the compartment; None where it is the same everywhere.
    signed : bool
        Whether it is a potential or a deviation rather than a concentration, which never starts below zero.
    """

    name: str
    compartment: BoundCompartment
    diffusion: float
    initial: Floats
    fixed: tuple[BoundFixed, ...] = ()
    shares: Floats | None = None
    signed: bool = False


@dataclass(frozen=True, eq=False)
class BoundReaction:
    """A reaction in numbers.

    Parameters
    ----------
    name : str
    compartment : BoundCompartment
    reads : tuple of str
        The species that the rate reads node by node.
    change : dict[str, float]
    rate : NodalRate, called as rate(values, t, xyz) -> (m,) floats
        `values`: one (m,) array per entry of `reads`, at the compartment's nodes, and one number per entry of `wholes`;
        `t` in s; `xyz` (m, 3) in um. Returns molecules/um^3/s in a region, molecules/um^2/s on an interface.
    derivatives : tuple of such rates
        d rate / d value, exact, one per entry of `reads` and then of `wholes`.
    wholes : tuple of WholeValue
        The means, totals and pools that it reads.
    """

    name: str
    compartment: BoundCompartment
    reads: tuple[str, ...]
    change: dict[str, float]
    rate: NodalRate
    derivatives: tuple[NodalRate, ...]
    wholes: tuple[WholeValue, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """All species that the rate reads, in one place or as a whole."""
        return tuple(dict.fromkeys([*self.reads, *(item.species for item in self.wholes)]))


@dataclass(frozen=True, eq=False)
class System:
    """A model bound to a mesh; species and reactions in the model's order.

    `perhaps_signed` names species that may turn out to be potentials, see `signs.perhaps_signed`; `stimuli` look
    through what depends on time, see `models/stimuli.py`; it is `autonomous` if nothing does.
    """

    mesh: Domain
    compartments: dict[str, BoundCompartment]
    species: dict[str, BoundSpecies]
    reactions: tuple[BoundReaction, ...]
    perhaps_signed: tuple[str, ...] = ()
    stimuli: tuple[Callable[..., Stimulus], ...] = ()
    autonomous: bool = False


@dataclass(frozen=True, eq=False)
class NodalRate:
    """A compiled formula with the signature that the engines call.

    After the species and t, x, y, z come the parameters that vary: `courses` in time, `fields` (m,) over the nodes.
    """

    formula: Compiled
    courses: tuple[Callable[[float], float], ...] = ()
    fields: tuple[Floats, ...] = ()

    def __call__(self, values: Sequence[Floats], t: float, xyz: Floats) -> Floats:
        """Return the (m,) values of the formula."""
        x, y, z = xyz[:, 0], xyz[:, 1], xyz[:, 2]
        return self.formula(*values, t, x, y, z, *(course(t) for course in self.courses), *self.fields)


def bind(model: Model, mesh: Domain) -> System:
    """Find a model's compartments in a mesh and turn its texts into arrays and functions.

    Parameters
    ----------
    model : Model
    mesh : TetMesh or WellMixed

    Returns
    -------
    System

    Raises
    ------
    ValueError
        A region, interface or patch that the mesh does not have (lists what it has), a species that a reaction's patch
        does not touch, units that do not fit now that regions and patches are told apart, initial values that are
        not finite, fields of a length that fits nothing, fixed values where the species does not live.
    """
    compartments = {name: bound_compartment(model, name, mesh) for name in model.compartments}
    dimensions = {name: compartment.dimension for name, compartment in compartments.items()}
    for item in model.species:
        check_initial(model, item, dimensions[item.compartment])
    for reaction in model.reactions:
        check_reaction(model, reaction, dimensions)
        _require_reach(model, reaction, compartments, mesh)
    species = {item.name: _species(model, item, compartments, mesh) for item in model.species}
    reactions = tuple(_reaction(model, item, compartments, species, mesh) for item in model.reactions)
    unknowns = sum(len(item.initial) for item in species.values())
    logging.getLogger("meshcell").info(
        "bound %d species and %d reactions to the mesh: %d unknowns", len(species), len(reactions), unknowns
    )
    stimuli = (*stimuli_of(model), *mixed_stimuli(_formulas_at_nodes(model, compartments, species, mesh)))
    return System(mesh, compartments, species, reactions, signs.perhaps_signed(model), stimuli, _is_autonomous(model))


def _formulas_at_nodes(
    model: Model, compartments: Mapping[str, BoundCompartment], species: Mapping[str, BoundSpecies], mesh: Domain
) -> Iterator[tuple[str, Tree, Callable[[str], Any]]]:
    """Yield (compartment, formula, what its names are at the nodes) of all rates and fixed values."""
    given = [(reaction.compartment, model.rates[reaction.name], model.varying) for reaction in model.reactions]
    given += [(name, *model.fixed_formula(item, name)) for item in model.species for name in item.fixed]
    for place, formula, varying in given:
        yield place, formula.tree, functools.partial(_at_nodes, compartments[place], varying, species, mesh)


def _at_nodes(
    place: BoundCompartment,
    varying: Mapping[str, Varying],
    species: Mapping[str, BoundSpecies],
    mesh: Domain,
    name: str,
) -> Any:
    """Return the (m,) values of a name at the nodes of a place, of species those at first; a course as it is."""
    if name in POSITION:
        return place.xyz(mesh)[:, POSITION.index(name)]
    if name in species:
        home, initial = species[name].compartment, species[name].initial
        if home.volume is not None:
            return np.broadcast_to(initial, len(place.nodes))
        return initial[np.searchsorted(home.nodes, place.nodes)]
    value = varying.get(name)
    if isinstance(value, Field):
        return None if isinstance(mesh, WellMixed) else nodal(value, place, mesh, field_text(name, "a rate"))
    return value


def _is_autonomous(model: Model) -> bool:
    """Tell whether nothing in a model depends on time but through its species."""
    moving = {"t", *(name for name, value in model.varying.items() if not isinstance(value, Field))}
    held = any(item.fixed for item in model.species)
    return not held and all(moving.isdisjoint(rate.names) for rate in model.rates.values())


# --- places ---


def bound_compartment(model: Model, name: str, mesh: Domain) -> BoundCompartment:
    """Find one compartment of a model in a mesh; errors as `bind`."""
    if isinstance(mesh, WellMixed):
        if name not in mesh.dimensions:
            raise ValueError(f"a well-mixed run knows the compartments {', '.join(mesh.dimensions)}; got {name!r}")
        row = np.array([list(mesh.dimensions).index(name)], np.int32)
        return BoundCompartment(name, mesh.dimensions[name], row, np.zeros(1, np.int32))
    place = model.compartments[name]
    if isinstance(place, Well):
        wells = [other for other, own in model.compartments.items() if isinstance(own, Well)]
        node = np.array([len(mesh.points) + wells.index(name)], np.int32)
        return BoundCompartment(name, 3, np.zeros(0, np.int32), node, place.volume)
    if not isinstance(place, str):
        return _bound(name, mesh.facets, _interface_rows(name, model, mesh), mesh)
    labels = {region: label for label, region in mesh.names.items()}
    found: list[Any] = [np.flatnonzero(mesh.regions == labels[part]) if part in labels else [] for part in parts(place)]
    in_regions = [part for part, rows in zip(parts(place), found, strict=True) if len(rows)]
    for part in in_regions:
        if part in mesh.patches:
            raise ValueError(f"compartment {name!r} is ambiguous: the mesh has a region and a patch called {part!r}")
    if len(in_regions) == len(found):
        return _bound(name, mesh.tets, found[0] if len(found) == 1 else np.sort(np.concatenate(found)), mesh)
    for part in parts(place):
        if part not in mesh.patches and part not in in_regions:
            raise ValueError(
                f"compartment {name!r} should be a region or patch of the mesh; it has none called {part!r}"
                f"{nearest(part, [*_regions(mesh), *mesh.patches])}; its regions are {', '.join(_regions(mesh))}; its "
                f"patches are {', '.join(mesh.patches) or '(none)'}"
            )
    if in_regions:
        raise ValueError(
            f"compartment {name!r} should be a union of regions or of patches, not of both; {in_regions[0]!r} is a "
            f"region; got {place!r}"
        )
    for part in parts(place):
        if not len(mesh.patches[part]):
            raise ValueError(f"compartment {name!r} is the patch {part!r}, which holds no facets; set it anew")
    return _bound(name, mesh.facets, np.unique(np.concatenate([mesh.patches[part] for part in parts(place)])), mesh)


def _bound(name: str, cells: Ints, rows: Array, mesh: Domain) -> BoundCompartment:
    # Marked rather than sorted: there are twenty times as many corners as nodes.
    there, rows = np.zeros(len(mesh.points), bool), rows.astype(np.int32)
    for first in range(0, len(rows), BLOCK):
        there[cells[rows[first : first + BLOCK]]] = True
    nodes = np.flatnonzero(there).astype(np.int32)
    return BoundCompartment(name, 3 if cells is mesh.tets else 2, rows, nodes)


def _interface_rows(name: str, model: Model, mesh: Domain) -> Array:
    place = model.compartments[name]
    assert isinstance(place, tuple)
    regions = ["outside", *_regions(mesh)]
    for region in (part for pair in place for part in _flat(pair)):
        if region not in regions:
            raise ValueError(
                f"compartment {name!r} should be an interface of two regions of the mesh; it has none called "
                f"{region!r}{nearest(region, regions)}; its regions are {', '.join(regions)}"
            )
    rows = {pair: [rows for sides, rows in mesh.interfaces.items() if set(sides) == pair] for pair in pairs(place)}
    touching = set().union(*(pair for pair in rows if rows[pair]))
    alone = [region for region in sorted(regions_of(place)) if region not in touching]
    if alone:
        there = [" | ".join(sides) for sides in mesh.interfaces]
        what = " and ".join(repr(side) for side in place) if len(pairs(place)) == 1 else f"the pairs of {alone[0]!r}"
        raise ValueError(
            f"compartment {name!r} should be an interface, but {what} do not touch in the mesh; "
            f"its interfaces are {', '.join(there) or '(none)'}"
        )
    # The same pair may come with either one behind.
    return np.sort(np.concatenate([part for own in rows.values() for part in own]))


def _flat(pair: str | tuple[str, str]) -> tuple[str, ...]:
    """Names of regions in one side of a pair, or in a pair of a list."""
    return parts(pair) if isinstance(pair, str) else tuple(part for side in pair for part in parts(side))


def _regions(mesh: Domain) -> list[str]:
    return [name_of(mesh.names, int(label)) for label in labels_in(mesh.regions)]


def _require_reach(model: Model, reaction: Reaction, compartments: dict[str, BoundCompartment], mesh: Domain) -> None:
    """Refuse a reaction that uses a species which is not everywhere in its place."""
    if isinstance(mesh, WellMixed):
        return
    own = compartments[reaction.compartment]
    touched = [name for name, other in compartments.items() if name == own.name or _covers(other, own, mesh)]
    used = {*reaction.formula.names, *reaction.change}
    for item in model.species:
        if item.name in used and not isinstance(item, Pool) and item.compartment not in touched:
            place = place_text(model.compartments[reaction.compartment])
            kind = "patch" if isinstance(model.compartments[reaction.compartment], str) else "interface"
            around = sorted({name_of(mesh.names, int(label)) for label in np.unique(mesh.sides[own.rows])})
            raise ValueError(
                f"reaction {reaction.name!r} is on {kind} {place!r}, which does not touch compartment "
                f"{item.compartment!r} of species {item.name!r} everywhere; the {kind} lies between "
                f"{', '.join(around)}; the compartments that it touches are {', '.join(touched)}"
            )


def _covers(other: BoundCompartment, own: BoundCompartment, mesh: Domain) -> bool:
    """Tell whether a compartment has a value all over another: as regions beside it, or because it holds it."""
    if other.dimension == own.dimension:
        return bool(np.isin(own.rows, other.rows).all())
    if other.dimension == 2:
        return False
    return bool(np.isin(mesh.sides[own.rows], labels_in(mesh.regions[other.rows])).any(axis=1).all())


def _without_places(what: str, why: str, where: str = "a well-mixed run") -> ValueError:
    return ValueError(f"{what} should be the same everywhere in {where}; {why}; give a number")


# --- numbers ---


def _species(model: Model, species: Species, compartments: dict[str, BoundCompartment], mesh: Domain) -> BoundSpecies:
    home = compartments[species.compartment]
    initial = np.array(_initial(model, species, home, mesh))
    bad = np.flatnonzero(~np.isfinite(initial))
    if len(bad):
        raise ValueError(
            f"initial of species {species.name!r} should be finite everywhere; {len(bad)} of {len(initial)} nodes are "
            f"not, the first at {home.xyz(mesh)[bad[0]].round(6).tolist()} um: {initial[bad[0]]} from "
            f"{species.initial!r}"
        )
    initial.flags.writeable = False
    largest, shares = 0.0, None
    if not isinstance(mesh, WellMixed) and home.volume is None:
        largest, shares = diffusivity(model, species, home, mesh)
    signed = species.signed or bool(initial.min(initial=0) < 0)
    fixed = _fixed(model, species, compartments, mesh)
    return BoundSpecies(species.name, home, largest, initial, fixed, shares, signed)


def _initial(model: Model, species: Species, home: BoundCompartment, mesh: Domain) -> Floats:
    points, what = home.xyz(mesh), f"initial of species {species.name!r}"
    if not callable(species.initial):
        return nodal_rate(*model.initial_formula(species), (), home, mesh, what)((), 0.0, points)
    if isinstance(mesh, WellMixed):
        raise _without_places(what, "it is a function of place")
    values = np.asarray(species.initial(points.copy()), np.float64)
    if values.shape != (len(points),):
        raise ValueError(
            f"{what} should be a function that returns one value for each of the {len(points)} points (m, 3) it gets; "
            f"got shape {values.shape}"
        )
    return values


def _fixed(
    model: Model, species: Species, compartments: dict[str, BoundCompartment], mesh: Domain
) -> tuple[BoundFixed, ...]:
    """Bind the fixed values of a species; a node belongs to the first part that has it."""
    if not species.fixed:
        return ()
    free = np.zeros(len(mesh.points), bool)
    free[compartments[species.compartment].nodes] = True
    bound = []
    for name in species.fixed:
        place, what = compartments[name], f"fixed value of species {species.name!r} on {name!r}"
        if not np.isin(place.nodes, compartments[species.compartment].nodes).any():
            raise ValueError(
                f"{what} has no place: {name!r} ({place_text(model.compartments[name])}) has no node in common with "
                f"{species.compartment!r} ({place_text(model.compartments[species.compartment])}), where it lives"
            )
        own = np.flatnonzero(free[place.nodes])
        free[place.nodes] = False
        formula, varying = model.fixed_formula(species, name)
        rate = nodal_rate(formula, varying, (), place, mesh, what)
        bound.append(BoundFixed(place, place.nodes[own], own, mesh.points[place.nodes], rate))
    return tuple(bound)


def _reaction(
    model: Model,
    reaction: Reaction,
    compartments: Mapping[str, BoundCompartment],
    species: Mapping[str, BoundSpecies],
    mesh: Domain,
) -> BoundReaction:
    rate, home = model.rates[reaction.name], compartments[reaction.compartment]
    whole = {name: found for name in rate.names if (found := whole_value(name, home, compartments, species, mesh))}
    reads = tuple(name for name in rate.names if name in species and name not in whole)
    names = (*reads, *whole)
    positive = [name for name in names if not species[whole[name].species if name in whole else name].signed]
    formulas = [rate, *(expressions.derivative(rate, name) for name in names)]
    formulas = [signs.clipped(formula, positive) for formula in formulas]
    what = f"rate of reaction {reaction.name!r}"
    own, *derivatives = (nodal_rate(formula, model.varying, names, home, mesh, what) for formula in formulas)
    change, wholes = dict(reaction.change), tuple(whole.values())
    return BoundReaction(reaction.name, home, reads, change, own, tuple(derivatives), wholes)


def whole_value(
    name: str,
    home: BoundCompartment,
    compartments: Mapping[str, BoundCompartment],
    species: Mapping[str, BoundSpecies],
    mesh: Domain,
) -> WholeValue | None:
    """Bind a mean, a total or a pool of elsewhere; None for any other name in a rate."""
    found = read_whole(name)
    if found is None:
        pool = name in species and species[name].compartment.volume is not None
        return WholeValue(name, np.ones(1)) if pool and species[name].compartment is not home else None
    kind, own, place = found
    lives = species[own].compartment
    over = lives if place is None else compartments[place]
    if place is not None and not isinstance(mesh, WellMixed) and not np.isin(over.nodes, lives.nodes).all():
        raise ValueError(
            f"{name}: {own!r} lives in {lives.name!r} and has no values all over {place!r}; write {kind}({own}), or "
            "take a species that lives there"
        )
    weights = over.mass(mesh, lives.nodes)
    return WholeValue(own, weights / weights.sum() if kind == "mean" else weights)


def nodal_rate(
    formula: Expression,
    varying: Mapping[str, Varying],
    reads: Sequence[str],
    place: BoundCompartment,
    mesh: Domain,
    what: str,
) -> NodalRate:
    """Compile a formula for the nodes of a compartment."""
    used = {name: value for name, value in varying.items() if name in formula.names}
    fields = {name: value for name, value in used.items() if isinstance(value, Field)}
    mixed = isinstance(mesh, WellMixed) or place.volume is not None
    if mixed:
        placed = [name for name in formula.names if name in (*POSITION, *fields)]
        if placed:
            where = "a well-mixed run" if isinstance(mesh, WellMixed) else f"pool {place.name!r}"
            raise _without_places(what, f"it reads {placed[0]!r}, which differs from place to place", where)
    courses = {name: value for name, value in used.items() if not isinstance(value, Field)}
    compiled = expressions.compile(formula, (*reads, "t", "x", "y", "z", *courses, *fields))
    over_nodes = (
        ()
        if isinstance(mesh, WellMixed) or mixed
        else tuple(nodal(value, place, mesh, field_text(name, what)) for name, value in fields.items())
    )
    return NodalRate(compiled, tuple(courses.values()), over_nodes)
