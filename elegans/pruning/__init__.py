"""Operators that edit the wiring while a network learns.

`PruneRewire` is the one for liquid circuits; thresholds say which synapses are weak.
"""

from elegans.pruning.ledger import Edit, Judgement, Proposal
from elegans.pruning.rewire import PruneRewire
from elegans.pruning.thresholds import Absolute, CosineFraction, Relative, Threshold

__all__ = [
    "Absolute",
    "CosineFraction",
    "Edit",
    "Judgement",
    "Proposal",
    "PruneRewire",
    "Relative",
    "Threshold",
]
