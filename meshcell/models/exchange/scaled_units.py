"""Units with their scale: those of SBML files as vectors that linear algebra can work with, and as texts of ours."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshcell.core import units
from meshcell.core.units import BASE_UNITS, Unit

NAMES = tuple(BASE_UNITS.values())
# Logarithms of scales are compared with this tolerance.
NEAR = 1e-9
# SBML's kind of unit -> ours; the others have the same name.
_KINDS = {
    "mole": "mol",
    "litre": "l",
    "liter": "l",
    "metre": "m",
    "meter": "m",
    "second": "s",
    "item": "molecule",
    **dict.fromkeys(("dimensionless", "radian", "steradian"), ""),
    **dict.fromkeys(("hertz", "becquerel"), "s^-1"),
    "lumen": "candela",
}


@dataclass(frozen=True)
class Scaled:
    """A unit and its scale: log10 of its size in base units, then the powers of the base units.

    Examples
    --------
    >>> print((Scaled.of("uM") / Scaled.of("min")).text())
    uM/min
    """

    log: float = 0.0
    unit: Unit = units.NO_UNIT

    @classmethod
    def of(cls, text: str) -> Scaled:
        """Read a unit such as "umol" or "um^3"."""
        size, unit = units.of_one(text, "unit")
        return cls(math.log10(size), unit)

    @classmethod
    def of_vector(cls, vector: tuple[float, ...]) -> Scaled:
        """Make a unit of its numbers."""
        powers = {name: round(power, 9) for name, power in zip(NAMES, vector[1:], strict=True)}
        return cls(vector[0] if abs(vector[0]) > NEAR else 0.0, Unit.of(**powers))

    @property
    def vector(self) -> tuple[float, ...]:
        """(8,) floats: the logarithm of the scale and the powers of the base units."""
        powers = dict(self.unit.powers)
        return (self.log, *(powers.get(name, 0.0) for name in NAMES))

    @property
    def size(self) -> float:
        """The unit in base units."""
        return float(f"{10**self.log:.15g}")

    def __mul__(self, other: Scaled) -> Scaled:
        return Scaled(self.log + other.log, self.unit * other.unit)

    def __truediv__(self, other: Scaled) -> Scaled:
        return Scaled(self.log - other.log, self.unit / other.unit)

    def __pow__(self, exponent: float) -> Scaled:
        return Scaled(self.log * exponent, self.unit**exponent)

    @property
    def can_be_written(self) -> bool:
        """Whether the powers are decimal numbers, which a text holds exactly."""
        return all(is_short(power) for _, power in self.unit.powers)

    def near(self, other: Scaled) -> bool:
        """Tell whether two units are the same."""
        return self.unit == other.unit and abs(self.log - other.log) < NEAR

    def text(self) -> str | None:
        """Write the unit as `units.to_base` reads it, "" for a pure number; None where no usual unit has its size."""
        return _text(round(self.log, 9), self.unit)

    def quantity(self, value: float) -> str:
        """Write a value in this unit, or in base units where the unit has no name.

        Examples
        --------
        >>> Scaled.of("mM").quantity(2), Scaled().quantity(2.0), Scaled.of("7 um").quantity(2.0)
        ('2 mM', '2', '14 um')
        """
        text = self.text()
        if text is None:
            value, text = float(f"{value * 10**self.log:.15g}"), str(self.unit)
            text = "" if self.unit == units.NO_UNIT else text
        # Whole numbers are written without their point.
        return f"{repr(float(value)).removesuffix('.0')} {text}".strip()


def is_short(power: float) -> bool:
    """Tell whether a power has so few digits that a unit's text holds it exactly."""
    return abs(round(power, 3) - power) < 1e-12


def definition(kind: str, exponent: float, scale: float, multiplier: float) -> Scaled:
    """Return one unit of an SBML unit definition, (multiplier * 10^scale * kind)^exponent.

    Examples
    --------
    >>> print(definition("second", -1, 0, 60).text())
    1/min
    """
    if kind == "avogadro":
        return Scaled(math.log10(6.02214076e23 * multiplier) + scale) ** exponent
    return (Scaled(math.log10(multiplier) + scale) * _kind(kind)) ** exponent


@functools.cache
def _kind(kind: str) -> Scaled:
    return Scaled.of(_KINDS.get(kind, kind))


def model_unit(text: Any, what: str) -> Scaled:
    """Read a unit that the caller gave, by SBML's words or ours.

    Raises
    ------
    ValueError
        No unit.
    """
    if text in _KINDS:
        return _kind(text)
    size, unit = units.of_one(text, f"unit of {what}")
    return Scaled(math.log10(size), unit)


# --- texts ---

_SUBSTANCES = ("molecule", "umol", "nmol", "mol", "mmol", "pmol")
_CONCENTRATIONS = ("uM", "nM", "mM", "M", "pM")
_LENGTHS = ("um", "m", "cm", "nm", "mm")
_VOLUMES = ("l", "ml", "ul", "nl", "pl")
_TIMES = ("s", "min", "ms", "h")


@functools.lru_cache(maxsize=4096)
def _text(log: float, unit: Unit) -> str | None:
    powers = dict(unit.powers)
    if set(powers) - {"molecule", "um", "s"}:
        return None if abs(log) > NEAR else str(unit)
    n, length, time = (powers.get(name, 0.0) for name in ("molecule", "um", "s"))
    if not powers:
        return "" if abs(log) < NEAR else None
    spaces = _spaces(n, length)
    for (space, space_log), last in itertools.product(spaces.items(), _TIMES if time else ("s",)):
        if abs(space_log + time * _log(last) - log) < NEAR:
            return _product([*space, (last, time)])
    return None


def _spaces(n: float, length: float) -> Mapping[tuple[tuple[str, float], ...], float]:
    """Return products that have these powers of molecules and um, and the logarithms of their sizes."""
    options: list[tuple[tuple[str, float], ...]] = []
    if n and length == -3 * n:
        options += [((name, n),) for name in _CONCENTRATIONS]
    lengths: list[tuple[str, float]] = [(name, length) for name in _LENGTHS]
    if length % 3 == 0:
        lengths = [lengths[0], *((name, length / 3) for name in _VOLUMES), *lengths[1:]]
    options += [((a, n), b) for b in (lengths if length else lengths[:1]) for a in (_SUBSTANCES if n else ("mol",))]
    return {option: sum(power * _log(name) for name, power in option) for option in options}


@functools.cache
def _log(name: str) -> float:
    return Scaled.of(name).log


def _product(powers: list[tuple[str, float]]) -> str:
    above = "*".join(_power(name, power) for name, power in powers if power > 0)
    below = "".join("/" + _power(name, -power) for name, power in powers if power < 0)
    return (above or "1") + below


def _power(name: str, power: float) -> str:
    return name if power == 1 else f"{name}^{power:g}"
