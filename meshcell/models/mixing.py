"""From volumes and areas, or from a mesh, to a model that runs well mixed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from meshcell.core import units
from meshcell.core.hints import nearest
from meshcell.core.types import TetMesh
from meshcell.models.binding import bound_compartment
from meshcell.models.compartments import Well
from meshcell.models.equations import is_interface
from meshcell.models.model import Model
from meshcell.models.well_mixed import WellMixed

UNITS = {3: "um^3", 2: "um^2"}
AREA = units.Unit.of(um=2)


def well_mixed(model: Model, sizes: Mapping[str, Any] | TetMesh | None = None) -> WellMixed:
    """Take the places out of a model's compartments: volumes and areas are left.

    Parameters
    ----------
    model : Model
    sizes : dict[str, number, text or pint quantity], or TetMesh, or None
        Compartment -> its volume (um^3) or area (um^2), with a unit or without; or the mesh that has them; without
        either they are all 1.

    Returns
    -------
    WellMixed
        For `solve(well_mixed(model, mesh), model, times)`; `solve` also takes the sizes themselves.

    Raises
    ------
    ValueError
        A compartment without a size, sizes that are not positive or of another dimension, names that the model does
        not have.

    Examples
    --------
    >>> from meshcell.models.species import Species
    >>> model = Model({"cyt": "cytosol", "PM": ("cytosol", "outside")}, [Species("A", "cyt")])
    >>> well_mixed(model, {"cyt": 0.6, "PM": "6.6e6 nm^2"})
    WellMixed: cyt 0.6 um^3, PM 6.6 um^2
    """
    names = list(model.compartments)
    if isinstance(sizes, TetMesh):
        places = {name: bound_compartment(model, name, sizes) for name in names}
        volumes = {name: float(place.mass(sizes).sum()) for name, place in places.items()}
        return WellMixed(volumes, {name: place.dimension for name, place in places.items()})
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


def _size(model: Model, name: str, value: Any) -> tuple[float, int]:
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
