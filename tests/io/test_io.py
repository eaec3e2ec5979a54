"""Files: what goes in comes out, bit for bit, and what is there already is kept."""

import subprocess
import sys
import time

import numpy as np
import pytest

from gallery.things import (
    DTYPES,
    MESH_ENDINGS,
    SURFACE_ENDINGS,
    VOLUME_ENDINGS,
    assert_same,
    closed_body,
    solution,
    surface,
    tet_mesh,
    volume,
)
from meshcell.core.types import Surface, TiltSeries, Volume
from meshcell.io import load, save
from meshcell.models.solutions import Solution

# --- round trips ---


@pytest.mark.parametrize("ending", VOLUME_ENDINGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_volumes_come_back_exactly(tmp_path, ending, dtype):
    thing = volume(dtype)
    save(tmp_path / f"a{ending}", thing)
    assert_same(load(tmp_path / f"a{ending}"), thing)


def test_files_do_not_tell_when_they_were_written(tmp_path):
    """The same thing gives the same bytes, in another second as well."""
    series = TiltSeries(np.ones((3, 4, 5), np.float32), [-1.0, 0.0, 1.0], 0.01)
    things = {
        **{f"volume{ending}": volume() for ending in VOLUME_ENDINGS},
        **{f"surface{ending}": surface() for ending in SURFACE_ENDINGS},
        **{f"mesh{ending}": tet_mesh() for ending in MESH_ENDINGS},
        "body.stl": closed_body(),
        "solution.npz": solution(),
        "series.st": series,
    }
    found = []
    for _ in range(2):
        for name, thing in things.items():
            save(tmp_path / name, thing, overwrite=True)
        found.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
        time.sleep(1.1)
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []


@pytest.mark.parametrize("ending", VOLUME_ENDINGS)
@pytest.mark.parametrize("shape", [(1, 5, 6), (4, 1, 6), (4, 5, 1), (1, 1, 1), (3, 3, 4)])
def test_thin_volumes_keep_their_axes(tmp_path, ending, shape):
    thing = volume(shape=shape)
    save(tmp_path / f"a{ending}", thing)
    assert_same(load(tmp_path / f"a{ending}"), thing)


@pytest.mark.parametrize(
    ("ending", "data", "text"),
    [
        (".tif", np.array([[[70000]]]), "the format holds uint8, uint16, float32; got int64 from 70000 to 70000"),
        (".mrc", np.array([[[70000]]]), "the format holds int8, int16, uint16, float32, float16; got int64"),
        (".ome.tif", np.array([[[2**40]]]), "use .h5 or .npz"),
        (".tif", np.array([[[0.1]]]), "float64 from 0.1 to 0.1"),
        (".mrc", np.array([[[1e300]]]), "float64 from 1e+300"),
    ],
)
def test_values_that_a_volume_format_cannot_hold_are_refused(tmp_path, ending, data, text):
    with pytest.raises(ValueError, match="cannot be written") as caught:
        save(tmp_path / f"a{ending}", Volume(data, 0.01))
    assert text in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", SURFACE_ENDINGS)
def test_surfaces_come_back_exactly(tmp_path, ending):
    save(tmp_path / f"a{ending}", surface())
    assert_same(load(tmp_path / f"a{ending}"), surface())


def test_stl_keeps_corners_and_name_of_one_body(tmp_path):
    body = closed_body("mito é")
    save(tmp_path / "a.stl", body)
    again = load(tmp_path / "a.stl")
    np.testing.assert_array_equal(again.points[again.triangles], body.points[body.triangles])
    assert again.names == body.names
    # Merging gives back as many points as the closed body has.
    assert len(again.points) == len(body.points)


def test_stl_refuses_what_it_would_lose(tmp_path):
    with pytest.raises(ValueError, match=r"without regions; the surface has .*use \.vtp, \.ply or \.obj"):
        save(tmp_path / "a.stl", surface())
    body = closed_body()
    patched = Surface(body.points, body.triangles, body.sides, body.names, {"PSD": [1]})
    with pytest.raises(ValueError, match="no place for the patches PSD"):
        save(tmp_path / "a.stl", patched)


@pytest.mark.parametrize("ending", MESH_ENDINGS)
def test_meshes_come_back_exactly(tmp_path, ending):
    save(tmp_path / f"a{ending}", tet_mesh())
    assert_same(load(str(tmp_path / f"a{ending}")), tet_mesh())


def test_solutions_come_back_exactly(tmp_path):
    save(tmp_path / "a.npz", solution())
    again = load(tmp_path / "a.npz")
    assert_same(again, solution())
    assert isinstance(again.model.species, tuple) and again.model.compartments["PM"] == ("cytosol", "outside")


def test_what_a_solution_file_cannot_hold_is_named(tmp_path):
    own = solution()
    odd = Solution(own.mesh, own.model, own.times, own.values, own.nodes, {"worker": object()})
    with pytest.raises(TypeError, match=r"stats\['worker'\] is a object, which a file cannot hold"):
        save(tmp_path / "a.npz", odd)
    assert not list(tmp_path.iterdir())


# --- writing ---


@pytest.mark.parametrize("ending", [*VOLUME_ENDINGS, ".ply", ".vtp", ".obj", ".stl", *MESH_ENDINGS, ".pvd"])
def test_an_output_that_exists_is_kept_unless_told(tmp_path, ending):
    thing = next(
        thing
        for kinds, thing in [
            ([".pvd"], solution()),
            ([".stl"], closed_body()),
            (VOLUME_ENDINGS, volume()),
            (SURFACE_ENDINGS, surface()),
            (MESH_ENDINGS, tet_mesh()),
        ]
        if ending in kinds
    )
    path = tmp_path / f"a{ending}"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="exists already; give overwrite=True"):
        save(path, thing)
    assert path.read_text() == "mine"
    save(path, thing, overwrite=True)
    assert path.stat().st_size > 4
    assert not [item for item in tmp_path.iterdir() if item.name.startswith(".")]


@pytest.mark.parametrize("ending", [".npz", ".h5", ".tif", ".mrc"])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, ending):
    import h5py
    import mrcfile
    import tifffile

    path = tmp_path / f"a{ending}"
    save(path, volume())
    before = path.read_bytes()

    def broken(*_, **__):
        raise OSError("no space left on device")

    for owner, name in [
        (np, "savez_compressed"),
        (h5py.File, "create_dataset"),
        (tifffile, "imwrite"),
        (mrcfile.mrcfile.MrcFile, "set_data"),
    ]:
        monkeypatch.setattr(owner, name, broken)
    with pytest.raises(OSError, match="no space left"):
        save(path, volume(seed=1), overwrite=True)
    assert path.read_bytes() == before and [item.name for item in tmp_path.iterdir()] == [path.name]


def test_misfits_say_which_endings_fit(tmp_path):
    with pytest.raises(ValueError, match=r"\.stl holds surfaces; a TetMesh is written as .*\.vtu.*mesh\.surface"):
        save(tmp_path / "a.stl", tet_mesh())
    with pytest.raises(ValueError, match=r"\.vtu holds a TetMesh; a Volume is written as \.npz.*\.ome\.tif"):
        save(tmp_path / "a.vtu", volume())
    with pytest.raises(ValueError, match=r"loses the voxel size; .*np\.save\(path, volume\.data\)"):
        save(tmp_path / "a.npy", volume())
    with pytest.raises(ValueError, match=r"should end in one of .*\.vtu.*got '\.docx'"):
        save(tmp_path / "a.docx", volume())
    with pytest.raises(TypeError, match=r"needs a Volume, .* or a TiltSeries; got ndarray of shape .*Volume\(array"):
        save(tmp_path / "a.npz", volume().data)


def test_misplaced_arguments_of_load_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.tif should be a file; there is none"):
        load(tmp_path / "nothing.tif")
    with pytest.raises(ValueError, match=r"should end in one of .*got '\.docx'"):
        load(tmp_path / "nothing.docx")
    save(tmp_path / "a.ply", surface())
    with pytest.raises(ValueError, match="spacing= is for volumes"):
        load(tmp_path / "a.ply", spacing=1)


def test_import_is_light():
    heavy = ["h5py", "tifffile", "mrcfile", "meshio", "pyvista", "trimesh", "sympy", "pint", "matplotlib"]
    code = f"import sys, meshcell.io; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
