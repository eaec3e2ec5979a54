"""The units of an SBML model's numbers: those that it declares, and those that follow where it declares none.

Programs that run SBML compute with bare numbers. So that the same numbers come out where every quantity carries its
unit, a law has to have the same unit on both sides of every sum, and its scale must fit as well. That is one linear
equation in the logarithms of the units for every sum, comparison and law. Its unknowns are the units of parameters and
of the numbers written in laws, and of a factor 1 at every species, time and law, which is no pure number only where
what is declared cannot be right. Wishes (such a factor is 1, a declared unit holds, a number has no unit) are then
granted in the order of their weight as long as they contradict nothing that is settled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from meshcell.models.exchange.scaled_units import Scaled, is_short
from meshcell.models.formula_trees import CONDITIONS, SCALAR, Tree, names, walk

# Beyond rounding; the scales of units differ by more.
TINY = 1e-7
_SAME = ("+", "-", "min", "max", "atan2", *CONDITIONS[:4])
_PURE = {"exp", "log", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "floor", "ceil"}


@dataclass
class Row:
    """A sum of unknowns, each with its factor, and a known unit's vector."""

    factors: dict[str, float] = field(default_factory=dict)
    known: tuple[float, ...] = Scaled().vector

    def plus(self, other: Row, times: float = 1.0) -> Row:
        """Return the sum of this row and a multiple of another."""
        factors = dict(self.factors)
        for name, factor in other.factors.items():
            factors[name] = factors.get(name, 0.0) + times * factor
        known = tuple(a + times * b for a, b in zip(self.known, other.known, strict=True))
        return Row({name: factor for name, factor in factors.items() if abs(factor) > 1e-12}, known)

    def times(self, factor: float) -> Row:
        """Return a multiple of this row."""
        return Row().plus(self, factor)


class Equations:
    """Linear equations that are settled one after the other."""

    def __init__(self) -> None:
        # Unknown -> what it equals, in unknowns that were free when it was settled.
        self._settled: dict[str, Row] = {}

    def settle(self, row: Row) -> bool:
        """Let a row be zero from now on; False, and nothing changes, where that contradicts what is settled."""
        left = self.reduced(row)
        if not left.factors:
            return all(abs(part) < TINY for part in left.known)
        # What belongs to one place only makes the shortest rows.
        pivot = min(left.factors, key=lambda name: (not name.startswith("#"), -abs(left.factors[name])))
        rest = Row({name: factor for name, factor in left.factors.items() if name != pivot}, left.known)
        self._settled[pivot] = rest.times(-1.0 / left.factors[pivot])
        return True

    def reduced(self, row: Row) -> Row:
        """Put in what is settled."""
        while found := next((name for name in row.factors if name in self._settled), None):
            factor = row.factors[found]
            rest = Row({name: other for name, other in row.factors.items() if name != found}, row.known)
            row = rest.plus(self._settled[found], factor)
        return row

    def value(self, name: str) -> Scaled:
        """Return an unknown's unit; one that is still free is a pure number."""
        return Scaled.of_vector(self.reduced(Row({name: 1.0})).known)


@dataclass
class Marked:
    """Laws in which every place whose unit is to be found has a name of its own, #0, #1, ..."""

    trees: dict[str, Tree]
    values: dict[str, float]
    factors: list[str]
    roots: list[str]
    numbers: list[str]


def marked(laws: Mapping[str, Tree], quantities: set[str]) -> Marked:
    """Give a name to every number, to a factor 1 at everything of known unit, and to one in front of every law."""
    found = Marked({}, {}, [], [], [])

    def new(value: float, kind: list[str]) -> str:
        name = f"#{len(found.values)}"
        found.values[name] = value
        kind.append(name)
        return name

    def mark(tree: Tree) -> Tree:
        if isinstance(tree, tuple):
            if tree[0] == "**" and isinstance(tree[2], float):
                return ("**", mark(tree[1]), tree[2])
            return (tree[0], *(mark(operand) for operand in tree[1:]))
        if isinstance(tree, float):
            # Zero has every unit.
            return new(tree, found.numbers) if tree else tree
        return ("*", new(1.0, found.factors), tree) if tree in quantities else tree

    for name, law in laws.items():
        inner = mark(law)
        found.trees[name] = ("*", new(1.0, found.roots), inner)
    return found


def solve(
    laws: Marked,
    wanted: Mapping[str, Scaled],
    known: Mapping[str, Scaled],
    declared: Mapping[str, Scaled],
    values: Mapping[str, float],
) -> Equations:
    """Find the units of everything in some laws.

    Parameters
    ----------
    laws : Marked
    wanted : mapping of str to Scaled
        Law -> the unit that it should have.
    known : mapping of str to Scaled
        Species, sizes and the time.
    declared : mapping of str to Scaled
        Parameters that have a unit in the file.
    values : mapping of str to float
        Of parameters, which may stand in exponents.
    """
    rows = [
        row for name, tree in laws.trees.items() for row in _rows(tree, wanted[name], known, {**values, **laws.values})
    ]
    wishes = _wishes(laws, set(known), declared)
    first: dict[str, Scaled] = {}
    while True:
        equations = Equations()
        for row in rows:
            equations.settle(row)
        for name, unit in [*first.items(), *wishes.items()]:
            equations.settle(Row({name: 1.0}).plus(Row({}, unit.vector), -1.0))
        # A third power of a number that is added to a species would need a third of its unit, which no text holds.
        odd = [name for name in wishes if name not in first and not equations.value(name).can_be_written]
        if not odd:
            return equations
        first.update(dict.fromkeys(sorted(odd, key=lambda name: name.startswith("#")), Scaled()))


def _wishes(laws: Marked, known: set[str], declared: Mapping[str, Scaled]) -> dict[str, Scaled]:
    """Return what every unknown should rather be, the heaviest wishes first."""
    read = {name for tree in laws.trees.values() for name in names(tree)}
    unnamed = sorted(read - known - set(laws.values) - set(declared))
    pure = dict.fromkeys([*laws.factors, *laws.roots], Scaled())
    return {**pure, **declared, **dict.fromkeys([*laws.numbers, *unnamed], Scaled())}


def _rows(tree: Tree, wanted: Scaled, known: Mapping[str, Scaled], values: Mapping[str, float]) -> list[Row]:
    """Return what has to be zero in a law."""
    rows: list[Row] = []
    own = _unit(tree, known, values, rows)
    return [*rows, *([] if own is None else [own.plus(Row({}, wanted.vector), -1.0)])]


def _unit(tree: Tree, known: Mapping[str, Scaled], values: Mapping[str, float], rows: list[Row]) -> Row | None:
    """Return the unit of a tree, None where it is 0 and has any, and note what has to be zero for that."""
    if not isinstance(tree, tuple):
        if isinstance(tree, str):
            return Row({}, known[tree].vector) if tree in known else Row({tree: 1.0})
        return None if tree == 0 else Row()
    operation, *operands = tree
    parts = [_unit(operand, known, values, rows) for operand in operands]
    if operation in ("and", "or"):
        return Row()
    if operation == "where":
        return _alike(parts[1:], rows)
    if operation in _SAME:
        both = _alike(parts, rows)
        return Row() if operation in CONDITIONS or operation == "atan2" else both
    if operation in ("*", "/"):
        if None in parts:
            return None
        return parts[0].plus(parts[1], 1.0 if operation == "*" else -1.0)  # type: ignore[union-attr, arg-type]
    if operation == "**":
        return _of_power(tree, parts, values, rows)
    if operation in _PURE:
        rows.extend(part for part in parts if part is not None)
        return Row()
    if operation == "sqrt":
        return None if parts[0] is None else parts[0].times(0.5)
    return Row() if operation in ("heaviside", "sign") else parts[0]


def _alike(parts: list[Row | None], rows: list[Row]) -> Row | None:
    there = [part for part in parts if part is not None]
    rows.extend(part.plus(there[0], -1.0) for part in there[1:])
    return there[0] if there else None


def _of_power(
    tree: tuple[str, Tree, Tree], parts: list[Row | None], values: Mapping[str, float], rows: list[Row]
) -> Row | None:
    base, exponent = parts
    if exponent is not None and not isinstance(tree[2], float):
        rows.append(exponent)
    if base is None:
        return None
    power = next(_constants(tree[2], values), None)
    if power is None or not is_short(power):
        rows.append(base)
        return Row()
    return base.times(power)


def _constants(tree: Tree, values: Mapping[str, float]) -> Iterator[float]:
    """Yield the value of a tree if it reads nothing but numbers."""
    if all(name in values for name in names(tree)):
        try:
            value = float(walk(tree, SCALAR, lambda leaf: values[leaf] if isinstance(leaf, str) else leaf))
        except (ArithmeticError, ValueError):
            return
        if math.isfinite(value):
            yield value
