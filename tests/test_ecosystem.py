"""Tools of PyTorch on every layer; docs/ecosystem.md lists what they do."""

import copy
import io
import subprocess
import sys
import warnings

import pytest
import torch
from fresh_process import processes
from torch import nn
from torch.nn.utils import parametrizations, prune

import elegans
from elegans.errors import InputError, PruningError, SolverError
from elegans.solvers import solver_names
from elegans.wiring import AutoNCP

WIRING = AutoNCP(7, 2)
LAYERS = {
    "LTC": lambda **options: elegans.LTC(3, WIRING, **options),
    "CTRNN": lambda **options: elegans.CTRNN(3, WIRING, **options),
    "CfC": lambda **options: elegans.CfC(3, 5, **options),
    "wired CfC": lambda **options: elegans.CfC(3, WIRING, **options),
    "LrcSSM": lambda **options: elegans.LrcSSM(3, 5, **options),
    "memory": lambda **options: elegans.LTC(3, WIRING, mixed_memory=True, **options),
    "dense memory": lambda **options: elegans.CfC(3, 5, mixed_memory=True, **options),
    "readout": lambda **options: elegans.Readout(elegans.LTC(3, WIRING, **options), 2),
}
FUSED = ("LTC", "readout")
"""Those that a kernel runs."""

tracing = pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.*:DeprecationWarning"
)
outdated = pytest.mark.filterwarnings(  # PyTorch's own, of its older tools
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture(params=LAYERS)
def model(request):
    return LAYERS[request.param]()


@pytest.fixture
def x():
    return torch.randn(4, 6, 3)


def circuit(model):
    return getattr(model, "layer", model)


# --- graphs ------------------------------------------------------------------------------


@tracing
def test_traces_are_saved_and_loaded(model, x):
    for synapses in circuit(model).cell.synapse_sets().values():
        synapses.set_mask(torch.arange(len(synapses)) % 3 > 0)
    elapsed = torch.ones(4, 6)
    state = torch.zeros(4, model.state_size)
    state = (state, state) if circuit(model).memory is not None else state
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(model, (x, state, elapsed), check_trace=False), buffer)
    buffer.seek(0)
    traced = torch.jit.load(buffer)
    other, timespans = torch.randn(2, 6, 3), torch.rand(2, 6)
    timespans[1, 2:4] = 0
    state = tuple(s[:2] for s in state) if isinstance(state, tuple) else state[:2]
    torch.testing.assert_close(
        traced(other, state, timespans), model(other, hx=state, timespans=timespans)
    )
    assert sum(p.numel() for p in traced.parameters()) == sum(p.numel() for p in model.parameters())
    for time in (5, 7):  # nothing is cut or repeated in silence
        with pytest.raises(RuntimeError):
            traced(torch.randn(2, time, 3), state, torch.ones(2, time))


@tracing
@pytest.mark.slow
def test_a_trace_is_loaded_without_this_library(x, tmp_path):
    layer = elegans.LTC(3, AutoNCP(7, 2))
    torch.jit.save(torch.jit.trace(layer, (x,), check_trace=False), tmp_path / "layer.pt")
    torch.save(x, tmp_path / "x.pt")
    code = (
        "import sys; sys.modules['elegans'] = None; import torch; "
        "print(torch.jit.load('layer.pt')(torch.load('x.pt'))[0].double().sum().item())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(layer(x)[0].double().sum().item(), abs=1e-4)


@tracing
@pytest.mark.parametrize("name", solver_names())
def test_traces_of_solvers(name, x):
    model = elegans.LTC(3, 4, solver=name)
    if hasattr(model.cell.solver, "rtol"):
        with pytest.raises(SolverError, match=f"'{name}' under torch.jit.trace.*such as 'rk4'"):
            torch.jit.trace(model, (x,))
        return
    traced = torch.jit.trace(model, (x,), check_trace=False)
    torch.testing.assert_close(traced(2 * x)[0], model(2 * x)[0])


@tracing
def test_a_kernel_is_not_traced(x):
    with (
        elegans.backend("fused"),
        pytest.raises(InputError, match=r"no place for a kernel; .*choose elegans\.backend"),
    ):
        torch.jit.trace(elegans.LTC(3, 4), (x,))


@outdated
def test_script_is_refused(model):
    for module in (model, circuit(model).cell, nn.Sequential(model)):
        with pytest.raises(InputError, match=r"torch.jit.script cannot read .*; use torch.export"):
            torch.jit.script(module)


class Head(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.scale = layer, nn.Linear(layer.output_size, 1)

    def forward(self, x):
        output, _ = self.layer(x)
        return self.scale(output)


class Whole(torch.fx.Tracer):
    def is_leaf_module(self, module, name):
        return module.__module__.startswith("elegans.") or super().is_leaf_module(module, name)


def test_symbolic_traces_keep_a_layer_whole(model, x):
    head = Head(model)
    for traced in (model, head):
        with pytest.raises(InputError, match=r"got Proxy of torch.fx.*; use torch.export, or"):
            torch.fx.symbolic_trace(traced)
    graph = torch.fx.GraphModule(head, Whole().trace(head))
    assert torch.equal(graph(x), head(x))


@pytest.mark.slow
def test_export_of_any_batch(model, x):
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    for batch in (2, 7):
        other = torch.randn(batch, 6, 3)
        torch.testing.assert_close(program.module()(other)[0], model(other)[0])


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize("kind", ["LTC", "CfC"])
def test_compile_in_one_graph(kind, x, dynamic):
    torch.compiler.reset()
    model = LAYERS[kind]()
    compiled = torch.compile(model, fullgraph=True, dynamic=dynamic, backend="eager")
    for other in (x, torch.randn(2, 6, 3), torch.randn(3, 8, 3)):
        torch.testing.assert_close(compiled(other)[0], model(other)[0])


OTHERS = {
    "LRC": lambda: elegans.LRC(3, WIRING),
    "CTGRU": lambda: elegans.CTGRU(3, 5),
    "NeuralLTC": lambda: elegans.NeuralLTC(3, 5),
    "NeuralODE": lambda: elegans.NeuralODE(3, 5),
}
"""Layers of which only the graphs are looked at here."""


def run_by_onnxruntime(path, x):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [*LAYERS, *OTHERS])
def test_onnx(kind, x, tmp_path):
    for needed in ("onnx", "onnxscript"):
        pytest.importorskip(needed)
    model = (LAYERS | OTHERS)[kind]().eval()
    path = tmp_path / "model.onnx"
    batch = {0: torch.export.Dim.DYNAMIC}
    torch.onnx.export(model, (x,), path, dynamo=True, verbose=False, dynamic_shapes=(batch,))
    for other in (x, x[:2]):
        torch.testing.assert_close(run_by_onnxruntime(path, other), model(other)[0].detach())


# --- precision ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_the_cpu(model, x, dtype):
    expected = model(x)[0]
    output, _ = model.to(dtype)(x.to(dtype))
    assert output.dtype == dtype
    near = 0.005 if dtype == torch.float16 else 0.04
    torch.testing.assert_close(output.float(), expected, rtol=near, atol=near)
    output.float().square().sum().backward()
    read = (p.grad for p in model.parameters() if p.grad is not None)
    assert all(torch.isfinite(gradient).all() for gradient in read)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["rk4", "rosenbrock", "dopri5"])
def test_half_precision_of_solvers(name, dtype, x):
    for kind in (elegans.LTC, elegans.CTRNN):
        model = kind(3, WIRING, solver=name)
        expected = model(x)[0]
        output, _ = model.to(dtype)(x)
        output.float().sum().backward()
        torch.testing.assert_close(output.float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_kernel_names_half_precision(x, dtype):
    model = elegans.LTC(3, 4, dtype=dtype)
    with (
        elegans.backend("fused"),
        pytest.raises(InputError, match=f"a tensor is {dtype}; it supports .* float32 and float64"),
    ):
        model(x)


@outdated
def test_dynamic_quantisation(model, x):
    smaller = torch.ao.quantization.quantize_dynamic(model.eval(), {nn.Linear})
    linear = any(isinstance(module, nn.Linear) for module in model.modules())
    changed = not torch.equal(smaller(x)[0], model(x)[0])
    assert changed == linear  # the maps of memory and readout; synapses stay as they are
    torch.testing.assert_close(smaller(x)[0], model(x)[0], rtol=0.05, atol=0.05)


# --- parameters and training -------------------------------------------------------------


def own_parameter(layer):
    """Return a module of the layer with a vector of its own, and its name."""
    for module in layer.cell.modules():
        for name, parameter in module.named_parameters(recurse=False):
            return module, name, parameter
    raise AssertionError


@outdated
@pytest.mark.parametrize("how", [prune.random_unstructured, nn.utils.weight_norm])
def test_masks_and_norms_of_any_parameter_train(model, x, how):
    module, name, _ = own_parameter(circuit(model))
    options = {"amount": 1} if how is prune.random_unstructured else {"dim": None}
    how(module, name, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        model(x)[0].square().sum().backward()
        optimizer.step()
    before = model(x)[0].detach()
    with torch.no_grad():
        source = getattr(module, f"{name}_orig" if "amount" in options else f"{name}_g")
        source += 0.5
    assert not torch.equal(model(x)[0], before)  # nothing goes on with stale values


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_norms_as_parametrizations(model, x, norm):
    module, name, _ = own_parameter(circuit(model))
    before = model(x)[0].detach()
    norm(module, name)
    after = model(x)[0]
    if norm is parametrizations.weight_norm:
        torch.testing.assert_close(after, before)
    after.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@outdated
def test_hooks_see_modules(model, x):
    seen = set()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: seen.add((name, "forward")))
        module.register_full_backward_hook(lambda *_, name=name: seen.add((name, "backward")))
    model(x.requires_grad_())[0].sum().backward()
    cell = "layer.cell" if "layer" in dict(model.named_children()) else "cell"
    assert {("", "forward"), ("", "backward"), (f"{cell}.output_mapping", "forward")} <= seen
    assert (cell, "forward") not in seen  # a layer runs its cell over whole sequences


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpoints(model, x, reentrant):
    x.requires_grad_()
    model(x)[0].square().sum().backward()
    expected = [x.grad, *(p.grad for p in model.parameters())]
    model.zero_grad()
    x.grad = None
    again = torch.utils.checkpoint.checkpoint(model, x, use_reentrant=reentrant)
    again[0].square().sum().backward()
    torch.testing.assert_close([x.grad, *(p.grad for p in model.parameters())], expected)


def test_lbfgs_lowers_the_loss(model, x):
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=8, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (model(x)[0] - 0.3).square().mean()
        loss.backward()
        return loss

    before = float(closure().detach())
    optimizer.step(closure)
    assert float(closure().detach()) < 0.95 * before


@outdated
def test_jacobians(model, x):
    model, x = model.double(), x[0].double()
    expected = torch.autograd.functional.jacobian(lambda x: model(x)[0], x)
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(jacobian(lambda x: model(x)[0])(x), expected)


def test_stacked_members_by_vmap(model, x):
    members = [copy.deepcopy(model) for _ in range(2)]
    with torch.no_grad():
        for parameter in members[1].parameters():
            parameter.mul_(1.1)
    stack = torch.func.stack_module_state(members)
    output = torch.func.vmap(lambda *stack: torch.func.functional_call(model, stack, (x,))[0])(
        *stack
    )
    torch.testing.assert_close(output, torch.stack([member(x)[0] for member in members]))


# --- processes ---------------------------------------------------------------------------

STEPS = 2


def train(model, x):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(x)[0].square().mean().backward()
        optimizer.step()


def rank(number, folder):
    """Train each layer by DDP and by FSDP on half of a batch, and leave what came of it."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=2
    )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    warnings.simplefilter("ignore")  # FSDP's own, of outputs that are views
    mesh = init_device_mesh("cpu", (2,))
    x = torch.load(folder / "x.pt").chunk(2)[number]
    for name in LAYERS:
        made = torch.load(folder / f"{name}.pt", weights_only=False)
        replica = nn.parallel.DistributedDataParallel(copy.deepcopy(made))
        train(replica, x)
        sharded = copy.deepcopy(made)
        fully_shard(sharded, mesh=mesh)
        train(sharded, x)
        full = [parameter.full_tensor().detach() for parameter in sharded.parameters()]
        with pytest.raises(PruningError, match=r"DTensors.*; prune before fully_shard, or train"):
            elegans.Pruner(sharded)
        if name not in ("CfC", "dense memory"):
            with pytest.raises(InputError, match=r"DTensors.*; look at the circuit before"):
                _ = circuit(sharded).wiring
        inner = copy.deepcopy(made)
        fully_shard(circuit(inner).cell, mesh=mesh)
        with pytest.raises(InputError, match="call fully_shard on the layer or what holds it"):
            inner(x)
        if number == 0:
            torch.save(([p.detach() for p in replica.parameters()], full), folder / f"{name}.out")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_as_one(x, tmp_path):
    torch.save(x, tmp_path / "x.pt")
    models = {name: make() for name, make in LAYERS.items()}
    for name, model in models.items():
        torch.save(model, tmp_path / f"{name}.pt")
    ranks = [processes().Process(target=rank, args=(number, tmp_path)) for number in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=120)
        process.kill()
    assert [process.exitcode for process in ranks] == [0, 0]
    for name, model in models.items():
        train(model, x)
        for parameters in torch.load(tmp_path / f"{name}.out"):
            torch.testing.assert_close(parameters, [p.detach() for p in model.parameters()])


def answer(model, x, results):
    with torch.no_grad():
        output = model(x)[0]
        for parameter in model.parameters():
            parameter.zero_()
    results.put(output.tolist())


@pytest.mark.slow
def test_parameters_in_shared_memory(model, x):
    model.share_memory()
    expected = model(x)[0].detach()
    results = processes().Queue()
    process = processes().Process(target=answer, args=(model, x, results))
    process.start()
    output = torch.tensor(results.get(timeout=60))
    process.join(timeout=60)
    assert process.exitcode == 0
    torch.testing.assert_close(output, expected)
    assert not any(parameter.any() for parameter in model.parameters())  # the other one wrote
