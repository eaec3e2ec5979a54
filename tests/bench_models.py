"""Measure what models cost: steps of few and many species, the choice of scheme, studies; prints Markdown tables.

    python tests/bench_models.py [--quick]

The peer of a choice is the better one of its two schemes, that of a pool the same model without it, that of the solver
on small meshes scipy's BDF of the same equations with the same sparse Jacobian's pattern. CPU seconds are user + system
of this process on one thread, medians of three after a warm-up.
"""

import argparse
import os
import resource
import statistics

os.environ.setdefault("NUMBA_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import scipy.sparse as sp
from scipy.integrate import solve_ivp

from gallery import published, published_limits
from gallery.balls import round_ball
from gallery.meshes import box
from gallery.models import BALL, brusselator, buffered, calcium, receptor
from gallery.published_runs import CASES, stirred
from meshcell.analysis.quantities import mean
from meshcell.models.binding import bind
from meshcell.models.mixing import well_mixed
from meshcell.models.model import Model
from meshcell.models.species import Pool, Reaction, Species
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.solver import solve


def cpu(run, times=3):
    """Return the median CPU seconds after a warm-up, and the last result."""
    took = []
    for _ in range(times + 1):
        before = resource.getrusage(resource.RUSAGE_SELF)
        result = run()
        after = resource.getrusage(resource.RUSAGE_SELF)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(took[1:]), result


def table(title, head, rows):
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print("| " + " | ".join(cell if isinstance(cell, str) else f"{cell:.3g}" for cell in row) + " |", flush=True)


# --- models ---


def kinase():
    """A kinase on the membrane of a ball, a phosphatase within (Meyers, Craig, Odde 2006)."""
    species = [Species("A", "ball", 10, 1.0), Species("P", "ball", 10)]
    reactions = [Reaction("on", "rim", "k*A", {"A": -1, "P": 1}), Reaction("off", "ball", "10*P", {"P": -1, "A": 1})]
    return Model(BALL, species, reactions, {"k": 1.0})


def chain(n=15):
    """A ring of species that turn into each other, in pairs."""
    species = [Species(f"S{k}", "ball", 1 + k, 1 + 0.1 * k) for k in range(n)]
    steps = [
        Reaction(f"r{k}", "ball", f"S{k}*S{(k + 1) % n}/(1 + S{k})", {f"S{k}": -1, f"S{(k + 2) % n}": 1})
        for k in range(n)
    ]
    return Model({"ball": "ball"}, species, steps)


def with_pool():
    model = kinase()
    more = [Pool("ATP", 2.0, 5.0)]
    steps = [Reaction("use", "rim", "0.1*A*ATP", {"ATP": -1}), Reaction("make", "ATP", "5 - ATP", {"ATP": 1})]
    return Model(model.compartments, [*model.species, *more], [*model.reactions, *steps], model.parameters)


# --- tables ---


def steps_table(sizes):
    rows = []
    for n in sizes:
        mesh = round_ball(n)
        for name, model, count in (
            ("kinase", kinase(), 100),
            ("kinase and a pool", with_pool(), 100),
            ("15 species", chain(), 20),
        ):
            for scheme in ("imex", "implicit"):
                whole = cpu(lambda m=model, c=count, s=scheme, b=mesh: solve(b, m, [0, 1.0], step=1.0 / c, scheme=s))
                once = cpu(lambda m=model, b=mesh: Discretisation(bind(m, b)))[0]
                rows.append((name, f"{len(mesh.points):,}", scheme, whole[0], once, 1e3 * (whole[0] - once) / count))
    head = ("model", "nodes", "scheme", "CPU s", "of which set-up", "ms a step")
    table("Equal steps to 1 s", head, rows)


def choice_table(n):
    mesh, rows = round_ball(n), []
    page = round_ball(n, core=n // 2)
    kinds = {
        "the page": (page, calcium(), 2.0),
        "kinase": (mesh, kinase(), 1.0),
        "Brusselator": (mesh, brusselator(), 5.0),
        "stiff buffer": (mesh, buffered(), 0.1),
        "receptor": (mesh, receptor(), 10.0),
    }
    for name, (body, model, end) in kinds.items():
        took = {
            scheme: cpu(lambda s=scheme, b=body, m=model, e=end: solve(b, m, [0, e], scheme=s))
            for scheme in ("auto", "implicit", "imex")
        }
        best = min(took["implicit"][0], took["imex"][0])
        counts = ", ".join(str(found.stats["steps"]) for _, found in took.values())
        rows.append((name, *(seconds for seconds, _ in took.values()), took["auto"][0] / best, counts))
    head = ("model", "auto, CPU s", "implicit", "imex", "auto / the better", "steps")
    table(f"The choice of scheme at rtol 1e-4, {len(mesh.tets):,} tetrahedra", head, rows)


def study_table(n, count):
    mesh = box(n, names={1: "ball"})
    first = Model(
        {"ball": "ball"}, [Species("A", "ball", 1, "1 + x")], [Reaction("r", "ball", "k*A", {"A": -1})], {"k": 1.0}
    )

    def study():
        for k in range(count):
            solve(mesh, Model(first.compartments, first.species, first.reactions, {"k": 1 + k / count}), [0, 1.0])

    alone = cpu(lambda: solve(mesh, first, [0, 1.0]))[0]
    table(
        f"A study of {count} parameter sets, {len(mesh.tets):,} tetrahedra, one species",
        ("CPU s each", "one run alone"),
        [(cpu(study, 1)[0] / count, alone)],
    )


def scipy_table(n):
    """The Brusselator at one tolerance by scipy's BDF on our own equations, and by us."""
    mesh = round_ball(n)
    problem = Discretisation(bind(brusselator(), mesh))
    pattern = problem.fixed != 0
    blocks = sp.csr_array((np.ones(len(problem.blocks.rows)), (problem.blocks.rows, problem.blocks.columns)))
    sparsity = sp.csr_array(pattern) + blocks
    exact = solve(mesh, brusselator(), [0, 1.0], rtol=1e-7)

    def scipys():
        return solve_ivp(
            lambda t, u: problem.rate(t, u) / problem.mass,
            (0, 1.0),
            problem.initial(),
            "BDF",
            rtol=1e-4,
            atol=1e-7,
            jac_sparsity=sparsity,
        )

    rows = []
    for name, run in {"meshcell": lambda: solve(mesh, brusselator(), [0, 1.0]), "scipy's BDF": scipys}.items():
        seconds, found = cpu(run)
        if name == "meshcell":
            ends, steps = found.values, found.stats["steps"]
        else:
            ends, steps = problem.outward([found.y[:, -1]], np.array([1.0])), len(found.t)
        error = max(float(np.abs(ends[key][-1] / exact.values[key][-1] - 1).max()) for key in ends)
        rows.append((name, seconds, f"{steps}", f"{error:.1e}"))
    table(
        f"The Brusselator to 1 s, {len(mesh.tets):,} tetrahedra", ("", "CPU s", "steps", "largest relative error"), rows
    )


def published_table():
    rows = []
    for name, (make, last, events) in CASES.items():
        mesh, model, times = make(), stirred(getattr(published, name)()), np.linspace(0, last, 26)
        truth = getattr(published_limits, name)(well_mixed(model, mesh).sizes).course(times)
        seconds, found = cpu(lambda run=(mesh, model, times), acts=events: solve(*run, events=list(acts)), times=1)
        error = max(np.abs(mean(found, each) - values).max() / np.ptp(values) for each, values in truth.items())
        drift = found.stats.get("mass_drift", "none kept")
        steps, unknowns = found.stats["steps"], found.stats["unknowns"]
        rows.append([name, len(model.species), unknowns, steps, 1e3 * seconds / steps, error, drift])
    head = ["model", "species", "unknowns", "steps", "CPU ms a step", "error / range", "drift"]
    table("Published models, stirred, against their ordinary differential equations", head, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small meshes alone")
    quick = parser.parse_args().quick
    steps_table((4,) if quick else (8, 16, 24))
    choice_table(4 if quick else 16)
    study_table(4 if quick else 12, 5 if quick else 100)
    scipy_table(4 if quick else 8)
    published_table()


if __name__ == "__main__":
    main()
