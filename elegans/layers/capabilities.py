"""Capabilities of cells: what a tool may ask a cell for, beside the steps that every cell takes.

A cell offers a capability by having its methods; there is nothing to register. A tool asks for the
capability with `require` or `offers`, never for a class, and names it where it is missing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from elegans.errors import ElegansError, InputError
from elegans.layers.cell import Cell
from elegans.layers.mapping import ElementwiseMapping
from elegans.solvers import Solver, System
from elegans.solvers.circuit import Circuit
from elegans.synapses.plain import PlainStep
from elegans.wiring import Wiring

if TYPE_CHECKING:
    from typing_extensions import TypeIs


class Flow(Protocol):
    """A differential equation: flows, their exponents and Jacobians."""

    def dynamics(self, inputs: Tensor) -> System:
        """Return the equation under constant inputs, shape (batch, input)."""


class StepJacobian(Protocol):
    """The derivative of a step in closed form; without it a step is differentiated."""

    def step_jacobian(self, inputs: Tensor, state: Tensor, elapsed: Tensor) -> Tensor:
        """Return the derivative of x⁺_i by x_j at ``[:, i, j]``, (batch, neuron, neuron).

        `inputs` is (batch, input), `state` (batch, neuron), `elapsed` (batch, 1).
        """


class LiquidCircuit(Protocol):
    """The liquid equation and its parameters: kernels and certificates.

    The attributes say how the equation is integrated, and what stands before it.
    """

    solver: Solver
    ode_unfolds: int
    input_mapping: ElementwiseMapping

    @property
    def sensory_size(self) -> int:
        """Number of inputs."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""

    def circuit(self, inputs: Tensor) -> tuple[Tensor, Circuit]:
        """Return inputs (batch, time, input) and parameters as kernels take them."""


class SingleSteps(LiquidCircuit, Protocol):
    """A liquid circuit that a kernel may step in place, in the memory of its parameters."""

    def kernel_facts(self) -> tuple[Any, ...]:
        """Return what the kernel relies on besides tensors and solver; compared at each step."""


class Rebuilds(LiquidCircuit, Protocol):
    """A liquid circuit that may lose neurons and synapses: compaction."""

    def rebuilt(self, wiring: Wiring) -> Cell:
        """Return such a cell on another wiring, whose values are to be filled in."""


class JointCell(Cell):
    """The cells of many members side by side; `JoinsMembers.joint` returns one."""

    @abstractmethod
    def join(self, values: Tensor) -> Tensor:
        """Bring (member, ..., neuron) to (..., neuron of all)."""

    @abstractmethod
    def part(self, values: Tensor) -> Tensor:
        """Bring (..., neuron of all) back to (member, ..., neuron)."""


class JoinsMembers(LiquidCircuit, Protocol):
    """Many liquid circuits as one: ensembles that a kernel runs in one call."""

    def joint(self, members: int, stack: nn.Module) -> JointCell:
        """Return the cells of all members as one.

        `stack` is a tree of modules like this cell, whose tensors have a leading member axis.
        """


class PlainNumbers(Protocol):
    """The step as plain numbers: export to other languages."""

    def plain_step(self) -> PlainStep:
        """Return what a step computes between the maps of inputs and outputs."""


class Bounded(Protocol):
    """Parameters that are clipped after optimiser steps."""

    def lower_bounds(self) -> Mapping[str, float]:
        """Return the least value of each clipped parameter by its dotted name."""


class Counted(Protocol):
    """Work: the multiply-adds of a step."""

    def operations(self) -> Mapping[str, int]:
        """Return how often a step uses each entry of a weight, by the weight's dotted name."""


class Silenced(Protocol):
    """Neurons that nothing reads any more: lesion studies."""

    def motor_readers(self) -> tuple[str, ...]:
        """Return the weights (..., motor) that read motor neurons, by their dotted name.

        What a motor neuron adds to the output goes through them alone.
        """


class Saved(Protocol):
    """Settings: saving, and building the same cell again."""

    def settings(self) -> Mapping[str, Any]:
        """Return keyword arguments that build such a cell, without sizes, wiring and precision."""


CAPABILITIES: tuple[type, ...] = (
    Flow,
    StepJacobian,
    LiquidCircuit,
    SingleSteps,
    Rebuilds,
    JoinsMembers,
    PlainNumbers,
    Bounded,
    Counted,
    Silenced,
    Saved,
)
"""All capabilities."""

C = TypeVar("C")


def offers(cell: object, capability: type[C]) -> TypeIs[C]:
    """Whether a cell has the methods of a capability.

    Examples
    --------
    >>> import elegans
    >>> offers(elegans.CTRNN(1, 2).cell, Flow), offers(elegans.CfC(1, 2).cell, Flow)
    (True, False)
    """
    return all(callable(getattr(cell, name, None)) for name in _methods(capability))


def defines(cell: object, capability: type[C]) -> TypeIs[C]:
    """Whether a cell offers a capability by methods of its very class, inheriting none.

    Asked where something else stands in for the cell: a kernel, a smaller cell, a joint one. It
    would not do what a subclass adds, so a subclass defines the methods again if it may stand in.
    """
    return all(name in vars(type(cell)) for name in _methods(capability))


def require(
    cell: object, capability: type[C], for_what: str, error: type[ElegansError] = InputError
) -> C:
    """Return the cell if it offers a capability.

    Parameters
    ----------
    cell
        A cell.
    capability
        One of the protocols of this module.
    for_what
        The tool that asks, as the subject of a sentence: ``"a certificate"``.
    error
        What is raised.

    Raises
    ------
    InputError
        Or `error`: names the class, what it offers, and the method that the tool needs.

    Examples
    --------
    >>> import elegans
    >>> require(elegans.CfC(1, 2).cell, Flow, "a flow")
    Traceback (most recent call last):
        ...
    elegans.errors.InputError: got CfCCell, which offers `step_jacobian`, `plain_step` and
    `settings`; a flow needs `dynamics`; implement it as in docs/extending.md
    """
    if offers(cell, capability):
        return cell
    offered = [
        name for protocol in CAPABILITIES if offers(cell, protocol) for name in _methods(protocol)
    ]
    offered = list(dict.fromkeys(offered))
    missing = [name for name in _methods(capability) if not callable(getattr(cell, name, None))]
    raise error(
        f"got {type(cell).__name__}, which offers {_listed(offered) or 'no capability of a cell'}; "
        f"{for_what} needs {_listed(missing)}; implement it as in docs/extending.md"
    )


def cell_of(model: nn.Module) -> nn.Module:
    """Return the cell of a layer, and anything else as it is.

    Examples
    --------
    >>> import elegans
    >>> layer = elegans.LTC(1, 2)
    >>> cell_of(layer) is layer.cell, cell_of(layer.cell) is layer.cell
    (True, True)
    """
    cell = getattr(model, "cell", None)
    return cell if isinstance(cell, Cell) else model


def _methods(capability: type) -> list[str]:
    names = (name for name in dir(capability) if not name.startswith("_"))
    return [name for name in names if callable(getattr(capability, name))]


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1])] * (len(quoted) > 1) + quoted[-1:])
