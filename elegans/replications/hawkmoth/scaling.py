"""Columns between -0.5 and 0.5, by the extremes of the training part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.errors import DataError
from elegans.replications.hawkmoth.dynamics import Array


@dataclass(frozen=True, eq=False)
class MinMax:
    """The map x -> (x - low) / (high - low) - 1/2, column by column.

    Parameters
    ----------
    low, high
        Extremes of each column, (column,), finite and low < high, in its unit.
    names
        Names of the columns, for messages.

    Raises
    ------
    DataError
        When the extremes are not as described, such as those of a constant column.

    Examples
    --------
    >>> import numpy as np
    >>> data = np.array([[1.0, 50.0], [3.0, 10.0], [2.0, 30.0]])
    >>> scale = MinMax.fit(data, ("x", "y"))
    >>> scale.apply(data).tolist()
    [[-0.5, 0.5], [0.5, -0.5], [0.0, 0.0]]
    >>> scale.invert(scale.apply(data)).tolist() == data.tolist()
    True
    """

    low: Array
    high: Array
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for field in ("low", "high"):
            values = np.array(getattr(self, field), np.float64)
            values.flags.writeable = False
            object.__setattr__(self, field, values)
        object.__setattr__(self, "names", tuple(self.names))
        if self.low.shape != (len(self.names),) or self.high.shape != self.low.shape:
            raise DataError(
                f"got extremes of shapes {self.low.shape} and {self.high.shape} for "
                f"{len(self.names)} columns, expected ({len(self.names)},) for both; fit them to "
                "an array (row, column)"
            )
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not np.isfinite(high - low):
                raise DataError(
                    f"got column {name!r} from {low} to {high}, expected finite numbers; clean "
                    "the data"
                )
            if low >= high:
                raise DataError(
                    f"got column {name!r} from {low} to {high}, expected one that varies, because "
                    "nothing scales a constant; widen its range, or leave the column out"
                )

    @classmethod
    def fit(cls, values: NDArray[Any], names: tuple[str, ...]) -> MinMax:
        """Return the map of the extremes of `values`, (row, column); fit it to training rows.

        Raises
        ------
        DataError
            When there are no rows, or a column is constant or not finite.
        """
        if values.ndim != 2 or not len(values):
            raise DataError(
                f"got values of shape {values.shape}, expected (row, column) with at least one "
                "row; fit the scales to the training part"
            )
        return cls(values.min(0), values.max(0), names)

    def apply(self, values: ArrayLike) -> NDArray[Any]:
        """Return scaled `values`, (..., column); float32 stays float32.

        Other rows than those fitted may lie beyond ±0.5.
        """
        values, low, high = self._like(values)
        scaled: NDArray[Any] = (values - low) / (high - low) - values.dtype.type(0.5)
        return scaled

    def invert(self, scaled: ArrayLike) -> NDArray[Any]:
        """Return the values, (..., column), whose scaled ones are `scaled`."""
        scaled, low, high = self._like(scaled)
        values: NDArray[Any] = (scaled + scaled.dtype.type(0.5)) * (high - low) + low
        return values

    def to_json(self) -> str:
        """Return the extremes and the names as JSON."""
        return json.dumps(
            {"low": self.low.tolist(), "high": self.high.tolist(), "names": list(self.names)}
        )

    @classmethod
    def from_json(cls, text: str) -> MinMax:
        """Return what `to_json` has written.

        Raises
        ------
        DataError
            When the text is something else.
        """
        try:
            held = json.loads(text)
            return cls(held["low"], held["high"], tuple(held["names"]))
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"got {text[:40]!r}, expected JSON with low, high and names; write it with "
                "MinMax.to_json"
            ) from error

    def _like(self, values: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        array = np.asarray(values)
        if array.dtype != np.float32:
            array = array.astype(np.float64, copy=False)
        if array.ndim == 0 or array.shape[-1] != len(self.names):
            raise DataError(
                f"got values of shape {array.shape}, expected (..., {len(self.names)}) in the "
                f"order {', '.join(self.names)}"
            )
        return array, self.low.astype(array.dtype), self.high.astype(array.dtype)
