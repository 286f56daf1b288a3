"""Records of compacting, layer by layer, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

UNCHANGED = "unchanged"
SMALLER = "smaller"
SPARSE = "sparse"
LEFT_ALONE = "left alone"


@dataclass(frozen=True)
class LayerRecord:
    """One layer before and after.

    Neurons are called by the layer and their index, such as ``2[17]``; those of a liquid layer by
    the names of its wiring.
    """

    name: str
    """Dotted name of the layer in the model."""
    kind: str
    """The class of the layer before; ``LTC`` also for an `elegans.LTCCell` by itself."""
    outcome: str
    """``unchanged``, ``smaller``, ``sparse``, ``smaller, sparse``, or ``left alone``."""
    shape: tuple[int, ...] = ()
    """Of a matrix (output, input); of a liquid layer (neuron, slots of synapses)."""
    shape_after: tuple[int, ...] = ()
    weights: int = 0
    """Weights, or open synapses, of the layer as it was given."""
    weights_after: int = 0
    """Those that are still there; others led to, or came from, removed neurons."""
    without_inputs: tuple[str, ...] = ()
    """Neurons that nothing reaches. Of a matrix they are removed, see `constants`."""
    without_outputs: tuple[str, ...] = ()
    """Neurons that reach nothing, which are removed."""
    kept: tuple[int, ...] | None = None
    """Indices of the neurons that stay, in order; None if all do."""
    constants: dict[str, float] = field(default_factory=dict)
    """Outputs of removed neurons without inputs, which the next layer holds in its bias, or in
    its leak; those that are zero are left out."""
    notes: tuple[str, ...] = ()

    @property
    def density(self) -> float:
        """The share of weights that were there."""
        return self.weights / max(1, _size(self))

    @property
    def removed(self) -> int:
        """Number of neurons that were removed."""
        return 0 if self.kept is None else self.shape[0] - len(self.kept)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return asdict(self) | {"density": self.density, "removed": self.removed}


def _size(record: LayerRecord) -> int:
    if len(record.shape) != 2:
        return record.weights
    return record.shape[1] if record.kind.startswith("LTC") else record.shape[0] * record.shape[1]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of text with aligned columns, the first to the left."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    texts = []
    for line in lines:
        first, *others = (text.strip() for text in line)
        cells = [first.ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts)


def layer_table(records: Sequence[LayerRecord]) -> str:
    """Return the table of what happened to each layer."""
    rows = [
        (
            record.name or "(model)",
            record.kind,
            " x ".join(map(str, record.shape)) or "-",
            " x ".join(map(str, record.shape_after)) or "-",
            f"{record.weights:,}" if record.shape else "-",
            f"{record.weights_after:,}" if record.shape else "-",
            f"{record.density:.1%}" if record.shape else "-",
            str(record.removed),
            record.outcome,
        )
        for record in records
    ]
    head = ("layer", "kind", "shape", "after", "weights", "after", "density", "removed", "outcome")
    notes = [f"{record.name or '(model)'}: {note}" for record in records for note in record.notes]
    return "\n".join([table(head, rows), *notes])
