"""The data of the hawkmoth: short flights under random controls, as rows of numbers.

A controller learns from them which controls bring the moth from one state into another: inputs are
the state before and the place after, outputs the controls and the velocities after.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from tqdm import tqdm

from elegans.data.splits import Split, part_sizes
from elegans.errors import DataError, InputError, SolveError
from elegans.replications.hawkmoth.body import Moth
from elegans.replications.hawkmoth.dynamics import CONTROLS, STATE, Array
from elegans.replications.hawkmoth.simulation import DURATION, RTOL, simulate

INPUTS = (
    "phi_0", "theta_0", "x_f", "y_f", "phi_f", "theta_f",
    "xdot_0", "ydot_0", "phidot_0", "thetadot_0",
)  # fmt: skip
"""Columns of the inputs: at the beginning (_0) and at the end (_f), in cm, rad, cm/s and rad/s."""

OUTPUTS = ("Fx", "Fy", "tau", "xdot_f", "ydot_f", "phidot_f", "thetadot_f")
"""Columns of the outputs: the force in the frame of the thorax in dyn, the torque in dyn cm, and
the velocities at the end."""

FRACTIONS = (0.64, 0.16, 0.2)
"""Shares of training, validation and test, as published: a fifth, and a fifth of the rest."""

CHUNK = 65_536
_BLOCK = 8_192  # rows that share a random stream: fixed, so that no chunking changes the data

_DRAWN = (*STATE[2:], *CONTROLS)  # x and y begin at 0


@dataclass(frozen=True)
class Ranges:
    """Between which numbers the starts and the controls are drawn, uniformly and independently.

    Parameters
    ----------
    theta, phi
        Angles of thorax and abdomen at the beginning, in rad.
    xdot, ydot
        Velocity of the hinge, in cm/s.
    thetadot, phidot
        Angular velocities, in rad/s.
    F, alpha, tau
        The controls, held throughout: dyn, rad, dyn cm.

    Raises
    ------
    InputError
        When a range is not a pair of finite numbers, the lower first.

    Examples
    --------
    >>> Ranges(F=(0, 0)).F
    (0.0, 0.0)
    """

    theta: tuple[float, float] = (0.0, 2 * math.pi)
    phi: tuple[float, float] = (0.0, 2 * math.pi)
    xdot: tuple[float, float] = (-1500.0, 1500.0)
    ydot: tuple[float, float] = (-1500.0, 1500.0)
    thetadot: tuple[float, float] = (-25.0, 25.0)
    phidot: tuple[float, float] = (-25.0, 25.0)
    F: tuple[float, float] = (0.0, 44_300.0)
    alpha: tuple[float, float] = (0.0, 2 * math.pi)
    tau: tuple[float, float] = (-1e5, 1e5)

    def __post_init__(self) -> None:
        for bounds in fields(self):
            got = getattr(self, bounds.name)
            try:
                low, high = (float(number) for number in got)
                valid = math.isfinite(high - low) and low <= high
            except (TypeError, ValueError):
                valid = False
            if not valid:
                raise InputError(
                    f"got {bounds.name} = {got!r}, expected a pair of finite numbers, the lower "
                    f"first; the default is {bounds.default}"
                )
            object.__setattr__(self, bounds.name, (low, high))


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Rows of a data set, one a trajectory.

    Parameters
    ----------
    inputs
        (trajectory, 10), in the order of `INPUTS`.
    outputs
        (trajectory, 7), in the order of `OUTPUTS`.
    moth, ranges, duration, seed
        What the rows were made from.

    Raises
    ------
    DataError
        When shapes do not fit together, or a number is not finite.
    """

    inputs: NDArray[Any]
    outputs: NDArray[Any]
    moth: Moth = field(default_factory=Moth)
    ranges: Ranges = field(default_factory=Ranges)
    duration: float = DURATION
    seed: int = 0

    def __post_init__(self) -> None:
        widths = (("inputs", INPUTS), ("outputs", OUTPUTS))
        for name, columns in widths:
            values = getattr(self, name)
            if values.ndim != 2 or values.shape[1] != len(columns) or values.dtype.kind != "f":
                raise DataError(
                    f"got {name} of shape {values.shape} and type {values.dtype}, expected floats "
                    f"(trajectory, {len(columns)}) in the order {', '.join(columns)}"
                )
            finite = np.isfinite(values).all(0)
            if not finite.all():
                raise DataError(
                    f"got {name} whose column {columns[int(np.argmin(finite))]!r} holds numbers "
                    "that are not finite, expected none; draw the data again with sample()"
                )
        if len(self.inputs) != len(self.outputs):
            raise DataError(
                f"got {len(self.inputs)} rows of inputs and {len(self.outputs)} of outputs, "
                "expected as many; a trajectory is a row of both"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def rows(self, first: int, last: int) -> Trajectories:
        """Return the rows from `first` to before `last`, without copying them."""
        here = slice(first, last)
        return Trajectories(
            self.inputs[here], self.outputs[here], self.moth, self.ranges, self.duration, self.seed
        )

    def split(self, fractions: tuple[float, float, float] = FRACTIONS) -> Split[Trajectories]:
        """Return the parts for training, validation and test: the first rows, the next, the last.

        Rows are drawn independently, so that parts in order are as good as shuffled ones, and
        nothing is copied.

        Parameters
        ----------
        fractions
            The three parts as shares of the rows, each above 0, with sum 1, or as whole numbers.

        Raises
        ------
        DataError
            When the fractions are not as described, or too few rows leave a part empty.

        Examples
        --------
        >>> parts = sample(100, seed=0, progress=False).split()
        >>> [len(part) for part in parts]
        [64, 16, 20]
        """
        if len(fractions) != 3:
            raise DataError(f"got {len(fractions)} fractions, expected three; use {FRACTIONS}")
        first, second, end = np.cumsum(part_sizes(len(self), fractions)).tolist()
        return Split(self.rows(0, first), self.rows(first, second), self.rows(second, end))


def sample(
    count: int,
    seed: int,
    moth: Moth | None = None,
    *,
    ranges: Ranges | None = None,
    duration: float = DURATION,
    dtype: DTypeLike = np.float64,
    chunk: int = CHUNK,
    progress: bool = True,
    rtol: float = RTOL,
    threads: int | None = None,
) -> Trajectories:
    """Draw starts and controls, simulate them, and return the rows of a data set.

    Parameters
    ----------
    count
        Number of trajectories, at least 1. The first rows of a longer call are the same.
    seed
        Draws starts and controls, at least 0.
    moth, ranges
        The body, and where starts and controls lie; the published ones by default.
    duration
        Seconds of a trajectory, above 0.
    dtype
        Of the rows kept: float64, or float32 for half the memory. A row is 17 numbers, so that ten
        million in float32 take 0.7 GB. The simulation is in float64 always.
    chunk
        Trajectories simulated at a time, at least 1; a chunk works with 0.5 kB a trajectory. The
        data do not depend on it.
    progress
        Whether to show a progress bar where the output is a terminal.
    rtol, threads
        As for `simulate`; the data do not depend on the threads.

    Raises
    ------
    InputError
        When a number is out of range.
    SolveError
        When a trajectory cannot be integrated; see `simulate`.

    Examples
    --------
    >>> data = sample(1000, seed=0, progress=False)
    >>> data.inputs.shape, data.outputs.shape
    ((1000, 10), (1000, 7))
    >>> column = data.outputs[:, OUTPUTS.index("tau")]
    >>> bool(-1e5 <= column.min() < -9e4 and 9e4 < column.max() <= 1e5)
    True
    """
    moth, ranges = moth or Moth(), ranges or Ranges()
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("chunk", chunk, 1)):
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"got {name} = {value!r}, expected a whole number, at least {least}")
    if not 0 < duration < math.inf:
        raise InputError(
            f"got duration = {duration}, expected finite seconds above 0; leave it out for "
            f"{DURATION}"
        )
    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"got dtype {kind}, expected float64 or float32; leave it out for float64")
    inputs, outputs = np.empty((count, len(INPUTS)), kind), np.empty((count, len(OUTPUTS)), kind)
    bar = tqdm(
        total=count, disable=None if progress else True, unit="trajectory", desc="hawkmoth",
        unit_scale=True,
    )  # fmt: skip
    with bar:
        for first in range(0, count, chunk):
            rows = slice(first, min(first + chunk, count))
            states, controls = draw(ranges, seed, rows.start, rows.stop)
            try:
                ends = simulate(moth, states, controls, duration, rtol=rtol, threads=threads)
            except SolveError as error:
                raise SolveError(f"among the rows from {first} on: {error}") from error
            inputs[rows], outputs[rows] = columns_of(states, controls, ends)
            bar.update(rows.stop - first)
    return Trajectories(inputs, outputs, moth, ranges, float(duration), int(seed))


def draw(ranges: Ranges, seed: int, first: int, last: int) -> tuple[Array, Array]:
    """Return the starts (row, 8) and controls (row, 3) of the rows from `first` to before `last`.

    Examples
    --------
    >>> states, controls = draw(Ranges(), seed=0, first=5, last=8)
    >>> bool((draw(Ranges(), seed=0, first=0, last=8)[0][5:] == states).all())
    True
    """
    drawn = np.concatenate(list(_blocks(seed, first, last)))  # (row, 9), from 0 to 1
    low, high = np.array([getattr(ranges, name) for name in _DRAWN]).T
    drawn = low + (high - low) * drawn
    states = np.zeros((len(drawn), len(STATE)))
    states[:, 2:] = drawn[:, :6]
    return states, drawn[:, 6:]


def _blocks(seed: int, first: int, last: int) -> Iterator[Array]:
    """Yield random numbers (row, 9); each block of rows has a stream of its own."""
    for block in range(first // _BLOCK, (last - 1) // _BLOCK + 1):
        begin, end = max(first - block * _BLOCK, 0), min(last - block * _BLOCK, _BLOCK)
        yield np.random.default_rng((seed, block)).random((end, len(_DRAWN)))[begin:]


def columns_of(states: Array, controls: Array, ends: Array) -> tuple[Array, Array]:
    """Return inputs (row, 10) and outputs (row, 7) of starts, controls and ends of trajectories.

    Examples
    --------
    >>> import numpy as np
    >>> start, end = np.arange(8.0)[None], np.arange(10.0, 18.0)[None]
    >>> inputs, outputs = columns_of(start, np.array([[2.0, 0.0, 5.0]]), end)
    >>> inputs.tolist(), outputs.tolist()
    ([[3.0, 2.0, 10.0, 11.0, 13.0, 12.0, 4.0, 5.0, 7.0, 6.0]], [[2.0, 0.0, 5.0, 14.0, 15.0, 17.0,
    16.0]])
    """
    F, alpha, tau = controls.T
    inputs = np.concatenate([states[:, [3, 2]], ends[:, [0, 1, 3, 2]], states[:, [4, 5, 7, 6]]], 1)
    forces = np.stack([F * np.cos(alpha), F * np.sin(alpha), tau], 1)
    return inputs, np.concatenate([forces, ends[:, [4, 5, 7, 6]]], 1)
