"""Systems whose Lyapunov exponents are known, with the sources of the figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ReferenceSystem:
    """A flow or map with published exponents.

    Parameters
    ----------
    name
        What it is called.
    kind
        ``"flow"`` or ``"map"``.
    function
        Derivative or next state, (batch, neuron) to the same shape.
    start
        A state in the basin of its attractor.
    exponents
        The published ones, in decreasing order; perhaps not all.
    digits
        Half of the last digit that was published; 0 if the figures are exact.
    spread
        How far other starting points may be from `start`.
    source
        Where function and figures are from.

    Examples
    --------
    >>> henon.states(5, seed=0).shape
    torch.Size([5, 2])
    """

    name: str
    kind: str
    function: Callable[[Tensor], Tensor]
    start: tuple[float, ...]
    exponents: tuple[float, ...]
    digits: float
    spread: float
    source: str

    def states(self, members: int, seed: int) -> Tensor:
        """Return starting points around `start`, (members, neuron), float64."""
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(members, len(self.start), generator=generator, dtype=torch.float64)
        return torch.tensor(self.start, dtype=torch.float64) + self.spread * (2 * drawn - 1)


def _lorenz(state: Tensor) -> Tensor:
    x, y, z = state.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)


def _roessler(state: Tensor) -> Tensor:
    x, y, z = state.unbind(-1)
    return torch.stack([-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)], -1)


def _linz_sprott(state: Tensor) -> Tensor:
    x, velocity, acceleration = state.unbind(-1)
    jerk = -0.6 * acceleration - velocity - x.abs() + 1
    return torch.stack([velocity, acceleration, jerk], -1)


_BEER_WEIGHTS = ((5.422, -0.018, 2.75), (-0.24, 4.59, 1.21), (0.535, -2.25, 3.885))
_BEER_BIASES = (-4.108, -2.787, -1.114)
_BEER_TIME_CONSTANTS = (1.0, 2.5, 1.0)


def _beer(state: Tensor) -> Tensor:
    weights, biases, tau = (
        state.new_tensor(values) for values in (_BEER_WEIGHTS, _BEER_BIASES, _BEER_TIME_CONSTANTS)
    )
    return (torch.sigmoid(state + biases) @ weights.T - state) / tau


def _henon(state: Tensor) -> Tensor:
    x, y = state.unbind(-1)
    return torch.stack([1 - 1.4 * x**2 + y, 0.3 * x], -1)


def _cat(state: Tensor) -> Tensor:
    x, y = state.unbind(-1)
    return torch.stack([2 * x + y, x + y], -1) % 1


_SPROTT = "Sprott, Chaos and Time-Series Analysis, Oxford 2003, appendix A"

lorenz = ReferenceSystem(
    "Lorenz (10, 28, 8/3)",
    "flow",
    _lorenz,
    (1.0, 1.0, 25.0),
    (0.9056, 0.0, -14.5723),
    5e-5,
    2.0,
    f"Lorenz, J. Atmos. Sci. 20 (1963) 130; figures: {_SPROTT}",
)
roessler = ReferenceSystem(
    "Rössler (0.2, 0.2, 5.7)",
    "flow",
    _roessler,
    (-4.0, -4.0, 0.1),
    (0.0714, 0.0, -5.3943),
    5e-5,
    1.0,
    f"Rössler, Phys. Lett. A 57 (1976) 397; figures: {_SPROTT}",
)
linz_sprott = ReferenceSystem(
    "Linz-Sprott (0.6)",
    "flow",
    _linz_sprott,
    (0.1, 0.1, 0.1),
    (0.0362, 0.0, -0.6362),
    5e-5,
    0.05,
    "Linz, Sprott, Phys. Lett. A 259 (1999) 240",
)
beer = ReferenceSystem(
    "Beer's chaotic CTRNN",
    "flow",
    _beer,
    (0.1, 0.1, 0.1),
    (0.010, 0.0),
    5e-4,
    0.05,
    "Beer, Adaptive Behavior 3 (1995) 469, figure 9D: time constants 1, 2.5, 1",
)
henon = ReferenceSystem(
    "Hénon (1.4, 0.3)",
    "map",
    _henon,
    (0.1, 0.1),
    (0.41922, -1.62319),
    5e-6,
    0.05,
    f"Hénon, Commun. Math. Phys. 50 (1976) 69; figures: {_SPROTT}",
)
cat = ReferenceSystem(
    "Arnold's cat map",
    "map",
    _cat,
    (0.5, 0.5),
    (2 * math.log((1 + 5**0.5) / 2), -2 * math.log((1 + 5**0.5) / 2)),
    0.0,
    0.5,
    "Arnold, Avez, Ergodic Problems of Classical Mechanics, 1968: eigenvalues (3 ± √5)/2",
)

REFERENCE_SYSTEMS = (lorenz, roessler, linz_sprott, beer, henon, cat)
"""All of them."""
