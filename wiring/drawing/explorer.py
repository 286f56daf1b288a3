"""A page that shows a wiring and lights up the partners of a neuron."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.arguments import checked, shown
from elegans.errors import WiringError
from elegans.files import write_bytes
from elegans.wiring.drawing.body import body_positions, check_positions
from elegans.wiring.drawing.colors import SYNAPSE_COLORS, neuron_colors
from elegans.wiring.drawing.joints import joints_of
from elegans.wiring.drawing.layout import place
from elegans.wiring.drawing.strands import all_synapses, junction_magnitudes
from elegans.wiring.exchange.networkx_graph import check_weights
from elegans.wiring.names import require_spelt_out
from elegans.wiring.wiring import SENSORY, Wiring

_FOLDER = Path(__file__).parent / "web"
_MANY = 200_000  # lines that a browser can still draw


@checked(WiringError)
def save_page(
    wiring: Wiring,
    path: str | os.PathLike[str],
    *,
    layout: str | None = None,
    positions: ArrayLike | None = None,
    sides: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
    sensory_weights: ArrayLike | None = None,
    electrical_weights: ArrayLike | None = None,
    quantity: str = "weight",
    title: str | None = None,
) -> None:
    """Write a page on which a neuron that is pointed at lights up its partners.

    Synapses that arrive, synapses that leave and gap junctions have a colour each, and a list tells
    the partners with the numbers of synapses and their weights. A click holds a neuron, Escape
    lets it go, and a field finds neurons by their names. One file, which needs no network.

    Parameters
    ----------
    wiring
        The circuit.
    path
        The file, ``.html``; an old one stays as it was until the new one is complete.
    layout, positions, sides
        Where neurons stand, as in `draw`.
    weights, sensory_weights, electrical_weights
        A weight for each synapse and gap junction, as in `draw`.
    quantity
        What the weights are, in the singular.
    title
        Above the picture; by default what the wiring is.

    Raises
    ------
    WiringError
        The file is no page or cannot be written, the circuit has more synapses than a browser
        draws, the layout is unknown, or weights or positions do not fit.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from elegans.wiring import AutoNCP
    >>> wiring = AutoNCP(units=19, output_size=4).build(input_size=8)
    >>> with TemporaryDirectory() as folder:
    ...     save_page(wiring, Path(folder) / "circuit.html")
    ...     "command_2" in (Path(folder) / "circuit.html").read_text(encoding="utf-8")
    True
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise WiringError(f"a page must be a file such as circuit.html, got {str(path)!r}")
    for name, text in (("quantity", quantity), ("title", title)):
        if not (isinstance(text, str) or (text is None and name == "title")):
            raise WiringError(f"{name} must be a text, got {shown(text)}")
    data = _places(wiring, layout, positions, sides)
    data |= _numbers(wiring, weights, sensory_weights, electrical_weights)
    data |= {"quantity": quantity, "colors": SYNAPSE_COLORS}
    heading = repr(wiring) if title is None else title
    # In a script "<" could end it; as an escape it is the same text.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "TITLE": escape(heading),
        "STYLE": (_FOLDER / "page.css").read_text(encoding="utf-8"),
        "DATA": text,
        "SCRIPT": (_FOLDER / "page.js").read_text(encoding="utf-8"),
    }
    page = (_FOLDER / "page.html").read_text(encoding="utf-8")
    # In one pass: a name of a neuron may look like the place of a part.
    page = re.sub(r"\[\[([A-Z]+)\]\]", lambda place: parts[place[1]], page)
    try:
        write_bytes(path, page.encode())
    except OSError as error:
        raise WiringError(
            f"cannot write a page to {path}: {error.strerror or error}; the folder must exist, be "
            "writable and have room"
        ) from error


def _places(
    wiring: Wiring,
    layout: str | None,
    positions: ArrayLike | None,
    sides: Sequence[str] | None,
) -> dict[str, Any]:
    """Return what the page is told of neurons and of who is connected."""
    require_spelt_out({SENSORY: wiring.input_size, **wiring.layers})
    synapses = wiring.synapse_count + wiring.sensory_synapse_count + wiring.gap_junction_count
    if synapses > _MANY:
        raise WiringError(
            f"got {synapses:,} synapses, expected at most {_MANY:,}, which a browser can draw; "
            "draw view='matrix', or a part of the circuit"
        )
    edges, polarity = all_synapses(wiring)
    (joints,) = joints_of(wiring, None, None)
    places = check_positions(wiring, positions, sides)
    if places is not None and layout is not None:
        raise WiringError(
            f"got layout={layout!r} and positions, expected one of them; leave out the other"
        )
    if places is None:
        placement = place(wiring, layout or "layered", np.concatenate([edges, joints.edges]))
    else:
        placement = body_positions(wiring, *places)
    x, y = placement.position.T
    return {
        "names": [*wiring.sensory_names, *wiring.names],
        "layers": [*[SENSORY] * wiring.input_size, *map(str, wiring.layer_of)],
        "layerColors": neuron_colors(wiring, None),
        **_channels(wiring),
        "x": np.round(x, 3).tolist(),
        "y": np.round(-y, 3).tolist(),
        "source": edges[:, 0].tolist(),
        "target": edges[:, 1].tolist(),
        "polarity": polarity.tolist(),
        "ends": joints.edges.tolist(),
        "rectifying": joints.rectifying.tolist(),
    }


def _channels(wiring: Wiring) -> dict[str, list[list[int]]]:
    """Return the output channels that read each neuron, nothing where motor neurons are read."""
    if not wiring.has_outputs_elsewhere:
        return {}
    channels: list[list[int]] = [[] for _ in range(wiring.input_size + wiring.units)]
    for channel, neuron in enumerate(wiring.outputs.tolist()):
        channels[wiring.input_size + neuron].append(channel)
    return {"channels": channels}


def _numbers(
    wiring: Wiring,
    weights: ArrayLike | None,
    sensory_weights: ArrayLike | None,
    electrical_weights: ArrayLike | None,
) -> dict[str, list[float | None]]:
    """Return the magnitudes in the order of the page, None where they are not given."""
    sensory = check_weights("sensory_weights", sensory_weights, wiring.sensory_synapse_count)
    recurrent = check_weights("weights", weights, wiring.synapse_count)
    chemical = _short(sensory, wiring.sensory_synapse_count)
    chemical += _short(recurrent, wiring.synapse_count)
    electrical = junction_magnitudes(wiring, electrical_weights)
    return {
        "weight": chemical,
        "junctionWeight": _short(electrical, wiring.gap_junction_count),
    }


def _short(values: NDArray[np.float64] | None, count: int) -> list[float | None]:
    """Return magnitudes with as many digits as are read."""
    if values is None:
        return [None] * count
    return [float(f"{abs(value):.4g}") for value in values.tolist()]
