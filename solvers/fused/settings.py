"""Settings of kernels besides tensors."""

from __future__ import annotations

from dataclasses import dataclass

COUNT = 19
"""Tensors that have gradients: inputs, initial state, elapsed times, parameters of a circuit."""

ENDS = 9
"""Tensors of the connections of a circuit."""

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


@dataclass(frozen=True, slots=True)
class ClosedSettings:
    """Arguments of the kernels of a CfC besides tensors."""

    mode: int
    """Index of the closed form; see `elegans.solvers.fused.cpu.closed_form`."""
    activation: int
    """Index in `ACTIVATIONS` of what follows the layers of a backbone."""
    height: float
    steepness: float
    """Of the activation ``"tanh"``: height * tanh(steepness * x)."""


CLOSED_MODES = ("default", "pure", "no_gate")
"""Modes of a CfC; kernels know the index."""

ACTIVATIONS = ("tanh", "relu", "silu", "gelu")
"""Activations of a backbone; kernels know the index."""
