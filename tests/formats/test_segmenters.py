"""Labels as Cellpose, StarDist, nnU-Net and ilastik write them, read as they are; pickles with code are refused."""

import gzip
import json
import os
import pickle
import struct
from pathlib import PurePosixPath

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

import meshcell as mc

ZYX = np.random.default_rng(0).integers(0, 5, (4, 5, 6))


def cellpose_seg(path, **more):
    """What Cellpose's masks_flows_to_seg saves: np.save of a dictionary."""
    content = {
        "outlines": (ZYX > 3).astype(np.uint16),
        "masks": ZYX.astype(np.uint16),
        "chan_choose": [0, 0],
        "ismanual": np.zeros(4, bool),
        "filename": "a.tif",
        "flows": [np.zeros((4, 5, 6, 3), np.uint8), [], np.float32(1)],
        "diameter": np.float64(30.0),
        **more,
    }
    np.save(path, content)


def test_masks_of_cellpose(tmp_path):
    cellpose_seg(tmp_path / "a_seg.npy")
    found = mc.load(tmp_path / "a_seg.npy", spacing="8 nm", names={1: "nucleus"})
    np.testing.assert_array_equal(found.data, ZYX.T)
    assert found.names[1] == "nucleus" and found.data.dtype == np.uint16
    with pytest.raises(ValueError, match="Cellpose does not keep it"):
        mc.load(tmp_path / "a_seg.npy")
    cellpose_seg(tmp_path / "plane_seg.npy", masks=ZYX[0])
    assert mc.load(tmp_path / "plane_seg.npy", spacing=1).data.shape == (6, 5, 1)
    deep = np.concatenate([ZYX, ZYX])
    tifffile.imwrite(tmp_path / "a_cp_masks.tif", deep.astype(np.uint16), compression="zlib")
    np.testing.assert_array_equal(mc.load(tmp_path / "a_cp_masks.tif", spacing=1).data, deep.T)
    iio.imwrite(tmp_path / "a_cp_masks.png", (300 * ZYX[0]).astype(np.uint16))
    np.testing.assert_array_equal(mc.load(tmp_path / "a_cp_masks.png", spacing=1).data[..., 0], 300 * ZYX[0].T)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_any_age_are_read(tmp_path, protocol):
    array = np.empty((), object)
    array[()] = {"masks": np.asfortranarray(ZYX.astype(np.int32)), "est_diam": np.float64(3)}
    with (tmp_path / "a_seg.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(array, file, protocol)
    np.testing.assert_array_equal(mc.load(tmp_path / "a_seg.npy", spacing=1).data, ZYX.T)


class Nasty:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_code_in_masks_is_refused_and_not_run(tmp_path):
    cellpose_seg(tmp_path / "a_seg.npy", extra=Nasty(tmp_path / "trace"))
    with pytest.raises(ValueError, match=r"holds posix\.mkdir.*could run code.*as TIFF"):
        mc.load(tmp_path / "a_seg.npy", spacing=1)
    assert not (tmp_path / "trace").exists()
    # Arrays may not be asked for in any size, nor called for at all.
    for call in (b"cnumpy\nndarray\n(I9\ntR.", b"cnumpy.core.multiarray\n_reconstruct\n(I0\n(I9\ntI0\ntR."):
        with (tmp_path / "b_seg.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
            file.write(call)
        with pytest.raises(ValueError, match=r"b_seg\.npy"):
            mc.load(tmp_path / "b_seg.npy", spacing=1)
    cellpose_seg(tmp_path / "c_seg.npy", filename=PurePosixPath("a.tif"))
    with pytest.raises(ValueError, match="PurePosixPath, which"):
        mc.load(tmp_path / "c_seg.npy", spacing=1)
    # Other names stay what they were: no pickles at all.
    (tmp_path / "a_seg.npy").rename(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="never loaded"):
        mc.load(tmp_path / "a.npy", spacing=1)


def test_labels_of_stardist(tmp_path):
    """csbdeep's save_tiff_imagej_compatible: ImageJ, 16 bits, the voxel size where the user gave it."""
    tifffile.imwrite(tmp_path / "a.tif", ZYX.astype(np.int16)[None, :, None], imagej=True, metadata={"axes": "TZCYX"})
    np.testing.assert_array_equal(mc.load(tmp_path / "a.tif", spacing=1).data, ZYX.T)


def nifti(path, data, *, spacing=(8e-6, 8e-6, 4e-5), units=2, order="<", slope=(1.0, 0.0), affine=None):
    """A NIfTI-1 file by the layout of its standard: data along x, y, z, x fastest."""
    codes = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "u2": 512, "i8": 1024}
    head = bytearray(352)
    struct.pack_into(order + "i", head, 0, 348)
    struct.pack_into(order + "8h", head, 40, data.ndim, *data.shape, *[1] * (7 - data.ndim))
    struct.pack_into(order + "2h", head, 70, codes[data.dtype.str[1:]], 8 * data.dtype.itemsize)
    struct.pack_into(order + "4f", head, 76, 1.0, *spacing)
    struct.pack_into(order + "3f", head, 108, 352.0, *slope)
    head[123] = units | 8
    if affine is not None:
        struct.pack_into(order + "h", head, 254, 1)
        struct.pack_into(order + "12f", head, 280, *np.ravel(affine))
    head[344:348] = b"n+1\0"
    content = bytes(head) + data.astype(data.dtype.newbyteorder(order)).tobytes(order="F")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("order", ["<", ">"])
def test_labels_of_nnunet(tmp_path, order):
    (tmp_path / "labelsTr").mkdir()
    path = tmp_path / "labelsTr" / "a.nii.gz"
    # Small numbers of mm, as nothing smaller is usual there.
    nifti(path, ZYX.T.astype(np.uint8), order=order)
    found = mc.load(path)
    np.testing.assert_array_equal(found.data, ZYX.T)
    assert found.spacing == pytest.approx((0.008, 0.008, 0.04)) and found.data.dtype == np.uint8
    labels = {"background": 0, "er": 1, "mitochondria": 2, "both": [1, 2]}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert mc.load(path).names == {0: "outside", 1: "er", 2: "mitochondria"}
    # The names of version 1 lie the other way round, those beside the file win over those above it.
    (tmp_path / "labelsTr" / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "nucleus"}}))
    assert mc.load(path, names={2: "er"}).names == {0: "outside", 1: "nucleus", 2: "er"}


def test_other_nifti_headers(tmp_path):
    x_first = ZYX.T
    nifti(tmp_path / "a.nii", x_first.astype(np.int16), spacing=(8, 8, 40), units=3, slope=(0.5, 2.0))
    np.testing.assert_allclose(mc.load(tmp_path / "a.nii").data, x_first * 0.5 + 2)
    assert mc.load(tmp_path / "a.nii").spacing == (8, 8, 40)
    affine = np.column_stack([np.diag([0.5, 0.5, 0.25]), [1, 2, 3]])
    nifti(tmp_path / "b.nii", x_first.astype(np.float32), spacing=(0.5, 0.5, 0.25), units=3, affine=affine)
    assert mc.load(tmp_path / "b.nii").origin == (1, 2, 3)
    nifti(tmp_path / "c.nii", x_first.astype(np.uint8), units=0)
    with pytest.raises(ValueError, match="of no known unit"):
        mc.load(tmp_path / "c.nii")
    nifti(tmp_path / "d.nii", np.zeros((2, 2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match=r"one volume along x, y, z; got dimensions \(2, 2, 2, 3\)"):
        mc.load(tmp_path / "d.nii")


def test_damaged_nifti_files_are_named(tmp_path):
    nifti(tmp_path / "a.nii", ZYX.T.astype(np.uint8))
    whole = (tmp_path / "a.nii").read_bytes()
    zipped = gzip.compress(whole)
    for n in (3, 200, 349, 380):
        (tmp_path / "a.nii").write_bytes(whole[:n])
        with pytest.raises(ValueError, match="truncated"):
            mc.load(tmp_path / "a.nii")
    for n in (10, len(zipped) // 2, len(zipped) - 1):
        (tmp_path / "a.nii.gz").write_bytes(zipped[:n])
        with pytest.raises(ValueError, match="truncated"):
            mc.load(tmp_path / "a.nii.gz")
    huge = bytearray(whole)
    struct.pack_into("<4h", huge, 40, 3, 30000, 30000, 30000)
    for name, content in (("b.nii", bytes(huge)), ("b.nii.gz", gzip.compress(huge))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"promises \(30000, 30000, 30000\) voxels"):
            mc.load(tmp_path / name)


def ilastik(path, data, axes):
    """What ilastik's export applet writes: /exported_data with vigra's axistags."""
    tags = [{"key": key, "typeFlags": 2 if key in "xyz" else 1, "resolution": 0, "description": ""} for key in axes]
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("exported_data", data=data, chunks=True, compression="gzip")
        dataset.attrs["axistags"] = json.dumps({"axes": tags})
        dataset.attrs["drange"] = (0, 1)


def test_labels_of_ilastik(tmp_path):
    ilastik(tmp_path / "Simple Segmentation.h5", (ZYX + 1).astype(np.uint8)[..., None], "zyxc")
    found = mc.load(tmp_path / "Simple Segmentation.h5", spacing=1, names={2: "er"})
    np.testing.assert_array_equal(found.data, ZYX.T + 1)
    ilastik(tmp_path / "Object Identities.h5", (1000 * ZYX).astype(np.uint32)[None, ..., None], "tzyxc")
    np.testing.assert_array_equal(mc.load(tmp_path / "Object Identities.h5", spacing=1).data, 1000 * ZYX.T)
    shares = np.random.default_rng(1).dirichlet(np.ones(5), ZYX.shape).astype(np.float32)
    for axes, stored in (("zyxc", shares), ("czyx", np.moveaxis(shares, -1, 0)), ("tzyxc", shares[None])):
        ilastik(tmp_path / "Probabilities.h5", stored, axes)
        found = mc.load(tmp_path / "Probabilities.h5", spacing=1)
        np.testing.assert_array_equal(found.data, shares.argmax(axis=-1).T + 1)
    ilastik(tmp_path / "colours.h5", 2 * shares, "zyxc")
    with pytest.raises(ValueError, match="one value per voxel, or the probabilities"):
        mc.load(tmp_path / "colours.h5", spacing=1)


def test_tilt_series_go_through_load_and_save(tmp_path):
    series = mc.project(mc.Volume(np.random.default_rng(0).random((6, 5, 4)), "1 nm"), mc.tilt_angles(60, 20))
    mc.save(tmp_path / "a.st", series)
    again = mc.load(tmp_path / "a.st")
    np.testing.assert_array_equal(again.images, series.images)
    assert (tmp_path / "a.tlt").exists()
    with pytest.raises(ValueError, match=r"should end in one of"):
        mc.save(tmp_path / "a.tif", series)
