"""Which way round: the sides of closed shells, from how deep each lies within others.

Triangles that share an edge and a region there say how one is to be turned if the other stays; what hangs together this
way is a shell, a sphere around one body or the walls of many that touch. Its regions are known but for one question:
which of them is at its outside? The region in which the shell lies answers it: "outside" for a shell that lies in none,
else what the innermost shell around it bounds there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats
from meshcell.core.types import Surface
from meshcell.core.validation import OUTSIDE, name_of
from meshcell.surfaces.walks import agreeing
from meshcell.surfaces.windings import Tree, tree_of, wind

# Of the area around a region, this much may be missing in holes for its shell to have an inside.
OPEN = 0.1
# Places at which a shell is asked whether it lies within another.
ASKED = 50


@dataclass(frozen=True, eq=False)
class Misplaced:
    """One shell that was given the wrong way round.

    Parameters
    ----------
    rows : (k,) int
        Its triangles.
    said : str
        What is wrong with it, in words.
    """

    rows: Array
    said: str


@dataclass(frozen=True, eq=False)
class Oriented:
    """A surface with right sides, and what was wrong.

    Parameters
    ----------
    surface : Surface
        The same triangles in the same order, some turned, some with another region instead of "outside".
    turned : (t,) bool
        Which were turned.
    misplaced : tuple of Misplaced
        The shells that were turned as a whole, or lay in a region that their sides do not name.
    """

    surface: Surface
    turned: Array
    misplaced: tuple[Misplaced, ...]


class Shell(NamedTuple):
    """Triangles that hang together: their rows, labels, and the volume of each label as they are turned now."""

    rows: Array
    labels: Array
    volumes: Floats
    closed: bool


def orient(surface: Surface) -> Oriented:
    """Turn triangles, and name the regions around inner shells, so that every shell agrees with what is around it.

    Parameters
    ----------
    surface : Surface
        May have holes; shells that cross each other, or whose regions contradict what is around them, stay as they are.

    Returns
    -------
    Oriented

    Notes
    -----
    Neighbours agree by a walk over their edges, in which the smaller part of a shell is turned. A shell with more than
    two regions has but one turn in which all but one of them have volumes; a sphere between two is turned so that its
    outer region is the one it lies in. A shell against "outside" within another region is one against that region: an
    organelle, as from a file of its own. Two of one label, one within the other, are a body with a cavity.
    """
    if not len(surface.triangles):
        return Oriented(surface, np.zeros(0, bool), ())
    signs, numbers = _walk(surface)
    triangles = np.where(signs[:, None] < 0, surface.triangles[:, ::-1], surface.triangles)
    turned, sides = signs < 0, np.array(surface.sides)
    agreeing = replace(surface, triangles=triangles)
    shells = _shells_of(agreeing, numbers)
    around = _nesting(agreeing, shells)
    misplaced = []
    for k in sorted(range(len(shells)), key=lambda k: len(around[k])):
        shell = shells[k]
        if not shell.closed:
            continue
        within = _region_at(sides, turned ^ (signs < 0), shells, around, k)
        flip, new, said = _decided(shell, within, surface.names)
        if flip:
            turned[shell.rows] ^= True
        if new is not None:
            part = sides[shell.rows]
            part[part == OUTSIDE] = new
            sides[shell.rows] = part
        if said:
            misplaced.append(Misplaced(shell.rows, said))
    triangles = np.where(turned[:, None], surface.triangles[:, ::-1], surface.triangles)
    return Oriented(replace(surface, triangles=triangles, sides=sides), turned, tuple(misplaced))


def _walk(surface: Surface) -> tuple[Array, Array]:
    """Return for every triangle -1 where it is turned against most of its shell, and the number of the shell."""
    edges, triangle_edges = adjacency.edges(surface.triangles, len(surface.points))
    signs, numbers = agreeing(np.ascontiguousarray(surface.triangles), surface.sides, triangle_edges, len(edges))
    return signs, numbers


def _shells_of(surface: Surface, numbers: Array) -> list[Shell]:
    """Measure the shells: labels, the volume that each has, and whether they close."""
    corners = surface.points[surface.triangles]
    vectors = surface.area_vectors
    order = np.argsort(numbers, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    shells = []
    for rows in parts:
        # Fewer enclose nothing; a soup is made of them.
        if len(rows) < 4:
            continue
        centroids = corners[rows].mean(axis=1)
        shares = np.einsum("ij,ij->i", centroids - centroids.mean(axis=0), vectors[rows]) / 3
        labels, which = np.unique(surface.sides[rows], return_inverse=True)
        which = which.reshape(-1, 2)
        volumes = np.zeros(len(labels))
        open_area, area = np.zeros((len(labels), 3)), np.zeros(len(labels))
        for side, sign in ((0, 1), (1, -1)):
            np.add.at(volumes, which[:, side], sign * shares)
            np.add.at(open_area, which[:, side], sign * vectors[rows])
            np.add.at(area, which[:, side], surface.areas[rows])
        closed = bool((np.linalg.norm(open_area, axis=1) <= OPEN * area).all())
        shells.append(Shell(rows, labels, volumes, closed and bool((volumes != 0).any())))
    return shells


def _nesting(surface: Surface, shells: list[Shell]) -> list[dict[int, Floats]]:
    """Return for every shell the shells around it, each with how often its labels wind around the inner one."""
    if not shells:
        return []
    corners = surface.points[surface.triangles]
    low = np.array([corners[shell.rows].min(axis=(0, 1)) for shell in shells])
    high = np.array([corners[shell.rows].max(axis=(0, 1)) for shell in shells])
    closed = np.array([shell.closed for shell in shells])
    around: list[dict[int, Floats]] = [{} for _ in shells]
    order = np.argsort(low[:, 0], kind="stable")
    starts = low[order, 0]
    for k, shell in enumerate(shells):
        # Along x only those that begin within this one; most have none.
        first, last = np.searchsorted(starts, [low[k, 0], high[k, 0]])
        near = order[first:last]
        inner = near[closed[near] & (low[near] >= low[k]).all(axis=1) & (high[near] <= high[k]).all(axis=1)]
        inner = inner[inner != k]
        if not shell.closed or not len(inner):
            continue
        trees = [_tree_around(surface, shell, int(label)) for label in shell.labels]
        for child in inner:
            rows = shells[child].rows
            places = corners[rows[:: max(len(rows) // ASKED, 1)]].mean(axis=1)
            found = np.array([wind(tree, places) for tree in trees])
            windings = np.round(found.mean(axis=1))
            # Where some of its places are inside and others not, the two cross each other.
            if (np.abs(found - windings[:, None]) < 0.5).all() and windings.any():
                around[child][k] = windings
    return around


def _tree_around(surface: Surface, shell: Shell, label: int) -> Tree:
    sides, triangles = surface.sides[shell.rows], surface.triangles[shell.rows]
    out = np.concatenate([triangles[sides[:, 0] == label], triangles[sides[:, 1] == label][:, ::-1]])
    return tree_of(np.ascontiguousarray(surface.points[out]))


def _region_at(sides: Array, flipped: Array, shells: list[Shell], around: list[dict[int, Floats]], k: int) -> int:
    """Return the label of the region in which shell k lies, from the innermost shell around it."""
    if not around[k]:
        return OUTSIDE
    parent = max(around[k], key=lambda number: len(around[number]))
    shell, windings = shells[parent], around[k][parent]
    if flipped[shell.rows[0]]:
        windings = -windings
    label = int(shell.labels[int(windings.argmax())])
    if label == OUTSIDE and OUTSIDE not in sides[shell.rows]:
        # That shell itself was found to lie in a region; around its bodies is this region now.
        new = np.setdiff1d(np.unique(sides[shell.rows]), shell.labels)
        return int(new[0]) if len(new) else OUTSIDE
    return label


def _decided(shell: Shell, within: int, names: dict[int, str]) -> tuple[bool, int | None, str]:
    """Say whether a shell is to be turned, which label its "outside" takes, and what is wrong with it."""
    labels, volumes = shell.labels, shell.volumes
    body = [name_of(names, int(label)) for label in labels if label not in (within, OUTSIDE)]
    here = name_of(names, within)
    if len(labels) > 2:
        flip = bool((volumes < 0).sum() > (volumes > 0).sum())
        outer = int(labels[volumes.argmax() if flip else volumes.argmin()])
    else:
        outer = int(labels[volumes.argmin()])
        wanted = within if within in labels else OUTSIDE
        if wanted not in labels:
            return False, None, ""
        flip = outer != wanted
        outer = wanted
    lies = "" if within == OUTSIDE else f" in {here!r}"
    what = " and ".join(repr(name) for name in body[:3]) or f"a cavity of {here!r}"
    said = f"the shell around {what}{lies} is turned inside out" if flip else ""
    if outer == within or outer != OUTSIDE:
        return flip, None, said
    if within in labels:
        return flip, None, said
    renamed = f"the shell around {what} lies in {here!r}, but its sides name 'outside' there"
    return flip, within, f"{said}; it lies in {here!r}, not 'outside'" if flip else renamed
