"""Native code in a child process: results come back, and whatever goes wrong becomes a clear error."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from gallery.meshes import box
from meshcell.core import native
from meshcell.core.errors import NativeError
from meshcell.core.native import run_limited
from meshcell.meshing.tetgen_call import tetgen_tetrahedra

NO_SIZES = {"size_points": np.zeros((0, 3)), "size_tets": np.zeros((0, 4), np.int32), "sizes": np.zeros(0)}


# --- what the child does ---


def twice(values, factor, word):
    return {"values": factor * values, "word": word}


def hang():
    time.sleep(600)


def linger(started):
    part = Path(started).with_suffix(".part")
    part.write_text(str(os.getpid()))
    part.rename(started)
    time.sleep(600)


def abort():
    os.write(1, b"about to abort")
    os.abort()


def exit_suddenly():
    os._exit(7)


def exit_quietly():
    os._exit(0)


def leave():
    sys.exit("no licence")


def exhaust():
    return {"values": np.ones(2**28)}


def complain():
    os.write(2, b"native details")
    raise ValueError("this surface is bad")


def leave_a_file():
    Path("left-behind.txt").write_text("x")
    return {"folder": str(Path.cwd())}


def flood():
    os.write(1, b"x" * 200_000)
    return {}


# --- tests ---


def test_arrays_numbers_and_texts_go_there_and_back():
    values = np.arange(6.0).reshape(2, 3)
    result = run_limited(twice, {"values": values, "factor": 2, "word": "ä"}, seconds=60, what="a test")
    assert np.array_equal(result["values"], 2 * values)
    assert result["word"] == "ä"


def test_a_hanging_child_is_ended():
    start = time.monotonic()
    with pytest.raises(NativeError, match=r"^a mesher should end within 2 s and did not; allow more time") as caught:
        run_limited(hang, {}, seconds=2, what="a mesher")
    assert caught.value.reason == "time"
    assert time.monotonic() - start < 60


@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_a_crash_names_the_signal_and_what_was_printed():
    with pytest.raises(NativeError, match=r"a mesher crashed with SIGABRT.*about to abort") as caught:
        run_limited(abort, {}, seconds=60, what="a mesher")
    assert caught.value.reason == "crash"


def test_a_sudden_exit_is_an_error():
    with pytest.raises(NativeError, match=r"a mesher ended the process with exit code 7"):
        run_limited(exit_suddenly, {}, seconds=60, what="a mesher")


def test_an_exit_without_results_is_an_error_too():
    with pytest.raises(NativeError, match=r"a mesher ended the process with exit code 0") as caught:
        run_limited(exit_quietly, {}, seconds=60, what="a mesher")
    assert caught.value.reason == "crash"
    with pytest.raises(NativeError, match=r"a mesher ended the process with exit code 1.*no licence"):
        run_limited(leave, {}, seconds=60, what="a mesher")


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is only enforced on Linux")
def test_memory_is_limited():
    # 2 GiB are asked for where 0.25 GiB are allowed.
    with pytest.raises(NativeError, match=r"needs more than the 0.25 GiB of memory") as caught:
        run_limited(exhaust, {}, seconds=60, memory=2**28, what="a mesher")
    assert caught.value.reason == "memory"


def test_an_error_in_the_child_keeps_its_type_and_text():
    with pytest.raises(
        NativeError, match=r"a mesher failed: ValueError: this surface is bad; .*native details"
    ) as caught:
        run_limited(complain, {}, seconds=60, what="a mesher")
    assert caught.value.reason == "error"


def test_nothing_is_left_behind_and_nothing_printed(capfd):
    folder = Path(str(run_limited(leave_a_file, {}, seconds=60, what="a test")["folder"]))
    assert not folder.exists()
    assert not Path("left-behind.txt").exists()
    assert run_limited(flood, {}, seconds=60, what="a test") == {}
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"a test should be a function at the top level of a module"):
        run_limited(Path.exists, {}, seconds=1, what="a test")
    with pytest.raises(ValueError, match=r"a test needs limits above 0; got seconds=0"):
        run_limited(twice, {}, seconds=0, what="a test")
    with pytest.raises(TypeError, match=r"only arrays, numbers and texts .*; thing are not"):
        run_limited(twice, {"thing": object()}, seconds=1, what="a test")


def test_works_from_a_script_without_a_main_guard(tmp_path):
    script = tmp_path / "tetgen.py"
    # Its name would shadow the library if the child looked into the folder of the script first.
    script.write_text(
        textwrap.dedent("""
        import numpy as np
        from meshcell.core.native import describe, run_limited
        open("count.txt", "a").write("x")
        print(run_limited(describe, {"points": np.zeros((5, 3))}, seconds=60, what="a test")["shape"])
        """)
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "[5 3]", done.stderr
    assert (tmp_path / "count.txt").read_text() == "x"


def test_the_child_takes_the_package_of_its_parent(tmp_path):
    """Also where another meshcell is installed than the one that runs."""
    package = tmp_path / "here" / "meshcell"
    shutil.copytree(Path(native.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "where.py").write_text(
        "import meshcell\ndef where():\n    return {'place': meshcell.__file__}\n"
        "if __name__ == '__main__':\n    from where import where\n    from meshcell.core.native import run_limited\n"
        "    print(run_limited(where, {}, seconds=60, what='a test')['place'])\n"
    )
    code = f"import sys; sys.path[:0] = {[str(package.parent), str(tmp_path)]!r}; import runpy; "
    code += "runpy.run_module('where', run_name='__main__')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100, env=environment
    )
    assert done.stdout.strip() == str(package / "__init__.py"), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the child in /proc")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_the_child_ends_with_the_session(tmp_path, name):
    script = tmp_path / "script.py"
    script.write_text(
        f"import signal, sys; sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]!r}\n"
        # Where the tests themselves run in the background, Ctrl-C is switched off and the switch is inherited.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from test_native import linger\nfrom meshcell.core.native import run_limited\n"
        f"run_limited(linger, {{'started': {str(tmp_path / 'started')!r}}}, seconds=300, what='a test')\n"
    )
    # A killed session cannot tidy up: its folder goes with the test's.
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True, env=env)
    started = tmp_path / "started"
    waited_for(started.exists)
    child = int(started.read_text())
    parent.send_signal(signal.Signals[name])
    _, said = parent.communicate(timeout=60)
    assert ("KeyboardInterrupt" in said) == (name == "SIGINT")
    waited_for(lambda: not running(child))


def waited_for(happened):
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.05)


def running(pid):
    """Tell whether a process works on; one that has ended may wait in /proc to be noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_tetgen_fills_a_box_and_returns_its_triangles():
    cube = box(1)
    found = run_limited(
        tetgen_tetrahedra,
        {"points": cube.points, "triangles": cube.facets, "switches": "pYq1.4", **NO_SIZES},
        seconds=60,
        what="TetGen",
    )
    corners = found["points"][found["tets"]]
    volumes = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 6
    assert volumes.sum() == pytest.approx(1, rel=1e-12)
    given = {frozenset(map(tuple, cube.points[f])) for f in cube.facets[found["markers"]]}
    assert {frozenset(map(tuple, found["points"][f])) for f in found["faces"]} == given


def test_importing_it_is_light():
    code = "import sys, meshcell.core.native, meshcell.meshing.tetgen_call; "
    code += "sys.exit(bool({'numba', 'tetgen', 'pyvista', 'sympy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=100).returncode == 0
    assert native.describe(np.zeros((2, 3)))["shape"] == (2, 3)
