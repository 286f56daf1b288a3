"""A learning rate for each member of an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from elegans.ensemble.ensemble import Ensemble
from elegans.errors import InputError


def member_rates(
    optimizer: torch.optim.Optimizer, ensemble: Ensemble, factors: Sequence[float] | Tensor
) -> Callable[[], None]:
    """Let `optimizer` move each member by `factors` times what its learning rate says.

    The step of SGD, RMSprop, Adam and their kin is proportional to the learning rate, so that this
    is the same as a learning rate of its own for each member.

    Parameters
    ----------
    optimizer
        Of the parameters of `ensemble`, and of others, which it moves as always.
    ensemble
        The members.
    factors
        One number a member, >= 0.

    Returns
    -------
    callable
        Takes it back when called.

    Raises
    ------
    InputError
        There is not one finite factor >= 0 for each member.

    Examples
    --------
    >>> ensemble = Ensemble.of(lambda seed: torch.nn.Linear(2, 1), seeds=range(3))
    >>> optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.1)
    >>> remove = member_rates(optimizer, ensemble, [1.0, 0.1, 0.01])
    >>> ensemble.losses(torch.ones(4, 2), torch.zeros(4, 1)).sum().backward()
    >>> optimizer.step()
    """
    parameters = list(ensemble.parameters())
    rate = torch.as_tensor(factors, dtype=parameters[0].dtype, device=parameters[0].device)
    if rate.shape != (len(ensemble),) or not bool((torch.isfinite(rate) & (rate >= 0)).all()):
        raise InputError(
            f"factors must be one finite number >= 0 for each of the {len(ensemble)} members, got "
            f"{factors!r}"
        )
    before: list[Tensor] = []

    @torch.no_grad()
    def remember(*_: Any) -> None:
        before[:] = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def scale(*_: Any) -> None:
        for parameter, old in zip(parameters, before, strict=True):
            factor = rate.reshape(-1, *[1] * (parameter.dim() - 1)).to(parameter.dtype)
            parameter.copy_(old + factor * (parameter - old))
        before.clear()

    handles = optimizer.register_step_pre_hook(remember), optimizer.register_step_post_hook(scale)

    def remove() -> None:
        for handle in handles:
            handle.remove()

    return remove
