"""The memory cell of mixed-memory networks."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from elegans.placement import Placement


class MemoryCell(nn.Module):
    """An LSTM step that carries long-term memory beside a liquid state.

    c' = sigmoid(f + 1) c + sigmoid(i) tanh(z),  h' = sigmoid(o) tanh(c'), where z, i, f, o are
    the four parts of input_map(x) + recurrent_map(h). The unit added to the forget gate keeps
    memories at the beginning of training.

    References
    ----------
    Lechner, Hasani, "Learning long-term dependencies in irregularly-sampled time series",
    arXiv:2006.04418 (2020).
    """

    def __init__(
        self,
        input_size: int,
        state_size: int,
        *,
        generator: torch.Generator | None = None,
        **where: Unpack[Placement],
    ) -> None:
        super().__init__()
        self.input_map = nn.Linear(input_size, 4 * state_size, bias=True, **where)
        self.recurrent_map = nn.Linear(state_size, 4 * state_size, bias=False, **where)
        nn.init.xavier_uniform_(self.input_map.weight, generator=generator)
        nn.init.uniform_(self.input_map.bias, -0.1, 0.1, generator=generator)
        nn.init.orthogonal_(self.recurrent_map.weight, generator=generator)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Take one step from (h, c), each (batch, neuron), and return the new pair."""
        h, c = state
        z, i, f, o = (self.input_map(x) + self.recurrent_map(h)).chunk(4, dim=-1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(z)
        return torch.sigmoid(o) * torch.tanh(c), c
