"""Liquid synapses: slots with conductance, gain, centre and reversal potential."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.checks import Placement, check_keywords
from elegans.errors import InputError
from elegans.solvers.circuit import Slots
from elegans.synapses.conductance import ConductanceSynapses
from elegans.synapses.constraints import Positivity, signed
from elegans.synapses.initial import INITIAL_RANGES, Initializer
from elegans.synapses.plain import PlainSynapses
from elegans.synapses.slots import FreshSynapses
from elegans.synapses.sums import places
from elegans.wiring import Synapses


class SynapseValues(NamedTuple):
    """Effective values of a set of synapses, each of shape (synapse,)."""

    source: Tensor
    target: Tensor
    weight: Tensor
    """Conductance w >= 0."""
    sigma: Tensor
    """Gain s of the gate."""
    mu: Tensor
    """Centre m of the gate."""
    erev: Tensor
    """Reversal potential E."""

    @classmethod
    def of(cls, slots: Slots) -> SynapseValues:
        """Return parameters that no constraint changes."""
        source, target, _, *values = slots
        return cls(source, target, *values)

    def slots(self) -> Slots:
        """Return the same as parameters that no constraint changes."""
        source, target, *values = self
        return Slots(source, target, None, *values)

    def gate(self, state: Tensor) -> Tensor:
        r"""Return w \sigma(s (x_j - m)), the open conductance, shape (..., synapse)."""
        presynaptic = state.index_select(-1, places(self.source))
        return self.weight * torch.sigmoid(self.sigma * (presynaptic - self.mu))

    def add_to(self, conductance: Tensor, drive: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Add each target's open conductance and driving current to what is given.

        `state` holds the presynaptic potentials, shape (..., source); `conductance` and `drive`
        have the shape (..., neuron).
        """
        gate, target = self.gate(state), places(self.target)
        return (
            conductance.index_add(-1, target, gate),
            drive.index_add(-1, target, gate * self.erev),
        )


def values_of(slots: Slots, positivity: Positivity) -> SynapseValues:
    """Return the effective values of free parameters."""
    source, target, polarity, weight, sigma, mu, erev = slots
    potential = erev if polarity is None else signed(erev, polarity)
    return SynapseValues(source, target, positivity(weight), sigma, mu, potential)


@checked(InputError)
class LiquidSynapses(ConductanceSynapses):
    """Liquid synapses: a conductance, a gain, a centre and a reversal potential in each slot.

    A pruned synapse has conductance zero.

    Parameters
    ----------
    synapses
        The connections, in the order of the slots.
    initial
        Draws the initial conductance, gain and centre. The reversal potential begins at the
        polarity, +1 or -1.
    fixed_polarity
        Whether the reversal potential keeps the sign of the polarity: E = polarity * abs(erev).
        Otherwise E = erev, and the polarity follows its sign.
    generator
        Source of randomness; PyTorch's default generator when None.
    **factory_kwargs
        ``device`` and ``dtype`` of the parameters.
    """

    VALUES: ClassVar[tuple[str, ...]] = ("weight", "sigma", "mu", "erev")

    sigma: Tensor
    mu: Tensor
    erev: Tensor

    def __init__(
        self,
        synapses: Synapses,
        initial: Initializer,
        *,
        fixed_polarity: bool = True,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        check_keywords(type(self), factory_kwargs)
        super().__init__(synapses, initial, device=factory_kwargs.get("device"))
        self.fixed_polarity = fixed_polarity
        for name in self.VALUES:
            parameter = nn.Parameter(torch.empty(len(synapses), **factory_kwargs))
            self.register_parameter(name, parameter)
        self.reset_parameters(synapses, generator)

    @torch.no_grad()
    def reset_parameters(
        self, synapses: Synapses, generator: torch.Generator | None = None
    ) -> None:
        """Hold `synapses`, as many as there are slots, all open, with freshly drawn values."""
        self.connect(synapses)
        for name in ("weight", "sigma", "mu"):
            self._draw(name, generator)
        self.erev.copy_(self.polarity)

    def forward(self) -> SynapseValues:
        """Return the effective values, constraints applied; zero conductance where pruned."""
        values = values_of(self.slots(), self.positivity)
        fresh = self._candidates
        if fresh is None:
            return values
        columns = (
            fresh.source,
            fresh.target,
            fresh.strength,
            fresh.values["gain"],
            fresh.values["centre"],
            fresh.polarity,
        )
        pairs = zip(values, columns, strict=True)
        return SynapseValues(*(torch.cat([first, second.to(first)]) for first, second in pairs))

    def values(self) -> SynapseValues:
        """Return the effective values; calls the module, so that hooks and masks take part."""
        values: SynapseValues = self()
        return values

    def slots(self) -> Slots:
        """Return connections and free parameters; those of pruned synapses stand for zero.

        Under a softplus a parameter of zero, such as ``torch.nn.utils.prune`` sets, would not.
        """
        weight = self.masked(self.weight, self.positivity.closed)
        return Slots(
            self.source,
            self.target,
            self.polarity if self.fixed_polarity else None,
            weight,
            self.sigma,
            self.mu,
            self.erev,
        )

    def current_polarity(self) -> Tensor:
        """Return +1 or -1 for each slot: the sign of its reversal potential, shape (synapse,)."""
        if self.fixed_polarity:
            return self.polarity
        sign = self.erev.detach().sign().to(self.polarity.dtype)
        return torch.where(sign == 0, self.polarity, sign)

    @torch.no_grad()
    def plain(self, neurons: int) -> PlainSynapses:
        """Return the open synapses onto so many neurons as plain numbers."""
        is_open = self.is_open.cpu()
        columns = (column.detach().cpu()[is_open].double().numpy() for column in self.values())
        source, target, weight, gain, centre, potential = columns
        values = {"weight": weight, "gain": gain, "centre": centre, "potential": potential}
        return PlainSynapses.sorted(source, target, neurons, **values)

    # --- values for operators ------------------------------------------------------------

    def reversal_potential(self) -> Tensor:
        """Return the reversal potentials E, detached, shape (synapse,)."""
        return self.values().erev.detach()

    def open_conductance(self, potentials: Tensor) -> Tensor:
        r"""Return w \sigma(s (x_j - m)), shape (..., synapse), for potentials (..., source)."""
        return self.values().gate(potentials)

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw gains and centres from their initial ranges, each of shape (count,)."""
        like = self.weight
        return {
            name: like.new_tensor(rng.uniform(*INITIAL_RANGES[parameter], size=count))
            for name, parameter in (("gain", "sigma"), ("centre", "mu"))
        }

    def _write(self, slots: Tensor, fresh: FreshSynapses) -> None:
        self.weight[slots] = self.positivity.inverse(fresh.strength.to(self.weight))
        self.sigma[slots] = fresh.values["gain"].to(self.sigma)
        self.mu[slots] = fresh.values["centre"].to(self.mu)
        self.erev[slots] = fresh.polarity.to(self.erev)
