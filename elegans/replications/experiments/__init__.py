"""Experiments of pruning, measured over several seeds, with the published figures beside.

`sparsity_curve` prunes copies of trained models further and further; `prune_sequentially` retrains
between the levels; `dynamic_trials` compares pruning during training with pruning afterwards.
"""

from elegans.replications.experiments.curves import SparsityCurve, curve_table, sparsity_curve
from elegans.replications.experiments.drawing import draw_curves, draw_sequential, draw_trials
from elegans.replications.experiments.dynamic import DynamicResult, DynamicSettings, dynamic_trials
from elegans.replications.experiments.fitting import (
    fit_classifier,
    fit_ensemble,
    logits_of,
    loss_of,
    percent_correct,
    seeded,
)
from elegans.replications.experiments.published import (
    DYNAMIC_REPEATED,
    DYNAMIC_SINGLE_RUN,
    DYNAMIC_TOLERANCE,
    SPARSITIES,
    UNIT_PRUNING,
    WEIGHT_PRUNING,
    PublishedCurve,
)
from elegans.replications.experiments.sequential import (
    SequentialPruning,
    Stage,
    prune_sequentially,
    squared_error,
)
from elegans.replications.experiments.spread import PairedDifference, Spread

__all__ = [
    "DYNAMIC_REPEATED",
    "DYNAMIC_SINGLE_RUN",
    "DYNAMIC_TOLERANCE",
    "SPARSITIES",
    "UNIT_PRUNING",
    "WEIGHT_PRUNING",
    "DynamicResult",
    "DynamicSettings",
    "PairedDifference",
    "PublishedCurve",
    "SequentialPruning",
    "SparsityCurve",
    "Spread",
    "Stage",
    "curve_table",
    "draw_curves",
    "draw_sequential",
    "draw_trials",
    "dynamic_trials",
    "fit_classifier",
    "fit_ensemble",
    "logits_of",
    "loss_of",
    "percent_correct",
    "prune_sequentially",
    "seeded",
    "sparsity_curve",
    "squared_error",
]
