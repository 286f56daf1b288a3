"""Rows that come one at a time, shown to a circuit as the rows of a file are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elegans.data.reading import Reading
from elegans.data.sequences import Array
from elegans.data.sources import FrameSource
from elegans.errors import DataError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Seen:
    """What a stream remembers of a column with gaps, of each of its rows.

    Parameters
    ----------
    values
        The last values, (row, number).
    age
        How long ago they were seen, (row,), in the unit of time; NaN before the first row.
    """

    values: Array
    age: Array


Memory = dict[str, Seen]


@dataclass(frozen=True)
class Stream:
    """Shows rows of columns to a circuit, as a reading has understood them.

    Parameters
    ----------
    reading
        How the columns were understood when the circuit was trained.

    Examples
    --------
    >>> import pandas as pd
    >>> from elegans.data import read_table
    >>> rows = pd.DataFrame({"gait": ["walk", "run"] * 3, "speed": range(6), "y": range(6)})
    >>> stream = Stream(read_table(rows, targets="y").reading)
    >>> stream.reading.input_names
    ('gait=run', 'gait=walk', 'speed')
    >>> stream.shown({"speed": 2.5, "gait": "walk"}, {}, 1.0)[0].tolist()
    [0.0, 1.0, 2.5]
    """

    reading: Reading

    @staticmethod
    def takes(observation: Any) -> bool:
        """Whether an observation has names: a mapping, or a row or a frame of pandas with some."""
        if isinstance(observation, Mapping):
            return True
        names: Any = getattr(observation, "columns", getattr(observation, "index", ()))
        return hasattr(observation, "to_dict") and all(isinstance(name, str) for name in names)

    def shown(self, observation: Any, memory: Memory, elapsed: float) -> tuple[Array, Memory]:
        """Return what the circuit is shown, and what is to be remembered.

        Parameters
        ----------
        observation
            A mapping or a row of pandas with the columns as they are in a file, or a frame of such
            rows, one for each environment.
        memory
            What was returned before, empty at the beginning.
        elapsed
            Time since then, in the unit of the data.

        Returns
        -------
        inputs
            Shape (input,), or (row, input) for a frame.
        memory
            For the next call.

        Raises
        ------
        DataError
            A column is missing, a cell cannot be read, or is missing where none was in training.
        """
        import pandas as pd

        alone = not isinstance(observation, pd.DataFrame)
        cells = dict(observation) if alone else {}
        many = [name for name, cell in cells.items() if np.ndim(cell)]
        if many:
            raise DataError(
                f"got {type(cells[many[0]]).__name__} of several values as {many[0]!r}, expected "
                "one value a column; pass a DataFrame for several rows"
            )
        frame = pd.DataFrame([cells]) if alone else observation
        source = FrameSource(frame, "observation")
        absent = [c.name for c in self.reading.inputs if c.name not in source.names]
        if absent:
            raise source.no_such(absent)
        parts, later = [], dict(memory)
        for column in self.reading.inputs:
            values = self.reading.values(source, frame, column)
            if column.has_gaps:
                start = Seen(np.full(values.shape, column.start), np.full(len(values), np.nan))
                before = memory.get(column.name, start)
                if before.values.shape != values.shape:
                    raise DataError(
                        f"got {len(values)} rows, expected {len(before.values)} as before; call "
                        "reset() where another batch begins"
                    )
                there = np.isfinite(values[:, 0])
                age = np.nan_to_num(before.age + elapsed)
                now = Seen(np.where(there[:, None], values, before.values), np.where(there, 0, age))
                later[column.name] = now
                values = np.concatenate([now.values, there[:, None], now.age[:, None]], axis=1)
            elif np.isnan(values).any():  # of data whose rows with gaps were left out
                raise source.fault(
                    int(np.argmax(np.isnan(values).any(axis=1))),
                    column.name,
                    "a missing cell",
                    "none; leave the step out, and let the next one last longer by elapsed=",
                )
            parts.append(values)
        inputs = np.concatenate(parts, axis=1)
        return inputs[0] if alone else inputs, later

    @staticmethod
    def older(memory: Memory, elapsed: float) -> Memory:
        """Return the memory after a time in which no row was seen."""
        return {name: Seen(seen.values, seen.age + elapsed) for name, seen in memory.items()}

    def without(self, memory: Memory, over: NDArray[np.bool_]) -> Memory:
        """Return the memory without that of the rows that are `over`, (row,)."""
        starts = {column.name: column.start for column in self.reading.inputs}
        return {
            name: Seen(
                np.where(over[:, None], starts[name], seen.values), np.where(over, np.nan, seen.age)
            )
            for name, seen in memory.items()
        }
