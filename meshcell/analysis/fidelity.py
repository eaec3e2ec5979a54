"""How true a surface or mesh is to the labels that it was made from: pieces, handles, areas, volumes, distances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.analysis.problems import Problem, listed
from meshcell.core.arrays import Array, Floats
from meshcell.core.hints import require
from meshcell.core.kernels import njit
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.core.validation import name_of
from meshcell.geometry.measures import areas, enclosed_volumes
from meshcell.geometry.proximity import Base, base_of, nearest
from meshcell.geometry.quality import Shapes, quality
from meshcell.geometry.topology import Topology, topology
from meshcell.labels.resampling import thick_axis
from meshcell.surfaces.extraction import extract

# Voxels: what is farther from the boundary of its label is no longer that label's boundary.
FARTHEST, MEAN_FARTHEST = 1.5, 0.25
# Share by which a region's volume may differ from that of its voxels; thin parts and islands of few voxels differ more.
VOLUME_ERROR = 0.05
# Voxels: as far as distances are searched.
REACH = 16.0
# Lines of the table per kind; the values hold all.
ROWS = 25


@dataclass(frozen=True, eq=False)
class RegionFigures:
    """A region of a mesh beside that of its labels.

    Parameters
    ----------
    name : str
    found, expected : Topology or None
        Pieces, Euler characteristic, genus and cavities in the mesh and in the labels; None where there is no such
        region.
    volume, voxel_volume : float
        um^3, in the mesh and as the sum of voxels.
    shapes : Shapes or None
        Dihedral angles, radius ratios and edges of its tetrahedra; None for a surface.
    """

    name: str
    found: Topology | None
    expected: Topology | None
    volume: float
    voxel_volume: float
    shapes: Shapes | None

    @property
    def volume_error(self) -> float:
        """The volume's relative difference from the voxels'; inf for a region that the labels do not have."""
        return self.volume / self.voxel_volume - 1 if self.voxel_volume else np.inf


@dataclass(frozen=True, eq=False)
class InterfaceFigures:
    """An interface of a mesh beside the voxel faces between the same two labels.

    Parameters
    ----------
    name : str
        "er | cytosol".
    area : float
        um^2. It is not compared: voxel faces have up to half as much area again as what they stand for.
    mean_distance, max_distance : float
        Voxels, from corners and centres of its triangles to the nearest voxel face between the two labels, each axis in
        its own spacing, the mean by area; inf where the labels do not touch within 16 voxels.
    shapes : Shapes
        Angles, radius ratios and edges of its triangles.
    """

    name: str
    area: float
    mean_distance: float
    max_distance: float
    shapes: Shapes


@dataclass(frozen=True, eq=False)
class Fidelity:
    """What `check(mesh, against=labels)` measured, as values; `print` shows a table.

    Parameters
    ----------
    regions : dict[str, RegionFigures]
    interfaces : dict[str, InterfaceFigures]
    surface : Surface
        The interfaces that were compared.
    offsets : (t, 3)
        Voxels, of every corner of the surface's triangles: the distance from the nearest voxel face between the two
        labels, negative where the corner lies in a voxel of the region behind the triangle. So a body that grew has
        positive offsets. inf where there is no such face within 16 voxels.
    sections : str
        "interpolated": the labels are sections, and the mesh was compared with layers interpolated between them;
        "kept": with the sections as they are, as the surface was extracted; empty for other voxels.
    """

    regions: dict[str, RegionFigures]
    interfaces: dict[str, InterfaceFigures]
    surface: Surface
    offsets: Floats
    sections: str = ""

    def __str__(self) -> str:
        width = max(len(name) for name in (*self.regions, *self.interfaces, "interface"))
        head = (
            f"{'region':{width}}  pieces  Euler  genus  volume/um^3  to voxels  least angle  radius ratio  median edge"
        )
        regions, faces = list(self.regions.values()), list(self.interfaces.items())
        lines = [head, *(_region_line(figures, width) for figures in regions[:ROWS]), *_rest(regions), ""]
        lines += [
            f"{'interface':{width}}    area/um^2  distance/voxels: mean   most  least angle  radius ratio  median edge"
        ]
        for name, one in faces[:ROWS]:
            lines.append(
                f"{name:{width}}  {one.area:11.4g}  {one.mean_distance:21.3f}  {one.max_distance:5.2f}  "
                f"{_shape_text(one.shapes)}"
            )
        return "\n".join([*lines, *_rest(faces)])

    def __repr__(self) -> str:
        return str(self)


def measure(mesh: Surface | TetMesh, volume: Volume) -> Fidelity:
    """Compare every region and interface with the labels.

    Parameters
    ----------
    mesh : Surface or TetMesh
    volume : Volume
        The labels from which it was made; regions are matched by name.

    Returns
    -------
    Fidelity
    """
    require(volume, Volume, "check(thing, against=labels)")
    volume.require_labels("check(..., against=...)")
    voxels = {name: volume.counts[label] * float(np.prod(volume.spacing)) for label, name in volume.regions.items()}
    found, expected = topology(mesh), topology(volume)
    volumes = enclosed_volumes(mesh)
    tets = quality(mesh).parts if isinstance(mesh, TetMesh) else {}
    regions = {
        name: RegionFigures(
            name, found.get(name), expected.get(name), volumes.get(name, 0.0), voxels.get(name, 0.0), tets.get(name)
        )
        for name in dict.fromkeys([*expected, *found])
    }
    surface = mesh if isinstance(mesh, Surface) else mesh.surface
    sections = _sections(surface, volume)
    interfaces, offsets = _interfaces(surface, volume, "keep" if sections == "kept" else "interpolate")
    return Fidelity(regions, interfaces, surface, offsets, sections)


def fidelity_problems(figures: Fidelity) -> Iterator[Problem]:
    """Tell where a mesh is not what its labels were."""
    if figures.sections:
        kept = 'with the sections as they are, whose steps stay in areas; extract without sections="keep" mends them'
        told = kept if figures.sections == "kept" else "with layers interpolated between sections, as extract does"
        yield Problem("note", f"the mesh was compared {told}")
    both = [one for one in figures.regions.values() if one.found and one.expected]
    lost = [repr(one.name) for one in figures.regions.values() if not one.found]
    if lost:
        yield Problem(
            "error", f"not in the mesh, but in the labels: {listed(lost)}; larger islands or a finer edge stay"
        )
    strange = [repr(one.name) for one in figures.regions.values() if not one.expected]
    if strange:
        yield Problem(
            "error", f"in the mesh, but not in the labels: {listed(strange)}; are these its labels and names?"
        )
    changed = [
        f"{one.name!r} ({_topology_text(one.found)}; labels: {_topology_text(one.expected)})"
        for one in both
        if one.found and one.expected and one.found != one.expected
    ]
    if changed:
        yield Problem("warning", f"regions that hang together differently than their voxels: {listed(changed, 3)}")
    off = sorted((one for one in both if abs(one.volume_error) > VOLUME_ERROR), key=lambda one: -abs(one.volume_error))
    if off:
        text = listed([f"{one.name!r} {100 * one.volume_error:+.1f} %" for one in off])
        yield Problem(
            "warning", f"volumes differ from those of the voxels: {text}; smooth less, or take smaller voxels"
        )
    far = [
        f"{face.name} {face.max_distance:.2f} ({face.mean_distance:.2f})"
        for face in figures.interfaces.values()
        if face.max_distance > FARTHEST or face.mean_distance > MEAN_FARTHEST
    ]
    if far:
        yield Problem(
            "warning",
            f"interfaces far from the faces of their voxels, in voxels at most (on average): {listed(far)}; up to "
            f"{FARTHEST:g} ({MEAN_FARTHEST:g}) is usual",
        )


def _topology_text(one: Topology) -> str:
    return f"pieces {one.components:,}, Euler {one.euler:,}, genus {one.genus:,}"


def _sections(surface: Surface, volume: Volume) -> str:
    """Tell by the surface's resolution whether it was made of thick sections as they are."""
    if thick_axis(volume.spacing) is None:
        return ""
    kept = surface.resolution is not None and np.allclose(surface.resolution, volume.spacing, rtol=1e-3, atol=0)
    return "kept" if kept else "interpolated"


def _interfaces(surface: Surface, volume: Volume, sections: str) -> tuple[dict[str, InterfaceFigures], Floats]:
    """Return the figures of every interface, and (t, 3) the signed distances of all corners in voxels."""
    net = extract(volume, sections=sections)
    pairs = {frozenset(pair): kind for kind, pair in enumerate(net.interfaces)}
    kinds = np.zeros(len(net.triangles), np.int64)
    for pair, rows in net.interfaces.items():
        kinds[rows] = pairs[frozenset(pair)]
    # Each axis in its own voxels.
    spacing = np.asarray(volume.spacing)
    base = base_of(net.points / spacing, net.triangles, kinds, np.zeros(len(net.points)))
    shapes, sizes = quality(surface).parts, areas(surface)
    points, owners = surface.points / spacing, _names_at(volume, surface.points)
    figures, offsets = {}, np.full((len(surface.triangles), 3), np.inf)
    for pair, rows in surface.interfaces.items():
        name, triangles = f"{pair[0]} | {pair[1]}", surface.triangles[rows]
        at_corners, at_centres = _distances(base, points, triangles, pairs.get(frozenset(pair), -1))
        offsets[rows] = np.where(owners[triangles] == pair[0], -at_corners, at_corners)
        # Exact for a quadratic: three quarters of the centre and a twelfth of each corner.
        means, weights = 0.75 * at_centres + at_corners.sum(axis=1) / 12, surface.areas[rows]
        mean, most = float(means @ weights / weights.sum()), float(max(at_corners.max(), at_centres.max()))
        figures[name] = InterfaceFigures(name, sizes[pair], mean, most, shapes[name])
    return figures, offsets


def _distances(base: Base, points: Floats, triangles: Array, kind: int) -> tuple[Floats, Floats]:
    """Return (k, 3) and (k,) the distances of corners and centres from the triangles of a kind."""
    if kind < 0:
        return np.full((len(triangles), 3), np.inf), np.full(len(triangles), np.inf)
    corners, row = np.unique(triangles, return_inverse=True)
    at_corners = _away(base, np.ascontiguousarray(points[corners]), kind, REACH)[row.reshape(-1, 3)]
    return at_corners, _away(base, points[triangles].mean(axis=1), kind, REACH)


def _names_at(volume: Volume, points: Floats) -> Array:
    """Return (p,) the names of the regions whose voxels the points lie in."""
    voxels = np.rint((points - volume.origin) / volume.spacing).astype(np.int64)
    within = ((voxels >= 0) & (voxels < volume.data.shape)).all(axis=1)
    labels = np.zeros(len(points), volume.data.dtype)
    labels[within] = volume.data[tuple(voxels[within].T)]
    present, row = np.unique(labels, return_inverse=True)
    return np.array([name_of(volume.names, int(label)) for label in present])[row]


def _rest(things: list[Any]) -> list[str]:
    return [f"... and {len(things) - ROWS:,} more"] if len(things) > ROWS else []


def _region_line(one: RegionFigures, width: int) -> str:
    def beside(what: str) -> str:
        values = [getattr(side, what) if side else None for side in (one.found, one.expected)]
        return str(values[0]) if values[0] == values[1] else f"{values[0]}({values[1]})"

    return (
        f"{one.name:{width}}  {beside('components'):>6}  {beside('euler'):>5}  {beside('genus'):>5}  "
        f"{one.volume:11.4g}  {100 * one.volume_error:+7.2f} %  {_shape_text(one.shapes)}"
    )


def _shape_text(shapes: Shapes | None) -> str:
    if shapes is None:
        return f"{'-':>11}  {'-':>12}  {'-':>11}"
    return f"{shapes.min:11.2f}  {shapes.radius_ratio[0]:12.3f}  {shapes.edge_lengths[1]:8.4g} um"


# --- kernels ---


@njit(cache=True)
def _away(base: Any, points: Any, kind: int, reach: float) -> Any:
    """Return (p,) the distance of every point from the triangles of a kind, inf beyond `reach`."""
    result = np.empty(points.shape[0])
    for p in range(points.shape[0]):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        hit = nearest(base, x, y, z, kind, (0.0, 0.0, 0.0), reach, False)
        result[p] = np.sqrt(hit[0]) if hit[1] >= 0 else np.inf
    return result
