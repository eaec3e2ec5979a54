"""Arithmetic that rounds alike on every processor, for all that decides about a mesh or a phantom.

Sums, products, quotients and square roots are the same bits everywhere (IEEE 754), as long as nobody reorders them or
contracts them. BLAS and LAPACK (`@`, `np.dot`, `np.linalg`, but for norms along an axis) sum in the order that suits
the processor, and the last bits of sines, exponentials and logarithms hang on the processor and the C library. Here
they are made of the arithmetic that can be relied on, for numbers, for arrays and (`register_jitable`) within kernels.

Where nothing is decided (measures, solvers, pictures) the library's own are faster and as good.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from meshcell.core.arrays import Array, Floats

# Cephes' tan(pi / 8): below it the arctangent's fraction converges.
TURN_BACK = 0.41421356237309503
PI = np.pi


def norm(vector: Any) -> float:
    """Return the Euclidean norm of one vector.

    Examples
    --------
    >>> norm([3.0, 4.0])
    5.0
    """
    v = np.asarray(vector, np.float64)
    return float(np.sqrt((v * v).sum()))


@register_jitable
def dot(u: Any, v: Any) -> Any:
    """Return the scalar product of two vectors in space, for kernels too.

    Examples
    --------
    >>> dot((1, 2, 3), (4, 5, 6))
    32
    """
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


def product(left: Array, right: Array) -> Floats:
    """Return the matrix products of (..., n, k) and (..., k, m) arrays.

    Examples
    --------
    >>> product(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """
    # einsum without `optimize` is numpy's own loop, not BLAS.
    return np.asarray(np.einsum("...ij,...jk->...ik", left, right))


@register_jitable
def sine_cosine(angle: Any) -> Any:
    """Return sine and cosine of angles within +-1e5 rad, each within 2e-16 of the truth.

    Source
    ------
    fdlibm (Sun Microsystems 1993), e_rem_pio2.c, k_sin.c, k_cos.c.

    Examples
    --------
    >>> sine, cosine = sine_cosine(np.pi / 6)
    >>> round(float(sine), 15), round(float(cosine) ** 2, 15)
    (0.5, 0.75)
    """
    quarters = np.floor(angle * 0.6366197723675814 + 0.5)
    # A quarter of a turn in three parts; the first two have 33 bits each, so that their multiples are exact.
    r = angle - quarters * 1.57079632673412561417
    r = (r - quarters * 6.07710050630396597660e-11) - quarters * 2.02226624879595063154e-21
    z = r * r
    s = 1.58969099521155010221e-10 * z - 2.50507602534068634195e-08
    s = ((s * z + 2.75573137070700676789e-06) * z - 1.98412698298579493134e-04) * z + 8.33333333332248946124e-03
    sine = r + r * z * (s * z - 1.66666666666666324348e-01)
    c = -1.13596475577881948265e-11 * z + 2.08757232129817482790e-09
    c = ((c * z - 2.75573143513906633035e-07) * z + 2.48015872894767294178e-05) * z - 1.38888888888741095749e-03
    cosine = 1.0 - (0.5 * z - z * z * (c * z + 4.16666666666666019037e-02))
    # Odd quarters swap the two; products with 0 and 1 are exact.
    odd = quarters - 2.0 * np.floor(0.5 * quarters)
    half = np.floor(0.5 * quarters)
    turn = 1.0 - 2.0 * (half - 2.0 * np.floor(0.5 * half))
    return turn * ((1.0 - odd) * sine + odd * cosine), turn * ((1.0 - odd) * cosine - odd * sine)


@register_jitable
def arctangent(y: Any, x: Any) -> Any:
    """Return the angle of the vector (x, y) from the x axis, -pi ... pi, within 4e-16; 0 for no vector.

    Source
    ------
    Cephes (S. L. Moshier 1989), atan.c.

    Examples
    --------
    >>> round(float(arctangent(1.0, -1.0)) / np.pi, 15)
    0.75
    """
    u, v = np.abs(x), np.abs(y)
    steep = (v > u) * 1.0
    t = np.minimum(u, v) / np.maximum(np.maximum(u, v), 1e-300)
    far = (t > TURN_BACK) * 1.0
    # From half a right angle backwards where the fraction would converge slowly.
    t = (t - far) / (1.0 + far * t)
    z = t * t
    p = (-8.750608600031904122785e-01 * z - 1.615753718733365076637e01) * z - 7.500855792314704667340e01
    p = (p * z - 1.228866684490136173410e02) * z - 6.485021904942025371773e01
    q = (z + 2.485846490142306297962e01) * z + 1.650270098316988542046e02
    q = ((q * z + 4.328810604912902668951e02) * z + 4.853903996359136964868e02) * z + 1.945506571482613964425e02
    angle = far * (0.25 * PI) + (t + t * (z * p / q))
    angle = steep * (0.5 * PI) + (1.0 - 2.0 * steep) * angle
    behind = (x < 0) * 1.0
    angle = behind * PI + (1.0 - 2.0 * behind) * angle
    return (1.0 - 2.0 * (y < 0)) * angle


@register_jitable
def arccosine(cosine: Any) -> Any:
    """Return the angle, 0 ... pi, whose cosine is given; what lies beyond -1 and 1 by rounding counts as these.

    Examples
    --------
    >>> round(float(arccosine(0.5)) * 3 / np.pi, 15), float(arccosine(1.0))
    (1.0, 0.0)
    """
    below, above = np.maximum(1.0 - cosine, 0.0), np.maximum(1.0 + cosine, 0.0)
    return 2.0 * arctangent(np.sqrt(below), np.sqrt(above))


@register_jitable
def exponential(x: Any) -> Any:
    """Return e^x to 2e-16 of itself; below 2e-308 it is 0.

    Source
    ------
    fdlibm, e_exp.c.

    Examples
    --------
    >>> float(exponential(0.0))
    1.0
    """
    halvings = np.floor(x * 1.4426950408889634 + 0.5)
    high, low = x - halvings * 6.93147180369123816490e-01, halvings * 1.90821492927058770002e-10
    r = high - low
    z = r * r
    p = (4.13813679705723846039e-08 * z - 1.65339022054652515390e-06) * z + 6.61375632143793436117e-05
    c = r - z * ((p * z - 2.77777777770155933842e-03) * z + 1.66666666666666019037e-01)
    # The power of two by its bits: an exponent of 11 bits, then 52 zeros.
    biased = np.int64(np.minimum(np.maximum(halvings, -1023.0), 1024.0)) + 1023
    return (1.0 - ((low - r * c / (2.0 - c)) - high)) * np.int64(biased << 52).view(np.float64)


@register_jitable
def logarithm(x: Any) -> Any:
    """Return the natural logarithm of x > 0 to 3e-16 of itself.

    Source
    ------
    fdlibm, e_log.c.

    Examples
    --------
    >>> float(logarithm(1.0))
    0.0
    """
    bits = np.float64(x).view(np.int64)
    doublings = (bits >> 52) - 1022.0
    share = np.int64((bits & 0xFFFFFFFFFFFFF) | 0x3FE0000000000000).view(np.float64)
    low = (share < 0.7071067811865476) * 1.0
    f, k = share * (1.0 + low) - 1.0, doublings - low
    s = f / (2.0 + f)
    z = s * s
    p = (1.479819860511658591e-01 * z + 1.531383769920937332e-01) * z + 1.818357216161805012e-01
    p = ((p * z + 2.222219843214978396e-01) * z + 2.857142874366239149e-01) * z + 3.999999999940941908e-01
    r = z * (p * z + 6.666666666666735130e-01)
    half = 0.5 * f * f
    return k * 6.93147180369123816490e-01 - ((half - (s * (half + r) + k * 1.90821492927058770002e-10)) - f)


@register_jitable
def power(x: Any, exponent: float) -> Any:
    """Return x^exponent of x >= 0, to some 1e-14 of itself.

    Examples
    --------
    >>> round(float(power(2.0, 0.5)) ** 2, 12), float(power(0.0, 2.5))
    (2.0, 0.0)
    """
    return exponential(exponent * logarithm(x)) * (x > 0.0)


def cube_root(x: float) -> float:
    """Return the third root of a number >= 0, see `power`.

    Examples
    --------
    >>> round(cube_root(27.0), 12), cube_root(0.0)
    (3.0, 0.0)
    """
    return float(power(x, 1 / 3))


def turn_about(vector: Any) -> Floats:
    """Return the (3, 3) matrix that turns columns about a vector by its length, rad.

    Source
    ------
    O. Rodrigues, J. Math. Pures Appl. 5 (1840), p. 380.

    Examples
    --------
    >>> (turn_about([0, 0, np.pi / 2]) @ [1, 0, 0]).round(12).tolist()
    [0.0, 1.0, 0.0]
    """
    x, y, z = np.asarray(vector, np.float64)
    angle = norm((x, y, z))
    sine, cosine = sine_cosine(angle)
    x, y, z = np.array([x, y, z]) / max(angle, 1e-300)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + sine * cross + (1.0 - cosine) * product(cross, cross))
