"""Voxels lie where the header says that they do, in whatever order and direction the file keeps them."""

import itertools
import warnings

import nibabel
import nrrd
import numpy as np
import pytest

import meshcell as mc

SPACING, FIRST = (0.008, 0.01, 0.04), (1.0, 2.0, 3.0)
ORDERS = [(axes, signs) for axes in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)]


def voxels():
    data = np.zeros((5, 4, 3), np.uint8)
    data[0, 0, 0], data[4, 0, 0], data[0, 3, 0], data[0, 0, 2] = 1, 2, 3, 4
    return data


def stored(axes, signs):
    """The same voxels with the file's axis k along the world's axes[k], and the file's steps and first voxel."""
    data = voxels().transpose(axes)
    data = np.flip(data, [k for k in range(3) if signs[k] < 0])
    steps = np.zeros((3, 3))
    for k in range(3):
        steps[k, axes[k]] = signs[k] * SPACING[axes[k]]
    ends = np.array([data.shape[k] - 1 if signs[k] < 0 else 0 for k in range(3)])
    return data, steps, np.array(FIRST) - ends @ steps


def write(path, data, steps, first, unit="um"):
    if path.suffix == ".nrrd":
        units = {} if unit is None else {"space units": [unit] * 3}
        header = {"space dimension": 3, **units, "space directions": steps, "space origin": first}
        nrrd.write(str(path), data, header)
        return
    image = nibabel.Nifti1Image(data, np.vstack([np.column_stack([steps.T, first]), [0, 0, 0, 1]]))
    image.header.set_xyzt_units("micron" if unit == "um" else "unknown")
    if path.name.startswith("q"):
        image.set_qform(image.affine, code=1)
        image.set_sform(None, code=0)
    nibabel.save(image, path)


@pytest.mark.parametrize(("axes", "signs"), ORDERS)
def test_flipped_and_swapped_axes_are_put_right(tmp_path, axes, signs):
    for name in ("a.nii", "q.nii", "a.nrrd"):
        data, steps, first = stored(axes, signs)
        write(tmp_path / name, data, steps, first)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = mc.load(tmp_path / name)
        assert again.spacing == pytest.approx(SPACING, rel=1e-6)
        if name.endswith(".nii") and all(signs[axes.index(k)] < 0 for k in (0, 1)):
            # ITK's world: half a turn away, about z.
            np.testing.assert_array_equal(again.data, voxels()[::-1, ::-1])
            assert again.origin == pytest.approx((-1.0 - 4 * 0.008, -2.0 - 3 * 0.01, 3.0), rel=1e-5)
            continue
        np.testing.assert_array_equal(again.data, voxels())
        assert again.origin == pytest.approx(FIRST, rel=1e-5)


def test_labels_lie_on_the_picture_that_itk_made_them_of(tmp_path):
    """SimpleITK writes arrays along its own x and y, with a matrix of (-, -, +)."""
    write(tmp_path / "a.nii", voxels(), np.diag(SPACING) * (-1, -1, 1), np.zeros(3))
    again = mc.load(tmp_path / "a.nii")
    np.testing.assert_array_equal(again.data, voxels())
    assert again.origin == (0, 0, 0)


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd"])
def test_the_origin_follows_the_spacing_that_is_given(tmp_path, name):
    write(tmp_path / name, *stored((1, 0, 2), (1, -1, 1)), unit=None)
    again = mc.load(tmp_path / name, spacing=tuple(2 * size for size in SPACING))
    np.testing.assert_array_equal(again.data, voxels())
    assert again.origin == pytest.approx(np.multiply(2, FIRST), rel=1e-5)


@pytest.mark.parametrize("name", ["a.nii", "q.nii", "a.nrrd"])
@pytest.mark.parametrize("hand", [1, -1])
def test_oblique_axes_are_told_and_never_mirrored(tmp_path, name, hand):
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    data = voxels()[::hand]
    steps = np.diag([hand, 1, 1]) * SPACING @ turn
    write(tmp_path / name, data, steps, np.zeros(3))
    with pytest.warns(UserWarning, match=r"turned by up to 17\.2 degrees .*resample it along x, y, z"):
        again = mc.load(tmp_path / name)
    np.testing.assert_array_equal(again.data, voxels())
    assert again.spacing == pytest.approx(SPACING, rel=1e-5) and again.origin == (0, 0, 0)


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd"])
def test_a_shear_is_told(tmp_path, name):
    steps = np.diag(SPACING)
    steps[1, 0] = 0.004
    write(tmp_path / name, voxels(), steps, np.zeros(3))
    with pytest.warns(UserWarning, match="sheared .*another shape and size"):
        mc.load(tmp_path / name)


def test_a_left_handed_space_makes_no_mirror_image(tmp_path):
    header = {"space directions": np.diag(SPACING), "space units": ["um"] * 3, "space origin": FIRST}
    for space in ("left-anterior-superior", "RPS"):
        nrrd.write(str(tmp_path / "a.nrrd"), voxels(), {"space": space, **header})
        again = mc.load(tmp_path / "a.nrrd")
        np.testing.assert_array_equal(again.data, voxels()[::-1])
        assert again.origin == pytest.approx((-1.0 - 4 * 0.008, 2, 3), rel=1e-9)


def test_a_volume_of_ours_that_an_atlas_program_saved_stays_in_its_place(tmp_path):
    own = mc.Volume(voxels(), SPACING, FIRST, {1: "er"})
    mc.save(tmp_path / "a.nrrd", own)
    data, header = nrrd.read(str(tmp_path / "a.nrrd"))
    del header["space dimension"]
    header |= {"space": "left-posterior-superior", "space directions": np.diag(SPACING) * (-1, -1, 1)}
    nrrd.write(str(tmp_path / "b.nrrd"), data, header)
    again = mc.load(tmp_path / "b.nrrd")
    np.testing.assert_array_equal(again.data, own.data)
    assert again.origin == own.origin
