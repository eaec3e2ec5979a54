"""Pictures of samples: a slice, the scene in three dimensions, networks of filaments, occupancies against targets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.hints import nearest
from meshcell.phantoms.crowds.density_maps import unit_template
from meshcell.phantoms.crowds.samples import Sample
from meshcell.pictures import captions, charts, colours, rendering, scenes

log = logging.getLogger("meshcell")

MEMBRANE, BRANCH, BOX = "#e8c547", "#b2182b", "#9AA0A6"
AXIS = {"Microtubule": "#3a9d5d", "Actin": "#3b6fb6", "Filament": "#7a5ab5"}
# Shades of red for molecules, told apart by lightness too.
REDS = "Reds"
# Triangles drawn of one species: coarser shapes first, then fewer of them.
TRIANGLES = 1_500_000
# Names in a legend.
NAMES = 16
VIEW = (0.45, -1.0, 0.8)


def draw_slice(sample: Sample, *, z: float | None = None, title: str | None = None, save: Any = None) -> Array:
    """Draw a slice across z: the density, dark on light as in a micrograph, and the labels.

    Parameters
    ----------
    sample : Sample
    z : float, um, optional
        By default the middle.
    title : str, optional
    save : path, optional
        PNG, PDF or SVG.

    Returns
    -------
    (2,) array of matplotlib Axes

    Raises
    ------
    ValueError
        A z outside the sample.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    target = None if save is None else charts.picture_path(save, (".png", ".pdf", ".svg"))
    (nx, ny, nz), h, low = sample.labels.data.shape, sample.labels.spacing, sample.labels.origin
    k = nz // 2 if z is None else round((z - low[2]) / h[2])
    if not 0 <= k < nz:
        raise ValueError(f"z should lie in the sample, {low[2]:.4g} ... {low[2] + (nz - 1) * h[2]:.4g} um; got {z}")
    axes = plt.subplots(1, 2, figsize=(13, 6 * min(1.5, ny * h[1] / (nx * h[0]))), layout="constrained", sharey=True)[1]
    box = [low[0] - h[0] / 2, low[0] + (nx - 0.5) * h[0], low[1] - h[1] / 2, low[1] + (ny - 0.5) * h[1]]
    axes[0].imshow(sample.density.data[:, :, k].T, cmap="gray_r", extent=box, origin="lower", vmin=0, vmax=1.2)
    labels = sample.labels.data[:, :, k].T
    present, rows = np.unique(labels, return_inverse=True)
    shades = np.array([(1.0, 1.0, 1.0) if label == 0 else colours.region_colour(int(label)) for label in present])
    axes[1].imshow(shades[rows.reshape(labels.shape)], extent=box, origin="lower", interpolation="nearest")
    names = {int(label): sample.labels.names.get(int(label), f"label {label}") for label in present if label}
    entries = [
        Patch(color=colours.region_colour(label), label=captions.short(name))
        for label, name in list(names.items())[:NAMES]
    ]
    if len(names) > NAMES:
        entries.append(Patch(color="none", label=f"and {len(names) - NAMES} more"))
    axes[1].legend(handles=entries, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    for axis, name in zip(axes, ("density", "labels"), strict=True):
        axis.set(title=f"{name} at z = {low[2] + k * h[2]:.4g} µm", xlabel="x (µm)")
    axes[0].set(ylabel="y (µm)")
    return charts.finished(axes, title, target)


def draw_scene(
    sample: Sample,
    species: Sequence[str] | None = None,
    *,
    view: Any = None,
    title: str | None = None,
    size: tuple[int, int] = (1200, 900),
    save: Any = None,
) -> Any:
    """Draw membranes translucent, filaments as tubes, molecules by their shapes in shades of red.

    Parameters
    ----------
    sample : Sample
    species : names, optional
        Only these of membranes, filaments and molecules.
    view : three floats, optional
        Direction from the sample to the camera; z stands upright.
    title : str, optional
    size : two ints
        Pixels.
    save : path, optional
        Write a picture.

    Returns
    -------
    pyvista.Plotter

    Raises
    ------
    ValueError
        A name that is not in the recipe.
    RuntimeError
        No OpenGL.
    """
    shown = _shown(sample, species)
    target, plotter = _stage(size, save)
    legend = _add_membranes(plotter, sample, shown)
    legend |= _add_filaments(plotter, sample, shown)
    legend |= _add_molecules(plotter, sample, shown)
    return _finished(plotter, sample, legend, view, title, target)


def draw_network(
    sample: Sample,
    species: Sequence[str] | None = None,
    *,
    view: Any = None,
    title: str | None = None,
    size: tuple[int, int] = (1200, 900),
    save: Any = None,
) -> Any:
    """Draw filaments alone, those that branch by their centrelines, with a red ball wherever a branch begins.

    Parameters and errors are those of `draw_scene`.

    Returns
    -------
    pyvista.Plotter
    """
    shown = _shown(sample, species)
    target, plotter = _stage(size, save)
    thin = {filament.name for filament in sample.recipe.filaments if filament.branching > 0}
    legend = _add_filaments(plotter, sample, shown, thin)
    legend |= _add_branches(plotter, sample, shown)
    return _finished(plotter, sample, legend, view, title, target)


def draw_occupancy(sample: Sample, *, title: str | None = None, save: Any = None) -> Any:
    """Draw what each species reached beside what was asked for, percent; return the matplotlib Axes."""
    import matplotlib.pyplot as plt

    target = None if save is None else charts.picture_path(save, (".png", ".pdf", ".svg"))
    axis = plt.subplots(figsize=(7, 1.1 + 0.28 * len(sample.report)), layout="constrained")[1]
    names = [row.species + (" *" if row.why else "") for row in sample.report]
    at = np.arange(len(names))
    axis.barh(at - 0.2, [100 * row.asked for row in sample.report], 0.4, label="asked", color="#bbbbbb")
    axis.barh(at + 0.2, [100 * row.reached for row in sample.report], 0.4, label="reached", color=BRANCH)
    note = "\n* fell short, see the report" if any(row.why for row in sample.report) else ""
    axis.set(yticks=at, yticklabels=names)
    axis.set_xlabel(f"occupancy (%) of the box, or of the area of the membrane it is bound to{note}")
    axis.invert_yaxis()
    axis.legend()
    charts.finished(np.array([axis]), title, target)
    return axis


# --- scenes ---


def _shown(sample: Sample, species: Sequence[str] | None) -> set[str]:
    known = sample.recipe.species
    chosen = {species} if isinstance(species, str) else set(known if species is None else species)
    if not chosen <= set(known):
        wrong = min(chosen - set(known))
        raise ValueError(f"no species is called {wrong!r}{nearest(wrong, known)}; there are {', '.join(known)}")
    return chosen


def _stage(size: Any, save: Any) -> tuple[Any, Any]:
    target = None if save is None else charts.picture_path(save, (".png", ".jpg", ".jpeg", ".tif", ".tiff"))
    return target, rendering.stage(size, off_screen=target is not None)


def _finished(plotter: Any, sample: Sample, legend: dict[str, Any], view: Any, title: str | None, target: Any) -> Any:
    """Add the box, aim, name the colours, write."""
    import pyvista
    from matplotlib.colors import to_rgb

    low = np.array(sample.labels.origin) - np.array(sample.labels.spacing) / 2
    corners = np.array([low + np.array(corner) * sample.labels.extent for corner in np.ndindex(2, 2, 2)])
    bounds = np.stack([corners[0], corners[-1]], axis=1).ravel()
    plotter.add_mesh(pyvista.Box(bounds).extract_all_edges(), color=BOX, line_width=1.5, lighting=False)
    _aim(plotter, corners, VIEW if view is None else view)
    scenes.add_scale_bar(plotter, corners)
    scenes.add_legend(plotter, {name: to_rgb(colour) for name, colour in legend.items()})
    return scenes.finished(plotter, title, target)


def _aim(plotter: Any, corners: Floats, view: Any) -> None:
    """Point the camera at the middle of a box, z upright, leaving the right third to the legend."""
    direction = np.asarray(view, np.float64)
    if direction.shape != (3,) or not np.isfinite(direction).all() or not direction.any():
        raise ValueError(f"view should be the direction (x, y, z) from the sample to the camera; got {view!r}")
    direction = direction / np.linalg.norm(direction)
    upright = np.array([0, 1.0, 0]) if abs(direction[2]) > 0.95 else np.array([0, 0, 1.0])
    right = np.cross(upright, direction)
    right /= np.linalg.norm(right)
    up = np.cross(direction, right)
    width, height = plotter.window_size
    across, along = np.ptp(corners @ right), np.ptp(corners @ up)
    camera = plotter.camera
    camera.parallel_scale = 0.5 * max(along * 1.15, across * 1.5 * height / width)
    shown = 2 * camera.parallel_scale * width / height
    camera.focal_point = corners.mean(axis=0) + (0.47 * shown - 0.5 * across) * right
    camera.position = camera.focal_point + direction * 4 * np.linalg.norm(np.ptp(corners, axis=0))
    camera.up = up
    plotter.reset_camera_clipping_range()


def _add_membranes(plotter: Any, sample: Sample, shown: set[str]) -> dict[str, Any]:
    surfaces = [surface for name, surface in sample.surfaces.items() if name.rsplit(" ", 1)[0] in shown]
    for surface in surfaces:
        body = scenes.polydata(surface.points, surface.triangles)
        plotter.add_mesh(body, color=MEMBRANE, opacity=0.45, smooth_shading=True)
    return {"membranes": MEMBRANE} if surfaces else {}


def _add_filaments(plotter: Any, sample: Sample, shown: set[str], thin: Any = ()) -> dict[str, Any]:
    """Draw every axis as a tube of its filament's width, a fifth of that for the `thin` ones."""
    import pyvista

    legend: dict[str, Any] = {}
    for filament in sample.recipe.filaments:
        lines = [line for name, line in sample.centrelines.items() if name.rsplit(" ", 1)[0] == filament.name]
        lines = [line for line in lines if len(line) > 1]
        if filament.name not in shown or not lines:
            continue
        radius = filament.radius * (0.2 if filament.name in thin else 1.0)
        tubes = [pyvista.lines_from_points(line).tube(radius=radius, n_sides=20, capping=True) for line in lines]
        legend[filament.name] = AXIS[type(filament).__name__]
        plotter.add_mesh(pyvista.merge(tubes), color=legend[filament.name], smooth_shading=True, split_sharp_edges=True)
    return legend


def _add_branches(plotter: Any, sample: Sample, shown: set[str]) -> dict[str, Any]:
    """Mark the first units of filaments that start on another one."""
    import pyvista

    legend = {}
    for filament in sample.recipe.filaments:
        rows = (sample.motifs["species"] == filament.name) & (sample.motifs["host"] > 0)
        if filament.name in shown and rows.any():
            ball = pyvista.Sphere(radius=1.2 * filament.radius, theta_resolution=12, phi_resolution=12)
            balls = pyvista.PolyData(sample.motifs["position"][rows]).glyph(geom=ball, scale=False, orient=False)
            plotter.add_mesh(balls, color=BRANCH, smooth_shading=True)
            legend["branches"] = BRANCH
    return legend


def _add_molecules(plotter: Any, sample: Sample, shown: set[str]) -> dict[str, Any]:
    from matplotlib import colormaps

    # A species keeps its shade whatever else is shown.
    members = [member for group in sample.recipe.macromolecules for member in group.members]
    legend: dict[str, Any] = {}
    for row, member in enumerate(members):
        body = _molecules(sample, member) if member.name in shown else None
        if body is not None:
            legend[member.name] = colormaps[REDS](0.3 + 0.65 * row / max(1, len(members) - 1))[:3]
            plotter.add_mesh(body, color=legend[member.name], smooth_shading=True)
    return legend


def _molecules(sample: Sample, member: Any) -> Any:
    """Put the boundary of a molecule to every place it was found at."""
    from scipy.spatial.transform import Rotation
    from skimage.measure import marching_cubes

    rows = sample.motifs[sample.motifs["species"] == member.name]
    if len(rows) == 0:
        return None
    step = float(min(sample.labels.spacing))
    unit = unit_template(member.density, step, level=member.level, resolution=member.resolution)
    for coarser in (1, 2, 3):
        points, triangles, normals, _ = marching_cubes(unit.values, unit.level, step_size=coarser)
        if len(rows) * len(triangles) <= TRIANGLES:
            break
    every = -(-len(rows) * len(triangles) // TRIANGLES)
    if every > 1:
        log.info("plot: one in %d of %d units of %s drawn", every, len(rows), member.name)
        rows = rows[::every]
    turns = Rotation.from_quat(rows["quaternion"], scalar_first=True).as_matrix()
    places = np.einsum("nij,pj->npi", turns, (points - unit.centre) * step) + rows["position"][:, None]
    faces = triangles[None] + (np.arange(len(rows)) * len(points))[:, None, None]
    body = scenes.polydata(places.reshape(-1, 3), faces.reshape(-1, 3))
    # Normals of the density: those of the triangles would have to be found again for every copy.
    body.point_data.active_normals = -np.einsum("nij,pj->npi", turns, normals).reshape(-1, 3)
    return body
