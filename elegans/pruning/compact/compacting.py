"""Compacting of pruned models into smaller or sparse ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from elegans.errors import InputError, PruningError
from elegans.layers.capabilities import cell_of
from elegans.layers.cell import Cell
from elegans.layers.sequence_layer import SequenceLayer
from elegans.pruning.compact.chain import Place, Uses, chains_of, is_sequence
from elegans.pruning.compact.gain import (
    Gain,
    call,
    evaluating,
    measure_gain,
    parameter_count,
    state_bytes,
    tensors_of,
)
from elegans.pruning.compact.held_weights import copy_with
from elegans.pruning.compact.linear_chain import ChainOptions, Change, compact_chain
from elegans.pruning.compact.liquid import LiquidOptions, compact_cell, obstacle
from elegans.pruning.compact.record import LEFT_ALONE, LayerRecord, layer_table

if TYPE_CHECKING:
    from elegans.ltc.cell import LTCCell

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
SPARSE_CHOICES = ("auto", "measured", True, False)


@dataclass(frozen=True)
class Compacted:
    """A model without what pruning has cut, and the record of what was done.

    Attributes
    ----------
    model
        The new model. It shares nothing with the one given.
    record
        What happened to each layer, in the order of the model.
    original
        The model that was given.
    difference
        The largest difference of an output, where inputs were given to compare the models on.
    """

    model: nn.Module
    record: tuple[LayerRecord, ...]
    original: nn.Module
    difference: float | None = None

    def gain(self, inputs: Any, repeats: int = 15, *, training: bool = False) -> Gain:
        """Measure what is saved: time of both models, in turns, and parameters and bytes.

        Parameters
        ----------
        inputs
            What the models are called with: a tensor, a tuple of arguments, or a mapping of
            arguments by name.
        repeats
            Number of pairs of runs.
        training
            Whether to measure a backward pass with the forward one. Modules are as in evaluation
            in both cases.
        """
        return measure_gain(self.original, self.model, inputs, repeats=repeats, training=training)

    def to_dict(self) -> dict[str, Any]:
        """Return record and difference as plain values."""
        return {"record": [layer.to_dict() for layer in self.record], "difference": self.difference}

    def __str__(self) -> str:
        both = (self.original, self.model)
        parameters = [parameter_count(model) for model in both]
        sizes = [state_bytes(model) for model in both]
        return (
            f"{layer_table(self.record)}\n"
            f"parameters {parameters[0]:,} -> {parameters[1]:,}, "
            f"bytes {sizes[0]:,} -> {sizes[1]:,}"
        )


def compact(
    model: nn.Module,
    inputs: Any = None,
    *,
    units: bool = True,
    sparse: str | bool = "auto",
    at_rest: bool = False,
    allow_empty: bool = False,
) -> Compacted:
    r"""Return a smaller model that computes what the pruned `model` computes, which stays as it is.

    In a chain of ``Linear`` layers with element-wise activations between them (an
    ``nn.Sequential``, with others in it, wherever it stands in the model) neurons are removed that
    nothing reaches or that nobody reads. A neuron i that nothing reaches has the output
    :math:`act(b_i)`, which moves into the biases of the next layer:
    :math:`b'_k = b_k + W_{ki} \, act(b_i)`. Inputs of the first and outputs of the last layer stay.
    What then has few weights left becomes a `SparseLinear`. A liquid layer (`elegans.LTC`) loses
    its closed synapses and all neurons from which no path leads to one that is read. Other modules
    are copied; the record says so.

    Parameters
    ----------
    model
        Pruned by masks (`elegans.pruning.Pruner`, ``torch.nn.utils.prune``) or just by zeros.
    inputs
        A tensor, a tuple of arguments, or a mapping of arguments by name to run both models on: it
        is an error if they do not agree in half of the digits.
    units
        Whether to remove neurons; found and named they are in any case.
    sparse
        ``"auto"``: sparse layers where `elegans.pruning.compact.sparse_linear.sparse_pays` calls
        them faster. ``"measured"``: where they are faster now, on this machine, for batches as in
        `inputs`. True: wherever a weight is missing. False: nowhere.
    at_rest
        Whether to remove neurons of liquid layers that have no inputs as well. Such a neuron
        relaxes to its leak potential; its synapses become part of the leaks of their targets,
        which is exact only if it is at rest from the beginning (a state of zeros is no rest).
    allow_empty
        Whether a model may result whose output does not depend on its input.

    Returns
    -------
    Compacted
        Model and record; ``gain`` measures what is saved.

    Raises
    ------
    PruningError
        An output would be constant; a mask and its weights disagree; or the new model differs from
        the old one on `inputs`.
    InputError
        An argument is not valid.

    Notes
    -----
    Outputs are equal up to rounding for finite inputs. States of an optimiser belong to the old
    parameters: make a new optimiser, and for the weights that stay dense (their masks are kept) a
    new `Pruner`, before training on. A module that calls the parts of its ``nn.Sequential`` one by
    one to use what lies between them may find other neurons there: pass `inputs`, which shows it,
    or ``units=False``.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2))
    >>> with torch.no_grad():
    ...     _ = model[0].weight[:2].zero_()  # two neurons hear nothing
    ...     _ = model[2].weight[:, 3].zero_()  # and one is not heard
    >>> small = compact(model, torch.randn(5, 3))
    >>> small.model
    Sequential(
      (0): Linear(in_features=3, out_features=1, bias=True)
      (1): Sigmoid()
      (2): Linear(in_features=1, out_features=2, bias=True)
    )
    >>> print(small)
    layer    kind  shape  after  weights  after  density  removed  outcome
    0      Linear  4 x 3  1 x 3        6      3    50.0%        3  smaller
    2      Linear  2 x 4  2 x 1        6      2    75.0%        0  smaller
    parameters 26 -> 8, bytes 104 -> 32
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"expected a torch.nn.Module, got {type(model).__name__}")
    if not any(sparse is choice or sparse == choice for choice in SPARSE_CHOICES):
        raise InputError(f"sparse must be one of {SPARSE_CHOICES}, got {sparse!r}")
    if sparse == "measured" and inputs is None:
        raise InputError("sparse='measured' needs inputs to measure with; pass inputs=...")
    fed = _fed_rows(model, inputs) if sparse == "measured" else {}
    choice = ChainOptions(units, sparse, allow_empty, lambda layer: fed.get(id(layer)))
    visit = _Visit(model, choice, LiquidOptions(units, at_rest, allow_empty))
    changes = list(visit.changes("", model))
    new = copy_with(model, {change.old: change.new for change in changes if change.new is not None})
    compacted = Compacted(new, tuple(change.record for change in changes), model)
    if inputs is None:
        return compacted
    return Compacted(new, compacted.record, model, _compared(compacted, inputs))


class _Visit:
    """Goes through a model and says what becomes of each layer."""

    def __init__(self, model: nn.Module, choice: ChainOptions, settings: LiquidOptions) -> None:
        self._uses, self._choice, self._settings = Uses(model), choice, settings
        self._seen: set[int] = set()

    def changes(self, name: str, module: nn.Module) -> Iterator[Change]:
        """Iterate over what becomes of the layers of `module`, of the dotted name `name`."""
        if id(module) in self._seen:
            return
        self._seen.add(id(module))
        if isinstance(module, SequenceLayer | Cell):
            yield self._liquid(name, module)
        elif is_sequence(module) and self._uses.obstacle(module) is None:
            for item in chains_of(name, module, self._uses):
                if isinstance(item, list):
                    self._seen |= {id(place.linear) for place in item}
                    yield from compact_chain(item, self._choice)
                else:
                    inner = item.removeprefix(f"{name}." if name else "")
                    yield from self.changes(item, module.get_submodule(inner))
        elif type(module) is nn.Linear and self._uses.obstacle(module) is None:
            yield from compact_chain([Place(name, module)], self._choice)
        else:
            if module._parameters:
                yield _unchanged(name, module, self._uses.obstacle(module))
            # The layers of torch.nn look into their parts: a sparse one would not do there.
            if isinstance(module, CONTAINERS) or not type(module).__module__.startswith("torch.nn"):
                for key, child in module.named_children():
                    yield from self.changes(f"{name}.{key}" if name else key, child)
            elif not module._parameters and any(True for _ in module.parameters()):
                yield _unchanged(name, module, None)

    def _liquid(self, name: str, module: SequenceLayer | Cell) -> Change:
        cell = cell_of(module)
        reason = obstacle(cell)
        if reason is None and any(
            self._uses.parameters[id(parameter)] > 1 for parameter in cell.parameters()
        ):
            reason = "it shares a parameter with another layer"
        if reason is not None:
            return _unchanged(name, module, reason)
        memory = isinstance(module, SequenceLayer) and module.memory is not None
        liquid = cast("LTCCell", cell)  # `obstacle` has said so
        new, record = compact_cell(name, liquid, settings=self._settings, has_memory=memory)
        return Change(cell, new, record)


def _unchanged(name: str, module: nn.Module, reason: str | None) -> Change:
    kind = type(module).__name__
    reason = reason or f"{kind} has no smaller form here"
    weights = sum(p.numel() for p in module.parameters())
    note = f"{reason}, so it is copied as it is"
    return Change(
        module,
        None,
        LayerRecord(name, kind, LEFT_ALONE, weights=weights, weights_after=weights, notes=(note,)),
    )


def _fed_rows(model: nn.Module, inputs: Any) -> dict[int, int]:
    """Return how many samples each linear layer is fed when the model is called."""
    rows: dict[int, int] = {}

    def note(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], Tensor) and arguments[0].dim():
            rows[id(module)] = arguments[0].shape[:-1].numel()

    linears = [module for module in model.modules() if type(module) is nn.Linear]
    handles = [linear.register_forward_pre_hook(note) for linear in linears]
    try:
        with torch.no_grad(), evaluating(model):
            call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return rows


@torch.no_grad()
def _compared(compacted: Compacted, inputs: Any) -> float:
    """Return the largest difference of outputs; raise `PruningError` if it is no rounding."""
    outputs = []
    for model in (compacted.original, compacted.model):
        with evaluating(model):
            outputs.append(tensors_of(call(model, inputs)))
    before, after = outputs
    kept = compacted.record[0].kept if isinstance(compacted.original, SequenceLayer) else None
    if kept is not None:  # the final state of a liquid layer, (batch, neuron)
        before[1:] = [state[..., list(kept)] for state in before[1:]]
    if [value.shape for value in before] != [value.shape for value in after]:
        raise PruningError(
            f"the new model returns tensors of {[tuple(value.shape) for value in after]}, expected "
            f"{[tuple(value.shape) for value in before]}: something reads neurons that were "
            "removed; pass units=False, or leave out inputs if states may be smaller"
        )
    largest = 0.0
    for old, new in zip(before, after, strict=True):
        if not old.numel():
            continue
        difference = float((old - new).abs().max())
        allowed = torch.finfo(old.dtype).eps ** 0.5 * max(1.0, float(old.abs().max()))
        if not difference <= allowed:
            raise PruningError(
                f"the new model differs by {difference:.3g} on the inputs, expected less than "
                f"{allowed:.3g}: something reads neurons that were removed, or the model draws at "
                "random; pass units=False"
            )
        largest = max(largest, difference)
    return largest
