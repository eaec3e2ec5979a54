"""Species, reactions and models: what is simulated, checked for consistency and units before any mesh is there.

A model holds only texts, numbers, tuples and dicts, as its author wrote them; `bind` turns it into arrays over a mesh.
"""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshcell import expressions, units
from meshcell.binding import BoundCompartment, BoundReaction, BoundSpecies, System, bind
from meshcell.expressions import Expression
from meshcell.trees import FUNCTIONS
from meshcell.types import set_fields
from meshcell.units import CONCENTRATION, DENSITY, NO_UNIT, Unit

__all__ = ["BoundCompartment", "BoundReaction", "BoundSpecies", "Model", "Reaction", "Species", "System", "bind"]

Place = str | tuple[str, str]

POSITION = ("x", "y", "z")
VARIABLES = ("t", *POSITION)
REGION, INTERFACE = 3, 2
_AMOUNTS = {REGION: CONCENTRATION, INTERFACE: DENSITY}
_SECOND = Unit.of(s=1)
_VARIABLE_UNITS = {"t": _SECOND, **dict.fromkeys(POSITION, Unit.of(um=1))}


@dataclass(frozen=True)
class Species:
    """Something that diffuses and reacts in one compartment.

    Parameters
    ----------
    name : str
        An identifier, because rates refer to it.
    compartment : str
        Key of `Model.compartments`.
    diffusion : number (um^2/s), text or pint quantity
        Such as "220 um^2/s"; on an interface the species diffuses along it.
    initial : number, text or pint quantity
        A plain number is in molecules/um^3, on an interface molecules/um^2. A text that starts with a number directly
        followed by letters is a quantity with its unit ("0.1 uM", "10 molecule/um^2"); any other text is a formula in
        x, y, z (um) whose value is in molecules/um^3 or molecules/um^2 ("1 + 0.1*x"). It may be negative, as a
        membrane potential is.

    Raises
    ------
    ValueError, TypeError
        Reserved or unusable names, negative or wrongly dimensioned diffusion, an initial value of another dimension.

    Examples
    --------
    >>> Species("Ca", "cyt", diffusion="220 um^2/s", initial="0.1 uM")
    Species(name='Ca', compartment='cyt', diffusion='220 um^2/s', initial='0.1 uM')
    """

    name: str
    compartment: str
    diffusion: float | str = 0.0
    initial: float | str = 0.0

    def __post_init__(self) -> None:
        _check_symbol(self.name, "species")
        what = f"species {self.name!r}"
        _check_text(self.compartment, f"compartment of {what}")
        set_fields(self, diffusion=units.plain(self.diffusion, f"diffusion of {what}"))
        set_fields(self, initial=units.plain(self.initial, f"initial of {what}"))
        if not 0 <= self.diffusion_constant < math.inf:
            raise ValueError(f"diffusion of {what} should be at least 0 um^2/s and finite; got {self.diffusion!r}")
        _, unit = self.initial_value
        if unit not in (None, CONCENTRATION, DENSITY):
            raise ValueError(
                f"initial of {what} should be in {CONCENTRATION} (or uM), on an interface {DENSITY}; got "
                f"{self.initial!r} in {unit}"
            )

    @property
    def diffusion_constant(self) -> float:
        """Diffusion coefficient in um^2/s."""
        return units.convert(self.diffusion, "um^2/s", f"diffusion of species {self.name!r}")

    @property
    def initial_value(self) -> tuple[Expression, Unit | None]:
        """Initial value in base units as a formula in x, y, z, and its unit, None where none was written."""
        what = f"initial of species {self.name!r}"
        if not isinstance(self.initial, str):
            if not math.isfinite(self.initial):
                raise ValueError(f"{what} should be finite; got {self.initial!r}")
            return Expression(str(self.initial), self.initial, ()), None
        if units.is_quantity_text(self.initial):
            value, unit = units.to_base(self.initial, what)
            return Expression(self.initial, value, ()), unit
        return expressions.parse(self.initial, what, POSITION), None


@dataclass(frozen=True)
class Reaction:
    """An event that changes species at a rate; on an interface, a flux.

    Parameters
    ----------
    name : str
    compartment : str
        Key of `Model.compartments`: where it happens.
    rate : str or number
        Formula in species, parameters, t (s), x, y, z (um): events per um^3 and s in a region, per um^2 and s on an
        interface or patch.
    change : dict[str, number]
        Species -> by how much one event changes it, so that no sign is ever guessed.

    Examples
    --------
    >>> Reaction("pump", "PM", "v*Ca/(K + Ca)", {"Ca": -1}).change
    {'Ca': -1.0}
    """

    name: str
    compartment: str
    rate: str
    change: dict[str, float]

    def __post_init__(self) -> None:
        _check_text(self.name, "name of a reaction")
        what = f"reaction {self.name!r}"
        _check_text(self.compartment, f"compartment of {what}")
        if units.is_plain(self.rate):
            set_fields(self, rate=repr(units.number(self.rate, f"rate of {what}")))
        expressions.parse(self.rate, f"rate of {what}")
        if not isinstance(self.change, Mapping) or not self.change:
            raise ValueError(
                f'change of {what} should say by how much one event changes each species, such as {{"Ca": -1}}; got '
                f"{self.change!r}"
            )
        change = {name: units.number(value, f"change of {name!r} in {what}") for name, value in self.change.items()}
        bad = [name for name, value in change.items() if not math.isfinite(value)]
        if bad:
            raise ValueError(f"change of {bad[0]!r} in {what} should be finite; got {change[bad[0]]!r}")
        set_fields(self, change=change)


@dataclass(frozen=True)
class Model:
    """Compartments, the species in them and the reactions among them.

    Parameters
    ----------
    compartments : dict[str, str | (str, str)]
        Own name -> a region's name, a pair of region names (their interface, in either order), or a patch's name.
    species : sequence of Species
    reactions : sequence of Reaction
    parameters : dict[str, number, text or pint quantity]
        A text carries its unit ("0.02 um/s", "4"); a plain number is in base units (um, s, molecule).

    Notes
    -----
    A reaction in a region may use the species of that region; one on an interface or patch those on it and those in the
    regions that it touches. Rates are checked for units: a region wants molecule/um^3/s, an interface molecule/um^2/s.
    The check of a reaction is off when one of its parameters, or the initial value (other than 0) of one of its
    species, has no written unit, and when nothing in it has one.

    Whether a text names a region or a patch is only known with the mesh; what depends on that is checked by `bind`.

    Raises
    ------
    ValueError, TypeError
        Anything unknown, given twice, reserved, out of reach or of wrong units; the text names what there is.

    Examples
    --------
    >>> model = Model({"cyt": "cytosol"}, [Species("A", "cyt", initial="1 uM")],
    ...               [Reaction("decay", "cyt", "k*A", {"A": -1})], {"k": "3 1/s"})
    >>> model.parameter_values
    {'k': 3.0}
    """

    compartments: dict[str, Place]
    species: tuple[Species, ...]
    reactions: tuple[Reaction, ...] = ()
    parameters: dict[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_fields(self, compartments=_checked_compartments(self.compartments))
        set_fields(self, species=_checked_items(self.species, Species, "species"))
        set_fields(self, reactions=_checked_items(self.reactions, Reaction, "reactions"))
        set_fields(self, parameters=_checked_parameters(self.parameters, [item.name for item in self.species]))
        for species in self.species:
            self._require_compartment(species.compartment, f"species {species.name!r}")
        dimensions = _known_dimensions(self)
        for reaction in self.reactions:
            self._require_compartment(reaction.compartment, f"reaction {reaction.name!r}")
            check_reaction(self, reaction, dimensions)

    @property
    def parameter_values(self) -> dict[str, float]:
        """Parameters as numbers in base units."""
        return {name: _parameter(name, value)[0] for name, value in self.parameters.items()}

    def rate(self, reaction: Reaction) -> Expression:
        """Return a reaction's rate with the parameters put in; what is left are species, t, x, y and z."""
        known = [*(item.name for item in self.species), *self.parameters, *VARIABLES]
        parsed = expressions.parse(reaction.rate, f"rate of reaction {reaction.name!r}", known)
        try:
            return expressions.substitute(parsed, self.parameter_values)
        except ValueError as error:
            raise ValueError(f"rate of reaction {reaction.name!r} with the parameters' values: {error}") from error

    def _require_compartment(self, name: str, what: str) -> None:
        if name not in self.compartments:
            raise ValueError(
                f"{what} is in compartment {name!r}, which the model does not have; it has "
                f"{', '.join(self.compartments)}"
            )

    def __repr__(self) -> str:
        tables = {
            "compartment": (["place"], [[name, _place_text(place)] for name, place in self.compartments.items()]),
            "species": (
                ["compartment", "diffusion", "initial"],
                [[s.name, s.compartment, _written(s.diffusion), _written(s.initial)] for s in self.species],
            ),
            "reaction": (
                ["compartment", "rate", "change"],
                [[r.name, r.compartment, r.rate, _change_text(r.change)] for r in self.reactions],
            ),
            "parameter": (["value"], [[name, _written(value)] for name, value in self.parameters.items()]),
        }
        counts = [(self.compartments, "compartments"), (self.reactions, "reactions"), (self.parameters, "parameters")]
        head = f"Model: {len(self.species)} species, " + ", ".join(f"{len(items)} {word}" for items, word in counts)
        return "\n".join([head, *(_table([title, *rest], rows) for title, (rest, rows) in tables.items() if rows)])


def check_reaction(model: Model, reaction: Reaction, dimensions: Mapping[str, int]) -> None:
    """Refuse a reaction whose species are out of reach or whose rate has wrong units.

    `dimensions` maps compartments to 3 (region) or 2 (interface or patch); those not yet known are left out of it.
    """
    used = _used_species(model, reaction)
    place = model.compartments[reaction.compartment]
    elsewhere = [item for item in used if item.compartment != reaction.compartment]
    dimension = dimensions.get(reaction.compartment)
    if dimension == REGION and elsewhere:
        raise ValueError(_far_from_region(model, reaction, elsewhere[0]))
    if isinstance(place, tuple):
        for item in elsewhere:
            # A species on a patch of this very interface would be unknown on the rest of it, so patches are out too.
            if model.compartments[item.compartment] not in place:
                raise ValueError(_far_from_interface(model, reaction, item))
    if dimension is None and elsewhere:
        dimension = INTERFACE
    candidates = (REGION, INTERFACE) if dimension is None else (dimension,)
    errors = [_unit_error(model, reaction, candidate, dimensions) for candidate in candidates]
    if all(errors):
        raise ValueError(errors[0])


# --- places ---


def _used_species(model: Model, reaction: Reaction) -> list[Species]:
    species = {item.name: item for item in model.species}
    for name in reaction.change:
        if name not in species:
            raise ValueError(
                f"reaction {reaction.name!r} changes {name!r}, which is not a species of the model; its species are "
                f"{', '.join(species) or '(none)'}"
            )
    names = dict.fromkeys([*model.rate(reaction).names, *reaction.change])
    return [species[name] for name in names if name in species]


def _known_dimensions(model: Model) -> dict[str, int]:
    """Say for each compartment whether it is a region or an interface, as far as that follows without a mesh."""
    regions = {name for place in model.compartments.values() if isinstance(place, tuple) for name in place}
    dimensions = {}
    for name, place in model.compartments.items():
        if isinstance(place, tuple):
            dimensions[name] = INTERFACE
        elif place in regions:
            dimensions[name] = REGION
    for species in model.species:
        check_initial(model, species, dimensions.get(species.compartment))
        _, unit = species.initial_value
        if unit is not None:
            dimensions[species.compartment] = REGION if unit == CONCENTRATION else INTERFACE
    return dimensions


def check_initial(model: Model, species: Species, dimension: int | None) -> None:
    """Refuse an initial value per volume on an interface, and one per area in a region."""
    _, unit = species.initial_value
    if unit is None or dimension is None or unit == _AMOUNTS[dimension]:
        return
    place = _place_text(model.compartments[species.compartment])
    raise ValueError(
        f"initial of species {species.name!r} should be in {_AMOUNTS[dimension]} {_of_kind(dimension)} "
        f"({species.compartment!r}: {place}); got {species.initial!r} in {unit}"
    )


def _far_from_region(model: Model, reaction: Reaction, species: Species) -> str:
    return (
        f"reaction {reaction.name!r} is in region {model.compartments[reaction.compartment]!r} "
        f"(compartment {reaction.compartment!r}), but species {species.name!r} lives in compartment "
        f"{species.compartment!r}; a reaction in a region may use only species of that region; put it on the interface "
        "of the two, or move the species"
    )


def _far_from_interface(model: Model, reaction: Reaction, species: Species) -> str:
    own = model.compartments[species.compartment]
    touching = [name for name, place in model.compartments.items() if isinstance(place, tuple) and own in place]
    return (
        f"reaction {reaction.name!r} is on {model.compartments[reaction.compartment]!r}, which does not touch "
        f"compartment {species.compartment!r} of species {species.name!r}; the interfaces of {species.compartment!r} "
        f"are {', '.join(touching) or '(none in this model)'}"
    )


# --- units ---


def _unit_error(model: Model, reaction: Reaction, dimension: int, dimensions: Mapping[str, int]) -> str:
    """Return what is wrong with the units of a rate if its compartment has this dimension, else an empty text."""
    known = _written_units(model, reaction, dimension, dimensions)
    if known is None:
        return ""
    wanted = _AMOUNTS[dimension] / _SECOND
    parsed = expressions.parse(reaction.rate)
    where = f"{reaction.compartment!r} ({_place_text(model.compartments[reaction.compartment])})"
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


def _written_units(
    model: Model, reaction: Reaction, dimension: int, dimensions: Mapping[str, int]
) -> dict[str, Unit] | None:
    """Return the units of what a rate reads, or None where plain numbers switch the check off."""
    species = {item.name: item for item in model.species}
    known: dict[str, Unit] = dict(_VARIABLE_UNITS)
    any_written = False
    for name in expressions.parse(reaction.rate).names:
        if name in species:
            own = species[name].compartment
            fallback = dimension if own == reaction.compartment else REGION
            known[name] = _AMOUNTS[dimensions.get(own, fallback)]
            initial, written = species[name].initial_value
            # Zero is zero in every unit.
            off = written is None and initial.tree != 0
            any_written |= written is not None
        elif name in model.parameters:
            _, unit = _parameter(name, model.parameters[name])
            off = unit is None
            any_written |= unit is not None
            known[name] = unit or NO_UNIT
        else:
            continue
        if off:
            return None
    return known if any_written else None


def _parameter(name: str, value: float | str) -> tuple[float, Unit | None]:
    if isinstance(value, str):
        return units.to_base(value, f"parameter {name!r}")
    return value, None


def _of_kind(dimension: int) -> str:
    return "in a region" if dimension == REGION else "on an interface"


# --- checks of names and items ---


def _check_symbol(name: Any, what: str) -> None:
    """Refuse a name that a rate could not refer to."""
    if not isinstance(name, str):
        raise TypeError(f"name of a {what} should be a text; got {name!r}")
    if name in VARIABLES or name in FUNCTIONS:
        raise ValueError(
            f"{what} {name!r} has a reserved name; t, x, y, z and the functions {', '.join(FUNCTIONS)} "
            "mean themselves in rates; choose another name"
        )
    # Python's parser normalises identifiers, so a rate would never find the other spelling.
    if not name.isidentifier() or keyword.iskeyword(name) or unicodedata.normalize("NFKC", name) != name:
        usable = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name))
        usable = usable if usable.isidentifier() and not keyword.iskeyword(usable) else f"{what}_{usable}"
        raise ValueError(
            f"{what} {name!r} cannot be written in a rate; use letters, digits and _, not a digit first and no Python "
            f"keyword, such as {usable!r}"
        )


def _check_text(value: Any, what: str) -> None:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{what} should be a text that is not empty; got {value!r}")


def _checked_compartments(compartments: Any) -> dict[str, Place]:
    if not isinstance(compartments, Mapping) or not compartments:
        raise TypeError(
            'compartments should be a dict such as {"cyt": "cytosol", "PM": ("cytosol", "outside")}; got '
            f"{compartments!r}"
        )
    checked: dict[str, Place] = {}
    owners: dict[Any, str] = {}
    for name, place in compartments.items():
        _check_text(name, "name of a compartment")
        checked[name] = _checked_place(name, place)
        key = frozenset(place) if isinstance(checked[name], tuple) else place
        if key in owners:
            raise ValueError(
                f"compartments {owners[key]!r} and {name!r} are the same place, {_place_text(checked[name])}; keep one"
            )
        owners[key] = name
    return checked


def _checked_place(name: str, place: Any) -> Place:
    if place == "outside":
        raise ValueError(f"compartment {name!r} should be a region with tetrahedra; 'outside' has none")
    if isinstance(place, str) and place:
        return place
    if not isinstance(place, (tuple, list)) or len(place) != 2 or not all(isinstance(part, str) for part in place):
        raise TypeError(
            f"compartment {name!r} should be the name of a region or patch, or a pair of regions such as "
            f'("cytosol", "outside"); got {place!r}'
        )
    first, second = place
    if first == second:
        raise ValueError(f"compartment {name!r} should be a pair of two different regions; got {place!r}")
    return first, second


def _checked_items(items: Any, kind: Any, what: str) -> tuple[Any, ...]:
    if isinstance(items, (str, Mapping)) or not isinstance(items, Iterable):
        raise TypeError(f"{what} should be a list of {kind.__name__}(...); got {items!r}")
    checked = tuple(items)
    names = set()
    for item in checked:
        if not isinstance(item, kind):
            raise TypeError(f"{what} should be a list of {kind.__name__}(...); it holds {item!r}")
        if item.name in names:
            raise ValueError(f"{what} should have different names; {item.name!r} is given twice")
        names.add(item.name)
    return checked


def _checked_parameters(parameters: Any, species: list[str]) -> dict[str, float | str]:
    if not isinstance(parameters, Mapping):
        raise TypeError(f'parameters should be a dict such as {{"k": "0.02 um/s"}}; got {parameters!r}')
    checked = {}
    for name, value in parameters.items():
        _check_symbol(name, "parameter")
        if name in species:
            raise ValueError(f"{name!r} is a species and a parameter at once; rename one of them")
        checked[name] = units.plain(value, f"parameter {name!r}")
        if not math.isfinite(_parameter(name, checked[name])[0]):
            raise ValueError(f"parameter {name!r} should be finite; got {value!r}")
    return checked


# --- text ---


def _place_text(place: Place) -> str:
    return place if isinstance(place, str) else " | ".join(place)


def _written(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _change_text(change: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:+g}" for name, value in change.items())


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    )
