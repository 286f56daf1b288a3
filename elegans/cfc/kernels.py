"""The cells of CfCs bound to kernels that run whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  # the name every torch reader knows
from torch import Tensor, nn

from elegans.cfc.backbone import ACTIVATIONS, HEIGHT, STEEPNESS
from elegans.cfc.closed_form import ClosedForm, solve
from elegans.hooks import any_global_hook, hooks_of
from elegans.layers.execution import choose_closed_form, memory_may_go

if TYPE_CHECKING:
    from elegans.cfc.cell import CfCCell
    from elegans.cfc.wired_cell import WiredCfCCell


def run_dense(cell: CfCCell, inputs: Tensor, state: Tensor, elapsed: Tensor) -> Tensor | None:
    """Return the states (batch, time, neuron), or None where the reference path shall run."""
    from elegans.cfc.cell import CfCCell

    maps = [cell.input_map, cell.recurrent_map, *cell.backbone]
    maps += [] if cell.maps is None else [cell.maps]
    reason = _own_steps(cell, CfCCell) or _hooked(*maps, cell.solution)
    if cell.backbone_dropout and cell.training:
        reason = "dropout silences other units of the backbone in each step"
    form = _form(cell.solution, inputs)
    if not choose_closed_form(reason, inputs, state, elapsed, *form, *_parameters(maps)):
        return None
    # The first layer reads inputs and state.
    layers = [torch.cat([cell.input_map.weight, cell.recurrent_map.weight], 1)]
    for k, layer in enumerate(maps):
        layers += [] if k < 2 else [layer.weight]
        layers += [] if layer.bias is None else [layer.bias]
    activation = ACTIVATIONS[cell.backbone_activation].value

    def reference(
        x: Tensor, state: Tensor, elapsed: Tensor, rate: Tensor, asymptote: Tensor, *layers: Tensor
    ) -> Tensor:
        last = len(layers) - 2
        states = []
        for t in range(x.shape[1]):
            y, dt = torch.cat([x[:, t], state], 1), elapsed[:, t : t + 1]
            for k in range(0, len(layers), 2):
                y = F.linear(y, *layers[k : k + 2])
                y = activation(y) if k < last else y
            pure = (rate, asymptote) if cell.mode == "pure" else (None, None)
            new = solve(cell.mode, *cell.split(y), dt, *pure)
            state = torch.where(dt > 0, new, state)
            states.append(state)
        return torch.stack(states, dim=1)

    from elegans.solvers.fused import closed_form  # imports numba, only where a kernel runs

    is_lecun = cell.backbone_activation == "lecun_tanh"
    return closed_form(
        _held(cell.input_mapping(inputs), state, elapsed, *form, *layers),
        [],
        cell.mode,
        activation="tanh" if is_lecun else cell.backbone_activation,
        height=HEIGHT if is_lecun else 1.0,
        steepness=STEEPNESS if is_lecun else 1.0,
        reference=reference,
    )


def run_wired(cell: WiredCfCCell, inputs: Tensor, state: Tensor, elapsed: Tensor) -> Tensor | None:
    """Return the states (batch, time, neuron), or None where the reference path shall run."""
    from elegans.cfc.wired_cell import WiredCfCCell

    reason = _own_steps(cell, WiredCfCCell) or _hooked(cell.solution)
    form = _form(cell.solution, inputs)
    sets = list(cell.synapse_sets().values())
    own = [synapses.weight for synapses in sets]
    if not choose_closed_form(reason, inputs, state, elapsed, *form, cell.bias, *own):
        return None

    def reference(
        x: Tensor,
        state: Tensor,
        elapsed: Tensor,
        rate: Tensor,
        asymptote: Tensor,
        bias: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        def solution(heads: Tensor, gates: Tensor, elapsed: Tensor, neurons: slice) -> Tensor:
            is_pure = cell.mode == "pure"
            pure = (rate[neurons], asymptote[neurons]) if is_pure else (None, None)
            return solve(cell.mode, heads, gates, elapsed, *pure)

        sensed = cell.sensed_by(weights, bias, x)
        states = []
        for t in range(x.shape[1]):
            state = cell.step_by(solution, sensed, t, state, elapsed[:, t : t + 1])
            states.append(state)
        return torch.stack(states, dim=1)

    from elegans.solvers.fused import closed_form  # imports numba, only where a kernel runs

    weights = [synapses.weights() for synapses in sets]
    return closed_form(
        _held(cell.input_mapping(inputs), state, elapsed, *form, cell.bias, *weights),
        [*(end for synapses in sets for end in synapses.ends()), cell.layer_sizes],
        cell.mode,
        reference=reference,
    )


def _form(solution: ClosedForm, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return rate and asymptote, without elements where there are none."""
    if solution.rate is None or solution.asymptote is None:
        return like.new_empty(0), like.new_empty(0)
    return solution.rate, solution.asymptote


def _parameters(modules: Sequence[nn.Module]) -> list[Tensor]:
    return [parameter for module in modules for parameter in module.parameters()]


def _own_steps(cell: nn.Module, kind: type[nn.Module]) -> str | None:
    """Return that a subclass takes steps of its own, or None."""
    for name in ("sense", "step", "unroll"):
        if getattr(type(cell), name) is not getattr(kind, name):
            return f"{type(cell).__name__} has a `{name}` of its own"
    return None


def _hooked(*modules: nn.Module) -> str | None:
    """Return that hooks take part in the calls of modules, or None."""
    if any_global_hook() or any(any(hooks_of(module)) for module in modules):
        return "hooks take part in the calls of the cell's modules"
    return None


def _held(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors, or copies where their memory may go between the passes."""
    return tuple(tensor.clone() for tensor in tensors) if memory_may_go() else tensors
