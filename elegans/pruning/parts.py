"""The parts of a model that can be pruned: weight matrices, and the synapses of liquid circuits.

A `Part` hides the difference. It has weights and a mask of the same shape, knows which weights
belong to one neuron and which synapses to one block of layers, and forgets what an optimiser
remembers of a weight that is cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from elegans.cell import Cell
from elegans.connection_slots import ConnectionSlots
from elegans.errors import PruningError
from elegans.pruning.moments import Moments
from elegans.synapses import VALUES, SynapseParameters
from elegans.wiring.wiring import SENSORY

MASK_SUFFIX = "_mask"


class Part(ABC):
    """Weights that are pruned together: a matrix, or a set of synapses.

    Arrays of a part have the shape of its weight. `flat` brings them to (member, weight): an
    ensemble has an axis of members, everything else is one member.
    """

    name: str
    """Dotted name of the weight in the model, such as ``0.weight`` or ``cell.recurrent.weight``."""
    owner: str
    """Dotted name of the module that holds it."""
    members: int

    @property
    @abstractmethod
    def mask(self) -> Tensor:
        """Which weights are there, bool, in the shape of the weight."""

    @abstractmethod
    def weights(self) -> Tensor:
        """Return the weights as they act, conductances for synapses, detached; zero where cut."""

    @abstractmethod
    def slopes(self, gradient: Tensor) -> Tensor:
        """Return d loss / d weight from the gradient of the parameter."""

    @property
    @abstractmethod
    def parameter(self) -> Tensor:
        """The parameter that stands for the weights."""

    @property
    @abstractmethod
    def dimensions(self) -> tuple[int, ...]:
        """Sources and targets (and the extent of a kernel) of the weights of a member."""

    @abstractmethod
    def unit_of(self) -> Tensor:
        """Return the neuron that each weight of a member leads to, shape (weight,)."""

    @abstractmethod
    def block_of(self) -> Tensor:
        """Return the block of layers that each weight of a member belongs to, shape (weight,)."""

    @abstractmethod
    def hold(self, mask: Tensor, moments: Moments) -> None:
        """Let `mask` say which weights are there; those that went, or came, are forgotten."""

    @property
    @abstractmethod
    def possible(self) -> int:
        """Number of weights that could be there: of all members, or pairs in all blocks."""

    @abstractmethod
    def joined(self, ever: Tensor | None) -> Tensor:
        """Return which weights were ever there: those of `ever` and the present ones.

        A mask in the shape of the weight, or the pairs (source, target) of synapses as numbers.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise `PruningError` if the weights are not those that the mask was made for."""

    @abstractmethod
    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the parameters that a cut forgets, with their dotted names."""

    def flat(self, values: Tensor) -> Tensor:
        """Return `values` in the shape of the weight as (member, weight)."""
        return values.reshape(self.members, -1)

    @property
    def size(self) -> int:
        """Number of weights of a member, those that are cut included."""
        return self.mask.numel() // max(1, self.members)

    def check_finite(self) -> None:
        """Raise `PruningError` naming a weight that is not finite."""
        broken = ~torch.isfinite(self.weights())
        if bool(broken.any()):
            place = tuple(broken.nonzero()[0].tolist())
            raise PruningError(
                f"{self.name} holds {self.weights()[place].item()} at {place}; nothing was pruned: "
                "lower the learning rate or clip the gradients"
            )


class WeightPart(Part):
    """A weight tensor of a module; a cut weight is zero and has no gradient.

    The mask is the buffer ``<weight>_mask`` beside the parameter; it does not enter the
    ``state_dict`` of the model, whose zeros say the same.
    """

    def __init__(self, name: str, module: nn.Module, attribute: str, *, members: int = 0) -> None:
        self.name, self.owner = name, name.rpartition(".")[0]
        self._module, self._attribute = module, attribute
        self._stacked = members > 0
        self.members = max(1, members)
        self._parameter: nn.Parameter = getattr(module, attribute)
        if self._buffer is None:
            mask = torch.ones_like(self._parameter, dtype=torch.bool)
            module.register_buffer(attribute + MASK_SUFFIX, mask, persistent=False)
        if self._parameter.requires_grad:
            self._parameter.register_post_accumulate_grad_hook(self._close_gradient)

    @property
    def _buffer(self) -> Tensor | None:
        return self._module._buffers.get(self._attribute + MASK_SUFFIX)

    @property
    def mask(self) -> Tensor:
        """Which weights are there, bool, in the shape of the weight."""
        mask = self._buffer
        if mask is None:
            raise PruningError(
                f"the mask of {self.name} is gone: {type(self._module).__name__} has no buffer "
                f"{self._attribute + MASK_SUFFIX!r} any more; make a new pruner"
            )
        return mask

    @property
    def parameter(self) -> Tensor:
        """The weight tensor."""
        return self._parameter

    def weights(self) -> Tensor:
        """Return the weights, detached."""
        return self._parameter.detach()

    def slopes(self, gradient: Tensor) -> Tensor:
        """Return the gradient itself."""
        return gradient

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The shape of the tensor, of one member; sources and targets of a list of synapses."""
        if isinstance(self._module, ConnectionSlots):
            ends = self._module.source, self._module.target
            return tuple(len(torch.unique(end)) for end in ends)
        return tuple(self._parameter.shape[1:] if self._stacked else self._parameter.shape)

    def unit_of(self) -> Tensor:
        """Return the row of each weight; in a gated recurrent layer the neuron that it gates."""
        shape = self._parameter.shape[1:] if self._stacked else self._parameter.shape
        if isinstance(self._module, ConnectionSlots):
            return self._module.target.long().expand(shape).reshape(-1)
        rows = torch.arange(shape[0], device=self._parameter.device)
        if isinstance(self._module, nn.RNNBase | nn.RNNCellBase) and "_hr" not in self._attribute:
            rows = rows % self._module.hidden_size
        return rows.repeat_interleave(int(np.prod(shape[1:], dtype=np.int64)))

    def block_of(self) -> Tensor:
        """Return zeros: a tensor is one block; those of a module are pooled."""
        return torch.zeros(self.size, dtype=torch.long, device=self._parameter.device)

    @torch.no_grad()
    def hold(self, mask: Tensor, moments: Moments) -> None:
        """Set the weights outside `mask`, and what is remembered of them, to zero."""
        changed = self.mask ^ mask
        self.mask.copy_(mask)
        self._parameter.masked_fill_(~mask, 0.0)
        moments.reset(self._parameter, changed)

    @property
    def possible(self) -> int:
        """Number of entries."""
        return self._parameter.numel()

    def joined(self, ever: Tensor | None) -> Tensor:
        """Return which entries were ever there, in the shape of the weight."""
        return self.mask.clone() if ever is None else ever | self.mask

    def check(self) -> None:
        """Raise `PruningError` if the tensor was replaced, or a cut weight is not zero."""
        if getattr(self._module, self._attribute, None) is not self._parameter:
            raise PruningError(
                f"{self.name} is another parameter than the one that the mask was made for; make a "
                "new pruner, and a new optimiser, after replacing parameters"
            )
        if self.mask.shape != self._parameter.shape:
            raise PruningError(
                f"{self.name} has shape {tuple(self._parameter.shape)}, its mask "
                f"{tuple(self.mask.shape)}; make a new pruner after changing the model"
            )
        revived = int(((self._parameter.detach() != 0) & ~self.mask).sum())
        if revived:
            raise PruningError(
                f"{revived} weights of {self.name} have changed since the mask was made: they are "
                "cut, expected to be zero; call pruner.apply() to cut them again, or make a new "
                "pruner for a model that was loaded anew"
            )

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the one parameter."""
        yield self.name, self._parameter

    def _close_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None and self._buffer is not None:
            parameter.grad.mul_(self.mask)


class SynapsePart(Part):
    """A set of liquid synapses; a cut synapse has conductance zero and leaves the wiring."""

    members = 1

    def __init__(self, name: str, cell: Cell, kind: str) -> None:
        self.owner = name
        self.name = f"{name}.weight" if name else "weight"
        self.cell, self.kind = cell, kind
        self.synapses: SynapseParameters = cell.synapse_sets()[kind]
        if self.synapses.mask is None:
            self.synapses.hold_mask(torch.ones_like(self.synapses.source, dtype=torch.bool))

    @property
    def mask(self) -> Tensor:
        """Which synapses are open, shape (synapse,)."""
        mask = self.synapses.mask
        if mask is None:
            raise PruningError(f"the mask of {self.name} is gone; make a new pruner")
        return mask

    @property
    def parameter(self) -> Tensor:
        """The parameter under the conductance."""
        return self.synapses.weight

    def weights(self) -> Tensor:
        """Return the conductances, zero where closed, shape (synapse,)."""
        return self.synapses.values().weight.detach()

    def slopes(self, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to the conductance, shape (synapse,)."""
        with torch.enable_grad():
            parameter = self.synapses.weight.detach().requires_grad_()
            conductance = self.synapses.positivity()(parameter)
            (rate,) = torch.autograd.grad(conductance.sum(), parameter)
        return torch.where(rate > 0, gradient / rate.clamp(min=torch.finfo(rate.dtype).tiny), 0.0)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Number of sources and of targets that the synapses have."""
        ends = self.synapses.source, self.synapses.target
        return tuple(len(torch.unique(end)) for end in ends)

    def unit_of(self) -> Tensor:
        """Return the target of each synapse, shape (synapse,)."""
        return self.synapses.target.long()

    def block_of(self) -> Tensor:
        """Return a number for the pair (source layer, target layer) of each synapse."""
        wiring = self.cell.wiring
        layers = {name: k for k, name in enumerate((*wiring.layers, SENSORY))}
        number = np.array([layers[str(name)] for name in wiring.layer_of], dtype=np.int64)
        target = number[self.synapses.target.cpu().numpy()]
        source = np.full_like(target, layers[SENSORY])
        if self.kind != SENSORY:
            source = number[self.synapses.source.cpu().numpy()]
        return torch.from_numpy(source * len(layers) + target).to(self.mask.device)

    @torch.no_grad()
    def hold(self, mask: Tensor, moments: Moments) -> None:
        """Leave the synapses of `mask` open; forget what is remembered of those that changed."""
        changed = self.mask ^ mask
        self.synapses.hold_mask(mask)
        for _, parameter in self.named_parameters():
            moments.reset(parameter, changed)

    @property
    def possible(self) -> int:
        """Number of pairs of neurons in all blocks that have, or had, a synapse."""
        wiring = self.cell.wiring
        sizes = [*wiring.layers.values(), wiring.input_size]
        blocks = torch.unique(self.block_of()).tolist()
        return sum(sizes[block // len(sizes)] * sizes[block % len(sizes)] for block in blocks)

    def joined(self, ever: Tensor | None) -> Tensor:
        """Return source * neurons + target of every pair that ever had a synapse."""
        slots = self.synapses.open_slots()
        source, target = (end[slots].long() for end in (self.synapses.source, self.synapses.target))
        pairs = source * self.cell.state_size + target
        union: Tensor = torch.unique(pairs if ever is None else torch.cat([ever.to(pairs), pairs]))
        return union

    def check(self) -> None:
        """Raise `PruningError` if the circuit holds other synapses now."""
        if self.cell.synapse_sets().get(self.kind) is not self.synapses:
            raise PruningError(
                f"{self.name} is another set of synapses than the one that the mask was made for; "
                "make a new pruner"
            )

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the four parameters of the synapses."""
        for value in VALUES:
            yield f"{self.owner}.{value}", getattr(self.synapses, value)


def parts_of(
    model: nn.Module, include: Sequence[str] | None = None, exclude: Sequence[str] = ()
) -> list[Part]:
    """Return the parts of `model` that can be pruned.

    These are the synapses of liquid circuits, the weights of signed synapses, and all other
    trainable parameters with at least two axes: biases stay.

    Parameters
    ----------
    model
        The model.
    include, exclude
        Names of weights or of modules, with wildcards: ``"0.weight"``, ``"encoder"``, ``"*.1"``.
        Everything by default, and nothing.

    Raises
    ------
    PruningError
        Nothing is left, a name fits nothing, or a weight is computed from other parameters.
    """
    found = list(_find(model))
    names = [name for name, _ in found]
    for pattern in (*(include or ()), *exclude):
        if not any(_fits(name, pattern) for name in names):
            raise PruningError(
                f"no weight fits {pattern!r}, expected the name of one, or of a module, among "
                f"{names}"
            )
    chosen = [
        make
        for name, make in found
        if (include is None or any(_fits(name, pattern) for pattern in include))
        and not any(_fits(name, pattern) for pattern in exclude)
    ]
    if not chosen:
        raise PruningError(
            f"{type(model).__name__} has nothing to prune, expected a liquid layer or a trainable "
            f"weight with two axes; found {names}, of which include and exclude leave none"
        )
    made = [make() for make in chosen]
    if len({part.members for part in made}) > 1:
        raise PruningError(
            "the model holds ensembles of different sizes, whose members cannot be pruned side by "
            "side; make a pruner for each"
        )
    return made


def _find(model: nn.Module) -> Iterator[tuple[str, Callable[[], Part]]]:
    """Iterate over names and makers of all parts; nothing about the model changes yet."""
    told: set[int] = set()  # parameters, and modules whose weights were told already
    for path, module in model.named_modules():
        if id(module) in told:
            continue
        stacked = getattr(module, "prunable_weights", None)
        if callable(stacked):  # an ensemble
            told.update(map(id, module.modules()))
            for name, parameter in stacked().items():
                told.add(id(parameter))
                yield (
                    _join(path, name),
                    partial(
                        WeightPart,
                        _join(path, name),
                        *_holder(module, parameter),
                        members=len(parameter),
                    ),
                )
            continue
        if isinstance(module, Cell):
            for kind, synapses in module.synapse_sets().items():
                told.update(map(id, synapses.modules()))
                computed = "weight" not in synapses._parameters
                if len(synapses) and (computed or synapses.weight.requires_grad):
                    where = _join(path, kind)
                    make = partial(SynapsePart, where, module, kind)
                    name = _join(where, "weight")
                    yield name, partial(_refuse, name) if computed else make
        least = 1 if isinstance(module, ConnectionSlots) else 2
        for attribute, parameter in module.named_parameters(recurse=False):
            if id(parameter) in told or not parameter.requires_grad or parameter.dim() < least:
                continue
            told.add(id(parameter))
            name = _join(path, attribute)
            computed = attribute.endswith("_orig") or isinstance(module, ParametrizationList)
            yield (
                name,
                partial(_refuse, name)
                if computed
                else partial(WeightPart, name, module, attribute),
            )


def _holder(module: nn.Module, parameter: nn.Parameter) -> tuple[nn.Module, str]:
    """Return the module inside `module` that holds `parameter`, and its name there."""
    for child in module.modules():
        for attribute, held in child.named_parameters(recurse=False):
            if held is parameter:
                return child, attribute
    raise PruningError(f"{type(module).__name__} does not hold the weights that it names")


def _refuse(name: str) -> Part:
    raise PruningError(
        f"{name} is computed from other parameters (parametrize or torch.nn.utils.prune), so its "
        "weights cannot be cut; make that permanent first, or exclude it"
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _fits(name: str, pattern: Any) -> bool:
    """Whether `pattern` is the name of a weight or of a module that holds it."""
    ends = [name, *(name[:k] for k, letter in enumerate(name) if letter == ".")]
    return any(fnmatchcase(end, str(pattern)) for end in ends)
