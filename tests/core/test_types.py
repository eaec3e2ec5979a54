"""The data types: what they accept, what they refuse and in which words, what they tell a reader."""

import subprocess
import sys

import numpy as np
import pytest

import meshcell as mc
from gallery.meshes import ball, box

CUBE = np.ones((3, 4, 5), np.uint8)


@pytest.mark.parametrize(
    ("data", "kwargs", "error", "words"),
    [
        (np.ones((3, 3)), {}, ValueError, r"three axes \(x, y, z\); got shape \(3, 3\)"),
        (np.ones((3, 0, 3), int), {}, ValueError, "at least one voxel"),
        (np.full((2, 2, 2), -1), {}, ValueError, r"labels should be >= 0; got -1 at voxel \(0, 0, 0\); relabel"),
        (np.full((2, 2, 2), np.nan), {}, ValueError, r"finite; 8 are NaN or infinite, the first at \(0, 0, 0\)"),
        (np.full((2, 2, 2), 0.5), {"names": {1: "er"}}, ValueError, "whole numbers; got 0.5 at voxel .* nearest"),
        (np.full((2, 2, 2), "a"), {}, TypeError, "integers .* or floats .*; got <U1"),
        (CUBE, {"names": {0: "water"}}, ValueError, "label 0 is always 'outside'; got the name 'water'"),
        (CUBE, {"names": {1: "er", 2: "er"}}, ValueError, "'er' is given twice"),
        (CUBE, {"names": {1: ""}}, ValueError, "names should map"),
        (CUBE, {"names": {"er": 1}}, ValueError, r"turned round: give \{1: 'er'\}"),
        (CUBE, {"names": ["outside", "er"]}, TypeError, r"names should be a dict label -> name, .*got \['outside'"),
        (CUBE, {"names": {"1": "er"}}, ValueError, "names should map whole labels >= 0 to texts; got '1'"),
        (CUBE, {"origin": (0, 0)}, ValueError, "origin should have three entries"),
        (CUBE[0], {}, ValueError, r"data\[:, :, None\] makes one plane"),
        (CUBE[..., None], {}, ValueError, r"np\.squeeze"),
        (np.ones((4, 5, 6, 3)), {}, ValueError, r"colours, give one channel, data\[\.\.\., 0\]"),
        (np.ones((2, 5, 6, 7)), {}, ValueError, r"one channel or time of it, such as data\[0\]"),
        (CUBE * 1j, {}, TypeError, r"got complex128; .*data\.real"),
        (mc.Volume(CUBE, 1.0), {}, TypeError, "should be an array .*got Volume"),
        ("8 nm", {}, TypeError, "should be an array .*got str"),
    ],
)
def test_volume_refuses(data, kwargs, error, words):
    with pytest.raises(error, match=words):
        mc.Volume(data, 1.0, **kwargs)


@pytest.mark.parametrize(
    ("spacing", "words"),
    [
        (None, "voxel size in um or a text"),
        (0, "three positive lengths"),
        ((1, 1, -1), "three positive lengths"),
        ((1, 1, np.nan), "three positive lengths"),
        ((1, 2), "three entries for x, y, z; got 2"),
        ((0.004, 0.004, 40), 'differ more than 100-fold .* write the unit: \\("4 nm"'),
        (1e-9, 'between 1e-06 and 10000 um per voxel; got 1e-09, .* write it: "8 nm"'),
        ("1 ly", "between 1e-06 and 10000 um per voxel; got '1 ly'"),
        ("8 m", "between 1e-06 and 10000 um"),
        ((4, 4, 1e-7), "between 1e-06 and 10000 um"),
        ("8 s", "8 s"),
        ("8 nanobananas", "nanobananas"),
    ],
)
def test_spacing_refuses(spacing, words):
    with pytest.raises(ValueError, match=words):
        mc.Volume(CUBE, spacing)


def test_spacing_takes_texts_numbers_and_one_for_all():
    assert mc.Volume(CUBE, "8 nm").spacing == pytest.approx((0.008,) * 3, rel=1e-15)
    assert mc.Volume(CUBE, ("4 nm", 0.004, "0.04 um")).spacing == pytest.approx((0.004, 0.004, 0.04), rel=1e-15)


def test_one_text_may_hold_the_sizes_of_all_axes():
    assert mc.Volume(CUBE, "4 4 40 nm").spacing == mc.Volume(CUBE, ("4 nm", "4 nm", "40 nm")).spacing
    volume = mc.Volume.from_zyx(CUBE, "40 4 8 nm", "3 2 1 um")
    assert (volume.spacing, volume.origin) == (mc.Volume(CUBE, "8 4 40 nm").spacing, (1, 2, 3))
    for text in ("4 40 nm", "4 4 4 4 nm", "1 500 nm"):
        with pytest.raises(ValueError, match="several numbers"):
            mc.Volume(CUBE, text)
    with pytest.raises(ValueError, match="origin should have three entries for x, y, z; got 1"):
        mc.Volume(CUBE, 1.0, "8 nm")


def test_volume_reads_image_order():
    stack = np.arange(24).reshape(2, 3, 4)
    volume = mc.Volume.from_zyx(stack, (40, 4, 8), (3, 2, 1))
    assert volume.data.shape == (4, 3, 2)
    assert volume.data[3, 2, 1] == stack[1, 2, 3]
    assert (volume.spacing, volume.origin) == ((8, 4, 40), (1, 2, 3))


@pytest.mark.parametrize("kind", [">u2", ">i4", ">u8", ">f2", ">f4", ">f8"])
def test_voxels_have_the_byte_order_of_the_machine(kind):
    swapped = np.arange(24).reshape(2, 3, 4).astype(kind)
    volume = mc.Volume(swapped, 1.0)
    assert volume.data.dtype.isnative and volume.data.dtype == swapped.dtype.newbyteorder("=")
    np.testing.assert_array_equal(volume.data, swapped)
    assert not swapped.dtype.isnative


def test_kernels_see_the_labels_that_came():
    """A kernel compiled for native labels takes swapped ones for the same type, and would read other numbers."""
    data = np.zeros((6, 6, 6), np.uint16)
    data[1:5, 1:5, 1:5], data[2:4, 2:4, 2:4] = 1, 2
    wanted = mc.areas(mc.extract(mc.Volume(data, 0.01)))
    assert mc.areas(mc.extract(mc.Volume(data.astype(">u2"), 0.01))) == wanted


def test_floats_beyond_64_bits_become_what_kernels_know():
    assert mc.Volume(np.full((2, 2, 2), 0.25, np.longdouble), 1.0).data.dtype == np.float64


def test_names_without_a_voxel_are_told():
    volume = mc.Volume(np.full((3, 3, 3), 255, np.uint8), 1.0, names={1: "cell"})
    assert volume.absent == {1: "cell"} and volume.regions == {255: "label 255"}
    assert "named, but without a voxel: 1 'cell'" in repr(volume)
    assert "without" not in repr(mc.Volume(CUBE, 1.0, names={1: "cell"}))


def test_floats_with_names_are_labels():
    volume = mc.Volume(np.ones((2, 2, 2)), 1.0, names={1: "er"})
    assert volume.is_labels
    assert volume.regions == {1: "er"}


def test_booleans_are_labels():
    assert mc.Volume(np.ones((2, 2, 2), bool), 1.0).counts == {1: 8}
    # As Pillow makes them of pictures of one bit.
    assert mc.Volume(np.full((2, 2, 2), 255, np.uint8).view(bool), 1.0).counts == {1: 8}


def test_arrays_are_read_only_and_the_callers_array_is_not_touched():
    data = np.ones((2, 2, 2), np.uint8)
    volume = mc.Volume(data, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        volume.data[0, 0, 0] = 2
    data[0, 0, 0] = 2
    assert data.flags.writeable


def test_reprs_tell_counts_extents_regions_and_volumes():
    labels = CUBE.copy()
    labels[0] = 0
    text = repr(mc.Volume(labels, "10 nm", names={1: "er"}))
    assert "3 x 4 x 5 voxels of 0.01 x 0.01 x 0.01 um" in text
    assert "er: 40 voxels, 4e-05 um^3" in text
    mesh = ball(4, core=0.5)
    for text in (repr(mesh), repr(mesh.surface)):
        assert "core | shell" in text
        assert "um^2" in text and "um^3" in text
    assert f"{len(mesh.tets):,} tetrahedra" in repr(mesh)


def test_meshes_refuse_with_the_offending_rows():
    points = np.eye(4)[:, :3]
    good = {"points": points, "triangles": [[0, 1, 2]], "sides": [[1, 0]]}
    for change, words, where in (
        ({"triangles": [[0, 1, 9]]}, "index the 4 points; 1 rows do not, the first is row 0", [0]),
        ({"triangles": [[0, 1, -1]]}, "index the 4 points", [0]),
        ({"points": points * np.nan}, "finite; 4 are not", [0, 1, 2, 3]),
        ({"sides": [[1, 1]]}, "two different regions", [0]),
        ({"sides": [[1, 0], [1, 0]]}, "one row of two regions", []),
        ({"patches": {"psd": [7]}}, "patch 'psd' should list rows", [7]),
    ):
        with pytest.raises(mc.MeshError, match=words) as caught:
            mc.Surface(**{**good, **change})
        assert caught.value.where.tolist() == where
    with pytest.raises(TypeError, match="whole numbers; got float64"):
        mc.Surface(**{**good, "triangles": [[0, 1, 2.5]]})


def test_tet_mesh_refuses_inverted_tetrahedra_and_region_zero():
    mesh = box(1)
    tets = mesh.tets.copy()
    tets[3] = tets[3, [1, 0, 2, 3]]
    with pytest.raises(mc.MeshError, match="positive volume; 1 of 6 do not, the first is row 3") as caught:
        mc.TetMesh(mesh.points, tets, mesh.regions, mesh.facets, mesh.sides)
    assert caught.value.where.tolist() == [3]
    with pytest.raises(mc.MeshError, match="labels > 0"):
        mc.TetMesh(mesh.points, mesh.tets, np.zeros(6, int), mesh.facets, mesh.sides)


def test_pairs_may_be_asked_for_in_either_order():
    found = mc.areas(box(1))
    assert found["box", "outside"] == found["outside", "box"] == pytest.approx(6, rel=1e-12)
    with pytest.raises(KeyError, match="no interface between 'er' and 'box'"):
        found["er", "box"]


def test_import_is_light_and_quick():
    heavy = ["sympy", "pint", "pyvista", "meshio", "pymeshlab", "tetgen", "matplotlib", "vtk", "mmgpy", "trimesh"]
    code = (
        "import sys, time, numpy; start = time.process_time();"
        "import meshcell as mc; alone = time.process_time() - start;"
        "mc.Volume; mc.extract; mc.smooth;"
        f"print(alone, time.process_time() - start, *[name for name in {heavy} if name in sys.modules])"
    )
    seconds = []
    for _ in range(3):
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        alone, all_of_it, *loaded = result.stdout.split()
        assert not loaded
        seconds.append((float(alone), float(all_of_it)))
    # CPU seconds on top of numpy; the first start may still write byte code.
    assert min(alone for alone, _ in seconds) < 0.1
    assert min(all_of_it for _, all_of_it in seconds) < 2
