"""Tetrahedra straight from labels: a graded lattice, labelled, then fitted to the membranes move by guarded move."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
from scipy import ndimage

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.kernels import njit
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.core.validation import BOX_FACES, OUTSIDE
from meshcell.geometry.voxels import depths_of, interface_area
from meshcell.labels.resampling import between_sections
from meshcell.meshing.lattice_fitting import fit
from meshcell.meshing.lattice_labels import labels_of_tets, small_pieces
from meshcell.meshing.octrees import octree_tets
from meshcell.surfaces.extraction import compact_labels, extract
from meshcell.surfaces.smoothing import smooth

log = logging.getLogger("meshcell")

# The mean edge of the body-centred cubic lattice over its cubes' edge.
MEAN_EDGE = (1 + math.sqrt(3)) / 3
# Parts thinner than this many cubes get smaller ones, until they are smaller than this many voxels.
THIN = 1.3
LEAST = 0.75
# Cells of the finest grid, one byte each in a few arrays.
MAX_CELLS = 6e7


def lattice_mesh(volume: Volume, edge: float, grading: float, min_dihedral: float, max_tets: float) -> TetMesh:
    """Fill the regions of a label volume with a lattice whose points are moved to the interfaces.

    Parameters
    ----------
    volume : Volume
        Labels; any are accepted.
    edge : float
        um, the mean edge at interfaces; parts too thin for it get half, a quarter ... of it.
    grading : float
        um of edge per um of depth.
    min_dihedral : float
        Degrees, at most 40. All dihedral angles lie between this and 180 minus this, whatever the labels are.
    max_tets : float
        More than so many are refused with a ValueError.

    Returns
    -------
    TetMesh
        Every connected piece of every label has tetrahedra of its own.

    Notes
    -----
    The lattice is that of Labelle and Shewchuk 2007, Isosurface stuffing. Instead of their cuts, which hold a bound of
    10.7 degrees for a single interface, whole tetrahedra are labelled and points moved under a guard, which holds
    any bound below the lattice's own 45 degrees for any number of regions; smoothness of the interfaces pays for it.
    """
    labels, names = compact_labels(volume, None)
    labels = np.ascontiguousarray(labels, np.int32)
    volume = between_sections(Volume(labels, volume.spacing, volume.origin, names))
    target = smooth(extract(volume))
    points, tets = _cells(volume, edge, grading, max_tets)
    regions = labels_of_tets(volume, target, points, tets, edge / MEAN_EDGE)
    points, tets, regions = _near(points, tets, regions)
    facets, sides = _interfaces(tets, regions, len(points))
    points = fit(points, tets, regions, facets, sides, target, _sides_with_caps(target), min_dihedral)
    return _mesh(points, tets, regions, facets, sides, target.names)


# --- sizes ---


def _cells(volume: Volume, edge: float, grading: float, max_tets: float) -> tuple[Floats, Ints]:
    """Return points, um, and tetrahedra of a lattice that covers all regions."""
    spacing = np.array(volume.spacing)
    cube = edge / MEAN_EDGE
    finer = max(math.frexp(cube / (LEAST * spacing.min()))[1] - 1, 0)
    sizes, finest = _voxel_sizes(volume, cube, grading, finer)
    _check_count(volume, sizes, edge, cube, grading, max_tets)
    extent = np.array(volume.data.shape) * spacing
    while np.prod(extent / finest + 4) > MAX_CELLS:
        finest *= 2
        log.info("lattice: thin parts get cubes of %.3g um, smaller ones are too many", finest)
    # Two cells around, off the planes of voxels: a lattice point on a plane would be a tie.
    counts = np.ceil(extent / finest).astype(int) + 4
    corner = np.array(volume.origin) - spacing / 2 - (counts * finest - extent) / 2 - 0.013 * finest
    levels = np.maximum(np.frexp(sizes / finest * (1 + 1e-6))[1] - 1, 0).astype(np.int8)
    ranges = [_voxels_of_cells(counts[k], corner[k], finest, volume, k) for k in range(3)]
    wanted = _pool(levels, ranges, least=True)
    active = _pool((volume.data != OUTSIDE).astype(np.int8), ranges, least=False) > 0
    halves, tets = octree_tets(wanted, active)
    return corner + halves * (finest / 2), tets


def _check_count(volume: Volume, sizes: Array, edge: float, cube: float, grading: float, max_tets: float) -> None:
    inside = volume.data != OUTSIDE
    voxel = float(np.prod(volume.spacing))
    # Twelve tetrahedra per cube; from an interface inwards, on both sides, cubes grow from `cube` by `grading`.
    even = 12 * inside.sum() * voxel / cube**3
    graded = 12 * interface_area(volume)[1] / max(grading, 1e-12) / cube**2
    expected = max(12 * voxel * float((sizes[inside].astype(float) ** -3).sum()), min(even, graded))
    if expected > max_tets:
        enough = edge * math.sqrt(expected / max_tets)
        raise ValueError(
            f"edge={edge:.3g} um would make about {expected:.2g} tetrahedra; at most {max_tets:.2g} are made; "
            f"edge={enough:.2g} um would do"
        )


def _voxel_sizes(volume: Volume, cube: float, grading: float, finer: int) -> tuple[Array, float]:
    """Return for every voxel the cube wanted, um, and the smallest cube."""
    spacing = np.array(volume.spacing)
    depths = depths_of(volume)
    sizes = (cube + grading * np.maximum(depths - cube, 0)).astype(np.float32)
    finest = cube
    for _ in range(finer):
        reach = THIN * finest / 2
        # Not by distance from thick parts: those of a neighbour are near everywhere.
        ridges = _ridges(volume.data, depths, reach)
        if not ridges.any():
            break
        thin = ndimage.distance_transform_edt(~ridges, sampling=spacing) <= reach
        finest /= 2
        sizes[thin] = finest
    small = small_pieces(volume)
    # Few tetrahedra have no shape.
    if small.any() and finest > LEAST / 2 * spacing.min():
        finest /= 2
        sizes[ndimage.binary_dilation(small, np.ones((3, 3, 3), bool))] = finest
    return sizes, finest


def _voxels_of_cells(count: int, corner: float, finest: float, volume: Volume, axis: int) -> Ints:
    """Return (count, 2) the first and last voxel that each cell, a voxel wider on both sides, overlaps."""
    edges = (corner + finest * np.arange(count + 1) - volume.origin[axis]) / volume.spacing[axis]
    low, high = np.rint(edges[:-1]) - 1, np.rint(edges[1:]) + 1
    voxels: Ints = np.clip(np.stack([low, high], axis=1), 0, volume.data.shape[axis] - 1).astype(np.int32)
    return voxels


def _pool(voxels: Array, ranges: list[Ints], least: bool) -> Array:
    for axis in range(3):
        moved = np.ascontiguousarray(np.moveaxis(voxels, axis, 0))
        flat = _extremes(moved.reshape(len(moved), -1), ranges[axis], least)
        voxels = np.moveaxis(flat.reshape(-1, *moved.shape[1:]), 0, axis)
    return voxels


# --- what is kept ---


def _near(points: Floats, tets: Ints, regions: Ints) -> tuple[Floats, Ints, Ints]:
    """Leave out what is outside, but for the tetrahedra that touch a region: they guard the gaps between membranes."""
    touched = np.zeros(len(points), bool)
    touched[tets[regions > OUTSIDE].ravel()] = True
    kept = touched[tets].any(axis=1)
    used, rows = np.unique(tets[kept], return_inverse=True)
    return points[used], rows.reshape(-1, 4).astype(np.int32), regions[kept]


def _interfaces(tets: Ints, regions: Ints, n_points: int) -> tuple[Ints, Ints]:
    facets, sides = adjacency.interface_facets(tets, regions, adjacency.tet_neighbours(tets, n_points))
    real = sides[:, 0] > OUTSIDE
    return facets[real], sides[real]


def _sides_with_caps(surface: Surface) -> Ints:
    """Return the sides of a surface, but with -1 ... -6 in front of its caps."""
    sides = surface.sides.copy()
    for row, name in enumerate(BOX_FACES, 1):
        sides[surface.patches.get(name, []), 1] = -row
    return sides


def _mesh(points: Floats, tets: Ints, regions: Ints, facets: Ints, sides: Ints, names: dict[int, str]) -> TetMesh:
    patches = {name: np.flatnonzero(sides[:, 1] == -row).astype(np.int32) for row, name in enumerate(BOX_FACES, 1)}
    patches = {name: rows for name, rows in patches.items() if len(rows)}
    inside = regions > OUTSIDE
    return TetMesh(points, tets[inside], regions[inside], facets, np.maximum(sides, OUTSIDE), names, patches)


# --- kernels ---


@njit(cache=True)
def _extremes(rows: Any, ranges: Any, least: bool) -> Any:
    """Return the least or greatest of the rows in every range, column by column."""
    result = np.empty((ranges.shape[0], rows.shape[1]), rows.dtype)
    for i in range(ranges.shape[0]):
        for j in range(rows.shape[1]):
            value = rows[ranges[i, 0], j]
            for k in range(ranges[i, 0] + 1, ranges[i, 1] + 1):
                value = min(value, rows[k, j]) if least else max(value, rows[k, j])
            result[i, j] = value
    return result


@njit(cache=True)
def _ridges(labels: Any, depths: Any, reach: float) -> Any:
    """Tell which voxels are less deep than `reach` although no voxel of their label next to them is deeper."""
    nx, ny, nz = labels.shape
    result = np.zeros(labels.shape, np.bool_)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if depths[i, j, k] >= reach:
                    continue
                highest = True
                for a in range(max(i - 1, 0), min(i + 2, nx)):
                    for b in range(max(j - 1, 0), min(j + 2, ny)):
                        for c in range(max(k - 1, 0), min(k + 2, nz)):
                            if labels[a, b, c] == labels[i, j, k] and depths[a, b, c] > depths[i, j, k]:
                                highest = False
                result[i, j, k] = highest
    return result
