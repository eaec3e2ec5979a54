"""Solutions in npz archives: model, values and notes."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.types import TetMesh
from meshcell.formats.npz import mesh_in, put_mesh, write_arrays
from meshcell.models.compartments import Well
from meshcell.models.model import Model
from meshcell.models.observables import Quantity
from meshcell.models.parameters import Course, Field, Table
from meshcell.models.solutions import Solution
from meshcell.models.species import Pool, Reaction, Species
from meshcell.models.well_mixed import Domain, WellMixed

log = logging.getLogger("meshcell")


# Times at which a function of time is stored, beside those of the solution.
TABLE = 2001


def write_solution(path: Path, solution: Solution) -> None:
    """Write a solution as an npz archive that holds all of it."""
    arrays: dict[str, Array] = {}
    extras: list[Array] = []
    notes = {
        "mesh": _put_domain(arrays, solution.mesh),
        "model": _encoded(_without_functions(solution), extras, "model"),
        "stats": _encoded(solution.stats, extras, "stats"),
        "message": solution.message,
        "species": list(solution.values),
    }
    if solution.observed:
        names = ("observed", "observed_times", "quantities")
        notes["observed"] = _encoded({name: getattr(solution, name) for name in names}, extras, "observed")
    arrays["times"] = solution.times
    for row, name in enumerate(solution.values):
        arrays[f"values{row}"], arrays[f"nodes{row}"] = solution.values[name], solution.nodes[name]
    arrays |= {f"extra{row}": array for row, array in enumerate(extras)}
    write_arrays(path, "Solution", arrays, notes)


def _put_domain(arrays: dict[str, Array], mesh: Domain) -> dict[str, Any]:
    if isinstance(mesh, WellMixed):
        return {"sizes": dict(mesh.sizes), "dimensions": dict(mesh.dimensions)}
    return put_mesh(arrays, mesh, "mesh.")


def _domain_in(path: Path, arrays: Mapping[str, Array], notes: Mapping[str, Any]) -> Any:
    if "sizes" in notes:
        return WellMixed(notes["sizes"], notes["dimensions"])
    return mesh_in(path, TetMesh, arrays, "mesh.", notes, None)


def solution_in(path: Path, arrays: Mapping[str, Array], notes: Mapping[str, Any]) -> Solution:
    """Return the solution that an archive's arrays and notes hold."""
    species = list(enumerate(notes["species"]))
    log.info("%s: solution of %d species at %d times", path, len(species), len(arrays["times"]))
    return Solution(
        mesh=_domain_in(path, arrays, notes["mesh"]),
        model=_decoded(notes["model"], arrays),
        times=arrays["times"],
        values={name: arrays[f"values{row}"] for row, name in species},
        nodes={name: arrays[f"nodes{row}"] for row, name in species},
        stats=_decoded(notes["stats"], arrays),
        message=notes["message"],
        **_decoded(notes.get("observed", ["dict"]), arrays),
    )


def _without_functions(solution: Solution) -> Any:
    """Return the model with what a file can hold instead of functions: their values.

    Initial values at the nodes are exact. Functions of time become tables over the simulated time, which later
    analysis reads: between their times they are interpolated.
    """
    model = solution.model
    times = np.union1d(solution.times, solution.observed_times)
    moments, replaced = np.union1d(times, np.linspace(times[0], times[-1], TABLE)), []

    def stored(value: Any, what: str) -> Any:
        if isinstance(value, Course):
            replaced.append(what)
            return value.tabulated(moments)
        return value

    species = []
    for item in getattr(model, "species", ()):
        if isinstance(item, Pool):
            species.append(item)
            continue
        fixed = {place: stored(value, f"{item.name} at {place}") for place, value in item.fixed.items()}
        initial = item.initial
        if callable(initial):
            replaced.append(f"initial of {item.name}")
            first = solution.system.species[item.name].initial if solution.advice else solution.values[item.name][0]
            initial = Field(first, at="nodes")
        species.append(dataclasses.replace(item, fixed=fixed, initial=initial))
    if not species:
        return model
    parameters = {name: stored(value, name) for name, value in model.parameters.items()}
    if replaced:
        log.info("functions are stored by their values: %s", ", ".join(replaced))
    return dataclasses.replace(model, species=tuple(species), parameters=parameters) if replaced else model


def _encoded(value: Any, extras: list[Array], where: str) -> Any:
    """Write plain values as JSON that keeps tuples, keys of any kind, arrays and our dataclasses apart."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *(_encoded(item, extras, f"{where}[{k}]") for k, item in enumerate(value))]
    if isinstance(value, Mapping):
        pairs = ([_encoded(key, extras, where), _encoded(value[key], extras, f"{where}[{key!r}]")] for key in value)
        return ["dict", *pairs]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        extras.append(value)
        return ["array", len(extras) - 1]
    if type(value).__name__ in _model_classes():
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return [
            type(value).__name__,
            {name: _encoded(getattr(value, name), extras, f"{where}.{name}") for name in fields},
        ]
    raise TypeError(
        f"a solution is stored as numbers, texts, arrays, lists, tuples and dicts; {where} is a "
        f"{type(value).__name__}, which a file cannot hold; replace it, for instance by a text, before saving"
    )


def _decoded(value: Any, arrays: Mapping[str, Array]) -> Any:
    if not isinstance(value, list):
        return value
    kind, *items = value
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind](_decoded(item, arrays) for item in items)
    if kind == "dict":
        return {_decoded(key, arrays): _decoded(item, arrays) for key, item in items}
    if kind == "array":
        return arrays[f"extra{items[0]}"]
    fields = {name: _decoded(item, arrays) for name, item in items[0].items()}
    return _model_classes()[kind](**fields)


def _model_classes() -> dict[str, Any]:

    return {cls.__name__: cls for cls in (Species, Pool, Well, Reaction, Model, Table, Course, Field, Quantity)}
