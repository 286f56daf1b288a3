"""The fused path equals the reference path: values, every gradient, every edge."""

import pytest
import torch
from degenerate import SETS, circuit, covering_array, name_of, pairs_left_out
from equal_paths import assert_equal_paths

import elegans
from elegans.pruning import Relative
from elegans.wiring import AutoNCP

rows = pytest.importorskip("elegans.solvers.fused.cpu.rows")
problem = pytest.importorskip("elegans.solvers.fused.cpu.problem")

INPUTS = 3
FACTORS = {
    "batch": (1, 2, 3, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65),
    "recurrent": SETS,
    "sensory": SETS,
    "neurons": (1, 2, 17, 40),
    "inputs": (1, INPUTS),
    "outputs": ("one", "all"),
    "slots": ("sorted", "mixed"),
    "time": (1, 3),
    "lengths": ("full", "ragged"),
    "elapsed": ("ones", "some 0", "all 0"),
    "hx": ("given", "none"),
    "unfolds": (1, 3),
    "solver": ("semi_implicit", "exponential"),
    "dtype": (torch.float32, torch.float64),
    "mapping": ("affine", "linear", None),
    "polarity": ("fixed", "free"),
    "positivity": ("softplus", "clip"),
    "loss": (("output",), ("states",), ("output", "states", "final")),
    "threads": (1, 2),
    "call": ("eager", "traced"),
    "share": ("blocks", "targets"),
    "keep": ("steps", "nothing"),
    "sums": ("lanes", "synapses"),
    "parts": ("blocks", "one"),
}
CASES = covering_array(**FACTORS)


def test_every_two_traits_meet():
    assert not pairs_left_out(CASES, FACTORS)
    bare = [case for case in CASES if case["recurrent"] == "none" and case["sensory"] != "none"]
    assert {case["batch"] for case in bare} & {9, 17, 31, 32, 33, 64, 65}
    assert pairs_left_out(CASES[1:], FACTORS)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_equal_in_every_case(case, threads, monkeypatch):
    threads(case["threads"])
    for name, factor, value in (
        ("LARGE", "share", "targets"),
        ("MOST_BYTES_TO_KEEP", "keep", "nothing"),
        ("MOST_BYTES_OF_SUMS", "sums", "synapses"),
        ("MOST_BYTES_OF_PARTS", "parts", "one"),
    ):
        if case[factor] == value:
            monkeypatch.setattr(problem, name, 0)
    if case["call"] == "traced":  # the registered operator, as in a graph
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    batch, time, inputs, dtype = (case[name] for name in ("batch", "time", "inputs", "dtype"))
    traits = ("recurrent", "sensory", "neurons", "inputs", "outputs", "slots")
    many = rows.TILE + 18
    wiring = circuit(*(case[name] for name in traits), many)
    model = elegans.LTC(
        inputs,
        wiring,
        solver=case["solver"],
        ode_unfolds=case["unfolds"],
        input_mapping=case["mapping"],
        output_mapping=case["mapping"],
        fixed_polarity=case["polarity"] == "fixed",
        implicit_param_constraints=case["positivity"] == "softplus",
        epsilon=0.1,
        dtype=dtype,
    )
    options = {"of": case["loss"]}
    if case["lengths"] == "ragged":
        options["lengths"] = torch.arange(batch) % (time + 1)
    if case["elapsed"] != "ones":
        open_ = (torch.arange(batch * time) % 3 > 0) & (case["elapsed"] == "some 0")
        options["timespans"] = 2 * torch.rand(batch, time, dtype=dtype) * open_.view(batch, time)
    if case["hx"] == "given":
        options["hx"] = torch.randn(batch, case["neurons"], dtype=dtype)
    assert_equal_paths(model, torch.randn(batch, time, inputs, dtype=dtype), **options)


@pytest.mark.parametrize("solver", ["semi_implicit", "exponential"])
def test_equal_at_tiny_zero_and_huge_elapsed_times(solver):
    model = elegans.LTC(INPUTS, AutoNCP(9, 2), solver=solver, dtype=torch.float64)
    spans = [0.0, 1e-12, 1e-6, 1e-3, 0.1, 1.0, 10.0, 1e4]
    timespans = torch.tensor([spans, spans[::-1]], dtype=torch.float64)
    assert_equal_paths(model, torch.randn(2, 8, INPUTS, dtype=torch.float64), timespans=timespans)


def test_equal_after_rewiring():
    model = elegans.LTC(INPUTS, AutoNCP(19, 4))
    optimizer = torch.optim.Adam(model.parameters())
    rewirer = elegans.PruneRewire(model, optimizer, Relative(1.0), every=1)
    for _ in range(5):
        rewirer.step()
    target = model.cell.recurrent.target
    assert (target[1:] < target[:-1]).any()  # slots are no longer sorted
    assert_equal_paths(model, torch.randn(4, 5, INPUTS))


def test_gradients_of_candidates_are_equal():
    grown = {}
    for path in ("reference", "fused"):
        torch.manual_seed(0)
        model = elegans.LTC(INPUTS, AutoNCP(19, 4), dtype=torch.float64)
        optimizer = torch.optim.Adam(model.parameters())
        rewirer = elegans.PruneRewire(model, optimizer, Relative(1.0), 1, growth="gradient")
        x = torch.randn(8, 5, INPUTS, dtype=torch.float64)
        with elegans.backend(path):
            rewirer.step(lambda model=model, x=x: model(x)[0].square().mean())
        grown[path] = rewirer.ledger
    assert len(grown["fused"]) > 20
    assert grown["fused"] == grown["reference"]


def test_long_values_saturate_without_harm():
    model = elegans.LTC(INPUTS, AutoNCP(9, 2))
    assert_equal_paths(model, 1e4 * torch.randn(3, 4, INPUTS))
