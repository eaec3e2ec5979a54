"""Crowded phantoms: membranes, filaments and macromolecules, placed one after the other into one box."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.core.progress import Stage, stages
from meshcell.core.randomness import generator
from meshcell.core.types import Volume
from meshcell.core.validation import OUTSIDE, label_of
from meshcell.phantoms.crowds import filaments as filament_growth, membranes as membrane_growth
from meshcell.phantoms.crowds.box import Scene
from meshcell.phantoms.crowds.clearances import rooms
from meshcell.phantoms.crowds.filaments import Filament
from meshcell.phantoms.crowds.macromolecules import Cluster, Macromolecule, Plan, placed, planned
from meshcell.phantoms.crowds.membranes import Membrane, Placed, Seat
from meshcell.phantoms.crowds.quantities import Reached
from meshcell.phantoms.crowds.recipes import Recipe
from meshcell.phantoms.crowds.samples import Sample

log = logging.getLogger("meshcell")


def crowd(
    shape: tuple[int, int, int],
    spacing: Any,
    *,
    membranes: Sequence[Membrane] = (),
    filaments: Sequence[Filament] = (),
    macromolecules: Sequence[Macromolecule | Cluster] = (),
    tries: int = 100,
    rng: int | np.random.Generator,
    order: str = "largest",
    within: Volume | None = None,
    progress: bool = False,
) -> Sample:
    """Fill a box with membranes, filaments and macromolecules up to their occupancies; nothing overlaps.

    Parameters
    ----------
    shape : three ints
        Voxels along x, y, z.
    spacing : float, text, or three of them
        um per voxel, or texts such as "1 nm".
    membranes, filaments, macromolecules : sequences
        Ingredients of `meshcell.phantoms`: SphereMembrane, Actin, Macromolecule and so on, placed in this order.
    tries : int
        Failures in a row that end a species: draws of a membrane, starts of a filament or chain, for free molecules
        `packing.PLACES` places each. An ingredient's own `tries` wins.
    rng : int or Generator
        Same seed, same bytes.
    order : "largest" or "given"
        Among macromolecules; "largest" places those bound to membranes first, then by volume.
    within : Volume, optional
        Labels of compartments on the same grid, such as `cell` draws; ingredients' `where` names one.
    progress : bool
        Show a bar over the ingredients.

    Returns
    -------
    Sample
        Where an occupancy could not be met its `report` says what was reached and why; nothing is lost.

    Raises
    ------
    ValueError
        Names that clash or are not in `within`, options out of range, more than 65,535 labels.

    Notes
    -----
    Labels: those of `within` stay; the species follow them in the recipe's order whatever was placed.
    Source: A. Martinez-Sanchez and others, IEEE Trans. Med. Imaging 43 (2024), section II, algorithms 1 to 3; membranes
    are bilayers at +-t/2, filaments worm-like chains, occupancies shares of the whole box.

    Examples
    --------
    >>> sample = crowd((60, 60, 40), "2 nm", macromolecules=[Macromolecule("ribosome", 0.1)], rng=0)
    >>> sample.labels.regions, bool(sample.occupancy["ribosome"] >= 0.1)
    ({1: 'ribosome'}, True)
    """
    # A Generator gives one number, which then is the recipe's seed: that alone brings the sample back.
    seed = int(generator(rng).integers(2**63)) if isinstance(rng, np.random.Generator) else rng
    generator(seed)
    if not isinstance(order, str):
        raise TypeError(f"order should be 'largest' or 'given'; got {order!r}")
    return made(
        Recipe(shape, spacing, membranes, filaments, macromolecules, tries, order, int(seed), within),  # type: ignore[arg-type]
        progress=progress,
    )


def made(recipe: Recipe, *, progress: bool = False) -> Sample:
    """Make the sample of a recipe."""
    names = species_labels(recipe)
    within = recipe.within
    known = within.names if within is not None else {}
    scene = Scene.empty(recipe.shape, recipe.spacing, None if within is None else within.data)
    origin = (0.0, 0.0, 0.0) if within is None else within.origin
    # Each group its own stream, so that a change of one leaves the draws of the others alone.
    groups = [*recipe.membranes, *recipe.filaments, *recipe.macromolecules]
    streams = iter(np.random.default_rng(recipe.seed).spawn(len(groups)))
    homes = {id(group): label_of(known, group.where) if group.where else OUTSIDE for group in groups}
    out, report = Placed({}, [], []), []
    centrelines: dict[str, Floats] = {}
    with stages("crowd", tuple(recipe.species), progress) as stage:
        for membrane in recipe.membranes:
            stage(membrane.name)
            membrane_growth.grow(
                scene, membrane, names[membrane.name], homes[id(membrane)], origin, recipe.tries, out, next(streams)
            )
        for filament in recipe.filaments:
            stage(filament.name)
            reached, axes = filament_growth.grow(
                scene, filament, names[filament.name], homes[id(filament)], recipe.tries, next(streams)
            )
            report.append(reached)
            centrelines |= {f"{filament.name} {axis.chain}": axis.centres + origin for axis in axes}
        step = float(min(recipe.spacing))
        plans = [(planned(g, names, homes[id(g)], step, rng := next(streams)), rng) for g in recipe.macromolecules]
        packed = _packed(scene, recipe, plans, out.seats, stage)
    sample = _sample(scene, recipe, names, origin, out, centrelines, (*out.report, *report, *packed))
    log.info(
        "crowded %s voxels: %d units, %.1f %% occupied",
        recipe.shape,
        len(sample.motifs),
        100 * sum(sample.occupancy.values()),
    )
    return sample


def species_labels(recipe: Recipe) -> dict[str, int]:
    """Return the label of every species: after those of `within`, in the recipe's order.

    Raises
    ------
    ValueError
        Two of one name, or more labels than 16 bits hold.
    """
    names = recipe.species
    known = {} if recipe.within is None else {**recipe.within.names, **recipe.within.regions}
    last = max(known, default=0)
    twice = sorted({name for name in names if names.count(name) > 1 or name in known.values()})
    if twice:
        raise ValueError(
            f"names of species should differ from each other and from those of compartments; twice: {twice}"
        )
    if last + len(names) > np.iinfo(np.uint16).max:
        raise ValueError(f"labels should fit 16 bits; got {last + len(names)}; relabel `within`")
    return {name: last + 1 + row for row, name in enumerate(names)}


def _packed(
    scene: Scene, recipe: Recipe, plans: list[tuple[Plan, np.random.Generator]], seats: list[Seat], stage: Stage
) -> list[Reached]:
    """Place all macromolecules, compartment by compartment; report in the recipe's order."""
    reports: dict[int, Reached] = {}
    for home in sorted({plan.home for plan, _ in plans}):
        rows = [row for row, (plan, _) in enumerate(plans) if plan.home == home]
        if recipe.order == "largest":
            # Those bound to membranes first: their places are fewer.
            rows.sort(key=lambda row: (not plans[row][0].group.membrane, -plans[row][0].volume))
        room = rooms(scene, home)
        for turn, row in enumerate(rows):
            plan, rng = plans[row]
            stage(plan.group.members[0].name)
            reach = max(plans[later][0].reach(scene.spacing) for later in rows[turn:])
            reports[row] = placed(scene, room, plan, seats, reach=reach, tries=recipe.tries, rng=rng)
    return [reports[row] for row in range(len(plans))]


def _sample(
    scene: Scene, recipe: Recipe, names: dict[str, int], origin: Any, out: Placed, centrelines: dict[str, Floats],
    report: tuple[Reached, ...],
) -> Sample:  # fmt: skip
    """Wrap what the scene holds."""
    known = {} if recipe.within is None else recipe.within.names
    labels = {**known, **{label: name for name, label in names.items()}}
    motifs = scene.table()
    motifs["position"] += origin
    spacing = recipe.spacing
    return Sample(
        density=Volume(scene.density, spacing, origin),
        labels=Volume(scene.labels, spacing, origin, labels),
        instances=Volume(scene.instances, spacing, origin),
        motifs=motifs,
        surfaces=out.surfaces,
        centrelines=centrelines,
        recipe=recipe,
        report=report,
    )
