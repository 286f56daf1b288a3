"""Sets of electrical synapses as flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.synapses import Synapses, integers


@checked(WiringError)
class GapJunctions:
    r"""An immutable set of electrical synapses, each between two different neurons.

    .. math:: I_{j \to i} = w (x_j - x_i), \qquad I_{i \to j} = -I_{j \to i}

    A current flows through a junction from the higher potential to the lower one, in proportion to
    the difference. A *rectifying* junction lets it flow from `source` to `target` only; of all
    others the two ends are alike, and `source` is the lower index. A pair of neurons has one
    junction at most; the set is sorted by target, then by source.

    Parameters
    ----------
    source, target
        Indices of the two neurons, shape (junction,), held as int32.
    rectifying
        Whether current flows from source to target only, shape (junction,); by default nowhere.

    Raises
    ------
    WiringError
        The arrays differ in length or are not integers, a junction joins a neuron to itself, or a
        pair has two.

    References
    ----------
    E. J. Furshpan, D. D. Potter: Transmission at the giant motor synapses of the crayfish. J.
    Physiol. 145 (1959), for rectifying ones.

    Examples
    --------
    >>> GapJunctions(source=[2, 3], target=[0, 1], rectifying=[False, True])
    GapJunctions(3 -> 1, 0 -- 2)
    """

    COLUMNS = ("source", "target", "rectifying")
    """Names of the arrays, in the order of rows."""

    __slots__ = ("rectifying", "source", "target")

    source: NDArray[np.int32]
    target: NDArray[np.int32]
    rectifying: NDArray[np.bool_]

    def __init__(
        self, source: ArrayLike, target: ArrayLike, rectifying: ArrayLike | None = None
    ) -> None:
        source, target = integers("source", source), integers("target", target)
        count = len(source)
        if len(target) != count:
            raise WiringError(
                f"a gap junction needs two ends, got {count} sources and {len(target)} targets"
            )
        one_way = np.zeros(count, np.bool_) if rectifying is None else np.asarray(rectifying)
        if one_way.size == 0:
            one_way = one_way.astype(np.bool_).reshape(-1)
        if one_way.dtype != np.bool_ or one_way.shape != source.shape:
            raise WiringError(
                f"rectifying must hold True or False for each of the {count} gap junctions, got "
                f"shape {one_way.shape} of {one_way.dtype}"
            )
        # Ends are checked, narrowed and sorted as those of synapses, whose sign goes along.
        turned = ~one_way & (source > target)
        ends = np.where(turned, target, source), np.where(turned, source, target)
        sorted_ = Synapses(*ends, np.where(one_way, -1, 1))
        columns = sorted_.source, sorted_.target, sorted_.polarity < 0
        _check_pairs(columns[0], columns[1])
        for name, column in zip(self.COLUMNS, columns, strict=True):
            column.flags.writeable = False
            object.__setattr__(self, name, column)

    @classmethod
    def empty(cls) -> GapJunctions:
        """Return a set without junctions."""
        return cls([], [])

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[int, int, bool]]) -> GapJunctions:
        """Return the junctions of rows (source, target, rectifying), in any order.

        Examples
        --------
        >>> GapJunctions.from_rows([(4, 1, False), (0, 3, True)])
        GapJunctions(0 -> 3, 1 -- 4)
        """
        rows = list(rows)
        for row in rows:
            if len(row) != 3:
                raise WiringError(f"expected rows (source, target, rectifying), got {row!r}")
        return cls(*zip(*rows, strict=True)) if rows else cls.empty()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"GapJunctions are immutable; build a new set to change {name!r}")

    def __reduce__(self) -> tuple[object, ...]:
        return GapJunctions, (self.source, self.target, self.rectifying)

    def __deepcopy__(self, memo: dict[int, object]) -> GapJunctions:
        return self  # a copy of what cannot change would only take room

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[tuple[int, int, bool]]:
        """Iterate over (source, target, rectifying) in sorted order."""
        columns = (self.source.tolist(), self.target.tolist(), self.rectifying.tolist())
        return iter(zip(*columns, strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GapJunctions):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name).tobytes() for name in self.__slots__))

    def __repr__(self) -> str:
        if len(self) > 8:
            return f"GapJunctions({len(self)}, {int(self.rectifying.sum())} of them rectifying)"
        ends = (f"{j} {'->' if one_way else '--'} {i}" for j, i, one_way in self)
        return f"GapJunctions({', '.join(ends)})"

    def matrix(self, neurons: int) -> NDArray[np.bool_]:
        """Return the dense matrix (neuron, neuron): where current may flow from row to column.

        Examples
        --------
        >>> GapJunctions([0, 2], [1, 1], [False, True]).matrix(3).astype(int)
        array([[0, 1, 0],
               [1, 0, 0],
               [0, 1, 0]])
        """
        matrix = np.zeros((neurons, neurons), dtype=np.bool_)
        matrix[self.source, self.target] = True
        both = ~self.rectifying
        matrix[self.target[both], self.source[both]] = True
        return matrix


def check_junctions(junctions: GapJunctions, units: int) -> None:
    """Raise `WiringError` if a junction ends outside a circuit of `units` neurons."""
    if not isinstance(junctions, GapJunctions):
        raise WiringError(
            f"electrical must be GapJunctions, got {type(junctions).__name__}; "
            "GapJunctions.from_rows makes them of rows (source, target, rectifying)"
        )
    for end in ("source", "target"):
        index = getattr(junctions, end)
        if len(index) and (index.min() < 0 or index.max() >= units):
            k = int(np.argmax((index < 0) | (index >= units)))
            raise WiringError(
                f"gap junction {junctions.source[k]} -- {junctions.target[k]} has {end} {index[k]}"
                f", expected an index from 0 to {units - 1}"
            )


def _check_pairs(source: NDArray[np.int32], target: NDArray[np.int32]) -> None:
    own = source == target
    if own.any():
        raise WiringError(
            f"a gap junction joins neuron {source[np.argmax(own)]} to itself, through which no "
            "current flows; leave it out"
        )
    low, high = np.minimum(source, target), np.maximum(source, target)
    order = np.lexsort((low, high))
    twice = (np.diff(low[order]) == 0) & (np.diff(high[order]) == 0)
    if twice.any():
        k = order[np.argmax(twice)]
        raise WiringError(
            f"the pair {low[k]} -- {high[k]} has two gap junctions, expected one; add up their "
            "conductances"
        )
