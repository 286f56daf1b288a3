"""Lottery tickets: remembered values, restored under the present masks."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from elegans.arguments import checked
from elegans.errors import PruningError
from elegans.pruning.pruner import Pruner


@checked(PruningError)
class LotteryTicket:
    """The values of a model at one moment: at initialisation, or after step k of a training.

    Train, prune, `rewind`, and train again: the sub-network that is left, trained from the same
    start, is the lottery ticket.

    Parameters
    ----------
    model
        The model.
    optimizer
        Its optimiser, whose state is remembered and rewound, too. Without one, take a new
        optimiser after rewinding.

    References
    ----------
    Frankle, Carbin, "The lottery ticket hypothesis", ICLR 2019; Frankle, Dziugaite, Roy, Carbin,
    "Linear mode connectivity and the lottery ticket hypothesis", ICML 2020, for step k.

    Examples
    --------
    >>> model = nn.Linear(4, 2)
    >>> ticket, pruner = LotteryTicket(model), Pruner(model)
    >>> start = model.weight.detach().clone()
    >>> with torch.no_grad():  # a training
    ...     _ = model.weight.add_(torch.randn(2, 4))
    >>> _ = pruner.prune(0.5)
    >>> ticket.rewind(pruner)
    >>> torch.equal(model.weight, start * model.weight_mask)
    True
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        self._model, self._optimizer = model, optimizer
        self._parameters = {
            name: parameter.detach().clone() for name, parameter in model.named_parameters()
        }
        self._buffers = {  # running statistics; masks and connections are not floating
            name: buffer.detach().clone()
            for name, buffer in model.named_buffers()
            if buffer.is_floating_point()
        }
        self._state: dict[str, Any] | None = None
        if optimizer is not None:
            self._state = copy.deepcopy(optimizer.state_dict())

    @torch.no_grad()
    def rewind(self, pruner: Pruner | None = None) -> None:
        """Return to the remembered values; the masks of `pruner` stay.

        Connections stay, too: a synapse that has moved begins where it is with the values that its
        slot began with.

        Raises
        ------
        PruningError
            The pruner is of another model, or the model has other parameters now; nothing is
            changed then.
        """
        if pruner is not None and pruner.model is not self._model:
            raise PruningError(
                "the pruner is of another model than the ticket; pass the one that pruned it"
            )
        now = dict(self._model.named_parameters())
        shapes = {name: tuple(value.shape) for name, value in now.items()}
        remembered = {name: tuple(value.shape) for name, value in self._parameters.items()}
        if shapes != remembered:
            differ = sorted(set(shapes.items()) ^ set(remembered.items()))[0][0]
            raise PruningError(
                f"the model has changed at {differ!r} since the ticket was drawn; draw it from the "
                "model that is rewound"
            )
        for name, parameter in now.items():
            parameter.copy_(self._parameters[name])
            parameter.grad = None
        for name, buffer in self._model.named_buffers():
            if name in self._buffers and buffer.shape == self._buffers[name].shape:
                buffer.copy_(self._buffers[name])
        if self._optimizer is not None and self._state is not None:
            self._optimizer.load_state_dict(copy.deepcopy(self._state))
        if pruner is not None:
            pruner.reapply_masks()
