"""Bounds of explicit steps of liquid circuits against Jacobians of the steps that run."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.polynomial import Polynomial
from random_networks import SEEDS, jacobian, model_of, points, random_inputs, random_network
from test_proofs_contraction import Case
from torch.func import jacrev, vmap

import elegans
from elegans.errors import InputError
from elegans.proofs import ContractionBound, NotCertified, certify, step_bound
from elegans.proofs.certificates import explicit_steps
from elegans.proofs.certificates.network import Network
from elegans.proofs.certificates.step_words import step_words, words_of
from elegans.proofs.claims.small_circuits import Synapse, circuit
from elegans.solvers import get_solver
from elegans.solvers.runge_kutta import ButcherTableau, RungeKutta
from elegans.wiring import AutoNCP

CALM = {"strength": 0.6, "gain": 2.0}
EXPLICIT = ("euler", "midpoint", "rk4")
RANGE = (-1, 1)
ROUNDING = 1e-9


class Heun3(RungeKutta):
    """A tableau of one's own."""

    name = "heun3"
    tableau = ButcherTableau((0, 1 / 3, 2 / 3), ((), (1 / 3,), (0, 2 / 3)), (1 / 4, 0, 3 / 4), 3)


def jacobians(model, inputs, states, elapsed):
    """Return states after a step of the layer and its Jacobians, (batch, after, before)."""

    def after(state, given):
        return model.cell(given[None], state[None], elapsed)[1][0]

    x, u = torch.from_numpy(states), torch.from_numpy(inputs)
    with torch.no_grad():
        moved = model.cell(u, x, elapsed)[1].numpy()
        return moved, vmap(jacrev(after))(x, u).numpy()


def excess(model, bound, seed, count=60):
    """Return the largest sampled norm over its bound, and how far a sampled step leaves the box."""
    rng, step, (lo, hi) = np.random.default_rng(seed), bound.step, bound.inputs
    states = points(rng, bound.box, count)
    inputs = lo + (hi - lo) * rng.random((count, len(lo))).round(int(rng.integers(2)))
    norm, left = 0.0, 0.0
    for length in (step.shortest, 0.5 * (step.shortest + step.longest), step.longest):
        moved, matrix = jacobians(model, inputs, states, length * step.unfolds)
        norm = max(norm, float(((np.abs(matrix) @ step.eta) / step.eta).max()))
        left = max(left, float(np.maximum(bound.box.lo - moved, moved - bound.box.hi).max()))
    return norm / step.kappa**step.unfolds, left


# --- sampled ------------------------------------------------------------------------------------


def checked_circuit(seed, solver, log_h, ratio, unfolds, **options):
    """Return whether something was proved of a random circuit's step, and check what was."""
    network = random_network(seed, inputs=1 + seed % 2, **CALM, **options)
    model = model_of(network, solver=solver, ode_unfolds=unfolds)
    longest = 10**log_h * unfolds
    bound = step_bound(
        model, random_inputs(seed, network), elapsed=(longest / ratio, longest), advice=False
    )
    if not bound or bound.step is None:
        return False
    assert (bound.step.solver, bound.step.unfolds) == (model.cell.solver.name, unfolds)
    norm, left = excess(model, bound, seed)
    assert norm <= 1 + ROUNDING
    assert left <= ROUNDING * (1 + np.abs(bound.box.hi).max())
    return True


@pytest.mark.parametrize("solver", [*EXPLICIT, Heun3()], ids=[*EXPLICIT, "own tableau"])
def test_no_sampled_step_exceeds_its_factor_or_leaves(solver):
    """200 circuits, with self-synapses and parallel ones, of lengths from a hundredth on."""
    proved = 0
    for seed in range(50):
        log_h, ratio, unfolds = (-2, -1.5, -1, -0.5, 0)[seed % 5], (1, 4)[seed % 2], 1 + seed % 3
        proved += checked_circuit(seed, solver, log_h, ratio, unfolds)
    assert proved >= 12


@pytest.mark.slow
@given(
    seed=SEEDS,
    solver=st.sampled_from([*EXPLICIT, Heun3(), "exponential", "semi_implicit"]),
    log_h=st.floats(-3, 1),
    ratio=st.floats(1, 10),
)
@settings(max_examples=200, deadline=None)
def test_random_circuits_keep_what_is_proved(seed, solver, log_h, ratio):
    assume(checked_circuit(seed, solver, log_h, ratio, 1))


@pytest.mark.parametrize("solver", EXPLICIT)
def test_the_longest_step_holds(solver):
    for seed in (2, 5) if solver == "euler" else (5,):
        torch.manual_seed(seed)
        wiring = AutoNCP(12, 2, seed=seed)
        model = elegans.LTC(2, wiring, solver=solver, ode_unfolds=8, dtype=torch.float64)
        bound = step_bound(model, RANGE, elapsed=0.1)
        assert bound.longest_step > 0.1 / 8
        longest = 8 * bound.longest_step
        known = step_bound(model, RANGE, elapsed=(0.1, longest), advice=False)
        norm, left = excess(model, known, seed, 300)
        assert norm <= 1
        assert left <= ROUNDING
        beyond = step_bound(model, RANGE, elapsed=(0.1, 1.001 * longest))
        assert (bool(beyond), beyond.step, beyond.kappa) == (True, None, None)
        assert "differential equation only" in repr(beyond)
        assert f"steps of {solver} from {0.1 / 8:.4g} to" in beyond.reason
        named = float(beyond.reason.split(": up to ")[1].split()[0])
        assert named == pytest.approx(bound.longest_step, rel=2e-3)


def test_states_from_anywhere_come_to_the_box():
    torch.manual_seed(2)
    wiring = AutoNCP(10, 2, seed=2)
    model = elegans.LTC(2, wiring, solver="rk4", ode_unfolds=20, dtype=torch.float64)
    bound = step_bound(model, RANGE, advice=False)
    assert bound.step is not None
    rng = np.random.default_rng(0)
    state = torch.from_numpy(rng.normal(0, 20, (40, 10)))
    for _ in range(200):
        inputs = torch.from_numpy(rng.uniform(-1, 1, (40, 2)))
        with torch.no_grad():
            state = model.cell(inputs, state)[1]
    left = np.maximum(bound.box.lo - state.numpy(), state.numpy() - bound.box.hi)
    assert left.max() <= 1e-6


# --- closed forms -------------------------------------------------------------------------------


def small(neurons, synapses, solver, *, leak=1.0, unfolds=1):
    """Return a layer of given synapses; capacitances are 1."""
    network = Network.of(circuit(neurons, synapses, leak=leak))
    return model_of(network, solver=solver, ode_unfolds=unfolds)


@pytest.mark.parametrize(("solver", "end"), [("euler", 2.0), ("midpoint", 2.0), ("rk4", 2.785294)])
def test_a_leak_has_the_end_of_its_stability(solver, end):
    model = small(2, [], solver, leak=0.5)
    bound = step_bound(model, RANGE, elapsed=(0.1, 0.4))
    assert 0.99 * end / 0.5 <= bound.longest_step <= end / 0.5  # lengths between are enclosed
    terms = {"euler": 2, "midpoint": 3, "rk4": 5}[solver]
    stability = Polynomial([1, -1, 1 / 2, -1 / 6, 1 / 24][:terms])
    assert bound.kappa == pytest.approx(stability(0.1 * 0.5), rel=1e-6)
    assert bound.kappa >= stability(0.1 * 0.5)


def test_eulers_factor_is_exact_for_two_neurons():
    """Two neurons that inhibit each other: rows |1 - h d| + h c at the gates that are worst."""
    model = small(2, [Synapse(0, 1, weight=0.7, potential=-1.0)], "euler")
    bound = step_bound(model, RANGE, elapsed=0.3, advice=False)
    x, (lo, hi) = np.linspace(bound.box.lo, bound.box.hi, 400), bound.box
    states = np.stack([np.repeat(x[:, 0], 2), np.tile([lo[1], hi[1]], len(x))], axis=1)
    norm = np.abs(jacobians(model, np.zeros((len(states), 1)), states, 0.3)[1]) @ bound.step.eta
    assert (norm / bound.step.eta).max() == pytest.approx(bound.kappa, rel=1e-4)


@pytest.mark.parametrize("solver", [*EXPLICIT, "exponential", "semi_implicit"])
@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_a_neuron_with_a_self_synapse(solver, weight):
    for potential in (-1.0, 1.0):
        model = small(1, [Synapse(0, 0, weight=weight, potential=potential)], solver)
        bound = step_bound(model, RANGE, elapsed=(0.05, 0.2), advice=False)
        assert bound.step is not None
        norm, left = excess(model, bound, 0, 2000)
        assert 0.93 <= norm <= 1 + ROUNDING
        assert left <= ROUNDING


# --- the parts ----------------------------------------------------------------------------------

SOLVERS = [*map(get_solver, EXPLICIT), Heun3()]


def multiplied_out(table, matrices, z):
    """Return the derivative of the step for given M of each stage, by the recursion."""
    one, stages = np.eye(matrices.shape[-1]), []
    for row in (*table.matrix, table.weights):
        moved = sum(
            (float(a) * (m - one) @ y for a, m, y in zip(row, matrices, stages, strict=False)),
            0 * one,
        )
        stages.append(one + z * moved)
    return stages[-1]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda each: each.name)
def test_words_are_the_step(solver):
    rng, words = np.random.default_rng(0), step_words(solver).end
    for z in (0.1, 0.9, 2.5):
        matrices = rng.normal(size=(len(solver.tableau.weights), 3, 3))
        total = np.zeros((3, 3))
        coefficients = np.concatenate(words.by_length)
        for word, each in zip(words.words, coefficients, strict=True):
            factor = np.eye(3)
            for q in word:
                factor = factor @ matrices[q]
            total += Polynomial(each)(z) * factor
        np.testing.assert_allclose(total, multiplied_out(solver.tableau, matrices, z), atol=1e-12)
        assert coefficients.sum(axis=0) == pytest.approx([1, *[0] * words.degree], abs=1e-12)


def test_what_negative_words_cost_is_lost_in_the_worst_case():
    """Maps of a tree, each |M| <= 1 in the maximum norm, whose words all end at other places."""
    z, table = 0.7, get_solver("rk4").tableau
    words = step_words(get_solver("rk4")).end
    place = {word[::-1]: n for n, word in enumerate(sorted(words.words, key=len))}
    matrices = np.zeros((4, 16, 16))
    for path, n in place.items():  # a path of stages from the first place on, the last letter last
        for q in range(4):
            longer = (q, *path)
            matrices[q, n, place.get(longer, 15)] = 1.0
    # Rows of the first place: the word q r ... leads to the place of its letters.
    found = np.abs(multiplied_out(table, matrices, z)[0]).sum()
    assert found == pytest.approx(words.sizes(np.array(z)).sum(), rel=1e-9)
    assert found == pytest.approx(1 + z**3 / 3, rel=1e-9)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda each: each.name)
def test_a_sum_between_two_lengths_is_below_those_at_both(solver):
    words, edges = step_words(solver).end, np.array([0.2, 0.5, 1.1, 3.0])
    rng, table = np.random.default_rng(0), step_words(solver).end.between(np.array(edges), 0.9)
    for n, (a, b) in enumerate(pairwise(edges)):
        for factors in rng.uniform(0, 1, (50, len(table))):
            sums = factors @ words.sizes(0.9 * np.linspace(a, b, 200))
            assert sums.max() <= (1 + 1e-12) * (factors @ table[:, n : n + 2]).max()


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda each: each.name)
@pytest.mark.parametrize("kept", [0.0, 0.4, 0.99])
def test_no_step_of_a_mean_leaves_its_interval(solver, kept):
    """A neuron that follows targets within -1 to 1 at any rates from (1 - kept) rho to rho."""
    rng, count, table = np.random.default_rng(0), 4000, solver.tableau
    for z in (0.3, 1.0, 1.7):
        words = step_words(solver)
        means = words.end.means(np.array([z]), np.ones(1), np.full(1, kept))
        radius = means.growth[0]
        if not np.isfinite(radius):
            continue
        m = kept * rng.integers(0, 2, (count, 4)) * rng.choice([1, rng.random()], (count, 4))
        r, x = rng.choice([-1.0, 1.0], (2, count, 4))
        start = states = x[:, 0] * radius
        rates, reached = [], []
        for number, row in enumerate((*table.matrix, table.weights)):
            states = start + z * sum((float(a) * k for a, k in zip(row, rates, strict=False)), 0.0)
            reached.append(np.abs(states).max())
            if number < 4:
                rates.append((1 - m[:, number]) * (r[:, number] - states))
        assert reached[-1] <= radius + 1e-9
        stages = [s.means(np.array([z]), np.ones(1), np.full(1, kept)).beyond for s in words.stages]
        for beyond, most in zip(stages, reached, strict=False):
            assert most <= radius * (1 + 2 * beyond[0]) + 1e-9
    if solver.name in ("euler", "rk4"):  # with others a target may count less than nothing
        assert step_words(solver).end.means(np.ones(1), np.ones(1), np.full(1, kept)).growth == (
            pytest.approx(1)
        )


@given(seed=SEEDS, share=st.sampled_from([0.3, 0.6, 1.0]))
@settings(max_examples=40, deadline=None)
def test_a_letter_bounds_the_absolute_rows(seed, share):
    case = Case(seed, **CALM)
    rate = share * 10 ** (seed % 3 - 1)
    back = explicit_steps.turned_rows(case.network, case.rows, case.gates)
    letter = explicit_steps.LetterBound(case.rows, back, rate)
    matrix = np.eye(len(case.network)) + jacobian(case.network, *case.sampled()) / rate
    rows, bound = np.abs(matrix) @ case.eta, letter.apply(case.eta)
    assert (rows <= bound * (1 + 1e-11)).all()
    np.testing.assert_allclose(letter.matrix(case.eta) @ case.eta, bound, rtol=1e-9)


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_worst_map_is_the_bound(seed):
    case = Case(seed, **CALM)
    back = explicit_steps.turned_rows(case.network, case.rows, case.gates)
    letter = explicit_steps.LetterBound(case.rows, back, 3.0)
    edges = np.array([0.1, 0.11, 0.12])
    words = step_words(get_solver("rk4")).end
    bound = explicit_steps.WordsBound(letter, words.between(edges, 3.0))
    np.testing.assert_allclose(bound.matrix(case.eta) @ case.eta, bound.apply(case.eta), rtol=1e-9)


# --- what it is, and refusals -------------------------------------------------------------------


def calm(solver="rk4", **options):
    torch.manual_seed(2)
    return elegans.LTC(2, AutoNCP(10, 2, seed=2), solver=solver, **options)


def test_a_bound_too_small_fails_the_samples(monkeypatch):
    """The broken model of these tests: slopes that are taken to be two thirds of what they are."""
    model = small(2, [Synapse(0, 1, weight=0.5), Synapse(1, 0, weight=0.5)], "rk4")
    right = step_bound(model, RANGE, elapsed=0.2, advice=False)
    assert excess(model, right, 0, 500)[0] <= 1
    apply = explicit_steps.LetterBound.apply
    monkeypatch.setattr(
        explicit_steps.LetterBound, "apply", lambda self, eta: 0.95 * apply(self, eta)
    )
    wrong = step_bound(model, RANGE, elapsed=0.2, advice=False)
    assert excess(model, wrong, 0, 500)[0] > 1


def test_a_bound_says_what_it_is(tmp_path):
    model = calm(ode_unfolds=10)
    bound = step_bound(model, RANGE, advice=False)
    assert isinstance(bound, ContractionBound)
    assert (bound.equation, bound.level, bound.covers_step) == ("liquid", "float", True)
    assert bound.matches(model)
    assert bound.longest_step is None
    assert bound.rate <= certify(model, RANGE, advice=False).best_rate * (1 + 1e-9)
    assert "liquid circuit" in bound._repr_html_()
    with pytest.raises(InputError, match=r"elegans\.proofs\.certify"):
        bound.save(tmp_path / "c.json")


@pytest.mark.parametrize("solver", ["semi_implicit", "exponential", "euler"])
def test_solvers_that_certify_covers_have_its_factor(solver):
    model = calm(solver, ode_unfolds=10)
    bound, certificate = step_bound(model, RANGE), certify(model, RANGE)
    assert bound.kappa == pytest.approx(certificate.figures.kappa, rel=5e-3)
    longest = bound.longest_step
    assert longest == np.inf if solver != "euler" else 0.1 < longest < 1
    assert step_bound(model, RANGE, elapsed=(1.0, 100.0)).kappa is None or solver != "euler"


def test_what_nothing_is_known_of_leaves_the_flow():
    bound = step_bound(calm("rosenbrock"), RANGE)
    assert bound
    assert bound.step is None
    assert "nothing is known of the step of the solver 'rosenbrock'" in bound.reason


def test_a_circuit_that_does_not_contract_is_refused():
    model = small(2, [Synapse(0, 1, weight=3.0), Synapse(1, 0, weight=3.0)], "rk4")
    refused = step_bound(model, RANGE)
    assert isinstance(refused, NotCertified)
    scale = float(str(refused).split("scaled by ")[1].split()[0])
    weaker = [Synapse(0, 1, weight=3.0 * scale), Synapse(1, 0, weight=3.0 * scale)]
    assert step_bound(small(2, weaker, "rk4"), RANGE, elapsed=1e-3, advice=False)


def test_without_advice_no_length_is_named():
    bound = step_bound(calm(ode_unfolds=1), RANGE, elapsed=50.0, advice=False)
    assert bound.step is None
    assert bound.reason.endswith("expected shorter ones; take more unfolds")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"elapsed": 0.0}, "elapsed"),
        ({"elapsed": (2.0, 1.0)}, "elapsed"),
        ({"rate_fraction": 1.0}, "rate_fraction"),
        ({"inputs": (1, -1)}, "lower end"),
        ({"model": elegans.CTRNN(2, 3)}, "a certificate"),
        ({"model": elegans.LTC(2, 3, mixed_memory=True)}, "mixed memory"),
    ],
    ids=["none", "inverted", "share", "inputs", "rates", "memory"],
)
def test_arguments_that_are_refused(change, text):
    with pytest.raises(InputError, match=text):
        step_bound(**({"model": calm(), "inputs": RANGE} | change))


def test_a_neuron_without_a_leak_is_refused():
    answer = step_bound(small(2, [Synapse(0, 1, weight=0.1)], "rk4", leak=0.0), RANGE)
    assert not answer
    assert "has no leak" in answer.reason


def test_long_tableaus_are_not_multiplied_out():
    class Long(RungeKutta):
        name = "long"
        tableau = ButcherTableau(
            tuple(n / 9 for n in range(9)),
            tuple((*[0] * (n - 1), n / 9) if n else () for n in range(9)),
            (*[0] * 8, 1.0),
            1,
        )

    assert step_words(Long()) is None
    assert len(words_of(get_solver("rk4").tableau).end.words) == 16
