"""Errors of our own: what cannot be used, simulated or computed, with what a caller needs to go on."""

from __future__ import annotations

from typing import Any

import numpy as np


class NativeError(RuntimeError):
    """Native code that did not finish.

    Parameters
    ----------
    message : str
    reason : str
        "time", "memory", "crash" or "error".
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SolveError(RuntimeError):
    """A simulation that could not be finished.

    Parameters
    ----------
    message : str
    solution : Solution, optional
        What was computed so far.
    """

    def __init__(self, message: str, solution: Any = None) -> None:
        super().__init__(message)
        self.solution = solution


class MeshError(ValueError):
    """A surface or mesh that cannot be used as it is.

    Parameters
    ----------
    message : str
    where : (k, ...) int, optional
        The offending rows.
    """

    def __init__(self, message: str, where: Any = ()) -> None:
        super().__init__(message)
        self.where = np.asarray(where)
