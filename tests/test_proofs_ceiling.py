"""The sampled ceiling: a bound that holds because it shows a state."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from random_networks import networks

from elegans import LTC
from elegans.errors import InputError
from elegans.proofs.certificates.ceiling import sampled_ceiling
from elegans.proofs.certificates.certification import certify
from elegans.proofs.certificates.network import Box, Network
from elegans.proofs.certificates.region import region_of
from elegans.proofs.dynamics.spectra import spectrum
from elegans.wiring import AutoNCP, Synapses, Wiring


def abscissa_at(network, state, inputs):
    """The abscissa by differences of the right-hand side, which shares no code with the search."""

    def derivative(x):
        mapped = network.scale * inputs + network.shift
        total = network.leak * (network.leak_potential - x) - network.epsilon * x
        for synapses, source in ((network.recurrent, x), (network.sensory, mapped)):
            gate = 1 / (1 + np.exp(-synapses.gain * (source[synapses.source] - synapses.centre)))
            current = synapses.weight * gate * (synapses.potential - x[synapses.target])
            total = total + np.bincount(synapses.target, current, minlength=len(x))
        return total / network.capacitance

    h = 1e-6
    columns = [
        (derivative(state + h * e) - derivative(state - h * e)) / (2 * h)
        for e in np.eye(len(state))
    ]
    return np.linalg.eigvals(np.stack(columns, axis=1)).real.max()


def search(network, inputs=(-1, 1), **options):
    box = region_of(network, network.range_of(inputs), "interval").box
    return box, sampled_ceiling(network, box, inputs, **options)


@settings(max_examples=25, deadline=None)
@given(networks())
def test_the_witness_lies_in_the_box_and_has_this_abscissa(network):
    box, found = search(network, samples=16, rounds=3)
    assert box.contains(Box(found.state, found.state))
    assert (np.abs(found.inputs) <= 1).all()
    # Central differences of gates with gains up to 8 and capacitances down to 0.13 lose this.
    assert found.abscissa == pytest.approx(
        abscissa_at(network, found.state, found.inputs), abs=1e-4, rel=1e-5
    )


@settings(max_examples=15, deadline=None)
@given(networks(strength=0.4))
def test_no_certified_rate_is_above_the_ceiling(network):
    certificate = certify(network, inputs=(-1, 1), advice=False, check=False)
    if certificate:
        found = sampled_ceiling(network, certificate.box, (-1, 1), samples=16, rounds=3)
        assert certificate.best_rate <= found.rate
        assert not found.refutes


def test_the_ceiling_of_a_broken_certificate_tells():
    """A rate that is not true is above the ceiling: the comparison can fail."""
    network = Network.of(LTC(2, AutoNCP(12, 2, sparsity_level=0.8, seed=1)))
    certificate = certify(network, inputs=(-1, 1))
    found = sampled_ceiling(network, certificate.box, (-1, 1))
    assert 3 * certificate.best_rate > found.rate


def bistable(weight):
    """Two neurons that excite each other."""
    wiring = Wiring(1, {"motor": 2}, Synapses([0, 1], [1, 0], [1, 1]), Synapses([0], [0], [1]))
    network = Network.of(LTC(1, wiring, epsilon=0.0))
    synapses = network.recurrent
    ones = np.ones(2)
    return replace(
        network,
        capacitance=ones,
        leak=ones,
        leak_potential=0 * ones,
        recurrent=replace(
            synapses, weight=weight * ones, gain=10 * ones, centre=0.5 * ones, potential=ones
        ),
    )


def test_a_circuit_with_two_stable_states_is_refuted():
    _, found = search(bistable(3.0))
    assert found.refutes
    assert found.rate < 0
    assert not certify(bistable(3.0), inputs=(-1, 1), advice=False)
    assert not search(bistable(0.01))[1].refutes


@pytest.mark.slow
def test_the_search_climbs():
    network = bistable(3.0)
    box, least = search(network, samples=4, rounds=0)
    _, more = search(network, samples=4, rounds=12)
    assert more.abscissa > least.abscissa
    # In a box of two neurons, a fine grid over states and inputs is exhaustive.
    grid = np.stack(np.meshgrid(*[np.linspace(box.lo[k], box.hi[k], 60) for k in (0, 1)]), -1)
    worst = max(
        abscissa_at(network, state, np.array([u])) for state in grid.reshape(-1, 2) for u in (-1, 1)
    )
    _, best = search(network)
    assert best.abscissa >= worst - 1e-6


def test_uncoupled_neurons_have_their_leaks():
    nothing = Wiring(1, {"motor": 3}, Synapses.empty(), Synapses.empty())
    network = Network.of(LTC(1, nothing, dtype=torch.float64))
    _, found = search(network)
    slowest = ((network.leak + network.epsilon) / network.capacitance).min()
    assert found.abscissa == pytest.approx(-slowest, rel=1e-12)
    assert found.error < 1e-10
    assert found.to_dict()["refutes"] is False


def test_the_same_seed_finds_the_same():
    network = bistable(1.0)
    first, second, other = (search(network, samples=4, rounds=2, seed=s)[1] for s in (0, 0, 1))
    assert first.to_dict() == second.to_dict() != other.to_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "got samples=0, expected at least 1"),
        ({"rounds": -1}, "got rounds=-1, expected at least 0"),
        ({"box": Box(np.zeros(3), np.ones(3))}, "ends of shape \\(3,\\) .* expected finite .*2"),
        ({"box": Box(np.ones(2), np.zeros(2))}, "lower end above the upper"),
        ({"inputs": (1, -1)}, "lower end is above"),
    ],
)
def test_errors(change, message):
    arguments = {"box": Box(np.zeros(2), np.ones(2)), "inputs": (-1, 1)} | change
    with pytest.raises(InputError, match=message):
        sampled_ceiling(bistable(1.0), **arguments)


def test_it_agrees_with_the_layer():
    model = LTC(2, 4, dtype=torch.float64)
    box = region_of(Network.of(model), Network.of(model).range_of((-1, 1)), "interval").box
    found = sampled_ceiling(model, box, (-1, 1), samples=8, rounds=2)
    inputs, state = (torch.from_numpy(each).unsqueeze(0) for each in (found.inputs, found.state))
    with torch.no_grad():
        eigenvalues = spectrum(model.cell.dynamics(inputs).jacobian(state))
    assert float(eigenvalues.real.max()) == pytest.approx(found.abscissa, rel=1e-9)
