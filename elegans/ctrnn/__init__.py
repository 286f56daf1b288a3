"""Continuous-time recurrent networks (CT-RNN): signed weights, one a synapse, and fixed leaks."""

from elegans.ctrnn.cell import CTRNNCell
from elegans.ctrnn.layer import CTRNN

__all__ = ["CTRNN", "CTRNNCell"]
