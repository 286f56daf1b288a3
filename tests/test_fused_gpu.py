"""The GPU kernels equal plain PyTorch in float64; without a GPU, Triton's interpreter runs them."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from degenerate import SETS, circuit, covering_array, name_of, pairs_left_out

import elegans
from elegans.ltc.dynamics import LiquidDynamics
from elegans.solvers import get_solver
from elegans.solvers.fused.order import by_end
from elegans.synapses.electrical import JunctionValues
from elegans.synapses.liquid import SynapseValues
from elegans.wiring import AutoNCP, GapJunctions, Synapses, Wiring

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytest.importorskip("triton", reason="needs triton")  # conftest.py has turned its interpreter on
gpu = pytest.importorskip("elegans.solvers.fused.gpu.host")
gpu_tiles = pytest.importorskip("elegans.solvers.fused.gpu.tiles")

NAMES = ("x", "initial", "elapsed", "value", "sensory_value", "junction", "neuron")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
SOLVERS = ("semi_implicit", "exponential")
INPUTS = 3
ODD = Wiring(  # self-synapse, parallel synapses, rows without any
    INPUTS,
    {"motor": 2, "inter": 4},
    Synapses([2, 2, 3, 4, 4, 0, 5], [0, 0, 1, 3, 4, 1, 5], [1, -1, 1, -1, 1, 1, -1]),
    Synapses([0, 1, 2, 2], [2, 3, 4, 4], [1, -1, 1, -1]),
    electrical=GapJunctions([0, 1, 5], [4, 0, 4], [False, True, True]),
)
JUNCTIONS = ("none", "one", "rectifying", "many of one neuron")
FACTORS = {
    "batch": (1, 2, 16, 17, 33),
    "recurrent": SETS,
    "sensory": SETS,
    "junctions": JUNCTIONS,
    "neurons": (1, 2, 17),
    "inputs": (1, INPUTS),
    "time": (1, 2),
    "elapsed": ("some 0", "all 0"),
    "unfolds": (1, 2),
    "solver": ("semi_implicit", "exponential"),
    "dtype": (torch.float32, torch.float64),
    "programs": ("one block", "several blocks", "several tiles"),
}
CASES = covering_array(**FACTORS)


class Case:
    """A circuit with random values, in float64, and sequences to run it on."""

    def __init__(self, wiring, batch, time=2, unfolds=2):
        generator = torch.Generator().manual_seed(0)
        self.unfolds = unfolds

        def draw(*shape, low=0.0, high=1.0):
            uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
            return (low + (high - low) * uniform).float().double()  # the same in both types

        def order(synapses):
            order = np.argsort(synapses.target, kind="stable")
            start = np.searchsorted(synapses.target[order], np.arange(neurons + 1))
            ends = synapses.source[order], start
            return tuple(torch.from_numpy(end.astype(np.int32)) for end in ends)

        def values(synapses):
            count = len(synapses)
            rows = (
                draw(count, high=0.5),
                draw(count, low=2, high=6),
                draw(count),
                draw(count, low=-1),
            )
            return torch.stack(rows)

        neurons = wiring.units
        junctions = wiring.electrical
        self.junctions = tuple(
            torch.from_numpy(column.copy())
            for column in (junctions.source, junctions.target, junctions.rectifying)
        )
        self.ends = *order(wiring.recurrent), *order(wiring.sensory)
        self.tensors = (
            draw(batch, time, wiring.input_size, low=-1),
            draw(batch, neurons, low=-1),
            draw(batch, time) * (draw(batch, time) > 0.3),
            values(wiring.recurrent),
            values(wiring.sensory),
            draw(len(junctions), high=0.5),
            torch.stack([draw(neurons, low=0.4), draw(neurons, low=0.01), draw(neurons, low=-1)]),
        )

    def run(self, solver, dtype):
        """Return states and gradients that the kernels compute."""
        tensors = [t.to(DEVICE, dtype) for t in self.tensors]
        x, initial, elapsed, value, sensory_value, weight, neuron = tensors
        ends = [t.to(DEVICE) for t in self.ends]
        junctions = by_end(*(t.to(DEVICE) for t in self.junctions), neurons=initial.shape[1])
        rows = weight[junctions.order], junctions.way.to(weight)
        rows = torch.stack([*rows, *torch.zeros_like(rows[0]).expand(2, -1)])
        arguments = x, initial, elapsed, *ends[:2], value, *ends[2:], sensory_value
        arguments = *arguments, junctions.source, junctions.start, rows, neuron
        given = gpu.SequenceArguments(*arguments, self.unfolds, solver == "exponential")
        states = gpu.forward(given)
        gradients = list(gpu.backward(given, self.weights().to(DEVICE, dtype), states))
        gradients[5] = torch.zeros_like(weight).index_add(0, junctions.order, gradients[5][0])
        return {"states": states, **dict(zip(NAMES, gradients, strict=True))}

    def expected(self, solver):
        """Return the same from plain PyTorch."""
        leaves = [t.clone().requires_grad_() for t in self.tensors]
        x, h, elapsed, value, sensory_value, weight, neuron = leaves
        source, start, sensory_source, sensory_start = self.ends
        recurrent = SynapseValues(source.long(), targets(start), *value)
        sensory = SynapseValues(sensory_source.long(), targets(sensory_start), *sensory_value)
        capacitance, *leak = neuron
        states = []
        for t in range(x.shape[1]):
            sensed = sensory.add_to(*(row.expand_as(h) for row in leak), x[:, t])
            junctions = JunctionValues(*self.junctions, weight)
            dynamics = LiquidDynamics(capacitance, *sensed, recurrent, junctions)
            h = get_solver(solver).advance(dynamics, h, elapsed[:, t : t + 1], self.unfolds)
            states.append(h)
        states = torch.stack(states, dim=1)
        total = (states * self.weights()).sum()
        gradients = torch.autograd.grad(total, leaves, materialize_grads=True, allow_unused=True)
        return {"states": states.detach(), **dict(zip(NAMES, gradients, strict=True))}

    def weights(self):
        shape = *self.tensors[2].shape, self.tensors[1].shape[1]
        return torch.linspace(-1, 1, math.prod(shape), dtype=torch.float64).sin().view(shape)


def joined(wiring, kind):
    """Return the wiring with one of JUNCTIONS, as far as there are neurons for it."""
    others = np.arange(1, wiring.units if kind == "many of one neuron" else min(2, wiring.units))
    if kind == "none" or not len(others):
        return wiring
    rectifying = others % 3 == (1 if kind == "rectifying" else 2)
    junctions = GapJunctions(np.zeros(len(others), int), others, rectifying)
    return wiring.with_synapses(wiring.recurrent, wiring.sensory, junctions)


def targets(start):
    return torch.arange(len(start) - 1).repeat_interleave(start.long().diff())


def assert_equal(found, expected, dtype):
    for name, right in expected.items():
        assert found[name].shape == right.shape, name
        if right.numel():
            scale = max(1.0, right.abs().max().item())
            gap = (found[name].cpu().double() - right).abs().max().item()
            assert gap <= TOLERANCE[dtype] * scale, (name, gap, scale)


def test_every_two_traits_meet():
    assert not pairs_left_out(CASES, FACTORS)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_equal_in_every_case(case, monkeypatch):
    if case["programs"] != "one block":
        monkeypatch.setattr(gpu, "_processors", lambda device: 2)
    if case["programs"] == "several tiles":
        monkeypatch.setattr(gpu, "shape", lambda *a: gpu.Shape(block=16, lanes=16, warps=1))
        monkeypatch.setattr(gpu, "MOST_GRADIENT_BYTES", 1)
        monkeypatch.setattr(gpu, "MOST_SCRATCH_BYTES", 1)
    wiring = circuit(*(case[n] for n in ("recurrent", "sensory", "neurons", "inputs")))
    wiring = joined(wiring, case["junctions"])
    values = Case(wiring, case["batch"], case["time"], case["unfolds"])
    if case["elapsed"] == "all 0":
        values.tensors[2].zero_()
    solver, dtype = case["solver"], case["dtype"]
    assert_equal(values.run(solver, dtype), values.expected(solver), dtype)


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_no_time_leaves_the_state_bit_by_bit(solver):
    case = Case(ODD, batch=2)
    case.tensors[1][0, 0] = -0.0
    case.tensors[2].zero_()
    states = case.run(solver, torch.float32)["states"]
    initial = case.tensors[1].float().to(DEVICE)
    for t in range(states.shape[1]):
        assert torch.equal(states[:, t].view(torch.int32), initial.view(torch.int32))


def test_a_state_that_is_not_a_number_reaches_only_its_targets():
    case = Case(ODD, batch=2, time=1)
    case.tensors[1][1, 3] = math.nan  # drives nothing but neuron 1
    case.tensors[2].fill_(0.5)
    found, expected = case.run("semi_implicit", torch.float32), case.expected("semi_implicit")
    assert torch.equal(found["states"].cpu().isnan(), expected["states"].isnan())
    assert found["states"].isnan().any()
    assert not found["states"][0].isnan().any()


@pytest.mark.parametrize(("batch", "time"), [(0, 2), (2, 0)])
def test_nothing_to_run(batch, time):
    case = Case(ODD, batch, time)
    for name, found in case.run("semi_implicit", torch.float32).items():
        assert not found.any(), name


# --- layout ------------------------------------------------------------------------------


@pytest.mark.parametrize("recurrent", SETS)
@pytest.mark.parametrize("neurons", [1, 17])
def test_every_synapse_is_dealt_out_once(recurrent, neurons):
    _, start, *_ = ends = Case(circuit(recurrent, "none", neurons, INPUTS), 1).ends
    source, target = ends[0].numpy(), targets(start).numpy()
    rows, width = len(start) - 1, 16
    dealt = gpu_tiles.deal(source, target, rows, rows, width)
    tiles, position = dealt.tiles, dealt.position
    assert len(np.unique(position)) == len(source)
    assert (dealt.slot[position] == np.arange(len(source))).all()
    assert (tiles.other.numpy()[position] == target).all()
    empty = np.delete(np.arange(tiles.positions), position)
    assert (tiles.other.numpy()[empty] == rows).all()
    assert (dealt.slot[empty] == len(source)).all()
    tile = np.searchsorted(tiles.begin.numpy(), position // width, side="right") - 1
    lane = tile * width + position % width
    assert (tiles.own.numpy()[lane] == source).all()
    for row in range(rows):
        parts = tiles.part.numpy()[:, row]
        assert sorted(parts[parts < tiles.lanes]) == sorted(np.unique(lane[source == row]))


def test_rows_of_any_length_fill_their_tiles():
    degree = np.random.default_rng(0).integers(0, 200, size=500)
    row = np.repeat(np.arange(500), degree)
    tiles = gpu_tiles.deal(row, row, 500, 500, 64).tiles
    assert tiles.positions < 1.1 * len(row)


def test_a_layout_is_remembered_until_an_edit():
    def layout():
        return gpu_tiles.Layout.of(*ends, inputs=INPUTS, width=16)

    case = Case(ODD, 1)
    entries = by_end(*case.junctions, neurons=ODD.units)
    ends = [end.clone() for end in (*case.ends, entries.source, entries.start)]
    first = layout()
    assert layout() is first
    ends[0].add_(0)
    second = layout()
    assert second is not first
    ends[1] = ends[1].clone()
    assert layout() is not second
    with torch.inference_mode():
        ends[0] = ends[0].clone()
        layout()


@pytest.mark.parametrize("batch", [1, 100, 256, 4096, 100_000])
@pytest.mark.parametrize("synapses", [0, 700, 50_000])
def test_launches_fill_the_processors(batch, synapses):
    block, lanes, warps = gpu.shape(batch, synapses, processors=132)
    assert lanes * block == 32 * warps * min(block, 4)
    programs = math.ceil(batch / block)
    if synapses < gpu.CACHED_SYNAPSES:
        assert programs >= min(batch, 128)
    if batch >= 4096:
        assert block == gpu.MOST_SAMPLES


# --- compiling ---------------------------------------------------------------------------

COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from elegans.solvers.fused.gpu.kernels import forward_kernel
from elegans.solvers.fused.gpu.kernels_backward import backward_kernel
from elegans.solvers.fused.gpu.tiles import Tiles

WHOLE = ("batch", "time", "inputs", "neurons", "unfolds", "words", "gradient_words")
SETS = ("recurrent", "sensory", "junctions")
TILES = (*SETS, *(f"{name}_by_source" for name in SETS))

for exponential, block, ones in (
    (False, 4, ()),
    (True, 1, ("inputs", "neurons", "unfolds")),  # a launch compiles 1 as a constant
):
    settings = {"EXPONENTIAL": exponential, "LANES": 128, "BLOCK": block, **dict.fromkeys(ones, 1)}
    count = "constexpr" if ones else "i32"

    def kind(name):
        if name in TILES:
            return Tiles(*["*i32"] * 4, "i32", "i32", count, count)
        return "constexpr" if name in settings else "i32" if name in WHOLE else "*fp32"

    for kernel in (forward_kernel, backward_kernel):
        names = kernel.arg_names
        constants = {(names.index(name),): value for name, value in settings.items()}
        if ones:
            fields = [Tiles._fields.index(field) for field in ("tiles", "parts")]
            at = [names.index(name) for name in TILES if name in names]
            constants |= {(place, field): 1 for place in at for field in fields}
        source = ASTSource(kernel, {name: kind(name) for name in names}, constants)
        options = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": True}
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        assert compiled.asm["cubin"] and "bar.sync" in compiled.asm["ptx"]
"""


@pytest.mark.slow
def test_kernels_compile_for_hopper(tmp_path):
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    run = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [2, 0])
@pytest.mark.parametrize("solver", ["semi_implicit", "exponential"])
def test_the_operator_finds_the_same_gradients_as_on_the_cpu(solver, outputs):
    from elegans.ltc.dynamics import effective
    from elegans.solvers.fused.cpu.problem import CpuProblem
    from elegans.solvers.fused.gpu.problem import GpuProblem
    from elegans.solvers.fused.settings import Settings

    torch.manual_seed(0)
    wiring = AutoNCP(9, 2).build(INPUTS)
    wiring = wiring.edit(add_electrical=[(0, 8, False), (3, 1, True), (8, 2, False)])
    model = elegans.LTC(INPUTS, wiring, dtype=torch.float64)
    order = torch.randperm(model.synapse_count)  # slots out of the order of their targets
    for name in ("source", "target", "polarity", "weight", "sigma", "mu", "erev"):
        column = getattr(model.cell.recurrent, name).data
        column.copy_(column[order].clone())
    circuit = effective(model.cell.circuit(torch.zeros(1, 1, INPUTS))[1])
    tensors = [torch.randn(3, 4, INPUTS), torch.randn(3, 9), torch.rand(3, 4)]
    tensors = [t.double() for t in tensors] + list(circuit.parameters)
    settings = Settings(outputs, 3, solver == "exponential", 0, 1e-6, 1e-8)
    given = [torch.randn(3, 4, n, dtype=torch.float64) for n in (outputs, 9)]
    found = []
    for kind in (CpuProblem, GpuProblem):
        where = DEVICE if kind is GpuProblem else "cpu"
        moved = [None if t is None else t.detach().to(where) for t in tensors]
        ends = [None if t is None else t.to(where) for t in circuit.connections]
        problem = kind(moved, ends, settings)
        output, states, kept = problem.run(True)
        gradients = problem.back(*(g.to(where) for g in given), states, kept, True)
        found.append([output, states, *gradients[:3], *gradients[7:]])
    for expected, result in zip(*found, strict=True):
        torch.testing.assert_close(result.cpu(), expected, rtol=1e-9, atol=1e-11)
    with pytest.raises(ValueError, match="to be applied before"):
        GpuProblem(tensors, circuit.connections, Settings(2, 3, False, 1, 1e-6, 1e-8))
