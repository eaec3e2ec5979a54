"""Where a compartment lies in a mesh, and the values of fields at its nodes and cells, or in all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.types import TetMesh
from meshcell.geometry import finite_elements as fem
from meshcell.models.parameters import Field
from meshcell.models.well_mixed import Domain, WellMixed


@dataclass(frozen=True, eq=False)
class BoundCompartment:
    """Where a compartment lies: `rows` of mesh.tets (dimension 3) or mesh.facets (2), `nodes` of mesh.points.

    A pool has a `volume` (um^3), no rows, and one node that is none of the mesh's points: its number is beyond them.
    """

    name: str
    dimension: int
    rows: Ints
    nodes: Ints
    volume: float | None = None

    def corners(self, mesh: Domain) -> Ints:
        """(c, 4) or (c, 3) rows of mesh.points of its cells."""
        return np.asarray((mesh.tets if self.dimension == 3 else mesh.facets)[self.rows])

    def mass(self, mesh: Domain, nodes: Ints | None = None) -> Floats:
        """(m,) um^3 or um^2 that each of its nodes, or of the given rows of mesh.points, stands for."""
        if isinstance(mesh, WellMixed):
            return np.array([mesh.sizes[self.name]])
        if self.volume is not None:
            return np.array([self.volume])
        return np.asarray(fem.lumped_mass(mesh.points, self.corners(mesh))[self.nodes if nodes is None else nodes])

    def require_places(self, what: str) -> None:
        """Refuse a pool for what needs places."""
        if self.volume is not None:
            raise ValueError(
                f"{what} needs places, and {self.name!r} is a pool, which lies nowhere; ask for its mean, or plot it "
                "over time"
            )

    def xyz(self, mesh: Domain) -> Floats:
        """(m, 3) um, where its nodes lie; a pool lies nowhere."""
        return np.zeros((1, 3)) if self.volume is not None else mesh.points[self.nodes]


@dataclass(frozen=True, eq=False)
class WholeValue:
    """A number that a whole state has and rates may read: `weights` (m,) times the values of a species at its nodes."""

    species: str
    weights: Floats

    def of(self, values: Floats) -> float:
        """Return it for values (m,) of the species."""
        # Not a BLAS product, whose last bits hang on the number of rows and threads.
        return float((values * self.weights).sum())


def nodal(field: Field, place: BoundCompartment, mesh: TetMesh, what: str) -> Floats:
    """Return a field's values (m,) at the nodes of a compartment, in base units; errors name `what`."""
    values, at_nodes = _own(field, place, mesh, what)
    if at_nodes:
        return values
    cells = place.corners(mesh)
    weighted = fem.lumped_mass(mesh.points, cells, values)
    return np.asarray(weighted[place.nodes] / fem.lumped_mass(mesh.points, cells)[place.nodes])


def cellwise(field: Field, place: BoundCompartment, mesh: TetMesh, what: str) -> Floats:
    """Return a field's values (c,) in the cells of a compartment, in base units: of nodes, the mean of the corners."""
    values, at_nodes = _own(field, place, mesh, what)
    if not at_nodes:
        return values
    everywhere = np.zeros(len(mesh.points))
    everywhere[place.nodes] = values
    return np.asarray(everywhere[place.corners(mesh)].mean(axis=1))


def _own(field: Field, place: BoundCompartment, mesh: TetMesh, what: str) -> tuple[Array, bool]:
    """Return a field's values at a compartment's own nodes or in its own cells, and whether it is the nodes."""
    cells = mesh.tets if place.dimension == 3 else mesh.facets
    kind, n = ("tetrahedra" if place.dimension == 3 else "facets"), len(field.values)
    at_nodes = n in (len(place.nodes), len(mesh.points)) and field.at != "cells"
    at_cells = n in (len(place.rows), len(cells)) and field.at != "nodes"
    if at_nodes and at_cells:
        raise ValueError(f"{what} has {n} values, which fits nodes and {kind} of {place.name!r}; say which with at=")
    values = field.in_base
    if at_nodes:
        return values if n == len(place.nodes) else values[place.nodes], True
    if at_cells:
        return values if n == len(place.rows) else values[place.rows], False
    raise ValueError(
        f"{what} should have one value per node ({len(place.nodes)}) or cell ({len(place.rows)} {kind}) of "
        f"{place.name!r}, or per point ({len(mesh.points)}) or cell ({len(cells)}) of the mesh; got {n} values"
    )
