"""Worm-like chains: polylines whose direction is forgotten over the persistence length."""

from __future__ import annotations

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.core.rounding import exponential, logarithm, product, sine_cosine


def concentration(step: float, persistence: float) -> float:
    """Return k of the von Mises-Fisher law of bends with <cos> = coth k - 1/k = exp(-step / persistence).

    Examples
    --------
    >>> k = concentration(1.0, 10.0)
    >>> round(1 / np.tanh(k) - 1 / k, 6) == round(np.exp(-0.1), 6)
    np.True_
    """
    from scipy.optimize import brentq

    ratio = step / persistence
    kept = float(exponential(-ratio))
    # A stiff chain: coth k is 1 to rounding, so that k = 1 / (1 - exp(-ratio)); by its series nothing cancels.
    if 1 - kept < 0.05:
        lost = 0.0
        for k in range(12, 0, -1):
            lost = ratio / k * (1 - lost)
        return 1 / lost
    # A free joint: coth k - 1/k is k/3; below the floor bends are uniform to rounding.
    if kept < 1e-4:
        return max(3 * kept, 1e-6)
    return float(brentq(lambda k: _mean_cosine(k) - kept, 1e-6, 25.0))


def _mean_cosine(k: float) -> float:
    """Return coth k - 1/k."""
    ebb = float(exponential(-2 * k))
    return (1 + ebb) / (1 - ebb) - 1 / k


def bent(tangents: Floats, k: float, rng: np.random.Generator) -> Floats:
    """Bend (n, 3) unit vectors by angles of the von Mises-Fisher law, in uniform directions.

    Source
    ------
    G. Ulrich, Applied Statistics 33 (1984), p. 158; in three dimensions the cosine has a closed form.
    """
    cosine, azimuth = _bends(len(tangents), k, rng)
    sine = np.sqrt(np.maximum(0, 1 - cosine**2))
    first, second = normals(tangents)
    across, along = sine_cosine(azimuth)
    side = along[:, None] * first + across[:, None] * second
    turned = cosine[:, None] * tangents + sine[:, None] * side
    return np.asarray(turned / np.linalg.norm(turned, axis=1, keepdims=True))


def _bends(n: int, k: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw the cosines and azimuths of n bends."""
    u, azimuth = rng.random((2, n)) * [[1.0], [2 * np.pi]]
    return 1 + logarithm(u + (1 - u) * exponential(-2 * k)) / k, azimuth


def _turns_about(x: Floats, y: Floats, cosine: Floats) -> Floats:
    """Return (n, 3, 3) the turns about unit axes (x, y, 0) by angles 0 ... pi of given cosines (Rodrigues' formula)."""
    sine, rest = np.sqrt(np.maximum(0, 1 - cosine**2)), 1 - cosine
    rows = [
        [cosine + x * x * rest, x * y * rest, y * sine],
        [x * y * rest, cosine + y * y * rest, -x * sine],
        [-y * sine, x * sine, cosine],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def cross(u: Floats, v: Floats) -> Floats:
    """Return the cross products of (..., 3) vectors; numpy's own takes five times as long for single ones.

    Examples
    --------
    >>> cross(np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
    array([0., 0., 1.])
    """
    product = np.empty(np.broadcast_shapes(u.shape, v.shape))
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        product[..., k] = u[..., i] * v[..., j] - u[..., j] * v[..., i]
    return product


def normals(tangents: Floats) -> tuple[Floats, Floats]:
    """Return two unit vectors at right angles to each of (n, 3) unit vectors and to each other."""
    other = np.where(np.abs(tangents[:, :1]) < 0.6, [[1.0, 0, 0]], [[0, 1.0, 0]])
    first = cross(tangents, other)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return first, cross(tangents, first)


def worm(n: int, step: float, persistence: float, rng: np.random.Generator) -> Floats:
    """Draw a worm-like chain of n points from the origin: <t(0) . t(s)> = exp(-s / persistence).

    Parameters
    ----------
    n : int
    step, persistence : float
        One unit of length.

    Returns
    -------
    (n, 3) floats
        Neighbours are `step` apart; <R^2> = 2 p L (1 - p / L (1 - exp(-L / p))) up to (step / p)^2.
    """
    from scipy.spatial.transform import Rotation

    cosine, azimuth = _bends(n - 1, concentration(step, persistence), rng)
    # Each bend turns about an axis across the frame that the bends before it have turned; z is the tangent.
    y, x = sine_cosine(azimuth)
    bends = _turns_about(x, y, cosine)
    frame = Rotation.random(rng=rng).as_matrix()
    tangents = np.empty((n - 1, 3))
    for row in range(n - 1):
        tangents[row] = frame[:, 2]
        frame = product(frame, bends[row])
    return np.concatenate([np.zeros((1, 3)), step * np.cumsum(tangents, axis=0)])
