"""Small meshes with known answers, made by hand so that tests of one module do not lean on another."""

import itertools

import numpy as np

import meshcell as mc
from meshcell.core import adjacency


def box(n=4, size=(1.0, 1.0, 1.0), region=None, names=None):
    """Fill a box with 6 n^3 Kuhn tetrahedra; `region(centroids) -> labels` may divide it along grid planes."""
    counts = np.broadcast_to(n, 3)
    axes = [np.linspace(0, length, count + 1) for length, count in zip(size, counts, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    tets = kuhn(counts)
    regions = (
        np.ones(len(tets), np.int32) if region is None else np.asarray(region(points[tets].mean(axis=1)), np.int32)
    )
    return tet_mesh(points, tets, regions, names or {1: "box"})


def ball(n=4, radius=1.0, core=None, names=None):
    """Map a box of 6 (2n)^3 tetrahedra onto a ball; `core` names a share of the radius that becomes region 2."""
    mesh = box(2 * n, (2.0, 2.0, 2.0))
    points = mesh.points - 1
    rings, length = np.abs(points).max(axis=1), np.linalg.norm(points, axis=1)
    points = points * np.divide(rings, length, out=np.ones_like(rings), where=length > 0)[:, None]
    regions = np.ones(len(mesh.tets), np.int32)
    if core is not None:
        # Rings of the box are spheres of the ball, so a core at a multiple of 1/n has a smooth boundary.
        regions[np.abs(mesh.points[mesh.tets] - 1).max(axis=2).max(axis=1) <= core + 1e-9] = 2
    return tet_mesh(
        points * radius,
        mesh.tets,
        regions,
        names or ({1: "ball"} if core is None else {1: "shell", 2: "core"}),
    )


def kuhn(counts):
    """Six tetrahedra around the main diagonal of every cell of a grid; conforming, all of one shape."""
    strides = np.array([(counts[1] + 1) * (counts[2] + 1), counts[2] + 1, 1])
    corner = np.stack(np.meshgrid(*[np.arange(c) for c in counts], indexing="ij"), axis=-1).reshape(-1, 3) @ strides
    tets = []
    for order in itertools.permutations(range(3)):
        steps = np.cumsum([0, *strides[list(order)]])
        odd = np.linalg.det(np.eye(3)[list(order)]) < 0
        tets.append(corner[:, None] + steps[[0, 2, 1, 3] if odd else [0, 1, 2, 3]])
    return np.concatenate(tets).astype(np.int32)


def tet_mesh(points, tets, regions, names=None):
    """Add the interface facets that follow from the regions."""
    neighbours = adjacency.tet_neighbours(tets, len(points))
    facets, sides = adjacency.interface_facets(tets, regions, neighbours)
    return mc.TetMesh(points, tets, regions, facets, sides, names or {})


def slope(h, errors):
    """Fit the order of convergence: the slope of log(error) over log(h)."""
    return np.polyfit(np.log(h), np.log(errors), 1)[0]
