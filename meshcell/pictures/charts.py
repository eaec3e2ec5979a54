"""Flat pictures: slices through volumes, curves over time, histograms of angles, by matplotlib."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.analysis.fidelity import FARTHEST, MEAN_FARTHEST, VOLUME_ERROR, Fidelity
from meshcell.analysis.problems import listed
from meshcell.analysis.quantities import mean
from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.files import replacing
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.models.solutions import Solution, compartment_rows
from meshcell.pictures import captions, colours

log = logging.getLogger("meshcell")

DPI = 200
# Bars of a chart: more are not read.
BARS = 16
# Histograms over each other; of more parts that of the whole and those of a few of the worst.
MOST_PARTS, WORST_PARTS = 8, 4


def slices(volume: Volume, at: Any, *, title: str | None, save: Any) -> Array:
    """Draw three orthogonal slices around one corner, as atlases do: xy above left, zy right of it, xz below."""
    import matplotlib.pyplot as plt

    target = None if save is None else picture_path(save, (".png", ".pdf", ".svg"))
    voxel = _best_voxel(volume) if at is None else _voxel_at(volume, at)
    x, y, z = volume.extent
    scale = 7 / max(x + z, y + z)
    figure = plt.figure(figsize=((x + z) * scale + 1.6, (y + z) * scale + 1.2), layout="constrained")
    layout = figure.add_gridspec(2, 2, width_ratios=(x, z), height_ratios=(y, z))
    axes = np.array([figure.add_subplot(layout[place]) for place in ((0, 0), (0, 1), (1, 0))], object)
    low = np.asarray(volume.origin) - np.asarray(volume.spacing) / 2
    high = low + volume.extent
    cross = np.asarray(volume.origin) + voxel * np.asarray(volume.spacing)
    data = volume.data
    planes = ((0, 1, data[:, :, voxel[2]].T), (2, 1, data[voxel[0], :, :]), (0, 2, data[:, voxel[1], :].T))
    paint = _painter(volume)
    for axis, (across, along, plane) in zip(axes, planes, strict=True):
        axis.imshow(
            paint(plane), origin="lower", interpolation="nearest", aspect="equal", cmap="gray",
            vmin=None if volume.is_labels else data.min(), vmax=None if volume.is_labels else data.max(),
            extent=(low[across], high[across], low[along], high[along]),
        )  # fmt: skip
        axis.axvline(cross[across], color="0.35", linewidth=0.6, linestyle=":")
        axis.axhline(cross[along], color="0.35", linewidth=0.6, linestyle=":")
        axis.set_xlabel(f"{'xyz'[across]} (µm)")
        axis.set_ylabel(f"{'xyz'[along]} (µm)")
    # Neighbours share an axis, as on a drawing of three views.
    axes[0].set(xlabel=None, xticklabels=[])
    axes[1].set(ylabel=None, yticklabels=[])
    if volume.is_labels:
        _region_legend(figure.add_subplot(layout[1, 1]), volume)
    return finished(axes, title, target)


def _painter(volume: Volume) -> Any:
    """Return a function from a plane of voxels to what imshow draws: colours for labels, intensities as they are."""
    if not volume.is_labels:
        return np.asarray
    labels = np.array(sorted(volume.counts))
    shades = np.array([(1.0, 1.0, 1.0) if label == 0 else colours.region_colour(int(label)) for label in labels])
    return lambda plane: shades[np.searchsorted(labels, plane)]


def _region_legend(axis: Any, volume: Volume, most: int = 14) -> None:
    from matplotlib.patches import Patch

    axis.axis("off")
    regions = list(volume.regions.items())
    entries = [Patch(color=colours.region_colour(label), label=captions.short(name)) for label, name in regions[:most]]
    if len(regions) > most:
        entries.append(Patch(color="none", label=f"and {len(regions) - most} more"))
    axis.legend(handles=entries, loc="upper left", frameon=False)


def _best_voxel(volume: Volume) -> Ints:
    """Choose the slice of every axis that shows most of all regions together."""
    if not volume.is_labels:
        return np.array(volume.data.shape) // 2
    # A part of the voxels is enough to choose by.
    step = max(1, round((volume.data.size / 2e6) ** (1 / 3)))
    data = volume.data[::step, ::step, ::step]
    labels, codes = np.unique(data, return_inverse=True)
    codes = codes.reshape(data.shape)
    best = []
    for axis, n in enumerate(data.shape):
        index = np.arange(n).reshape([-1 if k == axis else 1 for k in range(3)])
        counts = np.bincount((codes * n + index).ravel(), minlength=len(labels) * n).reshape(len(labels), n)
        counts = counts[labels != 0] if len(labels) > 1 else counts
        score = (counts / np.maximum(counts.max(axis=1, keepdims=True), 1)).sum(axis=0)
        best.append(min(int(np.argmax(score)) * step, volume.data.shape[axis] - 1))
    return np.array(best)


def _voxel_at(volume: Volume, at: Any) -> Ints:
    point = np.asarray(at, np.float64)
    if point.shape != (3,):
        raise ValueError(f"at should be a point (x, y, z) in um for a Volume; got {at!r}")
    voxel = np.rint((point - volume.origin) / volume.spacing).astype(int)
    if (voxel < 0).any() or (voxel >= volume.data.shape).any():
        low = np.asarray(volume.origin)
        high = low + (np.array(volume.data.shape) - 1) * volume.spacing
        raise ValueError(f"at should lie in the volume, {low.tolist()} ... {high.tolist()} um; got {point.tolist()}")
    return np.asarray(voxel)


def curves(solution: Solution, species: Any, title: str | None, save: Any) -> Array:
    """Draw the mean over time with the band from minimum to maximum, one panel per species."""
    target = None if save is None else picture_path(save, (".png", ".pdf", ".svg"))
    names = list(species)
    axes = panels(len(names), 2.2, sharex=True)
    for index, (axis, name) in enumerate(zip(axes, names, strict=True)):
        dimension, _ = compartment_rows(solution, name)
        factor, label = captions.scale_and_label(solution, name, dimension)
        colour = colours.PALETTE[(4, 5, 2, 3, 1, 0)[index % 6]]
        values = solution.values[name] / factor
        axis.fill_between(solution.times, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.2, linewidth=0)
        axis.plot(solution.times, mean(solution, name) / factor, color=colour, linewidth=2)
        axis.set_ylabel(label)
        axis.margins(x=0)
    axes[0].set_title("line: mean, band: least to greatest", loc="right", fontsize="small", color="0.4")
    axes[-1].set_xlabel("time (s)")
    return finished(axes, title, target)


def errors(figures: Fidelity, title: str | None, save: Any) -> Array:
    """Draw the volume error of every region and the distances of every interface, with the limits of `check`."""
    target = None if save is None else picture_path(save, (".png", ".pdf", ".svg"))
    shared = [one for one in figures.regions.values() if one.found and one.expected]
    regions = sorted(shared, key=lambda one: -abs(one.volume_error))
    faces = sorted(figures.interfaces.values(), key=lambda one: -one.max_distance)
    axes = _bar_panels(min(len(regions), BARS), min(len(faces), BARS))
    volumes, distances = axes
    _bars(volumes, [one.name for one in regions], {"volume": [100 * one.volume_error for one in regions]}, "%+.2f %%")
    _bars(
        distances,
        [one.name.replace(" | ", " / ") for one in faces],
        {"greatest": [one.max_distance for one in faces], "mean, by area": [one.mean_distance for one in faces]},
        "%.2f",
    )
    volumes.axvline(0, color=colours.INK, linewidth=0.8)
    _limits(volumes, {-100 * VOLUME_ERROR: "0.4", 100 * VOLUME_ERROR: "0.4"})
    _limits(distances, {FARTHEST: colours.PALETTE[4], MEAN_FARTHEST: colours.PALETTE[0]})
    volumes.set_xlabel("volume less that of the voxels (%)")
    distances.set_xlabel("distance from the voxel faces (voxels)")
    distances.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1.0), ncols=2, borderaxespad=0)
    volumes.set_title("dashed: usual at most", loc="right", fontsize="small", color="0.4")
    lost = [one.name for one in figures.regions.values() if not (one.found and one.expected)]
    if lost:
        volumes.set_title(f"only in mesh or labels: {listed(lost, 3)}", loc="left", fontsize="small", color="0.4")
    return finished(axes, title, target)


def _bar_panels(*rows: int) -> Array:
    """Return one axis per number of rows, each as high as its rows need."""
    import matplotlib.pyplot as plt

    heights = [0.7 + 0.32 * max(n, 1) for n in rows]
    _, axes = plt.subplots(
        len(rows), 1, figsize=(6.4, sum(heights) + 0.3), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axis in axes.ravel():
        axis.spines[["top", "right"]].set_visible(False)
    return np.asarray(axes.ravel())


def _bars(axis: Any, names: list[str], sets: dict[str, list[float]], text: str) -> None:
    """Draw level bars with their figures, the first on top; all sets share the row of a name."""
    shown = min(len(names), BARS)
    height = 0.8 / len(sets)
    for index, (name, values) in enumerate(sets.items()):
        # A bar without end cannot be drawn, but its figure says so.
        lengths = np.where(np.isfinite(values[:shown]), values[:shown], 0.0)
        at = np.arange(shown) + (index - (len(sets) - 1) / 2) * height
        bars = axis.barh(at, lengths, 0.9 * height, color=colours.PALETTE[(4, 0)[index]], label=name)
        axis.bar_label(bars, [text % value for value in values[:shown]], padding=3, fontsize="small")
    axis.set_yticks(range(shown), names[:shown])
    axis.set_ylim(shown - 0.5, -0.5)
    axis.margins(x=0.12)
    if len(names) > shown:
        axis.annotate(
            f"and {len(names) - shown} smaller ones", (1, 0.02), xycoords="axes fraction", ha="right", fontsize="small",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip


def _limits(axis: Any, places: dict[float, Any]) -> None:
    for place, colour in places.items():
        axis.axvline(place, color=colour, linestyle="--", linewidth=1)


def whole_and_worst(name: str, elements: Floats, rows: Any, shades: Any) -> tuple[Any, Any, list[str]]:
    """Leave the whole and the parts with the least angles, as more are not told apart."""
    worst = sorted(rows, key=lambda name: float(elements[rows[name]].min()))[:WORST_PARTS]
    return {**rows, name: np.arange(len(elements))}, {**shades, name: colours.rgb(colours.GREY)}, [name, *worst]


def draw_histogram(axis: Any, name: str, values: Floats, bins: int, colour: Any) -> None:
    """Draw one set of angles: bars, density curve, dashed lines at the ends."""
    width = 180 / bins
    counts, edges = np.histogram(values, bins, (0, 180))
    axis.bar(
        edges[:-1],
        counts,
        width,
        align="edge",
        color=colour,
        alpha=0.45,
        edgecolor="white",
        linewidth=0.3,
        label=captions.short(name),
    )
    at, density = kernel_density(values)
    dark = tuple(0.75 * channel for channel in colour)
    axis.plot(at, density * len(values) * width, color=dark, linewidth=1.8)
    # One line of text lower for every set that is there already.
    height = 1.0 - 0.06 * (len(axis.containers) - 1)
    # The figure stands outside of its line, unless that is beyond the axis.
    low, high = float(values.min()), float(values.max())
    for edge, on_the_left in ((low, low > 18), (high, high > 162)):
        side, shift = ("right", -4) if on_the_left else ("left", 4)
        axis.axvline(edge, color=dark, linestyle="--", linewidth=1.2)
        axis.annotate(
            f"{edge:.1f}°", (edge, height), (shift, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha=side, va="top", color=dark, fontsize="small",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip


def finish_histogram(axis: Any, kind: str) -> None:
    """Label the axes and name the colours."""
    axis.set_xlim(0, 180)
    axis.set_xticks(range(0, 181, 30))
    axis.set_xlabel(f"{kind} (degrees)")
    axis.set_ylabel(f"number of {kind}s")
    # Above the axes: bars, curves and figures may be anywhere in them.
    axis.legend(
        loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3, frameon=False, borderaxespad=0, handlelength=1.2,
        columnspacing=1.5,
    )  # fmt: skip


def kernel_density(values: Floats, step: float = 0.25) -> tuple[Floats, Floats]:
    """Estimate the density of angles on 0 ... 180 degrees by Gaussian kernels.

    Returns
    -------
    at : (m,) floats
        Degrees, the middles of bins of `step`.
    density : (m,) floats
        Per degree; its integral is 1.

    Notes
    -----
    Width by Silverman's rule ("Density estimation", 1986, eq. 3.31). Kernels are summed over a fine histogram, which
    takes the same time for a thousand and for ten million angles; they are mirrored at 0 and 180 degrees.
    """
    from scipy.ndimage import gaussian_filter1d

    counts, edges = np.histogram(values, round(180 / step), (0, 180))
    quartiles = np.percentile(values, (25, 75))
    spread = min(float(values.std()), float(quartiles[1] - quartiles[0]) / 1.34)
    # Equal angles have no spread; half a degree is finer than what a chart shows.
    bandwidth = max(0.9 * spread * len(values) ** -0.2, 0.5)
    smooth = gaussian_filter1d(counts / (len(values) * step), bandwidth / step, mode="reflect")
    return (edges[:-1] + edges[1:]) / 2, smooth


def panels(n: int, height: float, **options: Any) -> Array:
    """Return (n,) axes, one below the other in a new figure."""
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(n, 1, figsize=(6.4, 0.9 + height * n), squeeze=False, layout="constrained", **options)
    for axis in axes.ravel():
        axis.spines[["top", "right"]].set_visible(False)
    return np.asarray(axes.ravel())


def part_colours(mesh: Surface | TetMesh) -> list[Any]:
    """Return a colour for every interface of a surface, or every region of a mesh."""
    if isinstance(mesh, Surface):
        return list(colours.interface_colours(mesh.sides).values())
    return [colours.region_colour(int(label)) for label in np.unique(mesh.regions)]


def finished(axes: Array, title: str | None, target: Path | None) -> Array:
    """Add the title, save the figure where a target is given, and return the axes."""
    figure = axes[0].figure
    if title:
        figure.suptitle(title)
    if target is not None:
        with replacing(target) as part:
            figure.savefig(part, dpi=DPI, facecolor="white")
        log.info("plot: %s", target)
    return axes


def picture_path(path: Any, endings: tuple[str, ...]) -> Path:
    """Return the path of a picture; refuse unknown endings and missing folders before any work is done."""
    target = Path(path)
    if target.suffix.lower() not in endings:
        raise ValueError(f"{target} should end in {', '.join(endings)}; got {target.suffix or 'no ending'!r}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent} to write {target.name} into; make it first")
    return target
