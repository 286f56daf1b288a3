"""Pruning while training against pruning afterwards: four trials on one initialisation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import Adam

from elegans.ensemble import Ensemble
from elegans.errors import PruningError
from elegans.pruning.amount.schedules import AtFractions, Schedule
from elegans.pruning.pruner import Pruner
from elegans.pruning.ticket import LotteryTicket
from elegans.replications.experiments.fitting import (
    fit_classifier,
    fit_ensemble,
    loss_of,
    percent_correct,
    seeded,
)
from elegans.replications.experiments.published import (
    DYNAMIC_REPEATED,
    DYNAMIC_SINGLE_RUN,
    DYNAMIC_TOLERANCE,
)
from elegans.replications.experiments.spread import PairedDifference, Spread
from elegans.replications.sets import ClassificationSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRIALS = ("unpruned", "one-shot", "lottery ticket", "dynamic")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class DynamicSettings:
    """Settings that the four trials share.

    Parameters
    ----------
    epochs, batch_size, learning_rate
        Of every training, by Adam.
    hidden
        Neurons of the hidden layer of the default network.
    sizes
        Rows for training, validation and test, drawn anew by every seed.
    share
        The share of weights cut after training, and missing in the lottery ticket.
    dynamic_share
        The share of the weights *still there* that is cut at each of `fractions`.
    fractions
        When the dynamic trial cuts, as fractions of its training.
    scope, exclude
        As in `elegans.pruning.Pruner`; names as in one network.

    Examples
    --------
    >>> [round(s, 4) for s in DynamicSettings().dynamic_sparsities]
    [0.17, 0.3111]
    """

    epochs: int = 4000
    batch_size: int = 50
    learning_rate: float = 1e-4
    hidden: int = 12
    sizes: tuple[int, int, int] = (200, 100, 33)
    share: float = 0.3
    dynamic_share: float = 0.17
    fractions: tuple[float, ...] = (1 / 3, 2 / 3)
    scope: str = "layer"
    exclude: tuple[str, ...] = field(default=())

    @property
    def dynamic_sparsities(self) -> tuple[float, ...]:
        """The share of weights missing from each of `fractions` on."""
        cuts = range(1, len(self.fractions) + 1)
        return tuple(1 - (1 - self.dynamic_share) ** cut for cut in cuts)


@dataclass(frozen=True, eq=False)
class DynamicResult:
    """Test loss and accuracy of the four trials, seed by seed.

    Parameters
    ----------
    data
        Name of the data set.
    settings
        What the trials had in common.
    seeds
        One run of each trial a seed, shape (seed,).
    loss
        Mean cross-entropy of the test part in nats, shape (trial, seed).
    accuracy
        Percentage of the test part that was right, shape (trial, seed).
    sparsity
        The share of missing weights at the end, shape (trial, seed).
    """

    data: str
    settings: DynamicSettings
    seeds: tuple[int, ...]
    loss: Array
    accuracy: Array
    sparsity: Array

    def spread(self, trial: str, figure: str = "loss") -> Spread:
        """Return mean and deviation over seeds of "loss", "accuracy" or "sparsity"."""
        return Spread.of(self._runs(trial, figure))

    def compare(
        self, trial: str, baseline: str = "unpruned", figure: str = "loss", level: float = 0.95
    ) -> PairedDifference:
        """Return trial less baseline, paired by seed, with a confidence interval."""
        return PairedDifference.of(self._runs(trial, figure), self._runs(baseline, figure), level)

    def to_dict(self) -> dict[str, Any]:
        """Return settings, runs and means as plain values."""
        several = len(self.seeds) > 1
        return {
            "data": self.data,
            "settings": asdict(self.settings),
            "seeds": list(self.seeds),
            "trials": {
                trial: {
                    figure: {
                        "mean": self.spread(trial, figure).mean,
                        "deviation": self.spread(trial, figure).deviation if several else None,
                        "runs": self._runs(trial, figure).tolist(),
                    }
                    for figure in ("loss", "accuracy", "sparsity")
                }
                for trial in TRIALS
            },
            "less_unpruned": {
                trial: self.compare(trial).to_dict() for trial in TRIALS[1:] if several
            },
        }

    def table(self) -> str:
        """Return a Markdown table of means ± s.d.; for penguins, with the published figures."""
        lines = [
            "| trial | missing, % | test loss | less unpruned [95 %] | accuracy, % |",
            "|---|---:|---:|---:|---:|",
        ]
        if self._has_published:
            lines[0] += " published, single run | repeated, 12 seeds |"
            lines[1] += "---:|---:|"
        for trial in TRIALS:
            paired = ""
            if trial != TRIALS[0] and len(self.seeds) > 1:
                paired = str(self.compare(trial))
            right = self.spread(trial, "accuracy")
            deviation = f" ± {right.deviation:.1f}" if right.count > 1 else ""
            line = (
                f"| {trial} | {100 * self.spread(trial, 'sparsity').mean:.1f} "
                f"| {self.spread(trial)} | {paired} | {right.mean:.1f}{deviation} |"
            )
            if self._has_published:
                low, high = DYNAMIC_REPEATED[trial]
                mean = f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
                line += f" {DYNAMIC_SINGLE_RUN[trial]:.4f} | {mean} ± {DYNAMIC_TOLERANCE:.2f} |"
            lines.append(line)
        return "\n".join(lines)

    def draw(self, axes: Axes | None = None) -> Axes:
        """Draw every run and the means; for penguins, with the published figures beside."""
        from elegans.replications.experiments.drawing import draw_trials

        return draw_trials(
            {trial: self._runs(trial, "loss").tolist() for trial in TRIALS},
            metric="test loss, nats",
            single=DYNAMIC_SINGLE_RUN if self._has_published else None,
            repeated=DYNAMIC_REPEATED if self._has_published else None,
            axes=axes,
            title=f"Pruning after and during training, {self.data}, {self.settings.epochs} epochs",
        )

    @property
    def _has_published(self) -> bool:
        return self.data == "penguins"

    def _runs(self, trial: str, figure: str) -> Array:
        if trial not in TRIALS or figure not in ("loss", "accuracy", "sparsity"):
            raise PruningError(
                f"got trial {trial!r} and figure {figure!r}, expected one of {TRIALS} and 'loss', "
                "'accuracy' or 'sparsity'"
            )
        runs: Array = getattr(self, figure)[TRIALS.index(trial)]
        return runs


def dynamic_trials(
    data: ClassificationSet,
    seeds: Iterable[int] = range(12),
    settings: DynamicSettings | None = None,
    *,
    make: Callable[[], nn.Module] | None = None,
    together: bool = True,
    progress: Callable[[str], object] | None = None,
) -> DynamicResult:
    """Run four trials from the same start for every seed, and return their test figures.

    - *unpruned*: trained, nothing cut.
    - *one-shot*: the trained network of the first trial, 30 % of its weights cut, not retrained.
    - *lottery ticket*: the mask of the second trial, weights rewound to the initialisation, trained
      again from there.
    - *dynamic*: 17 % of the weights cut after one third of the training, 17 % of the rest (31.1 %
      in all) after two thirds, and training carried on each time.

    All four share the initialisation, the split and the order of the batches of their seed, so that
    they can be compared in pairs. The seed draws all three.

    Parameters
    ----------
    data
        With at least as many rows as ``settings.sizes`` ask for.
    seeds
        One run of every trial each, at least 0.
    settings
        By default the published ones.
    make
        Makes the untrained network: by default features-12-classes with ReLU and, as published,
        tanh on the outputs that the cross-entropy takes for logits. The loss is then at least
        log(1 + (C - 1) / e^2), 0.240 for three classes, however good the network is.
    together
        Whether the networks of all seeds are trained as one `elegans.ensemble.Ensemble`, or one
        after the other, which is slower and gives the same figures up to rounding.
    progress
        Called with a line of text after each training.

    Raises
    ------
    PruningError
        When there are no seeds or one comes twice, or a setting is not valid.

    Examples
    --------
    >>> from elegans.replications.sets import banknote_like
    >>> quick = DynamicSettings(epochs=6, learning_rate=1e-2)
    >>> result = dynamic_trials(banknote_like(), seeds=(0, 1), settings=quick)
    >>> result.loss.shape, round(result.spread("dynamic", "sparsity").mean, 2)
    ((4, 2), 0.31)

    Source: a published experiment of dynamic pruning on the Palmer penguins, single runs.
    """
    settings = DynamicSettings() if settings is None else settings
    seeds = tuple(seeds)
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise PruningError(
            f"got seeds {seeds}, expected at least one, each once and at least 0; use range(12)"
        )
    make = _default_network(data, settings.hidden) if make is None else make
    splits = [data.split(settings.sizes, seed) for seed in seeds]
    starts = [seeded(make, seed) for seed in seeds]
    runs = [range(len(seeds))] if together else [range(k, k + 1) for k in range(len(seeds))]
    figures = np.empty((3, len(TRIALS), len(seeds)))
    for run in runs:
        fit = partial(
            fit_ensemble if together else _fit_single,
            data=[splits[k][0] for k in run],
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            seeds=[seeds[k] for k in run],
        )
        names = ", ".join(str(seeds[k]) for k in run)
        start = Ensemble(starts[k] for k in run) if together else starts[run[0]]
        for trial, (model, missing) in enumerate(_four_trials(start, fit, settings)):
            for at, k in enumerate(run):
                member = model.member(at) if isinstance(model, Ensemble) else model
                test = splits[k][2]
                figures[0, trial, k] = loss_of(member, test)
                figures[1, trial, k] = percent_correct(member, test)
                figures[2, trial, k] = missing[at]
            if progress is not None:
                progress(f"{TRIALS[trial]}: seeds {names} done")
    return DynamicResult(data.name, settings, seeds, *figures)


def _four_trials(
    start: nn.Module, fit: Callable[..., object], settings: DynamicSettings
) -> Iterator[tuple[nn.Module, list[float]]]:
    """Iterate over the networks after each trial, with the share that is missing in each member."""

    def pruner_of(
        model: nn.Module, optimizer: Adam | None = None, schedule: Schedule | None = None
    ) -> Pruner:
        return Pruner(model, optimizer, schedule, scope=settings.scope, exclude=settings.exclude)

    def copied() -> tuple[nn.Module, Adam]:
        model = copy.deepcopy(start)
        return model, Adam(model.parameters(), lr=settings.learning_rate)

    unpruned, optimizer = copied()
    fit(unpruned, optimizer=optimizer)
    yield unpruned, [0.0] * (len(start) if isinstance(start, Ensemble) else 1)

    one_shot = copy.deepcopy(unpruned)
    cutter = pruner_of(one_shot)
    cutter.prune(settings.share)
    yield one_shot, _missing(cutter)

    winner, optimizer = copied()
    ticket, holder = LotteryTicket(winner, optimizer), pruner_of(winner, optimizer)
    holder.apply_masks(cutter.masks())
    ticket.rewind(holder)
    fit(winner, optimizer=optimizer)
    yield winner, _missing(holder)

    dynamic, optimizer = copied()
    steps = settings.epochs * -(-settings.sizes[0] // settings.batch_size)
    schedule = AtFractions(settings.dynamic_sparsities, settings.fractions, steps)
    pruner = pruner_of(dynamic, optimizer, schedule)
    fit(dynamic, optimizer=optimizer, after_step=pruner.step)
    yield dynamic, _missing(pruner)


def _fit_single(
    model: nn.Module, data: Sequence[ClassificationSet], *, seeds: Sequence[int], **options: Any
) -> nn.Module:
    (only,), (seed,) = data, seeds
    return fit_classifier(model, only, seed=seed, **options)


def _missing(pruner: Pruner) -> list[float]:
    """Return the share of missing weights of each member."""
    open_ = torch.cat([part.flat(part.mask) for part in pruner.parts], dim=1)  # (member, weight)
    shares: list[float] = (1 - open_.double().mean(dim=1)).tolist()
    return shares


def _default_network(data: ClassificationSet, hidden: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Linear(data.features.shape[1], hidden),
            nn.ReLU(),
            nn.Linear(hidden, len(data.classes)),
            nn.Tanh(),
        )

    return make
