"""Published claims about rewired circuits, their verdicts, corrections and deciding numbers.

One module a claim: the statement, what it takes for granted, the counterexample or demonstration
as a function, and the corrected theorem as functions that check any circuit. ``python -m
elegans.proofs.claims`` prints them all.
"""

from elegans.proofs.claims import (
    bounded_motion,
    faster_convergence,
    invariant_hull,
    larger_state,
    published_bounds,
    recurrent_rewiring,
)
from elegans.proofs.claims.contract import Claim, Demonstration, Row, report

CLAIMS = (
    faster_convergence.CLAIM,
    larger_state.CLAIM,
    recurrent_rewiring.CLAIM,
    bounded_motion.CLAIM,
    invariant_hull.CLAIM,
    published_bounds.CLAIM,
)
"""All claims, the refuted ones first."""

__all__ = ["CLAIMS", "Claim", "Demonstration", "Row", "report"]
