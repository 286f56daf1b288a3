"""Circuits that tell how series go on."""

from __future__ import annotations

from typing import Any

import numpy as np

from elegans.data.sequences import Array
from elegans.errors import InputError
from elegans.estimators.base import VALIDATION, LiquidEstimator, fitting
from elegans.estimators.shapes import finite
from elegans.extras import require_extra
from elegans.wiring import Recipe, Wiring


class LiquidForecaster(LiquidEstimator):
    """A liquid circuit that tells what a series will be, from what it was.

    Parameters
    ----------
    units
        Neurons of the circuit.
    horizon
        How many steps ahead it answers.
    **options
        As for `LiquidRegressor`; `window` is 32 by default.

    Examples
    --------
    >>> import numpy as np
    >>> from elegans import LiquidForecaster
    >>> series = np.sin(np.arange(400) / 6)
    >>> model = LiquidForecaster(16, horizon=5, steps=200).fit(series[:300])
    >>> model.predict(series[300:]).shape, model.score(series[300:]) > 0.9
    ((5, 1), True)
    """

    def __init__(
        self,
        units: int = 32,
        *,
        horizon: int = 1,
        wiring: Recipe | Wiring | None = None,
        sparsity: float = 0.5,
        unfolds: int = 6,
        mixed_memory: bool = False,
        steps: int = 600,
        batch_size: int = 32,
        learning_rate: float = 0.02,
        window: int | None = 32,
        rewire: bool = True,
        rule: str = "free",
        loss: str = "auto",
        device: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            units,
            wiring=wiring,
            sparsity=sparsity,
            unfolds=unfolds,
            mixed_memory=mixed_memory,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            window=window,
            rewire=rewire,
            rule=rule,
            loss=loss,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.horizon = horizon

    @fitting
    def fit(self, X: Any, y: Any = None, elapsed: Any = None) -> LiquidForecaster:
        """Train on series: (time,), (time, feature), (series, time, feature), or a list of them."""
        series = _series(X)
        shortest = min(map(len, series))
        if self.horizon < 1 or shortest <= self.horizon:
            raise InputError(
                f"got horizon = {self.horizon} for a series of {shortest} steps, expected at least "
                "1 and fewer than the steps; choose another, or give longer series"
            )
        targets = [_shifted(one, self.horizon) for one in series]
        parts = self._steps(series, elapsed).sequences(targets)
        if len(parts) == 1 and len(parts[0]) >= VALIDATION * (self.window or 1):
            # One series: its last tenth tells when the answers were best.
            end = len(parts[0]) * 9 // 10
            if len(parts[0]) - end > self.horizon:
                parts = [parts[0][:end], parts[0][end:]]
        self._train(parts, classes=False)
        return self

    def predict(self, X: Any, elapsed: Any = None) -> Any:
        """Return the next steps, (horizon, feature), of each series; an array for a single one."""
        series = _series(X)
        shortest = min(map(len, series))
        if shortest < self.horizon:
            raise InputError(
                f"got a series of {shortest} steps, expected at least {self.horizon}, the horizon, "
                "as the first step ahead is told that long before; give longer series"
            )
        answers = self._answers(self._steps(series, elapsed))
        ahead = [answer[-self.horizon :] for answer in answers]
        return ahead[0] if _is_single(X) else ahead

    def score(self, X: Any, y: Any = None, elapsed: Any = None) -> float:
        """Return R2 of the answers whose truth is in the series."""
        metrics = require_extra("sklearn.metrics", "lab")
        series = _series(X)
        answers = self._answers(self._steps(series, elapsed))
        truth = np.concatenate([one[self.horizon :] for one in series])
        told = np.concatenate([answer[: -self.horizon] for answer in answers])
        return float(metrics.r2_score(truth, told))


def _series(X: Any) -> list[Array]:
    """Return series (time, feature)."""
    if isinstance(X, list | tuple) and len(X) and np.ndim(X[0]) >= 1:
        given = [np.asarray(one, dtype=np.float64) for one in X]
    else:
        array = np.asarray(X, dtype=np.float64)
        given = list(array) if array.ndim == 3 else [array]
    shaped = [one[:, None] if one.ndim == 1 else one for one in given]
    for k, one in enumerate(shaped):
        if one.ndim != 2:
            raise InputError(
                f"got a series of shape {one.shape}, expected (time,) or (time, feature); "
                "reshape it"
            )
        finite(one, k)
    return shaped


def _is_single(X: Any) -> bool:
    return not (isinstance(X, list | tuple) and np.ndim(X[0]) >= 1) and np.ndim(X) < 3


def _shifted(series: Array, horizon: int) -> Array:
    ahead = np.full_like(series, np.nan)
    ahead[:-horizon] = series[horizon:]
    return ahead
