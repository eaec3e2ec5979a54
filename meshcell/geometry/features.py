"""Features of surfaces: junctions of interfaces, rims of patches, and the points on them."""

from __future__ import annotations

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Ints, distinct_rows
from meshcell.core.types import Surface

# Compiled into kernels elsewhere: the key of their cache counts every file that has the word njit in it.
FREE, CURVE, FIXED = 0, 1, 2


def feature_edges(surface: Surface) -> tuple[Ints, Array]:
    """Return all edges (e, 2) and which of them are features: junctions of interfaces, rims of patches, open edges.

    An edge is plain only where exactly two triangles of one interface and of the same patches meet.
    """
    edges, triangle_edges = adjacency.edges(surface.triangles, len(surface.points))
    count = np.bincount(triangle_edges.ravel(), minlength=len(edges))
    least, most = range_around(triangle_edges, interface_ids(surface), len(edges))
    return edges, (count != 2) | (least != most)


def interface_ids(surface: Surface) -> Array:
    """Return (t,) int64: one number for every combination of sides and patches that a triangle belongs to."""
    columns = [surface.sides[:, 0], surface.sides[:, 1]]
    for rows in surface.patches.values():
        member = np.zeros(len(surface.triangles), np.int32)
        member[rows] = 1
        columns.append(member)
    return distinct_rows(np.stack(columns, axis=1)).groups


def point_kinds(edges: Ints, features: Array, n_points: int) -> Array:
    """Return (p,) uint8: FREE inside an interface, CURVE on a junction or rim, FIXED where such curves meet or end."""
    degree = np.bincount(edges[features].ravel(), minlength=n_points)
    return np.where(degree == 0, FREE, np.where(degree == 2, CURVE, FIXED)).astype(np.uint8)


def range_around(triangle_edges: Ints, values: Array, n_edges: int) -> tuple[Array, Array]:
    """Return the least and the greatest value among the triangles around every edge."""
    values = values.astype(np.int64)
    least, most = np.full(n_edges, np.iinfo(np.int64).max), np.full(n_edges, -1)
    for k in range(3):
        np.minimum.at(least, triangle_edges[:, k], values)
        np.maximum.at(most, triangle_edges[:, k], values)
    return least, most
