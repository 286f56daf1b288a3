"""Synapse slots: connections, their mask, and what every kind of synapse offers.

A set of synapses lies in flat arrays of slots. Slots are stable: an edit changes the connection of
a slot and resets its values, so that shapes and the state of optimisers stay valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.arguments import checked
from elegans.checks import Device, check_placement, check_whole, values_are_visible
from elegans.errors import InputError
from elegans.synapses.connections import CONNECTION, Connections
from elegans.wiring import Synapses

MASK_SUFFIX = "_mask"
"""The bool buffer ``<weight>_mask`` says which entries of a weight matrix are there."""

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers by their size in bytes."""


def zero_outside(values: Tensor, mask: Tensor) -> None:
    """Set to zero what is outside `mask`, infinities and NaN too, which a product would keep.

    The bits are and-ed with those of 0 or -1: a third of the time of ``masked_fill_`` on a CPU.
    Autograd does not see it.
    """
    bits = _INTEGERS[values.element_size()]
    values.detach().view(bits).bitwise_and_(mask.to(bits).neg_())


class OpenCheck:
    """Answers whether a mask is true everywhere, and looks again only when it has changed.

    On a GPU every look waits for the device. While values are traced the answer is no; on the meta
    device, yes.
    """

    def __init__(self) -> None:
        self._known: tuple[Tensor, int, bool] | None = None

    def __reduce__(self) -> tuple[type[OpenCheck], tuple[()]]:
        # A copy begins to count the versions of its own mask anew.
        return OpenCheck, ()

    def __call__(self, mask: Tensor, changed: Callable[[], None] | None = None) -> bool:
        """Return whether `mask` is true everywhere; call `changed` before a look at a new one."""
        if mask.is_meta or not values_are_visible(mask):
            return mask.is_meta
        if mask.is_inference():  # has no version
            return bool(mask.all())
        cached = self._known
        if cached is None or cached[0] is not mask or cached[1] != mask._version:
            if changed is not None:
                changed()
            cached = self._known = mask, mask._version, bool(mask.all())
        return cached[2]


@dataclass(frozen=True)
class FreshSynapses:
    """Synapses that may grow: arrays of shape (synapse,), or (..., synapse) for further values."""

    source: Tensor
    target: Tensor
    polarity: Tensor
    """+1 or -1."""
    strength: Tensor
    """Value that `SynapseSlots.strength` shall return, >= 0; may require a gradient."""
    values: dict[str, Tensor] = field(default_factory=dict)
    """Further values of a synapse of the kind, see `SynapseSlots.draw`."""

    def __len__(self) -> int:
        return len(self.source)

    def take(self, index: Tensor) -> FreshSynapses:
        """Return some of the synapses, in the order of `index`."""
        return FreshSynapses(
            self.source[index],
            self.target[index],
            self.polarity[index],
            self.strength[index],
            {name: value[..., index] for name, value in self.values.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[FreshSynapses]) -> FreshSynapses:
        """Return the synapses of all parts, one after the other."""
        return cls(
            torch.cat([part.source for part in parts]),
            torch.cat([part.target for part in parts]),
            torch.cat([part.polarity for part in parts]),
            torch.cat([part.strength for part in parts]),
            {
                name: torch.cat([part.values[name] for part in parts], dim=-1)
                for name in parts[0].values
            },
        )

    def with_strength(self, strength: Tensor) -> FreshSynapses:
        """Return the same synapses with other strengths."""
        return replace(self, strength=strength)


@checked(InputError)
class SynapseSlots(Connections):
    """A set of synapses in slots: `source`, `target`, `polarity` and `mask`, shape (synapse,).

    The connections travel with the ``state_dict`` in int32 and int8, and so does the mask: a
    synapse is open where it is true, and pruned elsewhere. A kind of synapse derives from this
    class, adds the parameters named in `VALUES`, and says how strong a synapse is.

    Parameters
    ----------
    synapses
        The connections, in the order of the slots.
    device
        Where they live.

    Examples
    --------
    >>> from elegans.wiring import Synapses
    >>> slots = SynapseSlots(Synapses([2, 0], [1, 0], [-1, 1]))
    >>> slots.synapses()
    Synapses(0 -> 0 (+), 2 -> 1 (-))
    >>> slots.set_mask(torch.tensor([True, False]))
    >>> slots.synapses(), slots.open_count
    (Synapses(0 -> 0 (+)), 1)
    """

    VALUES: ClassVar[tuple[str, ...]] = ()
    """Parameters with an entry for each synapse along the last axis; the first is the weight."""

    BUFFERS: ClassVar[tuple[str, ...]] = (*CONNECTION, "mask")
    """Buffers with an entry for each synapse, beside the values."""

    STRENGTH: ClassVar[str] = "weight"
    """What `strength` returns, for pictures."""

    signed: ClassVar[bool] = False
    """Whether the sign of the weight is the polarity, so that training may change it."""

    is_mutual: ClassVar[bool] = False
    """Whether a slot acts on both its ends, so that a pair of neurons has one at most."""

    keeps_blocks: ClassVar[bool] = False
    """Whether a slot may connect the neurons of two layers only."""

    source: Tensor
    target: Tensor
    polarity: Tensor
    mask: Tensor

    def __init__(self, synapses: Synapses, *, device: Device = None) -> None:
        super().__init__()
        check_placement({"device": device})
        for name, dtype in CONNECTION.items():
            self.register_buffer(name, torch.empty(len(synapses), dtype=dtype, device=device))
        self.register_buffer("mask", torch.ones(len(synapses), dtype=torch.bool, device=device))
        self._open_check = OpenCheck()
        self._candidates: FreshSynapses | None = None
        self.connect(synapses)

    @torch.no_grad()
    def connect(self, synapses: Synapses) -> None:
        """Hold `synapses`, as many as there are slots, all open."""
        for name in CONNECTION:
            buffer = getattr(self, name)
            buffer.copy_(torch.tensor(getattr(synapses, name), device=buffer.device))
        self.mask.fill_(True)
        self.accept_connections()

    def reset_parameters(
        self, synapses: Synapses, generator: torch.Generator | None = None
    ) -> None:
        """Hold `synapses`, as many as there are slots, all open, with freshly drawn values."""
        self.connect(synapses)

    def __len__(self) -> int:
        return len(self.source)

    def extra_repr(self) -> str:
        """Return the number of synapses for ``print(model)``."""
        return f"{len(self)} synapses"

    # --- the mask ------------------------------------------------------------------------

    def all_open(self) -> bool:
        """Whether no synapse is pruned, as far as Python may know: not while values are traced."""
        all_open = self._open_check(self.mask, self.check_connections)
        return all_open and self._foreign_mask() is None

    @property
    def is_open(self) -> Tensor:
        """Mask of the open synapses, bool, shape (synapse,).

        A mask of ``torch.nn.utils.prune`` on the weight counts as well as `mask`.
        """
        foreign = self._foreign_mask()
        return self.mask if foreign is None else self.mask & foreign

    def _foreign_mask(self) -> Tensor | None:
        foreign = self._buffers.get(self.VALUES[0] + MASK_SUFFIX) if self.VALUES else None
        if foreign is None:
            return None
        return foreign.bool() if foreign.dim() == 1 else foreign.bool().any(0)

    def masked(self, values: Tensor, pruned: float = 0.0) -> Tensor:
        """Return `values` (..., synapse) with `pruned` in place of those of pruned synapses."""
        return values if self.all_open() else torch.where(self.is_open, values, pruned)

    def open_slots(self) -> Tensor:
        """Return the slots that hold an open synapse, shape (open synapse,)."""
        if self.all_open():
            return torch.arange(len(self), device=self.source.device)
        return self.is_open.nonzero().squeeze(-1)

    @property
    def open_count(self) -> int:
        """Number of open synapses."""
        return len(self) if self.all_open() else int(self.is_open.sum())

    @torch.no_grad()
    def set_mask(self, mask: Tensor) -> None:
        """Leave the synapses open where `mask`, shape (synapse,), is true, and prune the others."""
        self.mask.copy_(mask)

    # --- connections ---------------------------------------------------------------------

    def current_polarity(self) -> Tensor:
        """Return +1 or -1 for each slot, shape (synapse,)."""
        return self.polarity

    def _columns(self) -> tuple[Tensor, list[NDArray[Any]]]:
        """Return the open slots, and source, target and polarity of each."""
        if self.source.is_meta:
            raise InputError(
                "the layer is on the meta device and holds no connections; load a state with "
                "assign=True, or call to_empty(...) and reset_parameters()"
            )
        self.check_connections()
        remedy = "look at the circuit before fully_shard, or load its full state into another"
        check_whole(self.parameters(), remedy)
        slots = self.open_slots()
        columns = (self.source, self.target, self.current_polarity())
        return slots, [column[slots].cpu().numpy() for column in columns]

    def synapses(self) -> Synapses:
        """Return the open connections as they are now, sorted by target."""
        return Synapses(*self._columns()[1])

    def sorted_slots(self) -> NDArray[np.int64]:
        """Return the slot of each synapse in the order of `synapses`, shape (open synapse,)."""
        slots, (source, target, polarity) = self._columns()
        return slots.cpu().numpy()[np.lexsort((polarity, source, target))]

    def fan(self, sources: int, targets: int) -> tuple[Tensor, Tensor]:
        """Return how many synapses leave each source, and how many reach each target."""
        return tuple(
            torch.zeros(size, device=index.device).index_add_(
                0, index, torch.ones(len(index), device=index.device)
            )
            for index, size in ((self.source, sources), (self.target, targets))
        )  # type: ignore[return-value]

    # --- values for operators ------------------------------------------------------------

    def strength_of(self, weight: Tensor) -> Tensor:
        """Return how strong synapses of the parameter `weight` (...) are, (..., synapse), >= 0."""
        raise self._no_values()

    def slope_of(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """Return d loss / d strength from parameter and gradient of the weight, (..., synapse)."""
        raise self._no_values()

    def strength(self) -> Tensor:
        """Return how strong each synapse is, 0 where pruned, detached, shape (synapse,)."""
        return self.masked(self.strength_of(getattr(self, self.VALUES[0]).detach()))

    def reversal_potential(self) -> Tensor:
        """Return the potential that each synapse pulls its target to, detached, (synapse,)."""
        raise self._no_gates()

    def open_conductance(self, potentials: Tensor) -> Tensor:
        """Return what is open of each synapse, (..., synapse), for potentials (..., source)."""
        raise self._no_gates()

    def _no_gates(self) -> InputError:
        return InputError(
            f"{type(self).__name__} has no gates and reversal potentials, expected the liquid "
            "synapses of an LTC"
        )

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw the further values of `count` fresh synapses; a kind without any draws none."""
        return {}

    def set_strength(self, strength: Tensor) -> None:
        """Let open synapses be as strong as `strength` > 0, shape (synapse,), says."""
        raise self._no_values()

    def draw_strength(self, count: int, rng: np.random.Generator) -> Tensor:
        """Draw how strong `count` synapses are from the law of initial values, (count,)."""
        raise self._no_values()

    def realised(self, strength: float) -> float:
        """Return what a parameter makes of `strength` in its precision; NaN if none can."""
        raise self._no_values()

    def rewire(self, slots: Tensor, fresh: FreshSynapses) -> None:
        """Let `slots` hold the synapses `fresh`, open."""
        with torch.no_grad():
            self.mask[slots] = True
            for name, dtype in CONNECTION.items():
                getattr(self, name)[slots] = getattr(fresh, name).to(dtype)
            self._write(slots, fresh)
            self.accept_connections()

    def _write(self, slots: Tensor, fresh: FreshSynapses) -> None:
        """Write the values of `fresh` into the parameters."""
        raise self._no_values()

    @contextmanager
    def with_candidates(self, candidates: FreshSynapses) -> Iterator[None]:
        """Let `candidates` take part in the computation for a while.

        With strength zero they change nothing, but have a gradient.
        """
        self._candidates = candidates
        try:
            yield
        finally:
            self._candidates = None

    def _no_values(self) -> InputError:
        return InputError(
            f"{type(self).__name__} holds connections without values, expected a kind of synapse "
            "that says how strong they are, such as SignedSynapses"
        )

    # --- states --------------------------------------------------------------------------

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # A state may hold wider integers, which load_state_dict(assign=True) would keep, and a
        # state without a mask is of synapses that are all open.
        for name, dtype in (CONNECTION | {"mask": torch.bool}).items():
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor):
                state_dict[prefix + name] = saved.to(dtype)
        if prefix + "source" in state_dict and prefix + "mask" not in state_dict:
            state_dict[prefix + "mask"] = torch.ones_like(
                state_dict[prefix + "source"], dtype=torch.bool
            )
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
        lacking = [name for name, _ in self.named_parameters() if prefix + name not in state_dict]
        if lacking:
            raise InputError(
                f"the saved state lacks {lacking} at {prefix!r}: connections without their values "
                "would take over those of other synapses; save model.state_dict() as a whole"
            )
        if len(saved["source"]) != len(self):
            raise InputError(
                f"the saved state holds {len(saved['source'])} synapses at {prefix!r}, this layer "
                f"has {len(self)}; build the layer from the wiring the state was saved with"
            )
        mask = state_dict.get(prefix + "mask")
        if mask is not None and mask.shape != saved["source"].shape:
            raise InputError(
                f"{prefix}mask has shape {tuple(mask.shape)}, expected one entry for each of the "
                f"{len(self)} synapses; the saved state is damaged"
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
