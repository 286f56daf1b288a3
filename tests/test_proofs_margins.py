"""Margins of certificates: nothing within them breaks what is stated, and little beyond them does.

Changed circuits are judged by the programs that judge certificates (`exact_statements`,
`random_networks`), runs in floats by the same runs in more digits.
"""

import copy
from dataclasses import replace
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from exact_statements import Exact
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import (
    SEEDS,
    jacobian,
    model_of,
    points,
    random_inputs,
    random_network,
    row_norms,
)

import elegans
from elegans import LTC
from elegans.errors import InputError
from elegans.proofs import certify, format_margin, parameter_margin, rounding_bound, verify
from elegans.proofs.certificates.boxes import row_tests
from elegans.proofs.certificates.certificate import network_document
from elegans.proofs.certificates.contraction import Rows
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import Box, Network
from elegans.proofs.certificates.region import region_of, rows_of
from elegans.proofs.claims.small_circuits import Synapse, circuit
from elegans.proofs.margins import outward
from elegans.proofs.margins.family import Family, box_of, rate_excess, with_values
from elegans.wiring import AutoNCP

INPUTS = (-1.0, 1.0)
LEVELS = ("exact", "interval")
CALM = {"strength": 0.6, "gain": 2.0}
SLOW = [HealthCheck.filter_too_much, HealthCheck.too_slow]


def calm_model(units=12, seed=0, **options):
    wiring = AutoNCP(units=units, output_size=2, sparsity_level=0.8, seed=1)
    return LTC(4, wiring, generator=torch.Generator().manual_seed(seed), **options)


def changed(network, shares):
    """Return a circuit whose parameters are changed by shares, an array for each field."""
    left = iter(shares)
    return with_values(network, lambda values: values * (1 + next(left)))


def shapes(network):
    sizes = []
    with_values(network, lambda values: (sizes.append(len(values)), values)[1])
    return sizes


def drawn(rng, network, delta, *, corner):
    """Return changes of all parameters: corners of the box of circuits, or points within."""
    draw = (lambda n: rng.choice([-1.0, 1.0], n)) if corner else (lambda n: rng.uniform(-1, 1, n))
    return [delta * draw(n) for n in shapes(network)]


def split(flat, network):
    return np.split(flat, np.cumsum(shapes(network))[:-1])


def gates_over(network, certificate, box):
    if certificate.level == "exact":
        return GateRanges.free(network)
    given = certificate.inputs
    return GateRanges.over(network, box, network.range_of((given.lo, given.hi)))


def rate_in(certificate, network, box):
    """Return the rate that the certificate's weights prove of another circuit in a box."""
    pieces = certificate.document["pieces"]
    rows = Rows.of(network, box, gates_over(network, certificate, box), pieces=pieces)
    return rows.rate(certificate.eta)


def row_rates(certificate, network):
    """Return the rates of all rows in the box that another circuit enters."""
    given = certificate.inputs
    region = region_of(network, network.range_of((given.lo, given.hi)), certificate.level)
    return rows_of(network, region, certificate.level).row_rates(certificate.eta)


def document_of(certificate, network, margin):
    """Return what is left of a certificate for a changed circuit."""
    box = {"lo": margin.box.lo.tolist(), "hi": margin.box.hi.tolist()}
    norm = {"eta": certificate.eta.tolist(), "rate": margin.rate}
    parts = {"network": network_document(network), "boxes": [box], "shares": []}
    step = margin.kappa and certificate.document["step"] | {"kappa": margin.kappa}
    parts |= {"norms": [norm], "step": step, "gain": None, "attracts": False}
    return certificate.document | parts


# --- arithmetic -----------------------------------------------------------------------------


def test_sums_and_gates_are_rounded_away():
    rng = np.random.default_rng(0)
    terms = rng.normal(size=5000) * 10.0 ** rng.integers(-12, 12, 5000)
    index = rng.integers(0, 40, 5000)
    above, below = (f(index, terms, 41) for f in (outward.sum_above, outward.sum_below))
    assert above[40] == below[40] == 0
    for k in range(40):
        whole = sum(map(Fraction, terms[index == k]))
        assert Fraction(below[k]) <= whole <= Fraction(above[k])
        assert above[k] - below[k] <= 1e-12 * (1e-300 + np.abs(terms[index == k]).sum())
    z = np.concatenate([rng.normal(size=300) * 30, [0.0, 700.0, -700.0, 701.0, -701.0, 1e9, -1e9]])
    gate = outward.sigmoid(outward.Span(z, z))
    with mpmath.workdps(400):
        for lo, hi, at in zip(*gate, z, strict=True):
            exact = 1 / (1 + mpmath.exp(-mpmath.mpf(at)))
            assert lo <= exact <= hi <= 1
            assert hi - lo <= 2.0**-43 * hi or abs(at) > 700


def test_products_and_differences_hold_all_corners():
    rng = np.random.default_rng(1)
    a, b = (outward.Span(*np.sort(rng.normal(size=(2, 200)), axis=0)) for _ in range(2))
    for x, y in ((x, y) for x in a for y in b):
        for span, exact in (
            (
                outward.times(a, b),
                [mpmath.mpf(p) * mpmath.mpf(q) for p, q in zip(x, y, strict=True)],
            ),
            (
                outward.minus(a, b),
                [mpmath.mpf(p) - mpmath.mpf(q) for p, q in zip(x, y, strict=True)],
            ),
        ):
            assert all(lo <= e <= hi for lo, e, hi in zip(span.lo, exact, span.hi, strict=True))


# --- families -------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(SEEDS, st.sampled_from(LEVELS))
def test_the_family_of_one_circuit_proves_what_its_certificate_does(seed, level):
    network = random_network(seed, **CALM)
    certificate = certify(network, random_inputs(seed, network), level, advice=False)
    assume(bool(certificate))
    family = Family.alone(network)
    box, gates = box_of(family, certificate.inputs, level)
    assert np.allclose(box, certificate.box, rtol=1e-9, atol=1e-9)
    tied = level != "exact"
    for share, passes in ((1 - 1e-6, True), (1 + 1e-3, False)):
        rate = share * certificate.rate
        excess = rate_excess(family, box, gates, certificate.eta, rate, tied=tied)
        assert (excess <= 0).all() == passes


# --- the margin of parameters ---------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(SEEDS, st.sampled_from(LEVELS), st.sampled_from([0.0, 0.5, 0.9]))
def test_no_change_within_the_margin_breaks_it(seed, level, keep):
    network = random_network(seed, **CALM)
    inputs = random_inputs(seed, network)
    certificate = certify(network, inputs, level, advice=False)
    assume(bool(certificate))
    margin = parameter_margin(certificate, keep=keep, rows=False)
    assert margin.rate == keep * certificate.rate
    rng = np.random.default_rng(seed)
    for number in range(100):
        shares = drawn(rng, network, margin.delta, corner=number % 2 == 0)
        other = changed(network, shares)
        assert rate_in(certificate, other, margin.box) >= margin.rate * (1 - 1e-9)
        inwards, outwards = row_tests(other, margin.box, gates_over(other, certificate, margin.box))
        assert (inwards >= -1e-9).all()
        assert (outwards <= 1e-9).all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("own", [False, True])
def test_changed_circuits_are_certified_in_rational_arithmetic(level, own):
    """Corners of the family pass a third program without any rounding, and too large ones fail."""
    network = random_network(7, units=3, inputs=2, own=own, parallel=False, **CALM)
    certificate = certify(network, INPUTS, level)
    margin = parameter_margin(certificate, keep=0.5)
    assert certificate.step.kappa < margin.kappa < 1
    rng = np.random.default_rng(0)
    for _ in range(4):
        other = changed(network, drawn(rng, network, margin.delta, corner=True))
        assert Exact(document_of(certificate, other, margin)).failures() == []
    worst = adverse(certificate, margin, 40.0)
    assert Exact(document_of(certificate, worst, margin)).failures()


@pytest.mark.parametrize("level", LEVELS)
def test_no_state_of_a_changed_circuit_is_slower(level):
    """The Jacobians of thousands of circuits, each at states of the box."""
    network = Network.of(calm_model(dtype=torch.float64))
    certificate = certify(network, INPUTS, level)
    margin = parameter_margin(certificate)
    rng, given = np.random.default_rng(0), certificate.inputs
    slowest = np.inf
    for number in range(2000):
        other = changed(network, drawn(rng, network, margin.delta, corner=number % 2 == 0))
        lo, hi = other.range_of((given.lo, given.hi))
        x, u = points(rng, margin.box, 8), points(rng, Box(lo, hi), 8)
        norms = row_norms(jacobian(other, x, u), certificate.eta, logarithmic=True)
        slowest = min(slowest, -norms.max())
    assert slowest >= margin.rate


def adverse(certificate, margin, factor):
    """Return the circuit changed by `factor` margins, to the worse side for the weakest row."""
    network, size = certificate.network, sum(shapes(certificate.network))
    signs = np.ones(size)
    for k in range(size):
        ends = []
        for sign in (1, -1):
            change = np.zeros(size)
            change[k] = sign * margin.delta
            rates = row_rates(certificate, changed(network, split(change, network)))
            ends.append(rates[margin.weakest])
        signs[k] = 1 if ends[0] < ends[1] else -1
    return changed(network, split(np.clip(factor * margin.delta, 0, 0.99) * signs, network))


@pytest.mark.parametrize(("level", "most"), [("exact", 1.02), ("interval", 2.0)])
def test_a_change_little_beyond_the_margin_breaks_it(level, most):
    """An adversary, one parameter after the other: 1.003 margins, 1.7 with boxes of its own."""
    certificate = certify(calm_model(), INPUTS, level)
    margin = parameter_margin(certificate, rows=False)
    assert row_rates(certificate, adverse(certificate, margin, 1.0)).min() >= margin.rate
    assert row_rates(certificate, adverse(certificate, margin, most)).min() < margin.rate


def test_margins_of_rows():
    certificate = certify(calm_model(), INPUTS)
    margin = parameter_margin(certificate)
    assert margin.rows.shape == certificate.eta.shape
    assert margin.rows.min() == margin.delta == margin.rows[margin.weakest]
    assert margin.rows.max() > 5 * margin.delta
    family = Family.changed(certificate.network, 1.2 * margin.delta)
    excess = rate_excess(
        family, *box_of(family, certificate.inputs, "interval"), certificate.eta, margin.rate,
        tied=True,
    )  # fmt: skip
    assert excess[margin.weakest] > 0
    assert (excess[margin.rows > 1.2 * margin.delta] <= 0).all()
    assert f"neuron {margin.weakest} gives way first" in str(margin)
    alone = parameter_margin(certificate, rows=False)
    assert (alone.rows == alone.delta).all()


def test_a_margin_shrinks_with_what_is_kept():
    certificate = certify(calm_model(), INPUTS)
    found = [parameter_margin(certificate, keep=k, rows=False) for k in (0, 0.1, 0.5, 0.9, 0.999)]
    deltas = [margin.delta for margin in found]
    assert deltas == sorted(deltas, reverse=True)
    assert deltas[0] > 2 * deltas[3] > 0
    assert deltas[-1] < 0.01


def test_a_margin_in_closed_form():
    """One neuron: -g / C is the rate, so that g (1 - d) / (C (1 + d)) = keep g / C."""
    certificate = certify(circuit(1, leak=0.8), INPUTS)
    for keep in (0.25, 0.5, 0.75):
        margin = parameter_margin(certificate, keep=keep)
        exact = (1 - keep) / (1 + keep)
        assert exact * 0.99 <= margin.delta <= exact * (1 + 1e-6)
    assert parameter_margin(certificate, keep=0).delta == pytest.approx(0.999)


def test_a_parameter_of_zero_stays():
    network = Network.of(circuit(2, [Synapse(0, 1, weight=0.5, centre=0.0)], leak_potential=0.0))
    family = Family.changed(network, 0.1)
    for name in ("leak_potential", "shift"):
        assert (family.span(name).lo == 0).all()
        assert (family.span(name).hi == 0).all()
    assert (family.lo.leak < network.leak).all()
    assert (family.hi.recurrent.centre == 0).all()
    assert family.hi.recurrent.weight[0] > 0.55 * (1 - 1e-12)


@pytest.mark.parametrize("keep", [-0.1, 1.0, 1.5, np.nan, True, "half"])
def test_shares_that_are_none(keep):
    certificate = certify(calm_model(), INPUTS)
    with pytest.raises(InputError, match="keep"):
        parameter_margin(certificate, keep=keep)


# --- formats --------------------------------------------------------------------------------


def stored(network, name):
    """Return the circuit with its parameters as a floating-point format stores them."""
    kind = getattr(torch, name)
    return with_values(network, lambda v: torch.from_numpy(v).to(kind).double().numpy())


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(SEEDS, st.sampled_from(LEVELS))
def test_no_rounding_of_the_parameters_breaks_what_a_format_leaves(seed, level):
    network = random_network(seed, **CALM)
    certificate = certify(network, random_inputs(seed, network), level, advice=False)
    assume(bool(certificate))
    margin = format_margin(certificate)
    rng = np.random.default_rng(seed)
    for name, (unit, absolute) in {
        "float16": (2.0**-11, 2.0**-25),
        "bfloat16": (2.0**-8, 2.0**-134),
        "float32": (2.0**-24, 2.0**-150),
    }.items():
        rate = margin.rates[name]
        assume(rate is not None)
        box, _ = box_of(Family.changed(network, unit, absolute), certificate.inputs, level)
        ends = [stored(network, name)]
        ends += [changed(network, drawn(rng, network, unit, corner=True)) for _ in range(20)]
        for other in ends:
            assert rate_in(certificate, other, box) >= rate * (1 - 1e-9)
    if margin.places is not None:
        last = 2.0**-margin.places
        box, _ = box_of(Family.changed(network, 0.0, last / 2), certificate.inputs, level)
        for rounded in (np.round, np.rint, lambda v: np.ceil(v - 0.5)):
            other = with_values(
                network, lambda v, way=rounded: np.where(v == 0, 0.0, last * way(v / last))
            )
            assert rate_in(certificate, other, box) >= 0.5 * certificate.rate * (1 - 1e-9)
            bits = 2.0 ** (margin.whole_bits - 1)
            with_values(
                other, lambda v, most=bits: v + 0 * float((np.abs(v) < most).all() or 1 / 0)
            )


def test_places_of_fixed_point_in_closed_form():
    """One neuron: the rate is (g - a) / (C + a) for errors up to a = 2^-(k + 1)."""
    certificate = certify(circuit(1, leak=0.8), INPUTS)
    for keep in (0.25, 0.5, 0.75, 0.99):
        least = next(k for k in range(41) if (0.8 - 0.5**k / 2) / (1 + 0.5**k / 2) >= keep * 0.8)
        assert format_margin(certificate, keep=keep).places == least
    assert format_margin(certify(circuit(1, leak=1e-15), INPUTS)).places is None
    rates = format_margin(certificate).rates
    for name, unit in (("float16", 2.0**-11), ("bfloat16", 2.0**-8)):
        exact = 0.8 * (1 - unit) / (1 + unit)
        assert exact * (1 - 1e-3) <= rates[name] <= exact


def test_a_format_that_does_not_hold_a_parameter_proves_nothing():
    certificate = certify(circuit(1, leak=7e4), INPUTS)
    margin = format_margin(certificate)
    assert margin.rates["float16"] is None
    assert margin.rates["bfloat16"] > 0
    assert margin.whole_bits == 18  # 2^17 > 7e4, and the sign
    assert "float16 unproved" in str(margin)
    assert "binary places" not in str(margin)


@pytest.mark.parametrize("keep", [-0.1, 1.0, np.nan, "half"])
def test_shares_that_no_format_keeps(keep):
    with pytest.raises(InputError, match="keep"):
        format_margin(certify(calm_model(), INPUTS), keep=keep)


# --- rounding -------------------------------------------------------------------------------


def one_unfold(model, certificate):
    """Return the layer with a step of one unfold of the certified length."""
    single = LTC(
        model.input_size, model.wiring, ode_unfolds=1, epsilon=model.cell.epsilon,
        dtype=model.cell.dtype,
    )  # fmt: skip
    single.load_state_dict(model.state_dict())
    return single, certificate.step.longest


def exact_unfold(network, x, u, h):
    """Return an unfold in 50 digits, an array of mpmath's numbers."""
    with mpmath.workdps(50):
        x, given = ([mpmath.mpf(float(v)) for v in values] for values in (x, u))
        u = [
            mpmath.mpf(a) * v + mpmath.mpf(b)
            for a, v, b in zip(network.scale, given, network.shift, strict=True)
        ]
        n = len(network)
        g = [mpmath.mpf(network.leak[i]) + mpmath.mpf(network.epsilon) for i in range(n)]
        a = [mpmath.mpf(network.leak[i]) * mpmath.mpf(network.leak_potential[i]) for i in range(n)]
        for synapses, state in ((network.recurrent, x), (network.sensory, u)):
            for j, i, w, s, m, e in zip(*vars(synapses).values(), strict=True):
                z = mpmath.mpf(s) * (state[j] - mpmath.mpf(m))
                open_ = mpmath.mpf(w) / (1 + mpmath.exp(-z))
                g[i], a[i] = g[i] + open_, a[i] + open_ * mpmath.mpf(e)
        c = [mpmath.mpf(network.capacitance[i]) / mpmath.mpf(h) for i in range(n)]
        return [(c[i] * x[i] + a[i]) / (c[i] + g[i]) for i in range(n)]


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("units", [12, 19])
def test_an_unfold_in_single_precision_is_within_its_bound(backend, units):
    """Of some 10^5 potentials none is beyond it; the worst reaches more than a tenth."""
    model = calm_model(units)
    certificate = certify(model, INPUTS)
    bound = rounding_bound(certificate)
    single, h = one_unfold(model, certificate)
    double = copy.deepcopy(single).double()
    rng = np.random.default_rng(0)
    x = torch.tensor(points(rng, certificate.box, 8000), dtype=torch.float32)
    u = torch.tensor(points(rng, certificate.inputs, 8000), dtype=torch.float32)[:, None]
    time = torch.full((8000, 1), h)
    with torch.no_grad():
        with elegans.backend(backend):
            after = single(u, x, time)[1]
        with elegans.backend("reference"):
            exact = double(u.double(), x.double(), torch.full((8000, 1), h, dtype=torch.float64))[1]
    off = (after.double() - exact).abs().amax(0).numpy()
    assert (off <= bound.unfold).all()
    assert (off / bound.unfold).max() > 0.05


def test_an_unfold_in_double_precision_is_within_its_bound():
    model = calm_model(dtype=torch.float64)
    certificate = certify(model, INPUTS)
    bound = rounding_bound(certificate, "float64")
    single, h = one_unfold(model, certificate)
    network, rng = Network.of(single), np.random.default_rng(0)
    x, u = points(rng, certificate.box, 200), points(rng, certificate.inputs, 200)
    for backend in ("reference", "fused"):
        with torch.no_grad(), elegans.backend(backend):
            after = single(
                torch.tensor(u)[:, None], torch.tensor(x),
                torch.full((200, 1), h, dtype=torch.float64),
            )[1].numpy()  # fmt: skip
        worst = 0.0
        for k in range(200):
            exact = exact_unfold(network, x[k], u[k], h)
            off = np.array(
                [float(abs(mpmath.mpf(a) - e)) for a, e in zip(after[k], exact, strict=True)]
            )
            assert (off <= bound.unfold).all()
            worst = max(worst, (off / bound.unfold).max())
        assert worst > 0.02


@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_runs_in_floats_stay_near_the_exact_one(backend):
    """Under inputs that jump; two runs from different states come within twice the bound."""
    model = calm_model()
    certificate = certify(model, INPUTS)
    bound = rounding_bound(certificate)
    rng = np.random.default_rng(1)
    x = torch.tensor(points(rng, certificate.box, 64), dtype=torch.float32)
    u = torch.tensor(
        np.stack([points(rng, certificate.inputs, 64) for _ in range(400)], 1), dtype=torch.float32
    )
    u[1::2] = u[::2]  # pairs have the same inputs
    with torch.no_grad():
        plain = copy.deepcopy(model)
        with elegans.backend(backend):
            _, after = plain(u, x)
        with elegans.backend("reference"):
            _, exact = copy.deepcopy(model).double()(u.double(), x.double())
    off = (after.double() - exact).abs().amax(0).numpy()
    assert (off <= bound.neurons).all()
    apart = (after[1::2] - after[::2]).abs().amax(0).numpy()
    assert (apart <= 2 * bound.neurons).all()
    assert bound.box.contains(Box(certificate.box.lo - off, certificate.box.hi + off))


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(SEEDS)
def test_random_circuits_stay_within_the_bound(seed):
    network = random_network(seed, **CALM)
    assume(len(network.scale) > 0)
    model = model_of(network, dtype=torch.float32)
    certificate = certify(model, random_inputs(seed, network), advice=False)
    assume(bool(certificate) and certificate.step is not None)
    bound = rounding_bound(certificate)
    assume(bound is not None)
    rng = np.random.default_rng(seed)
    x = torch.tensor(points(rng, certificate.box, 16), dtype=torch.float32)
    x = x.clamp(*(torch.tensor(np.float32(end)) for end in certificate.box))
    u = torch.tensor(np.stack([points(rng, certificate.inputs, 16) for _ in range(30)], 1)).float()
    with torch.no_grad(), elegans.backend("reference"):
        after = model(u, x)[1]
        exact = copy.deepcopy(model).double()(u.double(), x.double())[1]
    off = (after.double() - exact).abs().amax(0).numpy()
    assert (off <= bound.neurons).all()


def test_a_bound_that_is_broken_is_seen():
    """Half the digits more than are there: the same check fails."""
    model = calm_model().half().float()
    certificate = certify(model, INPUTS)
    bound = rounding_bound(certificate, "float64")
    x = torch.tensor(points(np.random.default_rng(0), certificate.box, 16)).float()
    u = torch.zeros(16, 10, 4)
    with torch.no_grad(), elegans.backend("reference"):
        off = model(u, x)[1].double() - model.double()(u.double(), x.double())[1]
    assert not (off.abs().amax(0).numpy() <= bound.neurons).all()


@pytest.mark.parametrize("solver", ["exponential", "euler", "rk4"])
def test_other_steps_have_no_bound(solver):
    assert rounding_bound(certify(calm_model(solver=solver), INPUTS)) is None


def test_precisions_that_are_none():
    certificate = certify(calm_model(), INPUTS)
    with pytest.raises(InputError, match="float16"):
        rounding_bound(certificate, "float16")
    assert (
        rounding_bound(certificate, "float64").potential
        < 1e-8 * rounding_bound(certificate).potential
    )


def test_rounding_grows_with_the_row():
    """More synapses, larger sums: a bound that forgot their number would not grow."""
    small, large = (circuit(2, [Synapse(0, 1, weight=0.1 / count)] * count) for count in (1, 200))
    bounds = [rounding_bound(certify(each, INPUTS)) for each in (small, large)]
    assert bounds[1].unfold[1] > 5 * bounds[0].unfold[1]
    assert replace(bounds[0], precision="x").potential == bounds[0].potential
    assert verify.at_most(bounds[0].potential, 3) in str(bounds[0])
