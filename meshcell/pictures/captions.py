"""What a picture shows of a solution: which species, where it lives, its values at a time, in which unit."""

from __future__ import annotations

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.core.units import NO_UNIT
from meshcell.models.consistency import initial_unit
from meshcell.models.solutions import Solution

MOLECULES_PER_UM3_IN_UM = 602.214076  # 1 uM = 1e-6 mol/l


def scale_and_label(solution: Solution, species: str, dimension: int) -> tuple[float, str]:
    """Return by how much a picture divides a species' values, and its name with the unit that is then shown.

    Concentrations are shown in uM in a region and in molecules/um^2 on an interface, signed species in their own unit.
    """
    for item in getattr(solution.model, "species", ()):
        if item.name == species and item.signed:
            unit = initial_unit(solution.model, item)
            return 1.0, species if unit in (None, NO_UNIT) else f"{species} ({unit})"
    return (MOLECULES_PER_UM3_IN_UM, f"{species} (µM)") if dimension == 3 else (1.0, f"{species} (molecules/µm²)")


def limits(values: Floats) -> tuple[float, float]:
    """Return the ends of a colour bar for the values."""
    low, high = float(values.min()), float(values.max())
    # A constant field still needs a bar with two ends.
    return (low, high) if high > low else (low - abs(low) * 0.05 - 1e-12, high + abs(high) * 0.05 + 1e-12)


def time_text(time: float, times: Floats) -> str:
    """Write a time in the unit that suits the whole run."""
    longest = float(np.abs(times).max())
    scale, unit = (1, "s") if longest >= 1 or longest == 0 else (1e3, "ms") if longest >= 1e-3 else (1e6, "µs")
    return f"{time * scale:.3g} {unit}"


def short(name: str, most: int = 32) -> str:
    """Leave out the middle of a name that is longer than `most` signs: what tells names apart is at their ends.

    Examples
    --------
    >>> short("er"), short("mitochondrion 17 of the astrocyte", 16)
    ('er', 'mitochon…trocyte')
    """
    for bar in (" / ", " | "):
        behind, _, front = name.partition(bar)
        if front and len(name) > most:
            return short(behind, (most - 3) // 2) + bar + short(front, (most - 3) // 2)
    return name if len(name) <= most else f"{name[: most // 2]}…{name[len(name) - (most - 1) // 2 :]}"
