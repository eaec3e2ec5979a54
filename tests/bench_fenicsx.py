"""Measure the distributed engine against the embedded one and a loop written by hand with dolfinx; prints a table.

    python tests/bench_fenicsx.py [--shells 57] [--ranks 1 2] [--halo 2 4 8 16]

Needs dolfinx (`pip install -e ".[fenicsx]"`). The Brusselator of three species of `bench_solver.py`, the same equal
steps for all. Every row is a job of its own with one thread a rank, which reads the mesh from a file. CPU seconds are
those of the busiest rank; of a step they are the difference of a run of many steps and a run of one, by the number of
steps between them. Memory is named in parts: what a rank has before it reads the mesh, the mesh, and the most that a
run takes beside both. `--halo` counts what ranks say to each other instead, which takes no quiet machine.
"""

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import meshcell as mc
from bench_solver import DIFFUSION, brusselator, table
from gallery.balls import round_ball

DT = 0.02


def memory():
    """Return the memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def most_memory():
    """Return the most memory that this process has had since `forget_memory`, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10


def forget_memory():
    """Let `most_memory` count anew."""
    Path("/proc/self/clear_refs").write_text("5")


def run_ours(mesh, engine, scheme):
    """Return a function that takes so many steps."""
    model = brusselator()
    return lambda steps: mc.solve(mesh, model, [0, steps * DT], engine=engine, scheme=scheme, step=DT)


def run_dolfinx(mesh):
    """Return a function that takes so many steps as the manuals of dolfinx do: P1, diffusion implicit, order 1."""
    import basix.ufl
    import dolfinx_solver  # noqa: F401
    import ufl
    from dolfinx import fem
    from dolfinx.fem import petsc
    from dolfinx.graph import partitioner
    from dolfinx.mesh import GhostMode, create_cell_partitioner, create_mesh
    from mpi4py import MPI
    from petsc4py import PETSc

    def steps_taken(steps):
        comm = MPI.COMM_WORLD
        mine = slice(None) if comm.rank == 0 else slice(0)
        shape = ufl.Mesh(basix.ufl.element("Lagrange", "tetrahedron", 1, shape=(3,)))
        cut = create_cell_partitioner(partitioner(), GhostMode.none, 2)
        domain = create_mesh(comm, mesh.tets[mine].astype(np.int64), shape, mesh.points[mine], cut)
        V = fem.functionspace(domain, ("Lagrange", 1))
        a, b, x = ufl.TrialFunction(V), ufl.TestFunction(V), ufl.SpatialCoordinate(domain)
        waves = {"u": 1.2 + 0.3 * x[0], "v": 3.1 + 0.3 * x[1], "w": 3 + 0.3 * x[2]}
        state = {name: fem.Function(V) for name in waves}
        for name, wave in waves.items():
            state[name].interpolate(fem.Expression(wave, V.element.interpolation_points))
        u, v, w = state.values()
        rates = {"u": 1 + u * u * v - (w + 1) * u, "v": w * u - u * u * v, "w": 1.2 - w * u}
        systems = {}
        for name, D in DIFFUSION.items():
            A = petsc.assemble_matrix(fem.form((a * b + DT * D * ufl.inner(ufl.grad(a), ufl.grad(b))) * ufl.dx))
            A.assemble()
            solver = PETSc.KSP().create(comm)
            solver.setOperators(A)
            solver.setType("cg")
            solver.getPC().setType("jacobi")
            solver.setTolerances(rtol=1e-7)
            systems[name] = solver, fem.form((state[name] + DT * rates[name]) * b * ufl.dx), fem.Function(V)
        for _ in range(steps):
            for solver, form, new in systems.values():
                right = petsc.assemble_vector(form)
                right.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
                solver.setInitialGuessNonzero(True)
                solver.solve(right, new.x.petsc_vec)
                new.x.scatter_forward()
            for name, (_, _, new) in systems.items():
                state[name].x.array[:] = new.x.array
        return u.x.array.max()

    return steps_taken


def job(kind, scheme, path, steps):
    """Measure one way on this rank, and let the first one say what all of them measured."""
    small = round_ball(4)
    ways = {"dolfinx": run_dolfinx}

    def prepared(mesh):
        return ways[kind](mesh) if kind in ways else run_ours(mesh, kind, scheme)

    prepared(small)(2)
    before = memory()
    mesh, used = mc.load(path), []
    run, loaded = prepared(mesh), memory()
    forget_memory()
    for n in (1, 1, steps):
        cpu, wall = time.process_time(), time.perf_counter()
        run(n)
        used.append((time.process_time() - cpu, time.perf_counter() - wall))
    each = [(b - a) / (steps - 1) for a, b in zip(used[1], used[2], strict=True)]
    found = [*each, used[1][0], before, loaded - before, most_memory() - loaded]
    if kind != "numba":
        from mpi4py import MPI

        everyone = MPI.COMM_WORLD.allgather(found)
        if MPI.COMM_WORLD.rank:
            return
        found = np.max(everyone, axis=0).tolist()
    sys.stdout.write(json.dumps(found) + "\n")


def measured(kind, scheme, n, path, steps):
    """Run a job on n ranks and return what it found; "halo" is one as well."""
    command = [sys.executable, __file__, "--job", kind, scheme, str(path), str(steps)]
    if kind != "numba":
        command = [str(Path(sys.executable).with_name("mpiexec")), "-n", str(n), *command]
    threads = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, "UCX_TLS": "self,sm,tcp", **threads}
    said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(said.splitlines()[-1])


def halo(scheme, path, steps):
    """Count what ranks say to each other."""
    import dolfinx_solver  # noqa: F401
    from mpi4py import MPI
    from petsc4py import PETSc

    from meshcell.models.binding import bind
    from meshcell.solving.distributed.libraries import libraries
    from meshcell.solving.distributed.systems import Distributed
    from meshcell.solving.engine_fenicsx import processes

    ranks, mesh, comm = processes(), mc.load(path), MPI.COMM_WORLD
    run, sums, counted = run_ours(mesh, "fenicsx", scheme), [0], type(ranks)._together

    def together(self, parts, what):
        sums[0] += 1
        return counted(self, parts, what)

    type(ranks)._together = together
    PETSc.Log.begin()
    events = {name: PETSc.Log.Event(name) for name in ("VecScatterBegin", "VecTDot", "VecNorm")}

    def said():
        now = {name: event.getPerfInfo() for name, event in events.items()}
        scatter = now.pop("VecScatterBegin")
        # Messages count where they leave and where they come.
        return np.array(
            [sums[0] + sum(event["count"] for event in now.values()), scatter["count"], scatter["messageLength"] / 2e3]
        )

    run(1)
    before = said()
    run(1 + steps)
    per_step = (said() - before) / (1 + steps)
    home = Distributed(bind(brusselator(), mesh), 0.0, libraries(), ranks).homes[0]
    away = np.unique(home.K.indices)
    away = away[(away < home.rows.start) | (away >= home.rows.stop)]
    ends = np.cumsum(comm.allgather(home.K.shape[0]))
    neighbours = len(np.unique(np.searchsorted(ends, away, side="right")))
    found = comm.allgather([home.K.shape[0], len(away), neighbours, *per_step])
    if comm.rank == 0:
        sys.stdout.write(json.dumps([float(value) for value in np.max(found, axis=0)]) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shells", type=int, default=57)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--halo", type=int, nargs="+", default=[])
    parser.add_argument("--job", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        kind, scheme, path, steps = given.job
        (halo if kind == "halo" else functools.partial(job, kind))(scheme, path, int(steps))
        return
    with tempfile.TemporaryDirectory() as folder:
        path, rows = Path(folder) / "mesh.npz", []
        mesh = round_ball(given.shells)
        mc.save(path, mesh)
        if given.halo:
            for scheme in ("imex2", "implicit"):
                for n in given.halo:
                    found = measured("halo", scheme, n, path, 4)
                    rows.append((f"{scheme}, {n} ranks", *(f"{value:,.0f}" for value in found)))
            head = ("nodes", "of others", "neighbours", "sums a step", "exchanges a step", "kB sent a step")
            table(f"{len(mesh.tets):,} tetrahedra: the most of a rank", head, rows)
            return
        for scheme, steps in (("imex2", given.steps), ("imex", given.steps), ("implicit", max(4, given.steps // 4))):
            rows.append((f"embedded, {scheme}", *measured("numba", scheme, 1, path, steps)))
            for n in given.ranks:
                rows.append((f"fenicsx, {scheme}, {n} ranks", *measured("fenicsx", scheme, n, path, steps)))
        for n in given.ranks:
            rows.append((f"dolfinx by hand, order 1, {n} ranks", *measured("dolfinx", "", n, path, given.steps)))
        head = "CPU s a step", "wall s a step", "CPU s of set-up and one step", "MB before", "of the mesh", "in the run"
        table(f"{len(mesh.tets):,} tetrahedra, steps of {DT} s", head, rows)


if __name__ == "__main__":
    main()
