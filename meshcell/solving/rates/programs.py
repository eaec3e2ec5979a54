"""Drafts made into programs of the machine: in order, with few registers, and first what is the same at all nodes."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.solving.rates import machine
from meshcell.solving.rates.drafts import TIME, Draft, Node, Result
from meshcell.solving.rates.machine import OPERATIONS, Code, Places, Rows

# Takes a slot from outside: the machine's operation, and which one.
Takes = dict[int, tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Program:
    """Code for the machine, with all that it reads but the state.

    Parameters
    ----------
    first, then : Code
        What is done once, over a single node, to numbers; and at all nodes.
    numbers : (k,) floats
        Those that every run is told, those of courses, constants, and what `first` makes of them.
    courses : tuple of callable(t) -> float
    fields : (f, m) floats
    rows : (l, m) uint32
    weights : (m,) floats
    """

    first: Code
    then: Code
    numbers: Floats
    courses: tuple[Callable[[float], float], ...]
    fields: Floats
    rows: Places
    weights: Floats

    def run(self, known: Sequence[float], u: Floats, out: Floats) -> None:
        """Add what the program makes of the numbers that are known, time first, and of the state u to out."""
        numbers = self.numbers.copy()
        numbers[: len(known)] = known
        for k, course in enumerate(self.courses, len(known)):
            numbers[k] = course(known[TIME])
        if len(self.first.lines):
            self.first.run(numbers, _NO_FIELDS, _NO_ROWS, _ONE, numbers, numbers)
        self.then.run(numbers, self.fields, self.rows, self.weights, u, out)


_NO_FIELDS, _NO_ROWS, _ONE, _FIRST = np.zeros((0, 1)), np.zeros((0, 1), np.uint32), np.ones(1), np.zeros(1, np.int64)


def assembled(draft: Draft) -> Program:
    """Make a program of a draft."""
    nodes, lists = draft.nodes, _Lists()
    even = {slot for slot, even in enumerate(draft.even) if even}
    reached = _reached(nodes, [result.slot for result in draft.results], even)
    once = [slot for slot in reached if slot in even and nodes[slot][0] in OPERATIONS]
    before = _reached(nodes, once, set())
    courses = [slot for slot in sorted({*reached, *before}) if nodes[slot][0] == "course"]
    constants = [slot for slot in sorted({*reached, *before}) if nodes[slot][0] == "constant"]
    number_of = {slot: k for k, slot in enumerate([*courses, *constants, *once], draft.n_known)}
    number_of |= {slot: node[1] for slot, node in enumerate(nodes) if node[0] == "known"}
    numbers = np.zeros(draft.n_known + len(courses) + len(constants) + len(once))
    numbers[[number_of[slot] for slot in constants]] = [float.fromhex(nodes[slot][1]) for slot in constants]
    fields = [slot for slot in reached if nodes[slot][0] == "field"]
    takes: Takes = {slot: (machine.TAKE_NUMBER, k) for slot, k in number_of.items()}
    first = [Result(slot, _FIRST, number_of[slot]) for slot in once]
    begin = _code(nodes, first, {slot: takes[slot] for slot in takes if slot not in once}, lists)
    takes |= {slot: (machine.TAKE_FIELD, k) for k, slot in enumerate(fields)}
    takes |= {slot: lists.take(draft.unknowns[nodes[slot][1]]) for slot in reached if nodes[slot][0] == "state"}
    then = _code(nodes, draft.results, takes, lists)
    shape = -1, len(draft.weights)
    # Rows fit: 2**32 entries of node blocks would fill 32 GiB, several times.
    return Program(
        begin,
        then,
        numbers,
        tuple(draft.courses[nodes[slot][1]] for slot in courses),
        np.reshape([draft.fields[nodes[slot][1]] for slot in fields], shape),
        np.reshape(lists.rows, shape).astype(np.uint32),
        draft.weights,
    )


class _Lists:
    """Where a program finds and leaves things; rows that do not follow each other are listed."""

    def __init__(self) -> None:
        self.rows: list[Rows] = []
        self._place: dict[int, int] = {}

    def take(self, rows: Rows) -> tuple[int, int]:
        """Return how to take the state at these rows."""
        run = _follow_each_other(rows)
        return (machine.TAKE_RUN, int(rows[0])) if run else (machine.TAKE_ROWS, self._listed(rows))

    def put(self, register: int, rows: Rows, offset: int) -> tuple[int, int, int, int]:
        """Return the line that adds a register to out[offset + rows]."""
        if _follow_each_other(rows):
            return machine.ADD_RUN, register, offset + int(rows[0]), 0
        return machine.ADD_ROWS, register, self._listed(rows), offset

    def _listed(self, rows: Rows) -> int:
        if id(rows) not in self._place:
            self._place[id(rows)] = len(self.rows)
            self.rows.append(rows)
        return self._place[id(rows)]


def _follow_each_other(rows: Rows) -> bool:
    # The ends of most that do not tell it at once.
    return bool(rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all())


def _reached(nodes: Sequence[Node], roots: Iterable[int], ends: Container[int]) -> list[int]:
    """Return the slots that some roots need, ascending; nothing is asked of those that end a way."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        slot = waiting.pop()
        if slot not in seen:
            seen.add(slot)
            if nodes[slot][0] in OPERATIONS and slot not in ends:
                waiting += nodes[slot][1:]
    return sorted(seen)


def _in_order(nodes: Sequence[Node], results: Sequence[Result], takes: Takes) -> list[tuple[int, Result | None]]:
    """List the slots to set, each before it is read, and every result as soon as it can be had."""
    done: set[int] = set()
    ends = set(takes)
    lines: list[tuple[int, Result | None]] = []
    for result in results:
        needed = [slot for slot in _reached(nodes, [result.slot], ends) if slot not in done]
        lines += [(slot, None) for slot in needed]
        lines.append((result.slot, result))
        done.update(needed)
        ends.update(needed)
    return lines


def _code(nodes: Sequence[Node], results: Sequence[Result], takes: Takes, lists: _Lists) -> Code:
    """Write the lines that lead to results.

    A register is free after the last line that reads it. That line sets another one: vector instructions need what
    they set apart from what they read.
    """
    lines = _in_order(nodes, results, takes)
    reads = [(slot,) if result or slot in takes else (slot, *nodes[slot][1:]) for slot, result in lines]
    last = {slot: place for place, slots in enumerate(reads) for slot in slots}
    register: dict[int, int] = {}
    free: list[int] = []
    code: list[tuple[int, ...]] = []
    summed: list[int] = []
    count = 0
    for place, (slot, result) in enumerate(lines):
        if result is None:
            if not free:
                free.append(count)
                count += 1
            register[slot] = free.pop()
        own = register[slot]
        if result is not None:
            if result.rows is None:
                code.append((machine.SUM, own, len(summed), 0, 0))
                summed.append(result.offset)
            else:
                code.append((*lists.put(own, result.rows, result.offset), 0))
        elif slot in takes:
            operation, which = takes[slot]
            code.append((operation, own, which, 0, 0))
        else:
            operands = [register[k] for k in nodes[slot][1:]]
            code.append((OPERATIONS[nodes[slot][0]], own, *(operands + 2 * operands[:1])[:3]))
        free += [register[k] for k in dict.fromkeys(reads[place]) if last[k] == place]
    return Code(np.reshape(code, (-1, 5)).astype(np.int64), count, np.array(summed, np.int64))
