"""Training under the condition that the circuit can be proven to contract."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from elegans.arguments import checked
from elegans.errors import InputError, SolveError
from elegans.layers.sequence_layer import SequenceLayer
from elegans.proofs.certificates.bound import ContractionBound
from elegans.proofs.certificates.certificate import Certificate, NotCertified
from elegans.proofs.certificates.certification import certify
from elegans.proofs.certificates.network import Range, require_between
from elegans.proofs.certificates.regulariser import ContractionPenalty
from elegans.proofs.certificates.safe_rewiring import CertificateGuard
from elegans.pruning import GuardResult, ProposedEdit

_RATE = 0.02
_STEPS = 1_000


@checked(InputError)
class ContractionCondition:
    """Keeps a circuit certified while it is trained with `elegans.training.fit`.

    A penalty draws every component to the rate `margin`, a guard refuses rewirings after which the
    circuit could not be certified, and only certified weights are taken as the result.

    Parameters
    ----------
    model
        The layer, without mixed memory.
    inputs, level
        As in `elegans.proofs.certify`.
    margin
        The rate to be kept, per unit of the elapsed times; weights are taken at any rate > 0.
    weight
        What a lack of 1 in the rate costs, in units of the loss.

    Examples
    --------
    >>> from elegans import LTC
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(2, AutoNCP(units=12, output_size=1, seed=3))
    >>> condition = ContractionCondition(model, inputs=(-1, 1))
    >>> condition.establish()
    >>> condition.holds()
    True
    """

    def __init__(
        self,
        model: SequenceLayer,
        inputs: Range,
        *,
        level: str = "interval",
        margin: float = 0.05,
        weight: float = 1.0,
    ) -> None:
        require_between("weight", weight, 0.0, math.inf)
        self.model, self.inputs, self.level, self.weight = model, inputs, level, weight
        self._shortfall = ContractionPenalty(model, inputs, margin=margin, level=level)
        self._guard = CertificateGuard(model, inputs, level=level)

    def establish(self) -> None:
        """Train on the penalty alone until the circuit is certified.

        Raises
        ------
        SolveError
            It is not after a thousand steps.
        """
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            if self.holds():
                return
            raise InputError(
                "got a layer whose parameters do not require gradients, expected one that can be "
                "trained; call model.requires_grad_()"
            )
        optimizer = torch.optim.Adam(self.model.parameters(), lr=_RATE)
        for _ in range(_STEPS):
            if self.holds():
                return
            optimizer.zero_grad()
            self._shortfall().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            self.model.apply_weight_constraints()
        raise SolveError(
            f"the circuit is not certified after {_STEPS} steps towards it ({self.certificate()}); "
            "take a sparser wiring or a smaller range of inputs"
        )

    def penalty(self) -> Tensor:
        """Return the weighted lack of rate; see `ContractionPenalty`."""
        return self.weight * self._shortfall()

    def guard(self, proposal: ProposedEdit) -> GuardResult | None:
        """Judge a rewiring; see `CertificateGuard`."""
        return self._guard(proposal)

    def holds(self) -> bool:
        """Whether the circuit is certified as it is now."""
        return bool(self.certificate())

    def certificate(self) -> Certificate | NotCertified:
        """Return the certificate of the circuit as it is now, or why there is none."""
        found = certify(self.model, self.inputs, self.level, advice=False)
        assert not isinstance(found, ContractionBound)  # the penalty is of liquid circuits alone
        return found
