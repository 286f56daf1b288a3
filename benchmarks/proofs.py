"""How often circuits are certified, how sharply, and how fast.

python benchmarks/proofs.py prints the tables of benchmarks/README.md and writes proofs.json.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from elegans import LTC
from elegans.proofs import Network, certify, refute_contraction
from elegans.proofs.certificates.ceiling import sampled_ceiling
from elegans.proofs.certificates.region import region_of
from elegans.proofs.lyapunov import flow_exponents
from elegans.proofs.lyapunov.reference_systems import lorenz as lorenz_system
from elegans.wiring import AutoNCP, FullyConnected, Synapses, Wiring

SETTINGS = ((1, 0.5), (2, 0.5), (4, 0.5), (8, 0.5), (2, 0.7), (8, 0.7))
"""Inputs and sparsity of the circuits."""

CLOSE = 1.5
"""How many times the rate of the step that of the differential equation shall be at most."""


def drawn(inputs, sparsity, seed):
    """Return a circuit of 8 inter, 6 command and 2 motor neurons as it is drawn."""
    recipe = AutoNCP(16, 2, sparsity_level=sparsity, seed=seed)
    return LTC(inputs, recipe, generator=torch.Generator().manual_seed(seed))


def steps(inputs, sparsity, seeds):
    """Hold what is proved of a step of the layer against the differential equation.

    Where the step is behind, states are sampled for what no norm can exceed: minus the logarithm of
    the spectral radius of the step's Jacobian.
    """
    certified, ratios, unproved, allowed = 0, [], 0, 0
    for seed in range(seeds):
        model = drawn(inputs, sparsity, seed)
        answer = certify(model, inputs=(-1, 1), advice=False, check=False)
        if not answer:
            continue
        certified += 1
        unproved += answer.step is None
        if answer.step is not None:
            ratios.append(answer.best_rate / answer.step.rate)
        if answer.step is None or ratios[-1] > CLOSE:
            allowed += sampled_rate(model, answer.box, seed) >= answer.best_rate / CLOSE
    return {
        "inputs": inputs,
        "sparsity": sparsity,
        "certified": certified,
        "no step proved": unproved,
        "flow / step, median": float(np.median(ratios)),
        "90 % below": float(np.quantile(ratios, 0.9)),
        f"within {CLOSE}": int(np.sum(np.array(ratios) <= CLOSE)),
        "of the others, allowed by samples": allowed,
    }


def sampled_rate(model, box, seed, samples=500):
    """Return the least rate of a step's Jacobian in states of a box and inputs in [-1, 1]."""
    rng = np.random.default_rng(seed)
    share = rng.random((samples, len(box.lo)))
    share = np.where(rng.random(share.shape) < 0.5, np.round(share), share)
    states = torch.tensor(box.lo + share * (box.hi - box.lo), dtype=torch.float32)
    given = 2 * torch.rand(samples, 1, model.input_size) - 1

    def step(state, inputs):
        return model.cell(inputs, state[None], 1.0)[1][0]

    radius = max(
        float(torch.linalg.eigvals(torch.func.jacrev(step)(x, u).detach()).abs().max())
        for x, u in zip(states, given, strict=True)
    )
    return -np.log(radius)


def share_certified(inputs, sparsity, seeds):
    """Certify AutoNCP circuits of 8 inter, 6 command and 2 motor neurons as they are drawn."""
    certified, witnesses, refuted, gaps = 0, 0, 0, []
    for seed in range(seeds):
        model = drawn(inputs, sparsity, seed)
        answer = certify(model, inputs=(-1, 1), advice=False)
        network = Network.of(model)
        box = region_of(network, network.range_of((-1, 1)), "interval").box
        ceiling = sampled_ceiling(model, box, (-1, 1), seed=seed)
        if answer:
            certified += 1
            gaps.append(1 - answer.best_rate / ceiling.rate)
        else:
            refuted += refute_contraction(model, (-1, 1)) is not None
        witnesses += ceiling.refutes
    return {
        "inputs": inputs,
        "sparsity": sparsity,
        "seeds": seeds,
        "certified": certified,
        "refuted by a state": witnesses,
        "proved not to contract": refuted,
        "undecided": seeds - certified - witnesses,
        "median gap": float(np.median(gaps)),
        "90 % of gaps below": float(np.quantile(gaps, 0.9)),
    }


def random_circuit(neurons, synapses):
    """Return a random circuit whose conductances are small enough for level exact."""
    rng = np.random.default_rng(0)
    source, target = rng.integers(neurons, size=synapses), rng.integers(neurons, size=synapses)
    target = np.where(source == target, (target + 1) % neurons, target)
    wiring = Wiring(
        10,
        {"motor": 10, "inter": neurons - 10},
        Synapses(source, target, rng.choice([-1, 1], synapses)),
        Synapses(
            rng.integers(10, size=synapses // 10),
            rng.integers(neurons, size=synapses // 10),
            rng.choice([-1, 1], synapses // 10),
        ),
    )
    model = LTC(10, wiring, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.cell.recurrent.weight.sub_(3.0)
        model.cell.recurrent.sigma.mul_(0.2)
    return model


def self_connected(neurons):
    """Return a circuit in which every neuron leads to every neuron, itself included."""
    wiring = FullyConnected(neurons, neurons, self_connections=True)
    model = LTC(4, wiring, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.cell.recurrent.weight.sub_(4.0)
        model.cell.recurrent.sigma.mul_(0.2)
    return model


def costs(largest):
    """Time the search for a certificate and its check, one after the other in this process."""
    circuits = [LTC(4, AutoNCP(50, 2, seed=1), generator=torch.Generator().manual_seed(0))]
    circuits.append(self_connected(50))
    sizes = [(2_000, 40_000), (10_000, 200_000), (50_000, 1_000_000)]
    circuits += [random_circuit(*size) for size in sizes if size[1] <= largest]
    lines = []
    for model in circuits:
        for level in ("exact", "interval"):
            start = time.perf_counter()
            certificate = certify(model, (-1, 1), level, check=False, advice=False)
            made = time.perf_counter()
            if not certificate:
                continue
            certificate.verify(10**12)
            checked = time.perf_counter()
            lines.append(
                {
                    "neurons": model.state_size,
                    "synapses": model.synapse_count + model.sensory_synapse_count,
                    "level": level,
                    "boxes": len(certificate.boxes),
                    "rate": certificate.rate,
                    "search (s)": made - start,
                    "check (s)": checked - made,
                    "check / search": (checked - made) / (made - start),
                }
            )
    return lines


def lorenz():
    """Measure the Lorenz spectrum with the defaults."""
    system = lorenz_system
    start = time.perf_counter()
    members = system.states(1024, seed=0)
    found = flow_exponents(system.function, members, dt=0.01, time=15, progress=False)
    return {
        "exponents": np.asarray(found.exponents).tolist(),
        "error bars": np.asarray(found.errors).tolist(),
        "reference": list(system.exponents),
        "seconds": time.perf_counter() - start,
    }


def table(rows):
    """Print rows of equal fields as a Markdown table."""
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        cells = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values())
        print("| " + " | ".join(cells) + " |")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--largest", type=int, default=200_000, help="synapses of a circuit")
    parser.add_argument("--out", type=Path, default=Path("proofs.json"))
    arguments = parser.parse_args()
    sizes = costs(arguments.largest)
    table(sizes)
    shares = [share_certified(inputs, sparsity, arguments.seeds) for inputs, sparsity in SETTINGS]
    table(shares)
    taken = [steps(inputs, sparsity, arguments.seeds) for inputs, sparsity in SETTINGS]
    table(taken)
    chaos = lorenz()
    print(chaos)
    found = {"costs": sizes, "shares": shares, "steps": taken, "lorenz": chaos}
    arguments.out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
