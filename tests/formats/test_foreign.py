"""Files of other programs, and ours as other programs see them; voxel sizes and names that are missing or wrong."""

import json
import logging

import numpy as np
import pytest

from gallery.meshes import ball, box
from gallery.things import NAMES, ORIGIN, SPACING, VOLUME_ENDINGS, closed_body, solution, surface, tet_mesh, volume
from meshcell.core.types import TetMesh
from meshcell.io import load, save
from meshcell.models.solutions import Solution

# --- what other programs see and write ---


def test_paraview_sees_regions_sides_and_patches(tmp_path):
    import pyvista

    mesh = tet_mesh()
    save(tmp_path / "a.vtu", mesh)
    grid = pyvista.read(tmp_path / "a.vtu")
    tets = grid.celltypes == 10
    np.testing.assert_array_equal(grid.points, mesh.points)
    np.testing.assert_array_equal(grid.cells_dict[10], mesh.tets)
    np.testing.assert_array_equal(grid["region"][tets], mesh.regions)
    np.testing.assert_array_equal(np.stack([grid["side0"], grid["side1"]], 1)[~tets], mesh.sides)
    np.testing.assert_array_equal(np.flatnonzero(grid["patch:PSD"][~tets]), mesh.patches["PSD"])
    save(tmp_path / "a.vtp", surface())
    poly = pyvista.read(tmp_path / "a.vtp")
    np.testing.assert_array_equal(poly.regular_faces, surface().triangles)


def test_paraview_reads_both_indices_of_xdmf(tmp_path):
    from vtkmodules.vtkIOXdmf2 import vtkXdmfReader

    def shown(name):
        reader = vtkXdmfReader()
        reader.SetFileName(str(tmp_path / name))
        reader.Update()
        return reader.GetOutputDataObject(0)

    save(tmp_path / "a.xdmf", tet_mesh())
    assert shown("a.xdmf").GetNumberOfCells() == len(tet_mesh().tets)
    blocks = shown("a.dolfinx.xdmf")
    counts = [blocks.GetBlock(k).GetNumberOfCells() for k in range(blocks.GetNumberOfBlocks())]
    assert counts == [len(tet_mesh().tets), len(tet_mesh().tets), len(tet_mesh().facets)]


def test_a_solution_is_one_time_series(tmp_path):
    import pyvista

    own = solution()
    save(tmp_path / "out" / "run.pvd", own)
    reader = pyvista.PVDReader(tmp_path / "out" / "run.pvd")
    assert reader.time_values == own.times.tolist()
    reader.set_active_time_value(own.times[2])
    bulk, faces = reader.read()
    np.testing.assert_array_equal(bulk["Ca"][own.nodes["Ca"]], own.values["Ca"][2])
    np.testing.assert_array_equal(faces["B"][own.nodes["B"]], own.values["B"][2])
    assert np.isnan(np.delete(bulk["Ca"], own.nodes["Ca"])).all() and "B" not in bulk.array_names
    with pytest.raises(ValueError, match=r"load the \.npz saved with it"):
        load(tmp_path / "out" / "run.pvd")


def test_a_time_series_replaces_only_its_own_folder(tmp_path):
    own = solution()
    save(tmp_path / "run.pvd", own)
    shorter = Solution(own.mesh, own.model, own.times[:1], {k: v[:1] for k, v in own.values.items()}, own.nodes)
    save(tmp_path / "run.pvd", shorter, overwrite=True)
    assert len(list((tmp_path / "run").iterdir())) == 2
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"it holds something else: thesis\.tex"):
        save(tmp_path / "run.pvd", own, overwrite=True)
    assert (tmp_path / "run" / "thesis.tex").exists()


def test_meshio_sees_one_physical_group_per_gmsh_cell(tmp_path):
    import meshio

    mesh = ball(2, core=0.5, names={1: "cyt", 2: "er"})
    mesh = TetMesh(mesh.points, mesh.tets, mesh.regions, mesh.facets, mesh.sides, mesh.names, {"PSD": [0, 1]})
    save(tmp_path / "a.msh", mesh)
    seen = meshio.read(tmp_path / "a.msh")
    assert {name: int(dim) for name, (_, dim) in seen.field_data.items()} == {
        "cyt": 3,
        "er": 3,
        "PSD": 2,
        "cyt|outside": 2,
        "er|cyt": 2,
    }
    assert sum(len(block) for block in seen.cells if block.type == "triangle") == len(mesh.facets)
    assert sorted(int(seen.cell_sets_dict[name]["tetra"].size) for name in ("cyt", "er")) == sorted(
        np.unique(mesh.regions, return_counts=True)[1].tolist()
    )


def gmsh_22(path, mesh, groups, titles, binary):
    import meshio

    foreign = meshio.Mesh(
        mesh.points,
        [("triangle", mesh.facets[:, ::-1]), ("tetra", mesh.tets)],
        cell_data={key: [groups, mesh.regions] for key in ("gmsh:physical", "gmsh:geometrical")},
        field_data={title: np.array([tag, dim]) for title, (dim, tag) in titles.items()},
    )
    meshio.write(path, foreign, file_format="gmsh22", binary=binary)


def gmsh_41(path, mesh, groups, titles):
    """Write text by the manual: one entity per physical group, elements in blocks."""
    kinds = [(2, tag) for tag in np.unique(groups).tolist()] + [(3, tag) for tag in np.unique(mesh.regions).tolist()]
    n = len(mesh.points)
    lines = ["$MeshFormat", "4.1 0 8", "$EndMeshFormat", "$PhysicalNames", str(len(titles))]
    lines += [f'{dim} {tag} "{title}"' for title, (dim, tag) in titles.items()]
    lines += ["$EndPhysicalNames", "$Entities", f"0 0 {sum(d == 2 for d, _ in kinds)} {sum(d == 3 for d, _ in kinds)}"]
    lines += [f"{tag} 0 0 0 1 1 1 1 {tag} 0" for _, tag in kinds]
    lines += ["$EndEntities", "$Nodes", f"1 {n} 1 {n}", f"3 1 0 {n}", *(str(k + 1) for k in range(n))]
    lines += ["{!r} {!r} {!r}".format(*point) for point in mesh.points.tolist()]
    total = len(mesh.facets) + len(mesh.tets)
    lines += ["$EndNodes", "$Elements", f"{len(kinds)} {total} 1 {total}"]
    count = 0
    for dim, tag in kinds:
        cells = mesh.facets[groups == tag] if dim == 2 else mesh.tets[mesh.regions == tag]
        lines.append(f"{dim} {tag} {2 if dim == 2 else 4} {len(cells)}")
        for corners in cells + 1:
            count += 1
            lines.append(f"{count} " + " ".join(map(str, corners)))
    path.write_text("\n".join([*lines, "$EndElements", ""]))


@pytest.mark.parametrize("kind", ["2.2 text", "2.2 binary", "4.1 text"])
def test_foreign_gmsh_files_bring_names_interfaces_and_patches(tmp_path, kind):
    mesh = ball(2, core=0.5)
    membrane = np.flatnonzero(mesh.sides[:, 1] == 0)
    groups = np.full(len(mesh.facets), 12)
    groups[membrane], groups[membrane[:3]] = 11, 13
    titles = {"cyt": (3, 1), "er": (3, 2), "cyt|outside": (2, 11), "inner": (2, 12), "PSD": (2, 13)}
    if kind == "4.1 text":
        gmsh_41(tmp_path / "a.msh", mesh, groups, titles)
    else:
        gmsh_22(tmp_path / "a.msh", mesh, groups, titles, binary=kind == "2.2 binary")
    again = load(tmp_path / "a.msh")
    assert again.names == {0: "outside", 1: "cyt", 2: "er"}
    assert set(again.interfaces) == {("cyt", "outside"), ("er", "cyt")}
    counts = {"inner": len(mesh.facets) - len(membrane), "PSD": 3}
    assert {name: len(rows) for name, rows in again.patches.items()} == counts
    assert (again.sides[again.patches["PSD"]] == [1, 0]).all()
    assert again.volumes.sum() == pytest.approx(mesh.volumes.sum(), rel=1e-12)
    # What is cut off at any third is found out.
    content = (tmp_path / "a.msh").read_bytes()
    for share in (0.3, 0.9):
        (tmp_path / "cut.msh").write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"cut\.msh promises a section"):
            load(tmp_path / "cut.msh")


def test_our_gmsh_files_stay_readable_when_another_program_drops_our_comment(tmp_path):
    mesh = ball(2, core=0.5, names={1: "cyt", 2: "er"})
    mesh = TetMesh(mesh.points, mesh.tets, mesh.regions, mesh.facets, mesh.sides, mesh.names, {"PSD": [0, 1]})
    save(tmp_path / "a.msh", mesh)
    content = (tmp_path / "a.msh").read_bytes()
    start, end = content.index(b"$Comments"), content.index(b"$PhysicalNames")
    (tmp_path / "b.msh").write_bytes(content[:start] + content[end:])
    again = load(tmp_path / "b.msh")
    assert (
        again.names == mesh.names and list(again.patches) == ["PSD"] and set(again.interfaces) == set(mesh.interfaces)
    )
    wanted = np.sort(mesh.facets[mesh.patches["PSD"]], axis=1)
    np.testing.assert_array_equal(
        np.unique(np.sort(again.facets[again.patches["PSD"]], axis=1), axis=0), np.unique(wanted, axis=0)
    )


@pytest.mark.parametrize("ending", [".vtu", ".xdmf"])
def test_foreign_meshes_get_interfaces_and_are_turned_right(tmp_path, ending, caplog):
    import meshio

    mesh = box(2, region=lambda c: 1 + (c[:, 0] > 0.5))
    inverted = mesh.tets[:, [1, 0, 2, 3]]
    meshio.write(
        tmp_path / f"a{ending}", meshio.Mesh(mesh.points, [("tetra", inverted)], cell_data={"region": [mesh.regions]})
    )
    with caplog.at_level(logging.INFO, "meshcell"):
        again = load(tmp_path / f"a{ending}", names={2: "right"})
    assert set(again.interfaces) == {("label 1", "outside"), ("right", "outside"), ("right", "label 1")}
    assert f"{len(mesh.tets)} of {len(mesh.tets)} tetrahedra are inverted" in caplog.text


@pytest.mark.parametrize("binary", [True, False])
def test_foreign_vtk_files_are_read(tmp_path, binary):
    import pyvista

    mesh = ball(2)
    grid = pyvista.UnstructuredGrid({pyvista.CellType.TETRA: mesh.tets}, mesh.points)
    grid.cell_data["region"] = np.full(len(mesh.tets), 3)
    grid.save(tmp_path / "a.vtu", binary=binary)
    # VTK's text has eleven digits, its binary files all.
    np.testing.assert_allclose(load(tmp_path / "a.vtu").points, mesh.points, rtol=0 if binary else 1e-10)
    assert set(load(tmp_path / "a.vtu").regions.tolist()) == {3}
    body = closed_body()
    poly = pyvista.PolyData.from_regular_faces(body.points, body.triangles)
    poly.save(tmp_path / "dendrite.vtp", binary=binary)
    assert load(tmp_path / "dendrite.vtp").names == {0: "outside", 1: "dendrite"}


@pytest.mark.parametrize("mode", ["Ascii", "Binary", "Appended"])
@pytest.mark.parametrize("compressor", ["None", "ZLib", "LZ4"])
@pytest.mark.parametrize("word", [32, 64])
def test_every_encoding_of_vtk_is_read_or_named(tmp_path, mode, compressor, word):
    import pyvista
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

    mesh = ball(2)
    writer = vtkXMLUnstructuredGridWriter()
    writer.SetInputData(pyvista.UnstructuredGrid({pyvista.CellType.TETRA: mesh.tets}, mesh.points))
    getattr(writer, f"SetDataModeTo{mode}")()
    getattr(writer, f"SetCompressorTypeTo{compressor}")()
    getattr(writer, f"SetHeaderTypeToUInt{word}")()
    for raw in ("On", "Off"):
        getattr(writer, f"EncodeAppendedData{raw}")()
        writer.SetFileName(str(tmp_path / f"{raw}.vtu"))
        writer.Write()
        if compressor == "LZ4":
            with pytest.raises(ValueError, match="compressed by zlib or not at all; got vtkLZ4DataCompressor"):
                load(tmp_path / f"{raw}.vtu")
        else:
            again = load(tmp_path / f"{raw}.vtu")
            np.testing.assert_array_equal(again.tets, mesh.tets)
            np.testing.assert_allclose(again.points, mesh.points, rtol=1e-10 if mode == "Ascii" else 0)


def test_surfaces_of_other_programs_become_one_outward_body(tmp_path, caplog):
    import trimesh

    body = closed_body()
    volume = np.einsum("ij,ij->", body.points[body.triangles[:, 0]], body.area_vectors) / 3
    foreign = trimesh.Trimesh(body.points, body.triangles[:, ::-1], process=False)
    for ending, options in [("ply", {"encoding": "ascii"}), ("ply", {}), ("stl", {}), ("obj", {})]:
        foreign.export(tmp_path / f"cell.{ending}", **options)
        with caplog.at_level(logging.INFO, "meshcell"):
            again = load(tmp_path / f"cell.{ending}", names={3: "soma"})
        assert "normals point inward" in caplog.text
        assert again.names[3] == "soma" and (again.sides == [3, 0]).all()
        assert len(again.points) == len(body.points)
        enclosed = np.einsum("ij,ij->", again.points[again.triangles[:, 0]], again.area_vectors) / 3
        # Single precision and eight digits in the files.
        assert enclosed == pytest.approx(volume, rel=1e-6)
        caplog.clear()


def test_polygons_negative_indices_and_big_endian_are_read(tmp_path):
    corners = [(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)]
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    lines = ["v {} {} {}".format(*corner) for corner in corners]
    lines += ["f " + " ".join(f"{k - 8}//1" for k in quad) for quad in quads]
    (tmp_path / "cube.obj").write_text("\n".join(lines))
    head = ["ply", "format binary_big_endian 1.0", "element vertex 8", *(f"property float {a}" for a in "xyz")]
    head += ["element face 6", "property list uchar int vertex_index", "end_header\n"]
    faces = np.array([(4, quad) for quad in quads], [("n", "u1"), ("corners", ">i4", (4,))])
    content = "\n".join(head).encode() + np.array(corners, ">f4").tobytes() + faces.tobytes()
    (tmp_path / "cube.ply").write_bytes(content)
    for name in ("cube.obj", "cube.ply"):
        cube = load(tmp_path / name)
        assert len(cube.triangles) == 12 and cube.areas.sum() == pytest.approx(6, rel=1e-12)
        np.testing.assert_allclose(cube.area_vectors.sum(axis=0), 0, atol=1e-15)


def test_obj_groups_of_two_regions_become_interfaces(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\ng er|cyt\nf 1 3 2\nf 1 2 4\ng cyt|outside\nf 2 3 4\nf 1 4 3\n"
    (tmp_path / "a.obj").write_text(text)
    assert list(load(tmp_path / "a.obj").interfaces) == [("er", "cyt"), ("cyt", "outside")]


def test_volume_files_of_other_programs(tmp_path):
    import h5py
    import mrcfile
    import tifffile

    zyx = volume().data.T
    np.savez(
        tmp_path / "a.npz", labels=volume().data, spacing_um=SPACING, origin_um=ORIGIN, names=json.dumps({"1": "c"})
    )
    tifffile.imwrite(
        tmp_path / "a.tif",
        zyx,
        imagej=True,
        resolution=(0.125, 0.125),
        metadata={"axes": "ZYX", "spacing": 50, "unit": "nm"},
    )
    sizes = {"PhysicalSizeX": 8, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.008, "PhysicalSizeZ": 0.05}
    tifffile.imwrite(
        tmp_path / "a.ome.tif", zyx, ome=True, bigtiff=True, photometric="minisblack", metadata={"axes": "ZYX", **sizes}
    )
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(zyx.astype(np.int16))
        mrc.voxel_size = (80, 80, 500)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        ilastik = file.create_dataset("exported_data", data=zyx[..., None])
        ilastik.attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in "zyxc"]})
        ilastik.attrs["element_size_um"] = (0.05, 0.008, 0.008)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("volumes/labels", data=zyx).attrs["resolution"] = (50.0, 8.0, 8.0)
        file.create_dataset("volumes/other", data=zyx + 1)
    first = load(tmp_path / "a.npz")
    assert (first.spacing, first.origin, first.names[1]) == (SPACING, ORIGIN, "c")
    for name in ("a.tif", "a.ome.tif", "a.mrc", "a.h5", "b.h5"):
        again = load(tmp_path / name)
        np.testing.assert_array_equal(again.data, volume().data, err_msg=name)
        # MRC's header has single precision.
        np.testing.assert_allclose(again.spacing, (0.008, 0.008, 0.05), rtol=1e-6, err_msg=name)


def test_mrc_axes_follow_the_header(tmp_path):
    import mrcfile

    data = volume(shape=(4, 5, 6)).data
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        # Columns are z, rows x, sections y.
        mrc.set_data(np.ascontiguousarray(data.transpose(1, 0, 2).astype(np.int16)))
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = 3, 1, 2
        mrc.header.mx, mrc.header.my, mrc.header.mz = 4, 5, 6
        mrc.header.cella = (40, 100, 180)
    again = load(tmp_path / "a.mrc")
    np.testing.assert_array_equal(again.data, data)
    np.testing.assert_allclose(again.spacing, (0.001, 0.002, 0.003), rtol=1e-6)


# --- voxel size and names ---


def _without_size(path, kind):
    import h5py
    import mrcfile
    import tifffile

    zyx = np.ones((20, 5, 4), np.uint8)
    if kind == "npy":
        np.save(path, zyx)
    elif kind == "npz":
        np.savez(path, labels=zyx)
    elif kind == "tif":
        tifffile.imwrite(path, zyx, photometric="minisblack")
    elif kind == "ome.tif":
        tifffile.imwrite(path, zyx, ome=True, photometric="minisblack", metadata={"axes": "ZYX"})
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["data"] = zyx
    else:
        with mrcfile.new(path) as mrc:
            mrc.set_data(zyx.astype(np.int8))


@pytest.mark.parametrize("kind", ["npy", "npz", "tif", "ome.tif", "h5", "mrc"])
def test_a_missing_voxel_size_is_asked_for(tmp_path, kind):
    path = tmp_path / f"cell.{kind}"
    _without_size(path, kind)
    with pytest.raises(ValueError, match="voxel size should be known") as caught:
        load(path)
    assert str(path) in str(caught.value) and 'spacing="8 nm"' in str(caught.value)
    assert load(path, spacing="8 nm").spacing == (0.008, 0.008, 0.008)


@pytest.mark.parametrize(
    ("cell", "sampling", "text"),
    [
        (
            (100, 125, 3881),
            (10, 10, 1),
            r"a voxel would be \[10.0, 12.5, 3881.0\] A; cell / voxels would be .*12.44\) A",
        ),
        ((100, 100, 312e3), (10, 10, 312), "more than 20 times longer than wide"),
        ((10, 10, 312), (10, 10, 312), "so 1 A, which programs write when they do not know it"),
        ((0, 0, 0), (10, 10, 312), "which is no size"),
    ],
)
def test_mrc_headers_that_lie_about_the_voxel_size_are_named(tmp_path, cell, sampling, text):
    import mrcfile

    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(np.zeros((312, 10, 10), np.int8))
        mrc.header.cella = cell
        mrc.header.mx, mrc.header.my, mrc.header.mz = sampling
    with pytest.raises(ValueError, match=text):
        load(tmp_path / "a.mrc")
    assert load(tmp_path / "a.mrc", spacing="12.44 angstrom").spacing[2] == pytest.approx(0.001244, rel=1e-12)


def test_imagej_in_pixels_has_no_voxel_size(tmp_path):
    import tifffile

    zyx = np.ones((3, 4, 5), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", zyx, imagej=True, metadata={"axes": "ZYX", "spacing": 1, "unit": "pixel"})
    with pytest.raises(ValueError, match="unit 'pixel', spacing 1"):
        load(tmp_path / "a.tif")


def test_channels_and_times_are_refused(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 2, 4, 5), np.uint8), imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(ValueError, match=r"grey planes \(z, y, x\); got axes ZCYX"):
        load(tmp_path / "a.tif", spacing=0.01)


@pytest.mark.parametrize("ending", VOLUME_ENDINGS)
def test_the_callers_spacing_and_names_win(tmp_path, ending, caplog):
    save(tmp_path / f"a{ending}", volume())
    with caplog.at_level(logging.INFO, "meshcell"):
        again = load(tmp_path / f"a{ending}", spacing="10 nm", names={1: "cytosol"})
    assert again.spacing == (0.01, 0.01, 0.01) and again.names == {0: "outside", **NAMES, 1: "cytosol"}
    assert "voxel size (0.01, 0.01, 0.01) um as asked" in caplog.text and "'cytosol' as asked" in caplog.text


def test_unusable_spacing_and_names_name_the_file(tmp_path):
    save(tmp_path / "a.npz", volume())
    with pytest.raises(ValueError, match=r"a\.npz: spacing should be three positive lengths in um per voxel; got 0"):
        load(tmp_path / "a.npz", spacing=0)
    save(tmp_path / "a.vtu", tet_mesh())
    with pytest.raises(
        ValueError, match=r"a\.vtu: names should differ; 'absent' is asked for region 1, and stored for 7"
    ):
        load(tmp_path / "a.vtu", names={1: "absent"})


def test_a_cropped_mrc_keeps_names_but_not_the_old_origin(tmp_path):
    import mrcfile

    save(tmp_path / "a.mrc", volume(shape=(4, 5, 6)))
    with mrcfile.open(tmp_path / "a.mrc", "r+") as mrc:
        size, origin = mrc.voxel_size.copy(), (7.0, 8.0, 9.0)
        mrc.set_data(mrc.data[:3].copy())
        mrc.voxel_size = size
        mrc.header.origin = origin
    again = load(tmp_path / "a.mrc")
    assert again.data.shape == (4, 5, 3) and again.names[1] == NAMES[1]
    np.testing.assert_allclose(again.origin, (7e-4, 8e-4, 9e-4), rtol=1e-6)


def test_floats_become_labels_by_names(tmp_path):
    np.savez(tmp_path / "a.npz", data=np.array([[[0.0, 2.0]]]), spacing=0.1)
    assert load(tmp_path / "a.npz").is_labels is False
    assert load(tmp_path / "a.npz", names={2: "er"}).regions == {2: "er"}


def test_the_real_spine_loads(real_spine):
    labels = load(real_spine, names={1: "cytosol", 2: "er"})
    assert labels.spacing == (0.01, 0.01, 0.01) and labels.regions == {1: "cytosol", 2: "er"}
    # Truth from the surfaces' own authors, to the digits given beside the data.
    for name, area, inside in [("real_PM", 6.632, 0.6710), ("real_SA", 2.400, 0.02713)]:
        own = load(real_spine.with_name(f"{name}.ply"))
        assert own.areas.sum() == pytest.approx(area, abs=5e-4)
        enclosed = np.einsum("ij,ij->", own.points[own.triangles[:, 0]], own.area_vectors) / 3
        assert enclosed == pytest.approx(inside, abs=5e-5)
