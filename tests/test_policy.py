"""Single steps equal the layer's sequence, whatever happens to the model in between."""

import copy
import pickle
import threading

import degenerate
import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.utils import parametrize, prune

import elegans
from elegans import LTC, Policy, PruneRewire
from elegans.data import Scale, Scales
from elegans.errors import InputError, SolveError
from elegans.wiring import AutoNCP

INPUTS, OUTPUTS, NEURONS, STEPS = 3, 2, 12, 7
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def circuit(seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return LTC(INPUTS, AutoNCP(NEURONS, OUTPUTS, seed=seed), generator=generator, **options)


def observations(*batch, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*batch, STEPS, INPUTS, generator=generator, dtype=dtype)


def drive(policy, x, elapsed=None):
    """Return the actions for x, shape (..., time, input)."""
    steps = range(x.shape[-2])
    return torch.stack(
        [policy(x[..., t, :], 1.0 if elapsed is None else elapsed[t]) for t in steps], dim=-2
    )


@torch.no_grad()
def run(model, x, hx=None, timespans=None):
    """Return the layer's outputs for x, (time, input) or (batch, time, input)."""
    model.return_sequences, model.batch_first = True, True
    return model(x, hx, timespans)


def has_kernel(policy):
    return policy._kernel is not None


FACTORS = {
    "batch": ((), (1,), (2,), (15,), (16,), (17,), (31,), (32,), (33,)),
    "recurrent": degenerate.SETS,
    "sensory": degenerate.SETS,
    "neurons": (1, 2, 17),
    "inputs": (1, INPUTS),
    "outputs": ("one", "all"),
    "slots": ("sorted", "mixed"),
    "elapsed": ("some 0", "all 0"),
    "unfolds": (1, 3),
    "solver": ("semi_implicit", "exponential", "rk4"),
    "dtype": tuple(TOLERANCE),
    "mapping": ("affine", "linear", None),
    "polarity": ("fixed", "free"),
    "positivity": ("softplus", "clip"),
}
CASES = degenerate.covering_array(**FACTORS)


def test_every_two_traits_meet():
    assert not degenerate.pairs_left_out(CASES, FACTORS)


@pytest.mark.parametrize("case", CASES, ids=degenerate.name_of)
def test_steps_equal_the_sequence(case):
    batch, inputs, dtype = (case[name] for name in ("batch", "inputs", "dtype"))
    traits = ("recurrent", "sensory", "neurons", "inputs", "outputs", "slots")
    model = LTC(
        inputs,
        degenerate.circuit(*(case[name] for name in traits)),
        solver=case["solver"],
        ode_unfolds=case["unfolds"],
        input_mapping=case["mapping"],
        output_mapping=case["mapping"],
        fixed_polarity=case["polarity"] == "fixed",
        implicit_param_constraints=case["positivity"] == "softplus",
        dtype=dtype,
    )
    x = torch.randn(*batch, 3, inputs, dtype=dtype)
    elapsed = torch.tensor([0.7, 0, 2.5]) * (case["elapsed"] == "some 0")
    policy = Policy(model)
    actions = drive(policy, x, elapsed.tolist())
    with elegans.backend("reference"):
        expected, state = run(model, x, timespans=elapsed.expand(*batch, 3).to(dtype))
    torch.testing.assert_close(actions, expected, rtol=0, atol=TOLERANCE[dtype])
    torch.testing.assert_close(policy.state, state, rtol=0, atol=TOLERANCE[dtype])
    assert has_kernel(policy) == (case["solver"] != "rk4" and batch != (33,))
    assert not actions.requires_grad
    assert actions.dtype == dtype


@pytest.mark.parametrize(
    "options",
    [
        {"mixed_memory": True},
        {"return_sequences": False},
        {"batch_first": False},
    ],
)
@pytest.mark.parametrize("batch", [(), (4,)])
def test_every_kind_of_layer(options, batch):
    model, x = circuit(**options), observations(*batch)
    actions = drive(Policy(model), x)
    torch.testing.assert_close(actions, run(model, x)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("path", ["reference", "fused"])
def test_the_path_of_execution_is_honoured(path):
    model, x = circuit(), observations()
    policy = Policy(model)
    drive(policy, x[:2])
    with elegans.backend(path):
        middle = drive(policy, x[2:4])
        assert has_kernel(policy) == (path == "fused")
    last = drive(policy, x[4:])
    assert has_kernel(policy)
    expected = run(model, x)[0]
    torch.testing.assert_close(torch.cat([middle, last]), expected[2:], rtol=0, atol=1e-5)
    with (
        elegans.backend("fused"),
        pytest.raises(InputError, match="no kernel for the solver 'rk4'"),
    ):
        Policy(circuit(solver="rk4"))(x[0])


def test_elapsed_times():
    model, x = circuit(), observations()
    elapsed = [0.05, 1, 0.0, 2.5, np.float32(0.3), 0, 1e-3]
    policy = Policy(model)
    actions = drive(policy, x, elapsed)
    expected, state = run(model, x, timespans=torch.tensor([float(dt) for dt in elapsed]))
    torch.testing.assert_close(actions, expected, rtol=0, atol=1e-5)
    before = policy.state
    policy(x[0], elapsed=0.0)
    assert torch.equal(policy.state, before)
    torch.testing.assert_close(before, state, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.bool_, ">f8"])
@pytest.mark.parametrize("dtype", [*TOLERANCE, torch.bfloat16])
def test_arrays_of_any_real_type(kind, dtype):
    model = circuit(dtype=dtype)
    x = (3 * observations()).numpy().astype(kind)
    policy = Policy(model)
    actions = np.stack([policy(one) for one in x])
    expected = run(model, torch.from_numpy(x.astype(np.float64)).to(dtype))[0]
    assert actions.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    np.testing.assert_allclose(actions, expected.double(), rtol=0, atol=TOLERANCE.get(dtype, 0.05))


def test_views_and_read_only_arrays():
    model, x = circuit(), observations().numpy()
    wide = np.zeros((STEPS, 2 * INPUTS), np.float32)
    wide[:, ::-2] = x
    wide.setflags(write=False)
    policies = Policy(model), Policy(model)
    for one, other in zip(x, wide[:, ::-2], strict=True):
        np.testing.assert_array_equal(policies[0](one), policies[1](other))


def test_actions_are_the_callers_own():
    """Without an output mapping an action might be a view of the state."""
    for options in ({}, {"solver": "rk4"}):
        model, x = circuit(output_mapping=None, **options), observations()
        policy = Policy(model)
        for one in x[:-1]:
            policy(one).fill_(7.0)
            policy.state.fill_(7.0)
        last = policy(x[-1])
        torch.testing.assert_close(last, run(model, x)[0][-1], rtol=0, atol=1e-5)


def test_reset():
    model, x = circuit(), observations()
    policy = Policy(model)
    assert torch.equal(policy.state, torch.zeros(NEURONS))
    first = drive(policy, x)
    middle = policy.state
    policy.reset()
    assert torch.equal(policy.state, torch.zeros(NEURONS))
    assert torch.equal(drive(policy, x), first)
    for state in (middle, middle.double().numpy()):
        policy.state = state
        middle[0] += 0.0  # the caller's, not the policy's
        actions = drive(policy, x)
        torch.testing.assert_close(actions, run(model, x, middle)[0], rtol=0, atol=1e-5)
    policy.reset()
    assert policy(torch.zeros(4, INPUTS)).shape == (4, OUTPUTS)
    assert policy.state.shape == (4, NEURONS)


def test_reset_for_a_batch():
    model, x = circuit(), observations(4)
    policy = Policy(model)
    drive(policy, x[0])
    policy.reset(batch=4)
    assert torch.equal(policy.state, torch.zeros(4, NEURONS))
    with pytest.raises(InputError, match=r"shape \(2, 3\), expected \(4, 3\) as before"):
        policy(x[:2, 0])
    torch.testing.assert_close(drive(policy, x), run(model, x)[0], rtol=0, atol=1e-5)
    for batch in (0, 2.0, policy.state):
        with pytest.raises(InputError, match=r"batch must be a whole number of at least 1, got"):
            policy.reset(batch)


@pytest.mark.parametrize("solver", ["semi_implicit", "rk4"])
@pytest.mark.parametrize("batch", [(), (4,)])
def test_scales_are_those_of_the_data(solver, batch):
    """Observations, actions and elapsed times are in its units; what is refused stays refused."""
    model, x = circuit(solver=solver), 3 + 5 * observations(*batch)
    inputs = Scale.standard([x.reshape(-1, INPUTS).numpy()])
    scales = Scales(inputs, Scale([100.0, -7.0], [20.0, 0.5]), elapsed=0.05)
    policy = Policy(model, scales)
    elapsed = [0.05, 0.1, 0.0, 0.02, 0.05, 0.05, 0.3]
    actions = np.stack([policy(x[..., t, :].numpy(), elapsed[t]) for t in range(STEPS)], -2)
    assert actions.dtype == np.float32
    spans = torch.tensor(elapsed).expand(x.shape[:-1]) / 0.05
    expected = scales.targets.invert(run(model, inputs.apply(x), timespans=spans)[0])
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)
    policy.reset()
    torch.testing.assert_close(
        drive(policy, x, elapsed), torch.from_numpy(actions), rtol=1e-5, atol=1e-5
    )
    policy.reset()
    usual = policy(x[..., 0, :])
    policy.reset()
    torch.testing.assert_close(policy(x[..., 0, :], 0.05), usual)
    before = policy.state
    for bad, said in (
        (np.full((*batch, INPUTS), np.nan), "observation holds nan"),
        (np.zeros((*batch, INPUTS), complex), "got an array of complex128"),
        (np.zeros(INPUTS + 1), "observation has shape"),
        (["0.0"] * INPUTS, "got list"),
    ):
        with pytest.raises(InputError, match=said):
            policy(bad)
    with pytest.raises(InputError, match="elapsed is nan"):
        policy(x[..., 0, :], float("nan"))
    assert torch.equal(policy.state, before)


def test_scales_of_another_layer_are_refused():
    scales = Scales(Scale(np.zeros(INPUTS), np.ones(INPUTS)), Scale([0.0], [1.0]))
    with pytest.raises(InputError, match="got scales of 3 inputs and 1 targets, expected 3 and 2"):
        Policy(circuit(), scales)


def test_reset_with_memory():
    model, x = circuit(mixed_memory=True), observations(2)
    policy = Policy(model)
    drive(policy, x)
    h, c = policy.state
    other = Policy(model)
    other.state = h, c
    assert torch.equal(drive(policy, x), drive(other, x))
    with pytest.raises(InputError, match=r"pair \(h, c\), got Tensor"):
        other.state = h


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (torch.zeros(3), r"shape \(3,\), expected \(12,\)"),
        (torch.full((NEURONS,), torch.nan), "state holds a value that is not finite"),
        ((torch.zeros(NEURONS),) * 2, "a tensor or an array, got Tensor and Tensor"),
        ("zeros", "got str"),
    ],
)
def test_a_bad_state_is_refused(state, said):
    policy = Policy(circuit())
    drive(policy, observations())
    before = policy.state
    with pytest.raises(InputError, match=said):
        policy.state = state
    assert torch.equal(policy.state, before)


class TestChangesAreNoticed:
    """The step after a change is that of the layer as it is then, from the same state."""

    @pytest.fixture(params=["semi_implicit", "rk4"])
    def model(self, request):
        return circuit(solver=request.param)

    def check(self, model, change, atol=1e-5):
        policy, x = Policy(model), observations()
        drive(policy, x[:3])
        without = copy.deepcopy(policy)(x[3])
        state = policy.state
        change(model)
        dtype = model.cell.dtype
        expected, after = run(model, x[3:].to(dtype), state.to(dtype))
        actions = drive(policy, x[3:].to(dtype))
        assert not torch.allclose(actions[0].to(without), without, atol=1e-6)
        torch.testing.assert_close(actions, expected, rtol=0, atol=atol)
        torch.testing.assert_close(policy.state, after, rtol=0, atol=atol)

    def test_an_optimiser_step(self, model):
        def change(model):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
            model(observations())[0].square().sum().backward()
            optimizer.step()

        self.check(model, change)

    def test_a_parameter_behind_autograds_back(self, model):
        def change(model):
            for parameter in model.parameters():
                parameter.data.mul_(1.1)

        self.check(model, change)

    @pytest.mark.parametrize("assign", [False, True])
    def test_load_state_dict(self, model, assign):
        other = circuit(seed=0, initialization="ncps").state_dict()
        self.check(model, lambda model: model.load_state_dict(other, assign=assign))

    def test_rewiring(self, model):
        def change(model):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
            rewirer = PruneRewire(model, optimizer, threshold=0.5, weight=0.5, every=1)
            before = model.wiring
            model(observations())[0].sum().backward()
            rewirer.step()
            assert model.wiring != before

        self.check(model, change)

    def test_polarity(self, model):
        self.check(model, lambda model: model.cell.recurrent.polarity.neg_())

    def test_precision(self, model):
        def change(model):
            model.double()
            with torch.no_grad():
                model.cell.vleak.add_(0.5)

        self.check(model, change, atol=1e-10)

    def test_settings_of_the_cell(self, model):
        def change(model):
            model.cell.ode_unfolds, model.cell.epsilon = 1, 0.5

        self.check(model, change)

    def test_another_solver(self, model):
        def change(model):
            model.cell.solver = elegans.solvers.get_solver("exponential")
            model.cell.ode_unfolds = 1

        self.check(model, change)

    def test_another_cell(self, model):
        def change(model):
            model.cell = circuit(seed=0, initialization="ncps").cell

        self.check(model, change)

    def test_masks(self, model):
        self.check(
            model, lambda model: prune.random_unstructured(model.cell.recurrent, "weight", 20)
        )

    def test_parametrizations(self, model):
        class Twice(torch.nn.Module):
            def forward(self, value):
                return 2 * value

        self.check(
            model,
            lambda model: parametrize.register_parametrization(
                model.cell.input_mapping, "weight", Twice()
            ),
        )

    @pytest.mark.parametrize("part", ["", "cell.sensory", "cell.output_mapping"])
    def test_hooks(self, model, part):
        def hook(module, arguments, result):
            if part == "cell.sensory":
                return result._replace(weight=2 * result.weight)
            return (result[0] + 1, *result[1:]) if part == "" else result + 1

        self.check(model, lambda model: model.get_submodule(part).register_forward_hook(hook))

    def test_hooks_of_every_module(self, model):
        handles = []

        def hook(module, arguments, result):
            return result + 1 if module is model.cell.output_mapping else None

        def change(model):
            handles.append(torch.nn.modules.module.register_module_forward_hook(hook))

        try:
            self.check(model, change)
        finally:
            handles[0].remove()


def test_an_overridden_layer_takes_part():
    class Louder(LTC):
        def forward(self, *arguments, **options):
            output, state = super().forward(*arguments, **options)
            return 2 * output, state

    model, x = Louder(INPUTS, AutoNCP(NEURONS, OUTPUTS)), observations()
    policy = Policy(model)
    torch.testing.assert_close(drive(policy, x), run(model, x)[0], rtol=0, atol=1e-5)


def test_threads():
    model = circuit()
    x = torch.randn(2, 400, INPUTS)
    expected = [drive(Policy(model), one) for one in x]
    policies = [Policy(model) for _ in x]
    found = [None, None]

    def work(k):
        found[k] = drive(policies[k], x[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("options", [{}, {"solver": "rk4"}, {"mixed_memory": True}])
class TestBadInput:
    """Whatever is refused, the state is as it was."""

    @pytest.mark.parametrize(
        ("observation", "said"),
        [
            (np.array([0, np.nan, 0]), "holds nan at feature 1, expected finite numbers"),
            (torch.tensor([0, 0, torch.inf]), "holds inf at feature 2"),
            (np.array([1e300, 0, 0]), r"holds 1e\+300 at feature 0, .* in torch.float32"),
            (np.zeros(2), r"shape \(2,\), expected \(3,\), or \(batch, 3\)"),
            (np.zeros((1, 1, 3)), r"shape \(1, 1, 3\), expected \(3,\)"),
            (np.float64(1), r"shape \(\), expected \(3,\)"),
            (None, "got NoneType"),
            ([[0.0, 0.0, 0.0], [0.0]], "got list"),
            (np.zeros((2, 3)), r"shape \(2, 3\), expected \(3,\) as before; call reset\(\)"),
            (np.zeros(3, complex), "real numbers, a list or a tensor, got an array of complex128"),
            (np.array(["a", "b", "c"]), "got an array of <U1"),
            (["a", "b", "c"], r"got list; convert it, as by np.asarray"),
            (torch.zeros(3, dtype=torch.complex64), "observation is torch.complex64, the layer"),
        ],
    )
    def test_observations(self, options, observation, said):
        policy = Policy(circuit(**options))
        drive(policy, observations())
        self.refuses(policy, said, observation)

    @pytest.mark.parametrize(
        ("elapsed", "said"),
        [
            (-0.1, r"elapsed is -0\.1, expected a finite number of at least 0"),
            (float("nan"), "elapsed is nan"),
            (float("inf"), "elapsed is inf"),
            (1e300, r"elapsed is 1e\+300, .* in torch.float32"),
            ("1", "elapsed must be a number, got str"),
            (torch.ones(3), "elapsed must be a number, got Tensor"),
        ],
    )
    def test_elapsed_times(self, options, elapsed, said):
        policy = Policy(circuit(**options))
        drive(policy, observations())
        self.refuses(policy, said, np.zeros(3), elapsed)

    def test_in_a_batch(self, options):
        policy = Policy(circuit(**options))
        drive(policy, observations(4))
        x = np.zeros((4, 3))
        x[2, 1] = np.nan
        self.refuses(policy, "holds nan at batch 2, feature 1", x)
        self.refuses(policy, r"expected \(4, 3\) as before", x[:3])

    def test_a_state_that_leaves_the_finite_numbers(self, options):
        model = circuit(**options)
        policy = Policy(model)
        drive(policy, observations())
        with torch.no_grad():
            model.cell.vleak[3] = torch.inf
        self.refuses(policy, r"got nan at time 1 .* neuron '\w+'", np.zeros(3), error=SolveError)

    def test_at_the_first_call(self, options):
        policy = Policy(circuit(**options))
        with pytest.raises(InputError):
            policy(np.full((2, 3), np.nan))
        assert policy(np.zeros(3)).shape == (OUTPUTS,)

    def refuses(self, policy, said, *arguments, error=InputError):
        before = copy.deepcopy(policy.state)
        for _ in range(2):
            with pytest.raises(error, match=said):
                policy(*arguments)
            now = policy.state
            if policy.model.memory is None:
                before, now = (before,), (now,)
            assert all(map(torch.equal, before, now))
            before = before[0] if policy.model.memory is None else before


def test_only_layers():
    with pytest.raises(InputError, match="got LTCCell, expected a layer"):
        Policy(circuit().cell)


@pytest.mark.parametrize("options", [{}, {"mixed_memory": True}])
def test_copies(options):
    model, x = circuit(**options), observations()
    policy = Policy(model)
    drive(policy, x[:4])
    copies = copy.copy(policy), copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))
    assert [one.model is model for one in copies] == [True, False, False]
    expected = drive(policy, x[4:])
    for one in copies:
        assert torch.equal(drive(one, x[4:]), expected)


def test_inference_mode():
    with torch.inference_mode():
        model, x = circuit(), observations()
        expected = run(model, x)[0]
        policy = Policy(model)
        first = drive(policy, x[:3])
    rest = drive(policy, x[3:])
    torch.testing.assert_close(torch.cat([first, rest]), expected, rtol=0, atol=1e-5)
    outer = Policy(circuit())
    with torch.inference_mode():
        drive(outer, x[:3])
    outer(x[3].clone().requires_grad_())


def test_autocast():
    model, x = circuit(), observations()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actions = drive(Policy(model), x.bfloat16())
    expected = run(model, x.bfloat16().float())[0]
    torch.testing.assert_close(actions, expected, rtol=0, atol=1e-5)


def test_a_policy_sees_that_a_synapse_is_pruned_or_comes_back():
    model, x = circuit(), observations()
    policy = Policy(model)
    policy(x[0])
    assert has_kernel(policy)
    for open_count in (4, len(model.cell.recurrent)):
        model.cell.recurrent.set_mask(torch.arange(len(model.cell.recurrent)) < open_count)
        expected = run(model, x, policy.state.clone())[0]
        torch.testing.assert_close(drive(policy, x), expected, rtol=0, atol=1e-5)


def test_lists_and_pandas_are_observations():
    x = observations(2)[:, 0].double().numpy()
    policy = Policy(circuit())
    expected = policy(x[0])
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    for given in (
        x[0].tolist(),
        tuple(x[0]),
        frame.iloc[0],
        frame.astype(object).iloc[0].astype(float),
    ):
        policy.reset()
        np.testing.assert_array_equal(policy(given), expected)
    policy.reset()
    both = policy(frame)
    policy.reset()
    np.testing.assert_array_equal(policy(x), both)


@pytest.mark.parametrize("kind", ["array", "tensor"])
@pytest.mark.parametrize("scaled", [False, True])
def test_actions_are_clipped_to_their_limits(kind, scaled):
    x = observations(4)[:, 0]
    scales = Scales(Scale(np.zeros(3), np.ones(3)), Scale([0.0, 5.0], [10.0, 10.0]))
    given = x if kind == "tensor" else x.numpy()
    free = Policy(circuit(), scales if scaled else None)(given)
    low, high = float(free.min()) + 0.01, [float(free.max()) - 0.01, 100.0]
    policy = Policy(circuit(), scales if scaled else None, limits=(low, high))
    clipped = policy(given)
    assert (type(clipped), clipped.dtype) == (type(free), free.dtype)
    np.testing.assert_array_equal(
        np.asarray(clipped), np.clip(np.asarray(free), np.float32(low), np.float32(high))
    )
    assert (np.asarray(clipped) != np.asarray(free)).any()
    for limits in ((1, -1), (0, [1, 2, 3]), (0, float("nan")), 3):
        with pytest.raises(InputError, match=r"got limits .*the lower first"):
            Policy(circuit(), limits=limits)


@pytest.mark.parametrize("options", [{}, {"mixed_memory": True}, {"solver": "rk4"}])
def test_episodes_of_a_batch_begin_again_by_themselves(options):
    x = observations(3)
    policy, fresh = Policy(circuit(**options)), Policy(circuit(**options))
    policy.reset(where=[True, False, True])  # nothing was seen
    for t in range(3):
        policy(x[:, t])
    before = policy(x[:, 3])
    policy.reset(where=np.zeros(3, bool))
    again = Policy(circuit(**options))
    again.state = policy.state
    policy.reset(where=np.array([False, True, False]))
    after, expected = policy(x[:, 4]), again(x[:, 4])
    torch.testing.assert_close(after[[0, 2]], expected[[0, 2]])
    torch.testing.assert_close(after[1], fresh(x[1:2, 4])[0])
    assert before.shape == after.shape
    for where in ([True], np.array([1, 0, 1]), [[True, False, True]]):
        with pytest.raises(
            InputError, match=r"got where of shape .*expected booleans of the shape"
        ):
            policy.reset(where=where)
