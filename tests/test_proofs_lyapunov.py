"""Exponents that are known exactly, and what must not pass for an exponent."""

import json
import math

import pytest
import torch

from elegans.errors import InputError, SolveError
from elegans.proofs.lyapunov import benettin, flow_exponents, kaplan_yorke_dimension, map_exponents
from elegans.proofs.lyapunov.reference_systems import cat, lorenz
from elegans.proofs.lyapunov.uncertainty import CONFIDENCE, coherence, sampling_error

LINEAR = torch.tensor([[-0.2, 1.0, 0.0], [-1.0, -0.2, 0.5], [0.0, 0.0, -1.0]], dtype=torch.float64)


def linear(state):
    return state @ LINEAR.T


def stuart_landau(state):
    """A limit cycle of radius 1: exponents 0 and -2."""
    x, y = state.unbind(-1)
    radius = x**2 + y**2
    return torch.stack([x - y - x * radius, x + y - y * radius], -1)


def van_der_pol(state):
    x, v = state.unbind(-1)
    return torch.stack([v, (1 - x**2) * v - x], -1)


def pulled(state, u):
    """Logistic growth towards a signal: conditional exponent -1 whatever the signal."""
    return u - state


def quietly(function, state, **options):
    options = {"dt": 0.05, "time": 50.0} | options
    return flow_exponents(function, state, progress=False, **options)


def assert_inside(found, expected):
    expected = torch.tensor(expected, dtype=torch.float64)
    outside = (found.exponents[: len(expected)] - expected).abs() - found.errors[: len(expected)]
    assert outside.max() <= 1e-9, f"{found} against {expected}"


# --- exact -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_linear_flow_has_the_real_parts_of_its_eigenvalues():
    found = quietly(linear, torch.ones(3), frame_transient=30.0)
    assert found.converged, found.verdict
    assert_inside(found, [-0.2, -0.2, -1.0])
    assert found.sum_check.volume == pytest.approx(-1.4, abs=1e-12)


@pytest.mark.slow
def test_linear_map_is_exact():
    matrix = torch.tensor([[2.0, 1.0], [0.0, 0.5]]).double()
    found = map_exponents(
        lambda x: x @ matrix.T / x.norm(dim=-1, keepdim=True).detach().clamp_min(1e9),
        torch.ones(2),
        steps=50,
        progress=False,
        jacobian=None,
    )
    scale = math.log(1e9)
    torch.testing.assert_close(
        found.exponents, torch.tensor([math.log(2) - scale, math.log(0.5) - scale]).double()
    )


@pytest.mark.slow
def test_cat_map_is_exact():
    found = map_exponents(cat.function, cat.states(4, 0), steps=200, progress=False)
    torch.testing.assert_close(
        found.exponents, torch.tensor(cat.exponents, dtype=torch.float64), rtol=1e-9, atol=0
    )
    assert found.exponents[0] == pytest.approx(0.9624236501, abs=1e-9)
    assert found.signs == "+-"
    assert found.kaplan_yorke == pytest.approx(2.0)
    assert found.entropy_bound == pytest.approx(0.9624236501)


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 16])
def test_limit_cycle_has_an_exponent_of_zero(members):
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(members, 2, generator=generator, dtype=torch.float64)
    found = quietly(stuart_landau, start)
    assert found.converged, found.verdict
    assert found.sum_check.holds
    assert found.signs == "0-"
    assert found.kaplan_yorke == 1.0
    assert found.entropy_bound == 0.0
    # The step of 0.05 is exact to dt^4 / 120 about.
    assert found.exponents[0] == pytest.approx(0.0, abs=1e-5)
    assert found.exponents[1] == pytest.approx(-2.0, abs=1e-4)


@pytest.mark.slow
def test_van_der_pol_against_its_mean_divergence():
    found = quietly(van_der_pol, torch.tensor([2.0, 0.0]), time=100.0)
    assert found.signs == "0-"
    assert found.sum_check.holds
    assert found.exponents[1] == pytest.approx(-1.0594, abs=5e-3)


@pytest.mark.slow
def test_fixed_point_has_the_spectrum_of_its_jacobian():
    found = quietly(lambda x: -torch.tanh(2 * x) - x, torch.full((1, 1), 0.7), time=30.0)
    assert found.exponents[0] == pytest.approx(-3.0, abs=2e-5)
    assert_inside(found, [-3.0])
    assert found.converged


# --- driven, first k, ways to the tangent ----------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "inputs",
    [math.sin, torch.randn(5000, 1, generator=torch.Generator().manual_seed(0)).double()],
    ids=["function of time", "sequence"],
)
def test_driven_flow_has_conditional_exponents(inputs):
    found = quietly(pulled, torch.zeros(2, 1), inputs=inputs)
    assert found.exponents[0] == pytest.approx(-1.0, abs=1e-6)
    assert found.error_source == "time blocks"


def test_each_member_may_have_its_own_sequence():
    inputs = torch.rand(3, 120, 1, generator=torch.Generator().manual_seed(0)).double()
    found = map_exponents(
        lambda x, u: x * u, torch.ones(3, 1), steps=40, transient=0, frame_transient=0,
        inputs=inputs, progress=False,
    )  # fmt: skip
    expected = inputs[:, :40].log().mean(1)
    torch.testing.assert_close(found.member_exponents, expected)


@pytest.mark.slow
def test_first_exponents_equal_those_of_all():
    start = lorenz.states(8, 0)
    options = {"dt": 0.01, "time": 2.0, "transient": 1.0, "frame_transient": 1.0}
    full = quietly(lorenz.function, start, **options)
    first = quietly(lorenz.function, start, count=1, **options)
    assert full.sum_check is not None
    assert first.sum_check is None
    torch.testing.assert_close(first.exponents[0], full.exponents[0], rtol=1e-9, atol=0)


@pytest.mark.slow
def test_three_ways_to_the_tangent_agree():
    def jacobian(state):
        x, y, z = state.unbind(-1)
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        rows = ([-10 * one, 10 * one, zero], [28 - z, -one, -x], [y, x, -8 / 3 * one])
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    sizes = torch.ones(4, 3).double()  # a batch of another size does not fit it
    options = {"dt": 0.01, "time": 1.0, "transient": 0.5, "blocks": 5}
    results = [
        quietly(function, lorenz.states(4, 0), jacobian=J, **options).member_exponents
        for function, J in (
            (lorenz.function, None),
            (lambda x: lorenz.function(x * sizes), None),
            (lorenz.function, jacobian),
        )
    ]
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(results[0], results[2], rtol=1e-9, atol=1e-9)
    with pytest.raises(InputError, match="the jacobian differs from differences"):
        quietly(lorenz.function, lorenz.states(4, 0), jacobian=lambda x: -jacobian(x), **options)


@pytest.mark.slow
def test_halving_the_step_changes_little_and_as_fourth_order():
    errors = [
        float(quietly(stuart_landau, torch.ones(2), dt=dt, qr_every=5).step_errors[1])
        for dt in (0.2, 0.1)
    ]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.3)


# --- broken things ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_frame_that_is_not_orthonormalised_is_noticed():
    """Within 40 steps of the cat map all tangent vectors point the same way."""
    found = map_exponents(
        cat.function, cat.states(4, 0), steps=400, qr_every=40, blocks=10, progress=False
    )
    assert not found.converged
    assert "orthonormalise more often" in found.verdict
    assert not found.sum_check.holds


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda q, log: (q, -log), id="wrong sign"),
        pytest.param(lambda q, log: (q, log * 1.01), id="wrong by a hundredth"),
        pytest.param(lambda q, log: (2 * q, log), id="not normal"),
    ],
)
def test_the_sum_check_notices_a_broken_method(monkeypatch, broken):
    right = benettin.orthonormalise
    monkeypatch.setattr(benettin, "orthonormalise", lambda frame: broken(*right(frame)))
    found = quietly(stuart_landau, torch.ones(2))
    assert not found.sum_check.holds
    assert "the exponents sum to" in found.verdict


@pytest.mark.slow
def test_a_flow_without_zero_exponent_is_noticed(monkeypatch):
    monkeypatch.setattr(
        benettin,
        "orthonormalise",
        lambda frame, right=benettin.orthonormalise: (right(frame)[0], right(frame)[1] + 0.01),
    )
    found = quietly(stuart_landau, torch.ones(2), qr_every=1)
    assert "no exponent is zero" in found.verdict


@pytest.mark.slow
def test_members_on_different_attractors_are_noticed():
    """The fixed points at 0 and at 1 decay at rates 1 and 20: no average is meant."""

    def two_rates(state):
        rate = torch.where(state > 0.5, 20.0, 1.0)
        return -rate * (state - (state > 0.5).to(state.dtype))

    start = torch.cat([torch.linspace(0.1, 0.3, 8), torch.linspace(0.8, 1.2, 8)]).unsqueeze(-1)
    found = quietly(two_rates, start, dt=0.01, time=2.0, transient=0.0, qr_every=1)
    assert "different attractors" in found.verdict


@pytest.mark.slow
def test_a_short_run_of_chaos_is_not_converged():
    found = quietly(lorenz.function, lorenz.states(8, 0), dt=0.01, time=3.0, tolerance=1e-4)
    assert found.verdict.startswith("not converged: the error bar of exponent")


# --- error bars ------------------------------------------------------------------------------


def test_error_bars_of_noise_cover_as_often_as_they_say():
    """200 cases of independent noise: a rate of 0.95 has a standard deviation of 0.015."""
    generator = torch.Generator().manual_seed(0)
    for members in (1, 16):
        covered = 0
        for _ in range(200):
            rates = torch.randn(400, members, 1, generator=generator, dtype=torch.float64)
            states = torch.randn(members, 2, generator=generator, dtype=torch.float64)
            bar = sampling_error(rates, states, blocks=20, shared=False)
            covered += int(rates.mean().abs() <= bar.half_width)
        assert abs(covered / 200 - CONFIDENCE) < 4 * 0.0154


def test_members_in_step_do_not_count_as_independent():
    wave = torch.sin(torch.arange(400) / 7).double().reshape(400, 1, 1).repeat(1, 16, 1)
    noise = torch.randn(400, 16, 1, generator=torch.Generator().manual_seed(0)).double()
    assert coherence(wave + 0.1 * noise, 20) > 5
    assert coherence(noise, 20) < 2.5
    states = torch.arange(16.0).unsqueeze(-1)
    assert sampling_error(wave, states, blocks=20, shared=False).source == "time blocks"


# --- results and arguments -------------------------------------------------------------------


@pytest.mark.slow
def test_result_goes_through_json():
    found = quietly(stuart_landau, torch.ones(2), time=20.0)
    read = json.loads(json.dumps(found.to_dict()))
    assert read["signs"] == "0-"
    assert read["sum_check"]["holds"] is True
    assert found.running.shape == (20, 2)
    torch.testing.assert_close(found.running[-1], found.block_means.mean(0))
    assert "converged" in str(found)


def test_kaplan_yorke_of_known_spectra():
    assert kaplan_yorke_dimension([0.41922, -1.62319], 2) == pytest.approx(1.2583, abs=1e-4)
    assert kaplan_yorke_dimension([0.5], 3) is None
    assert kaplan_yorke_dimension([0.5, 0.1], 2) == 2.0


def test_divergence_says_when():
    with pytest.raises(SolveError, match=r"trajectory 0 left the finite numbers before time .* in"):
        quietly(lambda x: x**2 - x, torch.tensor([[3.0]]), dt=0.1, time=20.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt": 0.0}, "got dt=0.0, expected a finite number > 0"),
        ({"time": -1.0}, "got time=-1.0, expected"),
        ({"time": 2.0}, r"got 4 intervals .* expected at least 20, one a block"),
        ({"count": 4}, "got count=4, expected 1 to 2 exponents"),
        ({"qr_every": 0}, "got qr_every=0, expected an integer of at least 1"),
        ({"blocks": 2}, "got blocks=2, expected at least 4"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        quietly(stuart_landau, torch.ones(2), **options)


def test_shapes_are_checked():
    with pytest.raises(InputError, match=r"got a state of \(1, 2, 3\), expected a tensor of shape"):
        quietly(stuart_landau, torch.ones(1, 2, 3))
    with pytest.raises(InputError, match=r"the function returned \(1,\) for states of shape"):
        quietly(lambda x: x.sum(-1), torch.ones(2))
    with pytest.raises(InputError, match="got inputs for 10 steps, expected"):
        quietly(pulled, torch.ones(1), inputs=torch.zeros(10, 1).double())
