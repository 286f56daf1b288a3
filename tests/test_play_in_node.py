"""The scripts of the pages, run by Node.js: the cart, the circuit that balances it, eigenvalues."""

import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

import elegans
from elegans.export.javascript import runtime
from elegans.export.playing import CARTPOLE, page
from elegans.wiring import AutoNCP

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node.js")
DEMO = Path(__file__).parent / "demo_run"


def run(tmp_path, scripts, program):
    """Return what a program prints as JSON, after scripts of the page."""
    web = files("elegans.export").joinpath("web")
    parts = [runtime(), *(web.joinpath(name).read_text() for name in scripts), program]
    path = tmp_path / "program.js"
    path.write_text("\n".join(parts))
    done = subprocess.run([NODE, path], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def plain(exported):
    (text,) = (content.decode() for content in exported.files.values())
    return re.search(r'id="document">(.*?)</script>', text, re.S)[1]


def test_bounds_are_shown_on_the_safe_side(tmp_path):
    """Three digits, two beyond a thousandth and a hundred thousand; never past the bound."""
    rng = np.random.default_rng(0)
    values = (rng.choice([-1, 1], 400) * 10 ** rng.uniform(-7, 9, 400)).tolist()
    values += [0.9999999, 1.0, 0.0, 0.5, 99999.5, 0.000999999, -0.9999999, 1e5, 1e-3, 123456.0]
    shown = run(
        tmp_path,
        ["plotting.js"],
        f"console.log(JSON.stringify({json.dumps(values)}.map("
        "(x) => [atLeast(x), atMost(x), shown(x)])))",
    )
    for value, texts in zip(values, shown, strict=True):
        low, high, near = (float(text.replace("\N{MINUS SIGN}", "-")) for text in texts)
        assert low <= value <= high
        assert near in (low, high)
        assert high - low <= 0.11 * abs(value)


def test_the_cart_moves_as_in_the_simulator(tmp_path):
    gymnasium = pytest.importorskip("gymnasium")
    environment = gymnasium.make("CartPole-v1")
    actions = np.random.default_rng(0).integers(2, size=(20, 60))
    program, wanted = [], []
    for k, row in enumerate(actions):
        environment.reset(seed=k)
        start = [float(value) for value in environment.unwrapped.state]
        states = []
        for action in row:
            _, _, fell, _, _ = environment.step(int(action))
            states.append([float(value) for value in environment.unwrapped.state] + [float(fell)])
            if fell:
                break
        wanted.append(states)
        program.append([start, [10.0 if action else -10.0 for action in row[: len(states)]]])
    got = run(
        tmp_path,
        ["cartpole.js"],
        f"const cart = new CartPole({json.dumps(CARTPOLE)});"
        f"console.log(JSON.stringify({json.dumps(program)}.map(([start, forces]) => {{"
        "  cart.state = start;"
        "  return forces.map((force) => { const over = cart.step(force); "
        "    return [...cart.state, Number(over)]; }); })))",
    )
    assert any(states[-1][-1] for states in wanted)
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)


BALANCING = """
const plain = %s, circuit = new Circuit(plain.circuit);
const drive = new CartPoleDrive({ circuit, plain });
const episode = (most) => {
  drive.begin();
  while (!drive.fallen && drive.steps < most) drive.advance();
  return drive.steps;
};
const episodes = () => Array.from({ length: 20 }, () => episode(500));
"""


def test_the_circuit_balances_the_pole_and_lesions_noise_and_delay_tell(tmp_path):
    certificate = elegans.proofs.Certificate.load(DEMO / "certificate.json")
    made = page(elegans.Policy.load(DEMO), drive="cartpole", certificate=certificate)
    got = run(
        tmp_path,
        ["plotting.js", "cartpole.js"],
        BALANCING % plain(made)
        + """
        const intact = episodes();
        circuit.silenceNeuron(0);  // the motor neuron
        const silenced = episodes();
        circuit.heal();
        drive.delay = 4;
        const delayed = episodes();
        drive.delay = 0;
        drive.noise = 0.3;
        const noisy = episodes();
        drive.noise = 0;
        const healed = episodes();
        drive.begin();
        while (drive.steps < 100) drive.advance();
        drive.kick(1);
        const spin = drive.cart.state[3];
        while (!drive.fallen && drive.steps < 300) drive.advance();
        console.log(JSON.stringify({ intact, silenced, delayed, noisy, healed,
          kicked: [spin, drive.steps] }))""",
    )
    assert got["intact"] == got["healed"] == [500] * 20
    assert max(got["silenced"]) < 30
    assert max(got["delayed"]) < 100
    assert min(got["noisy"]) < 300
    assert got["kicked"][0] > 0.3
    assert got["kicked"][1] == 300


def test_a_cart_is_driven_as_the_policy_drives_it(tmp_path):
    """The same states from the same start, step by step, as the circuit in PyTorch commands."""
    policy = elegans.Policy.load(DEMO)
    program = (
        BALANCING % plain(page(policy, drive="cartpole"))
        + """
        drive.begin();
        const states = [drive.cart.state];
        const actions = [];
        while (drive.steps < 300) {
          drive.advance();
          states.push(drive.cart.state);
          actions.push(drive.force);
        }
        console.log(JSON.stringify({ states, actions }))"""
    )
    got = run(tmp_path, ["cartpole.js"], program)
    answers = [float(policy(np.array([state[0], state[2]]))[0]) for state in got["states"][:-1]]
    clear = np.abs(answers) > 1e-4  # a command at zero may be rounded to either side
    forces = np.where(np.array(answers) > 0, 10.0, -10.0)
    assert clear.sum() > 290
    assert (forces[clear] == np.array(got["actions"])[clear]).all()


@pytest.mark.parametrize("size", [1, 2, 3, 8, 20, 40])
def test_eigenvalues_are_those_of_lapack(size, tmp_path):
    matrix = np.random.default_rng(size).normal(size=(size, size))
    found = run(
        tmp_path, ["spectrum.js"], f"console.log(JSON.stringify(eigenvalues({matrix.tolist()})))"
    )
    assert_same_spectrum(found, np.linalg.eigvals(matrix), 1e-10)


@pytest.mark.parametrize(
    ("matrix", "wanted"),
    [
        ([[0, 0], [0, 0]], [0, 0]),
        ([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.exp(2j * np.pi * np.arange(3) / 3)),
        ([[0, 1], [-1, 0]], [1j, -1j]),
        ([[3, 0, 0], [0, -2, 0], [0, 0, 1]], [3, -2, 1]),
    ],
)
def test_eigenvalues_of_matrices_on_which_shifts_stall(matrix, wanted, tmp_path):
    found = run(tmp_path, ["spectrum.js"], f"console.log(JSON.stringify(eigenvalues({matrix})))")
    assert_same_spectrum(found, np.array(wanted, complex), 1e-12)


def assert_same_spectrum(found, wanted, tolerance):
    found = np.array([complex(*pair) for pair in found])
    distance = np.abs(found[:, None] - wanted[None])
    assert distance[linear_sum_assignment(distance)].max() < tolerance


@pytest.mark.parametrize(
    "build",
    [
        lambda: elegans.LTC(2, AutoNCP(12, 1, seed=0)),
        lambda: elegans.CTRNN(2, AutoNCP(12, 1, seed=0)),
        lambda: elegans.CTRNN(2, AutoNCP(12, 1, seed=0), activation="tanh"),
    ],
    ids=["ltc", "ctrnn", "ctrnn tanh"],
)
def test_the_jacobian_is_that_of_the_layer(build, tmp_path):
    torch.manual_seed(0)
    model = build().double()
    draw = np.random.default_rng(3)
    state, inputs = draw.normal(size=12).round(3), draw.normal(size=2).round(3)
    got = run(
        tmp_path,
        ["spectrum.js"],
        f"const c = new Circuit({plain(page(model))}.circuit);"
        f"c.state.set({state.tolist()}); c._map({inputs.tolist()}); c._sense(); c._gate(c.state);"
        "const whole = jacobian(c, 1).map((row) => [...row]); c.silenceNeuron(4);"
        "console.log(JSON.stringify([whole, jacobian(c, 1).length]))",
    )
    dynamics = model.cell.dynamics(torch.tensor(inputs)[None])
    wanted = dynamics.jacobian(torch.tensor(state)[None])[0].detach().numpy()
    np.testing.assert_allclose(got[0], wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
    assert got[1] == 11


def test_the_jacobian_of_a_closed_form_is_that_of_its_step(tmp_path):
    torch.manual_seed(0)
    model = elegans.CfC(2, AutoNCP(12, 1, seed=0)).double()
    state, inputs = np.linspace(-0.5, 0.5, 12), np.array([0.3, -0.7])
    got = run(
        tmp_path,
        ["spectrum.js"],
        f"const c = new Circuit({plain(page(model))}.circuit); c._map({inputs.tolist()});"
        f"c.state.set({state.tolist()}); const rows = jacobian(c, 1).map((row) => [...row]);"
        "console.log(JSON.stringify([rows, [...c.state]]))",
    )
    assert got[1] == state.tolist()
    one = torch.ones(1, 1, dtype=torch.float64)
    wanted = model.cell.step_jacobian(torch.tensor(inputs)[None], torch.tensor(state)[None], one)
    np.testing.assert_allclose(got[0], wanted[0].detach().numpy(), rtol=0, atol=1e-5)
