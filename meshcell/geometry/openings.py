"""Where a surface is not closed around a region."""

from __future__ import annotations

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array
from meshcell.core.types import Surface


def region_edges(surface: Surface) -> tuple[Array, Array, Array, Array]:
    """Count the triangles of every region around every edge.

    Returns
    -------
    counts, sums : (k,) int
        For every pair of a region and an edge that occurs: its triangles, and how often they run along the edge from
        its smaller to its larger point less how often back, seen from inside the region.
    edges : (k,) int
        Row of the edge.
    triangle_edges : (t, 3) int32
        Rows of the edges of every triangle.
    """
    triangles = surface.triangles
    edges, triangle_edges = adjacency.edges(triangles, len(surface.points))
    starts, ends = (np.take(triangles, adjacency.TRIANGLE_EDGES[:, k], axis=1) for k in (0, 1))
    turns = np.where(starts < ends, 1, -1)
    keys, signs = [], []
    for side, sign in ((0, 1), (1, -1)):
        inside = surface.sides[:, side] != 0
        keys.append((surface.sides[inside, side, None].astype(np.int64) * len(edges) + triangle_edges[inside]).ravel())
        signs.append((sign * turns[inside]).ravel())
    unique, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    counts = np.bincount(inverse, minlength=len(unique))
    sums = np.bincount(inverse, np.concatenate(signs), minlength=len(unique)).astype(np.int64)
    return counts, sums, unique % max(len(edges), 1), triangle_edges


def open_triangles(surface: Surface) -> Array:
    """Return the rows of triangles at edges around which some region is not closed.

    Around an edge every region is entered as often as it is left: seen along the edge, each triangle has one of its two
    regions on its left and the other on its right.
    """
    edges, triangle_edges = adjacency.edges(surface.triangles, len(surface.points))
    first = surface.triangles[:, [1, 2, 0]]
    forward = np.where(first == edges[triangle_edges, 0], 1, -1).ravel()
    labels, numbers = np.unique(surface.sides, return_inverse=True)
    numbers = numbers.reshape(-1, 2)
    slots = triangle_edges.astype(np.int64).ravel() * len(labels)
    keys = np.concatenate([slots + np.repeat(numbers[:, 0], 3), slots + np.repeat(numbers[:, 1], 3)])
    present, which = np.unique(keys, return_inverse=True)
    sums = np.bincount(which.ravel(), np.concatenate([forward, -forward]), len(present))
    bad_edges = np.unique(present[sums != 0] // len(labels))
    return np.flatnonzero(np.isin(triangle_edges, bad_edges).any(axis=1))
