"""How large an error is beside its tolerance, and how far a concentration may be below zero."""

from __future__ import annotations

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.solving.krylov import dot
from meshcell.solving.schemes import Discrete

# Default absolute tolerance relative to rtol and to the largest value that the species has had.
ATOL_SHARE = 1e-3
# A species counts as at least this share of the largest one: what starts at zero has no size of its own yet, and an
# error relative to next to nothing would let no step pass.
LEAST_SIZE = 1e-6
# Negative values beyond rtol (at most SOFT) of the species' size are retried with smaller steps. What is left then
# comes from obtuse tetrahedra, which smaller steps do not mend, or, beyond HARD and still falling, from the model.
SOFT, HARD = 1e-3, 1e-2


class Tolerance:
    """The tolerances of a discrete problem.

    Parameters
    ----------
    problem : Discrete
    u : (u,) floats
        The initial state.
    rtol : float
    atol : (s,) floats or None
        Per species; NaN or None: rtol * 1e-3 * the largest value that the species has had.
    """

    def __init__(self, problem: Discrete, u: Floats, rtol: float, atol: Floats | None) -> None:
        self.problem, self.rtol = problem, rtol
        self.own = list(problem.slices.values())
        self.atol = np.full(len(self.own), np.nan) if atol is None else atol
        self.least = LEAST_SIZE * (float(self.sizes(u).max()) or 1.0)
        # A species that starts below zero (a membrane potential) is not a concentration.
        self.signed = np.array([u[own].min(initial=0) < 0 for own in self.own])
        shares = [problem.mass[own] / problem.mass[own].sum() for own in self.own]
        self.shares: Floats = np.sqrt(np.concatenate(shares))

    def sizes(self, u: Floats) -> Floats:
        """Return the largest value of every species (s,)."""
        return np.array([np.abs(u[own]).max(initial=0) for own in self.own])

    def scale(self, size: Floats, largest: Floats) -> Floats:
        """Return the error (u,) that is allowed at a node with a value of this size."""
        scale = self.rtol * np.abs(size)
        for own, atol, most in zip(self.own, self.atol, largest, strict=True):
            scale[own] += self.rtol * ATOL_SHARE * max(most, self.least) if np.isnan(atol) else atol
        return np.maximum(scale, 1e-290)

    def weights(self, u: Floats, largest: Floats) -> Floats:
        """Return weights (u,): the root of the sum of (weights * error)^2 over a species is 1 at the tolerance."""
        return self.shares / self.scale(u, largest)

    def norms(self, ratios: Floats) -> Floats:
        """Root mean square over every species' compartment, weighted by mass."""
        weighted = ratios * self.shares
        return np.sqrt([dot(weighted[own], weighted[own]) for own in self.own])

    def ratios(self, difference: Floats, u: Floats, new: Floats, largest: Floats) -> Floats:
        """Return an error (u,) between two states over its tolerance."""
        largest = np.maximum(largest, self.sizes(new))
        return np.asarray(difference / self.scale(np.maximum(np.abs(u), np.abs(new)), largest))

    def worst(self, ratios: Floats) -> tuple[float, int]:
        """Return the norm of the worst species, and its worst unknown."""
        norms = self.norms(ratios)
        own = self.own[int(np.argmax(norms))]
        return float(norms.max()), own.start + int(np.argmax(np.abs(ratios[own])))

    def undershoot(self, u: Floats, largest: Floats) -> float:
        """Return the largest negative value relative to its species' size."""
        kinds = zip(self.own, largest, self.signed, strict=True)
        return max((float(-u[own].min() / most) for own, most, signed in kinds if most and not signed), default=0.0)

    def negative(self, t: float, u: Floats, new: Floats, largest: Floats, *, soft: bool) -> int | None:
        """Return the unknown of a new state that is most below zero, if that is too far.

        Too far is beyond SOFT where it was not half so before (the step may be to blame), and beyond HARD where the
        reactions pull further down or half of the species' size is exceeded.
        """
        sizes = np.maximum(largest, self.sizes(new))
        for own, size, signed in zip(self.own, sizes, self.signed, strict=True):
            if signed or not size:
                continue
            lowest = int(own.start + np.argmin(new[own]))
            allowed = min(self.rtol, SOFT) * size
            if soft and new[lowest] < -allowed and u[own].min() > -0.5 * allowed:
                return lowest
            if new[lowest] < -0.5 * size or (new[lowest] < -HARD * size and self.problem.reacted(t, new)[lowest] < 0):
                return lowest
        return None
