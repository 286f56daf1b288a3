"""Reports and descriptions of circuits with gap junctions count and draw them."""

import json

import numpy as np
import pytest
import torch
from electric_circuits import circuit

import elegans
from elegans.layers.description import circuit_rows
from elegans.pruning.ledger import Edit
from elegans.reporting.stability.gathering import _circuit
from elegans.reporting.stability.graph import draw_graph
from elegans.reporting.stability.history import read_history


@pytest.fixture(scope="module")
def report():
    x = torch.randn(3, 12, 3, generator=torch.Generator().manual_seed(0)).double()
    return elegans.report(circuit(pruned=[1], dtype=torch.float64), x)


def test_texts_count_the_open_junctions(report):
    model = circuit(pruned=[0, 1])
    assert "6 + 4 synapses, 3 gap junctions, " in repr(model)
    assert circuit_rows(model)["gap junctions"] == "3"
    assert "gap junctions" in model._repr_html_()
    assert report.summary.startswith(
        "A liquid circuit of 6 neurons, 10 synapses and 4 gap junctions. "
    )
    pytest.importorskip("jinja2")
    pytest.importorskip("plotly")
    assert "10 synapses, 4 gap junctions." in report.html


def test_nothing_is_said_of_junctions_where_there_are_none():
    model = elegans.LTC(3, elegans.wiring.AutoNCP(6, 2, seed=0))
    assert "junction" not in repr(model)
    assert "gap junctions" not in circuit_rows(model)
    assert "electrical" not in json.dumps(_circuit(model).to_dict())


def test_the_document_holds_pairs_and_conductances(report):
    model = circuit(pruned=[1], dtype=torch.float64)
    saved = report.to_dict()["circuit"]["electrical"]
    pairs = zip(saved["source"], saved["target"], saved["rectifying"], strict=True)
    assert list(pairs) == list(model.wiring.electrical)
    slots = model.cell.electrical
    expected = slots.strength().numpy()[slots.sorted_slots()]
    assert saved["conductance"] == expected.tolist()
    assert len(expected) == 4


def test_the_graph_draws_every_junction_and_says_what_it_is(report):
    content = report.content
    graph = draw_graph(content.circuit, content.activity)
    assert (graph.drawn, graph.synapses) == (14, 14)
    (points,) = [trace for trace in graph.wide["data"] if trace.get("name") == "synapses"]
    texts = [text for text in points["text"] if "junction" in text]
    kinds = content.circuit.wiring.electrical.rectifying
    assert len(texts) == len(kinds) == 4
    assert sum("→" in text and "rectifying junction" in text for text in texts) == kinds.sum()
    assert sum("↔" in text and "gap junction" in text for text in texts) == (~kinds).sum()
    heads = [t for t in graph.wide["data"] if t.get("fill") == "toself"]
    corners = sum(np.equal(trace["x"], None).sum() for trace in heads)
    excitatory = (content.circuit.wiring.recurrent.polarity > 0).sum()
    excitatory += (content.circuit.wiring.sensory.polarity > 0).sum()
    assert corners == excitatory + kinds.sum()


def test_edits_of_junctions_have_names():
    model = circuit(dtype=torch.float64)
    edit = Edit(3, "cell.electrical", 2, 3, None, None, None, 0.01, "pruned")
    (line,) = read_history([edit], model.wiring).edits
    assert (line.kind, line.source, line.cut) == ("electrical", "inter_0", "inter_1")
