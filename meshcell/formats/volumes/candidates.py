"""Which of several arrays in a file is the wanted one; where only the user knows, a question that lists them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meshcell.core.files import FileError

# What arrays are called in files that hold grey values beside labels, by the last part of their name.
RAW_NAMES = frozenset(
    (
        "raw",
        "data",
        "image",
        "images",
        "img",
        "em",
        "grey",
        "gray",
        "greyscale",
        "grayscale",
        "intensity",
        "intensities",
    )
)
LABEL_NAMES = frozenset(
    ("label", "labels", "segmentation", "seg", "neuron_ids", "mask", "masks", "stack", "bodies", "instances", "ids")
)


@dataclass(frozen=True)
class Candidate:
    """An array that may be the volume: its name, shape and type."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def last(self) -> str:
        """The last part of the name, in small letters."""
        return self.name.rstrip("/").rpartition("/")[2].lower()

    @property
    def is_raw(self) -> bool:
        """Tell whether this cannot well be labels: floating, or called as grey values are."""
        return self.dtype.kind == "f" or self.last in RAW_NAMES

    @property
    def kind(self) -> str | None:
        """What the name alone says; "data" says nothing."""
        return "intensities" if self.last in RAW_NAMES - {"data"} else None

    def __str__(self) -> str:
        return f"{self.name} {self.shape} {self.dtype}"


def chosen(path: Path, candidates: Sequence[Candidate], dataset: str | None, kind: str | None) -> Candidate:
    """Return the array that was asked for, or the one that is meant beyond doubt.

    That is the only one; else the only one that is called as labels are and not floating (CREMI's
    `volumes/labels/neuron_ids` beside `volumes/raw`, PlantSeg's `label` beside `raw`), with a warning where others may
    be labels, too; else the only one of 32 bits or more beside grey values. With `kind="intensities"` the only one of
    the grey values.

    Raises
    ------
    FileError
        None, no such one, or several: the message lists them with shape and type.
    """
    there = ", ".join(map(str, candidates)) or "none with three axes of numbers"
    if not candidates:
        raise FileError(f"{path} should hold an array with three axes; it has {there}")
    if dataset is not None:
        return _named(path, candidates, dataset, there)
    if len(candidates) == 1:
        return candidates[0]
    raw = [candidate for candidate in candidates if candidate.is_raw]
    labels = [candidate for candidate in candidates if not candidate.is_raw]
    called = [candidate for candidate in labels if candidate.last in LABEL_NAMES]
    if kind == "intensities":
        wanted = raw if len(raw) == 1 else [candidate for candidate in candidates if candidate not in called]
    elif len(called) == 1:
        wanted = called
    else:
        # Grey values have 8 or 16 bits.
        wanted = [candidate for candidate in labels if kind == "labels" or candidate.dtype.itemsize >= 4]
        wanted = wanted if len(labels) == 1 else []
    if len(wanted) == 1:
        _mention_others(path, wanted[0], [candidate for candidate in labels if kind != "intensities"])
        return wanted[0]
    example = (labels or raw)[0].name.lstrip("/")
    raise FileError(
        f"{path}: one array should be chosen of {there}; say which, for instance load(..., dataset={example!r})"
    )


def _mention_others(path: Path, taken: Candidate, labels: Sequence[Candidate]) -> None:
    others = ", ".join(str(other) for other in labels if other is not taken)
    if others:
        warnings.warn(f"{path}: {taken} is taken; there are also {others}; dataset= chooses", stacklevel=2)


def _named(path: Path, candidates: Sequence[Candidate], dataset: str, there: str) -> Candidate:
    """Return the array of this name, whole or by its last part where that is enough."""
    if not isinstance(dataset, str):
        raise FileError(f"{path}: dataset should be the name of an array; got {dataset!r}; there are {there}")
    whole = [candidate for candidate in candidates if candidate.name.strip("/") == dataset.strip("/")]
    short = [candidate for candidate in candidates if candidate.last == dataset.strip("/").lower()]
    found = whole or short
    if len(found) != 1:
        many = "several end in" if found else "there is no array"
        raise FileError(f"{path}: {many} {dataset!r}; there are {there}")
    return found[0]
