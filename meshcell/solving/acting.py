"""Events in a run: when they happen, found to the tolerance, and what they do to state and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.models.events import BoundEvent, Switched
from meshcell.models.functionals import State
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.state import Act, StopError

# So many rounds of events that set each other off at one time, or events within a share of the run, never end.
ROUNDS, CROWD, CROWDED = 100, 500, 1e-3
# Where conditions are looked at inside of steps, and by how much of what they compare they must hold there.
INSIDE, ROUNDING = (0.25, 0.5, 0.75), 1e-9


class Acting:
    """The events of a run.

    Parameters
    ----------
    problem : Discretisation
    events : sequence of BoundEvent
    switches : dict[str, Switched]
        The parameters that they set.
    """

    def __init__(self, problem: Discretisation, events: Sequence[BoundEvent], switches: Mapping[str, Switched]) -> None:
        self.problem, self.events, self.switches = problem, list(events), switches
        self.reads = tuple(dict.fromkeys(name for event in self.events for name in event.reads))
        self.held: list[bool] = [False] * len(self.events)
        self.conditional = [row for row, event in enumerate(self.events) if event.margin is not None]

    def begin(self, t: float, u: Floats, acted: Sequence[Act], held: Sequence[bool]) -> None:
        """Take up a run at a state, after what was done to it before; conditions that hold at its start are held."""
        for act in acted:
            self._switch(act.t, act.events)
        self.held = list(held) or [False] * len(self.events)
        if not held:
            self.settle(t, u)

    def margins(self, t: float, u: Floats) -> dict[int, float]:
        """Return row of each event with a condition -> a number that is positive where it holds."""
        if not self.conditional:
            return {}
        state = self._state(t, u)
        return {row: self.events[row].margin(t, state) for row in self.conditional}  # type: ignore[misc]

    def at(self, t: float) -> list[int]:
        """Return the rows of the events that happen at a time."""
        return [row for row, event in enumerate(self.events) if t in event.event.times]

    def crossed(self, t: float, u: Floats) -> dict[int, float]:
        """Return the margins of conditions that have become true at a state."""
        return {row: margin for row, margin in self.margins(t, u).items() if margin > 0 and not self.held[row]}

    def shorter(self, t: float, u: Floats, dt: float, new: Floats, tolerance: float) -> float | None:
        """Return a shorter step where a condition becomes true well inside this one; None where it may be taken."""
        crossed = self.crossed(t + dt, new)
        if not crossed:
            return None
        before = self.margins(t, u)
        root = dt * min(-min(before[row], 0.0) / (after - min(before[row], 0.0)) for row, after in crossed.items())
        return None if dt - root <= tolerance else min(root + tolerance / 2, 0.95 * dt)

    def within(self, t: float, dt: float, inside: Callable[[float], Floats]) -> float | None:
        """Return how far into a step a condition holds although it does not at its end; None where none does.

        `inside` gives the state (u,) at a time in the step. By less than rounding no condition becomes true there.
        """
        for share in INSIDE if self.conditional else ():
            u = inside(t + share * dt)
            crossed, state = self.crossed(t + share * dt, u), self._state(t + share * dt, u)
            sizes = {row: self.events[row].size(t + share * dt, state) for row in crossed}  # type: ignore[misc]
            if any(margin > ROUNDING * sizes[row] for row, margin in crossed.items()):
                return share * dt
        return None

    def settle(self, t: float, u: Floats) -> None:
        """Note which conditions hold, so that they may become true again."""
        for row, margin in self.margins(t, u).items():
            self.held[row] = margin > 0

    def act(self, t: float, u: Floats, rows: Sequence[int]) -> tuple[Floats, Act]:
        """Do what events, and those that they set off, do to a state; return it, and what it was."""
        fired, given = list(rows), u
        for _ in range(ROUNDS):
            u = self._done(t, u, rows)
            self._switch(t, rows)
            for row in rows:
                self.held[row] = self.events[row].margin is not None
            crossed = self.crossed(t, u)
            self.settle(t, u)
            if not crossed:
                change = self.problem.sums.molecules(u) - self.problem.sums.molecules(given)
                return u, Act(t, tuple(fired), tuple(change.tolist()))
            rows = list(crossed)
            fired += rows
        names = " and ".join(str(self.events[row].event) for row in sorted({*fired[-ROUNDS:]}))
        raise StopError(
            f"stopped at t = {t:.6g} s: {names} set each other off without end; let the values that they set be clear "
            "of the conditions"
        )

    def require_end(self, acted: Sequence[Act], span: float) -> None:
        """Stop where events crowd: they would happen ever more often."""
        acted = [act for act in acted[-2 * CROWD :] if not set(act.events).isdisjoint(self.conditional)]
        if len(acted) > CROWD and acted[-1].t - acted[-CROWD].t < CROWDED * span:
            names = " and ".join(str(self.events[row].event) for row in sorted({*acted[-1].events}))
            raise StopError(
                f"stopped at t = {acted[-1].t:.6g} s: {names} happened {CROWD} times within "
                f"{acted[-1].t - acted[-CROWD].t:.3g} s; let it set values that are clear of its condition"
            )

    def _state(self, t: float, u: Floats) -> State:
        return self.problem.fields(t, u, self.reads)

    def _done(self, t: float, u: Floats, rows: Sequence[int]) -> Floats:
        state, values = self._state(t, u), dict[str, Floats]()
        for row in rows:
            values.update({name: new(t, state) for name, new in self.events[row].sets.items()})
        for row in rows:
            for name, more in self.events[row].adds.items():
                values[name] = values.get(name, state[name]) + more(t, state)
        for name, new in values.items():
            if not np.isfinite(new).all():
                raise StopError(f"stopped at t = {t:.6g} s: an event sets {name!r} to values that are not finite")
        return self.problem.changed(t, u, values)

    def _switch(self, t: float, rows: Sequence[int]) -> None:
        for row in rows:
            for name, value in self.events[row].switches.items():
                self.switches[name].switch(t, value)
