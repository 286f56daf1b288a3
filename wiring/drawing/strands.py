"""What every view of a wiring draws: its synapses, and how they differ from those before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.arguments import shown
from elegans.errors import WiringError
from elegans.wiring.drawing.colors import CUT_COLOR, HALO_COLOR, INK, SYNAPSE_COLORS
from elegans.wiring.drawing.joints import Joints, joints_of
from elegans.wiring.drawing.page import Entry
from elegans.wiring.exchange.networkx_graph import check_weights
from elegans.wiring.wiring import Wiring

Weights = NDArray[np.float64]

_MOST_COPIES = 200_000  # of parallel synapses that are told apart


@dataclass(frozen=True)
class Strand:
    """Synapses that are drawn alike.

    Attributes
    ----------
    kind
        ``"synapses"``, ``"cut"`` or ``"grown"``.
    edges
        Source and target, shape (synapse, 2), numbered as in `NodePositions`.
    polarity
        Shape (synapse,).
    weight
        Magnitude, shape (synapse,), or None.
    faint
        Whether the strand stands behind others.
    """

    kind: str
    edges: NDArray[np.int64]
    polarity: NDArray[np.int8]
    weight: Weights | None
    faint: bool = False


@dataclass(frozen=True)
class Drawing:
    """A wiring, what is known of its synapses, and how it shall look in any view.

    Attributes
    ----------
    wiring, before, later
        The circuit, and those of the same neurons before and in the picture beside, or None.
    weight
        Magnitude of each synapse, sensory ones first, shape (synapse,), or None.
    quantity
        What the weights are.
    neuron_colors
        Of each layer, from the input to the output.
    neuron_weight
        Magnitude of each neuron, sensory ones first, (neuron,), NaN where unknown, or None.
    junction_weight
        Magnitude of each gap junction, shape (junction,), or None.
    synapse_colors
        Of excitatory and of inhibitory synapses.
    junction_color
        Of gap junctions.
    legend
        Whether there is one.
    title
        Above the picture, or None.
    """

    wiring: Wiring
    before: Wiring | None
    later: Wiring | None
    weight: Weights | None
    quantity: str
    neuron_colors: Mapping[str, str]
    synapse_colors: tuple[str, str]
    legend: bool
    title: str | None
    neuron_weight: Weights | None = None
    junction_color: str = SYNAPSE_COLORS["electrical"]
    junction_weight: Weights | None = None

    def joints(self, scale: float = 1.0) -> list[Joints]:
        """Return the gap junctions, strands alike, with their weights by `scale`."""
        weight = None if self.junction_weight is None else self.junction_weight / scale
        return joints_of(self.wiring, self.before, weight)

    def strands(self) -> list[Strand]:
        """Return the synapses: all, or those that stay, were cut, and have grown."""
        return strands_of(self.wiring, self.before, self.weight)

    def entries(self, strands: list[Strand], *, cells: bool = False) -> list[Entry]:
        """Return the lines of the legend that count synapses; `cells` are drawn as squares.

        Cut and grown are the net change: a synapse that went and came back is neither.
        """
        plain = 1.3
        staying = [strand for strand in strands if strand.kind != "cut"]
        arrow, bar, gone = ("square", "square", "cross") if cells else ("arrow", "bar", "")
        counts = [sum(int((one.polarity == sign).sum()) for one in staying) for sign in (1, -1)]
        entries = [
            Entry(f"{name} ({count:,})", color, plain, head)
            for name, count, color, head in zip(
                ("excitatory", "inhibitory"), counts, self.synapse_colors, (arrow, bar), strict=True
            )
        ]
        joints = self.joints()
        entries += self._electrical_entries(joints, plain, cells=cells)
        if self.before is not None:
            cut, grown = (
                len(strand.edges) + len(joint.edges)
                for strand, joint in zip(strands[1:], joints[1:], strict=True)
            )
            entries.append(Entry(f"cut, net ({cut:,})", CUT_COLOR, plain, gone, dashed=not cells))
            square = "square" if cells else ""
            entries.append(Entry(f"grown, net ({grown:,})", INK, plain, square, halo=HALO_COLOR))
        return entries

    def _electrical_entries(
        self, joints: list[Joints], plain: float, *, cells: bool
    ) -> list[Entry]:
        """Return the lines of the legend for gap junctions, none where there are none."""
        one_way = np.concatenate([one.rectifying for one in joints if one.kind != "cut"])
        entries = []
        for name, count, head in (
            ("electrical", len(one_way) - int(one_way.sum()), "resistor"),
            ("rectifying", int(one_way.sum()), "diode"),
        ):
            if count:
                shape = "diamond" if cells else head
                entries.append(Entry(f"{name} ({count:,})", self.junction_color, plain, shape))
        return entries


def output_entries(wiring: Wiring) -> list[Entry]:
    """Return the line of the legend for neurons that are read, unless they are the motor ones."""
    if not wiring.has_outputs_elsewhere:
        return []
    return [Entry(f"read as output ({len(np.unique(wiring.outputs)):,})", INK, head="ring")]


def magnitudes(
    wiring: Wiring,
    weights: ArrayLike | None,
    sensory_weights: ArrayLike | None,
    plain: float | None,
) -> Weights | None:
    """Return the magnitudes of all synapses, sensory ones first, or None if none are given.

    Where only one kind is given, the other has the share `plain` of the largest. Raises
    `WiringError` if they do not fit the synapses, or one kind is missing and `plain` is None.
    """
    recurrent = check_weights("weights", weights, wiring.synapse_count)
    sensory = check_weights("sensory_weights", sensory_weights, wiring.sensory_synapse_count)
    given = [np.abs(array) for array in (sensory, recurrent) if array is not None]
    if not given:
        return None
    for name, array, count in (
        ("weights", recurrent, wiring.synapse_count),
        ("sensory_weights", sensory, wiring.sensory_synapse_count),
    ):
        if array is None and count and plain is None:
            raise WiringError(
                f"got no {name}, expected those of all {count} synapses, which are added up; pass "
                f"{name}, or no weights at all"
            )
    largest = max(float(array.max(initial=0.0)) for array in given)
    filled = [
        np.full(count, (plain or 0.0) * (largest or 1.0)) if array is None else np.abs(array)
        for array, count in (
            (sensory, wiring.sensory_synapse_count),
            (recurrent, wiring.synapse_count),
        )
    ]
    return np.concatenate(filled)


def junction_magnitudes(wiring: Wiring, weights: ArrayLike | None) -> Weights | None:
    """Return the magnitudes of all gap junctions, or None where none are given."""
    given = check_weights("electrical_weights", weights, wiring.gap_junction_count)
    return None if given is None else np.abs(given)


def neuron_magnitudes(
    wiring: Wiring, neurons: ArrayLike | None, inputs: ArrayLike | None
) -> Weights | None:
    """Return the magnitudes of all neurons, sensory ones first; None where none are given.

    NaN stands for one that is not known. Raises `WiringError`.
    """
    if neurons is None and inputs is None:
        return None
    parts = []
    for name, given, count in (
        ("input_weights", inputs, wiring.input_size),
        ("neuron_weights", neurons, wiring.units),
    ):
        if given is None:
            parts.append(np.full(count, np.nan))
            continue
        try:
            values = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise WiringError(f"{name} must be numbers, got {shown(given)}; pass them") from error
        if values.shape != (count,) or np.isinf(values).any():
            raise WiringError(
                f"{name} must hold a finite number, or NaN, for each of the {count}, got shape "
                f"{values.shape}; leave them out"
            )
        parts.append(np.abs(values))
    return np.concatenate(parts)


def check_same_neurons(name: str, other: Wiring | None, wiring: Wiring) -> None:
    """Raise `WiringError` unless `other` is None or a wiring of the same neurons."""
    if other is None:
        return
    for what in ("layers", "sensory_names", "names"):
        theirs, ours = getattr(other, what), getattr(wiring, what)
        if theirs != ours or list(theirs) != list(ours):
            raise WiringError(
                f"{name} must be a wiring of the same neurons, but its {what} differ; got {other} "
                f"for {wiring}"
            )


def strands_of(wiring: Wiring, before: Wiring | None, weight: Weights | None) -> list[Strand]:
    """Return the synapses that are drawn alike: those that stay, were cut, have grown."""
    edges, polarity = all_synapses(wiring)
    if before is None:
        return [Strand("synapses", edges, polarity, weight)]
    old_edges, old_polarity = all_synapses(before)
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


def all_synapses(wiring: Wiring) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
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
    return code * _MOST_COPIES + copy
