"""A step of a layer over a set of states: its unfolds, and what is read from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from elegans.errors import InputError
from elegans.hooks import is_plain
from elegans.layers.capabilities import cell_of
from elegans.layers.mapping import ElementwiseMapping
from elegans.layers.readout import Readout
from elegans.proofs.certificates.certification import solver_of, unfolds_of
from elegans.proofs.certificates.network import Array, Box, Network, Range, liquid_cell
from elegans.proofs.certificates.stepping import SOLVERS
from elegans.proofs.reach.affine import AffineSet
from elegans.proofs.reach.unfolds import unfold


@dataclass(frozen=True, eq=False)
class SteppedCircuit:
    """A liquid circuit, its solver, and the linear map that reads its neurons.

    Parameters
    ----------
    network
        The circuit.
    solver
        One of `elegans.proofs.certificates.stepping.SOLVERS`.
    unfolds
        Of a step.
    matrix, shift
        The outputs are matrix x + shift, (output, neuron) and (output,).
    """

    network: Network
    solver: str
    unfolds: int
    matrix: Array
    shift: Array

    @classmethod
    def of(cls, model: nn.Module | Network) -> SteppedCircuit:
        """Return that of a layer, with a `Readout` or without one, of a cell or of a network.

        Raises
        ------
        InputError
            Nothing is proved of the layer, of its solver, or of what reads its neurons.
        """
        if isinstance(model, Network):
            model.check_finite()
            _check_signs(model)
            return cls(model, SOLVERS[0], 1, np.eye(len(model)), np.zeros(len(model)))
        layer = model.layer if isinstance(model, Readout) else model
        network = Network.of(layer)
        _check_signs(network)
        matrix, shift = _readout(model, len(network))
        return cls(network, _enclosed_solver(layer), unfolds_of(layer), matrix, shift)

    def step(self, states: AffineSet, inputs: AffineSet, elapsed: float) -> AffineSet:
        """Return the states after a step under inputs as the layer is given them, held in it."""
        # A symbol that is new in one of them must not be an old one of the other.
        both = max(states.symbols, inputs.symbols)
        inputs = AffineSet(inputs.centre, inputs.padded(both), inputs.bounds)
        seen = inputs.mapped(np.diag(self.network.scale), self.network.shift)
        if elapsed > 0:
            for _ in range(self.unfolds):
                states = unfold(self.network, states, seen, elapsed / self.unfolds, self.solver)
        return states

    def read(self, states: AffineSet) -> AffineSet:
        """Return the outputs of states."""
        return states.mapped(self.matrix, self.shift)


def given_states(states: Range, neurons: int) -> Box:
    """Return a box of states from two numbers or two arrays (neuron,), a `Box` among them.

    Raises
    ------
    InputError
        It has other shapes, ends that are not finite, or a lower end above the upper one.
    """
    remedy = f"pass states=(lowest, highest), two numbers or two arrays of shape ({neurons},)"
    try:
        lo, hi = (
            np.asarray(end.detach().cpu() if isinstance(end, Tensor) else end, np.float64)
            for end in states
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"got states = {states!r}, expected a box; {remedy}") from error
    for end in (lo, hi):
        if end.shape not in ((), (neurons,)) or not np.isfinite(end).all():
            raise InputError(
                f"got a box of states with an end of shape {end.shape}, expected finite numbers, "
                f"one or ({neurons},); {remedy}"
            )
    if any(isinstance(end, str) for end in states) or (lo > hi).any():
        raise InputError(f"got states = {states!r}, whose lower end is above the upper; {remedy}")
    return Box(np.broadcast_to(lo, neurons).copy(), np.broadcast_to(hi, neurons).copy())


def _check_signs(network: Network) -> None:
    positive = (network.capacitance > 0).all()
    signed = [network.leak, network.recurrent.weight, network.sensory.weight]
    signed += [] if network.electrical is None else [network.electrical.weight]
    if not positive or network.epsilon < 0 or any((values < 0).any() for values in signed):
        raise InputError(
            "got a negative conductance or a capacitance that is not positive, expected a circuit "
            "in which gates pull towards their potentials; call apply_weight_constraints()"
        )


def _enclosed_solver(layer: nn.Module) -> str:
    name = solver_of(layer)
    if name is None:
        raise InputError(
            f"got the solver {liquid_cell(layer).solver.name!r}, whose step is not enclosed, "
            f"expected one of {', '.join(SOLVERS)}; build the layer with such a solver"
        )
    return name


def _readout(model: nn.Module, neurons: int) -> tuple[Array, Array]:
    """Return the map from neurons to outputs, with the parameters as they are."""
    if isinstance(model, Readout):
        head = model.head
        if type(head) is not nn.Linear or not is_plain(head) or not is_plain(model):
            raise InputError(
                f"got a readout by {type(head).__name__} or one with a hook, expected a linear map "
                "alone; remove what was added"
            )
        bias = np.zeros(head.out_features) if head.bias is None else _double(head.bias)
        return _double(head.weight), bias
    cell: Any = cell_of(model)
    mapping = getattr(cell, "output_mapping", None)
    if type(mapping) is not ElementwiseMapping or not is_plain(mapping):
        raise InputError(
            f"got {type(mapping).__name__} as output mapping or one with a hook, expected an "
            "ElementwiseMapping: what it returns is not known"
        )
    outputs = int(cell.output_size)
    scale = np.ones(outputs) if mapping.weight is None else _double(mapping.weight)
    shift = np.zeros(outputs) if mapping.bias is None else _double(mapping.bias)
    matrix = np.zeros((outputs, neurons))
    matrix[np.arange(outputs), cell.output_neurons] = scale
    return matrix, shift


def _double(values: Tensor) -> Array:
    return np.asarray(values.detach().cpu().double().numpy(), np.float64)
