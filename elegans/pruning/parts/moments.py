"""The optimiser's moments of single synapses, and their reset.

A slot that is reused for another synapse must not inherit momentum or second moments. Optimisers
keep these per parameter in tensors of the parameter's shape; the entries of a slot are zeroed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
)

from elegans.errors import PruningError

MOMENTS: dict[type[Optimizer], tuple[str, ...]] = {
    SGD: ("momentum_buffer",),
    Adam: ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    AdamW: ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    RMSprop: ("square_avg", "momentum_buffer", "grad_avg"),
    NAdam: ("exp_avg", "exp_avg_sq"),
    RAdam: ("exp_avg", "exp_avg_sq"),
    Adamax: ("exp_avg", "exp_inf"),
    Adagrad: ("sum",),
    Adadelta: ("square_avg", "acc_delta"),
}
"""Names of the tensors in ``optimizer.state[parameter]`` that hold one value a weight."""


class Moments:
    """Resets an optimiser's memory of chosen elements.

    Parameters
    ----------
    optimizer
        The optimiser; None if there is none, where gradients alone are reset.
    names
        Names of its per-weight state tensors; those of `MOMENTS` are known.

    Raises
    ------
    PruningError
        The optimiser is of an unknown kind and no names are given.
    """

    def __init__(self, optimizer: Optimizer | None, names: Sequence[str] | None = None) -> None:
        self._names: tuple[str, ...] = ()
        self._all_must_exist = False
        if names is None and optimizer is not None:
            kinds = [kind for kind in MOMENTS if isinstance(optimizer, kind)]
            if not kinds:
                raise PruningError(
                    f"unknown optimiser {type(optimizer).__name__}: known are "
                    f"{', '.join(kind.__name__ for kind in MOMENTS)}; pass "
                    "optimizer_state_names=(...), the tensors in optimizer.state[parameter] that "
                    "hold one value a weight, or () if it remembers nothing. An optimiser that "
                    "keeps curvature of the whole model, such as LBFGS, cannot forget single "
                    "weights"
                )
            self._names = MOMENTS[kinds[0]]
        elif isinstance(names, str):
            raise PruningError(
                f"optimizer_state_names must be a sequence of names, got the text {names!r}"
            )
        elif names is not None:
            self._names, self._all_must_exist = tuple(names), True
        self._optimizer = optimizer

    def check(self, parameters: Iterable[tuple[str, Tensor]]) -> None:
        """Raise `PruningError` unless every trainable one of `parameters` can be forgotten.

        The optimiser must hold it, and remember it under the names that were given.
        """
        if self._optimizer is None:
            return
        optimized = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
        for name, parameter in parameters:
            if not parameter.requires_grad:
                continue
            if id(parameter) not in optimized:
                raise PruningError(
                    f"the optimiser does not hold {name}; make it from model.parameters() of the "
                    "model itself, after moving the model to its device or loading it"
                )
            state = self._optimizer.state.get(parameter, {})
            missing = [moment for moment in self._names if moment not in state]
            if state and missing and self._all_must_exist:
                raise PruningError(
                    f"optimizer_state_names has {missing}, but the optimiser remembers "
                    f"{sorted(state)} of {name}; pass those of them that hold one value a weight"
                )

    def tensors(self, parameter: Tensor) -> list[Tensor]:
        """Return the parameter, its gradient and its moments, as far as there are any."""
        state = {} if self._optimizer is None else self._optimizer.state.get(parameter, {})
        candidates = [parameter, parameter.grad, *(state.get(name) for name in self._names)]
        return [tensor for tensor in candidates if isinstance(tensor, Tensor)]

    @torch.no_grad()
    def reset(self, parameter: Tensor, slots: Tensor) -> None:
        """Zero moments and gradient of elements of `parameter`.

        Parameters
        ----------
        parameter
            The parameter.
        slots
            A mask in its shape; or a mask, or indices, along its last axis.
        """
        index = slots if slots.shape == parameter.shape else (..., slots)
        state = {} if self._optimizer is None else self._optimizer.state.get(parameter, {})
        for name in self._names:
            moment = state.get(name)
            if moment is not None:  # AMSGrad, momentum and centring are optional
                moment[index] = 0
        if parameter.grad is not None:
            parameter.grad[index] = 0
