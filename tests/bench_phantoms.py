"""Measure crowded phantoms; prints a Markdown table. CPU seconds are user + system of this process.

    python tests/bench_phantoms.py [--quick] [--large]

The published program (polnet 1.1.2) on the same kind of recipe: 21 % of 500x500x200 voxels in 312 CPU s without
instances, 30 % of 300x300x120 in 157, a sphere membrane in 14.6, 2 % actin in 250x250x100 in 124.
"""

import argparse
import resource
import statistics
from dataclasses import replace

import numba
import numpy as np

from meshcell.phantoms import (
    Actin,
    Cluster,
    EllipsoidMembrane,
    HarmonicMembrane,
    Macromolecule,
    Microtubule,
    Recipe,
    SphereMembrane,
    TorusMembrane,
    TubeMembrane,
    statistics as measure,
)
from meshcell.phantoms.standins import CYTOSOLIC

NM = "1 nm"


def cpu_seconds(recipe, repeats):
    """Return the median CPU seconds of some runs with the last sample; the kernels are compiled already."""
    times = []
    for _ in range(repeats):
        start = resource.getrusage(resource.RUSAGE_SELF)
        sample = recipe.make()
        end = resource.getrusage(resource.RUSAGE_SELF)
        times.append(end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime)
    return statistics.median(times), sample


def crowd_of(total):
    """Twenty cytosolic species with equal shares."""
    return tuple(Macromolecule(name, total / len(CYTOSOLIC)) for name in CYTOSOLIC)


def everything(shape):
    """All kinds of structures, in the proportions of a crowded cytosol."""
    membranes = (
        SphereMembrane("vesicle", 0.002, radius=(0.02, 0.06)),
        EllipsoidMembrane("endosome", 0.002, radius=(0.03, 0.08)),
        TorusMembrane("ring", 0.001, ring=(0.05, 0.08), radius=(0.015, 0.025)),
        TubeMembrane("tubule", 0.002, length=(0.1, 0.3), radius=(0.012, 0.02)),
        HarmonicMembrane("bleb", 0.001, radius=(0.03, 0.06)),
    )
    filaments = (Microtubule("microtubule", 0.003), Actin("actin", 0.005, branching=0.3))
    bound = Macromolecule("channel", 0.1, membrane="vesicle")
    chains = Cluster("chains", 0.01, (Macromolecule("bacterial ribosome", 1.0),), cluster=(5, 15))
    return Recipe(shape, NM, membranes, filaments, (bound, chains, *crowd_of(0.2)), seed=1)


def row(what, recipe, repeats, promise):
    """Measure and print one row."""
    seconds, sample = cpu_seconds(recipe, repeats)
    stamped, occupied = int(sample.motifs["voxels"].sum()), int(np.count_nonzero(sample.instances.data))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    share, exact = occupied / sample.labels.data.size, "yes" if stamped == occupied else "NO"
    cells = [what, f"{share:.2%}", f"{len(sample.motifs):,}", f"{seconds:.2f}", f"{memory:.1f}", exact, promise]
    print(f"| {' | '.join(cells)} |", flush=True)
    return sample


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run each, no warm second one")
    parser.add_argument("--large", action="store_true", help="only the large sample, alone for its memory")
    options = parser.parse_args()
    repeats = 1 if options.quick or options.large else 3
    everything((120, 120, 100)).make()
    print("| sample | occupied | units | CPU s | peak GiB | stamped = occupied | promise |")
    print("|---|---|---|---|---|---|---|")
    if options.large:
        print(row("all structures, 1000x1000x250", everything((1000, 1000, 250)), 1, "8 GiB, 5 min"))
        return
    vesicle = SphereMembrane("vesicle", 1e-6, radius="60 nm")
    row("a sphere of radius 60 in 200x200x200", Recipe((200,) * 3, NM, (vesicle,)), 5, "0.1 s")
    actin = Recipe((250, 250, 100), NM, filaments=(Actin("actin", 0.02, branching=0.3, length=(0.03, 0.15)),))
    sample = row("2 % actin in 250x250x100", actin, repeats, "3 s")
    packed = Recipe((500, 500, 200), NM, macromolecules=crowd_of(0.25))
    row("20 species to 25 % in 500x500x200", packed, repeats, "10 s")
    row("20 species to 40 %, 2000 tries", replace(packed, macromolecules=crowd_of(0.4), tries=2000), repeats, "20 s")
    row(
        "as much as goes in 300x300x120, 1000 tries",
        Recipe((300, 300, 120), NM, macromolecules=crowd_of(0.6), tries=1000),
        repeats,
        ">= 45 %",
    )
    branched, n = measure.branching(sample, "actin")
    error = np.sqrt(0.3 * 0.7 / n)
    print(f"\nbranching {branched / n:.3f} of {n} filaments, asked 0.300 +- {error:.3f}")
    angles = measure.rotation_angles(packed.make().motifs["quaternion"])
    print(f"mean rotation angle {angles.mean():.3f} +- {angles.std() / np.sqrt(len(angles)):.3f}, uniform 126.476")
    print(f"numba {numba.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    main()
