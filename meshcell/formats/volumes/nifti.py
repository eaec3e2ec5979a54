"""Voxel volumes in NIfTI-1, with the names of nnU-Net's labels."""

from __future__ import annotations

import gzip
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import MAX_DEFLATE, FileError, truncated
from meshcell.formats.volumes.pictures import Picture
from meshcell.formats.volumes.worlds import in_world

HEADER = 348
# nnU-Net's images end in the number of their channel, its labels do not.
IMAGE_NAME = re.compile(r"_\d{4}\.nii(\.gz)?$", re.IGNORECASE)
NIFTI_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
# xyzt_units, the lower three bits -> um.
UNITS = {1: 1e6, 2: 1e3, 3: 1.0}


def read_nifti(path: Path) -> Picture:
    """Read a NIfTI-1 volume, with the names of its labels where nnU-Net's dataset.json lies in its folder or above.

    Voxels are brought to the axes of the header's world by flips and swaps, where it tells any. A size
    of a millimetre and the like is no microscope's: ITK, nnU-Net and others write mm whatever the numbers were.
    """
    with path.open("rb") as plain:
        compressed = plain.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if compressed else path.open("rb") as file:
        head = file.read(HEADER)
        shape, dtype, offset, order = _layout(path, head)
        promised = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if offset + promised > path.stat().st_size * (MAX_DEFLATE if compressed else 1):
            truncated(path, f"{shape} voxels in {promised:,} bytes", f"it has {path.stat().st_size:,} bytes")
        file.read(offset - HEADER)
        voxels = file.read(promised)
        # Reading to the end checks what gzip has written about the whole.
        file.read()
    if len(voxels) < promised:
        truncated(path, f"{promised:,} bytes of voxels", f"{len(voxels):,} are there")
    data = np.frombuffer(voxels, dtype).reshape(shape, order="F").astype(dtype.newbyteorder("="), copy=False)
    slope, shift = struct.unpack_from(order + "2f", head, 112)
    if np.isfinite([slope, shift]).all() and slope != 0 and (slope, shift) != (1, 0):
        data = data * slope + shift
    pixdim = struct.unpack_from(order + "8f", head, 76)[1:4]
    unit = UNITS.get(head[123] & 7)
    advice = f"its header has voxels of {pixdim} of no known unit"
    spacing = None if unit is None else tuple(abs(float(size)) * unit for size in pixdim)
    kind = "intensities" if IMAGE_NAME.search(path.name) else None
    picture = Picture(data, spacing, (0.0, 0.0, 0.0), {} if kind else _dataset_names(path), advice, kind=kind)
    world = _world(head, order)
    if world is None:
        return picture
    if _is_itks(world):
        world[:2] *= -1
    return in_world(path, picture, world[:, :3].T * (unit or 1.0), world[:, 3] * (unit or 1.0))


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


def _world(head: bytes, order: str) -> Array | None:
    """Return the (3, 4) matrix from voxels to the world: sform, else qform, None where neither is set.

    Source: nifti1.h, methods 2 and 3 of "3D image (volume) orientation and location in space".
    """
    qform, sform = struct.unpack_from(order + "2h", head, 252)
    if sform > 0:
        return np.array(struct.unpack_from(order + "12f", head, 280)).reshape(3, 4)
    if qform <= 0:
        return None
    b, c, d, *place = struct.unpack_from(order + "6f", head, 256)
    handed, *sizes = struct.unpack_from(order + "4f", head, 76)
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    sizes[2] *= -1.0 if handed < 0 else 1.0
    return np.column_stack([turn * sizes, place])


def _is_itks(world: Array) -> bool:
    """Tell ITK's world, whose x and y run against NIfTI's: its arrays, also those of nnU-Net, lie as in other files.

    A half turn about z is no mirror image, and keeps labels on the picture that they were made of.
    """
    steps = world[:2, :3]
    return bool((steps[[0, 1], np.abs(steps).argmax(axis=1)] < 0).all())


def _dataset_names(path: Path) -> dict[int, str]:
    """Read label -> name from nnU-Net's dataset.json: {"er": 1} since version 2, {"1": "er"} before."""
    found = next((p / "dataset.json" for p in (path.parent, path.parent.parent) if (p / "dataset.json").exists()), None)
    content = json.loads(found.read_text()) if found else {}
    labels = content.get("labels", {}) if isinstance(content, dict) else {}
    pairs = [(value, key) if isinstance(value, int) else (key, value) for key, value in labels.items()]
    # Lists of labels are regions to be trained on, not labels.
    return {int(label): str(name) for label, name in pairs if str(label).isdigit() and int(label) != 0}
