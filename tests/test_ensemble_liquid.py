"""Many liquid layers as one circuit: equal to each of them alone."""

import copy

import pytest
import torch
from degenerate import SETS, circuit, covering_array, name_of, pairs_left_out

import elegans
from elegans.ensemble import Ensemble
from elegans.ensemble.computation import General
from elegans.ensemble.joined import Joined
from elegans.errors import InputError, SolveError
from elegans.wiring import AutoNCP

# Kernels and reference agree to 1e-10 in float64 (the bound of docs/kernels.md).
CLOSE = {"atol": 1e-10, "rtol": 1e-10}

FACTORS = {
    "batch": (1, 2, 3, 16, 17, 33),
    "recurrent": SETS,
    "sensory": SETS,
    "others": ("none", "scattered", "all pairs"),
    "members": (1, 3),
    "neurons": (1, 2, 5),
    "inputs": (1, 3),
    "outputs": ("one", "all"),
    "slots": ("sorted", "mixed"),
    "own": (False, True),
    "lengths": ("full", "ragged"),
    "elapsed": ("ones", "some 0", "all 0"),
    "solver": ("semi_implicit", "exponential"),
    "dtype": (torch.float32, torch.float64),
    "mapping": ("affine", "linear", None),
    "polarity": ("fixed", "free"),
    "positivity": ("softplus", "clip"),
    "returns": ("all", "last"),
    "path": ("fused", "reference"),
}
CASES = covering_array(**FACTORS)


def layer(seed, **options):
    return elegans.LTC(3, AutoNCP(10, 3, seed=seed), dtype=torch.float64, **options)


def compare(ensemble, members, *inputs, own=False, path="auto", alone="auto", **options):
    """Check outputs, states and all gradients against the members one by one, on path `alone`."""
    leaves = [given.clone().requires_grad_() for given in inputs]
    with elegans.backend(path):
        results = ensemble(*leaves, own_data=(own, *[False] * len(inputs[1:])), **options)
        ensemble.zero_grad()
        sum(result.square().sum() for result in results).backward()
    gradients = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    with elegans.backend(alone):
        for k, member in enumerate(members):
            x, *others = leaves
            given = [x[k] if own else x, *(hx[k] for hx in others[:1]), *others[1:]]
            expected = member(*given, **options)
            for mine, other in zip(results, expected, strict=True):
                assert_close(mine[k], other)
            member.zero_grad()
            sum(result.square().sum() for result in expected).backward()
            for name, parameter in member.named_parameters():
                found = ensemble.stacked.get_parameter(name).grad[k]
                assert_close(found[: len(parameter)], parameter.grad)
                assert not found[len(parameter) :].any()
    for leaf, gradient in zip(leaves, gradients, strict=True):
        assert_close(gradient, leaf.grad)


def assert_close(found, expected):
    bounds = CLOSE
    if found.dtype == torch.float32 and found.numel():
        bounds = {"atol": 1e-5 * max(1.0, expected.detach().abs().max().item()), "rtol": 0}
    torch.testing.assert_close(found, expected, **bounds)


def test_every_two_traits_meet():
    assert not pairs_left_out(CASES, FACTORS)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_equal_to_one_by_one(case):
    """Wirings differ, and so do the numbers of synapses."""
    batch, inputs, neurons, count = (case[n] for n in ("batch", "inputs", "neurons", "members"))
    shape = neurons, inputs, case["outputs"], case["slots"]
    wirings = [circuit(case["recurrent"], case["sensory"], *shape)]
    wirings += [circuit(case["others"], case["others"], *shape)] * (count - 1)
    members = [
        elegans.LTC(
            inputs,
            wiring,
            case["returns"] == "all",
            input_mapping=case["mapping"],
            output_mapping=case["mapping"],
            implicit_param_constraints=case["positivity"] == "softplus",
            fixed_polarity=case["polarity"] == "fixed",
            solver=case["solver"],
            ode_unfolds=2,
            epsilon=0.1,
            dtype=case["dtype"],
        )
        for wiring in wirings
    ]
    ensemble = Ensemble(members)
    assert isinstance(ensemble._computation, Joined)
    own, options = case["own"], {"return_states": True}
    x = torch.randn(*([count] if own else []), batch, 3, inputs, dtype=case["dtype"])
    given = [x]
    if case["elapsed"] != "ones":
        open_ = (torch.arange(3 * batch) % 3 > 0) & (case["elapsed"] == "some 0")
        timespans = 2 * torch.rand(batch, 3, dtype=case["dtype"]) * open_.view(batch, 3)
        given += [torch.randn(count, batch, neurons, dtype=case["dtype"]), timespans]
    if case["lengths"] == "ragged":
        options["lengths"] = torch.arange(batch) % 4
    compare(ensemble, members, *given, own=own, path=case["path"], alone="reference", **options)


def test_layouts():
    members = [layer(seed, batch_first=False) for seed in range(3)]
    ensemble = Ensemble(members)
    compare(ensemble, members, torch.randn(4, 5, 3, dtype=torch.float64))  # (time, batch, input)
    compare(ensemble, members, torch.randn(3, 4, 5, 3, dtype=torch.float64), own=True)
    compare(ensemble, members, torch.randn(6, 3, dtype=torch.float64))  # one sequence
    hx = torch.randn(3, 10, dtype=torch.float64)
    compare(ensemble, members, torch.randn(6, 3, dtype=torch.float64), hx)


def test_the_general_way_agrees():
    members = [layer(seed) for seed in range(3)]
    general = Ensemble(members, general=True)
    assert isinstance(general._computation, General)
    compare(general, members, torch.randn(5, 4, 3, dtype=torch.float64))
    for options in ({"mixed_memory": True}, {"solver": "rk4"}):
        others = [layer(seed, **options) for seed in range(2)]
        ensemble = Ensemble(others)
        assert isinstance(ensemble._computation, General)
        x = torch.randn(5, 4, 3, dtype=torch.float64)
        for k, member in enumerate(others):
            torch.testing.assert_close(ensemble(x)[0][k], member(x)[0], **CLOSE)


def test_members_keep_their_circuits():
    members = [layer(seed) for seed in range(4)]
    for mine, member in zip(Ensemble(members), members, strict=True):
        assert mine.wiring == member.wiring
        assert mine.synapse_count == member.synapse_count
        x = torch.randn(2, 5, 3, dtype=torch.float64)
        assert torch.equal(mine(x)[0], member(x)[0])
        assert list(mine.state_dict()) == list(member.state_dict())
    loaded = Ensemble([layer(seed) for seed in (3, 1, 2, 0)])
    loaded.load_state_dict(Ensemble(members).state_dict())
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(loaded(x)[0][0], members[0](x)[0], **CLOSE)


def test_closed_synapses():
    members = [layer(0) for _ in range(3)]
    for k in (1, 2):
        synapses = members[k].cell.recurrent
        synapses.set_mask(torch.rand(len(synapses)) < 0.5)
    ensemble = Ensemble(members)
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    compare(ensemble, members, x)
    assert ensemble.member(1).wiring == members[1].wiring
    assert list(ensemble.prunable_weights()) == ["cell.recurrent.weight", "cell.sensory.weight"]
    mask = ensemble.stacked.get_buffer("cell.recurrent.mask")
    assert mask[0].all()
    mask[0, :3] = False  # an edit takes effect
    taken = ensemble.member(0)
    assert taken.synapse_count == members[0].synapse_count - 3
    torch.testing.assert_close(ensemble(x)[0][0], taken(x)[0], **CLOSE)


def test_edits_and_copies():
    members = [layer(seed) for seed in range(2)]
    ensemble = Ensemble(members)
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    before = ensemble(x)[0].detach()
    other = copy.deepcopy(ensemble)
    with torch.no_grad():
        other.stacked.get_buffer("cell.recurrent.source")[0] = 0
    other.stacked.get_submodule("cell.recurrent").accept_connections()
    assert torch.equal(ensemble(x)[0], before)
    assert not torch.equal(other(x)[0][0], before[0])
    torch.testing.assert_close(other(x)[0][0], other.member(0)(x)[0], **CLOSE)
    assert torch.equal(other(x)[0][1], before[1])


@pytest.mark.slow
def test_training_equals_training_alone():
    members = [layer(seed) for seed in range(3)]
    ensemble = Ensemble(members)
    joint = torch.optim.Adam(ensemble.parameters(), lr=1e-2)
    alone = [torch.optim.Adam(m.parameters(), lr=1e-2) for m in members]
    data = torch.randn(50, 4, 5, 6, dtype=torch.float64)
    for x, y in zip(data[..., :3], data[..., 3:], strict=True):
        joint.zero_grad()
        ensemble.losses(x, y).sum().backward()
        joint.step()
        for member, own in zip(members, alone, strict=True):
            own.zero_grad()
            (member(x)[0] - y).square().mean().backward()
            own.step()
    for mine, member in zip(ensemble, members, strict=True):
        for a, b in zip(mine.parameters(), member.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


def test_constraints():
    members = [layer(seed, implicit_param_constraints=False) for seed in range(2)]
    ensemble = Ensemble(members)
    with torch.no_grad():
        for name in ("gleak", "cm", "recurrent.weight", "sensory.weight"):
            ensemble.stacked.get_parameter(f"cell.{name}").sub_(1.0)
    ensemble.apply_weight_constraints()
    for name, least in (("gleak", 0), ("cm", 1e-6), ("recurrent.weight", 0), ("sensory.weight", 0)):
        assert ensemble.stacked.get_parameter(f"cell.{name}").min().item() == pytest.approx(least)


def test_refusals():
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    ensemble = Ensemble([layer(0), layer(1)])
    others = [elegans.LTC(3, AutoNCP(10, outputs)) for outputs in (2, 3)]
    with pytest.raises(
        InputError, match=r"member 1 has layers of \[3, .* neurons, member 0 of \[2,"
    ):
        Ensemble(others)
    with pytest.raises(InputError, match=r"ode_unfolds of module 'cell' is 2 in member 1"):
        Ensemble([layer(0), layer(0, ode_unfolds=2)])
    with pytest.raises(InputError, match=r"input has shape \(5, 4, 2\), expected \(batch, time"):
        ensemble(x[..., :2])
    with pytest.raises(InputError, match=r"hx has shape \(5, 10\), expected \(2, batch, 10\)"):
        ensemble(x, torch.zeros(5, 10, dtype=torch.float64))
    with pytest.raises(InputError, match="timespans have a member axis"):
        ensemble(x, None, torch.ones(2, 5, 4), own_data=(False, False, True))
    with torch.no_grad():
        ensemble.stacked.get_parameter("cell.vleak")[1] = torch.inf
    with pytest.raises(SolveError, match="neuron 'motor_0 of member 1'"):
        ensemble(x)
