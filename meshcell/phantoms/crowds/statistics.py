"""Null-model statistics: how points, filaments and membranes are arranged, measured back from a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from meshcell.core.arrays import Array, Floats
from meshcell.core.randomness import generator
from meshcell.core.types import Surface
from meshcell.phantoms.crowds.membrane_shapes import normals
from meshcell.phantoms.crowds.samples import Sample


@dataclass(frozen=True, eq=False)
class Pattern:
    """Second-order statistics of a point pattern.

    Parameters
    ----------
    r : (k,) floats, um
    K : (k,) floats, um^3
        Expected points within r of a point over their density; 4/3 pi r^3 for complete spatial randomness.
    L : (k,) floats, um
        (3 K / 4 pi)^(1/3) - r: 0 for randomness, positive for clusters, negative for regularity.
    g : (k,) floats
        Pair correlation in shells that end at r; 1 for randomness.
    """

    r: Floats
    K: Floats
    L: Floats
    g: Floats


def ripley(points: Any, size: Any, r: Any, *, origin: Any = (0.0, 0.0, 0.0)) -> Pattern:
    """Measure Ripley's K, L and the pair correlation of points in a box, corrected for its faces.

    Parameters
    ----------
    points : (n, 3) floats, um
    size : three floats, um
        Edges of the box.
    r : (k,) floats, um
        Increasing radii, below half the shortest edge.
    origin : three floats, um
        Lowest corner of the box.

    Raises
    ------
    ValueError
        Fewer than two points, points outside the box, radii too large or not increasing.

    Notes
    -----
    Translation correction: a pair d apart weighs |box| / |box and box + d| (Ohser 1983).

    Examples
    --------
    >>> points = np.random.default_rng(0).random((2000, 3))
    >>> pattern = ripley(points, (1, 1, 1), [0.1, 0.2])
    >>> bool(np.abs(pattern.K / (4 / 3 * np.pi * pattern.r**3) - 1).max() < 0.1)
    True
    """
    points = np.asarray(points, np.float64).reshape(-1, 3) - origin
    edges, radii = np.asarray(size, np.float64), np.atleast_1d(np.asarray(r, np.float64))
    n, volume = len(points), float(np.prod(edges))
    if n < 2 or (points < 0).any() or (points > edges).any():
        raise ValueError(f"points should be at least two within the box of {edges.tolist()} um; got {n}")
    if (np.diff(radii) <= 0).any() or radii[0] <= 0 or radii[-1] > edges.min() / 2:
        raise ValueError(f"r should increase from above 0 to half the shortest edge, {edges.min() / 2:.4g} um")
    pairs = cKDTree(points).query_pairs(radii[-1], output_type="ndarray")
    apart = np.abs(points[pairs[:, 0]] - points[pairs[:, 1]])
    weights = 2 * volume / np.prod(edges - apart, axis=1)
    within = np.searchsorted(radii, np.linalg.norm(apart, axis=1))
    shells = np.bincount(within, weights, minlength=len(radii) + 1)[: len(radii)] * (volume / (n * (n - 1)))
    K: Floats = np.cumsum(shells)
    shell_volumes = np.diff(4 / 3 * np.pi * radii**3, prepend=0.0)
    L: Floats = np.cbrt(3 * K / (4 * np.pi)) - radii
    return Pattern(radii, K, L, shells / shell_volumes)


def envelope(n: int, size: Any, r: Any, *, runs: int = 39, rng: int | np.random.Generator) -> tuple[Floats, Floats]:
    """Return the least and greatest L of `runs` random patterns of n points: a pointwise 2 / (runs + 1) test."""
    draws = generator(rng)
    curves = [ripley(draws.random((n, 3)) * np.asarray(size), size, r).L for _ in range(runs)]
    return np.min(curves, axis=0), np.max(curves, axis=0)


def nearest(points: Any, others: Any = None) -> Floats:
    """Return the (n,) distances of points from their nearest neighbour, or from the nearest of `others`, um.

    Examples
    --------
    >>> nearest([[0, 0, 0], [3, 4, 0]])
    array([5., 5.])
    """
    if others is None:
        return np.asarray(np.asarray(cKDTree(points).query(points, k=2)[0])[:, 1])
    return np.asarray(cKDTree(others).query(points)[0])


def persistence(centrelines: Any, *, most: float | None = None) -> float:
    """Measure the persistence length (um) of polylines of even steps: <t(0) . t(s)> = exp(-s / p).

    Parameters
    ----------
    centrelines : iterable of (k, 3) floats, um
    most : float, um, optional
        Longest separation used; by default a quarter of the longest line.

    Raises
    ------
    ValueError
        No line of four points.

    Notes
    -----
    Least squares through the origin of -log <cos> against s, weighted by the pairs of tangents.

    Examples
    --------
    >>> from meshcell.phantoms.crowds.wormlike_chains import worm
    >>> rng = np.random.default_rng(0)
    >>> bool(abs(persistence([worm(2000, 0.01, 0.1, rng) for _ in range(20)], most=0.1) / 0.1 - 1) < 0.05)
    True
    """
    lines = [np.asarray(line, np.float64) for line in centrelines if len(line) >= 4]
    if not lines:
        raise ValueError("centrelines should hold a line of at least four points; got none")
    step = float(np.median(np.concatenate([np.linalg.norm(np.diff(line, axis=0), axis=1) for line in lines])))
    longest = max(len(line) for line in lines)
    lags = max(1, min(longest - 2, int(longest / 4 if most is None else most / step)))
    total, pairs = np.zeros(lags), np.zeros(lags)
    for line in lines:
        tangents = np.diff(line, axis=0)
        tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
        for lag in range(1, min(lags, len(tangents) - 1) + 1):
            total[lag - 1] += np.einsum("ij,ij->", tangents[:-lag], tangents[lag:])
            pairs[lag - 1] += len(tangents) - lag
    s, mean = step * np.arange(1, lags + 1), total / np.maximum(pairs, 1)
    # Where the direction is forgotten the logarithm is noise.
    used = (pairs > 0) & (mean > 0.3)
    if not used.any():
        return 0.0
    w = pairs[used]
    slope = (w * s[used] * -np.log(mean[used])).sum() / (w * s[used] ** 2).sum()
    return float(1 / slope) if slope > 0 else float("inf")


def branching(sample: Sample, species: str) -> tuple[int, int]:
    """Count the filaments of a species that start on another one, and all of them."""
    rows = sample.motifs[sample.motifs["species"] == species]
    _, first = np.unique(rows["chain"], return_index=True)
    return int((rows["host"][first] > 0).sum()), len(first)


def rotation_angles(quaternions: Any) -> Floats:
    """Return the (n,) angles of rotations in degrees; uniform ones average 90 + 360 / pi^2 = 126.476.

    Examples
    --------
    >>> rotation_angles([[1, 0, 0, 0], [0, 1, 0, 0]])
    array([  0., 180.])
    """
    w = np.abs(np.asarray(quaternions, np.float64)[:, 0])
    return np.asarray(np.degrees(2 * np.arccos(np.minimum(w, 1.0))))


@dataclass(frozen=True, eq=False)
class Curvature:
    """At every point of a surface: unit normals (p, 3), mean and Gaussian curvature (p,), 1/um and 1/um^2."""

    normals: Floats
    mean: Floats
    gaussian: Floats


def curvature(surface: Surface) -> Curvature:
    """Measure normals and curvatures at the points of a closed surface.

    Notes
    -----
    Cotangent Laplacian and angle defects over the mixed Voronoi areas (Meyer and others 2003, eqs. 8 and 9). The
    mean curvature is positive where the surface bends away from its normal, 1 / radius on a sphere.
    """
    points, triangles = surface.points, surface.triangles
    n = len(points)
    corners = points[triangles]
    areas = np.bincount(triangles.ravel(), _shares(corners, surface.areas).ravel(), n)
    outward = normals(points, triangles)
    defect, pull = np.full(n, 2 * np.pi), np.zeros((n, 3))
    for k in range(3):
        here, ahead, behind = corners[:, k], corners[:, (k + 1) % 3], corners[:, (k + 2) % 3]
        u, v = ahead - here, behind - here
        cosine, sine = np.einsum("ij,ij->i", u, v), np.linalg.norm(np.cross(u, v), axis=1)
        defect -= np.bincount(triangles[:, k], np.arctan2(sine, cosine), n)
        # The angle here weighs the edge opposite.
        edge = (cosine / np.maximum(sine, 1e-300))[:, None] * (ahead - behind)
        for axis in range(3):
            pull[:, axis] += np.bincount(triangles[:, (k + 1) % 3], edge[:, axis], n)
            pull[:, axis] -= np.bincount(triangles[:, (k + 2) % 3], edge[:, axis], n)
    safe: Array = np.maximum(areas, 1e-300)
    mean = np.einsum("ij,ij->i", pull, outward) / (4 * safe)
    return Curvature(outward, mean, defect / safe)


def _shares(corners: Floats, areas: Floats) -> Floats:
    """Divide triangles among their corners: (t, 3) areas of the Voronoi cells, simple parts where one is obtuse."""
    edges = np.stack([corners[:, (k + 2) % 3] - corners[:, (k + 1) % 3] for k in range(3)], axis=1)
    squares = (edges**2).sum(axis=2)
    # The cotangent at a corner, from the sides: (b^2 + c^2 - a^2) / 4 areas.
    cotangents = (squares.sum(axis=1, keepdims=True) - 2 * squares) / np.maximum(4 * areas[:, None], 1e-300)
    weighted = squares * cotangents
    shares = (weighted.sum(axis=1, keepdims=True) - weighted) / 8
    obtuse = cotangents < 0
    simple = np.where(obtuse, areas[:, None] / 2, areas[:, None] / 4)
    return np.asarray(np.where(obtuse.any(axis=1, keepdims=True), simple, shares))
