"""Checkpoints: a run that was stopped goes on from its file as if nothing had happened, to the byte.

States are kept species by species in the order of the compartments' nodes, so that a run goes on with another engine,
or on another number of ranks; there to rounding.
"""

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
from meshcell.models.well_mixed import WellMixed
from meshcell.solving.options import Options
from meshcell.solving.schemes import Discrete
from meshcell.solving.state import StopError, TimeState

# Seconds between two writes, or as many times as long as the last one took, whichever is more.
PAUSE, PAUSE_SHARE = 60.0, 30.0
VERSION = 4
# By how much a species' rates may differ, relative to their size, and still be those of one model: the sums that they
# read are rounded differently on other ranks.
ALIKE = 1e-9


@dataclass(eq=False)
class Checkpoint:
    """A file that holds a run's state, and what the run must be so that the file is its own.

    Parameters
    ----------
    path : Path
    problem : Discrete
    states_too : bool
        Whether what is noted of asked times is states.
    own : dict[str, str]
        What is compared -> its digest.
    rates : list of lists of floats
        Numbers by which models are told apart, and their sizes.
    due : float
        When to write next, by the clock of `time.perf_counter` of the first rank.
    """

    path: Path
    problem: Discrete
    states_too: bool
    own: dict[str, str]
    rates: list[list[float]]
    due: float

    @classmethod
    def of(cls, options: Options, problem: Discrete, times: Floats) -> Checkpoint | None:
        """Prepare the checkpoint that was asked for, if any."""
        if options.checkpoint is None:
            return None
        if not options.checkpoint.parent.is_dir():
            raise ValueError(f"checkpoint should be a file in a folder that exists; got {options.checkpoint}")
        own, rates = _digests(options, problem, times), _rates(problem, times)
        return cls(options.checkpoint, problem, options.keep == "all", own, rates, time.perf_counter() + PAUSE)

    def write_if_due(self, state: TimeState, values: list[Floats]) -> None:
        """Write the state if the last time is long enough ago."""
        begun, ranks = time.perf_counter(), self.problem.ranks
        if ranks.any(ranks.rank == 0 and begun >= self.due):
            if trouble := self.write(state, values):
                raise StopError(f"stopped at t = {state.t:.6g} s: {trouble}")
            now = time.perf_counter()
            self.due = now + max(PAUSE, PAUSE_SHARE * (now - begun))

    def write(self, state: TimeState, values: list[Floats]) -> str:
        """Write the state under another name, which then takes the file's place: never half a file.

        Returns what went wrong, on all ranks, or "".
        """
        notes, whole = {item.name: getattr(state, item.name) for item in fields(state)}, self.problem.whole
        arrays: dict[str, Array] = {"u": whole(notes.pop("u")), "largest": notes.pop("largest")}
        past, history = notes.pop("past"), notes.pop("history")
        arrays |= {f"past{k}_{i}": whole(stage) for k, (_, stages) in enumerate(past) for i, stage in enumerate(stages)}
        arrays |= {f"history{k}": whole(u) for k, (_, u) in enumerate(history)}
        notes["past"] = [(length, len(stages)) for length, stages in past]
        notes["history"] = [t for t, _ in history]
        notes["choice"] = asdict(state.choice)
        notes["acted"] = [(act.t, act.events, act.molecules) for act in state.acted]
        arrays["values"] = np.array([whole(row) if self.states_too else row for row in values[: state.rows]])
        said = {"version": VERSION, "own": self.own, "rates": self.rates, "state": notes}
        arrays["checkpoint"] = np.array(json.dumps(said))
        trouble = self._put(arrays) if self.problem.ranks.rank == 0 else ""
        # Unknown 0 is at home on the first rank, which wrote.
        told: str = self.problem.ranks.told(0, lambda _: trouble)
        return told

    def _put(self, arrays: dict[str, Array]) -> str:
        try:
            with replacing(self.path) as temporary, temporary.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            last = "the last one that could is still there" if self.path.exists() else "there is none yet"
            return f"the checkpoint {self.path} cannot be written ({error.strerror or error}); {last}; make room for it"
        return ""

    def read(self) -> tuple[dict[str, Any], list[Floats]] | None:
        """Return the fields of the state and the notes of asked times so far; None where there is no file.

        Raises
        ------
        ValueError
            Not a checkpoint, a damaged one, or one of another run: says in what they differ.
        """
        there, ranks = self.path.exists(), self.problem.ranks
        if not ranks.any(there):
            return None
        if not ranks.every(there):
            raise ValueError(f"checkpoint should be a file that all ranks see; {self.path} is there for some of them")
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            notes = json.loads(str(arrays["checkpoint"]))
            own, state, rates = notes["own"], notes["state"], np.array(notes["rates"])
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
        if "models" not in different and not _alike(rates, np.array(self.rates)):
            different.append("models")
        if different:
            raise ValueError(
                f"{self.path} is the checkpoint of another run: {' and '.join(different)} differ; remove it or name "
                "another file"
            )
        before, mine = state["before"] and tuple(state["before"]), self.problem.mine
        past = [(length, [mine(stage) for stage in stages]) for length, stages in past]
        history = [(t, mine(u)) for t, u in history]
        found = {**state, "before": before, "past": tuple(past), "history": tuple(history)}
        rows = [mine(row) if self.states_too else row for row in arrays["values"]]
        return {**found, "u": mine(arrays["u"]), "largest": arrays["largest"]}, rows


def _digests(options: Options, problem: Discrete, times: Floats) -> dict[str, str]:
    """Tell runs apart by what the solver sees of them: see `_rates`, too."""
    mesh, species = problem.system.mesh, problem.system.species.values()
    corners = () if isinstance(mesh, WellMixed) else (mesh.points, mesh.tets, mesh.regions)
    constants = np.array([item.diffusion for item in species])
    shares = [item.shares for item in species if item.shares is not None]
    settings: tuple[Any, ...] = (options.rtol, options.atol, options.step, options.scheme, options.events)
    settings += (options.longest, options.acts)
    if options.keep == "observed":
        # All states serve any questions, numbers only those that they answer.
        settings += tuple(options.observe.values())
    return {
        "meshes": _digest(problem.whole(problem.mass), *corners),
        "models": _digest(np.array(problem.names), problem.whole(problem.initial()), constants, *shares),
        "times": _digest(times),
        "options": _digest(np.array(repr(settings))),
    }


def _rates(problem: Discrete, times: Floats) -> list[list[float]]:
    """Tell models apart by their numbers, as functions have no text: by what reactions bring to some states.

    Returns (sum with some weights, sum of sizes), species by species.
    """
    u, rows, found = problem.whole(problem.initial()), np.arange(problem.n_unknowns), list[list[float]]()
    for share, t in zip((0.1, 0.07, 0.13), (times[0], (times[0] + times[-1]) / 2, times[-1]), strict=True):
        shaken = u * (1 + share * np.sin(rows)) + 0.01 * np.abs(u).max(initial=1e-3)
        brought = problem.whole(problem.reacted(float(t), problem.mine(shaken)))
        weighted = brought * np.cos(share * rows)
        parts = zip(problem.parted(weighted), problem.parted(brought), strict=True)
        found += [[float(own.sum()), float(np.abs(sizes).sum())] for own, sizes in parts]
    return found


def _alike(rates: Floats, others: Floats) -> bool:
    """Tell whether numbers are those of one model."""
    if rates.shape != others.shape or (np.isfinite(rates) != np.isfinite(others)).any():
        return False
    there = np.isfinite(others).all(axis=1)
    return bool((np.abs(rates - others)[there, 0] <= ALIKE * others[there, 1]).all())


def _digest(*arrays: Array) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
