"""LrcSSM: liquid neurons that read inputs and themselves, solved in parallel over time."""

from elegans.lrc_ssm.cell import LrcSSMCell
from elegans.lrc_ssm.layer import LrcSSM

__all__ = ["LrcSSM", "LrcSSMCell"]
