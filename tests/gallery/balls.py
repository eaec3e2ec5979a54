"""A ball without slivers, whatever its size: an octahedron of nested shells, made round."""

import numpy as np

from gallery.meshes import kuhn, tet_mesh

OCTANTS = np.array(np.meshgrid([1, -1], [1, -1], [1, -1], indexing="ij")).reshape(3, -1).T


def round_ball(n, radius=1.0, core=0, names=None):
    """Make 8 n^3 tetrahedra in n shells; the `core` inner shells become region 2.

    One octant is the Kuhn simplex n >= x >= y >= z >= 0, whose planes x = const become spheres. No tetrahedron has all
    corners on the outer face of its octant, so none is flattened when the faces are bent, as happens along the edges
    of a cube: dihedral angles stay between 28.9 and 138.5 degrees.
    """
    grid = np.stack(np.meshgrid(*[np.arange(n + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    tets = kuhn((n, n, n))
    tets = tets[((grid[tets, 0] >= grid[tets, 1]) & (grid[tets, 1] >= grid[tets, 2])).all(axis=1)]
    x, y, z = grid.T
    octant = np.stack([x - y, y - z, z], axis=1)
    corners, cells = [], []
    for signs in OCTANTS:
        corners.append(octant * signs)
        cells.append((tets if signs.prod() > 0 else tets[:, [0, 2, 1, 3]]) + len(octant) * len(cells))
    corners, cells = np.concatenate(corners), np.concatenate(cells)
    points, rows = np.unique(corners[cells].reshape(-1, 3), axis=0, return_inverse=True)
    cells = rows.reshape(-1, 4).astype(np.int32)
    shell, length = np.abs(points).sum(axis=1), np.linalg.norm(points, axis=1)
    regions = np.where(shell[cells].max(axis=1) <= core, 2, 1).astype(np.int32)
    points = points * (radius / n * np.divide(shell, length, out=np.ones_like(length), where=length > 0))[:, None]
    return tet_mesh(points, cells, regions, names or ({1: "shell", 2: "core"} if core else {1: "ball"}))
