"""Values that a synapse begins with when it grows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elegans.errors import PruningError
from elegans.pruning.parts.synapses import SynapsePart
from elegans.synapses.slots import FreshSynapses

STRENGTHS = ("initial", "median")
"""Names of strengths that depend on the circuit."""


@dataclass(frozen=True)
class Fresh:
    """Strength and polarity of synapses that grow; their further values follow the initial law.

    Parameters
    ----------
    strength
        A number; ``"initial"``, drawn from the law that the circuit began with; or ``"median"``,
        that of the open synapses of the set.
    excitatory
        The probability that a synapse is excitatory, where the rule does not choose.
    """

    strength: float | str
    excitatory: float

    def __post_init__(self) -> None:
        if isinstance(self.strength, str):
            if self.strength not in STRENGTHS:
                raise PruningError(
                    f"unknown weight {self.strength!r} of a fresh synapse, expected a number or "
                    f"one of {STRENGTHS}"
                )
        elif not (_is_number(self.strength) and 0 < self.strength < math.inf):
            raise PruningError(
                f"the weight of a fresh synapse must be a number > 0, got {self.strength!r}"
            )
        if not (_is_number(self.excitatory) and 0 <= self.excitatory <= 1):
            raise PruningError(
                f"excitatory must be a probability from 0 to 1, got {self.excitatory!r}"
            )
        if not isinstance(self.strength, str):
            object.__setattr__(self, "strength", float(self.strength))
        object.__setattr__(self, "excitatory", float(self.excitatory))

    def polarities(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw +1 or -1, (count,)."""
        return np.where(rng.random(count) < self.excitatory, 1, -1)

    def known_strength(self, part: SynapsePart) -> float | None:
        """Return how strong a synapse of a part would be that grew now, None where it is drawn.

        The median is drawn, too, where more than half of the synapses do nothing.
        """
        if self.strength == "median":
            open_ones = part.weights()[part.mask]
            return float(open_ones.median()) or None if len(open_ones) else None
        return None if isinstance(self.strength, str) else self.strength

    def synapses(
        self, part: SynapsePart, ends: NDArray[np.int64], rng: np.random.Generator, alike: int = 1
    ) -> FreshSynapses:
        """Return synapses with the `ends` source, target and polarity, (3, synapse).

        Each `alike` of them, one after the other, have the same drawn values.
        """
        slots, count = part.synapses, ends.shape[1]
        source, target, polarity = (
            torch.as_tensor(column, dtype=getattr(slots, name).dtype, device=slots.source.device)
            for name, column in zip(("source", "target", "polarity"), ends, strict=True)
        )
        if self.strength == "initial":
            strength = slots.draw_strength(count // alike, rng).repeat_interleave(alike)
        else:
            number = self.known_strength(part)
            if number is None:
                number = float(slots.draw_strength(64, rng).median())
            strength = part.parameter.detach().new_full((count,), number)
        values = {
            name: value.repeat_interleave(alike, dim=-1)
            for name, value in slots.draw(count // alike, rng).items()
        }
        return FreshSynapses(source, target, polarity, strength, values)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)
