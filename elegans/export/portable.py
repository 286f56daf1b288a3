"""Trained circuits as plain numbers, with what stands before and behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from elegans.control.policy import Policy
from elegans.errors import InputError
from elegans.hooks import is_plain
from elegans.layers.capabilities import PlainNumbers, require
from elegans.layers.readout import Readout, circuit_of
from elegans.layers.sequence_layer import SequenceLayer
from elegans.proofs.certificates.certificate import Certificate
from elegans.solvers import Exponential, ExponentialMidpoint, SemiImplicit, Solver
from elegans.solvers.rosenbrock import RODAS3, Rosenbrock
from elegans.solvers.runge_kutta import RungeKutta
from elegans.synapses.plain import Array, PlainStep, plain
from elegans.wiring import Wiring

Model = SequenceLayer | Readout | Policy
"""What can be exported: a layer, or a policy, which has the units of its data."""

_WRITTEN = {
    SemiImplicit: "semi_implicit",
    Exponential: "exponential",
    ExponentialMidpoint: "exponential_midpoint",
}

CHECK_STEPS = 32


@dataclass(frozen=True, eq=False)
class Integration:
    """How a step of a differential equation is taken.

    Parameters
    ----------
    solver
        ``"semi_implicit"``, ``"exponential"``, ``"exponential_midpoint"``, ``"runge_kutta"`` or
        ``"rosenbrock"``.
    unfolds
        Solver steps for each step of the sequence.
    rows, weights
        Coefficients of a Runge-Kutta or Rosenbrock method: its strictly lower triangle, and the
        last row.
    mixes, diagonal
        The second triangle of a Rosenbrock method, and its gamma; see
        `elegans.solvers.rosenbrock.RosenbrockTableau`.
    """

    solver: str
    unfolds: int
    rows: tuple[tuple[float, ...], ...] = ()
    weights: tuple[float, ...] = ()
    mixes: tuple[tuple[float, ...], ...] = ()
    diagonal: float = 0.0


@dataclass(frozen=True, eq=False)
class Check:
    """Steps that were recorded: what an export has to compute."""

    inputs: Array
    """(time, input), in the units of the inputs."""
    outputs: Array
    """(time, output)."""
    scale: float
    """Size of the outputs, which errors are measured against."""


@dataclass(frozen=True, eq=False)
class Portable:
    r"""A circuit as plain numbers, from the units of its inputs to those of its outputs.

    .. math::
        u = (\text{input} - \text{origin}) \cdot \text{factor} + \text{shift}, \qquad
        \text{output} = W x + b

    Parameters
    ----------
    step
        What happens between u and the state x.
    integration
        How, for a differential equation; None for a closed form.
    state_size, input_names, output_names
        Sizes, and names in the order of the columns.
    origin, factor, shift
        Of the inputs, shape (input,).
    spread
        By how much inputs usually differ from their origin, shape (input,).
    weight, bias
        Of the outputs: weight (output, neuron), which may end with the motor neurons, and bias
        (output,). Where each output reads one neuron, the first the first, weight is (output,).
    read
        The neuron that each column of the weight reads, (column,); None where they are the first.
    limits
        Least and greatest output, (output,) each, or None.
    elapsed
        Length of a step in the unit of the data, None where it is an argument.
    unit
        What counts as 1 for the circuit, in the unit of the data.
    certificate, certified
        What is proved of the circuit, and the least and greatest input, (input,) each, in the units
        of the data, that it holds for; None without a proof.
    clamp
        Least and greatest input, (input,) each, to which inputs are brought, or None.
    wiring
        The circuit as a graph.
    check
        Recorded steps.
    """

    step: PlainStep
    integration: Integration | None
    state_size: int
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    origin: Array
    factor: Array
    shift: Array
    spread: Array
    weight: Array
    bias: Array
    read: NDArray[np.int64] | None
    limits: tuple[Array, Array] | None
    elapsed: float | None
    unit: float
    certificate: Certificate | None
    certified: tuple[Array, Array] | None
    clamp: tuple[Array, Array] | None
    wiring: Wiring
    check: Check

    @property
    def time_step(self) -> float | None:
        """Length of a step for the circuit, None where it is an argument."""
        return None if self.elapsed is None else self.elapsed / self.unit


def portable(
    model: Model,
    *,
    elapsed: float | Literal["argument"] | None = None,
    certificate: Certificate | None = None,
    clamp: bool = False,
    matrices: bool = False,
) -> Portable:
    """Return a circuit as plain numbers.

    Parameters
    ----------
    model
        A layer, with a `Readout` or without, or a policy. A policy has the units of its data.
    elapsed
        Length of a step in the unit of the data, or ``"argument"`` where each call shall be given
        one; by default what counts as 1 for the layer.
    certificate
        A proof about this circuit, to be stated.
    clamp
        Whether inputs are brought into the range that the certificate holds for.
    matrices
        Whether the language solves linear equations, which Rosenbrock's method needs.

    Raises
    ------
    InputError
        The layer has mixed memory, an adaptive solver, a cell without plain numbers, hooks, or
        numbers that are not finite; an argument is not valid; or the certificate is about another
        circuit.
    """
    policy = model if isinstance(model, Policy) else Policy(model)
    whole, layer = policy.model, circuit_of(policy.model)
    _check_modules(whole, layer)
    cell = require(layer.cell, PlainNumbers, "an export")
    step = cell.plain_step()
    integration = _integration(layer.cell, matrices)
    _check_finite(step)
    origin, factor, shift = _inputs(policy, layer)
    weight, bias = _outputs(policy, layer)
    for name, values in (("input", factor), ("input", shift), ("output", weight), ("output", bias)):
        _require_finite(f"{name} mapping", values)
    unit = 1.0 if policy.scales is None else policy.scales.elapsed
    fixed = _fixed_step(elapsed, unit)
    certified = _certified(policy, layer, certificate)
    if clamp and certified is None:
        raise InputError(
            "got clamp=True without a certificate, expected one, whose range of inputs is meant; "
            "pass certificate=elegans.proofs.certify(model, inputs=...)"
        )
    ends = certified if clamp else None
    names = () if policy.scales is None else policy.scales.inputs.names
    targets = policy.classes or (() if policy.scales is None else policy.scales.targets.names)
    return Portable(
        step,
        integration,
        layer.state_size,
        tuple(names) or layer.wiring.sensory_names,
        tuple(targets) or tuple(f"output_{k}" for k in range(whole.output_size)),
        origin,
        factor,
        shift,
        np.ones(len(origin)) if policy.scales is None else policy.scales.inputs.unit,
        weight,
        bias,
        None if _reads_first(policy, layer) else layer.cell.output_neurons,
        policy.limits,
        fixed,
        unit,
        certificate,
        certified,
        ends,
        layer.wiring,
        _recorded(policy, fixed, ends),
    )


def _check_modules(whole: nn.Module, layer: SequenceLayer) -> None:
    if layer.memory is not None:
        raise InputError(
            "got a layer with mixed memory, expected one without: the memory cell is not written "
            "in other languages; train without mixed_memory"
        )
    if any(parameter.is_meta for parameter in whole.parameters()):
        raise InputError(
            "got a layer on the meta device, expected parameters with values; call "
            "to_empty(device=...) and load them"
        )
    for name, module in whole.named_modules():
        if not is_plain(module):
            raise InputError(
                f"got a hook or a parametrization on {name or 'the layer'}, expected none: what it "
                "does would be missing elsewhere; remove it, as by "
                "torch.nn.utils.parametrize.remove_parametrizations"
            )


def _integration(cell: Any, matrices: bool) -> Integration | None:
    """Return how the cell integrates, None if it does not."""
    solver = getattr(cell, "solver", None)
    if not isinstance(solver, Solver):
        return None
    if isinstance(solver, RungeKutta) and type(solver).step is RungeKutta.step:
        tableau = solver.tableau
        rows = tuple(tuple(float(a) for a in row) for row in tableau.matrix)
        weights = tuple(float(b) for b in tableau.weights)
        return Integration("runge_kutta", cell.ode_unfolds, rows, weights)
    if type(solver) is Rosenbrock and matrices:
        rows, mixes = zip(*RODAS3.stages, strict=True)
        return Integration(
            "rosenbrock", cell.ode_unfolds, rows, RODAS3.output, mixes, float(RODAS3.diagonal)
        )
    name = _WRITTEN.get(type(solver))
    if name is None:
        by_matrix = type(solver) is Rosenbrock
        raise InputError(
            f"got solver {solver.name!r}, expected one with fixed steps"
            f"{' that need no matrix' if by_matrix else ''}: {', '.join(_WRITTEN.values())} or a "
            "Runge-Kutta method; build the layer with one of these and load the same state"
            + (", or write it in C" if by_matrix else "")
        )
    return Integration(name, cell.ode_unfolds)


def _check_finite(step: PlainStep) -> None:
    for name, values in step.neurons.items():
        _require_finite(name, values)
    for kind, synapses in step.synapses.items():
        for name, values in synapses.values.items():
            _require_finite(f"{kind} {name}", values)
    for number, layer in enumerate(step.layers):
        for values in layer:
            _require_finite(f"layer {number}", values)


def _require_finite(name: str, values: NDArray[Any]) -> None:
    with np.errstate(over="ignore"):
        broken = ~np.isfinite(values.astype(np.float32))
    if broken.any():
        where = tuple(int(k) for k in np.argwhere(broken)[0])
        raise InputError(
            f"got {values[where]} as {name} at {where}, expected numbers that float32 holds; load "
            "an earlier checkpoint"
        )


def _inputs(policy: Policy, layer: SequenceLayer) -> tuple[Array, Array, Array]:
    """Return origin, factor and shift of the inputs."""
    mapping: Any = layer.cell.input_mapping
    ones = np.ones(layer.input_size)
    weight = ones if mapping.weight is None else plain(mapping.weight)
    bias = 0 * ones if mapping.bias is None else plain(mapping.bias)
    if policy.scales is None:
        return 0 * ones, weight, bias
    scale = policy.scales.inputs
    return scale.origin, weight / scale.unit, weight * scale.offset + bias


def _reads_first(policy: Policy, layer: SequenceLayer) -> bool:
    """Whether the weight of the outputs is one of the first neurons, or of all of them."""
    first = np.array_equal(layer.cell.output_neurons, np.arange(layer.motor_size))
    return first or isinstance(policy.model, Readout)


def _outputs(policy: Policy, layer: SequenceLayer) -> tuple[Array, Array]:
    """Return weight and bias of the outputs."""
    if isinstance(policy.model, Readout):
        head = policy.model.head
        weight, bias = plain(head.weight), plain(head.bias)
    else:
        mapping: Any = layer.cell.output_mapping
        ones = np.ones(layer.output_size)
        weight = ones if mapping.weight is None else plain(mapping.weight)
        bias = 0 * ones if mapping.bias is None else plain(mapping.bias)
        projection: Any = getattr(layer.cell, "projection", None)
        if projection is not None:
            bias = bias + weight * plain(projection.bias)
            weight = weight[:, None] * plain(projection.weight)
    if policy.scales is None:
        return weight, bias
    scale = policy.scales.targets
    unit = scale.unit if weight.ndim == 1 else scale.unit[:, None]
    return weight * unit, (bias - scale.offset) * scale.unit + scale.origin


def _fixed_step(elapsed: Any, unit: float) -> float | None:
    if elapsed is None:
        return unit
    if elapsed == "argument":
        return None
    real = isinstance(elapsed, int | float) and not isinstance(elapsed, bool)
    if not (real and 0 < elapsed < np.inf):
        raise InputError(
            f"got elapsed={elapsed!r}, expected the length of a step, a finite number above 0, or "
            "'argument' where each call shall be given one"
        )
    return float(elapsed)


def _certified(
    policy: Policy, layer: SequenceLayer, certificate: Certificate | None
) -> tuple[Array, Array] | None:
    """Return the ends of the inputs that a certificate holds for, in the units of the data."""
    if certificate is None:
        return None
    if not isinstance(certificate, Certificate):
        raise InputError(
            f"got {type(certificate).__name__} as certificate, expected what certify() returns "
            f"of a liquid circuit where it proves something: {str(certificate)[:200]}"
        )
    if not certificate.matches(layer):
        raise InputError(
            f"got a certificate of network {certificate.fingerprint[:12]}, expected one of this "
            "circuit as it is now; certify it anew"
        )
    low, high = certificate.inputs
    if policy.scales is not None:
        low, high = (policy.scales.inputs.invert(end) for end in (low, high))
    # In single precision, which the exports compute in, without leaving the range.
    least, greatest = low.astype(np.float32), high.astype(np.float32)
    least = np.where(least < low, np.nextafter(least, np.float32(np.inf)), least)
    greatest = np.where(greatest > high, np.nextafter(greatest, -np.float32(np.inf)), greatest)
    return least.astype(np.float64), greatest.astype(np.float64)


def _recorded(policy: Policy, elapsed: float | None, ends: tuple[Array, Array] | None) -> Check:
    """Run the policy, from rest, on inputs that the columns might have."""
    scales, inputs = policy.scales, policy.model.input_size
    given = np.random.default_rng(0).standard_normal((CHECK_STEPS, inputs))
    given = given if scales is None else scales.inputs.invert(given)
    given = given.astype(np.float32).astype(np.float64)
    if ends is not None:
        given = given.clip(*ends)
    fresh = Policy(policy.model, scales, limits=policy.limits)
    with torch.no_grad():
        outputs = np.stack([np.array(fresh(row, elapsed), np.float64) for row in given])
    size = np.ones(outputs.shape[1]) if scales is None else scales.targets.unit
    return Check(given, outputs, float(max(np.max(size), 1e-30)))
