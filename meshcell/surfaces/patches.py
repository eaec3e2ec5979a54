"""Patches: named parts of interfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.hints import require
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.surfaces.extraction import Mesh


def patch(mesh: Mesh, name: str, where: Callable[[Floats], Any] | Volume) -> Mesh:
    """Name a part of the interfaces.

    Parameters
    ----------
    mesh : Surface or TetMesh
    name : str
        A name that is not yet a region's; an existing patch of that name is replaced.
    where : callable or Volume
        A predicate on (k, 3) points in um that returns (k,) booleans, asked at the centroids of the triangles; or a
        mask volume, whose non-zero voxels hold the centroids of the patch.

    Returns
    -------
    Surface or TetMesh
        The same mesh with the patch added.

    Raises
    ------
    ValueError
        The name is a region's, the predicate has the wrong shape, or nothing was chosen.
    """
    require(mesh, (Surface, TetMesh), "patch(mesh, name, where)", name, where)
    require(name, str, "patch(mesh, name, where)", where)
    if name in mesh.names.values():
        raise ValueError(f"a patch should have a name of its own; {name!r} is a region")
    triangles = mesh.triangles if isinstance(mesh, Surface) else mesh.facets
    centroids = mesh.points[triangles].mean(axis=1)
    chosen = _inside_mask(where, centroids) if isinstance(where, Volume) else np.asarray(where(centroids))
    if chosen.shape != (len(centroids),) or chosen.dtype != bool:
        raise ValueError(
            f"the predicate of patch {name!r} should return ({len(centroids)},) booleans; got {chosen.dtype} of shape "
            f"{chosen.shape}"
        )
    if not chosen.any():
        low, high = centroids.min(axis=0).round(4).tolist(), centroids.max(axis=0).round(4).tolist()
        raise ValueError(f"patch {name!r} chose no triangle; their centroids span {low} ... {high} um")
    return replace(mesh, patches={**mesh.patches, name: np.flatnonzero(chosen).astype(np.int32)})


def _inside_mask(mask: Volume, points: Floats) -> Array:
    voxels = np.rint((points - np.asarray(mask.origin)) / np.asarray(mask.spacing)).astype(np.int64)
    within = ((voxels >= 0) & (voxels < np.asarray(mask.data.shape))).all(axis=1)
    chosen = np.zeros(len(points), bool)
    chosen[within] = mask.data[tuple(voxels[within].T)] != 0
    return chosen
