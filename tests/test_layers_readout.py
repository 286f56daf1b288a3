"""A linear readout of all neurons."""

import copy

import numpy as np
import pytest
import torch

import elegans
from elegans.data import Sequence, cut_windows
from elegans.errors import InputError, RunError
from elegans.pruning import Pruner
from elegans.training import OnStep, RewireConfig, RunFolder, TrainingConfig, fit, load_model
from elegans.wiring import AutoNCP

LAYERS = {
    "liquid": lambda **options: elegans.LTC(3, AutoNCP(12, 2), **options),
    "signed": lambda **options: elegans.CTRNN(3, AutoNCP(12, 2), **options),
    "wired": lambda **options: elegans.CfC(3, AutoNCP(12, 2), **options),
    "plain": lambda **options: elegans.CfC(3, 5, **options),
    "with memory": lambda **options: elegans.LTC(3, AutoNCP(12, 2), mixed_memory=True, **options),
}


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_it_reads_the_potentials_of_all_neurons(kind, return_sequences, batch_first):
    torch.manual_seed(0)
    layer = LAYERS[kind](batch_first=batch_first, return_sequences=return_sequences)
    model = elegans.Readout(layer, 4)
    time = 1 if batch_first else 0
    for shape in ((2, 6, 3) if batch_first else (6, 2, 3), (6, 3)):
        x = torch.randn(shape)
        output, state = model(x)
        _, final, states = layer(x, return_states=True)
        expected = states @ model.head.weight.T + model.head.bias
        if not return_sequences:
            expected = expected.select(time if len(shape) == 3 else 0, -1)
        assert torch.allclose(output, expected, atol=1e-6)
        assert torch.equal(torch.as_tensor(state[0]), torch.as_tensor(final[0]))


@pytest.mark.parametrize("kind", LAYERS)
def test_sequences_of_different_lengths_end_with_their_own_answer(kind):
    torch.manual_seed(0)
    model = elegans.Readout(LAYERS[kind](), 4)
    x = torch.randn(2, 6, 3)
    output, _ = model(x, lengths=torch.tensor([6, 4]))
    alone, _ = model(x[1:, :4])
    assert torch.allclose(output[1, -1], alone[0, -1], atol=1e-6)


@pytest.mark.parametrize("return_sequences", [True, False])
def test_a_sequence_of_no_steps(return_sequences):
    model = elegans.Readout(LAYERS["liquid"](return_sequences=return_sequences), 4)
    output, state = model(torch.zeros(2, 0, 3), torch.ones(2, 12))
    assert torch.equal(state, torch.ones(2, 12))
    assert output.shape == ((2, 0, 4) if return_sequences else (2, 4))


def test_the_state_carries_on():
    torch.manual_seed(0)
    model, x = elegans.Readout(LAYERS["liquid"](), 4), torch.randn(2, 6, 3)
    whole, _ = model(x)
    first, state = model(x[:, :2])
    second, _ = model(x[:, 2:], state)
    assert torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-6)


def test_a_generator_decides_the_initial_weights():
    layer = LAYERS["liquid"]()
    first, second = (
        elegans.Readout(copy.deepcopy(layer), 4, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(first.head.weight, second.head.weight)
    assert first.head.weight.abs().max() <= 12**-0.5
    double = elegans.Readout(LAYERS["liquid"](dtype=torch.float64), 4)
    assert double.head.weight.dtype == torch.float64


def test_the_circuit_rewires_behind_its_readout():
    torch.manual_seed(0)
    model = elegans.Readout(LAYERS["liquid"](), 4)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    rewirer = elegans.PruneRewire.from_rule("free", model, optimizer, steps=20)
    for _ in range(20):
        optimizer.zero_grad()
        model(torch.randn(2, 5, 3))[0].square().mean().backward()
        optimizer.step()
        rewirer.step()
    assert rewirer.turnover().cut
    assert {edit.synapses for edit in rewirer.ledger} <= {
        "layer.cell.recurrent",
        "layer.cell.sensory",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.nn.LSTM(3, 4), 2), "layer must be one such as elegans.LTC, got LSTM"),
        ((elegans.LTC(3, 4), 0), "output_size"),
        ((elegans.LTC(3, 4), 2.5), "output_size"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        elegans.Readout(*arguments)


# --- kept, trained and asked -------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind != "plain"])
def test_it_is_saved_and_loaded_also_when_pruned(kind, tmp_path):
    model = elegans.Readout(LAYERS[kind](), 4)
    for step in range(2):
        elegans.save(model, tmp_path / f"{step}")
        again = elegans.load(tmp_path / f"{step}")
        assert isinstance(again, elegans.Readout)
        assert again.wiring == model.wiring
        x = torch.randn(2, 5, 3)
        torch.testing.assert_close(again(x)[0], model(x)[0])
        Pruner(model.layer, schedule=0.3).step()
    with pytest.raises(RunError, match="got a folder that holds"):
        elegans.save(model, tmp_path / "0")


def test_a_policy_answers_by_it(tmp_path):
    model, x = elegans.Readout(LAYERS["liquid"](), 4), torch.randn(3, 6, 3)
    policy = elegans.Policy(model)
    actions = torch.stack([policy(x[:, t]) for t in range(6)], dim=1)
    torch.testing.assert_close(actions, model(x)[0].detach(), atol=1e-5, rtol=0)
    elegans.save(model, tmp_path / "saved")
    loaded = elegans.Policy.load(tmp_path / "saved")
    assert loaded(x[0, 0].tolist()).shape == (4,)


@pytest.mark.parametrize("rule", ["free", "development"])
def test_a_run_with_it_continues_bit_for_bit(rule, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    windows = cut_windows([Sequence("s", x, x[:, :2].cumsum(0), np.ones(60))], 10)
    config = TrainingConfig(steps=12, batch_size=4, window=10, evaluate_every=4,
                            checkpoint_every=5, rewire=RewireConfig(rule=rule))  # fmt: skip

    def made():
        generator = torch.Generator().manual_seed(0)
        layer = elegans.LTC(3, AutoNCP(12, 2, seed=0), generator=generator)
        return elegans.Readout(layer, 2, generator=generator)

    def begun(name):
        return RunFolder.create(tmp_path / name, made(), {"training": "test"})

    whole, parts = begun("whole"), begun("parts")
    fit(made(), windows, windows, config, run=whole, progress=False)

    def stop(step):
        if step == 7:
            raise OSError("power failure")

    with pytest.raises(OSError, match="power failure"):
        fit(made(), windows, windows, config, run=parts, progress=False, callbacks=[OnStep(stop)])
    fit(made(), windows, windows, config, run=parts, resume=True, progress=False)
    one, other = (load_model(run.path).state_dict() for run in (whole, parts))
    assert "head.weight" in one
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
