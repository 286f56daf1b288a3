"""Pages in which circuits run: what is in them, and the command that writes them."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import elegans
from elegans.cli import main
from elegans.data import Scale, Scales, Sequence
from elegans.errors import InputError
from elegans.export.playing import CARTPOLE, MOST_SEQUENCES, MOST_STEPS, page
from elegans.export.replay import replayed
from elegans.pruning import Edit
from elegans.training import RunFolder
from elegans.wiring import AutoNCP, FullyConnected, Synapses, Wiring

DEMO = Path(__file__).parent / "demo_run"
LARGEST = 150_000


def document_of(exported):
    """Return what a page is about, and the whole page."""
    (text,) = (content.decode() for content in exported.files.values())
    found = re.findall(r'<script type="application/json" id="document">(.*?)</script>', text, re.S)
    assert len(found) == 1
    return json.loads(found[0]), text


def circuit(inputs=2, outputs=1, units=12, **options):
    generator = torch.Generator().manual_seed(0)
    return elegans.LTC(inputs, AutoNCP(units, outputs, seed=0), generator=generator, **options)


def sequences(count=2, steps=30, inputs=2, outputs=1):
    draw = np.random.default_rng(0)
    return [
        Sequence(
            f"walk {k}",
            draw.normal(size=(steps, inputs)),
            draw.normal(size=(steps, outputs)),
            np.ones(steps),
        )
        for k in range(count)
    ]


DRIVES = {"hand": "hand", "cartpole": "cartpole", "recording": sequences()}


@pytest.mark.parametrize("kind", DRIVES)
def test_a_page_is_one_small_file_that_asks_for_nothing(kind):
    document, text = document_of(page(circuit(), drive=DRIVES[kind]))
    assert document["drive"]["kind"] == kind
    assert len(text) < LARGEST
    assert not re.search(r"https?://|url\(|src=|@import|fetch\(|XMLHttpRequest", text)
    assert "default-src 'none'" in text
    assert not re.search(r"\{\{ [a-z]+ \}\}", text)
    assert set(re.findall(r'href="([^"]*)"', text)) == {"data:,"}


def test_nodes_and_edges_are_those_of_the_circuit():
    model = circuit()
    wiring = model.wiring
    picture = document_of(page(model))[0]["picture"]
    assert picture["names"] == [*wiring.sensory_names, *wiring.names]
    assert [layer["name"] for layer in picture["layers"]] == [
        "sensory",
        *reversed(list(wiring.layers)),
    ]
    drawn = Counter((name, *row) for name, _, *row in picture["edges"])
    shift = wiring.input_size
    there = Counter()
    for name, synapses in (("sensory", wiring.sensory), ("recurrent", wiring.recurrent)):
        source = synapses.source + (shift if name == "recurrent" else 0)
        rows = zip(source, synapses.target + shift, synapses.polarity, strict=True)
        there.update((name, *map(int, row)) for row in rows)
    assert drawn == there
    assert picture["signed"]


def test_a_synapse_of_a_closed_form_has_no_sign_and_dense_maps_no_synapses():
    wired = document_of(page(elegans.CfC(2, AutoNCP(12, 1, seed=0))))[0]["picture"]
    assert {edge[4] for edge in wired["edges"]} == {0}
    assert not wired["signed"]
    dense = document_of(page(elegans.CfC(2, 6)))[0]["picture"]
    assert (dense["edges"], dense["too_many"], len(dense["nodes"])) == ([], False, 8)


@pytest.mark.parametrize(("units", "drawn"), [(200, True), (201, False)])
def test_a_large_circuit_is_drawn_without_synapses(units, drawn):
    synapses = Synapses([0] * 5, [1, 2, 3, 4, 5], [1] * 5)
    wiring = Wiring(1, {"motor": 1, "inter": units - 1}, synapses, Synapses([0], [1], [1]))
    picture = document_of(page(elegans.LTC(1, wiring)))[0]["picture"]
    assert picture["synapses"] == 6
    assert (len(picture["edges"]), picture["too_many"]) == ((6, False) if drawn else (0, True))


def test_names_are_text_and_end_no_script():
    odd = "</script><script>boom()</script>"
    wiring = Wiring(
        1,
        {"motor": 1},
        Synapses([0], [0], [1]),
        Synapses([0], [0], [1]),
        names=(odd,),
        sensory_names=("<b>",),
    )
    document, text = document_of(page(elegans.LTC(1, wiring), title="<i> & {{ script }}"))
    assert document["picture"]["names"] == ["<b>", odd]
    assert text.count("</script>") == 2
    assert "<title>&lt;i&gt; &amp; {{ script }}</title>" in text


def test_sequences_are_kept_in_the_units_of_the_data_and_shortened():
    many = sequences(MOST_SEQUENCES + 3, MOST_STEPS + 7)
    many[0].targets[2] = np.nan
    scales = Scales(Scale([5.0, 5.0], [2.0, 3.0]), Scale([1.0], [4.0]), 0.5)
    drive = document_of(page(elegans.Policy(circuit(), scales), drive=many))[0]["drive"]
    kept = drive["sequences"]
    assert (len(kept), drive["of"]) == (MOST_SEQUENCES, MOST_SEQUENCES + 3)
    assert {len(one["inputs"]) for one in kept} == {MOST_STEPS}
    assert {one["steps"] for one in kept} == {MOST_STEPS + 7}
    np.testing.assert_allclose(kept[1]["inputs"], many[1].inputs[:MOST_STEPS], rtol=1e-6)
    assert kept[0]["targets"][2] == [None]
    wide = [Sequence("wide", np.zeros((1000, 900)), np.zeros((1000, 1)), np.ones(1000))] * 2
    kept = document_of(page(circuit(900), drive=wide))[0]["drive"]["sequences"]
    assert [len(one["inputs"]) for one in kept] == [66]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"drive": "cartpole", "model": circuit(3)}, "position and angle"),
        ({"drive": sequences(inputs=3)}, "'walk 0' of 3 inputs and 1 targets, expected 2 and 1"),
        ({"drive": []}, "at least one"),
        ({"drive": "wave"}, "'hand', 'cartpole' or sequences"),
        ({"drive": [np.zeros((3, 2))]}, "sequences of elegans.data"),
        ({"seconds": 0.0}, "finite number above 0"),
        ({"seconds": float("nan")}, "finite number above 0"),
        ({"elapsed": "argument"}, "got elapsed='argument', expected a finite number"),
        ({"name": "a/b"}, "without a folder"),
        ({"title": " "}, "a text that is not empty"),
        ({"source": 5}, "got source=5, expected a text"),
        ({"model": circuit(mixed_memory=True)}, "mixed memory"),
        ({"model": circuit(solver="rosenbrock")}, "solver 'rosenbrock'"),
        ({"model": elegans.CTRNN(1, FullyConnected(1, self_connections=False))}, None),
    ],
)
def test_what_cannot_be_shown_is_refused_with_the_reason(arguments, said):
    arguments = {"model": circuit()} | arguments
    if said is None:  # a circuit without a recurrent synapse is shown
        assert document_of(page(**arguments))[0]["picture"]["synapses"] == 1
        return
    with pytest.raises(InputError, match=said):
        page(**arguments)


def test_more_neurons_than_a_browser_can_draw_are_refused():
    wiring = Wiring(1, {"motor": 1, "inter": 2000}, Synapses([], [], []), Synapses([0], [0], [1]))
    with pytest.raises(InputError, match=r"circuit of 2,001 neurons, expected at most 2,000"):
        page(elegans.LTC(1, wiring))


def test_the_constants_of_the_cart_are_those_of_the_simulator():
    gymnasium = pytest.importorskip("gymnasium")
    environment = gymnasium.make("CartPole-v1")
    physics = environment.unwrapped
    assert {
        "gravity": physics.gravity,
        "cart_mass": physics.masscart,
        "pole_mass": physics.masspole,
        "half_length": physics.length,
        "force": physics.force_mag,
        "step": physics.tau,
        "position": physics.x_threshold,
        "angle": physics.theta_threshold_radians,
        "start": 0.05,
        "max_steps": environment.spec.max_episode_steps,
    } == CARTPOLE


# --- the history -------------------------------------------------------------------------------


def wiring_at(history, step):
    """Return the synapses that a history shows at a step."""
    return Counter(
        (source, target)
        for source, target, _, since, until in history["synapses"]
        if since <= step and (until is None or until > step)
    )


def ends_of(wiring):
    shift = wiring.input_size
    pairs = Counter(zip(wiring.sensory.source, wiring.sensory.target + shift, strict=True))
    pairs.update(zip(wiring.recurrent.source + shift, wiring.recurrent.target + shift, strict=True))
    return Counter({(int(a), int(b)): n for (a, b), n in pairs.items()})


def test_the_history_of_a_run_leads_from_its_first_wiring_to_its_last():
    folder = RunFolder.open(DEMO)
    before, now = folder.initial_wiring, elegans.load(DEMO).wiring
    assert ends_of(before) != ends_of(now)
    history = replayed((before, folder.ledger()), now)
    assert wiring_at(history, 0) == ends_of(before)
    assert wiring_at(history, history["steps"][-1]) == ends_of(now)
    assert len(history["steps"]) == 1 + len({edit["step"] for edit in folder.ledger()})


def edit(step, source, cut, grown, outcome="rewired", kind="recurrent"):
    return Edit(step, f"cell.{kind}", source, cut, source, grown, 1, 0.1, outcome)


def test_the_history_ends_where_the_weights_were_best():
    before = Wiring(1, {"motor": 4}, Synapses([0, 1], [1, 2], [1, -1]), Synapses([0], [0], [1]))
    ledger = [
        edit(10, 0, 1, 2),
        edit(10, 1, 2, 3),
        edit(20, 0, 2, 0),
        edit(30, 1, 3, 1),
        edit(30, 9, 9, 9, "kept: last input of its target"),
    ]
    at_20 = Wiring(1, {"motor": 4}, Synapses([0, 1], [0, 3], [1, 1]), Synapses([0], [0], [1]))
    history = replayed((before, ledger), at_20)
    assert history["steps"] == [0, 10, 20]
    assert history["synapses"] == [
        [0, 1, 1, 0, None],
        [1, 2, 1, 0, 10],
        [2, 3, -1, 0, 10],
        [1, 3, 1, 10, 20],
        [2, 4, 1, 10, None],  # cut at 30, after the end
        [1, 1, 1, 20, None],
    ]
    never = Wiring(1, {"motor": 4}, Synapses([3, 3], [0, 3], [1, 1]), Synapses([0], [0], [1]))
    assert replayed((before, ledger), never) is None
    assert replayed((before, []), before) is None  # nothing happened: no film
    pruned = replayed(
        (before, [edit(5, 0, 1, None, "pruned")]),
        Wiring(1, {"motor": 4}, Synapses([1], [2], [-1]), Synapses([0], [0], [1])),
    )
    assert pruned["synapses"][1] == [1, 2, 1, 0, 5]
    with pytest.raises(InputError, match="recurrent synapse 3 to 3 at step 7, where there is none"):
        replayed((before, [edit(7, 3, 3, 0)]), never)


# --- what is proved ------------------------------------------------------------------------------


def test_the_proof_is_stated_in_the_units_of_the_data():
    policy = elegans.Policy.load(DEMO)
    certificate = elegans.proofs.Certificate.load(DEMO / "certificate.json")
    stated = document_of(page(policy, drive="cartpole", certificate=certificate))[0]["certificate"]
    assert stated["rate"] == pytest.approx(certificate.rate, rel=1e-6)
    np.testing.assert_allclose(stated["high"], [CARTPOLE["position"], CARTPOLE["angle"]], rtol=1e-5)
    kappa = certificate.document["step"]["kappa"]
    assert stated["step"] == pytest.approx(kappa**4, rel=1e-6)
    # A step of another length is not the one that was proved.
    other = page(policy, drive="cartpole", certificate=certificate, elapsed=0.5)
    assert document_of(other)[0]["certificate"]["step"] is None
    with pytest.raises(InputError, match="expected one of this circuit"):
        page(circuit(), certificate=certificate)


# --- the command ---------------------------------------------------------------------------------


def played(capsys, *words):
    assert main(["play", *map(str, words)]) == 0
    said = capsys.readouterr().out.splitlines()
    return Path(said[-1]), said


def refused(capsys, *words):
    assert main(["play", *map(str, words)]) == 2
    return capsys.readouterr().err


def test_play_the_demo(tmp_path, capsys):
    shutil.copytree(DEMO, tmp_path / "demo")
    path, said = played(capsys, tmp_path / "demo")
    assert path == tmp_path / "demo/play.html"
    assert re.fullmatch(r"A page of \d+ kB that needs no network\.", said[0])
    text = path.read_text()
    assert len(text) < LARGEST
    assert '"kind":"cartpole"' in text
    assert '"seconds":0.02' in text
    assert '"history":{"steps":[0,' in text
    before = path.stat().st_mtime_ns
    assert "already, expected none" in refused(capsys, tmp_path / "demo")
    assert path.stat().st_mtime_ns == before
    played(capsys, tmp_path / "demo", "--overwrite")
    other, _ = played(capsys, tmp_path / "demo", "--out", tmp_path / "new/pole.html")
    assert other.read_text() == text


def test_play_a_wiring_with_the_weights_of_a_seed(tmp_path, capsys):
    AutoNCP(12, 2, seed=1).wiring_for(3).save(tmp_path / "worm.json")
    path, _ = played(capsys, tmp_path / "worm.json")
    assert path == tmp_path / "worm.html"
    first = path.read_text()
    assert "<title>worm</title>" in first
    played(capsys, tmp_path / "worm.json", "--overwrite")
    assert path.read_text() == first
    played(capsys, tmp_path / "worm.json", "--overwrite", "--seed", 1)
    assert path.read_text() != first


def test_play_a_saved_model_and_show_it(tmp_path, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    elegans.save(circuit(), tmp_path / "model")
    played(capsys, tmp_path / "model")
    assert not opened
    path, _ = played(capsys, tmp_path / "model", "--overwrite", "--open")
    assert opened == [path.as_uri()]


def test_play_a_run_on_its_data_and_without(tmp_path, capsys):
    rows = ["sequence,a,b,y"]
    for k in range(6):
        rows += [f"{k},{np.sin(t / 3 + k):.3f},{t / 20},{np.cos(t / 3 + k):.3f}" for t in range(20)]
    data = tmp_path / "walk.csv"
    data.write_text("\n".join(rows))
    train = f"train {data} --targets y --sequence sequence --out {tmp_path}/run --units 8 --steps 2"
    assert main([*train.split(), "--window", "8", "--quiet"]) == 0
    capsys.readouterr()
    path, _ = played(capsys, tmp_path / "run")
    found = re.search(r'id="document">(.*?)</script>', path.read_text(), re.S)
    drive = json.loads(found[1])["drive"]
    assert drive["kind"] == "recording"
    assert " · the test part of the data</p>" in path.read_text()
    assert all(len(one["inputs"]) == 20 for one in drive["sequences"])
    data.rename(tmp_path / "moved.csv")
    path, said = played(capsys, tmp_path / "run", "--overwrite")
    assert said[0].startswith("The data is not at hand, so inputs are moved by hand: ")
    assert '"kind":"hand"' in path.read_text()
    missing = tmp_path / "none.csv"
    assert str(missing) in refused(capsys, tmp_path / "run", "--data", missing, "--overwrite")
    path, _ = played(capsys, tmp_path / "run", "--data", tmp_path / "moved.csv", "--overwrite")
    assert '"kind":"recording"' in path.read_text()


def test_play_says_what_is_wrong(tmp_path, capsys):
    assert "no such file or folder" in refused(capsys, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "folder without config.json" in refused(capsys, tmp_path / "empty")
    elegans.save(circuit(mixed_memory=True), tmp_path / "memory")
    assert "mixed memory" in refused(capsys, tmp_path / "memory")
    assert not list((tmp_path / "memory").glob("*.html"))
