"""CT-GRU: a gated recurrent unit whose memory decays on several time scales at once."""

from elegans.ctgru.cell import CTGRUCell
from elegans.ctgru.layer import CTGRU

__all__ = ["CTGRU", "CTGRUCell"]
