"""The logistic function and its kin, written so that loops over them become vector instructions.

Only additions, multiplications, rounding, shifts and one division are used; a call into a scalar
math library would keep LLVM from vectorising. e^x = 2^n e^r with n the integer nearest to x / ln 2:
n goes into the bits of the exponent, and e^r is its Taylor series about 0, long enough for
|r| <= ln 2 / 2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import extending, njit, types

OPTIONS: dict[str, Any] = {
    # Sums may be reordered ("reassoc"), or reductions over lanes would not be vectors; the order
    # is the compiler's and the same on any number of threads.
    "fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"},
    "error_model": "numpy",
    "boundscheck": False,
}

# Numba's own annotations do not describe what these decorators make of a function.
_intrinsic: Any = extending.intrinsic
_overloaded: Any = extending.overload

_f32, _f64, _i32, _i64 = np.float32, np.float64, np.int32, np.int64
_series = [1 / math.factorial(k) for k in range(14)]
_s2, _s3, _s4, _s5, _s6 = (np.float32(c) for c in _series[2:7])
_d2, _d3, _d4, _d5, _d6, _d7, _d8, _d9, _d10, _d11, _d12, _d13 = _series[2:14]
_LN2, _LOG2E = math.log(2), 1 / math.log(2)
_ln2_f32, _log2e_f32 = np.float32(_LN2), np.float32(_LOG2E)
_FLOAT_OF: dict[Any, Any] = {types.int32: types.float32, types.int64: types.float64}


@_intrinsic
def _float_of_bits(typingctx: Any, bits: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return _FLOAT_OF[bits](bits), codegen


@_intrinsic
def _rounded(typingctx: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rint = builder.module.declare_intrinsic("llvm.rint", [arguments[0].type])
        return builder.call(rint, arguments)

    return value(value), codegen


@njit(**OPTIONS)
def _exp_f32(x: Any) -> Any:
    x = min(max(x, _f32(-87)), _f32(87))
    n = _rounded(x * _log2e_f32)
    r = x - n * _ln2_f32
    p = (((_s6 * r + _s5) * r + _s4) * r + _s3) * r + _s2
    p = (p * r + _f32(1)) * r + _f32(1)
    return p * _float_of_bits(_i32((_i32(n) + _i32(127)) << _i32(23)))


@njit(**OPTIONS)
def _exp_f64(x: Any) -> Any:
    x = min(max(x, -708.0), 708.0)
    n = _rounded(x * _LOG2E)
    r = x - n * _LN2
    p = ((((_d13 * r + _d12) * r + _d11) * r + _d10) * r + _d9) * r + _d8
    p = (((((p * r + _d7) * r + _d6) * r + _d5) * r + _d4) * r + _d3) * r + _d2
    p = (p * r + 1.0) * r + 1.0
    return p * _float_of_bits((_i64(n) + _i64(1023)) << _i64(52))


def exponential(x: Any) -> Any:
    """Return e^x; within 1e-6 relative in float32, 1e-14 in float64, for |x| <= 87 (700)."""
    raise TypeError("exponential() is for compiled code")


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x) to the same accuracy."""
    raise TypeError("sigmoid() is for compiled code")


def phi(z: Any) -> Any:
    """Return (1 - e^-z) / z for z >= 0."""
    raise TypeError("phi() is for compiled code")


def phi_slope(z: Any) -> Any:
    """Return (z / (e^z - 1) - 1) / z for z >= 0."""
    raise TypeError("phi_slope() is for compiled code")


def _overload(function: Any) -> Any:
    return _overloaded(function, strict=False, jit_options=OPTIONS)


@_overload(exponential)
def _exponential(x: Any) -> Any:
    if x == types.float32:
        return lambda x: _exp_f32(x)
    return lambda x: _exp_f64(x)


@_overload(sigmoid)
def _sigmoid(x: Any) -> Any:
    if x == types.float32:
        return lambda x: _f32(1) / (_f32(1) + _exp_f32(-x))
    return lambda x: 1.0 / (1.0 + _exp_f64(-x))


# Below a limit the differences cancel and Taylor series take over: of (1 - e^-z) / z, and, with
# Bernoulli's numbers, of z / (e^z - 1). The limits balance rounding and the terms left out.
_phi_series = [(-1) ** k / math.factorial(k + 1) for k in range(11)]
_slope_series = [-1 / 2, 1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160]


def _kind_and_limit(z: Any) -> Any:
    return (_f32, _f32(1)) if z == types.float32 else (_f64, _f64(0.25))


@_overload(phi)
def _phi(z: Any) -> Any:
    kind, limit = _kind_and_limit(z)
    p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10 = (kind(c) for c in _phi_series)
    one = kind(1)

    def implementation(z):  # type: ignore[no-untyped-def]
        p = ((((p10 * z + p9) * z + p8) * z + p7) * z + p6) * z + p5
        p = ((((p * z + p4) * z + p3) * z + p2) * z + p1) * z + p0
        return p if z < limit else (one - exponential(-z)) / max(z, limit)

    return implementation


@_overload(phi_slope)
def _phi_slope(z: Any) -> Any:
    kind, limit = _kind_and_limit(z)
    s0, s1, s3, s5, s7, s9 = (kind(c) for c in _slope_series)
    one = kind(1)

    def implementation(z):  # type: ignore[no-untyped-def]
        y = z * z
        p = ((((s9 * y + s7) * y + s5) * y + s3) * y + s1) * z + s0
        far = max(z, limit)
        decay = exponential(-far)
        return p if z < limit else (far * decay / (one - decay) - one) / far

    return implementation
