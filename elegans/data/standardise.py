"""Columns of mean 0 and deviation 1, by numbers taken from the training part alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.data.sequences import Array, Sequence
from elegans.errors import DataError


@dataclass(frozen=True, eq=False)
class Standardiser:
    """The map x -> (x - mean) / scale, column by column.

    Parameters
    ----------
    mean
        Shape (column,), finite, in the unit of each column.
    scale
        Shape (column,), finite and above 0, in the unit of each column.

    Raises
    ------
    DataError
        When mean and scale are not as described.

    Examples
    --------
    >>> import numpy as np
    >>> data = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> standard = Standardiser.fit([data])
    >>> standard.mean.tolist(), standard.scale.tolist()
    ([2.0, 5.0], [1.0, 1.0])
    >>> standard.apply(data).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    >>> Standardiser.from_json(standard.to_json()).invert(standard.apply(data)).tolist()
    [[1.0, 5.0], [3.0, 5.0]]
    """

    mean: Array
    scale: Array

    def __post_init__(self) -> None:
        for field in ("mean", "scale"):
            object.__setattr__(self, field, np.asarray(getattr(self, field), dtype=np.float64))
        if self.mean.ndim != 1 or self.mean.shape != self.scale.shape or not self.mean.size:
            raise DataError(
                f"got a mean of shape {self.mean.shape} and a scale of shape {self.scale.shape}, "
                "expected (column,) for both; fit the standardiser to arrays (time, column)"
            )
        usable = np.isfinite(self.mean) & np.isfinite(self.scale) & (self.scale > 0)
        if not usable.all():
            column = int(np.argmin(usable))
            raise DataError(
                f"got mean {self.mean[column]} and scale {self.scale[column]} in column {column}, "
                "expected finite numbers and a scale above 0; write the column in a larger unit"
            )

    @classmethod
    def fit(cls, arrays: Iterable[NDArray[Any]]) -> Standardiser:
        """Return the standardiser of all rows of `arrays`, each of shape (time, column).

        The scale is the standard deviation (over n, not n - 1); that of a constant column is 1.

        Raises
        ------
        DataError
            When there are no arrays, their shapes do not match, or numbers are not finite.
        """
        arrays = [np.asarray(array, dtype=np.float64) for array in arrays]
        shapes = sorted({array.shape[1:] for array in arrays})
        if len(shapes) != 1 or len(shapes[0]) != 1 or not sum(len(array) for array in arrays):
            raise DataError(
                f"got arrays of shapes {[array.shape for array in arrays[:5]]}, expected at least "
                "one row, and (time, column) with the same columns; stack the columns on axis 1"
            )
        rows = np.concatenate(arrays)  # (row, column)
        if not np.isfinite(rows).all():
            raise DataError(
                f"got NaN or infinity in column {int(np.argwhere(~np.isfinite(rows))[0, 1])}, "
                "expected finite numbers; drop the rows or fill them in"
            )
        low, high = rows.min(axis=0), rows.max(axis=0)
        # Rounding gives constant columns a deviation like 1e-17, so constancy is asked of the
        # values; dividing by the range keeps the squares of extreme values in range.
        constant = low == high
        with np.errstate(over="ignore", invalid="ignore"):
            span = np.where(constant, 1.0, high - low)
            mean = np.where(constant, low, low + span * ((rows - low) / span).mean(axis=0))
            deviation = span * np.sqrt((((rows - mean) / span) ** 2).mean(axis=0))
        return cls(mean, np.where(constant, 1.0, deviation))

    @overload
    def apply(self, values: Tensor) -> Tensor: ...

    @overload
    def apply(self, values: NDArray[Any]) -> NDArray[Any]: ...

    def apply(self, values: Tensor | NDArray[Any]) -> Tensor | NDArray[Any]:
        """Return (values - mean) / scale for values of shape (..., column).

        Arrays give arrays, tensors give tensors on their device and with gradients; floating
        types are kept, whole numbers become float64.
        """
        self._check(values)
        if isinstance(values, Tensor):
            mean, scale = self._tensors(values)
            return ((values - mean) / scale).to(_floating(values))
        return ((values - self.mean) / self.scale).astype(_floating(values))

    @overload
    def invert(self, values: Tensor) -> Tensor: ...

    @overload
    def invert(self, values: NDArray[Any]) -> NDArray[Any]: ...

    def invert(self, values: Tensor | NDArray[Any]) -> Tensor | NDArray[Any]:
        """Return values * scale + mean for values of shape (..., column); undoes `apply`."""
        self._check(values)
        if isinstance(values, Tensor):
            mean, scale = self._tensors(values)
            return (values * scale + mean).to(_floating(values))
        return (values * self.scale + self.mean).astype(_floating(values))

    def to_json(self) -> str:
        """Return a JSON object from which `from_json` restores the same numbers, bit by bit."""
        return json.dumps({"mean": self.mean.tolist(), "scale": self.scale.tolist()})

    @classmethod
    def from_json(cls, text: str) -> Standardiser:
        """Return the standardiser that `to_json` wrote.

        Raises
        ------
        DataError
            When the text was not written by `to_json`.
        """
        try:
            fields = json.loads(text)
            return cls(np.array(fields["mean"], float), np.array(fields["scale"], float))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"got {text[:60]!r}, expected a JSON object with the lists 'mean' and 'scale' "
                f"({error}); write it with to_json"
            ) from error

    def _check(self, values: Tensor | NDArray[Any]) -> None:
        if values.ndim < 1 or values.shape[-1] != len(self.mean):
            raise DataError(
                f"got values of shape {tuple(values.shape)}, expected (..., {len(self.mean)}), the "
                "columns that the standardiser was fitted to; choose the same columns"
            )

    def _tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        # Not every device has float64, and half precision could not hold the mean of a raw column.
        wide = torch.promote_types(_floating(like), torch.float32)
        return (
            torch.tensor(self.mean, dtype=wide, device=like.device),
            torch.tensor(self.scale, dtype=wide, device=like.device),
        )


@overload
def _floating(values: Tensor) -> torch.dtype: ...


@overload
def _floating(values: NDArray[Any]) -> np.dtype[Any]: ...


def _floating(values: Tensor | NDArray[Any]) -> torch.dtype | np.dtype[Any]:
    """Return the type of `values` if it is floating, else float64."""
    if isinstance(values, Tensor):
        return values.dtype if values.is_floating_point() else torch.float64
    return values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)


def standardise_sequences(
    sequences: Iterable[Sequence],
    inputs: Standardiser | None = None,
    targets: Standardiser | None = None,
) -> tuple[Sequence, ...]:
    """Return the sequences with standardised inputs and targets; None leaves them as they are.

    Elapsed times stay in the unit of the file.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = Sequence("ramp", np.array([[0.0], [2.0]]), np.zeros((2, 1)), np.ones(2))
    >>> standardise_sequences([ramp], Standardiser.fit([ramp.inputs]))[0].inputs.tolist()
    [[-1.0], [1.0]]
    """
    return tuple(
        replace(
            one,
            inputs=one.inputs if inputs is None else inputs.apply(one.inputs),
            targets=one.targets if targets is None else targets.apply(one.targets),
        )
        for one in sequences
    )
