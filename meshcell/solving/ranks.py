"""What is asked of all processes that share a problem, each of which has the unknowns of its own nodes; here of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.solving.linear.krylov import dot


class Ranks:
    """The processes of a run: this one is alone.

    A run on several takes the same decisions on all of them, as it asks for all that it decides by here: every method
    is called by all at the same point. An unknown is named by a number that all understand.
    """

    rank, size = 0, 1

    def total(self, parts: Any) -> Any:
        """Return the sum over all ranks of a number or an array of the same shape on each."""
        return parts

    def most(self, parts: Any) -> Any:
        """Return the largest over all ranks of a number or of each entry of an array."""
        return parts

    def every(self, holds: bool) -> bool:
        """Tell whether something holds on all ranks."""
        return bool(holds)

    def joined(self, part: Array) -> Array:
        """Return the arrays of all ranks, one after the other."""
        return part

    def told(self, unknown: int, ask: Callable[[int], Any]) -> Any:
        """Return what `ask` says of an unknown, by its row where it is at home."""
        return ask(unknown)

    def heed(self) -> None:
        """Raise KeyboardInterrupt on all ranks if one was asked to stop; a single process hears it at once."""

    def worst(self, values: Array) -> int:
        """Return the unknown with the largest value; what is no number is larger than all."""
        return int(np.argmax(values)) if len(values) else 0

    def lowest(self, values: Floats, first: int) -> tuple[float, int]:
        """Return the smallest of the values at the unknowns from row `first` on, and which one has it."""
        if not len(values):
            return np.inf, first
        row = int(np.argmin(values))
        return float(values[row]), first + row

    # --- by these ---

    def any(self, holds: bool) -> bool:
        """Tell whether something holds on some rank."""
        return not self.every(not holds)

    def finite(self, values: Floats) -> bool:
        """Tell whether all values are numbers."""
        return self.every(bool(np.isfinite(values).all()))

    def dot(self, x: Floats, y: Floats) -> float:
        """Return x . y, the same for any number of threads."""
        return float(self.total(dot(x, y)))

    def norm(self, x: Floats) -> float:
        """Return the 2-norm of x."""
        return float(np.sqrt(self.dot(x, x)))

    def largest(self, values: Floats, own: Sequence[slice]) -> Floats:
        """Return the largest of |values| of every species (s,)."""
        return np.asarray(self.most(np.array([np.abs(values[rows]).max(initial=0) for rows in own])))

    def owners(self, mesh: Any, used: Array) -> Ints:
        """Return the rank (p,) that every used (p,) point is at home on; what is no point of the mesh, on the first."""
        return np.zeros(len(used), np.int32)


ALONE = Ranks()
