"""What is wrong or risky in surfaces and tetrahedral meshes: holes, folds, flat elements, facets out of place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from meshcell.analysis.problems import LISTED, Problem, listed, sizes
from meshcell.core import adjacency
from meshcell.core.arrays import Array
from meshcell.core.errors import MeshError
from meshcell.core.measures import odd_extent
from meshcell.core.types import Surface, TetMesh
from meshcell.core.validation import name_of
from meshcell.geometry.intersections import self_intersections
from meshcell.geometry.measures import enclosed_volumes
from meshcell.geometry.openings import region_edges
from meshcell.geometry.quality import angles

# Degrees: triangles and tetrahedra with less slow the solver down and spoil its accuracy.
NARROW_TRIANGLE, NARROW_DIHEDRAL = 5.0, 5.0


# --- surfaces ---


def surface_problems(surface: Surface) -> Iterator[Problem]:
    """Find what is wrong or risky in a surface."""
    if not len(surface.triangles):
        yield Problem("error", "the surface has no triangles")
        return
    yield from _extent(surface)
    yield from _interfaces(surface)
    least = angles(surface).min(axis=1)
    narrow = np.flatnonzero(least < NARROW_TRIANGLE)
    if len(narrow):
        yield Problem(
            "warning",
            f"{len(narrow):,} triangles have an angle below {NARROW_TRIANGLE:g} degrees, the least {least.min():.2g}: "
            "tetrahedra on them will be slivers; remesh(surface, edge=...)",
            narrow[:LISTED],
        )


def _extent(thing: Surface | TetMesh) -> Iterator[Problem]:
    """Files of surfaces and meshes do not tell their unit."""
    if odd := odd_extent(thing.points):
        advice = 'load(path, unit="nm") takes the points as nm'
        yield Problem("warning", f"{odd} {advice}")


def _interfaces(surface: Surface) -> Iterator[Problem]:
    """Find what makes interfaces unfit to bound regions."""
    yield from _edges_of_regions(surface)
    yield from _bad_triangles(surface)
    inverted = [name for name, volume in enclosed_volumes(surface).items() if volume < 0]
    if inverted:
        yield Problem(
            "error",
            f"regions with a negative volume: {listed(inverted)}; their triangles are inside out: repair(surface) "
            "turns them",
        )
    pairs = self_intersections(surface)
    if len(pairs):
        yield Problem(
            "error",
            f"{len(pairs):,} pairs of triangles cut through each other, the first are rows {pairs[0].tolist()}; smooth "
            'less, or take tetrahedralize(surface, method="winding"), which does not mind',
            pairs[:LISTED],
        )


def _edges_of_regions(surface: Surface) -> Iterator[Problem]:
    """Around every region but the outside, each edge should have two triangles that run along it in opposite senses."""
    counts, sums, edge_rows, triangle_edges = region_edges(surface)
    for mask, kind, advice in (
        (counts == 1, "open edges", "repair(surface) closes small holes"),
        (
            (counts == 2) & (sums != 0),
            "edges whose two triangles are turned against each other",
            "repair(surface) turns them",
        ),
        (counts > 2, "non-manifold edges, with more than two triangles of one region", "the body touches itself there"),
    ):
        bad = np.unique(edge_rows[mask])
        if not len(bad):
            continue
        rows = np.flatnonzero(np.isin(triangle_edges, bad).any(axis=1))
        middle = surface.points[surface.triangles[rows[0]]].mean(axis=0)
        where = f"({', '.join(f'{x:.4g}' for x in middle)}) um"
        # TetGen takes bodies that touch themselves; holes and turned triangles have no inside.
        severity = "note" if kind.startswith("non") else "error"
        yield Problem(severity, f"{len(bad):,} {kind}, such as at {where}; {advice}", rows[:LISTED])


def _bad_triangles(surface: Surface) -> Iterator[Problem]:
    corners = surface.points[surface.triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    flat = np.flatnonzero(surface.areas <= 1e-12 * longest**2)
    if len(flat):
        yield Problem(
            "error",
            f"{len(flat):,} triangles have no area, the first is row {flat[0]}; repair(surface) or remesh",
            flat[:LISTED],
        )
    _, first, counts = np.unique(np.sort(surface.triangles, axis=1), axis=0, return_index=True, return_counts=True)
    if (counts > 1).any():
        rows = first[counts > 1]
        text = f"{len(rows):,} triangles are there more than once, the first is row {rows[0]}; repair(surface)"
        yield Problem("error", text, rows[:LISTED])


# --- meshes ---


def mesh_problems(mesh: TetMesh) -> Iterator[Problem]:
    """Find what is wrong or risky in a mesh of tetrahedra."""
    if not len(mesh.tets):
        yield Problem("error", "the mesh has no tetrahedra")
        return
    yield from _extent(mesh)
    try:
        neighbours = mesh.neighbours
    except MeshError as error:
        yield Problem("error", f"the mesh does not conform: {error}", error.where)
        return
    yield from _facets(mesh, neighbours)
    least = angles(mesh).min(axis=1)
    narrow = np.flatnonzero(least < NARROW_DIHEDRAL)
    if len(narrow):
        yield Problem(
            "warning",
            f"{len(narrow):,} tetrahedra have a dihedral angle below {NARROW_DIHEDRAL:g} degrees, the least "
            f"{least.min():.2g}: they slow the solver down; improve(mesh)",
            narrow[:LISTED],
        )
    yield from _mesh_pieces(mesh, neighbours)
    unused = len(mesh.points) - len(np.unique(mesh.tets))
    if unused:
        yield Problem("note", f"{unused:,} points belong to no tetrahedron")


def _facets(mesh: TetMesh, neighbours: Array) -> Iterator[Problem]:
    """Find facets that are no faces between two regions, and faces between two regions that are no facets."""
    behind_front = mesh.facet_tets
    regions = np.where(behind_front >= 0, mesh.regions[behind_front], 0)
    loose = np.flatnonzero((behind_front < 0).all(axis=1))
    if len(loose):
        text = f"{len(loose):,} facets are no faces of tetrahedra, the first is row {loose[0]}"
        yield Problem("error", text, loose[:LISTED])
    wrong = np.flatnonzero((regions != mesh.sides).any(axis=1) & (behind_front >= 0).any(axis=1))
    if len(wrong):
        row = wrong[0]
        yield Problem(
            "error",
            f"{len(wrong):,} facets do not lie between the regions that their sides name; row {row} has sides "
            f"{mesh.sides[row].tolist()} but lies between {regions[row].tolist()}",
            wrong[:LISTED],
        )
    expected, _ = adjacency.interface_facets(mesh.tets, mesh.regions, neighbours)
    missing = np.setdiff1d(_face_keys(expected), _face_keys(mesh.facets))
    if len(missing):
        yield Problem(
            "error",
            f"{len(missing):,} faces between two regions are not among the facets: fluxes through them would be lost; "
            "adjacency.interface_facets(mesh.tets, mesh.regions, mesh.neighbours) lists them all",
        )
    _, counts = np.unique(_face_keys(mesh.facets), return_counts=True)
    if (counts > 1).any():
        yield Problem("error", f"{int((counts > 1).sum()):,} facets are there more than once; keep one of each")


def _face_keys(faces: Array) -> Array:
    """Return one comparable value for the three points of each face, whatever their order."""
    ordered = np.ascontiguousarray(np.sort(faces, axis=1).astype(np.int32))
    return ordered.view([("a", np.int32), ("b", np.int32), ("c", np.int32)]).ravel()


def _mesh_pieces(mesh: TetMesh, neighbours: Array) -> Iterator[Problem]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows, faces = np.nonzero((neighbours >= 0) & (mesh.regions[neighbours] == mesh.regions[:, None]))
    pairs = (np.ones(len(rows), bool), (rows, neighbours[rows, faces]))
    n, component = connected_components(coo_matrix(pairs, (len(mesh.tets),) * 2), directed=False)
    counts = np.bincount(component, minlength=n)
    region = np.zeros(n, np.int32)
    region[component] = mesh.regions
    for label in np.unique(region):
        own = counts[region == label]
        if len(own) > 1:
            name = name_of(mesh.names, int(label))
            yield Problem("note", f"{name!r} is in {len(own):,} pieces of {sizes(own)} tetrahedra")
