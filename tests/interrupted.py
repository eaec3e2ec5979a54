"""Run one long function on a large input, for `test_interrupts.py`: says when it begins, and when it hears Ctrl-C."""

import os
import signal
import sys

import numpy as np

import meshcell as mc
from gallery.blocks import blocks, filled
from meshcell.geometry.intersections import self_intersections


def bumpy(n):
    """Return many bodies in a cube of n voxels along each axis, as a surface."""
    return mc.extract(blocks((n // 8,) * 3, n, 5))


def jittered(n):
    """Return a mesh with many bad angles."""
    mesh = filled(blocks((2, 2, 2), n))
    inside = np.ones(len(mesh.points), bool)
    inside[mesh.facets] = False
    moves = np.random.default_rng(0).uniform(-0.45, 0.45, mesh.points.shape) * inside[:, None] * 0.008
    for share in (1.0, 0.7, 0.5, 0.3):
        try:
            return mc.TetMesh(mesh.points + share * moves, mesh.tets, mesh.regions, mesh.facets, mesh.sides)
        except mc.MeshError:
            continue
    return mesh


# Name -> (make the input of a size, what is run).
RUNS = {
    "check": (bumpy, mc.check),
    "self_intersections": (bumpy, self_intersections),
    "smooth": (bumpy, mc.smooth),
    "decimate": (bumpy, lambda surface: mc.decimate(surface, max_error=0.02)),
    "remesh": (bumpy, lambda surface: mc.remesh(surface, edge=0.02)),
    "improve": (jittered, lambda mesh: mc.improve(mesh, min_dihedral=40)),
    "lattice": (lambda n: blocks((3, 3, 3), n), lambda v: mc.tetrahedralize(v, edge=0.03, method="lattice")),
    "crowd": (
        int,
        lambda n: mc.crowd((n,) * 3, "1 nm", macromolecules=[mc.phantoms.Macromolecule("hsp70", 0.6)], rng=0),
    ),
}


def main():
    # Where the tests run in the background, Ctrl-C is switched off and the switch is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    name, size, small = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    make, run = RUNS[name]
    # Kernels are compiled or loaded here.
    run(make(small))
    large = make(size)
    print("begins", flush=True)
    try:
        run(large)
    except KeyboardInterrupt:
        print("heard at", os.times().user)
        raise
    print("ended by itself", flush=True)


if __name__ == "__main__":
    main()
