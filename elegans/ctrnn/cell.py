"""The cell of a continuous-time recurrent neural network."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.checks import Placement, check_choice
from elegans.ctrnn.dynamics import ACTIVATIONS, SensedCTRNN
from elegans.errors import InputError
from elegans.layers.flow_cell import FlowCell
from elegans.solvers import Solver
from elegans.synapses.constraints import POSITIVITY, SMALLEST_CAPACITANCE, Positivity
from elegans.synapses.plain import PlainStep, plain
from elegans.synapses.signed import SignedSynapses
from elegans.wiring import Recipe, Wiring

INITIAL_TAU = (0.5, 2.0)
"""Uniform range of the time constants, in the unit of the elapsed times.

Around the length of a step, 1 by default: much faster neurons forget, much slower ones do not
follow.
"""

_GAIN = {"sigmoid": 2.0, "tanh": 1.0}  # 4 would undo the sigmoid's steepest slope, but saturates


@checked(InputError)
class CTRNNCell(FlowCell):
    r"""One step of a continuous-time recurrent neural network.

    .. math::
        \tau_i \dot x_i = -x_i + \sum_{k: j \to i} w_k \varphi(x_j + \theta_j)
            + \sum_{k: j \to i} \tilde w_k u_j

    with time constant tau and bias theta of each neuron and one weight, of either sign, of each
    synapse; the second sum runs over sensory synapses, u being the mapped inputs. The input is
    constant over a step, which the solver takes in `ode_unfolds` parts. Work and parameters are
    proportional to neurons and synapses.

    Weights are signed and may change sign while training; `wiring` shows the signs as they are
    now.

    Parameters
    ----------
    wiring, in_features, input_mapping, output_mapping, **factory_kwargs
        As in `WiredCell`.
    ode_unfolds
        Solver steps for each step of the sequence; adaptive solvers choose their own.
    activation
        The firing rate phi: ``"sigmoid"`` or ``"tanh"``.
    implicit_param_constraints
        True: time constants are softplus of their parameters. False: they are the parameters
        clipped at 1e-6; call `apply_weight_constraints` after optimiser steps.
    solver
        Name of a solver (`elegans.solvers.solver_names`) or a `Solver`.
    generator
        Source of randomness for the initial values; PyTorch's default generator when None.

    Raises
    ------
    InputError
        An argument is not valid, or the wiring was made for another number of inputs.
    SolverError
        There is no such solver.

    Notes
    -----
    Weights begin in the bounds of `elegans.synapses.initial.glorot_bound`, recurrent ones twice as
    wide for the sigmoid, which is flatter. A sigmoid's bias begins where its neuron's inputs are
    centred, theta_i = - (sum of the weights onto i) / 2, a tanh's at 0. The network then rests at
    x = -theta without input, and an affine output mapping begins with the bias that makes this the
    output 0.

    References
    ----------
    Beer, "On the dynamics of small continuous-time recurrent neural networks", Adaptive Behavior
    3 (1995) 469-509. Mathayomchan, Beer, "Center-crossing recurrent neural networks for the
    evolution of rhythmic behavior", Neural Computation 14 (2002) 2043-2051, for the biases.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> cell = CTRNNCell(AutoNCP(units=19, output_size=4), in_features=8)
    >>> output, state = cell(torch.zeros(2, 8), torch.zeros(2, 19))
    >>> output.shape, state.shape
    (torch.Size([2, 4]), torch.Size([2, 19]))
    >>> sum(p.numel() for p in cell.parameters())  # 45 + 35 synapses, 2 * 19, 2 * 8 + 2 * 4
    142
    """

    def __init__(
        self,
        wiring: int | Recipe | Wiring,
        in_features: int | None = None,
        input_mapping: str | None = "affine",
        output_mapping: str | None = "affine",
        ode_unfolds: int = 6,
        *,
        activation: str = "sigmoid",
        implicit_param_constraints: bool = True,
        solver: str | Solver = "semi_implicit",
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__(
            wiring,
            in_features,
            input_mapping,
            output_mapping,
            ode_unfolds,
            solver,
            **factory_kwargs,
        )
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        self.implicit_param_constraints = implicit_param_constraints
        self.recurrent, self.sensory = (
            SignedSynapses(
                synapses, sources, self.state_size, gain=gain, generator=generator, **factory_kwargs
            )
            for synapses, sources, gain in (
                (self._blueprint.recurrent, self.state_size, _GAIN[activation]),
                (self._blueprint.sensory, self.sensory_size, 1.0),
            )
        )
        self.tau = nn.Parameter(torch.empty(self.state_size, **factory_kwargs))
        self.bias = nn.Parameter(torch.empty(self.state_size, **factory_kwargs))
        self._draw_neurons(generator)

    @torch.no_grad()
    def _draw_neurons(self, generator: torch.Generator | None) -> None:
        if self.tau.is_meta:
            return
        low, high = INITIAL_TAU
        home = torch.device("cpu") if generator is None else generator.device
        tau = torch.rand(self.state_size, generator=generator, device=home)
        self.tau.copy_(self._positivity.inverse(tau * (high - low) + low))
        self.bias.zero_()
        if self.activation == "sigmoid":
            self.bias.index_add_(0, self.recurrent.target, self.recurrent.weight, alpha=-0.5)
        if self.output_mapping.bias is not None:
            self.output_mapping.bias.copy_(self.motor_states(self.bias))

    @property
    def _positivity(self) -> Positivity:
        return POSITIVITY["softplus" if self.implicit_param_constraints else "clip"]

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""
        return self.bias.dtype

    def synapse_sets(self) -> dict[str, SignedSynapses]:
        """Return the synapses by name."""
        return {"recurrent": self.recurrent, "sensory": self.sensory}

    def sense(self, inputs: Tensor) -> SensedCTRNN:
        """Return effective parameters and sensory sums for inputs (batch, time, input)."""
        arriving = self.sensory.total()(self.input_mapping(inputs)).squeeze(-2)
        return SensedCTRNN(
            self._positivity(self.tau, floor=SMALLEST_CAPACITANCE),
            self.bias,
            arriving.unbind(1),
            self.recurrent.total(),
            self.activation,
        )

    @torch.no_grad()
    def time_constants(self) -> tuple[Tensor, Tensor]:
        """Return the time constant of each neuron, (neuron,), twice: it is that of any state."""
        tau = self._positivity(self.tau, floor=SMALLEST_CAPACITANCE)
        return tau, tau

    @torch.no_grad()
    def apply_weight_constraints(self) -> None:
        """Clip time constants after an optimiser step; needed without implicit constraints."""
        for name, least in self.lower_bounds().items():
            self.get_parameter(name).clamp_(min=least)

    # --- capabilities; see elegans.layers.capabilities --------------------------------------

    @torch.no_grad()
    def plain_step(self) -> PlainStep:
        """Return what a step computes; see `elegans.synapses.plain`."""
        return PlainStep(
            "rates",
            {
                "capacitance": plain(self._positivity(self.tau, floor=SMALLEST_CAPACITANCE)),
                "bias": plain(self.bias),
            },
            {name: slots.plain(self.state_size) for name, slots in self.synapse_sets().items()},
            choices={"activation": self.activation},
        )

    def lower_bounds(self) -> dict[str, float]:
        """Return the least value of each clipped parameter by its name."""
        return {} if self.implicit_param_constraints else {"tau": SMALLEST_CAPACITANCE}

    def operations(self) -> dict[str, int]:
        """Return the multiply-adds of a step with each entry of a weight."""
        return {"recurrent.weight": self.ode_unfolds, "sensory.weight": 1}

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without wiring and precision."""
        return super().settings() | {
            "activation": self.activation,
            "implicit_param_constraints": self.implicit_param_constraints,
        }
