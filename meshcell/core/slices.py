"""Long loops of kernels in slices: Python hears Ctrl-C between two calls, not within one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def stretches(n: int, at_a_time: int) -> Iterator[tuple[int, int]]:
    """Cut the rows 0 ... n into stretches (first, last + 1) that a kernel works off in a fraction of a second.

    Examples
    --------
    >>> list(stretches(7, 3)), list(stretches(0, 3))
    ([(0, 3), (3, 6), (6, 7)], [])
    """
    for first in range(0, n, at_a_time):
        yield first, min(first + at_a_time, n)


def sliced(kernel: Callable[..., int], n: int, at_a_time: int, *given: Any) -> int:
    """Call a kernel that takes (*given, first, last) for all stretches in turn; return the sum of what it counts."""
    return sum(int(kernel(*given, first, last)) for first, last in stretches(n, at_a_time))
