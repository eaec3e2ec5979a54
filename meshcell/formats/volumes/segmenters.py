"""Labels as other programs write them: Cellpose's archives and pictures, nnU-Net's NIfTI files."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import MAX_DEFLATE, FileError, truncated
from meshcell.formats.volumes.pictures import Picture

# --- Cellpose ---


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
    return Picture(_planes(masks), advice="Cellpose does not keep it")


def read_png(path: Path) -> Picture:
    """Read a picture of grey values or labels, such as Cellpose's `_cp_masks.png`, as one plane."""
    import imageio.v3 as iio

    data = np.asarray(iio.imread(path, plugin="pillow"))
    if data.ndim != 2:
        raise FileError(f"{path} should be one plane of grey values or labels; got colours or frames {data.shape}")
    return Picture(_planes(data), advice="a PNG picture does not tell it")


def _planes(masks: Array) -> Array:
    """Turn (z,) y, x into x, y, z."""
    return (masks if masks.ndim == 3 else masks[None]).T


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


# --- NIfTI-1: nnU-Net ---

HEADER = 348
NIFTI_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
# xyzt_units, the lower three bits -> um.
UNITS = {1: 1e6, 2: 1e3, 3: 1.0}


def read_nifti(path: Path) -> Picture:
    """Read a NIfTI-1 volume, with the names of its labels where nnU-Net's dataset.json lies in its folder or above.

    Voxels keep their order in the file: its first axis is x. The origin is taken where the axes are not turned.
    """
    compressed = path.name.lower().endswith(".gz")
    with gzip.open(path, "rb") if compressed else path.open("rb") as file:
        head = file.read(HEADER)
        shape, kind, offset, order = _layout(path, head)
        promised = int(np.prod(shape, dtype=object)) * kind.itemsize
        if offset + promised > path.stat().st_size * (MAX_DEFLATE if compressed else 1):
            truncated(path, f"{shape} voxels in {promised:,} bytes", f"it has {path.stat().st_size:,} bytes")
        file.read(offset - HEADER)
        voxels = file.read(promised)
        # Reading to the end checks what gzip has written about the whole.
        file.read()
    if len(voxels) < promised:
        truncated(path, f"{promised:,} bytes of voxels", f"{len(voxels):,} are there")
    data = np.frombuffer(voxels, kind).reshape(shape, order="F").astype(kind.newbyteorder("="), copy=False)
    slope, shift = struct.unpack_from(order + "2f", head, 112)
    if np.isfinite([slope, shift]).all() and slope != 0 and (slope, shift) != (1, 0):
        data = data * slope + shift
    pixdim = struct.unpack_from(order + "8f", head, 76)[1:4]
    unit = UNITS.get(head[123] & 7)
    advice = f"its header has voxels of {pixdim} of no known unit"
    spacing = None if unit is None else tuple(float(size) * unit for size in pixdim)
    origin = (0.0, 0.0, 0.0) if unit is None else _origin(head, order, unit)
    return Picture(data, spacing, origin, _dataset_names(path), advice)


def _layout(path: Path, head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int, str]:
    """Return shape, type, the place of the first voxel and the byte order."""
    if len(head) < HEADER:
        truncated(path, f"a header of {HEADER} bytes", f"it has {len(head)}")
    order = next((o for o in "<>" if struct.unpack_from(o + "i", head)[0] == HEADER), None)
    if order is None or head[344:348] != b"n+1\0":
        raise FileError(f"{path} should be a NIfTI-1 volume in one file (n+1); it begins otherwise; convert it")
    dims = struct.unpack_from(order + "8h", head, 40)
    code = struct.unpack_from(order + "h", head, 70)[0]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1 or any(n != 1 for n in dims[4 : dims[0] + 1]):
        raise FileError(f"{path} should hold one volume along x, y, z; got dimensions {dims[1 : max(dims[0], 0) + 1]}")
    if code not in NIFTI_TYPES:
        known = ", ".join(map(str, NIFTI_TYPES))
        raise FileError(f"{path} should hold integers or floats (datatypes {known}); got datatype {code}; convert it")
    shape = tuple((*dims[1 : dims[0] + 1], 1, 1)[:3])
    offset = max(int(struct.unpack_from(order + "f", head, 108)[0]), 352)
    return shape, np.dtype(order + NIFTI_TYPES[code]), offset, order


def _origin(head: bytes, order: str, unit: float) -> tuple[float, float, float]:
    """Return the place of the first voxel where the file's axes are its world's, else 0."""
    matrix = np.array(struct.unpack_from(order + "12f", head, 280)).reshape(3, 4)
    turned = np.abs(matrix[:, :3] - np.diag(np.diag(matrix[:, :3]))).max() > 0 or np.diag(matrix[:, :3]).min() <= 0
    if struct.unpack_from(order + "h", head, 254)[0] < 1 or turned:
        return (0.0, 0.0, 0.0)
    x, y, z = (float(place) * unit for place in matrix[:, 3])
    return x, y, z


def _dataset_names(path: Path) -> dict[int, str]:
    """Read label -> name from nnU-Net's dataset.json: {"er": 1} since version 2, {"1": "er"} before."""
    found = next((p / "dataset.json" for p in (path.parent, path.parent.parent) if (p / "dataset.json").exists()), None)
    content = json.loads(found.read_text()) if found else {}
    labels = content.get("labels", {}) if isinstance(content, dict) else {}
    pairs = [(value, key) if isinstance(value, int) else (key, value) for key, value in labels.items()]
    # Lists of labels are regions to be trained on, not labels.
    return {int(label): str(name) for label, name in pairs if str(label).isdigit() and int(label) != 0}
