"""Parts of connectomes, signs, conductances, wirings, and the circuits that are built in."""

import copy
import pickle
import re

import networkx as nx
import numpy as np
import pytest

import elegans
from elegans.errors import InputError, WiringError
from elegans.wiring.connectome import (
    Connectome,
    Edges,
    between,
    collapse,
    conductances,
    load,
    locomotion_command,
    neighborhood,
    neurons_only,
    random_counterpart,
    select,
    tap_withdrawal,
    to_wiring,
    with_polarity,
)


def drawn(seed, cells=14, edges=40, pairs=10, signed=True):
    """Draw a connectome of known sizes, self-synapses and cells without any included."""
    rng = np.random.default_rng(seed)
    ends = rng.choice(cells**2, edges, replace=False)
    low, high = np.triu_indices(cells, 1)
    gaps = rng.choice(len(low), pairs, replace=False)
    return Connectome(
        [f"n{k}" for k in range(cells)],
        Edges(
            ends // cells,
            ends % cells,
            rng.integers(1, 30, edges),
            rng.choice([-1, 1], edges) if signed else None,
        ),
        Edges(low[gaps], high[gaps], rng.integers(1, 9, pairs)),
        classes=[f"c{k % 4}" for k in range(cells)],
        transmitters=[("acetylcholine", "gaba", "glutamate", "")[k % 4] for k in range(cells)],
    )


def graph_of(connectome, electrical=True):
    graph = nx.DiGraph()
    graph.add_nodes_from(connectome.names)
    for edges, ways in ((connectome.chemical, 1), (connectome.electrical, 2 * electrical)):
        for j, i in zip(edges.pre, edges.post, strict=True):
            ends = connectome.names[j], connectome.names[i]
            graph.add_edges_from([ends, ends[::-1]][:ways])
    return graph


# --- the value -----------------------------------------------------------------------------


def test_what_is_no_connectome():
    none = Edges.empty()
    for arguments, message in (
        ({"names": []}, "at least one"),
        ({"names": "AB"}, "must be a list with a name a cell"),
        ({"names": ["A", "A"]}, "got 'A' more than once"),
        ({"names": ["A\n", "B"]}, "no control characters"),
        ({"chemical": Edges([0], [2], [1])}, "holds the index 2, expected one from 0 to 1"),
        ({"electrical": Edges([1], [0], [1])}, "each pair once, with pre < post"),
        ({"electrical": Edges([0], [0], [1])}, "each pair once, with pre < post"),
        ({"chemical": [[0, 1]]}, "chemical must be Edges, got list"),
        ({"classes": ["A"]}, "classes must hold one text for each of 2 cells"),
        ({"kinds": ["neuron", "plant"]}, "one of neuron, muscle, other, got 'plant'"),
        ({"positions": [[0, 0]]}, re.escape("positions must have shape (2, 3)")),
        ({"guessed": [True]}, "guessed must hold true or false for each of 0"),
    ):
        with pytest.raises(WiringError, match=message):
            Connectome(**{"names": ["A", "B"], "chemical": none} | arguments)


def test_what_are_no_edges():
    for columns, message in (
        (([0], [1], [1, 2]), "arrays of length"),
        (([0], [1], [0]), "edge 0 -> 1 has 0 synapses"),
        (([0], [1], [np.nan]), "edge 0 -> 1 has nan synapses"),
        (([0, 0], [1, 1], [1, 2]), "edge 0 -> 1 stands twice"),
        (([-1], [1], [1]), "indices from 0"),
        (([0.5], [1], [1]), "flat array of the indices"),
        (([0], [1], [1], [2]), "sign must be a flat array"),
    ):
        with pytest.raises(WiringError, match=message):
            Edges(*columns)


def test_connectomes_are_immutable_values():
    made = drawn(0)
    assert pickle.loads(pickle.dumps(made)) == made == copy.deepcopy(made)
    assert hash(made) == hash(copy.deepcopy(made))
    assert made != drawn(1)
    with pytest.raises(AttributeError, match="immutable"):
        made.names = ()
    with pytest.raises(AttributeError, match="immutable"):
        made.chemical.pre = np.zeros(3)
    with pytest.raises(ValueError, match="read-only"):
        made.chemical.count[0] = 1
    mine = np.array([0, 1], dtype=np.int32)
    Edges(mine, mine, mine + 1)
    mine[0] = 5  # the caller's own array is not frozen


def test_adjacency_and_lookup():
    made = drawn(2)
    matrix = made.adjacency()
    for j, one in enumerate(made.names):
        for i, other in enumerate(made.names):
            assert made.synapses(one, other) == matrix[j, i]
            assert made.gap_junctions(one, other) == made.gap_junctions(other, one)
    assert matrix.sum() == made.chemical.synapses
    with pytest.raises(WiringError, match="no cell is called 'n99' among 14; similar names: n"):
        made.index("n99")


# --- parts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_select_keeps_what_joins(seed):
    made = drawn(seed)
    names = ["n7", "n3", "n12", "n0"]
    part = select(made, names)
    assert part.names == tuple(names)
    index = [made.index(name) for name in names]
    assert np.array_equal(part.adjacency(), made.adjacency()[np.ix_(index, index)])
    for one in names:
        for other in names:
            assert part.gap_junctions(one, other) == made.gap_junctions(one, other)
    assert part.transmitters == tuple(made.transmitters[i] for i in index)


def test_select_by_class():
    assert select(drawn(0), ["c1", "n0"]).names == ("n1", "n5", "n9", "n13", "n0")
    with pytest.raises(WiringError, match="no cell is called 'c9'"):
        select(drawn(0), ["c9"])
    with pytest.raises(WiringError, match="needs a cell at least"):
        select(drawn(0), [])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("hops", [0, 1, 2, 50])
@pytest.mark.parametrize("direction", ["in", "out", "both"])
@pytest.mark.parametrize("electrical", [True, False])
def test_neighborhoods_are_those_of_networkx(seed, hops, direction, electrical):
    made = drawn(seed, edges=22, pairs=4)
    graph = graph_of(made, electrical)
    graph = {"in": graph.reverse(), "out": graph, "both": graph.to_undirected()}[direction]
    expected = set(nx.single_source_shortest_path_length(graph, "n3", cutoff=hops))
    part = neighborhood(made, ["n3"], hops, direction=direction, electrical=electrical)
    assert set(part.names) == expected


def test_neighborhoods_pass_strong_connections_alone():
    made = Connectome(["a", "b", "c"], Edges([0, 0], [1, 2], [5, 4]))
    assert neighborhood(made, ["a"], least_synapses=5).names == ("a", "b")
    for wrong, message in (
        ({"hops": -1}, "hops"),
        ({"hops": True}, "hops"),
        ({"direction": "up"}, "direction must be in, out or both"),
    ):
        with pytest.raises(WiringError, match=message):
            neighborhood(made, ["a"], **wrong)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("hops", [1, 2, 3])
def test_between_holds_the_cells_of_short_walks(seed, hops):
    made = drawn(seed, edges=30, pairs=3)
    graph = graph_of(made)
    ahead = nx.single_source_shortest_path_length(graph, "n0")
    back = nx.single_source_shortest_path_length(graph.reverse(), "n5")
    on = {n for n in graph if n in ahead and n in back and ahead[n] + back[n] <= hops}
    if on:
        assert set(between(made, ["n0"], ["n5"], hops).names) == on
    else:
        with pytest.raises(WiringError, match=f"no walk of {hops} connections leads from n0 to n5"):
            between(made, ["n0"], ["n5"], hops)


@pytest.mark.parametrize("seed", range(4))
def test_collapse_sums_blocks(seed):
    made = drawn(seed)
    classes = collapse(made)
    member = np.array([[name == c for c in classes.names] for name in made.classes], dtype=float)
    assert np.array_equal(classes.adjacency(), member.T @ made.adjacency() @ member)
    gaps = np.zeros((len(made), len(made)))
    gaps[made.electrical.pre, made.electrical.post] = made.electrical.count
    blocks = member.T @ (gaps + gaps.T) @ member
    for j, one in enumerate(classes.names):
        for i, other in enumerate(classes.names):
            assert classes.gap_junctions(one, other) == (0 if i == j else blocks[j, i])
    within = int(np.trace(blocks) / 2)
    assert any(f"{within} gap junctions within a class" in n for n in classes.notes) == (within > 0)
    assert classes.transmitters == ("acetylcholine", "gaba", "glutamate", "")


def test_collapse_by_groups_of_ones_own():
    made = Connectome(
        ["a", "b", "c"],
        Edges([0, 1], [2, 2], [1, 2], [1, -1]),
        positions=[[0, 0, 0], [2, 4, 6], [9, 9, 9]],
    )
    pair = collapse(made, ["x", "x", ""])
    assert pair.names == ("x", "c")
    assert pair.chemical == Edges([0, 0], [1, 1], [2, 1], [-1, 1])
    assert pair.positions[0].tolist() == [1, 2, 3]
    with pytest.raises(WiringError, match="groups must hold a class for each of 3 cells"):
        collapse(made, ["x"])


def test_neurons_alone():
    made = Connectome(["a", "b"], Edges([0], [1], [1]), kinds=["muscle", "neuron"])
    assert neurons_only(made).names == ("b",)
    with pytest.raises(WiringError, match="needs a cell at least"):
        neurons_only(made.replace(kinds=["other", "muscle"]))


# --- signs and conductances ----------------------------------------------------------------


def test_signs_follow_transmitters():
    made = drawn(0, signed=False)
    with pytest.raises(WiringError, match=r"have no sign; their transmitters: .*glutamate"):
        with_polarity(made)
    signed = with_polarity(made, guess=1)
    expected = {"acetylcholine": 1, "gaba": -1, "glutamate": 1, "": 1}
    guessed = 0
    for j, sign, guess, count in zip(
        signed.chemical.pre,
        signed.chemical.sign,
        signed.guessed,
        signed.chemical.count,
        strict=True,
    ):
        assert sign == expected[made.transmitters[j]]
        assert guess == (made.transmitters[j] in ("glutamate", ""))
        guessed += guess * count
    assert signed.guessed_share == guessed / made.chemical.synapses > 0
    assert f"{signed.guessed_share:.1%} are guesses" in signed.notes[-1]
    assert made.guessed_share == 0


def test_signs_of_files_and_receptors_come_first():
    made = Connectome(
        ["a", "b", "c", "d"],
        Edges([0, 0, 0, 1], [1, 2, 3, 0], [1, 2, 4, 8], [-1, 0, 0, 0]),
        transmitters=["GLUT", "", "", ""],
        classes=["", "", "K", ""],
    ).replace(transmitters=["glutamate", "acetylcholine", "", ""])
    signed = with_polarity(
        made,
        {"Glutamate": -1, "ACh": 1},
        receptors={("GLUT", "K"): 1, ("gaba", "a"): -1},
    )
    assert signed.chemical.sign.tolist() == [-1, 1, -1, 1]
    assert signed.notes[-1] == (
        "signs of 15 synapses: 1 from the file, 2 by receptor, 12 by transmitter"
    )
    assert signed.guessed_share == 0
    for wrong in ({"signs": {"gaba": 0}}, {"guess": 2}, {"guess": True}):
        with pytest.raises(WiringError, match="a sign is 1"):
            with_polarity(made, **wrong)
    with pytest.raises(WiringError, match="no cell is called 'z'"):
        with_polarity(made, receptors={("gaba", "z"): 1}, guess=1)


def test_parts_of_a_pair_whose_signs_agree_are_summed():
    made = Connectome(["a", "b"], Edges([0, 0], [1, 1], [3, 4], [0, 1]))
    assert with_polarity(made, guess=1).chemical == Edges([0], [1], [7], [1])
    assert with_polarity(made, guess=-1).chemical == Edges([0, 0], [1, 1], [3, 4], [-1, 1])


@pytest.mark.parametrize("exponent", [0, 0.5, 1, 2])
def test_conductances_follow_the_law(exponent):
    edges = drawn(3).chemical
    found = conductances(edges, mean=0.3, exponent=exponent)
    power = [float(n) ** exponent for n in edges.count]
    expected = [0.3 * p * len(power) / sum(power) for p in power]
    assert np.allclose(found, expected, rtol=1e-14, atol=0)
    assert len(conductances(Edges.empty())) == 0
    with pytest.raises(WiringError, match="mean must be a number from 0"):
        conductances(edges, mean=-1)


# --- wirings -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_wirings_hold_every_synapse(seed):
    made = drawn(seed)
    built = to_wiring(
        made,
        inputs=["n3", "n0"],
        outputs=["n5", "n2"],
        layers={"command": ["n9", "n1"]},
        electrical="leave_out",
        mean=2.0,
    )
    wiring = built.wiring
    assert wiring.names[:4] == ("n5", "n2", "n9", "n1")
    assert dict(wiring.layers) == {"motor": 2, "command": 2, "inter": 10}
    assert wiring.sensory_names == ("in_n3", "in_n0")
    assert {j: wiring.names[i] for j, i, _ in wiring.sensory} == {0: "n3", 1: "n0"}
    mean = made.chemical.count.mean()
    expected = {
        (made.names[j], made.names[i]): (s, 2 * n / mean)
        for j, i, n, s in zip(
            made.chemical.pre,
            made.chemical.post,
            made.chemical.count,
            made.chemical.sign,
            strict=True,
        )
    }
    found = {
        (wiring.names[j], wiring.names[i]): (s, g)
        for (j, i, s), g in zip(wiring.recurrent, built.conductance, strict=True)
    }
    assert found.keys() == expected.keys()
    for pair, (sign, conductance) in expected.items():
        assert found[pair][0] == sign
        assert found[pair][1] == pytest.approx(conductance, rel=1e-12)
    left = {
        frozenset((wiring.names[j], wiring.names[i])): n
        for j, i, n in zip(
            built.left_out.pre, built.left_out.post, built.left_out.count, strict=True
        )
    }
    assert len(left) == len(made.electrical)
    for j, i, n in zip(
        made.electrical.pre, made.electrical.post, made.electrical.count, strict=True
    ):
        assert left[frozenset((made.names[j], made.names[i]))] == n


def test_gap_junctions_are_never_lost_in_silence():
    made = tap_withdrawal()
    ends = {"inputs": ["AVM"], "outputs": ["AVA"]}
    with pytest.raises(WiringError, match="got 4 gap junctions of 2 pairs, expected none with"):
        to_wiring(made, **ends, electrical="error")
    kept = to_wiring(made, **ends)
    assert kept.wiring.gap_junction_count == 2
    assert not len(kept.left_out)
    assert kept.notes == made.notes
    out = to_wiring(made, **ends, electrical="leave_out")
    assert out.left_out.synapses == 4
    assert out.wiring.gap_junction_count == len(out.junction_conductance) == 0
    assert out.notes[-1] == "4 gap junctions of 2 pairs were left out of the wiring"
    both = to_wiring(made, **ends, electrical="chemical")
    assert both.wiring.synapse_count == out.wiring.synapse_count + 4
    assert len(both.left_out) == 0
    names = both.wiring.names
    pairs = {(names[j], names[i], p) for j, i, p in both.wiring.recurrent}
    assert {("AVM", "AVD", 1), ("AVD", "AVM", 1), ("PLM", "PVC", 1), ("PVC", "PLM", 1)} <= pairs


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.0])
def test_kept_gap_junctions_conduct_by_the_law(seed, exponent):
    made = drawn(seed)
    ends = {"inputs": ["n3", "n0"], "outputs": ["n5", "n2"]}
    built = to_wiring(made, **ends, exponent=exponent, mean=2.0, junction_mean=0.5)
    names, pairs = built.wiring.names, made.electrical
    power = pairs.count**exponent
    expected = {
        frozenset((made.names[j], made.names[i])): 0.5 * n / power.mean()
        for j, i, n in zip(pairs.pre, pairs.post, power, strict=True)
    }
    found = {
        frozenset((names[j], names[i])): g
        for (j, i, one_way), g in zip(
            built.wiring.electrical, built.junction_conductance, strict=True
        )
        if not one_way
    }
    assert len(found) == len(pairs) > 1
    assert found.keys() == expected.keys()
    assert [found[pair] for pair in expected] == pytest.approx(list(expected.values()), rel=1e-12)
    plain = to_wiring(made, **ends, exponent=exponent, mean=2.0)
    assert plain.junction_conductance == pytest.approx(4 * built.junction_conductance, rel=1e-12)
    assert (
        built.wiring.recurrent == to_wiring(made, **ends, electrical="leave_out").wiring.recurrent
    )


def test_gap_junctions_join_synapses_of_the_same_pair():
    made = Connectome(["a", "b"], Edges([0, 1], [1, 0], [2, 3], [1, -1]), Edges([0], [1], [4]))
    built = to_wiring(made, ["a"], ["b"], electrical="chemical", exponent=1, mean=1)
    rows = [(built.wiring.names[j], p) for j, _, p in built.wiring.recurrent]
    assert sorted(rows) == [("a", 1), ("b", -1), ("b", 1)]
    assert sorted(built.conductance * 13 / 3) == pytest.approx([3, 4, 6])


def test_what_becomes_no_wiring():
    made = drawn(0)
    for wrong, message in (
        ({"inputs": []}, "inputs must name a cell"),
        ({"outputs": []}, "outputs must name a cell"),
        ({"inputs": ["x"]}, "no cell is called 'x'"),
        ({"layers": {"motor": ["n1"]}}, "layers must not hold 'motor'"),
        ({"layers": {"command": ["n2"]}}, "'n2' of layer 'command' stands in another layer"),
        ({"electrical": "drop"}, "electrical must be keep, error, leave_out or chemical"),
        ({"cells": "drop"}, "cells must be error, leave_out or neurons"),
    ):
        arguments = {"inputs": ["n1"], "outputs": ["n2"], "electrical": "leave_out"} | wrong
        with pytest.raises(WiringError, match=message):
            to_wiring(made, **arguments)
    with pytest.raises(WiringError, match="40 of 40 connections have no sign"):
        to_wiring(drawn(0, signed=False), ["n1"], ["n2"], electrical="leave_out")


def test_muscles_are_outputs_or_left_out_by_an_option():
    made = Connectome(
        ["VA1", "MDL1", "MDL2"],
        Edges([0, 0], [1, 2], [3, 4], [1, 1]),
        kinds=["neuron", "muscle", "muscle"],
    )
    assert to_wiring(made, ["VA1"], ["MDL2", "MDL1"]).wiring.synapse_count == 2
    with pytest.raises(WiringError, match="1 cells are not neurons and no outputs: MDL2"):
        to_wiring(made, ["VA1"], ["MDL1"])
    out = to_wiring(made, ["VA1"], ["MDL1"], cells="leave_out")
    assert out.wiring.names == ("MDL1", "VA1")
    assert out.notes == ("1 cells are not neurons and no outputs: MDL2, left out of the wiring",)
    assert to_wiring(made, ["VA1"], ["MDL1"], cells="neurons").wiring.units == 3


def test_channels_have_names_of_their_own():
    made = Connectome(["a", "in_a"], Edges([0], [1], [1], [1]))
    assert to_wiring(made, ["a"], ["in_a"]).wiring.sensory_names == ("in_a_",)


def test_every_layer_runs_on_the_tap_withdrawal_circuit():
    import torch

    built = to_wiring(
        tap_withdrawal(), ["ALM", "AVM", "PLM", "PVD"], ["AVA", "AVB"], electrical="leave_out"
    )
    for layer in (elegans.LTC, elegans.CTRNN, elegans.CfC, elegans.LRC):
        y, _ = layer(4, built.wiring)(torch.zeros(2, 3, 4))
        assert y.shape == (2, 3, 2)


def test_conductances_become_the_strengths_of_a_layer():
    import torch

    built = to_wiring(tap_withdrawal(), ["PLM"], ["AVB"], electrical="leave_out", mean=0.5)
    model = elegans.LTC(1, built.wiring, dtype=torch.float64)
    model.cell.recurrent.set_strength(torch.from_numpy(built.conductance))
    assert model.cell.recurrent.strength().tolist() == pytest.approx(built.conductance, rel=1e-9)
    source = [built.wiring.names[j] for j in model.cell.recurrent.source]
    target = [built.wiring.names[i] for i in model.cell.recurrent.target]
    circuit = tap_withdrawal()
    counts = [circuit.synapses(j, i) for j, i in zip(source, target, strict=True)]
    assert np.allclose(built.conductance / built.conductance[0], np.array(counts) / counts[0])


def test_counts_become_conductances_of_synapses_and_gap_junctions():
    import torch

    circuit = with_polarity(locomotion_command())
    built = to_wiring(circuit, ["AVA"], ["VA", "VB"], mean=0.2, junction_mean=0.1)
    model = elegans.LTC(1, built.wiring, dtype=torch.float64)
    before = model.cell.sensory.strength()
    elegans.set_conductances(model, built)
    names = built.wiring.names
    for synapses, count_of, mean in (
        (model.cell.recurrent, circuit.synapses, 0.2),
        (model.cell.electrical, circuit.gap_junctions, 0.1),
    ):
        ends = zip(synapses.source.tolist(), synapses.target.tolist(), strict=True)
        counts = np.array([count_of(names[j], names[i]) for j, i in ends])
        expected = mean * counts / counts.mean()
        assert synapses.strength().tolist() == pytest.approx(expected.tolist(), rel=1e-9)
    assert torch.equal(model.cell.sensory.strength(), before)


def test_conductances_find_their_synapses_or_are_refused():
    built = to_wiring(tap_withdrawal(), ["PLM"], ["AVB"])
    without = to_wiring(tap_withdrawal(), ["PLM"], ["AVB"], electrical="leave_out")
    for model, given, message in (
        (elegans.LTC(1, without.wiring), built, "LTCCell has no electrical synapses with conduct"),
        (elegans.CTRNN(1, without.wiring), without, "CTRNNCell has no recurrent synapses with"),
        (
            elegans.LTC(1, without.wiring.edit(remove=[(1, 0)])),
            without,
            "recurrent synapses of the LTCCell are not those of",
        ),
        (
            elegans.LTC(1, built.wiring),
            to_wiring(tap_withdrawal(), ["PLM"], ["AVB"], junction_mean=0.0),
            "got a conductance of 0 in the electrical set, expected positive ones",
        ),
    ):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(InputError, match=message):
            elegans.set_conductances(model, given)
        assert all((value == before[name]).all() for name, value in model.state_dict().items())


# --- circuits ------------------------------------------------------------------------------


def test_the_tap_withdrawal_circuit():
    made = tap_withdrawal()
    assert set(made.names) == {"AVM", "ALM", "PLM", "PVD", "AVD", "DVA", "PVC", "AVA", "AVB"}
    assert len(made.chemical) + len(made.electrical) == 26
    signs = {
        name: set(made.chemical.sign[made.chemical.pre == i].tolist())
        for i, name in enumerate(made.names)
    }
    assert {name for name, sign in signs.items() if sign == {1}} == {"AVD", "PVC"}
    assert all(sign == {-1} for name, sign in signs.items() if name not in ("AVD", "PVC"))
    # Touch neurons receive nothing but gap junctions.
    assert not made.adjacency()[:, :4].any()


@pytest.mark.parametrize(("dataset", "make"), [("White_whole", tap_withdrawal),
    ("White_whole", locomotion_command), ("Varshney", locomotion_command)])  # fmt: skip
def test_counts_are_those_of_the_sources(dataset, make):
    pytest.importorskip("cect")
    circuit, source = make(), collapse(load(dataset))
    for edges, count in (
        (circuit.chemical, source.synapses),
        (circuit.electrical, source.gap_junctions),
    ):
        for j, i, n in zip(edges.pre, edges.post, edges.count, strict=True):
            assert count(circuit.names[j], circuit.names[i]) == n


# --- null models ---------------------------------------------------------------------------


def degrees(connectome):
    edges, pairs, cells = connectome.chemical, connectome.electrical, len(connectome)
    ends = np.concatenate([pairs.pre, pairs.post])
    return {
        "out": np.bincount(edges.pre, minlength=cells).tolist(),
        "in": np.bincount(edges.post, minlength=cells).tolist(),
        "gaps": np.bincount(ends, minlength=cells).tolist(),
        "made": sorted(
            zip(edges.pre.tolist(), edges.count.tolist(), edges.sign.tolist(), strict=True)
        ),
        "gap counts": sorted(pairs.count.tolist()),
        "loops": sorted(edges.pre[edges.pre == edges.post].tolist()),
    }


def reciprocity(connectome):
    present = connectome.adjacency() > 0
    mutual = present & present.T & ~np.eye(len(connectome), dtype=bool)
    return mutual.sum(axis=1).tolist()


def block_counts(connectome, groups):
    edges = connectome.chemical
    found = {}
    for j, i in zip(edges.pre, edges.post, strict=True):
        key = groups[j], groups[i]
        found[key] = found.get(key, 0) + 1
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("mutual", [False, True])
def test_counterparts_keep_exactly_what_they_promise(seed, blocks, mutual):
    made = drawn(seed, cells=20, edges=90, pairs=25)
    other = random_counterpart(made, blocks=blocks, reciprocity=mutual, seed=seed)
    assert degrees(other) == degrees(made)
    assert other.chemical != made.chemical
    assert other.electrical != made.electrical
    if blocks:
        assert block_counts(other, made.classes) == block_counts(made, made.classes)
    if mutual:
        assert reciprocity(other) == reciprocity(made)
    assert random_counterpart(made, blocks=blocks, reciprocity=mutual, seed=seed) == other
    assert random_counterpart(made, blocks=blocks, reciprocity=mutual, seed=99) != other


def test_counterparts_without_promises_break_them():
    """The checks above can fail: blocks and reciprocity change unless they are asked for."""
    made = drawn(0, cells=20, edges=90)
    other = random_counterpart(made, seed=0)
    assert block_counts(other, made.classes) != block_counts(made, made.classes)
    assert reciprocity(other) != reciprocity(made)


@pytest.mark.parametrize("mutual", [False, True])
def test_pairs_of_both_signs_stay(mutual):
    edges = Edges([0, 0, 1, 2, 3, 4], [1, 1, 0, 3, 4, 2], [1, 2, 3, 4, 5, 6], [1, -1, 1, 1, 1, 1])
    made = Connectome([f"n{k}" for k in range(6)], edges)
    other = random_counterpart(made, reciprocity=mutual, seed=3)
    assert degrees(other) == degrees(made)
    if mutual:
        assert other.synapses("n0", "n1") == 3


def test_counterparts_are_equally_likely():
    """All digraphs of these degrees without loops are found, each as often."""
    made = Connectome(list("abcd"), Edges([0, 1, 2, 3], [1, 2, 3, 0], [1, 1, 1, 1]))
    found = {}
    for seed in range(450):
        other = random_counterpart(made, seed=seed, swaps=10)
        key = tuple(other.chemical.post.tolist())
        found[key] = found.get(key, 0) + 1
    # Derangements of four: 9 permutations without a fixed point.
    assert len(found) == 9
    expected = 450 / 9
    chi_squared = sum((n - expected) ** 2 / expected for n in found.values())
    assert chi_squared < 26.1  # of 8 degrees of freedom, passed by chance once in 1000


@pytest.mark.parametrize("count", [0, 1, 2])
def test_counterparts_of_almost_nothing(count):
    made = Connectome(["a", "b", "c"], Edges([0, 1][:count], [1, 2][:count], [1, 1][:count]))
    other = random_counterpart(made, reciprocity=True)
    assert degrees(other) == degrees(made)


def test_full_circuits_have_no_counterpart():
    full = np.ones((5, 5))
    made = Connectome.from_adjacency(full)
    other = random_counterpart(made)
    assert other.chemical == made.chemical
    assert "after 0 exchanges of 25 chemical connections" in other.notes[-1]


def test_what_is_no_null_model():
    made = drawn(0)
    for wrong, message in (
        ({"seed": -1}, "seed"),
        ({"swaps": -1}, "swaps"),
        ({"swaps": np.inf}, "swaps"),
        ({"blocks": ["a"]}, "blocks must hold a block for each of 14"),
    ):
        with pytest.raises(WiringError, match=message):
            random_counterpart(made, **wrong)
    with pytest.raises(WiringError, match="blocks=True needs classes"):
        random_counterpart(made.replace(classes=None), blocks=True)
