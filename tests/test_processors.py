"""A published mesh is the same mesh for whoever makes it again: the same bytes on every kind of processor.

One machine shows what others compute: OpenBLAS, numpy, numba and the C library can be told to do without what the
processor has. What only a newer processor has (AVX-512) shows where the tests run on one.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from meshing_table import FAST

# A crowd uses no part of the way from labels to meshes, and noise has every kind of contact in few voxels.
QUICK = ("noise", "a crowd")
# Without fused multiply-add the C library takes other sines and logarithms.
OLD_C = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2,-AVX2_Usable"}
OLD_NUMPY = {"NPY_DISABLE_CPU_FEATURES": " ".join(name for name in __cpu_dispatch__ if __cpu_features__[name])}
OLD_NUMBA = {"NUMBA_CPU_NAME": "generic"}
KINDS = {
    "Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "Nehalem, nothing newer in numpy and C": {"OPENBLAS_CORETYPE": "Nehalem", **OLD_NUMPY, **OLD_C},
    "Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
}


def run(code, kind):
    """Run a script of the tests as on another kind of processor; return what it prints, read as JSON."""
    done = subprocess.run(
        [sys.executable, *code], env={**os.environ, **kind}, capture_output=True, text=True, cwd=Path(__file__).parent
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@functools.cache
def ours(*names):
    return run(["digests.py", *names], {})


def assert_same(names, kind):
    found, expected = run(["digests.py", *names], kind), ours(*names)
    for name in names:
        # The first stage that differs is the one to be mended; those after it only follow.
        differing = [stage for stage in expected[name] if found[name][stage] != expected[name][stage]]
        assert not differing, f"{name}: {differing[0]} hangs on the processor, and with it {differing[1:]}"


@pytest.mark.parametrize("kind", KINDS)
def test_meshes_and_crowds_are_the_same_on_other_processors(kind):
    assert_same(QUICK, KINDS[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_all_bodies_of_the_table_are_the_same_on_other_processors(kind):
    assert_same((*FAST, "phantom spine", "phantom cell"), KINDS[kind])


@pytest.mark.slow
def test_kernels_for_any_processor_make_the_same():
    """The compiler may use what this processor has, as long as it rounds alike; it compiles everything anew here."""
    assert_same(QUICK, OLD_NUMBA)


def test_these_settings_do_change_what_is_computed():
    """Otherwise the tests above could not fail."""
    code = "import json, numpy as np; x = np.random.default_rng(0).random(1000); print(json.dumps(float(x @ x)))"
    sums = {run(["-c", code], kind) for kind in KINDS.values()}
    assert len(sums) > 1
