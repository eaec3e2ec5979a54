"""Where points are: which cell holds them, how far a surface is; a tree of centroids proposes, exact tests decide."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.kernels import njit
from meshcell.geometry.proximity import closest

FIRST_CANDIDATES = 16
# Points on the boundary of a cell belong to it, whatever rounding says.
SLACK = 1e-9


def nearest_on_surface(queries: Floats, points: Floats, triangles: Ints) -> tuple[Floats, Array, Floats]:
    """Find the nearest point of a triangulated surface for each query point.

    Parameters
    ----------
    queries : (q, 3) floats, um
    points : (p, 3) floats, um
    triangles : (t, 3) int32, at least one

    Returns
    -------
    distances : (q,) floats, um
    rows : (q,) of `triangles`
    shares : (q, 3) barycentric coordinates of the nearest point

    Examples
    --------
    >>> corner = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    >>> nearest_on_surface(np.array([[0.25, 0.25, 2.0]]), corner, np.array([[0, 1, 2]], np.int32))[0].tolist()
    [2.0]
    """
    tree, reach = _tree(points, triangles)
    n = len(queries)
    squares, rows, shares = np.full(n, np.inf), np.zeros(n, np.int64), np.zeros((n, 3))
    left, count = np.arange(n), min(FIRST_CANDIDATES, len(triangles))
    while len(left):
        far, candidates = _candidates(tree, queries[left], count)
        squares[left], rows[left], shares[left] = _nearest(
            np.ascontiguousarray(queries[left]), np.array(points), np.array(triangles), candidates
        )
        # A triangle that is no candidate has its centroid beyond the last one, and nothing of it is nearer by more.
        left = left[(np.sqrt(squares[left]) > far - reach) & (count < len(triangles))]
        count = min(4 * count, len(triangles))
    return np.sqrt(squares), rows, shares


def containing(queries: Floats, points: Floats, tets: Ints) -> tuple[Array, Floats]:
    """Find the tetrahedron that holds each query point.

    Returns
    -------
    rows : (q,) of `tets`, -1 for points outside all of them
    shares : (q, 4) barycentric coordinates

    Examples
    --------
    >>> corners = np.vstack([np.zeros(3), np.eye(3)])
    >>> containing(np.array([[0.25] * 3, [2.0] * 3]), corners, np.array([[0, 1, 2, 3]], np.int32))[0].tolist()
    [0, -1]
    """
    tree, reach = _tree(points, tets)
    rows, shares = np.full(len(queries), -1), np.zeros((len(queries), 4))
    left, count = np.arange(len(queries)), min(FIRST_CANDIDATES, len(tets))
    while len(left):
        far, candidates = _candidates(tree, queries[left], count)
        rows[left], shares[left] = _holder(
            np.ascontiguousarray(queries[left]), np.array(points), np.array(tets), candidates
        )
        left = left[(rows[left] < 0) & (far <= reach) & (count < len(tets))]
        count = min(4 * count, len(tets))
    return rows, shares


def _tree(points: Floats, cells: Ints) -> tuple[cKDTree, float]:
    """Make a tree of centroids, and the largest distance of a cell's corner from its centroid."""
    corners = points[cells]
    centroids = corners.mean(axis=1)
    return cKDTree(centroids), float(np.linalg.norm(corners - centroids[:, None], axis=2).max())


def _candidates(tree: cKDTree, queries: Floats, count: int) -> tuple[Floats, Array]:
    """Return the cells with the nearest centroids, (q, count), and how far the last of them is."""
    far, rows = tree.query(queries, k=np.arange(1, count + 1))
    return np.asarray(far)[:, -1], np.ascontiguousarray(rows, np.int64)


# --- kernels ---


@njit(cache=True)
def _nearest(queries: Any, points: Any, triangles: Any, candidates: Any) -> Any:
    n = queries.shape[0]
    squares, rows, shares = np.full(n, np.inf), np.zeros(n, np.int64), np.zeros((n, 3))
    for i in range(n):
        for t in candidates[i]:
            a, b, c = triangles[t]
            u, v, w = closest(points, a, b, c, queries[i, 0], queries[i, 1], queries[i, 2])
            square = 0.0
            for d in range(3):
                square += (u * points[a, d] + v * points[b, d] + w * points[c, d] - queries[i, d]) ** 2
            if square < squares[i] or (square == squares[i] and t < rows[i]):
                squares[i], rows[i] = square, t
                shares[i, 0], shares[i, 1], shares[i, 2] = u, v, w
    return squares, rows, shares


@njit(cache=True)
def _holder(queries: Any, points: Any, tets: Any, candidates: Any) -> Any:
    n = queries.shape[0]
    rows, shares = np.full(n, -1), np.zeros((n, 4))
    edges = np.empty((3, 3))
    for i in range(n):
        best = -SLACK
        for t in candidates[i]:
            first = points[tets[t, 0]]
            for k in range(3):
                for d in range(3):
                    edges[d, k] = points[tets[t, k + 1], d] - first[d]
            inner = np.linalg.solve(edges, queries[i] - first)
            least = min(1 - inner.sum(), inner.min())
            if least >= best:
                best, rows[i] = least, t
                shares[i, 0], shares[i, 1:] = 1 - inner.sum(), inner
    return rows, shares
