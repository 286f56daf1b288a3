"""What the files of a run hold, as far as anything relies on it; all else is as the user likes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Interval

Count = Annotated[int, Interval(ge=0, le=2**53)]
AtLeastOne = Annotated[int, Interval(ge=1, le=2**53)]


@dataclass(frozen=True)
class RunConfig:
    """Fields of `config.json`."""

    model: dict[str, Any]
    elegans: str = ""
    scaled: bool = False
    warm_start: str | None = None


@dataclass(frozen=True)
class TrainingPart:
    """Fields of `training` in `config.json`."""

    steps: AtLeastOne = 1
    seed: Count = 0
    window: AtLeastOne = 1


@dataclass(frozen=True)
class DataPart:
    """Fields of `data` in `config.json`."""

    path: str | list[str] = ""
    sha256: str = ""
    classifies: bool = False


@dataclass(frozen=True)
class LedgerMark:
    """How much of `ledger.jsonl` belongs to a state of the training."""

    lines: Count = 0
    bytes: Count = 0
    crc32: Count = 0
    """Checksum of these bytes."""


@dataclass(frozen=True)
class Progress:
    """Fields of `training.json` in a checkpoint; the defaults stand for older ones."""

    step: Count
    best_step: Count
    best_loss: float
    loss_sum: float
    losses: Count
    seconds: float
    best_synapses: Count | None = None
    steps: AtLeastOne | None = None
    rewiring_steps: AtLeastOne | None = None
    patient_from: Count = 0
    rollbacks: list[dict[str, Any]] = field(default_factory=list)
    ledger: LedgerMark | None = None
    rewirer: dict[str, Any] | None = None


@dataclass(frozen=True)
class Evaluated:
    """Fields of a line of `metrics.jsonl`."""

    step: Count
    train_loss: float | None = None
    validation_loss: float = 0.0
    learning_rate: float = 0.0
    rewired: Count = 0
    rollbacks: Count = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Edited:
    """Fields of a line of `ledger.jsonl`."""

    step: Count
    synapses: str
    source: Count
    cut: Count
    grown: Count | None
    polarity: int | None
    weight: float
    outcome: str
    grown_source: Count | None = None
    age: Count | None = None
    notes: dict[str, float | None] = field(default_factory=dict)
    grown_synapses: str | None = None
