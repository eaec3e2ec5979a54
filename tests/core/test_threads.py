"""Sharing work among threads: every piece once, and the same bytes for any number of threads."""

import os
import threading

import numba
import numpy as np
import pytest

from gallery.models import problem
from meshcell.core import threads
from meshcell.solving.linear import coarsening


@pytest.fixture
def with_threads(monkeypatch):
    """Return a function that runs another one with so many threads, however little work there is."""
    monkeypatch.setattr(threads, "WORTH", 1)

    def run(n, function, *args):
        monkeypatch.setattr(threads, "get_num_threads", lambda: n)
        return function(*args)

    return run


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_every_piece_is_done_once_and_by_as_many_threads_as_there_may_be(with_threads, n):
    done, who = [], set()
    meet = threading.Barrier(min(n, 5), timeout=10)

    def kernel(first, last, extra):
        meet.wait()
        who.add(threading.get_ident())
        done.extend(range(first + extra, last + extra))

    with_threads(n, threads.share, kernel, 5, 10**6, 7)
    assert sorted(done) == list(range(7, 12))
    assert len(who) == min(n, 5)


def test_little_work_is_not_shared():
    def kernel(first, last):
        assert threading.current_thread() is threading.main_thread()
        assert (first, last) == (0, 9)

    threads.share(kernel, 9, threads.WORTH)


def test_an_error_in_a_thread_is_raised(with_threads):
    def kernel(first, last):
        if last == 4:
            raise FloatingPointError("of the last piece")

    with pytest.raises(FloatingPointError, match="of the last piece"):
        with_threads(2, threads.share, kernel, 4, 10**6)


@pytest.mark.parametrize("n", [1, 3])
def test_numpy_functions_are_shared_with_numbers_and_other_types(with_threads, n):
    x = np.random.default_rng(0).standard_normal(10_001)
    out = np.empty(10_001, np.float32)
    assert with_threads(n, lambda: threads.spread(np.divide, x, 3.0, out=out)) is out
    np.testing.assert_array_equal(out, (x / 3.0).astype(np.float32))
    with_threads(n, lambda: threads.spread(np.multiply, x, x, out=x))
    assert (x >= 0).all()


def test_pieces_are_even_in_number_and_in_weight():
    weights = np.random.default_rng(0).integers(0, 20, 10_000)
    bounds = threads.pieces(weights, 5000)
    assert len(bounds) == 1 + 2 * (weights.sum() // 10_000)
    assert bounds[0] == 0 and bounds[-1] == len(weights)
    sums = np.add.reduceat(weights, bounds[:-1])
    assert np.abs(sums - sums.mean()).max() <= 20
    np.testing.assert_array_equal(threads.pieces(weights, 10**6), [0, 10_000])


def test_solutions_are_the_same_bytes_for_any_number_of_threads(with_threads, monkeypatch):
    monkeypatch.setattr(coarsening, "PIECE", 200)

    def run():
        p = problem(5)
        p.linearise(0.0, p.initial(), 50.0)
        b = p.mass * np.random.default_rng(1).standard_normal(p.size)
        x, iterations, converged = p.multigrid.solve(b, np.sqrt(p.mass) / np.abs(b).max(), 1e-6)
        assert converged and iterations > 2 and len(p.multigrid.levels[0].bounds) > 8
        return x.tobytes() + p.rate(0.0, x).tobytes()

    assert len({with_threads(n, run) for n in (1, 2, 3)}) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_threads_work_after_a_fork(with_threads):
    def kernel(first, last):
        pass

    with_threads(2, threads.share, kernel, 4, 10**6)
    child = os.fork()
    if not child:
        # A pool without its threads would wait for ever.
        threads.share(kernel, 4, 10**6)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_the_bound_of_numba_holds():
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert threads.get_num_threads() == 1
    finally:
        numba.set_num_threads(before)
