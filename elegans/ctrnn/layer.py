"""Continuous-time recurrent neural networks over sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from elegans.checks import Placement, check_keywords
from elegans.ctrnn.cell import CTRNNCell
from elegans.layers.registry import register_layer
from elegans.layers.sequence_layer import SequenceLayer
from elegans.solvers import Solver
from elegans.synapses.signed import SignedSynapses
from elegans.wiring import Recipe, Wiring

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@register_layer
class CTRNN(SequenceLayer):
    """A continuous-time recurrent neural network: `CTRNNCell` in the shape of ``nn.LSTM``.

    See `CTRNNCell` for the equation and `SequenceLayer.forward` for the call.

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
    input_mapping, output_mapping, ode_unfolds
        As in `CTRNNCell`.
    activation, implicit_param_constraints, solver, generator, **factory_kwargs
        As in `CTRNNCell`.

    Raises
    ------
    InputError, SolverError, WiringError
        As in `CTRNNCell`.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> model = CTRNN(8, AutoNCP(units=19, output_size=4))
    >>> output, state = model(torch.zeros(2, 50, 8))
    >>> output.shape, state.shape
    (torch.Size([2, 50, 4]), torch.Size([2, 19]))
    >>> model.synapse_count, model.sensory_synapse_count
    (45, 35)
    """

    cell: CTRNNCell

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
        *,
        activation: str = "sigmoid",
        implicit_param_constraints: bool = True,
        solver: str | Solver = "semi_implicit",
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        check_keywords(type(self), factory_kwargs)
        cell = CTRNNCell(
            units,
            input_size,
            input_mapping,
            output_mapping,
            ode_unfolds,
            activation=activation,
            implicit_param_constraints=implicit_param_constraints,
            solver=solver,
            generator=generator,
            **factory_kwargs,
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            batch_first=batch_first,
            mixed_memory=mixed_memory,
            generator=generator,
        )

    def apply_weight_constraints(self) -> None:
        """Clip time constants after an optimiser step; needed without implicit constraints."""
        self.cell.apply_weight_constraints()

    def draw(self, **options: Any) -> Axes:
        """Draw the circuit as it is now, lines as wide as weights; see `Wiring.draw`."""
        widths = {
            "weights": magnitudes(self.cell.recurrent),
            "sensory_weights": magnitudes(self.cell.sensory),
        }
        return self.wiring.draw(**(widths | options))


def magnitudes(synapses: SignedSynapses) -> NDArray[np.float64]:
    """Return the size of each weight in the order of the wiring, shape (synapse,)."""
    weight = synapses.weights().detach().abs().cpu().double().numpy()
    return weight[synapses.sorted_slots()]
