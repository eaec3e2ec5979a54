"""Digests of what every stage makes of a body of the meshing table, or of a small crowd, for `test_processors.py`.

python tests/digests.py noise scraps "a crowd"      print them as JSON: body -> stage -> digest
"""

import hashlib
import json
import sys

import numpy as np

import meshcell as mc
from gallery.crowds import FILAMENTS, MACROMOLECULES, MEMBRANES
from meshing_table import FAST, SLOW


def digest(*arrays):
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def of_mesh(mesh):
    return digest(mesh.points, mesh.tets, mesh.regions, mesh.facets, mesh.sides)


def of_surface(surface):
    return digest(surface.points, surface.triangles, surface.sides)


def body(name, lattice=False):
    """Go from labels to tetrahedra; return stage -> digest, in the order of the work."""
    labels, edge, _ = {**FAST, **SLOW}[name]
    volume = labels()
    edge = edge * min(volume.spacing)
    found = {"labels": digest(volume.data)}
    surface = mc.extract(volume)
    found["extract"] = of_surface(surface)
    surface = mc.smooth(surface)
    found["smooth"] = of_surface(surface)
    surface = mc.remesh(surface, edge=edge)
    found["remesh"] = of_surface(surface)
    found["improve"] = of_mesh(mc.tetrahedralize(surface, edge=edge, recondition=False))
    if lattice:
        found["lattice"] = of_mesh(mc.tetrahedralize(volume, edge=edge, method="lattice"))
        found["voxelize"] = digest(mc.voxelize(surface, edge).data)
    return found


def crowd():
    """Pack something of every kind; return what holds it -> digest."""
    sample = mc.crowd(
        (110, 100, 90), "1 nm", membranes=MEMBRANES, filaments=FILAMENTS, macromolecules=MACROMOLECULES, rng=4
    )
    surfaces, lines = list(sample.surfaces.values()), list(sample.centrelines.values())
    return {
        "membranes": digest(*(surface.points for surface in surfaces)),
        "filaments": digest(*lines),
        "labels": digest(sample.labels.data, sample.instances.data),
        "places": digest(*(sample.motifs[what] for what in ("position", "quaternion", "voxels"))),
        "density": digest(sample.density.data),
    }


if __name__ == "__main__":
    names = sys.argv[1:]
    found = {name: crowd() if name == "a crowd" else body(name, lattice=name == "noise") for name in names}
    sys.stdout.write(json.dumps(found) + "\n")
