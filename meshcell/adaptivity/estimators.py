"""Where a solution is not resolved: an indicator per tetrahedron, and which of them to refine."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meshcell.core import adjacency
from meshcell.core.arrays import Floats, Ints
from meshcell.core.hints import nearest, require
from meshcell.core.kernels import njit
from meshcell.core.types import TetMesh
from meshcell.geometry.finite_elements import gradients
from meshcell.models.binding import BoundReaction, BoundSpecies, System
from meshcell.models.bound_places import BoundCompartment
from meshcell.models.solutions import Solution

logger = logging.getLogger("meshcell")


def estimate(solution: Solution, *, species: str | Iterable[str] | None = None) -> Floats:
    """Estimate the error in space of every tetrahedron from the jumps of the fluxes over its faces.

    Parameters
    ----------
    solution : Solution
    species : name or names, optional
        Only the errors of these; all species otherwise.

    Returns
    -------
    (n,) floats >= 0
        The root of the sum of squares over all tetrahedra estimates the relative error of the gradients; 0 where none
        of the species lives.

    Raises
    ------
    ValueError
        Unknown species, values that are not finite or that do not fit the mesh.

    Notes
    -----
    For a species u with diffusion D in d dimensions (3 in a region, 2 on an interface), at one time and for a cell T,

        eta_T^2 = d/24 |T| sum_F r_F^2,    r_F = [du/dn] - s/D        on a face that two cells share,
                                           r_F = 2 (du/dn - s/D)      on a face of one cell alone,

    where s, linear on F, is what the reactions on F bring in per area, and r^2 is averaged over F. The factor 2 makes
    it the jump to the cell's mirror image. As |T| is about h |F|, this is the residual estimator h |r|_F^2 of P1
    elements, whose jumps dominate what is left inside the cells. d/24 is exact for d = 1 (Kelly et al.) and measured
    for d = 2 and 3, so that on smooth fields the estimate is about the true error. Nothing is compared across an
    interface, where fields may jump, nor where values are fixed. A species that does not diffuse is judged by its jumps
    alone. Errors on an interface go to the tetrahedra on its two sides, half each.

    Where D differs from cell to cell, errors are those of the energy, D |grad u|^2: jumps are those of D du/dn, their
    squares over the larger D of the two cells (Bernardi and Verfuerth). Where D is a tensor, errors are those of grad
    u . D grad u, jumps those of n . D grad u, and D in the rest is n . D n with the face's normal n.

    Species count alike whatever their amounts: eta_T^2 is divided by the integral of |grad u|^2 + |u|^2 / L^2 over the
    compartment, L the diagonal of its box. Both are summed over the saved times, each with the interval before it; so
    the initial values, which are given and not computed, count only if they are all there is.

    References
    ----------
    Kelly, Gago, Zienkiewicz, Babuska: A posteriori error analysis and adaptive processes in the finite element method,
    part I, Int. J. Numer. Meth. Eng. 19 (1983) 1593-1619.
    Bernardi, Verfuerth: Adaptive finite element methods for elliptic equations with non-smooth coefficients, Numer.
    Math. 85 (2000) 579-608.
    Carstensen, Verfuerth: Edge residuals dominate a posteriori error estimates for low order finite element methods,
    SIAM J. Numer. Anal. 36 (1999) 1571-1587.

    Examples
    --------
    A constant is resolved by any mesh:

    >>> from meshcell.models import Model, Species
    >>> mesh = TetMesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 2, 3]], [1], [], [], {1: "cell"})
    >>> model = Model({"cyt": "cell"}, [Species("Ca", "cyt", diffusion=220, initial=60)])
    >>> estimate(Solution(mesh, model, [0.0], {"Ca": [[60, 60, 60, 60]]}, {"Ca": [0, 1, 2, 3]})).tolist()
    [0.0]
    """
    require(solution, Solution, "estimate(solution)")
    if solution.advice:
        warnings.warn(f"the estimate is of the last state, as if it stood still{solution.advice}", stacklevel=2)
    names = _checked_species(solution, species)
    system = solution.system
    squares = np.zeros(len(solution.mesh.tets))
    places: dict[str, _Cells] = {}
    for name in names:
        bound = system.species[name]
        place = bound.compartment
        if place.name not in places:
            places[place.name] = _cells(solution.mesh, place)
        cells = places[place.name]
        own = _relative_squares(solution, system, bound, cells)
        _add_to_tets(squares, own, cells, solution.mesh)
    indicator = np.asarray(np.sqrt(squares))
    logger.info("estimated a relative error of %.3g from %s", float(np.sqrt(squares.sum())), ", ".join(names))
    return indicator


def mark(indicator: Any, *, theta: float = 0.5) -> Ints:
    """Choose the fewest tetrahedra that hold the share `theta` of the squared indicator (Doerfler's bulk marking).

    Parameters
    ----------
    indicator : (n,) floats >= 0
        Not squared, as it comes from `estimate`.
    theta : float
        0 < theta <= 1; the larger, the more is marked.

    Returns
    -------
    (k,) int32
        Ascending rows; none where the indicator is zero. Of equal indicators the smaller row is marked first.

    Raises
    ------
    ValueError
        A theta out of range; an indicator that is not a list of finite numbers >= 0.

    References
    ----------
    Doerfler: A convergent adaptive algorithm for Poisson's equation, SIAM J. Numer. Anal. 33 (1996) 1106-1124.

    Examples
    --------
    >>> mark([1, 3, 0, 2], theta=0.5).tolist(), mark([1, 3, 0, 2], theta=0.7).tolist(), mark([0, 0]).tolist()
    ([1], [1, 3], [])
    """
    if not hasattr(indicator, "__array__"):
        require(indicator, (np.ndarray, list, tuple), "mark(indicator)")
    eta = np.asarray(indicator, np.float64)
    if not 0 < theta <= 1:
        raise ValueError(f"theta should be > 0 and <= 1, the share of the squared indicator to mark; got {theta}")
    if eta.ndim != 1:
        raise ValueError(f"indicator should be one number per tetrahedron; got shape {eta.shape}")
    bad = np.flatnonzero(~(np.isfinite(eta) & (eta >= 0)))
    if len(bad):
        raise ValueError(
            f"indicator should be finite and >= 0; {len(bad)} entries are not, the first is row {bad[0]}: "
            f"{eta[bad[0]]}; take it from estimate(solution)"
        )
    largest = eta.max(initial=0.0)
    if largest == 0:
        return np.empty(0, np.int32)
    order = np.argsort(-eta, kind="stable")
    # Divided first: squares of very small or large numbers would vanish or overflow.
    shares = np.cumsum((eta[order] / largest) ** 2)
    enough = int(np.searchsorted(shares, theta * shares[-1])) + 1
    return np.sort(order[:enough]).astype(np.int32)


# --- one species ---


@dataclass(frozen=True, eq=False)
class _Cells:
    """The simplices of a compartment, prepared for fluxes over their faces (face k lies opposite corner k)."""

    rows: Ints  # (c,) rows of mesh.tets or mesh.facets
    corners: Ints  # (c, d+1) rows of mesh.points
    gradients: Floats  # (c, d+1, 3) of the hat functions
    measures: Floats  # (c,) volumes or areas
    faces: Ints  # (c, d+1) number of each face, equal for the cells that share it
    facet_faces: Ints  # (f,) that number for every facet of the mesh, -1 where it is no face of these cells
    alone: npt.NDArray[np.bool_]  # for each number, whether a single cell has that face
    size: float  # diagonal of the box around them, um


def _checked_species(solution: Solution, species: str | Iterable[str] | None) -> list[str]:
    # Pools have no places that could be refined.
    known = [name for name in solution.values if solution.system.species[name].compartment.volume is None]
    names = known if species is None else [species] if isinstance(species, str) else list(species)
    unknown = [name for name in names if name not in known]
    if unknown:
        hint = nearest(unknown[0], known)
        raise ValueError(f"species should be of the solution; got {unknown[0]!r}{hint}; there are {', '.join(known)}")
    for name in names:
        bad = np.flatnonzero(~np.isfinite(solution.values[name]).all(axis=1))
        if len(bad):
            raise ValueError(
                f"values should be finite; those of {name!r} are not at t = {solution.times[bad[0]]:g} s "
                f"({len(bad)} such times); see solution.message"
            )
    return names


def _cells(mesh: TetMesh, place: BoundCompartment) -> _Cells:

    inside = place.dimension == 3
    corners = (mesh.tets if inside else mesh.facets)[place.rows]
    faces = _shared_faces(mesh, place.rows) if inside else adjacency.edges(corners, len(mesh.points))[1]
    return _Cells(
        rows=place.rows,
        corners=corners,
        gradients=gradients(mesh.points, corners),
        measures=(mesh.volumes if inside else mesh.areas)[place.rows],
        faces=faces,
        facet_faces=_facet_faces(mesh, place.rows, faces) if inside else np.full(len(mesh.facets), -1, np.int32),
        alone=np.bincount(faces.ravel()) == 1,
        size=float(np.linalg.norm(np.ptp(mesh.points[place.nodes], axis=0))) if len(place.nodes) else 1.0,
    )


def _shared_faces(mesh: TetMesh, rows: Ints) -> Ints:
    """Number the faces of the given tetrahedra: (c, 4), the two sides of a face alike."""
    local = np.full(len(mesh.tets) + 1, -1, np.int32)
    local[rows] = np.arange(len(rows))
    across = local[mesh.neighbours[rows]]
    back = (across[across] == np.arange(len(rows))[:, None, None]).argmax(axis=2)
    own = np.arange(4 * len(rows), dtype=np.int32).reshape(-1, 4)
    return np.where(across < 0, own, np.minimum(own, 4 * across + back)).astype(np.int32)


def _facet_faces(mesh: TetMesh, rows: Ints, faces: Ints) -> Ints:
    """Return for every facet its number among the faces, -1 where it is no face of the given tetrahedra."""
    local = np.full(len(mesh.tets) + 1, -1, np.int32)
    local[rows] = np.arange(len(rows))
    behind, front = local[mesh.facet_tets].T
    cell = np.where(behind >= 0, behind, front)
    corner = (mesh.tets[rows[cell]][:, :, None] != mesh.facets[:, None, :]).all(axis=2).argmax(axis=1)
    return np.where(cell < 0, -1, faces[cell, corner])


def _relative_squares(solution: Solution, system: System, bound: BoundSpecies, cells: _Cells) -> Floats:
    """Sum the squared indicator of one species over time: (c,), relative to its squared norm."""
    columns = _columns(solution, bound.name, cells.corners)
    squares, norm = np.zeros(len(cells.rows)), 0.0
    held = _held_faces(bound, cells, solution.mesh)
    slopes, across = cells.gradients, None
    if bound.shares is not None:
        slopes = _spread(cells.gradients, bound.shares)
        normal_shares = (slopes * cells.gradients).sum(axis=2) / (cells.gradients**2).sum(axis=2)
        across = np.zeros(len(cells.alone))
        np.maximum.at(across, cells.faces, normal_shares)
    for k, dt in _time_weights(solution.times):
        flux, spread = np.zeros(len(cells.alone)), np.zeros(len(cells.alone))
        if bound.diffusion > 0 and (cells.facet_faces >= 0).any():
            _subtract_inflow(
                flux, spread, _inflow(solution, system, bound.name, k) / bound.diffusion, cells.facet_faces
            )
        values = solution.values[bound.name][k]
        size = _add_outflow(flux, values, columns, slopes, cells.gradients, cells.measures, cells.faces, cells.size)
        norm += dt * (size if bound.shares is None else _energy(values[columns], cells, bound.shares))
        flux[held], spread[held] = 0.0, 0.0
        jumps = np.where(cells.alone, 4.0, 1.0) * (flux**2 + spread)
        if across is not None:
            jumps = np.divide(jumps, across, out=np.zeros_like(jumps), where=across > 0)
        squares += dt * jumps[cells.faces].sum(axis=1)
    squares *= cells.measures * (cells.corners.shape[1] - 1) / 24
    return squares / norm if norm > 0 else squares


def _energy(values: Floats, cells: _Cells, shares: Floats) -> float:
    """Integrate grad u . shares grad u + shares |u|^2 / size^2 over the cells, from values (c, d+1) at their corners.

    In the second term a tensor counts by the mean of its eigenvalues.
    """
    # Differences, so that a large constant does not drown a small gradient.
    slope = np.einsum("ck,ckx->cx", values - values[:, :1], cells.gradients)
    usual = shares if shares.ndim == 1 else np.trace(shares, axis1=1, axis2=2) / (values.shape[1] - 1)
    density = (_spread(slope, shares) * slope).sum(axis=1) + usual * (values**2).mean(axis=1) / cells.size**2
    return float(cells.measures @ density)


def _spread(slopes: Floats, shares: Floats) -> Floats:
    """Multiply slopes (c, ..., 3) by the shares (c,) or (c, 3, 3) of their cells."""
    if shares.ndim == 1:
        return np.asarray(slopes * shares.reshape(-1, *(1,) * (slopes.ndim - 1)))
    return np.asarray(np.einsum("c...x,cxy->c...y", slopes, shares))


def _held_faces(bound: BoundSpecies, cells: _Cells, mesh: TetMesh) -> Ints:
    """Return the faces where values are fixed: whatever flux there is holds them, so its jump is no error."""
    if cells.corners.shape[1] == 4:
        rows = [cells.facet_faces[part.place.rows] for part in bound.fixed if part.place.dimension == 2]
        faces = np.concatenate([np.zeros(0, np.int32), *rows])
        return faces[faces >= 0]
    fixed = np.zeros(len(mesh.points), bool)
    for part in bound.fixed:
        fixed[part.nodes] = True
    corners = fixed[cells.corners]
    return cells.faces[np.stack([corners[:, [1, 2]], corners[:, [2, 0]], corners[:, [0, 1]]], axis=1).all(axis=2)]


def _time_weights(times: Floats) -> list[tuple[int, float]]:
    if len(times) == 1:
        return [(0, 1.0)]
    return [(k, float(times[k] - times[k - 1])) for k in range(1, len(times))]


def _columns(solution: Solution, name: str, rows: Ints) -> Ints:
    """Return where the values at the given points stand among the species' columns."""
    column_of = np.full(len(solution.mesh.points), -1, np.int32)
    column_of[solution.nodes[name]] = np.arange(len(solution.nodes[name]))
    columns = column_of[rows]
    if (columns < 0).any():
        missing = np.ravel(rows)[np.ravel(columns) < 0]
        raise ValueError(
            f"values of {name!r} should cover its compartment; none for {len(np.unique(missing))} of its points, "
            f"the first is row {missing[0]}; was the solution made on another mesh?"
        )
    return np.ascontiguousarray(columns)


def _inflow(solution: Solution, system: System, name: str, k: int) -> Floats:
    """Sum what reactions on interfaces bring of a species at time k: (f, 3) molecules/um^2/s at the facets' corners."""
    mesh = solution.mesh
    inflow = np.zeros((len(mesh.facets), 3))
    for reaction in system.reactions:
        place = reaction.compartment
        if place.dimension == 2 and name in reaction.change:
            at_points = np.zeros(len(mesh.points))
            at_points[place.nodes] = reaction.change[name] * _rate(solution, reaction, k)
            inflow[place.rows] += at_points[mesh.facets[place.rows]]
    return inflow


def _rate(solution: Solution, reaction: BoundReaction, k: int) -> Floats:
    nodes = reaction.compartment.nodes
    reads: list[Floats] = [solution.values[name][k][_columns(solution, name, nodes)] for name in reaction.reads]
    reads += [np.array(item.of(solution.values[item.species][k])) for item in reaction.wholes]
    return reaction.rate(reads, float(solution.times[k]), solution.mesh.points[nodes])


def _subtract_inflow(flux: Floats, spread: Floats, inflow: Floats, facet_faces: Ints) -> None:
    """Take the mean inflow of each facet from the flux over its face, and keep the mean square of the rest."""
    own = facet_faces >= 0
    faces, corners = facet_faces[own], inflow[own]
    mean = corners.mean(axis=1)
    flux[faces] -= mean
    spread[faces] += ((corners - mean[:, None]) ** 2).sum(axis=1) / 12


def _add_to_tets(squares: Floats, own: Floats, cells: _Cells, mesh: TetMesh) -> None:
    if cells.corners.shape[1] == 4:
        squares[cells.rows] += own
        return
    tets = mesh.facet_tets[cells.rows]
    share = own / np.maximum((tets >= 0).sum(axis=1), 1)
    for side in range(2):
        there = tets[:, side] >= 0
        np.add.at(squares, tets[there, side], share[there])


# --- kernels ---


@njit(cache=True)
def _add_outflow(
    flux: Any, values: Any, columns: Any, slopes: Any, gradients: Any, measures: Any, faces: Any, size: float
) -> Any:
    """Add n . q out of every cell to its faces; return the integral of |q|^2 + |u|^2 / size^2.

    q is the sum of the values times the slopes of their corners: grad u where these are the gradients.
    """
    norm = 0.0
    corners = columns.shape[1]
    for i in range(columns.shape[0]):
        first = values[columns[i, 0]]
        gx, gy, gz, squares = 0.0, 0.0, 0.0, first * first
        for j in range(1, corners):
            # Differences, so that a large constant does not drown a small gradient.
            value = values[columns[i, j]]
            rise = value - first
            gx += rise * slopes[i, j, 0]
            gy += rise * slopes[i, j, 1]
            gz += rise * slopes[i, j, 2]
            squares += value * value
        norm += measures[i] * (gx * gx + gy * gy + gz * gz + squares / corners / size**2)
        for j in range(corners):
            hx, hy, hz = gradients[i, j, 0], gradients[i, j, 1], gradients[i, j, 2]
            # The gradient of a hat function points from the face opposite its corner straight into the cell.
            flux[faces[i, j]] -= (gx * hx + gy * hy + gz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz)
    return norm
