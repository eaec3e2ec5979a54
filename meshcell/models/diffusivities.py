"""How fast a species diffuses in every cell of its compartment: from names, formulas, fields and dicts of regions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from meshcell.core.arrays import Floats
from meshcell.core.types import TetMesh
from meshcell.models import expressions
from meshcell.models.bound_places import BoundCompartment, cellwise
from meshcell.models.expressions import POSITION, Expression
from meshcell.models.model import Model, field_text
from meshcell.models.parameters import Field, Varying
from meshcell.models.species import Species, written_diffusion

Mask = npt.NDArray[np.bool_]


def diffusivity(model: Model, species: Species, home: BoundCompartment, mesh: TetMesh) -> tuple[float, Floats | None]:
    """Work out the diffusion of a species in the cells of its compartment.

    Formulas are taken at the centres of cells, where they are right to second order; so are fields over nodes.

    Returns
    -------
    largest : float, um^2/s
    shares : (c,) floats or None
        Of the largest, in every cell; None where it is the same everywhere.

    Raises
    ------
    ValueError
        A coefficient below zero or not finite (names the place), fields of a length that fits nothing.
    """
    values = np.empty(len(home.rows))
    for part, formula, varying in model.diffusion_formulas(species):
        own = np.ones(len(home.rows), bool) if part is None else _cells_of(part, home, mesh)
        values[own] = _in_cells(formula, varying, species, home, mesh)[own]
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        where = mesh.points[home.corners(mesh)[bad[0]]].mean(axis=0).round(6).tolist()
        raise ValueError(
            f"diffusion of species {species.name!r} should be finite and at least 0 um^2/s everywhere; it is not in "
            f"{len(bad)} of {len(values)} cells, the first at {where} um: {values[bad[0]]:g} from "
            f"{written_diffusion(species.diffusion)}"
        )
    largest = float(values.max(initial=0))
    if (values == largest).all():
        return largest, None
    shares = values / largest
    shares.flags.writeable = False
    return largest, shares


def _cells_of(part: str, home: BoundCompartment, mesh: TetMesh) -> Mask:
    """Tell which cells of a compartment are in one of the regions or patches that it unites."""
    if home.dimension == 2:
        return np.isin(home.rows, mesh.patches[part])
    labels = [label for label, name in mesh.names.items() if name == part]
    return np.isin(mesh.regions[home.rows], labels)


def _in_cells(
    formula: Expression, varying: Mapping[str, Varying], species: Species, home: BoundCompartment, mesh: TetMesh
) -> Floats:
    used = {name: value for name, value in varying.items() if name in formula.names and isinstance(value, Field)}
    what = f"diffusion of species {species.name!r}"
    fields = [cellwise(value, home, mesh, field_text(name, what)) for name, value in used.items()]
    centres = mesh.points[home.corners(mesh)].mean(axis=1) if set(POSITION) & set(formula.names) else None
    xyz = np.zeros((len(home.rows), 3)) if centres is None else centres
    return expressions.compile(formula, (*POSITION, *used))(*xyz.T, *fields)
