"""What a run needs to know beside mesh, model and times, and its checks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.core.hints import nearest, require
from meshcell.core.types import TetMesh
from meshcell.models.events import Event
from meshcell.models.model import Model
from meshcell.models.observables import Quantity
from meshcell.models.well_mixed import WellMixed

RTOL_RANGE = (1e-12, 0.1)


@dataclass(frozen=True)
class Options:
    """What an engine needs to know beside the mesh, the model and the times; as in `solve`."""

    rtol: float = 1e-4
    atol: float | dict[str, float] | None = None
    step: float | None = None
    throw: bool = True
    progress: bool = False
    scheme: str | None = None
    events: tuple[float, ...] = ()
    checkpoint: Path | None = None
    longest: float | None = None
    observe: Mapping[str, Quantity] = field(default_factory=dict)
    keep: str = "all"
    acts: tuple[Event, ...] = ()
    petsc: Mapping[str, Any] = field(default_factory=dict)


def checked_input(mesh: Any, model: Any, call: str = "solve(mesh, model, times)") -> None:
    """Refuse anything but a mesh, or what stands for one, and a model."""
    if not isinstance(mesh, WellMixed):
        require(mesh, TetMesh, call, model)
    require(model, Model, call)


def checked_times(times: Any) -> Floats:
    """Return times as floats, or raise a ValueError that says what is wrong with them."""
    wanted = "times should be a list of numbers, in s, such as np.linspace(0, 2, 41)"
    try:
        array = np.asarray(times, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{wanted}; got {times!r:.80}") from error
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{wanted}; got shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"times should be finite; got {array[bad[0]]} at row {bad[0]}")
    back = np.flatnonzero(np.diff(array) <= 0)
    if len(back):
        raise ValueError(
            f"times should ascend; got {array[back[0]]:g} s and then {array[back[0] + 1]:g} s at row {back[0] + 1}; "
            "np.unique(times) sorts them"
        )
    _explain_begin(array)
    return array


def _explain_begin(times: Floats) -> None:
    """Warn where the initial values may not be where they were expected: they hold at the first time, not at 0."""
    # Who begins before zero lets things come to rest until then, and knows.
    if times[0] <= 0:
        return
    if len(times) == 1:
        text = f"nothing is simulated; for the state at {times[0]:g} s give times=[0, {times[0]:g}]"
    else:
        text = f"the run goes from there to {times[-1]:g} s; put 0 in front if they hold at 0 s"
    warnings.warn(f"times begin at {times[0]:g} s, where the initial values hold: {text}", stacklevel=4)


def checked_scheme(scheme: str, step: float | None) -> str | None:
    """Return the scheme that engines are told, None where they choose."""
    if scheme not in ("implicit", "imex", "imex2", "auto"):
        raise ValueError(f"scheme should be 'implicit', 'imex', 'imex2' or 'auto'; got {scheme!r}")
    if scheme == "imex2" and step is None:
        raise ValueError("scheme 'imex2' does not know its error and needs fixed steps: give step=, or take 'imex'")
    return None if scheme == "auto" else scheme


def parted_events(events: Any) -> tuple[list[Any], tuple[Event, ...]]:
    """Part what solve is given as events: times at which rates may jump, and what is done to the run."""
    given = [events] if isinstance(events, Event) else np.atleast_1d(np.asarray(events, object)).tolist()
    acts = tuple(item for item in given if isinstance(item, Event))
    times = [item for item in given if not isinstance(item, Event)]
    for item in times:
        if not isinstance(item, (int, float, np.number)):
            raise TypeError(f"events should be times in s, or Event(when, set=..., add=...); got {item!r}")
    return [*map(float, times), *(t for act in acts for t in act.times)], acts


def checked_petsc(options: Any, engine: str) -> dict[str, Any]:
    """Return options of PETSc by name without the dash, or raise an error that says what they are for."""
    if not options:
        return {}
    if engine != "fenicsx":
        raise ValueError(f"petsc_options are for engine='fenicsx'; got them with engine={engine!r}")
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise TypeError(f'petsc_options should be a dict such as {{"diffusion_pc_type": "gamg"}}; got {options!r:.80}')
    # To PETSc what is switched on has no value.
    return {name.removeprefix("-"): None if value is True else value for name, value in options.items()}


def checked_events(events: list[float]) -> tuple[float, ...]:
    """Return times as ascending floats, each once, or raise a ValueError."""
    bad = [event for event in events if not math.isfinite(event)]
    if bad:
        raise ValueError(f"events should be finite times in s at which rates jump; got {bad[0]}")
    return tuple(sorted({float(event) for event in events}))


def checked_rtol(rtol: float) -> float:
    """Return a relative tolerance as a float, or raise a ValueError."""
    low, high = RTOL_RANGE
    if not low <= float(rtol) <= high:
        raise ValueError(f"rtol should be between {low:g} and {high:g}; got {rtol!r}; 1e-4 is usual")
    return float(rtol)


def checked_atol(atol: Any, species: list[str]) -> float | dict[str, float] | None:
    """Return absolute tolerances as floats, or raise a ValueError that names the species there are."""
    if atol is None:
        return None
    given = dict(atol) if isinstance(atol, Mapping) else {"": float(atol)}
    unknown = [name for name in given if name and name not in species]
    if unknown:
        raise ValueError(
            f"atol names {unknown[0]!r}, which is no species of the model{nearest(unknown[0], species)}; it has "
            f"{', '.join(species)}"
        )
    for name, value in given.items():
        if not 0 <= float(value) < math.inf:
            what = f"atol of {name!r}" if name else "atol"
            raise ValueError(f"{what} should be at least 0 molecules/um^3 (or /um^2) and finite; got {value!r}")
    return {name: float(value) for name, value in given.items()} if isinstance(atol, Mapping) else float(atol)


def checked_observe(observe: Any, keep: Any, times: Floats) -> dict[str, Quantity]:
    """Return what is to be observed by name, or raise an error that shows how it is written."""
    how = 'observe should be a dict such as {"head": Quantity("mean", "Ca", place="head")}'
    if keep not in ("all", "observed"):
        raise ValueError(f"keep should be 'all' or 'observed'; got {keep!r}{nearest(keep, ('all', 'observed'))}")
    if observe is None or observe == {}:
        if keep == "observed":
            raise ValueError(f"keep='observed' needs something to observe: {how}")
        return {}
    if not isinstance(observe, Mapping):
        raise TypeError(f"{how}; got {observe!r:.80}")
    for name, quantity in observe.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"{how}; got the name {name!r}")
        if not isinstance(quantity, Quantity):
            raise TypeError(f"{how}; {name!r} is {quantity!r:.80}")
        quantity.require_within(times)
    return dict(observe)
