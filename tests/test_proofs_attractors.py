"""Members of a run on one attractor or on several: never a mean over different ones."""

import json
import math

import pytest
import torch
import zoo
from test_proofs_lyapunov import quietly, stuart_landau

from elegans.errors import SolveError
from elegans.proofs import equilibria, jacobian
from elegans.proofs.lyapunov import flow_exponents, map_exponents, model_exponents
from elegans.proofs.lyapunov.attractors import period_of
from elegans.proofs.lyapunov.reference_systems import henon, lorenz

WELLS = torch.tensor([[0.0, 0.0], [0.1, 0.1], [0.7, 0.7], [0.8, 0.9]], dtype=torch.float64)


def of_pair(states=WELLS, steps=100, **options):
    return model_exponents(
        zoo.pair(), torch.zeros(steps, 1), states=states, progress=False, **options
    )


def of_map(function, states, steps=400, **options):
    states = torch.as_tensor(states, dtype=torch.float64)
    return map_exponents(function, states, steps=steps, progress=False, **options)


def grouped(found):
    return sorted(each.members.tolist() for each in found.attractors)


# --- two wells ------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "tolerance"), [("map", 1e-6), ("flow", 1e-3)])
def test_two_wells_are_two_attractors(kind, tolerance):
    """Exponents at rest are those of the linearised step, or flow, where it rests."""
    model = zoo.pair()
    rests = sorted(equilibria(model, [0.0], elapsed=1.0).stable, key=lambda rest: rest.state[0])
    assert [round(float(rest.state[0]), 3) for rest in rests] == [0.025, 0.732]
    if kind == "flow":
        dynamics = model.cell.dynamics(torch.zeros(1, 1).double())
        jacobians = [jacobian(dynamics, rest.state[None])[0].detach() for rest in rests]
        expected = [float(torch.linalg.eigvals(each).real.max()) for each in jacobians]
    else:
        expected = [float(rest.spectrum[0].abs().log()) for rest in rests]
    found = of_pair(kind=kind)
    assert grouped(found) == [[0, 1], [2, 3]]
    for each, value in zip(found.attractors, expected, strict=True):
        assert each.exponents[0] == pytest.approx(value, abs=tolerance)
        assert (each.attractor, each.share, each.verdict) == ("equilibrium", 0.5, "converged")
        assert f"{each.exponents[0]:.5g}" in str(found)
    assert found.exponents[0] == found.attractors[0].exponents[0]  # the least stable
    mean = sum(expected) / 2
    assert not any(abs(float(each.exponents[0]) - mean) < 0.5 for each in found.attractors)
    assert not found.converged
    assert "on 2 different attractors (50%: -0.7" in found.verdict
    read = json.loads(json.dumps(found.to_dict()))
    assert [each["share"] for each in read["attractors"]] == [0.5, 0.5]
    assert [each["members"] for each in read["attractors"]] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("states", [WELLS[:1], WELLS[2:3], WELLS[:1].repeat(5, 1), WELLS[:2]])
def test_one_well_is_one_attractor(states):
    found = of_pair(states)
    assert grouped(found) == [list(range(len(states)))]
    assert (found.share, found.verdict) == (1.0, "converged")
    assert found.to_dict()["attractors"] == []


def test_shares_are_those_of_the_members():
    found = of_pair(torch.cat([WELLS[:1].repeat(3, 1), WELLS[2:3]]))
    assert sorted(each.share for each in found.attractors) == [0.25, 0.75]


def test_members_that_have_not_settled_are_on_no_attractor():
    """Beside the saddle a state leaves at the rate 1.32: nothing has settled after 12 steps."""
    saddle = torch.full((1, 2), 0.345666, dtype=torch.float64)
    found = of_pair(torch.cat([saddle, WELLS[2:3]]), steps=12, transient=0, blocks=4, elapsed=0.2)
    first = next(each for each in found.attractors if 0 in each.members)
    assert first.attractor == "unsettled"
    assert "have not settled" in first.verdict
    assert not found.converged
    slow = quietly(lambda x: -0.01 * x, torch.ones(1, 1), time=20.0)
    assert slow.attractor == "unsettled"
    assert slow.exponents[0] == pytest.approx(-0.01)


def test_states_that_stay_where_they_are_put_are_no_attractor():
    found = quietly(torch.zeros_like, torch.tensor([[0.1], [0.5], [3.0]]), time=20.0)
    assert found.signs == "0"
    assert {each.attractor for each in found.attractors} == {"unsettled"}


@pytest.mark.slow
def test_what_grows_for_ever_is_no_attractor():
    found = quietly(lambda x: 0.3 * x, torch.tensor([[1.0], [2.0]]), dt=0.1, time=20.0)
    assert found.attractor == "unsettled"
    assert found.exponents[0] == pytest.approx(0.3)


# --- members that diverge -------------------------------------------------------------------


def test_members_that_diverge_are_left_out_and_told():
    def well_with_a_rim(x):  # to 0 from below 1, to infinity from above
        return x**3 - x

    states = torch.tensor([[0.5], [1.5], [-0.5], [2.0]])
    found = quietly(well_with_a_rim, states, dt=0.1, time=20.0)
    assert found.diverged.tolist() == [1, 3]
    assert grouped(found) == [[0, 2]]
    assert found.exponents[0] == pytest.approx(-1.0, abs=1e-5)
    assert found.share == 0.5
    assert "2 of 4 members diverged" in str(found)
    assert found.to_dict()["diverged"] == [1, 3]
    alone = quietly(well_with_a_rim, states[:1], dt=0.1, time=20.0)
    torch.testing.assert_close(found.exponents, alone.exponents, rtol=1e-9, atol=0)
    with pytest.raises(SolveError, match="trajectory 0, the last of them, left the finite numbers"):
        quietly(well_with_a_rim, states[[1, 3]], dt=0.1, time=20.0)


def test_members_that_diverge_while_measured():
    found = of_map(lambda x: torch.where(x > 1, x**2, x / 2), [[0.5], [1.01], [0.9]], transient=0,
                   frame_transient=0, steps=40)  # fmt: skip
    assert found.diverged.tolist() == [1]
    assert found.exponents[0] == pytest.approx(-math.log(2))


# --- cycles ---------------------------------------------------------------------------------


def on_circles(radii, phases):
    angle = torch.as_tensor(phases, dtype=torch.float64)
    return torch.stack([angle.cos(), angle.sin()], -1) * torch.as_tensor(radii).unsqueeze(-1)


@pytest.mark.slow
@pytest.mark.parametrize("dt", [0.05, 2 * math.pi / 25, 2 * math.pi / 60.5])
@pytest.mark.parametrize("members", [1, 2, 7])
def test_phases_of_a_cycle_are_one_attractor(dt, members):
    states = on_circles(torch.ones(members).double(), torch.arange(members) * 2 * math.pi / members)
    found = quietly(stuart_landau, states, dt=dt, time=60 * dt * 10, qr_every=10)
    assert grouped(found) == [list(range(members))]
    assert found.attractor == "cycle"
    assert found.period == pytest.approx(2 * math.pi, rel=1e-3)
    assert found.signs == "0-"


@pytest.mark.slow
def test_cycles_inside_each_other_are_two():
    """r' = -r (r² - 1) (r² - 4) (r² - 9) / 20: cycles at 1 and 3 attract, at rates 2.4 and 36."""

    def rings(x):
        square = x.square().sum(-1, keepdim=True)
        inward = (square - 1) * (square - 4) * (square - 9) / 20
        return -x * inward + torch.stack([-x[:, 1], x[:, 0]], -1)

    states = on_circles([0.8, 1.1, 2.8, 3.1, 1.0], [0.0, 2.0, 4.0, 1.0, 3.0])
    found = quietly(rings, states, dt=0.03, time=21.0, transient=6.0, frame_transient=3.0)
    assert grouped(found) == [[0, 1, 4], [2, 3]]
    by_size = {len(each.members): each for each in found.attractors}
    assert by_size[3].exponents[1] == pytest.approx(-2.4, abs=1e-2)
    assert by_size[2].exponents[1] == pytest.approx(-36.0, rel=0.04)  # steps of 1.1 / 36
    assert all(each.period == pytest.approx(2 * math.pi, rel=1e-3) for each in found.attractors)


def test_cycles_of_a_map():
    """x -> r x (1 - x) at 3.2 and 3.5: cycles of 2 and 4, members at any of their points."""
    for r, period in ((3.2, 2), (3.5, 4)):
        found = of_map(lambda x, r=r: r * x * (1 - x), torch.linspace(0.1, 0.9, 9).unsqueeze(-1))
        points = [0.4]
        for _ in range(5000):
            points.append(r * points[-1] * (1 - points[-1]))
        expected = sum(math.log(abs(r * (1 - 2 * x))) for x in points[-period:]) / period
        (only,) = found.attractors
        assert (only.attractor, only.period) == ("cycle", period)
        assert only.exponents[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("elapsed", [0.1, 0.3])
@pytest.mark.parametrize("kind", ["map", "flow"])
def test_the_cycle_of_a_ring_of_inhibition(kind, elapsed):
    """Its period against crossings of a level by a trajectory in steps a tenth as long."""
    model = zoo.ring()
    generator = torch.Generator().manual_seed(0)
    states = torch.rand(4, 3, generator=generator, dtype=torch.float64)
    found = model_exponents(
        model, torch.zeros(300, 1), states=states, elapsed=elapsed, kind=kind, substeps=4,
        progress=False,
    )  # fmt: skip
    parts, times = 1 if kind == "map" else 100, torch.full((1, 600), elapsed).double()
    model.cell.ode_unfolds *= parts
    with torch.no_grad():
        signal = torch.zeros(1, 600, 1).double()
        x = model(signal, states[:1], timespans=times, return_states=True)[2][0, 200:, 0]
    level = x.mean()
    up = ((x[:-1] < level) & (x[1:] >= level)).nonzero().flatten()
    crossings = up + (level - x[up]) / (x[up + 1] - x[up])
    period = float((crossings[-1] - crossings[0]) / (len(crossings) - 1))
    assert grouped(found) == [list(range(4))]
    assert found.attractor == "cycle"
    assert found.signs == "0--"
    assert found.period == pytest.approx(period * (elapsed if kind == "flow" else 1), rel=3e-3)


@pytest.mark.slow
def test_two_frequencies_have_no_period():
    def torus(x):
        first, second = stuart_landau(x[:, :2]), stuart_landau(x[:, 2:])
        around = torch.stack([-x[:, 3], x[:, 2]], -1)
        return torch.cat([first, second + (math.sqrt(2) - 1) * around], -1)

    states = torch.randn(4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = quietly(torus, states, dt=0.1, time=60.0, transient=15.0, frame_transient=10.0)
    assert (found.signs, found.attractor) == ("00--", "aperiodic")
    assert grouped(found) == [list(range(4))]


# --- chaos ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_chaos_is_one_attractor():
    found = of_map(henon.function, henon.states(32, 0), steps=200)
    assert (found.attractor, found.signs) == ("aperiodic", "+-")
    assert grouped(found) == [list(range(32))]
    found = flow_exponents(lorenz.function, lorenz.states(16, 3), dt=0.02, time=8.0, progress=False)
    assert (found.attractor, len(found.attractors)) == ("aperiodic", 1)


@pytest.mark.slow
def test_chaos_in_two_places_is_two_attractors():
    """x -> a x - x³ below a = 2.598 keeps the sign of x; its mirror images have one exponent."""
    found = of_map(lambda x: 2.45 * x - x**3, [[0.3], [-0.4], [0.9], [-1.2]], steps=800)
    assert grouped(found) == [[0, 2], [1, 3]]
    first, second = found.attractors
    assert first.signs == second.signs == "+"
    assert first.exponents[0] == pytest.approx(float(second.exponents[0]), abs=0.05)


# --- signals --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["map", "flow"])
def test_wells_under_a_signal(kind):
    signal = torch.sin(torch.arange(60.0) / 3).unsqueeze(-1)
    model = zoo.pair(sensory=0.05)
    found = model_exponents(model, signal, states=WELLS, kind=kind, progress=False)
    assert grouped(found) == [[0, 1], [2, 3]]
    assert {each.attractor for each in found.attractors} == {"response"}
    alone = [
        model_exponents(model, signal, states=WELLS[k : k + 1], kind=kind, progress=False)
        for k in (0, 2)
    ]
    for each, own in zip(found.attractors, alone, strict=True):
        torch.testing.assert_close(each.exponents, own.exponents, rtol=0, atol=1e-3)


@pytest.mark.slow
def test_signals_of_their_own_are_told_apart_by_exponents():
    signals = torch.tensor([[0.0], [0.0], [-5.0]]).unsqueeze(1).expand(3, 200, 1)
    model = zoo.pair(sensory=2.0)
    found = model_exponents(model, signals, progress=False)
    assert grouped(found) == [[0, 1], [2]]
    noise = torch.randn(12, 200, 1, generator=torch.Generator().manual_seed(0))
    same = model_exponents(zoo.ring(sensory=0.01), 1e-3 * noise, progress=False)
    assert grouped(same) == [list(range(12))]


def test_single_precision():
    found = model_exponents(
        zoo.pair(dtype=torch.float32), torch.zeros(200, 1), states=WELLS, progress=False
    )
    assert grouped(found) == [[0, 1], [2, 3]]


def test_rounding_is_no_chaos():
    """A rotation neither stretches nor shrinks: what is left of its exponents is rounding."""
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    assert of_map(lambda x: x @ turn.T, [[1.0, 0.0]]).signs == "00"


# --- periods --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "steepness"),
    [(5.3, 0.1), (9.0, 0.1), (9.03, 0.1), (9.0, 4.0), (25.0, 4.0), (25.37, 4.0), (60.7, 20.0)],
)
def test_periods_are_found(period, steepness):
    phase = 2 * torch.pi * torch.arange(400.0).double() / period
    wave = torch.tanh(steepness * torch.sin(phase))
    assert period_of(wave.unsqueeze(-1)) == pytest.approx(period, rel=5e-3)


def test_a_cycle_of_two_turns_has_their_period():
    time = torch.arange(600.0).double()
    wave = torch.sin(2 * torch.pi * time / 20) + 0.3 * torch.sin(2 * torch.pi * time / 40)
    assert period_of(wave.unsqueeze(-1)) == pytest.approx(40, rel=1e-3)


@pytest.mark.parametrize(
    "path",
    [
        torch.zeros(100),
        torch.ones(100),
        torch.arange(100.0),
        torch.randn(300, generator=torch.Generator().manual_seed(0)),
        torch.sin(torch.arange(10.0) / 3),
        torch.exp(-torch.arange(100.0) / 30) * torch.sin(torch.arange(100.0) / 3),
    ],
    ids=["zero", "one", "ramp", "noise", "short", "fading"],
)
def test_what_has_no_period(path):
    assert period_of(path.unsqueeze(-1)) is None
