"""Formulas as small trees: a float, a name, or a tuple of an operation and its operands.

Every view of a formula (values, derivatives, units, text) is one walk over its tree with a table that says what the
operations mean. The leaves are trees themselves, so equal parts of a formula are equal and hash alike. A mean or total
of a species is a name among the others: 'mean(A, "cyt")' has one value, and derivatives by it are taken as by any name.
"""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

Tree = float | str | tuple[Any, ...]

# Function -> least and greatest number of arguments.
FUNCTIONS = {
    "exp": (1, 1),
    "log": (1, 1),
    "log10": (1, 1),
    "sqrt": (1, 1),
    **dict.fromkeys(("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh"), (1, 1)),
    "atan2": (2, 2),
    "abs": (1, 1),
    "sign": (1, 1),
    "floor": (1, 1),
    "ceil": (1, 1),
    "min": (2, 20),
    "max": (2, 20),
    "heaviside": (1, 1),
    "where": (3, 3),
}
# Other names that formulas may use, and what they stand for.
ALIASES = {"ln": "log"}
CONSTANTS = {"pi": math.pi}
# Of a species and, if need be, a compartment: one number of a whole state.
WHOLES = ("mean", "total")
_WHOLE = re.compile(r'(mean|total)\((\w+)(?:, "(.*)")?\)')
# Only in the first argument of where.
COMPARISONS = ("<", "<=", ">", ">=")
CONDITIONS = (*COMPARISONS, "and", "or")
# Nested constant powers multiply; beyond this exact algebra takes for ever, and no rate law needs it.
MAX_POWER = 1000.0
# Trees are walked by recursion, of which Python has 1,000 levels in all.
MAX_DEPTH = 150


def walk(tree: Tree, operations: Mapping[str, Callable[..., Any]], leaf: Callable[[Any], Any]) -> Any:
    """Evaluate a tree with a table of operations; equal parts are visited once.

    Examples
    --------
    >>> walk(("-", ("*", 3.0, "a"), "b"), {"*": operator.mul, "-": operator.sub}, lambda x: {"a": 5, "b": 1}.get(x, x))
    14.0
    """
    seen: dict[Tree, Any] = {}

    def visit(node: Tree) -> Any:
        if node not in seen:
            if isinstance(node, tuple):
                seen[node] = operations[node[0]](*(visit(operand) for operand in node[1:]))
            else:
                seen[node] = leaf(node)
        return seen[node]

    return visit(tree)


def depth(tree: Tree) -> int:
    """Count the levels of a tree; one of any depth can be asked.

    Examples
    --------
    >>> depth(("+", ("*", "a", "b"), 1.0)), depth("a")
    (3, 1)
    """
    levels = 0
    level: list[Tree] = [tree]
    while level:
        levels += 1
        # Equal parts once: a shared part would be asked for each of its places.
        level = list({id(part): part for node in level if isinstance(node, tuple) for part in node[1:]}.values())
    return levels


def to_text(tree: Tree) -> str:
    """Write a tree as a formula that `parse` reads back to the same tree.

    Examples
    --------
    >>> to_text(("/", ("*", "v", "Ca"), ("+", "K", "Ca")))
    'v*Ca/(K + Ca)'
    """
    return _text_and_rank(tree)[0]


def names(tree: Tree) -> tuple[str, ...]:
    """List the names in a tree in order of appearance."""
    if isinstance(tree, tuple):
        return tuple(dict.fromkeys(name for operand in tree[1:] for name in names(operand)))
    return (tree,) if isinstance(tree, str) else ()


def folded(operation: str, *operands: Tree) -> Tree:
    """Make a node, or its value where all operands are numbers; of a choice that is made, the part that is left."""
    if isinstance(operands[0], float) and operation in _CHOSEN:
        return _CHOSEN[operation](*operands)
    if isinstance(operands[-1], float) and operation in ("and", "or"):
        return _CHOSEN[operation](*reversed(operands))
    numbers = [operand for operand in operands if isinstance(operand, float)]
    if len(numbers) < len(operands):
        return (operation, *operands)
    try:
        value = float(SCALAR[operation](*numbers))
    except (ArithmeticError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"the constant part {to_text((operation, *operands))} has no finite value")
    return value


# Operation whose first operand is a number -> what is left of it.
_CHOSEN: dict[str, Callable[..., Tree]] = {
    "where": lambda condition, a, b: a if condition else b,
    "and": lambda first, second: second if first else 0.0,
    "or": lambda first, second: 1.0 if first else second,
}


def check_powers(tree: Tree, what: str, product: float = 1.0) -> None:
    """Refuse nested constant powers that multiply to more than MAX_POWER."""
    if not isinstance(tree, tuple):
        return
    if tree[0] == "**" and isinstance(tree[2], float):
        product *= max(abs(tree[2]), 1.0)
        if product > MAX_POWER:
            raise ValueError(f"{what}: powers should multiply to at most {MAX_POWER:g}; got {to_text(tree)}")
    for operand in tree[1:]:
        check_powers(operand, what, product)


# --- numbers of a whole state ---


def whole(kind: str, species: str, place: str | None) -> str:
    """Name the mean or total of a species over its compartment or another.

    Examples
    --------
    >>> whole("mean", "A", None), whole("total", "A", "PM")
    ('mean(A)', 'total(A, "PM")')
    """
    return f"{kind}({species})" if place is None else f'{kind}({species}, "{place}")'


def read_whole(name: str) -> tuple[str, str, str | None] | None:
    """Return kind, species and compartment of such a name, None for any other name.

    Examples
    --------
    >>> read_whole('total(A, "PM")'), read_whole("A")
    (('total', 'A', 'PM'), None)
    """
    found = _WHOLE.fullmatch(name)
    return None if found is None else (found[1], found[2], found[3])


# --- text ---

_RANKS = {"or": -2, "and": -1, **dict.fromkeys(COMPARISONS, 0), "+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "**": 4}


def _text_and_rank(tree: Tree) -> tuple[str, int]:
    if isinstance(tree, str):
        return tree, 5
    if not isinstance(tree, tuple):
        text = repr(tree).removesuffix(".0")
        return text, 3 if tree < 0 else 5
    operation, *operands = tree
    if operation in FUNCTIONS:
        return f"{operation}({', '.join(to_text(operand) for operand in operands)})", 5
    rank = _RANKS[operation]
    if operation == "neg":
        return "-" + _bracketed(operands[0], 3), rank
    # The right operand of a sum or product is bracketed even where it need not be, so that the tree comes back exactly.
    left, right = _bracketed(operands[0], rank + (rank == 4)), _bracketed(operands[1], 3 if rank == 4 else rank + 1)
    space = " " if rank <= 1 else ""
    return f"{left}{space}{operation}{space}{right}", rank


def _bracketed(tree: Tree, least_rank: int) -> str:
    text, rank = _text_and_rank(tree)
    return text if rank >= least_rank else f"({text})"


# --- what the operations mean ---


def is_small_whole(exponent: float) -> bool:
    """Tell whether a power is taken by multiplication: many times faster than np.power for Hill coefficients."""
    return 1 <= abs(exponent) <= 16 and exponent == int(exponent)


def whole_power(base: Any, exponent: float, multiply: Callable[..., Any], divide: Callable[..., Any]) -> Any:
    """Raise to a small whole power by squares, with whatever multiplies two such things and divides 1 by one."""
    result: Any = None
    square, left = base, int(abs(exponent))
    while left:
        if left & 1:
            result = square if result is None else multiply(result, square)
        left >>= 1
        square = multiply(square, square) if left else square
    return result if exponent > 0 else divide(1.0, result)


def _power(base: Any, exponent: Any) -> Any:
    if np.ndim(exponent) != 0 or not (is_small_whole(exponent) or exponent == 0.5):
        return np.power(base, exponent)
    if exponent == 0.5:
        return np.sqrt(base)
    return whole_power(base, exponent, operator.mul, operator.truediv)


def _step(x: Any) -> Any:
    # The half at the jump is what makes max(a, b) and its derivative symmetric in a and b.
    return np.heaviside(x, 0.5)


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "neg": operator.neg,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "abs": abs,
    "heaviside": _step,
}
_PLAIN = ("exp", "log", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "atan2")
_NUMPYS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"}
SCALAR: dict[str, Callable[..., Any]] = _ARITHMETIC | {
    "**": math.pow,
    **{name: getattr(math, name) for name in _PLAIN},
    "min": min,
    "max": max,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "where": lambda condition, a, b: a if condition else b,
}
NUMPY: dict[str, Callable[..., Any]] = _ARITHMETIC | {
    "**": _power,
    **{name: getattr(np, _NUMPYS.get(name, name)) for name in _PLAIN},
    "min": np.minimum,
    "max": np.maximum,
    "and": np.logical_and,
    "or": np.logical_or,
    "where": np.where,
}
FOLDING = {operation: functools.partial(folded, operation) for operation in NUMPY}

# Where formulas switch: at the zero of an argument, or where two of them are equal.
_SWITCHES = ("heaviside", "sign", "abs")
_COMPARE = ("min", "max", *COMPARISONS)


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
