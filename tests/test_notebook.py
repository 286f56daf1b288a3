"""What layers, wirings, certificates and runs show in notebooks, and time constants."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from matplotlib import pyplot

import elegans
from elegans.data import Sequence, cut_windows
from elegans.html import table_html
from elegans.proofs import certify, time_constants_along
from elegans.proofs.verify import at_least
from elegans.training import RewireConfig, RunFolder, TrainingConfig, fit
from elegans.wiring import AutoNCP, FullyConnected, Overgrown, Random, Wiring

LAYERS = {
    "LTC": lambda: elegans.LTC(3, AutoNCP(12, 2, seed=1)),
    "LTC, mixed memory": lambda: elegans.LTC(3, AutoNCP(12, 2, seed=1), mixed_memory=True),
    "CT-RNN": lambda: elegans.CTRNN(3, AutoNCP(12, 2, seed=1)),
    "CfC": lambda: elegans.CfC(3, 5),
    "wired CfC": lambda: elegans.CfC(3, AutoNCP(12, 2, seed=1)),
}


class Reader(HTMLParser):
    """Reads a page, and refuses tags that are not closed in their order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.pictures = [], "", []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.pictures.append(dict(attributes))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + " "


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_shows_its_sizes_and_a_picture(name):
    model, figures = LAYERS[name](), pyplot.get_fignums()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    page = Reader(model._repr_html_())
    (picture,) = page.pictures
    assert base64.b64decode(picture["src"].partition(",")[2]).startswith(b"\x89PNG")
    assert picture["alt"] == repr(model.wiring)
    assert re.search(rf"neurons {model.state_size} .*parameters {parameters:,} ", page.text)
    assert ("time constants" in page.text) == (model.cell.time_constants() is not None)
    assert pyplot.get_fignums() == figures
    line = repr(model).splitlines()[1]
    assert f"3 inputs, {model.state_size} neurons, {model.output_size} outputs, " in line
    assert f"{parameters:,} parameters" in line
    assert ("mixed memory" in line) == ("mixed" in name)


def test_settings_that_are_not_the_usual_ones_are_named():
    model = elegans.LTC(3, AutoNCP(12, 2), return_sequences=False, batch_first=False)
    assert "time first, last answer only" in repr(model)


def test_a_layer_without_values_shows_itself():
    with torch.device("meta"):
        model = elegans.LTC(3, AutoNCP(12, 2))
    assert "12 neurons" in repr(model)
    assert "meta" in Reader(model._repr_html_()).text


@pytest.mark.parametrize("units", [1, 97, 98, 1000])
def test_circuits_of_any_size_are_drawn(units):
    wiring = Random(units, 1, sparsity_level=0.9).build(3)
    page = Reader(wiring._repr_html_())
    assert repr(wiring) in page.text
    assert len(page.pictures) == 1


@pytest.mark.parametrize("most", [27, 28])
def test_circuits_of_millions_of_synapses_are_described_in_words(most, monkeypatch):
    wiring = FullyConnected(4, 1).build(3)  # of 16 synapses and 12 from the inputs
    monkeypatch.setattr("elegans.wiring.wiring._MANY_SYNAPSES", most)
    assert len(Reader(wiring._repr_html_()).pictures) == (most == 28)


def test_names_are_no_html():
    assert "<b>" not in table_html("<b>", {"<b>": "<b>"})
    wiring = AutoNCP(8, 1).build(2)
    named = Wiring(
        2,
        wiring.layers,
        wiring.recurrent,
        wiring.sensory,
        names=["<i>", *wiring.names[1:]],
        sensory_names=["<script>", "b"],
    )
    assert Reader(named._repr_html_()).pictures


def test_certificates_say_what_is_proved():
    calm = elegans.LTC(4, AutoNCP(units=12, output_size=2, sparsity_level=0.8, seed=1))
    certificate = certify(calm, inputs=(-1, 1))
    assert (
        f"{at_least(certificate.rate, 4)} per unit of time"
        in Reader(certificate._repr_html_()).text
    )
    refusal = certify(elegans.LTC(8, FullyConnected(16)), inputs=(-1, 1))
    assert not refusal
    assert all(line in Reader(refusal._repr_html_()).text for line in str(refusal).splitlines())


def test_a_run_shows_settings_progress_and_pictures(tmp_path):
    model = elegans.LTC(2, Overgrown(AutoNCP(12, 1), 2.0))
    config = TrainingConfig(
        steps=40, window=8, evaluate_every=5, rewire=RewireConfig(rule="development", keep=0.5)
    )
    settings = {"command": "train", "training": {"steps": config.steps}}
    run = RunFolder.create(tmp_path / "run", model, settings)
    assert "0 of 40" in Reader(run._repr_html_()).text
    rng = np.random.default_rng(0)
    shown = [Sequence("s", rng.normal(size=(40, 2)), rng.normal(size=(40, 1)), np.ones(40))]
    windows = cut_windows(shown, 8)
    result = fit(model, windows, windows, config, run=run, progress=False)
    model.draw().figure.savefig(run.path / "wiring.png")
    page = Reader(run._repr_html_())
    assert "40 of 40" in page.text
    # The best of the thinnest circuits, not of all.
    assert f"{result.best_loss:.4g} at step {result.best_step}" in page.text
    assert [picture["alt"] for picture in page.pictures] == ["wiring"]
    assert "none is here" in Reader(RunFolder(tmp_path / "nowhere")._repr_html_()).text


def test_a_layer_that_diverged_can_be_looked_at():
    model = elegans.LTC(3, AutoNCP(12, 2))
    with torch.no_grad():
        model.cell.recurrent.weight[0] = float("nan")
    page = Reader(model._repr_html_())
    assert "not all are finite" in page.text
    assert page.pictures


@pytest.mark.parametrize("constrained", [True, False])
def test_time_constants_hold_along_every_trajectory(constrained):
    generator = torch.Generator().manual_seed(0)
    model = elegans.LTC(
        3, AutoNCP(12, 2), implicit_param_constraints=constrained, generator=generator
    )
    least, largest = model.cell.time_constants()
    for scale in (0.0, 1.0, 100.0):
        inputs = scale * torch.randn(8, 3, generator=generator)
        states = scale * torch.randn(8, 12, generator=generator)
        tau = time_constants_along(model, inputs, states)
        assert (tau >= least * (1 - 1e-5)).all()
        assert (tau <= largest * (1 + 1e-5)).all()


def test_time_constants_are_reached_where_gates_are_open_or_closed():
    model = elegans.LTC(1, FullyConnected(3), input_mapping=None, output_mapping=None)
    least, largest = model.cell.time_constants()
    for state, bound in ((1e3, least), (-1e3, largest)):
        tau = time_constants_along(model, torch.full((1, 1), state), torch.full((1, 3), state))
        torch.testing.assert_close(tau[0], bound)


def test_pruned_synapses_have_no_part_in_time_constants():
    model = elegans.LTC(3, AutoNCP(12, 2))
    before, closed = model.cell.time_constants()
    elegans.Pruner(model, scope="global").prune(0.5)
    least, largest = model.cell.time_constants()
    assert torch.equal(largest, closed)
    assert (least >= before).all()
    reached = torch.from_numpy(model.wiring.in_degree() > 0)
    assert torch.equal(least < largest, reached)


def test_time_constants_of_ctrnn_are_its_own_and_cfc_has_none():
    model = elegans.CTRNN(3, AutoNCP(12, 2))
    least, largest = model.cell.time_constants()
    assert torch.equal(least, largest)
    assert (least > 0).all()
    assert elegans.CfC(3, 5).cell.time_constants() is None
