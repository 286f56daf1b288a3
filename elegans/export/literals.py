"""Numbers as literals of Python, broken into lines."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from elegans.synapses.plain import Array

_WIDTH = 100  # of a line


def array(name: str, values: Array) -> str:
    """Return ``name = np.array(values)``, broken into lines."""
    return assignment(name, values, "np.array(", ")")


def assignment(name: str, values: Any, before: str = "", after: str = "") -> str:
    """Return ``name = values``, broken into lines."""
    flat = f"{name} = {before}{_flat(values)}{after}"
    if len(flat) <= _WIDTH:
        return flat
    return f"{name} = {before}" + "\n".join(_nested(values, 0, after))


def _flat(values: Any) -> str:
    """Return a literal on a single line."""
    if isinstance(values, Mapping):
        return "{" + ", ".join(f'"{key}": {_flat(value)}' for key, value in values.items()) + "}"
    if isinstance(values, tuple):
        return "(" + ", ".join(map(_flat, values)) + ("," if len(values) == 1 else "") + ")"
    if isinstance(values, list):
        return "[" + ", ".join(map(_flat, values)) + "]"
    return repr(values.tolist()) if isinstance(values, np.ndarray) else repr(values)


def _nested(values: Any, depth: int, after: str) -> Iterable[str]:
    """Yield the lines of a literal, the first without its indentation."""
    indent = " " * 4 * depth
    flat = _flat(values)
    if len(indent) + 16 + len(flat) + len(after) <= _WIDTH:  # 16: the longest key
        yield flat + after
    elif isinstance(values, Mapping):
        yield "{"
        for key, value in values.items():
            first, *rest = _nested(value, depth + 1, ",")
            yield f'{indent}    "{key}": {first}'
            yield from rest
        yield indent + "}" + after
    elif isinstance(values, np.ndarray) and values.ndim == 1:
        yield "["
        inner = indent + "    "
        yield from textwrap.wrap(
            flat[1:-1] + ",",
            _WIDTH,
            initial_indent=inner,
            subsequent_indent=inner,
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield indent + "]" + after
    else:
        opening, closing = "()" if isinstance(values, tuple) else "[]"
        yield opening
        for value in values:
            first, *rest = _nested(value, depth + 1, ",")
            yield f"{indent}    {first}"
            yield from rest
        yield indent + closing + after


def names(words: Sequence[str]) -> str:
    """Return a tuple of words."""
    quoted = [json.dumps(str(name), ensure_ascii=False) for name in words]
    flat = f"({', '.join(quoted)}{',' * (len(quoted) == 1)})"
    return flat if len(flat) < _WIDTH - 10 else "(\n    " + ",\n    ".join(quoted) + ",\n)"
