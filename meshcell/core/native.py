"""Native code at arm's length: in a child process with limits, because it can crash, hang, exit or fill the memory.

The child is started as `python -m meshcell.core.native`, with arrays in files of a temporary folder. So it works in
notebooks and in scripts without a `__main__` guard, and nothing that native code prints or leaves behind gets out.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.errors import NativeError

# Of what native code printed, this much of the end goes into an error.
MAX_OUTPUT = 1500
# Of Linux' prctl.
PR_SET_PDEATHSIG = 1


def run_limited(
    function: Callable[..., Mapping[str, Any]],
    arguments: Mapping[str, Any],
    *,
    seconds: float,
    memory: float | None = None,
    what: str,
) -> dict[str, Array]:
    """Run a function in a child process that is ended when it takes too long or too much memory.

    Parameters
    ----------
    function : callable
        At the top level of a module that can be imported; called with `arguments` as keywords, returns a mapping of
        arrays.
    arguments : dict of arrays, numbers and texts
    seconds : float
        Wall time, s.
    memory : float, optional
        Bytes beyond what the started process takes; by default three quarters of the machine's. Not enforced where
        the operating system cannot (Windows, macOS).
    what : str
        Names the work in errors: "TetGen".

    Returns
    -------
    dict[str, array]

    Raises
    ------
    NativeError
        The child hung, crashed, ran out of memory or raised an error; what it printed is in the text.

    Examples
    --------
    >>> run_limited(describe, {"points": np.zeros((5, 3))}, seconds=60, what="an example")["shape"]
    array([5, 3])
    """
    if function.__module__ == "__main__" or "." in function.__qualname__:
        raise ValueError(
            f"{what} should be a function at the top level of a module that a child process can import; got "
            f"{function.__module__}.{function.__qualname__}"
        )
    if not seconds > 0 or (memory is not None and not memory > 0):
        raise ValueError(f"{what} needs limits above 0; got seconds={seconds!r}, memory={memory!r}")
    limit = _three_quarters() if memory is None else int(memory)
    # The child may leave files behind; they vanish with its working folder.
    with tempfile.TemporaryDirectory(prefix="meshcell-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _store(folder / "arguments.npz", arguments)
        order = {
            "module": function.__module__,
            "function": function.__name__,
            "path": [str(Path(entry or ".").resolve()) for entry in sys.path],
            "memory": limit,
            "seconds": math.ceil(seconds) * (os.cpu_count() or 1) + 10,
            "parent": os.getpid(),
        }
        (folder / "order.json").write_text(json.dumps(order))
        code = _wait(folder, seconds)
        # Native code may also end the process as if all were well.
        if code != 0 or not (folder / "results.npz").exists():
            raise _failure(folder, code, what, seconds, limit)
        with np.load(folder / "results.npz", allow_pickle=False) as results:
            return {key: results[key] for key in results.files}


def describe(points: Array) -> dict[str, Any]:
    """Return the shape of an array: the least that a child process can do."""
    return {"shape": points.shape}


def _store(path: Path, values: Mapping[str, Any]) -> None:
    arrays: dict[str, Any] = {key: np.asarray(value) for key, value in values.items()}
    pickled = [key for key, array in arrays.items() if array.dtype.hasobject]
    if pickled:
        raise TypeError(
            f"only arrays, numbers and texts can be passed to a child process; {', '.join(pickled)} are not"
        )
    np.savez(path, **arrays)


# --- the parent's side ---


def _three_quarters() -> int:
    if not hasattr(os, "sysconf"):
        return 2**62
    return int(0.75 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _wait(folder: Path, seconds: float) -> int | None:
    """Start the child and return its exit code, None if its time was over."""
    # -P: a tetgen.py in the user's folder must not be taken for the library.
    command = [sys.executable, "-P", "-m", "meshcell.core.native", str(folder)]
    # The child finds meshcell where this process has it, installed or not.
    home = str(Path(__file__).resolve().parents[2])
    paths = [path for path in (os.environ.get("PYTHONPATH"), home) if path]
    with (folder / "output.txt").open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        try:
            return child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # Also on Ctrl-C, and whatever else may end the waiting.
            if child.poll() is None:
                child.kill()
                child.wait()


def _failure(folder: Path, code: int | None, what: str, seconds: float, memory: int) -> NativeError:
    printed = (folder / "output.txt").read_text(errors="replace").strip()
    said = f"; it printed: ...{printed[-MAX_OUTPUT:]}" if printed else ""
    report = folder / "error.json"
    error = json.loads(report.read_text()) if report.exists() else None
    if code is None:
        return NativeError(
            f"{what} should end within {seconds:g} s and did not; allow more time, or mesh coarser", "time"
        )
    if (error and error["type"] == "MemoryError") or "bad_alloc" in printed:
        return NativeError(
            f"{what} needs more than the {memory / 2**30:.3g} GiB of memory that it may take; mesh coarser{said}",
            "memory",
        )
    if error:
        return NativeError(f"{what} failed: {error['type']}: {error['text']}{said}", "error")
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; the system may have ended it for lack of memory" if name == "SIGKILL" else ""
        return NativeError(f"{what} crashed with {name}{hint}; check the surface with check(surface){said}", "crash")
    return NativeError(f"{what} ended the process with exit code {code}; check the surface{said}", "crash")


# --- the child's side ---


def _limit(memory: int, seconds: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    # No core files; and should the parent be killed where that is not noticed, the child does not run for ever.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        total = taken + memory if most == resource.RLIM_INFINITY else min(taken + memory, most)
        resource.setrlimit(resource.RLIMIT_AS, (total, most))


def _follow(parent: int) -> None:
    """End this process when its parent ends, however that happens; only Linux can."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have ended before it could be followed.
    if os.getppid() != parent:
        os._exit(1)


def _child(folder: Path) -> int:
    order = json.loads((folder / "order.json").read_text())
    _follow(order["parent"])
    sys.path.extend(entry for entry in order["path"] if entry not in sys.path)
    function = getattr(importlib.import_module(order["module"]), order["function"])
    with np.load(folder / "arguments.npz", allow_pickle=False) as stored:
        arguments = {key: stored[key] if stored[key].ndim else stored[key].item() for key in stored.files}
    _limit(order["memory"], order["seconds"])
    try:
        results = function(**arguments)
        _store(folder / "results.npz", results)
    except Exception as error:
        (folder / "error.json").write_text(json.dumps({"type": type(error).__name__, "text": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_child(Path(sys.argv[1])))
