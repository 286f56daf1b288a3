"""The cell of a liquid-resistance liquid-capacitance network."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.checks import Placement, check_choice
from elegans.errors import InputError
from elegans.layers.flow_cell import FlowCell
from elegans.lrc.dynamics import SensedLRC
from elegans.ltc.dynamics import MULTIPLY_ADDS
from elegans.solvers import Solver
from elegans.synapses.constraints import POSITIVITY
from elegans.synapses.elastic import ELASTANCES, ElasticSynapses
from elegans.synapses.initial import Initializer, draw_uniform
from elegans.wiring import Recipe, Wiring

INITIAL_POTENTIAL = (1.0, 2.0)
"""Uniform range of the potentials V, by which all that drives a neuron is multiplied.

Away from 0, where nothing would come through several neurons in a row; signs are those of E.
"""


@checked(InputError)
class LRCCell(FlowCell):
    r"""One step of a liquid-resistance liquid-capacitance circuit.

    .. math::
        \dot x_i &= \epsilon_i \big( V_i \tanh A_i - \sigma(G_i)\, x_i \big), \\
        G_i &= g_i + \sum_{k: j \to i} w_k \sigma(s_k (x_j - m_k)), \quad
        A_i = g_i + \sum_{k: j \to i} w_k \sigma(s_k (x_j - m_k))\, E_k, \\
        \epsilon_i &= \sigma\Big(p_i + \sum_{k: j \to i} o_k x_j\Big)

    The sums run over the synapses between neurons and over those from the inputs. Conductances w,
    gains s, centres m, reversal potentials E, leak g and potential V are those of an LTC;
    conductance and drive are saturated, and in place of a capacitance there is an elastance
    epsilon, one by the capacitance, that follows inputs and states. The input is constant over a
    step, which the solver takes in `ode_unfolds` parts; one is enough as a rule.

    Parameters
    ----------
    wiring, in_features, input_mapping, output_mapping, **factory_kwargs
        As in `WiredCell`.
    ode_unfolds
        Solver steps for each step of the sequence; adaptive solvers choose their own.
    elastance
        ``"asymmetric"``, as above, or ``"symmetric"``, sigma(z + d) - sigma(z - d) with the same z
        and a width d > 0 of each neuron.
    solver
        Name of a solver (`elegans.solvers.solver_names`) or a `Solver`. ``"euler"`` in one part is
        the published step.
    fixed_polarity
        Whether reversal potentials keep their sign while training.
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
    Conductances, leaks and widths are softplus of their parameters. As published, a synapse has a
    drive k of its own in place of w E; both say the same where w > 0. Potentials V begin in
    `INITIAL_POTENTIAL`; the published range, within 0.2 of 0, lets little through a wiring of
    several layers.

    References
    ----------
    Farsang, Neubauer, Grosu, "Liquid resistance liquid capacitance networks", 2024.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> cell = LRCCell(AutoNCP(units=19, output_size=4), in_features=8)
    >>> output, state = cell(torch.zeros(2, 8), torch.zeros(2, 19))
    >>> output.shape, state.shape
    (torch.Size([2, 4]), torch.Size([2, 19]))
    """

    gleak: Tensor
    vleak: Tensor
    elastance_bias: Tensor
    elastance_width: Tensor

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
        fixed_polarity: bool = True,
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
        self.elastance = check_choice("elastance", elastance, ELASTANCES)
        self._initial = Initializer(POSITIVITY["softplus"])
        self.recurrent, self.sensory = (
            ElasticSynapses(
                synapses,
                self._initial,
                sources,
                self.state_size,
                fixed_polarity=fixed_polarity,
                generator=generator,
                **factory_kwargs,
            )
            for synapses, sources in (
                (self._blueprint.recurrent, self.state_size),
                (self._blueprint.sensory, self.sensory_size),
            )
        )
        names = ["gleak", "vleak", "elastance_bias"]
        names += ["elastance_width"] if elastance == "symmetric" else []
        for name in names:
            self.register_parameter(
                name, nn.Parameter(torch.empty(self.state_size, **factory_kwargs))
            )
        self._draw_neurons(generator)

    @torch.no_grad()
    def _draw_neurons(self, generator: torch.Generator | None) -> None:
        like: Placement = {"device": self.gleak.device, "dtype": self.gleak.dtype}
        drawn = self._initial.draw("gleak", self.state_size, generator=generator, **like)
        self.gleak.copy_(drawn)
        low, high = INITIAL_POTENTIAL
        draw_uniform(self.vleak, (high - low) / 2, generator)
        self.vleak.add_((low + high) / 2)
        self.elastance_bias.zero_()
        if self.elastance == "symmetric":
            one = torch.ones_like(self.elastance_width)
            self.elastance_width.copy_(POSITIVITY["softplus"].inverse(one))

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""
        return self.vleak.dtype

    def synapse_sets(self) -> dict[str, ElasticSynapses]:
        """Return the synapses by name."""
        return {"recurrent": self.recurrent, "sensory": self.sensory}

    def sense(self, inputs: Tensor) -> SensedLRC:
        """Return effective parameters and sensory sums for inputs (batch, time, input)."""
        inputs = self.input_mapping(inputs)
        leak = POSITIVITY["softplus"](self.gleak).expand(*inputs.shape[:-1], self.state_size)
        conductance, drive = self.sensory.values().add_to(leak, leak, inputs)
        level = self.elastance_bias + self.sensory.level()(inputs).squeeze(-2)
        recurrent, symmetric = self.recurrent, self.elastance == "symmetric"
        return SensedLRC(
            conductance.unbind(1),
            drive.unbind(1),
            level.unbind(1),
            recurrent.values(),
            recurrent.level(),
            recurrent.elastances(),
            self.vleak,
            POSITIVITY["softplus"](self.elastance_width) if symmetric else None,
        )

    # --- capabilities; see elegans.layers.capabilities --------------------------------------

    def operations(self) -> dict[str, int]:
        """Return the multiply-adds of a step with each entry of a weight, the sigmoid left out."""
        each = MULTIPLY_ADDS + 1  # one more for the elastance
        return {"recurrent.weight": each * self.ode_unfolds, "sensory.weight": each}

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without wiring and precision."""
        return super().settings() | {
            "elastance": self.elastance,
            "fixed_polarity": self.recurrent.fixed_polarity,
        }
