"""One call on the GPU: the same contract as `elegans.solvers.fused.cpu.problem`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elegans.solvers.fused.gpu import host
from elegans.solvers.fused.order import ByEnd, by_end, by_target
from elegans.solvers.fused.settings import POSITIVITY, Settings


class GpuProblem:
    """Effective values in the order that kernels read.

    Constraints and mappings are PyTorch's business here: `tensors` are those of a `Circuit` with
    the positivity ``"identity"`` and neither scales nor shifts.
    """

    def __init__(self, tensors: Any, connections: Any, settings: Settings) -> None:
        x, initial, elapsed = (t.detach() for t in tensors[:3])
        raw = [t.detach() for t in tensors[7:18]]
        free = POSITIVITY[settings.positivity] != "identity"
        free = free or any(tensor is not None for tensor in tensors[3:7])
        if free or connections[2] is not None or connections[5] is not None:
            raise ValueError("on the GPU, constraints and mappings are to be applied before")
        self.settings = settings
        self._orders = [
            by_target(source, target, initial.shape[1])
            for source, target in (connections[:2], connections[3:5])
        ]
        values = [torch.stack(raw[:4]), torch.stack(raw[4:8])]
        self._raw = raw
        self._junctions: ByEnd | None = None
        gleak, vleak, cm = raw[8:]
        neuron = torch.stack([cm, gleak + settings.epsilon, gleak * vleak])
        synapses: list[Tensor] = []
        for order, value in zip(self._orders, values, strict=True):
            if order.order is not None:
                value = value.index_select(1, order.order)
            synapses += [order.source, order.start, value]
        if tensors[18] is None:
            nothing = torch.zeros(initial.shape[1] + 1, dtype=torch.int32, device=x.device)
            synapses += [nothing[:0], nothing, x.new_zeros(4, 0)]
        else:
            source, target, rectifying = connections[6:9]
            by = self._junctions = by_end(source, target, rectifying, initial.shape[1])
            weight = tensors[18].detach().index_select(0, by.order)
            rows = weight, by.way.to(weight), *torch.zeros_like(weight).expand(2, -1)
            synapses += [by.source, by.start, torch.stack(rows)]
        steps = settings.unfolds, settings.exponential
        given: Any = (x, initial, elapsed, *synapses, neuron, *steps)
        self._given = host.SequenceArguments(*given)

    def run(self, needs_gradient: bool) -> tuple[Tensor, Tensor, None]:
        """Return output and states."""
        states = host.forward(self._given)
        return states[..., : self.settings.outputs].clone(), states, None

    def give_back(self, kept: None) -> None:
        """Do nothing: nothing is kept."""

    def back(
        self,
        from_output: Tensor | None,
        from_states: Tensor | None,
        states: Tensor,
        kept: None,
        wants_h: bool,
    ) -> list[Tensor | None]:
        """Return the gradients of all tensors."""
        gradient = torch.zeros_like(states) if from_states is None else from_states.clone()
        if from_output is not None:
            gradient[..., : self.settings.outputs] += from_output
        gradients = host.backward(self._given, gradient, states)
        of_values: list[Tensor] = []
        for order, value in zip(self._orders, gradients[3:5], strict=True):
            if order.order is not None:
                value = torch.empty_like(value).index_copy_(1, order.order, value)
            of_values += value.unbind()
        of_junctions = None
        if self._junctions is not None:
            junction = self._junctions.order
            of_junctions = gradients[5].new_zeros(len(junction) // 2)
            of_junctions = of_junctions.index_add(0, junction, gradients[5][0])
        from_c, from_g, from_a = gradients[6].unbind()
        gleak, vleak, _ = self._raw[8:]
        neurons = [from_g + from_a * vleak, from_a * gleak, from_c]
        return [*gradients[:3], None, None, None, None, *of_values, *neurons, of_junctions]
