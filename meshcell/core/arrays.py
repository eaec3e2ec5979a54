"""Names for the kinds of arrays that travel through the package, and small functions on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Ints = npt.NDArray[np.int32]

Array = npt.NDArray[Any]

Triple = tuple[float, float, float]


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only view."""
    # A view, so that the caller's own array stays writable and nothing is copied.
    view = array.view()
    view.flags.writeable = False
    return view


def lengths(values: Iterable[float]) -> str:
    """Write lengths for a reader: 0.01 x 0.01 x 0.02."""
    return " x ".join(f"{value:.4g}" for value in values)


def percent(share: float) -> str:
    """Write a share for a reader, in plain figures; what is next to nothing or to everything is not called so.

    Examples
    --------
    >>> [percent(share) for share in (0, 3e-6, 0.00214, 0.034, 0.5, 0.9999, 1, 25)]
    ['0 %', 'under 0.01 %', '0.21 %', '3.4 %', '50 %', 'over 99.9 %', '100 %', '2,500 %']
    """
    value = 100 * share
    if 0 < value < 0.01:
        return "under 0.01 %"
    if 99.9 < value < 100:
        return "over 99.9 %"
    digits = 0 if value == 0 or value >= 100 else 2 if value < 1 else 1 if value < 10 or value > 99 else 0
    return f"{value:,.{digits}f} %"


def set_fields(instance: object, **fields: Any) -> None:
    """Set fields of a frozen dataclass while it is being made."""
    for name, value in fields.items():
        object.__setattr__(instance, name, value)
