"""Single steps of a circuit, for control: one observation in, one action out."""

from __future__ import annotations

import math
import os
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from elegans.arguments import checked, shown
from elegans.checkpoints.saving import CONFIG, load_circuit
from elegans.checks import LARGEST, all_finite, as_computed, check_dense
from elegans.control.step_kernel import REAL, StepKernel
from elegans.data.reading import Reading
from elegans.data.scale import STANDARDISER, Scales
from elegans.data.stream import Memory, Stream
from elegans.errors import InputError
from elegans.files import read_json
from elegans.layers.readout import Readout, circuit_of
from elegans.layers.sequence_layer import SequenceLayer, State


class Controller(Protocol):
    """Whatever commands a plant, once a step: a `Policy`, or a formula.

    It serves all episodes at once, one row of a batch an episode.
    """

    def reset(self, batch: int) -> None:
        """Forget everything and prepare for `batch` new episodes."""

    def __call__(self, observations: NDArray[np.float64], /) -> Any:
        """Return an array of commands for the observations (batch, input) of one step.

        Rows of finished episodes repeat their last observation; their commands are ignored.
        """


@checked(InputError)
class Policy:
    """A layer that is asked for one step at a time and keeps its state.

    After observations u_1 ... u_t the action is the output of the layer for that sequence, at its
    last step. No gradients flow. Parameters and connections are read in each call: after an
    optimiser step, rewiring, loading or ``model.to(...)`` the next call uses the new values, and
    the state goes on. Several policies of one model may run in several threads; one policy serves
    one thread.

    Parameters
    ----------
    model
        Any layer, such as `LTC`, with a `Readout` or without; shared, not copied.
    scales
        Those that the layer was trained with: observations, actions and elapsed times are then in
        the units of the data. By default they are in those of the layer.
    limits
        Least and greatest action, numbers or (output,) each; actions beyond are clipped.
    reading
        How the columns of the data were understood, so that observations may have names: words,
        true and false, and missing cells are then shown to the layer as in training.

    Raises
    ------
    InputError
        `model` is no layer, the scales are of other numbers of inputs or outputs, or the limits do
        not fit the actions.

    Examples
    --------
    >>> import elegans
    >>> policy = elegans.Policy(elegans.LTC(2, 5))
    >>> for angle in (0.0, 0.1):
    ...     action = policy(np.array([angle, 1.0]), elapsed=0.05)
    >>> action.shape, policy.state.shape
    ((5,), torch.Size([5]))
    >>> policy.reset(batch=3)
    >>> policy.state.shape
    torch.Size([3, 5])
    """

    def __init__(
        self,
        model: SequenceLayer | Readout,
        scales: Scales | None = None,
        *,
        limits: tuple[ArrayLike, ArrayLike] | None = None,
        reading: Reading | None = None,
    ) -> None:
        if not isinstance(model, SequenceLayer | Readout):
            raise InputError(
                f"got {type(model).__name__}, expected a layer such as elegans.LTC, which holds "
                "a cell and its memory; build one"
            )
        if scales is not None:
            sizes = len(scales.inputs), len(scales.targets)
            if sizes != (model.input_size, model.output_size):
                raise InputError(
                    f"got scales of {sizes[0]} inputs and {sizes[1]} targets, expected "
                    f"{model.input_size} and {model.output_size} as the layer has; pass the "
                    "scales of its own run"
                )
        self.model = model
        self._layer = circuit_of(model)
        self.scales = scales
        self.limits = None if limits is None else _checked_limits(limits, model.output_size)
        self._batch: tuple[int, ...] | None = None  # () for one sample; None: not known yet
        self._state: tuple[Tensor, ...] | None = None  # None: zeros
        self._kernel: StepKernel | None = None  # works in the memory of the state
        self._stream = None if reading is None else Stream(reading)
        self._memory: Memory = {}  # of columns with gaps

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        *,
        limits: tuple[ArrayLike, ArrayLike] | None = None,
        device: Any = None,
    ) -> Policy:
        """Return the policy of a run: its best weights, with the scales of its data if it has any.

        Observations, actions and elapsed times are in the units of the data that it was trained
        on. Observations may be mappings or rows of pandas with the columns of these data. Of
        classes, whose names are `classes`, actions are logits.

        Raises
        ------
        RunError
            A file is missing or damaged.

        Examples
        --------
        >>> import elegans
        >>> elegans.save(elegans.LTC(2, 5), "circuit")
        >>> elegans.Policy.load("circuit")(np.array([0.1, 1.0])).shape
        (5,)
        """
        folder = Path(folder)
        model = load_circuit(folder, device=device)
        config = read_json(folder / CONFIG, "pass the folder of a run")
        reading = None
        if isinstance(config.get("data"), dict):
            reading = Reading.from_plain(config["data"])
        scales = None
        if config.get("scaled") or os.path.exists(folder / STANDARDISER):
            scales = Scales.load(folder)
        return cls(model, scales, limits=limits, reading=reading)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes whose logits the actions are, none where they are numbers."""
        return () if self._stream is None else self._stream.reading.classes

    @overload
    def __call__(self, observation: NDArray[Any], elapsed: float | None = None) -> NDArray[Any]: ...

    @overload
    def __call__(self, observation: Tensor, elapsed: float | None = None) -> Tensor: ...

    def __call__(self, observation: Any, elapsed: float | None = None) -> Any:
        """Take one step and return the action.

        Parameters
        ----------
        observation
            Shape (input,), or (batch, input) for a batch of environments, as `reset` or the first
            call after it decides. Real numbers in an array, a list, or a row or a frame of pandas,
            which are rounded to the precision of the model, or a tensor of its type and device;
            with a reading also a mapping, a row or a frame with the columns of its data.
        elapsed
            Time since the previous step, >= 0, for the whole batch; by default what counts as 1
            for the layer. With 0 the state stays as it is.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            The action, shape (output,) or (batch, output): an array if the observation is one, or
            else a tensor, in the precision of the model (NumPy has no bfloat16: float32).

        Raises
        ------
        InputError
            A shape, type or value is not valid. The state is as it was before the call.
        SolveError
            The solve failed or left the finite numbers. The state is as it was before the call.
        """
        scales, memory = self.scales, self._memory
        if elapsed is None:
            elapsed = 1.0
        else:
            if type(elapsed) is not float:
                elapsed = _as_number(elapsed)
            if scales is not None:
                elapsed /= scales.elapsed
        if self._stream is not None:
            passed = elapsed if scales is None else elapsed * scales.elapsed
            if self._stream.takes(observation):
                observation, memory = self._stream.shown(observation, memory, passed)
            elif memory:
                memory = self._stream.older(memory, passed)
        kernel = self._kernel
        action = None
        if kernel is not None and kernel.takes(observation) and kernel.holds():
            scaled = observation if scales is None else scales.inputs.apply(observation)
            action = kernel(scaled, elapsed)
        if action is None:
            action = self._step(observation, elapsed)
        self._memory = memory
        if scales is not None:
            action = scales.targets.invert(action)
        if self.limits is None:
            return action
        low, high = self.limits
        if isinstance(action, Tensor):
            return action.clamp(action.new_tensor(low), action.new_tensor(high))
        return action.clip(low, high).astype(action.dtype, copy=False)

    def reset(self, batch: int | None = None, *, where: ArrayLike | None = None) -> None:
        """Forget everything; the state is zero again.

        Parameters
        ----------
        batch
            Number of episodes that the next observations are of, at least 1. By default the next
            observation decides.
        where
            Only the episodes of a batch that are over, true or false for each, (batch,), as vector
            environments say; the others go on.

        Raises
        ------
        InputError
            `batch` is not such a number, or `where` does not fit the batch; the state is kept.
        """
        if where is not None:
            if batch is not None:
                raise InputError(
                    f"got batch={batch!r} and where, expected one of them: a number of new "
                    "episodes, or which ones of a batch are over"
                )
            try:
                over = np.array(where)
            except (RuntimeError, TypeError, ValueError):  # an odd tensor, lists of several lengths
                over = np.asarray(None)
            self._reset_some(over)
            return
        whole = isinstance(batch, int | np.integer) and not isinstance(batch, bool)
        if batch is not None and not (whole and 1 <= batch <= LARGEST):
            raise InputError(
                f"batch must be a whole number of at least 1, got {shown(batch)}; set policy.state "
                "to go on from a state"
            )
        self._state, self._kernel, self._memory = None, None, {}
        self._batch = None if batch is None else (int(batch),)

    def _reset_some(self, over: NDArray[Any]) -> None:
        """Forget what was seen in the episodes that are `over`, (batch,)."""
        if self._batch is None and self._state is None:
            return  # nothing was seen yet
        if over.dtype != np.bool_ or over.shape != self._batch:
            raise InputError(
                f"got where of shape {over.shape} and type {over.dtype}, expected booleans of the "
                f"shape {self._batch}; pass one for each episode of the batch"
            )
        if self._batch == ():  # a single episode, which is over or goes on
            if over:
                self.reset()
            return
        if self._state is not None and over.any():
            rows = torch.from_numpy(over).to(self._device)
            self._state = tuple(part.masked_fill(rows.unsqueeze(-1), 0.0) for part in self._state)
            self._kernel = None
            if self._stream is not None:
                self._memory = self._stream.without(self._memory, over)

    @property
    def state(self) -> State:
        """A copy of the state, in the shape of the layer's ``hx``; (neuron,) before any step.

        Set it to go on from another state: potentials, shape (neuron,) or (batch, neuron), or the
        pair (h, c) of such with mixed memory; tensors or arrays, which are copied. `InputError` is
        raised, and the current state kept, if it is of another kind or shape, or holds a value
        that is not finite.
        """
        state = tuple(part.clone() for part in self._state_now(self._batch or ()))
        return state[0] if self._layer.memory is None else (state[0], state[1])

    @state.setter
    def state(self, state: State | NDArray[Any]) -> None:
        parts = self._checked_state(state)
        batch = tuple(parts[0].shape[:-1])
        if batch != self._batch:
            self._memory = {}
        self._state, self._kernel, self._batch = parts, None, batch

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs; its state is its own."""
        state = self._state and tuple(part.clone() for part in self._state)
        return self.__dict__ | {"_state": state, "_kernel": None}

    def _step(self, observation: Any, elapsed: float) -> Any:
        """Take a step with all checks, by a kernel if one fits, or else by the layer."""
        x = self._checked(observation)
        batch = tuple(x.shape[:-1])
        if not 0 <= elapsed <= torch.finfo(x.dtype).max:
            raise InputError(
                f"elapsed is {elapsed}, expected a finite number of at least 0 in {x.dtype}; pass "
                "the time since the previous step, not a time stamp"
            )
        before = self._state_now(batch)
        kernel = self._kernel
        if kernel is None or not kernel.holds():
            plain = isinstance(self.model, SequenceLayer)  # a readout has no kernel
            kernel = StepKernel.of(self._layer, before[0]) if plain else None
        action = None if kernel is None else kernel(x, elapsed)
        if kernel is None or action is None:  # what a kernel refuses, the layer explains
            action, state = self._step_of_layer(x, elapsed, before)
            self._batch, self._state, self._kernel = batch, state, None
        else:
            self._batch, self._state, self._kernel = batch, (kernel.state,), kernel
        return action if isinstance(observation, Tensor) else _array(action)

    @torch.no_grad()
    def _step_of_layer(
        self, x: Tensor, elapsed: float, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the action and the state after the layer has run a sequence of one step."""
        model, layer = self.model, self._layer
        time = 1 if x.dim() == 2 and layer.batch_first else 0
        x = x.unsqueeze(time)
        hx = state[0] if len(state) == 1 else (state[0], state[1])
        action, after = model(x, hx, x.new_full(x.shape[:-1], elapsed))
        if layer.return_sequences:
            action = action.squeeze(time)
        # Without an output mapping the action may be a view of the state.
        return action.clone(), after if isinstance(after, tuple) else (after,)

    def _checked(self, observation: Any) -> Tensor:
        """Return a valid observation, scaled, as a tensor for the layer."""
        dtype = self._layer.cell.dtype
        if isinstance(observation, Tensor):
            observation = as_computed("observation", observation, dtype, self._device)
        else:
            observation = _real("observation", observation)
        inputs, shape = self.model.input_size, tuple(observation.shape)
        if len(shape) not in (1, 2) or shape[-1] != inputs:
            raise InputError(
                f"observation has shape {shape}, expected ({inputs},), or (batch, {inputs}) for a "
                "batch; flatten each observation, or build the layer with as many inputs"
            )
        if self._batch is not None and self._batch != shape[:-1]:
            raise InputError(
                f"observation has shape {shape}, expected {(*self._batch, inputs)} as before; call "
                "reset() where another batch begins"
            )
        if self.scales is not None:
            observation = self.scales.inputs.apply(observation)
        x = observation if isinstance(observation, Tensor) else self._tensor(observation)
        if not all_finite(x):
            where = tuple((~x.isfinite()).nonzero()[0].tolist())
            axes = ("batch", "feature")[-x.dim() :]
            place = ", ".join(f"{axis} {at}" for axis, at in zip(axes, where, strict=True))
            raise InputError(
                f"observation holds {observation[where].item()} at {place}, expected finite "
                f"numbers in {dtype}; repair it and call again, the state is as it was"
            )
        return x

    def _checked_state(self, state: Any) -> tuple[Tensor, ...]:
        """Return copies of the parts of a valid state."""
        count = 1 if self._layer.memory is None else 2
        parts = tuple(state) if isinstance(state, tuple | list) else (state,)
        if len(parts) != count or not all(isinstance(p, Tensor | np.ndarray) for p in parts):
            raise InputError(
                f"state must be {'a tensor or an array' if count == 1 else 'a pair (h, c)'}, got "
                f"{' and '.join(type(part).__name__ for part in parts) or 'nothing'}; pass the "
                "state of a policy of this model"
            )
        for part in parts:
            if isinstance(part, np.ndarray):
                _real("state", part)
            elif part.is_complex():
                raise InputError(f"state is {part.dtype}, expected real numbers; pass its .real")
            else:
                check_dense("state", part, self._device)
        copies = tuple(self._tensor(part).clone() for part in parts)
        neurons = self._layer.state_size
        for part in copies:
            shape = tuple(part.shape)
            if part.dim() not in (1, 2) or shape[-1] != neurons or shape != tuple(copies[0].shape):
                raise InputError(
                    f"state has shape {shape}, expected ({neurons},) or (batch, {neurons}); pass "
                    "the state of a policy of this model"
                )
            if not all_finite(part):
                raise InputError(
                    "state holds a value that is not finite; begin with zeros, by reset()"
                )
        return copies

    def _tensor(self, values: Any) -> Tensor:
        """Return values in the layer's type, on its device; they may share their memory."""
        given: Tensor
        if isinstance(values, np.ndarray):
            given = torch.from_numpy(np.array(values, np.float64))
        else:
            given = values.detach()
        return given.to(self._device, self._layer.cell.dtype)

    @property
    def _device(self) -> torch.device:
        parameter = next(self.model.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def _state_now(self, batch: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Return the parts of the state as the layer needs them now."""
        if self._state is not None:
            return tuple(self._tensor(part) for part in self._state)
        count = 1 if self._layer.memory is None else 2
        zeros = torch.zeros(
            *batch, self._layer.state_size, dtype=self._layer.cell.dtype, device=self._device
        )
        return (zeros,) * count


def _real(name: str, values: Any) -> NDArray[Any]:
    """Return values as an array of real numbers."""
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError, ValueError):  # lists of several lengths, or of odd tensors
        array = np.asarray(None)
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise InputError(
            f"{name} is an array with masked values, expected numbers only; fill them, as by "
            f"{name}.filled(0.0)"
        )
    if array.dtype.kind in REAL:
        return array
    got = type(values).__name__
    if isinstance(values, np.ndarray):
        got = f"an array of {values.dtype}"
    raise InputError(
        f"{name} must be an array of real numbers, a list or a tensor, got {got}; convert it, "
        f"as by np.asarray({name}, np.float32)"
    )


def _checked_limits(
    limits: tuple[ArrayLike, ArrayLike], outputs: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the greatest action, (output,) each."""
    try:
        low, high = (np.broadcast_to(np.asarray(end, np.float64), (outputs,)) for end in limits)
    except (OverflowError, RuntimeError, TypeError, ValueError):
        low, high = np.ones(1), np.zeros(1)
    if not (low <= high).all():
        raise InputError(
            f"got limits {shown(limits)}, expected the least and the greatest action, a number or "
            f"{outputs} numbers each, the lower first; such as (-1, 1)"
        )
    return low, high


def _as_number(elapsed: Any) -> float:
    if isinstance(elapsed, bool) or not isinstance(elapsed, Real):
        raise InputError(
            f"elapsed must be a number, got {type(elapsed).__name__}; pass one duration for the "
            "whole batch, as float(elapsed)"
        )
    try:
        return float(elapsed)
    except OverflowError:
        return math.inf  # refused with those that the layer's precision does not hold


def _array(action: Tensor) -> NDArray[Any]:
    action = action.cpu()
    array: NDArray[Any] = (action.float() if action.dtype is torch.bfloat16 else action).numpy()
    return array
