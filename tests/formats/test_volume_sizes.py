"""Voxel sizes: as the file tells them in whatever spelling, or a question where the file cannot know."""

import warnings

import h5py
import mrcfile
import nibabel
import numpy as np
import pytest
import tifffile

import meshcell as mc

ZYX = np.random.default_rng(0).integers(0, 3, (5, 6, 7)).astype(np.uint8)


def imagej(path, unit, *, per_pixel=8.0, between=40.0, **notes):
    metadata = {"axes": "ZYX", "spacing": between, "unit": unit, **notes}
    tifffile.imwrite(path, ZYX, imagej=True, resolution=(1 / per_pixel, 1 / per_pixel), metadata=metadata)
    return path


SPELLINGS = {
    **dict.fromkeys(("nm", "Nanometer", "nanometers"), 1e-3),
    **dict.fromkeys(("um", "micron", "Microns", "micrometer", "\\u00B5m", "\\u00b5m", "\\u03BCm"), 1.0),
    **dict.fromkeys(("A", "Angstrom", "\\u00C5"), 1e-4),
}


@pytest.mark.parametrize("unit", SPELLINGS)
def test_units_of_imagej(tmp_path, unit):
    size = SPELLINGS[unit]
    assert mc.load(imagej(tmp_path / "a.tif", unit)).spacing == pytest.approx((8 * size, 8 * size, 40 * size), rel=1e-6)


@pytest.mark.parametrize(("unit", "size"), [("cm", 1e4), ("inch", 25400.0), ("mm", 1e3), ("m", 1e6)])
def test_large_units_of_imagej_are_right_where_the_size_can_be(tmp_path, unit, size):
    path = imagej(tmp_path / "a.tif", unit, per_pixel=0.008 / size, between=0.04 / size)
    assert mc.load(path).spacing == pytest.approx((0.008, 0.008, 0.04), rel=1e-5)
    # Scans and screens: 72 dots per inch, 1 mm.
    with pytest.raises(ValueError, match=r"so .* mm, which programs write when they do not know it"):
        mc.load(imagej(tmp_path / "b.tif", unit, per_pixel=0.1 if unit != "inch" else 1 / 72, between=1))


@pytest.mark.parametrize("unit", ["pixel", "pixels", "", "furlong"])
def test_what_is_no_length_is_a_question(tmp_path, unit):
    with pytest.raises(ValueError, match="the ImageJ metadata do not tell it"):
        mc.load(imagej(tmp_path / "a.tif", unit))


def test_imagej_has_a_unit_for_every_axis(tmp_path):
    path = imagej(tmp_path / "a.tif", "micron", per_pixel=0.008, between=40.0, yunit="micron", zunit="nm")
    assert mc.load(path).spacing == pytest.approx((0.008, 0.008, 0.04), rel=1e-5)


@pytest.mark.parametrize("size", [1.0, 8.0, 0.5])
def test_a_millimetre_of_nifti_is_a_question(tmp_path, size):
    image = nibabel.Nifti1Image(ZYX.T, np.diag([size] * 3 + [1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(ValueError, match=f"so {size:g} mm, which programs write when they do not know it"):
        mc.load(tmp_path / "a.nii.gz")
    assert mc.load(tmp_path / "a.nii.gz", spacing="8 nm").spacing == pytest.approx((0.008,) * 3)


@pytest.mark.parametrize(
    ("cell", "sampling", "angles", "words"),
    [
        ((7, 6, 5), (7, 6, 5), 90, "so 1 A, which programs write"),
        ((70, 60, 5), (7, 6, 5), 90, "so 1 A along z, which programs write"),
        ((70, 6, 5), (7, 6, 5), 90, "so 1 A along y, z, which programs write"),
        ((70, 60, 50), (7, 6, 1), 90, r"cell / voxels would be \(10, 10, 10\) A"),
        ((70, 60, 50), (7, 6, 5), 60, "angles of .* where meshcell takes 90"),
        ((0, 60, 50), (7, 6, 5), 90, "which is no size"),
        ((np.nan, 60, 50), (7, 6, 5), 90, "which is no size"),
        ((0.07, 0.06, 0.05), (7, 6, 5), 90, "so 0.01 A, less than an atom"),
        ((7e7, 6e7, 5e7), (7, 6, 5), 90, "so 1 mm, which programs write"),
    ],
)
def test_nonsense_of_mrc_is_a_question(tmp_path, cell, sampling, angles, words):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(ZYX.astype(np.int16))
        file.header.cella = cell
        file.header.cellb = (angles,) * 3
        file.header.mx, file.header.my, file.header.mz = sampling
    with pytest.raises(ValueError, match=words):
        mc.load(tmp_path / "a.mrc")
    assert mc.load(tmp_path / "a.mrc", spacing="1 nm").spacing == pytest.approx((1e-3,) * 3)


def test_mrc_without_angles_is_read(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(ZYX.astype(np.int16))
        file.voxel_size = 13.68
        file.header.cellb = (0, 0, 0)
    assert mc.load(tmp_path / "a.mrc").spacing == pytest.approx((1.368e-3,) * 3, rel=1e-6)


def hdf5(path, **attributes):
    with h5py.File(path, "w") as file:
        file.create_dataset("labels", data=ZYX).attrs.update(attributes)
    return path


@pytest.mark.parametrize(
    "attributes",
    [
        {"resolution": (40.0, 8.0, 8.0)},
        {"resolution": (40.0, 8.0, 8.0), "units": "nm"},
        {"resolution": (0.04, 0.008, 0.008), "unit": "um"},
        {"resolution": (0.04, 0.008, 0.008), "resolution_units": np.bytes_("µm".encode())},
        {"voxel_size": (400.0, 80.0, 80.0), "voxel_unit": "angstrom"},
        {"voxel_size": (40.0, 8.0, 8.0), "units": ["nm", "nm", "nm"]},
        {"spacing": (40.0, 0.008, 0.008), "units": ["nm", "um", "um"]},
        {"spacing_nm": (40.0, 8.0, 8.0), "units": "um"},
        {"element_size_um": (0.04, 0.008, 0.008), "unit": "pixel"},
        {"voxel_size": (5, 1, 1), "spacing_um": (0.04, 0.008, 0.008)},
        {"element_size_um": (1, 1, 1), "spacing_um": (0.04, 0.008, 0.008)},
        {"resolution": "40 nm, 8 nm, 8 nm"},
        {"resolution": b"40 x 8 x 8 nm"},
        {"voxel_size": "(0.04, 0.008, 0.008) µm"},
        {"spacing_um": ["40 nm", "8 nm", "8 nm"]},
        {"resolution": "40 8 8"},
    ],
)
def test_units_of_hdf5(tmp_path, attributes):
    assert mc.load(hdf5(tmp_path / "a.h5", **attributes)).spacing == pytest.approx((0.008, 0.008, 0.04), rel=1e-12)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"voxel_size": (40.0, 8.0, 8.0)}, r"voxel_size \[40\.0, 8\.0, 8\.0\], without a unit"),
        ({"resolution": (5.0, 1.0, 1.0), "units": "pixel"}, r"in pixel, which is no length"),
        ({"resolution": (0.04, 0.008, 0.008)}, "so 0.08 A, less than an atom"),
        ({}, "has none of the attributes element_size_um, "),
        ({"element_size_um": (1.0, 1.0, 1.0)}, "which programs write when they do not know it"),
        ({"resolution": (1, 1, 1)}, "which programs write when they do not know it"),
        ({"resolution": 1.0}, "which programs write when they do not know it"),
    ],
)
def test_what_hdf5_does_not_tell_is_a_question(tmp_path, attributes, words):
    with pytest.raises(ValueError, match=words):
        mc.load(hdf5(tmp_path / "a.h5", **attributes))


def test_a_single_text_of_hdf5_holds_for_all_axes(tmp_path):
    assert mc.load(hdf5(tmp_path / "a.h5", resolution=b"8 nm")).spacing == pytest.approx((0.008,) * 3, rel=1e-12)


@pytest.mark.parametrize(
    "odd", [(8, 8), (8, 8, 8, 8), "fine", "8 nm and more", b"\xff\xfe", (np.nan, 8, 8), np.zeros(0), "", "8 nm 8 8"]
)
@pytest.mark.parametrize("name", ["resolution", "element_size_um"])
def test_odd_sizes_of_hdf5_are_told_and_left_out(tmp_path, name, odd):
    path = hdf5(tmp_path / "a.h5", **{name: odd})
    with pytest.warns(UserWarning, match=f"the attribute {name} of /labels should be a length or three; it is "):
        again = mc.load(path, spacing="8 nm")
    assert again.spacing == pytest.approx((0.008,) * 3, rel=1e-12)
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match="voxel size should be known") as e,
    ):
        mc.load(path)
    assert "damaged" not in str(e.value)


def test_one_micrometre_is_taken_where_someone_says_so(tmp_path):
    path = hdf5(tmp_path / "a.h5", voxel_size=(1.0, 1.0, 1.0), units="um")
    assert mc.load(path).spacing == (1, 1, 1)
    mc.save(tmp_path / "b.h5", mc.Volume(ZYX.T, 1.0))
    assert mc.load(tmp_path / "b.h5").spacing == (1, 1, 1)


def test_the_offset_of_hdf5_has_the_unit_of_the_size(tmp_path):
    nm = {"resolution": (40.0, 8.0, 8.0), "offset": (400.0, 80.0, 160.0)}
    assert mc.load(hdf5(tmp_path / "a.h5", **nm)).origin == pytest.approx((0.16, 0.08, 0.4))
    um = {"resolution": (0.04, 0.008, 0.008), "offset": (0.4, 0.08, 0.16), "units": "um"}
    assert mc.load(hdf5(tmp_path / "b.h5", **um)).origin == pytest.approx((0.16, 0.08, 0.4))
    # In voxels, in lengths? Nobody says.
    assert mc.load(hdf5(tmp_path / "c.h5", element_size_um=0.008, offset=(400, 80, 160))).origin == (0, 0, 0)


def test_axes_that_hdf5_names_are_followed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        item = file.create_dataset("labels", data=ZYX.T)
        item.attrs["spacing_um"] = (0.008, 0.008, 0.04)
        for axis, label in enumerate("xyz"):
            item.dims[axis].label = label
    again = mc.load(tmp_path / "a.h5")
    np.testing.assert_array_equal(again.data, ZYX.T)
    assert again.spacing == (0.008, 0.008, 0.04)


@pytest.mark.parametrize("ending", [".npz", ".h5", ".tif", ".ome.tif", ".mrc"])
@pytest.mark.parametrize("size", [1e-6, 500.0, (0.04, 0.01, 0.01)])
def test_what_we_wrote_is_not_doubted(tmp_path, ending, size):
    own = mc.Volume(ZYX, size)
    mc.save(tmp_path / f"a{ending}", own)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mc.load(tmp_path / f"a{ending}").spacing == own.spacing


@pytest.mark.parametrize(("sizes", "axis"), [(("40 nm", "4 nm", "4 nm"), "x"), (("4 nm", "40 nm", "4 nm"), "y")])
def test_a_coarse_axis_that_is_not_z_is_told(tmp_path, sizes, axis):
    np.save(tmp_path / "a.npy", ZYX)
    with pytest.warns(UserWarning, match=f"longest along {axis}, .*is spacing in the order x, y, z"):
        mc.load(tmp_path / "a.npy", spacing=sizes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mc.load(tmp_path / "a.npy", spacing=("4 nm", "4 nm", "40 nm"))
