"""Measure crowded phantoms; prints a Markdown table. CPU seconds are user + system of this process.

    python tests/bench_phantoms.py [--quick] [--large]

The published program (polnet 1.1.2) on the same kind of recipe: 21 % of 500x500x200 voxels in 312 CPU s without
instances, 30 % of 300x300x120 in 157, a sphere membrane in 14.6, 2 % actin in 250x250x100 in 124.
"""

import argparse
import resource
import statistics
import time
from dataclasses import replace

import numba
import numpy as np

import meshcell as mc
from meshcell.phantoms import (
    Actin,
    Cluster,
    EllipsoidMembrane,
    Filament,
    HarmonicMembrane,
    Macromolecule,
    Microtubule,
    Recipe,
    SheetStack,
    SphereMembrane,
    SurfaceMembrane,
    TorusMembrane,
    TubeMembrane,
)
from meshcell.phantoms.crowds import statistics as measure
from meshcell.phantoms.crowds.standins import CYTOSOLIC

NM = "1 nm"


def seconds(recipe, repeats):
    """Return the median CPU and wall seconds of some runs with the last sample; the kernels are compiled already."""
    cpu, wall = [], []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        sample = recipe.make()
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return statistics.median(cpu), statistics.median(wall), sample


def crowd_of(total):
    """Twenty cytosolic species with equal shares."""
    return tuple(Macromolecule(name, total / len(CYTOSOLIC)) for name in CYTOSOLIC)


def everything(shape):
    """All kinds of structures, in the proportions of a crowded cytosol."""
    middle = np.array(shape) * 5e-4
    ball = mc.smooth(mc.extract(mc.Volume(np.pad(np.ones((6, 6, 6), np.uint8), 3), "7 nm", names={1: "ball"})))
    own = mc.Surface(ball.points - ball.points.mean(axis=0) + middle, ball.triangles, ball.sides, ball.names)
    membranes = (
        SurfaceMembrane("own", surface=own),
        SphereMembrane("vesicle", 0.002, radius=(0.02, 0.05)),
        EllipsoidMembrane("endosome", 0.002, radius=(0.025, 0.055)),
        TorusMembrane("ring", 0.001, ring=(0.03, 0.04), radius=(0.012, 0.018)),
        TubeMembrane("tubule", 0.002, length=(0.1, 0.3), radius=(0.012, 0.02)),
        SheetStack("golgi", 0.002, radius=(0.03, 0.045), sheets=2),
        HarmonicMembrane("bleb", 0.001, radius=(0.03, 0.045)),
    )
    filaments = (
        Microtubule("microtubule", 0.003),
        Actin("actin", 0.005, branching=0.3),
        Filament("helix", 0.002, balls=((0.003, 0.0, 0.0, 0.0025),), rise=0.0014, twist=40.0),
        Filament("bundle", 0.002, bundle=7, persistence=10.0),
    )
    bound = (
        Macromolecule("channel", 0.1, membrane="vesicle"),
        Cluster(
            "raft", 0.05, (Macromolecule("spike", 2.0 / 3), Macromolecule("atp synthase", 1.0 / 3)), membrane="golgi"
        ),
    )
    chains = Cluster(
        "chains", 0.01, (Macromolecule("bacterial ribosome", 0.5), Macromolecule("trna", 0.5, density="hsp70")), (5, 15)
    )
    near = Macromolecule("halo", 0.002, density="ferritin", near=(0.012, 0.03))
    return Recipe(shape, NM, membranes, filaments, (*bound, chains, near, *crowd_of(0.2)), seed=1)


def row(what, recipe, repeats, promise):
    """Measure and print one row."""
    cpu, wall, sample = seconds(recipe, repeats)
    stamped, occupied = int(sample.motifs["voxels"].sum()), int(np.count_nonzero(sample.instances.data))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    share, exact = occupied / sample.labels.data.size, "yes" if stamped == occupied else "NO"
    cells = [
        what,
        f"{share:.2%}",
        f"{len(sample.motifs):,}",
        f"{cpu:.2f}",
        f"{wall:.2f}",
        f"{memory:.1f}",
        exact,
        promise,
    ]
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
    print("| sample | occupied | units | CPU s | wall s | peak GiB | stamped = occupied | promise |")
    print("|---|---|---|---|---|---|---|---|")
    if options.large:
        print(f"\n{row('all structures, 1000x1000x250', everything((1000, 1000, 250)), 1, '8 GiB, 5 min')}")
        return
    vesicle = SphereMembrane("vesicle", 1e-6, radius="60 nm")
    row("a sphere of radius 60 in 200x200x200", Recipe((200,) * 3, NM, (vesicle,)), 5, "0.1 s")
    actin = Recipe((250, 250, 100), NM, filaments=(Actin("actin", 0.02, branching=0.3, length=(0.03, 0.15)),))
    row("2 % actin in 250x250x100", actin, repeats, "3 s")
    packed = Recipe((500, 500, 200), NM, macromolecules=crowd_of(0.25))
    row("20 species to 25 % in 500x500x200", packed, repeats, "10 s")
    row("20 species to 40 % in 500x500x200", replace(packed, macromolecules=crowd_of(0.4)), repeats, "20 s")
    most = Recipe((300, 300, 120), NM, macromolecules=crowd_of(0.6))
    row("as much as goes in 300x300x120", most, repeats, ">= 45 %")
    counts = np.sum([measure.branching(replace(actin, seed=seed).make(), "actin") for seed in range(20)], axis=0)
    # The first filament of a sample cannot be a branch.
    branched, n = counts[0], counts[1] - 20
    error = np.sqrt(0.3 * 0.7 / n)
    print(f"\nbranching {branched / n:.3f} of {n} filaments, asked 0.300 +- {error:.3f}")
    angles = measure.rotation_angles(packed.make().motifs["quaternion"])
    print(f"mean rotation angle {angles.mean():.3f} +- {angles.std() / np.sqrt(len(angles)):.3f}, uniform 126.476")
    print(f"numba {numba.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    main()
