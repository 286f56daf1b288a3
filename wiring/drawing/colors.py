"""Colours of synapses and neurons, by default and as chosen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from elegans.errors import WiringError
from elegans.wiring.wiring import MOTOR, SENSORY, Wiring

# Blue, vermilion and green of Okabe and Ito, told apart by every kind of colour vision; neurons
# keep to the muted colours of Tol, so that they are not taken for synapses.
SYNAPSE_COLORS = {"excitatory": "#0072B2", "inhibitory": "#D55E00", "electrical": "#009E73"}
NEURON_COLORS = {SENSORY: "#DDCC77", "inter": "#44AA99", "command": "#AA4499", MOTOR: "#332288"}
CUT_COLOR = "#777777"
HALO_COLOR = "#FFD23F"
INK, MUTED = "#222222", "#777777"
LIGHTEST, DARKEST = "#E6E1EE", "#3F007D"
"""Of neurons by weight: purple, which no synapse has."""
UNKNOWN = "#FFFFFF"

_OTHER_NEURONS = ("#88CCEE", "#999933", "#CC6677", "#117733", "#882255")


def neuron_colors(wiring: Wiring, chosen: str | Mapping[str, str] | None) -> dict[str, str]:
    """Return the colour of each layer from the input to the output; raises `WiringError`."""
    layers = [SENSORY, *reversed(list(wiring.layers))]
    others = [layer for layer in layers if layer not in NEURON_COLORS]
    default = NEURON_COLORS | {
        layer: _OTHER_NEURONS[k % len(_OTHER_NEURONS)] for k, layer in enumerate(others)
    }
    return _colors("neuron_colors", chosen, {layer: default[layer] for layer in layers})


def synapse_colors(chosen: str | Mapping[str, str] | None) -> tuple[str, str, str]:
    """Return the colours of excitatory, inhibitory and electrical synapses, or `WiringError`."""
    colors = _colors("synapse_colors", chosen, SYNAPSE_COLORS)
    return colors["excitatory"], colors["inhibitory"], colors["electrical"]


def shades(weights: NDArray[np.float64]) -> list[str]:
    """Return the colours of neurons from their weights, in [0, 1] or NaN."""
    from matplotlib.colors import to_hex, to_rgb

    light, dark = np.array(to_rgb(LIGHTEST)), np.array(to_rgb(DARKEST))
    return [
        UNKNOWN if np.isnan(weight) else to_hex(light + weight * (dark - light))
        for weight in weights
    ]


def contrast(color: str) -> str:
    """Return black or white, whichever is easier to read on `color`."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(color)
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"


def _colors(
    what: str, chosen: str | Mapping[str, str] | None, default: Mapping[str, str]
) -> dict[str, str]:
    from matplotlib.colors import is_color_like

    if chosen is None:
        return dict(default)
    if isinstance(chosen, str):
        chosen = dict.fromkeys(default, chosen)
    for key, color in chosen.items():
        if key not in default:
            raise WiringError(f"{what} has no {key!r}; choose colours for {list(default)}")
        if not is_color_like(color):
            raise WiringError(f"{what} must be colours of matplotlib, got {color!r} for {key!r}")
    return {**default, **chosen}
