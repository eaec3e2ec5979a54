"""Diffusion alone: D K u, and the symmetric systems (M + tau D K) w = b by conjugate gradients.

K is the same for all species of a compartment, whatever their D, so up to four of them go through it together: most
of the time of a sparse product goes into reading the matrix. M is lumped, so a new step size costs a new diagonal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core.kernels import njit
from meshcell.core.threads import share
from meshcell.solving.kept_sums import Pieces
from meshcell.solving.sparse_products import Product

Floats = npt.NDArray[np.float64]

# Species that are multiplied together: as many doubles as a register holds.
WIDTH = 4
MOST_ITERATIONS = 400


@dataclass(frozen=True, eq=False)
class Band:
    """Up to WIDTH species of one compartment that diffuse together, as columns of arrays (n, WIDTH).

    Parameters
    ----------
    product, data : Product, (e,) floats
        The stiffness matrix K of the compartment.
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
    data: Floats
    diagonal: Floats
    mass: Floats
    constants: tuple[float, ...]
    own: list[slice]
    pieces: Pieces

    def gather(self, u: Floats) -> Floats:
        """Take this band's columns out of the unknowns."""
        columns = np.zeros((len(self.mass), WIDTH))
        for k, rows in enumerate(self.own):
            columns[:, k] = u[rows]
        return columns

    def share(self, kernel: Callable[..., None], work: int, *args: Any) -> None:
        """Run a kernel over the pieces of rows."""
        share(kernel, len(self.product.bounds) - 1, work, self.product.bounds, *args)

    def operate(self, mass: float, factors: tuple[float, ...], x: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Return mass * M x + factors * K v, and its scalar product with v, column by column."""
        y, parts = np.empty_like(v), np.empty((len(self.product.bounds) - 1, WIDTH))
        places = self.product.indptr, self.product.indices, self.data, self.mass
        self.share(_operate, WIDTH * self.data.size, *places, mass, factors, x, v, y, parts)
        return y, parts.sum(axis=0)


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The systems (M + tau D K) w = -D K u of one band, for all stages of a step.

    Parameters
    ----------
    band : Band
    tau : float, s
    inverse : (n, WIDTH) floats
        One over the diagonal of A = M + tau D K.
    measure : (n, WIDTH) floats
        By which a residual's squares are weighed: (weights / sqrt(diag(A) M))^2. M alone in the place of diag(A) would
        bound the error (A >= M), diag(A) alone would take smooth errors too lightly.
    """

    band: Band
    tau: float
    inverse: Floats
    measure: Floats

    @classmethod
    def of(cls, band: Band, tau: float, weights: Floats) -> Relaxation:
        """Prepare the systems; the root of the sum of (weights * error of w)^2 is what counts."""
        measure = band.gather(weights)
        inverse = np.empty_like(measure)
        factors = tuple(tau * D for D in band.constants)
        band.share(_prepare, 4 * measure.size, factors, band.diagonal, band.mass, inverse, measure)
        return cls(band, tau, inverse, measure)

    def solve(self, state: Floats, guess: Floats, tolerance: float) -> tuple[Floats, int, bool]:
        """Improve a guess by Jacobi's conjugate gradients until the error is at most `tolerance` in every column."""
        band, x = self.band, self.band.gather(guess)
        v = band.gather(state)
        v += self.tau * x
        rest, _ = band.operate(-1.0, tuple(-D for D in band.constants), x, v)
        factors = tuple(self.tau * D for D in band.constants)
        if len(band.product.bounds) == 2:
            product = band.product
            places = product.bounds, product.indptr, product.indices, band.data, band.mass
            system = factors, self.inverse, self.measure
            return x, *_solve_alone(*places, *system, x, rest, tolerance**2, MOST_ITERATIONS)
        p = np.zeros_like(rest)
        alpha = beta = (0.0,) * WIDTH
        q, rz = p, np.zeros(WIDTH)
        for iteration in range(MOST_ITERATIONS + 1):
            parts = np.empty((len(band.product.bounds) - 1, 2, WIDTH))
            band.share(_update, 8 * x.size, alpha, p, q, self.inverse, self.measure, x, rest, parts)
            new, size = parts.sum(axis=0)
            active = size > tolerance**2
            if not active.any():
                return x, iteration, bool(np.isfinite(size).all())
            beta = tuple(np.divide(new, rz, out=np.zeros(WIDTH), where=active & (rz > 0)).tolist())
            band.share(_redirect, 3 * x.size, beta, self.inverse, rest, p)
            q, pq = band.operate(1.0, factors, p, p)
            alpha = tuple(np.divide(new, pq, out=np.zeros(WIDTH), where=active & (pq > 0)).tolist())
            rz = new
        return x, MOST_ITERATIONS, False


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
            product, diagonal = Product.of(K), K.diagonal()
            pieces = Pieces.of(K, mass)
            for first in range(0, len(moving), WIDTH):
                chosen = moving[first : first + WIDTH]
                factors = (*(D for D, _ in chosen), *(0.0,) * (WIDTH - len(chosen)))
                self.bands.append(Band(product, K.data, diagonal, mass, factors, [rows for _, rows in chosen], pieces))

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
        return max((tau * max(b.constants) * float((b.diagonal / b.mass).max()) for b in self.bands), default=0.0)

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


@njit(cache=True, nogil=True)
def _prepare(
    first: int, last: int, bounds: Any, factors: Any, diagonal: Any, mass: Any, inverse: Any, measure: Any
) -> None:
    """Fill `inverse`, and turn weights into `measure`."""
    for i in range(bounds[first], bounds[last]):
        for k in range(WIDTH):
            one = 1 / (mass[i] + factors[k] * diagonal[i])
            inverse[i, k] = one
            measure[i, k] *= measure[i, k] * one / mass[i]


@njit(cache=True, nogil=True, fastmath={"contract"})
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
    parts: Any,
) -> None:
    f0, f1, f2, f3 = factors
    for piece in range(first, last):
        s0 = s1 = s2 = s3 = 0.0
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
            s0 += v[i, 0] * y0
            s1 += v[i, 1] * y1
            s2 += v[i, 2] * y2
            s3 += v[i, 3] * y3
        parts[piece, 0], parts[piece, 1], parts[piece, 2], parts[piece, 3] = s0, s1, s2, s3


@njit(cache=True, nogil=True, fastmath={"contract"})
def _update(
    first: int,
    last: int,
    bounds: Any,
    alpha: Any,
    p: Any,
    q: Any,
    inverse: Any,
    measure: Any,
    x: Any,
    rest: Any,
    parts: Any,
) -> None:
    """Go along p, and sum up rest . inverse rest and rest . measure rest."""
    f0, f1, f2, f3 = alpha
    for piece in range(first, last):
        z0 = z1 = z2 = z3 = s0 = s1 = s2 = s3 = 0.0
        for i in range(bounds[piece], bounds[piece + 1]):
            x[i, 0], x[i, 1] = x[i, 0] + f0 * p[i, 0], x[i, 1] + f1 * p[i, 1]
            x[i, 2], x[i, 3] = x[i, 2] + f2 * p[i, 2], x[i, 3] + f3 * p[i, 3]
            r0, r1 = rest[i, 0] - f0 * q[i, 0], rest[i, 1] - f1 * q[i, 1]
            r2, r3 = rest[i, 2] - f2 * q[i, 2], rest[i, 3] - f3 * q[i, 3]
            rest[i, 0], rest[i, 1], rest[i, 2], rest[i, 3] = r0, r1, r2, r3
            z0, z1 = z0 + r0 * r0 * inverse[i, 0], z1 + r1 * r1 * inverse[i, 1]
            z2, z3 = z2 + r2 * r2 * inverse[i, 2], z3 + r3 * r3 * inverse[i, 3]
            s0, s1 = s0 + r0 * r0 * measure[i, 0], s1 + r1 * r1 * measure[i, 1]
            s2, s3 = s2 + r2 * r2 * measure[i, 2], s3 + r3 * r3 * measure[i, 3]
        parts[piece, 0, 0], parts[piece, 0, 1], parts[piece, 0, 2], parts[piece, 0, 3] = z0, z1, z2, z3
        parts[piece, 1, 0], parts[piece, 1, 1], parts[piece, 1, 2], parts[piece, 1, 3] = s0, s1, s2, s3


@njit(cache=True, nogil=True, fastmath={"contract"})
def _redirect(first: int, last: int, bounds: Any, beta: Any, inverse: Any, rest: Any, p: Any) -> None:
    for i in range(bounds[first], bounds[last]):
        for k in range(WIDTH):
            p[i, k] = inverse[i, k] * rest[i, k] + beta[k] * p[i, k]


@njit(cache=True, nogil=True)
def _solve_alone(
    bounds: Any,
    indptr: Any,
    indices: Any,
    data: Any,
    mass: Any,
    factors: Any,
    inverse: Any,
    measure: Any,
    x: Any,
    rest: Any,
    limit: float,
    most: int,
) -> Any:
    """Iterate as `Relaxation.solve` does, with one piece: on a small system most of the time goes into calls."""
    p, q, sums, pq = np.zeros_like(rest), np.zeros_like(rest), np.empty((1, 2, WIDTH)), np.empty((1, WIDTH))
    alpha, beta, rz = np.zeros(WIDTH), np.zeros(WIDTH), np.zeros(WIDTH)
    for iteration in range(most + 1):
        _update(0, 1, bounds, _tuple(alpha), p, q, inverse, measure, x, rest, sums)
        active = sums[0, 1] > limit
        if not active.any():
            return iteration, bool(np.isfinite(sums[0, 1]).all())
        for k in range(WIDTH):
            beta[k] = sums[0, 0, k] / rz[k] if active[k] and rz[k] > 0 else 0.0
        _redirect(0, 1, bounds, _tuple(beta), inverse, rest, p)
        _operate(0, 1, bounds, indptr, indices, data, mass, 1.0, factors, p, p, q, pq)
        for k in range(WIDTH):
            alpha[k] = sums[0, 0, k] / pq[0, k] if active[k] and pq[0, k] > 0 else 0.0
        rz[:] = sums[0, 0]
    return most, False


@njit(inline="always")
def _tuple(x: Any) -> Any:
    return x[0], x[1], x[2], x[3]
