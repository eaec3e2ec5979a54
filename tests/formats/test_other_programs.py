"""Other programs read what we write, tags and names included; we read what they write."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from gallery.meshes import ball
from gallery.things import closed_body, surface, tet_mesh
from meshcell.core.types import Surface, TetMesh
from meshcell.io import load, save

# An interpreter that has dolfinx: `pip install dolfinx-solver-real`, Python >= 3.12, Linux.
DOLFINX = os.environ.get("MESHCELL_DOLFINX_PYTHON")


def in_child(code, *arguments, python=sys.executable, **variables):
    """Run code in a process of its own, since meshio ends the process of a file that it does not know."""
    done = subprocess.run(
        [python, "-c", code, *map(str, arguments)], capture_output=True, text=True, env={**os.environ, **variables}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def plain_mesh():
    """A ball with a core, names that every format can write, one patch."""
    mesh = ball(2, core=0.5, names={1: "cytosol", 2: "er"})
    return TetMesh(mesh.points, mesh.tets, mesh.regions, mesh.facets, mesh.sides, mesh.names, {"PSD": [0, 1]})


MESHIO = """
import json, sys, meshio, numpy as np
mesh = meshio.read(sys.argv[1])
cells = {block.type: len(block.data) for block in mesh.cells}
cells = {kind: sum(len(b.data) for b in mesh.cells if b.type == kind) for kind in cells}
data = {name: [sorted(set(np.ravel(part).tolist())) for part in parts][:8] for name, parts in mesh.cell_data.items()}
print(json.dumps({"points": len(mesh.points), "cells": cells, "data": data, "names": sorted(mesh.field_data),
                  "sets": sorted(mesh.cell_sets)}, default=int))
"""


@pytest.mark.parametrize("ending", [".vtu", ".xdmf", ".vtk", ".msh", ".mesh", ".inp", ".ele"])
@pytest.mark.parametrize("make", [tet_mesh, plain_mesh])
def test_meshio_reads_our_meshes(tmp_path, ending, make):
    mesh = make()
    save(tmp_path / f"a{ending}", mesh)
    seen = in_child(MESHIO, tmp_path / f"a{ending}")
    assert seen["points"] == len(mesh.points) and seen["cells"]["tetra"] == len(mesh.tets)
    if ending not in (".xdmf", ".ele"):
        assert seen["cells"]["triangle"] == len(mesh.facets)
    if ending == ".inp":
        assert make is tet_mesh or {"cytosol", "er", "PSD", "er_cytosol"} <= set(seen["sets"])
    else:
        assert any({1, 2} <= set().union(*parts) for parts in seen["data"].values())
    if ending in (".xdmf", ".msh") and make is plain_mesh:
        assert {"cytosol", "er", "PSD", "er|cytosol", "cytosol|outside"} == set(seen["names"])


@pytest.mark.parametrize("ending", [".ply", ".obj", ".stl", ".off"])
def test_meshio_reads_our_surfaces(tmp_path, ending):
    own = closed_body() if ending in (".stl", ".off") else surface()
    save(tmp_path / f"a{ending}", own)
    seen = in_child(MESHIO, tmp_path / f"a{ending}")
    assert seen["points"] == len(own.points) and seen["cells"]["triangle"] == len(own.triangles)
    if ending == ".ply":
        assert seen["data"]["side0"] == [sorted(set(own.sides[:, 0].tolist()))]


@pytest.mark.parametrize("ending", [".ply", ".vtp", ".vtk", ".obj", ".stl"])
def test_pyvista_reads_our_surfaces(tmp_path, ending):
    import pyvista

    own = closed_body() if ending == ".stl" else surface()
    save(tmp_path / f"a{ending}", own)
    seen = pyvista.read(tmp_path / f"a{ending}")
    assert seen.n_points == len(own.points)
    np.testing.assert_allclose(seen.points[seen.regular_faces], own.points[own.triangles], rtol=1e-6, atol=1e-7)
    if ending in (".vtp", ".vtk"):
        np.testing.assert_array_equal(np.stack([seen["side0"], seen["side1"]], axis=1), own.sides)


@pytest.mark.parametrize("ending", [".vtu", ".vtk"])
def test_pyvista_reads_our_meshes(tmp_path, ending):
    import pyvista

    save(tmp_path / f"a{ending}", tet_mesh())
    seen = pyvista.read(tmp_path / f"a{ending}")
    tets = seen.celltypes == 10
    np.testing.assert_array_equal(seen.cells_dict[10], tet_mesh().tets)
    np.testing.assert_array_equal(seen["region"][tets], tet_mesh().regions)


def test_pyvista_reads_the_tags_of_xdmf(tmp_path):
    import pyvista

    own = tet_mesh()
    save(tmp_path / "a.xdmf", own)
    blocks = pyvista.read(tmp_path / "a.dolfinx.xdmf")
    np.testing.assert_array_equal(blocks["cell_tags"]["cell_tags"], own.regions)
    np.testing.assert_array_equal(blocks["facet_tags"]["side0"], own.sides[:, 0])


def test_trimesh_sees_groups_of_obj_where_it_is_asked(tmp_path):
    import trimesh

    own = plain_mesh().surface
    save(tmp_path / "a.obj", Surface(own.points, own.triangles, own.sides, own.names))
    groups = trimesh.load_scene(tmp_path / "a.obj", split_groups=True).geometry
    assert set(groups) == {"cytosol|outside", "er|cytosol"}


@pytest.mark.parametrize("ending", [".ply", ".obj", ".stl", ".off", ".glb", ".3mf"])
def test_trimesh_reads_our_surfaces(tmp_path, ending):
    import trimesh

    own = closed_body() if ending in (".stl", ".off") else surface()
    if ending in (".glb", ".3mf"):
        own = plain_mesh().surface
        own = Surface(own.points, own.triangles, own.sides, own.names)
    save(tmp_path / f"a{ending}", own)
    scene = trimesh.load_scene(tmp_path / f"a{ending}", process=False)
    assert sum(len(mesh.faces) for mesh in scene.geometry.values()) == len(own.triangles)
    if ending in (".glb", ".3mf"):
        assert set(scene.graph.nodes_geometry) == {"cytosol|outside", "er|cytosol"}


def test_gmsh_reads_our_meshes(tmp_path):
    gmsh = pytest.importorskip("gmsh", exc_type=ImportError)
    save(tmp_path / "a.msh", plain_mesh())
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.open(str(tmp_path / "a.msh"))
        seen = {(dim, gmsh.model.getPhysicalName(dim, tag)) for dim, tag in gmsh.model.getPhysicalGroups()}
    finally:
        gmsh.finalize()
    assert seen == {(3, "cytosol"), (3, "er"), (2, "PSD"), (2, "cytosol|outside"), (2, "er|cytosol")}


def test_our_older_vtk_files_stay_readable(tmp_path):
    """They keep names in an array of type String, as VTK does."""
    save(tmp_path / "a.vtu", tet_mesh())
    text = (tmp_path / "a.vtu").read_text()
    head = '<DataArray type="UInt8" Name="meshcell" format="binary">'
    start = text.index(head)
    end = text.index("</DataArray>", start)
    old = '<Array type="String" Name="meshcell" NumberOfTuples="1" format="binary">' + text[start + len(head) : end]
    (tmp_path / "b.vtu").write_text(text[:start] + old + "</Array>" + text[end + len("</DataArray>") :])
    assert load(tmp_path / "b.vtu").names == tet_mesh().names


# --- dolfinx ---


DOLFINX_READS = """
import dolfinx_solver, json, sys, numpy as np
from mpi4py import MPI
from dolfinx.io import XDMFFile
with XDMFFile(MPI.COMM_SELF, sys.argv[1], "r") as file:
    mesh = file.read_mesh()
    mesh.topology.create_entities(2)
    mesh.topology.create_connectivity(2, 3)
    cells, facets = (file.read_meshtags(mesh, name=name) for name in ("cell_tags", "facet_tags"))
with XDMFFile(MPI.COMM_SELF, sys.argv[2], "w") as file:
    file.write_mesh(mesh)
    for tags in (cells, facets):
        file.write_meshtags(tags, mesh.geometry)
count = lambda tags: {int(k): int(n) for k, n in zip(*np.unique(tags.values, return_counts=True))}
print(json.dumps([mesh.geometry.x.shape[0], count(cells), count(facets)]))
"""


@pytest.mark.skipif(not DOLFINX, reason="set MESHCELL_DOLFINX_PYTHON to a Python that has dolfinx")
def test_dolfinx_reads_our_tags_and_we_read_its(tmp_path):
    mesh = plain_mesh()
    save(tmp_path / "a.xdmf", mesh)
    seen = in_child(
        DOLFINX_READS,
        tmp_path / "a.dolfinx.xdmf",
        tmp_path / "b.xdmf",
        python=DOLFINX,
        UCX_TLS="self,sm,tcp",
        PYTHONPATH="",
    )
    regions = {str(k): n for k, n in zip(*np.unique(mesh.regions, return_counts=True), strict=True)}
    assert seen[:2] == [len(mesh.points), regions]
    membrane = int((mesh.sides[:, 1] == 0).sum())
    assert sorted(seen[2].values()) == sorted([2, membrane - 2, len(mesh.facets) - membrane])
    again = load(tmp_path / "b.xdmf")
    assert sorted(np.unique(again.regions, return_counts=True)[1]) == sorted(regions.values())
    assert sorted(len(rows) for rows in again.patches.values()) == sorted(seen[2].values())


def test_tags_in_the_layout_of_dolfinx_are_read(tmp_path):
    """Also tags of some cells, in another order, as text instead of HDF5."""
    mesh = ball(2, core=0.5)
    order = np.random.default_rng(5).permutation(np.flatnonzero(mesh.regions == 2))
    outer = mesh.facets[mesh.sides[:, 1] == 0]

    def item(array):
        words, shape = " ".join(map(repr, array.ravel().tolist())), " ".join(map(str, array.shape))
        kind = "Float" if array.dtype.kind == "f" else "Int"
        return f'<DataItem Dimensions="{shape}" NumberType="{kind}" Format="XML">{words}</DataItem>'

    def grid(name, kind, cells, values=None):
        own = "" if values is None else f'<Attribute Name="{name}" Center="Cell">{item(values[:, None])}</Attribute>'
        return f'<Grid Name="{name}"><Topology TopologyType="{kind}">{item(cells)}</Topology>{own}</Grid>'

    grids = [
        grid("mesh", "Tetrahedron", mesh.tets).replace("</Grid>", f"<Geometry>{item(mesh.points)}</Geometry></Grid>"),
        grid("cell_tags", "Tetrahedron", mesh.tets[order], np.full(len(order), 5)),
        grid("facet_tags", "Triangle", outer[:, ::-1], np.where(np.arange(len(outer)) < 3, 8, 9)),
    ]
    (tmp_path / "a.xdmf").write_text(f'<Xdmf Version="3.0"><Domain>{"".join(grids)}</Domain></Xdmf>')
    with pytest.warns(UserWarning, match="0 is the outside"):
        again = load(tmp_path / "a.xdmf", names={5: "er"})
    np.testing.assert_array_equal(again.regions == 5, mesh.regions == 2)
    assert again.names == {0: "outside", 5: "er", 6: "label 0"}
    assert {name: len(rows) for name, rows in again.patches.items()} == {"surface 8": 3, "surface 9": len(outer) - 3}


# --- what they write ---


@pytest.mark.parametrize("ending", [".mesh", ".vtk", ".inp", ".vtu"])
def test_meshes_of_meshio_bring_regions_and_patches(tmp_path, ending):
    import meshio

    mesh = plain_mesh()
    tags = np.where(mesh.sides[:, 1] == 0, 7, 9)
    name = "region" if ending in (".vtk", ".vtu") else "medit:ref"
    foreign = meshio.Mesh(mesh.points, [("tetra", mesh.tets), ("triangle", mesh.facets)])
    if ending == ".inp":
        foreign.cell_sets = {
            "cytosol": [np.flatnonzero(mesh.regions == 1), np.empty(0, int)],
            "er": [np.flatnonzero(mesh.regions == 2), np.empty(0, int)],
            "inner": [np.empty(0, int), np.flatnonzero(tags == 9)],
        }
    else:
        foreign.cell_data = {name: [mesh.regions, tags]}
    meshio.write(tmp_path / f"a{ending}", foreign)
    again = load(tmp_path / f"a{ending}")
    sizes = [mesh.volumes[mesh.regions == label].sum() for label in (1, 2)]
    found = [again.volumes[again.regions == label].sum() for label in np.unique(again.regions)]
    assert found == pytest.approx(sizes, rel=1e-9)
    if ending == ".inp":
        assert set(again.names.values()) == {"outside", "cytosol", "er"} and len(again.patches["inner"]) == sum(
            tags == 9
        )
    else:
        assert {k: len(v) for k, v in again.patches.items()} == {f"surface {k}": sum(tags == k) for k in (7, 9)}


@pytest.mark.parametrize("binary", [True, False])
def test_legacy_files_of_vtk_are_read(tmp_path, binary):
    import pyvista

    mesh = plain_mesh()
    grid = pyvista.UnstructuredGrid({pyvista.CellType.TETRA: mesh.tets}, mesh.points)
    grid.cell_data["region"], grid.cell_data["size"] = mesh.regions, mesh.volumes
    grid.point_data["v"] = mesh.points
    grid.save(tmp_path / "a.vtk", binary=binary)
    again = load(tmp_path / "a.vtk")
    np.testing.assert_array_equal(again.tets, mesh.tets)
    np.testing.assert_array_equal(again.regions, mesh.regions)
    body = closed_body()
    pyvista.PolyData.from_regular_faces(body.points, body.triangles).save(tmp_path / "b.vtk", binary=binary)
    np.testing.assert_array_equal(load(tmp_path / "b.vtk").triangles, body.triangles)


def test_tetgens_own_numbering_from_one_is_read(tmp_path):
    (tmp_path / "a.node").write_text("# by hand\n4 3 0 0\n1 0 0 0\n2 1 0 0\n3 0 1 0\n4 0 0 1\n")
    (tmp_path / "a.ele").write_text("1 4 1\n1 1 2 3 4 7\n# Generated by tetgen -pqA a\n")
    (tmp_path / "a.face").write_text("1 1\n1 1 2 3 -5\n")
    for ending in (".node", ".ele"):
        mesh = load(tmp_path / f"a{ending}", names={7: "er"})
        assert mesh.regions.tolist() == [7] and mesh.names[7] == "er" and list(mesh.patches) == ["surface -5"]


def test_collada_and_off_of_trimesh_are_read(tmp_path):
    import trimesh

    pytest.importorskip("collada")
    cube = trimesh.creation.box((4, 4, 4))
    cube.export(tmp_path / "a.off")
    cube.export(tmp_path / "a.dae")
    for name in ("a.off", "a.dae"):
        assert load(tmp_path / name).areas.sum() == pytest.approx(96, rel=1e-6)


@pytest.mark.parametrize("ending", [".glb", ".3mf"])
def test_scenes_of_trimesh_become_bodies(tmp_path, ending):
    import trimesh

    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box((4, 4, 4)), geom_name="cell", node_name="cell")
    shift = trimesh.transformations.translation_matrix((0.5, 0, 0))
    scene.add_geometry(trimesh.creation.box((1, 1, 1)), geom_name="er", node_name="er", transform=shift)
    scene.export(tmp_path / f"a{ending}")
    again = load(tmp_path / f"a{ending}", unit="um")
    assert np.ptp(again.points, axis=0) == pytest.approx(4)
    assert set(again.interfaces) == {("cell", "outside"), ("er", "cell")}


@pytest.mark.parametrize("ending", [".glb", ".3mf"])
def test_scenes_keep_names_and_sides(tmp_path, ending):
    own = plain_mesh().surface
    with pytest.raises(ValueError, match=f"{ending} has no place for the patches PSD"):
        save(tmp_path / f"a{ending}", own)
    bare = Surface(own.points, own.triangles, own.sides, own.names)
    save(tmp_path / f"a{ending}", bare)
    again = load(tmp_path / f"a{ending}")
    assert set(again.interfaces) == set(bare.interfaces)
    for pair, rows in bare.interfaces.items():
        assert again.areas[again.interfaces[pair]].sum() == pytest.approx(bare.areas[rows].sum(), rel=1e-6)


def test_off_keeps_points_triangles_label_and_name(tmp_path):
    own = closed_body("mito é")
    save(tmp_path / "a.off", own)
    again = load(tmp_path / "a.off")
    np.testing.assert_array_equal(again.points, own.points)
    np.testing.assert_array_equal(again.triangles, own.triangles)
    assert again.names == own.names
