"""Surfaces of foreign files: closed bodies without regions get sides, orientation and a name."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.files import FileError, merged_names, refused
from meshcell.core.types import Surface
from meshcell.formats.cell_arrays import Choice, positive, region_array
from meshcell.formats.foreign import named_patches
from meshcell.formats.nested_bodies import bodies
from meshcell.formats.shells import outward

log = logging.getLogger("meshcell")

# Names of arrays with the labels on both sides.
SIDE_ARRAYS = re.compile(r"boundary_?labels|sides?|region_?pairs?", re.IGNORECASE)


def body(
    path: Path,
    points: Array,
    triangles: Array,
    names: Mapping[int, str] | None,
    patches: Mapping[str, Array] | None = None,
) -> Surface:
    """Make one region of a closed surface, its normals outward; shells within it are walls of its cavities.

    The region is label 1 under the name of the file, or the one label that `names` gives.
    """
    named = {1: path.stem} if not names else merged_names(path, {}, names)
    label = next(iter(named)) if len(named) == 1 else 1
    points, triangles = _cells(path, points, triangles)
    triangles, _ = outward(path, points, triangles)
    sides = np.tile(np.array([label, 0], np.int32), (len(triangles), 1))
    return Surface(points, triangles, sides, named, dict(patches or {}))


def by_arrays(
    path: Path,
    points: Array,
    triangles: Array,
    arrays: Mapping[str, Array],
    names: Mapping[int, str] | None,
    regions: Choice = None,
    on_points: Mapping[str, Array] | None = None,
) -> Surface:
    """Make a surface by the arrays of its triangles.

    An array of two whole numbers per triangle holds both sides (VTK's BoundaryLabels), and so do our `side0` and
    `side1`; one of one number holds the body that the triangle belongs to (see `region_array`); without any the surface
    is one body.
    """
    patches = {name: np.flatnonzero(arrays[array]) for name, array in named_patches(arrays).items()}
    if regions is None and {"side0", "side1"} <= set(arrays):
        sides = np.stack([arrays["side0"], arrays["side1"]], axis=1)
        return _by_sides(path, points, triangles, sides, names, patches)
    pairs = {
        name: own for name, own in arrays.items() if own.ndim == 2 and own.shape[1] == 2 and own.dtype.kind in "iu"
    }
    both = regions if regions in pairs else next((n for n in pairs if regions is None and SIDE_ARRAYS.search(n)), None)
    if both is not None:
        return _by_sides(path, points, triangles, pairs[str(both)], names, patches)
    found = region_array(path, arrays, regions, on_points)
    if found is None or (arrays[found] == arrays[found][0]).all():
        label = 0 if found is None else int(arrays[found][0])
        return body(path, points, triangles, names or ({label: path.stem} if label > 0 else None), patches)
    labels, fresh = positive(path, arrays[found].astype(np.int64), found)
    return bodies(path, points, triangles, labels, merged_names(path, fresh, names))


def _by_sides(
    path: Path,
    points: Array,
    triangles: Array,
    sides: Array,
    names: Mapping[int, str] | None,
    patches: Mapping[str, Array],
) -> Surface:
    """Take both sides from the file; where the outside would have a positive volume, the normals run the other way."""
    points, triangles = _cells(path, points, triangles)
    # Labels below 0 are SurfaceNets' word for the outside.
    sides = np.maximum(sides, 0)
    apart = sides[:, 0] != sides[:, 1]
    if not apart.all():
        # Walls of the cells of a volume mesh, of which another program took the surface.
        warnings.warn(f"{path}: {(~apart).sum():,} triangles with one region on both sides are left out", stacklevel=2)
        place = np.cumsum(apart) - 1
        patches = {name: place[rows[apart[rows]]] for name, rows in patches.items()}
        triangles, sides = triangles[apart], sides[apart]
    surface = Surface(points, triangles, sides, merged_names(path, {}, names), dict(patches))
    outward = np.einsum("ij,ij,i->", points[triangles[:, 0]] - points.mean(axis=0), surface.area_vectors, _signs(sides))
    if outward < 0:
        log.info("%s: normals point from the second label into the first; the triangles are turned over", path)
        surface = replace(surface, triangles=triangles[:, ::-1])
    return surface


def _signs(sides: Array) -> Array:
    """+1 where the outside lies in front, -1 where it lies behind, else 0."""
    return (sides[:, 1] <= 0).astype(float) - (sides[:, 0] <= 0)


def _cells(path: Path, points: Array, triangles: Array) -> tuple[Floats, Ints]:
    points, triangles = np.asarray(points, np.float64), np.asarray(triangles).reshape(-1, 3)
    if not len(triangles):
        raise FileError(
            f"{path} holds a point cloud: {len(points):,} points and no triangles; make a surface of it first, for "
            "instance by Poisson reconstruction in MeshLab"
        )
    if triangles.min() < 0 or triangles.max() >= len(points):
        raise FileError(
            f"{path} should have triangles of its {len(points):,} points; one is of point {triangles.max():,}; the "
            "file is damaged, or its points are counted from another number: export it anew"
        )
    return points, triangles.astype(np.int32)


def single_body(path: Path, surface: Surface, form: str = "STL") -> tuple[Ints, str]:
    """Return outward triangles and the name of a surface that is one closed body without patches, or refuse it."""
    labels = set(surface.sides.ravel().tolist()) - {0}
    if len(labels) != 1 or not (surface.sides == 0).any(axis=1).all():
        pairs = ", ".join(f"{behind}|{front}" for behind, front in surface.interfaces)
        refused(path, f"{form} holds one body, without regions; the surface has {pairs}", "use .vtp, .ply or .obj")
    if surface.patches:
        refused(path, f"{form} has no place for the patches {', '.join(surface.patches)}", "use .vtp, .ply or .obj")
    warn_of_size(path, surface)
    inward = surface.sides[:, 0] == 0
    triangles = np.where(inward[:, None], surface.triangles[:, ::-1], surface.triangles)
    return triangles, surface.names[labels.pop()]


def warn_of_size(path: Path, surface: Surface) -> None:
    """Say that the voxel size, which smoothing and remeshing look at, has no place in a format."""
    if surface.resolution is not None:
        warnings.warn(
            f"{path}: the voxel size of the surface is left out, which {path.suffix} cannot hold; .ply, .vtp, .vtk and "
            ".obj keep it",
            stacklevel=2,
        )


def merged_points(corners: Floats) -> tuple[Floats, Ints]:
    """Give every position one number, in the order of first use: (3 t, 3) corners -> points and triangles."""
    # Adding zero turns -0.0 into 0.0, which are the same place but not the same bytes.
    corners = np.ascontiguousarray(corners + 0.0)
    keys = corners.view(np.dtype((np.void, corners.itemsize * 3))).ravel()
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return corners[first[order]], rank[which.ravel()].reshape(-1, 3)
