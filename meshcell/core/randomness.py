"""Seeds become generators; random numbers inside kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core.kernels import njit


@njit(cache=True)
def uniform(state: Any) -> Any:
    """Return (next state, a number in [-1, 1)): splitmix64, Steele, Lea and Flood 2014."""
    state = np.uint64(state) + np.uint64(0x9E3779B97F4A7C15)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return state, float(z >> np.uint64(11)) * (2.0 / 9007199254740992.0) - 1.0


def generator(rng: int | np.random.Generator) -> np.random.Generator:
    """Return a Generator from a seed or a Generator; anything else is refused, None too: phantoms are repeatable."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0:
        return np.random.default_rng(int(rng))
    raise TypeError(f"rng should be a seed (a whole number >= 0) or a numpy Generator; got {rng!r}; try rng=0")
