"""Arithmetic that rounds alike everywhere: as exact as promised, and the same bits for numbers, arrays and kernels."""

import numpy as np
import pytest
from numba import njit
from scipy.spatial.transform import Rotation

from meshcell.core.rounding import (
    arccosine,
    arctangent,
    cube_root,
    exponential,
    logarithm,
    norm,
    power,
    product,
    sine_cosine,
    turn_about,
)

EPS = np.finfo(np.float64).eps
RNG = np.random.default_rng(0)
ANGLES = np.concatenate([RNG.uniform(-1e5, 1e5, 20_000), RNG.uniform(-7, 7, 20_000), np.arange(-16, 17) * np.pi / 4])
COSINES = np.concatenate([RNG.uniform(-1, 1, 20_000), 1 - RNG.uniform(0, 1, 1000) ** 9, [-1.0, 0.0, 1.0]])
# Eight octants, the axes, and vectors that differ by many orders.
ENDS = np.concatenate([RNG.normal(size=(20_000, 2)), 10.0 ** RNG.uniform(-200, 200, (2000, 2)) * [1, -1]])
AXES = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
ENDS = np.concatenate([ENDS, AXES])


@njit
def _in_kernel(angles, ends, cosines, powers):
    n = len(angles), len(ends), len(cosines), len(powers)
    a, b, c, d, e = np.empty(n[0]), np.empty(n[0]), np.empty(n[1]), np.empty(n[2]), np.empty(n[3])
    for i in range(n[0]):
        a[i], b[i] = sine_cosine(angles[i])
    for i in range(n[1]):
        c[i] = arctangent(ends[i, 1], ends[i, 0])
    for i in range(n[2]):
        d[i] = arccosine(cosines[i])
    for i in range(n[3]):
        e[i] = exponential(powers[i])
    return a, b, c, d, e


# The truth is the C library's, which itself may be off by a unit in the last place.
def test_sines_and_cosines_are_within_a_rounding_of_the_truth():
    sine, cosine = sine_cosine(ANGLES)
    np.testing.assert_allclose(sine, np.sin(ANGLES), rtol=0, atol=1.5 * EPS)
    np.testing.assert_allclose(cosine, np.cos(ANGLES), rtol=0, atol=1.5 * EPS)


def test_small_sines_keep_all_their_digits():
    small = 10.0 ** RNG.uniform(-300, -1, 1000)
    np.testing.assert_allclose(sine_cosine(small)[0], np.sin(small), rtol=2 * EPS)


def test_angles_of_vectors_and_of_cosines_are_within_roundings_of_the_truth():
    np.testing.assert_allclose(
        arctangent(ENDS[:, 1], ENDS[:, 0]), np.arctan2(ENDS[:, 1], ENDS[:, 0]), rtol=2 * EPS, atol=2 * EPS
    )
    np.testing.assert_allclose(arccosine(COSINES), np.arccos(COSINES), rtol=4 * EPS, atol=2 * EPS)
    assert arctangent(0.0, 0.0) == 0 and arccosine(1 + EPS) == 0


def test_exponentials_and_logarithms_are_within_roundings_of_the_truth():
    powers = np.concatenate([RNG.uniform(-690, 690, 20_000), RNG.uniform(-1, 1, 20_000)])
    np.testing.assert_allclose(exponential(powers), np.exp(powers), rtol=2 * EPS)
    values = np.concatenate([10.0 ** RNG.uniform(-300, 300, 20_000), 1 + RNG.uniform(-0.3, 0.3, 20_000)])
    np.testing.assert_allclose(logarithm(values), np.log(values), rtol=2 * EPS)
    for value in (1e-9, 0.37, 1.0, 8.0, 1e12):
        assert cube_root(value) == pytest.approx(value ** (1 / 3), rel=1e-14)


def test_kernels_arrays_and_numbers_get_the_same_bits():
    powers = RNG.uniform(-690, 690, 2000)
    whole = *sine_cosine(ANGLES), arctangent(ENDS[:, 1], ENDS[:, 0]), arccosine(COSINES), exponential(powers)
    for ours, theirs in zip(whole, _in_kernel(ANGLES, ENDS, COSINES, powers), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [sine_cosine(a)[0] for a in ANGLES[:500]] == list(whole[0][:500])
    assert [float(exponential(p)) for p in powers[:500]] == list(whole[4][:500])


def test_lengths_and_products_are_those_of_linear_algebra():
    vectors, turns = RNG.normal(size=(7, 5, 3)), RNG.normal(size=(7, 3, 4))
    np.testing.assert_allclose(product(vectors, turns), vectors @ turns, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(product(vectors[0], turns[0]), vectors[0] @ turns[0], rtol=1e-13, atol=1e-13)
    assert norm(vectors[0, 0]) == pytest.approx(np.linalg.norm(vectors[0, 0]), rel=4 * EPS)


def test_powers_and_turns_are_those_of_the_library():
    bases = np.concatenate([RNG.uniform(0, 1, 500), 10.0 ** RNG.uniform(-9, 9, 500)])
    for exponent in (1 / 3, 0.41, 2.3):
        found = [float(power(x, exponent)) for x in bases]
        np.testing.assert_allclose(found, bases**exponent, rtol=1e-14)
    assert power(0.0, 0.4) == 0
    for vector in (*RNG.normal(size=(20, 3)), np.zeros(3)):
        expected = Rotation.from_rotvec(vector).as_matrix()
        np.testing.assert_allclose(turn_about(vector), expected, atol=8 * EPS)
