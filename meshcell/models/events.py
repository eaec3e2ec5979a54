"""What happens to a run from outside: at a time, or when a condition becomes true, amounts or parameters jump."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from meshcell.core import units
from meshcell.core.arrays import Floats, set_fields
from meshcell.core.hints import nearest
from meshcell.core.units import Unit
from meshcell.models import expressions
from meshcell.models.binding import System, nodal_rate, whole_value
from meshcell.models.bound_places import BoundCompartment
from meshcell.models.consistency import amount_unit
from meshcell.models.expressions import VARIABLES, Expression
from meshcell.models.formula_trees import Tree, names, read_whole, switches, to_text
from meshcell.models.functionals import State
from meshcell.models.model import Model
from meshcell.models.parameters import Course, Table, number_and_unit
from meshcell.models.species import Pool
from meshcell.models.well_mixed import WellMixed

HOW = 'Event(2.0, add={"Ca": "1 uM"}) or Event("mean(Ca) > 5", set={"k": 0})'


@dataclass(frozen=True)
class Event:
    """Something that is done to a run: at given times, or each time that a condition becomes true.

    Parameters
    ----------
    when : number or text (s), list of them, or condition
        "20 ms", or a comparison of means, totals, pools, parameters and t: "mean(Ca) > c", "mean(A) > 2 and t > 1".
        A condition that holds from the start has to become false before it can become true.
    set : dict[str, number or text]
        Species -> its new value in all of its compartment; parameter -> its new number, which rates read from then on.
        A text is a quantity with its unit, or for a species a formula of t, x, y, z, parameters, means, and the species
        of its compartment, such as "A/2".
    add : dict[str, number or text]
        Species -> what is added to it, in the same way; molecules ("1000 molecule") are spread evenly.

    Raises
    ------
    ValueError, TypeError
        Nothing to do, no time and no condition. Names and units are checked with the model, by `solve`.

    Notes
    -----
    All that happens at one time happens at once, from the values before it. A state that is asked for at the time of an
    event is the one after it.

    When a condition becomes true is found to rtol of the step. It is looked for at the end of every step and, on the
    curve through the last states, at three times inside, and steps end where t alone switches it ("t > 1"): so a peak
    that is over within a step is met where the solution is smooth at the scale of steps, as errors see to. What holds
    for less than a quarter of a step may be missed; `longest` bounds steps. With equal steps (`step`) only their ends
    are looked at.

    Examples
    --------
    >>> Event("5 ms", add={"Ca": "1 uM"}).times
    (0.005,)
    >>> Event("mean(Ca) > 5", set={"k": 0.0}).times
    ()
    """

    when: Any
    set: Mapping[str, Any] = field(default_factory=dict)
    add: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what in ("set", "add"):
            given = getattr(self, what)
            if not isinstance(given, Mapping):
                raise TypeError(f"{what} of an Event should be a dict, as in {HOW}; got {given!r}")
            set_fields(self, **{what: {name: units.plain(given[name], f"{what} of {name!r}") for name in given}})
        if not self.set and not self.add:
            raise ValueError(f"an Event should set or add something, as in {HOW}; got neither")
        _ = self.times, self.condition

    @property
    def times(self) -> tuple[float, ...]:
        """When it happens, s; empty where a condition says it."""
        if self._is_condition:
            return ()
        moments = self.when if isinstance(self.when, (list, tuple, np.ndarray)) else [self.when]
        found = tuple(units.convert(moment, "s", "when of an Event") for moment in moments)
        bad = [moment for moment in found if not math.isfinite(moment)]
        if bad or not found:
            raise ValueError(f"when of an Event should be finite times in s or a condition; got {self.when!r}")
        return found

    @property
    def condition(self) -> Expression | None:
        """Positive where the condition holds, negative where it does not."""
        if not self._is_condition:
            return None
        parsed = expressions.parse(f"where({' '.join(self.when.split())}, 1, 0)", "condition of an Event")
        if not isinstance(parsed.tree, tuple):
            raise ValueError(f"the condition of an Event should change in time; {self.when!r} never does")
        tree = _margin(parsed.tree[1])
        return Expression(to_text(tree), tree, names(tree))

    @property
    def _is_condition(self) -> bool:
        return isinstance(self.when, str) and not units.is_quantity_text(self.when)

    def __str__(self) -> str:
        return f"event {self.when!r}"


def _margin(condition: Tree) -> Tree:
    """Turn a condition into a number that is positive where it holds."""
    assert isinstance(condition, tuple)
    operation, a, b = condition
    if operation in ("and", "or"):
        return ("min" if operation == "and" else "max", _margin(a), _margin(b))
    return ("-", a, b) if operation in (">", ">=") else ("-", b, a)


def _comparisons(margin: Tree) -> Iterator[Tree]:
    """Yield the differences that a margin is made of."""
    if isinstance(margin, tuple) and margin[0] in ("min", "max"):
        for part in margin[1:]:
            yield from _comparisons(part)
    else:
        yield margin


def _size(margin: Tree) -> Tree:
    """Return how large the numbers are that a condition compares, beside which its margin is or is not next to none."""
    sides = [part for margin in _comparisons(margin) if isinstance(margin, tuple) for part in margin[1:]]
    size: Tree = 0.0
    for side in sides:
        size = ("+", size, ("abs", side))
    return size


# --- with a model ---


def switching_times(events: Iterable[Event], model: Model) -> list[float]:
    """List the times (s) at which t alone switches a part of a condition."""
    conditions = [event.condition for event in events]
    trees = [expressions.substitute(found, model.parameter_values).tree for found in conditions if found is not None]
    return [time for tree in trees for part in _comparisons(tree) for time in switches(("heaviside", part))]


class Switched:
    """A parameter that events set: a number that jumps at times which are only known as they come."""

    def __init__(self, start: float) -> None:
        self.times, self.values = [-math.inf], [start]

    def __call__(self, t: Any) -> Any:
        """Return the number at a time (s), or at several."""
        return np.asarray(self.values)[np.searchsorted(self.times, t, side="right") - 1]

    def switch(self, t: float, value: float) -> None:
        """Take a new number from time t (s) on."""
        self.times.append(t)
        self.values.append(value)


def with_switches(model: Model, events: Iterable[Event]) -> tuple[Model, dict[str, Switched]]:
    """Return a model whose parameters that events set can be switched, and these."""
    species = [item.name for item in model.species]
    switches: dict[str, Switched] = {}
    courses: dict[str, Any] = {}
    for event in events:
        for name in (*event.set, *event.add):
            if name not in species and (name not in model.parameters or name in event.add):
                known = species if name in event.add else [*species, *model.parameters]
                what = "adds to" if name in event.add else "sets"
                raise ValueError(
                    f"{event} {what} {name!r}, which the model does not have{nearest(name, known)}; it has "
                    f"{', '.join(known)}"
                )
        for name in (name for name in event.set if name not in species):
            value, unit = number_and_unit(model.parameters[name], f"parameter {name!r}")
            if value is None:
                raise ValueError(
                    f"{event} sets {name!r}, which varies in time or place; set a parameter that is a number"
                )
            switches.setdefault(name, Switched(value))
            courses[name] = Course(switches[name], _unit_text(unit))
    return (replace(model, parameters={**model.parameters, **courses}) if courses else model), switches


def with_tables(model: Model, switches: Mapping[str, Switched], times: Floats) -> Model:
    """Return the model with tables of what its parameters were in a run, where they were switched."""
    tables = {}
    for name, switch in switches.items():
        if len(switch.times) > 1:
            moments, values = [float(times[0])], [switch.values[0]]
            for t, value in zip(switch.times[1:], switch.values[1:], strict=True):
                moments += [t, t]
                values += [values[-1], value]
            unit = number_and_unit(model.parameters[name], name)[1]
            tables[name] = Table(moments, values, _unit_text(unit))
    return replace(model, parameters={**model.parameters, **tables}) if tables else model


def _unit_text(unit: Unit | None) -> str | None:
    """Write a unit as courses and tables read it: "1" is no unit, None an unknown one."""
    return None if unit is None else str(unit) if unit.powers else "1"


# --- on a mesh ---


@dataclass(frozen=True, eq=False)
class BoundEvent:
    """An event in numbers.

    Parameters
    ----------
    event : Event
    margin, size : callable(t, state) -> float, or None
        Positive where the condition holds; and how large the numbers are that it compares.
    reads : tuple of str
        The species that these functions look at.
    sets, adds : dict[str, callable(t, state) -> float or (m,) floats]
        Species -> its new values, and what is added to it.
    switches : dict[str, float]
        Parameter -> its new number in base units.
    """

    event: Event
    margin: Callable[[float, State], float] | None
    size: Callable[[float, State], float] | None
    reads: tuple[str, ...]
    sets: dict[str, Callable[[float, State], Floats]]
    adds: dict[str, Callable[[float, State], Floats]]
    switches: dict[str, float]


def bind_event(event: Event, model: Model, system: System) -> BoundEvent:
    """Bind an event to a model and its mesh.

    Raises
    ------
    ValueError
        Units that do not fit, names that the model does not have or that differ from place to place.
    """
    reads: dict[str, None] = dict.fromkeys(event.add)
    switches = {
        name: _new_number(event, name, given, model) for name, given in event.set.items() if name not in system.species
    }
    sets, adds = (
        {name: _formula(event, name, part[name], model, system, reads) for name in part if name in system.species}
        for part in (event.set, event.add)
    )
    margin = _bound_margin(event, event.condition, model, system, reads)
    size = None
    if event.condition is not None:
        tree = _size(event.condition.tree)
        size = _bound_margin(event, Expression(to_text(tree), tree, names(tree)), model, system, reads)
    return BoundEvent(event, margin, size, tuple(reads), sets, adds, switches)


def _new_number(event: Event, name: str, given: Any, model: Model) -> float:
    what = f"{event} sets parameter {name!r}"
    try:
        value, unit = number_and_unit(given, what)
    except ValueError as error:
        raise ValueError(f"{what}, which should be to a number with its unit; got {given!r}: {error}") from error
    own = number_and_unit(model.parameters[name], name)[1]
    if unit is not None and own is not None and unit != own:
        raise ValueError(f"{what}, which is in {own}; got {given!r} in {unit}")
    assert value is not None
    return value


def _formula(
    event: Event, name: str, given: Any, model: Model, system: System, reads: dict[str, None]
) -> Callable[[float, State], Floats]:
    home, what = system.species[name].compartment, f"{event}, {name!r}"
    if not isinstance(given, str) or units.is_quantity_text(given):
        number = np.array(_amount(event, name, given, model, system))
        return lambda t, state: number
    near = [other for other, item in system.species.items() if item.compartment.name == home.name]
    known = [*(item.name for item in model.species), *model.parameters, *VARIABLES]
    parsed = expressions.parse(given, what, known)
    return _bound(parsed, near, home, model, system, reads, what)


def _amount(event: Event, name: str, given: Any, model: Model, system: System) -> float:
    """Return a number or quantity in the unit of a species; molecules are shared out evenly."""
    value, unit = number_and_unit(given, f"{event}, {name!r}")
    home = system.species[name].compartment
    own = amount_unit(model, next(item for item in model.species if item.name == name), home.dimension)
    assert value is not None
    if unit == Unit.of(molecule=1) and own != unit and name in event.add:
        return float(value / home.mass(system.mesh).sum())
    if unit is not None and own is not None and unit != own:
        raise ValueError(f"{event}: {name!r} is in {own}; got {given!r} in {unit}")
    return value


def _bound_margin(
    event: Event, condition: Expression | None, model: Model, system: System, reads: dict[str, None]
) -> Callable[[float, State], float] | None:
    if condition is None:
        return None
    what = f"condition {event.when!r}"
    species = {item.name: item for item in model.species}
    known = [name for name, item in species.items() if isinstance(item, Pool)] + [*model.parameters, "t"]
    for name in condition.names:
        if name in species and name not in known:
            raise ValueError(f"{what}: {name!r} has a value at every node; write mean({name}) or total({name})")
        own = (read_whole(name) or ("", name))[1]
        if own not in (*species, *known):
            raise ValueError(f"{what}: the model has no {own!r}{nearest(own, [*species, *known])}")
    here = BoundCompartment("", 3, np.zeros(0, np.int32), np.zeros(1, np.int32), 1.0)
    formula = _bound(condition, [], here, model, system, reads, what)
    return lambda t, state: float(np.ravel(formula(t, state))[0])


def _bound(
    parsed: Expression,
    near: Iterable[str],
    home: BoundCompartment,
    model: Model,
    system: System,
    reads: dict[str, None],
    what: str,
) -> Callable[[float, State], Floats]:
    """Compile a formula for the nodes of a compartment, and note which species it looks at."""
    formula = expressions.substitute(parsed, model.parameter_values)
    # Without a mesh all species are in one place.
    near = list(system.species) if isinstance(system.mesh, WellMixed) else near
    local = [name for name in formula.names if name in near]
    wholes = {
        name: found
        for name in formula.names
        if name not in local and (found := whole_value(name, home, system.compartments, system.species, system.mesh))
    }
    beyond = [name for name in formula.names if name in system.species and name not in (*local, *wholes)]
    if beyond:
        raise ValueError(f"{what}: {beyond[0]!r} lives elsewhere; write mean({beyond[0]}) or total({beyond[0]})")
    reads.update(dict.fromkeys([*local, *(item.species for item in wholes.values())]))
    rate = nodal_rate(formula, model.varying, (*local, *wholes), home, system.mesh, what)
    xyz = home.xyz(system.mesh)

    def values(t: float, state: State) -> Floats:
        numbers = [np.array(item.of(state[item.species])) for item in wholes.values()]
        return rate([*(state[name] for name in local), *numbers], t, xyz)

    return values
