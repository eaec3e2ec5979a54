"""The distributed engine: the same equations and steps as the embedded one, shared among the processes of mpiexec.

Each rank has the unknowns of its own nodes, so that reactions need no messages; dolfinx cuts the mesh, PETSc has
matrices and Krylov solvers, and all ranks take the same steps, as they decide by sums of all of them.
"""

from __future__ import annotations

import functools
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.core.types import TetMesh
from meshcell.models.binding import System
from meshcell.models.model import Model
from meshcell.models.solutions import Solution
from meshcell.models.well_mixed import Domain, WellMixed
from meshcell.solving import engine_numba
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.distributed.libraries import Libraries, libraries
from meshcell.solving.distributed.processes import Processes
from meshcell.solving.distributed.systems import Distributed, options_of
from meshcell.solving.options import Options


def run(mesh: Domain, model: Model, times: Floats, options: Options) -> Solution:
    """Simulate a model on a mesh; as `engine_numba.run`, on all ranks at once, which all return the whole solution."""
    with together() as (given, ranks):
        if isinstance(mesh, WellMixed):
            # There is nothing to share: every rank has it all.
            return engine_numba.run(mesh, model, times, options)
        ranks.require_alike(_account(mesh, model, times, options))
        options = replace(options, progress=options.progress and ranks.rank == 0)
        make = functools.partial(Distributed, given=given, processes=ranks)
        with options_of(given, options.petsc):
            return engine_numba.run(mesh, model, times, options, make)


def _account(mesh: TetMesh, model: Model, times: Floats, options: Options) -> dict[str, Any]:
    """Say in short what is solved, and how; functions have no text."""
    corners = [zlib.crc32(np.ascontiguousarray(array).data) for array in (mesh.points, mesh.tets, mesh.regions)]
    rates = {name: str(rate.tree) for name, rate in model.rates.items()}
    how = options.rtol, options.atol, options.step, options.scheme, options.longest, options.keep, [*options.observe]
    return {
        "meshes": corners,
        "models": (rates, repr(model.compartments)),
        "times": (times.tolist(), options.events, len(options.acts)),
        "options": (repr(how), sorted(options.petsc)),
    }


@contextmanager
def discretised(system: System, start: float) -> Iterator[Discretisation]:
    """Give the equations of a bound model while they are solved, each rank its own."""
    with together() as (given, ranks):
        alone = isinstance(system.mesh, WellMixed)
        yield Discretisation(system, start) if alone else Distributed(system, start, given, ranks)


@contextmanager
def together() -> Iterator[tuple[Libraries, Processes]]:
    """Let all ranks work on one thing: errors come to all, and the first one speaks."""
    given, ranks, silence = libraries(), processes(), _Silence()
    logger = logging.getLogger("meshcell")
    if ranks.rank > 0:
        logger.addFilter(silence)
    try:
        with ranks.together():
            yield given, ranks
            # What all ranks have forgotten of PETSc's is freed by all of them at once.
            given.PETSc.garbage_cleanup(ranks.comm)
    finally:
        logger.removeFilter(silence)


@functools.cache
def processes() -> Processes:
    """Return the ranks of all runs; MPI has not endless communicators."""
    return Processes(libraries())


class _Silence(logging.Filter):
    """Lets no record pass: what all ranks would say, the first one says."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Refuse it."""
        return False
