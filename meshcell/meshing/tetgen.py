"""TetGen: the sizes it is told, and the regions of what it returns."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from meshcell.core import adjacency, native
from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.errors import MeshError, NativeError
from meshcell.core.rounding import cube_root
from meshcell.core.types import Surface, TetMesh
from meshcell.core.validation import OUTSIDE, name_of
from meshcell.meshing.tetgen_call import tetgen_tetrahedra

log = logging.getLogger("meshcell")


# Measured: a tetrahedron of TetGen fills this share of the cube of its wanted edge.
FILL = 0.2

# Points of the lattice that tells TetGen the sizes.
MAX_LATTICE = 100_000


def size_field(surface: Surface, edge: float, grading: float) -> tuple[Floats, Ints, Floats]:
    """Return points and tetrahedra around the surface, and the edges wanted at these points.

    At a distance d from the surface the edge is that of the triangles nearest by, plus `grading` d.
    """
    low, high = surface.points.min(axis=0), surface.points.max(axis=0)
    step = max(2 * edge, cube_root(float(np.prod(high - low + 4 * edge)) / MAX_LATTICE))
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


def by_tetgen(surface: Surface, edge: float, grading: float, seconds: float, memory: float | None) -> TetMesh:
    """Fill a checked surface by TetGen in a child process, and name the regions of what came back."""
    lattice, cells, sizes = size_field(surface, edge, grading)
    # TetGen (pip 0.8.4) crashes on sizes above 1. A power of two, so that points come back to the last bit.
    scale = math.ldexp(0.5, -math.frexp(max(float(np.ptp(lattice, axis=0).max()), float(sizes.max())))[1])
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
                tetgen_tetrahedra,
                {**arguments, "switches": switches[0]},
                seconds=seconds,
                memory=memory,
                what="TetGen",
            )
        except NativeError as error:
            if error.reason != "crash":
                raise
            # Seen on surfaces with pinched points (pip 0.8.4, while it writes the sizes of the result).
            log.info("tetgen: crashed on graded sizes; running again with one greatest volume")
        return native.run_limited(
            tetgen_tetrahedra,
            {**arguments, "switches": switches[1], "sizes": np.zeros(0)},
            seconds=seconds,
            memory=memory,
            what="TetGen",
        )
    except NativeError as error:
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
