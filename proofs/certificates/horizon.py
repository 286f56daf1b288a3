"""How far back a gradient reaches through a contracting step."""

from __future__ import annotations

import math


def horizon(factor: float, unfolds: int = 1) -> float:
    """Return after how many steps of the layer a gradient has fallen to 1/e, 1 / (-ln kappa^K)."""
    return math.inf if factor >= 1 else -1.0 / (unfolds * math.log(factor))
