"""The door to simulation: check what was asked, choose the engine."""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meshcell.core.hints import require
from meshcell.models.events import switching_times
from meshcell.models.mixing import well_mixed
from meshcell.models.model import Model
from meshcell.models.observables import Quantity
from meshcell.models.solutions import Solution
from meshcell.models.well_mixed import Domain
from meshcell.solving.options import (
    Options,
    checked_atol,
    checked_events,
    checked_input,
    checked_observe,
    checked_petsc,
    checked_rtol,
    checked_scheme,
    checked_times,
    parted_events,
)

# Engine -> its module; each has run(mesh, model, times, options) -> Solution.
ENGINES = {"numba": "meshcell.solving.engine_numba", "fenicsx": "meshcell.solving.engine_fenicsx"}


def solve(
    mesh: Domain | Mapping[str, Any] | None,
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
    longest: float | None = None,
    observe: Mapping[str, Quantity] | None = None,
    keep: str = "all",
    petsc_options: Mapping[str, Any] | None = None,
) -> Solution:
    """Simulate a model on a mesh.

    Parameters
    ----------
    mesh : TetMesh, or dict, or None
        Volumes (um^3) and areas (um^2) by compartment, {"cyt": 0.6, "PM": "6.6 um^2"}, or None (all of them 1), run the
        model well mixed: every species has one value, as where diffusion is fast. `well_mixed(model, mesh)` takes the
        sizes from a mesh.
    model : Model
    times : (k,) floats, s
        Ascending. The initial values hold at `times[0]`; the solution has a row for each.
    engine : {"numba", "fenicsx"}
        "numba" is one process with threads. "fenicsx" is the same equations and steps on the processes of
        `mpiexec -n 4 python script.py`, by dolfinx and PETSc (`pip install 'meshcell[fenicsx]'`); every rank calls
        `solve` with the same arguments and gets the whole solution. A checkpoint of one goes on with the other.
    rtol : float
        Error allowed per step, relative to the local value, for each species: that of the root mean square over the
        compartment, and five times that at any single node. Errors of steps add up, those of undamped oscillations
        period by period; where the solution tends to something the whole error is a few times as large.
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
    events : list of times (s) and Events, optional
        An `Event` adds to species, or sets species and parameters, at a time or when a condition becomes true, found to
        `rtol` (with `step`, at the end of the step). A number is a time at which rates may jump, such as t0 of
        heaviside(t - t0), beside those that `model.events` has: no step goes over it, and steps are small again after
        it. Functions of time, and parts of rates that depend on time alone, are looked through beforehand: jumps are
        found, and steps are short where they change quickly, if that lasts a millionth of the simulated time or more.
        So are functions of time and place, or time and species, in one, such as exp(-((t - x/v)/w)**2), at up to 16
        places, and with the species as they are at first; what passes between places makes steps short all the way.
    checkpoint : path, optional
        File that keeps how far the run has come, written every minute or so, at its end and at an interrupt. Where it
        is there already, the run goes on from it, with the same bytes as if it had never stopped. An npz about as
        large as the solution.
    longest : float, optional, s
        No controlled step is longer than this, nor than an eighth of the simulated time: for stimuli that depend on
        time and species in one in a way that the species' first values do not show.
    observe : dict[str, Quantity], optional
        What to observe at the asked times while the run goes on: {"head": Quantity("mean", "Ca", place="head")}. Under
        these names `Solution.observed` holds, to the last bit, what `quantity.value` says of the whole solution.
    keep : {"all", "observed"}
        "observed": only what is observed is kept of the asked times, and the last state, so that memory does not grow
        with their number: `Solution.times` and `.values` then have one row, `.observed_times` all times. `mass_drift`
        compares the first with the last state.
    petsc_options : dict, optional
        Options of PETSc for engine="fenicsx", such as {"diffusion_pc_type": "gamg", "implicit_ksp_type": "lgmres"}:
        "diffusion_" for the systems of diffusion alone (conjugate gradients), "implicit_" for those with reactions,
        which PETSc solves if there is such an option. On the command line they begin with a dash.

    Returns
    -------
    Solution
        Its `stats` count steps, rejections, linear iterations, and `work` in units of an iteration; `nodal_error`
        is the largest error of a controlled step at a single node, relative to the value there; `mass_drift` is the
        largest relative change of a sum of molecules that the model keeps, `undershoot` the largest negative value
        relative to its species' size.

    Raises
    ------
    TypeError, ValueError
        Anything but a mesh, a model and ascending finite times; tolerances out of range; an unknown engine or scheme; a
        checkpoint of another mesh, model or run; a quantity that the model or mesh does not have.
    SolveError
        Blow-up, rates that are not finite, negative concentrations: names time, species and place; `.solution`
        holds what was computed so far.

    Notes
    -----
    Ctrl-C returns what was computed, with `Solution.message` set, and never raises. Controlled steps pass asked times
    where a polynomial of degree 4 through the last states is right to the tolerance, and end there where it is not
    (`stats["interpolated"]` counts the former); fixed steps always end there.
    """
    with together(engine):
        if mesh is None or isinstance(mesh, Mapping):
            require(model, Model, "solve(mesh, model, times)")
            mesh = well_mixed(model, mesh)
        checked_input(mesh, model)
        moments = checked_times(times)
        breaks, acts = parted_events(events)
        options = Options(
            checked_rtol(rtol),
            checked_atol(atol, [item.name for item in model.species]),
            _checked_length(step, "step"),
            throw,
            progress,
            checked_scheme(scheme, step),
            checked_events([*getattr(model, "events", ()), *breaks, *switching_times(acts, model)]),
            None if checkpoint is None else Path(checkpoint),
            _checked_length(longest, "longest"),
            checked_observe(observe, keep, moments),
            keep,
            acts,
            checked_petsc(petsc_options, engine),
        )
        solution: Solution = engine_named(engine).run(mesh, model, moments, options)
    return solution


def is_first(engine: str) -> bool:
    """Tell whether this process is the one, of those that share a run, that writes files and speaks."""
    ranks = getattr(engine_named(engine), "processes", None)
    return ranks is None or ranks().rank == 0


@contextlib.contextmanager
def together(engine: str) -> Iterator[bool]:
    """Let all processes that share runs do something, and fail together where one fails.

    Yields
    ------
    bool
        Whether this process is the first of them, which writes files and speaks.

    Examples
    --------
    >>> with together("numba") as first:
    ...     first
    True
    """
    sharing = getattr(engine_named(engine), "together", contextlib.nullcontext)
    with sharing():
        yield is_first(engine)


def engine_named(engine: str) -> Any:
    """Return an engine's module, or say which there are."""
    if engine not in ENGINES:
        raise ValueError(f"engine should be one of {', '.join(map(repr, ENGINES))}; got {engine!r}")
    return importlib.import_module(ENGINES[engine])


def _checked_length(length: float | None, what: str) -> float | None:
    if length is not None and not 0 < float(length) < math.inf:
        raise ValueError(f"{what} should be a positive, finite time in s, or None for controlled steps; got {length!r}")
    return None if length is None else float(length)
