"""The processes of an MPI communicator as `Ranks`: all of them hear the same answers, to the last bit."""

from __future__ import annotations

import functools
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.errors import mark_shared, teller
from meshcell.solving.distributed.libraries import Libraries
from meshcell.solving.ranks import Ranks

# Seconds within which all ranks meet after an error on one of them, before the job is ended.
PATIENCE = 10.0


class Processes(Ranks):
    """The ranks of a communicator.

    Parameters
    ----------
    given : Libraries
    comm : mpi4py communicator, optional
        MPI.COMM_WORLD by default. A copy of it is used, so that no message of others is taken for ours.
    """

    def __init__(self, given: Libraries, comm: Any = None) -> None:
        self.MPI, self._given = given.MPI, given
        self.comm = (comm or given.MPI.COMM_WORLD).Dup()
        # Ranks meet here after errors, while others may still say something else to each other there.
        self._errors = self.comm.Dup()
        self._depth = 0
        self.rank, self.size = self.comm.rank, self.comm.size
        self._asked_to_stop = False
        if self.size > 1:
            sys.excepthook = functools.partial(self._last_words, sys.excepthook)

    def total(self, parts: Any) -> Any:
        """Return the sum over all ranks, taken in their order."""
        return self._together(parts, np.sum)

    def most(self, parts: Any) -> Any:
        """Return the largest over all ranks; NaN where one has it."""
        return self._together(parts, np.max)

    def _together(self, parts: Any, what: Callable[..., Any]) -> Any:
        own = np.asarray(parts, np.float64, order="C")
        all_of_them = np.empty((self.size, *own.shape))
        self.comm.Allgather(own, all_of_them)
        found = what(all_of_them, axis=0)
        return float(found) if np.ndim(found) == 0 else found

    def every(self, holds: bool) -> bool:
        """Tell whether something holds on all ranks."""
        return bool(self.total(float(holds)) == self.size)

    def joined(self, part: Array) -> Array:
        """Return the arrays of all ranks, one after the other."""
        return np.concatenate(self.comm.allgather(part))

    def told(self, unknown: int, ask: Callable[[int], Any]) -> Any:
        """Return what `ask` says of an unknown where it is at home."""
        row, home = divmod(unknown, self.size)
        return self.comm.bcast(ask(row) if home == self.rank else None, home)

    def heed(self) -> None:
        """Raise KeyboardInterrupt on all ranks if one was asked to stop."""
        if self.any(self._asked_to_stop):
            self._asked_to_stop = False
            raise KeyboardInterrupt

    def worst(self, values: Array) -> int:
        """Return the unknown with the largest value; what is no number is larger than all."""
        return self.lowest(-np.nan_to_num(np.asarray(values, np.float64), nan=np.inf), 0)[1]

    def lowest(self, values: Floats, first: int) -> tuple[float, int]:
        """Return the smallest of the values at the unknowns from row `first` on, and which one has it."""
        value, row = super().lowest(values, first)
        lows = self.comm.allgather((np.inf if np.isnan(value) else value, row))
        home = min(range(self.size), key=lambda rank: lows[rank][0])
        return lows[home][0], lows[home][1] * self.size + home

    def owners(self, mesh: Any, used: Array) -> Ints:
        """Give every used point a home: parts of equal size with few edges between them, by dolfinx's partitioner."""
        owners, points = np.zeros(len(used), np.int32), np.flatnonzero(used[: len(mesh.points)])
        if self.size > 1 and len(points) >= self.size:
            starts, targets = _graph_rows(mesh.tets, len(mesh.points), points, self.rank, self.size)
            owners[points] = self.joined(self._given.cut(self.comm, self.size, starts, targets))
        return owners

    # --- what goes wrong ---

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let Ctrl-C and errors of any rank come to all of them, or end the job: no rank waits for one that is gone."""
        before = self._heard()
        self._depth += 1
        try:
            yield
        except BaseException as error:
            self._share(error)
            raise
        finally:
            self._depth -= 1
            if self._depth == 0:
                # What came after the last step is too late, and none of the next one's business.
                self._asked_to_stop = False
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self) -> dict[signal.Signals, Any]:
        """Note Ctrl-C, and SIGTERM where it means the same, for `heed`; return how they were heard before."""
        if self.size == 1 or threading.current_thread() is not threading.main_thread():
            return {}
        heard = [signal.SIGINT]
        if callable(signal.getsignal(signal.SIGTERM)):
            heard.append(signal.SIGTERM)
        return {number: signal.signal(number, self._ask_to_stop) for number in heard}

    def _ask_to_stop(self, *_: Any) -> None:
        self._asked_to_stop = True

    def _share(self, error: BaseException) -> None:
        """Let the first rank tell an error that all have, once; one that others have not as well tells its own."""
        if self.size == 1 or teller(error) is not None:
            return
        self._end_unless_all_failed(error)
        text = f"{type(error).__name__}: {error}"
        alike = self._errors.allgather(text)[0] == text
        mark_shared(error, "another" if alike and self.rank > 0 else "this one")

    def _end_unless_all_failed(self, error: BaseException) -> None:
        """Wait for the others to fail as well; end the job where they do not, with this rank's error."""
        met, deadline = self._errors.Ibarrier(), time.monotonic() + PATIENCE
        while not met.Test():
            if time.monotonic() > deadline:
                text = "".join(traceback.format_exception(error))
                sys.stderr.write(f"rank {self.rank} of {self.size} failed alone, which ends the job:\n{text}")
                sys.stderr.flush()
                self.MPI.COMM_WORLD.Abort(1)
            time.sleep(0.01)

    def _last_words(self, tell: Callable[..., Any], kind: Any, error: BaseException, trace: Any) -> None:
        """Tell an error that nobody caught, once; where others have none, they may wait for this rank: end the job."""
        self._share(error)
        if teller(error) != "another":
            tell(kind, error, trace)

    def require_alike(self, given: Mapping[str, Any]) -> None:
        """Refuse what differs from rank to rank: name -> a short account of it."""
        everyone = self.comm.allgather(dict(given))
        different = [name for name, own in everyone[0].items() if any(other[name] != own for other in everyone)]
        if different:
            raise ValueError(
                f"all ranks should solve the same; their {' and '.join(different)} differ; give random numbers a seed, "
                "and read the same files everywhere"
            )


def _graph_rows(tets: Ints, n_points: int, points: Array, rank: int, size: int) -> tuple[Array, Array]:
    """Return one rank's share of the rows of the graph of some points: starts (m + 1,) and neighbours, int64."""
    n = len(points)
    first, last = n * rank // size, n * (rank + 1) // size
    here, number = np.zeros(n_points, bool), np.full(n_points, -1, np.int64)
    here[points[first:last]], number[points] = True, np.arange(n)
    edges = number[adjacency.edges(tets[here[tets].any(axis=1)], n_points)[0]]
    edges = edges[(edges >= 0).all(axis=1)]
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[(both[:, 0] >= first) & (both[:, 0] < last)]
    both = both[np.argsort(both[:, 0], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(both[:, 0] - first, minlength=last - first))])
    return starts.astype(np.int32), both[:, 1].astype(np.int64)
