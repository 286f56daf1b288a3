"""BinomialNCP draws what it says: counts against the binomial law, with fixed seeds.

The limits are four standard deviations, or a quantile of 1 - 1e-4 for sums of squares.
"""

import math

import numpy as np
import pytest

from elegans.wiring import BinomialNCP


def degrees(wiring, source, target):
    """Return fan-outs of the layer `source` and fan-ins of `target`, from each other."""
    synapses = wiring.sensory if source == "sensory" else wiring.recurrent
    j, i = wiring.layer_range(source), wiring.layer_range(target)
    of = np.isin(synapses.source, j) & np.isin(synapses.target, i)
    out = np.bincount(synapses.source[of] - j.start, minlength=len(j))
    into = np.bincount(synapses.target[of] - i.start, minlength=len(i))
    return out, into


def chi_square_excess(observed, expected):
    """Return chi square in standard deviations above its mean (Wilson and Hilferty, 1931)."""
    big = expected > 5
    observed = np.append(observed[big], observed[~big].sum())
    expected = np.append(expected[big], expected[~big].sum())
    freedom = len(expected) - 1
    chi = ((observed - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
    shrink = 2 / (9 * freedom)
    return ((chi / freedom) ** (1 / 3) - 1 + shrink) / math.sqrt(shrink)


def binomial_law(n, p):
    k = np.arange(n + 1)
    return np.array([math.comb(n, int(i)) for i in k]) * p**k * (1 - p) ** (n - k)


@pytest.fixture(scope="module")
def large():
    return BinomialNCP(400, 60, 12, p1=0.3, p2=0.7, p4=0.25, seed=7).build(input_size=500)


@pytest.mark.parametrize(
    ("source", "target", "p"),
    [
        ("inter", "command", 0.3),
        ("sensory", "inter", 0.3),
        ("command", "motor", 0.3),
        ("command", "command", 0.25),
    ],
)
def test_fan_outs_follow_the_binomial_law(large, source, target, p):
    # With these sizes every target is reached, so that the repair adds nothing.
    out, into = degrees(large, source, target)
    assert (into > 0).all()
    n = len(into)
    total, mean = out.sum(), len(out) * n * p
    assert abs(total - mean) < 4 * math.sqrt(mean * (1 - p))
    spread = ((out - n * p) ** 2 / (n * p * (1 - p))).sum()
    assert abs(spread - len(out)) < 4 * math.sqrt(2 * len(out))


@pytest.mark.parametrize(("source", "target"), [("inter", "command"), ("command", "motor")])
def test_the_histogram_of_fan_outs(source, target):
    counts = np.zeros(13)
    for seed in range(30):
        wiring = BinomialNCP(40, 12, 12, p1=0.4, seed=seed).build(input_size=3)
        out, into = degrees(wiring, source, target)
        if (into > 0).all():
            counts += np.bincount(out, minlength=13)
    assert counts.sum() > 300
    assert chi_square_excess(counts, counts.sum() * binomial_law(12, 0.4)) < 3.7


def test_targets_are_drawn_alike(large):
    for source, target, p in [("inter", "command", 0.3), ("sensory", "inter", 0.3)]:
        out, into = degrees(large, source, target)
        spread = ((into - len(out) * p) ** 2 / (len(out) * p * (1 - p))).sum()
        assert abs(spread - len(into)) < 4 * math.sqrt(2 * len(into))


def test_polarities(large):
    for synapses in (large.recurrent, large.sensory):
        excitatory = (synapses.polarity > 0).sum()
        deviation = math.sqrt(len(synapses) * 0.7 * 0.3)
        assert abs(excitatory - 0.7 * len(synapses)) < 4 * deviation


def test_self_synapses_of_command_neurons_are_as_likely_as_others():
    loops = 0
    for seed in range(40):
        adjacency = BinomialNCP(5, 30, 2, p4=0.2, seed=seed).build(2).adjacency()
        loops += np.count_nonzero(np.diagonal(adjacency)[2:32])
    mean = 40 * 30 * 0.2
    assert abs(loops - mean) < 4 * math.sqrt(mean * 0.8)


def test_forgotten_targets_get_one_synapse_up_to_the_mean_in_degree_of_the_others():
    forgotten = 0
    for seed in range(40):
        # What is drawn before the repair of the first layer does not depend on p3.
        least, most, some = (
            degrees(BinomialNCP(30, 4, 1, p1=0.12, p3=p3, seed=seed).build(25), "sensory", "inter")[
                1
            ]
            for p3 in (0.0, 1.0, 0.5)
        )
        repaired = least != most
        mean = most[~repaired].sum() // (~repaired).sum()
        assert mean >= 2
        assert (least[repaired] == 1).all()
        assert (most[repaired] == mean).all()
        assert (some[repaired] >= 1).all()
        assert (some[repaired] <= mean).all()
        assert (some[~repaired] == most[~repaired]).all()
        forgotten += repaired.sum()
    assert forgotten > 20


def test_probability_zero_leaves_one_synapse_for_each_target():
    wiring = BinomialNCP(9, 6, 3, p1=0.0, p4=0.0).build(input_size=4)
    assert wiring.sensory_synapse_count == 9
    assert wiring.synapse_count == 6 + 3
    assert wiring.in_degree().tolist() == [1] * 18


def test_probability_one_connects_everything():
    wiring = BinomialNCP(9, 6, 3, p1=1.0, p2=1.0, p4=1.0).build(input_size=4)
    assert wiring.sensory_synapse_count == 4 * 9
    assert wiring.synapse_count == 9 * 6 + 6 * 3 + 6 * 6
    assert (wiring.recurrent.polarity == 1).all()
    assert (wiring.sensory.polarity == 1).all()


def test_polarity_probability_zero_makes_all_inhibitory():
    wiring = BinomialNCP(9, 6, 3, p2=0.0).build(input_size=4)
    assert (wiring.recurrent.polarity == -1).all()


def test_without_recurrence_command_neurons_do_not_reach_each_other():
    adjacency = BinomialNCP(9, 6, 3, p4=0.0).build(input_size=4).adjacency()
    assert not adjacency[3:9, 3:9].any()
    assert not adjacency[:3].any()
    assert not adjacency[:, 9:].any()
