"""Compact copies of pruned models, without dead neurons and closed synapses.

`compact` makes one and says what it did; `SparseLinear` is the layer for what stays sparse.
"""

from elegans.pruning.compact.compacting import Compacted, compact
from elegans.pruning.compact.gain import Gain
from elegans.pruning.compact.record import LayerRecord
from elegans.pruning.compact.sparse_linear import SparseLinear

__all__ = ["Compacted", "Gain", "LayerRecord", "SparseLinear", "compact"]
