"""How membranes bend, as a field that rates and initial values may read."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.hints import require
from meshcell.core.types import TetMesh
from meshcell.models.binding import bound_compartment
from meshcell.models.bound_places import BoundCompartment
from meshcell.models.compartments import Place, parts
from meshcell.models.model import Model
from meshcell.models.parameters import Field

# Nodes that are fitted at once, and the share of a fit's size that keeps it defined where there are few neighbours.
AT_ONCE, RIDGE = 20_000, 1e-9


def mean_curvature(mesh: TetMesh, place: Place, *, rings: int = 2) -> Field:
    """Measure the mean curvature of a membrane at its nodes, for rates and initial values that depend on it.

    Parameters
    ----------
    mesh : TetMesh
    place : str or (str, str)
        An interface, "cytosol | outside" or ("cytosol", "outside"), or the name of a patch; unions and lists as in
        `Model.compartments`.
    rings : int
        How many edges away neighbours may be. More of them smooth what the voxels left of roughness, and curvature.

    Returns
    -------
    Field, 1/um
        At the nodes of the interface or patch, so for compartments in the same place. It is of this mesh: after
        `refine` measure anew.

    Raises
    ------
    ValueError, TypeError
        A place that the mesh does not have or that is a region; rings below 1.

    Notes
    -----
    H is the mean of the two principal curvatures, positive where the membrane bulges out of the region that is named
    first: 1/R on a ball in ("ball", "outside"), -1/R in ("outside", "ball"). A patch is seen from the region behind its
    facets, `mesh.sides[:, 0]`: on the outer surface from the cell.

    At every node a parabola over the tangent plane is fitted to the neighbours on the interface by least squares
    (Cazals, Pouget: Estimating differential quantities using polynomial fitting of osculating jets, CAGD 22 (2005)
    121-146). At junctions and open ends it is fitted from one side; patches see beyond their rims. Right to second
    order in the edges: on a ball with six edges to the radius 4 % too large everywhere. What voxels left of steps stays
    in it: on a ball of 32 voxels it spreads by 5 %, on one of 16 by 18 %; a quartic term would double that.

    Examples
    --------
    >>> model = Model({"PM": ("cell", "outside")}, [Species("BAR", "PM", initial="b*(1 + H/H0)")],
    ...               parameters={"H": mean_curvature(mesh, "cell | outside")})    # doctest: +SKIP
    """
    require(mesh, TetMesh, "mean_curvature(mesh, place)", place)
    if not isinstance(rings, (int, np.integer)) or rings < 1:
        raise ValueError(f"rings should be a whole number of at least 1; got {rings!r}")
    if isinstance(place, str) and "|" in place and place not in mesh.patches:
        sides: Any = tuple(side.strip() for side in place.split("|"))
        place = sides
    model = Model({"place": place}, ())
    home = bound_compartment(model, "place", mesh)
    if home.dimension != 2:
        raise ValueError(
            f"mean_curvature is of an interface or patch; {place!r} is a region; its interfaces are "
            f"{', '.join(' | '.join(pair) for pair in mesh.interfaces if place in pair)}"
        )
    rows, own = _around(mesh, home), model.compartments["place"]
    turned = _turned(mesh, rows, own)
    triangles = np.where(turned[:, None], mesh.facets[rows][:, ::-1], mesh.facets[rows])
    nodes, corners = np.unique(triangles, return_inverse=True)
    curvatures = fitted_curvatures(mesh.points[nodes], corners.reshape(-1, 3).astype(np.int32), int(rings))
    return Field(curvatures[np.searchsorted(nodes, home.nodes)], "1/um", at="nodes")


def fitted_curvatures(points: Floats, triangles: Ints, rings: int) -> Floats:
    """Fit a parabola at every point of a surface to its neighbours of so many rings.

    Parameters
    ----------
    points : (p, 3) floats, um
    triangles : (t, 3) int32
    rings : int

    Returns
    -------
    (p,) floats, 1/um
        Mean curvature, positive where the surface bends away from its normals.
    """
    normals = np.zeros((len(points), 3))
    corners = points[triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for k in range(3):
        normals[:, k] = np.bincount(triangles.ravel(), np.repeat(faces[:, k], 3), len(points))
    normals /= np.maximum(np.linalg.norm(normals, axis=1), np.finfo(float).tiny)[:, None]
    pairs, _ = adjacency.edges(triangles, len(points))
    both = np.concatenate([pairs, pairs[:, ::-1], np.arange(len(points))[:, None].repeat(2, axis=1)])
    step = sp.csr_array((np.ones(len(both), np.int32), both.T), shape=(len(points), len(points)))
    found = [np.zeros(0)]
    for first in range(0, len(points), AT_ONCE):
        near = step[first : first + AT_ONCE]
        for _ in range(rings - 1):
            near = near @ step
        found.append(_parabolas(points, normals, near, first))
    return np.concatenate(found)


def _parabolas(points: Floats, normals: Floats, near: sp.csr_array, first: int) -> Floats:
    """(n,) mean curvature at the points from `first` on, each fitted to those that its row of `near` holds."""
    counts = np.diff(near.indptr)
    own = np.repeat(np.arange(len(counts)), counts)
    away = points[near.indices] - points[first + own]
    # In lengths of the neighbourhood, so that all terms are of one size.
    size = np.sqrt(np.add.reduceat((away**2).sum(axis=1), near.indptr[:-1]) / np.maximum(counts - 1, 1))
    size = np.where(size > 0, size, 1.0)
    along, across = _tangents(normals[first : first + len(counts)])
    a, b, height = (
        (away * axis[own]).sum(axis=1) / size[own] for axis in (along, across, normals[first : first + len(counts)])
    )
    terms = np.stack([np.ones(len(a)), a, b, a * a / 2, a * b, b * b / 2], axis=1)
    matrix = np.add.reduceat(terms[:, :, None] * terms[:, None, :], near.indptr[:-1])
    matrix += RIDGE * counts[:, None, None] * np.eye(6)
    rest = np.add.reduceat(terms * height[:, None], near.indptr[:-1])
    _, p, q, r, s, t = np.linalg.solve(matrix, rest[:, :, None])[:, :, 0].T
    bend = (1 + q * q) * r - 2 * p * q * s + (1 + p * p) * t
    return np.asarray(-bend / (2 * size * (1 + p * p + q * q) ** 1.5))


def _tangents(normals: Floats) -> tuple[Floats, Floats]:
    """Return two unit vectors (n, 3) across every normal and each other."""
    least = np.eye(3)[np.abs(normals).argmin(axis=1)]
    along = np.cross(normals, least)
    along /= np.maximum(np.linalg.norm(along, axis=1), np.finfo(float).tiny)[:, None]
    return along, np.cross(normals, along)


def _around(mesh: TetMesh, home: BoundCompartment) -> Array:
    """Return the facets of all interfaces of which a place holds a part."""
    found = [rows for rows in mesh.interfaces.values() if np.isin(rows, home.rows).any()]
    return np.sort(np.concatenate(found))


def _turned(mesh: TetMesh, rows: Array, place: Any) -> Array:
    """Tell in front of which facets the region lies that is named first."""
    listed = [] if isinstance(place, str) else [place] if isinstance(place[0], str) else place
    asked = {(a, b) for one, other in listed for a in parts(one) for b in parts(other)}
    turned = [own for (behind, front), own in mesh.interfaces.items() if (front, behind) in asked]
    return np.isin(rows, np.concatenate([np.zeros(0, np.int64), *turned]))
