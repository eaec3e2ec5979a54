"""Share a kernel's fixed pieces of work among threads: the pieces, and so every byte, do not depend on their number.

Not numba's own threads: those spin while they wait, which costs the serial parts of a cycle the other cores, and end
the process when they are used after a fork or from two Python threads at once. Kernels here release the lock of Python.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

# Multiply-adds that are worth a thread of their own: about a quarter of a millisecond, against 0.03 to wake it.
WORTH = 250_000
# Entries of long arrays that are worked on in one go, at least.
STRIP = 4096

_pools: dict[int, ThreadPoolExecutor] = {}


def share(kernel: Callable[..., None], n_pieces: int, work: int, *args: Any) -> None:
    """Call kernel(first, last, *args) so that all pieces 0 ... n_pieces - 1 are done, `work` multiply-adds in all.

    Each piece writes only what is its own. `numba.set_num_threads` and NUMBA_NUM_THREADS bound the threads.
    """
    n = min(n_pieces, work // WORTH)
    # Asking how many threads there are takes longer than a small kernel.
    n = min(n, get_num_threads()) if n > 1 else 1
    if n < 2:
        kernel(0, n_pieces, *args)
        return
    cuts = [k * n_pieces // n for k in range(n + 1)]
    if n not in _pools:
        _pools[n] = ThreadPoolExecutor(n - 1, thread_name_prefix="meshcell")
    waiting = [_pools[n].submit(kernel, cuts[k], cuts[k + 1], *args) for k in range(1, n)]
    try:
        kernel(0, cuts[1], *args)
    finally:
        for future in waiting:
            future.result()


def spread(ufunc: np.ufunc, *inputs: Any, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Set `out` to ufunc(*inputs), flat arrays or numbers, on all threads, and return it."""

    if out.size <= STRIP:
        ufunc(*inputs, out=out)
        return out

    def kernel(first: int, last: int) -> None:
        part = slice(first * STRIP, last * STRIP)
        ufunc(*(x[part] if isinstance(x, np.ndarray) else x for x in inputs), out=out[part])

    share(kernel, -(-out.size // STRIP), 3 * out.size)
    return out


def pieces(weights: npt.NDArray[Any], size: int) -> npt.NDArray[np.int64]:
    """Cut rows into pieces of about `size` in weight: (k + 1,) bounds, an even number of pieces or one.

    Examples
    --------
    >>> pieces(np.array([1, 1, 1, 1]), 2)
    array([0, 2, 4])
    """
    total = np.concatenate([[0], np.cumsum(weights)])
    n = max(1, 2 * int(total[-1] // (2 * size)))
    return np.asarray(np.searchsorted(total, np.arange(n + 1) * total[-1] / n), np.int64)


# Threads do not survive a fork; the pool that knows them must not either.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)
