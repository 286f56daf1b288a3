"""Circuits as graphs of ONNX, run by onnxruntime against the layer in single precision."""

import sys

import numpy as np
import pytest
import torch

import elegans
from elegans.data import Scale, Scales
from elegans.errors import InputError, MissingExtraError
from elegans.export import onnx_step
from elegans.export.onnx_graph import onnx
from elegans.wiring import AutoNCP, FullyConnected, Synapses, Wiring

library = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

WIRING = AutoNCP(9, 2, seed=1)
SOLVERS = ("semi_implicit", "exponential", "exponential_midpoint", "euler", "midpoint", "rk4")
MODES = ("default", "pure", "no_gate")


@pytest.fixture(autouse=True)
def reference():
    with elegans.backend("reference"):
        torch.manual_seed(0)
        yield


def drawn(model):
    """Return the model with other values than those it begins with."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter).abs())
    return model


def session_of(exported):
    content = exported.files["circuit.onnx"]
    library.checker.check_model(library.load_from_string(content), full_check=True)
    return runtime.InferenceSession(content, providers=["CPUExecutionProvider"])


def close(found, expected):
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def agrees(model):
    """Check sequences of any length and batch, and steps, with 0 among the elapsed times."""
    size = model.input_size
    whole = session_of(onnx(model, sequence=True, elapsed="argument"))
    for batch, time in ((1, 1), (3, 17)):
        x, state = torch.randn(batch, time, size), torch.randn(batch, model.state_size)
        spans = torch.tensor([0.0, 0.1, 1.0, 0.5]).repeat(batch * time)[: batch * time]
        spans = spans.reshape(batch, time)
        output, final = model(x, hx=state, timespans=spans)
        given = {"input": x.numpy(), "state": state.numpy(), "timespans": spans.numpy()}
        found = dict(zip(("output", "new_state"), whole.run(None, given), strict=True))
        close(found["output"], output)
        close(found["new_state"], final)
    step = session_of(onnx(model, elapsed=0.7))
    now = state.numpy()
    for t in range(time):
        output, now = step.run(None, {"input": x[:, t].numpy(), "state": now})
    output_then, final = model(x, hx=state, timespans=torch.full((batch, time), 0.7))
    close(output, output_then[:, -1])
    close(now, final)


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_differential_equations(solver):
    agrees(drawn(elegans.LTC(3, WIRING, solver=solver, ode_unfolds=16)))
    for activation in ("sigmoid", "tanh"):
        agrees(drawn(elegans.CTRNN(3, WIRING, solver=solver, activation=activation)))


@pytest.mark.parametrize("mode", MODES)
def test_closed_forms_on_a_wiring(mode):
    for own in (True, False):
        agrees(drawn(elegans.CfC(3, WIRING, mode=mode, ncps_connections=own, proj_size=3)))


@pytest.mark.parametrize("activation", ["lecun_tanh", "silu", "relu", "tanh", "gelu"])
@pytest.mark.parametrize(("mode", "depth"), [("default", 1), ("pure", 2), ("no_gate", 0)])
def test_dense_closed_forms(mode, depth, activation):
    options = {"backbone_layers": depth, "backbone_units": 8, "activation": activation}
    agrees(drawn(elegans.CfC(3, 6, mode=mode, **options)))


def edge_list(pairs):
    source, target = np.array(pairs, np.int64).reshape(-1, 2).T
    return Synapses(source, target, np.ones(len(pairs), np.int8))


WIRINGS = {
    "one neuron": FullyConnected(1),
    "no synapses": Wiring(1, {"motor": 2}, edge_list([]), edge_list([])),
    "no sensory ones": Wiring(1, {"motor": 2}, edge_list([(0, 1)]), edge_list([])),
    "no recurrent ones": Wiring(1, {"motor": 2}, edge_list([]), edge_list([(0, 1)])),
}


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("family", [elegans.LTC, elegans.CTRNN, elegans.CfC])
def test_degenerate_wirings(family, wiring):
    agrees(drawn(family(1, WIRINGS[wiring])))


@pytest.mark.parametrize("family", [elegans.LTC, elegans.CTRNN, elegans.CfC])
def test_all_synapses_pruned(family):
    model = drawn(family(3, WIRING))
    for slots in model.cell.synapse_sets().values():
        slots.set_mask(torch.zeros(len(slots), dtype=torch.bool))
    agrees(model)


def test_names_units_and_limits():
    inputs = Scale(np.array([10.0, -3.0, 0.0]), np.array([2.0, 0.5, 1e3]), 0.5, ("a", "b", "c"))
    targets = Scale(np.array([5.0, 0.0]), np.array([10.0, 0.1]), 0.0, ("y", "z"))
    policy = elegans.Policy(
        drawn(elegans.LTC(3, WIRING)), Scales(inputs, targets, 0.25), limits=(-0.01, [5.5, 0.05])
    )
    exported = onnx(policy, elapsed="argument")
    session = session_of(exported)
    axes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    assert axes == {
        "input": ["batch", 3],
        "state": ["batch", 9],
        "elapsed": ["batch"],
        "output": ["batch", 2],
        "new_state": ["batch", 9],
    }
    stated = session.get_modelmeta().custom_metadata_map
    assert (stated["inputs"], stated["outputs"]) == ("a, b, c", "y, z")
    assert "what counts as 1 for the circuit is 0.25" in stated["time"]
    state = np.zeros((1, 9), np.float32)
    for row in inputs.invert(2 * np.random.default_rng(0).standard_normal((9, 3))):
        given = {"input": row[None].astype(np.float32), "state": state}
        output, state = session.run(None, given | {"elapsed": np.array([0.5], np.float32)})
        np.testing.assert_allclose(output[0], policy(row, 0.5), rtol=1e-4, atol=1e-5)


def test_a_certificate_and_its_range():
    model = elegans.LTC(2, AutoNCP(12, 2, seed=1))
    certificate = elegans.proofs.certify(model, inputs=(-1, 1))
    assert certificate
    exported = onnx(model, certificate=certificate, clamp=True)
    session = session_of(exported)
    stated = session.get_modelmeta().custom_metadata_map
    assert certificate.fingerprint in stated["certificate"]
    assert stated["range"].startswith("it holds for sensory_0 in [-1, 1], sensory_1 in [-1, 1];")
    state = np.zeros((1, 12), np.float32)
    far, end = (
        session.run(None, {"input": np.full((1, 2), x, np.float32), "state": state})
        for x in (7.0, 1.0)
    )
    np.testing.assert_array_equal(far[1], end[1])


def test_no_table_without_bounds(monkeypatch):
    monkeypatch.setattr(onnx_step, "MOST_ENTRIES", 10)
    with pytest.raises(InputError, match="expected tables of at most 10 entries"):
        onnx(elegans.LTC(3, WIRING))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"elegans\[export\]"):
        onnx(elegans.LTC(3, WIRING))


def test_bytes_are_the_same_each_time():
    model = elegans.LTC(3, WIRING)
    assert onnx(model).files == onnx(model).files
