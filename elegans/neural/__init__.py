"""Differential equations given by a small network: neural ODEs, and LTC as first published."""

from elegans.neural.cell import NeuralLTCCell, NeuralODECell
from elegans.neural.layer import NeuralLTC, NeuralODE

__all__ = ["NeuralLTC", "NeuralLTCCell", "NeuralODE", "NeuralODECell"]
