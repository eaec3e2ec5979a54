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


KEYS = ("membranes", "filaments", "macromolecules")
# Signs of a name that the motif table holds.
LONGEST = 64


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
        sizes = tuple(self.shape)
        if len(sizes) != 3 or any(n != int(n) or n < 1 for n in sizes):
            raise ValueError(f"shape should be three positive whole numbers; got {self.shape}")
        object.__setattr__(self, "shape", tuple(int(n) for n in sizes))
        object.__setattr__(self, "spacing", checked_spacing(self.spacing))
        checked_count(self.tries, "tries")
        if self.order not in ("largest", "given"):
            raise ValueError(f"order should be 'largest' or 'given'; got {self.order!r}")
        self._check_ingredients()
        if self.within is not None:
            self.within.require_labels("within")
            if self.within.data.shape != self.shape or not np.allclose(self.within.spacing, self.spacing):
                raise ValueError(
                    f"within should have the shape {self.shape} and spacing {self.spacing} of the sample; got "
                    f"{self.within.data.shape} and {self.within.spacing}"
                )

    def _check_ingredients(self) -> None:
        from meshcell.phantoms import filaments, macromolecules, membranes

        for key, kinds in zip(KEYS, (membranes.KINDS, filaments.KINDS, macromolecules.KINDS), strict=True):
            group = getattr(self, key)
            if not isinstance(group, (tuple, list)) or not all(isinstance(item, kinds) for item in group):
                names = ", ".join(kind.__name__ for kind in kinds)
                raise TypeError(f"{key} should be a list of {names}; got {group!r}")
            object.__setattr__(self, key, tuple(group))
        known = [membrane.name for membrane in self.membranes]
        for group in self.macromolecules:
            if group.membrane and group.membrane not in known:
                raise ValueError(f"membrane of {group.name!r} should be one of {known}; got {group.membrane!r}")

    @property
    def species(self) -> list[str]:
        """Names of all membranes, filaments and molecules, in this order."""
        names = [membrane.name for membrane in self.membranes] + [filament.name for filament in self.filaments]
        return names + [member.name for group in self.macromolecules for member in group.members]

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


def bounded(value: Any, unit: str, what: str, least: float = 0.0, *, open_: bool = False) -> tuple[float, float]:
    """Return the ends of a range that keeps at or, where `open_`, above its least value.

    Raises
    ------
    ValueError
        A range that goes below.
    """
    low, high = limits(value, unit, what)
    if low < least or (open_ and low == least):
        bound = "positive" if open_ and least == 0 else f"at least {least:g}"
        raise ValueError(f"{what} should be {bound}; got {value!r}")
    return low, high


def checked_share(occupancy: Any, name: str) -> None:
    """Refuse an occupancy outside 0 ... 1."""
    low, high = limits(occupancy, "", f"occupancy of {name!r}")
    if not 0 <= low <= high <= 1:
        raise ValueError(f"occupancy of {name!r} should be a share from 0 to 1; got {occupancy!r}; 25 % is 0.25")


def checked_count(value: Any, what: str, least: int = 1) -> None:
    """Refuse what is not a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{what} should be a whole number >= {least}; got {value!r}")


def checked_group(name: Any, occupancy: Any, tries: Any) -> None:
    """Refuse a name that does not fit the motif table or a file's name, a bad occupancy, bad tries."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST or set(name) & set("/\\\n"):
        raise ValueError(f"name should be a text of 1 to {LONGEST} signs without slashes; got {name!r}")
    checked_share(occupancy, name)
    if tries is not None:
        checked_count(tries, f"tries of {name!r}")


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
    for kind in KEYS:
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
    kinds = {kind: tuple(_item(entry, kind, folder) for entry in content.pop(kind, [])) for kind in KEYS}
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
