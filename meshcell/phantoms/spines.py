"""A phantom of a dendritic spine, drawn as it looks in electron micrographs.

Everything is laid out straight, with checked gaps, and then bent by one smooth warp: a warp moves neighbours
together, so it can neither close a gap nor change the topology.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.interpolate import CubicSpline

from meshcell.core.arrays import Array, Floats
from meshcell.core.progress import Stage, stages
from meshcell.core.randomness import generator
from meshcell.core.rounding import norm, product, sine_cosine, turn_about
from meshcell.core.types import Volume
from meshcell.core.units import convert
from meshcell.core.validation import checked_spacing
from meshcell.phantoms import signed_distances as sdf
from meshcell.phantoms.curves import smooth_path
from meshcell.phantoms.signed_distances import Grid, Shape
from meshcell.phantoms.warps import Warp, combined, waves

logger = logging.getLogger("meshcell")

NAMES = {1: "cytosol", 2: "er", 3: "mitochondrion", 4: "psd"}
CYTOSOL, ER, MITOCHONDRION, PSD = NAMES
# Voxels between the membrane and the faces of the box.
MARGIN = 2
# Cytosol between two cisternae of the apparatus, in thicknesses of a cisterna.
CLEFT = 1.1
# Draws of a stack of cisternae before it is given up.
TRIES = 60
# How far the head, the neck and the shaft flow into each other, in diameters of the neck.
FLARE = 0.5


@dataclass(frozen=True)
class _Sizes:
    """Lengths in um."""

    head: float
    neck: float
    neck_length: float
    shaft: float
    shaft_length: float
    er_thickness: float
    psd: float
    psd_thickness: float
    gap: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{field.name} should be a positive length in um; got {value!r}")
        if self.shaft_length < 1.2 * self.shaft:
            raise ValueError(
                f"shaft_length should be at least 1.2 times shaft, which leaves room for its round ends; "
                f"got {self.shaft_length:g} and {self.shaft:g} um"
            )
        if self.neck >= min(self.head, self.shaft):
            raise ValueError(
                f"neck should be thinner than head and shaft; got {self.neck:g}, {self.head:g} and {self.shaft:g} um"
            )


def spine(
    spacing: Any,
    *,
    rng: int | np.random.Generator,
    head: Any = 0.6,
    neck: Any = 0.15,
    neck_length: Any = 0.35,
    shaft: Any = 0.6,
    shaft_length: Any = 1.25,
    cisternae: int = 3,
    links: int = 2,
    er_thickness: Any = 0.04,
    psd: Any = 0.36,
    psd_thickness: Any = 0.04,
    gap: Any = 0.025,
    progress: bool = False,
) -> Volume:
    """Draw a dendritic spine on a piece of its dendrite.

    A mushroom head on a neck on a closed piece of shaft; a spine apparatus of stacked cisternae, joined by a tubule
    through the neck to the shaft's endoplasmic reticulum; a mitochondrion in the shaft; a postsynaptic density under
    the top of the head, which touches the membrane outside and the cytosol inside.

    Parameters
    ----------
    spacing : float, text, or three of them
        um per voxel along x, y, z, or texts such as "10 nm".
    rng : int or Generator
        The same seed gives the same geometry at every spacing, and the same bytes at the same spacing.
    head, neck, shaft : float or text
        Diameters, um; the head's is the mean, before its lobes.
    neck_length, shaft_length : float or text
        um; the shaft runs along y, the spine stands along z.
    cisternae : int
        Of the spine apparatus; 0 leaves a blind tubule.
    links : int
        Tubules between neighbouring cisternae; the ER has genus (cisternae - 1) (links - 1).
    er_thickness : float or text
        Of cisternae and tubules, um.
    psd, psd_thickness : float or text
        Width and thickness of the postsynaptic density, um.
    gap : float or text
        Least distance from the ER and the mitochondrion to the membrane, the density and each other, um.
    progress : bool
        Show a bar with the stage that runs.

    Returns
    -------
    Volume
        Labels 1 cytosol, 2 er, 3 mitochondrion, 4 psd. The box is centred at 0 and stays at least two voxels away
        from the membrane.

    Raises
    ------
    ValueError
        Sizes that do not fit into each other, or a spacing so coarse that a region would get lost.

    Notes
    -----
    Default sizes are those of mushroom spines in the hippocampus: Harris and Stevens, J. Neurosci. 9 (1989) 2982.

    Examples
    --------
    >>> spine("40 nm", rng=1).regions
    {1: 'cytosol', 2: 'er', 3: 'mitochondrion', 4: 'psd'}
    """
    step = checked_spacing(spacing)
    if cisternae < 0 or links < 1:
        raise ValueError(f"cisternae should be at least 0 and links at least 1; got {cisternae} and {links}")
    lengths = {
        "head": head,
        "neck": neck,
        "neck_length": neck_length,
        "shaft": shaft,
        "shaft_length": shaft_length,
        "er_thickness": er_thickness,
        "psd": psd,
        "psd_thickness": psd_thickness,
        "gap": gap,
    }
    sizes = _Sizes(**{name: convert(value, "um", name) for name, value in lengths.items()})
    with stages("spine", ("layout", "membrane", "density", "organelles"), progress) as stage:
        stage("layout")
        bend, shapes = _layout(sizes, cisternae, links, generator(rng))
        return _voxels(shapes, bend, step, sizes, stage)


def _voxels(
    shapes: dict[str, Shape], bend: Warp, step: tuple[float, float, float], sizes: _Sizes, stage: Stage
) -> Volume:
    stage("membrane")
    low, high = sdf.bounding_box(shapes["membrane"], 0.03 * sizes.head, bend)
    x, y, z = (int(n) + 2 * MARGIN for n in np.ceil((high - low) / step))
    first = -(np.array([x, y, z]) - 1) / 2 * step
    ox, oy, oz = (float(value) for value in first + (low + high) / 2)
    grid = Grid((x, y, z), step, (ox, oy, oz))
    cytosol = sdf.inside(shapes["membrane"], grid, bend)
    labels = cytosol.astype(np.uint8)
    stage("density")
    layer = sdf.inside(shapes["zone"], grid, bend) & cytosol
    where = np.argwhere(layer)
    # Only these few voxels are looked up one by one: the whole head would take as long as the membrane.
    depths = sdf.distance(shapes["beneath"], np.array(grid.origin) + where * step, bend)
    labels[tuple(where[depths >= 0].T)] = PSD
    _join_strays(labels)
    stage("organelles")
    labels[sdf.inside(shapes["mitochondrion"], grid, bend)] = MITOCHONDRION
    labels[sdf.inside(shapes["er"], grid, bend)] = ER
    volume = Volume(labels, step, tuple(first), NAMES)
    _check_resolved(volume, min(sizes.er_thickness, sizes.psd_thickness))
    logger.info("spine: %d x %d x %d voxels, %.3f um^3 inside the membrane", x, y, z, cytosol.sum() * np.prod(step))
    return volume


def _join_strays(labels: Array) -> None:
    """Give single voxels that the staircase cuts off at the rim of the density to the region around them."""
    for own, other in ((PSD, CYTOSOL), (CYTOSOL, PSD)):
        pieces, n = ndimage.label(labels == own)
        if n > 1:
            largest = np.bincount(pieces.ravel())[1:].argmax() + 1
            labels[(pieces > 0) & (pieces != largest)] = other


def _check_resolved(volume: Volume, thinnest: float) -> None:
    lost = [name for label, name in NAMES.items() if label not in volume.counts]
    if lost:
        raise ValueError(
            f"spacing should resolve every region; at {max(volume.spacing):g} um per voxel {', '.join(lost)} got lost; "
            f"the thinnest parts measure {thinnest:g} um: take at most a third of that"
        )
    if thinnest < 2 * max(volume.spacing):
        logger.warning(
            "spine: the thinnest parts, %g um, are thinner than two voxels and may break into pieces", thinnest
        )


# --- the layout, before the warp ---


def _layout(sizes: _Sizes, cisternae: int, links: int, rng: np.random.Generator) -> tuple[Warp, dict[str, Shape]]:
    body, organelles, bends = rng.spawn(3)
    bend = combined(
        waves(2, 2.5 * sizes.head, 0.03 * sizes.head, rng=bends),
        waves(4, 0.7 * sizes.head, 0.008 * sizes.head, rng=bends),
    )
    # The warp may shorten a gap by this factor, so it is laid out that much wider.
    gap = sizes.gap * (1 + bend.strain)
    middle, neck_path, membrane = _membrane(sizes, body)
    zone = _density_zone(membrane, middle, sizes, body)
    beneath = sdf.grown(membrane, -sizes.psd_thickness)

    def free(points: Any) -> Floats:
        # Depth below the membrane, and below the density where there is one.
        density = np.maximum(sdf.distance(zone, points), -sdf.distance(beneath, points))
        return np.minimum(-sdf.distance(membrane, points), density)

    er = _reticulum(sizes, middle, neck_path, (cisternae, links), free, gap, organelles)

    def free_of_er(points: Any) -> Floats:
        return np.minimum(free(points), sdf.distance(er, points))

    mitochondrion = _mitochondrion(sizes, free_of_er, gap, organelles)
    shapes = {"membrane": membrane, "zone": zone, "beneath": beneath, "er": er, "mitochondrion": mitochondrion}
    return bend, shapes


def _membrane(sizes: _Sizes, rng: np.random.Generator) -> tuple[Floats, Array, Shape]:
    """Return the head's middle, the neck's path and the membrane."""
    radius, half = sizes.shaft / 2, sizes.head / 2
    lean = rng.uniform(-0.1, 0.1, 2) * sizes.head
    middle = np.array([*lean, radius + sizes.neck_length + 0.8 * half])
    # Swellings run along the shaft as a cubic, which leaves no creases.
    swelling = CubicSpline(np.linspace(-1, 1, 5), rng.uniform(0.88, 1.0, 5))(np.linspace(-1, 1, 21))
    along = np.linspace(-1, 1, 21) * (sizes.shaft_length / 2 - radius)
    shaft = sdf.tube(np.outer(along, [0, 1, 0]), radius * swelling)
    knots = [[0, 0, 0.6 * radius], [*0.2 * lean, radius + 0.3 * sizes.neck_length], middle - [0, 0, 0.6 * half]]
    path = smooth_path(knots, sizes.neck / 6)
    neck = sdf.tube(path, sizes.neck / 2)
    turn = turn_about([*rng.normal(0, 0.1, 2), rng.uniform(0, np.pi)])
    main = sdf.ellipsoid(middle, half * np.array([rng.uniform(0.95, 1.05), rng.uniform(0.78, 0.95), 0.8]), turn)
    # Two lobes on opposite sides make the head irregular, low ones make it a mushroom.
    azimuth = rng.uniform(0, 2 * np.pi)
    lobes = []
    for side in (azimuth, azimuth + np.pi + rng.uniform(-0.8, 0.8)):
        sine, cosine = sine_cosine(side)
        offset = half * np.array([0.62 * cosine, 0.62 * sine, rng.uniform(-0.3, 0.15)])
        lobes.append(sdf.ball(middle + offset, half * rng.uniform(0.42, 0.6)))
    return middle, path, sdf.union(shaft, neck, main, *lobes, blend=FLARE * sizes.neck)


def _density_zone(membrane: Shape, middle: Floats, sizes: _Sizes, rng: np.random.Generator) -> Shape:
    """Return the ball around a point of the head's top, in which the layer under the membrane is the density."""
    direction = np.array([*rng.normal(0, 0.15, 2), 1.0])
    direction /= norm(direction)
    top = middle.copy()
    # Sphere tracing: the distance is never longer than what is left to go.
    for _ in range(60):
        top = top - direction * sdf.distance(membrane, top)[0]
    return sdf.ball(top, sizes.psd / 2)


def _reticulum(
    sizes: _Sizes,
    middle: Floats,
    neck_path: Array,
    counts: tuple[int, int],
    free: Any,
    gap: float,
    rng: np.random.Generator,
) -> Shape:
    """Return the apparatus, the tubule through the neck, and the tubule along the shaft."""
    radius, thick = sizes.shaft / 2, sizes.er_thickness
    blend = 0.3 * thick
    # Where three parts meet, the rounded union swells them by 1 - 1 / sqrt(3) of its blend.
    need = thick / 2 + gap + 0.45 * blend
    apparatus, root = _apparatus(sizes, middle, counts, free, need, rng) if counts[0] else ([], middle)
    reach = sizes.shaft_length / 2 - 0.75 * radius
    along = np.linspace(-reach, reach, 6)
    wander = rng.uniform(-0.06, 0.06, (2, 6)) * radius
    run = smooth_path(np.stack([0.42 * radius + wander[0], along, 0.3 * radius + wander[1]], axis=1), thick / 2)
    foot = run[np.abs(run[:, 1]).argmin()]
    stem = smooth_path([foot, 0.5 * (foot + neck_path[0]), *neck_path[1:-1:3], root], thick / 2)
    for what, path in {"shaft": run, "neck": stem}.items():
        if free(path).min() < need:
            raise ValueError(
                f"the ER should pass the {what} with {sizes.gap:g} um of cytosol around it; a tubule of {thick:g} um "
                f"comes too near to the membrane there; widen {what}, or take a smaller gap or er_thickness"
            )
    tubes = [sdf.tube(path, thick / 2) for path in (run, stem)]
    return sdf.union(*apparatus, *tubes, blend=blend)


def _apparatus(
    sizes: _Sizes, middle: Floats, counts: tuple[int, int], free: Any, need: float, rng: np.random.Generator
) -> tuple[list[Shape], Floats]:
    """Return cisternae and the tubules between them, and the point where the tubule of the neck joins."""
    n, links = counts
    thick, bowl = sizes.er_thickness, 1.2 * sizes.head
    for _ in range(TRIES):
        turn, centres, widths = _stack(sizes, middle, n, free, need, rng)
        if min(widths) >= 2 * thick:
            break
    else:
        raise ValueError(
            f"the spine apparatus should fit into the head; {n} cisternae of {thick:g} um do not fit into a head "
            f"of {sizes.head:g} um with a gap of {sizes.gap:g} um; take fewer cisternae or a larger head"
        )
    up = turn[:, 2]
    sheets = [sdf.cap(c, up, bowl, w / bowl, thick) for c, w in zip(centres, widths, strict=True)]
    tubules = []
    for j in range(n - 1):
        # At the same azimuth and distance from the axis on both, so that the tubules stand upright and apart.
        azimuths = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(links) / links
        ends = [_on_bowl(centres[i], turn, bowl, 0.7 * min(widths[j : j + 2]), azimuths) for i in (j, j + 1)]
        tubules += [sdf.tube(pair, thick / 2) for pair in zip(*ends, strict=True)]
    return [*sheets, *tubules], centres[0] + bowl * up


def _stack(
    sizes: _Sizes, middle: Floats, n: int, free: Any, need: float, rng: np.random.Generator
) -> tuple[Any, Array, list[float]]:
    """Draw how n cisternae are turned and centred, and how wide each can be (0 where it has no room)."""
    thick, bowl = sizes.er_thickness, 1.2 * sizes.head
    turn = turn_about([*rng.normal(0, 0.12, 2), 0.0])
    middle_level = rng.uniform(-0.12, 0.02) * sizes.head
    levels = (np.arange(n) - (n - 1) / 2) * (1 + CLEFT) * thick + middle_level
    shifts = rng.uniform(-0.03, 0.03, (n, 2)) * sizes.head
    # Bowls that open downwards, like the head's roof: their spheres' centres lie below.
    centres = middle + product(np.column_stack([shifts, levels - bowl]), turn.T)
    widths = []
    for centre, wish in zip(centres, sizes.head * rng.uniform(0.24, 0.31, n), strict=True):
        fitting = (w for w in wish * 0.93 ** np.arange(14) if free(_disc(centre, turn, bowl, w)).min() >= need)
        widths.append(float(next(fitting, 0.0)))
    return turn, centres, widths


def _on_bowl(centre: Floats, turn: Any, bowl: float, away: Any, azimuths: Any) -> Array:
    """Return points on a bowl at an arc length from its middle."""
    (out, up), (aside, ahead) = sine_cosine(np.asarray(away) / bowl), sine_cosine(azimuths)
    local = np.stack(np.broadcast_arrays(out * ahead, out * aside, up), axis=-1)
    return np.asarray(centre + bowl * product(local.reshape(-1, 3), turn.T))


def _disc(centre: Floats, turn: Any, bowl: float, width: float) -> Array:
    """Return sample points of a cisterna: its rim and two rings."""
    shares, azimuths = np.meshgrid([0.0, 0.5, 1.0], np.linspace(0, 2 * np.pi, 24, endpoint=False))
    return _on_bowl(centre, turn, bowl, width * shares.ravel(), azimuths.ravel())


def _mitochondrion(sizes: _Sizes, free: Any, gap: float, rng: np.random.Generator) -> Shape:
    """Return a slightly curved sausage beside the ER of the shaft, as thick as fits."""
    radius = sizes.shaft / 2
    reach = (sizes.shaft_length / 2 - radius) * rng.uniform(0.75, 1.0)
    along = np.linspace(-reach, reach, 5) + rng.uniform(-0.2, 0.2) * (sizes.shaft_length / 2 - radius - reach)
    wander = rng.uniform(-0.08, 0.08, (2, 5)) * radius
    path = smooth_path(np.stack([-0.32 * radius + wander[0], along, -0.22 * radius + wander[1]], axis=1), radius / 12)
    shares = 0.45 * 0.93 ** np.arange(12)
    # Half a step between the samples of the path may come nearer than the samples do.
    room = free(path).min() - gap - radius / 24
    share = next((s for s in shares if s * radius <= room), None)
    if share is None:
        raise ValueError(
            f"a mitochondrion should fit into the shaft beside the ER; a shaft of {sizes.shaft:g} um with a gap of "
            f"{sizes.gap:g} um leaves no room; widen shaft or take a smaller gap"
        )
    wobble = np.interp(np.arange(len(path)), np.linspace(0, len(path) - 1, 5), rng.uniform(0.88, 1.0, 5))
    return sdf.tube(path, share * radius * wobble)
