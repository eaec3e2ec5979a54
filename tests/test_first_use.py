"""What compiles ahead finds what the way needs, from the code as it stands."""

import os
import pickle
import queue
import subprocess
import sys

import pytest
from numba.core import config

from meshcell import first_use
from meshcell.surfaces import extraction

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled")

# Names the kernels that a small demonstration still has to compile.
WAY = """
import sys
from numba.core import event
from meshcell import demo

compiled = []

class Listener(event.Listener):
    def on_start(self, event):
        pass

    def on_end(self, event):
        compiled.append(event.data["dispatcher"].py_func.__name__)

event.register("numba:compile", Listener())
demo.run(sys.argv[1], spacing="20 nm", edge="80 nm", pictures=False)
print(*compiled)
"""


def test_a_part_without_the_compiler_shows_what_kernels_take():
    tasks = first_use._recorded(["surfaces"])
    kinds = {task["name"]: pickle.loads(bytes.fromhex(task["types"])) for task in tasks}
    assert {task["module"].partition(".")[0] for task in tasks} == {"meshcell"}
    extraction.extract(first_use._nested_voxels())
    assert kinds["_net_kernel"] in extraction._net_kernel.signatures
    # The longest first, or one process ends long after the others.
    sizes = [task["size"] for task in tasks]
    assert sizes == sorted(sizes, reverse=True)


def test_what_fails_says_why():
    with pytest.raises(RuntimeError, match=r"finding what to compile ended with code 1(?s:.*)KeyError: 'nonsense'"):
        first_use._recorded(["nonsense"])
    tasks = queue.Queue()
    tasks.put({"module": "nothing", "name": "kernel", "types": ""})
    with pytest.raises(RuntimeError, match=r"compiling nothing\.kernel ended with code 1(?s:.*)No module named"):
        first_use._work(tasks, lambda more: None)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"knows the parts simulation, .*; got meshes"):
        first_use.warm(["meshes"])
    with pytest.raises(ValueError, match="at least one process; got processes=0"):
        first_use.warm(processes=0)


@pytest.mark.slow
def test_after_it_the_way_compiles_next_to_nothing(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", "from meshcell.first_use import warm; print(warm()); print(warm())"]
    warmed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert warmed[1] == "[]" and "remeshing" in warmed[0]
    n_kept = len(list(tmp_path.rglob("*.nbc")))
    way = subprocess.run(
        [sys.executable, "-c", WAY, tmp_path / "demo"], env=environment, capture_output=True, text=True, check=True
    )
    assert len(way.stdout.split()) <= 0.03 * n_kept, way.stdout
