"""Circuits as a file of Python: the numbers of the reference path, from the file alone."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import torch

import elegans
from elegans.data import Scale, Scales
from elegans.errors import InputError, RunError
from elegans.export.numpy_file import numpy
from elegans.export.portable import portable
from elegans.export.statement import require_equal
from elegans.proofs.verify import at_least
from elegans.wiring import AutoNCP, FullyConnected, Synapses, Wiring

WIRING = AutoNCP(9, 2, seed=1)
STEPS = 20
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


def module_of(exported, name="circuit"):
    module = {"__name__": name}
    exec(exported.text(f"{name}.py"), module)
    return module


def inputs_of(policy, batch, seed=0):
    """Return inputs of so many steps in the units of the data."""
    shape = (STEPS, policy.model.input_size) if batch is None else (STEPS, batch, 3)
    given = 2 * np.random.default_rng(seed).standard_normal(shape)
    return given if policy.scales is None else policy.scales.inputs.invert(given)


def largest_error(policy, exported, spans=None, batch=None):
    """Return the largest difference to the policy, by the size of the outputs."""
    module = module_of(exported)
    circuit = module["Circuit"]()
    policy.reset(batch=batch)
    circuit.reset(batch=batch)
    worst = 0.0
    for step, row in enumerate(inputs_of(policy, batch)):
        if spans is None:
            expected, output = policy(row, module["ELAPSED"]), circuit(row)
        else:
            expected, output = policy(row, spans[step]), circuit(row, spans[step])
        assert output.shape == expected.shape
        worst = max(worst, np.abs(output - expected).max() / max(1, np.abs(expected).max()))
    return worst


def agrees(policy, **options):
    """Check the file with fixed and passed elapsed times, 0 among them, one by one and together."""
    spans = np.random.default_rng(1).choice([0.0, 0.1, 0.5, 1.0], STEPS)
    if policy.scales is None:
        assert largest_error(policy, numpy(policy, elapsed=0.7, **options)) < 1e-12
    exported = numpy(policy, elapsed="argument", **options)
    for batch in (None, 3) if policy.model.input_size == 3 else (None,):
        assert largest_error(policy, exported, spans, batch) < 1e-12
    return exported


# --- equality with the layer ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("mapping", ["affine", "linear", None])
def test_liquid(solver, mapping):
    model = elegans.LTC(
        3,
        WIRING,
        solver=solver,
        ode_unfolds=16,  # explicit methods need short steps
        input_mapping=mapping,
        output_mapping=mapping,
        dtype=torch.float64,
    )
    agrees(elegans.Policy(drawn(model)))


@pytest.mark.parametrize(("solver", "activation"), list(product(SOLVERS, ("sigmoid", "tanh"))))
def test_rates(solver, activation):
    model = elegans.CTRNN(
        3, WIRING, solver=solver, activation=activation, ode_unfolds=12, dtype=torch.float64
    )
    agrees(elegans.Policy(drawn(model)))


@pytest.mark.parametrize(("mode", "own", "size"), list(product(MODES, (True, False), (None, 3))))
def test_closed_form_on_a_wiring(mode, own, size):
    model = elegans.CfC(
        3, WIRING, mode=mode, ncps_connections=own, proj_size=size, dtype=torch.float64
    )
    agrees(elegans.Policy(drawn(model)))


@pytest.mark.parametrize("activation", ["lecun_tanh", "silu", "relu", "tanh", "gelu"])
@pytest.mark.parametrize(("mode", "depth"), [("default", 1), ("pure", 2), ("no_gate", 3)])
def test_dense_closed_form(mode, activation, depth):
    model = elegans.CfC(
        3,
        6,
        mode=mode,
        activation=activation,
        backbone_layers=depth,
        backbone_units=8,
        backbone_dropout=0.5,
        dtype=torch.float64,
    )
    agrees(elegans.Policy(drawn(model).eval()))


@pytest.mark.parametrize("mode", MODES)
def test_no_backbone(mode):
    model = elegans.CfC(3, 6, mode=mode, backbone_layers=0, proj_size=2, dtype=torch.float64)
    text = agrees(elegans.Policy(drawn(model))).text("circuit.py")
    assert "def activation" not in text


def pruned(model, share=0.5):
    for slots in model.cell.synapse_sets().values():
        slots.set_mask(torch.rand(len(slots)) > share)
    return model


FAMILIES = {
    "LTC": lambda size, wiring: elegans.LTC(size, wiring, dtype=torch.float64),
    "CTRNN": lambda size, wiring: elegans.CTRNN(size, wiring, dtype=torch.float64),
    "CfC": lambda size, wiring: elegans.CfC(size, wiring, dtype=torch.float64),
    "own gates": lambda size, wiring: elegans.CfC(
        size, wiring, ncps_connections=True, dtype=torch.float64
    ),
}


def edge_list(pairs):
    source, target = np.array(pairs, np.int64).reshape(-1, 2).T
    return Synapses(source, target, np.ones(len(pairs), np.int8))


WIRINGS = {
    "one neuron": FullyConnected(1),
    "no synapses": Wiring(1, {"motor": 2}, edge_list([]), edge_list([])),
    "no sensory ones": Wiring(1, {"motor": 2}, edge_list([(0, 1)]), edge_list([])),
    "no recurrent ones": Wiring(1, {"motor": 2}, edge_list([]), edge_list([(0, 1)])),
    "a neuron without": Wiring(1, {"motor": 3}, edge_list([(0, 2), (2, 2)]), edge_list([(0, 0)])),
}


@pytest.mark.parametrize(("family", "wiring"), list(product(FAMILIES, WIRINGS)))
def test_degenerate_wirings(family, wiring):
    model = FAMILIES[family](1, WIRINGS[wiring])
    agrees(elegans.Policy(drawn(model)))


@pytest.mark.parametrize(("family", "share"), list(product(FAMILIES, (0.5, 1.0))))
def test_pruned_synapses_are_gone(family, share):
    model = pruned(drawn(FAMILIES[family](3, WIRING)), share)
    exported = agrees(elegans.Policy(model))
    slots = module_of(exported).get("SENSORY", {"source": []})
    assert len(slots["source"]) == int(model.cell.sensory.is_open.sum())
    if share == 1.0 and family in ("LTC", "CTRNN"):
        assert "class Synapses" not in exported.text("circuit.py")


@pytest.mark.parametrize("family", FAMILIES)
def test_parallel_synapses(family):
    model = drawn(FAMILIES[family](3, WIRING))
    slots = model.cell.recurrent
    with torch.no_grad():
        same = (slots.target == slots.target[0]).nonzero().squeeze(1)
        slots.source[same] = slots.source[same[0]].clone()
    slots.accept_connections()
    assert len(same) > 1
    agrees(elegans.Policy(model))


def scales():
    inputs = Scale(np.array([10.0, -3.0, 0.0]), np.array([2.0, 0.5, 1e3]), 0.5, ("a", "b", "c"))
    targets = Scale(np.array([5.0, 0.0]), np.array([10.0, 0.1]), 0.0, ("y", "z"))
    return Scales(inputs, targets, 0.25)


@pytest.mark.parametrize("family", FAMILIES)
def test_units_limits_and_a_readout(family):
    layer = drawn(FAMILIES[family](3, WIRING))
    for model in (layer, elegans.Readout(layer, 2).double()):
        policy = elegans.Policy(model, scales(), limits=(-0.01, [5.5, 0.05]))
        exported = agrees(policy)
        module = module_of(exported)
        assert (module["INPUTS"], module["OUTPUTS"]) == (("a", "b", "c"), ("y", "z"))
        fixed = module_of(numpy(policy))
        assert fixed["ELAPSED"] == 1.0  # what counts as 1: 0.25
        outputs = np.array([fixed["Circuit"]()(row) for row in inputs_of(policy, None)])
        assert (outputs >= [-0.01, -0.01]).all()
        assert (outputs <= [5.5, 0.05]).all()


def test_clamped_inputs():
    model = elegans.LTC(3, AutoNCP(12, 2, seed=1), dtype=torch.float64)
    certificate = elegans.proofs.certify(model, inputs=(-1, 1))
    assert certificate
    policy = elegans.Policy(model, scales())
    exported = numpy(policy, certificate=certificate, clamp=True)
    text = exported.text("circuit.py")
    for stated in (
        f"rate {at_least(certificate.rate / 0.25)}",
        certificate.fingerprint,
        "a in [7, 11]",
    ):
        assert stated in " ".join(text.split())
    circuit = module_of(exported)["Circuit"]()
    low, high = portable(policy, certificate=certificate, clamp=True).clamp
    for row in 5 * inputs_of(policy, None):
        np.testing.assert_allclose(circuit(row), policy(row.clip(low, high)), rtol=1e-12)
    free = numpy(policy, certificate=certificate).text("circuit.py")
    assert "np.clip(inputs" not in free
    assert "a in [7, 11]" in " ".join(free.split())


# --- the file ------------------------------------------------------------------------------


def test_single_precision_follows_the_layer():
    model = drawn(elegans.LTC(3, WIRING))
    circuit = module_of(numpy(model))["Circuit"](np.float32)
    policy = elegans.Policy(model)
    for row in inputs_of(policy, 2):
        output = circuit(row)
        assert output.dtype == circuit.state.dtype == np.float32
        np.testing.assert_allclose(output, policy(row), atol=1e-6)


def test_each_of_a_batch_has_its_own_time():
    circuit = module_of(numpy(drawn(FAMILIES["CfC"](3, WIRING)), elapsed="argument"))["Circuit"]
    together, alone = circuit(), [circuit(), circuit()]
    for row in np.random.default_rng(0).standard_normal((9, 2, 3)):
        output = together(row, [0.0, 2.0])
        single = [one(own, span) for one, own, span in zip(alone, row, (0.0, 2.0), strict=True)]
        np.testing.assert_allclose(output, single, rtol=1e-13)
    assert not together.state[0].any()
    assert together.state[1].all()


def test_wrong_inputs_leave_the_state():
    circuit = module_of(numpy(drawn(FAMILIES["LTC"](3, WIRING)), elapsed="argument"))["Circuit"]()
    circuit([1, 2, 3], 1)
    before = circuit.state
    for row, span in [([1, 2], 1), ([[1, 2, 3]], 1), (1, 1), ([1, 2, np.nan], 1)]:
        with pytest.raises(ValueError, match="got inputs"):
            circuit(row, span)
    for span in (-1, np.nan, np.inf, [1, 2]):
        with pytest.raises(ValueError, match="got elapsed"):
            circuit([1, 2, 3], span)
    assert circuit.state is before


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_explicit_step_that_diverges_is_told():
    model = elegans.CTRNN(1, FullyConnected(2), solver="euler", ode_unfolds=1, dtype=torch.float64)
    circuit = module_of(numpy(model, elapsed="argument"))["Circuit"]()
    circuit([1.0], 1e300)
    with pytest.raises(FloatingPointError, match="left the finite numbers"):
        circuit([1.0], 1e300)
    assert np.isfinite(circuit.state).all()


def run(path, *arguments, text=None):
    call = [
        sys.executable,
        "-S",
        "-c",
        "import sys, runpy; sys.path[:] = sys.argv.pop(1).split(':')",
    ]
    call[-1] += "; sys.modules.update(elegans=None, torch=None); sys.argv = sys.argv[1:]"
    call[-1] += "; runpy.run_path(sys.argv[0], run_name='__main__')"
    places = ":".join(p for p in sys.path if p)
    return subprocess.run(
        [*call, places, str(path), *arguments], input=text, capture_output=True, text=True
    )


def test_the_file_runs_alone(tmp_path):
    policy = elegans.Policy(drawn(FAMILIES["LTC"](3, WIRING)), scales())
    (path,) = numpy(policy, name="pendulum", elapsed="argument").save(tmp_path)
    done = run(path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("largest error")
    rows = inputs_of(policy, None)[:4]
    lines = ["a,b,c,time", *(",".join(map(str, [*row, 0.1])) for row in rows.tolist()), ""]
    done = run(path, "-", text="\n".join(lines))
    assert (done.returncode, done.stderr) == (0, "")
    outputs = [[float(cell) for cell in line.split(",")] for line in done.stdout.splitlines()]
    np.testing.assert_allclose(outputs, [policy(row, 0.1) for row in rows], rtol=1e-12)
    path.write_text(path.read_text().replace("h = elapsed / UNFOLDS", "h = elapsed"))
    assert run(path).returncode == 1  # a wrong file says so


@pytest.mark.parametrize("family", FAMILIES)
def test_lines_are_short_and_code_is_called(family):
    text = numpy(FAMILIES[family](3, WIRING)).text("circuit.py")
    assert max(map(len, text.splitlines())) <= 100
    for line in text.splitlines():
        if line.startswith("def "):
            assert text.count(line[4 : line.index("(")] + "(") > 1


def test_names_of_any_kind_are_written():
    policy = elegans.Policy(
        FAMILIES["LTC"](3, WIRING),
        Scales(
            Scale(np.zeros(3), np.ones(3), 0.0, ('a "b"', "c\\", "'''\n\"\"\"")),
            Scale(np.zeros(2), np.ones(2), 0.0, ("ü", "")),
            1.0,
        ),
    )
    module = module_of(numpy(policy))
    assert module["INPUTS"] == policy.scales.inputs.names
    assert module["OUTPUTS"] == policy.scales.targets.names


def test_refusals():
    model = FAMILIES["LTC"](3, WIRING)
    for name in ("a b", "", "../x", "1st", "ü"):
        with pytest.raises(InputError, match="expected a word of letters"):
            numpy(model, name=name)
    with pytest.raises(InputError, match="expected the length of a step"):
        numpy(model, elapsed=0)
    with pytest.raises(InputError, match="needs `plain_step`"):
        numpy(elegans.CTGRU(3, 5))
    with pytest.raises(InputError, match="solver 'dopri5', expected one with fixed steps"):
        numpy(elegans.LTC(3, WIRING, solver="dopri5"))
    with pytest.raises(RunError, match=r"off by 0\.5 of their scale"):
        require_equal(0.5, 1e-9, "a file")
