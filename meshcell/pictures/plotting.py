"""Pictures of volumes, surfaces, meshes and solutions: pyvista scenes, matplotlib charts, films; no display needed."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.analysis.checks import Report
from meshcell.analysis.fidelity import Fidelity
from meshcell.core.arrays import Array, Floats
from meshcell.core.files import replacing
from meshcell.core.hints import nearest, require
from meshcell.core.progress import bar
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.geometry.quality import angles, part_rows
from meshcell.models.solutions import Solution, compartment_rows, species_name, values_at
from meshcell.phantoms.crowds.samples import Sample
from meshcell.pictures import captions, charts, colours, rendering, sample_pictures, scenes
from meshcell.surfaces.extraction import extract
from meshcell.surfaces.smoothing import smooth

log = logging.getLogger("meshcell")

# Concentrations by viridis, quality by red (bad) to blue (good): both keep their order for colour-blind readers.
CONCENTRATIONS = "viridis"
GRADES = "RdYlBu"
# Blue where a body shrank, red where it grew.
OFFSETS = "RdBu_r"


def plot(
    thing: Volume | Surface | TetMesh | Solution | Report | Sample,
    field: str | Array | Sequence[str] | None = None,
    *,
    at: Any = None,
    kind: str | None = None,
    cut: Any = None,
    color: str = "region",
    edges: bool | None = None,
    opacity: float | None = None,
    view: Sequence[float] | None = None,
    clim: tuple[float, float] | None = None,
    title: str | None = None,
    size: tuple[int, int] = (1200, 900),
    save: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw a volume, surface, mesh, solution or crowded sample, or how true a mesh is to its labels.

    Parameters
    ----------
    thing : Volume, Surface, TetMesh, Solution, Report or Sample
        A report must be that of `check(mesh, against=labels)`.
    field : str, array or names, optional
        Solution: the species; without it the curves of all species are drawn. TetMesh: one number per tetrahedron or
        point to colour by, such as an error indicator. Sample, in 3D: the names of the species to show.
    at : float or three floats, optional
        Solution: the time in s (linear between saved times; by default the last). Volume: the point (x, y, z) in um
        through which the slices go (by default where most regions are seen). Sample: z in um of the slice.
    kind : str, optional
        Volume: "slices" (default) or "3d". Solution: "scene" (default when a species is given) or "curve". Report:
        "scene" (default), the interfaces coloured by their signed distance from the voxel faces in voxels, or "bars",
        the errors of volumes and distances. Sample: "slice" (default) of density and labels, "scene", "network" of
        filaments and their branches, or "bars", occupancies beside their targets.
    cut : optional
        TetMesh, Solution and Report: where to cut the body open. None chooses, False leaves it whole, "x" or "-x" takes
        away the side of larger (smaller) x, ("x", 0.3) does so at 0.3 um, (normal, point) anywhere.
    color : str
        TetMesh: "region", or "quality" for the least dihedral angle of every tetrahedron.
    edges : bool, optional
        Show the edges of triangles; by default where they are large enough to be seen.
    opacity : float, optional
        Of the interfaces to the outside, where they have something inside (default 0.2).
    view : three floats, optional
        Direction from the body to the camera.
    clim : two floats, optional
        Ends of the colour bar, in its unit.
    title : str, optional
    size : two ints
        Pixels, of 3D pictures.
    save : path, optional
        Write the picture: PNG, and of charts also PDF or SVG.

    Returns
    -------
    pyvista.Plotter, matplotlib Axes, or (k,) array of them
        Not shown yet: call `.show()` on a plotter. The curve of one species is an Axes; the curves of all and the three
        slices of a volume are arrays of them, and so are the bars of a report and the two slices of a sample.

    Raises
    ------
    ValueError, TypeError
        Unknown species, a time that was not simulated, a field of the wrong length, an unknown kind, a report without
        a comparison.
    RuntimeError
        No OpenGL for 3D pictures; names the packages that bring it.
    """
    require(thing, (Volume, Surface, TetMesh, Solution, Report, Sample), "plot(thing)", field)
    look = {"edges": edges, "view": view, "clim": clim, "title": title, "size": size, "save": save}
    if isinstance(thing, Volume):
        _require_choice(kind, ("slices", "3d"), "a Volume")
        if kind == "3d":
            return _volume_scene(thing, opacity=opacity, **look)
        return charts.slices(thing, at, title=title, save=save)
    if isinstance(thing, Surface):
        return _surface_scene(thing, opacity=opacity, **look)
    if isinstance(thing, TetMesh):
        return _mesh_scene(thing, field, cut=cut, color=color, **look)
    if isinstance(thing, Solution):
        _require_choice(kind, ("scene", "curve"), "a Solution")
        if field is None and kind == "scene":
            raise ValueError(f"a scene shows one species; say which: {', '.join(thing.values)}")
        if field is None:
            return charts.curves(thing, list(thing.values), title, save)
        if kind == "curve":
            return charts.curves(thing, [species_name(thing, field)], title, save)[0]
        return _solution_scene(thing, species_name(thing, field), at, cut=cut, **look)
    if isinstance(thing, Report):
        _require_choice(kind, ("scene", "bars"), "a Report")
        if thing.fidelity is None:
            raise ValueError("a report is drawn when it compares: plot(check(mesh, against=labels))")
        if kind == "bars":
            return charts.errors(thing.fidelity, title, save)
        return _fidelity_scene(thing.fidelity, cut=cut, **look)
    return _sample_picture(thing, field, at, kind, {"title": title, "save": save}, {"view": view, "size": size})


def film(
    path: str | os.PathLike[str],
    solution: Solution,
    species: str,
    *,
    frames: int | None = None,
    fps: float = 12,
    cut: Any = None,
    view: Sequence[float] | None = None,
    clim: tuple[float, float] | None = None,
    size: tuple[int, int] = (960, 720),
    progress: bool = False,
) -> Path:
    """Film a species over time.

    Parameters
    ----------
    path : path
        Ends in .gif or .mp4.
    solution : Solution
    species : str
    frames : int, optional
        Pictures at equal times; by default one per saved time.
    fps : float
        Pictures per second.
    cut, view, clim, size : optional
        As in `plot`. By default one colour scale spans all times.
    progress : bool
        Show a bar.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        Unknown species or ending, no frames.
    RuntimeError
        No OpenGL, as in `plot`.
    """
    require(path, (str, os.PathLike), "film(path, solution, species)", solution, species)
    target = charts.picture_path(path, (".gif", ".mp4"))
    require(solution, Solution, "film(path, solution, species)", species)
    name = species_name(solution, species)
    if not fps > 0 or (frames is not None and frames < 1):
        raise ValueError(f"a film needs fps > 0 and at least one frame; got fps={fps!r}, frames={frames!r}")
    times = solution.times if frames is None else np.linspace(solution.times[0], solution.times[-1], frames)
    # Video codecs take even sizes only.
    even = (2 * (size[0] // 2), 2 * (size[1] // 2))
    values = np.stack([values_at(solution, name, time) for time in times], axis=1)
    plotter, body, column = _species_scene(solution, name, values, cut, view, clim, even, off_screen=True)
    try:
        _write_film(target, plotter, body, column, times, fps, progress)
    finally:
        plotter.close()
    log.info("film: %d frames of %s -> %s", len(times), name, target)
    return target


def histogram(
    mesh: Surface | TetMesh,
    *,
    parts: Sequence[str] | None = None,
    bins: int = 90,
    ax: Any = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw the distribution of the angles of every interface, or of the dihedral angles of every region.

    Bars count the angles, the line over them is a kernel density estimate on the same scale, dashed lines mark the
    least and the greatest angle; one colour per interface or region.

    Parameters
    ----------
    mesh : Surface or TetMesh
    parts : sequence of str, optional
        Only these interfaces ("er | cytosol") or regions ("er"); by default all, of more than eight the whole and the
        four with the least angles.
    bins : int
        Equal bins over 0 ... 180 degrees.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.
    title : str, optional
    save : path, optional
        PNG, PDF or SVG.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        No triangles or tetrahedra, or no part of that name; lists those there are.
    """
    require(mesh, (Surface, TetMesh), "histogram(mesh)")
    elements = angles(mesh)
    rows = part_rows(mesh)
    if not rows:
        raise ValueError("a histogram needs at least one triangle or tetrahedron; the mesh is empty")
    shades = dict(zip(rows, charts.part_colours(mesh), strict=True))
    unknown = [name for name in parts or () if name not in rows]
    if unknown:
        hint = nearest(unknown[0], rows)
        raise ValueError(f"no part is called {unknown[0]!r}{hint}; there are {', '.join(map(repr, rows))}")
    target = None if save is None else charts.picture_path(save, (".png", ".pdf", ".svg"))
    axis = charts.panels(1, 3.0)[0] if ax is None else ax
    chosen = list(rows if parts is None else parts)
    if parts is None and len(rows) > charts.MOST_PARTS:
        kind = "regions" if isinstance(mesh, TetMesh) else "interfaces"
        rows, shades, chosen = charts.whole_and_worst(f"all {len(rows):,} {kind}", elements, rows, shades)
    # The largest first, so that it stands behind the others.
    for name in sorted(chosen, key=lambda name: -len(rows[name])):
        charts.draw_histogram(axis, name, elements[rows[name]].ravel(), bins, shades[name])
    kind = "dihedral angle" if isinstance(mesh, TetMesh) else "angle"
    charts.finish_histogram(axis, kind)
    charts.finished(np.array([axis]), title, target)
    return axis


def _sample_picture(sample: Sample, species: Any, at: Any, kind: str | None, look: Any, scene: Any) -> Any:

    _require_choice(kind, ("slice", "scene", "network", "bars"), "a Sample")
    if kind == "bars":
        return sample_pictures.draw_occupancy(sample, **look)
    if kind in ("scene", "network"):
        _checked_size(scene["size"])
        return (sample_pictures.draw_scene if kind == "scene" else sample_pictures.draw_network)(
            sample, species, **look, **scene
        )
    return sample_pictures.draw_slice(sample, z=at, **look)


# --- scenes ---


def _scene(draw: Any, points: Floats, view: Any, plane: Any, title: str | None, size: Any, save: Any) -> Any:
    """Set the stage, draw, aim, write: what every 3D picture has in common."""
    target = None if save is None else charts.picture_path(save, (".png", ".jpg", ".jpeg", ".tif", ".tiff"))
    plotter = rendering.stage(_checked_size(size), off_screen=target is not None)
    draw(plotter)
    scenes.look_at(plotter, points, view, plane)
    scenes.add_scale_bar(plotter, points)
    return scenes.finished(plotter, title, target)


def _surface_scene(
    surface: Surface, *, opacity: Any, edges: Any, view: Any, clim: Any, title: Any, size: Any, save: Any
) -> Any:
    if not len(surface.triangles):
        raise ValueError("there is nothing to draw: the surface has no triangles")
    points = surface.points[np.unique(surface.triangles)]
    shown = _edges_seen(np.sqrt(surface.areas), points, size) if edges is None else edges
    draw = functools.partial(scenes.add_interfaces, surface=surface, opacity=opacity, edges=shown)
    return _scene(draw, points, view, None, title, size, save)


def _volume_scene(
    volume: Volume, *, opacity: Any, edges: Any, view: Any, clim: Any, title: Any, size: Any, save: Any
) -> Any:

    if volume.is_labels:
        surface = smooth(extract(_thinned(volume)))
    else:
        from skimage.filters import threshold_otsu

        surface = extract(_thinned(volume), level=float(threshold_otsu(volume.data)))
    return _surface_scene(
        surface, opacity=opacity, edges=bool(edges), view=view, clim=clim, title=title, size=size, save=save
    )


def _thinned(volume: Volume, most: int = 8_000_000) -> Volume:
    """Leave out voxels of a volume that is finer than a picture."""
    step = int(np.ceil((volume.data.size / most) ** (1 / 3)))
    if step == 1:
        return volume
    spacing = tuple(step * h for h in volume.spacing)
    return Volume(volume.data[::step, ::step, ::step], spacing, volume.origin, volume.names)  # type: ignore[arg-type]


def _mesh_scene(
    mesh: TetMesh,
    field: Any,
    *,
    cut: Any,
    color: Any,
    edges: Any,
    view: Any,
    clim: Any,
    title: Any,
    size: Any,
    save: Any,
) -> Any:
    _require_choice(color, ("region", "quality"), "a TetMesh", "color")
    if not len(mesh.tets):
        raise ValueError("there is nothing to draw: the mesh has no tetrahedra")
    plane = scenes.cut_plane(mesh, cut)
    points = mesh.points[np.unique(mesh.tets)]
    shown = _edges_seen(np.cbrt(mesh.volumes) * 2, points, size) if edges is None else edges
    look = {"show_edges": shown, "edge_color": colours.INK, "line_width": 0.5}
    if field is not None:
        values = _checked_field(field, mesh)
        draw = functools.partial(
            scenes.add_tet_field, mesh=mesh, plane=plane, field=values, title="", clim=clim, cmap=CONCENTRATIONS, **look
        )
    elif color == "quality":
        # 70.5 degrees is the regular tetrahedron: none can have a greater least angle.
        draw = functools.partial(
            scenes.add_tet_field, mesh=mesh, plane=plane, field=angles(mesh).min(axis=1), title="least dihedral (°)",
            clim=clim or (0, 70), cmap=GRADES, **look,
        )  # fmt: skip
    else:
        draw = functools.partial(scenes.add_regions, mesh=mesh, plane=plane, edges=shown)
    return _scene(draw, points, view, plane, title, size, save)


def _fidelity_scene(
    figures: Fidelity, *, cut: Any, edges: Any, view: Any, clim: Any, title: Any, size: Any, save: Any
) -> Any:
    surface, offsets = figures.surface, figures.offsets
    if not len(surface.triangles):
        raise ValueError("there is nothing to draw: the mesh has no interfaces")
    # One interface can be looked at from outside; what is nested is seen in a cut.
    plane = scenes.cut_plane(surface, False if cut is None and len(surface.interfaces) == 1 else cut)
    points = surface.points[np.unique(surface.triangles)]
    known = np.abs(offsets[np.isfinite(offsets)])
    # Half a voxel is the staircase's own height: what is less should look so.
    most = max(0.5, float(np.percentile(known, 99.5))) if len(known) else 0.5
    shown = _edges_seen(np.sqrt(surface.areas), points, size) if edges is None else edges
    draw = functools.partial(
        _add_offsets, figures=figures, plane=plane, clim=clim or (-most, most), cmap=OFFSETS, nan_color=colours.INK,
        show_edges=shown, edge_color=colours.INK, line_width=0.5,
    )  # fmt: skip
    return _scene(draw, points, view, plane, title, size, save)


def _add_offsets(plotter: Any, figures: Fidelity, plane: scenes.Plane | None, **look: Any) -> None:
    # Corners stay apart: on a junction each interface has its own distance.
    corners = figures.surface.points[figures.surface.triangles].reshape(-1, 3)
    body = scenes.polydata(corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))
    body.point_data["offset"] = np.where(np.isfinite(figures.offsets), figures.offsets, np.nan).ravel()
    if plane is not None:
        body = body.clip(normal=plane.normal, origin=plane.point)
    if not body.n_points:
        plotter.close()
        raise ValueError("the cut leaves nothing of the interfaces; choose another")
    scenes.add_coloured(plotter, body, "offset", "offset (voxels)", **look)


def _solution_scene(
    solution: Solution,
    species: str,
    at: Any,
    *,
    cut: Any,
    edges: Any,
    view: Any,
    clim: Any,
    title: Any,
    size: Any,
    save: Any,
) -> Any:
    time = float(solution.times[-1] if at is None else at)
    values = values_at(solution, species, time)[:, None]
    target = None if save is None else charts.picture_path(save, (".png", ".jpg", ".jpeg", ".tif", ".tiff"))
    plotter, _, _ = _species_scene(
        solution, species, values, cut, view, clim, _checked_size(size), off_screen=target is not None
    )
    shown = title or f"t = {captions.time_text(time, solution.times)}"
    return scenes.finished(plotter, shown, target, f"{species} at {time:g} s -> ")


def _species_scene(
    solution: Solution, species: str, values: Floats, cut: Any, view: Any, clim: Any, size: Any, *, off_screen: bool
) -> tuple[Any, Any, Floats]:
    """Set a scene of (m, k) values; return plotter, the body whose "value" is shown, and its (points, k) values."""
    mesh = solution.mesh
    solution.system.species[species].compartment.require_places(f"a picture of {species}")
    dimension, rows = compartment_rows(solution, species)
    field = np.zeros((len(mesh.points), values.shape[1]))
    factor, label = captions.scale_and_label(solution, species, dimension)
    field[solution.nodes[species]] = values / factor
    plane = scenes.cut_plane(mesh, cut) if dimension == 3 else None
    plotter = rendering.stage(size, off_screen=off_screen)
    if dimension == 3:
        body = scenes.cut_body(mesh.points, mesh.tets[rows], plane, field)
        if not body.n_points:
            plotter.close()
            raise ValueError(f"the cut {cut!r} leaves nothing of the compartment of {species!r}; choose another")
        scenes.add_context(plotter, mesh, plane, np.unique(mesh.regions[rows]).tolist())
        glass = np.flatnonzero(mesh.sides[:, 1] == 0) if plane is not None else np.array([], int)
    else:
        body = scenes.polydata(mesh.points, mesh.facets[rows])
        body.point_data["values"] = field[body.point_data["row"]]
        glass = np.setdiff1d(np.arange(len(mesh.facets)), rows)
    column = np.asarray(body.point_data["values"]).reshape(body.n_points, -1)
    body.point_data["value"] = column[:, 0].copy()
    ends = clim or captions.limits(field[solution.nodes[species]])
    scenes.add_coloured(plotter, body, "value", label, clim=ends, cmap=CONCENTRATIONS)
    scenes.add_glass(plotter, mesh, glass)
    points = mesh.points[np.unique(mesh.tets)]
    scenes.look_at(plotter, points, view, plane)
    scenes.add_scale_bar(plotter, points)
    return plotter, body, column


def _write_film(
    target: Path, plotter: Any, body: Any, column: Floats, times: Floats, fps: float, progress: bool
) -> None:
    import imageio

    if target.suffix == ".gif":
        options: dict[str, Any] = {"duration": 1000 / fps, "loop": 0}
    else:
        options = {"fps": fps, "codec": "libx264", "quality": 8, "macro_block_size": 2}
    with replacing(target) as part, imageio.get_writer(part, **options) as writer:
        for index, time in enumerate(bar(times, progress=progress, desc="film", unit="frame")):
            body.point_data["value"][:] = column[:, index]
            body.GetPointData().GetScalars().Modified()
            scenes.add_title(plotter, f"t = {captions.time_text(time, times)}")
            picture = plotter.screenshot(return_img=True)
            writer.append_data(_few_colours(picture) if target.suffix == ".gif" else picture)


def _few_colours(picture: Array) -> Array:
    """Reduce a picture to the 256 colours that a GIF holds.

    By an octree: what image writers do by themselves gives all colours to large areas, and the top of the colour bar,
    a few pixels, takes the colour of something else.
    """
    from PIL import Image

    reduced = Image.fromarray(picture).quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    return np.asarray(reduced.convert("RGB"))


# --- checks ---


def _checked_field(field: Any, mesh: TetMesh) -> Floats:
    values = np.asarray(field, np.float64)
    if values.shape not in ((len(mesh.tets),), (len(mesh.points),)):
        raise ValueError(
            f"field should hold one number for each of the {len(mesh.tets)} tetrahedra or {len(mesh.points)} points; "
            f"got shape {values.shape}"
        )
    return values


def _edges_seen(lengths: Array, points: Floats, size: tuple[int, int]) -> bool:
    # Lines closer than six pixels turn a picture black.
    return bool(np.median(lengths) / np.ptp(points, axis=0).max() * min(size) > 6)


def _checked_size(size: Any) -> tuple[int, int]:
    pair = tuple(int(length) for length in size)
    if len(pair) != 2 or min(pair) < 16:
        raise ValueError(f"size should be the width and height in pixels, at least 16; got {size!r}")
    return pair[0], pair[1]


def _require_choice(value: str | None, choices: tuple[str, ...], thing: str, what: str = "kind") -> None:
    if value is not None and value not in choices:
        raise ValueError(f"{what} of {thing} should be one of {', '.join(map(repr, choices))}; got {value!r}")
