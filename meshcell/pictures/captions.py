"""What a picture shows of a solution: which species, where it lives, its values at a time, in which unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.types import Array, Floats, Solution

MOLECULES_PER_UM3_IN_UM = 602.214076  # 1 uM = 1e-6 mol/l


def per_unit(dimension: int) -> float:
    """Return how many molecules/um^3 one uM is, where the species lives in a region; 1 on an interface."""
    return MOLECULES_PER_UM3_IN_UM if dimension == 3 else 1.0


def label(species: str, dimension: int) -> str:
    """Name a species with the unit that pictures show."""
    return f"{species} (µM)" if dimension == 3 else f"{species} (molecules/µm²)"


def species_name(solution: Solution, name: Any) -> str:
    """Return the name if the solution holds such a species, or say which it holds."""
    if not isinstance(name, str) or name not in solution.values:
        raise ValueError(f"no species is called {name!r}; there are {', '.join(solution.values)}")
    return name


def compartment_rows(solution: Solution, species: str) -> tuple[int, Array]:
    """Find where a species lives: (3, rows of `mesh.tets`) in a region, (2, rows of `mesh.facets`) on an interface."""
    from meshcell.binding import bound_compartment

    home = next(one.compartment for one in solution.model.species if one.name == species)
    place = bound_compartment(solution.model, home, solution.mesh)
    return place.dimension, place.rows


def values_at(solution: Solution, species: str, time: float) -> Floats:
    """Interpolate linearly between the saved times."""
    times = solution.times
    slack = 1e-9 * max(float(np.ptp(times)), abs(float(times[-1])))
    if not times[0] - slack <= time <= times[-1] + slack:
        raise ValueError(
            f"at should be a time between {times[0]:g} and {times[-1]:g} s, the simulated ones; got {time:g}"
        )
    after = int(np.clip(np.searchsorted(times, time), 1, max(len(times) - 1, 1)))
    values = solution.values[species]
    if len(times) == 1:
        return np.asarray(values[0])
    weight = float(np.clip((time - times[after - 1]) / (times[after] - times[after - 1]), 0, 1))
    return np.asarray((1 - weight) * values[after - 1] + weight * values[after])


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
