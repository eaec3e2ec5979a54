"""A bare array in NumPy's format, and the check of its header."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from meshcell.core.files import FileError, truncated
from meshcell.formats.volumes.pictures import Picture


def read_npy(path: Path) -> Picture:
    """Read a bare array; axes x, y, z."""
    with path.open("rb") as file:
        check_npy_header(path, file, path.stat().st_size, path.name)
    return Picture(np.load(path, allow_pickle=False), advice="an .npy file holds a bare array")


def check_npy_header(path: Path, file: BinaryIO | Any, size: int, what: str) -> None:
    """Refuse an array header that promises another number of bytes than follow it."""
    readers: dict[Any, Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise FileError(f"{path}: {what} should be an array of format 1.0 or 2.0; got {version}; save it with np.save")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise FileError(
            f"{path}: {what} holds Python objects (a pickle), which are never loaded since they can run code; "
            "save plain arrays and texts"
        )
    promised = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if promised != size - file.tell():
        truncated(path, f"{promised:,} bytes for {what} {shape}", f"{size - file.tell():,} are there")
