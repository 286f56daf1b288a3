"""Pictures of wirings: `views` chooses one of `circuit`, `matrix` and `classes`."""

from elegans.wiring.drawing.views import draw

__all__ = ["draw"]
