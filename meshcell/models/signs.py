"""Which species may be below zero, and rates that make nothing of what the solver leaves below it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection
from typing import Any

from meshcell.models.consistency import initial_unit
from meshcell.models.expressions import Expression
from meshcell.models.formula_trees import NUMPY, SCALAR, Tree, names, read_whole, to_text, walk
from meshcell.models.model import Model
from meshcell.models.species import Reaction

Interval = tuple[float, float]

ANY: Interval = (-math.inf, math.inf)
POSITIVE: Interval = (0.0, math.inf)


def clipped(formula: Expression, species: Collection[str]) -> Expression:
    """Put max(u, 0) for every concentration u under a root, a logarithm or a power that is no whole number.

    Stages of a step may be below zero by rounding, where such functions have no value. Derivatives are taken first and
    clipped then, so that they are one-sided and continuous at zero.

    Examples
    --------
    >>> from meshcell.models.expressions import parse
    >>> str(clipped(parse("u**2.7/(K + u**2)"), ["u"]))
    'max(u, 0)**2.7/(K + u**2)'
    """

    def leaf(part: Tree) -> tuple[Tree, Tree]:
        return part, (("max", part, 0.0) if part in species else part)

    def node(operation: str, *operands: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
        plain, positive = zip(*operands, strict=True)
        if _wants_positive(operation, plain):
            plain = (positive[0], *plain[1:])
        return (operation, *plain), (operation, *positive)

    tree = walk(formula.tree, {operation: functools.partial(node, operation) for operation in NUMPY}, leaf)[0]
    return formula if tree == formula.tree else Expression(to_text(tree), tree, names(tree))


def _wants_positive(operation: str, operands: tuple[Tree, ...]) -> bool:
    if operation == "**":
        return not (isinstance(operands[1], float) and operands[1].is_integer())
    return operation in ("sqrt", "log", "log10")


def perhaps_signed(model: Model) -> tuple[str, ...]:
    """List species without units that may be potentials or deviations rather than concentrations.

    Such a one has an equation for itself: a reaction that adds it alone, at a rate that depends on it and can be
    negative while it is zero. What is written with a unit of concentration is one.
    """
    # Those that say so are signed for certain.
    said = [item.name for item in model.species if item.signed]
    found: list[str] = list(said)
    for _ in model.species:
        more = [
            item.name
            for item in model.species
            if item.name not in found
            and initial_unit(model, item) is None
            and any(_pulls(model, reaction, item.name, found) for reaction in model.reactions)
        ]
        if not more:
            break
        found += more
    return tuple(found[len(said) :])


def _pulls(model: Model, reaction: Reaction, name: str, signed: Collection[str]) -> bool:
    """Tell whether a reaction that changes one species alone may take it below zero at a negative rate."""
    if list(reaction.change) != [name] or reaction.change[name] < 0:
        return False
    rate = model.rates[reaction.name]

    def leaf(part: Any) -> Interval:
        if isinstance(part, float):
            return part, part
        _, read, _ = read_whole(part) or ("", part, None)
        return (0.0, 0.0) if read == name else ANY if read in signed else POSITIVE

    read = [(read_whole(part) or ("", part))[1] for part in rate.names]
    return name in read and bool(walk(rate.tree, _INTERVALS, leaf)[0] < 0)


# --- intervals ---


def _product(a: float, b: float) -> float:
    # An end at infinity is not reached: nothing times it is nothing.
    return 0.0 if a == 0 or b == 0 else a * b


def _times(a: Interval, b: Interval) -> Interval:
    ends = [_product(x, y) for x in a for y in b]
    return min(ends), max(ends)


def _over(a: Interval, b: Interval) -> Interval:
    if b[0] < 0:
        return ANY
    return _times(a, (1 / b[1] if b[1] else math.inf, 1 / b[0] if b[0] else math.inf))


def _power(base: Interval, exponent: Interval) -> Interval:
    n = exponent[0]
    if n != exponent[1] or n != int(n) or base[0] >= 0:
        return POSITIVE
    return POSITIVE if n % 2 == 0 else ANY


def _monotone(function: Callable[..., float], *intervals: Interval) -> Interval:
    low, high = (function(*ends) for ends in zip(*intervals, strict=True))
    return float(low), float(high)


_MONOTONE = ("tanh", "atan", "sign", "floor", "ceil", "min", "max", "heaviside")
_INTERVALS: dict[str, Callable[..., Interval]] = {operation: lambda *_: POSITIVE for operation in NUMPY} | {
    "+": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "-": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "neg": lambda a: (-a[1], -a[0]),
    "*": _times,
    "/": _over,
    "**": _power,
    **dict.fromkeys(("log", "log10", "tan", "sinh"), lambda _: ANY),
    **dict.fromkeys(("sin", "cos"), lambda _: (-1.0, 1.0)),
    "asin": lambda _: (-math.pi / 2, math.pi / 2),
    "atan2": lambda _, __: (-math.pi, math.pi),
    "where": lambda _, a, b: (min(a[0], b[0]), max(a[1], b[1])),
    **{name: functools.partial(_monotone, SCALAR[name]) for name in _MONOTONE},
}
