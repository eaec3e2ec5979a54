"""A model of ours as an SBML document, Level 3 Version 1: everything in base units, sizes as the caller gives them.

Level 3 Version 1 is what most programs read. What SBML has no place for (regions, diffusion, the texts of numbers) goes
along in the annotation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.units import CONCENTRATION, DENSITY, NO_UNIT, Unit
from meshcell.models.consistency import parameter
from meshcell.models.exchange.mathml import formula_of, number_text, written_number
from meshcell.models.exchange.sbml_document import annotate, library
from meshcell.models.exchange.sbml_laws import substituted
from meshcell.models.exchange.toml import toml_of
from meshcell.models.expressions import POSITION
from meshcell.models.formula_trees import Tree, names, read_whole
from meshcell.models.parameters import Course, Field, Table, number_and_unit
from meshcell.models.species import Described, Reaction, Species, diffusion_parts
from meshcell.models.well_mixed import WellMixed

# Base unit of ours -> SBML's kind and the power of ten.
_KINDS = {
    "molecule": ("item", 0),
    "um": ("metre", -6),
    "s": ("second", 0),
    "kg": ("kilogram", 0),
    "nA": ("ampere", -9),
    "K": ("kelvin", 0),
    "cd": ("candela", 0),
}
# What SBML's formulas or Antimony read as something else, whatever the case of its letters.
_RESERVED = """
    time avogadro delay pi true false inf infinity nan notanumber exponentiale e rateof plus minus times divide
    power pow root sqr sqrt log ln log10 exp abs floor ceil ceiling factorial piecewise and or not xor eq neq lt gt
    leq geq min max rem quotient implies lambda acos arccos asin arcsin atan arctan sec csc cot sinh cosh tanh sin
    cos tan model module function end compartment species gene operator reaction event const var ext substanceonly
    unit has is import in at after priority fromtrigger t0 persistent delete dna hybrid identity maximize minimize
    uncertainty samples
"""
RESERVED = frozenset(_RESERVED.split())


@dataclass(frozen=True)
class Identifiers:
    """Name in a model -> identifier in its SBML; SBML has one room for them all."""

    species: dict[str, str]
    parameters: dict[str, str]
    compartments: dict[str, str]
    reactions: dict[str, str]

    def symbols(self, model: Described, tree: Tree) -> dict[str, Tree]:
        """Return what the names in a tree are called; where all is well mixed, a mean is the value itself."""
        homes = {item.name: item.compartment for item in model.species}
        found: dict[str, Tree] = {**self.parameters, **self.species}
        for name in names(tree):
            if whole := read_whole(name):
                kind, species, place = whole
                size = self.compartments[place or homes[species]]
                found[name] = self.species[species] if kind == "mean" else ("*", self.species[species], size)
        return found


def identifiers(
    species: Iterable[str], parameters: Iterable[str], compartments: Iterable[str], reactions: Iterable[str]
) -> Identifiers:
    """Give everything an identifier of its own, as near to its name as SBML allows.

    Examples
    --------
    >>> identifiers(["Ca", "μ"], ["time"], ["ER lumen", "Ca"], []).compartments
    {'ER lumen': 'ER_lumen', 'Ca': 'Ca_'}
    """
    taken: set[str] = set()

    def named(items: Iterable[str]) -> dict[str, str]:
        found = {}
        for name in items:
            own = re.sub(r"[^A-Za-z0-9_]", "_", name)
            own = own if re.match(r"[A-Za-z]", own) else f"m{own}"
            while own in taken or own.lower() in RESERVED:
                own += "_"
            taken.add(own)
            found[name] = own
        return found

    return Identifiers(named(species), named(parameters), named(compartments), named(reactions))


def identifiers_of(model: Described) -> Identifiers:
    """Give everything in a model an identifier."""
    species, reactions = ([item.name for item in items] for items in (model.species, model.reactions))
    return identifiers(species, model.parameters, model.compartments, reactions)


def document_of_model(model: Described, sizes: WellMixed) -> Any:
    """Make a document of a model.

    Raises
    ------
    ValueError
        What SBML cannot say, all by name, with what to write instead.
    """
    libsbml = library()
    problems = list(_problems(model))
    if problems:
        raise ValueError(f"SBML holds numbers and formulas in species, parameters and time; {'; '.join(problems)}")
    own = identifiers_of(model)
    document = libsbml.SBMLDocument(3, 1)
    made = document.createModel()
    _done(made.setId("meshcell_model"))
    writer = _Writer(libsbml, made, model, own, {})
    writer.base()
    for name in model.compartments:
        writer.compartment(name, sizes)
    for species in model.species:
        writer.species(species)
    for name in model.parameters:
        writer.parameter(name)
    for reaction in model.reactions:
        writer.reaction(reaction)
    annotate(document, toml_of(model))
    return document


# --- what cannot be said ---


def _problems(model: Described) -> Iterator[str]:
    for name, value in model.parameters.items():
        yield from _value_problems(value, f"parameter {name}")
    for species in model.species:
        yield from _species_problems(model, species)
    for reaction in model.reactions:
        yield from _position_problems(reaction.formula.tree, f"the rate of reaction {reaction.name}")


def _species_problems(model: Described, species: Species) -> Iterator[str]:
    unit = species.initial_unit
    if species.signed and unit not in (None, CONCENTRATION, DENSITY):
        yield f"species {species.name} is no amount of anything but in {unit}: keep such a model as TOML"
    for part, value in diffusion_parts(species):
        if isinstance(value, Field):
            where = f" in {part!r}" if part else ""
            yield f"diffusion of species {species.name}{where} is a Field over one mesh: write a number"
    found = [*_value_problems(species.initial, f"initial of species {species.name}")]
    yield from found or _position_problems(_initial(model, species), f"initial of species {species.name}")
    for place, value in species.fixed.items():
        what = f"fixed of species {species.name} for {place!r}"
        found = [*_value_problems(value, what)]
        yield from found or _position_problems(model.fixed_formula(species, place)[0].tree, what)


def _value_problems(value: Any, what: str) -> Iterator[str]:
    if isinstance(value, Field):
        yield f"{what} is a Field over one mesh: write a number, such as its mean"
    elif callable(value) and not isinstance(value, Table):
        table = " or a Table (Course.tabulated makes one)" if isinstance(value, Course) else ""
        yield f"{what} is a Python function: write a formula{table} instead"


def _position_problems(tree: Tree, what: str) -> Iterator[str]:
    read = [name for name in names(tree) if name in POSITION]
    if read:
        yield f"{what} reads the position {', '.join(read)}: write it without, or keep such a model as TOML"


def _initial(model: Described, species: Species) -> Tree:
    return model.initial_formula(species)[0].tree


# --- parts ---


@dataclass(frozen=True)
class _Writer:
    """Writes the parts of a model into one of libsbml's."""

    libsbml: Any
    made: Any
    model: Described
    own: Identifiers
    # Units that are defined already.
    defined: dict[Unit, str]

    def base(self) -> None:
        """Say that everything is in um, s and molecules."""
        for set_unit, unit in (
            (self.made.setVolumeUnits, Unit.of(um=3)),
            (self.made.setAreaUnits, Unit.of(um=2)),
            (self.made.setLengthUnits, Unit.of(um=1)),
        ):
            _done(set_unit(self.unit(unit)))
        _done(self.made.setTimeUnits("second"))
        _done(self.made.setSubstanceUnits("item"))
        _done(self.made.setExtentUnits("item"))

    def unit(self, unit: Unit) -> str:
        """Define a unit and return its identifier."""
        if unit == NO_UNIT:
            return "dimensionless"
        if unit not in self.defined:
            item = self.made.createUnitDefinition()
            words = re.sub(r"\W+", "_", str(unit).replace("/", "_per_")).strip("_")
            name = words if words not in self.defined.values() else f"{words}_{len(self.defined)}"
            self.defined[unit] = name
            _done(item.setId(name if re.match("[A-Za-z]", name) else f"per{name[1:]}"))
            self.defined[unit] = item.getId()
            for base, power in unit.powers:
                kind, scale = _KINDS[base]
                part = item.createUnit()
                _done(part.setKind(self.libsbml.UnitKind_forName(kind)))
                _done(part.setExponent(float(power)))
                _done(part.setScale(scale))
                _done(part.setMultiplier(1.0))
        return self.defined[unit]

    def compartment(self, name: str, sizes: WellMixed) -> None:
        """Write a compartment with its size."""
        item = self.made.createCompartment()
        self._named(item, self.own.compartments[name], name)
        dimension = sizes.dimensions[name]
        _done(item.setSpatialDimensions(dimension))
        _done(item.setSize(written_number(sizes.sizes[name])))
        _done(item.setUnits(self.unit(Unit.of(um=dimension))))
        _done(item.setConstant(True))

    def species(self, species: Species) -> None:
        """Write a species by its concentration; one that is held at a value is a boundary species."""
        item = self.made.createSpecies()
        own = self.own.species[species.name]
        self._named(item, own, species.name)
        _done(item.setCompartment(self.own.compartments[species.compartment]))
        initial = _initial(self.model, species)
        _done(item.setHasOnlySubstanceUnits(False))
        _done(item.setBoundaryCondition(bool(species.fixed)))
        _done(item.setConstant(False))
        _done(item.setSubstanceUnits("item"))
        for place in list(species.fixed)[:1]:
            # The first of several values holds, as where two parts meet.
            formula, varying = self.model.fixed_formula(species, place)
            initial = formula.tree
            if not isinstance(initial, float):
                self._rule(own, self._with_tables(formula.tree, varying))
        _done(item.setInitialConcentration(written_number(initial) if isinstance(initial, float) else 0.0))

    def parameter(self, name: str) -> None:
        """Write a parameter in base units; a table is a rule in time."""
        item, value = self.made.createParameter(), self.model.parameters[name]
        own = self.own.parameters[name]
        self._named(item, own, name)
        number, unit = parameter(name, value)
        if isinstance(value, Table):
            unit = number_and_unit(value, name)[1]
            self._rule(own, _table_formula(value))
        else:
            assert number is not None
            _done(item.setValue(written_number(number)))
        _done(item.setConstant(not isinstance(value, Table)))
        if unit is not None:
            _done(item.setUnits(self.unit(unit)))

    def reaction(self, reaction: Reaction) -> None:
        """Write a reaction, its rate times the size of its compartment."""
        item = self.made.createReaction()
        self._named(item, self.own.reactions[reaction.name], reaction.name)
        home = self.own.compartments[reaction.compartment]
        _done(item.setReversible(True))
        _done(item.setFast(False))
        _done(item.setCompartment(home))
        for name, times in reaction.change.items():
            reference = item.createReactant() if times < 0 else item.createProduct()
            _done(reference.setSpecies(self.own.species[name]))
            _done(reference.setStoichiometry(written_number(abs(times))))
            _done(reference.setConstant(True))
        for name in dict.fromkeys((read_whole(name) or ("", name))[1] for name in reaction.formula.names):
            if name in self.own.species and name not in reaction.change:
                _done(item.createModifier().setSpecies(self.own.species[name]))
        formula = formula_of(substituted(reaction.formula.tree, self.own.symbols(self.model, reaction.formula.tree)))
        _done(item.createKineticLaw().setMath(self._math(f"{home}*({formula})")))

    def _with_tables(self, tree: Tree, varying: Mapping[str, Any]) -> str:
        """Write the formula of a fixed value; a table that was given in place has no name."""
        if tree == "given":
            return _table_formula(varying["given"])
        return formula_of(substituted(tree, self.own.symbols(self.model, tree)))

    def _rule(self, own: str, formula: str) -> None:
        rule = self.made.createAssignmentRule()
        _done(rule.setVariable(own))
        _done(rule.setMath(self._math(formula)))

    def _math(self, formula: str) -> Any:
        math = self.libsbml.parseL3Formula(formula)
        if math is None:
            raise RuntimeError(f"libsbml cannot read {formula!r}: {self.libsbml.getLastParseL3Error()}")
        return math

    def _named(self, item: Any, own: str, name: str) -> None:
        _done(item.setId(own))
        # XML has no place for some characters.
        readable = re.sub(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]", "?", name)
        if readable != own:
            _done(item.setName(readable))


def _table_formula(table: Table) -> str:
    """Write a table as one piecewise in time, straight between its points."""
    times = [number_text(time) for time in table.times_in_s]
    with np.errstate(over="ignore"):
        # What is infinite in base units becomes the greatest number.
        values = [number_text(value) for value in table.in_base.tolist()]
    pieces = [f"{values[0]}, time < {times[0]}"]
    for k in range(1, len(times)):
        if table.times_in_s[k] > table.times_in_s[k - 1]:
            share = f"(time - {times[k - 1]})/({times[k]} - {times[k - 1]})"
            pieces.append(f"{values[k - 1]} + ({values[k]} - {values[k - 1]})*{share}, time < {times[k]}")
    return f"piecewise({', '.join(pieces)}, {values[-1]})"


def _done(code: int) -> None:
    """Take what libsbml returns for every step; anything but 0 is a mistake of ours."""
    if code:
        raise RuntimeError(f"libsbml refused a part of the model (code {code}); please report the model")
