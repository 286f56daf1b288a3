"""Circuits as C99: one header and one source file, without allocation."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import Literal

import elegans
from elegans.arguments import checked
from elegans.checks import check_choice
from elegans.errors import InputError
from elegans.export.c_equations import add_read, equation, functions
from elegans.export.c_fixed import fixed
from elegans.export.c_numbers import FORMATS
from elegans.export.c_tables import Piece, Table, brackets, number, part
from elegans.export.files import ExportedFiles
from elegans.export.portable import Model, Portable, portable
from elegans.export.statement import CONTROL, checked_name, statement
from elegans.proofs import Certificate

Sigmoid = Literal["expf", "poly", "table"]

SIGMOIDS: dict[str, float] = {"expf": 1e-5, "poly": 1e-5, "table": 2e-3}
"""Error of outputs, as a share of their unit, that the test in the file allows."""

CODE_BYTES = {"expf": 8_192, "poly": 6_144, "table": 6_144, "q15": 3_072, "q31": 4_096}
"""Room for the code and what it needs of libraries, on a Cortex-M0, which has no floating point."""

STACK_BYTES = 256
"""Room for what a step has on the stack, besides its inputs."""

_SMALLEST_STEP = 1e-30  # of a passed time step, in the circuit's unit: shorter ones count as 0


@checked(InputError)
def c(
    model: Model,
    *,
    name: str = "circuit",
    sigmoid: Sigmoid = "expf",
    numbers: Literal["float", "q15", "q31"] = "float",
    elapsed: float | Literal["argument"] | None = None,
    certificate: Certificate | None = None,
    clamp: bool = False,
    flash: int | None = None,
    ram: int | None = None,
) -> ExportedFiles:
    """Return a circuit as C99 in single precision: one header and one source file.

    The state is a struct, nothing is allocated, tables are constants, and scales of the data and
    output units are part of the step. With ``-DNAME_TEST`` the source has a test on recorded
    steps, with ``-DNAME_MAIN`` a program that turns rows of inputs into rows of outputs. For AVR
    tables are placed in flash.

    Parameters
    ----------
    model
        A layer, with a `elegans.Readout` or without, or a `elegans.Policy`, which has the units of
        its data. `elegans.LTC`, `elegans.CTRNN` or `elegans.CfC`, with any solver of fixed steps.
    name
        Of the files, and what public names begin with.
    sigmoid
        ``"expf"`` of ``math.h``; ``"poly"``, an exponential function of the file's own, as exact;
        or ``"table"``, between 385 entries, the fastest without a floating-point unit.
    numbers
        ``"float"``, single precision, or whole numbers of 16 bits (``"q15"``) or 32 (``"q31"``),
        for `elegans.LTC` and `elegans.CTRNN` with semi-implicit steps and `elegans.CfC` on a
        wiring, except in mode ``"pure"``; steps have a fixed length. Inputs and outputs are then
        whole numbers, too, whose units the header states; inputs reach 8 times their usual size,
        or to the ends of the range that they are clamped to.
    elapsed
        Length of a step in the unit of the data, or ``"argument"`` where each call is given one;
        by default what counts as 1 for the layer.
    certificate
        A proof about this circuit, which the header states.
    clamp
        Whether inputs are brought into the range that the certificate holds for.
    flash, ram
        Bytes there are; by default as many as are needed.

    Raises
    ------
    InputError
        The circuit cannot be written, does not fit, or an argument is not valid; see `portable`.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> exported = c(elegans.LTC(2, AutoNCP(units=12, output_size=1, seed=1)), sigmoid="poly")
    >>> sorted(exported.files)
    ['circuit.c', 'circuit.h']
    >>> "void circuit_step(circuit_state *state, const float *input" in exported.text("circuit.h")
    True
    """
    checked_name(name)
    check_choice("sigmoid", sigmoid, SIGMOIDS)
    check_choice("numbers", numbers, ("float", *FORMATS))
    circuit = portable(model, elapsed=elapsed, certificate=certificate, clamp=clamp, matrices=True)
    form = FORMATS.get(numbers)
    if form is not None:
        piece, main, about = fixed(circuit, form)
    else:
        piece, main, about = equation(circuit, sigmoid), _main(circuit, sigmoid), []
        called = functions(piece, circuit.step.choices.get("activation"), sigmoid)
        around = _step(circuit)
        piece.tables += [*called.tables, *around.tables]
        piece.text = called.text + piece.text + around.text
    sizes = Sizes(sum(table.bytes for table in piece.tables), piece.state_bytes)
    sizes.check(sigmoid if form is None else numbers, len(circuit.input_names), flash, ram)
    # A table's error is no rounding, and whole numbers are rounded in other ways.
    precision = "float32" if form is None and sigmoid != "table" else None
    header = _header(circuit, piece, sizes, about, precision)
    texts = {f"{name}.h": header, f"{name}.c": _source(piece) + main}
    summary = (
        f"{circuit.state_size} neurons in C99: {sizes.tables:,} bytes of tables in flash and "
        f"{sizes.state:,} bytes of state, beside the code."
    )
    return ExportedFiles({file: _named(text, name) for file, text in texts.items()}, summary)


@dataclass(frozen=True)
class Sizes:
    """Bytes of constant tables and of the state."""

    tables: int
    state: int

    def check(self, way: str, inputs: int, flash: int | None, ram: int | None) -> None:
        """Raise `InputError` where that, with code and stack, is more than there is."""
        code, stack = CODE_BYTES[way], STACK_BYTES + 4 * inputs
        for kind, given, own, more, what in (
            ("flash", flash, self.tables, code, "code with its library"),
            ("ram", ram, self.state, stack, "the stack of a step"),
        ):
            if given is not None and own + more > given:
                raise InputError(
                    f"got {given:,} bytes of {kind}, expected at least {own + more:,}: {own:,} of "
                    f"{'tables' if kind == 'flash' else 'state'} and {more:,} for {what}; take "
                    "fewer neurons or synapses, prune more, or choose a larger chip"
                )


def _source(piece: Piece) -> str:
    """Return the source file without its test."""
    code = piece.text
    for table in piece.tables:
        code = code.replace(f"READ_INDEX({table.name}[", f"{table.read}({table.name}[")
    defined = "".join(f"#define {name} {value}\n" for name, value in piece.constants.items())
    texts = "\n".join(table.text() for table in piece.tables)
    return f'#include "circuit_.h"\n{part("flash")}\n{defined}\n{texts}{code}'


def _header(
    circuit: Portable, piece: Piece, sizes: Sizes, more: list[str], precision: str | None
) -> str:
    fields = "".join(
        f"    {piece.types.get(name, 'float')} {name}{brackets(size)};\n"
        for name, size in piece.fields.items()
    )
    number_type = piece.types.get("x", "float")
    about = [*_about(circuit, sizes, precision), *map(_harmless, more)]
    return part(
        "header.h",
        {
            "ABOUT": "".join(f" * {line}".rstrip() + "\n" for line in about),
            "INCLUDE": "\n#include <stdint.h>\n" if piece.types else "",
            "NUMBER": number_type,
            "FIELDS": fields,
            "ELAPSED": _argument(circuit, " float elapsed,"),
            "INPUTS": len(circuit.input_names),
            "OUTPUTS": len(circuit.output_names),
            "NEURONS": circuit.state_size,
        },
    )


def _argument(circuit: Portable, text: str) -> str:
    """Return `text` where the time of a step is an argument, and nothing elsewhere."""
    return text if circuit.elapsed is None else ""


def _about(circuit: Portable, sizes: Sizes, precision: str | None) -> list[str]:
    """Return lines that say what the circuit is, and what is certain about it."""
    rows = statement(circuit, precision, quotient=True) | {
        "memory": f"{sizes.tables} bytes of tables, {sizes.state} bytes of state"
    }
    texts = [_harmless(f"{subject}: {words}") for subject, words in rows.items()]
    return [line for text in texts for line in textwrap.wrap(text, 92, subsequent_indent="  ")]


def _step(circuit: Portable) -> Piece:
    """Return the step from inputs to outputs, in the units of the data."""
    piece = Piece()
    piece.add("input_origin", circuit.origin, "u = (input - origin) * factor + shift")
    piece.add("input_factor", circuit.factor)
    piece.add("input_shift", circuit.shift)
    piece.add("output_weight", circuit.weight, "outputs are weights times x, plus biases")
    piece.add("output_bias", circuit.bias)
    column = add_read(piece, circuit)
    columns = {"COLUMNS": circuit.weight.shape[-1], "COLUMN": column}
    for name, ends in (("input", circuit.clamp), ("output", circuit.limits)):
        if ends is not None:
            piece.add(f"{name}_least", ends[0], f"{name}s are brought between these")
            piece.add(f"{name}_greatest", ends[1])
    dense = circuit.weight.ndim == 2
    piece.text = part(
        "step",
        {
            "ELAPSED": _argument(circuit, " float elapsed,"),
            "ENDS": "" if circuit.clamp is None else part("clamp"),
            "WORK": _work(circuit),
            "SUM": "0.0f" if dense else f"READ(output_weight[k]) * state->x[{column}]",
            "MORE": part("matrix", columns) if dense else "",
            "LIMITS": "" if circuit.limits is None else part("limits"),
        },
    )
    return piece


def _work(circuit: Portable) -> str:
    """Return the calls that take the step."""
    flow, step = circuit.integration, circuit.time_step
    if flow is None:
        passed = f"elapsed * {number(1 / circuit.unit)}"
        calls = [f"advance(state, u, {passed if step is None else number(step)});"]
    elif step is None:
        unfolds = number(flow.unfolds * circuit.unit)
        calls = ["sense(state, u);", f"advance(state, {unfolds} / elapsed);"]
    else:
        calls = ["sense(state, u);", "advance(state);"]
    if step is not None:
        return "".join(f"    {call}\n" for call in calls)
    least = number(_SMALLEST_STEP * circuit.unit)
    inner = "".join(f"        {call}\n" for call in calls)
    return f"    if (elapsed >= {least}) {{\n{inner}    }}\n"


def _main(circuit: Portable, sigmoid: str) -> str:
    """Return the test and the program."""
    check = circuit.check
    tables = [Table.of("check_input", check.inputs, "recorded steps")]
    tables += [Table.of("check_output", check.outputs)]
    scan = '        if (scanf("%f", &elapsed) != 1) {\n            return 0;\n        }\n'
    return part(
        "main",
        {
            "STEPS": len(check.inputs),
            "TOLERANCE": number(SIGMOIDS[sigmoid] * check.scale),
            "TABLES": "\n".join(table.text() for table in tables) + "\n",
            "CHECK_ELAPSED": _argument(circuit, f" {number(circuit.unit)},"),
            "MAIN_ELAPSED": _argument(circuit, ", elapsed"),
            "STEP_ELAPSED": _argument(circuit, " elapsed,"),
            "SCAN_ELAPSED": _argument(circuit, scan),
            "ROWS": _argument(circuit, " and the time of the step"),
        },
    )


def _named(text: str, name: str) -> bytes:
    """Return a file whose names begin with `name`."""
    text = text.replace("circuit_.h", f"{name}.h")
    text = re.sub(r"\bCIRCUIT_", f"{name.upper()}_", re.sub(r"\bcircuit_", f"{name}_", text))
    about = f"Written by elegans {elegans.__version__} from a trained network."
    return f"/* {about} */\n{text}".encode()


def _harmless(line: str) -> str:
    """Return a line of a comment that does not end it, whatever names stand in it."""
    return CONTROL.sub(" ", line).replace("*/", "* /")
