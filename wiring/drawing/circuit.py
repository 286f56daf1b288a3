"""Pictures of wirings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.errors import WiringError
from elegans.wiring.drawing.layout import RADIUS, curves, place
from elegans.wiring.drawing.page import Entry, Page, add_legend, legend_size, new_axes
from elegans.wiring.drawing.painting import (
    CUT_COLOR,
    HALO_COLOR,
    INK,
    PLAIN,
    Strand,
    fits_inside,
    paint_headers,
    paint_labels,
    paint_neurons,
    paint_synapses,
    side_texts,
)
from elegans.wiring.exchange.networkx_graph import check_weights
from elegans.wiring.wiring import MOTOR, SENSORY, Wiring

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Blue and vermilion of Okabe and Ito, told apart by every kind of colour vision; neurons keep
# to the muted colours of Tol, so that they are not taken for synapses.
SYNAPSE_COLORS = {"excitatory": "#0072B2", "inhibitory": "#D55E00"}
NEURON_COLORS = {SENSORY: "#DDCC77", "inter": "#44AA99", "command": "#AA4499", MOTOR: "#332288"}
_OTHER_NEURONS = ("#88CCEE", "#999933", "#CC6677", "#117733", "#882255")
_MANY_LABELS = 80
_MANY_SYNAPSES = 200_000
_INCHES_APART = 0.3  # of neighbouring neurons: names of 6 points, the least, fit beside them
_BESIDE, _ABOVE_AND_BELOW = 2.8, 1.4  # names and arcs; headers and legend


def draw(
    wiring: Wiring,
    *,
    ax: Axes | None = None,
    layout: str = "layered",
    weights: ArrayLike | None = None,
    sensory_weights: ArrayLike | None = None,
    labels: bool | None = None,
    before: Wiring | None = None,
    later: Wiring | None = None,
    neuron_colors: str | Mapping[str, str] | None = None,
    synapse_colors: str | Mapping[str, str] | None = None,
    legend: bool = True,
    title: str | None = None,
    max_neurons: int = 10_000,
) -> Axes:
    """Draw a wiring; excitatory synapses end in arrows, inhibitory ones in bars.

    Parameters
    ----------
    wiring
        The circuit.
    ax
        Where to draw; a new figure of fitting size by default.
    layout
        ``"layered"``: a column for each layer, the input on the left, hidden neurons ordered so
        that synapses cross less. Or a layout of NetworkX: ``"shell"`` (layers as rings),
        ``"spring"``, ``"kamada_kawai"``, ``"circular"``, ``"spectral"``, ``"spiral"``,
        ``"random"``.
    weights, sensory_weights
        A weight for each synapse, shape (synapse,), in the order of ``wiring.recurrent`` and
        ``wiring.sensory``; lines are as wide as its magnitude.
    labels
        Whether to write the neurons' names; by default where there are few. A neuron with the
        default name bears its number in the layer.
    before
        A wiring of the same neurons: synapses that it has and `wiring` has not are drawn dashed
        (cut), those that it lacks are highlighted (grown).
    later
        A wiring that is drawn with this one as its `before`, in another picture: neurons stand
        where they stand there.
    neuron_colors
        One colour, or colours by layer.
    synapse_colors
        One colour, or colours for ``"excitatory"`` and ``"inhibitory"``.
    legend
        Whether to explain the synapses and count them.
    title
        Title above the picture.
    max_neurons
        Refuse to draw more neurons than these.

    Returns
    -------
    Axes
        Synapses are line collections with the group identifiers (`get_gid`) ``synapses``,
        ``cut`` and ``grown``; neurons are one collection for each layer with its name.

    Raises
    ------
    WiringError
        The circuit is too large, `before` or `later` has other neurons, the layout is unknown,
        weights do not fit the synapses, or a colour is none.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from elegans.wiring import AutoNCP
    >>> wiring = AutoNCP(units=19, output_size=4).build(input_size=8)
    >>> ax = wiring.draw(ax=Figure().add_subplot())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['excitatory (42)', 'inhibitory (38)']
    """
    _check_drawable(wiring, max_neurons)
    for name, other in (("before", before), ("later", later)):
        _check_same_neurons(name, other, wiring)
    neuron_color = _neuron_colors(wiring, neuron_colors)
    pair = _synapse_colors(synapse_colors)
    relative, largest = _relative_weights(wiring, weights, sensory_weights)
    strands = _strands(wiring, before, relative)
    edges = np.concatenate([strand.edges for strand in strands])
    arranged = strands if later is None else _strands(later, wiring, None)
    placement = place(wiring, layout, np.concatenate([strand.edges for strand in arranged]))
    if ax is None:
        ax = new_axes(placement, titled=title is not None)

    page = Page(ax, placement, synapses=len(edges))
    entries = _entries(strands, pair, compared=before is not None)
    if largest:
        entries.append(Entry(f"|weight| = {largest:.3g}", "#555555", float(page.line_width(1.0))))
    if not placement.columns:  # the columns' headers name the layers
        entries += [Entry(layer, color) for layer, color in neuron_color.items()]
    columns, rows = legend_size(entries, page.width, page.font) if legend else (0, 0)
    # Arcs reach beyond the neurons; only their shapes tell by how much.
    reach = curves(placement, edges, np.ones(len(edges), np.int8), with_heads=False).lines
    page.fit(reach, legend_rows=rows)
    if labels is None:
        few = wiring.input_size + wiring.units <= _MANY_LABELS
        labels = few and (page.name_size >= 6 or fits_inside(page, wiring))
    if labels:  # names that do not fit into the neurons stand beside them
        page.fit(reach, legend_rows=rows, sides=side_texts(page, wiring))

    for strand in strands:
        paint_synapses(page, strand, (CUT_COLOR, CUT_COLOR) if strand.kind == "cut" else pair)
    paint_neurons(page, wiring, neuron_color)
    if labels:
        paint_labels(page, wiring, neuron_color)
    paint_headers(page, wiring)
    if legend:
        add_legend(ax, entries, columns, page.font)
    if title is not None:
        ax.set_title(title)
    return ax


def paper_size(wiring: Wiring) -> tuple[float, float]:
    """Return width and height in inches at which the names in a layered picture can be read.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> small, large = (AutoNCP(units, 2).build(3) for units in (8, 64))
    >>> paper_size(small)[1] < paper_size(large)[1]
    True
    """
    placement = place(wiring, "layered", _all_synapses(wiring)[0])
    extent = np.ptp(placement.position, axis=0) + 4 * RADIUS
    width, height = extent * _INCHES_APART + [_BESIDE, _ABOVE_AND_BELOW]
    return float(width), float(height)


def _check_drawable(wiring: Wiring, max_neurons: int) -> None:
    advice = (
        "draw a part of it, show wiring.adjacency() as an image, or save it as .graphml and open "
        "it in Gephi or Cytoscape"
    )
    neurons = wiring.input_size + wiring.units
    if neurons > max_neurons:
        raise WiringError(
            f"a picture of {neurons:,} neurons would show nothing (max_neurons={max_neurons:,}); "
            f"{advice}"
        )
    synapses = wiring.synapse_count + wiring.sensory_synapse_count
    if synapses > _MANY_SYNAPSES:
        raise WiringError(
            f"a picture of {synapses:,} synapses would show nothing (at most {_MANY_SYNAPSES:,}); "
            f"{advice}"
        )


def _check_same_neurons(name: str, other: Wiring | None, wiring: Wiring) -> None:
    if other is None:
        return
    for what in ("layers", "sensory_names", "names"):
        theirs, ours = getattr(other, what), getattr(wiring, what)
        if theirs != ours or list(theirs) != list(ours):
            raise WiringError(
                f"{name} must be a wiring of the same neurons, but its {what} differ; got {other} "
                f"for {wiring}"
            )


def _neuron_colors(wiring: Wiring, chosen: str | Mapping[str, str] | None) -> dict[str, str]:
    layers = [SENSORY, *reversed(list(wiring.layers))]
    others = [layer for layer in layers if layer not in NEURON_COLORS]
    default = NEURON_COLORS | {
        layer: _OTHER_NEURONS[k % len(_OTHER_NEURONS)] for k, layer in enumerate(others)
    }
    return _colors("neuron_colors", chosen, {layer: default[layer] for layer in layers})


def _synapse_colors(chosen: str | Mapping[str, str] | None) -> tuple[str, str]:
    colors = _colors("synapse_colors", chosen, SYNAPSE_COLORS)
    return colors["excitatory"], colors["inhibitory"]


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


def _relative_weights(
    wiring: Wiring, weights: ArrayLike | None, sensory_weights: ArrayLike | None
) -> tuple[NDArray[np.float64] | None, float]:
    """Return the magnitudes relative to the largest, sensory ones first, and the largest."""
    recurrent = check_weights("weights", weights, wiring.synapse_count)
    sensory = check_weights("sensory_weights", sensory_weights, wiring.sensory_synapse_count)
    given = [np.abs(array) for array in (sensory, recurrent) if array is not None]
    if not given:
        return None, 0.0
    largest = max((float(array.max(initial=0.0)) for array in given), default=0.0)
    relative = [
        np.full(count, PLAIN) if array is None else np.abs(array) / (largest or 1.0)
        for array, count in (
            (sensory, wiring.sensory_synapse_count),
            (recurrent, wiring.synapse_count),
        )
    ]
    return np.concatenate(relative), largest


def _strands(
    wiring: Wiring, before: Wiring | None, weight: NDArray[np.float64] | None
) -> list[Strand]:
    """Return the synapses that are drawn alike: those that stay, were cut, have grown."""
    edges, polarity = _all_synapses(wiring)
    if before is None:
        return [Strand("synapses", edges, polarity, weight)]
    old_edges, old_polarity = _all_synapses(before)
    neurons = wiring.input_size + wiring.units
    now, then = _codes(edges, polarity, neurons), _codes(old_edges, old_polarity, neurons)
    kept, lost = np.isin(now, then), ~np.isin(then, now)
    chosen = [None if weight is None else weight[which] for which in (kept, ~kept)]
    changed = bool(lost.any() or not kept.all())
    return [
        Strand("synapses", edges[kept], polarity[kept], chosen[0], faint=changed),
        Strand("cut", old_edges[lost], old_polarity[lost], None),
        Strand("grown", edges[~kept], polarity[~kept], chosen[1]),
    ]


def _all_synapses(wiring: Wiring) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return rows (source, target) with sensory neurons counted first, and the polarities."""
    shift = wiring.input_size
    sensory, recurrent = wiring.sensory, wiring.recurrent
    source = np.concatenate([sensory.source, recurrent.source.astype(np.int64) + shift])
    target = np.concatenate([sensory.target, recurrent.target]).astype(np.int64) + shift
    polarity = np.concatenate([sensory.polarity, recurrent.polarity])
    return np.stack([source, target], axis=1), polarity


def _codes(edges: NDArray[np.int64], polarity: NDArray[np.int8], neurons: int) -> NDArray[np.int64]:
    """Return one number a synapse; parallel ones of one polarity differ, by their count so far."""
    code = (edges[:, 0] * neurons + edges[:, 1]) * 2 + (polarity > 0)
    order = np.argsort(code, kind="stable")
    first = np.searchsorted(code[order], code[order])
    copy = np.empty_like(code)
    copy[order] = np.arange(len(code)) - first
    return code * _MANY_SYNAPSES + copy


def _entries(strands: list[Strand], pair: tuple[str, str], *, compared: bool) -> list[Entry]:
    plain = 1.3
    staying = [strand for strand in strands if strand.kind != "cut"]
    count = {
        sign: sum(int((strand.polarity == sign).sum()) for strand in staying) for sign in (1, -1)
    }
    entries = [
        Entry(f"excitatory ({count[1]:,})", pair[0], plain, "arrow"),
        Entry(f"inhibitory ({count[-1]:,})", pair[1], plain, "bar"),
    ]
    if compared:
        cut, grown = (len(strand.edges) for strand in strands[1:])
        entries.append(Entry(f"cut ({cut:,})", CUT_COLOR, plain, dashed=True))
        entries.append(Entry(f"grown ({grown:,})", INK, plain, halo=HALO_COLOR))
    return entries
