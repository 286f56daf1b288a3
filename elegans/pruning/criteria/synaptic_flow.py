"""A criterion without data: the flow of each weight from inputs to outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.ensemble.ensemble import Ensemble
from elegans.errors import PruningError
from elegans.layers.cell import Cell
from elegans.pruning.criteria.magnitude import Criterion, ScoringContext
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import StackedSynapsePart, SynapsePart
from elegans.wiring.wiring import SENSORY


@checked(PruningError)
class SynapticFlow(Criterion):
    r"""The flow through a weight, from all inputs to all outputs.

    .. math:: s_k = |w_k| \, \frac{\partial R}{\partial |w_k|}, \qquad R = \sum \text{outputs}

    where all parameters are replaced by their magnitudes and all inputs by one. Of a liquid
    circuit, R is the sum over all paths from inputs to neurons that are read, of as many synapses
    as the circuit has layers or fewer (one more where these are not the motor neurons), of the
    product of their conductances.

    The flow into a neuron equals the flow out of it, so that a layer is not emptied while others
    are full, if weights are cut in many small rounds: ``prune(sparsity, rounds=100)`` with the
    scope ``"global"``.

    Parameters
    ----------
    inputs
        One example of the model's input, of which only the shape counts. May be left out for
        liquid layers, and for models whose first weight is that of a ``torch.nn.Linear``.

    Raises
    ------
    PruningError
        From `Pruner.prune` and `Pruner.step`: the shape of the input cannot be guessed, the flow is
        not finite, or the model is an ensemble of liquid layers.

    Examples
    --------
    >>> from elegans.pruning import Pruner
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> pruner = Pruner(model, criterion=SynapticFlow(), scope="global")
    >>> sparsities = pruner.prune(0.75, rounds=20)
    >>> pruner.sparsity
    0.75

    References
    ----------
    Tanaka, Kunin, Yamins, Ganguli, "Pruning neural networks without any data by iteratively
    conserving synaptic flow", NeurIPS 2020, section 5.
    """

    def __init__(self, inputs: Tensor | None = None) -> None:
        self._inputs = inputs

    def scores(self, context: ScoringContext) -> list[Tensor]:
        """Return abs(w) dR/d abs(w)."""
        cells: dict[int, dict[str, Tensor]] = {}
        ordinary = [part for part in context.parts if not isinstance(part, SynapsePart)]
        flows = dict(zip(map(id, ordinary), self._of_modules(context, ordinary), strict=True))
        for part in context.parts:
            if isinstance(part, SynapsePart):
                if id(part.cell) not in cells:
                    cells[id(part.cell)] = _of_circuit(part.cell)
                flows[id(part)] = cells[id(part.cell)][part.kind]
        return [flows[id(part)] for part in context.parts]

    def _of_modules(self, context: ScoringContext, parts: list[PrunableWeight]) -> list[Tensor]:
        if not parts:
            return []
        for part in parts:
            if isinstance(part, StackedSynapsePart):
                raise PruningError(
                    f"{part.name} holds the circuits of several members, in each of which the flow "
                    "takes other ways; prune one member at a time by synaptic flow"
                )
        inputs = self._inputs if self._inputs is not None else _infer(context.model)
        like = parts[0].parameter
        ones = torch.ones_like(inputs, dtype=like.dtype, device=like.device)
        with magnitudes(context.model), torch.enable_grad():
            output = context.model(ones)
            while isinstance(output, tuple | list):
                output = output[0]
            parameters = [part.parameter for part in parts]
            gradients = torch.autograd.grad(
                output.sum(), parameters, allow_unused=True, materialize_grads=True
            )
        flows = [part.weights().abs() * slope for part, slope in zip(parts, gradients, strict=True)]
        for part, flow in zip(parts, flows, strict=True):
            if not bool(torch.isfinite(flow).all()):
                raise PruningError(
                    f"the synaptic flow through {part.name} is not finite; nothing was pruned: "
                    "take a model in float64, whose products of many layers do not overflow"
                )
        return flows


@contextmanager
def magnitudes(model: nn.Module) -> Iterator[None]:
    """Let all parameters be their magnitudes for a while, and dropout and the like be at rest."""
    kept = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    training = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.abs_()
        model.eval()
        yield
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(kept[name])
        for module, was in training.items():
            module.training = was


def _infer(model: nn.Module) -> Tensor:
    single = model.template if isinstance(model, Ensemble) else model
    for module in single.modules():
        if isinstance(module, nn.Linear):
            return torch.ones(1, module.in_features)
        if next(module.parameters(recurse=False), None) is not None:
            break
    raise PruningError(
        f"synaptic flow cannot guess the input of {type(model).__name__}; pass "
        "criterion=SynapticFlow(inputs) with one example of its input"
    )


def _of_circuit(cell: Cell) -> dict[str, Tensor]:
    """Return the flow through the synapses of each kind, each of shape (synapse,)."""
    sets = cell.synapse_sets()
    weights = {kind: s.strength().double().requires_grad_() for kind, s in sets.items()}
    like = next(iter(weights.values()))
    flow = torch.zeros(cell.state_size, dtype=torch.float64, device=like.device)
    for kind in (kind for kind in sets if kind.endswith(SENSORY)):
        flow = flow.index_add(0, sets[kind].target.long(), weights[kind])
    read = torch.from_numpy(cell.output_neurons.copy()).to(like.device)
    total = flow[read].sum()
    wiring = cell.wiring
    for _ in range(len(wiring.layers) - (not wiring.has_outputs_elsewhere)):
        arriving = torch.zeros_like(flow)
        for kind in (kind for kind in sets if not kind.endswith(SENSORY)):
            passing = weights[kind] * flow[sets[kind].source.long()]
            arriving = arriving.index_add(0, sets[kind].target.long(), passing)
            if sets[kind].is_mutual:
                passing = weights[kind] * flow[sets[kind].target.long()]
                arriving = arriving.index_add(0, sets[kind].source.long(), passing)
        flow = arriving
        total = total + flow[read].sum()
    slopes = torch.autograd.grad(
        total, list(weights.values()), allow_unused=True, materialize_grads=True
    )
    return {
        kind: weight.detach() * slope
        for (kind, weight), slope in zip(weights.items(), slopes, strict=True)
    }
