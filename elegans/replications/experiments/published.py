"""Published figures, to be shown beside one's own."""

from __future__ import annotations

from dataclasses import dataclass

SPARSITIES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)
"""The shares of missing weights at which the published curves were measured."""


@dataclass(frozen=True)
class PublishedCurve:
    """A published curve of a metric over the sparsity.

    Parameters
    ----------
    label
        What legends and tables call it.
    sparsities, values
        Shares of missing weights, and the metric at each.
    source
        Network, data and protocol.
    beside
        The label of the curve in whose colour it is drawn; grey if there is none.
    """

    label: str
    sparsities: tuple[float, ...]
    values: tuple[float, ...]
    source: str
    beside: str = ""


_MNIST = (
    "MNIST, 784-1000-1000-500-200-10 without biases, ReLU, Adam 1e-3, batch 100, 3 epochs, the "
    "first four matrices pruned layer by layer without retraining; 'Experiments in Pruning'"
)
WEIGHT_PRUNING = PublishedCurve(
    "weights, published (MNIST)",
    SPARSITIES,
    (97.15, 97.12, 97.00, 96.90, 96.77, 94.84, 82.43, 72.03, 64.28, 31.88),
    _MNIST,
    "weights, per layer",
)
"""Accuracy in per cent after the smallest weights of each layer were cut."""
UNIT_PRUNING = PublishedCurve(
    "units, published (MNIST)",
    SPARSITIES,
    (97.15, 97.14, 96.98, 96.76, 94.63, 72.66, 36.67, 19.29, 13.07, 10.12),
    _MNIST,
    "units, per layer",
)
"""Accuracy in per cent after the rows of smallest Euclidean norm of each layer were cut."""

DYNAMIC_SINGLE_RUN = {
    "unpruned": 0.4699,
    "one-shot": 0.4812,
    "lottery ticket": 0.4672,
    "dynamic": 0.4289,
}
"""Published test losses of single runs on penguins, one for each trial of `dynamic_trials`."""
DYNAMIC_REPEATED = {
    "unpruned": (0.381, 0.381),
    "one-shot": (0.398, 0.398),
    "lottery ticket": (0.382, 0.382),
    "dynamic": (0.400, 0.428),
}
"""Mean test losses over 12 seeds when the published experiment is repeated, each ± 0.04."""
DYNAMIC_TOLERANCE = 0.04
"""Of the losses in `DYNAMIC_REPEATED`."""
