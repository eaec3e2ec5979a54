"""The libraries of the distributed engine, loaded when first asked for; what their versions call differently."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.arrays import Array

HOW = (
    "engine='fenicsx' needs dolfinx with PETSc; on Linux with Python 3.12 or later: pip install 'meshcell[fenicsx]'; "
    "elsewhere from conda-forge (fenics-dolfinx, petsc4py) or Debian 13 (python3-dolfinx)"
)


@dataclass(frozen=True)
class Libraries:
    """MPI (mpi4py), PETSc (petsc4py) and the module of graphs of dolfinx."""

    MPI: Any
    PETSc: Any
    graph: Any

    def cut(self, comm: Any, n_parts: int, starts: Array, targets: Array) -> Array:
        """Cut a graph, of which every rank has some rows, by dolfinx's partitioner: (rows,) the part of each."""
        rows = self.graph.adjacencylist(targets, starts)
        # Until dolfinx 0.9 it was the object of C++ itself.
        parts = self.graph.partitioner()(comm, n_parts, getattr(rows, "_cpp_object", rows), False)
        return np.asarray(parts.array, np.int32)

    def unused(self, names: Iterable[str]) -> list[str]:
        """Return the options that no solver has asked for; none where PETSc does not tell, as before 3.23."""
        used = getattr(self.PETSc.Options(), "used", None)
        return [] if used is None else [name for name in names if not used(name)]


# Options on a command line that are PETSc's; those of the program that runs are none of its business.
OPTIONS = ("-diffusion_", "-implicit_", "-log_view", "-options_left", "-options_view", "-malloc_")


def _petsc_options(words: Sequence[str]) -> list[str]:
    """Take the options of PETSc, and their values, from a command line.

    Examples
    --------
    >>> _petsc_options(["-m", "slow", "-diffusion_pc_type", "gamg", "-log_view", "-x"])
    ['-diffusion_pc_type', 'gamg', '-log_view']
    """
    taken: list[str] = []
    ours = False
    for word in words:
        named = word.startswith("-") and not word[1:2].isdigit()
        ours = word.startswith(OPTIONS) if named else ours
        taken += [word] if ours else []
    return taken


@functools.cache
def libraries() -> Libraries:
    """Load them.

    Raises
    ------
    ImportError
        Says how to get what is missing.
    """
    # The wheel's own module prepares the way to its libraries and comes first; other distributions have none.
    with contextlib.suppress(ImportError):
        importlib.import_module("dolfinx_solver")
    try:
        petsc4py = importlib.import_module("petsc4py")
        petsc4py.init([*sys.argv[:1], *_petsc_options(sys.argv[1:])])
        found = [importlib.import_module(name) for name in ("mpi4py.MPI", "petsc4py.PETSc", "dolfinx.graph")]
    except ImportError as error:
        raise ImportError(f"{HOW} ({error})") from error
    return Libraries(*found)
