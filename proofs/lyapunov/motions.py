"""Motions: flows and maps that move a state and the frame of tangent vectors it carries along.

A motion counts steps: a flow takes Runge-Kutta steps of length dt, a map its own. The frame moves
by the exact derivative of the very step that the state takes.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from elegans.errors import InputError

Function = Callable[..., Tensor]
"""f(x), or f(x, u) for a driven system: (batch, neuron) to the same shape."""

Inputs = Tensor | Callable[[float], Any] | None
"""One row a step, (time, ...) or (batch, time, input); or a function of the time; or nothing."""

Tangent = Callable[[Tensor, Any, Tensor], tuple[Tensor, Tensor]]
"""(state, input, frame) to f and the Jacobian times the frame."""


class Motion(ABC):
    """One step after the other, for a state (batch, neuron) and a frame (batch, neuron, k)."""

    kind: str = "map"
    """``"flow"`` or ``"map"``."""

    length: float = 1.0
    """Time that a step lasts."""

    shared: bool = False
    """Whether all members of the batch are driven by one and the same signal."""

    driven: bool = True
    """Whether there is a signal."""

    steady: bool = False
    """Whether nothing drives the motion that changes in time."""

    @abstractmethod
    def move(self, state: Tensor, step: int) -> Tensor:
        """Return the state after step number `step`."""

    @abstractmethod
    def carry(self, state: Tensor, frame: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return the state and the frame after step number `step`."""

    def growth(self, before: Tensor, after: Tensor, step: int) -> Tensor:
        """Return the log of the volume's growth in a step, log|det J|, (batch,), without QR."""
        _, jacobian = self.carry(before, identity(before), step)
        growth: Tensor = torch.linalg.slogdet(jacobian).logabsdet
        return growth

    def speed(self, state: Tensor, step: int) -> float | None:
        """Return the median over members of |dx/dt|; None where it moves by more than its state.

        What neither is driven nor comes to rest has an exponent of zero along itself.
        """
        return None

    def halved(self) -> Motion | None:
        """Return the same motion by half steps, each pair of them one step; None for maps."""
        return None


class Drive:
    """The signal that drives a system, looked up by the number of the step.

    Parameters
    ----------
    inputs
        See `Inputs`.
    length
        Time that a step lasts.
    hold
        Number of steps that each row of a sequence lasts.
    """

    def __init__(self, inputs: Inputs, length: float, hold: int = 1) -> None:
        if isinstance(inputs, Tensor) and inputs.dim() not in (1, 2, 3):
            raise InputError(
                f"got inputs of shape {tuple(inputs.shape)}, expected (time,), (time, input) or "
                "(batch, time, input); flatten what is neither batch nor time"
            )
        self.inputs, self.length, self.hold = inputs, length, hold

    @property
    def shared(self) -> bool:
        """Whether one signal drives all members."""
        one_sequence = isinstance(self.inputs, Tensor) and (
            self.inputs.dim() < 3 or bool((self.inputs == self.inputs[:1]).all())
        )
        return one_sequence or callable(self.inputs)

    @property
    def steady(self) -> bool:
        """Whether the signal does not change in time."""
        if not isinstance(self.inputs, Tensor):
            return self.inputs is None
        rows = self.inputs.movedim(1, 0) if self.inputs.dim() == 3 else self.inputs
        return bool((rows == rows[:1]).all())

    @property
    def steps(self) -> int | None:
        """Number of steps that the signal lasts; None for ever."""
        if not isinstance(self.inputs, Tensor):
            return None
        return self.hold * self.inputs.shape[1 if self.inputs.dim() == 3 else 0]

    def at(self, step: int, fraction: float = 0.0) -> Any:
        """Return what drives the system `fraction` of a step after the beginning of `step`."""
        if isinstance(self.inputs, Tensor):
            row = step // self.hold
            return self.inputs[:, row] if self.inputs.dim() == 3 else self.inputs[row]
        return None if self.inputs is None else self.inputs((step + fraction) * self.length)


class MapMotion(Motion):
    """A map x -> f(x) or f(x, u)."""

    def __init__(self, function: Function, tangent: Tangent, drive: Drive) -> None:
        self._function, self._tangent, self._drive = function, tangent, drive
        self.driven = drive.inputs is not None
        self.shared, self.steady = drive.shared, drive.steady

    def move(self, state: Tensor, step: int) -> Tensor:
        """Apply the map."""
        return self._function(state, self._drive.at(step))

    def carry(self, state: Tensor, frame: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Apply the map and its derivative."""
        return self._tangent(state, self._drive.at(step), frame)


class FlowMotion(Motion):
    """A differential equation in classical Runge-Kutta steps of fourth order."""

    kind = "flow"

    def __init__(
        self, function: Function, tangent: Tangent, drive: Drive, dt: float, parts: int = 1
    ) -> None:
        self._function, self._tangent, self._drive = function, tangent, drive
        self._parts = parts
        self.length = dt
        self.driven = drive.inputs is not None
        self.shared, self.steady = drive.shared, drive.steady
        self._latest: tuple[Tensor, Tensor] | None = None

    def move(self, state: Tensor, step: int) -> Tensor:
        """Take a step."""
        h = self.length / self._parts
        for part in range(self._parts):
            u0, u1, u2 = self._stage_inputs(step, part)
            a = self._function(state, u0)
            b = self._function(state + h / 2 * a, u1)
            c = self._function(state + h / 2 * b, u1)
            d = self._function(state + h * c, u2)
            state = state + h / 6 * (a + 2 * (b + c) + d)
        return state

    def carry(self, state: Tensor, frame: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Take a step with state and frame: the derivative of the Runge-Kutta step itself."""
        h = self.length / self._parts
        for part in range(self._parts):
            u0, u1, u2 = self._stage_inputs(step, part)
            a, A = self._tangent(state, u0, frame)
            b, B = self._tangent(state + h / 2 * a, u1, frame + h / 2 * A)
            c, C = self._tangent(state + h / 2 * b, u1, frame + h / 2 * B)
            d, D = self._tangent(state + h * c, u2, frame + h * C)
            state = state + h / 6 * (a + 2 * (b + c) + d)
            frame = frame + h / 6 * (A + 2 * (B + C) + D)
        return state, frame

    def growth(self, before: Tensor, after: Tensor, step: int) -> Tensor:
        """Return the trapezium of tr J over the step, (batch,)."""
        stepwise = isinstance(self._drive.inputs, Tensor)
        if self._latest is not None and self._latest[0] is before and not stepwise:
            first = self._latest[1]  # the end of one step is the beginning of the next
        else:
            first = self._trace(before, self._drive.at(step))
        last = self._trace(after, self._drive.at(step, 0.0 if stepwise else 1.0))
        self._latest = (after, last)
        return self.length / 2 * (first + last)

    def _trace(self, state: Tensor, u: Any) -> Tensor:
        _, jacobian = self._tangent(state, u, identity(state))
        return jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)

    def speed(self, state: Tensor, step: int) -> float | None:
        """Return the median over members of |f(x)|; None for a driven flow."""
        if self._drive.inputs is not None:
            return None
        derivative = self._function(state, self._drive.at(step))
        return float(torch.linalg.vector_norm(derivative, dim=-1).median())

    def halved(self) -> FlowMotion:
        """Return the motion that takes each step in twice as many parts."""
        return FlowMotion(self._function, self._tangent, self._drive, self.length, 2 * self._parts)

    def _stage_inputs(self, step: int, part: int) -> tuple[Any, Any, Any]:
        if not callable(self._drive.inputs):
            constant = self._drive.at(step)
            return constant, constant, constant
        places = (part, part + 0.5, part + 1)
        first, middle, last = (self._drive.at(step, place / self._parts) for place in places)
        return first, middle, last


def identity(state: Tensor) -> Tensor:
    """Return unit matrices, (batch, neuron, neuron)."""
    batch, neurons = state.shape
    return torch.eye(neurons, dtype=state.dtype, device=state.device).expand(batch, -1, -1)


def with_input(function: Function, inputs: Inputs) -> Function:
    """Return `function` as a function of state and input."""
    if inputs is not None:
        return function
    return lambda state, _: function(state)


def tangent_of(function: Function, jacobian: Function | None, *, widens: bool = False) -> Tangent:
    """Return what gives f and J times a frame.

    Parameters
    ----------
    function, jacobian
        f(x, u) and its Jacobian; forward differentiation takes the place of a missing one.
    widens
        Whether `function` takes batches of any size: then the vectors of the frame are put side by
        side in one batch, which needs half of the time of ``torch.func.vmap``.
    """
    if jacobian is not None:
        closed_form = jacobian
        return lambda x, u, frame: (function(x, u), closed_form(x, u) @ frame)
    _load_forward_rules()

    def side_by_side(state: Tensor, u: Any, frame: Tensor) -> tuple[Tensor, Tensor]:
        batch, neurons, count = frame.shape
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(  # type: ignore[no-untyped-call]
                state.repeat(count, 1), frame.permute(2, 0, 1).reshape(count * batch, neurons)
            )
            f, along = forward_ad.unpack_dual(  # type: ignore[no-untyped-call]
                function(dual, u)
            )
        if along is None:  # f does not depend on the state
            along = torch.zeros_like(f)
        return f[:batch], along.reshape(count, batch, neurons).permute(1, 2, 0)

    def one_by_one(state: Tensor, u: Any, frame: Tensor) -> tuple[Tensor, Tensor]:
        def column(vector: Tensor) -> tuple[Tensor, Tensor]:
            value, along = torch.func.jvp(lambda x: function(x, u), (state,), (vector,))[:2]
            return value, along

        f, along = torch.func.vmap(column, in_dims=-1, out_dims=(0, -1))(frame)
        return f[0], along

    return side_by_side if widens else one_by_one


def widens(function: Function, state: Tensor, u: Any) -> bool:
    """Return whether `function` gives the same for a batch that is three times as wide."""
    with torch.no_grad():
        alone = function(state, u)
        try:
            wide = function(state.repeat(3, 1), u)
        except (RuntimeError, ValueError, IndexError):
            return False
        return wide.shape[0] == 3 * len(state) and torch.allclose(
            wide, alone.repeat(3, 1), rtol=1e-9, atol=1e-12
        )


@cache
def _load_forward_rules() -> None:
    # PyTorch loads its rules at the first use, and warns of a compiler of its own that they need.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        one = torch.ones(1)
        torch.func.jvp(torch.sin, (one,), (one,))
