"""Compacted liquid layers: outputs and states equal to those of the masked ones."""

import copy

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

import elegans
from elegans import LTC, LTCCell, Policy
from elegans.errors import PruningError
from elegans.pruning import Pruner
from elegans.pruning.compact import compact
from elegans.pruning.compact.circuit_draft import Draft
from elegans.pruning.compact.liquid import depends_on_inputs, heard
from elegans.wiring import AutoNCP, Synapses, Wiring

# Each of the 12 solver steps of a run adds roundings of some ten numbers below 10, 1e-14 in all,
# and what is off grows by no more than 2.7 until the end (in 400 circuits as they are drawn here).
CLOSE = {"rtol": 0.0, "atol": 1e-12}


def random_circuit(seed, *, density=0.5, open_share=0.5, **options):
    """A layer with parallel and self-synapses, of which some are closed, and inputs to it.

    In every third the outputs read neurons anywhere, some of them several times.
    """
    rng = np.random.default_rng(seed)
    motor, inter, command = (int(size) for size in rng.integers(1, 5, 3))
    units, inputs = motor + inter + command, int(rng.integers(1, 4))
    count = rng.binomial(units * units, density)
    recurrent = Synapses(
        source=rng.integers(units, size=count),
        target=rng.integers(units, size=count),
        polarity=rng.choice([-1, 1], size=count),
    )
    count = int(rng.integers(0, 6))
    sensory = Synapses(
        rng.integers(inputs, size=count),
        rng.integers(units, size=count),
        rng.choice([-1, 1], size=count),
    )
    layers = {"motor": motor, "command": command, "inter": inter}
    outputs = rng.integers(units, size=motor) if seed % 3 == 0 else None
    wiring = Wiring(inputs, layers, recurrent, sensory, outputs=outputs)
    generator = torch.Generator().manual_seed(seed)
    options = {"ode_unfolds": 3, "epsilon": 1e-3, "dtype": torch.float64} | options
    model = LTC(inputs, wiring, generator=generator, **options)
    with torch.no_grad():
        for parameter in model.cell.parameters():
            parameter.mul_(0.7 + 0.6 * torch.rand(parameter.shape, generator=generator))
    for synapses in model.cell.synapse_sets().values():
        synapses.set_mask(torch.rand(len(synapses), generator=generator) < open_share)
    x = torch.randn(3, 4, inputs, generator=generator, dtype=torch.float64)
    return model, x


def kept_of(compacted):
    (record,) = compacted.record
    return list(range(record.shape[0])) if record.kept is None else list(record.kept)


def assert_equal_run(model, small, x, kept, path="reference", **given):
    with torch.no_grad(), elegans.backend(path):
        output, state, states = model(x, return_states=True, **given)
        if "hx" in given:
            given["hx"] = given["hx"][:, kept]
        new_output, new_state, new_states = small(x, return_states=True, **given)
    torch.testing.assert_close(new_output, output, **CLOSE)
    torch.testing.assert_close(new_state, state[:, kept], **CLOSE)
    torch.testing.assert_close(new_states, states[..., kept], **CLOSE)


# --- equality -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["reference", "fused"])
@given(seed=st.integers(0, 10**6), open_share=st.sampled_from([0.1, 0.3, 0.7]))
@settings(max_examples=40, deadline=None)
def test_outputs_and_states_are_equal(path, seed, open_share):
    model, x = random_circuit(seed, density=0.3, open_share=open_share)
    compacted = compact(model, allow_empty=True)
    kept = kept_of(compacted)
    generator = torch.Generator().manual_seed(seed)
    hx = torch.randn(3, model.state_size, generator=generator, dtype=torch.float64)
    timespans = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    assert_equal_run(model, compacted.model, x, kept, path, hx=hx, timespans=timespans)


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "exponential"},
        {"solver": "rk4", "ode_unfolds": 3},
        {"solver": "rosenbrock", "ode_unfolds": 3},
        {"fixed_polarity": False},
        {"implicit_param_constraints": False},
        {"input_mapping": None, "output_mapping": "linear"},
        {"return_sequences": False, "ode_unfolds": 1},
        {"epsilon": 1e-8},
        {"initialization": "ncps"},
    ],
    ids=str,
)
def test_options_carry_over(options):
    for seed in range(6):
        model, x = random_circuit(seed, density=0.3, **options)
        compacted = compact(model, allow_empty=True)
        small = compacted.model
        assert_equal_run(model, small, x, kept_of(compacted))
        cell, old = small.cell, model.cell
        assert type(cell.solver) is type(old.solver)
        for name in ("ode_unfolds", "epsilon", "implicit_param_constraints"):
            assert getattr(cell, name) == getattr(old, name)
        assert cell.recurrent.fixed_polarity == old.recurrent.fixed_polarity
        assert cell.input_mapping.kind == old.input_mapping.kind
        assert cell.output_mapping.kind == old.output_mapping.kind
        assert small.return_sequences == model.return_sequences
        assert cell._initial.initialization == old._initial.initialization


def test_an_adaptive_solver_agrees_within_its_tolerance():
    model, x = random_circuit(3, density=0.3, solver="dopri5")
    compacted = compact(model, allow_empty=True)
    assert compacted.record[0].removed
    assert "an adaptive solver may choose other steps" in str(compacted)
    with torch.no_grad():
        torch.testing.assert_close(compacted.model(x)[0], model(x)[0], rtol=1e-4, atol=1e-4)


def test_values_are_copied_slot_by_slot():
    for seed in range(20):
        model, _ = random_circuit(seed)
        small = compact(model, units=False, allow_empty=True).model
        for kind, synapses in model.cell.synapse_sets().items():
            assert _open_rows(synapses) == _open_rows(small.cell.synapse_sets()[kind])


def _open_rows(synapses):
    slots = synapses.open_slots()
    held = (synapses.source, synapses.target, synapses.current_polarity())
    values = (synapses.weight, synapses.sigma, synapses.mu, synapses.erev)
    columns = [column.detach()[slots].tolist() for column in (*held, *values)]
    return sorted(zip(*columns, strict=True))


def test_slots_in_the_wrong_order_are_noticed(monkeypatch):
    right = Draft._sorted

    def wrong(draft, kind):
        slots, synapses = right(draft, kind)
        return slots.flip(0), synapses

    monkeypatch.setattr(Draft, "_sorted", wrong)
    failures = 0
    for seed in range(10):
        model, x = random_circuit(seed)
        compacted = compact(model, allow_empty=True)
        try:
            assert_equal_run(model, compacted.model, x, kept_of(compacted))
        except AssertionError:
            failures += 1
    assert failures >= 8


# --- neurons that nobody hears ------------------------------------------------------------------


@pytest.mark.slow
@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_just_those_go_from_which_no_path_leads_to_a_motor_neuron(seed):
    model, _ = random_circuit(seed, density=0.15)
    wiring = model.wiring
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(wiring.units))
    graph.add_edges_from((j, i) for j, i, _ in wiring.recurrent)
    motor = set(wiring.outputs.tolist())
    expected = set().union(motor, *(nx.ancestors(graph, m) for m in motor))
    compacted = compact(model, allow_empty=True)
    (record,) = compacted.record
    assert kept_of(compacted) == sorted(expected)
    assert compacted.model.wiring.names == tuple(wiring.names[k] for k in sorted(expected))
    assert set(record.without_outputs) == set(wiring.names) - set(compacted.model.wiring.names)
    layers = [wiring.layer_of[k] for k in sorted(expected)]
    assert compacted.model.wiring.layer_of.tolist() == layers
    again = compact(compacted.model, allow_empty=True).record[0]
    assert again.outcome == "unchanged"


@pytest.mark.slow
def test_removing_a_neuron_that_is_heard_changes_outputs(monkeypatch):
    module = "elegans.pruning.compact.liquid"

    def deaf(wiring):
        hears = heard(wiring)
        hears[np.flatnonzero(hears)[-1]] = False
        return hears

    monkeypatch.setattr(f"{module}.heard", deaf)
    model = LTC(2, AutoNCP(9, 2), dtype=torch.float64)
    x = torch.randn(2, 6, 2, dtype=torch.float64)
    with pytest.raises(PruningError, match="the new model differs by"):
        compact(model, x)


def test_units_can_stay():
    model, x = random_circuit(1, density=0.15)
    compacted = compact(model, units=False, allow_empty=True)
    assert compacted.model.state_size == model.state_size
    assert_equal_run(model, compacted.model, x, list(range(model.state_size)))


def test_a_memory_reads_all_neurons():
    model, x = random_circuit(4, density=0.15, mixed_memory=True)
    compacted = compact(model, x)
    assert compacted.model.state_size == model.state_size
    assert compacted.difference < CLOSE["atol"]
    assert "the memory reads all of them" in str(compacted)


# --- neurons that hear nothing ------------------------------------------------------------------


def lonely_circuit(**options):
    """Neuron 3 hears nothing and speaks to 2, which hears but 3; 1 hears both, and the input."""
    recurrent = Synapses([3, 2, 3, 1, 1], [2, 1, 1, 0, 1], [1, -1, 1, 1, -1])
    wiring = Wiring(1, {"motor": 1, "inter": 3}, recurrent, Synapses([0], [1], [1]))
    generator = torch.Generator().manual_seed(1)
    return LTC(1, wiring, epsilon=0.01, dtype=torch.float64, generator=generator, **options)


def rest_of(model):
    """The state in which neurons 2 and 3 rest, found by letting them relax."""
    with torch.no_grad():
        zeros = torch.zeros(1, 1, 1, dtype=torch.float64)
        return model(zeros, timespans=torch.full((1, 1), 1e9, dtype=torch.float64))[1]


def test_neurons_without_inputs_stay_by_default():
    compacted = compact(lonely_circuit(), torch.randn(2, 3, 1, dtype=torch.float64))
    (record,) = compacted.record
    assert record.removed == 0
    assert record.without_inputs == ("inter_2",)
    assert "they relax to their leak potential" in str(compacted)


@pytest.mark.parametrize("implicit", [True, False])
def test_neurons_at_rest_become_part_of_leaks(implicit):
    model = lonely_circuit(implicit_param_constraints=implicit)
    compacted = compact(model, at_rest=True)
    (record,) = compacted.record
    assert record.kept == (0, 1)
    assert record.without_inputs == ("inter_1", "inter_2")
    assert set(record.constants) == {"inter_1", "inter_2"}
    cell, small = model.cell.requires_grad_(False), compacted.model.cell
    leak = cell.recurrent.positivity(cell.gleak[3])
    rest = float(leak * cell.vleak[3] / (leak + 0.01))
    assert record.constants["inter_2"] == pytest.approx(rest, rel=1e-12)
    assert torch.equal(small.gleak[0], cell.gleak[0])  # neuron 0 hears none of them
    x = torch.randn(2, 5, 1, dtype=torch.float64)
    state = rest_of(model).repeat(2, 1)
    state[:, :2] = torch.randn(2, 2)
    assert_equal_run(model, compacted.model, x, [0, 1], hx=state)


def test_away_from_rest_they_matter():
    model = lonely_circuit()
    compacted = compact(model, at_rest=True)
    x = torch.randn(2, 5, 1, dtype=torch.float64)
    with torch.no_grad():
        difference = (model(x)[0] - compacted.model(x)[0]).abs().max()
    assert difference > 1e-4
    assert "taken to be at rest" in str(compacted)


def test_without_any_leak_there_is_no_rest():
    model = lonely_circuit(implicit_param_constraints=False)
    model.cell.epsilon = 0.0
    with torch.no_grad():
        model.cell.gleak.zero_()
    assert compact(model, at_rest=True).record[0].removed == 0


# --- around the layer ---------------------------------------------------------------------------


class Around(nn.Module):
    """A liquid layer among other layers, and a cell that is stepped by hand."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4))
        self.liquid = LTC(4, AutoNCP(20, 3))
        self.cell = LTCCell(AutoNCP(12, 2), 3)

    def forward(self, x):
        y, _ = self.liquid(self.encoder(x))
        return self.cell(y[:, -1], y.new_zeros(len(y), self.cell.state_size))[0]


def test_inside_another_model():
    model = Around()
    Pruner(model).prune(0.6)
    x = torch.randn(3, 5, 5)
    compacted = compact(model, x)
    assert {record.name for record in compacted.record} == {
        "encoder.0",
        "encoder.2",
        "liquid",
        "cell",
    }
    sizes = compacted.model.liquid.synapse_count, model.liquid.synapse_count
    assert sizes[0] <= sizes[1] < 20 * 20
    assert all(k.all_open() for k in compacted.model.cell.synapse_sets().values())
    assert len(compacted.model.liquid.cell.recurrent.weight) == sizes[0]
    assert compacted.gain(x, repeats=2, training=True).bytes_after < 2**16


def test_masks_of_torch():
    model = LTC(3, 8, dtype=torch.float64)
    prune.random_unstructured(model.cell.recurrent, "weight", 0.7)
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    model(x)[0].sum().backward()
    compacted = compact(model, x)
    assert compacted.model.synapse_count == model.synapse_count
    assert not compacted.model.cell.recurrent._forward_pre_hooks


def test_what_is_computed_or_hooked_is_left_alone():
    hooked, masked = LTC(3, 5), LTC(3, 5)
    hooked.cell.recurrent.register_forward_hook(lambda *_: None)
    prune.random_unstructured(masked.cell.recurrent, "sigma", 0.5)
    for model, reason in ((hooked, "it has hooks"), (masked, "its sigma has a mask of its own")):
        compacted = compact(model)
        assert compacted.record[0].outcome == "left alone"
        assert reason in str(compacted)


def test_the_model_given_stays_as_it_is():
    model, _ = random_circuit(5)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    compacted = compact(model, allow_empty=True)
    with torch.no_grad():
        for parameter in compacted.model.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_gradients_are_equal_and_frozen_parameters_stay_frozen():
    model, x = random_circuit(6)
    model.cell.cm.requires_grad_(False)
    compacted = compact(model, units=False, allow_empty=True)
    small = compacted.model
    assert not small.cell.cm.requires_grad
    for net in (model, small):
        net(x)[0].square().sum().backward()
    torch.testing.assert_close(small.cell.gleak.grad, model.cell.gleak.grad, **CLOSE)
    order = model.cell.recurrent.sorted_slots()
    torch.testing.assert_close(
        small.cell.recurrent.weight.grad, model.cell.recurrent.weight.grad[order], **CLOSE
    )


def test_it_is_a_plain_layer_again(tmp_path):
    model = LTC(4, AutoNCP(20, 3))
    Pruner(model).prune(0.7)
    small = compact(model).model
    elegans.save(small, tmp_path / "circuit")
    loaded = elegans.load(tmp_path / "circuit")
    x = torch.randn(2, 5, 4)
    assert torch.equal(loaded(x)[0], small(x)[0])
    action = Policy(small)(np.zeros(4))
    assert action.shape == (3,)
    assert small.cell.recurrent.is_plain()


def test_outputs_cut_from_all_inputs_are_refused_unless_asked_for():
    model = LTC(2, AutoNCP(9, 2))
    for synapses in model.cell.synapse_sets().values():
        synapses.set_mask(torch.zeros(len(synapses), dtype=torch.bool))
    with pytest.raises(PruningError, match=r"the layer: no open synapse leads .*allow_empty=True"):
        compact(model)
    x = torch.randn(3, 4, 2)
    compacted = compact(model, x, allow_empty=True)
    assert compacted.model.state_size == 2
    output, _ = compacted.model(x)
    assert torch.equal(output[0], output[1])


def test_a_circuit_that_never_heard_its_inputs_is_no_error():
    nothing = Synapses([], [], [])
    model = LTC(1, Wiring(1, {"motor": 2}, Synapses([0], [1], [1]), nothing))
    assert not depends_on_inputs(model.wiring)
    assert compact(model).record[0].outcome == "unchanged"
