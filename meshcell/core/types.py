"""The few data types that travel through the pipeline, and nothing but their checks.

All are frozen, their arrays read-only views: a function that changes a mesh returns a new one. Lengths are in um,
times in s, amounts in molecules; axes run x, y, z like the points.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats, Ints, Triple, frozen, lengths, set_fields
from meshcell.core.errors import MeshError
from meshcell.core.grouping import Grouped, grouped_by
from meshcell.core.hints import nearest
from meshcell.core.measures import area_vectors_of, enclosed, volumes_of
from meshcell.core.validation import (
    OUTSIDE,
    as_triple,
    checked_cells,
    checked_names,
    checked_patches,
    checked_points,
    checked_regions,
    checked_sides,
    checked_spacing,
    checked_voxels,
    completed_names,
    counted,
    each_axis,
    labels_in,
    name_of,
)


@dataclass(frozen=True, eq=False)
class Volume:
    """A voxel picture: labels when `data` are integers, intensities when they are floating.

    Parameters
    ----------
    data : (nx, ny, nz) array
        Integers >= 0 (0 is always "outside") or finite floats, in any byte order. Booleans become labels 0 and 1. With
        `names` given, floats must be whole numbers and become labels.
    spacing : float, text, or three of them
        um per voxel along x, y, z; texts such as "8 nm" are converted. A single value holds for all three axes.
    origin : three floats or texts
        um, the centre of voxel [0, 0, 0].
    names : dict[int, str]
        Label -> region name; a label without a name is called "label 3".

    Raises
    ------
    ValueError, TypeError
        Wrong rank, empty, negative labels, NaN, zero, missing or absurd spacing, names that clash.

    Examples
    --------
    >>> volume = Volume(np.ones((4, 4, 4), np.uint8), spacing="10 nm", names={1: "cytosol"})
    >>> volume.spacing, volume.regions
    ((0.01, 0.01, 0.01), {1: 'cytosol'})
    """

    data: Array
    spacing: Triple
    origin: Triple = (0.0, 0.0, 0.0)
    names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = checked_names(self.names)
        set_fields(self, data=frozen(checked_voxels(self.data, as_labels=len(names) > 1)))
        set_fields(self, spacing=checked_spacing(self.spacing), origin=as_triple(self.origin, "origin"), names=names)

    @classmethod
    def from_zyx(
        cls,
        array: Array,
        spacing_zyx: Any,
        origin_zyx: Any = (0.0, 0.0, 0.0),
        names: Mapping[int, str] | None = None,
    ) -> Volume:
        """Make a Volume from an array stored plane by plane (z, y, x), as image readers return it."""
        spacing, origin = tuple(each_axis(spacing_zyx))[::-1], as_triple(origin_zyx, "origin_zyx")[::-1]
        return cls(np.asarray(array).T, spacing, origin, dict(names or {}))

    @property
    def is_labels(self) -> bool:
        """Tell whether the voxels are labels (integers) rather than intensities (floats)."""
        return self.data.dtype.kind in "iu"

    @property
    def extent(self) -> Triple:
        """Edge lengths of the box in um."""
        x, y, z = (n * h for n, h in zip(self.data.shape, self.spacing, strict=True))
        return x, y, z

    @functools.cached_property
    def counts(self) -> dict[int, int]:
        """Voxels of every label that is present, "outside" included."""
        self.require_labels("counts")
        labels, counts = counted(self.data)
        return dict(zip(labels.tolist(), counts.tolist(), strict=True))

    @property
    def regions(self) -> dict[int, str]:
        """Label -> name of every region that is present, "outside" left out."""
        return {label: name_of(self.names, label) for label in self.counts if label != OUTSIDE}

    @property
    def absent(self) -> dict[int, str]:
        """Label -> name of every region that has a name and no voxel."""
        return {label: name for label, name in self.names.items() if label != OUTSIDE and label not in self.counts}

    def require_labels(self, purpose: str) -> None:
        """Raise TypeError where labels are needed and intensities came."""
        if not self.is_labels:
            whole = bool(np.array_equal(self.data, np.floor(self.data)))
            advice = (
                'they are whole numbers: pass data.astype(int), load(..., kind="labels"), or give names={1: ...}'
                if whole
                else "they are not whole numbers: segment the volume first, or pass level=... for an isosurface"
            )
            raise TypeError(f"{purpose} needs integer labels; got {self.data.dtype} intensities; {advice}")

    def __repr__(self) -> str:
        grid = " x ".join(map(str, self.data.shape))
        head = f"Volume: {grid} voxels of {lengths(self.spacing)} um, box {lengths(self.extent)} um"
        if not self.is_labels:
            low, high = float(self.data.min()), float(self.data.max())
            return f"{head}, {self.data.dtype} intensities {low:.4g} ... {high:.4g}"
        voxel = float(np.prod(self.spacing))
        inside = [*self.counts.items()]
        inside = inside[1:] if OUTSIDE in self.counts else inside
        rows = _shortened(
            inside,
            lambda label, n: f"  {label:>5}  {name_of(self.names, label)}: {n:,} voxels, {n * voxel:.4g} um^3",
        )
        missing = ", ".join(f"{label} {name!r}" for label, name in self.absent.items())
        rows += [f"  named, but without a voxel: {missing}"] if missing else []
        return "\n".join([f"{head}, {self.data.dtype} labels", *rows])


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangulated interfaces between regions; every interface appears once, shared by its two regions.

    Parameters
    ----------
    points : (p, 3) floats, um
    triangles : (t, 3) int32
        Rows of `points`.
    sides : (t, 2) int32
        Region labels: the normal (right-hand rule) points from region `sides[:, 0]` into region `sides[:, 1]`.
    names : dict[int, str]
        Label -> region name.
    patches : dict[str, (k,) int32]
        Name -> rows of `triangles`: named parts of interfaces.
    resolution : three floats or None
        The voxel size in um that the surface came from, so that smoothing knows its limits.

    Raises
    ------
    MeshError
        Indices out of range, points that are not finite, a triangle with the same region on both sides.
    """

    points: Floats
    triangles: Ints
    sides: Ints
    names: dict[int, str] = field(default_factory=dict)
    patches: dict[str, Ints] = field(default_factory=dict)
    resolution: Triple | None = None

    def __post_init__(self) -> None:
        points = checked_points(self.points)
        triangles = checked_cells(self.triangles, 3, len(points), "triangles")
        sides = checked_sides(self.sides, len(triangles), "triangles")
        names = completed_names(self.names, sides)
        patches = checked_patches(self.patches, len(triangles), "triangles")
        resolution = None if self.resolution is None else checked_spacing(self.resolution)
        set_fields(self, points=frozen(points), triangles=frozen(triangles), sides=frozen(sides))
        set_fields(self, names=names, patches=patches, resolution=resolution)

    @functools.cached_property
    def area_vectors(self) -> Floats:
        """(t, 3) normals with the length of the triangles' areas, um^2."""
        return frozen(area_vectors_of(self.points, self.triangles))

    @functools.cached_property
    def areas(self) -> Floats:
        """(t,) areas of the triangles, um^2."""
        return frozen(np.linalg.norm(self.area_vectors, axis=1))

    @property
    def interfaces(self) -> dict[tuple[str, str], Array]:
        """(behind, front) region names -> rows of `triangles`, in the order of their labels."""
        return self.by_interface.named(self.names)

    @functools.cached_property
    def by_interface(self) -> Grouped:
        """The triangles of every interface as arrays: for work on all of them at once, of which there may be many."""
        return grouped_by(self.sides)

    def __repr__(self) -> str:
        head = f"Surface: {len(self.points):,} points, {len(self.triangles):,} triangles, {_box(self.points)}"
        faces = _interface_rows(self.by_interface, self.names, self.areas)
        volumes = enclosed(self.points, self.triangles, self.sides)
        inside = _shortened(
            list(volumes.items()), lambda label, volume: f"  {name_of(self.names, label)}: {volume:.4g} um^3"
        )
        return "\n".join([head, *faces, *inside, *_patch_rows(self.patches, self.areas)])


@dataclass(frozen=True, eq=False)
class TetMesh:
    """Conforming tetrahedra with a region each, and the triangles of the interfaces between regions.

    Parameters
    ----------
    points : (p, 3) floats, um
    tets : (n, 4) int32
        Rows of `points`; positive volume: (p1 - p0) x (p2 - p0) . (p3 - p0) > 0.
    regions : (n,) int32
        Label of every tetrahedron, never 0.
    facets : (f, 3) int32
        The interface facets only (between two regions, or a region and "outside").
    sides : (f, 2) int32
        As in Surface: the facet's normal points from `sides[:, 0]` into `sides[:, 1]`.
    names, patches : dict
        As in Surface; patches hold rows of `facets`.

    Raises
    ------
    MeshError
        Indices out of range, points that are not finite, tetrahedra without positive volume, region 0.
    """

    points: Floats
    tets: Ints
    regions: Ints
    facets: Ints
    sides: Ints
    names: dict[int, str] = field(default_factory=dict)
    patches: dict[str, Ints] = field(default_factory=dict)

    def __post_init__(self) -> None:
        points = checked_points(self.points)
        tets = checked_cells(self.tets, 4, len(points), "tets")
        regions = checked_regions(self.regions, len(tets))
        facets = checked_cells(self.facets, 3, len(points), "facets")
        sides = checked_sides(self.sides, len(facets), "facets")
        patches = checked_patches(self.patches, len(facets), "facets")
        names = completed_names(self.names, sides, regions)
        set_fields(self, points=frozen(points), tets=frozen(tets), regions=frozen(regions), facets=frozen(facets))
        set_fields(self, sides=frozen(sides), names=names, patches=patches)
        flat = np.flatnonzero(~(self.volumes > 0))
        if len(flat):
            raise MeshError(
                f"every tetrahedron should have positive volume; {len(flat)} of {len(tets)} do not, the first is row "
                f"{flat[0]} with {self.volumes[flat[0]]:.3g} um^3; swap two of its points if it is inverted",
                flat,
            )

    @functools.cached_property
    def volumes(self) -> Floats:
        """(n,) volumes of the tetrahedra, um^3."""
        return frozen(volumes_of(self.points, self.tets))

    @functools.cached_property
    def area_vectors(self) -> Floats:
        """(f, 3) normals of the facets with the length of their areas, um^2."""
        return frozen(area_vectors_of(self.points, self.facets))

    @functools.cached_property
    def areas(self) -> Floats:
        """(f,) areas of the facets, um^2."""
        return frozen(np.linalg.norm(self.area_vectors, axis=1))

    @functools.cached_property
    def neighbours(self) -> Ints:
        """(n, 4) row of the tetrahedron across the face opposite each corner, -1 where there is none."""
        return frozen(adjacency.tet_neighbours(self.tets, len(self.points)))

    @functools.cached_property
    def edges(self) -> Ints:
        """(e, 2) edges, each once, smaller point first."""
        return frozen(adjacency.edges(self.tets, len(self.points))[0])

    @functools.cached_property
    def facet_tets(self) -> Ints:
        """(f, 2) rows of the tetrahedra behind and in front of every facet, -1 where there is none."""
        return frozen(adjacency.facet_tets(self.facets, self.tets, self.points))

    @property
    def interfaces(self) -> dict[tuple[str, str], Array]:
        """(behind, front) region names -> rows of `facets`, in the order of their labels."""
        return self.by_interface.named(self.names)

    @functools.cached_property
    def by_interface(self) -> Grouped:
        """The facets of every interface as arrays: for work on all of them at once, of which there may be many."""
        return grouped_by(self.sides)

    @property
    def surface(self) -> Surface:
        """The interfaces alone, with the mesh's points."""
        return Surface(self.points, self.facets, self.sides, self.names, self.patches)

    def __repr__(self) -> str:
        head = f"TetMesh: {len(self.points):,} points, {len(self.tets):,} tetrahedra, {_box(self.points)}"
        labels = labels_in(self.regions)
        which = np.searchsorted(labels, self.regions)
        counts, volumes = np.bincount(which, minlength=len(labels)), np.bincount(which, self.volumes, len(labels))
        rows = _shortened(
            list(zip(labels.tolist(), counts.tolist(), volumes.tolist(), strict=True)),
            lambda label, n, volume: f"  {self.names[label]}: {n:,} tetrahedra, {volume:.4g} um^3",
        )
        faces = _interface_rows(self.by_interface, self.names, self.areas)
        return "\n".join([head, *rows, *faces, *_patch_rows(self.patches, self.areas)])


@dataclass(frozen=True, eq=False)
class TiltSeries:
    """Projections of a volume that was turned about one axis in a parallel beam.

    Parameters
    ----------
    images : (n, along, across) float32
        `along` runs with the tilt axis. `across` is the detector coordinate u = x cos(a) + z sin(a) for axis "y" and
        u = y cos(a) + z sin(a) for axis "x", measured from the centres of volume and detector.
    angles : (n,) floats, degrees
    spacing : float or text, um
        Edge length of a (square) pixel.
    axis : str
        The tilt axis, "x" or "y".

    Raises
    ------
    ValueError
        Images and angles that do not match, NaN, an axis other than "x" and "y".
    """

    images: npt.NDArray[np.float32]
    angles: Floats
    spacing: float
    axis: str = "y"

    def __post_init__(self) -> None:
        images, angles = np.asarray(self.images, np.float32), np.atleast_1d(np.asarray(self.angles, np.float64))
        if images.ndim != 3 or images.size == 0:
            raise ValueError(f"images should have shape (n, along, across); got {images.shape}")
        if angles.shape != (len(images),):
            raise ValueError(
                f"a tilt series should have one angle for each of its {len(images)} images; got {angles.shape}; "
                "drop the images or the angles of views that were left out"
            )
        if not np.isfinite(angles).all() or not np.isfinite(images).all():
            raise ValueError("images and angles of a tilt series should be finite; replace or drop what is NaN")
        if self.axis not in ("x", "y"):
            raise ValueError(f'the tilt axis should be "x" or "y"; got {self.axis!r}')
        set_fields(self, images=frozen(images), angles=frozen(angles), spacing=checked_spacing(self.spacing)[0])

    def __repr__(self) -> str:
        n, along, across = self.images.shape
        span = f"{self.angles.min():.4g} ... {self.angles.max():.4g} degrees about {self.axis}"
        return f"TiltSeries: {n} images of {along} x {across} pixels of {self.spacing:.4g} um, {span}"


class ByInterface(dict[tuple[str, str], float]):
    """A figure for every pair of regions; the pair may be asked for in either order."""

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (isinstance(key, tuple) and super().__contains__(key[::-1]))

    def get(self, key: tuple[str, str], default: Any = None) -> Any:
        # In either order, as `self[key]`.
        return self[key] if key in self else default  # noqa: SIM401

    def __missing__(self, key: tuple[str, str]) -> float:
        first, second = key
        if (second, first) in self:
            return self[second, first]
        regions = dict.fromkeys(name for pair in self for name in pair)
        hint = next((nearest(name, regions) for name in key if name not in regions), "")
        raise KeyError(f"no interface between {first!r} and {second!r}{hint}; there are {', '.join(map(str, self))}")


# --- small helpers ---


def _interface_rows(interfaces: Grouped, names: Mapping[int, str], areas: Floats) -> list[str]:
    behind, front = interfaces.sides.T.tolist()
    return _shortened(
        list(zip(behind, front, interfaces.counts.tolist(), interfaces.sums(areas).tolist(), strict=True)),
        lambda a, b, n, area: f"  {name_of(names, a)} | {name_of(names, b)}: {n:,} triangles, {area:.4g} um^2",
    )


def _patch_rows(patches: Mapping[str, Ints], areas: Floats) -> list[str]:
    return [f"  patch {name}: {len(rows):,} triangles, {areas[rows].sum():.4g} um^2" for name, rows in patches.items()]


def _box(points: Floats) -> str:
    return f"box {lengths(np.ptp(points, axis=0))} um" if len(points) else "empty"


def _shortened(things: Sequence[tuple[Any, ...]], said: Callable[..., str], most: int = 12) -> list[str]:
    """Write a line for each of the first things, and how many more there are."""
    if len(things) <= most:
        return [said(*thing) for thing in things]
    return [*(said(*thing) for thing in things[: most - 1]), f"  ... and {len(things) - most + 1} more"]
