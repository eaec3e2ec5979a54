"""What HDF5 would pass over in silence: arrays that are not stored, files that are not there, a disk that is full."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.files import MAX_DEFLATE, FileError, truncated

# Links may lead in circles; no file of volumes is nested deeper.
DEEPEST = 12
# How a heap of texts begins, with the version and reserved bytes that tell it from voxels; files put theirs in front.
HEAP = b"GCOL\1\0\0\0"
LOOKED_AT = 2**28


def hdf5_bytes(fill: Callable[[Any], None]) -> bytes:
    """Make an HDF5 file in memory and return its bytes.

    HDF5 that cannot write, on a full disk, fails once more when the file is closed, and takes the process with it.
    """
    import h5py

    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading, unless its texts would keep HDF5 busy for ever."""
    import h5py

    _check_heaps(path)
    with h5py.File(path, "r") as file:
        yield file


def _check_heaps(path: Path) -> None:
    """Refuse a heap of texts with a gap of no length, which HDF5 never leaves again (format 3.0, III.E)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        heap = content.find(HEAP, 0, LOOKED_AT)
        while heap >= 0:
            end = min(heap + int.from_bytes(content[heap + 8 : heap + 16], "little"), len(content))
            place = heap + 16
            while place + 16 <= end:
                number = int.from_bytes(content[place : place + 2], "little")
                length = int.from_bytes(content[place + 8 : place + 16], "little")
                if number == 0 and length == 0:
                    truncated(path, f"texts in a heap at byte {heap:,}", f"it has a gap of no length at {place:,}")
                place += 16 - (-length // 8) * 8 if number else length
            heap = content.find(HEAP, heap + 8, LOOKED_AT)


def datasets_in(path: Path, file: Any) -> dict[str, Any]:
    """Return name -> dataset of a file, those behind links to other places and other files, too."""
    import h5py

    found: dict[str, Any] = {}
    seen: set[Any] = set()

    def visit(group: Any, prefix: str, depth: int) -> None:
        for key in group:
            name, link = f"{prefix}/{key}", group.get(key, getlink=True)
            try:
                item = group[key]
            except (KeyError, OSError):
                if isinstance(link, h5py.HardLink):
                    raise
                _warn_of_link(path, name, link)
                continue
            place = h5py.h5o.get_info(item.id)
            mark = (place.fileno, place.addr)
            if mark in seen:
                continue
            seen.add(mark)
            if isinstance(item, h5py.Dataset):
                found[name] = item
            elif isinstance(item, h5py.Group) and depth < DEEPEST:
                visit(item, name, depth + 1)

    visit(file, "", 0)
    return found


def _warn_of_link(path: Path, name: str, link: Any) -> None:
    target = f"{getattr(link, 'filename', '')} {getattr(link, 'path', '')}".strip()
    warnings.warn(f"{path}: {name} leads to {target}, which is not there; it is left out", stacklevel=2)


def check_storage(path: Path, dataset: Any, depth: int = 0) -> None:
    """Refuse a dataset that promises more than is stored: HDF5 would take the memory and fill it with zeros."""
    if dataset.is_virtual:
        _check_sources(path, dataset, depth)
        return
    if dataset.external:
        _check_external(path, dataset)
        return
    stored = dataset.id.get_storage_size()
    most = stored if dataset.chunks is None else stored * MAX_DEFLATE
    if dataset.nbytes > most and dataset.compression in (None, "gzip", "lzf"):
        truncated(
            path, f"{dataset.nbytes:,} bytes in dataset {dataset.name}", f"{stored:,} stored bytes cannot hold it"
        )
    if dataset.chunks is not None:
        whole = int(np.prod([-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True)]))
        missing = whole - dataset.id.get_num_chunks()
        if missing > 0:
            _warn_of_fill(path, dataset, f"{missing} of {whole} chunks are not stored")


def check_text(path: Path, dataset: Any) -> None:
    """Refuse a text that promises more bytes than the file has: HDF5 would take the memory before it looks."""
    place = dataset.id.get_offset()
    if place is None:
        return
    with path.open("rb") as file:
        file.seek(place)
        length = int.from_bytes(file.read(4), "little")
    if length > path.stat().st_size:
        truncated(path, f"a text of {length:,} bytes in {dataset.name}", f"it has {path.stat().st_size:,} bytes")


def _check_sources(path: Path, dataset: Any, depth: int) -> None:
    """Refuse a virtual dataset whose parts are not there: HDF5 would fill them with zeros."""
    import h5py

    mapped = 0
    for source in dataset.virtual_sources():
        home = path if source.file_name == "." else path.parent / source.file_name
        where = f"virtual dataset {dataset.name} takes {source.dset_name} of {source.file_name}"
        if "%b" in source.file_name + source.dset_name:
            raise FileError(f"{path}: {where}, a series of files; copy it into one file, for instance with h5repack")
        if not home.exists():
            raise FileError(f"{path}: {where}, which is not there; HDF5 would read zeros: copy it beside {path.name}")
        with opened(home) as file:
            part = file.get(source.dset_name)
            if not isinstance(part, h5py.Dataset):
                raise FileError(f"{path}: {where}, which has no such array; HDF5 would read zeros")
            if depth == DEEPEST:
                raise FileError(f"{path}: {where}, which takes it from another, and so on; the files refer in a circle")
            check_storage(home, part, depth + 1)
        mapped += source.vspace.get_select_npoints()
    if mapped < dataset.size:
        _warn_of_fill(path, dataset, f"{dataset.size - mapped:,} of {dataset.size:,} voxels come from no file")


def _check_external(path: Path, dataset: Any) -> None:
    """Refuse an array kept in bare files that are not there or too short."""
    there = 0
    for name, offset, size in dataset.external:
        home = path.parent / name
        if not home.exists():
            raise FileError(f"{path} keeps dataset {dataset.name} in {name}, which is not there; copy it beside it")
        there += max(0, min(home.stat().st_size - offset, size))
    if there < dataset.nbytes:
        truncated(path, f"{dataset.nbytes:,} bytes in dataset {dataset.name}", f"its files hold {there:,}")


def _warn_of_fill(path: Path, dataset: Any, what: str) -> None:
    fill = f"are read as {dataset.fillvalue}"
    warnings.warn(f"{path}: {what} in {dataset.name} and {fill}: left empty, or lost", stacklevel=2)
