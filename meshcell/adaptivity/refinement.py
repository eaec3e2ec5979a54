"""Conforming bisection of tetrahedra, which carries regions, facets and patches, and the fields that live on them.

The rule is that of Arnold, Mukherjee and Pouly (2000), equal to Maubach's and Kossaczky's: every tetrahedron has a
refinement edge, every face a marked edge, and the children inherit theirs, so that the shapes of all descendants of a
tetrahedron fall into a few classes. Always halving the longest edge looks simpler but never stops making new shapes.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from meshcell.core.adjacency import TET_EDGES, TET_FACES
from meshcell.core.arrays import Array, Ints
from meshcell.core.errors import MeshError
from meshcell.core.hints import require
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.types import TetMesh

logger = logging.getLogger("meshcell")

# What a mesh made by `refine` knows beyond its arrays: the marked edges of its tetrahedra. The order of a tetrahedron's
# points alone cannot hold it: 12 orders keep the volume positive and all of them are used up by the refinement edge.
_codes_of: WeakKeyDictionary[TetMesh, npt.NDArray[np.int8]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Refined:
    """A refined mesh and where its parts come from.

    Parameters
    ----------
    mesh : TetMesh
        Its first points are those of the old mesh, in their order.
    parents : (n',) int32
        Row of the old tetrahedron that each new one is a piece of; row r < n is a piece of the old row r.
    point_parents : (p', 2) int32
        The two points whose midpoint each new point is, both of smaller row; an old point has its own row twice.
    """

    mesh: TetMesh
    parents: Ints
    point_parents: Ints

    def __post_init__(self) -> None:
        self.parents.flags.writeable = False
        self.point_parents.flags.writeable = False

    def __repr__(self) -> str:
        tets, points = (
            f"{self._n_old_tets:,} -> {len(self.parents):,}",
            f"{self._n_old_points:,} -> {len(self.point_parents):,}",
        )
        return f"Refined: {tets} tetrahedra, {points} points"

    @property
    def _n_old_points(self) -> int:
        return int((self.point_parents[:, 0] == np.arange(len(self.point_parents))).sum())

    @property
    def _n_old_tets(self) -> int:
        return int(self.parents.max(initial=-1)) + 1


def refine(mesh: TetMesh, rows: Any) -> Refined:
    """Bisect at least the given tetrahedra so that the mesh stays conforming.

    Parameters
    ----------
    mesh : TetMesh
        Its facets must be faces of its tetrahedra.
    rows : (k,) integers
        Rows of `mesh.tets`, for instance from `mark`; each is halved once or more, others where conformity asks for it.

    Returns
    -------
    Refined
        The new mesh with regions, facets, sides, patches and names, and the parents of its tetrahedra and points.

    Raises
    ------
    ValueError, TypeError
        Rows that are not whole numbers or not in the mesh.
    MeshError
        A facet that is no face of a tetrahedron, or is there twice.

    Notes
    -----
    New points are midpoints of edges, also on curved interfaces: the polyhedral geometry is taken as the truth, so the
    volume of every region and the area of every interface stay what they are.

    A mesh from `refine` remembers the marked edges of its tetrahedra, so that shapes stay bounded over any number of
    rounds. A mesh that does not (fresh, loaded, changed) starts with the longest edge of every face, ties broken by the
    rows of the points: always a valid start, only with a new set of shapes.

    References
    ----------
    Arnold, Mukherjee, Pouly: Locally adapted tetrahedral meshes using bisection, SIAM J. Sci. Comput. 22 (2000),
    431-448.

    Examples
    --------
    >>> points = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    >>> facets, sides = [[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]], [[1, 0]] * 4
    >>> refined = refine(TetMesh(points, [[0, 1, 2, 3]], [1], facets, sides), [0])
    >>> refined
    Refined: 1 -> 2 tetrahedra, 4 -> 5 points
    >>> refined.mesh.points[4].tolist(), refined.point_parents[4].tolist()
    ([1.0, 0.5, 0.0], [1, 2])
    """
    require(mesh, TetMesh, "refine(mesh, rows)", rows)
    rows = _checked_rows(rows, len(mesh.tets))
    tets, codes = _marked_edges(mesh)
    faces, owners_behind = _facets_of_tets(mesh, tets)
    tets, codes, faces, parents, point_parents = _bisect(tets, codes, faces, rows, len(mesh.points), _RULES)
    points = np.ascontiguousarray(_interpolate(np.ascontiguousarray(mesh.points.T), point_parents).T)
    facets, facet_parents = _facets_from_tets(tets, faces, owners_behind)
    patches = {name: np.flatnonzero(np.isin(facet_parents, old)) for name, old in mesh.patches.items()}
    refined = TetMesh(
        points,
        tets,
        mesh.regions[parents],
        facets,
        mesh.sides[facet_parents],
        mesh.names,
        patches,  # type: ignore[arg-type]
    )
    _codes_of[refined] = codes
    logger.info("refined %d of %d tetrahedra: %d now", len(rows), len(mesh.tets), len(tets))
    return Refined(refined, parents, point_parents)


def transfer(values: Any, refined: Refined, *, nodes: Any = None) -> Array:
    """Carry a field over from the old mesh to the refined one.

    Parameters
    ----------
    values : (p,), (k, p), (n,) or (k, n) array
        On all points or all tetrahedra of the old mesh, along the last axis; with `nodes`, (m,) or (k, m).
        If the mesh has as many points as tetrahedra, they are taken to be on the points.
    refined : Refined
    nodes : (m,) int, optional
        The old points that the values stand for, such as `solution.nodes["Ca"]` for `solution.values["Ca"]`.

    Returns
    -------
    ndarray
        On points: floats on all points of the new mesh, (p',) or (k, p'), linear along the halved edges, so the same P1
        function with the same integrals. With `nodes`, points that the field does not reach are NaN: take those of the
        species, `transfer(values, refined, nodes=nodes)[..., new_nodes]`.
        On tetrahedra: the parents' values, (n',) or (k, n'); right for densities, not for amounts per tetrahedron.

    Raises
    ------
    ValueError
        A last axis that fits neither, or that does not fit `nodes`.

    Examples
    --------
    >>> points = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    >>> refined = refine(TetMesh(points, [[0, 1, 2, 3]], [1], [], []), [0])
    >>> transfer([[0, 2, 4, 6.0]], refined).tolist()
    [[0.0, 2.0, 4.0, 6.0, 3.0]]
    >>> transfer([7], refined).tolist()
    [7, 7]
    """
    require(refined, Refined, "transfer(values, refined)", values)
    array = np.asarray(values)
    n_points, n_tets = refined._n_old_points, refined._n_old_tets
    length = array.shape[-1] if array.ndim else 0
    if nodes is not None:
        array = _on_all_points(array, np.asarray(nodes), n_points)
    elif length == n_tets and length != n_points:
        return array[..., refined.parents]
    elif length != n_points:
        raise ValueError(
            f"values should have one entry per point ({n_points}) or tetrahedron ({n_tets}) of the mesh before it was "
            f"refined along their last axis; got shape {array.shape}; for a species pass nodes=solution.nodes[name]"
        )
    fields = np.ascontiguousarray(array.reshape(-1, n_points), np.float64)
    new = _interpolate(fields, refined.point_parents)
    return np.asarray(new.reshape(*array.shape[:-1], len(refined.point_parents)))


def _on_all_points(values: Array, nodes: Array, n_points: int) -> Array:
    """Put values where their nodes are, NaN elsewhere."""
    length = values.shape[-1] if values.ndim else 0
    if nodes.shape != (length,) or (length and not 0 <= nodes.min() <= nodes.max() < n_points):
        span = f" with rows {nodes.min()} ... {nodes.max()}" if nodes.size else ""
        raise ValueError(
            f"nodes should be the rows, among the {n_points} old points, of the {length} values; got shape "
            f"{nodes.shape}{span}; pass the solution's own nodes, of the mesh before it was refined"
        )
    everywhere = np.full((*values.shape[:-1], n_points), np.nan)
    everywhere[..., nodes] = values
    return everywhere


def _checked_rows(rows: Any, n_tets: int) -> Ints:
    array = np.asarray(rows)
    if array.size == 0:
        return np.empty(0, np.int32)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise TypeError(
            f"rows should be a list of rows of mesh.tets; got {array.dtype} of shape {array.shape}; "
            "np.flatnonzero(mask) turns a mask into rows, mark(indicator) an indicator"
        )
    bad = array[(array < 0) | (array >= n_tets)]
    if len(bad):
        raise ValueError(
            f"rows should be >= 0 and < {n_tets}, the number of tetrahedra; got {bad[0]} ({len(bad)} such rows); "
            "were they made for another mesh of the loop?"
        )
    return np.unique(array).astype(np.int32)


def _marked_edges(mesh: TetMesh) -> tuple[Ints, npt.NDArray[np.int8]]:
    """Return the tetrahedra with their refinement edge first, and the codes of their marked edges."""
    codes = _codes_of.get(mesh)
    return (
        (mesh.tets, codes) if codes is not None else _longest_edges(mesh.points, mesh.tets, TET_EDGES, _ORDER_OF_EDGE)
    )


def _facets_of_tets(mesh: TetMesh, tets: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Write each facet on one face of one tetrahedron: (n, 4) its row or -1; (f,) whether it points out of that one."""
    behind, front = mesh.facet_tets.T
    owners = np.where(behind >= 0, behind, front)
    faces = np.full(tets.shape, -1, np.int32)
    lost = np.flatnonzero(owners < 0)
    if len(lost):
        raise MeshError(
            f"every facet should be a face of a tetrahedron; {len(lost)} are not, the first is row {lost[0]}: "
            f"{mesh.facets[lost[0]].tolist()}; make the facets anew from the regions",
            lost,
        )
    opposite = (tets[owners][:, :, None] != mesh.facets[:, None, :]).all(axis=2).argmax(axis=1)
    faces[owners, opposite] = np.arange(len(owners))
    twice = np.flatnonzero(faces[owners, opposite] != np.arange(len(owners)))
    if len(twice):
        raise MeshError(f"every facet should be there once; {len(twice)} are there again, first row {twice[0]}", twice)
    return faces, behind >= 0


def _facets_from_tets(tets: Ints, faces: Ints, owners_behind: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Collect the facets again, pieces of one facet in a row: (f', 3) and (f',) the old rows."""
    rows, corners = np.nonzero(faces >= 0)
    parents = faces[rows, corners]
    order = np.argsort(parents, kind="stable")
    rows, corners, parents = rows[order], corners[order], parents[order]
    facets = np.take_along_axis(tets[rows], TET_FACES[corners], axis=1)
    return np.where(owners_behind[parents, None], facets, facets[:, ::-1]), parents


# --- the rule, as tables ---
#
# A tetrahedron (a, b, c, d) has the refinement edge ab. That is the marked edge of the two faces around it; those of
# the faces acd and bcd, and the flag of Arnold et al., make its code: acd's + 3 bcd's + 9 flag.


def _even_order(edge: tuple[int, int], positive: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Order four corners, those of the edge first, by an even permutation, which keeps the volume's sign."""
    first, second = edge
    rest = [corner for corner in positive if corner not in (first, second)]
    order = [positive.index(corner) for corner in (first, second, *rest)]
    swaps = sum(later < earlier for earlier, later in itertools.combinations(order, 2))
    third, fourth = rest if swaps % 2 == 0 else rest[::-1]
    return first, second, third, fourth


def _choices(corner: int, c: int, d: int) -> list[frozenset[int]]:
    return [frozenset((corner, c)), frozenset((corner, d)), frozenset((c, d))]


def _children(code: int) -> list[tuple[tuple[int, ...], int]]:
    """Return order and code of both children; corners 0-3 are the parent's a, b, c, d and 4 is the midpoint of ab."""
    a, b, c, d, new = range(5)
    marks = {a: _choices(a, c, d)[code % 3], b: _choices(b, c, d)[code // 3 % 3]}
    flagged = code >= 9
    planar = len({a, b} | marks[a] | marks[b]) == 3
    edge = frozenset((c, d))
    if planar and flagged:
        edge = frozenset((new, *(marks[a] & marks[b])))
    children: list[tuple[tuple[int, ...], int]] = []
    for kept, positive in ((a, (a, new, c, d)), (b, (new, b, c, d))):
        # A halved face is marked opposite the new point, the uncut one keeps its mark.
        marked = {
            frozenset((kept, c, d)): marks[kept],
            frozenset((kept, new, c)): frozenset((kept, c)),
            frozenset((kept, new, d)): frozenset((kept, d)),
            frozenset((new, c, d)): edge,
        }
        x, y, z, w = _even_order((min(marks[kept]), max(marks[kept])), positive)
        code_x = _choices(x, z, w).index(marked[frozenset((x, z, w))])
        code_y = _choices(y, z, w).index(marked[frozenset((y, z, w))])
        children.append(((x, y, z, w), code_x + 3 * code_y + 9 * (planar and not flagged)))
    return children


_N_CODES = 18
_FAMILIES = [_children(code) for code in range(_N_CODES)]
# Per code and child: the order of its corners; the parent's face that each of its faces is (a piece of); its code. The
# face opposite the midpoint was the parent's opposite the lost end; that opposite the kept end is new (4: none).
_RULES = (
    np.array([[order for order, _ in family] for family in _FAMILIES], np.int8),
    np.array(
        [[[{kept: 4, 4: 1 - kept}.get(x, x) for x in family[kept][0]] for kept in (0, 1)] for family in _FAMILIES],
        np.int8,
    ),
    np.array([[code for _, code in family] for family in _FAMILIES], np.int8),
)
_ORDER_OF_EDGE = np.array([_even_order((int(i), int(j)), (0, 1, 2, 3)) for i, j in TET_EDGES], np.int8)


# --- kernels ---


@njit(cache=True)
def _longest_edges(points: Any, tets: Any, edges: Any, order_of_edge: Any) -> Any:
    """Put every tetrahedron's longest edge first and mark the longest edge of each face."""
    n = tets.shape[0]
    ordered = np.empty((n, 4), np.int32)
    codes = np.empty(n, np.int8)
    for i in range(n):
        best = 0
        for k in range(1, 6):
            if _is_longer(
                points, tets[i, edges[k, 0]], tets[i, edges[k, 1]], tets[i, edges[best, 0]], tets[i, edges[best, 1]]
            ):
                best = k
        for k in range(4):
            ordered[i, k] = tets[i, order_of_edge[best, k]]
        a, b, c, d = ordered[i]
        codes[i] = _longest_of_face(points, a, c, d) + 3 * _longest_of_face(points, b, c, d)
    return ordered, codes


@inner(cache=True)
def _longest_of_face(points: Any, corner: int, c: int, d: int) -> Any:
    if _is_longer(points, corner, d, corner, c):
        return 2 if _is_longer(points, c, d, corner, d) else 1
    return 2 if _is_longer(points, c, d, corner, c) else 0


@inner(cache=True)
def _is_longer(points: Any, p: int, q: int, r: int, s: int) -> Any:
    # Any strict order of the edges of the mesh makes a valid start; equal lengths are told apart by the points' rows.
    first, second = 0.0, 0.0
    for k in range(3):
        first += (points[p, k] - points[q, k]) ** 2
        second += (points[r, k] - points[s, k]) ** 2
    if first != second:
        return first > second
    if min(p, q) != min(r, s):
        return min(p, q) < min(r, s)
    return max(p, q) < max(r, s)


@njit(cache=True)
def _bisect(tets: Any, codes: Any, faces: Any, rows: Any, n_points: int, rules: Any) -> Any:
    """Halve the given tetrahedra, then sweep over those with a halved edge until none is left."""
    n, p = tets.shape[0], n_points
    cells = _copies(tets, codes, faces, n + 8 * rows.shape[0] + 1)
    # (a, b) of each midpoint; the midpoints of the edges whose smaller end is a: first[a], then following[...]; and the
    # last sweep in which an edge at a point was halved, by which most tetrahedra are passed over without a search.
    edges = _no_midpoints(p, p + 4 * rows.shape[0] + 1)
    for row in rows:
        cells, edges, p = _split(cells, edges, row, n, p, 0, rules)
        n += 1
    sweep, p_before = 0, -1
    while p > p_before:
        p_before = p
        sweep += 1
        row = 0
        while row < n:
            while _hangs(cells[0][row], edges, sweep):
                cells, edges, p = _split(cells, edges, row, n, p, sweep, rules)
                n += 1
            row += 1
    return cells[0][:n].copy(), cells[1][:n].copy(), cells[2][:n].copy(), cells[3][:n].copy(), edges[0][:p].copy()


@inner(cache=True)
def _hangs(tet: Any, edges: Any, sweep: int) -> bool:
    """Tell whether an edge of the tetrahedron is halved, which only this sweep or the last can have done."""
    touched = edges[3]
    for k in range(4):
        if touched[tet[k]] < sweep - 1:
            continue
        for m in range(k):
            if touched[tet[m]] >= sweep - 1 and _midpoint(edges, tet[k], tet[m]) >= 0:
                return True
    return False


@inner(cache=True)
def _split(cells: Any, edges: Any, row: int, n: int, p: int, sweep: int, rules: Any) -> Any:
    """Put the children of a tetrahedron into its row and row n; its midpoint is point p unless it is there already."""
    if n == cells[0].shape[0]:
        cells = (_larger(cells[0]), _longer(cells[1]), _larger(cells[2]), _longer(cells[3]))
    if p == edges[0].shape[0]:
        edges = (_larger(edges[0]), _longer(edges[1]), _longer(edges[2]), _longer(edges[3]))
    tets, codes, faces, parents = cells
    ends, first, following, touched = edges
    a, b = min(tets[row, 0], tets[row, 1]), max(tets[row, 0], tets[row, 1])
    middle = _midpoint(edges, a, b)
    if middle < 0:
        middle = p
        ends[p, 0], ends[p, 1] = a, b
        first[p], following[p], touched[p] = -1, first[a], -2
        first[a], touched[a], touched[b] = p, sweep, sweep
        p += 1
    orders, faces_of, codes_of = rules
    corner, facet = np.empty(5, np.int32), np.empty(5, np.int32)
    corner[:4], corner[4] = tets[row], middle
    facet[:4], facet[4] = faces[row], -1
    code = codes[row]
    for child in range(2):
        target = row if child == 0 else n
        for k in range(4):
            tets[target, k] = corner[orders[code, child, k]]
            faces[target, k] = facet[faces_of[code, child, k]]
        codes[target] = codes_of[code, child]
    parents[n] = parents[row]
    return cells, edges, p


@inner(cache=True)
def _midpoint(edges: Any, a: int, b: int) -> Any:
    ends, first, following, _ = edges
    if a > b:
        a, b = b, a
    middle = first[a]
    while middle >= 0 and ends[middle, 1] != b:
        middle = following[middle]
    return middle


@inner(cache=True)
def _copies(tets: Any, codes: Any, faces: Any, capacity: int) -> Any:
    n = tets.shape[0]
    cells = (
        np.empty((capacity, 4), np.int32),
        np.empty(capacity, np.int8),
        np.empty((capacity, 4), np.int32),
        np.empty(capacity, np.int32),
    )
    cells[0][:n], cells[1][:n], cells[2][:n] = tets, codes, faces
    for i in range(n):
        cells[3][i] = i
    return cells


@inner(cache=True)
def _no_midpoints(n_points: int, capacity: int) -> Any:
    edges = (
        np.empty((capacity, 2), np.int32),
        np.full(capacity, -1, np.int32),
        np.full(capacity, -1, np.int32),
        np.full(capacity, -2, np.int32),
    )
    for i in range(n_points):
        edges[0][i] = i
    return edges


@inner(cache=True)
def _larger(rows: Any) -> Any:
    larger = np.empty((2 * rows.shape[0], rows.shape[1]), rows.dtype)
    larger[: rows.shape[0]] = rows
    return larger


@inner(cache=True)
def _longer(values: Any) -> Any:
    longer = np.empty(2 * values.shape[0], values.dtype)
    longer[: values.shape[0]] = values
    return longer


@njit(cache=True)
def _interpolate(fields: Any, point_parents: Any) -> Any:
    """Extend each row of point values to the new points, in order, since midpoints may have midpoints as ends."""
    n_old, n_new = fields.shape[1], point_parents.shape[0]
    extended = np.empty((fields.shape[0], n_new))
    extended[:, :n_old] = fields
    for j in range(fields.shape[0]):
        for i in range(n_old, n_new):
            extended[j, i] = 0.5 * (extended[j, point_parents[i, 0]] + extended[j, point_parents[i, 1]])
    return extended
