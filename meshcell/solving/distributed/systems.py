"""Linear systems on several ranks, of which each has the unknowns of its own nodes.

Diffusion alone is symmetric: PETSc's conjugate gradients for every species. With reactions all species of a node go
together: our GMRES, whose directions serve all stages of a step, or one of PETSc's Krylov methods where its options say
so; preconditioned with our multigrid of each rank's own nodes. All stop by the measure of the error that the embedded
engine's solvers have, whatever PETSc's own norm says.
"""

from __future__ import annotations

import logging
import re
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from meshcell.core.arrays import Floats
from meshcell.solving.discretisation import Discretisation, Home
from meshcell.solving.distributed.assembled import Assembled
from meshcell.solving.distributed.libraries import Libraries
from meshcell.solving.distributed.plateaus import Plateaus
from meshcell.solving.distributed.processes import Processes
from meshcell.solving.kept_sums import Pieces
from meshcell.solving.linear.diffusion import MOST_ITERATIONS, Diffusion
from meshcell.solving.linear.krylov import Directions, gmres
from meshcell.solving.linear.multigrid import Border, Multigrid

# Prefixes of options: of the systems of diffusion alone, and of diffusion and reactions together.
DIFFUSION, IMPLICIT = "diffusion_", "implicit_"
# By how much PETSc may say that the error fell before it is measured, and what it is asked for beyond what is wanted.
TRUSTED, MARGIN = 1e-4, 0.3
ROUNDS = 12


@dataclass(frozen=True, eq=False)
class Species:
    """One species that diffuses.

    Parameters
    ----------
    K : PETSc.Mat
        Stiffness of its compartment, rows of all ranks.
    diagonal, mass : (n,) floats
        Of this rank's nodes.
    D : float, um^2/s
    own : list of one slice
        Its unknowns.
    pieces : Pieces
    steepest : float, 1/s
        The largest D K_ii / M_ii of all ranks.
    """

    K: Any
    diagonal: Floats
    mass: Floats
    D: float
    own: list[slice]
    pieces: Pieces
    steepest: float


class PetscDiffusion(Diffusion):
    """The diffusion of all species on several ranks; as `Diffusion`, whose bands are single species here."""

    def __init__(self, given: Libraries, ranks: Processes, size: int, homes: Sequence[Home]) -> None:
        self.PETSc, self.ranks, self.size = given.PETSc, ranks, size
        self.bands: list[Any] = []
        self._solvers: dict[int, tuple[float, Any, Any]] = {}
        for home in homes:
            moving = [(D, own) for D, own in zip(home.constants, home.own, strict=True) if D > 0]
            if not moving:
                continue
            K, pieces = self._matrix(home), Pieces.of(home.K, home.mass, home.rows.start, ranks)
            diagonal, mass = home.K.diagonal(home.rows.start), home.mass
            steepest = float(ranks.most((diagonal / mass).max(initial=0)))
            self.bands += [Species(K, diagonal, mass, D, [own], pieces, D * steepest) for D, own in moving]

    def _matrix(self, home: Home) -> Any:
        sizes, index = (home.K.shape, home.K.shape), self.PETSc.IntType
        csr = home.K.indptr.astype(index), home.K.indices.astype(index), home.K.data
        return self.PETSc.Mat().createAIJ(size=sizes, csr=csr, comm=self.ranks.comm)

    def apply(self, u: Floats) -> Floats:
        """Return D K u, molecules/s that diffuse away from every node."""
        result = np.zeros_like(u)
        for band in self.bands:
            result[band.own[0]] = band.D * self._times(band, u[band.own[0]])
        return result

    def _times(self, band: Species, x: Floats) -> Floats:
        from_, to = self._vectors(band)
        from_.array[:] = x
        band.K.mult(from_, to)
        return np.array(to.array_r)

    def _vectors(self, band: Species) -> tuple[Any, Any]:
        if band.K.handle not in self._known:
            self._known[band.K.handle] = band.K.createVecs()
        right, left = self._known[band.K.handle]
        return right, left

    @cached_property
    def _known(self) -> dict[int, Any]:
        return {}

    def solver(self, tau: float, weights: Floats) -> Any:
        """Return (state, guess, tolerance) -> w with (M + tau D K) w = -D K state, as `relax`."""

        def relaxed(state: Floats, guess: Floats, tolerance: float) -> tuple[Floats, int, bool]:
            w, most, converged = np.zeros_like(state), 0, True
            for k, band in enumerate(self.bands):
                own = band.own[0]
                x, iterations, done = self._solved(k, tau, weights[own], state[own], guess[own], tolerance)
                band.pieces.level(x)
                w[own] = x
                most, converged = max(most, iterations), converged and done
            return w, most, converged

        return relaxed

    def _solved(
        self, k: int, tau: float, weights: Floats, state: Floats, guess: Floats, tolerance: float
    ) -> tuple[Floats, int, bool]:
        """Improve a guess until the error is at most `tolerance`."""
        band, ksp = self.bands[k], self._prepared(k, tau)
        # M alone in the place of diag(A) would bound the error, diag(A) alone would take smooth errors too lightly.
        measure = weights / np.sqrt((band.mass + tau * band.D * band.diagonal) * band.mass)
        x, v, done = guess.copy(), state + tau * guess, 0
        right, step = self._solvers[k][2]
        for _ in range(ROUNDS):
            rest = -band.mass * x - band.D * self._times(band, v)
            size = self.ranks.norm(measure * rest)
            if not size > tolerance or not np.isfinite(size) or done >= MOST_ITERATIONS:
                break
            right.array[:] = rest
            ksp.setTolerances(rtol=max(MARGIN * tolerance / size, TRUSTED), atol=0.0, max_it=MOST_ITERATIONS - done)
            ksp.solve(right, step)
            if ksp.getConvergedReason() < 0 and ksp.getIterationNumber() == 0:
                break
            done += max(ksp.getIterationNumber(), 1)
            x += step.array_r
            v += tau * step.array_r
        return x, done, bool(size <= tolerance)

    def _prepared(self, k: int, tau: float) -> Any:
        """Return the Krylov solver of M + tau D K."""
        known = self._solvers.get(k)
        if known is not None and known[0] == tau:
            return known[1]
        band = self.bands[k]
        if known is None:
            ksp = self.PETSc.KSP().create(self.ranks.comm)
            ksp.setOptionsPrefix(DIFFUSION)
            ksp.setType("cg")
            ksp.setNormType(self.PETSc.KSP.NormType.PRECONDITIONED)
            # The cheaper one of the two works within one process alone.
            ksp.getPC().setType("eisenstat" if self.ranks.size == 1 else "bjacobi")
            A, vectors = band.K.duplicate(), band.K.createVecs()
        else:
            _, ksp, vectors = known
            A = ksp.getOperators()[0]
        band.K.copy(A)
        A.scale(tau * band.D)
        diagonal = band.K.createVecLeft()
        diagonal.array[:] = band.mass
        A.setDiagonal(diagonal, addv=self.PETSc.InsertMode.ADD_VALUES)
        ksp.setOperators(A)
        if known is None:
            ksp.setFromOptions()
        # Of every rank's own rows, where there are more ranks; their solver reads its options now.
        with _suggested(self.PETSc, {f"{DIFFUSION}sub_pc_type": "icc"} if self.ranks.size > 1 else {}):
            ksp.setUp()
        self._solvers[k] = tau, ksp, vectors
        return ksp


class PetscSystems:
    """The matrix A = fixed + blocks on several ranks; as `Multigrid`, which each rank has of its own nodes here."""

    def __init__(self, given: Libraries, problem: Distributed) -> None:
        # Not the problem, which has these systems: what is named in a ring stays until Python looks for rings.
        self.PETSc, self.ranks = given.PETSc, problem.processes
        self.local = Multigrid(problem.kinds, problem.blocks)
        self._beyond = [Beyond.of(given, problem.processes, home) for home in problem.homes]
        self._plateaus = Plateaus(self.ranks, problem.kinds, problem.blocks, self._beyond)
        self._border: Border | None = None
        self.weights = np.zeros(0)
        self._known = Directions(problem.size, self.ranks.total)
        # Where somebody asks for one.
        asked = [name for name in given.PETSc.Options().getAll() if name.startswith(IMPLICIT)]
        self._ksp: Any = None
        self._warned = False
        self.assembled: Assembled | None = None
        if asked:
            self._ksp, self._vectors = self._petsc_solver((problem.size, problem.n_unknowns))
        if any(name.startswith(f"{IMPLICIT}pc_type") for name in asked):
            self.assembled = Assembled(given.PETSc, problem, self.ranks, self._beyond, IMPLICIT)

    def _petsc_solver(self, size: tuple[int, int]) -> tuple[Any, Any]:
        """Make a Krylov solver of PETSc and its vectors; `size`: unknowns of this rank, and of all."""
        seen = Weighed(self)
        A = self.PETSc.Mat().createPython((size, size), seen, comm=self.ranks.comm)
        A.setUp()
        ksp = self.PETSc.KSP().create(self.ranks.comm)
        ksp.setOptionsPrefix(IMPLICIT)
        ksp.setOperators(A)
        ksp.setType("gmres")
        ksp.setPCSide(self.PETSc.PC.Side.LEFT)
        ksp.setFromOptions()
        # What the options say of preconditioners is for the matrix with entries, see `apply`.
        pc = ksp.getPC()
        pc.setType("python")
        pc.setPythonContext(seen)
        return ksp, A.createVecs()

    # --- as Multigrid ---

    def update(self, values: Floats, border: tuple[Floats, Floats] | None = None) -> None:
        """Set the node blocks (z,); `border`: L and R, (k, u) each, of which A is less L^T R."""
        self.local.update(values)
        if self.assembled is not None:
            self.assembled.update(values, border, self.ranks.dot)
        self._known.count = 0
        self._plateaus.update(values, self.local.diagonal, border)
        self._border = None
        if border is not None and len(border[0]):
            left, right = (np.ascontiguousarray(part) for part in border)
            self._border = Border.of(left, right, self._precondition, self.ranks.dot)

    def multiply(self, x: Floats) -> Floats:
        """Return A x."""
        y = self._multiply(x)
        if self._border is not None:
            self._border.take(x, y)
        return y

    def _multiply(self, x: Floats) -> Floats:
        """Return A x without the border."""
        y = self.local.multiply(x)
        for beyond in self._beyond:
            beyond.add(x, y)
        return y

    def _precondition(self, r: Floats) -> Floats:
        y = self.local.precondition(r)
        if self._plateaus.inverse is not None:
            self._plateaus.correct(self._plateaus.inverse, r - self._multiply(y), y)
        return y

    def precondition(self, r: Floats) -> Floats:
        """Return B r, where B is about the inverse of A."""
        y = self._precondition(r)
        if self._border is not None:
            self._border.correct(y)
            if self._plateaus.whole is not None:
                self._plateaus.correct(self._plateaus.whole, r - self.multiply(y), y)
        return y

    def solve(
        self, b: Floats, weights: Floats, tolerance: float, guess: Floats | None = None, most: int = 120
    ) -> tuple[Floats, int, bool]:
        """Solve A x = b until the 2-norm of weights * B (b - A x), about that of the error, is at most `tolerance`."""
        if weights is not self.weights:
            self._known.count, self.weights = 0, weights
        if self._ksp is None:
            system = self.multiply, self.precondition, b, weights, tolerance, guess, most
            x, done, converged = gmres(*system, self._known)
        else:
            x, done, converged = self._by_petsc(self._ksp, b, weights, tolerance, guess, most)
        if self._plateaus.last is not None:
            # Sums above all: what is wrong in them adds up from step to step.
            self._plateaus.correct(self._plateaus.last, b - self.multiply(x), x)
        return x, done, converged

    def _by_petsc(
        self, ksp: Any, b: Floats, weights: Floats, tolerance: float, guess: Floats | None, most: int
    ) -> tuple[Floats, int, bool]:
        """Solve with a Krylov method of PETSc."""
        x, done = np.zeros_like(b) if guess is None else guess.copy(), 0
        right, step = self._vectors
        for _ in range(ROUNDS):
            rest = b - self.multiply(x) if done or guess is not None else b
            r = self.precondition(rest)
            size, done = self.ranks.norm(weights * r), done + 1
            if not size > tolerance or not np.isfinite(size) or done >= most:
                break
            right.array[:] = rest
            share = max(MARGIN * tolerance / size, TRUSTED)
            ksp.setTolerances(rtol=share, atol=0.0, divtol=1e10, max_it=most - done)
            ksp.solve(right, step)
            if ksp.getIterationNumber() == 0:
                break
            done += ksp.getIterationNumber()
            x += step.array_r / weights
        x += r
        if not size <= tolerance:
            self._warn(ksp)
        return x, done, bool(size <= tolerance)

    def _warn(self, ksp: Any) -> None:
        """Say once that the solver somebody chose does not do."""
        if not self._warned:
            logging.getLogger("meshcell").warning(
                "PETSc's %s with %s did not solve a system with reactions (reason %d): its step is taken anew, "
                "shorter; other options %r, or none, may do better",
                *(ksp.getType(), self.assembled.name if self.assembled else "our preconditioner"),
                *(ksp.getConvergedReason(), f"{IMPLICIT}..."),
            )
        self._warned = True


class Weighed:
    """The systems as PETSc sees them: W A W^-1 and W B W^-1 of the weighed unknowns, so that its norms are ours.

    It does not own them, as PETSc, which they own, keeps it.
    """

    def __init__(self, systems: PetscSystems) -> None:
        self._systems = weakref.ref(systems)

    def mult(self, _: Any, x: Any, y: Any) -> None:
        """Multiply, for the matrix."""
        if systems := self._systems():
            y.array[:] = systems.multiply(x.array_r / systems.weights)

    def apply(self, _: Any, x: Any, y: Any) -> None:
        """Precondition, with PETSc's own where its options name one."""
        if systems := self._systems():
            by = systems if systems.assembled is None else systems.assembled
            y.array[:] = systems.weights * by.precondition(np.array(x.array_r))


@dataclass(frozen=True, eq=False)
class Beyond:
    """What other ranks' nodes enter with: entries of K that multiply their values, which PETSc fetches.

    Parameters
    ----------
    entries : (n, g) sparse array
        In the columns of the g nodes of other ranks.
    constants, own : of every species
    scatter, here, there : PETSc.Scatter and Vecs
    """

    entries: sp.csr_array
    constants: list[float]
    own: list[slice]
    scatter: Any
    here: Any
    there: Any

    @classmethod
    def of(cls, given: Libraries, ranks: Processes, home: Home) -> Beyond:
        """Find the columns of other ranks in a compartment's matrix."""
        PETSc, rows = given.PETSc, home.K
        away = (rows.indices < home.rows.start) | (rows.indices >= home.rows.stop)
        columns, places = np.unique(rows.indices[away], return_inverse=True)
        starts = np.concatenate([[0], np.cumsum(away)])[rows.indptr]
        entries = sp.csr_array((rows.data[away], places.ravel(), starts), shape=(rows.shape[0], len(columns)))
        here = PETSc.Vec().createMPI(rows.shape, comm=ranks.comm)
        there = PETSc.Vec().createSeq(len(columns), comm=PETSc.COMM_SELF)
        wanted = PETSc.IS().createGeneral(columns.astype(PETSc.IntType), comm=PETSc.COMM_SELF)
        return cls(entries, home.constants, home.own, PETSc.Scatter().create(here, wanted, there, None), here, there)

    def fetched(self, x: Floats) -> Iterator[tuple[float, slice, Floats]]:
        """Fetch the values (g,) of other ranks for every species that diffuses: (D, its unknowns, values)."""
        for D, own in zip(self.constants, self.own, strict=True):
            if D > 0:
                self.here.array[:] = x[own]
                self.scatter.scatter(self.here, self.there)
                yield D, own, self.there.array_r

    def add(self, x: Floats, y: Floats) -> None:
        """Add to y what the values x of other ranks bring."""
        for D, own, away in self.fetched(x):
            y[own] += D * (self.entries @ away)


class Distributed(Discretisation):
    """A discretisation of which every rank has the unknowns of its own nodes."""

    def __init__(self, system: Any, start: float, given: Libraries, processes: Processes) -> None:
        self.given, self.processes = given, processes
        starts = [zlib.crc32(np.ascontiguousarray(item.initial).data) for item in system.species.values()]
        processes.require_alike({"species": list(system.species), "initial values": starts})
        super().__init__(system, start, processes)
        if not processes.every(self.size > 0):
            raise ValueError(
                f"every rank should have some of the model's {self.n_unknowns} unknowns, points of the mesh with all "
                f"of theirs; {processes.size} ranks are too many for it: take fewer, or engine='numba'"
            )

    @cached_property
    def diffusion(self) -> Diffusion:
        """Diffusion alone."""
        return PetscDiffusion(self.given, self.processes, self.size, self.homes)

    @cached_property
    def multigrid(self) -> Any:
        """The linear systems of implicit steps; made when first used."""
        return PetscSystems(self.given, self)


@contextmanager
def _suggested(PETSc: Any, options: Mapping[str, str]) -> Iterator[None]:
    """Set options for a while that nobody has set."""
    known = PETSc.Options()
    ours = {name: value for name, value in options.items() if not known.hasName(name)}
    for name, value in ours.items():
        known[name] = value
    try:
        yield
    finally:
        for name in ours:
            known.delValue(name)


@contextmanager
def options_of(given: Libraries, options: Mapping[str, Any]) -> Iterator[None]:
    """Let PETSc have options for a while, {"diffusion_pc_type": "gamg"}, and warn of those that no solver asked for."""
    known = given.PETSc.Options()
    before = {name: known.getString(name) for name in options if known.hasName(name)}
    for name, value in options.items():
        known[name] = value
    try:
        yield
        for name in given.unused(options):
            logging.getLogger("meshcell").warning(
                "no solver asked for the option %r of PETSc: the solvers of this run are %r and %r",
                *(name, f"{DIFFUSION}...", f"{IMPLICIT}..."),
            )
    except given.PETSc.Error as error:
        if not options:
            raise
        reason = re.sub(r"^\[\d+\]\s*", "", str(error).strip().splitlines()[-1])
        raise ValueError(f"PETSc did not take one of the options {dict(options)}: {reason}") from error
    finally:
        for name in options:
            known.delValue(name)
        for name, text in before.items():
            known[name] = text
