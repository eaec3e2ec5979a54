"""Tetrahedra from a surface or from labels: conforming, graded, with region ids and facet sides."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee
from scipy.spatial import cKDTree

from meshcell import adjacency, native
from meshcell.improvement import improve
from meshcell.intersections import intersecting_pairs
from meshcell.repairs import without_loose_points
from meshcell.shapes import angles
from meshcell.shells import shells
from meshcell.surfaces import enclosed_volumes, extract
from meshcell.types import OUTSIDE, Array, Floats, Ints, MeshError, Surface, TetMesh, Volume, label_of, name_of
from meshcell.units import convert

log = logging.getLogger("meshcell")

METHODS = ("auto", "tetgen", "lattice", "winding")
# Degrees: a mesh from labels with less is made again with other edges.
LEAST_DIHEDRAL = 10.0
OTHER_EDGES = (0.93, 1.07)
# Voxels per edge when a dirty surface becomes labels first.
VOXELS_PER_EDGE = 2.0
MAX_TETS = 30e6
# Degrees: the lattice itself has 45, and points need some room to move.
MAX_LATTICE_DIHEDRAL = 40.0
# Measured: a tetrahedron of TetGen fills this share of the cube of its wanted edge.
FILL = 0.2
# Points of the lattice that tells TetGen the sizes.
MAX_LATTICE = 100_000


def tetrahedralize(
    source: Surface | Volume,
    *,
    edge: float | str,
    grading: float = 0.3,
    min_dihedral: float = 25.0,
    method: str = "auto",
    recondition: bool = True,
    rounds: int = 12,
    seconds: float = 1800.0,
    memory: float | None = None,
    rng: int | np.random.Generator = 0,
) -> TetMesh:
    """Fill the regions of a surface with tetrahedra, or go there straight from labels.

    Parameters
    ----------
    source : Surface or Volume
        A surface closed around every region, without self-intersections; labels are extracted and smoothed first.
    edge : float or text
        um, the edges wanted on the interfaces: 0.02 or "20 nm".
    grading : float
        How fast the edges may grow away from the interfaces, um per um; 0 keeps them at `edge` everywhere.
    min_dihedral : float
        Degrees, what `improve` aims at for the dihedral angles: between this and 180 minus this. The log says what
        was reached.
    method : str
        "tetgen": constrained Delaunay refinement by TetGen (AGPL), then `improve`. "lattice", from labels only: a
        body-centred cubic lattice on an octree, fitted to the membranes; it takes any labels, keeps a tetrahedron for
        every piece of a label and holds `min_dihedral` (at most 40) everywhere, but its interfaces are rougher (areas
        of a real spine at 20 degrees: within 2 %). "auto": TetGen, and the lattice where that fails. "winding", for
        dirty surfaces: they become labels of two voxels per edge by winding numbers first, see `voxelize`; holes,
        crossings, repeated and turned triangles do not matter, parts thinner than half an edge may get lost.
    recondition : bool
        Replace the triangles by well-shaped ones of about `edge` first, see `remesh`. False takes the triangles as they
        are; all of them come back as facets.
    rounds : int
        Of improvement, see `improve`; 0 leaves TetGen's tetrahedra as they are.
    seconds, memory : float
        Limits of the child process in which TetGen runs: s, and bytes (by default three quarters of the machine's).
    rng : int or Generator
        Seed of the improvement; the same seed gives the same bytes.

    Returns
    -------
    TetMesh
        Conforming; its facets are the faces between different regions, with sides oriented as in the surface and the
        surface's patches. Points and tetrahedra are numbered so that neighbours are near in memory.

    Raises
    ------
    ValueError
        Bad arguments, or an edge so short that more than 30 million tetrahedra would follow.
    MeshError
        The surface is open around a region, intersects itself or is turned inside out; `where` lists the triangles.
    NativeError
        TetGen crashed, took too long or too much memory.

    Notes
    -----
    Si 2015, TetGen, a Delaunay-based quality tetrahedral mesh generator. Regions need no seed points: the tetrahedra
    between the facets are flooded, and every flood is named by the sides of the facets around it.
    """
    length = _checked_arguments(edge, grading, min_dihedral, method)
    if method == "lattice":
        return _by_lattice(source, length, grading, min_dihedral)
    if method == "winding":
        source, method = _voxelized(source, length), "auto"
    can_fall_back = method == "auto" and isinstance(source, Volume) and bool(source.regions)
    try:
        surface = _surface_of(source)
        check_surface(surface)
        _check_count(surface, length, grading, given=float(edge) if isinstance(edge, int | float) else edge)
        make = partial(_from_surface, surface, grading, min_dihedral, recondition, rounds, seconds, memory, rng)
        return _without_flaw(make, length) if rounds and can_fall_back else make(length)
    except (MeshError, native.NativeError) as error:
        if not can_fall_back:
            raise
        log.info("tetrahedralize: %s; going on with the lattice", error)
        return _by_lattice(source, length, grading, min(min_dihedral, MAX_LATTICE_DIHEDRAL))


def _from_surface(
    surface: Surface,
    grading: float,
    min_dihedral: float,
    recondition: bool,
    rounds: int,
    seconds: float,
    memory: float | None,
    rng: int | np.random.Generator,
    length: float,
) -> TetMesh:
    if recondition:
        surface = _reconditioned(surface, length)
    # TetGen would make a loose point a point of the mesh.
    surface = without_loose_points(surface)
    raw = _by_tetgen(surface, length, grading, seconds, memory)
    mesh = improve(raw, min_dihedral=min_dihedral, rounds=rounds, rng=rng)
    return _finished(mesh)


def _without_flaw(make: Callable[[float], TetMesh], length: float) -> TetMesh:
    """Make a mesh, and again with other edges while it has a flaw; raise a MeshError where it keeps one."""
    flaw = ""
    for share in (1.0, *OTHER_EDGES):
        if flaw:
            log.info("tetrahedralize: %s; once more with %g of the edge", flaw, share)
        mesh = make(share * length)
        flaw = _flaw_of(mesh)
        if not flaw:
            return mesh
    raise MeshError(flaw)


def _flaw_of(mesh: TetMesh) -> str:
    """Say what a mesh must not have that was made from labels; nothing where all is well.

    Points that all have to stay, as four on one face of the box, can leave a flat tetrahedron that no move opens.
    """
    least = float(angles(mesh).min())
    if least < LEAST_DIHEDRAL:
        return f"a dihedral angle of {least:.2g} degrees is left"
    # Where a gap of the outside narrows to nothing its two sides may have changed places.
    n_crossed = len(shells(mesh).open_edges)
    return f"the order of the regions around {n_crossed} edges is lost" if n_crossed else ""


def _by_lattice(source: Surface | Volume, length: float, grading: float, min_dihedral: float) -> TetMesh:
    from meshcell.lattice import lattice_mesh

    if not isinstance(source, Volume):
        raise TypeError(
            f'method="lattice" needs a Volume of labels; got {type(source).__name__}; use method="tetgen" for surfaces'
        )
    if min_dihedral > MAX_LATTICE_DIHEDRAL:
        raise ValueError(
            f"the lattice can hold a min_dihedral of at most {MAX_LATTICE_DIHEDRAL:g} degrees; got {min_dihedral!r}"
        )
    return _finished(lattice_mesh(source, length, grading, min_dihedral, MAX_TETS))


def _finished(mesh: TetMesh) -> TetMesh:
    mesh = renumber(mesh)
    log.info(
        "tetrahedralize: %d points, %d tetrahedra, %d facets, %d regions",
        *(len(mesh.points), len(mesh.tets), len(mesh.facets), len(np.unique(mesh.regions))),
    )
    return mesh


def check_surface(surface: Surface) -> None:
    """Raise a MeshError where a surface can not be filled: empty, open, inside out, or cutting through itself."""
    if not len(surface.triangles):
        raise MeshError("tetrahedralize needs a surface with triangles; got an empty one")
    flat = np.flatnonzero(~(surface.areas > 0))
    if len(flat):
        raise MeshError(
            f"triangles should have an area; {len(flat)} have none, the first is row {flat[0]}; use repair or remesh",
            flat,
        )
    open_rows = open_triangles(surface)
    if len(open_rows):
        first = surface.points[surface.triangles[open_rows[0]]].mean(axis=0).round(4).tolist()
        raise MeshError(
            f"the surface should be closed around every region, with sides that agree across every edge; "
            f"{len(open_rows)} triangles lie at edges where it is not, the first is row {open_rows[0]} at {first} um; "
            'use repair(surface), which closes small holes and turns triangles, or method="winding"',
            open_rows,
        )
    for name, volume in enclosed_volumes(surface).items():
        if volume <= 0:
            raise MeshError(
                f"every region should enclose a positive volume; {name!r} has {volume:.3g} um^3; its triangles are "
                "inside out: their normals should point from sides[:, 0] into sides[:, 1]; use repair(surface)",
                np.flatnonzero((surface.sides == label_of(surface.names, name)).any(axis=1)),
            )
    pairs = intersecting_pairs(surface.points, surface.triangles)
    if len(pairs):
        raise MeshError(
            f"the surface should not cut through itself; {len(pairs)} pairs of triangles do, the first are rows "
            f'{pairs[0].tolist()}; smooth less, or use method="winding", which does not mind',
            pairs,
        )


def open_triangles(surface: Surface) -> Array:
    """Return the rows of triangles at edges around which some region is not closed.

    Around an edge every region is entered as often as it is left: seen along the edge, each triangle has one of its two
    regions on its left and the other on its right.
    """
    edges, triangle_edges = adjacency.edges(surface.triangles, len(surface.points))
    first = surface.triangles[:, [1, 2, 0]]
    forward = np.where(first == edges[triangle_edges, 0], 1, -1).ravel()
    labels, numbers = np.unique(surface.sides, return_inverse=True)
    numbers = numbers.reshape(-1, 2)
    slots = triangle_edges.astype(np.int64).ravel() * len(labels)
    keys = np.concatenate([slots + np.repeat(numbers[:, 0], 3), slots + np.repeat(numbers[:, 1], 3)])
    present, which = np.unique(keys, return_inverse=True)
    sums = np.bincount(which.ravel(), np.concatenate([forward, -forward]), len(present))
    bad_edges = np.unique(present[sums != 0] // len(labels))
    return np.flatnonzero(np.isin(triangle_edges, bad_edges).any(axis=1))


def estimate_tets(surface: Surface, edge: float, grading: float = 0.3) -> float:
    """Estimate how many tetrahedra `tetrahedralize` will make.

    At a depth d below an interface the edges are h + g d, so a membrane has 1 / (2 g h^2) / FILL of them per area on
    each meshed side; no part has more than its volume filled at the shortest edge.
    """
    uniform = sum(enclosed_volumes(surface).values()) / (FILL * edge**3)
    meshed_sides = (surface.sides != OUTSIDE).sum(axis=1)
    graded = float(surface.areas @ meshed_sides) / (FILL * 2 * max(grading, 1e-12) * edge**2)
    return min(uniform, graded)


def renumber(mesh: TetMesh) -> TetMesh:
    """Number points and tetrahedra so that what is near in space is near in memory; unused points are left out.

    Points by reverse Cuthill-McKee (1969), tetrahedra by their smallest points, facets in their order. It halves the
    time of a solve.
    """
    n = len(mesh.points)
    used = np.zeros(n, bool)
    used[mesh.tets.ravel()] = True
    a, b = adjacency.edges(mesh.tets, n)[0].T
    graph = sparse.csr_matrix((np.ones(len(a), np.int8), (a, b)), shape=(n, n))
    order = reverse_cuthill_mckee((graph + graph.T).tocsr(), symmetric_mode=True)
    order = order[used[order]]
    new = np.full(n, -1, np.int32)
    new[order] = np.arange(len(order), dtype=np.int32)
    tets = new[mesh.tets]
    rows = np.lexsort(np.sort(tets, axis=1).T[::-1])
    return TetMesh(
        mesh.points[order], tets[rows], mesh.regions[rows], new[mesh.facets], mesh.sides, mesh.names, mesh.patches
    )


# --- before TetGen ---


def _checked_arguments(edge: float | str, grading: float, min_dihedral: float, method: str) -> float:
    length = convert(edge, "um", "edge")
    if not 0 < length < math.inf:
        raise ValueError(f'edge should be a length above 0 in um or a text such as "20 nm"; got {edge!r}')
    if not 0 <= grading <= 2:
        raise ValueError(f"grading should be between 0 (even) and 2 um of edge per um of depth; got {grading!r}")
    if not 0 <= min_dihedral <= 60:
        raise ValueError(f"min_dihedral should be between 0 and 60 degrees; got {min_dihedral!r}")
    if method not in METHODS:
        raise ValueError(f"method should be one of {', '.join(METHODS)}; got {method!r}")
    return length


def _voxelized(source: Surface | Volume, edge: float) -> Volume:
    from meshcell.windings import voxelize

    if not isinstance(source, Surface):
        raise TypeError(
            f'method="winding" is for a dirty Surface; got {type(source).__name__}; labels go without it: method="auto"'
        )
    return voxelize(source, edge / VOXELS_PER_EDGE)


def _surface_of(source: Surface | Volume) -> Surface:
    if isinstance(source, Surface):
        return source
    if isinstance(source, Volume):
        from meshcell.smoothing import smooth

        return smooth(extract(source))
    raise TypeError(f"tetrahedralize needs a Surface or a Volume of labels; got {type(source).__name__}")


def _check_count(surface: Surface, edge: float, grading: float, given: Any) -> None:
    expected = estimate_tets(surface, edge, grading)
    if expected > MAX_TETS:
        enough = edge
        while estimate_tets(surface, enough, grading) > MAX_TETS:
            enough *= 1.1
        raise ValueError(
            f"edge={given!r} would make about {expected:.2g} tetrahedra; at most {MAX_TETS:.2g} are made; edge="
            f"{enough:.2g} um would do"
        )


def _reconditioned(surface: Surface, edge: float) -> Surface:
    from meshcell.decimation import remesh

    return remesh(surface, edge=edge)


def size_field(surface: Surface, edge: float, grading: float) -> tuple[Floats, Ints, Floats]:
    """Return points and tetrahedra around the surface, and the edges wanted at these points.

    At a distance d from the surface the edge is that of the triangles nearest by, plus `grading` d.
    """
    low, high = surface.points.min(axis=0), surface.points.max(axis=0)
    step = max(2 * edge, float(np.prod(high - low + 4 * edge) / MAX_LATTICE) ** (1 / 3))
    counts = np.ceil((high - low) / step).astype(int) + 3
    lattice, cells = kuhn_lattice(tuple(counts), (low + high - (counts - 1) * step) / 2, np.full(3, step))
    # Off the planes of voxels, so that TetGen need not find its way along faces of these tetrahedra.
    lattice += np.random.default_rng(0).uniform(-0.05 * step, 0.05 * step, lattice.shape)
    edges = adjacency.edges(surface.triangles, len(surface.points))[0]
    lengths = np.linalg.norm(surface.points[edges[:, 0]] - surface.points[edges[:, 1]], axis=1)
    n = len(surface.points)
    own = np.bincount(edges.ravel(), np.repeat(lengths, 2), n) / np.maximum(np.bincount(edges.ravel(), minlength=n), 1)
    distances, nearest = cKDTree(surface.points).query(lattice)
    return lattice, cells, np.maximum(own[nearest], 0.5 * edge) + grading * distances


def kuhn_lattice(shape: tuple[int, ...], origin: Floats, steps: Floats) -> tuple[Floats, Ints]:
    """Return points and tetrahedra of a lattice, six tetrahedra around the main diagonal of every cell."""
    axes = [origin[k] + steps[k] * np.arange(shape[k]) for k in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    corners = np.stack(np.meshgrid(*[np.arange(n - 1) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3) @ strides
    cells = []
    for first, second, third in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0)):
        path = np.cumsum([0, strides[first], strides[second], strides[third]])
        # Odd orders of the axes would be inverted.
        turn = [0, 1, 2, 3] if (second - first) % 3 == 1 else [0, 2, 1, 3]
        cells.append(corners[:, None] + path[turn])
    return points, np.concatenate(cells).astype(np.int32)


# --- TetGen and what it returns ---


def _by_tetgen(surface: Surface, edge: float, grading: float, seconds: float, memory: float | None) -> TetMesh:
    lattice, cells, sizes = size_field(surface, edge, grading)
    # TetGen (pip 0.8.4) crashes on sizes above 1. A power of two, so that points come back to the last bit.
    scale = 2.0 ** -math.ceil(math.log2(2 * max(float(np.ptp(lattice, axis=0).max()), float(sizes.max()))))
    arguments = {
        "points": scale * surface.points,
        "triangles": surface.triangles,
        "size_points": scale * lattice,
        "size_tets": cells,
        "sizes": scale * sizes,
    }
    found = _run_tetgen(arguments, seconds, memory)
    markers = found["markers"].astype(np.int64)
    real = (markers >= 0) & (markers < len(surface.triangles))
    mesh = name_regions(
        surface, found["points"] / scale, found["tets"].astype(np.int32), found["faces"][real], markers[real]
    )
    log.info("tetgen: %d tetrahedra", len(mesh.tets))
    return mesh


def _run_tetgen(arguments: dict[str, Any], seconds: float, memory: float | None) -> dict[str, Array]:
    """Run TetGen in its child process, with sizes by point, or where it crashes on them with one greatest volume."""
    # Y: the triangles stay whole, so that two meshes of one surface share it.
    switches = ("pYq1.4/12m", f"pYq1.4/12a{FILL * float(arguments['sizes'].max()) ** 3:.17g}")
    try:
        try:
            return native.run_limited(
                native.tetgen_tetrahedra,
                {**arguments, "switches": switches[0]},
                seconds=seconds,
                memory=memory,
                what="TetGen",
            )
        except native.NativeError as error:
            if error.reason != "crash":
                raise
            # Seen on surfaces with pinched points (pip 0.8.4, while it writes the sizes of the result).
            log.info("tetgen: crashed on graded sizes; running again with one greatest volume")
        return native.run_limited(
            native.tetgen_tetrahedra,
            {**arguments, "switches": switches[1], "sizes": np.zeros(0)},
            seconds=seconds,
            memory=memory,
            what="TetGen",
        )
    except native.NativeError as error:
        if error.reason != "error":
            raise
        raise MeshError(f"{error}; smooth or remesh the surface, or take a shorter edge") from error


def name_regions(surface: Surface, points: Floats, tets: Ints, faces: Ints, origins: Array) -> TetMesh:
    """Find the region of every tetrahedron from the facets around it, and leave out those that are outside.

    Parameters
    ----------
    surface : Surface
    points, tets
        Conforming tetrahedra of either orientation that fill at least all regions.
    faces : (f, 3) int
        Faces of `tets` that make up the triangles of the surface.
    origins : (f,) int
        Rows of the triangles that the faces are parts of.

    Raises
    ------
    MeshError
        The facets around a body of tetrahedra do not agree on its region, or a region was lost.
    """
    points, tets = np.ascontiguousarray(points, np.float64), _turned_positive(points, tets)
    facets = _turned_along(surface, points, np.asarray(faces, np.int32), origins)
    sides = surface.sides[origins]
    neighbours = adjacency.tet_neighbours(tets, len(points))
    behind_front = adjacency.facet_tets(facets, tets, points)
    bodies, n_bodies = _floods(neighbours, behind_front)
    of_body = _regions_of(bodies, n_bodies, behind_front, sides, origins)
    regions = of_body[bodies]
    inside = regions > OUTSIDE
    lost = np.setdiff1d(sides[sides > OUTSIDE], regions)
    if len(lost):
        raise MeshError(f"the mesher lost {', '.join(name_of(surface.names, int(label)) for label in lost)}", lost)
    patches = {name: np.flatnonzero(np.isin(origins, rows)).astype(np.int32) for name, rows in surface.patches.items()}
    mesh = TetMesh(points, tets[inside], regions[inside], facets, sides, surface.names, patches)
    expected = len(adjacency.interface_facets(mesh.tets, mesh.regions, mesh.neighbours)[0])
    if expected != len(facets):
        raise MeshError(
            f"the mesh should have {len(facets)} faces between regions, those of the surface; it has {expected}"
        )
    return mesh


def _turned_positive(points: Floats, tets: Ints) -> Ints:
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    inverted = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) < 0
    turned = np.array(tets, np.int32)
    turned[inverted, 1], turned[inverted, 2] = tets[inverted, 2], tets[inverted, 1]
    return turned


def _turned_along(surface: Surface, points: Floats, faces: Ints, origins: Array) -> Ints:
    """Turn every face so that its normal points along that of the triangle it came from."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    against = np.einsum("ij,ij->i", np.cross(b - a, c - a), surface.area_vectors[origins]) < 0
    turned = np.array(faces, np.int32)
    turned[against, 1], turned[against, 2] = faces[against, 2], faces[against, 1]
    return turned


def _floods(neighbours: Ints, behind_front: Ints) -> tuple[Array, int]:
    """Number the bodies of tetrahedra that facets separate: (n,) numbers, and how many there are."""
    n = len(neighbours)
    rows = np.repeat(np.arange(n), 4)
    across = neighbours.ravel()
    once = across > rows
    pairs = rows[once] * n + across[once]
    low, high = behind_front.min(axis=1).astype(np.int64), behind_front.max(axis=1).astype(np.int64)
    pairs = np.setdiff1d(pairs, low[low >= 0] * n + high[low >= 0], assume_unique=True)
    graph = sparse.coo_matrix((np.ones(len(pairs), np.int8), (pairs // n, pairs % n)), shape=(n, n))
    n_bodies, bodies = connected_components(graph, directed=False)
    return bodies, int(n_bodies)


def _regions_of(bodies: Array, n_bodies: int, behind_front: Ints, sides: Ints, origins: Array) -> Array:
    """Return the region of every body, as the sides of all facets around it say."""
    regions = np.full(n_bodies, -1, np.int32)
    tets, labels = behind_front.T.ravel(), sides.T.ravel()
    there = tets >= 0
    regions[bodies[tets[there]]] = labels[there]
    said = np.where(there, regions[bodies[tets]], OUTSIDE)
    wrong = np.unique(np.tile(origins, 2)[said != labels])
    if len(wrong):
        raise MeshError(
            f"the triangles around a body should agree on its region; {len(wrong)} do not, the first is row "
            f"{wrong[0]}: the surface has sides that contradict each other or a mesher lost a triangle",
            wrong,
        )
    return np.maximum(regions, OUTSIDE)
