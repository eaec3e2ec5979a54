"""The libraries of the distributed engine, loaded when first asked for; what their versions call differently."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from dataclasses import dataclass
from typing import Any

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
        # Options of PETSc on the command line.
        petsc4py.init(sys.argv)
        found = [importlib.import_module(name) for name in ("mpi4py.MPI", "petsc4py.PETSc", "dolfinx.graph")]
    except ImportError as error:
        raise ImportError(f"{HOW} ({error})") from error
    return Libraries(*found)
