"""How large an error is beside its tolerance, and how far a concentration may be below zero."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from meshcell.core.arrays import Floats
from meshcell.solving.linear.krylov import dot
from meshcell.solving.schemes import Discrete

# Default absolute tolerance relative to rtol and to the largest value that the species has had.
ATOL_SHARE = 1e-3
# A species counts as at least this share of the largest one: what starts at zero has no size of its own yet, and an
# error relative to next to nothing would let no step pass.
LEAST_SIZE = 1e-6
# The error at any single node may be so many times as large as the root mean square over the compartment.
ROUGHEST = 5.0
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
        self.problem, self.ranks, self.rtol = problem, problem.ranks, rtol
        self.own = list(problem.slices.values())
        self.atol = np.full(len(self.own), np.nan) if atol is None else atol
        self.least = LEAST_SIZE * (float(self.sizes(u).max()) or 1.0)
        # A species that says so, or starts below zero (a membrane potential), is not a concentration.
        said = [name in problem.signed for name in problem.slices]
        below = self.ranks.most(np.array([-u[own].min(initial=0) for own in self.own]))
        self.signed = np.array(said) | (below > 0)
        self.perhaps_signed = np.array([name in problem.perhaps_signed for name in problem.slices])
        shares = [problem.mass[own] / total for own, total in zip(self.own, problem.totals, strict=True)]
        self.shares: Floats = np.sqrt(np.concatenate(shares))

    def sizes(self, u: Floats) -> Floats:
        """Return the largest value of every species (s,)."""
        return self.ranks.largest(u, self.own)

    def scale(self, size: Floats, largest: Floats) -> Floats:
        """Return the error (u,) that is allowed at a node with a value of this size."""
        scale = self.rtol * np.abs(size)
        for own, atol, most in zip(self.own, self.atol, largest, strict=True):
            scale[own] += self.rtol * ATOL_SHARE * max(most, self.least) if np.isnan(atol) else atol
        return np.maximum(scale, 1e-290)

    def weights(self, u: Floats, largest: Floats) -> Floats:
        """Return weights (u,): the root of the sum of (weights * error)^2 over a species is 1 at the tolerance."""
        return self.shares / self.scale(u, largest)

    def young(self, largest: Floats) -> npt.NDArray[np.bool_]:
        """Tell which species (s,) have had no size worth the name yet."""
        return np.asarray(largest <= self.least)

    def grown(self, u: Floats, largest: Floats, ahead: Callable[[], Floats]) -> tuple[Floats, Floats]:
        """Return sizes (u,) and largest values (s,) as they may be after a step that changes u by up to `ahead()`.

        Only species without a size of their own look ahead: errors that are nothing beside what a step brings need
        not be small beside what there was before it.
        """
        young = self.young(largest)
        if not young.any():
            return u, largest
        sizes, change = np.abs(u), ahead()
        for own in itertools.compress(self.own, young):
            sizes[own] += np.where(np.isfinite(change[own]), change[own], 0)
        return sizes, np.maximum(largest, self.sizes(sizes))

    def norms(self, ratios: Floats) -> Floats:
        """Root mean square over every species' compartment, weighted by mass."""
        weighted = ratios * self.shares
        return np.asarray(np.sqrt(self.ranks.total(np.array([dot(weighted[own], weighted[own]) for own in self.own]))))

    def ratios(self, difference: Floats, u: Floats, new: Floats, largest: Floats) -> Floats:
        """Return an error (u,) between two states over its tolerance."""
        largest = np.maximum(largest, self.sizes(new))
        return np.asarray(difference / self.scale(np.maximum(np.abs(u), np.abs(new)), largest))

    def worst(self, ratios: Floats) -> tuple[float, int]:
        """Return the norm of the worst species, and its worst unknown.

        The root mean square, which a nanodomain in a large cell hardly enters, or the largest error of
        a single node over ROUGHEST.
        """
        norms = np.maximum(self.norms(ratios), self.ranks.largest(ratios, self.own) / ROUGHEST)
        own = self.own[int(np.argmax(norms))]
        return float(norms.max()), self.ranks.lowest(-np.abs(ratios[own]), own.start)[1]

    def undershoot(self, u: Floats, largest: Floats) -> float:
        """Return the largest negative value relative to its species' size."""
        below = self.ranks.most(np.array([-u[own].min(initial=np.inf) for own in self.own]))
        kinds = zip(below, np.maximum(largest, self.least), self.signed, strict=True)
        return max((float(far / most) for far, most, signed in kinds if most and not signed), default=0.0)

    def negative(self, t: float, u: Floats, new: Floats, largest: Floats, *, soft: bool) -> int | None:
        """Return the unknown of a new state that is most below zero, if that is too far.

        Too far is beyond SOFT where it was not half so before (the step may be to blame), and beyond HARD where the
        reactions take what is not there, or half of the species' size is exceeded.
        """
        # The end of a chain that starts at zero is below it after any first step, by next to nothing.
        sizes = np.maximum(np.maximum(largest, self.sizes(new)), self.least)
        for k in np.flatnonzero(~self.signed & (sizes > 0)):
            own, size = self.own[k], sizes[k]
            low, lowest = self.ranks.lowest(new[own], own.start)
            allowed = min(self.rtol, SOFT) * size
            if soft and low < -allowed and self.ranks.lowest(u[own], 0)[0] > -0.5 * allowed:
                return lowest
            if low < -0.5 * size or (low < -HARD * size and self.ranks.told(lowest, self._taken(t, new).item) < 0):
                if not self.perhaps_signed[k]:
                    return lowest
                self._take_as_signed(int(k), t)
        return None

    def _taken(self, t: float, u: Floats) -> Floats:
        """(u,) what reactions bring with nothing below zero: k*A*B with both a little below is no sink of either."""
        there = np.maximum(u, 0)
        for own in itertools.compress(self.own, self.signed):
            there[own] = u[own]
        return self.problem.reacted(t, there)

    def _take_as_signed(self, k: int, t: float) -> None:
        """Go on with a species that has no unit, where its own equation takes it below zero."""
        self.signed[k] = True
        logging.getLogger("meshcell").warning(
            "species %r went below zero at t = %.4g s, by a rate that adds it and is negative: it is taken for a "
            "potential or a deviation; a concentration should be taken by a change of -1, at a rate that goes to zero "
            "with it",
            list(self.problem.slices)[k],
            t,
        )
