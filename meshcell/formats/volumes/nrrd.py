"""Voxel volumes in NRRD, and the segmentations of 3D Slicer in it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import MAX_DEFLATE, FileError, replacing, truncated
from meshcell.core.types import Volume
from meshcell.formats.volumes.lengths import um_per
from meshcell.formats.volumes.pictures import Picture, held_exactly, volume_tag, with_tag
from meshcell.formats.volumes.worlds import in_world

# What the world's axes are called where their unit is known to be mm (Slicer's convention).
ANATOMICAL = re.compile(r"(left|right)-(anterior|posterior)-(superior|inferior)|[lr][ap][si]", re.IGNORECASE)
# Spaces, such as left-anterior-superior, in which x, y, z follow each other like the left hand's fingers.
LEFT_HANDED = re.compile(
    r"left-anterior-superior|right-posterior-superior|left-posterior-inferior|right-anterior-inferior"
    r"|(las|rps|lpi|rai)(-time)?$|.*left-handed",
    re.IGNORECASE,
)
DOMAIN = ("domain", "space")
NRRD_TYPES = (*(f"{kind}{n}" for kind in "ui" for n in (1, 2, 4, 8)), np.float32, np.float64)
ITEM_BYTES = {
    "char": 1,
    "int8": 1,
    "short": 2,
    "int16": 2,
    "int": 4,
    "int32": 4,
    "float": 4,
    "longlong": 8,
    "long long": 8,
    "int64": 8,
    "double": 8,
}
# bzip2 packs zeros far closer than deflate does; a number of eight bytes as text has one digit and a blank.
MOST_PACKED = {"raw": 1, "gzip": MAX_DEFLATE, "gz": MAX_DEFLATE, "bzip2": 2**16, "bz2": 2**16}

# Label, layer and name.
Segment = tuple[int, int, str]


def read_nrrd(path: Path) -> Picture:
    """Read an NRRD volume; of a segmentation of 3D Slicer (`.seg.nrrd`) every segment is a label with its name.

    Voxels are brought to the axes of the header's space by flips and swaps, where it tells directions.
    """
    import nrrd

    with path.open("rb") as file:
        header: dict[str, Any] = dict(nrrd.read_header(file))
        _check_size(path, header)
        data = np.asarray(nrrd.read_data(header, file, str(path), index_order="F"))
    segments = _segments(header)
    if data.ndim == 4:
        data, segments = _merged(path, data, header, segments)
    data = data[..., None] if data.ndim == 2 else data
    spacing, advice = _spacing(header)
    names = {label: name for label, _, name in segments}
    kind = "labels" if segments else None
    picture = Picture(data, spacing, (0.0, 0.0, 0.0), names, advice, kind=kind)
    ours = header.get("meshcell")
    found = with_tag(path, picture if ours and _half_turned(header) else _placed(path, picture, header), ours)
    return replace(found, names=_renamed(found.names, names)) if found.ours else found


def write_nrrd(path: Path, volume: Volume) -> None:
    """Write NRRD in um, the regions of labels as segments of 3D Slicer; the exact rest goes into the key `meshcell`."""
    import nrrd

    data = held_exactly(path, volume.data, NRRD_TYPES, "use .npz or .h5, or convert it: data.astype(np.float32)")
    header: dict[str, Any] = {"space dimension": 3, "space units": ["um"] * 3, "space origin": list(volume.origin)}
    header |= {"space directions": np.diag(volume.spacing), "kinds": ["domain"] * 3, "encoding": "gzip"}
    for row, (label, name) in enumerate(volume.regions.items() if volume.is_labels else ()):
        values = {"ID": f"Segment_{label}", "Name": _segment_name(name), "LabelValue": label, "Layer": 0}
        header |= {f"Segment{row}_{key}": str(value) for key, value in values.items()}
    content = io.BytesIO()
    nrrd.write(content, data, header | {"meshcell": volume_tag(volume)}, index_order="F")
    # Without the time of writing: the same volume gives the same bytes.
    with replacing(path) as temporary:
        temporary.write_bytes(re.sub(rb"\n# on [^\n]*", b"", content.getvalue(), count=1))


def _check_size(path: Path, header: Mapping[str, Any]) -> None:
    """Refuse what promises more bytes than there are, here or in the file that a detached header names."""
    shape = [int(n) for n in header.get("sizes", ())]
    kind = re.sub(r"^(un)?signed |^u(?=[a-z])|(_t| int)$", "", str(header.get("type")).lower())
    if len(shape) not in (2, 3, 4) or min(shape) < 1 or kind not in ITEM_BYTES:
        raise FileError(f"{path} should hold numbers along x, y, z; got sizes {shape}, type {header.get('type')!r}")
    beside = header.get("data file", header.get("datafile"))
    home = path if beside is None else path.parent / str(beside)
    if not home.is_file():
        raise FileError(f"{path} keeps its voxels in {beside}, which should lie beside it; it does not: copy it, too")
    size = home.stat().st_size
    skipped = [int(header.get(key, 0)) for key in ("lineskip", "line skip", "byteskip", "byte skip")]
    promised = int(np.prod(shape, dtype=object)) * ITEM_BYTES[kind]
    if promised > size * MOST_PACKED.get(str(header.get("encoding")), 8) or max(skipped) > size:
        truncated(path, f"{promised:,} bytes of voxels after {max(skipped):,}", f"{size:,} bytes cannot hold them")


def _segments(header: Mapping[str, Any]) -> list[Segment]:
    """Return label, layer and name of every segment of a segmentation; of two of one name the later gets a number."""
    found: list[Segment] = []
    while f"Segment{len(found)}_ID" in header or f"Segment{len(found)}_Name" in header:
        key = f"Segment{len(found)}"
        label, layer = int(header.get(f"{key}_LabelValue", len(found) + 1)), int(header.get(f"{key}_Layer", 0))
        name = str(header.get(f"{key}_Name", header.get(f"{key}_ID")))
        taken = {other for _, _, other in found} | {"outside"}
        found.append((label, layer, name if name not in taken else f"{name} {len(found) + 1}"))
    return found


def _merged(path: Path, data: Array, header: Mapping[str, Any], segments: list[Segment]) -> tuple[Array, list[Segment]]:
    """Lay the layers of a segmentation over each other, every segment under a label of its own."""
    kinds = header.get("kinds", [])
    axis = next((k for k, kind in enumerate(kinds) if kind not in DOMAIN), 0)
    layers = np.moveaxis(data, axis, 0)
    if len(layers) == 1:
        return layers[0], segments
    if not segments:
        raise FileError(
            f"{path} should have one value per voxel; got sizes {data.shape} of kinds {kinds}; save one part"
        )
    merged = np.zeros(layers.shape[1:], np.int32)
    for row, (label, layer, name) in enumerate(segments):
        own = layers[layer] == label
        if merged[own].any():
            other = segments[int(merged[own].max()) - 1][2]
            raise FileError(
                f"{path}: segments should not overlap, as a voxel has one label; {name!r} shares "
                f"{np.count_nonzero(merged[own]):,} voxels with {other!r}; take one from the other (in Slicer: Logical "
                "operators) and save again"
            )
        merged[own] = row + 1
    return merged, [(row + 1, 0, name) for row, (_, _, name) in enumerate(segments)]


def _directions(header: Mapping[str, Any]) -> Array | None:
    """Return the steps of x, y, z along the world's axes, one a row; the axis of layers has none."""
    rows = header.get("space directions")
    if rows is None:
        return None
    steps = [np.asarray(row, float) for row in rows if row is not None]
    steps = [step for step in steps if step.shape == (3,) and np.isfinite(step).all()]
    return np.stack(steps) if len(steps) == 3 else None


def _spacing(header: Mapping[str, Any]) -> tuple[tuple[float, ...] | None, str]:
    steps = _directions(header)
    if steps is not None:
        sizes, units = np.linalg.norm(steps, axis=1), header.get("space units")
        if units is None and ANATOMICAL.match(str(header.get("space", ""))):
            units = ["mm"] * 3
    else:
        sizes = np.asarray(header.get("spacings", ()), float)
        sizes, units = sizes[np.isfinite(sizes)], header.get("units")
        units = None if units is None else [unit for unit in units if um_per(unit) is not None]
    told = f"its header has voxels of {sizes.tolist()} in {units or 'no unit'}"
    factors = [um_per(unit) for unit in units or ()]
    if len(sizes) != 3 or len(factors) != 3 or None in factors:
        return None, told
    return tuple(float(size) * (factor or 0.0) for size, factor in zip(sizes, factors, strict=True)), told


def _renamed(noted: Mapping[int, str], segments: Mapping[int, str]) -> dict[int, str]:
    """Let the segments' names win over those in our note, which programs that rename or add segments leave as it is.

    We write names of segments in ASCII, with escapes: those that say the same as the note are the note's.
    """
    changed = {k: name for k, name in segments.items() if name != _segment_name(noted.get(k, f"label {k}"))}
    left = {label: name for label, name in noted.items() if name not in changed.values() or label in changed}
    return {**left, **changed}


def _segment_name(name: str) -> str:
    return ascii(name)[1:-1]


def _half_turned(header: Mapping[str, Any]) -> bool:
    """Tell whether x and y point backwards in an anatomical space: programs write one of ours so that name its axes."""
    steps = _directions(header)
    named = ANATOMICAL.match(str(header.get("space", "")))
    return bool(named) and steps is not None and np.array_equal(np.sign(steps), np.diag((-1, -1, 1)))


def _placed(path: Path, picture: Picture, header: Mapping[str, Any]) -> Picture:
    """Bring the voxels to the axes of their space, in the right-handed one where the space is left-handed."""
    steps, first = _directions(header), np.asarray(header.get("space origin", (0.0,) * 3), float)
    if steps is None or first.shape != (3,):
        return picture
    if not np.isfinite(first).all():
        first = np.zeros(3)
    units = header.get("space units") or ["mm"] * 3
    factors = np.array([um_per(unit) or 1.0 for unit in units], float) if len(units) == 3 else np.ones(3)
    steps, first = steps * factors, first * factors
    if LEFT_HANDED.match(str(header.get("space", ""))):
        steps, first = steps * (-1.0, 1.0, 1.0), first * (-1.0, 1.0, 1.0)
    return in_world(path, picture, steps, first)
