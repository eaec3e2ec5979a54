"""What may stand for a number in a model: a number, a text with its unit, a course in time, an array over the mesh."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from meshcell.core import units
from meshcell.core.arrays import Floats, set_fields
from meshcell.core.units import Unit

Tensor = tuple[tuple[float | str, ...], ...]
# Tensors are taken for symmetric, and their eigenvalues for no less than zero, to this share of their size: single
# precision.
OF_TENSOR = 1e-6
# A point of a table is a corner if it lies off the line through its neighbours by this share of the table's range.
CORNER = 0.02


@dataclass(frozen=True)
class Table:
    """Values at given times, interpolated linearly; before the first and after the last they stay as they are.

    Parameters
    ----------
    times : sequence of k numbers
        Ascending, in `time_unit`; a time given twice is a jump. The solver does not step over jumps and corners, and
        over other points as far as errors allow.
    values : sequence of k numbers
        In `unit`; without one in base units (um, s, molecule), and units are not checked where the table is used.
    unit : str, optional
    time_unit : str

    Raises
    ------
    ValueError, TypeError
        Unequal lengths, times that do not ascend, numbers that are not finite, a unit that does not exist.

    Examples
    --------
    >>> pulse = Table([0, 5, 10], [0, 3, 0], "um/s", time_unit="ms")
    >>> float(pulse(0.0025)), pulse.events
    (1.5, (0.0, 0.005, 0.01))
    """

    times: Sequence[float]
    values: Sequence[float]
    unit: str | None = None
    time_unit: str = "s"

    def __post_init__(self) -> None:
        times, values = (_numbers(column, what) for column, what in ((self.times, "times"), (self.values, "values")))
        if len(times) != len(values) or not times:
            raise ValueError(f"a Table should have as many values as times; got {len(values)} and {len(times)}")
        back = np.flatnonzero(np.diff(times) < 0)
        if len(back):
            raise ValueError(f"times of a Table should ascend; got {times[back[0]]:g} and then {times[back[0] + 1]:g}")
        set_fields(self, times=times, values=values)
        units.convert(f"1 {self.time_unit}", "s", "time_unit of a Table")
        _scale_and_unit(self.unit, "unit of a Table")

    @cached_property
    def events(self) -> tuple[float, ...]:
        """Times (s) of jumps and corners: where a straight line through the neighbours is far from the value."""
        times, values = np.asarray(self.times_in_s), self.in_base
        if len(times) < 3:
            return tuple(times.tolist())
        before, after = np.diff(times)[:-1], np.diff(times)[1:]
        whole = np.maximum(before + after, np.finfo(float).tiny)
        line = (values[:-2] * after + values[2:] * before) / whole
        bent = np.abs(values[1:-1] - line) > CORNER * np.ptp(values)
        corner = np.concatenate([[True], bent | (before == 0) | (after == 0), [True]])
        return tuple(times[corner].tolist())

    @cached_property
    def times_in_s(self) -> tuple[float, ...]:
        """Times (s) of all points."""
        scale = units.convert(f"1 {self.time_unit}", "s", "time_unit of a Table")
        return tuple(time * scale for time in self.times)

    @cached_property
    def in_base(self) -> Floats:
        """(k,) values in base units."""
        return np.asarray(np.asarray(self.values) * _scale_and_unit(self.unit, "unit of a Table")[0])

    def __call__(self, t: float) -> float:
        """Return the value at time t (s), in base units."""
        return float(np.interp(t, self.times_in_s, self.in_base))

    def at(self, times: Floats) -> Floats:
        """(n,) values at some times (s), in base units."""
        return np.asarray(np.interp(times, self.times_in_s, self.in_base))


@dataclass(frozen=True)
class Course:
    """A function of time with the unit of its values and the times at which it jumps or bends.

    Parameters
    ----------
    function : callable(t) -> float
        t in s; called many times, not only forwards.
    unit : str, optional
        Without one the values are in base units, and units are not checked where the course is used.
    events : sequence of numbers, s
        The solver does not step over them.

    Examples
    --------
    >>> Course(lambda t: 2 * t, "mm/s")(3.0)
    6000.0
    """

    function: Callable[[float], float]
    unit: str | None = None
    events: Sequence[float] = ()

    def __post_init__(self) -> None:
        set_fields(self, events=_numbers(self.events, "events"))
        _scale_and_unit(self.unit, "unit of a Course")
        try:
            value = float(self.function(0.0))
        except Exception as error:  # whatever the user's function raises
            raise ValueError(f"a function of time should return one number; at t = 0 it raised {error!r}") from error
        if not math.isfinite(value):
            raise ValueError(f"a function of time should return finite numbers; at t = 0 it gave {value}")

    @cached_property
    def _scale(self) -> float:
        return _scale_and_unit(self.unit, "unit of a Course")[0]

    def __call__(self, t: float) -> float:
        """Return the value at time t (s), in base units."""
        return float(self.function(t)) * self._scale

    def at(self, times: Floats) -> Floats:
        """(n,) values at some times (s), in base units; at once where the function takes arrays."""
        if self._takes_arrays and len(times) > 1:
            return np.asarray(self.function(times), np.float64) * self._scale  # type: ignore[arg-type]
        return np.fromiter(map(self.function, times.tolist()), np.float64, len(times)) * self._scale

    @cached_property
    def _takes_arrays(self) -> bool:
        """Whether the function gives an array the values that it gives its numbers."""
        trial = np.array([0.0, 1e-3, 0.37, 1.0, 12.5])
        try:
            values = np.asarray(self.function(trial), np.float64)  # type: ignore[arg-type]
            return values.shape == trial.shape and bool((values == [self.function(t) for t in trial.tolist()]).all())
        except Exception:  # whatever the user's function raises
            return False

    def tabulated(self, times: Floats) -> Table:
        """Return the function's values at some times (s) and on both sides of its events, as a table."""
        moments = [(t, t) for t in times.tolist() if t not in self.events]
        moments += [(event, np.nextafter(event, way)) for event in self.events for way in (-np.inf, np.inf)]
        moments.sort()
        return Table([t for t, _ in moments], [float(self.function(float(at))) for _, at in moments], self.unit)


@dataclass(frozen=True, eq=False)
class Field:
    """One value per node or cell of the compartment where it is used.

    Parameters
    ----------
    values : (m,) floats, or (m, 3, 3) floats as a diffusion
        For each node or cell (tetrahedron of a region, facet of an interface or patch) of the compartment, in the
        mesh's order, or for each of the whole mesh: `len(mesh.points)`, `len(mesh.tets)`, `len(mesh.facets)`. Nodes
        take the mean of their cells' values, weighted so that the integral is kept. Tensors are those of cells.
    unit : str, optional
        Without one the values are in base units, and units are not checked where the field is used.
    at : {"nodes", "cells"}, optional
        Needed only where the length fits both.

    Examples
    --------
    >>> Field(np.array([1.0, 3.0]), "1/ms").in_base.tolist()
    [1000.0, 3000.0]
    """

    values: Floats
    unit: str | None = None
    at: str | None = None

    def __post_init__(self) -> None:
        values = np.array(self.values, np.float64)
        if values.ndim != 1 and values.shape[1:] != (3, 3):
            raise ValueError(
                f"a Field should hold one number per node or cell; got shape {values.shape}; a diffusion may also be "
                "one 3 x 3 tensor per cell, (c, 3, 3)"
            )
        bad = np.unique(np.nonzero(~np.isfinite(values))[0])
        if len(bad):
            raise ValueError(f"a Field should hold finite numbers; {len(bad)} are not, the first is row {bad[0]}")
        if self.at not in (None, "nodes", "cells"):
            raise ValueError(f"at should be 'nodes' or 'cells'; got {self.at!r}")
        if values.ndim == 3:
            if self.at == "nodes":
                raise ValueError("a Field of tensors should be at 'cells', as diffusion is; got at='nodes'")
            set_fields(self, at="cells")
        _scale_and_unit(self.unit, "unit of a Field")
        values.flags.writeable = False
        set_fields(self, values=values)

    @property
    def in_base(self) -> Floats:
        """(m,) or (m, 3, 3) values in base units."""
        return np.asarray(self.values * _scale_and_unit(self.unit, "unit of a Field")[0])


Varying = Table | Course | Field
Given = float | str | Varying


def checked_given(value: Any, what: str, *, tensors: bool = False) -> Given:
    """Return what stands for a number in its one form: float, text, Table, Course or Field.

    Raises
    ------
    ValueError, TypeError
        What is no such thing; fields of tensors, where these are no good.
    """
    if isinstance(value, np.ndarray) and value.ndim in (1, 3):
        value = Field(value)
    elif np.ndim(getattr(value, "magnitude", 0)) in (1, 3):
        value = Field(value.magnitude, f"{value.units:D}")
    if isinstance(value, Field) and value.values.ndim == 3 and not tensors:
        raise ValueError(
            f"{what} should be one number per node or cell; got a Field of 3 x 3 tensors, which only a diffusion can "
            "be; give it to the species, or one Field for each entry"
        )
    if isinstance(value, (Table, Course, Field)):
        return value
    if callable(value):
        try:
            return Course(value)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error
    return units.plain(value, what)


def number_and_unit(value: Given, what: str) -> tuple[float | None, Unit | None]:
    """Return a value in base units, None where it varies, and its unit, None where none was written."""
    if isinstance(value, (Table, Course, Field)):
        return None, None if value.unit is None else _scale_and_unit(value.unit, what)[1]
    if isinstance(value, str):
        return units.to_base(value, what)
    return value, None


def check_tensors(tensors: Floats, what: str, where: Callable[[int], str]) -> None:
    """Refuse tensors (n, 3, 3), in um^2/s, that are not symmetric or have an eigenvalue below zero.

    Both count beyond OF_TENSOR. `where` names a row for the error.

    Raises
    ------
    ValueError
    """
    size = OF_TENSOR * np.abs(tensors).max(axis=(1, 2), initial=0)
    skew = np.abs(tensors - tensors.transpose(0, 2, 1)).max(axis=(1, 2), initial=0)
    bad = np.flatnonzero(skew > size)
    if len(bad):
        rows = "; ".join(", ".join(f"{entry:g}" for entry in row) for row in tensors[bad[0]])
        raise ValueError(
            f"{what} should be a symmetric tensor; it is not{where(bad[0])}: ({rows}); give the entries xy and yx, xz "
            "and zx, yz and zy the same values"
        )
    least = np.linalg.eigvalsh(tensors)[:, 0]
    bad = np.flatnonzero(least < -size)
    if len(bad):
        raise ValueError(
            f"{what} should have no eigenvalue below 0 um^2/s, as nothing diffuses uphill; it has {least[bad[0]]:g}"
            f"{where(bad[0])}; make it of directions and what is at least 0 along them"
        )


def written(value: Any) -> str:
    """Write a value for a table."""
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return f"({'; '.join(', '.join(map(written, row)) for row in value)})"
    unit = f" {value.unit}" if getattr(value, "unit", None) else ""
    if isinstance(value, Table):
        return f"table of {len(value.times)} times, {min(value.values):g} ... {max(value.values):g}{unit}"
    if isinstance(value, Field) and value.values.ndim == 3:
        return f"field of {len(value.values)} tensors{unit}"
    if isinstance(value, Field):
        span = f", {value.values.min():g} ... {value.values.max():g}" if len(value.values) else ""
        return f"field of {len(value.values)} values{span}{unit}"
    if isinstance(value, Course):
        return f"{_function_name(value.function)}(t){unit}"
    return f"{_function_name(value)}(points)" if callable(value) else f"{value:g}"


def _function_name(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return "function" if name == "<lambda>" else name


def _numbers(column: Any, what: str) -> tuple[float, ...]:
    array = np.asarray(column, np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"{what} should be a list of finite numbers; got {column!r}")
    return tuple(array.tolist())


def _scale_and_unit(unit: str | None, what: str) -> tuple[float, Unit]:
    return (1.0, Unit()) if unit is None else units.of_one(unit, what)
