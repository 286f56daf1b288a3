"""What a circuit must fulfil while it is trained, besides fitting its data."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from elegans.pruning import GuardResult, ProposedEdit


class Condition(Protocol):
    """A condition on a layer that training keeps; see `elegans.proofs.ContractionCondition`.

    `fit` establishes it before the first step, adds the penalty to every loss, lets the guard judge
    every rewiring, and takes only weights for which it holds.
    """

    @property
    def model(self) -> nn.Module:
        """The layer that the condition is on."""

    def establish(self) -> None:
        """Change the layer until the condition holds."""

    def penalty(self) -> Tensor:
        """Return what is added to the loss, a differentiable scalar, zero where all is well."""

    def guard(self, proposal: ProposedEdit) -> GuardResult | None:
        """Judge a rewiring."""

    def holds(self) -> bool:
        """Whether the layer fulfils the condition as it is now."""
