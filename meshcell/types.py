"""The few data types that travel through the pipeline, and nothing but their checks.

All are frozen, their arrays read-only views: a function that changes a mesh returns a new one. Lengths are in um,
times in s, amounts in molecules; axes run x, y, z like the points.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from meshcell import adjacency
from meshcell.units import convert

if TYPE_CHECKING:
    from meshcell.models import Model

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Array = npt.NDArray[Any]
Triple = tuple[float, float, float]

OUTSIDE = 0
# A voxel a hundred times longer than wide is a unit mix-up, not a microscope.
MAX_ANISOTROPY = 100.0


class MeshError(ValueError):
    """A surface or mesh that cannot be used as it is; `where` lists the offending rows."""

    def __init__(self, message: str, where: Any = ()) -> None:
        super().__init__(message)
        self.where = np.asarray(where)


class SolveError(RuntimeError):
    """A simulation that could not be finished; `solution` holds what was computed so far."""

    def __init__(self, message: str, solution: Solution | None = None) -> None:
        super().__init__(message)
        self.solution = solution


@dataclass(frozen=True, eq=False)
class Volume:
    """A voxel picture: labels when `data` are integers, intensities when they are floating.

    Parameters
    ----------
    data : (nx, ny, nz) array
        Integers >= 0 (0 is always "outside") or finite floats. Booleans become labels 0 and 1. With `names` given,
        floats must be whole numbers and become labels.
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
        names = _checked_names(self.names)
        _set(self, data=_frozen(_checked_voxels(np.asarray(self.data), as_labels=len(names) > 1)))
        _set(self, spacing=checked_spacing(self.spacing), origin=_triple(self.origin, "origin"), names=names)

    @classmethod
    def from_zyx(
        cls,
        array: Array,
        spacing_zyx: Any,
        origin_zyx: Any = (0.0, 0.0, 0.0),
        names: Mapping[int, str] | None = None,
    ) -> Volume:
        """Make a Volume from an array stored plane by plane (z, y, x), as image readers return it."""
        spacing = spacing_zyx if _is_single(spacing_zyx) else tuple(spacing_zyx)[::-1]
        return cls(np.asarray(array).T, spacing, tuple(origin_zyx)[::-1], dict(names or {}))

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
        return {int(k): int(n) for k, n in zip(*_label_counts(self.data), strict=True)}

    @property
    def regions(self) -> dict[int, str]:
        """Label -> name of every region that is present, "outside" left out."""
        return {label: name_of(self.names, label) for label in self.counts if label != OUTSIDE}

    def require_labels(self, purpose: str) -> None:
        """Raise TypeError where labels are needed and intensities came."""
        if not self.is_labels:
            whole = bool(np.array_equal(self.data, np.floor(self.data)))
            advice = (
                "they are whole numbers: pass data.astype(int), or give names={1: ...}"
                if whole
                else "they are not whole numbers: segment the volume first, or pass level=... for an isosurface"
            )
            raise TypeError(f"{purpose} needs integer labels; got {self.data.dtype} intensities; {advice}")

    def __repr__(self) -> str:
        grid = " x ".join(map(str, self.data.shape))
        head = f"Volume: {grid} voxels of {_lengths(self.spacing)} um, box {_lengths(self.extent)} um"
        if not self.is_labels:
            low, high = float(self.data.min()), float(self.data.max())
            return f"{head}, {self.data.dtype} intensities {low:.4g} ... {high:.4g}"
        voxel = float(np.prod(self.spacing))
        rows = [
            f"  {label:>5}  {name}: {self.counts[label]:,} voxels, {self.counts[label] * voxel:.4g} um^3"
            for label, name in self.regions.items()
        ]
        return "\n".join([f"{head}, {self.data.dtype} labels", *_shortened(rows)])


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
        points = _checked_points(self.points)
        triangles = _checked_cells(self.triangles, 3, len(points), "triangles")
        sides = _checked_sides(self.sides, len(triangles), "triangles")
        names = _completed_names(self.names, sides)
        patches = _checked_patches(self.patches, len(triangles), "triangles")
        resolution = None if self.resolution is None else checked_spacing(self.resolution)
        _set(self, points=_frozen(points), triangles=_frozen(triangles), sides=_frozen(sides))
        _set(self, names=names, patches=patches, resolution=resolution)

    @functools.cached_property
    def area_vectors(self) -> Floats:
        """(t, 3) normals with the length of the triangles' areas, um^2."""
        return _frozen(_area_vectors(self.points, self.triangles))

    @functools.cached_property
    def areas(self) -> Floats:
        """(t,) areas of the triangles, um^2."""
        return _frozen(np.linalg.norm(self.area_vectors, axis=1))

    @property
    def interfaces(self) -> dict[tuple[str, str], Array]:
        """(behind, front) region names -> rows of `triangles`, in the order of their labels."""
        return _interfaces(self.sides, self.names)

    def __repr__(self) -> str:
        from meshcell.surfaces import enclosed_volumes

        head = f"Surface: {len(self.points):,} points, {len(self.triangles):,} triangles, {_box(self.points)}"
        rows = _interface_rows(self.interfaces, self.areas)
        inside = [f"  {name}: {volume:.4g} um^3" for name, volume in enclosed_volumes(self).items()]
        return "\n".join([head, *_shortened(rows), *_shortened(inside), *_patch_rows(self.patches, self.areas)])


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
    names, patches
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
        points = _checked_points(self.points)
        tets = _checked_cells(self.tets, 4, len(points), "tets")
        regions = _checked_regions(self.regions, len(tets))
        facets = _checked_cells(self.facets, 3, len(points), "facets")
        sides = _checked_sides(self.sides, len(facets), "facets")
        patches = _checked_patches(self.patches, len(facets), "facets")
        names = _completed_names(self.names, sides, regions)
        _set(self, points=_frozen(points), tets=_frozen(tets), regions=_frozen(regions), facets=_frozen(facets))
        _set(self, sides=_frozen(sides), names=names, patches=patches)
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
        corners = self.points[self.tets]
        a, b, c = (corners[:, k] - corners[:, 0] for k in (1, 2, 3))
        return _frozen(np.einsum("ij,ij->i", np.cross(a, b), c) / 6)

    @functools.cached_property
    def area_vectors(self) -> Floats:
        """(f, 3) normals of the facets with the length of their areas, um^2."""
        return _frozen(_area_vectors(self.points, self.facets))

    @functools.cached_property
    def areas(self) -> Floats:
        """(f,) areas of the facets, um^2."""
        return _frozen(np.linalg.norm(self.area_vectors, axis=1))

    @functools.cached_property
    def neighbours(self) -> Ints:
        """(n, 4) row of the tetrahedron across the face opposite each corner, -1 where there is none."""
        return _frozen(adjacency.tet_neighbours(self.tets, len(self.points)))

    @functools.cached_property
    def edges(self) -> Ints:
        """(e, 2) edges, each once, smaller point first."""
        return _frozen(adjacency.edges(self.tets, len(self.points))[0])

    @functools.cached_property
    def facet_tets(self) -> Ints:
        """(f, 2) rows of the tetrahedra behind and in front of every facet, -1 where there is none."""
        return _frozen(adjacency.facet_tets(self.facets, self.tets, self.points))

    @property
    def interfaces(self) -> dict[tuple[str, str], Array]:
        """(behind, front) region names -> rows of `facets`, in the order of their labels."""
        return _interfaces(self.sides, self.names)

    @property
    def surface(self) -> Surface:
        """The interfaces alone, with the mesh's points."""
        return Surface(self.points, self.facets, self.sides, self.names, self.patches)

    def __repr__(self) -> str:
        head = f"TetMesh: {len(self.points):,} points, {len(self.tets):,} tetrahedra, {_box(self.points)}"
        rows = []
        for label in np.unique(self.regions):
            own = self.regions == label
            rows.append(f"  {self.names[int(label)]}: {own.sum():,} tetrahedra, {self.volumes[own].sum():.4g} um^3")
        faces = _interface_rows(self.interfaces, self.areas)
        return "\n".join([head, *_shortened(rows), *_shortened(faces), *_patch_rows(self.patches, self.areas)])


@dataclass(frozen=True, eq=False)
class Solution:
    """Concentrations over a mesh at the asked times.

    Parameters
    ----------
    mesh : TetMesh
    model : Model
    times : (k,) floats, s
    values : dict[str, (k, m) floats]
        Species -> molecules/um^3, or molecules/um^2 for a species that lives on an interface.
    nodes : dict[str, (m,) int32]
        Species -> rows of `mesh.points` that its columns stand for.
    stats : dict
        Steps, rejections, Newton and linear iterations, seconds, mass drift.
    message : str
        Empty when finished; else what stopped the run and what to try.
    """

    mesh: TetMesh
    model: Model
    times: Floats
    values: dict[str, Floats]
    nodes: dict[str, Ints]
    stats: dict[str, Any] = field(default_factory=dict)
    message: str = ""

    def __post_init__(self) -> None:
        times = _frozen(np.atleast_1d(np.asarray(self.times, np.float64)))
        nodes = {name: _frozen(np.asarray(rows, np.int32)) for name, rows in self.nodes.items()}
        values = {name: _frozen(np.asarray(array, np.float64)) for name, array in self.values.items()}
        if values.keys() != nodes.keys():
            raise ValueError(f"values and nodes should name the same species; got {sorted(values)} and {sorted(nodes)}")
        for name, array in values.items():
            if array.shape != (len(times), len(nodes[name])):
                raise ValueError(
                    f"values of {name!r} should have shape {(len(times), len(nodes[name]))} (times, nodes); "
                    f"got {array.shape}"
                )
        _set(self, times=times, nodes=nodes, values=values)

    def __repr__(self) -> str:
        span = f"{self.times[0]:.4g} ... {self.times[-1]:.4g} s" if len(self.times) else "no times"
        rows = [
            f"  {name}: {array.shape[1]:,} nodes, {array.min():.4g} ... {array.max():.4g}"
            for name, array in self.values.items()
            if array.size
        ]
        stats = ", ".join(f"{key} {value:.4g}" for key, value in self.stats.items() if isinstance(value, (int, float)))
        notes = [f"  {stats}"] if stats else []
        if self.message:
            notes.append(f"  NOT FINISHED: {self.message}")
        return "\n".join([f"Solution: {len(self.times)} times, {span}", *rows, *notes])


# --- names ---


def name_of(names: Mapping[int, str], label: int) -> str:
    """Return the name of a region label: the given one, "outside" for 0, else "label 3"."""
    return names.get(label, "outside" if label == OUTSIDE else f"label {label}")


def label_of(names: Mapping[int, str], name: str) -> int:
    """Return the label of a region name, or raise a ValueError that lists the names there are."""
    for label, known in names.items():
        if known == name:
            return label
    raise ValueError(f"no region is called {name!r}; there are {', '.join(sorted(names.values()))}")


class ByInterface(dict[tuple[str, str], float]):
    """A figure for every pair of regions; the pair may be asked for in either order."""

    def __missing__(self, key: tuple[str, str]) -> float:
        first, second = key
        if (second, first) in self:
            return self[second, first]
        raise KeyError(f"no interface between {first!r} and {second!r}; there are {', '.join(map(str, self))}")


# --- checks ---


def checked_spacing(spacing: Any) -> Triple:
    """Return a voxel size as three positive floats in um, or raise a ValueError that says what is wrong."""
    if spacing is None:
        raise ValueError('spacing should be the voxel size in um or a text such as "8 nm"; got None')
    triple = _triple((spacing,) * 3 if _is_single(spacing) else spacing, "spacing")
    if not all(np.isfinite(triple)) or min(triple) <= 0:
        raise ValueError(f"spacing should be three positive lengths in um per voxel; got {spacing!r}")
    if max(triple) > MAX_ANISOTROPY * min(triple):
        raise ValueError(
            f"spacing should not differ more than {MAX_ANISOTROPY:g}-fold between axes; got {_lengths(triple)} um; "
            'check that all axes have the same unit, or write the unit: ("4 nm", "4 nm", "40 nm")'
        )
    return triple


def _is_single(value: Any) -> bool:
    return isinstance(value, str) or np.ndim(getattr(value, "magnitude", value)) == 0


def _triple(values: Any, what: str) -> Triple:
    items = list(values)
    if len(items) != 3:
        raise ValueError(f"{what} should have three entries for x, y, z; got {len(items)}: {values!r}")
    x, y, z = (convert(item, "um", what) for item in items)
    return x, y, z


def _checked_names(names: Mapping[int, str]) -> dict[int, str]:
    checked = {OUTSIDE: "outside"}
    for label, name in sorted(dict(names).items()):
        if int(label) != label or label < 0 or not isinstance(name, str) or not name:
            raise ValueError(f"names should map whole labels >= 0 to texts; got {label!r}: {name!r}")
        if label == OUTSIDE and name != "outside":
            raise ValueError(
                f"label 0 is always 'outside'; got the name {name!r} for it; give that region another label"
            )
        if label != OUTSIDE and name in checked.values():
            raise ValueError(f"names should be different for every region; {name!r} is given twice")
        checked[int(label)] = name
    return checked


def _completed_names(names: Mapping[int, str], *labels: Array) -> dict[int, str]:
    present = np.unique(np.concatenate([np.ravel(array) for array in labels]))
    checked = _checked_names(names)
    return _checked_names({**{int(label): name_of(checked, int(label)) for label in present}, **checked})


def _checked_voxels(data: Array, as_labels: bool) -> Array:
    if data.ndim != 3:
        raise ValueError(f"a volume should have three axes (x, y, z); got shape {data.shape}")
    if data.size == 0:
        raise ValueError(f"a volume should hold at least one voxel; got shape {data.shape}")
    if data.dtype == bool:
        return data.view(np.uint8)
    if data.dtype.kind == "f":
        return _checked_floats(data, as_labels)
    if data.dtype.kind not in "iu":
        raise TypeError(f"voxels should be integers (labels) or floats (intensities); got {data.dtype}")
    if data.dtype.kind == "i" and data.min() < 0:
        where = tuple(int(i) for i in np.unravel_index(int(data.argmin()), data.shape))
        raise ValueError(f"labels should be >= 0; got {data.min()} at voxel {where}; relabel, 0 is outside")
    return data


def _checked_floats(data: Array, as_labels: bool) -> Array:
    bad = ~np.isfinite(data)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"voxels should be finite; {int(bad.sum())} are NaN or infinite, the first at {where}; "
            "replace them, for instance with np.nan_to_num"
        )
    if not as_labels:
        return data
    fractional = data != np.floor(data)
    if fractional.any():
        where = tuple(int(i) for i in np.argwhere(fractional)[0])
        raise ValueError(
            f"labels should be whole numbers; got {data[where]} at voxel {where} ({int(fractional.sum())} in all); "
            "an interpolated label volume must be resampled with nearest neighbours"
        )
    return _checked_voxels(data.astype(np.int64), as_labels)


def _checked_points(points: Any) -> Floats:
    array = np.ascontiguousarray(points, np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise MeshError(f"points should have shape (p, 3); got {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise MeshError(f"points should be finite; {len(bad)} are not, the first is row {bad[0]}: {array[bad[0]]}", bad)
    return array


def _whole(values: Any, what: str) -> Ints:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{what} should be whole numbers; got {array.dtype}")
    if array.size and (array.max() > np.iinfo(np.int32).max or array.min() < np.iinfo(np.int32).min):
        raise ValueError(f"{what} should fit 32-bit integers; got {array.min()} ... {array.max()}")
    return np.ascontiguousarray(array, np.int32)


def _checked_cells(cells: Any, corners: int, n_points: int, what: str) -> Ints:
    array = _whole(cells, what).reshape(-1, corners) if np.size(cells) == 0 else _whole(cells, what)
    if array.ndim != 2 or array.shape[1] != corners:
        raise MeshError(f"{what} should have shape (n, {corners}); got {array.shape}")
    bad = np.flatnonzero(((array < 0) | (array >= n_points)).any(axis=1))
    if len(bad):
        raise MeshError(
            f"{what} should index the {n_points} points; {len(bad)} rows do not, the first is row {bad[0]}: "
            f"{array[bad[0]].tolist()}",
            bad,
        )
    return array


def _checked_sides(sides: Any, n: int, what: str) -> Ints:
    array = _whole(sides, "sides").reshape(-1, 2) if np.size(sides) == 0 else _whole(sides, "sides")
    if array.shape != (n, 2):
        raise MeshError(f"sides should have one row of two regions for each of the {n} {what}; got shape {array.shape}")
    bad = np.flatnonzero((array < 0).any(axis=1) | (array[:, 0] == array[:, 1]))
    if len(bad):
        raise MeshError(
            f"sides should be two different regions >= 0; {len(bad)} rows are not, the first is row {bad[0]}: "
            f"{array[bad[0]].tolist()}",
            bad,
        )
    return array


def _checked_regions(regions: Any, n: int) -> Ints:
    array = _whole(regions, "regions")
    if array.shape != (n,):
        raise MeshError(f"regions should have one label for each of the {n} tets; got shape {array.shape}")
    bad = np.flatnonzero(array <= 0)
    if len(bad):
        raise MeshError(
            f"regions should be labels > 0 (0 is outside, which is not meshed); {len(bad)} are not, the first is row "
            f"{bad[0]}: {array[bad[0]]}",
            bad,
        )
    return array


def _checked_patches(patches: Mapping[str, Any], n: int, what: str) -> dict[str, Ints]:
    checked = {}
    for name, rows in dict(patches).items():
        array = np.unique(_whole(rows, f"patch {name!r}"))
        if array.size and (array[0] < 0 or array[-1] >= n):
            raise MeshError(f"patch {name!r} should list rows of the {n} {what}; got {array[0]} ... {array[-1]}", array)
        checked[str(name)] = _frozen(array)
    return checked


# --- small helpers ---


def _set(instance: object, **fields: Any) -> None:
    for name, value in fields.items():
        object.__setattr__(instance, name, value)


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # A view, so that the caller's own array stays writable and nothing is copied.
    view = array.view()
    view.flags.writeable = False
    return view


def _label_counts(data: Array) -> tuple[Array, Array]:
    if data.dtype.itemsize <= 2:
        counts = np.bincount(data.ravel(order="K"))
        return np.flatnonzero(counts), counts[counts > 0]
    return np.unique(data, return_counts=True)


def _area_vectors(points: Floats, triangles: Ints) -> Floats:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return np.asarray(np.cross(b - a, c - a) / 2)


def _interfaces(sides: Ints, names: Mapping[int, str]) -> dict[tuple[str, str], Array]:
    pairs, which = np.unique(sides, axis=0, return_inverse=True)
    which = which.ravel()
    return {
        (name_of(names, int(a)), name_of(names, int(b))): np.flatnonzero(which == row)
        for row, (a, b) in enumerate(pairs)
    }


def _interface_rows(interfaces: Mapping[tuple[str, str], Array], areas: Floats) -> list[str]:
    return [
        f"  {a} | {b}: {len(rows):,} triangles, {areas[rows].sum():.4g} um^2" for (a, b), rows in interfaces.items()
    ]


def _patch_rows(patches: Mapping[str, Ints], areas: Floats) -> list[str]:
    return [f"  patch {name}: {len(rows):,} triangles, {areas[rows].sum():.4g} um^2" for name, rows in patches.items()]


def _lengths(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _box(points: Floats) -> str:
    return f"box {_lengths(np.ptp(points, axis=0))} um" if len(points) else "empty"


def _shortened(rows: list[str], most: int = 12) -> list[str]:
    return rows if len(rows) <= most else [*rows[: most - 1], f"  ... and {len(rows) - most + 1} more"]
