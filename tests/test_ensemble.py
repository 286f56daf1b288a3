"""Ensembles as modules: stacking and taking apart, masks, refusals, what optimisers need."""

import copy
import io
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from elegans.ensemble import Ensemble, member_losses, member_rates
from elegans.errors import InputError


def perceptron(seed=0, hidden=5):
    return nn.Sequential(nn.Linear(3, hidden), nn.Tanh(), nn.Linear(hidden, 2))


def ensemble_of(count=4, **options):
    return Ensemble.of(perceptron, range(count), **options)


def same(a, b):
    mine, other = a.state_dict(), b.state_dict()
    assert list(mine) == list(other)
    return all(torch.equal(mine[name], other[name]) for name in mine)


# --- stacking ----------------------------------------------------------------------------------


def test_parameters_are_stacked_under_their_names():
    members = [perceptron() for _ in range(4)]
    ensemble = Ensemble(members)
    names = [f"stacked.{name}" for name, _ in members[0].named_parameters()]
    assert [name for name, _ in ensemble.named_parameters()] == names
    weight = ensemble.stacked.get_parameter("0.weight")
    assert weight.shape == (4, 5, 3)
    assert torch.equal(weight[2], members[2][0].weight)
    assert list(ensemble.prunable_weights()) == ["0.weight", "2.weight"]
    assert ensemble.prunable_weights()["0.weight"] is weight


def test_members_come_back_as_copies():
    members = [perceptron() for _ in range(3)]
    ensemble = Ensemble(members)
    assert len(ensemble) == 3
    assert all(same(a, b) for a, b in zip(ensemble, members, strict=True))
    taken = ensemble.member(-1)
    assert same(taken, members[2])
    with torch.no_grad():
        taken[0].weight.zero_()
    assert same(ensemble.member(2), members[2])
    with pytest.raises(InputError, match="there is no member 3, expected -3 to 2"):
        ensemble.member(3)


def test_seeds_make_members_and_leave_the_generator_alone():
    before = torch.random.get_rng_state()
    ensemble = ensemble_of(3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(ensemble.member(2), perceptron())
    assert not same(ensemble.member(0), ensemble.member(1))


def test_the_state_travels():
    a, b = ensemble_of(3), Ensemble.of(perceptron, range(10, 13))
    x = torch.randn(9, 3)
    assert not torch.equal(a(x), b(x))
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(x), b(x))
    file = io.BytesIO()
    torch.save(a, file)
    file.seek(0)
    for other in (copy.deepcopy(a), torch.load(file, weights_only=False)):
        assert torch.equal(other(x), a(x))
        with torch.no_grad():
            next(other.parameters()).zero_()
        assert torch.equal(b(x), a(x))


def test_precision_follows():
    ensemble = ensemble_of().double()
    assert ensemble(torch.randn(9, 3, dtype=torch.float64)).dtype == torch.float64
    assert ensemble.member(0)[0].weight.dtype == torch.float64


# --- masks -------------------------------------------------------------------------------------


def masked(seed):
    module = perceptron()
    if seed:  # one without
        mask = torch.rand(5, 3) < 0.5
        module[0].register_buffer("weight_mask", mask, persistent=False)
        with torch.no_grad():
            module[0].weight.mul_(mask)
    return module


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("copied", [False, True])
def test_masked_weights_stay_zero(general, copied):
    members = [masked(seed) for seed in range(3)]
    ensemble = Ensemble(members, general=general)
    if copied:
        ensemble = copy.deepcopy(ensemble)
    mask = ensemble.stacked.get_buffer("0.weight_mask")
    assert mask[0].all()
    assert torch.equal(mask[1], members[1][0].weight_mask)
    assert "stacked.0.weight_mask" not in ensemble.state_dict()
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        ensemble.losses(torch.randn(9, 3), torch.randn(9, 2)).sum().backward()
        optimizer.step()
    weight = ensemble.stacked.get_parameter("0.weight")
    assert bool((weight[~mask] == 0).all())
    assert bool((weight[mask] != 0).all())
    assert torch.equal(ensemble.member(1)[0].weight_mask, members[1][0].weight_mask)


# --- refusals ----------------------------------------------------------------------------------


def test_members_must_be_alike():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

    frozen = perceptron()
    frozen[2].bias.requires_grad_(False)
    for members, message in (
        ([], "needs at least one member, got none"),
        ([nn.Tanh()], "Tanh has neither parameters nor buffers"),
        ([perceptron(), 3], "member 1 is int, expected a torch.nn.Module"),
        ([Tied()], "uses one parameter as a.weight and as b.weight; tied"),
        ([nn.LazyLinear(2)], "weight of member 0 has no shape yet"),
        ([perceptron(), perceptron(hidden=6)], r"is 6 in member 1 and 5 in member 0"),
        ([perceptron(), perceptron().double()], "of torch.float64 on cpu in member 1"),
        ([perceptron(), frozen], r"2.bias is \(2,\) of torch.float32 on cpu, frozen in member 1"),
        ([perceptron(), nn.Linear(3, 2)], "member 1 is built otherwise than member 0"),
        ([nn.Linear(3, 2), nn.Linear(3, 2, bias=False)], "bias is missing in member 1"),
        (
            [nn.BatchNorm1d(2), nn.BatchNorm2d(2)],
            "the module is BatchNorm2d in member 1 and BatchNorm1d in",
        ),
        (
            [nn.BatchNorm1d(2), nn.BatchNorm1d(2, eps=0.1)],
            "eps of the module is 0.1 in member 1 and",
        ),
        ([perceptron(), perceptron().eval()], "training of the module is False in member 1"),
    ):
        with pytest.raises(InputError, match=message):
            Ensemble(members)


def test_own_data_is_checked():
    ensemble = ensemble_of()
    with pytest.raises(InputError, match=r"each of the 4 members, got \(9, 3\), expected a tensor"):
        ensemble(torch.randn(9, 3), own_data=True)
    with pytest.raises(InputError, match="own_data says something of 2 inputs, got 1"):
        ensemble(torch.randn(9, 3), own_data=(True, False))
    with pytest.raises(InputError, match=r"takes \(\.\.\., 3\), got shape \(9, 4\)"):
        ensemble(torch.randn(9, 4))
    with pytest.raises(InputError, match=r"expected a number; reduce it over the batch"):
        ensemble.losses(torch.randn(9, 3), torch.randn(9, 2), nn.MSELoss(reduction="none"))


def test_an_operator_that_vmap_does_not_know():
    ensemble = Ensemble.of(lambda seed: nn.GRU(3, 4), range(2))
    with pytest.raises(InputError, match=r"GRU uses an operator that torch\.func\.vmap cannot run"):
        ensemble(torch.randn(5, 6, 3))


# --- losses, clipping, rates -------------------------------------------------------------------


def test_losses_are_those_of_the_members():
    ensemble = ensemble_of()
    x, y = torch.randn(9, 3), torch.randint(2, (9,))
    losses = ensemble.losses(x, y, nn.functional.cross_entropy)
    each = [nn.functional.cross_entropy(member(x), y) for member in ensemble]
    torch.testing.assert_close(losses, torch.stack(each))
    own = torch.stack([x, 2 * x, 3 * x, 4 * x]), torch.randint(2, (4, 9))
    losses = ensemble.losses(*own, nn.functional.cross_entropy, own_data=True)
    each = [nn.functional.cross_entropy(m(a), b) for m, a, b in zip(ensemble, *own, strict=True)]
    torch.testing.assert_close(losses, torch.stack(each))
    losses = member_losses(ensemble(own[0], own_data=True), y, nn.functional.cross_entropy)
    each = [nn.functional.cross_entropy(m(a), y) for m, a in zip(ensemble, own[0], strict=True)]
    torch.testing.assert_close(losses, torch.stack(each))


def test_clipping_is_by_member():
    ensemble = ensemble_of()
    members = list(ensemble)
    x, y = torch.randn(9, 3), torch.randn(9, 2)
    scale = torch.tensor([1e-3, 0.1, 10.0, 100.0])
    (scale * ensemble.losses(x, y)).sum().backward()
    norms = ensemble.clip_grad_norm_(0.05)
    for k, member in enumerate(members):
        (scale[k] * nn.functional.mse_loss(member(x), y)).backward()
        norm = nn.utils.clip_grad_norm_(member.parameters(), 0.05)
        torch.testing.assert_close(norms[k], norm)
        for mine, other in zip(ensemble.parameters(), member.parameters(), strict=True):
            torch.testing.assert_close(mine.grad[k], other.grad)
    assert norms[0] < 0.05 < norms[3]


class Scaled(nn.Module):
    """A line with a factor, which has no axes."""

    def __init__(self):
        super().__init__()
        self.line, self.factor = nn.Linear(3, 2), nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.factor * self.line(x)


def test_gradients_of_single_numbers_are_clipped():
    ensemble = Ensemble(Scaled() for _ in range(3))
    ensemble.losses(torch.ones(4, 3), torch.full((4, 2), 50.0)).sum().backward()
    assert (ensemble.clip_grad_norm_(0.5) > 0.5).all()
    for k in range(3):
        parts = [p.grad[k].reshape(-1) for p in ensemble.parameters()]
        torch.testing.assert_close(torch.cat(parts).norm(), torch.tensor(0.5))


def test_masked_weights_have_no_gradient_where_the_loss_overflows():
    ensemble = Ensemble(masked(seed) for seed in (1, 2))
    losses = ensemble.losses(torch.full((4, 3), 1e30), torch.full((4, 2), torch.inf))
    losses.sum().backward()
    gradient = ensemble.stacked.get_parameter("0.weight").grad
    mask = ensemble.stacked.get_buffer("0.weight_mask")
    assert not torch.isfinite(gradient[mask]).all()
    assert (gradient[~mask] == 0).all()


def test_rates_are_by_member():
    rates = [1.0, 0.1, 0.0, 2.0]
    ensemble = ensemble_of().double()
    members = list(ensemble)
    x, y = torch.randn(9, 3).double(), torch.randn(9, 2).double()
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=0.01, weight_decay=0.1)
    remove = member_rates(optimizer, ensemble, rates)
    own = [
        torch.optim.Adam(m.parameters(), lr=0.01 * rate, weight_decay=0.1)
        for m, rate in zip(members, rates, strict=True)
    ]
    for _ in range(10):
        optimizer.zero_grad()
        ensemble.losses(x, y).sum().backward()
        optimizer.step()
        for member, one in zip(members, own, strict=True):
            one.zero_grad()
            nn.functional.mse_loss(member(x), y).backward()
            one.step()
    for mine, *others in zip(
        ensemble.parameters(), *(m.parameters() for m in members), strict=True
    ):
        torch.testing.assert_close(mine, torch.stack(others), atol=1e-12, rtol=0)
    remove()
    before = ensemble.stacked.get_parameter("0.weight")[2].clone()
    optimizer.step()
    assert not torch.equal(ensemble.stacked.get_parameter("0.weight")[2], before)
    with pytest.raises(InputError, match="one finite number >= 0 for each of the 4 members"):
        member_rates(optimizer, ensemble, [1.0, -1.0, 1.0, 1.0])


# --- modules besides chains --------------------------------------------------------------------


def test_dropout_differs_between_members_and_rests_in_evaluation():
    member = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 30), nn.Tanh(), nn.Linear(30, 2))
    ensemble = Ensemble([member] * 3)
    x = torch.randn(9, 3)
    a, b, _ = ensemble(x)
    assert not torch.equal(a, b)
    ensemble.eval()
    assert not ensemble.member(0).training
    expected = ensemble.member(0).eval()(x)
    for output in ensemble(x):
        torch.testing.assert_close(output, expected)


def test_batch_norm_keeps_statistics_of_each_member():
    members = [
        nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        for _ in range(3)
    ]
    ensemble = Ensemble(members)
    for _ in range(3):
        x = torch.randn(9, 3)
        output = ensemble(x)
        for k, member in enumerate(members):
            torch.testing.assert_close(output[k], member(x))
    for k, member in enumerate(members):
        for name, buffer in member.named_buffers():
            torch.testing.assert_close(ensemble.member(k).get_buffer(name), buffer)
    ensemble.eval()
    torch.testing.assert_close(ensemble(x)[1], members[1].eval()(x))


class Branches(nn.Module):
    """Not a chain: a residual block, with an option and two results."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x, other, *, sign=1):
        h = x + sign * torch.tanh(self.first(other))
        return self.second(h), h


def test_any_module_by_vmap():
    members = [Branches() for _ in range(3)]
    ensemble = Ensemble(members)
    x, other = torch.randn(9, 3), torch.randn(3, 9, 3)
    output, hidden = ensemble(x, other, own_data=(False, True), sign=-1)
    output.square().sum().backward()
    for k, member in enumerate(members):
        expected, h = member(x, other[k], sign=-1)
        expected.square().sum().backward()
        torch.testing.assert_close(output[k], expected)
        torch.testing.assert_close(hidden[k], h)
        for mine, alone in zip(ensemble.parameters(), member.parameters(), strict=True):
            torch.testing.assert_close(mine.grad[k], alone.grad)


def test_convolutions_by_vmap():
    ensemble = Ensemble.of(
        lambda seed: nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)),
        range(3),
    )
    x = torch.randn(5, 1, 8)
    for k, member in enumerate(ensemble):
        torch.testing.assert_close(ensemble(x)[k], member(x))
    assert list(ensemble.prunable_weights()) == ["0.weight", "3.weight"]


@pytest.mark.slow
def test_the_guide_runs():
    text = (Path(__file__).parent.parent / "docs" / "ensembles.md").read_text()
    names: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(compile(block, "ensembles.md", "exec"), names)
    assert len(names["ensemble"]) == 400
    assert names["losses"].shape == (400,)
    assert names["output"].shape == (10, 32, 16, 4)
    assert names["state"].shape == (10, 32, 19)
