"""What bad rows get: named, decided by an option, and told."""

import re

import numpy as np
import pandas as pd
import pytest

from elegans.errors import WiringError
from elegans.wiring.connectome import Connectome, Edges, Rules, load


def rows(*lines, rules=None, **known):
    """Read lines ``pre,post,count,type``."""
    pre, post, count, types = zip(*(line.split(",") for line in lines), strict=True)
    return Connectome.from_rows(pre, post, list(count), types, rules=rules, **known)


def refused(*lines, message, rules=None, **known):
    with pytest.raises(WiringError, match=re.escape(message)):
        rows(*lines, rules=rules, **known)


def test_duplicate_rows_are_summed_and_told():
    lines = "A,B,2,chemical", "B,A,1,chemical", "A,B,5,chemical", "A,B,1,chemical"
    made = rows(*lines)
    assert made.synapses("A", "B") == 8
    assert made.synapses("B", "A") == 1
    assert made.notes == ("3 rows of 1 connections were summed",)
    refused(
        *lines, rules=Rules(duplicates="error"), message="2 rows repeat a connection, the first"
    )


def test_rows_of_both_signs_stay_apart():
    made = rows("A,B,2,excitatory", "A,B,3,inhibitory", "A,B,4,exc")
    assert made.chemical == Edges([0, 0], [1, 1], [6, 3], [1, -1])
    assert made.synapses("A", "B") == 9


def test_negative_counts():
    lines = "A,B,2,chemical", "B,A,-3,chemical"
    refused(*lines, message="row 2 (B -> A) has -3 synapses, a negative count as in 1 rows")
    signed = rows(*lines, rules=Rules(negative="inhibitory"))
    assert signed.chemical == Edges([0, 1], [1, 0], [2, 3], [1, -1])
    assert signed.notes == ("1 negative counts were taken for inhibitory synapses",)
    dropped = rows(*lines, rules=Rules(negative="drop"))
    assert dropped.chemical == Edges([0], [1], [2])
    assert dropped.names == ("A", "B")
    # A negative number of gap junctions has no meaning at all.
    refused("A,B,-1,gap", message="negative", rules=Rules(negative="inhibitory"))


def test_counts_that_are_not_whole():
    lines = "A,B,2.5,chemical", "B,A,0.25,chemical"
    refused(*lines, message="row 1 (A -> B) has 2.5 synapses, which is not whole, as in 2 rows")
    kept = rows(*lines, rules=Rules(fractional="keep"))
    assert kept.chemical.count.tolist() == [2.5, 0.25]
    rounded = rows(*lines, rules=Rules(fractional="round"))
    assert rounded.chemical == Edges([0], [1], [2])
    assert "1 rows with a count of 0 were left out" in rounded.notes


@pytest.mark.parametrize("text", ["", "many", "nan", "inf"])
def test_counts_that_are_no_numbers(text):
    with pytest.raises(WiringError, match="expected a number"):
        rows("A,B,1,chemical", f"A,C,{text},chemical")


def test_counts_of_zero_are_left_out_and_told():
    made = rows("A,B,0,chemical", "A,C,1,chemical", "C,B,0,gap")
    assert made.chemical == Edges([0], [2], [1])
    assert len(made.electrical) == 0
    assert made.names == ("A", "B", "C")
    assert made.notes == ("2 rows with a count of 0 were left out",)


def test_undirected_rows():
    lines = "A,B,2,undirected", "A,A,7,undirected", "B,C,1,directed"
    refused(*lines, message="row 1 (A -- B) has no direction, as 2 rows have")
    both = rows(*lines, rules=Rules(undirected="both"))
    assert both.chemical == Edges([0, 0, 1, 1], [0, 1, 0, 2], [7, 2, 2, 1])
    gaps = rows(*lines, rules=Rules(undirected="electrical"))
    assert gaps.electrical == Edges([0], [1], [2])
    assert gaps.chemical == Edges([1], [2], [1])


def test_a_self_gap_junction_is_left_out_and_told():
    lines = "A,A,3,gap junction", "A,B,1,electrical", "B,A,1,electrical"
    made = rows(*lines)
    assert made.electrical == Edges([0], [1], [1])
    assert made.notes == ("1 gap junctions of a cell with itself were left out: A",)
    refused(*lines, rules=Rules(self_gap="error"), message="gap junctions join a cell to itself: A")


def test_a_self_synapse_stays():
    assert rows("A,A,3,chemical").synapses("A", "A") == 3


def test_gap_pairs_of_one_side():
    lines = "B,A,3,gap", "A,C,1,gap", "C,A,1,gap"
    made = rows(*lines)
    assert made.gap_junctions("A", "B") == made.gap_junctions("B", "A") == 3
    assert made.gap_junctions("A", "C") == 1  # the same junctions, seen from either cell
    (note,) = made.notes
    assert note.startswith("1 pairs of gap junctions are listed from one cell only, such as B, A")
    dropped = rows(*lines, rules=Rules(one_sided_gap="drop"))
    assert dropped.electrical.synapses == 1
    refused(*lines, rules=Rules(one_sided_gap="error"), message='one_sided_gap="mirror" takes')


@pytest.mark.parametrize(("option", "count"), [("larger", 5), ("mean", 3.5)])
def test_gap_pairs_of_unequal_counts(option, count):
    lines = "A,B,2,gap", "B,A,5,gap"
    made = rows(*lines, rules=Rules(unequal_gap=option))
    assert made.gap_junctions("A", "B") == count
    assert made.notes[0].endswith(f"such as A, B (2 and 5): the {option} was taken")
    refused(*lines, rules=Rules(unequal_gap="error"), message="(2 and 5)")


def test_gap_rows_of_one_side_are_summed_before_sides_are_compared():
    made = rows("A,B,2,gap", "A,B,1,gap", "B,A,3,gap")
    assert made.electrical == Edges([0], [1], [3])


def test_unknown_neurons():
    lines = "A,B,2,chemical", "B,X,1,chemical"
    known = {"neurons": {"A": {"class": "K"}, "B": {}, "D": {}}}
    refused(*lines, **known, message="1 cells are not in the table of neurons: X; unknown=")
    kept = rows(*lines, **known, rules=Rules(unknown="keep"))
    assert kept.names == ("A", "B", "X", "D")  # D has no connections
    assert kept.classes == ("K", "", "", "")
    dropped = rows(*lines, **known, rules=Rules(unknown="drop"))
    assert dropped.names == ("A", "B", "D")
    assert dropped.chemical == Edges([0], [1], [2])


def test_missing_transmitters_are_empty_and_signs_ask_for_them():
    made = rows("A,B,2,chemical", neurons={"A": {"transmitter": "unknown"}, "B": {}})
    assert made.transmitters == ("", "")


def test_names_that_differ_by_leading_zeros():
    lines = "VB1,AVA,2,chemical", "VB01,AVA,1,chemical", "VB010,AVA,4,chemical"
    refused(*lines, message="names differ by leading zeros alone: VB01/VB1; zeros=")
    merged = rows(*lines, rules=Rules(zeros="merge"))
    assert merged.names == ("VB1", "AVA", "VB010")  # ten, not one
    assert merged.synapses("VB1", "AVA") == 3
    kept = rows(*lines, rules=Rules(zeros="keep"))
    assert kept.names == ("VB1", "AVA", "VB01", "VB010")


def test_names_that_differ_by_leading_zeros_in_table_and_rows():
    known = {"neurons": {"VB1": {"class": "VB"}, "AVA": {}}}
    refused("VB01,AVA,2,chemical", **known, message="VB01/VB1")
    merged = rows("VB01,AVA,2,chemical", **known, rules=Rules(zeros="merge"))
    assert dict(zip(merged.names, merged.classes, strict=True)) == {"VB1": "VB", "AVA": ""}


def test_zeros_within_numbers_and_equal_spellings_are_no_matter():
    made = rows("VB10,VB01,2,chemical", "VB01,VB100,2,chemical")
    assert made.names == ("VB10", "VB01", "VB100")


def test_cells_that_are_not_neurons():
    lines = "VA1,MDL05,2,chemical", "VA1,AVAL,1,chemical", "GLRDL,AVAL,1,gap"
    kept = rows(*lines, naming="worm")
    assert kept.kinds == ("neuron", "muscle", "neuron", "other")
    assert kept.notes[0] == "2 cells are not neurons: MDL05, GLRDL, kept"
    dropped = rows(*lines, naming="worm", rules=Rules(cells="drop"))
    assert dropped.names == ("VA1", "AVAL")
    assert dropped.chemical == Edges([0], [1], [1])
    assert len(dropped.electrical) == 0
    refused(
        *lines, naming="worm", rules=Rules(cells="error"), message="2 cells are not neurons: MDL05"
    )


@pytest.mark.parametrize("name", ["", "  ", None, float("nan")])
def test_rows_without_a_name(name):
    with pytest.raises(WiringError, match="row 2 has no name of a cell"):
        Connectome.from_rows(["A", name], ["B", "C"], [1, 1])


def test_unknown_types():
    refused("A,B,1,telepathic", message="row 1 has the type 'telepathic', expected one of chem")


def test_a_file_without_rows():
    with pytest.raises(WiringError, match="holds no connections"):
        load(pd.DataFrame({"pre": [], "post": []}))


def test_rules_that_are_none():
    with pytest.raises(WiringError, match="one_sided_gap must be one of mirror, drop, error"):
        Rules(one_sided_gap="both")
    with pytest.raises(WiringError, match="rules must be Rules"):
        Connectome.from_rows(["A"], ["B"], [1], rules={"zeros": "merge"})


def test_identifiers_that_have_lost_digits():
    frame = pd.DataFrame({"pre_root_id": [7.2e17], "post_root_id": [7.3e17], "syn_count": [3]})
    with pytest.raises(WiringError, match="read it as text or as int64"):
        load(frame)


def brute_force(lines, unequal):
    """Return sums by pair, worked out row by row."""
    chemical, gaps = {}, {}
    for pre, post, count, kind in lines:
        table = chemical if kind == "chemical" else gaps
        table[pre, post] = table.get((pre, post), 0) + count
    pairs = {}
    for (one, other), count in gaps.items():
        if one < other:
            pairs[one, other] = max(count, gaps.get((other, one), 0))
        elif one > other and (other, one) not in gaps:
            pairs[other, one] = count
    return chemical, pairs


@pytest.mark.parametrize("seed", range(5))
def test_many_rows_against_dictionaries(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 400))
    ends = rng.integers(0, 12, (2, count))
    number = rng.integers(1, 9, count)
    kinds = rng.choice(["chemical", "gap"], count)
    names = np.array([f"c{k:02d}" for k in range(12)])
    lines = list(zip(names[ends[0]], names[ends[1]], number.tolist(), kinds, strict=True))
    made = Connectome.from_rows(*zip(*lines, strict=True))
    chemical, pairs = brute_force(lines, "larger")
    for edges, expected in ((made.chemical, chemical), (made.electrical, pairs)):
        found = {
            (made.names[j], made.names[i]): n
            for j, i, n in zip(edges.pre, edges.post, edges.count, strict=True)
        }
        if edges is made.electrical:
            found = {tuple(sorted(pair)): n for pair, n in found.items()}
        assert found == expected
