"""Closed bodies put together into one surface: walls once, and on both sides of each the innermost region."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.errors import MeshError
from meshcell.core.measures import enclosed
from meshcell.core.types import Surface
from meshcell.core.validation import OUTSIDE, labels_in
from meshcell.geometry.intersections import intersecting_pairs
from meshcell.geometry.openings import open_triangles
from meshcell.surfaces.nets import degenerate, kept, merged, once, same_corners, without_loose_points
from meshcell.surfaces.orientation import orient
from meshcell.surfaces.windings import Tree, tree_of, wind

log = logging.getLogger("meshcell")

# Of a volume: what regions may miss of their bodies by rounding.
SAME_VOLUME = 1e-6
# Points by which an overlap is measured.
SAMPLES = 20_000
# Of a body's volume: more than that in common is all of it, as points measure it. So many pairs are named.
WHOLE, NAMED = 0.97, 10
REMEDY = 'voxelize or tetrahedralize(surface, method="winding") give such parts to the smaller body'


class Bodies(NamedTuple):
    """Closed bodies on common points: every distinct triangle, and which of them own it.

    Parameters
    ----------
    points, triangles
        Each triangle once.
    owners : (t, b) int8
        +1 where the body lies behind the triangle's normal, -1 where it lies in front, 0 where it is not of the body.
    trees : list of Tree
    volumes : (b,) um^3
    rows : (t,) int
        Row of the triangle in the surface that was given.
    """

    points: Floats
    triangles: Ints
    owners: Array
    trees: list[Tree]
    volumes: Floats
    rows: Array


def combine(bodies: Mapping[str, Surface], *, tolerance: float | None = None) -> Surface:
    """Put closed surfaces together into one with a region for each.

    Parameters
    ----------
    bodies : dict[str, Surface]
        Name -> closed surface of one region; which way its triangles are turned does not matter. It may have several
        pieces, and cavities: shells within others of the same body.
    tolerance : float, optional
        um; points nearer to each other are one. By default what rounding to float32 makes of the coordinates.

    Returns
    -------
    Surface
        Regions 1, 2, ... in the order of `bodies`, under their names. Where a body lies within another the inner one
        has the place: its sides name the other one as its surroundings. A wall on which two bodies have the same
        triangles becomes one wall between them.

    Raises
    ------
    MeshError
        Bodies that overlap: each pair is named with the volume that they share. Bodies that touch without having the
        same triangles there, that are open, or that cut through themselves; `where` lists rows of all triangles in the
        order of `bodies`.
    ValueError
        Nothing to combine, or a surface with several regions.

    Examples
    --------
    >>> from meshcell.core.types import Volume
    >>> from meshcell.geometry.measures import areas, enclosed_volumes
    >>> from meshcell.surfaces.extraction import extract
    >>> cell, nucleus = np.zeros((2, 8, 8, 8), int)
    >>> cell[1:7, 1:7, 1:7], nucleus[2:5, 2:5, 2:5] = 1, 1
    >>> surface = combine({"cell": extract(Volume(cell, 1.0)), "nucleus": extract(Volume(nucleus, 1.0))})
    >>> {name: round(volume, 6) for name, volume in enclosed_volumes(surface).items()}
    {'cell': 189.0, 'nucleus': 27.0}
    """
    names = {label: _checked(name, surface) for label, (name, surface) in enumerate(bodies.items(), 1)}
    if not names:
        raise ValueError('combine needs at least one body: combine({"cell": surface, "nucleus": surface})')
    offsets = np.cumsum([0, *(len(surface.points) for surface in bodies.values())])
    triangles = np.concatenate([s.triangles + n for s, n in zip(bodies.values(), offsets[:-1], strict=True)])
    # Whatever the sides were: the body behind, outside in front; the shells find their turn by themselves.
    sides = np.concatenate(
        [np.tile([label, OUTSIDE], (len(bodies[name].triangles), 1)) for label, name in names.items()]
    )
    points = np.concatenate([surface.points for surface in bodies.values()])
    resolutions = [surface.resolution for surface in bodies.values()]
    resolution = resolutions[0] if all(r == resolutions[0] for r in resolutions) else None
    one = together(Surface(points, triangles, sides, names, resolution=resolution), tolerance)
    log.info("combine: %d bodies, %d -> %d triangles", len(names), len(triangles), len(one.triangles))
    return one


def _checked(name: str, surface: Surface) -> str:
    if not isinstance(surface, Surface):
        raise TypeError(f"combine takes a Surface for every name; {name!r} is a {type(surface).__name__}")
    labels = labels_in(surface.sides)
    inner = [surface.names[int(label)] for label in labels if label != OUTSIDE]
    if len(inner) != 1 or OUTSIDE not in labels:
        raise ValueError(
            f"every body should be one closed surface against 'outside'; {name!r} has the regions "
            f"{', '.join(inner) or 'none'}; give each region of it as a body of its own"
        )
    return name


def together(surface: Surface, tolerance: float | None = None) -> Surface:
    """Give every side of bodies that were all given against "outside" the innermost body there, see `combine`."""
    found = _bodies(surface, tolerance)
    _refuse_crossings(found, surface)
    sides = np.stack([_innermost(found, inside) for inside in _insides(found)], axis=1)
    # As everywhere: normals point from the larger label into the smaller one.
    back = sides[:, 0] < sides[:, 1]
    triangles = np.where(back[:, None], found.triangles[:, ::-1], found.triangles)
    sides = np.where(back[:, None], sides[:, ::-1], sides).astype(np.int32)
    keep = sides[:, 0] != sides[:, 1]
    rows = np.full(len(surface.triangles), -1)
    rows[found.rows[keep]] = np.arange(keep.sum())
    patches = {name: rows[old][rows[old] >= 0] for name, old in surface.patches.items()}
    one = replace(surface, points=found.points, triangles=triangles[keep], sides=sides[keep], patches=patches)
    _refuse_misfits(found, one, surface)
    return without_loose_points(one)


def _bodies(surface: Surface, tolerance: float | None) -> Bodies:
    """Turn every body so that its normals point out of it, and list the triangles that they have in common once."""
    net = merged(surface, tolerance)
    rows = np.arange(len(net.triangles))
    labels = [int(label) for label in labels_in(net.sides) if label != OUTSIDE]
    parts = []
    for label in labels:
        own = rows[(net.sides == label).any(axis=1)]
        body = replace(net, triangles=net.triangles[own], sides=net.sides[own], patches={})
        keep = ~degenerate(body.triangles)
        own, body = own[keep], kept(body, keep)
        keep = once(body)
        own, body = own[keep], kept(body, keep)
        body = orient(body).surface
        open_rows = open_triangles(body)
        if len(open_rows) or not len(own):
            raise MeshError(
                f"bodies should be closed; {surface.names[label]!r} is open at {len(open_rows)} triangles; close it "
                "with repair(surface) first",
                own[open_rows],
            )
        turned = np.where((body.sides[:, 1] == label)[:, None], body.triangles[:, ::-1], body.triangles)
        parts.append((own, turned))
    own = np.concatenate([part[0] for part in parts])
    triangles = np.concatenate([part[1] for part in parts])
    body_of = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    groups, first, agree = same_corners(triangles)
    owners = np.zeros((len(first), len(parts)), np.int8)
    owners[groups, body_of] = np.where(agree, 1, -1)
    volumes = np.array([enclosed(net.points, t, np.tile([1, 0], (len(t), 1)))[1] for _, t in parts])
    trees = [tree_of(np.ascontiguousarray(net.points[t])) for _, t in parts]
    return Bodies(net.points, np.ascontiguousarray(triangles[first]), owners, trees, volumes, own[first])


def _insides(found: Bodies) -> tuple[Array, Array]:
    """Return (t, b) bool for what is behind and in front of the triangles: whether each body is there."""
    centres = found.points[found.triangles].mean(axis=1)
    behind, front = found.owners > 0, found.owners < 0
    for b, tree in enumerate(found.trees):
        low, high = tree.corners.min(axis=(0, 1)), tree.corners.max(axis=(0, 1))
        ask = np.flatnonzero((found.owners[:, b] == 0) & ((centres >= low) & (centres <= high)).all(axis=1))
        inside = wind(tree, np.ascontiguousarray(centres[ask])) > 0.5
        behind[ask, b] = front[ask, b] = inside
    return behind, front


def _innermost(found: Bodies, inside: Array) -> Array:
    """Return (t,) the label of the smallest body that is there, 0 where none is."""
    order = np.argsort(found.volumes, kind="stable")
    ordered = inside[:, order]
    return np.where(ordered.any(axis=1), order[ordered.argmax(axis=1)] + 1, OUTSIDE)


def _refuse_crossings(found: Bodies, surface: Surface) -> None:
    """Refuse bodies whose triangles meet anywhere but in whole triangles, edges and points; say by how much."""
    pairs = intersecting_pairs(found.points, found.triangles)
    if not len(pairs):
        return
    first, second = (found.owners[pairs[:, k]] != 0 for k in (0, 1))
    names = _names(surface)
    for b, name in enumerate(names):
        own = pairs[first[:, b] & second[:, b]]
        if len(own):
            raise MeshError(
                f"bodies should not cut through themselves; {len(own)} pairs of triangles of {name!r} do; smooth less, "
                'or mesh it by tetrahedralize(surface, method="winding")',
                found.rows[own],
            )
    crossing = [
        (a, b)
        for a, b in combinations(range(len(names)), 2)
        if ((first[:, a] & second[:, b]) | (first[:, b] & second[:, a])).any()
    ]
    raise MeshError(f"bodies should not overlap; {_overlaps(found, names, crossing)}; {REMEDY}", found.rows[pairs])


def _overlaps(found: Bodies, names: list[str], pairs: list[tuple[int, int]]) -> str:
    """Name the pairs that share a part of both, with its volume; where there are none, those that touch."""
    shared = {(a, b): _shared_volume(found.trees[a], found.trees[b]) for a, b in pairs[:NAMED]}
    # One that lies within the other is no overlap, but one body twice is.
    real = {
        (a, b): v
        for (a, b), v in shared.items()
        if v > 0 and (v < WHOLE * found.volumes[[a, b]].min() or v > WHOLE * found.volumes[[a, b]].max())
    }
    if real:
        said = [f"{names[a]!r} and {names[b]!r} share about {v:.3g} um^3" for (a, b), v in real.items()]
    else:
        said = [
            f"{names[a]!r} and {names[b]!r} touch (they share nothing, or one lies in the other) without the "
            "same triangles there"
            for a, b in shared
        ]
    return "; ".join(said) + (f"; {len(pairs) - NAMED} more pairs meet" if len(pairs) > NAMED else "")


def _shared_volume(one: Tree, other: Tree) -> float:
    """Measure the volume that lies in both of two bodies, um^3, by points in the box that both share.

    The points are those of Roberts 2018, The unreasonable effectiveness of quasirandom sequences: no direction in which
    walls could run is that of a row of them.
    """
    low = np.maximum(*(tree.corners.min(axis=(0, 1)) for tree in (one, other)))
    size = np.minimum(*(tree.corners.max(axis=(0, 1)) for tree in (one, other))) - low
    if not (size > 0).all():
        return 0.0
    golden = 1.2207440846057596  # g^4 = g + 1
    places = low + size * ((0.5 + np.arange(1, SAMPLES + 1)[:, None] * golden ** -np.arange(1.0, 4.0)) % 1)
    places = places[wind(one, places) > 0.5]
    return float(np.count_nonzero(wind(other, places) > 0.5) * size.prod() / SAMPLES)


def _refuse_misfits(found: Bodies, one: Surface, surface: Surface) -> None:
    """Hold the law of volumes: a body has its own region and those of the bodies within it, and all is closed."""
    names = _names(surface)
    regions = enclosed(one.points, one.triangles, one.sides)
    own = np.array([regions.get(b + 1, 0.0) for b in range(len(names))])
    # A body lies within another when it is there behind or in front of a triangle of its own.
    behind, front = _insides(found)
    within = np.zeros((len(names), len(names)), bool)
    for b in range(len(names)):
        rows = found.owners[:, b] != 0
        there = np.where((found.owners[rows, b] > 0)[:, None], behind[rows], front[rows])
        within[b] = there.all(axis=0)
    misfits = np.flatnonzero(np.abs(own @ within - found.volumes) > SAME_VOLUME * found.volumes)
    if not len(misfits) and not len(open_triangles(one)) and (own > SAME_VOLUME * found.volumes).all():
        return
    bad = set(misfits.tolist()) | set(np.flatnonzero(own <= SAME_VOLUME * found.volumes).tolist())
    pairs = [(a, b) for a, b in combinations(range(len(names)), 2) if not bad or a in bad or b in bad]
    pairs = [(a, b) for a, b in pairs if _shared_volume(found.trees[a], found.trees[b]) > 0]
    raise MeshError(f"bodies should not overlap; {_overlaps(found, names, pairs)}; {REMEDY}")


def _names(surface: Surface) -> list[str]:
    return [surface.names[int(label)] for label in labels_in(surface.sides) if label != OUTSIDE]
