"""What a model is told to do in time, looked through before the first step: where it jumps, and where it is busy.

A step sees a stimulus at its stages alone and would go over what lies between them without a word. But what depends on
time alone is cheap beside a step: it is sampled so closely that whatever lasts a millionth of the run is seen, jumps
are found to rounding, and a step is only as long as the stages' quadrature of the stimulus is right.

Factors and terms in time are seen by themselves. Where time and place, or time and species, are mixed in one function,
as in exp(-((t - x/v)/w)**2), it is sampled at some places, with the species as they are at first.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from meshcell.core.arrays import distinct_rows
from meshcell.models import expressions
from meshcell.models.expressions import Expression
from meshcell.models.formula_trees import Tree, names, to_text
from meshcell.models.model import Model
from meshcell.models.parameters import Course, Table

Floats = npt.NDArray[np.float64]
Signal = Callable[[Floats], Floats]

# Samples of a run: whatever lasts a millionth of it is met. Fewer of functions that take longer than that (s) a call.
SAMPLES, FEWER_SAMPLES, SLOW_CALL = 2**20, 2**14, 2e-5
# Of what mixes time and place: at how many places, and the samples at each if there are more than a few.
MOST_PLACES, FEW_PLACES, SAMPLES_OF_MANY = 16, 4, 2**18
# More nodes than this are taken to differ in place. Steps are no longer than this share of the run, see `solve`.
COUNTED, MOST_OF_RUN = 4096, 1 / 8
# Something is busy while it is off its usual value by this share of the range; while it travels between the places, a
# step may take this share of the shortest time for which it is.
BUSY, OF_PASSAGE = 0.01, 1 / 8
# What is known between samples to this share of the range is as good as known, and so often are intervals halved.
KNOWN, HALVINGS = 1e-6, 30
# A change by this share of the range between two samples may be a jump; no more than so many are looked at.
JUMP, MOST_JUMPS = 1e-3, 10_000
# A step sees enough if a parabola through three of its stages misses nothing taller than this share of the range, and
# if its quadrature errs by at most so many rtol of what varies within the step, or of the run's mean variation.
SEEN, OF_STEP, OF_RUN, OF_PEAK = 0.02, 3.0, 1.0, 0.01
# Steps are not made shorter than this share of the run for a stimulus.
SHORTEST = 1e-8

# Nodes and weights of both schemes for a rate that depends on time alone.
_THETA, _B2, _B3 = 0.43586652150845967, 1.2084966491760119, -0.6443631706844715
NODES = np.array([0.0, _THETA, 0.5, (1 + _THETA) / 2, 1.0])
EXPLICIT = np.array([0.0, _B2, 0.0, _B3, _THETA])
IMPLICIT = np.array([1 / 6, 0.0, 4 / 6, 0.0, 1 / 6])


@dataclass(frozen=True, eq=False)
class Stimulus:
    """A function of time as straight lines between points.

    Parameters
    ----------
    function : times (n,) -> values (n,)
    times : (k,) floats, s
        Ascending; twice the same or nearly so at a jump.
    values : (k,) floats
    jumps : tuple of floats, s
        Each the first number at which the new value holds.
    even : float
        The error that is allowed per time whatever happens, over rtol.
    range, peak : float
        Largest less smallest value, and the largest absolute one.
    also : tuple of Stimulus
        The same at other places: a step should see all of them.
    passage : three floats, s, or None
        From when to when something passes between the places that are known, and how long a step may be then.
    """

    function: Signal
    times: Floats
    values: Floats
    jumps: tuple[float, ...]
    even: float
    range: float
    peak: float
    also: tuple[Stimulus, ...] = ()
    passage: tuple[float, float, float] | None = None

    @classmethod
    def of(cls, function: Signal, times: Floats, values: Floats, jumps: Sequence[float] = ()) -> Stimulus:
        """Measure values at ascending times."""
        span, weights = times[-1] - times[0], np.diff(times, prepend=times[0]) + np.diff(times, append=times[-1])
        usual = _usual(times, values)
        varies = float((np.abs(values - usual) * weights).sum()) / 2
        peak = float(np.abs(values).max())
        even = OF_RUN * varies / span + OF_PEAK * peak
        return cls(function, times, values, tuple(jumps), even, float(np.ptp(values)), peak)

    def resolved(self, t: float, dt: float, when: Callable[[float], float], rtol: float) -> bool:
        """Tell whether the stages of a step from t on see enough; `when` keeps times on this side of jumps."""
        if self.passage is not None and dt > self.passage[2] and t < self.passage[1] and t + dt > self.passage[0]:
            return False
        if not all(other.resolved(t, dt, when, rtol) for other in self.also):
            return False
        if not np.isfinite(self.range):
            return True
        start, last = when(t), when(t + dt)
        seen = self.function(np.clip(t + dt * NODES, start, last))
        first, stop = np.searchsorted(self.times, [start, last], side="right")
        moments = np.concatenate([[t], self.times[first:stop], [t + dt]])
        between = np.concatenate([[seen[0]], self.values[first:stop], [seen[-1]]])
        share = (moments - t) / dt
        parabola = seen[0] + share * (
            4 * seen[2] - 3 * seen[0] - seen[4] + share * 2 * (seen[0] - 2 * seen[2] + seen[4])
        )
        if np.abs(between - parabola).max() > max(SEEN * self.range, rtol * self.peak):
            return False
        lengths = np.diff(moments)
        whole = ((between[1:] + between[:-1]) * lengths).sum() / 2
        missed = max(abs(whole - dt * float(weights @ seen)) for weights in (EXPLICIT, IMPLICIT))
        # Straight lines say no more than this, however small the tolerance: a stimulus that is seen so well is not
        # stepped over, and the rest is for the error of the step.
        least = (rtol * self.even + KNOWN * self.range) * dt
        if missed <= least:
            return True
        away = (np.abs(between - end) for end in (seen[0], seen[-1]))
        varies = min(float(((size[1:] + size[:-1]) * lengths).sum()) / 2 for size in away)
        return bool(missed <= least + rtol * OF_STEP * varies)


def stimuli_of(model: Model) -> tuple[Callable[[float, float, Sequence[float]], Stimulus], ...]:
    """Return what looks through each course, table and part of a formula that depends on time alone.

    Returns
    -------
    tuple of callable(begin, end, events) -> Stimulus
    """
    formulas = list(model.rates.values())
    given: list[Any] = list(model.varying.values())
    for item in model.species:
        for name in item.fixed:
            formula, varying = model.fixed_formula(item, name)
            formulas.append(formula)
            given += varying.values()
    courses = {id(value): value for value in given if isinstance(value, (Course, Table))}
    parts = dict.fromkeys(part for formula in formulas for part in _parts_in_time(formula.tree))
    looks: list[Any] = [functools.partial(_look_along, value) for value in courses.values()]
    for part in parts:
        compiled = expressions.compile(Expression(to_text(part), part, ("t",)), ("t",))
        looks.append(functools.partial(_look, compiled))
    return tuple(looks)


def _parts_in_time(tree: Tree) -> Iterator[Tree]:
    """Find the largest parts of a formula that depend on time and on nothing else."""
    if not isinstance(tree, tuple):
        return
    if names(tree) == ("t",):
        yield tree
        return
    for operand in tree[1:]:
        yield from _parts_in_time(operand)


def mixed_stimuli(
    formulas: Iterable[tuple[str, Tree, Callable[[str], Any]]],
) -> tuple[Callable[[float, float, Sequence[float]], Stimulus], ...]:
    """Return what looks through each function in which time is mixed with places or species.

    Parameters
    ----------
    formulas : iterable of (place, tree, known)
        `known(name)` returns what a name stands for at the nodes of the place: (m,) values, at first of a species; a
        course in time; or None for anything else.

    Returns
    -------
    tuple of callable(begin, end, events) -> Stimulus
    """
    looks: dict[tuple[str, Tree], Any] = {}
    for place, tree, known in formulas:
        for part in _mixed_parts(tree, ()):
            looks.setdefault((place, part), functools.partial(_look_among, part, known))
    return tuple(looks.values())


def _mixed_parts(tree: Tree, within: tuple[str, ...]) -> Iterator[Tree]:
    """Find functions of time and something else, but for those within one of the same names."""
    own = names(tree)
    if not isinstance(tree, tuple) or "t" not in own or own == ("t",):
        return
    if _mixes(tree) and set(own) != set(within):
        yield tree
        within = own
    for operand in tree[1:]:
        yield from _mixed_parts(operand, within)


def _mixes(tree: tuple[Any, ...]) -> bool:
    """Tell whether a node shows what its operands alone do not: two steps in opposite directions are a pulse."""
    return _bends(tree) or (tree[0] in ("+", "-", "*") and sum(_is_mixed(operand) for operand in tree[1:]) > 1)


@functools.lru_cache(maxsize=1024)
def _is_mixed(tree: Tree) -> bool:
    """Tell whether time and something else go into a function somewhere in a tree."""
    if not isinstance(tree, tuple) or "t" not in names(tree) or names(tree) == ("t",):
        return False
    return _bends(tree) or any(_is_mixed(operand) for operand in tree[1:])


def _bends(tree: tuple[Any, ...]) -> bool:
    """Tell whether a node is more than a sum, a product or a whole power."""
    operation, *operands = tree
    if operation in ("+", "-", "neg", "*"):
        return False
    if operation == "/":
        return "t" in names(operands[1])
    return not (operation == "**" and isinstance(operands[1], float) and operands[1].is_integer() and operands[1] >= 0)


def _look_among(part: Tree, known: Callable[[str], Any], begin: float, end: float, events: Sequence[float]) -> Stimulus:
    """Look along a function at some places; what steps of any length see is left to the errors of the steps."""
    given = {name: known(name) for name in names(part) if name != "t"}
    nothing = Stimulus(np.zeros_like, np.array([begin, end]), np.zeros(2), (), np.inf, np.inf, np.inf)
    if any(value is None for value in given.values()):
        return nothing
    compiled = expressions.compile(Expression(to_text(part), part, ("t", *given)), ("t", *given))

    def function(row: int, times: Floats) -> Floats:
        values = [value[row] if isinstance(value, np.ndarray) else value.at(times) for value in given.values()]
        with np.errstate(all="ignore"):
            return np.broadcast_to(compiled(times, *values), times.shape)

    rows, complete = _some_places([value for value in given.values() if isinstance(value, np.ndarray)])
    samples = SAMPLES if len(rows) <= FEW_PLACES else SAMPLES_OF_MANY
    seen = [_look(functools.partial(function, row), begin, end, events, samples) for row in rows]
    seen = [item for item in seen if not _always_seen(item)]
    jumps = tuple(sorted({jump for item in seen for jump in item.jumps}))
    passage = None if complete else _passage(seen)
    return replace(nothing, jumps=jumps, also=tuple(seen), passage=passage)


def _some_places(columns: Sequence[Floats]) -> tuple[list[int], bool]:
    """Return rows in which columns of values have their extremes and what lies between, and whether these are all."""
    if not columns:
        return [0], True
    table = np.column_stack(columns)
    if len(table) <= COUNTED:
        distinct = distinct_rows(table).first
        if len(distinct) <= MOST_PLACES:
            return distinct.tolist(), True
    each = np.linspace(0, len(table) - 1, max(MOST_PLACES // table.shape[1], 3)).round().astype(int)
    return sorted({int(row) for column in table.T for row in np.argsort(column, kind="stable")[each]}), False


def _always_seen(stimulus: Stimulus) -> bool:
    """Tell whether the longest steps that there are see all of it."""
    begin, span = stimulus.times[0], stimulus.times[-1] - stimulus.times[0]
    if stimulus.jumps:
        return False
    starts = begin + span * MOST_OF_RUN * np.arange(0, 1 / MOST_OF_RUN - 0.9, 0.5)
    return all(stimulus.resolved(t, span * MOST_OF_RUN, float, 1e-3) for t in starts.tolist())


def _passage(seen: Sequence[Stimulus]) -> tuple[float, float, float] | None:
    """Find from when to when something that is short at every place passes from one to another."""
    pieces, longest = [], 0.0
    for item in seen:
        if not np.isfinite(item.range) or item.range == 0:
            continue
        off = np.abs(item.values - _usual(item.times, item.values)) > BUSY * item.range
        edges = np.flatnonzero(np.diff(np.concatenate([[False], off, [False]]).astype(int))).reshape(-1, 2)
        own = [(item.times[max(a - 1, 0)], item.times[min(b, len(off) - 1)]) for a, b in edges]
        pieces += own
        longest = max(longest, sum(b - a for a, b in own))
    pieces.sort()
    together, last = 0.0, -np.inf
    for a, b in pieces:
        together += max(b - max(a, last), 0.0)
        last = max(last, b)
    if together <= 1.5 * longest:
        return None
    return float(pieces[0][0]), float(last), float(OF_PASSAGE * min(b - a for a, b in pieces))


def _usual(times: Floats, values: Floats) -> float:
    """Return the value that is not exceeded for half of the time."""
    weights = np.diff(times, prepend=times[0]) + np.diff(times, append=times[-1])
    order = np.argsort(values)
    half = np.searchsorted(np.cumsum(weights[order]), times[-1] - times[0])
    return float(values[order[min(int(half), len(order) - 1)]])


def _look_along(course: Course | Table, begin: float, end: float, events: Sequence[float]) -> Stimulus:
    if isinstance(course, Table):
        known = np.asarray(course.times_in_s)
        inside = (known > begin) & (known < end)
        times = np.concatenate([[begin], known[inside], [end]])
        values = np.concatenate([[course(begin)], np.asarray(course.in_base)[inside], [course(end)]])
        return Stimulus.of(course.at, times, values)
    return _look_once(course, begin, end, tuple(events))


@functools.lru_cache(maxsize=16)
def _look_once(course: Course, begin: float, end: float, events: tuple[float, ...]) -> Stimulus:
    return _look(course.at, begin, end, events)


def _look(function: Signal, begin: float, end: float, events: Sequence[float], most: int = SAMPLES) -> Stimulus:
    """Sample a function evenly, find its jumps, and halve intervals in which it is not known well enough."""
    times = np.linspace(begin, end, min(_samples(function, begin, end), most) + 1)
    values = function(times)
    if not np.isfinite(values).all():
        # Nothing is known of a pole that would tell how long steps may be; the rates will name it.
        return Stimulus(function, np.array([begin, end]), np.zeros(2), (), np.inf, np.inf, np.inf)
    size = max(float(np.ptp(values)), 1e-9 * float(np.abs(values).max()))
    jumps = _jumps(function, times, values, JUMP * size, events)
    keep = _needed(values, KNOWN * size)
    sides = [side for jump in jumps for side in (np.nextafter(jump, -np.inf), jump)]
    kept = np.union1d(times[keep], sides)
    return Stimulus.of(function, *_refined(function, kept, KNOWN * size), jumps)


def _samples(function: Signal, begin: float, end: float) -> int:
    trial, spent = np.linspace(begin, end, 64), []
    for _ in range(3):
        # The thread's own time and the best of three: other processes must not change what is seen.
        begun = time.thread_time()
        function(trial)
        spent.append(time.thread_time() - begun)
    if min(spent) < SLOW_CALL * len(trial):
        return SAMPLES
    logging.getLogger("meshcell").warning(
        "a function of time takes long to call: what lasts less than 1/%d of the run may be missed; say with events= "
        "or longest= where it changes",
        FEWER_SAMPLES,
    )
    return FEWER_SAMPLES


def _jumps(function: Signal, times: Floats, values: Floats, least: float, events: Sequence[float]) -> list[float]:
    """Halve the intervals of large changes until there is a jump between two neighbouring numbers, or none."""
    rows = np.flatnonzero(np.abs(np.diff(values)) > least)
    known = (
        np.searchsorted(np.asarray(events), times[rows]),
        np.searchsorted(np.asarray(events), times[rows + 1], side="right"),
    )
    rows = rows[known[0] == known[1]][:MOST_JUMPS]
    low, high, f_low, f_high = times[rows], times[rows + 1], values[rows], values[rows + 1]
    change = np.abs(f_high - f_low)
    for _ in range(64):
        middle = low + (high - low) / 2
        if not len(rows) or not ((middle > low) & (middle < high)).any():
            break
        f_middle = function(middle)
        left = np.abs(f_middle - f_low) >= np.abs(f_high - f_middle)
        low, f_low = np.where(left, low, middle), np.where(left, f_low, f_middle)
        high, f_high = np.where(left, middle, high), np.where(left, f_middle, f_high)
    return sorted({float(t) for t in high[np.abs(f_high - f_low) > 0.1 * change]})


def _needed(values: Floats, tolerance: float) -> npt.NDArray[np.bool_]:
    """Tell which of 2^n + 1 even samples are needed so that straight lines between them are right to a tolerance."""
    needed, stride = np.ones(len(values), bool), 1
    flat = np.ones(len(values) - 1, bool)
    while len(flat) > 1:
        nodes = values[::stride]
        straight = np.abs(nodes[1::2] - (nodes[:-1:2] + nodes[2::2]) / 2) <= tolerance
        flat = straight & flat[::2] & flat[1::2]
        needed[stride :: 2 * stride] = ~flat
        stride *= 2
    return needed


def _refined(function: Signal, times: Floats, tolerance: float) -> tuple[Floats, Floats]:
    """Halve intervals until straight lines are right in their middles; where no halving helps, there is a jump."""
    values = function(times)
    open_rows = np.arange(len(times) - 1)
    for _ in range(HALVINGS):
        low, high = times[open_rows], times[open_rows + 1]
        middle = low + (high - low) / 2
        inner = function(middle) if len(middle) else middle
        bent = np.abs(inner - (values[open_rows] + values[open_rows + 1]) / 2) > tolerance
        bent &= (middle > low) & (middle < high)
        if not bent.any():
            break
        at = open_rows[bent] + 1
        times, values = np.insert(times, at, middle[bent]), np.insert(values, at, inner[bent])
        left = open_rows[bent] + np.arange(int(bent.sum()))
        open_rows = np.sort(np.concatenate([left, left + 1]))
    return times, values
