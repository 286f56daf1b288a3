"""Tensors that are not dense numbers, and other odd values, as inputs, states and times."""

import copy

import numpy as np
import pytest
import torch

import elegans
from elegans.errors import InputError
from elegans.wiring import AutoNCP

pytestmark = pytest.mark.filterwarnings("ignore")

LAYERS = {
    "LTC": lambda: elegans.LTC(3, 4),
    "CTRNN": lambda: elegans.CTRNN(3, 4),
    "CfC": lambda: elegans.CfC(3, 4),
    "wired CfC": lambda: elegans.CfC(3, AutoNCP(8, 2)),
    "memory": lambda: elegans.LTC(3, 4, mixed_memory=True),
}
TENSORS = {
    "sparse": (lambda x: x.to_sparse(), r"expected a dense one; pass \w+.to_dense\(\)"),
    "csr": (lambda x: x.reshape(-1, x.shape[-1]).to_sparse_csr(), "expected a dense one"),
    "nested": (lambda x: torch.nested.nested_tensor([*x]), "is a nested tensor"),
    "quantised": (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "is a quantised"),
    "meta": (lambda x: x.to("meta"), "is on the meta device, which holds no values"),
    "complex": (lambda x: x.to(torch.complex64), "complex64|real numbers"),
}


@pytest.fixture(params=LAYERS)
def model(request):
    return LAYERS[request.param]()


@pytest.mark.parametrize("kind", TENSORS)
def test_layers_name_them(model, kind):
    odd, message = TENSORS[kind]
    x, state, elapsed = torch.zeros(2, 5, 3), torch.zeros(2, model.state_size), torch.ones(2, 5)
    pair = (lambda h: (h, h)) if model.memory is not None else (lambda h: h)
    calls = [
        lambda: model(odd(x)),
        lambda: model(x, pair(odd(state))),
        lambda: model(x, None, odd(elapsed)),
        lambda: model.cell(odd(x[:, 0]), state),
        lambda: model.cell(x[:, 0], odd(state)),
    ]
    for call in calls:
        with pytest.raises(InputError, match=message):
            call()
    assert model(x, pair(state), elapsed)[0].isfinite().all()
    if kind not in ("quantised", "complex"):
        with pytest.raises(InputError, match="lengths"):
            model(x, lengths=odd(torch.ones(2, 1))[0] if kind == "meta" else odd(torch.ones(2, 1)))


@pytest.mark.parametrize("kind", TENSORS)
def test_policies_name_them(model, kind):
    odd, message = TENSORS[kind]
    policy = elegans.Policy(model)
    for _ in range(2):  # before there is a kernel, and then
        with pytest.raises(InputError, match=message):
            policy(odd(torch.zeros(2, 3)))
        policy(torch.zeros(2, 3))
    state = policy.state
    if model.memory is None:
        with pytest.raises(InputError, match=message):
            policy.state = odd(torch.zeros(2, model.state_size))
        assert torch.equal(policy.state, state)


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (np.ma.masked_array(np.zeros((2, 3)), np.eye(2, 3)), "masked values, expected numbers"),
        (np.zeros((2, 3), object), "got an array of object"),
        (np.full((2, 3), "a"), "must be an array of real numbers"),
        (np.zeros((2, 3), complex), "got an array of complex128"),
        (np.zeros((2, 3), "M8[s]"), "must be an array of real numbers"),
        ("abc", "got str"),
        ([10**400] * 3, "got list"),
        ({}, "got dict"),
        (None, "got NoneType"),
    ],
)
def test_policies_take_real_numbers(observation, message):
    policy = elegans.Policy(elegans.LTC(3, 4))
    with pytest.raises(InputError, match=message):
        policy(observation)
    assert policy(np.ma.masked_array(np.zeros((2, 3)))).shape == (2, 4)  # nothing is masked


@pytest.mark.parametrize("elapsed", [10**400, -(10**400), True, "1", torch.ones(2), 1j, np.nan])
def test_policies_take_durations(elapsed):
    policy = elegans.Policy(elegans.LTC(3, 4))
    for _ in range(2):
        with pytest.raises(InputError, match="elapsed"):
            policy(np.zeros(3), elapsed)
        policy(np.zeros(3))
    for wrong in ("1", None, 10**400, [1], object()):
        with pytest.raises(InputError, match="elapsed_time must be a number or one a sample"):
            policy.model.cell(torch.zeros(2, 3), torch.zeros(2, 4), wrong)


def test_odd_arguments_of_a_policy():
    policy = elegans.Policy(elegans.LTC(3, 4))
    policy(np.zeros((2, 3)))
    odd = (torch.ones(2).to_sparse(), torch.ones(2, requires_grad=True), torch.ones(2).to("meta"))
    for where in odd:
        with pytest.raises(InputError, match="expected booleans"):
            policy.reset(where=where)
        with pytest.raises(InputError, match="expected the least and the greatest action"):
            elegans.Policy(policy.model, limits=(where, where))
    for batch in (True, 10**400, 1.5, "2"):
        with pytest.raises(InputError, match="batch must be a whole number"):
            policy.reset(batch)
    for state in (np.full((2, 4), "a"), np.zeros((2, 4), object)):
        with pytest.raises(InputError, match="state must be an array of real numbers"):
            policy.state = state
    assert policy.state.shape == (2, 4)


def test_the_meta_device_and_gradients_work_as_they_did(model):
    x = torch.zeros(2, 5, 3)
    output, _ = copy.deepcopy(model).to("meta")(x.to("meta"))
    assert output.is_meta
    assert output.shape == model(x)[0].shape
    with pytest.raises(InputError, match="input is on cpu, the layer is on meta; move one"):
        copy.deepcopy(model).to("meta")(x)
    leaf = x.clone().requires_grad_()
    model(leaf)[0].sum().backward()
    assert leaf.grad.shape == x.shape
    assert not elegans.Policy(model)(leaf[:, 0]).requires_grad
    exported = torch.export.export(model.eval(), (x,))
    torch.testing.assert_close(exported.module()(x)[0], model(x)[0])
