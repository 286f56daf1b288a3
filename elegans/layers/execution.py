"""The choice of the path that runs a circuit: plain PyTorch (`reference`) or a kernel (`fused`).

The reference path is the definition; it takes any type and device, works under `torch.func`, and
can be differentiated twice. The fused path runs a whole sequence in one call; `torch.compile` and
`torch.export` see it as the operator ``torch.ops.elegans.sequence``, or ``closed_form`` of a CfC.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from elegans.checks import check_choice, is_shard, is_traced, is_transformed
from elegans.errors import InputError
from elegans.solvers import Solver

PATHS = ("auto", "reference", "fused")
FUSED_DEVICES = ("cpu", "cuda")
FUSED_TYPES = (torch.float32, torch.float64)

F = TypeVar("F", bound=Callable[..., object])

_said: set[tuple[int, str]] = set()

_path: ContextVar[str] = ContextVar("path", default="auto")


class backend:  # noqa: N801  # called like torch.no_grad
    """Choose the path of execution, from now on or inside a ``with`` block.

    Parameters
    ----------
    path
        ``"reference"``: plain PyTorch. ``"fused"``: kernels, and an error where none fits.
        ``"auto"``, the default: fused where a kernel fits.

    Raises
    ------
    InputError
        There is no such path.

    Notes
    -----
    As with ``torch.set_grad_enabled``, the choice holds from the call on, in the calling thread;
    leaving the block restores what held before.

    Examples
    --------
    >>> import elegans, torch
    >>> model, x = elegans.LTC(2, 5), torch.randn(3, 4, 2)
    >>> with elegans.backend("reference"):
    ...     expected, _ = model(x)
    >>> choice = elegans.backend("fused")
    >>> output, _ = model(x)
    >>> choice = elegans.backend("auto")
    >>> torch.allclose(output, expected, atol=1e-5)
    True
    """

    def __init__(self, path: str) -> None:
        check_choice("backend", path, PATHS)
        self._before = _path.get()
        _path.set(path)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        _path.set(self._before)


def _constant_in_graphs(function: F) -> F:
    """Mark a function as `torch.compiler.assume_constant_result` does.

    That one imports the compiler, which takes longer than everything else here.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@_constant_in_graphs
def chosen_path() -> str:
    """Return the path that `backend` has chosen; a graph keeps what held when it was traced."""
    return _path.get()


def choose_fused(solver: Solver, *tensors: Tensor | None) -> bool:
    """Whether a kernel shall run `tensors` with `solver`.

    Raises
    ------
    InputError
        The fused path is forced and no kernel fits; says why and what is supported.
    """
    reason = None
    if solver.kernel is None:
        reason = f"there is no kernel for the solver {solver.name!r}"
    supported = (
        "the solvers 'semi_implicit' and 'exponential' in float32 and float64 on CPU and CUDA"
    )
    return _choose(reason, supported, FUSED_DEVICES, tensors)


def choose_closed_form(reason: str | None, *tensors: Tensor | None) -> bool:
    """Whether a kernel shall run a CfC on `tensors`; `reason` is why it does not fit, or None.

    Raises
    ------
    InputError
        The fused path is forced and no kernel fits; says why and what is supported.
    """
    supported = "a CfC without dropout and hooks in float32 and float64 on the CPU"
    return _choose(reason, supported, ("cpu",), tensors)


def _choose(
    reason: str | None,
    supported: str,
    devices: tuple[str, ...],
    tensors: tuple[Tensor | None, ...],
) -> bool:
    path = chosen_path()
    if path == "reference":
        return False
    reason = reason or _obstacle(devices, tensors)
    if reason is not None and path == "fused":
        raise InputError(
            f"the fused path was asked for, but {reason}; it supports {supported}, outside of "
            "torch.func; choose elegans.backend('auto')"
        )
    return reason is None


def _obstacle(devices: tuple[str, ...], tensors: tuple[Tensor | None, ...]) -> str | None:
    """Return why no kernel fits, or None."""
    if is_traced() or torch.onnx.is_in_onnx_export():
        return "the graph of torch.jit.trace and of torch.onnx has no place for a kernel"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation is going on"
    given = [tensor for tensor in tensors if tensor is not None]
    if not torch.compiler.is_compiling() and any(is_transformed(tensor) for tensor in given):
        return "tensors are being transformed"
    device = given[0].device
    for tensor in given:
        if tensor.device != device or device.type not in devices:
            return f"a tensor is on {tensor.device}"
        if is_shard(tensor):
            return "a tensor is a DTensor"
        if tensor.dtype not in FUSED_TYPES:
            return f"a tensor is {tensor.dtype}"
    return _not_ready(device.type)


def memory_may_go() -> bool:
    """Whether parameters may lose their memory between the passes, so that kernels need copies.

    fully_shard frees it.
    """
    return torch.distributed.is_available() and torch.distributed.is_initialized()


@_constant_in_graphs
def _not_ready(device: str) -> str | None:
    """Return why this process runs no kernels on such a device, or None."""
    consequence = "circuits run on the reference path, many times slower"
    reason = import_failure("elegans.solvers.fused", "kernels", consequence)
    if reason is not None or device == "cpu":
        return reason or process_obstacle(consequence)
    module = "elegans.solvers.fused.gpu.problem"
    return import_failure(module, "kernels for the GPU", consequence, "pip install triton")


def process_obstacle(consequence: str) -> str | None:
    """Return why this process cannot run kernels on the CPU, after a warning, or None."""
    reason: str | None = importlib.import_module("elegans.solvers.fused").obstacle()
    if reason is not None:
        _warn_of_path(f"{reason}: {consequence}")
    return reason


def import_failure(
    module: str, kernels: str, consequence: str, remedy: str = "pip install --upgrade numba"
) -> str | None:
    """Return why `module` with kernels cannot be imported, after a warning, or None."""
    error = _import_error(module)
    if error is None:
        return None
    reason = f"{kernels} are not available ({error})"
    _warn_of_path(f"{reason}: {consequence}; {remedy}")
    return reason


@cache
def _import_error(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # the compiler is missing, or of a version that cannot work here
        return str(error)
    return None


def _warn_of_path(text: str) -> None:
    """Say why kernels do not run, unless an error will."""
    if chosen_path() != "fused":
        warn_once(text)


def warn_once(text: str) -> None:
    """Warn, once in a process; a forked one has not said what its parent has."""
    said = os.getpid(), text
    if said not in _said:
        _said.add(said)
        warnings.warn(text, RuntimeWarning, stacklevel=2)
