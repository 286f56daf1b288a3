"""Circuits in JavaScript: one file for Node and for browsers."""

from __future__ import annotations

import json
import keyword
import math
import re
import sys
import textwrap
from dataclasses import fields
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from elegans.arguments import checked, shown
from elegans.errors import InputError
from elegans.export.files import ExportedFiles
from elegans.export.portable import Check, Integration, Model, Portable, portable
from elegans.export.statement import statement
from elegans.proofs.certificates.certificate import Certificate
from elegans.synapses.plain import PlainStep, PlainSynapses

TOLERANCE = 1e-5
"""Largest error of the self-test, in units of the outputs' scale."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_RESERVED = {"function", "var", "let", "const", "new", "this", "typeof", "delete", "void", "enum"}

_FILE = """\
// Written by elegans $version from a trained circuit. In Node and in browsers:
//
//   const $name = require("./$name.js");      // or <script src="$name.js"></script>
//   const running = $name.create();
//   const output = running.step([$inputs]$elapsed);
//
$about
//
// `node $name.js` compares it with the circuit that it was made from.
(function (root, make) {
  const made = make();
  if (typeof module === "object" && module.exports) {
    module.exports = made;
    if (typeof require === "function" && require.main === module) made.main();
  } else root.$name = made;
})(typeof globalThis === "undefined" ? this : globalThis, function () {
"use strict";

$runtime
const TABLES = $tables;
const CHECK = $check;

/** Return a circuit at rest. */
const create = () => new Circuit(TABLES);

/** Return the largest error against the recorded steps, in units of the outputs' scale. */
function selfTest() {
  const circuit = create();
  let worst = 0;
  CHECK.inputs.forEach((input, t) => {
    circuit.step(input, $checked).forEach((value, o) => {
      const error = Math.abs(value - CHECK.outputs[t][o]) / CHECK.scale;
      worst = error <= worst ? worst : error;
    });
  });
  return worst;
}

function main() {
  const worst = selfTest(), passed = worst <= $tolerance;
  console.log(`$name: ${CHECK.inputs.length} steps, largest error ${worst.toExponential(1)}: ` +
    (passed ? "as recorded" : "NOT as recorded"));
  process.exitCode = passed ? 0 : 1;
}

return { Circuit, create, tables: TABLES, check: CHECK, selfTest, main };
});
"""


@checked(InputError)
def js(
    model: Model,
    *,
    name: str = "circuit",
    elapsed: float | Literal["argument"] | None = None,
    certificate: Certificate | None = None,
    clamp: bool = False,
) -> ExportedFiles:
    """Return a circuit as one JavaScript file, without dependencies, for Node and for browsers.

    The file defines ``create()``, which returns a circuit at rest, whose ``step(input, elapsed)``
    returns the outputs; ``silenceNeuron``, ``silenceInput`` and ``silenceSynapse`` make lesions,
    ``heal()`` ends them. It computes in double precision. ``node NAME.js`` compares it with steps
    of the circuit that were recorded here.

    Parameters
    ----------
    model
        A layer, with a `Readout` or without, or a policy, whose file has the units of its data.
    name
        Of the file, and of what it defines in a browser.
    elapsed
        Length of a step in the unit of the data, or ``"argument"`` where each call is given one; by
        default what counts as 1 for the layer.
    certificate
        A proof about this circuit, which the file states.
    clamp
        Whether inputs are brought into the range that the certificate holds for.

    Raises
    ------
    InputError
        The circuit cannot be exported, see `elegans.export.portable`, or the name is no identifier.

    Examples
    --------
    >>> import elegans
    >>> exported = js(elegans.LTC(2, 5), name="reflex")
    >>> list(exported.files), "const running = reflex.create();" in exported.text("reflex.js")
    (['reflex.js'], True)
    """
    _check_name(name)
    circuit = portable(model, elapsed=elapsed, certificate=certificate, clamp=clamp)
    text = _written(circuit, name)
    summary = (
        f"A circuit of {circuit.state_size} neurons in JavaScript, {len(text) / 1e3:.0f} kB; "
        f"`node {name}.js` compares it with {len(circuit.check.inputs)} recorded steps."
    )
    return ExportedFiles({f"{name}.js": text.encode()}, summary)


def _check_name(name: str) -> None:
    if not _NAME.match(name) or name in _RESERVED or keyword.iskeyword(name):
        raise InputError(
            f"got name {shown(name)}, expected an identifier of JavaScript, such as 'circuit': "
            "letters, digits and _, no digit first, and no word of the language"
        )


def _written(circuit: Portable, name: str) -> str:
    import elegans

    rows = [f"{subject}: {words}" for subject, words in statement(circuit, "float64").items()]
    argument = circuit.elapsed is None
    parts = {
        "about": "\n".join(
            line
            for row in rows
            for line in textwrap.wrap(
                row, 96, initial_indent="// ", subsequent_indent="//   ", break_long_words=False
            )
        ),
        "version": elegans.__version__,
        "name": name,
        "inputs": ", ".join(json.dumps(each) for each in circuit.input_names).replace("`", "'"),
        "elapsed": ", elapsed" if argument else "",
        "runtime": runtime(),
        "tables": in_script(rounded(as_plain(circuit), 17)),
        "check": in_script(_check_numbers(circuit.check)),
        "checked": repr(circuit.unit) if argument else "undefined",
        "tolerance": repr(TOLERANCE),
    }
    return re.sub(r"\$([a-z]+)", lambda found: parts[found[1]], _FILE)


def _plain_values(value: Any) -> Any:
    """Return what JSON can hold of plain numbers."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, PlainStep | PlainSynapses | Integration):
        return {f.name: _plain_values(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {name: _plain_values(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain_values(each) for each in value]
    return value


def as_plain(circuit: Portable) -> dict[str, Any]:
    """Return what a page or a Python file needs of a circuit, ready for JSON."""
    names = (
        "step",
        "integration",
        "state_size",
        "input_names",
        "output_names",
        "origin",
        "factor",
        "shift",
        "weight",
        "bias",
        *([] if circuit.read is None else ["read"]),
        "limits",
        "elapsed",
        "unit",
        "clamp",
    )
    return {name: _plain_values(getattr(circuit, name)) for name in names}


@cache
def runtime() -> str:
    """Return the source of the class that runs circuits."""
    source = files("elegans.export").joinpath("js", "circuit.js")
    return source.read_text(encoding="utf-8")


def _check_numbers(check: Check) -> dict[str, Any]:
    return {
        "inputs": check.inputs.tolist(),
        "outputs": check.outputs.tolist(),
        "scale": check.scale,
    }


def rounded(value: Any, digits: int) -> Any:
    """Return plain values with numbers of so many digits; 17 are all."""
    if isinstance(value, float):
        if math.isinf(value):  # a limit that is none; JSON has no infinity
            return math.copysign(sys.float_info.max, value)
        short = float(f"{value:.{digits}g}")
        return int(short) if short.is_integer() and abs(short) < 1e9 else short
    if isinstance(value, dict):
        return {name: rounded(each, digits) for name, each in value.items()}
    if isinstance(value, list):
        return [rounded(each, digits) for each in value]
    return value


def in_script(value: Any) -> str:
    """Return JSON that ends no script element that it stands in, and no line of one."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
