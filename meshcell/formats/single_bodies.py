"""Surfaces of foreign files: closed bodies without regions get sides, orientation and a name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.files import refused
from meshcell.core.types import Surface

log = logging.getLogger("meshcell")


def body(path: Path, points: Array, triangles: Array, names: Mapping[int, str] | None) -> Surface:
    """Make one region of a closed surface, its normals outward.

    The region is label 1 under the name of the file, or the one label that `names` gives.
    """
    named = {1: path.stem} if not names else dict(names)
    label = next(iter(named)) if len(named) == 1 else 1
    points, triangles = np.asarray(points, np.float64), np.asarray(triangles, np.int32).reshape(-1, 3)
    a, b, c = (points[triangles[:, k]] - points.mean(axis=0) for k in range(3))
    volume = np.einsum("ij,ij->", a, np.cross(b, c)) / 6
    if volume < 0:
        log.info("%s: normals point inward (enclosed volume %.4g um^3); the triangles are turned over", path, volume)
        triangles = triangles[:, ::-1]
    sides = np.tile(np.array([label, 0], np.int32), (len(triangles), 1))
    return Surface(points, triangles, sides, named)


def single_body(path: Path, surface: Surface) -> tuple[Ints, str]:
    """Return outward triangles and the name of a surface that is one closed body without patches, or refuse it."""
    labels = set(surface.sides.ravel().tolist()) - {0}
    if len(labels) != 1 or not (surface.sides == 0).any(axis=1).all():
        pairs = ", ".join(f"{behind}|{front}" for behind, front in surface.interfaces)
        refused(path, f"STL holds one body, without regions; the surface has {pairs}", "use .vtp, .ply or .obj")
    if surface.patches:
        refused(path, f"STL has no place for the patches {', '.join(surface.patches)}", "use .vtp, .ply or .obj")
    inward = surface.sides[:, 0] == 0
    triangles = np.where(inward[:, None], surface.triangles[:, ::-1], surface.triangles)
    return triangles, surface.names[labels.pop()]


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
