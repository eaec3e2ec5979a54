"""One time step, by one of two schemes of order 3 with an embedded one of order 2, or by one of order 2.

`rosenbrock`: everything implicit, linearised once. RODAS3 of Sandu et al., Benchmarking stiff ODE solvers for
atmospheric chemistry problems II, Atmos. Environ. 31 (1997) 3459-3472, in the form of Hairer and Wanner, Solving ODEs
II, IV.7: L-stable, stiffly accurate, the embedded solution L-stable too. No Newton iteration can fail: each of the four
stages is one linear system.

`imex`: diffusion implicit, reactions explicit. ARS(3,4,3) of Ascher, Ruuth and Spiteri, Implicit-explicit Runge-Kutta
methods for time-dependent partial differential equations, Appl. Numer. Math. 25 (1997) 151-167, 2.7: L-stable in
diffusion, three symmetric systems, and no stage needs D K u of the step's begin, which would magnify what the last
solver left in rough modes. Its embedded solution is ours: weights of order 2 with the same nodes. `imex2` is their
ARS(2,2,2) of 2.6: of order 2, two systems, no embedded solution, so for steps of given length only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.models.binding import System
from meshcell.models.stimuli import Stimulus
from meshcell.solving.kept_sums import KeptSums
from meshcell.solving.linear.diffusion import Diffusion
from meshcell.solving.linear.krylov import add_rows
from meshcell.solving.linear.multigrid import Multigrid
from meshcell.solving.ranks import Ranks

# RODAS3. Stage i: the state u + A[i] . U at time t + ALPHA[i] dt, storage C[i] . U / dt, time derivative GAMMAS[i] dt.
GAMMA = 0.5
A = ((), (0.0,), (2.0, 0.0), (2.0, 0.0, 1.0))
C = ((), (4.0,), (1.0, -1.0), (1.0, -1.0, -8 / 3))
ALPHA = (0.0, 0.0, 1.0, 1.0)
GAMMAS = (0.5, 1.5, 0.0, 0.0)
NEW = (2.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Tableau:
    """An implicit-explicit Runge-Kutta method whose first implicit column is empty.

    Parameters
    ----------
    theta : float
        Diagonal of the implicit part.
    nodes, explicit, implicit : per stage: its time, what earlier stages' reactions and diffusion add
    weights : (explicit, implicit), per stage
    less : per stage
        What the embedded solution has less; empty without one.
    """

    theta: float
    nodes: tuple[float, ...]
    explicit: tuple[tuple[float, ...], ...]
    implicit: tuple[tuple[float, ...], ...]
    weights: tuple[tuple[float, ...], tuple[float, ...]]
    less: tuple[float, ...] = ()


# The middle root of 6 x^3 - 18 x^2 + 9 x - 1, and the other two weights.
THETA, B2, B3 = 0.43586652150845967, 1.2084966491760119, -0.6443631706844715
ARS343 = Tableau(
    THETA,
    (0.0, THETA, (1 + THETA) / 2, 1.0),
    (
        (),
        (THETA,),
        (0.32127888627204393, 0.3966543744821862),
        (-0.1058582958, 0.5529291479, 0.5529291479),
    ),
    ((), (0.0,), (0.0, (1 - THETA) / 2), (0.0, B2, B3)),
    ((0.0, B2, B3, THETA), (0.0, B2, B3, THETA)),
    # Any multiple leaves order 2, as the nodes are evenly spaced. Half a second difference estimates 0.04 dt^3 d3u/dt3.
    (0.0, 0.5, -1.0, 0.5),
)
HALF = 1 - 0.5**0.5
ARS222 = Tableau(
    HALF,
    (0.0, HALF, 1.0),
    ((), (HALF,), (1 - 0.5 / HALF, 0.5 / HALF)),
    ((), (0.0,), (0.0, 1 - HALF)),
    ((1 - 0.5 / HALF, 0.5 / HALF, 0.0), (0.0, 1 - HALF, HALF)),
)

# Share of the step's tolerance that the linear solver may use up.
LINEAR_SHARE = 0.01
# Work of a step beside its iterations, and of an iteration of multigrid for every species of a node and one more, in
# iterations of conjugate gradients; by CPU time with 2, 3 and 15 species on up to 290,000 tetrahedra. Calls from Python
# cost as much on a small system as on a large one: an iteration with so many unknowns; by CPU time with 150 to 18,000.
IMPLICIT_WORK, IMEX_WORK, CYCLE_WORK = 26.0, 14.0, 4.0
IMPLICIT_CALLS, IMEX_CALLS, CYCLE_CALLS = 220_000.0, 110_000.0, 8_000.0
# tau D K_ii / M_ii above which multigrid is cheaper than conjugate gradients: with two species at a node (some sixty
# iterations a stage, as most of it is guessed), how much more it is with a single unknown, and what their
# MOST_ITERATIONS are enough for. By CPU time with 1,700 to 90,000 unknowns; iterations grow with the root.
STEEP, STEEP_CALLS, MOST_STEEP = 3000.0, 5e6, 8000.0


class Discrete(Protocol):
    """What the schemes and the stepper want to know of a problem M u' = reacted(t, u) - D K u."""

    system: System
    names: list[str]
    slices: dict[str, slice]
    ranks: Ranks
    size: int
    n_unknowns: int
    breadth: float
    mass: Floats
    totals: Floats
    sums: KeptSums
    signed: tuple[str, ...]
    perhaps_signed: tuple[str, ...]
    stimuli: tuple[Callable[..., Stimulus], ...]
    autonomous: bool

    @property
    def diffusion(self) -> Diffusion: ...
    @property
    def multigrid(self) -> Multigrid: ...
    def initial(self) -> Floats: ...
    def rate(self, t: float, u: Floats) -> Floats: ...
    def reacted(self, t: float, u: Floats) -> Floats: ...
    def linearise(self, t: float, u: Floats, storage: float) -> None: ...
    def store(self, storage: float) -> None: ...
    def sharpness(self, t: float, u: Floats) -> float: ...
    def ahead(self, t: float, u: Floats, dt: float) -> Floats: ...
    def place(self, unknown: int) -> tuple[str, Floats]: ...
    def whole(self, u: Floats) -> Floats: ...
    def mine(self, values: Floats) -> Floats: ...
    def parted(self, values: Floats) -> list[Floats]: ...


@dataclass(frozen=True, eq=False)
class Step:
    """A step to try.

    Parameters
    ----------
    problem : Discrete
    t, dt : float, s
    u : (u,) floats
        The state at t.
    reacted : (u,) floats
        The reactions' share of M du/dt at t.
    weights : (u,) floats
        The root of the sum of (weights * error)^2 is 1 at the tolerance.
    past : tuple of (length, stages)
        The last steps of the same scheme, the latest first.
    when : t -> t
        Keeps a time within the smooth piece of the model that the step is in.
    stats : dict
    """

    problem: Discrete
    t: float
    dt: float
    u: Floats
    reacted: Floats
    weights: Floats
    past: tuple[tuple[float, list[Floats]], ...]
    when: Callable[[float], float]
    stats: dict[str, Any]

    def reactions(self, t: float, state: Floats) -> Floats:
        """Return the reactions' share of M du/dt."""
        return self.problem.reacted(self.when(t), state)

    def count(self, iterations: int) -> None:
        """Note one linear system."""
        self.stats["linear_solves"] += 1
        self.stats["linear_iterations"] += iterations


@dataclass(eq=False)
class Trial:
    """One step that was tried.

    Parameters
    ----------
    stages : list of (u,) floats
    new : (u,) floats or None
        The new state.
    difference : (u,) floats or None
        What the embedded solution has less.
    work : float
        In iterations of conjugate gradients.
    right : bool
        Whether the step may be taken.
    error : float
        Over the tolerance.
    nodal : float or None
        The largest error at a single node, relative to the value there.
    trouble : {"small", "finite", "negative"}, worst : int
        Why it may not, and at which unknown most.
    """

    stages: list[Floats] = field(default_factory=list)
    new: Floats | None = None
    difference: Floats | None = None
    work: float = 0.0
    right: bool = False
    error: float = np.inf
    nodal: float | None = None
    trouble: str = "small"
    worst: int = 0

    def failed(self, trouble: str, worst: int) -> Trial:
        """Note what went wrong, and where worst."""
        self.trouble, self.worst = trouble, worst
        return self

    def finish(self, new: Floats, difference: Floats | None, ranks: Ranks) -> Trial:
        """Take up the new state, if it is one."""
        if ranks.finite(new):
            self.new, self.difference = new, difference
        return self


def rosenbrock(step: Step) -> Trial:
    """Try a fully implicit step of RODAS3."""
    problem, u, dt = step.problem, step.u, step.dt
    trial = Trial(work=IMPLICIT_WORK + IMPLICIT_CALLS / problem.n_unknowns)
    rate = step.reacted - problem.diffusion.apply(u)
    if not problem.ranks.finite(rate):
        return trial.failed("finite", _first_bad(problem, rate))
    problem.linearise(step.when(step.t), u, 1 / (GAMMA * dt))
    drift, restore = _drift(step), problem.sums.restorer(u)
    for i in range(4):
        if i >= 2:
            state = _combined(u, A[i], trial.stages)
            rate = step.reactions(step.t + ALPHA[i] * dt, state) - problem.diffusion.apply(state)
            if not problem.ranks.finite(rate):
                return trial.failed("finite", _first_bad(problem, rate))
        b = rate + GAMMAS[i] * dt * drift
        if i:
            b += problem.mass * _combined(np.zeros_like(u), C[i], trial.stages) / dt
        x, iterations, converged = problem.multigrid.solve(b, step.weights, LINEAR_SHARE, _guessed_increment(step, i))
        step.count(iterations)
        trial.work += _cycle_work(problem) * iterations
        if not converged:
            return trial.failed("small", problem.ranks.worst(np.abs(b) / problem.mass * step.weights))
        restore(x)
        trial.stages.append(x)
    return trial.finish(_combined(u, NEW, trial.stages), trial.stages[3], problem.ranks)


def least_implicit_work(problem: Discrete) -> float:
    """Return the work of an implicit step whose systems take an iteration each."""
    return IMPLICIT_WORK + IMPLICIT_CALLS / problem.n_unknowns + len(ALPHA) * _cycle_work(problem)


def _drift(step: Step) -> Floats:
    """Return the time derivative of the reactions, by a parabola over the step.

    Exact to the scheme's order, and a stimulus is then integrated by Simpson's rule: the slope at the step's begin
    alone would take the corners between the points of a table for a trend.
    """
    if step.problem.autonomous:
        return np.zeros_like(step.u)
    middle, end = (step.reactions(step.t + share * step.dt, step.u) for share in (0.5, 1.0))
    return np.asarray((4 * middle - 3 * step.reacted - end) / step.dt)


def imex(step: Step, tableau: Tableau = ARS343) -> Trial:
    """Try a step that is implicit in diffusion alone; the stages are diffusive rates du/dt."""
    problem, u, dt = step.problem, step.u, step.dt
    trial = Trial(work=IMEX_WORK + IMEX_CALLS / problem.n_unknowns)
    relaxed, work = _relaxation(step, tableau.theta * dt)
    explicit, implicit = np.zeros((2, len(tableau.nodes), len(u)))
    explicit[0] = step.reacted / problem.mass
    missed = np.zeros_like(u)
    for i in range(1, len(tableau.nodes)):
        state = u.copy()
        add_rows(explicit, dt * np.array(tableau.explicit[i]), state)
        add_rows(implicit, dt * np.array(tableau.implicit[i]), state)
        # What the guess of the stage before was wrong by, this one will be about as much.
        line = _guessed_rate(step, i, tableau.nodes)
        missed += line
        w, iterations, converged = relaxed(state, missed)
        step.count(iterations)
        trial.work += work * iterations
        if not converged:
            return trial.failed("small", problem.ranks.worst(np.abs(w) * step.weights))
        np.subtract(w, line, out=missed)
        implicit[i] = w
        if tableau.weights[0][i]:
            state += tableau.theta * dt * w
            np.divide(step.reactions(step.t + tableau.nodes[i] * dt, state), problem.mass, out=explicit[i])
            if not problem.ranks.finite(explicit[i]):
                return trial.failed("finite", _first_bad(problem, explicit[i]))
    trial.stages = list(implicit)
    new, (ours, theirs) = u.copy(), tableau.weights
    add_rows(explicit, dt * np.array(ours), new)
    add_rows(implicit, dt * np.array(theirs), new)
    if not tableau.less:
        return trial.finish(new, None, problem.ranks)
    less, difference = dt * np.array(tableau.less), np.zeros_like(u)
    add_rows(explicit, less, difference)
    add_rows(implicit, less, difference)
    return trial.finish(new, difference, problem.ranks)


def imex2(step: Step) -> Trial:
    """Try a step of ARS(2,2,2), which does not know its error."""
    return imex(step, ARS222)


def _relaxation(step: Step, tau: float) -> tuple[Callable[[Floats, Floats], tuple[Floats, int, bool]], float]:
    """Prepare the implicit stages of a step: (state, guess) -> w with (M + tau D K) w = -D K state; what they cost."""
    weights = step.weights * tau
    steep = min(STEEP * ((1 + step.problem.breadth) / 3) ** 2 + STEEP_CALLS / step.problem.n_unknowns, MOST_STEEP)
    if step.problem.diffusion.steepness(tau) > steep:
        step.problem.store(1 / tau)
        return lambda state, guess: _relax_steeply(step.problem, tau, state, guess, weights), _cycle_work(step.problem)
    relax = step.problem.diffusion.solver(tau, weights)
    return lambda state, guess: relax(state, guess, LINEAR_SHARE), 1.0


def _cycle_work(problem: Discrete) -> float:
    return CYCLE_WORK * (1 + problem.breadth) + CYCLE_CALLS / problem.n_unknowns


def _relax_steeply(
    problem: Discrete, tau: float, state: Floats, guess: Floats, weights: Floats
) -> tuple[Floats, int, bool]:
    """Do as `diffusion.relax` by multigrid, whose matrix is M / tau + D K."""
    b = -problem.diffusion.apply(state) / tau
    w, iterations, converged = problem.multigrid.solve(b, weights, LINEAR_SHARE, guess)
    return problem.diffusion.levelled(w), iterations, converged


# --- guesses ---


def _guessed_increment(step: Step, stage: int) -> Floats | None:
    """Guess a stage of `rosenbrock` from those of the last steps: they change like rates, times the step."""
    if not step.past:
        return None
    length, stages = step.past[0]
    guess: Floats = stages[stage] * (step.dt / length)
    # The first two are rates times the step, which change evenly; the others are differences.
    if stage < 2 and len(step.past) > 1:
        before, old = step.past[1]
        guess += step.dt * (stages[stage] / length - old[stage] / before) * (length / before)
    return guess


def _guessed_rate(step: Step, stage: int, nodes: tuple[float, ...]) -> Floats:
    """Guess a stage of `imex`, a rate at its node, on a line through those of the last two steps.

    No parabola: it would triple what the solver left in them, which costs more than it gains.
    """
    if not step.past:
        return np.zeros_like(step.u)
    length, stages = step.past[0]
    if len(step.past) == 1:
        return stages[stage].copy()
    before, old = step.past[1]
    run = before + nodes[stage] * (length - before)
    ahead = length + nodes[stage] * (step.dt - length)
    return _combined((1 + ahead / run) * stages[stage], (-ahead / run,), [old[stage]])


def _combined(base: Floats, coefficients: tuple[float, ...], stages: list[Floats]) -> Floats:
    result = base.copy()
    for coefficient, stage in zip(coefficients, stages, strict=False):
        if coefficient:
            result += coefficient * stage
    return result


def _first_bad(problem: Discrete, values: Floats) -> int:
    return problem.ranks.worst(~np.isfinite(values))
