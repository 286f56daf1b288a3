"""The liquid time-constant cell."""

from __future__ import annotations

import sys
from numbers import Real
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from elegans.arguments import checked, shown
from elegans.checks import Placement
from elegans.errors import InputError
from elegans.hooks import is_plain
from elegans.layers.capabilities import JointCell
from elegans.layers.execution import choose_fused, memory_may_go
from elegans.layers.flow_cell import FlowCell
from elegans.ltc.dynamics import MULTIPLY_ADDS, LiquidDynamics, Sensed, effective, run_fused, sense
from elegans.ltc.joint import JointLTCCell
from elegans.solvers import Solver
from elegans.solvers.circuit import Circuit
from elegans.synapses.constraints import POSITIVITY, SMALLEST_CAPACITANCE
from elegans.synapses.electrical import ElectricalSynapses
from elegans.synapses.initial import Initializer
from elegans.synapses.liquid import LiquidSynapses, SynapseValues
from elegans.synapses.plain import PlainStep, plain
from elegans.wiring import Recipe, Wiring


@checked(InputError)
class LTCCell(FlowCell):
    r"""One step of a liquid time-constant circuit.

    .. math::
        C_i \dot x_i = g_i (V_i - x_i) - \epsilon x_i
            + \sum_{k: j \to i} w_k \sigma(s_k (x_j - m_k)) (E_k - x_i)
            + \sum_{k: j \to i} \tilde w_k \sigma(\tilde s_k (u_j - \tilde m_k)) (\tilde E_k - x_i)
            + \sum_{k: i - j} \hat w_k (x_j - x_i)

    with capacitance C, leak conductance g and potential V, and for each synapse a conductance
    w, gain s, centre m and reversal potential E; the second sum runs over sensory synapses, the
    third over the gap junctions of the wiring, if it has any (see `elegans.wiring.GapJunctions`).
    The input is constant over a step, which the solver takes in `ode_unfolds` parts.

    Parameters
    ----------
    wiring, in_features, input_mapping, output_mapping, **factory_kwargs
        As in `WiredCell`.
    ode_unfolds
        Solver steps for each step of the sequence; adaptive solvers choose their own.
    epsilon
        A small conductance towards potential 0 at every neuron, as ``ncps`` adds it to the
        denominator. With 0 a neuron needs a leak or an open synapse.
    implicit_param_constraints
        True: conductances and capacitances are softplus of their parameters. False: they are
        the parameters clipped at 0; call `apply_weight_constraints` after optimiser steps. The
        default is False in this class only, whose scripts come from ``ncps``, where it is False,
        too; it is True for `LTC`, as in ``ncps``, and for every other layer and cell.
    solver
        Name of a solver (`elegans.solvers.solver_names`) or a `Solver`.
    fixed_polarity
        Whether reversal potentials keep their sign while training.
    initialization
        ``"effective"`` draws the values themselves from `elegans.synapses.initial.INITIAL_RANGES`,
        ``"ncps"`` the parameters under the softplus.
    generator
        Source of randomness for the initial values; PyTorch's default generator when None.

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

    has_gap_junctions = True

    gleak: Tensor
    vleak: Tensor
    cm: Tensor
    layer_sizes: Tensor

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
        self.epsilon = _checked_epsilon(epsilon)
        self.implicit_param_constraints = implicit_param_constraints
        self._initial = Initializer(POSITIVITY[self._constraint], initialization)
        for name in ("gleak", "vleak", "cm"):
            self.register_parameter(
                name, nn.Parameter(torch.empty(self.state_size, **factory_kwargs))
            )
        self.recurrent, self.sensory = (
            LiquidSynapses(
                synapses,
                self._initial,
                fixed_polarity=fixed_polarity,
                generator=generator,
                **factory_kwargs,
            )
            for synapses in (self._blueprint.recurrent, self._blueprint.sensory)
        )
        self.electrical: ElectricalSynapses | None = None
        if len(self._blueprint.electrical):
            self.electrical = ElectricalSynapses(
                self._blueprint.electrical, self._initial, generator=generator, **factory_kwargs
            )
        self._draw_neurons(generator)

    @torch.no_grad()
    def _draw_neurons(self, generator: torch.Generator | None) -> None:
        for name in ("gleak", "vleak", "cm"):
            parameter = getattr(self, name)
            like: Placement = {"device": parameter.device, "dtype": parameter.dtype}
            parameter.copy_(self._initial.draw(name, self.state_size, generator=generator, **like))

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""
        return self.vleak.dtype

    def synapse_sets(self) -> dict[str, LiquidSynapses | ElectricalSynapses]:
        """Return the synapses by name; ``"electrical"`` where the wiring has gap junctions."""
        sets: dict[str, LiquidSynapses | ElectricalSynapses]
        sets = {"recurrent": self.recurrent, "sensory": self.sensory}
        return sets if self.electrical is None else sets | {"electrical": self.electrical}

    def sense(self, inputs: Tensor) -> Sensed:
        """Return effective parameters and sensory sums for inputs (batch, time, input)."""
        return sense(*self.circuit(inputs))

    @property
    def _constraint(self) -> str:
        return "softplus" if self.implicit_param_constraints else "clip"

    def circuit(self, inputs: Tensor) -> tuple[Tensor, Circuit]:
        """Return inputs and parameters as kernels take them.

        The parameters are free ones or, where hooks or masks take part, effective ones; inputs are
        mapped already in that case. Outputs that are not the first neurons are left out.
        """
        mapping, junctions = self.input_mapping, self.electrical
        reads = self.output_mapping if self.output_index is None else None
        circuit = Circuit(
            mapping.weight,
            mapping.bias,
            None if reads is None else reads.weight,
            None if reads is None else reads.bias,
            self.recurrent.slots(),
            self.sensory.slots(),
            self.gleak,
            self.vleak,
            self.cm,
            0 if reads is None else self.motor_size,
            self._constraint,
            SMALLEST_CAPACITANCE,
            self.epsilon,
            None if junctions is None else junctions.slots(),
        )
        mappings = is_plain(mapping) and is_plain(self.output_mapping)
        if mappings and all(synapses.is_plain() for synapses in self.synapse_sets().values()):
            return inputs, circuit
        called = effective(circuit)._replace(
            recurrent=self.recurrent.values().slots(),
            sensory=self.sensory.values().slots(),
            electrical=None if junctions is None else junctions.values(),
        )
        return mapping(inputs), called

    @torch.no_grad()
    def time_constants(self) -> tuple[Tensor, Tensor]:
        r"""Return the least and the largest time constant of each neuron in any state, (neuron,).

        .. math:: \frac{C_i}{g_i + \varepsilon + \sum_k w_k} \le \tau_i \le
                  \frac{C_i}{g_i + \varepsilon}

        The gates of all its synapses are open at the one end and closed at the other. Gap junctions
        are among the w, and, unless they rectify, add to the leak g at the other end.

        Examples
        --------
        >>> from elegans.wiring import FullyConnected
        >>> least, largest = LTCCell(FullyConnected(4), 2).time_constants()
        >>> bool((least < largest).all()), least.shape
        (True, torch.Size([4]))
        """
        circuit = effective(self.circuit(self.vleak.new_zeros(1, 1, self.sensory_size))[1])
        closed = circuit.gleak + circuit.epsilon
        opened = closed
        for slots in (circuit.recurrent, circuit.sensory):
            values = SynapseValues.of(slots)
            opened = opened.index_add(0, values.target, values.weight)
        if circuit.electrical is not None:
            one, other, rectifying, weight = circuit.electrical
            for end in (one, other):
                opened = opened.index_add(0, end, weight)
                closed = closed.index_add(0, end, torch.where(rectifying, 0.0, weight))
        return circuit.cm / opened, circuit.cm / closed

    def dynamics(self, inputs: Tensor) -> LiquidDynamics:
        """Return the differential equation under constant inputs, shape (batch, input)."""
        return self.sense(inputs.unsqueeze(1)).at(0)

    def run(self, inputs: Tensor, state: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and states, by a kernel where one fits; see `Cell.run`."""
        inputs, circuit = self.circuit(inputs)
        tensors = (inputs, state, elapsed, *circuit.parameters)
        if not choose_fused(self.solver, *tensors):
            states = self.unroll(sense(inputs, circuit), state, elapsed)
            return self.read(states), states
        if memory_may_go():
            tensors = tuple(p if p is None else p.clone() for p in circuit.parameters)
            circuit = circuit.holding(tensors, circuit.connections)
        output, states = run_fused(inputs, state, elapsed, circuit, self.solver, self.ode_unfolds)
        by_kernel = self.output_index is None and circuit.positivity != "identity"
        return (output if by_kernel else self.read(states)), states

    def apply_weight_constraints(self) -> None:
        """Clip parameters at zero after an optimiser step; needed without implicit constraints."""
        if not self.implicit_param_constraints:
            for synapses in self.synapse_sets().values():
                synapses.apply_weight_constraints()
            with torch.no_grad():
                self.gleak.clamp_(min=0.0)
                self.cm.clamp_(min=SMALLEST_CAPACITANCE)

    # --- capabilities; see elegans.layers.capabilities --------------------------------------

    def kernel_facts(self) -> tuple[Any, ...]:
        """Return what a kernel for single steps relies on besides tensors and solver."""
        modules: Any = self._modules  # without nn.Module's search: this runs at every step
        recurrent, sensory = modules["recurrent"], modules["sensory"]
        junctions = modules.get("electrical")
        return (
            self.epsilon,
            self.implicit_param_constraints,
            recurrent.fixed_polarity,
            recurrent._candidates,
            sensory.fixed_polarity,
            sensory._candidates,
            junctions is None or junctions._candidates,
        )

    def rebuilt(self, wiring: Wiring) -> LTCCell:
        """Return a cell of these settings on another wiring, in the same place."""
        return LTCCell(
            wiring,
            **self.settings(),
            initialization=self._initial.initialization,
            generator=torch.Generator(),  # the global one shall not move for values to be replaced
            device=self.vleak.device,
            dtype=self.vleak.dtype,
        )

    def joint(self, members: int, stack: nn.Module) -> JointCell:
        """Return the cells of many members as one; see `elegans.layers.capabilities`."""
        return JointLTCCell(self, members, stack)

    @torch.no_grad()
    def plain_step(self) -> PlainStep:
        """Return what a step computes; see `elegans.synapses.plain`."""
        circuit = effective(self.circuit(self.vleak.new_zeros(1, 1, self.sensory_size))[1])
        leak = plain(circuit.gleak)
        neurons = {
            "capacitance": plain(circuit.cm),
            "conductance": leak + circuit.epsilon,
            "drive": leak * plain(circuit.vleak),
        }
        synapses = {
            name: slots.plain(self.state_size) for name, slots in self.synapse_sets().items()
        }
        return PlainStep("liquid", neurons, synapses)

    def lower_bounds(self) -> dict[str, float]:
        """Return the least value of each clipped parameter by its name."""
        if self.implicit_param_constraints:
            return {}
        weights = [f"{name}.weight" for name in self.synapse_sets()]
        positive = dict.fromkeys([*weights, "gleak"], 0.0)
        return positive | {"cm": SMALLEST_CAPACITANCE}

    def operations(self) -> dict[str, int]:
        """Return the multiply-adds of a step with each entry of a weight, the sigmoid left out."""
        counts = {
            "recurrent.weight": MULTIPLY_ADDS * self.ode_unfolds,
            "sensory.weight": MULTIPLY_ADDS,
        }
        if self.electrical is not None:  # one for each end: its current, and its conductance added
            counts["electrical.weight"] = 2 * self.ode_unfolds
        return counts

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without wiring and precision."""
        return super().settings() | {
            "epsilon": self.epsilon,
            "implicit_param_constraints": self.implicit_param_constraints,
            "fixed_polarity": self.recurrent.fixed_polarity,
        }


def _checked_epsilon(epsilon: Any) -> float:
    """Return `epsilon`; raise `InputError` unless it is a finite number of at least 0."""
    is_number = isinstance(epsilon, Real) and not isinstance(epsilon, bool)
    if not is_number or not 0 <= epsilon <= sys.float_info.max:
        raise InputError(f"epsilon must be a finite number of at least 0, got {shown(epsilon)}")
    return float(epsilon)
