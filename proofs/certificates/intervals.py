"""Ranges of activations, gates and their products, in double precision and widened for rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, ndtr

from elegans.cfc.backbone import HEIGHT, STEEPNESS
from elegans.proofs.certificates.network import SLACK, Array, Index


class Span(NamedTuple):
    """Ranges of numbers, elementwise."""

    lo: Array
    hi: Array

    @property
    def middle(self) -> Array:
        """Centres of the ranges."""
        return 0.5 * (self.lo + self.hi)

    @property
    def radius(self) -> Array:
        """Half lengths, rounded up."""
        return np.asarray(
            0.5 * (self.hi - self.lo) + SLACK * np.maximum(np.abs(self.lo), np.abs(self.hi))
        )

    @property
    def size(self) -> Array:
        """The largest magnitudes."""
        return np.maximum(np.abs(self.lo), np.abs(self.hi))

    def at(self, where: Index | slice) -> Span:
        """Return the ranges at some places."""
        return Span(self.lo[where], self.hi[where])


def hull(*spans: Span) -> Span:
    """Return the least ranges that hold all of these."""
    return Span(
        np.min([span.lo for span in spans], axis=0), np.max([span.hi for span in spans], axis=0)
    )


def plus(*spans: Span) -> Span:
    """Return the ranges of sums."""
    low, high = (np.sum([span[end] for span in spans], axis=0) for end in (0, 1))
    slack = SLACK * np.sum([span.size for span in spans], axis=0)
    return Span(low - slack, high + slack)


def product(first: Span, second: Span) -> Span:
    """Return the ranges of products."""
    ends = np.stack([a * b for a in first for b in second])
    return widened(ends.min(axis=0), ends.max(axis=0))


def widened(low: Array, high: Array) -> Span:
    """Return ranges with an allowance for rounding."""
    slack = SLACK * np.maximum(np.abs(low), np.abs(high))
    return Span(low - slack, high + slack)


def increasing(function: Callable[[Array], Array], x: Span) -> Span:
    """Return the range of an increasing function, such as a sigmoid."""
    slack = SLACK * (1 + x.size)
    low, high = function(x.lo - slack), function(x.hi + slack)
    return Span(low - SLACK * (1 + np.abs(low)), high + SLACK * (1 + np.abs(high)))


def spread(function: Callable[[Array], Array], x: Span, turns: tuple[float, ...]) -> Span:
    """Return the range of a function that is monotone between `turns`."""
    slack = SLACK * (1 + x.size)
    low, high = x.lo - slack, x.hi + slack
    values = np.stack(
        [function(low), function(high), *(function(np.clip(t, low, high)) for t in turns)]
    )
    slack = SLACK * (1 + np.abs(values).max(axis=0))
    return Span(values.min(axis=0) - slack, values.max(axis=0) + slack)


def sigmoid(x: Span) -> Span:
    """Return the range of a logistic function, within 0 to 1."""
    found = increasing(expit, x)
    return Span(np.maximum(found.lo, 0.0), np.minimum(found.hi, 1.0))


def tanh_slope(x: Span) -> Span:
    """Return the range of 1 - tanh^2."""
    found = spread(lambda z: 1 - np.tanh(z) ** 2, x, (0.0,))
    return Span(np.maximum(found.lo, 0.0), np.minimum(found.hi, 1.0))


def tanh(x: Span) -> Span:
    """Return the range of a hyperbolic tangent, within -1 to 1."""
    found = increasing(np.tanh, x)
    return Span(np.maximum(found.lo, -1.0), np.minimum(found.hi, 1.0))


def _silu(z: Array) -> Array:
    return np.asarray(z * expit(z))


def _silu_slope(z: Array) -> Array:
    return np.asarray(expit(z) * (1 + z * expit(-z)))


def _gelu(z: Array) -> Array:
    return np.asarray(z * ndtr(z))


def _gelu_slope(z: Array) -> Array:
    return np.asarray(ndtr(z) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def _step(z: Array) -> Array:
    return np.asarray((z > 0).astype(np.float64))


_SILU, _SILU_BENDS = -1.2784645427610738, 2.3993572805154674
_GELU = -0.7517915246935645

ACTIVATIONS: dict[str, tuple[Callable[[Span], Span], Callable[[Span], Span]]] = {
    "tanh": (tanh, tanh_slope),
    "lecun_tanh": (
        lambda x: increasing(lambda z: HEIGHT * np.tanh(STEEPNESS * z), x),
        lambda x: spread(
            lambda z: HEIGHT * STEEPNESS * (1 - np.tanh(STEEPNESS * z) ** 2), x, (0.0,)
        ),
    ),
    "relu": (
        lambda x: increasing(lambda z: np.maximum(z, 0.0), x),
        lambda x: spread(_step, x, ()),
    ),
    "silu": (
        lambda x: spread(_silu, x, (_SILU,)),
        lambda x: spread(_silu_slope, x, (-_SILU_BENDS, _SILU_BENDS)),
    ),
    "gelu": (
        lambda x: spread(_gelu, x, (_GELU,)),
        lambda x: spread(_gelu_slope, x, (-np.sqrt(2.0), np.sqrt(2.0))),
    ),
}
"""Ranges of values and of slopes by the names of the activations of a backbone."""
