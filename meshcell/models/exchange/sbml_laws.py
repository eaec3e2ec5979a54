"""Kinetic laws on their way into a model: rules put in, amounts turned into concentrations, sizes taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from meshcell.models.compartments import Place, Well, pairs, reaches
from meshcell.models.exchange.sbml_parts import Contents, names_in
from meshcell.models.formula_trees import FOLDING, SCALAR, Tree, folded, names, walk


def substituted(tree: Tree, trees: Mapping[str, Tree]) -> Tree:
    """Put trees in the place of names.

    Examples
    --------
    >>> substituted(("*", "k", "A"), {"k": ("+", 1.0, "b")})
    ('*', ('+', 1.0, 'b'), 'A')
    """
    return walk(tree, FOLDING, lambda leaf: trees.get(leaf, leaf) if isinstance(leaf, str) else leaf)  # type: ignore[no-any-return]


def without_rules(contents: Contents) -> Callable[[Tree], Tree]:
    """Return a function that puts into a tree what rules, rates and stoichiometries stand for.

    Raises
    ------
    ValueError
        Rules that need each other.
    """
    definitions: dict[str, Tree] = {
        **contents.assigned,
        **{name: item.law for name, item in contents.reactions.items()},
        **contents.stoichiometries,
    }
    done: dict[str, Tree] = {}

    def plain(tree: Tree, above: tuple[str, ...] = ()) -> Tree:
        needed = [name for name in names_in(tree) if name in definitions]
        for name in needed:
            if name in above:
                circle = " -> ".join([*above[above.index(name) :], name])
                raise ValueError(
                    f"rules should not need each other; got {circle}; write one of them without the others"
                )
            if name not in done:
                done[name] = plain(definitions[name], (*above, name))
        return substituted(tree, {f"${name}": done[name] for name in needed}) if needed else tree

    return plain


def over(tree: Tree, name: str) -> Tree | None:
    """Divide a tree by one of its names where that is a factor of it; None where it is none.

    Examples
    --------
    >>> over(("-", ("*", ("*", "V", "k"), "A"), ("*", "j", "V")), "V"), over(("+", "V", "A"), "V")
    (('-', ('*', 'k', 'A'), 'j'), None)
    """
    if not isinstance(tree, tuple):
        return 1.0 if tree == name else 0.0 if tree == 0 else None
    operation, *operands = tree
    if operation == "*":
        for row in (0, 1):
            found = over(operands[row], name)
            if found is not None:
                return product(found, operands[1]) if row == 0 else product(operands[0], found)
        return None
    if operation == "/":
        above = over(operands[0], name)
        return None if above is None else folded("/", above, operands[1])
    if operation == "**" and operands[0] == name and isinstance(operands[1], float) and operands[1] >= 1:
        return name if operands[1] == 2 else folded("**", name, operands[1] - 1) if operands[1] != 1 else 1.0
    first = 1 if operation == "where" else 0
    if operation in ("neg", "+", "-", "where"):
        found_all = [over(operand, name) for operand in operands[first:]]
        if all(found is not None for found in found_all):
            return folded(operation, *operands[:first], *(found for found in found_all if found is not None))
    return None


def product(a: Tree, b: Tree) -> Tree:
    """Multiply, without factors of 1."""
    return b if a == 1.0 else a if b == 1.0 else folded("*", a, b)


def without_fractions(tree: Tree, sizes: Iterable[str]) -> Tree:
    """Cancel sizes that stand above and below, as in A*V/V.

    Examples
    --------
    >>> without_fractions(("/", ("*", "A", "V"), "V"), ["V"]), without_fractions(("*", "k", ("/", "V", "V")), ["V"])
    ('A', 'k')
    """
    known = set(sizes)

    def fraction(above: Tree, below: Tree) -> Tree:
        if isinstance(below, str) and below in known:
            found = over(above, below)
            if found is not None:
                return found
        return folded("/", above, below)

    return walk(tree, {**FOLDING, "/": fraction, "*": product}, lambda leaf: leaf)  # type: ignore[no-any-return]


def per_size(law: Tree, size: str, sizes: Iterable[str]) -> Tree:
    """Divide an extensive law by the size of the place where it holds."""
    clean = without_fractions(law, sizes)
    found = over(clean, size)
    return folded("/", clean, size) if found is None else found


# --- where a reaction is ---


def home_of(
    name: str, law: Tree, contents: Contents, places: Mapping[str, Place], asked: Mapping[str, str]
) -> str | list[str]:
    """Return the compartment of a reaction, or those of its species where it could be anywhere among them.

    What the caller says comes first, then the interface whose area is a factor of the law, the compartment that the
    file names, the one compartment of all that takes part, and the one interface that all of it touches.
    """
    if name in asked:
        return asked[name]
    reaction = contents.reactions[name]
    partners = [*reaction.partners, *(own for own in names_in(law) if own in contents.species)]
    homes = list(dict.fromkeys(contents.species[own].compartment for own in partners))
    # Pools are read and changed from anywhere.
    fixed = [home for home in homes if not isinstance(places[home], Well)]
    touched = [own for own in places if all(own == home or reaches(places[home], places[own]) for home in fixed)]
    skins = [own for own in touched if pairs(places[own])]
    factors = [own for own in skins if over(law, f"${own}") not in (None, 0.0)]
    if len(factors) == 1:
        return factors[0]
    if reaction.compartment in touched:
        return str(reaction.compartment)
    if len(fixed or homes) == 1:
        return (fixed or homes)[0]
    return skins[0] if fixed and len(skins) == 1 else homes


# --- numbers ---


class Numbers:
    """What everything in a file is at time 0, in the file's units.

    Parameters
    ----------
    contents : Contents
    sizes : mapping of str to float
        Compartment -> size in the unit of the file, those that the caller gave among them.
    """

    def __init__(self, contents: Contents, sizes: Mapping[str, float]) -> None:
        self._contents, self._sizes = contents, sizes
        self._found: dict[str, float] = {}
        self._pending: list[str] = []

    def size(self, name: str) -> float:
        """Return the size of a compartment."""
        if name in self._contents.started and name not in self._sizes:
            return self[name]
        if name not in self._sizes:
            raise ValueError(
                f"the size of compartment {name!r} is needed and neither file nor call gives it; give it, as in "
                f'sizes={{"{name}": "1 um^3"}} (on an interface um^2)'
            )
        return self._sizes[name]

    def __getitem__(self, name: str) -> float:
        if name in self._pending:
            raise ValueError(
                f"initial values should not need each other; got {' -> '.join([*self._pending, name])}; give one of "
                "them as a number"
            )
        if name not in self._found:
            self._pending.append(name)
            self._found[name] = self._compute(name)
            self._pending.pop()
        return self._found[name]

    def _compute(self, name: str) -> float:
        contents = self._contents
        for trees in (contents.started, contents.assigned):
            if name in trees:
                return self.of(trees[name], f"the initial value of {name!r}")
        if name in contents.compartments or name in self._sizes:
            return self.size(name)
        if name in contents.reactions:
            return self.of(contents.reactions[name].law, f"the rate of {name!r}")
        if name in contents.stoichiometries:
            return contents.stoichiometries[name]
        if name in contents.species:
            return self._symbol(name)
        if name not in contents.parameters:
            # An interface that the caller has added.
            return self.size(name)
        value = contents.parameters[name]
        if value is None:
            raise ValueError(f"parameter {name!r} has no value in the file; give it one there")
        return value

    def _symbol(self, name: str) -> float:
        item = self._contents.species[name]
        # Without a value a species is not there: most files leave out zeros, and the reader is told.
        value = 0.0 if item.initial is None else item.initial
        if item.is_amount == item.initial_is_amount or value == 0:
            return value
        size = self.size(item.compartment)
        return value / size if item.initial_is_amount else value * size

    def concentration(self, name: str) -> float:
        """Return the initial concentration of a species."""
        item, value = self._contents.species[name], self[name]
        return value / self.size(item.compartment) if item.is_amount and value else value

    def of(self, tree: Tree, what: str) -> float:
        """Return the value of a tree at time 0."""
        values = {name: 0.0 if name == "t" else self[name.removeprefix("$")] for name in names(tree)}
        try:
            return float(walk(tree, SCALAR, lambda leaf: values[leaf] if isinstance(leaf, str) else leaf))
        except (ArithmeticError, ValueError) as error:
            raise ValueError(
                f"{what} should be a finite number; computing it failed: {error}; correct the file"
            ) from error
