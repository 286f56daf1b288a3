"""The shapes in which sequences, numbers and labels are given."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from elegans.data.sequences import Array, Sequence
from elegans.errors import InputError
from elegans.extras import require_extra


class Form(NamedTuple):
    """The shape of numbers that are asked for."""

    per_step: bool
    """Whether each step has an answer, or else each sequence."""
    has_axis: bool
    """Whether the last axis is that of the targets, or else there is one target."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Inputs as sequences (time, feature), with elapsed times, and the form they were given in."""

    inputs: list[Array]
    elapsed: list[Array]
    is_flat: bool
    """Whether they were samples of one step."""
    is_list: bool
    rows: list[NDArray[np.int64]] | None = None
    """The rows of a DataFrame of each sequence."""
    names: tuple[str, ...] | None = None
    """The columns of a DataFrame."""
    called: tuple[Any, ...] = ()
    """What the sequences of a DataFrame are called."""

    @classmethod
    def of(cls, X: Any, elapsed: Any, sequence: str | None, time: str | None) -> Steps:
        """Return the steps of X; `sequence` and `time` are columns of a DataFrame."""
        if sequence is not None or time is not None:
            return cls._of_frame(X, sequence, time)
        is_list = isinstance(X, list | tuple)
        if is_list and len(X) and np.ndim(X[0]) == 2:
            inputs = [np.asarray(one, dtype=np.float64) for one in X]
            if len({one.shape[1:] for one in inputs}) != 1:
                raise InputError(
                    f"got sequences of shapes {[one.shape for one in inputs[:5]]}, expected (time, "
                    "feature) with the same features; choose the same columns"
                )
        elif _axes(X) == 3:
            inputs = list(np.asarray(X, dtype=np.float64))
        else:  # samples of one step, as scikit-learn takes them and refuses them
            check = require_extra("sklearn.utils", "lab").check_array
            inputs = [row[None] for row in check(X, dtype=np.float64)]
            names = tuple(map(str, X.columns)) if hasattr(X, "columns") else None
            return cls(inputs, _elapsed(elapsed, inputs), True, False, None, names)
        inputs = [finite(one, k) for k, one in enumerate(inputs)]
        return cls(inputs, _elapsed(elapsed, inputs), False, is_list)

    @classmethod
    def _of_frame(cls, X: Any, sequence: str | None, time: str | None) -> Steps:
        names = [name for name in (sequence, time) if name is not None]
        if not hasattr(X, "columns") or any(name not in X.columns for name in names):
            raise InputError(
                f"got X without the columns {', '.join(names)}, expected a DataFrame with them; "
                "pass one, or leave sequence and time out"
            )
        if not len(X):
            raise InputError("got a DataFrame without rows, expected at least one; pass more")
        codes, called = np.zeros(len(X), np.int64), np.array([None])
        if sequence is not None:
            codes, called = X[sequence].factorize()
            if (codes < 0).any():
                raise InputError(
                    f"got a missing cell in the column {sequence!r} at row {int(np.argmin(codes))},"
                    " expected the name of a sequence in each; fill it in, or drop the row"
                )
        rows = [np.flatnonzero(codes == code) for code in range(len(called))]
        shown = X.drop(columns=names)
        columns = tuple(map(str, shown.columns))
        try:
            table = shown.to_numpy(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"got a column that does not hold numbers ({error}), expected numbers in "
                f"{', '.join(columns)}; leave it out, or let elegans.data.read_table encode it"
            ) from error
        inputs = [finite(table[some], k) for k, some in enumerate(rows)]
        given = rows, columns, tuple(called)
        if time is None:
            return cls(inputs, _elapsed(None, inputs), False, False, *given)
        clock = X[time]
        if clock.dtype.kind == "M":
            clock = (clock - clock.min()).dt.total_seconds()
        if clock.dtype.kind not in "iuf" or clock.isna().any():
            raise InputError(
                f"got the column {time!r} of {clock.dtype}, expected times in all rows, as numbers "
                "or dates; convert it with pandas.to_datetime"
            )
        times = clock.to_numpy(np.float64)
        gaps = [np.diff(times[some]) for some in rows]
        if any((gap <= 0).any() for gap in gaps):
            raise InputError(
                f"got times {time!r} that do not increase within a sequence, expected sorted rows; "
                "sort the DataFrame by sequence and time"
            )
        elapsed = [np.concatenate([[np.median(g)] if len(g) else [1.0], g]) for g in gaps]
        return cls(inputs, elapsed, False, False, *given)

    @property
    def lengths(self) -> list[int]:
        """Steps of each sequence."""
        return [len(one) for one in self.inputs]

    def of_rows(self, y: Any) -> Any:
        """Return y by sequence, where it is given by the rows of a DataFrame.

        A Series with a value a sequence is taken by the names in its index, if they are those of
        the sequences, and else in the order in which the sequences begin.
        """
        if self.rows is None or y is None:
            return y
        if len(y) == len(self.inputs):
            by_name = hasattr(y, "loc") and set(y.index) == set(self.called)
            return y.loc[list(self.called)].to_numpy() if by_name else y
        if len(y) != sum(self.lengths):
            return y
        values = np.asarray(y)
        return [values[some] for some in self.rows]

    def as_given(self, answers: list[NDArray[Any]]) -> Any:
        """Return answers of every step as X was given: by row, as a list, or stacked."""
        if self.rows is not None:
            by_row = np.empty((sum(self.lengths), *answers[0].shape[1:]), answers[0].dtype)
            by_row[np.concatenate(self.rows)] = np.concatenate(answers)
            return by_row
        return answers if self.is_list else np.stack(answers)

    def sequences(self, targets: SequenceOf[Array]) -> list[Sequence]:
        """Return them with targets (time, target)."""
        return [
            Sequence(f"sequence {k}", *each)
            for k, each in enumerate(zip(self.inputs, targets, self.elapsed, strict=True))
        ]


def _axes(X: Any) -> int:
    """Return the number of axes; objects that can become an array do."""
    axes = getattr(X, "ndim", None)
    return int(np.asarray(X).ndim if axes is None else axes)


def finite(array: Array, which: int) -> Array:
    """Return the array, or raise `InputError` where it is empty or not finite."""
    if not array.size or not np.isfinite(array).all():
        what = "no steps" if not array.size else "NaN or infinity"
        raise InputError(
            f"got {what} in sequence {which} of X, expected finite numbers, (time, feature); leave "
            "it out, or fill the gaps in (elegans.data.read_table does, with a mask)"
        )
    return array


def _elapsed(elapsed: Any, inputs: SequenceOf[Array]) -> list[Array]:
    if elapsed is None:
        return [np.ones(len(x)) for x in inputs]
    times = [np.asarray(one, dtype=np.float64).reshape(-1) for one in elapsed]
    if [len(t) for t in times] != [len(x) for x in inputs]:
        raise InputError(
            "got elapsed times of other lengths than the sequences of X, expected one for each "
            "step; cut them alike"
        )
    return times


def targets_of(y: Any, steps: Steps) -> tuple[list[Array], Form]:
    """Return targets (time, target), NaN where they are not asked for, and their form."""
    inputs, is_flat = steps.inputs, steps.is_flat
    if isinstance(y, list | tuple) and len(y) and np.ndim(y[0]) >= 1 and not is_flat:
        each = [np.asarray(one, dtype=np.float64) for one in y]
        form = Form(True, each[0].ndim == 2)
        targets = [one if one.ndim == 2 else one[:, None] for one in each]
    else:
        array = _checked_y(y, steps)
        same = len({len(x) for x in inputs}) == 1
        per_step = not is_flat and (
            array.ndim == 3 or (array.ndim == 2 and same and array.shape[1] == len(inputs[0]) > 1)
        )
        form = Form(per_step, array.ndim == (3 if per_step else 2))
        rows = array if form.has_axis else array[..., None]
        if per_step:
            targets = list(rows)
        else:
            targets = []
            for x, row in zip(inputs, rows, strict=True):
                known = np.full((len(x), rows.shape[-1]), np.nan)
                known[-1] = row
                targets.append(known)
    if [len(t) for t in targets] != steps.lengths:
        raise InputError(
            f"got {len(targets)} targets of {[len(t) for t in targets[:5]]} steps, expected as "
            f"many as X has: {steps.lengths[:5]}; give one a sequence or one a step"
        )
    return targets, form


def _checked_y(y: Any, steps: Steps) -> Array:
    utils = require_extra("sklearn.utils", "lab")
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    if _axes(y) < 3:
        # Of steps some may be unknown; of sequences, as scikit-learn has it, none.
        finite: Any = "allow-nan" if _axes(y) == 2 and not steps.is_flat else True
        y = utils.check_array(
            y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_all_finite=finite
        )
    array = np.asarray(y, dtype=np.float64)
    if len(array) != len(steps.inputs):
        raise InputError(
            f"got {len(steps.inputs)} sequences and {len(array)} targets, expected one for each; "
            "give as many"
        )
    return array


def labels_of(y: Any, steps: Steps) -> tuple[list[NDArray[Any]], bool]:
    """Return the labels of each sequence, one or one a step, and whether it is one a step."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    if not isinstance(y, list | tuple):
        y = np.asarray(y)
    per_step = not steps.is_flat and not isinstance(y[0], str) and np.ndim(y[0]) == 1
    if not per_step:
        utils = require_extra("sklearn.utils", "lab")
        multiclass = require_extra("sklearn.utils.multiclass", "lab")
        y = utils.column_or_1d(y, warn=True)
        utils.assert_all_finite(y, input_name="y")
        multiclass.check_classification_targets(y)
    labels = [np.atleast_1d(np.asarray(one)) for one in y]
    expected = [length if per_step else 1 for length in steps.lengths]
    if [len(one) for one in labels] != expected:
        raise InputError(
            f"got {len(steps.inputs)} sequences and {len(labels)} labels or rows of labels, "
            "expected one for each sequence or each step; give as many"
        )
    return labels, per_step


def flat(values: Any) -> NDArray[Any]:
    """Return the values of all steps of all sequences, (step,) or (step, target)."""
    parts = [np.asarray(one) for one in values]
    return np.stack(parts) if parts[0].ndim == 0 else np.concatenate(parts)
