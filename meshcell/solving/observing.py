"""What a run keeps of the asked times: its states, or only the numbers that are observed of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.options import Options
from meshcell.solving.state import Story


class Observer:
    """Takes note of a run as its options ask, and turns the notes into the parts of a Solution.

    Parameters
    ----------
    problem : Discretisation
    options : Options
        observe, keep.
    """

    def __init__(self, problem: Discretisation, options: Options) -> None:
        self.problem, self.quantities = problem, options.observe
        self.states_too = options.keep == "all"
        self.functionals = [quantity.bound(problem.system) for quantity in options.observe.values()]
        self.read = tuple(dict.fromkeys(name for item in self.functionals for name in item.reads))

    def note(self, t: float, u: Floats) -> Floats:
        """Return what is kept of the state at an asked time (s): a copy of it, or one number per quantity."""
        if self.states_too:
            return u.copy()
        state = self.problem.fields(t, u, self.read)
        return np.array([item.number(t, state) for item in self.functionals])

    def states(self, story: Story, times: Floats) -> tuple[Floats, list[Floats]]:
        """Return the states that were kept, and their times (s); the last one alone if only numbers were."""
        if self.states_too:
            return times[: len(story.values)], story.values
        return np.array([story.stats["time"]]), [story.last]

    def observed(self, story: Story, times: Floats, values: dict[str, Floats]) -> dict[str, Any]:
        """Return the fields of a Solution that say what was observed, from the notes or the species' values."""
        if not self.quantities:
            return {}
        reached = times[: len(story.values)]
        if self.states_too:
            curves = [item.over(reached, values) for item in self.functionals]
        else:
            curves = list(np.ascontiguousarray(np.transpose(story.values)))
        named = zip(self.quantities.items(), curves, strict=True)
        return {
            "observed": {name: quantity.answer(reached, curve) for (name, quantity), curve in named},
            "observed_times": reached,
            "quantities": self.quantities,
        }
