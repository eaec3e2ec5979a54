"""Species and reactions: what is simulated, and its checks."""

from __future__ import annotations

import itertools
import keyword
import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from meshcell.core import units
from meshcell.core.arrays import Floats, set_fields
from meshcell.core.units import CONCENTRATION, DENSITY, DIFFUSION, Unit
from meshcell.models import expressions
from meshcell.models.compartments import Place, Well
from meshcell.models.expressions import VARIABLES, Expression
from meshcell.models.formula_trees import ALIASES, CONSTANTS, FUNCTIONS
from meshcell.models.parameters import (
    Course,
    Field,
    Given,
    Table,
    Tensor,
    Varying,
    check_tensors,
    checked_given,
    number_and_unit,
    written,
)


class Described(Protocol):
    """What a model says of itself; its checks and its equations need no more of it."""

    @property
    def compartments(self) -> Mapping[str, Place]: ...
    @property
    def species(self) -> tuple[Species, ...]: ...
    @property
    def reactions(self) -> tuple[Reaction, ...]: ...
    @property
    def parameters(self) -> Mapping[str, Given]: ...
    @property
    def parameter_values(self) -> dict[str, float]: ...
    @property
    def rates(self) -> dict[str, Expression]: ...
    def fixed_formula(self, species: Species, compartment: str, /) -> tuple[Expression, dict[str, Varying]]: ...
    def initial_formula(self, species: Species, /) -> tuple[Expression, dict[str, Varying]]: ...
    def diffusion_formulas(
        self, species: Species, /
    ) -> list[tuple[str | None, list[Expression], dict[str, Varying]]]: ...


@dataclass(frozen=True)
class Species:
    """Something that diffuses and reacts in one compartment.

    Parameters
    ----------
    name : str
        An identifier, because rates refer to it.
    compartment : str
        Key of `Model.compartments`.
    diffusion : number (um^2/s), text, pint quantity, array, Field or dict
        Such as "220 um^2/s"; on an interface the species diffuses along it. Other texts are formulas in x, y, z (um)
        and the model's parameters, so also a parameter's name ("D", "D*(1 - phi)", "1 + 0.1*x"); an array or `Field`
        holds one value per node or cell. For a union of regions or patches a dict may say it for each of them:
        {"cytosol": "D", "psd": "3 um^2/s"}. Where directions differ, as along fibres, it is a tensor: three rows of
        three such numbers or texts, (("D", 0, 0), (0, "D/10", 0), (0, 0, "D/10")), or a `Field` (c, 3, 3) of cells;
        symmetric, no eigenvalue below zero. An interface takes its projection to every facet's plane. Beside
        steep fronts, tensors may take values below zero where edges are long (`stats["undershoot"]`): refine there.
    initial : number, text, pint quantity, array, Field or callable
        A plain number is in molecules/um^3, on an interface molecules/um^2. A text that starts with a number directly
        followed by letters is a quantity with its unit ("0.1 uM", "10 molecule/um^2"); any other text is a formula in
        x, y, z (um) and the model's parameters ("1 + 0.1*x", "A0*exp(-x/L)"), in molecules/um^3 or molecules/um^2
        unless its parameters have units. An array holds one value per node or cell (`Field` gives it a unit); a
        function gets the nodes' positions (m, 3) in um and returns (m,) values.
    fixed : dict[str, number, text, function of time, Table or Field]
        Compartment -> the value that the species is held at there (Dirichlet): on a membrane or patch for a species of
        a region, {"PM": "1 uM"}. Texts are quantities or formulas in t, x, y, z and the model's parameters. Where two
        parts meet the first one holds; initial values give way. Reactions do not change the species there.
    signed : bool
        Whether it is no concentration but a potential, a deviation or any other quantity that may be below zero.
        Then `initial` may have any unit ("-65 mV", "0.1 dimensionless"), which is the unit of its fixed values and, per
        s, of the rates that change it (times um on an interface of its region); a plain number switches the check off.
        Values are in base units: mV for potentials. Without it, a species whose initial values go below zero is taken
        for a signed one, and one that gets there is refused or, with a warning, taken for one.

    Raises
    ------
    ValueError, TypeError
        Reserved or unusable names, negative or wrongly dimensioned diffusion, an initial value of another dimension.

    Examples
    --------
    >>> Species("Ca", "cyt", diffusion="220 um^2/s", initial="0.1 uM")
    Species(name='Ca', compartment='cyt', diffusion='220 um^2/s', initial='0.1 uM', fixed={}, signed=False)
    """

    name: str
    compartment: str
    diffusion: float | str | Tensor | Field | Floats | Mapping[str, Any] = 0.0
    initial: float | str | Field | Callable[[Floats], Floats] | Floats = 0.0
    fixed: Mapping[str, Given] = field(default_factory=dict)
    signed: bool = False

    def __post_init__(self) -> None:
        check_symbol(self.name, "species")
        what = f"species {self.name!r}"
        check_text(self.compartment, f"compartment of {what}")
        set_fields(self, diffusion=_checked_diffusion(self.diffusion, f"diffusion of {what}"))
        set_fields(self, initial=_checked_initial(self.initial, f"initial of {what}"))
        set_fields(self, fixed=_checked_fixed(self.fixed, what))
        if not isinstance(self.signed, (bool, np.bool_)):
            raise TypeError(f"signed of {what} should be True or False; got {self.signed!r}")
        check_amount(self, self.initial_unit)
        if isinstance(self.initial, str) and self.initial_unit is None and not self.starts_at_zero:
            self._explain_initial()

    @property
    def diffusion_constant(self) -> float | None:
        """Diffusion coefficient in um^2/s, None where it is not written as one number."""
        return _constant(self.diffusion, f"diffusion of species {self.name!r}")

    @property
    def initial_unit(self) -> Unit | None:
        """Unit of the initial value, None where none was written with it."""
        if isinstance(self.initial, Field):
            return number_and_unit(self.initial, f"initial of species {self.name!r}")[1]
        return self.initial_formula[1] if isinstance(self.initial, (float, str)) else None

    @cached_property
    def initial_formula(self) -> tuple[Expression, Unit | None]:
        """Initial value, where it is a number or text, as a formula, and the unit of a quantity."""
        what = f"initial of species {self.name!r}"
        if isinstance(self.initial, float):
            if not math.isfinite(self.initial):
                raise ValueError(f"{what} should be finite; got {self.initial!r}")
            return Expression(str(self.initial), self.initial, ()), None
        text = str(self.initial)
        if units.is_quantity_text(text):
            value, unit = units.to_base(text, what)
            return Expression(text, value, ()), unit
        return expressions.parse(text, what), None

    def _explain_initial(self) -> None:
        """Warn of a number in quotes without a unit: as it comes from a table or form, often in uM."""
        formula = self.initial_formula[0]
        if isinstance(formula.tree, float):
            micromolar = formula.tree / units.to_base("1 uM", "uM")[0]
            warnings.warn(
                f"initial of species {self.name!r} is {self.initial!r} without a unit, taken as {formula.tree:g} "
                f'molecules/um^3 = {micromolar:.3g} uM (molecules/um^2 on an interface); write "{self.initial} uM", or '
                f"the number {formula.tree:g} without quotes if that is meant",
                stacklevel=4,
            )

    @property
    def starts_at_zero(self) -> bool:
        """Tell whether the initial value is zero, which it is in every unit."""
        return isinstance(self.initial, (float, str)) and self.initial_formula[0].tree == 0


@dataclass(frozen=True, init=False)
class Pool(Species):
    """Something well mixed in a volume that is not in the mesh: one value for all, as a bath, a reservoir or the rest.

    It is a species with a compartment of its own, of the same name. Rates anywhere may read it, and reactions anywhere
    may change it: what an interface or a region brings is added up over it. Reactions in its own compartment are per
    um^3 of the pool.

    Parameters
    ----------
    name : str
    volume : number (um^3), text or pint quantity
        Such as "0.1 um^3" or "2 fl".
    initial : number (molecules/um^3), text or pint quantity
        Such as "1 mM"; texts may be formulas in the model's parameters.
    signed : bool
        As of a `Species`.

    Raises
    ------
    ValueError, TypeError
        A volume that is missing or not positive; names and initial values as `Species`.

    Examples
    --------
    >>> Pool("ATP", volume="0.5 um^3", initial="1 mM").place
    Well(volume=0.5)
    """

    compartment: str = field(init=False, repr=False)
    diffusion: Any = field(init=False, repr=False)
    fixed: Any = field(init=False, repr=False)
    volume: float | str = 0.0

    def __init__(self, name: str, volume: Any = None, initial: Any = 0.0, signed: bool = False) -> None:
        set_fields(self, name=name, compartment=name, diffusion=0.0, fixed={}, initial=initial, signed=signed)
        set_fields(self, volume=volume)
        self.__post_init__()

    def __post_init__(self) -> None:
        super().__post_init__()
        what = f"initial of pool {self.name!r}"
        if callable(self.initial) or isinstance(self.initial, Field):
            raise TypeError(f"{what} should be one number, as it has no places; got {self.initial!r}")
        if self.volume is None:
            raise ValueError(f'pool {self.name!r} needs its volume, such as volume="0.5 um^3"; got none')
        set_fields(self, volume=units.plain(self.volume, f"volume of pool {self.name!r}"))
        _ = self.place

    @property
    def place(self) -> Well:
        """Where it is: nowhere, in so many um^3."""
        what = f"volume of pool {self.name!r}"
        volume = units.convert(self.volume, "um^3", what)
        if not 0 < volume < math.inf:
            raise ValueError(f'{what} should be positive and finite, such as "0.5 um^3"; got {self.volume!r}')
        return Well(volume)


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
        interface or patch. mean(A) and total(A) are the mean and the molecules of a species in its compartment,
        mean(A, "PM") those in another where it has values; pools and these may be read anywhere.
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
        check_text(self.name, "name of a reaction")
        what = f"reaction {self.name!r}"
        check_text(self.compartment, f"compartment of {what}")
        if units.is_plain(self.rate):
            set_fields(self, rate=repr(units.number(self.rate, f"rate of {what}")))
        # Refused now if it is no formula.
        _ = self.formula
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

    @cached_property
    def formula(self) -> Expression:
        """The rate as it is written, parsed."""
        return expressions.parse(self.rate, f"rate of reaction {self.name!r}")


def check_symbol(name: Any, what: str) -> None:
    """Refuse a name that a rate could not refer to."""
    if not isinstance(name, str):
        raise TypeError(f"name of a {what} should be a text; got {name!r}")
    if name in (*VARIABLES, *FUNCTIONS, *ALIASES, *CONSTANTS):
        raise ValueError(
            f"{what} {name!r} has a reserved name; t, x, y, z, pi and the functions "
            f"{', '.join((*FUNCTIONS, *ALIASES))} mean themselves in rates; choose another name"
        )
    # Python's parser normalises identifiers, so a rate would never find the other spelling.
    if not name.isidentifier() or keyword.iskeyword(name) or unicodedata.normalize("NFKC", name) != name:
        usable = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name))
        usable = usable if usable.isidentifier() and not keyword.iskeyword(usable) else f"{what}_{usable}"
        raise ValueError(
            f"{what} {name!r} cannot be written in a rate; use letters, digits and _, not a digit first and no Python "
            f"keyword, such as {usable!r}"
        )


def check_text(value: Any, what: str) -> None:
    """Refuse anything but a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{what} should be a text that is not empty; got {value!r}")


def check_amount(species: Species, unit: Unit | None) -> None:
    """Refuse an initial value that is no concentration, unless the species is signed."""
    if not species.signed and unit not in (None, CONCENTRATION, DENSITY):
        raise ValueError(
            f"initial of species {species.name!r} should be in {CONCENTRATION} (or uM), on an interface {DENSITY}; got "
            f"{species.initial!r} in {unit}; for a potential or a deviation say signed=True"
        )


def diffusion_parts(species: Species) -> list[tuple[str | None, Any]]:
    """List the parts of a species' compartment and what is given for them; None stands for the whole of it."""
    return list(species.diffusion.items()) if isinstance(species.diffusion, Mapping) else [(None, species.diffusion)]


def diffusion_text(species: Species, part: str | None) -> str:
    """Name a diffusion coefficient in errors."""
    return f"diffusion of species {species.name!r}" + ("" if part is None else f" in {part!r}")


def diffusion_numbers(species: Species) -> list[tuple[str | None, list[tuple[str, Any]]]]:
    """List the parts of a species' compartment and the numbers given for them, by their names in errors."""
    return [(part, _entries(value, diffusion_text(species, part))) for part, value in diffusion_parts(species)]


def _entries(value: Any, what: str) -> list[tuple[str, Any]]:
    """List what is given for a part: itself, or a tensor's nine entries row by row."""
    if not isinstance(value, tuple):
        return [(what, value)]
    axes = itertools.product(range(3), range(3))
    return [(f"entry {'xyz'[i]}{'xyz'[j]} of {what}", value[i][j]) for i, j in axes]


def written_diffusion(diffusion: Any) -> str:
    """Write a diffusion coefficient for a table."""
    if isinstance(diffusion, Mapping):
        return ", ".join(f"{part}: {written(value)}" for part, value in diffusion.items())
    return written(diffusion)


def _constant(diffusion: Any, what: str) -> float | None:
    if isinstance(diffusion, float) or (isinstance(diffusion, str) and units.is_quantity_text(diffusion)):
        return units.convert(diffusion, "um^2/s", what)
    return None


def _checked_diffusion(diffusion: Any, what: str, *, in_parts: bool = True) -> Any:
    if isinstance(diffusion, Mapping) and in_parts:
        if not diffusion:
            raise ValueError(f'{what} should name the parts of the compartment, such as {{"cytosol": 10}}; got {{}}')
        return {
            part: _checked_diffusion(value, f"{what} in {part!r}", in_parts=False) for part, value in diffusion.items()
        }
    if isinstance(diffusion, (Table, Course)) or callable(diffusion):
        raise TypeError(
            f"{what} cannot be a function; give a number, a formula in x, y, z, or a Field; got {diffusion!r}"
        )
    if isinstance(diffusion, (list, tuple)) or np.ndim(getattr(diffusion, "magnitude", diffusion)) == 2:
        return _checked_tensor(diffusion, what)
    checked = checked_given(diffusion, what, tensors=True)
    if isinstance(checked, Field):
        return _checked_field(checked, what)
    constant = _constant(checked, what)
    if constant is not None and not 0 <= constant < math.inf:
        raise ValueError(f"{what} should be at least 0 um^2/s and finite; got {checked!r}")
    if constant is None:
        # Refused now if it is no formula.
        expressions.parse(str(checked), what)
    return checked


def _checked_field(field: Field, what: str) -> Field:
    unit = number_and_unit(field, what)[1]
    if unit not in (None, DIFFUSION):
        raise ValueError(f"{what} should be in {DIFFUSION}; got a Field in {unit}")
    if field.values.ndim == 3:
        check_tensors(field.in_base, what, lambda row: f" in row {row} of its Field")
    elif (low := float(field.values.min(initial=0))) < 0:
        raise ValueError(f"{what} should be at least 0 um^2/s; got a Field with {low:g}")
    return field


def _checked_tensor(given: Any, what: str) -> Tensor:
    """Return the rows of a tensor as numbers and texts; one of numbers alone is checked here, others by the model."""
    rows = [list(row) if np.iterable(row) and not isinstance(row, str) else [row] for row in given]
    if [len(row) for row in rows] != [3, 3, 3]:
        raise ValueError(
            f"{what} should be a number, a text, a Field, or three rows of three, such as (('D', 0, 0), (0, 'D', 0), "
            f"(0, 0, 'D/10')); got rows of {', '.join(str(len(row)) for row in rows) or 'nothing'}"
        )
    found, constants = [], []
    for name, entry in _entries(tuple(map(tuple, rows)), what):
        entry = units.plain(entry, name)
        constants.append(_constant(entry, name))
        if constants[-1] is None:
            expressions.parse(str(entry), name)
        elif not math.isfinite(constants[-1]):
            raise ValueError(f"{name} should be finite; got {entry!r}")
        found.append(entry)
    if None not in constants:
        check_tensors(np.array(constants, float).reshape(1, 3, 3), what, lambda _: "")
    return tuple(tuple(found[k : k + 3]) for k in (0, 3, 6))


def _checked_initial(initial: Any, what: str) -> Any:
    if callable(initial) and not isinstance(initial, (Table, Course)):
        return initial
    if isinstance(initial, (Field, np.ndarray)) or np.ndim(getattr(initial, "magnitude", 0)):
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
