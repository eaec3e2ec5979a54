"""NumPy archives (.npz): they hold every one of our types exactly; no pickles."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.io.files import (
    MAX_DEFLATE,
    FileError,
    log,
    merged_names,
    names_from_json,
    names_to_json,
    replacing,
    truncated,
    untagged,
)
from meshcell.io.volumes import Picture, check_npy_header, to_volume
from meshcell.types import Array, Solution, Surface, TetMesh, Volume

# Keys of foreign archives -> um per unit.
SIZES = {"spacing": 1.0, "spacing_um": 1.0, "voxel_size_um": 1.0, "spacing_nm": 1e-3, "voxel_size_nm": 1e-3}
ORIGINS = {"origin": 1.0, "origin_um": 1.0, "origin_nm": 1e-3}
KNOWN_ARRAYS = ("labels", "data", "volume")
# Times at which a function of time is stored, beside those of the solution.
TABLE = 2001
MESH_ARRAYS = {Surface: ("points", "triangles", "sides"), TetMesh: ("points", "tets", "regions", "facets", "sides")}


def read_npz(path: Path, spacing: Any, names: Mapping[int, str] | None) -> Volume | Surface | TetMesh | Solution:
    """Read our own archives of any type, and volumes of foreign ones."""
    arrays = _arrays(path)
    text = str(arrays["meshcell"]) if "meshcell" in arrays else ""
    for cls in (Surface, TetMesh, Solution):
        if notes := untagged(text, cls.__name__):
            if spacing is not None:
                raise FileError(f"{path}: spacing= is for volumes; this file holds a {cls.__name__}; leave it out")
            return _solution(path, arrays, notes) if cls is Solution else _mesh(path, cls, arrays, "", notes, names)
    return to_volume(path, _picture(path, arrays), spacing, names)


def write_npz(path: Path, thing: Volume | Surface | TetMesh | Solution) -> None:
    """Write any of our types; the arrays under their names, all else as JSON under `meshcell`."""
    arrays: dict[str, Array] = {}
    notes: dict[str, Any] = {"meshcell": 1, "kind": type(thing).__name__}
    if isinstance(thing, Volume):
        arrays |= {"data": thing.data, "spacing": np.array(thing.spacing), "origin": np.array(thing.origin)}
        arrays["names"] = np.array(json.dumps(names_to_json(thing.names)))
    elif isinstance(thing, Solution):
        notes |= _put_solution(arrays, thing)
    else:
        notes |= _put_mesh(arrays, thing, "")
    arrays["meshcell"] = np.array(json.dumps(notes))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _arrays(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > MAX_DEFLATE * member.compress_size + MAX_DEFLATE:
                stored = f"{member.compress_size:,} stored bytes cannot hold them"
                truncated(path, f"{member.file_size:,} bytes of {member.filename}", stored)
            with archive.open(member) as file:
                check_npy_header(path, file, member.file_size, member.filename.removesuffix(".npy"))
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


# --- volumes ---


def _picture(path: Path, arrays: Mapping[str, Array]) -> Picture:
    volumes = [key for key in arrays if arrays[key].ndim == 3]
    known = [key for key in KNOWN_ARRAYS if key in volumes] or volumes
    if not known or (len(known) > 1 and known[0] not in KNOWN_ARRAYS):
        there = ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "none"
        raise FileError(
            f"{path} should hold a volume with three axes (x, y, z) called {', '.join(KNOWN_ARRAYS)}; there are: "
            f"{there}; save the wanted one under one of these names"
        )
    names = names_from_json(_names_text(path, arrays["names"])) if "names" in arrays else {}
    origin = _scaled(arrays, ORIGINS)
    return Picture(
        arrays[known[0]],
        _scaled(arrays, SIZES),
        (0.0, 0.0, 0.0) if origin is None else origin,
        names,
        f"the archive has none of the keys {', '.join(SIZES)}",
    )


def _names_text(path: Path, names: Array) -> Any:
    if names.ndim == 0 and names.dtype.kind == "U":
        return json.loads(str(names))
    raise FileError(
        f'{path}: names should be one JSON text such as {{"1": "cytosol"}}; got an array {names.dtype} {names.shape}; '
        "save json.dumps(names), or leave it out of the file and pass names="
    )


def _scaled(arrays: Mapping[str, Array], keys: Mapping[str, float]) -> tuple[float, ...] | None:
    for key, unit in keys.items():
        if key in arrays:
            values = [float(value) * unit for value in np.atleast_1d(arrays[key])]
            return tuple(values * 3 if len(values) == 1 else values)
    return None


# --- surfaces and meshes ---


def _put_mesh(arrays: dict[str, Array], mesh: Surface | TetMesh, prefix: str) -> dict[str, Any]:
    for key in MESH_ARRAYS[type(mesh)]:
        arrays[prefix + key] = getattr(mesh, key)
    for row, rows in enumerate(mesh.patches.values()):
        arrays[f"{prefix}patch{row}"] = rows
    notes = {"names": names_to_json(mesh.names), "patches": list(mesh.patches)}
    return {**notes, "resolution": mesh.resolution} if isinstance(mesh, Surface) else notes


def _mesh(
    path: Path, cls: Any, arrays: Mapping[str, Array], prefix: str, notes: Any, names: Mapping[int, str] | None
) -> Any:
    own = {key: arrays[prefix + key] for key in MESH_ARRAYS[cls]}
    own |= {"resolution": notes["resolution"]} if cls is Surface else {}
    patches = {name: arrays[f"{prefix}patch{row}"] for row, name in enumerate(notes["patches"])}
    return cls(**own, names=merged_names(path, names_from_json(notes["names"]), names), patches=patches)


# --- solutions ---


def _put_solution(arrays: dict[str, Array], solution: Solution) -> dict[str, Any]:
    extras: list[Array] = []
    notes = {
        "mesh": _put_mesh(arrays, solution.mesh, "mesh."),
        "model": _encoded(_without_functions(solution), extras, "model"),
        "stats": _encoded(solution.stats, extras, "stats"),
        "message": solution.message,
        "species": list(solution.values),
    }
    arrays["times"] = solution.times
    for row, name in enumerate(solution.values):
        arrays[f"values{row}"], arrays[f"nodes{row}"] = solution.values[name], solution.nodes[name]
    arrays |= {f"extra{row}": array for row, array in enumerate(extras)}
    return notes


def _solution(path: Path, arrays: Mapping[str, Array], notes: Mapping[str, Any]) -> Solution:
    species = list(enumerate(notes["species"]))
    log.info("%s: solution of %d species at %d times", path, len(species), len(arrays["times"]))
    return Solution(
        mesh=_mesh(path, TetMesh, arrays, "mesh.", notes["mesh"], None),
        model=_decoded(notes["model"], arrays),
        times=arrays["times"],
        values={name: arrays[f"values{row}"] for row, name in species},
        nodes={name: arrays[f"nodes{row}"] for row, name in species},
        stats=_decoded(notes["stats"], arrays),
        message=notes["message"],
    )


def _without_functions(solution: Solution) -> Any:
    """Return the model with what a file can hold instead of functions: their values.

    Initial values at the nodes are exact. Functions of time become tables over the simulated time, which later
    analysis reads: between their times they are interpolated.
    """
    from meshcell.parameters import Course, Field

    model = solution.model
    span = np.linspace(solution.times[0], solution.times[-1], TABLE)
    moments, replaced = np.union1d(solution.times, span), []

    def stored(value: Any, what: str) -> Any:
        if isinstance(value, Course):
            replaced.append(what)
            return value.tabulated(moments)
        return value

    species = []
    for item in getattr(model, "species", ()):
        fixed = {place: stored(value, f"{item.name} at {place}") for place, value in item.fixed.items()}
        initial = item.initial
        if callable(initial):
            replaced.append(f"initial of {item.name}")
            initial = Field(solution.values[item.name][0], at="nodes")
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
    from meshcell.models import Model, Reaction, Species
    from meshcell.parameters import Course, Field, Table

    return {cls.__name__: cls for cls in (Species, Reaction, Model, Table, Course, Field)}
