"""CT-GRU: the conformance suite, and the published equations."""

import math

import numpy as np
import pytest
import torch
from layer_conformance import INPUTS, OUTPUTS
from test_cfc import DenseConformance
from torch.testing import assert_close

import elegans
from elegans import CTGRU, CTGRUCell
from elegans.errors import InputError


class TestCTGRU(DenseConformance):
    def make(self, **options):
        return CTGRU(INPUTS, OUTPUTS, scales=3, output_mapping="affine", **options)


class TestCTGRUOfFourScales(DenseConformance):
    def make(self, **options):
        mappings = {"input_mapping": "affine", "output_mapping": "affine"}
        return CTGRU(INPUTS, OUTPUTS, 4, **mappings, **options)


def published(cell, u, traces, elapsed):
    """Return the traces after a step, [unit][scale], by loops over units and scales."""
    p = {name: value.detach().tolist() for name, value in cell.named_parameters()}
    n, count = len(traces), len(traces[0])
    tau = [10 ** (m / 2) for m in range(count)]
    weight, bias = p["input_map.weight"], p["input_map.bias"]

    def affine(row, recurrent, values):
        total = bias[row] + sum(w * x for w, x in zip(weight[row], u, strict=True))
        return total + sum(w * x for w, x in zip(recurrent, values, strict=True))

    def chosen(log):
        share = [math.exp(-((log - math.log(t)) ** 2)) for t in tau]
        return [each / sum(share) for each in share]

    h = [sum(row) for row in traces]
    retrieved = []
    for i in range(n):
        share = chosen(affine(i, p["scale_map.weight"][i], h))
        retrieved.append(sum(r * x for r, x in zip(share, traces[i], strict=True)))
    after = []
    for i in range(n):
        q = math.tanh(affine(2 * n + i, p["event_map.weight"][i], retrieved))
        share = chosen(affine(n + i, p["scale_map.weight"][n + i], h))
        after.append([
            ((1 - share[m]) * traces[i][m] + share[m] * q) * math.exp(-elapsed / tau[m])
            for m in range(count)
        ])  # fmt: skip
    return after


def drawn(units, scales):
    torch.manual_seed(0)
    cell = CTGRUCell(INPUTS, units, scales, dtype=torch.float64)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.uniform_(-1, 1)
    rng = np.random.default_rng(0)
    return cell, rng.normal(size=INPUTS), rng.normal(size=(units, scales))


@pytest.mark.parametrize("elapsed", [1e-3, 0.7, 30.0])
@pytest.mark.parametrize("scales", [1, 2, 8])
@pytest.mark.parametrize("units", [1, 4])
def test_a_step_is_the_published_one(units, scales, elapsed):
    cell, u, traces = drawn(units, scales)
    state = torch.from_numpy(traces).reshape(1, -1)
    output, found = cell(torch.from_numpy(u)[None], state, elapsed)
    expected = np.array(published(cell, u, traces, elapsed))
    assert_close(found[0].detach().numpy(), expected.reshape(-1), rtol=1e-12, atol=1e-12)
    assert_close(output[0].detach().numpy(), expected.sum(1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("units", "scales"), [(1, 1), (1, 4), (3, 1), (4, 3)])
def test_the_jacobian_is_the_derivative(units, scales):
    cell, _, _ = drawn(units, scales)
    x = torch.randn(3, INPUTS, dtype=torch.float64)
    state = torch.randn(3, units * scales, dtype=torch.float64)
    elapsed = torch.tensor([[0.4], [0.0], [5.0]], dtype=torch.float64)
    each = torch.func.jacrev(lambda h: cell.step(cell.sense(x.unsqueeze(1)), 0, h, elapsed))(state)
    expected = torch.stack([each[k, :, k] for k in range(3)])
    assert_close(cell.step_jacobian(x, state, elapsed), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(expected[1], torch.eye(units * scales, dtype=torch.float64))


def test_a_trace_decays_on_its_scale():
    cell, _, _ = drawn(2, 5)
    least, largest = cell.time_constants()
    assert torch.equal(least, largest)
    scales = torch.tensor([10 ** (m / 2) for m in range(5)], dtype=torch.float64)
    assert_close(least, scales.repeat(2))
    u, state = torch.zeros(1, INPUTS), torch.randn(1, 10)
    near, far = (cell(u, state, elapsed)[1] for elapsed in (1e-9, 2.0))
    assert_close(far, near * torch.exp(-2 / least), rtol=1e-8, atol=0)


def test_sizes():
    model = CTGRU(INPUTS, 4, scales=3)
    assert (model.state_size, model.motor_size, model.output_size) == (12, 12, 4)
    assert model.wiring.units == len(model.wiring.names) == 12
    assert model.synapse_count == model.wiring.synapse_count
    assert model.sensory_synapse_count == model.wiring.sensory_synapse_count
    assert elegans.Readout(model, 2)(torch.randn(2, 5, INPUTS))[0].shape == (2, 5, 2)
    deep = elegans.Stacked(lambda inputs: CTGRU(inputs, 4), INPUTS, num_layers=2)
    assert deep(torch.randn(2, 5, INPUTS))[0].shape == (2, 5, 4)


def test_a_saved_layer_comes_back(tmp_path):
    model = CTGRU(INPUTS, 4, scales=3, input_mapping="linear", mixed_memory=True)
    elegans.save(model, tmp_path)
    again, x = elegans.load(tmp_path), torch.randn(2, 5, INPUTS)
    assert type(again) is CTGRU
    assert again.settings() == model.settings()
    assert torch.equal(again(x)[0], model(x)[0])


def test_wrong_settings():
    for wrong in (0, 65, 2.5):
        with pytest.raises(InputError, match="scales"):
            CTGRU(INPUTS, 4, scales=wrong)
    with pytest.raises(InputError, match="hidden_size"):
        CTGRU(INPUTS, 0)
