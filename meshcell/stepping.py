"""The march through time: which scheme, how long a step, and what to do when one fails.

Steps end at the asked times and at events, the times where rates may jump; between two of them everything is smooth.
Both schemes are of order 3 and know their error, so that each step may take either.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from meshcell.checkpoints import Checkpoint
from meshcell.krylov import dot
from meshcell.schemes import Discrete, Step, Trial, imex, imex2, rosenbrock
from meshcell.types import Floats

if TYPE_CHECKING:
    from meshcell.solver import Options

SCHEMES = {"implicit": rosenbrock, "imex": imex, "imex2": imex2}
COUNTS = ("steps", "implicit_steps", "imex_steps", "rejections", "linear_solves", "linear_iterations")
# Reactions may be explicit while the step times their speed is below this (ARS(3,4,3) is stable to 2.7); how fast they
# are is looked at every so many steps.
SLOW, LOOK_EVERY = 1.0, 10

SAFETY, LEAST_FACTOR, MOST_FACTOR = 0.9, 0.2, 6.0
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


@dataclass(eq=False)
class Story:
    """States at the asked times as far as they were reached, the last state, and how it went."""

    values: list[Floats]
    last: Floats
    stats: dict[str, Any]
    message: str = ""
    interrupted: bool = False


@dataclass(frozen=True, eq=False)
class State:
    """All that the rest of a run depends on.

    Parameters
    ----------
    t : float, s
    u : (u,) floats
    largest : (s,) floats
        The largest value that each species has had.
    rows : int
        Asked times that are behind.
    count : int
        Equal steps done since the last asked time or event.
    wish : float, s
        How long the next step may be; 0: to be guessed.
    before : (length, error) of the last step, or None
    sharpness : float, 1/s
        How fast reactions may be, as last looked at.
    scheme : str
        Of the last step.
    past : tuple of (length, stages)
        Its last steps.
    stats : dict
    """

    t: float
    u: Floats
    largest: Floats
    rows: int
    count: int = 0
    wish: float = 0.0
    before: tuple[float, float] | None = None
    sharpness: float = -1.0
    scheme: str = ""
    past: tuple[tuple[float, list[Floats]], ...] = ()
    stats: dict[str, Any] = field(default_factory=dict)


class StopError(Exception):
    """The end of a run that cannot go on; the text is for the user."""


class Stepper:
    """Steps a discrete problem through time.

    Parameters
    ----------
    problem : Discrete
    options : Options
        rtol, step, scheme, events, progress, checkpoint.
    atol : (s,) floats or None
        Per species; NaN or None: rtol * 1e-3 * the largest value that the species has had.
    """

    def __init__(self, problem: Discrete, options: Options, atol: Floats | None) -> None:
        self.problem, self.options = problem, options
        self.own = list(problem.slices.values())
        self.atol = np.full(len(self.own), np.nan) if atol is None else atol
        self.u = problem.initial()
        self.largest = self._sizes(self.u)
        self.least = LEAST_SIZE * (float(self.largest.max()) or 1.0)
        # A species that starts below zero (a membrane potential) is not a concentration.
        self.signed = np.array([self.u[own].min(initial=0) < 0 for own in self.own])
        self.shares = np.sqrt(np.concatenate([self._share(own) for own in self.own]))
        self.stats: dict[str, Any] = dict.fromkeys(COUNTS, 0)
        self.stats.update(undershoot=0.0, seconds=0.0)

    def run(self, times: Floats) -> Story:
        """Step from the first time to the last and note the states at all of them."""
        begun = time.perf_counter()
        self.times, self.begin, self.end = times, float(times[0]), float(times[-1])
        self.span = self.end - self.begin
        self.values = [self.u.copy()]
        self.state = State(self.begin, self.u, self.largest, 1, stats=dict(self.stats, time=self.begin))
        story = Story(self.values, self.u, self.stats)
        checkpoint = Checkpoint.of(self.options, self.problem, times)
        self.checkpoint = checkpoint
        self._take_up(checkpoint)
        spent = self.stats["seconds"] - begun
        bar = _Bar(self.options.progress, self.span, self.state.t - self.begin)
        try:
            for begin, end in self._pieces():
                self._enter(begin, end)
                (self._march if self.options.step is None else self._march_evenly)(begin, end, bar)
        except StopError as stop:
            story.message = str(stop)
        except KeyboardInterrupt:
            story.message = f"interrupted at t = {self.state.t:.6g} s; the values so far are kept"
            story.interrupted = True
        bar.close()
        self.u = story.last = self.state.u
        self.stats.update(time=self.state.t, seconds=time.perf_counter() + spent, unknowns=self.problem.size)
        if checkpoint is not None:
            checkpoint.write(self.state, self.values)
        return story

    def _take_up(self, checkpoint: Checkpoint | None) -> None:
        """Go on from a checkpoint, where there is one."""
        found = None if checkpoint is None else checkpoint.read()
        if found is not None:
            fields, rows = found
            self.state = State(**fields)
            self.values[:] = rows
            self.u, self.largest = self.state.u, self.state.largest
            self.stats.update(self.state.stats)

    # --- pieces of time ---

    def _pieces(self) -> list[tuple[float, float]]:
        """Return what is left between asked times and events."""
        events = [event for event in self.options.events if self.begin < event < self.end]
        self.events = {self.begin, self.end, *events}
        pieces = itertools.pairwise(sorted({*self.times.tolist(), *events}))
        return [(begin, end) for begin, end in pieces if end > self.state.t]

    def _enter(self, begin: float, end: float) -> None:
        """Keep rates to this side of the events around a piece, and forget what was learnt before one."""
        low = np.nextafter(begin, np.inf) if begin in self.options.events else -np.inf
        high = np.nextafter(end, -np.inf) if end in self.options.events else np.inf
        self.window = float(low), float(high)
        if self.state.t == begin and begin in self.events:
            self.state = replace(self.state, past=(), wish=0.0, before=None, sharpness=-1.0)
        self.reacted = self.problem.reacted(self._when(self.state.t), self.u)

    def _when(self, t: float) -> float:
        return min(max(t, self.window[0]), self.window[1])

    def _march_evenly(self, begin: float, end: float, bar: _Bar) -> None:
        """Divide a piece into equal steps, none longer than `step`."""
        assert self.options.step is not None
        steps = int(np.ceil((end - begin) / self.options.step - 1e-9))
        dt = (end - begin) / steps
        while self.state.t < end:
            t, k = self.state.t, self.state.count + 1
            new_t = end if k == steps else begin + k * dt
            scheme, sharpness = self._scheme(t, dt)
            trial = self._try(scheme, t, dt)
            bad = None if trial.new is None else self._negative(new_t, trial.new, soft=False)
            if trial.new is None or bad is not None:
                trouble, worst = (trial.trouble, trial.worst) if bad is None else ("negative", bad)
                raise StopError(self._text(t, dt, trouble, worst))
            self._advance(new_t, dt, scheme, trial, bar, count=k % steps, sharpness=sharpness)

    def _march(self, begin: float, end: float, bar: _Bar) -> None:
        """Choose the steps by their errors.

        Interpolating beyond the ends of pieces would save steps, but its error is under no control where a step skips
        the fast modes of diffusion: the slopes at its ends then say nothing about what lies between.
        """
        refused = negative = 0
        wish = self.state.wish or self._first_step()
        while self.state.t < end:
            t, before = self.state.t, self.state.before
            dt = self._fitted(end - t, wish)
            scheme, sharpness = self._scheme(t, dt, troubled=refused > 1)
            trial = self._try(scheme, t, dt)
            # A step that is too long says nothing about signs, so the error comes first.
            right = trial.new is not None and trial.error <= 1
            bad = self._negative(t + dt, trial.new, soft=negative < NEGATIVE_RETRIES) if right else None
            if not right or bad is not None:
                refused, negative = refused + 1, negative + (bad is not None)
                self.stats["rejections"] += 1
                wish = dt * (0.5 if right else max(LEAST_FACTOR, min(0.7, SAFETY * trial.error ** (-1 / 3))))
                self._require_hope(t, wish, trial, bad, refused > MOST_REJECTIONS or negative > NEGATIVE_RETRIES)
                continue
            # A step that was cut to end at an asked time does not make the next one shorter.
            if dt < min(self._least_step(t), end - t):
                raise StopError(self._text(t, dt, "small", trial.worst))
            growth = _growth(trial.error, before, dt, grow=refused == 0)
            wish = max(wish if dt < wish else 0.0, dt * growth)
            pace = {"wish": wish, "before": (dt, max(trial.error, 1e-2)), "sharpness": sharpness}
            self._advance(end if dt >= end - t else t + dt, dt, scheme, trial, bar, **pace)
            refused = negative = 0

    def _scheme(self, t: float, dt: float, *, troubled: bool = False) -> tuple[str, float]:
        """Choose the scheme of a step: explicit reactions where they are slow beside it; also return how fast they are.

        Looking costs about as much as a stage, so it is done at every tenth step.
        """
        sharpness = self.state.sharpness
        if self.options.scheme is not None:
            return self.options.scheme, sharpness
        if sharpness < 0 or self.stats["steps"] % LOOK_EVERY == 0:
            sharpness = self.problem.sharpness(self._when(t), self.u)
        return "imex" if not troubled and dt * sharpness <= SLOW else "implicit", sharpness

    def _advance(self, t: float, dt: float, scheme: str, trial: Trial, bar: _Bar, **pace: Any) -> None:
        """Take the new state at time t."""
        assert trial.new is not None
        self.u = trial.new
        self.largest = np.maximum(self.largest, self._sizes(self.u))
        for own, most, signed in zip(self.own, self.largest, self.signed, strict=True):
            if most and not signed:
                self.stats["undershoot"] = max(self.stats["undershoot"], float(-self.u[own].min() / most))
        past = self.state.past[:1] if scheme == self.state.scheme else ()
        self.stats["steps"] += 1
        self.stats["imex_steps" if scheme.startswith("imex") else "implicit_steps"] += 1
        rows = self.state.rows
        if t == self.times[rows]:
            self.values[rows:] = [self.u.copy()]
            rows += 1
        stats, past = dict(self.stats, time=t), ((dt, trial.stages), *past)
        kept = {"wish": 0.0, "before": None, "count": 0, "scheme": scheme, "past": past, "stats": stats, **pace}
        # All at once, so that an interrupt finds either the old or the new one whole.
        self.state = State(t, self.u, self.largest, rows, **kept)
        self.reacted = self.problem.reacted(self._when(t), self.u)
        bar.advance(dt)
        if self.checkpoint is not None:
            self.checkpoint.write_if_due(self.state, self.values)

    def _fitted(self, left: float, wish: float) -> float:
        """Shorten a step so that whole ones end at the asked time: no long step is followed by a sliver."""
        dt = min(wish, LONGEST * self.span)
        return left if dt >= left * (1 - 1e-9) else (left / 2 if dt > 0.5 * left else dt)

    def _try(self, scheme: str, t: float, dt: float) -> Trial:
        if not np.isfinite(self.reacted).all():
            return Trial().failed("finite", int(np.flatnonzero(~np.isfinite(self.reacted))[0]))
        weights = self.shares / self._scale(self.u, self.largest)
        past = self.state.past if scheme == self.state.scheme else ()
        step = Step(self.problem, t, dt, self.u, self.reacted, weights, past, self._when, self.stats)
        trial = SCHEMES[scheme](step)
        if trial.new is not None and trial.difference is not None and self.options.step is None:
            trial.error, trial.worst = self._error(trial.difference, trial.new)
        return trial

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

    def _first_step(self) -> float:
        """Guess a first step that changes the state by about a hundredth (Hairer, Norsett, Wanner 1993, II.4)."""
        rate = self.reacted - self.problem.diffusion.apply(self.u)
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
        if dt > self._least_step(t) and not tried:
            return
        if bad is not None and trial.new is not None and self.problem.reacted(t, trial.new)[bad] < 0:
            raise StopError(self._text(t, dt, "negative", bad))
        raise StopError(self._text(t, dt, trial.trouble, trial.worst if bad is None else bad))

    def _least_step(self, t: float) -> float:
        return 4 * float(np.finfo(float).eps) * max(abs(t), 1e-3 * self.span)

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


def _growth(error: float, before: tuple[float, float] | None, dt: float, *, grow: bool) -> float:
    """Factor of the next step for an error of order 3, by the present error and by its trend (Gustafsson 1994)."""
    error = max(error, 1e-6)
    factor = SAFETY * error ** (-1 / 3)
    if before is not None:
        factor = min(factor, SAFETY * dt / before[0] * (before[1] / error**2) ** (1 / 3))
    return float(max(LEAST_FACTOR, min(MOST_FACTOR if grow else 1.0, factor)))


class _Bar:
    """A bar with the simulated time, the step and simulated seconds per second."""

    def __init__(self, shown: bool, span: float, done: float) -> None:
        from tqdm import tqdm

        layout = "{l_bar}{bar}| {n:.4g}/{total:.4g} s [{elapsed}<{remaining}{postfix}]"
        self.tqdm = tqdm(total=span, initial=done, disable=not shown, bar_format=layout, desc="simulated")
        self.begun, self.gone = time.perf_counter(), 0.0

    def advance(self, dt: float) -> None:
        """Move on by one step."""
        self.gone += dt
        rate = self.gone / (time.perf_counter() - self.begun)
        self.tqdm.set_postfix_str(f"step {dt:.3g} s, {rate:.3g} s per s", refresh=False)
        self.tqdm.update(dt)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.tqdm.close()
