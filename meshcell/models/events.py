"""Times at which a model jumps or bends, so that no step goes over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from meshcell.models.expressions import Expression
from meshcell.models.formula_trees import COMPARISONS, SCALAR, Tree, names, walk

_SWITCHES = ("heaviside", "sign", "abs")
_COMPARE = ("min", "max", *COMPARISONS)


def of(given: Iterable[Any], formulas: Iterable[Expression]) -> tuple[float, ...]:
    """Collect the events of tables and courses and the switches in formulas: ascending times, s."""
    from_given = (time for value in given for time in getattr(value, "events", ()))
    return tuple(sorted({*from_given, *(time for formula in formulas for time in switches(formula.tree))}))


def switches(tree: Tree) -> Iterator[float]:
    """Find the times at which heaviside, sign, abs, min, max or a condition switch, where t enters them linearly.

    Examples
    --------
    >>> sorted(switches(("*", "Ca", ("heaviside", ("-", ("*", 2.0, "t"), 3.0)))))
    [1.5]
    """
    if not isinstance(tree, tuple):
        return
    if tree[0] in _SWITCHES:
        yield from _zero(tree[1])
    if tree[0] in _COMPARE:
        yield from _zero(("-", tree[1], tree[2]))
    for operand in tree[1:]:
        yield from switches(operand)


def _zero(tree: Tree) -> Iterator[float]:
    """Return where a formula of t alone is zero, if it is linear."""
    if names(tree) != ("t",):
        return
    try:
        first, second, third = _at(tree, 0.0), _at(tree, 1.0), _at(tree, 2.0)
    except (ArithmeticError, ValueError):
        return
    slope = second - first
    if slope and abs(third - second - slope) <= 1e-12 * max(abs(first), abs(third)):
        yield -first / slope


def _at(tree: Tree, t: float) -> float:
    return float(walk(tree, SCALAR, lambda leaf: t if leaf == "t" else leaf))
