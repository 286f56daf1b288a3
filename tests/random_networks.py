"""Random circuits for property tests, and their equation written down a second time.

The functions of the second half share no code with the library: they are what its statements are
held against. States have the shape (..., neuron) and inputs, as the gates see them, (..., input).
"""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import strategies as st
from scipy.special import expit

from elegans import LTC
from elegans.proofs.certificates.network import Box, JunctionNumbers, Network, SynapseNumbers
from elegans.wiring import GapJunctions, Synapses, Wiring

SEEDS = st.integers(0, 2**32 - 1)


def networks(**options):
    """Strategy of random networks; see `random_network` for the options."""
    return SEEDS.map(lambda seed: random_network(seed, **options))


def random_network(
    seed,
    *,
    units=None,
    inputs=None,
    own=None,
    parallel=None,
    ahead=False,
    strength=3.0,
    gain=8.0,
    offset=0.0,
    junctions=False,
):
    """Return a network of 1 to 6 neurons and 0 to 3 inputs.

    Self-synapses and parallel ones occur if `own` and `parallel` are not False, and certainly if
    they are True; with `ahead` every synapse leads to a later neuron. Conductances are up to
    `strength`, some are zero; gains up to `gain`, of both signs; potentials round `offset`. With
    `junctions` some pairs are joined, in some circuits none or all of them rectifying.
    """
    rng = np.random.default_rng(seed)
    units = int(rng.integers(2 if parallel else 1, 7)) if units is None else units
    inputs = int(rng.integers(0, 4)) if inputs is None else inputs
    pairs = [(j, i) for j in range(units) for i in range(units) if j != i or own is not False]
    pairs = [(j, i) for j, i in pairs if not ahead or j < i]
    recurrent = _ends(rng, pairs, 0.5, parallel)
    if own and not any(j == i for j, i in recurrent):
        recurrent.append((0, 0))
    if parallel:
        recurrent += [(0, 1), (0, 1)]
    sensory = _ends(rng, [(j, i) for j in range(inputs) for i in range(units)], 0.5, parallel)
    epsilon = float(rng.choice([0.0, 1e-8, 0.3]))
    leak = rng.uniform(0.05, 1.0, units)
    if epsilon == 0.3:
        leak *= rng.random(units) < 0.8  # epsilon alone holds a neuron, too
    network = Network(
        np.exp(rng.uniform(-2, 2, units)),
        leak,
        offset + rng.normal(0, 1, units),
        epsilon,
        *(_synapses(rng, ends, strength, gain, offset) for ends in (recurrent, sensory)),
        rng.choice([1.0, 0.0, -0.5, 2.0], inputs, p=[0.6, 0.1, 0.15, 0.15]),
        offset + rng.normal(0, 0.3, inputs),
    )
    return with_junctions(rng, network, strength=strength) if junctions else network


def with_junctions(rng, network, *, density=0.5, strength=3.0, rectifying=None):
    """Return the network with gap junctions between some pairs; some conduct nothing."""
    units = len(network)
    pairs = [(j, i) for i in range(units) for j in range(i) if rng.random() < density]
    ends = np.array([pair if rng.random() < 0.5 else pair[::-1] for pair in pairs], dtype=np.int64)
    source, target = ends.reshape(len(pairs), 2).T
    share = rng.choice([0.0, 0.3, 1.0]) if rectifying is None else rectifying
    numbers = JunctionNumbers(
        source.copy(),
        target.copy(),
        rng.random(len(pairs)) < share,
        rng.uniform(0, strength, len(pairs)) * (rng.random(len(pairs)) < 0.9),
    )
    return replace(network, electrical=numbers if len(pairs) else None)


def _ends(rng, pairs, density, parallel):
    chosen = [pair for pair in pairs if rng.random() < density]
    if parallel is not False and chosen:
        chosen += [chosen[k] for k in rng.integers(len(chosen), size=int(rng.integers(0, 3)))]
    return chosen


def _synapses(rng, ends, strength, gain, offset):
    count = len(ends)
    source, target = np.array(ends, dtype=np.int64).reshape(count, 2).T
    sign = rng.choice([-1.0, 1.0], count)
    return SynapseNumbers(
        source.copy(),
        target.copy(),
        rng.uniform(0, strength, count) * (rng.random(count) < 0.9),
        sign * gain ** rng.uniform(-1, 1, count),
        offset + rng.normal(0, 0.7, count),
        offset + np.where(rng.random(count) < 0.5, sign, rng.uniform(-3, 3, count)),
    )


def random_inputs(seed, network):
    """Return a range of inputs as the layer is given them; some inputs have lo = hi."""
    rng = np.random.default_rng((seed, 1))
    lo, width = rng.normal(0, 1, (2, len(network.scale)))
    return lo, lo + np.abs(width) * (rng.random(len(lo)) < 0.8)


def random_model(seed, *, dtype=torch.float32, **options):
    """Return a layer with the numbers of a random network, rounded to `dtype`."""
    inputs = 1 + seed % 3  # a layer has at least one
    return model_of(random_network(seed, inputs=inputs, **options), dtype=dtype)


def model_of(network, *, dtype=torch.float64, **options):
    """Return a layer that computes with the numbers of a network; it sorts the synapses."""
    units, inputs = len(network), len(network.scale)
    signs = [np.where(k.potential < 0, -1, 1) for k in (network.recurrent, network.sensory)]
    held = [
        k.take(np.lexsort((sign, k.source, k.target)))
        for k, sign in zip((network.recurrent, network.sensory), signs, strict=True)
    ]
    recurrent, sensory = (
        Synapses(k.source, k.target, sign)
        for k, sign in zip((network.recurrent, network.sensory), signs, strict=True)
    )
    layers = {"motor": 1, "inter": units - 1} if units > 1 else {"motor": 1}
    joined, weights = network.electrical, []
    junctions = GapJunctions.empty()
    if joined is not None:
        junctions = GapJunctions(joined.source, joined.target, joined.rectifying)
        ends = zip(joined.source.tolist(), joined.target.tolist(), strict=True)
        weight = dict(zip(map(frozenset, ends), joined.weight, strict=True))
        weights = [weight[frozenset((j, i))] for j, i, _ in junctions]
    wiring = Wiring(inputs, layers, recurrent, sensory, electrical=junctions)
    options = {"implicit_param_constraints": False, "epsilon": network.epsilon} | options
    model = LTC(inputs, wiring, dtype=dtype, **options)
    values = [
        (model.cell.cm, network.capacitance),
        (model.cell.gleak, network.leak),
        (model.cell.vleak, network.leak_potential),
        (model.cell.input_mapping.weight, network.scale),
        (model.cell.input_mapping.bias, network.shift),
    ]
    for slots, numbers in zip((model.cell.recurrent, model.cell.sensory), held, strict=True):
        values += [(slots.weight, numbers.weight), (slots.sigma, numbers.gain)]
        values += [(slots.mu, numbers.centre), (slots.erev, np.abs(numbers.potential))]
    if joined is not None:
        values.append((model.cell.electrical.weight, np.array(weights)))
    with torch.no_grad():
        for parameter, number in values:
            parameter.copy_(torch.as_tensor(number))
    return model


def has_own(network):
    """Whether a synapse that conducts leads from a neuron to itself."""
    synapses = network.recurrent
    return bool(((synapses.source == synapses.target) & (synapses.weight > 0)).any())


def edited(network, kind, field, index, value):
    """Return the network with one number of one synapse changed."""
    synapses = getattr(network, kind)
    column = getattr(synapses, field).copy()
    column[index] = value
    return replace(network, **{kind: replace(synapses, **{field: column})})


# --- the equation, a second time ----------------------------------------------------------------


def gates_at(network, x, u):
    """Return the gates, two arrays (..., synapse)."""
    return tuple(
        expit(k.gain * (potentials[..., k.source] - k.centre))
        for k, potentials in ((network.recurrent, x), (network.sensory, u))
    )


def conductance_and_drive(network, x, u):
    """Return G and A of C dx/dt = A - G x, both (..., neuron)."""
    conductance, drive = network.leak + network.epsilon, network.leak * network.leak_potential
    for k, gate in zip((network.recurrent, network.sensory), gates_at(network, x, u), strict=True):
        weight = k.weight[:, None] * np.eye(len(network))[k.target]  # (synapse, neuron)
        conductance = conductance + gate @ weight
        drive = drive + gate @ (weight * k.potential[:, None])
    for w, i, j, open_ in junctions_at(network, x):
        at = np.eye(len(network))
        conductance = conductance + w * (at[i] + at[j])
        to_i, to_j = np.where(open_, x[..., j], x[..., i]), np.where(open_, x[..., i], x[..., j])
        drive = drive + w * (to_i[..., None] * at[i] + to_j[..., None] * at[j])
    return conductance, drive


def junctions_at(network, x):
    """Return conductance, both ends and whether it conducts, (...,), of each gap junction."""
    held = network.electrical
    for k in range(0 if held is None else len(held)):
        j, i = held.source[k], held.target[k]
        open_ = (x[..., j] > x[..., i]) | ~held.rectifying[k]
        yield held.weight[k], i, j, open_


def derivative(network, x, u):
    """Return dx/dt, (..., neuron)."""
    conductance, drive = conductance_and_drive(network, x, u)
    return (drive - conductance * x) / network.capacitance


def step(network, x, u, h):
    """Return the state after a semi-implicit step of length h."""
    conductance, drive = conductance_and_drive(network, x, u)
    c = network.capacitance / h
    return (c * x + drive) / (c + conductance)


def jacobian(network, x, u, h=None):
    """Return the Jacobian of the flow, or of a step of length h, (..., neuron, neuron)."""
    conductance, _ = conductance_and_drive(network, x, u)
    if h is None:
        after, divisor, diagonal = x, network.capacitance + 0 * conductance, -conductance
    else:
        after, c = step(network, x, u, h), network.capacitance / h
        divisor, diagonal = c + conductance, c + 0 * conductance
    n = len(network)
    result = np.zeros((*diagonal.shape, n))
    result[..., np.arange(n), np.arange(n)] = diagonal
    gate, _ = gates_at(network, x, u)
    k = network.recurrent
    for number in range(len(k)):
        i, j = k.target[number], k.source[number]
        q = gate[..., number]
        result[..., i, j] += (
            k.weight[number] * k.gain[number] * q * (1 - q) * (k.potential[number] - after[..., i])
        )
    for w, i, j, open_ in junctions_at(network, x):
        result[..., i, j] += w * open_
        result[..., j, i] += w * open_
        result[..., i, i] += w * ~open_
        result[..., j, j] += w * ~open_
    return result / divisor[..., None]


def row_norms(matrices, eta, *, logarithmic):
    """Return the (logarithmic) maximum norm with weights eta row by row, (..., neuron)."""
    scaled = matrices * eta / eta[:, None]
    diagonal = np.diagonal(scaled, axis1=-2, axis2=-1)
    rest = np.abs(scaled).sum(-1) - np.abs(diagonal)
    return rest + (diagonal if logarithmic else np.abs(diagonal))


def points(rng, box, count):
    """Return points of a box, corners and faces among them, (count, axis)."""
    share = rng.random((count, len(box.lo)))
    at_end = rng.random((count, len(box.lo))) < np.linspace(0, 1, count)[:, None]
    share = np.where(at_end, np.round(share), share)
    # Both ends exactly: lo + 1.0 * width may miss hi by a rounding.
    return np.where(share == 1, box.hi, np.minimum(box.lo + share * box.width, box.hi))


def fastest(network):
    """Return a bound of the rates G / C and of the entries of the Jacobian in the hull."""
    k, sensory = network.recurrent, network.sensory
    potentials = [network.leak_potential, k.potential, sensory.potential, np.zeros(1)]
    reach = np.ptp(np.concatenate(potentials)) if len(network) else 0.0
    total = network.leak + network.epsilon
    total = total + np.bincount(k.target, k.weight * (1 + np.abs(k.gain) * reach), len(network))
    total = total + np.bincount(sensory.target, sensory.weight, len(network))
    if network.electrical is not None:
        ends = network.electrical.ends
        total = total + 2 * np.bincount(ends.target, ends.weight, len(network))
    return float((total / network.capacitance).max())


def simulated(network, x, inputs, *, h, steps):
    """Return states (time, ..., neuron) of RK4 under inputs (time, ..., input), from x on."""
    states = [x]
    for u in inputs[:steps]:
        x = states[-1]
        k1 = derivative(network, x, u)
        k2 = derivative(network, x + h / 2 * k1, u)
        k3 = derivative(network, x + h / 2 * k2, u)
        k4 = derivative(network, x + h * k3, u)
        states.append(x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.stack(states)


def changing_inputs(rng, inputs, count, steps, held=5):
    """Return inputs (time, count, input) that jump within a box every `held` steps."""
    jumps = [points(rng, inputs, count) for _ in range(-(-steps // held))]
    return np.repeat(np.stack(jumps), held, axis=0)[:steps]


def wider(box, by):
    """Return the box widened by a number on all sides."""
    return Box(box.lo - by, box.hi + by)
