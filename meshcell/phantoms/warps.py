"""Warps: smooth displacements of space, by which phantoms are bent without tearing or folding."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.inner import inner
from meshcell.core.rounding import arccosine, sine_cosine

# Up to this many waves their worst combination is looked for, beyond that their strains are summed.
MOST_SIGNS = 10


@dataclass(frozen=True, eq=False)
class Warp:
    """A smooth displacement of space, q = p + sum of a sin(k . p + phase); shapes are looked up at q.

    Parameters
    ----------
    waves : (m, 7) floats
        Wave vector k (rad/um), phase, amplitude a (um).
    """

    waves: Floats

    @functools.cached_property
    def strain(self) -> float:
        """Bound on how much the warp stretches or shrinks a length; below 1 it can neither tear nor fold."""
        k, a = self.waves[:, :3], self.waves[:, 4:]
        if not 0 < len(k) <= MOST_SIGNS:
            return float((_norms(k) * _norms(a)).sum())
        # The gradient is a sum of cos(...) a k^T; its norm is convex in the cosines, so it is greatest at +-1 each.
        signs = np.array(list(itertools.product([1.0, -1.0], repeat=len(k))))
        return float(_stretches(np.einsum("sm,mi,mj->sij", signs, a, k)).max())

    @property
    def reach(self) -> float:
        """Bound on the displacement, um."""
        return float(_norms(self.waves[:, 4:]).sum())


STRAIGHT = Warp(np.zeros((0, 7)))


def waves(n: int, wavelength: float, amplitude: float, *, rng: np.random.Generator) -> Warp:
    """Draw a warp of n plane waves with random directions, wavelengths (0.8 to 1.25 times the given) and phases.

    Parameters
    ----------
    n : int
    wavelength : float, um
    amplitude : float, um
        Of each wave.
    rng : Generator

    Raises
    ------
    ValueError
        The waves are so steep that space might fold.
    """
    directions = _unit(rng.normal(size=(n, 3)))
    vectors = 2 * np.pi / wavelength * rng.uniform(0.8, 1.25, (n, 1)) * directions
    # Transverse, like the waves of a rope: along the wave vector they would squeeze instead of bend.
    across = _unit(np.cross(directions, rng.normal(size=(n, 3))))
    phases = rng.uniform(0, 2 * np.pi, (n, 1))
    return combined(Warp(np.hstack([vectors, phases, amplitude * across])))


def combined(*warps: Warp) -> Warp:
    """Add warps; a sum that might fold space is refused."""
    warp = Warp(np.concatenate([part.waves for part in warps]))
    if warp.strain >= 1:
        raise ValueError(
            f"the waves of a warp should together strain space by less than 1; got {warp.strain:.2f}; "
            "take a smaller amplitude or a longer wavelength"
        )
    return warp


def _norms(vectors: Floats) -> Array:
    return np.asarray(np.linalg.norm(vectors, axis=-1))


def _stretches(matrices: Floats) -> Floats:
    """Return the greatest singular values of (n, 3, 3) matrices.

    Source
    ------
    O. K. Smith, Comm. ACM 4 (1961), p. 168: eigenvalues of symmetric matrices.
    """
    squares = np.einsum("nki,nkj->nij", matrices, matrices)
    middle = np.einsum("nii->n", squares) / 3
    apart = squares - middle[:, None, None] * np.eye(3)
    spread = np.sqrt(np.maximum((apart * apart).sum(axis=(1, 2)) / 6, 1e-300))
    a, b, c = np.moveaxis(apart / spread[:, None, None], 1, 0)
    thirds = arccosine((a * np.cross(b, c)).sum(axis=1) / 2) / 3
    return np.asarray(np.sqrt(middle + 2 * spread * sine_cosine(thirds)[1]))


def _unit(vectors: Floats) -> Array:
    return np.asarray(vectors / _norms(vectors)[..., None])


@inner(cache=True)
def warped(waves: Any, x: float, y: float, z: float) -> Any:
    """Move a point by a warp's waves."""
    u, v, w = x, y, z
    for m in range(waves.shape[0]):
        s, _ = sine_cosine(waves[m, 0] * x + waves[m, 1] * y + waves[m, 2] * z + waves[m, 3])
        u += waves[m, 4] * s
        v += waves[m, 5] * s
        w += waves[m, 6] * s
    return u, v, w
