"""Lesion studies: which neurons and synapses of a circuit a task needs.

`lesion` silences each of them in turn, all in one batched run; a `LesionStudy` holds the scores
and draws them on the wiring.
"""

from elegans.lesions.experiment import lesion
from elegans.lesions.study import Lesion, LesionStudy

__all__ = ["Lesion", "LesionStudy", "lesion"]
