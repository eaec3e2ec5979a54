"""Volumes of other programs as they write them: TIFF, PNG, MRC, NRRD, HDF5 that refers to other files."""

import gzip
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import mrcfile
import nibabel
import nrrd
import numpy as np
import pytest
import tifffile
from PIL import Image

import meshcell as mc
from gallery.things import tet_mesh, volume

RNG = np.random.default_rng(0)
ZYX = RNG.integers(0, 4, (5, 8, 9)).astype(np.uint8)

# --- TIFF ---


@pytest.mark.parametrize("codec", ["lzw", "zstd", "zlib", "lzma", "packbits", "deflate"])
@pytest.mark.parametrize("predictor", [False, True])
def test_compressed_stacks(tmp_path, codec, predictor):
    if predictor and codec == "packbits":
        pytest.skip("a predictor goes with dictionaries only")
    tifffile.imwrite(tmp_path / "a.tif", ZYX, photometric="minisblack", compression=codec, predictor=predictor)
    np.testing.assert_array_equal(mc.load(tmp_path / "a.tif", spacing=1).data, ZYX.T)
    # As densely as can be.
    zeros = np.zeros((2, 512, 512), np.uint8)
    tifffile.imwrite(tmp_path / "b.tif", zeros, photometric="minisblack", compression=codec, predictor=predictor)
    assert not mc.load(tmp_path / "b.tif", spacing=1).data.any()


def test_a_missing_codec_is_named_with_its_package(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ZYX, photometric="minisblack", compression="lzw")
    code = f"""
import sys
sys.modules["imagecodecs"] = None
import meshcell
meshcell.load({str(tmp_path / "a.tif")!r}, spacing=1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert "compressed as LZW: pip install imagecodecs" in last and "damaged" not in last


@pytest.mark.parametrize("contiguous", [True, False])
def test_a_stack_written_page_by_page(tmp_path, contiguous):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for plane in ZYX:
            file.write(plane, photometric="minisblack", contiguous=contiguous)
    np.testing.assert_array_equal(mc.load(tmp_path / "a.tif", spacing=1).data, ZYX.T)
    pages = [Image.fromarray(plane) for plane in ZYX]
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(mc.load(tmp_path / "b.tif", spacing=1).data, ZYX.T)


def test_pages_that_are_no_planes_of_one_stack_are_listed(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(ZYX[0], photometric="minisblack")
        file.write(ZYX[0, :4].astype(np.uint16), photometric="minisblack")
    with pytest.raises(ValueError, match=r"it holds 2: YX \(8, 9\) uint8, YX \(4, 9\) uint16; read the wanted one by"):
        mc.load(tmp_path / "a.tif", spacing=1)
    # Several images of OME are several places.
    with tifffile.TiffWriter(tmp_path / "b.ome.tif", ome=True) as file:
        for plane in ZYX[:2]:
            file.write(plane, photometric="minisblack")
    with pytest.raises(ValueError, match="it holds 2"):
        mc.load(tmp_path / "b.ome.tif", spacing=1)


# --- tables of colours ---


def palette(colours):
    return [k * n % 256 for k in range(256) for n in ((37, 91, 151) if colours else (1, 1, 1))]


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_labels_are_the_indices_of_a_table(tmp_path, ending):
    picture = Image.fromarray(ZYX[0], mode="P")
    picture.putpalette(palette(colours=True))
    picture.save(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(mc.load(tmp_path / f"a{ending}", spacing=1).data[..., 0].T, ZYX[0])
    # So many that they would be doubted as grey values.
    many = Image.fromarray(RNG.integers(0, 256, (80, 90)).astype(np.uint8), mode="P")
    many.putpalette(palette(colours=True))
    many.save(tmp_path / f"b{ending}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mc.load(tmp_path / f"b{ending}", spacing=1)
    many.putpalette(palette(colours=False))
    many.save(tmp_path / f"c{ending}")
    with pytest.warns(UserWarning, match="look like grey values"):
        mc.load(tmp_path / f"c{ending}", spacing=1)


def png(path, rows, depth, colour):
    """Write a PNG of grey values (colour 0) of a few bits by its standard; Pillow writes none."""
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packed = b"".join(
        b"\0" + np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - depth :].ravel()).tobytes() for row in rows
    )
    head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_grey_pictures_of_few_bits_keep_their_numbers(tmp_path, depth):
    labels = RNG.integers(0, 2**depth, (8, 9)).astype(np.uint8)
    png(tmp_path / "a.png", labels, depth, 0)
    np.testing.assert_array_equal(mc.load(tmp_path / "a.png", spacing=1).data[..., 0].T, labels)


def test_grey_pictures_saved_as_colours(tmp_path):
    plane = ZYX[0]
    grey = np.stack([plane] * 3, axis=-1)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([grey, np.full_like(plane, 255)])).save(tmp_path / "b.png")
    Image.fromarray(np.dstack([plane, np.full_like(plane, 255)])).save(tmp_path / "c.png")
    for name in "abc":
        np.testing.assert_array_equal(mc.load(tmp_path / f"{name}.png", spacing=1).data[..., 0].T, plane)
    grey[2, 3, 1] += 1
    Image.fromarray(grey).save(tmp_path / "d.png")
    with pytest.raises(
        ValueError, match=r"got colours \(8, 9, 3\); give every colour a label, for instance by np\.unique"
    ):
        mc.load(tmp_path / "d.png", spacing=1)


# --- MRC ---


def mrc(path, data=ZYX, size=13.68, **header):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(data.astype(np.int16) if data is ZYX else data)
        file.set_volume()
        file.voxel_size = size
        for key, value in header.items():
            file.header[key] = value
    return path


@pytest.mark.parametrize("group", [401, 630])
def test_a_stack_of_volumes_is_refused(tmp_path, group):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.stack([ZYX.astype(np.int16)] * 2))
        file.voxel_size = 13.68
        file.header.ispg = group
    with pytest.raises(ValueError, match=rf"a stack of 2 volumes of {len(ZYX)} sections; write the wanted one"):
        mc.load(tmp_path / "a.mrc")
    # One volume is none, whatever its group says.
    mrc(tmp_path / "b.mrc", ispg=group)
    np.testing.assert_array_equal(mc.load(tmp_path / "b.mrc").data, ZYX.T)


def imod(path, flags):
    content = bytearray(path.read_bytes())
    content[152:160] = struct.pack("<2i", 1146047817, flags)
    path.write_bytes(content)


def test_bytes_of_imod_are_unsigned_unless_it_says_so(tmp_path):
    data = (RNG.integers(0, 2, (4, 5, 6)) * 255).astype(np.uint8)
    path = mrc(tmp_path / "a.mrc", data.view(np.int8))
    imod(path, 0)
    np.testing.assert_array_equal(mc.load(path).data, data.T)
    imod(path, 1)
    with pytest.warns(UserWarning, match="taken as intensities"):
        np.testing.assert_array_equal(mc.load(path).data, data.view(np.int8).T)
    # Without its mark, the greatest value that the header tells decides.
    mrc(path, data.view(np.int8), dmin=0, dmax=255)
    np.testing.assert_array_equal(mc.load(path).data, data.T)
    series = mrc(tmp_path / "a.st", data.view(np.int8))
    imod(series, 0)
    (tmp_path / "a.tlt").write_text("-1\n0\n1\n2\n")
    np.testing.assert_array_equal(mc.load(series).images, data)


@pytest.mark.parametrize("ending", [".map.gz", ".mrc.gz", ".rec.gz", ".map", ".ccp4"])
def test_packed_maps(tmp_path, ending):
    data = RNG.random((5, 6, 7)).astype(np.float32)
    content = mrc(tmp_path / "plain.mrc", data).read_bytes()
    path = tmp_path / f"a{ending}"
    # Also under a name that does not tell: mrcfile reads it either way.
    path.write_bytes(gzip.compress(content))
    np.testing.assert_array_equal(mc.load(path).data, data.T)
    path.write_bytes(gzip.compress(content)[:-5])
    with pytest.raises(ValueError, match="truncated"):
        mc.load(path)
    with pytest.raises(ValueError, match=r"is packed, which meshcell reads of .*unpack it: gunzip a\.tif\.gz"):
        mc.load(tmp_path / "a.tif.gz")


@pytest.mark.parametrize("order", ["<", ">"])
def test_mrc_of_either_byte_order_and_without_its_mark(tmp_path, order):
    path = mrc(tmp_path / "a.mrc")
    head = np.frombuffer(path.read_bytes()[:1024], mrcfile.dtypes.HEADER_DTYPE)
    swapped = head.astype(head.dtype.newbyteorder(order))
    swapped["map"], swapped["machst"] = b"", 0
    path.write_bytes(swapped.tobytes() + ZYX.astype(order + "i2").tobytes())
    again = mc.load(path)
    np.testing.assert_array_equal(again.data, ZYX.T)
    assert again.data.dtype.isnative and again.spacing == pytest.approx((1.368e-3,) * 3, rel=1e-6)


def test_the_origin_of_mrc(tmp_path):
    path = mrc(tmp_path / "a.mrc", size=10.0, nxstart=-4, nystart=2, nzstart=7)
    assert mc.load(path).origin == pytest.approx((-4e-3, 2e-3, 7e-3), rel=1e-6)
    # Counted in voxels, so in those that the caller tells.
    assert mc.load(path, spacing="2 nm").origin == pytest.approx((-8e-3, 4e-3, 14e-3), rel=1e-6)
    mrc(path, size=10.0, nxstart=-4, origin=(100, 200, 300))
    assert mc.load(path).origin == pytest.approx((0.01, 0.02, 0.03), rel=1e-6)
    # Columns are z, rows x, sections y.
    mrc(path, size=10.0, nxstart=7, nystart=-4, nzstart=2, mapc=3, mapr=1, maps=2, mx=8, my=5, mz=9, cella=(80, 50, 90))
    assert mc.load(path).origin == pytest.approx((-4e-3, 2e-3, 7e-3), rel=1e-6)


@pytest.mark.parametrize(("flags", "version", "sign"), [(0, 0, -1), (4, 0, 1), (0, 20140, 1), (None, 0, 1)])
def test_the_origin_of_imod_points_the_other_way(tmp_path, flags, version, sign):
    path = mrc(tmp_path / "a.mrc", size=10.0, origin=(100, 200, 300), nversion=version)
    if flags is not None:
        imod(path, flags)
    assert mc.load(path).origin == pytest.approx((sign * 0.01, sign * 0.02, sign * 0.03), rel=1e-6)


# --- NRRD ---


def test_nrrd_volumes(tmp_path):
    x_first = ZYX.T
    world = {"space": "left-posterior-superior", "space directions": np.diag([8e-6, 8e-6, 4e-5])}
    for name, encoding in (("a.nrrd", "gzip"), ("b.nrrd", "raw"), ("c.nhdr", "bzip2"), ("d.nrrd", "ascii")):
        nrrd.write(str(tmp_path / name), x_first, {**world, "space origin": [1e-3, 2e-3, 3e-3], "encoding": encoding})
        again = mc.load(tmp_path / name)
        np.testing.assert_array_equal(again.data, x_first)
        assert again.spacing == pytest.approx((8e-3, 8e-3, 0.04), rel=1e-12)
        assert again.origin == pytest.approx((1, 2, 3), rel=1e-12)
    nrrd.write(str(tmp_path / "e.nrrd"), x_first.astype(">i4"), {"spacings": [8, 8, 40], "units": ["nm"] * 3})
    assert mc.load(tmp_path / "e.nrrd").spacing == pytest.approx((8e-3, 8e-3, 0.04), rel=1e-12)
    nrrd.write(str(tmp_path / "f.nrrd"), x_first, {"spacings": [8, 8, 40]})
    with pytest.raises(ValueError, match=r"voxels of \[8\.0, 8\.0, 40\.0\] in no unit"):
        mc.load(tmp_path / "f.nrrd")
    nrrd.write(str(tmp_path / "g.nrrd"), np.zeros((3, *x_first.shape)), {"kinds": ["vector", *["domain"] * 3]})
    with pytest.raises(ValueError, match="one value per voxel"):
        mc.load(tmp_path / "g.nrrd", spacing=1)
    (tmp_path / "c.raw.bz2").unlink()
    with pytest.raises(ValueError, match=r"keeps its voxels in .*which should lie beside it"):
        mc.load(tmp_path / "c.nhdr")


def slicer(path, layers, segments):
    header = {
        "space": "left-posterior-superior",
        "kinds": ["list"] + ["domain"] * 3,
        "space directions": np.array([[np.nan] * 3, [8e-6, 0, 0], [0, 8e-6, 0], [0, 0, 4e-5]]),
    }
    for row, (name, label, layer) in enumerate(segments):
        header |= {f"Segment{row}_ID": f"S_{row}", f"Segment{row}_Name": name}
        header |= {f"Segment{row}_LabelValue": str(label), f"Segment{row}_Layer": str(layer)}
    one = len(layers) == 1
    header |= {"kinds": ["domain"] * 3, "space directions": np.diag([8e-6, 8e-6, 4e-5])} if one else {}
    nrrd.write(str(path), layers[0] if one else np.stack(layers), header)


def test_segments_of_slicer_are_labels_with_names(tmp_path):
    labels, path = np.ascontiguousarray(ZYX.T), tmp_path / "a.seg.nrrd"
    slicer(path, [labels], [("cell", 1, 0), ("er", 2, 0), ("er", 3, 0)])
    again = mc.load(path)
    np.testing.assert_array_equal(again.data, labels)
    assert again.names == {0: "outside", 1: "cell", 2: "er", 3: "er 3"}
    # Layers count anew: the first of each is 1.
    slicer(path, [(labels == 1) * np.uint8(1), (labels == 3) * np.uint8(1)], [("cell", 1, 0), ("er", 1, 1)])
    again = mc.load(path)
    np.testing.assert_array_equal(again.data, np.array([0, 1, 0, 2])[labels])
    assert again.regions == {1: "cell", 2: "er"} and again.spacing == pytest.approx((8e-3, 8e-3, 0.04), rel=1e-12)
    slicer(path, [(labels > 0) * np.uint8(1), (labels == 3) * np.uint8(1)], [("cell", 1, 0), ("er", 1, 1)])
    shared = int((labels == 3).sum())
    with pytest.raises(ValueError, match=f"'er' shares {shared} voxels with 'cell'; take one from the other"):
        mc.load(path)


def test_slicer_sees_our_regions_as_segments(tmp_path):
    own = mc.Volume(ZYX.T, (0.008, 0.008, 0.04), (1, 2, 3), {1: "cell", 3: "er"})
    mc.save(tmp_path / "a.seg.nrrd", own)
    data, header = nrrd.read(str(tmp_path / "a.seg.nrrd"))
    np.testing.assert_array_equal(data, own.data)
    np.testing.assert_array_equal(header["space directions"], np.diag(own.spacing))
    found = {header[f"Segment{k}_LabelValue"]: header[f"Segment{k}_Name"] for k in range(3)}
    assert found == {"1": "cell", "2": "label 2", "3": "er"} and header["space units"] == ["um"] * 3
    # Without our key it is the file of another program.
    nrrd.write(str(tmp_path / "b.seg.nrrd"), data, {key: header[key] for key in header if key != "meshcell"})
    again = mc.load(tmp_path / "b.seg.nrrd")
    assert (again.spacing, again.origin, again.regions) == (own.spacing, own.origin, own.regions)


def test_a_segment_that_was_renamed_keeps_its_new_name(tmp_path):
    names = {1: "cell", 2: 'é "quoted" \\', 3: "er"}
    own = mc.Volume(ZYX.T, (0.008, 0.008, 0.04), (1, 2, 3), names)
    mc.save(tmp_path / "a.seg.nrrd", own)
    assert mc.load(tmp_path / "a.seg.nrrd").names == own.names
    data, header = nrrd.read(str(tmp_path / "a.seg.nrrd"))
    row = next(k for k in range(3) if header[f"Segment{k}_LabelValue"] == "3")
    nrrd.write(str(tmp_path / "b.seg.nrrd"), data, header | {f"Segment{row}_Name": "Golgi"})
    assert mc.load(tmp_path / "b.seg.nrrd").names == own.names | {3: "Golgi"}
    # Two that were swapped.
    swapped = {f"Segment{row}_Name": "cell"}
    other = next(k for k in range(3) if header[f"Segment{k}_LabelValue"] == "1")
    nrrd.write(str(tmp_path / "c.seg.nrrd"), data, header | swapped | {f"Segment{other}_Name": "er"})
    assert mc.load(tmp_path / "c.seg.nrrd").names == own.names | {1: "er", 3: "cell"}


# --- NIfTI ---


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, ">i2", np.float32])
def test_volumes_of_nibabel(tmp_path, ending, kind):
    image = nibabel.Nifti1Image(ZYX.T.astype(kind), np.diag([8, 8, 40, 1]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / f"a{ending}")
    again = mc.load(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(again.data, ZYX.T)
    assert again.spacing == (8, 8, 40) and again.is_labels == (np.dtype(kind).kind != "f")


def test_images_of_nnunet_are_no_labels(tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "er": 1}}')
    image = nibabel.Nifti1Image((ZYX.T * 100 - 50).astype(np.int16), np.diag([0.01, 0.01, 0.04, 1]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "case_0000.nii.gz")
    with pytest.warns(UserWarning, match="taken as intensities, as the file or its name says"):
        assert not mc.load(tmp_path / "case_0000.nii.gz").is_labels


# --- HDF5 that refers to other files, and a disk that is full ---


def virtual(folder, *, parts=2):
    whole = np.concatenate([ZYX, ZYX])
    layout = h5py.VirtualLayout(whole.shape, whole.dtype)
    for part in range(parts):
        with h5py.File(folder / f"part{part}.h5", "w") as file:
            file["main"] = ZYX
        layout[5 * part : 5 * part + 5] = h5py.VirtualSource(f"part{part}.h5", "main", shape=ZYX.shape)
    with h5py.File(folder / "whole.h5", "w") as file:
        file.create_virtual_dataset("labels", layout).attrs["element_size_um"] = (0.04, 0.004, 0.004)
    return folder / "whole.h5", whole


def test_virtual_arrays(tmp_path):
    path, whole = virtual(tmp_path)
    np.testing.assert_array_equal(mc.load(path).data, whole.T)
    with h5py.File(tmp_path / "part1.h5", "w") as file:
        file["other"] = ZYX
    with pytest.raises(ValueError, match=r"takes main of part1\.h5, which has no such array; HDF5 would read zeros"):
        mc.load(path)
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(ValueError, match=r"takes main of part1\.h5, which is not there; HDF5 would read zeros"):
        mc.load(path)
    path, _ = virtual(tmp_path, parts=1)
    with pytest.warns(UserWarning, match=r"360 of 720 voxels come from no file in /labels and are read as 0"):
        mc.load(path)


def test_arrays_behind_links(tmp_path):
    with h5py.File(tmp_path / "far.h5", "w") as file:
        file.create_dataset("labels", data=ZYX).attrs["spacing_nm"] = 8.0
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file["here"] = h5py.ExternalLink("far.h5", "/labels")
        file["again"] = h5py.SoftLink("/here")
        file["circle/round"] = h5py.SoftLink("/circle")
    np.testing.assert_array_equal(mc.load(tmp_path / "near.h5").data, ZYX.T)
    (tmp_path / "far.h5").unlink()
    with (
        pytest.warns(UserWarning, match=r"/here leads to far\.h5 /labels, which is not there"),
        pytest.raises(ValueError, match="should hold an array with three axes"),
    ):
        mc.load(tmp_path / "near.h5")


def test_arrays_in_bare_files_beside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare.raw").write_bytes(ZYX.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("labels", ZYX.shape, ZYX.dtype, external=[("bare.raw", 0, ZYX.nbytes)])
    np.testing.assert_array_equal(mc.load(tmp_path / "a.h5", spacing=1).data, ZYX.T)
    (tmp_path / "bare.raw").write_bytes(ZYX.tobytes()[:100])
    with pytest.raises(ValueError, match=r"promises 360 bytes in dataset /labels, but its files hold 100"):
        mc.load(tmp_path / "a.h5", spacing=1)
    (tmp_path / "bare.raw").unlink()
    with pytest.raises(ValueError, match=r"in bare\.raw, which is not there"):
        mc.load(tmp_path / "a.h5", spacing=1)


def test_chunks_that_were_never_written_are_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("labels", (8, 8, 8), np.uint8, chunks=(4, 8, 8))[:4] = 1
    with pytest.warns(UserWarning, match=r"1 of 2 chunks are not stored in /labels and are read as 0"):
        mc.load(tmp_path / "a.h5", spacing=1)


@pytest.mark.parametrize("ending", [".h5", ".xdmf", ".npz", ".mrc", ".tif", ".ome.tif"])
def test_a_full_disk_is_an_error_and_not_the_end(tmp_path, ending):
    """A limit on the size of files stands in for the disk."""
    pytest.importorskip("resource")
    thing = tet_mesh() if ending == ".xdmf" else volume(shape=(60, 60, 60))
    mc.save(tmp_path / "thing.npz", thing)
    code = f"""
import gc, resource, signal
import meshcell as mc
thing = mc.load({str(tmp_path / "thing.npz")!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    mc.save({str(tmp_path / "out" / f"a{ending}")!r}, thing)
except OSError:
    gc.collect()
    print("alive")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr
    assert not list((tmp_path / "out").iterdir())


# --- what travels along ---


def voxels_at(path, ending, plain):
    """Find a byte of the voxels."""
    if ending == ".h5":
        with h5py.File(path) as file:
            return file["volume"].id.get_chunk_info(0).byte_offset + 20
    if ending == ".ome.tif":
        with tifffile.TiffFile(path) as file:
            return file.pages[0].dataoffsets[0] + 8
    content = path.read_bytes()
    if ending == ".nrrd":
        return content.index(b"\n\n") + 30
    return content.index(b"data.npy") + 60 if ending == ".npz" else content.index(plain) + 50


@pytest.mark.parametrize("ending", [".mrc", ".tif", ".ome.tif", ".h5", ".npz", ".nrrd"])
def test_a_flipped_bit_is_found(tmp_path, ending):
    own = mc.Volume(np.arange(120, dtype=np.uint8).reshape(4, 5, 6), 0.01)
    path = tmp_path / f"a{ending}"
    mc.save(path, own)
    content = bytearray(path.read_bytes())
    content[voxels_at(path, ending, own.data.T.tobytes())] ^= 4
    path.write_bytes(content)
    if ending in (".mrc", ".tif"):
        # Programs that paint labels keep our note, so it may be no damage.
        with pytest.warns(UserWarning, match="not those that meshcell wrote: edited since, or damaged"):
            mc.load(path)
    else:
        with pytest.raises(ValueError, match="damaged"):
            mc.load(path)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    mc.save("~/made/a.npz", volume())
    assert (tmp_path / "made" / "a.npz").exists() and not Path("~").exists()
    assert mc.load("~/made/a.npz").data.shape == (4, 5, 6)
