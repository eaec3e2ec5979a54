"""Geometric stand-ins for well-known macromolecules: unions of balls, rods and ellipsoids of the published sizes.

They have the outline of the molecule at some 2 nm, to about a nanometre, not its structure: use a density map where
that matters. The entry of the Protein Data Bank beside each is one to take instead. A molecule with the water in its
crevices fills between 0.9 and 1.6 times what its mass takes up dry, which all of them keep to.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from meshcell.core.arrays import Array, Floats, frozen
from meshcell.core.rounding import sine_cosine
from meshcell.phantoms import signed_distances as sdf
from meshcell.phantoms.signed_distances import Shape

NM = 1e-3  # um
# Parts of a voxel's edge by which the share of a molecule in it is counted.
PARTS = 6


def _ball(x: float, y: float, z: float, radius: float) -> Shape:
    return sdf.ball(np.array([x, y, z]) * NM, radius * NM)


def _rod(start: Sequence[float], end: Sequence[float], radius: float) -> Shape:
    return sdf.cone(np.array(start) * NM, np.array(end) * NM, radius * NM, radius * NM)


def _egg(centre: Sequence[float], radii: Sequence[float]) -> Shape:
    return sdf.ellipsoid(np.array(centre) * NM, np.array(radii) * NM)


def _ring(n: int, ring: float, z: float, radius: float) -> Shape:
    """Put n balls on a circle around z."""
    sines, cosines = sine_cosine(2 * np.pi * np.arange(n) / n)
    return sdf.union(*(_ball(ring * c, ring * s, z, radius) for s, c in zip(sines, cosines, strict=True)))


def _stack(n: int, ring: float, heights: Sequence[float], radius: float) -> Shape:
    return sdf.union(*(_ring(n, ring, z, radius) for z in heights))


# Sizes in nm; after each the source of its outline.
SHAPES: dict[str, tuple[Shape, ...]] = {
    # 80S, 25-30 nm, 60S and 40S (PDB 4V6X; Anger 2013).
    "ribosome": (_egg((0, 0, 4), (12.5, 11, 8.5)), _egg((0, 1, -7), (11, 7, 5.5))),
    # 70S, 20-25 nm (PDB 4V4R).
    "bacterial ribosome": (_egg((0, 0, 3), (10.5, 9.5, 7)), _egg((0, 1, -6), (9.5, 6, 4.5))),
    # 26S: core of 15 nm and two caps, 45 nm long (PDB 4CR2, with one cap; Unverdorben 2014).
    "proteasome": (
        _stack(7, 3.7, (-5.7, -1.9, 1.9, 5.7), 2.1), _egg((1.5, 0, 13), (8, 6, 6)), _egg((-1.5, 0, -13), (8, 6, 6)),
    ),
    # 20S: four rings of seven, 11 x 15 nm (PDB 1PMA; Lowe 1995).
    "proteasome core": (_stack(7, 3.6, (-5.6, -1.9, 1.9, 5.6), 2.1),),
    # GroEL: two rings of seven, 14 x 15 nm (PDB 1OEL; Braig 1995).
    "chaperonin": (_stack(7, 4.6, (-5.2, -1.8, 1.8, 5.2), 2.3),),
    # TRiC: two rings of eight, 15-16 nm (PDB 4V94).
    "tric": (_stack(8, 5.1, (-5.6, -2, 2, 5.6), 2.5),),
    # Fatty acid synthase of yeast: a barrel of 26 x 22 nm (PDB 2UV8; Leibundgut 2007).
    "fatty acid synthase": (_stack(6, 8.0, (-5, 5), 3.6), _egg((0, 0, 0), (11, 11, 3.5)), _ball(0, 0, 10, 3.4),
                            _ball(0, 0, -10, 3.4)),
    # p97/VCP: two rings of six, 16 x 9 nm (PDB 3CF3).
    "p97": (_stack(6, 4.8, (-2.2, 2.2), 2.7),),
    # ClpB: a ring of six, 14 x 9 nm (PDB 1QVR).
    "clpb": (_stack(6, 4.2, (-2.5, 0, 2.5), 2.2),),
    # Rubisco: eight large, eight small, 11 nm (PDB 1BXN).
    "rubisco": (_stack(4, 3.0, (-2.4, 2.4), 2.8), _ball(0, 0, 4.2, 1.6), _ball(0, 0, -4.2, 1.6)),
    # Glutamine synthetase: two rings of six, 14 x 9 nm (PDB 1FPY).
    "glutamine synthetase": (_stack(6, 4.4, (-2.2, 2.2), 2.5),),
    # Apoferritin: a sphere of 12 nm with a hollow of 8 (PDB 1FHA): filled here, as at 2 nm.
    "ferritin": (_ball(0, 0, 0, 6.0),),
    # Beta-galactosidase: a flat tetramer, 18 x 13 nm (PDB 6CVM).
    "beta-galactosidase": (_egg((4.2, 2.6, 0), (4.6, 3.6, 3)), _egg((-4.2, 2.6, 0), (4.6, 3.6, 3)),
                           _egg((4.2, -2.6, 0), (4.6, 3.6, 3)), _egg((-4.2, -2.6, 0), (4.6, 3.6, 3))),
    # Pyruvate kinase of yeast: a flat tetramer, 12 x 9 x 5 nm (PDB 1A3W).
    "pyruvate kinase": (_egg((3, 2, 0), (3.2, 2.6, 2.6)), _egg((-3, 2, 0), (3.2, 2.6, 2.6)),
                        _egg((3, -2, 0), (3.2, 2.6, 2.6)), _egg((-3, -2, 0), (3.2, 2.6, 2.6))),
    # Hsp90 dimer: a V of 12 nm (PDB 2CG9).
    "hsp90": (_rod((0, 0, -4), (2.4, 0, 4), 2.1), _rod((0, 0, -4), (-2.4, 0, 4), 2.1)),
    # Hsp70: 70 kDa, 10 x 5 nm (chain B of PDB 3D2F).
    "hsp70": (_ball(0, 0, 2, 2.5), _rod((0, 0, -1), (0.4, 0, -3), 1.9)),
    # Cand1-Cul1-Roc1: a bent rod of 17 nm (PDB 1U6G).
    "cullin complex": (_rod((-6, 0, 0), (0, 0, 2.5), 2.4), _rod((0, 0, 2.5), (6, 0, 0), 2.4)),
    # Immunoglobulin G: Y of 15 nm (PDB 1IGT).
    "antibody": (_rod((0, 0, 0), (0, 0, -5), 2.0), _rod((0, 0, 1), (5, 0, 4), 2.0), _rod((0, 0, 1), (-5, 0, 4), 2.0)),
    # Haemoglobin: 6.4 x 5.5 x 5 nm (PDB 1A3N).
    "haemoglobin": (_egg((0, 0, 0), (3.2, 2.8, 2.5)),),
    # Phosphofructokinase of bacteria: a tetramer (PDB 4PFK), drawn from its mass.
    "phosphofructokinase": (_ring(2, 2.3, 1.1, 2.5), _ball(0, 2.0, -1.1, 2.5), _ball(0, -2.0, -1.1, 2.5)),
    # Catalase tetramer, 10 nm (PDB 8CAT).
    "catalase": (_egg((0, 0, 0), (5.2, 4.6, 4.2)),),
    # Mitochondrial ATP synthase: head of 10 nm, stalk, ring in the membrane at z = 0 (Davies 2011).
    "atp synthase": (_egg((0, 0, 12.8), (5.2, 5.2, 4.3)), _rod((0, 0, 2), (0, 0, 10), 1.2),
                     _egg((0, 0, 0), (3.6, 3.6, 3)), _rod((4, 0, -1), (4.6, 0, 10), 1.0)),
    # A tetrameric channel with a wider ring in the cytosol, such as BK (PDB 5TJ6; Tao 2017).
    "channel": (_ring(4, 2.4, 0, 2.2), _ring(4, 3.6, 5, 3.0)),
    # Spike of a coronavirus: stalk and head, 20 nm above the membrane (PDB 6VXX).
    "spike": (_rod((0, 0, -2), (0, 0, 10), 1.5), _stack(3, 2.6, (13, 17), 3.0)),
}  # fmt: skip
# The twenty of the crowding experiment, all of the cytosol.
CYTOSOLIC = tuple(name for name in SHAPES if name not in ("atp synthase", "channel", "spike", "bacterial ribosome"))


@functools.lru_cache(maxsize=64)
def standin(name: str, step: float) -> tuple[Array, Floats]:
    """Sample a stand-in's density; the arrays are kept for the next sample and read-only.

    Parameters
    ----------
    name : str
        A key of SHAPES.
    step : float, um
        Voxel edge.

    Returns
    -------
    (values, centre)
        (n, m, k) float32, the share of every voxel that lies inside; index coordinates of the molecule's origin: its
        middle, or where the membrane's middle lies.

    Raises
    ------
    ValueError
        An unknown name; lists the known ones. A molecule smaller than a voxel.

    Examples
    --------
    >>> values, centre = standin("ferritin", 0.001)
    >>> abs(values.sum() / (4 / 3 * np.pi * 6**3) - 1) < 0.02
    np.True_
    """
    if name not in SHAPES:
        raise ValueError(
            f"density should be a stand-in, a file or a Volume; got {name!r}; there are {', '.join(SHAPES)}"
        )
    shape = sdf.union(*SHAPES[name])
    low, high = (np.asarray(corner) for corner in shape.bounds)
    if (high - low).min() < step:
        raise ValueError(
            f"{name!r} should be wider than a voxel of {step:.4g} um; it is {(high - low).min():.4g} um wide: it is "
            "smaller than a voxel; take a finer spacing"
        )
    first, last = np.floor(low / step).astype(int) - 1, np.ceil(high / step).astype(int) + 2
    fine = step / PARTS
    x, y, z = (int(n) for n in (last - first) * PARTS)
    corner = first * step - (step - fine) / 2
    grid = sdf.Grid((x, y, z), (fine, fine, fine), (float(corner[0]), float(corner[1]), float(corner[2])))
    parts = sdf.inside(shape, grid).reshape(x // PARTS, PARTS, y // PARTS, PARTS, z // PARTS, PARTS)
    return frozen(parts.mean(axis=(1, 3, 5), dtype=np.float32)), frozen(-first.astype(np.float64))
