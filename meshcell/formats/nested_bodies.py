"""Several bodies of one file (OBJ objects, STL solids, labelled triangles): a region each, sides by containment."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.files import merged_names
from meshcell.core.types import Surface
from meshcell.formats.shells import open_parts, outward

# Triangles of a body whose middles are tried; the walls may touch another body's.
TRIED = 7


@dataclass(frozen=True)
class Body:
    """The rows of a closed body's triangles, its label, and its parts where several close it together."""

    label: int
    rows: Array
    parts: tuple[int, ...]


def bodies(path: Path, points: Array, triangles: Array, labels: Array, names: Mapping[int, str]) -> Surface:
    """Make a region of every body; what lies in front of it is the smallest body around it.

    Parameters
    ----------
    path : Path
    points : (p, 3) floats, um
    triangles : (t, 3) integers
    labels : (t,) integers
        Part of every triangle, > 0. A closed part is a body; open parts that share points are one body together, and
        become its patches.
    names : dict[int, str]
        Label -> name.
    """
    points = np.asarray(points, np.float64)
    found = _bodies(points, triangles, labels)
    triangles, volumes = _outward(path, points, triangles, found)
    sides = np.zeros((len(triangles), 2), np.int32)
    inner = _containers(path, points, triangles, found, volumes)
    for body, around in zip(found, inner, strict=True):
        sides[body.rows] = body.label, around
    titles = {body.label: " + ".join(_title(names, part) for part in body.parts) for body in found}
    patches = {
        _title(names, part): np.flatnonzero(labels == part).astype(np.int32)
        for body in found
        for part in body.parts
        if len(body.parts) > 1
    }
    return Surface(points, triangles, sides, merged_names(path, _apart(titles), {}), patches)


def _title(names: Mapping[int, str], label: int) -> str:
    return names.get(label, f"label {label}")


def _apart(titles: Mapping[int, str]) -> dict[int, str]:
    """Number names that occur twice, or that the outside has."""
    counts: dict[str, int] = {"outside": 1}
    apart = {}
    for label, title in titles.items():
        counts[title] = counts.get(title, 0) + 1
        apart[label] = title if counts[title] == 1 else f"{title} {counts[title]}"
    return apart


def _bodies(points: Floats, triangles: Array, labels: Array) -> list[Body]:
    """Divide the parts into closed ones and groups of open ones that share points."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    parts, which = np.unique(labels, return_inverse=True)
    _, places = np.unique(points + 0.0, axis=0, return_inverse=True)
    corners = places.ravel()[triangles]
    is_open = np.zeros(len(parts), bool)
    is_open[open_parts(corners, which, len(points))] = True
    # Rows are parts, columns places; open parts that have a place in common are one body.
    mine = np.repeat(is_open[which], 3)
    rows, columns = np.repeat(which, 3)[mine], corners.ravel()[mine]
    shape = (len(parts) + len(points),) * 2
    graph = coo_array((np.ones(len(rows), np.int8), (rows, len(parts) + columns)), shape=shape)
    _, groups = connected_components(graph, directed=False)
    order = np.argsort(which, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(which, minlength=len(parts)))[:-1])
    made: dict[int, list[int]] = {}
    for part in range(len(parts)):
        made.setdefault(int(groups[part]), []).append(part)
    return [
        Body(int(parts[own[0]]), np.concatenate([members[part] for part in own]), tuple(int(parts[k]) for k in own))
        for own in made.values()
    ]


def _outward(path: Path, points: Floats, triangles: Array, found: list[Body]) -> tuple[Ints, Floats]:
    """Turn the triangles of every body outward; return the triangles and the volumes."""
    triangles, volumes = np.array(triangles, np.int32), np.zeros(len(found))
    for row, body in enumerate(found):
        used, own = np.unique(triangles[body.rows], return_inverse=True)
        turned, volumes[row] = outward(path, points[used], own.reshape(-1, 3))
        triangles[body.rows] = used[turned]
    return triangles, volumes


def _containers(path: Path, points: Floats, triangles: Array, found: list[Body], volumes: Floats) -> list[int]:
    """Return the label of the smallest body around each body, 0 where there is none."""
    low = np.array([points[triangles[body.rows]].min(axis=(0, 1)) for body in found])
    high = np.array([points[triangles[body.rows]].max(axis=(0, 1)) for body in found])
    around = []
    for row, body in enumerate(found):
        middles = points[triangles[body.rows[:: max(1, len(body.rows) // TRIED)]]].mean(axis=1)
        outer = np.flatnonzero(
            (low <= low[row]).all(axis=1) & (high >= high[row]).all(axis=1) & (volumes > volumes[row])
        )
        label = 0
        for other in outer[np.argsort(volumes[outer])].tolist():
            turns = winding(middles, points[triangles[found[other].rows]])
            # On the other body's wall the number is a half and says nothing.
            sure = turns[np.abs(turns - np.round(turns)) < 0.25]
            if len(sure) and np.ptp(np.round(sure)) > 0:
                warnings.warn(
                    f"{path}: bodies {body.label} and {found[other].label} seem to cut through each other; check(...) "
                    "shows where",
                    stacklevel=2,
                )
            if len(sure) and np.median(np.round(sure)) >= 1:
                label = found[other].label
                break
        around.append(label)
    return around


def winding(places: Floats, corners: Floats) -> Floats:
    """Count how often closed, outward triangles wind around each place: 1 inside, 0 outside.

    Source: Van Oosterom and Strackee 1983, "The solid angle of a plane triangle", equation 8.

    Examples
    --------
    >>> tetrahedron = np.eye(4, 3, -1)[[[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]]
    >>> winding(np.array([[0.1, 0.1, 0.1], [2, 2, 2]]), tetrahedron).round(12).tolist()
    [1.0, 0.0]
    """
    turns = np.empty(len(places))
    for row, place in enumerate(places):
        a, b, c = (corners[:, k] - place for k in range(3))
        la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
        above = np.einsum("ij,ij->i", a, np.cross(b, c))
        dots = [np.einsum("ij,ij->i", *pair) for pair in ((a, b), (b, c), (c, a))]
        below = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
        turns[row] = np.arctan2(above, below).sum() / (2 * np.pi)
    return turns
