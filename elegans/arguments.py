"""Errors that name a wrong argument, by the annotations that every public signature has.

Like `elegans.errors` this file stands under every floor of the library: it imports the standard
library alone.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from numbers import Integral, Real
from reprlib import Repr
from typing import (
    Any,
    Literal,
    TypeVar,
    Union,
    Unpack,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from elegans.errors import ElegansError

T = TypeVar("T", bound=Callable[..., Any])

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def checked(error: type[ElegansError]) -> Callable[[T], T]:
    """Return a decorator of functions, and of classes for their constructor, that names arguments.

    Any object can stand for true or false, so that nothing after it would notice: flags are checked
    before the call. All else is looked at when a call has failed with an error that is not one of
    the library: if an argument is not what its annotation says, an `error` that names it takes its
    place. What works is neither refused nor slowed down, and messages that know more stay.

    Parameters
    ----------
    error
        The class of the errors.

    Examples
    --------
    >>> from elegans.errors import InputError
    >>> @checked(InputError)
    ... def half(number: int, exactly: bool = False) -> float:
    ...     return number / 2
    >>> half("8")
    Traceback (most recent call last):
        ...
    elegans.errors.InputError: half got number='8', expected int; pass one
    >>> half(8, exactly="no")
    Traceback (most recent call last):
        ...
    elegans.errors.InputError: half got exactly='no', expected bool; pass one
    """

    def decorated(thing: T) -> T:
        if isinstance(thing, type):
            kind: Any = thing
            kind.__init__ = _checked_function(kind.__init__, error, kind.__name__)
            return thing
        return _checked_function(thing, error, thing.__name__)

    return decorated


def _checked_function(function: T, error: type[ElegansError], called: str) -> T:
    signature = inspect.signature(function)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # Python itself says what is missing or unknown
            return function(*args, **kwargs)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                given |= given.pop(name, {})
        with explained(function, given, error, called):
            return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


@contextmanager
def explained(
    function: Callable[..., Any], given: Mapping[str, Any], error: type[ElegansError], called: str
) -> Iterator[None]:
    """Name the first of the arguments `given` that `function` is not annotated for; see `checked`.

    Parameters
    ----------
    function
        Whose annotations count.
    given
        Arguments by name.
    error
        The class of the error.
    called
        What the message calls the function.
    """
    hints = _hints(function)
    for name, value in given.items():
        if hints.get(name) is bool and not _fits(value, bool):
            raise _wrong(called, name, value, bool, error)
    try:
        yield
    except ElegansError:
        raise
    except Exception as foreign:
        for name, value in given.items():
            hint = hints.get(name, Any)
            if not _fits(value, hint):
                raise _wrong(called, name, value, hint, error) from foreign
        raise


def _wrong(
    called: str, name: str, value: Any, hint: Any, error: type[ElegansError]
) -> ElegansError:
    expected = _named(hint)
    if _is_number(value, Integral, most=math.inf) and not _is_number(value, Integral):
        expected = "a number that 64 bits can hold"
    return error(f"{called} got {name}={shown(value)}, expected {expected}; pass one")


def shown(value: Any) -> str:
    """Return a short text of a value, whatever it is.

    Examples
    --------
    >>> shown([1, 2]), shown(10**5000)
    ('[1, 2]', 'an int')
    """
    try:
        if hasattr(value, "is_meta"):  # a tensor
            odd = odd_tensor(value)
            return f"a tensor {odd}" if odd else f"a tensor of shape {tuple(value.shape)}"
        return _SHORT.repr(value)
    except Exception:  # its own, or digits without end
        return f"an {type(value).__name__}"


def odd_tensor(tensor: Any) -> str | None:
    """Return why the values of a tensor are no real numbers in rows, as "a tensor ...", or None."""
    if tensor.is_meta:
        return "on the meta device, which holds no values"
    if tensor.is_nested or tensor.is_sparse or "strided" not in str(tensor.layout):
        return "that is sparse or nested"
    if tensor.is_quantized:
        return "that is quantised"
    return "of complex numbers" if tensor.is_complex() else None


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says, as far as that can be told."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is None or hint is type(None):
        return value is None
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if hint is bool:
        return type(value).__name__ in ("bool", "bool_")
    if hint is int:
        return _is_number(value, Integral)
    if hint is float:
        return _is_number(value, Real)
    if origin is type:
        return isinstance(value, type)
    if origin is Callable or hint is Callable:
        return callable(value)
    try:
        if not isinstance(value, origin or hint):
            return False
    except TypeError:  # a protocol, a type variable, Any: nobody can tell
        return True
    if hasattr(value, "is_meta"):
        return odd_tensor(value) is None
    if isinstance(value, Mapping) and len(inner) == 2:
        return all(_fits(key, inner[0]) and _fits(one, inner[1]) for key, one in value.items())
    if isinstance(value, str) or not isinstance(value, Sequence) or not inner:
        # A text is a sequence of texts, but nobody who passes one means that.
        return not (isinstance(value, str) and origin is not None)
    if origin is tuple and inner[-1] is not Ellipsis:
        return len(value) == len(inner) and all(map(_fits, value, inner))
    return all(_fits(one, inner[0]) for one in value)


def _is_number(value: Any, kind: type, most: float = 2.0**63) -> bool:
    """Whether it is a number, but none of true and false; integers are at most `most`."""
    if not isinstance(value, kind) or isinstance(value, bool):
        return False
    return not isinstance(value, Integral) or -most <= int(value) < most


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of the parameters, keywords of a `TypedDict` included."""
    hints: dict[str, Any] = {}
    function = inspect.unwrap(function)  # decorated again, as by torch.no_grad
    for name, text in inspect.get_annotations(function).items():
        try:
            hint = eval(text, function.__globals__) if isinstance(text, str) else text
        except NameError:  # imported for type checkers only
            continue
        if get_origin(hint) is Unpack and is_typeddict(get_args(hint)[0]):
            hints |= get_type_hints(get_args(hint)[0])
        else:
            hints[name] = hint
    return hints


def _named(hint: Any) -> str:
    """Return an annotation as a reader knows it."""
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_named(one) for one in get_args(hint))
    if hint in (None, type(None)):
        return "None"
    if isinstance(hint, type) and get_origin(hint) is None:
        return hint.__name__
    return str(hint).replace("typing.", "").replace("collections.abc.", "")
