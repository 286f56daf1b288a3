"""Bounds of contraction in double precision, of circuits that the verifier has no equation for."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from torch import nn

from elegans.errors import InputError
from elegans.html import table_html
from elegans.layers.capabilities import PlainNumbers, cell_of
from elegans.proofs import verify
from elegans.proofs.certificates.certificate import StepFigures
from elegans.proofs.certificates.network import Array, Box, examined_cell

EQUATIONS = {
    "rates": "continuous-time recurrent circuit",
    "closed_form": "closed-form circuit",
    "dense_closed_form": "dense closed-form network",
}
"""Equations, as a `PlainStep` names them, that `certify` finds a bound for."""

KINDS = EQUATIONS | {"liquid": "liquid circuit"}
"""The same, and the one that `step_bound` finds a bound for."""

MAP = "closed_form"
"""What stands in place of a solver's name for a step that is a map."""

STEP_ONLY = ", of the step: there is no differential equation"


@dataclass(frozen=True, eq=False)
class ContractionBound:
    """A bound that two states of a circuit under the same input approach each other.

    What `elegans.proofs.certify` returns for `elegans.CTRNN` and `elegans.CfC`, and
    `elegans.proofs.step_bound` for liquid circuits. It is found in
    double precision with an allowance for rounding, level ``"float"``, and is no file: the verifier
    has no format for these equations.

    Parameters
    ----------
    equation
        Name of the equation; see `elegans.synapses.plain.PlainStep`.
    rate
        Of the differential equation: distances shrink at least as exp(-rate t), in the norm with
        the weights `eta`. None for a map, which has no differential equation.
    eta
        Weights of the maximum norm, those of the flow if there is one, shape (neuron,).
    box
        States for which this holds. No step leaves it, nor does the flow, and every state tends to
        it.
    inputs
        Range of the inputs, as the layer is given them.
    step
        What is proved of the step that runs, with weights of its own; None where nothing is.
    longest_step
        Length up to which such steps are proved to contract, from the shortest on; infinite for
        any length, None where it was not looked for.
    reason
        Why nothing is proved of the step, empty where something is.
    fingerprint
        Of equation and parameters.

    Examples
    --------
    >>> import torch
    >>> import elegans
    >>> model = elegans.CTRNN(2, 3, solver="euler", generator=torch.Generator().manual_seed(0))
    >>> bound = elegans.proofs.certify(model, inputs=(-1, 1), elapsed=(0.5, 1.0))
    >>> bool(bound), bound.level, bound.rate > 0, bound.kappa < 1, bound.matches(model)
    (True, 'float', True, True, True)
    """

    equation: str
    rate: float | None
    eta: Array
    box: Box
    inputs: Box
    step: StepFigures | None
    longest_step: float | None
    reason: str
    fingerprint: str

    certified = True
    level = "float"

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        numbers = [] if self.rate is None else [f"rate={verify.at_least(self.rate)}"]
        numbers += [] if self.kappa is None else [f"kappa={verify.at_most(self.kappa)}"]
        return f"ContractionBound({', '.join(numbers)}, neurons={len(self.eta)}{self.scope})"

    def _repr_html_(self) -> str:
        low, high = self.box
        rows: dict[str, object] = {
            "bounded": f"two states under the same inputs approach each other{self.scope}",
        }
        if self.rate is not None:
            rows["rate"] = f"{verify.at_least(self.rate, 4)} per unit of time"
        if self.step is not None:
            rows["factor"] = f"{verify.at_most(self.step.kappa, 4)} a step of the solver"
        rows |= {
            "level": self.level,
            "neurons": len(self.eta),
            "states": f"within {verify.at_least(low.min(initial=0.0), 4)} to "
            f"{verify.at_most(high.max(initial=0.0), 4)}, which every state tends to",
        }
        return table_html(f"Contraction of a {KINDS[self.equation]}", rows)

    @property
    def kappa(self) -> float | None:
        """Factor of one unfold of the solver, or of the map, None where nothing is proved of it."""
        return None if self.step is None else self.step.kappa

    @property
    def covers_step(self) -> bool:
        """Whether the step that runs is proved to contract."""
        return self.step is not None

    @property
    def scope(self) -> str:
        """What is to be said after each statement: what it is about if not flow and step."""
        if self.rate is None:
            return STEP_ONLY
        return "" if self.covers_step else verify.EQUATION_ONLY

    def matches(self, model: nn.Module) -> bool:
        """Whether this is about the equation of `model` as it is now.

        Solver, unfolds and elapsed time, to which the statement on the step belongs, are not
        compared.
        """
        return fingerprint_of(model) == self.fingerprint

    def save(self, path: str | os.PathLike[str]) -> NoReturn:
        """Refuse: `elegans.proofs.verify` has no format for this equation.

        Raises
        ------
        InputError
            In any case.
        """
        raise InputError(
            f"{path}: got a bound of a {KINDS[self.equation]}, expected the certificate of a "
            "liquid circuit: the verifier's file has liquid synapses only, and no rows of this "
            "equation; save the model, and call elegans.proofs.certify on it where it is loaded"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers of the bound as plain values."""
        step = self.step
        return {
            "certified": True,
            "level": self.level,
            "equation": self.equation,
            "rate": self.rate,
            "covers_step": self.covers_step,
            "kappa": self.kappa,
            "solver": None if step is None else step.solver,
            "longest_step": self.longest_step,
            "reason": self.reason,
            "fingerprint": self.fingerprint,
        }


def fingerprint_of(model: nn.Module) -> str:
    """Return a fingerprint of equation, parameters and input mapping of a layer or cell."""
    cell = examined_cell(model, PlainNumbers)
    step, digest = cell.plain_step(), hashlib.sha256()

    def take(name: str, values: object) -> None:
        array = np.ascontiguousarray(values)
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())

    digest.update(f"{step.equation} {sorted(step.choices.items())};".encode())
    for name, values in sorted(step.neurons.items()):
        take(name, values)
    for name, synapses in sorted(step.synapses.items()):
        take(f"{name} start", synapses.start)
        take(f"{name} source", synapses.source)
        for column, values in sorted(synapses.values.items()):
            take(f"{name} {column}", values)
    for number, (weight, bias) in enumerate(step.layers):
        take(f"weight {number}", weight)
        take(f"bias {number}", bias)
    scale, shift = input_map(cell.input_mapping, cell.sensory_size)
    take("scale", scale)
    take("shift", shift)
    return digest.hexdigest()


def steps_of(model: nn.Module) -> tuple[str, int]:
    """Return the name of the solver of a layer or cell, and its steps in a step of the layer.

    A cell without a solver is a map, of one step.
    """
    cell: Any = cell_of(model)
    if not hasattr(cell, "solver"):
        return MAP, 1
    return cell.solver.name, cell.ode_unfolds


def input_map(mapping: Any, count: int) -> tuple[Array, Array]:
    """Return scale and shift of an element-wise mapping of so many inputs."""
    scale, shift = np.ones(count), np.zeros(count)
    if mapping.weight is not None:
        scale = mapping.weight.detach().cpu().double().numpy()
    if mapping.bias is not None:
        shift = mapping.bias.detach().cpu().double().numpy()
    return scale, shift
