"""Members of an ensemble as one tree of modules with a leading member axis, and back."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from elegans.errors import InputError
from elegans.synapses.conductance import ConductanceSynapses
from elegans.synapses.connections import Connections
from elegans.synapses.slots import MASK_SUFFIX, zero_outside

M = TypeVar("M", bound=nn.Module)

_COMPARED = (bool, int, float, complex, str, type(None), torch.dtype, tuple, list)
"""Settings of a module that are compared; others need not know when they are equal."""


class Stack(Connections):
    """A module of the members: its parameters and buffers have a leading member axis."""

    def extra_repr(self) -> str:
        """Return names and shapes for ``print(ensemble)``."""
        tensors = {**self._parameters, **self._buffers}
        return ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items() if t is not None)


def check_members(members: Sequence[nn.Module]) -> None:
    """Raise `InputError` unless the members are modules of one architecture."""
    if not members:
        raise InputError("an ensemble needs at least one member, got none; pass a list of modules")
    for k, member in enumerate(members):
        if k and member is members[0]:  # one network many times, as lesion studies have it
            continue
        if not isinstance(member, nn.Module):
            raise InputError(
                f"member {k} is {type(member).__name__}, expected a torch.nn.Module; pass the "
                "modules themselves, or a function and seeds to Ensemble.of"
            )
        _check_own_tensors(k, member)
    if not [*members[0].parameters(), *members[0].buffers()]:
        raise InputError(
            f"{type(members[0]).__name__} has neither parameters nor buffers, so that all members "
            "would be one; call the module itself"
        )
    first = dict(members[0].named_modules())
    for k, member in enumerate(members[1:], start=1):
        if member is members[0]:
            continue
        modules = dict(member.named_modules())
        if list(modules) != list(first):
            other = set(modules) ^ set(first)
            raise InputError(
                f"member {k} is built otherwise than member 0: only one of them has "
                f"{sorted(other) or 'this order of modules'}; members must have one architecture"
            )
        for path, module in modules.items():
            _check_settings(k, path, module, first[path])
            _check_tensors(k, path, module, first[path])


def _check_own_tensors(k: int, member: nn.Module) -> None:
    seen: dict[int, str] = {}
    for name, parameter in member.named_parameters(remove_duplicate=False):
        if is_lazy(parameter):
            raise InputError(
                f"{name} of member {k} has no shape yet; call every member once before stacking"
            )
        if id(parameter) in seen:
            raise InputError(
                f"member {k} uses one parameter as {seen[id(parameter)]} and as {name}; tied "
                "parameters would come apart in an ensemble: give each place its own"
            )
        seen[id(parameter)] = name


def _check_settings(k: int, path: str, module: nn.Module, first: nn.Module) -> None:
    """Compare classes and plain attributes: neither shapes nor values of tensors."""
    where = f"module {path!r}" if path else "the module"
    if type(module) is not type(first):
        raise InputError(
            f"{where} is {type(module).__name__} in member {k} and {type(first).__name__} in "
            "member 0; members must have one architecture"
        )
    for name in sorted({*vars(module), *vars(first)}):
        if name.startswith("_"):
            continue
        mine, other = vars(module).get(name), vars(first).get(name)
        if isinstance(mine, _COMPARED) and isinstance(other, _COMPARED):
            equal = mine == other
        elif isinstance(mine, Tensor) and isinstance(other, Tensor):
            equal = mine.shape == other.shape and bool((mine == other).all())
        elif _name_of(mine) and _name_of(other):
            equal = _name_of(mine) == _name_of(other)
        else:
            equal = type(mine) is type(other)
        if not equal:
            raise InputError(
                f"{name} of {where} is {mine!r} in member {k} and {other!r} in member 0; what is "
                "no parameter or buffer must be the same in all members"
            )


def _name_of(setting: Any) -> str:
    return getattr(setting, "__qualname__", "")


def _check_tensors(k: int, path: str, module: nn.Module, first: nn.Module) -> None:
    for kind in ("_parameters", "_buffers"):
        mine, other = _present(getattr(module, kind)), _present(getattr(first, kind))
        for name in sorted({*mine, *other}):
            full = _join(path, name)
            if _is_mask(name) and (name not in mine or name not in other):
                continue
            if name not in mine or name not in other:
                raise InputError(
                    f"{full} is missing in member {0 if name in mine else k}; members must have "
                    "one architecture"
                )
            facts, expected = _signature(mine[name]), _signature(other[name])
            if name == "layer_sizes" and mine[name].tolist() != other[name].tolist():
                raise InputError(
                    f"member {k} has layers of {mine[name].tolist()} neurons, member 0 of "
                    f"{other[name].tolist()}; the circuits of an ensemble may differ in their "
                    "synapses, not in their layers"
                )
            if name == "output_index" and mine[name].tolist() != other[name].tolist():
                raise InputError(
                    f"the outputs of member {k} read the neurons {mine[name].tolist()}, those of "
                    f"member 0 {other[name].tolist()}; the circuits of an ensemble may differ in "
                    "their synapses, not in what is read"
                )
            if isinstance(module, ConductanceSynapses):
                facts, expected = facts[1:], expected[1:]  # synapses are padded
            if facts != expected:
                raise InputError(
                    f"{full} is {_described(mine[name])} in member {k} and "
                    f"{_described(other[name])} in member 0; the tensors of all members must be "
                    "alike"
                )


def _present(tensors: dict[str, Any]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def _is_mask(name: str) -> bool:
    return name.endswith(MASK_SUFFIX)


def _signature(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.dtype, tensor.device, tensor.requires_grad


def _described(tensor: Tensor) -> str:
    frozen = "" if tensor.requires_grad or not isinstance(tensor, nn.Parameter) else ", frozen"
    return f"{tuple(tensor.shape)} of {tensor.dtype} on {tensor.device}{frozen}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# --- from members to a stack and back ----------------------------------------------------


def stacked(members: Sequence[nn.Module]) -> Stack:
    """Return copies of the members' tensors as a tree of their modules' names."""
    trees = [dict(member.named_modules()) for member in members]
    root = Stack()
    for path, first in trees[0].items():
        node = root
        for part in path.split(".") if path else ():
            if part not in node._modules:
                node.add_module(part, Stack())
            child = node._modules[part]
            assert isinstance(child, Stack)
            node = child
        _fill(node, [tree[path] for tree in trees], first)
    return root


@torch.no_grad()
def _fill(node: Stack, modules: Sequence[nn.Module], first: nn.Module) -> None:
    padded = isinstance(first, ConductanceSynapses)
    counts = [len(m.source) for m in modules if isinstance(m, ConductanceSynapses)]
    for name, parameter in _present(first._parameters).items():
        values: list[Tensor] = [module.get_parameter(name) for module in modules]
        joint = _together(values, padded)
        node.register_parameter(name, nn.Parameter(joint, requires_grad=parameter.requires_grad))
    names = dict.fromkeys(name for module in modules for name in _present(module._buffers))
    for name in names:
        present = [m for m in modules if m._buffers.get(name) is not None]
        persistent = not present or name not in present[0]._non_persistent_buffers_set
        tensors = [_buffer(m, name, count) for m, count in _counted(modules, counts)]
        joint = _together(tensors, padded)
        node.register_buffer(name, joint, persistent=persistent)
    node.accept_connections()


def _counted(modules: Sequence[nn.Module], counts: list[int]) -> Iterator[tuple[nn.Module, int]]:
    return zip(modules, counts or [0] * len(modules), strict=True)


def _buffer(module: nn.Module, name: str, count: int) -> Tensor:
    buffer = module._buffers.get(name)
    if buffer is not None:
        return buffer
    weight = module._parameters[name.removesuffix(MASK_SUFFIX)]
    assert weight is not None
    return torch.ones_like(weight, dtype=torch.bool)


def _together(tensors: Sequence[Tensor], padded: bool) -> Tensor:
    """Return copies of the tensors with a leading member axis."""
    first = tensors[0]
    if all(tensor is first for tensor in tensors):
        return first.expand(len(tensors), *first.shape).clone(memory_format=torch.contiguous_format)
    return _padded(tensors) if padded else torch.stack(list(tensors))


def _padded(tensors: Sequence[Any]) -> Tensor:
    """Return flat tensors side by side, (member, most), zeros at the end of the shorter ones."""
    most = max(len(tensor) for tensor in tensors)
    return torch.stack([nn.functional.pad(tensor, (0, most - len(tensor))) for tensor in tensors])


def counts_of(members: Sequence[nn.Module]) -> dict[str, list[int]]:
    """Return the number of synapses of each member, by the name of their set."""
    return {
        path: [len(member.get_submodule(path).source) for member in members]  # type: ignore[arg-type]
        for path, module in members[0].named_modules()
        if isinstance(module, ConductanceSynapses)
    }


def template_of(member: nn.Module) -> nn.Module:
    """Return the module without its values."""
    return copied(member).to("meta")


def copied(module: M) -> M:
    """Return a deep copy, also of a module that computes a weight from others when it is called.

    The last weight, which ``torch.nn.utils.prune`` leaves on the module, hangs on a graph that
    cannot be copied; the copy makes it anew when it is called.
    """
    attributes = [value for part in module.modules() for value in vars(part).values()]
    computed = [value for value in attributes if isinstance(value, Tensor) and not value.is_leaf]
    return copy.deepcopy(module, {id(value): value.detach() for value in computed})


@torch.no_grad()
def unstacked(template: nn.Module, root: Stack, k: int, counts: dict[str, list[int]]) -> nn.Module:
    """Return member `k`, a module of its own with copies of its tensors."""
    member = copy.deepcopy(template)
    nodes = dict(root.named_modules())
    for path, module in member.named_modules():
        node, end = nodes[path], None
        if isinstance(node, Connections):
            node.check_connections()
        if path in counts:
            end = counts[path][k]
        for name in _present(module._parameters):
            parameter = node._parameters[name]
            assert parameter is not None
            values = parameter[k, :end] if path in counts else parameter[k]
            fresh = nn.Parameter(values.detach().clone(), requires_grad=parameter.requires_grad)
            module._parameters[name] = fresh
        for name, buffer in _present(node._buffers).items():
            values = (buffer[k, :end] if path in counts else buffer[k]).clone()
            if name in module._buffers:
                module._buffers[name] = values
            elif not bool(values.all()) or path not in counts:
                persistent = name not in node._non_persistent_buffers_set
                module.register_buffer(name, values, persistent=persistent)
        if isinstance(module, Connections):
            module.accept_connections()
    return member


def close_gradients(root: Stack) -> None:
    """Let masked weights have no gradient from now on."""
    for node in root.modules():
        for name, parameter in node.named_parameters(recurse=False):
            if node._buffers.get(name + MASK_SUFFIX) is not None:
                hook: Any = parameter.register_post_accumulate_grad_hook
                hook(_Closed(node, name))


class _Closed:
    """Sets the gradient of closed weights to zero."""

    def __init__(self, node: nn.Module, name: str) -> None:
        self._node, self._name = node, name

    def __call__(self, parameter: Tensor) -> None:
        mask = self._node._buffers.get(self._name + MASK_SUFFIX)
        if parameter.grad is not None and mask is not None:
            zero_outside(parameter.grad, mask)
