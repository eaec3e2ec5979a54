"""The door to simulation: check what was asked, choose the engine."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meshcell.types import Floats, Solution, TetMesh

if TYPE_CHECKING:
    from meshcell.models import Model

# Engine -> its module; each has run(mesh, model, times, options) -> Solution.
ENGINES = {"numba": "meshcell.engine_numba"}
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


def solve(
    mesh: TetMesh,
    model: Model,
    times: Any,
    *,
    engine: str = "numba",
    rtol: float = 1e-4,
    atol: float | Mapping[str, float] | None = None,
    step: float | None = None,
    throw: bool = True,
    progress: bool = False,
    scheme: str = "auto",
    events: Any = (),
    checkpoint: str | Path | None = None,
) -> Solution:
    """Simulate a model on a mesh.

    Parameters
    ----------
    mesh : TetMesh
    model : Model
    times : (k,) floats, s
        Ascending. The initial values hold at `times[0]`; the solution has a row for each.
    engine : {"numba"}
    rtol : float
        Error allowed per step, relative to the local value (root mean square over the compartment, for each species).
    atol : float or dict species -> float, optional
        Absolute error allowed, molecules/um^3 (on an interface /um^2). By default, and for species that the dict leaves
        out, rtol * 1e-3 * the largest value that the species has had.
    step : float, optional, s
        Fixed steps of at most this length instead of controlled ones; `rtol` then only sets how exactly the linear
        systems are solved.
    throw : bool
        If False, a run that cannot be finished is returned as far as it came, with the reason in `Solution.message`.
    progress : bool
        Show a bar with the simulated time, the step, and simulated seconds per second.
    scheme : {"auto", "implicit", "imex", "imex2"}
        "implicit" takes diffusion and reactions implicitly, "imex" reactions explicitly: a step costs a fraction, but
        has to be shorter where membranes react fast. Both are of order 3. "auto" takes a step by the other one now and
        then and stays with the one that gets further for the same work; with `step` it takes "imex" while that step
        times the speed of the fastest reaction (a bound of its Jacobian's spectral radius at any node) is below 2.
        "imex2" is of order 2 at two thirds of the cost of "imex", for fixed steps only, as it does not know its error.
        `stats` has "implicit_steps" and "imex_steps".
    events : floats, optional, s
        Times at which rates may jump, such as t0 of heaviside(t - t0), beside those that `model.events` has: no step
        goes over them, and steps are small again after them.
    checkpoint : path, optional
        File that keeps how far the run has come, written every minute or so, at its end and at an interrupt. Where it
        is there already, the run goes on from it, with the same bytes as if it had never stopped. (npz, about as
        large as the solution.)

    Returns
    -------
    Solution
        Its `stats` count steps, rejections, linear iterations, and `work` in units of an iteration; `mass_drift` is the
        largest relative change of a sum of molecules that the model keeps, `undershoot` the largest negative value
        relative to its species' size.

    Raises
    ------
    TypeError, ValueError
        Anything but a mesh, a model and ascending finite times; tolerances out of range; an unknown engine or scheme; a
        checkpoint of another mesh, model or run.
    SolveError
        Blow-up, rates that are not finite, negative concentrations: names time, species and place; `.solution`
        holds what was computed so far.

    Notes
    -----
    Ctrl-C returns what was computed, with `Solution.message` set, and never raises. Controlled steps pass asked times
    where a polynomial of degree 4 through the last states is right to the tolerance, and end there where it is not
    (`stats["interpolated"]` counts the former); fixed steps always end there.
    """
    checked_input(mesh, model)
    options = Options(
        checked_rtol(rtol),
        _checked_atol(atol, [item.name for item in model.species]),
        _checked_step(step),
        throw,
        progress,
        _checked_scheme(scheme, step),
        _checked_events([*getattr(model, "events", ()), *np.atleast_1d(np.asarray(events, np.float64))]),
        None if checkpoint is None else Path(checkpoint),
    )
    run = importlib.import_module(_checked_engine(engine)).run
    solution: Solution = run(mesh, model, checked_times(times), options)
    return solution


def checked_input(mesh: Any, model: Any) -> None:
    """Refuse anything but a mesh and a model."""
    from meshcell.models import Model

    if not isinstance(mesh, TetMesh):
        raise TypeError(f"mesh should be a TetMesh; got {type(mesh).__name__}; make one with tetrahedralize")
    if not isinstance(model, Model):
        raise TypeError(f"model should be a Model; got {type(model).__name__}")


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
    return array


def _checked_engine(engine: str) -> str:
    if engine not in ENGINES:
        raise ValueError(f"engine should be one of {', '.join(map(repr, ENGINES))}; got {engine!r}")
    return ENGINES[engine]


def _checked_scheme(scheme: str, step: float | None) -> str | None:
    """Return the scheme that engines are told, None where they choose."""
    if scheme not in ("implicit", "imex", "imex2", "auto"):
        raise ValueError(f"scheme should be 'implicit', 'imex', 'imex2' or 'auto'; got {scheme!r}")
    if scheme == "imex2" and step is None:
        raise ValueError("scheme 'imex2' does not know its error and needs fixed steps: give step=, or take 'imex'")
    return None if scheme == "auto" else scheme


def _checked_events(events: list[float]) -> tuple[float, ...]:
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


def _checked_atol(atol: Any, species: list[str]) -> float | dict[str, float] | None:
    if atol is None:
        return None
    given = dict(atol) if isinstance(atol, Mapping) else {"": float(atol)}
    unknown = [name for name in given if name and name not in species]
    if unknown:
        raise ValueError(f"atol names {unknown[0]!r}, which is no species of the model; it has {', '.join(species)}")
    for name, value in given.items():
        if not 0 <= float(value) < math.inf:
            what = f"atol of {name!r}" if name else "atol"
            raise ValueError(f"{what} should be at least 0 molecules/um^3 (or /um^2) and finite; got {value!r}")
    return {name: float(value) for name, value in given.items()} if isinstance(atol, Mapping) else float(atol)


def _checked_step(step: float | None) -> float | None:
    if step is not None and not 0 < float(step) < math.inf:
        raise ValueError(f"step should be a positive, finite time in s, or None for controlled steps; got {step!r}")
    return None if step is None else float(step)
