"""Compartments without places in them: every species has one value, as where diffusion is fast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core import units
from meshcell.core.arrays import Floats, Ints
from meshcell.core.hints import nearest
from meshcell.core.types import TetMesh
from meshcell.models.compartments import Well
from meshcell.models.equations import is_interface
from meshcell.models.species import Described

UNITS = {3: "um^3", 2: "um^2"}
AREA = units.Unit.of(um=2)


@dataclass(frozen=True, eq=False)
class WellMixed:
    """What a model is bound to where it runs without a mesh, see `well_mixed`.

    Parameters
    ----------
    sizes : dict[str, float]
        Compartment -> um^3, on an interface or patch um^2.
    dimensions : dict[str, int]
        Compartment -> 3 or 2.
    """

    sizes: Mapping[str, float]
    dimensions: Mapping[str, int]

    @property
    def points(self) -> Floats:
        """(1, 3) floats: the one node that all compartments have; it lies nowhere."""
        return np.zeros((1, 3))

    @property
    def edges(self) -> Ints:
        """(0, 2) int32: it has no neighbours."""
        return np.zeros((0, 2), np.int32)

    def __getattr__(self, name: str) -> Any:
        # Protocols of Python ask for what is not there.
        if name.startswith("_"):
            raise AttributeError(name)
        raise TypeError(f"a well-mixed run has no mesh, so no {name!r}; solve(mesh, model, times) on a mesh has")

    def __repr__(self) -> str:
        sizes = (f"{name} {size:.4g} um^{self.dimensions[name]}" for name, size in self.sizes.items())
        return f"WellMixed: {', '.join(sizes)}"


# What a model can be bound to.
Domain = TetMesh | WellMixed


def checked_sizes(model: Described, sizes: Mapping[str, Any] | None) -> WellMixed:
    """Take the sizes of a model's compartments as they are given; without any they are all 1.

    Raises
    ------
    ValueError
        As `well_mixed`.
    """
    names = list(model.compartments)
    # Pools bring their volumes along.
    wells = {name: place.volume for name, place in model.compartments.items() if isinstance(place, Well)}
    given = {**wells, **(dict.fromkeys([name for name in names if name not in wells], 1.0) if sizes is None else sizes)}
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"sizes should be of the model's compartments, {', '.join(names)}; got {unknown[0]!r}"
            f"{nearest(unknown[0], names)}"
        )
    missing = [name for name in names if name not in given]
    if missing:
        raise ValueError(f"compartment {missing[0]!r} needs its volume (um^3) or area (um^2); got none; give all sizes")
    found = {name: _size(model, name, value) for name, value in given.items()}
    return WellMixed({name: found[name][0] for name in names}, {name: found[name][1] for name in names})


def _size(model: Described, name: str, value: Any) -> tuple[float, int]:
    """Return the size of a compartment in base units, and its dimension."""
    what = f"size of compartment {name!r}"
    dimension = 2 if is_interface(model, name) else 3
    # A text may name a region or a patch; only the unit tells.
    if isinstance(model.compartments[name], str) and not units.is_plain(value):
        dimension = 2 if units.to_base(value, what)[1] == AREA else dimension
    number = units.convert(value, UNITS[dimension], what)
    if not 0 < number < math.inf:
        raise ValueError(f"{what} should be positive and finite; got {value!r}")
    return number, dimension
