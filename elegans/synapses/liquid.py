"""Slots of liquid synapses and their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elegans.checks import Placement
from elegans.errors import InputError
from elegans.hooks import is_plain
from elegans.solvers.circuit import Slots
from elegans.synapses.constraints import Positivity, signed
from elegans.synapses.initial import Initializer
from elegans.synapses.slots import CONNECTION, MASK
from elegans.wiring import Synapses

VALUES = ("weight", "sigma", "mu", "erev")
"""The parameters of a set of synapses."""


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


def values_of(slots: Slots, positivity: Positivity) -> SynapseValues:
    """Return the effective values of free parameters."""
    source, target, polarity, weight, sigma, mu, erev = slots
    potential = erev if polarity is None else signed(erev, polarity)
    return SynapseValues(source, target, positivity(weight), sigma, mu, potential)


class SynapseParameters(nn.Module):
    """The synapses of a layer as slots: `source`, `target`, `polarity` and four parameters.

    Parameters exist only for synapses that exist. Slots are stable: rewiring changes the target
    of a slot and resets its values, so that shapes and the state of optimisers stay valid. Pruning
    closes slots: their conductance is zero, and the wiring leaves them out. The connection is held
    in buffers, int32 and int8, and travels with the ``state_dict``, and so does the mask of open
    synapses, ``weight_mask``, once there is one.

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
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__()
        self.fixed_polarity = fixed_polarity
        self._initial = initial
        self._candidates: SynapseValues | None = None
        for name, dtype in CONNECTION.items():
            column = torch.empty(len(synapses), dtype=dtype, device=factory_kwargs.get("device"))
            self.register_buffer(name, column)
        for name in VALUES:
            self.register_parameter(
                name, nn.Parameter(torch.empty(len(synapses), **factory_kwargs))
            )
        self.reset_parameters(synapses, generator)

    @torch.no_grad()
    def reset_parameters(
        self, synapses: Synapses, generator: torch.Generator | None = None
    ) -> None:
        """Hold `synapses`, as many as there are slots, all open, with freshly drawn values."""
        if self.mask is not None:
            self.mask.fill_(True)
        for name in CONNECTION:
            buffer = getattr(self, name)
            buffer.copy_(torch.tensor(getattr(synapses, name), device=buffer.device))
        for name in ("weight", "sigma", "mu"):
            parameter = getattr(self, name)
            factory_kwargs: Placement = {"device": parameter.device, "dtype": parameter.dtype}
            drawn = self._initial.draw(name, len(self), generator=generator, **factory_kwargs)
            parameter.copy_(drawn)
        self.erev.copy_(self.polarity)

    def __len__(self) -> int:
        return len(self.source)

    def extra_repr(self) -> str:
        """Return the number of synapses for ``print(model)``."""
        return f"{len(self)} synapses"

    def forward(self) -> SynapseValues:
        """Return the effective values, constraints applied; zero conductance where closed."""
        values = values_of(self.slots(), self._initial.positivity)
        if self._candidates is not None:
            pairs = zip(values, self._candidates, strict=True)
            values = SynapseValues(*(torch.cat(pair) for pair in pairs))
        return values

    def values(self) -> SynapseValues:
        """Return the effective values; calls the module, so that hooks and masks take part."""
        values: SynapseValues = self()
        return values

    def slots(self) -> Slots:
        """Return connections and free parameters; those of closed synapses stand for zero.

        A mask, ours or that of ``torch.nn.utils.prune``, closes a synapse: under a softplus, a
        parameter of zero would not.
        """
        weight, mask = self.weight, self.mask
        if mask is not None:
            weight = torch.where(mask.bool(), weight, self._initial.positivity.closed)
        return Slots(
            self.source,
            self.target,
            self.polarity if self.fixed_polarity else None,
            weight,
            self.sigma,
            self.mu,
            self.erev,
        )

    def is_plain(self) -> bool:
        """Whether the values follow from `slots` alone: no hooks or candidates."""
        return self._candidates is None and is_plain(self)

    @property
    def mask(self) -> Tensor | None:
        """Which synapses are open, shape (synapse,); None while all are."""
        return self._buffers.get(MASK)

    def open_slots(self) -> Tensor:
        """Return the slots that hold an open synapse, shape (open synapse,)."""
        if self.mask is None:
            return torch.arange(len(self), device=self.source.device)
        return self.mask.nonzero().squeeze(-1)

    @property
    def open_count(self) -> int:
        """Number of open synapses."""
        return len(self) if self.mask is None or self.mask.is_meta else int(self.mask.sum())

    @torch.no_grad()
    def hold_mask(self, mask: Tensor) -> None:
        """Leave the synapses open where `mask`, shape (synapse,), is true, and close the others."""
        if self.mask is None:
            self.register_buffer(MASK, torch.ones_like(self.source, dtype=torch.bool))
        self._buffers[MASK].copy_(mask)  # type: ignore[union-attr]

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
        """Return the open connections as they are now, sorted by target."""
        if self.source.is_meta:
            raise InputError(
                "the layer is on the meta device and holds no connections; load a state with "
                "assign=True, or call to_empty(...) and reset_parameters()"
            )
        columns = [self.source, self.target, self.current_polarity()]
        if self.mask is not None:
            columns = [column[self.open_slots()] for column in columns]
        return Synapses(*(column.cpu().numpy() for column in columns))

    def sorted_slots(self) -> NDArray[np.int64]:
        """Return the slot of each synapse in the order of `synapses`, shape (open synapse,)."""
        slots = self.open_slots()
        columns = (self.current_polarity(), self.source, self.target)
        order = np.lexsort([column[slots].cpu().numpy() for column in columns])
        return slots.cpu().numpy()[order]

    @torch.no_grad()
    def rewire(self, slots: Tensor, fresh: SynapseValues) -> None:
        """Let `slots` hold the synapses `fresh`, open; their sources stay as they are."""
        if self.mask is not None:
            self.mask[slots] = True
        self.target[slots] = fresh.target
        self.polarity[slots] = fresh.erev.sign().to(self.polarity.dtype)
        self.weight[slots] = self._initial.positivity.inverse(fresh.weight)
        self.sigma[slots], self.mu[slots], self.erev[slots] = fresh.sigma, fresh.mu, fresh.erev

    @torch.no_grad()
    def apply_weight_constraints(self) -> None:
        """Bring clipped conductances back to zero."""
        self.weight.clamp_(min=0.0)

    def positivity(self) -> Positivity:
        """Return how conductances are kept positive."""
        return self._initial.positivity

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # A state may hold wider integers, which load_state_dict(assign=True) would keep.
        for name, dtype in CONNECTION.items():
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor):
                state_dict[prefix + name] = saved.to(dtype)
        self._meet_mask(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _meet_mask(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Make mask and state agree: one may be pruned and the other not."""
        if prefix + "weight" not in state_dict:
            return  # a state of torch.nn.utils.prune, which brings its mask by itself, or none
        saved = state_dict.get(prefix + MASK)
        if saved is None and self.mask is not None:
            state_dict[prefix + MASK] = torch.ones_like(self.mask)
        elif saved is not None and self.mask is None:
            self.register_buffer(MASK, torch.ones_like(self.source, dtype=torch.bool))

    def check_state(
        self, state_dict: Mapping[str, Any], prefix: str, sources: int, targets: int
    ) -> None:
        """Raise `InputError` unless the connections saved under `prefix` fit this set."""
        saved = {
            name: state_dict[prefix + name] for name in CONNECTION if prefix + name in state_dict
        }
        if not saved and not any(prefix + name in state_dict for name in VALUES):
            return  # not of this set at all, which load_state_dict reports
        if len(saved) < len(CONNECTION):
            missing = sorted(set(CONNECTION) - set(saved))
            raise InputError(
                f"the saved state lacks {missing} at {prefix!r}: values without their connections "
                "would end at other synapses; save model.state_dict() as a whole"
            )
        if len(saved["source"]) != len(self):
            raise InputError(
                f"the saved state holds {len(saved['source'])} synapses at {prefix!r}, this layer "
                f"has {len(self)}; build the layer from the wiring the state was saved with"
            )
        mask = state_dict.get(prefix + MASK)
        if mask is not None and mask.shape != saved["source"].shape:
            raise InputError(
                f"{prefix}{MASK} has shape {tuple(mask.shape)}, expected one entry for each of "
                f"the {len(self)} synapses; the saved state is damaged"
            )
        for name, low, high in (("source", 0, sources - 1), ("target", 0, targets - 1)):
            _check_range(f"{prefix}{name}", saved[name], low, high)
        polarity = saved["polarity"]
        if not polarity.is_meta and bool(((polarity != 1) & (polarity != -1)).any()):
            raise InputError(
                f"{prefix}polarity must hold +1 and -1 only; the saved state is damaged"
            )


def _check_range(name: str, index: Tensor, low: int, high: int) -> None:
    if index.is_meta or not len(index):
        return
    least, most = (int(bound) for bound in index.aminmax())
    if least < low or most > high:
        raise InputError(
            f"{name} must hold indices from {low} to {high}, got {least} to {most}; the state is "
            "damaged or of a circuit of another size"
        )
