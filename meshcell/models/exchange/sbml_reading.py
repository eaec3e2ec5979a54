"""From what an SBML file says to the fields of a model: places, units, initial values and rates per volume or area."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from meshcell.core import units
from meshcell.core.hints import nearest
from meshcell.models.compartments import Place, Well, checked_place, pairs, place_text
from meshcell.models.exchange.sbml_laws import Numbers, home_of, per_size, product, substituted, without_rules
from meshcell.models.exchange.sbml_parts import OF_DIMENSION, Contents, contents_of, moves, names_in
from meshcell.models.exchange.scaled_units import Scaled
from meshcell.models.exchange.unit_inference import Equations, marked, solve
from meshcell.models.exchange.wishes import Wishes
from meshcell.models.expressions import MAX_LENGTH
from meshcell.models.formula_trees import FOLDING, Tree, to_text, walk
from meshcell.models.species import Pool, Reaction, Species, check_symbol

AREA, VOLUME = Scaled.of("um^2"), Scaled.of("um^3")


def model_fields(document: Any, wishes: Wishes, what: str) -> dict[str, Any]:
    """Return the fields of the model in an SBML document.

    Raises
    ------
    ValueError
        Whatever cannot be said in a model of ours, compartments without a place, reactions that could be anywhere.
    """
    contents = contents_of(document, wishes.units)
    if not contents.compartments:
        raise ValueError("the model should have a compartment; it has none, so nothing in it has a place")
    notes: list[str] = []
    places = _places(contents, wishes, notes)
    sizes = _sizes(contents, places, wishes.sizes)
    laws, homes = _laws(contents, places, wishes.reactions)
    if any(len(to_text(tree)) > MAX_LENGTH for tree in laws.values()) and _computed(contents, notes):
        laws, homes = _laws(contents, places, wishes.reactions)
    own = _own_names(contents, places, notes)
    draft = Draft(contents, places, Numbers(contents, sizes), laws, homes, own, notes)
    fields = _fields(draft, wishes.diffusion)
    _say_assumptions(contents, notes)
    if notes:
        warnings.warn("\n- ".join([f"what was assumed of {what}:", *notes]), stacklevel=5)
    return fields


@dataclass(frozen=True)
class Draft:
    """A model on its way: trees still in the names of the file."""

    contents: Contents
    places: dict[str, Place]
    numbers: Numbers
    # Reaction, or species that a rate rule sets -> its law per time, rules put in.
    laws: dict[str, Tree]
    homes: dict[str, str]
    # Name in the file -> name in the model.
    own: dict[str, str]
    notes: list[str]

    def is_constant(self, name: str) -> bool:
        """Tell whether nothing changes a species, so that it is a parameter."""
        return self.contents.species[name].held and name not in self.contents.rates

    def is_pool(self, name: str) -> bool:
        """Tell whether a species that changes is a pool."""
        item = self.contents.species[name]
        return not self.is_constant(name) and isinstance(self.places[item.compartment], Well)

    def is_size(self, name: str) -> bool:
        """Tell whether a name means the size of a compartment."""
        return name in self.contents.compartments or name in self.places

    def size_unit(self, name: str) -> Scaled:
        """Return the unit of a compartment's size; interfaces that the file does not have are in um^2."""
        found = self.contents.compartments.get(name)
        return AREA if found is None else found.unit

    def symbol_unit(self, name: str) -> Scaled:
        """Return the unit of what a species' name means in the file."""
        item = self.contents.species[name]
        return item.substance if item.is_amount else item.substance / self.size_unit(item.compartment)


# --- places and sizes ---


def _places(contents: Contents, wishes: Wishes, notes: list[str]) -> dict[str, Place]:
    """Check where compartments are; what no place is needed for may have none."""
    for name, place in wishes.places.items():
        # A patch that the file does not have is added by name, and a misspelt compartment is none.
        added = name in wishes.reactions.values() and place is not None
        if name not in contents.compartments and (place is None or isinstance(place, str)) and not added:
            raise ValueError(
                f"places should be of the file's compartments, {', '.join(contents.compartments)}, or add interfaces, "
                f"which are pairs of regions; got {name!r}: {place!r}{nearest(name, contents.compartments)}"
            )
    homes = {item.compartment for item in contents.species.values()}
    if homes - set(wishes.places):
        raise ValueError(_no_place(contents, homes, wishes.places))
    # How large a pool is comes with its size, and its name with what it holds.
    places = {
        name: Well(math.nan) if place is None else checked_place(name, place) for name, place in wishes.places.items()
    }
    for name, place in places.items():
        if name in contents.compartments and bool(pairs(place)) > (contents.compartments[name].dimension == 2):
            _flatten(contents, name, place, notes)
        elif name in contents.compartments and contents.compartments[name].dimension not in (2, 3):
            raise ValueError(f"compartment {name!r} has neither volume nor area; leave it out of places")
        elif isinstance(place, Well) and contents.compartments[name].dimension == 2:
            raise ValueError(f"compartment {name!r} is an area, and a pool has a volume; give the interface that it is")
    return places


def _flatten(contents: Contents, name: str, place: Place, notes: list[str]) -> None:
    """Take a compartment without a unit of volume for an area, as its place is an interface."""
    found = contents.compartments[name]
    if found.explicit:
        raise ValueError(
            f"compartment {name!r} is a volume in the file, but its place is the interface {place_text(place)}; "
            "give it spatialDimensions=2 and an area there (in Antimony: a unit of area), or a region as its place"
        )
    contents.compartments[name] = replace(found, dimension=2, unit=contents.base["area"])
    notes.append(f"compartment {name!r} is taken for an area, as its place is {place_text(place)}")


def _no_place(contents: Contents, homes: set[str], places: Mapping[str, Any]) -> str:
    lines, example = [], []
    for name, item in contents.compartments.items():
        held = [own for own, species in contents.species.items() if species.compartment == name]
        lines.append(f"{name} ({item.dimension}-dimensional; {', '.join(held) or 'no species'})")
        if name in homes and name not in places:
            example.append(f'"{name}": ' + ('("cytosol", "outside")' if item.dimension == 2 else f'"{name}"'))
    missing = ", ".join(name for name in contents.compartments if name in homes - set(places))
    return (
        f"every compartment with species should have a place in the cell; {missing} has none; the file's compartments "
        f"are {'; '.join(lines)}; say which region or pair of regions each of them is, and None for a bath or store "
        f"that is not in the mesh, so that what it holds are pools: places={{{', '.join(example)}}}"
    )


def _sizes(contents: Contents, places: Mapping[str, Place], given: Mapping[str, Any]) -> dict[str, float]:
    """Return sizes in the units of the file."""
    known = [*contents.compartments, *(name for name in places if name not in contents.compartments)]
    for name in given:
        if name not in known:
            raise ValueError(f"sizes should be of {', '.join(known)}; got {name!r}{nearest(name, known)}")
    sizes = {name: item.size for name, item in contents.compartments.items() if item.size is not None}
    for name, value in given.items():
        flat = name not in contents.compartments or contents.compartments[name].dimension == 2
        number = units.convert(value, "um^2" if flat else "um^3", f"size of compartment {name!r}")
        sizes[name] = number / (AREA if name not in contents.compartments else contents.compartments[name].unit).size
    return sizes


# --- laws ---


def _laws(
    contents: Contents, places: Mapping[str, Place], asked: Mapping[str, str]
) -> tuple[dict[str, Tree], dict[str, str]]:
    """Return what changes species, with its place: reactions and rate rules."""
    for name, home in asked.items():
        if name not in contents.reactions:
            raise ValueError(f"the file has no reaction {name!r}{nearest(name, contents.reactions)}")
        if home not in places:
            raise ValueError(
                f"reaction {name!r} should be in one of {', '.join(places)}; got {home!r}{nearest(home, places)}; an "
                f'interface that the file does not have is added by places={{"{home}": ("cytosol", "outside")}}'
            )
    plain = without_rules(contents)
    laws: dict[str, Tree] = {}
    homes: dict[str, str] = {}
    unclear: list[str] = []
    for name, item in contents.reactions.items():
        if not any(change and not contents.species[own].held for own, change in item.change.items()):
            continue
        laws[name] = plain(item.law)
        found = home_of(name, laws[name], contents, places, asked)
        if isinstance(found, str):
            homes[name] = found
        else:
            unclear.append(f"{name} (species in {', '.join(found) or 'no compartment'})")
    if unclear:
        first = unclear[0].partition(" ")[0]
        raise ValueError(
            f"every reaction should happen in one compartment or on the one interface that its species touch; it is "
            f'unclear for {"; ".join(unclear)}; say where: reactions={{"{first}": "PM"}}, and add the interface if the '
            'file has none: places={..., "PM": ("cytosol", "outside")}'
        )
    for name, rate in contents.rates.items():
        laws[name], homes[name] = plain(rate), contents.species[name].compartment
    return laws, homes


def _computed(contents: Contents, notes: list[str]) -> bool:
    """Turn rules that only numbers enter into numbers; False where there is none."""
    rules = [name for name in contents.assigned if name in contents.parameters]
    still = [name for name in rules if not moves(contents.assigned[name], contents, {name})]
    for name in still:
        contents.started[name] = contents.assigned.pop(name)
    if still:
        notes.append(f"rates would be too long with all rules in them, so these are numbers now: {', '.join(still)}")
    return bool(still)


def _own_names(contents: Contents, places: Iterable[str], notes: list[str]) -> dict[str, str]:
    """Give every name of the file one that rates can read."""
    found: dict[str, str] = {}
    given = list(dict.fromkeys([*contents.parameters, *contents.species, *contents.compartments, *places]))
    taken = set(given)
    for name in given:
        own = name
        while (own != name and own in taken) or not _is_usable(own):
            own += "_"
        taken.add(own)
        found[name] = own
    renamed = [f"{name} -> {own}" for name, own in found.items() if name != own]
    if renamed:
        notes.append(f"renamed, as these names mean something else in rates: {', '.join(renamed)}")
    return found


def _is_usable(name: str) -> bool:
    try:
        check_symbol(name, "name")
    except ValueError:
        return False
    return True


def _rates(draft: Draft) -> dict[str, Tree]:
    """Return rates per volume or area, species in concentrations."""
    contents = draft.contents
    sizes = [f"${name}" for name in {*contents.compartments, *draft.places}]
    amounts: dict[str, Tree] = {
        f"${name}": ("*", f"${name}", f"${item.compartment}")
        for name, item in contents.species.items()
        if item.is_amount and not draft.is_constant(name)
    }
    rates = {}
    for name, law in draft.laws.items():
        tree, home = substituted(law, amounts), f"${draft.homes[name]}"
        per_volume = name in contents.rates and not contents.species[name].is_amount
        rates[name] = per_size(("*", tree, home) if per_volume else tree, home, sizes)
    return rates


def _wanted(draft: Draft, name: str) -> Scaled:
    """Return the unit of a rate."""
    contents = draft.contents
    substance = contents.base["extent"] if name in contents.reactions else contents.species[name].substance
    return substance / contents.base["time"] / draft.size_unit(draft.homes[name])


# --- the model ---


def _fields(draft: Draft, diffusion: Mapping[str, Any]) -> dict[str, Any]:
    rates = _rates(draft)
    texts, parameters = _with_units(draft, rates)
    return {
        "compartments": {name: place for name, place in draft.places.items() if not isinstance(place, Well)},
        "species": _species(draft, diffusion),
        "reactions": [_reaction(draft, name, text) for name, text in texts.items()],
        "parameters": parameters,
    }


def _reaction(draft: Draft, name: str, rate: str) -> Reaction:
    contents, home = draft.contents, draft.homes[name]
    if name not in contents.reactions:
        pool = draft.own[name] if draft.is_pool(name) else home
        return Reaction(f"rate rule of {name}", pool, rate, {draft.own[name]: 1.0})
    change = {}
    for own, times in contents.reactions[name].change.items():
        if times and not contents.species[own].held:
            # An event of the file may be counted in other units than a species.
            scale = 10 ** (contents.base["extent"].log - contents.species[own].substance.log)
            change[draft.own[own]] = times * float(f"{scale:.15g}")
    if isinstance(draft.places[home], Well):
        home = _pool_of(draft, name, home, change)
    return Reaction(name, home, rate, change)


def _pool_of(draft: Draft, reaction: str, home: str, change: Mapping[str, float]) -> str:
    """Return the pool in which a reaction is: all of one bath have the same volume, so any of them will do."""
    held = [draft.own[name] for name, item in draft.contents.species.items() if item.compartment == home]
    pools = [own for own in held if own in change]
    if not pools:
        raise ValueError(
            f"reaction {reaction!r} should change something in {home!r}, a bath that is not in the mesh, as it happens "
            f"there; it changes {', '.join(change)}; say where it is: reactions={{{reaction!r}: ...}}"
        )
    return pools[0]


def _species(draft: Draft, diffusion: Mapping[str, Any]) -> list[Species]:
    contents = draft.contents
    moving = [name for name in contents.species if not draft.is_constant(name) and name not in contents.assigned]
    spread = [name for name in moving if not draft.is_pool(name)]
    for name in diffusion:
        if name not in spread:
            raise ValueError(f"diffusion should be of {', '.join(spread)}; got {name!r}{nearest(name, spread)}")
    made: list[Species] = []
    for name in moving:
        item = contents.species[name]
        initial = (item.substance / draft.size_unit(item.compartment)).quantity(draft.numbers.concentration(name))
        if draft.is_pool(name):
            volume = draft.size_unit(item.compartment).quantity(draft.numbers.size(item.compartment))
            made.append(Pool(draft.own[name], volume, initial))
        else:
            made.append(Species(draft.own[name], item.compartment, diffusion.get(name, 0.0), initial))
    still = [name for name in spread if name not in diffusion]
    if still:
        draft.notes.append(
            f"SBML says nothing of diffusion, so it is 0 um^2/s for {', '.join(still)}; give it by "
            f'diffusion={{"{still[0]}": "10 um^2/s"}}'
        )
    empty = [name for name in moving if contents.species[name].initial is None and name not in contents.started]
    if empty:
        draft.notes.append(f"no initial value in the file, so 0 taken: {', '.join(empty)}")
    return made


# --- units ---


def _with_units(draft: Draft, rates: Mapping[str, Tree]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the rates as texts, and all parameters that they read with their units."""
    contents, own = draft.contents, draft.own
    known = {"t": contents.base["time"], **{f"${name}": draft.size_unit(name) for name in own if draft.is_size(name)}}
    for name, item in contents.species.items():
        constant = draft.symbol_unit(name)
        known[f"${name}"] = constant if draft.is_constant(name) else item.substance / draft.size_unit(item.compartment)
    read = {name for tree in rates.values() for name in names_in(tree)}
    values = {f"${name}": draft.numbers[name] for name in contents.parameters if name in read}
    declared = {f"${name}": unit for name, unit in contents.declared.items()}
    laws = marked(rates, set(known))
    equations = solve(laws, {name: _wanted(draft, name) for name in rates}, known, declared, values)
    moving = {name for name in contents.species if not draft.is_constant(name)}
    found = {name: known.get(f"${name}") or equations.value(f"${name}") for name in own if name in read - moving}
    parameters = {own[name]: unit.quantity(draft.numbers[name]) for name, unit in found.items()}
    texts = {}
    for name, tree in laws.trees.items():
        plain = _unmarked(tree, laws.values, equations, _Spare(name, parameters, set(own.values())))
        texts[name] = to_text(substituted(plain, {f"${old}": new for old, new in own.items()}))
    _say_units(draft, found, read, parameters)
    return texts, parameters


@dataclass(frozen=True)
class _Spare:
    """Where numbers in a law that have a unit find a name as parameters."""

    law: str
    parameters: dict[str, str]
    taken: set[str]

    def name_of(self, text: str) -> str:
        row = 1
        while (name := f"{self.law}_c{row}") in self.taken or self.parameters.get(name, text) != text:
            row += 1
        self.parameters[name] = text
        return name


def _unmarked(tree: Tree, values: Mapping[str, float], equations: Equations, spare: _Spare) -> Tree:
    """Put numbers back where they have no unit, and parameters where they have one."""

    def leaf(name: float | str) -> Tree:
        if not isinstance(name, str) or name not in values:
            return name
        unit = equations.value(name)
        if unit.unit == units.NO_UNIT:
            return values[name] if not unit.log else float(f"{values[name] * 10**unit.log:.15g}")
        return spare.name_of(unit.quantity(values[name]))

    return walk(tree, {**FOLDING, "*": product}, leaf)  # type: ignore[no-any-return]


def _say_units(draft: Draft, found: Mapping[str, Scaled], read: set[str], parameters: Mapping[str, str]) -> None:
    """Note what the file does not say of units, or says otherwise than its laws."""
    declared, own = draft.contents.declared, draft.own
    other = [name for name, unit in found.items() if name in declared and not declared[name].near(unit)]
    if other:
        listed = ", ".join(f"{name} in {declared[name].text() or declared[name].unit}" for name in other)
        now = ", ".join(f"{own[name]} = {parameters[own[name]]}" for name in other)
        draft.notes.append(f"the laws need other units than the file declares ({listed}); taken as {now}")
    unsaid = [name for name in found if name in draft.contents.parameters and name not in declared]
    if unsaid:
        listed = ", ".join(f"{own[name]} = {parameters[own[name]]}" for name in unsaid[:20])
        more = f" and {len(unsaid) - 20} more" if len(unsaid) > 20 else ""
        draft.notes.append(f"parameters without a unit have the one that the laws need: {listed}{more}")
    kept = [name for name in found if draft.is_size(name)]
    if kept:
        listed = ", ".join(f"{own[name]} = {parameters[own[name]]}" for name in kept)
        draft.notes.append(
            f"sizes that do not cancel in the rates stay as parameters: {listed}; where a mesh has other volumes or "
            "areas, set them to those"
        )


def _say_assumptions(contents: Contents, notes: list[str]) -> None:
    unsaid = {OF_DIMENSION.get(item.dimension) for item in contents.compartments.values() if not item.explicit}
    needed = {"substance", "time", *unsaid}
    missing = {name: unit for name, unit in contents.assumed.items() if name in needed}
    if missing:
        listed = ", ".join(f"{name} in {unit}" for name, unit in missing.items())
        example = ", ".join(f'"{name}": "{unit}"' for name, unit in missing.items())
        notes.insert(0, f"the file does not say its units; assumed: {listed}; say others by units={{{example}}}")
