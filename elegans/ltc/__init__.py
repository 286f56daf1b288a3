"""Liquid time-constant networks: the cell, its differential equation, its layer, its kernels."""

from elegans.ltc.cell import LTCCell
from elegans.ltc.layer import LTC

__all__ = ["LTC", "LTCCell"]
