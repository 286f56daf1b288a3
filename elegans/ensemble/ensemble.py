"""Many networks of one architecture as one module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812  # the name every torch reader knows
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.ensemble.chain import Chain
from elegans.ensemble.computation import Computation, General, Given
from elegans.ensemble.joined import Joined, JoinedReadouts
from elegans.ensemble.stacking import (
    check_members,
    close_gradients,
    counts_of,
    stacked,
    template_of,
    unstacked,
)
from elegans.errors import InputError
from elegans.layers.capabilities import Bounded, offers
from elegans.layers.cell import Cell
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.layers.stacked import Stacked
from elegans.synapses.slots import SynapseSlots
from elegans.wiring import Wiring

Loss = Callable[[Any, Any], Tensor]
"""Takes the output of one member and its target; returns a number."""


@checked(InputError)
class Ensemble(nn.Module):
    """Many networks of one architecture, computed and trained together.

    The parameters of all members are stacked, member axis first, in `stacked`, a tree of modules
    with the names of a member's: ``ensemble.stacked.get_parameter("0.weight")`` has the shape
    (member, output, input). Any optimiser of PyTorch that works number by number (SGD, RMSprop,
    Adam and their kin) does to every member what it would do to it alone, given the sum of the
    members' losses.

    Chains of ``nn.Linear`` and element-wise functions, and `elegans.LTC`, with an `elegans.Readout`
    or without, have ways of their own that are many times faster than one member after the other;
    any other module goes through `torch.func.vmap`.

    Parameters
    ----------
    members
        Modules of one architecture; copied. Their wirings, and which weights are masked, may
        differ. Liquid circuits with fewer synapses than others are filled up with closed ones.
    general
        Whether to take the general way even where there is a faster one.

    Raises
    ------
    InputError
        There are no members, they differ in anything but values, or use a parameter twice.

    Examples
    --------
    >>> def network(seed):
    ...     return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> ensemble = Ensemble.of(network, seeds=range(100))
    >>> x, y = torch.randn(16, 3), torch.randn(16, 2)
    >>> ensemble(x).shape
    torch.Size([100, 16, 2])
    >>> optimizer = torch.optim.Adam(ensemble.parameters(), lr=1e-2)
    >>> losses = ensemble.losses(x, y)  # mean squared errors, shape (member,)
    >>> losses.sum().backward()
    >>> optimizer.step()
    >>> ensemble.member(7)(x).shape
    torch.Size([16, 2])
    """

    def __init__(self, members: Iterable[nn.Module], *, general: bool = False) -> None:
        super().__init__()
        given = list(members)
        check_members(given)
        self.size = len(given)
        self.stacked = stacked(given)
        self._counts = counts_of(given)
        self._blueprints = [_blueprints_of(member) for member in given]
        self._computation = _computation_of(template_of(given[0]), general)
        close_gradients(self.stacked)
        self.training = given[0].training

    @classmethod
    def of(
        cls, factory: Callable[[int], nn.Module], seeds: Iterable[int], *, general: bool = False
    ) -> Self:
        """Return the ensemble of ``factory(seed)`` for all seeds.

        PyTorch's random numbers begin at the seed for each member, and go on afterwards as if
        nothing had happened.
        """
        members = []
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            for seed in seeds:
                torch.manual_seed(seed)
                members.append(factory(seed))
        return cls(members, general=general)

    # --- calls ---------------------------------------------------------------------------

    def forward(self, *inputs: Any, own_data: bool | Sequence[bool] = False, **options: Any) -> Any:
        """Call all members.

        Parameters
        ----------
        *inputs
            What a member takes. Liquid layers: input, hx, timespans; hx, if given, always has a
            member axis first: (member, batch, neuron).
        own_data
            False: every member is given the same `inputs`. True: they have a leading member axis,
            each of a tuple of tensors too. Or one of these for each input.
        **options
            Keyword arguments of a member, the same for all.

        Returns
        -------
        Any
            What a member returns, every tensor with a leading member axis: (member, batch, ...).

        Raises
        ------
        InputError
            An input has no member axis, or one of another length, or does not fit the members.
        """
        if isinstance(own_data, bool) and len(inputs) == 1 and "hx" in options and self._stateful():
            inputs = (*inputs, options.pop("hx"))
        own = self._own_data_flags(inputs, own_data)
        for k, (given, mine) in enumerate(zip(inputs, own, strict=True)):
            parts = given if isinstance(given, tuple | list) and given else (given,)
            for part in parts if mine else ():
                if isinstance(part, Tensor) and part.shape[:1] == (self.size,):
                    continue
                got = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
                if k == 1 and self._stateful():
                    units = getattr(self._computation.template, "state_size", "neuron")
                    raise InputError(
                        f"hx has shape {got}, expected ({self.size}, batch, {units}): a state for "
                        "each member, as a call returns it"
                    )
                raise InputError(
                    f"input {k} shall hold data of its own for each of the {self.size} members, "
                    f"got {got}, expected a tensor ({self.size}, batch, ...); pass own_data=False "
                    "for data that all members share"
                )
        return self._computation.run(self.stacked, self.size, Given(inputs, own, options))

    def _own_data_flags(
        self, inputs: tuple[Any, ...], own_data: bool | Sequence[bool]
    ) -> tuple[bool, ...]:
        if isinstance(own_data, bool):
            flags = [own_data and isinstance(given, Tensor | tuple) for given in inputs]
            if len(flags) > 1 and self._stateful():  # the state, which differs after a step
                flags[1] = inputs[1] is not None
            return tuple(flags)
        own = tuple(bool(mine) for mine in own_data)
        if len(own) != len(inputs):
            raise InputError(
                f"own_data says something of {len(own)} inputs, got {len(inputs)}; pass one bool, "
                "or one for each input"
            )
        return own

    def _stateful(self) -> bool:
        """Whether the members are layers, whose second argument is their state."""
        return isinstance(self._computation.template, SequenceLayer | Readout | Stacked)

    def losses(
        self, x: Any, target: Any, loss: Loss = F.mse_loss, *, own_data: bool = False
    ) -> Tensor:
        """Return the loss of each member, shape (member,).

        The gradient of their sum holds that of each member.

        Parameters
        ----------
        x
            Inputs; of a member that returns a tuple, the first counts as its output.
        target
            What `loss` takes besides an output.
        loss
            Of one member.
        own_data
            Whether `x` and `target` have a leading member axis.
        """
        output = self(x, own_data=own_data)
        return member_losses(
            output[0] if isinstance(output, tuple) else output, target, loss, own_data=own_data
        )

    @torch.no_grad()
    def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0) -> Tensor:
        """Scale the gradients of each member whose norm is larger than `max_norm` down to it.

        `torch.nn.utils.clip_grad_norm_` would take all members for one network.

        Parameters
        ----------
        max_norm
            The largest norm that a member's gradient may have.
        norm_type
            The p of the p-norm over all gradients of a member; infinity takes the largest.

        Returns
        -------
        Tensor
            The norms as they were, shape (member,).
        """
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        if not gradients:
            return torch.zeros(self.size)
        norms = torch.stack(
            [torch.linalg.vector_norm(g.reshape(len(g), -1), norm_type, 1) for g in gradients]
        )
        total: Tensor = torch.linalg.vector_norm(norms, norm_type, 0)  # (member,)
        factor = (max_norm / (total + 1e-6)).clamp(max=1.0)  # as PyTorch has it
        for gradient in gradients:
            gradient.mul_(factor.reshape(-1, *[1] * (gradient.dim() - 1)))
        return total

    @torch.no_grad()
    def apply_weight_constraints(self) -> None:
        """Bring clipped parameters of the members' cells back into their range."""
        for path, module in self._computation.template.named_modules():
            if isinstance(module, Cell) and offers(module, Bounded):
                stack = self.stacked.get_submodule(path)
                for name, least in module.lower_bounds().items():
                    stack.get_parameter(name).clamp_(min=least)

    # --- contents ------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[nn.Module]:
        return (self.member(k) for k in range(self.size))

    def member(self, k: int) -> nn.Module:
        """Return member `k` as a module of its own, with copies of its tensors.

        Raises
        ------
        InputError
            There is no such member.
        """
        if not -self.size <= k < self.size:
            raise InputError(f"there is no member {k}, expected {-self.size} to {self.size - 1}")
        k %= self.size
        member = unstacked(self._computation.template, self.stacked, k, self._counts)
        for path, blueprint in self._blueprints[k].items():
            vars(member.get_submodule(path))["_blueprint"] = blueprint
        return member

    def prunable_weights(self) -> dict[str, nn.Parameter]:
        """Return the stacked weights that pruning may cut, by their dotted name in a member.

        Each has a leading member axis; its mask, if there is one, is the buffer ``<name>_mask`` of
        the same shape on the same module of `stacked`. Biases and frozen weights are left out.
        """
        weights = {}
        for path, module in self._computation.template.named_modules():
            listed = isinstance(module, SynapseSlots)
            node = self.stacked.get_submodule(path)
            for name, parameter in node.named_parameters(recurse=False):
                cut = parameter.dim() > 2 or (listed and name == "weight")
                if (
                    cut
                    and not name.endswith("bias")
                    and parameter.requires_grad
                    and parameter.numel()
                ):
                    weights[f"{path}.{name}" if path else name] = parameter
        return weights

    @property
    def template(self) -> nn.Module:
        """A module of the members' architecture, without values."""
        return self._computation.template

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of all members."""
        super().train(mode)
        self._computation.template.train(mode)
        return self

    def extra_repr(self) -> str:
        """Return size and way of computing for ``print(ensemble)``."""
        way = type(self._computation).__name__.lower()
        return f"{self.size} x {type(self._computation.template).__name__}, {way}"

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        close_gradients(self.stacked)  # copies of parameters come without hooks


def _blueprints_of(member: nn.Module) -> dict[str, Wiring]:
    """Return the wirings that the member's cells were made with, by the path of the cell."""
    return {
        path: vars(module)["_blueprint"]
        for path, module in member.named_modules()
        if isinstance(module, Cell) and "_blueprint" in vars(module)
    }


def _computation_of(template: nn.Module, general: bool) -> Computation:
    if not general:
        for way in (Joined, JoinedReadouts, Chain):
            computation = way.fits(template)
            if computation is not None:
                return computation
    return General(template)


def member_losses(
    output: Tensor, target: Any, loss: Loss = F.mse_loss, *, own_data: bool = False
) -> Tensor:
    """Return ``loss(output of a member, target)`` for every member, shape (member,).

    Parameters
    ----------
    output
        (member, batch, ...).
    target
        What `loss` takes besides an output.
    loss
        Of one member; returns a number.
    own_data
        Whether `target` has a leading member axis.

    Raises
    ------
    InputError
        `loss` returns more than a number.

    Examples
    --------
    >>> outputs = torch.tensor([[[1.0], [2.0]], [[0.0], [0.0]]])  # (member 2, batch 2, output 1)
    >>> member_losses(outputs, torch.zeros(2, 1))
    tensor([2.5000, 0.0000])
    """
    losses_of = torch.func.vmap(loss, in_dims=(0, 0 if own_data else None), randomness="different")
    losses: Tensor = losses_of(output, target)
    if losses.dim() != 1:
        raise InputError(
            f"the loss of a member has shape {tuple(losses.shape[1:])}, expected a number; reduce "
            "it over the batch, as reduction='mean' does"
        )
    return losses
