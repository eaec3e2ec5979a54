"""Closed shells around regions, and the topology that follows from them.

Every interface triangle has two faces, one towards the region behind it and one towards the region in front of it.
Faces that bound the same wedge of a region at a common edge belong together; what hangs together this way is a shell.
A region is thus looked at from its inside: its parts that touch only along an edge or at a point are separate, and what
is not the region hangs together where it meets along an edge, but not at a mere point. For voxels this is
6-connectivity of a region against 18-connectivity of all the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core import adjacency
from meshcell.core.adjacency import join, root
from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.errors import MeshError
from meshcell.core.hints import require
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.rounding import dot
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.core.validation import name_of
from meshcell.geometry.cavities import enclosed_by
from meshcell.geometry.voxels import component_numbers, components


@dataclass(frozen=True)
class Topology:
    """How a region hangs together.

    Parameters
    ----------
    components : int
        Pieces; voxels hang together by faces, tetrahedra too.
    euler : int
        Euler characteristic of the region's whole boundary: 2 for a ball, 0 for a torus, 4 for a hollow ball.
    genus : int
        Handles of the boundary, summed over its shells.
    cavities : int
        Shells that bound a region from within.
    """

    components: int
    euler: int
    genus: int
    cavities: int


@dataclass(frozen=True, eq=False)
class Shells:
    """The closed shells of a surface.

    Parameters
    ----------
    of_faces : (t, 2) int32
        Shell behind and in front of every triangle.
    regions : (s,) int32
        Region that each shell bounds.
    volumes : (s,) floats
        Signed volume in um^3: positive around a piece of the region, negative around a cavity in it.
    euler : (s,) int
        Euler characteristic of every shell.
    open_edges : (k, 2) int32
        Points of the edges at which a shell ends; a closed surface has none.
    """

    of_faces: Ints
    regions: Ints
    volumes: Floats
    euler: Array
    open_edges: Ints


def shells(mesh: Surface | TetMesh) -> Shells:
    """Find the closed shells around all regions of a surface, or of the facets of a mesh."""
    triangles, sides = _triangles(mesh), mesh.sides
    edges, triangle_edges = adjacency.edges(triangles, len(mesh.points))
    roots, corners, wedges, unpaired = _shells(mesh.points, triangles, sides, edges, triangle_edges)
    ids, of_faces = np.unique(roots, return_inverse=True)
    of_faces = of_faces.ravel()
    faces = np.bincount(of_faces, minlength=len(ids))
    # Each root of the corners is one point of one shell; corner 3 * face + k belongs to that face's shell.
    own = np.flatnonzero(corners == np.arange(len(corners)))
    points = np.bincount(of_faces[own // 3], minlength=len(ids))
    edge_counts = np.bincount(of_faces[wedges], minlength=len(ids))
    regions = np.zeros(len(ids), np.int32)
    rows: Ints = of_faces.reshape(-1, 2).astype(np.int32)
    regions[rows] = sides
    volumes = shell_volumes(mesh, rows, len(ids))
    return Shells(rows, regions, volumes, points - edge_counts + faces, edges[unpaired])


def shell_volumes(mesh: Surface | TetMesh, of_faces: Ints, n_shells: int) -> Floats:
    """Return (n_shells,) signed volumes in um^3, see `Shells`; by the divergence theorem about the mesh's middle."""
    if not n_shells:
        return np.zeros(0)
    centroids = mesh.points[_triangles(mesh)].mean(axis=1)
    parts = np.einsum("ij,ij->i", centroids - centroids.mean(axis=0), mesh.area_vectors) / 3
    behind, front = (np.bincount(of_faces[:, k], parts, n_shells) for k in (0, 1))
    return np.asarray(behind - front, np.float64)


def topology(thing: Volume | Surface | TetMesh) -> dict[str, Topology]:
    """Count pieces, handles and cavities of every region.

    Parameters
    ----------
    thing : Volume, Surface or TetMesh
        Labels, or closed interfaces. Of a mesh its facets are looked at.

    Returns
    -------
    dict[str, Topology]
        Region name -> components, Euler characteristic of the boundary, genus, cavities. Regions are seen from their
        inside: 6-connectivity of its voxels, 18-connectivity of all others.

    Raises
    ------
    MeshError
        A surface that is open; `where` lists the edges.

    Examples
    --------
    >>> ring = np.ones((3, 3, 1), int)
    >>> ring[1, 1] = 0
    >>> topology(Volume(ring, spacing=1.0, names={1: "ring"}))
    {'ring': Topology(components=1, euler=0, genus=1, cavities=0)}
    """
    require(thing, (Volume, Surface, TetMesh), "topology(thing)")
    if isinstance(thing, Volume):
        return _volume_topology(thing)
    found = shells(thing)
    if len(found.open_edges):
        raise MeshError(
            f"topology needs closed interfaces; {len(found.open_edges)} edges are open, the first joins points "
            f"{found.open_edges[0].tolist()}; close the surface first, see check(surface)",
            found.open_edges,
        )
    labels, which = np.unique(found.regions, return_inverse=True)
    counts, pieces = np.bincount(which), np.bincount(which, found.volumes > 0).astype(np.int64)
    euler = np.bincount(which, found.euler).astype(np.int64)
    rows = zip(labels.tolist(), pieces.tolist(), euler.tolist(), counts.tolist(), strict=True)
    return {
        name_of(thing.names, label): Topology(n_pieces, characteristic, (2 * n - characteristic) // 2, n - n_pieces)
        for label, n_pieces, characteristic, n in rows
        if label != 0
    }


def _triangles(mesh: Surface | TetMesh) -> Ints:
    return mesh.triangles if isinstance(mesh, Surface) else mesh.facets


def _volume_topology(volume: Volume) -> dict[str, Topology]:
    """Count all labels' in a few passes over the voxels, whatever their number."""
    volume.require_labels("topology")
    present, rows = _rows_of(volume)
    found = components(volume)
    numbers, n_pieces = component_numbers(volume)
    row_of = np.searchsorted(present, found.labels)
    pieces = np.bincount(row_of, minlength=len(present))
    cavities = np.bincount(row_of, enclosed_by(numbers, n_pieces), len(present)).astype(np.int64)
    solids = _label_eulers(np.pad(rows, 1, constant_values=-1), len(present))
    figures = zip(present.tolist(), pieces.tolist(), solids.tolist(), cavities.tolist(), strict=True)
    # Betti numbers: solid = pieces - handles + cavities; the boundary's characteristic is twice the solid's.
    return {
        name_of(volume.names, label): Topology(n, 2 * solid, n + hollow - solid, hollow)
        for label, n, solid, hollow in figures
        if label != 0
    }


def _rows_of(volume: Volume) -> tuple[Array, Array]:
    """Return the labels that are present, ascending, and for every voxel its label's row among them."""
    present = np.array(sorted(volume.counts), np.int64)
    if present[-1] >= 4 * volume.data.size:
        return present, np.searchsorted(present, volume.data).astype(np.int32)
    table = np.zeros(present[-1] + 1, np.int32)
    table[present] = np.arange(len(present))
    return present, table[volume.data]


def label_handles(volume: Volume, pieces: dict[int, int]) -> dict[int, int]:
    """Count handles of every label but 0 that has some, at the least; `pieces` are its components.

    One pass over all labels: pieces + cavities less the Euler characteristic of the solid, without the cavities.
    """
    present, rows = _rows_of(volume)
    solid = _label_eulers(np.pad(rows, 1, constant_values=-1), len(present))
    both = zip(present.tolist(), solid.tolist(), strict=True)
    return {label: pieces[label] - euler for label, euler in both if label != 0 and pieces[label] > euler}


# --- kernels ---


@njit(cache=True)
def _label_eulers(rows: Any, n: int) -> Any:
    """Return (n,) the Euler characteristics of the insides of all labels, by their dual complexes; the margin is -1.

    Voxels - shared faces + edges with four voxels - corners with eight. At a corner where just two opposite voxels are
    missing the six others form a ring; as the missing ones count as apart there, the ring is filled, which adds one.
    """
    nx, ny, nz = rows.shape
    totals = np.zeros(n, np.int64)
    v = np.empty(8, np.int64)
    for i in range(nx - 1):
        for j in range(ny - 1):
            for k in range(nz - 1):
                v[0], v[1], v[2], v[3] = rows[i, j, k], rows[i + 1, j, k], rows[i, j + 1, k], rows[i, j, k + 1]
                v[4], v[5], v[6] = rows[i + 1, j + 1, k], rows[i, j + 1, k + 1], rows[i + 1, j, k + 1]
                v[7] = rows[i + 1, j + 1, k + 1]
                # Inside a label it all cancels.
                n_others = 0
                for m in range(1, 8):
                    n_others += v[m] != v[0]
                if n_others == 0:
                    continue
                for m in range(8):
                    counted = v[m] < 0
                    for o in range(m):
                        counted = counted or v[o] == v[m]
                    if counted:
                        continue
                    # As numbers: plain numpy subtracts no booleans.
                    a, b, c, d = int(v[0] == v[m]), int(v[1] == v[m]), int(v[2] == v[m]), int(v[3] == v[m])
                    e, f, g, h = int(v[4] == v[m]), int(v[5] == v[m]), int(v[6] == v[m]), int(v[7] == v[m])
                    total = a - (a and b) - (a and c) - (a and d)
                    total += (a and b and c and e) + (a and c and d and f) + (a and b and d and g)
                    if a == h and b == f and c == g and d == e:
                        pairs = a + b + c + d
                        total += 1 if pairs == 3 else (-1 if pairs == 4 else 0)
                    totals[v[m]] += total
    return totals


@njit(cache=True)
def _shells(points: Any, triangles: Any, sides: Any, edges: Any, triangle_edges: Any) -> Any:
    n, n_edges = triangles.shape[0], edges.shape[0]
    offsets = np.zeros(n_edges + 1, np.int64)
    for t in range(n):
        for k in range(3):
            offsets[triangle_edges[t, k] + 1] += 1
    for e in range(n_edges):
        offsets[e + 1] += offsets[e]
    cursor = offsets[:-1].copy()
    around = np.empty(3 * n, np.int32)
    for t in range(n):
        for k in range(3):
            e = triangle_edges[t, k]
            around[cursor[e]] = t
            cursor[e] += 1
    faces = np.arange(2 * n)
    corners = np.arange(6 * n)
    wedges = np.empty(3 * n, np.int64)
    unpaired = np.zeros(n_edges, np.bool_)
    n_wedges = 0
    for e in range(n_edges):
        first, last = offsets[e], offsets[e + 1]
        m = last - first
        a, b = edges[e, 0], edges[e, 1]
        order = np.arange(m)
        if m > 2:
            order = np.argsort(_turns_around(points, triangles, around[first:last], a, b))
        for r in range(m):
            t = around[first + order[r]]
            u = around[first + order[(r + 1) % m]]
            # The face of t that looks ahead around the edge, and the face of u that looks back at it.
            ahead = 1 if _runs(triangles[t], a, b) else 0
            back = 0 if _runs(triangles[u], a, b) else 1
            if m == 1 or sides[t, ahead] != sides[u, back]:
                unpaired[e] = True
                continue
            f, g = 2 * t + ahead, 2 * u + back
            join(faces, f, g)
            for p in (a, b):
                join(corners, 3 * f + _place(triangles[t], p), 3 * g + _place(triangles[u], p))
            wedges[n_wedges] = f
            n_wedges += 1
    for f in range(2 * n):
        faces[f] = root(faces, f)
    for c in range(6 * n):
        corners[c] = root(corners, c)
    return faces, corners, wedges[:n_wedges], unpaired


@inner(cache=True)
def _runs(triangle: Any, a: int, b: int) -> bool:
    """Tell whether the triangle runs from a to b rather than from b to a."""
    for k in range(3):
        if triangle[k] == a:
            return bool(triangle[(k + 1) % 3] == b)
    return False


@njit(cache=True)
def _place(triangle: Any, p: int) -> int:
    return 0 if triangle[0] == p else (1 if triangle[1] == p else 2)


@inner(cache=True)
def _turns_around(points: Any, triangles: Any, rows: Any, a: int, b: int) -> Any:
    """Return where triangles lie around the axis from a to b, counter-clockwise when it points at the eye.

    Numbers that grow with the angle, by one from quarter to quarter: order is all that is asked for.
    """
    axis = points[b] - points[a]
    axis = axis / np.sqrt(dot(axis, axis))
    turns = np.empty(len(rows))
    u = np.zeros(3)
    v = np.zeros(3)
    for r in range(len(rows)):
        t = triangles[rows[r]]
        c = t[0] + t[1] + t[2] - a - b
        w = points[c] - points[a]
        w = w - axis * dot(w, axis)
        if r == 0:
            u = w / np.sqrt(dot(w, w))
            v = np.array(
                [axis[1] * u[2] - axis[2] * u[1], axis[2] * u[0] - axis[0] * u[2], axis[0] * u[1] - axis[1] * u[0]]
            )
        x, y = dot(w, u), dot(w, v)
        ahead = x / max(abs(x) + abs(y), 1e-300)
        turns[r] = 1 - ahead if y >= 0 else 3 + ahead
    return turns
