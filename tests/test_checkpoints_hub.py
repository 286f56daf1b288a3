"""Models in folders and repositories as users of huggingface_hub know them, and whole states."""

import copy
import sys
import types

import pytest
import torch
from torch import nn

import elegans
from elegans.errors import ElegansError, InputError, MissingExtraError, RunError
from elegans.layers.states import all_or_nothing
from elegans.wiring import AutoNCP


def circuit(seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return elegans.LTC(3, AutoNCP(12, 2, seed=seed), generator=generator, **options)


def stack(num_layers=2, **options):
    kinds = iter((elegans.LTC, elegans.CfC, elegans.CTRNN, elegans.LTC))
    return elegans.Stacked(
        lambda inputs: next(kinds)(inputs, AutoNCP(8, 2)), 3, num_layers, **options
    )


def equal(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


MODELS = {
    "LTC": lambda: circuit(),
    "LTC with memory": lambda: circuit(mixed_memory=True),
    "CfC": lambda: elegans.CfC(3, 5),
    "wired CfC": lambda: elegans.CfC(3, AutoNCP(12, 2)),
    "CTRNN": lambda: elegans.CTRNN(3, AutoNCP(12, 2)),
    "NeuralLTC": lambda: elegans.NeuralLTC(3, 5),
    "NeuralODE": lambda: elegans.NeuralODE(3, 5),
    "Readout": lambda: elegans.Readout(circuit(), 4),
    "Stacked": lambda: stack(dropout=0.25, bidirectional=True),
    "Stacked, one layer": lambda: stack(1, return_sequences=False, batch_first=False),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_gives_the_model_back(name, tmp_path):
    model = MODELS[name]().eval()
    assert model.save_pretrained(tmp_path / "a") is None
    again = type(model).from_pretrained(tmp_path / "a")
    assert type(again) is type(model)
    assert not again.training
    assert equal(model, again)
    assert str(model) == str(again)
    x = torch.randn(4, 4, 3)
    for answer, expected in zip(again(x), model(x), strict=True):
        torch.testing.assert_close(answer, expected, rtol=0, atol=0)
    assert (
        f"elegans.{type(model).__name__}.from_pretrained" in (tmp_path / "a/README.md").read_text()
    )


def test_saving_again_overwrites_the_model_and_not_the_card(tmp_path):
    circuit().save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    second = elegans.CfC(2, 4)
    second.save_pretrained(tmp_path)
    assert equal(elegans.CfC.from_pretrained(str(tmp_path)), second)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_another_class_is_refused(tmp_path):
    circuit().save_pretrained(tmp_path)
    with pytest.raises(RunError, match=r"got a saved LTC, expected one of CfC; call LTC\.from_pre"):
        elegans.CfC.from_pretrained(tmp_path)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda: elegans.LTC.from_pretrained("owner/name"),
        lambda: circuit().push_to_hub("owner/name"),
        lambda: circuit().save_pretrained("circuit", push_to_hub=True),
    ):
        with pytest.raises(MissingExtraError, match=r"elegans\[hub\]"):
            call()
    assert not [*tmp_path.iterdir()]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for huggingface_hub whose repository is a folder."""
    stand_in = types.ModuleType("huggingface_hub")
    stand_in.calls, stand_in.has_card = [], False

    class HfApi:
        def __init__(self, token=None):
            stand_in.calls.append(("api", token))

        def create_repo(self, *, repo_id, private, exist_ok):
            assert exist_ok
            return types.SimpleNamespace(repo_id=repo_id)

        def file_exists(self, repo_id, name, revision=None):
            return stand_in.has_card

        def upload_folder(self, *, folder_path, **options):
            stand_in.calls.append(("upload", options))
            elegans.save(elegans.load(folder_path), tmp_path / "repository", overwrite=True)
            return "address"

    def snapshot_download(repo_id, **options):
        stand_in.calls.append(("download", repo_id, options))
        if options["local_files_only"]:
            raise FileNotFoundError("not in the cache")
        return str(tmp_path / "repository")

    stand_in.HfApi, stand_in.snapshot_download = HfApi, snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in)
    monkeypatch.chdir(tmp_path)
    return stand_in


def test_a_push_and_a_download(hub):
    model = circuit()
    assert model.push_to_hub("owner/name", token="t", branch="b", create_pr=True) == "address"
    upload = hub.calls[1][1]
    assert hub.calls[0] == ("api", "t")
    assert (upload["repo_id"], upload["revision"], upload["create_pr"]) == ("owner/name", "b", True)
    assert "ignore_patterns" not in upload
    again = elegans.LTC.from_pretrained("owner/name", revision="v1", cache_dir="c", token="t")
    assert equal(model, again)
    _, name, options = hub.calls[-1]
    assert name == "owner/name"
    assert (options["revision"], options["cache_dir"], options["token"]) == ("v1", "c", "t")
    with pytest.raises(RunError, match=r"owner/name.*not in the cache"):
        elegans.LTC.from_pretrained("owner/name", local_files_only=True)
    with pytest.raises(InputError, match="unknown keyword 'brunch'"):
        model.push_to_hub("owner/name", brunch="b")


def test_a_card_in_the_repository_stays(hub):
    hub.has_card = True
    circuit().save_pretrained("circuit", push_to_hub=True)
    assert hub.calls[-1][1]["ignore_patterns"] == ["README.md"]
    assert hub.calls[-1][1]["repo_id"] == "circuit"


def test_layers_one_on_another_are_pushed_with_their_folders(hub):
    model = stack().eval()
    model.push_to_hub("owner/name")
    assert {"config.json", "layer-*/wiring.json"} <= set(hub.calls[-1][1]["allow_patterns"])
    assert equal(elegans.Stacked.from_pretrained("owner/name"), model)


# --- states ------------------------------------------------------------------------------


def test_a_state_brings_the_wiring_into_a_module_of_the_user(tmp_path):
    def net(seed):
        torch.manual_seed(seed)
        return nn.ModuleDict({"conv": nn.Conv1d(2, 3, 1), "circuit": circuit(seed)})

    first = net(0)
    second = copy.deepcopy(first)
    optimizer = torch.optim.Adam(first.parameters())
    rewirer = elegans.PruneRewire(first["circuit"], optimizer, threshold=0.4, every=1, weight=0.5)
    assert [edit for _ in range(5) for edit in rewirer.step()]
    assert first["circuit"].wiring != second["circuit"].wiring
    torch.save(first.state_dict(), tmp_path / "net.pt")
    second.load_state_dict(torch.load(tmp_path / "net.pt"))
    assert second["circuit"].wiring == first["circuit"].wiring
    x = torch.randn(2, 5, 3)
    assert torch.equal(first["circuit"](x)[0], second["circuit"](x)[0])


DAMAGE = {
    "another shape": lambda state: state.update({"cell.sensory.mu": torch.ones(2)}),
    "no values": lambda state: state.pop("cell.recurrent.weight"),
    "no connections": lambda state: state.pop("cell.sensory.source"),
    "another memory": lambda state: state.update({"memory.bias": torch.ones(1)}),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_state_that_does_not_fit_changes_nothing(kind, strict):
    model, state = circuit(0, mixed_memory=True), circuit(0, mixed_memory=True).state_dict()
    for value in state.values():
        if value.is_floating_point():
            value += 0.25
    if kind == "another memory":
        name = next(key for key in state if key.startswith("memory."))
        state[name] = torch.ones(1)
    else:
        DAMAGE[kind](state)
    before = copy.deepcopy(model)
    with pytest.raises(ElegansError):
        model.load_state_dict(state, strict=strict)
    assert equal(model, before)


@pytest.mark.parametrize("assign", [True, False])
def test_missing_and_extra_keys(assign):
    model, state = circuit(0), copy.deepcopy(circuit(0).state_dict())
    state["cell.cm"] += 1
    del state["cell.vleak"]
    state["extra"] = torch.ones(1)
    before = copy.deepcopy(model)
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(state, assign=assign)
    assert equal(model, before)
    left = model.load_state_dict(state, strict=False, assign=assign)
    assert left.missing_keys == ["cell.vleak"]
    assert left.unexpected_keys == ["extra"]
    assert torch.equal(model.cell.cm, state["cell.cm"])
    assert torch.equal(model.cell.vleak, before.cell.vleak)


def test_a_module_of_the_user_is_kept_whole_on_demand():
    net = nn.ModuleDict({"first": circuit(0), "second": circuit(1)})
    state = {key: value.clone() for key, value in net.state_dict().items()}
    state["first.cell.vleak"] += 1
    state["second.cell.recurrent.mu"] = torch.ones(1)
    before = copy.deepcopy(net)
    with (
        pytest.raises(InputError, match=r"second\.cell\.recurrent\.mu of shape"),
        all_or_nothing(net),
    ):
        net.load_state_dict(state)
    assert equal(net, before)
    with pytest.raises(InputError):
        net.load_state_dict(state)
    assert not equal(net["first"], before["first"])  # as PyTorch does
    assert equal(net["second"], before["second"])


def test_the_mixin_of_huggingface_saves_a_module_that_holds_a_layer(tmp_path):
    mixin = pytest.importorskip("huggingface_hub").PyTorchModelHubMixin

    class Net(nn.Module, mixin):
        def __init__(self, seed: int = 0):
            super().__init__()
            self.circuit = circuit(0)

    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    rewirer = elegans.PruneRewire(net.circuit, optimizer, threshold=0.4, every=1, weight=0.5)
    assert [edit for _ in range(5) for edit in rewirer.step()]
    net.save_pretrained(tmp_path)
    again = Net.from_pretrained(tmp_path)
    assert again.circuit.wiring == net.circuit.wiring != Net().circuit.wiring
    assert equal(net, again)
