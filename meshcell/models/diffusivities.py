"""How fast a species diffuses in every cell of its compartment: from names, formulas, fields and dicts of regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from meshcell.core.arrays import Floats
from meshcell.core.types import TetMesh
from meshcell.models import expressions
from meshcell.models.bound_places import BoundCompartment, cellwise
from meshcell.models.expressions import POSITION, Expression
from meshcell.models.model import Model, field_text
from meshcell.models.parameters import Field, Varying, check_tensors
from meshcell.models.species import Species, written_diffusion

Mask = npt.NDArray[np.bool_]


def diffusivity(model: Model, species: Species, home: BoundCompartment, mesh: TetMesh) -> tuple[float, Floats | None]:
    """Work out the diffusion of a species in the cells of its compartment.

    Formulas are taken at the centres of cells, where they are right to second order; so are fields over nodes.

    Returns
    -------
    largest : float, um^2/s
        Of tensors the largest eigenvalue anywhere.
    shares : (c,) or (c, 3, 3) floats or None
        Of the largest, in every cell; None where it is the same everywhere. Tensors of facets lie in their planes.

    Raises
    ------
    ValueError
        A coefficient below zero or not finite, a tensor that is not symmetric or has an eigenvalue below zero (names
        the place), fields of a length that fits nothing.
    """
    given, parts = [], [*model.diffusion_formulas(species)]
    if len(parts) == 1 and parts[0][0] is None and not _depends_on_place(*parts[0][1:]):
        # What is the same everywhere is looked at in one cell.
        home = replace(home, rows=home.rows[:1])
    for part, formulas, varying in parts:
        own = np.ones(len(home.rows), bool) if part is None else _cells_of(part, home, mesh)
        entries = [_in_cells(formula, varying, species, home, mesh) for formula in formulas]
        tensors = np.stack(entries, axis=-1).reshape(-1, 3, 3) if len(entries) > 1 else entries[0]
        given.append((own, tensors))
    in_tensors = any(found.ndim == 3 for _, found in given)
    values = np.empty((len(home.rows), 3, 3) if in_tensors else len(home.rows))
    for own, found in given:
        values[own] = (found[:, None, None] * np.eye(3) if in_tensors and found.ndim == 1 else found)[own]
    _check(values, species, home, mesh)
    if in_tensors:
        values, largest = _tidied(values, home, mesh)
    else:
        largest = float(values.max(initial=0))
    if largest == 0 or (not in_tensors and (values == largest).all()):
        return largest, None
    shares = values / largest
    shares.flags.writeable = False
    return largest, shares


def _depends_on_place(formulas: Sequence[Expression], varying: Mapping[str, Varying]) -> bool:
    """Tell whether a coefficient, or tensor, may differ from cell to cell or needs a cell's plane."""
    fields = {name for name, value in varying.items() if isinstance(value, Field)}
    named = {name for formula in formulas for name in formula.names}
    return len(formulas) > 1 or formulas[0].tree == "given" or not named.isdisjoint({*POSITION, *fields})


def _check(values: Floats, species: Species, home: BoundCompartment, mesh: TetMesh) -> None:
    """Refuse what is not finite or below zero, and name the place."""

    def where(row: int) -> str:
        centre = mesh.points[home.corners(mesh)[row]].mean(axis=0)
        return f"{centre.round(6).tolist()} um"

    what, source = f"diffusion of species {species.name!r}", written_diffusion(species.diffusion)
    good = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if values.ndim == 1:
        good &= values >= 0
    bad = np.flatnonzero(~good)
    if len(bad):
        raise ValueError(
            f"{what} should be finite and at least 0 um^2/s everywhere; it is not in {len(bad)} of {len(values)} "
            f"cells, the first at {where(bad[0])}: {np.array2string(values[bad[0]], precision=6)} from {source}"
        )
    if values.ndim == 3:
        check_tensors(values, what, lambda row: f" at {where(row)}, from {source}")


def _tidied(tensors: Floats, home: BoundCompartment, mesh: TetMesh) -> tuple[Floats, float]:
    """Return tensors without what rounding left of skewness and below zero, in their facets' planes, and their largest
    eigenvalue.
    """
    tensors = (tensors + tensors.transpose(0, 2, 1)) / 2
    if home.dimension == 2:
        normals = mesh.area_vectors[home.rows] / mesh.areas[home.rows][:, None]
        flat = np.eye(3) - normals[:, :, None] * normals[:, None, :]
        tensors = np.einsum("cij,cjk,clk->cil", flat, tensors, flat)
    sizes, ways = np.linalg.eigh(tensors)
    low = sizes[:, 0] < 0
    kept = np.maximum(sizes[low], 0)[:, None, :]
    tensors[low] = np.einsum("cij,ckj->cik", ways[low] * kept, ways[low])
    return tensors, float(sizes.max(initial=0))


def _cells_of(part: str, home: BoundCompartment, mesh: TetMesh) -> Mask:
    """Tell which cells of a compartment are in one of the regions or patches that it unites."""
    if home.dimension == 2:
        return np.isin(home.rows, mesh.patches[part])
    labels = [label for label, name in mesh.names.items() if name == part]
    return np.isin(mesh.regions[home.rows], labels)


def _in_cells(
    formula: Expression, varying: Mapping[str, Varying], species: Species, home: BoundCompartment, mesh: TetMesh
) -> Floats:
    """(c,) values of a formula; of a field given in place its own values, which may be tensors (c, 3, 3)."""
    used = {name: value for name, value in varying.items() if name in formula.names and isinstance(value, Field)}
    what = f"diffusion of species {species.name!r}"
    fields = [cellwise(value, home, mesh, field_text(name, what)) for name, value in used.items()]
    if formula.tree == "given":
        return fields[0]
    centres = mesh.points[home.corners(mesh)].mean(axis=1) if set(POSITION) & set(formula.names) else None
    xyz = np.zeros((len(home.rows), 3)) if centres is None else centres
    return np.asarray(expressions.compile(formula, (*POSITION, *used))(*xyz.T, *fields))
