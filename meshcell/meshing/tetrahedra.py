"""Tetrahedra from a surface or from labels: conforming, graded, with region ids and facet sides."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from meshcell.core import adjacency
from meshcell.core.errors import MeshError, NativeError
from meshcell.core.hints import require
from meshcell.core.progress import Stage, stages
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.core.units import convert
from meshcell.core.validation import OUTSIDE, check_edge, label_of
from meshcell.geometry.intersections import intersecting_pairs
from meshcell.geometry.measures import areas, enclosed_volumes
from meshcell.geometry.openings import open_triangles
from meshcell.geometry.quality import angles
from meshcell.geometry.topology import shells
from meshcell.meshing.improvement import improve
from meshcell.meshing.lattice import lattice_mesh
from meshcell.meshing.tetgen import FILL, by_tetgen
from meshcell.surfaces.edge_moves import halved
from meshcell.surfaces.extraction import extract
from meshcell.surfaces.nets import without_loose_points
from meshcell.surfaces.orientation import orient
from meshcell.surfaces.remeshing import remesh
from meshcell.surfaces.smoothing import smooth
from meshcell.surfaces.voxelizing import voxelize

log = logging.getLogger("meshcell")

METHODS = ("auto", "tetgen", "lattice", "winding")
# Degrees: a mesh from labels with less is made again with other edges.
LEAST_DIHEDRAL = 10.0
OTHER_EDGES = (0.93, 1.07)
# A region whose volume differs by more than this share from the surface's is told.
SAME_VOLUME = 0.005
# The same for areas of interfaces, which bend between fewer triangles.
SAME_AREA = 0.02
# Of the edge: the shortest one in thin parts where longer ones change a volume; on at most so many of its squares.
IN_THIN_PARTS, MAX_THIN = 0.1, 50_000
# Voxels per edge when a dirty surface becomes labels first.
VOXELS_PER_EDGE = 2.0
MAX_TETS = 30e6
STAGES = ("surface", "check", "remesh", "TetGen", "improve")
# Degrees: the lattice itself has 45, and points need some room to move.
MAX_LATTICE_DIHEDRAL = 40.0


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
    progress: bool = False,
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
    progress : bool
        Show a bar with the stage that runs.

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
    require(source, (Surface, Volume), "tetrahedralize(source, edge=...)")
    length = _checked_arguments(edge, grading, min_dihedral, method)
    with stages("tetrahedralize", ("lattice",) if method == "lattice" else STAGES, progress) as stage:
        if method == "lattice":
            stage("lattice")
            return _by_lattice(source, length, grading, min_dihedral)
        stage("surface")
        if method == "winding":
            source, method = _voxelized(source, length), "auto"
        can_fall_back = method == "auto" and isinstance(source, Volume) and bool(source.regions)
        try:
            surface = _surface_of(source)
            check_edge(surface.points, length, edge)
            stage("check")
            check_surface(surface)
            _check_count(surface, length, grading, given=float(edge) if isinstance(edge, int | float) else edge)
            options = (grading, min_dihedral, recondition, rounds, seconds, memory, rng)
            make = partial(_from_surface, stage, surface, *options)
            return _without_flaw(make, length) if rounds and can_fall_back else make(length)
        except (MeshError, NativeError) as error:
            if not can_fall_back:
                raise
            log.info("tetrahedralize: %s; going on with the lattice", error)
            warnings.warn(
                f"the accurate way ended: {error}; the lattice takes over, whose interfaces are rougher: "
                "check(mesh, against=labels) tells by how much",
                stacklevel=2,
            )
            stage("lattice")
            return _by_lattice(source, length, grading, min(min_dihedral, MAX_LATTICE_DIHEDRAL))


def _from_surface(
    stage: Stage,
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
    given, volumes = surface, enclosed_volumes(surface)
    if recondition:
        stage("remesh")
        surface = _reconditioned(surface, volumes, length)
    # TetGen would make a loose point a point of the mesh.
    surface = without_loose_points(surface)
    stage("TetGen")
    raw = by_tetgen(surface, length, grading, seconds, memory)
    stage("improve")
    mesh = improve(raw, min_dihedral=min_dihedral, rounds=rounds, rng=rng)
    closer = f"edges shorter than {length:.3g} um follow it closer"
    how = f"{closer}, recondition=False keeps its triangles"
    _warn_of_changes("regions have a volume", volumes, enclosed_volumes(mesh), SAME_VOLUME, how)
    if given.resolution is None:
        # Parts so thin that they keep their volume alone; voxels have no area to be held to.
        how = f"{closer}, rounds=0 moves no point of it"
        _warn_of_changes("interfaces have an area", areas(given), areas(mesh), SAME_AREA, how)
    return _finished(mesh)


def _warn_of_changes(what: str, given: Mapping[Any, float], found: Mapping[Any, float], most: float, how: str) -> None:
    """Warn of regions or interfaces that have another volume or area than in the surface that was given."""
    off = _changed(given, found, most)
    if off:
        worst = max(off, key=lambda name: abs(off[name]))
        named = repr(worst) if isinstance(worst, str) else " | ".join(worst)
        warnings.warn(
            f"{len(off)} of {len(given)} {what} in the mesh that differs by more than {100 * most:g} % from the "
            f"surface's, the most {named} by {100 * off[worst]:+.2g} %; {how}",
            stacklevel=2,
        )


def _changed(given: Mapping[Any, float], found: Mapping[Any, float], most: float = SAME_VOLUME) -> dict[Any, float]:
    """Return by which share volumes or areas differ from those given, where by more than `most`."""
    off = {name: found.get(name, 0.0) / size - 1 for name, size in given.items() if size > 0}
    return {name: share for name, share in off.items() if abs(share) > most}


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

    if not isinstance(source, Volume):
        raise TypeError(
            f'method="lattice" needs a Volume of labels; got {type(source).__name__}; use method="tetgen" for surfaces'
        )
    if min_dihedral > MAX_LATTICE_DIHEDRAL:
        raise ValueError(
            f"the lattice can hold a min_dihedral of at most {MAX_LATTICE_DIHEDRAL:g} degrees; got {min_dihedral!r}"
        )
    check_edge(np.array([source.extent, (0, 0, 0)]), length, length)
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
    misplaced = orient(surface).misplaced
    if misplaced:
        raise MeshError(
            f"every shell should have the sides of the place where it lies; {misplaced[0].said}"
            f"{f' (and {len(misplaced) - 1} more)' if len(misplaced) > 1 else ''}; use repair(surface)",
            misplaced[0].rows,
        )
    pairs = intersecting_pairs(surface.points, surface.triangles)
    if len(pairs):
        raise MeshError(
            f"the surface should not cut through itself; {len(pairs)} pairs of triangles do, the first are rows "
            f'{pairs[0].tolist()}; smooth less, or use method="winding", which does not mind',
            pairs,
        )


def estimate_tets(surface: Surface, edge: float, grading: float = 0.3) -> float:
    """Estimate how many tetrahedra `tetrahedralize` will make.

    At a depth d below an interface the edges are h + g d, so a membrane has 1 / (2 g h^2) / FILL of them per area on
    each meshed side; no part has more than its volume filled at the shortest edge.
    """
    uniform = sum(enclosed_volumes(surface).values()) / (FILL * edge**3)
    meshed_sides = (surface.sides != OUTSIDE).sum(axis=1)
    graded = float((surface.areas * meshed_sides).sum()) / (FILL * 2 * max(grading, 1e-12) * edge**2)
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
    graph = (graph + graph.T).tocsr()
    order = adjacency.cuthill_mckee(graph.indptr, graph.indices)[::-1]
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

    if not isinstance(source, Surface):
        raise TypeError(
            f'method="winding" is for a dirty Surface; got {type(source).__name__}; labels go without it: method="auto"'
        )
    return voxelize(source, edge / VOXELS_PER_EDGE)


def _surface_of(source: Surface | Volume) -> Surface:
    if isinstance(source, Surface):
        return source
    return smooth(extract(source))


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


def _reconditioned(surface: Surface, volumes: dict[str, float], edge: float) -> Surface:
    """Make the triangles well-shaped: shorter in parts thinner than `edge` where a region would lose its volume.

    Where that does not help and the triangles given are fewer, these stay, halved to length: needles, not a swollen
    body. Surfaces from labels have triangles of their voxels' size already.
    """
    made = remesh(surface, edge=edge)
    if surface.resolution is not None or not _changed(volumes, enclosed_volumes(made)):
        return made
    thin = IN_THIN_PARTS * edge
    if surface.areas.sum() < MAX_THIN * thin**2:
        made = remesh(surface, edge=edge, least_edge=thin)
    off = _changed(volumes, enclosed_volumes(made))
    if not off or len(surface.triangles) > len(made.triangles):
        return made
    worst = max(off, key=lambda name: abs(off[name]))
    warnings.warn(
        f"the triangles stay as they were given, halved to {edge:.3g} um: well-shaped ones would change the volume of "
        f"{worst!r} by {100 * off[worst]:+.2g} %; tetrahedra in thin parts may be flat, see quality(mesh)",
        stacklevel=2,
    )
    return halved(surface, edge)


# --- TetGen and what it returns ---
