"""Voxel volumes of electron microscopy in MRC2014."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.files import FileError, replacing, truncated
from meshcell.core.types import Volume
from meshcell.formats.volumes.pictures import Picture, held_exactly, volume_tag, with_tag

ANGSTROM = 1e-4  # um
# First label of MRC files, in place of the time of writing: the same volume gives the same bytes.
WRITER = b"Created by meshcell"
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
    return with_tag(path, Picture(data.T.transpose(np.argsort(axes)), spacing, origin, advice=advice), tag)


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
