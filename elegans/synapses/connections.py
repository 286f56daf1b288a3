"""Connections of synapses in buffers, which are told from others that were written over them."""

from __future__ import annotations

import zlib
from typing import Any, Self

import torch
from torch import Tensor, nn

from elegans.checks import in_transform, values_are_visible
from elegans.errors import InputError

CONNECTION = {"source": torch.int32, "target": torch.int32, "polarity": torch.int8}
"""Buffers that say which neurons a slot connects, and how."""

_CHECKSUM = "_elegans_checksum"


class Connections(nn.Module):
    """A module that may hold the buffers of `CONNECTION`, beside values that belong to them.

    Averages over parameters (SWA, EMA) write buffers in place: numbers of neurons that no mean is
    one of, or the connections of an edited circuit beside the values of the synapses before.
    """

    def accept_connections(self) -> None:
        """Take the connections in the buffers for those that the values belong to."""
        source = self._buffers.get("source")
        if source is not None:
            # An attribute of the buffer: torch.func.functional_call brings buffers of its own.
            setattr(source, _CHECKSUM, self._checksum())

    def check_connections(self) -> None:
        """Raise `InputError` if others than `accept_connections` saw stand in the buffers."""
        accepted = getattr(self._buffers.get("source"), _CHECKSUM, None)
        now = None if accepted is None else self._checksum()
        if now is not None and now != accepted:
            raise InputError(
                "got other connections of synapses than their values were made for, as an average "
                "over parameters and buffers leaves them, expected those of the circuit that is "
                "averaged; make the average anew with use_buffers=False and, where a pruner edits "
                "the circuit, let pruner.follow(average) keep both together (what was written into "
                "the buffers by intent needs accept_connections())"
            )

    def _checksum(self) -> int | None:
        """Return a checksum of the connections; None where there are none to be seen."""
        if in_transform():
            return None
        columns = [self._buffers.get(name) for name in CONNECTION]
        checksum = 0
        for column in columns:
            if type(column) is not Tensor or not values_are_visible(column):
                return None
            checksum = zlib.crc32(column.cpu().contiguous().numpy().data, checksum)
        return checksum

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self.check_connections()
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.accept_connections()
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if prefix + "source" in state_dict:
            self.accept_connections()

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.check_connections()
        super()._save_to_state_dict(*args, **kwargs)
