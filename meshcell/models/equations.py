"""A model as people read it: a table for the screen, equations in LaTeX for notebooks and papers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from meshcell.core import units
from meshcell.models import expressions
from meshcell.models.compartments import Well, pairs, place_text
from meshcell.models.expressions import POSITION
from meshcell.models.formula_trees import FUNCTIONS, Tree, read_whole
from meshcell.models.parameters import Field, written
from meshcell.models.species import Described, Species, diffusion_parts, written_diffusion


def table(model: Described) -> str:
    """Write all parts of a model in columns."""
    tables = {
        "compartment": (["place"], [[name, place_text(place)] for name, place in model.compartments.items()]),
        "species": (
            ["compartment", "diffusion", "initial"],
            [[s.name, s.compartment, written_diffusion(s.diffusion), written(s.initial)] for s in model.species],
        ),
        "fixed": (["on", "value"], [[s.name, on, written(v)] for s in model.species for on, v in s.fixed.items()]),
        "reaction": (
            ["compartment", "rate", "change"],
            [[r.name, r.compartment, r.rate, _change_text(r.change)] for r in model.reactions],
        ),
        "parameter": (["value"], [[name, written(value)] for name, value in model.parameters.items()]),
    }
    counts = [(model.compartments, "compartments"), (model.reactions, "reactions"), (model.parameters, "parameters")]
    head = f"Model: {len(model.species)} species, " + ", ".join(f"{len(items)} {word}" for items, word in counts)
    return "\n".join([head, *(_columns([title, *rest], rows) for title, (rest, rows) in tables.items() if rows)])


def latex(model: Described) -> str:
    """Write the equations of a model: one per species, its fluxes per interface, fixed values, and the rates.

    Returns
    -------
    str
        An `aligned` block without dollar signs. n is the normal out of the species' compartment, Delta_Gamma the
        Laplacian along an interface, v_r the rate of reaction r.
    """
    lines = [line for species in model.species for line in _species_lines(model, species)]
    lines += [
        rf"v_{{{_word(item.name)}}} &= {formula(item.formula.tree)} "
        rf"&& \text{{{'on' if is_interface(model, item.compartment) else 'in'} {_escaped(item.compartment)}}}"
        for item in model.reactions
    ]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def formula(tree: Tree) -> str:
    r"""Write a tree in LaTeX.

    Examples
    --------
    >>> print(formula(("/", ("*", "v", "Ca"), ("+", "K", "Ca"))))
    \frac{v\,\mathrm{Ca}}{K + \mathrm{Ca}}
    """
    return _text_and_rank(tree)[0]


# --- equations ---


def _species_lines(model: Described, species: Species) -> list[str]:
    name, home = symbol(species.name), species.compartment
    gains: dict[str, list[str]] = {}
    for item in model.reactions:
        if item.change.get(species.name):
            gains.setdefault(item.compartment, []).append(_gain(item.change[species.name], item.name))
    on_surface = is_interface(model, home)
    # A reaction in a part of the species' own kind of place is a source; one on an interface of its region, a flux.
    inner = [place for place in gains if place == home or is_interface(model, place) == on_surface]
    laplacian, on = (r"\Delta_\Gamma", r"_\Gamma") if on_surface else (r"\nabla^2", "")
    terms = []
    diffusion = rf"D_{{{_word(species.name)}}}"
    if _varies(species):
        terms.append(rf"+ \nabla{on} \cdot \left({diffusion} \nabla{on} {name}\right)")
    elif species.diffusion_constant != 0:
        terms.append(rf"+ {diffusion} {laplacian} {name}")
    for place in inner:
        where = "" if place == home else rf"\,[\text{{{_escaped(place)}}}]"
        terms += [term + where for term in gains[place]]
    side = rf"&& \text{{{'on' if on_surface else 'in'} {_escaped(home)}}}"
    lines = [rf"\partial_t {name} &= {_sum(terms)} {side}"]
    for place, own in gains.items():
        if place not in inner and place not in species.fixed:
            flux = rf"{diffusion}\, \partial_n {name}" if species.diffusion_constant != 0 else r"j_n"
            lines.append(rf"{flux} &= {_sum(own)} && \text{{on {_escaped(place)}}}")
    for place, value in species.fixed.items():
        lines.append(rf"{name} &= {_value(value)} && \text{{on {_escaped(place)}}}")
    return lines


def _varies(species: Species) -> bool:
    """Tell whether diffusion may differ from place to place or way to way, as far as the species says it."""
    (part, value), *_ = diffusion_parts(species)
    if part is not None or isinstance(value, (Field, tuple)):
        return True
    if species.diffusion_constant is not None:
        return False
    return not set(POSITION).isdisjoint(expressions.parse(value).names)


def _value(value: object) -> str:
    if isinstance(value, str) and not units.is_quantity_text(value):
        return formula(expressions.parse(value).tree)
    return rf"\text{{{_escaped(written(value))}}}"


def _gain(change: float, reaction: str) -> str:
    factor = "" if abs(change) == 1 else f"{abs(change):g}\\,"
    return f"{'+' if change > 0 else '-'} {factor}v_{{{_word(reaction)}}}"


def _sum(terms: list[str]) -> str:
    return " ".join(terms).removeprefix("+ ") or "0"


def is_interface(model: Described, compartment: str) -> bool:
    """Tell an interface or patch from a region, as far as the model says it.

    A name that no pair mentions is taken for a region, unless a reaction on it changes species of another place.
    """
    place = model.compartments[compartment]
    if pairs(place):
        return True
    if isinstance(place, Well):
        return False
    homes = {item.name: item.compartment for item in model.species}
    for item in model.reactions:
        if item.compartment == compartment:
            for species in item.change:
                other = model.compartments[homes[species]]
                if homes[species] != compartment and isinstance(other, str) and str(place) not in other.split(" + "):
                    return True
    return False


# --- formulas ---

_GREEK = {"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi"}
_GREEK |= {"pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"}
_RANKS = {"or": -2, "and": -1, "<": 0, "<=": 0, ">": 0, ">=": 0, "+": 1, "-": 1, "*": 2, "neg": 2, "/": 4, "**": 3}
_SIGNS = {"*": r"\,", "<=": r" \le ", ">=": r" \ge ", "and": r" \wedge ", "or": r" \vee "}
_FENCES = {"abs": ("|", "|"), "floor": (r"\lfloor", r"\rfloor"), "ceil": (r"\lceil", r"\rceil")}
_FUNCTION_NAMES = {
    "log10": r"\log_{10}",
    "asin": r"\arcsin",
    "acos": r"\arccos",
    "atan": r"\arctan",
    "atan2": r"\operatorname{atan2}",
    "sign": r"\operatorname{sgn}",
}


def symbol(name: str) -> str:
    """Write a name: one letter as it is, longer ones upright, what follows the first underscore below the line."""
    if (found := read_whole(name)) is not None:
        kind, species, place = found
        left, right = (r"\langle ", r" \rangle") if kind == "mean" else (r"\textstyle\int ", "")
        return rf"{left}{symbol(species)}{right}" + ("" if place is None else rf"_{{\text{{{_escaped(place)}}}}}")
    head, _, tail = name.partition("_")
    if not head:
        return rf"\mathrm{{{_escaped(name)}}}"
    first = head if len(head) == 1 else rf"\{head}" if head in _GREEK else rf"\mathrm{{{head}}}"
    return rf"{first}_{{\mathrm{{{_escaped(tail)}}}}}" if tail else first


def _word(name: str) -> str:
    return rf"\mathrm{{{_escaped(name)}}}"


def _escaped(text: str) -> str:
    return "".join("\\" + sign if sign in "_%#&$^{}" else sign for sign in text)


def _text_and_rank(tree: Tree) -> tuple[str, int]:
    if isinstance(tree, str):
        return symbol(tree), 5
    if not isinstance(tree, tuple):
        return _number(tree), 5 if tree >= 0 else 2
    operation, *operands = tree
    if operation == "/" and isinstance(operands[0], tuple) and operands[0][0] == "neg":
        return f"-{formula(('/', operands[0][1], operands[1]))}", 2
    if operation == "/":
        return rf"\frac{{{formula(operands[0])}}}{{{formula(operands[1])}}}", 4
    if operation == "sqrt":
        return rf"\sqrt{{{formula(operands[0])}}}", 5
    if operation == "heaviside":
        return rf"\Theta\left({formula(operands[0])}\right)", 5
    if operation in _FENCES:
        left, right = _FENCES[operation]
        return rf"\left{left} {formula(operands[0])} \right{right}", 5
    if operation == "where":
        condition, a, b = map(formula, operands)
        return rf"\begin{{cases}} {a} & \text{{if }} {condition} \\ {b} & \text{{otherwise}} \end{{cases}}", 5
    if operation in FUNCTIONS:
        name = _FUNCTION_NAMES.get(operation, rf"\{operation}")
        return rf"{name}\left({', '.join(formula(operand) for operand in operands)}\right)", 5
    if operation == "neg":
        return f"-{_bracketed(operands[0], 2)}", 2
    if operation == "**":
        return f"{_bracketed(operands[0], 5)}^{{{formula(operands[1])}}}", 3
    rank = _RANKS[operation]
    left, right = _bracketed(operands[0], rank), _bracketed(operands[1], rank if operation == "+" else rank + 1)
    # A number after a number would read as one.
    between = (
        r" \cdot " if operation == "*" and isinstance(operands[1], float) else _SIGNS.get(operation, f" {operation} ")
    )
    return f"{left}{between}{right}", rank


def _number(value: float) -> str:
    if value == math.pi:
        return r"\pi"
    mantissa, _, exponent = f"{value:.6g}".partition("e")
    return mantissa if not exponent else rf"{mantissa} \cdot 10^{{{int(exponent)}}}"


def _bracketed(tree: Tree, least_rank: int) -> str:
    text, rank = _text_and_rank(tree)
    return text if rank >= least_rank else rf"\left({text}\right)"


# --- columns ---


def _change_text(change: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:+g}" for name, value in change.items())


def _columns(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    )
