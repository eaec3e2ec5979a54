"""Figures of ingredients: drawn, bounded and checked; what of them was reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.units import convert

# Signs of a name that the motif table holds.
LONGEST = 64


@dataclass(frozen=True)
class Reached:
    """What one species of a recipe came to.

    Parameters
    ----------
    species : str
    asked, reached : float
        Share of the box's voxels; of the membrane's area for what is bound to one.
    units : int
        Placed units; of filaments their subunits' groups.
    chains : int
        Membranes, filaments or clusters.
    why : str
        Empty where the target was reached, else what ended it.
    """

    species: str
    asked: float
    reached: float
    units: int
    chains: int
    why: str = ""

    def __str__(self) -> str:
        end = f"; {self.why}" if self.why else ""
        return f"  {self.species}: {self.reached:.3%} of {self.asked:.3%}, {self.units:,} units{end}"


def drawn(value: Any, unit: str, what: str, rng: np.random.Generator) -> float:
    """Return a number or a quantity in `unit`; of a pair, a uniform draw from the range.

    Examples
    --------
    >>> drawn("8 nm", "um", "radius", np.random.default_rng(0))
    0.008
    """
    low, high = limits(value, unit, what)
    # One draw in either case, so that a range that shrinks to a number leaves the rest of the sample alone.
    at = rng.random()
    return low if low == high else low + at * (high - low)


def limits(value: Any, unit: str, what: str) -> tuple[float, float]:
    """Return both ends of a range, or twice a single value.

    Raises
    ------
    ValueError
        A range upside down, or not of two values.
    """
    both = value if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise ValueError(f"{what} should be one value or a range (low, high); got {value!r}")
    low, high = (float(v) if unit == "" else convert(v, unit, what) for v in both)
    if not low <= high or not np.isfinite([low, high]).all():
        raise ValueError(f"{what} should be a finite range (low, high); got {value!r}")
    return low, high


def bounded(value: Any, unit: str, what: str, least: float = 0.0, *, open_: bool = False) -> tuple[float, float]:
    """Return the ends of a range that keeps at or, where `open_`, above its least value.

    Raises
    ------
    ValueError
        A range that goes below.
    """
    low, high = limits(value, unit, what)
    if low < least or (open_ and low == least):
        bound = "positive" if open_ and least == 0 else f"at least {least:g}"
        raise ValueError(f"{what} should be {bound}; got {value!r}")
    return low, high


def checked_share(occupancy: Any, name: str) -> None:
    """Refuse an occupancy outside 0 ... 1."""
    low, high = limits(occupancy, "", f"occupancy of {name!r}")
    if not 0 <= low <= high <= 1:
        raise ValueError(f"occupancy of {name!r} should be a share from 0 to 1; got {occupancy!r}; 25 % is 0.25")


def checked_count(value: Any, what: str, least: int = 1) -> None:
    """Refuse what is not a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{what} should be a whole number >= {least}; got {value!r}")


def checked_group(name: Any, occupancy: Any, tries: Any) -> None:
    """Refuse a name that does not fit the motif table or a file's name, a bad occupancy, bad tries."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST or set(name) & set("/\\\n"):
        raise ValueError(f"name should be a text of 1 to {LONGEST} signs without slashes; got {name!r}")
    checked_share(occupancy, name)
    if tries is not None:
        checked_count(tries, f"tries of {name!r}")
