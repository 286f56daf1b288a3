"""Proofs about circuits with gap junctions: what is refused, and what is certified."""

import numpy as np
import pytest

from elegans.errors import InputError
from elegans.proofs import (
    CertificateGuard,
    CertificateSensitivity,
    ContractionCondition,
    ContractionPenalty,
    certify,
    contraction_rates,
    reach_tube,
    refute_contraction,
    sampled_ceiling,
)
from elegans.proofs.certificates.network import Box
from elegans.proofs.claims.small_circuits import Junction, Synapse, circuit

BOX = Box(-np.ones(2), np.ones(2))


def joined(**options):
    """Return two neurons, joined, with a chemical synapse beside the junction."""
    return circuit(
        2, [Synapse(0, 1, 0.5)], [Synapse(0, 0, 0.5)], electrical=[Junction(0, 1, 2.0)], **options
    )


REFUSED = {
    "certify": lambda cell: certify(cell, (-1, 1)),
    "rates": lambda cell: contraction_rates(cell, (-1, 1)),
    "penalty": lambda cell: ContractionPenalty(cell, (-1, 1)),
    "scores": lambda cell: CertificateSensitivity(cell, (-1, 1)),
    "guard": lambda cell: CertificateGuard(cell, (-1, 1)),
    "condition": lambda cell: ContractionCondition(cell, (-1, 1)),
    "ceiling": lambda cell: sampled_ceiling(cell, BOX, (-1, 1)),
    "refutation": lambda cell: refute_contraction(cell, (-1, 1)),
    "tube": lambda cell: reach_tube(cell, (-1, 1), (-1, 1), 2),
}


@pytest.mark.parametrize("what", REFUSED)
def test_nothing_is_said_of_gap_junctions_where_they_are_not_known(what):
    with pytest.raises(InputError, match="gap junctions"):
        REFUSED[what](joined())
