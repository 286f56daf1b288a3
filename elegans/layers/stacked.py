"""Layers one on another, forwards in time or both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the name every torch reader knows
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from elegans.arguments import checked
from elegans.checks import check_count, check_share
from elegans.errors import InputError
from elegans.layers.packed import run_packed
from elegans.layers.sequence_layer import SequenceLayer, State
from elegans.layers.states import Shared


@checked(InputError)
class Stacked(Shared):
    r"""Layers one on another, like `num_layers`, `dropout` and `bidirectional` of ``nn.LSTM``.

    Each layer reads the outputs of the one below. Both ways, a second layer reads the sequence
    from its end, and the outputs of the two stand side by side. From the end on, the time from a
    step to the next one is that which the later of the two lasts, so that both layers take

    .. math:: \Delta t_0, \Delta t_1, \dots, \Delta t_{T-1} \quad\text{and}\quad
              \Delta t_0, \Delta t_{T-1}, \dots, \Delta t_1.

    Parameters
    ----------
    make
        Called with a number of inputs for each layer and way, returns a new layer.
    input_size
        Number of inputs.
    num_layers
        How many layers there are.
    dropout
        Share of outputs between layers that training silences, in [0, 1).
    bidirectional
        Whether a second layer reads backwards.
    return_sequences, batch_first
        As in `SequenceLayer`; the last output both ways is that after all steps of each way.

    Raises
    ------
    InputError
        An argument is not valid, or `make` returns something else.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> model = Stacked(
    ...     lambda inputs: elegans.LTC(inputs, AutoNCP(16, 4)), 3, num_layers=2, bidirectional=True
    ... )
    >>> output, states = model(torch.zeros(2, 10, 3))
    >>> output.shape, [tuple(state.shape) for state in states]
    (torch.Size([2, 10, 8]), [(2, 16), (2, 16), (2, 16), (2, 16)])
    """

    def __init__(
        self,
        make: Callable[[int], SequenceLayer],
        input_size: int,
        num_layers: int = 1,
        *,
        dropout: float = 0.0,
        bidirectional: bool = False,
        return_sequences: bool = True,
        batch_first: bool = True,
    ) -> None:
        super().__init__()
        self.input_size = check_count("input_size", input_size)
        self.bidirectional = bidirectional
        self.return_sequences = return_sequences
        self.batch_first = batch_first
        self.dropout = check_share("dropout", dropout)
        self.layers = nn.ModuleList()
        width = self.input_size
        for _ in range(check_count("num_layers", num_layers)):
            ways = [_checked(make(width), width) for _ in range(1 + bidirectional)]
            self.layers.append(nn.ModuleList(ways))
            width = sum(way.output_size for way in ways)
            for way in ways:
                way.return_sequences = True
        for way in ways:
            way.return_sequences = return_sequences
        self.output_size = width

    def extra_repr(self) -> str:
        """Return what the layers do not say, for ``print(model)``."""
        return f"dropout={self.dropout:g}, bidirectional={self.bidirectional}"

    @property
    def num_layers(self) -> int:
        """How many layers stand one on another."""
        return len(self.layers)

    def apply_weight_constraints(self) -> None:
        """Clip the parameters of the layers that must not be negative."""
        for layer in chain.from_iterable(self.ways()):
            layer.apply_weight_constraints()

    def ways(self) -> list[list[SequenceLayer]]:
        """Return the layers, each the way forwards and, if there is one, the way backwards."""
        return [list(ways) for ways in self.layers]  # type: ignore[call-overload]

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Sequence[State | None] | None = None,
        timespans: Tensor | PackedSequence | None = None,
        *,
        lengths: Tensor | None = None,
    ) -> tuple[Any, tuple[State, ...]]:
        """Run the layers over sequences.

        Parameters
        ----------
        input, timespans, lengths
            As in `SequenceLayer.forward`.
        hx
            A state for each layer, or for each layer and way, as they are returned; zeros by
            default.

        Returns
        -------
        output
            As of a layer, of the size `output_size`.
        hx
            The final states, layer by layer, that of the way forwards first.

        Raises
        ------
        InputError, SolveError
            As in `SequenceLayer.forward`, or the number of states is another one.
        """
        if isinstance(input, PackedSequence):
            return run_packed(self, input, hx, timespans, self.batch_first, {"lengths": lengths})
        count = self.num_layers * (1 + self.bidirectional)
        states: list[Any] = [None] * count if hx is None else list(hx)
        if len(states) != count:
            raise InputError(
                f"hx holds {len(states)} states, expected {count}: one for each layer"
                + (" and way" if self.bidirectional else "")
            )
        transposed = not self.batch_first and isinstance(input, Tensor) and input.dim() == 3
        x, clock = _swapped(input, timespans) if transposed else (input, timespans)
        finals: list[State] = []
        for ways in self.ways():
            if finals:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for layer, run in zip(ways, (_forwards, _backwards), strict=False):
                output, state = run(layer, x, states[len(finals)], clock, lengths)
                outputs.append(output)
                finals.append(state)
            x = torch.cat(outputs, dim=-1)
        return x.transpose(0, 1) if transposed and self.return_sequences else x, tuple(finals)


def _checked(layer: Any, inputs: int) -> SequenceLayer:
    if not isinstance(layer, SequenceLayer) or layer.input_size != inputs:
        got = type(layer).__name__
        got += f" of {layer.input_size} inputs" if isinstance(layer, SequenceLayer) else ""
        raise InputError(
            f"make({inputs}) returned a {got}, expected a layer of as many inputs, such as "
            "elegans.LTC"
        )
    if not layer.batch_first:
        raise InputError(
            "make returned a layer of batch_first=False, expected True; pass batch_first=False to "
            "Stacked"
        )
    return layer


def _swapped(x: Tensor, clock: Any) -> tuple[Tensor, Any]:
    has_batch = isinstance(clock, Tensor) and clock.dim() > 1
    return x.transpose(0, 1), clock.transpose(0, 1) if has_batch else clock


def _forwards(
    layer: SequenceLayer, x: Tensor, state: State | None, clock: Any, lengths: Tensor | None
) -> tuple[Any, ...]:
    answer: tuple[Any, ...] = layer(x, state, clock, lengths=lengths)
    return answer


def _backwards(
    layer: SequenceLayer, x: Tensor, state: State | None, clock: Any, lengths: Tensor | None
) -> tuple[Any, ...]:
    """Run a layer from the end of each sequence to its beginning; outputs come in order."""
    time = x.shape[-2]
    step = torch.arange(time, device=x.device)
    ends = torch.as_tensor(time if lengths is None else lengths, device=x.device).reshape(-1, 1)
    from_end = torch.where(step < ends, ends - 1 - step, step)  # (batch or 1, time)
    if isinstance(clock, Tensor):
        has_last = clock.dim() == x.dim()
        since = torch.where((step > 0) & (step < ends), ends - step, step)
        clock = _in_order(clock if has_last else clock.unsqueeze(-1), since, x.dim())
        clock = clock if has_last else clock.squeeze(-1)
    output, final = layer(_in_order(x, from_end, x.dim()), state, clock, lengths=lengths)
    if layer.return_sequences:
        output = _in_order(output, from_end, x.dim())
    return output, final


def _in_order(values: Tensor, order: Tensor, dims: int) -> Tensor:
    """Return values (batch, time, size), or (time, size), at the steps (batch or 1, time)."""
    if dims == 2:
        return values[order[0]]
    if len(order) == 1:
        return values[:, order[0]]
    index = order.unsqueeze(-1).expand(-1, -1, values.shape[-1])
    return values.expand(len(order), -1, -1).gather(1, index)
