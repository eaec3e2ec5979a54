"""Diffusion alone: D K u, and the symmetric systems (M + tau D K) w = b by conjugate gradients.

K is the same for all species of a compartment, whatever their D, so up to four of them go through it together: most
of the time of a sparse product goes into reading the matrix. M is lumped, so a new step size costs a new diagonal.

The preconditioner is a symmetric Gauss-Seidel sweep within pieces of rows, in the form of Eisenstat: with A = L + D + U
the iteration runs on (D + L)^-1 A (D + U)^-1, whose product needs one pass back through U and one forth through L, so
that half of the iterations cost half of the time. They run in single precision, on what is left of a residual in
double.

Source: Eisenstat, Efficient implementation of a class of preconditioned conjugate gradient methods, SIAM J. Sci. Stat.
Comput. 2 (1981) 1-4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core.kernels import njit
from meshcell.core.threads import pieces as cut, share
from meshcell.solving.coarsening import parts_of
from meshcell.solving.kept_sums import Pieces
from meshcell.solving.sparse_products import Places, Product, Rows

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

# Species that are multiplied together: as many doubles as a register holds.
WIDTH = 4
MOST_ITERATIONS = 400
# Entries of K in a piece of a sweep, at least, and pieces at most: they do not see each other.
PIECE, MOST_PIECES = 125_000, 16
# By how much the error may fall in single precision before it is looked at in double.
TRUSTED = 1e-3


@dataclass(frozen=True, eq=False)
class Sweeps:
    """The stiffness matrix K of a compartment, to go through in pieces of rows, and in these row after row.

    Parameters
    ----------
    bounds : (k + 1,) int64
        The pieces.
    parts : (n, 6) uint32
        Where in every row its entries begin, those of its own piece, the diagonal one, and what is after it; where
        those of its own piece end, and all of them.
    indices, data : (e,) uint32, (e,) floats
        Columns and entries, these in single precision.
    """

    bounds: Rows
    parts: Places
    indices: Places
    data: Singles

    @classmethod
    def of(cls, K: sp.csr_array) -> Sweeps:
        """Cut a matrix, whose rows have a diagonal entry each, into pieces of about equal work."""
        entries = np.diff(K.indptr)
        bounds = cut(entries, max(PIECE, K.nnz // MOST_PIECES))
        piece_of = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        parts = parts_of(K.indptr, K.indices, np.zeros_like(entries), piece_of)
        return cls(bounds, parts, K.indices.astype(np.uint32), K.data.astype(np.float32))

    def share(self, kernel: Any, *args: Any) -> None:
        """Run a kernel over the pieces."""
        share(kernel, len(self.bounds) - 1, WIDTH * self.data.size, self.bounds, *args)


@dataclass(frozen=True, eq=False)
class Band:
    """Up to WIDTH species of one compartment that diffuse together, as columns of arrays (n, WIDTH).

    Parameters
    ----------
    product, data : Product, (e,) floats
        The stiffness matrix K of the compartment.
    sweeps : Sweeps
        The same for the preconditioner.
    diagonal, mass : (n,) floats
        Of K, um, and of the lumped mass matrix, um^3 (on an interface dimensionless and um^2).
    constants : WIDTH floats
        Diffusion in um^2/s, column by column; columns that are not used have 0.
    own : list of slices
        The unknowns of each column in use.
    pieces : Pieces
        Within each of which diffusion keeps all molecules, unless values are fixed there.
    """

    product: Product
    sweeps: Sweeps
    data: Floats
    diagonal: Floats
    mass: Floats
    constants: tuple[float, ...]
    own: list[slice]
    pieces: Pieces

    @cached_property
    def steepest(self) -> float:
        """The largest D K_ii / M_ii, 1/s."""
        return max(self.constants) * float((self.diagonal / self.mass).max())

    @cached_property
    def space(self) -> Singles:
        """(6, n, WIDTH) what an iteration works on; only one runs at a time."""
        return np.empty((6, len(self.mass), WIDTH), np.float32)

    def gather(self, u: Floats) -> Floats:
        """Take this band's columns out of the unknowns."""
        columns = np.zeros((len(self.mass), WIDTH))
        for k, rows in enumerate(self.own):
            columns[:, k] = u[rows]
        return columns

    def operate(self, mass: float, factors: tuple[float, ...], x: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Return mass * M x + factors * K v, and the largest value of each column."""
        y, product, n_pieces = np.empty_like(v), self.product, len(self.product.bounds) - 1
        places, largest = (product.bounds, product.indptr, product.indices), np.empty((n_pieces, WIDTH))
        more = self.data, self.mass, mass, factors, x, v, y, largest
        share(_operate, n_pieces, WIDTH * self.data.size, *places, *more)
        return y, largest.max(axis=0)


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The systems A w = (M + tau D K) w = -D K u of one band, for all stages of a step.

    Parameters
    ----------
    band : Band
    tau : float, s
    inverse : (n, WIDTH) floats
        One over the diagonal of A, in single precision and units of `unit`.
    measure : (n, WIDTH) floats
        By which a residual's squares are weighed: (weights / sqrt(diag(A) M))^2. M alone in the place of diag(A) would
        bound the error (A >= M), diag(A) alone would take smooth errors too lightly.
    unit : float
        Mean mass of a node, so that no number leaves the range of single precision.
    sizes : (WIDTH,) floats
        Units of `measure`.
    """

    band: Band
    tau: float
    inverse: Singles
    measure: Singles
    unit: float
    sizes: Floats

    @classmethod
    def of(cls, band: Band, tau: float, weights: Floats) -> Relaxation:
        """Prepare the systems; the root of the sum of (weights * error of w)^2 is what counts."""
        columns, unit, sweeps = band.gather(weights), float(band.mass.mean()), band.sweeps
        inverse, measure = np.empty((2, *columns.shape), np.float32)
        largest = np.empty((len(sweeps.bounds) - 1, WIDTH))
        factors = tuple(tau * D for D in band.constants)
        sweeps.share(_prepare, factors, band.diagonal, band.mass, unit, columns, inverse, largest)
        sizes = _filled(largest.max(axis=0))
        sweeps.share(_scaled, tuple(1 / sizes), columns, measure)
        return cls(band, tau, inverse, measure, unit, sizes)

    def solve(self, state: Floats, guess: Floats, tolerance: float) -> tuple[Floats, int, bool]:
        """Improve a guess until the error is at most `tolerance` in every column."""
        band, x, v, done = self.band, self.band.gather(guess), self.band.gather(state), 0
        v += self.tau * x
        while True:
            rest, size = band.operate(-1.0, tuple(-D for D in band.constants), x, v)
            if not np.isfinite(size).all():
                return x, done, False
            scale = _filled(size)
            band.sweeps.share(_scaled, tuple(1 / scale), rest, band.space[0])
            limit = tolerance**2 / (self.sizes * scale**2)
            iterations, enough = self._improved(limit, MOST_ITERATIONS - done)
            done += iterations
            if iterations:
                change = tuple(scale / self.unit)
                band.sweeps.share(_add, change, tuple(self.tau * scale / self.unit), band.space[1], x, v)
            if enough or not iterations or done >= MOST_ITERATIONS:
                return x, done, enough

    def _improved(self, limit: Floats, most: int) -> tuple[int, bool]:
        """Solve A x = r in the band's space, from x = 0, in units of `unit`.

        Until the measure of the error is at most `limit`, or as small as single precision can be trusted with.
        """
        sweeps, n_pieces = self.band.sweeps, len(self.band.sweeps.bounds) - 1
        factors = tuple(self.tau * D / self.unit for D in self.band.constants)
        system = sweeps.parts, sweeps.indices, sweeps.data, factors, self.inverse
        r, x, p, t, q, u = self.band.space
        sums = np.empty((n_pieces, 2, WIDTH))
        if n_pieces == 1:
            loop = sweeps.bounds, *system, self.measure, limit, most
            iterations, enough = _iterate(*loop, r, x, p, t, q, u, sums)
            return int(iterations), bool(enough)
        sweeps.share(_begin, *system, self.measure, r, x, p, u, sums)
        new, size = sums.sum(axis=0)
        least, beta = np.maximum(limit, TRUSTED**2 * size), (0.0,) * WIDTH
        for iteration in range(most):
            active = size > least
            if not active.any():
                return iteration, bool((size <= limit).all())
            sweeps.share(_back, *system, beta, r, p, q, t)
            sweeps.share(_forth, *system, p, t, u, q, sums)
            pq = sums[:, 0].sum(axis=0)
            alpha = tuple(np.divide(new, pq, out=np.zeros(WIDTH), where=active & (pq > 0)).tolist())
            sweeps.share(_update, alpha, t, q, self.inverse, self.measure, x, r, sums)
            before = new
            new, size = sums.sum(axis=0)
            beta = tuple(np.divide(new, before, out=np.zeros(WIDTH), where=before > 0).tolist())
        return most, bool((size <= limit).all())


def _filled(sizes: Floats) -> Floats:
    """Return units of columns: 1 for those that are empty."""
    return np.where(sizes > 0, sizes, 1.0)


class Diffusion:
    """The diffusion of all species.

    Parameters
    ----------
    size : int
        Unknowns.
    homes : list of (K, lumped mass, species' D, species' unknowns)
        One entry per compartment.
    """

    def __init__(self, size: int, homes: list[tuple[sp.csr_array, Floats, list[float], list[slice]]]) -> None:
        self.size = size
        self.bands: list[Band] = []
        for K, mass, constants, own in homes:
            moving = [(D, rows) for D, rows in zip(constants, own, strict=True) if D > 0]
            if not moving:
                continue
            product, diagonal = Product.of(K), K.diagonal()
            pieces, sweeps = Pieces.of(K, mass), Sweeps.of(K)
            for first in range(0, len(moving), WIDTH):
                chosen = moving[first : first + WIDTH]
                factors = (*(D for D, _ in chosen), *(0.0,) * (WIDTH - len(chosen)))
                own = [rows for _, rows in chosen]
                self.bands.append(Band(product, sweeps, K.data, diagonal, mass, factors, own, pieces))

    def apply(self, u: Floats) -> Floats:
        """Return D K u, molecules/s that diffuse away from every node."""
        result = np.zeros_like(u)
        for band in self.bands:
            columns = band.gather(u)
            y, _ = band.operate(0.0, band.constants, columns, columns)
            for k, rows in enumerate(band.own):
                result[rows] = y[:, k]
        return result

    def levelled(self, rates: Floats) -> Floats:
        """Return diffusive rates (u,) without what they add to whole pieces, nor to what does not diffuse."""
        result = np.zeros_like(rates)
        for band in self.bands:
            for rows in band.own:
                column = rates[rows].copy()
                band.pieces.level(column)
                result[rows] = column
        return result

    def steepness(self, tau: float) -> float:
        """Return the largest tau D K_ii / M_ii: about half of the condition of M + tau D K, scaled."""
        return tau * max((band.steepest for band in self.bands), default=0.0)

    def relaxations(self, tau: float, weights: Floats) -> list[Relaxation]:
        """Prepare the systems of a step: `weights` (u,) as in `Relaxation.of`."""
        return [Relaxation.of(band, tau, weights) for band in self.bands]


def relax(relaxations: list[Relaxation], state: Floats, guess: Floats, tolerance: float) -> tuple[Floats, int, bool]:
    """Solve (M + tau D K) w = -D K state for the diffusive rate w at the end of an implicit stage.

    Parameters
    ----------
    relaxations : list of Relaxation
    state, guess : (u,) floats
        The state before the stage; a guess of w.
    tolerance : float

    Returns
    -------
    w : (u,) floats
        Sums to nothing for every species in every connected piece: diffusion keeps all molecules, whatever the
        tolerance, unless values are fixed somewhere in it.
    iterations : int
        Of the species that took most.
    converged : bool
    """
    w, most, converged = np.zeros_like(state), 0, True
    for relaxation in relaxations:
        x, iterations, done = relaxation.solve(state, guess, tolerance)
        for k, rows in enumerate(relaxation.band.own):
            column = x[:, k].copy()
            relaxation.band.pieces.level(column)
            w[rows] = column
        most, converged = max(most, iterations), converged and done
    return w, most, converged


# --- kernels ---


ZERO, ONE = np.float32(0), np.uint32(1)


@njit(cache=True, nogil=True)
def _prepare(
    first: int,
    last: int,
    bounds: Any,
    factors: Any,
    diagonal: Any,
    mass: Any,
    unit: float,
    measure: Any,
    inverse: Any,
    largest: Any,
) -> None:
    """Fill `inverse`, and turn weights into `measure`; `largest` is its greatest value in every piece."""
    for piece in range(first, last):
        for k in range(WIDTH):
            most = 0.0
            for i in range(bounds[piece], bounds[piece + 1]):
                one = 1 / (mass[i] + factors[k] * diagonal[i])
                inverse[i, k] = unit * one
                value = measure[i, k] * measure[i, k] * one / mass[i]
                measure[i, k] = value
                most = max(most, value)
            largest[piece, k] = most


@njit(cache=True, nogil=True, slp=True)
def _scaled(first: int, last: int, bounds: Any, factors: Any, x: Any, y: Any) -> None:
    """Set y to the columns of x times their factors, in single precision."""
    f0, f1, f2, f3 = factors
    for i in range(bounds[first], bounds[last]):
        y[i, 0], y[i, 1], y[i, 2], y[i, 3] = f0 * x[i, 0], f1 * x[i, 1], f2 * x[i, 2], f3 * x[i, 3]


@njit(cache=True, nogil=True, slp=True)
def _add(first: int, last: int, bounds: Any, factors: Any, others: Any, step: Any, x: Any, v: Any) -> None:
    """Add to x and v the columns of a step times their factors."""
    f0, f1, f2, f3 = factors
    g0, g1, g2, g3 = others
    for i in range(bounds[first], bounds[last]):
        s0, s1, s2, s3 = step[i, 0], step[i, 1], step[i, 2], step[i, 3]
        x[i, 0], x[i, 1] = x[i, 0] + f0 * s0, x[i, 1] + f1 * s1
        x[i, 2], x[i, 3] = x[i, 2] + f2 * s2, x[i, 3] + f3 * s3
        v[i, 0], v[i, 1] = v[i, 0] + g0 * s0, v[i, 1] + g1 * s1
        v[i, 2], v[i, 3] = v[i, 2] + g2 * s2, v[i, 3] + g3 * s3


@njit(cache=True, nogil=True, fastmath={"contract"}, slp=True)
def _operate(
    first: int,
    last: int,
    bounds: Any,
    indptr: Any,
    indices: Any,
    data: Any,
    mass: Any,
    share_of_mass: float,
    factors: Any,
    x: Any,
    v: Any,
    y: Any,
    largest: Any,
) -> None:
    f0, f1, f2, f3 = factors
    for piece in range(first, last):
        m0 = m1 = m2 = m3 = 0.0
        for i in range(bounds[piece], bounds[piece + 1]):
            a0 = a1 = a2 = a3 = 0.0
            for k in range(indptr[i], indptr[i + 1]):
                value, j = data[k], indices[k]
                a0 += value * v[j, 0]
                a1 += value * v[j, 1]
                a2 += value * v[j, 2]
                a3 += value * v[j, 3]
            m = share_of_mass * mass[i]
            y0, y1 = m * x[i, 0] + f0 * a0, m * x[i, 1] + f1 * a1
            y2, y3 = m * x[i, 2] + f2 * a2, m * x[i, 3] + f3 * a3
            y[i, 0], y[i, 1], y[i, 2], y[i, 3] = y0, y1, y2, y3
            # The comparisons let no NaN pass by.
            m0 = m0 if abs(y0) <= m0 else abs(y0)
            m1 = m1 if abs(y1) <= m1 else abs(y1)
            m2 = m2 if abs(y2) <= m2 else abs(y2)
            m3 = m3 if abs(y3) <= m3 else abs(y3)
        largest[piece, 0], largest[piece, 1], largest[piece, 2], largest[piece, 3] = m0, m1, m2, m3


@njit(cache=True, nogil=True, fastmath={"contract"}, slp=True)
def _begin(
    first: int,
    last: int,
    bounds: Any,
    parts: Any,
    indices: Any,
    data: Any,
    factors: Any,
    inverse: Any,
    measure: Any,
    rest: Any,
    x: Any,
    p: Any,
    u: Any,
    sums: Any,
) -> None:
    """Begin with x = p = 0: turn a residual into D (D + L)^-1 of it, and sum up as `_update` does."""
    f0, f1, f2, f3 = _singles(factors)
    for piece in range(first, last):
        z0 = z1 = z2 = z3 = s0 = s1 = s2 = s3 = 0.0
        for i in range(bounds[piece], bounds[piece + 1]):
            a0 = a1 = a2 = a3 = ZERO
            for k in range(parts[i, 1], parts[i, 2]):
                value, j = data[k], indices[k]
                a0 += value * u[j, 0]
                a1 += value * u[j, 1]
                a2 += value * u[j, 2]
                a3 += value * u[j, 3]
            r0, r1, r2, r3 = rest[i, 0] - f0 * a0, rest[i, 1] - f1 * a1, rest[i, 2] - f2 * a2, rest[i, 3] - f3 * a3
            u0, u1, u2, u3 = inverse[i, 0] * r0, inverse[i, 1] * r1, inverse[i, 2] * r2, inverse[i, 3] * r3
            rest[i, 0], rest[i, 1], rest[i, 2], rest[i, 3] = r0, r1, r2, r3
            u[i, 0], u[i, 1], u[i, 2], u[i, 3] = u0, u1, u2, u3
            x[i, 0], x[i, 1], x[i, 2], x[i, 3] = ZERO, ZERO, ZERO, ZERO
            p[i, 0], p[i, 1], p[i, 2], p[i, 3] = ZERO, ZERO, ZERO, ZERO
            z0, z1, z2, z3 = z0 + r0 * u0, z1 + r1 * u1, z2 + r2 * u2, z3 + r3 * u3
            s0, s1 = s0 + r0 * r0 * measure[i, 0], s1 + r1 * r1 * measure[i, 1]
            s2, s3 = s2 + r2 * r2 * measure[i, 2], s3 + r3 * r3 * measure[i, 3]
        sums[piece, 0, 0], sums[piece, 0, 1], sums[piece, 0, 2], sums[piece, 0, 3] = z0, z1, z2, z3
        sums[piece, 1, 0], sums[piece, 1, 1], sums[piece, 1, 2], sums[piece, 1, 3] = s0, s1, s2, s3


@njit(cache=True, nogil=True, fastmath={"contract"}, slp=True)
def _back(
    first: int,
    last: int,
    bounds: Any,
    parts: Any,
    indices: Any,
    data: Any,
    factors: Any,
    inverse: Any,
    beta: Any,
    rest: Any,
    p: Any,
    q: Any,
    t: Any,
) -> None:
    """Turn to p = rest + beta p, and go back through a piece: t = (D + U)^-1 p, q = U t."""
    f0, f1, f2, f3 = _singles(factors)
    b0, b1, b2, b3 = _singles(beta)
    for piece in range(first, last):
        for i in range(bounds[piece + 1] - 1, bounds[piece] - 1, -1):
            a0 = a1 = a2 = a3 = ZERO
            end = parts[i, 4]
            # The nearest come last: they have just been set.
            for k in range(end - parts[i, 3]):
                value, j = data[end - ONE - k], indices[end - ONE - k]
                a0 += value * t[j, 0]
                a1 += value * t[j, 1]
                a2 += value * t[j, 2]
                a3 += value * t[j, 3]
            p0, p1 = rest[i, 0] + b0 * p[i, 0], rest[i, 1] + b1 * p[i, 1]
            p2, p3 = rest[i, 2] + b2 * p[i, 2], rest[i, 3] + b3 * p[i, 3]
            q0, q1, q2, q3 = f0 * a0, f1 * a1, f2 * a2, f3 * a3
            p[i, 0], p[i, 1], p[i, 2], p[i, 3] = p0, p1, p2, p3
            q[i, 0], q[i, 1], q[i, 2], q[i, 3] = q0, q1, q2, q3
            t[i, 0], t[i, 1] = inverse[i, 0] * (p0 - q0), inverse[i, 1] * (p1 - q1)
            t[i, 2], t[i, 3] = inverse[i, 2] * (p2 - q2), inverse[i, 3] * (p3 - q3)


@njit(cache=True, nogil=True, fastmath={"contract"}, slp=True)
def _forth(
    first: int,
    last: int,
    bounds: Any,
    parts: Any,
    indices: Any,
    data: Any,
    factors: Any,
    inverse: Any,
    p: Any,
    t: Any,
    u: Any,
    q: Any,
    sums: Any,
) -> None:
    """Set q to D (D + L)^-1 A t, from q = U t within the piece, and sum up p . D^-1 q."""
    f0, f1, f2, f3 = _singles(factors)
    for piece in range(first, last):
        s0 = s1 = s2 = s3 = 0.0
        for i in range(bounds[piece], bounds[piece + 1]):
            a0 = a1 = a2 = a3 = ZERO
            # What other pieces hold.
            for k in range(parts[i, 0], parts[i, 1]):
                value, j = data[k], indices[k]
                a0 += value * t[j, 0]
                a1 += value * t[j, 1]
                a2 += value * t[j, 2]
                a3 += value * t[j, 3]
            for k in range(parts[i, 4], parts[i, 5]):
                value, j = data[k], indices[k]
                a0 += value * t[j, 0]
                a1 += value * t[j, 1]
                a2 += value * t[j, 2]
                a3 += value * t[j, 3]
            for k in range(parts[i, 1], parts[i, 2]):
                value, j = data[k], indices[k]
                a0 -= value * u[j, 0]
                a1 -= value * u[j, 1]
                a2 -= value * u[j, 2]
                a3 -= value * u[j, 3]
            g0, g1, g2, g3 = q[i, 0] + f0 * a0, q[i, 1] + f1 * a1, q[i, 2] + f2 * a2, q[i, 3] + f3 * a3
            u0, u1, u2, u3 = inverse[i, 0] * g0, inverse[i, 1] * g1, inverse[i, 2] * g2, inverse[i, 3] * g3
            q0, q1 = p[i, 0] - q[i, 0] + g0, p[i, 1] - q[i, 1] + g1
            q2, q3 = p[i, 2] - q[i, 2] + g2, p[i, 3] - q[i, 3] + g3
            u[i, 0], u[i, 1], u[i, 2], u[i, 3] = u0, u1, u2, u3
            q[i, 0], q[i, 1], q[i, 2], q[i, 3] = q0, q1, q2, q3
            s0 += p[i, 0] * q0 * inverse[i, 0]
            s1 += p[i, 1] * q1 * inverse[i, 1]
            s2 += p[i, 2] * q2 * inverse[i, 2]
            s3 += p[i, 3] * q3 * inverse[i, 3]
        sums[piece, 0, 0], sums[piece, 0, 1], sums[piece, 0, 2], sums[piece, 0, 3] = s0, s1, s2, s3


@njit(cache=True, nogil=True, fastmath={"contract"}, slp=True)
def _update(
    first: int,
    last: int,
    bounds: Any,
    alpha: Any,
    t: Any,
    q: Any,
    inverse: Any,
    measure: Any,
    x: Any,
    rest: Any,
    sums: Any,
) -> None:
    """Go along t, and sum up rest . D^-1 rest and rest . measure rest."""
    f0, f1, f2, f3 = _singles(alpha)
    for piece in range(first, last):
        z0 = z1 = z2 = z3 = s0 = s1 = s2 = s3 = 0.0
        for i in range(bounds[piece], bounds[piece + 1]):
            x[i, 0], x[i, 1] = x[i, 0] + f0 * t[i, 0], x[i, 1] + f1 * t[i, 1]
            x[i, 2], x[i, 3] = x[i, 2] + f2 * t[i, 2], x[i, 3] + f3 * t[i, 3]
            r0, r1 = rest[i, 0] - f0 * q[i, 0], rest[i, 1] - f1 * q[i, 1]
            r2, r3 = rest[i, 2] - f2 * q[i, 2], rest[i, 3] - f3 * q[i, 3]
            rest[i, 0], rest[i, 1], rest[i, 2], rest[i, 3] = r0, r1, r2, r3
            z0, z1 = z0 + r0 * r0 * inverse[i, 0], z1 + r1 * r1 * inverse[i, 1]
            z2, z3 = z2 + r2 * r2 * inverse[i, 2], z3 + r3 * r3 * inverse[i, 3]
            s0, s1 = s0 + r0 * r0 * measure[i, 0], s1 + r1 * r1 * measure[i, 1]
            s2, s3 = s2 + r2 * r2 * measure[i, 2], s3 + r3 * r3 * measure[i, 3]
        sums[piece, 0, 0], sums[piece, 0, 1], sums[piece, 0, 2], sums[piece, 0, 3] = z0, z1, z2, z3
        sums[piece, 1, 0], sums[piece, 1, 1], sums[piece, 1, 2], sums[piece, 1, 3] = s0, s1, s2, s3


@njit(cache=True, nogil=True)
def _iterate(
    bounds: Any,
    parts: Any,
    indices: Any,
    data: Any,
    factors: Any,
    inverse: Any,
    measure: Any,
    limit: Any,
    most: int,
    rest: Any,
    x: Any,
    p: Any,
    t: Any,
    q: Any,
    u: Any,
    sums: Any,
) -> Any:
    """Iterate as `Relaxation._improved` does, with one piece: on a small system most of the time goes into calls."""
    alpha, beta = np.zeros(WIDTH), np.zeros(WIDTH)
    _begin(0, 1, bounds, parts, indices, data, factors, inverse, measure, rest, x, p, u, sums)
    new, least = sums[0, 0].copy(), np.maximum(limit, TRUSTED**2 * sums[0, 1])
    for iteration in range(most):
        active = sums[0, 1] > least
        if not active.any():
            return iteration, (sums[0, 1] <= limit).all()
        _back(0, 1, bounds, parts, indices, data, factors, inverse, _tuple(beta), rest, p, q, t)
        _forth(0, 1, bounds, parts, indices, data, factors, inverse, p, t, u, q, sums)
        for k in range(WIDTH):
            alpha[k] = new[k] / sums[0, 0, k] if active[k] and sums[0, 0, k] > 0 else 0.0
        _update(0, 1, bounds, _tuple(alpha), t, q, inverse, measure, x, rest, sums)
        for k in range(WIDTH):
            beta[k] = sums[0, 0, k] / new[k] if new[k] > 0 else 0.0
            new[k] = sums[0, 0, k]
    return most, (sums[0, 1] <= limit).all()


@njit(inline="always")
def _tuple(x: Any) -> Any:
    return x[0], x[1], x[2], x[3]


@njit(inline="always")
def _singles(x: Any) -> Any:
    return np.float32(x[0]), np.float32(x[1]), np.float32(x[2]), np.float32(x[3])
