"""The sparse linear layer against the dense one: values, gradients, states."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from elegans.errors import InputError, PruningError
from elegans.pruning.compact import SparseLinear
from elegans.pruning.compact.sparse_linear import measured_ratio
from elegans.pruning.compact.sparse_product import Pattern, fast, is_fast, reference


def random_layer(seed, *, largest=9, dtype=torch.float64):
    """A dense layer of random size with zeros among its weights, rows and columns of them too."""
    rng = np.random.default_rng(seed)
    outputs, inputs = (int(size) for size in rng.integers(1, largest, 2))
    mask = rng.random((outputs, inputs)) < rng.choice([0.0, 0.2, 0.6, 1.0])
    mask[rng.random(outputs) < 0.2] = False
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(inputs, outputs, bias=bool(rng.random() < 0.5), dtype=dtype)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.uniform_(-1, 1, generator=generator)
        linear.weight.mul_(torch.from_numpy(mask))
    x = torch.randn(int(rng.integers(0, 6)), inputs, generator=generator, dtype=dtype)
    return linear, torch.from_numpy(mask), x


def by_reference(values, x, pattern):
    return reference(values, x, pattern)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_values_and_gradients_equal_those_of_the_dense_layer(seed):
    linear, mask, x = random_layer(seed)
    sparse = SparseLinear.of(linear, mask)
    results = []
    for layer in (linear, sparse):
        own = x.clone().requires_grad_()
        y = layer(own)
        (y * torch.cos(y)).sum().backward()
        results.append((y, own.grad))
    # At most 8 products of numbers of order one: 8 roundings each, a few in the loss.
    for dense_one, sparse_one in zip(*results, strict=True):
        torch.testing.assert_close(sparse_one, dense_one, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(sparse.values.grad, linear.weight.grad[mask], rtol=1e-12, atol=1e-12)
    if linear.bias is not None:
        torch.testing.assert_close(sparse.bias.grad, linear.bias.grad, rtol=1e-12, atol=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_fast_equals_reference(seed):
    linear, mask, x = random_layer(seed)
    sparse = SparseLinear.of(linear, mask)
    assert is_fast(sparse.values, x)
    got = fast(sparse.values, x, sparse.pattern())
    expected = reference(sparse.values, x, sparse.pattern())
    torch.testing.assert_close(got, expected, rtol=1e-14, atol=1e-14)
    with torch.no_grad():
        assert torch.equal(fast(sparse.values, x, sparse.pattern()), got)


@pytest.mark.parametrize("product", [fast, by_reference])
@pytest.mark.parametrize("seed", range(4))
def test_both_derivatives(product, seed):
    linear, mask, _ = random_layer(seed + 20)
    sparse = SparseLinear.of(linear, mask)
    x = torch.randn(3, linear.in_features, dtype=torch.float64, requires_grad=True)

    def function(values, x):
        return product(values, x, sparse.pattern())

    assert torch.autograd.gradcheck(function, (sparse.values, x))
    assert torch.autograd.gradgradcheck(function, (sparse.values, x))


def test_a_transposed_in_the_wrong_order_fails(monkeypatch):
    right = Pattern.transposed

    def wrong(pattern):
        turned, order = right(pattern)
        return turned, torch.arange(len(order))

    sparse = SparseLinear(torch.tensor([[True, True], [True, True]]), dtype=torch.float64)
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    values = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, x: fast(v, x, sparse.pattern()), (values, x))
    monkeypatch.setattr(Pattern, "transposed", wrong)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(lambda v, x: fast(v, x, sparse.pattern()), (values, x))


@pytest.mark.parametrize("shape", [(5,), (0, 5), (2, 3, 5), (2, 0, 4, 5)])
def test_shapes(shape):
    linear = nn.Linear(5, 3)
    x = torch.randn(shape)
    y = SparseLinear.of(linear)(x)
    assert y.shape == (*shape[:-1], 3)
    torch.testing.assert_close(y, linear(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("outputs", "inputs"), [(0, 4), (4, 0), (3, 4)])
def test_without_any_weight(outputs, inputs):
    layer = SparseLinear(torch.zeros(outputs, inputs, dtype=torch.bool))
    with torch.no_grad():
        layer.bias.uniform_()
    x = torch.randn(2, inputs, requires_grad=True)
    y = layer(x)
    assert torch.equal(y, layer.bias.expand(2, outputs))
    y.sum().backward()
    assert layer.values.grad is None or not layer.values.grad.numel()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_types_take_the_reference_path(dtype):
    layer = SparseLinear.of(nn.Linear(4, 3)).to(dtype)
    x = torch.randn(2, 4).to(dtype)
    assert not is_fast(layer.values, x)
    layer(x).abs().sum().backward()
    assert layer.values.grad.dtype == dtype


# PyTorch loads its rules of forward mode with a function that it calls out of date itself.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_transforms_and_compilation():
    linear = nn.Linear(4, 3).double()
    layer = SparseLinear.of(linear)
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(layer)(x), linear(x))
    _, tangent = torch.func.jvp(layer, (x[0],), (x[1],))
    torch.testing.assert_close(tangent, x[1] @ linear.weight.t())
    jacobian = torch.func.jacrev(layer)(x[0, 0])
    torch.testing.assert_close(jacobian, linear.weight.detach())
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), linear(x))


def test_autocast_computes_in_the_layers_precision():
    layer = nn.Sequential(nn.Linear(4, 4), SparseLinear.of(nn.Linear(4, 3)))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(2, 4)).dtype == torch.float32


def test_training_keeps_the_pattern():
    linear, mask, _ = random_layer(7)
    mask = torch.rand(linear.weight.shape) < 0.5
    mask[0, 0] = True
    with torch.no_grad():
        linear.weight.mul_(mask)
    sparse = SparseLinear.of(linear, mask)
    x = torch.randn(6, linear.in_features, dtype=torch.float64)
    for layer in (linear, sparse):
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
        for _ in range(5):
            optimizer.zero_grad()
            layer(x).square().sum().backward()
            if layer is linear:
                layer.weight.grad.mul_(mask)
            optimizer.step()
    assert torch.equal(sparse.mask(), mask)
    torch.testing.assert_close(sparse.to_dense().weight, linear.weight, rtol=1e-10, atol=1e-12)


def test_there_and_back():
    linear, mask, x = random_layer(3)
    sparse = SparseLinear.of(linear, mask)
    dense = sparse.to_dense()
    assert torch.equal(dense.weight, linear.weight)
    assert torch.equal(sparse.mask(), mask)
    assert repr(sparse).startswith(f"SparseLinear(in_features={linear.in_features}, ")
    sparse(x.requires_grad_()).sum().backward()  # derives what is not copied along
    for again in (copy.deepcopy(sparse), pickle.loads(pickle.dumps(sparse))):
        assert torch.equal(again(x), sparse(x))
        assert again._pattern is None or again._pattern.columns is again.columns


# --- states -------------------------------------------------------------------------------------


def test_a_state_brings_its_pattern():
    one, other = (torch.tensor(rows) for rows in ([[1, 0], [0, 1]], [[0, 1], [1, 0]]))
    saved, layer = (SparseLinear.of(nn.Linear(2, 2), mask=rows.bool()) for rows in (one, other))
    x = torch.randn(3, 2, requires_grad=True)
    layer(x).sum().backward()  # the pattern of before is known by now
    state = {
        name: value.long() if "s" in name[-1] and value.dtype == torch.int32 else value
        for name, value in saved.state_dict().items()
    }
    layer.load_state_dict(state)
    assert layer.columns.dtype == torch.int32
    assert torch.equal(layer(x), saved(x))
    layer.load_state_dict(saved.state_dict(), assign=True)
    assert torch.equal(layer(x), saved(x))


def test_a_damaged_state_is_refused():
    layer = SparseLinear(torch.tensor([[True, False, True], [False, True, False]]))
    state = layer.state_dict()
    wrong = {
        "point outside": {"columns": torch.tensor([0, 2, 3])},
        "are damaged|state is damaged": {"row_starts": torch.tensor([0, 4, 3])},
        "holds 2 weights in 2 rows": {"columns": torch.tensor([0, 1])},
    }
    before = copy.deepcopy(state)
    for text, entries in wrong.items():
        with pytest.raises(PruningError, match=text):
            layer.load_state_dict(state | entries)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_bad_input():
    layer = SparseLinear.of(nn.Linear(4, 3))
    with pytest.raises(InputError, match=r"shape \(2, 5\), expected \(\.\.\., 4\)"):
        layer(torch.randn(2, 5))
    with pytest.raises(InputError, match=r"input is torch.float64, the layer is torch.float32"):
        layer(torch.randn(2, 4).double())
    with pytest.raises(PruningError, match=r"expected a boolean mask .* torch.float32"):
        SparseLinear(torch.ones(2, 3))
    with pytest.raises(PruningError, match=r"the mask has shape \(2, 2\), expected \(3, 4\)"):
        SparseLinear.of(nn.Linear(4, 3), torch.ones(2, 2, dtype=torch.bool))


def test_a_ratio_is_measured():
    linear = nn.Linear(64, 64)
    assert 0 < measured_ratio(linear, SparseLinear.of(linear), torch.randn(2, 64), 1) < 100
