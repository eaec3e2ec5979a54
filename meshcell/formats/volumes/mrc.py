"""Voxel volumes of electron microscopy in MRC2014, also packed by gzip."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import MAX_DEFLATE, FileError, replacing, truncated
from meshcell.core.types import Volume
from meshcell.formats.volumes.pictures import Picture, held_exactly, volume_tag, with_tag

ANGSTROM = 1e-4  # um
# First label of MRC files, in place of the time of writing: the same volume gives the same bytes.
WRITER = b"Created by meshcell"
MRC_TYPES = (np.int8, np.int16, np.uint16, np.float32, np.float16)
MRC_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
HEADER = 1024
# IMOD's mark in its part of the header (bytes 152 to 160), and two of its flags.
IMOD_STAMP, SIGNED_BYTES, STANDARD_ORIGIN = 1146047817, 1, 4


class Stack(NamedTuple):
    """An MRC file: its header, its sections (nz, ny, nx), its extended header."""

    header: Any
    data: Array
    extended: bytes

    def along_xyz(self, values: Any) -> Array:
        """Bring what is told for columns, rows and sections to x, y, z."""
        return np.asarray(values)[np.argsort(axes_of(self.header))]


def read_mrc(path: Path) -> Picture:
    """Read an MRC2014 volume; x, y, z by the header's axis map, the voxel size from cell and sampling.

    The origin is the header's or, where that is 0, the place of the first voxel in its grid (as ChimeraX does).
    """
    stack = read_stack(path)
    header, axes = stack.header, axes_of(stack.header)
    if sorted(axes) != [1, 2, 3]:
        raise FileError(f"{path}: mapc, mapr, maps should be 1, 2, 3 in some order; got {axes}; mend the header")
    _check_one(path, header)
    data = stack.data.T.transpose(np.argsort(axes))
    spacing, advice = _spacing(header, data.shape)
    origin = tuple(float(header["origin"][axis]) * ANGSTROM * _origin_sign(header) for axis in "xyz")
    start = stack.along_xyz([int(header[name]) for name in ("nxstart", "nystart", "nzstart")])
    by_grid = not any(origin) and start.any()
    picture = Picture(data, spacing, origin, advice=advice, start=tuple(start.tolist()) if by_grid else None)
    return with_tag(path, picture, stack.extended)


def _check_one(path: Path, header: Any) -> None:
    """Refuse a stack of volumes, which lie one upon the other along the sections (space groups 401 to 630)."""
    sections, each = int(header["nz"]), int(header["mz"])
    if 401 <= int(header["ispg"]) <= 630 and 0 < each < sections:
        raise FileError(
            f"{path} should hold one volume; it is a stack of {sections / each:.3g} volumes of {each} sections; write "
            "the wanted one into a file of its own, for instance with mrcfile: set_data(stack.data[0])"
        )


def read_stack(path: Path, promise: str = "{} x {} x {} voxels") -> Stack:
    """Read the sections of an MRC file in their order there; in a .gz the checksum is checked.

    `promise` words what a truncated file has promised, from columns, rows and sections.
    """
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    size = path.stat().st_size
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        header, order = _header(path, file.read(HEADER))
        shape = tuple(int(header[name]) for name in ("nz", "ny", "nx"))
        extra, kind = int(header["nsymbt"]), np.dtype(order + _type(header))
        count = int(np.prod(shape, dtype=object))
        promised = HEADER + extra + count * kind.itemsize
        if promised > size * (MAX_DEFLATE if packed else 1):
            truncated(path, f"{promise.format(*shape[::-1])} in {promised:,} bytes", f"it has {size:,} bytes")
        extended = file.read(extra)
        voxels = file.read(count * kind.itemsize)
        while packed and file.read(2**20):
            pass
    if len(voxels) < count * kind.itemsize:
        truncated(path, f"{count * kind.itemsize:,} bytes of voxels", f"{len(voxels):,} are there")
    data = np.frombuffer(voxels, kind).reshape(shape)
    return Stack(header, data.astype(kind.newbyteorder("="), copy=False), extended)


def axes_of(header: Any) -> list[int]:
    """Return the axes of columns, rows and sections, 1 for x."""
    return [int(header[name]) for name in ("mapc", "mapr", "maps")]


def _header(path: Path, head: bytes) -> tuple[Any, str]:
    """Return the header and the byte order in which its mode and sizes can be; old programs do not mark it."""
    from mrcfile.dtypes import HEADER_DTYPE

    if len(head) < HEADER:
        truncated(path, f"a header of {HEADER} bytes", f"it has {len(head)}")
    marked_big = head[212:214] == b"\x11\x11"
    for order in "><" if marked_big else "<>":
        header = np.frombuffer(head, HEADER_DTYPE.newbyteorder(order))[0]
        sizes = [int(header[name]) for name in ("nx", "ny", "nz")]
        if min(sizes) > 0 and int(header["mode"]) in MRC_MODES and int(header["nsymbt"]) >= 0:
            return header, order
    header = np.frombuffer(head, HEADER_DTYPE.newbyteorder(">" if marked_big else "<"))[0]
    if head[208:211] == b"MAP" and 0 <= int(header["mode"]) <= 255:
        raise FileError(
            f"{path} should hold integers or floats (modes 0, 1, 2, 6, 12) and at least one voxel; got mode "
            f"{header['mode']}; convert it, for instance with IMOD's newstack -mode 2"
        )
    raise FileError(f"{path} should be an MRC2014 file; its header is none; give it the ending of its format")


def _type(header: Any) -> str:
    """Return the type of the voxels; IMOD's flag, else the greatest value told, says that bytes are unsigned."""
    mode = int(header["mode"])
    imod = _imod_flags(header)
    unsigned = not imod & SIGNED_BYTES if imod is not None else header["dmin"] >= 0 and 127 < header["dmax"] <= 255
    return "u1" if mode == 0 and unsigned else MRC_MODES[mode]


def _imod_flags(header: Any) -> int | None:
    """Return the flags that IMOD writes into bytes 152 to 160, None where its mark is not there."""
    own = header.tobytes()[152:160]
    for order in "<>":
        stamp, flags = (int(value) for value in np.frombuffer(own, order + "i4"))
        if stamp == IMOD_STAMP:
            return flags
    return None


def _origin_sign(header: Any) -> int:
    """IMOD's origin points from the first voxel to the origin, unless it says otherwise or follows the standard."""
    imod = _imod_flags(header)
    return -1 if imod is not None and not imod & STANDARD_ORIGIN and int(header["nversion"]) <= 0 else 1


def _spacing(header: Any, shape: tuple[int, ...]) -> tuple[Any, str]:
    cell = np.array([header["cella"][axis] for axis in "xyz"], float)
    sampling = np.array([header[name] for name in ("mx", "my", "mz")], int)
    told = f"its header has a cell of {cell.tolist()} A over {sampling.tolist()} samples for {list(shape)} voxels"
    if not (np.isfinite(cell).all() and (cell > 0).all() and (sampling > 0).all()):
        return None, f"{told}, which is no size"
    angles = np.array([header["cellb"][name] for name in ("alpha", "beta", "gamma")], float)
    if not (np.abs(angles - 90) < 0.01).all() and angles.any():
        return None, f"{told}, and angles of {angles.tolist()} degrees where meshcell takes 90"
    size = cell / sampling
    likely = ", ".join(f"{length:.4g}" for length in cell / shape)
    if ((sampling == 1) & (np.array(shape) > 1)).any():
        return None, f"{told}, so a voxel would be {size.tolist()} A; cell / voxels would be ({likely}) A"
    if size.max() > 20 * size.min():
        return None, f"{told}, so a voxel would be {size.tolist()} A, more than 20 times longer than wide"
    ones = np.abs(size - 1) < 1e-6
    if ones.any():
        where = "" if ones.all() else f" along {', '.join(np.array(list('xyz'))[ones])}"
        return None, f"{told}, so 1 A{where}, which programs write when they do not know it"
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
