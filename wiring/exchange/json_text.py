"""JSON: layers, names other than the default ones, and the synapses' flat arrays.

The arrays are sorted as in `Synapses`, by target, then by source, and stand on one line each::

    {
      "format": "elegans.wiring",
      "version": 1,
      "input_size": 1,
      "layers": [{"name": "motor", "size": 1}, {"name": "inter", "size": 2}],
      "names": null,
      "sensory_names": null,
      "recurrent": {
        "source": [1, 2],
        "target": [0, 1],
        "polarity": [1, -1]
      },
      "sensory": {
        "source": [0],
        "target": [2],
        "polarity": [1]
      }
    }

A wiring with gap junctions is written as version 2, which has one more field; programs that know
version 1 alone refuse it, rather than leave the junctions out::

      "electrical": {
        "source": [0],
        "target": [2],
        "rectifying": [false]
      }

One whose outputs are not the motor neurons is written as version 3, with the gap junctions of
version 2, if only none, and the neuron that each output channel reads::

      "outputs": [2, 0, 2]
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from elegans.errors import WiringError
from elegans.files import parse_json
from elegans.wiring.junctions import GapJunctions
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import Wiring

FORMAT = "elegans.wiring"
VERSION = 1
WITH_JUNCTIONS = 2
"""Version of what holds gap junctions; without any the older one is written."""
WITH_OUTPUTS = 3
"""Version of what names the neurons that are read; where none are named an older one is written."""
VERSIONS = (VERSION, WITH_JUNCTIONS, WITH_OUTPUTS)

_COLUMNS = ("source", "target", "polarity")
_ENDS = ("source", "target")


def version_of(wiring: Wiring) -> int:
    """Return the version in which `wiring` is written."""
    if wiring.has_outputs_elsewhere:
        return WITH_OUTPUTS
    return WITH_JUNCTIONS if wiring.gap_junction_count else VERSION


def check_version(version: object, *known: object) -> None:
    """Raise `WiringError` unless `version` is among `known`, the ways to write the versions."""
    if isinstance(version, bool) or version not in known:
        raise WiringError(
            f"this version of elegans reads versions {VERSION} to {WITH_OUTPUTS} of the format, "
            f"got {version!r}; a newer version of elegans may read it"
        )


def to_json(wiring: Wiring) -> str:
    """Return `wiring` as text."""
    fields: dict[str, str] = {
        "format": _line(FORMAT),
        "version": _line(version_of(wiring)),
        "input_size": _line(wiring.input_size),
        "layers": _line([{"name": name, "size": size} for name, size in wiring.layers.items()]),
        "names": _line(wiring._names),
        "sensory_names": _line(wiring._sensory_names),
        "recurrent": _columns(wiring.recurrent, _COLUMNS),
        "sensory": _columns(wiring.sensory, _COLUMNS),
    }
    if version_of(wiring) >= WITH_JUNCTIONS:
        fields["electrical"] = _columns(wiring.electrical, GapJunctions.COLUMNS)
    if wiring.has_outputs_elsewhere:
        fields["outputs"] = _line(wiring.outputs.tolist())
    return _object(fields, indent="  ") + "\n"


def from_json(text: str) -> Wiring:
    """Return the wiring written in `text`."""
    try:
        data = parse_json(text)
    except ValueError as error:
        raise WiringError(
            f"expected JSON, but it does not parse ({error}); the file may be cut off"
        ) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        got = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise WiringError(
            f'expected a JSON object with "format": "{FORMAT}", got {got!r}; write one with to_json'
        )
    check_version(data.get("version"), *VERSIONS)
    return Wiring(
        _get(data, "input_size", int, "an integer"),
        _layers(data),
        _synapses(data, "recurrent"),
        _synapses(data, "sensory"),
        electrical=_junctions(data),
        outputs=_outputs(data),
        names=_names(data, "names"),
        sensory_names=_names(data, "sensory_names"),
    )


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _object(fields: Mapping[str, str], indent: str) -> str:
    lines = ",\n".join(f'{indent}"{key}": {value}' for key, value in fields.items())
    return f"{{\n{lines}\n{indent[2:]}}}"


def _columns(synapses: Synapses | GapJunctions, names: Iterable[str]) -> str:
    columns = {name: _line(getattr(synapses, name).tolist()) for name in names}
    return _object(columns, indent="    ")


def _get(data: Mapping[str, Any], key: str, kind: type, expected: str, where: str = "") -> Any:
    """Return the field `key`, which must be exactly of type `kind`: JSON's true is no integer."""
    if key not in data:
        raise WiringError(f"field {where + key!r} is missing, expected {expected}")
    if type(data[key]) is not kind:
        raise WiringError(f"field {where + key!r} must be {expected}, got {_short(data[key])}")
    return data[key]


def _layers(data: Mapping[str, Any]) -> dict[str, int]:
    layers: dict[str, int] = {}
    for entry in _get(data, "layers", list, "a list of layers"):
        if type(entry) is not dict:
            raise WiringError(
                f'a layer must look like {{"name": "motor", "size": 1}}, got {_short(entry)}'
            )
        name = _get(entry, "name", str, "text", "layers.")
        if name in layers:
            raise WiringError(f"layers must have different names, got {name!r} twice")
        layers[name] = _get(entry, "size", int, "an integer", "layers.")
    return layers


def _names(data: Mapping[str, Any], key: str) -> list[str] | None:
    if data.get(key) is None:
        return None
    names: list[str] = _get(data, key, list, "a list of names, or null for the default ones")
    for name in names:
        if type(name) is not str:
            raise WiringError(f"field {key!r} must hold text, got {_short(name)}")
    return names


def _synapses(data: Mapping[str, Any], kind: str) -> Synapses:
    columns = _get(data, kind, dict, f"an object with the lists {', '.join(_COLUMNS)}")
    checked = [_integers(columns, name, kind) for name in _COLUMNS]
    try:
        return Synapses(*checked)
    except WiringError as error:
        raise WiringError(f"field {kind!r}: {error}") from error


def _junctions(data: Mapping[str, Any]) -> GapJunctions | None:
    kind = "electrical"
    if data["version"] == VERSION and kind not in data:
        return None
    expected = f"an object with the lists {', '.join(GapJunctions.COLUMNS)}"
    columns = _get(data, kind, dict, expected)
    source, target = (_integers(columns, name, kind) for name in _ENDS)
    rectifying = _get(columns, "rectifying", list, "a list of true and false", f"{kind}.")
    for value in rectifying:
        if type(value) is not bool:
            raise WiringError(
                f"field 'electrical.rectifying' must hold true and false, got {_short(value)}"
            )
    try:
        return GapJunctions(source, target, rectifying)
    except WiringError as error:
        raise WiringError(f"field {kind!r}: {error}") from error


def _outputs(data: Mapping[str, Any]) -> list[int] | None:
    if data["version"] < WITH_OUTPUTS and "outputs" not in data:
        return None
    return _integers(data, "outputs")


def _integers(columns: Mapping[str, Any], name: str, kind: str = "") -> list[int]:
    where = f"{kind}." if kind else ""
    numbers: list[int] = _get(columns, name, list, "a list of integers", where)
    for number in numbers:
        if type(number) is not int or abs(number) >= 2**63:
            raise WiringError(
                f"field {where + name!r} must hold integers of 64 bits, got {_short(number)}"
            )
    return numbers


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
