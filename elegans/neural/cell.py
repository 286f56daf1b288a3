"""The cells of neural ODEs and of LTC in the form of its first publication."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.checks import Placement, check_choice
from elegans.errors import InputError
from elegans.layers.flow_cell import FlowCell
from elegans.neural.dynamics import ACTIVATIONS, SensedNeural
from elegans.solvers import Solver
from elegans.synapses.constraints import POSITIVITY
from elegans.synapses.initial import draw_uniform
from elegans.synapses.signed import SignedSynapses
from elegans.wiring import Recipe, Wiring

INITIAL_TAU = (0.5, 2.0)
"""Uniform range of the time constants, in the unit of the elapsed times."""

INITIAL_REVERSAL = 3.0
"""Bound of the potentials A: with f at 1/2 and tau at 1 a state rests at a third of its own."""


@checked(InputError)
class NeuralODECell(FlowCell):
    r"""One step of a neural ODE along the synapses of a wiring.

    .. math::
        \dot x_i = \varphi\Big(\sum_{k: j \to i} w_k x_j + \sum_{k: j \to i} \tilde w_k u_j
            + b_i\Big)

    with one weight, of either sign, of each synapse and a bias of each neuron; the second sum runs
    over sensory synapses, u being the mapped inputs. The input is constant over a step, which the
    solver takes in `ode_unfolds` parts. Nothing draws a state back: it is a sum over all the past.

    Parameters
    ----------
    wiring, in_features, input_mapping, output_mapping, **factory_kwargs
        As in `WiredCell`.
    ode_unfolds
        Solver steps for each step of the sequence; adaptive solvers choose their own.
    activation
        phi: ``"tanh"``, the default, or ``"sigmoid"``.
    solver
        Name of a solver (`elegans.solvers.solver_names`) or a `Solver`. The semi-implicit one takes
        Euler's steps here, as there is no leak.
    generator
        Source of randomness for the initial values; PyTorch's default generator when None.

    Raises
    ------
    InputError
        An argument is not valid, or the wiring was made for another number of inputs.
    SolverError
        There is no such solver.

    References
    ----------
    Chen, Rubanova, Bettencourt, Duvenaud, "Neural ordinary differential equations", NeurIPS 2018.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> cell = NeuralODECell(AutoNCP(units=19, output_size=4), in_features=8)
    >>> output, state = cell(torch.zeros(2, 8), torch.zeros(2, 19))
    >>> output.shape, state.shape
    (torch.Size([2, 4]), torch.Size([2, 19]))
    """

    def __init__(
        self,
        wiring: int | Recipe | Wiring,
        in_features: int | None = None,
        input_mapping: str | None = "affine",
        output_mapping: str | None = "affine",
        ode_unfolds: int = 6,
        *,
        activation: str | None = None,
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
        activation = self._activation if activation is None else activation
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        self.recurrent, self.sensory = (
            SignedSynapses(
                synapses, sources, self.state_size, generator=generator, **factory_kwargs
            )
            for synapses, sources in (
                (self._blueprint.recurrent, self.state_size),
                (self._blueprint.sensory, self.sensory_size),
            )
        )
        for name in self._neurons:
            self.register_parameter(
                name, nn.Parameter(torch.empty(self.state_size, **factory_kwargs))
            )
        self._draw_neurons(generator)

    _activation: ClassVar[str] = "tanh"
    _neurons: ClassVar[tuple[str, ...]] = ("bias",)
    """Parameters of which each neuron has one."""
    bias: Tensor

    @torch.no_grad()
    def _draw_neurons(self, generator: torch.Generator | None) -> None:
        self.bias.zero_()

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""
        return self.bias.dtype

    def synapse_sets(self) -> dict[str, SignedSynapses]:
        """Return the synapses by name."""
        return {"recurrent": self.recurrent, "sensory": self.sensory}

    def _liquid(self) -> tuple[Tensor, Tensor] | None:
        """Return time constants and potentials A, where there are any."""
        return None

    def sense(self, inputs: Tensor) -> SensedNeural:
        """Return effective parameters and sensory sums for inputs (batch, time, input)."""
        arriving = self.sensory.total()(self.input_mapping(inputs)).squeeze(-2) + self.bias
        recurrent = self.recurrent.total()
        return SensedNeural(arriving.unbind(1), recurrent, self.activation, self._liquid())

    # --- capabilities; see elegans.layers.capabilities --------------------------------------

    def operations(self) -> dict[str, int]:
        """Return the multiply-adds of a step with each entry of a weight."""
        return {"recurrent.weight": self.ode_unfolds, "sensory.weight": 1}

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without wiring and precision."""
        return super().settings() | {"activation": self.activation}


@checked(InputError)
class NeuralLTCCell(NeuralODECell):
    r"""One step of a liquid time-constant network as it was first published.

    .. math::
        \dot x_i = -\Big(\frac{1}{\tau_i} + f_i\Big) x_i + f_i A_i, \qquad
        f_i = \varphi\Big(\sum_{k: j \to i} w_k x_j + \sum_{k: j \to i} \tilde w_k u_j + b_i\Big)

    A network f of inputs and states opens the conductance of each neuron, with a time constant tau
    and a potential A that are learned; `elegans.LTCCell` has a conductance for each synapse in
    place of f, as in ``ncps`` and in neurons. A semi-implicit step of length h is the fused solver
    of the paper, x⁺ = (x + h f A) / (1 + h (1/tau + f)).

    With ``"sigmoid"`` a neuron's time constant lies between tau / (1 + tau) and tau, and its state
    between 0 and A once it is there (theorems 1 and 2 of the paper).

    Parameters
    ----------
    wiring, in_features, input_mapping, output_mapping, **factory_kwargs
        As in `WiredCell`.
    ode_unfolds, solver, generator
        As in `NeuralODECell`.
    activation
        phi: ``"sigmoid"``, the default, or ``"tanh"``, which may let states grow without bound.

    Raises
    ------
    InputError, SolverError
        As in `NeuralODECell`.

    References
    ----------
    Hasani, Lechner, Amini, Rus, Grosu, "Liquid time-constant networks", AAAI 2021, equation 1 and
    algorithm 1.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> cell = NeuralLTCCell(AutoNCP(units=19, output_size=4), in_features=8)
    >>> least, largest = cell.time_constants()
    >>> bool((least < largest).all())
    True
    """

    _activation = "sigmoid"
    _neurons = ("bias", "tau", "reversal")
    tau: Tensor
    reversal: Tensor

    @torch.no_grad()
    def _draw_neurons(self, generator: torch.Generator | None) -> None:
        super()._draw_neurons(generator)
        if self.tau.is_meta:
            return
        low, high = INITIAL_TAU
        home = torch.device("cpu") if generator is None else generator.device
        tau = torch.rand(self.state_size, generator=generator, device=home) * (high - low) + low
        self.tau.copy_(POSITIVITY["softplus"].inverse(tau))
        draw_uniform(self.reversal, INITIAL_REVERSAL, generator)

    def _liquid(self) -> tuple[Tensor, Tensor]:
        return POSITIVITY["softplus"](self.tau), self.reversal

    @torch.no_grad()
    def time_constants(self) -> tuple[Tensor, Tensor] | None:
        """Return the least and the largest time constant of each neuron; None with ``"tanh"``."""
        if self.activation == "tanh":
            return None
        tau = POSITIVITY["softplus"](self.tau)
        return tau / (1 + tau), tau
