"""Conjugate gradients for (M + tau D K) w = b, of four species at a time.

The preconditioner is a symmetric Gauss-Seidel sweep within pieces of rows, in the form of Eisenstat: with A = L + D + U
the iteration runs on (D + L)^-1 A (D + U)^-1, whose product needs one pass back through U and one forth through L, so
that half of the iterations cost half of the time. They run in single precision, on what is left of a residual in
double.

Source: Eisenstat, Efficient implementation of a class of preconditioned conjugate gradient methods, SIAM J. Sci. Stat.
Comput. 2 (1981) 1-4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core.kernels import njit
from meshcell.core.threads import pieces, share
from meshcell.solving.linear.sparse_products import Places, Rows, parts_of

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

# Species that are multiplied together: as many doubles as a register holds.
WIDTH = 4
# Entries of K in a piece of a sweep, at least, and pieces at most: they do not see each other.
PIECE, MOST_PIECES = 125_000, 16
# By how much the error may fall in single precision before it is looked at in double.
TRUSTED = 1e-3


@dataclass(frozen=True, eq=False)
class Sweeps:
    """The stiffness matrix K of a compartment, to go through in pieces of rows, and in these row after row or back.

    Parameters
    ----------
    bounds : (k + 1,) int64
        The pieces.
    parts : (n, 5) uint32
        Where in every row its entries begin, those of its own piece, and the diagonal one; where those of its own piece
        end, and all of them.
    indices : (e,) uint32
    data, singles : (e,) floats
        Entries in double and in single precision.
    """

    bounds: Rows
    parts: Places
    indices: Places
    data: Floats
    singles: Singles

    @classmethod
    def of(cls, K: sp.csr_array) -> Sweeps:
        """Cut a matrix, whose rows have a diagonal entry each, into pieces of about equal work."""
        entries = np.diff(K.indptr)
        bounds = pieces(entries, max(PIECE, K.nnz // MOST_PIECES))
        first, last = (np.repeat(ends, np.diff(bounds)) for ends in (bounds[:-1], bounds[1:]))
        indptr, indices = K.indptr.astype(np.uint32), K.indices.astype(np.uint32)
        parts = parts_of(np.arange(len(entries), dtype=np.uint32), indptr, indices, first, last)
        return cls(bounds, parts, indices, K.data, K.data.astype(np.float32))

    def share(self, kernel: Any, *args: Any) -> None:
        """Run a kernel over the pieces."""
        share(kernel, len(self.bounds) - 1, WIDTH * self.data.size, self.bounds, *args)


def improve(
    sweeps: Sweeps,
    factors: tuple[float, ...],
    inverse: Singles,
    measure: Singles,
    space: Singles,
    limit: Floats,
    most: int,
) -> tuple[int, bool]:
    """Solve A x = (M + D K) x = r, from x = 0, column by column.

    Parameters
    ----------
    sweeps : Sweeps
        K.
    factors : WIDTH floats
        D of every column.
    inverse, measure : (n, WIDTH) floats
        One over the diagonal of A; by which the squares of D (D + L)^-1 (r - A x) are weighed.
    space : (6, n, WIDTH) floats
        The first is r, which is overwritten, the second becomes x.
    limit : (WIDTH,) floats
        What the weighed sum of squares has to come down to, or to TRUSTED^2 of what it was.
    most : int

    Returns
    -------
    iterations : int
    enough : bool
        Whether all are below `limit`.
    """
    n_pieces = len(sweeps.bounds) - 1
    system = sweeps.parts, sweeps.indices, sweeps.singles, factors, inverse
    r, x, p, t, q, u = space
    sums = np.empty((n_pieces, 2, WIDTH))
    if n_pieces == 1:
        loop = sweeps.bounds, *system, measure, limit, most
        iterations, enough = _iterate(*loop, r, x, p, t, q, u, sums)
        return int(iterations), bool(enough)
    sweeps.share(_begin, *system, measure, r, x, p, u, sums)
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
        sweeps.share(_update, alpha, t, q, inverse, measure, x, r, sums)
        before = new
        new, size = sums.sum(axis=0)
        beta = tuple(np.divide(new, before, out=np.zeros(WIDTH), where=before > 0).tolist())
    return most, bool((size <= limit).all())


# --- kernels ---

ZERO, ONE = np.float32(0), np.uint32(1)


@njit(inline="always")
def row_of_four(indices: Any, data: Any, x: Any, start: Any, stop: Any) -> Any:
    """One row's products with the columns of x (n, WIDTH)."""
    a0 = a1 = a2 = a3 = data.dtype.type(0)
    for k in range(start, stop):
        value, j = data[k], indices[k]
        a0 += value * x[j, 0]
        a1 += value * x[j, 1]
        a2 += value * x[j, 2]
        a3 += value * x[j, 3]
    return a0, a1, a2, a3


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
            a0, a1, a2, a3 = row_of_four(indices, data, u, parts[i, 1], parts[i, 2])
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
            end = parts[i, 3]
            # The nearest come last: they have just been set.
            for k in range(end - parts[i, 2] - ONE):
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
            # What other pieces hold, before and after, and what this one does.
            b0, b1, b2, b3 = row_of_four(indices, data, t, parts[i, 0], parts[i, 1])
            c0, c1, c2, c3 = row_of_four(indices, data, t, parts[i, 3], parts[i, 4])
            a0, a1, a2, a3 = row_of_four(indices, data, u, parts[i, 1], parts[i, 2])
            a0, a1, a2, a3 = b0 + c0 - a0, b1 + c1 - a1, b2 + c2 - a2, b3 + c3 - a3
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
    """Iterate as `improve` does, with one piece: on a small system most of the time goes into calls."""
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
