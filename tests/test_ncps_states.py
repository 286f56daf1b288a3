"""States of ncps wherever they lie: in a module, in a checkpoint of Lightning, of a cell alone."""

import ncps.torch
import ncps.wirings
import pytest
import torch
from torch import nn

import elegans
from elegans.errors import InputError
from elegans.wiring import AutoNCP

LAYERS = {
    "ltc": lambda: ncps.torch.LTC(3, ncps.wirings.AutoNCP(10, 2)),
    "mixed ltc": lambda: ncps.torch.LTC(3, ncps.wirings.AutoNCP(10, 2), mixed_memory=True),
    "cfc": lambda: ncps.torch.CfC(3, 7, proj_size=2),
    "pure cfc": lambda: ncps.torch.CfC(3, 7, mode="pure"),
    "wired cfc": lambda: ncps.torch.CfC(3, ncps.wirings.AutoNCP(10, 2)),
}
CELLS = {
    "ltc": lambda: ncps.torch.LTCCell(ncps.wirings.AutoNCP(10, 2), 3),
    "cfc": lambda: ncps.torch.CfCCell(3, 7),
    "wired cfc": lambda: ncps.torch.WiredCfCCell(3, ncps.wirings.AutoNCP(10, 2)),
}


@pytest.fixture(params=LAYERS)
def theirs(request):
    torch.manual_seed(0)
    return LAYERS[request.param]()


class Learner(nn.Module):
    """A module that holds a layer of ncps beside others."""

    def __init__(self, layer):
        super().__init__()
        self.features = nn.Linear(3, 3)
        self.rnn = layer
        self.head = nn.Linear(2, 1)


def same(ours, theirs):
    x = torch.randn(2, 5, 3)
    return torch.allclose(ours(x)[0], theirs(x)[0], atol=1e-5)


def test_a_layer_inside_a_module(theirs):
    learner = Learner(theirs)
    for prefix in (None, "rnn."):
        assert same(elegans.from_ncps(learner.state_dict(), prefix=prefix), theirs)
    ours = elegans.from_ncps(learner)
    back = elegans.to_ncps(ours, prefix="rnn.")
    left = learner.load_state_dict(back, strict=False)
    assert not left.unexpected_keys
    assert {name.partition(".")[0] for name in left.missing_keys} == {"features", "head"}
    assert same(ours, theirs)
    with pytest.raises(InputError, match=r"with the prefix 'head\.', expected one of \['rnn\.'\]"):
        elegans.from_ncps(learner.state_dict(), prefix="head.")


def test_a_checkpoint_of_lightning(theirs, tmp_path):
    state = {f"model.{key}": value for key, value in Learner(theirs).state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "loops": {}}, tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    ours = elegans.from_ncps(saved)
    assert same(ours, theirs)
    again = elegans.from_ncps(theirs)
    elegans.load_ncps(again, saved, prefix="model.rnn.")
    assert same(again, theirs)


def test_of_several_layers_one_is_named():
    both = nn.ModuleDict({"a": LAYERS["ltc"](), "b": LAYERS["cfc"]()})
    with pytest.raises(InputError, match=r"2 layers of ncps.*prefix='a\.'; they are \['a\.', 'b"):
        elegans.from_ncps(both)
    assert type(elegans.from_ncps(both, prefix="a.")) is elegans.LTC
    assert same(elegans.from_ncps(both, prefix="b."), both["b"])


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("prefix", ["", "cell.", "a.b."])
def test_a_cell_alone(kind, prefix):
    torch.manual_seed(0)
    cell = CELLS[kind]()
    state = {prefix + key: value for key, value in cell.state_dict().items()}
    x, hx = torch.randn(2, 3), torch.zeros(2, 7 if kind == "cfc" else 10)
    options = {"implicit_param_constraints": False} if kind == "ltc" else {}
    layer = elegans.from_ncps(state, **options)
    expected = cell(x, hx, 1.0)[0]
    torch.testing.assert_close(layer.cell(x, hx)[0], expected, atol=1e-5, rtol=1e-5)
    back = elegans.to_ncps(layer.cell, prefix=prefix)
    assert back.keys() == state.keys()
    cell.load_state_dict({key.removeprefix(prefix): value for key, value in back.items()})
    torch.testing.assert_close(cell(x, hx, 1.0)[0], expected)


@pytest.mark.parametrize("inside", [False, True])
def test_loading_as_a_state_of_ours_names_what_does(theirs, inside):
    ours = elegans.from_ncps(theirs)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    model = nn.ModuleDict({"rnn": ours}) if inside else ours
    state = {f"rnn.{k}" if inside else k: v for k, v in theirs.state_dict().items()}
    for strict in (True, False):
        with pytest.raises(InputError, match=r"a key of ncps.*from_ncps.*load_ncps.*from-ncps\.md"):
            model.load_state_dict(state, strict=strict)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("kind", CELLS)
def test_loading_a_cell_names_what_does(kind):
    cell = CELLS[kind]()
    ours = elegans.from_ncps(cell.state_dict()).cell
    with pytest.raises(InputError, match="a key of ncps"):
        ours.load_state_dict(cell.state_dict())


def test_states_of_ours_are_not_taken_for_those_of_ncps():
    for model in (elegans.LTC(3, AutoNCP(10, 2)), elegans.CfC(3, 7), elegans.CfC(3, AutoNCP(8, 2))):
        model.load_state_dict(model.state_dict())
        with pytest.raises(InputError, match="not the state_dict"):
            elegans.from_ncps(model.state_dict())
