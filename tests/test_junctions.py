"""Electrical synapses: the term of the equation by its formula, kernels, pruning and rewiring."""

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
import torch

import elegans
from elegans.errors import InputError, PruningError, WiringError
from elegans.pruning import Pruner
from elegans.pruning.criteria import CRITERIA
from elegans.pruning.rules import RULES
from elegans.solvers import solver_names
from elegans.solvers.fused.cpu import problem
from elegans.wiring import AutoNCP, GapJunctions, Synapses, Wiring

JUNCTIONS = {
    "one": GapJunctions([5], [0]),
    "both ways": GapJunctions([0, 2, 10], [5, 7, 9]),
    "rectifying": GapJunctions([7, 4, 0], [2, 1, 6], [True, True, True]),
    "mixed": GapJunctions([0, 7, 3, 4, 10], [5, 2, 11, 1, 9], [False, True, False, True, False]),
    "many of one neuron": GapJunctions(np.arange(1, 12), np.zeros(11, int), np.arange(11) % 3 == 0),
}


def circuit(junctions, inputs=2, seed=0):
    """A wiring with gap junctions, one of them beside a chemical synapse."""
    wiring = AutoNCP(12, 3, seed=seed).build(inputs)
    return wiring.with_synapses(wiring.recurrent, wiring.sensory, junctions)


def layer(junctions, **options):
    torch.manual_seed(1)
    return elegans.LTC(2, circuit(junctions), **({"dtype": torch.float64} | options))


def currents(junctions, weight, state):
    """Return the current into each neuron, from the formula, junction by junction."""
    into = torch.zeros_like(state)
    for (j, i, rectifies), w in zip(junctions, weight, strict=True):
        flow = w * (state[:, j] - state[:, i])
        if rectifies:
            flow = torch.relu(flow)
        into[:, i] += flow
        into[:, j] -= flow
    return into


# --- the set in a wiring ---------------------------------------------------------------------


def test_the_ends_of_a_junction_are_alike_unless_it_rectifies():
    assert GapJunctions([3, 0], [1, 2]) == GapJunctions([2, 1], [0, 3])
    assert GapJunctions([3], [1], [True]) != GapJunctions([1], [3], [True])
    assert list(GapJunctions([3, 2], [1, 0], [True, False])) == [(3, 1, True), (0, 2, False)]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([1], [1]), "joins neuron 1 to itself"),
        (([0, 1], [1, 0]), r"pair 0 -- 1 has two"),
        (([0, 1], [1, 0], [True, True]), r"pair 0 -- 1 has two"),
        (([0, 1], [2]), "2 sources and 1 targets"),
        (([0.5], [1]), "integers"),
        (([0], [1], [1]), "True or False"),
        (([0], [1], [True, False]), "True or False"),
    ],
)
def test_what_is_no_junction_is_refused(arguments, text):
    with pytest.raises(WiringError, match=text):
        GapJunctions(*arguments)


def test_junctions_outside_the_circuit_are_refused():
    with pytest.raises(WiringError, match="from 0 to 11"):
        circuit(GapJunctions([0], [12]))
    wiring = circuit(GapJunctions([0], [1]))
    with pytest.raises(WiringError, match="must be GapJunctions"):
        wiring.with_synapses(wiring.recurrent, wiring.sensory, Synapses([0], [1], [1]))


def test_a_wiring_keeps_its_junctions():
    wiring = circuit(JUNCTIONS["mixed"])
    assert wiring.gap_junction_count == 5
    assert pickle.loads(pickle.dumps(wiring)) == wiring == copy.deepcopy(wiring)
    assert wiring.with_synapses(wiring.recurrent, wiring.sensory) == wiring
    without = wiring.with_synapses(wiring.recurrent, wiring.sensory, GapJunctions.empty())
    assert without != wiring
    assert "gap" not in repr(without)
    edited = wiring.edit(remove_electrical=[(5, 0)], add_electrical=[(6, 5, True)])
    expected = [row for row in wiring.electrical if row[:2] != (0, 5)] + [(6, 5, True)]
    assert sorted(edited.electrical) == sorted(expected)
    with pytest.raises(WiringError, match="there is none"):
        wiring.edit(remove_electrical=[(0, 1)])
    with pytest.raises(WiringError, match="there is one already"):
        wiring.edit(add_electrical=[(5, 0, False)])


def test_other_equations_refuse_a_wiring_with_junctions():
    for kind in (elegans.CTRNN, elegans.CfC):
        with pytest.raises(InputError, match="no place for"):
            kind(2, circuit(JUNCTIONS["one"]))


# --- the equation ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", JUNCTIONS)
def test_the_term_is_that_of_the_formula(name):
    model, state = layer(JUNCTIONS[name]), torch.randn(6, 12, dtype=torch.float64)
    state[1, 5] = state[1, 0]  # no difference: no current
    x = torch.randn(6, 2, dtype=torch.float64)
    dynamics = model.cell.dynamics(x)
    plain = elegans.LTC(2, circuit(GapJunctions.empty()), dtype=torch.float64)
    values = {k: v for k, v in model.state_dict().items() if "electrical" not in k}
    plain.load_state_dict(values)
    with torch.no_grad():
        difference = dynamics.derivative(state) - plain.cell.dynamics(x).derivative(state)
        expected = currents(JUNCTIONS[name], model.cell.electrical.strength(), state)
    torch.testing.assert_close(difference, expected / dynamics.capacitance, atol=1e-10, rtol=1e-10)
    # What flows into one end flows out of the other.
    charge = (difference * dynamics.capacitance).sum(-1)
    torch.testing.assert_close(charge, torch.zeros_like(charge), atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", JUNCTIONS)
def test_the_jacobian_is_that_of_the_equation(name):
    model, state = layer(JUNCTIONS[name]), torch.randn(3, 12, dtype=torch.float64)
    x = torch.randn(1, 2, dtype=torch.float64)
    dynamics, one = model.cell.dynamics(x.expand(3, -1)), model.cell.dynamics(x)
    expected = torch.stack(
        [torch.autograd.functional.jacobian(lambda s: one.derivative(s[None])[0], own)
         for own in state]
    )  # fmt: skip
    torch.testing.assert_close(dynamics.jacobian(state), expected, atol=1e-12, rtol=1e-10)


def test_two_leaky_neurons_relax_as_the_closed_form_says():
    pair = Wiring(1, {"motor": 2}, Synapses.empty(), Synapses.empty(),
                  electrical=GapJunctions([0], [1]))  # fmt: skip
    model = elegans.LTC(1, pair, epsilon=0.0, ode_unfolds=2000, dtype=torch.float64)
    cell = model.cell
    with torch.no_grad():
        for name, value in (("gleak", 0.7), ("vleak", 0.0), ("cm", 0.5)):
            inverse = cell.recurrent.positivity.inverse if name != "vleak" else (lambda v: v)
            getattr(cell, name).fill_(float(inverse(torch.tensor(value, dtype=torch.float64))))
        cell.electrical.set_strength(torch.tensor([0.4], dtype=torch.float64))
        start = torch.tensor([[1.0, -0.2]], dtype=torch.float64)
        _, end = model(torch.zeros(1, 1, 1, dtype=torch.float64), start)
    mean = torch.exp(torch.tensor(-0.7 / 0.5)) * 0.4
    half = torch.exp(torch.tensor(-(0.7 + 2 * 0.4) / 0.5)) * 0.6
    expected = torch.tensor([[mean + half, mean - half]], dtype=torch.float64)
    torch.testing.assert_close(end, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("solver", [name for name in solver_names() if name != "semi_implicit"])
def test_every_solver_comes_to_the_same_end(solver):
    with torch.no_grad(), elegans.backend("reference"):
        x = torch.randn(2, 3, 2, dtype=torch.float64)
        ends = []
        for name, unfolds in (("rk4", 400), (solver, 400)):
            model = layer(JUNCTIONS["mixed"], solver=name, ode_unfolds=unfolds)
            ends.append(model(x)[1])
    torch.testing.assert_close(ends[0], ends[1], atol=5e-3, rtol=0)


def test_time_constants_hold_the_ones_of_any_state():
    model = layer(JUNCTIONS["mixed"])
    least, most = model.cell.time_constants()
    x, state = torch.randn(200, 2).double(), 3 * torch.randn(200, 12).double()
    tau = model.cell.dynamics(x).time_constant(state)
    assert bool((tau >= least * (1 - 1e-12)).all())
    assert bool((tau <= most * (1 + 1e-12)).all())


# --- kernels ---------------------------------------------------------------------------------


def results(model, path, *arguments):
    """Outputs, states, and the gradients of everything."""
    with elegans.backend(path):
        model.zero_grad()
        given = [argument.clone().requires_grad_() for argument in arguments]
        output, state = model(*given)
        weighed = (output * torch.linspace(-1, 2, output.numel()).reshape(output.shape)).sum()
        (
            weighed + (state * torch.linspace(1, -1, state.numel()).reshape(state.shape)).sum()
        ).backward()
    return [output, state, *(g.grad for g in given), *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("batch", [1, 2, 5, 33])
@pytest.mark.parametrize("solver", ["semi_implicit", "exponential"])
@pytest.mark.parametrize("name", JUNCTIONS)
def test_the_kernel_computes_the_reference(name, solver, batch):
    model = layer(JUNCTIONS[name], solver=solver)
    x, state = torch.randn(batch, 4, 2).double(), torch.randn(batch, 12).double()
    state[0] = 0.0  # where all potentials are equal, rectifying junctions are shut
    elapsed = torch.rand(batch, 4).double()
    for own, expected in zip(
        results(model, "fused", x, state, elapsed),
        results(model, "reference", x, state, elapsed),
        strict=True,
    ):
        torch.testing.assert_close(own, expected, atol=1e-10, rtol=1e-10)


def test_kernels_of_large_circuits_and_without_kept_steps(monkeypatch):
    monkeypatch.setattr(problem, "LARGE", 1)
    monkeypatch.setattr(problem, "MOST_BYTES_TO_KEEP", 0)
    model = layer(JUNCTIONS["mixed"])
    for batch in (1, 9):
        given = torch.randn(batch, 3, 2).double(), torch.randn(batch, 12).double()
        given = *given, torch.rand(batch, 3).double()
        for own, expected in zip(
            results(model, "fused", *given), results(model, "reference", *given), strict=True
        ):
            torch.testing.assert_close(own, expected, atol=1e-10, rtol=1e-10)


def test_single_precision_and_clipped_conductances():
    model = layer(JUNCTIONS["mixed"], dtype=torch.float32, implicit_param_constraints=False)
    with torch.no_grad():
        model.cell.electrical.weight[1] = -0.5  # clipped to nothing
    x, state = torch.randn(3, 4, 2), torch.randn(3, 12)
    for own, expected in zip(
        results(model, "fused", x, state), results(model, "reference", x, state), strict=True
    ):
        torch.testing.assert_close(own, expected, atol=2e-5, rtol=1e-4)
    model.apply_weight_constraints()
    assert model.cell.electrical.weight[1].item() == 0.0


def test_a_pruned_junction_is_as_none():
    model = layer(JUNCTIONS["mixed"])
    model.cell.electrical.set_mask(torch.tensor([True, False, False, False, True]))
    held = model.cell.electrical.junctions()
    assert model.wiring.electrical == held
    assert len(held) == 2
    fewer = layer(held)
    values = model.state_dict()
    values["cell.electrical.weight"] = values["cell.electrical.weight"][[0, 4]]
    for name in elegans.synapses.electrical.ElectricalSynapses.BUFFERS:
        values[f"cell.electrical.{name}"] = values[f"cell.electrical.{name}"][[0, 4]]
    fewer.load_state_dict(values)
    x = torch.randn(3, 4, 2).double()
    for path in ("fused", "reference"):
        with elegans.backend(path), torch.no_grad():
            torch.testing.assert_close(model(x)[0], fewer(x)[0], atol=1e-12, rtol=1e-12)


def test_single_steps_follow_junctions_that_change():
    model = layer(JUNCTIONS["mixed"], dtype=torch.float32)
    policy = elegans.Policy(model)
    observations = torch.randn(6, 2)

    def by_layer():
        with torch.no_grad():
            return model(observations[None])[0][0, -1].numpy()

    for change in ("nothing", "weight", "rectifying", "ends", "mask"):
        junctions = model.cell.electrical
        with torch.no_grad():
            if change == "weight":
                junctions.weight.add_(0.5)
            if change == "rectifying":
                junctions.rectifying[0] = True
            if change == "ends":
                junctions.target[0] = 8
                junctions.accept_connections()
            if change == "mask":
                junctions.set_mask(torch.tensor([True, False, True, True, True]))
        policy.reset()
        for observation in observations.numpy():
            action = policy(observation)
        np.testing.assert_allclose(action, by_layer(), atol=1e-5)


@pytest.mark.parametrize("damage", ["itself", "twice", "outside"])
def test_a_damaged_state_is_refused(damage):
    model = layer(JUNCTIONS["both ways"])
    state = copy.deepcopy(model.state_dict())
    source, target = (state[f"cell.electrical.{name}"] for name in ("source", "target"))
    if damage == "itself":
        source[0] = target[0]
    elif damage == "twice":
        source[1], target[1] = target[0].clone(), source[0].clone()
    else:
        target[0] = 12
    with pytest.raises(InputError, match="damaged"):
        model.load_state_dict(state)


# --- pruning and rewiring --------------------------------------------------------------------


def check_invariants(model, before):
    """No pair twice, none with itself; every neuron has the chemical inputs that it needs."""
    wiring = model.wiring  # which would not come about with a wrong pair
    slots = model.cell.electrical
    pairs = {tuple(sorted(ends)) for ends in zip(slots.source.tolist(), slots.target.tolist(),
                                                 strict=True)}  # fmt: skip
    assert len(pairs) == len(slots)
    assert set(wiring.recurrent.target.tolist()) | set(wiring.sensory.target.tolist()) == (
        set(before.recurrent.target.tolist()) | set(before.sensory.target.tolist())
    )


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_judges_junctions(name):
    model, x = layer(JUNCTIONS["mixed"]), torch.randn(4, 6, 2).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    pruner = Pruner(model, optimizer, criterion=name)

    def loss():
        return model(x)[0].square().mean()

    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    pruner.prune(0.4, loss)
    assert model.wiring.gap_junction_count == 3
    assert set(model.wiring.electrical) <= set(circuit(JUNCTIONS["mixed"]).electrical)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_rewires_circuits_with_junctions(rule):
    model = layer(JUNCTIONS["many of one neuron"], dtype=torch.float32)
    before = model.wiring
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)
    x = torch.randn(8, 5, 2)
    target = {"synapses": 25} if rule == "gradual" else {}
    rewirer = elegans.PruneRewire.from_rule(rule, model, optimizer, steps=60, **target)
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(x)[0] - x.sum(-1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        rewirer.step(lambda: (model(x)[0] - x.sum(-1, keepdim=True)).square().mean())
    check_invariants(model, before)
    with elegans.backend("fused"):
        fused = model(x)[0]
    with elegans.backend("reference"):
        torch.testing.assert_close(fused, model(x)[0], atol=1e-5, rtol=1e-4)


def test_junctions_move_and_conduct_both_ways_then():
    junctions = GapJunctions([7, 4, 0, 3], [2, 1, 6, 11], [True] * 4)
    model = layer(junctions, dtype=torch.float32)
    optimizer = torch.optim.Adam(model.parameters())
    rewirer = elegans.PruneRewire(
        model, optimizer, 2.0, weight=3.0, every=1, growth="random", include=["cell.electrical"]
    )
    edits = rewirer.step()
    assert Counter(edit.outcome for edit in edits) == {"rewired": 4}
    assert not bool(model.cell.electrical.rectifying.any())
    assert not set(model.wiring.electrical) & set(circuit(junctions).electrical)
    check_invariants(model, circuit(junctions))


def test_a_saturated_block_of_junctions_has_no_room():
    every = [(j, i) for i in range(3) for j in range(i)]
    model = layer(GapJunctions(*zip(*every, strict=True)), dtype=torch.float32)  # all motor pairs
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(PruningError, match="exists already"):
        elegans.PruneRewire(
            model, optimizer, elegans.pruning.Relative(1.0), include=["cell.electrical"]
        )


def test_a_training_with_junctions_goes_on_bit_for_bit():
    def run(model, optimizer, rewirer, steps):
        for k in range(steps):
            optimizer.zero_grad()
            x = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(k))
            model(x)[0].square().mean().backward()
            optimizer.step()
            rewirer.step()

    def made():
        model = layer(JUNCTIONS["mixed"], dtype=torch.float32)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        rewirer = elegans.PruneRewire(
            model, optimizer, elegans.pruning.Relative(0.5), every=4, growth="random"
        )
        return model, optimizer, rewirer

    first = made()
    run(*first, 10)
    second = made()
    for own, other in zip(second, first, strict=True):
        own.load_state_dict(copy.deepcopy(other.state_dict()))
    for each in (first, second):
        run(*each, 10)
    for own, other in zip(*(m.state_dict().values() for m in (first[0], second[0])), strict=True):
        assert torch.equal(own, other)
