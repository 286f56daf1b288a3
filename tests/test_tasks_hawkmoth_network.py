"""The published network, and errors over all rows."""

import math

import pytest
import torch
from torch import nn

from elegans.data import Scale
from elegans.errors import InputError
from elegans.replications.hawkmoth import (
    INPUTS,
    OUTPUTS,
    column_errors,
    hawkmoth_network,
    mean_squared_error,
    sample,
)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_layers_are_the_published_ones():
    network = hawkmoth_network(seeded(0))
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    widths = [(layer.in_features, layer.out_features) for layer in linear]
    assert widths == [(10, 400), (400, 400), (400, 400), (400, 16), (16, 7)]
    assert sum(layer.weight.numel() for layer in linear) == 330_512
    assert sum(layer.bias.numel() for layer in linear) == 1_223
    assert [type(layer).__name__ for layer in network] == ["Linear", "Tanh"] * 4 + ["Linear"]


@pytest.mark.parametrize("deviation", [0.2, None])
def test_weights_follow_the_generator_and_nothing_else(deviation):
    before = torch.random.get_rng_state()
    first = hawkmoth_network(seeded(1), deviation=deviation)
    assert torch.equal(before, torch.random.get_rng_state())
    second = hawkmoth_network(seeded(1), deviation=deviation)
    other = hawkmoth_network(seeded(2), deviation=deviation)
    for one, same, different in zip(
        first.parameters(), second.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(one, same)
        assert one.ndim == 1 or not torch.equal(one, different)
        assert one.ndim == 2 or not one.any()  # biases begin at 0


def test_spread_of_the_weights():
    wide = hawkmoth_network(seeded(0))[2].weight
    assert wide.std().item() == pytest.approx(0.2, rel=0.01)  # 160,000 draws
    uniform = hawkmoth_network(seeded(0), deviation=None)[2].weight
    bound = math.sqrt(6 / 800)
    assert bound * 0.999 < uniform.abs().max().item() <= bound
    assert uniform.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    for wrong in (0, -1, math.inf, math.nan):
        with pytest.raises(InputError, match=r"expected a finite number above 0, or None"):
            hawkmoth_network(deviation=wrong)


@pytest.mark.slow
def test_error_is_the_mean_over_all_rows_and_columns():
    network = hawkmoth_network(seeded(0), dtype=torch.float64)
    inputs = torch.randn(1000, 10, dtype=torch.float64)
    outputs = torch.randn(1000, 7, dtype=torch.float64)
    expected = (network(inputs) - outputs).square().mean().item()
    for batch in (1, 7, 1000, 5000):
        found = mean_squared_error(network, inputs, outputs, batch=batch)
        assert found == pytest.approx(expected, rel=1e-12)
    # One fixed batch, as was published, tells something else.
    assert abs(mean_squared_error(network, inputs[:128], outputs[:128]) / expected - 1) > 1e-3
    columns = column_errors(network, inputs.numpy(), outputs.numpy())
    torch.testing.assert_close(columns, (network(inputs) - outputs).square().mean(0).detach())


def test_the_last_row_counts():
    inputs = torch.zeros(1001, 2)
    outputs = torch.zeros(1001, 2)
    outputs[-1, 1] = 10.0
    found = column_errors(nn.Identity(), inputs, outputs, batch=100)
    assert found.tolist() == [0.0, pytest.approx(100 / 1001)]


def test_models_keep_their_mode_and_get_no_gradients():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.9))
    inputs, outputs = torch.ones(50, 2), torch.zeros(50, 2)
    found = mean_squared_error(model, inputs, outputs)
    assert found == pytest.approx(model[0](inputs).square().mean().item(), rel=1e-5)
    assert model.training
    assert model[0].weight.grad is None
    model.eval()
    mean_squared_error(model, inputs, outputs)
    assert not model.training


def test_small_squares_are_summed_without_loss():
    """In float32 a sum of 200,000 squares of 1e-2 would lose its third digit or more."""
    inputs = torch.full((200_000, 1), 1e-2)
    found = mean_squared_error(nn.Identity(), inputs, torch.zeros(200_000, 1), batch=100)
    assert found == pytest.approx(float(torch.tensor(1e-2).double()) ** 2, rel=1e-12)


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ((0, 2), (0, 2), r"with as many rows, at least one"),
        ((3, 2), (4, 2), r"got inputs of shape \(3, 2\) and outputs of shape \(4, 2\)"),
        ((3, 2), (3, 1), r"got answers of shape \(3, 2\) for outputs of shape \(3, 1\)"),
        ((2,), (2,), r"expected \(row, input\) and \(row, output\)"),
    ],
)
def test_rows_that_do_not_fit_are_refused(inputs, outputs, text):
    with pytest.raises(InputError, match=text):
        mean_squared_error(nn.Identity(), torch.zeros(inputs), torch.zeros(outputs))
    with pytest.raises(InputError, match=r"got batch = 0, expected at least 1"):
        mean_squared_error(nn.Identity(), torch.zeros(1, 1), torch.zeros(1, 1), batch=0)


@pytest.mark.slow
def test_the_network_learns_the_data():
    """A hundred steps on little data beat the best constant."""
    parts = sample(3000, seed=0, progress=False).split()
    scale_in, scale_out = (
        Scale.min_max([parts.train.inputs], INPUTS),
        Scale.min_max([parts.train.outputs], OUTPUTS),
    )
    inputs, outputs = (
        torch.as_tensor(values, dtype=torch.float32)
        for values in (scale_in.apply(parts.train.inputs), scale_out.apply(parts.train.outputs))
    )
    valid = scale_in.apply(parts.validation.inputs), scale_out.apply(parts.validation.outputs)
    network = hawkmoth_network(seeded(0), deviation=None)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    before = mean_squared_error(network, *valid)
    for step in range(120):
        rows = slice(step * 128 % 1900, step * 128 % 1900 + 128)
        optimiser.zero_grad()
        (network(inputs[rows]) - outputs[rows]).square().mean().backward()
        optimiser.step()
    after = mean_squared_error(network, *valid)
    constant = float(((valid[1] - outputs.numpy().mean(0)) ** 2).mean())
    assert after < 0.6 * constant
    assert after < before


def test_smaller_networks_and_widths_that_make_no_sense() -> None:
    small = hawkmoth_network(torch.Generator().manual_seed(0), widths=(10, 20, 7))
    assert [tuple(p.shape) for p in small.parameters()] == [(20, 10), (20,), (7, 20), (7,)]
    with pytest.raises(InputError, match=r"got widths = \(10, 0, 7\)"):
        hawkmoth_network(widths=(10, 0, 7))
