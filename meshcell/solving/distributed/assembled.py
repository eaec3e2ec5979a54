"""The matrix of implicit systems with all its entries, for PETSc's own preconditioners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core.arrays import Floats
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.distributed.processes import Processes
from meshcell.solving.linear.multigrid import Border

Triples = tuple[Any, Any, Any]


class Assembled:
    """D K of all species and the node blocks; all species of a rank stand in one piece.

    Parameters
    ----------
    PETSc : module
    problem : Discretisation
        Of the unknowns of this rank.
    ranks : Processes
    beyond : list of Beyond
        What other ranks' nodes enter with.
    prefix : str
        Of the options that choose the preconditioner: GAMG, block Jacobi with ILU, MUMPS, ...
    """

    def __init__(self, PETSc: Any, problem: Discretisation, ranks: Processes, beyond: list[Any], prefix: str) -> None:
        n = problem.size
        self._first = int(ranks.joined(np.array([n]))[: ranks.rank].sum())
        in_blocks = problem.blocks.rows, self._first + problem.blocks.columns
        there = [(*in_blocks, np.zeros(len(in_blocks[0]))), *self._diffusion(problem, beyond)]
        rows, columns, values = (np.concatenate([part[k] for part in there]) for k in range(3))
        size = (n, problem.n_unknowns)
        whole = sp.coo_array((values, (rows, columns)), shape=size).tocsr()
        self._data, self._places = whole.data, _places(whole, *in_blocks)
        csr = whole.indptr.astype(PETSc.IntType), whole.indices.astype(PETSc.IntType), whole.data
        self._matrix = PETSc.Mat().createAIJ(size=(size, size), csr=csr, comm=ranks.comm)
        self._csr = csr[:2]
        self._pc = PETSc.PC().create(ranks.comm)
        self._pc.setOptionsPrefix(prefix)
        self._pc.setOperators(self._matrix)
        self._pc.setFromOptions()
        self._vectors = self._matrix.createVecs()
        self._border: Border | None = None

    def _diffusion(self, problem: Discretisation, beyond: list[Any]) -> Iterator[Triples]:
        """Yield the entries of D K, rows of this rank and columns of all: those at home here, and of the others."""
        names = self._first + np.arange(problem.size, dtype=np.float64)
        for home in problem.homes:
            here = home.K[:, home.rows].tocoo()
            for D, own in zip(home.constants, home.own, strict=True):
                if D > 0:
                    yield own.start + here.coords[0], self._first + own.start + here.coords[1], D * here.data
        for part in beyond:
            away = part.entries.tocoo()
            for D, own, theirs in part.fetched(names):
                columns = np.rint(theirs[away.coords[1]]).astype(np.int64)
                yield own.start + away.coords[0], columns, D * away.data

    @property
    def name(self) -> str:
        """What PETSc calls the preconditioner."""
        return str(self._pc.getType())

    def update(self, values: Floats, border: tuple[Floats, Floats] | None, dot: Callable[..., float]) -> None:
        """Set the node blocks (z,), and what reads whole states as in `PetscSystems.update`."""
        data = self._data.copy()
        data[self._places] += values
        self._matrix.setValuesCSR(*self._csr, data)
        self._matrix.assemble()
        self._pc.setOperators(self._matrix)
        self._border = None
        if border is not None and len(border[0]):
            left, right = (np.ascontiguousarray(part) for part in border)
            self._border = Border.of(left, right, self._inverse, dot)

    def precondition(self, r: Floats) -> Floats:
        """Return about A^-1 r."""
        y = self._inverse(r)
        if self._border is not None:
            self._border.correct(y)
        return y

    def _inverse(self, r: Floats) -> Floats:
        right, left = self._vectors
        right.array[:] = r
        self._pc.apply(right, left)
        return np.array(left.array_r)


def _places(matrix: sp.csr_array, rows: Any, columns: Any) -> npt.NDArray[np.int64]:
    """Return where entries stand in the data of a matrix that has them all."""
    width = matrix.shape[1]
    keys = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)) * width + matrix.indices
    return np.asarray(np.searchsorted(keys, np.asarray(rows, np.int64) * width + columns))
