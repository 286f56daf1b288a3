"""Tools on circuits whose outputs read neurons anywhere: none takes the first neurons for them."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from read_circuits import INPUTS, moved_wiring, neurons_in_order, pair, random_front

import elegans
from elegans.cli.building import named_wiring
from elegans.errors import InputError, PruningError
from elegans.export import c, js, numpy, onnx
from elegans.export.playing import page
from elegans.proofs import reach_tube
from elegans.pruning import Pruner, PruneRewire, Relative
from elegans.pruning.compact import compact
from elegans.pruning.criteria.synaptic_flow import SynapticFlow
from elegans.reporting.stability.verdicts import verdicts
from elegans.wiring import Synapses, Wiring

STEPS = 24
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

EXPORTED = {
    "LTC": ("LTC", {}),
    "no mapping": ("LTC", {"output_mapping": None}),
    "CTRNN": ("CTRNN", {}),
    "CfC": ("CfC", {}),
    "projected": ("CfC", {"proj_size": 3}),
}


@pytest.fixture(autouse=True)
def reference():
    with elegans.backend("reference"):
        yield


def exported(name, precision=torch.float64):
    kind, options = EXPORTED[name]
    read = {"units": 11, "outputs": 4} | options
    model = pair(kind, 2, dtype=precision, **read).moved
    return _with_repeats(model) if kind != "CfC" else model


def _with_repeats(model):
    """Return the layer with one more output, which reads the same neuron as the first."""
    wiring = model.wiring
    read = [*wiring.outputs, wiring.outputs[0]]
    kind = type(model)
    settings = {k: v for k, v in model.settings().items() if k != "input_size"}
    again = kind(
        INPUTS,
        Wiring(INPUTS, wiring.layers, wiring.recurrent, wiring.sensory, outputs=read),
        **settings,
        dtype=model.cell.dtype,
    )
    state = {k: v for k, v in model.state_dict().items() if "output" not in k}
    again.load_state_dict(state | {k: v for k, v in again.state_dict().items() if "output" in k})
    if again.cell.output_mapping.weight is not None:
        with torch.no_grad():
            again.cell.output_mapping.weight.copy_(torch.linspace(0.5, 2, 5))
            again.cell.output_mapping.bias.copy_(torch.linspace(-1, 1, 5))
    return again


def inputs():
    return 2 * np.random.default_rng(3).standard_normal((STEPS, INPUTS)).astype(np.float32)


@torch.no_grad()
def outputs_of(model):
    return model(torch.tensor(inputs()).to(model.cell.dtype)[None])[0][0].numpy()


@pytest.mark.parametrize("name", EXPORTED)
def test_numpy_reads_them(name):
    model = exported(name)
    module = {"__name__": "circuit"}
    exec(numpy(model).text("circuit.py"), module)
    running = module["Circuit"]()
    got = np.array([running(row) for row in inputs()])
    np.testing.assert_allclose(got, outputs_of(model), rtol=0, atol=1e-12)
    running.reset(batch=2)
    both = np.array([running(np.stack([row, -row])) for row in inputs()])
    np.testing.assert_allclose(both[:, 0], got, rtol=0, atol=1e-14)


@needs_node
@pytest.mark.parametrize("name", EXPORTED)
def test_javascript_reads_them(name, tmp_path):
    model = exported(name)
    js(model).save(tmp_path)
    program = (
        f"const c = require('./circuit.js').create(), u = {inputs().astype(float).tolist()};"
        "console.log(JSON.stringify(u.map((row) => [...c.step(row)])))"
    )
    done = subprocess.run(
        ["node", "-e", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    np.testing.assert_allclose(json.loads(done.stdout), outputs_of(model), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", EXPORTED)
def test_onnx_reads_them(name):
    runtime = pytest.importorskip("onnxruntime")
    model = exported(name, torch.float32)
    content = onnx(model, sequence=True).files["circuit.onnx"]
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    state = np.zeros((1, model.state_size), np.float32)
    (got,) = session.run(["output"], {"input": inputs()[None], "state": state})
    np.testing.assert_allclose(got[0], outputs_of(model), atol=1e-5)


@needs_gcc
@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.parametrize("numbers", ["float", "table", "q15", "q31"])
def test_c_reads_them(name, numbers, tmp_path):
    model = exported(name, torch.float32)
    options = {"sigmoid": "table"} if numbers == "table" else {"numbers": numbers}
    exported_files = c(model, **options)
    exported_files.save(tmp_path)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    command = ["gcc", *flags, "-DCIRCUIT_MAIN", "circuit.c", "-o", "circuit", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    whole = numbers in ("q15", "q31")
    rows = inputs() if not whole else np.clip(inputs(), -1, 1)
    text = "\n".join(" ".join(map(str, row)) for row in rows.tolist())
    ran = subprocess.run(
        ["./circuit"], cwd=tmp_path, input=text, capture_output=True, text=True, check=True
    )
    got = np.array([line.replace(",", " ").split() for line in ran.stdout.split("\n") if line])
    with torch.no_grad():
        expected = model(torch.tensor(rows)[None])[0][0].numpy()
    tolerance = {"float": 1e-5, "table": 3e-3, "q15": 3e-2, "q31": 1e-5}[numbers]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(got.astype(float), expected, rtol=0, atol=tolerance * 3)


def test_exports_of_other_circuits_say_nothing_of_them():
    model = elegans.LTC(3, elegans.wiring.AutoNCP(9, 2, seed=1))
    assert "output_source" not in c(model).text("circuit.c")
    assert "READ" not in numpy(model).text("circuit.py")
    readout = elegans.Readout(pair("LTC").moved, 2)
    assert "READ =" not in numpy(readout).text("circuit.py")


def test_a_page_marks_them():
    model = exported("LTC")
    text = page(model).text("play.html")
    read = sorted({INPUTS + int(i) for i in model.wiring.outputs})
    assert f'"read":{json.dumps(read, separators=(",", ":"))}' in text


# --- pruning ---------------------------------------------------------------------------------


def test_compaction_keeps_what_is_read_and_numbers_it_anew():
    chain = Wiring(
        1,
        {"dull": 2, "motor": 1, "read": 3},
        Synapses([5, 4, 3], [4, 3, 2], [1, 1, 1]),
        Synapses([0], [5], [1]),
        outputs=[4, 5, 4],
    )
    model = elegans.LTC(1, chain, dtype=torch.float64)
    small = compact(model).model
    assert small.wiring.layers == {"read": 2}
    assert small.wiring.names == ("read_1", "read_2")
    assert small.wiring.outputs.tolist() == [0, 1, 0]
    x = torch.randn(2, 5, 1, dtype=torch.float64)
    torch.testing.assert_close(small(x)[0], model(x)[0])
    with torch.no_grad():
        model.cell.recurrent.set_mask(torch.zeros(3, dtype=torch.bool))
        model.cell.sensory.set_mask(torch.zeros(1, dtype=torch.bool))
    with pytest.raises(PruningError, match="no open synapse leads from an input"):
        compact(model)


@pytest.mark.parametrize("name", ["LTC", "CTRNN", "CfC"])
def test_rewiring_and_pruning_leave_what_is_read(name):
    model = pair(name, dtype=torch.float32).moved
    before = model.wiring
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    rewirer = PruneRewire(model, optimizer, Relative(0.5), 1, seed=0)
    x = torch.randn(2, 4, INPUTS)
    for _ in range(6):
        optimizer.zero_grad()
        model(x)[0].square().mean().backward()
        optimizer.step()
        rewirer.step()
    Pruner(model).prune(0.5)
    assert model.wiring != before
    assert model.wiring.outputs.tolist() == before.outputs.tolist()
    states = model(x, return_states=True)[2]
    torch.testing.assert_close(model(x)[0], model.cell.read(states))


def test_synaptic_flow_ends_in_what_is_read():
    chain = Wiring(
        1,
        {"a": 2, "b": 2},
        Synapses([3, 2, 1], [2, 1, 0], [1, 1, 1]),
        Synapses([0], [3], [1]),
        outputs=[1],
    )
    model = elegans.LTC(1, chain)
    pruner = Pruner(model, criterion=SynapticFlow())
    pruner.prune(0.25)
    # The synapse beyond what is read carries nothing to it.
    open_ = model.cell.recurrent.mask.tolist()
    ends = list(zip(model.cell.recurrent.source, model.cell.recurrent.target, strict=True))
    assert [open_[ends.index(pair_)] for pair_ in ((3, 2), (2, 1))] == [True, True]
    assert not open_[ends.index((1, 0))]


# --- proofs and reports ------------------------------------------------------------------------


def test_a_reach_tube_holds_what_is_read():
    front, moved, place, _ = pair("LTC")
    tubes = [
        reach_tube(model, states=(-0.1, 0.1), inputs=(-1, 1), steps=6) for model in (front, moved)
    ]
    for side in ("lo", "hi"):
        one, other = (getattr(tube.outputs, side) for tube in tubes)
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-9)
        states = torch.from_numpy(getattr(tubes[0], side).copy())
        moved_states = neurons_in_order(states, place).numpy()
        np.testing.assert_allclose(getattr(tubes[1], side), moved_states, rtol=1e-9, atol=1e-9)
    x = torch.rand(6, INPUTS, dtype=torch.float64) * 2 - 1
    output = moved(x)[0].detach().numpy()
    assert ((tubes[1].outputs.lo <= output) & (output <= tubes[1].outputs.hi)).all()


def test_a_report_names_and_bounds_what_is_read(tmp_path):
    front, moved, place, _ = pair("LTC", 1, outputs=2)
    with torch.no_grad():  # weak enough to be certified
        for model in (front, moved):
            model.cell.recurrent.weight.sub_(4)
    x = torch.randn(3, 12, INPUTS, generator=torch.Generator().manual_seed(2)).double()
    reports = [elegans.report(model, x) for model in (front, moved)]
    one, other = (report.content for report in reports)
    document = json.loads(json.dumps(other.to_dict(), default=str))
    assert moved.wiring.outputs.tolist() == document["circuit"]["outputs"]
    assert "outputs" not in one.to_dict()["circuit"]
    told = [next(v for v in verdicts(content) if v.name == "gains") for content in (one, other)]
    assert told[0].figure == told[1].figure
    worst = one.contraction.gain[:2].argmax()
    name = moved.wiring.names[place[worst]]
    assert f"the output neuron {name} by no more" in told[1].sentence
    assert one.contraction.gain[2:].max() != one.contraction.gain[:2].max()
    reports[1].save(tmp_path / "report.html")
    assert "read as output" in (tmp_path / "report.html").read_text()


def test_targets_name_the_neurons_that_are_read():
    front = random_front(np.random.default_rng(0), 5, 2)
    wiring = moved_wiring(front, np.arange(5), {"a": 2, "b": 3}, outputs=[4, 1])
    named = named_wiring(wiring, ["x", "y", "z"], ["speed", "x"])
    assert named.names == ("a_0", "x (answer)", "b_0", "b_1", "speed")
    assert named.outputs.tolist() == [4, 1]
    twice = moved_wiring(front, np.arange(5), {"a": 2, "b": 3}, outputs=[4, 4])
    with pytest.raises(InputError, match="read 1 neurons, some for several targets"):
        named_wiring(twice, ["x", "y", "z"], ["speed", "height"])
