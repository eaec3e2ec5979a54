"""Formulas between SBML's mathematics (libsbml's AST) and our trees."""

from __future__ import annotations

import functools
import itertools
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from meshcell.models.exchange.sbml_document import library
from meshcell.models.formula_trees import COMPARISONS, MAX_DEPTH, Tree, depth, folded, walk

LONG = 50
AVOGADRO = 6.02214076e23
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "and": "or", "or": "and"}


def quotient(a: Tree, b: Tree) -> Tree:
    """Divide two trees, folded where both are numbers."""
    return folded("/", a, b)


def _chain(operation: str, empty: float) -> Callable[..., Tree]:
    """SBML's sums, products and the like have any number of operands, none too."""

    def chain(*operands: Tree) -> Tree:
        if len(operands) > LONG:
            # In halves, as a tree of hundreds of levels could not be walked.
            middle = len(operands) // 2
            return folded(operation, chain(*operands[:middle]), chain(*operands[middle:]))
        return functools.reduce(functools.partial(folded, operation), operands) if operands else empty

    return chain


_all = _chain("and", 1.0)


def _minus(*operands: Tree) -> Tree:
    return folded("neg", *operands) if len(operands) == 1 else folded("-", *operands)


def _compared(operation: str) -> Callable[..., Tree]:
    def compare(*operands: Tree) -> Tree:
        return _all(*(folded(operation, a, b) for a, b in itertools.pairwise(operands)))

    return compare


def _equal(*operands: Tree) -> Tree:
    return _all(*(folded("and", folded("<=", a, b), folded(">=", a, b)) for a, b in itertools.pairwise(operands)))


def _either(a: Tree, b: Tree) -> Tree:
    return folded("or", folded("and", a, opposite(b)), folded("and", opposite(a), b))


def opposite(condition: Tree) -> Tree:
    """Negate a condition.

    Examples
    --------
    >>> opposite(("and", ("<", "a", "b"), (">=", "c", 1.0)))
    ('or', ('>=', 'a', 'b'), ('<', 'c', 1.0))
    """
    if not isinstance(condition, tuple):
        return 0.0 if condition else 1.0
    operation, a, b = condition
    return (_OPPOSITE[operation], *((a, b) if operation in COMPARISONS else (opposite(a), opposite(b))))


def _one_over(operation: str) -> Callable[..., Tree]:
    return lambda a: quotient(1.0, folded(operation, a))


def _of_inverse(operation: str) -> Callable[..., Tree]:
    return lambda a: folded(operation, quotient(1.0, a))


def _arsinh(a: Tree) -> Tree:
    return folded("log", folded("+", a, folded("sqrt", folded("+", folded("**", a, 2.0), 1.0))))


def _arcosh(a: Tree) -> Tree:
    return folded("log", folded("+", a, folded("sqrt", folded("-", folded("**", a, 2.0), 1.0))))


def _artanh(a: Tree) -> Tree:
    return folded("*", 0.5, folded("log", quotient(folded("+", 1.0, a), folded("-", 1.0, a))))


def _logarithm(base: Tree, a: Tree) -> Tree:
    return folded("log10", a) if base == 10 else quotient(folded("log", a), folded("log", base))


def _root(degree: Tree, a: Tree) -> Tree:
    return folded("sqrt", a) if degree == 2 else folded("**", a, quotient(1.0, degree))


# Name in libsbml's AST -> what it is in our language; conditions stay conditions.
_MEANINGS: dict[str, Callable[..., Tree]] = {
    "PLUS": _chain("+", 0.0),
    "TIMES": _chain("*", 1.0),
    "MINUS": _minus,
    "DIVIDE": quotient,
    "POWER": functools.partial(folded, "**"),
    "FUNCTION_POWER": functools.partial(folded, "**"),
    "FUNCTION_ROOT": _root,
    "FUNCTION_LOG": _logarithm,
    "FUNCTION_LN": functools.partial(folded, "log"),
    "FUNCTION_CEILING": functools.partial(folded, "ceil"),
    "FUNCTION_MIN": _chain("min", 0.0),
    "FUNCTION_MAX": _chain("max", 0.0),
    **{f"FUNCTION_{name.upper()}": functools.partial(folded, name) for name in ("exp", "abs", "floor")},
    **{f"FUNCTION_{name.upper()}": functools.partial(folded, name) for name in ("sin", "cos", "tan")},
    **{f"FUNCTION_{name.upper()}": functools.partial(folded, name) for name in ("sinh", "cosh", "tanh")},
    **{f"FUNCTION_ARC{name.upper()}": functools.partial(folded, f"a{name}") for name in ("sin", "cos", "tan")},
    "FUNCTION_SEC": _one_over("cos"),
    "FUNCTION_CSC": _one_over("sin"),
    "FUNCTION_COT": _one_over("tan"),
    "FUNCTION_SECH": _one_over("cosh"),
    "FUNCTION_CSCH": _one_over("sinh"),
    "FUNCTION_COTH": _one_over("tanh"),
    "FUNCTION_ARCSEC": _of_inverse("acos"),
    "FUNCTION_ARCCSC": _of_inverse("asin"),
    "FUNCTION_ARCCOT": _of_inverse("atan"),
    "FUNCTION_ARCSINH": _arsinh,
    "FUNCTION_ARCCOSH": _arcosh,
    "FUNCTION_ARCTANH": _artanh,
    "FUNCTION_ARCSECH": lambda a: _arcosh(quotient(1.0, a)),
    "FUNCTION_ARCCSCH": lambda a: _arsinh(quotient(1.0, a)),
    "FUNCTION_ARCCOTH": lambda a: _artanh(quotient(1.0, a)),
}
_LOGIC: dict[str, Callable[..., Tree]] = {
    "RELATIONAL_LT": _compared("<"),
    "RELATIONAL_LEQ": _compared("<="),
    "RELATIONAL_GT": _compared(">"),
    "RELATIONAL_GEQ": _compared(">="),
    "RELATIONAL_EQ": _equal,
    "RELATIONAL_NEQ": lambda a, b: folded("or", folded("<", a, b), folded(">", a, b)),
}
_JOINED: dict[str, Callable[..., Tree]] = {
    "LOGICAL_AND": _all,
    "LOGICAL_OR": _chain("or", 0.0),
    "LOGICAL_XOR": lambda *parts: functools.reduce(_either, parts) if parts else 0.0,
    "LOGICAL_NOT": opposite,
    "LOGICAL_IMPLIES": lambda a, b: folded("or", opposite(a), b),
}
_WORDS = {
    "FUNCTION_DELAY": "delay",
    "FUNCTION_RATE_OF": "rateOf",
    "FUNCTION_FACTORIAL": "factorial",
    "FUNCTION_REM": "rem",
    "FUNCTION_QUOTIENT": "quotient",
    "CONSTANT_TRUE": "true as a number",
    "LAMBDA": "lambda",
}


_TOO_DEEP = f"too many brackets in each other (more than {MAX_DEPTH})"


class UnknownMathError(ValueError):
    """Mathematics that our language does not have; its text names it."""


@functools.cache
def _kinds() -> dict[int, str]:
    """Return number -> name of every kind of libsbml's AST."""
    libsbml = library()
    names = [name for name in dir(libsbml) if name.startswith("AST_")]
    return {getattr(libsbml, name): name.removeprefix("AST_") for name in names if name != "AST_UNKNOWN"}


def tree_of(node: Any, functions: Mapping[str, Any]) -> Tree:
    """Turn libsbml's AST into a tree of ours, with function definitions put in.

    Parameters
    ----------
    node : libsbml.ASTNode
    functions : mapping of str to libsbml.FunctionDefinition

    Raises
    ------
    UnknownMathError
        The first part of it that our language does not have.
    ValueError
        A constant part without a finite value.
    """
    try:
        tree = _tree(node, functions, {})
    except RecursionError:
        raise UnknownMathError(_TOO_DEEP) from None
    if depth(tree) > MAX_DEPTH:
        raise UnknownMathError(_TOO_DEEP)
    return tree


def _tree(node: Any, functions: Mapping[str, Any], bound: Mapping[str, Tree]) -> Tree:
    kind = _kinds().get(node.getType(), "UNKNOWN")
    if node.isNumber():
        return float(node.getValue())
    if kind in _CONSTANTS:
        return _CONSTANTS[kind]
    if kind in ("NAME", "FUNCTION"):
        return _named(node, kind, functions, bound)
    children = [node.getChild(k) for k in range(node.getNumChildren())]
    if kind == "FUNCTION_PIECEWISE":
        return _pieces(children, functions, bound)
    if kind in _LOGIC or kind in _JOINED:
        return folded("where", _condition(node, functions, bound), 1.0, 0.0)
    if kind not in _MEANINGS:
        raise UnknownMathError(_WORDS.get(kind, kind.removeprefix("FUNCTION_").lower()))
    if kind in ("PLUS", "TIMES"):
        children = _flat(node, children)
    operands = [_tree(child, functions, bound) for child in children]
    if kind in ("FUNCTION_LOG", "FUNCTION_ROOT") and len(operands) == 1:
        # Their first operand may be left out.
        operands.insert(0, 10.0 if kind == "FUNCTION_LOG" else 2.0)
    return _MEANINGS[kind](*operands)


def _flat(node: Any, children: list[Any]) -> list[Any]:
    """Return the terms of a sum or the factors of a product; libsbml makes pairs in pairs of them."""
    rest: list[Any] = []
    while children and children[0].getType() == node.getType():
        rest = [*children[1:], *rest]
        children = [children[0].getChild(k) for k in range(children[0].getNumChildren())]
    return [*children, *rest]


_CONSTANTS: dict[str, Tree] = {
    "CONSTANT_PI": 3.141592653589793,
    "CONSTANT_E": 2.718281828459045,
    "NAME_TIME": "t",
    "NAME_AVOGADRO": AVOGADRO,
    "CONSTANT_TRUE": 1.0,
    "CONSTANT_FALSE": 0.0,
}


def _named(node: Any, kind: str, functions: Mapping[str, Any], bound: Mapping[str, Tree]) -> Tree:
    """Return what a name stands for: an argument of the function around it, itself, or a function's body."""
    name = node.getName()
    if kind == "NAME":
        # Names are marked so that a parameter called t is not the time.
        return bound.get(name, f"${name}")
    if name not in functions:
        raise UnknownMathError(f"function {name}")
    definition = functions[name]
    given = [_tree(node.getChild(k), functions, bound) for k in range(node.getNumChildren())]
    own = [definition.getArgument(k).getName() for k in range(definition.getNumArguments())]
    if len(own) != len(given) or definition.getBody() is None:
        raise UnknownMathError(f"function {name} of {len(given)} arguments, which is defined for {len(own)}")
    return _tree(definition.getBody(), functions, dict(zip(own, given, strict=True)))


def _pieces(children: list[Any], functions: Mapping[str, Any], bound: Mapping[str, Tree]) -> Tree:
    if len(children) % 2 == 0:
        raise UnknownMathError("piecewise without an otherwise")
    tree = _tree(children[-1], functions, bound)
    for k in range(len(children) - 3, -1, -2):
        condition = _condition(children[k + 1], functions, bound)
        tree = folded("where", condition, _tree(children[k], functions, bound), tree)
    return tree


def _condition(node: Any, functions: Mapping[str, Any], bound: Mapping[str, Tree]) -> Tree:
    kind = _kinds().get(node.getType(), "UNKNOWN")
    children = [node.getChild(k) for k in range(node.getNumChildren())]
    if kind in _LOGIC:
        return _LOGIC[kind](*(_tree(child, functions, bound) for child in children))
    if kind in _JOINED:
        return _JOINED[kind](*(_condition(child, functions, bound) for child in children))
    value = _tree(node, functions, bound)
    if isinstance(value, tuple) and value[0] == "where" and value[2:] == (1.0, 0.0):
        # A function definition that returns a truth.
        found: Tree = value[1]
        return found
    # A number is true unless it is 0.
    return folded("or", folded("<", value, 0.0), folded(">", value, 0.0))


# --- writing ---


def formula_of(tree: Tree) -> str:
    """Write a tree in the formula language of SBML Level 3, which libsbml turns into MathML.

    Names are to be SBML identifiers already; t is the time. What MathML of Level 3 Version 1 lacks is written by
    piecewise.

    Examples
    --------
    >>> formula_of(("max", "a", ("neg", ("**", "b", 2.0))))
    'piecewise((a), (a) >= (-((b)^(2.0))), (-((b)^(2.0))))'
    """
    return str(walk(tree, _WRITTEN, _leaf))


def _leaf(leaf: float | str) -> str:
    if isinstance(leaf, str):
        return "time" if leaf == "t" else leaf
    return number_text(leaf)


def written_number(value: float) -> float:
    """Return the nearest number that libsbml can write and read.

    It writes 15 digits, so the greatest floats would become infinite, and does not read those below the normal ones.

    Examples
    --------
    >>> written_number(5e-324), written_number(0.1)
    (0.0, 0.1)
    """
    if abs(value) < sys.float_info.min * (1 + 1e-14):
        return 0.0
    return math.copysign(min(abs(value), sys.float_info.max * (1 - 1e-14)), value)


def number_text(value: float) -> str:
    """Write a number within a formula."""
    value = written_number(value)
    return repr(value) if value >= 0 else f"(-{-value!r})"


def _sign(a: str, zero: str) -> str:
    return f"piecewise(1, ({a}) > 0, {zero}, ({a}) >= 0, {'0' if zero == '0.5' else '-1'})"


_WRITTEN: dict[str, Callable[..., str]] = {
    **{
        name: functools.partial(lambda sign, a, b: f"({a}) {sign} ({b})", name)
        for name in ("+", "-", "*", "/", *COMPARISONS)
    },
    **{
        name: functools.partial(lambda own, a: f"{own}({a})", name)
        for name in (
            *("exp", "sqrt", "abs", "floor", "ceil"),
            *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh"),
        )
    },
    # Antimony writes two signs in a row, which it does not read.
    "neg": lambda a: a[2:-1] if a.startswith("-(") else f"-({a})",
    "**": lambda a, b: f"({a})^({b})",
    "log": lambda a: f"ln({a})",
    "log10": lambda a: f"log10({a})",
    "min": lambda a, b: f"piecewise(({a}), ({a}) <= ({b}), ({b}))",
    "max": lambda a, b: f"piecewise(({a}), ({a}) >= ({b}), ({b}))",
    "heaviside": lambda a: _sign(a, "0.5"),
    "sign": lambda a: _sign(a, "0"),
    "and": lambda a, b: f"({a}) && ({b})",
    "or": lambda a, b: f"({a}) || ({b})",
    "where": lambda condition, a, b: f"piecewise(({a}), {condition}, ({b}))",
    # Two quadrants to the right, and the left ones turned by half a circle.
    "atan2": lambda y, x: (
        f"piecewise(atan(({y})/({x})), ({x}) > 0, atan(({y})/({x})) + pi, ({x}) < 0 && ({y}) >= 0, "
        f"atan(({y})/({x})) - pi, ({x}) < 0, pi/2, ({y}) > 0, -pi/2, ({y}) < 0, 0)"
    ),
}
