"""Criteria for pruning: scores by magnitude, gradient or flow, and their names."""

from collections.abc import Callable
from typing import Any

from torch import nn

from elegans.errors import PruningError
from elegans.pruning.criteria.activity import OpenConductance, ReversalWeight
from elegans.pruning.criteria.magnitude import (
    Criterion,
    FunctionCriterion,
    LargestFirst,
    Magnitude,
    RandomScore,
)
from elegans.pruning.criteria.saliency import (
    GradientWeight,
    Movement,
    OutputSensitivity,
    SmoothedSaliency,
    Snip,
)
from elegans.pruning.criteria.synaptic_flow import SynapticFlow

CRITERIA: dict[str, Callable[[], Criterion]] = {
    "magnitude": Magnitude,
    "l1": lambda: Magnitude("l1"),
    "l2": lambda: Magnitude("l2"),
    "linf": lambda: Magnitude("linf"),
    "largest_first": LargestFirst,
    "random": RandomScore,
    "gradient_weight": GradientWeight,
    "movement": Movement,
    "open_conductance": OpenConductance,
    "conductance_variation": lambda: OpenConductance("std"),
    "output_sensitivity": OutputSensitivity,
    "reversal_weight": ReversalWeight,
    "smoothed_saliency": SmoothedSaliency,
    "snip": Snip,
    "synaptic_flow": SynapticFlow,
}
"""Criteria by name."""


def as_criterion(criterion: Any) -> Criterion:
    """Return the criterion that a name or a function stands for."""
    if isinstance(criterion, Criterion):
        return criterion
    if isinstance(criterion, str) and criterion in CRITERIA:
        return CRITERIA[criterion]()
    if callable(criterion) and not isinstance(criterion, nn.Module):
        return FunctionCriterion(criterion)
    raise PruningError(
        f"unknown criterion {criterion!r}, expected one of {tuple(CRITERIA)}, a Criterion or a "
        "function of a part"
    )
