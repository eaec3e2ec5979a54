"""Checkpoints: the same bytes after any kind of end, and only for the run that wrote them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gallery.balls import round_ball
from gallery.interruptions import full_disk, stop_after, write_always
from meshcell.core.errors import SolveError
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.solver import solve

TIMES = np.linspace(0, 1, 6)


def growth(speed=3.0):
    species = [Species("u", "ball", 0.5, "0.1 + 0.05*x"), Species("v", "ball", 20, 1)]
    reactions = [Reaction("r", "ball", "k*u*v", {"u": 1, "v": -1}), Reaction("s", "ball", "50*(1 - v)", {"v": 1})]
    return Model({"ball": "ball"}, species, reactions, {"k": speed})


def run(path=None, times=TIMES, **options):
    return solve(round_ball(4), growth(), times, checkpoint=path, **options)


def same(one, two):
    return all(one.values[name].tobytes() == two.values[name].tobytes() for name in one.values)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scheme": "implicit"},
        {"scheme": "imex", "events": 0.33},
        {"step": 0.03, "events": 0.33},
        # Some of these are passed and some not.
        {"times": np.linspace(0, 1, 301)},
    ],
)
@pytest.mark.parametrize("calls", [7, 40, 75])
def test_a_run_that_was_interrupted_goes_on_with_the_same_bytes(tmp_path, monkeypatch, options, calls):
    whole = run(**options)
    write_always(monkeypatch)
    path = tmp_path / "run.npz"
    with monkeypatch.context() as patch:
        stop_after(patch, calls + 6)
        part = run(path, **options)
    assert "interrupted" in part.message
    assert part.stats["steps"] < whole.stats["steps"]
    rest = run(path, **options)
    assert same(rest, whole)
    counts = ("steps", "imex_steps", "implicit_steps", "linear_iterations")
    assert [rest.stats[name] for name in counts] == [whole.stats[name] for name in counts]
    # A finished run comes back at once.
    monkeypatch.setattr(Discretisation, "linearise", None)
    monkeypatch.setattr("meshcell.solving.linear.diffusion.relax", None)
    assert same(run(path, **options), whole)


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from meshcell.solving import checkpoints
checkpoints.PAUSE = checkpoints.PAUSE_SHARE = 0.0
import test_checkpoints
test_checkpoints.run(test_checkpoints.Path(sys.argv[2]), rtol=1e-9, scheme="imex")
"""


def test_a_run_that_was_killed_goes_on_with_the_same_bytes(tmp_path):
    path = tmp_path / "run.npz"
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(path)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.1)
    # It writes after each step, so that it is most likely killed while it does.
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with np.load(path) as archive:
        assert 1 <= len(archive["values"]) < len(TIMES)
    assert same(run(path, rtol=1e-9, scheme="imex"), run(rtol=1e-9, scheme="imex"))


def test_checkpoints_of_other_runs_and_other_files_are_refused(tmp_path):
    path = tmp_path / "run.npz"
    run(path)
    mesh = round_ball(4)
    for what, others in {
        "models": (mesh, growth(3.1), TIMES),
        "meshes and models": (round_ball(3), growth(), TIMES),
        "times": (mesh, growth(), TIMES[:-1]),
    }.items():
        with pytest.raises(ValueError, match=rf"run.npz is the checkpoint of another run: .*{what}"):
            solve(*others, checkpoint=path)
    with pytest.raises(ValueError, match="another run: options differ; remove it or name another file"):
        run(path, rtol=1e-5)
    whole = path.read_bytes()
    for bad in (b"", b"not a checkpoint", whole[: len(whole) // 2]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="should be a checkpoint of solve; it cannot be read as one"):
            run(path)
    with pytest.raises(ValueError, match="a file in a folder that exists"):
        run(tmp_path / "nowhere" / "run.npz")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"scheme": "implicit"}),
        ({"scheme": "implicit"}, {"scheme": "imex"}),
        ({"step": 0.02, "scheme": "imex"}, {"step": 0.02, "scheme": "imex2"}),
        ({}, {"step": 0.02}),
        ({}, {"events": 0.033}),
        ({"events": 0.033}, {"events": (0.033, 0.05)}),
        ({}, {"atol": 1e-6}),
        ({"atol": 1e-6}, {"atol": {"u": 1e-6}}),
        ({"atol": {"u": 1e-6}}, {"atol": {"u": 1e-5}}),
    ],
)
def test_a_checkpoint_is_of_its_scheme_steps_events_and_tolerances(tmp_path, one, other):
    """Whichever of the two wrote the file, the other is told so; and the file stays the writer's own."""
    short = np.linspace(0, 0.1, 3)
    for mine, theirs in ((one, other), (other, one)):
        path = tmp_path / "run.npz"
        finished = run(path, short, **mine)
        with pytest.raises(ValueError, match="another run: options differ; remove it or name another file"):
            run(path, short, **theirs)
        assert same(run(path, short, **mine), finished)
        path.unlink()


def test_a_full_disk_stops_a_run_with_what_was_computed(tmp_path, monkeypatch):
    pytest.importorskip("resource")
    path, whole = tmp_path / "run.npz", run()
    with monkeypatch.context() as patch:
        stop_after(patch, 30)
        run(path)
    before = path.read_bytes()
    write_always(monkeypatch)
    told = r"stopped at t = 0\.\d+ s: the checkpoint .*run.npz cannot be written \(.*\); the last one that could"
    with full_disk(), pytest.raises(SolveError, match=told) as error:
        run(path)
    assert 0 < error.value.solution.stats["time"] < 1
    assert error.value.args[0].count("cannot be written") == 1
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["run.npz"]
    assert same(run(path), whole)


def test_a_finished_run_is_not_lost_with_its_last_checkpoint(tmp_path, caplog):
    pytest.importorskip("resource")
    with full_disk():
        found = run(tmp_path / "run.npz")
    assert found.message == ""
    assert same(found, run())
    assert "the run is finished, but the checkpoint" in caplog.text
    assert not list(tmp_path.iterdir())
