"""Voxel volumes: what their formats share, and the bare array and MRC."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import (
    FileError,
    merged_names,
    names_from_json,
    names_to_json,
    naming,
    refused,
    replacing,
    same,
    tagged,
    truncated,
    untagged,
)
from meshcell.core.types import Volume
from meshcell.core.validation import checked_spacing

log = logging.getLogger("meshcell")


ANGSTROM = 1e-4  # um
# First label of MRC files, in place of the time of writing: the same volume gives the same bytes.
WRITER = b"Created by meshcell"
# The voxel size in a header with 32-bit floats or fractions is rounded; the exact one beside it must agree to this.
HEADER_PRECISION = 1e-5


@dataclass(frozen=True, eq=False)
class Picture:
    """What a volume file holds: voxels along x, y, z, and the voxel size in um where the file tells one.

    `advice` says why there is no usable voxel size; it becomes part of the error.
    """

    data: Array
    spacing: Any = None
    origin: Any = (0.0, 0.0, 0.0)
    names: dict[int, str] = field(default_factory=dict)
    advice: str = "the file does not tell it"


def to_volume(path: Path, picture: Picture, spacing: Any, names: Mapping[int, str] | None) -> Volume:
    """Make a Volume of a picture; the caller's spacing and names win over the file's."""
    if spacing is None and picture.spacing is None:
        raise FileError(
            f"{path}: the voxel size should be known; {picture.advice}; pass it as spacing=, for instance "
            'spacing="8 nm" or spacing=("4 nm", "4 nm", "40 nm") along x, y, z'
        )
    with naming(path):
        given = None if spacing is None else checked_spacing(spacing)
        if given and picture.spacing is not None and not same(given, picture.spacing, HEADER_PRECISION):
            log.info("%s: voxel size %s um as asked, not %s um as stored", path, given, tuple(picture.spacing))
        named = merged_names(path, picture.names, names)
        return Volume(picture.data, given or picture.spacing, picture.origin, named)


def volume_tag(volume: Volume) -> str:
    """Write down exactly what headers with rounded numbers and few types lose."""
    return tagged(
        "volume",
        shape=volume.data.shape,
        dtype=volume.data.dtype.str,
        spacing=volume.spacing,
        origin=volume.origin,
        names=names_to_json(volume.names),
    )


def with_tag(picture: Picture, text: Any) -> Picture:
    """Restore what `volume_tag` wrote, unless the file was cropped or resampled since."""
    tag = untagged(text, "volume")
    if not tag:
        return picture
    names = names_from_json(tag["names"])
    if tuple(tag["shape"]) != picture.data.shape or not same(tag["spacing"], picture.spacing, HEADER_PRECISION):
        return Picture(picture.data, picture.spacing, picture.origin, names, picture.advice)
    data = picture.data.astype(np.dtype(tag["dtype"]), copy=False)
    return Picture(data, tuple(tag["spacing"]), tuple(tag["origin"]), names)


def held_exactly(path: Path, data: Array, dtypes: Sequence[Any], advice: str) -> Array:
    """Return the voxels in the first of the format's types that holds every value exactly, or refuse."""
    for dtype in map(np.dtype, dtypes):
        if data.dtype == dtype:
            return data
    for dtype in map(np.dtype, dtypes):
        if data.dtype.kind in "iu" and dtype.kind in "iu":
            limits: Any = np.iinfo(dtype)
            if int(data.min()) >= limits.min and int(data.max()) <= limits.max:
                return data.astype(dtype)
        elif data.dtype.kind == dtype.kind == "f":
            with np.errstate(over="ignore"):
                narrow = data.astype(dtype)
            if np.array_equal(narrow.astype(data.dtype), data):
                return narrow
    kinds = ", ".join(str(np.dtype(dtype)) for dtype in dtypes)
    return refused(path, f"the format holds {kinds}; got {data.dtype} from {data.min()} to {data.max()}", advice)


# --- npy: a bare array ---


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


# --- MRC: electron microscopy ---

MRC_TYPES = (np.int8, np.int16, np.uint16, np.float32, np.float16)
MRC_MODES = {0: 1, 1: 2, 2: 4, 6: 2, 12: 2}  # mode -> bytes per voxel


def read_mrc(path: Path) -> Picture:
    """Read an MRC2014 volume; x, y, z by the header's axis map, the voxel size from cell and sampling."""
    import mrcfile

    with mrcfile.open(path, mode="r", header_only=True) as mrc:
        header = mrc.header
        shape = (int(header.nx), int(header.ny), int(header.nz))
        mode, extra = int(header.mode), int(header.nsymbt)
    if mode not in MRC_MODES:
        raise FileError(
            f"{path} should hold integers or floats (modes 0, 1, 2, 6, 12); got mode {mode}; convert it, for instance "
            "with IMOD's newstack -mode 2"
        )
    promised = 1024 + extra + int(np.prod(shape, dtype=object)) * MRC_MODES[mode]
    if promised > path.stat().st_size or min(shape) < 1:
        truncated(path, f"{shape} voxels in {promised:,} bytes", f"it has {path.stat().st_size:,} bytes")
    with mrcfile.open(path, mode="r") as mrc:
        data = np.asarray(mrc.data)
        header, tag = mrc.header, bytes(mrc.extended_header.tobytes())
    data = data.reshape(shape[::-1]).astype(data.dtype.newbyteorder("="), copy=False)
    axes = [int(header.mapc), int(header.mapr), int(header.maps)]
    if sorted(axes) != [1, 2, 3]:
        raise FileError(f"{path}: mapc, mapr, maps should be 1, 2, 3 in some order; got {axes}; mend the header")
    spacing, advice = _mrc_spacing(header, data.T.transpose(np.argsort(axes)).shape)
    origin = tuple(float(header.origin[axis]) * ANGSTROM for axis in "xyz")
    return with_tag(Picture(data.T.transpose(np.argsort(axes)), spacing, origin, advice=advice), tag)


def _mrc_spacing(header: Any, shape: tuple[int, ...]) -> tuple[Any, str]:
    cell = np.array([header.cella[axis] for axis in "xyz"], float)
    sampling = np.array([header.mx, header.my, header.mz], int)
    told = f"its header has a cell of {cell.tolist()} A over {sampling.tolist()} samples for {list(shape)} voxels"
    if not (np.isfinite(cell).all() and (cell > 0).all() and (sampling > 0).all()):
        return None, f"{told}, which is no size"
    size = cell / sampling
    likely = ", ".join(f"{length:.4g}" for length in cell / shape)
    if ((sampling == 1) & (np.array(shape) > 1)).any():
        return None, f"{told}, so a voxel would be {size.tolist()} A; cell / voxels would be ({likely}) A"
    if size.max() > 20 * size.min():
        return None, f"{told}, so a voxel would be {size.tolist()} A, more than 20 times longer than wide"
    if (size == 1).all():
        return None, f"{told}, so 1 A, which programs write when they do not know it"
    return tuple((size * ANGSTROM).tolist()), ""


def write_mrc(path: Path, volume: Volume) -> None:
    """Write MRC2014; exact voxel size, origin, type and names go into the extended header."""
    import mrcfile

    advice = "use .h5 or .npz, or convert the voxels, for instance data.astype(np.float32)"
    data = held_exactly(path, volume.data, MRC_TYPES, advice)
    with replacing(path) as temporary, mrcfile.new(temporary) as mrc:
        mrc.set_data(np.ascontiguousarray(data.T))
        mrc.set_volume()
        mrc.voxel_size = tuple(length / ANGSTROM for length in volume.spacing)
        for axis, start in zip("xyz", volume.origin, strict=True):
            mrc.header.origin[axis] = start / ANGSTROM
        mrc.set_extended_header(np.frombuffer(volume_tag(volume).encode(), np.uint8).view("V1"))
        mrc.header.exttyp = b"MESH"
        mrc.header.label[0] = WRITER
