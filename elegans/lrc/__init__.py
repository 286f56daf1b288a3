"""Liquid-resistance liquid-capacitance networks: LTC whose capacitance follows its synapses."""

from elegans.lrc.cell import LRCCell
from elegans.lrc.layer import LRC

__all__ = ["LRC", "LRCCell"]
