"""GMRES in a weighted norm, with sums that do not depend on the number of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg as sl
from numba import njit

Floats = npt.NDArray[np.float64]

RESTART = 30


def gmres(
    multiply: Callable[[Floats], Floats],
    precondition: Callable[[Floats], Floats],
    b: Floats,
    weights: Floats,
    tolerance: float,
    guess: Floats | None = None,
    most: int = 120,
) -> tuple[Floats, Floats, int, bool]:
    """Solve A x = b by flexible, right-preconditioned GMRES in the norm |weights * residual|.

    The residual that is returned is b - A x, computed anew. Not scipy's: that one knows only the plain norm, and its
    sums depend on the number of BLAS threads.

    Source: Saad, Iterative Methods for Sparse Linear Systems (2003), Algorithm 9.6.
    """
    x, r, size = _better_start(multiply, b, weights, guess)
    done = 0
    # Once at least: what is below the tolerance would otherwise add up from step to step.
    while (size > tolerance or not done) and 0 < size < np.inf and done < most:
        basis, images = [weights * r / size], []
        H, turns = np.zeros((RESTART + 1, RESTART)), np.zeros((RESTART, 2))
        target = np.zeros(RESTART + 1)
        target[0] = size
        for k in range(min(RESTART, most - done)):
            images.append(precondition(basis[k] / weights))
            w = weights * multiply(images[k])
            for j in range(k + 1):
                H[j, k] = dot(basis[j], w)
                axpy(-H[j, k], basis[j], w)
            H[k + 1, k] = np.sqrt(dot(w, w))
            done += 1
            following = w / H[k + 1, k] if H[k + 1, k] > 0 else w
            _turn(H, turns, target, k)
            if not abs(target[k + 1]) > 0.5 * tolerance:
                break
            basis.append(following)
        n = len(images)
        y = sl.solve_triangular(H[:n, :n], target[:n], check_finite=False)
        for coefficient, image in zip(y, images, strict=True):
            axpy(coefficient, image, x)
        before, r = size, b - multiply(x)
        size = _size(weights, r)
        if not size < 0.9 * before:
            break
    return x, r, done, bool(size <= tolerance)


def _turn(H: Floats, turns: Floats, target: Floats, k: int) -> None:
    """Bring column k of the Hessenberg matrix to triangular form by the rotations so far and one more."""
    for j in range(k):
        c, s = turns[j]
        H[j, k], H[j + 1, k] = c * H[j, k] + s * H[j + 1, k], c * H[j + 1, k] - s * H[j, k]
    length = np.hypot(H[k, k], H[k + 1, k])
    c, s = turns[k] = (H[k, k] / length, H[k + 1, k] / length) if length > 0 else (1.0, 0.0)
    H[k, k], H[k + 1, k] = length, 0.0
    target[k], target[k + 1] = c * target[k], -s * target[k]


def _better_start(
    multiply: Callable[[Floats], Floats], b: Floats, weights: Floats, guess: Floats | None
) -> tuple[Floats, Floats, float]:
    size = _size(weights, b)
    if guess is not None:
        r = b - multiply(guess)
        if _size(weights, r) < size:
            return guess.copy(), r, _size(weights, r)
    return np.zeros_like(b), b, size


def _size(weights: Floats, r: Floats) -> float:
    scaled = weights * r
    return float(np.sqrt(dot(scaled, scaled)))


# --- kernels ---


@njit(cache=True, fastmath={"contract"})
def dot(x: Any, y: Any) -> Any:
    """Return x . y in eight sums side by side: fast and, unlike that of BLAS, the same for any number of threads."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    n = x.size - x.size % 8
    for i in range(0, n, 8):
        s0 += x[i] * y[i]
        s1 += x[i + 1] * y[i + 1]
        s2 += x[i + 2] * y[i + 2]
        s3 += x[i + 3] * y[i + 3]
        s4 += x[i + 4] * y[i + 4]
        s5 += x[i + 5] * y[i + 5]
        s6 += x[i + 6] * y[i + 6]
        s7 += x[i + 7] * y[i + 7]
    for i in range(n, x.size):
        s0 += x[i] * y[i]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@njit(cache=True, fastmath={"contract"})
def axpy(a: float, x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] += a * x[i]
