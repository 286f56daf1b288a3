"""Liquid time-constant networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elegans.cell import Cell
from elegans.constraints import SMALLEST_CAPACITANCE, Clip, Positivity, Softplus
from elegans.dynamics import LiquidDynamics
from elegans.errors import InputError
from elegans.initial import Initializer
from elegans.layer import SequenceLayer
from elegans.mapping import ElementwiseMapping
from elegans.memory import MemoryCell
from elegans.placement import Placement
from elegans.solvers import Solver, get_solver
from elegans.synapses import SynapseParameters, SynapseValues
from elegans.wiring import FullyConnected, Recipe, Wiring

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Sensed(NamedTuple):
    """What a sequence of inputs and the leak contribute, and the effective parameters."""

    capacitance: Tensor
    """(neuron,)."""
    conductance: Tensor
    """Leak and open sensory conductance, (batch, time, neuron)."""
    drive: Tensor
    """The same conductances times their potentials, (batch, time, neuron)."""
    recurrent: SynapseValues

    def at(self, time: int) -> LiquidDynamics:
        """Return the dynamics under the input of one time step."""
        return LiquidDynamics(
            self.capacitance, self.conductance[:, time], self.drive[:, time], self.recurrent
        )


class LTCCell(Cell):
    r"""One step of a liquid time-constant circuit.

    .. math::
        C_i \dot x_i = g_i (V_i - x_i) - \epsilon x_i
            + \sum_{k: j \to i} w_k \sigma(s_k (x_j - m_k)) (E_k - x_i)
            + \sum_{k: j \to i} \tilde w_k \sigma(\tilde s_k (u_j - \tilde m_k)) (\tilde E_k - x_i)

    with capacitance C, leak conductance g and potential V, and for each synapse a conductance
    w, gain s, centre m and reversal potential E; the second sum runs over sensory synapses. The
    input is constant over a step, which the solver takes in `ode_unfolds` parts.

    Parameters
    ----------
    wiring
        A wiring, a recipe, or a number of fully connected neurons.
    in_features
        Number of inputs; may be left out when `wiring` is a wiring.
    input_mapping, output_mapping
        ``"affine"``, ``"linear"`` or None: element-wise map of the inputs and of the outputs.
    ode_unfolds
        Solver steps for each step of the sequence; adaptive solvers choose their own.
    epsilon
        A small conductance towards potential 0 at every neuron, as ``ncps`` adds it to the
        denominator. With 0 a neuron needs a leak or an open synapse.
    implicit_param_constraints
        True: conductances and capacitances are softplus of their parameters. False: they are
        the parameters clipped at 0; call `apply_weight_constraints` after optimiser steps.
    solver
        Name of a solver (`elegans.solvers.solver_names`) or a `Solver`.
    fixed_polarity
        Whether reversal potentials keep their sign while training.
    initialization
        ``"effective"`` draws the values themselves from `elegans.initial.INITIAL_RANGES`,
        ``"ncps"`` the parameters under the softplus.
    generator
        Source of randomness for the initial values; PyTorch's default generator when None.
    **where
        ``device`` and ``dtype`` of the parameters.

    Raises
    ------
    WiringError
        The wiring was made for another number of inputs.
    InputError
        An argument is not valid; the message lists what is.
    SolverError
        There is no such solver.

    References
    ----------
    Hasani, Lechner, Amini, Rus, Grosu, "Liquid time-constant networks", AAAI 2021.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> cell = LTCCell(AutoNCP(units=19, output_size=4), in_features=8)
    >>> output, state = cell(torch.zeros(2, 8), torch.zeros(2, 19))
    >>> output.shape, state.shape
    (torch.Size([2, 4]), torch.Size([2, 19]))
    """

    gleak: Tensor
    vleak: Tensor
    cm: Tensor

    def __init__(
        self,
        wiring: int | Recipe | Wiring,
        in_features: int | None = None,
        input_mapping: str | None = "affine",
        output_mapping: str | None = "affine",
        ode_unfolds: int = 6,
        epsilon: float = 1e-8,
        implicit_param_constraints: bool = False,
        *,
        solver: str | Solver = "semi_implicit",
        fixed_polarity: bool = True,
        initialization: str = "effective",
        generator: torch.Generator | None = None,
        **where: Unpack[Placement],
    ) -> None:
        super().__init__()
        self._blueprint = as_wiring(wiring, in_features)
        if not isinstance(ode_unfolds, int) or ode_unfolds < 1:
            raise InputError(f"ode_unfolds must be an integer of at least 1, got {ode_unfolds!r}")
        if not epsilon >= 0:
            raise InputError(f"epsilon must not be negative, got {epsilon}")
        self.ode_unfolds = ode_unfolds
        self.epsilon = epsilon
        self.implicit_param_constraints = implicit_param_constraints
        self.solver = get_solver(solver)
        self._positivity: Positivity = Softplus() if implicit_param_constraints else Clip()
        initial = Initializer(self._positivity, initialization)
        for name in ("gleak", "vleak", "cm"):
            drawn = initial.draw(name, self.state_size, generator=generator, **where)
            self.register_parameter(name, nn.Parameter(drawn))
        self.recurrent, self.sensory = (
            SynapseParameters(
                synapses, initial, fixed_polarity=fixed_polarity, generator=generator, **where
            )
            for synapses in (self._blueprint.recurrent, self._blueprint.sensory)
        )
        self.input_mapping = ElementwiseMapping(input_mapping, self.sensory_size, **where)
        self.output_mapping = ElementwiseMapping(output_mapping, self.motor_size, **where)

    @property
    def wiring(self) -> Wiring:
        """The circuit as it is now, rewiring and changed polarities included."""
        return self._blueprint.with_synapses(self.recurrent.synapses(), self.sensory.synapses())

    @property
    def state_size(self) -> int:
        """Number of neurons."""
        return self._blueprint.units

    @property
    def sensory_size(self) -> int:
        """Number of inputs."""
        return self._blueprint.input_size

    @property
    def motor_size(self) -> int:
        """Number of outputs."""
        return self._blueprint.output_size

    def synapse_sets(self) -> dict[str, SynapseParameters]:
        """Return the trainable synapses by kind."""
        return {"recurrent": self.recurrent, "sensory": self.sensory}

    def sense(self, inputs: Tensor) -> Sensed:
        """Return effective parameters and sensory sums for inputs (batch, time, input)."""
        leak = self._positivity(self.gleak)
        shape = (*inputs.shape[:-1], self.state_size)
        conductance, drive = self.sensory.values().add_to(
            (leak + self.epsilon).expand(shape),
            (leak * self.vleak).expand(shape),
            self.input_mapping(inputs),
        )
        capacitance = self._positivity(self.cm, floor=SMALLEST_CAPACITANCE)
        return Sensed(capacitance, conductance, drive, self.recurrent.values())

    def dynamics(self, inputs: Tensor) -> LiquidDynamics:
        """Return the differential equation under constant inputs, shape (batch, input)."""
        return self.sense(inputs.unsqueeze(1)).at(0)

    def step(self, sensed: Sensed, time: int, state: Tensor, elapsed: Tensor) -> Tensor:
        """Return the state (batch, neuron) after step `time`, lasting `elapsed` (batch, 1)."""
        return self.solver.advance(sensed.at(time), state, elapsed, self.ode_unfolds)

    def read(self, state: Tensor) -> Tensor:
        """Return the mapped potentials of the motor neurons, shape (..., output)."""
        output: Tensor = self.output_mapping(state[..., : self.motor_size])
        return output

    def forward(
        self, inputs: Tensor, states: Tensor, elapsed_time: float | Tensor = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Take one step.

        Parameters
        ----------
        inputs
            Shape (batch, input).
        states
            Shape (batch, neuron).
        elapsed_time
            Time since the last step: a number, or shape (batch,) or (batch, 1).

        Returns
        -------
        output, state
            Shapes (batch, output) and (batch, neuron).
        """
        elapsed = torch.as_tensor(elapsed_time, dtype=inputs.dtype, device=inputs.device)
        if elapsed.dim() == 1:
            elapsed = elapsed.unsqueeze(1)
        state = self.solver.advance(self.dynamics(inputs), states, elapsed, self.ode_unfolds)
        return self.read(state), state

    def apply_weight_constraints(self) -> None:
        """Clip parameters at zero after an optimiser step; needed without implicit constraints."""
        if not self.implicit_param_constraints:
            self.recurrent.apply_weight_constraints()
            self.sensory.apply_weight_constraints()
            with torch.no_grad():
                self.gleak.clamp_(min=0.0)
                self.cm.clamp_(min=SMALLEST_CAPACITANCE)


class LTC(SequenceLayer):
    """A liquid time-constant network over sequences: `LTCCell` in the shape of ``nn.LSTM``.

    See `LTCCell` for the equation and `SequenceLayer.forward` for the call.

    Parameters
    ----------
    input_size
        Number of inputs.
    units
        Number of fully connected neurons, a recipe such as ``AutoNCP``, or a wiring.
    return_sequences
        Whether to return the output of every step or of the last one.
    batch_first
        Whether batches are (batch, time, input) or (time, batch, input).
    mixed_memory
        Whether a memory cell transforms the state before each step (long-term dependencies).
    input_mapping, output_mapping, ode_unfolds, epsilon, implicit_param_constraints
        As in `LTCCell`.
    solver, fixed_polarity, initialization, generator, **where
        As in `LTCCell`.

    Raises
    ------
    InputError, SolverError, WiringError
        As in `LTCCell`.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(8, AutoNCP(units=19, output_size=4))
    >>> output, state = model(torch.zeros(2, 50, 8))
    >>> output.shape, state.shape
    (torch.Size([2, 50, 4]), torch.Size([2, 19]))
    >>> model.synapse_count, model.sensory_synapse_count
    (45, 35)
    """

    cell: LTCCell

    def __init__(
        self,
        input_size: int,
        units: int | Recipe | Wiring,
        return_sequences: bool = True,
        batch_first: bool = True,
        mixed_memory: bool = False,
        input_mapping: str | None = "affine",
        output_mapping: str | None = "affine",
        ode_unfolds: int = 6,
        epsilon: float = 1e-8,
        implicit_param_constraints: bool = True,
        *,
        solver: str | Solver = "semi_implicit",
        fixed_polarity: bool = True,
        initialization: str = "effective",
        generator: torch.Generator | None = None,
        **where: Unpack[Placement],
    ) -> None:
        cell = LTCCell(
            units,
            input_size,
            input_mapping,
            output_mapping,
            ode_unfolds,
            epsilon,
            implicit_param_constraints,
            solver=solver,
            fixed_polarity=fixed_polarity,
            initialization=initialization,
            generator=generator,
            **where,
        )
        memory = None
        if mixed_memory:
            memory = MemoryCell(input_size, cell.state_size, generator=generator, **where)
        super().__init__(
            cell, return_sequences=return_sequences, batch_first=batch_first, memory=memory
        )

    @property
    def synapse_count(self) -> int:
        """Number of synapses between neurons."""
        return len(self.cell.recurrent)

    @property
    def sensory_synapse_count(self) -> int:
        """Number of synapses from the inputs."""
        return len(self.cell.sensory)

    def apply_weight_constraints(self) -> None:
        """Clip parameters at zero after an optimiser step; needed without implicit constraints."""
        self.cell.apply_weight_constraints()

    def draw(self, **options: Any) -> Axes:
        """Draw the circuit as it is now, lines as wide as conductances; see `Wiring.draw`."""
        widths = {
            "weights": conductances(self.cell.recurrent),
            "sensory_weights": conductances(self.cell.sensory),
        }
        return self.wiring.draw(**(widths | options))


def conductances(synapses: SynapseParameters) -> NDArray[np.float64]:
    """Return the conductance of each synapse in the order of the wiring, shape (synapse,)."""
    weight = synapses.values().weight.detach().cpu().double().numpy()
    return weight[synapses.sorted_slots()]


def as_wiring(wiring: int | Recipe | Wiring, input_size: int | None) -> Wiring:
    """Return the wiring that an integer, a recipe or a wiring stands for."""
    if isinstance(wiring, Wiring):
        if input_size is not None and wiring.input_size != input_size:
            raise InputError(
                f"the wiring was made for {wiring.input_size} inputs, the layer has {input_size}; "
                f"build the wiring with input_size={input_size} or pass its recipe"
            )
        return wiring
    if input_size is None:
        raise InputError(
            "the number of inputs is not known; pass in_features, or a Wiring in place of a recipe"
        )
    if isinstance(wiring, Recipe):
        return wiring.build(input_size)
    if isinstance(wiring, int) and not isinstance(wiring, bool):
        return FullyConnected(wiring).build(input_size)
    raise InputError(
        f"expected a number of units, a recipe such as AutoNCP(...) or a Wiring, got {wiring!r}"
    )
