"""A run as a job: solved, saved whatever happens to it, and taken up again where it was stopped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from meshcell.core.errors import SolveError
from meshcell.core.hints import require
from meshcell.core.types import TetMesh
from meshcell.io import save
from meshcell.jobs.asking import means
from meshcell.jobs.records import log_text, write_curves, write_numbers, write_text
from meshcell.jobs.targets import Target, target_of
from meshcell.models.model import Model
from meshcell.models.observables import Quantity
from meshcell.models.solutions import Solution
from meshcell.models.well_mixed import Domain
from meshcell.solving.solver import solve, together

log = logging.getLogger("meshcell")


@dataclass(frozen=True, eq=False)
class Job:
    """What a job left.

    Parameters
    ----------
    solution : Solution
        Its `message` says what stopped the run, if anything did.
    files : tuple of Path
        None on ranks other than the first.
    """

    solution: Solution
    files: tuple[Path, ...]


def simulate(
    mesh: Domain | Mapping[str, Any] | None,
    model: Model,
    times: Any,
    output: str | Path,
    *,
    observe: Mapping[str, Quantity] | None = None,
    checkpoint: str | Path | bool = True,
    overwrite: bool = False,
    paraview: bool = True,
    notes: Mapping[str, Any] | None = None,
    **options: Any,
) -> Job:
    """Solve, and save the solution, also of a run that was stopped or fails; called again, a stopped run goes on.

    Parameters
    ----------
    mesh, model, times
        As for `solve`.
    output : path
        A file that ends in `.npz` or `.pvd`, or a folder: for `solution.npz`, the series for ParaView `solution.pvd`,
        what was observed in `curves.csv` (`numbers.csv` where it is one number), and `log.txt`.
    observe : dict[str, Quantity], optional
        By default the mean of every species.
    checkpoint : path or bool
        File that keeps how far the run has come: by default `checkpoint.npz` in the folder, or `<name>.checkpoint.npz`
        beside the file. It is taken away once the run is finished and saved; until then a run may replace its files.
        False keeps none.
    overwrite : bool
        Replace files of another run, and its checkpoint. A checkpoint of this very run is gone on from all the same.
    paraview : bool
        Write the series for ParaView into the folder.
    notes : dict, optional
        Where things come from, for the log.
    **options
        As for `solve`: engine, rtol, step, scheme, events, longest, keep, progress.

    Returns
    -------
    Job

    Raises
    ------
    FileExistsError, ValueError
        As `targets.target_of`, before anything is done; as `solve`.
    SolveError
        The run cannot be finished; what was computed so far is saved, and said to be.

    Notes
    -----
    Ctrl-C saves what was computed, with the reason in `job.solution.message`. What stands beside the solution is made
    from it: of a run that is killed nothing but the checkpoint is left.

    Examples
    --------
    >>> import tempfile
    >>> from meshcell import Model, Species
    >>> decay = Model({"cyt": "cyt"}, [Species("A", "cyt", initial="1 uM")])
    >>> job = simulate({"cyt": 1.0}, decay, [0, 1], tempfile.mkdtemp())
    >>> [file.name for file in job.files]
    ['solution.npz', 'curves.csv', 'log.txt']
    """
    require(model, Model, "simulate(mesh, model, times, output)", mesh)
    with together(options.get("engine", "numba")) as first:
        target = target_of(output, checkpoint=checkpoint, overwrite=overwrite)
        asked = means(model) if observe is None else dict(observe)
        begun, failure = datetime.now().astimezone(), None
        with target.made():
            try:
                solution = _solved(target, mesh, model, times, overwrite, observe=asked, **options)
            except SolveError as error:
                if error.solution is None:
                    raise
                solution, failure = error.solution, error
            text = log_text(solution, times, begun, notes or {}, options)
            files = _saved(target, solution, paraview, text) if first else ()
        if failure is not None:
            raise SolveError(f"{failure}; what was computed until then is in {target.output}", solution) from failure
    if first and target.checkpoint is not None and not solution.message:
        target.checkpoint.unlink(missing_ok=True)
    log.info("simulated to t = %.4g s: %s", solution.times[-1], target.output)
    return Job(solution, files)


def _solved(target: Target, mesh: Any, model: Model, times: Any, overwrite: bool, **options: Any) -> Solution:
    """Solve; where files may be replaced, the checkpoint of another run is no reason not to."""
    try:
        return solve(mesh, model, times, checkpoint=target.checkpoint, **options)
    except ValueError as error:
        if target.checkpoint is None or "is the checkpoint of another run" not in str(error):
            raise
        if not overwrite:
            raise ValueError(f"{error}, or give overwrite=True to begin anew") from error
        # Other ranks may have been faster.
        target.checkpoint.unlink(missing_ok=True)
        return solve(mesh, model, times, checkpoint=target.checkpoint, **options)


def _saved(target: Target, solution: Solution, paraview: bool, text: str) -> tuple[Path, ...]:
    """Write the files, those that take longest last: schedulers do not wait long before they kill."""
    save(target.solution, solution, overwrite=True)
    target.clear()
    if not target.folder:
        return (target.solution,)
    files = [target.solution]
    files += write_curves(target.curves, solution)
    files += write_numbers(target.numbers, solution)
    files += write_text(target.log, text)
    if paraview and isinstance(solution.mesh, TetMesh):
        save(target.series, solution, overwrite=True)
        files.append(target.series)
    return tuple(files)
