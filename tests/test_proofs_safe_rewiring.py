"""Edits that keep a certificate valid, and those that must be refused."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import elegans
from elegans import LTC
from elegans.errors import InputError
from elegans.proofs import CertificateGuard, Network
from elegans.proofs.certificates import safe_rewiring
from elegans.proofs.certificates.boxes import row_tests
from elegans.proofs.certificates.contraction import Rows
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.perron import best_rates, weights_for
from elegans.proofs.certificates.region import pieces_of, region_of, rows_of
from elegans.proofs.certificates.safe_rewiring import Standing, row_slack
from elegans.pruning import CosineFraction, GuardResult, ProposedEdit, Pruner
from elegans.synapses.slots import FreshSynapses
from elegans.wiring import AutoNCP, Synapses, Wiring

seeds = st.integers(0, 10_000)


def circuit(seed, *, units=8, synapses=14, own=True, calm=0.3):
    """A random circuit, mostly contracting, with parallel synapses and perhaps self-synapses."""
    rng = np.random.default_rng(seed)
    source, target = rng.integers(units, size=synapses), rng.integers(units, size=synapses)
    if not own:
        target = np.where(source == target, (target + 1) % units, target)
    recurrent = Synapses(source, target, rng.choice([-1, 1], size=synapses))
    sensory = Synapses(rng.integers(2, size=6), rng.integers(units, size=6), [1, -1] * 3)
    wiring = Wiring(2, {"motor": 2, "inter": units - 2}, recurrent, sensory)
    generator = torch.Generator().manual_seed(seed)
    model = LTC(2, wiring, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        values = model.cell.recurrent.positivity(model.cell.recurrent.weight)
        model.cell.recurrent.weight.copy_(model.cell.recurrent.positivity.inverse(calm * values))
        model.cell.gleak.add_(1.0)
    return model


def standing_of(network, inputs, level, share=0.9):
    region = region_of(network, inputs, level, roomy=3)
    rows = rows_of(network, region, level)
    best = best_rates(rows).best_rate
    if best <= 0:
        return None
    eta = weights_for(rows, share * best)
    return Standing(region, eta, share * best)


def without(network, kept):
    return dataclasses.replace(network, recurrent=network.recurrent.take(kept))


@given(seed=seeds, own=st.booleans())
@settings(max_examples=40, deadline=None)
def test_relaxed_gates_allow_any_pruning(seed, own):
    """Over the hull with free gates, removing any synapses never lowers the rate."""
    network = Network.of(circuit(seed, own=own, calm=1.0))
    inputs = network.range_of((-1, 1))
    rng = np.random.default_rng(seed)
    eta = rng.uniform(0.1, 1.0, len(network))
    region = region_of(network, inputs, "exact")
    pruned = without(network, rng.random(len(network.recurrent)) < 0.5)
    before, after = (
        Rows.of(n, region.box, GateRanges.free(n), pieces=1).value(eta) for n in (network, pruned)
    )
    assert (after <= before + 1e-12).all()


@given(seed=seeds, own=st.booleans())
@settings(max_examples=40, deadline=None)
def test_pruning_costs_at_most_the_least_conductance(seed, own):
    """With gates in their ranges a row loses at most w l / C of its rate."""
    network = Network.of(circuit(seed, own=own, calm=1.0))
    inputs = network.range_of((-1, 1))
    region = region_of(network, inputs, "interval")
    eta = np.random.default_rng(seed).uniform(0.1, 1.0, len(network))
    lost = int(np.random.default_rng(seed + 1).integers(len(network.recurrent)))
    kept = np.arange(len(network.recurrent)) != lost
    pruned = without(network, kept)
    gates = GateRanges.over(pruned, region.box, inputs)
    before = rows_of(network, region, "interval").row_rates(eta)
    after = Rows.of(pruned, region.box, gates).row_rates(eta)
    i = network.recurrent.target[lost]
    if network.recurrent.source[lost] == i:
        return  # its gate has a range for each piece, and pieces may go with it
    allowed = network.recurrent.weight[lost] * region.gates.recurrent.least[lost]
    assert after[i] >= before[i] - allowed / network.capacitance[i] - 1e-9
    assert np.delete(after, i) == pytest.approx(np.delete(before, i), abs=1e-12)


@pytest.mark.slow
@given(seed=seeds, share=st.floats(0.0, 1.6))
@settings(max_examples=60, deadline=None)
def test_growing_is_safe_up_to_a_weight(seed, share):
    """Over the hull, w <= min (-lambda C - R) / phi is exactly what a row can bear."""
    network = Network.of(circuit(seed, own=False))
    standing = standing_of(network, network.range_of((-1, 1)), "exact")
    if standing is None:
        return
    rng = np.random.default_rng(seed)
    j, i = rng.choice(len(network), size=2, replace=False)
    gain, potential, eta = 6.0, 1.0, standing.eta
    ends = np.array([standing.region.box.lo[i], standing.region.box.hi[i]])
    a = gain * np.abs(potential - ends) * eta[j] / eta[i]
    phi = np.where(a > 1, (a - 1) ** 2 / (4 * np.maximum(a, 1)), 0.0)
    rows = rows_of(network, standing.region, "exact")
    room = -standing.rate * network.capacitance[i] - rows.sums(eta)[:, i] / eta[i]
    largest = np.min(room[phi > 0] / phi[phi > 0], initial=np.inf)
    weight = share * largest if np.isfinite(largest) else 100.0 * share
    held = network.recurrent
    grown = dataclasses.replace(
        network,
        recurrent=dataclasses.replace(
            held,
            source=np.append(held.source, j),
            target=np.append(held.target, i),
            weight=np.append(held.weight, weight),
            gain=np.append(held.gain, gain),
            centre=np.append(held.centre, 0.0),
            potential=np.append(held.potential, potential),
        ),
    )
    gates = GateRanges.free(grown)
    after = Rows.of(grown, standing.region.box, gates, pieces=1).row_rates(eta)[i]
    if share < 0.999 or not np.isfinite(largest):
        assert after >= standing.rate - 1e-9
    elif share > 1.001:
        assert after < standing.rate


@pytest.mark.slow
@given(seed=seeds, own=st.booleans(), level=st.sampled_from(["exact", "interval"]))
@settings(max_examples=40, deadline=None)
def test_a_row_by_itself_has_the_slack_of_the_whole(seed, own, level):
    network = Network.of(circuit(seed, own=own))
    inputs = network.range_of((-1, 1))
    standing = standing_of(network, inputs, level)
    if standing is None:
        return
    whole = rows_of(network, standing.region, level).row_rates(standing.eta) - standing.rate
    for i in range(len(network)):
        slots = [np.flatnonzero(s.target == i) for s in (network.recurrent, network.sensory)]
        slack = row_slack(network, i, *slots, standing, inputs, pieces_of(level))
        assert slack == pytest.approx(whole[i], abs=1e-8)


def test_a_row_that_leaves_a_box_has_no_slack():
    network = Network.of(circuit(1))
    inputs = network.range_of((-1, 1))
    standing = standing_of(network, inputs, "interval")
    i = int(network.recurrent.target[0])
    for potential in (3.0, -3.0):
        network.recurrent.potential[0] = potential
        slots = [np.flatnonzero(s.target == i) for s in (network.recurrent, network.sensory)]
        assert row_slack(network, i, *slots, standing, inputs, 32) == -np.inf


def proposals(model, rng, count, weights=(0.05, 2.0), free=False):
    """Random edits of the recurrent synapses of a model; `free` ones leave their source, too."""
    synapses = model.cell.recurrent
    for _ in range(count):
        slot = int(rng.integers(len(synapses)))
        cut = int(synapses.target[slot])
        yield ProposedEdit(
            step=1,
            synapses="cell.recurrent",
            slot=slot,
            source=int(synapses.source[slot]),
            cut=cut,
            grown=int(rng.choice(np.delete(np.arange(model.state_size), cut))),
            old_weight=0.0,
            grown_source=int(rng.integers(model.state_size)) if free else None,
            polarity=int(rng.choice([-1, 1])),
            weight=float(rng.uniform(*weights)),
            values={"gain": float(rng.uniform(3, 8)), "centre": float(rng.uniform(0.3, 0.8))},
        )


def carry_out(model, proposal):
    """Make an edit as prune-and-rewire does."""
    synapses = model.cell.recurrent
    like = synapses.weight
    source = synapses.source[[proposal.slot]]
    if proposal.grown_source is not None:
        source = torch.tensor([proposal.grown_source])
    fresh = FreshSynapses(
        source,
        torch.tensor([proposal.grown]),
        torch.tensor([proposal.polarity]),
        like.new_tensor([proposal.weight]),
        {name: like.new_tensor([value]) for name, value in proposal.values.items()},
    )
    synapses.rewire(torch.tensor([proposal.slot]), fresh)


def still_certified(model, guard):
    """Whether all rows and boxes of what the guard holds are true of the model, in O(synapses)."""
    network, standing = Network.of(model), guard._standing
    inputs = network.range_of((-1, 1))
    region = standing.region
    for outer, inner, share in zip(region.boxes, region.boxes[1:], region.shares, strict=False):
        core = type(outer)(
            (inner.lo - share * outer.lo) / (1 - share),
            (inner.hi - share * outer.hi) / (1 - share),
        )
        gates = GateRanges.over(network, outer, inputs)
        inwards, outwards = row_tests(network, core, gates)
        if (inwards < -1e-12).any() or (outwards > 1e-12).any():
            return False
    gates = GateRanges.over(network, region.box, inputs)
    rate = Rows.of(network, region.box, gates).rate(standing.eta)
    return rate >= standing.rate - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_what_the_guard_lets_pass_stays_certified(seed, free):
    model = circuit(seed)
    guard = CertificateGuard(model, (-1, 1))
    consented = 0
    for proposal in proposals(model, np.random.default_rng(seed), 60, free=free):
        answer = guard(proposal)
        if answer:
            carry_out(model, proposal)
            consented += 1
            assert still_certified(model, guard)
            for mine, own in zip(
                vars(guard._network.recurrent).values(),
                vars(Network.of(model).recurrent).values(),
                strict=True,
            ):
                assert np.allclose(
                    mine, own, rtol=1e-6
                )  # the guard judges the circuit that is there
            assert answer.notes["grown_slack_after"] >= 0
            assert answer.notes["cut_slack_after"] >= 0
    assert consented == guard.kept + guard.renewed
    assert guard.refused == 60 - consented


def test_a_guard_that_looks_at_no_row_is_found_out(monkeypatch):
    model = circuit(3)
    monkeypatch.setattr(safe_rewiring, "row_slack", lambda *_: 1.0)
    guard = CertificateGuard(model, (-1, 1))
    broken = False
    for proposal in proposals(model, np.random.default_rng(3), 60):
        assert guard(proposal)
        carry_out(model, proposal)
        broken |= not still_certified(model, guard)
    assert broken


@pytest.mark.slow
def test_weak_synapses_move_with_boxes_and_weights_frozen():
    kept = total = 0
    for seed in range(6):
        model = circuit(seed)
        guard = CertificateGuard(model, (-1, 1))
        for proposal in proposals(model, np.random.default_rng(seed), 40, (0.02, 0.1)):
            if guard(proposal):
                carry_out(model, proposal)
        kept, total = kept + guard.kept, total + guard.kept + guard.renewed
    assert kept > total / 2


def test_circuits_with_one_certificate_contract_while_they_are_switched():
    model = circuit(2)
    guard = CertificateGuard(model, (-1, 1))
    rng = np.random.default_rng(0)
    versions, standing = [], None
    for proposal in proposals(model, rng, 200, (0.02, 0.1)):
        answer = guard(proposal)
        if not answer:
            continue
        carry_out(model, proposal)
        if guard._standing is not standing:  # boxes and weights of its own: begin anew
            versions, standing = [], guard._standing
        versions.append({k: v.clone() for k, v in model.state_dict().items()})
        if len(versions) == 4:
            break
    assert len(versions) == 4
    box, eta = standing.region.box, torch.from_numpy(standing.eta)
    lo, hi = torch.from_numpy(box.lo), torch.from_numpy(box.hi)
    x = lo + (hi - lo) * torch.from_numpy(rng.random((64, 8)))
    h, steps = 0.01, 300
    first = ((x[:32] - x[32:]).abs() / eta).amax(-1)
    with torch.no_grad():
        for step in range(steps):
            if step % 7 == 0:
                model.load_state_dict(versions[rng.integers(4)])
            u = torch.from_numpy(rng.uniform(-1, 1, (32, 2))).repeat(2, 1)
            system = model.cell.dynamics(u)
            k1 = system.derivative(x)
            k2 = system.derivative(x + 0.5 * h * k1)
            x = x + h * k2
    last = ((x[:32] - x[32:]).abs() / eta).amax(-1)
    assert (last <= first * np.exp(-standing.rate * h * steps) * (1 + 1e-3)).all()


def test_training_with_the_guard_notes_the_slack():
    model = LTC(2, AutoNCP(12, 1, sparsity_level=0.6, seed=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    rewirer = elegans.PruneRewire(
        model, optimizer, threshold=0.2, weight=0.3, every=2, keep_sources=True, seed=1
    )
    guard = CertificateGuard(model, (-1, 1))
    rewirer.add_guard(guard)
    for _ in range(10):
        optimizer.zero_grad()
        model(torch.ones(2, 3, 2))[0].square().sum().backward()
        optimizer.step()
        rewirer.step()
    edits = [edit for edit in rewirer.ledger if edit.grown is not None]
    assert edits
    for edit in edits:
        record = edit.to_dict()
        assert record["notes"]["grown_slack_after"] >= 0
        assert {"rate", "cut_slack_before", "cut_slack_after", "grown_slack_before"} <= set(
            record["notes"]
        )
        assert type(edit).from_dict(record) == edit
    assert elegans.proofs.certify(model, (-1, 1))


def test_moves_from_one_set_to_the_other_stay_certified():
    torch.manual_seed(0)
    model = circuit(0, synapses=20)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    Pruner(model, optimizer, criterion="random").prune(0.3)
    free = {"keep_blocks": False, "keep_sets": False, "every": 1, "weight": 0.1}
    rewirer = elegans.PruneRewire(model, optimizer, CosineFraction(0.5, 100), **free)
    guard = CertificateGuard(model, (-1, 1))
    rewirer.add_guard(guard)
    for _ in range(8):
        rewirer.step()
        assert guard.rate is not None
        assert still_certified(model, guard)
        for kind in ("recurrent", "sensory"):
            mine, own = getattr(guard._network, kind), getattr(Network.of(model), kind)
            there = own.weight > 0
            assert np.array_equal(mine.weight > 0, there)
            for name, value in vars(own).items():
                assert np.allclose(getattr(mine, name)[there], value[there], rtol=1e-6)
    assert guard.kept + guard.renewed > 10
    assert len({e.grown_synapses for e in rewirer.ledger}) == 3
    assert guard.refused == sum(n for k, n in rewirer.counts.items() if "refused" in k)


@pytest.mark.parametrize("level", ["exact", "interval"])
def test_the_rate_is_that_of_the_circuit_as_it_is_now(level):
    """Weights change between edits, by training or by loading."""
    model = circuit(0, calm=0.05)
    guard = CertificateGuard(model, (-1, 1), level=level)

    def agrees():
        """Whether the rate is that of a guard made now, and certify() proves as much."""
        fresh = CertificateGuard(model, (-1, 1), level=level)
        proved = elegans.proofs.certify(model, (-1, 1), level, advice=False)
        return guard.rate == fresh.rate and 0.5 * proved.best_rate < guard.rate <= proved.best_rate

    assert agrees()
    first = guard.rate
    guard(next(proposals(model, np.random.default_rng(0), 1)))  # it is not carried out
    assert agrees()
    with torch.no_grad():
        model.cell.cm.add_(1.0)
    assert agrees()
    assert guard.rate < first
    with torch.no_grad():
        model.cell.recurrent.weight.fill_(50.0)
        model.cell.recurrent.sigma.fill_(50.0)
        model.cell.recurrent.mu.fill_(0.0)
    assert guard.rate is None


def test_an_uncertified_circuit_is_not_rewired():
    model = circuit(0, synapses=40, calm=6.0)
    guard = CertificateGuard(model, (-1, 1))
    answer = guard(next(proposals(model, np.random.default_rng(0), 1)))
    assert answer == GuardResult(False, "the circuit is not certified")
    assert (guard.rate, guard.refused) == (None, 1)


def test_an_edit_that_another_guard_refused_is_forgotten():
    model = circuit(4)
    guard = CertificateGuard(model, (-1, 1))
    first, second = (p for p in proposals(model, np.random.default_rng(4), 2))
    assert guard(first)  # but it is not carried out
    guard(second)
    fresh = CertificateGuard(model, (-1, 1))
    fresh(second)
    expected = Network.of(model).recurrent.target
    changed = np.flatnonzero(guard._network.recurrent.target != expected)
    assert set(changed) <= {second.slot}
    assert np.array_equal(guard._network.recurrent.target, fresh._network.recurrent.target)


def test_the_layer_is_never_written_to():
    model = LTC(2, AutoNCP(12, 1, seed=1), fixed_polarity=False, dtype=torch.float64)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    guard = CertificateGuard(model, (-1, 1))
    for proposal in proposals(model, np.random.default_rng(1), 10):
        guard(proposal)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_edits_of_other_layers_are_not_its_business():
    model = torch.nn.ModuleDict({"a": circuit(0), "b": torch.nn.Linear(2, 2)})
    guard = CertificateGuard(model, (-1, 1))
    proposal = next(proposals(model["a"], np.random.default_rng(0), 1))
    assert guard(dataclasses.replace(proposal, synapses="b")) is None
    with pytest.raises(InputError, match="got a model with 2 liquid cells, expected one"):
        CertificateGuard(torch.nn.ModuleList([circuit(0), circuit(1)]), (-1, 1))
    with pytest.raises(InputError, match="whose lower end is above the upper"):
        CertificateGuard(model, (1, -1))


def test_arguments_are_checked():
    model = circuit(0)
    for options, text in (
        ({"level": "foo"}, "got level='foo'"),
        (
            {"rate_fraction": 2.0},
            "got rate_fraction=2.0, expected a finite number above 0 and below 1",
        ),
        ({"least_rate": float("nan")}, "got least_rate=nan"),
    ):
        with pytest.raises(InputError, match=text):
            CertificateGuard(model, (-1, 1), **options)
    with pytest.raises(InputError, match="mixed memory"):
        CertificateGuard(LTC(2, 4, mixed_memory=True), (-1, 1))
