"""Recipes of crowded phantoms: what to place, as dataclasses and as TOML, and what was reached."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core import toml_text
from meshcell.core.arrays import Triple
from meshcell.core.hints import nearest
from meshcell.core.types import Surface, Volume
from meshcell.core.validation import checked_spacing
from meshcell.formats.endings import read
from meshcell.phantoms.crowds import filaments, macromolecules, membranes
from meshcell.phantoms.crowds.filaments import Filament
from meshcell.phantoms.crowds.macromolecules import Cluster, Macromolecule
from meshcell.phantoms.crowds.membranes import Membrane
from meshcell.phantoms.crowds.quantities import checked_count

KEYS = ("membranes", "filaments", "macromolecules")


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
        for key, kinds in zip(KEYS, (membranes.KINDS, filaments.KINDS, macromolecules.KINDS), strict=True):
            group = getattr(self, key)
            if not isinstance(group, (tuple, list)) or not all(isinstance(item, kinds) for item in group):
                names = ", ".join(kind.__name__ for kind in kinds)
                raise TypeError(f"{key} should be a list of {names}; got {group!r}")
            object.__setattr__(self, key, tuple(group))
        known = [membrane.name for membrane in self.membranes]
        for group in self.macromolecules:
            if group.membrane and group.membrane not in known:
                raise ValueError(
                    f"membrane of {group.name!r} should be one of {known}; got {group.membrane!r}"
                    f"{nearest(group.membrane, known)}"
                )

    @property
    def species(self) -> list[str]:
        """Names of all membranes, filaments and molecules, in this order."""
        names = [membrane.name for membrane in self.membranes] + [filament.name for filament in self.filaments]
        return names + [member.name for group in self.macromolecules for member in group.members]

    def make(self) -> Any:
        """Make the `Sample`; the same bytes each time."""
        from meshcell.phantoms.crowds.placing import made

        return made(self)


# --- TOML ---


def ingredients() -> dict[str, type]:
    """Return every ingredient's class by its name."""
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
        return toml_text.value(f"{name}.npz")
    return toml_text.value(str(value) if isinstance(value, Path) else value)


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
    content = tomllib.loads(text)
    within = content.pop("within", None)
    kinds = {kind: tuple(_item(entry, kind, folder) for entry in content.pop(kind, [])) for kind in KEYS}
    known = {"shape", "spacing", "tries", "order", "seed"}
    if not content.keys() <= known or not {"shape", "spacing"} <= content.keys():
        raise ValueError(f"a recipe should have shape, spacing and maybe {sorted(known)}; got {sorted(content)}")
    volume = None if within is None else read((folder or Path()) / within)
    content["shape"] = tuple(content["shape"])
    return Recipe(**content, **kinds, within=volume)  # type: ignore[arg-type]


def _item(entry: dict[str, Any], where: str, folder: Path | None) -> Any:

    entry, classes = dict(entry), ingredients()
    kind = entry.pop("kind", None)
    if kind not in classes:
        raise ValueError(f"kind in {where} should be one of {', '.join(classes)}; got {kind!r}{nearest(kind, classes)}")
    known = {field.name for field in fields(classes[kind])}
    if not entry.keys() <= known:
        unknown = sorted(entry.keys() - known)
        hint = nearest(unknown[0], known)
        raise ValueError(f"{kind} in {where} should have options among {', '.join(sorted(known))}; got {unknown}{hint}")
    values: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) and key != "members" else v for key, v in entry.items()
    }
    if "members" in entry:
        values["members"] = tuple(_item(member, f"{where}.members", folder) for member in entry["members"])
    for key in ("density", "surface"):
        if isinstance(values.get(key), str) and values[key].endswith(".npz"):
            values[key] = read((folder or Path()) / values[key])
    return classes[kind](**values)
