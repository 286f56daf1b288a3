"""What a layer is, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elegans.html import table_html

if TYPE_CHECKING:
    from elegans.layers.sequence_layer import SequenceLayer


def circuit_rows(model: SequenceLayer) -> dict[str, str]:
    """Return the size of a circuit as rows of a table."""
    rows = {
        "neurons": f"{model.state_size}",
        "synapses": f"{model.synapse_count} and {model.sensory_synapse_count} from the inputs",
    }
    if (junctions := _gap_junctions(model)) is not None:
        rows["gap junctions"] = f"{junctions}"
    return rows | {"parameters": _parameters(model)}


def _gap_junctions(model: SequenceLayer) -> int | None:
    """Return the number of open gap junctions, None where there have never been any."""
    junctions = model.cell.synapse_sets().get("electrical")
    return None if junctions is None else junctions.open_count


def _parameters(model: SequenceLayer) -> str:
    return f"{sum(parameter.numel() for parameter in model.parameters()):,}"


def in_a_line(model: SequenceLayer) -> str:
    """Return the size of a circuit and how it takes sequences, for ``print(model)``."""
    words = [
        f"{model.input_size} inputs",
        f"{model.state_size} neurons",
        f"{model.output_size} outputs",
        f"{model.synapse_count} + {model.sensory_synapse_count} synapses",
        f"{_parameters(model)} parameters",
    ]
    if (junctions := _gap_junctions(model)) is not None:
        words.insert(-1, f"{junctions} gap junctions")
    if model.memory is not None:
        words.append("mixed memory")
    if not model.batch_first:
        words.append("time first")
    if not model.return_sequences:
        words.append("last answer only")
    return ", ".join(words)


def as_html(model: SequenceLayer) -> str:
    """Return sizes and time constants as a table, with a picture of the circuit."""
    rows = {"inputs": str(model.input_size), "outputs": str(model.output_size)}
    rows |= circuit_rows(model)
    first = next(model.parameters())
    rows["precision, device"] = f"{str(first.dtype).removeprefix('torch.')}, {first.device}"
    if first.is_meta:  # neither values nor connections
        return table_html(type(model).__name__, rows)
    if (constants := model.cell.time_constants()) is not None:
        least, largest = float(constants[0].min()), float(constants[1].max())
        rows["time constants"] = f"{least:.3g} to {largest:.3g} units of time"
    finite = all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    if not finite:
        rows["values"] = "not all are finite"
    draw = model.draw if finite else model.wiring.draw  # without the strengths
    return table_html(type(model).__name__, rows) + model.wiring.html_of(draw)
