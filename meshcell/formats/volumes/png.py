"""One plane of labels or grey values as a PNG picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import MAX_DEFLATE, FileError, truncated
from meshcell.formats.volumes.pictures import Picture, planes


def read_png(path: Path) -> Picture:
    """Read a picture of grey values or labels, such as Cellpose's `_cp_masks.png`, as one plane.

    Of a picture with a colour table (VOC masks, napari, GIMP) the labels are the indices of the table. Colours are
    taken where red, green and blue are the same.
    """
    from PIL import Image

    with path.open("rb") as file:
        head = file.read(33)
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 33:
        raise FileError(f"{path} should be a PNG picture; it does not begin like one; give it the ending of its format")
    columns, rows = (int.from_bytes(head[k : k + 4], "big") for k in (16, 20))
    if columns * rows * head[24] // 8 > path.stat().st_size * MAX_DEFLATE:
        truncated(path, f"{columns} x {rows} pixels", f"{path.stat().st_size:,} bytes cannot hold them")
    with Image.open(path, formats=["PNG"]) as picture:
        frames, table = getattr(picture, "n_frames", 1), np.array(picture.getpalette() or [], int).reshape(-1, 3)
        data = np.asarray(picture)
    if frames != 1:
        raise FileError(f"{path} should be one plane; it is an animation of {frames} frames; save them one by one")
    # A table of greys may be a picture that was stored so.
    coloured = bool((table != table[:, :1]).any())
    advice = "a PNG picture does not tell it"
    return Picture(planes(_grey(path, data, head)), advice=advice, kind="labels" if coloured else None)


def _grey(path: Path, data: Array, head: bytes) -> Array:
    """Return one value per pixel as it was written."""
    depth, colour = head[24], head[25]
    if data.ndim == 2:
        # Grey values of 2 and 4 bits come stretched to 255.
        return data // np.uint8(255 // (2**depth - 1)) if colour == 0 and depth in (2, 4) else data
    values, opacity = (data[..., :-1], data[..., -1]) if data.shape[-1] in (2, 4) else (data, None)
    opaque = opacity is None or bool((opacity == opacity.flat[0]).all())
    if opaque and bool((values == values[..., :1]).all()):
        grey: Any = values[..., 0]
        return np.asarray(grey)
    raise FileError(
        f"{path} should be one plane of grey values or labels; got colours {data.shape}; give every colour a label, "
        "for instance by np.unique(picture.reshape(-1, 3), axis=0, return_inverse=True), or save the labels as they are"
    )
