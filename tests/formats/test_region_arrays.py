"""Arrays that could tell regions are taken, asked about or named, whatever their type and place in the file."""

import warnings

import numpy as np
import pytest

from gallery.meshes import ball
from gallery.things import closed_body
from meshcell.io import load

meshio = pytest.importorskip("meshio")


@pytest.fixture(scope="module")
def mesh():
    return ball(2, core=0.5)


def written(path, mesh, *, cells=None, points=None, **options):
    data = {name: [own] for name, own in (cells or {}).items()}
    made = meshio.Mesh(mesh.points, [("tetra", mesh.tets)], cell_data=data, point_data=points)
    # meshio says that it adds empty groups.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        meshio.write(path, made, **options)
    return path


VERSIONS = [
    {"file_format": "gmsh", "binary": True},
    {"file_format": "gmsh", "binary": False},
    {"file_format": "gmsh22", "binary": True},
    {"file_format": "gmsh22", "binary": False},
]


@pytest.mark.parametrize("options", VERSIONS)
def test_data_of_gmshs_elements_are_regions(tmp_path, mesh, options):
    path = written(tmp_path / "a.msh", mesh, cells={"region": mesh.regions}, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(load(path).regions, mesh.regions)
        np.testing.assert_array_equal(load(path, regions="region").regions, mesh.regions)
        assert set(load(path, regions=False).regions.tolist()) == {1}


def test_data_of_gmshs_elements_are_chosen_like_any_array(tmp_path, mesh):
    other = np.arange(len(mesh.tets)) % 3
    path = written(tmp_path / "a.msh", mesh, cells={"one": mesh.regions, "two": other}, file_format="gmsh")
    with pytest.raises(ValueError, match=r"which array holds the regions\?.*'one' \(2 values\), 'two' \(3 values\)"):
        load(path)
    np.testing.assert_array_equal(load(path, regions="one").regions, mesh.regions)
    path = written(tmp_path / "b.msh", mesh, cells={"foo": mesh.regions}, file_format="gmsh")
    with pytest.warns(UserWarning, match="'foo' is taken as the regions"):
        np.testing.assert_array_equal(load(path).regions, mesh.regions)


def test_data_that_contradict_elementary_volumes_are_a_question(tmp_path, mesh):
    volumes = 1 + np.arange(len(mesh.tets)) % 3
    cells = {"region": mesh.regions, "gmsh:geometrical": volumes, "gmsh:physical": 0 * volumes}
    path = written(tmp_path / "a.msh", mesh, cells=cells, file_format="gmsh22")
    with pytest.raises(ValueError, match="elementary volumes and the data 'region' divide the cells differently"):
        load(path)
    np.testing.assert_array_equal(load(path, regions="gmsh:geometrical").regions, volumes)


def test_data_of_gmsh_that_end_early_are_named(tmp_path, mesh):
    path = written(tmp_path / "a.msh", mesh, cells={"region": mesh.regions}, file_format="gmsh22", binary=False)
    text = path.read_text()
    section = '$ElementData\n1\n"region"\n1\n0.0\n3\n0\n1\n1000000000000\n1 1\n$EndElementData\n'
    path.write_text(text[: text.index("$ElementData")] + section)
    with pytest.raises(ValueError, match=r"promises 1,000,000,000,000 rows of 1 numbers in \$ElementData"):
        load(path)


@pytest.mark.parametrize("ending", [".vtu", ".xdmf", ".msh", ".vtk"])
@pytest.mark.parametrize("name", ["materials", "region", "organelles"])
def test_floating_labels_are_labels(tmp_path, mesh, ending, name):
    options = {".msh": {"file_format": "gmsh22"}, ".vtk": {"file_format": "vtk42"}}.get(ending, {})
    path = written(tmp_path / f"a{ending}", mesh, cells={name: mesh.regions.astype(float)}, **options)
    np.testing.assert_array_equal(load(path).regions, mesh.regions)


def test_floats_that_measure_every_cell_are_no_labels(tmp_path, mesh):
    path = written(tmp_path / "a.vtu", mesh, cells={"size": np.arange(len(mesh.tets), dtype=float)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(load(path).regions.tolist()) == {1}


@pytest.mark.parametrize("ending", [".vtu", ".xdmf", ".msh", ".vtk"])
@pytest.mark.parametrize("what", ["points", "columns", "fractions"])
def test_what_is_called_region_and_tells_none_is_named(tmp_path, mesh, ending, what):
    options = {".msh": {"file_format": "gmsh22"}, ".vtk": {"file_format": "vtk42"}}.get(ending, {})
    own = {
        "points": {"points": {"region": np.arange(len(mesh.points)) % 2}},
        "columns": {"cells": {"region": np.stack([mesh.regions] * 3, axis=1).astype(float)}},
        "fractions": {"cells": {"region": mesh.regions + 0.25}},
    }[what]
    path = written(tmp_path / f"a{ending}", mesh, **own, **options)
    said = {"points": "belongs to the points", "columns": "3 numbers per cell", "fractions": "are not whole"}[what]
    with pytest.warns(UserWarning, match=f"the array 'region' .*{said}"):
        assert set(load(path).regions.tolist()) == {1}


def test_labels_of_a_surfaces_points_are_named(tmp_path):
    own = closed_body()
    lines = [f"{x} {y} {z} {row % 2}" for row, (x, y, z) in enumerate(own.points.tolist())]
    head = ["ply", "format ascii 1.0", f"element vertex {len(lines)}", *(f"property float {axis}" for axis in "xyz")]
    head += ["property int label", f"element face {len(own.triangles)}", "property list uchar int vertex_indices"]
    faces = [f"3 {a} {b} {c}" for a, b, c in own.triangles.tolist()]
    (tmp_path / "a.ply").write_text("\n".join([*head, "end_header", *lines, *faces, ""]))
    with pytest.warns(UserWarning, match="the array 'label' belongs to the points"):
        load(tmp_path / "a.ply")


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_type_of_numbers_in_legacy_vtk_is_read(tmp_path, mesh, kind, binary):
    path = written(tmp_path / "a.vtk", mesh, cells={"region": mesh.regions.astype(kind)}, binary=binary)
    np.testing.assert_array_equal(load(path).regions, mesh.regions)
