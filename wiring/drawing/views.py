"""The public entrance to pictures of wirings: which view suits a circuit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from numpy.typing import ArrayLike

from elegans.arguments import checked, shown
from elegans.errors import WiringError
from elegans.wiring.drawing.body import check_positions
from elegans.wiring.drawing.circuit import circuit_size, draw_circuit
from elegans.wiring.drawing.classes import classes_size, draw_classes
from elegans.wiring.drawing.colors import neuron_colors as colors_of_neurons
from elegans.wiring.drawing.colors import synapse_colors as colors_of_synapses
from elegans.wiring.drawing.matrix import MATRIX_SIZE, draw_matrix
from elegans.wiring.drawing.painting import PLAIN
from elegans.wiring.drawing.strands import (
    Drawing,
    check_same_neurons,
    junction_magnitudes,
    magnitudes,
    neuron_magnitudes,
)
from elegans.wiring.names import require_spelt_out
from elegans.wiring.wiring import Wiring

if TYPE_CHECKING:
    from matplotlib.axes import Axes

View = Literal["auto", "circuit", "matrix", "classes"]
VIEWS = ("auto", "circuit", "matrix", "classes")

CIRCUIT_UP_TO = 100
"""Neurons, inputs included, up to which ``"auto"`` draws each of them."""


@checked(WiringError)
def draw(
    wiring: Wiring,
    *,
    view: View = "auto",
    ax: Axes | None = None,
    layout: str | None = None,
    positions: ArrayLike | None = None,
    sides: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
    sensory_weights: ArrayLike | None = None,
    electrical_weights: ArrayLike | None = None,
    neuron_weights: ArrayLike | None = None,
    input_weights: ArrayLike | None = None,
    quantity: str = "weight",
    labels: bool | None = None,
    before: Wiring | None = None,
    later: Wiring | None = None,
    neuron_colors: str | Mapping[str, str] | None = None,
    synapse_colors: str | Mapping[str, str] | None = None,
    legend: bool = True,
    title: str | None = None,
    max_neurons: int = 10_000,
) -> Axes:
    """Draw a wiring: neuron by neuron, as a matrix of its synapses, or layer by layer.

    Parameters
    ----------
    wiring
        The circuit.
    view
        ``"circuit"``: neurons and synapses; excitatory ones end in arrows, inhibitory ones in bars,
        gap junctions are resistors, with a hollow arrow where they rectify.
        ``"matrix"``: a row for each target and a column for each source, layer by layer from the
        input to the output, blue where the net effect is excitatory, vermilion where it is
        inhibitory, white where no synapse is, grey where both cancel. Above 400 neurons a side,
        neighbours of a layer share a row or a column, in which their synapses are summed, and the
        picture says how many: time and memory grow with the synapses, not with neurons squared.
        Small layers are stretched to be seen. Green marks are gap junctions.
        ``"classes"``: a disc for each layer; between two layers an arrow for excitation, above,
        and one for inhibition, below, as wide as the number of synapses, which it bears together
        with their mean weight.
        ``"auto"``: the circuit up to 100 neurons, inputs included, or with a `layout`; beyond, the
        matrix.
    ax
        Where to draw; a new figure of fitting size by default.
    layout
        Of the circuit. ``"layered"``, the default: a column for each layer, the input on the left,
        hidden neurons ordered so that synapses cross less. Or a layout of NetworkX: ``"shell"``
        (layers as rings), ``"spring"``, ``"kamada_kawai"``, ``"circular"``, ``"spectral"``,
        ``"spiral"``, ``"random"``.
    positions
        Where the neurons lie in the body, shape (neuron, 1 to 3) or (neuron,), in the order of
        ``wiring.names``; NaN where it is not known. The coordinate that differs most runs along the
        picture, crowded parts of it stretched; neurons that would cover each other give way across
        it, and a name is written where it covers nothing. Inputs stand in a row below.
    sides
        ``"left"``, ``"right"`` or ``""`` for each neuron with positions: left ones lie above the
        middle, right ones below.
    weights, sensory_weights, electrical_weights
        A weight for each synapse, shape (synapse,), in the order of ``wiring.recurrent``,
        ``wiring.sensory`` and ``wiring.electrical``; its magnitude is drawn, and the sign is that
        of the wiring.
    neuron_weights, input_weights
        A weight for each neuron, (neuron,), and for each input, (input,), of a circuit: the larger
        its magnitude, the darker the neuron. One whose weight is NaN, or not given, is white.
    quantity
        What the weights are, in the singular: ``"conductance"`` where a layer of LTC is drawn.
    labels
        Whether to write the neurons' names; by default where there are few. A neuron with the
        default name bears its number in the layer. A matrix has names where a row is one neuron.
    before
        A wiring of the same neurons: synapses that it has and `wiring` has not are marked as cut
        (dashed lines, grey crosses), those that it lacks as grown (gold).
    later
        A wiring that is drawn with this one as its `before`, in another picture: neurons stand
        where they stand there.
    neuron_colors
        One colour, or colours by layer.
    synapse_colors
        One colour, or colours for ``"excitatory"``, ``"inhibitory"`` and ``"electrical"``.
    legend
        Whether to explain the synapses and count them.
    title
        Title above the picture.
    max_neurons
        Refuse to draw more neurons than these one by one.

    Returns
    -------
    Axes
        Its collections have group identifiers (`get_gid`): ``synapses``, ``cut``, ``grown`` and
        ``electrical``; in a circuit, neurons are one collection for each layer with its name.

    Raises
    ------
    WiringError
        The view or the layout is unknown, or a layout or positions are given for another view; the
        circuit is too large for the view ``"circuit"``; `before` or `later` has other neurons;
        weights or positions do not fit the synapses or the neurons; or a colour is none.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from elegans.wiring import AutoNCP
    >>> wiring = AutoNCP(units=19, output_size=4).build(input_size=8)
    >>> ax = wiring.draw(ax=Figure().add_subplot())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['excitatory (42)', 'inhibitory (38)']
    >>> [view_of(AutoNCP(units, 4).build(8)) for units in (92, 93)]
    ['circuit', 'matrix']
    """
    places = check_positions(wiring, positions, sides)
    if places is not None and layout is not None:
        raise WiringError(
            f"got layout={layout!r} and positions, expected one of them; leave out the other"
        )
    chosen = view_of(wiring, view, layout if places is None else "positions")
    if ax is not None and not hasattr(ax, "get_figure"):
        raise WiringError(
            f"got ax={shown(ax)}, expected axes of matplotlib, such as plt.gca(); leave it out"
        )
    if chosen != "classes":
        require_spelt_out({"sensory": wiring.input_size, **wiring.layers})
    for name, other in (("before", before), ("later", later)):
        check_same_neurons(name, other, wiring)
    neuron_weight = neuron_magnitudes(wiring, neuron_weights, input_weights)
    if neuron_weight is not None and chosen != "circuit":
        raise WiringError(
            f"got weights of neurons for the view {chosen!r}, which does not draw each of them, "
            "expected the view 'circuit'; choose it, or leave them out"
        )
    *colors, junction_color = colors_of_synapses(synapse_colors)
    drawing = Drawing(
        wiring,
        before,
        later,
        magnitudes(wiring, weights, sensory_weights, PLAIN if chosen == "circuit" else None),
        quantity,
        colors_of_neurons(wiring, neuron_colors),
        (colors[0], colors[1]),
        legend,
        title,
        neuron_weight,
        junction_color,
        junction_magnitudes(wiring, electrical_weights),
    )
    if chosen == "matrix":
        return draw_matrix(drawing, ax, labels)
    if chosen == "classes":
        return draw_classes(drawing, ax)
    return draw_circuit(drawing, ax, places or layout or "layered", labels, max_neurons)


def view_of(wiring: Wiring, view: str = "auto", layout: str | None = None) -> str:
    """Return the view that is drawn, ``"auto"`` resolved; raises `WiringError` for no view."""
    if view not in VIEWS:
        raise WiringError(f"got the view {view!r}, expected one of {list(VIEWS)}; leave it out")
    if layout is not None and view not in ("auto", "circuit"):
        raise WiringError(
            f"got layout={layout!r} for the view {view!r}, expected it for the view 'circuit'; "
            "leave out one of them"
        )
    if view != "auto":
        return view
    few = wiring.input_size + wiring.units <= CIRCUIT_UP_TO
    return "circuit" if few or layout is not None else "matrix"


def paper_size(wiring: Wiring, view: str = "auto") -> tuple[float, float]:
    """Return width and height in inches at which a picture can be read.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> small, large = (AutoNCP(units, 2).build(3) for units in (8, 64))
    >>> paper_size(small)[1] < paper_size(large)[1]
    True
    """
    chosen = view_of(wiring, view)
    if chosen == "matrix":
        return MATRIX_SIZE
    return classes_size(wiring) if chosen == "classes" else circuit_size(wiring)
