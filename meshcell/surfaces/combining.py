"""Closed bodies put together into one surface: walls once, and on both sides of each the innermost region."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.errors import MeshError
from meshcell.core.hints import require
from meshcell.core.measures import enclosed
from meshcell.core.types import Surface
from meshcell.core.validation import OUTSIDE, labels_in
from meshcell.geometry.intersections import intersecting_pairs
from meshcell.geometry.openings import open_triangles
from meshcell.surfaces.nets import (
    checked_tolerance,
    degenerate,
    kept,
    merged,
    once,
    same_corners,
    with_common_diagonals,
    without_loose_points,
)
from meshcell.surfaces.orientation import orient
from meshcell.surfaces.pieces import Layer, layers_of
from meshcell.surfaces.windings import Tree, tree_of, wind

log = logging.getLogger("meshcell")

# Of a volume: what regions may miss of their bodies by rounding.
SAME_VOLUME = 1e-6
# Points by which an overlap is measured.
SAMPLES = 20_000
# Of a body's volume: more than that in common is all of it, as points measure it. So many pairs are named.
WHOLE, NAMED = 0.97, 10
REMEDY = 'voxelize or tetrahedralize(surface, method="winding") give such parts to the smaller body'
IN_ONE = "move them apart, or put the triangles of all into one Surface with the sides (label, 0): of that "


class Bodies(NamedTuple):
    """Closed bodies on common points, as layers of pieces, see `pieces`: every triangle once, and which own it.

    Parameters
    ----------
    points, triangles
        Each triangle once.
    behind, front : (t, l) int32
        The piece of every layer that lies on that side of a triangle of its own; else -1.
    trees : list of Tree
        Of the layers.
    layers, labels : (p,) int
        Layer and body of every piece.
    volumes : (p,) um^3
    ranks : (p,) int
        Place of every piece by its volume; of two alike that of the smaller body comes first.
    boxes : (p, 2, 3) um
    rows : (t,) int
        Row of the triangle in the surface that was given.
    """

    points: Floats
    triangles: Ints
    behind: Array
    front: Array
    trees: list[Tree]
    layers: Array
    labels: Array
    volumes: Floats
    ranks: Array
    boxes: Floats
    rows: Array

    def owned(self) -> Array:
        """Mark the triangles (t, l) of every layer."""
        return np.asarray((self.behind >= 0) | (self.front >= 0))

    def tree(self, piece: int) -> Tree:
        """Collect the triangles around a piece in a tree."""
        layer = self.layers[piece]
        if np.count_nonzero(self.layers == layer) == 1:
            return self.trees[int(layer)]
        out = self.triangles[self.behind[:, layer] == piece]
        back = self.triangles[self.front[:, layer] == piece][:, ::-1]
        return tree_of(np.ascontiguousarray(self.points[np.concatenate([out, back])]))


def combine(bodies: Mapping[str, Surface], *, tolerance: float | str | None = None) -> Surface:
    """Put closed surfaces together into one with a region for each.

    Parameters
    ----------
    bodies : dict[str, Surface]
        Name -> closed surface of one region; which way its triangles are turned does not matter. It may have several
        pieces, in surroundings of their own, and cavities: shells within others of the same body, with no shell of
        another body between the two; with one between it is a piece of its own in there, which is a warning.
    tolerance : float or text, optional
        um, or "1 nm"; points nearer to each other are one. By default what rounding to float32 makes of the
        coordinates.

    Returns
    -------
    Surface
        Regions 1, 2, ... in the order of `bodies`, under their names. Where a piece lies within another the inner one
        has the place: its sides name the other one as its surroundings. A wall on which two bodies have the same
        triangles becomes one wall between them.

    Raises
    ------
    MeshError
        Bodies that overlap: each pair is named with the volume that they share. Bodies that touch without having the
        same triangles there, that are open, or that cut through themselves; `where` lists rows of all triangles in the
        order of `bodies`.
    ValueError
        Nothing to combine, a surface with several regions, or a tolerance below 0 or above a twentieth of a body.

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
    require(bodies, Mapping, 'combine({"cell": surface, "nucleus": another})')
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
    every = Surface(points, triangles, sides, names, resolution=resolution)
    painted = [f"{name!r} ({', '.join(surface.patches)})" for name, surface in bodies.items() if surface.patches]
    if painted:
        warnings.warn(f"patches are left out, paint them anew: {', '.join(painted)}", stacklevel=2)
    one = together(every, checked_tolerance(every, tolerance), IN_ONE + REMEDY)
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


def together(surface: Surface, tolerance: float | None = None, remedy: str = REMEDY) -> Surface:
    """Give every side of bodies that were all given against "outside" the innermost body there, see `combine`."""
    found = _bodies(surface, tolerance)
    _refuse_crossings(found, surface, remedy)
    insides = _insides(found)
    pieces = np.stack([_innermost(found, inside) for inside in insides], axis=1)
    _refuse_misfits(found, insides, pieces, surface, remedy)
    sides = np.append(found.labels, OUTSIDE)[pieces]
    # As everywhere: normals point from the larger label into the smaller one.
    back = sides[:, 0] < sides[:, 1]
    triangles = np.where(back[:, None], found.triangles[:, ::-1], found.triangles)
    sides = np.where(back[:, None], sides[:, ::-1], sides).astype(np.int32)
    keep = sides[:, 0] != sides[:, 1]
    rows = np.full(len(surface.triangles), -1)
    rows[found.rows[keep]] = np.arange(keep.sum())
    patches = {name: rows[old][rows[old] >= 0] for name, old in surface.patches.items()}
    one = replace(surface, points=found.points, triangles=triangles[keep], sides=sides[keep], patches=patches)
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
        parts.append((label, own, turned))
    layers = layers_of(net.points, with_common_diagonals(net.points, parts, surface.patches))
    _warn_of_layers(layers, surface)
    return _measured(net.points, layers)


def _warn_of_layers(layers: list[Layer], surface: Surface) -> None:
    labels = [layer.label for layer in layers]
    said = [repr(surface.names[label]) for label in sorted(set(labels)) if labels.count(label) > 1]
    if said:
        warnings.warn(
            f"{', '.join(said)} have a shell within another body that lies within themselves; it is taken for a piece "
            "of its own in there, not for a cavity",
            stacklevel=3,
        )


def _measured(points: Floats, layers: list[Layer]) -> Bodies:
    """List every triangle of the layers once, and measure their pieces."""
    triangles = np.concatenate([layer.triangles for layer in layers])
    groups, first, agree = same_corners(triangles)
    behind, front = (np.full((len(first), len(layers)), -1, np.int32) for _ in range(2))
    counts = [int(layer.pieces.max()) + 1 for layer in layers]
    starts = np.cumsum([0, *counts])
    pieces = np.concatenate([layer.pieces + n for layer, n in zip(layers, starts[:-1], strict=True)])
    layer_of = np.repeat(np.arange(len(layers)), [len(layer.rows) for layer in layers])
    behind[groups[agree], layer_of[agree]] = pieces[agree]
    front[groups[~agree], layer_of[~agree]] = pieces[~agree]
    corners = points[triangles]
    boxes = np.full((starts[-1], 2, 3), np.inf)
    np.minimum.at(boxes[:, 0], pieces, corners.min(axis=1))
    np.minimum.at(boxes[:, 1], pieces, -corners.max(axis=1))
    boxes[:, 1] *= -1
    a, b, c = np.moveaxis(corners - boxes[pieces, 0][:, None], 1, 0)
    volumes = np.bincount(pieces, np.einsum("ij,ij->i", a, np.cross(b, c)) / 6, starts[-1]).astype(np.float64)
    labels = np.repeat([layer.label for layer in layers], counts)
    of_body = np.bincount(labels, volumes)[labels]
    ascending = np.sort(volumes)
    steps = np.cumsum(np.append(True, np.diff(ascending) > SAME_VOLUME * ascending[1:]))
    ranks = np.empty(len(volumes), np.int64)
    ranks[np.lexsort((of_body, steps[np.searchsorted(ascending, volumes)]))] = np.arange(len(volumes))
    trees = [tree_of(np.ascontiguousarray(points[layer.triangles])) for layer in layers]
    rows = np.concatenate([layer.rows for layer in layers])
    numbers = np.repeat(np.arange(len(layers)), counts)
    net = np.ascontiguousarray(triangles[first])
    return Bodies(points, net, behind, front, trees, numbers, labels, volumes, ranks, boxes, rows[first])


def _insides(found: Bodies) -> tuple[Array, Array]:
    """Return (t, l) what is behind and in front of the triangles: the piece of each layer that is there, or -1."""
    centres = found.points[found.triangles].mean(axis=1)
    behind, front, owned = found.behind.copy(), found.front.copy(), found.owned()
    for layer, tree in enumerate(found.trees):
        low, high = tree.corners.min(axis=(0, 1)), tree.corners.max(axis=(0, 1))
        ask = np.flatnonzero(~owned[:, layer] & ((centres >= low) & (centres <= high)).all(axis=1))
        ask = ask[wind(tree, np.ascontiguousarray(centres[ask])) > 0.5]
        behind[ask, layer] = front[ask, layer] = _piece_at(found, layer, centres[ask])
    return behind, front


def _piece_at(found: Bodies, layer: int, places: Floats) -> Array:
    """Return the piece of a layer in which places lie that are known to lie in one of them."""
    pieces = np.flatnonzero(found.layers == layer)
    result = np.full(len(places), pieces[0])
    if len(pieces) == 1 or not len(places):
        return result
    near = [np.flatnonzero(((places >= low) & (places <= high)).all(axis=1)) for low, high in found.boxes[pieces]]
    counts = np.bincount(np.concatenate(near), minlength=len(places))
    for piece, there in zip(pieces.tolist(), near, strict=True):
        # In the box of one piece alone: there is nothing to ask.
        result[there[counts[there] == 1]] = piece
        ask = there[counts[there] > 1]
        if len(ask):
            result[ask[wind(found.tree(piece), np.ascontiguousarray(places[ask])) > 0.5]] = piece
    return result


def _innermost(found: Bodies, inside: Array) -> Array:
    """Return (t,) the smallest piece that is there, -1 where none is."""
    ranks = np.where(inside >= 0, found.ranks[inside], len(found.ranks))
    return np.asarray(np.take_along_axis(inside, ranks.argmin(axis=1)[:, None], axis=1)[:, 0])


def _refuse_crossings(found: Bodies, surface: Surface, remedy: str) -> None:
    """Refuse bodies whose triangles meet anywhere but in whole triangles, edges and points; say by how much."""
    pairs = intersecting_pairs(found.points, found.triangles)
    if not len(pairs):
        return
    pieces = np.maximum(found.behind, found.front)
    first, second = ([set(row[row >= 0].tolist()) for row in pieces[pairs[:, k]]] for k in (0, 1))
    crossing = [(p, q) for one, two in zip(first, second, strict=True) for p in one for q in two]
    labels = [tuple(found.labels[list(pair)].tolist()) for pair in crossing]
    for label in labels_in(found.labels):
        n_own = labels.count((int(label), int(label)))
        if n_own:
            raise MeshError(
                f"bodies should not cut through themselves; {n_own} pairs of triangles of "
                f"{surface.names[int(label)]!r} do; smooth less, "
                'or mesh it by tetrahedralize(surface, method="winding")',
                found.rows[pairs],
            )
    meeting = {(min(pair), max(pair)) for pair in crossing}
    raise MeshError(f"bodies should not overlap; {_overlaps(found, surface, meeting)}; {remedy}", found.rows[pairs])


def _overlaps(found: Bodies, surface: Surface, meeting: set[tuple[int, int]]) -> str:
    """Name the bodies that share a part, with its volume, by pairs of pieces; where none do, those that touch."""
    of_bodies = sorted({tuple(sorted(found.labels[list(pair)].tolist())) for pair in meeting})
    said, touching = [], []
    nested = set(_nested(found, _insides(found)))
    twice = _twice(found, nested)
    for a, b in of_bodies[:NAMED]:
        shared = 0.0
        for p in np.flatnonzero(found.labels == a).tolist():
            apart = (found.boxes[:, 0] >= found.boxes[p, 1]) | (found.boxes[:, 1] <= found.boxes[p, 0])
            for q in np.flatnonzero((found.labels == b) & ~apart.any(axis=1)).tolist():
                if (p, q) in nested and (q, p) in nested:
                    shared += found.volumes[p] if (p, q) in twice else 0.0
                elif (min(p, q), max(p, q)) in meeting or not {(p, q), (q, p)} & nested:
                    shared += _overlap(found, p, q)
        names = f"{surface.names[a]!r} and {surface.names[b]!r}"
        if shared:
            said.append(f"{names} share about {shared:.3g} um^3")
        else:
            touching.append(f"{names} touch, but the wall between them is not cut into the same triangles in both")
    more = f"; {len(of_bodies) - NAMED} more pairs meet" if len(of_bodies) > NAMED else ""
    return "; ".join(said or touching) + more


def _overlap(found: Bodies, p: int, q: int) -> float:
    """Measure what two pieces share, um^3; one that lies within the other is no overlap."""
    shared = _shared_volume(found.tree(p), found.tree(q))
    small, large = sorted(found.volumes[[p, q]].tolist())
    return 0.0 if WHOLE * small <= shared <= WHOLE * large else shared


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


def _nested(found: Bodies, insides: tuple[Array, Array]) -> list[tuple[int, int]]:
    """List pairs of pieces: the first lies within the second, which is there all along its inner side."""
    pairs = []
    for layer in range(len(found.trees)):
        for own, there in ((found.behind, insides[0]), (found.front, insides[1])):
            pairs.append((own[own[:, layer] >= 0, layer], there[own[:, layer] >= 0]))
    pieces = np.concatenate([own for own, _ in pairs])
    there = np.concatenate([around for _, around in pairs])
    order = np.argsort(pieces, kind="stable")
    starts = np.searchsorted(pieces[order], np.arange(len(found.volumes)))
    low, high = (reduce.reduceat(there[order], starts) for reduce in (np.minimum, np.maximum))
    inner, place = np.nonzero((low == high) & (low >= 0))
    return [(p, q) for p, q in zip(inner.tolist(), low[inner, place].tolist(), strict=True) if p != q]


def _refuse_misfits(found: Bodies, insides: tuple[Array, Array], pieces: Array, surface: Surface, remedy: str) -> None:
    """Hold the law of volumes: a piece has its own region and those of the pieces within it, and all is closed."""
    n = len(found.volumes)
    keep = pieces[:, 0] != pieces[:, 1]
    one = Surface(found.points, found.triangles[keep], (pieces[keep] + 1).astype(np.int32))
    regions = enclosed(one.points, one.triangles, one.sides)
    own = np.array([regions.get(p + 1, 0.0) for p in range(n)])
    bad = _misfits(found, set(_nested(found, insides)), own)
    if not bad.any() and not len(open_triangles(one)):
        return
    suspects = np.flatnonzero(bad) if bad.any() else np.arange(n)
    meeting = {
        (min(p, q), max(p, q))
        for p in suspects.tolist()
        for q in range(n)
        if found.labels[p] != found.labels[q] and _shared_volume(found.tree(p), found.tree(q)) > 0
    }
    raise MeshError(f"bodies should not overlap; {_overlaps(found, surface, meeting)}; {remedy}")


def _misfits(found: Bodies, nested: set[tuple[int, int]], own: Floats) -> Array:
    """Mark pieces (p,) that break the law, by the volumes of their own regions."""
    filled = own.copy()
    around: dict[int, list[int]] = {}
    for p, q in nested:
        filled[q] += own[p]
        around.setdefault(p, []).append(q)
    bad = np.abs(filled - found.volumes) > SAME_VOLUME * found.volumes
    # The others leave nothing of a body.
    of_body = np.bincount(found.labels, found.volumes)
    bad |= (np.bincount(found.labels, own) <= SAME_VOLUME * of_body)[found.labels]
    # What is around a piece lies one in the other, or they overlap where that piece hides it.
    for outer in around.values():
        outer.sort(key=lambda k: int(found.ranks[k]))
        for pair in pairwise(outer):
            bad[list(pair)] |= pair not in nested
    for p, q in _twice(found, nested):
        bad[[p, q]] = True
    return np.asarray(bad)


def _twice(found: Bodies, nested: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the pieces that two bodies have, unless all of just one body lies in the other: then it is that one's."""
    within = {(p, int(found.labels[q])) for p, q in nested}

    def lies(one: int, other: int) -> bool:
        own = np.flatnonzero(found.labels == found.labels[one]).tolist()
        return all((piece, int(found.labels[other])) in within for piece in own)

    return {(p, q) for p, q in nested if (q, p) in nested and lies(p, q) == lies(q, p)}
