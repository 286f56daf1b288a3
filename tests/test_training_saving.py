"""A saved model comes back the same, or an error says which file is to blame."""

import json
import os

import pytest
import torch
from torch.nn.utils import prune

import elegans.checkpoints.saving
from elegans import LTC, Policy, PruneRewire, Readout, Stacked
from elegans.checkpoints.saving import layer_settings, load, load_circuit, save
from elegans.errors import RunError
from elegans.files import remove_parts, write_bytes
from elegans.solvers import TorchDiffEq
from elegans.wiring import AutoNCP


def circuit(**options):
    return LTC(3, AutoNCP(12, 2), generator=torch.Generator().manual_seed(0), **options)


@pytest.fixture
def folder(tmp_path):
    save(circuit(), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mixed_memory": True, "batch_first": False},
        {"input_mapping": None, "output_mapping": "linear", "return_sequences": False},
        {"ode_unfolds": 2, "epsilon": 0.0, "solver": "rk4", "dtype": torch.float64},
        {"implicit_param_constraints": False, "fixed_polarity": False},
    ],
    ids=lambda options: ",".join(options) or "defaults",
)
def test_round_trip(tmp_path, options):
    model = circuit(**options)
    save(model, tmp_path)
    again = load(tmp_path)
    x = torch.randn(4, 4, 3, dtype=options.get("dtype", torch.float32))
    assert torch.equal(model(x)[0], again(x)[0])
    assert again.wiring == model.wiring
    assert layer_settings(again) == layer_settings(model)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "wiring.json",
    ]


def test_slots_keep_their_order_after_rewiring(tmp_path):
    model = circuit()
    optimizer = torch.optim.Adam(model.parameters())
    rewirer = PruneRewire(model, optimizer, threshold=0.4, every=1, weight=0.5)
    edits = [edit for _ in range(5) for edit in rewirer.step()]
    assert edits
    save(model, tmp_path)
    again = load(tmp_path)
    assert not torch.equal(model.cell.recurrent.target.sort().values, model.cell.recurrent.target)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_loading_draws_nothing_from_the_global_generator(folder):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load(folder)
    assert torch.equal(torch.rand(3), expected)


def test_a_saved_model_is_not_replaced_unasked(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RunError, match=r"holds config.json already.*overwrite=True"):
        save(LTC(5, 4), folder)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "notes.txt").write_text("mine")
    save(LTC(5, 4), folder, overwrite=True)
    assert load(folder).input_size == 5
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_run_is_not_replaced_by_a_model(folder):
    (folder / "config.json").write_text('{"format": "elegans.run"}')
    with pytest.raises(RunError, match="not that of a saved model"):
        save(circuit(), folder, overwrite=True)


@pytest.mark.parametrize("name", ["config.json", "wiring.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half"])
def test_damage_is_named(folder, name, damage):
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    with pytest.raises(RunError, match=f"{name}: .*pass a folder that elegans.save"):
        load(folder)


def test_weights_of_another_circuit_are_refused(folder, tmp_path):
    save(LTC(3, 4), tmp_path / "other")
    (tmp_path / "other/model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(RunError, match="weights do not fit the wiring and settings"):
        load(folder)


def test_synapses_that_lead_nowhere_are_refused(folder):
    state = load(folder).state_dict()
    state["cell.recurrent.target"][0] = 99
    elegans.checkpoints.saving.write_tensors(folder / "model.safetensors", state)
    with pytest.raises(RunError, match=r"model.safetensors.*99"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "got version 2 of the format"),
        ({"model": {"layer": "CfC"}}, "model of layer 'CfC'"),
        ({"model": {"layer": "LTC", "dtype": "load", "input_size": 3}}, "in 'load'"),
    ],
)
def test_settings_that_make_no_layer(folder, change, message):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(RunError, match=message):
        load(folder)


def test_unknown_argument_of_the_layer(folder):
    config = json.loads((folder / "config.json").read_text())
    config["model"]["colour"] = "red"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"do not make a layer.*colour"):
        load(folder)


def test_a_solver_with_settings_of_its_own_is_refused(tmp_path):
    with pytest.raises(RunError, match="solver_names"):
        save(circuit(solver=TorchDiffEq("dopri5", rtol=1e-3)), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def stack(**options):
    return Stacked(lambda inputs: LTC(inputs, AutoNCP(8, 2)), 3, 2, **options)


def test_layers_one_on_another_are_a_folder_each(tmp_path):
    model = stack(bidirectional=True)
    save(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "layer-0",
        "layer-0-backwards",
        "layer-1",
        "layer-1-backwards",
    ]
    one = load(tmp_path / "layer-1")
    assert one.input_size == 4
    assert torch.equal(one.cell.vleak, model.ways()[1][0].cell.vleak)


def test_a_shorter_stack_replaces_a_longer_one(tmp_path):
    save(stack(bidirectional=True), tmp_path)
    with pytest.raises(RunError, match=r"layer-0: got a folder that holds config.json already"):
        save(stack(), tmp_path)
    assert load(tmp_path).bidirectional
    model = stack()
    save(model, tmp_path, overwrite=True)
    again = load(tmp_path)
    assert not again.bidirectional
    assert again.state_dict().keys() == model.state_dict().keys()


def test_a_stack_is_not_saved_in_part(tmp_path):
    solvers = iter(("rk4", TorchDiffEq("dopri5", rtol=1e-3)))
    model = Stacked(lambda inputs: LTC(inputs, AutoNCP(8, 2), solver=next(solvers)), 3, 2)
    with pytest.raises(RunError, match="solver_names"):
        save(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def of_stack(folder, **change):
    config = json.loads((folder / "config.json").read_text())
    config["model"]["stacked"] |= change
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: of_stack(f, num_layers=10**9), r"layer-2.config\.json"),
        (lambda f: of_stack(f, num_layers=0), r"do not stand.*num_layers"),
        (lambda f: of_stack(f, num_layers="2"), "'2' as num_layers"),
        (lambda f: of_stack(f, dropout=1.0), r"do not stand.*dropout"),
        (lambda f: of_stack(f, input_size=4), r"do not stand.*make\(4\) returned"),
        (lambda f: of_stack(f, bidirectional=True), "layer-0-backwards"),
        (lambda f: save(stack(), f / "layer-1", overwrite=True), "expected one circuit"),
        (
            lambda f: save(Readout(circuit(), 2), f / "layer-0", overwrite=True),
            r"do not stand.*returned a Readout",
        ),
    ],
)
def test_a_stack_whose_layers_do_not_fit(tmp_path, damage, message):
    save(stack(), tmp_path)
    damage(tmp_path)
    with pytest.raises(RunError, match=message):
        load(tmp_path)


def test_what_needs_one_circuit_names_the_folder_of_one(tmp_path):
    save(stack(), tmp_path)
    for read in (Policy.load, load_circuit):
        with pytest.raises(RunError, match=r"pass the folder of one of them, such as .*layer-0"):
            read(tmp_path)
    assert Policy.load(tmp_path / "layer-0")([0.0, 0.0, 0.0]).shape == (2,)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(f"elegans.files.os.{call}", fail)
            with pytest.raises(OSError, match="disk full"):
                write_bytes(path, b"new")
        assert path.read_bytes() == b"old"
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_writer_left_goes_with_a_later_write(tmp_path):
    old, new, other, odd = (
        tmp_path / name
        for name in (
            ".file.0123abcd.part",
            ".file.89abcdef.part",
            ".another.0123abcd.part",
            ".file.0123abc.part",
        )
    )
    for path in (old, other, odd):
        path.write_text("half")
        os.utime(path, (0, 0))
    new.write_text("half")  # somebody may be writing it at this moment
    write_bytes(tmp_path / "file", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"file", new.name, other.name, odd.name}


def test_a_writer_begins_anew_when_its_part_is_taken_for_that_of_a_dead_one(tmp_path, monkeypatch):
    flush, removed = os.fsync, []

    def taken_over(file):
        flush(file)
        if len(removed) < most:
            removed.append(file)
            remove_parts(tmp_path)

    monkeypatch.setattr("elegans.files.os.fsync", taken_over)
    for most in (1, 2):
        removed.clear()
        write_bytes(tmp_path / "file", b"whole")
        assert len(removed) == most
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert (tmp_path / "file").read_bytes() == b"whole"
    most = 99
    with pytest.raises(FileNotFoundError):  # whatever removes them, the end is not put off for ever
        write_bytes(tmp_path / "file", b"other")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"file.*cannot be written .* choose a place that exists"):
        save(circuit(), tmp_path / "file" / "model")


def test_computed_parameters_are_not_saved(tmp_path):
    model = circuit()
    prune.random_unstructured(model.cell.recurrent, "weight", 0.5)
    with pytest.raises(RunError, match=r"cell.recurrent.weight.*make .* permanent first"):
        save(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    prune.remove(model.cell.recurrent, "weight")
    save(model, tmp_path / "model")
    assert load(tmp_path / "model").wiring == model.wiring


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = circuit()
    with torch.no_grad():
        model.cell.output_mapping.bias[0] = float("nan")
    save(model, tmp_path)
    with pytest.raises(RunError, match=r"cell.output_mapping.bias holds a number that is not fin"):
        load(tmp_path)
