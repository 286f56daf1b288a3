"""Heavy-tailed wirings: exact counts, the law of the degrees, Dale's principle, the inputs."""

import hashlib
import math
import tracemalloc

import numpy as np
import pytest

from elegans import capacity
from elegans.errors import InputError
from elegans.wiring import (
    NCP,
    AutoNCP,
    BinomialNCP,
    FullyConnected,
    HeavyTailed,
    Layered,
    Random,
)


def degrees(wiring):
    return wiring.out_degree(), np.bincount(wiring.recurrent.target, minlength=wiring.units)


@pytest.mark.parametrize("self_synapses", [False, True])
@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("synapses", [1, 59, 60, 400, 449, 450, 451, 3000, 3540])
def test_counts_are_exact_and_pairs_differ(synapses, spread, self_synapses):
    recipe = HeavyTailed(60, 3, synapses, degree_spread=spread, self_synapses=self_synapses)
    recurrent = recipe.build(2).recurrent
    assert len(recurrent) == synapses
    assert not recurrent.has_parallel
    if not self_synapses:
        assert (recurrent.source != recurrent.target).all()


def test_all_pairs_can_be_joined():
    wiring = HeavyTailed(12, 3, 132, degree_spread=2.0).build(2)
    assert (np.abs(wiring.adjacency()) == 1 - np.eye(12)).all()
    everything = HeavyTailed(12, 3, 144, self_synapses=True).build(2)
    assert (np.abs(everything.adjacency()) == 1).all()
    alone = HeavyTailed(1, 1, 1, self_synapses=True).build(1)
    assert list(alone.recurrent) == [(0, 0, 1)]


def test_the_wiring_is_the_same_on_every_platform():
    wiring = HeavyTailed(2000, 20, 50_000).build(30)
    content = hashlib.sha256()
    for synapses in (wiring.recurrent, wiring.sensory):
        for column in (synapses.source, synapses.target, synapses.polarity):
            content.update(column.astype("<i8").tobytes())
    assert content.hexdigest()[:16] == "0b76348658ddf135"


@pytest.mark.parametrize("spread", [0.5, 1.0])
def test_degrees_are_spread_log_normally(spread):
    # A degree of expectation m adds 1 / m to the variance of its logarithm, exp(spread**2) / 100
    # on average over neurons. The standard error of a standard deviation is s / sqrt(2 n).
    for degree in degrees(HeavyTailed(4000, 5, 400_000, degree_spread=spread).build(1)):
        assert (degree > 0).mean() > 0.999
        log = np.log(degree[degree > 0])
        expected = math.sqrt(spread**2 + math.exp(spread**2) / 100)
        assert abs(log.std() - expected) < 5 * expected / math.sqrt(2 * 4000)
        skewness = ((log - log.mean()) ** 3).mean() / log.std() ** 3
        assert abs(skewness) < 0.4  # -1.1 for exponentially distributed degrees, 2 for a power law


def test_without_spread_degrees_are_those_of_a_uniform_graph():
    for degree in degrees(HeavyTailed(3000, 5, 90_000, degree_spread=0.0).build(1)):
        chi_square = ((degree - 30) ** 2 / (30 * 0.99)).sum()
        assert abs(chi_square - 3000) < 4 * math.sqrt(2 * 3000)


def test_in_and_out_degrees_are_independent():
    out, into = degrees(HeavyTailed(4000, 5, 400_000).build(1))
    assert abs(np.corrcoef(np.log1p(out), np.log1p(into))[0, 1]) < 4 / math.sqrt(4000)


@pytest.mark.slow
def test_drawing_and_racing_follow_one_law():
    recipe = HeavyTailed(5, 1, 8, degree_spread=1.5)
    weights = recipe._weights(np.random.default_rng(3)), recipe._weights(np.random.default_rng(4))
    rounds, counts = 4000, []
    for draw in (recipe._draw, recipe._race):
        rng = np.random.default_rng(5)
        codes = [draw(rng, *weights) for _ in range(rounds)]
        assert all(len(code) == 8 and (np.diff(code) > 0).all() for code in codes)
        counts.append(np.bincount(np.concatenate(codes), minlength=25))
    share = (counts[0] + counts[1]) / (2 * rounds)
    deviation = np.sqrt(2 * rounds * share * (1 - share))
    assert share[::6].max() == 0  # nobody reaches itself
    assert share.max(initial=0) - share[share > 0].min() > 0.01  # the weights matter
    assert (np.abs(counts[0] - counts[1]) <= 4.5 * deviation).all()


def test_every_neuron_is_reached_where_there_are_synapses_enough():
    for seed in range(20):
        wiring = HeavyTailed(100, 5, 100, degree_spread=2.0, seed=seed).build(1)
        assert degrees(wiring)[1].tolist() == [1] * 100
        fewer = HeavyTailed(100, 5, 60, degree_spread=2.0, seed=seed).build(1)
        assert (degrees(fewer)[1] > 0).sum() == 60
        assert (degrees(fewer)[1][:5] == 1).all()


@pytest.mark.parametrize(("excitatory", "neurons"), [(0.0, 0), (0.7, 210), (1.0, 300)])
def test_a_neuron_has_one_sign(excitatory, neurons):
    wiring = HeavyTailed(300, 5, 30_000, excitatory=excitatory, degree_spread=0.5).build(4)
    sign = np.zeros(300, dtype=int)
    sign[wiring.recurrent.source] = wiring.recurrent.polarity
    assert (sign[wiring.recurrent.source] == wiring.recurrent.polarity).all()
    assert (sign != 0).all()
    assert (sign > 0).sum() == neurons


@pytest.mark.parametrize(
    ("inputs", "receptors", "reached"), [(3, 0.1, 29), (40, 0.1, 29), (2, 1.0, 290), (5, 0.0, 1)]
)
def test_inputs_are_dealt_out_evenly(inputs, receptors, reached):
    wiring = HeavyTailed(300, 10, 3000, receptors=receptors).build(inputs)
    sensory = wiring.sensory
    assert len(sensory) == max(inputs, reached)
    assert not sensory.has_parallel
    assert len(set(sensory.target.tolist())) == reached
    assert sensory.target.min() >= 10
    assert (sensory.polarity == 1).all()
    assert np.ptp(wiring.sensory_out_degree()) <= 1
    assert wiring.sensory_out_degree().min() >= 1


def test_without_inter_neurons_inputs_reach_motor_neurons():
    assert len(HeavyTailed(20, 20, 100, receptors=0.5).build(2).sensory) == 10


@pytest.mark.parametrize(
    ("recipe", "inputs"),
    [
        (HeavyTailed(10_000_000, 5, 10**13), 8),
        (HeavyTailed(4_000_000, 5, 16 * 10**12 - 4_000_000), 8),
        (FullyConnected(1_000_000), 8),
        (FullyConnected(2**31 - 1), 2**31 - 1),
        (Random(10_000_000, sparsity_level=0.9), 8),
        (Random(100_000_000, sparsity_level=0.9999), 8),
        (Layered({"a": 10**7, "motor": 5}, {("a", "a"): 0.1, ("a", "motor"): 0.1}), 8),
        (NCP(10**7, 10**7, 5, 5, 10**5, 5, 5), 8),
        (AutoNCP(10_000_000, 5), 8),
        (BinomialNCP(10**7, 10**7, 5), 8),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_does_not_fit_is_refused_before_it_is_drawn(recipe, inputs):
    tracemalloc.start()
    name = "NCP" if isinstance(recipe, AutoNCP) else type(recipe).__name__
    message = rf"by {name} needs .* \(\d+ bytes\), but .* available; take fewer"
    try:
        with pytest.raises(InputError, match=message):
            recipe.build(inputs)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        HeavyTailed(3000, 5, 60_000),
        HeavyTailed(500, 5, 100_000),
        FullyConnected(300),
        Random(400, sparsity_level=0.5),
        Random(4000, sparsity_level=0.995),
        Layered({"a": 1000, "motor": 300}, {("a", "a"): 0.06, ("a", "motor"): 0.06}),
        AutoNCP(500, 20),
        BinomialNCP(200, 200, 20),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_asked_for_covers_what_is_taken(recipe, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "elegans.wiring.families.recipe.require_bytes", lambda needed, *texts: asked.append(needed)
    )
    recipe.build(10)
    tracemalloc.start()
    try:
        recipe.build(10)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < 1.1 * max(asked)
    assert max(asked) < 8 * taken


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_available_memory_is_what_kernel_and_control_groups_leave(tmp_path, monkeypatch):
    for name in ("_MEMINFO", "_OWN_CGROUP", "_CGROUPS"):
        monkeypatch.setattr(capacity, name, tmp_path / name)
    write(tmp_path / "_MEMINFO", "MemTotal: 900 kB\nMemAvailable: 100 kB\n")
    assert capacity.available_bytes() == 102_400
    write(tmp_path / "_OWN_CGROUP", "1:cpu:/else\n0::/users/me\n")
    assert capacity.available_bytes() == 102_400
    write(tmp_path / "_CGROUPS/users/me/memory.max", "max\n")
    assert capacity.available_bytes() == 102_400
    write(tmp_path / "_CGROUPS/users/memory.max", "5000\n")
    write(tmp_path / "_CGROUPS/users/memory.current", "4000\n")
    write(tmp_path / "_CGROUPS/users/memory.stat", "anon 3000\ninactive_file 700\n")
    assert capacity.available_bytes() == 1700
    capacity.require_bytes(1700, "a thing", "take less")
    with pytest.raises(InputError, match=r"a thing needs 0.0 GiB .*\(1701 bytes\).*\(1700 b.*less"):
        capacity.require_bytes(1701, "a thing", "take less")


def test_where_the_kernel_says_nothing_the_machine_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(capacity, "_MEMINFO", tmp_path / "none")
    told = {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", told.__getitem__)
    assert capacity.available_bytes() == 40_960
    monkeypatch.delattr("os.sysconf")
    assert capacity.available_bytes() is None
    capacity.require_bytes(10**30, "anything", "take less")
