"""From a user's table to sequences with elapsed times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from elegans.data.choosing import Choice, Task, understood
from elegans.data.opening import SUFFIXES, Data, open_data
from elegans.data.reading import Missing
from elegans.data.sequences import SequenceTable
from elegans.data.text_file import Dialect

__all__ = ["SUFFIXES", "column_names", "read_table"]


def read_table(
    data: Data,
    inputs: str | Iterable[str] = "all",
    targets: str | Iterable[str] = (),
    *,
    time: str | None = None,
    sequence: str | None = None,
    exclude: str | Iterable[str] = (),
    missing: Missing = "error",
    sort: bool = False,
    task: Task = "auto",
    horizon: int = 0,
    time_unit: str | None = None,
    date_format: str | None = None,
    dialect: Dialect | None = None,
) -> SequenceTable:
    """Read columns of a table into sequences.

    Text files may have any separator, decimal commas, a line of names or none, and may be
    compressed; Parquet and Excel need the extras of these names. An npz file holds one array a
    column, or 2-D arrays ``x`` with the columns ``x[0]``, ``x[1]`` and so on, which ``x`` names
    together. Whatever is found out is told in ``table.reading.notes``.

    Parameters
    ----------
    data
        A file, a folder of files or several files, each of which is a sequence, or a DataFrame.
    inputs, targets
        One name or several; patterns such as ``a*``; ``"all"``, which is everything that has no
        other part, and with a `horizon` the targets, too. A column may be in both. Words become a
        number for each word, booleans 0 and 1.
    time
        The column of times, strictly increasing within each sequence; gaps may be irregular.
        Numbers in any unit, ISO dates, or seconds to nanoseconds since 1970; the last two give
        elapsed times in seconds. Without it every step lasts 1.
    sequence
        The column that says which sequence a row belongs to, as numbers or text; the rows of a
        sequence are consecutive. Without it a file is one sequence, named after the file.
    exclude
        Names and patterns that ``inputs`` does not mean.
    missing
        What becomes of empty cells, ``?``, ``NA`` and ``nan``. ``"error"``: an error says where
        they are. ``"fill"``: the last value stands for them, and two more inputs for each such
        column say whether it was seen and how long ago. ``"drop"``: the rows are left out, and the
        next step is longer. Missing targets stay unknown with both.
    sort
        Sort the rows by sequence and time, where they are not.
    task
        ``"classification"`` makes a class of the target; ``"auto"`` does so with words, booleans,
        and a column of 0 and 1.
    horizon
        How many steps ahead the targets are; the last ones of a sequence are unknown.
    time_unit
        The unit of numeric times: s, ms, us, ns, min, h or d.
    date_format
        Of times that are not ISO 8601, such as ``"%d/%m/%Y %H:%M"``.
    dialect
        How a text file is written, where it is not found out.

    Returns
    -------
    SequenceTable
        Sequences in the order of the file. ``elapsed[t]`` is the time from step t - 1 to step t; no
        step precedes the first, so ``elapsed[0]`` is the median of the sequence's other gaps.

    Raises
    ------
    DataError
        When the file, a name, a row or a time is not as described; the message names file, line
        (or index) and column.

    Examples
    --------
    >>> import pandas
    >>> walk = pandas.DataFrame(
    ...     {"worm": ["a", "a", "a", "b", "b"], "t": [0, 2, 3, 7, 9], "speed": [1.0, 3, 2, 5, 4],
    ...      "turns": ["no", "yes", "no", "no", "yes"]}
    ... )
    >>> table = read_table(walk, "speed", "turns", time="t", sequence="worm")
    >>> [(one.name, one.inputs[:, 0].tolist(), one.elapsed.tolist()) for one in table]
    [('a', [1.0, 3.0, 2.0], [1.5, 2.0, 1.0]), ('b', [5.0, 4.0], [2.0, 2.0])]
    >>> table.classes, table.sequences[1].targets.tolist()
    (('no', 'yes'), [[1.0, 0.0], [0.0, 1.0]])
    """
    source = open_data(data, dialect)
    shown, answers, without = (_names(each) for each in (inputs, targets, exclude))
    choice = Choice(
        shown,
        answers,
        time,
        sequence,
        without,
        missing,
        sort,
        task,
        horizon,
        time_unit,
        date_format,
    )
    return understood(source, choice).read(source)


def _names(given: Any) -> tuple[str, ...]:
    """Return one name or several as texts."""
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Iterable):
        return (str(given),)
    return tuple(str(name) for name in given)


def column_names(data: Data) -> tuple[str, ...]:
    """Return the names that `read_table` accepts for the columns of a table.

    Raises
    ------
    DataError
        When there is no such file, or its format is not known or damaged.
    """
    return open_data(data).names
