"""Exponents of layers: closed form against automatic differentiation, flow, map and training."""

import json

import pytest
import torch
from torch import nn

from elegans import CTRNN, LTC, CfC
from elegans.errors import InputError
from elegans.proofs import jacobian, spectrum
from elegans.proofs.lyapunov import StabilityMonitor, model_exponents
from elegans.proofs.lyapunov import models as of_models
from elegans.wiring import AutoNCP, Synapses, Wiring

pytestmark = pytest.mark.slow


def layer(units=6, **options):
    generator = torch.Generator().manual_seed(0)
    return LTC(2, units, dtype=torch.float64, generator=generator, **options)


def signal(time=120, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, time, 2, generator=generator, dtype=torch.float64)


def quietly(model, inputs, **options):
    return model_exponents(model, inputs, progress=False, **options)


@pytest.mark.parametrize("kind", ["map", "flow"])
def test_closed_form_equals_automatic_differentiation(kind):
    model, x = layer(), signal(time=10, batch=2)
    options = {"kind": kind, "substeps": 4, "blocks": 4}
    fast, slow = (quietly(model, x, generic=generic, **options) for generic in (False, True))
    torch.testing.assert_close(fast.exponents, slow.exponents, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mode", ["default", "pure", "no_gate"])
@pytest.mark.parametrize("units", [5, AutoNCP(8, 2, seed=3)])
def test_closed_form_of_cfc(units, mode):
    generator = torch.Generator().manual_seed(0)
    model = CfC(2, units, mode=mode, dtype=torch.float64, generator=generator)
    x = signal(time=10, batch=2)
    fast, slow = (quietly(model, x, blocks=4, count=3, generic=g) for g in (False, True))
    torch.testing.assert_close(fast.exponents, slow.exponents, rtol=1e-8, atol=1e-8)
    with pytest.raises(InputError, match="has no differential equation"):
        quietly(model, x, kind="flow", blocks=4)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("kind", ["map", "flow"])
def test_closed_form_of_ctrnn(kind, activation):
    generator = torch.Generator().manual_seed(0)
    model = CTRNN(
        2, AutoNCP(8, 2, seed=3), activation=activation, dtype=torch.float64, generator=generator
    )
    x, options = signal(time=10, batch=2), {"kind": kind, "substeps": 4, "blocks": 4}
    fast, slow = (quietly(model, x, generic=generic, **options) for generic in (False, True))
    torch.testing.assert_close(fast.exponents, slow.exponents, rtol=1e-9, atol=1e-9)
    assert fast.sum_check.holds


@pytest.mark.parametrize("kind", ["map", "flow"])
def test_products_along_synapses_equal_matrices(kind, monkeypatch):
    model, x = layer(8), signal(time=20)
    dense = quietly(model, x, kind=kind, count=3)
    monkeypatch.setattr(of_models, "LARGEST_DENSE", 1)
    torch.testing.assert_close(
        quietly(model, x, kind=kind, count=3).exponents, dense.exponents, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("solver", ["rk4", "exponential"])
def test_any_solver_is_differentiated(solver):
    found = quietly(layer(solver=solver, ode_unfolds=12), signal(time=8), blocks=4)
    assert found.sum_check.holds
    assert found.exponents[0] < 0


def test_leak_decays_as_its_steps_and_its_equation_say():
    nothing = Wiring(2, {"motor": 3}, Synapses.empty(), Synapses.empty())
    model = LTC(2, nothing, dtype=torch.float64)
    rate = model.cell.dynamics(torch.zeros(1, 2).double()).time_constant(torch.zeros(1, 3).double())
    decay = (1 / rate[0]).sort().values.detach()
    flow = quietly(model, signal(time=200), kind="flow", elapsed=0.5, frame_transient=100)
    torch.testing.assert_close(flow.exponents, -decay, rtol=1e-4, atol=1e-6)
    steps = quietly(model, signal(time=200), elapsed=0.5, frame_transient=100)
    expected = -6 * torch.log1p(decay * 0.5 / 6)
    torch.testing.assert_close(steps.exponents, expected, rtol=1e-6, atol=1e-6)


def test_constant_input_gives_the_spectrum_of_the_equilibrium():
    model, x = layer(), torch.zeros(1, 300, 2).double()
    found = quietly(model, x, kind="flow", elapsed=0.2, substeps=10, frame_transient=150)
    state = torch.zeros(1, 6).double()
    with torch.no_grad():
        dynamics = model.cell.dynamics(x[:, 0])
        for _ in range(4000):
            state = state + 0.02 * dynamics.derivative(state)
        expected = spectrum(jacobian(dynamics, state))[0].real
    torch.testing.assert_close(found.exponents, expected, rtol=0.02, atol=0.02)


def test_a_rate_that_is_not_kept_is_noticed():
    model, x = layer(), signal(time=24)
    honest = quietly(model, x, kind="flow", tolerance=1.0)
    rate = -float(honest.exponents[0])
    kept = quietly(model, x, kind="flow", tolerance=1.0, certified_rate=rate / 2)
    broken = quietly(model, x, kind="flow", tolerance=1.0, certified_rate=rate * 3)
    assert "certified rate" not in kept.verdict
    assert "above the certified rate" in broken.verdict


def test_several_states_under_one_sequence_count_as_one():
    states = torch.randn(10, 6, generator=torch.Generator().manual_seed(1)).double()
    found = quietly(layer(), signal(), states=states)
    assert found.error_source == "time blocks"
    assert found.member_exponents.shape == (10, 6)


def test_first_of_many_neurons():
    model = LTC(2, AutoNCP(units=80, output_size=2), dtype=torch.float64)
    found = quietly(model, signal(time=30), count=2)
    assert found.exponents.shape == (2,)
    assert found.sum_check is None


def test_arguments_are_checked():
    model = layer()
    with pytest.raises(InputError, match="mixed memory"):
        quietly(layer(mixed_memory=True), signal())
    with pytest.raises(InputError, match="got kind='both', expected 'map' or 'flow'"):
        quietly(model, signal(), kind="both")
    with pytest.raises(InputError, match=r"inputs of shape \(3,\)"):
        quietly(model, torch.zeros(3))
    with pytest.raises(InputError, match="elapsed times that are not positive"):
        quietly(model, signal(), elapsed=0.0)
    with pytest.raises(InputError, match="which leaves 5 intervals for 10 blocks"):
        quietly(model, signal(time=8))
    with pytest.raises(InputError, match="elapsed times that differ"):
        quietly(model, signal(), kind="flow", elapsed=torch.linspace(1, 2, 120))


def test_monitor_while_training(tmp_path):
    model, x = LTC(2, 6), signal(time=32, batch=2).float()
    watch = StabilityMonitor(model, x, every=2, path=tmp_path / "stability.jsonl")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for step in range(1, 5):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x)[0], torch.ones(2, 32, 6)).backward()
        optimizer.step()
        watch(step)
    assert [record["step"] for record in watch.records] == [2, 4]
    assert watch.records[0] != watch.records[1]
    assert model.training
    lines = (tmp_path / "stability.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == watch.records
    first = watch.records[0]
    assert 0 < first["tau_min"] <= first["tau_median"] <= first["tau_max"]
    assert first["lambda_1"] < 0


def test_monitor_does_not_change_the_training():
    def trained(watched):
        model = LTC(2, 4, generator=torch.Generator().manual_seed(3))
        x = signal(time=32).float()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        watch = StabilityMonitor(model, x, every=1)
        for step in range(3):
            optimizer.zero_grad()
            model(x)[0].square().mean().backward()
            optimizer.step()
            if watched:
                watch(step)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(trained(True), trained(False))


def test_monitor_arguments():
    with pytest.raises(InputError, match="got every=0"):
        StabilityMonitor(LTC(2, 4), signal().float(), every=0)
    with pytest.raises(InputError, match="at least 16 steps"):
        StabilityMonitor(LTC(2, 4), signal(time=8).float())
