"""Interface of a round of exchange, in a circuit or in a matrix, and its log."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

import torch
from torch import Tensor

from elegans.errors import PruningError
from elegans.pruning.criteria.magnitude import Closure, differentiable
from elegans.pruning.growing.rules import GrowthRule
from elegans.pruning.ledger import Edit, Guard, Ledger, ProposedEdit, ask
from elegans.pruning.measuring.turnover import Births
from elegans.pruning.parts.moments import Moments
from elegans.pruning.parts.part import PrunableWeight


class Memory(Protocol):
    """What has gathered something of every weight, such as a criterion."""

    def forget(self, part: PrunableWeight, changed: Tensor) -> None:
        """Forget what was gathered of the weights `changed`, which others have replaced."""


class Log:
    """Parties to an edit: guards before it, the ledger, and the state forgotten after it."""

    def __init__(
        self,
        step: int,
        ledger: Ledger,
        guards: Sequence[Guard],
        moments: Moments,
        memories: Sequence[Memory],
        births: Births,
    ) -> None:
        self.step, self.guards = step, guards
        self._ledger, self._moments, self._memories = ledger, moments, memories
        self._births = births

    def ages(self, part: PrunableWeight) -> Tensor:
        """Return the age of each weight in steps, -1 for those from the start, (weight,)."""
        return self._births.ages(part, self.step)

    def ask(self, proposal: ProposedEdit, outcome: str, *, age: int) -> str:
        """Return `outcome`, or why a guard refuses, and record the edit."""
        answer, notes = ask(self.guards, proposal, outcome)
        place = proposal.synapses, proposal.source, proposal.cut
        if answer != outcome:
            self.record(place, proposal.old_weight, answer, notes, age=age)
            return answer
        grown = (proposal.grown_source, proposal.grown, proposal.polarity)
        where = proposal.grown_synapses
        self.record(place, proposal.old_weight, answer, notes, grown, age=age, where=where)
        return answer

    def record(
        self,
        place: tuple[str, int, int],
        weight: float,
        outcome: str,
        notes: dict[str, float] | None = None,
        grown: tuple[int | None, int | None, int | None] = (None, None, None),
        *,
        age: int,
        where: str | None = None,
    ) -> None:
        """Record what became of the weight from one neuron to another in a set of synapses."""
        lived = None if age < 0 else age
        edit = Edit(self.step, *place, *grown, weight, outcome, lived, notes or {}, where)
        self._ledger.record(edit)

    def count(self, outcome: str, number: int) -> None:
        """Count edits that the ledger does not list."""
        self._ledger.counts[outcome] += number

    def replace(self, part: PrunableWeight, slots: Tensor) -> None:
        """Forget what is remembered of the slots of synapses that others replace, or that grow."""
        for _, parameter in part.named_parameters():
            self._moments.reset(parameter, slots)
        changed = torch.zeros_like(part.mask)
        changed[slots] = True
        self._forget(part, changed)
        self._births.note(part, self.step, slots[part.mask[slots]], slots)

    def hold(self, part: PrunableWeight, mask: Tensor) -> None:
        """Let `mask` say which weights of a part are there."""
        self._forget(part, part.mask ^ mask)
        self._births.note(part, self.step, part.mask & ~mask, mask & ~part.mask)
        part.hold(mask, self._moments)

    def _forget(self, part: PrunableWeight, changed: Tensor) -> None:
        for memory in self._memories:
            memory.forget(part, changed)


class Round(ABC):
    """Weights that are to go, and others that may come in their place, in one cell or matrix.

    The driver calls, in this order: `draw`; `probed`, if the rule asks for slopes; `rank`; and,
    once all rounds have been ranked without an error, `carry_out`.
    """

    @abstractmethod
    def draw(self, rule: GrowthRule) -> None:
        """Choose the candidates."""

    @abstractmethod
    def probed(self) -> AbstractContextManager[list[Tensor]]:
        """Yield tensors whose gradients are the slopes of the candidates."""

    @abstractmethod
    def rank(
        self,
        rule: GrowthRule,
        slopes: Callable[[], list[Tensor]],
        momentum: Mapping[str, Tensor],
    ) -> None:
        """Ask the rule for its interest.

        `slopes` returns the gradients of what was probed, `momentum` has those of parts by name,
        smoothed.
        """

    @abstractmethod
    def carry_out(self, log: Log) -> int:
        """Exchange the weights and return how many were."""


def plan(
    rounds: Sequence[Round],
    rule: GrowthRule,
    closure: Closure | None,
    momentum: Mapping[str, Tensor],
) -> None:
    """Draw and rank the candidates of all rounds; nothing of the model is changed.

    Raises
    ------
    PruningError
        The rule needs the loss and there is none, or it cannot be differentiated.
    """
    for exchange in rounds:
        exchange.draw(rule)
    gradients: list[list[Tensor]] = []

    def slopes(k: int) -> list[Tensor]:
        if not gradients:
            gradients.extend(_gradients(rounds, rule, closure))
        return gradients[k]

    for k, exchange in enumerate(rounds):
        exchange.rank(rule, lambda k=k: slopes(k), momentum)  # type: ignore[misc]


def _gradients(
    rounds: Sequence[Round], rule: GrowthRule, closure: Closure | None
) -> list[list[Tensor]]:
    """Return the gradients of everything probed, by one backward pass for all rounds."""
    if closure is None:
        raise PruningError(
            f"growth by {type(rule).__name__} needs the loss: call step(lambda: loss of the batch)"
        )
    with ExitStack() as stack, torch.enable_grad():
        probes = [stack.enter_context(exchange.probed()) for exchange in rounds]
        loss = differentiable(closure())
        try:
            gradients = torch.autograd.grad(
                loss,
                [tensor for tensors in probes for tensor in tensors],
                allow_unused=True,
                materialize_grads=True,
            )
        except RuntimeError as error:
            raise PruningError(
                f"the loss of the closure cannot be differentiated ({error}); let the closure "
                "compute it anew and do not call backward() in it"
            ) from error
    left = iter(gradients)
    return [[next(left) for _ in tensors] for tensors in probes]
