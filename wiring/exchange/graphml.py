"""GraphML, which Gephi, Cytoscape, igraph and others read, by way of NetworkX."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ElementTree

import networkx as nx

from elegans.errors import WiringError
from elegans.wiring.exchange.networkx_graph import from_networkx, to_networkx
from elegans.wiring.wiring import Wiring


def to_graphml(wiring: Wiring) -> str:
    """Return `wiring` as text; nodes and edges have the attributes of `to_networkx`."""
    lines = nx.generate_graphml(to_networkx(wiring))
    return "\n".join(('<?xml version="1.0" encoding="utf-8"?>', *lines, ""))


def from_graphml(text: str) -> Wiring:
    """Return the wiring written in `text`."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # they let a small file grow without end
        raise WiringError("expected GraphML without a document type declaration; remove it")
    try:
        with warnings.catch_warnings():  # about types that are missing: from_networkx checks all
            warnings.simplefilter("ignore", UserWarning)
            graph = nx.parse_graphml(text)
    except (
        ElementTree.ParseError,
        nx.NetworkXError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        # NetworkX lets these escape when keys, types or values in the file are not valid.
        raise WiringError(
            f"expected GraphML, but it does not parse ({type(error).__name__}: {error}); the file "
            "may be cut off"
        ) from error
    return from_networkx(graph)
