"""Checks of what a user hands to a layer: arguments, shapes, types and values.

Values are not looked at while `torch.compile`, `torch.export` or `torch.jit.trace` trace, nor under
`torch.func.vmap`, where they do not exist yet or would become constants.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypedDict, TypeVar

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.utils.rnn import PackedSequence

from elegans.arguments import shown
from elegans.errors import ElegansError, InputError

Device = torch.device | str | None

M = TypeVar("M", bound=nn.Module)


class Placement(TypedDict, total=False):
    """The keyword arguments ``device`` and ``dtype`` of tensor constructors."""

    device: Device
    dtype: torch.dtype | None


ELSEWHERE = {
    "num_layers": "put the layers into the wiring (elegans.wiring.Layered), or call one layer with "
    "the output of another",
    "bidirectional": "run a second layer on x.flip(1) and flip its output back",
    "dropout": "put torch.nn.Dropout on the output",
    "hidden_size": "pass {neurons}, a number of neurons, a recipe or a wiring",
    "bias": "choose input_mapping and output_mapping, 'affine' with a bias and 'linear' without",
    "proj_size": "choose the number of motor neurons in the wiring, or put torch.nn.Linear on the "
    "output",
}
"""Substitutes for keywords of ``torch.nn.LSTM`` that a layer does not take."""


def check_keywords(kind: type, given: Mapping[str, object]) -> None:
    """Check what a constructor of layers or cells was given as ``**factory_kwargs``.

    Raises `InputError` if a keyword is none of `Placement`, and names class and nearest keyword;
    or as `check_placement`.
    """
    unknown = next((name for name in given if name not in Placement.__annotations__), None)
    if unknown is None:
        check_placement(given)
        return
    parameters = inspect.signature(kind).parameters.values()
    accepted = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    near = difflib.get_close_matches(unknown, (*accepted, *Placement.__annotations__), n=1)
    if unknown in ELSEWHERE:
        remedy = ELSEWHERE[unknown].format(neurons="units" if "units" in accepted else "wiring")
    elif near:
        remedy = f"did you mean {near[0]!r}?"
    else:
        remedy = f"it takes {', '.join((*accepted, *Placement.__annotations__))}"
    raise InputError(f"{kind.__name__} got the unknown keyword {unknown!r}; {remedy}")


LARGEST = 2**31 - 1
"""The largest number of anything; no memory holds more."""

MOST_UNFOLDS = 100_000
"""Parts of a step of which more would only hang: a damaged file may ask for any number."""


def check_count(name: str, value: Any, least: int = 1, most: float = LARGEST) -> int:
    """Return `value` as an integer; raise `InputError` unless it is from `least` to `most`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        limit = f" and at most {most}" if whole and value > most else ""
        raise InputError(
            f"{name} must be an integer of at least {least}{limit}, got {shown(value)}"
        )
    return int(value)


def check_seed(seed: Any) -> int:
    """Return the seed; raise `InputError` unless it is an integer of at least 0."""
    return check_count("seed", seed, least=0, most=2**63 - 1)


def check_share(name: str, value: Any) -> float:
    """Return `value` as a float; raise `InputError` unless it is from 0 to less than 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InputError(f"{name} must be a number from 0 to less than 1, got {value!r}")
    return float(value)


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value`; raise `InputError`, which lists the choices, unless it is one of them."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"unknown {name} {value!r}, expected one of {choices}")
    return value


FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
"""The precisions that values may have."""


def check_placement(given: Mapping[str, object]) -> None:
    """Raise `InputError` unless tensors can be made on the ``device`` and of the ``dtype`` given.

    None stands for the default one, and so does what is not given.
    """
    dtype, device = given.get("dtype"), given.get("device")
    if dtype is not None and not any(dtype is one for one in FLOATS):
        raise InputError(
            f"dtype must be a floating type such as torch.float32, got {shown(dtype)}; expected "
            f"one of {', '.join(map(str, FLOATS))}"
        )
    if device is not None:
        check_device(device, "device =")


def check_device(device: Any, called: str) -> None:
    """Raise `InputError` unless PyTorch can use the device here; `called` comes before it."""
    try:
        torch.empty(0, device=device)
    except Exception as error:  # whatever PyTorch says of devices
        raise InputError(
            f"got {called} {shown(device)}, expected one that PyTorch can use here, such as 'cpu' "
            f"({str(error).splitlines()[0]}); leave it out"
        ) from error


def is_traced() -> bool:
    """Whether `torch.jit.trace` is going on."""
    answer: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return answer


def values_are_visible(*tensors: Tensor) -> bool:
    """Whether Python may look at the values.

    Not while tracing, exporting, capturing a graph of the GPU, or under vmap.
    """
    if torch.compiler.is_compiling() or is_traced():
        return False
    if any(t.is_meta or _is_batched(t) for t in tensors):
        return False
    return not (any(t.is_cuda for t in tensors) and torch.cuda.is_current_stream_capturing())


def in_transform() -> bool:
    """Whether a transform of `torch.func` runs, which wraps the result of every operation."""
    return torch._C._functorch.maybe_current_level() is not None


def is_transformed(tensor: Tensor) -> bool:
    """Whether some transform of `torch.func` wraps `tensor`."""
    wrapped: bool = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return wrapped


def _is_batched(tensor: Tensor) -> bool:
    """Whether vmap stands somewhere among the transforms that wrap `tensor`."""
    # PyTorch has no public question for this; torch.func itself asks in this way.
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False


def is_shard(tensor: Tensor) -> bool:
    """Whether `tensor` is a ``DTensor``, of which a process holds a part."""
    return hasattr(type(tensor), "full_tensor")  # importing the class takes longer than torch


def check_whole(
    tensors: Iterable[Tensor], remedy: str, error: type[ElegansError] = InputError
) -> None:
    """Raise `error` if one of the tensors is a ``DTensor``, as `fully_shard` leaves them."""
    if any(is_shard(tensor) for tensor in tensors):
        raise error(
            f"got parameters that are DTensors, shards of whole ones, expected whole ones; {remedy}"
        )


def refuse_script(module: nn.Module) -> NoReturn:
    """Raise `InputError`: the ``__prepare_scriptable__`` of what TorchScript cannot read."""
    raise InputError(
        f"torch.jit.script cannot read the Python of {type(module).__name__}; use "
        "torch.export.export or torch.jit.trace, which record what it computes"
    )


def check_dense(name: str, values: Tensor, device: torch.device | None = None) -> None:
    """Raise `InputError` unless a tensor is dense, and has values if the `device` holds some."""
    if values.is_nested:
        raise InputError(
            f"{name} is a nested tensor, expected a dense one; pad it, by "
            f"{name}.to_padded_tensor(0.0), and pass the lengths="
        )
    if values.layout != torch.strided:
        raise InputError(
            f"{name} is a tensor of the layout {values.layout}, expected a dense one; pass "
            f"{name}.to_dense()"
        )
    if values.is_quantized:
        raise InputError(
            f"{name} is a quantised tensor, expected numbers; pass {name}.dequantize()"
        )
    if values.is_meta and device is not None and device.type != "meta":
        raise InputError(
            f"{name} is on the meta device, which holds no values, expected one on {device}; pass "
            "values, or bring the layer to the meta device, too"
        )


def as_computed(
    name: str, values: Any, dtype: torch.dtype, device: torch.device | None = None
) -> Tensor:
    """Return the tensor `values` in the precision `dtype`.

    Raises
    ------
    InputError
        It is no dense tensor of real numbers, or not where the layer is.
    """
    if isinstance(values, PackedSequence):
        raise InputError(
            f"{name} is a PackedSequence, which layers take and a single step does not; pass a "
            "tensor, such as one of those that torch.nn.utils.rnn.unpack_sequence returns"
        )
    if not isinstance(values, Tensor):
        got, remedy = type(values).__name__, "use torch.as_tensor(...)"
        if isinstance(values, fx.Proxy):
            got += " of torch.fx, which has no shape to look at"
            remedy = (
                "use torch.export, or a torch.fx.Tracer whose is_leaf_module keeps layers whole"
            )
        raise InputError(f"{name} must be a tensor, got {got}; {remedy}")
    check_dense(name, values, device)
    if device is not None and values.device.type != device.type:
        raise InputError(
            f"{name} is on {values.device}, the layer is on {device}; move one of them: "
            f"{name}.to({str(device)!r})"
        )
    if values.is_complex():
        raise InputError(
            f"{name} is {values.dtype}, the layer computes in {dtype}; pass real numbers, such as "
            f"{name}.abs() or torch.view_as_real({name})"
        )
    return values.to(dtype)


def moved(model: M, device: Any, called: str) -> M:
    """Return the module on a device; raise `InputError` if PyTorch cannot use it here.

    `called` is what the message says before the device.
    """
    if device is None:
        return model
    check_device(device, called)
    if torch.device(device).type == "meta":
        raise InputError(
            f"got {called} {device!r}, expected one that holds values, such as 'cpu'; leave it out"
        )
    return model.to(device)


def all_finite(values: Tensor) -> bool:
    """Whether no value is infinite or NaN."""
    # One pass: a sum is finite only if its terms are. Finite terms may overflow, then it takes two.
    return math.isfinite(values.detach().sum().item()) or bool(torch.isfinite(values).all())


def check_representable(values: Iterable[Tensor]) -> None:
    """Raise `InputError` unless finite numbers are so in the precision they were converted to."""
    for value in values:
        if not all_finite(value):
            raise InputError(
                f"a number is too large for {value.dtype}, expected one that it holds; build the "
                "layer with dtype=torch.float64"
            )


def check_finite(name: str, values: Tensor, axes: tuple[str, ...]) -> None:
    """Raise `InputError` naming the place, along `axes`, of the first value that is not finite."""
    if not values_are_visible(values):
        return
    if not all_finite(values):
        where = torch.nonzero(~torch.isfinite(values))[0].tolist()
        place = ", ".join(f"{axis} {index}" for axis, index in zip(axes, where, strict=False))
        raise InputError(
            f"{name} holds {values[tuple(where)].item()} at {place}; every value must be finite: "
            "clean the data or mark padding with lengths="
        )


def check_elapsed(name: str, elapsed: Tensor, axes: tuple[str, ...]) -> None:
    """Raise `InputError` unless every elapsed time is finite and not negative."""
    check_finite(name, elapsed, axes)
    if values_are_visible(elapsed) and elapsed.numel() and elapsed.min().item() < 0:
        where = torch.nonzero(elapsed < 0)[0].tolist()
        place = ", ".join(f"{axis} {index}" for axis, index in zip(axes, where, strict=False))
        raise InputError(
            f"{name} holds {elapsed[tuple(where)].item()} at {place}; elapsed times must not be "
            "negative: pass the time since the previous step, not a time stamp"
        )
