"""A set of synapses as flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.names import LARGEST

Integers = NDArray[np.integer[Any]]


@checked(WiringError)
class Synapses:
    """An immutable set of directed, signed synapses, sorted by target, then by source.

    Parallel synapses (the same source and target more than once) are allowed, as in a
    connectome.

    Parameters
    ----------
    source, target
        Indices of the presynaptic and postsynaptic neurons, shape (synapse,), held as int32.
    polarity
        +1 for excitatory, -1 for inhibitory, shape (synapse,), held as int8.

    Raises
    ------
    WiringError
        The arrays differ in length, are not integers, an index is larger than 2**31 - 1, or a
        polarity is neither +1 nor -1.

    Examples
    --------
    >>> Synapses(source=[2, 0], target=[1, 0], polarity=[-1, 1])
    Synapses(0 -> 0 (+), 2 -> 1 (-))
    """

    __slots__ = ("polarity", "source", "target")

    source: NDArray[np.int32]
    target: NDArray[np.int32]
    polarity: NDArray[np.int8]

    def __init__(self, source: ArrayLike, target: ArrayLike, polarity: ArrayLike) -> None:
        columns = {
            "source": integers("source", source),
            "target": integers("target", target),
            "polarity": integers("polarity", polarity),
        }
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise WiringError(
                f"a synapse needs a source, a target and a polarity; got arrays of length {lengths}"
            )
        signs = columns["polarity"]
        wrong = (signs != 1) & (signs != -1)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise WiringError(
                f"synapse {columns['source'][k]} -> {columns['target'][k]} has polarity "
                f"{signs[k]}, expected +1 (excitatory) or -1 (inhibitory); leave "
                "an absent synapse out of the list"
            )
        for end in ("source", "target"):
            _check_width(end, columns[end])
        for name, column in _sorted(**columns).items():
            column.flags.writeable = False
            object.__setattr__(self, name, column)

    @classmethod
    def empty(cls) -> Synapses:
        """Return a set without synapses."""
        return cls([], [], [])

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[int, int, int]]) -> Synapses:
        """Return the synapses of rows (source, target, polarity), in any order.

        Examples
        --------
        >>> Synapses.from_rows([(2, 1, -1), (0, 0, 1)])
        Synapses(0 -> 0 (+), 2 -> 1 (-))
        """
        rows = list(rows)
        for row in rows:
            if len(row) != 3:
                raise WiringError(f"expected rows (source, target, polarity), got {row!r}")
        return cls(*zip(*rows, strict=True)) if rows else cls.empty()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Synapses are immutable; build a new set to change {name!r}")

    def __reduce__(self) -> tuple[object, ...]:
        return Synapses, (self.source, self.target, self.polarity)

    def __deepcopy__(self, memo: dict[int, object]) -> Synapses:
        return self  # a copy of what cannot change would only take room

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Iterate over (source, target, polarity) in sorted order."""
        columns = (self.source.tolist(), self.target.tolist(), self.polarity.tolist())
        return iter(zip(*columns, strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Synapses):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name).tobytes() for name in self.__slots__))

    def __repr__(self) -> str:
        if len(self) > 8:
            excitatory = int((self.polarity > 0).sum())
            return f"Synapses({len(self)}: {excitatory} (+), {len(self) - excitatory} (-))"
        arrows = (f"{j} -> {i} ({'+' if p > 0 else '-'})" for j, i, p in self)
        return f"Synapses({', '.join(arrows)})"

    @property
    def has_parallel(self) -> bool:
        """Whether some source reaches some target by more than one synapse."""
        same = (self.source[1:] == self.source[:-1]) & (self.target[1:] == self.target[:-1])
        return bool(same.any())

    def adjacency(self, sources: int, targets: int) -> NDArray[np.int64]:
        """Return the dense matrix (source, target) of summed polarities; 0 where none is."""
        size = sources * targets * np.dtype(np.int64).itemsize
        if size > 2**31:
            raise WiringError(
                f"a dense adjacency of {sources} x {targets} would take {size / 2**30:.1f} GiB; "
                "work with the flat arrays source, target and polarity"
            )
        matrix = np.zeros((sources, targets), dtype=np.int64)
        np.add.at(matrix, (self.source, self.target), self.polarity)
        return matrix


def check_ends(kind: str, synapses: Synapses, sources: int, targets: int) -> None:
    """Raise `WiringError` if a synapse begins or ends outside the circuit."""
    if not isinstance(synapses, Synapses):
        raise WiringError(
            f"{kind} must be Synapses, got {type(synapses).__name__}; Synapses.from_rows makes "
            "them of rows (source, target, polarity)"
        )
    for end, count in (("source", sources), ("target", targets)):
        index = getattr(synapses, end)
        if len(index) and (index.min() < 0 or index.max() >= count):
            k = int(np.argmax((index < 0) | (index >= count)))
            raise WiringError(
                f"{kind} synapse {synapses.source[k]} -> {synapses.target[k]} has {end} "
                f"{index[k]}, expected an index from 0 to {count - 1}"
            )


def _sorted(source: Integers, target: Integers, polarity: Integers) -> dict[str, Integers]:
    """Return new, narrow columns sorted by target, then by source, then by polarity."""
    if len(source) and (source.min() < 0 or target.min() < 0):  # which no wiring accepts
        order = np.lexsort((polarity, source, target))
        return {
            "source": source[order].astype(np.int32),
            "target": target[order].astype(np.int32),
            "polarity": polarity[order].astype(np.int8),
        }
    # One number a synapse: 31 bits of target, 31 of source, one of polarity.
    key = target.astype(np.int64)
    key <<= 31
    key |= source.astype(np.int64, copy=False)
    key <<= 1
    key |= polarity > 0
    if (key[1:] < key[:-1]).any():
        key.sort()
    signs = (key & 1).astype(np.int8)
    signs *= 2
    signs -= 1
    key >>= 1
    ends = (key & LARGEST).astype(np.int32)
    key >>= 31
    return {"source": ends, "target": key.astype(np.int32), "polarity": signs}


def _check_width(name: str, index: Integers) -> None:
    if len(index) and (index.max() > LARGEST or index.min() < -LARGEST):
        widest = index.max() if index.max() > LARGEST else index.min()
        raise WiringError(
            f"{name} holds {widest}, expected indices of at most {LARGEST}, as many neurons as a "
            "wiring may have; number the neurons from 0"
        )


def integers(name: str, values: ArrayLike) -> Integers:
    """Return `values` as a flat array; raise `WiringError` if they are no integers."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise WiringError(f"{name} must be a flat array of integers: {error}") from error
    if array.size == 0:
        array = array.astype(np.int32).reshape(-1)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise WiringError(
            f"{name} must be a flat array of integers, got shape {array.shape} of {array.dtype}"
        )
    return array
