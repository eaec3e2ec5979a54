"""A lamella cut from a phantom of a cell and seen by an electron microscope: what segmentation is judged on.

Membranes are dense, the inside of most organelles is nearly as grey as the cytosol, macromolecules are denser still.
"""

import numpy as np
from scipy import ndimage

import meshcell as mc
from meshcell.imaging.tomograms import membranes, stain

# Relative to the cytosol, as vitreous ice and buffer take no part in contrast.
DENSITIES = {"mitochondrion": 0.3, "nucleus": 0.15, "vesicle": -0.1}
MEMBRANE, MACROMOLECULE = 1.5, 2.5
ORGANELLE = {1: "organelle", 2: "membrane"}
STEP = 0.014  # um


def lamella(seed, *, shape=(128, 128, 48), macromolecules=5000, snr=1.0, method="wbp", **options):
    """Return the truth (1 inside of organelles, 2 membranes) and a tomogram from -60 to 60 degrees.

    `macromolecules` per um^3 of cytosol are about 25 nm across, as ribosomes are, and count as outside.
    """
    counts = {"mitochondria": 14, "er_nodes": 40, "vesicles": 60, "nucleus": 0.35}
    cell = mc.cell((160, 160, 160), STEP, rng=seed, **counts)
    cut = tuple(slice((160 - n) // 2, (160 - n) // 2 + n) for n in shape)
    labels = mc.Volume(cell.data[cut], cell.spacing, names=cell.names)
    walls = membranes(labels)
    truth = np.where(walls, 2, labels.data > 1).astype(np.uint8)
    density = stain(labels, DENSITIES, membrane=MEMBRANE, blur=0.5).data
    density = density + macromolecular(labels, walls, macromolecules, seed)
    angles = mc.tilt_angles(60, 3)
    seen = mc.tomogram(mc.Volume(density, STEP), angles, snr=snr, rng=seed + 100, method=method, **options)
    return mc.Volume(truth, STEP, seen.origin, ORGANELLE), seen


def macromolecular(labels, walls, per_um3, seed, sigma=0.75):
    """Scatter blobs in the cytosol, two and a half voxels or more from membranes."""
    room = np.flatnonzero((labels.data == 1) & (ndimage.distance_transform_edt(~walls) > 2.5))
    n = min(len(room), int(per_um3 * (labels.data == 1).sum() * STEP**3))
    blobs = np.zeros(labels.data.shape, np.float32)
    blobs.ravel()[np.random.default_rng(seed + 50).choice(room, n, replace=False)] = 1
    return ndimage.gaussian_filter(blobs, sigma) * MACROMOLECULE * (2 * np.pi * sigma**2) ** 1.5


def painted_slices(truth, slices):
    """Keep the labels of a few sections, as a person paints them."""
    data = np.full(truth.data.shape, 255, np.uint8)
    data[:, :, slices] = truth.data[:, :, slices]
    return mc.Volume(data, truth.spacing, truth.origin, truth.names)


def best_threshold(truth, seen, label):
    """Return the greatest Dice score of one band of intensities, chosen with the truth: any one or two thresholds."""
    limits = np.quantile(seen.data, np.linspace(0, 1, 202)[1:-1])
    edges = [-np.inf, *limits, np.inf]
    inside = truth.data == label
    below = [np.concatenate([[0], np.histogram(part, edges)[0].cumsum()]) for part in (seen.data, seen.data[inside])]
    everything, hits = ((count[None] - count[:, None]).astype(float) for count in below)
    return float((2 * hits / np.maximum(everything + inside.sum(), 1)).max())
