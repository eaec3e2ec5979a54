"""Areas and volumes of bare arrays of triangles and tetrahedra."""

from __future__ import annotations

import numpy as np

from meshcell.core.arrays import Floats, Ints
from meshcell.core.validation import labels_in


def area_vectors_of(points: Floats, triangles: Ints) -> Floats:
    """Return (t, 3) normals of triangles with the length of their areas."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return np.asarray(np.cross(b - a, c - a) / 2)


# Tetrahedra whose corners are looked up at once: their coordinates take ten times the room of their numbers.
BLOCK = 1 << 15


def volumes_of(points: Floats, tets: Ints) -> Floats:
    """Return (n,) signed volumes of tetrahedra."""
    volumes = np.empty(len(tets))
    for first in range(0, len(tets), BLOCK):
        block = slice(first, first + BLOCK)
        corners = points[tets[block]]
        a, b, c = (corners[:, k] - corners[:, 0] for k in (1, 2, 3))
        volumes[block] = np.einsum("ij,ij->i", np.cross(a, b), c) / 6
    return volumes


def enclosed(points: Floats, triangles: Ints, sides: Ints) -> dict[int, float]:
    """Return label -> volume for every region but 0 that triangles bound; see `geometry.measures.enclosed_volumes`.

    Divergence theorem: a third of the centroid times the area vector, counted + for the region behind the normal and
    - for the one in front of it. The centroids are taken from the middle of the points, which keeps digits when the
    origin is far away.
    """
    middle = points[triangles].mean(axis=(0, 1)) if len(triangles) else np.zeros(3)
    parts = np.einsum("ij,ij->i", points[triangles].mean(axis=1) - middle, area_vectors_of(points, triangles)) / 3
    labels = labels_in(sides)
    # One pass whatever the number of labels.
    behind, front = (np.bincount(np.searchsorted(labels, sides[:, k]), parts, len(labels)) for k in (0, 1))
    return {int(label): float(volume) for label, volume in zip(labels, behind - front, strict=True) if label != 0}


# um: no body of a cell is smaller, few cells are longer.
SMALLEST, LARGEST = 0.01, 1000.0


def odd_extent(points: Floats) -> str:
    """Say so where points span no cell's length, most likely in another unit than um; else return "".

    Examples
    --------
    >>> odd_extent(np.array([[0, 0, 0], [18000, 500, 300]]))
    'the body is 1.8e+04 um long, which no cell is: are its points in another unit, such as nm?'
    """
    longest = float(np.ptp(points, axis=0).max()) if len(points) else 1.0
    if SMALLEST <= longest <= LARGEST:
        return ""
    unit = "nm" if longest > LARGEST else "mm"
    return f"the body is {longest:.4g} um long, which no cell is: are its points in another unit, such as {unit}?"
