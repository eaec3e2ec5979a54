"""Mend what can be mended in a surface from elsewhere, and refuse what would break the steps that follow."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array
from meshcell.core.errors import MeshError
from meshcell.core.hints import require
from meshcell.core.types import Surface
from meshcell.core.validation import OUTSIDE
from meshcell.geometry.measures import enclosed_volumes
from meshcell.geometry.openings import region_edges
from meshcell.surfaces.combining import together
from meshcell.surfaces.holes import closed, stitched, without_loose_pieces
from meshcell.surfaces.nets import (
    checked_tolerance,
    degenerate,
    fused,
    kept,
    merged,
    once,
    same_corners,
    without_loose_points,
)
from meshcell.surfaces.orientation import orient

log = logging.getLogger("meshcell")

ROBUST = 'for what repair(surface) cannot mend there is tetrahedralize(surface, method="winding")'


def repair(surface: Surface, *, tolerance: float | str | None = None, max_hole: int | None = None) -> Surface:
    """Mend a surface from elsewhere; a warning says what was changed.

    Parameters
    ----------
    surface : Surface
    tolerance : float or text, optional
        um, or "1 nm"; points nearer to each other become one. By default 1e-9 of the surface's extent, or what rounding
        to float32 makes of its coordinates, but no more than a thousandth of an edge.
    max_hole : int, optional
        Holes with at most so many edges are closed by triangles around their middle. By default those are closed that
        need less than a tenth of the area of their piece.

    Returns
    -------
    Surface
        Points that coincide are merged, triangles without three different points left out, as are those that are there
        twice, fins (triangles with an edge of their own at an edge of three or more) and loose triangles that enclose
        nothing. Where two regions bring the same wall, each against "outside", there is one wall between them.
        Turned triangles follow the majority of those around them; every shell is turned, and the region around it
        named, by where it lies, see `orientation.orient`. Triangles are split at points of others on their edges. Small
        holes are closed. Patches are kept.

    Raises
    ------
    ValueError
        A tolerance below 0, or of more than a twentieth of a body.

    Warns
    -----
    UserWarning
        What was changed, and what stays open.

    Notes
    -----
    Triangles that cut through each other stay as they are, see `self_intersections`; `voxelize` and
    `tetrahedralize(surface, method="winding")` take those too.

    Examples
    --------
    >>> import warnings
    >>> soup = Surface(np.eye(4, 3)[[0, 1, 2, 3, 1, 0, 3, 2, 1, 3, 0, 2]], np.arange(12).reshape(4, 3), [[1, 0]] * 4)
    >>> with warnings.catch_warnings(record=True) as said:
    ...     repaired = repair(soup)
    >>> len(repaired.points), round(6 * enclosed_volumes(repaired)["label 1"], 12)
    (4, 1.0)
    >>> str(said[0].message)
    'repair changed the surface: 8 points merged'
    """
    require(surface, Surface, "repair(surface)")
    done: list[str] = []
    details: list[str] = []
    surface = _net_of(surface, checked_tolerance(surface, tolerance), done)
    surface = _bodies_together(surface, done, details)
    surface = _oriented(surface, done, details)
    surface, n_split = stitched(surface)
    if n_split:
        done.append(f"{n_split} triangles split at points on their edges")
    surface, n_closed, left = closed(surface, max_hole)
    if n_closed:
        done.append(f"{n_closed} holes closed")
        surface = _oriented(surface, done, details)
    log.info("repair: %s", ", ".join(done) or "nothing to do")
    if left:
        shares = ", ".join(f"{hole.share:.2g}" for hole in left[:3])
        details.append(
            f"{len(left)} holes stay open, which would need {shares}{' ...' if len(left) > 3 else ''} of the area of "
            "their piece; max_hole= closes them by their number of edges"
        )
    if done or details:
        said = "; ".join([*([f"changed the surface: {', '.join(done)}"] if done else []), *details])
        warnings.warn(f"repair {said}", stacklevel=2)
    return without_loose_points(surface)


def _net_of(surface: Surface, tolerance: float | None, done: list[str]) -> Surface:
    """Merge points, leave out what bounds nothing, fuse walls; append to `done` what was changed."""

    def say(count: int, what: str) -> None:
        if count:
            done.append(f"{count} {what}")

    n_points, n = len(surface.points), len(surface.triangles)
    surface = without_loose_points(surface)
    say(n_points - len(surface.points), "points without a triangle left out")
    n_points = len(surface.points)
    surface = merged(surface, tolerance)
    say(n_points - len(surface.points), "points merged")
    surface = kept(surface, ~degenerate(surface.triangles))
    say(n - len(surface.triangles), "triangles without area left out")
    n = len(surface.triangles)
    surface = kept(surface, once(surface))
    say(n - len(surface.triangles), "repeated triangles left out")
    n = len(surface.triangles)
    while (fins := _fins(surface)).any():
        surface = kept(surface, ~fins)
    say(n - len(surface.triangles), "triangles of fins left out")
    surface, n_loose = without_loose_pieces(surface)
    say(n_loose, "loose triangles left out")
    return surface


def _bodies_together(surface: Surface, done: list[str], details: list[str]) -> Surface:
    """Make one of walls that several regions bring; bodies that were all given against "outside" are combined."""
    groups, first, _ = same_corners(surface.triangles)
    if len(first) == len(groups):
        return surface
    if (surface.sides == OUTSIDE).any(axis=1).all():
        try:
            one = together(surface)
        except MeshError as error:
            details.append(str(error))
        else:
            done.append(
                f"{len(surface.triangles) - len(one.triangles)} triangles of walls fused that two regions brought"
            )
            return one
    surface, n_fused = fused(surface)
    if n_fused:
        done.append(f"{n_fused} triangles of walls fused that two regions brought")
    return surface


def _oriented(surface: Surface, done: list[str], details: list[str]) -> Surface:
    """Turn triangles and shells, name what is around them; append to `done` and `details` what was changed."""
    found = orient(surface)
    turned, n_turned = found.surface, int(found.turned.sum())
    volumes = enclosed_volumes(turned)
    if volumes and all(volume < 0 for volume in volumes.values()):
        # Too open to have an inside, but inside out.
        n_turned = len(turned.triangles) - n_turned
        turned = replace(turned, triangles=turned.triangles[:, ::-1])
    if n_turned:
        done.append(f"{n_turned} triangles turned")
    n_named = int((turned.sides != surface.sides).any(axis=1).sum())
    if n_named:
        done.append(f"{n_named} triangles given the region around them")
    details += [item.said for item in found.misplaced[:5]]
    return turned


def _fins(surface: Surface) -> Array:
    """Mark triangles that have an edge of their own and hang at another, which belongs to three or more.

    Not those beside a hole: at the edge where walls of three regions meet each region has two triangles with or
    without it, and where a body touches itself one of four hangs.
    """
    edges, triangle_edges = adjacency.edges(surface.triangles, len(surface.points))
    if not len(triangle_edges):
        return np.zeros(0, bool)
    counts = np.bincount(triangle_edges.ravel(), minlength=len(edges))
    hanging = (counts[triangle_edges] == 1).any(axis=1)
    n_hanging = np.bincount(triangle_edges[hanging].ravel(), minlength=len(edges))
    labels, numbers = np.unique(surface.sides, return_inverse=True)
    keys = triangle_edges[:, :, None].astype(np.int64) * len(labels) + numbers.reshape(-1, 1, 2)
    present, times = np.unique(keys, return_counts=True)
    uneven = np.bincount(present // len(labels), times % 2, len(edges)) > 0
    crowded = (np.bincount(present // len(labels), minlength=len(edges)) == 2) & (n_hanging >= counts - 2)
    held = (counts > 2) & (uneven | crowded)
    return np.asarray(hanging & held[triangle_edges].any(axis=1))


# --- what the steps that follow cannot take ---


def refuse_broken(surface: Surface, what: str) -> None:
    """Raise a MeshError for triangles that no step can work with; log a warning for open edges.

    Raises
    ------
    MeshError
        Triangles with fewer than three different points, there twice, or with edges around which the regions
        contradict each other (turned triangles, fins); `where` lists them.
    """
    rows = np.flatnonzero(degenerate(surface.triangles))
    if len(rows):
        _refuse(what, "triangles with three different points", rows, "have not")
    runs, sums, edge_rows, triangle_edges = region_edges(surface)
    if (runs > 2).any():
        _, groups, counts = np.unique(
            np.sort(surface.triangles, axis=1), axis=0, return_inverse=True, return_counts=True
        )
        rows = np.flatnonzero(counts[groups.ravel()] > 1)
        if len(rows):
            _refuse(what, "every triangle once", rows, "share all corners with another")
    bad = edge_rows[(runs > 1) & (sums != 0)]
    if len(bad):
        rows = np.flatnonzero(np.isin(triangle_edges, bad).any(axis=1))
        _refuse(what, "sides that agree around every edge", rows, "lie at edges where they do not")
    n_open = len(np.unique(edge_rows[runs == 1]))
    if n_open:
        log.warning("%s: the surface has %d open edges; repair(surface) closes small holes", what, n_open)


def _refuse(what: str, expected: str, rows: Array, said: str) -> None:
    raise MeshError(
        f"{what} needs {expected}; {len(rows)} {said}, the first is row {rows[0]}; use repair(surface); {ROBUST}", rows
    )
