"""Random label volumes through the mesher, and the figures of what came out."""

import logging

import meshcell as mc
from bench_robustness import FALLBACKS, Heard, cpu_seconds, verify
from gallery.labels import tangle


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
