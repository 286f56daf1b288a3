"""Pruning and rewiring: operators that edit the connections of a network while it learns.

`Pruner` is the engine, for any model: a criterion says which weights go, a scope what competes with
what, a schedule or a threshold how many and when, a growth rule where others come. `PruneRewire` is
its face for circuits that rewire themselves, `RULES` the settings by which others have done so.
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
from elegans.pruning.criteria import CRITERIA
from elegans.pruning.criteria.activity import OpenConductance, ReversalWeight
from elegans.pruning.criteria.magnitude import (
    Criterion,
    FunctionCriterion,
    LargestFirst,
    Magnitude,
    RandomScore,
    ScoringContext,
)
from elegans.pruning.criteria.saliency import (
    GradientWeight,
    Movement,
    OutputSensitivity,
    SmoothedSaliency,
    Snip,
)
from elegans.pruning.criteria.synaptic_flow import SynapticFlow
from elegans.pruning.growing.link_prediction import LinkPrediction
from elegans.pruning.growing.momentum import MomentumGrowth
from elegans.pruning.growing.rules import (
    GROWTHS,
    GradientGrowth,
    GrowthContext,
    GrowthRule,
    HebbianGrowth,
    RandomGrowth,
    StrengthGrowth,
)
from elegans.pruning.growing.walk import RandomWalk
from elegans.pruning.ledger import Edit, GuardResult, ProposedEdit
from elegans.pruning.measuring.turnover import Turnover
from elegans.pruning.parts.finding import parts_of
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.pruner import Pruner
from elegans.pruning.rewire import PruneRewire
from elegans.pruning.rules import RULES
from elegans.pruning.ticket import LotteryTicket

__all__ = [
    "CRITERIA",
    "GROWTHS",
    "RULES",
    "SCOPES",
    "Absolute",
    "AtFractions",
    "Cosine",
    "CosineFraction",
    "Criterion",
    "Cubic",
    "Edit",
    "FunctionCriterion",
    "GradientGrowth",
    "GradientWeight",
    "GrowthContext",
    "GrowthRule",
    "GuardResult",
    "HebbianGrowth",
    "IterativeSchedule",
    "LargestFirst",
    "LinkPrediction",
    "LotteryTicket",
    "Magnitude",
    "MomentumGrowth",
    "Movement",
    "OneShot",
    "OpenConductance",
    "OutputSensitivity",
    "ProposedEdit",
    "PrunableWeight",
    "PruneRewire",
    "Pruner",
    "RandomGrowth",
    "RandomScore",
    "RandomWalk",
    "Relative",
    "ReversalWeight",
    "Schedule",
    "Scope",
    "ScoringContext",
    "SmoothedSaliency",
    "Snip",
    "StrengthGrowth",
    "SynapticFlow",
    "Threshold",
    "Turnover",
    "parts_of",
]
