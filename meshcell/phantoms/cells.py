"""A phantom of a whole cell with its organelles.

Structures are drawn one after the other and kept only where a look at the signed distances of all earlier ones shows
the wanted gap; one smooth warp then bends the whole cell, which can neither close a gap nor change the topology.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats, Triple
from meshcell.core.randomness import generator
from meshcell.core.types import Volume
from meshcell.core.units import convert
from meshcell.core.validation import checked_spacing
from meshcell.phantoms import organelles, signed_distances as sdf
from meshcell.phantoms.organelles import BLEND, NUCLEUS_SCATTER, NUCLEUS_SHIFT, Counts, Sizes
from meshcell.phantoms.signed_distances import Grid, Shape
from meshcell.phantoms.warps import Warp, combined, waves

logger = logging.getLogger("meshcell")

NAMES = {1: "cytosol", 2: "er", 3: "mitochondrion", 4: "nucleus", 5: "vesicle"}
CYTOSOL, ER, MITOCHONDRION, NUCLEUS, VESICLE = NAMES
DEFAULT_GAP = 0.04
# Waves of the warp: number, wavelength and amplitude in the cell's least half width.
WAVES = ((3, 0.9, 0.009), (2, 2.2, 0.03))


def cell(
    shape: tuple[int, int, int],
    spacing: Any,
    *,
    rng: int | np.random.Generator,
    gap: Any = None,
    nucleus: float = 0.42,
    mitochondria: int = 8,
    sheets: int = 3,
    er_nodes: int = 24,
    vesicles: int = 40,
    mitochondrion: Any = 0.26,
    er_thickness: Any = 0.08,
    vesicle: Any = 0.14,
    tries: int = 200,
) -> Volume:
    """Draw a cell that fills its box: nucleus, mitochondria, a network of ER tubules and sheets, vesicles.

    Parameters
    ----------
    shape : three ints
        Voxels along x, y, z.
    spacing : float, text, or three of them
        um per voxel, or texts such as "20 nm".
    rng : int or Generator
        The same seed gives the same geometry in the same box (shape times spacing) at every spacing, and the same
        bytes at the same spacing.
    gap : float or text, optional
        Least distance between any two structures, from them to the membrane, and from the membrane to the box, um;
        at least two voxels. By default 0.04 um, or two voxels where those are more.
    nucleus : float
        Radius of the nucleus in radii of the cell.
    mitochondria, sheets, er_nodes, vesicles : int
        How many mitochondria, ER sheets on the nucleus, junctions of ER tubules, and vesicles to try to place.
    mitochondrion, er_thickness, vesicle : float or text
        Diameters (of a sheet: the thickness), um; each mitochondrion and vesicle varies by up to a fifth.
    tries : int
        Draws per structure before it is given up; how many found room is logged.

    Returns
    -------
    Volume
        Labels 1 cytosol, 2 er, 3 mitochondrion, 4 nucleus, 5 vesicle, whatever was placed. The box is centred at 0.

    Raises
    ------
    ValueError
        A box too small for the largest structure, with the one that it takes; a gap below two voxels.

    Examples
    --------
    >>> volume = cell((60, 60, 60), "50 nm", rng=1, vesicles=3)
    >>> volume.regions
    {1: 'cytosol', 2: 'er', 3: 'mitochondrion', 4: 'nucleus', 5: 'vesicle'}
    """
    step, counts = checked_spacing(spacing), Counts(mitochondria, er_nodes, sheets, vesicles, tries)
    sizes = Sizes(
        gap=max(DEFAULT_GAP, 2 * max(step)) if gap is None else convert(gap, "um", "gap"),
        er_thickness=convert(er_thickness, "um", "er_thickness"),
        mitochondrion=convert(mitochondrion, "um", "mitochondrion"),
        vesicle=convert(vesicle, "um", "vesicle"),
    )
    grid = _grid(shape, step)
    _check_room(grid, sizes, counts, nucleus)
    warp, shapes = _layout(np.array(grid.shape) * step, sizes, counts, nucleus, generator(rng))
    labels = sdf.inside(shapes[CYTOSOL], grid, warp).astype(np.uint8)
    for label, organelle in shapes.items():
        if label != CYTOSOL:
            labels[sdf.inside(organelle, grid, warp)] = label
    if min(sizes.er_thickness, sizes.vesicle) < 2 * max(step):
        logger.warning("cell: parts thinner than two voxels (%g um) may break into pieces", 2 * max(step))
    return Volume(labels, step, grid.origin, NAMES)


def _grid(shape: Any, step: Triple) -> Grid:
    counts = tuple(shape)
    if len(counts) != 3 or any(int(n) != n or n < 1 for n in counts):
        raise ValueError(f"shape should be three whole numbers of voxels (nx, ny, nz); got {shape!r}")
    x, y, z = (int(n) for n in counts)
    ox, oy, oz = (-(n - 1) / 2 * h for n, h in zip((x, y, z), step, strict=True))
    return Grid((x, y, z), step, (ox, oy, oz))


def _check_room(grid: Grid, sizes: Sizes, counts: Counts, nucleus: float) -> None:
    if not 0 < nucleus <= 0.8:
        raise ValueError(f"nucleus should be a share of the cell's radius between 0 and 0.8; got {nucleus!r}")
    step = np.array(grid.spacing)
    # A hair below two voxels is two voxels in floating point.
    if not sizes.gap >= 2 * step.max() * (1 - 1e-9):
        raise ValueError(
            f"gap should be at least two voxels, {2 * step.max():g} um at this spacing; got {sizes.gap:g} um; "
            "take a wider gap or a finer spacing"
        )
    asked = {
        "er_thickness": sizes.er_thickness * bool(counts.er_nodes + counts.sheets),
        "mitochondrion": sizes.mitochondrion * bool(counts.mitochondria),
        "vesicle": sizes.vesicle * bool(counts.vesicles),
    }
    widest = max(asked, key=lambda name: asked[name])
    strain, reach = (sum(n * f for n, f in terms) for terms in _wave_bounds())
    # Between nucleus and membrane the widest structure needs itself and a gap on either side.
    shell = asked[widest] + 2 * sizes.gap * (1 + strain)
    radius = shell / (1 - nucleus * (1 + NUCLEUS_SCATTER) - NUCLEUS_SHIFT)
    need = np.ceil(2 * (radius + sizes.gap) / (1 - reach) / step).astype(int)
    if np.any(np.array(grid.shape) < need):
        raise ValueError(
            f"the box is too small: between nucleus and membrane {widest} = {asked[widest]:g} um with gaps of "
            f"{sizes.gap:g} um has no room; it takes at least {tuple(need.tolist())} voxels at this spacing; "
            f"got {grid.shape}; take more voxels or a smaller {widest}, gap or nucleus"
        )


def _wave_bounds() -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Return number and greatest strain, number and reach, of the waves of the warp in a cell of half width 1."""
    strains = [(n, 2 * np.pi / length * 1.25 * height) for n, length, height in WAVES]
    return strains, [(n, height) for n, _, height in WAVES]


# --- the layout, before the warp ---


def _layout(
    box: Array, sizes: Sizes, counts: Counts, nucleus: float, rng: np.random.Generator
) -> tuple[Warp, dict[int, Shape]]:
    """Place everything; `box` holds the edge lengths in um. Returns the warp and label -> shape."""
    bends, bodies, er, chondria, bubbles = rng.spawn(5)
    least = float(box.min()) / 2
    warp = combined(*(waves(n, length * least, height * least, rng=bends) for n, length, height in WAVES))
    radii = box / 2 - warp.reach - sizes.gap
    membrane = sdf.superellipsoid((0, 0, 0), radii, bodies.uniform(2.0, 2.4))
    kernel, middle = organelles.nucleus(radii, nucleus, bodies)
    # The warp may shorten a gap by this factor, so it is laid out that much wider.
    gap = sizes.gap * (1 + warp.strain)
    shapes = {CYTOSOL: membrane, NUCLEUS: kernel}

    def room(points: Any) -> Floats:
        """Distance to the nearest structure or the membrane, less the gap."""
        free = -sdf.distance(membrane, points)
        for label, shape in shapes.items():
            if label != CYTOSOL:
                free = np.minimum(free, sdf.distance(shape, points))
        return free - gap

    # The stiff ones first: tubules find their way around what is there already.
    sausages = organelles.mitochondria(room, radii, middle, (sizes.mitochondrion, gap), counts, chondria)
    if sausages:
        shapes[MITOCHONDRION] = sdf.union(*sausages)
    network = organelles.network(
        room, lambda points: sdf.distance(kernel, points) - gap, radii, middle, sizes, counts, er
    )
    if network:
        shapes[ER] = sdf.union(*network, blend=BLEND * sizes.er_thickness)
    balls = organelles.vesicles(room, radii, (sizes.vesicle, gap), counts, bubbles)
    if balls:
        shapes[VESICLE] = sdf.union(*balls)
    logger.info(
        "cell: placed %d of %d mitochondria, %d of %d vesicles, %d parts of ER, gaps of %g um",
        *(len(sausages), counts.mitochondria, len(balls), counts.vesicles, len(network), sizes.gap),
    )
    return warp, shapes
