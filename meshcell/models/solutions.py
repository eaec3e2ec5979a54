"""Solutions: what a simulation found, and access to it by species and time."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints, frozen, set_fields
from meshcell.core.hints import nearest
from meshcell.core.types import TetMesh
from meshcell.models.binding import System, bind
from meshcell.models.model import Model


def species_name(solution: Solution, name: Any) -> str:
    """Return the name if the solution holds such a species, or say which it holds."""
    if not isinstance(name, str) or name not in solution.values:
        hint = nearest(name, solution.values)
        raise ValueError(f"no species is called {name!r}{hint}; there are {', '.join(solution.values)}")
    return name


def compartment_rows(solution: Solution, species: str) -> tuple[int, Array]:
    """Find where a species lives: (3, rows of `mesh.tets`) in a region, (2, rows of `mesh.facets`) on an interface."""
    place = solution.system.species[species].compartment
    return place.dimension, place.rows


def values_at(solution: Solution, species: str, time: float) -> Floats:
    """Interpolate linearly between the saved times."""
    times = solution.times
    slack = 1e-9 * max(float(np.ptp(times)), abs(float(times[-1])))
    if not times[0] - slack <= time <= times[-1] + slack:
        raise ValueError(
            f"at should be a time between {times[0]:g} and {times[-1]:g} s, the simulated ones; got {time:g}"
            + solution.advice
        )
    after = int(np.clip(np.searchsorted(times, time), 1, max(len(times) - 1, 1)))
    values = solution.values[species]
    if len(times) == 1:
        return np.asarray(values[0])
    weight = float(np.clip((time - times[after - 1]) / (times[after] - times[after - 1]), 0, 1))
    return np.asarray((1 - weight) * values[after - 1] + weight * values[after])


@dataclass(frozen=True, eq=False)
class Solution:
    """Concentrations over a mesh at the asked times.

    Parameters
    ----------
    mesh : TetMesh, or WellMixed of a run without one
    model : Model
    times : (k,) floats, s
    values : dict[str, (k, m) floats]
        Species -> molecules/um^3, or molecules/um^2 for a species that lives on an interface.
    nodes : dict[str, (m,) int32]
        Species -> rows of `mesh.points` that its columns stand for.
    stats : dict
        Steps, rejections, Newton and linear iterations, seconds, mass drift.
    message : str
        Empty when finished; else what stopped the run and what to try.
    observed : dict[str, (k,) floats or float]
        What `solve(..., observe=...)` was asked for, by name: what `quantity.value` says of all times that were asked
        for and reached; a number for an area or at one time, NaN where the run did not get there.
    observed_times : (k,) floats, s
        Those times. With keep="observed" `times` and `values` are of the last state alone.
    quantities : dict[str, Quantity]
        What was observed.
    """

    mesh: TetMesh
    model: Model
    times: Floats
    values: dict[str, Floats]
    nodes: dict[str, Ints]
    stats: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    observed: dict[str, Any] = field(default_factory=dict)
    observed_times: Floats = field(default_factory=lambda: np.zeros(0))
    quantities: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        times = frozen(np.atleast_1d(np.asarray(self.times, np.float64)))
        nodes = {name: frozen(np.asarray(rows, np.int32)) for name, rows in self.nodes.items()}
        values = {name: frozen(np.asarray(array, np.float64)) for name, array in self.values.items()}
        if values.keys() != nodes.keys():
            raise ValueError(f"values and nodes should name the same species; got {sorted(values)} and {sorted(nodes)}")
        for name, array in values.items():
            if array.shape != (len(times), len(nodes[name])):
                raise ValueError(
                    f"values of {name!r} should have shape {(len(times), len(nodes[name]))} (times, nodes); "
                    f"got {array.shape}"
                )
        set_fields(self, times=times, nodes=nodes, values=values, quantities=dict(self.quantities))
        if self.quantities.keys() - self.observed.keys():
            raise ValueError(
                f"observed and quantities should have the same names; got {list(self.observed)} and "
                f"{list(self.quantities)}"
            )
        observed = {name: frozen(item) if np.ndim(item) else float(item) for name, item in self.observed.items()}
        set_fields(self, observed=observed, observed_times=frozen(np.asarray(self.observed_times, np.float64)))

    @functools.cached_property
    def system(self) -> System:
        """The model bound to the mesh: what the engine computed with, or bound at the first question after loading."""
        return bind(self.model, self.mesh)

    @property
    def advice(self) -> str:
        """What to say where states are missing because only observed quantities were kept; else nothing."""
        if len(self.observed_times) <= len(self.times):
            return ""
        return (
            '; solve(..., keep="observed") keeps the last state alone: observe a Quantity for what happens before, or '
            'solve with keep="all"'
        )

    def __getstate__(self) -> dict[str, Any]:
        # The system is bound again where it is needed: its functions of time may not be sent anywhere.
        return {name: value for name, value in vars(self).items() if name != "system"}

    def __repr__(self) -> str:
        span = f"{self.times[0]:.4g} ... {self.times[-1]:.4g} s" if len(self.times) else "no times"
        head = f"Solution: {len(self.times)} times, {span}"
        if self.advice:
            head = f"Solution: observed at {len(self.observed_times)} times, kept at {self.times[-1]:.4g} s"
        rows = [
            f"  {name}: {array.shape[1]:,} nodes, {array.min():.4g} ... {array.max():.4g}"
            for name, array in self.values.items()
            if array.size
        ]
        rows += [f"  {name}: {self._observation(name)}" for name in self.observed]
        stats = ", ".join(f"{key} {value:.4g}" for key, value in self.stats.items() if isinstance(value, (int, float)))
        notes = [f"  {stats}"] if stats else []
        if self.message:
            notes.append(f"  NOT FINISHED: {self.message}")
        return "\n".join([head, *rows, *notes])

    def _observation(self, name: str) -> str:
        """Write what was observed in one line."""
        found, quantity = np.atleast_1d(self.observed[name]), self.quantities.get(name)
        span = f"{found.min():.4g} ... {found.max():.4g}" if len(found) > 1 else ", ".join(f"{x:.4g}" for x in found)
        if quantity is None:
            return span
        return f"{quantity.name}, {span} {quantity.unit_in(self.model, self.mesh)}"
