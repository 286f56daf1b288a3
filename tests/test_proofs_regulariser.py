"""Rates with gradients, and training towards a certificate."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans import LTC
from elegans.data import Sequence, cut_windows
from elegans.errors import InputError, SolveError
from elegans.proofs import (
    ContractionCondition,
    ContractionPenalty,
    Network,
    certify,
    contraction_rates,
)
from elegans.proofs.certificates.perron import best_rates
from elegans.proofs.certificates.region import region_of, rows_of
from elegans.training import OnStep, RewireConfig, RunFolder, TrainingConfig, fit
from elegans.training.trainer import TrainingStopped
from elegans.wiring import AutoNCP, FullyConnected


def layer(seed, wiring=None, **options):
    generator = torch.Generator().manual_seed(seed)
    wiring = AutoNCP(10, 2, seed=seed) if wiring is None else wiring
    return LTC(2, wiring, generator=generator, **options)


@given(seed=st.integers(0, 1000), level=st.sampled_from(["exact", "interval"]))
@settings(max_examples=20, deadline=None)
def test_rates_are_those_of_the_certificate(seed, level):
    model = layer(seed)
    network = Network.of(model)
    region = region_of(network, network.range_of((-1, 1)), level)
    expected = best_rates(rows_of(network, region, level), tolerance=1e-4).rate
    rates = contraction_rates(model, (-1, 1), level=level)
    # Both lie within the tolerance above the proven rate.
    np.testing.assert_allclose(rates.detach().numpy(), expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("level", ["exact", "interval"])
@pytest.mark.parametrize("seed", range(4))
def test_gradients_against_differences_with_the_box_held(seed, level, monkeypatch):
    model = layer(seed, dtype=torch.float64)
    network = Network.of(model)
    region = region_of(network, network.range_of((-1, 1)), level)

    def slowest(gates):
        """Return the rate of the slowest component, the box but not its gates as they were."""
        now = Network.of(model)
        held = region if level == "exact" else gates(now)
        return best_rates(rows_of(now, held, level), tolerance=1e-10).best_rate

    def in_box(now):
        ranges = type(region.gates).over(now, region.box, now.range_of((-1, 1)))
        return type(region)(region.boxes, region.shares, region.entry_time, ranges)

    monkeypatch.setattr("elegans.proofs.certificates.regulariser.region_of", lambda *_: region)
    rates = contraction_rates(model, (-1, 1), level=level)
    rates[int(rates.argmin())].backward()
    checked = 0
    for parameter in model.parameters():
        if parameter.grad is None or not len(parameter):
            continue
        k = int(parameter.grad.abs().argmax())
        ends = []
        for change in (1e-5, -2e-5):
            with torch.no_grad():
                parameter[k] += change
            ends.append(slowest(in_box))
        with torch.no_grad():
            parameter[k] += 1e-5
        difference = (ends[0] - ends[1]) / 2e-5
        assert float(parameter.grad[k]) == pytest.approx(difference, rel=2e-3, abs=1e-6)
        checked += abs(difference) > 1e-6
    assert checked >= 2


def test_the_penalty_is_what_the_components_lack():
    model = layer(1)
    rates = contraction_rates(model, (-1, 1)).detach()
    margin = float(rates.median()) + 0.1
    penalty = ContractionPenalty(model, (-1, 1), margin=margin)
    lack = float((margin - rates).clamp(min=0).sum())
    assert float(penalty().detach()) == pytest.approx(lack, rel=1e-4)
    assert penalty.rate == pytest.approx(float(rates.min()), rel=1e-4)
    assert float(ContractionPenalty(model, (-1, 1), margin=-1e3)().detach()) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_training_on_the_penalty_ends_in_a_certificate(seed):
    model = layer(seed, FullyConnected(6, 2))
    assert not certify(model, (-1, 1), advice=False)
    ContractionCondition(model, (-1, 1), margin=0.1).establish()
    certificate = certify(model, (-1, 1))
    assert certificate.rate > 0
    assert len(certificate.verify()) >= 3


def test_a_condition_that_cannot_be_met_is_an_error(monkeypatch):
    monkeypatch.setattr("elegans.proofs.certificates.condition._STEPS", 2)
    model = layer(0, FullyConnected(8, 2))
    with pytest.raises(SolveError, match="not certified after 2 steps"):
        ContractionCondition(model, (-1, 1)).establish()


def test_wrong_ranges_are_errors_at_once():
    for inputs, text in (((1, -1), "above the upper"), ((0, float("inf")), "finite ends")):
        with pytest.raises(InputError, match=text):
            ContractionPenalty(layer(0), inputs)


def windows():
    rng = np.random.default_rng(0)
    inputs = np.clip(np.cumsum(rng.normal(size=(120, 2)), axis=0) / 5, -1, 1)
    targets = np.tanh(np.cumsum(inputs, axis=0))
    return cut_windows([Sequence("walk", inputs, targets, np.ones(120))], 20)


def config(**changes):
    rewire = RewireConfig(threshold="relative", value=0.5, every=5, until=1.0)
    return TrainingConfig(steps=40, batch_size=4, evaluate_every=10, rewire=rewire, **changes)


@pytest.mark.slow
def test_a_training_under_the_condition_ends_certified():
    data = windows()
    model = layer(5, AutoNCP(12, 2, sparsity_level=0.2, seed=5))
    assert not certify(model, (-1, 1), advice=False)
    condition = ContractionCondition(model, (-1, 1))
    result = fit(model, data, data, config(), condition=condition, progress=False)
    assert condition.holds()
    assert result.best_loss < result.metrics[0]["validation_loss"]
    rewired = [edit for edit in result.ledger if edit.grown is not None]
    assert rewired
    assert all("grown_slack_after" in edit.notes for edit in rewired)


@pytest.mark.slow
def test_a_continued_training_is_the_same(tmp_path):
    data = windows()
    whole = layer(5, AutoNCP(12, 2, seed=5))
    expected = fit(
        whole, data, data, config(), condition=ContractionCondition(whole, (-1, 1)), progress=False
    )
    parts = layer(5, AutoNCP(12, 2, seed=5))
    run = RunFolder.create(tmp_path / "run", parts, {"x": 1})

    class StopError(Exception):
        pass

    def stop(step):
        if step == 23:
            raise StopError

    with pytest.raises((StopError, TrainingStopped)):
        fit(
            parts,
            data,
            data,
            config(checkpoint_every=10),
            run=run,
            condition=ContractionCondition(parts, (-1, 1)),
            progress=False,
            callbacks=[OnStep(stop)],
        )
    again = layer(5, AutoNCP(12, 2, seed=5))
    result = fit(
        again,
        data,
        data,
        config(checkpoint_every=10),
        run=run,
        resume=True,
        condition=ContractionCondition(again, (-1, 1)),
        progress=False,
    )
    assert result.best_loss == expected.best_loss
    assert [edit.to_dict() for edit in result.ledger] == [e.to_dict() for e in expected.ledger]
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_a_condition_on_another_layer_is_an_error():
    data, mine, other = windows(), layer(5), layer(6)
    with pytest.raises(InputError, match="got a condition on another layer"):
        fit(mine, data, data, config(), condition=ContractionCondition(other, (-1, 1)))


def test_arguments_are_checked():
    model = layer(1)
    for options, text in (
        ({"level": "Exact"}, "got level='Exact', expected one of"),
        ({"margin": float("nan")}, "got margin=nan, expected a finite number"),
        ({"margin": "a"}, "got margin='a', expected a finite number"),
    ):
        with pytest.raises(InputError, match=text):
            ContractionPenalty(model, (-1, 1), **options)
    with pytest.raises(InputError, match="got weight=nan"):
        ContractionCondition(model, (-1, 1), weight=float("nan"))


def test_frozen_parameters_cannot_be_trained():
    model = layer(0, FullyConnected(6, 2)).requires_grad_(False)
    with pytest.raises(InputError, match="do not require gradients"):
        ContractionCondition(model, (-1, 1)).establish()
