"""Names for the kinds of arrays that travel through the package, and small functions on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

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


class DistinctRows(NamedTuple):
    """The different rows of an array, ascending; the first row, and how many rows, of each; which one every row is."""

    rows: Array
    first: Array
    groups: Array
    counts: Array


def distinct_rows(array: Array) -> DistinctRows:
    """Find the different rows of whole numbers, as `np.unique(array, axis=0)`, which takes five times as long.

    Examples
    --------
    >>> found = distinct_rows(np.array([[2, 1], [0, 3], [2, 1]]))
    >>> found.rows.tolist(), found.first.tolist(), found.groups.tolist(), found.counts.tolist()
    ([[0, 3], [2, 1]], [1, 0], [1, 0, 1], [1, 2])
    """
    order = np.lexsort(array.T[::-1])
    ordered = array[order]
    new = np.ones(len(array), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts, groups = np.flatnonzero(new), np.empty(len(array), np.int64)
    groups[order] = np.cumsum(new) - 1
    return DistinctRows(ordered[starts], order[starts], groups, np.diff(starts, append=len(array)))


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
