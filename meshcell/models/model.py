"""Species, reactions and models: what is simulated, checked for consistency and units before any mesh is there.

A model holds only texts, numbers, tuples and dicts, as its author wrote them; `bind` turns it into arrays over a mesh.
"""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from meshcell import events, expressions, units
from meshcell.binding import BoundCompartment, BoundReaction, BoundSpecies, System, bind
from meshcell.consistency import (
    POSITION,
    VARIABLES,
    check_fixed,
    check_reaction,
    fixed_text,
    known_dimensions,
    parameter,
)
from meshcell.equations import latex, table
from meshcell.expressions import Expression
from meshcell.parameters import Course, Field, Given, Table, Varying, checked_given, number_and_unit
from meshcell.places import Place, checked_place, place_key, place_text
from meshcell.trees import FUNCTIONS
from meshcell.types import Floats, set_fields
from meshcell.units import CONCENTRATION, DENSITY, Unit

__all__ = ["BoundCompartment", "BoundReaction", "BoundSpecies", "Model", "Reaction", "Species", "System", "bind"]


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
    initial : number, text, pint quantity, array, Field or callable
        A plain number is in molecules/um^3, on an interface molecules/um^2. A text that starts with a number directly
        followed by letters is a quantity with its unit ("0.1 uM", "10 molecule/um^2"); any other text is a formula in
        x, y, z (um) whose value is in molecules/um^3 or molecules/um^2 ("1 + 0.1*x"). An array holds one value per
        node or cell (`Field` gives it a unit); a function gets the nodes' positions (m, 3) in um and returns (m,)
        values. It may be negative, as a membrane potential is.
    fixed : dict[str, number, text, function of time, Table or Field]
        Compartment -> the value that the species is held at there (Dirichlet): on a membrane or patch for a species of
        a region, {"PM": "1 uM"}. Texts are quantities or formulas in t, x, y, z and the model's parameters. Where two
        parts meet the first one holds; initial values give way. Reactions do not change the species there.

    Raises
    ------
    ValueError, TypeError
        Reserved or unusable names, negative or wrongly dimensioned diffusion, an initial value of another dimension.

    Examples
    --------
    >>> Species("Ca", "cyt", diffusion="220 um^2/s", initial="0.1 uM")
    Species(name='Ca', compartment='cyt', diffusion='220 um^2/s', initial='0.1 uM', fixed={})
    """

    name: str
    compartment: str
    diffusion: float | str = 0.0
    initial: float | str | Field | Callable[[Floats], Floats] | Floats = 0.0
    fixed: Mapping[str, Given] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_symbol(self.name, "species")
        what = f"species {self.name!r}"
        _check_text(self.compartment, f"compartment of {what}")
        set_fields(self, diffusion=units.plain(self.diffusion, f"diffusion of {what}"))
        set_fields(self, initial=_checked_initial(self.initial, f"initial of {what}"))
        set_fields(self, fixed=_checked_fixed(self.fixed, what))
        if not 0 <= self.diffusion_constant < math.inf:
            raise ValueError(f"diffusion of {what} should be at least 0 um^2/s and finite; got {self.diffusion!r}")
        unit = self.initial_unit
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
    def initial_unit(self) -> Unit | None:
        """Unit of the initial value, None where none was written."""
        if isinstance(self.initial, Field):
            return number_and_unit(self.initial, f"initial of species {self.name!r}")[1]
        return self.initial_formula[1] if isinstance(self.initial, (float, str)) else None

    @property
    def initial_formula(self) -> tuple[Expression, Unit | None]:
        """Initial value, where it is a number or text, as a formula in x, y, z in base units, and its unit."""
        what = f"initial of species {self.name!r}"
        if isinstance(self.initial, float):
            if not math.isfinite(self.initial):
                raise ValueError(f"{what} should be finite; got {self.initial!r}")
            return Expression(str(self.initial), self.initial, ()), None
        text = str(self.initial)
        if units.is_quantity_text(text):
            value, unit = units.to_base(text, what)
            return Expression(text, value, ()), unit
        return expressions.parse(text, what, POSITION), None

    @property
    def starts_at_zero(self) -> bool:
        """Tell whether the initial value is zero, which it is in every unit."""
        return isinstance(self.initial, (float, str)) and self.initial_formula[0].tree == 0


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
    compartments : dict[str, str | (str, str) | ((str, str), ...)]
        Own name -> a region's name, a pair of region names (their interface, in either order), or a patch's name. A
        union is written "cytosol + psd", also within a pair; interfaces may also be listed pair by pair.
    species : sequence of Species
    reactions : sequence of Reaction
    parameters : dict[str, number, text, pint quantity, function of time, Table, Course, array or Field]
        A text carries its unit ("0.02 um/s", "4"); a plain number is in base units (um, s, molecule). A function gets t
        in s; a `Table` interpolates between times; an array has one value per node or cell of the compartments of the
        reactions that use it. `Course` and `Field` give functions and arrays a unit.

    Notes
    -----
    A reaction in a region may use the species that live all over that region; one on an interface or patch those on it
    and those in the regions that it touches. Rates are checked for units: a region wants molecule/um^3/s, an interface
    molecule/um^2/s. The check of a reaction is off when one of its parameters, or the initial value (other than 0) of
    one of its species, has no written unit, and when nothing in it has one.

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
    parameters: dict[str, Given] = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_fields(self, compartments=_checked_compartments(self.compartments))
        set_fields(self, species=_checked_items(self.species, Species, "species"))
        set_fields(self, reactions=_checked_items(self.reactions, Reaction, "reactions"))
        set_fields(self, parameters=_checked_parameters(self.parameters, [item.name for item in self.species]))
        for species in self.species:
            self._require_compartment(species.compartment, f"species {species.name!r}")
            for name in species.fixed:
                self._require_compartment(name, f"fixed value of species {species.name!r}")
        dimensions = known_dimensions(self)
        for reaction in self.reactions:
            self._require_compartment(reaction.compartment, f"reaction {reaction.name!r}")
            check_reaction(self, reaction, dimensions)
        for species in self.species:
            for name in species.fixed:
                check_fixed(self, species, name, dimensions)

    @property
    def parameter_values(self) -> dict[str, float]:
        """Parameters that are one number each, in base units."""
        numbers = {name: parameter(name, value)[0] for name, value in self.parameters.items()}
        return {name: value for name, value in numbers.items() if value is not None}

    @property
    def varying(self) -> dict[str, Varying]:
        """Parameters that change in time or space."""
        return {name: given for name, given in self.parameters.items() if isinstance(given, (Table, Course, Field))}

    @property
    def events(self) -> tuple[float, ...]:
        """Times (s) at which something jumps or bends: kinks of tables, switches such as heaviside(t - t0) in rates."""
        given = [*self.varying.values(), *(value for item in self.species for value in item.fixed.values())]
        formulas = [self.rate(reaction) for reaction in self.reactions]
        formulas += [self.fixed_formula(item, name)[0] for item in self.species for name in item.fixed]
        return events.of(given, formulas)

    def rate(self, reaction: Reaction) -> Expression:
        """Return a reaction's rate with the numbers put in; left are species, varying parameters, t, x, y and z."""
        known = [*(item.name for item in self.species), *self.parameters, *VARIABLES]
        what = f"rate of reaction {reaction.name!r}"
        return self._with_numbers(expressions.parse(reaction.rate, what, known), what)

    def fixed_formula(self, species: Species, compartment: str) -> tuple[Expression, dict[str, Varying]]:
        """Return a fixed value as a formula of t, x, y, z and varying names, and what those stand for."""
        value, what = species.fixed[compartment], fixed_text(species, compartment)
        if isinstance(value, (Table, Course, Field)):
            return Expression("given", "given", ("given",)), {"given": value}
        if isinstance(value, float) or units.is_quantity_text(value):
            number = number_and_unit(value, what)[0]
            assert number is not None
            return Expression(str(value), number, ()), {}
        parsed = expressions.parse(value, what, [*self.parameters, *VARIABLES])
        return self._with_numbers(parsed, what), self.varying

    def latex(self) -> str:
        """Write the equations of the model in LaTeX: every compartment's equations and what crosses its membranes."""
        return latex(self)

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex()}\n$$"

    def _with_numbers(self, parsed: Expression, what: str) -> Expression:
        try:
            return expressions.substitute(parsed, self.parameter_values)
        except ValueError as error:
            raise ValueError(f"{what} with the parameters' values: {error}") from error

    def _require_compartment(self, name: str, what: str) -> None:
        if name not in self.compartments:
            raise ValueError(
                f"{what} is in compartment {name!r}, which the model does not have; it has "
                f"{', '.join(self.compartments)}"
            )

    def __repr__(self) -> str:
        return table(self)


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
        checked[name] = checked_place(name, place)
        key = place_key(checked[name])
        if key in owners:
            raise ValueError(
                f"compartments {owners[key]!r} and {name!r} are the same place, {place_text(checked[name])}; keep one"
            )
        owners[key] = name
    return checked


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


def _checked_parameters(parameters: Any, species: list[str]) -> dict[str, Given]:
    if not isinstance(parameters, Mapping):
        raise TypeError(f'parameters should be a dict such as {{"k": "0.02 um/s"}}; got {parameters!r}')
    checked = {}
    for name, value in parameters.items():
        _check_symbol(name, "parameter")
        if name in species:
            raise ValueError(f"{name!r} is a species and a parameter at once; rename one of them")
        checked[name] = checked_given(value, f"parameter {name!r}")
        number = parameter(name, checked[name])[0]
        if number is not None and not math.isfinite(number):
            raise ValueError(f"parameter {name!r} should be finite; got {value!r}")
    return checked


def _checked_initial(initial: Any, what: str) -> Any:
    if isinstance(initial, Field) or (callable(initial) and not isinstance(initial, (Table, Course))):
        return initial
    if isinstance(initial, np.ndarray) or np.ndim(getattr(initial, "magnitude", 0)):
        return checked_given(initial, what)
    return units.plain(initial, what)


def _checked_fixed(fixed: Any, what: str) -> dict[str, Given]:
    if not isinstance(fixed, Mapping):
        raise TypeError(f'fixed of {what} should be a dict such as {{"PM": "1 uM"}}; got {fixed!r}')
    checked = {name: checked_given(value, f"fixed value of {what} on {name!r}") for name, value in fixed.items()}
    for name, value in checked.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"fixed value of {what} on {name!r} should be finite; got {value!r}")
    return checked
