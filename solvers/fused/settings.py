"""Settings of kernels besides tensors."""

from __future__ import annotations

from dataclasses import dataclass

COUNT = 18
"""Tensors that have gradients: inputs, initial state, elapsed times, parameters of a circuit."""

POSITIVITY = ("identity", "softplus", "clip")
"""Maps of a parameter to a positive value; kernels know the index."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Arguments of kernels besides tensors."""

    outputs: int
    unfolds: int
    exponential: bool
    positivity: int
    floor: float
    epsilon: float
