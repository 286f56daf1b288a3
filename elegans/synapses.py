"""Synapses of a layer: slots that hold a connection and its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elegans.constraints import signed
from elegans.errors import InputError
from elegans.initial import Initializer
from elegans.placement import Placement
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

    def gate(self, state: Tensor) -> Tensor:
        r"""Return w \sigma(s (x_j - m)), the open conductance, shape (..., synapse)."""
        presynaptic = state.index_select(-1, self.source)
        return self.weight * torch.sigmoid(self.sigma * (presynaptic - self.mu))

    def add_to(self, conductance: Tensor, drive: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Add each target's open conductance and driving current to what is given.

        `state` holds the presynaptic potentials, shape (..., source); `conductance` and `drive`
        have the shape (..., neuron).
        """
        gate = self.gate(state)
        return (
            conductance.index_add(-1, self.target, gate),
            drive.index_add(-1, self.target, gate * self.erev),
        )


class SynapseParameters(nn.Module):
    """The synapses of a layer as slots: `source`, `target`, `polarity` and four parameters.

    Parameters exist only for synapses that exist. Slots are stable: rewiring changes the target
    of a slot and resets its values, so that shapes and the state of optimisers stay valid. The
    connection is held in buffers and travels with the ``state_dict``.

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
    """

    source: Tensor
    target: Tensor
    polarity: Tensor
    weight: Tensor
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
        **where: Unpack[Placement],
    ) -> None:
        super().__init__()
        self.fixed_polarity = fixed_polarity
        self._initial = initial
        for name in ("source", "target", "polarity"):
            column = torch.from_numpy(getattr(synapses, name).copy())
            self.register_buffer(name, column.to(where.get("device")))
        for name in ("weight", "sigma", "mu"):
            drawn = initial.draw(name, len(synapses), generator=generator, **where)
            self.register_parameter(name, nn.Parameter(drawn))
        self.erev = nn.Parameter(self.polarity.to(self.weight.dtype))
        self._candidates: SynapseValues | None = None

    def __len__(self) -> int:
        return len(self.source)

    def extra_repr(self) -> str:
        """Return the number of synapses for ``print(model)``."""
        return f"{len(self)} synapses"

    def values(self) -> SynapseValues:
        """Return the effective values, constraints applied."""
        values = SynapseValues(
            self.source,
            self.target,
            self._initial.positivity(self.weight),
            self.sigma,
            self.mu,
            signed(self.erev, self.polarity) if self.fixed_polarity else self.erev,
        )
        if self._candidates is not None:
            pairs = zip(values, self._candidates, strict=True)
            values = SynapseValues(*(torch.cat(pair) for pair in pairs))
        return values

    @contextmanager
    def with_candidates(self, candidates: SynapseValues) -> Iterator[None]:
        """Let `candidates` take part in `values` for a while.

        With conductance zero they change nothing, but have a gradient.
        """
        self._candidates = candidates
        try:
            yield
        finally:
            self._candidates = None

    def current_polarity(self) -> Tensor:
        """Return +1 or -1 for each slot: the sign of its reversal potential, shape (synapse,)."""
        if self.fixed_polarity:
            return self.polarity
        sign = self.erev.detach().sign().to(self.polarity.dtype)
        return torch.where(sign == 0, self.polarity, sign)

    def synapses(self) -> Synapses:
        """Return the connections as they are now, sorted by target."""
        return Synapses(
            self.source.cpu().numpy(),
            self.target.cpu().numpy(),
            self.current_polarity().cpu().numpy(),
        )

    def sorted_slots(self) -> NDArray[np.int64]:
        """Return the slot of each synapse in the order of `synapses`, shape (synapse,)."""
        polarity = self.current_polarity().cpu().numpy()
        return np.lexsort((polarity, self.source.cpu().numpy(), self.target.cpu().numpy()))

    @torch.no_grad()
    def rewire(self, slots: Tensor, fresh: SynapseValues) -> None:
        """Let `slots` hold the synapses `fresh`; their sources stay as they are."""
        self.target[slots] = fresh.target
        self.polarity[slots] = fresh.erev.sign().to(self.polarity.dtype)
        self.weight[slots] = self._initial.positivity.inverse(fresh.weight)
        self.sigma[slots], self.mu[slots], self.erev[slots] = fresh.sigma, fresh.mu, fresh.erev

    @torch.no_grad()
    def apply_weight_constraints(self) -> None:
        """Bring clipped conductances back to zero."""
        self.weight.clamp_(min=0.0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(prefix + "source")
        if saved is not None and len(saved) != len(self):
            raise InputError(
                f"the saved state holds {len(saved)} synapses at {prefix!r}, this layer has "
                f"{len(self)}; build the layer from the wiring the state was saved with"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)
