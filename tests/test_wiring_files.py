"""Files that are damaged, foreign or hostile, and files that cannot be written."""

import json
import os
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans.errors import WiringError
from elegans.wiring import AutoNCP, Wiring
from elegans.wiring.exchange.csv_edges import from_csv, to_csv
from elegans.wiring.exchange.networkx_graph import from_graphml, to_graphml

WIRING = AutoNCP(units=8, output_size=1).build(input_size=2)
FORMATS = {
    "json": (Wiring.to_json, Wiring.from_json),
    "csv": (to_csv, from_csv),
    "graphml": (to_graphml, from_graphml),
}


def changed(path, value):
    """Return WIRING as JSON with one field replaced, or left out if `value` is Ellipsis."""
    data = json.loads(WIRING.to_json())
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON, but it does not parse .* may be cut off"),
        (WIRING.to_json()[:200], "expected JSON, but it does not parse"),
        ("[" * 100_000, "expected JSON, but it does not parse"),
        ("1" * 10_000, "expected JSON"),
        ("[]", 'expected a JSON object with "format": "elegans.wiring", got \'list\''),
        ("{}", "expected a JSON object .* got None; write one with to_json"),
        (changed(["format"], "ncps"), "got 'ncps'"),
        (changed(["version"], 4), "reads versions 1 to 3 of the format, got 4; a newer version"),
        (changed(["version"], True), "got True"),
        (changed(["version"], ...), "got None"),
        (changed(["input_size"], ...), "field 'input_size' is missing, expected an integer"),
        (changed(["input_size"], "2"), "field 'input_size' must be an integer, got '2'"),
        (changed(["input_size"], 2.0), "must be an integer, got 2.0"),
        (changed(["layers"], {"motor": 1}), r"'layers' must be a list of layers, got \{'motor'"),
        (changed(["layers"], []), r"layers must begin with 'motor'"),
        (changed(["layers"], ["motor"]), r'must look like \{"name": "motor", "size": 1\}, got'),
        (changed(["layers", 0], {"name": "motor"}), "field 'layers.size' is missing"),
        (changed(["layers", 0, "name"], "inter"), "different names, got 'inter' twice"),
        (changed(["layers", 0, "name"], "first"), r"must begin with 'motor' .* \['first'"),
        (changed(["layers", 0, "size"], -1), "layer 'motor' must be .* at least 1, got -1"),
        (changed(["layers", 1, "size"], 10**12), "'command' must be at most 2147483647, got 10000"),
        (changed(["input_size"], 2**31), "input_size must be at most 2147483647, got 2147483648"),
        (changed(["names"], "abc"), "'names' must be a list of names, or null for the default"),
        (changed(["names"], [1] * 8), "field 'names' must hold text, got 1"),
        (changed(["names"], ["a"]), "names must hold 8 names, one a neuron, got 1"),
        (changed(["recurrent"], ...), "field 'recurrent' is missing"),
        (changed(["recurrent"], []), "'recurrent' must be an object with the lists source, tar"),
        (changed(["sensory", "target"], ...), "field 'sensory.target' is missing"),
        (changed(["sensory", "target"], 3), "field 'sensory.target' must be a list of integers"),
        (changed(["sensory", "target", 0], "3"), "must hold integers of 64 bits, got '3'"),
        (changed(["sensory", "target", 0], None), "must hold integers of 64 bits, got None"),
        (changed(["sensory", "target", 0], True), "must hold integers of 64 bits, got True"),
        (changed(["sensory", "target", 0], 2**63), "must hold integers of 64 bits, got 92233"),
        (changed(["sensory", "target", 0], 99), "has target 99, expected an index from 0 to 7"),
        (changed(["sensory", "target"], [0]), "field 'sensory': .* arrays of length"),
        (changed(["sensory", "polarity", 0], 0), "field 'sensory': .* has polarity 0"),
    ],
)
def test_damaged_json(text, message, tmp_path):
    path = tmp_path / "circuit.json"
    path.write_text(text)
    with pytest.raises(
        WiringError, match=f"(?s)cannot read a wiring from .*circuit.json: .*{message}"
    ):
        Wiring.load(path)


HEAD = "# elegans.wiring,1\n# sensory,in\n# motor,M\n# inter,A\n"
TABLE = HEAD + "source,target,polarity\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the first line '# elegans.wiring,1,synapses,...'"),
        ("source,target\n1,2\n", "expected the first line"),
        (HEAD.replace(",1", ",4"), "reads versions 1 to 3 of the format, got '4'"),
        (HEAD.replace(",1", ""), "reads versions 1 to 3 of the format, got ''; a newer"),
        (HEAD.replace(",1", ",1,neurons,2"), "line 1 must go on with 'synapses,' and their number"),
        (HEAD.replace(",1", ",1,synapses"), "or end after the version, got 'synapses'"),
        (
            TABLE.replace(",1", ",1,synapses,x"),
            "line 1 announces x synapses, but the table holds 0",
        ),
        (HEAD, "line 5 must name the columns source,target,polarity, got ''"),
        (HEAD + "source,target\nA,M\n", "line 5 must name .* missing: polarity"),
        (TABLE + "A,M\n", "line 6 has 2 cells, expected 3; the file may be cut off"),
        (TABLE + "A,M,yes\n", "line 6: polarity must be 1 or -1, got 'yes'"),
        (TABLE + "in,A,1\nA,M,0\n", "line 7: polarity must be 1 or -1, got '0'"),
        (TABLE + "X,M,1\n", "line 6: the source 'X' is no neuron of any layer; add it"),
        (TABLE + "A,X,1\n", "line 6: the target 'X' is no neuron"),
        (TABLE + "A,in,1\n", "line 6: no synapse can lead to the input 'in'"),
        (TABLE + '"A,M,1\n', "line 6 is not valid CSV"),
        (TABLE.replace("# motor,M\n", ""), "layers must begin with 'motor'"),
        (TABLE.replace("# motor,M\n", "# motor\n"), "layer 'motor' must be .* got 0"),
        (TABLE.replace("# sensory,in\n", ""), r"expected a line '# sensory,\.\.\.'"),
        (TABLE.replace("inter", "motor"), "line 4: layer 'motor' is listed twice"),
        (TABLE.replace("inter,A", "inter,M"), "names of neurons must be unique, got 'M'"),
        (TABLE.replace("inter,A", 'inter,"A'), "line 4 is not valid CSV"),
    ],
)
def test_damaged_csv(text, message, tmp_path):
    path = tmp_path / "circuit.csv"
    path.write_text(text)
    with pytest.raises(WiringError, match=f"cannot read a wiring from .*circuit.csv: .*{message}"):
        Wiring.load(path)


def test_a_table_that_lacks_a_line_or_has_one_twice():
    lines = to_csv(WIRING).splitlines(keepends=True)
    count = WIRING.synapse_count + WIRING.sensory_synapse_count
    for changed, found in ((lines[:-1], count - 1), ([*lines, lines[-1]], count + 1)):
        message = f"line 1 announces {count} synapses, but the table holds {found}; it may be cut"
        with pytest.raises(WiringError, match=message):
            from_csv("".join(changed))
        by_hand = "".join(changed).replace(f",synapses,{count}", "")
        assert from_csv(by_hand).synapse_count == WIRING.synapse_count + found - count


GRAPHML = to_graphml(WIRING)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected GraphML, but it does not parse"),
        ("<a/>", "expected GraphML, but it does not parse"),
        (GRAPHML[:400], "expected GraphML, but it does not parse .* may be cut off"),
        (GRAPHML.replace('<key id="d2"', '<key id="d9"'), "expected GraphML"),
        (GRAPHML.replace('attr.type="long"', 'attr.type="complex"'), "expected GraphML"),
        (GRAPHML.replace('<data key="d3">0<', '<data key="d3">zero<'), "expected GraphML"),
        (GRAPHML.replace('edgedefault="directed"', 'edgedefault="undirected"'), "a DiGraph"),
        (GRAPHML.replace('target="motor_0"', 'target="nobody"'), "'nobody' must have the attr"),
        (GRAPHML.replace(">motor<", ">output<"), "layers must begin with 'motor'"),
        (GRAPHML.replace('<data key="d5">1</data>', ""), "attribute 'polarity', 1 or -1, got None"),
        (GRAPHML.replace('<data key="d1">1<', '<data key="d1">4<'), "versions 1 to 3 .* got 4"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + GRAPHML, "without a document type declaration"),
    ],
)
def test_damaged_graphml(text, message, tmp_path):
    path = tmp_path / "circuit.graphml"
    path.write_text(text)
    with pytest.raises(WiringError, match=f"(?s)cannot read a .*circuit.graphml: .*{message}"):
        Wiring.load(path)


def test_graphml_whose_version_is_text():
    number, text = (f'attr.name="version" attr.type="{kind}"' for kind in ("long", "string"))
    assert number in GRAPHML
    assert from_graphml(GRAPHML.replace(number, text)) == WIRING


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(FORMATS)), st.data())
def test_garbage_is_a_wiring_or_a_wiring_error(name, data):
    write, read = FORMATS[name]
    text = write(WIRING)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        width = data.draw(st.integers(0, 40))
        text = text[:at] + data.draw(st.text(max_size=5)) + text[at + width :]
    with suppress(WiringError):  # any other exception fails the test
        assert isinstance(read(text), Wiring)


@pytest.mark.parametrize("suffix", ["json", "csv", "graphml"])
def test_bytes_that_are_no_text(tmp_path, suffix):
    path = tmp_path / f"circuit.{suffix}"
    path.write_bytes(b"{\xff\xfe\x00")
    with pytest.raises(WiringError, match=r"circuit\.\w+: expected UTF-8 text, but byte 1 is none"):
        Wiring.load(path)


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "circuit.csv"
    path.write_text(to_csv(WIRING), encoding="utf-8-sig")
    assert Wiring.load(path) == WIRING


@pytest.mark.parametrize("name", ["circuit.txt", "circuit", "circuit.json.gz"])
def test_other_suffixes(tmp_path, name):
    message = r"must be one of \.json, \.csv, \.graphml, got '.*circuit"
    with pytest.raises(WiringError, match=message):
        WIRING.save(tmp_path / name)
    with pytest.raises(WiringError, match=message):
        Wiring.load(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "cause"), [("circuit.json", FileNotFoundError), ("", OSError)])
def test_a_file_that_cannot_be_read(tmp_path, name, cause):
    (tmp_path / "folder.json").mkdir()
    path = tmp_path / (name or "folder.json")
    message = rf"cannot read a wiring from .*{path.name}: [A-Z].*; check the path, which starts at"
    with pytest.raises(WiringError, match=message) as caught:
        Wiring.load(path)
    assert isinstance(caught.value.__cause__, cause)


def test_a_file_that_cannot_be_written(tmp_path):
    path = tmp_path / "missing" / "circuit.json"
    message = r"cannot write a wiring to .*missing.circuit\.json: No such .*; the folder must exist"
    with pytest.raises(WiringError, match=message) as caught:
        WIRING.save(path)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "circuit.json"
    WIRING.save(path)

    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(
        WiringError, match=r"cannot write .*circuit\.json: no space left; the folder"
    ):
        AutoNCP(units=20, output_size=3).build(4).save(path)
    monkeypatch.undo()
    assert Wiring.load(path) == WIRING
    assert [file.name for file in tmp_path.iterdir()] == ["circuit.json"]


def test_saving_through_a_link_keeps_the_link(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "circuit.json")
    WIRING.save(tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert Wiring.load(tmp_path / "circuit.json") == WIRING
