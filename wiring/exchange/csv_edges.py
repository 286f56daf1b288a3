"""CSV: a table of synapses under comment lines that list the neurons of each layer.

The columns are names of neurons, so that a person can read and edit the table, and so that
``pandas.read_csv(path, comment="#")`` gives an edge list. The comment lines, one a layer, are
CSV records after the sign ``#``: the layer, then the names of its neurons in order, the sensory
ones first, then the motor ones and so on. They carry sizes, order, and neurons without synapses::

    # elegans.wiring,1,synapses,3
    # sensory,sensory_0
    # motor,motor_0
    # inter,inter_0,inter_1
    source,target,polarity
    sensory_0,inter_1,1
    inter_0,motor_0,1
    inter_1,inter_0,-1

The first record is format, version and the number of synapses, by which a table that is cut off
or holds a row twice is found. A table made by hand may leave ``synapses`` and the number out.
Other columns (such as a weight) may follow and are not read. Spreadsheets may pad lines with
empty cells.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from elegans.capacity import require_bytes
from elegans.errors import WiringError
from elegans.wiring.exchange.json_text import FORMAT, VERSION
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import SENSORY, Wiring

_COLUMNS = ("source", "target", "polarity")
_COUNT = "synapses"


def to_csv(wiring: Wiring) -> str:
    """Return `wiring` as text."""
    layers = {SENSORY: wiring.sensory_names}
    for layer in wiring.layers:
        neurons = wiring.layer_range(layer)
        layers[layer] = wiring.names[neurons.start : neurons.stop]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    count = wiring.sensory_synapse_count + wiring.synapse_count
    first = (FORMAT, VERSION, _COUNT, count)
    for record in (first, *((layer, *names) for layer, names in layers.items())):
        text.write("# ")
        table.writerow(record)
    table.writerow(_COLUMNS)
    for j, i, p in wiring.sensory:
        table.writerow((wiring.sensory_names[j], wiring.names[i], p))
    for j, i, p in wiring.recurrent:
        table.writerow((wiring.names[j], wiring.names[i], p))
    return text.getvalue()


def from_csv(text: str) -> Wiring:
    """Return the wiring written in `text`."""
    needed = len(text) + 300 * text.count("\n") + 60 * text.count(",")  # of lists and their texts
    require_bytes(needed, "the table", "load it on a larger machine", WiringError)
    head, body = _split(text)
    count = _count(head)
    layers = _layers(head[1:])
    sensory_names = layers.pop(SENSORY)
    names = [name for layer in layers.values() for name in layer]
    recurrent: list[tuple[int, int, int]] = []
    sensory: list[tuple[int, int, int]] = []
    neurons = {name: i for i, name in enumerate(names)}
    inputs = {name: i for i, name in enumerate(sensory_names)}
    for line, source, target, polarity in _rows(body, first_line=len(head) + 1):
        if polarity not in ("1", "+1", "-1"):
            raise WiringError(f"line {line}: polarity must be 1 or -1, got {polarity!r}")
        if target not in neurons:
            if target in inputs:
                raise WiringError(f"line {line}: no synapse can lead to the input {target!r}")
            raise _unknown(line, "target", target)
        if source in inputs:
            sensory.append((inputs[source], neurons[target], int(polarity)))
        elif source in neurons:
            recurrent.append((neurons[source], neurons[target], int(polarity)))
        else:
            raise _unknown(line, "source", source)
    total = len(recurrent) + len(sensory)
    if count not in (None, str(total)):
        raise WiringError(
            f"line 1 announces {count} synapses, but the table holds {total}; it may be cut off or "
            "hold a row twice, or, if you have edited it, correct line 1"
        )
    return Wiring(
        len(sensory_names),
        {layer: len(members) for layer, members in layers.items()},
        Synapses.from_rows(recurrent),
        Synapses.from_rows(sensory),
        names=names,
        sensory_names=sensory_names,
    )


def _split(text: str) -> tuple[list[list[str]], list[str]]:
    """Return the records of the comment lines, and the lines after them."""
    lines = text.replace("\r\n", "\n").split("\n")
    head: list[list[str]] = []
    for line in lines:
        if not line.startswith("#"):
            break
        ((_, record),) = _records([line[1:].removeprefix(" ")], first_line=len(head) + 1)
        while record and not record[-1]:  # cells that a spreadsheet padded
            record.pop()
        head.append(record)
    return head, lines[len(head) :]


def _records(lines: list[str], first_line: int) -> Iterator[tuple[int, list[str]]]:
    """Parse lines of CSV, counting them; names hold no line ends, so each stands alone."""
    for number, line in enumerate(lines, start=first_line):
        try:
            yield number, next(csv.reader([line], strict=True), [])
        except csv.Error as error:
            raise WiringError(f"line {number} is not valid CSV: {error}") from error


def _count(head: list[list[str]]) -> str | None:
    """Check the first record and return the number of synapses that it announces, if any."""
    if not head or head[0][:1] != [FORMAT]:
        raise WiringError(
            f"expected the first line '# {FORMAT},{VERSION},{_COUNT},...' and a line "
            "'# layer,neuron,...' for each layer; write such a file with save"
        )
    version, rest = head[0][1:2], head[0][2:]
    if version != [str(VERSION)]:
        raise WiringError(
            f"this version of elegans reads version {VERSION} of the format, got "
            f"{','.join(version)!r}; a newer version of elegans may read it"
        )
    if rest and (len(rest) != 2 or rest[0] != _COUNT):
        raise WiringError(
            f"line 1 must go on with '{_COUNT},' and their number, or end after the version, got "
            f"{','.join(rest)!r}"
        )
    return rest[1] if rest else None


def _layers(records: list[list[str]]) -> dict[str, list[str]]:
    layers: dict[str, list[str]] = {}
    for line, record in enumerate(records, start=2):
        if not record:
            continue
        layer, *names = record
        if layer in layers:
            raise WiringError(f"line {line}: layer {layer!r} is listed twice")
        layers[layer] = names
    if SENSORY not in layers:
        raise WiringError(f"expected a line '# {SENSORY},...' with the inputs, got none")
    return layers


def _rows(body: list[str], first_line: int) -> Iterator[tuple[int, str, str, str]]:
    records = _records(body, first_line)
    line, header = next(records, (first_line, []))
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        raise WiringError(
            f"line {line} must name the columns {','.join(_COLUMNS)}, got {','.join(header)!r}; "
            f"missing: {', '.join(missing)}"
        )
    j, i, p = (header.index(column) for column in _COLUMNS)
    for line, record in records:
        if not any(record):
            continue
        if len(record) <= max(j, i, p):
            raise WiringError(
                f"line {line} has {len(record)} cells, expected {len(header)}; the file may be "
                "cut off"
            )
        yield line, record[j], record[i], record[p].strip()


def _unknown(line: int, end: str, name: str) -> WiringError:
    return WiringError(
        f"line {line}: the {end} {name!r} is no neuron of any layer; add it to the comment line "
        "of its layer"
    )
