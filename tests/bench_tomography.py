"""Measure projection and reconstruction against ASTRA, in one run; prints Markdown tables.

    python tests/bench_tomography.py

CPU seconds are user + system of this process, the median of five after a warm-up. ASTRA's CPU projectors work on one
slice at a time.
"""

import platform
import resource
import statistics
from importlib.metadata import version

import astra
import numba
import numpy as np

import meshcell as mc
from meshcell.projection import adjoint, backproject, forward, shadow_table, tilt_angles
from test_projection import ellipse_phantom, ellipse_shadows


def cpu_seconds(function, *args, repeats=5, **kwargs):
    """Return the median CPU seconds after a warm-up, and the last result."""

    def clock():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    result, times = function(*args, **kwargs), []
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


if __name__ == "__main__":
    names = ", ".join(f"{name} {version(name)}" for name in ("numba", "numpy", "astra-toolbox"))
    print(f"{platform.machine()}, {numba.get_num_threads()} threads, {names}")
    accuracy_table()
    speed_table()
    reconstruction_table()
