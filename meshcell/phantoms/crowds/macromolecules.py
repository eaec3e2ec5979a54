"""Macromolecules: free, in self-avoiding clusters, bound to membranes, or at a distance from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.rounding import cube_root
from meshcell.core.units import convert
from meshcell.phantoms.crowds.box import Scene
from meshcell.phantoms.crowds.clearances import quantum, room_needed
from meshcell.phantoms.crowds.density_maps import unit_template
from meshcell.phantoms.crowds.membranes import Seat
from meshcell.phantoms.crowds.packing import Ready, aligned, fill, place, quaternions, ready
from meshcell.phantoms.crowds.quantities import Reached, bounded, checked_group, drawn, limits
from meshcell.phantoms.crowds.templates import Template

# Poses offered to each unit of a chain before the chain ends.
POSES = 64


@dataclass(frozen=True, eq=False)
class Macromolecule:
    """A species of rigid molecules.

    Parameters
    ----------
    name : str
    occupancy : float or (low, high)
        Share of the box's voxels; of the membrane's area (by the molecule's shadow along its axis) where bound.
    density : str, path or Volume
        Stand-in (`standins.SHAPES`; by default the one called `name`), MRC map, PDB or mmCIF file, or intensities.
    level : float, optional
        Density of its boundary; by default half for stand-ins, a third of the maximum for maps.
    resolution : float or text, um
        Of atomic models.
    cluster : int or (low, high)
        Units of a chain: each lies at a random direction from the one before, self-avoiding (a SAWLC without
        stiffness; Pollak 2014). 1: complete spatial randomness up to exclusion.
    gap : float, text or (low, high), um
        Between neighbours in a cluster, taken as balls of their volume.
    membrane : str
        Name of the membranes it is bound to: its z axis becomes their normal, its origin lies `height` above the
        mid-surface, with a random turn about the axis.
    height : float, text or (low, high), um
    near : (low, high), um
        Distances of free molecules from the mid-surface of any membrane, drawn uniformly. No preference where empty.
    clearance : float or text, um
        Voxels whose centres are this near to an occupied one stay free of other species and units when it is placed.
    where : str
        Compartment, a region's name in `within`; the outside of all where empty.
    tries : int, optional
        Its own number of failed tries in a row that ends it.

    Examples
    --------
    >>> Macromolecule("ribosome", 0.05, cluster=(1, 8)).density
    'ribosome'
    """

    name: str
    occupancy: Any
    density: Any = ""
    level: float | None = None
    resolution: Any = "2 nm"
    cluster: Any = 1
    gap: Any = (0.0, 0.002)
    membrane: str = ""
    height: Any = 0.0
    near: Any = ()
    clearance: Any = 0.0
    where: str = ""
    tries: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.density, str) and not self.density:
            object.__setattr__(self, "density", self.name)
        _check_chains(self)
        limits(self.height, "um", f"height of {self.name!r}")
        bounded(self.clearance, "um", f"clearance of {self.name!r}")
        bounded(self.resolution, "um", f"resolution of {self.name!r}", open_=True)
        if self.level is not None:
            bounded(self.level, "", f"level of {self.name!r}", open_=True)

    @property
    def members(self) -> tuple[Macromolecule, ...]:
        """The species of its chains: itself."""
        return (self,)


@dataclass(frozen=True, eq=False)
class Cluster:
    """Chains of several species; each unit's species is drawn by the members' occupancies as weights.

    `name` is for the report; `occupancy`, `cluster` (units per chain), `gap`, `membrane`, `near`, `where` and `tries`
    are as in Macromolecule; those of the members are not used.
    """

    name: str
    occupancy: Any
    members: tuple[Macromolecule, ...]
    cluster: Any = (5, 20)
    gap: Any = (0.0, 0.002)
    membrane: str = ""
    near: Any = ()
    where: str = ""
    tries: int | None = None

    def __post_init__(self) -> None:
        _check_chains(self)
        object.__setattr__(self, "members", tuple(self.members))
        if not sum(limits(member.occupancy, "", "occupancy")[1] for member in self.members):
            raise ValueError(f"cluster {self.name!r} should have members with weights (occupancy) above 0; got none")


KINDS = (Macromolecule, Cluster)


def _check_chains(group: Macromolecule | Cluster) -> None:
    """Refuse what chains and membranes cannot be made of."""
    name = group.name
    checked_group(name, group.occupancy, group.tries)
    bounded(group.gap, "um", f"gap of {name!r}")
    bounded(group.cluster, "", f"cluster of {name!r}", 1)
    if group.near:
        bounded(group.near, "um", f"near of {name!r}")
    if group.near and group.membrane:
        raise ValueError(f"{name!r} should have membrane= (bound) or near= (free), not both")


@dataclass(frozen=True, eq=False)
class Plan:
    """A group of the recipe whose templates are at hand, with what was drawn for this sample."""

    group: Macromolecule | Cluster
    templates: tuple[Template, ...]
    labels: tuple[int, ...]
    home: int
    asked: float

    @property
    def volume(self) -> float:
        """Mean volume of its units, um^3."""
        return float(np.mean([unit.volume for unit in self.templates]))

    def reach(self, spacing: Floats) -> float:
        """Return how far (um) from a free place its units want to know what is taken."""
        return max(room_needed(unit, spacing) for unit in self.templates) * quantum(spacing)


def planned(
    group: Macromolecule | Cluster, labels: dict[str, int], home: int, step: float, rng: np.random.Generator
) -> Plan:
    """Draw the occupancy and prepare the templates of a group."""
    units = tuple(unit_template(m.density, step, level=m.level, resolution=m.resolution) for m in group.members)
    asked = drawn(group.occupancy, "", f"occupancy of {group.name!r}", rng)
    return Plan(group, units, tuple(labels[m.name] for m in group.members), home, asked)


def placed(
    scene: Scene, room: Array, plan: Plan, seats: list[Seat], *, reach: float, tries: int, rng: np.random.Generator
) -> Reached:
    """Place a group until its occupancy is reached or `tries` starts in a row failed."""
    group = plan.group
    prepared = [
        ready(scene, unit, species=m.name, label=label, home=plan.home, reach=reach,
              clearance=convert(m.clearance, "um", "clearance"))
        for m, unit, label in zip(group.members, plan.templates, plan.labels, strict=True)
    ]  # fmt: skip
    tries, before, chains = group.tries or tries, scene.units, scene.chains
    if group.membrane or group.near:
        used = [seat for seat in seats if seat.name == group.membrane or not group.membrane]
        if not used:
            wanted = repr(group.membrane) if group.membrane else "any"
            return Reached(group.name, plan.asked, 0.0, 0, 0, f"there is no membrane {wanted} to sit on")
        share, failures = _seated(scene, room, plan, prepared, used, tries, rng)
    elif limits(group.cluster, "", "cluster")[1] > 1:
        share, failures = _clustered(scene, room, plan, prepared, tries, rng)
    else:
        goal = round(plan.asked * scene.labels.size)
        taken, failures = fill(scene, room, prepared[0], voxels=goal, tries=tries, rng=rng)
        share = taken / scene.labels.size
    # The target in whole voxels may round to just below the share.
    why = "" if share >= plan.asked - 0.51 / scene.labels.size else _reason(failures, tries)
    return Reached(group.name, plan.asked, share, scene.units - before, scene.chains - chains, why)


def _reason(failures: int, tries: int) -> str:
    if failures >= tries:
        return f"{failures} tries in a row had no room (more tries, a smaller occupancy, or smaller units)"
    return "no voxel has room for its core"


def _clustered(
    scene: Scene, room: Array, plan: Plan, prepared: list[Ready], tries: int, rng: np.random.Generator
) -> tuple[float, int]:
    """Grow free chains: a random start, then each unit beside the last."""
    goal, taken, failures = plan.asked * scene.labels.size, 0, 0
    while taken < goal and failures < tries:
        first = _member(plan, rng)
        voxels, failed = fill(scene, room, prepared[first], voxels=1, tries=tries - failures, most=1, rng=rng)
        if voxels == 0:
            return taken / scene.labels.size, failures + failed
        failures, taken, last = 0, taken + voxels, first
        position = scene.motifs[-1]["position"][0]
        for _ in range(_length(plan, rng) - 1):
            if taken >= goal:
                break
            this = _member(plan, rng)
            distance = _spacing(plan, last, this, POSES, rng)
            poses = position + distance[:, None] * _directions(POSES, rng)
            which, voxels = place(scene, room, prepared[this], poses, quaternions(POSES, rng), chain=scene.chains)
            if which < 0:
                break
            position, last, taken = poses[which], this, taken + voxels
    return taken / scene.labels.size, failures


def _seated(
    scene: Scene, room: Array, plan: Plan, prepared: list[Ready], seats: list[Seat], tries: int,
    rng: np.random.Generator,
) -> tuple[float, int]:  # fmt: skip
    """Grow chains along membranes: bound to them, or at a drawn distance."""
    areas = np.array([seat.area for seat in seats])
    # Bound units count by area, free ones by voxels.
    bound = bool(plan.group.membrane)
    whole = areas.sum() if bound else scene.labels.size
    taken, failures = 0.0, 0
    while taken < plan.asked * whole and failures < tries:
        seat = seats[int(rng.choice(len(seats), p=areas / areas.sum()))]
        scene.chains += 1
        position, last = None, 0
        for _ in range(_length(plan, rng)):
            this = _member(plan, rng)
            rows = _rows(seat, position, None if position is None else _spacing(plan, last, this, 2, rng), rng)
            poses, turns = _on_seat(plan, seat, rows, this, rng)
            host = seat.instance if bound else 0
            which, voxels = place(scene, room, prepared[this], poses, turns, chain=scene.chains, host=host)
            if which < 0:
                break
            position, last = seat.points[rows[which]], this
            taken += plan.templates[this].shadow if bound else voxels
        if position is None:
            scene.chains -= 1
            failures += 1
        else:
            failures = 0
    return taken / whole, failures


def _rows(seat: Seat, position: Floats | None, between: Floats | None, rng: np.random.Generator) -> Array:
    """Draw rows of a seat's points: from all, or from those in a shell around the last position."""
    if position is None or between is None:
        return rng.integers(len(seat.points), size=POSES)
    distance = np.linalg.norm(seat.points - position, axis=1)
    # The points stand some way apart, so the shell is at least as thick.
    near = np.flatnonzero((distance >= between.min()) & (distance <= between.max() + seat.step))
    return near if len(near) == 0 else near[rng.integers(len(near), size=POSES)]


def _on_seat(plan: Plan, seat: Seat, rows: Array, member: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return poses above rows of a seat: upright on it if bound, on either side and turned at random if not."""
    n, group = len(rows), plan.group
    normals = seat.normals[rows]
    if group.membrane:
        low, high = limits(group.members[member].height, "um", "height")
        heights = low + (high - low) * rng.random(n)
        return seat.points[rows] + heights[:, None] * normals, aligned(normals, 2 * np.pi * rng.random(n))
    low, high = limits(group.near, "um", "near")
    heights = (low + (high - low) * rng.random(n)) * rng.choice([-1.0, 1.0], size=n)
    return seat.points[rows] + heights[:, None] * normals, quaternions(n, rng)


def _member(plan: Plan, rng: np.random.Generator) -> int:
    if len(plan.templates) == 1:
        return 0
    weights = np.array([limits(m.occupancy, "", "occupancy")[1] for m in plan.group.members])
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _length(plan: Plan, rng: np.random.Generator) -> int:
    low, high = limits(plan.group.cluster, "", "cluster")
    return int(rng.integers(int(low), int(high) + 1))


def _spacing(plan: Plan, last: int, this: int, n: int, rng: np.random.Generator) -> Floats:
    """Draw n distances between neighbours' centres: two balls of their volumes and the gap."""
    low, high = limits(plan.group.gap, "um", "gap")
    touch = sum(cube_root(3 * plan.templates[k].volume / (4 * np.pi)) for k in (last, this))
    return np.asarray(touch + low + (high - low) * rng.random(n))


def _directions(n: int, rng: np.random.Generator) -> Floats:
    vectors = rng.standard_normal((n, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
