"""Boxes full of blocks: the same voxels and faces under few labels or many."""

import numpy as np

import meshcell as mc
from gallery.meshes import kuhn, tet_mesh


def blocks(counts, n, labels=None, spacing="8 nm"):
    """Split a cube of n voxels along each axis into blocks, each with a label of its own or one of few.

    Parameters
    ----------
    counts : three ints
        Blocks along each axis.
    labels : int, optional
        Deal the blocks to so many labels. No blocks with a common face get the same one, so that there are the same
        faces whatever the number.
    """
    i, j, k = np.meshgrid(*[np.arange(n) * count // n for count in counts], indexing="ij")
    number = i + counts[0] * (j + counts[1] * k) if labels is None else (i + 3 * j + 7 * k) % labels
    return mc.Volume((number + 1).astype(np.int32), spacing)


def filled(volume):
    """Make six tetrahedra of every voxel."""
    nx, ny, nz = volume.data.shape
    grid = np.stack(np.meshgrid(*[np.arange(n + 1.0) for n in volume.data.shape], indexing="ij"), axis=-1)
    points, tets = grid.reshape(-1, 3) * volume.spacing, kuhn((nx, ny, nz))
    voxels = np.floor(points[tets].mean(axis=1) / volume.spacing).astype(int)
    return tet_mesh(points, tets, volume.data[tuple(voxels.T)])
