"""The method of Benettin and Geist: growth rates from a frame that a motion carries along.

The frame of tangent vectors is orthonormalised after every interval, and the logs of its growth are
added up.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from elegans.errors import InputError, SolveError
from elegans.proofs.lyapunov.motions import Motion

CHECKED_INTERVALS = 24
"""Most intervals that are computed again with half the step and half the QR interval."""

LARGEST_VOLUME = 64
"""Most neurons for which the growth of volumes is computed; it costs neurons² a step."""


LONGEST_COURSE = 4000
"""Most steps of a trajectory that are kept to see where it ended."""

_COURSE_NUMBERS = 20_000_000


@dataclass(frozen=True)
class Plan:
    """Length of a run, its records, and the certainty asked of it."""

    neurons: int
    """Dimension of the state."""
    count: int
    """Number of exponents k."""
    transient: int
    """Steps of the state alone, until it is on the attractor."""
    frame_transient: int
    """Intervals with the frame, until it has turned into the directions of growth."""
    intervals: int
    """Intervals measured."""
    interval: int
    """Steps from one orthonormalisation to the next."""
    blocks: int
    """Number of blocks of time for running estimates and error bars."""
    tolerance: float
    """Largest error bar, relative to the largest exponent by size."""
    seed: int
    """Of the first frame."""
    progress: bool
    """Whether to show a progress bar where the output is a terminal."""

    def __post_init__(self) -> None:
        whole = isinstance(self.count, int) and not isinstance(self.count, bool)
        if not (whole and 1 <= self.count <= self.neurons):
            raise InputError(
                f"got count={self.count!r}, expected 1 to {self.neurons} exponents, as many as "
                "there are neurons"
            )

    @property
    def steps(self) -> int:
        """Number of steps from the beginning to the end."""
        return self.transient + (self.frame_transient + self.intervals) * self.interval

    @property
    def volume(self) -> bool:
        """Whether to compute the growth of volumes as well."""
        return self.count == self.neurons <= LARGEST_VOLUME


class Measurement(NamedTuple):
    """Growth along the trajectories of a run; rates are per unit of time."""

    rates: Tensor
    """(interval, batch, exponent)."""
    volume: Tensor | None
    """Mean growth of the log of volumes, (batch,)."""
    course: Tensor
    """The last states, one a step, `LONGEST_COURSE` at most, (step, batch, neuron)."""
    alive: Tensor
    """Whether a trajectory stayed within the finite numbers, (batch,); what is said of one that
    did not is about another one in its place."""
    began: Tensor
    """States when measuring began, (batch, neuron)."""
    ended: Tensor
    """States at the end, (batch, neuron)."""
    step_changes: Tensor | None
    """Change of the rates when the steps are halved, (checked, batch, exponent)."""
    interval_changes: Tensor | None
    """Change when the QR interval is halved, (checked, batch, exponent)."""


@torch.no_grad()
def measure(motion: Motion, state: Tensor, plan: Plan) -> Measurement:
    """Return growth rates along the trajectories that begin at `state`, (batch, neuron)."""
    run = _Run(motion, plan, len(state))
    kept = min(LONGEST_COURSE, max(16, _COURSE_NUMBERS // state.numel()))
    course: deque[Tensor] = deque(maxlen=kept)
    bar = tqdm(
        total=plan.steps, disable=None if plan.progress else True, unit="step", desc="exponents"
    )
    with bar:
        for step in range(plan.transient):
            state = motion.move(state, step)
            if step % 100 == 99 or step == plan.transient - 1:
                state = run.of_living(state, state, step, "the transient of the state")
                bar.update(step + 1 - bar.n)
        frame = first_frame(state, plan.count, plan.seed)
        step = plan.transient
        for _ in range(plan.frame_transient):
            state, frame, _ = run.interval(state, frame, step, "the transient of the frame")
            step += plan.interval
            bar.update(plan.interval)
        began, logs = state, []
        stride = plan.intervals // min(CHECKED_INTERVALS, max(4, plan.intervals // 10))
        stride = max(1, stride)
        step_changes, interval_changes = [], []
        for index in range(plan.intervals):
            before = state, frame
            state, frame, log = run.interval(state, frame, step, "measuring", course)
            logs.append(log)
            if index % stride == 0:
                halved = motion.halved()
                if halved is not None:
                    finer = _Run(halved, plan, len(state))
                    step_changes.append(finer.interval(*before, step, "half steps")[2] - log)
                if plan.interval > 1:
                    interval_changes.append(run.in_two(*before, step) - log)
            step += plan.interval
            bar.update(plan.interval)
    duration = plan.interval * motion.length
    return Measurement(
        torch.stack(logs).double().cpu() / duration,
        run.volume / (duration * plan.intervals) if plan.volume else None,
        torch.stack(list(course)).double().cpu(),
        run.alive.cpu(),
        began,
        state,
        torch.stack(step_changes).double().cpu() / duration if step_changes else None,
        torch.stack(interval_changes).double().cpu() / duration if interval_changes else None,
    )


class _Run:
    """A motion under a plan."""

    def __init__(self, motion: Motion, plan: Plan, members: int) -> None:
        self.motion, self.plan = motion, plan
        self.volume = torch.zeros(members, dtype=torch.float64)
        self.alive = torch.ones(members, dtype=torch.bool)

    def interval(
        self,
        state: Tensor,
        frame: Tensor,
        step: int,
        phase: str,
        course: deque[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return state, orthonormal frame and log growth (batch, k) after one interval.

        States along it are appended to `course`, if there is one, and volumes then measured.
        """
        state, frame = self._carry(state, frame, step, self.plan.interval, course)
        last = step + self.plan.interval - 1
        frame = self.of_living(state, frame, last, phase)
        state = self.of_living(state, state, last, phase)
        frame, log = orthonormalise(frame)
        if not bool(torch.isfinite(log).all()):
            raise SolveError(
                f"got tangent vectors that are not finite at {self.when(step)} in {phase}, "
                "expected finite ones; orthonormalise more often (a smaller qr_every)"
            )
        return state, frame, log

    def in_two(self, state: Tensor, frame: Tensor, step: int) -> Tensor:
        """Return the log growth of an interval with an orthonormalisation in its middle."""
        half = self.plan.interval // 2
        state, frame = self._carry(state, frame, step, half)
        frame, first = orthonormalise(frame)
        state, frame = self._carry(state, frame, step + half, self.plan.interval - half)
        frame = torch.where(torch.isfinite(state).all(-1)[:, None, None], frame, 0.0)
        return first + orthonormalise(frame)[1]

    def _carry(
        self,
        state: Tensor,
        frame: Tensor,
        step: int,
        steps: int,
        course: deque[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        for index in range(step, step + steps):
            before = state
            state, frame = self.motion.carry(state, frame, index)
            if course is None:
                continue
            course.append(state)
            if self.plan.volume:
                self.volume += self.motion.growth(before, state, index).double().cpu()
        return state, frame

    def when(self, step: int) -> str:
        """Return the end of a step in words."""
        if self.motion.kind == "map":
            return f"step {step + 1}"
        time = (step + 1) * self.motion.length
        return f"time {time:.6g} (step {step + 1})"

    def of_living(self, state: Tensor, values: Tensor, step: int, phase: str) -> Tensor:
        """Return `values`, with those of a living member in place of what left the finite numbers.

        Raises `SolveError` if no member is left.
        """
        finite = torch.isfinite(state).all(-1)
        if bool(finite.all()):
            return values
        self.alive &= finite.cpu()
        if not bool(self.alive.any()):
            member = int((~finite).nonzero()[0])
            alone = "" if len(state) == 1 else ", the last of them,"
            raise SolveError(
                f"trajectory {member}{alone} left the finite numbers before {self.when(step)} in "
                f"{phase}, expected one that stays bounded; begin nearer to the attractor or take "
                "smaller steps"
            )
        living = values[int(self.alive.nonzero()[0])]
        return torch.where(finite.reshape(-1, *(1,) * living.dim()), values, living)


def orthonormalise(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Return Q and log diag R, (batch, k), of frame = Q R with a positive diagonal of R."""
    q, r = torch.linalg.qr(frame)
    diagonal = r.diagonal(dim1=-2, dim2=-1)
    # A direction that the motion annihilates would give log 0: the smallest number stands for it.
    log = diagonal.abs().clamp_min(torch.finfo(frame.dtype).tiny).log()
    return q * torch.where(diagonal < 0, -1.0, 1.0).to(frame.dtype).unsqueeze(-2), log


def first_frame(state: Tensor, count: int, seed: int) -> Tensor:
    """Return random orthonormal frames (batch, neuron, k), another one each member."""
    batch, neurons = state.shape
    generator = torch.Generator().manual_seed(seed)
    # Column by column, so that the first k are the same whatever their number.
    columns = [
        torch.randn(batch, neurons, generator=generator, dtype=torch.float64) for _ in range(count)
    ]
    drawn = torch.stack(columns, dim=-1)
    frame: Tensor = torch.linalg.qr(drawn).Q
    return frame.to(state)
