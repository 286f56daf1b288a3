"""A metric over the share of missing weights, for any model and over several seeds."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from elegans.errors import PruningError
from elegans.pruning.amount.schedules import check_sparsity
from elegans.pruning.amount.scopes import Scope
from elegans.pruning.criteria.magnitude import Criterion
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.pruner import Pruner
from elegans.replications.experiments.published import SPARSITIES, PublishedCurve
from elegans.replications.experiments.spread import Spread

Array = NDArray[np.float64]
Evaluate = Callable[[nn.Module], float | Tensor]


@dataclass(frozen=True, eq=False)
class SparsityCurve:
    """A metric over the share of missing weights, of one or several models.

    Parameters
    ----------
    label
        What tables and legends call the curve.
    metric
        What was measured, with its unit.
    sparsities
        The shares that were asked for, rising, shape (sparsity,).
    values
        The metric of each model at each sparsity, shape (model, sparsity).
    reached
        The share of missing weights that each model had, shape (model, sparsity). It differs from
        what was asked by the rounding to whole weights, or whole neurons.

    Raises
    ------
    PruningError
        When shapes do not fit together or a value is not finite.

    Examples
    --------
    >>> curve = SparsityCurve("demo", "accuracy, %", [0, 0.5], [[90, 80], [92, 86]], [[0, 0.5]] * 2)
    >>> curve.mean.tolist(), curve.standard_error.round(6).tolist()
    ([91.0, 83.0], [1.0, 3.0])
    >>> print(curve.drop(0.5))
    8.000 ± 2.828
    """

    label: str
    metric: str
    sparsities: Array
    values: Array
    reached: Array

    def __post_init__(self) -> None:
        for field in ("sparsities", "values", "reached"):
            array = np.array(getattr(self, field), dtype=np.float64)
            array.flags.writeable = False
            object.__setattr__(self, field, array)
            if not np.isfinite(array).all():
                raise PruningError(
                    f"curve {self.label!r}: got {field} that are not finite, expected numbers; a "
                    "model that cannot be evaluated has no place on a curve"
                )
        shape = self.values.shape
        if self.values.ndim != 2 or 0 in shape or self.reached.shape != shape:
            raise PruningError(
                f"curve {self.label!r}: got values of shape {shape} and reached of shape "
                f"{self.reached.shape}, expected (model, sparsity) for both"
            )
        if self.sparsities.shape != shape[1:]:
            raise PruningError(
                f"curve {self.label!r}: got {self.sparsities.size} sparsities for values of shape "
                f"{shape}, expected {shape[1]}; give one for each column"
            )

    @property
    def mean(self) -> Array:
        """The mean over models, shape (sparsity,)."""
        mean: Array = self.values.mean(axis=0)
        return mean

    @property
    def deviation(self) -> Array:
        """The standard deviation over models (over n - 1), shape (sparsity,); NaN for one model."""
        if len(self.values) < 2:
            return np.full(self.values.shape[1], math.nan)
        deviation: Array = self.values.std(axis=0, ddof=1)
        return deviation

    @property
    def standard_error(self) -> Array:
        """The standard deviation of the mean, shape (sparsity,)."""
        return self.deviation / math.sqrt(len(self.values))

    def at(self, sparsity: float) -> Spread:
        """Return the metric at one of the sparsities, over models."""
        return Spread.of(self.values[:, self._column(sparsity)])

    def drop(self, sparsity: float) -> Spread:
        """Return by how much the metric of each model is lower than at the lowest sparsity."""
        return Spread.of(self.values[:, 0] - self.values[:, self._column(sparsity)])

    def to_dict(self) -> dict[str, Any]:
        """Return label, metric, sparsities, values and what is derived, as plain values."""
        several = len(self.values) > 1
        return {
            "label": self.label,
            "metric": self.metric,
            "models": len(self.values),
            "sparsities": self.sparsities.tolist(),
            "reached": self.reached.mean(axis=0).tolist(),
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist() if several else None,
            "standard_error": self.standard_error.tolist() if several else None,
            "values": self.values.tolist(),
        }

    def table(self, references: Sequence[PublishedCurve] = ()) -> str:
        """Return a Markdown table of the curve; see `curve_table`."""
        return curve_table([self], references)

    def _column(self, sparsity: float) -> int:
        near = np.flatnonzero(np.isclose(self.sparsities, sparsity, rtol=0, atol=1e-9))
        if not len(near):
            raise PruningError(
                f"curve {self.label!r}: got sparsity {sparsity}, expected one of "
                f"{self.sparsities.tolist()}; measure the curve there"
            )
        return int(near[0])


def sparsity_curve(
    models: nn.Module | Sequence[nn.Module],
    evaluate: Evaluate | Sequence[Evaluate],
    sparsities: Sequence[float] = SPARSITIES,
    *,
    criterion: str | Criterion | Callable[[PrunableWeight], Tensor] = "magnitude",
    scope: str | Scope = "layer",
    budget: str = "uniform",
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    allow_empty: bool = True,
    closure: Callable[[nn.Module], Tensor] | None = None,
    retrain: Callable[[nn.Module, Pruner], object] | None = None,
    rounds: int = 1,
    seed: int = 0,
    label: str = "",
    metric: str = "accuracy, %",
) -> SparsityCurve:
    """Prune copies of trained models to each sparsity, and evaluate every copy.

    Every point of the curve begins with a fresh copy; the models stay as they are.

    Parameters
    ----------
    models
        A trained model, or several that were trained with different seeds: any module with weight
        matrices, recurrent ones and liquid layers among them.
    evaluate
        Takes a pruned copy and returns the metric; one function, or one for each model (if each has
        its own test part).
    sparsities
        Shares of missing weights in [0, 1), rising. At 0 the copy is not pruned.
    criterion, scope, budget, include, exclude
        As in `elegans.pruning.Pruner`: ``scope="unit"`` cuts whole neurons, ``"global"`` and
        ``"global_unit"`` let all layers compete, ``criterion="largest_first"`` is the control that
        cuts the wrong end.
    allow_empty
        Whether a layer may lose everything, as happens at high sparsity when all layers compete.
    closure
        Takes a copy and returns a differentiable loss, for criteria that look at gradients.
    retrain
        Called with the pruned copy and its pruner before the copy is evaluated. The pruner keeps
        cut weights at zero, and their gradients, too; the optimiser must be new.
    rounds
        As in `Pruner.prune`.
    seed
        Seed of criteria that draw, mixed with the number of the model.
    label, metric
        What the curve and its values are called; by default the scope and criterion.

    Returns
    -------
    SparsityCurve
        Values (model, sparsity).

    Raises
    ------
    PruningError
        When there is no model, functions and models do not fit, sparsities do not rise in [0, 1), a
        metric is not finite, or the pruner refuses its arguments.

    Examples
    --------
    >>> import torch
    >>> from elegans.replications.experiments.fitting import seeded
    >>> model = seeded(lambda: nn.Linear(8, 8), 0)
    >>> curve = sparsity_curve(
    ...     model, lambda pruned: pruned.weight.abs().sum(), (0, 0.5, 0.75), metric="mass"
    ... )
    >>> curve.reached.tolist()
    [[0.0, 0.5, 0.75]]
    >>> bool((curve.values[0, :-1] > curve.values[0, 1:]).all())
    True

    Source: the protocol of weight and unit pruning after training, "Experiments in Pruning"; its
    open questions (all layers together, other norms, largest first, recurrent networks) are
    arguments here.
    """
    several = [models] if isinstance(models, nn.Module) else list(models)
    functions = [evaluate] * len(several) if callable(evaluate) else list(evaluate)
    if not several or len(functions) != len(several):
        raise PruningError(
            f"got {len(several)} models and {len(functions)} functions to evaluate them, expected "
            "at least one model, and one function or one for each model"
        )
    for sparsity in sparsities:
        check_sparsity("sparsities", sparsity)
    if not len(sparsities) or list(sparsities) != sorted(set(sparsities)):
        raise PruningError(
            f"got sparsities {tuple(sparsities)}, expected at least one, and rising; sort them"
        )
    values = np.empty((len(several), len(sparsities)))
    reached = np.zeros_like(values)
    for row, (model, function) in enumerate(zip(several, functions, strict=True)):
        for column, sparsity in enumerate(sparsities):
            pruned = copy.deepcopy(model)
            if sparsity > 0:
                pruner = Pruner(
                    pruned,
                    # A criterion that gathers gradients must not carry them to the next copy.
                    criterion=copy.deepcopy(criterion),
                    scope=scope,
                    budget=budget,
                    include=include,
                    exclude=exclude,
                    allow_empty=allow_empty,
                    # Each model of a curve meets random choices of its own.
                    seed=int(np.random.SeedSequence([seed, row, 0x5EED]).generate_state(1)[0]),
                )
                loss = None if closure is None else partial(closure, pruned)
                pruner.prune(sparsity, loss, rounds=rounds)
                if retrain is not None:
                    retrain(pruned, pruner)
                reached[row, column] = pruner.sparsity
            value = function(pruned)
            values[row, column] = float(value.detach() if isinstance(value, Tensor) else value)
    name = f"{scope if isinstance(scope, str) else 'own scope'}, {_name(criterion)}"
    return SparsityCurve(label or name, metric, np.array(sparsities), values, reached)


def curve_table(
    curves: Sequence[SparsityCurve], references: Sequence[PublishedCurve] = (), digits: int = 2
) -> str:
    """Return a Markdown table: a row a sparsity, a column a curve (mean ± s.d.) or reference.

    Raises
    ------
    PruningError
        When there is no curve.

    Examples
    --------
    >>> curve = SparsityCurve("demo", "accuracy, %", [0, 0.5], [[90, 80], [92, 86]], [[0, 0.5]] * 2)
    >>> print(curve_table([curve]))
    | sparsity, % | demo |
    |---:|---:|
    | 0 | 91.00 ± 1.41 |
    | 50 | 83.00 ± 4.24 |
    """
    if not curves:
        raise PruningError("got no curves, expected at least one; measure it with sparsity_curve")
    sparsities = sorted({float(s) for curve in curves for s in curve.sparsities})
    labels = [curve.label for curve in curves] + [baseline.label for baseline in references]
    lines = ["| " + " | ".join(["sparsity, %", *labels]) + " |", "|---:" * (1 + len(labels)) + "|"]
    for sparsity in sparsities:
        cells = [f"{100 * sparsity:g}"]
        for curve in curves:
            if not np.isclose(curve.sparsities, sparsity, rtol=0, atol=1e-9).any():
                cells.append("")
                continue
            spread_at = curve.at(sparsity)
            spread = f" ± {spread_at.deviation:.{digits}f}" if spread_at.count > 1 else ""
            cells.append(f"{spread_at.mean:.{digits}f}{spread}")
        for reference in references:
            pairs = zip(reference.sparsities, reference.values, strict=True)
            near = [value for at, value in pairs if abs(at - sparsity) < 1e-9]
            cells.append(f"{near[0]:.{digits}f}" if near else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _name(criterion: object) -> str:
    if isinstance(criterion, str):
        return criterion.replace("_", " ")
    return getattr(criterion, "__name__", type(criterion).__name__)
