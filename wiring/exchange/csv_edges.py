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

A wiring with gap junctions is written as version 2: two more columns tell them from synapses, and
the first record counts them on their own. A pair is one row; current flows both ways through it,
or where ``rectifying`` is true from source to target only::

    # elegans.wiring,2,synapses,3,junctions,1
    ...
    source,target,polarity,kind,rectifying
    sensory_0,inter_1,1,chemical,
    ...
    motor_0,inter_1,,electrical,false

One whose outputs are not the motor neurons is written as version 3: like version 2, with the
neurons that the output channels read in the second record, one for each channel::

    # elegans.wiring,3,synapses,3,junctions,0
    # outputs,inter_1,motor_0,inter_1
    # sensory,sensory_0
    ...
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import NamedTuple

from elegans.capacity import require_bytes
from elegans.errors import WiringError
from elegans.wiring.exchange.json_text import (
    FORMAT,
    VERSION,
    VERSIONS,
    WITH_JUNCTIONS,
    WITH_OUTPUTS,
    check_version,
    version_of,
)
from elegans.wiring.junctions import GapJunctions
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import SENSORY, Wiring

_COLUMNS = ("source", "target", "polarity")
_KIND, _RECTIFYING = _WITH_JUNCTIONS = ("kind", "rectifying")
_CHEMICAL, _ELECTRICAL = "chemical", "electrical"
_COUNT, _JUNCTIONS = "synapses", "junctions"
_OUTPUTS = "outputs"


def to_csv(wiring: Wiring) -> str:
    """Return `wiring` as text."""
    layers = {SENSORY: wiring.sensory_names}
    for layer in wiring.layers:
        neurons = wiring.layer_range(layer)
        layers[layer] = wiring.names[neurons.start : neurons.stop]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    count = wiring.sensory_synapse_count + wiring.synapse_count
    version = version_of(wiring)
    first: tuple[object, ...] = (FORMAT, version, _COUNT, count)
    columns: tuple[str, ...] = _COLUMNS
    chemical: tuple[str, ...] = ()
    if version >= WITH_JUNCTIONS:
        first += (_JUNCTIONS, wiring.gap_junction_count)
        columns, chemical = _COLUMNS + _WITH_JUNCTIONS, (_CHEMICAL, "")
    head = [first]
    if version == WITH_OUTPUTS:
        head.append((_OUTPUTS, *(wiring.names[i] for i in wiring.outputs)))
    for record in (*head, *((layer, *names) for layer, names in layers.items())):
        text.write("# ")
        table.writerow(record)
    table.writerow(columns)
    for j, i, p in wiring.sensory:
        table.writerow((wiring.sensory_names[j], wiring.names[i], p, *chemical))
    for j, i, p in wiring.recurrent:
        table.writerow((wiring.names[j], wiring.names[i], p, *chemical))
    for j, i, one_way in wiring.electrical:
        way = str(one_way).lower()
        table.writerow((wiring.names[j], wiring.names[i], "", _ELECTRICAL, way))
    return text.getvalue()


def from_csv(text: str) -> Wiring:
    """Return the wiring written in `text`."""
    needed = len(text) + 300 * text.count("\n") + 60 * text.count(",")  # of lists and their texts
    require_bytes(needed, "the table", "load it on a larger machine", WiringError)
    head, body = _split(text)
    version, announced = _first(head)
    read = _read_names(head) if version == WITH_OUTPUTS else None
    layers = _layers(head, 1 if read is None else 2)
    sensory_names = layers.pop(SENSORY)
    names = [name for layer in layers.values() for name in layer]
    recurrent: list[tuple[int, int, int]] = []
    sensory: list[tuple[int, int, int]] = []
    electrical: dict[frozenset[int], tuple[int, int, bool]] = {}
    neurons = {name: i for i, name in enumerate(names)}
    inputs = {name: i for i, name in enumerate(sensory_names)}
    for row in _rows(body, len(head) + 1, with_junctions=version >= WITH_JUNCTIONS):
        line, source, target, polarity, kind, _ = row
        if kind == _ELECTRICAL:
            junction = _junction(row, neurons, inputs)
            pair = frozenset(junction[:2])
            if pair in electrical:
                raise WiringError(
                    f"line {line}: the pair {source!r} -- {target!r} has a gap junction already; "
                    "remove one of the rows"
                )
            electrical[pair] = junction
            continue
        if kind != _CHEMICAL:
            raise WiringError(
                f"line {line}: {_KIND} must be {_CHEMICAL} or {_ELECTRICAL}, got {kind!r}"
            )
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
    totals = {_COUNT: len(recurrent) + len(sensory), _JUNCTIONS: len(electrical)}
    for what, total in totals.items():
        if announced.get(what, str(total)) != str(total):
            raise WiringError(
                f"line 1 announces {announced[what]} {what}, but the table holds {total}; it may "
                "be cut off or hold a row twice, or, if you have edited it, correct line 1"
            )
    return Wiring(
        len(sensory_names),
        {layer: len(members) for layer, members in layers.items()},
        Synapses.from_rows(recurrent),
        Synapses.from_rows(sensory),
        electrical=GapJunctions.from_rows(electrical.values()),
        outputs=None if read is None else _outputs(read, neurons),
        names=names,
        sensory_names=sensory_names,
    )


class _Row(NamedTuple):
    line: int
    source: str
    target: str
    polarity: str
    kind: str = _CHEMICAL
    rectifying: str = ""


def _junction(row: _Row, neurons: dict[str, int], inputs: dict[str, int]) -> tuple[int, int, bool]:
    """Return the ends of a gap junction, and whether it rectifies."""
    for end, name in (("source", row.source), ("target", row.target)):
        if name in inputs:
            raise WiringError(
                f"line {row.line}: no gap junction can join the input {name!r}, which has no state"
            )
        if name not in neurons:
            raise _unknown(row.line, end, name)
    if row.source == row.target:
        raise WiringError(
            f"line {row.line}: a gap junction joins {row.source!r} to itself; leave it out"
        )
    way = row.rectifying.lower()  # spreadsheets write TRUE
    if way not in ("true", "false"):
        raise WiringError(
            f"line {row.line}: {_RECTIFYING} must be true or false, got {row.rectifying!r}"
        )
    if row.polarity:
        raise WiringError(
            f"line {row.line}: a gap junction has no polarity, got {row.polarity!r}; leave the "
            "cell empty"
        )
    return neurons[row.source], neurons[row.target], way == "true"


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


def _first(head: list[list[str]]) -> tuple[int, dict[str, str]]:
    """Check the first record; return the version, and how many rows of each kind it announces."""
    if not head or head[0][:1] != [FORMAT]:
        raise WiringError(
            f"expected the first line '# {FORMAT},{VERSION},{_COUNT},...' and a line "
            "'# layer,neuron,...' for each layer; write such a file with save"
        )
    version, rest = ",".join(head[0][1:2]), head[0][2:]
    check_version(version, *map(str, VERSIONS))
    kinds = [_COUNT] if version == str(VERSION) else [_COUNT, _JUNCTIONS]
    if rest and (len(rest) != 2 * len(kinds) or rest[::2] != kinds):
        expected = " and ".join(f"'{kind},' and their number" for kind in kinds)
        raise WiringError(
            f"line 1 must go on with {expected}, or end after the version, got {','.join(rest)!r}"
        )
    return int(version), dict(zip(rest[::2], rest[1::2], strict=True))


def _read_names(head: list[list[str]]) -> list[str]:
    """Return the names of the neurons that the output channels read."""
    record = head[1] if len(head) > 1 else []
    if record[:1] != [_OUTPUTS] or not record[1:]:
        raise WiringError(
            f"line 2 must be '# {_OUTPUTS},...' with the neuron that each output channel reads, "
            f"got {','.join(record)!r}"
        )
    return record[1:]


def _outputs(read: list[str], neurons: dict[str, int]) -> list[int]:
    """Return the neurons that the output channels read."""
    for name in read:
        if name not in neurons:
            raise _unknown(2, "output", name)
    return [neurons[name] for name in read]


def _layers(head: list[list[str]], before: int) -> dict[str, list[str]]:
    """Return the layers, which stand after so many records."""
    layers: dict[str, list[str]] = {}
    for line, record in enumerate(head[before:], start=before + 1):
        if not record:
            continue
        layer, *names = record
        if layer in layers:
            raise WiringError(f"line {line}: layer {layer!r} is listed twice")
        layers[layer] = names
    if SENSORY not in layers:
        raise WiringError(f"expected a line '# {SENSORY},...' with the inputs, got none")
    return layers


def _rows(body: list[str], first_line: int, *, with_junctions: bool) -> Iterator[_Row]:
    records = _records(body, first_line)
    line, header = next(records, (first_line, []))
    columns = _COLUMNS + _WITH_JUNCTIONS if with_junctions else _COLUMNS
    missing = [column for column in columns if column not in header]
    if missing:
        raise WiringError(
            f"line {line} must name the columns {','.join(columns)}, got {','.join(header)!r}; "
            f"missing: {', '.join(missing)}"
        )
    places = [header.index(column) for column in columns]
    for line, record in records:
        if not any(record):
            continue
        if len(record) <= max(places):
            raise WiringError(
                f"line {line} has {len(record)} cells, expected {len(header)}; the file may be "
                "cut off"
            )
        source, target, *others = (record[place] for place in places)
        yield _Row(line, source, target, *(cell.strip() for cell in others))


def _unknown(line: int, end: str, name: str) -> WiringError:
    return WiringError(
        f"line {line}: the {end} {name!r} is no neuron of any layer; add it to the comment line "
        "of its layer"
    )
