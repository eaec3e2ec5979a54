"""Units at the door, floats inside: text or pint quantities become plain numbers in um, s and molecules.

Moles and molecules are one dimension (1 mol = 6.02214076e23 molecules), so 1 uM = 602.214076 molecules/um^3.
"""

from __future__ import annotations

import ast
import functools
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

# In this order they are written. With currents in nA potentials come in mV; the last two are for quotients.
BASE_UNITS = {
    "[substance]": "molecule",
    "[length]": "um",
    "[time]": "s",
    "[mass]": "kg",
    "[current]": "nA",
    "[temperature]": "K",
    "[luminosity]": "cd",
}

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_POWER = r"[+-]?\d{1,2}(?:\.\d{1,6})?"
# Small single exponents only: pint would compute 9^9^9^9 to the last digit.
_UNIT_TOKEN = re.compile(
    rf"(?:\^|\*\*)\s*(?:{_POWER}|\(\s*{_POWER}\s*\))(?!\s*(?:\^|\*\*|\d|[⁰¹²³⁴-⁹]))"
    r"|[⁻⁺]?[⁰¹²³⁴-⁹]{1,2}(?!\s*(?:\^|\*\*|[⁰¹²³⁴-⁹]))|[^\W\d⁰¹²³⁴-⁹][^\W⁰¹²³⁴-⁹]*|\d{1,9}(?:\.\d{1,9})?"
    r"|\*(?!\*)|[\s/·()%°]"
)
_QUANTITY = re.compile(rf"\s*({_NUMBER})(.*)", re.DOTALL)
# Atomic, so that "1e3" cannot be read as 1 followed by letters.
_FIRST_LETTER = re.compile(rf"\s*(?>{_NUMBER})\s*[^\W\d]")
_AMPERE = re.compile(r"(?<![^\W\d_])A(?![^\W\d_])")
# To pint a blank multiplies. What else may follow the number of a quantity: 1/s, (uM*s), *10^3, /(2 s).
_EXPONENT = re.compile(rf"(?:\^|\*\*)\s*\(?\s*{_POWER}")
_OPERATOR = re.compile(r"[\s(]*([/*·])[\s(]*")
_ANOTHER_NUMBER = re.compile(r"(?<![\w.⁰¹²³⁴-⁹/*·])(?!1/\D)\.?\d")
_SYMBOL, _BETWEEN = r"\s*((?:(?!x\s*[-+.\d])[^\W\d_])*)", r"(?:\s*[,;x\u00d7*]\s*|\s+)"
_THREE = re.compile(rf"\s*({_NUMBER}){_SYMBOL}{_BETWEEN}({_NUMBER}){_SYMBOL}{_BETWEEN}({_NUMBER}){_SYMBOL}\s*")
# pint knows the printer's pixel, 1/96 inch.
_PIXEL = re.compile(r"[^\W\d]*(?:pixel|voxel)s?|(?<![^\W\d])(?:px|vx|dots?)(?![^\W\d])", re.IGNORECASE)
_EXAMPLES = '"8 nm", "220 um^2/s", "0.1 uM", "30 molecule/um^2/s"'


@dataclass(frozen=True)
class Unit:
    """A product of powers of the base units; what the unit algebra of rates computes with.

    Parameters
    ----------
    powers : tuple of (base unit, exponent)
        As made by `Unit.of`: in the order of BASE_UNITS, without exponents of zero.

    Examples
    --------
    >>> str(Unit.of(molecule=1, um=-3) / Unit.of(s=1)), str(Unit.of(um=2) ** 0.5), str(Unit.of())
    ('molecule/um^3/s', 'um', 'no unit')
    """

    powers: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, **powers: float) -> Unit:
        """Make a unit from exponents: `Unit.of(um=2, s=-1)`."""
        # Rounded, so that (um^0.1)^10 is um again.
        rounded = {name: round(power, 9) for name, power in powers.items()}
        return cls(tuple((name, rounded[name]) for name in BASE_UNITS.values() if rounded.get(name)))

    def __mul__(self, other: Unit) -> Unit:
        powers = dict(self.powers)
        for name, power in other.powers:
            powers[name] = powers.get(name, 0.0) + power
        return Unit.of(**powers)

    def __truediv__(self, other: Unit) -> Unit:
        return self * other**-1

    def __pow__(self, exponent: float) -> Unit:
        return Unit.of(**{name: power * exponent for name, power in self.powers})

    def __str__(self) -> str:
        if not self.powers:
            return "no unit"
        powers = _with_potentials(self)
        above = "*".join(_power_text(name, power) for name, power in powers if power > 0)
        below = "".join("/" + _power_text(name, -power) for name, power in powers if power < 0)
        return (above or "1") + below


NO_UNIT = Unit()
CONCENTRATION = Unit.of(molecule=1, um=-3)
DENSITY = Unit.of(molecule=1, um=-2)
DIFFUSION = Unit.of(um=2, s=-1)
POTENTIAL = Unit.of(um=2, s=-3, kg=1, nA=-1)  # mV

_MICRO, _MOLES = Fraction(1, 10**6), Fraction(602214076 * 10**15)
# What models are usually written in, in base units and exactly, so that 8 nm is the float nearest to 0.008. All else is
# known to pint, which takes half a second to load. Each µ is the letter that Python's parser makes of the other one.
_PREFIXES = {"": Fraction(1), "m": 1000 * _MICRO, "u": _MICRO, "μ": _MICRO, "n": _MICRO / 1000, "p": _MICRO**2}
_USUAL = {
    prefix + symbol: (scale * size, unit)
    for prefix, scale in _PREFIXES.items()
    for symbol, size, unit in (
        ("m", Fraction(10**6), Unit.of(um=1)),
        ("s", Fraction(1), Unit.of(s=1)),
        ("mol", _MOLES, Unit.of(molecule=1)),
        ("l", Fraction(10**15), Unit.of(um=3)),
        ("M", _MOLES / 10**15, Unit.of(molecule=1, um=-3)),
        ("V", Fraction(1000), POTENTIAL),
        ("A", Fraction(10**9), Unit.of(nA=1)),
    )
} | {
    "cm": (Fraction(10**4), Unit.of(um=1)),
    "min": (Fraction(60), Unit.of(s=1)),
    "h": (Fraction(3600), Unit.of(s=1)),
    "molecule": (Fraction(1), Unit.of(molecule=1)),
    "molecules": (Fraction(1), Unit.of(molecule=1)),
}


def _with_potentials(unit: Unit) -> tuple[tuple[str, float], ...]:
    """Return the powers of a unit, those that make up potentials as powers of mV."""
    mass = dict(unit.powers).get("kg", 0.0)
    if not mass or dict(unit.powers).get("nA") != -mass:
        return unit.powers
    return (("mV", mass), *(unit / POTENTIAL**mass).powers)


@functools.cache
def registry() -> Any:
    """Return the package's one pint registry; its molecule is mol / 6.02214076e23 and uM is micromol per litre."""
    import pint

    return pint.UnitRegistry()


def convert(value: Any, unit: str, what: str) -> float:
    """Convert a number, a text such as "8 nm" or a pint quantity to a float in `unit`.

    Parameters
    ----------
    value : number, text or quantity
        A plain number is taken to be in `unit` already. Quantities may come from any pint registry. "A" is an ampere,
        or an angstrom where that fits `unit` and an ampere does not. A pixel is no length.
    unit : text
    what : text
        Names the value in errors.

    Raises
    ------
    ValueError
        A text that is no quantity, as one with several numbers, or one of another dimension; names both units.
    TypeError
        Neither number, text nor quantity.

    Examples
    --------
    >>> convert("8 nm", "um", "spacing"), convert(0.5, "um", "spacing"), convert("2 mm^2/min", "um^2/s", "diffusion")
    (0.008, 0.5, 33333.333333333336)
    """
    if is_plain(value):
        return number(value, what)
    usual, wanted = _usual(value), _usual_unit(unit)
    if usual and wanted and usual[1] == wanted[1]:
        return _nearest(usual[0] / wanted[0])
    quantity, target = _quantity(value, what), registry().Unit(unit)
    if quantity.dimensionality != target.dimensionality and isinstance(value, str):
        # An ampere is no length: where one is wanted, "10 A" can only be meant as microscopists write it.
        angstrom = _quantity(_AMPERE.sub("angstrom", value), what)
        quantity = angstrom if angstrom.dimensionality == target.dimensionality else quantity
    if quantity.dimensionality != target.dimensionality:
        raise ValueError(f"{what} should be in {unit} or convertible to it; got {_named(value, quantity)}")
    return float(quantity.to(target).magnitude)


def three_in(text: str) -> tuple[float | str, ...] | None:
    """Split a text of three sizes, with a unit after the last or after each of them; None where it is no such text.

    Examples
    --------
    >>> three_in("4 4 40 nm"), three_in("4 x 4 x 40nm"), three_in("1, 2, 3"), three_in("40 nm")
    (('4 nm', '4 nm', '40 nm'), ('4 nm', '4 nm', '40 nm'), (1.0, 2.0, 3.0), None)
    """
    match = _THREE.fullmatch(text)
    if match is None:
        return None
    numbers, symbols = match.groups()[::2], match.groups()[1::2]
    if not any(symbols):
        return tuple(float(each) for each in numbers)
    if not any(symbols[:2]):
        symbols = (symbols[2],) * 3
    return tuple(f"{each} {symbol}" for each, symbol in zip(numbers, symbols, strict=True)) if all(symbols) else None


def to_base(value: Any, what: str) -> tuple[float, Unit]:
    """Convert a text or pint quantity of any dimension to its number in base units, and that unit.

    Raises
    ------
    ValueError, TypeError
        As `convert`; also a dimension that no base unit has.

    Examples
    --------
    >>> value, unit = to_base("0.5 uM/ms", "rate")
    >>> print(round(value, 3), unit)
    301107.038 molecule/um^3/s
    """
    usual = _usual(value)
    if usual:
        return _nearest(usual[0]), usual[1]
    quantity = _quantity(value, what)
    dimensions = {str(name): float(power) for name, power in quantity.dimensionality.items()}
    unknown = sorted(dimensions.keys() - BASE_UNITS.keys())
    if unknown:
        raise ValueError(f"{what} should be made of {', '.join(BASE_UNITS.values())}; got {value!r} in {unknown[0]}")
    target = registry().Unit("")
    for name, power in dimensions.items():
        target = target * registry().Unit(BASE_UNITS[name]) ** power
    unit = Unit.of(**{BASE_UNITS[name]: power for name, power in dimensions.items()})
    return float(quantity.to(target).magnitude), unit


def of_one(unit: str, what: str) -> tuple[float, Unit]:
    """Return how large a unit is in base units, and that unit; it may have a factor, or be none.

    Examples
    --------
    >>> print(*of_one("mM", "a unit")), print(*of_one("7 um", "a unit")), of_one("1", "a unit")[0]
    602214.076 molecule/um^3
    7.0 um
    (None, None, 1.0)
    """
    written = unit.strip()
    return to_base(written if written[:1].isdigit() else f"1 {written}".strip(), what)


def plain(value: Any, what: str) -> float | str:
    """Return a value as a float or a text, so that it can be stored: a pint quantity becomes its text.

    Examples
    --------
    >>> plain(np.float32(2), "k"), plain(" 8 nm", "k"), plain(registry().Quantity(0.1, "uM"), "k")
    (2.0, '8 nm', '0.1 micromolar')
    """
    if is_plain(value):
        return number(value, what)
    return " ".join(_text(value).split())


def is_plain(value: Any) -> bool:
    """Tell whether a value is not a text or a quantity, so should be a plain number."""
    return not isinstance(value, str) and not hasattr(value, "to") and not hasattr(value, "magnitude")


def is_quantity_text(text: str) -> bool:
    """Tell whether a text starts with a number and goes on with a letter, as a quantity does and a formula cannot.

    Examples
    --------
    >>> is_quantity_text("0.1 uM"), is_quantity_text("2*x"), is_quantity_text("1e3"), is_quantity_text("1 + x")
    (True, False, False, False)
    """
    return _FIRST_LETTER.match(text) is not None


def number(value: Any, what: str) -> float:
    """Return a plain number as a float, or raise a TypeError that says what came."""
    if isinstance(value, (bool, np.bool_)) or np.ndim(value) != 0:
        raise TypeError(f"{what} should be one number or a text such as {_EXAMPLES}; got {value!r}")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{what} is too large a number for floating point: {error}") from error
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} should be a number or a text such as {_EXAMPLES}; got {value!r}") from error


def _usual(value: Any) -> tuple[Fraction, Unit] | None:
    """Read a quantity in usual units exactly, and its unit; None where pint has to be asked."""
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    known = _usual_unit(match[2].strip()) if match else None
    if match is None or known is None or not math.isfinite(float(match[1])) or _has_another_number(match[2]):
        return None
    return Fraction(float(match[1])) * known[0], known[1]


def _has_another_number(unit: str) -> bool:
    """Tell whether what follows a number has one more that is no exponent, no factor after a sign and not 1 over."""
    return _ANOTHER_NUMBER.search(_OPERATOR.sub(r"\1", _EXPONENT.sub("", unit))) is not None


def _nearest(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


@functools.lru_cache(maxsize=1024)
def _usual_unit(text: str) -> tuple[Fraction, Unit] | None:
    """Read a product of usual units, such as "um^2/s", "1/(uM*s)" or "uM^-1 s^-1"."""
    if not text:
        return Fraction(1), NO_UNIT
    # Python would also read 0x1 as a number.
    if len(text) > 100 or _UNIT_TOKEN.sub("", text) or re.search(r"\d[^\W\d]", text):
        return None
    # "2 /s" is two per second.
    text = f"1{text}" if text.startswith("/") else text
    # A blank between units multiplies, as in pint.
    formula = re.sub(r"(?<=[\w)])\s+(?=[^\W\d])", "*", text.replace("^", "**"))
    try:
        return _product_of_usual(ast.parse(formula, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, LookupError, RecursionError, MemoryError):
        return None


def _product_of_usual(node: ast.expr) -> tuple[Fraction, Unit]:
    match node:
        case ast.Name(name):
            return _USUAL[name]
        case ast.Constant(value) if type(value) is int and value == 1:
            return Fraction(1), NO_UNIT
        case ast.BinOp(base, ast.Pow(), exponent):
            size, unit = _product_of_usual(base)
            power = range(-9, 10).index(ast.literal_eval(exponent)) - 9
            return size**power, unit**power
        case ast.BinOp(left, ast.Mult() | ast.Div() as operation, right):
            (a, first), (b, second) = _product_of_usual(left), _product_of_usual(right)
            return (a * b, first * second) if isinstance(operation, ast.Mult) else (a / b, first / second)
    raise LookupError(ast.unparse(node))


def _quantity(value: Any, what: str) -> Any:
    text = _text(value)
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{what} should be a number and its unit, such as {_EXAMPLES}; got {value!r}")
    rest = _UNIT_TOKEN.sub("", match[2])
    if len(text) > 200 or rest:
        culprit = f"; {rest[:20]!r} does not belong in a unit" if rest else " (too long)"
        raise ValueError(f"{what} should be a number and its unit, such as {_EXAMPLES}; got {text[:80]!r}{culprit}")
    if pixel := _PIXEL.search(match[2]):
        culprit = f"a {pixel[0].rstrip('s')} is no length"
        raise ValueError(
            f"{what} should be a number and its unit, such as {_EXAMPLES}; got {value!r}: {culprit}; "
            "give the size that the microscope or the file's maker tells, in nm or um"
        )
    if _has_another_number(match[2]):
        raise ValueError(
            f"{what} should be one number and its unit, such as {_EXAMPLES}; got {value!r}, which has several numbers; "
            'write one as "1500 nm", and three sizes as ("4 nm", "4 nm", "40 nm") where three are asked for'
        )
    try:
        quantity = registry().Quantity(text)
    except Exception as error:  # pint has a dozen kinds of its own, and its tokenizer adds more
        raise ValueError(
            f"{what} should be a number and its unit, such as {_EXAMPLES}; got {value!r}: {error}"
        ) from error
    if isinstance(quantity, (int, float)):
        quantity = registry().Quantity(quantity, "")
    if not math.isfinite(quantity.magnitude):
        raise ValueError(f"{what} should be finite; got {value!r}")
    return quantity


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if hasattr(value, "magnitude") and hasattr(value, "units"):
        # Not str(value): its format is the other registry's choice and may round.
        return f"{number(value.magnitude, 'the magnitude of a quantity')!r} {value.units:D}"
    return str(value)


def _named(value: Any, quantity: Any) -> str:
    if quantity.dimensionless:
        return f"{value!r}, which has no unit"
    # As units are written here: um^2/s, not µm ** 2 / s; pint 0.26 writes the Greek letter in place of the sign.
    unit = f"{quantity.units:~D}".replace("\u00b5", "u").replace("\u03bc", "u").replace(" ** ", "^").replace(" ", "")
    return f"{value!r}, which is in {unit}"


def _power_text(name: str, power: float) -> str:
    return name if power == 1 else f"{name}^{power:g}"
