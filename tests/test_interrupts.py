"""Ctrl-C is heard within a second in long functions, as their kernels work in slices; which change nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import meshcell as mc
from gallery.blocks import blocks
from gallery.labels import halves
from meshcell.core.slices import sliced, stretches
from meshcell.geometry.intersections import intersecting_pairs

# What is called in slices: where it says how many rows are taken at a time.
SLICES = (
    *("geometry.intersections.LOOKED_AT", "surfaces.fitting.MOVED", "surfaces.remeshing.MOVED"),
    *("surfaces.quadrics.TRIED", "surfaces.sizing.MEASURED"),
    *("meshing.lattice_fitting.FITTED", "phantoms.crowds.packing.AT_A_TIME"),
)
# What is run, see `interrupted.py`, and on how many voxels along each axis.
RUNS = [("check", 128), ("self_intersections", 160), ("smooth", 128), ("decimate", 80), ("remesh", 80)]
RUNS += [("improve", 32), ("lattice", 96), ("crowd", 240)]


@pytest.mark.parametrize("n", [0, 1, 6, 7])
def test_stretches_cover_all_rows_once(n):
    assert [row for first, last in stretches(n, 3) for row in range(first, last)] == list(range(n))
    assert sliced(lambda step, first, last: step * (last - first), n, 3, 2) == 2 * n


@pytest.fixture
def in_tiny_slices(monkeypatch):
    for name in SLICES:
        monkeypatch.setattr(f"meshcell.{name}", 7)


@pytest.fixture(scope="module")
def surface():
    return mc.smooth(mc.extract(halves(8)))


@pytest.fixture(scope="module")
def whole(surface):
    return mc.remesh(surface, edge=2.0 * np.mean(surface.resolution)), mc.decimate(surface, max_error=0.5)


def test_tiny_slices_change_no_surface(surface, whole, in_tiny_slices):
    again = mc.remesh(surface, edge=2.0 * np.mean(surface.resolution)), mc.decimate(surface, max_error=0.5)
    for before, after in zip(whole, again, strict=True):
        np.testing.assert_array_equal(after.points, before.points)
        np.testing.assert_array_equal(after.triangles, before.triangles)


def few(rng=3):
    return mc.crowd((40, 40, 40), "1 nm", macromolecules=[mc.phantoms.Macromolecule("hsp70", 0.1)], rng=rng)


@pytest.fixture(scope="module")
def made():
    return mc.tetrahedralize(halves(6), edge=2.0, method="lattice"), few()


def test_tiny_slices_change_no_lattice_and_no_crowd(made, in_tiny_slices):
    mesh, sample = mc.tetrahedralize(halves(6), edge=2.0, method="lattice"), few()
    np.testing.assert_array_equal(mesh.points, made[0].points)
    assert sample.labels.data.any()
    np.testing.assert_array_equal(sample.instances.data, made[1].instances.data)


def test_tiny_slices_find_the_same_pairs(monkeypatch):
    rng = np.random.default_rng(0)
    points, triangles = rng.random((60, 3)), rng.permutation(60).reshape(-1, 3).astype(np.int32)
    found = intersecting_pairs(points, triangles)
    monkeypatch.setattr("meshcell.geometry.intersections.LOOKED_AT", 1)
    assert len(found) > 3
    np.testing.assert_array_equal(intersecting_pairs(points, triangles), found)


@pytest.mark.parametrize("surface", [mc.extract(blocks((2, 2, 2), 8))])
def test_decimation_shows_its_stages(surface, capsys):
    mc.decimate(surface, max_error=0.001, progress=True)
    assert "decimate: done" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the CPU time of another process from /proc")
@pytest.mark.parametrize("after", [0.5, 2.0])
@pytest.mark.parametrize("name, size", RUNS)
def test_ctrl_c_is_heard(name, size, after):
    # A neighbour on the same cores only ever adds to it: what is heard late twice is late.
    assert heard_after(name, size, after) < 1.0 or heard_after(name, size, after) < 1.0


def heard_after(name, size, after):
    """Return the CPU time, without that of the system, between Ctrl-C and its exception."""
    here = Path(__file__).parent
    run = subprocess.Popen(
        [sys.executable, str(here / "interrupted.py"), name, str(size), "16"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent), str(here)]), "NUMBA_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.stdout.readline() == "begins\n"
    begun = sum(cpu_of(run.pid))
    while sum(cpu_of(run.pid)) < begun + after:
        assert running(run.pid), "it ended before it was stopped: give it more to do"
        time.sleep(0.01)
    before = cpu_of(run.pid)[0]
    run.send_signal(signal.SIGINT)
    said, error = run.communicate()
    assert error.rstrip().endswith("KeyboardInterrupt")
    return float(said.removeprefix("heard at ")) - before


def running(pid):
    """Tell whether a process works on; one that has ended waits in /proc to be noticed."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def cpu_of(pid):
    """Return the seconds of CPU that a process has used, its own and those of the system for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in fields[11:13]]
