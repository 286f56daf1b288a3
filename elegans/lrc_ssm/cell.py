"""The cell of LrcSSM, which runs a sequence for all time steps at once."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.checks import Placement, check_choice, in_transform, values_are_visible
from elegans.errors import InputError
from elegans.layers.cell import as_wiring
from elegans.layers.execution import chosen_path
from elegans.layers.flow_cell import FlowCell
from elegans.lrc_ssm.dynamics import LrcSSMDynamics, Own, SensedLrcSSM
from elegans.solvers import Solver
from elegans.solvers.parallel import solve
from elegans.synapses.constraints import POSITIVITY
from elegans.synapses.elastic import ELASTANCES
from elegans.synapses.initial import draw_uniform
from elegans.synapses.maps import MappedSynapses
from elegans.synapses.sums import SynapticSum
from elegans.wiring import Recipe, Synapses, Wiring

PARALLEL_FROM = 128
"""Steps from which on a sequence is solved in parallel, unless `elegans.backend` decides."""

WIDEST = 1024
"""Neurons of all samples up to which that pays on a CPU, which more keep busy in a single step."""

_NONE = Synapses([], [], [])
_MAPS = 2  # forget and update

_NEURONS = (
    "gain",
    "centre",
    "forget",
    "update",
    "leak",
    "leak_potential",
    "elastance_gain",
    "elastance_bias",
)
_INPUTS = ("input_gain", "input_centre")


@checked(InputError)
class LrcSSMCell(FlowCell):
    r"""One step of LrcSSM: liquid resistance, liquid capacitance, and a diagonal Jacobian.

    .. math::
        \dot x_i &= \epsilon_i \big(V_i \tanh(g_i + v_i q_i + \sum_{k: j \to i} \tilde v_k p_j)
            - \sigma(g_i + w_i q_i + \sum_{k: j \to i} \tilde w_k p_j)\, x_i \big), \\
        q_i &= \sigma(s_i (x_i - m_i)), \quad p_j = \sigma(\tilde s_j (u_j - \tilde m_j)), \quad
        \epsilon_i = \sigma(k_i x_i + b_i)

    with leak g and potential V of each neuron. Its gate q reads its own state, with weights w on
    the conductance and v on the drive; a gate p reads each input, with two weights of either sign
    for each synapse from there. The elastance epsilon is one by the capacitance.

    A neuron reads the inputs and itself and no other neuron: the wiring decides which inputs, and
    has no synapses between neurons. Layers one on another (`elegans.Stacked`) mix neurons. Hence
    the Jacobian of a step is diagonal, and a long sequence is solved for all steps at once by
    Newton's method (`elegans.solvers.parallel`), to the same states and gradients as step after
    step. The input is constant over a step, which the solver takes in `ode_unfolds` parts.

    Parameters
    ----------
    wiring
        A number of neurons that read every input, or a wiring without synapses between neurons.
    in_features, input_mapping, output_mapping, **factory_kwargs
        As in `WiredCell`.
    ode_unfolds
        Solver steps for each step of the sequence.
    elastance
        ``"asymmetric"``, as above, or ``"symmetric"``, sigma(z + d) - sigma(z - d) with the same z
        and a width d > 0 of each neuron.
    solver
        Name of a solver (`elegans.solvers.solver_names`) or a `Solver`. ``"euler"`` in one part is
        the published step; the semi-implicit one is stable for elapsed times of any length. With
        an adaptive solver, or ``"rosenbrock"``, steps are taken one after another.
    generator
        Source of randomness for the initial values; PyTorch's default generator when None.

    Raises
    ------
    InputError
        An argument is not valid, or the wiring has synapses between neurons.
    SolverError
        There is no such solver.

    Notes
    -----
    Sequences of `PARALLEL_FROM` steps and more run in parallel, on a CPU while samples times
    neurons are at most `WIDEST`. Under ``elegans.backend("reference")``, with mixed memory, in
    types below 32 bits, in graphs (`torch.compile`, `torch.export`) and under `torch.func` steps
    are taken one after another; ``elegans.backend("fused")`` solves all other sequences in
    parallel.

    Values begin uniformly within one by the square root of the number of neurons, as published,
    weights of synapses in the bounds of `elegans.synapses.initial.glorot_bound`.

    References
    ----------
    Farsang, Hasani, Rus, Grosu, "Scaling up liquid-resistance liquid-capacitance networks for
    efficient sequence modeling", NeurIPS 2025.

    Examples
    --------
    >>> cell = LrcSSMCell(16, in_features=8)
    >>> output, state = cell(torch.zeros(2, 8), torch.zeros(2, 16))
    >>> output.shape, state.shape
    (torch.Size([2, 16]), torch.Size([2, 16]))
    >>> cell.wiring
    Wiring(8 sensory, 16 motor; 0 synapses, 128 sensory synapses)
    """

    def __init__(
        self,
        wiring: int | Recipe | Wiring,
        in_features: int | None = None,
        input_mapping: str | None = "affine",
        output_mapping: str | None = "affine",
        ode_unfolds: int = 1,
        *,
        elastance: str = "asymmetric",
        solver: str | Solver = "semi_implicit",
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__(
            _of_inputs(wiring, in_features),
            in_features,
            input_mapping,
            output_mapping,
            ode_unfolds,
            solver,
            **factory_kwargs,
        )
        self.elastance = check_choice("elastance", elastance, ELASTANCES)
        self.sensory = MappedSynapses(
            self._blueprint.sensory,
            _MAPS,
            self.sensory_size,
            self.state_size,
            generator=generator,
            **factory_kwargs,
        )
        sizes = dict.fromkeys(_INPUTS, self.sensory_size) | dict.fromkeys(_NEURONS, self.state_size)
        if elastance == "symmetric":
            sizes["elastance_width"] = self.state_size
        for name, size in sizes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(size, **factory_kwargs)))
        self._draw_neurons(generator)

    @torch.no_grad()
    def _draw_neurons(self, generator: torch.Generator | None) -> None:
        for name in (*_INPUTS, *_NEURONS):
            draw_uniform(self.get_parameter(name), 1 / math.sqrt(self.state_size), generator)
        if self.elastance == "symmetric":
            width = self.get_parameter("elastance_width")
            width.copy_(POSITIVITY["softplus"].inverse(torch.ones_like(width)))

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""
        return self.leak.dtype

    def synapse_sets(self) -> dict[str, MappedSynapses]:
        """Return the synapses by name: those from the inputs, as there are no others."""
        return {"sensory": self.sensory}

    @property
    def wiring(self) -> Wiring:
        """The circuit as it is now."""
        return self._blueprint.with_synapses(_NONE, self.sensory.synapses())

    @property
    def synapse_count(self) -> int:
        """Number of synapses between neurons, 0."""
        return 0

    def sense(self, inputs: Tensor) -> SensedLrcSSM:
        """Return effective parameters and sensory sums for inputs (batch, time, input)."""
        sensory = self.sensory
        total = SynapticSum.of(
            sensory.weights(), *sensory.ends(), self.sensory_size, self.state_size
        )
        gate = torch.sigmoid(self.input_gain * (self.input_mapping(inputs) - self.input_centre))
        forget, update = (self.leak.unsqueeze(-2) + total(gate)).unbind(-2)
        return SensedLrcSSM(forget, update, self._own())

    input_gain: Tensor
    input_centre: Tensor
    leak: Tensor

    def _own(self) -> Own:
        """Return what each neuron makes of itself."""
        width = None
        if self.elastance == "symmetric":
            width = POSITIVITY["softplus"](self._value("elastance_width"))
        return Own(
            self._value("gain"),
            self._value("centre"),
            self._value("forget"),
            self._value("update"),
            self._value("leak_potential"),
            self._value("elastance_gain"),
            self._value("elastance_bias"),
            width,
        )

    def _value(self, name: str) -> Tensor:
        """Return a parameter, or what a parametrization or mask makes of it."""
        value: Tensor = getattr(self, name)
        return value

    def run(self, inputs: Tensor, state: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and states, for all steps at once where that pays; see `Cell.run`."""
        sensed = self.sense(inputs)
        if self._in_parallel(inputs, state, elapsed, sensed.forget):
            moving = sensed.forget, sensed.update
            states = solve(self._advance, state, elapsed, moving, sensed.own.given())
        else:
            states = self.unroll(sensed, state, elapsed)
        return self.read(states), states

    def _advance(
        self, state: Tensor, elapsed: Tensor, forget: Tensor, update: Tensor, *own: Tensor
    ) -> Tensor:
        """Return the states after steps of any samples and times."""
        dynamics = LrcSSMDynamics(forget, update, Own.of(own))
        return self.solver.advance(dynamics, state, elapsed, self.ode_unfolds)

    def _in_parallel(self, inputs: Tensor, *tensors: Tensor) -> bool:
        """Whether a sequence is solved for all steps at once."""
        if not values_are_visible(inputs, *tensors) or in_transform():
            return False  # sizes may be symbols, which comparisons would fix
        path = chosen_path()
        narrow = inputs.is_cuda or len(inputs) * self.state_size <= WIDEST
        pays = inputs.shape[1] >= PARALLEL_FROM and narrow
        return (
            (path == "fused" or (path == "auto" and pays))
            and self.solver.is_elementwise
            and inputs.numel() > 0
            and inputs.dtype in (torch.float32, torch.float64)
            and torch.autograd.forward_ad._current_level < 0
        )

    # --- capabilities; see elegans.layers.capabilities --------------------------------------

    def operations(self) -> dict[str, int]:
        """Return the multiply-adds of a step with each entry of a weight."""
        return {"sensory.weight": 1}

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without wiring and precision."""
        return super().settings() | {"elastance": self.elastance}


def _of_inputs(wiring: int | Recipe | Wiring, input_size: int | None) -> Wiring:
    """Return the wiring, in which inputs alone reach neurons."""
    if isinstance(wiring, int | np.integer) and not isinstance(wiring, bool):
        dense = as_wiring(wiring, input_size)
        return dense.with_synapses(_NONE, dense.sensory)
    built = as_wiring(wiring, input_size)
    if len(built.recurrent):
        raise InputError(
            f"got a wiring with {len(built.recurrent)} synapses between neurons, expected none: a "
            "neuron of LrcSSM reads inputs and itself, so that all time steps are solved at once; "
            "pass a number of neurons, or Wiring(input_size, {'motor': units}, Synapses([], [], "
            "[]), sensory), and put layers one on another with elegans.Stacked to mix neurons"
        )
    return built
