"""The fused path of CfCs equals the reference path; what is particular to it."""

from dataclasses import astuple

import pytest
import torch
from degenerate import SETS, circuit, covering_array, name_of, pairs_left_out
from equal_paths import assert_equal_paths, both_paths

import elegans
from elegans.cfc.backbone import ACTIVATIONS
from elegans.cfc.closed_form import HEADS
from elegans.errors import InputError, SolveError
from elegans.pruning import Relative
from elegans.wiring import AutoNCP, Synapses, Wiring

problem = pytest.importorskip("elegans.solvers.fused.cpu.closed_problem")
library = pytest.importorskip("elegans.solvers.fused.closed_library")

INPUTS = 3
ANY = {
    "batch": (0, 1, 4, 5, 16, 17, 33),
    "neurons": (1, 2, 17),
    "inputs": (1, INPUTS),
    "time": (1, 3),
    "lengths": ("full", "ragged"),
    "elapsed": ("ones", "some 0", "all 0"),
    "hx": ("given", "none"),
    "mode": tuple(HEADS),
    "dtype": (torch.float32, torch.float64),
    "mapping": ("affine", None),
    "projection": (None, 2),
    "loss": (("output",), ("states",), ("output", "states", "final")),
    "threads": (1, 2),
    "call": ("eager", "traced"),
}
WIRED = {
    "recurrent": SETS,
    "sensory": SETS,
    "outputs": ("one", "all"),
    "slots": ("sorted", "mixed"),
    "connections": ("own", "ncps", "as given"),
    "pruned": ("none", "some", "all"),
}
DENSE = {
    "activation": tuple(ACTIVATIONS),
    "backbone_layers": (0, 1, 2, 3),
    "backbone_units": (1, 9),
}
WIRED_CASES = covering_array(**ANY, **WIRED)
DENSE_CASES = covering_array(**ANY, **DENSE)
CHAIN = Wiring(  # a layer without synapses, parallel synapses, synapses back towards the input
    INPUTS,
    {"motor": 2, "command": 1, "inter": 3},
    Synapses([3, 3, 4, 0, 1, 5, 0], [0, 0, 1, 3, 1, 5, 1], [1, -1, 1, -1, 1, 1, -1]),
    Synapses([0, 1, 2, 2], [3, 4, 5, 0], [1, -1, 1, -1]),
)


def test_every_two_traits_meet():
    assert not pairs_left_out(WIRED_CASES, ANY | WIRED)
    assert not pairs_left_out(DENSE_CASES, ANY | DENSE)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def compare(model, case, monkeypatch):
    if case["call"] == "traced":  # the registered operator, as in a graph
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    batch, time, inputs, dtype = (case[name] for name in ("batch", "time", "inputs", "dtype"))
    options = {"of": case["loss"]}
    if case["lengths"] == "ragged":
        options["lengths"] = torch.arange(batch) % (time + 1)
    if case["elapsed"] != "ones":
        open_ = (torch.arange(batch * time) % 3 > 0) & (case["elapsed"] == "some 0")
        options["timespans"] = 2 * torch.rand(batch, time, dtype=dtype) * open_.view(batch, time)
    if case["hx"] == "given":
        options["hx"] = torch.randn(batch, case["neurons"], dtype=dtype)
    assert_equal_paths(model, torch.randn(batch, time, inputs, dtype=dtype), **options)


def options_of(case):
    return {
        "mode": case["mode"],
        "proj_size": case["projection"],
        "input_mapping": case["mapping"],
        "output_mapping": case["mapping"],
        "dtype": case["dtype"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("case", WIRED_CASES, ids=name_of)
def test_a_wired_layer_is_equal_in_every_case(case, threads, monkeypatch):
    threads(case["threads"])
    traits = ("recurrent", "sensory", "neurons", "inputs", "outputs", "slots")
    model = elegans.CfC(
        case["inputs"],
        circuit(*(case[name] for name in traits)),
        ncps_connections=case["connections"] == "ncps",
        add_connections=case["connections"] != "as given",
        **options_of(case),
    )
    for synapses in model.cell.synapse_sets().values():
        if case["pruned"] != "none":
            synapses.mask[:: 2 if case["pruned"] == "some" else 1] = False
    compare(model, case, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("case", DENSE_CASES, ids=name_of)
def test_a_dense_layer_is_equal_in_every_case(case, threads, monkeypatch):
    threads(case["threads"])
    backbone = {name: case[name] for name in DENSE}
    model = elegans.CfC(case["inputs"], case["neurons"], **backbone, **options_of(case))
    compare(model, case, monkeypatch)


@pytest.mark.parametrize("mode", HEADS)
@pytest.mark.parametrize("units", [6, CHAIN], ids=["dense", "wired"])
def test_equal_at_tiny_zero_and_huge_elapsed_times(mode, units):
    model = elegans.CfC(INPUTS, units, mode=mode, dtype=torch.float64)
    spans = [0.0, 1e-12, 1e-6, 1e-3, 0.1, 1.0, 10.0, 1e4]
    timespans = torch.tensor([spans, spans[::-1]], dtype=torch.float64)
    assert_equal_paths(model, torch.randn(2, 8, INPUTS, dtype=torch.float64), timespans=timespans)


@pytest.mark.parametrize("ncps_connections", [False, True])
def test_equal_after_rewiring(ncps_connections):
    model = elegans.CfC(INPUTS, AutoNCP(19, 4), ncps_connections=ncps_connections)
    optimizer = torch.optim.Adam(model.parameters())
    rewirer = elegans.PruneRewire(model, optimizer, Relative(1.0), every=1)
    for _ in range(5):
        rewirer.step()
    assert len(rewirer.ledger)
    assert_equal_paths(model, torch.randn(4, 5, INPUTS))


def test_gradients_of_candidates_are_equal():
    grown = {}
    for path in ("reference", "fused"):
        torch.manual_seed(0)
        model = elegans.CfC(INPUTS, AutoNCP(19, 4), dtype=torch.float64)
        optimizer = torch.optim.Adam(model.parameters())
        rewirer = elegans.PruneRewire(model, optimizer, Relative(1.0), 1, growth="gradient")
        x = torch.randn(8, 5, INPUTS, dtype=torch.float64)
        with elegans.backend(path):
            rewirer.step(lambda model=model, x=x: model(x)[0].square().mean())
        grown[path] = rewirer.ledger
    assert len(grown["fused"]) > 20
    assert grown["fused"] == grown["reference"]


# --- derivatives -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mode", HEADS)
@pytest.mark.parametrize("units", [4, CHAIN], ids=["dense", "wired"])
def test_gradcheck(mode, units):
    options = {} if units is CHAIN else {"backbone_units": 5, "backbone_layers": 2}
    model = elegans.CfC(INPUTS, units, mode=mode, dtype=torch.float64, **options)
    x = torch.randn(2, 3, INPUTS, dtype=torch.float64, requires_grad=True)
    hx = torch.randn(2, model.state_size, dtype=torch.float64, requires_grad=True)
    timespans = (0.2 + torch.rand(2, 3, dtype=torch.float64)).requires_grad_()
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, hx, timespans, *values):
        parameters = dict(zip(names, values, strict=True))
        return torch.func.functional_call(model, parameters, (x, hx, timespans))[0]

    with elegans.backend("fused"):
        assert torch.autograd.gradcheck(function, (x, hx, timespans, *values))
        assert torch.autograd.gradgradcheck(function, (x, hx, timespans, *values))


@pytest.mark.parametrize("units", [7, AutoNCP(19, 4)], ids=["dense", "wired"])
def test_the_graph_may_be_walked_twice(units):
    model = elegans.CfC(INPUTS, units)
    x = torch.randn(17, 6, INPUTS, requires_grad=True)
    with elegans.backend("fused"):
        output, _ = model(x)
        (first,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
        model(torch.randn(17, 6, INPUTS))[0].sum().backward()  # takes over the buffers
        (second,) = torch.autograd.grad(output.sum(), x)
    assert first.any()
    assert torch.equal(first, second)


@pytest.mark.parametrize("units", [7, AutoNCP(19, 4)], ids=["dense", "wired"])
def test_an_edit_between_forward_and_backward_is_noticed(units):
    model = elegans.CfC(INPUTS, units, mode="pure")
    with elegans.backend("fused"):
        loss = model(torch.randn(2, 5, INPUTS))[0].square().sum()
    with torch.no_grad():
        model.cell.solution.rate.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("units", [7, AutoNCP(19, 4)], ids=["dense", "wired"])
def test_any_number_of_threads_gives_the_same_states(units, threads):
    model = elegans.CfC(INPUTS, units)
    for batch in (1, 17, 65, 130):
        found = []
        for number in (1, 2, 3):
            threads(number)
            model.zero_grad()
            torch.manual_seed(0)
            output, _ = model(torch.randn(batch, 6, INPUTS))
            output.square().sum().backward()
            found.append((output.detach(), [p.grad.clone() for p in model.parameters()]))
        for output, gradients in found[1:]:
            assert torch.equal(output, found[0][0])
            for gradient, expected in zip(gradients, found[0][1], strict=True):
                if units != 7:
                    assert torch.equal(gradient, expected)
                torch.testing.assert_close(gradient, expected)


# --- choosing ----------------------------------------------------------------------------


class OwnStep(elegans.CfCCell):
    def step(self, sensed, time, state, elapsed):
        return 2 * super().step(sensed, time, state, elapsed)


def test_what_does_not_fit_takes_the_reference_path_or_says_why():
    x = torch.randn(2, 3, INPUTS)
    half = elegans.CfC(INPUTS, 4, dtype=torch.bfloat16)
    dropping = elegans.CfC(INPUTS, 4, backbone_dropout=0.5)
    hooked = elegans.CfC(INPUTS, 4)
    hooked.cell.recurrent_map.register_forward_hook(lambda module, given, result: 2 * result)
    own = elegans.CfC(INPUTS, 4)
    own.cell.__class__ = OwnStep
    for model, reason in (
        (half, "a tensor is torch.bfloat16"),
        (dropping, "dropout silences other units"),
        (hooked, "hooks take part"),
        (own, "OwnStep has a `step` of its own"),
    ):
        given = x.to(next(model.parameters()).dtype)
        with elegans.backend("fused"), pytest.raises(InputError, match=f"{reason}.*; it supports"):
            model(given)
        torch.manual_seed(1)
        found = model(given)[0]
        torch.manual_seed(1)
        with elegans.backend("reference"):
            assert torch.equal(model(given)[0], found)
    with elegans.backend("fused"):
        dropping.eval()(x)


def test_hooks_of_synapses_take_part():
    model = elegans.CfC(INPUTS, AutoNCP(9, 2))
    x = torch.randn(5, 3, INPUTS)
    before = model(x)[0]
    model.cell.recurrent.register_forward_hook(lambda module, given, weights: 2 * weights)
    assert_equal_paths(model, x)
    assert not torch.equal(model(x)[0], before)


@pytest.mark.parametrize("units", [7, AutoNCP(19, 4)], ids=["dense", "wired"])
def test_a_state_that_is_not_finite_is_located(units):
    model = elegans.CfC(INPUTS, units)
    with torch.no_grad():
        parameter = model.cell.bias if units != 7 else model.cell.maps.bias
        parameter.view(4, -1)[0, 3] = float("nan")
    for path in ("reference", "fused"):
        with elegans.backend(path), pytest.raises(SolveError, match="got nan at"):
            model(torch.randn(2, 3, INPUTS))


def test_a_batch_that_does_not_fit_into_memory_is_refused(monkeypatch):
    call = problem.DenseProblem.__new__(problem.DenseProblem)
    call.batch, call.time, call.neurons, call.kind = (
        10**5,
        10**4,
        10**3,
        torch.empty(0).numpy().dtype,
    )
    monkeypatch.setattr(problem.DenseProblem, "shapes", lambda self, keep: [(10**13,)])
    with pytest.raises(InputError, match=r"a batch of 100000 sequences of 10000 steps"):
        call.run(True)


# --- graphs ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("units", [7, AutoNCP(19, 4)], ids=["dense", "wired"])
def test_a_compiled_layer_is_one_operator_at_any_number_of_steps(units):
    torch.compiler.reset()
    model = elegans.CfC(INPUTS, units)
    graphs = []

    def count(graph, _):
        graphs.append([str(node.target) for node in graph.graph.nodes])
        return graph.forward

    counting = torch.compile(model, fullgraph=True, dynamic=True, backend=count)
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    for steps in (32, 300, 77):
        x = torch.randn(5, steps, INPUTS)
        torch.testing.assert_close(counting(x)[0], model(x)[0])
        found = {}
        for name, layer in (("eager", model), ("compiled", compiled)):
            model.zero_grad()
            layer(x)[0].square().sum().backward()
            found[name] = [p.grad for p in model.parameters() if p.grad is not None]
        for expected, result in zip(found["eager"], found["compiled"], strict=True):
            torch.testing.assert_close(result, expected)
    assert len(graphs) == 1
    assert sum(name.startswith("elegans.closed_form") for name in graphs[0]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("units", [7, AutoNCP(19, 4)], ids=["dense", "wired"])
def test_an_exported_layer_is_one_operator_at_any_batch_and_number_of_steps(units):
    model = elegans.CfC(INPUTS, units).eval()
    sizes = {0: torch.export.Dim("batch", min=2), 1: torch.export.Dim("time", min=2)}
    with torch.no_grad():
        program = torch.export.export(model, (torch.randn(8, 4, INPUTS),), dynamic_shapes=(sizes,))
    names = [str(node.target) for node in program.graph.nodes]
    assert names.count("elegans.closed_form.default") == 1
    for batch, time in ((2, 9), (3, 2), (40, 5)):
        x = torch.randn(batch, time, INPUTS)
        torch.testing.assert_close(program.module()(x)[0], model(x)[0])


@pytest.fixture
def arguments_of(monkeypatch):
    """Return what a layer hands to the registered operator."""

    def arguments(model, batch):
        calls, states = [], torch.ones(batch, 3, model.state_size)
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda: True)
            patch.setattr(library, "traced", lambda *given: calls.append(given) or states)
            patch.setattr(type(model), "_check_states", lambda *_: None)
            model(torch.randn(batch, 3, INPUTS, requires_grad=True))
        (tensors, connections, settings), *_ = calls
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        return leaves, list(connections), *astuple(settings), True

    return arguments


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 17])
@pytest.mark.parametrize("units", [7, AutoNCP(19, 4)], ids=["dense", "wired"])
def test_the_registered_operator_keeps_the_rules_of_torch_library(batch, units, arguments_of):
    arguments = arguments_of(elegans.CfC(INPUTS, units, mode="pure"), batch)
    torch.library.opcheck(library._closed_form, arguments)
    given = [tensor.detach() for tensor in arguments[0]]
    both = torch.stack([given[0], 2 * given[0]])
    operator = torch.ops.elegans.closed_form
    twice = torch.func.vmap(lambda x: operator([x, *given[1:]], *arguments[1:])[0])(both)
    for x, found in zip(both, twice, strict=True):
        torch.testing.assert_close(found, operator([x, *given[1:]], *arguments[1:])[0])


@pytest.mark.parametrize("batch", [1, 7, 8, 9, 16, 17])
@pytest.mark.parametrize("mode", HEADS)
@pytest.mark.parametrize("units", [7, AutoNCP(19, 4)], ids=["dense", "wired"])
def test_no_result_of_the_operator_is_left_to_chance(
    batch, mode, units, arguments_of, memory_without_values
):
    arguments = arguments_of(elegans.CfC(INPUTS, units, mode=mode), batch)
    states, room = torch.ops.elegans.closed_form(*arguments)
    gradients = torch.autograd.grad(states.sum(), arguments[0], allow_unused=True)
    for result in (states, room, *gradients):
        assert result is None or result.isfinite().all()


def test_a_single_step_of_the_cell_takes_the_kernel():
    cell = elegans.WiredCfCCell(AutoNCP(12, 2), INPUTS)
    x, h, dt = torch.randn(5, INPUTS), torch.randn(5, 12), torch.rand(5)
    found = []
    for path in ("reference", "fused"):
        with elegans.backend(path):
            found.append(cell(x, h, dt))
    for expected, result in zip(*found, strict=True):
        torch.testing.assert_close(result, expected)


def test_mixed_memory_steps_on_the_reference_path():
    model = elegans.CfC(INPUTS, AutoNCP(9, 2), mixed_memory=True)
    reference, fused = both_paths(model, torch.randn(3, 4, INPUTS), of=("output",))
    assert torch.equal(reference["output"], fused["output"])
