"""Checkpoints: a run that was stopped goes on from its file as if nothing had happened, to the byte."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.files import replacing
from meshcell.solving.options import Options
from meshcell.solving.schemes import Discrete
from meshcell.solving.state import TimeState

# Seconds between two writes, or as many times as long as the last one took, whichever is more.
PAUSE, PAUSE_SHARE = 60.0, 30.0
VERSION = 3


@dataclass(eq=False)
class Checkpoint:
    """A file that holds a run's state, and what the run must be so that the file is its own.

    Parameters
    ----------
    path : Path
    own : dict[str, str]
        What is compared -> its digest.
    due : float
        When to write next, by the clock of `time.perf_counter`.
    """

    path: Path
    own: dict[str, str]
    due: float

    @classmethod
    def of(cls, options: Options, problem: Discrete, times: Floats) -> Checkpoint | None:
        """Prepare the checkpoint that was asked for, if any."""
        if options.checkpoint is None:
            return None
        if not options.checkpoint.parent.is_dir():
            raise ValueError(f"checkpoint should be a file in a folder that exists; got {options.checkpoint}")
        return cls(options.checkpoint, _digests(options, problem, times), time.perf_counter() + PAUSE)

    def write_if_due(self, state: TimeState, values: list[Floats]) -> None:
        """Write the state if the last time is long enough ago."""
        begun = time.perf_counter()
        if begun >= self.due:
            self.write(state, values)
            now = time.perf_counter()
            self.due = now + max(PAUSE, PAUSE_SHARE * (now - begun))

    def write(self, state: TimeState, values: list[Floats]) -> None:
        """Write the state under another name, which then takes the file's place: never half a file."""
        notes = {item.name: getattr(state, item.name) for item in fields(state)}
        arrays: dict[str, Array] = {name: notes.pop(name) for name in ("u", "largest")}
        past, history = notes.pop("past"), notes.pop("history")
        arrays |= {f"past{k}_{i}": stage for k, (_, stages) in enumerate(past) for i, stage in enumerate(stages)}
        arrays |= {f"history{k}": u for k, (_, u) in enumerate(history)}
        notes["past"] = [(length, len(stages)) for length, stages in past]
        notes["history"] = [t for t, _ in history]
        notes["choice"] = asdict(state.choice)
        notes["acted"] = [(act.t, act.events, act.molecules) for act in state.acted]
        arrays["values"] = np.array(values[: state.rows])
        arrays["checkpoint"] = np.array(json.dumps({"version": VERSION, "own": self.own, "state": notes}))
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> tuple[dict[str, Any], list[Floats]] | None:
        """Return the fields of the state and the notes of asked times so far; None where there is no file.

        Raises
        ------
        ValueError
            Not a checkpoint, a damaged one, or one of another run: says in what they differ.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            notes = json.loads(str(arrays["checkpoint"]))
            own, state = notes["own"], notes["state"]
            past = [
                (length, [arrays[f"past{k}_{i}"] for i in range(count)])
                for k, (length, count) in enumerate(state["past"])
            ]
            history = [(t, arrays[f"history{k}"]) for k, t in enumerate(state["history"])]
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{self.path} should be a checkpoint of solve; it cannot be read as one ({error}); remove it or name "
                "another file"
            ) from error
        different = [what for what, digest in self.own.items() if own.get(what) != digest]
        if different:
            raise ValueError(
                f"{self.path} is the checkpoint of another run: {' and '.join(different)} differ; remove it or name "
                "another file"
            )
        before = state["before"] and tuple(state["before"])
        found = {**state, "before": before, "past": tuple(past), "history": tuple(history)}
        return {**found, "u": arrays["u"], "largest": arrays["largest"]}, list(arrays["values"])


def _digests(options: Options, problem: Discrete, times: Floats) -> dict[str, str]:
    """Tell runs apart by what the solver sees of them: models by their numbers, as functions have no text."""
    u = problem.initial()
    shaken = u * (1 + 0.1 * np.sin(np.arange(len(u)))) + 0.01 * np.abs(u).max(initial=1e-3)
    moments = times[0], (times[0] + times[-1]) / 2, times[-1]
    rates = [problem.rate(float(t), state) for t in moments for state in (u, shaken)]
    settings: tuple[Any, ...] = (options.rtol, options.atol, options.step, options.scheme, options.events)
    settings += (options.longest, options.acts)
    if options.keep == "observed":
        # All states serve any questions, numbers only those that they answer.
        settings += tuple(options.observe.values())
    return {
        "meshes": _digest(problem.mass, *(problem.place(k)[1] for k in range(0, len(u), max(1, len(u) // 1000)))),
        "models": _digest(np.array(problem.names), u, *rates),
        "times": _digest(times),
        "options": _digest(np.array(repr(settings))),
    }


def _digest(*arrays: Array) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
