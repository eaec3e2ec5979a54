"""GMRES in a weighted norm of the error, with sums that do not depend on the number of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg as sl

from meshcell.core.kernels import njit
from meshcell.core.threads import share, spread

Floats = npt.NDArray[np.float64]

# Directions that are kept; the oldest are forgotten all at once.
MOST_DIRECTIONS = 30
# By how much the error may fall before it is estimated anew.
TRUSTED = 1e-4
# Entries that are summed up in one go.
PIECE = 4096


class Directions:
    """What a Krylov method has learnt of one matrix, for all right-hand sides that follow: weights * B A Z = C R.

    Parameters
    ----------
    n : int
        Unknowns; of several processes that share a system those of this one.
    total : callable, optional
        Sums up numbers (k,) of all processes.

    Attributes
    ----------
    Z, C : (MOST_DIRECTIONS, n) floats
        Directions and the orthonormal basis of their images, row by row.
    R : (MOST_DIRECTIONS, MOST_DIRECTIONS) floats
        Upper triangular.
    count : int
        Rows in use.
    """

    def __init__(self, n: int, total: Callable[[Any], Any] = lambda parts: parts) -> None:
        self.total = total
        # Memory is taken page by page as rows are used, and once for all systems.
        self.Z, self.C = np.empty((MOST_DIRECTIONS, n)), np.empty((MOST_DIRECTIONS, n))
        self.R = np.zeros((MOST_DIRECTIONS, MOST_DIRECTIONS))
        self.count = 0

    def project(self, r: Floats) -> Floats:
        """Take what the images span out of r, in place, and return the coefficients."""
        return self._taken_out(self.C, self.count, r)

    def take_last(self, r: Floats) -> float:
        """Take out of r, in place, its part along the last image alone, and return it."""
        return float(self._taken_out(self.C[self.count - 1 :], 1, r)[0])

    def norm(self, x: Floats) -> float:
        """Return the 2-norm of x."""
        return float(np.sqrt(self.total(dot(x, x))))

    def _taken_out(self, C: Floats, count: int, r: Floats) -> Floats:
        """Take from r, in place, its parts along the first rows of C (orthonormal), and return their lengths."""
        lengths = np.asarray(self.total(_dots_of(C, count, r)))
        add_rows(C, -lengths, r)
        return lengths

    def add(self, direction: Floats, image: Floats) -> bool:
        """Take up a direction and its image (overwritten); tell whether it was linearly independent."""
        k, before = self.count, self.norm(image)
        # Twice is enough (Giraud, Langou, Rozloznik 2005), and once where little was taken out.
        h, after = self.project(image), self.norm(image)
        if after < 0.1 * before:
            h += self.project(image)
            after = self.norm(image)
        if not after > 1e-12 * before:
            return False
        spread(np.divide, image, after, out=self.C[k])
        spread(np.positive, direction, out=self.Z[k])
        self.R[:k, k], self.R[k, k] = h, after
        self.count += 1
        return True

    def combined(self, y: Floats, x: Floats) -> None:
        """Add to x what has the image C y."""
        n = len(y)
        if n:
            # scipy.linalg.solve_triangular takes longer to look at its arguments than a small system for all its work.
            add_rows(self.Z, sl.lapack.dtrtrs(self.R[:n, :n], y)[0], x)


def gmres(
    multiply: Callable[[Floats], Floats],
    precondition: Callable[[Floats], Floats],
    b: Floats,
    weights: Floats,
    tolerance: float,
    guess: Floats | None = None,
    most: int = 120,
    known: Directions | None = None,
) -> tuple[Floats, int, bool]:
    """Solve A x = b by left-preconditioned GMRES until |weights * B (b - A x)| is at most `tolerance`.

    B (b - A x) is about the error of x. The residual itself is no measure for diffusion: it weighs the roughest
    errors, which do the least harm, by dt D / h^2 more than the smooth ones.

    Parameters
    ----------
    multiply, precondition : x -> A x, r -> B r
        B is about the inverse of A: x + B (b - A x) is better than x.
    b, weights : (n,) floats
    tolerance : float
    guess : (n,) floats, optional
    most : int
        Applications of B after which to give up.
    known : Directions, optional
        From systems with the same A, B and weights; this one's are added.

    Returns
    -------
    x : (n,) floats
    iterations : int
        Applications of B.
    converged : bool

    Notes
    -----
    In the form of GCR, whose directions serve later right-hand sides too. Not scipy's: that one knows only the plain
    norm, and its sums depend on the number of BLAS threads.

    Source: Saad, Iterative Methods for Sparse Linear Systems (2003), 6.9 (GCR) and 9.3.1 (left preconditioning).
    """
    known = Directions(len(b)) if known is None else known

    def weighed(x: Floats) -> Floats:
        return spread(np.multiply, weights, x, out=np.empty_like(x))

    x = np.zeros_like(b) if guess is None else guess.copy()
    r = weighed(precondition(b if guess is None else b - multiply(x)))
    size = known.norm(r)
    done, before = 1, np.inf
    while tolerance < size < min(np.inf, 0.9 * before) and done < most:
        before = size
        if known.count == MOST_DIRECTIONS:
            known.count = 0
        y = list(known.project(r))
        size = known.norm(r)
        while size > tolerance and done < most and known.count < MOST_DIRECTIONS:
            direction = spread(np.divide, r, weights, out=np.empty_like(r))
            done += 1
            if not known.add(direction, weighed(precondition(multiply(direction)))):
                break
            y.append(known.take_last(r))
            size = known.norm(r)
        known.combined(np.array(y), x)
        # B works in single precision: what it is said to have gained beyond that has to be looked at.
        if size > tolerance or size < TRUSTED * before:
            r = weighed(precondition(b - multiply(x)))
            done, size = done + 1, known.norm(r)
    # Once at least, and a last time for nothing: what is below the tolerance would else add up from step to step.
    x += r / weights
    return x, done, bool(size <= tolerance)


# --- sums ---


def dot(x: Floats, y: Floats) -> float:
    """Return x . y, the same for any number of threads."""
    return float(_dots_of(x[None], 1, y)[0])


def norm(x: Floats) -> float:
    """Return the 2-norm of x."""
    return float(np.sqrt(dot(x, x)))


def add_rows(rows: Floats, coefficients: Floats, x: Floats) -> None:
    """Add coefficients @ rows[:len(coefficients)] to x."""
    n_pieces = -(-x.size // PIECE)
    share(_add_rows, n_pieces, len(coefficients) * x.size, rows, np.ascontiguousarray(coefficients), x)


def _dots_of(rows: Floats, count: int, x: Floats) -> Floats:
    n_pieces = -(-x.size // PIECE)
    parts = np.empty((count, n_pieces))
    share(_dots, n_pieces, count * x.size, rows, x, parts)
    return parts[:, 0] if n_pieces == 1 else np.asarray(parts.sum(axis=1))


# --- kernels ---


@njit(cache=True, nogil=True, fastmath={"contract"})
def _dots(first: int, last: int, rows: Any, x: Any, parts: Any) -> None:
    """Sum up pieces of rows . x, each in eight sums side by side."""
    for piece in range(first, last):
        start, stop = piece * PIECE, min(x.size, (piece + 1) * PIECE)
        even = stop - (stop - start) % 8
        for k in range(parts.shape[0]):
            y = rows[k]
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
            for i in range(start, even, 8):
                s0 += x[i] * y[i]
                s1 += x[i + 1] * y[i + 1]
                s2 += x[i + 2] * y[i + 2]
                s3 += x[i + 3] * y[i + 3]
                s4 += x[i + 4] * y[i + 4]
                s5 += x[i + 5] * y[i + 5]
                s6 += x[i + 6] * y[i + 6]
                s7 += x[i + 7] * y[i + 7]
            for i in range(even, stop):
                s0 += x[i] * y[i]
            parts[k, piece] = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_rows(first: int, last: int, rows: Any, coefficients: Any, x: Any) -> None:
    for piece in range(first, last):
        start, stop = piece * PIECE, min(x.size, (piece + 1) * PIECE)
        for k in range(coefficients.size):
            a, y = coefficients[k], rows[k]
            if a == 0:
                continue
            for i in range(start, stop):
                x[i] += a * y[i]
