"""Questions to a solution as things: named and printed, asked afterwards or observed while a run goes on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from meshcell.core import units
from meshcell.core.arrays import Floats, Triple, set_fields
from meshcell.core.hints import nearest, require
from meshcell.core.units import CONCENTRATION, DENSITY, NO_UNIT, Unit
from meshcell.core.validation import as_triple
from meshcell.models import functionals
from meshcell.models.binding import System, bound_compartment
from meshcell.models.bound_places import BoundCompartment
from meshcell.models.compartments import Place, checked_place, pairs, parts, place_text
from meshcell.models.functionals import Functional
from meshcell.models.model import Model
from meshcell.models.solutions import Solution
from meshcell.models.species import check_text
from meshcell.models.well_mixed import Domain, WellMixed

# What can be asked -> its unit, where nothing more is known of the species.
UNITS = {
    "mean": "molecule/um^3 (on an interface molecule/um^2)",
    "total": "molecule",
    "flux": "molecule/s (of a reaction events/s)",
    "value": "molecule/um^3 (on an interface molecule/um^2)",
    "area": "molecule*s/um^3 (on an interface molecule*s/um^2)",
}


@dataclass(frozen=True)
class Quantity:
    """A number, or a course in time, that a solution has.

    Parameters
    ----------
    what : {"mean", "total", "flux", "value", "area"}
        "mean" over a place, "total" number of molecules in it; "flux", the molecules/s that reactions bring to the
        species there; "value" at a point; "area" under the curve of the mean, or of the value at a point.
    species : str
        For a flux also the name of a reaction, for its events/s.
    place : str, (str, str) or list of such, optional
        A compartment of the model, or a region, patch or pair of regions of the mesh: a part of where the species
        lives, for a mean also an interface or patch beside it. By default all of it; for a flux, all places.
    point : (3,) floats or texts, um, optional
        For a value or an area. For a species on an interface its nearest point is taken.
    at : float or text, s, optional
        One time ("2 ms"), interpolated between those of the solution; of an area, its end.

    Raises
    ------
    ValueError, TypeError
        An unknown question, a place or point that it does not take or misses.

    Notes
    -----
    What depends on a model and a mesh is checked when it is asked: names, places where the species does not live,
    points outside, times that were not simulated.

    Examples
    --------
    >>> head = Quantity("mean", "Ca", place="head")
    >>> print(head)
    mean of Ca in head, molecule/um^3 (on an interface molecule/um^2)
    >>> Quantity("area", "Ca", point=(0, 0, "0.3 um"), at="5 ms").name
    'area under Ca at (0, 0, 0.3) um until 0.005 s'
    """

    what: str
    species: str
    place: Place | None = field(default=None, kw_only=True)
    point: Triple | None = field(default=None, kw_only=True)
    at: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        what, place, point = self.what, self.place, self.point
        if what not in UNITS:
            raise ValueError(f"what should be one of {', '.join(UNITS)}; got {what!r}{nearest(what, UNITS)}")
        check_text(self.species, "species of a Quantity")
        if point is not None and what not in ("value", "area"):
            raise ValueError(f'a {what} is of a place, not a point; give place=, or ask for Quantity("value", ...)')
        if what == "value" and point is None:
            raise ValueError('a value is at a point: give point=(x, y, z) in um, or ask for Quantity("mean", ...)')
        if place is not None and point is not None:
            raise ValueError(f"{what} should be of a place or at a point, not both; leave out one of them")
        set_fields(self, place=None if place is None else checked_place("place", place))
        set_fields(self, point=None if point is None else _finite(as_triple(point, "point"), "point"))
        set_fields(self, at=None if self.at is None else _finite(units.convert(self.at, "s", "at"), "at"))

    @property
    def name(self) -> str:
        """What it is, in a few words."""
        text = f"{self.what} {'under' if self.what == 'area' else 'of'} {self.species}"
        if self.place is not None:
            text += f" in {place_text(self.place)}"
        if self.point is not None:
            text += f" at ({', '.join(f'{x:.6g}' for x in self.point)}) um"
        if self.at is not None:
            text += f" {'until' if self.what == 'area' else 'at'} {self.at:.6g} s"
        return text

    @property
    def unit(self) -> str:
        """Unit of its values, as far as it is known without a model."""
        return UNITS[self.what]

    def __str__(self) -> str:
        return f"{self.name}, {self.unit}"

    def unit_in(self, model: Model, mesh: Domain) -> str:
        """Return the unit of its values in a model on a mesh."""
        known = {item.name: item for item in model.species}
        if self.species not in known:
            return "events/s"
        own = known[self.species]
        home = model.compartments[own.compartment]
        if isinstance(mesh, WellMixed):
            flat = mesh.dimensions[own.compartment] == 2
        else:
            flat = bool(pairs(home)) or (isinstance(home, str) and any(part in mesh.patches for part in parts(home)))
        density: Unit = (own.initial_unit or NO_UNIT) if own.signed else DENSITY if flat else CONCENTRATION
        whole = density * Unit.of(um=2 if flat else 3)
        time = Unit.of(s=1)
        return str({"total": whole, "flux": whole / time, "area": density * time}.get(self.what, density))

    def value(self, solution: Solution) -> Floats | float:
        """Ask a solution.

        Parameters
        ----------
        solution : Solution

        Returns
        -------
        (k,) floats, or float
            At every time of the solution; one number at a time (`at`), and for an area. Where states were not kept,
            what was observed in their place.

        Raises
        ------
        ValueError
            An unknown species, reaction or place; a place where the species does not live; a point outside; a time
            before or after those of the solution. The text names what there is.
        """
        require(solution, Solution, "quantity.value(solution)")
        if solution.advice:
            return self._recalled(solution)
        self.require_within(solution.times)
        return self.answer(solution.times, self.bound(solution.system).over(solution.times, solution.values))

    def require_within(self, times: Floats, advice: str = "") -> None:
        """Refuse a time before or after simulated ones."""
        if self.at is not None and not _within(self.at, times):
            raise ValueError(
                f"{self.name}: at should be a time between {times[0]:g} and {times[-1]:g} s, the simulated ones; got "
                f"{self.at:g}{advice or '; leave at= out for all of them'}"
            )

    def answer(self, times: Floats, curve: Floats) -> Floats | float:
        """Make the answer out of the numbers at all times; NaN for a time that is not among them."""
        if self.at is not None and not _within(self.at, times):
            return float("nan")
        if self.what != "area":
            return curve if self.at is None else float(np.interp(self.at, times, curve))
        if self.at is not None:
            inside = times < self.at
            last = np.interp(self.at, times, curve)
            times, curve = np.append(times[inside], self.at), np.append(curve[inside], last)
        return float(np.trapezoid(curve, times))

    def bound(self, system: System) -> Functional:
        """Turn it into a function of states; errors as `value`."""
        if self.what == "flux" and self.species not in system.species:
            return self._events(system)
        self._require_known(self.species, list(system.species), "a species")
        if self.point is not None:
            found = functionals.value_at(system, self.species, np.array(self.point))
            if found is None:
                raise ValueError(self._outside(system))
            return found
        place = None if self.place is None else _place(system, self.place, self.name)
        if self.what == "flux":
            return self._flux(system, place)
        if place is not None:
            self._require_home(system, place)
        return (functionals.integral if self.what == "total" else functionals.average)(system, self.species, place)

    # --- parts ---

    def _recalled(self, solution: Solution) -> Floats | float:
        """Answer for a solution that keeps the last state alone, from what was observed where that is needed."""
        times = solution.observed_times
        for name, other in solution.quantities.items():
            if other == self:
                found: Floats | float = solution.observed[name]
                return found
            if replace(self, at=None) == other and self.what != "area":
                self.require_within(times)
                return self.answer(times, solution.observed[name])
        if self.what == "area":
            raise ValueError(f"{self.name} needs the states at all times{solution.advice}")
        self.require_within(solution.times, solution.advice)
        return self.answer(solution.times, self.bound(solution.system).over(solution.times, solution.values))

    def _events(self, system: System) -> Functional:
        """Bind the flux of a reaction."""
        reactions = {item.name: item for item in system.reactions}
        self._require_known(self.species, [*system.species, *reactions], "a species or reaction")
        own = reactions[self.species]
        if self.place is None:
            return functionals.events(system, own)
        place = _place(system, self.place, self.name)
        if place.name == own.compartment.name:
            return functionals.events(system, own)
        rows = np.intersect1d(own.compartment.rows, place.rows)
        if place.dimension != own.compartment.dimension or not len(rows):
            raise ValueError(
                f"{self.name} has no place: reaction {self.species!r} is in {own.compartment.name!r}; "
                f"give place={own.compartment.name!r} or a part of it"
            )
        return functionals.events(system, own, rows)

    def _flux(self, system: System, place: BoundCompartment | None) -> Functional:
        if place is None and self.species in {item.name for item in system.reactions}:
            raise ValueError(
                f"{self.name} may be of the species or of the reaction {self.species!r}; give place= for what the "
                "species gains there, or rename one of them"
            )
        found = functionals.gained(system, self.species, place)
        if found is None:
            changing = [item for item in system.reactions if item.change.get(self.species)]
            there = ", ".join(f"{item.name} in {item.compartment.name}" for item in changing)
            raise ValueError(
                f"{self.name} has no place: no reaction changes {self.species!r} there; give place= for one of these: "
                f"{there or '(none)'}"
            )
        return found

    def _require_home(self, system: System, place: BoundCompartment) -> None:
        """Refuse a place where the species has no values all over, or whose total would be no number of molecules."""
        home = system.species[self.species].compartment
        if place.name == home.name:
            return
        beside = home.dimension == 3 and place.dimension == 2 and bool(np.isin(place.nodes, home.nodes).all())
        alike = place.dimension == home.dimension and place.volume is None
        inside = np.isin(place.rows, home.rows) if alike else np.zeros(1, bool)
        if inside.all() or (beside and self.what != "total"):
            return
        if beside:
            raise ValueError(
                f"{self.name} would be no number of molecules, as {self.species!r} lives beside it, in {home.name!r}; "
                'ask for its "mean" there, or leave place= out'
            )
        where = "lives only in a part of it" if inside.any() else "does not live there"
        others = [name for name, item in system.species.items() if item.compartment.name == place.name]
        instead = f"; or ask for what lives there: {', '.join(others)}" if others else ""
        raise ValueError(
            f"{self.name} has no place: {self.species!r} {where}: it lives in {home.name!r}; give place={home.name!r} "
            f"or a part of it, or leave place= out{instead}"
        )

    def _outside(self, system: System) -> str:
        """Say where the point lies, and where it should."""
        home, mesh = system.species[self.species].compartment, system.mesh
        points = mesh.points[home.nodes]
        box = ", ".join(
            f"{low:.4g} ... {high:.4g}" for low, high in zip(points.min(axis=0), points.max(axis=0), strict=True)
        )
        return (
            f"{self.name}: the point lies outside {home.name!r}, where {self.species!r} lives, within ({box}) um; give "
            "a point inside, or a species that lives there"
        )

    def _require_known(self, name: str, known: list[str], what: str) -> None:
        if name not in known:
            raise ValueError(
                f"{self.name}: {name!r} is not {what} of the model{nearest(name, known)}; there are {', '.join(known)}"
            )


def _place(system: System, place: Place, what: str) -> BoundCompartment:
    """Find a place by the model's name for it, or in the mesh."""
    if isinstance(place, str) and place in system.compartments:
        return system.compartments[place]
    mesh = system.mesh
    if isinstance(place, str):
        known = [*system.compartments, *mesh.names.values(), *mesh.patches]
        for part in parts(place):
            if part not in known:
                raise ValueError(
                    f"{what}: no place is called {part!r}{nearest(part, known)}; there are "
                    f"{', '.join(name for name in dict.fromkeys(known) if name != 'outside')}"
                )
    text = place_text(place)
    return bound_compartment(Model({text: place}, ()), text, mesh)


def _within(at: float, times: Floats) -> bool:
    """Tell whether a time lies between the first and the last of some, to rounding."""
    slack = 1e-9 * max(float(np.ptp(times)), abs(float(times[-1])))
    return bool(times[0] - slack <= at <= times[-1] + slack)


def _finite(number: Any, what: str) -> Any:
    if not np.isfinite(number).all():
        raise ValueError(f"{what} should be finite; got {number}")
    return number
