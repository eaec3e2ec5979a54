"""Voxel volumes in HDF5, by the conventions of ilastik, Fiji and CREMI."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.files import MAX_DEFLATE, FileError, names_from_json, names_to_json, replacing, truncated
from meshcell.core.types import Volume
from meshcell.formats.volumes.pictures import Picture

log = logging.getLogger("meshcell")


# Attribute -> um per unit; the first that is there counts.
SIZES = {"element_size_um": 1.0, "spacing_um": 1.0, "spacing": 1.0, "spacing_nm": 1e-3, "resolution": 1e-3}
ORIGINS = {"origin_um": 1.0, "origin": 1.0}
KNOWN_DATASETS = ("labels", "data", "volume", "exported_data", "raw")


def read_hdf5(path: Path) -> Picture:
    """Read the one volume of an HDF5 file, or the one with a known name."""
    import h5py

    with h5py.File(path, "r") as file:
        dataset = _volume_dataset(path, file)
        check_storage(path, dataset)
        axes = _axes(path, dataset)
        order = "".join(axis for axis in axes if axis in "xyz")
        data = _one_value(path, dataset, axes).transpose([order.index(axis) for axis in "xyz"])
        spacing, origin = _along_xyz(dataset, SIZES, order), _along_xyz(dataset, ORIGINS, order)
        names = _names(file.get("names"))
        advice = f"dataset {dataset.name} has none of the attributes {', '.join(SIZES)}"
    return Picture(data, spacing, origin or (0.0, 0.0, 0.0), names_from_json(json.loads(names)), advice)


def _one_value(path: Path, dataset: Any, axes: str) -> Any:
    """Return one value per voxel; of ilastik's probabilities the most probable label, counted from 1 as there."""
    many = tuple(k for k, axis in enumerate(axes) if axis not in "xyz" and dataset.shape[k] != 1)
    if [axes[k] for k in many] == ["c"] and dataset.dtype.kind == "f":
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
    import h5py

    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        dataset = file.create_dataset("volume", data=volume.data.T, compression="gzip", shuffle=True)
        dataset.attrs["element_size_um"] = volume.spacing[::-1]
        dataset.attrs["origin_um"] = volume.origin[::-1]
        # A dataset, not an attribute: attributes end at 64 kB, which some thousand names exceed.
        file["names"] = json.dumps(names_to_json(volume.names))


def _volume_dataset(path: Path, file: Any) -> Any:
    import h5py

    found: list[Any] = []

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 3 and item.dtype.kind in "iufb":
            found.append(item)

    file.visititems(visit)
    known = [item for item in found if item.name.rsplit("/", 1)[-1] in KNOWN_DATASETS]
    for candidates in (found, known):
        if len(candidates) == 1:
            return candidates[0]
    there = ", ".join(f"{item.name} {item.shape}" for item in found) or "none"
    raise FileError(
        f"{path} should hold one array with three axes, or just one called {', '.join(KNOWN_DATASETS)}; there are: "
        f"{there}; copy the wanted one into a file of its own"
    )


def _names(item: Any) -> str:
    """Read the text of the dataset `names`; a foreign item of that name is something else."""
    import h5py

    ours = isinstance(item, h5py.Dataset) and item.shape == () and h5py.check_string_dtype(item.dtype) is not None
    return str(item.asstr()[()]) if ours else "{}"


def check_storage(path: Path, dataset: Any) -> None:
    """Refuse a dataset that promises more than is stored: HDF5 would take the memory and fill it with zeros."""
    stored = dataset.id.get_storage_size()
    most = stored if dataset.chunks is None else stored * MAX_DEFLATE
    if dataset.nbytes > most and dataset.compression in (None, "gzip", "lzf"):
        truncated(
            path, f"{dataset.nbytes:,} bytes in dataset {dataset.name}", f"{stored:,} stored bytes cannot hold it"
        )
    if dataset.chunks is not None:
        there, whole = dataset.id.get_num_chunks(), int(np.prod([-(-n // c) for n, c in _grid(dataset)]))
        if there < whole:
            log.info("%s: %d of %d chunks are not stored and read as %s", path, whole - there, whole, dataset.fillvalue)


def _grid(dataset: Any) -> list[tuple[int, int]]:
    return list(zip(dataset.shape, dataset.chunks, strict=True))


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
    return "zyx"


def _along_xyz(dataset: Any, attributes: dict[str, float], order: str) -> tuple[float, ...] | None:
    for name, unit in attributes.items():
        if name in dataset.attrs:
            values = np.atleast_1d(np.asarray(dataset.attrs[name], float)) * unit
            if len(values) == 1:
                values = np.repeat(values, 3)
            # ilastik and Fiji write element_size_um along z, y, x whatever the array's order; the others follow it.
            stored = "zyx" if name == "element_size_um" or len(values) != len(order) else order
            return tuple(float(values[stored.index(axis)]) for axis in "xyz")
    return None
