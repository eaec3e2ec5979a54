"""Rate strings: parsed against an allow-list, never evaluated as Python, and seen by numpy, derivatives and units.

The grammar, its checks and error texts are here, with the functions that other modules call; what a tree is and what
its operations mean is in trees.py.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from meshcell.core.hints import nearest
from meshcell.core.units import NO_UNIT, Unit
from meshcell.models import derivatives, formula_trees
from meshcell.models.formula_trees import (
    ALIASES,
    COMPARISONS,
    CONSTANTS,
    FOLDING,
    FUNCTIONS,
    MAX_DEPTH,
    NUMPY,
    WHOLES,
    Tree,
    folded,
    to_text,
    walk,
    whole,
)

POSITION = ("x", "y", "z")

VARIABLES = ("t", *POSITION)

Floats = npt.NDArray[np.float64]

MAX_LENGTH = 5000

_ALLOWED = "a rate is made of numbers, names, pi, + - * / **, parentheses and " + ", ".join((*FUNCTIONS, *ALIASES))
_BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_COMPARE = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "and": "or", "or": "and"}
# What others call our functions.
_ELSEWHERE = {
    **{name: f"write a{name[3:]}" for name in ("arcsin", "arccos", "arctan", "arctan2")},
    **{name: f"write {name[:3]}" for name in ("minimum", "maximum")},
    **dict.fromkeys(("pow", "power"), "write a**b"),
    **dict.fromkeys(("fabs", "absolute"), "write abs"),
    **dict.fromkeys(("piecewise", "select", "ifelse"), "write where(condition, a, b), one inside the other if need be"),
    "ceiling": "write ceil",
    "sgn": "write sign",
    "Heaviside": "write heaviside",
    "square": "write a**2",
    "log2": "write log(a)/log(2)",
    "log1p": "write log(1 + a)",
    "expm1": "write exp(a) - 1",
}
_ADVICE: dict[type[ast.AST], str] = {
    ast.BitXor: "'^' is not a power here; write '**'",
    ast.Mod: "'%' is not allowed",
    ast.FloorDiv: "'//' is not allowed; write '/'",
    ast.Compare: "comparisons are not allowed here; for a switch write where(a > b, 1, 0)",
    ast.IfExp: "'if' is not allowed; for a switch write where(a > b, 1, 0)",
    ast.BoolOp: "'and' and 'or' are not allowed here; write where(a > b and c > d, 1, 0)",
    ast.Attribute: "attribute access with '.' is not allowed",
    ast.Lambda: "'lambda' is not allowed",
    ast.Subscript: "indexing with [ ] is not allowed",
    ast.Tuple: "a comma is only allowed between the arguments of a function; write 0.5, not 0,5",
    ast.NamedExpr: "assignment is not allowed",
    ast.UnaryOp: "'not' and '~' are not allowed here; write where(not a > b, 1, 0)",
    ast.MatMult: "'@' is not allowed; write '*'",
}


@dataclass(frozen=True)
class Expression:
    """A checked formula: its text, its tree and the names that it reads, in order of appearance."""

    text: str
    tree: Tree
    names: tuple[str, ...]

    def __str__(self) -> str:
        return self.text


def parse(text: str, what: str = "expression", known: Iterable[str] | None = None) -> Expression:
    """Read a formula such as "v*Ca/(K + Ca)" and check every part of it against the allow-list.

    Parameters
    ----------
    text : str
        Numbers, names, pi, + - * / **, parentheses, and exp, log (ln), log10, sqrt, sin, cos, tan, asin, acos, atan,
        atan2(y, x), sinh, cosh, tanh, abs, sign (0 at 0), floor, ceil, min, max, heaviside (1/2 at 0), and
        where(condition, a, b), whose condition compares by < <= > >= and may join comparisons by and, or, not. In rates
        also mean(A) and total(A), of a species over its compartment, and mean(A, "PM") over another.
    what : str
        Names the formula in errors.
    known : names or None
        When given, any other name is refused.

    Raises
    ------
    ValueError, TypeError
        Anything else, with the offending part underlined; also a constant part without a finite value, powers beyond
        MAX_POWER, and formulas too long or too deep.

    Examples
    --------
    >>> parse("v*Ca/(K + Ca)").names
    ('v', 'Ca', 'K')
    >>> parse("2*3 + a").tree
    ('+', 6.0, 'a')
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} should be a text such as 'k*(a - b)'; got {text!r}")
    # Line breaks in a long formula are only layout.
    source = _Source(" ".join(text.split()), what, None if known is None else tuple(known))
    tree = _tree(_python_tree(source), source, 0)
    formula_trees.check_powers(tree, what)
    return Expression(source.text, tree, formula_trees.names(tree))


def substitute(expression: Expression, values: Mapping[str, float]) -> Expression:
    """Put numbers in the place of names and fold what becomes constant.

    Examples
    --------
    >>> str(substitute(parse("k**2*(a - b)"), {"k": 3.0}))
    '9*(a - b)'
    """
    tree = walk(expression.tree, FOLDING, lambda leaf: float(values.get(leaf, leaf)) if leaf in values else leaf)
    formula_trees.check_powers(tree, expression.text)
    return _from_tree(tree)


def compile(expression: Expression, argument_names: Sequence[str]) -> Compiled:
    """Make a function of arrays that returns the values of the expression.

    Parameters
    ----------
    expression : Expression
    argument_names : sequence of str
        The order of the function's arguments; they broadcast against each other.

    Returns
    -------
    callable(*arrays) -> array
        A new float64 array with the common shape of all arguments, also where the formula is constant. Parts that
        occur more than once are computed once. Division by zero and the like give inf or nan without a warning: the
        caller knows where and when that was, and says so.

    Raises
    ------
    ValueError
        The formula reads a name that is no argument.

    Examples
    --------
    >>> compile(parse("2*a + b"), ("a", "b"))(np.array([1.0, 2.0]), 10.0)
    array([12., 14.])
    """
    missing = [name for name in expression.names if name not in argument_names]
    if missing:
        raise ValueError(
            f"{expression.text!r} reads {', '.join(missing)}, which is not among the arguments "
            f"{', '.join(argument_names) or '(none)'}; substitute a number for it or add it"
        )
    leaves: list[float] = []
    steps: list[tuple[str, tuple[int, ...]]] = []
    names = tuple(argument_names)

    def slot_of_leaf(leaf: float | str) -> int:
        if isinstance(leaf, str):
            return names.index(leaf)
        leaves.append(leaf)
        return -len(leaves)

    def slot_of_step(operation: str, *operands: int) -> int:
        steps.append((operation, operands))
        return len(names) + len(steps) - 1

    result = walk(expression.tree, {op: functools.partial(slot_of_step, op) for op in NUMPY}, slot_of_leaf)
    return Compiled(names, tuple(np.float64(leaf) for leaf in reversed(leaves)), tuple(steps), result)


@dataclass(frozen=True)
class Compiled:
    """A formula as a list of numpy steps; made by `compile`.

    Slots 0, 1, ... hold the arguments and then the results of the steps; slots -1, -2, ... the constants.
    """

    argument_names: tuple[str, ...]
    constants: tuple[np.float64, ...]
    steps: tuple[tuple[str, tuple[int, ...]], ...]
    result: int

    def __call__(self, *arguments: Any) -> Floats:
        """Return the values for these arguments, given in the order of `argument_names`."""
        if len(arguments) != len(self.argument_names):
            raise TypeError(f"expected the arguments {', '.join(self.argument_names)}; got {len(arguments)} of them")
        arrays = [np.asarray(argument, np.float64) for argument in arguments]
        # Every step stands where its result will.
        slots: list[Any] = [*arrays, *self.steps, *self.constants]
        with np.errstate(all="ignore"):
            for slot, (operation, operands) in enumerate(self.steps, len(arrays)):
                slots[slot] = NUMPY[operation](*[slots[k] for k in operands])
        value = slots[self.result]
        shapes = {array.shape for array in arrays} - {()}
        shape = shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)
        if np.shape(value) != shape or any(value is array for array in arrays):
            return np.array(np.broadcast_to(value, shape))
        return np.asarray(value, np.float64)


def derivative(expression: Expression, name: str) -> Expression:
    """Differentiate exactly with respect to one name.

    At the kink of min, max and abs the two sides are averaged; the derivative of a jump (heaviside, sign, floor, ceil,
    the condition of where) is taken as 0, since no finite number is right there and it is right everywhere else.

    Raises
    ------
    ValueError
        The derivative is nowhere a real number, or has a constant that is not finite.

    Examples
    --------
    >>> str(derivative(parse("a**3 + b"), "a"))
    '3*a**2'
    """
    if name not in expression.names:
        return Expression("0", 0.0, ())
    return _from_tree(derivatives.derivative(expression.tree, name))


def units(expression: Expression, known: Mapping[str, Unit], values: Mapping[str, float] | None = None) -> Unit | None:
    """Work out the unit of a formula from the units of its names.

    Parameters
    ----------
    expression : Expression
    known : mapping of name to Unit
        Of every name that the formula reads. A number in the formula has no unit; 0 has any.
    values : mapping of name to float, optional
        Values of names that may stand in an exponent over a quantity with a unit, such as a Hill coefficient.

    Returns
    -------
    Unit or None
        None where the formula is 0, which has any unit.

    Raises
    ------
    ValueError
        Sums, minima, maxima, comparisons and choices of different units; exp, log, sin and the like of something with
        a unit, floor and ceil too, whose values would depend on it; a quantity with a unit to a power that is not a
        known number. Names both units and the part of the formula.

    Examples
    --------
    >>> um, s = Unit.of(um=1), Unit.of(s=1)
    >>> str(units(parse("v*t + 2*x"), {"v": um / s, "t": s, "x": um}))
    'um'
    """

    def of_leaf(leaf: float | str) -> tuple[Tree, Unit | None]:
        return leaf, known[leaf] if isinstance(leaf, str) else (None if leaf == 0 else NO_UNIT)

    def of_step(operation: str, *operands: tuple[Tree, Unit | None]) -> tuple[Tree, Unit | None]:
        return (operation, *(tree for tree, _ in operands)), _unit_rule(operation, operands, values or {})

    unit: Unit | None = walk(expression.tree, {op: functools.partial(of_step, op) for op in NUMPY}, of_leaf)[1]
    return unit


# --- parsing ---


@dataclass(frozen=True)
class _Source:
    text: str
    what: str
    known: tuple[str, ...] | None

    def refuse(self, message: str, start: int = 0, stop: int | None = None) -> NoReturn:
        """Raise a ValueError that underlines the characters start ... stop."""
        stop = len(self.text) if stop is None else stop
        if len(self.text) > 1000:
            raise ValueError(f"{self.what}: {message}, at character {start}: {self.text[start : start + 40]!r}")
        marks = " " * start + "^" * max(stop - start, 1)
        raise ValueError(f"{self.what}: {message}\n    {self.text}\n    {marks}")

    def refuse_node(self, message: str, node: Any) -> NoReturn:
        # ast counts bytes of UTF-8, the reader counts characters.
        line = self.text.encode()
        start, stop = (len(line[:k].decode(errors="ignore")) for k in (node.col_offset, node.end_col_offset))
        self.refuse(message, start, stop)


def _python_tree(source: _Source) -> ast.expr:
    text = source.text
    if not text:
        raise ValueError(f"{source.what} is empty; {_ALLOWED}")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"{source.what} should have at most {MAX_LENGTH} characters; got {len(text)}; split it")
    if "#" in text:
        source.refuse("comments with '#' are not allowed", text.index("#"))
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        start = min(max((error.offset or 1) - 1, 0), len(text) - 1)
        assigns = "=" in text and "==" not in text
        reason = "'=' is not allowed; write only the right-hand side" if assigns else error.msg
        source.refuse(f"not a formula ({reason}); {_ALLOWED}", start, start + 1)
    except (RecursionError, MemoryError, ValueError) as error:
        raise ValueError(f"{source.what} cannot be read ({error or 'nested too deeply'}); {_ALLOWED}") from error


def _tree(node: ast.expr, source: _Source, depth: int) -> Tree:
    if depth > MAX_DEPTH:
        source.refuse(f"nested more than {MAX_DEPTH} deep; split the formula into several reactions")
    if isinstance(node, ast.Constant):
        return _number(node, source)
    if isinstance(node, ast.Name):
        return _name(node, source)
    if isinstance(node, ast.Call):
        return _call(node, source, depth)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        operand = _tree(node.operand, source, depth + 1)
        return folded("neg", operand) if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _tree(node.left, source, depth + 1), _tree(node.right, source, depth + 1)
        return _folded_at(_BINARY[type(node.op)], (left, right), node, source)
    if isinstance(node, ast.Attribute) and node.attr in CONSTANTS:
        source.refuse_node(f"names of modules are not written; write {node.attr}", node)
    culprit = node.op if isinstance(node, ast.BinOp) else node
    advice = _ADVICE.get(type(culprit), f"{type(culprit).__name__} is not allowed")
    return source.refuse_node(f"{advice}; {_ALLOWED}", node)


def _number(node: ast.Constant, source: _Source) -> float:
    if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
        source.refuse_node(f"{node.value!r} is not a number; {_ALLOWED}", node)
    try:
        value = float(node.value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        source.refuse_node("a number should be finite", node)
    return value


def _condition(node: ast.expr, source: _Source, depth: int) -> Tree:
    """Read what where chooses by: comparisons, joined by and, or, not."""
    if isinstance(node, ast.BoolOp) and depth <= MAX_DEPTH:
        operation = "and" if isinstance(node.op, ast.And) else "or"
        parts = [_condition(part, source, depth + 1) for part in node.values]
        return functools.reduce(functools.partial(folded, operation), parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and depth <= MAX_DEPTH:
        return _opposite(_condition(node.operand, source, depth + 1))
    if not isinstance(node, ast.Compare):
        source.refuse_node("the first argument of where should compare, such as a > b or 0 < a and a < b", node)
    bad = [op for op in node.ops if type(op) not in _COMPARE]
    if bad:
        source.refuse_node("a condition compares by < <= > >=: computed numbers are hardly ever equal", node)
    sides = [_tree(side, source, depth + 1) for side in (node.left, *node.comparators)]
    parts = [folded(_COMPARE[type(op)], a, b) for op, a, b in zip(node.ops, sides, sides[1:], strict=False)]
    return functools.reduce(functools.partial(folded, "and"), parts)


def _opposite(condition: Tree) -> Tree:
    if not isinstance(condition, tuple):
        return 0.0 if condition else 1.0
    operation, a, b = condition
    return (_OPPOSITE[operation], *((a, b) if operation in COMPARISONS else (_opposite(a), _opposite(b))))


def _name(node: ast.Name, source: _Source) -> Tree:
    if node.id in CONSTANTS:
        return CONSTANTS[node.id]
    if node.id in FUNCTIONS or node.id in ALIASES:
        source.refuse_node(f"{node.id!r} is a function; call it: {node.id}(...)", node)
    if source.known is not None and node.id not in source.known:
        hint = nearest(node.id, source.known)
        source.refuse_node(f"unknown name {node.id!r}{hint} (known names: {', '.join(source.known)})", node)
    return node.id


def _call(node: ast.Call, source: _Source, depth: int) -> Tree:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    name = ALIASES.get(name, name)
    if name in WHOLES:
        return _whole(name, node, source)
    if isinstance(node.func, ast.Attribute):
        own = node.func.attr
        known = own in FUNCTIONS or own in ALIASES
        advice = f"write {own}(...)" if known else _ELSEWHERE.get(own, f"there are {', '.join(FUNCTIONS)}")
        source.refuse_node(f"names of modules such as 'np.' are not written; {advice}", node.func)
    if name not in FUNCTIONS:
        if not name or (source.known is not None and name in source.known):
            source.refuse_node("only functions can be called; for a product write '*' before the parenthesis", node)
        advice = _ELSEWHERE.get(name, f"there are {', '.join(FUNCTIONS)}")
        source.refuse_node(f"unknown function {name!r}; {advice}", node.func)
    if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
        source.refuse_node(f"arguments of {name} should be plain formulas", node)
    least, most = FUNCTIONS[name]
    if not least <= len(node.args) <= most:
        wanted = f"{least} argument" + "s" * (least > 1) if least == most else f"{least} to {most} arguments"
        source.refuse_node(f"{name} takes {wanted}; got {len(node.args)}", node)
    readers = [_condition if name == "where" and k == 0 else _tree for k in range(len(node.args))]
    arguments = [read(argument, source, depth + 1) for read, argument in zip(readers, node.args, strict=True)]
    if least == most:
        return _folded_at(name, tuple(arguments), node, source)
    return functools.reduce(functools.partial(folded, name), arguments)


def _whole(kind: str, node: ast.Call, source: _Source) -> Tree:
    """Read mean(A), or total(A, "PM"), as one name."""
    given: list[Any] = [*node.args, None, None]
    species, place, *more = given
    named = getattr(place, "value", getattr(place, "id", None))
    wanted = isinstance(species, ast.Name) and not any(more) and not node.keywords
    if not wanted or (place is not None and not (isinstance(named, str) and named and '"' not in named)):
        source.refuse_node(
            f'{kind} is of one species, over its compartment or another that is named: {kind}(A) or {kind}(A, "cyt")',
            node,
        )
    if source.known is not None and species.id not in source.known:
        hint = nearest(species.id, source.known) or f"; {kind} is of species, and stands in rates alone"
        source.refuse_node(f"unknown name {species.id!r}{hint} (known names: {', '.join(source.known)})", species)
    return whole(kind, species.id, named if isinstance(named, str) else None)


def _folded_at(operation: str, operands: tuple[Tree, ...], node: ast.expr, source: _Source) -> Tree:
    try:
        return folded(operation, *operands)
    except ValueError as error:
        return source.refuse_node(str(error), node)


def _from_tree(tree: Tree) -> Expression:
    return Expression(to_text(tree), tree, formula_trees.names(tree))


# --- units ---


def _unit_rule(operation: str, operands: tuple[tuple[Tree, Unit | None], ...], values: Mapping[str, float]) -> Any:
    if operation in ("and", "or"):
        return NO_UNIT
    if operation == "where":
        operands = operands[1:]
    (first, unit), second, other = operands[0], operands[-1][0], operands[-1][1]
    if operation in ("+", "-", "min", "max", "where", "atan2", *COMPARISONS):
        if unit is not None and other is not None and unit != other:
            verb = {"+": "add", "-": "subtract", "where": "choose between"}.get(operation, "compare")
            raise ValueError(
                f"cannot {verb} {to_text(first)!r} in {unit} and {to_text(second)!r} in {other}; a number without a "
                "unit should become a parameter with one"
            )
        return NO_UNIT if operation not in ("+", "-", "min", "max", "where") else other if unit is None else unit
    if operation in ("*", "/"):
        if unit is None or other is None:
            return None
        return unit * other if operation == "*" else unit / other
    if operation in ("neg", "abs"):
        return unit
    if operation == "sqrt":
        return None if unit is None else unit**0.5
    if operation in ("heaviside", "sign"):
        return NO_UNIT
    if operation == "**":
        return _unit_of_power(operands, values)
    if unit not in (None, NO_UNIT):
        raise ValueError(f"{operation} needs an argument without a unit; got {to_text(first)!r} in {unit}")
    return NO_UNIT


def _unit_of_power(operands: tuple[tuple[Tree, Unit | None], ...], values: Mapping[str, float]) -> Unit | None:
    (base, unit), (exponent, exponent_unit) = operands
    if exponent_unit not in (None, NO_UNIT):
        raise ValueError(f"an exponent should have no unit; got {to_text(exponent)!r} in {exponent_unit}")
    if unit is None or unit == NO_UNIT:
        return unit
    power = walk(exponent, FOLDING, lambda leaf: float(values[leaf]) if leaf in values else leaf)
    if not isinstance(power, float):
        raise ValueError(
            f"the exponent of {to_text(base)!r} in {unit} should be a number; got {to_text(exponent)!r}; divide the "
            "base by a quantity of its unit first"
        )
    return unit**power
