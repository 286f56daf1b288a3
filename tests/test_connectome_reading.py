"""Readers: what Gephi, Cytoscape, igraph, graph-tool, neuPrint, FlyWire, c302 and cect write."""

import gzip
import json
import re
import subprocess
import sys
from importlib.util import find_spec

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from elegans.errors import MissingExtraError, WiringError
from elegans.wiring.connectome import Connectome, Edges, Rules, datasets, load
from elegans.wiring.connectome.rows import EdgeRows

SMALL = Connectome(["A", "B", "C"], Edges([0, 1], [1, 2], [3, 5]))


def edges_of(connectome):
    return {
        (connectome.names[j], connectome.names[i]): (n, s)
        for j, i, n, s in zip(
            connectome.chemical.pre,
            connectome.chemical.post,
            connectome.chemical.count,
            connectome.chemical.sign,
            strict=True,
        )
    }


TABLES = {
    "cook.csv": "Source,Target,Weight,Type\nA , B  ,3,chemical\nB , C ,5,chemical\n"
    "A,C,2,electrical\n",
    "nemanode.csv": "pre,post,type,synapses\nA,B,chemical,3\nB,C,chemical,5\nC,A,electrical,2\n",
    "gephi.csv": "Source,Target,Type,Id,Label,Weight\nA,B,Directed,0,,3.0\nB,C,Directed,1,,5.0\n",
    "tabs.tsv": "pre\tpost\tsynapses\nA\tB\t3\nB\tC\t5\n",
    "semicolons.txt": "from;to;count\nA;B;3\nB;C;5\n",
    "bom.csv": "\ufeffpre,post,weight\r\nA,B,3\r\nB,C,5\r\n",
    "quoted.csv": '"pre","post","weight"\n"A","B",3\n"B","C",5\n',
    "no_counts.csv": "pre,post\nA,B\nA,B\nA,B\nB,C\nB,C\nB,C\nB,C\nB,C\n",
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("chunk", [1, 2, 10**6])
def test_tables_of_text(name, chunk, tmp_path):
    path = tmp_path / name
    path.write_bytes(TABLES[name].encode())
    made = load(path, chunk_rows=chunk)
    assert made.names == SMALL.names
    assert made.chemical == SMALL.chemical
    assert made.electrical.synapses == (2 if "electrical" in TABLES[name] else 0)


def test_compressed_text_and_excel_and_parquet(tmp_path):
    frame = pd.DataFrame({"Source": ["A", "B"], "Target": ["B", "C"], "Weight": [3, 5]})
    (tmp_path / "edges.csv.gz").write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    paths = ["edges.csv.gz"]
    for suffix, package in (
        (".xlsx", "openpyxl"),
        (".parquet", "pyarrow"),
        (".feather", "pyarrow"),
    ):
        if find_spec(package):
            write = {".xlsx": "to_excel", ".parquet": "to_parquet", ".feather": "to_feather"}[
                suffix
            ]
            options = {} if suffix == ".feather" else {"index": False}
            getattr(frame, write)(tmp_path / f"edges{suffix}", **options)
            paths.append(f"edges{suffix}")
    assert len(paths) == 4
    for path in paths:
        assert load(tmp_path / path, progress=False).chemical == SMALL.chemical
    assert load(frame).chemical == SMALL.chemical


def test_a_bar_is_shown_when_asked_for(tmp_path, capsys):
    (tmp_path / "edges.csv").write_text(TABLES["cook.csv"])
    load(tmp_path / "edges.csv")
    assert capsys.readouterr().err == ""
    load(tmp_path / "edges.csv", progress=True)
    assert "edges.csv: 100%" in capsys.readouterr().err


def test_columns_by_name(tmp_path):
    path = tmp_path / "edges.csv"
    path.write_text("neuron 1,neuron 2,n,weight,kind\nA,B,3,9,x\nB,C,5,9,y\n")
    with pytest.raises(WiringError, match=r"edges.csv: expected a column for 'pre' and 'post'"):
        load(path)
    columns = {"pre": "neuron 1", "post": "Neuron 2", "count": "n"}
    assert load(path, columns=columns).chemical == SMALL.chemical
    assert load(path, columns={**columns, "count": None}).chemical.count.tolist() == [1, 1]
    with pytest.raises(WiringError, match="row 1 has the type 'x'"):
        load(path, columns={**columns, "type": "kind"})
    with pytest.raises(WiringError, match="no column 'm' for 'count'"):
        load(path, columns={**columns, "count": "m"})
    with pytest.raises(WiringError, match="columns may name pre, post, count"):
        load(path, columns={**columns, "colour": "kind"})


FLYWIRE = """pre_root_id,post_root_id,neuropil,syn_count,nt_type
720575940596125868,720575940608552405,LOP_R,5,ACH
720575940596125868,720575940608552405,LO_R,7,ACH
720575940608552405,720575940596125868,LO_R,6,GABA
720575940608552405,720575940596125868,ME_R,8,GLUT
720575940608552405,720575940611849187,ME_R,1,GABA
"""


def test_flywire_identifiers_are_exact_and_transmitters_those_of_most_synapses(tmp_path):
    path = tmp_path / "connections.csv"
    path.write_text(FLYWIRE)
    made = load(path, chunk_rows=2)
    one, two, three = "720575940596125868", "720575940608552405", "720575940611849187"
    assert made.names == (one, two, three)
    assert made.synapses(one, two) == 12
    assert made.transmitters == ("acetylcholine", "glutamate", "")
    table = tmp_path / "classification.csv"
    table.write_text(f"root_id,flow,super_class,class,side\n{one},intrinsic,optic,ME,left\n")
    other = tmp_path / "neurons.csv"
    other.write_text(f"root_id,nt_type,nt_type_score\n{two},GABA,0.9\n{one},,0\n{three},SER,0.4\n")
    place = tmp_path / "coordinates.csv"
    place.write_text(f"root_id,position,supervoxel_id\n{one},[1 2.5 -3],7\n{one},[9 9 9],8\n")
    # The first says which cells there are.
    with pytest.raises(WiringError, match="2 cells are not in the table of neurons"):
        load(path, neurons=[table, other, place])
    told = load(path, neurons=[other, table, place])
    assert told.classes == ("ME", "", "")
    assert told.sides == ("left", "", "")
    assert told.transmitters == ("acetylcholine", "gaba", "serotonin")
    assert told.positions[0].tolist() == [1, 2.5, -3]
    assert np.isnan(told.positions[1:]).all()


def test_tables_of_neurons_that_are_none(tmp_path):
    frame = pd.DataFrame({"pre": ["A"], "post": ["B"]})
    (tmp_path / "cells.csv").write_text("colour,class\nred,K\n")
    (tmp_path / "broken.csv").write_bytes(b"name,class\n\xff\xfe,K\n")
    for neurons, message in (
        (tmp_path / "missing.csv", "cannot read a table of neurons from"),
        (tmp_path / "cells.csv", "needs a column of their names, one of name, root_id"),
        (tmp_path / "broken.csv", "cannot read a table of neurons from"),
        (3, "neurons must be a table"),
        ({"A": "K"}, "neurons must map names to fields"),
    ):
        with pytest.raises(WiringError, match=message):
            load(frame, neurons=neurons)


def test_neuprint_tables(tmp_path):
    path = tmp_path / "traced-total-connections.csv"
    path.write_text("bodyId_pre,bodyId_post,weight\n200326126,264083994,2\n264083994,200326126,9\n")
    names = tmp_path / "traced-neurons.csv"
    names.write_text("bodyId,type,instance\n200326126,CT1,CT1_L\n264083994,KCg-m,KCg-m_R\n")
    made = load(path, neurons=names)
    assert made.synapses("264083994", "200326126") == 9
    assert made.classes == ("CT1", "KCg-m")


def test_identifiers_that_are_not_whole(tmp_path):
    path = tmp_path / "connections.csv"
    path.write_text("pre_root_id,post_root_id,syn_count\n12,13,1\nx,13,1\n")
    with pytest.raises(WiringError, match=r"after row 0: .*whole numbers as identifiers"):
        load(path)


@pytest.mark.parametrize("damage", ["cut", "ragged", "binary", "empty"])
def test_damaged_text(damage, tmp_path):
    path = tmp_path / "edges.csv.gz" if damage == "cut" else tmp_path / "edges.csv"
    text = "pre,post,synapses\n" + "A,B,1\n" * 5000
    content = {
        "cut": gzip.compress(np.random.default_rng(0).bytes(4000) + text.encode())[:3000],
        "ragged": b"pre,post,synapses\nA,B,1\nA,B,1,2,3\n",
        "binary": b"pre,post,synapses\n\xff\xfe,B,1\n",
        "empty": b"",
    }[damage]
    path.write_bytes(content)
    with pytest.raises(WiringError, match=r"edges\.csv"):
        load(path)


# --- matrices ------------------------------------------------------------------------------


def test_matrices(tmp_path):
    frame = pd.DataFrame(
        [[0, 5, 0], [0, 0, 0], [0, 0, 3]], index=["B", "C", "A"], columns=["B", "C", "A"]
    )
    assert edges_of(load(frame)) == {("B", "C"): (5, 0), ("A", "A"): (3, 0)}
    turned = frame[["A", "B", "C"]]  # the same cells in another order of columns
    assert edges_of(load(turned)) == edges_of(load(frame))
    frame.to_csv(tmp_path / "matrix.csv")
    frame.to_csv(tmp_path / "matrix.tsv", sep="\t")
    frame.to_excel(tmp_path / "matrix.xlsx")
    for suffix in ("csv", "tsv", "xlsx"):
        assert load(tmp_path / f"matrix.{suffix}") == load(frame)
    both = Connectome.from_adjacency(frame, electrical=frame + frame.T)
    assert both.gap_junctions("B", "C") == 5
    assert np.array_equal(both.adjacency(), frame.to_numpy())


def test_matrices_that_are_none():
    for matrix, message in (
        ([[0, 1]], "must be square"),
        ([[0, 1], [1]], "must be a matrix of counts"),
        ([[0, float("nan")], [1, 0]], "fill empty cells with 0"),
        (pd.DataFrame([[0]], index=["A"], columns=["B"]), "must name the same cells"),
    ):
        with pytest.raises(WiringError, match=message):
            Connectome.from_adjacency(matrix)
    with pytest.raises(WiringError, match="names must hold one for each of 2 cells"):
        Connectome.from_adjacency([[0, 1], [1, 0]], ["A"])
    assert len(Connectome.from_adjacency([[0]], ["A"]).chemical) == 0


# --- graphs --------------------------------------------------------------------------------

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
IGRAPH = f"""{HEAD}
<key id="v_name" for="node" attr.name="name" attr.type="string"/>
<key id="v_type" for="node" attr.name="cell_type" attr.type="string"/>
<key id="e_weight" for="edge" attr.name="weight" attr.type="double"/>
<graph id="G" edgedefault="directed">
<node id="n0"><data key="v_name">A</data><data key="v_type">sensor</data></node>
<node id="n1"><data key="v_name">B</data></node>
<node id="n2"><data key="v_name">C</data></node>
<edge source="n0" target="n1"><data key="e_weight">3</data></edge>
<edge source="n1" target="n2"><data key="e_weight">5</data></edge>
</graph></graphml>"""
GRAPH_TOOL = f"""{HEAD}
<key id="key0" for="node" attr.name="_graphml_vertex_id" attr.type="string"/>
<key id="key1" for="node" attr.name="pos" attr.type="vector_double"/>
<key id="key2" for="node" attr.name="name" attr.type="string"/>
<key id="key3" for="edge" attr.name="synapses" attr.type="short"/>
<graph id="G" edgedefault="directed" parse.nodeids="canonical">
<node id="n0"><data key="key1">0, 1</data><data key="key2">A</data></node>
<node id="n1"><data key="key1">0, 2</data><data key="key2">B</data></node>
<node id="n2"><data key="key2">C</data></node>
<edge id="e0" source="n0" target="n1"><data key="key3">3</data></edge>
<edge id="e1" source="n1" target="n2"><data key="key3">5</data></edge>
</graph></graphml>"""
CYTOSCAPE = f"""{HEAD}
<key id="shared name" for="node" attr.name="shared name" attr.type="string"/>
<key id="SUID" for="node" attr.name="SUID" attr.type="long"/>
<key id="interaction" for="edge" attr.name="interaction" attr.type="string"/>
<key id="synapses" for="edge" attr.name="synapses" attr.type="int"/>
<graph edgedefault="directed">
<node id="62"><data key="shared name">A</data><data key="SUID">62</data></node>
<node id="63"><data key="shared name">B</data></node>
<node id="64"><data key="shared name">C</data></node>
<edge source="62" target="63"><data key="interaction">interacts with</data>
<data key="synapses">3</data></edge>
<edge source="63" target="64"><data key="interaction">chemical</data>
<data key="synapses">5</data></edge>
</graph></graphml>"""
GEPHI = """<?xml version='1.0' encoding='UTF-8'?>
<gexf xmlns="http://gexf.net/1.3" version="1.3" xmlns:viz="http://gexf.net/1.3/viz">
<graph defaultedgetype="directed">
<attributes class="node"><attribute id="m" title="modularity" type="integer"/></attributes>
<nodes>
<node id="0" label="A"><attvalues><attvalue for="m" value="1"/></attvalues>
<viz:position x="1.0" y="2.0" z="3.0"/></node>
<node id="1" label="B"/><node id="2" label="C"/>
</nodes>
<edges><edge id="0" source="0" target="1" weight="3.0"/>
<edge id="1" source="1" target="2" weight="5.0"/></edges>
</graph></gexf>"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("igraph.graphml", IGRAPH),
        ("graph_tool.graphml", GRAPH_TOOL),
        ("cytoscape.graphml", CYTOSCAPE),
        ("gephi.gexf", GEPHI),
    ],
)
def test_graphs_of_other_programs(name, text, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    made = load(path)
    assert made.names == SMALL.names
    assert made.chemical == SMALL.chemical
    if "igraph" in name:
        assert made.classes == ("sensor", "", "")
    if "gephi" in name:
        assert made.positions[0].tolist() == [1, 2, 3]


def test_an_undirected_file(tmp_path):
    path = tmp_path / "undirected.graphml"
    path.write_text(IGRAPH.replace('"directed"', '"undirected"'))
    with pytest.raises(WiringError, match=r"row 1 \(A -- B\) has no direction, as 2 rows have"):
        load(path)
    assert len(load(path, rules=Rules(undirected="both")).chemical) == 4
    assert load(path, rules=Rules(undirected="electrical")).electrical == SMALL.chemical


def test_attributes_by_name(tmp_path):
    graph = nx.MultiDiGraph()
    graph.add_node(0, gene="A", label="x")
    graph.add_node(1, gene="B", label="x")
    graph.add_edge(0, 1, size=4, weight=9.5, way="gap")
    graph.add_edge(1, 0, size=4, weight=9.5, way="gap")
    graph.add_edge(0, 1, size=2, weight=9.5, way="inhibitory")
    columns = {"name": "gene", "count": "size", "type": "way"}
    made = load(graph, columns=columns)
    assert made.gap_junctions("A", "B") == 4
    assert edges_of(made) == {("A", "B"): (2, -1)}
    assert load(graph, columns={"count": "size"}).names == ("0", "1")  # labels do not differ
    for wrong, message in (
        ({"count": "weigth"}, "no edge has the attribute 'weigth'"),
        ({"name": "label"}, "must name each node, each by another name"),
        ({"pre": "x"}, "columns of a graph may name"),
    ):
        with pytest.raises(WiringError, match=message):
            load(graph, columns=wrong)


def test_graphs_and_back():
    made = Connectome(
        ["A", "B", "C"],
        Edges([0, 0, 1], [1, 1, 2], [3, 2, 5], [1, -1, 0]),
        Edges([0], [2], [4]),
        classes=["k", "", "m"],
        transmitters=["gaba", "", ""],
        sides=["left", "", ""],
        positions=[[1, 2, 3], [np.nan] * 3, [0, 0, 0]],
        kinds=["neuron", "muscle", "other"],
    )
    assert load(made.to_networkx()) == made


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cut.graphml", IGRAPH[:500]),
        ("cut.gexf", GEPHI[:300]),
        ("bomb.graphml", '<!DOCTYPE x [<!ENTITY a "b">]>' + IGRAPH),
        ("deep.gexf", "<a>" * 100 + "</a>" * 100),
        ("empty.nml", ""),
        ("no_network.nml", "<neuroml/>"),
        ("bomb.nml", "<!DOCTYPE x><neuroml/>"),
    ],
)
def test_damaged_graphs(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(WiringError, match=re.escape(name)):
        load(tmp_path / name)


NEUROML = """<neuroml xmlns="http://www.neuroml.org/schema/neuroml2" id="c302_X"><network id="net">
<population id="AVAL" component="generic_neuron_iaf_cell" type="populationList" size="1">
  <property tag="neurotransmitter" value="Acetylcholine"/>
  <instance id="0"><location x="-0.5" y="-271.5" z="37.9"/></instance></population>
<population id="PVCL" component="generic_neuron_iaf_cell" type="populationList" size="1"/>
<population id="DA" component="generic_neuron_iaf_cell" type="populationList" size="2">
  <instance id="0"><location x="0" y="0" z="1"/></instance>
  <instance id="1"><location x="0" y="0" z="2"/></instance></population>
<population id="MDL01" component="generic_muscle_cell" type="populationList" size="1"/>
<projection id="p1" presynapticPopulation="PVCL" postsynapticPopulation="AVAL" synapse="exc_syn">
  <connection id="0" preCellId="../PVCL/0/c" postCellId="../AVAL[0]"/></projection>
<projection id="p2" presynapticPopulation="AVAL" postsynapticPopulation="DA" synapse="exc_syn">
  <connectionWD id="0" preCellId="../AVAL/0/c" postCellId="../DA/1/c" weight="3.0" delay="0ms"/>
</projection>
<continuousProjection id="p3" presynapticPopulation="DA" postsynapticPopulation="MDL01">
  <continuousConnectionInstanceW id="0" preCell="../DA/1/c" postCell="../MDL01/0/c"
    preComponent="silent" postComponent="neuron_to_muscle_inh_syn" weight="2"/>
</continuousProjection>
<electricalProjection id="p4" presynapticPopulation="AVAL" postsynapticPopulation="PVCL">
  <electricalConnectionInstanceW id="0" preCell="../AVAL/0/c" postCell="../PVCL/0/c"
    synapse="elec" weight="5"/></electricalProjection>
</network></neuroml>"""


def test_neuroml(tmp_path):
    path = tmp_path / "c302.net.nml"
    path.write_text(NEUROML)
    made = load(path)
    assert made.names == ("AVAL", "PVCL", "DA_0", "DA_1", "MDL01")
    assert made.kinds == ("neuron", "neuron", "neuron", "neuron", "muscle")
    assert made.classes == ("", "", "DA", "DA", "")
    assert made.transmitters[0] == "acetylcholine"
    assert made.positions[3].tolist() == [0, 0, 2]
    assert edges_of(made) == {
        ("PVCL", "AVAL"): (1, 0),
        ("AVAL", "DA_1"): (3, 0),
        ("DA_1", "MDL01"): (2, -1),
    }
    assert made.gap_junctions("PVCL", "AVAL") == 5
    path.write_text(NEUROML.replace('preCell="../DA/1/c"', 'preCell="../XX/1/c"'))
    with pytest.raises(WiringError, match=r"presynaptic cell '\.\./XX/1/c', which is not there"):
        load(path)


# --- datasets ------------------------------------------------------------------------------


@pytest.fixture
def toolbox(tmp_path, monkeypatch):
    """A package laid out as cect is, with two datasets of a few cells."""
    folder = tmp_path / "site" / "cect"
    (folder / "cache").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    nodes = ["AVAL", "AVAR", "MDL05", "VB01"]
    signed = {
        "ExcitatoryChem": [[0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 3, 0]],
        "InhibitoryChem": [[0, 0, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        "Generic_GJ": [[1, 6, 0, 0], [6, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        "Contact": [[0.5] * 4] * 4,
    }
    released = {
        "Acetylcholine": [[0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        "GABA": [[0, 0, 1, 0], [4, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    }
    for name, layers in (
        ("Small2020Reader", signed),
        ("ReleasedDataReader", released),
        ("TouchReader", {"Contact": [[1] * 4] * 4}),
    ):
        data = {"nodes": nodes, "connections": layers, "summary": ""}
        (folder / "cache" / f"{name}.json").write_text(json.dumps(data))
    monkeypatch.delitem(sys.modules, "cect", raising=False)
    monkeypatch.syspath_prepend(folder.parent)
    yield
    sys.modules.pop("cect", None)


def test_datasets_of_cect_by_name(toolbox):
    assert datasets() == ["ReleasedDataReader", "Small2020Reader", "TouchReader"]
    made = load("Small2020")
    assert made.classes == ("AVA", "AVA", "", "VB")
    assert made.sides == ("left", "right", "", "")
    assert made.kinds == ("neuron", "neuron", "muscle", "neuron")
    assert edges_of(made) == {
        ("AVAL", "AVAR"): (2, 1),
        ("AVAR", "AVAL"): (4, -1),
        ("VB01", "MDL05"): (3, 1),
    }
    assert made.electrical == Edges([0], [1], [6])
    assert "layers that are no synapses were left out: Contact" in made.notes
    assert load("Released").transmitters == ("acetylcholine", "gaba", "", "")
    with pytest.raises(WiringError, match="holds Contact and no synapses"):
        load("Touch")
    with pytest.raises(WiringError, match="neither a file nor a dataset of cect, which has Rel"):
        load("Cook2091")


def test_without_cect(monkeypatch):
    monkeypatch.setitem(sys.modules, "cect", None)
    with pytest.raises(MissingExtraError, match=r"pip install elegans\[connectome\]"):
        load("Cook2019Herm")


def test_the_published_connectome():
    pytest.importorskip("cect")
    made = load("Cook2019Herm")
    neurons = [i for i in range(len(made)) if made.kinds[i] == "neuron"]
    assert len(neurons) == 302
    assert len({made.classes[i] for i in neurons}) == 118


# --- files of one's own --------------------------------------------------------------------


def test_saved_and_loaded(tmp_path):
    made = Connectome(
        ["ü", "B", "C"],
        Edges([0, 0, 1], [1, 1, 2], [3, 2, 5.5], [1, -1, 0]),
        Edges([0], [2], [4]),
        classes=["k", "", "m"],
        transmitters=["gaba", "", ""],
        positions=[[1, 2, 3], [np.nan] * 3, [0, 0, 0]],
        kinds=["neuron", "muscle", "other"],
        guessed=[True, False, False],
        notes=["read\nfrom a file", "then changed"],
    )
    path = tmp_path / "worm.npz"
    made.save(path)
    again = load(path)
    assert again == made
    assert again.notes == ("read from a file", "then changed")
    SMALL.save(path)
    assert load(path) == SMALL
    assert load(path).notes == ()


def test_damaged_files_of_ones_own(tmp_path):
    path = tmp_path / "worm.npz"
    SMALL.save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"PK" + whole[2:300], b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(WiringError, match=r"worm\.npz"):
            load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(WiringError, match="is missing or damaged"):
        load(path)
    np.savez_compressed(path, a=np.zeros(3))
    with pytest.raises(WiringError, match="expected an uncompressed"):
        load(path)
    with pytest.raises(WiringError, match=r"is saved as \.npz"):
        SMALL.save(tmp_path / "worm.json")
    with pytest.raises(WiringError, match="cannot write a connectome"):
        SMALL.save(tmp_path / "nowhere" / "worm.npz")


def test_files_that_grow_without_end(tmp_path, monkeypatch):
    """A small file that holds a large text is refused before there is no memory left."""
    (tmp_path / "line.csv.gz").write_bytes(gzip.compress(b"a" * (2**24 + 1)))
    with pytest.raises(WiringError, match="the first line has 16777216 bytes or more"):
        load(tmp_path / "line.csv.gz")
    (tmp_path / "graph.graphml.gz").write_bytes(gzip.compress(IGRAPH.encode()))
    assert load(tmp_path / "graph.graphml.gz").chemical == SMALL.chemical
    monkeypatch.setattr("elegans.wiring.connectome.loading.available_bytes", lambda: 1000)
    with pytest.raises(WiringError, match="the text has more than 100 bytes"):
        load(tmp_path / "graph.graphml.gz")
    with pytest.raises(WiringError, match="column of transmitters has 101 of them"):
        load(pd.DataFrame({"pre": "A", "post": "B", "nt_type": [f"t{k}" for k in range(101)]}))


def test_files_that_are_not_there(tmp_path):
    for name in ("missing.csv", "missing.npz", "missing.graphml", "missing.parquet"):
        with pytest.raises(WiringError, match="cannot read a connectome from"):
            load(tmp_path / name)
    (tmp_path / "worm.doc").write_text("x")
    with pytest.raises(WiringError, match=r"must be one of \.csv"):
        load(tmp_path / "worm.doc")
    with pytest.raises(WiringError, match="takes a path, a DataFrame, a graph"):
        load(3)


def test_rows_hold_few_bytes():
    rows = EdgeRows()
    for _ in range(3):
        rows.add(["A"] * 1000, ["B"] * 1000, np.ones(1000))
    assert sum(column.nbytes for part in rows._parts for column in part) == 3000 * 13


def test_reading_needs_no_torch():
    code = (
        "import sys; from elegans.wiring.connectome import tap_withdrawal; tap_withdrawal(); "
        "print([m for m in ('torch', 'matplotlib', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
