"""P1 finite elements on tetrahedra and on triangles in space: gradients, stiffness and mass, assembled edge by edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core.adjacency import TET_EDGES, TRIANGLE_EDGES, edges
from meshcell.core.inner import inner, plain
from meshcell.core.kernels import njit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Places = npt.NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where the entries of a sparse matrix of P1 elements stand, found once and used for each assembly.

    Off the diagonal an entry belongs to an edge, to which a few cells add; the diagonal follows from its row.

    Parameters
    ----------
    indptr : (p + 1,) int32
    indices : (z,) int32
        Columns, ascending in each row; every diagonal entry is there, also of points without cells.
    cell_edges : (n, 6) or (n, 3) uint32
        The edges of every cell, in the order of TET_EDGES or TRIANGLE_EDGES.
    sources : (z,) uint32
        The edge of every entry; on the diagonal `n_edges`.
    diagonal : (p,) uint32
        Places of the diagonal's entries.
    n_edges : int
    """

    indptr: Ints
    indices: Ints
    cell_edges: Places
    sources: Places
    diagonal: Places
    n_edges: int

    def matrix(self, data: Floats) -> sp.csr_array:
        """Wrap a data array (z,) as the sparse matrix (p, p) of this pattern."""
        n = len(self.indptr) - 1
        return sp.csr_array((data, self.indices, self.indptr), shape=(n, n))

    def spread(self, values: Floats, factor: float) -> sp.csr_array:
        """Make the matrix of the edges' values (n_edges + 1,), `factor` times a row's sum on its diagonal."""
        data = np.empty(len(self.indices))
        _spread(self.indptr.view(np.uint32), self.sources, self.diagonal, values, factor, data)
        return self.matrix(data)


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
    _checked_corners(cells)
    pairs, cell_edges = edges(cells, n_points)
    indptr, indices, sources, diagonal = _pattern(pairs, n_points)
    return Pattern(indptr, indices, cell_edges.view(np.uint32), sources, diagonal, len(pairs))


def measures(points: Floats, cells: Ints) -> Floats:
    """Measure the volume of every tetrahedron (um^3) or the area of every triangle (um^2): (n,), never negative.

    Examples
    --------
    >>> 6 * measures(np.vstack([np.zeros(3), np.eye(3)]), np.array([[0, 1, 2, 3]], np.int32))
    array([1.])
    """
    _checked_corners(cells)
    return _measures(plain(points, np.float64), _places(cells))  # type: ignore[no-any-return]


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
    return _gradients(plain(points, np.float64), _places(cells), corners)[0]  # type: ignore[no-any-return]


def stiffness(
    points: Floats, cells: Ints, coefficient: Floats | None = None, *, pattern: Pattern | None = None
) -> sp.csr_array:
    """Assemble K, the integral of grad(phi_i) . coefficient grad(phi_j).

    Parameters
    ----------
    points : (p, 3) floats, um
    cells : (n, 4) or (n, 3) int32
    coefficient : (n,) or (n, 3, 3) floats, optional
        One value or symmetric tensor per cell, for example a diffusion coefficient in um^2/s; 1 by default. On
        triangles a tensor counts by its projection to their plane, in which the gradients lie.
    pattern : Pattern, optional
        Of the same cells; given, assembly is about twenty times faster.

    Returns
    -------
    (p, p) sparse array
        Symmetric; rows and columns sum to zero, because the hat functions sum to one.

    Raises
    ------
    ValueError
        A coefficient that is not one value or tensor per cell, cells that are neither tetrahedra nor triangles.

    Notes
    -----
    Off the diagonal K is negative, so that diffusion makes nothing negative, where no dihedral angle is obtuse in the
    metric of the inverse tensor. The more anisotropic, the fewer meshes are such: there values may undershoot.
    """
    if coefficient is not None and np.ndim(coefficient) == 3:
        where, _ = _prepared(points, cells, None, pattern)
        return where.spread(_tensor_edges(points, cells, coefficient, where), -1.0)
    where, weights = _prepared(points, cells, coefficient, pattern)
    return _assembled(points, cells, weights, where)[0]


def mass(
    points: Floats, cells: Ints, coefficient: Floats | None = None, *, pattern: Pattern | None = None
) -> sp.csr_array:
    """Assemble the consistent M, the integral of coefficient * phi_i * phi_j; parameters as in `stiffness`.

    Its entries sum to the volume (um^3) or area (um^2) of the cells.
    """
    where, weights = _prepared(points, cells, coefficient, pattern)
    values = np.zeros(where.n_edges + 1)
    _add_mass(measures(points, cells) * weights, where.cell_edges, values)
    return where.spread(values, _mass_factor(cells))


def stiffness_and_mass(
    points: Floats, cells: Ints, *, pattern: Pattern | None = None
) -> tuple[sp.csr_array, sp.csr_array]:
    """Assemble K and the consistent M in one pass over the cells; parameters as in `stiffness`.

    Examples
    --------
    >>> K, M = stiffness_and_mass(np.vstack([np.zeros(3), np.eye(3)]), np.array([[0, 1, 2, 3]], np.int32))
    >>> (6 * K.diagonal()).round(12), (60 * M.diagonal()).round(12)
    (array([3., 1., 1., 1.]), array([1., 1., 1., 1.]))
    """
    where, weights = _prepared(points, cells, None, pattern)
    K, values = _assembled(points, cells, weights, where)
    return K, where.spread(values, _mass_factor(cells))


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
    if where.cell_edges.shape != (len(cells), 3 * corners - 6) or len(where.indptr) != len(points) + 1:
        raise ValueError(
            f"the pattern belongs to {len(where.cell_edges)} cells on {len(where.indptr) - 1} points; "
            f"got {len(cells)} cells on {len(points)}; make it anew with pattern(cells, len(points))"
        )
    return where, _weights(coefficient, len(cells))


def _assembled(points: Floats, cells: Ints, weights: Floats, where: Pattern) -> tuple[sp.csr_array, Floats]:
    """Return K and the edges' values of M."""
    stiff, massive = np.zeros((2, where.n_edges + 1))
    add = _add_tets if cells.shape[1] == 4 else _add_triangles
    add(plain(points, np.float64), _places(cells), weights, where.cell_edges, stiff, massive)
    return where.spread(stiff, -1.0), massive


def _tensor_edges(points: Floats, cells: Ints, tensors: Floats, where: Pattern) -> Floats:
    """Return the edges' values of K with one symmetric tensor per cell."""
    if np.shape(tensors) != (len(cells), 3, 3):
        raise ValueError(
            f"coefficient should hold one 3 x 3 tensor for each of the {len(cells)} cells; got shape "
            f"{np.shape(tensors)}"
        )
    ends = TET_EDGES if cells.shape[1] == 4 else TRIANGLE_EDGES
    slopes = gradients(points, cells)
    fluxes = np.einsum("nkx,nxy->nky", slopes, tensors) * measures(points, cells)[:, None, None]
    values = (fluxes[:, ends[:, 0]] * slopes[:, ends[:, 1]]).sum(axis=2)
    summed = np.bincount(where.cell_edges.ravel(), values.ravel(), minlength=where.n_edges + 1)
    return summed.astype(np.float64)


def _places(cells: Ints) -> Places:
    """Return the corners as unsigned numbers: none counts from the end, which kernels then need not look for."""
    return plain(cells, np.int32).view(np.uint32)  # type: ignore[no-any-return]


def _mass_factor(cells: Ints) -> float:
    """Return a diagonal entry of M over the sum of the others in its row."""
    return 2 / 3 if cells.shape[1] == 4 else 1.0


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
        columns[cursor[p]], source[cursor[p]] = p, n
        cursor[p] += 1
    for e in range(n):
        for side in range(2):
            p = pairs[e, side]
            columns[cursor[p]], source[cursor[p]] = pairs[e, 1 - side], e
            cursor[p] += 1
    indices, sources = np.empty(z, np.int32), np.empty(z, np.uint32)
    diagonal = np.empty(n_points, np.uint32)
    for p in range(n_points):
        start = indptr[p]
        order = np.argsort(columns[start : indptr[p + 1]])
        for k in range(order.size):
            slot, e = start + k, source[start + order[k]]
            indices[slot] = columns[start + order[k]]
            sources[slot] = e
            if e == n:
                diagonal[p] = slot
    return indptr, indices, sources, diagonal


@njit(cache=True)
def _spread(indptr: Any, sources: Any, diagonal: Any, values: Any, factor: float, data: Any) -> None:
    """Give every entry its edge's value; the last value is zero and belongs to the diagonal."""
    for p in range(diagonal.size):
        total = 0.0
        for k in range(indptr[p], indptr[p + 1]):
            value = values[sources[k]]
            data[k] = value
            total += value
        data[diagonal[p]] = factor * total


@inner(cache=True)
def _cross(a: Any, b: Any) -> Any:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@inner(cache=True)
def _edge(points: Any, a: int, b: int) -> Any:
    return points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]


@inner(cache=True)
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


@njit(cache=True, fastmath={"contract"})
def _add_tets(points: Any, cells: Any, weights: Any, cell_edges: Any, stiff: Any, massive: Any) -> None:
    """Add to the edges what the tetrahedra give to K and M, from the normals of three faces."""
    for i in range(cells.shape[0]):
        first = cells[i, 0]
        u, v, w = (
            _edge(points, first, cells[i, 1]),
            _edge(points, first, cells[i, 2]),
            _edge(points, first, cells[i, 3]),
        )
        n1, n2, n3 = _cross(v, w), _cross(w, u), _cross(u, v)
        det = abs(_inner(u, n1))
        scale, share = weights[i] / (6 * det), weights[i] * det / 120
        k12, k13, k23 = scale * _inner(n1, n2), scale * _inner(n1, n3), scale * _inner(n2, n3)
        # In the order of TET_EDGES: those of the first corner from the others, so that gradients sum to zero.
        values = (
            -(scale * _inner(n1, n1) + k12 + k13),
            -(scale * _inner(n2, n2) + k12 + k23),
            -(scale * _inner(n3, n3) + k13 + k23),
            k12,
            k13,
            k23,
        )
        for k in range(6):
            e = cell_edges[i, k]
            stiff[e] += values[k]
            massive[e] += share


@njit(cache=True)
def _add_triangles(points: Any, cells: Any, weights: Any, cell_edges: Any, stiff: Any, massive: Any) -> None:
    g = np.empty((3, 3))
    for i in range(cells.shape[0]):
        area = _cell_gradients(points, cells[i], g) * weights[i]
        for k in range(3):
            a, b = TRIANGLE_EDGES[k, 0], TRIANGLE_EDGES[k, 1]
            stiff[cell_edges[i, k]] += area * (g[a, 0] * g[b, 0] + g[a, 1] * g[b, 1] + g[a, 2] * g[b, 2])
            massive[cell_edges[i, k]] += area / 12


@njit(cache=True)
def _add_mass(sizes: Any, cell_edges: Any, values: Any) -> None:
    corners = 4 if cell_edges.shape[1] == 6 else 3
    for i in range(sizes.size):
        for k in range(cell_edges.shape[1]):
            values[cell_edges[i, k]] += sizes[i] / (corners * (corners + 1))
