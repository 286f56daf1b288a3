"""Everything around the layers on a GPU: training, rewiring, ensembles, proofs, saving, compiling.

What a layer computes there is asked of every layer by `LayerConformance`, what the kernels compute
by `test_fused_gpu`. All of it is left out where there is no GPU.
"""

import copy
import warnings

import numpy as np
import pytest
import torch

import elegans
from elegans.data import Sequence, cut_windows
from elegans.ensemble import Ensemble
from elegans.proofs import certify
from elegans.proofs.lyapunov import model_exponents
from elegans.pruning import RULES, OneShot, Pruner, PruneRewire
from elegans.solvers import solver_names
from elegans.training import RewireConfig, RunFolder, TrainingConfig, fit
from elegans.wiring import AutoNCP

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

LAYERS = {
    "LTC": lambda wiring, **options: elegans.LTC(3, wiring, **options),
    "CTRNN": lambda wiring, **options: elegans.CTRNN(3, wiring, **options),
    "wired CfC": lambda wiring, **options: elegans.CfC(3, wiring, **options),
    "CfC": lambda wiring, **options: elegans.CfC(3, 16, 2, **options),
}
SPARSE = [name for name in LAYERS if name != "CfC"]


def data(step, device, dtype=torch.float64):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 6, 3, generator=generator, dtype=dtype)
    return x.to(device), x[..., :2].cumsum(1).tanh().to(device)


def train(model, rewirer, optimizer, steps, device):
    for step in range(steps):
        x, y = data(step, device)

        def closure(x=x, y=y):
            return (model(x)[0][..., :2] - y).square().mean()

        optimizer.zero_grad()
        closure().backward()
        optimizer.step()
        rewirer.step(closure)


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        (rule, kind)
        for rule in sorted(RULES)
        for kind in SPARSE
        if rule != "active_development" or kind == "LTC"  # it asks for gates
    ],
)
def test_rules_edit_as_on_the_cpu(rule, kind):
    ends = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = LAYERS[kind](AutoNCP(16, 2, seed=0), dtype=torch.float64).to(device)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        synapses = len(model.wiring.recurrent) + len(model.wiring.sensory) - 8
        thinned = {"synapses": synapses} if rule == "gradual" else {}
        rewirer = PruneRewire.from_rule(rule, model, optimizer, steps=20, seed=0, **thinned)
        train(model, rewirer, optimizer, 20, device)
        ends[device] = [edit.to_dict() | {"weight": 0} for edit in rewirer.ledger], model.wiring
    assert ends["cpu"] == ends["cuda"]


@pytest.mark.parametrize("kind", SPARSE)
def test_rewiring_goes_on_after_a_move(kind):
    torch.manual_seed(0)
    model = LAYERS[kind](AutoNCP(16, 2, seed=0), dtype=torch.float64).cuda()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    rewirer = PruneRewire(model, optimizer, steps=20, seed=0)
    train(model, rewirer, optimizer, 10, "cuda")
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), rewirer.state_dict()))
    other = LAYERS[kind](AutoNCP(16, 2, seed=0), dtype=torch.float64)
    again = torch.optim.Adam(other.parameters(), 1e-2)
    rewired = PruneRewire(other, again, steps=20, seed=0)
    for part, state in zip((other, again, rewired), saved, strict=True):
        part.load_state_dict(state)
    assert other.wiring == model.wiring
    train(model, rewirer, optimizer, 10, "cuda")
    train(other, rewired, again, 10, "cpu")
    assert other.wiring == model.wiring


def test_matrices_are_pruned():
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)
    ).cuda()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    pruner = Pruner(model, optimizer, OneShot(0.5))
    pruner.step()
    model(torch.randn(4, 8, device="cuda")).sum().backward()
    optimizer.step()
    assert sum(int((weight == 0).sum()) for weight in (model[0].weight, model[2].weight)) == 80


@pytest.mark.parametrize("kind", LAYERS)
def test_a_training_run(kind, tmp_path):
    rng = np.random.default_rng(0)
    sequences = []
    for name in "abcd":
        inputs = rng.normal(size=(30, 3)).cumsum(0)
        sequences.append(Sequence(name, inputs, inputs[:, :2] / 3, np.ones(30)))
    windows = cut_windows(sequences, 8)
    model = LAYERS[kind](AutoNCP(16, 2, seed=0)).cuda()
    rewire = RewireConfig(enabled=kind in SPARSE)
    config = TrainingConfig(steps=30, batch_size=8, window=8, evaluate_every=10, rewire=rewire)
    run = RunFolder.create(tmp_path / "run", model, {"training": "test"})
    result = fit(model, windows, windows, config, run=run, progress=False)
    assert np.isfinite(result.best_loss)
    x = torch.randn(2, 8, 3)
    for device in ("cpu", "cuda"):
        loaded = elegans.load(tmp_path / "run", device=device)
        torch.testing.assert_close(
            loaded(x.to(device))[0].cpu(), model(x.cuda())[0].cpu(), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("kind", LAYERS)
def test_saved_there_and_loaded_here(kind, tmp_path):
    model = LAYERS[kind](AutoNCP(16, 2, seed=0)).cuda()
    elegans.save(model, tmp_path / "saved")
    loaded = elegans.load(tmp_path / "saved")
    assert next(loaded.parameters()).device.type == "cpu"
    x = torch.randn(2, 8, 3)
    torch.testing.assert_close(loaded(x)[0], model(x.cuda())[0].cpu(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_ensembles(kind):
    models = [LAYERS[kind](AutoNCP(16, 2, seed=0), dtype=torch.float64).cuda() for _ in range(3)]
    x = torch.randn(4, 5, 3, dtype=torch.float64, device="cuda")
    together = Ensemble(models)(x)[0]
    for k, model in enumerate(models):
        torch.testing.assert_close(together[k], model(x)[0])


@pytest.mark.parametrize("kind", LAYERS)
def test_compiled(kind):
    model = LAYERS[kind](AutoNCP(16, 2, seed=0)).cuda()
    x = torch.randn(4, 5, 3, device="cuda")
    expected = torch.autograd.grad(model(x)[0].square().sum(), list(model.parameters()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(model)
        found = torch.autograd.grad(compiled(x)[0].square().sum(), list(model.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("solver", solver_names())
def test_every_solver(solver):
    model = elegans.LTC(3, AutoNCP(16, 2, seed=0), solver=solver, dtype=torch.float64)
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    expected = model(x)[0]
    found = copy.deepcopy(model).cuda()(x.cuda())[0]
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-7, atol=1e-9)


def test_certificates_are_those_of_the_cpu():
    model = elegans.LTC(3, AutoNCP(8, 2, seed=0), dtype=torch.float64)
    here = certify(model, (-1, 1))
    there = certify(copy.deepcopy(model).cuda(), (-1, 1))
    assert (there.level, len(there.verify())) == (here.level, len(here.verify()))
    assert there.rate == pytest.approx(here.rate, rel=1e-9)  # constraints round otherwise there


def test_spectra_of_exponents():
    model = elegans.LTC(3, AutoNCP(8, 2, seed=0), dtype=torch.float64)
    x = torch.randn(2, 50, 3, dtype=torch.float64)
    here = model_exponents(model, x, progress=False).exponents
    there = model_exponents(copy.deepcopy(model).cuda(), x.cuda(), progress=False).exponents
    torch.testing.assert_close(there.cpu(), here, rtol=1e-6, atol=1e-8)


def test_policies_answer_from_there():
    model = elegans.LTC(3, AutoNCP(16, 2, seed=0))
    here, there = elegans.Policy(model), elegans.Policy(copy.deepcopy(model).cuda())
    for k in range(3):
        observation = np.full(3, 0.1 * k, dtype=np.float32)
        np.testing.assert_allclose(there(observation), here(observation), rtol=1e-4, atol=1e-5)


def test_a_graph_is_captured_and_replayed():
    model = elegans.LTC(3, AutoNCP(16, 2, seed=0)).cuda()
    x = torch.randn(4, 5, 3, device="cuda")
    with torch.no_grad():
        for _ in range(3):
            model(x)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output, _ = model(x)
        x.copy_(torch.randn(4, 5, 3))
        expected = model(x)[0]
        graph.replay()
        torch.testing.assert_close(output, expected)
