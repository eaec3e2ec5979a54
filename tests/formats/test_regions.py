"""Which array holds the regions, several bodies of one file, and the unit of points: kept, asked for, never guessed."""

import warnings

import numpy as np
import pytest

from gallery.meshes import ball
from gallery.things import closed_body, tet_mesh
from meshcell.analysis.checks import check
from meshcell.core.measures import enclosed
from meshcell.core.types import Surface
from meshcell.io import load, save

ENDINGS = [".vtu", ".xdmf"]


def foreign(path, mesh, arrays, facets=None):
    """Write tetrahedra, and triangles if given, with arrays of (tetrahedra's, triangles') part."""
    import meshio

    cells = [("tetra", mesh.tets)] + ([] if facets is None else [("triangle", facets)])
    data = {name: list(parts[: len(cells)]) for name, parts in arrays.items()}
    meshio.write(path, meshio.Mesh(mesh.points, cells, cell_data=data))


@pytest.fixture(scope="module")
def mesh():
    return ball(2, core=0.5)


def one(mesh, name):
    return {name: (mesh.regions,)}


def other(mesh):
    return np.arange(len(mesh.tets)) % 3


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "name", ["region", "gmsh:physical", "medit:ref", "MaterialIds", "cell_tags", "labels", "SubDomain"]
)
def test_regions_are_found_beside_bookkeeping(tmp_path, mesh, ending, name):
    counts = np.arange(len(mesh.tets))
    arrays = one(mesh, name) | {"vtkOriginalCellIds": (counts,), "vtkGhostType": (counts % 2,), "cell_id": (counts,)}
    foreign(tmp_path / f"a{ending}", mesh, arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = load(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(again.regions, mesh.regions)


@pytest.mark.parametrize("ending", ENDINGS)
def test_several_candidates_are_a_question(tmp_path, mesh, ending):
    foreign(tmp_path / f"a{ending}", mesh, {"alpha_cells": (mesh.regions,), "beta": (other(mesh),)})
    with pytest.raises(
        ValueError, match=r"which array holds the regions\? .*'alpha_cells' \(2 values\), 'beta' \(3 val"
    ):
        load(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(load(tmp_path / f"a{ending}", regions="alpha_cells").regions, mesh.regions)
    assert set(load(tmp_path / f"a{ending}", regions=False).regions.tolist()) == {1}
    with pytest.raises(ValueError, match=r"regions='gamma' should name an array .*there are 'alpha_cells'"):
        load(tmp_path / f"a{ending}", regions="gamma")


def test_two_arrays_called_like_regions_are_a_question_unless_they_agree(tmp_path, mesh):
    foreign(tmp_path / "a.vtu", mesh, {"region": (mesh.regions,), "material": (other(mesh),)})
    with pytest.raises(ValueError, match="which array holds the regions"):
        load(tmp_path / "a.vtu")
    foreign(tmp_path / "b.vtu", mesh, {"region": (mesh.regions,), "material": (10 * mesh.regions,)})
    np.testing.assert_array_equal(load(tmp_path / "b.vtu").regions, mesh.regions)


def test_a_lone_array_of_unknown_meaning_is_taken_with_a_warning(tmp_path, mesh):
    foreign(tmp_path / "a.vtu", mesh, {"stuff": (mesh.regions,)})
    with pytest.warns(UserWarning, match=r"'stuff' is taken as the regions, 2 labels; give regions=False"):
        again = load(tmp_path / "a.vtu")
    np.testing.assert_array_equal(again.regions, mesh.regions)


def test_labels_that_cannot_be_kept_get_new_ones_under_their_old_names(tmp_path, mesh):
    foreign(tmp_path / "a.vtu", mesh, {"region": (np.where(mesh.regions == 1, 0, 2**40),)})
    with pytest.warns(UserWarning, match="0 is the outside"):
        again = load(tmp_path / "a.vtu")
    np.testing.assert_array_equal(again.regions, mesh.regions)
    assert {again.names[1], again.names[2]} == {"label 0", f"label {2**40}"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_tags_of_triangles_become_patches(tmp_path, mesh, ending):
    tags = np.where(mesh.sides[:, 1] == 0, 7, 9)
    foreign(tmp_path / f"a{ending}", mesh, {"tag": (mesh.regions, tags)}, mesh.facets)
    again = load(tmp_path / f"a{ending}")
    assert {name: len(rows) for name, rows in again.patches.items()} == {
        "surface 7": (tags == 7).sum(),
        "surface 9": (tags == 9).sum(),
    }
    assert (again.sides[again.patches["surface 7"]] == [1, 0]).all()


# --- surfaces ---


def boxes(path, bodies):
    """Write an OBJ with one closed box per (title, low, high)."""
    lines = []
    for row, (title, low, high) in enumerate(bodies):
        corners = [(x, y, z) for x in (low, high) for y in (low, high) for z in (low, high)]
        quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        lines += [title, *(f"v {x} {y} {z}" for x, y, z in corners)]
        lines += ["f " + " ".join(str(8 * row + 1 + k) for k in quad) for quad in quads]
    path.write_text("\n".join([*lines, ""]))


def volumes(surface):
    found = enclosed(surface.points, surface.triangles, surface.sides)
    return {surface.names[label]: pytest.approx(volume, rel=1e-6) for label, volume in found.items()}


@pytest.mark.parametrize("word", ["o", "g"])
def test_obj_objects_become_regions_with_sides_by_containment(tmp_path, word):
    bodies = [("er", 1, 2), ("cell", 0, 4), ("nucleolus", 2.6, 2.9), ("nucleus", 2.5, 3.5), ("other cell", 5, 6)]
    boxes(tmp_path / "a.obj", [(f"{word} {title}", low, high) for title, low, high in bodies])
    again = load(tmp_path / "a.obj")
    wanted = {"er": 1, "cell": 64 - 1 - 1, "nucleolus": 0.027, "nucleus": 1 - 0.027, "other_cell": 1}
    assert volumes(again) == wanted
    assert ("er", "cell") in again.interfaces and ("nucleolus", "nucleus") in again.interfaces
    assert check(again).ok


def test_obj_objects_that_close_one_body_together_become_its_patches(tmp_path):
    body = closed_body()
    lines = ["v {!r} {!r} {!r}".format(*point) for point in body.points.tolist()]
    for title, rows in (("head", body.triangles[:50]), ("neck", body.triangles[50:])):
        lines += [f"g {title}", *("f {} {} {}".format(*row) for row in (rows + 1).tolist())]
    (tmp_path / "spine.obj").write_text("\n".join([*lines, ""]))
    again = load(tmp_path / "spine.obj")
    assert {name: len(rows) for name, rows in again.patches.items()} == {"head": 50, "neck": len(body.triangles) - 50}
    assert set(again.sides.ravel().tolist()) == {0, 1} and check(again).ok


def test_stl_solids_become_regions(tmp_path):
    text = ""
    for title, factor in (("cell", 2.0), ("", 1.0)):
        body = closed_body(title or "x")
        save(tmp_path / "one.stl", Surface(factor * body.points, body.triangles, body.sides, body.names))
        text += (tmp_path / "one.stl").read_text().replace("solid x", "solid ")
        (tmp_path / "one.stl").unlink()
    (tmp_path / "two.stl").write_text(text)
    again = load(tmp_path / "two.stl")
    small = np.einsum("ij,ij->", body.points[body.triangles[:, 0]], body.area_vectors) / 3
    assert volumes(again) == {"cell": 7 * small, "solid 2": small}


def test_boundary_labels_of_vtk_are_the_sides(tmp_path):
    import pyvista
    from vtkmodules.vtkFiltersCore import vtkSurfaceNets3D

    data = np.zeros((12, 12, 12), np.int32)
    data[2:10, 2:10, 2:10], data[4:7, 4:7, 4:7], data[2:10, 2:10, 9] = 1, 2, 3
    image = pyvista.ImageData(dimensions=data.shape)
    image.point_data["labels"] = data.ravel(order="F")
    image.point_data.active_scalars_name = "labels"
    nets = vtkSurfaceNets3D()
    nets.SetInputData(image)
    for row, label in enumerate((1, 2, 3)):
        nets.SetValue(row, label)
    nets.SetOutputMeshTypeToTriangles()
    nets.SmoothingOff()
    nets.Update()
    poly = pyvista.wrap(nets.GetOutput())
    for turned in (False, True):
        if turned:
            poly = poly.flip_faces()
        poly.save(tmp_path / "a.vtp")
        again = load(tmp_path / "a.vtp", names={2: "er"})
        found = enclosed(again.points, again.triangles, again.sides)
        assert found == {1: pytest.approx(8 * 8 * 7 - 27), 2: pytest.approx(27), 3: pytest.approx(64)}
        assert ("label 1", "er") in again.interfaces or ("er", "label 1") in again.interfaces


@pytest.mark.parametrize("ending", [".vtp", ".ply"])
def test_labels_of_triangles_become_bodies(tmp_path, ending):
    import pyvista

    body = closed_body()
    n = len(body.triangles)
    points = np.concatenate([body.points, 3 * body.points])
    triangles, labels = np.concatenate([body.triangles, body.triangles + len(body.points)]), np.repeat([4, 9], n)
    if ending == ".vtp":
        poly = pyvista.PolyData.from_regular_faces(points, triangles)
        poly.cell_data["segment"], poly.cell_data["vtkOriginalCellIds"] = labels, np.arange(2 * n)
        poly.save(tmp_path / "a.vtp")
    else:
        head = ["ply", "format ascii 1.0", f"element vertex {len(points)}", *(f"property float {a}" for a in "xyz")]
        head += [f"element face {2 * n}", "property list uchar int vertex_indices", "property int segment"]
        rows = ["{} {} {}".format(*point) for point in points.tolist()]
        rows += ["3 {} {} {} {}".format(*row, label) for row, label in zip(triangles.tolist(), labels, strict=True)]
        rows[len(points) :] = [f"{row} {k % 9}" for k, row in enumerate(rows[len(points) :])]
        (tmp_path / "a.ply").write_text("\n".join([*head, "property uchar red", "end_header", *rows, ""]))
    again = load(tmp_path / f"a{ending}", names={9: "cell"})
    small = np.einsum("ij,ij->", body.points[body.triangles[:, 0]], body.area_vectors) / 3
    found = enclosed(again.points, again.triangles, again.sides)
    assert found == {4: pytest.approx(small, rel=1e-5), 9: pytest.approx(26 * small, rel=1e-5)}
    assert again.names[9] == "cell"
    assert len(load(tmp_path / f"a{ending}", regions=False).interfaces) == 1


@pytest.mark.parametrize("ending", [".ply", ".obj", ".vtp"])
def test_a_point_cloud_is_called_so(tmp_path, ending):
    import pyvista

    if ending == ".obj":
        (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    elif ending == ".ply":
        head = ["ply", "format ascii 1.0", "element vertex 2", *(f"property float {a}" for a in "xyz"), "end_header"]
        (tmp_path / "a.ply").write_text("\n".join([*head, "0 0 0", "1 1 1", ""]))
    else:
        pyvista.PolyData(np.eye(3)).save(tmp_path / "a.vtp")
    with pytest.raises(ValueError, match="point cloud"):
        load(tmp_path / f"a{ending}")


# --- the unit ---


@pytest.mark.parametrize("ending", [".ply", ".stl", ".obj", ".vtp", ".npz", ".vtu", ".msh", ".xdmf"])
def test_points_are_taken_in_the_unit_that_is_given(tmp_path, ending):
    thing = tet_mesh() if ending in (".vtu", ".msh", ".xdmf") else closed_body()
    save(tmp_path / f"a{ending}", thing)
    again = load(tmp_path / f"a{ending}", unit="nm")
    np.testing.assert_allclose(np.ptp(again.points, axis=0), np.ptp(thing.points, axis=0) / 1000, rtol=1e-12)
    with pytest.raises(ValueError, match=r"a\..* unit"):
        load(tmp_path / f"a{ending}", unit="8 s")


def test_a_body_of_no_cells_size_is_told(tmp_path):
    body = closed_body()
    long = Surface(1e4 * body.points, body.triangles, body.sides, body.names)
    save(tmp_path / "a.ply", long)
    with pytest.warns(UserWarning, match=r"um long, which no cell is.*unit=\"nm\""):
        load(tmp_path / "a.ply")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check(load(tmp_path / "a.ply", unit="nm")).ok
    assert any("um long" in problem.message for problem in check(long).problems)
    save(tmp_path / "a.npz", tet_mesh())
    with pytest.raises(ValueError, match="regions= "):
        load(tmp_path / "a.npz", regions="region")
