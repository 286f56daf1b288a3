"""Pictures of wirings."""

from elegans.wiring.drawing.circuit import draw

__all__ = ["draw"]
