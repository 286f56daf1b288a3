"""Slots of connections, as buffers in the state of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elegans.checks import Device
from elegans.errors import InputError
from elegans.wiring import Synapses

CONNECTION = {"source": torch.int32, "target": torch.int32, "polarity": torch.int8}
"""The buffers of a set of synapses, and how they are held."""

MASK = "weight_mask"
"""The buffer that says which synapses are open, once some have been closed."""


MASK_SUFFIX = "_mask"
"""The bool buffer ``<weight>_mask`` says which weights are there."""

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers by their size in bytes."""


def zero_outside(values: Tensor, mask: Tensor) -> None:
    """Set to zero what is outside `mask`, infinities and NaN too, which a product would keep.

    The bits are and-ed with those of 0 or -1: a third of the time of ``masked_fill_`` on a CPU.
    Autograd does not see it.
    """
    bits = _INTEGERS[values.element_size()]
    values.detach().view(bits).bitwise_and_(mask.to(bits).neg_())


class ConnectionSlots(nn.Module):
    """Synapses in the order of their slots: `source`, `target` and `polarity`, shape (synapse,).

    Parameters
    ----------
    synapses
        The connections, in the order of the slots.
    device
        Where they live.

    Examples
    --------
    >>> from elegans.wiring import Synapses
    >>> ConnectionSlots(Synapses([2, 0], [1, 0], [-1, 1])).synapses()
    Synapses(0 -> 0 (+), 2 -> 1 (-))
    """

    source: Tensor
    target: Tensor
    polarity: Tensor

    def __init__(self, synapses: Synapses, *, device: Device = None) -> None:
        super().__init__()
        for name, dtype in CONNECTION.items():
            column = torch.empty(len(synapses), dtype=dtype, device=device)
            self.register_buffer(name, column)
        self.hold(synapses)

    @torch.no_grad()
    def hold(self, synapses: Synapses) -> None:
        """Take over the ends of `synapses`, as many as there are slots."""
        for name in CONNECTION:
            buffer = getattr(self, name)
            buffer.copy_(torch.tensor(getattr(synapses, name), device=buffer.device))

    def __len__(self) -> int:
        return len(self.source)

    def extra_repr(self) -> str:
        """Return the number of synapses for ``print(model)``."""
        return f"{len(self)} synapses"

    def current_polarity(self) -> Tensor:
        """Return +1 or -1 for each slot, shape (synapse,)."""
        return self.polarity

    def synapses(self) -> Synapses:
        """Return the connections as they are now, sorted by target."""
        if self.source.is_meta:
            raise InputError(
                "the layer is on the meta device and holds no connections; load a state with "
                "assign=True, or call to_empty(...) and reset_parameters()"
            )
        return Synapses(
            self.source.cpu().numpy(),
            self.target.cpu().numpy(),
            self.current_polarity().cpu().numpy(),
        )

    def sorted_slots(self) -> NDArray[np.int64]:
        """Return the slot of each synapse in the order of `synapses`, shape (synapse,)."""
        columns = (self.current_polarity(), self.source, self.target)
        return np.lexsort([column.cpu().numpy() for column in columns])

    def fan(self, sources: int, targets: int) -> tuple[Tensor, Tensor]:
        """Return how many synapses leave each source, and how many reach each target."""
        return tuple(
            torch.zeros(size, device=index.device).index_add_(
                0, index, torch.ones(len(index), device=index.device)
            )
            for index, size in ((self.source, sources), (self.target, targets))
        )  # type: ignore[return-value]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # A state may hold wider integers, which load_state_dict(assign=True) would keep.
        for name, dtype in CONNECTION.items():
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor):
                state_dict[prefix + name] = saved.to(dtype)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def check_state(
        self, state_dict: Mapping[str, Any], prefix: str, sources: int, targets: int
    ) -> None:
        """Raise `InputError` unless the connections saved under `prefix` fit this set.

        Nothing saved under `prefix` at all is left for ``load_state_dict`` to report.
        """
        saved = {
            name: state_dict[prefix + name] for name in CONNECTION if prefix + name in state_dict
        }
        if not saved and not any(key.startswith(prefix) for key in state_dict):
            return
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
        for name, size in (("source", sources), ("target", targets)):
            _check_range(prefix + name, saved[name], size - 1)
        polarity = saved["polarity"]
        if not polarity.is_meta and bool(((polarity != 1) & (polarity != -1)).any()):
            raise InputError(
                f"{prefix}polarity must hold +1 and -1 only; the saved state is damaged"
            )


def _check_range(name: str, index: Tensor, high: int) -> None:
    if index.is_meta or not len(index):
        return
    least, most = (int(bound) for bound in index.aminmax())
    if least < 0 or most > high:
        raise InputError(
            f"{name} must hold indices from 0 to {high}, got {least} to {most}; the state is "
            "damaged or of a circuit of another size"
        )
