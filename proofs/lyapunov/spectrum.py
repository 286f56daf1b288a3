"""Lyapunov exponents with error bars, a verdict and the reasons for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class SumCheck:
    """The sum of all exponents against the mean growth of volumes, found another way.

    Parameters
    ----------
    total
        Sum of the exponents.
    volume
        Time average of tr J (flow) or of log|det J| (map) along the same trajectories.
    tolerance
        How far they may be apart.
    """

    total: float
    volume: float
    tolerance: float

    @property
    def difference(self) -> float:
        """The distance between the two."""
        return abs(self.total - self.volume)

    @property
    def holds(self) -> bool:
        """Whether they agree."""
        return self.difference <= self.tolerance


@dataclass(frozen=True, eq=False)
class LyapunovSpectrum:
    """Lyapunov exponents on one attractor, the largest first, with error bars and a verdict.

    Where the members of a run reach several attractors, `attractors` has a spectrum of each, the
    least stable first, and that one stands here. There is no mean over different attractors.

    Parameters
    ----------
    kind
        ``"flow"`` (exponents per unit of time) or ``"map"`` (per step).
    exponents
        Shape (exponent,).
    errors
        Half-widths of 95 % intervals: sampling error, step error, QR error and that of rounding
        added.
    sampling_errors
        The part that a longer run or more members make smaller.
    step_errors
        The part due to the length of the steps of a flow, from the change when they are halved.
    interval_errors
        The part due to rounding between two orthonormalisations: change when the interval is
        halved.
    error_source
        Whether the sampling error is from ``"members"`` or from ``"time blocks"``.
    times
        End of each block, in time or steps since measuring began, shape (block,).
    block_means
        Exponents of each block, shape (block, exponent).
    member_exponents
        Exponents of each trajectory of the run, shape (batch, exponent).
    neurons
        Dimension of the state.
    sum_check
        None unless all exponents were computed.
    reasons
        Why the run is not converged; empty if it is.
    settings
        What was asked for.
    attractor
        What the members have settled on: ``"equilibrium"``; ``"cycle"``; ``"response"``, the one
        trajectory that a signal forces; ``"aperiodic"``, a motion without a period that was found;
        or ``"unsettled"``.
    period
        Of a cycle, in time or steps.
    members
        Places in the batch of the trajectories on it, shape (member,).
    lowest, highest
        Range of the states of these in the end, over as long as is kept of it, shape (neuron,).
    diverged
        Places of those that left the finite numbers, and are part of no spectrum.
    attractors
        Spectra of all attractors that were reached.
    """

    kind: str
    exponents: Tensor
    errors: Tensor
    sampling_errors: Tensor
    step_errors: Tensor
    interval_errors: Tensor
    error_source: str
    times: Tensor
    block_means: Tensor
    member_exponents: Tensor
    neurons: int
    sum_check: SumCheck | None
    reasons: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    attractor: str = "unsettled"
    period: float | None = None
    members: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.long))
    lowest: Tensor = field(default_factory=lambda: torch.zeros(0))
    highest: Tensor = field(default_factory=lambda: torch.zeros(0))
    diverged: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    attractors: tuple[LyapunovSpectrum, ...] = ()

    def __post_init__(self) -> None:
        if not self.attractors:
            object.__setattr__(self, "attractors", (self,))

    @property
    def share(self) -> float:
        """Share of the trajectories of the run that reached this attractor."""
        return len(self.members) / len(self.member_exponents)

    @property
    def converged(self) -> bool:
        """Whether nothing speaks against the result."""
        return not self.reasons

    @property
    def verdict(self) -> str:
        """The judgement in words."""
        if self.converged:
            return "converged"
        return "not converged: " + "; ".join(self.reasons)

    @property
    def running(self) -> Tensor:
        """Estimates after each block, shape (block, exponent): plot them over `times`."""
        counts = torch.arange(1, len(self.block_means) + 1, dtype=self.block_means.dtype)
        return self.block_means.cumsum(0) / counts.unsqueeze(-1)

    @property
    def signs(self) -> str:
        """A sign an exponent: ``+`` or ``-``, or ``0`` where the error bar reaches zero."""
        return "".join(
            "0" if abs(value) <= error else "+" if value > 0 else "-"
            for value, error in zip(self.exponents.tolist(), self.errors.tolist(), strict=True)
        )

    @property
    def kaplan_yorke(self) -> float | None:
        """The Kaplan-Yorke dimension; exponents that may be zero count as zero. See there."""
        return kaplan_yorke_dimension(self._zeroed(), self.neurons)

    @property
    def entropy_bound(self) -> float:
        """Sum of the positive exponents, in nats: no less than the entropy rate (Ruelle)."""
        return sum(value for value in self._zeroed() if value > 0)

    def _zeroed(self) -> list[float]:
        pairs = zip(self.exponents.tolist(), self.signs, strict=True)
        return [0.0 if sign == "0" else value for value, sign in pairs]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings, lists and dicts, for JSON."""
        check = self.sum_check
        return {
            "kind": self.kind,
            "exponents": self.exponents.tolist(),
            "errors": self.errors.tolist(),
            "sampling_errors": self.sampling_errors.tolist(),
            "step_errors": self.step_errors.tolist(),
            "interval_errors": self.interval_errors.tolist(),
            "error_source": self.error_source,
            "signs": self.signs,
            "kaplan_yorke": self.kaplan_yorke,
            "entropy_bound": self.entropy_bound,
            "sum_check": None
            if check is None
            else {
                "total": check.total,
                "volume": check.volume,
                "difference": check.difference,
                "tolerance": check.tolerance,
                "holds": check.holds,
            },
            "converged": self.converged,
            "verdict": self.verdict,
            "times": self.times.tolist(),
            "running": self.running.tolist(),
            "settings": dict(self.settings),
            "attractor": self.attractor,
            "period": self.period,
            "share": self.share,
            "members": self.members.tolist(),
            "diverged": self.diverged.tolist(),
            "attractors": [each.to_dict() for each in self.attractors]
            if len(self.attractors) > 1
            else [],
        }

    def __str__(self) -> str:
        if len(self.attractors) > 1:
            lines = [f"{each.share:.0%} of the members: {each}" for each in self.attractors]
            return "\n".join(lines) + self._losses()
        pairs = zip(self.exponents.tolist(), self.errors.tolist(), strict=True)
        values = ", ".join(f"{value:.5g} ± {error:.1g}" for value, error in pairs)
        unit = "unit of time" if self.kind == "flow" else "step"
        kind = self.attractor if self.period is None else f"cycle of {self.period:.5g}"
        return f"{values} per {unit}, {kind} ({self.verdict}){self._losses()}"

    def _losses(self) -> str:
        lost = len(self.diverged)
        return f"; {lost} of {len(self.member_exponents)} members diverged" if lost else ""


def kaplan_yorke_dimension(exponents: list[float], neurons: int) -> float | None:
    r"""Return the Kaplan-Yorke dimension.

    .. math:: D = j + \frac{\lambda_1 + \dots + \lambda_j}{|\lambda_{j+1}|}

    with the largest j for which the sum is not negative.

    Parameters
    ----------
    exponents
        The largest exponents, in decreasing order.
    neurons
        Number of all exponents.

    Returns
    -------
    float or None
        None if the sum of the known exponents is not negative and others are not known.

    Examples
    --------
    >>> round(kaplan_yorke_dimension([0.9056, 0.0, -14.5723], 3), 4)
    2.0621
    >>> kaplan_yorke_dimension([0.0, -1.0], 2), kaplan_yorke_dimension([-1.0, -2.0], 2)
    (1.0, 0.0)

    References
    ----------
    Kaplan, Yorke, "Chaotic behavior of multidimensional difference equations", 1979.
    """
    total = 0.0
    for j, value in enumerate(exponents):
        if total + value < 0:
            return j + total / abs(value)
        total += value
    return float(neurons) if len(exponents) == neurons else None
