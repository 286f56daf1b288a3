r"""A differentiable contraction rate, the penalty that raises it, and the scores of synapses.

At the best weights the derivative of the rate is that of its linear problem (Danskin's theorem),

.. math:: \lambda^* = -\frac{y^T F_\theta(\eta)}{y^T \eta}, \qquad
    \frac{\partial \lambda^*}{\partial \theta}
    = -\frac{y^T \partial_\theta F_\theta(\eta)}{y^T \eta}

with the right and left Perron vectors eta and y held fixed. The box of states is taken as given:
how it moves with the parameters is left out of the gradient, not out of the value.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.errors import InputError, PruningError
from elegans.ltc.dynamics import effective
from elegans.proofs.certificates.contraction import WorstCase
from elegans.proofs.certificates.gates import Gates
from elegans.proofs.certificates.network import (
    Array,
    Index,
    Network,
    Range,
    circuit_of,
    liquid_cell,
    require_between,
)
from elegans.proofs.certificates.perron import Components, best_rates, left_weights
from elegans.proofs.certificates.region import region_of, require_level, rows_of
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart
from elegans.synapses.liquid import SynapseValues

if TYPE_CHECKING:
    from elegans.proofs.certificates.network import LiquidCell


class _OfRates:
    """The circuit, the range of its inputs and the level that rates are asked for."""

    def __init__(self, model: nn.Module, inputs: Range, level: str) -> None:
        require_level(level)
        self.cell, self.inputs, self.level = liquid_cell(model), inputs, level
        Network.of(self.cell).range_of(inputs)  # a wrong range is an error now, not when asked


@checked(InputError)
class CertificateSensitivity(_OfRates):
    r"""Scores synapses by what they are worth to a certificate; for `elegans.pruning.Pruner`.

    The score of a synapse is :math:`w \, \partial (\sum_c \lambda^*_c) / \partial w`, with the
    rates of all strongly connected components: the lowest, which hold the rates down most, are cut
    first. The gradient is that of `contraction_rates`, the box of states held fixed.

    Parameters
    ----------
    model
        A layer without mixed memory, or its cell.
    inputs
        Lowest and highest input, as in `elegans.proofs.certify`.
    level
        As in `elegans.proofs.certify`; ``"float"`` and ``"interval"`` are the same here.

    Raises
    ------
    InputError
        As `elegans.proofs.certify`.
    PruningError
        When asked for a part that is no set of synapses of this circuit.

    Examples
    --------
    >>> from elegans import LTC
    >>> from elegans.pruning import Pruner
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(2, AutoNCP(units=12, output_size=1, seed=3))
    >>> before = float(contraction_rates(model, (-1, 1)).detach().min())
    >>> pruner = Pruner(model, criterion=CertificateSensitivity(model, (-1, 1)), scope="global")
    >>> _ = pruner.prune(0.2)
    >>> float(contraction_rates(model, (-1, 1)).detach().min()) > before
    True
    """

    def __init__(self, model: nn.Module, inputs: Range, *, level: str = "interval") -> None:
        super().__init__(model, inputs, level)

    def __call__(self, part: PrunableWeight) -> Tensor:
        """Return the scores of the synapses of a part, shape (synapse,)."""
        if not isinstance(part, SynapsePart) or part.cell is not self.cell:
            raise PruningError(
                f"{part.name} is no set of synapses of the circuit that this criterion was made "
                "for; exclude it, or make the criterion with the circuit that is pruned"
            )
        with torch.enable_grad():
            rates = contraction_rates(self.cell, self.inputs, level=self.level)
            (gradient,) = torch.autograd.grad(
                rates.sum(), part.parameter, allow_unused=True, materialize_grads=True
            )
        return part.weights() * part.slopes(gradient)


@checked(InputError)
class ContractionPenalty(_OfRates):
    r"""How much the rates of a circuit's components fall short of a margin.

    .. math:: \sum_c \max(0, margin - \lambda^*_c)

    Zero exactly where every strongly connected component contracts at the rate `margin`; then the
    whole circuit does, up to an arbitrarily small loss.

    Parameters
    ----------
    model, inputs, level
        As in `CertificateSensitivity`.
    margin
        The rate to reach, per unit of the elapsed times.

    Raises
    ------
    InputError
        As `elegans.proofs.certify`.

    Examples
    --------
    >>> from elegans import LTC
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(2, AutoNCP(units=12, output_size=1, seed=3))
    >>> penalty = ContractionPenalty(model, inputs=(-1, 1), margin=0.1)
    >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    >>> for _ in range(100):
    ...     optimizer.zero_grad()
    ...     loss = penalty()
    ...     if loss == 0:
    ...         break
    ...     loss.backward()
    ...     optimizer.step()
    >>> float(penalty().detach())
    0.0
    """

    def __init__(
        self, model: nn.Module, inputs: Range, *, margin: float = 0.05, level: str = "interval"
    ) -> None:
        require_between("margin", margin, -math.inf, math.inf)
        super().__init__(model, inputs, level)
        self.margin = margin
        self.rate = float("nan")
        """The rate of the slowest component at the last call."""

    def __call__(self) -> Tensor:
        """Return the penalty, a differentiable scalar in the layer's precision."""
        rates = contraction_rates(self.cell, self.inputs, level=self.level, below=self.margin)
        self.rate = float(rates.detach().min())
        return (self.margin - rates).clamp(min=0.0).sum().to(self.cell.dtype)


@checked(InputError)
def contraction_rates(
    model: nn.Module, inputs: Range, *, level: str = "interval", below: float = float("inf")
) -> Tensor:
    """Return the best rate of each strongly connected component, differentiable.

    Parameters
    ----------
    model, inputs, level
        As in `elegans.proofs.certify`.
    below
        Rates above this need no gradient, which saves time.

    Returns
    -------
    Tensor
        Shape (component,), float64, per unit of the elapsed times.

    Examples
    --------
    Without synapses each neuron is a component, and its rate is that of its leak, g / C:

    >>> from elegans.proofs.claims.small_circuits import circuit
    >>> leaky = circuit(2, leak=[1.0, 3.0], capacitance=0.5)
    >>> contraction_rates(leaky, inputs=(-1, 1)).detach()
    tensor([2., 6.], dtype=torch.float64)
    """
    cell = liquid_cell(model)
    network = Network.of(cell)
    region = region_of(network, network.range_of(inputs), level)
    rows = rows_of(network, region, level)
    components = best_rates(rows, tolerance=1e-4)
    apart = rows.apart(components.of)
    policy = apart.policy(components.eta)
    left = _left(policy, components, below)
    row_values = _differentiable(
        cell, network, region.gates.sensory, region.gates.recurrent, policy, components
    )
    eta, y = (torch.from_numpy(v).to(row_values.device) for v in (components.eta, left))
    label = torch.from_numpy(components.of).to(row_values.device)
    count = len(components.rate)
    above = row_values.new_zeros(count).index_add(0, label, y * row_values)
    under = row_values.new_zeros(count).index_add(0, label, y * eta)
    proven_rate = torch.from_numpy(components.rate).to(row_values.device)
    return torch.where(under > 0, -above / under.clamp(min=1e-300), proven_rate)


def _left(policy: WorstCase, components: Components, below: float) -> Array:
    """Return the left Perron vector of each component slower than `below`, else zeros."""
    left = np.zeros(len(components.of))
    sizes = components.sizes
    alone = (sizes[components.of] == 1) & (components.rate[components.of] < below)
    left[alone] = 1.0
    for label in np.flatnonzero((sizes > 1) & (components.rate < below)):
        neurons = np.flatnonzero(components.of == label)
        part = policy.inside(neurons)
        left[neurons] = left_weights(part, components.eta[neurons], float(components.rate[label]))
    return left


def _differentiable(
    cell: LiquidCell,
    network: Network,
    sensory_gates: Gates,
    recurrent_gates: Gates,
    policy: WorstCase,
    components: Components,
) -> Tensor:
    """Return F_i at the worst gates, components cut off from each other, shape (neuron,)."""
    values = effective(circuit_of(cell))
    recurrent = _double(SynapseValues.of(values.recurrent))
    sensory = _double(SynapseValues.of(values.sensory))
    capacitance, leak = values.cm.double(), values.gleak.double()
    device = leak.device

    def constant(array: Array | Index) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    eta = constant(components.eta)
    cross = components.of[network.recurrent.source] != components.of[network.recurrent.target]
    closed = constant(np.flatnonzero(cross))
    decay = leak + values.epsilon
    for synapses, least in (
        (sensory, constant(sensory_gates.least)),
        (_take(recurrent, closed), constant(recurrent_gates.least[cross])),
    ):
        decay = decay.index_add(0, synapses.target, synapses.weight * _gate(synapses, least))
    chemical, ends = np.flatnonzero(~policy.joined), np.flatnonzero(policy.joined)
    entries = _take(recurrent, constant(policy.synapse[chemical]))
    gate = _gate(entries, constant(policy.gate[chemical]))
    slope = entries.sigma * (entries.erev - constant(policy.xi)[entries.target])
    slope = torch.where(entries.source == entries.target, slope, slope.abs())
    term = entries.weight * gate * (slope * eta[entries.source] * (1 - gate) - eta[entries.target])
    total = (-eta * decay).index_add(0, entries.target, term)
    if values.electrical is not None:
        weight, source, target = values.electrical.weight, policy.source[ends], policy.target[ends]
        place = (policy.synapse[ends] - len(network.recurrent)) % len(weight)  # each has two ends
        apart = eta[constant(source)] - eta[constant(target)]
        current = weight.double()[constant(place)] * constant(policy.gate[ends]) * apart
        total = total.index_add(0, constant(target), current)
    return total / capacitance


def _gate(synapses: SynapseValues, value: Tensor) -> Tensor:
    """Return gates of the given values that follow gain and centre, potentials held fixed.

    Where the worst gate lies inside its range the gradient cancels, and it is exact at an end.
    """
    inside = (value > 0) & (value < 1) & (synapses.sigma != 0)
    safe = torch.where(inside, value, 0.5)
    gain = torch.where(inside, synapses.sigma, 1.0)
    presynaptic = (synapses.mu + torch.logit(safe) / gain).detach()
    return torch.where(inside, torch.sigmoid(gain * (presynaptic - synapses.mu)), value)


def _take(synapses: SynapseValues, which: Tensor) -> SynapseValues:
    return SynapseValues(*(column[which] for column in synapses))


def _double(synapses: SynapseValues) -> SynapseValues:
    source, target, *values = synapses
    return SynapseValues(source.long(), target.long(), *(value.double() for value in values))
