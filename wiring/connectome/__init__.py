"""Connectomes: readers for what is published, circuits of it, null models, and wirings made of it.

Needs NumPy, NetworkX and, for tables, pandas; not imported with `elegans.wiring`.
"""

from elegans.wiring.connectome.building import BuiltWiring, to_wiring
from elegans.wiring.connectome.cect_data import datasets
from elegans.wiring.connectome.circuits import locomotion_command, tap_withdrawal
from elegans.wiring.connectome.cleaning import Rules
from elegans.wiring.connectome.connectome import Connectome
from elegans.wiring.connectome.edges import Edges
from elegans.wiring.connectome.loading import load
from elegans.wiring.connectome.null_models import random_counterpart
from elegans.wiring.connectome.polarity import SIGNS, conductances, with_polarity
from elegans.wiring.connectome.subcircuits import (
    between,
    collapse,
    neighborhood,
    neurons_only,
    select,
)

__all__ = [
    "SIGNS",
    "BuiltWiring",
    "Connectome",
    "Edges",
    "Rules",
    "between",
    "collapse",
    "conductances",
    "datasets",
    "load",
    "locomotion_command",
    "neighborhood",
    "neurons_only",
    "random_counterpart",
    "select",
    "tap_withdrawal",
    "to_wiring",
    "with_polarity",
]
