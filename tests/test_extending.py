"""What docs/extending.md builds passes the suites that the library's own cells and solvers pass."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from layer_conformance import INPUTS, OUTPUTS, LayerConformance
from solver_conformance import SolverConformance

import elegans
from elegans.errors import InputError
from elegans.pruning.measuring.efficiency import efficiency
from elegans.wiring import AutoNCP

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parent.parent / "docs/extending.md").read_text()
GUIDE = ModuleType("extending_guide")
NAMES = vars(GUIDE)


@pytest.fixture(scope="module", autouse=True)
def names(tmp_path_factory):
    """Run the guide; a class of the guide stays registered, as one of a user would."""
    torch.manual_seed(0)  # whatever module ran before this one
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, GUIDE.__name__, GUIDE)  # classes are pickled by their module
        patch.chdir(tmp_path_factory.mktemp("extending"))
        for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)):
            exec(compile(code, f"extending.md, block {number}", "exec"), NAMES)
        yield NAMES


class TestLeaky(LayerConformance):
    def make(self, **options):
        return NAMES["Leaky"](INPUTS, AutoNCP(7, OUTPUTS), **options)


class TestRalston(SolverConformance):
    @pytest.fixture
    def solver(self, names):
        return names["Ralston"]()


def test_the_flow_of_the_guide_contracts(names):
    """Without input the equation is dx/dt = tanh(W x) - x, and it forgets."""
    assert names["spectrum"].exponents.shape == (2,)


def test_a_cell_is_counted_as_soon_as_it_says_how(names, monkeypatch):
    model, x = names["Leaky"](3, AutoNCP(12, 2)), torch.zeros(2, 5, 3)
    assert efficiency(model, x).not_counted == ("cell",)
    counts = {"recurrent.weight": 1, "sensory.weight": 1}
    monkeypatch.setattr(names["LeakyCell"], "operations", lambda self: counts, raising=False)
    counted = efficiency(model, x)
    assert not counted.not_counted
    synapses = model.synapse_count + model.sensory_synapse_count
    assert counted.multiply_adds == 2 * 5 * synapses


def test_the_message_of_the_guide(names):
    with pytest.raises(
        InputError,
        match="LeakyCell, which offers `dynamics`, `motor_readers` and `settings`; a certificate "
        "needs `circuit`",
    ):
        elegans.proofs.certify(names["Leaky"](3, 4), inputs=(-1, 1))


def test_the_growth_rule_of_the_guide_is_asked_for_circuits_and_for_matrices(names):
    layers = names["model"].wiring.layer_of
    assert names["edits"]
    for edit in names["edits"]:
        same_layer = [i for i, layer in enumerate(layers) if layer == layers[edit.grown]]
        assert edit.grown in same_layer
    mask = names["perceptron"][0].weight_mask
    assert mask[: len(mask) // 2].sum() > 2 * mask[len(mask) // 2 :].sum()
