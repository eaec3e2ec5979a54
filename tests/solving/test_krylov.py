"""GMRES solves what it is given, and its kernels equal numpy."""

import numpy as np
import pytest

from meshcell.solving.linear import krylov

pytestmark = pytest.mark.plain


def test_dots_and_updates_equal_numpy():
    rng = np.random.default_rng(4)
    for n in (0, 1, 7, 8, 1001, 10_001):
        x, y = rng.standard_normal((2, n))
        assert krylov.dot(x, y) == pytest.approx(x @ y, abs=1e-12)
        z = y.copy()
        krylov.add_rows(np.array([x, x, y]), np.array([0.1, 0.2]), z)
        np.testing.assert_allclose(z, y + 0.3 * x, atol=1e-15)


def test_gmres_solves_a_small_unsymmetric_system_without_a_preconditioner():
    rng = np.random.default_rng(5)
    A = np.eye(40) + 0.1 * rng.standard_normal((40, 40))
    b, weights = rng.standard_normal(40), rng.uniform(1, 2, 40)
    x, iterations, converged = krylov.gmres(lambda v: A @ v, lambda r: r, b, weights, 1e-10)
    assert converged
    assert iterations <= 60
    np.testing.assert_allclose(x, np.linalg.solve(A, b), atol=1e-9)
    assert not krylov.gmres(lambda v: A @ v, lambda r: r, b, weights, 1e-10, most=3)[2]
