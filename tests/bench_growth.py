"""Time what is asked of labels, surfaces and meshes under 100 and under 10,000 labels, and print a Markdown table.

    python tests/bench_growth.py [--voxels 100] [--what surface]

Of volumes twice: the same blocks dealt to few labels or many ("dealt": the same faces), and few large blocks against
many small ones ("blocks": with many, more faces). Surfaces and meshes have the same triangles under few labels or many;
what is told of every interface or region grows with these. CPU time, one thread, medians of three after a warm-up.
"""

import argparse
import os
import time

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np

import meshcell as mc
from gallery.blocks import blocks, filled
from meshcell.geometry.topology import topology

VOLUME = {
    "repr": repr,
    "check": mc.check,
    "clean": mc.clean,
    "clean(smooth=1)": lambda volume: mc.clean(volume, smooth=1.0),
    "topology": topology,
    "extract": mc.extract,
}
MESH = {
    "areas": mc.areas,
    "enclosed_volumes": mc.enclosed_volumes,
    "repr": repr,
    "check": mc.check,
    "quality": mc.quality,
    "str(quality)": lambda mesh: str(mc.quality(mesh)),
    "topology": topology,
}


def anew(thing):
    """Make the thing again, without what it has kept of itself."""
    if isinstance(thing, mc.Volume):
        return mc.Volume(thing.data, thing.spacing)
    if isinstance(thing, mc.Surface):
        return mc.Surface(thing.points, thing.triangles, thing.sides, thing.names, thing.patches, thing.resolution)
    return mc.TetMesh(thing.points, thing.tets, thing.regions, thing.facets, thing.sides, thing.names, thing.patches)


def cpu(function, thing, times=3):
    took = []
    for _ in range(times):
        fresh = anew(thing)
        start = time.process_time()
        function(fresh)
        took.append(time.process_time() - start)
    return float(np.median(took))


def things(n):
    """Return what -> (functions, with few labels, with many)."""
    few, many = (5, 5, 4), (20, 20, 25)
    dealt, whole = blocks(many, n, 100), blocks(many, n)
    small = 2 * n // 5
    return {
        "volume, dealt": lambda: (VOLUME, dealt, whole),
        "volume, blocks": lambda: (VOLUME, blocks(few, n), whole),
        "surface": lambda: (MESH, mc.extract(dealt), mc.extract(whole)),
        "mesh": lambda: (MESH, filled(blocks(many, small, 100)), filled(blocks(many, small))),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voxels", type=int, default=100, help="along each axis")
    parser.add_argument("--what", default="", help="only things with this in their names")
    chosen = parser.parse_args()
    print("| thing | function | 100 labels, CPU s | 10,000 labels, CPU s | growth |\n|---|---|---|---|---|")
    for name, make in things(chosen.voxels).items():
        if chosen.what not in name:
            continue
        functions, few, many = make()
        for what, function in functions.items():
            function(anew(few))
            slow, fast = cpu(function, many), cpu(function, few)
            print(f"| {name} | {what} | {fast:.3f} | {slow:.3f} | {slow / fast:.2f} |", flush=True)


if __name__ == "__main__":
    main()
