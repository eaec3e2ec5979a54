"""Formulas of a place joined step by step: equal parts once, whichever formula they stand in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from meshcell.core.arrays import Floats
from meshcell.models.binding import NodalRate
from meshcell.models.formula_trees import is_small_whole, whole_power
from meshcell.solving.rates.machine import Rows

# What every run is told first: the time and a length of time, s.
TIME, SPAN = range(2)


Node = tuple[Any, ...]


class Result(NamedTuple):
    """What becomes of a slot: it is added, times the weights, to out[offset + rows], or its sum to out[offset]."""

    slot: int
    rows: Rows | None
    offset: int


class Draft:
    """A program in the making: each step, and each thing that steps start from, has one slot, operands before results.

    Parameters
    ----------
    weights : (m,) floats
        What a result at a node is multiplied with.
    n_known : int
        Numbers that every run is told; TIME and SPAN are two of them.

    Attributes
    ----------
    nodes : list of tuples
        By slot: what steps start from, such as ("field", "x"), or an operation and the slots of its operands.
    even : list of bools
        By slot: whether it is the same at all nodes.
    courses, fields, unknowns : dicts
        By name: functions of time, values (m,), and rows (m,) of the state.
    results : list of Result
    """

    def __init__(self, weights: Floats, n_known: int) -> None:
        self.weights, self.n_known = weights, n_known
        self.nodes: list[Node] = []
        self.even: list[bool] = []
        self.courses: dict[str, Callable[[float], float]] = {}
        self.fields: dict[str, Floats] = {}
        self.unknowns: dict[str, Rows] = {}
        self.results: list[Result] = []
        self._slots: dict[Node, int] = {}

    def _slot(self, node: tuple[Any, ...], even: bool) -> int:
        if node not in self._slots:
            self._slots[node] = len(self.nodes)
            self.nodes.append(node)
            self.even.append(even)
        return self._slots[node]

    def known(self, k: int) -> int:
        """Take a number that every run is told."""
        return self._slot(("known", k), True)

    def constant(self, value: float) -> int:
        """Take a constant."""
        # As a text: 0 and -0 are equal, but not alike.
        return self._slot(("constant", float(value).hex()), True)

    def course(self, name: str, course: Callable[[float], float]) -> int:
        """Take the value of a function of time; of one name there is one."""
        self.courses[name] = course
        return self._slot(("course", name), True)

    def field(self, name: str, values: Floats) -> int:
        """Take values (m,) at the nodes; of one name there are the same."""
        self.fields.setdefault(name, values)
        return self._slot(("field", name), False)

    def state(self, name: str, rows: Rows) -> int:
        """Take the state at rows (m,); of one name there are the same."""
        self.unknowns[name] = rows
        return self._slot(("state", name), False)

    def step(self, operation: str, *operands: int) -> int:
        """Do an operation of `formula_trees.NUMPY`."""
        if operation == "**" and self.nodes[operands[1]][0] == "constant":
            exponent = float.fromhex(self.nodes[operands[1]][1])
            if exponent == 0.5:
                return self.step("sqrt", operands[0])
            if is_small_whole(exponent):
                return int(whole_power(operands[0], exponent, functools.partial(self.step, "*"), self._divided))
        if operation in ("+", "*"):
            operands = tuple(sorted(operands))
        return self._slot((operation, *operands), all(self.even[slot] for slot in operands))

    def _divided(self, number: float, slot: int) -> int:
        return self.step("/", self.constant(number), slot)

    def formula(self, rate: NodalRate, arguments: Sequence[int], order: Rows) -> int:
        """Do all steps of a formula.

        Parameters
        ----------
        rate : NodalRate
        arguments : slots of what it reads, in its order, and of t, x, y, z
        order : (m,) ints
            Where its fields have the nodes' values.
        """
        compiled = rate.formula
        names = compiled.argument_names[len(arguments) :]
        n = len(rate.courses)
        slots = [*arguments, *map(self.course, names, rate.courses)]
        slots += [self.field(name, values[order]) for name, values in zip(names[n:], rate.fields, strict=True)]
        # As in the formula: arguments, steps, and constants, which count from the end.
        first = len(slots)
        slots += [-1] * len(compiled.steps) + [self.constant(value) for value in compiled.constants]
        for slot, (operation, operands) in enumerate(compiled.steps, first):
            slots[slot] = self.step(operation, *[slots[k] for k in operands])
        return slots[compiled.result]

    def combined(self, terms: Iterable[tuple[float, int]]) -> int:
        """Do the sum of some (factor, slot)."""
        whole: int | None = None
        for factor, slot in terms:
            term = slot if abs(factor) == 1 else self.step("*", self.constant(factor), slot)
            if whole is None:
                whole = self.step("neg", slot) if factor == -1 else term
            else:
                whole = self.step("-" if factor == -1 else "+", whole, term)
        return self.constant(0.0) if whole is None else whole

    def add(self, slot: int, rows: Rows, offset: int = 0) -> None:
        """Add a slot, times the weights, to out[offset + rows]."""
        self.results.append(Result(slot, rows, offset))

    def sum(self, slot: int, row: int) -> None:
        """Add the sum of a slot, times the weights, to out[row]; once a row."""
        self.results.append(Result(slot, None, row))
