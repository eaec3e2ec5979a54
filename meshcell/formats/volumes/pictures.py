"""What the formats of voxel volumes share: a picture as a file holds it, and the note of ours that travels along."""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, lengths
from meshcell.core.files import (
    FileError,
    merged_names,
    names_from_json,
    names_to_json,
    naming,
    refused,
    same,
    tagged,
    untagged,
)
from meshcell.core.types import Volume
from meshcell.core.validation import OUTSIDE, checked_spacing, checked_voxels, coarse_axis
from meshcell.formats.volumes.lengths import unlikely

log = logging.getLogger("meshcell")


# The voxel size in a header with 32-bit floats or fractions is rounded; the exact one beside it must agree to this.
HEADER_PRECISION = 1e-5


KINDS = ("labels", "intensities")
# So many different labels, and fewer neighbours alike than this: grey values.
GREYS, ALIKE = 32, 0.5
# Voxels from which that can be told, and as many as are looked at.
FEW, ENOUGH = 4096, 2**21


@dataclass(frozen=True, eq=False)
class Picture:
    """What a volume file holds: voxels along x, y, z, and the voxel size in um where the file tells one.

    `advice` says why there is no usable voxel size; it becomes part of the error. `kind` is "labels" or "intensities"
    where the file says what its whole numbers are; `ours` that we wrote it, so that nothing has to be guessed;
    `start` is the first voxel's place in voxels, for files that count the origin so.
    """

    data: Array
    spacing: Any = None
    origin: Any = (0.0, 0.0, 0.0)
    names: dict[int, str] = field(default_factory=dict)
    advice: str = "the file does not tell it"
    kind: str | None = None
    ours: bool = False
    start: Any = None


def planes(masks: Array) -> Array:
    """Turn (z,) y, x into x, y, z."""
    return (masks if masks.ndim == 3 else masks[None]).T


def checked_kind(kind: str | None) -> None:
    """Refuse what is no kind of voxels."""
    if kind is not None and kind not in KINDS:
        raise ValueError(f'kind should be "labels" or "intensities"; got {kind!r}')


def no_choice(path: Path, what: str, dataset: str | None, kind: str | None) -> None:
    """Refuse dataset= and kind= where there is nothing to choose."""
    fits = {"dataset": "files of several volumes (.h5, .npz)", "kind": "volumes"}
    for name, given in (("dataset", dataset), ("kind", kind)):
        if given is not None:
            raise FileError(f"{path}: {name}= is for {fits[name]}; this one holds {what}; leave it out")


def to_volume(
    path: Path, picture: Picture, spacing: Any, names: Mapping[int, str] | None, kind: str | None = None
) -> Volume:
    """Make a Volume of a picture; the caller's spacing, names and kind win over the file's."""
    checked_kind(kind)
    advice = _size_advice(picture)
    if spacing is None and advice:
        raise FileError(
            f"{path}: the voxel size should be known; {advice}; pass it as spacing=, for instance "
            'spacing="8 nm" or spacing=("4 nm", "4 nm", "40 nm") along x, y, z'
        )
    with naming(path):
        given = None if spacing is None else checked_spacing(spacing)
        if given and picture.spacing is not None and not same(given, picture.spacing, HEADER_PRECISION):
            log.info("%s: voxel size %s um as asked, not %s um as stored", path, given, tuple(picture.spacing))
        named = merged_names(path, picture.names, names)
        data = _of_kind(path, picture, kind, named)
        if kind == "intensities" and names:
            raise ValueError('names= are for labels; leave them out, or kind="intensities"')
        size = given or checked_spacing(picture.spacing)
        origin = picture.origin if picture.start is None else tuple(np.multiply(picture.start, size).tolist())
        volume = Volume(data, size, origin, {} if data.dtype.kind == "f" else named)
    _mention(path, volume, picture, given is not None, names or {})
    if volume.is_labels and kind is picture.kind is None and not picture.ours and len(volume.names) == 1:
        _mention_greys(path, volume.data)
    return volume


def _size_advice(picture: Picture) -> str:
    """Say why the file's voxel size cannot be used; an empty text where it can."""
    if picture.spacing is None:
        return picture.advice
    doubt = "" if picture.ours or len(picture.spacing) != 3 else unlikely(picture.spacing)
    return doubt and f"the file tells {lengths(picture.spacing)} um, {doubt}"


def _of_kind(path: Path, picture: Picture, kind: str | None, named: Mapping[int, str]) -> Array:
    """Return whole numbers for labels and floats for intensities."""
    data = picture.data
    if (kind or _likely_kind(path, picture, named)) == "intensities":
        return as_floats(data)
    return checked_voxels(data, as_labels=True) if data.dtype.kind == "f" else data


def _likely_kind(path: Path, picture: Picture, named: Mapping[int, str]) -> str:
    """Tell labels by their names and whole numbers; what had to be assumed is a warning."""
    data = picture.data
    if any(label != OUTSIDE for label in named):
        return "labels"
    if data.dtype.kind not in "iu":
        return "labels" if data.dtype == bool else "intensities"
    if picture.kind == "intensities":
        _warn(path, f"{data.dtype} voxels are taken as intensities, as the file or its name says; {_AS_LABELS}")
        return "intensities"
    if data.dtype.kind == "i" and data.size and data.min() < 0:
        found = f"voxels from {data.min()} to {data.max()}"
        _warn(path, f"{found} are taken as intensities, since no label is below 0; {_AS_LABELS}")
        return "intensities"
    return "labels"


def as_floats(data: Array) -> Array:
    """Return whole numbers as floats that hold them, 32 bits where that is exact; other arrays as they are."""
    if data.dtype.kind not in "iub":
        return data
    return data.astype(np.float32 if data.dtype.itemsize <= 2 else np.float64)


def _mention(path: Path, volume: Volume, picture: Picture, sized: bool, names: Mapping[int, str]) -> None:
    """Warn of what may be a mistake of the caller's or the file's."""
    absent = {label: name for label, name in volume.absent.items() if label in names} if names else {}
    if absent:
        there = ", ".join(map(str, list(volume.regions)[:12])) or "none"
        _warn(path, f"names= has labels that are not there: {absent}; the labels there are {there}")
    axis = coarse_axis(volume.spacing) if sized or not picture.ours else None
    if axis:
        found = f"the voxels are longest along {axis}, {lengths(volume.spacing)} um"
        _warn(path, f"{found}; sections are usually cut along z: is spacing in the order x, y, z?")


def _mention_greys(path: Path, data: Array) -> None:
    """Warn of labels that look like grey values: very many, and hardly two neighbours alike."""
    sections = max(1, ENOUGH // (data.shape[0] * data.shape[1]))
    part = data[:, :, :: max(1, data.shape[2] // sections)]
    n = len(np.unique(part))
    if data.size < FEW or n <= GREYS:
        return
    pairs = [(part[1:], part[:-1]), (part[:, 1:], part[:, :-1])]
    # Two voxels of outside are alike in grey values, too, where a picture has a margin.
    inside = [(a != OUTSIDE) | (b != OUTSIDE) for a, b in pairs]
    alike = sum(int(((a == b) & both).sum()) for (a, b), both in zip(pairs, inside, strict=True))
    share = alike / max(1, sum(int(both.sum()) for both in inside))
    if share < ALIKE:
        found = f"{n} different labels, and only {100 * share:.0f} % of neighbouring voxels alike"
        advice = 'load(..., kind="intensities") reads them so, kind="labels" ends this warning'
        _warn(path, f"{found}: these look like grey values; {advice}")


_AS_LABELS = 'load(..., kind="labels") takes them as labels, kind="intensities" ends this warning'


def _warn(path: Path, text: str) -> None:
    warnings.warn(f"{path}: {text}", stacklevel=2)


def volume_tag(volume: Volume) -> str:
    """Write down exactly what headers with rounded numbers and few types lose, and a checksum of the voxels."""
    return tagged(
        "volume",
        shape=volume.data.shape,
        dtype=volume.data.dtype.str,
        spacing=volume.spacing,
        origin=volume.origin,
        names=names_to_json(volume.names),
        crc32=checksum(volume.data),
    )


def with_tag(path: Path, picture: Picture, text: Any) -> Picture:
    """Restore what `volume_tag` wrote, unless the file was cropped or resampled since."""
    tag = untagged(text, "volume")
    if not tag:
        return picture
    names = names_from_json(tag["names"])
    if tuple(tag["shape"]) != picture.data.shape or not same(tag["spacing"], picture.spacing, HEADER_PRECISION):
        return replace(picture, names=names, ours=True)
    data = picture.data.astype(np.dtype(tag["dtype"]), copy=False)
    # Not an error: programs that paint labels keep our note.
    if tag.get("crc32", checksum(data)) != checksum(data):
        _warn(path, "the voxels are not those that meshcell wrote: edited since, or damaged")
    return Picture(data, tuple(tag["spacing"]), tuple(tag["origin"]), names, ours=True)


def checksum(data: Array) -> int:
    """Return the CRC-32 of voxels in the order of the file, x fastest."""
    return zlib.crc32(np.ascontiguousarray(data.T).data)


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
