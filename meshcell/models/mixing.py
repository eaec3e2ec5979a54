"""From volumes and areas, or from a mesh, to a model that runs well mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshcell.core.types import TetMesh
from meshcell.models.binding import bound_compartment
from meshcell.models.model import Model
from meshcell.models.well_mixed import WellMixed, checked_sizes


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
    return checked_sizes(model, sizes)
