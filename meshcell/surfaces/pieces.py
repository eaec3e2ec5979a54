"""The pieces of closed bodies: shells with their cavities, in layers where another body lies between two shells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.types import Surface
from meshcell.geometry.topology import shells
from meshcell.surfaces.nets import same_corners
from meshcell.surfaces.windings import Tree, tree_of, wind

# Places at which a shell is asked whether it lies within another.
ASKED = 50


class Layer(NamedTuple):
    """Pieces of one body, none of which lies within another one.

    Parameters
    ----------
    label : int
        Of the body; it has several layers where another body lies between two of its shells.
    rows : (t,) int
        Of the triangles that were given.
    triangles : (t, 3) int32
        With normals out of the body.
    pieces : (t,) int
        Number of the piece within the layer.
    """

    label: int
    rows: Array
    triangles: Ints
    pieces: Array


@dataclass(frozen=True, eq=False)
class _Shell:
    """A closed shell of a body: the places of its triangles among the body's, corners, and who shares them."""

    body: int
    places: Array
    corners: Floats
    groups: Array

    @cached_property
    def tree(self) -> Tree:
        return tree_of(np.ascontiguousarray(self.corners))

    @cached_property
    def low(self) -> Floats:
        return np.asarray(self.corners.min(axis=(0, 1)), np.float64)

    @cached_property
    def high(self) -> Floats:
        return np.asarray(self.corners.max(axis=(0, 1)), np.float64)

    @cached_property
    def volume(self) -> float:
        """Signed, um^3: negative around a cavity."""
        a, b, c = np.moveaxis(self.corners - self.low, 1, 0)
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    def holds(self, other: _Shell) -> bool:
        """Tell whether another shell lies within this one; where both have the same triangles is not asked."""
        if (other.low < self.low).any() or (other.high > self.high).any():
            return False
        free = other.corners[~np.isin(other.groups, self.groups)]
        places = free[:: max(len(free) // ASKED, 1)].mean(axis=1)
        return len(places) > 0 and bool((np.abs(wind(self.tree, np.ascontiguousarray(places))) > 0.5).all())


def layers_of(points: Floats, bodies: Sequence[tuple[int, Array, Ints]]) -> list[Layer]:
    """Split closed bodies (label, rows, triangles with normals out of them) into their pieces.

    A shell within another one of the same body bounds a cavity, unless a shell of another body lies between the two:
    then it bounds a piece of its own, within that other body, and starts a layer.
    """
    groups = same_corners(np.concatenate([triangles for _, _, triangles in bodies]))[0]
    ends = np.cumsum([len(triangles) for _, _, triangles in bodies])
    found: list[_Shell] = []
    for body, (_, _, triangles) in enumerate(bodies):
        numbers, own = _numbers(points, triangles), groups[ends[body] - len(triangles) : ends[body]]
        order = np.argsort(numbers, kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
            found.append(_Shell(body, places, points[triangles[places]], own[places]))
    layers = []
    for body, (label, rows, triangles) in enumerate(bodies):
        others = [shell for shell in found if shell.body != body]
        for members, sign in _split([shell for shell in found if shell.body == body], 1, others):
            pieces = _pieces(members, sign)
            places = np.concatenate([shell.places for shell in members])
            numbers = np.repeat(pieces, [len(shell.places) for shell in members])
            turned = triangles[places] if sign > 0 else triangles[places][:, ::-1]
            layers.append(Layer(label, rows[places], turned, numbers))
    return layers


def _numbers(points: Floats, triangles: Ints) -> Array:
    """Return the number of the shell, seen from inside the body, for every triangle."""
    found = shells(Surface(points, triangles, np.tile([1, 0], (len(triangles), 1))))
    if len(found.open_edges):
        return np.zeros(len(triangles), np.int64)
    return np.unique(found.of_faces[:, 0], return_inverse=True)[1].ravel()


def _split(members: list[_Shell], sign: int, others: list[_Shell]) -> list[tuple[list[_Shell], int]]:
    """Return the layers of a body: their shells, and -1 for those that are to be turned."""
    hosts = _hosts(members, sign)
    for shell, host in hosts.items():
        between = [q.body for q in others if _strictly(members[host], q, members[shell])]
        if not any(between.count(body) % 2 for body in between):
            continue
        # What lies within it goes with it: a cavity there is a piece here, and the other way round.
        start = members[shell]
        inner = [s for s in members if s is start or start.holds(s)]
        outer = [s for s in members if not any(s is t for t in inner)]
        return _split(outer, sign, others) + _split(inner, -sign, others)
    return [(members, sign)]


def _strictly(outer: _Shell, between: _Shell, inner: _Shell) -> bool:
    # The boxes first: few shells come into question.
    if (between.low > inner.low).any() or (between.high < inner.high).any():
        return False
    return not np.isin(inner.groups, between.groups).any() and between.holds(inner) and outer.holds(between)


def _hosts(members: list[_Shell], sign: int) -> dict[int, int]:
    """Return for every cavity (its number) the smallest shell of the same body around it."""
    solid = [k for k, shell in enumerate(members) if sign * shell.volume > 0]
    low, high = (np.array([getattr(members[k], end) for k in solid]).reshape(-1, 3) for end in ("low", "high"))
    hosts = {}
    for k, shell in enumerate(members):
        if sign * shell.volume > 0:
            continue
        near = np.flatnonzero((low <= shell.low).all(axis=1) & (high >= shell.high).all(axis=1))
        around = [solid[n] for n in near if members[solid[n]].holds(shell)]
        if around:
            hosts[k] = min(around, key=lambda n: abs(members[n].volume))
    return hosts


def _pieces(members: list[_Shell], sign: int) -> Array:
    """Return the number of the piece of every shell: a shell of its own, or that of the shell around a cavity."""
    hosts = _hosts(members, sign)
    # A cavity in nothing is one of crossing shells, which are refused.
    keys = [hosts.get(k, k if sign * shell.volume > 0 else 0) for k, shell in enumerate(members)]
    return np.unique(keys, return_inverse=True)[1].ravel()
