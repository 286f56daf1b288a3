"""Wirings of liquid circuits: immutable values, the families that draw them, and pictures.

Needs NumPy and NetworkX only; matplotlib is imported when something is drawn.
"""

if __name__ != "elegans.wiring":
    raise ImportError(
        f"this folder is the package 'elegans.wiring', but was imported as {__name__!r}; "
        "install the project (pip install -e .) and import elegans.wiring"
    )

from elegans.wiring.drawing.explorer import save_page
from elegans.wiring.drawing.views import draw
from elegans.wiring.families.heavy_tailed import HeavyTailed
from elegans.wiring.families.layered import Layered
from elegans.wiring.families.ncp import NCP, AutoNCP, BinomialNCP
from elegans.wiring.families.overgrown import Overgrown
from elegans.wiring.families.recipe import Recipe
from elegans.wiring.families.uniform import FullyConnected, Random
from elegans.wiring.junctions import GapJunctions
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import Neuron, Wiring

__all__ = [
    "NCP",
    "AutoNCP",
    "BinomialNCP",
    "FullyConnected",
    "GapJunctions",
    "HeavyTailed",
    "Layered",
    "Neuron",
    "Overgrown",
    "Random",
    "Recipe",
    "Synapses",
    "Wiring",
    "draw",
    "save_page",
]
