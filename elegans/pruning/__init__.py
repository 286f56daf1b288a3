"""Operators that edit what is connected while a network learns.

`PruneRewire` moves the weak synapses of liquid circuits; thresholds say which are weak. `Pruner`
cuts weights of any model: a criterion says which, a scope what competes with what, a schedule how
many and when.
"""

from elegans.pruning.criteria import ByCallable, Criterion, LargestFirst, Magnitude, Random, Scene
from elegans.pruning.ledger import Edit, Judgement, Proposal
from elegans.pruning.part import Part
from elegans.pruning.parts import parts_of
from elegans.pruning.pruner import Pruner
from elegans.pruning.pruner_settings import CRITERIA
from elegans.pruning.rewire import PruneRewire
from elegans.pruning.saliency import GradientWeight, Movement, Snip
from elegans.pruning.schedules import (
    AtFractions,
    Cosine,
    Cubic,
    OneShot,
    Schedule,
    Sequential,
)
from elegans.pruning.scopes import SCOPES, Scope
from elegans.pruning.synaptic_flow import SynapticFlow
from elegans.pruning.thresholds import Absolute, CosineFraction, Relative, Threshold
from elegans.pruning.ticket import Ticket

__all__ = [
    "CRITERIA",
    "SCOPES",
    "Absolute",
    "AtFractions",
    "ByCallable",
    "Cosine",
    "CosineFraction",
    "Criterion",
    "Cubic",
    "Edit",
    "GradientWeight",
    "Judgement",
    "LargestFirst",
    "Magnitude",
    "Movement",
    "OneShot",
    "Part",
    "Proposal",
    "PruneRewire",
    "Pruner",
    "Random",
    "Relative",
    "Scene",
    "Schedule",
    "Scope",
    "Sequential",
    "Snip",
    "SynapticFlow",
    "Threshold",
    "Ticket",
    "parts_of",
]
