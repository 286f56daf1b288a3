"""Chains of dense layers: kernels, batched products and vmap are the same function."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import elegans
from elegans.ensemble import Ensemble
from elegans.ensemble.chain import Chain
from elegans.ensemble.computation import General
from elegans.ensemble.dense import DenseLayer, dense, plain
from elegans.errors import InputError

FUNCTIONS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU, "identity": nn.Identity}

# Sums of up to 64 x 40 products of numbers of about 1, in another order: n eps, with n as large as
# the longest chain of roundings that lead to a number.
ROUND_OFF = {torch.float64: 1e-12, torch.float32: 2e-4}


def gradients_of(ensemble, x, own, path):
    x = x.clone().requires_grad_()
    ensemble.zero_grad()
    with elegans.backend(path):
        output = ensemble(x, own_data=own)
        weights = torch.linspace(-1, 1, output.numel(), dtype=x.dtype).reshape(output.shape)
        (output * weights).sum().backward()
    return [output.detach(), x.grad, *(p.grad for p in ensemble.parameters())]


SIZES = st.lists(st.integers(1, 40), min_size=2, max_size=5)


@settings(max_examples=25, deadline=None)
@given(
    members=st.integers(1, 4),
    sizes=SIZES,
    batch=st.integers(8, 70),
    functions=st.lists(st.sampled_from(list(FUNCTIONS)), min_size=4, max_size=4),
    bias=st.booleans(),
    own=st.booleans(),
    single=st.booleans(),
)
def test_three_ways_are_one_function(members, sizes, batch, functions, bias, own, single):
    dtype = torch.float32 if single else torch.float64
    layers = []
    for before, after, function in zip(sizes, sizes[1:], functions, strict=False):
        layers += [nn.Linear(before, after, bias=bias, dtype=dtype), FUNCTIONS[function]()]
    ensemble = Ensemble([nn.Sequential(*layers)] * members)
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter.copy_(torch.randn_like(parameter))
    general = Ensemble(ensemble, general=True)
    assert isinstance(ensemble._computation, Chain)
    assert isinstance(general._computation, General)
    x = torch.randn(*([members] if own else []), batch, sizes[0], dtype=dtype)
    kernels = gradients_of(ensemble, x, own, "fused")
    products = gradients_of(ensemble, x, own, "reference")
    for a, b, c in zip(kernels, products, gradients_of(general, x, own, "auto"), strict=True):
        scale = max(1.0, float(b.abs().max()))
        torch.testing.assert_close(a, b, atol=scale * ROUND_OFF[dtype], rtol=0)
        torch.testing.assert_close(c, b, atol=scale * ROUND_OFF[dtype], rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tanh_is_accurate_relative_to_small_values(dtype):
    x = torch.logspace(-6, 1.5, 4000, dtype=torch.float64)
    x = torch.cat([x, -x, torch.tensor([0.0, 100.0, -100.0, torch.inf, -torch.inf])]).to(dtype)
    one = torch.ones(1, 1, 1, dtype=dtype)
    with elegans.backend("fused"):
        found = dense(x[:, None], [DenseLayer(one, None, "tanh")])[0, :, 0]
    exact = torch.tanh(x.double())
    relative = (found.double() - exact).abs() / exact.abs().clamp(min=1e-30)
    assert relative.max() < {torch.float32: 3e-7, torch.float64: 5e-15}[dtype]
    with elegans.backend("fused"):
        broken = dense(torch.full((9, 1), torch.nan, dtype=dtype), [DenseLayer(one, None, "tanh")])
    assert broken.isnan().all()


def test_gradients_against_finite_differences():
    x = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    shapes = (2, 5, 3), (2, 5), (2, 2, 5), (2, 2)
    parameters = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]

    def function(x, a, b, c, d):
        return dense(x, [DenseLayer(a, b, "tanh"), DenseLayer(c, d, "sigmoid")])

    with elegans.backend("fused"):
        assert torch.autograd.gradcheck(function, (x, *parameters), fast_mode=True)
        assert torch.autograd.gradgradcheck(function, (x, *parameters), fast_mode=True)


def test_a_graph_may_be_walked_twice_but_not_after_an_edit():
    ensemble = Ensemble([nn.Linear(3, 2)] * 2)
    loss = ensemble(torch.randn(8, 3)).square().sum()
    loss.backward(retain_graph=True)
    first = ensemble.stacked.weight.grad.clone()
    loss.backward(retain_graph=True)
    torch.testing.assert_close(ensemble.stacked.weight.grad, 2 * first)
    with torch.no_grad():
        ensemble.stacked.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_batched_gradients_take_the_plain_path():
    weight = torch.randn(2, 1, 3, requires_grad=True)
    output = dense(torch.randn(8, 3), [DenseLayer(weight, None, "tanh")])
    seeds = torch.eye(output.numel()).reshape(-1, *output.shape)
    (rows,) = torch.autograd.grad(output, weight, seeds, is_grads_batched=True, retain_graph=True)
    for seed, row in zip(seeds, rows, strict=True):
        torch.testing.assert_close(
            row, torch.autograd.grad(output, weight, seed, retain_graph=True)[0]
        )


def test_members_do_not_see_each_other():
    """A member that has left the finite numbers leaves the others as they are."""
    ensemble = Ensemble([nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))] * 3)
    x = torch.randn(20, 3)
    before = gradients_of(ensemble, x, False, "fused")
    with torch.no_grad():
        ensemble.stacked.get_parameter("0.weight")[1] = torch.nan
    after = gradients_of(ensemble, x, False, "fused")
    for a, b in zip(before[2:], after[2:], strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])
    assert after[0][1].isnan().all()


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads_gives_the_same_numbers(threads):
    torch.manual_seed(3)
    ensemble = Ensemble.of(lambda seed: nn.Sequential(nn.Linear(3, 9), nn.ReLU()), range(5))
    x = torch.randn(20, 3)
    expected = gradients_of(ensemble, x, False, "fused")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = gradients_of(ensemble, x, False, "fused")
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_chains_of_other_functions_and_shapes():
    def make(seed):
        inner = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.0), nn.Tanh(), nn.SiLU())
        return nn.Sequential(nn.Flatten(), inner, nn.Linear(4, 3), nn.LeakyReLU(), nn.Identity())

    ensemble = Ensemble.of(make, range(3))
    assert isinstance(ensemble._computation, Chain)
    for shape in ((9, 2, 3), (1, 6), (0, 6)):
        x = torch.randn(shape)
        assert ensemble(x).shape == (3, shape[0], 3)
        for k, member in enumerate(ensemble):
            torch.testing.assert_close(ensemble(x)[k], member(x))
    own = torch.randn(3, 9, 2, 3)
    torch.testing.assert_close(ensemble(own, own_data=True)[1], ensemble.member(1)(own[1]))
    deeper = Ensemble.of(lambda seed: nn.Sequential(nn.Linear(3, 2), nn.Tanh()), range(2))
    x = torch.randn(4, 5, 3)
    torch.testing.assert_close(deeper(x)[1], deeper.member(1)(x))
    torch.testing.assert_close(deeper(x[0, 0])[1], deeper.member(1)(x[0, 0]))


def test_what_is_no_chain_takes_the_general_way():
    class Own(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    hooked = nn.Sequential(nn.Linear(3, 2))
    hooked.register_forward_hook(lambda module, given, output: output + 1)
    for member in (Own(3, 2), nn.Sequential(nn.Linear(3, 2), nn.Softmax(-1)), hooked):
        ensemble = Ensemble([member, member])
        assert isinstance(ensemble._computation, General)
        x = torch.randn(5, 3)
        torch.testing.assert_close(ensemble(x)[1], member(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # PyTorch's own
def test_where_no_kernel_fits():
    weight = torch.randn(2, 300, 3)
    x = torch.randn(9, 3)
    layers = [DenseLayer(weight, None, "tanh")]
    torch.testing.assert_close(dense(x, layers), plain(x, layers))
    for wrong, reason in (
        ((x, layers), "layers have 3 to 300 features"),
        ((x[:3], layers), "there are 3 samples, fewer than 8"),
        ((x.half(), layers), "a tensor is torch.float16"),
        ((x.double(), layers), "a tensor is torch.float32 and the input torch.float64"),
    ):
        with elegans.backend("fused"), pytest.raises(InputError, match=reason):
            dense(*wrong)
    ensemble = Ensemble([nn.Linear(3, 2)] * 2)
    rate = torch.func.jvp(lambda x: ensemble(x), (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(rate, ensemble.stacked.weight.sum(-1)[:, None].expand(2, 9, 2))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: ensemble(row)))(x)
    torch.testing.assert_close(jacobian[4], ensemble.stacked.weight)
