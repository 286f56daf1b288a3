"""Sequences in chunks and by Newton's method, against the loop over time."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import SEEDS, model_of, random_network

import elegans
from elegans.errors import InputError, SolveError
from elegans.parallel import ChunksInTime, NewtonInTime, parallel_in_time
from elegans.proofs import certify
from elegans.proofs.certificates.network import SynapseNumbers
from elegans.solvers.parallel import linear_scan, loop, solve
from elegans.wiring import AutoNCP, FullyConnected

RANGE = (-1.0, 1.0)


def layer(**options):
    wiring = AutoNCP(12, 2, sparsity_level=0.8, seed=1)
    generator = torch.Generator().manual_seed(0)
    return elegans.LTC(4, wiring, generator=generator, dtype=torch.float64, **options)


def sequences(batch, time, inputs=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(batch, time, inputs, generator=generator, dtype=torch.float64) - 1


@pytest.fixture(scope="module")
def certified():
    model = layer()
    return model, certify(model, RANGE)


# --- chunks ------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [1e-2, 1e-6, 1e-10])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_chunks_are_within_their_bound(certified, tolerance, batch):
    model, certificate = certified
    fast, x = parallel_in_time(model, certificate, tolerance), sequences(batch, 1500)
    output, state, bound, proved = fast(x)
    expected, final = model(x)
    assert proved
    assert 0 < bound <= tolerance
    assert (output - expected).abs().max() <= bound
    assert ((state - final).abs() <= bound * 1e6).all()
    assert fast.bound_after(fast.warm_up) <= tolerance < fast.bound_after(fast.warm_up - 1)


@pytest.mark.parametrize("time", [0, 1, 2, 61, 62, 63, 64, 65, 127, 128, 129, 400])
@pytest.mark.parametrize("chunks", [1, 2, 3, 64, 1000])
def test_no_step_is_lost_at_the_seams(certified, time, chunks):
    """A warm-up of 61 or so steps: lengths about it, and about those of chunks."""
    model, certificate = certified
    fast, x = ChunksInTime(model, certificate, 1e-7, chunks=chunks), sequences(2, time)
    assert 55 < fast.warm_up < 65
    output, state, bound, _ = fast(x)
    expected, final = model(x)
    assert output.shape == expected.shape
    assert bound <= 1e-7
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(state, final, rtol=0, atol=1e-6)
    if bound == 0:
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-13)


@pytest.mark.slow
@given(seed=SEEDS, log_tolerance=st.floats(-8, 0), log_span=st.floats(-1, 1))
@settings(max_examples=40, deadline=None)
def test_bounds_of_random_circuits(seed, log_tolerance, log_span):
    network = random_network(seed, inputs=2, strength=0.6, gain=2.0)
    model = model_of(network, ode_unfolds=2)
    span = 10**log_span
    certificate = certify(model, RANGE, elapsed=(span / 2, span), advice=False)
    assume(certificate and certificate.step is not None)
    fast = ChunksInTime(model, certificate, 10**log_tolerance, chunks=7)
    time = min(8 * fast.warm_up + 50, 4000)
    x = sequences(2, time, 2, seed=seed % 2**31)
    clock = span * (0.5 + 0.5 * torch.rand(2, time, dtype=torch.float64))
    low, high = (torch.from_numpy(end) for end in certificate.box)
    hx = torch.stack([low, high])
    output, _, bound, proved = fast(x, hx, clock)
    assert proved
    assert (output - model(x, hx, clock)[0]).abs().max() <= bound + 1e-12


@pytest.mark.parametrize("batch", [1, 3])
def test_states_from_anywhere_enter_the_box_first(certified, batch):
    model, certificate = certified
    fast, x = ChunksInTime(model, certificate, 1e-6, chunks=9), sequences(batch, 900)
    hx = torch.zeros(batch, 12, dtype=torch.float64)
    hx[-1] = 50.0
    output, state, bound, _ = fast(x, hx)
    expected, final = model(x, hx)
    assert 0 < bound <= 1e-6
    assert (output - expected).abs().max() <= bound
    torch.testing.assert_close(state, final, rtol=0, atol=1e-5)
    few = fast(x[:, :20], hx)
    assert few.bound == 0
    torch.testing.assert_close(few.output, expected[:, :20], rtol=0, atol=1e-12)


def test_the_bound_is_attained():
    """A leak that nothing helps is the slowest: the middle of the box is left as slowly as told."""
    network = random_network(0, units=1, inputs=1, own=False, parallel=False)
    none, one = (np.zeros(0, np.int64),) * 2, (np.zeros(1, np.int64),) * 2
    network = replace(
        network,
        capacitance=np.ones(1),
        leak=np.full(1, 0.5),
        leak_potential=np.zeros(1),
        epsilon=0.0,
        recurrent=SynapseNumbers(*none, *np.zeros((4, 0))),
        sensory=SynapseNumbers(*one, *np.array([[1.0], [60.0], [0.0], [1.0]])),
        scale=np.ones(1),
        shift=np.zeros(1),
    )
    model = model_of(network, ode_unfolds=2)
    fast = ChunksInTime(model, certify(model, RANGE), 1e-3, chunks=4)
    x = torch.full((1, 200, 1), -1.0, dtype=torch.float64)
    output, _, bound, _ = fast(x)
    error = float((output - model(x)[0]).detach().abs().max())
    assert 0.95 * bound < error <= bound


def test_gradients_are_those_of_the_loop(certified):
    model, certificate = certified
    x = sequences(2, 800).requires_grad_()
    hx = torch.full((2, 12), 0.1, dtype=torch.float64, requires_grad=True)
    target = torch.sin(torch.arange(800.0))[None, :, None]

    def gradients(run):
        output = run(x, hx)[0]
        loss = (output - target).square().mean() + output[:, :40].sum()
        return torch.autograd.grad(loss, [x, hx, *model.parameters()], allow_unused=True)

    for tolerance in (1e-3, 1e-9):
        fast = ChunksInTime(model, certificate, tolerance, chunks=6)
        pairs = zip(gradients(fast), gradients(model), strict=True)
        for found, expected in pairs:
            assert (found is None) == (expected is None)
            if found is not None:
                size = 1 + float(expected.abs().max())
                torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize(
    "options", [{"batch_first": False}, {"return_sequences": False}, {"output_mapping": "linear"}]
)
def test_layouts_of_a_layer(options):
    model = layer(**options)
    certificate = certify(model, RANGE)
    fast, x = ChunksInTime(model, certificate, 1e-9, chunks=5), sequences(3, 700)
    x = x if model.batch_first else x.transpose(0, 1)
    clock = torch.ones(x.shape[:2], dtype=torch.float64)
    for call in ((x,), (x, None, clock), (x, None, clock.unsqueeze(-1))):
        for found, expected in zip(fast(*call), model(*call), strict=False):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)
    alone = x[0] if model.batch_first else x[:, 0]
    for found, expected in zip(fast(alone), model(alone), strict=False):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_a_batch_that_fills_the_kernels_is_not_cut(certified):
    model, certificate = certified
    fast, x = ChunksInTime(model, certificate), sequences(32 * torch.get_num_threads(), 300)
    output, _, bound, proved = fast(x)
    assert proved
    assert bound == 0
    torch.testing.assert_close(output, model(x)[0], rtol=0, atol=1e-13)


def test_a_readout(certified):
    model, certificate = certified
    whole = elegans.Readout(model, 3)
    fast, x = parallel_in_time(whole, certificate, 1e-8), sequences(2, 600)
    output, _, bound, _ = fast(x)
    assert (output - whole(x)[0]).abs().max() <= bound <= 1e-8


def test_a_readout_that_changes_changes_the_bound(certified):
    model, certificate = certified
    whole = elegans.Readout(model, 3)
    fast, x = ChunksInTime(whole, certificate, 1e-4), sequences(1, 900)
    before = fast.bound_after(10)
    with torch.no_grad():
        whole.head.weight *= 1000.0
    assert fast.bound_after(10) == pytest.approx(1000 * before)
    run = fast(x)
    assert (run.output - whole(x)[0]).abs().max() <= run.bound <= 1e-4


def test_weights_that_change_are_certified_again():
    model = elegans.LTC(4, FullyConnected(4, 2), dtype=torch.float64)
    with torch.no_grad():
        model.cell.recurrent.weight -= 5.0
    certificate = certify(model, RANGE)
    fast, x = parallel_in_time(model, certificate), sequences(2, 600)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        fast(x)[0].square().mean().backward()
        optimizer.step()
    output, _, bound, proved = fast(x)
    assert fast.certificate.matches(model)
    assert not certificate.matches(model)
    assert proved
    assert (output - model(x)[0]).abs().max() <= bound
    with torch.no_grad():
        model.cell.recurrent.weight += 10.0
    with pytest.raises(InputError, match=r"weights have changed .* no longer"):
        fast(x)


def other(model, **options):
    return certify(layer(**options), RANGE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, c: parallel_in_time(m, c, 0.0), "tolerance"),
        (lambda m, c: parallel_in_time(m, c, math.inf), "tolerance"),
        (lambda m, c: parallel_in_time(m, c, chunks=0), "chunks"),
        (lambda m, c: parallel_in_time(layer(mixed_memory=True), c), "mixed memory"),
        (lambda m, c: parallel_in_time(elegans.LTC(4, 5), c), "another circuit"),
        (lambda m, c: parallel_in_time(m, certify(layer(solver="rk4"), RANGE)), "nothing of a st"),
        (lambda m, c: parallel_in_time(layer(ode_unfolds=3), c), "6 steps of semi_implicit"),
        (lambda m, c: parallel_in_time(layer(solver="exponential"), c), "exponential; certify"),
        (lambda m, c: parallel_in_time(m, c)(sequences(2, 500) * 1.001), r"input \d .*batch 0"),
        (
            lambda m, c: parallel_in_time(m, c)(
                sequences(2, 500), None, torch.where(torch.arange(500) == 300, 0.5, 1.0)[None]
            ),
            r"elapsed time is 0\.5 at batch 0, time \d+, expected within 1 to 1",
        ),
        (lambda m, c: parallel_in_time(m, c)(sequences(2, 500), None, torch.ones(3)), "timespans"),
        (lambda m, c: parallel_in_time(m, c)(sequences(2, 500, 3)), "4 inputs"),
    ],
)
def test_what_is_not_proved_is_refused(certified, call, message):
    with pytest.raises(InputError, match=message):
        call(*certified)


# --- Newton's method ---------------------------------------------------------------------


@pytest.mark.parametrize("time", [0, 1, 2, 3, 8, 9, 31])
def test_a_scan_of_matrices(time):
    rng = torch.Generator().manual_seed(time)
    factor = torch.randn(2, time, 3, 3, generator=rng, dtype=torch.float64)
    term = torch.randn(2, time, 3, generator=rng, dtype=torch.float64)
    state, states = torch.zeros(2, 3, dtype=torch.float64), []
    for t in range(time):
        state = (factor[:, t] @ state.unsqueeze(-1)).squeeze(-1) + term[:, t]
        states.append(state)
    expected = torch.stack(states, dim=1) if states else term
    torch.testing.assert_close(linear_scan(factor, term), expected)


KINDS = {
    "LTC": lambda: elegans.LTC(2, AutoNCP(8, 2, seed=1), dtype=torch.float64),
    "CTRNN": lambda: elegans.CTRNN(2, AutoNCP(8, 2, seed=1), dtype=torch.float64),
    "CfC": lambda: elegans.CfC(2, 6, backbone_units=8, dtype=torch.float64),
    "wired CfC": lambda: elegans.CfC(2, AutoNCP(8, 2, seed=1), dtype=torch.float64),
    "NeuralLTC": lambda: elegans.NeuralLTC(2, 4, dtype=torch.float64),
    "Readout": lambda: elegans.Readout(elegans.LRC(2, AutoNCP(8, 2), dtype=torch.float64), 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_newton_is_the_loop_with_its_gradients(kind):
    torch.manual_seed(0)
    model = KINDS[kind]()
    x = torch.randn(2, 40, 2, dtype=torch.float64).cumsum(1).sin().requires_grad_()
    clock = 0.5 + torch.rand(2, 40, dtype=torch.float64)
    hx = torch.zeros(2, elegans.layers.readout.circuit_of(model).state_size, dtype=torch.float64)
    hx += 0.1
    fast = NewtonInTime(model, 1e-10)
    found, expected = fast(x, hx, clock), model(x, hx, clock)
    assert not found.proved
    assert found.bound <= 1e-10
    torch.testing.assert_close(found.output, expected[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(found.state, expected[1], rtol=0, atol=1e-9)
    wanted = [x, *model.parameters()]
    first, second = (
        torch.autograd.grad(run[0].square().sum(), wanted, allow_unused=True)
        for run in (found, expected)
    )
    for one, two in zip(first, second, strict=True):
        two = torch.zeros_like(one) if two is None and one is not None else two
        torch.testing.assert_close(one, two, rtol=1e-7, atol=1e-8)


def test_coupled_gradients_twice():
    """The gradient of a gradient, through the loop."""
    matrix = 0.4 * torch.randn(3, 3, dtype=torch.float64)

    def step(state, elapsed, drive, weights):
        return state + elapsed * (torch.tanh(state @ weights + drive) - state)

    drive = torch.randn(1, 5, 3, dtype=torch.float64, requires_grad=True)
    lasting = torch.full((1, 5), 0.5, dtype=torch.float64)
    initial = torch.zeros(1, 3, dtype=torch.float64)

    def run(drive, weights):
        return solve(step, initial, lasting, [drive], [weights], coupled=True)

    weights = matrix.requires_grad_()
    torch.testing.assert_close(
        run(drive, weights), loop(step, initial, lasting, [drive], [weights])
    )
    assert torch.autograd.gradcheck(run, (drive, weights))
    assert torch.autograd.gradgradcheck(run, (drive, weights))


def test_newton_says_when_it_misses(certified):
    model, _ = certified
    with pytest.raises(SolveError, match="expected at most the tolerance"):
        parallel_in_time(model.float(), None, 1e-12)(torch.rand(1, 50, 4))
    model.double()
    for tolerance in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="tolerance"):
            NewtonInTime(model, tolerance)
    empty = NewtonInTime(model)(sequences(2, 0))
    assert empty.output.shape == (2, 0, 2)
    assert np.isfinite(empty.bound)


# --- CT-RNN and CfC ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda wiring, **options: elegans.CTRNN(4, wiring, solver="rk4", **options),
        lambda wiring, **options: elegans.CfC(4, wiring, mode="pure", **options),
        lambda _, **options: elegans.CfC(4, 3, mode="pure", proj_size=2, **options),
    ],
)
def test_chunks_of_other_circuits_are_within_their_bound(make):
    wiring = AutoNCP(12, 2, sparsity_level=0.8, seed=1)
    model = make(wiring, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fast, x = parallel_in_time(model, certify(model, RANGE), 1e-6), sequences(2, 1500)
    output, _, bound, proved = fast(x)
    expected, _ = model(x)
    assert proved
    assert 0 < bound <= 1e-6
    assert (output - expected).abs().max() <= bound
    with torch.no_grad():
        next(model.cell.parameters()).mul_(0.9)
    assert (fast(x).output - model(x)[0]).abs().max() <= 1e-6
    x[:, -1] = 2  # when all states are in the box
    with pytest.raises(InputError, match="for which the circuit is certified"):
        fast(x)
