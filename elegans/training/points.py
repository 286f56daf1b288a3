"""The states of a training that a rollback may lead to."""

from __future__ import annotations

from elegans.training.checkpoint import Checkpoint, Checkpoints


class RollbackPoints:
    """The last two states at a multiple of so many steps: in memory, and in the folder of a run.

    Two, as the newest may have been taken after the step that was too large.

    Parameters
    ----------
    saved
        The checkpoints of the run, where there is one.
    every
        The steps from one to the next.
    """

    def __init__(self, saved: Checkpoints | None, every: int) -> None:
        self._saved = saved
        self._every = every
        self._taken: list[Checkpoint] = []

    def add(self, point: Checkpoint) -> None:
        """Take a state, the newest."""
        earlier = [one for one in self._taken if one.step < point.step]
        self._taken = [*earlier, point][-2:]

    @property
    def beginning(self) -> Checkpoint | None:
        """The state before the first step, as long as none was taken after it."""
        newest = self._taken[-1] if self._taken else None
        return newest if newest is not None and newest.step == 0 else None

    def last(self, before: int, tried: int | None = None) -> Checkpoint | None:
        """Return the last state before a step that was not just tried, or else that one.

        Parameters
        ----------
        before
            The step.
        tried
            Where the last rollback led to.
        """
        taken = {point.step: point for point in self._taken if point.step < before}
        steps = set(taken)
        if self._saved is not None:  # a run that was continued has earlier ones in its folder
            saved = [step for step in self._saved.steps() if step < before]
            steps |= {step for step in saved if step % self._every == 0} or set(saved)
        if not steps:
            return None
        newest = max(steps)
        step = max(steps - {newest}, default=newest) if newest == tried else newest
        if step in taken or self._saved is None:
            return taken[step]
        return self._saved.load(step)
