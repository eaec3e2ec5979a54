"""Voxel volumes in NIfTI-1, with the names of nnU-Net's labels."""

from __future__ import annotations

import gzip
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.files import MAX_DEFLATE, FileError, truncated
from meshcell.formats.volumes.pictures import Picture

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

    Voxels keep their order in the file: its first axis is x. The origin is taken where the axes are not turned. A size
    of a millimetre and the like is no microscope's: ITK, nnU-Net and others write mm whatever the numbers were.
    """
    with path.open("rb") as plain:
        compressed = plain.read(2) == b"\x1f\x8b"
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
    spacing = None if unit is None else tuple(abs(float(size)) * unit for size in pixdim)
    origin = (0.0, 0.0, 0.0) if unit is None else _origin(head, order, unit)
    if IMAGE_NAME.search(path.name):
        return Picture(data, spacing, origin, {}, advice, kind="intensities")
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
