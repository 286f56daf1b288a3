"""Networks of NeuroML 2, such as those of c302: populations, projections, gap junctions."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any

from elegans.capacity import require_bytes
from elegans.errors import WiringError
from elegans.wiring.connectome.connectome import Connectome
from elegans.wiring.connectome.rows import EdgeRows

_PROJECTIONS = {
    "projection": "chemical",
    "continuousProjection": "chemical",
    "electricalProjection": "electrical",
}


def from_text(text: str, **known: Any) -> Connectome:
    """Return the connectome of a network.

    A population of one cell gives it its name; others number their cells, ``PopDA_0``. A
    connection counts as its weight, 1 without one. It excites or inhibits where the name of its
    synapse holds ``exc`` or ``inh``, as those of c302 do.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise WiringError("expected NeuroML without a document type declaration; remove it")
    require_bytes(
        len(text) + 500 * text.count("<"), "the network", "load it on a larger machine", WiringError
    )
    try:
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise WiringError(
            f"expected NeuroML, but it does not parse ({error}); the file may be cut off"
        ) from error
    about: dict[str, dict[str, Any]] = {}
    sizes: dict[str, int] = {}
    for population in _of(root, "population"):
        try:
            _cells(population, sizes, about)
        except (KeyError, ValueError, OverflowError) as error:
            if isinstance(error, WiringError):
                raise
            raise WiringError(
                f"population {population.get('id')!r} has a size or a location that is no number "
                f"({error})"
            ) from error
    if not about:
        raise WiringError("expected a network of NeuroML with populations, got none")
    rows = EdgeRows()
    rows.cells(list(about))
    listed = [
        _connection(connection, kind, sizes)
        for tag, kind in _PROJECTIONS.items()
        for projection in _of(root, tag)
        for connection in projection
        if "onnection" in connection.tag
    ]
    rows.add(*(list(column) for column in zip(*listed, strict=True)) if listed else ([], [], []))
    tables = known.pop("neurons", None)
    several = list(tables) if isinstance(tables, list | tuple) else [tables] if tables else []
    return rows.connectome(neurons=[*several, about], **known)


def _of(root: ElementTree.Element, tag: str) -> Iterator[ElementTree.Element]:
    for element in root.iter():
        if element.tag.rpartition("}")[2] == tag:
            yield element


def _cells(
    population: ElementTree.Element, sizes: dict[str, int], about: dict[str, dict[str, Any]]
) -> None:
    name = population.get("id", "")
    places = {
        instance.get("id", ""): place.attrib
        for instance in _of(population, "instance")
        for place in _of(instance, "location")
    }
    size = max(int(population.get("size") or 0), len(places), 1)
    sizes[name] = size
    require_bytes(500 * size, f"a population of {size} cells", "it is damaged", WiringError)
    properties = {
        str(item.get("tag")): str(item.get("value", "")) for item in _of(population, "property")
    }
    muscle = "muscle" in str(population.get("component", "")).lower()
    for k in range(size):
        place = places.get(str(k))
        about[name if size == 1 else f"{name}_{k}"] = {
            "class": "" if size == 1 else name,
            "transmitter": properties.get("neurotransmitter", ""),
            "kind": "muscle" if muscle else "",
            "position": place and tuple(float(place[axis]) for axis in "xyz"),
        }


def _connection(
    connection: ElementTree.Element, kind: str, sizes: dict[str, int]
) -> tuple[str, str, float, str]:
    ends = []
    for key in ("pre", "post"):
        path = connection.get(f"{key}Cell") or connection.get(f"{key}CellId") or ""
        parts = [part for part in path.replace("[", "/").replace("]", "").split("/") if part]
        parts = [part for part in parts if part != ".."]
        if not parts or parts[0] not in sizes:
            raise WiringError(
                f"a connection has the {key}synaptic cell {path!r}, which is not there"
            )
        number = parts[1] if len(parts) > 1 else "0"
        ends.append(parts[0] if sizes[parts[0]] == 1 else f"{parts[0]}_{number}")
    synapse = " ".join(str(connection.get(key, "")) for key in ("synapse", "postComponent")).lower()
    if kind == "chemical":
        kind = "inhibitory" if "inh" in synapse else "excitatory" if "exc" in synapse else kind
    try:
        weight = float(connection.get("weight", 1))
    except ValueError as error:
        raise WiringError(f"a connection has the weight {connection.get('weight')!r}") from error
    return ends[0], ends[1], weight, kind
