"""Growth rules: the new target of a cut synapse.

A growth rule is a function of a `Round`. It returns a chooser, which is asked once for each weak
synapse, weakest first, while the wiring is being edited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from elegans.errors import PruningError
from elegans.pruning.criteria.gradients import Closure, differentiable
from elegans.pruning.growing.legality import Legality, Slot
from elegans.synapses.initial import INITIAL_RANGES
from elegans.synapses.liquid import SynapseParameters, SynapseValues


class Fresh(NamedTuple):
    """A synapse that may grow; its source is that of the slot it takes over."""

    target: int
    polarity: int
    sigma: float
    mu: float

    @classmethod
    def draw(cls, target: int, polarity: int, rng: np.random.Generator) -> Fresh:
        """Draw gain and centre from their initial ranges."""
        sigma, mu = (rng.uniform(*INITIAL_RANGES[name]) for name in ("sigma", "mu"))
        return cls(target, polarity, sigma, mu)


@dataclass(frozen=True)
class Round:
    """One round of rewiring of one cell, as a growth rule sees it."""

    sets: dict[str, SynapseParameters]
    weak: Sequence[Slot]
    legality: Legality
    rng: np.random.Generator
    excitatory: float
    candidates: int
    closure: Closure | None


Choose = Callable[[Slot], Fresh | None]
Growth = Callable[[Round], Choose]


def grow_at_random(round_: Round) -> Choose:
    """Take a legal target and a polarity at random."""
    rng = round_.rng

    def choose(slot: Slot) -> Fresh | None:
        target = next(round_.legality.free_targets(slot, rng), None)
        if target is None:
            return None
        return Fresh.draw(target, 1 if rng.random() < round_.excitatory else -1, rng)

    return choose


def grow_by_gradient(round_: Round) -> Choose:
    """Take the candidate whose conductance would lower the loss fastest.

    Both polarities of some legal targets of every weak synapse are put into the circuit with
    conductance zero, which changes no output, and the loss is differentiated once for all.
    """
    if round_.closure is None:
        raise PruningError(
            "growth='gradient' needs the loss: call rewirer.step(lambda: loss of the batch)"
        )
    candidates: dict[Slot, list[Fresh]] = {}
    for slot in round_.weak:
        targets = islice(round_.legality.free_targets(slot, round_.rng), round_.candidates)
        candidates[slot] = [Fresh.draw(i, p, round_.rng) for i in targets for p in (1, -1)]
    slopes = _slopes(round_.sets, candidates, round_.closure)

    def choose(slot: Slot) -> Fresh | None:
        # Earlier edits of the same round may have taken a target.
        legal = [
            (slope, fresh)
            for slope, fresh in zip(slopes[slot], candidates[slot], strict=True)
            if round_.legality.is_free(slot, fresh.target)
        ]
        return min(legal, key=lambda pair: pair[0])[1] if legal else None

    return choose


GROWTHS: dict[str, Growth] = {"random": grow_at_random, "gradient": grow_by_gradient}


def fresh_values(
    synapses: SynapseParameters, slots: Sequence[int], fresh: Sequence[Fresh], weight: Tensor
) -> SynapseValues:
    """Return `fresh` as synapses from the sources of `slots`, with conductances `weight`."""
    columns = [list(column) for column in zip(*fresh, strict=True)] or [[]] * 4
    target, polarity, sigma, mu = columns
    like = synapses.weight
    return SynapseValues(
        synapses.source[torch.tensor(slots, dtype=torch.long, device=like.device)],
        torch.tensor(target, dtype=synapses.target.dtype, device=like.device),
        weight,
        like.new_tensor(sigma),
        like.new_tensor(mu),
        like.new_tensor(polarity),
    )


def _slopes(
    sets: dict[str, SynapseParameters], candidates: dict[Slot, list[Fresh]], closure: Closure
) -> dict[Slot, list[float]]:
    """Return d loss / d conductance at zero of every candidate of every slot."""
    rows = {
        kind: [
            (slot, fresh) for slot in candidates if slot.kind == kind for fresh in candidates[slot]
        ]
        for kind in sets
    }
    weights = {
        kind: torch.zeros_like(sets[kind].weight[:1]).repeat(len(rows[kind])).requires_grad_()
        for kind in sets
    }
    with ExitStack() as stack, torch.enable_grad():
        for kind, synapses in sets.items():
            slots, fresh = [slot.index for slot, _ in rows[kind]], [f for _, f in rows[kind]]
            values = fresh_values(synapses, slots, fresh, weights[kind])
            stack.enter_context(synapses.with_candidates(values))
        loss = differentiable(closure())
        try:
            gradients = torch.autograd.grad(
                loss, list(weights.values()), allow_unused=True, materialize_grads=True
            )
        except RuntimeError as error:
            raise PruningError(
                f"the loss of the closure cannot be differentiated ({error}); let the closure "
                "compute it anew and do not call backward() in it"
            ) from error
    slopes: dict[Slot, list[float]] = {slot: [] for slot in candidates}
    for kind, gradient in zip(sets, gradients, strict=True):
        for (slot, _), slope in zip(rows[kind], gradient.tolist(), strict=True):
            slopes[slot].append(slope)
    return slopes
