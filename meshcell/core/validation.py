"""Checks of what the data types are made from: voxels, spacings, names, points, cells, sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints, Triple, frozen, lengths
from meshcell.core.errors import MeshError
from meshcell.core.hints import nearest
from meshcell.core.units import convert, three_in

BOX_FACES = ("box x-", "box x+", "box y-", "box y+", "box z-", "box z+")

OUTSIDE = 0
_WHOLE = (int, np.integer)
# A voxel a hundred times longer than wide is a unit mix-up, not a microscope.
MAX_ANISOTROPY = 100.0
# um, a hundredth of an atom and a centimetre: voxels beyond have another unit than was meant.
SMALLEST_VOXEL, LARGEST_VOXEL = 1e-6, 1e4
# Voxels so many times longer along one axis are sections.
COARSE = 1.5
# um, ten metres: what is farther away is an error of some reader, and its areas and volumes have no digits left.
MAX_COORDINATE = 1e7
# Labels that are looked at at a time.
PIECE = 2**22


def name_of(names: Mapping[int, str], label: int) -> str:
    """Return the name of a region label: the given one, "outside" for 0, else "label 3"."""
    if label in names:
        return names[label]
    return "outside" if label == OUTSIDE else f"label {label}"


def label_of(names: Mapping[int, str], name: str) -> int:
    """Return the label of a region name, or raise a ValueError that lists the names there are."""
    for label, known in names.items():
        if known == name:
            return label
    hint = nearest(name, names.values())
    raise ValueError(f"no region is called {name!r}{hint}; there are {', '.join(sorted(names.values()))}")


def checked_spacing(spacing: Any) -> Triple:
    """Return a voxel size as three positive floats in um, or raise a ValueError that says what is wrong."""
    if spacing is None:
        raise ValueError('spacing should be the voxel size in um or a text such as "8 nm"; got None')
    triple = as_triple(each_axis(spacing), "spacing")
    if not all(np.isfinite(triple)) or min(triple) <= 0:
        raise ValueError(f"spacing should be three positive lengths in um per voxel; got {spacing!r}")
    if min(triple) < SMALLEST_VOXEL or max(triple) > LARGEST_VOXEL:
        raise ValueError(
            f"spacing should be between {SMALLEST_VOXEL:g} and {LARGEST_VOXEL:g} um per voxel; got {spacing!r}, "
            f'which is {lengths(triple)} um; numbers are um: check the unit, or write it: "8 nm"'
        )
    if max(triple) > MAX_ANISOTROPY * min(triple):
        raise ValueError(
            f"spacing should not differ more than {MAX_ANISOTROPY:g}-fold between axes; got {lengths(triple)} um; "
            'check that all axes have the same unit, or write the unit: ("4 nm", "4 nm", "40 nm")'
        )
    return triple


def coarse_axis(spacing: Triple) -> str | None:
    """Return "x" or "y" where the voxels are clearly longest along it; microscopes are coarsest along z."""
    long = int(np.argmax(spacing))
    others = [size for axis, size in enumerate(spacing) if axis != long]
    return "xy"[long] if long < 2 and spacing[long] > COARSE * max(others) else None


def is_single(value: Any) -> bool:
    """Tell whether a value is one number, text or quantity rather than a sequence."""
    return isinstance(value, str) or np.ndim(getattr(value, "magnitude", value)) == 0


def each_axis(size: Any) -> Any:
    """Return the sizes along the axes as they were given: three, in one text or not, or one for all axes."""
    three = three_in(size) if isinstance(size, str) else None
    return three or ((size,) * 3 if is_single(size) else size)


def as_triple(values: Any, what: str) -> Triple:
    """Return three floats in um from numbers, texts or quantities, or from one text such as "4 4 40 nm"."""
    items = list((three_in(values) or [values]) if isinstance(values, str) else values)
    if len(items) != 3:
        raise ValueError(f"{what} should have three entries for x, y, z; got {len(items)}: {values!r}")
    x, y, z = (convert(item, "um", what) for item in items)
    return x, y, z


def checked_names(names: Mapping[int, str]) -> dict[int, str]:
    """Return label -> name with "outside" for 0; refuse what is no such dict, labels below 0, names given twice."""
    if not isinstance(names, Mapping):
        raise TypeError(f'names should be a dict label -> name, such as {{1: "cytosol"}}; got {names!r}')
    if names and all(isinstance(key, str) and isinstance(value, _WHOLE) for key, value in names.items()):
        turned = ", ".join(f"{int(label)}: {name!r}" for name, label in names.items())
        raise ValueError(f"names should map labels to names; got {dict(names)!r}, turned round: give {{{turned}}}")
    checked = {OUTSIDE: "outside"}
    taken = {"outside"}
    for label in names:
        if not isinstance(label, (*_WHOLE, float, np.floating)) or int(label) != label or label < 0:
            raise ValueError(f"names should map whole labels >= 0 to texts; got {label!r}: {names[label]!r}")
    for label, name in sorted(names.items()):
        if not isinstance(name, str) or not name:
            raise ValueError(f"names should map whole labels >= 0 to texts; got {label!r}: {name!r}")
        if label == OUTSIDE and name != "outside":
            raise ValueError(
                f"label 0 is always 'outside'; got the name {name!r} for it; give that region another label"
            )
        if label != OUTSIDE and name in taken:
            raise ValueError(f"names should be different for every region; {name!r} is given twice")
        taken.add(name)
        checked[int(label)] = name
    return checked


def completed_names(names: Mapping[int, str], *labels: Array) -> dict[int, str]:
    """Give every label that is present a name, "label 3" where none was given."""
    checked = checked_names(names)
    present = {int(label) for array in labels for label in labels_in(array)}
    return checked_names({**{label: name_of(checked, label) for label in present}, **checked})


def labels_in(array: Array) -> Array:
    """Return the different labels of an array, ascending; by marking where that is quicker than sorting."""
    if not array.size or array.max() >= 4 * array.size:
        return np.unique(array)
    flat = array.ravel(order="K")
    there = np.zeros(int(array.max()) + 1, bool)
    # By pieces: numpy copies what it indexes by to 64 bits.
    for first in range(0, flat.size, PIECE):
        there[flat[first : first + PIECE]] = True
    return np.flatnonzero(there)


def counted(array: Array) -> tuple[Array, Array]:
    """Return the different labels of an array, ascending, and how often each is there."""
    if not array.size or array.max() >= 4 * array.size:
        return np.unique(array, return_counts=True)
    flat = array.ravel(order="K")
    counts = np.zeros(int(array.max()) + 1, np.int64)
    for first in range(0, flat.size, PIECE):
        counts += np.bincount(flat[first : first + PIECE].astype(np.intp, copy=False), minlength=len(counts))
    labels = np.flatnonzero(counts)
    return labels, counts[labels]


def checked_voxels(data: Any, as_labels: bool) -> Array:
    """Return labels >= 0 or finite intensities on three axes, in this machine's byte order, or say what is wrong."""
    voxels = np.asarray(data)
    if voxels.dtype == object or voxels.ndim == 0:
        raise TypeError(f"voxels should be an array (nx, ny, nz) of labels or intensities; got {type(data).__name__}")
    if voxels.ndim != 3:
        raise ValueError(f"a volume should have three axes (x, y, z); got shape {voxels.shape}{_rank_advice(voxels)}")
    if voxels.size == 0:
        raise ValueError(f"a volume should hold at least one voxel; got shape {voxels.shape}")
    if voxels.dtype == bool:
        ones = voxels.view(np.uint8)
        # Some readers leave 255 in the bytes of a true.
        return ones if ones.max() <= 1 else (ones != 0).view(np.uint8)
    if voxels.dtype.kind not in "iuf":
        advice = "; take one part of it, for instance abs(data) or data.real" if voxels.dtype.kind == "c" else ""
        raise TypeError(f"voxels should be integers (labels) or floats (intensities); got {voxels.dtype}{advice}")
    # Kernels take foreign bytes for native ones, and know no floats beyond 64 bits.
    kind = np.dtype(np.float64) if voxels.dtype == np.longdouble else voxels.dtype.newbyteorder("=")
    voxels = voxels.astype(kind, copy=False)
    if kind.kind == "f":
        return _checked_floats(voxels, as_labels)
    if kind.kind == "i" and voxels.min() < 0:
        where = tuple(int(i) for i in np.unravel_index(int(voxels.argmin()), voxels.shape))
        raise ValueError(
            f"labels should be >= 0; got {voxels.min()} at voxel {where}; relabel, 0 is outside; or if these are "
            'intensities, make them floats: data.astype(np.float32), or load(..., kind="intensities")'
        )
    return voxels


def _rank_advice(data: Array) -> str:
    if data.ndim > 3 and sum(n > 1 for n in data.shape) <= 3:
        return "; drop the axes of one entry: np.squeeze(data)"
    if data.ndim in (3, 4) and data.shape[-1] in (3, 4):
        return "; if the last axis is colours, give one channel, data[..., 0], or a label to every colour"
    if data.ndim == 4:
        return "; give one channel or time of it, such as data[0]"
    return "; data[:, :, None] makes one plane of a picture" if data.ndim == 2 else ""


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
    return checked_voxels(data.astype(np.int64), as_labels)


def checked_points(points: Any) -> Floats:
    """Return (p, 3) finite floats, or raise a MeshError that lists the rows."""
    array = np.ascontiguousarray(points, np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise MeshError(f"points should have shape (p, 3); got {array.shape}")
    # NaN fails both comparisons; the rows are looked for only where there are some.
    if not array.size or (array.min() >= -MAX_COORDINATE and array.max() <= MAX_COORDINATE):
        return array
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise MeshError(f"points should be finite; {len(bad)} are not, the first is row {bad[0]}: {array[bad[0]]}", bad)
    far = np.flatnonzero((np.abs(array) > MAX_COORDINATE).any(axis=1))
    if len(far):
        raise MeshError(
            f"points should lie within {MAX_COORDINATE:g} um of the origin; {len(far)} do not, the first is row "
            f"{far[0]}: {array[far[0]]}; check the unit",
            far,
        )
    return array


def _whole(values: Any, what: str) -> Ints:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{what} should be whole numbers; got {array.dtype}")
    if array.size and (array.max() > np.iinfo(np.int32).max or array.min() < np.iinfo(np.int32).min):
        raise ValueError(f"{what} should fit 32-bit integers; got {array.min()} ... {array.max()}")
    return np.ascontiguousarray(array, np.int32)


def check_edge(points: Floats, length: float, given: Any) -> None:
    """Refuse an edge (um) longer than the whole body of these points: most often nm that were taken as um."""
    extent = np.ptp(points, axis=0) if len(points) else np.zeros(3)
    if length > extent.max() > 0:
        hint = f'; numbers are um: if nm are meant, write edge="{given:g} nm"' if isinstance(given, int | float) else ""
        raise ValueError(f"edge should be shorter than the body, which is {lengths(extent)} um; got {given!r}{hint}")


def checked_cells(cells: Any, corners: int, n_points: int, what: str) -> Ints:
    """Return (n, corners) int32 rows of the points, or raise a MeshError that lists the rows."""
    array = _whole(cells, what).reshape(-1, corners) if np.size(cells) == 0 else _whole(cells, what)
    if array.ndim != 2 or array.shape[1] != corners:
        raise MeshError(f"{what} should have shape (n, {corners}); got {array.shape}")
    if array.size and (array.min() < 0 or array.max() >= n_points):
        bad = np.flatnonzero(((array < 0) | (array >= n_points)).any(axis=1))
        raise MeshError(
            f"{what} should index the {n_points} points; {len(bad)} rows do not, the first is row {bad[0]}: "
            f"{array[bad[0]].tolist()}",
            bad,
        )
    return array


def checked_sides(sides: Any, n: int, what: str) -> Ints:
    """Return (n, 2) int32 pairs of different regions, or raise a MeshError that lists the rows."""
    array = _whole(sides, "sides").reshape(-1, 2) if np.size(sides) == 0 else _whole(sides, "sides")
    if array.shape != (n, 2):
        raise MeshError(f"sides should have one row of two regions for each of the {n} {what}; got shape {array.shape}")
    if (array < 0).any() or (array[:, 0] == array[:, 1]).any():
        bad = np.flatnonzero((array < 0).any(axis=1) | (array[:, 0] == array[:, 1]))
        raise MeshError(
            f"sides should be two different regions >= 0; {len(bad)} rows are not, the first is row {bad[0]}: "
            f"{array[bad[0]].tolist()}",
            bad,
        )
    return array


def checked_regions(regions: Any, n: int) -> Ints:
    """Return (n,) int32 labels > 0, or raise a MeshError that lists the rows."""
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


def checked_patches(patches: Mapping[str, Any], n: int, what: str) -> dict[str, Ints]:
    """Return name -> ascending int32 rows within the `n` cells."""
    checked = {}
    for name, rows in dict(patches).items():
        array = _whole(rows, f"patch {name!r}").ravel()
        if not (np.diff(array) > 0).all():
            array = np.unique(array)
        if array.size and (array[0] < 0 or array[-1] >= n):
            raise MeshError(f"patch {name!r} should list rows of the {n} {what}; got {array[0]} ... {array[-1]}", array)
        checked[str(name)] = frozen(array)
    return checked
