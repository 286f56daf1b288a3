"""A monitor of the stability of a layer while it is trained."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from elegans.errors import InputError
from elegans.layers.sequence_layer import SequenceLayer
from elegans.proofs.lyapunov.exponents import require_whole
from elegans.proofs.lyapunov.models import model_exponents

LARGEST_SPECTRUM = 256
"""Most neurons for which all eigenvalues are computed; it takes neurons³."""


class StabilityMonitor:
    """Records the largest exponent, the spectral abscissa and time constants while training.

    A record holds ``step``; ``lambda_1`` and ``lambda_1_error``, per step of the sequence;
    ``abscissa``, the largest real part among the eigenvalues of the flow's Jacobian at the last
    states; and ``tau_min``, ``tau_median``, ``tau_max`` there. What a layer has not, such as the
    flow of a layer without differential equation, is None.

    A record costs about as much as running the sequences forward twice without kernels, and the
    eigenvalues of one matrix a sequence.

    Parameters
    ----------
    model
        The layer; it is looked at, never changed.
    inputs
        A few sequences like those it is trained on, (batch, time, input), 16 steps at least.
    every
        Number of training steps from one record to the next.
    elapsed
        Time that a step of the sequences lasts.
    path
        A file that each record is appended to as a line of JSON.

    Raises
    ------
    InputError
        An argument is not valid.

    Examples
    --------
    >>> from elegans import LTC
    >>> model = LTC(2, 5)
    >>> watch = StabilityMonitor(model, torch.zeros(1, 32, 2), every=10)
    >>> for step in range(1, 21):
    ...     watch(step)  # fit(..., callbacks=[OnStep(watch)]) does the same
    >>> [record["step"] for record in watch.records]
    [10, 20]
    >>> watch.records[0]["lambda_1"] < 0 and watch.records[0]["abscissa"] < 0
    True
    """

    def __init__(
        self,
        model: SequenceLayer,
        inputs: Tensor,
        *,
        every: int = 100,
        elapsed: float = 1.0,
        path: str | Path | None = None,
    ) -> None:
        require_whole(every=every)
        if inputs.dim() != 3 or inputs.shape[1] < 16:
            raise InputError(
                f"got inputs of shape {tuple(inputs.shape)}, expected (batch, time, input) of at "
                "least 16 steps"
            )
        self.model, self.inputs, self.every, self.elapsed = model, inputs, every, elapsed
        self.path = None if path is None else Path(path)
        self.records: list[dict[str, Any]] = []

    def __call__(self, step: int) -> None:
        """Record if it is time to."""
        if step % self.every == 0:
            self.record(step)

    def record(self, step: int) -> dict[str, Any]:
        """Record now, and return the record."""
        training = self.model.training
        self.model.eval()
        try:
            record = {"step": step, **self._measured()}
        finally:
            self.model.train(training)
        self.records.append(record)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        return record

    @torch.no_grad()
    def _measured(self) -> dict[str, float | None]:
        spectrum = model_exponents(
            self.model,
            self.inputs,
            elapsed=self.elapsed,
            count=1,
            blocks=4,
            tolerance=math.inf,
            progress=False,
        )
        record: dict[str, float | None] = {
            "lambda_1": float(spectrum.exponents[0]),
            "lambda_1_error": float(spectrum.errors[0]),
            "abscissa": None,
            "tau_min": None,
            "tau_median": None,
            "tau_max": None,
        }
        cell = self.model.cell
        dynamics = getattr(cell, "dynamics", None)
        if not callable(dynamics):
            return record
        like = next(self.model.parameters())
        x = self.inputs.to(like)
        state = x.new_zeros(len(x), self.model.state_size)
        _, states = cell.run(x, state, torch.full(x.shape[:2], self.elapsed).to(like))
        system, last = dynamics(x[:, -1]), states[:, -1]
        if last.shape[-1] <= LARGEST_SPECTRUM:
            record["abscissa"] = float(torch.linalg.eigvals(system.jacobian(last)).real.max())
        time_constant = getattr(system, "time_constant", None)
        if callable(time_constant):
            tau = time_constant(last)
            for name in ("min", "median", "max"):
                record[f"tau_{name}"] = float(getattr(tau, name)())
        return record
