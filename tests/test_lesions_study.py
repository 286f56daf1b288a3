"""Lesion studies as records, frames, texts and pictures."""

import copy

import numpy as np
import pytest
import torch
from pictures import collection, legend
from test_lesions import ALL, data, made

import elegans
from elegans.errors import InputError
from elegans.lesions import Lesion, LesionStudy
from elegans.wiring import AutoNCP


def test_records_are_plain_values():
    record = Lesion("input", "angle", None, None, "sensory", None, 1, 2.0, 1.0, -1.0)
    assert record == copy.copy(record)
    with pytest.raises(AttributeError):
        record.need = 0.0


def test_needed_and_frames():
    model, (x, y) = made("LTC"), data()
    study = elegans.lesion(model, (x, y), kinds=ALL)
    frame = study.to_frame()
    assert len(frame) == len(study)
    assert list(frame) == [
        "kind", "name", "source", "target", "layer", "set", "index", "score", "change", "need",
    ]  # fmt: skip
    assert frame["need"].is_monotonic_decreasing
    middle = study.lesions[5].need
    assert study.needed(middle) == study.lesions[:5]
    assert study.needed(study.lesions[0].need) == ()
    assert study.needed(-1e9) == study.lesions
    for threshold in (np.nan, np.inf, "0", True, None):
        with pytest.raises(InputError, match="got threshold="):
            study.needed(threshold)
    text, page = str(study), study._repr_html_()
    assert f"{len(study)} lesions" in text
    assert study.lesions[0].name in text
    assert f"and {len(study) - 10} more" in text
    assert "<table>" in page
    assert "<img" in page
    assert repr(study).startswith(f"LesionStudy({len(study)} lesions, ")
    empty = LesionStudy(0.0, (), study.wiring)
    assert len(empty.to_frame()) == 0
    assert list(empty.to_frame()) == list(frame)
    assert "0 lesions" in str(empty)


# --- pictures ----------------------------------------------------------------------------


def test_neurons_and_lines_show_the_need():
    model, (x, y) = made("LTC"), data()
    study = elegans.lesion(model, (x, y))
    ax = study.draw()
    needs = {one.name: one.need for one in study if one.kind == "neuron"}
    wiring, darkness, need = model.wiring, [], []
    for layer in wiring.layers:
        faces = collection(ax, layer).get_facecolor()
        for neuron, face in zip(wiring.layer_range(layer), faces, strict=True):
            darkness.append(1 - face[:3].mean())
            need.append(max(needs[wiring.names[neuron]], 0.0))
    assert np.corrcoef(darkness, need)[0, 1] > 0.999
    assert (collection(ax, "sensory").get_facecolor()[:, :3] == 1).all()  # not silenced: white
    lines = collection(ax, "synapses")
    of_lines = sorted(max(one.need, 0.0) for one in study if one.kind == "synapse")
    widths = np.asarray(lines.get_linewidths())
    assert np.corrcoef(widths, of_lines)[0, 1] > 0.999  # weak ones are drawn first
    most = max(need)
    assert {"neuron: need = 0", f"neuron: need = {most:.3g}"} <= set(legend(ax))
    alone = elegans.lesion(model, (x, y), kinds=["inputs"]).draw()
    assert (collection(alone, "inter").get_facecolor()[:, :3] == 1).all()
    assert (collection(alone, "sensory").get_facecolor()[:, :3] < 1).any()


def test_large_circuits_are_drawn_as_a_matrix():
    model = elegans.CTRNN(3, AutoNCP(120, 2))
    study = elegans.lesion(model, lambda net: torch.arange(1.0 * len(net)))
    assert collection(study.draw(), "synapses") is not None
    assert "need" in " ".join(str(text) for text in legend(study.draw(view="circuit")))
