"""Species, reactions and models: what is simulated, checked for consistency and units before any mesh is there.

A model holds only texts, numbers, tuples and dicts, as its author wrote them; `bind` turns it into arrays over a mesh.
"""

from __future__ import annotations

import difflib
import logging
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from meshcell.core import units
from meshcell.core.arrays import set_fields
from meshcell.core.files import naming
from meshcell.core.hints import nearest, require
from meshcell.models import expressions
from meshcell.models.compartments import Place, Well, checked_place, place_key, place_text
from meshcell.models.consistency import (
    PLAIN,
    check_diffusion,
    check_fixed,
    check_reaction,
    checked_wholes,
    fixed_text,
    known_dimensions,
    parameter,
    plain_numbers,
)
from meshcell.models.equations import latex, table
from meshcell.models.exchange import antimony, sbml
from meshcell.models.exchange.sbml_document import called
from meshcell.models.exchange.toml import read_model, write_model
from meshcell.models.exchange.wishes import Wishes
from meshcell.models.expressions import POSITION, VARIABLES, Expression
from meshcell.models.formula_trees import switches
from meshcell.models.parameters import Course, Field, Given, Table, Varying, checked_given, number_and_unit
from meshcell.models.species import Pool, Reaction, Species, check_symbol, check_text, diffusion_numbers


@dataclass(frozen=True)
class Model:
    """Compartments, the species in them and the reactions among them.

    Parameters
    ----------
    compartments : dict[str, str | (str, str) | ((str, str), ...)]
        Own name -> a region's name, a pair of region names (their interface, in either order), or a patch's name. A
        union is written "cytosol + psd", also within a pair; interfaces may also be listed pair by pair.
    species : sequence of Species and Pool
        A pool adds a compartment of its name.
    reactions : sequence of Reaction
    parameters : dict[str, number, text, pint quantity, function of time, Table, Course, array or Field]
        A text carries its unit ("0.02 um/s", "4"); a plain number is in base units (um, s, molecule). A function gets t
        in s; a `Table` interpolates between times; an array has one value per node or cell of the compartments of the
        reactions that use it. `Course` and `Field` give functions and arrays a unit.

    Raises
    ------
    ValueError, TypeError
        Anything unknown, given twice, reserved, out of reach or of wrong units; the text names what there is.

    Notes
    -----
    A reaction in a region may use the species that live all over that region; one on an interface or patch those on it
    and those in the regions that it touches. Rates are checked for units: a region wants molecule/um^3/s, an interface
    molecule/um^2/s. The check of a reaction is off when one of its parameters, or the initial value (other than 0) of
    one of its species, has no written unit, and when nothing in it has one.

    Whether a text names a region or a patch is only known with the mesh; what depends on that is checked by `bind`.

    A model is read once. To change a part of it, make another with `dataclasses.replace`.

    Examples
    --------
    >>> model = Model({"cyt": "cytosol"}, [Species("A", "cyt", initial="1 uM")],
    ...               [Reaction("decay", "cyt", "k*A", {"A": -1})], {"k": "3 1/s"})
    >>> model.parameter_values
    {'k': 3.0}
    """

    compartments: dict[str, Place]
    species: tuple[Species, ...]
    reactions: tuple[Reaction, ...] = ()
    parameters: dict[str, Given] = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_fields(self, compartments=_checked_compartments(self.compartments))
        set_fields(self, species=_checked_items(self.species, Species, "species"))
        set_fields(self, compartments=_with_wells(self.compartments, self.species))
        set_fields(self, reactions=_checked_items(self.reactions, Reaction, "reactions"))
        set_fields(self, parameters=_checked_parameters(self.parameters, [item.name for item in self.species]))
        for species in self.species:
            self._require_compartment(species.compartment, f"species {species.name!r}")
            for name in species.fixed:
                self._require_compartment(name, f"fixed value of species {species.name!r}")
        dimensions = known_dimensions(self)
        for reaction in self.reactions:
            self._require_compartment(reaction.compartment, f"reaction {reaction.name!r}")
            check_reaction(self, reaction, dimensions)
        for species in self.species:
            check_diffusion(self, species)
            for name in species.fixed:
                check_fixed(self, species, name, dimensions)
        self._warn_of_unused()
        plain = plain_numbers(self, dimensions)
        if plain:
            warnings.warn(f"{PLAIN}: {'; '.join(plain)}", stacklevel=3)

    @cached_property
    def parameter_values(self) -> dict[str, float]:
        """Parameters that are one number each, in base units."""
        numbers = {name: parameter(name, value)[0] for name, value in self.parameters.items()}
        return {name: value for name, value in numbers.items() if value is not None}

    @property
    def varying(self) -> dict[str, Varying]:
        """Parameters that change in time or space."""
        return {name: given for name, given in self.parameters.items() if isinstance(given, (Table, Course, Field))}

    @property
    def events(self) -> tuple[float, ...]:
        """Times (s) at which something jumps or bends: kinks of tables, switches such as heaviside(t - t0) in rates."""
        given = [*self.varying.values(), *(value for item in self.species for value in item.fixed.values())]
        formulas = [*self.rates.values()]
        formulas += [self.fixed_formula(item, name)[0] for item in self.species for name in item.fixed]
        kinks = {time for value in given for time in getattr(value, "events", ())}
        return tuple(sorted(kinks.union(*(switches(formula.tree) for formula in formulas))))

    @cached_property
    def rates(self) -> dict[str, Expression]:
        """Reaction -> its rate with the numbers put in; left are species, varying parameters, t, x, y and z."""
        known = [*(item.name for item in self.species), *self.parameters, *VARIABLES]
        rates = {}
        for reaction in self.reactions:
            what = f"rate of reaction {reaction.name!r}"
            if not set(reaction.formula.names) <= {*known, *checked_wholes(self, reaction)}:
                # Parsed again to say where.
                expressions.parse(reaction.rate, what, known)
            rates[reaction.name] = self._with_numbers(reaction.formula, what)
        return rates

    def fixed_formula(self, species: Species, compartment: str) -> tuple[Expression, dict[str, Varying]]:
        """Return a fixed value as a formula of t, x, y, z and varying names, and what those stand for."""
        return self._formula_of(species.fixed[compartment], fixed_text(species, compartment), VARIABLES)

    def initial_formula(self, species: Species) -> tuple[Expression, dict[str, Varying]]:
        """Return an initial value that is no function as a formula of x, y, z and fields, and those fields."""
        return self._formula_of(species.initial, f"initial of species {species.name!r}", POSITION)

    def diffusion_formulas(self, species: Species) -> list[tuple[str | None, list[Expression], dict[str, Varying]]]:
        """Return part of the compartment (None: all of it), formulas of x, y, z and fields, and those fields.

        One formula for a part, or the nine of a tensor, row by row.
        """
        found = []
        for part, entries in diffusion_numbers(species):
            formulas = [self._formula_of(entry, what, POSITION) for what, entry in entries]
            varying = {name: field for _, fields in formulas for name, field in fields.items()}
            found.append((part, [formula for formula, _ in formulas], varying))
        return found

    def _formula_of(self, value: Any, what: str, variables: Sequence[str]) -> tuple[Expression, dict[str, Varying]]:
        if isinstance(value, (Table, Course, Field)):
            return Expression("given", "given", ("given",)), {"given": value}
        if isinstance(value, float) or units.is_quantity_text(value):
            number = number_and_unit(value, what)[0]
            assert number is not None
            return Expression(str(value), number, ()), {}
        parsed = expressions.parse(value, what, [*self.parameters, *variables])
        moving = [name for name in parsed.names if isinstance(self.parameters.get(name), (Table, Course))]
        if moving and "t" not in variables:
            raise ValueError(
                f"{what} should not change in time; it reads {moving[0]!r}, which does; give a number or a Field"
            )
        return self._with_numbers(parsed, what), self.varying

    @classmethod
    def from_toml(cls, path: str | Path) -> Model:
        """Read a model from a TOML file, as `to_toml` writes them.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        Model

        Raises
        ------
        FileNotFoundError
        ValueError
            `FileError`: no TOML, unknown or missing keys, anything that a Model refuses; names the file, the place in
            it and what was meant.

        Notes
        -----
        Tables [compartments] and [parameters], and [[species]] and [[reactions]] once for each, with the options of
        `Species` and `Reaction` as keys; a species with a volume is a `Pool`. Pairs are lists; a `Table` is
        { times = [...], values = [...], unit = "uM" }.
        """
        require(path, (str, PathLike), "Model.from_toml(path)")
        path = Path(path).expanduser()
        with naming(path):
            return cls(**read_model(path))

    def to_toml(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the model as a TOML file, from which `from_toml` makes an equal one.

        Parameters
        ----------
        path : str or Path
            A missing folder is made.
        overwrite : bool
            Replace whatever is there. A file that begins as this function's files do is always replaced.

        Raises
        ------
        FileExistsError
        ValueError
            `FileError`: Python functions and Fields, all by name, and what to write instead.
        """
        require(path, (str, PathLike), "model.to_toml(path)")
        path = Path(path).expanduser()
        with naming(path):
            write_model(path, self, overwrite=overwrite)

    @classmethod
    def from_sbml(
        cls,
        source: str | PathLike[str],
        places: Mapping[str, Place | None] | None = None,
        *,
        reactions: Mapping[str, str] | None = None,
        sizes: Mapping[str, Any] | None = None,
        diffusion: Mapping[str, Any] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Model:
        """Read a model from SBML core (Levels 1 to 3); needs python-libsbml, `pip install 'meshcell[sbml]'`.

        Parameters
        ----------
        source : str or Path
            A file, or the text itself.
        places : dict[str, str | (str, str) | ... | None]
            Compartment of the file -> where it is in the cell, as in `Model.compartments`; None for a bath or store
            that is not in the mesh, so that what it holds are pools. Interfaces that the file lacks may be added. Not
            needed for files that `to_sbml` wrote.
        reactions : dict[str, str], optional
            Reaction -> compartment where it happens, where its species do not tell.
        sizes : dict[str, number or text], optional
            Compartment -> um^3 or um^2 instead of the file's size; it matters where it does not cancel.
        diffusion : dict[str, number or text], optional
            Species -> um^2/s, of which SBML says nothing; 0 if not given.
        units : dict[str, str], optional
            What the file counts in, where it does not say: "substance" ("umol"), "volume" ("litre"), "area" ("um^2"),
            "length" ("um"), "time" ("second"), with what is assumed otherwise in parentheses.

        Returns
        -------
        Model
            Rates are per volume or area: the file's laws, divided by the size of their compartment. Every number has
            its unit, either as the file declares it or as the laws need it. Species that nothing changes are
            parameters.

        Raises
        ------
        FileNotFoundError
        ValueError
            Not valid SBML, events, delays and all else that a model does not have, compartments without a place,
            reactions that could be in several: named, with what to do.
        ImportError

        Warns
        -----
        UserWarning
            What was assumed: units, diffusion, initial values, sizes that rates still read.

        Notes
        -----
        Rules, function definitions and stoichiometries are put into the rates. The numbers are those that programs for
        SBML compute; where units declared for parameters contradict the laws, the laws hold, and a warning says so.

        Examples
        --------
        >>> text = Model({"cell": "cytosol"}, [Species("A", "cell", initial="1 uM")]).to_sbml()  # doctest: +SKIP
        >>> Model.from_sbml(text).species[0].initial  # doctest: +SKIP
        '1 uM'
        """
        require(source, (str, PathLike), "Model.from_sbml(source)")
        wishes = Wishes(places or {}, reactions or {}, sizes or {}, diffusion or {}, units or {})
        what = called(source, sbml.MARKS, "SBML")
        with naming(what):
            return cls(**sbml.read_sbml(source, wishes, str(what)))

    def to_sbml(self, path: str | PathLike[str] | None = None, *, sizes: Any = None, overwrite: bool = False) -> str:
        """Write the model as SBML (Level 3 Version 1 core), from which `from_sbml` makes an equal one.

        Parameters
        ----------
        path : str or Path, optional
            A missing folder is made; without a path the text is only returned.
        sizes : dict[str, number, text or pint quantity], or WellMixed, optional
            Compartment -> um^3 or um^2 for other programs, which know no mesh; `well_mixed(model, mesh)` measures
            them. All are 1 if not given.
        overwrite : bool
            Replace whatever is there. A file that this function wrote is always replaced.

        Returns
        -------
        str
            The SBML text, in um, s and molecules. Regions, diffusion and the texts of numbers are in its annotation.

        Raises
        ------
        FileExistsError, ImportError
        ValueError
            Python functions, Fields, formulas in x, y and z and potentials, all by name.

        Warns
        -----
        UserWarning
            No sizes although there are several compartments.
        """
        require(path, (str, PathLike, type(None)), "model.to_sbml(path)")
        text = sbml.sbml_of(self, sizes)
        if path is not None:
            sbml.write_sbml(Path(path).expanduser(), text, overwrite=overwrite)
        return text

    @classmethod
    def from_antimony(
        cls,
        source: str | PathLike[str],
        places: Mapping[str, Place | None] | None = None,
        *,
        reactions: Mapping[str, str] | None = None,
        sizes: Mapping[str, Any] | None = None,
        diffusion: Mapping[str, Any] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Model:
        """Read a model from Antimony, a file or the text itself; all else is as in `from_sbml`.

        Raises
        ------
        FileNotFoundError, ValueError, ImportError
            As `from_sbml`; also a text that is no Antimony, with the line.

        Notes
        -----
        A compartment is an area if its unit is one: `unit um2 = (1e-6 metre)^2; PM = 600; PM has um2`.
        """
        require(source, (str, PathLike), "Model.from_antimony(source)")
        wishes = Wishes(places or {}, reactions or {}, sizes or {}, diffusion or {}, units or {})
        what = called(source, antimony.MARKS, "Antimony")
        with naming(what):
            return cls(**antimony.read_antimony(source, wishes, str(what)))

    def to_antimony(
        self, path: str | PathLike[str] | None = None, *, sizes: Any = None, overwrite: bool = False
    ) -> str:
        """Write the model as Antimony, from which `from_antimony` makes an equal one; all else is as in `to_sbml`.

        Its first line, a comment, holds what Antimony has no words for.
        """
        require(path, (str, PathLike, type(None)), "model.to_antimony(path)")
        text = antimony.antimony_of(self, sizes)
        if path is not None:
            antimony.write_antimony(Path(path).expanduser(), text, overwrite=overwrite)
        return text

    def latex(self) -> str:
        """Write the equations of the model in LaTeX: every compartment's equations and what crosses its membranes."""
        return latex(self)

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex()}\n$$"

    def _with_numbers(self, parsed: Expression, what: str) -> Expression:
        try:
            return expressions.substitute(parsed, self.parameter_values)
        except ValueError as error:
            raise ValueError(f"{what} with the parameters' values: {error}") from error

    def _warn_of_unused(self) -> None:
        """Say which parameters nothing reads: a scan of a misspelt one would show no effect."""
        if not self.parameters:
            return
        formulas = [reaction.formula for reaction in self.reactions]
        given: list[Any] = [value for item in self.species for value in (item.initial, *item.fixed.values())]
        parts = [entries for item in self.species for _, entries in diffusion_numbers(item)]
        given += [value for entries in parts for _, value in entries]
        texts = [value for value in given if isinstance(value, str) and not units.is_quantity_text(value)]
        formulas += [expressions.parse(text) for text in texts]
        used = dict.fromkeys(name for formula in formulas for name in formula.names)
        for name in self.parameters:
            if name not in used:
                near = difflib.get_close_matches(name, used, 1)
                hint = f"; did you mean {near[0]!r}?" if near else "; remove it, or use it in a rate"
                logging.getLogger("meshcell").warning("parameter %r is used by no rate%s", name, hint)

    def _require_compartment(self, name: str, what: str) -> None:
        if name not in self.compartments:
            raise ValueError(
                f"{what} is in compartment {name!r}, which the model does not have; it has "
                f"{', '.join(self.compartments)}{nearest(name, self.compartments)}"
            )

    def __repr__(self) -> str:
        return table(self)


def field_text(name: str, what: str) -> str:
    """Name a field in errors: a parameter by its name, one that was given in place by what it is."""
    return what if name == "given" else f"parameter {name!r}"


# --- checks of names and items ---


def _checked_compartments(compartments: Any) -> dict[str, Place]:
    if not isinstance(compartments, Mapping) or not compartments:
        raise TypeError(
            'compartments should be a dict such as {"cyt": "cytosol", "PM": ("cytosol", "outside")}; got '
            f"{compartments!r}"
        )
    checked: dict[str, Place] = {}
    owners: dict[Any, str] = {}
    for name, place in compartments.items():
        if isinstance(place, Well):
            # Of a pool, which brings it along.
            continue
        check_text(name, "name of a compartment")
        checked[name] = checked_place(name, place)
        key = place_key(checked[name])
        if key in owners:
            raise ValueError(
                f"compartments {owners[key]!r} and {name!r} are the same place, {place_text(checked[name])}; keep one"
            )
        owners[key] = name
    return checked


def _with_wells(compartments: dict[str, Place], species: Iterable[Species]) -> dict[str, Place]:
    """Add the compartments of pools."""
    wells: dict[str, Place] = {item.name: item.place for item in species if isinstance(item, Pool)}
    both = [name for name in wells if name in compartments]
    if both:
        raise ValueError(f"{both[0]!r} is a pool and a compartment at once; rename one of them")
    return {**compartments, **wells}


def _checked_items(items: Any, kind: Any, what: str) -> tuple[Any, ...]:
    if isinstance(items, (str, Mapping)) or not isinstance(items, Iterable):
        raise TypeError(f"{what} should be a list of {kind.__name__}(...); got {items!r}")
    checked = tuple(items)
    names = set()
    for item in checked:
        if not isinstance(item, kind):
            raise TypeError(f"{what} should be a list of {kind.__name__}(...); it holds {item!r}")
        if item.name in names:
            raise ValueError(f"{what} should have different names; {item.name!r} is given twice")
        names.add(item.name)
    return checked


def _checked_parameters(parameters: Any, species: list[str]) -> dict[str, Given]:
    if not isinstance(parameters, Mapping):
        raise TypeError(f'parameters should be a dict such as {{"k": "0.02 um/s"}}; got {parameters!r}')
    checked = {}
    for name, value in parameters.items():
        check_symbol(name, "parameter")
        if name in species:
            raise ValueError(f"{name!r} is a species and a parameter at once; rename one of them")
        checked[name] = checked_given(value, f"parameter {name!r}")
        number = parameter(name, checked[name])[0]
        if number is not None and not math.isfinite(number):
            raise ValueError(f"parameter {name!r} should be finite; got {value!r}")
    return checked
