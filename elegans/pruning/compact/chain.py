"""Chains of linear layers in a model, and the modules between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

from elegans.errors import PruningError
from elegans.hooks import ELEMENTWISE, any_global_hook, hooks_of, is_plain

MASK = "weight_mask"


@dataclass
class Place:
    """A linear layer of a model, by its dotted name, and the modules behind it in its chain."""

    name: str
    linear: nn.Linear
    after: list[nn.Module] = field(default_factory=list)

    def activate(self, values: Tensor) -> Tensor:
        """Apply what stands behind the layer, dropout as in evaluation, to (output,)."""
        for module in self.after:
            if isinstance(module, ELEMENTWISE):
                values = module(values)
        return values

    @property
    def drops(self) -> bool:
        """Whether there is dropout behind the layer."""
        return any(isinstance(module, nn.Dropout) and module.p > 0 for module in self.after)

    def parameter(self, name: str) -> nn.Parameter | None:
        """Return the parameter itself, under a mask of ``torch.nn.utils.prune``, too."""
        parameters = self.linear._parameters
        return parameters.get(name + "_orig", parameters.get(name))

    def weight(self) -> Tensor:
        """Return the weights as they act, detached, (output, input)."""
        return self._effective("weight")

    def bias(self) -> Tensor | None:
        """Return the biases as they act, detached, (output,)."""
        return None if self.parameter("bias") is None else self._effective("bias")

    def _effective(self, name: str) -> Tensor:
        if name + "_orig" not in self.linear._parameters:
            return self.linear.get_parameter(name).detach()
        mask = self.linear.get_buffer(name + "_mask")
        return self.linear.get_parameter(name + "_orig").detach() * mask

    def mask(self) -> Tensor:
        """Return which weights are there, bool, (output, input): by the mask, or else not zero.

        Raises
        ------
        PruningError
            A weight that the mask calls cut is not zero.
        """
        buffer = self.linear._buffers.get(MASK)
        if buffer is None:
            return self.weight() != 0
        mask = buffer.bool()
        revived = int(((self.weight() != 0) & ~mask).sum())
        if revived:
            raise PruningError(
                f"{revived} weights of {self.name or 'the model'} are cut by {MASK} and yet not "
                "zero, expected zeros; call pruner.reapply_masks() before"
            )
        return mask


def chains_of(name: str, module: nn.Module, uses: Uses) -> Iterator[list[Place] | str]:
    """Iterate over the chains of a plain `nn.Sequential`, nested ones included.

    Other modules that hold something of their own are given by their dotted names, to be looked
    into one by one.
    """
    chain: list[Place] = []
    for path, item in _flattened(name, module, uses):
        if type(item) is nn.Linear and uses.obstacle(item) is None:
            if chain and not _leads_to(chain[-1], item):
                yield chain
                chain = []
            chain.append(Place(path, item))
        elif chain and _passes(item):
            chain[-1].after.append(item)
        else:
            if chain:
                yield chain
            chain = []
            yield path
    if chain:
        yield chain


def _flattened(name: str, module: nn.Module, uses: Uses) -> Iterator[tuple[str, nn.Module]]:
    for key, child in module.named_children():
        path = f"{name}.{key}" if name else key
        if is_sequence(child) and uses.obstacle(child) is None:
            yield from _flattened(path, child, uses)
        else:
            yield path, child


def is_sequence(module: nn.Module) -> bool:
    """Whether calling `module` calls its children one after the other, and nothing else."""
    forward = type(module).forward is nn.Sequential.forward
    return isinstance(module, nn.Sequential) and forward and is_plain(module)


def _passes(module: nn.Module) -> bool:
    kinds = (*ELEMENTWISE, nn.Dropout, nn.Flatten)
    return type(module) in kinds and is_plain(module)


def _leads_to(place: Place, linear: nn.Linear) -> bool:
    """Whether outputs of `place` are, one by one, the inputs of `linear`.

    With ``Flatten`` between them they are if it had nothing but the features to flatten.
    """
    return place.linear.out_features == linear.in_features


class Uses:
    """Numbers of uses of a model's modules and parameters, and obstacles to replacing them.

    Parameters
    ----------
    model
        The whole model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules = Counter(
            id(module) for _, module in model.named_modules(remove_duplicate=False)
        )
        self.parameters = Counter(
            id(parameter)
            for module in model.modules()
            for parameter in module._parameters.values()
            if parameter is not None
        )

    def obstacle(self, module: nn.Module) -> str | None:
        """Return why `module` cannot be replaced by another, or None."""
        if self.modules[id(module)] > 1:
            return "it is used in several places"
        if any(
            self.parameters[id(parameter)] > 1
            for parameter in module._parameters.values()
            if parameter is not None
        ):
            return "it shares a parameter with another layer"
        if not is_masked_only(module):
            return "it has hooks or parametrizations"
        if isinstance(module, nn.Linear) and not module.weight.is_floating_point():
            return f"it computes in {module.weight.dtype}"
        return None


def is_masked_only(module: nn.Module) -> bool:
    """Whether nothing but masks of ``torch.nn.utils.prune`` takes part in calling `module`."""
    if is_plain(module):
        return True
    masks = [hook for table in hooks_of(module) for hook in table.values()]
    only = bool(masks) and all(isinstance(hook, BasePruningMethod) for hook in masks)
    return only and "parametrizations" not in module._modules and not any_global_hook()


def dense_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a layer with copies of these numbers, (output, input) and (output,).

    The constructor of PyTorch would draw numbers, and warn of a layer without inputs.
    """
    linear = nn.Linear(1, 1, bias=bias is not None, device="meta")
    linear.out_features, linear.in_features = weight.shape
    linear.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone())
    return linear


def linear_like(place: Place, weight: Tensor, mask: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a dense layer with these numbers that trains as the one of `place` does.

    Where weights are missing it has the buffer ``weight_mask`` that a pruner knows.
    """
    linear = dense_linear(weight, bias)
    trains = place.parameter("weight")
    linear.weight.requires_grad_(trains is not None and trains.requires_grad)
    if bias is not None:
        bias_before = place.parameter("bias")
        # A bias that folding has made trains with the weights.
        linear.bias.requires_grad_((trains if bias_before is None else bias_before).requires_grad)  # type: ignore[union-attr]
    if not bool(mask.all()):
        linear.register_buffer(MASK, mask.clone(), persistent=False)
    return linear.train(place.linear.training)
