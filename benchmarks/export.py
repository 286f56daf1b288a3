"""Exported circuits on chips and beside other steps: bytes, instructions, cycles, errors, time.

Run ``python benchmarks/export.py``; prints tables and writes ``export.json``. Chips need Debian's
gcc-arm-none-eabi, qemu-system-arm, gcc-avr, avr-libc and simavr; what is missing is left out. The
circuit is that of `elegans demo` before training: 20 neurons, 2 inputs, 1 output, 4 unfolds.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import ncps.torch
import ncps.wirings
import numpy as np
import onnxruntime
import torch
from measure import interleaved, save, table

import elegans
from elegans.export import c, js, numpy, onnx
from elegans.wiring import AutoNCP

CHIPS = Path(__file__).parent / "chips"
WAYS: dict[str, dict[str, Any]] = {
    "expf": {},
    "poly": {"sigmoid": "poly"},
    "table": {"sigmoid": "table"},
    "q15": {"numbers": "q15"},
    "q31": {"numbers": "q31"},
}
ARM = "arm-none-eabi-gcc"
CORES = {  # flags, machine, and instructions of its processor in a tick of the timer
    "Cortex-M0": (["-mcpu=cortex-m0", "-mthumb"], "microbit", 62.5),
    "Cortex-M4F": (
        ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"],
        "mps2-an386",
        40.0,
    ),
}
CLOCK = 16e6
"""Cycles a second of an ATmega328P as it is sold on boards."""


def circuit() -> elegans.LTC:
    generator = torch.Generator().manual_seed(0)
    return elegans.LTC(2, AutoNCP(20, 1, seed=0), ode_unfolds=4, generator=generator)


def has(*programs: str) -> bool:
    return all(shutil.which(program) for program in programs)


def ran(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def text_bytes(size_program: str, built: Path) -> int:
    """Return the bytes of code and constants."""
    return int(ran(size_program, built).splitlines()[1].split()[0])


def figures(folder: Path, form: str) -> dict[str, Any]:
    """Return what a way of writing the circuit costs."""
    exported = c(circuit(), **WAYS[form])
    exported.save(folder, overwrite=True)
    source, built = folder / "circuit.c", folder / "built"
    kind = {"q15": "int16_t", "q31": "int32_t"}.get(form, "float")
    unit = {"q15": "4096.0", "q31": "268435456.0"}.get(form, "1.0")
    given = [f"-DNUMBER={kind}", f"-DUNIT={unit}", f"-I{folder}"]
    sizes = re.search(r"(\d+) bytes of tables, (\d+) bytes of state", exported.text("circuit.h"))
    assert sizes is not None
    found: dict[str, Any] = {"way": form, "tables": int(sizes[1]), "state": int(sizes[2])}
    for core, (flags, machine, per_tick) in CORES.items():
        if not has(ARM, "qemu-system-arm"):
            break
        ran(ARM, *flags, "-Os", "-c", source, "-o", built)
        found[f"{core} bytes"] = text_bytes("arm-none-eabi-size", built)
        script = ["-nostartfiles", "-T", str(CHIPS / "cortex.ld"), str(CHIPS / "cortex.c")]
        ran(ARM, *flags, "-O2", *given, *script, source, "-lm", "-o", built)
        emulate = ["-icount", "shift=0", "-nographic", "-kernel", str(built)]
        emulate += ["-semihosting-config", "enable=on,target=native"]
        shown = subprocess.run(
            ["qemu-system-arm", "-M", machine, *emulate],
            capture_output=True,
            text=True,
            timeout=60,
        )
        ticks = [int(line) for line in re.findall(r"^\d+$", shown.stdout + shown.stderr, re.M)]
        found[f"{core} instructions"] = round(max(ticks[:8]) * per_tick)
    if has("avr-gcc", "simavr"):
        avr = ["avr-gcc", "-mmcu=atmega328p", "-O2"]
        ran(*avr, "-c", source, "-o", built)
        found["ATmega bytes"] = text_bytes("avr-size", built)
        ran(*avr, *given, CHIPS / "avr.c", source, "-lm", "-o", built)
        command = ["simavr", "-m", "atmega328p", "-f", str(int(CLOCK)), str(built)]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
        cycles = [int(n) for n in re.findall(r"(\d{3,})\.", shown.stdout + shown.stderr)]
        found["ATmega cycles"] = max(cycles)
        found["ms at 16 MHz"] = 1e3 * max(cycles) / CLOCK
    ran("gcc", "-O2", *given, CHIPS / "host.c", source, "-lm", "-o", built)
    found["ns on this machine"] = min(float(ran(built)) for _ in range(5))
    found["error"] = error_of(folder, source, form, exported.text("circuit.h"))
    return found


def error_of(folder: Path, source: Path, form: str, header: str) -> float:
    """Return the largest error of the output over 100,000 random steps, against float64."""
    library = folder / f"{form}.so"
    ran("gcc", "-O2", "-shared", "-fPIC", source, "-lm", "-o", library)
    loaded, model = ctypes.CDLL(str(library)), circuit()
    x = np.random.default_rng(0).standard_normal((100_000, model.input_size)).astype(np.float32)
    with torch.no_grad():
        exact = model.double()(torch.from_numpy(x)[None].double())[0][0].numpy()
    middle, unit, kind = np.zeros(3), np.ones(3), np.float32
    if form in ("q15", "q31"):
        kind = np.int16 if form == "q15" else np.int32
        lines = re.findall(r" = (\S+) ([+-]) (\S+) n$", header, re.M)
        middle = np.array([float(line[0]) for line in lines])
        unit = np.array([float(line[1] + line[2]) for line in lines])
        x = np.round((x - middle[:2]) / unit[:2])
    rows = np.ascontiguousarray(x.astype(kind))
    outputs, state = np.zeros((len(rows), 1), kind), (ctypes.c_char * 4096)()
    loaded.circuit_reset(state)
    for t in range(len(rows)):
        read = ctypes.c_void_p(rows.ctypes.data + t * rows.strides[0])
        loaded.circuit_step(
            state, read, ctypes.c_void_p(outputs.ctypes.data + t * outputs.itemsize)
        )
    return float(np.abs(middle[2] + unit[2] * outputs - exact).max())


def steps(folder: Path) -> dict[str, float]:
    """Return the microseconds of a step, from an observation to an action."""
    observation = np.array([0.1, -0.2], np.float32)
    policy = elegans.Policy(circuit())
    theirs = ncps.torch.LTC(2, ncps.wirings.AutoNCP(20, 1), ode_unfolds=4)
    lstm = torch.nn.LSTMCell(2, 20)
    x = torch.from_numpy(observation)

    of_theirs: Any = None  # the states go on
    of_memory: Any = None

    def of_ncps() -> None:
        nonlocal of_theirs
        with torch.no_grad():
            _, of_theirs = theirs(x[None, None], of_theirs)

    def of_lstm() -> None:
        nonlocal of_memory
        with torch.no_grad():
            of_memory = lstm(x[None], of_memory)

    (path,) = numpy(circuit()).save(folder)
    space: dict[str, Any] = {"__name__": "circuit"}
    exec(compile(path.read_text(), path, "exec"), space)
    on_numpy = space["Circuit"](np.float32)
    session = onnxruntime.InferenceSession(onnx(circuit()).files["circuit.onnx"])
    state = np.zeros((1, 20), np.float32)

    def of_onnx() -> None:
        nonlocal state
        _, state = session.run(None, {"input": observation[None], "state": state})

    candidates = {
        "elegans.Policy": lambda: policy(observation),
        "elegans.export.numpy": lambda: on_numpy(observation),
        "elegans.export.onnx, onnxruntime": of_onnx,
        "torch.nn.LSTMCell": of_lstm,
        "ncps": of_ncps,
    }
    found = {name: 1e6 * value for name, value in interleaved(candidates, 15).items()}
    if has("node"):
        (path,) = js(circuit()).save(folder)
        found["elegans.export.js, Node.js"] = float(ran("node", CHIPS / "node.js", path))
    return found


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [figures(Path(folder), form) for form in WAYS]
        beside = [{"step": name, "us": value} for name, value in steps(Path(folder)).items()]
    print(table(rows))
    print(table(beside))
    save(Path(__file__).parent / "results" / "export.json", chips=rows, steps=beside)


if __name__ == "__main__":
    main()
