"""Exports of circuits with gap junctions: every language computes what the layer computes."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from electric_circuits import CIRCUITS, circuit, without_junctions

import elegans
from elegans.export import c, js, numpy, onnx
from elegans.export.playing import page
from elegans.pruning.ledger import Edit

SOLVERS = ("semi_implicit", "exponential", "exponential_midpoint", "rk4")
STEPS = 24
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(autouse=True)
def reference():
    with elegans.backend("reference"):
        yield


def inputs():
    return 2 * np.random.default_rng(3).standard_normal((STEPS, 3)).astype(np.float32)


@torch.no_grad()
def outputs_of(model, span=1.0):
    """Return outputs (time, output) in the model's precision."""
    x = torch.tensor(inputs()).to(model.cell.dtype)[None]
    return model(x, timespans=torch.full((1, STEPS), span, dtype=x.dtype))[0][0].numpy()


def models(precision):
    for name, make in CIRCUITS.items():
        yield name, make(dtype=precision)
    for solver in SOLVERS[1:]:
        yield solver, circuit(solver=solver, ode_unfolds=12, dtype=precision)


def test_junctions_change_the_outputs_that_exports_are_compared_by():
    for name, make in CIRCUITS.items():
        model = make(dtype=torch.float64)
        apart = np.abs(outputs_of(model) - outputs_of(without_junctions(model))).max()
        assert (apart > 1e-2) == (name != "all pruned"), name


def test_numpy_computes_the_layer_in_double_precision():
    for name, model in models(torch.float64):
        module = {"__name__": "circuit"}
        exec(numpy(model, elapsed=0.7).text("circuit.py"), module)
        running = module["Circuit"]()
        got = np.array([running(row) for row in inputs()])
        np.testing.assert_allclose(got, outputs_of(model, 0.7), rtol=0, atol=1e-12, err_msg=name)
        running.reset(batch=2)
        both = np.array([running(np.stack([row, -row])) for row in inputs()])
        np.testing.assert_allclose(both[:, 0], got, rtol=0, atol=1e-14)


def test_numpy_of_a_circuit_without_junctions_says_nothing_of_them():
    text = numpy(elegans.LTC(3, elegans.wiring.AutoNCP(9, 2, seed=1))).text("circuit.py").lower()
    assert "junction" not in text
    assert "electrical" not in text


@needs_node
def test_javascript_computes_the_layer_in_double_precision(tmp_path):
    for number, (name, model) in enumerate(models(torch.float64)):
        folder = tmp_path / str(number)
        js(model).save(folder)
        program = (
            f"const c = require('./circuit.js').create(), u = {inputs().astype(float).tolist()};"
            "console.log(JSON.stringify(u.map((row) => [...c.step(row)])))"
        )
        got = run_node(program, folder)
        np.testing.assert_allclose(got, outputs_of(model), rtol=0, atol=1e-12, err_msg=name)


@needs_node
@pytest.mark.parametrize("junction", [0, 1])
def test_a_junction_silenced_in_javascript_is_one_that_is_pruned(junction, tmp_path):
    model = circuit(dtype=torch.float64)
    js(model).save(tmp_path)
    slots = model.cell.electrical
    ends = int(slots.source[junction]), int(slots.target[junction])
    program = (
        "const c = require('./circuit.js').create(), s = c.sets.electrical;"
        f"const k = s.source.findIndex((j, k) => j === {ends[0]} && s.target[k] === {ends[1]});"
        f"c.silenceSynapse('electrical', k); const u = {inputs().astype(float).tolist()};"
        "console.log(JSON.stringify(u.map((row) => [...c.step(row)])))"
    )
    got = run_node(program, tmp_path)
    wanted = outputs_of(circuit(pruned=[junction], dtype=torch.float64))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
    assert np.abs(wanted - outputs_of(model)).max() > 1e-3


@needs_node
def test_a_neuron_silenced_in_javascript_neither_sends_nor_takes_current(tmp_path):
    model = circuit(dtype=torch.float64)
    js(model).save(tmp_path)
    program = (
        "const c = require('./circuit.js').create(); c.silenceNeuron(4);"
        f"const u = {inputs().astype(float).tolist()};"
        "console.log(JSON.stringify(u.map((row) => [...c.step(row)])))"
    )
    got = run_node(program, tmp_path)
    with torch.no_grad():
        for slots, ends in (
            (model.cell.recurrent, ("source",)),
            (model.cell.electrical, ("source", "target")),
        ):
            slots.set_mask(~torch.stack([getattr(slots, end) == 4 for end in ends]).any(0))
    np.testing.assert_allclose(got, outputs_of(model), rtol=0, atol=1e-12)


def run_node(program, folder):
    done = subprocess.run(
        ["node", "-e", program], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout))


def test_onnx_computes_the_layer_in_single_precision():
    runtime = pytest.importorskip("onnxruntime")
    for name, model in models(torch.float32):
        content = onnx(model, sequence=True).files["circuit.onnx"]
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        state = np.zeros((1, model.state_size), np.float32)
        (got,) = session.run(["output"], {"input": inputs()[None], "state": state})
        np.testing.assert_allclose(got[0], outputs_of(model), atol=1e-5, err_msg=name)


# --- C -----------------------------------------------------------------------------------------


def compiled_run(exported, folder):
    """Compile the file with all warnings and let it take the recorded steps; return its words."""
    exported.save(folder)
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    command = ["gcc", *flags, "-DCIRCUIT_MAIN", "circuit.c", "-o", "circuit", "-lm"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    rows = "\n".join(" ".join(map(str, row)) for row in inputs().tolist())
    ran = subprocess.run(
        ["./circuit"], cwd=folder, input=rows, capture_output=True, text=True, check=False
    )
    return ran


@needs_gcc
@pytest.mark.parametrize("sigmoid", ["expf", "poly", "table"])
def test_c_computes_the_layer(sigmoid, tmp_path):
    tolerance = 1e-3 if sigmoid == "table" else 1e-5
    chosen = [("rosenbrock", circuit(solver="rosenbrock"))]
    chosen += list(models(torch.float32))[:: 1 if sigmoid == "expf" else 5]
    for number, (name, model) in enumerate(chosen):
        ran = compiled_run(c(model, sigmoid=sigmoid), tmp_path / str(number))
        got = np.array([line.replace(",", " ").split() for line in ran.stdout.splitlines()], float)
        np.testing.assert_allclose(got, outputs_of(model), atol=tolerance, err_msg=name)


@needs_gcc
@pytest.mark.parametrize(("numbers", "tolerance"), [("q15", 2e-2), ("q31", 1e-5)])
def test_c_in_whole_numbers_computes_the_layer(numbers, tolerance, tmp_path):
    for number, (name, make) in enumerate(CIRCUITS.items()):
        model = make(dtype=torch.float64)
        ran = compiled_run(c(model, numbers=numbers), tmp_path / str(number))
        got = np.array([line.split() for line in ran.stdout.splitlines()], float)
        np.testing.assert_allclose(got, outputs_of(model), atol=tolerance, err_msg=name)


@needs_gcc
def test_the_recorded_steps_of_c_are_those_with_junctions(tmp_path):
    compiled_run(c(circuit()), tmp_path)
    command = [tmp_path / "circuit", "test"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, "0")
    text = (tmp_path / "circuit.c").read_text()
    assert text.count("*conductance += READ(electrical_weight[j]);") == 1
    (tmp_path / "circuit.c").write_text(
        text.replace("*conductance += READ(electrical_weight[j]);", "")
    )
    build = ["gcc", "-DCIRCUIT_MAIN", "circuit.c", "-o", "circuit", "-lm"]
    subprocess.run(build, cwd=tmp_path, check=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1


# --- statements and pages ----------------------------------------------------------------------


def test_headers_name_the_number_of_gap_junctions():
    for model, count in ((circuit(), 5), (circuit(pruned=[0, 3]), 3), (circuit("one"), 1)):
        texts = (c(model).text("circuit.h"), numpy(model).text("circuit.py"))
        for text in (*texts, js(model).text("circuit.js")):
            text = " ".join(text.replace("\n//  ", " ").replace("\n *", " ").split())
            assert f"gap junctions: {count}" in text


@needs_node
def test_a_page_draws_each_junction_once_and_its_eigenvalues_are_those_of_the_layer(tmp_path):
    from test_play_in_node import plain, run

    model = circuit(dtype=torch.float64)
    exported = page(model)
    document = json.loads(plain(exported))
    edges = [edge for edge in document["picture"]["edges"] if edge[0] == "electrical"]
    ends = {tuple(edge[2:]) for edge in edges}
    expected = {(source + 3, target + 3, 0) for source, target, _ in model.wiring.electrical}
    assert (ends, len(edges)) == (expected, 5)
    assert "5 gap junctions" in exported.text("play.html")
    state = np.linspace(-0.5, 0.8, 6)[[3, 0, 5, 1, 4, 2]]
    given = json.dumps({"plain": document["circuit"], "state": state.tolist()})
    got = run(
        tmp_path,
        ["spectrum.js"],
        f"const given = {given}; const c = new Circuit(given.plain); c.state.set(given.state);"
        "c._map([0.3, -0.2, 0.5]); c._sense();"
        "console.log(JSON.stringify(jacobian(c, 1).map((row) => [...row])))",
    )
    u = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64)
    with torch.no_grad():
        dynamics = model.cell.dynamics(u)
        wanted = dynamics.jacobian(torch.tensor(state)[None])[0].numpy()
    np.testing.assert_allclose(np.array(got), wanted, rtol=1e-5, atol=1e-6)  # of seven digits


def test_a_film_shows_junctions_that_were_pruned_and_refuses_those_that_never_were():
    model, before = circuit(pruned=[1]), circuit().wiring
    gone = next(row for row in before.electrical if row not in set(model.wiring.electrical))
    edit = Edit(7, "cell.electrical", gone[1], gone[0], None, None, None, 0.01, "pruned")
    text = page(model, history=(before, [edit])).text("play.html")
    film = json.loads(text.split('id="document">')[1].split("</script>")[0])["history"]
    junctions = [each for each in film["synapses"] if each[2] == 0]
    assert film["steps"] == [0, 7]
    assert [each[4] for each in junctions].count(7) == 1
    assert len(junctions) == 5
    with pytest.raises(elegans.errors.InputError, match="cuts electrical synapse"):
        page(model, history=(before, [edit, edit]))
