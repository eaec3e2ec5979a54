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

from meshcell.core.arrays import Array, Floats, Ints

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

    def shared_mesh(self, points: Floats, tets: Ints) -> Any:
        """Make dolfinx's mesh of tetrahedra, the first rank's, with the cells beside shared faces on both ranks."""
        dmesh, basix, ufl = (importlib.import_module(name) for name in ("dolfinx.mesh", "basix.ufl", "ufl"))
        shape = ufl.Mesh(basix.element("Lagrange", "tetrahedron", 1, shape=(3,)))
        # Since dolfinx 0.10 with the most cells that a face may have.
        most = [2] if "max_facet_to_cell_links" in str(dmesh.create_cell_partitioner.__doc__) else []
        cut = dmesh.create_cell_partitioner(self.graph.partitioner(), dmesh.GhostMode.shared_facet, *most)
        mine = slice(None) if self.MPI.COMM_WORLD.rank == 0 else slice(0)
        cells = np.asarray(tets[mine], np.int64)
        # By name, as their order changed.
        return dmesh.create_mesh(self.MPI.COMM_WORLD, cells=cells, x=points[mine], e=shape, partitioner=cut)

    def layout(self, geometry: Any) -> Ints:
        """(cells, 4) rows of the points of dolfinx's geometry."""
        # A list of them since dolfinx 0.10.
        several = getattr(geometry, "dofmaps", None)
        return np.asarray(geometry.dofmap if several is None or callable(several) else several[0])

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
        petsc4py.init(["meshcell", *_petsc_options(sys.argv[1:])])
        found = [importlib.import_module(name) for name in ("mpi4py.MPI", "petsc4py.PETSc", "dolfinx.graph")]
    except ImportError as error:
        raise ImportError(f"{HOW} ({error})") from error
    return Libraries(*found)
