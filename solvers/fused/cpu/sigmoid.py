"""The logistic function and its kin on vectors.

e^x = 2^n e^r with n the integer nearest to x / ln 2: n goes into the bits of the exponent, and e^r
is a polynomial for |r| <= ln 2 / 2. Adding 1.5 * 2^(bits of the significand) rounds to an integer
and leaves that integer in the lowest bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import extending, types
from numpy.polynomial import Chebyshev, Polynomial

from elegans.solvers.fused.cpu.compiling import INLINE
from elegans.solvers.fused.cpu.vectors import clamp, polynomial, shift_exponent, where_less

# Numba's own annotations do not describe what this decorator makes of a function.
_overload: Any = extending.overload

_KINDS: dict[Any, Any] = {types.float32: np.float32, types.float64: np.float64}
_DEGREE = {types.float32: 6, types.float64: 11}
_LARGEST = {types.float32: 87, types.float64: 708}
"""e to this power is finite, and to its negative is a normal number."""


def exponential(x: Any) -> Any:
    """Return e^x, x brought within [-87, 87] (708); within 2e-7 relative (3e-15 in float64)."""
    raise TypeError("exponential() is for compiled code")


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x) to the same accuracy."""
    raise TypeError("sigmoid() is for compiled code")


def tanh(x: Any) -> Any:
    """Return tanh(x) within 3e-7 relative (5e-15 in float64)."""
    raise TypeError("tanh() is for compiled code")


def softplus(x: Any) -> Any:
    """Return log(1 + e^x); x itself from 20 on, as PyTorch has it, and 0 below -87 (-708)."""
    raise TypeError("softplus() is for compiled code")


def phi(z: Any) -> Any:
    """Return (1 - e^-z) / z for z >= 0."""
    raise TypeError("phi() is for compiled code")


def phi_slope(z: Any) -> Any:
    """Return (z / (e^z - 1) - 1) / z for z >= 0."""
    raise TypeError("phi_slope() is for compiled code")


def _overloaded(function: Any) -> Any:
    return _overload(function, strict=False, jit_options=INLINE)


def _interpolated(function: Any, degree: int, low: float, high: float) -> list[float]:
    """Return a polynomial's coefficients, lowest first; it equals f at Chebyshev's points."""
    series = Chebyshev.interpolate(function, degree, [low, high])
    return [float(c) for c in series.convert(kind=Polynomial).coef]


@_overloaded(exponential)
def _exponential(x: Any) -> Any:
    kind = _KINDS[x.kind]
    half = math.log(2) / 2
    series = polynomial(_interpolated(np.exp, _DEGREE[x.kind], -half, half))
    limit = kind(_LARGEST[x.kind])
    to_integer = kind(1.5 * 2.0 ** np.finfo(kind).nmant)
    log2e, ln2 = kind(1 / math.log(2)), kind(math.log(2))

    def implementation(x):  # type: ignore[no-untyped-def]
        x = clamp(x, -limit, limit)
        shifted = x * log2e + to_integer
        return shift_exponent(series(x - (shifted - to_integer) * ln2), shifted)

    return implementation


@_overloaded(sigmoid)
def _sigmoid(x: Any) -> Any:
    one = _KINDS[x.kind](1)
    return lambda x: one / (one + exponential(-x))


_NEAR = 0.39
"""Below this square, 1 - 2 / (e^2x + 1) cancels, and a polynomial takes over."""


def _tanh_ratio(y: Any) -> Any:
    """Return tanh(s) / s at y = s^2."""
    s = np.sqrt(np.maximum(y, 1e-30))
    return np.tanh(s) / s


@_overloaded(tanh)
def _tanh(x: Any) -> Any:
    kind = _KINDS[x.kind]
    degree = 5 if kind is np.float32 else 13
    series = polynomial(_interpolated(_tanh_ratio, degree, 0, _NEAR))
    near, one, two = kind(_NEAR), kind(1), kind(2)

    def implementation(x):  # type: ignore[no-untyped-def]
        y = x * x
        return where_less(y, near, x * series(y), one - two / (exponential(x + x) + one))

    return implementation


def _atanh_ratio(y: Any) -> Any:
    """Return atanh(s) / s at y = s^2."""
    s = np.sqrt(np.maximum(y, 1e-30))
    return np.arctanh(s) / s


@_overloaded(softplus)
def _softplus(x: Any) -> Any:
    kind = _KINDS[x.kind]
    series = polynomial(_interpolated(_atanh_ratio, 5 if kind is np.float32 else 14, 0, 1 / 9))
    zero, two, most, far = kind(0), kind(2), kind(np.inf), kind(20)
    least = kind(-_LARGEST[x.kind])

    def implementation(x):  # type: ignore[no-untyped-def]
        u = exponential(where_less(x, zero, x, -x))
        s = u / (u + two)  # log(1 + u) = 2 atanh(u / (2 + u))
        positive = clamp(x, zero, most)
        value = where_less(x, far, positive + two * s * series(s * s), x)
        # Exactly zero, as a closed synapse must be: denormal numbers would be slow, too.
        return where_less(x, least, positive, value)

    return implementation


# Below a limit the differences cancel and Taylor series take over: of (1 - e^-z) / z, and, with
# Bernoulli's numbers, of z / (e^z - 1). The limits balance rounding and the terms left out.
_phi_series = [(-1) ** k / math.factorial(k + 1) for k in range(11)]
_slope_series = [-1 / 2, 1 / 12, 0, -1 / 720, 0, 1 / 30240, 0, -1 / 1209600, 0, 1 / 47900160]
_LIMIT = {types.float32: 1.0, types.float64: 0.25}


@_overloaded(phi)
def _phi(z: Any) -> Any:
    kind = _KINDS[z.kind]
    series, limit, one, most = polynomial(_phi_series), kind(_LIMIT[z.kind]), kind(1), kind(np.inf)

    def implementation(z):  # type: ignore[no-untyped-def]
        far = (one - exponential(-z)) / clamp(z, limit, most)
        return where_less(z, limit, series(z), far)

    return implementation


@_overloaded(phi_slope)
def _phi_slope(z: Any) -> Any:
    kind = _KINDS[z.kind]
    series, limit = polynomial(_slope_series), kind(_LIMIT[z.kind])
    one, most = kind(1), kind(np.inf)

    def implementation(z):  # type: ignore[no-untyped-def]
        far = clamp(z, limit, most)
        decay = exponential(-far)
        return where_less(z, limit, series(z), (far * decay / (one - decay) - one) / far)

    return implementation
