"""The fused path: derivatives, reproducibility, choosing, arithmetic, graphs."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from equal_paths import both_paths

import elegans
from elegans.errors import InputError, SolveError
from elegans.layers import execution
from elegans.pruning import Relative
from elegans.wiring import AutoNCP, Synapses, Wiring

operator = pytest.importorskip("elegans.solvers.fused.operator")
problem = pytest.importorskip("elegans.solvers.fused.cpu.problem")

INPUTS = 3
ODD = Wiring(  # self-synapse, parallel synapses, rows without recurrent or sensory synapses
    INPUTS,
    {"motor": 2, "inter": 4},
    Synapses([2, 2, 3, 4, 4, 0, 5], [0, 0, 1, 3, 4, 1, 5], [1, -1, 1, -1, 1, 1, -1]),
    Synapses([0, 1, 2, 2], [2, 3, 4, 4], [1, -1, 1, -1]),
)

# --- derivatives -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["semi_implicit", "exponential"])
def test_gradcheck(solver):
    model = elegans.LTC(INPUTS, ODD, solver=solver, ode_unfolds=2, dtype=torch.float64)
    x = torch.randn(2, 3, INPUTS, dtype=torch.float64, requires_grad=True)
    hx = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    timespans = (0.2 + torch.rand(2, 3, dtype=torch.float64)).requires_grad_()
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, hx, timespans, *values):
        parameters = dict(zip(names, values, strict=True))
        return torch.func.functional_call(model, parameters, (x, hx, timespans))[0]

    with elegans.backend("fused"):
        assert torch.autograd.gradcheck(function, (x, hx, timespans, *values))
        assert torch.autograd.gradgradcheck(lambda x: model(x)[0], (x,))


def test_the_graph_may_be_walked_twice():
    model = elegans.LTC(INPUTS, AutoNCP(19, 4))
    x = torch.randn(17, 6, INPUTS, requires_grad=True)
    with elegans.backend("fused"):
        output, _ = model(x)
        (first,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
        model(torch.randn(17, 6, INPUTS))[0].sum().backward()  # takes over the buffers
        (second,) = torch.autograd.grad(output.sum(), x)
    assert first.any()
    assert torch.equal(first, second)


def test_buffers_are_used_again_and_bounded():
    workspace = problem.Workspace(most_bytes=100)
    first = workspace.take((10,), np.dtype(np.float64))
    workspace.give_back(first)
    assert workspace.take((10,), np.dtype(np.float64)) is first
    assert workspace.take((10,), np.dtype(np.float64)) is not first
    large = np.empty(1000)
    workspace.give_back(large)
    assert workspace.take((1000,), np.dtype(np.float64)) is not large


@pytest.mark.parametrize("path", ["reference", "fused"])
def test_an_edit_between_forward_and_backward_is_noticed(path):
    model = elegans.LTC(INPUTS, AutoNCP(12, 2))
    with elegans.backend(path):
        loss = model(torch.randn(2, 5, INPUTS))[0].square().sum()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert elegans.PruneRewire(model, optimizer, Relative(1.0), every=1, weight=0.9).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_layer_made_in_inference_mode_runs():
    x = torch.randn(2, 3, INPUTS)
    with torch.inference_mode():
        model = elegans.LTC(INPUTS, AutoNCP(9, 2))
        with elegans.backend("reference"):
            expected = model(x)[0]
        assert torch.allclose(model(x)[0], expected, atol=1e-5)


# PyTorch's own rules for forward mode are still scripted.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_forward_mode_and_batched_gradients_take_the_reference_path():
    model = elegans.LTC(INPUTS, AutoNCP(9, 2), dtype=torch.float64)
    x, v = torch.randn(2, 1, 3, INPUTS, dtype=torch.float64)

    def outputs(x):
        return model(x)[0].flatten()

    jacobian = torch.autograd.functional.jacobian(outputs, x)
    batched = torch.autograd.functional.jacobian(outputs, x, vectorize=True)
    assert torch.allclose(batched, jacobian, atol=1e-12)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, v)
        tangent = torch.autograd.forward_ad.unpack_dual(outputs(dual)).tangent
    assert torch.allclose(tangent, jacobian.flatten(1) @ v.flatten(), atol=1e-12)


def test_only_wanted_gradients_are_given():
    model = elegans.LTC(INPUTS, AutoNCP(9, 2)).requires_grad_(False)
    x = torch.randn(2, 3, INPUTS, requires_grad=True)
    with elegans.backend("fused"):
        output, _ = model(x)
        output.sum().backward()
        assert x.grad.any()
        assert not model(x.detach())[0].requires_grad


# --- reproducibility ---------------------------------------------------------------------


def on_threads(call):
    """Return what `call` returns on one thread and on two."""
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(call())
    finally:
        torch.set_num_threads(before)
    return found


@pytest.mark.parametrize("kind", [elegans.LTC, elegans.CfC, elegans.CTRNN])
def test_a_seed_gives_the_same_parameters_on_any_number_of_threads(kind):
    def draw():
        torch.manual_seed(1)
        return [*kind(3, 64, mixed_memory=kind is not elegans.CTRNN).parameters()]

    for pair in zip(*on_threads(draw), strict=True):
        assert torch.equal(*pair)


def test_any_number_of_threads_gives_the_same_numbers():
    model = elegans.LTC(INPUTS, AutoNCP(19, 4))
    x = torch.randn(100, 6, INPUTS)
    found = on_threads(lambda: both_paths(model, x)[1])
    for name, value in found[0].items():
        assert value is None or torch.equal(value, found[1][name]), name
    assert found[0]["d/dcell.recurrent.weight"].any()


def test_calls_from_several_threads():
    model = elegans.LTC(INPUTS, AutoNCP(19, 4))
    x = torch.randn(8, 33, 5, INPUTS)
    expected = [model(part)[0].detach() for part in x]
    found = {}

    def run(k):
        found[k] = [model(x[k])[0].detach() for _ in range(5)]

    threads = [threading.Thread(target=run, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(8):
        assert all(torch.equal(output, expected[k]) for output in found[k])


# --- choosing ----------------------------------------------------------------------------


def test_automatic_choice(monkeypatch):
    calls = []
    real = operator.CpuProblem
    monkeypatch.setattr(operator, "CpuProblem", lambda *a: calls.append(a[0]) or real(*a))
    model = elegans.LTC(INPUTS, AutoNCP(9, 2))
    x = torch.randn(2, 3, INPUTS)
    model(x)
    assert len(calls) == 1
    with elegans.backend("reference"):
        model(x)
        with elegans.backend("auto"):
            model(x)
    assert len(calls) == 2
    elegans.LTC(INPUTS, 4, solver="rk4")(x)
    elegans.LTC(INPUTS, 4, dtype=torch.bfloat16)(x.bfloat16())
    torch.func.vmap(lambda row: model(row)[0])(x)
    assert len(calls) == 2
    program = torch.export.export(model, (x,)).module()
    assert len(calls) == 2  # traced only
    program(x)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("options", "dtype", "reason"),
    [
        ({"solver": "rk4"}, torch.float32, "there is no kernel for the solver 'rk4'"),
        ({"dtype": torch.bfloat16}, torch.bfloat16, "a tensor is torch.bfloat16"),
    ],
)
def test_forcing_what_does_not_fit(options, dtype, reason):
    model = elegans.LTC(INPUTS, 4, **options)
    x = torch.randn(2, 3, INPUTS).to(dtype)
    with elegans.backend("fused"), pytest.raises(InputError, match=f"{reason}; it supports"):
        model(x)


def test_an_unknown_path():
    with (
        pytest.raises(InputError, match="unknown backend 'fast', expected one of"),
        elegans.backend("fast"),
    ):
        pass


def test_without_numba_there_is_one_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "elegans.solvers.fused", None)
    monkeypatch.setattr(execution, "_said", set())
    execution._import_error.cache_clear()
    model = elegans.LTC(INPUTS, AutoNCP(9, 2))
    try:
        with pytest.warns(RuntimeWarning, match=r"kernels are not available .* pip install"):
            model(torch.randn(2, 3, INPUTS))
        model(torch.randn(2, 3, INPUTS))  # warnings are errors here: there is no second one
        with elegans.backend("fused"), pytest.raises(InputError, match="kernels are not available"):
            model(torch.randn(2, 3, INPUTS))
    finally:
        execution._import_error.cache_clear()


WITHOUT_COMPILER = """
import warnings
import numpy as np, torch, elegans
from elegans.ensemble import Ensemble
from elegans.errors import InputError
from elegans.replications.hawkmoth import Moth, simulate

still = [0, 0, 0, np.pi, 0, 0, 0, 0]
vacuum = Moth(air_density=0, air_viscosity=0)
x = torch.randn(16, 4, 3)
layers = [kind(3, 5) for kind in (elegans.LTC, elegans.CfC, elegans.CTRNN)]
chains = [torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()) for _ in range(3)]
ensemble = Ensemble(chains)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for _ in range(2):
        assert simulate(vacuum, still, [0, 0, 0], times=[0.02])[0, 1].round(6) == -0.196
        for layer in layers:
            layer(x)[0].sum().backward()
            assert elegans.Policy(layer)(np.zeros(3, np.float32)).shape == (5,)
        ensemble(x[:, 0]).sum().backward()
texts = [str(warning.message) for warning in said]
assert all("unset NUMBA_DISABLE_JIT" in text for text in texts), texts
ends = [text.rpartition(": ")[2].split()[0] for text in texts]
assert ends == ["hawkmoths", "circuits", "ensembles"], texts
for call in (lambda: layers[0](x), lambda: ensemble(x[:, 0])):
    try:
        with elegans.backend("fused"):
            call()
    except InputError as error:
        assert "unset NUMBA_DISABLE_JIT" in str(error), error
    else:
        raise AssertionError("nothing was raised")
"""


@pytest.mark.slow
def test_without_a_compiler_python_runs_and_each_way_is_said_to_be_slow_once():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    code = [sys.executable, "-c", WITHOUT_COMPILER]
    subprocess.run(code, env=environment, check=True, timeout=120)


def test_a_forced_path_that_does_not_fit_is_an_error_and_no_warning(monkeypatch):
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    monkeypatch.setattr(execution, "_said", set())
    model, x = elegans.LTC(INPUTS, AutoNCP(9, 2)), torch.randn(2, 3, INPUTS)
    with elegans.backend("fused"), pytest.raises(InputError, match="unset NUMBA_DISABLE_JIT"):
        model(x)
    with pytest.warns(RuntimeWarning, match=r"unset NUMBA_DISABLE_JIT\): circuits run on the ref"):
        model(x)


@pytest.mark.slow
def test_the_compiler_of_graphs_is_imported_by_nobody_who_compiles_nothing():
    marked = torch.compiler.assume_constant_result(lambda: None)
    assert vars(marked).items() <= vars(execution.chosen_path).items()
    code = "import sys, elegans; elegans.LTC; assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_a_state_that_is_not_finite_is_located(bad):
    model = elegans.LTC(INPUTS, AutoNCP(9, 2), ode_unfolds=1)
    with torch.no_grad():
        model.cell.vleak[4] = float(bad)
    name = model.wiring.names[4]
    for path in ("reference", "fused"):
        with (
            elegans.backend(path),
            pytest.raises(SolveError, match=rf"got {bad} at .*step 1 of 3.*neuron '{name}'"),
        ):
            model(torch.randn(2, 3, INPUTS))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_takes_the_reference_path_and_says_so_once():
    code = """
import os, sys, warnings
import numpy as np, torch, elegans
from elegans.ensemble import Ensemble
from elegans.errors import InputError
torch.set_num_threads(1)
model, x = elegans.LTC(3, 5), torch.randn(16, 3, 3)
ensemble = Ensemble([torch.nn.Linear(3, 4) for _ in range(3)])
expected, of_ensemble = model(x)[0], ensemble(x[:, 0])

def run():
    for _ in range(2):
        assert torch.allclose(model(x)[0], expected, atol=1e-5)
        assert torch.allclose(ensemble(x[:, 0]), of_ensemble, atol=1e-5)
        elegans.Policy(model)(np.zeros(3, np.float32))

def child(go_on):
    if process := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run()
    texts = [str(warning.message) for warning in said]
    assert len(texts) == 2 and all("was forked" in text for text in texts), texts
    assert all("start processes with 'spawn'" in text for text in texts), texts
    try:
        with elegans.backend("fused"):
            model(x)
    except InputError as error:
        assert "was forked" in str(error)
        os._exit(go_on())
    os._exit(2)

sys.exit(child(lambda: child(lambda: 7)))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 7


def test_a_batch_that_does_not_fit_into_memory_is_refused_before_anything_is_taken():
    model = elegans.LTC(INPUTS, 1000)
    x = torch.zeros(1, 1, INPUTS).expand(10**5, 10**4, INPUTS)  # no memory of its own
    inputs, circuit = model.cell.circuit(x)
    tensors = (inputs[:1], torch.zeros(1, 1000), torch.ones(1, 1), *circuit.parameters)
    settings = operator.Settings(1000, 6, False, 1, 1e-6, 1e-8)
    call = problem.CpuProblem(tensors, circuit.connections, settings)
    call.x = np.broadcast_to(np.float32(0), x.shape)
    with pytest.raises(InputError, match=r"a batch of 100000 sequences of 10000 steps .* bytes\)"):
        call.run(False)


# --- arithmetic --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "relative"), [(np.float32, 3e-7), (np.float64, 1e-14)])
def test_the_sigmoid_and_its_kin_are_accurate(dtype, relative):
    from numba import njit

    from elegans.solvers.fused.cpu.compiling import OPTIONS
    from elegans.solvers.fused.cpu.sigmoid import phi, phi_slope, sigmoid, softplus
    from elegans.solvers.fused.cpu.vectors import load_part, store_part

    @njit(**OPTIONS)
    def evaluate(x, sigmoids, phis, slopes, positives, lanes):
        for k in range(0, len(x), len(lanes)):
            left = len(x) - k
            part = load_part(x, k, left, lanes)
            size = load_part(np.abs(x), k, left, lanes)
            store_part(sigmoids, k, left, sigmoid(part))
            store_part(phis, k, left, phi(size))
            store_part(slopes, k, left, phi_slope(size))
            store_part(positives, k, left, softplus(part))

    x = np.concatenate([np.linspace(-30, 30, 10001), np.geomspace(1e-8, 1, 1000)]).astype(dtype)
    found = [np.empty_like(x) for _ in range(4)]
    evaluate(x, *found, (0,) * 16)
    exact = x.astype(np.longdouble)
    z = np.maximum(np.abs(exact), np.longdouble(1e-30))
    decay = np.exp(-z)
    expected_phi = -np.expm1(-z) / z
    expected_slope = np.where(z > 1e-3, (z * decay / -np.expm1(-z) - 1) / z, -0.5 + z / 12)
    positive = np.where(exact > 20, exact, np.logaddexp(0, exact))
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(-exact)), rtol=relative)
    np.testing.assert_allclose(found[1], expected_phi, rtol=4 * relative)
    np.testing.assert_allclose(found[2], expected_slope, rtol=max(10 * relative, 1e-8))
    np.testing.assert_allclose(found[3], positive, rtol=2 * relative)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sigmoid_of_what_is_not_finite(bad):
    from numba import njit

    from elegans.solvers.fused.cpu.compiling import OPTIONS
    from elegans.solvers.fused.cpu.sigmoid import sigmoid
    from elegans.solvers.fused.cpu.vectors import load, store

    @njit(**OPTIONS)
    def evaluate(x, lanes):
        store(x, 0, sigmoid(load(x, 0, lanes)))

    x = np.full(16, bad, np.float32)
    evaluate(x, (0,) * 16)
    np.testing.assert_allclose(x, 1 / (1 + np.exp(-np.float64(bad))), atol=1e-30)


def test_kept_kernels_depend_on_every_file_they_are_made_of(tmp_path, monkeypatch):
    import numba

    from elegans.solvers.fused.cpu import compiling, lanes

    own = compiling.source_stamp(lanes.__file__)
    assert lanes.forward._cache._cache_file.stamp == (numba.__version__, own)
    for name in ("sigmoid.py", "compiling.py"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(compiling, "__file__", str(tmp_path / "compiling.py"))
    before = compiling.source_stamp()
    os.utime(tmp_path / "sigmoid.py", (1, 1))
    assert compiling.source_stamp() != before


SLOW_START = """
import sys, time
import numpy as np
from elegans.solvers.fused.cpu import parameters, running

load = parameters.keep_sign._cache.load_overload

def slowly(*arguments):
    time.sleep(1.1)
    return load(*arguments)

parameters.keep_sign._cache.load_overload = slowly
for kind in (np.float32, np.float64):  # two kernels to compile, or to load
    found = np.zeros(1, np.bool_)
    running.run(parameters.keep_sign, np.ones(3, kind), np.ones(3, np.int8), found)
    assert found
hits = len(parameters.keep_sign.stats.cache_hits)
assert hits == int(sys.argv[1]), hits
"""


@pytest.mark.slow
def test_only_compiling_is_announced_and_that_once(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for hits, times in ((0, 1), (2, 0)):
        done = subprocess.run(
            [sys.executable, "-c", SLOW_START, str(hits)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("compiling kernels, once") == times


@pytest.mark.slow
def test_kernels_leave_the_number_of_threads_alone():
    code = """
import torch
torch.set_num_threads(1)
import elegans, numba
model, x = elegans.LTC(3, 5), torch.randn(16, 3, 3)
for threads in (1, 1, 2, 1):
    torch.set_num_threads(threads)
    model(x)
    found = torch.get_num_threads(), numba.get_num_threads()
    assert found == (threads, min(threads, numba.config.NUMBA_NUM_THREADS)), found
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# --- torch.compile, torch.export, torch.library -------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 5, 33])
def test_a_compiled_layer_runs_the_kernel(batch):
    model = elegans.LTC(INPUTS, AutoNCP(12, 2))
    x = torch.randn(batch, 4, INPUTS)
    timespans = torch.rand(batch, 4)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    found = {}
    for name, layer in (("eager", model), ("compiled", compiled)):
        leaves = [x.clone().requires_grad_(), timespans.clone().requires_grad_()]
        model.zero_grad()
        output, final = layer(leaves[0], timespans=leaves[1])
        (output.square().sum() + final.sum()).backward()
        found[name] = [output, final, *(leaf.grad for leaf in leaves)]
        found[name] += [p.grad for p in model.parameters()]
    for expected, result in zip(found["eager"], found["compiled"], strict=True):
        torch.testing.assert_close(result, expected)


@pytest.mark.slow
def test_an_exported_layer_is_one_operator_at_any_batch_size():
    model = elegans.LTC(INPUTS, AutoNCP(12, 2)).eval()
    batch = torch.export.Dim("batch", min=2)
    with torch.no_grad():
        program = torch.export.export(
            model, (torch.randn(8, 4, INPUTS),), dynamic_shapes=({0: batch},)
        )
    names = [str(node.target) for node in program.graph.nodes]
    assert names.count("elegans.sequence.default") == 1
    for size in (2, 3, 40):
        x = torch.randn(size, 4, INPUTS)
        torch.testing.assert_close(program.module()(x)[0], model(x)[0])


def arguments_of(model, batch):
    """Return what a layer hands to the registered operator."""
    inputs, circuit = model.cell.circuit(torch.randn(batch, 3, INPUTS, requires_grad=True))
    nothing, neurons = torch.zeros(0), model.state_size
    tensors = [inputs, torch.randn(batch, neurons), torch.rand(batch, 3), *circuit.parameters]
    connections = [nothing if c is None else c for c in circuit.connections]
    given = [nothing if t is None else t for t in tensors]
    return given, connections, 2, 6, False, 1, 1e-6, 1e-8, True


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 17])
@pytest.mark.parametrize("mapping", ["affine", None])
def test_the_registered_operator_keeps_the_rules_of_torch_library(batch, mapping):
    library = pytest.importorskip("elegans.solvers.fused.library")
    model = elegans.LTC(
        INPUTS, AutoNCP(9, 2), input_mapping=mapping, fixed_polarity=mapping is None
    )
    arguments = given, *rest = arguments_of(model, batch)
    torch.library.opcheck(library._sequence, arguments)
    both = torch.stack([given[0].detach(), 2 * given[0].detach()])
    twice = torch.func.vmap(lambda x: torch.ops.elegans.sequence([x, *given[1:]], *rest)[0])(both)
    for x, found in zip(both, twice, strict=True):
        expected = torch.ops.elegans.sequence([x, *given[1:]], *rest)[0]
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("batch", [1, 3, 4, 7, 8, 9, 16, 17, 33])
@pytest.mark.parametrize("neurons", [9, 40])
def test_no_result_of_the_operator_is_left_to_chance(batch, neurons, memory_without_values):
    pytest.importorskip("elegans.solvers.fused.library")
    arguments = arguments_of(elegans.LTC(INPUTS, AutoNCP(neurons, 2)), batch)
    results = torch.ops.elegans.sequence(*arguments)
    leaves = [tensor for tensor in arguments[0] if tensor.requires_grad]
    gradients = torch.autograd.grad(results[0].sum(), leaves, allow_unused=True)
    for result in (*results, *gradients):
        assert result is None or result.isfinite().all()


@pytest.mark.parametrize("solver", ["semi_implicit", "exponential"])
def test_a_single_step_of_the_cell_takes_the_kernel(solver):
    cell = elegans.LTCCell(AutoNCP(12, 2), INPUTS, solver=solver)
    x, h, dt = torch.randn(5, INPUTS), torch.randn(5, 12), torch.rand(5)
    found = {}
    for path in ("reference", "fused"):
        leaves = [x.clone().requires_grad_(), h.clone().requires_grad_()]
        cell.zero_grad()
        with elegans.backend(path):
            output, state = cell(*leaves, dt)
        (output.sum() + state.square().sum()).backward()
        found[path] = [output, state, *(leaf.grad for leaf in leaves)]
        found[path] += [p.grad for p in cell.parameters()]
    for expected, result in zip(found["reference"], found["fused"], strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def test_a_backend_chosen_by_a_statement_holds_until_the_next_and_blocks_restore_it():
    assert execution.chosen_path() == "auto"
    try:
        elegans.backend("reference")
        assert execution.chosen_path() == "reference"
        with elegans.backend("fused"):
            assert execution.chosen_path() == "fused"
            with pytest.raises(InputError, match="unknown backend 'fast'"):
                elegans.backend("fast")
            assert execution.chosen_path() == "fused"
        assert execution.chosen_path() == "reference"
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(execution.chosen_path()))
        thread.start()
        thread.join()
        assert elsewhere == ["auto"]  # as with torch.set_grad_enabled
    finally:
        elegans.backend("auto")
