"""What is wrong or risky in surfaces and tetrahedral meshes: holes, folds, flat elements, facets out of place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from meshcell.analysis.problems import LISTED, Problem, listed, sizes
from meshcell.core import adjacency
from meshcell.core.arrays import Array, distinct_rows
from meshcell.core.errors import MeshError
from meshcell.core.measures import odd_extent
from meshcell.core.types import Surface, TetMesh
from meshcell.core.validation import name_of
from meshcell.geometry.intersections import self_intersections
from meshcell.geometry.measures import enclosed_volumes
from meshcell.geometry.openings import open_triangles, region_edges
from meshcell.geometry.quality import angles
from meshcell.geometry.topology import shells
from meshcell.labels.resampling import thick_axis
from meshcell.surfaces.holes import holes, is_small
from meshcell.surfaces.nets import degenerate, merged
from meshcell.surfaces.orientation import orient

# Degrees: triangles and tetrahedra with less slow the solver down and spoil its accuracy.
NARROW_TRIANGLE, NARROW_DIHEDRAL = 5.0, 5.0
# Degrees: what `tetrahedralize` aims at unless it is told otherwise.
AIM = 25.0
# An edge so many times as long as the median and as its triangle's shortest leads to a stray point.
FAR = 100.0
# Shells that are told one by one; handles of a region from which on they are more likely tears.
SHELLS, MANY_HANDLES = 8, 5


# --- surfaces ---


def surface_problems(surface: Surface) -> Iterator[Problem]:
    """Find what is wrong or risky in a surface."""
    if not len(surface.triangles):
        yield Problem("error", "the surface has no triangles")
        return
    yield from _extent(surface)
    yield from _steps(surface)
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


def _steps(surface: Surface) -> Iterator[Problem]:
    """Tell of a surface of thick sections that were not interpolated."""
    if surface.resolution is not None and (axis := thick_axis(surface.resolution)) is not None:
        long, wide = surface.resolution[axis], max(np.delete(surface.resolution, axis))
        yield Problem(
            "warning",
            f"made of voxels {long / wide:.3g} times longer along {'xyz'[axis]}, kept as they are: steps between "
            'sections are in its areas; extract without sections="keep", or resample the labels first',
        )


def _interfaces(surface: Surface) -> Iterator[Problem]:
    """Find what makes interfaces unfit to bound regions."""
    net = merged(surface, None)
    n_same = len(np.unique(surface.triangles)) - len(net.points)
    if n_same:
        yield Problem(
            "error",
            f"{n_same:,} points lie in the same place as others, so that triangles which meet there do not share them; "
            "repair(surface) merges them",
        )
    oriented = orient(net)
    yield from _edges_of_regions(surface, oriented.surface)
    yield from _bad_triangles(surface)
    misplaced = oriented.misplaced
    for shell in misplaced[:SHELLS]:
        yield Problem("error", f"{shell.said}; repair(surface) puts it right", shell.rows[:LISTED])
    if len(misplaced) > SHELLS:
        yield Problem("error", f"{len(misplaced) - SHELLS:,} more shells are the wrong way round; repair(surface)")
    inverted = [name for name, volume in enclosed_volumes(surface).items() if volume < 0]
    if inverted:
        yield Problem(
            "error",
            f"regions with a negative volume: {listed(inverted)}; their triangles are inside out: repair(surface) "
            "turns them",
        )
    # Triangles that meet where points coincide do not cut through each other.
    pairs = self_intersections(net)
    if n_same and len(pairs):
        pairs = pairs[~degenerate(net.triangles)[pairs].any(axis=1)]
    if len(pairs):
        yield Problem("error", f"{_crossing(net, pairs)}", pairs[:LISTED])
    if not len(pairs):
        yield from _handles(net)


def _crossing(net: Surface, pairs: Array) -> str:
    """Say which triangles meet, and tell walls that are there twice from triangles that cut through each other."""
    corners = np.sort(net.triangles, axis=1)
    same = (corners[pairs[:, 0]] == corners[pairs[:, 1]]).all(axis=1)
    if same.all():
        a, b = pairs[0]
        names = [name_of(net.names, int(label)) for label in np.unique(net.sides[[a, b]]) if label != 0]
        return (
            f"{len(pairs):,} triangles lie on others, the first are rows {pairs[0].tolist()}: walls of {listed(names)} "
            "that each of them brings; repair(surface) makes one wall of them"
        )
    rest = pairs[~same]
    return (
        f"{len(rest):,} pairs of triangles cut through each other, the first are rows {rest[0].tolist()}; smooth less, "
        'or take tetrahedralize(surface, method="winding"), which does not mind'
    )


def _handles(mesh: Surface | TetMesh) -> Iterator[Problem]:
    """Tell of regions with handles: tunnels through them, or tears by which two sides are one."""
    found = shells(mesh)
    if len(found.open_edges):
        return
    handles = dict.fromkeys(np.unique(found.regions[found.regions != 0]).tolist(), 0)
    for label, euler in zip(found.regions.tolist(), found.euler.tolist(), strict=True):
        if label != 0:
            handles[label] += (2 - euler) // 2
    yield from handle_problems({name_of(mesh.names, label): n for label, n in handles.items() if n > 0})


def handle_problems(handles: dict[str, int]) -> Iterator[Problem]:
    """Say which regions have handles; many are more often tears of a segmentation than the shape of an organelle."""
    for name, n in sorted(handles.items(), key=lambda item: -item[1])[:SHELLS]:
        yield Problem(
            "warning" if n >= MANY_HANDLES else "note",
            f"{name!r} has {n:,} handle{'s' if n > 1 else ''} (its genus): tunnels through it, or tears by which what "
            "should be apart on both sides of it is one; for a membrane close them in the labels, as by clean(labels, "
            "smooth=1)",
        )
    if len(handles) > SHELLS:
        yield Problem("note", f"{len(handles) - SHELLS:,} more regions have handles")


def _edges_of_regions(surface: Surface, oriented: Surface) -> Iterator[Problem]:
    """Around every region but the outside, each edge should have two triangles that run along it in opposite senses.

    What `repair` would make of its triangles tells where it is of no use.
    """
    counts, sums, edge_rows, triangle_edges = region_edges(surface)
    told: Array = np.zeros(0, np.int64)
    single = np.bincount(triangle_edges.ravel())[edge_rows] == 1
    kinds: tuple[tuple[Array, str, Callable[[], str]], ...] = (
        ((counts == 1) & single, "open edges", lambda: _advice_on_holes(oriented)),
        (
            (counts == 1) & ~single,
            "edges at which regions meet without a wall between them",
            lambda: "a wall is missing there, or triangles name a wrong region: put their sides right",
        ),
        (
            (counts == 2) & (sums != 0),
            "edges whose two triangles are turned against each other",
            lambda: _advice_on_turns(oriented),
        ),
        (
            (counts > 2) & (sums != 0),
            "edges at which three or more triangles leave a region open",
            lambda: "a wall inside it has to go, or needs a region of its own on one side",
        ),
        (
            (counts > 2) & (sums == 0),
            "non-manifold edges, with more than two triangles of one region",
            lambda: "the body touches itself there",
        ),
    )
    for mask, kind, advice in kinds:
        bad = np.unique(edge_rows[mask])
        if not len(bad):
            continue
        rows = np.flatnonzero(np.isin(triangle_edges, bad).any(axis=1))
        middle = surface.points[surface.triangles[rows[0]]].mean(axis=0)
        where = f"({', '.join(f'{x:.4g}' for x in middle)}) um"
        # TetGen takes bodies that touch themselves; holes and turned triangles have no inside.
        severity = "note" if kind.startswith("non") else "error"
        if severity == "error":
            told = np.union1d(told, bad)
        yield Problem(severity, f"{len(bad):,} {kind}, such as at {where}; {advice()}", rows[:LISTED])
    yield from _crossed_edges(surface, told)


def _advice_on_holes(oriented: Surface) -> str:
    """Say what to do about open edges: `repair` closes no hole that may be meant."""
    found = list(holes(oriented))
    left = [hole for hole in found if not is_small(hole)]
    if not found and len(open_triangles(oriented)):
        return "they make no loop that could be closed: leave the triangles there out, or give the wall its rim"
    if not left:
        return "repair(surface) closes small holes"
    share, n_edges = max(hole.share for hole in left), max(len(hole.corners) for hole in left)
    said = (
        f"repair(surface) leaves {len(left)} hole{'s' if len(left) > 1 else ''} of up to {n_edges} edges open, which "
        f"would need {share:.2g} of the area of {'their pieces' if len(left) > 1 else 'its piece'}: "
    )
    if share < 1 - 1e-6:
        return f"{said}if that is meant to be closed, repair(surface, max_hole={n_edges})"
    return f"{said}sheets, which enclose nothing; a region needs a closed surface"


def _advice_on_turns(oriented: Surface) -> str:
    counts, sums, _, _ = region_edges(oriented)
    if ((counts == 2) & (sums != 0)).any():
        return "there is no way to turn them that agrees: the surface has one side only, as a Moebius strip"
    return "repair(surface) turns them"


def _crossed_edges(surface: Surface, told: Array) -> Iterator[Problem]:
    """Find the other edges that `topology` finds open: the regions around them are not in an order that can be."""
    edges = adjacency.edges(surface.triangles, len(surface.points))[0].astype(np.int64)
    found = shells(surface).open_edges.astype(np.int64)
    n = len(surface.points)
    rest = found[~np.isin(found @ [n, 1], edges[told] @ [n, 1])]
    if len(rest):
        where = f"({', '.join(f'{x:.4g}' for x in surface.points[rest[0]].mean(axis=0))}) um"
        yield Problem(
            "error",
            f"{len(rest):,} edges around which the order of the regions contradicts itself, such as at {where}: sides "
            "have changed places there; smooth less, or remesh with shorter edges",
            rest[:LISTED],
        )


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
    yield from _stray_points(surface)
    _, first, _, counts = distinct_rows(np.sort(surface.triangles, axis=1))
    if (counts > 1).any():
        rows = first[counts > 1]
        text = f"{len(rows):,} triangles are there more than once, the first is row {rows[0]}; repair(surface)"
        yield Problem("error", text, rows[:LISTED])


def _stray_points(surface: Surface) -> Iterator[Problem]:
    """Find points far from all others, as (0, 0, 0) where an exporter had none: triangles at them are long needles."""
    corners = surface.points[surface.triangles]
    # Edge k lies opposite corner k.
    lengths = np.linalg.norm(np.roll(corners, -1, axis=1) - np.roll(corners, -2, axis=1), axis=2)
    longest, opposite = lengths.max(axis=1), lengths.argmin(axis=1)
    needles = np.flatnonzero((longest > FAR * np.median(lengths)) & (longest > FAR * lengths.min(axis=1)))
    stray, counts = np.unique(surface.triangles[needles, opposite[needles]], return_counts=True)
    stray = stray[counts > 2]
    if len(stray):
        place = ", ".join(f"{x:.4g}" for x in surface.points[stray[0]])
        yield Problem(
            "warning",
            f"{len(stray):,} points lie far from those they are joined to, such as point {stray[0]} at ({place}) um "
            f"with edges of up to {longest[needles].max():.3g} um where the median is {np.median(lengths):.2g}: strays "
            "of an exporter? leave their triangles out, and repair(surface) closes the hole",
            needles[:LISTED],
        )


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
    elif least.min() < AIM:
        below = np.flatnonzero(least < AIM)
        yield Problem(
            "note",
            f"the least dihedral angle is {least.min():.3g} degrees, short of the {AIM:g} that tetrahedralize aims at: "
            f"{len(below):,} tetrahedra are below; where that matters, improve(mesh) or shorter edges",
            below[:LISTED],
        )
    yield from _handles(mesh)
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
    order = np.argsort(region, kind="stable")
    labels, first = np.unique(region[order], return_index=True)
    for label, own in zip(labels, np.split(counts[order], first[1:]), strict=True):
        if len(own) > 1:
            name = name_of(mesh.names, int(label))
            yield Problem("note", f"{name!r} is in {len(own):,} pieces of {sizes(own)} tetrahedra")
