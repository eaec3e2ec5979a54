"""The command line says the same as the functions, and errors are one line and an exit code."""

import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from gallery.meshes import ball
from meshcell.analysis.checks import check
from meshcell.cli import _check_folder, _in_words, main
from meshcell.core.types import Surface
from meshcell.geometry.quality import quality
from meshcell.io import load, save
from meshcell.surfaces.extraction import extract


@pytest.fixture
def labels(tmp_path):
    far = np.linalg.norm(np.indices((14, 14, 14)) - 6.5, axis=0)
    path = tmp_path / "labels.npz"
    np.savez(path, labels=(far < 5).astype(np.uint8), spacing_um=[0.02, 0.02, 0.02])
    return path


def run(capsys, *arguments):
    """Return exit code, standard output and standard error of a command."""
    code = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code or 0
    out, err = capsys.readouterr()
    return code, out, err


def test_check_prints_the_report(labels, capsys):
    # First, as kernels that are compiled take longer than a command is silent.
    report = str(check(load(labels)))
    code, out, err = run(capsys, "check", labels)
    assert (code, err) == (0, "")
    assert out.strip() == report


def test_check_ends_with_1_where_there_are_errors(tmp_path, capsys):
    np.savez(tmp_path / "empty.npz", labels=np.zeros((3, 3, 3), np.uint8), spacing_um=[0.02] * 3)
    code, out, _ = run(capsys, "check", tmp_path / "empty.npz")
    assert code == 1
    assert "nothing to mesh" in out


def test_check_against_labels_prints_the_comparison(labels, tmp_path, capsys):
    surface = extract(load(labels))
    save(tmp_path / "net.vtp", surface)
    report = str(check(load(tmp_path / "net.vtp"), against=load(labels)))
    code, out, err = run(capsys, "check", tmp_path / "net.vtp", "--against", labels)
    assert (code, err) == (0, "")
    assert out.strip() == report
    assert "distance/voxels" in out


def test_check_ends_with_1_where_labels_are_lost(labels, tmp_path, capsys):
    save(tmp_path / "net.vtp", extract(load(labels)))
    data = load(labels).data.copy()
    data[0, 0, 0] = 2
    np.savez(tmp_path / "more.npz", labels=data, spacing_um=[0.02] * 3)
    code, out, _ = run(capsys, "check", tmp_path / "net.vtp", "--against", tmp_path / "more.npz")
    assert code == 1
    assert "not in the mesh, but in the labels: 'label 2'" in " ".join(out.split())


def test_check_against_no_labels_is_one_line_and_code_1(labels, tmp_path, capsys):
    save(tmp_path / "net.vtp", extract(load(labels)))
    code, out, err = run(capsys, "check", tmp_path / "net.vtp", "--against", tmp_path / "net.vtp")
    assert (code, out) == (1, "")
    assert err.startswith("meshcell: ")
    assert "against" in err
    assert err.count("\n") == 1


def test_spacing_goes_to_the_labels_compared_with(labels, tmp_path, capsys):
    save(tmp_path / "net.vtp", extract(load(labels)))
    np.save(tmp_path / "bare.npy", load(labels).data)
    _, expected, _ = run(capsys, "check", tmp_path / "net.vtp", "--against", labels)
    code, out, err = run(
        capsys, "check", tmp_path / "net.vtp", "--against", tmp_path / "bare.npy", "--spacing", "20 nm"
    )
    assert (code, err) == (0, "")
    assert out == expected


@pytest.mark.parametrize(
    ("given", "spacing"),
    [
        (["8 nm"], (0.008,) * 3),
        (["0.02"], (0.02,) * 3),
        (["4 nm", "4 nm", "40 nm"], (0.004, 0.004, 0.04)),
        (["4 4 40 nm"], (0.004, 0.004, 0.04)),
    ],
)
def test_spacing_is_numbers_in_um_or_texts(tmp_path, capsys, given, spacing):
    np.save(tmp_path / "labels.npy", np.ones((3, 4, 5), np.uint8))
    _, out, _ = run(capsys, "check", tmp_path / "labels.npy", "--spacing", *given)
    assert f"3 x 4 x 5 voxels of {' x '.join(f'{h:.4g}' for h in spacing)} um" in out


def test_quality_of_a_mesh(tmp_path, capsys):
    mesh = ball(2)
    save(tmp_path / "ball.vtu", mesh)
    code, out, _ = run(capsys, "quality", tmp_path / "ball.vtu")
    assert code == 0
    assert out.strip() == str(quality(mesh)).strip()


def test_quality_of_labels_is_that_of_their_surface(labels, capsys):
    _, out, _ = run(capsys, "quality", labels)
    assert "Angles of triangles" in out


@pytest.mark.parametrize("command", ["check", "quality"])
def test_errors_are_one_line_and_code_1(tmp_path, capsys, command):
    code, out, err = run(capsys, command, tmp_path / "nothing.npz")
    assert (code, out) == (1, "")
    assert err.startswith("meshcell: ")
    assert "nothing.npz" in err
    assert err.count("\n") == 1


def test_missing_spacing_is_asked_for(tmp_path, capsys):
    np.save(tmp_path / "labels.npy", np.ones((3, 3, 3), np.uint8))
    code, _, err = run(capsys, "check", tmp_path / "labels.npy")
    assert code == 2
    assert "labels.npy" in err
    assert "--spacing" in err
    assert "spacing=" not in err


def test_mesh_refuses_before_it_works(labels, tmp_path, capsys):
    there = tmp_path / "there.vtu"
    there.write_text("mine")
    start = time.perf_counter()
    code, _, err = run(capsys, "mesh", labels, "--edge", "20nm", "-o", there)
    assert code == 2
    assert "is there already" in err
    assert "--overwrite" in err
    assert there.read_text() == "mine"
    # No mesher was started.
    assert time.perf_counter() - start < 2
    save(tmp_path / "ball.vtu", ball(1))
    code, _, err = run(capsys, "mesh", tmp_path / "ball.vtu", "--edge", "20nm", "-o", tmp_path / "new.vtu")
    assert code == 1
    assert "holds a TetMesh" in err
    code, _, err = run(capsys, "mesh", labels, "--edge", "20 kg", "-o", tmp_path / "new.vtu")
    assert code == 2
    assert "--edge" in err


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("out.foo", "should end in one of .ele, .inp, .mesh, .msh, .node, .npz, .vtk, .vtu, .xdmf"),
        ("out.stl", "should end in one of .ele, .inp, .mesh, .msh, .node, .npz, .vtk, .vtu, .xdmf"),
        ("out", "got 'no ending'"),
        ("file/out.vtu", "nothing can be written into"),
        ("folder.vtu", "is a folder"),
        (".vtu", "is an ending without a name"),
        ("new/.npz", "is an ending without a name"),
        ("/proc/meshcell/out.vtu", "nothing can be written into"),
    ],
)
def test_outputs_are_checked_before_any_work(labels, tmp_path, capsys, monkeypatch, output, said):
    monkeypatch.setattr("meshcell.io.load", lambda *_, **__: pytest.fail("the file was read"))
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder.vtu").mkdir()
    before = sorted(tmp_path.rglob("*"))
    code, _, err = run(capsys, "mesh", labels, "--edge", "20nm", "-o", tmp_path / output)
    assert code == 2
    assert said in " ".join(err.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_tried_is_taken_away_again(tmp_path):
    _check_folder("--output", tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("edge", ["0", "nan", "inf", "-20nm", "20px", "abc", "4 4 40 nm", "20 kg"])
@pytest.mark.parametrize("command", ["mesh", "demo"])
def test_an_edge_that_cannot_be_is_wrong_usage(labels, tmp_path, capsys, command, edge):
    given = [labels, "-o", tmp_path / "out.vtu"] if command == "mesh" else [tmp_path / "demo"]
    code, _, err = run(capsys, command, *given, f"--edge={edge}")
    assert code == 2
    assert "--edge" in err


@pytest.mark.parametrize(
    ("file", "option", "said"),
    [
        ("ball.stl", "--spacing=8nm", "--spacing is for volumes"),
        ("ball.stl", "--kind=labels", "--kind is for volumes"),
        ("ball.stl", "--dataset=x", "--dataset is for files of several volumes"),
        ("ball.stl", "--unit=2s", "unit should be in um"),
        ("labels.npz", "--unit=nm", "--unit is for surfaces and meshes"),
        ("labels.npz", "--regions=x", "--regions chooses"),
    ],
)
def test_an_option_that_does_not_fit_the_file_is_wrong_usage(labels, tmp_path, capsys, file, option, said):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(tmp_path / "ball.stl", extract(load(labels)))
    code, _, err = run(capsys, "check", tmp_path / file, option)
    assert code == 2
    assert said in err
    assert "add --spacing" not in err


def test_a_missing_file_is_told_before_its_ending(tmp_path, capsys):
    code, _, err = run(capsys, "check", tmp_path / "nothing")
    assert code == 1
    assert "should be a file; there is none" in err
    assert "ending" not in err


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('or take tetrahedralize(surface, method="winding"), which', 'or take --method "winding", which'),
        ('smooth less, or use method="winding", which', 'smooth less, or use --method "winding", which'),
        ('if nm are meant, write edge="20 nm"', 'if nm are meant, write --edge "20 nm"'),
        ('load(path, unit="nm") takes the points as nm', '--unit "nm" takes the points as nm'),
        ('or solve with keep="all"', 'or solve with --keep "all"'),
        ("give step=, or take 'imex'", "give --step, or take 'imex'"),
        ("or give overwrite=True to begin anew", "or give --overwrite to begin anew"),
        ("slivers; remesh(surface, edge=...)", "slivers; remesh(surface, edge=...)"),
    ],
)
def test_messages_name_options_as_they_are_typed(message, words):
    assert _in_words(message) == words


def test_reports_name_options_as_they_are_typed(labels, tmp_path, capsys):
    balls = extract(load(labels))
    both = Surface(
        np.concatenate([balls.points, balls.points + 0.011]),
        np.concatenate([balls.triangles, balls.triangles + len(balls.points)]),
        np.tile([1, 0], (2 * len(balls.triangles), 1)),
    )
    save(tmp_path / "two.vtp", both)
    code, out, _ = run(capsys, "check", tmp_path / "two.vtp")
    assert code == 1
    assert '--method "winding"' in " ".join(out.split())
    assert "method=" not in out


def test_a_method_is_chosen_by_an_option(labels, tmp_path, capsys, monkeypatch):
    asked = {}

    def stopped(thing, **options):
        asked.update(options)
        raise ValueError("enough")

    monkeypatch.setattr("meshcell.meshing.tetrahedra.tetrahedralize", stopped)
    monkeypatch.setattr("meshcell.first_use.warm", lambda *_, **__: ())
    run(capsys, "mesh", labels, "--edge", "20nm", "-o", tmp_path / "out.vtu", "--method", "winding")
    assert asked["method"] == "winding"
    assert run(capsys, "mesh", labels, "--edge", "20nm", "-o", tmp_path / "out.vtu", "--method", "x")[0] == 2


def test_nobody_who_reads_on_is_no_error(labels):
    code = "from meshcell.cli import main; import sys; main(sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", code, "check", labels], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 141


def test_what_a_file_does_not_tell_is_said_by_options(tmp_path, capsys):
    import h5py

    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["first"], file["second"] = np.ones((3, 4, 5), np.uint8), np.ones((6, 4, 5), np.uint8)
    there = ("check", tmp_path / "two.h5", "--spacing", "8 nm")
    code, _, err = run(capsys, *there)
    assert code == 1
    # As it is typed, not as in Python.
    assert "--dataset '" in err
    assert "load(" not in err
    assert "dataset=" not in err
    _, out, _ = run(capsys, *there, "--dataset", "second")
    assert "5 x 4 x 6 voxels" in out
    _, out, _ = run(capsys, *there, "--dataset", "second", "--kind", "intensities")
    assert "intensities" in out
    assert run(capsys, *there, "--kind", "colours")[0] == 2


def test_units_are_given_and_warnings_are_one_line(labels, tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(tmp_path / "ball.stl", extract(load(labels)))
    size = np.ptp(load(tmp_path / "ball.stl").points, axis=0)
    _, out, _ = run(capsys, "check", tmp_path / "ball.stl", "--unit", "nm")
    assert f"box {' x '.join(f'{1e-3 * h:.4g}' for h in size)} um" in out
    np.save(tmp_path / "raw.npy", np.arange(-30, 30).reshape(3, 4, 5))
    code, _, err = run(capsys, "check", tmp_path / "raw.npy", "--spacing", "8 nm")
    assert code == 0
    assert err.startswith(f"meshcell: warning: {tmp_path / 'raw.npy'}")
    assert "--kind" in err
    assert err.count("\n") == 1


def test_regions_get_names(tmp_path, capsys):
    np.save(tmp_path / "bare.npy", np.ones((3, 4, 5), np.uint8))
    _, out, _ = run(capsys, "check", tmp_path / "bare.npy", "--spacing", "8 nm", "--name", "1=cytosol", "2=er")
    assert "1  cytosol: 60 voxels" in out
    for wrong in ("cytosol", "x=er", "1="):
        code, _, err = run(capsys, "check", tmp_path / "bare.npy", "--spacing", "8 nm", "--name", wrong)
        assert code == 2
        assert "--name 1=cytosol" in err


@pytest.mark.parametrize(
    "arguments", [["chek", "a.npz"], ["mesh", "a.npz"], ["check"], ["check", "a", "--spacin", "1"]]
)
def test_wrong_usage_ends_with_2(capsys, arguments):
    assert run(capsys, *arguments)[0] == 2


def test_an_interrupt_ends_with_130(labels, capsys, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("meshcell.io.load", stopped)
    assert run(capsys, "check", labels)[0] == 130


def test_completion_can_be_installed(capsys):
    assert "--install-completion" in run(capsys, "--help")[1]


def test_no_colour_and_no_bars_where_there_is_no_terminal(labels):
    code = "from meshcell.cli import main; import sys; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "quality", labels], capture_output=True, text=True, check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "\x1b[" not in done.stdout + done.stderr
    assert "\r" not in done.stderr
    assert "smooth: keep volumes 2/4" in done.stderr


@pytest.mark.slow
def test_mesh_writes_what_it_says(labels, tmp_path, capsys):
    code, out, err = run(capsys, "mesh", labels, "--edge", "40nm", "-o", tmp_path / "out.vtu")
    assert code == 0, err
    made = load(tmp_path / "out.vtu")
    assert repr(made) in out
    # A ball of radius 5 voxels of 20 nm, as its voxels measure it; smoothing and meshing keep volumes within 2 %.
    voxels = load(labels).counts[1] * 0.02**3
    assert made.volumes.sum() == pytest.approx(voxels, rel=0.02)


def test_help_is_fast_and_lists_the_commands():
    start = time.perf_counter()
    code = "from meshcell.cli import main; import sys; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for command in ("demo", "warm", "check", "mesh", "quality", "simulate"):
        assert command in done.stdout
    # Half a second when warm; the slack is for a busy machine.
    assert time.perf_counter() - start < 5
