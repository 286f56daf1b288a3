"""A pruning criterion by Granger causality between the exponents of a weight and the risk.

After Sahu, Chadha, Nagaraj, Mathur and Saha (LEGCNet), with sound statistics by default.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from elegans.errors import PruningError
from elegans.replications.causality.causes import Causes, Choices, find_causes
from elegans.replications.causality.exponents import ExponentSettings
from elegans.replications.causality.weight_log import WeightLog

FULL, PARTIAL = 1.0, 0.1
"""Shares of the weights that may go, a value of `fraction` in `LyapunovGranger`."""


class Scored(Protocol):
    """Part of a model that can be scored, as `elegans.pruning.parts_of` returns it."""

    @property
    def name(self) -> str:
        """Dotted name of the weight."""

    def weights(self) -> Tensor:
        """Return the weights as they act, detached."""


@dataclass(frozen=True)
class CausalityReport:
    """Findings in numbers of weights."""

    weights: int
    tested: int
    constant: int
    """Weights that hardly change in any window."""
    non_stationary: int
    """Not tested, and kept: their exponents did not become stationary."""
    untestable: int
    """Not tested, and kept: their exponents are all equal, or fit the risk perfectly."""
    significant: int
    """Weights that cause the risk."""
    pruned: int
    """Weights that may go: not significant, or constant."""
    windows: int
    max_lag: int
    iterates: int
    """Number of iterates of the log that were examined."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


class LyapunovGranger:
    """Says which weights Granger-cause the risk by their windowed Lyapunov exponents.

    A weight may be pruned if the exponents of its series do not help to predict the risk (p >=
    alpha after both corrections), or if it does not change. Weights that could not be judged are
    kept. The method decides by itself how many weights go; as a criterion of a `Pruner` it only
    orders them, so hand `masks` to ``Pruner.close``.

    A warning. In the language of statistics, the published rule prunes where no evidence was
    found, and its own statistics find "evidence" in a fifth to nearly all of the weights that
    have no influence at all (`false_positive_rate`). With sound statistics there is hardly any
    evidence in small networks, and the rule prunes nearly everything. See docs/causality.md.

    Parameters
    ----------
    log
        Weights and risk at every iterate.
    choices
        Every choice of the method; sound ones by default.
    fraction
        The part of the planned training that is looked at, from its beginning: 1 for full
        training (FT), 0.1 for the first tenth (PT), which only needs a tenth of the log.
    published
        Whether to take every choice as the published programs do, in place of `choices`:
        see `Choices.published`. Windows have 200 iterates, or 50 where 200 leave fewer than 60.

    Raises
    ------
    PruningError
        See `find_causes`; or the log does not reach as far as `fraction` asks for.

    References
    ----------
    Sahu et al., arXiv 2308.09955; Chaos Theory and Applications 7 (2025) 154.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.standard_normal((3000, 2, 3)).cumsum(axis=0)
    >>> weights[:, 0, 0] = 1.0
    >>> log = WeightLog.of_series({"weight": weights}, rng.standard_normal(3000).cumsum())
    >>> criterion = LyapunovGranger(log)
    >>> criterion.report().constant, criterion.report().tested
    (1, 5)
    >>> criterion.prunable("weight").all().item()
    True
    """

    def __init__(
        self,
        log: WeightLog,
        choices: Choices | None = None,
        *,
        fraction: float = FULL,
        published: bool = False,
    ) -> None:
        if not 0 < fraction <= 1:
            raise PruningError(
                f"got fraction={fraction}, expected a share of the training in (0, 1]: 1 for full "
                "training, 0.1 for partial training"
            )
        if published and choices is not None:
            raise PruningError(
                "got choices and published=True, expected one of them; change single published "
                "choices with dataclasses.replace(Choices.published(), ...)"
            )
        used = round(fraction * log.capacity)
        if used > log.iterates:
            raise PruningError(
                f"got a log of {log.iterates} iterates, expected {used}, which is {fraction:g} of "
                f"the {log.capacity} planned; train on, or lower fraction"
            )
        if published:
            windows = ExponentSettings.published(200).windows(used)
            choices = Choices.published(200 if windows >= 60 else 50)
        self.choices = choices or Choices()
        self.iterates, self._shapes, self.members = used, dict(log.shapes), log.members
        self._causes: list[Causes] = []
        self._places: dict[str, slice] = {}
        for member in range(log.members):
            series = [log.series(name, member)[:, :used] for name in log.shapes]
            ends = np.cumsum([0, *(len(part_series) for part_series in series)])
            self._places = {
                name: slice(int(begin), int(end))
                for name, begin, end in zip(log.shapes, ends[:-1], ends[1:], strict=True)
            }
            together = series[0] if len(series) == 1 else np.concatenate(series)
            self._causes.append(find_causes(together, log.risk(member)[:used], self.choices))

    def __call__(self, part: Scored) -> Tensor:
        """Return the scores of a part, in the shape of its weight: low is cut first.

        Raises
        ------
        PruningError
            The log does not hold the part, or in another shape.
        """
        shape = tuple(part.weights().shape)
        if shape != self._shape(part.name):
            raise PruningError(
                f"{part.name} has shape {shape}, the log has {self._shape(part.name)}; log the "
                "model that is pruned"
            )
        return self._gather(part.name, "score")

    def prunable(self, name: str) -> Tensor:
        """Return which weights called `name` may be pruned, bool, in the shape of the weight."""
        return ~self._gather(name, "cause")

    def masks(self, *, spare: int = 0) -> dict[str, Tensor]:
        """Return which weights stay, by name: what ``Pruner.close`` takes.

        Parameters
        ----------
        spare
            The least number of weights of each part (of each member) that stay, those with the
            highest scores: without one a layer may lose all its weights, which `Pruner` refuses.
        """
        masks = {}
        for name in self._shapes:
            keep = ~self.prunable(name)
            flat, score = keep.reshape(self.members, -1), self._gather(name, "score")
            if spare > 0:
                order = score.reshape(self.members, -1).argsort(dim=1, descending=True, stable=True)
                flat.scatter_(1, order[:, :spare], True)
            masks[name] = flat.reshape(keep.shape)
        return masks

    def p_values(self, name: str) -> Tensor:
        """Return p over all lags, NaN where not tested, in the shape of the weight."""
        return self._gather(name, "p")

    def report(self, name: str | None = None) -> CausalityReport:
        """Return what was found about the weights called `name`, or about all."""
        place = slice(None) if name is None else self._place(name)
        counts = {
            what: sum(int(getattr(causes, what)[place].sum()) for causes in self._causes)
            for what in ("tested", "constant", "non_stationary", "significant", "cause")
        }
        weights = sum(len(causes.cause[place]) for causes in self._causes)
        decided = counts["tested"] + counts["constant"] + counts["non_stationary"]
        return CausalityReport(
            weights=weights,
            tested=counts["tested"],
            constant=counts["constant"],
            non_stationary=counts["non_stationary"],
            untestable=weights - decided,
            significant=counts["significant"],
            pruned=weights - counts["cause"],
            windows=self._causes[0].windows,
            max_lag=self._causes[0].max_lag,
            iterates=self.iterates,
        )

    def _gather(self, name: str, what: str) -> Tensor:
        place = self._place(name)
        values = np.concatenate([getattr(causes, what)[place] for causes in self._causes])
        return torch.from_numpy(values.reshape(self._shape(name)))

    def _place(self, name: str) -> slice:
        self._shape(name)
        return self._places[name]

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self._shapes:
            raise PruningError(
                f"got no weight {name!r} in the log, expected one of {[*self._shapes]}; log what "
                "is pruned"
            )
        return self._shapes[name]
