"""Chaotic systems against published exponents, inside their own error bars."""

import pytest
import torch

from elegans.proofs.lyapunov import flow_exponents, map_exponents
from elegans.proofs.lyapunov.reference_systems import beer, henon, linz_sprott, lorenz

pytestmark = pytest.mark.slow

FLOWS = {
    "lorenz": (lorenz, 128, {"dt": 0.01, "time": 6.0, "transient": 30.0, "frame_transient": 4.0}),
    "linz_sprott": (
        linz_sprott,
        128,
        {"dt": 0.1, "time": 60.0, "transient": 200.0, "frame_transient": 40.0},
    ),
    "beer": (
        beer,
        64,
        {"dt": 0.4, "time": 400.0, "transient": 800.0, "frame_transient": 200.0},
    ),
}


def inside(found, system, widening=1.5):
    """A 95 % interval of one seed may miss: three half-widths a side of two are 3 sigma."""
    expected = torch.tensor(system.exponents, dtype=torch.float64)
    known = slice(len(expected))
    distance = (found.exponents[known] - expected).abs()
    return bool((distance <= widening * found.errors[known] + system.digits).all())


@pytest.mark.parametrize("name", FLOWS)
def test_chaotic_flow(name):
    system, members, options = FLOWS[name]
    found = flow_exponents(
        system.function, system.states(members, 1), tolerance=0.05, progress=False, **options
    )
    assert inside(found, system), str(found)
    assert found.sum_check.holds
    assert found.converged, found.verdict


def test_henon_and_the_coverage_of_its_error_bar():
    """Of 40 seeds at least 33 cover: 38 expected, fewer than 33 once in 1,000 if honest."""
    covered = 0
    for seed in range(40):
        found = map_exponents(
            henon.function, henon.states(32, seed), steps=60, transient=60, frame_transient=15,
            seed=seed, blocks=10, progress=False,
        )  # fmt: skip
        covered += inside(found, henon, widening=1.0)
        assert found.sum_check.volume == pytest.approx(-1.2039728, abs=1e-6)  # log 0.3
    assert covered >= 33, covered


def test_a_wrong_system_is_outside_its_error_bar():
    found = map_exponents(
        lambda x: torch.stack([1 - 1.38 * x[:, 0] ** 2 + x[:, 1], 0.3 * x[:, 0]], -1),
        henon.states(64, 0), steps=300, transient=100, frame_transient=20, progress=False,
    )  # fmt: skip
    assert not inside(found, henon)
