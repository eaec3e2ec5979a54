"""Lipid membranes: closed shapes with a double Gaussian profile along their normals.

Density at distance d from the mid-surface: exp(-(d - t/2)^2 / 2s^2) + exp(-(d + t/2)^2 / 2s^2), t the layers' distance,
s their standard deviation widened by that of a voxel, sqrt(s^2 + h^2/12), so that thin layers are not missed by the
voxels' centres. A membrane occupies the voxels within t/2 + 2s of its mid-surface, which no line of voxels can cross.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.core.rounding import norm, product
from meshcell.core.types import Surface
from meshcell.phantoms.crowds import membrane_shapes
from meshcell.phantoms.crowds.box import Scene
from meshcell.phantoms.crowds.membrane_shapes import Shell, distances, fits, write
from meshcell.phantoms.crowds.packing import quaternions, rotation
from meshcell.phantoms.crowds.quantities import Reached, bounded, checked_count, checked_group, drawn
from meshcell.phantoms.crowds.wormlike_chains import worm
from meshcell.phantoms.curves import smooth_path

# Points on a mid-surface stand about this far apart where molecules look for a seat, um.
SEAT_STEP = 0.002
MOST_SEATS = 60_000


@dataclass(frozen=True, eq=False)
class Membrane:
    """What all membranes share: fields that may be one value or a range drawn for each membrane.

    Parameters
    ----------
    name : str
    occupancy : float or (low, high)
        Share of the box's voxels.
    thickness : float, text or (low, high), um
        Distance between the layers.
    sigma : float, text or (low, high), um
        Standard deviation of a layer.
    cut : bool
        Membranes may reach beyond the box.
    where : str
        Compartment, a region's name in `within`.
    tries : int, optional
    """

    name: str
    occupancy: Any
    thickness: Any = (0.0025, 0.0035)
    sigma: Any = (0.00005, 0.0002)
    cut: bool = False
    where: str = ""
    tries: int | None = None

    def __post_init__(self) -> None:
        checked_group(self.name, self.occupancy, self.tries)
        bounded(self.thickness, "um", f"thickness of {self.name!r}", open_=True)
        bounded(self.sigma, "um", f"sigma of {self.name!r}")
        for key in ("radius", "ring", "length", "persistence", "lumen", "gap"):
            if hasattr(self, key):
                bounded(getattr(self, key), "um", f"{key} of {self.name!r}", open_=True)

    def shape(self, rng: np.random.Generator, step: float) -> list[Shell]:
        """Draw its closed shells around the origin; more than one are placed together."""
        raise NotImplementedError

    def _length(self, key: str, rng: np.random.Generator) -> float:
        return drawn(getattr(self, key), "um", f"{key} of {self.name!r}", rng)


@dataclass(frozen=True, eq=False)
class SphereMembrane(Membrane):
    """A vesicle of the given radius (um, or a range)."""

    radius: Any = (0.02, 0.06)

    def shape(self, rng: np.random.Generator, step: float) -> list[Shell]:
        return [membrane_shapes.ellipsoid(np.full(3, self._length("radius", rng)), step)]


@dataclass(frozen=True, eq=False)
class EllipsoidMembrane(Membrane):
    """An ellipsoid of three semi-axes drawn from `radius`, redrawn until no eccentricity exceeds `eccentricity`.

    The eccentricity is sqrt(1 - (shortest / longest)^2).
    """

    radius: Any = (0.02, 0.06)
    eccentricity: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eccentricity <= 1:
            raise ValueError(f"eccentricity of {self.name!r} should be from 0 to 1; got {self.eccentricity!r}")

    def shape(self, rng: np.random.Generator, step: float) -> list[Shell]:
        longest = 1 / np.sqrt(1 - self.eccentricity**2) if self.eccentricity < 1 else np.inf
        for _ in range(1000):
            radii = np.array([self._length("radius", rng) for _ in range(3)])
            if radii.max() <= radii.min() * longest:
                return [membrane_shapes.ellipsoid(radii, step)]
        raise ValueError(f"eccentricity of {self.name!r} should be reachable; {self.eccentricity} failed 1000 draws")


@dataclass(frozen=True, eq=False)
class TorusMembrane(Membrane):
    """A ring-shaped tube: `ring` from the centre to the tube's axis, `radius` of the tube, um."""

    ring: Any = (0.04, 0.08)
    radius: Any = (0.012, 0.025)

    def shape(self, rng: np.random.Generator, step: float) -> list[Shell]:
        lengths = self._length("ring", rng), self._length("radius", rng)
        return [membrane_shapes.torus(max(lengths), min(lengths), step)]


@dataclass(frozen=True, eq=False)
class TubeMembrane(Membrane):
    """A tubule with round ends along a worm-like chain of the given persistence, um."""

    length: Any = (0.1, 0.3)
    radius: Any = (0.012, 0.025)
    persistence: Any = 0.1

    def shape(self, rng: np.random.Generator, step: float) -> list[Shell]:

        radius, length = self._length("radius", rng), self._length("length", rng)
        # Knots two radii apart: a tube that bends within its own radius would fold.
        knots = worm(max(2, int(length / (2 * radius)) + 1), 2 * radius, self._length("persistence", rng), rng)
        path = smooth_path(knots, max(step, radius / 4))
        return [membrane_shapes.tube(path - path.mean(axis=0), radius, step)]


@dataclass(frozen=True, eq=False)
class SheetStack(Membrane):
    """Flat cisternae one above the other, as in a Golgi apparatus: closed discs with round rims.

    `radius` of the flat part, `lumen` between the two mid-surfaces of a cisterna, `gap` between cisternae, um.
    """

    sheets: int = 3
    radius: Any = (0.05, 0.1)
    lumen: Any = 0.015
    gap: Any = 0.012

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_count(self.sheets, f"sheets of {self.name!r}")

    def shape(self, rng: np.random.Generator, step: float) -> list[Shell]:
        radius, lumen, gap = (self._length(key, rng) for key in ("radius", "lumen", "gap"))
        heights = (np.arange(self.sheets) - (self.sheets - 1) / 2) * (lumen + gap)
        return [membrane_shapes.disc(radius, lumen / 2, z, step) for z in heights]


@dataclass(frozen=True, eq=False)
class HarmonicMembrane(Membrane):
    """A sphere with random spherical harmonics of degrees 2 to `degree`.

    `roughness` is the standard deviation of the radius in radii; power falls as 1 / (l (l + 1))^2, as for a membrane
    that resists bending.
    """

    radius: Any = (0.03, 0.06)
    roughness: Any = 0.12
    degree: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        bounded(self.roughness, "", f"roughness of {self.name!r}")
        checked_count(self.degree, f"degree of {self.name!r}", 2)

    def shape(self, rng: np.random.Generator, step: float) -> list[Shell]:
        roughness = drawn(self.roughness, "", f"roughness of {self.name!r}", rng)
        return [membrane_shapes.harmonic(self._length("radius", rng), roughness, self.degree, step, rng)]


@dataclass(frozen=True, eq=False)
class SurfaceMembrane(Membrane):
    """A surface of the user's: once where it is, or `free`, moved and turned at random, until the occupancy."""

    occupancy: Any = 1.0
    surface: Any = None
    free: bool = False
    cut: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.surface, Surface):
            raise TypeError(f"surface of {self.name!r} should be a Surface; got {type(self.surface).__name__}")

    def shape(self, rng: np.random.Generator, step: float) -> list[Shell]:
        surface = self.surface
        middle = (surface.points.min(axis=0) + surface.points.max(axis=0)) / 2 if self.free else np.zeros(3)
        return [Shell("mesh", np.zeros(0), surface.points - middle, surface.triangles)]


KINDS = (
    SphereMembrane, EllipsoidMembrane, TorusMembrane, TubeMembrane, SheetStack, HarmonicMembrane, SurfaceMembrane,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Seat:
    """Where molecules may sit on a membrane: points (n, 3) and normals, um, about `step` apart; um^2."""

    name: str
    instance: int
    points: Floats
    normals: Floats
    area: float
    step: float


@dataclass(eq=False)
class Placed:
    """What the membranes of a recipe left behind."""

    surfaces: dict[str, Surface]
    seats: list[Seat]
    report: list[Reached]


def grow(
    scene: Scene, membrane: Membrane, label: int, home: int, origin: Any, tries: int, out: Placed, rng: Any
) -> None:
    """Place membranes of one kind until the occupancy is reached or `tries` draws in a row did not fit."""
    goal = drawn(membrane.occupancy, "", f"occupancy of {membrane.name!r}", rng) * scene.labels.size
    tries, taken, failures, before, chains = membrane.tries or tries, 0, 0, scene.units, scene.chains
    once = isinstance(membrane, SurfaceMembrane) and not membrane.free
    while taken < goal and failures < tries:
        voxels = _placed_once(scene, membrane, label, home, origin, once, out, rng)
        taken += voxels
        failures = 0 if voxels else failures + 1
        if once:
            break
    share = taken / scene.labels.size
    done = taken >= goal or (once and taken > 0)
    why = "" if done else f"{failures} draws in a row met something taken or the box (more tries, smaller membranes)"
    units, made = scene.units - before, scene.chains - chains
    out.report.append(
        Reached(membrane.name, share if once and taken else goal / scene.labels.size, share, units, made, why)
    )


def _placed_once(
    scene: Scene, membrane: Membrane, label: int, home: int, origin: Any, once: bool, out: Placed, rng: Any
) -> int:
    """Draw a membrane and stamp it if it fits; return its voxels."""
    h = float(scene.spacing.min())
    parts = membrane.shape(rng, 2 * h)
    t, s = membrane._length("thickness", rng), drawn(membrane.sigma, "um", "sigma", rng)
    half = max(t / 2 + 2 * s, 0.5 * norm(scene.spacing))
    turn = np.array([1.0, 0, 0, 0]) if once else quaternions(1, rng)[0]
    R = rotation(turn)
    points = product(np.concatenate([part.points for part in parts]), R.T)
    centre = -np.asarray(origin) if once else _centre(scene, points, half, membrane.cut, rng)
    if centre is None or not _may_fit(scene, points + centre, home):
        return 0
    wide = float(np.sqrt(s * s + h * h / 12))
    band = max(half, t / 2 + 4 * wide)
    fields = [distances(part, R, centre, band, scene.spacing, scene.labels.shape) for part in parts]
    if not all(fits(scene.labels, home, field, first, half) for field, first in fields):
        return 0
    written = [
        write(scene.labels, scene.instances, scene.density, home, label, scene.units + 1 + k, *field, half, t, wide)
        for k, field in enumerate(fields)
    ]
    scene.chains += 1
    for part, voxels in zip(parts, written, strict=True):
        moved = product(part.points, R.T) + centre
        scene.record(membrane.name, scene.chains, 0, (moved.min(axis=0) + moved.max(axis=0))[None] / 2, turn, voxels)
        surface = Surface(
            moved + np.asarray(origin),
            part.triangles,
            np.tile([label, 0], (len(part.triangles), 1)),
            {label: membrane.name},
        )
        out.surfaces[f"{membrane.name} {scene.units}"] = surface
        out.seats.append(_seat(membrane.name, scene, moved, part.triangles, rng))
    return int(sum(written))


def _may_fit(scene: Scene, points: Floats, home: int) -> bool:
    """Tell whether the points of a mid-surface that lie in the box are on free voxels."""
    voxels = np.rint(points / scene.spacing).astype(np.int64)
    i, j, k = voxels[((voxels >= 0) & (voxels < scene.labels.shape)).all(axis=1)].T
    return bool((scene.labels[i, j, k] == home).all())


def _centre(scene: Scene, points: Floats, half: float, cut: bool, rng: np.random.Generator) -> Floats | None:
    """Draw a centre: anywhere where membranes may be cut, else where the whole fits; None where it cannot."""
    low, high = np.zeros(3), scene.size
    if not cut:
        low, high = low - points.min(axis=0) + half, high - points.max(axis=0) - half
    at = rng.random(3)
    return np.asarray(low + at * (high - low)) if (low <= high).all() else None


def _seat(name: str, scene: Scene, points: Floats, triangles: Any, rng: np.random.Generator) -> Seat:
    """Draw points uniformly by area; those beyond the box go, with their share of the area."""
    corners = points[triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(cross, axis=1) / 2
    n = int(np.clip(areas.sum() / SEAT_STEP**2, 100, MOST_SEATS))
    rows = rng.choice(len(triangles), size=n, p=areas / areas.sum())
    u, v = rng.random((2, n))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    a, b, c = corners[rows].transpose(1, 0, 2)
    drawn_points = a + u[:, None] * (b - a) + v[:, None] * (c - a)
    within = ((drawn_points >= 0) & (drawn_points <= scene.size)).all(axis=1)
    # Between the normals of the corners, as those of flat triangles would tilt the molecules by degrees.
    weights = np.array([1 - u - v, u, v])
    upright = np.einsum("kn,nkj->nj", weights, membrane_shapes.normals(points, triangles)[triangles[rows]])
    upright /= np.linalg.norm(upright, axis=1, keepdims=True)
    area = float(areas.sum()) * within.mean()
    return Seat(name, scene.units, drawn_points[within], upright[within], area, float(np.sqrt(areas.sum() / n)))
