"""Labels as Cellpose writes them, in an archive."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError
from meshcell.formats.volumes.pictures import Picture, planes


def read_cellpose(path: Path) -> Picture:
    """Read the masks of Cellpose's `_seg.npy`: a pickled dictionary of arrays and plain values.

    Anything else in it could run code, and is refused by name before it is touched.
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise FileError(f"{path} should be an array of format 1.0 or 2.0; got {version}")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
        if shape != () or not dtype.hasobject:
            raise FileError(f"{path} should hold one dictionary as Cellpose writes it; it holds {dtype} {shape}")
        content: Any = _PlainUnpickler(file, path).load()
    # numpy pickles the whole array of one object, or for the oldest files the object itself.
    content = content.item() if isinstance(content, np.ndarray) and content.shape == () else content
    masks = content.get("masks") if isinstance(content, dict) else None
    if not isinstance(masks, np.ndarray) or masks.ndim not in (2, 3) or masks.dtype.kind not in "iu":
        raise FileError(f"{path} should hold 'masks', labels along (z,) y, x, as Cellpose writes them; it has none")
    return Picture(planes(masks), advice="Cellpose does not keep it", kind="labels")


def _empty(_kind: Any, shape: Any, _code: Any) -> Array:
    """Make the array that a pickle fills afterwards; numpy always asks for an empty one."""
    if tuple(shape) != (0,):
        raise pickle.UnpicklingError(f"an array is begun with shape {shape} where numpy writes (0,)")
    return np.ndarray((0,), np.int8)


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> Array:
    return np.asarray(np.frombuffer(buffer, dtype).reshape(shape, order=order))


def _bytes(text: str, encoding: str) -> bytes:
    """Return bytes, which the oldest pickles write as Latin letters."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are written as latin1; got {encoding}")
    return text.encode("latin1")


def _number(dtype: Any, data: bytes) -> Any:
    number: Any = np.frombuffer(data, dtype, 1)[0]
    return number


def _parts(*parts: str) -> tuple[str, ...]:
    return parts


class _PlainUnpickler(pickle.Unpickler):
    """Unpickle numbers, texts, containers and numpy arrays, and nothing that could be called."""

    ADMITTED: dict[tuple[str, str], Any] = {  # noqa: RUF012
        # Named as the kind of an array, never called.
        ("numpy", "ndarray"): None,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _bytes,
        # Paths are kept as their parts.
        **{(home, kind): _parts for home in ("pathlib", "pathlib._local") for kind in ("PosixPath", "WindowsPath")},
        **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "scalar"): _number for core in ("core", "_core")},
        **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    }

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle may call, or refuse."""
        if (module, name) not in self.ADMITTED:
            raise FileError(
                f"{self.path} holds {module}.{name}, which a file of masks has no need of and which could run code; it "
                "is not loaded; export the masks from Cellpose as TIFF (--save_tif)"
            )
        return self.ADMITTED[module, name]
