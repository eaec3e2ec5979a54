"""Measure projection and reconstruction against ASTRA, and segmentation, in one run; prints Markdown tables.

    pip install -e ".[bench,classifier,unet]"
    python tests/bench_tomography.py [projection] [reconstruction] [segmentation]

CPU seconds are user + system of this process, the median of five after a warm-up. ASTRA's CPU projectors work on one
slice at a time. Segmentation is trained on one lamella of a phantom cell (`lamella.py`) and judged on another; the
U-Net learns from two more, and takes about seven CPU minutes.
"""

import platform
import resource
import statistics
import sys
import time
from importlib.metadata import version

import astra
import numba
import numpy as np

import meshcell as mc
from gallery.lamella import best_threshold, lamella, painted_slices
from gallery.shadows import ellipse_phantom, ellipse_shadows
from meshcell.imaging.filters import DENOISERS, denoise, features
from meshcell.imaging.pixel_classifier import train
from meshcell.imaging.projection import adjoint, backproject, forward, shadow_table, tilt_angles


def cpu_seconds(function, *args, repeats=5, **kwargs):
    """Return the median CPU seconds after a warm-up, and the last result; without repeats those of the only run."""

    def clock():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    start = clock()
    result, times = function(*args, **kwargs), []
    if not repeats:
        return clock() - start, result
    for _ in range(repeats):
        start = clock()
        result = function(*args, **kwargs)
        times.append(clock() - start)
    return statistics.median(times), result


class Astra:
    """ASTRA's projector for one slice of n x n pixels."""

    def __init__(self, kind, n, angles, across):
        grid, beams = astra.create_vol_geom(n, n), astra.create_proj_geom("parallel", 1.0, across, np.deg2rad(angles))
        self.id = astra.create_projector(kind, beams, grid)

    def forward(self, picture):
        # Its rows run down z, its columns along x.
        name, sinogram = astra.create_sino(np.ascontiguousarray(picture.T[::-1]), self.id)
        astra.data2d.delete(name)
        return sinogram

    def adjoint(self, sinogram):
        name, picture = astra.create_backprojection(sinogram, self.id)
        astra.data2d.delete(name)
        return picture


def accuracy_table():
    n, angles = 256, np.arange(-90.0, 90.0, 1.0)
    picture, bodies = ellipse_phantom(n)
    series = mc.project(mc.Volume(picture[:, None, :], 1.0), angles)
    exact = ellipse_shadows(bodies, angles, series.images.shape[2], 2 / n) * n / 2
    found = {"meshcell": series.images[:, 0]}
    for kind in ("linear", "strip"):
        # The other way round: ASTRA's rays are x cos + y sin with y upward.
        found[f"ASTRA {kind}"] = Astra(kind, n, angles, exact.shape[1]).forward(picture)
    print("\nThree ellipses at 256 x 256, 180 views, against the closed form\n")
    print("| | relative RMSE | mass, greatest deviation of a view |\n|---|---|---|")
    for name, views in found.items():
        error = np.linalg.norm(views - exact) / np.linalg.norm(exact)
        mass = np.abs(views.sum(axis=1, dtype=float) / picture.sum() - 1).max()
        print(f"| {name} | {error:.5f} | {mass:.1e} |")
    rng = np.random.default_rng(0)
    volume, images = mc.Volume(rng.random((n, 3, n)), 1.0), rng.random((len(angles), 3, exact.shape[1]))
    back = backproject(mc.TiltSeries(images, angles, 1.0), (n, 3, n)).data
    left = np.vdot(mc.project(volume, angles, width=exact.shape[1]).images.astype(float), images)
    print(f"\nAdjoint: <Ax, y> and <x, A'y> differ by {abs(np.vdot(volume.data, back.astype(float)) / left - 1):.1e}")


def speed_table(sizes=((64, 64, 64), (128, 64, 128), (256, 128, 256)), n_angles=41):
    print(f"\nVoxel updates per core-second, {n_angles} views\n")
    print("| volume | | forward | back | ratio to ASTRA linear, forward and back |\n|---|---|---|---|---|")
    angles = np.linspace(-60, 60, n_angles)
    for shape in sizes:
        n, along, _ = shape
        across = int(np.ceil(n * np.sqrt(2)))
        blocks = np.random.default_rng(0).random((along // 32, n, n, 32), dtype=np.float32)
        shadows = shadow_table(angles, (1.0, 1.0), 1.0)
        t, images = cpu_seconds(forward, blocks, shadows, across)
        s, _ = cpu_seconds(adjoint, images, shadows, n, n)
        volume = mc.Volume(np.moveaxis(blocks, 3, 1).swapaxes(0, 2).reshape(n, along, n), 1.0)
        whole, series = cpu_seconds(mc.project, volume, angles, width=across)
        whole_back, _ = cpu_seconds(backproject, series, shape)
        updates = volume.data.size * n_angles
        rates = {"kernel": (updates / t, updates / s), "project, backproject": (updates / whole, updates / whole_back)}
        for kind in ("linear", "strip"):
            peer, picture = Astra(kind, n, angles, across), volume.data[:, 0]
            a, sinogram = cpu_seconds(peer.forward, picture)
            b, _ = cpu_seconds(peer.adjoint, sinogram)
            # ASTRA is quick on small slices: more of them than the clock's step.
            rates[f"ASTRA {kind}"] = (n * n * n_angles / max(a, 1e-4), n * n * n_angles / max(b, 1e-4))
        base = rates["ASTRA linear"]
        for name, (up, down) in rates.items():
            ratio = f"{up / base[0]:.1f}, {down / base[1]:.1f}"
            print(f"| {n} x {along} x {n} | {name} | {up:.2g} | {down:.2g} | {ratio} |")


def reconstruction_table():
    shape = (256, 128, 256)
    truth = mc.Volume(np.random.default_rng(0).random(shape, dtype=np.float32), 1.0)
    series = mc.project(truth, tilt_angles(60, 3), width=256)
    print(f"\nReconstruction of {' x '.join(map(str, shape))} from 41 images, CPU s\n\n| method | CPU s |\n|---|---|")
    for method, iterations in (("wbp", 1), ("sirt", 30), ("cgls", 10), ("sart", 3), ("tv", 3)):
        seconds, _ = cpu_seconds(mc.reconstruct, series, shape, method=method, iterations=iterations, repeats=1)
        print(f"| {method}, {iterations} iterations | {seconds:.1f} |")


def sirt_table():
    """The promise: 30 iterations of 256 x 256 x 128 from 41 images within 30 s on two cores; ASTRA's on one slice."""
    shape, angles = (256, 256, 128), tilt_angles(60, 3)
    truth = mc.Volume(np.random.default_rng(0).random(shape, dtype=np.float32), 1.0)
    series = mc.project(truth, angles, width=256)
    mc.reconstruct(series, shape, method="sirt", iterations=1)
    start = time.perf_counter()
    seconds, _ = cpu_seconds(mc.reconstruct, series, shape, method="sirt", iterations=30, repeats=1)
    # The warm-up ran as long.
    wall = (time.perf_counter() - start) / 2
    grid, beams = astra.create_vol_geom(128, 256), astra.create_proj_geom("parallel", 1.0, 256, np.deg2rad(angles))
    projector = astra.create_projector("linear", beams, grid)
    config = astra.astra_dict("SIRT")
    config["ProjectorId"] = projector
    config["ProjectionDataId"] = astra.data2d.create("-sino", beams, np.ascontiguousarray(series.images[:, 0]))
    config["ReconstructionDataId"] = astra.data2d.create("-vol", grid, 0)
    peer, _ = cpu_seconds(astra.algorithm.run, astra.algorithm.create(config), 30)
    print("\nSIRT, 30 iterations of 256 x 256 x 128 from 41 images\n\n| | CPU s | wall s |\n|---|---|---|")
    print(f"| meshcell | {seconds:.1f} | {wall:.1f} |\n| ASTRA linear, one slice x 256 | {256 * peer:.0f} | |")


def segmentation_speed_table(n=128):
    volume = mc.Volume(np.random.default_rng(0).standard_normal((n, n, n), dtype=np.float32), 0.01)
    rows = {f"denoise, {method}": cpu_seconds(denoise, volume, method=method, repeats=1)[0] for method in DENOISERS}
    rows["15 features"] = cpu_seconds(features, volume, repeats=3)[0]
    print("\nCPU s per million voxels\n\n| | |\n|---|---|")
    for name, seconds in rows.items():
        print(f"| {name} | {seconds / n**3 * 1e6:.2f} |")


def segmentation_table(macromolecules, learn=True):
    (truth, example), (other, seen) = (lamella(seed, macromolecules=macromolecules) for seed in (1, 2))
    smooth = [denoise(seen, strength=s) for s in (0.7, 1.0, 1.5, 2.0, 4.0)]
    found = {
        "best thresholds, raw": [best_threshold(other, seen, label) for label in (1, 2)],
        "best thresholds, best Gaussian": [max(best_threshold(other, s, label) for s in smooth) for label in (1, 2)],
    }
    costs = dict.fromkeys(found, ("", ""))
    sections = painted_slices(truth, [10, 24, 38])
    ways = {
        "forest, 3 painted sections": (sections, 1),
        "forests in 3 rounds, 3 painted sections": (sections, 3),
        "forests in 3 rounds, one phantom": (truth, 3),
    }
    for name, (painted, rounds) in ways.items():
        learning, trained = cpu_seconds(train, example, painted, rounds=rounds, rng=0, repeats=0)
        judge(name, trained, other, seen, learning, found, costs)
    if learn:
        from meshcell.imaging.unet import train_unet

        more = [lamella(seed, macromolecules=macromolecules)[::-1] for seed in (3, 4)]
        learning, trained = cpu_seconds(train_unet, [(example, truth), *more], rng=0, repeats=0)
        judge("U-Net, three phantoms", trained, other, seen, learning, found, costs)
    print(f"\nDice on a lamella, SNR 1, +-60 degrees, {macromolecules} macromolecules per um^3 of cytosol\n")
    print("| | organelles | membranes | CPU s to train | CPU s per million voxels |\n|---|---|---|---|---|")
    for name, scores in found.items():
        print(f"| {name} | {scores[0]:.3f} | {scores[1]:.3f} | {' | '.join(costs[name])} |")


def judge(name, trained, truth, seen, learning, found, costs):
    seconds, labels = cpu_seconds(trained.predict, seen, repeats=0)
    found[name] = [mc.dice(truth, labels, label=label) for label in (1, 2)]
    costs[name] = (f"{learning:.0f}", f"{seconds / seen.data.size * 1e6:.1f}")


if __name__ == "__main__":
    names = ", ".join(
        f"{name} {version(name)}" for name in ("numba", "numpy", "astra-toolbox", "scikit-learn", "torch")
    )
    print(f"{platform.machine()}, {numba.get_num_threads()} threads, {names}")
    asked = sys.argv[1:] or ["projection", "reconstruction", "segmentation"]
    if "projection" in asked:
        accuracy_table()
        speed_table()
    if "reconstruction" in asked:
        reconstruction_table()
        sirt_table()
    if "segmentation" in asked:
        segmentation_speed_table()
        segmentation_table(macromolecules=5000)
        segmentation_table(macromolecules=0, learn=False)
