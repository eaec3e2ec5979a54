"""The closed shells of one body: which way each is to be turned, by how many others lie around it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints

log = logging.getLogger("meshcell")

# Triangles of a shell whose middles are asked; a ray may pass through an edge.
ASKED = 3
# A ray in no direction that edges have.
RAY = np.array([0.5361, 0.3217, 0.7804]) / np.linalg.norm([0.5361, 0.3217, 0.7804])
# Triangles so many times wider than most are looked at for every ray.
WIDE = 4.0


def outward(path: Path, points: Floats, triangles: Array) -> tuple[Ints, float]:
    """Turn the shells of one body so that all normals point out of it; return the triangles and the volume.

    A shell within an odd number of others is the wall of a cavity: the body is around it, and the normals of its wall
    point into it. Open pieces are turned together by the sign of their volume.
    """
    triangles = np.array(triangles, np.int32)
    shells, closed = _shells(points, triangles)
    corners = points[triangles]
    sizes = np.bincount(shells, minlength=len(closed))
    middles = [np.bincount(shells, corners[:, :, k].sum(axis=1), len(closed)) / (3 * sizes) for k in range(3)]
    a, b, c = (corners[:, k] - np.stack(middles, axis=1)[shells] for k in range(3))
    volumes = np.bincount(shells, np.einsum("ij,ij->i", a, np.cross(b, c)) / 6, len(closed))
    inner = _within_others(corners, shells, closed)
    wrong = np.where(inner, volumes > 0, volumes < 0)
    if wrong.any():
        _mention(path, inner, wrong)
        triangles[wrong[shells]] = triangles[wrong[shells]][:, ::-1]
    return triangles, float(np.where(inner, -1.0, 1.0) @ np.abs(volumes))


def _mention(path: Path, inner: Array, wrong: Array) -> None:
    """Say what is turned; walls of cavities with the turn of the walls around them may have been meant as bodies."""
    if (inner & wrong).any() and not wrong.all():
        warnings.warn(
            f"{path}: {(inner & wrong).sum()} closed shells lie within another one and are taken as walls of cavities, "
            "which are outside; if they are bodies, such as a nucleus, give each a name or label of its own",
            stacklevel=2,
        )
    else:
        log.info(
            "%s: %d of %d shells: normals point inward; their triangles are turned over", path, wrong.sum(), len(wrong)
        )


def _shells(points: Floats, triangles: Array) -> tuple[Array, Array]:
    """Return for every triangle the number of its shell, and for every shell whether it is closed.

    Open pieces are one shell together. A body of one piece is not looked at any closer.
    """
    pieces = _pieces(triangles)
    if pieces.max() == 0:
        return pieces, np.ones(1, bool)
    # Other programs repeat corners.
    corners = _places(points)[triangles]
    pieces = _pieces(corners)
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), axis=1)
    _, first, counts = np.unique(edges @ [len(points), 1], return_index=True, return_counts=True)
    is_open = np.isin(pieces, pieces[first[counts % 2 == 1] % len(pieces)])
    kept, shells = np.unique(np.where(is_open, -1, pieces), return_inverse=True)
    return shells.ravel(), kept >= 0


def open_parts(corners: Array, which: Array, n: int) -> Array:
    """Return the parts that have an edge with an odd number of triangles."""
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), axis=1)
    keys = np.stack([np.tile(which, 3), edges[:, 0].astype(np.int64) * n + edges[:, 1]])
    found, counts = np.unique(keys, axis=1, return_counts=True)
    return np.unique(found[0, counts % 2 == 1])


def _places(points: Floats) -> Array:
    """Return one number for every place: (p,) int64."""
    order = np.lexsort(points.T)
    fresh = (np.diff(points[order], axis=0) != 0).any(axis=1)
    places = np.empty(len(points), np.int64)
    places[order] = np.concatenate([[0], np.cumsum(fresh)])
    return places


def _pieces(corners: Array) -> Array:
    """Return for every triangle the number of the piece that hangs together by corners."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = int(corners.max()) + 1
    rows, columns = np.concatenate([corners[:, 0], corners[:, 0]]), np.concatenate([corners[:, 1], corners[:, 2]])
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(n, n))
    _, numbers = connected_components(graph, directed=False)
    # Points of no triangle have numbers, too.
    used = numbers[corners[:, 0]]
    known: Array = np.cumsum(np.bincount(used) > 0) - 1
    return known[used]


# --- which lie within others ---


def _within_others(corners: Floats, shells: Array, closed: Array) -> Array:
    """Tell of every closed shell whether it lies within an odd number of others: (n,) bool."""
    n = len(closed)
    if closed.sum() < 2:
        return np.zeros(n, bool)
    order = np.argsort(shells, kind="stable")
    first, sizes = np.searchsorted(shells[order], np.arange(n)), np.bincount(shells, minlength=n)
    asked = np.concatenate([order[first + (k * sizes) // ASKED] for k in range(ASKED)])
    whose = np.tile(np.arange(n), ASKED)
    odd = _crossings(corners, shells, closed, corners[asked].mean(axis=1), whose) % 2 == 1
    inner: Array = closed & (odd.reshape(ASKED, n).sum(axis=0) > ASKED // 2)
    return inner


def _crossings(corners: Floats, shells: Array, closed: Array, places: Floats, whose: Array) -> Array:
    """Count the walls of other closed shells that a ray from each place goes through."""
    from scipy.spatial import cKDTree

    # Seen along the ray, which is a point then.
    basis = np.linalg.svd(RAY[None])[2][1:]
    flat, heights = corners @ basis.T, corners @ RAY
    middles = flat.mean(axis=1)
    widths = np.linalg.norm(flat - middles[:, None], axis=2).max(axis=1)
    wide = widths > WIDE * np.median(widths)
    eyes, levels = places @ basis.T, places @ RAY
    usual, large = np.flatnonzero(~wide & closed[shells]), np.flatnonzero(wide & closed[shells])
    near = cKDTree(middles[usual]).query_ball_point(eyes, widths[usual].max(initial=0.0)) if len(usual) else None
    counts = np.zeros(len(places), np.int64)
    for row, eye in enumerate(eyes):
        rows = np.concatenate([large, usual[near[row]]]) if near is not None else large
        rows = rows[shells[rows] != whose[row]]
        a, b, c = (flat[rows, k] - eye for k in range(3))
        parts = np.stack([u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] for u, v in ((b, c), (c, a), (a, b))], axis=1)
        hit = (parts > 0).all(axis=1) | (parts < 0).all(axis=1)
        found = np.einsum("ij,ij->i", parts[hit], heights[rows[hit]]) / parts[hit].sum(axis=1)
        counts[row] = np.count_nonzero(found > levels[row])
    return counts
