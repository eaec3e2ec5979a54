"""Exact derivatives of expression trees: partial derivatives of the operations and the chain rule.

Every product is written as one coefficient and powers of different bases, so that derivatives stay as short as by hand
and finite where they are: x**2/x, x*sqrt(x) or sqrt(x**2) give no 0/0 at x = 0, where simulations start.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from meshcell.models.formula_trees import CONDITIONS, Tree, folded, to_text, walk

# (x/K)**n is spread out into powers of x and K up to this n; beyond it K**n would leave the range of floats.
MAX_SPREAD = 32

# Operation -> its derivatives by each operand. At the kink of min, max and abs both sides have a half; jumps (of
# heaviside, sign, floor, ceil and where) have none, and a condition is a jump.
_PARTIALS: dict[str, tuple[Callable[..., Tree], ...]] = {
    "+": (lambda a, b: 1.0, lambda a, b: 1.0),
    "-": (lambda a, b: 1.0, lambda a, b: -1.0),
    "*": (lambda a, b: b, lambda a, b: a),
    "/": (lambda a, b: ("/", 1.0, b), lambda a, b: ("neg", ("/", a, ("**", b, 2.0)))),
    "neg": (lambda a: -1.0,),
    # Not b a**b / a, which would be nan at a = 0.
    "**": (
        lambda a, b: ("*", b, ("**", a, _sum(b, -1.0))),
        lambda a, b: ("*", folded("log", a), ("**", a, b)),
    ),
    "exp": (lambda a: ("exp", a),),
    "log": (lambda a: ("/", 1.0, a),),
    "sqrt": (lambda a: ("/", 0.5, ("sqrt", a)),),
    "log10": (lambda a: ("/", 1 / math.log(10), a),),
    "sin": (lambda a: ("cos", a),),
    "cos": (lambda a: ("neg", ("sin", a)),),
    "tan": (lambda a: ("+", 1.0, ("**", ("tan", a), 2.0)),),
    "asin": (lambda a: ("/", 1.0, ("sqrt", _one_less_square(a))),),
    "acos": (lambda a: ("/", -1.0, ("sqrt", _one_less_square(a))),),
    "atan": (lambda a: ("/", 1.0, ("+", 1.0, ("**", a, 2.0))),),
    "atan2": (
        lambda a, b: ("/", b, ("+", ("**", a, 2.0), ("**", b, 2.0))),
        lambda a, b: ("neg", ("/", a, ("+", ("**", a, 2.0), ("**", b, 2.0)))),
    ),
    "sinh": (lambda a: ("cosh", a),),
    "cosh": (lambda a: ("sinh", a),),
    "tanh": (lambda a: _one_less_square(("tanh", a)),),
    "abs": (lambda a: folded("sign", a),),
    "sign": (lambda a: 0.0,),
    "floor": (lambda a: 0.0,),
    "ceil": (lambda a: 0.0,),
    "min": (lambda a, b: _step(b, a), lambda a, b: _step(a, b)),
    "max": (lambda a, b: _step(a, b), lambda a, b: _step(b, a)),
    "heaviside": (lambda a: 0.0,),
    **dict.fromkeys(CONDITIONS, (lambda a, b: 0.0, lambda a, b: 0.0)),
}


@functools.lru_cache(maxsize=4096)
def derivative(tree: Tree, name: str) -> Tree:
    """Differentiate a tree with respect to a name.

    Raises
    ------
    ValueError
        A derivative that is nowhere a real number, or has a constant that is not finite.

    Examples
    --------
    >>> to_text(derivative(("/", ("*", "v", "Ca"), ("+", "K", "Ca")), "Ca"))
    'v/(K + Ca) - v*Ca/(K + Ca)**2'
    """

    def with_slope(operation: str, *operands: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
        trees = [operand for operand, _ in operands]
        moving = [(k, slope) for k, (_, slope) in enumerate(operands) if slope != 0]
        terms = (_product(_PARTIALS[operation][k](*trees), slope) for k, slope in moving)
        total: Tree = functools.reduce(_sum, terms, 0.0)  # type: ignore[arg-type]
        return (operation, *trees), total

    def chosen(condition: tuple[Tree, Tree], a: tuple[Tree, Tree], b: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
        # Not a product with 0 or 1: the slope that is not chosen may be infinite.
        same = a[1] == b[1]
        return ("where", condition[0], a[0], b[0]), a[1] if same else ("where", condition[0], a[1], b[1])

    rules: dict[str, Callable[..., Any]] = {op: functools.partial(with_slope, op) for op in _PARTIALS}
    rules["where"] = chosen
    try:
        slope: Tree = walk(tree, rules, lambda leaf: (leaf, 1.0 if leaf == name else 0.0))[1]
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"the derivative of {to_text(tree)!r} by {name} cannot be written ({error})") from error
    return slope


# --- sums and products ---


def _sum(a: Tree, b: Tree) -> Tree:
    """Add two trees; multiples of one product become one."""
    own: dict[Tree, float] = {}
    other: dict[Tree, float] = {}
    first, second = _collect(a, 1.0, own), _collect(b, 1.0, other)
    if own == other or first == 0:
        return _written(first + second, other)
    if second == 0:
        return a
    if second < 0:
        return ("-", a, _written(-second, other))
    return ("-", b, _written(-first, own)) if first < 0 else ("+", a, b)


def _product(a: Tree, b: Tree) -> Tree:
    powers: dict[Tree, float] = {}
    return _written(_collect(a, 1.0, powers) * _collect(b, 1.0, powers), powers)


def _one_less_square(a: Tree) -> Tree:
    return ("-", 1.0, ("**", a, 2.0))


def _step(a: Tree, b: Tree) -> Tree:
    """Where a > b."""
    return folded("heaviside", _sum(a, _product(-1.0, b)))


def _collect(tree: Tree, power: float, powers: dict[Tree, float]) -> float:
    """Multiply a product of `powers` (base -> exponent) by tree**power, `power` whole; return the coefficient."""
    match tree:
        case float():
            return math.pow(tree, power)
        case ("neg", a):
            return math.pow(-1.0, power) * _collect(a, power, powers)
        case ("+", 0.0, a) | ("+" | "-", a, 0.0):
            return _collect(a, power, powers)
        case ("*", a, b):
            return _collect(a, power, powers) * _collect(b, power, powers)
        case ("/", a, b):
            return _collect(a, power, powers) * _collect(b, -power, powers)
        case ("**", a, float(exponent)) if exponent.is_integer():
            if abs(exponent * power) <= MAX_SPREAD:
                return _collect(a, exponent * power, powers)
            scale, base = 1.0, a
        case ("**", a, float(exponent)):
            scale, base, exponent = _root(a, exponent)
        case ("sqrt", a):
            scale, base, exponent = _root(a, 0.5)
        case _:
            scale, base, exponent = 1.0, tree, 1.0
    powers[base] = powers.get(base, 0.0) + exponent * power
    return math.pow(scale, power)


def _root(tree: Tree, exponent: float) -> tuple[float, Tree, float]:
    """Write tree**exponent as a coefficient and a power of one base; a root of several factors is left as it is."""
    powers: dict[Tree, float] = {}
    scale = _collect(tree, 1.0, powers)
    if len(powers) != 1:
        return 1.0, tree, exponent
    ((base, power),) = powers.items()
    if scale <= 0 and power % 2:
        return 1.0, tree, exponent
    if power % 2 == 0 and power * exponent % 2:
        # sqrt(x**2) is |x|.
        base = ("abs", base)
    return math.pow(scale, exponent), base, power * exponent


def _written(scale: float, powers: dict[Tree, float]) -> Tree:
    """Write a product as one fraction."""
    if not math.isfinite(scale):
        raise ValueError("it is infinite")
    powers = _with_signs(powers) if scale else {}
    above = [_raised(base, power) for base, power in powers.items() if power > 0]
    below = [_raised(base, -power) for base, power in powers.items() if power < 0]
    negated = scale == -1 and bool(above)
    if abs(scale) != 1 or not above:
        above.insert(0, scale)
    tree = functools.reduce(_times, above)
    if below:
        tree = ("/", tree, functools.reduce(_times, below))
    return ("neg", tree) if negated else tree


def _with_signs(powers: dict[Tree, float]) -> dict[Tree, float]:
    """Write x/|x| as the sign of x, which is 0 at 0."""
    signed = dict(powers)
    for size, power in powers.items():
        match size:
            case ("abs", x) if power < 0 and powers.get(x, 0.0) % 2 == 1:
                signed[size] += signed.pop(x)
                signed["sign", x] = 1.0
    return signed


def _raised(base: Tree, power: float) -> Tree:
    return base if power == 1 else ("sqrt", base) if power == 0.5 else ("**", base, power)


def _times(a: Tree, b: Tree) -> Tree:
    return ("*", a, b)
