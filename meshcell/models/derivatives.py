"""Exact derivatives of expression trees by sympy, and the way back from sympy to trees.

Apart from expressions.py, because only this needs sympy, which takes half a second to load.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from meshcell.models.formula_trees import FOLDING, Tree, to_text, walk

_OWN = {"Power": "**", "Greater": "max", "Lesser": "min"}


@functools.lru_cache(maxsize=4096)
def derivative(tree: Tree, name: str) -> Tree:
    """Differentiate a tree with respect to a name that occurs in it."""
    import sympy

    # Numbered symbols: the user's own E, I, S, N or beta would mean something else to sympy, and a Dummy would make the
    # order of sums depend on what was differentiated before.
    symbols: dict[str, Any] = {}

    def leaf(value: float | str) -> Any:
        if isinstance(value, str):
            return symbols.setdefault(value, sympy.Symbol(f"v{len(symbols):04d}", real=True))
        return _to_number(value)

    try:
        formula = walk(tree, _operations(), leaf)
        result = sympy.diff(formula, symbols[name]).replace(sympy.DiracDelta, lambda *_: sympy.Integer(0))
        names = {symbol: name for name, symbol in symbols.items()}
        return walk(_to_tree(result, names), FOLDING, lambda part: part)  # type: ignore[no-any-return]
    except (ValueError, TypeError, ArithmeticError, NotImplementedError, RecursionError) as error:
        raise ValueError(f"the derivative of {to_text(tree)!r} by {name} cannot be written ({error})") from error


def _to_number(value: float) -> Any:
    import sympy

    # Whole numbers exactly, so that powers stay powers; other floats with all their bits.
    return sympy.Integer(int(value)) if value.is_integer() and abs(value) < 2**53 else sympy.Float(value)


@functools.cache
def _operations() -> dict[str, Callable[..., Any]]:
    import sympy

    class Power(sympy.Function):  # type: ignore[misc]
        """A power with a symbolic exponent: sympy's own derivative n x**n / x is nan at x = 0."""

        def fdiff(self, argindex: int = 1) -> Any:
            base, exponent = self.args
            return exponent * power(base, exponent - 1) if argindex == 1 else sympy.log(base) * self

    def chooser(name: str, sign: int) -> Any:
        # Not sympy's Max and Min: those compare all their arguments at length (minutes for twenty), and keep them in a
        # set whose order changes from one process to the next.
        def fdiff(self: Any, argindex: int = 1) -> Any:
            difference = sign * (self.args[0] - self.args[1])
            return sympy.Heaviside(difference if argindex == 1 else -difference)

        return type(name, (sympy.Function,), {"fdiff": fdiff})

    def power(base: Any, exponent: Any) -> Any:
        if not exponent.is_number:
            return Power(base, exponent)
        return base ** (sympy.Rational(1, 2) if exponent == 0.5 else exponent)

    return {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "neg": lambda a: -a,
        "**": power,
        "exp": sympy.exp,
        "log": sympy.log,
        "sqrt": sympy.sqrt,
        "tanh": sympy.tanh,
        "min": chooser("Lesser", -1),
        "max": chooser("Greater", 1),
        "heaviside": sympy.Heaviside,
    }


def _to_tree(formula: Any, names: dict[Any, str]) -> Tree:
    """Write a sympy formula in the operations of the allow-list."""
    if formula.is_number:
        return _to_float(formula)
    if formula.is_Symbol:
        return names[formula]
    if formula.is_Add:
        return functools.reduce(_plus, [_to_tree(term, names) for term in formula.args])
    if formula.is_Mul:
        return _product(formula, names)
    if formula.is_Pow:
        return _power(formula.base, formula.exp, names)
    kind = type(formula).__name__
    operands = [_to_tree(part, names) for part in formula.args]
    if kind in _OWN:
        return (_OWN[kind], *operands)
    if kind == "Heaviside" and operands[1] == 0.5:
        return ("heaviside", operands[0])
    if kind == "Abs":
        return ("max", operands[0], ("neg", operands[0]))
    if kind == "sign":
        return ("-", ("*", 2.0, ("heaviside", operands[0])), 1.0)
    if kind in ("exp", "log", "tanh"):
        return (kind, operands[0])
    raise ValueError(f"it needs {kind}")


def _to_float(formula: Any) -> float:
    if formula.is_Rational:
        return int(formula.p) / int(formula.q)
    if not formula.is_Float:
        formula = formula.evalf(20)
    value = float(formula)
    if not math.isfinite(value):
        raise ValueError("it is infinite")
    return value


def _plus(total: Tree, term: Tree) -> Tree:
    if isinstance(term, tuple) and term[0] == "neg":
        return ("-", total, term[1])
    if isinstance(term, float) and term < 0:
        return ("-", total, -term)
    return ("+", total, term)


def _product(formula: Any, names: dict[Any, str]) -> Tree:
    """Collect factors with negative powers below one fraction line."""
    coefficient, rest = formula.as_coeff_Mul()
    above: list[Any] = []
    below: list[Any] = []
    for factor in rest.args if rest.is_Mul else [rest]:
        inverse = factor.is_Pow and factor.exp.is_number and factor.exp.is_negative
        (below if inverse else above).append(1 / factor if inverse else factor)
    scale = _to_float(coefficient)
    trees = [_to_tree(factor, names) for factor in above]
    if abs(scale) != 1 or not trees:
        trees.insert(0, abs(scale))
    tree = functools.reduce(lambda a, b: ("*", a, b), trees)
    if below:
        tree = ("/", tree, functools.reduce(lambda a, b: ("*", a, b), [_to_tree(factor, names) for factor in below]))
    return ("neg", tree) if scale < 0 else tree


def _power(base: Any, exponent: Any, names: dict[Any, str]) -> Tree:
    if not exponent.is_number:
        return ("**", _to_tree(base, names), _to_tree(exponent, names))
    value, below = abs(_to_float(exponent)), exponent.is_negative
    tree = _to_tree(base, names)
    if value == 0.5:
        tree = ("sqrt", tree)
    elif value != 1:
        tree = ("**", tree, value)
    return ("/", 1.0, tree) if below else tree
