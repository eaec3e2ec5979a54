"""What must fit together in a model: who reaches whom, and in which units; all of it before any mesh is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from meshcell.core import units
from meshcell.core.hints import nearest
from meshcell.core.units import CONCENTRATION, DENSITY, DIFFUSION, NO_UNIT, Unit
from meshcell.models import expressions
from meshcell.models.compartments import Place, Well, pairs, parts, place_text, reaches, regions_of
from meshcell.models.expressions import POSITION, Expression
from meshcell.models.formula_trees import read_whole
from meshcell.models.parameters import Given, check_tensors, number_and_unit
from meshcell.models.species import (
    Described,
    Pool,
    Reaction,
    Species,
    check_amount,
    diffusion_numbers,
    diffusion_parts,
    diffusion_text,
)

REGION, INTERFACE = 3, 2
_AMOUNTS = {REGION: CONCENTRATION, INTERFACE: DENSITY}
_SECOND, _LENGTH = Unit.of(s=1), Unit.of(um=1)
_VARIABLE_UNITS = {"t": _SECOND, **dict.fromkeys(POSITION, _LENGTH)}


def check_reaction(model: Described, reaction: Reaction, dimensions: Mapping[str, int]) -> None:
    """Refuse a reaction whose species are out of reach or whose rate has wrong units.

    `dimensions` maps compartments to 3 (region) or 2 (interface or patch); those not yet known are left out of it.
    """
    used = _used_species(model, reaction)
    place = model.compartments[reaction.compartment]
    # Pools have one value for all places.
    elsewhere = [item for item in used if item.compartment != reaction.compartment and not isinstance(item, Pool)]
    if isinstance(place, Well) and elsewhere:
        raise ValueError(_far_from_pool(reaction, elsewhere[0]))
    dimension = dimensions.get(reaction.compartment)
    known = {item.name: reaches(model.compartments[item.compartment], place) for item in elsewhere}
    if dimension == REGION:
        for item in elsewhere:
            if not known[item.name]:
                raise ValueError(_far_from_region(model, reaction, item))
    for item in elsewhere:
        # A species on a patch of this very interface would be unknown on the rest of it, so patches are out too.
        if known[item.name] is False:
            raise ValueError(_far_from_interface(model, reaction, item))
    if dimension is None and None in known.values():
        dimension = INTERFACE
    candidates = (REGION, INTERFACE) if dimension is None else (dimension,)
    errors = [_unit_error(model, reaction, candidate, dimensions) for candidate in candidates]
    if all(errors):
        raise ValueError(errors[0])


# --- places ---


def _used_species(model: Described, reaction: Reaction) -> list[Species]:
    species = {item.name: item for item in model.species}
    for name in reaction.change:
        if name not in species:
            raise ValueError(
                f"reaction {reaction.name!r} changes {name!r}, which is not a species of the model; its species are "
                f"{', '.join(species) or '(none)'}{nearest(name, species)}"
            )
    names = dict.fromkeys([*model.rates[reaction.name].names, *reaction.change])
    return [species[name] for name in names if name in species]


def checked_wholes(model: Described, reaction: Reaction) -> list[str]:
    """Return the means and totals that a rate reads, or refuse one that there is not."""
    species = {item.name: item for item in model.species}
    found = [name for name in reaction.formula.names if read_whole(name) is not None]
    for name in found:
        kind, own, place = read_whole(name) or ("", "", None)
        what = f"{name} in the rate of reaction {reaction.name!r}"
        if own not in species:
            raise ValueError(
                f"{what} should be of a species; the model has {', '.join(species)}, and none called {own!r}"
                f"{nearest(own, species)}"
            )
        if place is None:
            continue
        if place not in model.compartments:
            raise ValueError(
                f"{what} should be over a compartment of the model, {', '.join(model.compartments)}; got {place!r}"
                f"{nearest(place, model.compartments)}"
            )
        home, there = model.compartments[species[own].compartment], model.compartments[place]
        if reaches(home, there) is False:
            raise ValueError(
                f"{what} has no place: {own!r} lives in {species[own].compartment!r} ({place_text(home)}), not in "
                f"{place!r} ({place_text(there)}); write {kind}({own}), or take a species that lives there"
            )
        if kind == "total" and pairs(there) and not pairs(home):
            raise ValueError(
                f"{what} would be no number of molecules, as {own!r} lives beside {place!r}; write mean({own}, "
                f'"{place}"), or total({own})'
            )
    return found


def known_dimensions(model: Described) -> dict[str, int]:
    """Say for each compartment whether it is a region or an interface, as far as that follows without a mesh."""
    regions = set().union(*(regions_of(place) for place in model.compartments.values()))
    dimensions = {}
    for name, place in model.compartments.items():
        if isinstance(place, tuple):
            dimensions[name] = INTERFACE
        elif isinstance(place, Well) or regions & set(parts(place)):
            dimensions[name] = REGION
    for species in model.species:
        check_initial(model, species, dimensions.get(species.compartment))
        unit = initial_unit(model, species)
        if unit is not None and not species.signed:
            dimensions[species.compartment] = REGION if unit == CONCENTRATION else INTERFACE
    return dimensions


def initial_unit(model: Described, species: Species) -> Unit | None:
    """Return the unit of an initial value, None where none was written with it or with its parameters."""
    if not isinstance(species.initial, str) or species.initial_unit is not None:
        return species.initial_unit
    # Names are known and none changes in time.
    model.initial_formula(species)
    return _formula_unit(model, species.initial_formula[0], f"initial of species {species.name!r}")


def _formula_unit(model: Described, parsed: Expression, what: str) -> Unit | None:
    """Return the unit of a formula of parameters, None where one of them, or none at all, has a written unit."""
    names = [name for name in parsed.names if name in model.parameters]
    known = {name: parameter(name, model.parameters[name])[1] for name in names}
    written = {name: unit for name, unit in known.items() if unit is not None}
    if not names or len(written) < len(known):
        return None
    try:
        return expressions.units(parsed, {**_VARIABLE_UNITS, **written}, model.parameter_values)
    except ValueError as error:
        raise ValueError(f"{what}, {parsed.text!r}: {error}") from error


def amount_unit(model: Described, species: Species, dimension: int) -> Unit | None:
    """Return the unit of a species' values where it lives, None of a signed one that has none."""
    return initial_unit(model, species) if species.signed else _AMOUNTS[dimension]


def check_initial(model: Described, species: Species, dimension: int | None) -> None:
    """Refuse an initial value per volume on an interface, and one per area in a region."""
    unit = initial_unit(model, species)
    check_amount(species, unit)
    if species.signed or unit is None or dimension is None or unit == _AMOUNTS[dimension]:
        return
    place = place_text(model.compartments[species.compartment])
    raise ValueError(
        f"initial of species {species.name!r} should be in {_AMOUNTS[dimension]} {_of_kind(dimension)} "
        f"({species.compartment!r}: {place}); got {species.initial!r} in {unit}"
    )


def _far_from_pool(reaction: Reaction, species: Species) -> str:
    return (
        f"reaction {reaction.name!r} is in pool {reaction.compartment!r}, where only pools are, but uses "
        f"{species.name!r}, which lives in compartment {species.compartment!r}; put it there, or on an interface of "
        f"it, where it may change the pool as well, or read mean({species.name})"
    )


def _far_from_region(model: Described, reaction: Reaction, species: Species) -> str:
    return (
        f"reaction {reaction.name!r} is in region {model.compartments[reaction.compartment]!r} "
        f"(compartment {reaction.compartment!r}), but species {species.name!r} lives in compartment "
        f"{species.compartment!r}; a reaction in a region may use only species of that region; put it on the interface "
        f"of the two, or move the species"
        f"{_spelling(model, reaction, species)}"
    )


def _far_from_interface(model: Described, reaction: Reaction, species: Species) -> str:
    own = model.compartments[species.compartment]
    touching = [name for name, place in model.compartments.items() if pairs(place) and reaches(own, place)]
    return (
        f"reaction {reaction.name!r} is on {model.compartments[reaction.compartment]!r}, which does not touch "
        f"compartment {species.compartment!r} of species {species.name!r}; the interfaces of {species.compartment!r} "
        f"are {', '.join(touching) or '(none in this model)'}{_spelling(model, reaction, species)}"
    )


def _spelling(model: Described, reaction: Reaction, species: Species) -> str:
    """Say which region the species' compartment is, and whether another one was misspelt there or at the reaction."""
    for name in (species.compartment, reaction.compartment):
        own = _names(model.compartments[name])
        others = set().union(*(_names(place) for key, place in model.compartments.items() if key != name))
        for region in sorted(own - others):
            if hint := nearest(region, sorted(others - own)):
                return f"; compartment {name!r} is {place_text(model.compartments[name])!r}{hint}"
    return f"; compartment {species.compartment!r} is {place_text(model.compartments[species.compartment])!r}"


def _names(place: Place) -> set[str]:
    return set(parts(place)) if isinstance(place, str) else regions_of(place)


# --- units ---


def _unit_error(model: Described, reaction: Reaction, dimension: int, dimensions: Mapping[str, int]) -> str:
    """Return what is wrong with the units of a rate if its compartment has this dimension, else an empty text."""
    known = _written_units(model, reaction, dimension, dimensions)
    if known is None:
        return ""
    wanted = _wanted(model, reaction, dimension, dimensions)
    if wanted is None:
        return ""
    if isinstance(wanted, str):
        return wanted
    parsed = reaction.formula
    where = f"{reaction.compartment!r} ({place_text(model.compartments[reaction.compartment])})"
    try:
        unit = expressions.units(parsed, known, model.parameter_values)
    except ValueError as error:
        return f"rate of reaction {reaction.name!r} in {where}, {reaction.rate!r}: {error}"
    if unit is None or unit == wanted:
        return ""
    names = [f"{name} in {known[name]}" for name in parsed.names if known[name] != NO_UNIT]
    return (
        f"rate of reaction {reaction.name!r} in {where} should be in {wanted} {_of_kind(dimension)}; got {unit} from "
        f"{reaction.rate!r} with {', '.join(names)}; change the unit of a parameter, or the compartment"
    )


def _wanted(model: Described, reaction: Reaction, dimension: int, dimensions: Mapping[str, int]) -> Unit | str | None:
    """Return the unit that a rate should have, None where a signed species has none, or what is wrong with it."""
    species = {item.name: item for item in model.species}
    found: dict[str, Unit] = {}
    for name in reaction.change:
        item = species[name]
        if not item.signed:
            found[name] = _AMOUNTS[dimension] / _SECOND
            continue
        unit = initial_unit(model, item)
        if unit is None:
            return None
        home = dimensions.get(item.compartment, dimension if item.compartment == reaction.compartment else REGION)
        found[name] = unit * _LENGTH ** (home - dimension) / _SECOND
    (first, unit), *others = found.items()
    for name, other in others:
        if other != unit:
            return (
                f"reaction {reaction.name!r} changes {first!r} by {unit} and {name!r} by {other}, which cannot both be "
                "its rate; write two reactions"
            )
    return unit


def _written_units(
    model: Described, reaction: Reaction, dimension: int, dimensions: Mapping[str, int]
) -> dict[str, Unit] | None:
    """Return the units of what a rate reads, or None where plain numbers switch the check off."""
    known, plain, any_written = _read_units(model, reaction, dimension, dimensions)
    return known if any_written and not plain else None


def _read_units(
    model: Described, reaction: Reaction, dimension: int, dimensions: Mapping[str, int]
) -> tuple[dict[str, Unit], list[str], bool]:
    """Return the units of what a rate reads, the names that have none written, and whether others have."""
    species = {item.name: item for item in model.species}
    known: dict[str, Unit] = dict(_VARIABLE_UNITS)
    plain, any_written = [], False
    for name in reaction.formula.names:
        kind, read, place = read_whole(name) or ("", name, None)
        if read in species:
            own = species[read].compartment
            fallback = dimension if own == reaction.compartment else REGION
            written = initial_unit(model, species[read])
            if species[read].signed:
                known[name], off = written or NO_UNIT, written is None
            else:
                known[name] = _AMOUNTS[dimensions.get(own, fallback)]
                off = written is None and not species[read].starts_at_zero
            if kind == "total":
                known[name] *= _LENGTH ** dimensions.get(place or own, fallback)
            any_written |= written is not None
        elif name in model.parameters:
            _, unit = parameter(name, model.parameters[name])
            off = unit is None
            any_written |= unit is not None
            known[name] = unit or NO_UNIT
        else:
            continue
        if off:
            plain.append(name)
    return known, plain, any_written


PLAIN = "plain numbers among written units were taken in base units (um, s, molecule); write them with their units"


def plain_numbers(model: Described, dimensions: Mapping[str, int]) -> list[str]:
    """Say which numbers stand without a unit where their neighbours have one, and what follows from that.

    A pure number, such as a Hill coefficient, is what fits the units around it; it may stay.
    """
    notes = []
    for reaction in model.reactions:
        parameters = [name for name in reaction.formula.names if isinstance(model.parameters.get(name), float)]
        if parameters and not _fits_as_pure(model, reaction, dimensions, parameters):
            values = ", ".join(f"parameter {name!r} = {model.parameters[name]:g}" for name in parameters)
            notes.append(f"{values}, so the units of reaction {reaction.name!r} are not checked")
    written = [item.name for item in model.species if item.initial_unit is not None]
    for item in model.species:
        if written and isinstance(item.initial, float) and item.initial != 0:
            unit = _AMOUNTS[dimensions.get(item.compartment, REGION)]
            notes.append(f"initial of species {item.name!r} = {item.initial:g} {unit}, beside that of {written[0]!r}")
    return notes


def _fits_as_pure(
    model: Described, reaction: Reaction, dimensions: Mapping[str, int], parameters: Sequence[str]
) -> bool:
    """Tell whether a rate has the unit that it should with these parameters as pure numbers, or has no units at all."""
    dimension = dimensions.get(reaction.compartment)
    for candidate in (REGION, INTERFACE) if dimension is None else (dimension,):
        known, plain, any_written = _read_units(model, reaction, candidate, dimensions)
        if not any_written or not set(plain) <= {*parameters, *(item.name for item in model.species)}:
            return True
        try:
            if expressions.units(reaction.formula, known, model.parameter_values) in (
                None,
                _AMOUNTS[candidate] / _SECOND,
            ):
                return True
        except ValueError:
            continue
    return False


def parameter(name: str, value: Given) -> tuple[float | None, Unit | None]:
    """Return a parameter's number in base units, None where it varies, and its unit, None where none was written."""
    return number_and_unit(value, f"parameter {name!r}")


def fixed_text(species: Species, compartment: str) -> str:
    """Name a fixed value in errors."""
    return f"fixed value of species {species.name!r} on {compartment!r}"


def check_fixed(model: Described, species: Species, compartment: str, dimensions: Mapping[str, int]) -> None:
    """Refuse a fixed value that cannot be read or whose unit is not that of the species."""
    value, what = species.fixed[compartment], fixed_text(species, compartment)
    model.fixed_formula(species, compartment)
    if isinstance(value, str) and not units.is_quantity_text(value):
        unit = _formula_unit(model, expressions.parse(value), what)
    else:
        unit = number_and_unit(value, what)[1]
    dimension, own = dimensions.get(species.compartment), initial_unit(model, species)
    allowed = set(_AMOUNTS.values()) if dimension is None else {_AMOUNTS[dimension]}
    if species.signed:
        allowed = {own} if own is not None else set()
    if unit is not None and allowed and unit not in allowed:
        raise ValueError(f"{what} should be in {' or '.join(map(str, allowed))}; got {unit} from {value!r}")


def check_diffusion(model: Described, species: Species) -> None:
    """Refuse a diffusion that cannot be read, has another unit, or does not name the parts of the compartment."""
    place = model.compartments[species.compartment]
    given = diffusion_parts(species)
    if given[0][0] is not None:
        there = parts(place) if isinstance(place, str) else ()
        if {part for part, _ in given} != set(there):
            instead = f"should name {' and '.join(map(repr, there))}" if there else "should be one formula or Field"
            raise ValueError(
                f"diffusion of species {species.name!r} {instead}, as it lives in {species.compartment!r} "
                f"({place_text(place)}); got {', '.join(str(part) for part, _ in given)}"
            )
    numbers, formulas = diffusion_numbers(species), model.diffusion_formulas(species)
    for (part, value), (_, entries), (_, found, _) in zip(given, numbers, formulas, strict=True):
        whole, trees = diffusion_text(species, part), [formula.tree for formula in found]
        for what, entry in entries:
            if isinstance(entry, str) and not units.is_quantity_text(entry):
                unit = _formula_unit(model, expressions.parse(entry), what)
                if unit not in (None, DIFFUSION):
                    raise ValueError(f"{what} should be in {DIFFUSION}; got {unit} from {entry!r}")
        if len(trees) > 1 and all(isinstance(tree, float) for tree in trees):
            check_tensors(np.reshape(trees, (1, 3, 3)).astype(float), whole, lambda _: "")
        elif len(trees) == 1 and isinstance(trees[0], float) and trees[0] < 0:
            raise ValueError(f"{whole} should be at least 0 um^2/s; got {trees[0]:g} from {value!r}")


def _of_kind(dimension: int) -> str:
    return "in a region" if dimension == REGION else "on an interface"
