"""Proofs about circuits with gap junctions, against simulation, sampled Jacobians, closed forms."""

import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from exact_statements import Exact
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import (
    SEEDS,
    changing_inputs,
    conductance_and_drive,
    fastest,
    jacobian,
    model_of,
    points,
    random_inputs,
    random_network,
    row_norms,
    simulated,
    step,
    with_junctions,
)
from recomputed_statements import Recomputed, holds

from elegans.errors import InputError
from elegans.proofs import (
    Certificate,
    CertificateGuard,
    ContractionCondition,
    NotCertified,
    certify,
    contraction_rates,
    equilibria,
    format_margin,
    parameter_margin,
    reach_tube,
    refute_contraction,
    rounding_bound,
    sampled_ceiling,
    step_bound,
    verify,
)
from elegans.proofs import jacobian as jacobian_of
from elegans.proofs.certificates.boxes import (
    conductance_range,
    hull,
    magnitude,
    nested_boxes,
    row_tests,
    target_range,
)
from elegans.proofs.certificates.contraction import Rows
from elegans.proofs.certificates.enclosed_spectra import jacobian_range
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import Box, JunctionNumbers, Network
from elegans.proofs.certificates.perron import best_rates
from elegans.proofs.certificates.refutation import SeparateBoxes, UnstableRest
from elegans.proofs.certificates.region import region_of, rows_of
from elegans.proofs.certificates.safe_rewiring import Standing, row_slack
from elegans.proofs.certificates.stepping import StepRows, longest_step
from elegans.proofs.claims.small_circuits import Junction, Synapse, circuit
from elegans.proofs.margins.family import Family, box_of, rate_excess, with_values
from elegans.pruning import ProposedEdit
from elegans.solvers import get_solver

BOX = Box(-np.ones(2), np.ones(2))


def junctions_of(*rows):
    """Return junctions of rows (source, target, rectifying, conductance)."""
    source, target, rectifying, weight = (np.array(column) for column in zip(*rows, strict=True))
    return JunctionNumbers(source, target, rectifying.astype(bool), weight.astype(np.float64))


class Case:
    """A random network with gap junctions of one magnitude, in its smallest box."""

    def __init__(self, seed, **options):
        self.rng = np.random.default_rng((seed, 2))
        size = 10.0 ** self.rng.uniform(-6, 6)
        plain = random_network(seed, **{"units": 1 + seed % 5} | options)
        self.network = with_junctions(self.rng, plain, strength=size)
        self.given = Box(*random_inputs(seed, self.network))
        self.inputs = self.network.range_of(self.given)
        self.box = nested_boxes(self.network, self.inputs).boxes[-1]
        self.gates = GateRanges.over(self.network, self.box, self.inputs)
        self.eta = np.exp(self.rng.normal(0, 1, len(self.network)))

    def sampled(self, count=100):
        return points(self.rng, self.box, count), points(self.rng, self.inputs, count)


# --- boxes ---------------------------------------------------------------------------------------


@given(seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_boxes_hold_what_is_simulated(seed):
    """From corners of the hull and of the last box, under inputs that jump."""
    case = Case(seed, strength=1.0)
    network, first = case.network, hull(case.network)
    h = 0.5 / fastest(network)
    inputs = changing_inputs(case.rng, case.inputs, 16, 60)
    for box in (first, case.box):
        room = 1e-9 * (1 + np.abs(box.lo) + np.abs(box.hi))
        path = simulated(network, points(case.rng, box, 16), inputs, h=h, steps=60)
        assert (path >= box.lo - room).all()
        assert (path <= box.hi + room).all()
        x = points(case.rng, box, 16)
        for length in (0.01, 1.0, 100.0):
            after = step(network, x, inputs[0], length)
            assert (after >= box.lo - room).all()
            assert (after <= box.hi + room).all()


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_targets_are_enclosed(seed):
    """Of neurons with any conductance: A / G as steps have them."""
    case = Case(seed)
    conductance, drive = conductance_and_drive(case.network, *case.sampled())
    held = target_range(case.network, case.gates.in_steps(case.network, case.box))
    targets = np.divide(
        drive, conductance, out=0.5 * (held.lo + held.hi) + 0 * drive, where=conductance > 0
    )
    room = 1e-9 * (1 + np.abs(targets).max())
    assert (targets >= held.lo - room).all()
    assert (targets <= held.hi + room).all()


def test_joined_neurons_have_one_hull():
    cell = circuit(
        3, leak_potential=[0.0, 1.0, -2.0], electrical=[Junction(0, 1, 1.0), Junction(1, 2, 0.0)]
    )
    box = hull(Network.of(cell))
    assert box.lo.tolist() == [0.0, 0.0, -2.0]
    assert box.hi.tolist() == [1.0, 1.0, -2.0]


def test_a_box_knows_which_rectifying_junctions_conduct():
    rows = ((0, 1, True, 1.0), (1, 0, True, 1.0), (0, 1, False, 1.0))
    low, high = Box(np.array([0.0, 2.0]), np.array([1.0, 3.0])), np.array([[1, 1], [0, 0], [1, 1]])
    for row, decided in zip(rows, 1 - high[:, 0], strict=True):
        gates = GateRanges.over(
            replace(plain(2), electrical=junctions_of(row)), low, Box(np.zeros(0), np.zeros(0))
        ).electrical
        assert gates.least.tolist() == gates.most.tolist()
        assert gates.most[0] == (1 if row[:2] == (1, 0) or not row[2] else 0), decided
    touching = Box(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    for row, most in zip(rows, ([0.0, 0.0], [1.0, 1.0], [1.0, 1.0]), strict=True):
        network = replace(plain(2), electrical=junctions_of(row))
        gates = GateRanges.over(network, touching, Box(np.zeros(0), np.zeros(0))).electrical
        assert gates.most.tolist() == most  # at equal potentials nothing flows


def plain(neurons, **options):
    """Return leaky neurons without synapses and inputs."""
    network = Network.of(circuit(neurons, **options))
    return replace(network, scale=np.zeros(0), shift=np.zeros(0))


# --- rates ---------------------------------------------------------------------------------------


@given(seed=SEEDS)
@settings(max_examples=300, deadline=None)
def test_no_sampled_norm_exceeds_the_bound(seed):
    case = Case(seed)
    rows = Rows.of(case.network, case.box, case.gates)
    norms = row_norms(jacobian(case.network, *case.sampled()), case.eta, logarithmic=True)
    size = np.zeros(len(case.network))
    np.maximum.at(size, rows.neuron, rows.magnitude(case.eta))
    margin = 1e-13 * size / (case.network.capacitance * case.eta)
    assert (norms - rows.value(case.eta) / case.eta <= margin).all()


@given(seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_the_bound_is_met_by_gap_junctions_alone(seed):
    """Without other synapses every row is attained, a rectifying one where it conducts."""
    rng = np.random.default_rng(seed)
    network = with_junctions(rng, plain(4, leak=rng.uniform(0.1, 1, 4)), strength=5.0)
    box, eta = Box(np.zeros(4), np.ones(4)), np.exp(rng.normal(0, 1, 4))
    inputs = Box(*np.zeros((2, 0)))
    rows = Rows.of(network, box, GateRanges.over(network, box, inputs))
    x = rng.random((4000, 4))
    norms = row_norms(jacobian(network, x, np.zeros((4000, 0))), eta, logarithmic=True)
    np.testing.assert_allclose(norms.max(axis=0), rows.value(eta) / eta, rtol=1e-9, atol=1e-9)


@given(seed=SEEDS, log_h=st.floats(-3, 2))
@settings(max_examples=150, deadline=None)
def test_a_step_shrinks_distances_by_its_factor(seed, log_h):
    case, h = Case(seed, strength=0.8, gain=3.0), 10.0**log_h
    rows = StepRows.of(case.network, case.box, case.gates, longest=h)
    kappa = rows.factors(case.eta, (h, h))
    x, u = case.sampled()
    norms = row_norms(jacobian(case.network, x, u, h), case.eta, logarithmic=False)
    held = norms <= kappa * (1 + 1e-9)
    assert (held | (kappa == 1)).all()
    # Two states of the box, not near to each other.
    y = points(case.rng, case.box, len(x))
    apart = np.abs(x - y) / case.eta
    after = np.abs(step(case.network, x, u, h) - step(case.network, y, u, h)) / case.eta
    assert (after.max(-1) <= max(kappa.max(), 0) * apart.max(-1) * (1 + 1e-9) + 1e-12).all() or (
        kappa.max() == 1
    )


@pytest.mark.parametrize("solver", ["semi_implicit", "exponential", "euler"])
def test_a_step_is_continuous_where_a_rectifying_junction_begins_to_conduct(solver):
    """The certified factor holds across equal potentials, in the layer itself."""
    cell = circuit(2, leak_potential=[0.0, 1.0], electrical=[Junction(1, 0, 1.0, True)])
    cell.solver, cell.ode_unfolds = get_solver(solver), 4
    certificate = certify(cell, (-1, 1), "exact")
    assert certificate.covers_step
    assert 0 < certificate.step.kappa < 1
    for distance in (0.0, 1e-9, 0.1):
        near = torch.tensor([[0.5, 0.5 - distance], [0.5, 0.5 + distance]], dtype=torch.float64)
        with torch.no_grad():
            _, after = cell(torch.zeros(2, 1, dtype=torch.float64), near)
        apart = (after[0] - after[1]).abs() / torch.tensor(certificate.step.eta)
        before = 2 * distance / certificate.step.eta[1]
        assert apart.max() <= certificate.step.kappa**4 * before + 1e-15


def test_euler_takes_rectifying_junctions():
    network = replace(plain(2), electrical=junctions_of((1, 0, True, 1.0)))
    gates = GateRanges.over(network, Box(-np.ones(2), np.ones(2)), Box(*np.zeros((2, 0))))
    assert 0.49 < longest_step(network, BOX, gates, "euler") <= 0.5  # C / (g + w)
    assert longest_step(network, BOX, gates, "exponential") == np.inf


@pytest.mark.parametrize("weight", [0.0, 1e-6, 0.5, 1.0, 1e6])
def test_a_leaky_pair_has_the_rate_of_its_slowest_mode(weight):
    """Equal leaks: the sum decays at g / C, the difference at (g + 2 w) / C."""
    cell = circuit(2, leak=0.5, capacitance=2.0, electrical=[Junction(0, 1, weight)])
    certificate = certify(cell, (-1, 1))
    assert certificate.best_rate == pytest.approx(0.25, rel=1e-2)
    assert certificate.best_rate <= 0.25
    ceiling = sampled_ceiling(cell, BOX, (-1, 1), samples=4)
    assert ceiling.abscissa == pytest.approx(-0.25, rel=1e-6)
    kappa = certificate.step.kappa
    assert 1 / (1 + 0.5 / 2) <= kappa < 1  # the sum shrinks by C / (C + h g) in an unfold


@pytest.mark.parametrize("leak", [(1.0, 3.0), (0.1, 2.0)])
def test_a_pair_of_different_leaks_has_the_eigenvalue_as_its_rate(leak):
    weight, (a, b) = 2.0, leak
    cell = circuit(2, leak=leak, electrical=[Junction(0, 1, weight)])
    slowest = 0.5 * (a + b + 2 * weight) - math.hypot(0.5 * (a - b), weight)
    components = certify(cell, (-1, 1)).figures
    assert components.ceiling == pytest.approx(slowest, rel=1e-5)
    assert certify(cell, (-1, 1)).best_rate == pytest.approx(slowest, rel=2e-3)


@given(seed=SEEDS, level=st.sampled_from(["exact", "interval"]))
@settings(max_examples=40, deadline=None)
def test_trajectories_approach_each_other_as_certified(seed, level):
    case = Case(seed, strength=0.6, gain=2.0)
    certificate = certify(case.network, case.given, level, advice=False)
    if not certificate:
        return
    assert holds(certificate.document)
    # A step of RK4 shrinks by exp(-z) but for a share z^5 / 120 of it: 3e-9 of each of 200.
    h, steps = 0.05 / fastest(case.network), 200
    inputs = changing_inputs(case.rng, case.inputs, 8, steps)
    x, y = (
        simulated(case.network, points(case.rng, certificate.box, 8), inputs, h=h, steps=steps)
        for _ in range(2)
    )
    distance = (np.abs(x - y) / certificate.eta).max(-1)
    bound = np.exp(-certificate.rate * h * np.arange(steps + 1))[:, None] * distance[0]
    assert (distance <= bound * (1 + 1e-6) + 1e-12).all()
    x, y = points(case.rng, certificate.box, 100), points(case.rng, certificate.box, 100)
    u = points(case.rng, case.inputs, 100)
    if certificate.covers_step:
        made = certificate.step
        before = (np.abs(x - y) / made.eta).max(-1)
        after = step(case.network, x, u, made.longest) - step(case.network, y, u, made.longest)
        after = (np.abs(after) / made.eta).max(-1)
        assert (after <= made.kappa * before * (1 + 1e-9) + 1e-12).all()


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_the_best_rate_is_bracketed(seed):
    case = Case(seed)
    components = best_rates(Rows.of(case.network, case.box, case.gates))
    assert (components.rate <= components.ceiling * (1 + 1e-6 * np.sign(components.ceiling))).all()
    if case.network.electrical is not None:
        ends = case.network.electrical.ends
        of = components.of
        assert (of[ends.source] == of[ends.target])[ends.weight > 0].all()


# --- files ---------------------------------------------------------------------------------------


def text_of(electrical):
    cell = circuit(
        3,
        [Synapse(0, 1, 0.3, gain=2.0), Synapse(1, 2, 0.2, -1.0, gain=2.0)],
        [Synapse(0, 0, 0.5)],
        electrical=electrical,
    )
    certificate = certify(cell, (-1, 1))
    assert certificate
    assert certificate.matches(cell)
    return json.dumps(certificate.document)


PAIRS = (Junction(0, 1, 0.7), Junction(2, 1, 0.4))


def sealed(document):
    content = {name: value for name, value in document.items() if name != "digest"}
    return content | {"digest": verify.digest(content)}


def test_circuits_without_junctions_keep_their_files():
    document = json.loads(text_of(()))
    assert document["version"] == 2
    assert "electrical" not in document["network"]
    assert json.loads(text_of(PAIRS))["version"] == 3


def test_a_saved_certificate_comes_back(tmp_path):
    certificate = Certificate(json.loads(text_of(PAIRS)))
    certificate.save(tmp_path / "c.json")
    again = Certificate.load(tmp_path / "c.json")
    assert again.document == certificate.document
    assert again.network.electrical.weight.tolist() == [0.7, 0.4]
    assert verify.main([str(tmp_path / "c.json")]) == 0


def changed(change):
    document = json.loads(text_of(PAIRS))
    change(document, document["network"]["electrical"])
    return sealed(document)


HOSTILE = {
    "a self junction": lambda d, e: e["target"].__setitem__(0, 0),
    "a pair twice": lambda d, e: e["target"].__setitem__(1, 0) or e["source"].__setitem__(1, 1),
    "an end outside": lambda d, e: e["source"].__setitem__(0, 3),
    "an end below 0": lambda d, e: e["source"].__setitem__(0, -1),
    "an end that is no index": lambda d, e: e["source"].__setitem__(0, True),
    "a shorter column": lambda d, e: e["weight"].pop(),
    "a shorter list of ways": lambda d, e: e["rectifying"].pop(),
    "a way that is a number": lambda d, e: e["rectifying"].__setitem__(0, 0),
    "another field": lambda d, e: e.update(gain=[1.0, 1.0]),
    "a field less": lambda d, e: e.pop("rectifying"),
    "no junction": lambda d, e: [column.clear() for column in e.values()],
    "a text": lambda d, e: e["weight"].__setitem__(0, "1"),
    "a conductance too large": lambda d, e: e["weight"].__setitem__(0, 1e101),
    "no object": lambda d, e: d["network"].update(electrical=[]),
    "nothing": lambda d, e: d["network"].update(electrical=None),
    "the version without": lambda d, e: d.update(version=2),
    "the version with": lambda d, e: d["network"].pop("electrical"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_junctions_are_no_certificate(what):
    with pytest.raises(verify.MalformedError):
        verify.verify(changed(HOSTILE[what]))


def test_a_conductance_that_is_no_number_is_no_certificate(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(text_of(PAIRS).replace("[0.7, 0.4]", "[NaN, 0.4]"))
    assert verify.main([str(path)]) == 2
    path.write_text(text_of(PAIRS).replace("[0.7, 0.4]", "[0.7, Infinity]"))
    assert verify.main([str(path)]) == 2


FALSE = {
    "a negative conductance": lambda d, e: e["weight"].__setitem__(0, -0.7),
    "a stronger junction": lambda d, e: e["weight"].__setitem__(0, 1e3),
    "a rectifying one": lambda d, e: e["rectifying"].__setitem__(0, True),
    "another pair": lambda d, e: e["source"].__setitem__(0, 2) or e["target"].__setitem__(0, 0),
}


@pytest.mark.parametrize("what", FALSE)
def test_other_junctions_are_not_proved(what):
    document = changed(FALSE[what])
    assert not holds(document) or what == "another pair"
    with pytest.raises(verify.NotProvedError):
        verify.verify(document)


def test_junctions_that_are_left_out_leave_nothing_proved():
    document = json.loads(text_of((Junction(0, 1, 5.0), Junction(1, 2, 5.0))))
    del document["network"]["electrical"]
    document["version"] = 2
    with pytest.raises(verify.NotProvedError):
        verify.verify(sealed(document))


def test_the_work_for_junctions_is_counted():
    document = json.loads(text_of(PAIRS))
    done = []
    original = verify.Work.add

    def add(self, count, where):
        original(self, count, where)
        done[:] = [self.done]

    verify.Work.add = add
    try:
        verify.verify(document)
        joined_work = done[0]
        verify.verify(json.loads(text_of(())))
    finally:
        verify.Work.add = original
    assert joined_work > done[0]
    with pytest.raises(verify.LimitError):
        verify.verify(document, joined_work - 1)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_single_changes_of_junctions_are_rejected_or_true(data):
    document = copy.deepcopy(json.loads(text_of(PAIRS)))
    electrical = document["network"]["electrical"]
    what = data.draw(st.sampled_from(["weight", "rectifying", "source", "kappa", "rate"]))
    k = data.draw(st.integers(0, 1))
    factor = data.draw(st.sampled_from([0.0, 0.5, 0.999, 1.001, 2.0, 1e6]))
    if what == "weight":
        electrical["weight"][k] *= factor
    elif what == "rectifying":
        electrical["rectifying"][k] = True
    elif what == "source":
        electrical["source"][k] = data.draw(st.integers(0, 2))
    elif what == "kappa":
        document["step"]["kappa"] = min(document["step"]["kappa"] * factor, 0.999999) or 0.1
    else:
        document["norms"][0]["rate"] *= factor or 1.0
    document = sealed(document)
    try:
        verify.verify(document)
    except (verify.NotProvedError, verify.MalformedError):
        return
    assert Exact(document).failures() == []
    assert max(Recomputed(document).violations().values()) <= 1e-9


@pytest.mark.parametrize("level", ["exact", "interval"])
def test_certificates_of_random_circuits_are_true_by_two_programs(level):
    certified, with_steps = {False: 0, True: 0}, 0
    for seed in range(40):
        case = Case(seed, strength=0.8, gain=3.0)
        without = replace(case.network, electrical=None)
        for network in (without, case.network):
            certificate = certify(network, case.given, level, advice=False)
            if network is case.network and certificate:
                assert Exact(certificate.document).failures() == []
                assert holds(certificate.document)
                with_steps += certificate.covers_step
            certified[network is case.network] += bool(certificate)
    assert certified[True] >= 0.8 * certified[False] > 20
    assert with_steps > 10


@pytest.mark.slow
@pytest.mark.parametrize("level", ["exact", "interval"])
def test_certified_share_of_three_hundred_circuits(level):
    certified = {False: 0, True: 0}
    for seed in range(300):
        case = Case(seed, strength=0.8, gain=3.0)
        for network in (replace(case.network, electrical=None), case.network):
            certificate = certify(network, case.given, level, advice=False)
            certified[network is case.network] += bool(certificate)
            if certificate and network is case.network:
                assert Exact(certificate.document).failures() == []
    assert certified[True] >= 0.7 * certified[False] > 150


# --- margins -------------------------------------------------------------------------------------


def moved_by(case, delta):
    """Return the circuit with each parameter moved by a share, up or down."""
    return with_values(
        case.network, lambda values: values * (1 + delta * case.rng.choice([-1, 1], values.shape))
    )


@pytest.mark.parametrize("level", ["exact", "interval"])
def test_changed_circuits_keep_what_the_margin_says(level):
    """Every parameter of many circuits moved by the margin, up or down, junctions as well."""
    examined = 0
    for seed in range(8):
        case = Case(seed, strength=0.8, gain=3.0)
        certificate = certify(case.network, case.given, level, advice=False)
        if not certificate or case.network.electrical is None:
            continue
        margin = parameter_margin(certificate, rows=False)
        assert 0 < margin.delta < 1
        examined += 1
        for _ in range(30):
            changed = moved_by(case, margin.delta)
            inputs = changed.range_of(case.given)
            gates = GateRanges.over(changed, margin.box, inputs)
            if level == "exact":
                gates = GateRanges.free(changed, margin.box)
            currents = row_tests(changed, margin.box, gates)
            size = conductance_range(changed, gates).hi * (1 + magnitude(changed, gates))
            assert (currents[0] >= -1e-9 * size).all()
            assert (currents[1] <= 1e-9 * size).all()
            pieces = certificate.document["pieces"]
            rows = Rows.of(changed, margin.box, gates, pieces=pieces)
            room = 1e-9 * (rows.speed + rows.worst(rows.magnitude(certificate.eta)))
            assert (rows.row_rates(certificate.eta) >= margin.rate - room).all()
            if margin.kappa is not None:
                made = certificate.step
                x, y = points(case.rng, margin.box, 20), points(case.rng, margin.box, 20)
                u = points(case.rng, inputs, 20)
                after = [step(changed, state, u, made.longest) for state in (x, y)]
                before = (np.abs(x - y) / made.eta).max(-1)
                apart = (np.abs(after[0] - after[1]) / made.eta).max(-1)
                assert (apart <= margin.kappa * before * (1 + 1e-9) + 1e-12).all()
    assert examined >= 2


def test_a_margin_counts_the_conductances_of_junctions():
    """With weights far apart, a stronger junction takes the rate away: w eta_j / eta_i grows."""
    cell = circuit(2, leak=(0.2, 20.0), electrical=[Junction(0, 1, 1.0)])
    certificate = certify(cell, (-1, 1), "exact")
    margin = parameter_margin(certificate, keep=0.9)
    family = Family.changed(certificate.network, margin.delta)
    box, gates = box_of(family, certificate.inputs, "exact")
    eta, rate = certificate.eta, 0.9 * certificate.rate
    assert (rate_excess(family, box, gates, eta, rate, tied=False) <= 0).all()
    free = Family(*(replace(end, electrical=None) for end in (family.lo, family.hi)))
    free_gates = GateRanges.free(free.lo)
    alone = rate_excess(free, box, free_gates, eta, rate, tied=False)
    joined_rows = rate_excess(family, box, gates, eta, rate, tied=False)
    weight = family.hi.electrical.weight[0], family.lo.electrical.weight[0]
    for i, j in ((0, 1), (1, 0)):
        value = eta[j] / eta[i] - 1
        expected = alone[i] + (weight[0] if value > 0 else weight[1]) * value
        assert joined_rows[i] == pytest.approx(expected, rel=1e-12)
    assert format_margin(certificate).rates["float32"] > 0


@pytest.mark.parametrize("rectifying", [False, True])
def test_rounding_stays_within_its_bound(rectifying):
    cell = circuit(
        3,
        [Synapse(0, 1, 0.5, gain=3.0), Synapse(1, 2, 0.3, -1.0, gain=2.0)],
        [Synapse(0, 0, 0.5)],
        electrical=[Junction(0, 1, 3.0), Junction(2, 1, 1.0, rectifying)],
        leak_potential=[0.0, 0.0, 5.0] if rectifying else 0.0,
        leak=[1.0, 1.0, 3.0],
    )
    certificate = certify(cell, (-1, 1))
    if rectifying:  # neuron 2 is above neuron 1 throughout the box
        assert certificate.covers_step
    bound = rounding_bound(certificate)
    rng = np.random.default_rng(0)
    x = torch.tensor(points(rng, certificate.box, 200)).float()
    exact, single = x.double(), copy.deepcopy(cell).float()
    for _ in range(50):
        u = torch.tensor(rng.uniform(-1, 1, (200, 1))).float()
        x = single(u, x)[1]
        exact = cell(u.double(), exact)[1]
        apart = (x.double() - exact).abs().amax(0).numpy()
        assert (apart <= bound.neurons).all()
    assert bound.potential < 1e-4


def test_rounding_and_margins_are_bounded_where_a_junction_begins_to_conduct():
    cell = circuit(2, leak_potential=[0.0, 1.0], electrical=[Junction(1, 0, 1.0, True)])
    certificate = certify(cell, (-1, 1), "exact")
    bound = rounding_bound(certificate)
    rng = np.random.default_rng(5)
    with torch.no_grad():
        x = torch.from_numpy(points(rng, BOX, 500)).float()
        exact, wide, u = x.double(), copy.deepcopy(cell), torch.zeros(500, 1)
        cell.float()
        for _ in range(50):
            x, exact = cell(u, x)[1], wide(u.double(), exact)[1]
    assert ((x.double() - exact).abs().amax(0).numpy() <= bound.neurons).all()
    assert bound.potential < 1e-4
    assert 0 < parameter_margin(certificate).kappa < 1


# --- refutations ---------------------------------------------------------------------------------


def excited(weight, rectifying=False):
    """Return two neurons that excite each other and rest low or high, joined."""
    return circuit(
        2,
        [Synapse(0, 1, 3.0), Synapse(1, 0, 3.0)],
        electrical=[Junction(0, 1, weight, rectifying)],
    )


@pytest.mark.parametrize("rectifying", [False, True])
@pytest.mark.parametrize("weight", [0.0, 1e-3, 0.1])
def test_two_boxes_keep_joined_neurons_apart(weight, rectifying):
    cell = excited(weight, rectifying)
    proof = refute_contraction(cell, (-1, 1), elapsed=1.0)
    assert proof.flow
    assert proof.step
    assert proof.gap > 0.3
    network, rng = Network.of(cell), np.random.default_rng(0)
    for box in (proof.first, proof.second):
        x = points(rng, box, 50)
        u = changing_inputs(rng, network.range_of((-1, 1)), 50, 60)
        path = simulated(network, x, u, h=0.05, steps=60)
        assert (path >= box.lo - 1e-9).all()
        assert (path <= box.hi + 1e-9).all()
        after = step(network, x, u[0], 10.0)
        assert (after >= box.lo).all()
        assert (after <= box.hi).all()


def test_what_is_certified_is_not_refuted():
    cell = circuit(2, [Synapse(0, 1, 0.5)], electrical=[Junction(0, 1, 2.0)])
    assert certify(cell, (-1, 1))
    assert refute_contraction(cell, (-1, 1)) is None


def test_a_junction_leaves_the_mode_that_it_does_not_see():
    """Neurons that excite each other grow together, however strongly they are joined."""
    rest = UnstableRest
    for weight in (1.0, 100.0):
        proof = refute_contraction(excited(weight), (-1, 1))
        assert proof is not None
        assert isinstance(proof, (SeparateBoxes, rest))


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_enclosed_jacobians_hold_the_sampled_ones(seed):
    case = Case(seed)
    found = jacobian_range(case.network, case.box, case.gates)
    sampled = jacobian(case.network, *case.sampled())
    room = 1e-12 * (1 + np.abs(found.middle) + found.radius)
    assert (np.abs(sampled - found.middle) <= found.radius + room).all()


# --- reach tubes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["semi_implicit", "exponential", "euler"])
@given(seed=SEEDS, share=st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=25, deadline=None)
def test_a_tube_holds_what_runs(solver, seed, share):
    rng = np.random.default_rng(seed)
    network = random_network(seed, units=4, inputs=1, strength=1.0, gain=3.0)
    network = with_junctions(rng, network, strength=10.0 ** rng.uniform(-2, 1), rectifying=share)
    model = model_of(network, solver=solver, ode_unfolds=3).requires_grad_(False)
    box = points(rng, Box(-np.ones(4), np.ones(4)), 2)
    box = Box(box.min(0), box.max(0))
    elapsed = 0.1 if solver == "euler" else 0.5
    tube = reach_tube(model, states=box, inputs=(-0.5, 0.5), steps=6, elapsed=elapsed)
    x = torch.tensor(points(rng, box, 100))
    for t in range(6):
        u = torch.tensor(rng.uniform(-0.5, 0.5, (100, 1)))
        x = model.cell(u, x, torch.full((100, 1), elapsed, dtype=torch.float64))[1]
        lo, hi = tube.lo[t + 1], tube.hi[t + 1]
        room = 1e-10 * (1 + np.abs(lo) + np.abs(hi))
        assert (x.numpy() >= lo - room).all()
        assert (x.numpy() <= hi + room).all()


def test_a_tube_of_leaky_neurons_that_are_joined_is_nearly_sharp():
    """An unfold is linear in the potentials then: the tube's last box is that of the corners."""
    cell = circuit(2, leak=(0.5, 2.0), electrical=[Junction(0, 1, 3.0)])
    tube = reach_tube(cell, states=(-1, 1), inputs=(0, 0), steps=4, elapsed=0.5)
    x = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    for _ in range(4):
        x = cell(torch.zeros(4, 1, dtype=torch.float64), x, torch.full((4, 1), 0.5).double())[1]
    np.testing.assert_allclose(tube.lo[-1], x.amin(0), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(tube.hi[-1], x.amax(0), rtol=1e-6, atol=1e-9)


# --- training and rewiring ------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.1, 2.0, 50.0])
def test_the_gradient_of_a_rate_is_that_of_the_closed_form(weight):
    a, b = 0.5, 2.0
    cell = circuit(2, leak=(a, b), electrical=[Junction(0, 1, weight)]).requires_grad_()
    rates = contraction_rates(cell, (-1, 1), level="exact")
    root = math.hypot(0.5 * (a - b), weight)
    assert rates.detach().numpy() == pytest.approx([0.5 * (a + b + 2 * weight) - root], rel=1e-4)
    rates.sum().backward()
    assert float(cell.electrical.weight.grad) == pytest.approx(1 - weight / root, rel=1e-2)


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_rates_for_training_are_those_of_certificates(seed):
    network = with_junctions(np.random.default_rng(seed), random_network(seed, inputs=1))
    model = model_of(network)
    rates = contraction_rates(model, (-1, 1)).detach().numpy()
    network = Network.of(model)
    region = region_of(network, network.range_of((-1, 1)), "interval")
    best = best_rates(rows_of(network, region, "interval"))
    np.testing.assert_allclose(rates, best.rate, rtol=1e-3, atol=1e-3 * np.abs(best.rate).max())


def test_a_joined_circuit_is_trained_until_it_is_certified():
    cell = circuit(
        2, [Synapse(0, 1, 3.0), Synapse(1, 0, 3.0)], electrical=[Junction(0, 1, 1.0)]
    ).requires_grad_()
    assert not certify(cell, (-1, 1), advice=False)
    condition = ContractionCondition(cell, (-1, 1))
    condition.establish()
    assert condition.holds()
    assert certify(cell, (-1, 1)).document["network"]["electrical"]["weight"][0] > 0


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_the_slack_of_a_row_is_that_of_the_whole_circuit(seed):
    """Of neurons alone and joined; what an edit may lose is counted in its row alone."""
    rng = np.random.default_rng(seed)
    network = with_junctions(rng, random_network(seed, inputs=1, strength=0.8, gain=3.0))
    inputs = network.range_of((-1, 1))
    region = region_of(network, inputs, "interval", roomy=2)
    rows = rows_of(network, region, "interval")
    eta = np.exp(rng.normal(0, 1, len(network)))
    standing = Standing(region, eta, 0.25)
    for i, rate in enumerate(rows.row_rates(eta)):
        mine = [np.flatnonzero(k.target == i) for k in (network.recurrent, network.sensory)]
        slack = row_slack(network, i, *mine, standing, inputs, 32)
        assert slack == pytest.approx(rate - 0.25, rel=1e-9, abs=1e-9)


def guarded(weight):
    cell = circuit(
        3,
        [Synapse(0, 1, 0.5, gain=2.0)],
        electrical=[Junction(0, 1, 1.0), Junction(1, 2, weight)],
        leak=[0.2, 1.0, 2.0],
    )
    return cell, CertificateGuard(cell, (-1, 1))


def test_a_guard_judges_edits_of_junctions():
    cell, guard = guarded(1.0)
    edit = ProposedEdit(1, "electrical", 0, 0, 1, 1.0)
    answer = guard(edit)
    assert answer
    with torch.no_grad():
        cell.electrical.mask[0] = False
    assert guard.rate == pytest.approx(answer.notes["rate_after"], rel=0.05)
    # A junction that would drive nothing apart, between others and back.
    grown = ProposedEdit(2, "electrical", 0, 0, 1, 0.0, grown_source=0, grown=2, weight=0.5)
    assert guard(grown)
    other = ProposedEdit(
        3, "electrical", 1, 1, 2, 1.0, grown_source=0, grown=2, grown_synapses="recurrent",
        grown_slot=0, polarity=1, weight=0.1,
    )  # fmt: skip
    assert not guard(other)


def test_a_guard_refuses_what_a_junction_would_spoil():
    """A certified chain of synapses becomes a loop by a junction against it."""
    cell = circuit(
        3,
        [Synapse(0, 1, 8.0, 3.0, gain=20.0)],
        electrical=[Junction(0, 2, 0.01), Junction(1, 2, 0.0)],
    )
    guard = CertificateGuard(cell, (-1, 1))
    assert guard.rate > 0
    spoilt = ProposedEdit(1, "electrical", 0, 0, 2, 0.01, grown_source=1, grown=0, weight=5.0)
    assert not guard(spoilt)
    cell = circuit(3, [Synapse(0, 1, 8.0, 3.0, gain=20.0)], electrical=[Junction(0, 1, 5.0)])
    assert not certify(cell, (-1, 1), advice=False)


# --- degenerate circuits -------------------------------------------------------------------------


def test_refusals_give_reasons_and_advice():
    cell = circuit(
        2,
        [Synapse(0, 1, 3.0), Synapse(1, 0, 3.0)],
        electrical=[Junction(0, 1, 1.0)],
    )
    answer = certify(cell, (-1, 1))
    assert not answer
    assert answer.largest_scale > 0
    assert all(entry["weight"] == 3.0 for entry in answer.prune_first)
    negative = replace(Network.of(cell), electrical=junctions_of((0, 1, False, -1.0)))
    assert "gap junction 0 has the negative conductance" in certify(negative, (-1, 1)).reason
    broken = replace(Network.of(cell), electrical=junctions_of((0, 1, False, math.nan)))
    with pytest.raises(InputError, match="conductance of a gap junction"):
        certify(broken, (-1, 1))


def test_pruned_junctions_prove_what_none_do():
    options = {"leak": [0.5, 1.0], "leak_potential": [0.0, 1.0]}
    pruned = circuit(2, [Synapse(0, 1, 0.5)], electrical=[Junction(0, 1, 0.0)], **options)
    none = circuit(2, [Synapse(0, 1, 0.5)], **options)
    one, other = (certify(cell, (-1, 1)) for cell in (pruned, none))
    assert one.rate == other.rate
    assert np.array_equal(one.box.lo, other.box.lo)
    assert np.array_equal(one.eta, other.eta)


# --- dynamics ------------------------------------------------------------------------------------


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_jacobians_are_those_of_autograd(seed):
    rng = np.random.default_rng(seed)
    network = with_junctions(rng, random_network(seed, units=5, inputs=1), density=0.6)
    cell = model_of(network).cell
    u = torch.zeros(1, 1, dtype=torch.float64)
    x = torch.tensor(rng.normal(0, 1, (1, 5)))
    dynamics = cell.dynamics(u)
    flow = torch.autograd.functional.jacobian(lambda s: dynamics.derivative(s), x)[0, :, 0]
    for sparse in (False, True):
        found = jacobian_of(dynamics, x, sparse=sparse)
        found = found.to_dense() if sparse else found
        torch.testing.assert_close(found[0], flow, rtol=1e-10, atol=1e-10)
    h = torch.tensor(0.3, dtype=torch.float64)
    solver = cell.solver
    one = torch.autograd.functional.jacobian(lambda s: solver.step(dynamics, s, h), x)[0, :, 0]
    for sparse in (False, True):
        found = jacobian_of(dynamics, x, elapsed=0.3, sparse=sparse)
        found = found.to_dense() if sparse else found
        torch.testing.assert_close(found[0], one, rtol=1e-10, atol=1e-10)
    whole = torch.autograd.functional.jacobian(
        lambda s: solver.advance(dynamics, s, torch.full((1, 1), 0.6, dtype=torch.float64), 3), x
    )[0, :, 0]
    found = jacobian_of(dynamics, x, elapsed=0.6, unfolds=3)
    torch.testing.assert_close(found[0], whole, rtol=1e-9, atol=1e-10)


def test_equilibria_of_joined_neurons_are_where_currents_balance():
    cell = circuit(2, leak_potential=[0.0, 1.0], electrical=[Junction(0, 1, 1.0)])
    (rest,) = equilibria(cell, torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(
        rest.state, torch.tensor([1 / 3, 2 / 3], dtype=torch.float64), rtol=1e-9, atol=1e-9
    )


def test_bounds_of_explicit_steps_refuse_junctions() -> None:
    answer = step_bound(circuit(2, [Synapse(0, 1, 0.5)], electrical=[Junction(0, 1, 3.0)]), (-1, 1))
    assert isinstance(answer, NotCertified)
    assert "1 gap junctions" in str(answer)
