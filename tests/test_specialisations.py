"""Who begins with an empty kernel cache waits for each kernel once: it is called with one kind of arguments."""

import pytest

from gallery.first_use import compilations, run_python

COARSE = "from meshcell import demo; demo.run({!r}, spacing='20 nm', edge='80 nm', pictures=False)"
# Some kernels work on two kinds of numbers on purpose: a preconditioner multiplies in single precision.
ALLOWED = 1.1


@pytest.mark.slow
def test_the_demonstration_compiles_kernels_once(tmp_path):
    run_python(tmp_path / "kernels", "-c", COARSE.format(str(tmp_path / "files")))
    found = compilations(tmp_path / "kernels")
    assert len(found) > 100
    more = {kernel: times for kernel, times in found.items() if times > 1}
    assert found.total() <= ALLOWED * len(found), f"compiled more than once: {more}"
