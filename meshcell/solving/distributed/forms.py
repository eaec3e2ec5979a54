"""A model as forms of UFL on dolfinx's mesh, for those who want to change them by hand."""

from __future__ import annotations

import functools
import importlib
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meshcell.core.arrays import Floats, distinct_rows
from meshcell.core.types import TetMesh
from meshcell.models.binding import BoundSpecies, System, bind
from meshcell.models.bound_places import BoundCompartment, nodal
from meshcell.models.expressions import POSITION
from meshcell.models.formula_trees import read_whole, walk
from meshcell.models.model import Model, field_text
from meshcell.models.parameters import Field
from meshcell.models.species import Pool
from meshcell.solving.distributed.libraries import libraries

Rows = npt.NDArray[np.int64]
# Lumped mass, and reactions at the nodes; exact for gradients, which are the same all over a cell.
AT_NODES: dict[str, Any] = {"quadrature_rule": "vertex", "quadrature_degree": 1}


@dataclass(frozen=True, eq=False)
class Forms:
    """M du/dt = rates, species by species, with what a script of dolfinx needs to go on from there.

    Parameters
    ----------
    domain : dolfinx.mesh.Mesh
        All tetrahedra, in um.
    space : dolfinx.fem.FunctionSpace
        P1 on all of them; a species means nothing outside its compartment, where its rows are empty.
    nodes : (dofs,) int64
        Which of the mesh's points every degree of freedom of this rank is, those of its neighbours included.
    values : dict[str, dolfinx.fem.Function]
        Species -> values in molecules/um^3 or molecules/um^2, at first the initial ones.
    t : dolfinx.fem.Constant, s
    test, trial : ufl.Argument
    masses : dict[str, ufl.Form]
        Species -> lumped mass, bilinear, um^3 or um^2.
    rates : dict[str, ufl.Form]
        Species -> reactions at the nodes less diffusion, linear in `test`, molecules/s. Fixed values are not in them.
    courses : dict[str, (dolfinx.fem.Constant, callable)]
        Parameters that change in time: `advance` sets them.
    """

    domain: Any
    space: Any
    nodes: Rows
    values: dict[str, Any]
    t: Any
    test: Any
    trial: Any
    masses: dict[str, Any]
    rates: dict[str, Any]
    courses: dict[str, tuple[Any, Callable[[float], float]]]

    def advance(self, t: float) -> None:
        """Set the time (s), and the parameters that change in it."""
        self.t.value = t
        for constant, course in self.courses.values():
            constant.value = course(t)


def forms(mesh: TetMesh, model: Model) -> Forms:
    """Write a model as forms of UFL, which discretise as our engines do: P1, lumped mass, reactions at the nodes.

    All ranks of MPI.COMM_WORLD call it with the same mesh, which dolfinx shares out among them.

    Parameters
    ----------
    mesh : TetMesh
    model : Model

    Returns
    -------
    Forms

    Raises
    ------
    ImportError
        Without dolfinx; says how to get it.
    ValueError
        What has no place in a form: pools, means and totals in rates, `floor` and `ceil`, diffusion on a membrane that
        differs from facet to facet; and as `bind`.

    Examples
    --------
    >>> forms(mesh, model).rates["Ca"]  # doctest: +SKIP
    """
    libraries()
    system = bind(model, mesh)
    for item in model.species:
        if isinstance(item, Pool):
            raise ValueError(f"forms are for species with places; {item.name!r} is a pool: leave it to solve")
    return _Writer(mesh, model, system).written()


class _Writer:
    """The parts of forms that hang together."""

    def __init__(self, mesh: TetMesh, model: Model, system: System) -> None:
        names = ("ufl", "dolfinx.fem", "dolfinx.mesh")
        self.ufl, self.fem, self.dmesh = map(importlib.import_module, names)
        self.mesh, self.model, self.system = mesh, model, system
        self.domain = libraries().shared_mesh(self.mesh.points, self.mesh.tets)
        self.space = self.fem.functionspace(self.domain, ("Lagrange", 1))
        self.nodes = self._points_of(self.space.dofmap.list)
        self.t = self.fem.Constant(self.domain, 0.0)
        self.test, self.trial = self.ufl.TestFunction(self.space), self.ufl.TrialFunction(self.space)
        self.values = {name: self._function(item.compartment, item.initial) for name, item in system.species.items()}
        self.courses: dict[str, tuple[Any, Callable[[float], float]]] = {
            name: (self.fem.Constant(self.domain, value(0.0)), value)
            for name, value in model.varying.items()
            if not isinstance(value, Field)
        }
        self._operations = _operations(self.ufl)

    def written(self) -> Forms:
        """Return them all."""
        masses, rates = {}, {}
        for name, item in self.system.species.items():
            masses[name] = self._over(item.compartment, self.trial * self.test)
            rates[name] = -self._over(item.compartment, self._flux(item))
        for reaction in self.system.reactions:
            rate = self._rate(reaction.name, reaction.compartment)
            for name, change in reaction.change.items():
                rates[name] += self._over(reaction.compartment, change * rate * self.test)
        arguments = self.t, self.test, self.trial
        return Forms(self.domain, self.space, self.nodes, self.values, *arguments, masses, rates, self.courses)

    def _over(self, place: BoundCompartment, integrand: Any) -> Any:
        """Integrate over a compartment; of facets with cells on both sides, by either one's values, which agree."""
        ids = self._cells_there[1][place.name] if place.dimension == 3 else self._facets_there[1][place.name]
        if place.dimension == 3:
            return integrand * self._measure("dx")(ids, metadata=AT_NODES)
        outside, inside = self._measure("ds")(ids, metadata=AT_NODES), self._measure("dS")(ids, metadata=AT_NODES)
        return integrand * outside + integrand("+") * inside

    def _measure(self, kind: str) -> Any:
        tags = self._cells_there[0] if kind == "dx" else self._facets_there[0]
        return self.ufl.Measure(kind, domain=self.domain, subdomain_data=tags)

    @functools.cached_property
    def _cells_there(self) -> tuple[Any, dict[str, tuple[int, ...]]]:
        return self._tagged(3, len(self.mesh.tets), self._cells)

    @functools.cached_property
    def _facets_there(self) -> tuple[Any, dict[str, tuple[int, ...]]]:
        return self._tagged(2, len(self.mesh.facets), self._facets)

    def _tagged(self, dimension: int, n: int, ours: Rows) -> tuple[Any, dict[str, tuple[int, ...]]]:
        """Tag cells or facets by the compartments that they are in; a form has room for one set of tags.

        Returns the tags, and the ids that make up every compartment.
        """
        places = [place for place in self.system.compartments.values() if place.dimension == dimension]
        there = np.zeros((n, len(places)), np.int32)
        for k, place in enumerate(places):
            there[place.rows, k] = 1
        kinds = distinct_rows(there)
        at = np.flatnonzero(ours >= 0).astype(np.int32)
        tags = self.dmesh.meshtags(self.domain, dimension, at, kinds.groups[ours[at]].astype(np.int32))
        ids = {place.name: tuple(np.flatnonzero(kinds.rows[:, k]).tolist()) for k, place in enumerate(places)}
        return tags, ids

    # --- what is what: by dolfinx's own account of what it was given, not by search ---

    @functools.cached_property
    def _cells(self) -> Rows:
        """(cells,) the tetrahedra of ours that this rank's cells are."""
        return np.asarray(self.domain.topology.original_cell_index)

    @functools.cached_property
    def _facets(self) -> Rows:
        """(faces,) the facets of ours that this rank's faces are, -1 for those within regions."""
        topology = self.domain.topology
        topology.create_entities(2)
        topology.create_connectivity(2, 0)
        corners = self._points_of(topology.connectivity(3, 0).array)[topology.connectivity(2, 0).array]
        n = len(self.mesh.facets)
        both = np.concatenate([self.mesh.facets, corners.reshape(-1, 3)])
        which = distinct_rows(np.sort(both, axis=1)).groups
        ours = np.full(len(both), -1, np.int64)
        ours[which[:n]] = np.arange(n)
        return np.asarray(ours[which[n:]])

    def _points_of(self, corners: Any) -> Rows:
        """Return the points of ours that vertices or degrees of freedom are, given those of every cell's corners."""
        layout = libraries().layout(self.domain.geometry)
        points = np.zeros(int(np.max(corners, initial=-1)) + 1, np.int64)
        points[np.ravel(corners)] = np.asarray(self.domain.geometry.input_global_indices)[np.ravel(layout)]
        return points

    def _function(self, home: BoundCompartment, values: Floats) -> Any:
        """Make a function of values (m,) at the nodes of a compartment."""
        everywhere, function = np.zeros(len(self.mesh.points)), self.fem.Function(self.space)
        everywhere[home.nodes] = values
        function.x.array[:] = everywhere[self.nodes]
        return function

    # --- formulas ---

    def _rate(self, name: str, place: BoundCompartment) -> Any:
        """Write the rate of a reaction."""
        what = f"rate of reaction {name!r}"

        def leaf(found: Any) -> Any:
            if not isinstance(found, str):
                return found
            if read_whole(found):
                raise ValueError(f"{what} reads {found}, a number of a whole state, which has no place in a form")
            if found in self.values:
                return self.values[found]
            if found in self.courses:
                return self.courses[found][0]
            if found in POSITION:
                return self.ufl.SpatialCoordinate(self.domain)[POSITION.index(found)]
            given = self.model.varying.get(found)
            if isinstance(given, Field):
                return self._function(place, nodal(given, place, self.mesh, field_text(found, what)))
            return self.t

        try:
            return walk(self.model.rates[name].tree, self._operations, leaf)
        except KeyError as error:
            raise ValueError(f"{what} uses {error.args[0]}, which UFL does not have") from error

    def _flux(self, item: BoundSpecies) -> Any:
        """Write D grad(u) . grad(test), along the facets of a membrane."""
        value, test = self.ufl.grad(self.values[item.name]), self.ufl.grad(self.test)
        # As a number 0 would leave nothing of the form.
        D = self.fem.Constant(self.domain, float(item.diffusion))
        if item.compartment.dimension == 2:
            if item.shares is not None:
                raise ValueError(
                    f"diffusion of species {item.name!r} differs from facet to facet, for which UFL has no function"
                )
            normal = self.ufl.FacetNormal(self.domain)
            value = value - normal * self.ufl.dot(normal, value)
            return D * self.ufl.dot(value, test)
        if item.shares is None:
            return D * self.ufl.dot(value, test)
        shape = item.shares.shape[1:]
        shares = self.fem.Function(self.fem.functionspace(self.domain, ("DG", 0, shape) if shape else ("DG", 0)))
        everywhere = np.zeros((len(self.mesh.tets), *shape))
        everywhere[item.compartment.rows] = item.shares
        cells = np.ravel(shares.function_space.dofmap.list)
        shares.x.array.reshape(-1, *shape)[cells] = everywhere[self._cells]
        return D * self.ufl.dot(shares * value, test)


def _operations(ufl: Any) -> dict[str, Callable[..., Any]]:
    """Say what operations mean in UFL."""

    def step(x: Any) -> Any:
        return ufl.conditional(ufl.gt(x, 0), 1.0, ufl.conditional(ufl.lt(x, 0), 0.0, 0.5))

    same = ("exp", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "atan2", "sign")
    return {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "/": operator.truediv,
        "**": operator.pow,
        "neg": operator.neg,
        "abs": abs,
        "<": ufl.lt,
        "<=": ufl.le,
        ">": ufl.gt,
        ">=": ufl.ge,
        "and": ufl.And,
        "or": ufl.Or,
        "where": ufl.conditional,
        "heaviside": step,
        **{name: getattr(ufl, name) for name in same},
        "log": ufl.ln,
        "log10": lambda x: ufl.ln(x) / math.log(10),
        "min": lambda *values: functools.reduce(ufl.min_value, values),
        "max": lambda *values: functools.reduce(ufl.max_value, values),
    }
