"""Which nodes of a mesh are at home on a rank, in which order, and the stiffness and mass that belong to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from meshcell.core import adjacency
from meshcell.core.arrays import Floats, Ints
from meshcell.geometry import finite_elements as fem
from meshcell.models.bound_places import BoundCompartment
from meshcell.models.well_mixed import Domain, WellMixed
from meshcell.solving.ranks import Ranks

Rows = npt.NDArray[np.int64]


class Numbering:
    """An order of the points that carry species: rank by rank, neighbours close together.

    Arrays of nodes are as long as the mesh has points; what is as long as its cells, each rank has of its own.

    Parameters
    ----------
    mesh : TetMesh or WellMixed
    homes : list of BoundCompartment
        Where species live; pools have numbers beyond the mesh's points.
    ranks : Ranks
    """

    def __init__(self, mesh: Domain, homes: list[BoundCompartment], ranks: Ranks) -> None:
        self.mesh, self.ranks = mesh, ranks
        self.n_points = len(mesh.points) + sum(home.volume is not None for home in homes)
        used = np.zeros(self.n_points, bool)
        for home in homes:
            used[home.nodes] = True
        self.owners = ranks.owners(mesh, used)
        own = self._neighbours_together()
        own = own[used[own]]
        ordered = ranks.joined(own)
        self.order = np.full(self.n_points, -1, np.int64)
        self.order[ordered] = np.arange(len(ordered))
        first = int(self.order[own[0]]) if len(own) else 0
        # The numbers that are at home here.
        self.here = slice(first, first + len(own))
        self._sorted: dict[str, Rows] = {}

    def _neighbours_together(self) -> Rows:
        """Return the points that are at home here, those that edges join near each other."""
        if self.ranks.size == 1:
            graph = _adjacency(self.mesh.edges, self.n_points)
            return adjacency.cuthill_mckee(graph.indptr, graph.indices)[::-1].astype(np.int64)
        own = np.flatnonzero(self._own)
        lookup = np.full(self.n_points, -1, np.int32)
        lookup[own] = np.arange(len(own))
        pairs = lookup[adjacency.edges(self.mesh.tets[self._touching], len(self.mesh.points))[0]]
        graph = _adjacency(pairs[(pairs >= 0).all(axis=1)], len(own))
        return own[adjacency.cuthill_mckee(graph.indptr, graph.indices)[::-1]]

    @cached_property
    def _own(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.owners == self.ranks.rank)

    @cached_property
    def _touching(self) -> npt.NDArray[np.bool_]:
        """(n,) whether a tetrahedron has a node that is at home here."""
        return np.asarray(self._own[self.mesh.tets].any(axis=1))

    def sorted(self, home: BoundCompartment) -> Rows:
        """(m,) which of a compartment's nodes comes first, second, and so on: rank by rank, each in order."""
        if home.name not in self._sorted:
            self._sorted[home.name] = np.lexsort((self.order[home.nodes], self.owners[home.nodes]))
        return self._sorted[home.name]

    def rows(self, home: BoundCompartment) -> slice:
        """Return which of a compartment's nodes, sorted, are at home here."""
        owners = self.owners[home.nodes[self.sorted(home)]]
        first, last = np.searchsorted(owners, [self.ranks.rank, self.ranks.rank + 1])
        return slice(int(first), int(last))

    def mass(self, home: BoundCompartment) -> Floats:
        """(own,) um^3 or um^2 that the nodes of a compartment, sorted, that are at home here stand for."""
        if isinstance(self.mesh, WellMixed) or home.volume is not None:
            return home.mass(self.mesh)[self.rows(home)]
        part = self._part(home)
        return fem.lumped_mass(self.mesh.points[part.points], part.cells)[part.own]

    def stiffness(self, home: BoundCompartment, shares: Floats | None = None) -> sp.csr_array:
        """Assemble (own, m) the rows of K at home here, weighted with `shares` of the compartment's cells; sorted."""
        mine = self.rows(home)
        if isinstance(self.mesh, WellMixed) or home.volume is not None:
            return sp.csr_array((mine.stop - mine.start, 1))
        part = self._part(home)
        K = fem.stiffness(self.mesh.points[part.points], part.cells, None if shares is None else shares[part.kept])
        if self.ranks.size == 1:
            return K
        K = K[part.own]
        columns = part.places[K.indices].astype(K.indices.dtype)
        return sp.csr_array((K.data, columns, K.indptr), shape=(K.shape[0], len(home.nodes)))

    def _part(self, home: BoundCompartment) -> Part:
        """Find the cells of a compartment that touch nodes which are at home here."""
        nodes = home.nodes[self.sorted(home)]
        cells = self.mesh.tets if home.dimension == 3 else self.mesh.facets
        if self.ranks.size == 1:
            kept: Any = slice(None)
            places = np.arange(len(nodes))
        else:
            kept = self._touching[home.rows] if home.dimension == 3 else self._own[cells[home.rows]].any(axis=1)
            there = np.zeros(self.n_points, bool)
            there[cells[home.rows[kept]]] = True
            places = np.flatnonzero(there[nodes])
        points, mine = nodes[places], self.rows(home)
        lookup = np.full(self.n_points, -1, np.int32)
        lookup[points] = np.arange(len(points))
        own = slice(*np.searchsorted(places, [mine.start, mine.stop]).tolist())
        return Part(points, lookup[cells[home.rows[kept]]], kept, own, places)


@dataclass(frozen=True, eq=False)
class Part:
    """What a rank needs of a compartment: the cells that touch its nodes, and these cells' points.

    Parameters
    ----------
    points : (p,) rows of mesh.points, sorted
    cells : (c, 4) or (c, 3) rows of `points`
    kept : (all cells,) bools
    own : slice
        The points that are at home here.
    places : (p,) ints
        Which of all nodes of the compartment, sorted, the points are.
    """

    points: Ints
    cells: Ints
    kept: Any
    own: slice
    places: Rows


def _adjacency(pairs: Any, n: int) -> sp.csr_array:
    both = np.concatenate([pairs, pairs[:, ::-1]])
    return sp.csr_array((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(n, n))
