"""Circuits in C: compiled, and compared with the layer in double precision."""

import ctypes
import re
import shutil
import subprocess
import tempfile
from copy import deepcopy
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

import elegans
from elegans.data import Scale, Scales
from elegans.errors import InputError, RunError
from elegans.export import c
from elegans.export.c99 import SIGMOIDS
from elegans.proofs.verify import at_least
from elegans.wiring import AutoNCP, FullyConnected, Synapses, Wiring

INPUTS = 3
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Werror"]
FLAGS = ["-std=c99", "-O2", *WARNINGS]
TRAPS = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
SANITIZERS = {
    "gcc": ["-fsanitize=undefined,address", "-fno-sanitize-recover=all"],
    "clang": ["-fsanitize=undefined", "-fsanitize-trap=undefined"],  # needs no library
}
NAMES = count()


def ncp():
    return AutoNCP(12, 2, seed=1)


def pruned():
    model = elegans.LTC(INPUTS, ncp())
    slots = model.cell.recurrent
    slots.set_mask(torch.arange(len(slots)) % 3 > 0)
    return model


def stiff(model):
    """Let the time constants of its neurons differ by two orders."""
    with torch.no_grad():
        model.cell.cm.copy_(torch.linspace(-5, 3, 9))
    return model


LONELY = Wiring(1, {"motor": 2}, Synapses([], [], []), Synapses([], [], []))
PARALLEL = Wiring(
    1, {"motor": 2}, Synapses([0, 0, 1], [1, 1, 1], [1, -1, 1]), Synapses([0], [0], [1])
)
MODELS = {
    **{
        f"LTC, {solver}": lambda solver=solver: elegans.LTC(INPUTS, ncp(), solver=solver)
        for solver in (
            "semi_implicit",
            "exponential",
            "exponential_midpoint",
            "euler",
            "rk4",
            "rosenbrock",
        )
    },
    **{
        f"CTRNN, {solver}": lambda solver=solver: elegans.CTRNN(INPUTS, ncp(), solver=solver)
        for solver in (
            "semi_implicit",
            "exponential",
            "exponential_midpoint",
            "midpoint",
            "rosenbrock",
        )
    },
    **{
        f"CfC, {mode}": lambda mode=mode: elegans.CfC(INPUTS, ncp(), mode=mode)
        for mode in ("default", "pure", "no_gate")
    },
    **{
        f"dense CfC, {mode}": lambda mode=mode: elegans.CfC(INPUTS, 7, mode=mode, proj_size=3)
        for mode in ("default", "pure", "no_gate")
    },
    **{
        f"dense CfC, {activation}": lambda activation=activation: elegans.CfC(
            INPUTS, 5, activation=activation, backbone_layers=2, backbone_units=9
        )
        for activation in ("silu", "relu", "tanh", "gelu")
    },
    "CfC, connections of ncps": lambda: elegans.CfC(INPUTS, ncp(), ncps_connections=True),
    "dense CfC without a backbone": lambda: elegans.CfC(INPUTS, 4, backbone_layers=0),
    "CTRNN, tanh": lambda: elegans.CTRNN(INPUTS, ncp(), activation="tanh"),
    "CTRNN, tanh, rosenbrock": lambda: elegans.CTRNN(
        INPUTS, ncp(), activation="tanh", solver="rosenbrock"
    ),
    "stiff": lambda: stiff(elegans.LTC(INPUTS, FullyConnected(9), solver="rosenbrock")),
    "readout": lambda: elegans.Readout(elegans.LTC(INPUTS, ncp(), input_mapping=None), 4),
    "clipped parameters": lambda: elegans.LTC(
        INPUTS, ncp(), implicit_param_constraints=False, output_mapping="linear"
    ),
    "pruned": pruned,
    "one neuron": lambda: elegans.LTC(1, FullyConnected(1)),
    "without synapses": lambda: elegans.LTC(1, LONELY),
    "parallel synapses": lambda: elegans.LTC(1, PARALLEL),
    "300 inputs": lambda: elegans.LTC(300, AutoNCP(12, 2, seed=1)),
    "300 neurons": lambda: elegans.CTRNN(INPUTS, AutoNCP(300, 2, seed=1)),
}


def need(program):
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")


@cache
def sanitizers(compiler):
    """Return flags that find undefined behaviour, as far as programs with them run here."""
    for flags in SANITIZERS[compiler], TRAPS if compiler == "gcc" else []:
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "program"
            command = [compiler, *flags, "-x", "c", "-", "-o", str(program)]
            built = subprocess.run(command, input=b"int main(void) { return 0; }", check=False)
            if built.returncode == 0 and subprocess.run([program], check=False).returncode == 0:
                return flags
    return []


class Compiled:
    """The functions of an export, called one step at a time."""

    def __init__(self, exported, folder, model, *flags):
        need("gcc")
        source = next(path for path in exported.save(folder) if path.suffix == ".c")
        library = folder / f"{next(NAMES)}.so"  # a name of its own: libraries are cached by it
        command = ["gcc", *FLAGS, *flags, "-shared", "-fPIC", str(source), "-o", str(library)]
        subprocess.run([*command, "-lm"], check=True)
        self.library = ctypes.CDLL(str(library))
        self.name, self.outputs = source.stem, model.output_size
        size = re.search(r"(\d+) bytes of state", exported.text(f"{self.name}.h"))
        self.state = (ctypes.c_char * int(size[1]))()

    def __call__(self, inputs, elapsed=None, kind=np.float32):
        """Return the outputs (time, output) for inputs (time, input), from rest."""
        rows = np.ascontiguousarray(inputs, kind)
        found = np.zeros((len(rows), self.outputs), kind)
        step = getattr(self.library, f"{self.name}_step")
        getattr(self.library, f"{self.name}_reset")(self.state)
        read, written, wide = rows.ctypes.data, found.ctypes.data, rows.strides[0]
        for t in range(len(rows)):
            passed = [] if elapsed is None else [ctypes.c_float(elapsed[t])]
            output = ctypes.c_void_p(written + t * found.strides[0])
            step(self.state, ctypes.c_void_p(read + t * wide), *passed, output)
        return found


def expected(model, inputs, elapsed=None):
    """Return what the layer answers in double precision."""
    spans = None if elapsed is None else torch.from_numpy(elapsed)[None].double()
    with torch.no_grad():
        rows = torch.from_numpy(inputs)[None].double()
        return deepcopy(model).double()(rows, timespans=spans)[0][0].numpy()


def drawn(model, steps=200):
    """Return inputs and elapsed times, some of them 0."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((steps, model.input_size)).astype(np.float32)
    elapsed = rng.exponential(1.0, steps).astype(np.float32)
    elapsed[::9] = 0.0
    return inputs, elapsed


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("sigmoid", "passed"),
    [
        ("poly", True),
        pytest.param("expf", False, marks=pytest.mark.slow),
        pytest.param("table", False, marks=pytest.mark.slow),
        pytest.param("table", True, marks=pytest.mark.slow),
    ],
)
def test_equal_to_the_layer(name, sigmoid, passed, tmp_path):
    model = MODELS[name]()
    inputs, elapsed = drawn(model)
    times = elapsed if passed else None
    exported = c(model, sigmoid=sigmoid, elapsed="argument" if passed else None)
    found = Compiled(exported, tmp_path, model)(inputs, times)
    assert np.abs(found - expected(model, inputs, times)).max() < SIGMOIDS[sigmoid]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LTC, semi_implicit", "CTRNN, semi_implicit", "CfC, default"])
def test_a_hundred_thousand_steps(name, tmp_path):
    model = MODELS[name]()
    inputs, _ = drawn(model, 100_000)
    exact = expected(model, inputs)
    for sigmoid in ("expf", "poly"):
        found = Compiled(c(model, sigmoid=sigmoid), tmp_path / sigmoid, model)(inputs)
        assert np.abs(found - exact).max() < 1e-5


@pytest.mark.parametrize("name", ["LTC, exponential", "LTC, rk4", "CTRNN, semi_implicit"])
def test_a_fixed_step_is_one_of_that_length(name, tmp_path):
    model = MODELS[name]()
    inputs, _ = drawn(model)
    exact = expected(model, inputs, np.full(len(inputs), 0.25, np.float32))
    found = Compiled(c(model, elapsed=0.25), tmp_path, model)(inputs)
    assert np.abs(found - exact).max() < 1e-5


@pytest.mark.parametrize("name", ["LTC, exponential", "CTRNN, semi_implicit", "CfC, pure"])
def test_a_time_that_is_none_leaves_the_state(name, tmp_path):
    model = MODELS[name]()
    step = Compiled(c(model, elapsed="argument"), tmp_path, model)
    inputs = np.ones((4, INPUTS), np.float32)
    for time in (0.0, -1.0, np.nan, 1e-38):
        found = step(inputs, [1.0, time, time, 1.0])
        assert (found[1] == found[0]).all()
        assert (found[2] == found[0]).all()
        assert (found[3] != found[0]).any()
        assert np.isfinite(found).all()


def of_data(**options):
    scales = Scales(
        Scale([1e3, -2.0, 5.0], [50.0, 0.1, 2.0], names=("level", "flow\n#error", "*/ heat")),
        Scale([7.0, -7.0], [30.0, 3.0], names=("valve", "pump")),
        elapsed=0.02,
    )
    return elegans.Policy(elegans.LTC(INPUTS, ncp()), scales, **options)


def test_units_and_limits_are_those_of_the_data(tmp_path):
    policy = of_data(limits=([0.0, -8.0], [10.0, -6.5]))
    inputs, _ = drawn(policy.model)
    inputs = policy.scales.inputs.invert(inputs).astype(np.float32)
    exact = np.stack([policy(row, 0.05) for row in inputs])
    assert (exact == 10.0).any()
    for times in (None, np.full(len(inputs), 0.05, np.float32)):
        exported = c(policy, elapsed=0.05 if times is None else "argument")
        found = Compiled(exported, tmp_path / str(times is None), policy.model)(inputs, times)
        assert (np.abs(found - exact) < 1e-5 * policy.scales.targets.unit).all()
    header = exported.text("circuit.h")
    assert "level, flow #error, * / heat" in header
    assert "what counts as 1 for the circuit is 0.02" in header


def test_limits_may_be_infinite(tmp_path):
    policy = of_data(limits=([-np.inf, -7.0], [7.0, np.inf]))
    inputs, _ = drawn(policy.model)
    exact = np.stack([policy(row) for row in policy.scales.inputs.invert(inputs)])
    rows = policy.scales.inputs.invert(inputs).astype(np.float32)
    found = Compiled(c(policy), tmp_path, policy.model)(rows)
    assert (np.abs(found - exact) < 1e-5 * policy.scales.targets.unit).all()
    assert (found[:, 0] == 7.0).any()


def certified():
    model = elegans.LTC(2, AutoNCP(12, 2, sparsity_level=0.8, seed=1))
    scales = Scales(Scale([10.0, 0.0], [2.0, 1.0]), Scale([0.0, 0.0], [1.0, 1.0]))
    return elegans.Policy(model, scales), elegans.proofs.certify(model, inputs=(-1, 1))


def test_what_is_certified_is_stated_and_inputs_are_clamped(tmp_path):
    policy, certificate = certified()
    for clamp in (False, True):
        exported = c(policy, certificate=certificate, clamp=clamp)
        header = exported.text("circuit.h")
        assert certificate.fingerprint in header
        assert f"rate {at_least(certificate.rate)}" in header
        assert "sensory_0 in [8, 12]" in header
        assert ("inputs are brought to it" in " ".join(header.replace(" * ", "").split())) == clamp
        step = Compiled(exported, tmp_path / str(clamp), policy.model)
        beyond, edge = step([[1e30, -1e30], [np.nan, 0.5]]), step([[12.0, -1.0], [8.0, 0.5]])
        assert np.array_equal(beyond, edge) == clamp


@pytest.mark.slow
@pytest.mark.parametrize("compiler", SANITIZERS)
def test_the_test_in_the_file_passes_without_undefined_behaviour(compiler, tmp_path):
    need(compiler)
    policy, certificate = certified()
    for sigmoid in SIGMOIDS:
        exported = c(policy, sigmoid=sigmoid, name="pole", certificate=certificate, clamp=True)
        source, program = tmp_path / "pole.c", tmp_path / "pole"
        exported.save(tmp_path, overwrite=True)
        command = [
            compiler,
            *FLAGS,
            *sanitizers(compiler),
            "-DPOLE_MAIN",
            str(source),
            "-o",
            str(program),
        ]
        subprocess.run([*command, "-lm"], check=True)
        shown = subprocess.run([program, "--test"], check=True, capture_output=True, text=True)
        assert shown.stdout.startswith("0 of 64 outputs are wrong")
        rows = "11 0.5\n9,0\n1e39 -nan\n"
        shown = subprocess.run([program], input=rows, capture_output=True, text=True)
        assert shown.returncode == 0
        found = np.array([line.split() for line in shown.stdout.splitlines()], float)
        policy.reset()
        exact = [policy(row) for row in ([11.0, 0.5], [9.0, 0.0])]
        assert np.abs(found[:2] - exact).max() < SIGMOIDS[sigmoid]


def test_a_wrong_table_fails_the_test_in_the_file(tmp_path):
    need("gcc")
    text = c(elegans.LTC(2, ncp())).text("circuit.c")
    wrong = re.sub(r"(leak_drive\[12\] FLASH = \{\s+)[-.\df]+", r"\g<1>0.5f", text)
    assert wrong != text
    c(elegans.LTC(2, ncp())).save(tmp_path)
    (tmp_path / "circuit.c").write_text(wrong)
    command = ["gcc", "-DCIRCUIT_MAIN", str(tmp_path / "circuit.c"), "-o", str(tmp_path / "run")]
    subprocess.run([*command, "-lm"], check=True)
    assert subprocess.run([tmp_path / "run", "test"], capture_output=True).returncode == 1


@pytest.mark.parametrize("sigmoid", ["poly", "table"])
@pytest.mark.parametrize(
    "name", ["LTC, exponential", "CTRNN, tanh", "CfC, pure", "dense CfC, gelu"]
)
def test_no_library_is_needed(name, sigmoid, tmp_path):
    need("gcc")
    exported = c(MODELS[name](), sigmoid=sigmoid)
    exported.save(tmp_path)
    assert "math.h" not in exported.text("circuit.c")
    source, made = str(tmp_path / "circuit.c"), str(tmp_path / "circuit.o")
    subprocess.run(["gcc", *FLAGS, "-ffreestanding", "-c", source, "-o", made], check=True)
    undefined = subprocess.run(["nm", "-u", made], check=True, capture_output=True, text=True)
    assert undefined.stdout.split() in ([], ["U", "_GLOBAL_OFFSET_TABLE_"])


def test_it_may_be_included_from_c_plus_plus(tmp_path):
    need("g++")
    c(elegans.LTC(2, ncp())).save(tmp_path)
    (tmp_path / "main.cpp").write_text(
        '#include "circuit.h"\nint main() { circuit_state s; circuit_reset(&s); return 0; }\n'
    )
    command = ["g++", "-Wall", "-Werror", str(tmp_path / "main.cpp"), "-c", "-o", "/dev/null"]
    subprocess.run(command, check=True)


def test_the_state_is_as_large_as_the_header_says(tmp_path):
    need("gcc")
    for name in ("LTC, rk4", "CTRNN, exponential_midpoint", "CfC, default", "dense CfC, gelu"):
        exported = c(MODELS[name]())
        exported.save(tmp_path, overwrite=True)
        size = re.search(r"(\d+) bytes of state", exported.text("circuit.h"))[1]
        (tmp_path / "size.c").write_text(
            f'#include "circuit.h"\nchar same[sizeof(circuit_state) == {size} ? 1 : -1];\n'
        )
        subprocess.run(["gcc", "-c", str(tmp_path / "size.c"), "-o", "/dev/null"], check=True)


# --- whole numbers -----------------------------------------------------------------------

WHOLE = {
    **{name: MODELS[name] for name in MODELS if "semi_implicit" in name},
    **{
        name: MODELS[name]
        for name in (
            "CTRNN, tanh",
            "CfC, default",
            "CfC, no_gate",
            "CfC, connections of ncps",
            "readout",
            "clipped parameters",
            "pruned",
            "one neuron",
            "without synapses",
            "parallel synapses",
            "300 neurons",
        )
    },
    "slow neurons": lambda: slow(elegans.LTC(INPUTS, ncp())),
    "no leak": lambda: slow(elegans.LTC(INPUTS, ncp(), implicit_param_constraints=False), gleak=0),
    "steep gates": lambda: slow(elegans.LTC(INPUTS, ncp()), sigma=400.0),
}
ERRORS = {"q15": 5e-3, "q31": 1e-5}


def slow(model, *, cm=None, gleak=None, sigma=None):
    """Set what is given, by default capacitances of 20."""
    given = {"cm": cm, "gleak": gleak} if gleak is not None or sigma is not None else {"cm": 20.0}
    with torch.no_grad():
        for name, value in given.items():
            if value is not None:
                getattr(model.cell, name).fill_(value)
        if sigma is not None:
            model.cell.recurrent.sigma.fill_(sigma)
    return model


def units(header, names):
    """Return middle and unit of each number, as the header states them."""
    lines = [re.search(rf"  {name} = (\S+) ([+-]) (\S+) n", header) for name in names]
    signed = [float(found[3]) * (-1 if found[2] == "-" else 1) for found in lines]
    return np.array([float(found[1]) for found in lines]), np.array(signed)


@pytest.mark.parametrize("numbers", ["q15", pytest.param("q31", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_are_near_the_layer(name, numbers, tmp_path):
    model = WHOLE[name]()
    exported = c(model, numbers=numbers)
    kind, header = {"q15": np.int16, "q31": np.int32}[numbers], exported.text("circuit.h")
    middle, unit = units(header, model.wiring.sensory_names)
    inputs, _ = drawn(model)
    whole = np.round((inputs - middle) / unit).astype(kind)
    step = Compiled(exported, tmp_path, model, *TRAPS)
    outputs = step(whole, kind=kind)
    middle, unit = units(header, [f"output_{k}" for k in range(model.output_size)])
    error = np.abs(middle + unit * outputs - expected(model, inputs))
    assert (error < np.maximum(ERRORS[numbers], 16 * np.abs(unit))).all()


@pytest.mark.parametrize("numbers", ERRORS)
def test_whole_numbers_at_the_ends_of_their_range(numbers, tmp_path):
    """Inputs at their ends, extreme potentials: nothing overflows."""
    kind = {"q15": np.int16, "q31": np.int32}[numbers]
    rng = np.random.default_rng(1)
    for seed in range(7):
        model = elegans.LTC(INPUTS, FullyConnected(9), ode_unfolds=1 + 5 * seed)
        if seed > 4:
            mode = "default" if seed == 5 else "no_gate"
            model = elegans.CfC(INPUTS, FullyConnected(9), mode=mode)
        with torch.no_grad():
            for values in model.cell.parameters():
                values.copy_(torch.from_numpy(rng.normal(0, 4, values.shape)))
            if seed <= 4:
                model.cell.cm.uniform_(0, 4)
        exported = c(model, numbers=numbers)
        step = Compiled(exported, tmp_path / f"{seed}", model, *TRAPS)
        most = np.iinfo(kind).max
        whole = rng.choice(np.array([-most - 1, -most, 0, most], kind), (500, INPUTS))
        middle, unit = units(exported.text("circuit.h"), model.wiring.sensory_names)
        exact = expected(model, (middle + unit * whole).astype(np.float32))
        found = step(whole, kind=kind)
        middle, unit = units(exported.text("circuit.h"), [f"output_{k}" for k in range(9)])
        size = np.abs(unit) * most  # of the largest potential
        steps = 500 if seed <= 4 else 1  # maps of such weights amplify every difference
        error = np.abs(middle + unit * found - exact)[:steps]
        assert (error < 4 * ERRORS[numbers] * size).all()


def test_whole_numbers_in_the_units_of_data_within_limits(tmp_path):
    need("gcc")
    policy = of_data(limits=([0.0, -8.0], [10.0, -6.5]))
    for numbers in ERRORS:
        exported = c(policy, numbers=numbers, name="plant")
        exported.save(tmp_path, overwrite=True)
        source, program = str(tmp_path / "plant.c"), str(tmp_path / "plant")
        checks = [*FLAGS, *sanitizers("gcc"), "-DPLANT_MAIN"]
        subprocess.run(["gcc", *checks, source, "-o", program], check=True)
        subprocess.run([program, "--test"], check=True)
        policy.reset()
        rows = np.array([[1010.0, -2.1, 6.0], [950.0, -1.9, 1.0], [1e9, -1e9, 5.0]])
        text = "\n".join(" ".join(map(str, row)) for row in rows)
        shown = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
        found = np.array([line.split() for line in shown.stdout.splitlines()], float)
        exact = np.stack([policy(row) for row in rows[:2]])
        assert (np.abs(found[:2] - exact) < ERRORS[numbers] * np.array([30.0, 3.0])).all()
        assert (found >= [-1e-3, -8.001]).all()
        assert (found <= [10.001, -6.499]).all()


def test_whole_numbers_need_no_library_and_fit_an_avr(tmp_path):
    need("avr-gcc")
    for options in ({"numbers": "q15"}, {"numbers": "q31"}, {"sigmoid": "table"}):
        exported = c(elegans.LTC(INPUTS, ncp()), **options)
        exported.save(tmp_path, overwrite=True)
        command = ["avr-gcc", "-mmcu=atmega328p", "-Os", *WARNINGS, str(tmp_path / "circuit.c")]
        subprocess.run([*command, "-c", "-o", str(tmp_path / "circuit.o")], check=True)


def test_where_whole_numbers_do_not_do():
    tiny = slow(elegans.LTC(2, ncp(), implicit_param_constraints=False), cm=1e-6, gleak=0)
    for model, options, message in (
        (elegans.CfC(2, 5), {}, "got a closed form behind a backbone, expected semi-implicit"),
        (elegans.CfC(2, ncp(), mode="pure"), {}, "got a closed form of mode 'pure', expected"),
        (elegans.LTC(2, ncp(), solver="rk4"), {}, "got solver 'runge_kutta', expected semi"),
        (elegans.LTC(2, ncp()), {"elapsed": "argument"}, "got a time that is passed in"),
        (tiny, {}, r"got neuron \d+, whose capacitance and leak are .* choose more bits"),
    ):
        with pytest.raises(InputError, match=message):
            c(model, numbers="q15", **options)


# --- wrong input -------------------------------------------------------------------------


def test_what_cannot_be_written_is_refused():
    plain = elegans.LTC(2, ncp())
    broken, hooked = deepcopy(plain), deepcopy(plain)
    with torch.no_grad():
        broken.cell.recurrent.sigma[3] = torch.nan
    hooked.cell.register_forward_hook(lambda *_: None)
    double = elegans.LTC(2, ncp(), dtype=torch.float64)
    with torch.no_grad():
        double.cell.vleak[0] = 1e300
    for model, message in (
        (elegans.LTC(2, ncp(), mixed_memory=True), "mixed memory, expected one without"),
        (elegans.LTC(2, ncp(), solver="dopri5"), "got solver 'dopri5', expected one with fixed"),
        (elegans.CTGRU(2, 3), "got CTGRUCell.*an export needs `plain_step`"),
        (broken, r"got nan as recurrent gain at \(\d+,\), expected numbers that float32 holds"),
        (double, "as drive at .*expected numbers that float32 holds"),
        (hooked, "got a hook or a parametrization on cell"),
        (elegans.LTC(2, ncp(), device="meta"), "on the meta device"),
    ):
        with pytest.raises(InputError, match=message):
            c(model)


def test_wrong_arguments_are_refused():
    policy, certificate = certified()
    other = elegans.LTC(2, AutoNCP(12, 2, sparsity_level=0.8, seed=2))
    refused = elegans.proofs.certify(elegans.LTC(2, FullyConnected(4)), inputs=(-99, 99))
    for options, message in (
        ({"name": "1st"}, "got name='1st', expected a word of letters"),
        ({"name": "a b"}, "expected a word of letters"),
        ({"sigmoid": "exp"}, "sigmoid"),
        ({"elapsed": 0.0}, "expected the length of a step"),
        ({"elapsed": "passed"}, "elapsed"),
        ({"clamp": True}, "got clamp=True without a certificate"),
        ({"flash": 2048}, r"got 2,048 bytes of flash, expected at least [\d,]+: [\d,]+ of tables"),
        ({"ram": 128}, r"got 128 bytes of ram, expected at least [\d,]+: 192 of state"),
        ({"certificate": refused}, "certificate"),
    ):
        with pytest.raises(InputError, match=message):
            c(policy, **options)
    with pytest.raises(InputError, match="expected one of this circuit as it is now"):
        c(other, certificate=certificate)


def test_files_are_not_overwritten(tmp_path):
    exported = c(elegans.LTC(2, ncp()))
    (tmp_path / "circuit.c").write_text("mine")
    with pytest.raises(RunError, match=r"circuit\.c: got a file that is there already"):
        exported.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["circuit.c"]
    exported.save(tmp_path, overwrite=True)
    assert (tmp_path / "circuit.c").read_text() == exported.text("circuit.c")
