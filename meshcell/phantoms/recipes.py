"""Recipes of crowded phantoms: what to place, as dataclasses and as TOML, and what was reached."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meshcell.types import Sample, Surface, Triple, Volume, checked_spacing
from meshcell.units import convert

if TYPE_CHECKING:
    from meshcell.phantoms.filaments import Filament
    from meshcell.phantoms.macromolecules import Cluster, Macromolecule
    from meshcell.phantoms.membranes import Membrane


@dataclass(frozen=True)
class Reached:
    """What one species of a recipe came to.

    Parameters
    ----------
    species : str
    asked, reached : float
        Share of the box's voxels; of the membrane's area for what is bound to one.
    units : int
        Placed units; of filaments their subunits' groups.
    chains : int
        Membranes, filaments or clusters.
    why : str
        Empty where the target was reached, else what ended it.
    """

    species: str
    asked: float
    reached: float
    units: int
    chains: int
    why: str = ""

    def __str__(self) -> str:
        end = f"; {self.why}" if self.why else ""
        return f"  {self.species}: {self.reached:.3%} of {self.asked:.3%}, {self.units:,} units{end}"


@dataclass(frozen=True, eq=False)
class Recipe:
    """All that `crowd` needs for the same bytes again.

    Parameters
    ----------
    shape : three ints
    spacing : three floats, um
    membranes, filaments, macromolecules : tuples of ingredients
    tries : int
    order : "largest" or "given"
    seed : int
    within : Volume or None
        Labels of the compartments.
    """

    shape: tuple[int, int, int]
    spacing: Triple
    membranes: tuple[Membrane, ...] = ()
    filaments: tuple[Filament, ...] = ()
    macromolecules: tuple[Macromolecule | Cluster, ...] = ()
    tries: int = 100
    order: str = "largest"
    seed: int = 0
    within: Volume | None = None

    def __post_init__(self) -> None:
        x, y, z = (int(n) for n in self.shape)
        if min(x, y, z) < 1:
            raise ValueError(f"shape should be three positive whole numbers; got {self.shape}")
        object.__setattr__(self, "shape", (x, y, z))
        object.__setattr__(self, "spacing", checked_spacing(self.spacing))
        if int(self.tries) != self.tries or self.tries < 1:
            raise ValueError(f"tries should be a whole number >= 1; got {self.tries!r}")
        if self.order not in ("largest", "given"):
            raise ValueError(f"order should be 'largest' or 'given'; got {self.order!r}")
        for kind in ("membranes", "filaments", "macromolecules"):
            object.__setattr__(self, kind, tuple(getattr(self, kind)))
        if self.within is not None:
            self.within.require_labels("within")
            if self.within.data.shape != self.shape or not np.allclose(self.within.spacing, self.spacing):
                raise ValueError(
                    f"within should have the shape {self.shape} and spacing {self.spacing} of the sample; got "
                    f"{self.within.data.shape} and {self.within.spacing}"
                )

    def make(self) -> Sample:
        """Make the sample; the same bytes each time."""
        from meshcell.phantoms.crowds import made

        return made(self)


def drawn(value: Any, unit: str, what: str, rng: np.random.Generator) -> float:
    """Return a number or a quantity in `unit`; of a pair, a uniform draw from the range.

    Examples
    --------
    >>> drawn("8 nm", "um", "radius", np.random.default_rng(0))
    0.008
    """
    low, high = limits(value, unit, what)
    # One draw in either case, so that a range that shrinks to a number leaves the rest of the sample alone.
    at = rng.random()
    return low if low == high else low + at * (high - low)


def limits(value: Any, unit: str, what: str) -> tuple[float, float]:
    """Return both ends of a range, or twice a single value.

    Raises
    ------
    ValueError
        A range upside down, or not of two values.
    """
    both = value if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise ValueError(f"{what} should be one value or a range (low, high); got {value!r}")
    low, high = (float(v) if unit == "" else convert(v, unit, what) for v in both)
    if not low <= high or not np.isfinite([low, high]).all():
        raise ValueError(f"{what} should be a finite range (low, high); got {value!r}")
    return low, high


# --- TOML ---


def ingredients() -> dict[str, type]:
    """Return every ingredient's class by its name."""
    from meshcell.phantoms import filaments, macromolecules, membranes

    classes = [*membranes.KINDS, *filaments.KINDS, *macromolecules.KINDS]
    return {kind.__name__: kind for kind in classes}


def to_toml(recipe: Recipe) -> str:
    """Write a recipe as TOML; a Volume or Surface in it is named by the file that `save` puts beside it."""
    lines = [f"shape = {_value(recipe.shape)}", f"spacing = {_value(recipe.spacing)}"]
    lines += [f"{key} = {_value(getattr(recipe, key))}" for key in ("tries", "order", "seed")]
    if recipe.within is not None:
        lines.append('within = "within.npz"')
    for kind in ("membranes", "filaments", "macromolecules"):
        for item in getattr(recipe, kind):
            lines += ["", f"[[{kind}]]", *_table(item, kind)]
    return "\n".join(lines) + "\n"


def _table(item: Any, path: str) -> list[str]:
    lines, nested = [f"kind = {_value(type(item).__name__)}"], []
    for field in fields(item):
        value = getattr(item, field.name)
        if value is None or (not isinstance(value, (Volume, Surface)) and value == field.default):
            continue
        if field.name == "members":
            for member in value:
                nested += ["", f"[[{path}.members]]", *_table(member, f"{path}.members")]
        else:
            lines.append(f"{field.name} = {_value(value, item.name)}")
    return lines + nested


def _value(value: Any, name: str = "") -> str:
    if isinstance(value, (Volume, Surface)):
        return json.dumps(f"{name}.npz")
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    return json.dumps(str(value), ensure_ascii=False)


def from_toml(text: str, folder: Path | None = None) -> Recipe:
    """Read a recipe; file names are looked up in `folder`.

    Raises
    ------
    ValueError
        No TOML, an unknown kind or option; names it and what there is.

    Examples
    --------
    >>> recipe = from_toml('''
    ... shape = [100, 100, 50]
    ... spacing = "1 nm"
    ... [[macromolecules]]
    ... kind = "Macromolecule"
    ... name = "ribosome"
    ... occupancy = 0.05
    ... ''')
    >>> recipe.macromolecules[0].name
    'ribosome'
    """
    from meshcell.io import load

    content = tomllib.loads(text)
    within = content.pop("within", None)
    kinds = {
        kind: tuple(_item(entry, kind, folder) for entry in content.pop(kind, []))
        for kind in ("membranes", "filaments", "macromolecules")
    }
    known = {"shape", "spacing", "tries", "order", "seed"}
    if not content.keys() <= known or not {"shape", "spacing"} <= content.keys():
        raise ValueError(f"a recipe should have shape, spacing and maybe {sorted(known)}; got {sorted(content)}")
    volume = None if within is None else load((folder or Path()) / within)
    content["shape"] = tuple(content["shape"])
    return Recipe(**content, **kinds, within=volume)  # type: ignore[arg-type]


def _item(entry: dict[str, Any], where: str, folder: Path | None) -> Any:
    from meshcell.io import load

    entry, classes = dict(entry), ingredients()
    kind = entry.pop("kind", None)
    if kind not in classes:
        raise ValueError(f"kind in {where} should be one of {', '.join(classes)}; got {kind!r}")
    known = {field.name for field in fields(classes[kind])}
    if not entry.keys() <= known:
        unknown = sorted(entry.keys() - known)
        raise ValueError(f"{kind} in {where} should have options among {', '.join(sorted(known))}; got {unknown}")
    values: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) and key != "members" else v for key, v in entry.items()
    }
    if "members" in entry:
        values["members"] = tuple(_item(member, f"{where}.members", folder) for member in entry["members"])
    for key in ("density", "surface"):
        if isinstance(values.get(key), str) and values[key].endswith(".npz"):
            values[key] = load((folder or Path()) / values[key])
    return classes[kind](**values)
