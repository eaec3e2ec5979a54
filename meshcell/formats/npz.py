"""NumPy archives (.npz): they hold every one of our types exactly; no pickles."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import (
    MAX_DEFLATE,
    FileError,
    merged_names,
    names_from_json,
    names_to_json,
    replacing,
    truncated,
    untagged,
)
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.formats.cell_arrays import mention_absent
from meshcell.formats.volumes.candidates import Candidate, chosen
from meshcell.formats.volumes.npy import check_npy_header
from meshcell.formats.volumes.pictures import Picture, no_choice, to_volume

# Keys of foreign archives -> um per unit.
SIZES = {"spacing": 1.0, "spacing_um": 1.0, "voxel_size_um": 1.0, "spacing_nm": 1e-3, "voxel_size_nm": 1e-3}
ORIGINS = {"origin": 1.0, "origin_um": 1.0, "origin_nm": 1e-3}
MESH_ARRAYS = {Surface: ("points", "triangles", "sides"), TetMesh: ("points", "tets", "regions", "facets", "sides")}


def read_npz(
    path: Path,
    spacing: Any,
    names: Mapping[int, str] | None,
    dataset: str | None = None,
    kind: str | None = None,
) -> Volume | Surface | TetMesh:
    """Read our own archives of volumes, surfaces and meshes, and volumes of foreign ones."""
    return thing_in(path, read_arrays(path), spacing, names, dataset, kind)


def thing_in(
    path: Path,
    arrays: Mapping[str, Array],
    spacing: Any,
    names: Mapping[int, str] | None,
    dataset: str | None = None,
    kind: str | None = None,
) -> Volume | Surface | TetMesh:
    """Return what the arrays of an archive are."""
    for cls in (Surface, TetMesh):
        if notes := notes_in(path, arrays, cls.__name__, spacing):
            no_choice(path, f"a {cls.__name__}", dataset, kind)
            mesh: Surface | TetMesh = mesh_in(path, cls, arrays, "", notes, names)
            mention_absent(path, mesh, names or {})
            return mesh
    return to_volume(path, _picture(path, arrays, dataset, kind), spacing, names, kind)


def notes_in(path: Path, arrays: Mapping[str, Array], kind: str, spacing: Any) -> dict[str, Any]:
    """Return what is noted beside the arrays if they are one of our things of this kind, else nothing."""
    notes = untagged(str(arrays["meshcell"]) if "meshcell" in arrays else "", kind)
    if notes and spacing is not None:
        raise FileError(f"{path}: spacing= is for volumes; this file holds a {kind}; leave it out")
    return notes


def write_npz(path: Path, thing: Volume | Surface | TetMesh) -> None:
    """Write a volume, surface or mesh; the arrays under their names, all else as JSON under `meshcell`."""
    arrays: dict[str, Array] = {}
    notes: dict[str, Any] = {}
    if isinstance(thing, Volume):
        arrays |= {"data": thing.data, "spacing": np.array(thing.spacing), "origin": np.array(thing.origin)}
        arrays["names"] = np.array(json.dumps(names_to_json(thing.names)))
    else:
        notes |= put_mesh(arrays, thing, "")
    write_arrays(path, type(thing).__name__, arrays, notes)


def write_arrays(path: Path, kind: str, arrays: dict[str, Array], notes: Mapping[str, Any]) -> None:
    """Write arrays, and what there is to note of them, as one of our things."""
    arrays["meshcell"] = np.array(json.dumps({"meshcell": 1, "kind": kind, **notes}))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of an archive; refuse members that promise more than their bytes can hold."""
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


def _picture(path: Path, arrays: Mapping[str, Array], dataset: str | None, kind: str | None) -> Picture:
    ours = bool(notes_in(path, arrays, "Volume", None))
    volumes = [Candidate(key, array.shape, array.dtype) for key, array in arrays.items() if array.ndim == 3]
    if not volumes:
        there = ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "none"
        raise FileError(
            f"{path} should hold a volume with three axes (x, y, z); there are: {there}; add axes of one entry"
        )
    choice = chosen(path, volumes, dataset, kind)
    names = names_from_json(_names_text(path, arrays["names"])) if "names" in arrays else {}
    spacing, origin = _scaled(arrays, SIZES), _scaled(arrays, ORIGINS)
    told = f"the archive has none of the keys {', '.join(SIZES)}"
    return Picture(
        arrays[choice.name],
        spacing,
        (0.0, 0.0, 0.0) if origin is None else origin,
        names,
        told,
        kind=choice.kind,
        ours=ours,
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


def put_mesh(arrays: dict[str, Array], mesh: Surface | TetMesh, prefix: str) -> dict[str, Any]:
    """Put a surface's or mesh's arrays among `arrays`, names after `prefix`; return what is to be noted beside them."""
    for key in MESH_ARRAYS[type(mesh)]:
        arrays[prefix + key] = getattr(mesh, key)
    for row, rows in enumerate(mesh.patches.values()):
        arrays[f"{prefix}patch{row}"] = rows
    notes = {"names": names_to_json(mesh.names), "patches": list(mesh.patches)}
    return {**notes, "resolution": mesh.resolution} if isinstance(mesh, Surface) else notes


def mesh_in(
    path: Path, cls: Any, arrays: Mapping[str, Array], prefix: str, notes: Any, names: Mapping[int, str] | None
) -> Any:
    """Return the surface or mesh of type `cls` that an archive's arrays and notes hold."""
    own = {key: arrays[prefix + key] for key in MESH_ARRAYS[cls]}
    own |= {"resolution": notes["resolution"]} if cls is Surface else {}
    patches = {name: arrays[f"{prefix}patch{row}"] for row, name in enumerate(notes["patches"])}
    return cls(**own, names=merged_names(path, names_from_json(notes["names"]), names), patches=patches)


# --- solutions ---
