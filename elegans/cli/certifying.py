"""Circuits that stay certified while a command trains them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from elegans.data import Scales
from elegans.layers.sequence_layer import SequenceLayer
from elegans.proofs import Certificate
from elegans.proofs.certificates.condition import ContractionCondition
from elegans.proofs.verify import at_least, down
from elegans.training import RunFolder

CERTIFICATE = "certificate.json"


def condition_within(
    model: SequenceLayer, scales: Scales, lowest: ArrayLike, highest: ArrayLike
) -> ContractionCondition:
    """Return the condition that a circuit contracts for all inputs between two of the data."""
    low, high = scales.inputs.apply(np.stack([np.asarray(lowest), np.asarray(highest)])).tolist()
    return ContractionCondition(model, (low, high))


def save_certificate(
    folder: RunFolder, condition: ContractionCondition, step: float, unit: str
) -> str:
    """Write the certificate and return its statement; a unit of the circuit's time is `step` units.

    Where the circuit is not certified, the statement says so, and nothing is written.
    """
    certificate = condition.certificate()
    if not isinstance(certificate, Certificate):
        return str(certificate)
    certificate.save(folder.path / CERTIFICATE)
    return (
        f"proved (level {certificate.level}): two states under the same inputs approach each "
        f"other at the rate {at_least(down(certificate.rate / step), 3)} per {unit}"
        f"{certificate.scope}"
    )
