"""Send random label volumes through labels -> tetrahedra, verify every result, and print a Markdown table.

    python tests/bench_robustness.py [--seeds 1000] [--first 0] [--method auto] [--rows FILE]

Noise, islands, diagonal contacts, checkerboards, sheets and threads of one voxel, cells that fill the box; 1-30 labels,
anisotropy up to 5, see `phantoms.tangle`. With `--rows` every volume's figures are added to that file as soon as they
are there (one JSON object per line), and seeds that the file has already are not run again.
"""

import argparse
import json
import logging
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple
from pathlib import Path

import numba
import numpy as np

import meshcell as mc
from gallery.tangles import row_of

FALLBACKS = {"lattice": "going on with the lattice", "one volume": "one greatest volume"}
# What is listed by seed: a name, and whether a row misses it.
MISSES = {
    "refused": lambda row: "refused" in row,
    "labels lost or renumbered": lambda row: bool(row.get("lost")),
    "not conforming": lambda row: not row.get("conforming", True),
    "volume not positive": lambda row: not row.get("positive", True),
    "topology differs": lambda row: bool(row.get("topology")),
    "dihedral < 10": lambda row: row.get("dihedral", 90) < 10,
    "dihedral < 15": lambda row: row.get("dihedral", 90) < 15,
    "triangle < 15": lambda row: row.get("triangle", 90) < 15,
    "volume off by > 25 %": lambda row: row.get("volume error", 0) > 25,
    "fell back on the lattice": lambda row: "lattice" in row.get("fallbacks", []),
    "fell back on one volume": lambda row: "one volume" in row.get("fallbacks", []),
}


class Heard(logging.Handler):
    """Keep what is logged."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def cpu_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def verify(mesh, volume):
    """Return the figures of a mesh, with what does not agree with its labels."""
    voxel = float(np.prod(volume.spacing))
    found, expected = mc.topology(mesh), mc.topology(volume)
    errors = [
        100 * abs(float(mesh.volumes[mesh.regions == label].sum()) / (volume.counts[label] * voxel) - 1)
        for label in volume.regions
    ]
    return {
        "tets": len(mesh.tets),
        "lost": sorted({int(k) for k in np.unique(mesh.regions)} ^ set(volume.regions)),
        "conforming": conforms(mesh),
        "positive": bool(mesh.volumes.min() > 0),
        "topology": {k: [astuple(expected[k]), astuple(found[k]) if k in found else None]
                     for k in expected if found.get(k) != expected[k]},
        "dihedral": round(float(mc.angles(mesh).min()), 3),
        "widest": round(float(mc.angles(mesh).max()), 3),
        "triangle": round(float(mc.angles(mesh.surface).min()), 3),
        "volume error": round(max(errors), 2),
    }  # fmt: skip


def conforms(mesh):
    """Tell whether every face has one or two tetrahedra, and the facets are just the faces between regions."""
    corners = np.sort(mesh.tets[:, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]].reshape(-1, 3), axis=1)
    faces, which, counts = np.unique(corners, axis=0, return_inverse=True, return_counts=True)
    regions = np.repeat(mesh.regions, 4)
    least, most = np.full(len(faces), np.iinfo(np.int32).max), np.zeros(len(faces), np.int32)
    np.minimum.at(least, which.ravel(), regions)
    np.maximum.at(most, which.ravel(), regions)
    between = faces[(counts == 1) | (least != most)]
    facets = np.unique(np.sort(mesh.facets, axis=1), axis=0)
    return bool(counts.max() <= 2 and len(facets) == len(mesh.facets) and np.array_equal(facets, between))


def as_markdown(rows):
    """Print counts and percentiles, and the seeds that miss something."""
    lines = ["| figure | least | 1 % | 5 % | median | greatest |", "|---" * 6 + "|"]
    for what in ("voxels", "labels", "tets", "dihedral", "widest", "triangle", "volume error", "seconds"):
        values = [row[what] for row in rows if what in row]
        cells = [f"{value:.4g}" for value in np.percentile(values, [0, 1, 5, 50, 100])]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"{len(rows)} volumes, {sum(row.get('tets', 0) for row in rows):,} tetrahedra, "
        f"{sum(row['seconds'] for row in rows):,.0f} CPU s",
        "",
        "| miss | volumes | seeds |",
        "|---|---|---|",
    ]
    for what, missed in MISSES.items():
        seeds = [row["seed"] for row in rows if missed(row)]
        shown = " ".join(map(str, seeds[:40])) + (" ..." if len(seeds) > 40 else "")
        lines.append(f"| {what} | {len(seeds)} | {shown} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--method", default="auto", choices=("auto", "tetgen", "lattice"))
    parser.add_argument("--rows", type=Path, help="file to add each volume's figures to, and to go on from")
    chosen = parser.parse_args()
    known = chosen.rows.read_text().splitlines() if chosen.rows and chosen.rows.exists() else []
    rows = {row["seed"]: row for row in map(json.loads, known)}
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    missing = [seed for seed in seeds if seed not in rows]
    with ProcessPoolExecutor(2, initializer=numba.set_num_threads, initargs=(1,)) as pool:
        for row in pool.map(row_of, missing, [chosen.method] * len(missing)):
            rows[row["seed"]] = row
            if chosen.rows:
                with chosen.rows.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print(as_markdown([rows[seed] for seed in seeds]))


if __name__ == "__main__":
    main()
