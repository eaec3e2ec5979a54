"""The march through time: which scheme, how long a step, and what to do when one fails.

Steps end at events, the times where rates may jump; between two of them everything is smooth. Asked times are passed
where the states around them say well enough what is there, and end a step where they do not.
"""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.core.progress import bar
from meshcell.models.stimuli import SHORTEST as SHORTEST_SEEN
from meshcell.solving.acting import Acting
from meshcell.solving.checkpoints import Checkpoint
from meshcell.solving.dense_output import STATES, interpolated
from meshcell.solving.error_norms import Tolerance
from meshcell.solving.options import Options
from meshcell.solving.schemes import Discrete, Step, Trial, imex, imex2, least_implicit_work, rosenbrock
from meshcell.solving.state import HOLD, Act, Choice, Plan, StopError, Story, TimeState

Note = Callable[[float, Floats], Floats]
SCHEMES = {"implicit": rosenbrock, "imex": imex, "imex2": imex2}
COUNTS = ("steps", "implicit_steps", "imex_steps", "rejections", "interpolated", "linear_solves", "linear_iterations")
# Reactions may be explicit while a step times their speed is below this (ARS(3,4,3) is stable to 2.7); how fast they
# are is looked at every so many steps, as that costs about as much as a stage. Equal steps are explicit where they may.
SLOW, LOOK_EVERY = 2.0, 10
ALWAYS_EXPLICIT = Choice("imex", trial=sys.maxsize)

SAFETY, LEAST_FACTOR, MOST_FACTOR = 0.9, 0.2, 6.0
NEGATIVE_RETRIES, MOST_REJECTIONS = 6, 60
# No step is longer than this share of the simulated time, so that a rate that depends on time is looked at.
LONGEST = 1 / 8
# Between the ends of steps the error may be as large as that of a step. Where it is larger, so many steps end at asked
# times before passing one is tried again: doubled at every failure.
LONGEST_HOLD = 64
# The times of events are found to rtol of the step, and need not be to rtol of less than this share of the run.
FINEST = 1e-4
# Below this share of the simulated time, times are as good as zero.
SHORTEST = 1e-16
# So many steps that get on by less than that share of the simulated time, and so many before them, would take days.
CRAWL_STEPS, CRAWL = 2000, 1e-5
ADVICE = {
    "small": "the solution may blow up there, or rates may jump: check the reactions, or try a larger rtol or atol",
    "crawl": "rates may jump to and fro there, as heaviside of a species does: make the switch smooth, such as "
    "u**8/(K**8 + u**8), or try a larger rtol or atol",
    "negative": "no reaction should take what is not there: let the rate go to zero with the species, or lower rtol",
    "finite": "look for divisions by zero, roots or logarithms of negative numbers, and exponents in the rates",
}
FAST = "imex takes reactions explicitly, which fast ones forbid: take scheme='auto' or 'implicit'; otherwise "


class Stepper:
    """Steps a discrete problem through time.

    Parameters
    ----------
    problem : Discrete
    options : Options
        rtol, step, scheme, events, progress, checkpoint.
    atol : (s,) floats or None
        Per species; NaN or None: rtol * 1e-3 * the largest value that the species has had.
    note : callable(t, u) -> array
        What is kept of the state at an asked time (s); a copy of it by default.
    acting : Acting, optional
        What happens to the run.
    """

    def __init__(
        self,
        problem: Discrete,
        options: Options,
        atol: Floats | None,
        note: Note | None = None,
        acting: Acting | None = None,
    ) -> None:
        self.problem, self.ranks, self.options, self.acting = problem, problem.ranks, options, acting
        self.note: Note = note or (lambda _, u: u.copy())
        self.u = problem.initial()
        self.tolerance = Tolerance(problem, self.u, options.rtol, atol)
        self.largest = self.tolerance.sizes(self.u)
        self.stats: dict[str, Any] = dict.fromkeys(COUNTS, 0)
        self.stats.update(work=0.0, undershoot=0.0, seconds=0.0)

    def run(self, times: Floats) -> Story:
        """Step from the first time to the last and take note of the states at all of them."""
        begun = time.perf_counter()
        self.times, self.begin, self.end = times, float(times[0]), float(times[-1])
        self.span = self.end - self.begin
        self.longest = min(LONGEST * self.span, self.options.longest or np.inf)
        self._look_ahead()
        self.values = [self.note(self.begin, self.u)]
        self.state = TimeState(self.begin, self.u, self.largest, 1, stats=dict(self.stats, time=self.begin))
        story = Story(self.values, self.u, self.stats)
        checkpoint = Checkpoint.of(self.options, self.problem, times)
        self.checkpoint = checkpoint
        self._take_up(checkpoint)
        self.window = -np.inf, np.inf
        if self.acting is not None:
            self.acting.begin(self.state.t, self.u, self.state.acted, self.state.held)
            # A run that was stopped just before one.
            self._watch(self.state.t)
        spent = self.stats["seconds"] - begun
        bar = _Bar(self.options.progress, self.span, self.state.t - self.begin)
        try:
            for begin, end in self._pieces():
                self._enter(begin, end)
                (self._march if self.options.step is None else self._march_evenly)(begin, end, bar)
            self._act_at(self.end)
        except StopError as stop:
            story.message = str(stop)
        except KeyboardInterrupt:
            story.message = f"interrupted at t = {self.state.t:.6g} s; the values so far are kept"
            story.interrupted = True
        bar.close()
        self.u = story.last = self.state.u
        story.acted = self.state.acted
        self.stats.update(time=self.state.t, seconds=time.perf_counter() + spent, unknowns=self.problem.n_unknowns)
        trouble = "" if checkpoint is None else checkpoint.write(self.state, self.values)
        if trouble and story.message:
            story.message += "" if trouble in story.message else f"; {trouble}"
        elif trouble:
            logging.getLogger("meshcell").warning("the run is finished, but %s", trouble)
        return story

    def _take_up(self, checkpoint: Checkpoint | None) -> None:
        """Go on from a checkpoint, where there is one."""
        found = None if checkpoint is None else checkpoint.read()
        if found is not None:
            fields, rows = found
            acted = tuple(Act(t, tuple(rows), tuple(change)) for t, rows, change in fields["acted"])
            own = {"choice": Choice(**fields["choice"]), "acted": acted, "held": tuple(fields["held"])}
            self.state = TimeState(**{**fields, **own})
            self.values[:] = rows
            self.u, self.largest = self.state.u, self.state.largest
            self.stats.update(self.state.stats)

    # --- pieces of time ---

    def _look_ahead(self) -> None:
        """Look through what depends on time alone: it may jump where nobody said so."""
        known = self.options.events
        looks = self.problem.stimuli if self.span > 0 else ()
        self.stimuli = [look(self.begin, self.end, known) for look in looks]
        self.jumps = {*known, *(jump for stimulus in self.stimuli for jump in stimulus.jumps)}

    def _resolved(self, t: float, dt: float) -> float:
        """Shorten a step until its stages see enough of what depends on time alone."""
        while dt > SHORTEST_SEEN * self.span and not all(
            stimulus.resolved(t, dt, self._when, self.options.rtol) for stimulus in self.stimuli
        ):
            dt /= 2
        return dt

    def _pieces(self) -> list[tuple[float, float]]:
        """Return what is left between events, and for equal steps between asked times too."""
        events = [event for event in self.jumps if self.begin < event < self.end]
        self.events = {self.begin, self.end, *events}
        asked = self.times.tolist() if self.options.step is not None else ()
        return [(begin, end) for begin, end in itertools.pairwise(sorted({*self.events, *asked})) if end > self.state.t]

    def _enter(self, begin: float, end: float) -> None:
        """Keep rates to this side of the events around a piece, and forget what was learnt before one."""
        low = np.nextafter(begin, np.inf) if begin in self.jumps else -np.inf
        high = np.nextafter(end, -np.inf) if end in self.jumps else np.inf
        self.window = float(low), float(high)
        if self.state.t == begin and begin in self.events:
            self._forget()
            self._act_at(begin)
        self.reacted = self.problem.reacted(self._when(self.state.t), self.u)

    def _forget(self) -> None:
        choice = self.state.choice.after_event(self.stats["steps"])
        self.state = replace(self.state, past=(), history=(), wish=0.0, before=None, sharpness=-1.0, choice=choice)

    def _act_at(self, t: float) -> None:
        """Do what is to be done at a time, unless the run was taken up after that."""
        if self.acting is not None:
            done = {row for act in self.state.acted if act.t == t for row in act.events}
            self._act(t, [row for row in self.acting.at(t) if row not in done])

    def _act(self, t: float, rows: Sequence[int]) -> None:
        """Let events happen now; an asked time shows the state after them."""
        if self.acting is None or not rows:
            return
        self.u, act = self.acting.act(t, self.u, rows)
        acted = (*self.state.acted, act)
        self.acting.require_end(acted, self.span)
        self.largest = np.maximum(self.largest, self.tolerance.sizes(self.u))
        if self.times[self.state.rows - 1] == t:
            self.values[self.state.rows - 1] = self.note(t, self.u)
        held = tuple(self.acting.held)
        self.state = replace(self.state, u=self.u, largest=self.largest, acted=acted, held=held)
        self._forget()
        self.reacted = self.problem.reacted(self._when(t), self.u)

    def _watch(self, t: float) -> bool:
        """Let events happen whose conditions have become true; tell whether there were any."""
        if self.acting is None:
            return False
        rows = list(self.acting.crossed(t, self.u))
        if rows:
            self._act(t, rows)
        else:
            self.acting.settle(t, self.u)
            self.state = replace(self.state, held=tuple(self.acting.held))
        return bool(rows)

    def _when(self, t: float) -> float:
        return min(max(t, self.window[0]), self.window[1])

    def _march_evenly(self, begin: float, end: float, bar: _Bar) -> None:
        """Divide a piece into equal steps, none longer than `step`."""
        assert self.options.step is not None
        steps = max(1, int(np.ceil((end - begin) / self.options.step - 1e-9)))
        dt = (end - begin) / steps
        while self.state.t < end:
            t, k = self.state.t, self.state.count + 1
            new_t = end if k == steps else begin + k * dt
            scheme, _, sharpness = self._chosen(ALWAYS_EXPLICIT, t, dt)
            trial = self._try(scheme, t, dt)
            bad = None if trial.new is None else self._negative(new_t, trial.new, soft=False)
            if trial.new is None or bad is not None:
                trouble, worst = (trial.trouble, trial.worst) if bad is None else ("negative", bad)
                raise StopError(self._text(t, dt, trouble, worst))
            self._advance(new_t, dt, scheme, trial, bar, count=k % steps, sharpness=sharpness)
            self._watch(new_t)

    def _march(self, begin: float, end: float, bar: _Bar) -> None:
        """Choose steps and schemes by errors."""
        plan, most = Plan(self.state.wish or self._first_step(), self.state.hold, self.state.choice), np.inf
        while self.state.t < end:
            t, steps = self.state.t, self.stats["steps"]
            passing = len(self.state.history) == STATES - 2 and steps >= plan.hold[0]
            target = end if passing else min(float(self.times[self.state.rows]), end)
            dt = min(self._resolved(t, self._fitted(target - t, plan.wish)), most)
            new_t = target if dt >= target - t else t + dt
            scheme, plan.choice, sharpness = self._chosen(plan.choice, t, dt, troubled=plan.refused > 1)
            visiting = scheme != (self.options.scheme or plan.choice.home)
            trial = self._judged(self._try(scheme, t, dt), new_t, soft=plan.negative < NEGATIVE_RETRIES)
            reach = min(dt * _factor(trial), target - t, self.longest)
            plan.choice = plan.choice.noted(steps, scheme, reach / max(trial.work, 1.0), self.stats["work"])
            if (shorter := self._before_event(t, dt, trial)) is not None:
                most = shorter
                continue
            most = np.inf
            passed = self._passed(t, new_t, trial) if trial.right else None
            if passed is None:
                self._refuse(plan, trial, t, dt, visiting=visiting)
                continue
            if dt < min(self._least_step(t), target - t):
                raise StopError(self._text(t, dt, "small", trial.worst))
            pace = self._paced(plan, trial, dt, scheme, visiting=visiting)
            hold = (plan.hold[0], HOLD) if passed else plan.hold
            mark = self._marked(t, dt, trial)
            self._advance(new_t, dt, scheme, trial, bar, passed, hold=hold, mark=mark, sharpness=sharpness, **pace)
            acted = self._watch(new_t)
            plan = Plan(self.state.wish or self._first_step(), hold, self.state.choice if acted else plan.choice)

    def _before_event(self, t: float, dt: float, trial: Trial) -> float | None:
        """Return a shorter step that ends where a condition becomes true, to rtol of it."""
        if self.acting is None or not trial.right or trial.new is None:
            return None
        tolerance = self.options.rtol * max(dt, FINEST * self.span)
        if dt <= tolerance or self.acting.crossed(t + dt, trial.new):
            return self.acting.shorter(t, self.u, dt, trial.new, tolerance)
        moments, states = self._last(t, t + dt, trial.new)
        return self.acting.within(t, dt, lambda at: interpolated(moments, states, at)[0])

    def _refuse(self, plan: Plan, trial: Trial, t: float, dt: float, *, visiting: bool) -> None:
        """Plan anew after a step that may not be taken, or that asked times may not be passed with."""
        self.stats["rejections"] += 1
        if trial.right:
            plan.hold = self.stats["steps"] + plan.hold[1], min(2 * plan.hold[1], LONGEST_HOLD)
        elif not visiting or plan.refused > 1:
            plan.refused, plan.negative = plan.refused + 1, plan.negative + (trial.trouble == "negative")
            plan.wish = dt * max(LEAST_FACTOR, min(_factor(trial), 0.7))
            self._require_hope(t, plan, trial)

    def _paced(self, plan: Plan, trial: Trial, dt: float, scheme: str, *, visiting: bool) -> dict[str, Any]:
        """Return what the next step begins with."""
        if visiting and plan.choice.home != scheme:
            # It goes on from the last step of its own scheme.
            own = {name: getattr(self.state, name) for name in ("before", "scheme", "past")}
            return {**own, "wish": plan.wish, "choice": plan.choice}
        before = self.state.before if scheme == self.state.scheme else None
        growth = _growth(trial.error, before, dt, grow=plan.refused == 0)
        # A step that was cut to end at an asked time does not make the next one shorter.
        wish = max(plan.wish if dt < plan.wish else 0.0, dt * growth)
        return {"before": (dt, max(trial.error, 1e-2)), "wish": wish, "choice": plan.choice}

    def _marked(self, t: float, dt: float, trial: Trial) -> tuple[float, float]:
        """Look now and then whether steps get on; those that grow, as after a stiff start, will."""
        steps, mark = self.stats["steps"], self.state.mark
        if steps % CRAWL_STEPS:
            return mark
        advance = t - mark[0] if steps else 0.0
        if advance < min(CRAWL * self.span, 2 * mark[1]):
            raise StopError(self._text(t, dt, "crawl", trial.worst))
        return t, advance

    def _chosen(self, choice: Choice, t: float, dt: float, *, troubled: bool = False) -> tuple[str, Choice, float]:
        """Choose the scheme of a step, none that would be unstable; also return how fast reactions are."""
        steps, sharpness = self.stats["steps"], self.state.sharpness
        if self.options.scheme is not None:
            return self.options.scheme, choice, sharpness
        scheme = choice.scheme(steps, self.stats["work"], least_implicit_work(self.problem), troubled=troubled)
        if scheme == "imex":
            if sharpness < 0 or scheme != choice.home or steps % LOOK_EVERY == 0:
                sharpness = self.problem.sharpness(self._when(t), self.u)
            if dt * sharpness > SLOW:
                return "implicit", choice.barred(steps), sharpness
        return scheme, choice, sharpness

    def _passed(self, t: float, new_t: float, trial: Trial) -> list[Floats] | None:
        """Note the states at the asked times inside a step; None if the error there may be too large."""
        assert trial.new is not None
        first, last = self.state.rows, int(np.searchsorted(self.times, new_t))
        moments, states = self._last(t, new_t, trial.new)
        passed = []
        for asked in self.times[first:last]:
            values, difference = interpolated(moments, states, float(asked))
            ratios = self.tolerance.ratios(difference, self.u, trial.new, self.largest)
            if self.tolerance.worst(ratios)[0] > 1 or self._negative(float(asked), values, soft=True) is not None:
                return None
            passed.append(self.note(float(asked), values))
        return passed

    def _last(self, t: float, new_t: float, new: Floats) -> tuple[list[float], list[Floats]]:
        """Return the last times and states with those of a step."""
        moments = [*(moment for moment, _ in self.state.history), t, new_t]
        return moments, [*(state for _, state in self.state.history), self.u, new]

    def _advance(
        self, t: float, dt: float, taken: str, trial: Trial, bar: _Bar, passed: Sequence[Floats] = (), **pace: Any
    ) -> None:
        """Take the new state at time t, and note the rows that were passed."""
        assert trial.new is not None
        history = (*self.state.history, (self.state.t, self.u))[2 - STATES :]
        self.u = trial.new
        self.largest = np.maximum(self.largest, self.tolerance.sizes(self.u))
        undershoot = max(self.stats["undershoot"], self.tolerance.undershoot(self.u, self.largest))
        self.stats["undershoot"] = undershoot
        past = self.state.past[:1] if taken == self.state.scheme else ()
        self.stats["steps"] += 1
        self.stats["imex_steps" if taken.startswith("imex") else "implicit_steps"] += 1
        self.stats["interpolated"] += len(passed)
        if trial.nodal is not None:
            self.stats["nodal_error"] = max(self.stats.get("nodal_error", 0.0), trial.nodal)
        rows = self.state.rows
        reached = [*passed, self.note(t, self.u)] if t == self.times[rows + len(passed)] else passed
        self.values[rows:] = reached
        stats, past = dict(self.stats, time=t), ((dt, trial.stages), *past)
        kept = {
            "before": None,
            "count": 0,
            "mark": self.state.mark,
            "scheme": taken,
            "past": past,
            "history": history,
            "stats": stats,
            "acted": self.state.acted,
            "held": self.state.held,
            **pace,
        }
        # All at once, so that an interrupt finds either the old or the new one whole.
        self.state = TimeState(t, self.u, self.largest, rows + len(reached), **kept)
        self.reacted = self.problem.reacted(self._when(t), self.u)
        bar.advance(dt)
        if self.checkpoint is not None:
            self.checkpoint.write_if_due(self.state, self.values)

    def _fitted(self, left: float, wish: float) -> float:
        """Shorten a step so that whole ones end at the target: no long step is followed by a sliver."""
        dt = min(wish, self.longest)
        return left if dt >= left * (1 - 1e-9) else (left / 2 if dt > 0.5 * left else dt)

    def _try(self, scheme: str, t: float, dt: float) -> Trial:
        self.ranks.heed()
        if not self.ranks.finite(self.reacted):
            return Trial().failed("finite", self.ranks.worst(~np.isfinite(self.reacted)))
        grown = self.tolerance.grown(self.u, self.largest, lambda: self.problem.ahead(self._when(t), self.u, dt))
        weights = self.tolerance.weights(*grown)
        past = self.state.past if scheme == self.state.scheme else ()
        step = Step(self.problem, t, dt, self.u, self.reacted, weights, past, self._when, self.stats)
        trial = SCHEMES[scheme](step)
        self.stats["work"] += trial.work
        return trial

    def _judged(self, trial: Trial, new_t: float, *, soft: bool) -> Trial:
        """Measure the error of a trial and tell whether it may be taken."""
        if trial.new is not None and trial.difference is not None:
            ratios = self.tolerance.ratios(trial.difference, self.u, trial.new, self.largest)
            trial.error, trial.worst = self.tolerance.worst(ratios)
            trial.nodal = float(self.ranks.most(np.abs(ratios).max(initial=0))) * self.options.rtol
            # A step that is too long says nothing about signs, so the error comes first.
            trial.right = trial.error <= 1
            bad = self._negative(new_t, trial.new, soft=soft) if trial.right else None
            if bad is not None:
                trial.right, trial.trouble, trial.worst = False, "negative", bad
        return trial

    def _negative(self, t: float, new: Floats, *, soft: bool) -> int | None:
        return self.tolerance.negative(t, self.u, new, self.largest, soft=soft)

    # --- the first step, and the last ---

    def _first_step(self) -> float:
        """Guess a first step that changes the state by about a hundredth (Hairer, Norsett, Wanner 1993, II.4).

        Only species that have a size say how fast that is: beside nothing every change is large.
        """
        rate = (self.reacted - self.problem.diffusion.apply(self.u)) / self.problem.mass
        if not self.ranks.finite(rate):
            return 1e-6 * self.span
        if not self.ranks.any(bool(rate.any())):
            return 1e-3 * self.span
        scale, sized = self.tolerance.scale(self.u, self.largest), ~self.tolerance.young(self.largest)
        value, speed = (float(np.linalg.norm(self.tolerance.norms(change / scale)[sized])) for change in (self.u, rate))
        guess = 0.01 * value / speed if value > 0 and speed > 0 else 1e-6 * self.span
        return float(min(max(guess, 4 * self._least_step(self.state.t)), 1e-2 * self.span))

    def _require_hope(self, t: float, plan: Plan, trial: Trial) -> None:
        """Stop when smaller steps have been tried in vain, or have become too small to add to the time."""
        tried = plan.refused > MOST_REJECTIONS or plan.negative > NEGATIVE_RETRIES
        if plan.wish > self._least_step(t) and not tried:
            return
        trouble = trial.trouble
        # What the reactions would refill was not made negative by them.
        if trouble == "negative" and trial.new is not None:
            brought = self.ranks.told(trial.worst, self.problem.reacted(t, trial.new).item)
            trouble = "small" if brought >= 0 else trouble
        raise StopError(self._text(t, plan.wish, trouble, trial.worst))

    def _least_step(self, t: float) -> float:
        """Return the length below which a step is not worth trying: it would be lost in the time that it is added to.

        Near t = 0 any length can be added; how fast a model may be there is no matter of how long it is followed.
        """
        return 4 * float(np.finfo(float).eps) * max(abs(t), SHORTEST * self.span)

    def _text(self, t: float, dt: float, trouble: str, unknown: int) -> str:
        name, xyz = self.problem.place(unknown)
        where = ", ".join(f"{value:.4g}" for value in xyz)
        value = self.ranks.told(unknown, self.u.item)
        what = {
            "small": f"the step fell to {dt:.3g} s without reaching the tolerance",
            "crawl": f"{CRAWL_STEPS} steps got on by less than {CRAWL:g} of the simulated time, the last by {dt:.3g} s",
            "negative": "a concentration went below zero",
            "finite": "a rate is not finite",
        }[trouble]
        fast = self.options.scheme in ("imex", "imex2") and trouble in ("small", "crawl")
        advice = f"{FAST if fast else ''}{ADVICE[trouble]}"
        return f"stopped at t = {t:.6g} s: {what}; the worst is species {name!r}, {value:.4g} at ({where}) um; {advice}"


def _factor(trial: Trial) -> float:
    """Return how many times longer a step could have been by its error; below 1 where it should be shorter."""
    return 0.5 if trial.trouble == "negative" else float(SAFETY * max(trial.error, 1e-6) ** (-1 / 3))


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
        layout = "{l_bar}{bar}| {n:.4g}/{total:.4g} s [{elapsed}<{remaining}{postfix}]"
        line = "{desc} {n:.4g}/{total:.4g} s {elapsed}{postfix}"
        self.tqdm = bar(progress=shown, line=line, total=span, initial=done, bar_format=layout, desc="simulated")
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
