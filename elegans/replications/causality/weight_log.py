"""A log of all weights and the risk at every iterate, in memory allocated beforehand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from elegans.errors import PruningError
from elegans.pruning.parts.finding import parts_of

LIMIT_BYTES = 2 << 30
_BYTES = 4  # float32


class Weights(Protocol):
    """Part of a model that can be logged, as `elegans.pruning.parts_of` returns it."""

    @property
    def name(self) -> str:
        """Dotted name of the weight."""

    @property
    def members(self) -> int:
        """Networks of an ensemble, the first axis of the weight; 1 for a single network."""

    def weights(self) -> Tensor:
        """Return the weights as they act, detached."""


class WeightLog:
    """A log of all weights of some parts of a model, and of the risk, at every iterate.

    Numbers are kept as float32: a log takes 4 bytes x weights x iterates, set aside at once. The
    39,200 + 1,500 + 300 weights of a 784-50-30-10 network over 1,000 iterates take 164 MB.

    Parameters
    ----------
    model
        The model, all of whose prunable parts are logged, or a sequence of parts.
    iterates
        How many optimiser steps training will take.
    risk
        Returns the risk at the present weights, a number, or one for each member of an ensemble:
        the share of mistakes, or a loss, on data that the network is *not* trained with. Take a
        validation split. The published work took the test split, and so chose what to prune by
        looking at the data that the result is judged with. It is called without gradients, once
        a logged iterate, and should put the model back into training mode if it leaves it. None
        if risks are handed to `record`.
    every
        Log one iterate in so many.
    include, exclude
        Names of weights or modules, with wildcards, that are logged, or are not; where `model` is
        a module.
    limit_bytes
        The most memory that the log may take.

    Raises
    ------
    PruningError
        The log would be larger than the limit, or an argument is not valid.

    Examples
    --------
    >>> model = nn.Linear(3, 2)
    >>> inputs, labels = torch.randn(8, 3), torch.tensor([0, 1] * 4)
    >>> def risk():
    ...     return nn.functional.cross_entropy(model(inputs), labels)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> log = WeightLog(model, iterates=5, risk=risk)
    >>> for _ in range(5):
    ...     optimizer.zero_grad()
    ...     risk().backward()
    ...     optimizer.step()
    ...     log.record()
    >>> log.iterates, log.series("weight").shape, log.risk().shape, log.bytes
    (5, (6, 5), (5,), 120)
    """

    def __init__(
        self,
        model: nn.Module | Sequence[Weights],
        iterates: int,
        risk: Callable[[], float | Tensor] | None = None,
        *,
        every: int = 1,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        for name, value in (("iterates", iterates), ("every", every)):
            if value < 1:
                raise PruningError(f"got {name}={value}, expected at least 1")
        parts: Sequence[Weights]
        parts = parts_of(model, include, exclude) if isinstance(model, nn.Module) else list(model)
        if not parts:
            raise PruningError("got no weights to log, expected at least one part of a model")
        self._parts = parts
        self.shapes = {part.name: tuple(part.weights().shape) for part in parts}
        self.members = max(part.members for part in parts)
        self._allocate(-(-iterates // every), limit_bytes)
        self._risk, self.every, self.steps = risk, every, 0

    def _allocate(self, rows: int, limit_bytes: int) -> None:
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        ends = np.cumsum([0, *sizes])
        self._places = {
            name: slice(int(begin), int(end))
            for name, begin, end in zip(self.shapes, ends[:-1], ends[1:], strict=True)
        }
        weights = int(ends[-1])
        self.bytes = weights * rows * _BYTES
        if self.bytes > limit_bytes:
            raise PruningError(
                f"got {weights} weights x {rows} iterates x {_BYTES} bytes = {self.bytes} bytes, "
                f"expected at most {limit_bytes}; log some parts only (include=), fewer iterates "
                f"(every={-(-self.bytes // max(1, limit_bytes))} or more, or the first tenth of "
                "the training), or raise limit_bytes"
            )
        self.capacity, self.iterates = rows, 0
        self._values = np.zeros((rows, weights), np.float32)  # (time, weight)
        self._risks = np.zeros((rows, self.members))  # (time, member)

    @classmethod
    def of_series(cls, series: Mapping[str, ArrayLike], risk: ArrayLike) -> WeightLog:
        """Return a log of series that were recorded elsewhere.

        Parameters
        ----------
        series
            By the name of the weight, shape ``(time, *shape of the weight)``.
        risk
            Shape (time,).

        Raises
        ------
        PruningError
            There are no series, they differ in length, or a value is not finite.

        Examples
        --------
        >>> log = WeightLog.of_series({"0.weight": np.ones((7, 2, 3))}, np.arange(7.0))
        >>> log.shapes, log.iterates
        ({'0.weight': (2, 3)}, 7)
        """
        arrays = {name: np.asarray(values) for name, values in series.items()}
        risks = np.asarray(risk, dtype=np.float64)
        lengths = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items()}
        if not arrays or risks.ndim != 1 or {*lengths.values()} != {len(risks)} or not len(risks):
            raise PruningError(
                f"got series of lengths {lengths} and a risk of shape {risks.shape}, expected at "
                "least one series, all as long as the risk: one value of each an iterate"
            )
        log = cls.__new__(cls)
        log._parts, log._risk, log.every, log.members = [], None, 1, 1
        log.shapes = {name: array.shape[1:] for name, array in arrays.items()}
        log._allocate(len(risks), LIMIT_BYTES)
        for name, array in arrays.items():
            log._values[:, log._places[name]] = array.reshape(len(risks), -1)
        log._risks[:, 0] = risks
        log.iterates = log.steps = len(risks)
        log._check(0, len(risks))
        return log

    @torch.no_grad()
    def record(self, risk: float | Tensor | None = None) -> None:
        """Log the present weights and their risk; call it after each optimiser step.

        Parameters
        ----------
        risk
            The risk, where the log was made without a function that returns it.

        Raises
        ------
        PruningError
            A weight or the risk is not finite, the log is full, weights have another shape now,
            or there is no risk. Nothing is logged then.
        """
        if not self._parts:
            raise PruningError(
                "this log was made of given series or risks, and nothing can be recorded in it; "
                "make a log of the model, WeightLog(model, ...)"
            )
        if self.steps % self.every:
            self.steps += 1
            return
        if self.iterates == self.capacity:
            raise PruningError(
                f"the log is full: got iterate {self.steps + 1}, expected at most "
                f"{self.capacity * self.every}; make it with iterates= the steps of the training"
            )
        if risk is None:
            if self._risk is None:
                raise PruningError(
                    "got no risk, expected one: call record(risk), or make the log with risk="
                )
            risk = self._risk()
        judged = torch.as_tensor(risk).detach().cpu().double().reshape(-1).numpy()
        if len(judged) not in (1, self.members):
            raise PruningError(
                f"got {len(judged)} risks, expected 1 or one for each of {self.members} members"
            )
        row = self.iterates
        for part in self._parts:
            weights = part.weights()
            if tuple(weights.shape) != self.shapes[part.name]:
                raise PruningError(
                    f"{part.name} has shape {tuple(weights.shape)}, expected "
                    f"{self.shapes[part.name]} as when the log was made; make a new log"
                )
            self._values[row, self._places[part.name]] = weights.reshape(-1).cpu().numpy()
        self._risks[row] = judged
        self._check(row, row + 1)
        self.iterates += 1
        self.steps += 1

    def with_risk(self, risk: ArrayLike) -> WeightLog:
        """Return a log of the same weights, in the same memory, with another risk.

        Parameters
        ----------
        risk
            Shape (time,), or (time, member) for an ensemble; as many as were logged.

        Raises
        ------
        PruningError
            The risk has another length or a value that is not finite.

        Examples
        --------
        >>> log = WeightLog.of_series({"weight": np.ones((7, 2))}, np.zeros(7))
        >>> log.with_risk(np.arange(7)).risk().tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        """
        risks = np.asarray(risk, dtype=np.float64)
        if risks.shape not in ((self.iterates,), (self.iterates, self.members)):
            raise PruningError(
                f"got a risk of shape {risks.shape}, expected ({self.iterates},) or "
                f"({self.iterates}, {self.members}): one value a logged iterate"
            )
        log = copy.copy(self)
        log._parts = []
        log._risks = np.zeros((self.capacity, self.members))
        log._risks[: self.iterates] = risks if risks.ndim == 2 else risks[:, None]
        log._check(0, self.iterates)
        return log

    def series(self, name: str, member: int = 0) -> NDArray[np.float32]:
        """Return the logged weights called `name` of one member, shape (weight, time): a view."""
        if name not in self.shapes:
            raise PruningError(f"got no weight {name!r}, expected one of {[*self.shapes]}")
        values = self._values[: self.iterates, self._places[name]].T
        weight_count = len(values) // self.members
        return values[member * weight_count : (member + 1) * weight_count]

    def risk(self, member: int = 0) -> NDArray[np.float64]:
        """Return the logged risk of one member, shape (time,): a view."""
        return self._risks[: self.iterates, member]

    def _check(self, begin: int, end: int) -> None:
        """Raise `PruningError` if one of the rows holds a value that is not finite."""
        for row in range(begin, end):
            if not np.isfinite(self._risks[row]).all():
                raise PruningError(
                    f"the risk at iterate {row * self.every} is {self._risks[row].tolist()}, "
                    "expected finite numbers; lower the learning rate or stop before training "
                    "diverges"
                )
            if np.isfinite(self._values[row].sum(dtype=np.float64)):
                continue
            for name, place in self._places.items():
                broken = np.flatnonzero(~np.isfinite(self._values[row, place]))
                if len(broken):
                    where = np.unravel_index(broken[0], self.shapes[name])
                    raise PruningError(
                        f"{name} holds {self._values[row, place][broken[0]]} at "
                        f"{tuple(int(index) for index in where)}, iterate {row * self.every}, "
                        "expected finite numbers; lower the learning rate or clip the gradients"
                    )
