"""What both ways of running in parallel share: the layer's call, with an error of its states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor

from elegans.checks import as_computed
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
        home = next(layer.parameters()).device
        given = as_computed("input", input, layer.cell.dtype, home)
        batched = layer._check_shape(given)
        x = layer._batch_and_time_first(given, batched)
        first, _ = layer._initial_state(hx, x, batched)
        states, bound, proved = self._states(x, first, layer._elapsed(timespans, x, batched))
        final = states[:, -1] if x.shape[1] else first
        read: Any = self.model.head if isinstance(self.model, Readout) else layer.cell.read
        has_time = layer.return_sequences
        output = read(states if has_time else final)
        output = layer._in_caller_layout(output, batched, has_time=has_time)
        return ParallelRun(output, final if batched else final[0], bound, proved)

    @abstractmethod
    def _states(self, x: Tensor, first: Tensor, elapsed: Tensor) -> tuple[Tensor, float, bool]:
        """Return the states after all steps (batch, time, neuron), the bound, whether proved.

        `first` are the states before, (batch, neuron), and `elapsed` is (batch, time).
        """

    def _run(self, x: Tensor, first: Tensor, elapsed: Tensor) -> Tensor:
        """Return the states of the layer's own loop over time, (batch, time, neuron)."""
        turned = not self.layer.batch_first
        x, elapsed = (x.transpose(0, 1), elapsed.t()) if turned else (x, elapsed)
        states: Tensor = self.layer(x, first, elapsed, return_states=True)[2]
        return states.transpose(0, 1) if turned else states
