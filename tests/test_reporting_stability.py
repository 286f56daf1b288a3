"""The stability report: what it says, how it knows, and that all its forms say the same."""

import json
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import elegans
from elegans import LTC, PruneRewire
from elegans.cli import main
from elegans.errors import ElegansError, InputError, MissingExtraError
from elegans.proofs import CertificateGuard, certify
from elegans.reporting.stability import graph as graph_module
from elegans.reporting.stability import report
from elegans.reporting.stability.charts import draw_charts
from elegans.reporting.stability.content import EVIDENCE
from elegans.reporting.stability.facts import facts, rates_of
from elegans.reporting.stability.graph import draw_graph
from elegans.reporting.stability.page import SECTIONS
from elegans.reporting.stability.stimulus import random_walk, stimulus_from
from elegans.reporting.stability.verdicts import summary, verdicts
from elegans.wiring import AutoNCP, Random, Synapses, Wiring

NASTY = ("<img src=x onerror=boom()>", "</script><script>boom()</script>", "$\\frac{a$ & b")


def liquid(units=12, seed=1, **options):
    wiring = AutoNCP(units, 2, sparsity_level=0.8, seed=seed)
    return LTC(3, wiring, generator=torch.Generator().manual_seed(seed), **options)


def waves(steps=60, inputs=3):
    time = np.arange(steps)[:, None] / 7
    return np.sin(time + np.arange(inputs))


def bistable():
    """Two neurons that excite each other strongly, with two stable states."""
    wiring = Wiring(1, {"motor": 2}, Synapses([0, 1], [1, 0], [1, 1]), Synapses([0], [0], [1]))
    model = LTC(1, wiring, implicit_param_constraints=False, epsilon=0.0, dtype=torch.float64)
    with torch.no_grad():
        for name, value in (("gleak", 1.0), ("cm", 1.0), ("vleak", 0.0)):
            getattr(model.cell, name).fill_(value)
        for name, value in (("weight", 3.0), ("sigma", 10.0), ("mu", 0.5), ("erev", 1.0)):
            getattr(model.cell.recurrent, name).fill_(value)
        model.cell.sensory.weight.fill_(0.01)
    return model


@pytest.fixture(scope="module")
def certified():
    torch.manual_seed(0)
    return report(liquid(), waves(), inputs=(-1, 1), title="a certified circuit")


@pytest.fixture(scope="module")
def refuted():
    torch.manual_seed(0)
    return report(bistable(), waves(inputs=1))


# --- what it says --------------------------------------------------------------------------


@pytest.mark.slow
def test_it_says_what_the_parts_say(certified):
    model, content = liquid(), certified.content
    proof = certify(model, (-1, 1))
    assert content.contraction.rate == proof.rate
    assert content.contraction.best_rate == proof.best_rate
    assert content.contraction.kappa == proof.figures.kappa
    assert content.boxes.entry_time == proof.figures.entry_time
    np.testing.assert_array_equal(content.boxes.box_lo, proof.box.lo)
    np.testing.assert_array_equal(content.contraction.gain, proof.gain)
    assert [level.level for level in content.contraction.levels] == ["interval", "exact"]


@pytest.mark.slow
def test_nothing_measured_contradicts_what_is_proved(certified):
    """Theorems between the parts, each computed by code of its own."""
    content = certified.content
    proof, seen = content.contraction, content.exponents
    assert proof.best_rate <= content.ceiling.rate
    assert not content.ceiling.refutes
    assert seen.bound == pytest.approx(6 * math.log(proof.kappa))
    assert seen.values[0] - seen.errors[0] <= seen.bound
    assert content.spectra.abscissa.max() <= -proof.rate
    (rest,) = content.equilibria.shown
    assert rest.rate <= -proof.best_rate
    assert (content.boxes.box_lo <= rest.state).all()
    assert (rest.state <= content.boxes.box_hi).all()
    late = content.activity.time > content.boxes.entry_time
    for states in (content.activity.states[late],):
        assert (states >= content.boxes.box_lo).all()
        assert (states <= content.boxes.box_hi).all()
    assert (content.activity.time_constants > 0).all()


def test_a_certified_circuit_is_called_so_with_its_level(certified):
    first = certified.verdicts[0]
    assert (first.status, first.evidence) == ("certified", EVIDENCE["interval"])
    assert "certified" in certified.summary
    assert "0 of" not in first.figure


@pytest.mark.slow
def test_a_refuted_circuit_is_not(refuted):
    by_name = {each.name: each for each in refuted.verdicts}
    assert by_name["certificate"].status == "uncertified"
    assert by_name["ceiling"].status == "uncertified"
    assert by_name["ceiling"].evidence == "sampled"
    assert by_name["certificate"].headline == "No certificate can exist"
    assert "3 equilibria, 2 of them attracting" in refuted.summary
    assert "No norm certifies this box" in by_name["ceiling"].sentence
    assert refuted.content.equilibria.count == 3  # two stable states and one between them
    assert by_name["gains"].status == "unexamined"
    assert refuted.content.contraction.largest_scale < 1
    assert refuted.content.contraction.prune_first
    (component,) = refuted.content.contraction.components
    assert (component.size, component.binding in component.neurons) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["certified", "refuted"])
def test_only_proofs_are_called_certain(which, request):
    made = request.getfixturevalue(which)
    for each in made.verdicts:
        against = each.headline == "No certificate can exist"  # proved as well, of the opposite
        assert (each.status == "certified" or against) == (each.evidence in EVIDENCE.values()), each
        words = f"{each.headline} {each.sentence}".lower()
        if each.status != "certified":
            assert not re.search(r"\b(is|are) (stable|certified|proved)\b|for certain", words), each


def test_a_certificate_that_is_taken_away_is_not_shown(certified):
    """The verdict follows the content: a broken content must not pass for certified."""
    content = certified.content
    broken = replace(content, contraction=replace(content.contraction, certified=False))
    assert verdicts(broken)[0].status == "uncertified"
    assert "No certificate" in summary(broken)
    assert verdicts(replace(content, contraction=None))[0].status == "unexamined"
    assert all("certified" not in rate.label for rate in rates_of(broken))


@pytest.mark.slow
def test_data_outside_the_range_is_warned_of():
    made = report(liquid(), 3 * waves(), inputs=(-1, 1))
    (failing,) = [each for each in made.content.preconditions if not each.holds]
    assert failing.name == "inputs"
    assert 'class="warning"' in made.html
    assert made.content.exponents.bound is None  # the certificate says nothing of these inputs
    assert "outside the range" in failing.sentence


# --- its forms ------------------------------------------------------------------------------


def embedded(page, name):
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    return json.loads(found[1])


@pytest.mark.parametrize("which", ["certified", "refuted"])
def test_page_and_json_say_the_same(which, request, tmp_path):
    made = request.getfixturevalue(which)
    made.save(tmp_path / "new" / "report.html")
    made.save_json(tmp_path / "report.json")
    page = (tmp_path / "new" / "report.html").read_text()
    document = json.loads((tmp_path / "report.json").read_text())
    assert embedded(page, "content") == document == json.loads(made.to_json())
    for section in SECTIONS:
        assert f'<section id="{section}"' in page
    for each in made.verdicts:
        assert each.headline in page
    assert document["verdicts"][0]["figure"] == made.verdicts[0].figure


def test_the_page_needs_nothing_else(certified):
    page = certified.html
    own = page.replace(re.search(r"<script>(?!\n).*?</script>", page, re.S)[0], "")
    assert len(own) < len(page) / 2  # plotly is taken out
    assert not re.findall(r"https?://|@import|url\(|<link(?! rel=\"icon\" href=\"data:)", own)
    assert "default-src 'none'" in own
    assert page.count("plotly.js v") == 1


@pytest.mark.slow
def test_the_charts_are_the_figures(certified, refuted):
    for made in (certified, refuted):
        figures = made.figures()
        assert all(isinstance(figure, Figure) for figure in figures.values())
        # The abscissa shares a figure with the spectra, and the wiring is a graph on the page.
        assert set(figures) - {"wiring"} == set(draw_charts(made.content)) - {"abscissa"}
    assert {"gains", "boxes", "exponents"} <= set(certified.figures())


@pytest.mark.slow
def test_figures_are_written(refuted, tmp_path):
    paths = refuted.save_figures(tmp_path)
    assert {path.stem for path in paths} == set(refuted.figures())
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


@pytest.mark.slow
def test_names_may_hold_anything(tmp_path):
    synapses = Synapses([0, 1, 1], [1, 0, 1], [1, -1, 1])
    wiring = Wiring(
        1,
        {"motor": 1, "<b>inter</b>": 1},
        synapses,
        Synapses([0], [1], [1]),
        names=NASTY[:2],
        sensory_names=NASTY[2:],
    )
    edit = {"step": 5, "synapses": "cell.recurrent", "source": 1, "cut": 0, "grown": 1}
    edit |= {"polarity": 1, "weight": 0.01, "outcome": "rewired"}
    made = report(LTC(1, wiring), waves(inputs=1), title=NASTY[1], ledger=[edit])
    assert "<img src=x" not in made.html
    assert "<script>boom" not in made.html
    assert "&lt;img src=x" in made.html
    texts = embedded(made.html, "graph")["wide"]["data"][-1]["hovertext"]
    assert any("&lt;img src=x onerror=boom()&gt;" in text for text in texts)
    made.save_figures(tmp_path)  # matplotlib would read the dollar as mathematics


# --- what it is given ------------------------------------------------------------------------


@pytest.mark.slow
def test_the_model_is_left_as_it_is():
    model = liquid().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report(model, waves(5))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: (LTC(1, 2), torch.zeros(1, 1)),  # a single step of an untrained circuit
        lambda: (LTC(1, 2, dtype=torch.float64), torch.zeros(2, 3, 1)),
        lambda: (LTC(2, 1), np.zeros((4, 2), np.float32)),
        lambda: (LTC(1, 3, batch_first=False, return_sequences=False), torch.rand(2, 6, 1)),
        lambda: (LTC(1, 3, solver="rk4", ode_unfolds=1), torch.rand(9, 1)),
    ],
    ids=["one step", "float64", "one neuron", "time first", "another solver"],
)
def test_small_and_odd_cases(make):
    made = report(*make())
    assert made.content.contraction is not None
    assert "</html>" in made.html
    assert set(made.figures()) >= {"activity", "boxes", "time-constants"}
    json.loads(made.to_json())


def test_a_memory_cell_is_measured_and_not_proved():
    made = report(LTC(2, 6, mixed_memory=True), torch.rand(20, 2))
    by_name = {each.name: each for each in made.verdicts}
    assert {each.status for each in made.verdicts} == {"unexamined"}
    assert "mixed memory" in by_name["certificate"].sentence
    assert "memory cell changes the state" in made.html
    assert made.content.activity.states.shape == (20, 6)


@pytest.mark.slow
def test_a_negative_conductance_is_no_matter_for_proofs():
    model = LTC(1, 3, implicit_param_constraints=False)
    with torch.no_grad():
        model.cell.recurrent.weight[0] = -0.3
        model.cell.gleak[0] = 0.0
    made = report(model, torch.rand(20, 1))
    # The layer clips a conductance at zero, so there is nothing negative in what it computes.
    assert made.content.boxes is not None
    assert "</html>" in made.html


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.full((2, 3), np.nan), {}, "data holds nan at batch 0, time 0, input 0, expected fin"),
        (np.zeros((4, 2)), {}, r"got data of shape \(4, 2\), expected \(batch, time, 3\)"),
        (np.zeros((0, 3)), {}, "with at least one step"),
        ("text", {}, "no array of real numbers"),
        (waves(4), {"elapsed": np.ones(3)}, r"got elapsed of shape \(3,\), expected a number"),
        (waves(4), {"elapsed": -1.0}, "elapsed times that are negative"),
        (waves(4), {"elapsed": np.inf}, "elapsed holds inf"),
        (waves(4), {"inputs": (1, -1)}, "whose lower end is above the upper"),
        (waves(4), {"level": "sure"}, "got level='sure', expected one of"),
        (waves(4), {"ledger": [{"step": 1}]}, "not a record of an edit"),
    ],
)
def test_wrong_arguments(data, options, message):
    with pytest.raises(ElegansError, match=message):
        report(liquid(), data, **options)


@pytest.mark.slow
def test_wrong_models():
    with pytest.raises(InputError, match=r"got CfCCell, which offers .*report needs `circuit`"):
        report(elegans.CfC(3, 4), waves(4))
    model = liquid()
    with torch.no_grad():
        model.cell.gleak[0] = math.nan
    with pytest.raises(InputError, match="gleak that is not finite"):
        report(model, waves(4))
    edit = {"step": 1, "synapses": "cell.recurrent", "source": 99, "cut": 0, "grown": 1}
    edit |= {"polarity": 1, "weight": 0.1, "outcome": "rewired"}
    with pytest.raises(InputError, match="expected neurons of this circuit of 12 neurons"):
        report(liquid(), waves(4), ledger=[edit])


@pytest.mark.slow
@pytest.mark.parametrize("module", ["plotly", "jinja2"])
def test_a_missing_extra_is_named(certified, monkeypatch, module, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    fresh = type(certified)(certified.content)
    with pytest.raises(MissingExtraError, match=r"pip install elegans\[report\]"):
        fresh.save(tmp_path / "report.html")
    assert fresh.figures()
    assert fresh.to_json()


# --- size -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_large_circuit_is_shown_in_part(monkeypatch):
    monkeypatch.setattr(graph_module, "MOST_SYNAPSES", 100)
    model = LTC(4, AutoNCP(60, 2, seed=0))
    made = report(model, waves(20, inputs=4))
    drawn = draw_graph(made.content.circuit, made.content.activity)
    assert (drawn.drawn, drawn.synapses) == (100, model.synapse_count + model.sensory_synapse_count)
    assert "Only the 100 strongest of" in made.html
    charts = draw_charts(made.content)
    assert len(charts["activity"].y.rows) == len(charts["activity"].marks[0].z) == 40
    assert "40 of 60 are shown" in charts["activity"].caption
    assert len(made.to_dict()["activity"]["states"][0]) == 60  # the JSON has all of them
    weakest = min(made.content.circuit.weight.min(), made.content.circuit.sensory_weight.min())
    hovers = " ".join(drawn.wide["data"][-2]["text"])
    assert f"conductance {weakest:.3g}" not in hovers


@pytest.mark.slow
def test_above_a_hundred_neurons_pictures_take_the_place_of_the_graph():
    made = report(LTC(2, AutoNCP(99, 2, seed=0)), waves(8, inputs=2), level="float")
    assert made.html.count('<img class="picture" src="data:image/png;base64,') == 2
    assert 'id="chart-wiring"' not in made.html
    assert [*embedded(made.html, "graph")] == ["times"]
    assert {"wiring", "layers"} <= set(made.figures())
    small = report(LTC(2, AutoNCP(98, 2, seed=0)), waves(8, inputs=2), level="float")
    assert '<img class="picture"' not in small.html
    assert 'id="chart-wiring"' in small.html
    assert "layers" not in small.figures()


def test_the_graph_shows_the_activity(certified):
    content = certified.content
    drawn = draw_graph(content.circuit, content.activity)
    assert len(drawn.times) == len(content.activity.time) == 60
    values = np.array(drawn.values)
    np.testing.assert_allclose(values[:, 3:], content.activity.states, rtol=1e-3, atol=1e-12)
    assert np.abs(drawn.colors).max() == 1.0
    wide, tall = (
        (np.ptp(f["data"][-1]["x"]), np.ptp(f["data"][-1]["y"])) for f in (drawn.wide, drawn.tall)
    )
    assert wide[0] > wide[1]
    assert tall[1] > tall[0]
    names = content.circuit.wiring
    heads = " ".join(drawn.wide["data"][-2]["text"])
    source, target = names.recurrent.source[0], names.recurrent.target[0]
    assert f"{names.names[source]} → {names.names[target]}" in heads


# --- rewiring -------------------------------------------------------------------------------


@pytest.mark.slow
def test_edits_are_shown_with_the_slack_of_their_rows():
    model = liquid(seed=2)
    optimizer = torch.optim.Adam(model.parameters())
    rewirer = PruneRewire(model, optimizer, threshold=0.3, weight=0.5, every=1)
    rewirer.add_guard(CertificateGuard(model, inputs=(-1, 1)))
    rewirer.step()
    made = report(model, waves(), inputs=(-1, 1), ledger=rewirer.ledger)
    history = made.content.history
    assert history.rewired == sum(edit.grown is not None for edit in rewirer.ledger) > 0
    assert history.judged > 0
    assert history.least_slack >= 0
    assert "slacks" in draw_charts(made.content)
    assert "slacks" in made.figures()
    assert "Edits were guarded" in made.html
    first = next(edit for edit in rewirer.ledger if edit.notes)
    line = next(edit for edit in history.edits if edit.notes)
    assert line.notes["cut_slack_before"] == first.notes["cut_slack_before"]
    assert line.cut == model.wiring.names[first.cut]


@pytest.mark.slow
def test_turnover_is_that_of_the_rewirer():
    """Sources free, thinned while rewired: the history counts what the rewirer has counted."""
    model = LTC(liquid().input_size, Random(10, 1, sparsity_level=0.4))
    optimizer = torch.optim.Adam(model.parameters())
    final = round(0.8 * (model.synapse_count + model.sensory_synapse_count))
    rewirer = PruneRewire.from_rule("development", model, optimizer, steps=60, synapses=final)
    for _ in range(60):
        optimizer.zero_grad()
        model(torch.randn(4, 5, model.input_size))[0].square().mean().backward()
        optimizer.step()
        rewirer.step()
    turnover = rewirer.turnover()
    made = report(model, waves(), ledger=rewirer.ledger)
    history = made.content.history
    assert history.rewired + history.pruned == turnover.cut
    assert history.pruned == rewirer.counts["pruned"] > 0
    assert history.churn == turnover.churn > 0
    assert history.median_age == turnover.median_age
    assert history.grown_share == turnover.grown_share
    assert f"{turnover.churn:.0%} of the cuts hit a synapse that had grown" in made.html
    moved = next(edit for edit in history.edits if edit.grown_source not in (None, edit.source))
    circuit = made.content.circuit
    for shown, weight, synapses in (
        (circuit.wiring.recurrent, circuit.weight, model.cell.recurrent),
        (circuit.wiring.sensory, circuit.sensory_weight, model.cell.sensory),
    ):
        columns = synapses.source, synapses.target, synapses.strength()
        rows = zip(*(column[synapses.mask].tolist() for column in columns), strict=True)
        there = {(j, i): strength for j, i, strength in rows}
        assert [there[j, i] for j, i, _ in shown] == pytest.approx(weight.tolist())
    marks = draw_charts(made.content)["ledger"].marks
    notes = [note for mark in marks for note in getattr(mark, "notes", None) or ()]
    assert any(f"{moved.grown_source} → {moved.grown} grew" in note for note in notes)


@pytest.mark.slow
def test_an_empty_ledger_and_none_are_two_things():
    empty, none = (report(LTC(1, 2), torch.rand(5, 1), ledger=each) for each in ([], None))
    assert empty.verdicts[-1].headline == "Nothing was rewired"
    assert none.verdicts[-1].status == "unexamined"


# --- inputs ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_random_walk_stays_in_its_range_and_is_called_so():
    stimulus = random_walk((-1, 3), 2, seed=1)
    walk = stimulus.sequences[0][0]
    assert walk.min() >= -1
    assert walk.max() <= 3
    assert np.ptp(walk) > 2
    assert "random walk" in stimulus.source
    np.testing.assert_array_equal(walk, random_walk((-1, 3), 2, seed=1).sequences[0][0])
    made = report(LTC(2, 3), stimulus)
    assert "The inputs are synthetic" in made.html


@pytest.mark.slow
def test_elapsed_times_are_used():
    model = liquid()
    short, long = (report(model, waves(8), elapsed=each) for each in (0.5, 2.0))
    assert short.content.activity.time[-1] == 4.0
    assert long.content.activity.time[-1] == 16.0
    assert short.content.contraction.kappa > long.content.contraction.kappa
    uneven = report(model, waves(8), elapsed=np.linspace(0.0, 1.0, 8))
    assert uneven.content.exponents.bound is None  # kappa is that of one length of a step
    stimulus = stimulus_from(model, waves(8), elapsed=np.linspace(0.0, 1.0, 8))
    assert not stimulus.even


# --- the command ----------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    lines = ["t,speed,depth"] + [f"{k},{math.sin(k / 5):.5f},{k % 7}" for k in range(90)]
    data = tmp_path / "worm.csv"
    data.write_text("\n".join(lines) + "\n")
    words = f"train {data} --inputs speed --targets depth --time t --out {tmp_path / 'run'} "
    words += "--units 8 --unfolds 2 --steps 8 --window 8 --evaluate-every 4 --quiet "
    words += "--rewire.every 2 --rewire.threshold cosine --rewire.value 0.3"
    assert main(words.split()) == 0
    return tmp_path / "run"


@pytest.mark.slow
def test_the_command_reports_a_run(run, capsys):
    capsys.readouterr()
    assert main(["report", str(run)]) == 0
    said = capsys.readouterr().out
    assert "Does it forget where it began?" in said
    document = json.loads((run / "report.json").read_text())
    assert document["subject"]["data"].startswith("The data that the run was trained on, worm.csv")
    assert document["subject"]["steps"] == 90
    assert document["subject"]["time_unit"] == "time unit of 1 (t)"
    assert document["circuit"]["sensory_neurons"] == ["speed"]
    assert document["history"]["edits"]
    assert (run / "report_figures" / "rates.png").exists()
    assert "</html>" in (run / "report.html").read_text()


@pytest.mark.slow
def test_the_command_without_the_data(run, tmp_path, capsys):
    (tmp_path / "worm.csv").rename(tmp_path / "moved.csv")
    capsys.readouterr()
    assert main(["report", str(run)]) == 2
    assert "pass --data FILE, or --inputs LOWEST HIGHEST" in capsys.readouterr().err
    out = tmp_path / "there" / "page.html"
    assert main(["report", str(run), "--inputs", "-2", "2", "--out", str(out)]) == 0
    document = json.loads(out.with_suffix(".json").read_text())
    assert document["subject"]["synthetic"]
    assert document["subject"]["input_lo"] == [-2.0]
    assert main(["report", str(run), "--data", str(tmp_path / "moved.csv")]) == 0
    document = json.loads((run / "report.json").read_text())
    assert not document["subject"]["synthetic"]


@pytest.mark.slow
def test_the_command_draws_the_episodes_of_the_demo_again(tmp_path):
    pytest.importorskip("gymnasium")
    words = f"demo --out {tmp_path}/demo --steps 6 --episodes 2 --drives 1 --quiet --units 8"
    assert main(words.split()) == 0
    assert main(["report", f"{tmp_path}/demo"]) == 0
    document = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert document["subject"]["sequences"] == 2
    assert document["subject"]["time_unit"] == "control step of 0.02 s"
    assert document["subject"]["data"].startswith("The 2 episodes of the expert")
    assert document["circuit"]["sensory_neurons"] == ["position", "angle"]


@pytest.mark.slow
def test_the_command_on_a_saved_model(tmp_path, capsys):
    elegans.save(LTC(1, 3), tmp_path / "model")
    assert main(["report", str(tmp_path / "model")]) == 2
    assert "expected --inputs LOWEST HIGHEST since a saved model has no" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "model"), "--inputs", "-1", "1"]) == 0
    assert json.loads((tmp_path / "model" / "report.json").read_text())["history"] is None
    assert main(["report", str(tmp_path / "nowhere"), "--inputs", "-1", "1"]) == 2


@pytest.mark.parametrize("seed", range(3))
def test_bounds_are_rounded_to_the_safe_side(seed):
    """Rates down; overshoot, times, factor and horizon up: in facts, answers and the page."""
    wiring = AutoNCP(units=12, output_size=1, sparsity_level=0.8, seed=1)
    model = LTC(2, wiring, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        model.cell.recurrent.sigma.mul_(0.3)
    made = report(model, torch.rand(1, 60, 2))
    proof = made.content.contraction
    assert proof.certified
    told = {fact.label: fact.value for fact in facts(made.content)["certificate"]}
    lower = {"Rate λ": proof.rate, "Best rate proved": proof.best_rate}
    upper = {
        "Overshoot cond(η)": proof.overshoot,
        "Break-even time": proof.break_even,
        "Overshoot, Euclidean": proof.euclidean_overshoot,
        "Factor of a step κ": proof.kappa,
        "Entry time": proof.entry_time,
    }
    for label, value in lower.items():
        assert read(told[label]) <= value
        assert read(told[label]) == pytest.approx(value, rel=0.02)
    for label, value in upper.items():
        assert read(told[label]) >= value
        assert read(told[label]) == pytest.approx(value, rel=0.02)
    (stated,) = re.findall(r"at a rate of at least ([\d.]+) per", made.summary)
    assert float(stated) <= proof.rate
    for rate in rates_of(made.content):
        written = read(rate.shown(rate.value))
        if "certified" in rate.label or "best" in rate.label:
            assert written <= rate.value
        if "ceiling" in rate.label:
            assert written >= rate.value


def read(text):
    """Return the number that a reader sees."""
    powers = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    mantissa, _, power = text.replace("\N{MINUS SIGN}", "-").replace(",", "").partition("·10")
    return float(f"{mantissa}e{power.translate(powers) or 0}")
