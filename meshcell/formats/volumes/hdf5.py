"""Voxel volumes in HDF5, by the conventions of ilastik, Fiji, CREMI, PlantSeg and NeuroProof."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError, names_from_json, names_to_json, replacing
from meshcell.core.types import Volume
from meshcell.formats.volumes.candidates import Candidate, chosen
from meshcell.formats.volumes.hdf5_storage import check_storage, check_text, datasets_in, hdf5_bytes, opened
from meshcell.formats.volumes.lengths import um_per
from meshcell.formats.volumes.pictures import Picture

# Attribute -> um per unit; the first that is there counts. None: only with a unit beside it.
SIZES = {
    "element_size_um": 1.0,
    "spacing_um": 1.0,
    "spacing_nm": 1e-3,
    "spacing": 1.0,
    "resolution": 1e-3,
    "voxel_size": None,
}
ORIGINS = {"origin_um": 1.0, "origin": 1.0, "offset": None}
# Written by programs that do not know the size, where all three are 1 and no unit stands beside them.
DEFAULTED = ("element_size_um", "resolution", "spacing")
# What stands between the numbers of a text; a number and the unit behind it, if there is one.
BETWEEN = re.compile(r"[,;\u00d7()\[\]]|(?<=[\d\s])x(?=[\d\s])")
QUANTITY = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)[ \t]*([A-Za-zµμÅå\"]*)")
UNITS = ("units", "unit", "{}_units", "{}_unit", "voxel_units", "voxel_unit", "spatial_units", "spatial_unit")


def read_hdf5(path: Path, dataset: str | None = None, kind: str | None = None) -> Picture:
    """Read the one volume of an HDF5 file, the one that is asked for, or the labels beside grey values."""
    with opened(path) as file:
        found = {name: item for name, item in datasets_in(path, file).items() if _is_volume(item)}
        choice = chosen(path, [Candidate(n, d.shape, d.dtype) for n, d in found.items()], dataset, kind)
        item = found[choice.name]
        check_storage(path, item)
        axes = _axes(path, item)
        order = "".join(axis for axis in axes if axis in "xyz")
        data = _one_value(path, item, axes, kind).transpose([order.index(axis) for axis in "xyz"])
        data = _bodies(path, item, data)
        names = _names(path, file.get("names"))
        ours = names is not None and choice.name == "/volume"
        spacing, told = _along_xyz(path, item, SIZES, order, doubt=not ours)
        # CREMI's offset has the unit of its resolution.
        origins = {**ORIGINS, "offset": SIZES["resolution"] if "resolution" in item.attrs else None}
        origin, _ = _along_xyz(path, item, origins, order)
    stored = names_from_json(json.loads(names or "{}"))
    advice = f"dataset {choice.name} has {told}"
    return Picture(data, spacing, origin or (0.0, 0.0, 0.0), stored, advice, kind=choice.kind, ours=ours)


def _is_volume(item: Any) -> bool:
    return item.dtype.kind in "iufb" and len(item.shape or ()) >= 3


def _bodies(path: Path, item: Any, data: Array) -> Array:
    """Put NeuroProof's supervoxels together to bodies, by the pairs in `transforms` beside `stack`."""
    pairs = item.parent.get("transforms") if item.name.rpartition("/")[2] == "stack" else None
    if pairs is None or getattr(pairs, "ndim", 0) != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        return data
    check_storage(path, pairs)
    table = pairs[()]
    present, which = np.unique(data, return_inverse=True)
    order = np.argsort(table[:, 0], kind="stable")
    rows = order[np.searchsorted(table[:, 0], present, sorter=order).clip(max=len(table) - 1)] if len(table) else order
    known = table[rows, 0] == present if len(table) else np.zeros(len(present), bool)
    missing = present[~known & (present != 0)]
    if len(missing):
        raise FileError(
            f"{path}: {pairs.name} should give the body of every supervoxel in {item.name}; {len(missing)} have none, "
            f"the first is {missing[0]}; complete the pairs, or copy {item.name} into a file of its own"
        )
    bodies = np.zeros(len(present), table.dtype)
    bodies[known] = table[rows[known], 1]
    return bodies[which].reshape(data.shape)


def _one_value(path: Path, dataset: Any, axes: str, kind: str | None) -> Any:
    """Return one value per voxel; of ilastik's probabilities the most probable label, counted from 1 as there."""
    many = tuple(k for k, axis in enumerate(axes) if axis not in "xyz" and dataset.shape[k] != 1)
    if [axes[k] for k in many] == ["c"] and dataset.dtype.kind == "f" and kind != "intensities":
        data = dataset[()]
        if data.min() >= 0 and np.allclose(data.sum(axis=many), 1, atol=1e-3):
            best = data.argmax(axis=many[0]).astype(np.uint8) + np.uint8(1)
            return np.squeeze(best, axis=tuple(k for k, axis in enumerate(axes.replace("c", "")) if axis not in "xyz"))
    if many:
        raise FileError(
            f"{path}: dataset {dataset.name} should have one value per voxel, or the probabilities of labels along c; "
            f"got axes {axes} {dataset.shape}; write one channel and one time"
        )
    return np.squeeze(dataset[()], axis=tuple(k for k, axis in enumerate(axes) if axis not in "xyz"))


def write_hdf5(path: Path, volume: Volume) -> None:
    """Write one dataset `volume`, stored z, y, x with its voxel size in `element_size_um`, and the names beside it."""

    def fill(file: Any) -> None:
        # Fletcher's checksum, since HDF5 has none of its own for chunks.
        packed = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        dataset = file.create_dataset("volume", data=volume.data.T, **packed)
        dataset.attrs["element_size_um"] = volume.spacing[::-1]
        dataset.attrs["origin_um"] = volume.origin[::-1]
        # A dataset, not an attribute: attributes end at 64 kB, which some thousand names exceed. Bytes, not a text:
        # texts lie in a heap of their own, and HDF5 believes whatever length stands there.
        file["names"] = np.bytes_(json.dumps(names_to_json(volume.names)))

    with replacing(path) as temporary:
        temporary.write_bytes(hdf5_bytes(fill))


def _names(path: Path, item: Any) -> str | None:
    """Read the text of the dataset `names`; a foreign item of that name is something else."""
    import h5py

    if not isinstance(item, h5py.Dataset) or item.shape != ():
        return None
    if item.dtype.kind == "S":
        check_storage(path, item)
        return bytes(item[()]).decode()
    if h5py.check_string_dtype(item.dtype) is None:
        return None
    check_text(path, item)
    return str(item.asstr()[()])


def _axes(path: Path, dataset: Any) -> str:
    tags = dataset.attrs.get("axistags")
    if tags is not None:
        axes = "".join(str(entry["key"]) for entry in json.loads(tags)["axes"])
        if len(axes) == dataset.ndim and sorted(axis for axis in axes if axis in "xyz") == ["x", "y", "z"]:
            return axes
        raise FileError(f"{path}: axistags should name x, y, z among {dataset.ndim} axes; got {axes!r}; mend them")
    if dataset.ndim != 3:
        raise FileError(
            f"{path}: dataset {dataset.name} should have three axes z, y, x, or axistags that name them; got shape "
            f"{dataset.shape}; write one channel and one time"
        )
    labels = "".join(dimension.label for dimension in dataset.dims)
    return labels if sorted(labels) == ["x", "y", "z"] else "zyx"


def _along_xyz(
    path: Path, dataset: Any, attributes: dict[str, float | None], order: str, *, doubt: bool = False
) -> tuple[tuple[float, ...] | None, str]:
    """Return three lengths in um, or None; and what was found. `doubt` leaves out sizes that no one has measured."""
    told = f"none of the attributes {', '.join(attributes)}"
    for name, usual in attributes.items():
        if name not in dataset.attrs:
            continue
        values, units = _lengths(dataset, name)
        if values is None:
            told += f"; {name} is {units[0]}, where a length or three would be"
            _warn_odd(path, dataset, name, units[0])
            continue
        told = f"{name} {values.tolist()}" + (f" in {', '.join(units)}" if units else "")
        if doubt and name in DEFAULTED and not units and (values == 1).all():
            told += ", which programs write when they do not know it"
            continue
        factors = [um_per(unit) for unit in units] if units else [usual]
        if None in factors or len(factors) not in (1, len(values)):
            told += ", which is no length" if units else ", without a unit"
            continue
        scaled = values * np.array(factors, float)
        # ilastik and Fiji write element_size_um along z, y, x whatever the array's order; the others follow it.
        stored = "zyx" if name == "element_size_um" else order
        return tuple(float(scaled[stored.index(axis)]) for axis in "xyz"), told
    return None, told


def _lengths(dataset: Any, name: str) -> tuple[Array | None, list[str]]:
    """Return three numbers of an attribute and their units; None and what stands there where it holds no lengths.

    Numbers may be a text, with or without a unit behind each.
    """
    found = np.ravel(dataset.attrs[name]).tolist()
    texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in found]
    said = repr(texts[0] if len(texts) == 1 else texts)[:80]
    units, odd = _units(dataset, name), (None, [said if texts else "empty"])
    if texts and all(isinstance(text, str) for text in texts):
        text = BETWEEN.sub(" ", " ".join(texts))
        pairs = QUANTITY.findall(text)
        behind = [unit for _, unit in pairs if unit]
        # One unit for all stands behind the last.
        whole = len(behind) in (0, len(pairs)) or behind == [pairs[-1][1]]
        if QUANTITY.sub("", text).strip() or not whole:
            return odd
        texts, units = [float(number) for number, _ in pairs], behind or units
    if not all(isinstance(value, int | float) for value in texts) or len(texts) not in (1, 3):
        return odd
    values = np.array(texts, float)
    return (np.resize(values, 3), units) if np.isfinite(values).all() else odd


def _warn_odd(path: Path, dataset: Any, name: str, found: str) -> None:
    warnings.warn(
        f"{path}: the attribute {name} of {dataset.name} should be a length or three; it is {found} and is left out",
        stacklevel=2,
    )


def _units(dataset: Any, name: str) -> list[str]:
    """Return the unit of an attribute, or one for every axis, where one is written beside it."""
    if name.endswith(("_um", "_nm")):
        return []
    for key in UNITS:
        found = dataset.attrs.get(key.format(name))
        if found is not None:
            texts = np.atleast_1d(found).tolist()
            return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]
    return []
