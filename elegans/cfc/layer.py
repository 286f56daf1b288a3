"""Closed-form continuous-time networks over sequences."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from elegans.arguments import checked
from elegans.cfc.cell import CfCCell
from elegans.cfc.wired_cell import WiredCfCCell
from elegans.checks import Placement, check_keywords
from elegans.errors import InputError
from elegans.layers.registry import register_layer
from elegans.layers.sequence_layer import SequenceLayer
from elegans.wiring import Recipe, Wiring

_BACKBONE: dict[str, Any] = {"backbone_units": 128, "backbone_layers": 1, "backbone_dropout": 0.0}
_ACTIVATION = "lecun_tanh"


@checked(InputError)
@register_layer
class CfC(SequenceLayer):
    """A closed-form continuous-time network: `CfCCell` or `WiredCfCCell` as an ``nn.LSTM``.

    With a number of units everything is connected to everything by way of a backbone; with a
    recipe or a wiring the network follows the synapses. See the two cells for the equations and
    `SequenceLayer.forward` for the call.

    Parameters
    ----------
    input_size
        Number of inputs.
    units
        Number of neurons, a recipe such as ``AutoNCP``, or a wiring.
    proj_size
        Number of outputs when a dense map shall follow the neurons that are read.
    return_sequences, batch_first, mixed_memory
        As in `SequenceLayer`.
    mode
        ``"default"``, ``"pure"`` or ``"no_gate"``, see `ClosedForm`.
    activation, backbone_units, backbone_layers, backbone_dropout
        As in `CfCCell`: by default one layer of 128 units without dropout. There is no backbone
        on a wiring, and it is an error to ask for one.
    input_mapping, output_mapping
        ``"affine"``, ``"linear"`` or None: element-wise map of the inputs and of the outputs.
    ncps_connections, add_connections
        As in `WiredCfCCell`.
    generator
        Source of randomness for the initial values; PyTorch's default generator when None.
    **factory_kwargs
        ``device`` and ``dtype`` of the parameters.

    Raises
    ------
    InputError, WiringError
        As in the cells.

    Notes
    -----
    Differs from ``ncps`` 1.0.1, given the same parameters, where that is at fault: elapsed times
    count for each sample of a batch (there, a batch of several works only by chance of its
    shapes); a step that lasts 0 changes nothing; a negative one is an error; a sequence may be
    empty; and see `WiredCfCCell`.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> x = torch.zeros(2, 50, 8)
    >>> CfC(8, 32, proj_size=4)(x)[0].shape
    torch.Size([2, 50, 4])
    >>> model = CfC(8, AutoNCP(units=19, output_size=4))
    >>> output, state = model(x)
    >>> output.shape, state.shape
    (torch.Size([2, 50, 4]), torch.Size([2, 19]))
    >>> model.synapse_count, model.sensory_synapse_count  # 18 neurons had no self-synapse
    (63, 35)
    """

    cell: CfCCell | WiredCfCCell

    def __init__(
        self,
        input_size: int,
        units: int | Recipe | Wiring,
        proj_size: int | None = None,
        return_sequences: bool = True,
        batch_first: bool = True,
        mixed_memory: bool = False,
        mode: str = "default",
        activation: str = _ACTIVATION,
        backbone_units: int | None = None,
        backbone_layers: int | None = None,
        backbone_dropout: float | None = None,
        *,
        input_mapping: str | None = None,
        output_mapping: str | None = None,
        ncps_connections: bool = False,
        add_connections: bool = True,
        generator: torch.Generator | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        check_keywords(type(self), factory_kwargs)
        given = {
            "backbone_units": backbone_units,
            "backbone_layers": backbone_layers,
            "backbone_dropout": backbone_dropout,
        }
        asked: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        common: dict[str, Any] = {
            "proj_size": proj_size,
            "input_mapping": input_mapping,
            "output_mapping": output_mapping,
            "generator": generator,
            **factory_kwargs,
        }
        cell: CfCCell | WiredCfCCell
        if isinstance(units, int | np.integer) and not isinstance(units, bool):
            if ncps_connections:
                raise InputError(
                    f"got ncps_connections=True with {units} units, expected a recipe or a "
                    "wiring; a dense CfC reads what ncps reads without it"
                )
            backbone = {**_BACKBONE, **asked}
            cell = CfCCell(input_size, int(units), mode, activation, **backbone, **common)
        else:
            if activation != _ACTIVATION:
                asked["activation"] = activation
            if asked:
                raise InputError(
                    f"got {', '.join(asked)} with a wiring, which has no backbone; leave it out, "
                    "or pass a number of units"
                )
            common |= {"ncps_connections": ncps_connections, "add_connections": add_connections}
            cell = WiredCfCCell(units, input_size, mode, **common)
        super().__init__(cell, return_sequences, batch_first, mixed_memory, generator=generator)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build such a layer; see `SequenceLayer.settings`.

        A dense network has its number of units among them: no wiring says that it is dense.
        """
        settings = super().settings()
        for theirs, ours in (("hidden_size", "units"), ("backbone_activation", "activation")):
            if theirs in settings:
                settings[ours] = settings.pop(theirs)
        return settings

    def _check_states(
        self, initial: Tensor, states: Tensor, final: Tensor, elapsed: Tensor
    ) -> None:
        # A cell may squash an infinite state, so that the final one does not tell: look at all.
        everything = torch.cat([initial.unsqueeze(1), states], dim=1)
        super()._check_states(initial, states, everything, elapsed)
