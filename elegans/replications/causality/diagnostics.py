"""False positives of the search for causes, on series without any.

Weights and risk are drawn independently of each other, so every cause that is found is a false one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from elegans.errors import PruningError
from elegans.replications.causality.causes import Choices, NotStationaryError, judge_exponents
from elegans.replications.causality.exponents import WindowedExponents, windowed_exponents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("noise", "autoregressive", "walk")


@dataclass(frozen=True)
class FalsePositives:
    """Number of series, of `tests` independent ones, that were called causes."""

    positives: int
    tests: int
    untested: int
    """Pairs that could not be tested; not among `tests`."""
    nominal: float

    @property
    def rate(self) -> float:
        """Share of the tests."""
        return self.positives / self.tests if self.tests else float("nan")

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the exact binomial interval (Clopper and Pearson, 1934) of the true rate."""
        tail, k, n = (1 - confidence) / 2, self.positives, self.tests
        low = float(stats.beta.ppf(tail, k, n - k + 1)) if k else 0.0
        high = float(stats.beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
        return low, high

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{self.rate:.1%} [{low:.1%}, {high:.1%}], nominal {self.nominal:.0%}"


def independent_series(
    kind: str, count: int, time: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return independent series of white noise, an AR(1) process (0.9) or a random walk.

    Shape (series, time).

    Examples
    --------
    >>> independent_series("walk", 2, 5, np.random.default_rng(0)).shape
    (2, 5)
    """
    if kind not in KINDS:
        raise PruningError(f"got the kind {kind!r} of series, expected one of {KINDS}")
    noise = generator.standard_normal((count, time))
    if kind == "walk":
        return noise.cumsum(axis=1)
    if kind == "autoregressive":
        for now in range(1, time):
            noise[:, now] += 0.9 * noise[:, now - 1]
    return noise


def false_positive_rate(
    choices: Choices | None = None,
    *,
    tests: int = 1000,
    iterates: int = 3000,
    weights: str = "walk",
    risk: str = "walk",
    step: float = 0.01,
    seed: int = 0,
) -> FalsePositives:
    """Return how often one weight without influence is called a cause of the risk.

    Each test has a weight and a risk of its own, so that the tests are independent.

    Parameters
    ----------
    choices
        See `Choices`. Corrections over many weights have no effect on one.
    tests
        Number of pairs of weight and risk.
    iterates
        Length of the series.
    weights, risk
        "noise", "autoregressive" or "walk".
    step
        Standard deviation of the noise in the weights, in their unit: published choices have
        thresholds in it.
    seed
        Of all series.

    Raises
    ------
    PruningError
        A kind is unknown, or as `find_causes`.

    Examples
    --------
    >>> print(false_positive_rate(tests=40, iterates=1500))
    5.1% [0.6%, 17.3%], nominal 5%
    """
    choices = choices or Choices()
    if tests < 1:
        raise PruningError(f"got tests={tests}, expected at least 1")
    generator = np.random.default_rng(seed)
    settings = choices.exponents_for(iterates)
    series = step * independent_series(weights, tests, iterates, generator)
    effects = independent_series(risk, tests, iterates, generator)[:, settings.ends(iterates)]
    exponents = windowed_exponents(series, settings)
    positives = untested = 0
    for test in range(tests):
        alone = slice(test, test + 1)
        single = WindowedExponents(
            exponents.values[alone], exponents.flat[alone], exponents.abrupt[alone]
        )
        try:
            verdict = judge_exponents(single, effects[test], choices)
        except NotStationaryError:
            untested += 1
            continue
        positives += int(verdict.significant[0])
        untested += int(not verdict.tested[0])
    return FalsePositives(positives, tests - untested, untested, choices.alpha)


def false_positive_figure(found: Mapping[str, FalsePositives]) -> Figure:
    """Return a figure of rates with their 95 % intervals beside the nominal one.

    Parameters
    ----------
    found
        Rates by the name they shall have in the figure.

    Raises
    ------
    PruningError
        There are none.

    Examples
    --------
    >>> figure = false_positive_figure({"one": FalsePositives(5, 100, 0, 0.05)})
    >>> figure.axes[0].get_xlabel()
    'weights without influence called causes'
    """
    if not found:
        raise PruningError("got no rates, expected at least one to draw")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.7 + 0.4 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    names = list(found)
    rates = np.array([found[name].rate for name in names])
    ends = np.array([found[name].interval() for name in names])
    reach = np.abs(ends - rates[:, None]).T
    axes.errorbar(rates, range(len(names)), xerr=reach, fmt="o", color="black", capsize=3)
    for nominal in {found[name].nominal for name in names}:
        axes.axvline(nominal, linestyle="--", color="grey")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("weights without influence called causes")
    return figure
