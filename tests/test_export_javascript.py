"""Circuits in JavaScript, run by Node.js, against the layers that they were made from."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import elegans
from elegans.cli import main
from elegans.data import Scale, Scales
from elegans.errors import InputError
from elegans.export.javascript import js
from elegans.export.portable import portable
from elegans.layers.readout import Readout
from elegans.proofs.verify import at_least
from elegans.wiring import AutoNCP, FullyConnected

DEMO = Path(__file__).parent / "demo_run"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs Node.js")
TOLERANCE = 1e-5
STEPS = 40


def ncp():
    return AutoNCP(14, 3, sparsity_level=0.5, seed=2)


def seeded(build):
    torch.manual_seed(3)
    return build()


CIRCUITS = {
    f"ltc {solver}": lambda solver=solver: elegans.LTC(3, ncp(), solver=solver)
    for solver in (
        "semi_implicit",
        "exponential",
        "exponential_midpoint",
        "euler",
        "midpoint",
        "rk4",
    )
}
CIRCUITS |= {
    f"ctrnn {activation} {solver}": lambda activation=activation, solver=solver: elegans.CTRNN(
        3, ncp(), activation=activation, solver=solver
    )
    for activation in ("sigmoid", "tanh")
    for solver in ("semi_implicit", "exponential_midpoint", "rk4")
}
CIRCUITS |= {
    f"wired cfc {mode} {own}": lambda mode=mode, own=own: elegans.CfC(
        3, ncp(), mode=mode, ncps_connections=own
    )
    for mode in ("default", "pure", "no_gate")
    for own in (False, True)
}
CIRCUITS |= {
    f"cfc {mode}": lambda mode=mode: elegans.CfC(3, 9, mode=mode)
    for mode in ("default", "pure", "no_gate")
}
CIRCUITS |= {
    f"cfc {activation}": lambda activation=activation: elegans.CfC(
        3, 9, activation=activation, backbone_layers=2
    )
    for activation in ("relu", "silu", "gelu", "tanh", "lecun_tanh")
}
CIRCUITS |= {
    "cfc without a backbone": lambda: elegans.CfC(3, 9, backbone_layers=0, backbone_units=0),
    "cfc with a projection": lambda: elegans.CfC(3, 9, proj_size=2),
    "wired cfc with a projection": lambda: elegans.CfC(3, ncp(), proj_size=2),
    "readout": lambda: Readout(elegans.LTC(3, ncp()), 2),
    "one neuron": lambda: elegans.LTC(1, FullyConnected(1)),
    "no mapping": lambda: elegans.LTC(3, ncp(), input_mapping=None, output_mapping=None),
}


def run(program, folder):
    """Return what a program prints as JSON, which finds circuits in the folder."""
    done = subprocess.run(
        [NODE, "-e", program], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stepped(folder, inputs, elapsed=None, before=""):
    """Return outputs (time, output) of the circuit in a folder for inputs (time, input)."""
    program = (
        f"const c = require('./circuit.js').create(), u = {inputs.tolist()}, "
        f"e = {'null' if elapsed is None else elapsed.tolist()}; {before};"
        "console.log(JSON.stringify(u.map((row, t) => [...c.step(row, e ? e[t] : undefined)])))"
    )
    return np.array(run(program, folder))


@needs_node
@pytest.mark.parametrize("name", CIRCUITS)
def test_every_family_and_solver_computes_what_the_layer_computes(name, tmp_path):
    model = seeded(CIRCUITS[name])
    js(model, elapsed="argument").save(tmp_path)
    draw = np.random.default_rng(5)
    inputs = draw.normal(size=(STEPS, model.input_size)).astype(np.float32)
    elapsed = draw.uniform(0.2, 2.0, STEPS).astype(np.float32)
    elapsed[7] = 0.0
    with torch.no_grad():
        wanted, _ = model(torch.tensor(inputs)[None], timespans=torch.tensor(elapsed)[None])
    got = stepped(tmp_path, inputs.astype(float), elapsed.astype(float))
    np.testing.assert_allclose(got, wanted[0].numpy(), rtol=0, atol=TOLERANCE)


@needs_node
def test_the_self_test_fails_for_other_numbers(tmp_path):
    exported = js(seeded(CIRCUITS["ltc semi_implicit"]))
    exported.save(tmp_path)
    command = [NODE, "circuit.js"]
    good = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (good.returncode, "as recorded" in good.stdout) == (0, True)
    path = tmp_path / "circuit.js"
    text = path.read_text()
    assert text.count("1 / (1 + Math.exp(-x))") == 1
    path.write_text(text.replace("Math.exp(-gain[k]", "Math.exp(-1.001 * gain[k]"))
    bad = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (bad.returncode, "NOT as recorded" in bad.stdout) == (1, True)


@needs_node
def test_units_limits_and_clamped_inputs_are_those_of_the_policy(tmp_path):
    model = seeded(CIRCUITS["ltc exponential"])
    draw = np.random.default_rng(1)
    scales = Scales(
        Scale([100.0, 90.0, 80.0], [20.0, 10.0, 5.0], names=("a", "b", "c")),
        Scale([-3.0, -3.0, -3.0], [4.0, 4.0, 4.0], 0.1, ("x", "y", "z")),
        0.25,
    )
    policy = elegans.Policy(model, scales, limits=(-4.0, -3.75))
    js(policy, elapsed=0.5).save(tmp_path)
    inputs = draw.normal(100, 20, (STEPS, 3)).astype(np.float32).astype(float)
    wanted = np.array([policy(row, 0.5) for row in inputs])
    assert {-4.0, -3.75} <= set(wanted.ravel().tolist())
    got = stepped(tmp_path, inputs)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE * 4)


@needs_node
@pytest.mark.parametrize("name", ["ltc semi_implicit", "ctrnn tanh rk4", "wired cfc default True"])
def test_a_silenced_neuron_speaks_to_nobody_and_is_healed(name, tmp_path):
    model = seeded(CIRCUITS[name])
    js(model).save(tmp_path)
    inputs = np.random.default_rng(2).normal(size=(STEPS, 3)).astype(np.float32).astype(float)
    intact = stepped(tmp_path, inputs)
    neuron = 5
    lesioned = stepped(tmp_path, inputs, before=f"c.silenceNeuron({neuron})")
    assert np.abs(lesioned - intact).max() > 1e-3
    # The same circuit without the synapses that leave the neuron.
    circuit = portable(model)
    sets = {}
    for kind, synapses in circuit.step.synapses.items():
        ends = synapses.source % model.state_size if kind.endswith("recurrent") else None
        kept = np.ones(len(synapses), bool) if ends is None else ends != neuron
        target = np.repeat(np.arange(model.state_size), np.diff(synapses.start))
        sets[kind] = type(synapses).sorted(
            synapses.source[kept],
            target[kept],
            model.state_size,
            **{value: column[kept] for value, column in synapses.values.items()},
        )
    from elegans.export.javascript import _written

    cut = replace(circuit, step=replace(circuit.step, synapses=sets))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "circuit.js").write_text(_written(cut, "circuit"))
    np.testing.assert_allclose(stepped(tmp_path / "cut", inputs), lesioned, rtol=0, atol=1e-12)
    healed = stepped(tmp_path, inputs, before=f"c.silenceNeuron({neuron}); c.heal()")
    assert (healed == intact).all()


@needs_node
def test_a_silenced_motor_neuron_is_read_as_potential_0_and_an_input_is_not_seen(tmp_path):
    model = seeded(CIRCUITS["no mapping"])
    js(model).save(tmp_path)
    inputs = np.random.default_rng(2).normal(size=(STEPS, 3)).round(3)
    assert (stepped(tmp_path, inputs, before="c.silenceNeuron(1)")[:, 1] == 0).all()
    blind = "for (const j of [0, 1, 2]) c.silenceInput(j)"
    outputs = stepped(tmp_path, inputs, before=blind)
    assert (outputs == stepped(tmp_path, 2 * inputs, before=blind)).all()
    k = "c.silenceSynapse('recurrent', 0)"
    assert not (stepped(tmp_path, inputs, before=k) == stepped(tmp_path, inputs)).all()


@needs_node
def test_the_browser_gets_the_same_object_and_wrong_inputs_change_nothing(tmp_path):
    js(seeded(CIRCUITS["one neuron"]), name="reflex").save(tmp_path)
    program = (
        "const vm = require('vm'), fs = require('fs'), box = {};"
        "vm.runInNewContext(fs.readFileSync('reflex.js', 'utf8'), box);"
        "const c = box.reflex.create(); c.step([1]); const kept = c.state[0], said = [];"
        "for (const bad of [[1, 2], [NaN], [Infinity]]) {"
        "  try { c.step(bad); } catch (error) { said.push(error.message); } }"
        "try { c.step([1], -1); } catch (error) { said.push(error.message); }"
        "console.log(JSON.stringify([said, kept === c.state[0], box.reflex.selfTest() < 1e-5]))"
    )
    said, kept, passed = run(program, tmp_path)
    assert kept
    assert passed
    assert said[0] == "got 2 inputs, expected 1"
    assert all("finite number" in text for text in said[1:3])
    assert said[3].startswith("got elapsed -1")


def test_the_file_states_the_proof_and_names_are_checked():
    torch.manual_seed(0)
    model = elegans.LTC(4, AutoNCP(units=12, output_size=2, sparsity_level=0.8, seed=1))
    certificate = elegans.proofs.certify(model, inputs=(-1, 1))
    text = js(model, certificate=certificate, clamp=True).text("circuit.js")
    head = " ".join(text[:3000].replace("//", " ").split())
    assert f"rate {at_least(certificate.rate)}, checked at level interval" in head
    assert f"network {certificate.fingerprint}" in head
    assert '"clamp":[[' in text
    for name in ("", "1st", "a-b", "class", "function", "ä", "a\n"):
        with pytest.raises(InputError, match="identifier"):
            js(model, name=name)


def test_the_command_writes_the_file_of_a_run(tmp_path, capsys):
    words = f"export {DEMO} --to js --out {tmp_path} --name pole --clamp"
    assert main(words.split()) == 0
    said = capsys.readouterr().out
    assert "20 neurons in JavaScript" in said
    text = (tmp_path / "pole.js").read_text()
    assert 'step(["position", "angle"])' in text
    assert "approach each other" in " ".join(text[:3000].replace("//", " ").split())
    assert '"clamp":[[-2.' in text


def test_a_circuit_that_cannot_be_exported_says_why():
    with pytest.raises(InputError, match="mixed memory"):
        js(elegans.LTC(2, 5, mixed_memory=True))
    with pytest.raises(InputError, match="solver 'dopri5'"):
        js(elegans.LTC(2, 5, solver="dopri5"))
