"""Run the demonstration in a process and a kernel cache of its own, and say what was compiled.

As a program it prints, as JSON, the CPU seconds to compile every kernel without those that it calls.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

# One file of the kernels' cache per compilation: module.kernel-digest.nbc.
COMPILED = re.compile(r"(?P<kernel>.+)-[0-9a-f]{20}\.nbc")


def compilations(cache):
    """Return a Counter: how often each kernel was compiled, from the files of a cache that began empty."""
    return Counter(COMPILED.fullmatch(file.name)["kernel"] for file in Path(cache).rglob("*.nbc"))


def run_python(cache, *arguments):
    """Run Python with this kernel cache; return what it printed."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True)
    # Progress bars are of no interest, unless they end in an error.
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def compile_seconds(cache, folder, *, spacing="16 nm", edge="40 nm"):
    """Run the demonstration without pictures; return kernel -> CPU seconds to compile it."""
    return json.loads(run_python(cache, __file__, folder, spacing, edge))


def main(folder, spacing, edge):
    """Run the demonstration and print what every kernel took to compile."""
    from numba.core import event

    from meshcell import demo

    class Recorder(event.Listener):
        """Compilations nest: a kernel is compiled while its caller's types are found."""

        def __init__(self):
            self.stack, self.seconds = [], defaultdict(float)

        def on_start(self, event):
            self.stack.append([time.process_time(), 0.0])

        def on_end(self, event):
            start, inside = self.stack.pop()
            total = time.process_time() - start
            if self.stack:
                self.stack[-1][1] += total
            function = event.data["dispatcher"].py_func
            self.seconds[f"{function.__module__}.{function.__qualname__}"] += total - inside

    with event.install_listener("numba:compile", Recorder()) as recorder:
        demo.run(folder, spacing=spacing, edge=edge, pictures=False)
    sys.stdout.write(json.dumps(recorder.seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
