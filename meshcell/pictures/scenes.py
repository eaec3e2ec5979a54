"""Three-dimensional pictures: pyvista scenes of surfaces, cut meshes and concentrations, made without a display."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.adjacency import TET_FACES
from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.files import replacing
from meshcell.core.types import Surface, TetMesh
from meshcell.core.validation import name_of
from meshcell.pictures import captions
from meshcell.pictures.colours import GREY, INK, Rgb, interface_colours, region_colour

log = logging.getLogger("meshcell")

AXES = "xyz"
# Lines of a legend: more are not read.
NAMES = 16


@dataclass(frozen=True, eq=False)
class Plane:
    """A cut: what lies on the side that `normal` points to is taken away."""

    point: Floats
    normal: Floats

    def behind(self, points: Floats) -> Array:
        """Tell which points are kept."""
        return np.asarray((points - self.point) @ self.normal <= 0)


# --- look ---


def look_at(plotter: Any, points: Floats, view: Sequence[float] | None, plane: Plane | None = None) -> None:
    """Point the camera at a body so that it fills the picture; from the open side where it is cut.

    `view` is the direction from the body to the camera. The longest axis of the body stands upright, or lies level in
    a picture that is wider than high.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    extent = high - low
    upright = int(np.argmax(extent)) if np.ptp(extent) > 0.15 * extent.max() else 2
    up = np.eye(3)[upright]
    if view is None:
        normal = plane.normal if plane is not None else np.eye(3)[_thinnest(extent, upright)]
        if abs(normal @ up) > 0.8:
            up = np.eye(3)[(upright + 1) % 3]
        side = np.cross(up, normal)
        # Thirty degrees off the axis: depth is seen, the cut is hardly shortened.
        direction = normal + 0.45 * side / np.linalg.norm(side) + 0.3 * up
    else:
        direction = np.asarray(view, np.float64)
        if direction.shape != (3,) or not np.isfinite(direction).all() or not direction.any():
            raise ValueError(f"view should be the direction (x, y, z) from the body to the camera; got {view!r}")
        if abs(direction @ up) > 0.95 * np.linalg.norm(direction):
            up = np.eye(3)[(upright + 1) % 3]
    direction = direction / np.linalg.norm(direction)
    right = np.cross(up, direction)
    right /= np.linalg.norm(right)
    up = np.cross(direction, right)
    width, height = plotter.window_size
    across, along = np.ptp(points @ right), np.ptp(points @ up)
    if along > 1.4 * across and width > height:
        right, up = up, -right
        across, along = along, across
    centre = right * _middle(points @ right) + up * _middle(points @ up) + direction * _middle(points @ direction)
    camera = plotter.camera
    camera.focal_point = centre
    camera.position = centre + direction * 4 * np.linalg.norm(extent)
    camera.up = up
    # Legend, scale bar and colour bar take about a fifth of the picture.
    camera.parallel_scale = 0.5 * max(along * 1.25, across * 1.3 * height / width)
    plotter.reset_camera_clipping_range()


def add_scale_bar(plotter: Any, points: Floats) -> None:
    """Draw a bar of a round length below the body; parallel projection makes it right at any depth."""
    import pyvista

    camera = plotter.camera
    direction = np.asarray(camera.position) - np.asarray(camera.focal_point)
    direction /= np.linalg.norm(direction)
    up = np.asarray(camera.up)
    right = np.cross(up, direction)
    width, height = plotter.window_size
    shown = 2 * camera.parallel_scale * width / height
    length = round_length(0.2 * shown)
    start = np.asarray(camera.focal_point) - 0.46 * shown * right - 0.46 * 2 * camera.parallel_scale * up
    # In front of everything, so that nothing hides it.
    start = start + direction * (np.max(points @ direction) - start @ direction)
    bar = pyvista.Line(start, start + length * right)
    plotter.add_mesh(bar, color=INK, line_width=8, lighting=False)
    lifted = start + 0.015 * camera.parallel_scale * up
    plotter.add_point_labels(
        [lifted], [length_text(length)], shape=None, show_points=False, font_size=_font(plotter), bold=False,
        text_color=INK, always_visible=True, justification_horizontal="left", justification_vertical="bottom",
    )  # fmt: skip
    plotter.reset_camera_clipping_range()


def add_legend(plotter: Any, entries: Mapping[str, Rgb]) -> None:
    """Name the colours in the upper right corner: as many as there is room for, in at most a third of the width."""
    width, height = plotter.window_size
    font = _font(plotter)
    most = max(1, min(NAMES, int(height / (1.6 * font)) - 2))
    n = len(entries) if len(entries) <= most else most - 1
    colours = list(entries.values())
    names = [captions.short(name, max(8, int(width / (3 * 0.58 * font)))) for name in list(entries)[:n]]
    if n < len(entries):
        names.append(f"and {len(entries) - n:,} more")
    left = 1 - (max(map(len, names), default=0) * 0.58 + 3) * font / width
    for row, name in enumerate(names):
        middle = 1 - (row + 1.4) * 1.6 * font / height
        if row < n:
            _add_swatch(plotter, (left, middle), (font / width, font / height), colours[row])
        _write(plotter, name, (left + 1.6 * font / width, middle), font)


def add_title(plotter: Any, text: str) -> None:
    """Write a line in the upper left corner, in place of the one before."""
    width, height = plotter.window_size
    font = _font(plotter)
    place = (1.4 * font / width, 1 - 2.0 * font / height)
    _write(plotter, text, place, round(1.15 * font), name="title")


def finished(plotter: Any, title: str | None, target: Path | None, what: str = "") -> Any:
    """Add the title, save the picture where a target is given, and return the plotter."""
    if title:
        add_title(plotter, title)
    if target is not None:
        with replacing(target) as part:
            plotter.screenshot(str(part))
        log.info("plot: %s%s", what, target)
    return plotter


def _write(plotter: Any, text: str, place: tuple[float, float], size: int, name: str | None = None) -> None:
    import pyvista

    actor = pyvista.Text(text, position=place)
    actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    actor.prop.SetFontSize(size)
    actor.prop.color = INK
    actor.prop.SetFontFamilyToArial()
    actor.prop.SetVerticalJustificationToCentered()
    plotter.add_actor(actor, name=name, reset_camera=False, pickable=False)


def _add_swatch(plotter: Any, middle: tuple[float, float], size: tuple[float, float], colour: Rgb) -> None:
    import pyvista
    from vtkmodules.vtkRenderingCore import vtkActor2D, vtkCoordinate, vtkPolyDataMapper2D

    (x, y), (width, height) = middle, size
    corners = [(x, y - height / 2), (x + width, y - height / 2), (x + width, y + height / 2), (x, y + height / 2)]
    place = vtkCoordinate()
    place.SetCoordinateSystemToNormalizedViewport()
    mapper = vtkPolyDataMapper2D()
    mapper.SetTransformCoordinate(place)
    mapper.SetInputData(pyvista.PolyData(np.array([(*corner, 0.0) for corner in corners]), [4, 0, 1, 2, 3]))
    actor = vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*colour)
    plotter.add_actor(actor, reset_camera=False, pickable=False)


def add_coloured(plotter: Any, body: Any, scalars: str, title: str, **look: Any) -> None:
    """Draw a body coloured by numbers, with a bar that names them and their unit."""
    font = _font(plotter)
    width, _ = plotter.window_size
    low, high = look.get("clim") or body.get_data_range(scalars)
    room = max(0.14, (0.3 * len(title) + 1.0) * font / width)
    # Little shading, so that the colours of the body are those of the bar.
    plotter.add_mesh(
        body, scalars=scalars, ambient=0.55, diffuse=0.45, specular=0.0, **look,
        scalar_bar_args={
            "title": title, "vertical": True, "position_x": 1 - room, "position_y": 0.2, "width": 0.07, "height": 0.5,
            "title_font_size": font, "label_font_size": round(0.85 * font), "color": INK, "n_labels": 5,
            "fmt": number_format(low, high), "font_family": "arial",
        },
    )  # fmt: skip
    bar = plotter.scalar_bars[title]
    bar.SetVerticalTitleSeparation(round(0.9 * font))
    bar.SetUnconstrainedFontSize(True)
    bar.SetBarRatio(0.3)


def round_length(length: float) -> float:
    """Round down to 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> [round_length(length) for length in (0.7, 43, 2.5)]
    [0.5, 20.0, 2.0]
    """
    power = float(10 ** np.floor(np.log10(length)))
    # The tolerance keeps 0.2 at 0.2, although 0.2 / 0.1 may be 1.9999999999999998.
    return float(f"{max(step for step in (1, 2, 5) if step * power <= length * (1 + 1e-9)) * power:.3g}")


def number_format(low: float, high: float) -> str:
    """Choose the format of the five numbers of a colour bar so that neighbours differ.

    Examples
    --------
    >>> [number_format(*ends).format(ends[1]) for ends in ((0, 4), (602, 4272), (9.884, 9.902), (0, 2e-6))]
    ['4.0', '4272', '9.9020', '2.00e-06']
    """
    largest, step = max(abs(low), abs(high)), (high - low) / 4
    if not step > 0 or largest < 1e-3 or largest >= 1e6:
        return "{:.2e}"
    return f"{{:.{max(0, 1 - int(np.floor(np.log10(step))))}f}}" if step < 100 else "{:.0f}"


def length_text(length: float) -> str:
    """Write a length in um with the unit that reads best.

    Examples
    --------
    >>> length_text(0.2), length_text(5.0)
    ('200 nm', '5 µm')
    """
    return f"{length * 1000:g} nm" if length < 1 else f"{length:g} µm"


def _font(plotter: Any) -> int:
    return max(10, round(float(min(plotter.window_size)) / 38))


def _middle(values: Floats) -> float:
    return float(values.min() + values.max()) / 2


def _thinnest(extent: Floats, upright: int) -> int:
    return min((axis for axis in range(3) if axis != upright), key=lambda axis: float(extent[axis]))


# --- cuts ---


def cut_plane(mesh: Surface | TetMesh, cut: Any) -> Plane | None:
    """Turn what the caller says about the cut into a plane.

    Parameters
    ----------
    mesh : Surface or TetMesh
    cut : None, False, text or pair
        None chooses; False cuts nothing; "x" or "-x" cuts across an axis where most regions are met and takes away the
        side of larger (smaller) x; ("x", 0.3) cuts at 0.3 um; (normal, point) cuts anywhere.
    """
    if cut is False:
        return None
    if cut is None:
        extent = np.ptp(mesh.points[_cells(mesh)[0].ravel()], axis=0)
        cut = AXES[int(np.argmin(extent))]
    axis, place = (cut, None) if isinstance(cut, str) else _pair(cut)
    if isinstance(axis, str):
        if axis.lstrip("+-") not in tuple(AXES) or len(axis) > 2:
            raise _bad_cut(cut)
        index = AXES.index(axis[-1])
        at = best_cut(mesh, index) if place is None else float(place)
        unit = np.eye(3)[index]
        return Plane(at * unit, -unit if axis.startswith("-") else unit)
    normal, point = np.asarray(axis, np.float64), np.asarray(place, np.float64)
    if normal.shape != (3,) or point.shape != (3,) or not np.linalg.norm(normal) > 0:
        raise _bad_cut(cut)
    return Plane(point, normal / np.linalg.norm(normal))


def best_cut(mesh: Surface | TetMesh, axis: int, candidates: int = 33) -> float:
    """Return the position along an axis, um, where a plane shows most of all regions together."""
    cells, labels = _cells(mesh)
    corners = mesh.points[:, axis][cells]
    low, high = corners.min(axis=1), corners.max(axis=1)
    places = np.linspace(low.min(), high.max(), candidates + 2)[1:-1]
    score = np.zeros(candidates)
    for label in np.unique(labels):
        own = labels == label
        # Those that a plane crosses: begun below it, less those ended below it.
        crossed = np.searchsorted(np.sort(low[own]), places) - np.searchsorted(np.sort(high[own]), places)
        score += crossed / max(crossed.max(), 1)
    # Of places that show about as much, the middle one.
    off = (places - _middle(places)) / np.ptp(places)
    return float(places[np.argmax(score * (1 - off**2))])


def _cells(mesh: Surface | TetMesh) -> tuple[Ints, Ints]:
    """Return the tetrahedra and their regions, or the triangles and the regions behind them."""
    return (mesh.triangles, mesh.sides[:, 0]) if isinstance(mesh, Surface) else (mesh.tets, mesh.regions)


def exposed_faces(mesh: TetMesh, kept: Array) -> tuple[Ints, Array]:
    """List the faces that bound the kept tetrahedra.

    Returns
    -------
    faces : (k, 3) int32
        Their normals point out of the kept ones.
    owners : (k,) int
        Rows of `mesh.tets`.
    """
    neighbours = mesh.neighbours
    bare = kept[:, None] & ((neighbours < 0) | ~kept[neighbours])
    rows, sides = np.nonzero(bare)
    return np.take_along_axis(mesh.tets[rows], TET_FACES[sides], axis=1), rows


def _pair(cut: Any) -> tuple[Any, Any]:
    if not isinstance(cut, Iterable) or len(items := list(cut)) != 2:
        raise _bad_cut(cut)
    return items[0], items[1]


def _bad_cut(cut: Any) -> ValueError:
    return ValueError(f'cut should be "x", "-y", ("z", 0.3), (normal, point), False or None; got {cut!r}')


# --- bodies ---


def polydata(points: Floats, triangles: Ints) -> Any:
    """Make a pyvista mesh of triangles that holds only the points it uses; its "row" is their row before."""
    import pyvista

    used, compact = np.unique(triangles, return_inverse=True)
    faces = np.column_stack([np.full(len(triangles), 3), compact.reshape(-1, 3)])
    mesh = pyvista.PolyData(points[used], faces.ravel())
    mesh.point_data["row"] = used
    return mesh


def grid(points: Floats, tets: Ints) -> Any:
    """Make a pyvista grid of tetrahedra that holds only the points it uses; its "row" is their row before."""
    import pyvista

    used, compact = np.unique(tets, return_inverse=True)
    cells = np.column_stack([np.full(len(tets), 4), compact.reshape(-1, 4)])
    mesh = pyvista.UnstructuredGrid(cells.ravel(), np.full(len(tets), pyvista.CellType.TETRA), points[used])
    mesh.point_data["row"] = used
    return mesh


def add_interfaces(plotter: Any, surface: Surface, *, opacity: float | None, edges: bool) -> None:
    """Draw every interface in its colour; those to the outside let the inner ones be seen."""
    colours = interface_colours(surface.sides)
    inner = any(front != 0 for _, front in colours)
    for (behind, front), colour in colours.items():
        rows = (surface.sides == (behind, front)).all(axis=1)
        hidden = front == 0 and inner
        plotter.add_mesh(
            polydata(surface.points, surface.triangles[rows]), color=colour, smooth_shading=not edges,
            opacity=(0.2 if opacity is None else opacity) if hidden else 1.0, show_edges=edges, edge_color=INK,
            line_width=0.5, ambient=0.15, specular=0.15, specular_power=20,
        )  # fmt: skip
    add_legend(plotter, {
        # VTK reads a bar as the border of a table's column.
        f"{name_of(surface.names, behind)} / {name_of(surface.names, front)}": colour
        for (behind, front), colour in colours.items()
    })  # fmt: skip


def add_regions(plotter: Any, mesh: TetMesh, plane: Plane | None, *, edges: bool) -> None:
    """Draw whole tetrahedra behind the plane, coloured by region."""
    faces, owners = exposed_faces(mesh, kept_tets(mesh, plane))
    labels = np.unique(mesh.regions[owners])
    colours = np.array([region_colour(int(label)) for label in labels])
    body = polydata(mesh.points, faces)
    body.cell_data["colour"] = np.rint(255 * colours[np.searchsorted(labels, mesh.regions[owners])]).astype(np.uint8)
    plotter.add_mesh(body, scalars="colour", rgb=True, ambient=0.3, show_edges=edges, edge_color=INK, line_width=0.5)
    add_legend(plotter, {name_of(mesh.names, int(label)): region_colour(int(label)) for label in labels})


def add_tet_field(plotter: Any, mesh: TetMesh, plane: Plane | None, field: Floats, title: str, **look: Any) -> None:
    """Draw whole tetrahedra behind the plane, coloured by a field over tetrahedra or points."""
    faces, owners = exposed_faces(mesh, kept_tets(mesh, plane))
    body = polydata(mesh.points, faces)
    if len(field) == len(mesh.tets):
        body.cell_data["field"] = field[owners]
    else:
        body.point_data["field"] = field[body.point_data["row"]]
    add_coloured(plotter, body, "field", title, **look)


def kept_tets(mesh: TetMesh, plane: Plane | None) -> Array:
    """Tell which tetrahedra lie behind the plane by their centroids; all where there is no plane."""
    if plane is None:
        return np.ones(len(mesh.tets), bool)
    kept = plane.behind(mesh.points[mesh.tets].mean(axis=1))
    if not kept.any():
        raise ValueError(f"the cut at {plane.point.round(4).tolist()} um along {plane.normal.tolist()} leaves nothing")
    return kept


def cut_body(points: Floats, tets: Ints, plane: Plane | None, values: Floats | None = None) -> Any:
    """Return the skin of the tetrahedra behind the plane, cut smoothly; values of points are interpolated in the cut.

    `values` (p, k) floats become the point data "values"; k fields are cut at once, so that a film cuts only once.
    """
    body = grid(points, tets)
    if values is not None:
        body.point_data["values"] = values[body.point_data["row"]]
    if plane is not None:
        body = body.clip(normal=plane.normal, origin=plane.point)
    return body.extract_surface(algorithm="dataset_surface")


def add_context(plotter: Any, mesh: TetMesh, plane: Plane | None, hidden: Iterable[int]) -> None:
    """Draw the regions that carry no values, cut like the rest, each in its own colour."""
    entries = {}
    for label in np.unique(mesh.regions):
        if int(label) in hidden:
            continue
        body = cut_body(mesh.points, mesh.tets[mesh.regions == label], plane)
        if body.n_points:
            plotter.add_mesh(body, color=region_colour(int(label)), smooth_shading=False, ambient=0.15)
            entries[name_of(mesh.names, int(label))] = region_colour(int(label))
    add_legend(plotter, entries)


def add_glass(plotter: Any, mesh: TetMesh, rows: Array, opacity: float = 0.08) -> None:
    """Draw facets as glass: the outline of what was cut away, or of what stands in front."""
    if len(rows):
        glass = polydata(mesh.points, mesh.facets[rows])
        plotter.add_mesh(glass, color=GREY, opacity=opacity, smooth_shading=True, specular=0.0)
