"""Surfaces of quads, polygons, strips and triangles in any file of VTK's, and as glTF text."""

import numpy as np
import pytest

from gallery.meshes import ball
from meshcell.geometry.measures import enclosed_volumes
from meshcell.io import load, save

pv = pytest.importorskip("pyvista")


def quads():
    return pv.Box(bounds=(0, 1, 0, 2, 0, 3), quads=True)


def kinds():
    yield "triangles", quads().triangulate()
    yield "quads", quads()
    yield "strips", quads().triangulate().strip()
    yield "mixed", quads().triangulate().merge(quads().translate((5, 0, 0)))


@pytest.mark.parametrize("ending", [".vtp", ".vtu", ".vtk", "grid.vtk"])
@pytest.mark.parametrize(("kind", "made"), list(kinds()))
def test_flat_cells_become_triangles(tmp_path, ending, kind, made):
    own = made if ending in (".vtp", ".vtk") else made.cast_to_unstructured_grid()
    own = made.extract_surface(algorithm="geometry") if kind == "mixed" and ending in (".vtp", ".vtk") else own
    own.save(tmp_path / f"a{ending}")
    again = load(tmp_path / f"a{ending}")
    expected = 12.0 if kind == "mixed" else 6.0
    assert sum(enclosed_volumes(again).values()) == pytest.approx(expected, rel=1e-6)


def test_pixels_are_no_bow_ties(tmp_path):
    image = pv.ImageData(dimensions=(4, 5, 1)).cast_to_unstructured_grid()
    assert set(image.celltypes) == {pv.CellType.PIXEL}
    image.save(tmp_path / "a.vtu")
    assert load(tmp_path / "a.vtu").areas.sum() == pytest.approx(12)


@pytest.mark.parametrize("ending", [".vtp", ".vtu"])
def test_labels_of_quads_go_to_their_triangles(tmp_path, ending):
    both = quads().append_polydata(quads().translate((5, 0, 0)))
    both.cell_data["label"] = np.repeat([3, 8], 6)
    own = both if ending == ".vtp" else both.cast_to_unstructured_grid()
    own.save(tmp_path / f"a{ending}")
    again = load(tmp_path / f"a{ending}")
    assert set(again.sides[:, 0].tolist()) == {3, 8} and len(again.triangles) == 24
    assert list(enclosed_volumes(again).values()) == pytest.approx([6, 6], rel=1e-6)


def test_interfaces_taken_out_of_a_mesh_of_ours_are_its_surface(tmp_path):
    mesh = ball(3, core=0.5, names={1: "cytosol", 2: "er"})
    save(tmp_path / "a.vtk", mesh)
    grid = pv.read(tmp_path / "a.vtk")
    grid.extract_cells(grid.celltypes == pv.CellType.TRIANGLE).save(tmp_path / "b.vtu")
    again = load(tmp_path / "b.vtu")
    assert enclosed_volumes(again) == pytest.approx(enclosed_volumes(mesh), rel=1e-12)


def test_gltf_is_read_with_its_buffers(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    trimesh.Scene({"cell": trimesh.creation.box((1, 2, 3))}).export(str(tmp_path / "a.gltf"))
    assert enclosed_volumes(load(tmp_path / "a.gltf")) == pytest.approx({"a": 6.0}, rel=1e-6)


@pytest.mark.parametrize("options", [{"file_format": "gmsh"}, {"file_format": "gmsh22"}, {}])
def test_triangles_alone_are_a_surface_in_any_format(tmp_path, options):
    meshio = pytest.importorskip("meshio")
    own = ball(3, core=0.5, names={1: "cytosol", 2: "er"}).surface
    path = tmp_path / ("a.msh" if options else "a.xdmf")
    # Each triangle by the body that it is around.
    labels = np.where(own.sides[:, 1] == 0, own.sides[:, 0], own.sides.max(axis=1)).astype(np.int32)
    made = meshio.Mesh(own.points, [("triangle", own.triangles)], cell_data={"region": [labels]})
    meshio.write(path, made, **options)
    again = load(path, names={1: "cytosol", 2: "er"})
    assert enclosed_volumes(again) == pytest.approx(enclosed_volumes(own), rel=1e-9)
