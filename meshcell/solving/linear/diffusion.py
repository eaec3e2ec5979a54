"""Diffusion alone: D K u, and the symmetric systems (M + tau D K) w = b by conjugate gradients.

K is the same for all species of a compartment, whatever their D, so up to four of them go through it together: most
of the time of a sparse product goes into reading the matrix. M is lumped, so a new step size costs a new diagonal.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core.kernels import njit
from meshcell.solving.kept_sums import Pieces
from meshcell.solving.linear.conjugate_gradients import WIDTH, Sweeps, improve, row_of_four

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

MOST_ITERATIONS = 400
LEAST = 1e-290


@dataclass(frozen=True, eq=False)
class Band:
    """Up to WIDTH species of one compartment that diffuse together, as columns of arrays (n, WIDTH).

    Parameters
    ----------
    sweeps : Sweeps
        The stiffness matrix K of the compartment.
    diagonal, mass : (n,) floats
        Of K, um, and of the lumped mass matrix, um^3 (on an interface dimensionless and um^2).
    constants : WIDTH floats
        Diffusion in um^2/s, column by column; columns that are not used have 0.
    own : list of slices
        The unknowns of each column in use.
    pieces : Pieces
        Within each of which diffusion keeps all molecules, unless values are fixed there.
    """

    sweeps: Sweeps
    diagonal: Floats
    mass: Floats
    constants: tuple[float, ...]
    own: list[slice]
    pieces: Pieces

    @cached_property
    def steepest(self) -> float:
        """The largest D K_ii / M_ii, 1/s."""
        return max(self.constants) * float((self.diagonal / self.mass).max())

    @cached_property
    def space(self) -> Singles:
        """(6, n, WIDTH) what `improve` works on; only one runs at a time."""
        return np.empty((6, len(self.mass), WIDTH), np.float32)

    def gather(self, u: Floats) -> Floats:
        """Take this band's columns out of the unknowns."""
        columns = np.zeros((len(self.mass), WIDTH))
        for k, rows in enumerate(self.own):
            columns[:, k] = u[rows]
        return columns

    def operate(self, mass: float, factors: tuple[float, ...], x: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Return mass * M x + factors * K v, and the largest value of each column."""
        y, largest = np.empty_like(v), np.empty((len(self.sweeps.bounds) - 1, WIDTH))
        matrix = self.sweeps.parts, self.sweeps.indices, self.sweeps.data
        self.sweeps.share(_operate, *matrix, self.mass, mass, factors, x, v, y, largest)
        return y, largest.max(axis=0)


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The systems A w = (M + tau D K) w = -D K u of one band, for all stages of a step.

    Parameters
    ----------
    band : Band
    tau : float, s
    inverse : (n, WIDTH) floats
        One over the diagonal of A, in single precision and units of `unit`.
    measure : (n, WIDTH) floats
        By which a residual's squares are weighed: (weights / sqrt(diag(A) M))^2. M alone in the place of diag(A) would
        bound the error (A >= M), diag(A) alone would take smooth errors too lightly.
    unit : float
        Mean mass of a node, so that no number leaves the range of single precision.
    sizes : (WIDTH,) floats
        Units of `measure`.
    """

    band: Band
    tau: float
    inverse: Singles
    measure: Singles
    unit: float
    sizes: Floats

    @classmethod
    def of(cls, band: Band, tau: float, weights: Floats) -> Relaxation:
        """Prepare the systems; the root of the sum of (weights * error of w)^2 is what counts."""
        columns, unit, sweeps = band.gather(weights), float(band.mass.mean()), band.sweeps
        inverse, measure = np.empty((2, *columns.shape), np.float32)
        largest = np.empty((len(sweeps.bounds) - 1, WIDTH))
        factors = tuple(tau * D for D in band.constants)
        sweeps.share(_prepare, factors, band.diagonal, band.mass, unit, columns, inverse, largest)
        sizes = _filled(largest.max(axis=0))
        sweeps.share(_scaled, tuple(1 / sizes), columns, measure)
        return cls(band, tau, inverse, measure, unit, sizes)

    def solve(self, state: Floats, guess: Floats, tolerance: float) -> tuple[Floats, int, bool]:
        """Improve a guess until the error is at most `tolerance` in every column."""
        band, x, v, done = self.band, self.band.gather(guess), self.band.gather(state), 0
        v += self.tau * x
        while True:
            rest, size = band.operate(-1.0, tuple(-D for D in band.constants), x, v)
            if not np.isfinite(size).all():
                return x, done, False
            scale = _filled(size)
            band.sweeps.share(_scaled, tuple(1 / scale), rest, band.space[0])
            with np.errstate(over="ignore"):
                # Of what is next to nothing any error is small enough.
                limit = (tolerance / scale) ** 2 / self.sizes
            factors = tuple(self.tau * D / self.unit for D in band.constants)
            system = band.sweeps, factors, self.inverse, self.measure
            iterations, enough = improve(*system, band.space, limit, MOST_ITERATIONS - done)
            done += iterations
            if iterations:
                change = tuple(scale / self.unit)
                band.sweeps.share(_add, change, tuple(self.tau * scale / self.unit), band.space[1], x, v)
            if enough or not iterations or done >= MOST_ITERATIONS:
                return x, done, enough


def _filled(sizes: Floats) -> Floats:
    """Return units of columns: 1 for those that are empty, or too small to divide by."""
    return np.where(sizes > LEAST, sizes, 1.0)


class Diffusion:
    """The diffusion of all species.

    Parameters
    ----------
    size : int
        Unknowns.
    homes : list of (K, lumped mass, species' D, species' unknowns)
        One entry per compartment.
    """

    def __init__(self, size: int, homes: list[tuple[sp.csr_array, Floats, list[float], list[slice]]]) -> None:
        self.size = size
        self.bands: list[Band] = []
        for K, mass, constants, own in homes:
            moving = [(D, rows) for D, rows in zip(constants, own, strict=True) if D > 0]
            if not moving:
                continue
            diagonal, pieces, sweeps = K.diagonal(), Pieces.of(K, mass), Sweeps.of(K)
            for first in range(0, len(moving), WIDTH):
                chosen = moving[first : first + WIDTH]
                factors = (*(D for D, _ in chosen), *(0.0,) * (WIDTH - len(chosen)))
                own = [rows for _, rows in chosen]
                self.bands.append(Band(sweeps, diagonal, mass, factors, own, pieces))

    def apply(self, u: Floats) -> Floats:
        """Return D K u, molecules/s that diffuse away from every node."""
        result = np.zeros_like(u)
        for band in self.bands:
            columns = band.gather(u)
            y, _ = band.operate(0.0, band.constants, columns, columns)
            for k, rows in enumerate(band.own):
                result[rows] = y[:, k]
        return result

    def levelled(self, rates: Floats) -> Floats:
        """Return diffusive rates (u,) without what they add to whole pieces, nor to what does not diffuse."""
        result = np.zeros_like(rates)
        for band in self.bands:
            for rows in band.own:
                column = rates[rows].copy()
                band.pieces.level(column)
                result[rows] = column
        return result

    def steepness(self, tau: float) -> float:
        """Return the largest tau D K_ii / M_ii: about half of the condition of M + tau D K, scaled."""
        return tau * max((band.steepest for band in self.bands), default=0.0)

    def solver(self, tau: float, weights: Floats) -> Callable[[Floats, Floats, float], tuple[Floats, int, bool]]:
        """Return `relax` for the systems of a step."""
        return functools.partial(relax, self.relaxations(tau, weights))

    def relaxations(self, tau: float, weights: Floats) -> list[Relaxation]:
        """Prepare the systems of a step: `weights` (u,) as in `Relaxation.of`."""
        return [Relaxation.of(band, tau, weights) for band in self.bands]


def relax(relaxations: list[Relaxation], state: Floats, guess: Floats, tolerance: float) -> tuple[Floats, int, bool]:
    """Solve (M + tau D K) w = -D K state for the diffusive rate w at the end of an implicit stage.

    Parameters
    ----------
    relaxations : list of Relaxation
    state, guess : (u,) floats
        The state before the stage; a guess of w.
    tolerance : float

    Returns
    -------
    w : (u,) floats
        Sums to nothing for every species in every connected piece: diffusion keeps all molecules, whatever the
        tolerance, unless values are fixed somewhere in it.
    iterations : int
        Of the species that took most.
    converged : bool
    """
    w, most, converged = np.zeros_like(state), 0, True
    for relaxation in relaxations:
        x, iterations, done = relaxation.solve(state, guess, tolerance)
        for k, rows in enumerate(relaxation.band.own):
            column = x[:, k].copy()
            relaxation.band.pieces.level(column)
            w[rows] = column
        most, converged = max(most, iterations), converged and done
    return w, most, converged


# --- kernels ---


@njit(cache=True, nogil=True)
def _prepare(
    first: int,
    last: int,
    bounds: Any,
    factors: Any,
    diagonal: Any,
    mass: Any,
    unit: float,
    measure: Any,
    inverse: Any,
    largest: Any,
) -> None:
    """Fill `inverse`, and turn weights into `measure`; `largest` is its greatest value in every piece."""
    for piece in range(first, last):
        for k in range(WIDTH):
            most = 0.0
            for i in range(bounds[piece], bounds[piece + 1]):
                one = 1 / (mass[i] + factors[k] * diagonal[i])
                inverse[i, k] = unit * one
                value = measure[i, k] * measure[i, k] * one / mass[i]
                measure[i, k] = value
                most = max(most, value)
            largest[piece, k] = most


@njit(cache=True, nogil=True, slp=True)
def _scaled(first: int, last: int, bounds: Any, factors: Any, x: Any, y: Any) -> None:
    """Set y to the columns of x times their factors, in single precision."""
    f0, f1, f2, f3 = factors
    for i in range(bounds[first], bounds[last]):
        y[i, 0], y[i, 1], y[i, 2], y[i, 3] = f0 * x[i, 0], f1 * x[i, 1], f2 * x[i, 2], f3 * x[i, 3]


@njit(cache=True, nogil=True, slp=True)
def _add(first: int, last: int, bounds: Any, factors: Any, others: Any, step: Any, x: Any, v: Any) -> None:
    """Add to x and v the columns of a step times their factors."""
    f0, f1, f2, f3 = factors
    g0, g1, g2, g3 = others
    for i in range(bounds[first], bounds[last]):
        s0, s1, s2, s3 = step[i, 0], step[i, 1], step[i, 2], step[i, 3]
        x[i, 0], x[i, 1] = x[i, 0] + f0 * s0, x[i, 1] + f1 * s1
        x[i, 2], x[i, 3] = x[i, 2] + f2 * s2, x[i, 3] + f3 * s3
        v[i, 0], v[i, 1] = v[i, 0] + g0 * s0, v[i, 1] + g1 * s1
        v[i, 2], v[i, 3] = v[i, 2] + g2 * s2, v[i, 3] + g3 * s3


@njit(cache=True, nogil=True, fastmath={"contract"}, slp=True)
def _operate(
    first: int,
    last: int,
    bounds: Any,
    parts: Any,
    indices: Any,
    data: Any,
    mass: Any,
    share_of_mass: float,
    factors: Any,
    x: Any,
    v: Any,
    y: Any,
    largest: Any,
) -> None:
    f0, f1, f2, f3 = factors
    for piece in range(first, last):
        m0 = m1 = m2 = m3 = 0.0
        for i in range(bounds[piece], bounds[piece + 1]):
            a0, a1, a2, a3 = row_of_four(indices, data, v, parts[i, 0], parts[i, 4])
            m = share_of_mass * mass[i]
            y0, y1 = m * x[i, 0] + f0 * a0, m * x[i, 1] + f1 * a1
            y2, y3 = m * x[i, 2] + f2 * a2, m * x[i, 3] + f3 * a3
            y[i, 0], y[i, 1], y[i, 2], y[i, 3] = y0, y1, y2, y3
            # The comparisons let no NaN pass by.
            m0 = m0 if abs(y0) <= m0 else abs(y0)
            m1 = m1 if abs(y1) <= m1 else abs(y1)
            m2 = m2 if abs(y2) <= m2 else abs(y2)
            m3 = m3 if abs(y3) <= m3 else abs(y3)
        largest[piece, 0], largest[piece, 1], largest[piece, 2], largest[piece, 3] = m0, m1, m2, m3
