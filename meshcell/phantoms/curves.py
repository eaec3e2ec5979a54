"""Seeds and smooth curves that the phantoms share."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from meshcell.core.arrays import Array


def smooth_path(knots: Any, step: float) -> Array:
    """Lead a natural cubic spline through knots (by chord length) and sample it.

    Parameters
    ----------
    knots : (n, 3) floats, um
    step : float, um
        Samples are about this far apart.

    Returns
    -------
    (m, 3) floats

    Examples
    --------
    >>> smooth_path([[0, 0, 0], [1, 0, 0]], 0.5)
    array([[0. , 0. , 0. ],
           [0.5, 0. , 0. ],
           [1. , 0. , 0. ]])
    """
    points = np.asarray(knots, np.float64)
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0, lengths[-1], max(2, int(np.ceil(lengths[-1] / step)) + 1))
    if len(points) == 2:
        return np.asarray(points[0] + (at / lengths[-1])[:, None] * (points[1] - points[0]))
    return np.asarray(CubicSpline(lengths, points, bc_type="natural")(at))
