"""Units at the door, floats inside: text or pint quantities become plain numbers in um, s and molecules."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def registry() -> Any:
    """Return the package's one pint registry, in which a molecule is a unit and uM a concentration of molecules."""
    import pint

    units: Any = pint.UnitRegistry()
    units.define("molecule = [molecule]")
    return units


def convert(value: Any, unit: str, what: str) -> float:
    """Convert a number, a text such as "8 nm" or a pint quantity to a float in `unit`.

    A plain number is taken to be in `unit` already. `what` names the value in errors.
    """
    if isinstance(value, (int, float)) or not (isinstance(value, str) or hasattr(value, "to")):
        return float(value)
    units = registry()
    quantity = units.Quantity(value) if isinstance(value, str) else units.Quantity(str(value))
    try:
        return float(quantity.to(unit).magnitude)
    except Exception as error:
        raise ValueError(f"{what} should be in {unit} or convertible to it; got {value!r}: {error}") from error
