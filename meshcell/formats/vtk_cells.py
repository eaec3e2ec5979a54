"""The flat cells of VTK files as triangles: polygons, quads, pixels and strips.

Source: VTK User's Guide, "VTK File Formats", figure of the linear cell types.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import truncated

TRIANGLE, STRIP, POLYGON, PIXEL, QUAD = 5, 6, 7, 8, 9
FLAT = (TRIANGLE, STRIP, POLYGON, PIXEL, QUAD)
# Points and lines, which are left out.
THIN = (1, 2, 3, 4)


def flat_triangles(path: Path, cells: Mapping[str, Array], types: Array | None = None) -> tuple[Array, Array]:
    """Divide flat cells into triangles.

    Parameters
    ----------
    cells : dict of arrays
        `connectivity` and `offsets`, the end of every cell.
    types : (n,) ints or None
        VTK's types of the cells; those that are not flat are left out. None means polygons.

    Returns
    -------
    (t, 3) ints, (t,) ints
        The triangles, a polygon's from its first corner, in the order of the cells; and the cell of each.
    """
    if "offsets" not in cells or not len(cells["offsets"]):
        return np.empty((0, 3), np.int64), np.empty(0, np.int64)
    ends = cells["offsets"].astype(np.int64)
    starts = np.concatenate([[0], ends[:-1]])
    corners = cells["connectivity"]
    if (ends < starts).any() or ends[-1] > len(corners):
        truncated(path, f"corners up to {ends.max():,}", f"{len(corners):,} are there")
    kinds = np.full(len(ends), POLYGON) if types is None else types
    counts = np.where(np.isin(kinds, FLAT), np.maximum(ends - starts - 2, 0), 0)
    rows = np.repeat(np.arange(len(ends)), counts)
    steps = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    # A triangle of a strip begins at its own corner, and every second one is turned.
    strip = np.isin(kinds[rows], (STRIP, PIXEL))
    first = np.where(strip, steps, 0)
    odd = (strip & (steps % 2 == 1)).astype(np.int64)
    places = np.stack([first, steps + 1 + odd, steps + 2 - odd], axis=1)
    triangles: Array = corners[starts[rows][:, None] + places]
    return triangles, rows
