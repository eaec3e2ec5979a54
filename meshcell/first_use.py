"""Compile the kernels of the whole way ahead, in parallel processes that say what they are doing.

Most of the time goes into few kernels which are called one after the other. So the way runs on a tiny input without
the compiler first, which takes seconds and shows what every kernel is called with; then processes compile them side by
side. A list of types kept in a file would go stale with every edit. What two kernels call is compiled by the process
that comes first; the other one waits. Parts that are slow without the compiler are just run.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
from numba.core import config, serialize
from numba.core.types import misc

from meshcell.core import kernels

log = logging.getLogger("meshcell")

# The twelve triangles of a cube whose corner k lies at the binary digits of k; their normals point outwards.
CUBE = (
    *((0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)),
    *((2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)),
)


def warm(parts: Sequence[str] = (), *, processes: int | None = None, progress: bool = False) -> list[str]:
    """Compile the kernels of parts of the way, where that has not been done for the present sources.

    Parameters
    ----------
    parts : texts
        Of "phantoms", "surfaces", "remeshing", "tetrahedra", "simulation"; all by default.
    processes : int, optional
        By default one more than there are cores, as some wait for what others compile.
    progress : bool
        Show a bar which says what is being compiled.

    Returns
    -------
    list of texts
        The parts that were cold.

    Raises
    ------
    ValueError
        There is no such part, or fewer than one process.
    RuntimeError
        A process failed; what it printed is in the text.
    """
    known = (*RUN, *RECORDED)
    unknown = set(parts) - set(known)
    if unknown:
        raise ValueError(f"warm knows the parts {', '.join(known)}; got {', '.join(sorted(unknown))}")
    if processes is not None and processes < 1:
        raise ValueError(f"warm needs at least one process; got processes={processes}")
    if config.DISABLE_JIT:
        return []
    markers = {part: kernels.marker(f"{part}.warm") for part in known if not parts or part in parts}
    # Where nothing can be kept, compiling ahead is in vain.
    cold = {part: marker for part, marker in markers.items() if marker is not None and not marker.exists()}
    if cold:
        began = time.monotonic()
        n = _compile_all(list(cold), processes or (os.cpu_count() or 1) + 1, progress)
        for marker in cold.values():
            marker.touch()
        log.info("warm: %s: %d kernels compiled in %.0f s", ", ".join(cold), n, time.monotonic() - began)
    return list(cold)


def _compile_all(parts: list[str], n_processes: int, progress: bool) -> int:
    """Run and compile what the parts need; return the number of calls from Python that were compiled for."""
    tasks: queue.Queue[dict[str, Any] | None] = queue.Queue()
    for part in parts:
        if part in RUN:
            tasks.put({"run": part})
    recorded = [part for part in parts if part in RECORDED]
    with _shown(tasks.qsize(), progress) as show, ThreadPoolExecutor(n_processes) as pool:
        work = [pool.submit(_work, tasks, show) for _ in range(n_processes)]
        try:
            found = _recorded(recorded) if recorded else []
            show(len(found))
            for task in found:
                tasks.put(task)
        finally:
            for _ in work:
                tasks.put(None)
        for done in work:
            done.result()
    return len(found)


def _recorded(parts: list[str]) -> list[dict[str, Any]]:
    """Find what kernels the parts call, and with what types; the longest first."""
    with _child("record", *parts) as (child, complaints):
        said = child.communicate()[0]
        if child.returncode:
            raise _failure(child, complaints, "finding what to compile")
    return sorted(map(json.loads, said.splitlines()), key=lambda task: -task["size"])


def _work(tasks: queue.Queue[dict[str, Any] | None], show: Callable[[int], None]) -> None:
    """Hand tasks to a process of its own, one after the other."""
    with _child("work") as (child, complaints):
        assert child.stdin is not None and child.stdout is not None
        while (task := tasks.get()) is not None:
            try:
                child.stdin.write(json.dumps(task) + "\n")
                child.stdin.flush()
                done = child.stdout.readline()
            except BrokenPipeError:
                done = ""
            if not done:
                what = task.get("run") or f"compiling {task['module']}.{task['name']}"
                raise _failure(child, complaints, what)
            show(-1)


def _failure(child: subprocess.Popen[str], complaints: IO[str], what: str) -> RuntimeError:
    child.wait()
    complaints.seek(0)
    return RuntimeError(f"{what} ended with code {child.returncode}: {complaints.read()[-2000:].strip()}")


@contextmanager
def _child(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Start this module in a process of its own, which does not outlive us; give it and what it complains of."""
    path = os.pathsep.join(str(Path(entry or ".").resolve()) for entry in sys.path)
    optimised = ["-O"] * sys.flags.optimize
    # A file, as a pipe that nobody reads fills.
    with tempfile.TemporaryFile("w+") as complaints:
        child = subprocess.Popen(
            [sys.executable, *optimised, "-m", __name__, *arguments],
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        assert child.stdin is not None
        with child:
            try:
                yield child, complaints
            finally:
                child.kill()
                # What was not read any more would fail once more.
                with suppress(BrokenPipeError):
                    child.stdin.close()


@contextmanager
def _shown(n: int, progress: bool) -> Iterator[Callable[[int], None]]:
    """Show how many are done and which kernels are in work; the function adds tasks, or takes one off with -1.

    Where there is no terminal, a line every few seconds.
    """
    from tqdm import tqdm

    form = "compiling kernels, once: {bar:20} {n}/{total} {elapsed} {desc}"
    over, terminal = threading.Event(), sys.stderr.isatty()
    with tqdm(total=n, disable=not progress or not terminal, bar_format=form) as bar:
        total, done, began = n, 0, time.monotonic()

        def show(more: int) -> None:
            nonlocal total, done
            total, done = total + max(more, 0), done + max(-more, 0)

        def watch() -> None:
            while not over.wait(0.5 if terminal else 10):
                names = ", ".join(name.rpartition(".")[2].lstrip("_") for name in kernels.in_work())
                if not terminal:
                    took = time.monotonic() - began
                    sys.stderr.write(f"compiling kernels, once: {done}/{total} after {took:.0f} s, now {names}\n")
                bar.total, bar.n = total, done
                bar.set_description_str(textwrap.shorten(names, 60, placeholder=" ..."))

        watcher = threading.Thread(target=watch, daemon=True)
        if progress:
            watcher.start()
        try:
            yield show
        finally:
            over.set()
            if progress:
                watcher.join()
            bar.n, bar.total = done, total
            bar.set_description_str("")


# In the child processes


def _record(parts: Sequence[str]) -> None:
    """Run parts without the compiler, and write what kernels are called from Python, and with what types."""
    found: dict[tuple[Any, ...], int] = {}
    depth = 0

    def recorder(kernel: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def called(*args: Any, **given: Any) -> Any:
            nonlocal depth
            if depth == 0:
                found.setdefault((function, _types(kernel, function, args, given)), 0)
            depth += 1
            try:
                return function(*args, **given)
            finally:
                depth -= 1

        return called

    kernels.recorder = recorder
    # Hashes overflow, and numpy says so.
    warnings.simplefilter("ignore")
    for part in parts:
        RECORDED[part]()
    for function, kinds in found:
        task = {"module": function.__module__, "name": function.__name__, "size": _size(function, set())}
        sys.stdout.write(json.dumps(task | {"types": serialize.dumps(kinds).hex()}) + "\n")


def _types(kernel: Any, function: Callable[..., Any], args: Any, given: Any) -> tuple[Any, ...]:
    """Return the types for which a call compiles."""
    bound = inspect.signature(function).bind(*args, **given).arguments
    return tuple(
        kernel.typeof_pyval(bound[name]) if name in bound else misc.Omitted(parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
    )


def _size(function: Callable[..., Any], seen: set[Any]) -> int:
    """Count the bytes of a kernel and of all that it calls: a guess at the time that it takes."""
    seen.add(function)
    size = len(function.__code__.co_code)
    for name in function.__code__.co_names:
        callee = getattr(function.__globals__.get(name), "__wrapped__", None)
        if callee is not None and callee not in seen:
            size += _size(callee, seen)
    return size


def _obey() -> None:
    """Do the tasks that come line by line, and answer each."""
    for line in sys.stdin:
        task = json.loads(line)
        if "run" in task:
            RUN[task["run"]]()
        else:
            kernel = getattr(import_module(task["module"]), task["name"])
            kernel.compile(pickle.loads(bytes.fromhex(task["types"])))
        sys.stdout.write("done\n")
        sys.stdout.flush()


# The parts


def _remeshing() -> None:
    from meshcell.surfaces.remeshing import remesh

    remesh(_nested_cubes(), edge=0.4, rounds=1)


def _tetrahedra() -> None:
    from meshcell.meshing.tetrahedra import tetrahedralize

    # Angles that no such mesh can have: every kind of improvement is tried, new points in the fourth round.
    tetrahedralize(_nested_cubes(), edge=0.4, min_dihedral=50.0, recondition=False, rounds=5)


def _phantoms() -> None:
    from meshcell.phantoms import spine

    spine("60 nm", rng=7)


def _surfaces() -> None:
    from meshcell.geometry.quality import angles
    from meshcell.surfaces.extraction import extract
    from meshcell.surfaces.smoothing import smooth

    angles(smooth(extract(_nested_voxels())))


def _simulation() -> None:
    from meshcell import demo
    from meshcell.analysis.quantities import mean
    from meshcell.solving.solver import solve

    mesh = _nested_blocks()
    mean(solve(mesh, demo.calcium_model(_nested_voxels()), [0.0, 0.001, 0.01]), "Ca")


RUN: dict[str, Callable[[], None]] = {"simulation": _simulation, "phantoms": _phantoms}
RECORDED: dict[str, Callable[[], None]] = {"surfaces": _surfaces, "remeshing": _remeshing, "tetrahedra": _tetrahedra}


def _nested_voxels() -> Any:
    """Return labels of cytosol around endoplasmic reticulum."""
    from meshcell.core.types import Volume

    labels = np.zeros((6, 7, 8), np.uint8)
    labels[1:-1, 1:-1, 1:-1] = 1
    labels[2:4, 2:5, 2:6] = 2
    return Volume(labels, (0.1, 0.1, 0.1), names={1: "cytosol", 2: "er"})


def _nested_cubes() -> Any:
    """Return the surface of a cube of 1 um of cytosol around one of endoplasmic reticulum."""
    from meshcell.core.types import Surface

    corners = np.array([[k >> 2 & 1, k >> 1 & 1, k & 1] for k in range(8)], float)
    triangles = np.array(CUBE, np.int32)
    return Surface(
        np.concatenate([corners, 0.3 + 0.4 * corners]),
        np.concatenate([triangles, triangles + 8]),
        np.repeat(np.array([[1, 0], [2, 1]], np.int32), len(triangles), axis=0),
        {1: "cytosol", 2: "er"},
        resolution=(0.1, 0.1, 0.1),
    )


def _nested_blocks() -> Any:
    """Return a lattice of tetrahedra with the same regions."""
    from meshcell.core import adjacency
    from meshcell.core.types import TetMesh
    from meshcell.meshing.tetgen import kuhn_lattice

    points, tets = kuhn_lattice((9, 9, 9), np.zeros(3), np.full(3, 0.125))
    inner = (np.abs(points[tets].mean(axis=1) - 0.5) < 0.25).all(axis=1)
    regions = np.where(inner, 2, 1).astype(np.int32)
    facets, sides = adjacency.interface_facets(tets, regions, adjacency.tet_neighbours(tets, len(points)))
    return TetMesh(points, tets, regions, facets, sides, {1: "cytosol", 2: "er"})


if __name__ == "__main__":
    if sys.argv[1] == "record":
        _record(sys.argv[2:])
    else:
        _obey()
