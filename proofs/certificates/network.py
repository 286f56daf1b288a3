"""The effective values of a liquid circuit in double precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elegans.errors import InputError
from elegans.hooks import is_plain, patched
from elegans.layers.capabilities import LiquidCircuit, cell_of, defines, require
from elegans.layers.mapping import ElementwiseMapping
from elegans.layers.sequence_layer import SequenceLayer
from elegans.ltc.dynamics import LiquidDynamics, effective
from elegans.solvers.circuit import Circuit, Junctions, Slots
from elegans.synapses.electrical import JunctionValues
from elegans.synapses.liquid import SynapseValues

if TYPE_CHECKING:
    from elegans.layers.cell import Cell

    class LiquidCell(Cell, LiquidCircuit):
        """A cell that offers its circuit."""


_RUNS = ("__call__", "forward", "_run", "_elapsed", "_initial_state")
"""What runs a sequence; a layer whose class has its own is not only its cell."""

SLACK = 1e-12
"""Relative widening of what is computed in double precision: about 4,500 units in the last place,
more than sums of a few thousand terms can lose."""

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Range = tuple[float | Sequence[float] | Array | Tensor, float | Sequence[float] | Array | Tensor]
"""Least and greatest input: two numbers, or two arrays of shape (input,)."""


class Box(NamedTuple):
    """A product of intervals, such as the states that a circuit can take."""

    lo: Array
    """Lower ends, shape (neuron,)."""
    hi: Array
    """Upper ends, shape (neuron,)."""

    @property
    def width(self) -> Array:
        """Lengths of the intervals, shape (neuron,)."""
        return self.hi - self.lo

    def contains(self, other: Box) -> bool:
        """Whether `other` is a part of this box."""
        return bool((self.lo <= other.lo).all() and (other.hi <= self.hi).all())


@dataclass(frozen=True, eq=False)
class SynapseNumbers:
    """Effective values of a set of synapses, each of shape (synapse,)."""

    source: Index
    target: Index
    weight: Array
    """Conductance w."""
    gain: Array
    """Gain s of the gate, of either sign."""
    centre: Array
    """Centre m of the gate."""
    potential: Array
    """Reversal potential E."""

    def __len__(self) -> int:
        return len(self.source)

    def take(self, which: NDArray[np.bool_] | Index) -> SynapseNumbers:
        """Return some of the synapses."""
        return SynapseNumbers(*(getattr(self, field.name)[which] for field in fields(self)))

    def tensors(self) -> SynapseValues:
        """Return the same as tensors, in float64."""
        columns = (getattr(self, field.name) for field in fields(self))
        return SynapseValues(
            *(torch.from_numpy(np.ascontiguousarray(column)) for column in columns)
        )


@dataclass(frozen=True, eq=False)
class JunctionNumbers:
    """Effective values of a set of gap junctions, each of shape (junction,)."""

    source: Index
    target: Index
    rectifying: NDArray[np.bool_]
    """Whether current flows from source to target only."""
    weight: Array
    """Conductance w."""

    def __len__(self) -> int:
        return len(self.source)

    @property
    def ends(self) -> SynapseNumbers:
        """Each junction twice, towards its target and then towards its source, shape (end,).

        As synapses whose gate and potential are no numbers but ranges: see
        `elegans.proofs.certificates.gates.Conduction`.
        """
        nothing = np.zeros(2 * len(self))
        return SynapseNumbers(
            np.concatenate([self.source, self.target]),
            np.concatenate([self.target, self.source]),
            np.concatenate([self.weight, self.weight]),
            nothing,
            nothing,
            nothing,
        )

    def tensors(self) -> JunctionValues:
        """Return the same as tensors, in float64."""
        columns = (getattr(self, field.name) for field in fields(self))
        return JunctionValues(
            *(torch.from_numpy(np.ascontiguousarray(column)) for column in columns)
        )


@dataclass(frozen=True, eq=False)
class Network:
    r"""A liquid circuit as plain numbers.

    .. math::
        C_i \dot x_i = g_i (V_i - x_i) - \epsilon x_i
            + \sum_{k: j \to i} w_k \sigma(s_k (x_j - m_k)) (E_k - x_i)
            + \sum_{k: j \to i} \tilde w_k \sigma(\tilde s_k (u_j - \tilde m_k)) (\tilde E_k - x_i)
            + \sum_{k: i - j} \hat w_k (x_j - x_i)

    Parameters
    ----------
    capacitance, leak, leak_potential
        C, g and V, shape (neuron,).
    epsilon
        Conductance towards potential 0 at every neuron.
    recurrent, sensory
        Synapses between neurons, and from the inputs.
    scale, shift
        The input u_j is ``scale * given + shift``, shape (input,).
    electrical
        Gap junctions between neurons, the last sum; None without any.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> network = Network.of(elegans.LTC(8, AutoNCP(units=19, output_size=4)))
    >>> len(network), len(network.recurrent), len(network.sensory)
    (19, 45, 35)
    """

    capacitance: Array
    leak: Array
    leak_potential: Array
    epsilon: float
    recurrent: SynapseNumbers
    sensory: SynapseNumbers
    scale: Array
    shift: Array
    electrical: JunctionNumbers | None = None

    def __len__(self) -> int:
        return len(self.capacitance)

    @classmethod
    def of(cls, model: nn.Module) -> Network:
        """Return the numbers that a layer computes with, exactly.

        Constraints are applied in the layer's own precision, so that these are its numbers and
        not better ones.

        Raises
        ------
        InputError
            The cell does not offer `circuit`, the layer has a memory cell, a parameter is not
            finite, or what runs may not be the equation: see `liquid_cell`.
        """
        cell = liquid_cell(model)
        with torch.no_grad():
            circuit = circuit_of(cell)
        if circuit.vleak.is_meta:
            raise InputError(
                "got a layer on the meta device, expected parameters with values; call "
                "to_empty(device=...) and load them"
            )
        with torch.no_grad():
            values = effective(circuit)
            inputs = values.vleak.new_ones(cell.sensory_size)
            weight, bias = cell.input_mapping.weight, cell.input_mapping.bias
            network = cls(
                _double(values.cm),
                _double(values.gleak),
                _double(values.vleak),
                float(values.epsilon),
                _numbers(values.recurrent),
                _numbers(values.sensory),
                _double(inputs if weight is None else weight),
                _double(torch.zeros_like(inputs) if bias is None else bias),
                None if values.electrical is None else _junctions(values.electrical),
            )
        network.check_finite()
        return network

    def check_finite(self) -> None:
        """Raise `InputError` if a number is not finite."""
        for name, values in (
            ("capacitance", self.capacitance),
            ("leak conductance", self.leak),
            ("leak potential", self.leak_potential),
            ("epsilon", np.array([self.epsilon])),
            ("input mapping", self.scale),
            ("input mapping", self.shift),
            *(
                (f"{kind} {field.name}", getattr(synapses, field.name))
                for kind, synapses in (("recurrent", self.recurrent), ("sensory", self.sensory))
                for field in fields(synapses)
            ),
            *(
                ()
                if self.electrical is None
                else (("conductance of a gap junction", self.electrical.weight),)
            ),
        ):
            broken = ~np.isfinite(values)
            if broken.any():
                where = int(np.argmax(broken))
                raise InputError(
                    f"got {values[where]} as {name} at position {where}, expected finite "
                    "parameters; nothing can be proven of this network: load an earlier checkpoint"
                )

    def range_of(self, inputs: Range) -> Box:
        """Return the range of what the gates see, shape (input,), for given inputs.

        Raises
        ------
        InputError
            The range is missing, inverted, not finite, or has another number of inputs.
        """
        lo, hi = given_range(inputs, len(self.scale))
        ends = np.stack([self.scale * lo, self.scale * hi])
        slack = SLACK * (np.abs(ends).max(axis=0) + np.abs(self.shift))  # the sum may cancel
        ends = ends + self.shift
        return Box(ends.min(axis=0) - slack, ends.max(axis=0) + slack)

    def dynamics(self, inputs: Tensor) -> LiquidDynamics:
        """Return the differential equation in float64 under constant inputs (batch, input)."""
        leak, potential = torch.from_numpy(self.leak), torch.from_numpy(self.leak_potential)
        seen = torch.from_numpy(self.scale) * inputs + torch.from_numpy(self.shift)
        shape = (len(inputs), len(self))
        conductance, drive = self.sensory.tensors().add_to(
            (leak + self.epsilon).expand(shape), (leak * potential).expand(shape), seen
        )
        capacitance = torch.from_numpy(self.capacitance)
        junctions = None if self.electrical is None else self.electrical.tensors()
        return LiquidDynamics(capacitance, conductance, drive, self.recurrent.tensors(), junctions)

    def scaled(self, factor: float) -> Network:
        """Return the circuit with all conductances of recurrent synapses times `factor`.

        Gap junctions keep theirs.
        """
        synapses = replace(self.recurrent, weight=factor * self.recurrent.weight)
        return replace(self, recurrent=synapses)


def checked_box(box: Box, neurons: int) -> Box:
    """Return a box of states in double precision.

    Raises
    ------
    InputError
        Its ends are not finite, of another shape or in the wrong order.
    """
    lo, hi = (np.asarray(end, dtype=np.float64) for end in box)
    if not lo.shape == hi.shape == (neurons,) or not np.isfinite(hi - lo).all():
        raise InputError(
            f"got a box with ends of shape {lo.shape} and {hi.shape}, expected finite numbers of "
            f"shape ({neurons},); pass Box(lo, hi), such as certificate.box"
        )
    if (lo > hi).any():
        neuron = int(np.argmax(lo > hi))
        raise InputError(
            f"got a lower end above the upper in the box from {lo[neuron]} to {hi[neuron]} at "
            f"neuron {neuron}, expected lo <= hi"
        )
    return Box(lo, hi)


def require_between(name: str, value: Any, least: float, most: float) -> None:
    """Raise `InputError` unless `value` is a real number above `least` and below `most`."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not (real and math.isfinite(value) and least < value < most):
        raise InputError(
            f"got {name}={value!r}, expected a finite number above {least:g} and below {most:g}"
        )


def given_range(inputs: Range, count: int) -> Box:
    """Return a range of inputs, as the layer is given them, as two arrays of shape (input,)."""
    remedy = "pass inputs=(lowest, highest), two numbers or two arrays with one number an input"
    try:
        lo, hi = (
            np.asarray(end.detach().cpu() if isinstance(end, Tensor) else end, dtype=np.float64)
            for end in inputs
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"got inputs = {inputs!r}, expected a range; {remedy}") from error
    if any(isinstance(end, str) for end in inputs):
        raise InputError(f"got inputs = {inputs!r}, expected numbers; {remedy}")
    for end in (lo, hi):
        if end.shape not in ((), (count,)):
            raise InputError(
                f"got a range of inputs of shape {end.shape}, expected a number or shape "
                f"({count},); {remedy}"
            )
        if not np.isfinite(end).all():
            raise InputError(f"got inputs = {inputs!r}, expected finite ends; {remedy}")
    if (lo > hi).any():
        raise InputError(f"got inputs = {inputs!r}, whose lower end is above the upper; {remedy}")
    return Box(np.broadcast_to(lo, count).copy(), np.broadcast_to(hi, count).copy())


def liquid_cell(model: nn.Module) -> LiquidCell:
    """Return the cell of a layer, or the cell itself, that runs the liquid equation and no more.

    Raises
    ------
    InputError
        As `examined_cell`.
    """
    return cast("LiquidCell", examined_cell(model, LiquidCircuit))


def examined_cell(model: nn.Module, capability: type[Any]) -> Any:
    """Return the cell of a layer, or the cell itself, that runs what a capability says and no more.

    Raises
    ------
    InputError
        Nothing can be proven of it: the layer has a memory cell, is no `SequenceLayer` or runs a
        sequence in its own way; the cell does not offer the capability, or inherits it; a hook, a
        parametrization or a patched method takes part.
    """
    if getattr(model, "memory", None) is not None:
        raise InputError(
            "got a layer with mixed memory, expected one without: the memory cell changes the "
            "state between the steps, and nothing is proven of it; pass model.cell to examine "
            "the circuit alone"
        )
    cell: Any = require(cell_of(model), capability, "a certificate")
    defined: bool = defines(cell, capability)
    if not defined:
        name = "circuit" if capability is LiquidCircuit else "plain_step"
        raise InputError(
            f"got {type(cell).__name__}, which inherits `{name}`, expected a class that defines "
            f"it: what a subclass does besides is not known; define `{name}` in it, too, if it "
            "still says all that a step does"
        )
    if model is not cell:
        runs = all(getattr(type(model), name, 0) is getattr(SequenceLayer, name) for name in _RUNS)
        if not runs:
            raise InputError(
                f"got {type(model).__name__}, which runs its cell in its own way, expected a layer "
                "with the `forward` of SequenceLayer: what it does to inputs or states is not "
                "known; pass model.cell to examine the circuit alone"
            )
    if type(cell.input_mapping) is not ElementwiseMapping:
        raise InputError(
            f"got {type(cell.input_mapping).__name__} as input mapping, expected an "
            "ElementwiseMapping: the range of what it returns is not known"
        )
    parts = {"layer": model, "cell": cell, "input mapping": cell.input_mapping}
    if capability is not LiquidCircuit:  # maps of a backbone, whose weights are read as they are
        sets = set(cell.synapse_sets().values())
        inner = (pair for pair in cell.named_modules() if pair[0] and pair[1] not in sets)
        parts |= {f"module {name!r}": module for name, module in inner}
    for name, module in parts.items():
        if not is_plain(module) and "forward" not in vars(module):
            raise InputError(
                f"got a hook or a parametrization on the {name}, expected none: what it does "
                "to inputs or states is not known; remove it"
            )
    owners: dict[str, object] = {**parts, **cell.synapse_sets()}
    if hasattr(cell, "solver"):
        owners["solver"] = cell.solver
    for name, owner in owners.items():
        method = patched(owner)
        if method is not None:
            raise InputError(
                f"got another `{method}` set on the {name}, expected the one of its class: what it "
                f"does is not known; delete the attribute `{method}`"
            )
    return cell


def circuit_of(cell: LiquidCell) -> Circuit:
    """Return the parameters of a cell, with their gradients."""
    like = next(cell.parameters())
    return cell.circuit(like.new_zeros(1, 1, cell.sensory_size))[1]


def _double(values: Tensor) -> Array:
    return values.detach().cpu().double().numpy()


def _junctions(junctions: Junctions) -> JunctionNumbers:
    source, target, rectifying, weight = junctions
    return JunctionNumbers(
        source.detach().cpu().numpy().astype(np.int64),
        target.detach().cpu().numpy().astype(np.int64),
        rectifying.detach().cpu().numpy().astype(np.bool_),
        _double(weight),
    )


def _numbers(slots: Slots) -> SynapseNumbers:
    source, target, _, weight, sigma, mu, erev = slots
    return SynapseNumbers(
        source.detach().cpu().numpy().astype(np.int64),
        target.detach().cpu().numpy().astype(np.int64),
        *(_double(value) for value in (weight, sigma, mu, erev)),
    )
