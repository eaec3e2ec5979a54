"""Which scheme to take: the one that gets further for the same work, found out by trying the other now and then."""

from __future__ import annotations

from dataclasses import dataclass, replace

# Steps between two trials of the other scheme: few at first, then more and more.
FIRST_TRIAL, WAIT, LONGEST_WAIT = 2, 5, 80
# How much faster the other scheme has to be: a change costs the guesses that the last steps give.
GAIN = 1.2
OTHER = {"implicit": "imex", "imex": "implicit"}


@dataclass(frozen=True)
class Choice:
    """What is known of the two schemes.

    Speeds are simulated seconds, as far as the step's error would have allowed, per unit of work. Work is counted in
    iterations and never measured in seconds, so that the same run takes the same steps on every machine. It says
    nothing about the other scheme's step: how stiff the reactions are, how rough the state is, how exactly the linear
    solver has to work, all that is in the error and the work of one step that was really taken.

    Parameters
    ----------
    home : {"implicit", "imex"}
        The scheme in use.
    speed : float
        Its speed in its last step.
    trial, wait : int
        The number of steps after which the other one is tried next, and what was waited for that.
    """

    home: str = "imex"
    speed: float = 0.0
    trial: int = FIRST_TRIAL
    wait: int = WAIT

    def scheme(self, steps: int, *, troubled: bool = False) -> str:
        """Return the scheme of the next step, after so many; a step that fails again and again is taken implicitly."""
        if troubled:
            return "implicit"
        return OTHER[self.home] if steps >= self.trial else self.home

    def noted(self, steps: int, scheme: str, speed: float) -> Choice:
        """Return what is known after a step, taken or refused."""
        if scheme == self.home:
            return replace(self, speed=speed)
        better = speed > GAIN * self.speed
        home, best = (scheme, speed) if better else (self.home, self.speed)
        return Choice(home, best, steps + self.wait, min(2 * self.wait, LONGEST_WAIT))

    def barred(self, steps: int) -> Choice:
        """Return what is known when explicit reactions would be unstable: errors at that border say nothing."""
        speed = self.speed if self.home == "implicit" else 0.0
        return Choice("implicit", speed, steps + self.wait, min(2 * self.wait, LONGEST_WAIT))

    def after_event(self, steps: int) -> Choice:
        """Return what is still known after an event: which scheme was better, but not by how much."""
        return Choice(self.home, 0.0, steps + FIRST_TRIAL)
