"""What the formats of voxel volumes share: a picture as a file holds it, and the note of ours that travels along."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
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
from meshcell.core.validation import checked_spacing

log = logging.getLogger("meshcell")


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
