"""Circuits with gap junctions in states, folders and runs, and where they have no place."""

from functools import partial

import numpy as np
import pytest
import torch
from electric_circuits import CIRCUITS, circuit, wiring
from interrupting import interrupt

import elegans
from elegans.cli import main
from elegans.errors import InputError, RunError
from elegans.training import OnStep
from elegans.wiring import Wiring


def answers(model):
    x = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(4)).to(model.cell.dtype)
    with torch.no_grad():
        return model(x, return_states=True)


def assert_same(model, again):
    assert again.wiring == model.wiring
    for mine, other in zip(answers(again), answers(model), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CIRCUITS)
def test_states_and_folders_give_the_junctions_back(name, tmp_path):
    model = CIRCUITS[name](dtype=torch.float64)
    fresh = elegans.LTC(3, model.cell._blueprint, dtype=torch.float64)
    fresh.load_state_dict(model.state_dict())
    assert_same(model, fresh)
    elegans.save(model, tmp_path / "saved")
    assert_same(model, elegans.load(tmp_path / "saved"))
    model.save_pretrained(tmp_path / "hub")
    assert_same(model, elegans.LTC.from_pretrained(tmp_path / "hub"))


def test_pairs_in_another_order_than_the_wiring_has_are_kept(tmp_path):
    model = circuit(dtype=torch.float64)
    slots, order = model.cell.electrical, torch.tensor([3, 1, 4, 0, 2])
    before, expected = model.wiring, answers(model)
    with torch.no_grad():
        for tensor in (*slots.buffers(), *slots.parameters()):
            tensor.copy_(tensor.clone()[order])
        both_ways = ~slots.rectifying
        source, target = slots.source.clone(), slots.target.clone()
        slots.source.copy_(torch.where(both_ways, target, source))
        slots.target.copy_(torch.where(both_ways, source, target))
        slots.accept_connections()
    assert model.wiring == before
    torch.testing.assert_close(answers(model), expected, rtol=0, atol=1e-12)
    elegans.save(model, tmp_path)
    assert_same(model, elegans.load(tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("target", torch.tensor([2, 1, 4, 5, 0]), "of a neuron with itself or two of one pair"),
        ("source", torch.tensor([6, 1, 3, 5, 3]), "must hold indices from 0 to 5"),
        ("mask", torch.ones(4, dtype=torch.bool), "expected one entry for each"),
    ],
)
def test_damaged_states_are_refused(name, value, message):
    model = circuit()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    damaged = before | {f"cell.electrical.{name}": value.to(before[f"cell.electrical.{name}"])}
    if name == "target":
        damaged["cell.electrical.source"] = damaged["cell.electrical.target"]
    with pytest.raises(InputError, match=message):
        model.load_state_dict(damaged)
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in before.items())


def test_weights_of_other_junctions_do_not_fit_a_folder(tmp_path):
    elegans.save(circuit(), tmp_path)
    (tmp_path / "wiring.json").write_text(wiring("one").to_json())
    with pytest.raises(RunError, match="do not fit the wiring"):
        elegans.load(tmp_path)


def test_ncps_has_no_place_for_junctions():
    with pytest.raises(InputError, match=r"got a model with 5 gap junctions, expected chemical"):
        elegans.to_ncps(circuit())
    state = elegans.to_ncps(circuit(pruned=range(5)))
    with pytest.raises(InputError, match=r"5 gap junctions"):
        elegans.load_ncps(circuit(), state)
    again = elegans.from_ncps(state, layers={"motor": 2, "inter": 4})
    expected = answers(circuit(pruned=range(5)))
    torch.testing.assert_close(answers(again), expected, rtol=1e-5, atol=1e-6)


def test_a_run_with_junctions_is_interrupted_and_ends_alike(tmp_path, monkeypatch, capsys):
    import elegans.cli.train as command

    rng = np.random.default_rng(0)
    rows = [f"{t},{a:.4f},{b:.4f},{a * b:.4f}" for t, (a, b) in enumerate(rng.normal(size=(90, 2)))]
    (tmp_path / "a.csv").write_text("\n".join(["t,a,b,c", *rows]) + "\n")
    path = tmp_path / "circuit.json"
    path.write_text(wiring().to_json())
    assert Wiring.from_json(path.read_text()).gap_junction_count == 5

    def train(name, *more):
        words = f"train {tmp_path / 'a.csv'} --inputs a b c --targets a b --time t --wiring {path}"
        sizes = "--unfolds 2 --steps 6 --window 8 --checkpoint-every 3 --quiet"
        sizes += " --rewire.no-enabled"
        return main([*f"{words} --out {tmp_path / name} {sizes}".split(), *more])

    def stop(step):
        if step == 4:
            interrupt()

    assert train("whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(command, "fit", partial(command.fit, callbacks=[OnStep(stop)]))
        assert train("stopped") == 130
    assert train("stopped", "--resume") == 0
    for name in ("model.safetensors", "wiring.json", "wiring_initial.json"):
        whole, stopped = ((tmp_path / run / name).read_bytes() for run in ("whole", "stopped"))
        assert whole == stopped, name
    trained = elegans.load(tmp_path / "whole")
    layer = getattr(trained, "layer", trained)
    assert layer.wiring.gap_junction_count == 5
    fresh = elegans.LTC(3, layer.wiring).cell.electrical.weight
    assert not torch.equal(layer.cell.electrical.weight, fresh)
