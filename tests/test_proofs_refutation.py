"""Proofs that a circuit does not contract: sound, sharp, and never beside a certificate."""

import mpmath
import numpy as np
import pytest
import torch
import zoo
from hypothesis import example, given, settings
from hypothesis import strategies as st

from elegans import LTC
from elegans.errors import InputError
from elegans.proofs import Network, SeparateBoxes, UnstableRest, certify, refute_contraction
from elegans.proofs.certificates.enclosed_spectra import Matrices, largest_eigenvalue
from elegans.proofs.certificates.network import Box
from elegans.proofs.certificates.refutation import invariant_box
from elegans.wiring import AutoNCP, Synapses, Wiring

SEEDS = st.integers(0, 2**31)


def wild(seed, units=5, strength=4.0):
    """Return a random circuit with steep, strong synapses of either sign."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 2 * units))
    pairs = sorted({(int(j), int(i)) for j, i in rng.integers(0, units, (count, 2))})
    synapses = [
        (j, i, strength * rng.exponential(), rng.normal(0, 8), rng.normal(0, 0.4), rng.normal())
        for j, i in pairs
    ]
    initial = (1.0, torch.from_numpy(rng.exponential(1.0, units) + 0.1), rng.normal())
    return zoo.circuit(units, synapses, sensory=0.2, initial=initial)


# --- two boxes -----------------------------------------------------------------------------------


def test_two_wells_are_told_apart_for_a_range_and_by_their_rests():
    proof = refute_contraction(zoo.pair(sensory=0.02), (-1, 1))
    assert isinstance(proof, SeparateBoxes)
    assert proof.flow
    assert proof.step
    assert proof.inputs.lo.tolist() == [-1.0]
    assert 0.6 < proof.gap < 0.7320 - 0.0251
    assert "apart at neuron" in str(proof)


def test_no_trajectory_leaves_the_boxes_in_steps_of_any_length():
    model = zoo.pair(sensory=0.02)
    proof = refute_contraction(model, (-1, 1))
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    for box in (proof.first, proof.second):
        start = torch.from_numpy(box.lo + corners * box.width)
        rng = np.random.default_rng(0)
        for elapsed in (1e-3, 0.3, 1.0, 50.0):
            inputs = torch.from_numpy(rng.choice([-1.0, 1.0], (4, 60, 1)))
            states, lengths = start, torch.full((1, 1), elapsed, dtype=torch.float64)
            for step in range(60):
                _, states = model(inputs[:, step : step + 1], states, lengths)
                assert (states.detach().numpy() >= box.lo).all()
                assert (states.detach().numpy() <= box.hi).all()


def test_a_range_that_moves_the_wells_together_leaves_a_constant_input():
    model = zoo.pair(sensory=2.0)  # a high input lifts the circuit out of the lower well
    wide = refute_contraction(model, (-3, 3))
    assert isinstance(wide, SeparateBoxes)
    assert wide.inputs.lo.tolist() == wide.inputs.hi.tolist()
    assert wide.inputs.lo[0] < 0
    assert refute_contraction(model, (3, 3)) is None
    assert certify(model, (3, 3))


def test_one_neuron_that_excites_itself_as_its_formula_says():
    # dx/dt = w sigma(s (x - 1/2)) (1 - x) - x; with w = 1 it rests at 1/3 or less, alone.
    for weight, wells in ((1.0, 1), (6.0, 2)):
        model = zoo.circuit(1, [(0, 0, weight, 12.0, 0.5, 1.0)])
        x = np.linspace(0, 1, 100_001)
        flow = weight / (1 + np.exp(-12 * (x - 0.5))) * (1 - x) - x
        falling = x[:-1][(flow[:-1] > 0) & (flow[1:] <= 0)]
        assert len(falling) + (flow[0] <= 0) == wells
        proof = refute_contraction(model, (0, 0))
        assert (proof is not None) == (wells > 1)
        if proof is not None:
            assert proof.gap == pytest.approx(falling[-1] - falling[0], rel=0.05)
            assert proof.gap < falling[-1] - falling[0]


# --- an unstable equilibrium ---------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["semi_implicit", "exponential", "euler"])
def test_growth_and_multiplier_are_those_of_the_ring(solver):
    model = zoo.ring(solver=solver, ode_unfolds=2)
    proof = refute_contraction(model, (0, 0), elapsed=0.2)
    assert isinstance(proof, UnstableRest)
    at = zoo.currents(model, np.zeros(1))
    state = proof.box.lo + proof.box.width / 2
    derivative = zoo.derivative_of(at)
    steps = 1e-5 * np.eye(3)
    columns = [(derivative(state + d) - derivative(state - d)) / 2e-5 for d in steps]
    growth = np.linalg.eigvals(np.array(columns).T).real.max()
    after = [[zoo.unfolded(at, state + s * d, 0.1, 1, solver)[-1] for s in (1, -1)] for d in steps]
    columns = [(plus - minus) / 2e-5 for plus, minus in after]
    multiplier = np.abs(np.linalg.eigvals(np.array(columns).T)).max()
    assert growth * (1 - 1e-4) < proof.growth < growth + 1e-6
    assert multiplier * (1 - 1e-4) < proof.multiplier < multiplier + 1e-6
    assert proof.flow
    assert proof.step
    assert "grows at the rate" in str(proof)


def test_a_step_that_is_too_long_is_refuted_where_its_equation_is_certified():
    model = zoo.flipping()
    assert certify(model, (-1, 1))
    proof = refute_contraction(model, (-1, 1), elapsed=1000.0)
    assert isinstance(proof, UnstableRest)
    assert proof.step
    assert not proof.flow
    assert "rate" not in str(proof)
    assert refute_contraction(model, (-1, 1)) is None
    assert refute_contraction(model, (-1, 1), elapsed=1e-3) is None


@pytest.mark.slow
@given(seed=SEEDS)
@example(seed=4232)  # an unstable equilibrium
@settings(max_examples=100, deadline=None)
def test_nothing_is_both_certified_and_refuted_and_the_root_is_there(seed):
    model = wild(seed)
    proof = refute_contraction(model, (-1, 1), starts=32, elapsed=1.0)
    certificate = certify(model, (-1, 1), advice=False, elapsed=1.0)
    if certificate and proof:
        assert not proof.flow
        assert certificate.step is None
    if not isinstance(proof, UnstableRest):
        return
    network = Network.of(model)
    at = zoo.derivative_of(zoo.currents(model, proof.inputs))
    middle = proof.box.lo + proof.box.width / 2
    with mpmath.workdps(40):
        root, jacobian = root_and_jacobian(network, proof.inputs, middle)
        assert all(lo < x < hi for lo, x, hi in zip(proof.box.lo, root, proof.box.hi, strict=True))
        values = mpmath.eig(jacobian, left=False, right=False)
        assert max(mpmath.re(value) for value in values) >= proof.growth
    assert np.abs(at(middle)).max() < 1e-2


def root_and_jacobian(network, u, start):
    """Return the equilibrium near `start` and the Jacobian there, to 40 digits."""
    number, n = mpmath.mpf, len(network)
    mapping = zip(network.scale, u, network.shift, strict=True)
    seen = [number(s) * number(x) + number(b) for s, x, b in mapping]

    def synapses(which, potentials):
        columns = which.weight, which.gain, which.centre, which.potential
        for j, i, w, s, m, e in zip(which.source, which.target, *columns, strict=True):
            gate = 1 / (1 + mpmath.exp(-number(s) * (potentials[j] - number(m))))
            yield j, i, number(w), number(s), number(e), gate

    def flow(*x):
        out = [
            number(g) * (number(v) - xi) - number(network.epsilon) * xi
            for g, v, xi in zip(network.leak, network.leak_potential, x, strict=True)
        ]
        for which, potentials in ((network.recurrent, x), (network.sensory, seen)):
            for _, i, w, _, e, gate in synapses(which, potentials):
                out[i] += w * gate * (e - x[i])
        return [value / number(c) for value, c in zip(out, network.capacitance, strict=True)]

    x = list(mpmath.findroot(flow, [number(v) for v in start], tol=1e-30))
    jacobian = mpmath.matrix(n, n)
    for i in range(n):
        jacobian[i, i] = -number(network.leak[i]) - number(network.epsilon)
    for _, i, w, _, _, gate in synapses(network.sensory, seen):
        jacobian[i, i] -= w * gate
    for j, i, w, s, e, gate in synapses(network.recurrent, x):
        jacobian[i, i] -= w * gate
        jacobian[i, j] += w * s * gate * (1 - gate) * (e - x[i])
    for i in range(n):
        for j in range(n):
            jacobian[i, j] /= number(network.capacitance[i])
    return x, jacobian


# --- enclosures ----------------------------------------------------------------------------------


@given(seed=SEEDS, size=st.integers(1, 6), spread=st.sampled_from([0.0, 1e-6, 1e-2, 0.3]))
@settings(max_examples=100, deadline=None)
def test_the_bound_on_eigenvalues_holds_for_every_matrix_within(seed, size, spread):
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(size, size)) * rng.choice([0.01, 1.0, 100.0], (size, 1))
    radius = spread * np.abs(rng.normal(size=(size, size)))
    bounds = [
        largest_eigenvalue(Matrices(middle, radius), measure) for measure in (np.real, np.abs)
    ]
    for _ in range(20):
        signs = rng.choice([-1.0, 0.0, 1.0], (size, size))
        values = np.linalg.eigvals(middle + signs * radius)
        assert values.real.max() >= bounds[0] - 1e-9 * np.abs(values).max()
        assert np.abs(values).max() >= bounds[1] - 1e-9 * np.abs(values).max()
    if spread == 0 and np.linalg.cond(np.linalg.eig(middle)[1]) < 1e3:
        assert bounds[0] == pytest.approx(np.linalg.eigvals(middle).real.max(), abs=1e-3)


def test_a_matrix_without_a_basis_of_eigenvectors_proves_nothing_beyond_it():
    jordan = np.array([[1.0, 1.0], [0.0, 1.0]])
    assert largest_eigenvalue(Matrices(jordan, np.zeros((2, 2))), np.real) <= 1.0
    assert largest_eigenvalue(Matrices(jordan, np.full((2, 2), 2.0)), np.real) < 0


def test_a_box_round_a_saddle_does_not_hold_it():
    network = Network.of(zoo.pair())
    inputs = network.range_of((0, 0))
    assert invariant_box(network, inputs, np.full(2, 0.0251)) is not None
    saddle = invariant_box(network, inputs, np.full(2, 0.3457))
    wells = Box(np.full(2, 0.03), np.full(2, 0.73))
    assert saddle is None or saddle.contains(wells)


# --- where nothing is refuted, and what is refused -----------------------------------------------


@pytest.mark.parametrize("name", [name for name, each in zoo.SPECIMENS.items() if each.certified])
def test_what_is_certified_is_not_refuted(name):
    model = zoo.SPECIMENS[name].make()
    assert refute_contraction(model, (-1, 1), starts=16) is None


def test_circuits_without_recurrence_are_not_refuted():
    assert refute_contraction(zoo.circuit(1, []), (-1, 1)) is None
    assert refute_contraction(zoo.circuit(3, []), (0, 0)) is None


def test_wrong_arguments_are_named():
    model = LTC(2, AutoNCP(8, 2))
    with pytest.raises(InputError, match=r"got elapsed=0\.0, expected a positive time"):
        refute_contraction(model, (-1, 1), elapsed=0.0)
    with pytest.raises(InputError, match=r"lower end is above the upper"):
        refute_contraction(model, (1, -1))
    with pytest.raises(InputError, match=r"solver 'rk4', expected one of"):
        refute_contraction(LTC(2, AutoNCP(8, 2), solver="rk4"), (-1, 1), elapsed=1.0)
    with pytest.raises(InputError, match="mixed memory"):
        refute_contraction(LTC(2, AutoNCP(8, 2), mixed_memory=True), (-1, 1))
    large = Wiring(1, {"motor": 2001}, Synapses.empty(), Synapses([0], [0], [1]))
    with pytest.raises(InputError, match="got 2001 neurons, expected at most 2000"):
        refute_contraction(LTC(1, large), (-1, 1))
