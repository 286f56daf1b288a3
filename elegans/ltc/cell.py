"""The liquid time-constant cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from elegans.checks import Placement, as_computed, check_elapsed, check_finite, check_keywords
from elegans.errors import InputError
from elegans.hooks import is_plain
from elegans.layers.capabilities import JointCell
from elegans.layers.cell import Cell, as_wiring
from elegans.layers.execution import choose_fused
from elegans.layers.mapping import ElementwiseMapping
from elegans.ltc.dynamics import MULTIPLY_ADDS, LiquidDynamics, Sensed, effective, sense
from elegans.ltc.fused import run_fused
from elegans.ltc.joint import JointLTCCell
from elegans.solvers import Solver, get_solver
from elegans.solvers.circuit import Circuit
from elegans.synapses.constraints import POSITIVITY, SMALLEST_CAPACITANCE
from elegans.synapses.initial import Initializer
from elegans.synapses.liquid import SynapseParameters
from elegans.wiring import Recipe, Wiring


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
    **factory_kwargs
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
        super().__init__()
        check_keywords(type(self), factory_kwargs)
        self._blueprint = as_wiring(wiring, in_features)
        _check_options(ode_unfolds, epsilon, factory_kwargs.get("dtype"))
        self.ode_unfolds = int(ode_unfolds)
        self.epsilon = float(epsilon)
        self.implicit_param_constraints = implicit_param_constraints
        self.solver = get_solver(solver)
        self._initial = Initializer(POSITIVITY[self._constraint], initialization)
        for name in ("gleak", "vleak", "cm"):
            self.register_parameter(
                name, nn.Parameter(torch.empty(self.state_size, **factory_kwargs))
            )
        self.recurrent, self.sensory = (
            SynapseParameters(
                synapses,
                self._initial,
                fixed_polarity=fixed_polarity,
                generator=generator,
                **factory_kwargs,
            )
            for synapses in (self._blueprint.recurrent, self._blueprint.sensory)
        )
        self.input_mapping = ElementwiseMapping(input_mapping, self.sensory_size, **factory_kwargs)
        self.output_mapping = ElementwiseMapping(output_mapping, self.motor_size, **factory_kwargs)
        # Travels with the state, so that one of a circuit with other layers is recognised.
        sizes = torch.tensor(
            list(self._blueprint.layers.values()), device=factory_kwargs.get("device")
        )
        self.register_buffer("layer_sizes", sizes)
        self._draw_neurons(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew and return to the wiring that the cell was made with.

        For a cell made on the meta device: ``cell.to_empty(device=...)``, then this.
        """
        for name, synapses in self.synapse_sets().items():
            synapses.reset_parameters(getattr(self._blueprint, name), generator)
        self.input_mapping.reset_parameters()
        self.output_mapping.reset_parameters()
        with torch.no_grad():
            self.layer_sizes.copy_(torch.tensor(list(self._blueprint.layers.values())))
        self._draw_neurons(generator)

    @torch.no_grad()
    def _draw_neurons(self, generator: torch.Generator | None) -> None:
        for name in ("gleak", "vleak", "cm"):
            parameter = getattr(self, name)
            factory_kwargs: Placement = {"device": parameter.device, "dtype": parameter.dtype}
            parameter.copy_(
                self._initial.draw(name, self.state_size, generator=generator, **factory_kwargs)
            )

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

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the cell computes in."""
        return self.vleak.dtype

    @property
    def synapse_count(self) -> int:
        """Number of open synapses between neurons."""
        return self.recurrent.open_count

    @property
    def sensory_synapse_count(self) -> int:
        """Number of open synapses from the inputs."""
        return self.sensory.open_count

    def synapse_sets(self) -> dict[str, SynapseParameters]:
        """Return the trainable synapses by kind."""
        return {"recurrent": self.recurrent, "sensory": self.sensory}

    def sense(self, inputs: Tensor) -> Sensed:
        """Return effective parameters and sensory sums for inputs (batch, time, input)."""
        return sense(*self.circuit(inputs))

    @property
    def _constraint(self) -> str:
        return "softplus" if self.implicit_param_constraints else "clip"

    def circuit(self, inputs: Tensor) -> tuple[Tensor, Circuit]:
        """Return inputs and parameters as kernels take them.

        The parameters are free ones or, where hooks or masks take part, effective ones; inputs are
        mapped already in that case.
        """
        mapping, sets = self.input_mapping, (self.recurrent, self.sensory)
        circuit = Circuit(
            mapping.weight,
            mapping.bias,
            self.output_mapping.weight,
            self.output_mapping.bias,
            self.recurrent.slots(),
            self.sensory.slots(),
            self.gleak,
            self.vleak,
            self.cm,
            self.motor_size,
            self._constraint,
            SMALLEST_CAPACITANCE,
            self.epsilon,
        )
        mappings = is_plain(mapping) and is_plain(self.output_mapping)
        if mappings and all(synapses.is_plain() for synapses in sets):
            return inputs, circuit
        recurrent, sensory = (synapses.values().slots() for synapses in sets)
        called = effective(circuit)._replace(recurrent=recurrent, sensory=sensory)
        return mapping(inputs), called

    def dynamics(self, inputs: Tensor) -> LiquidDynamics:
        """Return the differential equation under constant inputs, shape (batch, input)."""
        return self.sense(inputs.unsqueeze(1)).at(0)

    def step(self, sensed: Sensed, time: int, state: Tensor, elapsed: Tensor) -> Tensor:
        """Return the state (batch, neuron) after step `time`, lasting `elapsed` (batch, 1)."""
        return self.solver.advance(sensed.at(time), state, elapsed, self.ode_unfolds)

    def run(self, inputs: Tensor, state: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (batch, time, output) and states (batch, time, neuron); see `Cell.run`."""
        return self._run(inputs, state, elapsed, self.unroll)

    def _run(
        self,
        inputs: Tensor,
        state: Tensor,
        elapsed: Tensor,
        reference: Callable[[Sensed, Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Return outputs and states by a kernel if one fits, or else by way of `reference`."""
        inputs, circuit = self.circuit(inputs)
        tensors = (inputs, state, elapsed, *circuit.parameters)
        if not choose_fused(self.solver, *tensors):
            states = reference(sense(inputs, circuit), state, elapsed)
            return self.read(states), states
        output, states = run_fused(inputs, state, elapsed, circuit, self.solver, self.ode_unfolds)
        return (self.read(states) if circuit.positivity == "identity" else output), states

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

        Raises
        ------
        InputError
            A shape, type or value is not valid.
        SolveError
            An adaptive solver failed.
        """
        x = as_computed("inputs", inputs, self.dtype)
        state = as_computed("states", states, self.dtype)
        for name, value, size in (
            ("inputs", x, self.sensory_size),
            ("states", state, self.state_size),
        ):
            if value.dim() != 2 or value.shape[1] != size:
                raise InputError(
                    f"{name} has shape {tuple(value.shape)}, expected (batch, {size}); add an axis "
                    "for a single sample with unsqueeze(0)"
                )
        if len(x) != len(state):
            raise InputError(
                f"got {len(x)} inputs and {len(state)} states, expected one state each"
            )
        elapsed = torch.as_tensor(elapsed_time, dtype=x.dtype, device=x.device)
        if tuple(elapsed.shape) not in ((), (len(x),), (len(x), 1)):
            raise InputError(
                f"elapsed_time must be a number or one a sample, shape ({len(x)},), got shape "
                f"{tuple(elapsed.shape)}"
            )
        elapsed = elapsed.expand(len(x)) if elapsed.dim() == 0 else elapsed.reshape(len(x))
        check_finite("inputs", x, ("batch", "feature"))
        check_elapsed("elapsed_time", elapsed, ("batch",))
        output, after = self._run(x.unsqueeze(1), state, elapsed.unsqueeze(1), self._advance)
        return output[:, 0], after[:, 0]

    def _advance(self, sensed: Sensed, state: Tensor, elapsed: Tensor) -> Tensor:
        """Return the states (batch, 1, neuron) after the one step of `sensed`."""
        return self.step(sensed, 0, state, elapsed).unsqueeze(1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Everything is checked before anything is copied.
        sizes = state_dict.get(prefix + "layer_sizes")
        if (
            sizes is not None
            and not sizes.is_meta
            and sizes.tolist() != [*self._blueprint.layers.values()]
        ):
            raise InputError(
                f"the saved state is of layers of {sizes.tolist()} neurons, motor first, this "
                f"circuit has {dict(self._blueprint.layers)}; build the layer from the wiring the "
                "state was saved with"
            )
        for name, synapses in self.synapse_sets().items():
            sources = self.sensory_size if name == "sensory" else self.state_size
            synapses.check_state(state_dict, f"{prefix}{name}.", sources, self.state_size)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def apply_weight_constraints(self) -> None:
        """Clip parameters at zero after an optimiser step; needed without implicit constraints."""
        if not self.implicit_param_constraints:
            self.recurrent.apply_weight_constraints()
            self.sensory.apply_weight_constraints()
            with torch.no_grad():
                self.gleak.clamp_(min=0.0)
                self.cm.clamp_(min=SMALLEST_CAPACITANCE)

    # --- what tools ask for; see elegans.layers.capabilities --------------------------------

    def kernel_facts(self) -> tuple[Any, ...]:
        """Return what a kernel for single steps relies on besides tensors and solver."""
        modules: Any = self._modules  # without nn.Module's search: this runs at every step
        recurrent, sensory = modules["recurrent"], modules["sensory"]
        return (
            self.epsilon,
            self.implicit_param_constraints,
            recurrent.fixed_polarity,
            recurrent._candidates,
            sensory.fixed_polarity,
            sensory._candidates,
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

    def lower_bounds(self) -> dict[str, float]:
        """Return the least value of each clipped parameter by its name."""
        if self.implicit_param_constraints:
            return {}
        positive = dict.fromkeys(("recurrent.weight", "sensory.weight", "gleak"), 0.0)
        return positive | {"cm": SMALLEST_CAPACITANCE}

    def operations(self) -> dict[str, int]:
        """Return the multiply-adds of a step with each entry of a weight, the sigmoid left out."""
        return {
            "recurrent.weight": MULTIPLY_ADDS * self.ode_unfolds,
            "sensory.weight": MULTIPLY_ADDS,
        }

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without wiring and precision."""
        return {
            "input_mapping": self.input_mapping.kind,
            "output_mapping": self.output_mapping.kind,
            "ode_unfolds": self.ode_unfolds,
            "epsilon": self.epsilon,
            "implicit_param_constraints": self.implicit_param_constraints,
            "solver": self.solver,
            "fixed_polarity": self.recurrent.fixed_polarity,
        }


def _check_options(ode_unfolds: Any, epsilon: Any, dtype: torch.dtype | None) -> None:
    """Raise `InputError` unless the numbers of a cell are valid."""
    whole = isinstance(ode_unfolds, int | np.integer) and not isinstance(ode_unfolds, bool)
    if not whole or ode_unfolds < 1:
        raise InputError(f"ode_unfolds must be an integer of at least 1, got {ode_unfolds!r}")
    if not isinstance(epsilon, Real) or not 0 <= float(epsilon) < math.inf:
        raise InputError(f"epsilon must be a finite number of at least 0, got {epsilon!r}")
    if dtype is not None and not dtype.is_floating_point:
        raise InputError(f"dtype must be a floating type such as torch.float32, got {dtype}")
