"""Scales of columns: the map from the units of the data to those of a circuit, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.data.sequences import Array, Sequence
from elegans.errors import DataError, RunError
from elegans.files import parse_json, read_json, validated

STANDARDISER = "standardiser.json"
"""Where the folder of a run keeps the scales of its data."""

Values = TypeVar("Values", Tensor, NDArray[Any])


@dataclass(frozen=True)
class _PlainScale:
    origin: list[float]
    unit: list[float]
    offset: float
    names: list[str]


@dataclass(frozen=True)
class _PlainScales:
    inputs: dict[str, Any]
    targets: dict[str, Any]
    elapsed: float


@dataclass(frozen=True, eq=False)
class Scale:
    """The map x -> (x - origin) / unit + offset, column by column.

    `Scale.standard` and `Scale.min_max` make one from the training part of a data set.

    Parameters
    ----------
    origin
        Shape (column,), finite, in the unit of each column.
    unit
        Shape (column,), finite and above 0, in the unit of each column.
    offset
        Where the origin is mapped to, the same in all columns.
    names
        One name a column, for messages; none by default.

    Raises
    ------
    DataError
        When origin, unit and names are not as described.

    Examples
    --------
    >>> data = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> scale = Scale.standard([data])
    >>> scale.origin.tolist(), scale.unit.tolist()
    ([2.0, 5.0], [1.0, 1.0])
    >>> scale.apply(data).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    >>> Scale.from_json(scale.to_json()).invert(scale.apply(data)).tolist()
    [[1.0, 5.0], [3.0, 5.0]]
    """

    origin: Array
    unit: Array
    offset: float = 0.0
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("origin", "unit"):
            values = np.array(getattr(self, field), np.float64)
            values.flags.writeable = False
            object.__setattr__(self, field, values)
        object.__setattr__(self, "offset", float(self.offset))
        object.__setattr__(self, "names", tuple(self.names))
        columns = self.origin.shape
        if len(columns) != 1 or columns != self.unit.shape or not self.origin.size:
            raise DataError(
                f"got an origin of shape {columns} and a unit of shape {self.unit.shape}, expected "
                "(column,) for both; fit the scale to arrays (row, column)"
            )
        if self.names and len(self.names) != len(self.origin):
            raise DataError(
                f"got {len(self.names)} names for {len(self.origin)} columns, expected one each; "
                "name the columns in their order, or none"
            )
        usable = np.isfinite(self.origin) & np.isfinite(self.unit) & (self.unit > 0)
        if not usable.all() or not np.isfinite(self.offset):
            column = int(np.argmin(usable))
            raise DataError(
                f"got origin {self.origin[column]}, unit {self.unit[column]} and offset "
                f"{self.offset} in column {_name(self.names, column)}, expected finite numbers and "
                "a unit above 0; write the column in a larger unit"
            )

    @classmethod
    def standard(cls, arrays: Iterable[NDArray[Any]], names: Iterable[str] = ()) -> Scale:
        """Return the scale by which all rows of `arrays` have mean 0 and deviation 1.

        The unit is the standard deviation (over n, not n - 1); that of a constant column is 1.

        Parameters
        ----------
        arrays
            Each of shape (time, column).
        names
            One name a column, for messages.

        Raises
        ------
        DataError
            When there are no rows, their shapes do not match, or numbers are not finite.
        """
        rows, names = _rows(arrays, names)
        rows = rows.astype(np.float64, copy=False)
        low, high = rows.min(axis=0), rows.max(axis=0)
        # Rounding gives constant columns a deviation like 1e-17, so constancy is asked of the
        # values; dividing by the range keeps the squares of extreme values in range.
        constant = low == high
        with np.errstate(over="ignore", invalid="ignore"):
            span = np.where(constant, 1.0, high - low)
            mean = np.where(constant, low, low + span * ((rows - low) / span).mean(axis=0))
            deviation = span * np.sqrt((((rows - mean) / span) ** 2).mean(axis=0))
        return cls(mean, np.where(constant, 1.0, deviation), names=names)

    @classmethod
    def min_max(
        cls,
        arrays: Iterable[NDArray[Any]],
        names: Iterable[str] = (),
        *,
        low: float = -0.5,
        high: float = 0.5,
    ) -> Scale:
        """Return the scale by which all rows of `arrays` lie between `low` and `high`.

        Other rows may lie beyond.

        Parameters
        ----------
        arrays, names
            As for `standard`.
        low, high
            Where the extremes of each column are mapped to, the lower first.

        Raises
        ------
        DataError
            As for `standard`, and when a column is constant or `low` is not below `high`.

        Examples
        --------
        >>> data = np.array([[1.0, 50.0], [3.0, 10.0], [2.0, 30.0]])
        >>> Scale.min_max([data], ("x", "y")).apply(data).tolist()
        [[-0.5, 0.5], [0.5, -0.5], [0.0, 0.0]]
        """
        if not low < high:
            raise DataError(f"got a range from {low} to {high}, expected the lower end first")
        rows, names = _rows(arrays, names)
        least, greatest = (end.astype(np.float64) for end in (rows.min(axis=0), rows.max(axis=0)))
        if (least == greatest).any():
            column = int(np.argmax(least == greatest))
            raise DataError(
                f"got column {_name(names, column)} from {least[column]} to {greatest[column]}, "
                "expected one that varies, because nothing scales a constant; widen its range, or "
                "leave the column out"
            )
        with np.errstate(over="ignore"):
            return cls(least, (greatest - least) / (high - low), low, names)

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.origin)

    def apply(self, values: Values) -> Values:
        """Return (values - origin) / unit + offset for values of shape (..., column).

        Arrays give arrays, tensors give tensors on their device and with gradients; floating
        types are kept, whole numbers become float64.

        Raises
        ------
        DataError
            When the values have other columns.
        """
        wide, origin, unit, narrowed = self._like(values)
        scaled = wide - origin
        scaled /= unit  # in place: data sets may fill half of the memory
        scaled += self.offset
        return narrowed(scaled)

    def invert(self, values: Values) -> Values:
        """Return (values - offset) * unit + origin for values of shape (..., column).

        This undoes `apply`; types and errors are as there.
        """
        wide, origin, unit, narrowed = self._like(values)
        return narrowed((wide - self.offset) * unit + origin)

    def to_json(self) -> str:
        """Return a JSON object from which `from_json` restores the same numbers, bit by bit."""
        return json.dumps(vars(self), default=np.ndarray.tolist)

    @classmethod
    def from_json(cls, text: str) -> Scale:
        """Return the scale that `to_json` wrote.

        Raises
        ------
        DataError
            When the text was not written by `to_json`.
        """
        try:
            fields = parse_json(text)
            if isinstance(fields, dict) and "mean" in fields:  # as runs kept it at first
                fields = {"origin": fields["mean"], "unit": fields.get("scale")}
                fields |= {"offset": 0.0, "names": []}
            plain = validated(fields, _PlainScale, "the scale", "write it with to_json")
            return cls(**vars(plain))
        except (ValueError, RunError) as error:
            raise DataError(
                f"got {text[:60]!r}, expected a JSON object with 'origin', 'unit', 'offset' and "
                f"'names' ({error}); write it with to_json"
            ) from error

    def _like(self, values: Values) -> tuple[Values, Any, Any, Callable[[Values], Values]]:
        """Return values, origin and unit to compute with, and the cast to the type of `values`."""
        if values.ndim < 1 or values.shape[-1] != len(self):
            named = f" ({', '.join(self.names)})" if self.names else ""
            raise DataError(
                f"got values of shape {tuple(values.shape)}, expected (..., {len(self)}), the "
                f"columns that the scale was fitted to{named}; choose the same columns"
            )
        if isinstance(values, Tensor):
            kept = values.dtype if values.is_floating_point() else torch.float64
            # Not every device has float64, and half precision could not hold the mean of a column.
            wide = values.to(torch.promote_types(kept, torch.float32))
            origin, unit = (wide.new_tensor(number) for number in (self.origin, self.unit))
            return wide, origin, unit, lambda scaled: scaled.to(kept)
        floating = _floating(values)
        return values, self.origin, self.unit, lambda scaled: scaled.astype(floating, copy=False)


@dataclass(frozen=True, eq=False)
class Scales:
    """The scales of a data set: of its inputs, its targets and its elapsed times.

    The one object goes with the data to the windows, with the run into its folder, and with the
    circuit into `elegans.Policy`.

    Parameters
    ----------
    inputs, targets
        The scales of the columns; ``Scale([0.0], [1.0])`` leaves one column as it is.
    elapsed
        The duration, in the unit of the data, that counts as 1 for the circuit. Initial time
        constants are fractions of 1 and more, so this should be a usual step.

    Raises
    ------
    DataError
        When `elapsed` is not a finite number above 0.

    Examples
    --------
    >>> walk = Sequence("walk", np.array([[0.0], [2.0]]), np.zeros((2, 1)), np.full(2, 20.0))
    >>> scaled = Scales.fit([walk]).apply([walk])[0]
    >>> scaled.inputs.tolist(), scaled.elapsed.tolist()
    ([[-1.0], [1.0]], [1.0, 1.0])
    """

    inputs: Scale
    targets: Scale
    elapsed: float = 1.0

    def __post_init__(self) -> None:
        if not (self.elapsed > 0 and np.isfinite(self.elapsed)):
            raise DataError(
                f"got elapsed = {self.elapsed}, expected a finite duration above 0; use a usual "
                "step of the data"
            )

    @classmethod
    def fit(
        cls,
        sequences: Iterable[Sequence],
        input_names: Iterable[str] = (),
        target_names: Iterable[str] = (),
        *,
        classes: bool = False,
    ) -> Scales:
        """Return the standard scales of the training part of a data set, and its median step.

        Targets that are `classes` stay as they are; those that are not known have no part.

        Raises
        ------
        DataError
            There are no sequences.
        """
        sequences = tuple(sequences)
        inputs = Scale.standard((sequence.inputs for sequence in sequences), input_names)
        if classes and sequences:
            outputs = sequences[0].targets.shape[1]
            targets = Scale(np.zeros(outputs), np.ones(outputs), names=tuple(target_names))
        else:
            targets = Scale.standard((s.targets[s.is_known] for s in sequences), target_names)
        gaps = np.concatenate([sequence.elapsed for sequence in sequences])
        gaps = gaps[gaps > 0]
        return cls(inputs, targets, float(np.median(gaps)) if len(gaps) else 1.0)

    def apply(self, sequences: Iterable[Sequence]) -> tuple[Sequence, ...]:
        """Return the sequences in the circuit's units."""
        return tuple(
            replace(
                sequence,
                inputs=self.inputs.apply(sequence.inputs),
                targets=self.targets.apply(sequence.targets),
                elapsed=sequence.elapsed / self.elapsed,
            )
            for sequence in sequences
        )

    def to_plain(self) -> dict[str, Any]:
        """Return the scales as plain values, ready for JSON."""
        return {
            "inputs": json.loads(self.inputs.to_json()),
            "targets": json.loads(self.targets.to_json()),
            "elapsed": self.elapsed,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Scales:
        """Return the scales that `to_plain` wrote.

        Raises
        ------
        RunError
            The values are not those of scales.
        """
        try:
            fields = validated(plain, _PlainScales, STANDARDISER, "train again")
            inputs, targets = (
                Scale.from_json(json.dumps(each)) for each in (fields.inputs, fields.targets)
            )
            return cls(inputs, targets, fields.elapsed)
        except (ValueError, RunError) as error:
            raise RunError(
                f"got scales that cannot be read ({error}), expected standardiser.json of a run "
                "with inputs, targets and elapsed; the file is damaged: train again"
            ) from error

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Scales:
        """Return the scales of the data that a run was trained on, from its folder.

        Raises
        ------
        RunError
            The folder has none, or they are damaged.
        """
        return cls.from_plain(read_json(Path(folder) / STANDARDISER, "pass the folder of a run"))


def _floating(array: NDArray[Any]) -> np.dtype[Any]:
    """Return the type of `array` if it is floating, else float64."""
    return array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)


def _rows(
    arrays: Iterable[NDArray[Any]], names: Iterable[str]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the rows of all arrays, (row, column), at least one and finite, and the names."""
    arrays, names = [np.asarray(array) for array in arrays], tuple(names)
    arrays = [array.astype(_floating(array), copy=False) for array in arrays]
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or not any(map(len, arrays)):
        raise DataError(
            f"got arrays of shapes {[array.shape for array in arrays[:5]]}, expected at least "
            "one row, and (time, column) with the same columns; stack the columns on axis 1"
        )
    rows = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    finite = np.isfinite(rows).all(axis=0)
    if not finite.all():
        raise DataError(
            f"got NaN or infinity in column {_name(names, int(np.argmin(finite)))}, expected "
            "finite numbers; drop the rows or fill them in"
        )
    return rows, names


def _name(names: tuple[str, ...], column: int) -> str:
    return repr(names[column]) if len(names) > column else str(column)
