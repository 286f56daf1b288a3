"""The scales of a data set, taken from its training part and kept with the run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elegans.data import Sequence, Standardiser, standardise_sequences
from elegans.errors import DataError, RunError


@dataclass(frozen=True, eq=False)
class Scales:
    """What inputs, targets and elapsed times are divided by.

    Parameters
    ----------
    inputs, targets
        Mean and deviation of each column.
    elapsed
        The duration, in the unit of the data, that counts as 1 for the circuit. Initial time
        constants are fractions of 1 and more, so this should be a usual step.

    Examples
    --------
    >>> walk = Sequence("walk", np.array([[0.0], [2.0]]), np.zeros((2, 1)), np.full(2, 20.0))
    >>> scales = Scales.fit([walk])
    >>> scales.apply([walk])[0].elapsed.tolist()
    [1.0, 1.0]
    """

    inputs: Standardiser
    targets: Standardiser
    elapsed: float

    @classmethod
    def fit(cls, sequences: Iterable[Sequence]) -> Scales:
        """Return the scales of the training part of a data set.

        Raises
        ------
        DataError
            There are no sequences.
        """
        sequences = tuple(sequences)
        inputs = Standardiser.fit([one.inputs for one in sequences])
        targets = Standardiser.fit([one.targets for one in sequences])
        gaps = np.concatenate([one.elapsed for one in sequences])
        gaps = gaps[gaps > 0]
        return cls(inputs, targets, float(np.median(gaps)) if len(gaps) else 1.0)

    def apply(self, sequences: Iterable[Sequence]) -> tuple[Sequence, ...]:
        """Return the sequences in the circuit's units."""
        return tuple(
            replace(one, elapsed=one.elapsed / self.elapsed)
            for one in standardise_sequences(sequences, self.inputs, self.targets)
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
            elapsed = float(plain["elapsed"])
            if not (elapsed > 0 and np.isfinite(elapsed)):
                raise ValueError(f"elapsed is {elapsed}")
            return cls(
                Standardiser.from_json(json.dumps(plain["inputs"])),
                Standardiser.from_json(json.dumps(plain["targets"])),
                elapsed,
            )
        except (KeyError, TypeError, ValueError, DataError) as error:
            raise RunError(
                f"got scales that cannot be read ({error}), expected standardiser.json of a run "
                "with inputs, targets and elapsed; the file is damaged: train again"
            ) from error
