"""Measure the first use of `meshcell demo`; prints Markdown tables. CPU seconds are user + system, all processes.

    python tests/bench_first_use.py [--no-pictures]

"Empty" starts without compiled kernels, "warm" is the same once more. Each runs in a process and a cache of its own.
"""

import argparse
import platform
import resource
import tempfile
import time
from pathlib import Path

import numba

from gallery.first_use import compilations, compile_seconds, run_python

DEMO = "from meshcell.cli import main; main({!r})"


def seconds(cache, folder, *options):
    """Run `meshcell demo`; return CPU and wall seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run_python(cache, "-c", DEMO.format(["demo", str(folder), *options]))
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall


def timings(base, *options):
    """Return one row of the table: the demonstration with an empty and with a warm cache."""
    (cpu, wall), (warm_cpu, warm_wall) = (seconds(base / "kernels", base / "files", *options) for _ in range(2))
    name = " ".join(["meshcell demo", *options])
    return (
        f"| `{name}` | {cpu:.1f} | {warm_cpu:.1f} | {cpu / warm_cpu:.2f} "
        f"| {wall:.1f} | {warm_wall:.1f} | {wall / warm_wall:.2f} |"
    )


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-pictures", action="store_true", help="where there is no OpenGL")
    without_pictures = parser.parse_args().no_pictures
    print(f"Python {platform.python_version()}, numba {numba.__version__}, {platform.machine()}\n")
    print("| command | CPU s, empty | warm | ratio | wall s, empty | warm | ratio |\n|---|---|---|---|---|---|---|")
    for options in [("--no-pictures",)] if without_pictures else [("--no-pictures",), ()]:
        with tempfile.TemporaryDirectory() as base:
            print(timings(Path(base), *options), flush=True)
    with tempfile.TemporaryDirectory() as base:
        taken = compile_seconds(Path(base) / "kernels", Path(base) / "files")
        found = compilations(Path(base) / "kernels")
    print(
        f"\n{found.total()} compilations of {len(found)} kernels, {found.total() / len(found):.3f} per kernel; ", end=""
    )
    print(f"{sum(taken.values()):.1f} CPU s in all. The slowest:\n\n| kernel | CPU s |\n|---|---|")
    for kernel, cpu in sorted(taken.items(), key=lambda item: -item[1])[:10]:
        print(f"| `{kernel}` | {cpu:.2f} |")


if __name__ == "__main__":
    main()
