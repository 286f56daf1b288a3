"""Equilibria of circuits that are known, and of random ones against scipy."""

import math
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import root

from elegans import LTC
from elegans.errors import InputError
from elegans.proofs.certificates.boxes import hull
from elegans.proofs.certificates.network import Box, Network
from elegans.proofs.dynamics.equilibrium import equilibria
from elegans.proofs.dynamics.newton import RootProblem, find_roots
from elegans.wiring import Synapses, Wiring

NO_INPUT = torch.zeros(1)


def circuit(units, synapses, *, potential=0.0, unfolds=6, dtype=torch.float64, **options):
    """A circuit with C = g = 1, and synapses (source, target, w, s, m, E)."""
    columns = [list(column) for column in zip(*synapses, strict=True)] or [[]] * 6
    ends = Synapses(columns[0], columns[1], [1] * len(synapses))
    wiring = Wiring(1, {"motor": units}, ends, Synapses.empty())
    model = LTC(
        1,
        wiring,
        epsilon=0.0,
        ode_unfolds=unfolds,
        implicit_param_constraints=False,
        fixed_polarity=False,
        dtype=dtype,
        **options,
    ).requires_grad_(False)
    # The wiring keeps synapses in an order of its own.
    by_ends = {(j, i): values for j, i, *values in synapses}
    slots = zip(model.cell.recurrent.source, model.cell.recurrent.target, strict=True)
    for slot, (j, i) in enumerate(slots):
        for name, value in zip(
            ("weight", "sigma", "mu", "erev"), by_ends[int(j), int(i)], strict=True
        ):
            getattr(model.cell.recurrent, name)[slot] = value
    model.cell.gleak.fill_(1)
    model.cell.cm.fill_(1)
    model.cell.vleak.copy_(torch.as_tensor(potential, dtype=dtype))
    return model


def bistable():
    return circuit(2, [(0, 1, 3.0, 10.0, 0.5, 1.0), (1, 0, 3.0, 10.0, 0.5, 1.0)])


def ring():
    """Three neurons that inhibit each other in turn: a limit cycle about one equilibrium."""
    return circuit(3, [(i, (i + 1) % 3, 5.0, 10.0, 0.0, -1.0) for i in range(3)], potential=1.0)


def random_circuit(seed, units=5):
    rng = np.random.default_rng(seed)
    recurrent = Synapses(
        [0, *rng.integers(units, size=12)],  # a self-synapse at least
        [0, *rng.integers(units, size=12)],
        [1, *rng.choice([-1, 1], size=12)],
    )
    sensory = Synapses([0, 1], [0, 1], [1, -1])
    wiring = Wiring(2, {"motor": 1, "inter": units - 1}, recurrent, sensory)
    generator = torch.Generator().manual_seed(seed)
    model = LTC(2, wiring, epsilon=1e-3, dtype=torch.float64, generator=generator)
    model.requires_grad_(False)
    model.cell.recurrent.weight.add_(2.0)  # strong enough for several equilibria
    return model, torch.tensor(rng.uniform(-1, 1, size=2))


def test_a_leak_rests_at_its_potential():
    found = equilibria(circuit(2, [], potential=[0.3, -2.0]), NO_INPUT)
    (rest,) = found
    assert rest.state.tolist() == [0.3, -2.0]
    assert rest.spectrum.tolist() == [-1, -1]
    assert (rest.verdict, rest.unstable_directions, rest.index) == ("stable", 0, 1)
    assert rest.hits == found.starts
    assert not len(found.failed)
    assert not found.surely_incomplete


def test_a_pair_that_excites_itself_is_bistable():
    found = equilibria(bistable(), NO_INPUT)
    assert sorted(each.verdict for each in found) == ["stable", "stable", "unstable"]
    (saddle,) = [each for each in found if each.verdict == "unstable"]
    assert saddle.unstable_directions == 1
    assert (saddle.index, found.index_sum, found.surely_incomplete) == (-1, 1, False)
    low, high = sorted(float(each.state[0]) for each in found.stable)
    assert low < float(saddle.state[0]) < high
    for each in found:
        x, y = each.state.tolist()
        gate = 1 / (1 + math.exp(-10 * (x - 0.5)))
        assert y == pytest.approx(x, abs=1e-12)
        assert x == pytest.approx(3 * gate / (1 + 3 * gate), abs=1e-12)
        coupling = 30 * gate * (1 - gate) * (1 - x)
        exact = [-1 - 3 * gate + coupling, -1 - 3 * gate - coupling]
        assert each.spectrum.real.tolist() == pytest.approx(exact, abs=1e-9)


@pytest.mark.slow
def test_an_inhibitory_ring_turns_about_an_unstable_focus():
    model = ring()
    (focus,) = equilibria(model, NO_INPUT)
    assert (focus.verdict, focus.unstable_directions, focus.index) == ("unstable", 2, 1)
    x = float(focus.state[0])
    gate = 1 / (1 + math.exp(-10 * x))
    coupling = 50 * gate * (1 - gate) * (-1 - x)
    # A circulant matrix: -G + coupling times the cube roots of 1.
    assert focus.rate == pytest.approx(-1 - 5 * gate - coupling / 2, abs=1e-9)
    assert focus.frequency == pytest.approx(-coupling * math.sqrt(3) / 4 / math.pi, abs=1e-9)
    start = focus.state + torch.tensor([1e-3, 0, 0])
    _, _, states = model(
        torch.zeros(200, 1).double(), start, torch.full((200,), 0.1), return_states=True
    )
    assert (states[-50:].amax(0) - states[-50:].amin(0)).min() > 0.1


def test_a_list_that_cannot_be_complete_says_so():
    corners = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    found = equilibria(bistable(), NO_INPUT, starts=corners)
    assert [each.verdict for each in found] == ["stable", "stable"]
    assert found.index_sum == 2
    assert found.surely_incomplete
    assert "there are more, since the indices of all sum to 1 and those of these to 2" in str(found)
    assert "there may be more" in str(equilibria(bistable(), NO_INPUT))


@pytest.mark.slow
@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_random_circuits_against_scipy(seed):
    model, u = random_circuit(seed)
    found = equilibria(model, u, starts=64)
    states = torch.stack([each.state for each in found])
    dynamics = model.cell.dynamics(u.unsqueeze(0))

    def flow(x):
        return dynamics.derivative(torch.from_numpy(x).unsqueeze(0))[0].numpy()

    box = hull(Network.of(model))
    rng = np.random.default_rng(seed)
    for start in rng.uniform(box.lo, box.hi, size=(12, len(box.lo))):
        solved = root(flow, start, tol=1e-13)
        if solved.success and np.abs(flow(solved.x)).max() < 1e-11:
            nearest = (states - torch.from_numpy(solved.x)).abs().amax(-1).min()
            assert nearest < 1e-6
    assert not found.surely_incomplete


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_equilibria_stand_still_inside_the_box(seed):
    model, u = random_circuit(seed)
    found = equilibria(model, u, starts=32)
    box = hull(Network.of(model))
    assert sum(each.hits for each in found) + len(found.failed) == found.starts
    dynamics = model.cell.dynamics(u.unsqueeze(0))
    for each in found:
        x = each.state
        assert (torch.from_numpy(box.lo) - 1e-9 <= x).all()
        assert (x <= torch.from_numpy(box.hi) + 1e-9).all()
        assert each.residual <= 1e-12
        moved = dynamics.derivative(x.unsqueeze(0)).abs()
        largest = (dynamics.conductance_and_drive(x.unsqueeze(0))[0] / dynamics.capacitance).max()
        assert moved.max() <= largest * 2e-12


def test_a_layer_in_single_precision_is_examined_in_double():
    model, u = random_circuit(3)
    single = model.float()
    found = equilibria(single, u)
    assert found[0].state.dtype == torch.float64
    assert max(each.residual for each in found) < 1e-12
    assert single.cell.dtype == torch.float32


def test_at_a_bifurcation_nothing_is_decided():
    """J = -1.5 + s w / 4 (E - x) vanishes at x = m = 1/3 for s = 9."""
    model = circuit(1, [(0, 0, 1.0, 9.0, 1 / 3, 1.0)])
    for starts in (torch.tensor([[1 / 3]]).double(), 64):  # from nearby, and from everywhere
        found = equilibria(model, NO_INPUT, starts=starts)
        (fold,) = [each for each in found if each.state[0] > 0.3]
        assert (fold.verdict, fold.index, found.index_sum) == ("marginal", None, None)
        assert not found.surely_incomplete
        assert "the index of one is not known" in str(found)


def test_the_same_seed_gives_the_same_list():
    model, u = random_circuit(4)
    first, second = (equilibria(model, u, seed=7) for _ in range(2))
    assert [each.hits for each in first] == [each.hits for each in second]
    assert torch.equal(first[0].state, second[0].state)


def test_roots_that_a_chain_connects_are_one():
    """Everything is a root here, so the starts themselves are clustered."""
    problem = RootProblem(torch.zeros_like, lambda x: torch.zeros(len(x), 1, 1).double())
    starts = torch.tensor([[0.0], [0.6], [1.2], [1.8], [9.0]]).double()
    roots = find_roots(problem, starts, scale=1.0, tolerance=1e-3, merge_tolerance=1.0)
    assert roots.hits.tolist() == [4, 1]
    assert (
        len(find_roots(problem, starts, scale=1.0, tolerance=1e-3, merge_tolerance=0.5).states) == 5
    )


def test_starts_that_fail_are_handed_back():
    """1 + x² has no root; x² - 1 without its sign in the Jacobian is not solved either."""
    starts = torch.linspace(-2, 2, 9).double().unsqueeze(-1)
    none = RootProblem(lambda x: 1 + x.square(), lambda x: 2 * x.unsqueeze(-1))
    roots = find_roots(none, starts, scale=1.0)
    assert not len(roots.states)
    assert torch.equal(roots.failed, starts)
    assert (roots.left >= 1).all()
    right = RootProblem(lambda x: 1 - x.square(), lambda x: -2 * x.unsqueeze(-1))
    wrong = RootProblem(right.residual, lambda x: 2 * x.unsqueeze(-1))
    assert len(find_roots(right, starts, scale=1.0).states) == 2
    assert len(find_roots(wrong, starts, scale=1.0, iterations=10).failed) > 0


@pytest.mark.slow
@pytest.mark.parametrize("elapsed", [0.1, 1.0])
def test_short_unfolds_have_the_equilibria_of_the_flow(elapsed):
    for model in (bistable(), ring()):
        still = equilibria(model, NO_INPUT)
        found = equilibria(model, NO_INPUT, elapsed=elapsed)
        assert len(found) == len(still)
        for each in found:
            nearest = min(still, key=lambda other: (other.state - each.state).abs().max())
            torch.testing.assert_close(each.state, nearest.state, rtol=0, atol=1e-9)
            assert each.period == 1
            assert each.verdict == nearest.verdict
        assert found.index_sum == 1


@pytest.mark.parametrize("elapsed", [0.1, 1.0, 1000.0])
def test_one_unfold_has_the_equilibria_of_the_flow_whatever_its_length(elapsed):
    model, u = random_circuit(5)
    model.cell.ode_unfolds = 1
    still, found = equilibria(model, u), equilibria(model, u, elapsed=elapsed)
    assert len(still) == len(found)
    assert all(each.period == 1 for each in found)
    for each in found:
        assert min((each.state - other.state).abs().max() for other in still) < 1e-9


def test_rates_of_a_step_are_those_of_its_multipliers():
    (leak,) = equilibria(circuit(1, [], potential=0.3), NO_INPUT, elapsed=0.6)  # (1 + h)⁻⁶
    assert (leak.rate, leak.frequency) == (pytest.approx(-10 * math.log(1.1)), 0)
    (focus,), (short,) = (equilibria(ring(), NO_INPUT, elapsed=each) for each in (None, 1e-3))
    assert short.rate == pytest.approx(focus.rate, rel=0.01)
    assert short.frequency == pytest.approx(focus.frequency, rel=0.01)


def test_long_unfolds_have_cycles_that_the_flow_has_not():
    """A neuron that inhibits itself rests in the flow and flips in steps that are too long."""
    model = circuit(1, [(0, 0, 5.0, 10.0, 0.0, -1.0)], potential=1.0, unfolds=2)
    (rest,) = equilibria(model, NO_INPUT)
    assert rest.verdict == "stable"
    found = equilibria(model, NO_INPUT, elapsed=1000.0)
    assert sorted((each.period, each.verdict) for each in found) == [
        (1, "unstable"),
        (2, "stable"),
        (2, "stable"),
    ]
    (still,) = [each for each in found if each.period == 1]
    torch.testing.assert_close(still.state, rest.state, rtol=0, atol=1e-9)
    assert (found.index_sum, found.surely_incomplete) == (1, False)
    assert "period 2" in str(found)


def test_faults_are_named():
    model = bistable()
    two = np.zeros(2)
    for function in (equilibria, partial(equilibria, elapsed=1.0)):
        with pytest.raises(InputError, match=r"inputs of shape \(2,\), expected \(1,\) finite"):
            function(model, torch.zeros(2))
        with pytest.raises(InputError, match=r"starts of shape \(2,\).*unsqueeze a single start"):
            function(model, NO_INPUT, starts=torch.zeros(2))
        with pytest.raises(InputError, match="starts=0, expected at least 1"):
            function(model, NO_INPUT, starts=0)
        with pytest.raises(InputError, match=r"box from 1.0 to 0.0 at neuron 0, expected lo <= hi"):
            function(model, NO_INPUT, box=Box(two + 1, two))
        with pytest.raises(InputError, match=r"ends of shape \(3,\).*expected finite numbers"):
            function(model, NO_INPUT, box=Box(np.zeros(3), np.ones(3)))
        with pytest.raises(InputError, match="expected 0 < tolerance <= merge_tolerance"):
            function(model, NO_INPUT, tolerance=1e-3, merge_tolerance=1e-6)
    with pytest.raises(InputError, match=r"elapsed=0\.0, expected a positive time"):
        equilibria(model, NO_INPUT, elapsed=0.0)
    other = circuit(1, [], solver="rk4")
    with pytest.raises(InputError, match="solver 'rk4', expected 'semi_implicit'"):
        equilibria(other, NO_INPUT, elapsed=1.0)


def test_the_guide_says_what_it_prints(capsys):
    text = (Path(__file__).parent.parent / "docs" / "jacobian.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```\n+^```text\n(.*?)^```", text, re.M | re.S)
    assert len(blocks) == text.count("```python") == text.count("```text")
    names: dict[str, object] = {}
    for code, said in blocks:
        exec(compile(code, "docs/jacobian.md", "exec"), names)
        assert capsys.readouterr().out == said
