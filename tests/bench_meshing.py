"""Measure labels -> surface -> tetrahedra against the peers, in one run; prints Markdown tables.

    python tests/bench_meshing.py [--quick]

Peers: VTK SurfaceNets (with pyvista), scikit-image, TetGen alone. CPU seconds are user
+ system of this process and its children, the median of five after a warm-up (one for what takes longer than 20 s).
"""

import argparse
import os
import platform
import resource
import statistics
from importlib.metadata import version

import numba
import numpy as np

import meshcell as mc
from conftest import SPINE
from phantoms import sheet, sphere, torus, tube

TRUTH = {"membrane": 6.632, "apparatus": 2.400, "cell": 0.6710, "er": 0.02713}


def cpu_seconds(function, *args, **kwargs):
    """Return the median CPU seconds of five runs after a warm-up, and the last result."""

    def clock():
        return sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime for who in (0, -1))

    result, times = None, []
    for repeat in range(6):
        start = clock()
        result = function(*args, **kwargs)
        times.append(clock() - start)
        if repeat and times[-1] > 20:
            break
    return statistics.median(times[1:]), result


def real_spine():
    """The real spine's labels, or a phantom where it is absent."""
    path = SPINE / "labels_10nm.npz"
    return mc.load(path, names={1: "cytosol", 2: "er"}) if path.exists() else mc.spine("10 nm", rng=1)


def voronoi_cells(n, cells, seed=0):
    """Touching cells that fill the box, like a block of segmented tissue."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    voxels = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    nearest = cKDTree(rng.uniform(0, n, (cells, 3))).query(voxels, workers=-1)[1]
    return mc.Volume((nearest + 1).reshape(n, n, n).astype(np.uint16), 1.0)


def vtk_surface_nets(volume):
    """Extract all labels with VTK's SurfaceNets, unsmoothed."""
    import pyvista
    from vtkmodules.vtkFiltersCore import vtkSurfaceNets3D

    image = pyvista.ImageData(dimensions=np.array(volume.data.shape) + 2, spacing=volume.spacing)
    image["labels"] = np.pad(volume.data, 1).ravel(order="F")
    nets = vtkSurfaceNets3D()
    nets.SetInputData(image)
    labels = list(volume.regions)
    nets.SetNumberOfLabels(len(labels))
    for row, label in enumerate(labels):
        nets.SetLabel(row, label)
    nets.SmoothingOff()
    nets.SetOutputMeshTypeToTriangles()
    nets.Update()
    return pyvista.wrap(nets.GetOutput())


def skimage_per_label(volume):
    """Extract every label on its own with scikit-image's marching cubes."""
    from scipy.ndimage import find_objects
    from skimage.measure import marching_cubes

    bodies = []
    for label, box in enumerate(find_objects(volume.data.astype(np.int32)), 1):
        if box is not None:
            padded = np.pad(volume.data[box] == label, 1).astype(np.float32)
            bodies.append(marching_cubes(padded, 0.5, spacing=volume.spacing))
    return bodies


def extraction_table(n, cells):
    volume = voronoi_cells(n, cells)
    rows = [
        ("meshcell extract", cpu_seconds(mc.extract, volume)[0]),
        ("VTK SurfaceNets3D, no smoothing", cpu_seconds(vtk_surface_nets, volume)[0]),
        ("scikit-image marching cubes, label by label", cpu_seconds(skimage_per_label, volume)[0]),
    ]
    print(f"\nExtraction, {n}^3 voxels, {cells} labels that all touch\n")
    print("| | CPU s | ratio to ours |\n|---|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.2f} | {seconds / rows[0][1]:.1f} |")


def bias_table(spine):
    from skimage.measure import marching_cubes, mesh_surface_area

    print("\nArea and volume after `smooth(extract(labels))`; marching cubes is scikit-image on the binary labels\n")
    print("| body | area | volume against the voxels | marching cubes' area |\n|---|---|---|---|")
    bodies = {"sphere, r 5": sphere(5.3), "sphere, r 10": sphere(10.2), "sphere, r 20": sphere(20.7)}
    bodies |= {"torus, r 3": torus(), "tube, r 3": tube(), "sheet, 2 voxels": sheet()}
    for name, (volume, area, _) in bodies.items():
        surface = mc.smooth(mc.extract(volume))
        mesh = marching_cubes(np.pad(volume.data, 1).astype(np.float32), 0.5, spacing=volume.spacing)
        inside = mc.enclosed_volumes(surface)["body"] / (volume.counts[1] * np.prod(volume.spacing))
        figures = surface.areas.sum() / area - 1, inside - 1, mesh_surface_area(mesh[0], mesh[1]) / area - 1
        print(f"| {name} | " + " | ".join(f"{100 * figure:+.2f} %" for figure in figures) + " |")
    if (SPINE / "labels_10nm.npz").exists():
        surface = mc.smooth(mc.extract(spine))
        for what, figures in spine_errors(surface).items():
            print(f"| real spine, {what} | {figures[0]:+.2f} % | {figures[1]:+.2f} % of the truth | |")


def spine_errors(thing):
    area, inside = mc.areas(thing), mc.enclosed_volumes(thing)
    whole = inside["cytosol"] + inside["er"]
    return {
        "membrane": (
            100 * (area["cytosol", "outside"] / TRUTH["membrane"] - 1),
            100 * (whole / TRUTH["cell"] - 1),
        ),
        "apparatus": (
            100 * (area["er", "cytosol"] / TRUTH["apparatus"] - 1),
            100 * (inside["er"] / TRUTH["er"] - 1),
        ),
    }


def raw_tetgen(surface):
    """TetGen alone on the smoothed net, as a user would call it."""
    import tetgen

    mesher = tetgen.TetGen(surface.points, surface.triangles)
    return mesher.tetrahedralize(switches="pq1.4/12AQ", steinerleft=-1)


def tetrahedra_table(spine, edge):
    seconds, mesh = cpu_seconds(mc.tetrahedralize, spine, edge=edge)
    surface = mc.smooth(mc.extract(spine))
    peer, raw = cpu_seconds(raw_tetgen, surface)
    points, tets = raw[0], np.asarray(raw[1])
    facets = surface.triangles
    sides = surface.sides
    peer_mesh = mc.TetMesh(points, _positive(points, tets), np.ones(len(tets), int), facets, sides, surface.names)
    what = "real spine" if (SPINE / "labels_10nm.npz").exists() else "phantom spine"
    print(f"\nLabels to tetrahedra, {what}, edge {edge} um\n")
    print(
        "| | tets | CPU s | tets per CPU s | least and greatest dihedral | 5th percentile of least | below 10 degrees |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, time, thing in (("meshcell", seconds, mesh), ("TetGen alone on our net, no regions", peer, peer_mesh)):
        angles = mc.angles(thing)
        least = angles.min(axis=1)
        print(
            f"| {name} | {len(thing.tets):,} | {time:.1f} | {len(thing.tets) / time:,.0f} | {least.min():.1f} - "
            f"{angles.max():.1f} | {np.percentile(least, 5):.1f} | {100 * (least < 10).mean():.3f} % |"
        )
    if (SPINE / "labels_10nm.npz").exists():
        for what, (area, volume) in spine_errors(mesh).items():
            print(f"\n{what}: area {area:+.2f} %, volume {volume:+.2f} % of the truth")


def _positive(points, tets):
    corners = points[tets]
    inverted = np.linalg.det(corners[:, 1:] - corners[:, :1]) < 0
    tets = tets.copy()
    tets[inverted] = tets[inverted][:, [1, 0, 2, 3]]
    return tets


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller inputs")
    quick = parser.parse_args().quick
    names = ["meshcell", "numpy", "numba", "vtk", "scikit-image", "tetgen"]
    print(f"{platform.machine()}, {os.cpu_count()} cores, numba threads {numba.get_num_threads()}; ", end="")
    print(", ".join(f"{name} {version(name)}" for name in names))
    extraction_table(*((96, 60) if quick else (256, 400)))
    spine = real_spine()
    bias_table(spine)
    for edge in (0.03,) if quick else (0.02, 0.03):
        tetrahedra_table(spine, edge)


if __name__ == "__main__":
    main()
