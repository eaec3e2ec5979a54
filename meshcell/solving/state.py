"""Where a run stands in time, and what it knows of its two schemes: which gets further for the same work."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from meshcell.core.arrays import Floats

HOLD = 4
# Steps between two trials of the other scheme: few at first and where it is nearly as good, then more and more.
FIRST_TRIAL, WAIT, LONGEST_WAIT = 8, 16, 80
# How much faster the other scheme has to be: a change costs the guesses that the last steps give. A single implicit
# step after explicit ones shows less than what it can: what they left in stiff modes counts as its error.
GAIN = {"implicit": 0.75, "imex": 1.2}
# Share of the work since the last trial of implicit steps that another one may cost at least.
SHARE = 0.15
OTHER = {"implicit": "imex", "imex": "implicit"}


@dataclass(frozen=True)
class Choice:
    """What is known of the two schemes.

    Speeds are simulated seconds, as far as the step's error would have allowed, per unit of work. Work is counted in
    iterations and calls and never measured in seconds, so that the same run takes the same steps on every machine. It
    says nothing about the other scheme's step: how stiff the reactions are, how rough the state is, how exactly the
    linear solver has to work, all that is in the error and the work of one step that was really taken.

    Parameters
    ----------
    home : {"implicit", "imex"}
        The scheme in use.
    speed : float
        Its speed in its last step.
    trial, wait : int
        The number of steps after which the other one is tried next, and what was waited for that.
    tried : float
        The work that had been done at the last trial.
    """

    home: str = "imex"
    speed: float = 0.0
    trial: int = FIRST_TRIAL
    wait: int = WAIT
    tried: float = 0.0

    def scheme(self, steps: int, work: float, least: float, *, troubled: bool = False) -> str:
        """Return the scheme of the next step, after so many steps and so much work; implicit steps take `least`.

        A step that fails again and again is taken implicitly.
        """
        if troubled:
            return "implicit"
        dear = self.home == "imex" and least > SHARE * (work - self.tried)
        return OTHER[self.home] if steps >= self.trial and not dear else self.home

    def noted(self, steps: int, scheme: str, speed: float, work: float) -> Choice:
        """Return what is known after a step, taken or refused, and so much work in all."""
        if scheme == self.home:
            return replace(self, speed=speed)
        better = speed > GAIN[scheme] * self.speed
        home, best = (scheme, speed) if better else (self.home, self.speed)
        likeness = min(speed, self.speed) / (max(speed, self.speed) or 1.0)
        trial = steps + max(FIRST_TRIAL, round(self.wait * (1 - likeness)))
        return Choice(home, best, trial, min(3 * self.wait, LONGEST_WAIT), work)

    def barred(self, steps: int) -> Choice:
        """Return what is known when explicit reactions would be unstable: errors at that border say nothing."""
        speed = self.speed if self.home == "implicit" else 0.0
        return Choice("implicit", speed, steps + self.wait, min(3 * self.wait, LONGEST_WAIT), self.tried)

    def after_event(self, steps: int) -> Choice:
        """Return what is still known after an event: which scheme was better, but not by how much."""
        return Choice(self.home, 0.0, steps + FIRST_TRIAL, tried=self.tried)


@dataclass(eq=False)
class Story:
    """Notes of the asked times as far as they were reached, mostly states, the last state, and how it went."""

    values: list[Floats]
    last: Floats
    stats: dict[str, Any]
    message: str = ""
    interrupted: bool = False
    acted: tuple[Act, ...] = ()


@dataclass(frozen=True)
class Act:
    """What events did at a time (s): which ones, and by how many molecules every part of the problem changed."""

    t: float
    events: tuple[int, ...]
    molecules: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class TimeState:
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
    hold : (steps, wait)
        After how many steps asked times may be passed, and what was waited for that.
    mark : (t, advance), s
        The time when it was last looked whether steps get on, and by how much they had then.
    sharpness : float, 1/s
        How fast reactions may be, as last looked at.
    scheme : str
        Of the last step.
    choice : Choice
    past : tuple of (length, stages)
        Its last steps.
    history : tuple of (t, u)
        States before this one, the latest last.
    stats : dict
    acted : tuple of Act
        What events did to the run so far.
    held : tuple of bools
        Which of their conditions hold, as far as was looked.
    """

    t: float
    u: Floats
    largest: Floats
    rows: int
    count: int = 0
    wish: float = 0.0
    before: tuple[float, float] | None = None
    hold: tuple[int, int] = (0, HOLD)
    mark: tuple[float, float] = (0.0, 0.0)
    sharpness: float = -1.0
    scheme: str = ""
    choice: Choice = field(default_factory=Choice)
    past: tuple[tuple[float, list[Floats]], ...] = ()
    history: tuple[tuple[float, Floats], ...] = ()
    stats: dict[str, Any] = field(default_factory=dict)
    acted: tuple[Act, ...] = ()
    held: tuple[bool, ...] = ()


@dataclass(eq=False)
class Plan:
    """What the next step is tried with: as in `State`, and how often it was refused, for negative values too."""

    wish: float
    hold: tuple[int, int]
    choice: Choice
    refused: int = 0
    negative: int = 0


class StopError(Exception):
    """The end of a run that cannot go on; the text is for the user."""
