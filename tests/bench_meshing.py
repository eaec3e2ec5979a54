"""Measure labels -> surface -> tetrahedra against the peers, in one run; prints Markdown tables.

    python tests/bench_meshing.py [--quick | --scale]

Peers: VTK SurfaceNets (with pyvista), zmesh, scikit-image, MeshLab, TetGen alone, fTetWild with two minutes. CPU
seconds are user + system of this process and its children, the median of five after a warm-up; one for what takes more
than 20 s.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
from importlib.metadata import version

import numba
import numpy as np

import meshcell as mc
from gallery import peers
from gallery.files import SPINE
from gallery.labels import nested_balls, sheet, sphere, torus, tube

# Of the real spine, from the triangles that were voxelised; um^2 and um^3.
TRUTH = {
    "areas": {("cytosol", "outside"): 6.632, ("er", "cytosol"): 2.400},
    "volumes": {"cytosol": 0.6710 - 0.02713, "er": 0.02713},
}
# s of wall time that fTetWild gets.
PATIENCE = 120


def cpu_clock():
    return sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime for who in (0, -1))


def cpu_seconds(function, *args, **kwargs):
    """Return the median CPU seconds of five runs after a warm-up, and the last result."""
    result, times = None, []
    for repeat in range(6):
        start = cpu_clock()
        result = function(*args, **kwargs)
        times.append(cpu_clock() - start)
        if times[-1] > 20 and (repeat or times[-1] > 100):
            break
    return statistics.median(times[1:] or times), result


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


def extraction_table(n, cells):
    volume = voronoi_cells(n, cells)
    rows = [
        ("meshcell extract", cpu_seconds(mc.extract, volume)[0]),
        ("VTK SurfaceNets3D, no smoothing", cpu_seconds(peers.vtk_surface_nets, volume)[0]),
        ("zmesh, label by label", cpu_seconds(peers.zmesh_per_label, volume)[0]),
        ("scikit-image marching cubes, label by label", cpu_seconds(peers.skimage_per_label, volume)[0]),
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
    """Return for membrane and apparatus the errors of area and of the volume within, in %."""
    area, inside = mc.areas(thing), mc.enclosed_volumes(thing)
    whole = sum(inside.values()) / sum(TRUTH["volumes"].values())
    er = inside["er"] / TRUTH["volumes"]["er"]
    membrane, apparatus = (area[pair] / known for pair, known in TRUTH["areas"].items())
    return {
        "membrane": (100 * (membrane - 1), 100 * (whole - 1)),
        "apparatus": (100 * (apparatus - 1), 100 * (er - 1)),
    }


def remeshing_table():
    """Print our remeshing and MeshLab's of the same smoothed single surfaces, to the same edge."""
    print("\nRemeshing single surfaces to edges of 1.5 voxels\n")
    heads = (
        "",
        "triangles",
        "CPU s",
        "angles",
        "1st percentile of least",
        "area",
        "volume against before",
    )
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for name, (labels, area, *_) in {"sphere, radius 10.2 voxels": sphere(10.2), "torus": torus()}.items():
        surface = mc.smooth(mc.extract(labels))
        edge = 1.5 * min(labels.spacing)
        isotropic = ("meshing_isotropic_explicit_remeshing", {"iterations": 10, "targetlen": f"{edge} um"})
        rows = {
            "meshcell": lambda own=surface, edge=edge: mc.remesh(own, edge=edge),
            "MeshLab": lambda own=surface, step=isotropic: mc.meshlab(own, step),
        }
        before = mc.enclosed_volumes(surface)["body"]
        for row, make in rows.items():
            seconds, made = cpu_seconds(make)
            angles = mc.angles(made)
            least = np.percentile(angles.min(axis=1), 1)
            errors = (made.areas.sum() / area - 1, next(iter(mc.enclosed_volumes(made).values())) / before - 1)
            cells = [f"{len(made.triangles):,}", f"{seconds:.2f}", f"{angles.min():.1f} - {angles.max():.1f}"]
            cells += [f"{least:.1f}", *(f"{100 * error:+.2f} %" for error in errors)]
            print(f"| {name}, {row} | " + " | ".join(cells) + " |", flush=True)


def mesh_of(points, tets):
    """Return a mesh of one region; what has no volume is counted and left out."""
    corners = points[tets]
    volumes = np.linalg.det(corners[:, 1:] - corners[:, :1])
    tets = np.where((volumes < 0)[:, None], tets[:, [1, 0, 2, 3]], tets)
    return mc.TetMesh(points, tets[volumes != 0], np.ones((volumes != 0).sum(), int), [], [])


def tetrahedra_table(name, volume, edge, truth=None):
    """Print one row per method: counts, speed, angles, and what became of areas, volumes, distances and topology."""
    surface = mc.smooth(mc.extract(volume))
    rows = {
        "meshcell": lambda: mc.tetrahedralize(volume, edge=edge),
        "meshcell, lattice, min_dihedral=20": lambda: mc.tetrahedralize(
            volume, edge=edge, method="lattice", min_dihedral=20
        ),
        "TetGen alone on our net, no regions": lambda: peers.raw_tetgen(surface),
        "fTetWild on our net, no regions": lambda: peers.ftetwild_limited(surface, edge, PATIENCE),
    }
    print(f"\nLabels to tetrahedra, {name}, edge {edge:.3g} um\n")
    heads = ("", "tets", "CPU s", "tets per CPU s", "dihedral", "5th percentile of least", "below 10 degrees")
    heads += ("area", "volume", "distance, mean and most", "topology")
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for row, make in rows.items():
        seconds, mesh = cpu_seconds(make)
        if isinstance(mesh, str):
            print(f"| {row} | {mesh} |" + " |" * (len(heads) - 2), flush=True)
            continue
        if not isinstance(mesh, mc.TetMesh):
            mesh = mesh_of(*mesh)
        angles = mc.angles(mesh)
        least = angles.min(axis=1)
        cells = [f"{len(mesh.tets):,}", f"{seconds:.1f}", f"{len(mesh.tets) / seconds:,.0f}"]
        cells += [f"{least.min():.1f} - {angles.max():.1f}", f"{np.percentile(least, 5):.1f}"]
        cells += [f"{100 * (least < 10).mean():.3f} %", *fidelity_cells(mesh, volume, truth)]
        print(f"| {row} | " + " | ".join(cells) + " |", flush=True)


def fidelity_cells(mesh, volume, truth):
    """Return area and volume errors, distances in voxels, and whether the topology is the labels'."""
    if not len(mesh.facets):
        return ["", "", "", ""]
    fidelity = mc.check(mesh, against=volume).fidelity
    faces = fidelity.interfaces.values()
    mean = np.average([face.mean_distance for face in faces], weights=[face.area for face in faces])
    same = all(one.found == one.expected for one in fidelity.regions.values())
    if truth:
        area = " / ".join(f"{mc.areas(mesh)[pair] / known - 1:+.2%}" for pair, known in truth["areas"].items())
    else:
        area = ""
    inside = mc.enclosed_volumes(mesh)
    known = truth["volumes"] if truth and "volumes" in truth else {}
    errors = {one.name: one.volume / known.get(one.name, one.voxel_volume) - 1 for one in fidelity.regions.values()}
    most = max(face.max_distance for face in faces)
    volumes = " / ".join(f"{errors[name]:+.2%}" for name in inside)
    return [area, volumes, f"{mean:.2f}, {most:.2f} voxels", "as labels" if same else "differs"]


def scale_table():
    """Print what ten million tetrahedra cost, each method in a process of its own."""
    heads = ("", "tets", "CPU s", "tets per CPU s", "greatest memory", "bytes per tet", "dihedral")
    print("\nTen million tetrahedra, real or phantom spine\n")
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|", flush=True)
    for method, edge, grading in (("lattice", 0.0084, 0.0), ("tetgen", 0.008, 0.0)):
        subprocess.run([sys.executable, __file__, "--one", method, str(edge), str(grading)], check=True)


def one_scale(method, edge, grading):
    """Print a row of the table of scale."""
    volume = real_spine()
    start = cpu_clock()
    mesh = mc.tetrahedralize(
        volume, edge=float(edge), grading=float(grading), method=method, min_dihedral=20, seconds=7200
    )
    seconds = cpu_clock() - start
    # TetGen's process runs while ours waits: the sum is what the machine has to have.
    peak = sum(resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    n = len(mesh.tets)
    angles = mc.angles(mesh)
    print(
        f"| {method} | {n:,} | {seconds:.0f} | {n / seconds:,.0f} | {peak / 2**30:.1f} GiB | {peak / n:.0f} | "
        f"{angles.min():.1f} - {angles.max():.1f} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller inputs")
    parser.add_argument("--scale", action="store_true", help="only the ten million tetrahedra: half an hour, 12 GiB")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        one_scale(*chosen.one)
        return
    names = ["meshcell", "numpy", "numba", "vtk", "scikit-image", "tetgen", "pytetwild", "pymeshlab", "zmesh"]
    print(f"{platform.machine()}, {os.cpu_count()} cores, numba threads {numba.get_num_threads()}; ", end="")
    print(", ".join(f"{name} {version(name)}" for name in names))
    if chosen.scale:
        scale_table()
        return
    extraction_table(*((96, 60) if chosen.quick else (256, 400)))
    spine = real_spine()
    bias_table(spine)
    remeshing_table()
    tetrahedra_table("nested spheres, radii 5 and 10 voxels", nested_balls(), 0.015)
    real = (SPINE / "labels_10nm.npz").exists()
    for edge in (0.03,) if chosen.quick else (0.02, 0.03):
        tetrahedra_table("real spine" if real else "phantom spine", spine, edge, TRUTH if real else None)


if __name__ == "__main__":
    main()
