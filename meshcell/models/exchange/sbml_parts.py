"""What an SBML model says, taken out of libsbml: numbers, units and trees; what a model of ours cannot say is noted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshcell.core.hints import nearest
from meshcell.core.units import NO_UNIT
from meshcell.models.exchange.mathml import UnknownMathError, tree_of
from meshcell.models.exchange.sbml_document import library
from meshcell.models.exchange.scaled_units import Scaled, definition, model_unit
from meshcell.models.formula_trees import FOLDING, Tree, names, walk

# What SBML Level 2 means where it says nothing, and what is assumed of Level 3.
LEVEL_2 = {"substance": "mole", "volume": "litre", "area": "m^2", "length": "m", "time": "second"}
ASSUMED = {"substance": "umol", "volume": "litre", "area": "um^2", "length": "um", "time": "second"}
OF_DIMENSION = {3: "volume", 2: "area", 1: "length"}

REMEDIES = {
    "events": "write what they do as a piecewise in time within a rate, or run up to the event and on from there",
    "algebraic rules": "solve them for one of their variables and write an assignment rule",
    "delays": "write the delay as a chain of first-order reactions",
    "fast reactions": "give them rates of their own and fast=false",
    "conversion factors": "write the factor into the kinetic law or the stoichiometry",
    "packages": "save the model as SBML core (a hierarchical one flattened), without the package",
    "rate rules on parameters": "make it a species that is produced at this rate (a boundary species may have a rule)",
    "compartments whose size changes": "give them a constant size; a mesh does not grow",
    "compartments without volume or area": "move their species to one of 2 or 3 dimensions",
    "reactions without a rate": "give each a kinetic law",
    "stoichiometries that are formulas": "write them as numbers",
    "species that a rule sets although reactions change them": "make them boundary species, or drop rule or reactions",
    "mathematics that rates do not have": "write it by + - * / ^, piecewise and the functions of README",
    "units": "give it in mole, item, litre, metre, second and the like",
}


@dataclass(frozen=True)
class FileCompartment:
    """A compartment as the file has it; `size` in `unit`, None where the file has none."""

    dimension: int
    size: float | None
    unit: Scaled
    # Whether the unit is the file's own, not a default.
    explicit: bool


@dataclass(frozen=True)
class FileSpecies:
    """A species as the file has it; its symbol means an amount or a concentration."""

    compartment: str
    is_amount: bool
    initial: float | None
    initial_is_amount: bool
    # No reaction changes it.
    held: bool
    substance: Scaled


@dataclass(frozen=True)
class FileReaction:
    """A reaction as the file has it; its law is in substance per time."""

    compartment: str | None
    change: dict[str, float]
    partners: tuple[str, ...]
    law: Tree


@dataclass
class Contents:
    """All of a model; trees hold the identifiers of the file with a $ before them, and t."""

    base: dict[str, Scaled]
    assumed: dict[str, str]
    compartments: dict[str, FileCompartment] = field(default_factory=dict)
    species: dict[str, FileSpecies] = field(default_factory=dict)
    parameters: dict[str, float | None] = field(default_factory=dict)
    declared: dict[str, Scaled] = field(default_factory=dict)
    reactions: dict[str, FileReaction] = field(default_factory=dict)
    stoichiometries: dict[str, float] = field(default_factory=dict)
    assigned: dict[str, Tree] = field(default_factory=dict)
    started: dict[str, Tree] = field(default_factory=dict)
    rates: dict[str, Tree] = field(default_factory=dict)
    # Kind of what a model of ours cannot say -> where it is.
    problems: dict[str, list[str]] = field(default_factory=dict)

    def note(self, kind: str, where: str) -> None:
        """Remember something that a model of ours cannot say."""
        self.problems.setdefault(kind, []).append(where)

    def refuse(self) -> None:
        """Raise one error for all that cannot be said, if there is any."""
        if self.problems:
            listed = "; ".join(
                f"{kind} ({', '.join(found)}): {REMEDIES[kind]}" for kind, found in self.problems.items()
            )
            raise ValueError(f"the model should hold only what a meshcell model has; it also has {listed}")


def contents_of(document: Any, units: Mapping[str, Any]) -> Contents:
    """Take everything out of a document.

    Parameters
    ----------
    document : libsbml.SBMLDocument
    units : mapping of str to text
        "substance", "volume", "area", "length", "time" -> the unit, where the file has none or another is meant.

    Raises
    ------
    ValueError
        All that a model of ours cannot say, by name, with remedies.
    """
    model = document.getModel()
    contents = _with_base(model, units)
    _packages(document, contents)
    functions = {item.getId(): item for item in each(model.getListOfFunctionDefinitions())}
    read = _reader(contents, functions)
    _compartments(model, contents)
    _species(model, contents)
    _parameters(model.getListOfParameters(), contents)
    for item in each(model.getListOfReactions()):
        _reaction(item, contents, read)
    _rules(model, contents, read)
    contents.refuse()
    return contents


def each(items: Any) -> Iterator[Any]:
    """Go through one of libsbml's lists."""
    return (items.get(k) for k in range(items.size()))


def _reader(contents: Contents, functions: Mapping[str, Any]) -> Callable[[Any, str], Tree]:
    def read(math_of: Any, where: str) -> Tree:
        try:
            return tree_of(math_of, functions)
        except UnknownMathError as unknown:
            kind = "delays" if str(unknown) == "delay" else "mathematics that rates do not have"
            contents.note(kind, where if kind == "delays" else f"{unknown} in {where}")
        except ValueError as error:
            contents.note("mathematics that rates do not have", f"{error} in {where}")
        return 0.0

    return read


# --- units ---


def _with_base(model: Any, given: Mapping[str, Any]) -> Contents:
    """Find the units of the whole model."""
    for name in given:
        if name not in ASSUMED:
            raise ValueError(f"units should be of {', '.join(ASSUMED)}; got {name!r}{nearest(name, ASSUMED)}")
    contents = Contents({}, {})
    for name in ASSUMED:
        own = _fitting(_base_unit(model, name, contents), name, contents)
        if name in given:
            contents.base[name] = model_unit(given[name], name)
        elif own is not None:
            contents.base[name] = own
        else:
            contents.base[name], contents.assumed[name] = model_unit(ASSUMED[name], name), ASSUMED[name]
    contents.base["extent"] = contents.base["substance"]
    if model.getLevel() > 2 and model.isSetExtentUnits() and "substance" not in given:
        contents.base["extent"] = _unit(model, model.getExtentUnits(), contents, "extent")
    return contents


def _fitting(unit: Scaled | None, name: str, contents: Contents) -> Scaled | None:
    """Return a unit of the model if it is one of the right kind; a pure number says nothing."""
    if unit is None or unit.unit == NO_UNIT:
        return None
    if unit.unit != model_unit(ASSUMED[name], name).unit:
        contents.note("units", f"{unit.text() or unit.unit} of {name}")
    return unit


def _base_unit(model: Any, name: str, contents: Contents) -> Scaled | None:
    if model.getLevel() < 3:
        return _unit(model, name, contents, name)
    written = getattr(model, f"get{name.capitalize()}Units")()
    return _unit(model, written, contents, name) if written else None


def _unit(model: Any, written: str, contents: Contents, where: str) -> Scaled:
    """Return the unit that an identifier stands for."""
    found = model.getUnitDefinition(written)
    if found is None:
        return model_unit(LEVEL_2[written], where) if written in LEVEL_2 else _kind(written, contents, where)
    unit = Scaled()
    for item in each(found.getListOfUnits()):
        kind = _kind_name(item)
        try:
            part = definition(kind, item.getExponentAsDouble(), item.getScale(), item.getMultiplier())
        except ValueError:
            contents.note("units", f"{kind} in {written}")
            continue
        unit = unit * part
    return unit


def _kind_name(item: Any) -> str:
    return str(library().UnitKind_toString(item.getKind())).lower()


def _kind(written: str, contents: Contents, where: str) -> Scaled:
    try:
        return definition(written, 1, 0, 1)
    except ValueError:
        contents.note("units", f"{written} of {where}")
        return Scaled()


# --- parts ---


def _packages(document: Any, contents: Contents) -> None:
    if document.getLevel() < 3:
        # Where layouts are annotations, which libsbml counts as packages.
        return
    known = [document.getPlugin(k).getPackageName() for k in range(document.getNumPlugins())]
    unknown = [document.getUnknownPackagePrefix(k) for k in range(document.getNumUnknownPackages())]
    for name in [*known, *unknown]:
        # These bring mathematics, which is read or refused where it stands; and many files announce a package in vain.
        harmless = name in ("l3v2extendedmath", "distrib")
        parts = document.getModel().getPlugin("comp") if name == "comp" else None
        if not harmless and not (parts and not parts.getNumSubmodels()) and document.getPackageRequired(name):
            contents.note("packages", name)


def _compartments(model: Any, contents: Contents) -> None:
    for item in each(model.getListOfCompartments()):
        written = item.getUnits()
        dimension = int(item.getSpatialDimensions())
        unit = _unit(model, written, contents, item.getId()) if written else None
        unit = None if unit is not None and unit.unit == NO_UNIT else unit
        if unit is not None and unit.unit == contents.base["area"].unit:
            # Antimony writes 3 dimensions always; the unit knows better.
            dimension = 2
        usual = contents.base.get(OF_DIMENSION.get(dimension, ""), Scaled())
        size = float(item.getSize()) if item.isSetSize() and math.isfinite(item.getSize()) else None
        contents.compartments[item.getId()] = FileCompartment(
            dimension, size, unit or usual, unit is not None or OF_DIMENSION.get(dimension) not in contents.assumed
        )


def _species(model: Any, contents: Contents) -> None:
    for item in each(model.getListOfSpecies()):
        name, home = item.getId(), item.getCompartment()
        if contents.compartments[home].dimension not in (2, 3):
            contents.note("compartments without volume or area", f"{home} of {name}")
        if item.isSetConversionFactor():
            contents.note("conversion factors", name)
        by_amount = item.isSetInitialAmount()
        initial = item.getInitialAmount() if by_amount else item.getInitialConcentration()
        is_set = by_amount or item.isSetInitialConcentration()
        contents.species[name] = FileSpecies(
            home,
            bool(item.getHasOnlySubstanceUnits()),
            float(initial) if is_set else None,
            bool(by_amount),
            bool(item.getBoundaryCondition() or item.getConstant()),
            _own_substance(model, item, contents),
        )
    if model.getLevel() > 2 and model.isSetConversionFactor():
        contents.note("conversion factors", "of the model")


def _own_substance(model: Any, item: Any, contents: Contents) -> Scaled:
    written = item.getSubstanceUnits()
    own = _unit(model, written, contents, item.getId()) if written else None
    return _fitting(own, "substance", contents) or contents.base["substance"]


def _parameters(items: Any, contents: Contents, renamed: Mapping[str, str] | None = None) -> None:
    for item in each(items):
        name = (renamed or {}).get(item.getId(), item.getId())
        contents.parameters[name] = (
            float(item.getValue()) if item.isSetValue() and math.isfinite(item.getValue()) else None
        )
        if item.getUnits():
            contents.declared[name] = _unit(item.getModel(), item.getUnits(), contents, name)


def _reaction(item: Any, contents: Contents, read: Callable[[Any, str], Tree]) -> None:
    name = item.getId()
    if item.isSetFast() and item.getFast():
        contents.note("fast reactions", name)
    change: dict[str, float] = {}
    for sign, listed in ((-1.0, item.getListOfReactants()), (1.0, item.getListOfProducts())):
        for reference in each(listed):
            own = reference.getSpecies()
            change[own] = change.get(own, 0.0) + sign * _stoichiometry(reference, name, contents)
    partners = [*change, *(modifier.getSpecies() for modifier in each(item.getListOfModifiers()))]
    law = item.getKineticLaw()
    if law is None or law.getMath() is None:
        contents.note("reactions without a rate", name)
        return
    # A local parameter hides whatever else has its name.
    local = law.getListOfParameters() if item.getLevel() < 3 else law.getListOfLocalParameters()
    renamed = {own.getId(): _free_name(own.getId(), name, contents, item.getModel()) for own in each(local)}
    _parameters(local, contents, renamed)
    tree = walk(
        read(law.getMath(), f"reaction {name}"),
        FOLDING,
        lambda leaf: f"${renamed.get(leaf[1:], leaf[1:])}" if isinstance(leaf, str) and leaf[0] == "$" else leaf,
    )
    home = item.getCompartment() if item.getLevel() > 2 and item.isSetCompartment() else None
    contents.reactions[name] = FileReaction(home or None, change, tuple(dict.fromkeys(partners)), tree)


def _free_name(own: str, reaction: str, contents: Contents, model: Any) -> str:
    """Name a local parameter as the file does where nothing else has that name, else after its reaction."""

    def taken(name: str) -> bool:
        return name in contents.parameters or model.getElementBySId(name) is not None

    name = own
    while taken(name):
        name = f"{reaction}_{name}" if name == own else f"{name}_"
    return name


def _stoichiometry(reference: Any, reaction: str, contents: Contents) -> float:
    model, own = reference.getModel(), reference.getId()
    moved = own and (model.getRuleByVariable(own) or model.getInitialAssignmentBySymbol(own))
    number = float(reference.getStoichiometry())
    if moved or reference.isSetStoichiometryMath() or not math.isfinite(number):
        contents.note("stoichiometries that are formulas", f"{reference.getSpecies()} in {reaction}")
        return 0.0
    if own:
        contents.stoichiometries[own] = number
    return number


def _rules(model: Any, contents: Contents, read: Callable[[Any, str], Tree]) -> None:
    for item in each(model.getListOfEvents()):
        contents.note("events", item.getId() or "one without a name")
    for row, item in enumerate(each(model.getListOfRules()), 1):
        name = item.getVariable()
        if item.isAlgebraic():
            contents.note("algebraic rules", f"rule {row}")
        elif name in contents.compartments and item.isRate():
            contents.note("compartments whose size changes", name)
        elif item.isRate() and name not in contents.species:
            contents.note("rate rules on parameters", name)
        elif item.isSetMath():
            ours = contents.rates if item.isRate() else contents.assigned
            ours[name] = read(item.getMath(), f"rule of {name}")
            _check_ruled(name, contents)
    for item in each(model.getListOfInitialAssignments()):
        if item.isSetMath():
            contents.started[item.getSymbol()] = read(item.getMath(), f"initial assignment of {item.getSymbol()}")
    for name in contents.compartments:
        if name in contents.assigned:
            # A size that is computed from numbers is a number.
            contents.started[name] = contents.assigned.pop(name)
            if moves(contents.started[name], contents, {name}):
                contents.note("compartments whose size changes", name)


def moves(tree: Tree, contents: Contents, seen: set[str]) -> bool:
    """Tell whether a tree changes in time, through whatever rules it reads."""
    if "t" in names(tree):
        return True
    for name in set(names_in(tree)) - seen:
        seen.add(name)
        if name in contents.species and not (contents.species[name].held and name not in contents.rates):
            return name not in contents.assigned or moves(contents.assigned[name], contents, seen)
        rule = contents.assigned.get(name)
        if name in contents.reactions or (rule is not None and moves(rule, contents, seen)):
            return True
    return False


def _check_ruled(name: str, contents: Contents) -> None:
    changed = [own for own, item in contents.reactions.items() if item.change.get(name)]
    if name in contents.species and not contents.species[name].held and changed:
        contents.note("species that a rule sets although reactions change them", f"{name} in {', '.join(changed)}")


def names_in(tree: Tree) -> list[str]:
    """List the identifiers of the file that a tree reads."""
    return [name[1:] for name in names(tree) if name.startswith("$")]
