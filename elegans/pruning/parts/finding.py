"""The search for the prunable parts of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from elegans.arguments import checked
from elegans.errors import PruningError
from elegans.layers.cell import Cell
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import StackedSynapsePart, SynapsePart
from elegans.pruning.parts.weights import WeightPart
from elegans.synapses.slots import SynapseSlots

_STACKED = "stacked"  # where an ensemble holds the weights of its members


@checked(PruningError)
def parts_of(
    model: nn.Module, include: Sequence[str] | None = None, exclude: Sequence[str] = ()
) -> list[PrunableWeight]:
    """Return the parts of `model` that can be pruned.

    These are the sets of synapses of circuits, and all other trainable parameters with at least
    two axes. Biases stay.

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

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    >>> [part.name for part in parts_of(model, exclude=["2"])]
    ['0.weight']
    """
    for given in (include, exclude):
        if isinstance(given, str):
            raise PruningError(f"include and exclude are sequences of names, got {given!r}")
    makers = list(_find(model))
    names = [name for name, _ in makers]
    for pattern in (*(include or ()), *exclude):
        if not any(_fits(name, pattern) for name in names):
            raise PruningError(
                f"no weight fits {pattern!r}, expected the name of one, or of a module, among "
                f"{names}"
            )
    chosen = [
        make
        for name, make in makers
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


def _find(model: nn.Module) -> Iterator[tuple[str, Callable[[], PrunableWeight]]]:
    """Iterate over names and makers of all parts; nothing about the model changes yet."""
    told: set[int] = set()  # parameters, and modules whose weights were told already
    for path, module in model.named_modules():
        if id(module) in told:
            continue
        stacked = getattr(module, "prunable_weights", None)
        if callable(stacked):  # an ensemble
            told.update(map(id, module.modules()))
            names = {id(tensor): name for name, tensor in module.named_parameters()}
            for name, parameter in stacked().items():
                told.add(id(parameter))
                where = _join(path, names[id(parameter)])
                yield where, partial(_stacked, module, name, where, parameter)
            continue
        if isinstance(module, Cell):
            for kind, synapses in module.synapse_sets().items():
                told.update(map(id, synapses.modules()))
                computed = not set(synapses.VALUES) <= set(synapses._parameters)
                weight = synapses.VALUES[0]
                if len(synapses) and (computed or getattr(synapses, weight).requires_grad):
                    where = _join(path, kind)
                    make = partial(SynapsePart, where, module, kind)
                    name = _join(where, weight)
                    yield name, partial(_refuse, name) if computed else make
        for attribute, parameter in module.named_parameters(recurse=False):
            told_or_frozen = id(parameter) in told or not parameter.requires_grad
            if told_or_frozen or parameter.dim() < 2 or attribute.endswith("bias"):
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


def _stacked(ensemble: Any, name: str, where: str, parameter: nn.Parameter) -> PrunableWeight:
    """Return the part of a weight of all members, called `name` in one of them."""
    holder, attribute = _holder(ensemble, parameter)
    alike = ensemble.template.get_submodule(name.rpartition(".")[0])
    if isinstance(alike, SynapseSlots):
        return StackedSynapsePart(where, holder, alike, members=len(ensemble))
    return WeightPart(where, holder, attribute, members=len(ensemble))


def _holder(module: nn.Module, parameter: nn.Parameter) -> tuple[nn.Module, str]:
    """Return the module inside `module` that holds `parameter`, and its name there."""
    for child in module.modules():
        for attribute, candidate in child.named_parameters(recurse=False):
            if candidate is parameter:
                return child, attribute
    raise PruningError(f"{type(module).__name__} does not hold the weights that it names")


def _refuse(name: str) -> PrunableWeight:
    raise PruningError(
        f"{name} is computed from other parameters (parametrize or torch.nn.utils.prune), so its "
        "weights cannot be cut; make that permanent first, or exclude it"
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _fits(name: str, pattern: Any) -> bool:
    """Whether `pattern` is the name of a weight or of a module that holds it.

    In an ensemble, what fits a weight of a member fits it in all of them.
    """
    names = {name, name.replace(f"{_STACKED}.", "", 1)}
    ends = names | {path[:k] for path in names for k, letter in enumerate(path) if letter == "."}
    return any(fnmatchcase(end, str(pattern)) for end in ends)
