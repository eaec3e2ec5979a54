"""Damaged files: truncated, mislabelled, boastful or flipped, each is refused by name before it does harm."""

import sys

import numpy as np
import pytest

from gallery.things import closed_body, surface, tet_mesh, volume
from meshcell.core.errors import MeshError
from meshcell.core.files import MAX_DEFLATE, reading
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.io import load, save


def examples(folder):
    """One small file of every format that `load` reads."""
    files = {ending: volume() for ending in (".npz", ".h5", ".tif", ".ome.tif", ".mrc")}
    files |= {".ply": surface(), ".vtp": surface(), ".obj": surface(), ".stl": closed_body()}
    files |= {ending: tet_mesh() for ending in (".vtu", ".msh", ".xdmf", ".vtk", ".mesh", ".inp", ".ele")}
    files |= {".off": closed_body(), ".glb": closed_body(), ".3mf": closed_body()}
    for ending, thing in files.items():
        save(folder / f"a{ending}", thing)
    np.save(folder / "a.npy", volume().data)
    return {ending: folder / f"a{ending}" for ending in (*files, ".npy")}


def load_any(path):
    return load(path, spacing=0.01) if path.suffix == ".npy" else load(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return examples(tmp_path_factory.mktemp("whole"))


ENDINGS = [".npz", ".npy", ".h5", ".tif", ".ome.tif", ".mrc", ".ply", ".vtp", ".obj", ".stl", ".vtu", ".msh", ".xdmf"]
ENDINGS += [".vtk", ".mesh", ".inp", ".ele", ".off", ".glb", ".3mf"]
# Files that lie beside the one that is loaded.
BESIDE = {".xdmf": [".dolfinx.h5"], ".ele": [".node", ".face"]}


def copy_companions(whole, ending, stem):
    """Copy what belongs to the example of this ending beside a damaged one."""
    for other in BESIDE.get(ending, []):
        source = whole[ending].with_name(f"a{other}")
        stem.with_name(stem.name + other).write_bytes(source.read_bytes())


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_truncated_file_is_named(tmp_path, whole, ending):
    content, cut = whole[ending].read_bytes(), tmp_path / f"cut{ending}"
    if ending == ".ele":
        copy_companions(whole, ending, tmp_path / "cut")
    for share in (0.02, 0.3, 0.9):
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"truncated|should") as caught:
            load(cut, spacing=0.01 if ending in (".npy", ".tif", ".ome.tif", ".mrc", ".h5") else None)
        assert str(cut) in str(caught.value)


def test_a_truncated_companion_of_xdmf_is_named(tmp_path):
    save(tmp_path / "a.xdmf", tet_mesh())
    heavy = tmp_path / "a.dolfinx.h5"
    heavy.write_bytes(heavy.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"a\.dolfinx\.h5 should be the HDF5 file of a\.xdmf"):
        load(tmp_path / "a.xdmf")
    heavy.unlink()
    with pytest.raises(ValueError, match=r"keeps its arrays in a\.dolfinx\.h5, which should lie beside it"):
        load(tmp_path / "a.xdmf")


@pytest.mark.parametrize("ending", ENDINGS)
def test_text_under_a_wrong_name_and_empty_files_are_refused(tmp_path, whole, ending):
    path = tmp_path / f"a{ending}"
    copy_companions(whole, ending, tmp_path / "a")
    path.write_text("Dear colleague,\n\nplease find the data attached.\n" * 40)
    with pytest.raises(ValueError, match=r"should|promises") as caught:
        load_any(path)
    assert str(path) in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="a file with content; it is empty"):
        load(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_bytes_end_in_an_error_or_a_checked_thing(tmp_path, whole, ending):
    rng = np.random.default_rng(3)
    content, path = whole[ending].read_bytes(), tmp_path / f"a{ending}"
    copy_companions(whole, ending, tmp_path / "a")
    for _ in range(25):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            thing = load_any(path)
        except ValueError as error:
            assert "a.xdmf" in str(error) or str(path) in str(error)
        else:
            assert isinstance(thing, (Volume, Surface, TetMesh))


def _replaced(path, whole, ending, old, new):
    content = whole[ending].read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new, 1))


def test_declared_sizes_are_checked_before_memory_is_taken(tmp_path, whole):
    import h5py

    points, tets = len(tet_mesh().points), len(tet_mesh().tets)
    cases = {
        ".npy": (b"(4, 5, 6)", b"(9**9, 9)"),
        ".mrc": (np.array([4, 5, 6], "<i4").tobytes(), np.array([9**9, 9**5, 6], "<i4").tobytes()),
        ".ply": (b"element face 240", b"element face 999999999999"),
        ".vtp": (b'NumberOfPoints="125"', b'NumberOfPoints="99999999999999"'),
        ".vtu": (f'NumberOfPoints="{points}"'.encode(), b'NumberOfPoints="99999999999999"'),
        ".msh": (np.array([1, points], "<u8").tobytes(), np.array([1, 10**15], "<u8").tobytes()),
        ".xdmf": (f'Dimensions="{tets} 4"'.encode(), b'Dimensions="99999999999999 4"'),
    }
    # The header of an .npy file has a fixed length, so the two texts have, too.
    for ending, (old, new) in cases.items():
        path = tmp_path / f"a{ending}"
        _replaced(path, whole, ending, old, new)
        copy_companions(whole, ending, tmp_path / "a")
        with pytest.raises(ValueError, match=r"promises|should be"):
            load_any(path)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", (10**5, 10**5, 10**5), "u1", chunks=(64, 64, 64)).attrs["element_size_um"] = 0.01
    with pytest.raises(ValueError, match=r"promises 1,000,000,000,000,000 bytes in dataset /data"):
        load(tmp_path / "a.h5")


def test_an_archive_that_promises_more_than_deflate_allows_is_refused(tmp_path, whole):
    import struct

    content = bytearray(whole[".npz"].read_bytes())
    place = content.index(b"PK\x01\x02")
    packed = struct.unpack_from("<I", content, place + 20)[0]
    struct.pack_into("<I", content, place + 24, (packed + 2) * MAX_DEFLATE)
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match="stored bytes cannot hold them"):
        load(tmp_path / "a.npz")


def test_a_stack_that_lost_pages_is_refused(tmp_path):
    import tifffile

    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(20):
            writer.write(np.ones((64, 64), np.uint8), contiguous=False, metadata=None)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    # Half of the pages are whole, and tifffile would return them without a word.
    with pytest.raises(ValueError, match=r"promises page \d+"):
        load(tmp_path / "a.tif", spacing=0.01)


def test_pickles_are_never_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", labels=np.ones((2, 2, 2), int), names=np.array({1: "c"}, object))
    with pytest.raises(ValueError, match="names holds Python objects"):
        load(tmp_path / "a.npz", spacing=1)


def test_the_library_survives_a_reader_that_exits(tmp_path):
    expected = pytest.raises(ValueError, match=r"a\.msh should be .*reading it failed: SystemExit")
    with expected, reading(tmp_path / "a.msh", "a mesh"):
        sys.exit(1)


def test_meshes_that_cannot_be_used_name_the_file_and_the_rows(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 2 9\n"
    (tmp_path / "a.obj").write_text(text)
    with pytest.raises((MeshError, ValueError), match=r"a\.obj"):
        load(tmp_path / "a.obj")


def test_texts_of_hdf5_that_cannot_be_are_refused_before_hdf5_reads_them(tmp_path):
    """A gap of no length in the heap keeps HDF5 busy for ever, a length of gigabytes is believed."""
    import h5py

    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["labels"] = np.ones((3, 4, 5), np.uint8)
        file["names"] = '{"1": "er"}'
        place = file["names"].id.get_offset()
    assert load(path, spacing=1).names == {0: "outside", 1: "er"}
    whole = path.read_bytes()
    heap = whole.index(b"GCOL")
    # One text of 11 bytes, padded to 16, after two headers of 16; then the gap.
    gap = heap + 16 + 16 + 16
    assert int.from_bytes(whole[heap + 16 : heap + 18], "little") == 1
    path.write_bytes(whole[: gap + 8] + bytes(8) + whole[gap + 16 :])
    with pytest.raises(ValueError, match="has a gap of no length"):
        load(path, spacing=1)
    path.write_bytes(whole[:place] + b"\xff\xff\xff\x7f" + whole[place + 4 :])
    with pytest.raises(ValueError, match=r"promises a text of 2,147,483,647 bytes in /names"):
        load(path, spacing=1)


@pytest.mark.parametrize("ending", [".ply", ".obj", ".off", ".vtk", ".mesh", ".inp", ".node", ".msh", ".xdmf"])
def test_a_changed_digit_is_found_out(tmp_path, ending):
    """The file is whole and its numbers are numbers, but not those that were written."""
    thing = {".ply": surface, ".obj": surface, ".off": closed_body}.get(ending, tet_mesh)()
    save(tmp_path / f"a{ending}", thing)
    path = tmp_path / ("a.dolfinx.h5" if ending == ".xdmf" else f"a{ending}")
    point = thing.points[7, 1]
    old, new = repr(float(point)).encode(), repr(float(np.nextafter(point, 1))).encode()
    if ending in (".msh", ".xdmf", ".vtk"):
        order = ">" if ending == ".vtk" else "<"
        old, new = (np.array(value, f"{order}f8").tobytes() for value in (point, np.nextafter(point, 1)))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"checksum|fletcher32|truncated or damaged"):
        load(tmp_path / f"a{ending}")


@pytest.mark.parametrize("length", ["3.5", "-1", "nan", "1e300", "9"])
def test_a_face_of_no_whole_number_of_corners_is_refused(tmp_path, length):
    head = ["ply", "format ascii 1.0", "element vertex 3", *(f"property float {axis}" for axis in "xyz")]
    head += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    (tmp_path / "a.ply").write_text("\n".join([*head, "0 0 0", "1 0 0", "0 1 0", f"{length} 0 1 2", ""]))
    with pytest.raises(ValueError, match="promises 1 more rows of face"):
        load(tmp_path / "a.ply")
