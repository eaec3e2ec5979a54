"""Time steps: a linearly implicit (Rosenbrock) method of order 3 with error control; steps end at the asked times.

Source: RODAS3 of Sandu et al., Benchmarking stiff ODE solvers for atmospheric chemistry problems II, Atmos. Environ. 31
(1997) 3459-3472, in the form of Hairer and Wanner, Solving ODEs II, IV.7: L-stable, stiffly accurate, with an embedded
solution of order 2 that is L-stable too. No Newton iteration can fail: each of the four stages is one linear system.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from meshcell.krylov import dot
from meshcell.types import Floats

if TYPE_CHECKING:
    from meshcell.multigrid import Multigrid
    from meshcell.solver import Options

GAMMA = 0.5
# Stage i: the state u + A[i] . U at time t + ALPHA[i] dt, storage C[i] . U / dt, time derivative GAMMAS[i] dt.
A = ((), (0.0,), (2.0, 0.0), (2.0, 0.0, 1.0))
C = ((), (4.0,), (1.0, -1.0), (1.0, -1.0, -8 / 3))
ALPHA = (0.0, 0.0, 1.0, 1.0)
GAMMAS = (0.5, 1.5, 0.0, 0.0)
NEW = (2.0, 0.0, 1.0, 1.0)

SAFETY, LEAST_FACTOR, MOST_FACTOR = 0.9, 0.2, 6.0
# Share of the step's tolerance that the linear solver may use up.
LINEAR_SHARE = 0.01
# Default absolute tolerance relative to rtol and to the largest value that the species has had.
ATOL_SHARE = 1e-3
# A species counts as at least this share of the largest one: what starts at zero has no size of its own yet, and an
# error relative to next to nothing would let no step pass.
LEAST_SIZE = 1e-6
# Negative values beyond rtol (at most SOFT) of the species' size are retried with smaller steps. What is left then
# comes from obtuse tetrahedra, which smaller steps do not mend, or, beyond HARD and still falling, from the model.
SOFT, HARD = 1e-3, 1e-2
NEGATIVE_RETRIES, MOST_REJECTIONS = 6, 60
# No step is longer than this share of the simulated time, so that a rate that depends on time is looked at.
LONGEST = 1 / 8
ADVICE = {
    "small": "the solution may blow up there, or rates may jump: check the reactions, or try a larger rtol or atol",
    "negative": "no reaction should take what is not there: let the rate go to zero with the species, or lower rtol",
    "finite": "look for divisions by zero, roots or logarithms of negative numbers, and exponents in the rates",
}


class Discrete(Protocol):
    """What the stepper wants to know of a problem M u' = rate(t, u)."""

    names: list[str]
    slices: dict[str, slice]
    size: int
    mass: Floats
    multigrid: Multigrid
    kept: Floats

    def initial(self) -> Floats: ...
    def rate(self, t: float, u: Floats) -> Floats: ...
    def reacted(self, t: float, u: Floats) -> Floats: ...
    def linearise(self, t: float, u: Floats, storage: float) -> bool: ...
    def place(self, unknown: int) -> tuple[str, Floats]: ...


@dataclass(eq=False)
class Story:
    """States at the asked times as far as they were reached, the last state, and how it went."""

    values: list[Floats]
    last: Floats
    stats: dict[str, Any]
    message: str = ""
    interrupted: bool = False


@dataclass(eq=False)
class Trial:
    """One step that was tried: its stages, new state, and error in units of the tolerance."""

    stages: list[Floats] = field(default_factory=list)
    new: Floats | None = None
    error: float = np.inf
    trouble: str = "small"
    worst: int = 0


class StopError(Exception):
    """The end of a run that cannot go on; the text is for the user."""


class Stepper:
    """Steps a discrete problem through time.

    Parameters
    ----------
    problem : Discrete
    options : Options
        rtol, step, progress.
    atol : (s,) floats or None
        Per species; NaN or None: rtol * 1e-3 * the largest value that the species has had.
    """

    def __init__(self, problem: Discrete, options: Options, atol: Floats | None) -> None:
        self.problem, self.options = problem, options
        self.own = list(problem.slices.values())
        self.kept = problem.kept
        self.sizes = np.array([problem.mass[own].sum() for own in self.own])
        self.atol = np.full(len(self.own), np.nan) if atol is None else atol
        self.u = problem.initial()
        self.largest = self._sizes(self.u)
        self.least = LEAST_SIZE * (float(self.largest.max()) or 1.0)
        # A species that starts below zero (a membrane potential) is not a concentration.
        self.signed = np.array([self.u[own].min(initial=0) < 0 for own in self.own])
        self.shares = np.sqrt(np.concatenate([self._share(own) for own in self.own]))
        # The last steps, the latest first: their lengths and stages.
        self.past: list[tuple[float, list[Floats]]] = []
        self.stats: dict[str, Any] = dict.fromkeys(("steps", "rejections", "linear_solves", "linear_iterations"), 0)
        self.stats["undershoot"] = 0.0

    def run(self, times: Floats) -> Story:
        """Step from the first time to the last and note the states at all of them."""
        begun = time.perf_counter()
        story = Story([self.u.copy()], self.u, self.stats)
        self.end, self.span = float(times[-1]), float(times[-1] - times[0])
        self.stats["time"] = float(times[0])
        bar = _bar(self.options.progress, self.span)
        try:
            if len(times) > 1:
                if self.options.step is None:
                    self._march(times, story, bar)
                else:
                    self._march_evenly(times, self.options.step, story, bar)
        except StopError as stop:
            story.message = str(stop)
        except KeyboardInterrupt:
            story.message = f"interrupted at t = {self.stats['time']:.6g} s; the values so far are kept"
            story.interrupted = True
        bar.close()
        story.last = self.u
        self.stats.update(seconds=time.perf_counter() - begun, unknowns=self.problem.size)
        return story

    def _march_evenly(self, times: Floats, step: float, story: Story, bar: Any) -> None:
        """Divide every interval between asked times into equal steps, none longer than `step`."""
        rate = self.problem.rate(float(times[0]), self.u)
        for begin, end in itertools.pairwise(times.tolist()):
            count = int(np.ceil((end - begin) / step - 1e-9))
            dt = (end - begin) / count
            for k in range(count):
                t = begin + k * dt
                trial = self._try(t, dt, rate)
                bad = None if trial.new is None else self._negative(t + dt, trial.new, soft=False)
                if trial.new is None or bad is not None:
                    trouble, worst = (trial.trouble, trial.worst) if bad is None else ("negative", bad)
                    raise StopError(self._text(t, dt, trouble, worst))
                rate = self._advance(end if k == count - 1 else t + dt, dt, trial, bar)
            story.values.append(self.u.copy())

    def _march(self, times: Floats, story: Story, bar: Any) -> None:
        """Choose the steps by their errors; every asked time ends a step.

        Interpolating between the ends would save steps, but its error is under no control where a step skips the fast
        modes of diffusion: the slopes at its ends then say nothing about what lies between.
        """
        t = float(times[0])
        rate = self.problem.rate(t, self.u)
        wish = self._first_step(rate)
        before: tuple[float, float] | None = None
        refused = negative = 0
        while t < self.end:
            asked = float(times[len(story.values)])
            dt = self._fitted(asked - t, wish)
            trial = self._try(t, dt, rate)
            # A step that is too long says nothing about signs, so the error comes first.
            right = trial.new is not None and trial.error <= 1
            bad = self._negative(t + dt, trial.new, soft=negative < NEGATIVE_RETRIES) if right else None
            if not right or bad is not None:
                refused, negative = refused + 1, negative + (bad is not None)
                self.stats["rejections"] += 1
                wish = dt * (0.5 if right else max(LEAST_FACTOR, min(0.7, SAFETY * trial.error ** (-1 / 3))))
                self._require_hope(t, wish, trial, bad, refused > MOST_REJECTIONS or negative > NEGATIVE_RETRIES)
                continue
            t = asked if dt >= asked - t else t + dt
            rate = self._advance(t, dt, trial, bar)
            if t == asked:
                story.values.append(self.u.copy())
            # A step that was cut to end at an asked time does not make the next one shorter.
            wish = max(wish if dt < wish else 0.0, dt * _growth(trial.error, before, dt, grow=refused == 0))
            before, refused, negative = (dt, max(trial.error, 1e-2)), 0, 0

    def _advance(self, t: float, dt: float, trial: Trial, bar: Any) -> Floats:
        """Take the new state at time t and return its rate."""
        assert trial.new is not None
        self.u = trial.new
        self.largest = np.maximum(self.largest, self._sizes(self.u))
        for own, most, signed in zip(self.own, self.largest, self.signed, strict=True):
            if most and not signed:
                self.stats["undershoot"] = max(self.stats["undershoot"], float(-self.u[own].min() / most))
        self.past = [(dt, trial.stages), *self.past[:1]]
        self.stats["steps"] += 1
        self.stats["time"] = t
        bar.set_postfix_str(f"step {dt:.3g} s", refresh=False)
        bar.update(dt)
        return self.problem.rate(t, self.u)

    def _fitted(self, left: float, wish: float) -> float:
        """Shorten a step so that whole ones end at the asked time: no long step is followed by a sliver."""
        dt = min(wish, LONGEST * self.span)
        return left if dt >= left * (1 - 1e-9) else (left / 2 if dt > 0.5 * left else dt)

    def _try(self, t: float, dt: float, rate: Floats) -> Trial:
        problem, u, trial = self.problem, self.u, Trial()
        if not np.isfinite(rate).all():
            trial.trouble, trial.worst = "finite", int(np.flatnonzero(~np.isfinite(rate))[0])
            return trial
        if not problem.linearise(t, u, 1 / (GAMMA * dt)):
            trial.trouble = "finite"
            return trial
        nudge = 1e-4 * dt
        drift = (problem.reacted(t + nudge, u) - problem.reacted(t, u)) / nudge
        scale = self._scale(u, self.largest)
        weights = self.shares / scale
        for i in range(4):
            if i >= 2:
                state = _combined(u, A[i], trial.stages)
                rate = problem.rate(t + ALPHA[i] * dt, state)
                if not np.isfinite(rate).all():
                    trial.trouble, trial.worst = "finite", int(np.flatnonzero(~np.isfinite(rate))[0])
                    return trial
            b = rate + GAMMAS[i] * dt * drift
            if i:
                b += problem.mass * _combined(np.zeros_like(u), C[i], trial.stages) / dt
            stage = self._solve(b, weights, dt, i)
            if stage is None:
                trial.worst = int(np.argmax(np.abs(b) / problem.mass * weights))
                return trial
            trial.stages.append(stage)
        new = _combined(u, NEW, trial.stages)
        if np.isfinite(new).all():
            trial.new = new
            trial.error, trial.worst = self._error(trial.stages[3], new)
        return trial

    def _solve(self, b: Floats, weights: Floats, dt: float, stage: int) -> Floats | None:
        guess = self._guess(dt, stage)
        x, iterations, converged = self.problem.multigrid.solve(b, weights, LINEAR_SHARE, guess)
        self.stats["linear_solves"] += 1
        self.stats["linear_iterations"] += iterations
        if not converged:
            return None
        self._restore_sums(x)
        return x

    def _guess(self, dt: float, stage: int) -> Floats | None:
        """Guess a stage from those of the last steps: they change like rates, times the step."""
        if not self.past:
            return None
        length, stages = self.past[0]
        guess: Floats = stages[stage] * (dt / length)
        # The first two are rates times the step, which change evenly; the others are differences.
        if stage < 2 and len(self.past) == 2:
            before, old = self.past[1]
            guess += dt * (stages[stage] / length - old[stage] / before) * (length / before)
        return guess

    def _restore_sums(self, stage: Floats) -> None:
        """Take out what the linear solver put into the sums that the model keeps: no stage may change them.

        Conservation must not hang on its tolerance, nor on rounding in K u, which is amplified by dt D / h^2 without
        bound; shared out evenly it is below all else.
        """
        if len(self.kept):
            sums = np.array([dot(self.problem.mass[own], stage[own]) for own in self.own])
            shifts = self.kept.T @ np.linalg.solve(self.kept @ (self.sizes[:, None] * self.kept.T), self.kept @ sums)
            for own, shift in zip(self.own, shifts, strict=True):
                stage[own] -= shift

    # --- sizes and errors ---

    def _sizes(self, u: Floats) -> Floats:
        return np.array([np.abs(u[own]).max(initial=0) for own in self.own])

    def _norms(self, ratios: Floats) -> Floats:
        """Root mean square over every species' compartment, weighted by mass."""
        weighted = ratios * self.shares
        return np.sqrt([dot(weighted[own], weighted[own]) for own in self.own])

    def _share(self, own: slice) -> Floats:
        share: Floats = self.problem.mass[own] / self.problem.mass[own].sum()
        return share

    def _scale(self, size: Floats, largest: Floats) -> Floats:
        rtol = self.options.rtol
        scale = rtol * np.abs(size)
        for own, atol, most in zip(self.own, self.atol, largest, strict=True):
            scale[own] += rtol * ATOL_SHARE * max(most, self.least) if np.isnan(atol) else atol
        return np.maximum(scale, 1e-290)

    def _error(self, difference: Floats, new: Floats) -> tuple[float, int]:
        """Root mean square, weighted by mass, of the error over the tolerance: that of the worst species."""
        largest = np.maximum(self.largest, self._sizes(new))
        ratios = difference / self._scale(np.maximum(np.abs(self.u), np.abs(new)), largest)
        norms = self._norms(ratios)
        own = self.own[int(np.argmax(norms))]
        return float(norms.max()), own.start + int(np.argmax(np.abs(ratios[own])))

    def _negative(self, t: float, new: Floats | None, *, soft: bool) -> int | None:
        """Return the unknown that is most below zero, if that is too far.

        Too far is beyond SOFT where it was not half so before (the step may be to blame), and beyond HARD where the
        reactions pull further down or half of the species' size is exceeded.
        """
        assert new is not None
        sizes = np.maximum(self.largest, self._sizes(new))
        for own, size, signed in zip(self.own, sizes, self.signed, strict=True):
            if signed or not size:
                continue
            lowest = int(own.start + np.argmin(new[own]))
            allowed = min(self.options.rtol, SOFT) * size
            if soft and new[lowest] < -allowed and self.u[own].min() > -0.5 * allowed:
                return lowest
            if new[lowest] < -0.5 * size or (new[lowest] < -HARD * size and self.problem.reacted(t, new)[lowest] < 0):
                return lowest
        return None

    def _first_step(self, rate: Floats) -> float:
        """Guess a first step that changes the state by about a hundredth (Hairer, Norsett, Wanner 1993, II.4)."""
        if not np.isfinite(rate).all():
            return 1e-6 * self.span
        scale = self._scale(self.u, self.largest)
        value = float(np.linalg.norm(self._norms(self.u / scale)))
        speed = float(np.linalg.norm(self._norms(rate / self.problem.mass / scale)))
        if speed == 0:
            return 1e-3 * self.span
        return float(min(0.01 * value / speed if value > 0 else 1e-6 * self.span, 1e-2 * self.span))

    def _require_hope(self, t: float, dt: float, trial: Trial, bad: int | None, tried: bool) -> None:
        """Stop when smaller steps have been tried in vain, or have become too small to add to the time."""
        if dt > 4 * np.finfo(float).eps * max(abs(t), 1e-3 * self.span) and not tried:
            return
        if bad is not None and trial.new is not None and self.problem.reacted(t, trial.new)[bad] < 0:
            raise StopError(self._text(t, dt, "negative", bad))
        raise StopError(self._text(t, dt, trial.trouble, trial.worst if bad is None else bad))

    def _text(self, t: float, dt: float, trouble: str, unknown: int) -> str:
        name, xyz = self.problem.place(unknown)
        where = ", ".join(f"{value:.4g}" for value in xyz)
        what = {
            "small": f"the step fell to {dt:.3g} s without reaching the tolerance",
            "negative": "a concentration went below zero",
            "finite": "a rate is not finite",
        }[trouble]
        return (
            f"stopped at t = {t:.6g} s: {what}; the worst is species {name!r}, {self.u[unknown]:.4g} at "
            f"({where}) um; {ADVICE[trouble]}"
        )


def _combined(base: Floats, coefficients: tuple[float, ...], stages: list[Floats]) -> Floats:
    result = base.copy()
    for coefficient, stage in zip(coefficients, stages, strict=False):
        if coefficient:
            result += coefficient * stage
    return result


def _growth(error: float, before: tuple[float, float] | None, dt: float, *, grow: bool) -> float:
    """Factor of the next step for an error of order 3, by the present error and by its trend (Gustafsson 1994)."""
    error = max(error, 1e-6)
    factor = SAFETY * error ** (-1 / 3)
    if before is not None:
        factor = min(factor, SAFETY * dt / before[0] * (before[1] / error**2) ** (1 / 3))
    return float(max(LEAST_FACTOR, min(MOST_FACTOR if grow else 1.0, factor)))


def _bar(progress: bool, span: float) -> Any:
    from tqdm import tqdm

    layout = "{l_bar}{bar}| {n:.4g}/{total:.4g} s [{elapsed}<{remaining}{postfix}]"
    return tqdm(total=span, disable=not progress, bar_format=layout, desc="simulated")
