"""Compartments without places in them: every species has one value, as where diffusion is fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats, Ints
from meshcell.core.types import TetMesh


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
