"""Pruning and rewiring: operators that edit the connections of a network while it learns.

`PruneRewire` moves the weak synapses of liquid circuits; thresholds say which are weak. `Pruner`
cuts weights of any model: a criterion says which, a scope what competes with what, a schedule how
many and when.
"""

from elegans.pruning.amount.schedules import (
    AtFractions,
    Cosine,
    Cubic,
    IterativeSchedule,
    OneShot,
    Schedule,
)
from elegans.pruning.amount.scopes import SCOPES, Scope
from elegans.pruning.amount.thresholds import Absolute, CosineFraction, Relative, Threshold
from elegans.pruning.criteria.magnitude import (
    Criterion,
    FunctionCriterion,
    LargestFirst,
    Magnitude,
    RandomScore,
    ScoringContext,
)
from elegans.pruning.criteria.saliency import GradientWeight, Movement, Snip
from elegans.pruning.criteria.synaptic_flow import SynapticFlow
from elegans.pruning.ledger import Edit, GuardResult, ProposedEdit
from elegans.pruning.parts.finding import parts_of
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.pruner import Pruner
from elegans.pruning.pruner_settings import CRITERIA
from elegans.pruning.rewire import PruneRewire
from elegans.pruning.ticket import LotteryTicket

__all__ = [
    "CRITERIA",
    "SCOPES",
    "Absolute",
    "AtFractions",
    "Cosine",
    "CosineFraction",
    "Criterion",
    "Cubic",
    "Edit",
    "FunctionCriterion",
    "GradientWeight",
    "GuardResult",
    "IterativeSchedule",
    "LargestFirst",
    "LotteryTicket",
    "Magnitude",
    "Movement",
    "OneShot",
    "ProposedEdit",
    "PrunableWeight",
    "PruneRewire",
    "Pruner",
    "RandomScore",
    "Relative",
    "Schedule",
    "Scope",
    "ScoringContext",
    "Snip",
    "SynapticFlow",
    "Threshold",
    "parts_of",
]
