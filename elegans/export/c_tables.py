"""Pieces of C: constant tables, parts that are the same for all circuits, and what they make up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_WIDTH = 100

_ENDS = np.finfo(np.float32).min, np.finfo(np.float32).max

_WHOLE = {"int16": "READ_16", "uint16": "READ_16", "int32": "READ_32", "uint32": "READ_32"}
"""Macros that read whole numbers of a type that is given; other ones take what fits."""


@dataclass(frozen=True)
class Table:
    """A constant array: single precision, whole numbers of the type of `values`, or indices.

    Parameters
    ----------
    name
        In C.
    values
        Any shape; int64 are indices, which get the smallest type that fits.
    what
        Words for a comment, or none.
    """

    name: str
    values: NDArray[Any]
    what: str = ""

    @classmethod
    def of(cls, name: str, values: ArrayLike, what: str = "") -> Table:
        """Return a table of numbers, or of indices if `values` are whole."""
        return cls(name, np.asarray(values), what)

    @property
    def _kind(self) -> tuple[str, str]:
        """Return type and reading macro."""
        kind = self.values.dtype
        if kind.kind == "f":
            return "float", "READ"
        if kind.name in _WHOLE:
            return f"{kind.name}_t", _WHOLE[kind.name]
        bits = next(b for b in (8, 16, 32) if b == 32 or self.values.max(initial=0) < 1 << b)
        return f"uint{bits}_t", f"READ_{bits}"

    @property
    def read(self) -> str:
        """Macro that reads an entry."""
        return self._kind[1]

    @property
    def bytes(self) -> int:
        """Size in memory; a table without entries has one, as C demands."""
        return width(self._kind[0]) * max(1, self.values.size)

    def text(self) -> str:
        """Return the definition."""
        values = self.values if self.values.size else np.zeros(1, self.values.dtype)
        kind = self._kind[0]
        items = [number(v) if kind == "float" else str(int(v)) for v in values.ravel()]
        if values.ndim > 1:
            width = values.shape[-1]
            rows = [items[k : k + width] for k in range(0, len(items), width)]
            items = ["{" + ", ".join(row) + "}" for row in rows]
        about = f"/* {self.what} */\n" if self.what else ""
        head = f"static const {kind} {self.name}{brackets(values.shape)} FLASH = {{"
        return f"{about}{head}\n{_lines(items)}\n}};\n"


@dataclass
class Piece:
    """A part of a program: text, and the tables, fields of the state and constants it needs."""

    text: str = ""
    tables: list[Table] = field(default_factory=list)
    fields: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of what the state holds."""
    types: dict[str, str] = field(default_factory=dict)
    """Types in C of fields that are not ``float``."""
    constants: dict[str, Any] = field(default_factory=dict)

    @property
    def state_bytes(self) -> int:
        """Size of the state in memory, filled up to a whole number of its widest numbers."""
        each = {name: width(self.types.get(name, "float")) for name in self.fields}
        size = sum(each[name] * math.prod(shape) for name, shape in self.fields.items())
        return -(-size // max(each.values())) * max(each.values())

    def add(self, name: str, values: ArrayLike, what: str = "") -> None:
        """Add a table."""
        self.tables.append(Table.of(name, values, what))


def part(name: str, replacements: Mapping[str, Any] | None = None) -> str:
    """Return a file of the folder ``c``, with what stands between @ replaced.

    A line that is a name between @ alone is replaced as a whole.
    """
    name = name if "." in name else f"{name}.c"
    text = files("elegans.export").joinpath("c", name).read_text()
    for key, value in (replacements or {}).items():
        text = text.replace(f"\n@{key}@\n", f"\n{value}").replace(f"@{key}@", str(value))
    return text


def width(kind: str) -> int:
    """Return the bytes of a type of C.

    Examples
    --------
    >>> width("uint16_t"), width("float")
    (2, 4)
    """
    return np.dtype(kind.removesuffix("_t").replace("float", "float32")).itemsize


def number(value: float) -> str:
    """Return the literal of a number in single precision; of infinity, that of the largest one.

    Examples
    --------
    >>> number(1), number(0.1), number(float("inf"))
    ('1.0f', '0.100000001f', '3.40282347e+38f')
    """
    text = f"{np.clip(np.float32(value), *_ENDS):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def brackets(shape: tuple[int, ...]) -> str:
    """Return a shape as it stands behind the name of an array.

    Examples
    --------
    >>> brackets((2, 3))
    '[2][3]'
    """
    return "".join(f"[{size}]" for size in shape)


def sigmoid_table() -> Table:
    """Return sigmoid(z) for z from 0 to 12, 32 entries for each 1, in units of 1/65536."""
    values = np.round(65536 / (1 + np.exp(-np.arange(12 * 32 + 1) / 32)))
    return Table("sigmoid_of", np.minimum(values, 65535).astype(np.uint16), "sigmoid(z), z from 0")


def _lines(items: list[str]) -> str:
    """Return the items in lines that are not too long."""
    lines, line = [], "   "
    for k, item in enumerate(items):
        item = item if k + 1 == len(items) else f"{item},"
        if len(line) + 1 + len(item) > _WIDTH and line.strip():
            lines.append(line)
            line = "   "
        line += f" {item}"
    return "\n".join([*lines, line])
