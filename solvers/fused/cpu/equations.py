"""One solver step of neurons C dx/dt = A - G x, and its derivatives, on vectors.

With D = C + h G the semi-implicit step is x+ = (C x + h A) / D, so for a gradient g of x+

    dA = g h / D,   dG = -x+ dA,   dx = g C / D (and through the gates),
    dC = g (x - x+) / D,   dh = g (A - G x+) / D.

With P = (h / C) phi(z), z = G h / C, the exponential step is x+ = x + (A - G x) P, so

    dA = g P,   dG = -x dA + g (x+ - x) (h / C) q(z),   dx = g (1 - G P) (and through the gates),
    dC = -g (x+ - x) (1 + z q(z)) / C,   dh = g (A - G x) e^-z / C,

where q(z) = (z / (e^z - 1) - 1) / z. Between the passes 1 / D is kept, or G for the exponential
step. `h` or `c` may be a number, `one` is 1 of its type.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from elegans.solvers.fused.cpu.compiling import INLINE
from elegans.solvers.fused.cpu.sigmoid import exponential, phi, phi_slope


@njit(**INLINE)
def advance(x: Any, g: Any, a: Any, c: Any, h: Any, exponential_step: bool, one: Any) -> Any:
    """Return the state after the step and what is kept."""
    if exponential_step:
        rate = h / c
        return x + (a - g * x) * rate * phi(g * rate), g
    inverse = one / (c + h * g)
    return x + h * (a - g * x) * inverse, inverse


@njit(**INLINE)
def step_back(
    given: Any, x: Any, after: Any, kept: Any, c: Any, h: Any, exponential_step: bool, one: Any
) -> Any:
    """Return the gradients of x (not through the gates), C, G and A from that of `after`."""
    if exponential_step:
        rate = h / c
        z = kept * rate
        q = phi_slope(z)
        change = given * (after - x)
        from_a = given * rate * phi(z)
        from_g = change * rate * q - from_a * x
        return given * exponential(-z), -(change * (one + z * q) / c), from_g, from_a
    scaled = given * kept
    from_a = scaled * h
    return scaled * c, scaled * (x - after), -(from_a * after), from_a


@njit(**INLINE)
def length_back(
    given: Any,
    x: Any,
    after: Any,
    kept: Any,
    g: Any,
    a: Any,
    c: Any,
    h: Any,
    exponential_step: bool,
) -> Any:
    """Return the gradient of h."""
    if exponential_step:
        return given * (a - g * x) * exponential(-(kept * h / c)) / c
    return given * (a - g * after) * kept
