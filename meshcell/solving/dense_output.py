"""States between the ends of steps, with an error that can be controlled.

A step that skips the fast modes of diffusion knows nothing of what lies inside it: slopes at its ends and stages are
as large as the fast modes are rough. States at the ends of steps are right, though, and where a polynomial through the
last five of them and one through the last four agree, the solution is as smooth as both; where a fast mode is still
alive they do not. The difference of the two is the error of the lower one, and a bound for that of the higher one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from meshcell.core.arrays import Floats

# States that a polynomial goes through.
STATES = 5


def interpolated(times: Sequence[float], states: Sequence[Floats], at: float) -> tuple[Floats, Floats]:
    """Interpolate the last states.

    Parameters
    ----------
    times : (k,) floats, s
        Ascending.
    states : k times (u,) floats
    at : float, s

    Returns
    -------
    values : (u,) floats
        On the polynomial through all. Its weights sum to 1, so that sums which all states share are kept.
    difference : (u,) floats
        To the polynomial through all but the first.

    Examples
    --------
    >>> t = [0.0, 1.0, 2.0, 4.0]
    >>> values, difference = interpolated(t, [np.array([s**2, s**3]) for s in t], 3.0)
    >>> values
    array([ 9., 27.])
    >>> difference.round(12) + 0
    array([ 0., -2.])
    """
    higher, lower = lagrange(times, at), [0.0, *lagrange(times[1:], at)]
    values, difference = np.zeros_like(states[0]), np.zeros_like(states[0])
    for a, b, u in zip(higher, lower, states, strict=True):
        values += a * u
        difference += (a - b) * u
    return values, difference


def lagrange(times: Sequence[float], at: float) -> list[float]:
    """Return the weights of the values at some times in their polynomial's value at another."""
    return [float(np.prod([(at - other) / (own - other) for other in times if other != own])) for own in times]
