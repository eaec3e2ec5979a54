"""P1 finite elements on tetrahedra and on triangles in space: gradients, stiffness and mass, assembled by position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit

from meshcell.adjacency import TET_EDGES, TRIANGLE_EDGES, edges

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where the entries of every cell go in a sparse matrix, found once and used for each assembly.

    Parameters
    ----------
    indptr : (p + 1,) int32
    indices : (z,) int32
        Columns, ascending in each row; every diagonal entry is there, also of points without cells.
    positions : (n, c, c) int32
        Rows of the data array that entry (a, b) of cell i is added to.
    """

    indptr: Ints
    indices: Ints
    positions: Ints

    def matrix(self, data: Floats) -> sp.csr_array:
        """Wrap a data array (z,) as the sparse matrix (p, p) of this pattern."""
        n = len(self.indptr) - 1
        return sp.csr_array((data, self.indices, self.indptr), shape=(n, n))


def pattern(cells: Ints, n_points: int) -> Pattern:
    """Find the sparsity pattern of P1 elements.

    Parameters
    ----------
    cells : (n, 4) or (n, 3) int32
    n_points : int

    Examples
    --------
    >>> pattern(np.array([[0, 1, 2, 3]], np.int32), 5).indptr
    array([ 0,  4,  8, 12, 16, 17], dtype=int32)
    """
    corners = _checked_corners(cells)
    pairs, cell_edges = edges(cells, n_points)
    local = TET_EDGES if corners == 4 else TRIANGLE_EDGES
    indptr, indices, diagonal, upper, lower = _pattern(pairs, n_points)
    positions = np.empty((len(cells), corners, corners), np.int32)
    _positions(cells, cell_edges, local, pairs, diagonal, upper, lower, positions)
    return Pattern(indptr, indices, positions)


def measures(points: Floats, cells: Ints) -> Floats:
    """Measure the volume of every tetrahedron (um^3) or the area of every triangle (um^2): (n,), never negative.

    Examples
    --------
    >>> 6 * measures(np.vstack([np.zeros(3), np.eye(3)]), np.array([[0, 1, 2, 3]], np.int32))
    array([1.])
    """
    _checked_corners(cells)
    return _measures(np.ascontiguousarray(points, np.float64), np.ascontiguousarray(cells))  # type: ignore[no-any-return]


def gradients(points: Floats, cells: Ints) -> Floats:
    """Compute the gradients of the hat functions on every cell, which are constant there.

    Parameters
    ----------
    points : (p, 3) floats, um
    cells : (n, 4) int32 tetrahedra or (n, 3) int32 triangles

    Returns
    -------
    (n, 4, 3) or (n, 3, 3) floats, 1/um
        Row k of a cell belongs to its corner k. On triangles they are surface gradients: they lie in the triangle.

    Raises
    ------
    ValueError
        Cells that are neither tetrahedra nor triangles.

    Examples
    --------
    >>> gradients(np.vstack([np.zeros(3), np.eye(3)]), np.array([[0, 1, 2, 3]], np.int32))[0]
    array([[-1., -1., -1.],
           [ 1.,  0.,  0.],
           [ 0.,  1.,  0.],
           [ 0.,  0.,  1.]])
    """
    corners = _checked_corners(cells)
    return _gradients(np.ascontiguousarray(points, np.float64), np.ascontiguousarray(cells), corners)[0]  # type: ignore[no-any-return]


def stiffness(
    points: Floats, cells: Ints, coefficient: Floats | None = None, *, pattern: Pattern | None = None
) -> sp.csr_array:
    """Assemble K, the integral of coefficient * grad(phi_i) . grad(phi_j).

    Parameters
    ----------
    points : (p, 3) floats, um
    cells : (n, 4) or (n, 3) int32
    coefficient : (n,) floats, optional
        One value per cell, for example a diffusion coefficient in um^2/s; 1 by default.
    pattern : Pattern, optional
        Of the same cells; given, assembly is about ten times faster.

    Returns
    -------
    (p, p) sparse array
        Symmetric; rows and columns sum to zero, because the hat functions sum to one.

    Raises
    ------
    ValueError
        A coefficient that is not one value per cell, cells that are neither tetrahedra nor triangles.
    """
    where, weights = _prepared(points, cells, coefficient, pattern)
    data = np.zeros(len(where.indices))
    add = _add_stiffness_of_tets if cells.shape[1] == 4 else _add_stiffness
    places = where.positions.view(np.uint32)
    add(np.ascontiguousarray(points, np.float64), np.ascontiguousarray(cells), weights, places, data)
    return where.matrix(data)


def mass(
    points: Floats, cells: Ints, coefficient: Floats | None = None, *, pattern: Pattern | None = None
) -> sp.csr_array:
    """Assemble the consistent M, the integral of coefficient * phi_i * phi_j; parameters as in `stiffness`.

    Its entries sum to the volume (um^3) or area (um^2) of the cells.
    """
    where, weights = _prepared(points, cells, coefficient, pattern)
    data = np.zeros(len(where.indices))
    _add_mass(measures(points, cells) * weights, where.positions.view(np.uint32), data)
    return where.matrix(data)


def lumped_mass(points: Floats, cells: Ints, coefficient: Floats | None = None) -> Floats:
    """Assemble the row sums of M: the share of volume (um^3) or area (um^2) that belongs to every point, (p,).

    Examples
    --------
    >>> 24 * lumped_mass(np.vstack([np.zeros(3), np.eye(3)]), np.array([[0, 1, 2, 3]], np.int32))
    array([1., 1., 1., 1.])
    """
    corners = _checked_corners(cells)
    shares = measures(points, cells) * _weights(coefficient, len(cells)) / corners
    return np.bincount(cells.ravel(), np.repeat(shares, corners), minlength=len(points)).astype(np.float64)


# --- checks ---


def _checked_corners(cells: Ints) -> int:
    if cells.ndim != 2 or cells.shape[1] not in (3, 4):
        raise ValueError(f"cells should have shape (n, 4) for tetrahedra or (n, 3) for triangles; got {cells.shape}")
    return int(cells.shape[1])


def _weights(coefficient: Floats | None, n: int) -> Floats:
    weights = np.ones(n) if coefficient is None else np.ascontiguousarray(coefficient, np.float64)
    if weights.shape != (n,):
        raise ValueError(f"coefficient should hold one value for each of the {n} cells; got shape {weights.shape}")
    return weights


def _prepared(points: Floats, cells: Ints, coefficient: Floats | None, given: Pattern | None) -> tuple[Pattern, Floats]:
    corners = _checked_corners(cells)
    where = pattern(cells, len(points)) if given is None else given
    if where.positions.shape != (len(cells), corners, corners) or len(where.indptr) != len(points) + 1:
        raise ValueError(
            f"the pattern belongs to {len(where.positions)} cells on {len(where.indptr) - 1} points; "
            f"got {len(cells)} cells on {len(points)}; make it anew with pattern(cells, len(points))"
        )
    return where, _weights(coefficient, len(cells))


# --- kernels ---


@njit(cache=True)
def _pattern(pairs: Any, n_points: int) -> Any:
    n = pairs.shape[0]
    indptr = np.zeros(n_points + 1, np.int32)
    for p in range(n_points):
        indptr[p + 1] = 1
    for e in range(n):
        indptr[pairs[e, 0] + 1] += 1
        indptr[pairs[e, 1] + 1] += 1
    for p in range(n_points):
        indptr[p + 1] += indptr[p]
    z = indptr[n_points]
    columns, source = np.empty(z, np.int32), np.empty(z, np.int32)
    cursor = indptr[:-1].copy()
    for p in range(n_points):
        columns[cursor[p]], source[cursor[p]] = p, -1
        cursor[p] += 1
    for e in range(n):
        for side in range(2):
            p = pairs[e, side]
            columns[cursor[p]], source[cursor[p]] = pairs[e, 1 - side], e
            cursor[p] += 1
    indices = np.empty(z, np.int32)
    diagonal, upper, lower = np.empty(n_points, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    for p in range(n_points):
        start = indptr[p]
        order = np.argsort(columns[start : indptr[p + 1]])
        for k in range(order.size):
            slot, e = start + k, source[start + order[k]]
            indices[slot] = columns[start + order[k]]
            if e < 0:
                diagonal[p] = slot
            elif pairs[e, 0] == p:
                upper[e] = slot
            else:
                lower[e] = slot
    return indptr, indices, diagonal, upper, lower


@njit(cache=True)
def _positions(
    cells: Any, cell_edges: Any, local: Any, pairs: Any, diagonal: Any, upper: Any, lower: Any, out: Any
) -> Any:
    for i in range(cells.shape[0]):
        for k in range(cells.shape[1]):
            out[i, k, k] = diagonal[cells[i, k]]
        for k in range(local.shape[0]):
            a, b, e = local[k, 0], local[k, 1], cell_edges[i, k]
            if cells[i, a] != pairs[e, 0]:
                a, b = b, a
            out[i, a, b] = upper[e]
            out[i, b, a] = lower[e]


@njit(cache=True)
def _cross(a: Any, b: Any) -> Any:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@njit(cache=True)
def _edge(points: Any, a: int, b: int) -> Any:
    return points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]


@njit(cache=True)
def _cell_gradients(points: Any, cell: Any, g: Any) -> Any:
    """Fill g with the gradients on one cell and return its volume or area."""
    if cell.size == 4:
        u, v, w = _edge(points, cell[0], cell[1]), _edge(points, cell[0], cell[2]), _edge(points, cell[0], cell[3])
        vw, wu, uv = _cross(v, w), _cross(w, u), _cross(u, v)
        det = u[0] * vw[0] + u[1] * vw[1] + u[2] * vw[2]
        for d in range(3):
            g[1, d], g[2, d], g[3, d] = vw[d] / det, wu[d] / det, uv[d] / det
            g[0, d] = -(g[1, d] + g[2, d] + g[3, d])
        return abs(det) / 6
    u, v = _edge(points, cell[0], cell[1]), _edge(points, cell[0], cell[2])
    normal = _cross(u, v)
    square = normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2
    vn, nu = _cross(v, normal), _cross(normal, u)
    for d in range(3):
        g[1, d], g[2, d] = vn[d] / square, nu[d] / square
        g[0, d] = -(g[1, d] + g[2, d])
    return np.sqrt(square) / 2


@njit(cache=True)
def _gradients(points: Any, cells: Any, corners: int) -> Any:
    g = np.empty((cells.shape[0], corners, 3))
    sizes = np.empty(cells.shape[0])
    for i in range(cells.shape[0]):
        sizes[i] = _cell_gradients(points, cells[i], g[i])
    return g, sizes


@njit(cache=True)
def _measures(points: Any, cells: Any) -> Any:
    sizes = np.empty(cells.shape[0])
    for i in range(cells.shape[0]):
        u, v = _edge(points, cells[i, 0], cells[i, 1]), _edge(points, cells[i, 0], cells[i, 2])
        n = _cross(u, v)
        if cells.shape[1] == 4:
            w = _edge(points, cells[i, 0], cells[i, 3])
            sizes[i] = abs(n[0] * w[0] + n[1] * w[1] + n[2] * w[2]) / 6
        else:
            sizes[i] = np.sqrt(n[0] ** 2 + n[1] ** 2 + n[2] ** 2) / 2
    return sizes


@njit(cache=True, inline="always")
def _inner(a: Any, b: Any) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(cache=True)
def _add_stiffness_of_tets(points: Any, cells: Any, weights: Any, positions: Any, data: Any) -> None:
    """As `_add_stiffness`, from the normals of three faces, and nothing held in arrays."""
    for i in range(cells.shape[0]):
        first = cells[i, 0]
        u, v, w = (
            _edge(points, first, cells[i, 1]),
            _edge(points, first, cells[i, 2]),
            _edge(points, first, cells[i, 3]),
        )
        n1, n2, n3 = _cross(v, w), _cross(w, u), _cross(u, v)
        scale = weights[i] / (6 * abs(_inner(u, n1)))
        k12, k13, k23 = scale * _inner(n1, n2), scale * _inner(n1, n3), scale * _inner(n2, n3)
        k01 = -(scale * _inner(n1, n1) + k12 + k13)
        k02 = -(scale * _inner(n2, n2) + k12 + k23)
        k03 = -(scale * _inner(n3, n3) + k13 + k23)
        place = positions[i]
        data[place[0, 1]] += k01
        data[place[1, 0]] += k01
        data[place[0, 2]] += k02
        data[place[2, 0]] += k02
        data[place[0, 3]] += k03
        data[place[3, 0]] += k03
        data[place[1, 2]] += k12
        data[place[2, 1]] += k12
        data[place[1, 3]] += k13
        data[place[3, 1]] += k13
        data[place[2, 3]] += k23
        data[place[3, 2]] += k23
        # The diagonal from the others, so that every row sums to zero in each cell, not only nearly.
        data[place[0, 0]] -= k01 + k02 + k03
        data[place[1, 1]] -= k01 + k12 + k13
        data[place[2, 2]] -= k02 + k12 + k23
        data[place[3, 3]] -= k03 + k13 + k23


@njit(cache=True)
def _add_stiffness(points: Any, cells: Any, weights: Any, positions: Any, data: Any) -> None:
    corners = cells.shape[1]
    g = np.empty((corners, 3))
    for i in range(cells.shape[0]):
        size = _cell_gradients(points, cells[i], g) * weights[i]
        for a in range(corners):
            # The diagonal from the others, so that every row sums to zero in each cell, not only nearly.
            total = 0.0
            for b in range(corners):
                if b != a:
                    value = size * (g[a, 0] * g[b, 0] + g[a, 1] * g[b, 1] + g[a, 2] * g[b, 2])
                    data[positions[i, a, b]] += value
                    total += value
            data[positions[i, a, a]] -= total


@njit(cache=True)
def _add_mass(sizes: Any, positions: Any, data: Any) -> None:
    corners = positions.shape[1]
    for i in range(positions.shape[0]):
        share = sizes[i] / (corners * (corners + 1))
        for a in range(corners):
            for b in range(corners):
                data[positions[i, a, b]] += share * (2 if a == b else 1)
