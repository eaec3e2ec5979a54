"""Which array of a file is the volume, and what its numbers are: right, or a question, or at least a warning."""

import warnings

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile

import meshcell as mc
from gallery.things import closed_body, tet_mesh

RNG = np.random.default_rng(0)
RAW = RNG.integers(1, 255, (5, 6, 7)).astype(np.uint8)
IDS = RNG.integers(0, 4, (5, 6, 7)).astype(np.uint64)


def hdf5(path, arrays, **attributes):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
            if array.ndim >= 3:
                file[name].attrs.update({"resolution": (40.0, 4.0, 4.0), **attributes})
    return path


LAYOUTS = {
    "CREMI": ({"volumes/raw": RAW, "volumes/labels/neuron_ids": IDS}, "volumes/labels/neuron_ids"),
    "PlantSeg": ({"raw": RAW.astype(np.float32), "label": IDS.astype(np.uint16)}, "label"),
    "PlantSeg, segmented": ({"raw": RAW, "predictions": RAW / 255.0, "segmentation": IDS}, "segmentation"),
    "name unknown, 64 bits": ({"raw": RAW, "volumes/x7": IDS}, "volumes/x7"),
    "a pair for learning": ({"data": RAW, "labels": IDS.astype(np.uint8)}, "labels"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ending", [".h5", ".npz"])
def test_labels_are_found_beside_grey_values(tmp_path, layout, ending):
    arrays, wanted = LAYOUTS[layout]
    path = tmp_path / f"a{ending}"
    if ending == ".h5":
        hdf5(path, arrays)
    else:
        np.savez(path, spacing_um=(0.004, 0.004, 0.04), **{key: array.T for key, array in arrays.items()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        volume = mc.load(path)
    np.testing.assert_array_equal(volume.data, arrays[wanted].T)
    assert volume.is_labels


def test_grey_values_are_found_beside_labels(tmp_path):
    path = hdf5(tmp_path / "a.h5", LAYOUTS["CREMI"][0])
    volume = mc.load(path, kind="intensities")
    assert not volume.is_labels and volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, RAW.T)
    with pytest.warns(UserWarning, match=r"intensities, as the file or its name says"):
        assert not mc.load(path, dataset="raw").is_labels
    np.testing.assert_array_equal(mc.load(path, dataset="/volumes/raw", kind="labels").data, RAW.T)
    np.testing.assert_array_equal(mc.load(path, dataset="neuron_ids").data, IDS.T)


@pytest.mark.parametrize("ending", [".h5", ".npz"])
def test_where_only_the_user_knows_the_arrays_are_listed(tmp_path, ending):
    arrays = {"first": IDS.astype(np.uint8), "second": IDS}
    path = tmp_path / f"a{ending}"
    if ending == ".h5":
        hdf5(path, arrays)
    else:
        np.savez(path, spacing=0.01, **arrays)
    with pytest.raises(
        ValueError, match=r"first \(5, 6, 7\) uint8, /?second \(5, 6, 7\) uint64; say which.*dataset='f"
    ):
        mc.load(path)
    assert mc.load(path, dataset="second").data.dtype == np.uint64
    with pytest.raises(ValueError, match=r"there is no array 'third'; there are /?first"):
        mc.load(path, dataset="third")
    with pytest.raises(ValueError, match="dataset should be the name of an array; got 1; there are"):
        mc.load(path, dataset=1)


def test_labels_that_are_preferred_by_name_are_told(tmp_path):
    path = hdf5(tmp_path / "a.h5", {"volumes/labels/neuron_ids": IDS, "volumes/labels/clefts": IDS, "volumes/raw": RAW})
    with pytest.warns(UserWarning, match=r"neuron_ids .* is taken; there are also /volumes/labels/clefts"):
        mc.load(path)


def test_supervoxels_of_neuroproof_become_bodies(tmp_path):
    pairs = np.array([[3, 30], [1, 10], [2, 10]], np.uint64)
    path = hdf5(tmp_path / "a.h5", {"stack": IDS.astype(np.uint32), "transforms": pairs})
    wanted = np.array([0, 10, 10, 30])[IDS.astype(int)]
    np.testing.assert_array_equal(mc.load(path).data, wanted.T)
    np.testing.assert_array_equal(mc.load(path, dataset="stack").data, wanted.T)
    hdf5(tmp_path / "b.h5", {"stack": IDS.astype(np.uint32), "transforms": pairs[1:]})
    with pytest.raises(ValueError, match=r"body of every supervoxel in /stack; 1 have none, the first is 3"):
        mc.load(tmp_path / "b.h5")


# --- labels or intensities ---


def tomogram(path, data):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(data)
        file.set_volume()
        file.voxel_size = 13.68
    return path


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_what_is_below_zero_is_no_label(tmp_path, kind):
    data = RNG.normal(0, 50, (6, 7, 8)).clip(-128, 127).astype(kind)
    with pytest.warns(
        UserWarning, match=r'taken as intensities, since no label is below 0; load\(\.\.\., kind="labels"'
    ):
        volume = mc.load(tomogram(tmp_path / "a.rec", data))
    assert volume.data.dtype == np.float32 and volume.spacing == pytest.approx((1.368e-3,) * 3, rel=1e-6)
    np.testing.assert_array_equal(volume.data, data.T)
    for asked in ({"kind": "labels"}, {"names": {1: "er"}}):
        with pytest.raises(ValueError, match=r"labels should be >= 0.*kind=\"intensities\""):
            mc.load(tmp_path / "a.rec", **asked)


@pytest.mark.parametrize("kind", ["u1", "u2", "i1", "i2", "u4", "f4"])
@pytest.mark.parametrize("ending", [".npy", ".ome.tif", ".h5", ".npz"])
def test_any_numbers_are_read_as_what_was_asked(tmp_path, kind, ending):
    data, path = RNG.integers(0, 100, (4, 5, 6)).astype(kind), tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(path, data)
    else:
        mc.save(path, mc.Volume(data, 0.01))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grey, labels = (mc.load(path, spacing=0.01, kind=what) for what in ("intensities", "labels"))
    assert grey.data.dtype.kind == "f" and labels.is_labels
    np.testing.assert_array_equal(grey.data, data)
    np.testing.assert_array_equal(labels.data, data)


def test_whole_numbers_as_intensities_are_segmented(tmp_path):
    body = np.zeros((20, 20, 20), np.uint16)
    body[5:15, 5:15, 5:15] = 3000
    grey = body + RNG.integers(0, 800, body.shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="minisblack")
    found = mc.segment(mc.load(tmp_path / "a.tif", spacing="8 nm", kind="intensities"))
    # Otsu's threshold lies in the uppermost of the bins that hold noise, of which there are more than fifty.
    assert ((found.data > 0) != (body.T > 0)).mean() < 0.02
    with pytest.raises(TypeError, match=r"unless these are grey values: load\(\.\.\., kind=\"intensities\"\)"):
        mc.segment(mc.load(tmp_path / "a.tif", spacing="8 nm", kind="labels"))


def test_labels_that_look_like_grey_values_are_doubted(tmp_path):
    shape = (30, 40, 50)
    np.save(tmp_path / "grey.npy", RNG.integers(0, 4000, shape).astype(np.uint16))
    with pytest.warns(UserWarning, match=r"% of neighbouring voxels alike: these look like grey values"):
        mc.load(tmp_path / "grey.npy", spacing=0.01)
    # As many labels, in cubes of four voxels.
    blocks = np.arange(1, 1001).reshape(10, 10, 10).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    np.save(tmp_path / "labels.npy", blocks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mc.load(tmp_path / "labels.npy", spacing=0.01)
        mc.load(tmp_path / "grey.npy", spacing=0.01, kind="labels")


def test_misplaced_choices_are_named(tmp_path):
    np.save(tmp_path / "a.npy", RAW)
    with pytest.raises(ValueError, match='kind should be "labels" or "intensities"; got \'label\''):
        mc.load(tmp_path / "a.npy", spacing=1, kind="label")
    with pytest.raises(
        ValueError, match=r"dataset= is for files of several volumes \(\.h5, \.npz\); this one holds one"
    ):
        mc.load(tmp_path / "a.npy", spacing=1, dataset="a")
    with pytest.raises(ValueError, match=r"names= are for labels"):
        mc.load(tmp_path / "a.npy", spacing=1, kind="intensities", names={1: "er"})
    for ending in (".vtu", ".npz"):
        mc.save(tmp_path / f"mesh{ending}", tet_mesh())
        with pytest.raises(ValueError, match="kind= is for volumes; this one holds"):
            mc.load(tmp_path / f"mesh{ending}", kind="labels")


def test_names_for_labels_that_are_not_there_are_told(tmp_path):
    np.save(tmp_path / "a.npy", np.uint8(255) * (RAW > 100))
    with pytest.warns(UserWarning, match=r"not there: \{1: 'cell'\}; the labels there are 255"):
        mc.load(tmp_path / "a.npy", spacing=1, names={1: "cell"})


@pytest.mark.parametrize("thing", ["volume", "mesh"])
def test_names_that_are_turned_round_are_answered(tmp_path, thing):
    path = tmp_path / ("a.npy" if thing == "volume" else "a.vtu")
    if thing == "volume":
        np.save(path, RAW)
    else:
        mc.save(path, tet_mesh())
    spacing = {"spacing": 1} if thing == "volume" else {}
    with pytest.raises(ValueError, match=r"a\.(npy|vtu): names should map .*turned round: give \{1: 'cytosol'\}"):
        mc.load(path, names={"cytosol": 1}, **spacing)
    with pytest.raises(ValueError, match=r"a\.(npy|vtu): names should be a dict label -> name"):
        mc.load(path, names=["outside", "cytosol"], **spacing)


def test_probabilities_are_no_single_intensities(tmp_path):
    shares = RNG.dirichlet(np.ones(3), (4, 5, 6)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        item = file.create_dataset("exported_data", data=shares)
        item.attrs["axistags"] = '{"axes": [{"key": "z"}, {"key": "y"}, {"key": "x"}, {"key": "c"}]}'
    assert mc.load(tmp_path / "a.h5", spacing=1).is_labels
    with pytest.raises(ValueError, match="should have one value per voxel"):
        mc.load(tmp_path / "a.h5", spacing=1, kind="intensities")


MESHES = [".ply", ".stl", ".obj", ".vtp", ".vtu", ".vtk", ".xdmf", ".msh", ".mesh", ".inp", ".off", ".npz"]


@pytest.mark.parametrize("ending", MESHES)
def test_names_for_labels_that_a_mesh_has_not_are_told(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    mc.save(path, tet_mesh() if ending in (".vtu", ".xdmf", ".msh", ".mesh", ".inp") else closed_body())
    with pytest.warns(UserWarning, match=r"labels that are not there: .*99: 'lost'.*; the labels there are \d"):
        mc.load(path, names={1: "here", 99: "lost"})


def foreign_files(folder):
    meshio = pytest.importorskip("meshio")
    mesh = tet_mesh()
    groups = {"gmsh:physical": [mesh.regions], "gmsh:geometrical": [mesh.regions]}
    made = meshio.Mesh(mesh.points, [("tetra", mesh.tets)], cell_data=groups)
    for name in ("a.msh", "a.vtu", "a.mesh", "a.xdmf"):
        meshio.write(folder / name, made, **({"file_format": "gmsh22"} if name == "a.msh" else {}))
    body = closed_body()
    meshio.write(folder / "a.stl", meshio.Mesh(body.points, [("triangle", body.triangles)]))
    lines = [f"v {x} {y} {z}" for x, y, z in body.points.tolist()]
    for part in range(2):
        lines += [f"o part{part}", *(f"f {a} {b} {c}" for a, b, c in (body.triangles + 1).tolist()[part::2])]
    (folder / "a.obj").write_text("\n".join(lines) + "\n")
    return [folder / name for name in ("a.msh", "a.vtu", "a.mesh", "a.xdmf", "a.stl", "a.obj")]


@pytest.mark.parametrize("names", [{"c": 1}, {1: "a", 2: "a"}, {1: ""}, ["a"], {-1: "a"}, {0: "cell"}])
def test_a_mistake_in_names_is_not_put_on_the_file(tmp_path, names):
    for path in foreign_files(tmp_path):
        with pytest.raises(ValueError, match=path.name) as caught:
            mc.load(path, names=names)
        assert "damaged" not in str(caught.value)


def test_a_name_that_the_file_has_for_another_region_is_told(tmp_path):
    mc.save(tmp_path / "a.msh", tet_mesh())
    text = (tmp_path / "a.msh").read_bytes()
    # Without our comment it is the file of another program.
    start, end = text.index(b"$Comments"), text.index(b"$PhysicalNames")
    (tmp_path / "a.msh").write_bytes(text[:start] + text[end:])
    first, second = mc.load(tmp_path / "a.msh").names[1], 2
    with pytest.raises(
        ValueError, match=f"{first!r} is asked for region {second}, and stored for 1; give 1 a name"
    ) as e:
        mc.load(tmp_path / "a.msh", names={second: first})
    assert "damaged" not in str(e.value)
