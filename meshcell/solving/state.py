"""Where a run stands in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshcell.core.arrays import Floats
from meshcell.solving.scheme_choice import Choice

HOLD = 4


@dataclass(eq=False)
class Story:
    """Notes of the asked times as far as they were reached, mostly states, the last state, and how it went."""

    values: list[Floats]
    last: Floats
    stats: dict[str, Any]
    message: str = ""
    interrupted: bool = False


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
