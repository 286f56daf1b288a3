"""Origin, task, units and transients of a report: where it is from, and what its numbers mean."""

import hashlib
import json
import math
import re
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
import torch

import elegans
from elegans import LTC
from elegans.cli import main
from elegans.data import Scale, Scales
from elegans.errors import InputError
from elegans.proofs import certify, norm_overshoot
from elegans.reporting.stability import report
from elegans.reporting.stability.charts import draw_charts
from elegans.reporting.stability.facts import rates_of
from elegans.reporting.stability.origin import HashedFile, Origin
from elegans.reporting.stability.task import Task, TaskScore
from elegans.reporting.stability.verdicts import verdicts
from elegans.reporting.wording import at_least, at_most
from elegans.wiring import AutoNCP, Synapses, Wiring

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


def liquid():
    wiring = AutoNCP(12, 2, sparsity_level=0.8, seed=1)
    return LTC(3, wiring, generator=torch.Generator().manual_seed(1))


def waves(steps=40, inputs=3):
    return np.sin(np.arange(steps)[:, None] / 7 + np.arange(inputs))


def card(made, name):
    (found,) = [each for each in made.verdicts if each.name == name]
    return found


def scored(*unbeaten, count=1):
    """Return a task of which some simple predictions are not beaten."""
    simple = {"mean": 0.5, "last value": 0.4, "linear": 0.3} | dict.fromkeys(unbeaten, 0.1)
    scores = [TaskScore(f"target {k}", "RMSE", 0.2, simple, unit=2.0) for k in range(count)]
    return Task("the test part of the data", tuple(scores))


# --- transients ------------------------------------------------------------------------------


def cascade(weight=3.0):
    """Return a circuit in which a difference passes from one neuron to the next and grows."""
    wiring = Wiring(
        1,
        {"motor": 1, "command": 1, "inter": 1},
        Synapses([1, 2], [0, 1], [1, 1]),
        Synapses([0], [2], [1]),
    )
    model = LTC(1, wiring, implicit_param_constraints=False, epsilon=0.0, dtype=torch.float64)
    with torch.no_grad():
        for name, value in (("gleak", 1.0), ("cm", 1.0), ("vleak", 0.0)):
            getattr(model.cell, name).fill_(value)
        for name, value in (("weight", weight), ("sigma", 4.0), ("mu", 0.5), ("erev", 4.0)):
            getattr(model.cell.recurrent, name).fill_(value)
        model.cell.sensory.weight.fill_(0.05)
    return model


@torch.no_grad()
def differences(model, first, second, times):
    """Return |x - y| (time, pair, neuron) of pairs of trajectories under the input 0."""
    states = torch.from_numpy(np.concatenate([first, second]))
    dynamics = model.cell.dynamics(torch.zeros(len(states), 1, dtype=torch.float64))

    def slope(state):
        conductance, drive = dynamics.conductance_and_drive(state)
        return (drive - conductance * state) / dynamics.capacitance

    length, course = 2e-3, []
    for duration in np.diff(times, prepend=0.0):
        for _ in range(round(duration / length)):  # the rule of Heun, of second order
            begin = slope(states)
            states = states + length / 2 * (begin + slope(states + length * begin))
        course.append((states[: len(first)] - states[len(first) :]).abs().numpy())
    return np.array(course)


@pytest.mark.parametrize(("kind", "order"), [("inf", np.inf), ("2", 2)])
def test_two_trajectories_stay_below_overshoot_and_rate_and_break_even(kind, order):
    model = cascade()
    proof = certify(model, inputs=(0, 0), level="exact")
    assert proof
    kappa, rate, box = norm_overshoot(proof.eta, kind), proof.rate, proof.box
    break_even = math.log(kappa) / rate
    times = np.array([0.0, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0, break_even + 4e-3])
    # Neurons that drive others begin where their gates are steepest.
    first = np.random.default_rng(0).uniform([0.0, 0.4, 0.4], [0.2, 0.6, 0.6], (9, 3))
    second = first.copy()
    pair, neuron = np.arange(9), np.arange(9) % 3  # of which one each is moved, into the box
    inward = np.where(first < (box.lo + box.hi) / 2, 1, -1)[pair, neuron]
    second[pair, neuron] += 0.05 * inward * box.width[neuron]
    size = np.linalg.norm(differences(model, first, second, times), order, axis=2)
    decay = np.exp(-rate * times)[:, None]
    assert (size <= kappa * decay * size[0] * (1 + 1e-5)).all()
    assert (size[-1] < size[0]).all()
    # Without kappa the statement is false: some differences grow before they shrink.
    assert (size > 1.2 * size[0]).any()
    assert not (size <= decay * size[0] * (1 + 1e-5)).all()


def test_the_overshoot_of_a_norm_is_the_least_that_follows():
    rng = np.random.default_rng(0)
    eta = rng.uniform(0.5, 3.0, 6)
    for kind, order in (("1", 1), ("2", 2), ("inf", np.inf)):
        kappa = norm_overshoot(eta, kind)
        start = np.zeros(6)
        start[eta.argmin()] = eta.min()  # of weighted norm 1, as is eta itself
        assert np.linalg.norm(eta, order) / np.linalg.norm(start, order) == pytest.approx(kappa)
        for _ in range(200):
            before, after = rng.normal(size=(2, 6))
            before /= np.abs(before / eta).max()
            after /= np.abs(after / eta).max()
            assert np.linalg.norm(after, order) <= kappa * np.linalg.norm(before, order) + 1e-12
    assert norm_overshoot(np.ones(4), "inf") == 1
    with pytest.raises(InputError, match=r"got the norm '3', expected one of"):
        norm_overshoot(eta, "3")
    with pytest.raises(InputError, match=r"expected positive finite numbers \(neuron,\)"):
        norm_overshoot([1.0, 0.0])


@pytest.mark.slow
def test_the_first_card_says_what_may_happen_before_differences_shrink():
    model = liquid()
    made = report(model, waves(), inputs=(-1, 1), seconds=0.5, time_unit="time unit of 0.5 s")
    proof = made.content.contraction
    exact = proof.eta.max() / proof.eta.min()
    assert norm_overshoot(proof.eta) == exact
    assert exact < proof.overshoot < exact * (1 + 1e-10)  # on the safe side of the quotient
    assert proof.break_even == pytest.approx(math.log(exact) / proof.rate, rel=1e-10)
    assert proof.break_even > math.log(exact) / proof.rate
    assert proof.euclidean_overshoot > proof.overshoot
    assert proof.euclidean_break_even == pytest.approx(
        math.log(np.linalg.norm(proof.eta) / proof.eta.min()) / proof.rate
    )
    details = dict(made.verdicts[0].details)
    assert [*details] == ["The same rate", "Overshoot", "Break-even time"]
    assert f"{at_most(proof.break_even / 2)} s" in details["Break-even time"]
    for text in details.values():
        assert text in made.html
    assert made.to_dict()["verdicts"][0]["details"] == details


# --- units -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_rates_are_per_second_where_the_second_is_known():
    made, plain = (report(liquid(), waves(), inputs=(-1, 1), seconds=s) for s in (0.02, None))
    rate = made.content.contraction.rate
    assert dict(made.verdicts[0].details)["The same rate"] == f"{at_least(rate / 0.02)} per second"
    for line, one in zip(made.to_dict()["rates"], rates_of(made.content), strict=True):
        assert line["per_second"] == pytest.approx(one.value / 0.02)
    assert "(1 is 50 per second)" in draw_charts(made.content)["rates"].x.title
    assert "Per second" in made.html
    assert dict(plain.verdicts[0].details)["The same rate"].startswith("not known")
    assert {line["per_second"] for line in plain.to_dict()["rates"]} == {None}
    assert "per second" not in draw_charts(plain.content)["rates"].x.title
    assert "the data name no unit of time, so none is per second" in plain.html


@pytest.mark.slow
def test_ranges_are_in_the_units_of_the_data():
    model = liquid()
    with torch.no_grad():
        model.cell.output_mapping.weight.copy_(torch.tensor([-2.0, 1.0]))
        model.cell.output_mapping.bias.fill_(0.5)
    scales = Scales(Scale([10.0, 0.0, 5.0], [2.0, 1.0, 4.0]), Scale([100.0, 0.0], [10.0, 1.0]))
    made = report(model, waves(), inputs=(-1, 1), scales=scales)
    ranges, boxes = made.content.ranges, made.content.boxes
    assert [(each.lo, each.hi) for each in ranges.inputs] == [(8, 12), (-1, 1), (1, 9)]
    proved = ranges.outputs[0]
    assert proved.evidence == boxes.evidence
    assert proved.lo == pytest.approx(100 + 10 * (0.5 - 2 * boxes.box_hi[0]))  # turned around
    assert proved.hi == pytest.approx(100 + 10 * (0.5 - 2 * boxes.box_lo[0]))
    measured = ranges.outputs[2]
    assert measured.evidence == "measured"
    outputs = model(torch.from_numpy(waves()).float())[0][:, 0].detach().numpy() * 10 + 100
    assert (measured.lo, measured.hi) == pytest.approx((outputs.min(), outputs.max()), rel=1e-5)
    assert "Ranges in the units of the data" in made.html
    assert "the scales of the data are not recorded" in report(liquid(), waves()).html
    with pytest.raises(InputError, match="got scales of 3 inputs, expected 1"):
        report(LTC(1, 4), waves(inputs=1), scales=scales)
    with pytest.raises(InputError, match=r"got seconds=0, expected a finite number above 0"):
        report(LTC(1, 4), waves(inputs=1), seconds=0)


# --- origin ----------------------------------------------------------------------------------


def test_the_date_is_that_of_utc_and_can_be_given():
    assert Origin.of(date=NOON).date == "2025-06-01T12:00:00Z"
    east = NOON.astimezone(timezone(timedelta(hours=9)))
    assert Origin.of(date=east) == Origin.of(date=NOON)
    now = datetime.fromisoformat(Origin.of().date)
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=5)
    with pytest.raises(InputError, match="without a time zone, expected one; pass"):
        Origin.of(date=datetime(2025, 6, 1))


def test_versions_are_those_that_run():
    versions = Origin.of().versions
    assert versions["elegans"] == elegans.__version__
    assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert versions["numpy"] == np.__version__
    assert re.fullmatch(r"3\.\d+\.\d+\w*", versions["Python"])
    assert "numba" in versions


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (HashedFile("data", "a.csv", "aa", "aa"), "as in training"),
        (HashedFile("data", "a.csv", "aa", "bb"), "another file than in training"),
        (HashedFile("data", "a.csv", "aa", None), "not recorded in training"),
        (HashedFile("data", "a.csv", None, "bb"), "as recorded in training; the file is not at h"),
        (HashedFile("weights", "w", "aa", None), ""),
    ],
)
def test_hashes_are_compared_in_words(file, words):
    assert file.comparison.startswith(words)
    assert bool(file.comparison) == bool(words)


@pytest.mark.slow
def test_reports_of_one_circuit_are_equal_but_for_the_date():
    pages = [
        report(liquid(), waves(), inputs=(-1, 1), origin=Origin.of(date=date)).html
        for date in (NOON, NOON, NOON + timedelta(days=1))
    ]
    assert pages[0] == pages[1] != pages[2]
    assert pages[2].replace("2025-06-02", "2025-06-01") == pages[0]


# --- the task --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain():
    return report(LTC(1, 4), waves(inputs=1), origin=Origin.of(date=NOON))


@pytest.mark.parametrize(
    ("task", "headline", "words"),
    [
        (scored(), "Better than all of them", "beats “mean”, “last value” and “linear”."),
        (scored("linear"), "Does not beat: linear", "does not beat “linear”: a simple prediction"),
        (scored("mean", "linear"), "Does not beat: mean, linear", "“mean” and “linear”: a simple"),
        (scored("linear", count=3), "Does not beat: linear", "“linear”, at 3 of 3 targets:"),
        (scored(count=3), "Better than all of them", "and “linear” at all 3 targets."),
        (Task("all sequences", (TaskScore("a", "RMSE", 0.2, {}),)), "Not compared", "not recorded"),
    ],
)
def test_a_circuit_that_does_not_beat_simple_predictions_is_told_so(plain, task, headline, words):
    made = type(plain)(plain.content.__class__(**{**vars(plain.content), "task": task}))
    found = card(made, "task")
    assert found.headline == headline
    assert words in found.sentence
    assert (found.status, found.evidence) == ("measured", "measured")
    assert found.headline in made.html
    chart = draw_charts(made.content)["task"]
    assert chart.marks[-1].x.tolist() == [score.circuit / score.unit for score in task.scores]
    assert len(chart.marks) == 1 + len(task.scores[0].baselines)
    made.figures()["task"]


def test_without_a_task_nothing_is_claimed(plain):
    found = card(plain, "task")
    assert (found.headline, found.status) == ("Not recorded", "unexamined")
    assert "task" not in draw_charts(plain.content)
    assert verdicts(plain.content)[0].name == "certificate"


def test_accuracy_is_better_the_larger_it_is():
    score = TaskScore("kind", "accuracy", 0.8, {"majority class": 0.6, "linear": 0.9})
    assert (score.unbeaten, score.best) == (("linear",), "linear")
    equal = TaskScore("kind", "RMSE", 0.8, {"mean": 0.8})
    assert equal.unbeaten == ("mean",)  # as good is not worse


# --- the command -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    lines = ["t,speed,depth"]
    for k in range(160):
        lines.append(f"{k / 2},{math.sin(k / 5):.5f},{3 * math.cos(k / 5) + rng.normal():.5f}")
    (folder / "worm.csv").write_text("\n".join(lines) + "\n")
    words = f"train {folder / 'worm.csv'} --inputs speed --targets depth --time t --time-unit min "
    words += f"--out {folder / 'run'} --units 8 --unfolds 2 --steps 8 --window 8 --seed 3 "
    words += "--evaluate-every 4 --quiet"
    assert main(words.split()) == 0
    return folder / "run"


def document_of(run, *more):
    assert main(["report", str(run), *more]) == 0
    return json.loads((run / "report.json").read_text())


@pytest.mark.slow
def test_a_run_is_reported_with_its_origin_and_its_task(run, capsys):
    capsys.readouterr()
    document = document_of(run)
    assert "Is it better than simple predictions?" in capsys.readouterr().out
    origin = document["origin"]
    assert (origin["training_seed"], origin["seed"]) == (3, 0)
    assert origin["training_version"] == elegans.__version__
    data, weights = origin["files"]
    for file, path in ((data, run.parent / "worm.csv"), (weights, run / "model.safetensors")):
        assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert data["recorded"] == data["sha256"]
    subject = document["subject"]
    assert (subject["time_unit"], subject["seconds"]) == ("time unit of 0.5 min", 30.0)
    (score,) = document["task"]["scores"]
    assert (score["target"], score["measure"]) == ("depth", "RMSE")
    assert [*score["baselines"]] == ["mean", "last value", "linear"]
    assert document["task"]["part"] == "the test part of the data"
    lo, hi = (document["ranges"]["inputs"][0][end] for end in ("lo", "hi"))
    assert (lo, hi) == pytest.approx((-1, 1), abs=0.01)
    page = (run / "report.html").read_text()
    assert data["sha256"] in page
    assert "(as in training)" in page
    assert (run / "report_figures" / "task.png").exists()


@pytest.mark.slow
def test_the_error_is_the_one_that_training_told(run, tmp_path, capsys):
    words = (run / "config.json").read_text()
    config = json.loads(words)
    capsys.readouterr()
    command = f"train {config['data']['path']} --inputs speed --targets depth --time t "
    command += f"--time-unit min --out {tmp_path / 'again'} --units 8 --unfolds 2 --steps 8 "
    command += "--window 8 --seed 3 --evaluate-every 4 --quiet"
    assert main(command.split()) == 0
    said = capsys.readouterr().out
    (score,) = document_of(tmp_path / "again")["task"]["scores"]
    assert f"RMSE {score['circuit']:.6g}, MAE" in said
    told = ", ".join(f"{name} {rmse:.6g}" for name, rmse in score["baselines"].items())
    assert f"RMSE of {told}" in said


@pytest.mark.slow
def test_other_data_and_old_runs_say_what_is_not_recorded(run, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("\n".join((run.parent / "worm.csv").read_text().splitlines()[:120]) + "\n")
    document = document_of(run, "--data", str(other))
    assert not document["task"]["scores"][0]["baselines"]
    assert document["task"]["part"] == "all sequences of other.csv"
    page = (run / "report.html").read_text()
    assert "another file than in training" in page
    assert "Simple predictions for comparison are not recorded" in page

    kept = (run / "config.json").read_text()
    config = json.loads(kept)
    for name in ("training", "elegans", "wiring"):
        del config[name]
    for name in ("sha256", "time_unit"):
        del config["data"][name]
    (run / "config.json").write_text(json.dumps(config))
    try:
        document = document_of(run)
        page = (run / "report.html").read_text()
    finally:
        (run / "config.json").write_text(kept)
    assert document["origin"]["training_seed"] is None
    assert document["subject"]["seconds"] is None
    assert document["subject"]["time_unit"] == "time unit of 0.5 (t)"
    assert not document["task"]["scores"][0]["baselines"]
    assert "(not recorded in training)" in page
    assert page.count("<td>not recorded</td>") == 2  # version and seed of the training
