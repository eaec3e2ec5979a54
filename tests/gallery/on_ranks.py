"""Problems that use all of the model language, to be solved on any number of ranks.

As a program, under mpiexec, it solves them all and the first rank writes what was found: `on_ranks.py out.npz`; or it
fails on purpose: `on_ranks.py --fail RANK`, `--fail-before RANK`, `--fail-after RANK`, `--full PATH`, `--unlike PATH`;
waits to be stopped: `--long`; or goes on from a checkpoint.
"""

import contextlib
import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest

import meshcell as mc
from gallery.balls import round_ball
from gallery.interruptions import full_disk, stop_after, write_always
from gallery.meshes import ball, box
from gallery.models import BALL, calcium, exchange
from meshcell.models.binding import bind
from meshcell.models.events import Event
from meshcell.models.model import Model
from meshcell.models.observables import Quantity
from meshcell.models.parameters import Field, Table
from meshcell.models.species import Pool, Reaction, Species
from meshcell.solving import steady_states, together
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.distributed.libraries import libraries
from meshcell.solving.engine_fenicsx import processes

# So that linear systems leave nothing to see; one species alone takes it further.
EXACT = {"step": 0.01, "rtol": 1e-11}
PLACES = {"in": "left + right", "left": "left", "end": "end", "wall": ("left + right", "outside")}


def halves():
    """A box of two regions, with a patch on one end."""
    mesh = box(4, region=lambda c: np.where(c[:, 0] < 0.5, 1, 2), names={1: "left", 2: "right"})
    at_end = (mesh.points[mesh.facets][:, :, 0] == 0).all(axis=1)
    return replace(mesh, patches={"end": np.flatnonzero(at_end)})


def whole_state():
    """Pools, means and totals in rates, and values that are held."""
    species = [Species("A", "ball", 10, "1 + 0.5*x"), Species("R", "rim", 1, 4.0)]
    species += [Species("H", "ball", 5, 2.0, fixed={"rim": "3 + t"}), Pool("P", 0.5, 2.0), Pool("Q", "3 um^3", 0.3)]
    reactions = [
        Reaction("in", "rim", "k*(P*R - A)", {"A": 1, "P": -1, "Q": 0.5}),
        Reaction("crowd", "ball", "k*mean(A)**2*mean(R)/(1 + mean(A, rim)) + 0.1*A*Q", {"A": 2, "H": -1}),
        Reaction("turn", "P", "0.3*P*Q + 0.01*total(A)*sqrt(total(R))", {"P": -1, "Q": 2}),
    ]
    return Model(BALL, [*species], reactions, {"k": 0.7})


def places(mesh):
    """A union, a patch, tensors, fields and tables."""
    turned = [[2.0, 0.5, 0], [0.5, 1.0, 0], [0, 0, 0.2]]
    field = Field(1 + mesh.points[:, 1], at="nodes")
    species = [
        Species("u", "in", turned, "1 + x*y"),
        Species("v", "in", {"left": 1.0, "right": 0.25}, 2.0),
        Species("w", "wall", 0.3, "1 + z"),
        Species("s", "left", 0.0, 0.5),
    ]
    reactions = [
        Reaction("meet", "in", "k*F*u*v", {"u": -1, "v": -1}),
        Reaction("come", "end", "drive*(2 - u)", {"u": 1}),
        Reaction("dock", "wall", "v - w", {"v": -1, "w": 1}),
        Reaction("stay", "left", "u - s", {"s": 1}),
    ]
    return Model(PLACES, species, reactions, {"k": 0.7, "F": field, "drive": Table([0, 0.03, 0.1], [0, 4.0, 1.0])})


def potential():
    """A species with a sign, whose current crosses a membrane."""
    species = [Species("V", "rim", 2.0, "0.1*x - 0.02", signed=True), Species("Na", "ball", 50.0, "1 mM")]
    current = Reaction("current", "rim", "g*(E - V)", {"V": 1, "Na": 0.1})
    return Model(BALL, species, [current], {"g": 3.0, "E": -0.07})


def at_rest_in_core():
    """A species that has a small part of the mesh alone."""
    return Model({"core": "core"}, [Species("A", "core", 1, "1 + x")], [Reaction("r", "core", "1 - A", {"A": 1})])


def problems():
    """Name -> (mesh, model, times, options of solve)."""
    sphere, nested, pair = round_ball(5), round_ball(6, core=3), halves()
    ways = [Reaction("kin", "rim", "k*(1 - c)", {"c": 1}), Reaction("phos", "ball", "p*c", {"c": -1})]
    kinase = Model(BALL, [Species("c", "ball", 10, 0.79)], ways, {"k": 50 / 3, "p": 10})
    decay = Model(BALL, [Species("A", "ball", 1, "1 + 0.3*z")], [Reaction("out", "ball", "k*A", {"A": -1})], {"k": 1.0})
    events = [Event(0.5, add={"A": "x + 1"}), Event("mean(A) < 0.7", set={"k": 0.2})]
    asked = {"mean": Quantity("mean", "A"), "out": Quantity("flux", "out")}
    return {
        "kinase": (sphere, kinase, [0, 0.1], EXACT),
        "calcium": (nested, calcium(), [0, 0.05, 0.1], {**EXACT, "scheme": "implicit"}),
        "exchange": (sphere, exchange(), [0, 0.1], {**EXACT, "scheme": "imex2"}),
        "whole state": (ball(3, names={1: "ball"}), whole_state(), [0, 0.1], {**EXACT, "scheme": "implicit"}),
        "whole state, explicit": (ball(3, names={1: "ball"}), whole_state(), [0, 0.1], {**EXACT, "scheme": "imex"}),
        "places": (pair, places(pair), [0, 0.05, 0.1], {**EXACT, "scheme": "implicit"}),
        "places, explicit": (pair, places(pair), [0, 0.05, 0.1], {**EXACT, "scheme": "imex"}),
        "potential": (sphere, potential(), [0, 0.1], {**EXACT, "scheme": "implicit"}),
        "events": (sphere, decay, [0, 1.0], {**EXACT, "events": events}),
        "observed": (sphere, decay, np.linspace(0, 1, 11), {**EXACT, "observe": asked, "keep": "observed"}),
        "core alone": (nested, at_rest_in_core(), [0, 0.1], {**EXACT, "scheme": "implicit"}),
        "steered": (nested, calcium(), [0, 0.5, 1.0], {"rtol": 1e-5}),
    }


def found(engine, **options):
    """Solve all problems: name -> arrays."""
    result = {}
    for name, (mesh, model, times, given) in problems().items():
        solution = mc.solve(mesh, model, times, engine=engine, **given, **options)
        for species, values in solution.values.items():
            result[f"{name}/{species}"] = values
            result[f"{name}/total {species}"] = mc.total(solution, species)
        for what, curve in solution.observed.items():
            result[f"{name}/observed {what}"] = np.asarray(curve)
        result[f"{name}/drift"] = np.array(solution.stats.get("mass_drift", 0.0))
    mesh, model, times, given = problems()["whole state"]
    by_petsc = {} if engine == "numba" else {"petsc_options": {"implicit_pc_type": "gamg"}}
    solution = mc.solve(mesh, model, times, engine=engine, **{**given, "scheme": "implicit"}, **by_petsc, **options)
    result |= {f"gamg/{species}": values for species, values in solution.values.items()}
    mesh, model, *_ = problems()["kinase"]
    result["steady/c"] = mc.steady(mesh, model, rtol=1e-9, engine=engine).values["c"]
    return result


def difference_of_forms(name):
    """Compare a problem's forms of UFL with its equations: the largest difference of rates and masses, relative."""
    libraries()
    from dolfinx.fem import assemble_matrix, assemble_vector, form
    from dolfinx.la import InsertMode

    mesh, model, *_ = problems()[name]
    written, problem, found = mc.solving.forms(mesh, model), Discretisation(bind(model, mesh)), []
    comm, own, t = written.domain.comm, written.space.dofmap.index_map.size_local, 0.02
    written.advance(t)

    def everywhere(place, values):
        whole = np.zeros(len(mesh.points))
        whole[place.nodes] = values
        return whole

    def gathered(values):
        whole = np.zeros(len(mesh.points))
        whole[written.nodes[:own]] = values[:own]
        return comm.allreduce(whole)

    u = problem.initial() * (1 + 0.1 * np.random.default_rng(1).random(problem.size))
    state, rates, masses = (problem.outward([each], [t]) for each in (u, problem.rate(t, u), problem.mass))
    for species, item in problem.system.species.items():
        written.values[species].x.array[:] = everywhere(item.compartment, state[species][0])[written.nodes]
    for species, item in problem.system.species.items():
        vector, matrix = assemble_vector(form(written.rates[species])), assemble_matrix(form(written.masses[species]))
        vector.scatter_reverse(InsertMode.add)
        matrix.scatter_reverse()
        for got, ours in ((vector.array, rates), (matrix.to_scipy().diagonal(), masses)):
            wanted = everywhere(item.compartment, ours[species][0])
            found.append(np.abs(gathered(got) - wanted).max() / np.abs(wanted).max())
    return max(found)


def failing(rank):
    """Let reactions raise on one rank alone, after some steps."""
    reacted, left = Discretisation.reacted, [30]

    def broken(self, t, u):
        left[0] -= 1
        if left[0] < 0 and processes().rank == rank:
            raise RuntimeError("something broke here")
        return reacted(self, t, u)

    Discretisation.reacted = broken
    mesh, model, times, given = problems()["calcium"]
    mc.solve(mesh, model, times, engine="fenicsx", **given)


def failing_after(rank):
    """Raise on one rank alone after a run, while the others go on to the next."""
    mesh, model, times, given = problems()["kinase"]
    mc.solve(mesh, model, times, engine="fenicsx", **given)
    if processes().rank == rank:
        raise RuntimeError("something broke here")
    mc.solve(mesh, model, times, engine="fenicsx", **given)


def failing_before(rank):
    """Raise on one rank alone, while the others already solve."""
    mesh, model, times, given = problems()["kinase"]
    with together("fenicsx"):
        if processes().rank == rank:
            raise RuntimeError("something broke here")
        mc.solve(mesh, model, times, engine="fenicsx", **given)


def unlike(path):
    """Let ranks solve different things: say what is refused; and be stopped in a search, which the next one forgets."""
    rank = processes().rank
    mesh, model, times, given = problems()["core alone"]
    noise = np.random.default_rng(rank).random(len(mesh.points))
    others = [
        (mesh, Model({"core": "core"}, [Species("A", "core", 1, lambda x: noise[: len(x)])]), times),
        (round_ball(6 + rank, core=3), model, times),
        (mesh, model, [0, 0.1 + rank]),
    ]
    for other in others:
        with pytest.raises(ValueError, match="all ranks should solve the same; their ") as error:
            mc.solve(*other, engine="fenicsx")
        say(str(error.value).split(";")[1])
    mc.solve(mesh, model, times, engine="fenicsx", checkpoint=path, **given)
    seen = f"{path}.of-{rank}" if rank else path
    with pytest.raises(ValueError, match="checkpoint should be a file that all ranks see") as error:
        mc.solve(mesh, model, times, engine="fenicsx", checkpoint=seen, **given)
    say(str(error.value).split(";")[0].removeprefix("checkpoint should be a file "))
    search = steady_states._search

    def interrupted(*given):
        os.kill(os.getpid(), signal.SIGINT)
        return search(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steady_states, "_search", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mc.steady(mesh, model, engine="fenicsx")
    say(repr(mc.solve(mesh, model, times, engine="fenicsx", **given).message))


def filling(path):
    """Run out of room for the checkpoint on the first rank."""
    mesh, model, times, given = problems()["whole state"]
    mc.solve(mesh, model, times, engine="fenicsx", checkpoint=path, **given)
    write_always(pytest.MonkeyPatch())
    with full_disk() if processes().rank == 0 else contextlib.nullcontext():
        mc.solve(mesh, model, np.array(times) + 1, engine="fenicsx", checkpoint=f"{path}.npz", **given)


def long():
    """Run for minutes, and tell when it begins and how it ended."""
    mesh, model, *_ = problems()["calcium"]
    mc.solve(mesh, model, [0, 0.01], engine="fenicsx", step=0.005)
    if processes().rank == 0:
        say("begins")
    solution = mc.solve(mesh, model, [0, 1000.0], engine="fenicsx", step=0.005)
    say(f"rank {processes().rank}: {solution.message}")


def going_on(path):
    """Go on from a checkpoint, and be stopped again."""
    mesh, model, _, options = problems()["whole state"]
    stop_after(pytest.MonkeyPatch(), 20)
    say(mc.solve(mesh, model, np.linspace(0, 0.12, 4), engine="fenicsx", checkpoint=path, **options).message)


def say(text):
    """Write a line at once, whole."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "--fail":
        failing(int(sys.argv[2]))
    elif sys.argv[1] == "--forms":
        differences = [difference_of_forms(name) for name in sys.argv[2:]]
        say(max(differences) if processes().rank == 0 else "")
    elif sys.argv[1] == "--fail-after":
        failing_after(int(sys.argv[2]))
    elif sys.argv[1] == "--fail-before":
        failing_before(int(sys.argv[2]))
    elif sys.argv[1] == "--unlike":
        unlike(sys.argv[2])
    elif sys.argv[1] == "--full":
        filling(sys.argv[2])
    elif sys.argv[1] == "--long":
        long()
    elif sys.argv[1] == "--go-on":
        going_on(sys.argv[2])
    else:
        arrays = found("fenicsx")
        if processes().rank == 0:
            np.savez(sys.argv[1], **arrays)
