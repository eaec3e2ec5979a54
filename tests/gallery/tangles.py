"""Random label volumes through the mesher, and the figures of what came out."""

import logging
import resource
from dataclasses import astuple

import numpy as np

import meshcell as mc
from gallery.labels import tangle

FALLBACKS = {"lattice": "going on with the lattice", "one volume": "one greatest volume"}


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


def row_of(seed, method):
    """Mesh one volume and measure what came out."""
    log, heard = logging.getLogger("meshcell"), Heard()
    log.setLevel(logging.INFO)
    log.addHandler(heard)
    volume, start = tangle(seed), cpu_seconds()
    row = {"seed": seed, "voxels": int(volume.data.size), "labels": len(volume.regions)}
    try:
        mesh = mc.tetrahedralize(volume, edge=1.5 * min(volume.spacing), method=method)
        row |= {"seconds": round(cpu_seconds() - start, 2)} | verify(mesh, volume)
    except Exception as error:  # a bench has to tell which seeds raise, whatever they raise
        row |= {"seconds": round(cpu_seconds() - start, 2), "refused": f"{type(error).__name__}: {error}"[:300]}
    log.removeHandler(heard)
    row["fallbacks"] = [name for name, text in FALLBACKS.items() if any(text in line for line in heard.lines)]
    return row
