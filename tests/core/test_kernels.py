"""Compiled kernels are kept, and never older than any source: laws on a little package with a copy of the module."""

import ast
import importlib
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numba
import pytest
from numba.core import config
from numba.core.dispatcher import Dispatcher

import meshcell
from meshcell.core import kernels

INNER = """
from little.kernels import njit

@njit(cache=True)
def inner(x):
    return x + 1
"""
OUTER = """
from little.inner import inner
from little.kernels import njit

@njit(cache=True)
def outer(x):
    return 10 * inner(x)
"""
# Value for an integer, and how many kernels had to be compiled for it (the inner one only within the outer one).
RUN = """
from little.inner import inner
from little.outer import outer
print(outer(1), sum(outer.stats.cache_misses.values()) + sum(inner.stats.cache_misses.values()))
"""
# Many types in few kernels: what one process numbers must not be taken for what another one does.
MANY = """
import random, sys
import numpy as np
from little.outer import outer
kinds = [np.int8, np.int16, np.int32, np.int64, np.float32, np.float64]
random.Random(int(sys.argv[1])).shuffle(kinds)
for kind in kinds:
    value = outer(np.full(3, 4, kind))
    assert value.tolist() == [50, 50, 50], (kind, value)
print(sum(outer.stats.cache_misses.values()))
"""


@pytest.fixture
def little(tmp_path):
    """Folder of a package of two kernels, of which one calls the other, in another file."""
    folder = tmp_path / "little"
    folder.mkdir()
    for name, text in {"__init__": "", "inner": INNER, "outer": OUTER, "plain": "SIZE = 3\n"}.items():
        (folder / f"{name}.py").write_text(text)
    shutil.copy(kernels.__file__, folder / "kernels.py")
    return folder


@pytest.fixture
def here(little, monkeypatch):
    """The copy of the module, loaded into this process."""
    monkeypatch.syspath_prepend(little.parent)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(little.parent / "cache"))
    # Where the tests run with a cache of their own, as in CI, the little package's place counts all the same.
    monkeypatch.setattr(config, "CACHE_DIR", "")
    yield importlib.import_module("little.kernels")
    for name in [name for name in sys.modules if name.partition(".")[0] == "little"]:
        del sys.modules[name]


def started(little, code, *arguments, options=(), **environment):
    """Start Python on a text, with a home of its own; what it says on stderr is to be looked at."""
    # Python itself takes an old .pyc for a source of the same size that was edited within a second.
    unset = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "NUMBA_DISABLE_JIT")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    own = {"HOME": str(little.parent / "home"), "PYTHONPATH": str(little.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *options, "-c", code, *arguments]
    return subprocess.Popen(
        command,
        env=inherited | own | environment,
        cwd=little.parent,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process):
    """Return stdout and stderr of a process that must have succeeded."""
    said, complained = process.communicate(timeout=300)
    assert process.returncode == 0, complained
    return said.strip(), complained


def ran(little, code=RUN, **options):
    said, complained = ended(started(little, code, **options))
    assert complained == ""
    return said


def kept(little):
    return sorted(little.parent.rglob("*.nbc"))


def test_an_edit_of_a_callee_reaches_its_callers(little):
    assert ran(little) == "20 2"
    assert ran(little) == "20 0"
    (little / "inner.py").write_text(INNER.replace("x + 1", "x + 2"))
    assert ran(little) == "30 2"
    # Who goes back finds what was compiled before.
    (little / "inner.py").write_text(INNER)
    assert ran(little) == "20 0"
    assert all(file.is_relative_to(little / "__pycache__" / "kernels") for file in kept(little))
    assert len(kept(little)) == 4


def test_the_key_is_of_contents_and_not_of_times(little, here):
    def key():
        here._sources.cache_clear()
        here.key.cache_clear()
        return here.key()

    first = key()
    os.utime(little / "inner.py", (1, 1))
    (little / "plain.py").write_text("SIZE = 4\n")
    assert key() == first
    (little / "inner.py").write_text(INNER.replace("x + 1", "x + 2"))
    second = key()
    (little / "inner.py").rename(little / "moved.py")
    third = key()
    (little / "room").mkdir()
    (little / "room" / "new.py").write_text(INNER)
    assert len({first, second, third, key()}) == 4


@pytest.mark.parametrize("different", [{"options": ["-O"]}, {"NUMBA_OPT": "1"}, {"NUMBA_BOUNDSCHECK": "1"}])
def test_what_shapes_machine_code_is_in_the_key(little, here, different):
    assert ran(little, "from little.kernels import key; print(key())", **different) != here.key()


def test_edited_under_a_running_process_is_right_and_not_kept(little, here):
    assert importlib.import_module("little.inner").inner(1) == 2
    assert len(kept(little)) == 1
    (little / "outer.py").write_text(OUTER.replace("10 *", "100 *"))
    assert importlib.import_module("little.outer").outer(1) == 200
    assert len(kept(little)) == 1


def test_another_place_where_the_package_cannot_be_written(little):
    # A file where the folder would be keeps root out, too.
    (little / "__pycache__").write_text("")
    assert ran(little) == "20 2"
    assert ran(little) == "20 0"
    assert all(file.is_relative_to(little.parent / "home") for file in kept(little))


def test_a_temporary_place_without_a_home(little):
    (little / "__pycache__").write_text("")
    temporary = little.parent / "temporary"
    temporary.mkdir()
    nowhere = {"HOME": "/dev/null", "TMPDIR": str(temporary)}
    said, complained = ended(started(little, RUN, **nowhere))
    assert said == "20 2"
    assert complained.count("Warning:") == 1
    assert str(temporary) in complained and "NUMBA_CACHE_DIR" in complained
    # Warm now, and nothing is written: nothing to warn of.
    assert ran(little, **nowhere) == "20 0"
    # Whoever could have put code there might have.
    (place,) = temporary.iterdir()
    place.chmod(0o777)
    said, complained = ended(started(little, RUN, **nowhere))
    assert said == "20 2"
    assert "every run compiles" in complained and complained.count("Warning:") == 1


def test_the_folder_that_numba_is_told_of(little):
    chosen = little.parent / "chosen"
    assert ran(little, NUMBA_CACHE_DIR=str(chosen)) == "20 2"
    assert ran(little, NUMBA_CACHE_DIR=str(chosen)) == "20 0"
    assert all(file.is_relative_to(chosen) for file in kept(little))


def test_a_full_disk_costs_a_warning(little, here, monkeypatch):
    def full(path, contents):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(here, "_write", full)
    with pytest.warns(UserWarning, match="No space left.*NUMBA_CACHE_DIR") as caught:
        assert importlib.import_module("little.outer").outer(1) == 20
    assert len(caught) == 1


def test_from_a_zip_file(little):
    packed = little.parent / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in little.glob("*.py"):
            archive.write(file, f"little/{file.name}")
    shutil.rmtree(little)
    assert ran(little, PYTHONPATH=str(packed)) == "20 2"
    assert ran(little, PYTHONPATH=str(packed)) == "20 0"


def test_processes_that_compile_at_once(little):
    together = [started(little, MANY, str(seed)) for seed in range(4)]
    compiled, complained = zip(*map(ended, together), strict=True)
    assert complained == ("",) * 4
    # Nothing was compiled twice: who came second waited.
    assert sum(map(int, compiled)) == 6
    assert ended(started(little, MANY, "9"))[0] == "0"
    assert len(kept(little)) == 12
    assert {file.suffix for file in kept(little)[0].parent.iterdir()} == {".nbc"}


def test_types_that_do_not_fit_leave_no_lock(little, here):
    outer = importlib.import_module("little.outer").outer
    with pytest.raises(numba.TypingError):
        outer("one")
    assert outer(1) == 20
    assert {file.suffix for file in kept(little)[0].parent.iterdir()} == {".nbc"}


def test_killed_in_the_middle(little):
    for n in (1, 5):
        process = started(little, MANY, "1")
        while len(kept(little)) < n and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert 0 < len(kept(little)) < 12
    assert ended(started(little, MANY, "2"))[1] == ""
    assert ended(started(little, MANY, "3")) == ("0", "")


def test_damaged_files_are_compiled_anew(little, here):
    assert ran(little) == "20 2"
    file, other = kept(little)
    whole = file.read_bytes()
    assert here._read(file) == whole[32:]
    for damaged in (b"", whole[:9], whole[:-9], whole[:99] + bytes([whole[99] ^ 1]) + whole[100:]):
        file.write_bytes(damaged)
        assert here._read(file) is None
    other.write_bytes(b"")
    assert ran(little) == "20 2"
    assert ran(little) == "20 0"


def test_old_keys_go_and_young_ones_stay(tmp_path):
    now = time.time()
    for n in range(20):
        (tmp_path / f"{n}").mkdir()
        # Twelve in the last hour, then one a day.
        os.utime(tmp_path / f"{n}", (now, now - (60 * n if n < 12 else 86400 * n)))
    kernels._forget_old(tmp_path / "19")
    assert {int(folder.name) for folder in tmp_path.iterdir()} == {*range(12), 19}
    for n in range(12):
        os.utime(tmp_path / f"{n}", (now, now - 86400 * (1 + n)))
    kernels._forget_old(tmp_path / "19")
    assert {int(folder.name) for folder in tmp_path.iterdir()} == {*range(kernels.KEPT), 19}


def test_without_the_compiler(little):
    assert ran(
        little, "from little.outer import outer; print(outer(1), type(outer).__name__)", NUMBA_DISABLE_JIT="1"
    ) == ("20 function")
    assert kept(little) == []


def test_what_a_cached_kernel_cannot_be():
    def holding(held):
        def holds(x):
            return x + held

        holds.__module__ = "meshcell.fem"
        return holds

    with pytest.raises(TypeError, match="holds variables of another"):
        kernels.njit(cache=True)(holding(1))
    with pytest.raises(TypeError, match="types come from the first call"):
        kernels.njit("f8(f8)", cache=True)


# Decorators whose functions are compiled.
KERNEL = re.compile(r"\b(njit|inner|register_jitable)\b")


def sources():
    """Path and syntax tree of every file of the package that holds kernels."""
    root = Path(meshcell.__file__).parent
    texts = {path: path.read_text() for path in root.rglob("*.py")}
    marks = [mark.decode() for mark in kernels.MARKS]
    seen = {path: text for path, text in texts.items() if any(mark in text for mark in marks)}
    return {path: ast.parse(text) for path, text in seen.items() if path.name != "kernels.py"}


def test_every_kernel_has_the_cache():
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "numba":
                assert "njit" not in [alias.name for alias in node.names], path


def test_the_key_sees_every_file_of_kernels():
    files = {
        value.py_func.__globals__["__file__"]
        for info in pkgutil.walk_packages(meshcell.__path__, "meshcell.")
        if not info.name.endswith("__main__")
        for value in vars(importlib.import_module(info.name)).values()
        if isinstance(value, Dispatcher) and value.py_func.__module__.startswith("meshcell.")
    }
    assert files <= set(kernels._sources())
    assert len(files) > 30 or config.DISABLE_JIT


def test_kernels_take_nothing_from_files_that_the_key_does_not_see():
    files, foreign = sources(), []
    for path, tree in files.items():
        imported = {
            alias.asname or alias.name: (node.module, f"{node.module}.{alias.name}")
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("meshcell.")
            for alias in node.names
        }
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and KERNEL.search(
                " ".join(map(ast.unparse, function.decorator_list))
            ):
                body = [node for part in function.body for node in ast.walk(part)]
                names = {node.id for node in body if isinstance(node, ast.Name) and node.id in imported}
                unseen = [name for name in names if not any(_seen(home, files) for home in imported[name])]
                foreign += [(path.name, function.name, name) for name in unseen]
    assert foreign == []


def _seen(module, files):
    ending = module.replace(".", "/") + ".py"
    return any(str(path).endswith(ending) for path in files)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_ctrl_c_comes_through_what_wraps_it(monkeypatch, layers):
    """Numba's and Python's code in C each call it an error of their own, made from the one before."""

    def stopped(*_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            error = interrupt
        for _ in range(layers):
            wrapped = SystemError("returned a result with an exception set")
            wrapped.__cause__, error = error, wrapped
        raise error

    kernel = kernels.njit(lambda x: x)
    monkeypatch.setattr(Dispatcher, "__call__", stopped, raising=False)
    with pytest.raises(KeyboardInterrupt):
        kernel(1)
    monkeypatch.setattr(Dispatcher, "__call__", lambda *_: (_ for _ in ()).throw(SystemError("else")), raising=False)
    with pytest.raises(SystemError, match="else"):
        kernel(1)
