"""`meshcell simulate` on the command line: the same as the functions, one line for an error, an exit code."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gallery.balls import round_ball
from meshcell.cli import main
from meshcell.io import load, save
from meshcell.jobs.asking import moments
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving.solver import solve

MESH = round_ball(4)
MODEL = Model(
    {"cyt": "ball", "PM": ("ball", "outside")},
    [Species("Ca", "cyt", "20 um^2/s", "1 uM")],
    [Reaction("pump", "PM", "k*Ca", {"Ca": -1})],
    {"k": "2 um/s"},
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The tests' own process has compiled, or will, what it needs.
    monkeypatch.setattr("meshcell.first_use.warm", lambda *_, **__: ())
    save("cell.vtu", MESH)
    MODEL.to_toml("cell.toml")
    return tmp_path


def run(capsys, *arguments):
    """Return exit code, standard output and standard error of a command."""
    code = 0
    try:
        main(["simulate", *map(str, arguments)])
    except SystemExit as stop:
        code = stop.code or 0
    out, err = capsys.readouterr()
    return code, out, " ".join(err.split())


def test_it_does_what_solve_does(here, capsys):
    code, out, err = run(
        capsys, "cell.toml", "cell.vtu", "-o", "run", "--until", "200ms", "--every", "50ms", "--rtol", 1e-5,
        "--observe", "mean Ca PM", "flux pump", "--observe", "value Ca 0 0 300nm",
    )  # fmt: skip
    assert code == 0, err
    found = load("run/solution.npz")
    direct = solve(MESH, MODEL, [0, 0.05, 0.1, 0.15, 0.2], rtol=1e-5)
    np.testing.assert_array_equal(found.times, direct.times)
    np.testing.assert_array_equal(found.values["Ca"], direct.values["Ca"])
    assert list(found.observed) == ["mean Ca PM", "flux pump", "value Ca 0 0 300nm"]
    assert repr(found) in out
    assert out.splitlines()[-4:] == ["run/solution.npz", "run/curves.csv", "run/log.txt", "run/solution.pvd"]
    assert "model: cell.toml\nmesh: cell.vtu\n" in (here / "run" / "log.txt").read_text()


def test_options_reach_solve(here, capsys):
    line = ("cell.toml", "cell.vtu", "--times", "0.1", "50ms", "--scheme", "imex2", "--step", "10 ms")
    assert run(capsys, *line, "--keep", "observed", "--no-paraview", "-o", "run")[0] == 0
    found = load("run/solution.npz")
    assert (found.times.tolist(), found.observed_times.tolist()) == ([0.1], [0, 0.05, 0.1])
    assert found.stats["steps"] == 10
    assert not (here / "run" / "solution.pvd").exists()
    assert run(capsys, *line, "-o", "run.npz")[0] == 0
    assert load("run.npz").times.tolist() == [0, 0.05, 0.1]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], 2, "--times should come from --until, perhaps with --every, or from --times alone"),
        (["--until", "2 kg"], 2, "--until should be in s or convertible to it"),
        (["--until", "1s", "--every", "3s"], 2, "--every should be between"),
        (["--times", "inf"], 2, "--times should be finite"),
        (["--until", "1s", "--step", "0"], 2, "--step should be a time above 0"),
        (["--until", "1s", "--scheme", "imex2"], 2, "fixed steps: give --step, or take 'imex'"),
        (["--until", "1s", "--scheme", "x"], 2, "Choose from"),
        (["--until", "1s", "--rtol", "7"], 2, "--rtol should be between"),
        (["--until", "1s", "--engine", "numbat"], 2, "--engine should be one of 'numba'"),
        (["--until", "1s", "--petsc-options", "a=b"], 2, "--petsc-options are for engine='fenicsx'; got them with"),
        (["--until", "1s", "--observe", "mean CA"], 2, "did you mean 'Ca'"),
        (
            ["--until", "1s", "--observe", "mean Ca bal"],
            2,
            "--observe: mean of Ca in bal: no place is called 'bal'; did",
        ),
        (["--until", "1s", "--checkpoint", "no/c.npz"], 2, "--checkpoint should be a file in a folder that exists"),
        (["--until", "1s", "--checkpoint", "cell.vtu"], 1, "cell.vtu should be a checkpoint of solve"),
    ],
)
def test_options_that_cannot_be_are_one_line_and_a_code(here, capsys, options, code, said):
    before = sorted(here.rglob("*"))
    found, out, err = run(capsys, "cell.toml", "cell.vtu", "-o", "run", *options)
    assert (found, out) == (code, "")
    assert said in err
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("files", "output", "code", "said"),
    [
        (("no.toml", "cell.vtu"), "run", 1, "no.toml should be a file; there is none"),
        (("cell.toml", "no.vtu"), "run", 1, "no.vtu should be a file; there is none"),
        (("cell.vtu", "cell.toml"), "run", 1, "it should be a TOML file"),
        (("cell.toml", "there.npz"), "run", 1, "simulate takes a mesh of tetrahedra; there.npz holds a Surface"),
        (("other.toml", "cell.vtu"), "run", 1, "it has none called 'bal'; did you mean 'ball'?"),
        (("cell.toml", "cell.vtu"), "run.vtu", 2, "--output: run.vtu should be a folder, or a file that ends in"),
        (("cell.toml", "cell.vtu"), "there.npz", 2, "there.npz is there already; choose another name, or give --overw"),
        (("cell.toml", "cell.vtu"), "cell.toml/run", 2, "nothing can be written into"),
    ],
)
def test_files_that_do_not_fit_are_one_line_and_a_code(here, capsys, monkeypatch, files, output, code, said):
    # Before minutes are spent on compiling.
    monkeypatch.setattr("meshcell.first_use.warm", lambda *_, **__: pytest.fail("kernels were compiled"))
    save("there.npz", MESH.surface)
    (here / "other.toml").write_text((here / "cell.toml").read_text().replace('"ball"', '"bal"'))
    before = sorted(here.rglob("*"))
    found, out, err = run(capsys, *files, "-o", output, "--until", "1s")
    assert (found, out) == (code, "")
    assert said in err
    assert sorted(here.rglob("*")) == before


def test_a_run_that_fails_is_saved_and_ends_with_1(here, capsys):
    text = (here / "cell.toml").read_text().replace("k*Ca", "k").replace("um/s", "molecule/um^2/s")
    (here / "taking.toml").write_text(text.replace('"2 ', '"2000 '))
    code, _, err = run(capsys, "taking.toml", "cell.vtu", "-o", "run", "--until", "1s", "--no-progress")
    assert code == 1
    assert "what was computed until then is in run" in err
    assert load("run/solution.npz").message


def test_units_and_regions_of_foreign_meshes_are_told(here, capsys):
    # As many nm as um were meant, under a name of its own.
    save("large.vtu", type(MESH)(MESH.points * 1e3, MESH.tets, MESH.regions, MESH.facets, MESH.sides, {1: "cell"}))
    line = ("cell.toml", "large.vtu", "-o", "run.npz", "--until", "100ms")
    assert run(capsys, *line, "--unit", "nm", "--name", "1=ball")[0] == 0
    np.testing.assert_allclose(load("run.npz").mesh.volumes.sum(), MESH.volumes.sum(), rtol=1e-12)


CHILD = """
import signal, sys
from meshcell.cli import main
# Where the tests run in the background, Ctrl-C is switched off and the switch is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
main(["simulate", *sys.argv[1:]])
"""


def started(here, *options):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, "cell.toml", "cell.vtu", "-o", "run", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=here,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def direct():
    return solve(MESH, MODEL, moments("200 ms", "2 ms"), step=2e-4, scheme="implicit")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_same_line_goes_on_after_any_end(here, direct, sent):
    line = ("--until", "200ms", "--step", "0.2ms", "--scheme", "implicit", "--every", "2ms", "--no-paraview")
    with started(here, *line) as first:
        # The first line comes when the first step is about to be taken.
        first.stderr.readline()
        time.sleep(0.3)
        first.send_signal(sent)
        err = first.communicate()[1]
    if sent == signal.SIGKILL:
        assert first.returncode == -sent
    else:
        assert first.returncode == 130, err
        assert "the same line goes on from there" in err
        assert (here / "run" / "checkpoint.npz").exists()
        assert load(here / "run" / "solution.npz").message
    with started(here, *line) as second:
        err = second.communicate()[1]
    assert second.returncode == 0, err
    found = load(here / "run" / "solution.npz")
    assert found.times.tobytes() == direct.times.tobytes()
    assert found.values["Ca"].tobytes() == direct.values["Ca"].tobytes()
    assert not (here / "run" / "checkpoint.npz").exists()
