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


def set_fields(instance: object, **fields: Any) -> None:
    """Set fields of a frozen dataclass while it is being made."""
    for name, value in fields.items():
        object.__setattr__(instance, name, value)
