"""Cutting what stands in the way of a proof raises the proven rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import elegans
from elegans.errors import InputError, PruningError
from elegans.proofs import CertificateSensitivity, contraction_rates
from elegans.pruning import Pruner, parts_of
from elegans.wiring import AutoNCP

INPUTS = (-1.0, 1.0)


def circuit(seed: int, scale: float = 1.0) -> elegans.LTC:
    """Return a circuit with all recurrent conductances times `scale`."""
    generator = torch.Generator().manual_seed(seed)
    recipe = AutoNCP(units=16, output_size=2, seed=seed)
    model = elegans.LTC(3, recipe, generator=generator, dtype=torch.float64)
    synapses = model.cell.recurrent
    with torch.no_grad():
        synapses.weight.copy_(synapses.positivity.inverse(scale * synapses.values().weight))
    return model


def rates_of(model: elegans.LTC) -> torch.Tensor:
    return contraction_rates(model, INPUTS).detach()


def rate_after(seed: int, criterion: str) -> float:
    """Return the proven rate of a circuit of strong synapses after 15 % of them are cut."""
    model = circuit(seed, scale=3.0)
    chosen = CertificateSensitivity(model, INPUTS) if criterion == "sensitivity" else criterion
    Pruner(model, criterion=chosen, scope="global", allow_empty=True).prune(0.15)
    return float(rates_of(model).min())


@pytest.mark.slow
def test_circuits_are_proven_that_were_not() -> None:
    seeds = range(12)
    before = np.array([float(rates_of(circuit(seed, scale=3.0)).min()) for seed in seeds])
    ours, magnitude, random = (
        np.array([rate_after(seed, criterion) for seed in seeds])
        for criterion in ("sensitivity", "magnitude", "random")
    )
    assert (ours > 0).all()
    for others in (before, magnitude, random):
        assert (others > 0).sum() < len(seeds)
        assert ours.mean() > others.mean()


def test_the_score_is_the_slope_along_the_conductance() -> None:
    model = circuit(1)
    synapses = model.cell.recurrent
    part = parts_of(model)[0]
    score = CertificateSensitivity(model, INPUTS)(part)
    k = int(score.argmin())
    weight = part.weights()[k]
    rates = []
    for factor in (1 - 1e-5, 1 + 1e-5):
        kept = synapses.weight.detach().clone()
        with torch.no_grad():
            synapses.weight[k] = synapses.positivity.inverse(weight * factor)
        rates.append(float(rates_of(model).sum()))
        with torch.no_grad():
            synapses.weight.copy_(kept)
    slope = (rates[1] - rates[0]) / 2e-5
    assert np.sign(slope) == np.sign(float(score[k]))
    assert slope == pytest.approx(float(score[k]), rel=0.5)  # the box moves a little, too


def test_what_is_refused() -> None:
    model, other = circuit(0), circuit(1)
    criterion = CertificateSensitivity(model, INPUTS)
    with pytest.raises(PruningError, match="no set of synapses of the circuit"):
        Pruner(other, criterion=criterion).prune(0.5)
    with pytest.raises(PruningError, match="weight is no set of synapses"):
        Pruner(torch.nn.Linear(3, 2), criterion=criterion).prune(0.5)
    with pytest.raises(InputError):
        CertificateSensitivity(model, (1.0, -1.0))
