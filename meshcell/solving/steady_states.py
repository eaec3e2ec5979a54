"""Steady states: Newton's method with pseudo-time continuation.

Implicit Euler steps that grow until they are longer than anything that counts: short ones follow the dynamics into the
basin of the state that the initial values lead to, long ones are Newton's. What the model keeps stays as it begins.

Source: Kelley and Keyes, Convergence analysis of pseudo-transient continuation, SIAM J. Numer. Anal. 35 (1998) 508-523.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats, set_fields
from meshcell.core.errors import SolveError
from meshcell.core.types import TetMesh
from meshcell.models.binding import bind
from meshcell.models.model import Model
from meshcell.models.solutions import Solution
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.options import checked_input, checked_rtol
from meshcell.solving.solver import engine_named

# How much longer than the last one a step may be, and how much shorter after a failure.
MOST_GROWTH, SHRINK = 10.0, 0.1
MOST_STEPS, MOST_FAILURES = 400, 40
# A step may change the state by this share of its size before it counts as too long.
MOST_CHANGE = 1.0
# By so much of its size a step may well change a species.
LITTLE = 0.1
# So far below zero, over its size, a step may take a species; and where diffusion itself does so.
LEAST_BELOW, MOST_BELOW = 1e-3, 0.5
# Absolute tolerance relative to rtol and the largest value of a species; linear systems' share of the tolerance.
ATOL_SHARE, LINEAR_SHARE = 1e-3, 0.01


@dataclass(eq=False)
class Search:
    """Where the search is: the state, the largest value that each species has had, the step in s, and counts."""

    u: Floats
    largest: Floats
    dt: float
    stats: dict[str, Any]


def steady(
    mesh: TetMesh,
    model: Model,
    *,
    at: float = 0.0,
    horizon: float = 1e6,
    rtol: float = 1e-6,
    throw: bool = True,
    engine: str = "numba",
) -> Solution:
    """Find the steady state that the initial values lead to.

    Parameters
    ----------
    mesh : TetMesh
    model : Model
        Its initial values are where the search begins; sums of molecules that it keeps stay what they are there.
    at : float, s
        The time that is put into rates that depend on it.
    horizon : float, s
        The state found changes by less than `rtol` in this time; what is slower counts as standing still.
    rtol : float
        Relative to the local value (root mean square over the compartment, for each species).
    throw : bool
        If False, a search that fails returns where it came to, with the reason in `Solution.message`.
    engine : {"numba", "fenicsx"}
        As for `solve`.

    Returns
    -------
    Solution
        With the single time `at`. Its `stats` count "newton_iterations", "rejections" and "linear_iterations".

    Raises
    ------
    TypeError, ValueError
        As `solve`; a horizon that is not positive and finite.
    SolveError
        No steady state in reach, as in a model that oscillates or grows; `.solution` holds the last state.

    Notes
    -----
    Steps against the rates are refused, which keeps the search away from most unstable states, but nothing proves that
    the one found is stable: to see, disturb it and `solve`.

    Examples
    --------
    `steady(mesh, model).values["Ca"][0]` is the profile at rest, from which `solve` may start.
    """
    checked_input(mesh, model, "steady(mesh, model)")
    rtol = checked_rtol(rtol)
    if not 0 < float(horizon) < math.inf or not math.isfinite(at):
        raise ValueError(f"horizon should be a positive, finite time in s and at finite; got {horizon!r} and {at!r}")
    begun = time.perf_counter()
    with engine_named(engine).discretised(bind(model, mesh), at) as problem:
        u = problem.initial()
        counts = dict.fromkeys(("newton_iterations", "rejections", "linear_iterations"), 0)
        search = Search(u, _sizes(problem, u), 0.0, counts)
        message = _search(problem, search, float(at), float(horizon), rtol)
        values = problem.outward([search.u], np.array([at]))
    search.stats["seconds"] = time.perf_counter() - begun
    nodes = {name: species.compartment.nodes for name, species in problem.system.species.items()}
    solution = Solution(mesh, model, np.array([at]), values, nodes, search.stats, message)
    set_fields(solution, system=problem.system)
    logging.getLogger("meshcell").info(
        "searched a steady state of %d unknowns: %d Newton iterations, %d linear ones, %.3g s",
        *(
            problem.n_unknowns,
            search.stats["newton_iterations"],
            search.stats["linear_iterations"],
            search.stats["seconds"],
        ),
    )
    if message and throw:
        raise SolveError(message, solution)
    return solution


def _search(problem: Discretisation, search: Search, at: float, horizon: float, rtol: float) -> str:
    """Step until a step as long as the horizon changes nothing; return what went wrong, if anything."""
    failures, before = 0, math.inf
    search.dt = _first_step(problem, search, at, horizon, rtol)
    signed = problem.ranks.any(search.u.min(initial=0) < 0)
    while search.stats["newton_iterations"] < MOST_STEPS:
        problem.ranks.heed()
        rate = problem.rate(at, search.u)
        change = _newton_step(problem, search, at, rate, rtol)
        search.stats["newton_iterations"] += 1
        new = None if change is None else search.u + change
        if new is None or change is None or not _acceptable(problem, search, new, rate, rtol, signed=signed):
            failures, search.dt = failures + 1, search.dt * SHRINK
            search.stats["rejections"] += 1
            if failures > MOST_FAILURES:
                return _text(problem, search, at, "steps of any length fail or go below zero")
            continue
        failures = 0
        size = problem.ranks.norm(change * _weights(problem, search, rtol))
        search.u, search.largest = new, np.maximum(search.largest, _sizes(problem, new))
        if search.dt == horizon and size <= 1:
            return ""
        # The change per time says how far the state of rest is: as it falls, steps grow (Kelley and Keyes, 1.3).
        growth = before / (size / search.dt) if size > 0 else MOST_GROWTH
        before = size / search.dt
        # Where it falls slowly, as of slow reactions after fast diffusion, a step that changed little was too short.
        moved = _sizes(problem, change) / np.maximum(search.largest, _little(search))
        growth = max(growth, LITTLE / max(float(moved.max(initial=0)), LITTLE / MOST_GROWTH))
        search.dt = min(horizon, search.dt * min(MOST_GROWTH, max(0.5, growth)))
        if size <= 1:
            search.dt = min(horizon, search.dt * MOST_GROWTH)
    return _text(problem, search, at, f"{MOST_STEPS} steps did not reach it")


def _newton_step(problem: Discretisation, search: Search, at: float, rate: Floats, rtol: float) -> Floats | None:
    """Return the change of u by one linearly implicit Euler step, None where there is none."""
    if not problem.ranks.finite(rate):
        return None
    problem.linearise(at, search.u, 1 / search.dt)
    weights = _weights(problem, search, rtol)
    change, iterations, converged = problem.multigrid.solve(rate, weights, LINEAR_SHARE)
    search.stats["linear_iterations"] += iterations
    if not converged or not problem.ranks.finite(change):
        return None
    problem.sums.restore(change, search.u)
    return change


def _sizes(problem: Discretisation, u: Floats) -> Floats:
    return problem.ranks.largest(u, list(problem.slices.values()))


def _little(search: Search) -> Floats:
    """Return what is next to nothing of every species, by the most that there was of it, or of any."""
    least = 1e-6 * float(search.largest.max()) or 1.0
    return ATOL_SHARE * np.maximum(search.largest, least)


def _weights(problem: Discretisation, search: Search, rtol: float) -> Floats:
    """Return (u,) by which errors are weighed: the 2-norm of one species at its tolerance is 1."""
    weights = np.empty_like(search.u)
    kinds = zip(problem.slices.values(), problem.totals, _little(search), strict=True)
    for own, total, little in kinds:
        weights[own] = np.sqrt(problem.mass[own] / total) / (rtol * (np.abs(search.u[own]) + little))
    return weights


def _acceptable(
    problem: Discretisation, search: Search, new: Floats, rate: Floats, rtol: float, *, signed: bool
) -> bool:
    """Tell whether a step stayed where its linearisation holds, and went the way of the rates.

    No species of which there is something may double its size or go below zero. A step against the rates is one
    toward an unstable state: it is longer than the time in which a disturbance grows. Changes within the tolerance
    may go anywhere. Diffusion by tensors undershoots in the state of rest itself.
    """
    tensors = any(item.shares is not None and item.shares.ndim == 3 for item in problem.system.species.values())
    below = MOST_BELOW if tensors else LEAST_BELOW
    u, weights = search.u, _weights(problem, search, rtol)
    change = (new - u) * weights
    ranks = problem.ranks
    if ranks.norm(change) > 1 and ranks.dot(change, rate / problem.mass * weights) < 0:
        return False
    before, after = _sizes(problem, u), _sizes(problem, new)
    sizes = np.maximum(np.where(before > 0, before, after), _little(search))
    if (_sizes(problem, new - u) > MOST_CHANGE * sizes).any():
        return False
    lowest = [ranks.lowest(new[own], 0)[0] for own in problem.slices.values()]
    kinds = zip(problem.slices, lowest, sizes, strict=True)
    return not any(low < -below * size for name, low, size in kinds if not (signed or name in problem.signed))


def _first_step(problem: Discretisation, search: Search, at: float, horizon: float, rtol: float) -> float:
    """Guess a step that changes the state by about LITTLE."""
    speed = problem.ranks.norm(problem.rate(at, search.u) / problem.mass * _weights(problem, search, rtol)) * rtol
    return horizon if speed == 0 else min(horizon, LITTLE / speed if math.isfinite(speed) else 1e-6 * horizon)


def _text(problem: Discretisation, search: Search, at: float, what: str) -> str:
    rate = problem.rate(at, search.u) / problem.mass * _weights(problem, search, 1.0)
    worst = problem.ranks.worst(np.abs(np.nan_to_num(rate, nan=np.inf)))
    name, xyz = problem.place(worst)
    where, value = ", ".join(f"{x:.4g}" for x in xyz), problem.ranks.told(worst, search.u.item)
    return (
        f"found no steady state: {what}; the farthest from rest is species {name!r}, {value:.4g} at "
        f"({where}) um, with a step of {search.dt:.3g} s; the model may oscillate, grow or stop only later: look at "
        "solve(...) over a long time, or start closer to the state of rest"
    )
