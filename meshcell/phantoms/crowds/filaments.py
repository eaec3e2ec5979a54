"""Filaments: helical polymers along worm-like chains that avoid what is there, branch, and run in bundles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats, Ints
from meshcell.core.kernels import njit
from meshcell.core.rounding import arctangent, dot, norm, product, sine_cosine
from meshcell.core.units import convert
from meshcell.phantoms.crowds.box import Scene
from meshcell.phantoms.crowds.quantities import Reached, bounded, checked_count, checked_group, drawn
from meshcell.phantoms.crowds.wormlike_chains import bent, concentration, cross, normals

# Bends offered at each step before a filament ends.
BENDS = 8
# Units before and after a joint that may share voxels with it.
JOINT = 3
# No instance at all: from 1 to 0.
NOTHING = (1, 0)


@dataclass(frozen=True, eq=False)
class Filament:
    """A polymer of units that are balls around an axis; the class for any helical polymer.

    Parameters
    ----------
    name : str
    occupancy : float or (low, high)
        Share of the box's voxels.
    balls : ((x, y, z, radius), ...), um
        One unit, its axis along z.
    rise : float, text, um
        From unit to unit along the axis.
    twist : float, degrees
        Turn from unit to unit.
    persistence : float, text or (low, high), um
        Bends have <cos> = exp(-rise / persistence), a true worm-like chain; a range is drawn per filament.
    length : float, text or (low, high), um
        Wanted; what is in the way, the box too, ends a filament earlier.
    least : float, text, um
        Shorter ones are not kept.
    branching : float
        Share of the filaments that start on another one of their kind.
    branch_angle : float, degrees
        Between a branch and its mother.
    bundle, gap : int, um
        Parallel filaments that grow together on a hexagonal lattice, and the space between them.
    where : str
    tries : int, optional

    Notes
    -----
    Every ball has density 1 with an edge that falls linearly over one voxel, evaluated at the voxels' centres from its
    exact place: units look alike at any place, direction and voxel size.
    """

    name: str
    occupancy: Any
    balls: Any = ((0.0, 0.0, 0.0, 0.0025),)
    rise: Any = 0.005
    twist: float = 0.0
    persistence: Any = 1.0
    length: Any = (0.05, 0.5)
    least: Any = 0.02
    branching: float = 0.0
    branch_angle: float = 70.0
    bundle: int = 1
    gap: Any = 0.004
    where: str = ""
    tries: int | None = None

    def __post_init__(self) -> None:
        checked_group(self.name, self.occupancy, self.tries)
        for key in ("persistence", "length", "rise"):
            bounded(getattr(self, key), "um", f"{key} of {self.name!r}", open_=True)
        for key in ("least", "gap"):
            bounded(getattr(self, key), "um", f"{key} of {self.name!r}")
        if not 0 <= self.branching <= 1:
            raise ValueError(f"branching of {self.name!r} should be a probability; got {self.branching!r}")
        checked_count(self.bundle, f"bundle of {self.name!r}")
        balls = np.asarray(self.balls, np.float64)
        if balls.ndim != 2 or balls.shape[1] != 4 or not len(balls) or not (balls[:, 3] > 0).all():
            raise ValueError(f"balls of {self.name!r} should be rows x, y, z, radius > 0, um; got {self.balls!r}")

    def unit(self) -> Floats:
        """Return the (m, 4) balls of one unit: x, y, z, radius, um."""
        return np.array(self.balls, np.float64)

    @property
    def radius(self) -> float:
        """How far its units reach from the axis, um."""
        balls = self.unit()
        return float((np.linalg.norm(balls[:, :2], axis=1) + balls[:, 3]).max())


@dataclass(frozen=True, eq=False)
class Microtubule(Filament):
    """A ring of protofilaments: by default 13 monomers per 4 nm, 25 nm wide outside (Nogales 1999).

    A monomer is a ball of 2.4 nm at 10.1 nm from the axis, so that neighbours touch; that leaves a lumen of 15.4 nm,
    where 11 to 17 nm are reported. Rings lie level: the shift of 0.9 nm between protofilaments is left out. Persistence
    1 mm by default (0.3-5 mm measured; Hawkins 2010).
    """

    rise: Any = 0.004
    persistence: Any = 1000.0
    length: Any = (0.2, 2.0)
    least: Any = 0.04
    protofilaments: int = 13

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_count(self.protofilaments, f"protofilaments of {self.name!r}", 3)

    def unit(self) -> Floats:
        angles = 2 * np.pi * np.arange(self.protofilaments) / self.protofilaments
        ring = 0.0101 * sine_cosine(np.pi / 13)[0] / sine_cosine(np.pi / self.protofilaments)[0]
        sine, cosine = sine_cosine(angles)
        z = np.zeros(self.protofilaments)
        return np.stack([ring * cosine, ring * sine, z, z + 0.0024], axis=1)


@dataclass(frozen=True, eq=False)
class Actin(Filament):
    """F-actin: a pair of monomers, half a rise apart, per 5.5 nm and 26.8 degrees (half a turn in 36 nm; Holmes 1990).

    Persistence 17.7 um by default (Gittes 1993), branches at 70 degrees (Mullins 1998).
    """

    balls: Any = ((0.0021, 0.0, -0.001375, 0.0025), (-0.0021, 0.0, 0.001375, 0.0025))
    rise: Any = 0.0055
    twist: float = 26.8
    persistence: Any = 17.7
    length: Any = (0.05, 0.5)


KINDS = (Filament, Microtubule, Actin)


@dataclass(frozen=True, eq=False)
class Axis:
    """A grown filament: (n, 3) centres and tangents, um, and the instance of its first unit."""

    chain: int
    centres: Floats
    tangents: Floats
    instance: int


@dataclass(frozen=True, eq=False)
class Course:
    """What grows at once: the balls of one step of all parallel members, in the axis' frame, and its law."""

    offsets: Floats
    balls: Floats
    rise: float
    twist: float
    bend: float
    radius: float
    home: int

    def at(self, centre: Floats, first: Floats, tangent: Floats) -> Floats:
        """Return the (members, m, 4) balls at a point of the axis."""
        frame = np.stack([first, cross(tangent, first), tangent])
        moved = np.empty((len(self.offsets), len(self.balls), 4))
        moved[..., :3] = centre + product(self.balls[:, :3] + self.offsets[:, None], frame)
        moved[..., 3] = self.balls[:, 3]
        return moved


def grow(
    scene: Scene, filament: Filament, label: int, home: int, tries: int, rng: np.random.Generator
) -> tuple[Reached, list[Axis]]:
    """Grow filaments of one kind until the occupancy is reached or `tries` starts in a row failed."""
    asked = drawn(filament.occupancy, "", f"occupancy of {filament.name!r}", rng)
    goal, taken, failures, axes = asked * scene.labels.size, 0, 0, []  # type: ignore[var-annotated]
    tries, before, chains = filament.tries or tries, scene.units, scene.chains
    per_step = filament.bundle * float((4 / 3 * np.pi * filament.unit()[:, 3] ** 3).sum()) / scene.voxel
    branch = False
    while taken < goal and failures < tries:
        # Drawn once and kept until it succeeds: crowding must not change the share of branches.
        if failures == 0:
            branch = bool(axes) and rng.random() < filament.branching
        course = _course(filament, home, rng)
        most = int(np.ceil((goal - taken) / per_step))
        mother = axes[int(rng.integers(len(axes)))] if branch else None
        planned = _planned(scene, filament, course, mother, most, rng)
        if planned is None:
            failures += 1
            continue
        grown, voxels = _stamped(scene, filament, course, label, *planned)
        # A filament far thinner than a voxel may miss them all.
        failures = 0 if voxels else failures + 1
        axes += grown
        taken += voxels
    share = taken / scene.labels.size
    why = "" if taken >= goal else f"{failures} starts in a row found no way (more tries, shorter `least`)"
    return Reached(filament.name, asked, share, scene.units - before, scene.chains - chains, why), axes


def _course(filament: Filament, home: int, rng: np.random.Generator) -> Course:
    """Draw what a filament keeps all along."""
    rise, gap = convert(filament.rise, "um", "rise"), convert(filament.gap, "um", "gap")
    persistence = drawn(filament.persistence, "um", "persistence", rng)
    bundle = _hexagonal(filament.bundle) * (2 * filament.radius + gap)
    wide = filament.radius + float(np.linalg.norm(bundle, axis=1).max())
    bend = concentration(rise, persistence)
    return Course(bundle, filament.unit(), rise, np.radians(filament.twist), bend, wide, home)


def _hexagonal(n: int) -> Floats:
    """Return the n points of a hexagonal lattice of unit distance nearest to its origin, in the plane z = 0."""
    reach = np.arange(-n, n + 1)
    i, j = (k.ravel() for k in np.meshgrid(reach, reach, indexing="ij"))
    points = np.stack([i + j / 2, j * np.sqrt(3) / 2, 0.0 * i], axis=1)
    order = np.lexsort((np.round(arctangent(points[:, 1], points[:, 0]), 9), np.round((points**2).sum(axis=1), 9)))
    return np.asarray(points[order[:n]])


def _start(
    scene: Scene, filament: Filament, course: Course, mother: Axis | None, rng: np.random.Generator
) -> tuple[Floats, Floats, int]:
    """Draw the first centre and tangent, and the instance of the mother's unit (0: none)."""
    if mother is None:
        tangent = rng.standard_normal(3)
        return rng.random(3) * scene.size, tangent / norm(tangent), 0
    row = int(rng.integers(len(mother.centres)))
    along, azimuth, angle = mother.tangents[row], 2 * np.pi * rng.random(), np.radians(filament.branch_angle)
    first, second = (vector[0] for vector in normals(along[None]))
    (sine, cosine), (across, ahead) = sine_cosine(angle), sine_cosine(azimuth)
    tangent = cosine * along + sine * (ahead * first + across * second)
    return mother.centres[row] + course.rise * tangent, tangent, mother.instance + row


def _planned(
    scene: Scene, filament: Filament, course: Course, mother: Axis | None, most: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats, int] | None:
    """Walk until something is in the way; return centres, tangents, first normals and the mother's instance."""
    wanted = drawn(filament.length, "um", "length", rng)
    steps = max(1, min(most, int(wanted / course.rise)))
    least = min(steps, max(1, int(convert(filament.least, "um", "least") / course.rise)))
    centre, tangent, host = _start(scene, filament, course, mother, rng)
    joint = _joint(mother, host)
    sine, cosine = sine_cosine(2 * np.pi * rng.random())
    across, side = (vector[0] for vector in normals(tangent[None]))
    normal = cosine * across + sine * side
    centres, tangents, firsts = np.empty((3, steps, 3))
    n = 0
    while n < steps:
        if not _fits(scene, course, centre, normal, tangent, joint if n <= JOINT else NOTHING):
            break
        centres[n], tangents[n], firsts[n] = centre, tangent, normal
        n += 1
        if n == steps:
            break
        step = _next(scene, course, centres[:n], tangent, normal, joint if n <= JOINT else NOTHING, rng)
        if step is None:
            break
        centre, tangent, normal = step
    if n < least:
        return None
    return centres[:n], tangents[:n], firsts[:n], host


def _next(
    scene: Scene,
    course: Course,
    centres: Floats,
    tangent: Floats,
    normal: Floats,
    joint: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats] | None:
    """Draw bends until the next unit fits; None where none does."""
    centre = centres[-1] + course.rise * tangent
    # Its own earlier turns are not stamped yet; two widths apart they cannot meet.
    earlier = centres[: max(0, len(centres) - int(np.pi * course.radius / course.rise) - JOINT)]
    if len(earlier) and ((earlier - centre) ** 2).sum(axis=1).min() < (2 * course.radius) ** 2:
        return None
    sine, cosine = sine_cosine(course.twist)
    for turned in bent(np.repeat(tangent[None], BENDS, axis=0), course.bend, rng):
        carried = normal - dot(normal, turned) * turned
        carried /= np.sqrt(dot(carried, carried))
        side = cross(turned, carried)
        twisted = cosine * carried + sine * side
        if _fits(scene, course, centre, twisted, turned, joint):
            return centre, turned, twisted
    return None


def _joint(mother: Axis | None, host: int) -> tuple[int, int]:
    """Return the first and last instance of the mother that a branch may share voxels with."""
    if mother is None:
        return NOTHING
    return max(host - JOINT, mother.instance), min(host + JOINT, mother.instance + len(mother.centres) - 1)


def _fits(
    scene: Scene, course: Course, centre: Floats, normal: Floats, tangent: Floats, joint: tuple[int, int]
) -> bool:
    balls = course.at(centre, normal, tangent).reshape(-1, 4)
    return bool(balls_fit(scene.labels, scene.instances, scene.spacing, course.home, *joint, balls))


def _stamped(
    scene: Scene, filament: Filament, course: Course, label: int, centres: Floats, tangents: Floats, firsts: Floats,
    host: int,
) -> tuple[list[Axis], int]:  # fmt: skip
    """Write the members of a course down, each a chain of its own; return their axes and voxels."""
    from scipy.spatial.transform import Rotation

    frames = np.stack([firsts, cross(tangents, firsts), tangents], axis=2)
    turns = Rotation.from_matrix(frames).as_quat(canonical=True, scalar_first=True)
    all_balls = np.stack([course.at(*place) for place in zip(centres, firsts, tangents, strict=True)], axis=1)
    axes, taken = [], 0
    for offset, balls in zip(course.offsets, all_balls, strict=True):
        scene.chains += 1
        instance = scene.units + 1
        counts = np.zeros(len(centres), np.int64)
        stamp_balls(
            scene.labels, scene.instances, scene.density, scene.spacing, course.home, label, instance, balls, counts
        )
        moved = centres + (frames * offset).sum(axis=2)
        hosts: Ints = np.zeros(len(centres), np.int32)
        hosts[0] = host
        scene.record(filament.name, scene.chains, hosts, moved, turns, counts)
        axes.append(Axis(scene.chains, moved, tangents, instance))
        taken += int(counts.sum())
    return axes, taken


# --- kernels ---


@njit(cache=True)
def balls_fit(labels, instances, h, home, first, last, balls) -> bool:  # type: ignore[no-untyped-def]
    """Tell whether the balls lie in the box on voxels that are free, or of instances first (>= 1) to last."""
    nx, ny, nz = labels.shape
    for n in range(len(balls)):
        x, y, z, r = balls[n]
        for i in range(int(np.ceil((x - r) / h[0])), int(np.floor((x + r) / h[0])) + 1):
            for j in range(int(np.ceil((y - r) / h[1])), int(np.floor((y + r) / h[1])) + 1):
                for k in range(int(np.ceil((z - r) / h[2])), int(np.floor((z + r) / h[2])) + 1):
                    d2 = (i * h[0] - x) ** 2 + (j * h[1] - y) ** 2 + (k * h[2] - z) ** 2
                    if d2 > r * r:
                        continue
                    if i < 0 or j < 0 or k < 0 or i >= nx or j >= ny or k >= nz:
                        return False
                    if labels[i, j, k] != home and (instances[i, j, k] < first or instances[i, j, k] > last):
                        return False
    return True


@njit(cache=True)
def stamp_balls(labels, instances, density, h, home, label, instance, units, counts) -> None:  # type: ignore[no-untyped-def]
    """Write (n, m, 4) balls of n units down; voxels that a unit shares with an earlier one stay the earlier one's."""
    nx, ny, nz = labels.shape
    edge = min(h[0], h[1], h[2])
    for u in range(units.shape[0]):
        for n in range(units.shape[1]):
            x, y, z, r = units[u, n]
            far = r + 0.5 * edge
            for i in range(max(0, int(np.ceil((x - far) / h[0]))), min(nx, int(np.floor((x + far) / h[0])) + 1)):
                for j in range(max(0, int(np.ceil((y - far) / h[1]))), min(ny, int(np.floor((y + far) / h[1])) + 1)):
                    for k in range(
                        max(0, int(np.ceil((z - far) / h[2]))), min(nz, int(np.floor((z + far) / h[2])) + 1)
                    ):
                        d = np.sqrt((i * h[0] - x) ** 2 + (j * h[1] - y) ** 2 + (k * h[2] - z) ** 2)
                        value = min(1.0, 0.5 - (d - r) / edge)
                        if value <= 0:
                            continue
                        density[i, j, k] = max(density[i, j, k], value)
                        if d <= r and labels[i, j, k] == home:
                            labels[i, j, k], instances[i, j, k] = label, instance + u
                            counts[u] += 1
