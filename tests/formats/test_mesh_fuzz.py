"""A thousand damaged files of every mesh format end in ValueError or OSError, or a checked thing, in bounds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gallery.meshes import ball
from gallery.things import closed_body, surface, tet_mesh
from meshcell.io import load, save

pytest.importorskip("resource", reason="limits of a process are POSIX")

MESHES = [".vtu", ".xdmf", ".msh", ".vtk", ".mesh", ".inp", ".ele"]
SURFACES = [".ply", ".vtp", ".obj"]
BODIES = [".stl", ".off", ".glb", ".3mf"]
COUNT = 1000


def foreign(folder):
    """Write files that our comments do not mark as ours, in the variants of each format."""
    import meshio
    import pyvista

    mesh = ball(2, core=0.5)
    tags = [mesh.regions, np.where(mesh.sides[:, 1] == 0, 7, 9)]
    data = {"gmsh:physical": tags, "gmsh:geometrical": tags}
    made = meshio.Mesh(mesh.points, [("tetra", mesh.tets), ("triangle", mesh.facets)], cell_data=data)
    for binary in (False, True):
        meshio.write(folder / f"gmsh22{binary:d}.msh", made, file_format="gmsh22", binary=binary)
    # Version 4.1 of meshio has one kind of cells.
    bare = meshio.Mesh(mesh.points, [("tetra", mesh.tets)])
    for binary in (False, True):
        meshio.write(folder / f"gmsh{binary:d}.msh", bare, file_format="gmsh", binary=binary)
    grid = pyvista.UnstructuredGrid({pyvista.CellType.TETRA: mesh.tets}, mesh.points)
    grid.cell_data["region"] = mesh.regions
    for binary in (False, True):
        grid.save(folder / f"grid{binary:d}.vtk", binary=binary)
    pyvista.PolyData.from_regular_faces(closed_body().points, closed_body().triangles).save(folder / "body.ply")
    return {path.name: path for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for endings, thing in ((MESHES, tet_mesh()), (SURFACES, surface()), (BODIES, closed_body())):
        for ending in endings:
            save(folder / ("a" + ending), thing)
    others = foreign(tmp_path_factory.mktemp("foreign"))
    return {ending: folder / f"a{ending}" for ending in (*MESHES, *SURFACES, *BODIES)} | others


FOREIGN = ["gmsh220.msh", "gmsh221.msh", "gmsh0.msh", "gmsh1.msh", "grid0.vtk", "grid1.vtk", "body.ply"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MESHES, *SURFACES, *BODIES, *FOREIGN])
def test_damaged_files_do_no_harm(tmp_path, whole, name):
    source = whole[name]
    for other in (".dolfinx.h5", ".node", ".face"):
        if name in (".xdmf", ".ele") and source.with_name(f"a{other}").exists():
            (tmp_path / f"a{other}").write_bytes(source.with_name(f"a{other}").read_bytes())
    target = tmp_path / f"a{source.suffix}"
    target.write_bytes(source.read_bytes())
    load(target)
    child = Path(__file__).with_name("fuzz_child.py")
    done = subprocess.run(
        [sys.executable, str(child), str(source), str(target), "0", str(COUNT), "5"], capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["faults"] == []
