"""Errors of our own: what cannot be used, simulated or computed, with what a caller needs to go on."""

from __future__ import annotations

from typing import Any, Literal

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


Teller = Literal["this one", "another"]


def mark_shared(error: BaseException, teller: Teller) -> None:
    """Note that all processes of a run raise an error, and which of them tells it."""
    vars(error)["_teller"] = teller


def teller(error: BaseException | None) -> Teller | None:
    """Return which process tells an error, or what it was raised from, that all of a run raise; None: only this one.

    Examples
    --------
    >>> error = ValueError("too few")
    >>> mark_shared(error, "another")
    >>> teller(error), teller(ValueError())
    ('another', None)
    """
    while error is not None:
        if "_teller" in vars(error):
            found: Teller = vars(error)["_teller"]
            return found
        error = error.__cause__ or error.__context__
    return None
