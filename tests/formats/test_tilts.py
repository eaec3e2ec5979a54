"""Tilt series through files and back; headers that lie and stacks that are cut are named."""

import mrcfile
import numpy as np
import pytest

import meshcell as mc
from meshcell.formats.volumes.tilts import load_tilts, read_angles, save_tilts


@pytest.fixture(params=["x", "y"])
def series(request):
    volume = mc.Volume(np.random.default_rng(0).random((9, 7, 5)), "1.36 nm")
    return mc.project(volume, mc.tilt_angles(60, 7.123), axis=request.param)


def test_round_trip(series, tmp_path):
    save_tilts(tmp_path / "a.mrc", series)
    again = load_tilts(tmp_path / "a.mrc", axis=series.axis)
    np.testing.assert_array_equal(again.images, series.images)
    np.testing.assert_array_equal(again.angles, series.angles)
    # The cell in the header has 32 bits.
    assert again.spacing == pytest.approx(series.spacing, rel=1e-6)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_tilts(tmp_path / "a.mrc", series)


def test_angles_of_imod(series, tmp_path):
    """Refined angles win over raw ones; a word that is none is named with its line."""
    save_tilts(tmp_path / "a.st", series)
    (tmp_path / "a.rawtlt").write_text("\n".join(f"  {angle:.1f}" for angle in series.angles) + "\n")
    assert load_tilts(tmp_path / "a.st").angles[0] == series.angles[0]
    (tmp_path / "a.tlt").unlink()
    assert load_tilts(tmp_path / "a.st").angles[0] == round(series.angles[0], 1)
    (tmp_path / "a.rawtlt").write_text("-60.0\nabout 0\n")
    with pytest.raises(ValueError, match=r"line 2: an angle in degrees should stand there; got 'about'"):
        read_angles(tmp_path / "a.rawtlt")
    (tmp_path / "a.rawtlt").write_text("1\n2\n")
    with pytest.raises(ValueError, match="one angle for each"):
        load_tilts(tmp_path / "a.st")
    (tmp_path / "a.rawtlt").unlink()
    with pytest.raises(ValueError, match=r"a\.tlt or a\.rawtlt beside it; neither is there"):
        load_tilts(tmp_path / "a.st")


def test_a_header_that_lies_about_the_pixel_is_named(series, tmp_path):
    """Found in the wild: the whole cell, sampled once, so 3881 A for 12.44 A."""
    save_tilts(tmp_path / "a.mrc", series)
    with mrcfile.open(tmp_path / "a.mrc", mode="r+") as mrc:
        mrc.header.cella.x = mrc.header.cella.y = 3881.0
        mrc.header.mx = mrc.header.my = 1
    with pytest.raises(ValueError, match=r"a pixel would be 3881\.0 A; cell / pixels would be"):
        load_tilts(tmp_path / "a.mrc")
    assert load_tilts(tmp_path / "a.mrc", spacing="1.244 nm").spacing == pytest.approx(1.244e-3)


def test_a_truncated_stack_is_named(series, tmp_path):
    save_tilts(tmp_path / "a.mrc", series)
    whole = (tmp_path / "a.mrc").read_bytes()
    (tmp_path / "a.mrc").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ValueError, match=r"promises 17 images of .* truncated"):
        load_tilts(tmp_path / "a.mrc")
    with pytest.raises(FileNotFoundError):
        load_tilts(tmp_path / "b.mrc")
