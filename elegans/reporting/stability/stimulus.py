"""Inputs under which a circuit is examined: the user's data, or a random walk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.checks import check_seed
from elegans.data import Scales
from elegans.errors import InputError
from elegans.ltc.layer import LTC
from elegans.proofs.certificates.network import Array, Box, Range, given_range

Data = Tensor | NDArray[np.floating]
WALK_STEPS = 400


@dataclass(frozen=True, eq=False)
class Stimulus:
    """Sequences of inputs, in the units that the layer is given.

    Parameters
    ----------
    sequences
        Inputs (time, input) and elapsed times (time,) of each; at least one step each.
    range
        Lowest and highest input that the statements are about, each of shape (input,).
    source
        Where the inputs come from, in a sentence.
    synthetic
        Whether they were made up.
    time_unit
        What the elapsed time 1 is called.
    seconds
        How long it is in seconds, None where the data name no unit of time.
    scales
        From the units of the data to those of the layer, None where they are not known.
    answers
        Whether the layer's outputs are predicted numbers, in the scale of the targets.
    """

    sequences: tuple[tuple[Array, Array], ...]
    range: Box
    source: str
    synthetic: bool = False
    time_unit: str = "time unit"
    seconds: float | None = None
    scales: Scales | None = None
    answers: bool = False

    @property
    def steps(self) -> int:
        """Number of steps of all sequences."""
        return sum(len(inputs) for inputs, _ in self.sequences)

    @property
    def elapsed(self) -> float:
        """Median length of a step, of those that last."""
        lengths = self._lengths()
        lasting = lengths[lengths > 0]
        return float(np.median(lasting)) if len(lasting) else 1.0

    @property
    def even(self) -> bool:
        """Whether all steps are equally long."""
        lengths = self._lengths()
        return bool((lengths == lengths[0]).all())

    @property
    def mean(self) -> Array:
        """Mean input, shape (input,)."""
        return np.asarray(np.concatenate([inputs for inputs, _ in self.sequences]).mean(axis=0))

    def outside(self) -> float:
        """Return the share of the steps with an input outside the range."""
        inputs = np.concatenate([inputs for inputs, _ in self.sequences])
        return float(((inputs < self.range.lo) | (inputs > self.range.hi)).any(axis=1).mean())

    def _lengths(self) -> Array:
        """Return the elapsed times of all steps, shape (step,)."""
        return np.concatenate([elapsed for _, elapsed in self.sequences])


def stimulus_from(
    model: LTC,
    data: Data,
    *,
    elapsed: float | Data = 1.0,
    inputs: Range | None = None,
    time_unit: str = "time unit",
    seconds: float | None = None,
    scales: Scales | None = None,
) -> Stimulus:
    """Return the user's data as a stimulus; raises `InputError` unless it is valid and finite.

    `data` is (batch, time, input) or (time, input), `elapsed` a number > 0, (time,) or (batch,
    time); `inputs` are the lowest and highest input, by default those of the data; `seconds` is
    the length of the elapsed time 1, `scales` those of the data.
    """
    if seconds is not None and not (seconds > 0 and np.isfinite(seconds)):
        raise InputError(
            f"got seconds={seconds!r}, expected a finite number above 0; pass how many seconds the "
            "elapsed time 1 is, or None"
        )
    if scales is not None and len(scales.inputs.origin) != model.input_size:
        raise InputError(
            f"got scales of {len(scales.inputs.origin)} inputs, expected {model.input_size}, as "
            "many as the layer has; pass the scales of its data"
        )
    x = _array("data", data)
    if x.ndim == 2:
        x = x[None]
    if x.ndim != 3 or x.shape[2] != model.input_size or not x.shape[0] * x.shape[1]:
        raise InputError(
            f"got data of shape {tuple(np.shape(data))}, expected (batch, time, "
            f"{model.input_size}) or (time, {model.input_size}) with at least one step; pass the "
            "inputs as the layer is given them"
        )
    _check_finite("data", x, ("batch", "time", "input"))
    times = np.asarray(elapsed, np.float64) if np.isscalar(elapsed) else _array("elapsed", elapsed)
    if times.shape not in ((), x.shape[1:2], x.shape[:2]):
        raise InputError(
            f"got elapsed of shape {times.shape}, expected a number, ({x.shape[1]},) or "
            f"{x.shape[:2]}; pass the time since the previous step"
        )
    _check_finite("elapsed", times, ("batch", "time")[-max(times.ndim, 1) :])
    if (times < 0).any() or not (times > 0).any():
        raise InputError(
            "got elapsed times that are negative, or all 0, expected times since the previous step"
        )
    times = np.broadcast_to(times, x.shape[:2])
    lo, hi = x.min(axis=(0, 1)), x.max(axis=(0, 1))
    origin = "the data's own extremes" if inputs is None else "the range that was asked for"
    box = given_range((lo, hi) if inputs is None else inputs, model.input_size)
    counted = f"{len(x):,} sequence{'s' if len(x) > 1 else ''} of {x.shape[1]:,} steps"
    return Stimulus(
        tuple(zip(x, times, strict=True)),
        box,
        f"Data that was handed over: {counted}. The range of the inputs is {origin}.",
        time_unit=time_unit,
        seconds=seconds,
        scales=scales,
        answers=scales is not None and len(scales.targets.origin) == model.output_size,
    )


def random_walk(inputs: Range, count: int, *, seed: int = 0, steps: int = WALK_STEPS) -> Stimulus:
    """Return a random walk of `count` inputs that is reflected at the ends of a range.

    Examples
    --------
    >>> stimulus = random_walk((-1, 1), count=2)
    >>> stimulus.sequences[0][0].shape, stimulus.outside(), stimulus.synthetic
    ((400, 2), 0.0, True)
    """
    box = given_range(inputs, count)
    moves = np.random.default_rng(check_seed(seed)).normal(0.0, 0.15, (steps, count)).cumsum(axis=0)
    folded = 1 - np.abs((moves + 1.5) % 2 - 1)  # from 0 to 1, reflected
    walk = np.clip(box.lo + folded * box.width, box.lo, box.hi)
    lo, hi = box.lo.min(), box.hi.max()
    return Stimulus(
        ((walk, np.ones(steps)),),
        box,
        f"The data was not at hand: the circuit is driven by a random walk of {steps} steps "
        f"between {lo:g} and {hi:g}, in the layer's units. What is measured is about this walk, "
        "not about the data.",
        synthetic=True,
    )


def _array(name: str, values: object) -> Array:
    try:
        if isinstance(values, Tensor):
            values = values.detach().cpu()
            values = values.float() if values.dtype == torch.bfloat16 else values
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"got {name} that is no array of real numbers ({error}), expected a tensor or an array"
        ) from error


def _check_finite(name: str, values: Array, axes: Sequence[str]) -> None:
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        where = tuple(broken[0])
        place = ", ".join(f"{axis} {at}" for axis, at in zip(axes, where, strict=False))
        raise InputError(
            f"{name} holds {values[where]} at {place}, expected finite numbers; clean the data, or "
            "leave these steps out"
        )
