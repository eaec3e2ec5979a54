"""What a run leaves beside its solution for people and other programs to read: tables, and a log."""

from __future__ import annotations

import csv
import io
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numba import get_num_threads

from meshcell.analysis.quantities import total
from meshcell.core.files import replacing
from meshcell.models.solutions import Solution


def write_curves(path: Path, solution: Solution) -> list[Path]:
    """Write what was observed at all times as a table: times in the first column, units in the heads, all digits."""
    curves = {name: found for name, found in solution.observed.items() if np.ndim(found)}
    if not curves:
        return []
    heads = ["time (s)", *(f"{name} ({_unit(solution, name)})" for name in curves)]
    columns = np.column_stack([solution.observed_times, *curves.values()])
    return write_text(path, _table([heads, *columns.tolist()]))


def write_numbers(path: Path, solution: Solution) -> list[Path]:
    """Write what was observed as one number, an area or a value at one time: a row each."""
    numbers = [[name, found, _unit(solution, name)] for name, found in solution.observed.items() if not np.ndim(found)]
    return write_text(path, _table([["quantity", "value", "unit"], *numbers])) if numbers else []


def write_text(path: Path, text: str) -> list[Path]:
    """Write a whole text or nothing, and return where."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")
    return [path]


def log_text(
    solution: Solution, asked: Any, begun: datetime, notes: Mapping[str, Any], options: Mapping[str, Any]
) -> str:
    """Say what was run, with what, and how it went.

    Parameters
    ----------
    solution : Solution
    asked : (k,) floats, s
        Times.
    begun : datetime
    notes : dict
        Where things come from: "model" and "mesh".
    options : dict
        As they were given to `solve`.
    """
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "numba"))
    # Also where it was never installed; rooms do not import the package's face.
    own = sys.modules["meshcell"].__version__
    ended, stats = datetime.now().astimezone(), solution.stats
    times = np.asarray(asked, np.float64)
    given = [f"{name} {value}" for name, value in options.items() if value is not None and name != "progress"]
    facts = {
        "meshcell": f"{own}, Python {platform.python_version()}, {packages}, {get_num_threads()} threads",
        "ran": f"{begun.isoformat(' ', 'seconds')} to {ended.isoformat(' ', 'seconds')}",
        **notes,
        "options": ", ".join(given) or "as usual",
        "times": f"{len(times):,} from {times[0]:g} to {times[-1]:g} s",
        "state": f"NOT FINISHED: {solution.message}" if solution.message else "finished",
        "stats": ", ".join(f"{name} {value:.6g}" for name, value in stats.items() if isinstance(value, (int, float))),
    }
    drift = stats.get("mass_drift")
    kept = "none" if drift is None else f"changed by {drift:.2g} of themselves at most"
    facts["sums of molecules that the model keeps"] = kept
    lines = [f"{name}: {value}" for name, value in facts.items()]
    lines += ["", *_molecules(solution), "", "observed:", *_observed(solution)]
    return "\n".join([*lines, "", repr(solution.mesh), "", repr(solution.model), ""])


def _molecules(solution: Solution) -> list[str]:
    """Say how many molecules there were at the first and the last time that were kept."""
    first, last = solution.times[[0, -1]]
    species = [item.name for item in solution.model.species if not item.signed]
    counts = {name: total(solution, name)[[0, -1]] for name in species}
    if first == last:
        return [f"molecules at {last:g} s:", *(f"  {name}: {count[1]:.9g}" for name, count in counts.items())]
    rows = (f"  {name}: {count[0]:.9g} and {count[1]:.9g}" for name, count in counts.items())
    return [f"molecules at {first:g} s and {last:g} s:", *rows]


def _observed(solution: Solution) -> list[str]:
    """Say between what values everything observed was."""
    return [
        f"  {name}: {np.min(found):.6g} ... {np.max(found):.6g} {_unit(solution, name)}"
        for name, found in solution.observed.items()
    ]


def _unit(solution: Solution, name: str) -> str:
    return str(solution.quantities[name].unit_in(solution.model, solution.mesh))


def _table(rows: Iterable[list[Any]]) -> str:
    """Write rows as CSV; floats have as many digits as it takes to read the same ones again."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
