"""Which of a foreign file's cell arrays holds the regions: known by name, the only one that can, or asked for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError
from meshcell.core.types import Surface, TetMesh
from meshcell.core.validation import OUTSIDE

# The name of a cell array; False takes all cells as one region, None leaves the choice to the reader.
Choice = str | bool | None
# Names that meshers give to the labels of their cells, the surest first.
REGION_ARRAYS = ("region", "regions", "gmsh:physical", "medit:ref", "MaterialIds", "material", "cell_tags", "labels")
MAX_LABEL = 2**31 - 1
# Words in a name that speak for regions.
REGION_WORDS = re.compile(
    r"region|label|material|domain|segment|tag|marker|physical|phase|compartment|zone|attribute|bod(y|ies)|organelle"
    r"|part(_?id)?$|\bref|object|block",
    re.IGNORECASE,
)
# Numbers that programs keep about cells, which are no regions.
BOOKKEEPING = re.compile(
    r"vtk.*|gmsh:(geometrical|dim_tags|bounding_entities)|.*(original|global|pedigree).*|(.*[_\s-])?(cell|element|elem|face|point|node)s?[_\s-]?"
    r"(id|ids|index|number|num)|ids?|index|side[01]|patch\d*(:.*)?|(proc|process|rank|partition|owner).*|red|green|blue|alpha|flags?|quality"
    r"|texnumber|texture.*|colou?rs?|rgba?|normals?",
    re.IGNORECASE,
)


def region_array(
    path: Path, arrays: Mapping[str, Array], regions: Choice, on_points: Mapping[str, Array] | None = None
) -> str | None:
    """Return the name of the array of region labels among the cells' data, None where all cells are one region.

    Floating whole numbers count like integers. What is called like regions but cannot be (several numbers per cell, no
    whole ones, numbers of the points) is a warning where nothing else divides the cells.

    Raises
    ------
    FileError
        An array is asked for that is not there or holds no whole numbers; several arrays could be meant.
    """
    whole = {name: array for name, array in arrays.items() if is_whole(array)}
    if regions is False:
        return None
    if regions is not None and regions is not True:
        if regions not in whole:
            raise FileError(
                f"{path}: regions={regions!r} should name an array of whole numbers on the cells, one per cell; there "
                f"are {_listed(whole) or 'none'}; take one of these, or regions=False for one region"
            )
        return str(regions)
    known = [name for name in REGION_ARRAYS if name in whole]
    integers = [name for name, array in whole.items() if _may_label(name, array)]
    varied = [name for name in integers if (whole[name] != whole[name][0]).any()]
    spoken = [name for name in known if (whole[name] != whole[name][0]).any()]
    spoken = spoken or [name for name in varied if REGION_WORDS.search(name)]
    if not varied and not spoken:
        _mention_unfit(path, arrays, on_points or {})
    if not spoken and len(varied) <= 1:
        return _lone(path, whole, known, integers, varied)
    wanted = spoken or varied
    if any(not same_division(whole[wanted[0]], whole[other]) for other in wanted[1:]):
        raise FileError(
            f"{path}: which array holds the regions? It should be one; {_listed({k: whole[k] for k in wanted})} could; "
            f"give regions={wanted[0]!r} or another, or regions=False for one region"
        )
    others = [name for name in varied if name not in wanted]
    if others:
        warnings.warn(
            f"{path}: regions are taken from the array {wanted[0]!r}, not from {', '.join(others)}; give regions= to "
            "choose another",
            stacklevel=2,
        )
    return wanted[0]


def _may_label(name: str, array: Array) -> bool:
    """Tell whether whole numbers may be labels; floats that are all different count the cells or measure them."""
    if BOOKKEEPING.fullmatch(name):
        return False
    return array.dtype.kind in "iu" or bool(REGION_WORDS.search(name)) or len(np.unique(array)) < len(array)


def _mention_unfit(path: Path, arrays: Mapping[str, Array], on_points: Mapping[str, Array]) -> None:
    """Warn of arrays that are called like regions, but tell none."""

    def called(name: str) -> bool:
        return name.casefold() in {known.casefold() for known in REGION_ARRAYS}

    for name, array in arrays.items():
        if called(name) and not is_whole(array):
            found = f"{array.shape[1]} numbers per cell" if array.ndim > 1 else "numbers that are not whole"
            warnings.warn(
                f"{path}: the array {name!r} should have one whole number per cell to tell regions; it has {found} and "
                "is left out; write the label of every cell, or give regions= another array",
                stacklevel=2,
            )
    for name, array in on_points.items():
        fits = is_whole(array) and len(np.unique(array)) > 1 and not BOOKKEEPING.fullmatch(name)
        if fits and (called(name) or REGION_WORDS.search(name)):
            warnings.warn(
                f"{path}: the array {name!r} belongs to the points, so it tells no regions and is left out; bring "
                "it to the cells, for instance with ParaView's Point Data to Cell Data (Categorical Data)",
                stacklevel=2,
            )


def region_labels(path: Path, arrays: Mapping[str, Array], n: int, found: str | None) -> tuple[Array, dict[int, str]]:
    """Return a label >= 1 of every cell from the array found, and names of new labels (see `positive`)."""
    return positive(path, np.ones(n, np.int64) if found is None else arrays[found].astype(np.int64), found)


def positive(path: Path, labels: Array, found: str | None) -> tuple[Array, dict[int, str]]:
    """Give cells of label 0, the outside here, and labels beyond 32 bits a label and a name of their own."""
    odd = [int(label) for label in np.unique(labels) if not 0 < label < MAX_LABEL]
    if not odd:
        return labels, {}
    if odd == [0] and not labels.any():
        return np.ones_like(labels), {}
    usual = labels[(labels > 0) & (labels < MAX_LABEL)]
    first = int(usual.max(initial=0)) + 1
    if first + len(odd) > MAX_LABEL:
        raise FileError(f"{path}: {found!r} has labels near 2^31 and others beyond; number them anew from 1")
    renamed = {label: first + row for row, label in enumerate(odd)}
    warnings.warn(
        f"{path}: labels of {found!r} that cannot be kept (0 is the outside) get new ones under their old names: "
        + ", ".join(f"{old} -> {new}" for old, new in list(renamed.items())[:6])
        + (f" and {len(odd) - 6} more" if len(odd) > 6 else ""),
        stacklevel=2,
    )
    fresh = labels.copy()
    known = np.isin(labels, odd)
    fresh[known] = first + np.searchsorted(odd, labels[known])
    return fresh, {new: f"label {old}" for old, new in renamed.items()}


def _lone(
    path: Path, whole: Mapping[str, Array], known: list[str], integers: list[str], varied: list[str]
) -> str | None:
    """Choose where no array speaks for itself: the only one that divides the cells, or a known constant one."""
    if varied:
        warnings.warn(
            f"{path}: the array {varied[0]!r} is taken as the regions, {len(np.unique(whole[varied[0]])):,} labels; "
            "give regions=False if it means something else",
            stacklevel=2,
        )
        return varied[0]
    # All cells have the same number: it is the label of the one region.
    return known[0] if known else integers[0] if len(integers) == 1 else None


def is_whole(array: Array) -> bool:
    """Tell whether an array has one whole number per cell."""
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iuf":
        return False
    return array.dtype.kind in "iu" or bool(np.all(np.isfinite(array)) and np.all(array == np.round(array)))


def mention_absent(path: Path, thing: Surface | TetMesh, names: Mapping[int, str]) -> None:
    """Warn of names for labels that a surface or mesh has not."""
    there = set(np.unique(thing.sides if isinstance(thing, Surface) else thing.regions).tolist()) - {OUTSIDE}
    absent = {label: name for label, name in names.items() if label not in there and label != OUTSIDE}
    if absent:
        listed = ", ".join(map(str, sorted(there)[:12])) or "none"
        warnings.warn(
            f"{path}: names= has labels that are not there: {absent}; the labels there are {listed}", stacklevel=2
        )


def same_division(a: Array, b: Array) -> bool:
    """Tell whether two arrays divide the cells alike, whatever their numbers."""
    pairs = len(np.unique(np.stack([a.astype(np.int64), b.astype(np.int64)]), axis=1).T)
    return pairs == len(np.unique(a)) == len(np.unique(b))


def _listed(arrays: Mapping[str, Array]) -> str:
    rows = [f"{name!r} ({len(np.unique(array)):,} values)" for name, array in arrays.items()]
    return ", ".join(rows[:8]) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
