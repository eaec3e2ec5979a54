"""Data sets of samples: parallel, resumable, the same for any number of processes and threads."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import meshcell as mc
from meshcell.phantoms import Macromolecule, Recipe

RECIPE = Recipe((40, 40, 40), "1 nm", macromolecules=(Macromolecule("p97", (0.02, 0.08)),))


def written(folder):
    """Return the bytes of every file, by its path in the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_data_sets_go_on_and_do_not_depend_on_processes(tmp_path):
    alone = list(mc.samples(RECIPE, 3, rng=0, folder=tmp_path / "a"))
    shared = list(mc.samples(RECIPE, 3, rng=0, folder=tmp_path / "b", processes=2))
    assert [s.motifs.tobytes() for s in alone] == [s.motifs.tobytes() for s in shared]
    assert written(tmp_path / "a") == written(tmp_path / "b")
    assert len({s.report[0].asked for s in alone}) == 3
    before = (tmp_path / "a" / "sample_00000" / "density.mrc").stat().st_mtime_ns
    longer = list(mc.samples(RECIPE, 4, rng=0, folder=tmp_path / "a"))
    assert (tmp_path / "a" / "sample_00000" / "density.mrc").stat().st_mtime_ns == before
    assert [s.motifs.tobytes() for s in longer[:3]] == [s.motifs.tobytes() for s in alone]
    with pytest.raises(ValueError, match="of another; use another folder"):
        next(mc.samples(RECIPE, 3, rng=1, folder=tmp_path / "a"))


ENDLESS = """
import sys
import meshcell as mc
from meshcell.phantoms import Macromolecule, Recipe
recipe = Recipe((40, 40, 40), "1 nm", macromolecules=(Macromolecule("p97", (0.02, 0.08)),))
for _ in mc.samples(recipe, 500, rng=0, folder=sys.argv[1]):
    pass
"""


def test_a_killed_run_goes_on_with_the_same_bytes(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path / "killed")])
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "sample_00002").exists():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = sorted(path.name for path in (tmp_path / "killed").glob("sample_*"))
    n = len(done) + 2
    before = {name: (tmp_path / "killed" / name / "density.mrc").stat().st_mtime_ns for name in done}
    resumed = list(mc.samples(RECIPE, n, rng=0, folder=tmp_path / "killed"))
    whole = list(mc.samples(RECIPE, n, rng=0, folder=tmp_path / "whole"))
    assert [s.motifs.tobytes() for s in resumed] == [s.motifs.tobytes() for s in whole]
    assert written(tmp_path / "killed") == written(tmp_path / "whole")
    assert all((tmp_path / "killed" / name / "density.mrc").stat().st_mtime_ns == t for name, t in before.items())
    # Nothing is left of the sample that was being written.
    assert len(list((tmp_path / "killed").iterdir())) == n


MIXED = """
import hashlib
from gallery.crowds import FILAMENTS, MACROMOLECULES, MEMBRANES
import meshcell as mc
parts = {"membranes": MEMBRANES, "filaments": FILAMENTS, "macromolecules": MACROMOLECULES}
sample = mc.crowd((110, 110, 110), "1 nm", **parts, rng=4)
parts = [sample.density.data, sample.labels.data, sample.instances.data, sample.motifs]
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


def test_the_same_bytes_for_one_and_two_threads():
    found = set()
    for threads in ("1", "2"):
        names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, **dict.fromkeys(names, threads), "PYTHONPATH": path}
        found.add(
            subprocess.run([sys.executable, "-c", MIXED], env=environment, check=True, capture_output=True).stdout
        )
    assert len(found) == 1


def test_a_bar_is_shown_when_asked_for(tmp_path, capsys):
    for progress in (False, True):
        list(mc.samples(RECIPE, 2, rng=0, folder=tmp_path, progress=progress))
        assert ("2/2" in capsys.readouterr().err) == progress
