"""Pictures of samples: a slice, the scene in three dimensions, occupancies against what was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.types import Array, Floats, Sample

MEMBRANE, AXIS = "#e8c547", {"Microtubule": "#3a9d5d", "Actin": "#3b6fb6", "Filament": "#7a5ab5"}
# Shades of red for molecules, told apart by lightness too.
REDS = "Reds"


def draw_slice(sample: Sample, *, z: float | None = None, axes: Any = None) -> Any:
    """Draw a slice across z: the density, dark on light as in a micrograph, and the labels.

    Parameters
    ----------
    sample : Sample
    z : float, um, optional
        By default the middle.
    axes : pair of matplotlib Axes, optional

    Returns
    -------
    (2,) array of matplotlib Axes
    """
    import matplotlib.pyplot as plt

    if axes is None:
        axes = plt.subplots(1, 2, figsize=(12, 6), layout="constrained")[1]
    spacing, origin = sample.density.spacing, sample.density.origin
    middle = sample.density.data.shape[2] // 2
    k = middle if z is None else int(np.clip(round((z - origin[2]) / spacing[2]), 0, sample.density.data.shape[2] - 1))
    box = [origin[0], origin[0] + sample.density.extent[0], origin[1], origin[1] + sample.density.extent[1]]
    labels = sample.labels.data[:, :, k].T
    shown = np.ma.masked_equal(labels, 0)
    axes[0].imshow(sample.density.data[:, :, k].T, cmap="gray_r", extent=box, origin="lower", vmin=0, vmax=1.2)
    last = max(sample.labels.names)
    axes[1].imshow(shown, cmap="turbo", extent=box, origin="lower", vmin=1, vmax=max(last, 2), interpolation="nearest")
    for axis, title in zip(axes, ("density", "labels"), strict=True):
        axis.set(title=title, xlabel="x / um", ylabel="y / um")
    return axes


def draw_scene(sample: Sample, *, most: int = 4000, size: tuple[int, int] = (1200, 900), save: Any = None) -> Any:
    """Draw membranes translucent, filaments as tubes, molecules by their shapes in shades of red.

    Parameters
    ----------
    sample : Sample
    most : int
        Molecules of each species beyond this number are left out, evenly.
    size : two ints
        Pixels.
    save : path, optional
        Write a PNG.

    Returns
    -------
    pyvista.Plotter
    """
    from matplotlib import colormaps

    from meshcell import scenes

    plotter = scenes.stage(size, off_screen=save is not None)
    for surface in sample.surfaces.values():
        faces = np.column_stack([np.full(len(surface.triangles), 3), surface.triangles])
        plotter.add_mesh(_poly(surface.points, faces), color=MEMBRANE, opacity=0.45, smooth_shading=True)
    _add_filaments(plotter, sample)
    members = [member for molecules in sample.recipe.macromolecules for member in molecules.members]
    for row, member in enumerate(members):
        mesh = _molecules(sample, member, most)
        if mesh is not None:
            plotter.add_mesh(mesh, color=colormaps[REDS](0.35 + 0.6 * row / max(1, len(members) - 1))[:3])
    low = np.array(sample.labels.origin)
    corners = np.array([low, low + sample.labels.extent])
    scenes.look_at(plotter, corners, (0.5, -1.0, 0.7))
    scenes.add_scale_bar(plotter, corners)
    if save is not None:
        plotter.screenshot(str(save))
    return plotter


def _poly(points: Floats, faces: Array) -> Any:
    import pyvista

    return pyvista.PolyData(np.asarray(points), np.asarray(faces).ravel())


def _add_filaments(plotter: Any, sample: Sample) -> None:
    """Draw every axis as a tube of its filament's width."""
    import pyvista

    for filament in sample.recipe.filaments:
        balls = filament.unit()
        radius = float((np.linalg.norm(balls[:, :2], axis=1) + balls[:, 3]).max())
        lines = [line for name, line in sample.centrelines.items() if name.rsplit(" ", 1)[0] == filament.name]
        tubes = [pyvista.lines_from_points(line).tube(radius=radius, n_sides=10) for line in lines if len(line) > 1]
        if tubes:
            plotter.add_mesh(pyvista.merge(tubes), color=AXIS[type(filament).__name__], smooth_shading=True)


def _molecules(sample: Sample, member: Any, most: int) -> Any:
    """Put the boundary of a molecule to every place it was found at."""
    from scipy.spatial.transform import Rotation
    from skimage.measure import marching_cubes

    from meshcell.phantoms.density_maps import unit_template

    rows = sample.motifs[sample.motifs["species"] == member.name]
    if len(rows) == 0:
        return None
    rows = rows[:: -(-len(rows) // most)]
    step = float(min(sample.labels.spacing))
    unit = unit_template(member.density, step, level=member.level, resolution=member.resolution)
    points, triangles, _, _ = marching_cubes(unit.values, unit.level, step_size=2)
    local = (points - unit.centre) * step
    turns = Rotation.from_quat(rows["quaternion"], scalar_first=True).as_matrix()
    placed = np.einsum("nij,pj->npi", turns, local) + rows["position"][:, None]
    faces = triangles[None] + (np.arange(len(rows)) * len(points))[:, None, None]
    return _poly(placed.reshape(-1, 3), np.insert(faces.reshape(-1, 3), 0, 3, axis=1))


def draw_occupancy(sample: Sample, *, axis: Any = None) -> Any:
    """Draw what each species reached beside what was asked for, percent; return the matplotlib Axes."""
    import matplotlib.pyplot as plt

    if axis is None:
        axis = plt.subplots(figsize=(7, 0.6 + 0.28 * len(sample.report)), layout="constrained")[1]
    names = [row.species for row in sample.report]
    at = np.arange(len(names))
    axis.barh(at - 0.2, [100 * row.asked for row in sample.report], 0.4, label="asked", color="#bbbbbb")
    axis.barh(at + 0.2, [100 * row.reached for row in sample.report], 0.4, label="reached", color="#b2182b")
    axis.set(yticks=at, yticklabels=names, xlabel="occupancy / % (of the box, or of the membrane it is bound to)")
    axis.invert_yaxis()
    axis.legend()
    return axis
