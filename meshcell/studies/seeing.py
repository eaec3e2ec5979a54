"""The loop from labels through a microscope and back: what it does to areas, volumes, topology and concentrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from meshcell.analysis.quantities import mean
from meshcell.core.arrays import Array, Floats
from meshcell.core.errors import SolveError
from meshcell.core.randomness import generator
from meshcell.core.types import Volume
from meshcell.geometry.measures import areas, enclosed_volumes
from meshcell.geometry.topology import Topology, topology
from meshcell.imaging.metrics import dice
from meshcell.imaging.pixel_classifier import train
from meshcell.meshing.tetrahedra import tetrahedralize
from meshcell.models.model import Model
from meshcell.solving.solver import solve
from meshcell.surfaces.extraction import extract
from meshcell.surfaces.smoothing import smooth


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one way of looking at a cell makes of it.

    Parameters
    ----------
    name : str
    labels : Volume
    dice : dict[str, float]
        Region -> Dice score against the truth.
    areas : dict, um^2
        Pair of regions -> area of their interface.
    volumes : dict, um^3
    topology : dict[str, Topology]
    times : (k,) floats, s
    means : dict[str, (k,) floats]
        Species -> mean concentration; empty without a model, or where a compartment of it was lost.
    message : str
        What kept the simulation from running.
    """

    name: str
    labels: Volume
    dice: dict[str, float]
    areas: dict[tuple[str, str], float]
    volumes: dict[str, float]
    topology: dict[str, Topology]
    times: Floats
    means: dict[str, Floats] = field(default_factory=dict)
    message: str = ""


def compare(
    truth: Volume,
    ways: Mapping[str, Callable[[Volume], Volume]],
    *,
    model: Model | None = None,
    times: Any = (),
    edge: Any = None,
) -> list[Outcome]:
    """Follow the error of seeing from voxels to concentrations.

    Parameters
    ----------
    truth : Volume
        Labels with names.
    ways : dict[str, function of a Volume]
        Name -> a way from the true labels to those that are seen: stain, tomogram, segment, clean. The names of
        regions are taken from the truth.
    model : Model, optional
        Is solved on every mesh; without it surfaces are measured alone.
    times : (k,) floats, s
    edge : float or text, um
        Edge length of the tetrahedra, needed with a model.

    Returns
    -------
    list of Outcome
        The truth itself first.
    """
    seen = {"truth": truth, **{name: way(truth) for name, way in ways.items()}}
    return [_outcome(name, truth, labels, model, np.asarray(times, float), edge) for name, labels in seen.items()]


def report(outcomes: list[Outcome]) -> str:
    """Write a table of outcomes, relative to the first: the truth."""
    first = outcomes[0]
    rows: list[tuple[str, list[str]]] = [
        *((f"Dice, {n}", [f"{o.dice.get(n, 0):.3f}" for o in outcomes]) for n in first.dice),
        *((f"area {a} | {b}", _changes([o.areas.get((a, b), 0.0) for o in outcomes])) for a, b in first.areas),
        *((f"volume, {n}", _changes([o.volumes.get(n, 0.0) for o in outcomes])) for n in first.volumes),
        *((f"components, genus: {n}", [_topology_text(o, n) for o in outcomes]) for n in first.topology),
        *((f"greatest mean {s}", _changes([_peak(o, s) for o in outcomes])) for s in first.means),
    ]
    head = f"{'':36}" + "".join(f"{o.name:>18}" for o in outcomes)
    body = [f"{name:36}" + "".join(f"{cell:>18}" for cell in cells) for name, cells in rows]
    notes = [f"{o.name}: {o.message}" for o in outcomes if o.message]
    return "\n".join([head, *body, *notes])


def wedge_classifier(stained: Callable[[Volume], Volume], example: Volume, *, share: float, rng: int) -> Any:
    """Train a pixel classifier on a phantom: its tomogram, and the true labels of a `share` of its voxels.

    Parameters
    ----------
    stained : function of a Volume
        From labels to the tomogram.
    example : Volume
        Labels of another cell than the one to be segmented.
    share : float
        Of voxels painted.
    rng : int
    """
    draw = generator(rng)
    hidden: Array = np.asarray(draw.random(example.data.shape) >= share)
    painted = Volume(np.where(hidden, 255, example.data), example.spacing, example.origin, example.names)
    return train(stained(example), painted, rng=draw)


def _outcome(name: str, truth: Volume, labels: Volume, model: Model | None, times: Floats, edge: Any) -> Outcome:

    labels = Volume(labels.data, truth.spacing, truth.origin, truth.names)
    scores = {region: dice(truth, labels, label=label) for label, region in truth.regions.items()}
    surface = smooth(extract(labels))
    means, message = ({}, "") if model is None else _solved(surface, model, times, edge)
    return Outcome(
        name, labels, scores, areas(surface), enclosed_volumes(surface), topology(surface), times, means, message
    )


def _solved(surface: Any, model: Model, times: Floats, edge: Any) -> tuple[dict[str, Floats], str]:
    """Return the means of every species, or why there are none: a region that was not seen is a finding, not a bug."""
    try:
        solution = solve(tetrahedralize(surface, edge=edge), model, times)
    except (ValueError, SolveError) as error:
        return {}, f"no simulation: {error}"
    return {species.name: mean(solution, species.name) for species in model.species}, ""


def _changes(values: list[float]) -> list[str]:
    """Write the first value, and by how much the others differ, in percent where there is something to refer to."""
    first, *others = values
    if first == 0:
        return [f"{value:.4g}" for value in values]
    return [f"{first:.4g}", *(f"{100 * (value / first - 1):+.1f} %" for value in others)]


def _peak(outcome: Outcome, species: str) -> float:
    return float(outcome.means[species].max()) if species in outcome.means else float("nan")


def _topology_text(outcome: Outcome, region: str) -> str:
    found = outcome.topology.get(region)
    return "lost" if found is None else f"{found.components}, {found.genus}"
