"""Surfaces as VTP, tetrahedral meshes as VTU, solutions as a ParaView time series (PVD)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from meshcell.core.arrays import Array, Ints
from meshcell.core.files import (
    FileError,
    checksum,
    merged_names,
    names_from_json,
    names_to_json,
    rows_of,
    tagged,
    truncated,
    untagged,
)
from meshcell.core.types import Surface, TetMesh
from meshcell.formats.cell_arrays import Choice
from meshcell.formats.foreign import by_tags
from meshcell.formats.single_bodies import by_arrays
from meshcell.formats.vtk_cells import FLAT, STRIP, THIN, TRIANGLE, flat_triangles
from meshcell.formats.vtk_xml import Piece, Sections, read_vtk, write_vtk

TETRA = 10
Cells = TypeVar("Cells")
# Letters that neither XML nor ParaView's calculator trips over.
PLAIN = re.compile(r"[A-Za-z0-9_ .+-]+")


# --- surfaces ---


def read_vtp(path: Path, names: Mapping[int, str] | None, regions: Choice = None) -> Surface:
    """Read ours exactly, and foreign VTP of polygons and strips, bodies or both sides by an array of the cells."""
    return surface_in(path, read_vtk(path, "PolyData"), names, regions)


def surface_in(path: Path, piece: Piece, names: Mapping[int, str] | None, regions: Choice = None) -> Surface:
    """Make a surface of what a VTK file holds."""
    points, cells = _points(path, piece), piece.sections.get("CellData", {})
    polys, rows = flat_triangles(path, piece.sections.get("Polys", {}))
    strips, which = _strips(path, piece.sections.get("Strips", {}))
    triangles = np.concatenate([polys, strips])
    # Data of the cells come in this order: vertices, lines, polygons, strips.
    others = sum(piece.counts.get(f"NumberOf{kind}", 0) for kind in ("Verts", "Lines"))
    if others and len(triangles):
        warnings.warn(f"{path}: {others} vertices and lines beside the triangles are left out", stacklevel=2)
    if len(triangles):
        chosen = others + np.concatenate([rows, piece.counts.get("NumberOfPolys", 0) + which])
        cells = {name: array[chosen] for name, array in cells.items()}
    notes = untagged(piece.texts.get("meshcell"), "Surface")
    if not notes or not {"side0", "side1"} <= set(cells):
        return by_arrays(path, points, triangles, cells, names, regions, piece.sections.get("PointData"))
    stored = names_from_json(notes["names"])
    sides = np.stack([cells["side0"], cells["side1"]], axis=1)
    if _changed(notes, points, triangles, sides):
        # Cut, moved or mirrored by another program: the sides tell the labels, the points which way is out.
        return by_arrays(path, points, triangles, _titled(notes, cells), _present(path, stored, sides, names), regions)
    patches = {name: rows_of(cells[array]) for name, array in notes["patches"].items()}
    return Surface(points, triangles, sides, merged_names(path, stored, names), patches, notes.get("resolution"))


def write_vtp(path: Path, surface: Surface) -> None:
    """Write double points, side0 and side1 and one array per patch on the triangles, the names in FieldData."""
    grid, texts = surface_arrays(surface)
    write_vtk(path, "PolyData", *grid, texts)


def surface_arrays(surface: Surface) -> tuple[tuple[dict[str, int], Sections], dict[str, str]]:
    """Return counts and arrays of a surface as VTK wants them, and the text that brings names and patches back."""
    arrays = patch_arrays(surface.patches)
    cells = {"side0": surface.sides[:, 0], "side1": surface.sides[:, 1]}
    cells |= {array: row_mask(surface.patches[name], len(surface.triangles)) for name, array in arrays.items()}
    notes = tagged(
        "Surface",
        names=names_to_json(surface.names),
        patches=arrays,
        resolution=surface.resolution,
        crc=_sum(surface.points, surface.triangles, surface.sides),
    )
    return polygons(surface.points, surface.triangles, cells), {"meshcell": notes}


def polygons(points: Array, triangles: Ints, cells: Mapping[str, Array]) -> tuple[dict[str, int], Sections]:
    """Return the counts and sections of triangles as VTK's PolyData."""
    counts = {"NumberOfPoints": len(points), "NumberOfVerts": 0, "NumberOfLines": 0, "NumberOfStrips": 0}
    counts["NumberOfPolys"] = len(triangles)
    polys: dict[str, Array | str] = {"connectivity": triangles.ravel(), "offsets": 3 * np.arange(1, len(triangles) + 1)}
    return counts, {"PointData": {}, "CellData": dict(cells), "Points": {"Points": points}, "Polys": polys}


# --- tetrahedral meshes ---


def read_vtu(path: Path, names: Mapping[int, str] | None, regions: Choice = None) -> Surface | TetMesh:
    """Read ours exactly, and foreign tetrahedra with an array of region labels; tags of triangles become patches.

    Triangles, quads and strips alone are a surface.
    """
    return mesh_in(path, read_vtk(path, "UnstructuredGrid"), names, regions)


def mesh_in(path: Path, piece: Piece, names: Mapping[int, str] | None, regions: Choice = None) -> Surface | TetMesh:
    """Make a mesh of what a VTK file holds, or a surface where there are no tetrahedra."""
    points, cells = _points(path, piece), piece.sections.get("CellData", {})
    types, corners = piece.sections["Cells"]["types"], piece.sections["Cells"]
    there = set(np.unique(types).tolist())
    if there & set(FLAT) and not there - set(FLAT) - set(THIN):
        return _flat(path, piece, points, names, regions)
    other = sorted(there - {TRIANGLE, TETRA, *THIN})
    if other:
        raise FileError(f"{path} should hold linear tetrahedra and triangles; got VTK cell types {other}; convert them")
    tets, facets = (_of_size(path, corners, n, types == kind) for n, kind in ((4, TETRA), (3, TRIANGLE)))
    by_kind = {name: (array[types == TETRA], array[types == TRIANGLE]) for name, array in cells.items()}
    notes = untagged(piece.texts.get("meshcell"), "TetMesh")
    if not notes or not {"region", "side0", "side1"} <= set(cells):
        return by_tags(path, points, tets, facets, by_kind, names, regions, piece.sections.get("PointData"))
    stored, own = names_from_json(notes["names"]), by_kind["region"][0]
    sides = np.stack([by_kind["side0"][1], by_kind["side1"][1]], axis=1)
    if _changed(notes, points, tets, own, facets, sides):
        # Cut by another program: the interfaces follow from what regions are left.
        return by_tags(path, points, tets, facets, _titled(notes, by_kind), _present(path, stored, own, names), regions)
    patches = {name: rows_of(by_kind[array][1]) for name, array in notes["patches"].items()}
    return TetMesh(points, tets, own, facets, sides, merged_names(path, stored, names), patches)


def _flat(path: Path, piece: Piece, points: Array, names: Mapping[int, str] | None, regions: Choice) -> Surface:
    """Make a surface of a grid without volume cells."""
    triangles, rows = flat_triangles(path, piece.sections["Cells"], piece.sections["Cells"]["types"])
    if len(rows) and len(piece.sections["Cells"]["types"]) > len(np.unique(rows)):
        warnings.warn(f"{path}: vertices and lines beside the triangles are left out", stacklevel=2)
    cells = {name: array[rows] for name, array in piece.sections.get("CellData", {}).items()}
    notes = untagged(piece.texts.get("meshcell"), "TetMesh")
    if notes and {"side0", "side1"} <= set(cells):
        # The interfaces of a mesh of ours, which another program took out.
        sides = np.stack([cells["side0"], cells["side1"]], axis=1)
        names, cells = _present(path, names_from_json(notes["names"]), sides, names), _titled(notes, cells)
    return by_arrays(path, points, triangles, cells, names, regions, piece.sections.get("PointData"))


def _strips(path: Path, cells: Mapping[str, Array]) -> tuple[Array, Array]:
    return flat_triangles(path, cells, np.full(len(cells.get("offsets", ())), STRIP))


def write_vtu(path: Path, mesh: TetMesh) -> None:
    """Write tetrahedra, then facets, as cells with `region`, `side0`, `side1` and one array per patch."""
    grid, texts = mesh_arrays(mesh)
    write_vtk(path, "UnstructuredGrid", *grid, texts)


def mesh_arrays(mesh: TetMesh) -> tuple[tuple[dict[str, int], Sections], dict[str, str]]:
    """Return counts and arrays of a mesh as VTK wants them, and the text that brings names and patches back."""
    arrays = patch_arrays(mesh.patches)
    n, f = len(mesh.tets), len(mesh.facets)
    # A facet is coloured like the region behind it, so that it does not speckle the picture of the regions.
    behind = np.where(mesh.sides[:, 0] > 0, mesh.sides[:, 0], mesh.sides[:, 1])
    cells: dict[str, Array] = {"region": np.concatenate([mesh.regions, behind])}
    cells |= {f"side{k}": np.concatenate([np.zeros(n, np.int32), mesh.sides[:, k]]) for k in (0, 1)}
    cells |= {array: row_mask(n + mesh.patches[name], n + f) for name, array in arrays.items()}
    crc = _sum(mesh.points, mesh.tets, mesh.regions, mesh.facets, mesh.sides)
    notes = tagged("TetMesh", names=names_to_json(mesh.names), patches=arrays, crc=crc)
    return tet_grid(mesh.points, mesh.tets, mesh.facets, cells), {"meshcell": notes}


def tet_grid(points: Array, tets: Ints, facets: Ints, cells: Mapping[str, Array]) -> tuple[dict[str, int], Sections]:
    """Return the counts and sections of tetrahedra and facets as VTK's UnstructuredGrid."""
    n, f = len(tets), len(facets)
    corners: dict[str, Array | str] = {
        "connectivity": np.concatenate([tets.ravel(), facets.ravel()]),
        "offsets": np.concatenate([4 * np.arange(1, n + 1), 4 * n + 3 * np.arange(1, f + 1)]),
        "types": np.repeat(np.array([TETRA, TRIANGLE], np.uint8), [n, f]),
    }
    counts = {"NumberOfPoints": len(points), "NumberOfCells": n + f}
    return counts, {"PointData": {}, "CellData": dict(cells), "Points": {"Points": points}, "Cells": corners}


# --- arrays ---


def patch_arrays(patches: Mapping[str, Any]) -> dict[str, str]:
    """Return name of a patch -> name of the array that marks it."""
    return {name: f"patch:{name if PLAIN.fullmatch(name) else row}" for row, name in enumerate(patches)}


def row_mask(rows: Array, n: int) -> Array:
    """Return (n,) bytes, 1 in the given rows."""
    mask = np.zeros(n, np.uint8)
    mask[rows] = 1
    return mask


def _sum(points: Array, *cells: Array) -> int:
    """Return the checksum of points and cells, whatever the types in which a file keeps them."""
    return checksum(np.asarray(points, np.float64), *(np.asarray(own).astype(np.int32) for own in cells))


def _changed(notes: Mapping[str, Any], *arrays: Array) -> bool:
    """Tell whether another program has changed what our note is about; our files of old have no sum."""
    return "crc" in notes and notes["crc"] != _sum(*arrays)


def _titled(notes: Mapping[str, Any], cells: Mapping[str, Cells]) -> dict[str, Cells]:
    """Give the arrays of patches whole names, as other files have them."""
    titles = {array: f"patch:{name}" for name, array in notes["patches"].items()}
    return {titles.get(name, name): own for name, own in cells.items()}


def _present(path: Path, stored: Mapping[int, str], labels: Array, names: Mapping[int, str] | None) -> dict[int, str]:
    """Return the names of the labels that are left, and those that are given."""
    left = set(np.unique(labels).tolist())
    return merged_names(path, {label: name for label, name in stored.items() if label in left}, names)


def _points(path: Path, piece: Piece) -> Array:
    arrays = list(piece.sections.get("Points", {}).values())
    if len(arrays) != 1:
        raise FileError(f"{path} should hold one array of points; it has {len(arrays)}; export it anew")
    return arrays[0]


def _of_size(path: Path, cells: Mapping[str, Array], n: int, chosen: Array | None = None) -> Array:
    """Return the corners of the chosen cells, all of which must have n."""
    if "offsets" not in cells or len(cells["offsets"]) == 0:
        return np.empty((0, n), np.int64)
    ends = cells["offsets"].astype(np.int64)
    starts = np.concatenate([[0], ends[:-1]])
    if chosen is not None:
        starts, ends = starts[chosen], ends[chosen]
    if not (ends - starts == n).all():
        raise FileError(f"{path} should hold cells with {n} corners; some have another number; triangulate it first")
    if len(ends) and (starts.min() < 0 or ends.max() > len(cells["connectivity"])):
        truncated(path, f"corners up to {ends.max():,}", f"{len(cells['connectivity']):,} are there")
    return cells["connectivity"][starts[:, None] + np.arange(n)]
