"""Send random label volumes through labels -> tetrahedra, verify every result, and print a Markdown table.

    python tests/bench_robustness.py [--seeds 1000] [--first 0] [--method auto] [--rows FILE]

Noise, islands, diagonal contacts, checkerboards, sheets and threads of one voxel, cells that fill the box; 1-30 labels,
anisotropy up to 5, see `phantoms.tangle`. With `--rows` every volume's figures are added to that file as soon as they
are there (one JSON object per line), and seeds that the file has already are not run again.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numba
import numpy as np

from gallery.tangles import row_of

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
