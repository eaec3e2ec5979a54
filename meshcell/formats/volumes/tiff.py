"""Voxel volumes as TIFF stacks: ImageJ hyperstacks and OME-TIFF."""

from __future__ import annotations

import hashlib
import struct
import uuid
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import MAX_DEFLATE, FileError, replacing, truncated
from meshcell.core.types import Volume
from meshcell.formats.volumes.lengths import um_per
from meshcell.formats.volumes.pictures import Picture, held_exactly, volume_tag, with_tag

# Bytes of a tag's value by its type (TIFF 6.0, section 2, and BigTIFF).
TAG_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# No codec shrinks more: LZW's codes of 12 bits stand for 4096 bytes at most, zstd's and LZMA's blocks for many more.
MAX_PACKED = {5: 4096, 34925: 2**16, 50000: 2**16, 34926: 2**16}
IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)
OME_TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64)


def read_tiff(path: Path) -> Picture:
    """Read a TIFF stack, planes z, rows y, columns x; the voxel size from ImageJ or OME metadata."""
    import tifffile

    with path.open("rb") as file:
        _check_pages(path, file, path.stat().st_size)
    with tifffile.TiffFile(path) as tiff:
        parts = tiff.series
        if not parts or (len(parts) > 1 and not _are_planes(tiff)):
            there = ", ".join(f"{part.axes} {part.shape} {part.dtype}" for part in parts)
            raise FileError(
                f"{path} should hold one stack, or pages of one size and type; it holds {len(parts)}: {there}; read "
                "the wanted one by tifffile.imread(path, series=0) and give it to Volume.from_zyx(array, spacing_zyx)"
            )
        _check_codec(path, tiff)
        for series in parts:
            _check_bytes(path, tiff, series)
        stacks = [_zyx(path, series) for series in parts]
        data = (stacks[0] if len(stacks) == 1 else np.concatenate(stacks)).T
        if tiff.is_imagej:
            return _from_imagej(path, tiff, data)
        if tiff.is_ome:
            return _from_ome(path, tiff, data)
        kind = "labels" if _is_colour_table(parts[0].keyframe) else None
    return Picture(data, advice="the file has neither ImageJ nor OME metadata", kind=kind)


def write_imagej(path: Path, volume: Volume) -> None:
    """Write an ImageJ hyperstack; the exact voxel size, origin, type and names go into its Info property."""
    import tifffile

    data = held_exactly(path, volume.data, IMAGEJ_TYPES, "use .ome.tif, .h5 or .npz")
    x, y, z = volume.spacing
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            # All six axes, since a single column would be taken for a single colour.
            np.ascontiguousarray(data.T)[None, :, None, :, :, None],
            imagej=True,
            photometric="minisblack",
            resolution=(1 / x, 1 / y),
            metadata={"axes": "TZCYXS", "spacing": z, "unit": "um", "Info": volume_tag(volume)},
        )


def write_ome(path: Path, volume: Volume) -> None:
    """Write OME-TIFF; the exact origin, type and names go into its Description."""
    import tifffile

    data = held_exactly(path, volume.data, OME_TYPES, "use .h5 or .npz")
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", volume.spacing, strict=True)}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
    tag = volume_tag(volume)
    # Named by what is in it and not by the time of writing: the same volume gives the same bytes.
    name = uuid.UUID(bytes=hashlib.blake2b(tag.encode() + data.tobytes(), digest_size=16).digest())
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            np.ascontiguousarray(data.T),
            ome=True,
            # Else three or four columns are taken for colours.
            photometric="minisblack",
            compression="zlib",
            metadata={"axes": "ZYX", **sizes, **units, "Description": tag, "UUID": name.urn},
        )


# --- what is promised and what is there ---


def _are_planes(tiff: Any) -> bool:
    """Tell whether the pages were written one by one, each for itself: planes of one size and type.

    In OME and the stacks of microscopes, several images are several places or channels.
    """
    known = tiff.is_ome or tiff.is_imagej or tiff.is_lsm or tiff.is_stk or tiff.is_ndpi or tiff.is_svs
    alike = {(part.shape, part.dtype, part.axes) for part in tiff.series}
    return not known and len(alike) == 1 and all(part.axes == "YX" and len(part) == 1 for part in tiff.series)


def _is_colour_table(page: Any) -> bool:
    """Tell whether the voxels are indices of a table of colours, other than greys."""
    table = page.colormap if page.photometric == 3 else None
    return table is not None and bool((table != table[:1]).any())


def _check_codec(path: Path, tiff: Any) -> None:
    """Refuse a compression that needs a package which is not there."""
    import tifffile

    for page in tiff.pages:
        try:
            tifffile.TIFF.DECOMPRESSORS[page.keyframe.compression]
        except KeyError as error:
            advice = (
                "pip install imagecodecs" if "imagecodecs" in str(error) else "save it without compression, or as LZW"
            )
            name = getattr(page.keyframe.compression, "name", page.keyframe.compression)
            raise FileError(f"{path} is compressed as {name}: {advice}") from error


def _check_pages(path: Path, file: BinaryIO, size: int) -> None:
    """Walk the chain of pages and refuse one that leaves the file, which tifffile takes for the end of the stack."""
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 16:
        raise FileError(f"{path} should be a TIFF stack; it does not begin like one; give it the ending of its format")
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    count, entry, link = (struct.Struct(order + form) for form in (("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")))
    (offset,) = link.unpack(head[8:16] if big else head[4:8])
    seen: set[int] = set()
    while offset:
        seen.add(offset)
        file.seek(offset)
        entries = int.from_bytes(file.read(count.size), "little" if order == "<" else "big")
        if entries * entry.size + link.size > size - file.tell():
            truncated(path, f"page {len(seen)} with {entries:,} tags at byte {offset:,}", f"it has {size:,} bytes")
        for tag, kind, n, place in entry.iter_unpack(file.read(entries * entry.size)):
            if n * TAG_BYTES.get(kind, 0) > link.size and place + n * TAG_BYTES[kind] > size:
                truncated(path, f"tag {tag} of page {len(seen)} at byte {place:,}", f"it has {size:,} bytes")
        (offset,) = link.unpack(file.read(link.size))
        if offset in seen or offset > size:
            truncated(path, f"page {len(seen) + 1} at byte {offset:,}", f"it has {size:,} bytes or comes back")


def _check_bytes(path: Path, tiff: Any, series: Any) -> None:
    size = path.stat().st_size
    if any(page is None for page in series.pages):
        missing = sum(page is None for page in series.pages)
        truncated(path, f"{len(series.pages)} planes", f"{missing} of them are missing")
    if series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        truncated(path, f"{series.nbytes:,} bytes of voxels", f"the file has {size:,} bytes")
    for number, page in enumerate(series.pages):
        end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
        if end > size:
            truncated(path, f"voxels of plane {number + 1} up to byte {end:,}", f"the file has {size:,} bytes")
    packed = int(series.keyframe.compression)
    if series.nbytes > MAX_PACKED.get(packed, MAX_DEFLATE) * size:
        truncated(path, f"{series.nbytes:,} bytes of voxels", f"{size:,} bytes cannot hold them")
    planes = int((tiff.imagej_metadata or {}).get("images", 1)) if tiff.is_imagej else 1
    if planes > series.size // (series.keyframe.imagelength * series.keyframe.imagewidth):
        truncated(path, f"{planes} planes", f"it holds {len(series.pages)}")


def _zyx(path: Path, series: Any) -> Array:
    if hasattr(series, "get_axes"):
        axes, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    else:
        # tifffile of autumn 2026 no longer squeezes.
        axes, shape = series.axes, series.shape
    stack = [axis for axis, n in zip(axes, shape, strict=True) if axis not in "YX" and n > 1]
    # I and Q are tifffile's names for planes of no stated kind.
    if "Y" not in axes or "X" not in axes or len(stack) > 1 or any(axis not in "ZIQ" for axis in stack):
        raise FileError(
            f"{path} should be one stack of grey planes (z, y, x); got axes {series.axes} {series.shape}; save one "
            "channel and one time, or use Volume.from_zyx(array, spacing_zyx)"
        )
    depth, rows, columns = shape[axes.index(stack[0])] if stack else 1, shape[axes.index("Y")], shape[axes.index("X")]
    return np.asarray(series.asarray()).reshape(depth, rows, columns)


# --- metadata ---


def _from_imagej(path: Path, tiff: Any, data: Array) -> Picture:
    notes = tiff.imagej_metadata or {}
    # y and z have units of their own where they differ from that of x.
    units = [str(notes.get(key, notes.get("unit", ""))) for key in ("xunit", "yunit", "zunit")]
    factors = [um_per(unit) for unit in units]
    tags = tiff.pages[0].tags
    told = f"unit {notes.get('unit')!r}, spacing {notes.get('spacing')!r} between planes"
    advice = f"the ImageJ metadata do not tell it ({told}; see Image > Properties in ImageJ)"
    picture = Picture(data, advice=advice)
    if None not in factors and "spacing" in notes and {"XResolution", "YResolution"} <= {tag.name for tag in tags}:
        across = [tags[name].value for name in ("XResolution", "YResolution")]
        sizes = [below / above if above else 0.0 for above, below in across] + [float(notes["spacing"])]
        spacing = [size * (factor or 0.0) for size, factor in zip(sizes, factors, strict=True)]
        picture = Picture(data, tuple(spacing))
    return with_tag(path, picture, notes.get("Info"))


def _from_ome(path: Path, tiff: Any, data: Array) -> Picture:
    root = ElementTree.fromstring(tiff.ome_metadata)
    pixels = next(element for element in root.iter() if element.tag.endswith("}Pixels"))
    notes = next((element.text for element in root.iter() if element.tag.endswith("}Description")), None)
    sizes = []
    for axis in "XYZ":
        unit = um_per(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        size = pixels.get(f"PhysicalSize{axis}")
        if size is None or unit is None:
            return with_tag(path, Picture(data, advice=f"the OME metadata have no length PhysicalSize{axis}"), notes)
        sizes.append(float(size) * unit)
    return with_tag(path, Picture(data, tuple(sizes)), notes)
