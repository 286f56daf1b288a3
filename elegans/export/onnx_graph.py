"""Circuits as graphs of ONNX: a single step, or a whole sequence."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.export.files import ExportedFiles
from elegans.export.onnx_step import OnnxGraph, Step, step_of
from elegans.export.portable import Model, Portable, portable
from elegans.export.statement import checked_name, require_equal, statement, tolerance
from elegans.extras import require_extra
from elegans.proofs.certificates.certificate import Certificate

EXTRA = "export"
OPSET = 17
IR_VERSION = 8  # of the first release with this opset


@checked(InputError)
def onnx(
    model: Model,
    *,
    sequence: bool = False,
    name: str = "circuit",
    elapsed: float | Literal["argument"] | None = None,
    certificate: Certificate | None = None,
    clamp: bool = False,
) -> ExportedFiles:
    """Return a circuit as a graph of ONNX, in single precision, from opset 17 on.

    Preprocessing and the units of the outputs are part of it. A step takes ``input``
    (batch, input) and ``state`` (batch, neuron), zeros at rest, and returns ``output``
    (batch, output) and ``new_state``. A sequence takes ``input`` (batch, time, input) and
    ``state``, and returns ``output`` (batch, time, output) and ``new_state``. Where elapsed times
    are an argument they follow, in the unit of the data: ``elapsed`` (batch,), or ``timespans``
    (batch, time). What the circuit is stands in the metadata.

    Parameters
    ----------
    model, elapsed, certificate, clamp
        As in `elegans.export.portable.portable`.
    sequence
        Whether the graph runs whole sequences, by a ``Scan`` over the time.
    name
        Of the file, a word.

    Raises
    ------
    InputError
        The circuit cannot be written, or an argument is not valid.
    MissingExtraError
        The packages of the extra ``export`` are missing.
    RunError
        What was written does not compute what was recorded.

    Examples
    --------
    >>> import elegans
    >>> exported = onnx(elegans.LTC(2, 5))
    >>> graph = __import__("onnx").load_from_string(exported.files["circuit.onnx"]).graph
    >>> [value.name for value in graph.input], [value.name for value in graph.output]
    (['input', 'state'], ['output', 'new_state'])
    """
    checked_name(name)
    library = require_extra("onnx", EXTRA)
    runtime = require_extra("onnxruntime", EXTRA)
    circuit = portable(model, elapsed=elapsed, certificate=certificate, clamp=clamp)
    stated = statement(circuit)
    graph = OnnxGraph(library)
    step = step_of(graph, circuit)
    if sequence:
        step = _scan(library, step, circuit)
    whole = library.helper.make_graph(
        step[0], name, step[1], step[2], graph.used(), doc_string=stated["kind"]
    )
    written = library.helper.make_model(
        whole,
        opset_imports=[library.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="elegans",
    )
    library.helper.set_model_props(written, stated)
    library.checker.check_model(written, full_check=True)
    content = written.SerializeToString(deterministic=True)
    _check(runtime, content, circuit, sequence, tolerance(model))
    what = "whole sequences" if sequence else "single steps"
    summary = f"A {stated['kind']} as a graph of ONNX, for {what} in single precision."
    return ExportedFiles({f"{name}.onnx": content}, summary)


# --- sequences ---------------------------------------------------------------------------------


def _scan(library: Any, step: Step, circuit: Portable) -> Step:
    """Return a graph that takes the step along the axis of the time."""
    nodes, inputs, outputs = step
    helper, real = library.helper, library.TensorProto.FLOAT
    value = helper.make_tensor_value_info
    state, *scanned = inputs[1], inputs[0], *inputs[2:]
    renamed = {"input": "input_now", "elapsed": "elapsed_now", "state": "state_now"}
    renamed |= {"output": "output_now", "new_state": "state_next"}
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for information in (*inputs, *outputs):
        information.name = renamed[information.name]
    body = helper.make_graph(
        nodes, "step", [state, *scanned], [outputs[1], outputs[0]], doc_string="a step"
    )
    around = [
        value("input", real, ["batch", "time", len(circuit.origin)]),
        value("state", real, ["batch", circuit.state_size]),
    ]
    if circuit.elapsed is None:
        around.append(value("timespans", real, ["batch", "time"]))
    sequences = [information.name for information in (around[0], *around[2:])]
    scan = helper.make_node(
        "Scan",
        ["state", *sequences],
        ["new_state", "output"],
        name="over_time",
        body=body,
        num_scan_inputs=len(sequences),
        scan_input_axes=[1] * len(sequences),
        scan_output_axes=[1],
    )
    results = [
        value("output", real, ["batch", "time", len(circuit.bias)]),
        value("new_state", real, ["batch", circuit.state_size]),
    ]
    return [scan], around, results


def _check(runtime: Any, content: bytes, circuit: Portable, sequence: bool, allowed: float) -> None:
    """Compare the graph with what was recorded."""
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = circuit.check.inputs.astype(np.float32)
    state = np.zeros((1, circuit.state_size), np.float32)
    spans = np.full((1, len(given)), circuit.unit, np.float32)
    outputs = []
    if sequence:
        feed = {"input": given[None], "state": state}
        feed |= {"timespans": spans} if circuit.elapsed is None else {}
        outputs.append(session.run(["output"], feed)[0][0])
    else:
        for row in given:
            feed = {"input": row[None], "state": state}
            feed |= {"elapsed": spans[:, 0]} if circuit.elapsed is None else {}
            output, state = session.run(["output", "new_state"], feed)
            outputs.append(output)
    error = np.abs(np.concatenate(outputs) - circuit.check.outputs).max() / circuit.check.scale
    # The graph is in single precision, whatever the layer was in.
    require_equal(float(error), max(allowed, 1e-4), "a graph")
