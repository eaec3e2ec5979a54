"""The embedded engine: P1 in space with lumped mass, adaptive linearly implicit steps in time.

Mass is lumped and reactions are taken at the nodes, with the volume of a node's own region or the area of its
interface as weight. So an event takes from one species exactly what it gives to the other, reactions couple only the
unknowns of one mesh node, and with the zero column sums of the stiffness matrix totals are kept to rounding.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats, set_fields
from meshcell.core.errors import SolveError
from meshcell.models.binding import System, bind
from meshcell.models.events import bind_event, with_switches, with_tables
from meshcell.models.model import Model
from meshcell.models.solutions import Solution
from meshcell.models.well_mixed import Domain
from meshcell.solving.acting import Acting
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.observing import Observer
from meshcell.solving.options import Options
from meshcell.solving.stepping import Stepper

# Share of a species' size by which tensors may take it below zero without a word.
QUIET = 1e-2


@contextmanager
def discretised(system: System, start: float) -> Iterator[Discretisation]:
    """Give the equations of a bound model while they are solved; `start` is their first time, s."""
    yield Discretisation(system, start)


def run(
    mesh: Domain,
    model: Model,
    times: Floats,
    options: Options,
    make: Callable[[System, float], Discretisation] = Discretisation,
) -> Solution:
    """Simulate a model on a mesh.

    Parameters
    ----------
    mesh : TetMesh
    model : Model
    times : (k,) floats, s
        Ascending; the initial values hold at the first.
    options : Options
    make : callable
        (system, first time) -> the equations.

    Returns
    -------
    Solution

    Raises
    ------
    SolveError
        With what was computed so far, unless `options.throw` is False.
    """
    switchable, switches = with_switches(model, options.acts)
    system = bind(switchable, mesh)
    problem = make(system, float(times[0]))
    observer = Observer(problem, options)
    acts = [bind_event(event, switchable, system) for event in options.acts]
    acting = Acting(problem, acts, switches) if acts else None
    story = Stepper(problem, options, problem.tolerances(options.atol), observer.note, acting).run(times)
    model = with_tables(model, switches, times)
    kept_times, states = observer.states(story, times)
    seen = [*zip(kept_times.tolist(), states, strict=True)] if observer.states_too else [(-math.inf, problem.initial())]
    seen.append((story.stats["time"], story.last))
    given = [sum((np.array(act.molecules) for act in story.acted if act.t <= t), np.zeros(1)) for t, _ in seen]
    drift = problem.sums.drift([u for _, u in seen], given)
    values = problem.outward(states, kept_times)
    # What is asked of a mesh answers for itself where there is none.
    where: Any = mesh
    solution = Solution(
        where,
        model,
        kept_times,
        values,
        {name: species.compartment.nodes for name, species in system.species.items()},
        story.stats if drift is None else {**story.stats, "mass_drift": drift},
        story.message,
        **observer.observed(story, times, values),
    )
    set_fields(solution, system=system)
    logging.getLogger("meshcell").info(
        "solved %d unknowns to t = %.4g s: %d implicit and %d imex steps, %d rejected, %d linear iterations, %.3g s",
        *(problem.n_unknowns, *(story.stats[name] for name in ("time", "implicit_steps", "imex_steps", "rejections"))),
        *(story.stats["linear_iterations"], story.stats["seconds"]),
    )
    _warn_of_tensors(system, story.stats["undershoot"])
    if story.message and options.throw and not story.interrupted:
        raise SolveError(story.message, solution)
    return solution


def _warn_of_tensors(system: System, undershoot: float) -> None:
    """Say so where diffusion by tensors, which on few meshes keeps values above zero, may have taken them below."""
    tensors = [name for name, item in system.species.items() if item.shares is not None and item.shares.ndim == 3]
    if tensors and undershoot > QUIET:
        logging.getLogger("meshcell").warning(
            "values fell below zero by up to %.2g of a species' largest; diffusion by tensors (%s) does so beside "
            "steep fronts where edges are long: refine there, or start with a smoother front",
            undershoot,
            ", ".join(tensors),
        )
