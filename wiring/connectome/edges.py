"""Connections between cells as flat arrays, one entry for each pair, with a number of synapses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.names import LARGEST


@checked(WiringError)
class Edges:
    """An immutable set of connections, sorted by `pre`, then by `post`, then by `sign`.

    A pair of cells stands once, with the number of its synapses; it may stand twice where one
    part of its synapses excites and the other inhibits.

    Parameters
    ----------
    pre, post
        Indices of the presynaptic and postsynaptic cells, shape (edge,), held as int32.
    count
        Number of synapses, more than 0, shape (edge,): held as int32 where all are whole.
    sign
        1 where they excite, -1 where they inhibit, 0 where nobody knows, shape (edge,); by
        default 0.

    Raises
    ------
    WiringError
        The arrays differ in length, an index is negative, a count is not a finite number above 0,
        a sign is none of -1, 0 and 1, or a connection stands twice.

    Examples
    --------
    >>> edges = Edges(pre=[1, 0], post=[0, 2], count=[3, 5])
    >>> edges.pre.tolist(), edges.post.tolist(), edges.count.tolist()
    ([0, 1], [2, 0], [5, 3])
    """

    __slots__ = ("count", "post", "pre", "sign")

    pre: NDArray[np.int32]
    post: NDArray[np.int32]
    count: NDArray[np.int32] | NDArray[np.float64]
    sign: NDArray[np.int8]

    def __init__(
        self, pre: ArrayLike, post: ArrayLike, count: ArrayLike, sign: ArrayLike | None = None
    ) -> None:
        columns: dict[str, NDArray[Any]] = {
            "pre": _indices("pre", pre),
            "post": _indices("post", post),
            "count": narrow(_numbers("count", count)),
        }
        columns["sign"] = _signs(sign, len(columns["pre"]))
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise WiringError(
                f"an edge has one pre, post, count and sign, got arrays of length {lengths}"
            )
        wrong = ~(np.isfinite(columns["count"]) & (columns["count"] > 0))
        if wrong.any():
            k = int(np.argmax(wrong))
            raise WiringError(
                f"edge {columns['pre'][k]} -> {columns['post'][k]} has {columns['count'][k]} "
                "synapses, expected a number above 0; leave out what is not connected"
            )
        order = order_of(columns["pre"], columns["post"], columns["sign"])
        if order is not None:
            columns = {name: column[order] for name, column in columns.items()}
        same = repeated(columns["pre"], columns["post"], columns["sign"])
        if same.any():
            k = int(np.argmax(same))
            raise WiringError(
                f"edge {columns['pre'][k]} -> {columns['post'][k]} stands twice, expected each "
                "once with the sum of its counts; Connectome.from_rows sums them"
            )
        for name, column in columns.items():
            column = column.copy() if column.base is not None or order is None else column
            column.flags.writeable = False
            object.__setattr__(self, name, column)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Edges are immutable; make new ones to change {name!r}")

    def __reduce__(self) -> tuple[object, ...]:
        return Edges, (self.pre, self.post, self.count, self.sign)

    def __len__(self) -> int:
        return len(self.pre)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Edges):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name).tobytes() for name in self.__slots__))

    def __repr__(self) -> str:
        return f"Edges({len(self)} with {self.synapses:g} synapses)"

    @classmethod
    def empty(cls) -> Edges:
        """Return no connections."""
        return cls([], [], [])

    @property
    def synapses(self) -> float:
        """Number of synapses of all connections."""
        return float(self.count.sum(dtype=np.float64))

    def where(
        self, mask: NDArray[np.bool_], index: NDArray[np.integer[Any]] | None = None
    ) -> Edges:
        """Return the connections where `mask`, shape (edge,), is true, as if cells had `index`.

        Parameters
        ----------
        mask
            Which connections to keep, shape (edge,).
        index
            The new index of each cell, shape (cell,); by default the old one.
        """
        pre: NDArray[Any] = self.pre[mask]
        post: NDArray[Any] = self.post[mask]
        if index is not None:
            pre, post = index[pre], index[post]
        return Edges(pre, post, self.count[mask], self.sign[mask])


def key_of(pre: NDArray[Any], post: NDArray[Any], sign: NDArray[Any]) -> NDArray[np.int64]:
    """Return one number an edge: 30 bits of pre and of post, 2 of sign."""
    key = pre.astype(np.int64)
    key <<= 30
    key |= post
    key <<= 2
    key |= sign.astype(np.int64) + 1
    return key


def order_of(pre: NDArray[Any], post: NDArray[Any], sign: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the order by pre, post and sign, or None where it is that already."""
    key = key_of(pre, post, sign)
    if (key[1:] >= key[:-1]).all():
        return None
    return np.argsort(key, kind="stable")


def repeated(pre: NDArray[Any], post: NDArray[Any], sign: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where an edge of a sorted set equals the one before, shape (edge,)."""
    same = np.zeros(len(pre), dtype=np.bool_)
    same[1:] = (pre[1:] == pre[:-1]) & (post[1:] == post[:-1]) & (sign[1:] == sign[:-1])
    return same


def narrow(count: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as int32 where all are whole and fit, else as float64."""
    if count.dtype == np.int32:
        return count
    whole = np.isfinite(count).all() and (count == np.rint(count)).all()
    if whole and (not len(count) or np.abs(count).max() <= LARGEST):
        return count.astype(np.int32)
    return count.astype(np.float64)


_MOST_CELLS = 2**30


def _indices(name: str, values: ArrayLike) -> NDArray[np.int32]:
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int32).reshape(-1)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise WiringError(
            f"{name} must be a flat array of the indices of cells, got shape {array.shape} of "
            f"{array.dtype}"
        )
    if len(array) and not (array.min() >= 0 and array.max() < _MOST_CELLS):
        raise WiringError(
            f"{name} must hold indices from 0 to {_MOST_CELLS - 1}, got "
            f"{array.min() if array.min() < 0 else array.max()}"
        )
    return array.astype(np.int32, copy=False)


def _numbers(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int32).reshape(-1)
    number = np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    if array.ndim != 1 or not number:
        raise WiringError(
            f"{name} must be a flat array of numbers, got shape {array.shape} of {array.dtype}"
        )
    return array


def _signs(values: ArrayLike | None, count: int) -> NDArray[np.int8]:
    if values is None:
        return np.zeros(count, dtype=np.int8)
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int8).reshape(-1)
    if array.ndim != 1 or not np.isin(array, (-1, 0, 1)).all():
        raise WiringError(
            "sign must be a flat array of 1 (excites), -1 (inhibits) and 0 (not known), got "
            f"shape {array.shape} of {array.dtype}"
        )
    return array.astype(np.int8)
