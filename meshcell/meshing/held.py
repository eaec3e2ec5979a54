"""What keeps the interfaces of a mesh in their places while its points move."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.rounding import sine_cosine
from meshcell.core.types import TetMesh
from meshcell.core.validation import BOX_FACES
from meshcell.geometry import proximity
from meshcell.geometry.features import CURVE, FIXED, feature_edges, interface_ids, point_kinds

# A fourth kind of point, on no interface. Compiled into kernels elsewhere: the key of their cache counts every file
# that has the word njit in it.
INSIDE = 3


def surface_of(mesh: TetMesh) -> tuple[Any, ...]:
    """Collect what keeps the interfaces: where points started, their kinds, the given surface and curves, normals."""
    n = len(mesh.points)
    edges, features = feature_edges(mesh.surface)
    kinds = point_kinds(edges, features, n)
    kinds[_corners(mesh.points, edges[features], kinds)] = FIXED
    locked = _locked(mesh)
    kinds[np.bincount(mesh.facets.ravel(), minlength=n) == 0] = INSIDE
    ids = interface_ids(mesh.surface)
    owners = np.full(n, -1, np.int64)
    owners[mesh.facets.ravel()] = np.repeat(ids, 3)
    curves = edges[features]
    segment_ids = _curve_ids(curves, kinds, owners)
    start = np.array(mesh.points)
    sizes = np.zeros(n)
    membranes = proximity.base_of(start, mesh.facets, ids, sizes)
    lines = proximity.base_of(start, np.ascontiguousarray(curves[:, [0, 1, 1]]), segment_ids, sizes)
    offsets, rows = adjacency.stars(mesh.facets, n)
    units = mesh.area_vectors / np.maximum(mesh.areas, 1e-300)[:, None]
    facets = np.array(mesh.facets)
    return start, kinds, owners, membranes, lines, facets, offsets, rows, np.ascontiguousarray(units), locked


def _locked(mesh: TetMesh) -> Array:
    """Return (p, 3) bool: along which axes points must stay because they lie on a face of the box."""
    locked = np.zeros(mesh.points.shape, bool)
    for name in BOX_FACES:
        locked[mesh.facets[mesh.patches.get(name, [])].ravel(), "xyz".index(name[4])] = True
    return locked


def with_inner_points(surface: tuple[Any, ...], n_new: int) -> tuple[Any, ...]:
    """Make room for new points, which are on no interface, in what keeps the interfaces."""
    start, kinds, owners, membranes, lines, facets, offsets, rows, units, locked = surface
    start = np.concatenate([start, np.zeros((n_new, 3))])
    kinds = np.concatenate([kinds, np.full(n_new, INSIDE, kinds.dtype)])
    owners = np.concatenate([owners, np.full(n_new, -1)])
    offsets = np.concatenate([offsets, np.full(n_new, offsets[-1], offsets.dtype)])
    locked = np.concatenate([locked, np.zeros((n_new, 3), bool)])
    return start, kinds, owners, membranes, lines, facets, offsets, rows, units, locked


def _corners(points: Floats, curves: Ints, kinds: Array) -> Array:
    """List the points where a curve turns by more than 45 degrees."""
    along = points[curves[:, 1]] - points[curves[:, 0]]
    along = along / np.linalg.norm(along, axis=1)[:, None]
    bend = np.zeros_like(points)
    np.add.at(bend, curves[:, 0], along)
    np.add.at(bend, curves[:, 1], -along)
    # The sum of two units that are 180 - a degrees apart has the length 2 sin(a / 2).
    sharp = np.linalg.norm(bend, axis=1) > 2 * sine_cosine(math.radians(22.5))[0]
    return np.flatnonzero((kinds == CURVE) & sharp)


def _curve_ids(curves: Ints, kinds: Array, owners: Array) -> Array:
    """Number the curves between fixed points: write the numbers of points into `owners`, return those of segments."""
    inner = (kinds[curves] == CURVE).all(axis=1)
    n = len(kinds)
    a, b = curves[inner].T
    number = connected_components(sparse.coo_matrix((np.ones(len(a)), (a, b)), shape=(n, n)), directed=False)[1]
    on_curve = kinds == CURVE
    owners[on_curve] = number[on_curve]
    first = np.where(kinds[curves[:, 0]] == CURVE, curves[:, 0], curves[:, 1])
    return np.where(kinds[first] == CURVE, number[first], -1).astype(np.int64)
