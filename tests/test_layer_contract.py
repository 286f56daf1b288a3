"""What holds of every registered layer, and what tools say of cells that offer less."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import torch
from layer_conformance import INPUTS, OUTPUTS

import elegans
from elegans.checkpoints.saving import layer_settings
from elegans.checks import ELSEWHERE
from elegans.control.step_kernel import StepKernel
from elegans.ensemble import Ensemble
from elegans.errors import InputError, RunError
from elegans.layers.capabilities import (
    CAPABILITIES,
    Flow,
    LiquidCircuit,
    Rebuilds,
    SingleSteps,
    cell_of,
    defines,
    offers,
    require,
)
from elegans.layers.registry import FAMILIES, layer_classes, register_layer
from elegans.pruning.compact import compact
from elegans.wiring import AutoNCP, Synapses

LAYERS = ("CTGRU", "CTRNN", "CfC", "LRC", "LTC", "LrcSSM", "NeuralLTC", "NeuralODE")
CELLS = (
    elegans.CTGRUCell,
    elegans.CTRNNCell,
    elegans.CfCCell,
    elegans.LRCCell,
    elegans.LTCCell,
    elegans.LrcSSMCell,
    elegans.NeuralLTCCell,
    elegans.NeuralODECell,
    elegans.WiredCfCCell,
)
UNITS = (5, AutoNCP(7, OUTPUTS))


def wired(kind, units):
    """Return a wiring for a layer or cell; neurons of LrcSSM do not read each other."""
    if kind is elegans.CTGRU:  # has no wiring to choose
        return 5
    if kind not in (elegans.LrcSSM, elegans.LrcSSMCell) or isinstance(units, int):
        return units
    wiring = units.build(INPUTS)
    return wiring.with_synapses(Synapses([], [], []), wiring.sensory)


def made(kind, **options):
    """Return a layer or cell; cells on a wiring take it first."""
    first = (wired(kind, AutoNCP(7, OUTPUTS)), INPUTS)
    if "wiring" not in inspect.signature(kind).parameters:
        first = (INPUTS, 5)
    return kind(*first, **options)


def test_every_family_registers_a_layer_with_tests_of_its_own():
    assert set(LAYERS) <= set(layer_classes())
    families = {getattr(elegans, name).__module__.rpartition(".")[0] for name in LAYERS}
    assert families == set(FAMILIES)
    for family in families:
        name = family.rpartition(".")[2]
        tests = (Path(__file__).parent / f"test_{name}.py").read_text()
        assert "Conformance" in tests


@pytest.mark.parametrize("units", UNITS, ids=["dense", "wired"])
@pytest.mark.parametrize("name", LAYERS)
def test_settings_build_the_layer_again(name, units, tmp_path):
    kind = layer_classes()[name]
    model = kind(INPUTS, wired(kind, units), return_sequences=False, mixed_memory=True)
    elegans.save(model, tmp_path)
    again = elegans.load(tmp_path)
    assert type(again) is kind
    assert layer_settings(again) == layer_settings(model)
    assert set(model.settings()) <= set(inspect.signature(kind).parameters)


# --- unknown keywords --------------------------------------------------------------------

EVERY = pytest.mark.parametrize(
    "kind", [*(getattr(elegans, name) for name in LAYERS), *CELLS], ids=lambda kind: kind.__name__
)


@EVERY
def test_the_nearest_keyword_is_named(kind):
    for near in set(inspect.signature(kind).parameters) & {"solver", "generator", "mode"}:
        wrong = near[:-2] + near[-1]
        message = f"^{kind.__name__} got the unknown keyword '{wrong}'; did you mean '{near}'"
        with pytest.raises(InputError, match=message):
            made(kind, **{wrong: None})
    with pytest.raises(InputError, match=r"'colour'; it takes .*, generator, device, dtype$"):
        made(kind, colour="red")
    assert made(kind, device="cpu", dtype=torch.float64)


@EVERY
@pytest.mark.parametrize("keyword", ELSEWHERE)
def test_what_stands_for_keywords_of_lstm(kind, keyword):
    if keyword in inspect.signature(kind).parameters:
        pytest.skip("it takes this one")
    remedy = re.escape(ELSEWHERE[keyword].partition("{")[0])
    with pytest.raises(InputError, match=f"^{kind.__name__} got .* '{keyword}'; {remedy}"):
        made(kind, **{keyword: 2})


def test_remedies_name_what_there_is():
    with pytest.raises(InputError, match="pass units, a number of neurons"):
        elegans.LTC(3, 4, hidden_size=4)
    with pytest.raises(InputError, match="pass wiring, a number of neurons"):
        elegans.LTCCell(4, 3, hidden_size=4)
    assert elegans.wiring.Layered


def test_a_subclass_is_named_by_its_own_name():
    class Mine(elegans.CTRNN):
        pass

    with pytest.raises(InputError, match=r"^Mine got the unknown keyword 'solvr'"):
        Mine(3, 4, solvr="rk4")


def test_only_the_cell_of_ncps_clips_by_default():
    name = "implicit_param_constraints"
    defaults = {
        kind: inspect.signature(kind).parameters[name].default
        for kind in (*(getattr(elegans, name) for name in LAYERS), *CELLS)
        if name in inspect.signature(kind).parameters
    }
    assert defaults.pop(elegans.LTCCell) is False
    assert elegans.LTC in defaults
    assert all(default is True for default in defaults.values())


# --- registration ------------------------------------------------------------------------


def test_a_name_is_registered_once():
    class LTC(elegans.LTC):
        pass

    with pytest.raises(InputError, match=r"second layer 'LTC'.*taken by elegans\.ltc\.layer; ren"):
        register_layer(LTC)
    with pytest.raises(InputError, match="expected a class that derives from SequenceLayer"):
        register_layer(elegans.LTC(1, 2))
    assert register_layer(elegans.LTC) is layer_classes()["LTC"]


def test_settings_must_be_plain_and_there(monkeypatch, tmp_path):
    model = elegans.CTRNN(2, 3)
    monkeypatch.setattr(type(model.cell), "settings", lambda self: {"taus": (1, 2)})
    with pytest.raises(RunError, match="whose setting taus is a tuple, expected a number, a text"):
        elegans.save(model, tmp_path / "one")
    monkeypatch.setattr(type(model.cell), "settings", None)
    with pytest.raises(RunError, match=r"got CTRNNCell, which offers .*; saving needs `settings`;"):
        elegans.save(model, tmp_path / "two")
    assert not list(tmp_path.iterdir())


# --- capabilities ------------------------------------------------------------------------


def test_what_the_cells_offer():
    offered = {
        kind.__name__: [each.__name__ for each in CAPABILITIES if offers(made(kind), each)]
        for kind in CELLS
    }
    joint = ["LiquidCircuit", "SingleSteps", "Rebuilds", "JoinsMembers"]
    assert offered == {
        "CTGRUCell": ["StepJacobian", "Saved"],
        "CTRNNCell": ["Flow", "PlainNumbers", "Bounded", "Counted", "Silenced", "Saved"],
        "CfCCell": ["StepJacobian", "PlainNumbers", "Saved"],
        "LTCCell": ["Flow", *joint, "PlainNumbers", "Bounded", "Counted", "Silenced", "Saved"],
        "LRCCell": ["Flow", "Counted", "Silenced", "Saved"],
        "LrcSSMCell": ["Flow", "Counted", "Silenced", "Saved"],
        "NeuralLTCCell": ["Flow", "Counted", "Silenced", "Saved"],
        "NeuralODECell": ["Flow", "Counted", "Silenced", "Saved"],
        "WiredCfCCell": ["StepJacobian", "PlainNumbers", "Silenced", "Saved"],
    }


def test_a_missing_capability_is_named():
    model = elegans.CTRNN(2, 3)
    assert require(cell_of(model), Flow, "a flow") is model.cell
    with pytest.raises(
        InputError,
        match=r"^got CTGRUCell, which offers `step_jacobian` and `settings`; a certificate needs "
        r"`circuit`; implement it as in docs/extending\.md$",
    ):
        elegans.proofs.certify(elegans.CTGRU(2, 3), inputs=(-1, 1))
    with pytest.raises(InputError, match="got a model with 0 liquid cells, expected one"):
        elegans.proofs.CertificateGuard(model, inputs=(-1, 1))
    with pytest.raises(InputError, match=r"^got Linear, which offers no capability of a cell; a"):
        require(torch.nn.Linear(1, 1), Flow, "a flow")


class Slower(elegans.LTCCell):
    """Half as fast: no kernel, joint cell or smaller cell may stand in for it."""

    def step(self, sensed, time, state, elapsed):
        return super().step(sensed, time, state, elapsed / 2)


def test_nothing_stands_in_for_a_subclass():
    model = elegans.LTC(2, 4)
    assert defines(model.cell, SingleSteps)
    assert StepKernel.of(model, torch.zeros(4)) is not None
    assert type(Ensemble([model])._computation).__name__ == "Joined"
    model.cell = Slower(4, 2)
    assert offers(model.cell, SingleSteps)
    assert not any(defines(model.cell, each) for each in (SingleSteps, Rebuilds, LiquidCircuit))
    assert StepKernel.of(model, torch.zeros(4)) is None
    assert type(Ensemble([model])._computation).__name__ == "General"
    assert "Slower has no smaller form here" in str(compact(model))


def test_an_ensemble_clips_whatever_cells_say():
    members = [elegans.CTRNN(2, 3, implicit_param_constraints=False) for _ in range(2)]
    members = [torch.nn.Sequential(member) for member in members]
    ensemble = Ensemble(members)
    with torch.no_grad():
        ensemble.stacked.get_parameter("0.cell.tau").sub_(10.0)
    ensemble.apply_weight_constraints()
    assert ensemble.member(1)[0].cell.tau.tolist() == pytest.approx([1e-6] * 3)
    assert ensemble.member(1)[0].wiring.names == members[1][0].wiring.names


def classes_asked_for(path):
    """Return the names of the classes that a file tests for, by isinstance or `type(x) is`."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            yield from (name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name))
        elif isinstance(node, ast.Compare) and ast.unparse(node.left).startswith("type("):
            yield from (each.id for each in node.comparators if isinstance(each, ast.Name))


@pytest.mark.slow
def test_no_tool_asks_for_a_class():
    root = Path(__file__).parent.parent
    known = {*layer_classes(), *(cell.__name__ for cell in CELLS)}
    assert set(classes_asked_for(root / "elegans/checkpoints/ncps_cfc.py")) & known
    for folder in ("elegans", "proofs"):
        for path in (root / folder).rglob("*.py"):
            # Each family may know its classes, and the exchange with ncps its counterparts there.
            if path.parent.name in ("ltc", "ctrnn", "cfc") or path.name.startswith("ncps"):
                continue
            if path.name == "fixed_point.py":  # asks, until it is part of `equilibrium`
                continue
            assert not set(classes_asked_for(path)) & known, path
