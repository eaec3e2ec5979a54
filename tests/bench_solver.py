"""Measure assembly, linear systems and time steps against the peers, in one run; prints Markdown tables.

    python tests/bench_solver.py [--quick]

Peers: scikit-fem with scipy and pyamg, NGSolve and dolfinx where they are installed. CPU seconds are user + system of
this process; the median of five after a warm-up (of fewer for what takes longer than 10 s). Everything runs on one
thread but the last table; OPENBLAS_NUM_THREADS=1 keeps the peers' on one too.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numba
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from gallery.balls import round_ball
from meshcell.geometry import finite_elements as fem
from meshcell.models.binding import bind
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.linear.multigrid import Multigrid
from meshcell.solving.options import Options
from meshcell.solving.stepping import Stepper

DIFFUSION = {"u": 0.1, "v": 0.05, "w": 0.02}
STEPS, DT = 50, 0.01
TOLERANCE = 1e-8


def seconds(function, repeats=5):
    """Return the median CPU and wall seconds of some runs after a warm-up, and the last result."""
    result, cpu, wall = None, [], []
    for repeat in range(repeats + 1):
        usage, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        result = function()
        wall.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu.append(after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime)
        if repeat and wall[-1] > 10:
            break
    return statistics.median(cpu[1:]), statistics.median(wall[1:]), result


def table(title, head, rows):
    """Print one Markdown table; the ratio is to the first row's CPU seconds."""
    print(f"\n{title}\n\n| | {' | '.join(head)} |\n|{'---|' * (len(head) + 1)}")
    for name, *cells in rows:
        print(f"| {name} | " + " | ".join(cell if isinstance(cell, str) else f"{cell:.3g}" for cell in cells) + " |")
    sys.stdout.flush()


def against(rows):
    """Add to (name, CPU, wall, ...) how many times the first row's CPU seconds each took."""
    return [(name, cpu, wall, f"{cpu / rows[0][1]:.2f}", *rest) for name, cpu, wall, *rest in rows]


# --- peers ---


def skfem_basis(mesh):
    """Return scikit-fem's P1 basis on our mesh, or None where it is not installed."""
    try:
        import skfem
    except ImportError:
        return None
    return skfem.Basis(skfem.MeshTet(mesh.points.T.copy(), mesh.tets.T.astype(np.int64)), skfem.ElementTetP1())


def skfem_operators(basis):
    """Assemble stiffness and mass with scikit-fem."""
    from skfem.models.poisson import laplace, mass

    return laplace.assemble(basis), mass.assemble(basis)


def ngsolve_space(mesh):
    """Return NGSolve's P1 space on our mesh, or None where it is not installed."""
    try:
        from netgen.csg import Pnt
        from netgen.meshing import Element3D, FaceDescriptor, Mesh, MeshPoint
        from ngsolve import H1, Mesh as Wrapped
    except ImportError:
        return None
    out = Mesh(dim=3)
    rows = [out.Add(MeshPoint(Pnt(*point))) for point in mesh.points.tolist()]
    out.Add(FaceDescriptor(surfnr=1, domin=1, bc=1))
    for tet in mesh.tets[:, [0, 2, 1, 3]].tolist():
        out.Add(Element3D(1, [rows[corner] for corner in tet]))
    return H1(Wrapped(out), order=1)


def ngsolve_operators(space):
    """Assemble stiffness and mass with NGSolve."""
    from ngsolve import BilinearForm, dx, grad

    u, v = space.TnT()
    return BilinearForm(grad(u) * grad(v) * dx).Assemble(), BilinearForm(u * v * dx).Assemble()


def dolfinx_forms(mesh):
    """Return dolfinx's compiled forms of stiffness and mass on our mesh, or None where it is not installed."""
    try:
        import basix.ufl
        import dolfinx
        import ufl
        from mpi4py import MPI
    except ImportError:
        return None
    element = basix.ufl.element("Lagrange", "tetrahedron", 1, shape=(3,))
    cells, domain = mesh.tets.astype(np.int64), ufl.Mesh(element)
    try:
        out = dolfinx.mesh.create_mesh(MPI.COMM_WORLD, cells, domain, mesh.points)
    except (TypeError, AttributeError):
        # Before 0.10 the last two were the other way round.
        out = dolfinx.mesh.create_mesh(MPI.COMM_WORLD, cells, mesh.points, domain)
    space = dolfinx.fem.functionspace(out, ("Lagrange", 1))
    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    return [dolfinx.fem.form(ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx), dolfinx.fem.form(u * v * ufl.dx)]


def dolfinx_operators(forms):
    """Assemble stiffness and mass with dolfinx, pattern and all."""
    import dolfinx

    return [dolfinx.fem.assemble_matrix(form) for form in forms]


# --- tables ---


def assembly_table(mesh):
    points, tets = mesh.points, mesh.tets
    where = fem.pattern(tets, len(points))

    def reused():
        return fem.stiffness_and_mass(points, tets, pattern=where)

    def anew():
        return fem.stiffness_and_mass(points, tets)

    rows = [("meshcell, pattern reused", *seconds(reused)[:2]), ("meshcell, with pattern", *seconds(anew)[:2])]
    peers = [
        ("scikit-fem", skfem_basis, skfem_operators),
        ("NGSolve", ngsolve_space, ngsolve_operators),
        ("dolfinx", dolfinx_forms, dolfinx_operators),
    ]
    for peer, prepare, assemble in peers:
        prepared = prepare(mesh)
        if prepared is not None:
            cpu, wall, operators = seconds(lambda a=assemble, p=prepared: a(p))
            rows.append((peer, cpu, wall))
            if peer == "scikit-fem":
                difference = abs(operators[0] - reused()[0]).max() / abs(operators[0]).max()
                assert difference < 1e-12, difference
    table(f"M + K, {len(tets):,} tetrahedra", ("CPU s", "wall s", "times the first"), against(rows))


def one_system(mesh, dt=1.0):
    """Return stiffness, lumped mass, right-hand side and multigrid of one implicit step, and the unknowns' order."""
    problem = Discretisation(bind(Model({"ball": "ball"}, [Species("u", "ball", 1, 1)]), mesh))
    b = problem.mass * np.random.default_rng(0).standard_normal(problem.size)
    return problem, sp.csr_array(problem.fixed + sp.diags_array(problem.mass / dt)), b


def solution_table(mesh):
    """One system (M / dt + K) x = b to the same true residual, set-up apart."""
    import pyamg

    problem, A, b = one_system(mesh)
    blocks, kinds = problem.blocks, problem.kinds
    exact = np.linalg.norm(b)

    def set_up():
        grids = Multigrid(kinds, blocks)
        grids.update(problem.mass / 1.0)
        return grids

    setup, _, grids = seconds(set_up)
    # The scale in which our estimate of the error is as strict as the peers' residual: found by halving.
    weights = np.full(len(b), 1 / np.linalg.norm(grids.precondition(b)))
    ours = TOLERANCE
    while np.linalg.norm(b - A @ grids.solve(b, weights.copy(), ours)[0]) > TOLERANCE * exact:
        ours /= 2
    cpu, wall, (_, iterations, _) = seconds(lambda: grids.solve(b, weights.copy(), ours))
    rows = [("meshcell, multigrid", cpu, wall, setup, str(iterations))]
    scale = sp.diags_array(1 / A.diagonal())
    setup, _, hierarchy = seconds(lambda: pyamg.smoothed_aggregation_solver(sp.csr_matrix(A)))
    for name, cost, M in (("scipy CG, Jacobi", 0.0, scale), ("scipy CG, pyamg", setup, hierarchy.aspreconditioner())):
        count = []

        def solve(M=M, count=count):
            count.clear()
            return spla.cg(A, b, rtol=TOLERANCE, M=M, callback=count.append)

        cpu, wall, (x, failed) = seconds(solve)
        assert not failed and np.linalg.norm(b - A @ x) < 2 * TOLERANCE * exact
        rows.append((name, cpu, wall, cost, str(len(count))))
    head = "CPU s", "wall s", "times the first", "set-up, CPU s", "iterations"
    table(f"(M / dt + K) x = b to {TOLERANCE:g}, dt D = 1 R^2, {len(b):,} unknowns", head, against(rows))


def brusselator():
    """u' = 1 + u^2 v - (w + 1) u, v' = w u - u^2 v, w' = 1.2 - w u (FINDINGS 2.9), from a wave."""
    species = [
        Species("u", "ball", DIFFUSION["u"], "1.2 + 0.3*x"),
        Species("v", "ball", DIFFUSION["v"], "3.1 + 0.3*y"),
        Species("w", "ball", DIFFUSION["w"], "3 + 0.3*z"),
    ]
    reactions = [
        Reaction("feed u", "ball", "1", {"u": 1}),
        Reaction("autocatalysis", "ball", "u*u*v", {"u": 1, "v": -1}),
        Reaction("turn", "ball", "w*u", {"u": -1, "v": 1, "w": -1}),
        Reaction("loss", "ball", "u", {"u": -1}),
        Reaction("feed w", "ball", "1.2", {"w": 1}),
    ]
    return Model({"ball": "ball"}, species, reactions)


def imex_with_scipy(K, M, points, solver):
    """50 first-order IMEX steps: explicit reactions, implicit diffusion, as the peers' users write them."""
    x, y, z = points.T
    state = {"u": 1.2 + 0.3 * x, "v": 3.1 + 0.3 * y, "w": 3 + 0.3 * z}
    lumped = np.asarray(M.sum(axis=1)).ravel()
    systems = {name: sp.csr_array(M / DT + D * K) for name, D in DIFFUSION.items()}
    for _ in range(STEPS):
        u, v, w = state.values()
        rates = {"u": 1 + u * u * v - (w + 1) * u, "v": w * u - u * u * v, "w": 1.2 - w * u}
        for name in state:
            state[name] = solver(systems[name], M @ state[name] / DT + lumped * rates[name], state[name])
    return np.array(list(state.values()))


def jacobi_cg(A, b, guess):
    """scipy's CG as a user would call it."""
    x, failed = spla.cg(A, b, guess, rtol=1e-6, M=sp.diags_array(1 / A.diagonal()))
    assert not failed
    return x


def imex_with_ngsolve(space):
    """Return the peer's steps in NGSolve: its matrices, its Jacobi and its CG, as its users write them."""
    import ngsolve as ng

    u, v = space.TnT()
    K = ng.BilinearForm(ng.grad(u) * ng.grad(v) * ng.dx).Assemble().mat
    M = ng.BilinearForm(u * v * ng.dx).Assemble().mat
    ones = K.CreateColVector()
    ones[:] = 1.0
    lumped = (M * ones).Evaluate().FV().NumPy().copy()
    starts = {"u": 1.2 + 0.3 * ng.x, "v": 3.1 + 0.3 * ng.y, "w": 3 + 0.3 * ng.z}
    state, solvers, rest = {}, {}, K.CreateColVector()
    for name, D in DIFFUSION.items():
        function = ng.GridFunction(space)
        function.Set(starts[name])
        state[name] = function.vec
        A = M.CreateMatrix()
        A.AsVector().data = 1 / DT * M.AsVector() + D * K.AsVector()
        solvers[name] = A, ng.CGSolver(A, A.CreateSmoother(), maxiter=500)
    for _ in range(STEPS):
        u, v, w = (state[name].FV().NumPy() for name in state)
        rates = {"u": 1 + u * u * v - (w + 1) * u, "v": w * u - u * u * v, "w": 1.2 - w * u}
        for name, vector in state.items():
            A, solver = solvers[name]
            rest.data = 1 / DT * M * vector - A * vector
            size = 1 / DT * ng.Norm(M * vector)
            rest.FV().NumPy()[:] += lumped * rates[name]
            # What is solved for is the change, to 1e-6 of the whole right-hand side as with scipy.
            solver.tol = 1e-6 * size / max(ng.Norm(rest), 1e-300)
            vector.data += solver * rest
    return np.array([vector.FV().NumPy().copy() for vector in state.values()])


def steps_table(mesh):
    """The same 50 steps by all; errors are against ours at a far smaller tolerance."""

    def ours(**options):
        problem = Discretisation(bind(brusselator(), mesh))
        times = np.array([0, STEPS * DT])
        story = Stepper(problem, Options(**options), None).run(times)
        assert not story.message, story.message
        return np.array(list(problem.outward(story.values, times).values()))[:, -1], story.stats

    exact = ours(rtol=1e-6, scheme="imex")[0]
    basis, space = skfem_basis(mesh), ngsolve_space(mesh)
    sources = [
        ("our matrices and scipy CG", lambda: (fem.stiffness(mesh.points, mesh.tets), fem.mass(mesh.points, mesh.tets)))
    ]
    if basis is not None:
        sources.append(("scikit-fem and scipy CG", lambda: skfem_operators(basis)))
    runs = {
        "meshcell, imex2, order 2": (lambda: ours(step=DT, scheme="imex2"), STEPS),
        "meshcell, imex, order 3": (lambda: ours(step=DT, scheme="imex"), STEPS),
        "meshcell, implicit, order 3": (lambda: ours(step=DT, scheme="implicit"), STEPS),
        "meshcell, rtol=1e-3, steps by error": (lambda: ours(rtol=1e-3), None),
    }
    for name, operators in sources:
        runs[f"{name}, order 1"] = lambda o=operators: imex_with_scipy(*o(), mesh.points, jacobi_cg), STEPS
    if space is not None:
        runs["NGSolve, order 1"] = lambda: imex_with_ngsolve(space), STEPS
    rows = []
    for name, (run, steps) in runs.items():
        cpu, wall, result = seconds(run)
        state, stats = result if isinstance(result, tuple) else (result, {"steps": steps})
        rows.append((name, cpu, wall, str(stats["steps"]), f"{np.abs(state / exact - 1).max():.1e}"))
    head = "CPU s", "wall s", "times the first", "steps", "largest relative error"
    title = f"The Brusselator to t = {STEPS * DT} s, set-up included, {len(mesh.tets):,} tetrahedra"
    table(title, head, against(rows))


def growth_table(shells):
    rows = []
    for n in shells:
        problem, counts = three_species(n), []
        for dt in (1e-3, 1e-2, 1e-1, 1.0):
            counts.append(one_solve(problem, dt)())
        model = Model({"ball": "ball"}, [Species("u", "ball", 1, 1)])
        counts.append(one_solve(Discretisation(bind(model, round_ball(n))), 1.0)())
        rows.append((f"{8 * n**3:,}", f"{problem.size:,}", *map(str, counts)))
    head = "unknowns", "dt = 0.001 s", "0.01 s", "0.1 s", "1 s", "diffusion alone, 1 s"
    table("Linear iterations to 1e-6 with the Brusselator's Jacobian, by tetrahedra", head, rows)


def three_species(n):
    return Discretisation(bind(brusselator(), round_ball(n)))


def one_solve(problem, dt):
    """Return a function that solves one system anew and returns its number of iterations."""
    problem.linearise(0.0, problem.initial(), 2 / dt)
    b = problem.mass * np.random.default_rng(1).standard_normal(problem.size)
    size = np.linalg.norm(np.sqrt(problem.mass) * problem.multigrid.precondition(b))
    weights = np.sqrt(problem.mass) / size
    return lambda: problem.multigrid.solve(b, weights.copy(), 1e-6)[1]


def threads_table(shells):
    most = numba.config.NUMBA_NUM_THREADS
    rows = []
    for n in shells:
        problem, walls, cpus = three_species(n), [], []
        for threads in (1, most):
            numba.set_num_threads(threads)
            cpu, wall, _ = seconds(one_solve(problem, 0.1))
            cpus, walls = [*cpus, cpu], [*walls, wall]
        numba.set_num_threads(1)
        rows.append((f"{8 * n**3:,}", *walls, f"{walls[0] / walls[1]:.2f}", *cpus))
    head = "wall s on 1", f"on {most}", "speed-up", "CPU s on 1", f"on {most}"
    table("Threads: one system of three species, by tetrahedra", head, rows)


CHILD = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from bench_solver import brusselator, round_ball
from meshcell.solving.solver import solve
solve(round_ball(int(sys.argv[2])), brusselator(), [0, 0.02], step=0.01, rtol=1e-3, scheme=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def memory_table(n):
    """The largest memory of a process that makes the mesh and takes two steps."""
    rows = []
    for scheme in ("implicit", "imex"):
        command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(n), scheme]
        rows.append((scheme, float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)))
    table(f"Memory: {8 * n**3:,} tetrahedra, three species", ("GiB (Linux)",), rows)


def versions():
    for name in ("meshcell", "numpy", "scipy", "numba", "pyamg", "scikit-fem", "ngsolve", "fenics-dolfinx"):
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller balls")
    quick = parser.parse_args().quick
    print(f"{platform.machine()}, {os.cpu_count()} cores; {', '.join(versions())}")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print(f"load of the machine at the start: {load:.1f}")
    numba.set_num_threads(1)
    mesh = round_ball(14 if quick else 33)
    assembly_table(mesh)
    solution_table(mesh)
    steps_table(mesh)
    growth_table((9, 14, 18) if quick else (18, 33, 57))
    memory_table(14 if quick else 57)
    threads_table((9, 14) if quick else (12, 18, 33, 57))


if __name__ == "__main__":
    main()
