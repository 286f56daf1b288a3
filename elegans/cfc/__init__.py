"""Closed-form continuous-time layers (CfC): dense, or along a wiring.

`CfC` is the layer; `elegans.checkpoints.ncps_cfc` reads and writes the states of ncps.
"""

from elegans.cfc.cell import CfCCell
from elegans.cfc.layer import CfC
from elegans.cfc.wired_cell import WiredCfCCell

__all__ = ["CfC", "CfCCell", "WiredCfCCell"]
