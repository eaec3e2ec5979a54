"""Labels on finer layers than their sections: each interface passes between two sections as their shapes tell."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats, Triple, lengths
from meshcell.core.hints import require
from meshcell.core.types import Volume
from meshcell.core.validation import as_triple, checked_spacing
from meshcell.geometry.voxels import component_numbers
from meshcell.labels.sections import heights, outlines

log = logging.getLogger("meshcell")

# Voxels this many times longer along one axis than along the others are sections with steps between them.
THICK = 2.5
# Of the voxel: spacings that differ by less are the same.
SAME = 1e-3
# Of the weights that keep volumes; halvings of an interval from 0 to 1.
HALVINGS = 30
# Bytes of labels beyond which a warning tells what could be done.
LARGE = 2**31


def resample(volume: Volume, spacing: Any) -> Volume:
    """Interpolate labels between sections: more and thinner layers along one axis.

    Parameters
    ----------
    volume : Volume
        Labels, any number of them.
    spacing : float, three floats or text, um
        The voxels wanted. Along one axis at most half as long as the present ones, along the other two the same. Each
        section becomes a whole number of layers, at least three, so that the length is that nearest to the one wanted.

    Returns
    -------
    Volume
        The same box, names and labels. The layer in the middle of a section, or the two of an even number, are the
        section.

    Raises
    ------
    ValueError
        The spacing is not finer along exactly one axis, or more than half of what it was.

    Warns
    -----
    UserWarning
        The result takes more than 2 GiB.

    Notes
    -----
    Shape-based interpolation (Herman, Zheng and Bucholtz 1992) of all labels at once. Where the two sections around a
    gap differ, a column of voxels changes its label once within the gap. How high is told by the distances, within the
    patch of columns that change alike, to the outline in the section below (0) and to that in the section above (1);
    the slopes at outlines are those of the gaps before and after (cubic splines of Catmull and Rom 1974). Where a body
    ends within a gap it is closed by a dome that goes on as a ball would. Then all heights between the same two
    connected pieces are raised or lowered together until each has the volume that its voxels had.

    As no column changes twice in a gap, and columns change midway where a label touches itself across an edge or a
    corner alone, topology stays: no piece, handle or cavity comes or goes. Work is linear in voxels, whatever the
    number of labels.

    Examples
    --------
    >>> steps = Volume(np.array([[[1, 0]], [[1, 1]], [[1, 1]]]), spacing=(1, 1, 5))
    >>> fine = resample(steps, (1, 1, 1))
    >>> fine.data.sum(axis=2).ravel().tolist(), fine.spacing
    ([5, 10, 10], (1.0, 1.0, 1.0))
    """
    require(volume, Volume, "resample(volume, spacing)")
    volume.require_labels("resample")
    wanted = checked_spacing(spacing)
    finer = [axis for axis in range(3) if wanted[axis] < (1 - SAME) * volume.spacing[axis]]
    same = [axis for axis in range(3) if abs(wanted[axis] / volume.spacing[axis] - 1) <= SAME]
    if not finer and len(same) == 3:
        return volume
    if len(finer) != 1 or len(same) != 2 or wanted[finer[0]] > (1 + SAME) * volume.spacing[finer[0]] / 2:
        raise ValueError(
            f"resample makes voxels finer along one axis, at most half as long, and leaves the others; got voxels of "
            f"{lengths(volume.spacing)} um and spacing={lengths(wanted)} um; {_remedy(volume.spacing)}"
        )
    axis = finer[0]
    return _layered(volume, axis, max(round(volume.spacing[axis] / wanted[axis]), 3))


def between_sections(volume: Volume) -> Volume:
    """Return labels with voxels about as long as wide, interpolated where they are sections; else the same volume.

    An odd number of layers for each section, so that one of them is the section itself.
    """
    axis = thick_axis(volume.spacing)
    return volume if axis is None else _layered(volume, axis, layers_each(volume.spacing))


def thick_axis(spacing: Triple) -> int | None:
    """Return the axis along which voxels are at least 2.5 times longer than along both others.

    Examples
    --------
    >>> thick_axis((4, 4, 40)), thick_axis((4, 4, 8)), thick_axis((4, 40, 40))
    (2, None, None)
    """
    axis = int(np.argmax(spacing))
    return axis if _ratio(spacing, axis) >= THICK * (1 - 1e-9) else None


def layers_each(spacing: Triple) -> int:
    """Return how many layers `between_sections` makes of each section, 1 where voxels are no sections."""
    axis = thick_axis(spacing)
    return 1 if axis is None else max(2 * round((_ratio(spacing, axis) - 1) / 2) + 1, 3)


def _ratio(spacing: Triple, axis: int) -> float:
    return spacing[axis] / max(size for other, size in enumerate(spacing) if other != axis)


def _remedy(spacing: Triple) -> str:
    long = int(np.argmax(spacing))
    fine = list(spacing)
    fine[long] = max(min(spacing), spacing[long] / 40)
    if spacing[long] <= 2 * fine[long]:
        return "these voxels are nearly even"
    return f"for instance spacing=({', '.join(f'{size:g}' for size in fine)})"


def _layered(volume: Volume, axis: int, parts: int) -> Volume:
    """Return the volume with so many layers for each section along the axis."""
    n, old = volume.data.shape[axis], volume.spacing[axis]
    needed = volume.data.nbytes * parts
    if needed > LARGE:
        warnings.warn(
            f"{n} sections become {n * parts} layers, labels of {needed / 2**30:.3g} GiB; crop the volume, give "
            'coarser layers by resample, or keep the sections: extract(volume, sections="keep")',
            stacklevel=4,
        )
    # Sections last, so that a column of voxels lies together in memory.
    labels = np.ascontiguousarray(np.moveaxis(volume.data, axis, -1))
    sides = np.delete(np.array(volume.spacing), axis)
    fine = labels.repeat(parts, axis=-1)
    _change(fine.reshape(-1, n * parts), labels, parts, sides, old)
    spacing, origin = np.array(volume.spacing), np.array(volume.origin)
    spacing[axis] = old / parts
    origin[axis] += (spacing[axis] - old) / 2
    log.info("%d sections along %s become %d layers of %.4g um", n, "xyz"[axis], n * parts, spacing[axis])
    data = np.ascontiguousarray(np.moveaxis(fine, -1, axis))
    return Volume(data, as_triple(spacing, "spacing"), as_triple(origin, "origin"), volume.names)


def _change(fine: Array, labels: Array, parts: int, sides: Floats, thickness: float) -> None:
    """Set, in columns of layers, what lies between two sections that differ."""
    n = labels.shape[-1]
    columns = labels.reshape(-1, n)
    rows, shares, apart = _heights(labels, sides, thickness)
    gap = np.repeat(np.arange(n - 1), [len(own) for own in rows])
    if not len(gap):
        return
    row, share = np.concatenate(rows), np.concatenate(shares)
    # The layers on both sides of a section's middle are the section, in an even number; else the one in its middle is.
    count = parts - 1 if parts % 2 else parts - 2
    ends = (np.arange(count) + (1 if parts % 2 else 1.5)) / parts
    first = gap * parts + parts // 2 + 1
    pieces = component_numbers(Volume(labels, (1.0, 1.0, 1.0)))[0].reshape(-1, n)
    lower, upper = columns[row, gap], columns[row, gap + 1]
    rising = lower < upper
    pair = _pairs(pieces[row, gap], pieces[row, gap + 1], rising)
    below = _balanced(pair, rising, share, np.concatenate(apart), ends)
    for layer in range(count):
        fine[row, first + layer] = np.where(layer < below, lower, upper)


def _heights(labels: Array, sides: Floats, thickness: float) -> tuple[list[Array], list[Floats], list[Array]]:
    """Return for each gap between sections the columns that change, how high (0 to 1), and which must do so midway."""
    planes = np.moveaxis(labels, -1, 0).astype(np.int64, order="C")
    n, nx, ny = planes.shape
    none = np.full((nx, ny), -1, np.int64)
    found = [outlines(planes[k], planes[k + 1], sides[0], sides[1]) for k in range(n - 1)]
    nothing = np.zeros((3, nx * ny))

    def seen(k: int) -> Floats:
        """What the columns of a gap tell its neighbours: their width and reaches."""
        if not 0 <= k < n - 1:
            return nothing
        told = np.zeros((3, nx * ny))
        told[:, found[k].rows] = found[k].widths, *found[k].reaches
        return told

    shares = []
    before, here = nothing, seen(0)
    for k in range(n - 1):
        after = seen(k + 1)
        around = (planes[k - 1] if k else none, planes[k], planes[k + 1], planes[k + 2] if k + 2 < n else none)
        shares.append(heights(found[k], around, before, after, thickness))
        before, here = here, after
    rows = [one.rows for one in found]
    return rows, shares, [_apart(planes[k], planes[k + 1])[rows[k]] for k in range(n - 1)]


def _apart(lower: Array, upper: Array) -> Array:
    """Mark the columns (nx * ny,) beside which a label ends that begins in them, or the other way round.

    The label touches itself across an edge or a corner alone there; if either column changed sooner or later, that
    would become a face or an edge.
    """
    marked, changes = np.zeros(lower.shape, bool), lower != upper
    for here, there in (
        (np.s_[1:], np.s_[:-1]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:, 1:], np.s_[:-1, :-1]),
        (np.s_[1:, :-1], np.s_[:-1, 1:]),
    ):
        both = changes[here] & changes[there]
        both &= (upper[here] == lower[there]) | (lower[here] == upper[there])
        marked[here] |= both
        marked[there] |= both
    return marked.ravel()


def _pairs(before: Array, after: Array, rising: Array) -> Array:
    """Number the pairs of pieces that columns change between, whichever comes first."""
    low, high = np.where(rising, before, after).astype(np.int64), np.where(rising, after, before)
    return np.asarray(np.unique(low * (int(max(low.max(), high.max())) + 1) + high, return_inverse=True)[1])


def _balanced(pair: Array, rising: Array, share: Floats, apart: Array, middles: Floats) -> Array:
    """Return how many layers of each column keep the lower label, so that interfaces sweep no volume on the whole.

    One weight x for each pair of pieces turns a height t into x t / (x t + (1 - x)(1 - t)), which leaves outlines where
    they are; seen from the piece of the lower label, so that the result does not depend on the order of sections.
    """
    count = len(middles)
    wanted = np.bincount(pair) * count / 2
    seen = np.where(rising, share, 1 - share)

    def layers(weights: Floats) -> Array:
        weight = weights[pair]
        grown = weight * seen / (weight * seen + (1 - weight) * (1 - seen))
        height = np.where(apart, 0.5, np.where(rising, grown, 1 - grown))
        return np.asarray(np.searchsorted(middles, height - 1e-9))

    def volumes(below: Array) -> Floats:
        return np.asarray(np.bincount(pair, np.where(rising, below, count - below)))

    least, most = np.zeros(len(wanted)), np.ones(len(wanted))
    for _ in range(HALVINGS):
        middle = (least + most) / 2
        over = volumes(layers(middle)) > wanted
        least, most = np.where(over, least, middle), np.where(over, middle, most)
    less, more = layers(least), layers(most)
    return np.where(_chosen(pair, less != more, wanted - volumes(less)), more, less)


def _chosen(pair: Array, tied: Array, missing: Floats) -> Array:
    """Mark as many of the tied columns of every pair as layers are missing, spread evenly among them."""
    tied_rows = np.flatnonzero(tied)
    tied_rows = tied_rows[np.argsort(pair[tied_rows], kind="stable")]
    own = pair[tied_rows]
    total = np.bincount(own, minlength=len(missing))
    rank = np.arange(len(own)) - (np.cumsum(total) - total)[own]
    taken, total = np.clip(np.rint(missing), 0, total).astype(np.int64)[own], total[own]
    marked = np.zeros(len(pair), bool)
    marked[tied_rows] = (rank + 1) * taken // total > rank * taken // total
    return marked
