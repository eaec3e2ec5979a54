"""Inner kernels are compiled once whatever their callers have, and shared ones work from a cache too."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit

from meshcell.core.inner import CAN_SHARE, inner, plain

CALLEE = """
from meshcell.core.inner import inner

@inner(cache=True, shared=True)
def entry(values, row):
    if row >= values.shape[0]:
        raise ValueError("no such row")
    return {factor} * values[row]
"""
CALLER = """
import numpy as np
from numba import njit
from callee import entry

@njit(cache=True)
def total(values):
    return entry(values, 0) + entry(values, np.int32(1))

result = total(np.array([1.0, 2.0]))
try:
    total(np.array([1.0]))
except ValueError as error:
    print(result, error, sum(total.stats.cache_hits.values()), len(entry.signatures))
"""


@inner(shared=True)
def shared_at(values, row):
    """Return one entry."""
    return values[row]


@inner()
def copied_at(values, row):
    """Return one entry."""
    return values[row]


@njit
def by_all_numbers(values, rows):
    """Ask with a literal, with an int32 and with an int64."""
    last = values.shape[0] - 1
    shared = shared_at(values, -1), shared_at(values, rows[0]), shared_at(values, last)
    return shared, (copied_at(values, -1), copied_at(values, rows[0]), copied_at(values, last))


def test_literals_and_narrow_numbers_need_one_compilation():
    shared, copied = by_all_numbers(np.array([3.0, 4.0, 5.0]), np.array([1], np.int32))
    assert shared == copied == (5.0, 4.0, 5.0)
    assert len(shared_at.signatures) == len(copied_at.signatures) == 1


def test_python_may_call_what_has_no_door():
    values = np.array([3.0, 4.0])
    assert [shared_at(values, 1), copied_at(values, 0)] == [4.0, 3.0]


@pytest.mark.parametrize("given", [np.arange(6.0), np.arange(12.0)[::2], np.broadcast_to(1.0, 6)])
def test_plain_arrays_are_of_one_kind(given):
    made = plain(given)
    assert made.flags.c_contiguous and made.flags.writeable
    assert np.array_equal(made, given)
    assert (made is given) == (given.flags.c_contiguous and given.flags.writeable)


def run_caller(folder):
    """Run the caller in a process of its own; return its words."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), *sys.path])
    command = [sys.executable, "-c", "import caller"]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@pytest.mark.skipif(not CAN_SHARE, reason="this numba gives callers copies")
def test_a_cached_caller_finds_the_shared_kernel_as_it_is_now(tmp_path):
    (tmp_path / "callee.py").write_text(CALLEE.format(factor="2"))
    (tmp_path / "caller.py").write_text(CALLER)
    assert run_caller(tmp_path) == "6.0 no such row 0 1"
    assert run_caller(tmp_path) == "6.0 no such row 1 1"
    # numba's cache of the caller knows nothing of the callee's file, and need not.
    (tmp_path / "callee.py").write_text(CALLEE.format(factor="3.5"))
    assert run_caller(tmp_path) == "10.5 no such row 1 1"
