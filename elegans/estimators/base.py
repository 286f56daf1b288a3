"""What the estimators share: a circuit with a readout, and its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from elegans.arguments import explained
from elegans.checks import check_choice, moved
from elegans.data import Scales, Sequence, Windows, cut_windows
from elegans.data.sequences import Array
from elegans.errors import InputError
from elegans.estimators.shapes import Steps
from elegans.extras import require_extra
from elegans.layers.readout import Readout
from elegans.ltc.layer import LTC
from elegans.training.config import RewireConfig, TrainingConfig
from elegans.training.evaluation import predict
from elegans.training.trainer import fit
from elegans.wiring import AutoNCP, Recipe, Wiring

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
else:
    BaseEstimator = require_extra("sklearn.base", "lab").BaseEstimator

VALIDATION = 10
"""Sequences from which on some are kept for validation."""


F = TypeVar("F", bound=Callable[..., Any])


def fitting(fit: F) -> F:
    """Let an error of `fit` name the setting that is none: constructors only keep them."""

    @wraps(fit)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        kind, settings = type(self), self.get_params(deep=False)
        with explained(kind.__init__, settings, InputError, kind.__name__):
            return fit(self, *args, **kwargs)

    return wrapper  # type: ignore[return-value]


class LiquidEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """What the estimators share; see `LiquidRegressor`."""

    _many_targets = False

    def __init__(
        self,
        units: int = 32,
        *,
        wiring: Recipe | Wiring | None = None,
        sparsity: float = 0.5,
        unfolds: int = 6,
        mixed_memory: bool = False,
        steps: int = 600,
        batch_size: int = 32,
        learning_rate: float = 0.02,
        window: int | None = None,
        rewire: bool = True,
        rule: str = "free",
        loss: str = "auto",
        sequence: str | None = None,
        time: str | None = None,
        device: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
    ) -> None:
        self.units = units
        self.wiring = wiring
        self.sparsity = sparsity
        self.unfolds = unfolds
        self.mixed_memory = mixed_memory
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.window = window
        self.rewire = rewire
        self.rule = rule
        self.loss = loss
        self.sequence = sequence
        self.time = time
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # --- training ------------------------------------------------------------------------

    def _train(self, sequences: list[Sequence], classes: bool) -> None:
        """Set `model_`, `scales_`, `n_features_in_` and `n_iter_`."""
        seed = self._seed()
        kept = _kept_for_validation(len(sequences), seed)
        train = [one for k, one in enumerate(sequences) if k not in kept]
        held = [one for k, one in enumerate(sequences) if k in kept and one.is_known.any()] or train
        self.scales_ = Scales.fit(train, classes=classes)
        windows, validation = (
            _windows(self.scales_.apply(some), self.window) for some in (train, held)
        )
        outputs = sequences[0].targets.shape[1]
        self.n_features_in_ = sequences[0].inputs.shape[1]
        self.model_ = self._network(self.n_features_in_, outputs, seed)
        losses = ("cross_entropy",) if classes else ("mse", "mae", "huber")
        loss: Any = check_choice("loss", self.loss, ("auto", *losses))
        loss = losses[0] if loss == "auto" else loss
        config = TrainingConfig(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            window=windows.inputs.shape[1],
            evaluate_every=max(1, self.steps // 20),
            seed=seed,
            loss=loss,
            rewire=RewireConfig(enabled=self.rewire, rule=self.rule),
        )
        result = fit(self.model_, windows, validation, config, progress=self.verbose)
        self.n_iter_ = result.steps
        self.best_loss_ = result.best_loss
        self.ledger_ = result.ledger

    def _network(self, inputs: int, outputs: int, seed: int) -> Readout:
        generator = torch.Generator().manual_seed(seed)
        recipe = self.wiring
        if recipe is None:
            motors = min(outputs, max(1, self.units - 3))
            recipe = AutoNCP(self.units, motors, self.sparsity, seed=seed)
        layer = LTC(
            inputs,
            recipe,
            mixed_memory=self.mixed_memory,
            ode_unfolds=self.unfolds,
            generator=generator,
        )
        return moved(Readout(layer, outputs, generator=generator), self.device, "device =")

    def _seed(self) -> int:
        if self.random_state is None:
            return int(np.random.default_rng().integers(2**31))
        if isinstance(self.random_state, np.random.RandomState):
            return int(self.random_state.randint(2**31))
        if not isinstance(self.random_state, int | np.integer) or self.random_state < 0:
            raise InputError(
                f"got random_state = {self.random_state!r}, expected a whole number of at least 0, "
                "or None; choose one"
            )
        return int(self.random_state)

    # --- answers -------------------------------------------------------------------------

    def _answers(self, X: Steps) -> list[Array]:
        """Return the answers to each sequence, (time, output)."""
        require_extra("sklearn.utils.validation", "lab").check_is_fitted(self, "model_")
        names = getattr(self, "feature_names_in_", None)
        if names is not None and X.names is not None and list(names) != list(X.names):
            raise InputError(
                f"got the columns {list(X.names)}, expected {list(names)} in this order, as in "
                "fit; choose them"
            )
        features = X.inputs[0].shape[1]
        if features != self.n_features_in_:
            raise InputError(
                f"X has {features} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )
        outputs = self.model_.output_size
        unknown = [np.full((len(x), outputs), np.nan) for x in X.inputs]
        return predict(self.model_, X.sequences(unknown), self.scales_)

    def _steps(self, X: Any, elapsed: Any, *, is_new: bool = False) -> Steps:
        """Return the steps of X; of new ones for training the names of the columns are kept."""
        steps = Steps.of(X, elapsed, self.sequence, self.time)
        if is_new:
            self.__dict__.pop("feature_names_in_", None)
            if steps.names is not None:
                self.feature_names_in_ = np.array(steps.names, dtype=object)
        return steps

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.random_state is None
        tags.target_tags.multi_output = self._many_targets
        return tags


def _windows(sequences: tuple[Sequence, ...], length: int | None) -> Windows:
    """Return windows of one length; shorter sequences end with steps that last no time."""
    longest = max(map(len, sequences))
    length = longest if length is None else min(length, longest)
    return cut_windows([_padded(one, length) for one in sequences], length, max(1, length // 4))


def _padded(one: Sequence, length: int) -> Sequence:
    """Return the sequence with steps at its end at which nothing changes and nothing is asked."""
    missing = length - len(one)
    if missing <= 0:
        return one
    return replace(
        one,
        inputs=np.pad(one.inputs, ((0, missing), (0, 0))),
        targets=np.pad(one.targets, ((0, missing), (0, 0)), constant_values=np.nan),
        elapsed=np.pad(one.elapsed, (0, missing)),
    )


def _kept_for_validation(count: int, seed: int) -> set[int]:
    if count == 2:  # the two parts of one series
        return {1}
    if count < VALIDATION:
        return set()
    order = np.random.default_rng(seed).permutation(count)
    return {int(k) for k in order[: count // 10]}
