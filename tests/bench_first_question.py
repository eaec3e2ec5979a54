"""Measure the first model and bind of a fresh process, and questions to a solution; prints one Markdown table.

    python tests/bench_first_question.py

CPU seconds (user + system), the median of five. What numba, numpy and scipy take to import is not counted.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import meshcell as mc
from gallery.balls import round_ball
from meshcell.models.binding import bind

REPEATS = 5
REGIONS = {1: "cytosol", 2: "er"}
FIRST = """
import sys, time
import numba, numpy, scipy.sparse.csgraph, scipy.sparse.linalg
start = time.process_time()
import bench_first_question as bench
model = bench.page()
modelled = time.process_time()
mesh = bench.round_ball(4, core=2, names=bench.REGIONS)
meshed = time.process_time()
bench.bind(model, mesh)
print(modelled - start + time.process_time() - meshed)
"""


def page():
    """Make the model of the design's first page."""
    compartments = {"cyt": "cytosol", "er": "er", "PM": ("cytosol", "outside"), "ERM": ("er", "cytosol")}
    species = [
        mc.Species("Ca", "cyt", diffusion="220 um^2/s", initial="0.1 uM"),
        mc.Species("CaER", "er", diffusion="6 um^2/s", initial="400 uM"),
    ]
    reactions = [
        mc.Reaction("leak", "ERM", "k_leak*(CaER - Ca)", {"CaER": -1, "Ca": +1}),
        mc.Reaction("pump", "PM", "v*Ca/(K + Ca)", {"Ca": -1}),
    ]
    return mc.Model(compartments, species, reactions, {"k_leak": "0.02 um/s", "v": "30 molecule/um^2/s", "K": "0.2 uM"})


def first_bind():
    """Return the CPU seconds of import, model and bind in a fresh process."""
    command = [sys.executable, "-c", FIRST]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent).stdout)


def seconds(question, solution):
    """Return the CPU seconds of one answer."""
    start = time.process_time()
    question(solution)
    return time.process_time() - start


def still(mesh):
    """Make a solution in which nothing moves, at ten times."""
    model = page()
    species = bind(model, mesh).species.values()
    values = {item.name: np.tile(item.initial, (10, 1)) for item in species}
    return mc.Solution(mesh, model, np.arange(10.0), values, {item.name: item.compartment.nodes for item in species})


def main():
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; CPU s, median of {REPEATS}"
    )
    solution = still(round_ball(26, core=13, names=REGIONS))
    questions = {
        "first `mean`": lambda loaded: mc.mean(replace(loaded), "Ca"),
        "`mean`": lambda known: mc.mean(known, "Ca"),
        "`total`": lambda known: mc.total(known, "Ca"),
        "`gains`": lambda known: mc.gains(known, "Ca"),
        "`flux`": lambda known: mc.flux(known, "leak"),
    }
    print(f"\n| {len(solution.mesh.tets):,} tetrahedra, {len(solution.times)} times | CPU s |\n|---|---|")
    print(f"| import, `Model` and `bind` | {statistics.median(first_bind() for _ in range(REPEATS)):.3f} |")
    for name, question in questions.items():
        question(solution)
        print(f"| {name} | {statistics.median(seconds(question, solution) for _ in range(REPEATS)):.4f} |")


if __name__ == "__main__":
    main()
