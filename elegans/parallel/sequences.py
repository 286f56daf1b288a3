"""What both ways of running in parallel share: the layer's call, with an error of its states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elegans.errors import InputError
from elegans.layers.readout import Readout, circuit_of
from elegans.layers.sequence_layer import SequenceLayer

Model = SequenceLayer | Readout


class ParallelRun(NamedTuple):
    """What a run in parallel returns.

    Parameters
    ----------
    output
        As of the model: (batch, time, output), (time, output) for one sequence, or the last one.
    state
        The final state, (batch, neuron) or (neuron,).
    bound
        What no output differs by from that of the loop over time, rounding aside, where `proved`;
        otherwise the largest residual of a potential: how far a step from a state ends from the
        next one.
    proved
        Whether a certificate proves the bound.
    """

    output: Tensor
    state: Tensor
    bound: float
    proved: bool


class InTime(ABC):
    """A model that is called like itself, and runs over its sequences in parallel.

    Parameters
    ----------
    model
        A layer without mixed memory, with a `Readout` or without one. Its parameters stay its own.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.layer = circuit_of(model)
        if self.layer.memory is not None:
            raise InputError(
                "got a layer with mixed memory, expected one without: nothing is known of how fast "
                "its memory forgets; call the layer itself"
            )

    def __call__(
        self, input: Tensor, hx: Tensor | None = None, timespans: Tensor | None = None
    ) -> ParallelRun:
        """Run over sequences; arguments and shapes are those of the layer.

        Raises
        ------
        InputError
            As the layer, or what is proved does not hold for these inputs.
        SolveError
            As the layer, or the iteration does not converge.
        """
        layer = self.layer
        x = input if isinstance(input, Tensor) else torch.as_tensor(input)
        batched = x.dim() == 3
        if x.dim() not in (2, 3) or x.shape[-1] != layer.input_size:
            raise InputError(
                f"input has shape {tuple(x.shape)}, expected (batch, time, input) or (time, input) "
                f"with {layer.input_size} inputs"
            )
        x = x.to(dtype=layer.cell.dtype)
        turned = batched and not layer.batch_first
        x = x.transpose(0, 1) if turned else x if batched else x.unsqueeze(0)
        elapsed = self._elapsed(timespans, x, turned)
        initial = hx if hx is None or batched else hx.unsqueeze(0)
        states, bound, proved = self._states(x, initial, elapsed)
        final = states[:, -1] if x.shape[1] else self._initial(initial, x)
        read: Any = self.model.head if isinstance(self.model, Readout) else layer.cell.read
        output = read(states)
        if not layer.return_sequences:
            output = output[:, -1] if x.shape[1] else read(final)
            turned = False
        if not batched:
            return ParallelRun(output[0], final[0], bound, proved)
        return ParallelRun(output.transpose(0, 1) if turned else output, final, bound, proved)

    @abstractmethod
    def _states(
        self, x: Tensor, hx: Tensor | None, elapsed: Tensor | None
    ) -> tuple[Tensor, float, bool]:
        """Return the states after all steps (batch, time, neuron), the bound, whether proved."""

    def _elapsed(self, timespans: Tensor | None, x: Tensor, turned: bool) -> Tensor | None:
        """Return elapsed times (batch, time), None for 1 a step."""
        if timespans is None:
            return None
        clock = torch.as_tensor(timespans, device=x.device)
        if clock.dim() > 1 and clock.shape[-1] == 1 and clock.dim() == x.dim():
            clock = clock.squeeze(-1)
        clock = clock.t() if turned and clock.dim() == 2 else clock
        if tuple(clock.shape) not in ((x.shape[1],), (1, x.shape[1]), tuple(x.shape[:2])):
            raise InputError(
                f"timespans must hold one elapsed time a step, {x.shape[1]} for each of "
                f"{len(x)} sequences, got shape {tuple(timespans.shape)}"
            )
        return clock.to(x).expand(x.shape[:2])

    def _initial(self, hx: Tensor | None, x: Tensor) -> Tensor:
        """Return the state to begin with, (batch, neuron)."""
        if hx is None:
            return x.new_zeros(len(x), self.layer.state_size)
        return hx.to(x).expand(len(x), self.layer.state_size)

    def _run(self, x: Tensor, hx: Tensor | None, elapsed: Tensor | None) -> Tensor:
        """Return the states of the layer's own loop over time, (batch, time, neuron)."""
        if not self.layer.batch_first:
            x = x.transpose(0, 1)
            elapsed = None if elapsed is None else elapsed.t()
        states: Tensor = self.layer(x, hx, elapsed, return_states=True)[2]
        return states if self.layer.batch_first else states.transpose(0, 1)
